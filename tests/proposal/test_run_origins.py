"""Additions need a run of reviewed code: which runs are checked, held back and marked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from leastpriv.models import (
    Basis,
    Need,
    Origin,
    Outcome,
    Permission,
    Run,
    Trust,
    Usage,
    WebIdentity,
)
from leastpriv.proposal.addition_rules import (
    has_unknown_origin,
    origin_mark,
    origin_marks,
    origins_by_majority,
    reviewed_runs,
    run_origins,
    untrusted_ref,
)
from tests.fakes.replace import replace

START = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
MAIN = Origin(Trust.TRUSTED, "main")
FEATURE = Origin(Trust.UNTRUSTED, "the branch feature/x, which is not protected")
NO_RUN = Origin(Trust.UNKNOWN, "no workflow run 3 of this repository")
NEED = Need(Permission("sqs:CreateQueue", "*"), Basis.OBSERVED, "x")
RUNS = [
    Run(str(n), str(n), START + timedelta(days=n), START + timedelta(days=n)) for n in range(100)
]


def usage(*runs: int) -> Usage:
    return Usage(NEED, Outcome.ALLOWED, 1, START, START, tuple(map(str, runs)), ("e",))


@pytest.mark.parametrize(
    ("origins", "refused", "unknown"),
    [
        ((MAIN,), False, False),
        ((FEATURE, MAIN), False, False),
        ((NO_RUN, MAIN), False, False),
        ((FEATURE,), True, True),
        ((FEATURE, NO_RUN), True, True),
        ((NO_RUN,), False, True),
        ((), False, True),
    ],
)
def test_one_trusted_run_suffices_and_unknown_origins_are_marked(
    origins: tuple[Origin, ...], refused: bool, unknown: bool
) -> None:
    used = usage(*range(len(origins)))
    known = {str(number): origin for number, origin in enumerate(origins)}
    guard_result = untrusted_ref(used, known)
    assert (guard_result is not None) is refused
    assert has_unknown_origin(used, known) is unknown
    if guard_result:
        assert (guard_result.guard, "feature/x" in guard_result.reason) == ("untrusted-ref", True)


def test_origins_are_read_newest_first_until_one_is_trusted() -> None:
    asked: list[str] = []

    def ask(run: Run) -> Origin:
        asked.append(run.id)
        return MAIN if run.id == "5" else FEATURE

    origins = run_origins([usage(3, 4, 5, 6, 7), usage(5, 6)], RUNS, ask)
    assert asked == ["7", "6", "5"]
    assert origins == {"7": FEATURE, "6": FEATURE, "5": MAIN}


def test_the_number_of_origins_read_is_limited_and_an_unread_origin_is_not_trusted() -> None:
    asked: list[str] = []

    def ask(run: Run) -> Origin:
        asked.append(run.id)
        return FEATURE

    many = [replace(usage(*range(n, n + 20))) for n in range(0, 80, 20)]
    origins = run_origins(many, RUNS, ask)
    assert len(asked) == len(set(asked)) == 40
    assert all(untrusted_ref(used, origins) for used in many)
    hundreds = run_origins([usage(n) for n in range(100)], RUNS, ask)
    assert sum(origin is FEATURE for origin in hundreds.values()) == 60
    assert untrusted_ref(usage(99), hundreds) is not None


def test_origins_of_creating_runs_are_read_after_those_of_additions() -> None:
    """They widen no pattern past the limit, and none is read without a missing permission."""
    asked: list[str] = []

    def ask(run: Run) -> Origin:
        asked.append(run.id)
        return FEATURE if run.id == "1" else MAIN

    origins = run_origins([usage(3, 4)], RUNS, ask, [usage(1, 2, 4)])
    assert asked == ["4", "1", "2"]
    assert reviewed_runs(origins) == {"2", "4"}
    many = [usage(each) for each in range(59)]
    assert "99" not in run_origins([*many, usage(59)], RUNS, ask, [usage(99)])
    assert "99" in run_origins(many, RUNS, ask, [usage(99)])
    assert run_origins([], RUNS, ask, [usage(1)]) == {}
    assert reviewed_runs({}) is None


def test_an_addition_has_the_mark_of_its_best_known_run() -> None:
    by_name = Origin(Trust.TRUSTED, "main", "branch by session name")
    assert origin_mark(usage(1), {"1": MAIN}) == ""
    assert origin_mark(usage(1, 2), {"1": by_name, "2": MAIN}) == ""
    assert origin_mark(usage(1, 2), {"1": by_name, "2": NO_RUN}) == "branch by session name"
    assert origin_mark(usage(1), {"1": NO_RUN}) == origin_mark(usage(1), {}) == "branch unknown"


def test_each_resource_of_an_addition_has_its_own_mark() -> None:
    """One proved resource is no proof for another one of the same action."""
    by_name = Origin(Trust.TRUSTED, "main", "branch by session name")
    other = replace(
        usage(2),
        need=structs.replace(
            NEED, permission=Permission("sqs:CreateQueue", "arn:aws:sqs:x:1:mine")
        ),
    )
    assert origin_marks([usage(1), other], {"1": MAIN, "2": by_name}) == {
        "branch by session name": ("arn:aws:sqs:x:1:mine",)
    }
    assert origin_marks([usage(1)], {"1": MAIN}) == {}


def test_runs_that_nothing_proves_widen_no_pattern_beside_proved_ones() -> None:
    by_name = Origin(Trust.TRUSTED, "main", "branch by session name")
    assert reviewed_runs({"1": MAIN, "2": by_name, "3": NO_RUN, "4": FEATURE}) == {"1"}
    assert reviewed_runs({"2": by_name, "3": NO_RUN, "4": FEATURE}) == {"2", "3"}


def test_a_run_without_what_most_runs_have_is_not_trusted() -> None:
    login = WebIdentity("github", "repo:octo/shop:ref:refs/heads/main")
    bound = [replace(run, session=f"1765000{run.id}", identity=login) for run in RUNS[10:13]]
    named = [replace(run, session=f"1765000{run.id}") for run in RUNS[20:22]]
    unnamed = replace(RUNS[30], session="maintenance")

    def trust(run: Run, *runs: Run) -> Trust:
        return origins_by_majority([run, *runs], lambda _: MAIN)(run).trust

    assert trust(bound[0], *bound) is Trust.TRUSTED
    assert trust(named[0], *named) is Trust.TRUSTED
    assert trust(named[0], *bound) is Trust.UNKNOWN
    assert trust(unnamed, *named) is Trust.UNTRUSTED
    assert trust(unnamed, unnamed) is Trust.TRUSTED
    assert trust(replace(unnamed, parent_run="17650001"), *named) is Trust.TRUSTED
