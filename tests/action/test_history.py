"""The promises of the memory in a step: `entrypoint.py` as the runner starts it, against a GitHub
that keeps state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from leastpriv.pull_request.lifecycle import RECONSIDER_LABEL
from tests.action.test_step import POLICY_FILE, Job, Step
from tests.fakes.deploys import (
    CREATE_QUEUE,
    POLICY,
    UPDATE,
    Record,
    deploys,
    usual_deploys,
    write_trail,
)
from tests.fakes.github import FakeGitHub
from tests.fakes.github.direct import without_sockets

BRANCH = "leastpriv-evidence"
FILE = "111122223333/role/ci-deploy.json"
PURGE = {
    "event": "sqs:PurgeQueue",
    "parameters": {"queueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/orders"},
}
PURGE_REFUSED = {
    **PURGE,
    "error": "AccessDenied",
    "message": (
        "User: arn:aws:sts::111122223333:assumed-role/ci-deploy/1 is not authorized to perform:"
        " sqs:purgequeue on resource: arn:aws:sqs:eu-west-1:111122223333:orders because no"
        " identity-based policy allows the sqs:purgequeue action"
    ),
}
REPOSITORY_REFUSED = {
    "event": "ecr:CreateRepository",
    "parameters": {"repositoryName": "orders"},
    "user-agent": "HashiCorp/1.0 Terraform/1.9 (+https://www.terraform.io)",
    "error": "AccessDenied",
    "message": (
        "User: arn:aws:sts::111122223333:assumed-role/ci-deploy/1 is not authorized to perform:"
        " ecr:CreateRepository on resource:"
        " arn:aws:ecr:eu-west-1:111122223333:repository/orders because no identity-based policy"
        " allows the ecr:CreateRepository action"
    ),
}
LONG_AGO = datetime(2026, 3, 1, 9, tzinfo=UTC)


class Clock:
    """The time on GitHub; tests move it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hub(clock: Clock) -> Iterator[FakeGitHub]:
    files = {POLICY_FILE: json.dumps(POLICY, indent=2)}
    with FakeGitHub("octo-org/shop", files=files, clock=clock) as fake, without_sockets(fake):
        fake.add_user("kim", "write")
        for deploy in [
            *usual_deploys(),
            *deploys([UPDATE], number=100),
            *deploys([UPDATE], number=200),
        ]:
            session = deploy["userIdentity"]["arn"].rpartition("/")[2]
            fake.add_run(
                int(session), created_at="2026-01-01T00:00:00Z", updated_at="2026-12-01T00:00:00Z"
            )
        yield fake


@pytest.fixture
def step(tmp_path: Path, hub: FakeGitHub) -> Callable[..., Step]:
    """Runs the step, with a trail of these records where some are given."""
    job = Job(tmp_path, hub)
    job.policy.unlink()
    numbers = iter(range(100))

    def run(records: Sequence[Record] = (), **inputs: str) -> Step:
        name = f"trail-{next(numbers)}" if records else "cloudtrail"
        if records:
            write_trail(job.workspace / name, records)
        step_inputs = {
            "mode": "pull-request",
            "github_token": hub.token,
            "evidence_branch": BRANCH,
            "trails": name,
        }
        return job.step(**{**step_inputs, **inputs})

    return run


def held_back(step: Step, guard: str) -> list[str]:
    """Entries of the proposal that a guard holds back."""
    proposal = json.loads(Path(step.outputs["proposal-file"]).read_text())
    return [change["action"] for change in proposal["held_back"] if change["guard"] == guard]


def removed(step: Step) -> list[str]:
    actions = json.loads(step.outputs["removed-actions"])
    assert isinstance(actions, list)
    return actions


def memory(hub: FakeGitHub) -> dict[str, Any]:
    content = json.loads(hub.file(FILE, BRANCH))
    assert isinstance(content, dict)
    return content


def test_what_was_used_before_the_window_is_not_removed(
    step: Callable[..., Step], hub: FakeGitHub
) -> None:
    step(deploys([UPDATE, CREATE_QUEUE, PURGE], first=LONG_AGO, number=100), mode="report")
    again = step()
    assert held_back(again, "remembered") == ["sqs:PurgeQueue"]
    assert "used in at least 6 runs, last on 2026-04-05" in " ".join(
        again.summary.replace("`", "").split()
    )
    assert "sns:CreateTopic" in removed(again)
    assert "sqs:PurgeQueue" not in removed(again)


