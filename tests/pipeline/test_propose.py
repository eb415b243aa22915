"""The promises of the flow: what is read from where, what never leaves, and what is written."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from leastpriv.config.settings import Mode, from_options
from leastpriv.errors import InputError, LeastprivError, PolicyFileError
from leastpriv.permissions import catalog
from leastpriv.pipeline.artifacts import write_files
from leastpriv.pipeline.context import Target
from leastpriv.policy.containment import check_containment
from leastpriv.proposal.proof import Proof
from leastpriv.pull_request.git_repository import GitRepository
from tests.fakes import progress
from tests.fakes.deploys import (
    CREATE_QUEUE,
    NOW,
    POLICY,
    ROLE,
    UPDATE,
    as_committed,
    deploys,
    proposal,
    usual_deploys,
    write_trail,
)
from tests.fakes.replace import replace
from tests.fakes.runs import Proposed, run_one

QUEUES = "arn:aws:sqs:eu-west-1:111122223333:"


def settings_of(**options: str | tuple[str, ...]) -> Mapping[str, str | tuple[str, ...]]:
    """Options of the command line, by input name."""
    inputs = {name.replace("_", "-"): value for name, value in options.items()}
    return {"role-arn": ROLE, "policy-file": "iam/ci.json", "trails": ("trail",), **inputs}


def in_folder(folder: Path, attached: tuple[str, ...] = (), **options: Any) -> Proposed:
    """Runs the flow on `iam/ci.json` and `trail` of a folder."""
    settings = from_options(settings_of(also_attached=attached, **options))
    repository = GitRepository.open(folder) if settings.mode is Mode.PULL_REQUEST else None
    return run_one(Target(settings, "iam/ci.json", folder, repository), (folder / "trail",), NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout with the policy and the usual deploys."""
    (tmp_path / "iam").mkdir()
    (tmp_path / "iam/ci.json").write_text(json.dumps(POLICY, indent=2))
    write_trail(tmp_path / "trail", usual_deploys())
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Kim", "-c", "user.email=kim@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_same_input_gives_the_same_proposal_and_fingerprint(folder: Path) -> None:
    first, second = in_folder(folder), in_folder(folder)
    assert first.body == second.body
    assert first.context.proposal.content == second.context.proposal.content
    assert first.context.fingerprint == second.context.fingerprint


def test_the_fingerprint_changes_with_the_committed_file_and_not_with_the_evidence_for_the_same_change(
    folder: Path,
) -> None:
    before = in_folder(folder).context
    write_trail(folder / "trail", [*usual_deploys(), *deploys([UPDATE], times=1, number=9)])
    assert in_folder(folder).context.fingerprint == before.fingerprint
    (folder / "iam/ci.json").write_text(json.dumps(POLICY, indent=4))
    assert in_folder(folder).context.fingerprint != before.fingerprint


def test_a_proposal_taken_over_proposes_nothing_more(folder: Path) -> None:
    (folder / "iam/ci.json").write_bytes(in_folder(folder).context.proposal.content)
    again = in_folder(folder)
    assert not again.has_changes
    assert again.context.proposal.content == (folder / "iam/ci.json").read_bytes()


def test_progress_is_logged_in_lines(folder: Path) -> None:
    log_lines = progress.LINES
    proposed = in_folder(folder)
    assert log_lines[-2:] == ["Read 13 records in 7 files: 13 calls in 6 runs", proposed.title]
    assert all("\n" not in line for line in log_lines)


def test_the_mode_pull_request_reads_the_base_branch_and_not_the_file_on_disk(folder: Path) -> None:
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "iam")
    git(folder, "commit", "-q", "-m", "Begin")
    (folder / "iam/ci.json").write_text("not even JSON")
    proposed = in_folder(folder, mode="pull-request")
    assert proposed.context.proposal.committed
    assert json.loads(proposed.context.proposal.committed.text) == POLICY
    assert proposed.published
    assert proposed.published.branch == "leastpriv/ci-deploy"
    assert (folder / "iam/ci.json").read_text() == "not even JSON"


