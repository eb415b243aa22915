"""Policy generation: its turn in the account, jobs of others, failures, and interruption."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.aws.session import Aws, Polling
from leastpriv.errors import AwsError, InputError, caught_signals
from leastpriv.evidence.models import GeneratedPolicy
from leastpriv.evidence.policy_generation import (
    GenerationSettings,
    generate_policy,
    grants_of,
    parse_generation,
)
from tests.fakes import progress
from tests.fakes.aws.access_analyzer import AccessAnalyzer
from tests.fakes.aws.passing_time import PassingTime
from tests.fakes.aws.server import Asked, FakeAws

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ROLE, OTHER = "arn:aws:iam::111122223333:role/deploy", "arn:aws:iam::111122223333:role/other"
ACCESS_ROLE, TRAIL = (
    "arn:aws:iam::111122223333:role/analyzer",
    "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main",
)
POLICY: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetBucketAcl", "Resource": "*"}],
}


class Run:
    """One attempt at a generation."""

    def __init__(self, endpoint: FakeAws, client: Any) -> None:
        self.time = PassingTime(NOON)
        self.analyzer = AccessAnalyzer(self.time.clock, [POLICY])
        self.log_lines = progress.LINES
        self.endpoint = endpoint
        self.client = client
        endpoint.operations = self.analyzer.operations()
        endpoint._faults.clear()

    def generate(self, start: datetime | None = NOON - timedelta(days=40)) -> GeneratedPolicy:
        waiting = Polling(self.time.clock, self.time.sleep)
        return generate_policy(
            self.client, ROLE, GenerationSettings(ACCESS_ROLE, TRAIL), start, waiting
        )


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeAws]:
    """One for all, since making a client takes longer than asking."""
    with FakeAws({}) as running:
        yield running


@pytest.fixture(scope="module")
def client(endpoint: FakeAws) -> Any:
    return Aws.open(endpoint.environment()).client("accessanalyzer")


@pytest.fixture
def run(endpoint: FakeAws, client: Any) -> Run:
    return Run(endpoint, client)


def test_a_generation_reads_the_trail_from_where_the_evidence_begins(run: Run) -> None:
    policy = run.generate()
    assert (policy.first, policy.last) == (NOON - timedelta(days=40), NOON)
    [job] = run.analyzer.jobs
    assert job.details["accessRole"] == ACCESS_ROLE
    assert job.details["trails"] == [{"cloudTrailArn": TRAIL, "allRegions": True}]


@pytest.mark.parametrize("start", [None, NOON - timedelta(days=400)])
def test_no_more_than_ninety_days_are_asked_for(run: Run, start: datetime | None) -> None:
    assert run.generate(start).first == NOON - timedelta(days=90)


def test_an_incomplete_policy_is_known_as_one(run: Run) -> None:
    run.analyzer.is_complete = False
    assert not run.generate().is_complete


def test_a_generation_waits_until_the_account_is_free(run: Run) -> None:
    run.analyzer.begin(OTHER, takes=4 * MINUTE)
    assert run.generate().job == "job-2"
    assert any("the account's turn" in line for line in run.log_lines)
    assert (
        len(
            [
                line
                for line in run.log_lines
                if "which has one at a time: waiting 15 minutes at most" in line
            ]
        )
        == 1
    )
    assert run.time.slept[:4] == [1.0, 1.5, 2.25, 3.375]
    assert max(run.time.slept) == 30.0


def test_a_busy_account_ends_in_a_sentence(run: Run) -> None:
    run.analyzer.begin(OTHER, takes=120 * MINUTE)
    with pytest.raises(AwsError, match="busy for 15 minutes"):
        run.generate()
    assert len(run.analyzer.jobs) == 1


def test_a_running_generation_for_the_same_role_is_joined(run: Run) -> None:
    job = run.analyzer.begin(ROLE, takes=3 * MINUTE)
    policy = run.generate()
    assert (policy.job, policy.was_running, run.analyzer.jobs) == (job.number, True, [job])


def test_another_clients_generation_started_meanwhile_is_joined_and_not_cancelled(run: Run) -> None:
    run.analyzer.begin(OTHER, takes=MINUTE)

    def later() -> None:
        if len(run.analyzer.jobs) == 1 and run.time.now > NOON + MINUTE:
            run.analyzer.begin(ROLE, takes=5 * MINUTE)
        if run.time.now > NOON + 4 * MINUTE:
            raise KeyboardInterrupt

    run.time.on_sleep = later
    with pytest.raises(KeyboardInterrupt):
        run.generate()
    assert [run.analyzer.status(job) for job in run.analyzer.jobs] == ["SUCCEEDED", "IN_PROGRESS"]


@pytest.mark.parametrize(("hours", "jobs"), [(2, 1), (20, 2)])
def test_a_result_of_a_short_while_ago_is_taken_again(run: Run, hours: int, jobs: int) -> None:
    run.analyzer.begin(ROLE, ago=timedelta(hours=hours))
    run.generate()
    assert len(run.analyzer.jobs) == jobs


def test_pages_of_generations_are_all_looked_through(run: Run) -> None:
    running = run.analyzer.begin(ROLE, takes=3 * MINUTE)
    for _ in range(3):
        run.analyzer.begin(ROLE, ago=timedelta(days=2)).is_cancelled = True
    assert run.generate().job == running.number


def test_a_used_up_day_is_said_at_once(run: Run) -> None:
    run.analyzer.a_day = 1
    run.analyzer.begin(OTHER, ago=timedelta(hours=2))
    with pytest.raises(AwsError, match="run again tomorrow"):
        run.generate()
    assert not run.time.slept


def test_an_interrupted_run_cancels_its_own_generation(run: Run) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    run.time.on_sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        run.generate()
    [job] = run.analyzer.jobs
    assert run.analyzer.status(job) == "CANCELED"
    assert f"Cancelled the policy generation {job.number}" in run.log_lines


def test_an_interruption_is_raised_even_where_cancelling_fails(run: Run) -> None:
    run.endpoint.refuse("CancelPolicyGeneration", "AccessDeniedException", "no", 403)

    def interrupt() -> None:
        raise KeyboardInterrupt

    run.time.on_sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        run.generate()
    assert "continues" in run.log_lines[-1]


def test_a_generation_that_takes_too_long_goes_on_for_the_next_run(run: Run) -> None:
    run.analyzer.takes = 20 * MINUTE
    with pytest.raises(AwsError, match="the next run uses its result"):
        run.generate()
    run.time.now += 10 * MINUTE
    assert run.generate().job == "job-1"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("AUTHORIZATION_ERROR", "cloudtrail:GetTrail"),
        ("RESOURCE_NOT_FOUND_ERROR", "check the ARNs"),
        ("SERVICE_QUOTA_EXCEEDED_ERROR", "100,000 log files"),
        ("SERVICE_ERROR", "run again later"),
    ],
)
def test_a_failed_generation_gives_a_remedy(run: Run, code: str, advice: str) -> None:
    run.analyzer.error = code
    with pytest.raises(AwsError, match=f"{code}.*{advice}"):
        run.generate()


def test_a_joined_generation_that_its_owner_cancels_is_replaced_by_our_own(run: Run) -> None:
    job = run.analyzer.begin(ROLE, takes=3 * MINUTE)

    def cancel() -> None:
        job.is_cancelled = True

    run.time.on_sleep = cancel
    policy = run.generate()
    assert (policy.job, policy.was_running) == ("job-2", False)
    assert any("was cancelled by its owner" in line for line in run.log_lines)


@pytest.mark.parametrize("minutes", [0, 3])
@pytest.mark.parametrize(
    ("trail", "first", "last", "serves"),
    [
        ({"cloudTrailArn": TRAIL, "allRegions": True}, 40, 0, True),
        ({"cloudTrailArn": TRAIL, "allRegions": True}, 60, 0, True),
        ({"cloudTrailArn": TRAIL, "allRegions": True}, 30, 0, False),
        ({"cloudTrailArn": TRAIL, "allRegions": True}, 60, 10, False),
        ({"cloudTrailArn": TRAIL.replace("main", "other"), "allRegions": True}, 60, 0, False),
        ({"cloudTrailArn": TRAIL, "allRegions": False, "regions": ["eu-west-1"]}, 60, 0, False),
    ],
)
def test_another_clients_result_is_reused_only_if_it_read_as_much(
    run: Run, minutes: int, trail: Mapping[str, object], first: int, last: int, serves: bool
) -> None:
    job = run.analyzer.begin(ROLE, takes=minutes * MINUTE, ago=timedelta(hours=not minutes))
    times = {
        "startTime": (NOON - timedelta(days=first)).isoformat(),
        "endTime": NOON - timedelta(days=last),
    }
    job.details = {"trails": [trail], **times}
    assert run.generate().job == ("job-1" if serves else "job-2")
    assert any("it is not used" in line for line in run.log_lines) is not serves


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("operation", ["StartPolicyGeneration", "GetGeneratedPolicy"])
def test_a_signal_cancels_the_generation_also_while_it_is_asked_for(
    run: Run, number: signal.Signals, operation: str
) -> None:
    """The main thread waits for the answer when the signal comes; before, it would not have ended
    the run.
    """
    answer = run.endpoint.operations[f"accessanalyzer:{operation}"]

    def interrupted(asked: Asked) -> Mapping[str, Any]:
        reply = answer(asked)
        signal.pthread_kill(threading.main_thread().ident or 0, number)
        return reply

    run.endpoint.operations = {
        **run.endpoint.operations,
        f"accessanalyzer:{operation}": interrupted,
    }
    before = signal.signal(number, lambda *_: None)
    try:
        with pytest.raises(KeyboardInterrupt):
            run.generate()
        assert signal.getsignal(number) is not signal.SIG_DFL
    finally:
        signal.signal(number, before)
    [job] = run.analyzer.jobs
    assert run.analyzer.status(job) == "CANCELED"


def test_a_signal_that_comes_while_the_account_is_busy_ends_the_run(run: Run) -> None:
    run.analyzer.begin(OTHER, takes=120 * MINUTE)
    answer = run.endpoint.operations["accessanalyzer:StartPolicyGeneration"]

    def interrupted(asked: Asked) -> Mapping[str, Any]:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return answer(asked)

    run.endpoint.operations = {
        **run.endpoint.operations,
        "accessanalyzer:StartPolicyGeneration": interrupted,
    }
    with pytest.raises(KeyboardInterrupt):
        run.generate()
    assert not run.time.slept


def test_a_signal_that_the_caller_ignores_is_still_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with caught_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_generation_that_cannot_be_asked_for_any_more_goes_on_and_that_is_said(run: Run) -> None:
    run.endpoint.refuse("GetGeneratedPolicy", "ThrottlingException", "Rate exceeded", 429)
    with pytest.raises(
        AwsError,
        match=r"throttled the requests.*The policy generation job-1 continues; the next run uses",
    ):
        run.generate()
    run.endpoint._faults.clear()
    run.time.now += 5 * MINUTE
    assert run.generate().job == "job-1"


def test_what_a_generated_policy_denies_is_no_grant() -> None:
    statements = [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}, *POLICY["Statement"]]
    assert grants_of([json.dumps({"Statement": statements})]) == (("s3:GetBucketAcl", ("*",)),)


def test_a_cancelled_generation_is_reported(run: Run) -> None:
    def cancel() -> None:
        run.analyzer.jobs[0].is_cancelled = True

    run.time.on_sleep = cancel
    with pytest.raises(AwsError, match="was canceled"):
        run.generate()


@pytest.mark.parametrize(
    "value", [f"{ACCESS_ROLE} {TRAIL}", f"{TRAIL}\n{ACCESS_ROLE}\n", f"{ACCESS_ROLE}, {TRAIL}"]
)
def test_the_two_arns_may_come_in_any_order(value: str) -> None:
    assert parse_generation(value, "access-analyzer") == GenerationSettings(ACCESS_ROLE, TRAIL)


@pytest.mark.parametrize("value", ["", " off ", "off"])
def test_off_is_off(value: str) -> None:
    assert parse_generation(value, "access-analyzer") is None


@pytest.mark.parametrize(
    "value",
    ["on", ACCESS_ROLE, f"{TRAIL} {TRAIL}", f"{ACCESS_ROLE} {TRAIL} x", "arn:aws:s3:::b " + TRAIL],
)
def test_another_value_is_bad_input_that_names_it(value: str) -> None:
    with pytest.raises(InputError, match="The input access-analyzer is"):
        parse_generation(value, "The input access-analyzer")


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"Statement": [3]}', '{"Statement": {"Effect": "Allow", "Action": "a:B"}}'],
)
def test_an_invalid_policy_is_reported(text: str) -> None:
    with pytest.raises(AwsError):
        grants_of([text])


ACTIONS = st.sampled_from(["s3:GetObject", "sqs:SendMessage", "ec2:*"])
RESOURCES = st.sampled_from(
    ["*", "arn:aws:s3:::${BucketName}", "arn:aws:sqs:${Region}:${Account}:${QueueName}"]
)
LISTS = st.lists(
    st.tuples(st.lists(ACTIONS, min_size=1), st.lists(RESOURCES, min_size=1)), max_size=4
)


@given(st.lists(LISTS, max_size=3), st.booleans())
def test_every_grant_of_every_policy_is_read_once(
    policies: list[list[tuple[list[str], list[str]]]], single: bool
) -> None:
    def form(values: list[str]) -> str | list[str]:
        return values[0] if single and len(values) == 1 else values

    texts = [
        json.dumps(
            {
                "Statement": [
                    {"Effect": "Allow", "Action": form(a), "Resource": form(r)}
                    for a, r in statements
                ]
            }
        )
        for statements in policies
    ]
    expected = {
        (a, r)
        for statements in policies
        for actions, resources in statements
        for a in actions
        for r in resources
    }
    policy_grants = grants_of(texts)
    assert {
        (action, resource) for action, resources in policy_grants for resource in resources
    } == expected
    assert len({action for action, _ in policy_grants}) == len(policy_grants)
