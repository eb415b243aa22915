"""Each source meets each fault in a whole run: a gap that says what, never the run's end, and never
a removal.

The cases give the sentences letter by letter; `bench/source_faults.py` prints them as a table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.aws.athena import is_there
from tests.fakes.aws.stage import SOURCES, Stage

CASES = json.loads(
    (Path(__file__).parents[1] / "cases_sources" / "faults.json").read_text(encoding="utf-8")
)
CONDITIONS = (
    "happy path", "paging", "throttled", "5xx", "access denied", "expired credentials",
    "partial data", "slow",
    "interrupted",
)  # fmt: skip

_QUICK = ("happy path", "access denied", "interrupted")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


def _named(case: dict[str, Any]) -> str:
    return f"{case['source']}: {case['condition']}"


def _in_turn(case: dict[str, Any]) -> Any:
    """A whole run takes half a second: of those that other tests see at the sources, most are for
    the long run.
    """
    is_quick = case["condition"].startswith(_QUICK)
    return pytest.param(case, id=_named(case), marks=() if is_quick else pytest.mark.slow)


@pytest.mark.parametrize("case", [_in_turn(case) for case in CASES])
def test_a_fault_of_a_source_is_reported_ends_no_run_and_removes_no_grant(
    stage: Stage, case: dict[str, Any]
) -> None:
    if case["source"] == "Athena" and not is_there():
        pytest.skip("DuckDB and sqlglot are in the lab's environment: make lab")
    run = stage.run(case)
    assert (run.result.code, list(run.sentences)) == (
        case["code"],
        case["told"],
    ), run.result.err
    # The folder beside it has every record: what is not removed is held by the gap alone.
    assert bool(run.removed) is case["removes"]
    if case["condition"] == "interrupted":
        assert not run.proposal
        # Answers take twelve seconds, or never come.
        assert run.seconds < 11
        assert stage.athena.stopped == (["query-1"] if case["source"] == "Athena" else [])


def test_a_role_that_iam_lists_with_the_policy_holds_removals_back(stage: Stage) -> None:
    run = stage.run({"source": "live role", "fault": {"attached": ["ci-deploy", "nightly"]}})
    [user] = run.proposal["unnamed_users"]
    assert user["arn"] == "arn:aws:iam::111122223333:role/nightly"
    assert user["why"].startswith("IAM lists it with the policy arn:aws:iam::111122223333:policy/")
    assert run.removed == ()
    assert {held_back["guard"] for held_back in run.proposal["held_back"]} == {"other-users"}
    alone = stage.run({"source": "live role"})
    assert alone.removed


def test_every_source_meets_every_fault_and_only_what_hides_no_call_lets_removals_through() -> None:
    for source in SOURCES:
        cases_of_source = [case for case in CASES if case["source"] == source]
        for condition in CONDITIONS:
            assert any(case["condition"].startswith(condition) for case in cases_of_source), (
                source,
                condition,
            )
        for case in cases_of_source:
            settings_alone = case["condition"] == "access denied: the trail's settings"
            if case["removes"] and source != "live role" and not settings_alone:
                assert case["told"] == [], case
