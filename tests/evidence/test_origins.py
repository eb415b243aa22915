"""The origin of each run is resolved once: by its login, else by its workflow run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from leastpriv.evidence.models import Evidence
from leastpriv.evidence.origins import Ask, origins_by_majority, resolve_origins
from leastpriv.evidence.usage_history import history_from_evidence
from leastpriv.models import (
    Basis,
    Need,
    Origin,
    Outcome,
    Permission,
    Run,
    RunOrigin,
    Usage,
    WebIdentity,
)
from tests.fakes.replace import replace

START = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
MAIN = RunOrigin(Origin.REVIEWED, "main")
FEATURE = RunOrigin(Origin.UNREVIEWED, "the branch feature/x, which is not protected")
NEED = Need(Permission("sqs:CreateQueue", "*"), Basis.OBSERVED, "x")
RUNS = tuple(
    Run(str(n), str(n), START + timedelta(days=n), START + timedelta(days=n)) for n in range(100)
)


def usage(*runs: int) -> Usage:
    return Usage(NEED, Outcome.ALLOWED, 1, START, START, tuple(map(str, runs)), ("e",))


def recording(asked: list[str], answer: Callable[[Run], RunOrigin]) -> Ask:
    def ask(run: Run) -> RunOrigin:
        asked.append(run.id)
        return answer(run)

    return ask


def resolved(
    ask: Ask,
    missing: Sequence[Usage] = (),
    used: Sequence[Usage] = (),
    naming: Sequence[Usage] = (),
    runs: tuple[Run, ...] = RUNS,
    by_login: Callable[[Run], RunOrigin | None] = lambda _: None,
) -> dict[str, RunOrigin]:
    evidence = Evidence("arn:aws:iam::111122223333:role/ci", usages=tuple(used), runs=runs)
    return resolve_origins(evidence, missing=missing, naming=naming, by_login=by_login, ask=ask)


def test_runs_of_additions_are_asked_about_first_newest_first_until_one_is_reviewed() -> None:
    asked_runs: list[str] = []
    ask = recording(asked_runs, lambda run: MAIN if run.id == "5" else FEATURE)
    origins = resolved(ask, [usage(3, 4, 5, 6, 7), usage(5, 6)])
    assert asked_runs[:3] == ["7", "6", "5"]
    assert origins["5"] is MAIN
    assert origins["7"] is FEATURE


def test_the_number_of_questions_is_limited_and_a_run_past_the_limit_may_add_nothing() -> None:
    asked_runs: list[str] = []
    origins = resolved(recording(asked_runs, lambda _: FEATURE), [usage(n) for n in range(100)])
    assert len(asked_runs) == len(set(asked_runs)) == 60
    assert [run for run, origin in origins.items() if not origin.is_asked] == [
        str(n) for n in range(60, 100)
    ]


def test_every_run_has_an_origin_and_what_the_policy_grants_costs_fewer_questions() -> None:
    asked_runs: list[str] = []
    origins = resolved(recording(asked_runs, lambda _: MAIN), used=[usage(1, 2), usage(4)])
    assert asked_runs[:2] == ["2", "4"]
    assert len(asked_runs) == 30
    assert origins.keys() == {run.id for run in RUNS}
    assert {origin.origin for origin in origins.values()} == {Origin.REVIEWED, Origin.UNKNOWN}


def test_runs_that_widen_patterns_are_asked_about_after_those_of_additions() -> None:
    asked_runs: list[str] = []
    ask = recording(asked_runs, lambda run: FEATURE if run.id == "1" else MAIN)
    resolved(ask, [usage(3, 4)], naming=[usage(1, 2, 4)], runs=RUNS[:5])
    assert asked_runs[:3] == ["4", "1", "2"]


def test_a_login_that_shows_an_unreviewed_ref_is_never_asked_about() -> None:
    asked_runs: list[str] = []
    logins = {"1": FEATURE, "2": MAIN}
    origins = resolved(
        recording(asked_runs, lambda _: MAIN),
        [usage(1), usage(2)],
        runs=RUNS[:3],
        by_login=lambda run: logins.get(run.id),
    )
    # A login of the base is asked about where an addition rests on it: the commit is not known.
    assert asked_runs == ["2", "0"]
    assert origins == {"0": MAIN, "1": FEATURE, "2": MAIN}


def test_a_run_without_what_most_runs_have_is_not_reviewed() -> None:
    login = WebIdentity("github", "repo:octo/shop:ref:refs/heads/main")
    bound = [replace(run, session=f"1765000{run.id}", identity=login) for run in RUNS[10:13]]
    main_runs = [replace(run, session=f"1765000{run.id}") for run in RUNS[20:22]]
    unnamed = replace(RUNS[30], session="maintenance")

    def origin(run: Run, *runs: Run) -> Origin:
        return origins_by_majority([run, *runs], lambda _: MAIN)(run).origin

    assert origin(bound[0], *bound) is Origin.REVIEWED
    assert origin(main_runs[0], *main_runs) is Origin.REVIEWED
    assert origin(main_runs[0], *bound) is Origin.UNKNOWN
    assert origin(unnamed, *main_runs) is Origin.UNREVIEWED
    assert origin(unnamed, unnamed) is Origin.REVIEWED
    assert origin(replace(unnamed, parent_run="17650001"), *main_runs) is Origin.REVIEWED


def test_an_unreviewed_run_shows_a_use_and_no_rhythm() -> None:
    runs = RUNS[:2]
    rare_usage = usage(0, 1)
    rare_usage = replace(rare_usage, first_seen=runs[0].first, last_seen=runs[1].last)
    origins = {"0": MAIN, "1": FEATURE}
    evidence = Evidence("arn:aws:iam::111122223333:role/ci", usages=(rare_usage,), runs=runs)
    counted = history_from_evidence(evidence).used["sqs:CreateQueue"]["*"]
    reviewed = history_from_evidence(replace(evidence, origins=origins))
    reviewed_use = reviewed.used["sqs:CreateQueue"]["*"]
    assert (counted.least_runs, reviewed_use.least_runs) == (2, 1)
    assert reviewed_use.last == counted.last == runs[1].last.date()
