"""What a person does to a proposal by hand is an answer: a grant that comes back is kept, and an
addition that a commit takes away is declined, whatever wildcard or pattern the line has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.pipeline.context import TargetResult
from leastpriv.pull_request.lifecycle import REBASE_BOX, RECONSIDER_LABEL
from tests.fakes.deploys import (
    FIRST,
    POLICY,
    REFUSED,
    as_committed,
    deploys,
    usual_deploys,
    write_trail,
)
from tests.pipeline.test_identity import FILE, Repository, number_of
from tests.pipeline.test_kept_in_merged import commit, merge, quick_repository, removed

NO_GRACE = {"grace-days": "0"}
ADDS = {**NO_GRACE, "never-add": ""}
ALARM = "cloudwatch:PutMetricAlarm"
ALLOW_ALL = {"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"}
LATE = "workspaces:CreateWorkspaces"
"""An action of `*` behind the first 400 of the alphabet, which a pull request names."""
BUCKET = "arn:aws:s3:::shop-backup"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    # A second run is denied the alarm, so that it is added.
    denied = deploys([REFUSED], first=FIRST + timedelta(days=20), times=1, number=40)
    with quick_repository(tmp_path) as started:
        write_trail(tmp_path / "trail", [*usual_deploys(), *denied])
        yield started


def grant(actions: object, resource: str = "*", sid: str = "ByHand") -> dict[str, object]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}


def statements(repository: Repository, branch: str = "main") -> list[Any]:
    """The statements of the policy on a branch."""
    return list(json.loads(repository.hub.file(repository.file, branch))["Statement"])


def narrow_all(repository: Repository) -> int:
    """A proposal narrows `*`, and a person merges it; returns its number."""
    commit(repository, [ALLOW_ALL])
    number = number_of(repository.propose(**NO_GRACE))
    merge(repository, number)
    assert "*" not in [statement["Action"] for statement in statements(repository)]
    return number


def kept(result: TargetResult) -> set[str]:
    """Actions that came back after a removal, of entries and below their wildcards."""
    assert result.context is not None
    proposal = result.context.proposal
    guard = "refused-after-removal"
    names = {held_back.action for held_back in proposal.held_back_as(guard)}
    for change in proposal.changes:
        names |= {
            name
            for name, kept_because in (change.kept or {}).items()
            if kept_because.guard == guard
        }
    return names


def added(result: TargetResult) -> set[str]:
    assert result.context is not None
    return {change.action for change in result.context.proposal.changes if change.kind == "add"}


def refused(result: TargetResult) -> dict[str, str]:
    """Additions that a person declined, with the reason."""
    assert result.context is not None
    additions = result.context.proposal.held_back_additions
    return {
        addition.action: addition.guard_result.reason
        for addition in additions
        if addition.guard_result.guard == "declined"
    }


PARTS = [grant(LATE), grant("s3:DeleteBucket", BUCKET, "OnOneResource")]
"""Of `*`: an action behind the first 400, and one on one resource."""


@pytest.mark.parametrize(
    ("granted", "expected"),
    [
        pytest.param(
            [*PARTS, grant("s3:DeleteB*", BUCKET, "NarrowerWildcard")],
            {LATE, "s3:DeleteBucket", "s3:DeleteB*"},
            id="parts of it",
        ),
        pytest.param([ALLOW_ALL], {"*"}, id="all of it"),
    ],
)
@pytest.mark.parametrize("way", ["by hand", "on the branch"])
def test_what_a_person_grants_again_after_a_narrowing_of_all_is_kept(
    repository: Repository, granted: list[dict[str, Any]], expected: set[str], way: str
) -> None:
    commit(repository, [ALLOW_ALL])
    number = number_of(repository.propose(**NO_GRACE))
    branch = repository.hub.world.pull(number)[1].head
    if way == "on the branch":
        commit(repository, [*statements(repository, branch), *granted], branch)
    merge(repository, number)
    if way == "by hand":
        commit(repository, [*statements(repository), *granted])
    proposed = repository.propose(**NO_GRACE)
    assert expected <= kept(proposed)
    assert removed(proposed) == set()


def test_a_declined_narrowing_holds_for_the_parts_into_which_a_person_rewrites_the_entry(
    repository: Repository,
) -> None:
    used_statements = as_committed()["Statement"]
    commit(repository, [ALLOW_ALL])
    repository.decline(number_of(repository.propose(**NO_GRACE)))
    one_service = grant("workdocs:*", sid="OneService")
    commit(repository, [*used_statements, *PARTS, one_service])
    proposed = repository.propose(**NO_GRACE)
    assert removed(proposed) == set()
    assert proposed.context is not None
    assert {
        held_back.action for held_back in proposed.context.proposal.held_back_as("declined")
    } == {LATE, "s3:DeleteBucket", "workdocs:*"}


def test_what_another_wildcard_granted_all_along_did_not_come_back(repository: Repository) -> None:
    """A grant on one topic, which no proposal touched, is judged as ever."""
    topic = grant("sns:DeleteTopic", "arn:aws:sns:eu-west-1:111122223333:orders", sid="Topic")
    commit(repository, [ALLOW_ALL, topic])
    limited = {**NO_GRACE, "max-changes": "1"}
    number = number_of(repository.propose(**limited))
    merge(repository, number)
    proposed = repository.propose(**NO_GRACE)
    assert "sns:DeleteTopic" not in kept(proposed)


def test_with_a_history_it_is_kept_for_good_until_a_person_forgets_it(
    repository: Repository,
) -> None:
    repository.has_memory = True
    number = narrow_all(repository)
    commit(repository, [*statements(repository), grant(LATE)])
    assert kept(repository.propose(**NO_GRACE)) == {LATE}
    repository.clock.now += timedelta(days=800)
    assert kept(repository.propose(**NO_GRACE)) == {LATE}
    repository.hub.comment_as("kim", number, f"/leastpriv forget {LATE}")
    proposed = repository.propose(**NO_GRACE)
    assert removed(proposed) == {LATE}
    repository.clock.now += timedelta(hours=1)
    merge(repository, number_of(proposed))
    commit(repository, [*statements(repository), grant(LATE)])
    assert kept(repository.propose(**NO_GRACE)) == {LATE}


def test_the_label_on_the_merged_proposal_takes_the_keep_back(repository: Repository) -> None:
    repository.has_memory = True
    number = narrow_all(repository)
    commit(repository, [*statements(repository), grant(LATE)])
    assert kept(repository.propose(**NO_GRACE)) == {LATE}
    repository.hub.label_as("kim", number, RECONSIDER_LABEL)
    assert removed(repository.propose(**NO_GRACE)) == {LATE}


def test_a_rewritten_commit_of_the_program_hides_nothing_that_a_person_left(
    repository: Repository,
) -> None:
    number = number_of(repository.propose(**NO_GRACE))
    branch = repository.hub.world.pull(number)[1].head
    topic = POLICY["Statement"][2]
    amend(repository, branch, [*statements(repository, branch), topic])
    merge(repository, number)
    proposed = repository.propose(**NO_GRACE)
    assert kept(proposed) == {topic["Action"]}
    assert removed(proposed) == set()


def amend(repository: Repository, branch: str, content: list[Any]) -> None:
    """A person rewrites the commit of the program, and keeps its message."""
    hub = repository.hub
    message = hub.world.git.commit(hub.head(branch)).message
    text = json.dumps({**POLICY, "Statement": content}, indent=2)
    rewritten = hub.commit_as("kim", "rewritten", {repository.file: text}, message)
    hub.move_branch_as("kim", branch, rewritten)


def take_alarm_away(repository: Repository, branch: str, way: str = "commit") -> None:
    """A person deletes the proposed line on the branch of the proposal."""
    remaining = [
        statement
        for statement in statements(repository, branch)
        if ALARM not in statement["Action"]
    ]
    assert remaining != statements(repository, branch)
    if way == "amend":
        amend(repository, branch, remaining)
    else:
        commit(repository, remaining, branch)


@pytest.mark.parametrize("has_memory", [False, True], ids=["no-memory", "memory"])
@pytest.mark.parametrize("way", ["commit", "amend"])
def test_an_addition_that_a_person_takes_away_on_the_branch_is_declined(
    repository: Repository, way: str, has_memory: bool
) -> None:
    repository.has_memory = has_memory
    number = number_of(repository.propose(**ADDS))
    branch = repository.hub.world.pull(number)[1].head
    take_alarm_away(repository, branch, way)
    still_open = repository.propose(**ADDS)
    assert added(still_open) == set()
    assert f"#{number}" in refused(still_open)[ALARM]
    [comment] = repository.hub.comments(number)
    assert f"takes away `{ALARM}`" in comment
    assert "declined" in comment
    merge(repository, number)
    for _ in range(2):
        merged = repository.propose(**ADDS)
        assert added(merged) == set()
        assert f"a commit on the branch of #{number}" in refused(merged)[ALARM]
    repository.hub.label_as("kim", number, RECONSIDER_LABEL)
    assert added(repository.propose(**ADDS)) == {ALARM}


def test_a_proposal_of_which_nothing_is_left_says_what_was_declined(
    repository: Repository,
) -> None:
    commit(repository, as_committed()["Statement"])
    number = number_of(repository.propose(**ADDS))
    branch = repository.hub.world.pull(number)[1].head
    take_alarm_away(repository, branch)
    repository.propose(**ADDS)
    [comment] = repository.hub.comments(number)
    assert "matches the evidence" not in comment
    assert f"takes away `{ALARM}`" in comment


def test_a_ticked_box_gives_up_what_was_taken_away(repository: Repository) -> None:
    number = number_of(repository.propose(**ADDS))
    issue, pull = repository.hub.world.pull(number)
    take_alarm_away(repository, pull.head)
    assert added(repository.propose(**ADDS)) == set()
    issue.body = (issue.body or "").replace(REBASE_BOX, REBASE_BOX.replace("[ ]", "[x]"))
    assert added(repository.propose(**ADDS)) == {ALARM}


def test_a_person_who_adds_a_line_to_the_branch_declines_nothing(repository: Repository) -> None:
    number = number_of(repository.propose(**ADDS))
    branch = repository.hub.world.pull(number)[1].head
    commit(repository, [*statements(repository, branch), grant("sqs:PurgeQueue", BUCKET)], branch)
    assert added(repository.propose(**ADDS)) == {ALARM}
    merge(repository, number)
    assert refused(repository.propose(**ADDS)) == {}


def names_of_runs(number: int) -> list[Any]:
    """The usual deploys, and runs that each make a queue with the next number."""
    later: list[Any] = []
    for turn in range(number):
        call = {"event": "sqs:CreateQueue", "parameters": {"queueName": f"app-{turn + 1}"}}
        first = FIRST + timedelta(days=3 * turn, hours=2)
        later += deploys([call], first=first, times=1, number=100 + turn)
    return [*usual_deploys(), *later]


def test_the_pattern_of_a_declined_name_and_further_ones_says_what_was_declined(
    repository: Repository, tmp_path: Path
) -> None:
    commit(repository, as_committed()["Statement"])
    write_trail(tmp_path / "trail", names_of_runs(1))
    repository.decline(number_of(repository.propose(**NO_GRACE)))
    write_trail(tmp_path / "trail", names_of_runs(9))
    proposed = repository.propose(**NO_GRACE)
    assert proposed.content is not None
    [change] = proposed.content.context.proposal.changes
    assert change.resources == (f"{QUEUE}:app-*",)
    assert [*(change.declined_before or {})] == [f"{QUEUE}:app-1"]
    assert "covers what a person declined" in proposed.content.body
    # Who merges it accepts the name too.
    accepted = number_of(proposed)
    merge(repository, accepted)
    commit(repository, as_committed()["Statement"])
    repository.hub.label_as("kim", accepted, RECONSIDER_LABEL)
    write_trail(tmp_path / "trail", names_of_runs(1))
    again = repository.propose(**NO_GRACE)
    assert added(again) == {"sqs:CreateQueue"}
    assert refused(again) == {}


@pytest.mark.parametrize("has_memory", [False, True], ids=["no-memory", "memory"])
def test_a_pattern_of_names_that_were_declined_one_by_one_is_declined(
    repository: Repository, tmp_path: Path, has_memory: bool
) -> None:
    repository.has_memory = has_memory
    commit(repository, as_committed()["Statement"])
    for number in range(1, 6):
        write_trail(tmp_path / "trail", names_of_runs(number))
        repository.decline(number_of(repository.propose(**NO_GRACE)))
        repository.clock.now += timedelta(hours=1)
    proposed = repository.propose(**NO_GRACE)
    assert added(proposed) == set()
    assert "sqs:CreateQueue" in refused(proposed)


@pytest.mark.parametrize("has_memory", [False, True], ids=["no-memory", "memory"])
def test_what_a_person_takes_away_from_a_first_draft_is_declined(
    repository: Repository, has_memory: bool
) -> None:
    repository.has_memory = has_memory
    repository.hub.commit_as("kim", "main", {FILE: None, "README": "A"}, "No policy yet")
    number = number_of(repository.propose(**ADDS))
    branch = repository.hub.world.pull(number)[1].head
    remaining = [
        statement
        for statement in statements(repository, branch)
        if "sqs" not in str(statement["Action"])
    ]
    assert remaining != statements(repository, branch)
    commit(repository, remaining, branch)
    merge(repository, number)
    proposed = repository.propose(**ADDS)
    assert "sqs:CreateQueue" not in added(proposed)
    assert f"a commit on the branch of #{number}" in refused(proposed)["sqs:CreateQueue"]


def test_a_declined_first_draft_declines_no_part_of_a_policy_by_hand(
    repository: Repository,
) -> None:
    repository.has_memory = True
    repository.hub.commit_as("kim", "main", {FILE: None, "README": "A"}, "No policy yet")
    repository.decline(number_of(repository.propose(**ADDS)))
    repository.propose(**ADDS)
    commit(repository, [as_committed()["Statement"][0]])
    assert "sqs:CreateQueue" in added(repository.propose(**ADDS))