def test_the_memory_holds_aggregates_and_no_parameter_address_or_session(
    step: Callable[..., Step], hub: FakeGitHub
) -> None:
    step(mode="report")
    stored = memory(hub)
    names = {"leastpriv-memory", "principal", "target"}
    assert set(stored) == {*names, "used", "words", "declined", "returned"}
    assert stored["target"]["file"] == POLICY_FILE
    assert stored["used"]["sqs:CreateQueue"] == {
        "arn:aws:sqs:eu-west-1:111122223333:orders": {
            "first": "2026-10-01",
            "last": "2026-11-05",
            "run": "17650000005",
            "runs": {"2026-10": 5, "2026-11": 1},
        }
    }


def test_the_same_evidence_again_makes_no_commit(
    step: Callable[..., Step], hub: FakeGitHub
) -> None:
    step()
    head = hub.head(BRANCH)
    step()
    assert hub.head(BRANCH) == head


def test_memory_never_justifies_an_addition(step: Callable[..., Step], hub: FakeGitHub) -> None:
    early = {
        "event": "sns:Publish",
        "parameters": {"topicArn": "arn:aws:sns:eu-west-1:111122223333:news"},
    }
    step(deploys([UPDATE, early], first=LONG_AGO, number=100), mode="report")
    again = step()
    assert json.loads(again.outputs["added-actions"]) == ["cloudwatch:PutMetricAlarm"]


def test_a_run_of_a_fork_reads_the_usage_history_and_does_not_write_it(
    step: Callable[..., Step], tmp_path: Path, hub: FakeGitHub
) -> None:
    step(deploys([UPDATE, CREATE_QUEUE, PURGE], first=LONG_AGO, number=100), mode="report")
    head, before = hub.head(BRANCH), len(hub.requests)
    sides = {
        side: {"repo": {"full_name": name}}
        for side, name in (("head", "eve/shop"), ("base", "octo-org/shop"))
    }
    fork = Job(tmp_path / "fork", hub, json.dumps({"pull_request": sides}))
    step_run = fork.step(mode="report", github_token=hub.read_only_token, evidence_branch=BRANCH)
    assert held_back(step_run, "remembered") == ["sqs:PurgeQueue"]
    assert hub.head(BRANCH) == head
    assert {
        request.method for request in hub.requests[before:] if "query {" not in str(request.body)
    } == {"GET"}


class TestRemovedAndRefused:
    def test_it_comes_back_first_and_is_not_removed_again(
        self, step: Callable[..., Step], hub: FakeGitHub, clock: Clock
    ) -> None:
        first = step()
        assert "sqs:PurgeQueue" in removed(first)
        number = int(first.outputs["pull-request-number"])
        hub.merge_pull(number, "kim", "squash", delete_branch=True)
        clock.now = datetime(2026, 11, 23, tzinfo=UTC)
        refused = deploys(
            [UPDATE, PURGE_REFUSED], first=datetime(2026, 11, 22, tzinfo=UTC), times=1, number=100
        )
        second = step([*usual_deploys(), *refused])
        assert "sqs:PurgeQueue" in json.loads(second.outputs["added-actions"])
        body = str(hub.pull(int(second.outputs["pull-request-number"])).body)
        rows = [
            line for line in body.partition("#### Added")[2].splitlines() if line.startswith("- `")
        ]
        assert rows[0].startswith("- `sqs:PurgeQueue`")
        assert f"**removed by #{number}**" in rows[0]
        proposal = json.loads(Path(second.outputs["proposal-file"]).read_text())
        assert proposal["changes"][0]["removed_by"] == number
        assert memory(hub)["returned"][0]["pull"] == number
        hub.merge_pull(
            int(second.outputs["pull-request-number"]), "kim", "merge", delete_branch=True
        )
        third = step(
            deploys([UPDATE, CREATE_QUEUE], first=datetime(2026, 10, 15, tzinfo=UTC), number=200)
        )
        assert held_back(third, "refused-after-removal") == ["sqs:PurgeQueue"]

    def test_a_denial_before_the_merge_is_no_reverted_removal(
        self, step: Callable[..., Step], hub: FakeGitHub
    ) -> None:
        first = step()
        hub.merge_pull(
            int(first.outputs["pull-request-number"]), "kim", "squash", delete_branch=True
        )
        refused = deploys(
            [UPDATE, PURGE_REFUSED], first=datetime(2026, 11, 1, tzinfo=UTC), times=1, number=100
        )
        second = step([*usual_deploys(), *refused])
        assert "removed by" not in second.summary
        assert memory(hub)["returned"] == []