def test_the_draft_of_a_boundary_is_committed_once_and_an_existing_file_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    creates = {
        "Effect": "Allow",
        "Action": ["iam:CreateRole", "iam:PutRolePolicy"],
        "Resource": "*",
    }
    policy = {**POLICY, "Statement": [*POLICY["Statement"], creates]}
    (folder / "iam/ci.json").write_text(json.dumps(policy))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "iam")
    git(
        folder,
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.c",
        "commit",
        "-q",
        "-m",
        "Add the policy",
    )
    rights = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": f"{QUEUES}orders"}
    document = {"Version": "2012-10-17", "Statement": rights}
    role = {"Policies": [{"PolicyName": "p", "PolicyDocument": document}]}
    resources = {"Worker": {"Type": "AWS::IAM::Role", "Properties": role}}
    (folder / "t.json").write_text(json.dumps({"Resources": resources}))
    options = {
        "mode": "pull-request",
        "boundary_file": "iam/app-boundary.json",
        "keep": ("iam:*",),
        "templates": ("app=t.json",),
    }
    first, second = in_folder(folder, **options), in_folder(folder, **options)
    assert first.published
    assert second.published
    assert first.published.operation == "created"
    assert second.published.operation == "none"
    completed = subprocess.run(
        ["git", "show", "leastpriv/ci-deploy:iam/app-boundary.json"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    assert json.loads(completed.stdout)["Statement"] == [
        {**rights, "Action": ["sqs:SendMessage"], "Resource": [f"{QUEUES}orders"]}
    ]
    git(folder, "checkout", "-q", "leastpriv/ci-deploy", "--", "iam/app-boundary.json")
    git(
        folder,
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.c",
        "commit",
        "-q",
        "-m",
        "Add the boundary",
    )
    assert "iam/app-boundary.json" not in in_folder(folder, **options).context.contents


def test_without_the_mode_pull_request_nothing_is_published(folder: Path) -> None:
    git(folder, "init", "-q", "-b", "main")
    assert in_folder(folder).published is None
    assert in_folder(folder, mode="check").published is None


def test_what_another_attached_policy_grants_is_not_missing(folder: Path) -> None:
    statement = {"Effect": "Allow", "Action": "cloudwatch:PutMetricAlarm", "Resource": "*"}
    (folder / "other.json").write_text(
        json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    proposed = in_folder(folder, attached=("other.json",))
    assert "cloudwatch:PutMetricAlarm" not in {
        change.action for change in proposed.context.proposal.changes
    }
    assert proposed.context.attached == ("other.json",)


@pytest.mark.parametrize("text", ["", "{}", '{"Statement": "x"}'])
def test_an_attached_policy_that_is_none_is_named(folder: Path, text: str) -> None:
    (folder / "other.json").write_text(text)
    with pytest.raises(InputError, match=r"other\.json"):
        in_folder(folder, attached=("other.json",))


@pytest.mark.parametrize("part", ["new_access", "newly_denied", "unapplied"])
def test_a_proposal_that_fails_its_own_proof_never_leaves(
    folder: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect anywhere before the proof ends in an error: no branch, no files."""
    real = in_folder(folder).context.proof

    failures: dict[str, Any] = {part: ("s3:* on *",)}

    def failing(*_: object) -> Proof:
        return replace(real, **failures)

    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "iam")
    git(folder, "commit", "-q", "-m", "Begin")
    monkeypatch.setattr("leastpriv.pipeline.propose.prove", failing)
    with pytest.raises(
        LeastprivError, match=r"failed its own proof .*s3:\* on \*.* report this"
    ) as raised:
        in_folder(folder, mode="pull-request")
    assert raised.value.exit_code == 1
    assert not (folder / ".git/refs/heads/leastpriv").exists()


def test_a_proof_that_takes_too_long_is_no_defect(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy has more overlapping wildcards than a run compares: its author can change that."""
    committed = json.loads((folder / "iam/ci.json").read_text())
    wildcards = {
        "Effect": "Allow",
        "Action": ["lambda:*Function*", "lambda:Update*"],
        "Resource": ["*:function:*", "arn:*"],
    }
    committed["Statement"].append(wildcards)
    (folder / "iam/ci.json").write_text(json.dumps(committed))
    monkeypatch.setattr(
        "leastpriv.proposal.proof.check_containment", partial(check_containment, budget=1)
    )
    with pytest.raises(LeastprivError, match="within the limits of a run") as raised:
        in_folder(folder, mode="report")
    assert "report this" not in str(raised.value)
    assert raised.value.exit_code == 1


def test_a_file_that_cannot_be_written_is_left_as_it_was_and_the_folder_is_named(
    folder: Path,
) -> None:
    out = folder / "out"
    (out / "policy.json").mkdir(parents=True)
    with pytest.raises(LeastprivError, match=rf"The folder {out} cannot be written"):
        write_files(in_folder(folder), out)
    assert (out / "policy.json").is_dir()


def test_files_replace_those_of_an_earlier_run_and_leave_nothing_else(folder: Path) -> None:
    out = folder / "out"
    first = in_folder(folder)
    write_files(first, out)
    (folder / "iam/ci.json").write_text(json.dumps(as_committed()))
    write_trail(folder / "trail", deploys([UPDATE, CREATE_QUEUE]))
    second = in_folder(folder)
    assert write_files(second, out) == out / "proposal.json"
    assert sorted(path.name for path in out.iterdir()) == [
        "patch.json",
        "policy.json",
        "proposal.json",
        "pull-request.md",
    ]
    assert (
        (out / "policy.json").read_bytes()
        == second.context.proposal.content
        != first.context.proposal.content
    )


def test_a_first_draft_allows_every_call_that_was_allowed_and_nothing_that_was_not_recorded(
    tmp_path: Path,
) -> None:
    proposed = proposal(tmp_path, lifecycle="off")
    statements = json.loads(proposed.context.proposal.content)["Statement"]
    granted = {
        (action, resource)
        for statement in statements
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    recorded = {
        (u.need.permission.action, u.need.permission.resource)
        for u in proposed.context.evidence.usages
    }
    assert granted == recorded
    assert proposed.context.proof.replay.allowed == proposed.context.proof.replay.succeeded == 12


def test_records_that_lie_in_two_folders_count_once(folder: Path) -> None:
    once = in_folder(folder).context.evidence
    target = Target(from_options(settings_of()), "iam/ci.json", folder)
    twice = run_one(target, (folder / "trail", folder / "trail"), NOW).context.evidence
    assert twice.counts == once.counts


def test_a_role_without_a_call_is_reported_and_not_praised(folder: Path) -> None:
    proposed = in_folder(folder, role_arn=ROLE + "-mistyped")
    assert proposed.body.startswith("> [!NOTE]\n> **No evidence.** No call of `")
    (folder / "iam/ci.json").unlink()
    assert in_folder(folder, role_arn=ROLE + "-mistyped").body.startswith(
        "> [!NOTE]\n> **No evidence.**"
    )


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ('"Action": "s3:*"', "line 1 has no Resource"),
        (
            '"Action": ["s3:GetObject", "sqs"], "Resource": "*"',
            "line 1 has an action without a service",
        ),
        ('"Action": "s3:*", "Resource": "my-bucket"', "line 1 has a Resource that is no ARN"),
    ],
)
def test_a_statement_that_iam_rejects_is_bad_input(
    folder: Path, statement: str, problem: str
) -> None:
    valid = '{"Effect": "Allow", "Action": "*", "Resource": "${any:text}"}'
    (folder / "iam/ci.json").write_text(
        f'{{"Statement": [{valid}, {{"Effect": "Allow", {statement}}}]}}'
    )
    with pytest.raises(PolicyFileError, match=problem):
        in_folder(folder)


@pytest.mark.slow
def test_a_policy_of_ten_thousand_statements_takes_seconds(tmp_path: Path) -> None:
    actions = [action for service in catalog.services() for action in catalog.actions(service)]
    statements = [
        {
            "Sid": f"S{number}",
            "Effect": "Allow",
            "Action": actions[number],
            "Resource": f"arn:aws:{actions[number].partition(':')[0]}:*:111122223333:r{number}",
        }
        for number in range(10_000)
    ]
    policy = {"Version": "2012-10-17", "Statement": [*POLICY["Statement"], *statements]}
    began = time.process_time()
    drafted = proposal(tmp_path, policy)
    assert drafted.context.proposal.changes
    assert time.process_time() - began < 40
