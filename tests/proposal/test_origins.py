"""What follows from the origin of a run: additions, marks, and which runs count."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from leastpriv.evidence.models import Evidence
from leastpriv.models import (
    Basis,
    ChangeKind,
    Need,
    Origin,
    Outcome,
    Permission,
    Run,
    RunOrigin,
    Usage,
)
from leastpriv.proposal.models import Change, Options, UnknownRefs
from leastpriv.proposal.origins import (
    ORIGIN_RULES,
    addition_by_origin,
    change_marks,
    has_unknown_origin,
    is_refused_use,
    names_resource,
    origin_mark,
    origin_marks,
    proved_runs,
    uncounted_runs,
    unreviewed_use_reason,
)
from tests.fakes.replace import replace

START = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
MAIN = RunOrigin(Origin.REVIEWED, "main")
BY_NAME = RunOrigin(Origin.REVIEWED, "main", "branch by session name")
FEATURE = RunOrigin(Origin.UNREVIEWED, "the branch feature/x, which is not protected")
NO_RUN = RunOrigin(Origin.UNKNOWN, "sessions whose names are no workflow runs of this repository")
PAST_LIMIT = RunOrigin(Origin.UNKNOWN, "not asked for", is_asked=False)
NEED = Need(Permission("sqs:CreateQueue", "*"), Basis.OBSERVED, "x")


def usage(*runs: int, action: str = "sqs:CreateQueue", resource: str = "*") -> Usage:
    need = structs.replace(NEED, permission=Permission(action, resource))
    return Usage(need, Outcome.ALLOWED, 1, START, START, tuple(map(str, runs)), ("e",))


def evidence(origins: Mapping[str, RunOrigin]) -> Evidence:
    runs = tuple(Run(str(n), str(n), START, START + timedelta(minutes=1)) for n in range(10))
    return Evidence("arn:aws:iam::111122223333:role/ci", runs=runs, origins=origins)


def narrowing(name: str, *usages: Usage) -> Change:
    return Change(ChangeKind.NARROW, "sqs:*", ("*",), usages=usages, restricted_to=(name,))


def test_every_origin_has_a_rule() -> None:
    assert set(ORIGIN_RULES) == set(Origin)


@pytest.mark.parametrize(
    ("origins", "guard", "unknown"),
    [
        ((MAIN,), "", False),
        ((FEATURE, MAIN), "", False),
        ((NO_RUN, MAIN), "", False),
        ((FEATURE,), "untrusted-ref", True),
        ((FEATURE, NO_RUN), "untrusted-ref", True),
        ((NO_RUN,), "", True),
        ((PAST_LIMIT,), "untrusted-ref", True),
        ((), "", True),
    ],
)
def test_one_reviewed_run_suffices_and_unreviewed_runs_add_nothing(
    origins: tuple[RunOrigin, ...], guard: str, unknown: bool
) -> None:
    usage_of_runs = usage(*range(len(origins)))
    evidence_of_origins = evidence({str(number): origin for number, origin in enumerate(origins)})
    guard_result = addition_by_origin(usage_of_runs, evidence_of_origins, Options())
    assert (guard_result.guard if guard_result else "") == guard
    assert has_unknown_origin(usage_of_runs, evidence_of_origins) is unknown
    if guard_result and origins[0] is FEATURE:
        assert "feature/x" in guard_result.reason


def test_a_pull_request_beside_runs_that_nobody_can_tell_apart_forbids_nothing() -> None:
    """Without a repository only a login of a pull request is known."""
    assert addition_by_origin(usage(1, 2), evidence({"1": FEATURE}), Options()) is None
    assert addition_by_origin(usage(1), evidence({"1": FEATURE}), Options()) is not None


@pytest.mark.parametrize(
    ("refs", "action", "guard"),
    [
        (UnknownRefs.MARK, "iam:PassRole", ""),
        (UnknownRefs.REFUSE, "sqs:CreateQueue", "unknown-ref"),
        (UnknownRefs.REFUSE_SENSITIVE, "sqs:CreateQueue", ""),
        (UnknownRefs.REFUSE_SENSITIVE, "iam:PassRole", "unknown-ref"),
    ],
)
def test_the_input_decides_on_runs_of_unknown_origin(
    refs: UnknownRefs, action: str, guard: str
) -> None:
    guard_result = addition_by_origin(
        usage(1, action=action), evidence({"1": NO_RUN}), Options(unknown_refs=refs)
    )
    assert (guard_result.guard if guard_result else "") == guard


def test_an_addition_has_the_mark_of_its_best_known_run() -> None:
    assert origin_mark(usage(1), evidence({"1": MAIN})) == ""
    assert origin_mark(usage(1, 2), evidence({"1": BY_NAME, "2": MAIN})) == ""
    mark = origin_mark(usage(1, 2), evidence({"1": BY_NAME, "2": NO_RUN}))
    assert mark == "branch by session name"
    assert origin_mark(usage(1), evidence({"1": NO_RUN})) == "branch unknown"
    assert origin_mark(usage(1), evidence({})) == "branch unknown"
    assert origin_mark(usage(1), evidence({"1": FEATURE})) == "only by unreviewed runs"


def test_each_resource_of_an_addition_has_its_own_mark() -> None:
    """One proved resource is no proof for another one of the same action."""
    usage_of_mine = usage(2, resource="arn:aws:sqs:x:1:mine")
    assert origin_marks([usage(1), usage_of_mine], evidence({"1": MAIN, "2": BY_NAME})) == {
        "branch by session name": ("arn:aws:sqs:x:1:mine",)
    }
    assert origin_marks([usage(1)], evidence({"1": MAIN})) == {}
    assert origin_marks([usage(1)], evidence({})) == {}


@pytest.mark.parametrize(
    ("runs", "mark"),
    [
        ([(1,)], ""),
        ([(2,)], "branch unknown"),
        ([(3,)], "only by unreviewed runs"),
        ([(1, 2)], ""),
        ([(1,), (2,)], ""),
        ([(2,), (1,)], ""),
        ([(1,), (3,)], ""),
        ([(2,), (3,)], "only by unreviewed runs"),
        ([(2, 3)], "only by unreviewed runs"),
        ([()], "branch unknown"),
    ],
)
def test_a_name_has_the_mark_of_all_runs_that_used_it(
    runs: list[tuple[int, ...]], mark: str
) -> None:
    """Runs may use one resource in several usages."""
    name = "arn:aws:sqs:x:1:mine"
    usages = tuple(usage(*run, resource=name) for run in runs)
    origins = evidence({"1": MAIN, "2": NO_RUN, "3": FEATURE})
    assert change_marks(narrowing(name, *usages), origins) == ({mark: (name,)} if mark else {})


def test_a_denied_call_shows_no_use_of_a_name() -> None:
    name = "arn:aws:sqs:x:1:mine"
    denied = replace(usage(2, resource=name), outcome=Outcome.DENIED)
    assert change_marks(narrowing(name, denied), evidence({"1": MAIN, "2": NO_RUN})) == {}


def test_a_pull_request_beside_runs_that_nothing_distinguishes_marks_no_name() -> None:
    name = "arn:aws:sqs:x:1:mine"
    origins = evidence({"1": FEATURE})
    assert change_marks(narrowing(name, usage(1, 2, resource=name)), origins) == {}
    assert change_marks(narrowing(name, usage(1, resource=name)), origins)


def test_runs_that_nothing_proves_widen_no_pattern_beside_proved_ones() -> None:
    origins = {"1": MAIN, "2": BY_NAME, "3": NO_RUN, "4": FEATURE}
    assert proved_runs(evidence(origins)) == {"1"}
    unproved = proved_runs(evidence({run: origins[run] for run in "234"}))
    assert unproved is not None
    assert {"2", "3"} <= unproved
    assert "4" not in unproved
    assert proved_runs(evidence({})) is None


def test_unreviewed_runs_count_for_no_threshold() -> None:
    assert uncounted_runs(evidence({"1": MAIN, "2": NO_RUN, "3": FEATURE})) == {"3"}


@pytest.mark.parametrize(
    ("runs", "kept"), [((1,), False), ((2,), False), ((3,), True), ((1, 3), False), ((2, 3), False)]
)
def test_use_by_unreviewed_runs_alone_keeps_an_action_and_names_the_ref(
    runs: tuple[int, ...], kept: bool
) -> None:
    origins = evidence({"1": MAIN, "2": NO_RUN, "3": FEATURE})
    reason = unreviewed_use_reason([usage(*runs)], origins, Options())
    assert bool(reason) is kept
    assert ("feature/x" in reason) is kept


def test_refusing_unknown_refs_lets_sensitive_use_of_unreviewed_runs_go() -> None:
    origins = evidence({"1": MAIN, "3": FEATURE})
    refuse = Options(unknown_refs=UnknownRefs.REFUSE)
    sensitive = usage(3, action="iam:PassRole")
    assert unreviewed_use_reason([sensitive], origins, Options())
    assert unreviewed_use_reason([sensitive], origins, refuse) == ""
    assert is_refused_use(sensitive, origins, refuse)
    assert unreviewed_use_reason([usage(3)], origins, refuse)
    assert not is_refused_use(usage(1, action="iam:PassRole"), origins, refuse)


def test_unreviewed_runs_name_no_resource_of_a_sensitive_action() -> None:
    origins = evidence({"1": MAIN, "2": NO_RUN, "3": FEATURE})
    two_runs = replace(usage(3), runs=("1", "3"))
    assert not names_resource(usage(3), "iam:PassRole", origins)
    assert names_resource(usage(3), "sqs:CreateQueue", origins)
    assert names_resource(usage(2), "iam:PassRole", origins)
    assert names_resource(two_runs, "iam:PassRole", origins)