class TestDeclines:
    def test_they_survive_a_rewritten_description_and_the_label_takes_them_back(
        self, step: Callable[..., Step], hub: FakeGitHub
    ) -> None:
        number = int(step().outputs["pull-request-number"])
        hub.close_pull(number, "kim")
        again = step()
        assert "sns:CreateTopic" in held_back(again, "declined")
        hub.edit_body_as("kim", number, "Nothing to see.")
        assert "sns:CreateTopic" in held_back(step(branch="leastpriv/another"), "declined")
        hub.label_as("kim", number, RECONSIDER_LABEL)
        assert "sns:CreateTopic" in removed(step())
        assert memory(hub)["declined"][str(number)]["taken-back"] is True

    @pytest.mark.parametrize(
        ("method", "message"),
        [
            ("merge", 'Revert "Least privilege"\n\nThis reverts commit {sha}, reversing\nchanges.'),
            ("squash", 'Revert "Least privilege (#1)" (#2)\n\nThis reverts commit {sha}.'),
            ("squash", 'Revert "Least privilege" (#2)\n\nReverts octo-org/shop#1'),
        ],
    )
    def test_a_revert_of_a_merged_proposal_declines_its_changes(
        self,
        step: Callable[..., Step],
        hub: FakeGitHub,
        clock: Clock,
        method: str,
        message: str,
    ) -> None:
        number = int(step().outputs["pull-request-number"])
        before = hub.file(POLICY_FILE)
        sha = hub.merge_pull(number, "kim", method, delete_branch=True)
        clock.now = datetime(2026, 11, 21, tzinfo=UTC)
        hub.commit_as("kim", "main", {POLICY_FILE: before}, message.format(sha=sha))
        again = step()
        assert "sns:CreateTopic" in held_back(again, "declined"), again.log
        assert again.outputs["removed-actions"] == "[]"
        hub.label_as("kim", number, RECONSIDER_LABEL)
        assert "sns:CreateTopic" in removed(step())

    @pytest.mark.parametrize(
        "message",
        [
            "Widen again",
            "This reverts commit 0123456789abcdef0123456789abcdef01234567.",
            "Reverts other/shop#1",
            "Reverts #11",
            "See the text: This reverts commit {sha}.",
        ],
    )
    def test_another_change_after_the_merge_declines_nothing(
        self, step: Callable[..., Step], hub: FakeGitHub, clock: Clock, message: str
    ) -> None:
        number = int(step().outputs["pull-request-number"])
        before = hub.file(POLICY_FILE)
        sha = hub.merge_pull(number, "kim", "squash", delete_branch=True)
        clock.now = datetime(2026, 11, 21, tzinfo=UTC)
        hub.commit_as("kim", "main", {POLICY_FILE: before}, message.format(sha=sha))
        assert held_back(step(), "declined") == []


