"""The stream of pull requests of a year: no line back and forth, no removal that a later job needed,
no false closure and no orphan, whatever is renamed in between.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.end_to_end.year import REPOSITORY, Clock, Measures, Year, first_policy
from tests.fakes.github import FakeGitHub
from tests.fakes.github.direct import without_sockets

_EVERY = 14
"""Days from one run of the product to the next."""
_FOR_CLEANING = 4
"""Pull requests of a year that add nothing."""
_UNBLOCKED = 0.8
"""Share of the denied features that run after the first merged proposal that knew them, and share
of those whose every permission it writes or offers."""


def simulate(
    folder: Path,
    seed: int,
    *,
    memory: bool,
    renames: bool = False,
    incidents: bool = False,
    days: int = 365,
    apps: Sequence[str] = ("shop",),
    users: int = 1,
    takes_offers: bool = False,
    answers_by_hand: bool = False,
) -> list[Measures]:
    """Returns the measures of each target after some days."""
    clock = Clock()
    files = {f"iam/{app}.json": json.dumps(first_policy(app), indent=2) for app in apps}
    with FakeGitHub(REPOSITORY, files=files, clock=clock) as hub, without_sockets(hub):
        # The quick tests of the fake make the same requests.
        hub.world.checks_descriptions = False
        hub.add_user("kim", "write")
        years = [
            Year(
                folder,
                hub,
                clock,
                seed=seed + number,
                memory=memory,
                days=days,
                app=app,
                users=users,
                takes_offers=takes_offers,
                answers_by_hand=answers_by_hand,
            )
            for number, app in enumerate(apps)
        ]
        allowance = hub.world.rate.remaining
        for day in range(days):
            hub.world.rate.remaining = allowance  # It is that of an hour.
            for year in years:
                year.day(day)
                if renames:
                    _rename(year, day, days)
                if day % _EVERY == _EVERY - 1:
                    options = _incident(year, day // _EVERY) if incidents else {}
                    year.propose(**options)
                    hub.heal()
        return [year.finish() for year in years]


def _rename(year: Year, day: int, days: int) -> None:
    """Renames role, file and branch, each on another day and while a pull request may be open."""
    app = year.app
    if day == days // 3:
        year.rename_file(f"policies/ci/{app}.json")
    if day == days // 2:
        year.names.roles = [f"release-{role}" for role in year.names.roles]
    if day == days * 2 // 3:
        year.names.branch = f"least/{app}"


def _incident(year: Year, run: int) -> dict[str, str]:
    """What goes wrong in a run, while a pull request is open."""
    if not year.has_open_pull_request:
        return {}
    if run % 3 == 0:
        year.lose_memory_once()
    if run % 3 == 1:
        return {"minimum-days": "120"}
    if run % 3 == 2:
        year.missing_days(run * _EVERY + 3, run * _EVERY + 6)
    return {}


def assert_within_ceilings(measures: Measures, *, memory: bool) -> None:
    """The measures of a year are below their ceilings."""
    assert measures.failures == []
    assert measures.false_closures == []
    assert measures.back_and_forth == []
    assert measures.orphans == []
    assert measures.answered_twice == []
    assert len(measures.denied_by_removal) <= (0 if memory else 1), measures.denied_by_removal
    assert measures.merged > 0
    requests = measures.real_changes + measures.second_requests
    assert measures.pull_requests <= requests + _FOR_CLEANING
    assert measures.unblocked_by_first >= _UNBLOCKED, measures.waits
    assert measures.named_by_first >= _UNBLOCKED, measures.named


def test_a_quarter_has_no_false_step(tmp_path: Path) -> None:
    [measures] = simulate(tmp_path, 2, memory=True, days=58)
    assert_within_ceilings(measures, memory=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("renames", [False, True], ids=["one-name", "renames"])
@pytest.mark.parametrize("memory", [True, False], ids=["memory", "no-memory"])
def test_a_year_of_one_role(tmp_path: Path, seed: int, memory: bool, renames: bool) -> None:
    [measures] = simulate(tmp_path, seed, memory=memory, renames=renames)
    assert_within_ceilings(measures, memory=memory)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("memory", [True, False], ids=["memory", "no-memory"])
def test_a_year_of_a_team_that_takes_offers(tmp_path: Path, seed: int, memory: bool) -> None:
    """With a person's yes to sensitive actions, the first proposal is enough for all features."""
    [measures] = simulate(tmp_path, seed, memory=memory, takes_offers=True)
    assert_within_ceilings(measures, memory=memory)
    assert measures.all_unblocked_by_first >= _UNBLOCKED, measures.waits
    assert measures.pull_requests <= measures.real_changes + _FOR_CLEANING


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("memory", [True, False], ids=["memory", "no-memory"])
def test_a_year_of_a_team_that_answers_by_hand(tmp_path: Path, seed: int, memory: bool) -> None:
    """What a person grants again remains, and what a person takes away from a branch, or deletes
    after the merge, stays out.
    """
    [measures] = simulate(tmp_path, seed, memory=memory, renames=memory, answers_by_hand=True)
    assert measures.answers > 2
    assert measures.answered_twice == []
    assert measures.false_closures == []
    assert measures.orphans == []
    assert measures.failures == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_year_of_incidents_closes_no_pull_request(tmp_path: Path, seed: int) -> None:
    [measures] = simulate(tmp_path, seed, memory=True, incidents=True)
    assert_within_ceilings(measures, memory=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("memory", [True, False], ids=["memory", "no-memory"])
def test_a_year_of_one_policy_with_three_users(tmp_path: Path, seed: int, memory: bool) -> None:
    [measures] = simulate(tmp_path, seed, memory=memory, users=3)
    assert_within_ceilings(measures, memory=memory)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [True, False], ids=["memory", "no-memory"])
def test_half_a_year_of_twelve_jobs_of_a_matrix(tmp_path: Path, memory: bool) -> None:
    apps = [f"app{number}" for number in range(12)]
    every = simulate(tmp_path, 0, memory=memory, days=182, apps=apps, renames=True)
    for measures in every:
        assert_within_ceilings(measures, memory=memory)
