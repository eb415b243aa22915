"""What a person leaves in a merged proposal, adds again by hand, or declined in the pull request of
a group is not proposed again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.pipeline import merged_proposals
from leastpriv.pipeline.context import TargetResult
from leastpriv.pull_request.lifecycle import RECONSIDER_LABEL
from tests.fakes.deploys import POLICY, ROLE
from tests.fakes.github import FakeGitHub
from tests.fakes.github.direct import without_sockets
from tests.pipeline.test_identity import (
    DECLINED,
    FILE,
    MOVED,
    RENAMED,
    Clock,
    Repository,
    declined,
    number_of,
)

NO_GRACE = {"grace-days": "0"}
ENTRY = f"targets:\n  - role-arn: {ROLE}\n    policy-file: {FILE}\n"
GROUPED = f"{ENTRY}    group: shop\n"
[TOPIC] = [statement for statement in POLICY["Statement"] if statement["Action"] == DECLINED]


@contextmanager
def quick_repository(folder: Path) -> Iterator[Repository]:
    """A repository at a GitHub without sockets; its requests are checked by other tests."""
    clock = Clock()
    files = {FILE: json.dumps(POLICY, indent=2)}
    with FakeGitHub("octo-org/shop", files=files, clock=clock) as hub, without_sockets(hub):
        hub.world.checks_descriptions = False
        hub.add_user("kim", "write")
        yield Repository(folder, hub, clock)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with quick_repository(tmp_path) as started:
        yield started


def merge(repository: Repository, number: int) -> str:
    """A person merges a pull request; returns the commit."""
    sha = repository.hub.merge_pull(number, "kim", "squash", delete_branch=True)
    repository.clock.now += timedelta(hours=1)
    return sha


def commit(repository: Repository, statements: list[Any], branch: str = "main") -> None:
    """A person writes the policy."""
    text = json.dumps({**POLICY, "Statement": statements}, indent=2)
    repository.hub.commit_as("kim", branch, {repository.file: text}, "By hand")


def held(result: TargetResult) -> set[str]:
    """Entries that came back after an earlier removal."""
    assert result.context is not None
    held_back = result.context.proposal.held_back_as("refused-after-removal")
    return {held_back_change.action for held_back_change in held_back}


def removed(result: TargetResult) -> set[str]:
    """Actions that a proposal removes."""
    assert result.context is not None
    changes = result.context.proposal.changes
    return {action for change in changes for action in change.removed_actions}


def test_what_a_person_leaves_in_the_branch_of_a_merged_proposal_is_kept(
    repository: Repository,
) -> None:
    number = number_of(repository.propose())
    head = repository.hub.world.pull(number)[1].head
    proposed = json.loads(repository.hub.file(FILE, head))["Statement"]
    commit(repository, [*proposed, TOPIC], head)
    merge(repository, number)
    second_proposal = repository.propose()
    assert held(second_proposal) == {DECLINED}
    assert removed(second_proposal) == set()


def test_what_a_person_adds_again_after_a_merge_is_kept_for_400_days(
    repository: Repository,
) -> None:
    number = number_of(repository.propose())
    merge(repository, number)
    commit(repository, POLICY["Statement"])
    assert {DECLINED, "sqs:PurgeQueue"} <= held(repository.propose(**NO_GRACE))
    repository.hub.label_as("kim", number, RECONSIDER_LABEL)
    assert DECLINED in removed(repository.propose(**NO_GRACE))
    repository.hub.unlabel_as("kim", number, RECONSIDER_LABEL)
    repository.clock.now += timedelta(days=401)
    assert held(repository.propose(**NO_GRACE)) == set()


def test_a_second_policy_file_of_the_role_loses_what_the_first_lost(
    repository: Repository,
) -> None:
    merge(repository, number_of(repository.propose()))
    repository.file, repository.branch = "iam/second.json", "leastpriv/second"
    commit(repository, POLICY["Statement"])
    assert DECLINED in removed(repository.propose(**NO_GRACE))


def test_a_portion_that_removes_one_of_two_equal_grants_holds_no_other(
    repository: Repository,
) -> None:
    queue = {**POLICY["Statement"][1], "Action": "sqs:CreateQueue"}
    commit(repository, [queue, TOPIC, {**TOPIC, "Sid": "Again"}])
    for _ in range(2):
        proposed = repository.propose(**NO_GRACE, **{"max-changes": "1"})
        assert removed(proposed) == {DECLINED}
        merge(repository, number_of(proposed))
    assert DECLINED not in repository.hub.file(FILE).decode()


@pytest.mark.parametrize(("before", "after"), [(GROUPED, ENTRY), (ENTRY, GROUPED)])
def test_a_decline_outlasts_the_group_of_a_target(
    repository: Repository, before: str, after: str
) -> None:
    [first] = repository.propose_by(before)
    repository.decline(number_of(first))
    [second] = repository.propose_by(after)
    assert DECLINED in declined(second)


def test_a_keep_outlasts_a_merge_a_move_and_another_branch(repository: Repository) -> None:
    number = number_of(repository.propose())
    repository.hub.comment_as("kim", number, f"/leastpriv keep {DECLINED}")
    repository.propose()
    merge(repository, number)
    repository.move()
    repository.branch = "least/privilege"
    proposed = repository.propose()
    assert proposed.context is not None
    asked_to_keep = proposed.context.proposal.held_back_as("asked-to-keep")
    assert [held_back.action for held_back in asked_to_keep] == [DECLINED]


def test_a_keep_under_the_pull_request_of_an_earlier_role_counts(repository: Repository) -> None:
    [first] = repository.propose_by(ENTRY)
    repository.hub.comment_as("kim", number_of(first), f"/leastpriv keep {DECLINED}")
    repository.role = RENAMED
    formerly = f"{repository.entry}    formerly: {{role-arn: {ROLE}}}\n"
    for _ in range(2):
        [proposed] = repository.propose_by(formerly)
        assert proposed.context is not None
        assert proposed.context.proposal.held_back_as("asked-to-keep")


def test_a_revert_after_the_file_moved_is_a_decline(repository: Repository) -> None:
    before = repository.hub.file(FILE)
    sha = merge(repository, number_of(repository.propose()))
    repository.move()
    repository.clock.now += timedelta(hours=1)
    message = f'Revert "Remove"\n\nThis reverts commit {sha}.'
    repository.hub.commit_as("kim", "main", {MOVED: before}, message)
    assert DECLINED in declined(repository.propose())


@pytest.mark.parametrize("roles", [f"{ROLE}", f"[{RENAMED}, {ROLE}]"])
def test_a_decline_outlasts_a_user_that_leaves_or_joins(repository: Repository, roles: str) -> None:
    first_roles = f"[{ROLE}, {RENAMED}]" if roles == ROLE else ROLE
    config = "targets:\n  - role-arn: {}\n    policy-file: " + FILE + "\n"
    [first] = repository.propose_by(config.format(first_roles))
    repository.decline(number_of(first))
    [second] = repository.propose_by(config.format(roles))
    assert DECLINED in declined(second)


@pytest.mark.parametrize(("before", "after"), [(GROUPED, ENTRY), (ENTRY, GROUPED)])
def test_what_came_back_after_a_merge_is_kept_when_a_group_ends_or_begins(
    repository: Repository, before: str, after: str
) -> None:
    [first] = repository.propose_by(before)
    merge(repository, number_of(first))
    commit(repository, POLICY["Statement"])
    [second] = repository.propose_by(after, **NO_GRACE)
    assert DECLINED in held(second)
    assert removed(second) == set()


def test_a_decline_in_a_group_outlasts_the_first_merge_without_it(repository: Repository) -> None:
    [first] = repository.propose_by(GROUPED)
    repository.decline(number_of(first))
    commit(repository, [*POLICY["Statement"], {**TOPIC, "Action": "sns:DeleteTopic", "Sid": "New"}])
    [second] = repository.propose_by(ENTRY, **NO_GRACE)
    assert removed(second) == {"sns:DeleteTopic"}
    merge(repository, number_of(second))
    [third] = repository.propose_by(ENTRY, **NO_GRACE)
    assert DECLINED in declined(third)
    assert removed(third) == set()


def test_a_merge_counts_whatever_later_ones_removed(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merged_proposals, "MAX_MERGED", 1)
    queue = {**POLICY["Statement"][1], "Action": "sqs:CreateQueue"}
    statements = [queue, TOPIC, {**TOPIC, "Sid": "Second", "Resource": f"{TOPIC['Resource']}-2"}]
    commit(repository, statements)
    remaining = statements
    for _ in range(2):
        before = remaining
        merge(repository, number_of(repository.propose(**NO_GRACE, **{"max-changes": "1"})))
        remaining = json.loads(repository.hub.file(FILE))["Statement"]
    # The second merge removed the one of `before`.
    commit(
        repository,
        [statement for statement in statements if statement == queue or statement not in before],
    )
    proposed = repository.propose(**NO_GRACE)
    assert held(proposed) == {DECLINED}
    assert removed(proposed) == set()