class TestCommands:
    def test_a_persons_keep_counts_is_answered_and_survives_the_pull_request(
        self, step: Callable[..., Step], hub: FakeGitHub
    ) -> None:
        number = int(step().outputs["pull-request-number"])
        hub.add_user("mallory", "read")
        hub.comment_as("kim", number, "We need this.\n\n/leastpriv keep sns:Create*\n")
        hub.comment_as("mallory", number, "/leastpriv keep *")
        hub.comment_as("kim", number, "/leastpriv add sns:NeverOffered, iam:PassRole")
        again = step()
        assert held_back(again, "asked-to-keep") == ["sns:CreateTopic"]
        assert "sqs:PurgeQueue" in removed(again)
        (answer,) = [text for text in hub.comments(number) if "leastpriv:commands" in text]
        assert "- `keep sns:Create*` by `kim` counts." in answer
        assert "- `add sns:NeverOffered` by `kim` is not offered here." in answer
        assert "- `add iam:PassRole` by `kim` is sensitive: add it by hand." in answer
        assert (
            "- `keep *` by `mallory` does not count: only people with write permission decide."
            in answer
        )
        hub.close_pull(number, "kim")
        elsewhere = step(branch="leastpriv/another")
        assert "sns:CreateTopic" not in removed(elsewhere)
        assert memory(hub)["words"]["sns:Create*"]["by"] == "kim"

    @pytest.mark.parametrize("is_paused", [True, False])
    def test_an_answer_to_add_says_whether_the_pull_request_has_it(
        self, step: Callable[..., Step], hub: FakeGitHub, is_paused: bool
    ) -> None:
        records = [*usual_deploys(), *deploys([REPOSITORY_REFUSED], number=100)]
        number = int(step(records).outputs["pull-request-number"])
        if is_paused:
            hub.label_as("kim", number, "leastpriv: paused")
        hub.comment_as("kim", number, "/leastpriv add ecr:DescribeRepositories")
        step(records)
        (answer,) = [text for text in hub.comments(number) if "leastpriv:commands" in text]
        adds = "- `add ecr:DescribeRepositories` by `kim` adds 1 permission."
        is_written = b"ecr:DescribeRepositories" in hub.file(POLICY_FILE, "leastpriv/ci-deploy")
        assert (adds in answer, is_written) == (not is_paused, not is_paused), answer
        if is_paused:
            assert "waits with 1 permission, as this run left the pull request unchanged" in answer
            hub.unlabel_as("kim", number, "leastpriv: paused")
            step(records)
            (answer,) = [text for text in hub.comments(number) if "leastpriv:commands" in text]
        step(records)
        assert hub.comments(number).count(answer) == 1
        assert adds in answer

    def test_the_same_commands_again_are_no_second_answer(
        self, step: Callable[..., Step], hub: FakeGitHub
    ) -> None:
        number = int(step().outputs["pull-request-number"])
        hub.comment_as("kim", number, "/leastpriv keep sns:CreateTopic")
        step()
        before = [
            request.path
            for request in hub.requests
            if request.method in ("POST", "PATCH") and "comments" in request.path
        ]
        step()
        after = [
            request.path
            for request in hub.requests
            if request.method in ("POST", "PATCH") and "comments" in request.path
        ]
        assert (len(before), after) == (1, before)

    def test_forget_revokes_a_keep_and_the_saved_usage(
        self, step: Callable[..., Step], hub: FakeGitHub
    ) -> None:
        step(deploys([UPDATE, CREATE_QUEUE, PURGE], first=LONG_AGO, number=100), mode="report")
        number = int(step().outputs["pull-request-number"])
        hub.comment_as("kim", number, "/leastpriv forget sqs:PurgeQueue")
        assert "sqs:PurgeQueue" in removed(step())


class TestRefusals:
    def test_a_public_repository_needs_the_prefix(
        self, step: Callable[..., Step], hub: FakeGitHub
    ) -> None:
        hub.world.private = False
        refused = step()
        assert refused.code == 2
        assert f"write public:{BRANCH} to accept that" in refused.annotations("error")[0]
        assert step(evidence_branch=f"public:{BRANCH}").code == 0
        assert memory(hub)["principal"].endswith("role/ci-deploy")

    @pytest.mark.parametrize("branch", ["main", "leastpriv/ci-deploy"])
    def test_a_branch_with_another_use_is_bad_input(
        self, step: Callable[..., Step], branch: str
    ) -> None:
        refused = step(evidence_branch=branch)
        assert (refused.code, "which is in use" in refused.annotations("error")[0]) == (2, True)

    def test_without_a_token_it_is_bad_input(self, step: Callable[..., Step]) -> None:
        refused = step(github_token="", mode="report")
        assert (refused.code, "evidence-branch" in refused.annotations("error")[0]) == (2, True)

    def test_an_unreadable_usage_history_removes_no_grant_and_is_not_overwritten(
        self, step: Callable[..., Step], hub: FakeGitHub
    ) -> None:
        step(mode="report")
        head = hub.head(BRANCH)
        hub.fail_next("GET", "/contents/[0-9]{12}/", 500, times=20, headers={"Retry-After": "0"})
        again = step()
        assert again.code == 0
        assert removed(again) == []
        assert "remembered" in again.summary
        assert hub.head(BRANCH) == head

    def test_a_token_that_may_not_write_makes_a_proposal_and_a_warning(
        self, step: Callable[..., Step], hub: FakeGitHub
    ) -> None:
        step_run = step(github_token=hub.read_only_token, mode="report")
        assert step_run.code == 0
        assert any("could not be saved" in text for text in step_run.annotations("warning"))
