"""A proposal that is too large for one policy: several files, never a part of them, and nothing
more next time.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from leastpriv.config.settings import from_options
from leastpriv.pipeline.artifacts import write_files
from leastpriv.pipeline.context import Target
from leastpriv.policy.containment import check_containment
from leastpriv.policy.document import parse
from leastpriv.policy.evaluate import policy_size
from leastpriv.policy.size import file_number
from leastpriv.pull_request.git_repository import GitRepository
from leastpriv.pull_request.models import PullRequestOperation
from tests.fakes.deploys import NOW, POLICY, ROLE, proposal, usual_deploys, write_trail
from tests.fakes.runs import Proposed, run_one

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"


def nearly_full() -> Mapping[str, Any]:
    """What the usual deploys use, and so many resources under a condition that the refused alarm
    finds no room.
    """
    many = [f"{QUEUE}-{number:04}" for number in range(116)]
    full = {
        "Sid": "Full",
        "Effect": "Allow",
        "Action": "sqs:ReceiveMessage",
        "Resource": many,
        "Condition": {"StringEquals": {"aws:ResourceTag/team": "shop"}},
    }
    function = {**POLICY["Statement"][0], "Action": "lambda:UpdateFunctionCode"}
    return {
        **POLICY,
        "Statement": [function, {**POLICY["Statement"][1], "Action": "sqs:CreateQueue"}, full],
    }


@pytest.fixture
def split(tmp_path: Path) -> Proposed:
    proposed = proposal(tmp_path, nearly_full())
    assert [change.action for change in proposed.context.proposal.changes] == [
        "cloudwatch:PutMetricAlarm"
    ]
    return proposed


def test_the_committed_policy_has_room_and_the_proposed_one_would_not(split: Proposed) -> None:
    committed = split.context.proposal.committed
    assert committed
    assert policy_size(committed) <= 6_144 < sum(map(policy_size, split.context.proposal.documents))
    assert split.context.further == ("iam/ci-deploy-2.json",)


def test_the_files_are_written_under_their_names_and_say_what_one_would_have(
    split: Proposed, tmp_path: Path
) -> None:
    write_files(split.content, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {
        "policy.json",
        "ci-deploy.json",
        "ci-deploy-2.json",
        "proposal.json",
        "patch.json",
    } <= names
    first, second = (tmp_path / "out" / name for name in ("ci-deploy.json", "ci-deploy-2.json"))
    assert first.read_bytes() == (tmp_path / "out" / "policy.json").read_bytes()
    parts = [parse(path.read_bytes(), path.name) for path in (first, second)]
    committed = split.context.proposal.committed
    assert committed
    assert check_containment(parts, [committed]).holds
    proof = json.loads((tmp_path / "out" / "proposal.json").read_text())["proof"]
    assert [file["path"] for file in proof["files"]] == [
        "iam/ci-deploy.json",
        "iam/ci-deploy-2.json",
    ]
    assert all(file["size"] <= proof["quota"] for file in proof["files"])
    statements = {row["statement"]["file"] for row in proof["replayed"]}
    assert statements <= {"iam/ci-deploy.json", "iam/ci-deploy-2.json"}


def test_the_further_file_of_an_earlier_proposal_is_removed_and_no_file_of_a_person(
    split: Proposed, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    content = proposal(tmp_path / "whole", POLICY).content
    write_files(split.content, out)
    (out / "notes.txt").write_text("mine")
    write_files(content, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "notes.txt",
        "patch.json",
        "policy.json",
        "proposal.json",
        "pull-request.md",
    ]
    write_files(split.content, out)
    (out / "ci-deploy-2.json").write_text("{}")
    write_files(content, out)
    assert (out / "ci-deploy-2.json").read_text() == "{}"


def test_a_further_file_in_the_folder_of_the_policy_remains(
    split: Proposed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(split.content, tmp_path / "iam")
    write_files(proposal(tmp_path / "whole", POLICY).content, tmp_path / "iam")
    assert (tmp_path / "iam/ci-deploy-2.json").exists()


def test_the_report_asks_to_attach_the_further_file(split: Proposed) -> None:
    assert "**Split**: attach `iam/ci-deploy-2.json`" in split.body


def test_a_second_run_reads_the_further_file_and_proposes_nothing(
    split: Proposed, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    paths = ("iam/ci-deploy.json", *split.context.further)
    for path, document in zip(paths, split.context.proposal.documents, strict=True):
        (again / path).parent.mkdir(parents=True, exist_ok=True)
        (again / path).write_bytes(document.to_bytes())
    second = proposal(again, json.loads(split.context.proposal.content), usual_deploys())
    assert second.context.proposal.changes == ()
    assert second.context.attached == ("iam/ci-deploy-2.json",)
    assert second.context.proof.replay.allowed == split.context.proof.replay.allowed


def test_a_split_takes_no_name_that_a_file_has(tmp_path: Path) -> None:
    """The third file is a person's: the split leaves it alone, and it does not count as a part of
    the policy.
    """
    (tmp_path / "iam").mkdir()
    for number, text in ((2, '{"env": "prod"}'), (3, "{}")):
        (tmp_path / f"iam/ci-deploy-{number}.json").write_text(text)
    proposed = proposal(tmp_path, nearly_full())
    assert (proposed.context.further, proposed.context.attached) == (("iam/ci-deploy-4.json",), ())


def test_a_policy_that_is_attached_by_its_name_alone_is_named_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "iam").mkdir()
    all_actions = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"},
    }
    (tmp_path / "iam/ci-deploy-2.json").write_text(json.dumps(all_actions))
    proposed = proposal(tmp_path, nearly_full())
    assert proposed.context.assumed == ("iam/ci-deploy-2.json",)
    assert (
        "- Whether `iam/ci-deploy-2.json` is attached too, as its name suggests." in proposed.body
    )


def test_all_of_it_is_one_commit(tmp_path: Path) -> None:
    """A branch with the first file alone would take permissions away."""
    policy = tmp_path / "iam/ci.json"
    policy.parent.mkdir()
    policy.write_text(json.dumps(nearly_full(), indent=2))
    trail = write_trail(tmp_path / "trail", usual_deploys())
    for command in (["init", "-q", "-b", "main"], ["add", "iam"], ["commit", "-q", "-m", "policy"]):
        identity = ["-c", "user.name=Kim", "-c", "user.email=kim@example.com"]
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True, capture_output=True)
    options: dict[str, str | tuple[str, ...]] = {
        "role-arn": ROLE,
        "policy-file": "iam/ci.json",
        "trails": ("trail",),
        "mode": "pull-request",
    }
    settings = from_options(options)
    repository = GitRepository.open(tmp_path)
    target = Target(settings, "iam/ci.json", tmp_path, repository)
    first, again = (run_one(target, (trail,), NOW) for _ in range(2))
    assert first.published
    assert first.published.operation is PullRequestOperation.CREATED
    for path, document in zip(
        ("iam/ci.json", "iam/ci-2.json"), first.context.proposal.documents, strict=True
    ):
        assert repository.read(first.published.head_sha, path) == document.to_bytes()
    assert again.published
    assert (again.published.operation, again.published.head_sha) == (
        PullRequestOperation.NONE,
        first.published.head_sha,
    )


@pytest.mark.parametrize(
    ("path", "name", "number"),
    [
        ("iam/ci.json", "iam/ci.json", 1),
        ("iam/ci.json", "iam/ci-2.json", 2),
        ("iam/ci.json", "iam/ci-12.json", 12),
        ("ci", "ci-2.json", 2),
        ("iam/ci-2.json", "iam/ci-2.json", 1),
        ("iam/ci-2.json", "iam/ci-2-2.json", 2),
        ("iam/ci.json", "iam/ci-1.json", 0),
        ("iam/ci.json", "iam/ci-02.json", 0),
        ("iam/ci.json", "ci-2.json", 0),
        ("iam/ci.json", "README.md", 0),
    ],
)
def test_a_files_number_is_read_as_it_was_written(path: str, name: str, number: int) -> None:
    assert file_number(path, name) == number
