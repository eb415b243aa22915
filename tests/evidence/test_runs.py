"""Which run a call belongs to."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from leastpriv.aws.session_names import is_run_id
from leastpriv.evidence.runs import RunTracker
from leastpriv.models import Call, Outcome, Run, WebIdentity

START = datetime(2026, 1, 2, 8, 0, tzinfo=UTC)
CODEBUILD = "AWSCodeBuild-0f3a6b1c-1111-2222-3333-444455556666"
CALL = Call(
    event_id="",
    principal="arn:aws:iam::123456789012:role/deploy",
    session="GitHubActions",
    time=START,
    account="123456789012",
    region="eu-west-1",
    source="s3.amazonaws.com",
    name="ListBuckets",
    parameters={},
    response={},
    resources=(),
    outcome=Outcome.ALLOWED,
)


def at(minutes: float, session: str = "GitHubActions", **fields: str) -> Call:
    return structs.replace(CALL, time=START + timedelta(minutes=minutes), session=session, **fields)


def runs_of(calls: Iterable[Call]) -> list[Run]:
    """The run of each call, in the order of the calls."""
    tracker = RunTracker()
    tokens = [tracker.note(call) for call in calls]
    resolved = tracker.resolve()
    return [resolved[token] for token in tokens]


@pytest.mark.parametrize("session", ["16213480461", "12345678", CODEBUILD])
def test_a_session_named_by_a_run_is_that_run_however_long_it_is_silent(session: str) -> None:
    first, last = runs_of([at(0, session), at(600, session)])
    assert first == last == Run(session, session, START, START + timedelta(minutes=600))


@pytest.mark.parametrize(
    "session", ["", "1234567", "GitHubActions", "i-0123456789", "AWSCodeBuild-x", "\uff11" * 8]
)
def test_other_session_names_are_no_runs_by_themselves(session: str) -> None:
    assert not is_run_id(session)


@pytest.mark.parametrize("session", ["", "orders-function"])
def test_calls_that_go_on_for_more_than_a_day_are_a_run_each_day(session: str) -> None:
    runs = runs_of(at(30 * step, session) for step in range(100))
    assert [len(list(part)) for _, part in groupby(run.id for run in runs)] == [32, 48, 20]
    assert {run.first.date() for run in runs} == {
        START.date() + timedelta(days=day) for day in range(3)
    }


def test_a_day_of_calls_that_passes_midnight_is_one_run() -> None:
    assert len({run.id for run in runs_of(at(30 * step) for step in range(48))}) == 1


def workload_runs(provider: str, *calls: Call) -> list[Run]:
    """The run of each call, with keys that STS issued for one identity."""
    tracker = RunTracker()
    tokens = [tracker.note(call) for call in calls]
    resolved = tracker.resolve(lambda key: WebIdentity(provider, "") if key else None)
    return [resolved[token] for token in tokens]


@pytest.mark.parametrize(
    "provider",
    [
        "ecs-tasks.amazonaws.com",
        "lambda.amazonaws.com",
        "pods.eks.amazonaws.com",
        "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF",
        "arn:aws:iam::123456789012:oidc-provider/oidc-eks.eu-west-1.api.aws/id/0123456789ABCDEF",
        "arn:aws-cn:iam::123456789012:oidc-provider/oidc.eks.cn-north-1.amazonaws.com.cn/id/0123456789ABCDEF",
    ],
)
def test_the_sessions_of_a_workload_are_one_run_a_day(provider: str) -> None:
    calls = [at(200 * step, f"task-{step}", access_key=f"ASIA{step:016}") for step in range(6)]
    runs = workload_runs(provider, *calls)
    assert [run.id for run in runs] == [*["deploy@2026-01-02"] * 5, "deploy@2026-01-03"]
    assert workload_runs(provider, *reversed(calls)) == [*reversed(runs)]


def test_a_run_that_a_session_in_a_pod_names_is_that_run() -> None:
    provider = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF"
    [run] = workload_runs(provider, at(0, "16213480461", access_key="ASIA0000000000000001"))
    assert run.id == "16213480461"


def test_the_login_of_a_workflow_is_no_workload() -> None:
    provider = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
    calls = [at(200 * step, f"job-{step}", access_key=f"ASIA{step:016}") for step in range(3)]
    assert len({run.id for run in workload_runs(provider, *calls)}) == 3


def test_chained_roles_under_one_run_id_are_one_run() -> None:
    first_run, second_run = runs_of(
        [at(0, "16213480461"), at(5, "16213480461", principal="arn:aws:iam::1:role/other")]
    )
    assert first_run is second_run


def test_an_hour_of_silence_does_not_end_a_run_and_more_does() -> None:
    together = runs_of([at(0), at(60)])
    apart = runs_of([at(0), at(60.1)])
    assert together[0] is together[1]
    assert [run.id for run in apart] == [
        "GitHubActions@2026-01-02T08:00Z",
        "GitHubActions@2026-01-02T09:00Z",
    ]


def test_several_jobs_at_once_under_one_session_name_are_one_run() -> None:
    assert len(set(runs_of([at(0), at(1), at(0.5), at(2)]))) == 1


def test_other_sessions_and_other_principals_are_other_runs() -> None:
    assert (
        len(set(runs_of([at(0), at(0, "plan"), at(0, principal="arn:aws:iam::1:role/other")]))) == 3
    )


def test_the_calls_of_a_user_are_split_by_pauses_and_named_by_their_start() -> None:
    runs = runs_of([at(0, ""), at(30, ""), at(300, "")])
    assert [run.id for run in runs] == ["user@2026-01-02T08:00Z"] * 2 + ["user@2026-01-02T13:00Z"]


def test_a_late_call_joins_the_runs_before_and_after_it() -> None:
    first, last, late = runs_of([at(0), at(90), at(45)])
    assert first is last is late
    assert (first.first, first.last) == (START, START + timedelta(minutes=90))


def test_two_runs_that_would_have_one_name_get_two() -> None:
    users = [f"arn:aws:iam::123456789012:user/{name}" for name in "ab"]
    runs = runs_of([at(0, "", principal=user) for user in users])
    assert [run.id for run in runs] == ["user@2026-01-02T08:00Z", "user@2026-01-02T08:00Z#2"]


def test_denied_calls_are_counted_over_joined_runs() -> None:
    denied = [structs.replace(at(minutes), outcome=Outcome.DENIED) for minutes in (0, 90)]
    assert {run.denied for run in runs_of([*denied, at(45)])} == {2}


MINUTES = st.lists(st.integers(0, 1_000), min_size=1, max_size=40)


@given(MINUTES)
def test_runs_are_those_of_the_sorted_calls_in_whatever_order_they_come(minutes: list[int]) -> None:
    """Against the definition: sort, cut where the gap is over an hour."""
    expected: dict[int, str] = {}
    for before, minute in zip([None, *sorted(minutes)], sorted(minutes), strict=False):
        if before is None or minute - before > 60:
            name = f"GitHubActions@{START + timedelta(minutes=minute):%Y-%m-%dT%H:%MZ}"
        expected[minute] = name
    runs = runs_of([at(minute) for minute in minutes])
    assert [run.id for run in runs] == [expected[minute] for minute in minutes]


@given(MINUTES)
def test_a_run_spans_exactly_its_calls(minutes: list[int]) -> None:
    calls = [at(minute) for minute in minutes]
    for run in set(runs_of(calls)):
        times = [call.time for call, its in zip(calls, runs_of(calls), strict=True) if its == run]
        assert (run.first, run.last) == (min(times), max(times))


def test_memory_grows_with_runs_and_not_with_calls() -> None:
    tracker = RunTracker()
    tokens = {tracker.note(at((number * 7919) % 1_440)) for number in range(20_000)}
    assert len(tokens) <= 24
    assert len(tracker.resolve()) <= 24


MAIN = WebIdentity("github", "repo:octo/shop:ref:refs/heads/main")
FEATURE = WebIdentity("github", "repo:octo/shop:ref:refs/heads/feature")
RUN = "16213480461"


def identities_of(
    calls: Iterable[Call], issued: Mapping[str, WebIdentity], *logged_in: WebIdentity
) -> list[WebIdentity | None]:
    """The identity behind the run of each call, in the order of the calls."""
    tracker = RunTracker()
    tokens = [tracker.note(call) for call in calls]
    resolved = tracker.resolve(issued.get, {RUN: frozenset(logged_in)})
    return [resolved[token].identity for token in tokens]


@pytest.mark.parametrize("session", [RUN, "GitHubActions"])
def test_one_session_name_with_keys_of_two_identities_is_two_runs(session: str) -> None:
    calls = [
        at(0, session, access_key="M"),
        at(5, session, access_key="F"),
        at(9, session, access_key="M"),
    ]
    assert identities_of(calls, {"M": MAIN, "F": FEATURE}) == [MAIN, FEATURE, MAIN]
    assert identities_of(calls, {"M": MAIN}) == [MAIN, None, MAIN]


def test_a_forwarded_call_belongs_to_the_one_identity_that_called_at_that_time() -> None:
    """A service signs with a key that no record issues."""
    forwarded = at(3, RUN, access_key="S", invoked_by="cloudformation.amazonaws.com")
    direct = at(0, RUN, access_key="M")
    assert identities_of([direct, forwarded], {"M": MAIN}) == [MAIN, MAIN]
    another = at(4, RUN, access_key="F")
    assert identities_of([direct, forwarded, another], {"M": MAIN, "F": FEATURE}) == [
        MAIN,
        None,
        FEATURE,
    ]
    assert identities_of([direct, forwarded, another], {"M": MAIN}) == [MAIN, None, None]


def test_a_forwarded_call_belongs_to_no_identity_where_another_one_logged_in_under_the_name() -> (
    None
):
    """A trail may lack the direct calls of the other one, such as data events."""
    direct, forwarded = (
        at(0, RUN, access_key="M"),
        at(3, RUN, access_key="S", invoked_by="AWS Internal"),
    )
    assert identities_of([direct, forwarded], {"M": MAIN}, MAIN) == [MAIN, MAIN]
    assert identities_of([direct, forwarded], {"M": MAIN}, MAIN, FEATURE) == [MAIN, None]


def test_a_run_that_runs_again_has_a_period_for_each_attempt() -> None:
    run = runs_of([at(0, RUN), at(30, RUN), at(5_000, RUN)])[0]
    minutes = [
        ((first - START).seconds // 60 + (first - START).days * 1_440) for first, _ in run.periods
    ]
    assert minutes == [0, 5_000]
    assert (run.first, run.last) == (run.periods[0][0], run.periods[-1][1])
