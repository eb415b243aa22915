"""Event history against a server that pages, throttles, fails and breaks off; what each fault comes
to is a table.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws import session as aws_module
from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail import event_history as module
from leastpriv.cloudtrail import lookup_events
from leastpriv.cloudtrail.coverage import LOGGED_KINDS
from leastpriv.cloudtrail.event_history import EventHistory, EventHistoryOptions
from leastpriv.cloudtrail.file_reader import EventDeduplicator
from leastpriv.cloudtrail.lookup_events import await_delivery
from leastpriv.cloudtrail.record import is_login
from leastpriv.evidence.runs import IssuedKeys, RunTracker
from leastpriv.models import Call, Gap, GapKind, Scope
from tests.fakes import progress
from tests.fakes.aws.event_history import FakeHistory, Fault, call, login

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
WHOLE = Window()
OTHER = "arn:aws:iam::111122223333:role/ops"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
REGIONS = ("eu-west-1", "us-east-1")
SESSIONS = ("19000000001", "19000000002", "19000000003")
CASES = json.loads((Path(__file__).parent / "event_history_cases.json").read_text(encoding="utf-8"))


@pytest.fixture
def history() -> Iterator[FakeHistory]:
    """Three deploys: a login, 60 calls in the called region, 3 of a global service; and others'
    calls all around.
    """
    fake = FakeHistory()
    for number, session in enumerate(SESSIONS):
        start = NOW - timedelta(days=60 - number)
        events = [login(ROLE, session, start, "eu-west-1")]
        events += [
            call(ROLE, session, "sqs:CreateQueue", start + timedelta(seconds=n), "eu-west-1")
            for n in range(60)
        ]
        events += [
            call(OTHER, "kim", "sqs:PurgeQueue", start + timedelta(seconds=n), "eu-west-1")
            for n in range(60)
        ]
        fake.events.setdefault("eu-west-1", []).extend(events)
        fake.events.setdefault("us-east-1", []).extend(
            call(ROLE, session, "iam:CreateRole", start + timedelta(seconds=n), "us-east-1")
            for n in range(3)
        )
    with fake:
        yield fake
    assert fake.violations == []


def source(fake: FakeHistory, *further: str, **options: Any) -> EventHistory:
    return EventHistory(
        Aws.open(fake.environment()),
        (*REGIONS, *further),
        NOW,
        EventHistoryOptions(pace=0, **options),
    )


def read(
    found: EventHistory, window: Window = WHOLE, role: str = ROLE
) -> tuple[list[Call], list[Gap]]:
    observations = list(found.read(window, Principals(frozenset({parse_principal(role)}))))
    gaps = [
        observation
        for observation in observations
        if isinstance(observation, Gap) and observation.kind is not GapKind.NO_DATA_EVENTS
    ]
    return [observation for observation in observations if isinstance(observation, Call)], gaps


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["title"])
def test_a_fault_is_repeated_or_a_gap_in_its_scope_and_never_the_end(
    history: FakeHistory, case: dict[str, Any]
) -> None:
    history.faults += [Fault(**fault) for fault in case["faults"]]
    history.events["eu-west-1"] += case.get("broken", ())
    history_source = source(history)
    calls, told_gaps = read(history_source)
    # Regions are read at the same time; a broken record comes with the answer to each question.
    gaps = sorted(dict.fromkeys(told_gaps), key=lambda gap: gap.detail)
    assert len(calls) == case["calls"]
    assert len({call_read.event_id for call_read in calls}) == len(calls)
    assert [[gap.kind, ",".join(gap.scope.regions)] for gap in gaps] == [
        gap[:2] for gap in case["gaps"]
    ]
    for gap, (_, region, *texts) in zip(gaps, case["gaps"], strict=True):
        assert all(text in gap.detail for text in texts), gap.detail
        assert "\n" not in gap.detail
        if gap.kind is GapKind.SOURCE_FAILED:
            assert region or "us-east-1" not in history_source.statistics.days


def test_the_gap_says_that_no_data_event_can_be_seen(history: FakeHistory) -> None:
    first = next(
        iter(source(history).read(Window(), Principals(frozenset({parse_principal(ROLE)}))))
    )
    assert isinstance(first, Gap)
    assert (first.kind, first.scope) == (GapKind.NO_DATA_EVENTS, Scope(data_events=True))


def test_a_role_is_looked_up_by_its_sessions_only(history: FakeHistory) -> None:
    history_source = source(history)
    read(history_source)
    requests = set(history.requests)
    assert {
        (region, f"Username={session}") for region in REGIONS for session in SESSIONS
    } <= requests
    assert all(attribute for _, attribute in requests)
    # logins by three attributes and three sessions in two regions, of which two pages each in the
    # one with 60 calls
    assert history_source.statistics.requests == len(history.requests) == 2 * 3 + 3 * 2 + 3
    assert history_source.statistics.records == 3 * 63


def test_a_session_that_logged_in_through_another_region_is_found(history: FakeHistory) -> None:
    """A workflow whose `aws-region` is one region may deploy to another by an option of its
    tool.
    """
    moved = [
        event
        for event in history.events["eu-west-1"]
        if event["eventName"].startswith("AssumeRole")
    ]
    history.events["eu-west-1"] = [
        event for event in history.events["eu-west-1"] if event not in moved
    ]
    history.events["ap-southeast-2"] = moved[:1]
    history.events["eu-west-1"] += moved[1:]
    calls, gaps = read(source(history, "ap-southeast-2"))
    assert (len(calls), gaps) == (189, [])


@pytest.mark.parametrize(
    ("kind", "text"),
    [("invalid", "not known there"), ("denied", "AWS denied cloudtrail:LookupEvents")],
)
def test_a_region_without_readable_assume_role_events_may_hide_any_call_and_has_a_remedy(
    history: FakeHistory, kind: str, text: str
) -> None:
    """Credentials of STS's global endpoint are refused in regions that are enabled, and may log in
    there.
    """
    history.faults.append(Fault(kind, "ap-east-1"))
    history_source = source(history, "ap-east-1", remedy="Name the regions.")
    calls, gaps = read(history_source)
    assert len(calls) == 189
    assert [(gap.kind, gap.scope) for gap in gaps] == [(GapKind.SOURCE_FAILED, Scope())]
    assert text in gaps[0].detail
    assert gaps[0].detail.endswith("Name the regions.")
    assert "ap-east-1" in gaps[0].detail
    assert "ap-east-1" not in history_source.statistics.days


def test_regions_that_reject_the_credentials_are_one_sentence(history: FakeHistory) -> None:
    regions = [f"xx-south-{number}" for number in range(1, 30)]
    history.faults += [Fault("invalid", region) for region in regions]
    _, gaps = read(source(history, *regions))
    assert len(gaps) == 1
    assert "and 9 more" in gaps[0].detail


@pytest.mark.parametrize(
    "odd",
    [
        {"as text": '{"eventName": "AssumeRoleWith'},
        {"as text": "[]"},
        {"requestParameters": None, "responseElements": None},
        {"requestParameters": {"roleArn": ROLE}, "responseElements": {}},
    ],
)
def test_a_login_that_cannot_be_read_hides_what_its_session_did_anywhere(
    history: FakeHistory, odd: dict[str, Any]
) -> None:
    when = NOW - timedelta(days=3)
    history.events["eu-west-1"] += [
        login(ROLE, "other", when, "eu-west-1") | odd,
        call(ROLE, "other", "sns:CreateTopic", when, "eu-west-1"),
    ]
    calls, gaps = read(source(history))
    assert len(calls) == 189
    assert [(gap.kind, gap.scope) for gap in gaps] == [(GapKind.UNREADABLE_RECORD, Scope())]
    assert "eu-west-1" in gaps[0].detail


@pytest.mark.parametrize("missing", ["requestParameters", "responseElements"])
def test_a_login_is_understood_by_its_request_or_its_response(
    history: FakeHistory, missing: str
) -> None:
    when = NOW - timedelta(days=3)
    history.events["eu-west-1"] += [
        login(ROLE, "other", when, "eu-west-1") | {missing: None},
        login(OTHER, "kims", when, "eu-west-1") | {missing: None},
        call(ROLE, "other", "sns:CreateTopic", when, "eu-west-1"),
    ]
    calls, gaps = read(source(history))
    assert (len(calls), gaps) == (190, [])
    assert ("eu-west-1", "Username=kims") not in history.requests


def test_a_denied_assume_role_call_starts_no_session(history: FakeHistory) -> None:
    refused = login(ROLE, "other", NOW - timedelta(days=3), "eu-west-1")
    history.events["eu-west-1"].append(
        refused | {"errorCode": "AccessDenied", "responseElements": None}
    )
    _, gaps = read(source(history))
    assert gaps == []
    assert ("eu-west-1", "Username=other") not in history.requests


def test_a_role_that_is_named_without_its_path_is_asked_for_with_it(history: FakeHistory) -> None:
    """AssumeRole is looked up by the role's ARN: the other logins tell the whole of it."""
    when = NOW - timedelta(days=3)
    history.events["eu-west-1"] += [
        login(ROLE, "nightly", when, "eu-west-1", "AssumeRole"),
        call(ROLE, "nightly", "sns:CreateTopic", when, "eu-west-1"),
    ]
    calls, gaps = read(source(history), role=ROLE.replace("ci/", ""))
    assert (len(calls), gaps) == (190, [])


def test_a_login_counts_up_to_twelve_hours_before_the_window(history: FakeHistory) -> None:
    """The longest session of a role; its calls may lie in the window all the same."""
    start = NOW - timedelta(days=7)
    for hours, session in ((11, "long"), (13, "over")):
        history.events["eu-west-1"] += [
            login(ROLE, session, start - timedelta(hours=hours), "eu-west-1"),
            call(ROLE, session, "sns:CreateTopic", start + timedelta(minutes=1), "eu-west-1"),
        ]
    calls, _ = read(source(history), Window(start))
    assert [call_read.session for call_read in calls] == ["long"]


def test_known_sessions_give_no_coverage(history: FakeHistory) -> None:
    history_source = source(history, sessions=SESSIONS[:1])
    calls, gaps = read(history_source)
    assert (len(calls), gaps) == (63, [])
    assert history_source.statistics.days == {}


@pytest.mark.parametrize(
    ("minutes", "wait", "end", "kinds"),
    [
        (3, 0, None, [GapKind.EVENTS_LATE]),
        (20, 0, None, []),
        (3, 1, None, []),
        (3, 0, NOW - timedelta(days=1), []),
        (3, 0, NOW - timedelta(minutes=1), [GapKind.EVENTS_LATE]),
    ],
)
def test_a_role_that_was_at_work_a_moment_ago_has_events_under_way(
    history: FakeHistory, minutes: int, wait: int, end: datetime | None, kinds: list[GapKind]
) -> None:
    history.events["eu-west-1"].append(
        login(ROLE, "new", NOW - timedelta(minutes=minutes), "eu-west-1")
    )
    _, gaps = read(source(history, wait=timedelta(minutes=wait)), Window(None, end))
    assert [gap.kind for gap in gaps] == kinds
    assert all(gap.scope == Scope() and "wait-for-events" in gap.detail for gap in gaps)


def test_pages_that_lead_in_a_circle_end(history: FakeHistory) -> None:
    """A, B, A …: no page names itself as the next."""
    history.faults.append(Fault("circle", "eu-west-1", after=3))
    calls, gaps = read(source(history))
    assert {call_read.region for call_read in calls} == set(REGIONS)
    assert [gap.scope.regions for gap in gaps] == [("eu-west-1",)]
    assert "was read in part only" in gaps[0].detail


def test_a_long_history_reports_progress(
    history: FakeHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SAY_EVERY", 2)
    log_lines = progress.LINES
    read(source(history))
    assert "Event history of eu-west-1: 2 answers so far" in log_lines


def test_a_session_that_began_before_the_window_counts_from_its_start_on(
    history: FakeHistory,
) -> None:
    start = NOW - timedelta(days=58) + timedelta(seconds=30)
    calls, _ = read(source(history), Window(start))
    assert {call_read.session for call_read in calls} == {SESSIONS[2]}
    assert len(calls) == 30


def test_session_names_that_recur_are_looked_up_once(history: FakeHistory) -> None:
    history.events = {
        "eu-west-1": [
            event
            for day in range(30)
            for event in (
                login(ROLE, "GitHubActions", NOW - timedelta(days=day + 1), "eu-west-1"),
                call(
                    ROLE,
                    "GitHubActions",
                    "sqs:CreateQueue",
                    NOW - timedelta(days=day + 1),
                    "eu-west-1",
                ),
            )
        ]
    }
    calls, gaps = read(source(history))
    assert (len(calls), gaps) == (30, [])
    assert history.requests.count(("us-east-1", "Username=GitHubActions")) == 1


def test_a_login_by_assume_role_is_found_by_the_role_that_it_is_about(history: FakeHistory) -> None:
    build = "AWSCodeBuild-01234567-89ab-cdef-0123-456789abcdef"
    history.events["us-east-1"] += [
        login(ROLE, build, NOW - timedelta(days=2), "us-east-1", "AssumeRole"),
        call(ROLE, build, "ecr:CreateRepository", NOW - timedelta(days=2), "us-east-1"),
    ]
    calls, _ = read(source(history))
    assert build in {call_read.session for call_read in calls}


def task_login(
    session: str, key: str, when: datetime, service: str = "ecs-tasks.amazonaws.com"
) -> dict[str, Any]:
    """The record by which a service gets the keys of a role for a workload."""
    record = login(ROLE, session, when, "eu-west-1", "AssumeRole")
    record["responseElements"]["credentials"] = {"accessKeyId": key, "sessionToken": "secret"}
    return record | {"userIdentity": {"type": "AWSService", "invokedBy": service}}


def test_the_sessions_of_tasks_are_found_and_are_a_run_a_day(history: FakeHistory) -> None:
    runs, keys = RunTracker(), IssuedKeys()
    for number in range(6):
        task, key = f"{number:032x}", f"ASIAEXAMPLE000000{number:03}"
        when = NOW - timedelta(days=2 + number // 3, hours=number % 3)
        task_call = call(ROLE, task, "sqs:CreateQueue", when, "eu-west-1")
        task_call["userIdentity"]["accessKeyId"] = key
        history.events["eu-west-1"] += [
            task_login(task, key, when - timedelta(seconds=9)),
            task_call,
        ]
    calls, _ = read(source(history))
    for login_call in filter(is_login, calls):
        keys.note_login(login_call)
    tokens = [
        runs.note(call_read)
        for call_read in calls
        if not is_login(call_read) and call_read.name == "CreateQueue"
    ]
    resolved = runs.resolve(keys.identity_of)
    assert len(tokens) >= 6
    names = {resolved[token].id for token in tokens if resolved[token].identity}
    days = [f"{NOW - timedelta(days=days_ago):%Y-%m-%d}" for days_ago in (2, 3)]
    assert names == {f"{ROLE.rpartition('/')[2]}@{day}" for day in days}
    assert "secret" not in str([session_call.response for session_call in calls])


def test_a_service_that_runs_deployments_is_no_workload(history: FakeHistory) -> None:
    record = task_login(
        "build", "ASIAEXAMPLE0000001", NOW - timedelta(days=2), "codebuild.amazonaws.com"
    )
    history.events["eu-west-1"].append(record)
    assert not [
        call_read
        for call_read in read(source(history))[0]
        if is_login(call_read) and call_read.session == "build"
    ]


def test_more_sessions_than_can_be_looked_up_are_read_with_all_events(
    history: FakeHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_SESSIONS", 1)
    calls, _ = read(source(history))
    assert calls
    assert not [lookup for _, lookup in history.requests if lookup.startswith("Username=")]


def test_without_sessions_all_events_are_read_and_the_limit_is_a_gap(
    history: FakeHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for region, events in history.events.items():
        history.events[region] = [
            event for event in events if not event["eventName"].startswith("AssumeRole")
        ]
    calls, gaps = read(source(history))
    assert (len(calls), gaps) == (189, [])
    monkeypatch.setattr(lookup_events, "_MOST_PAGES", 2)
    calls, gaps = read(source(history))
    assert 0 < len(calls) < 189
    assert [(gap.kind, gap.scope.regions) for gap in gaps] == [
        (GapKind.SOURCE_FAILED, ("eu-west-1",))
    ]
    assert "longer than 100 events" in gaps[0].detail


def test_a_user_is_looked_up_by_name(history: FakeHistory) -> None:
    user = "arn:aws:iam::111122223333:user/ci/deployer"
    identity = {"type": "IAMUser", "arn": user, "userName": "deployer", "accountId": "111122223333"}
    history.events["eu-west-1"].append(
        call(
            ROLE,
            "x",
            "sqs:CreateQueue",
            NOW - timedelta(days=1),
            "eu-west-1",
            userIdentity=identity,
        )
    )
    calls, gaps = read(source(history), role=user)
    assert [call_read.principal for call_read in calls] == [user]
    assert gaps == []
    assert {attribute for _, attribute in history.requests} == {"Username=deployer"}


def test_what_a_trail_has_shown_already_counts_once(history: FakeHistory) -> None:
    deduplicator = EventDeduplicator()
    for record in history.events["us-east-1"]:
        deduplicator.is_duplicate(record["eventID"])
    history_source = source(history, seen=deduplicator)
    calls, _ = read(history_source)
    assert len(calls) == 180
    assert history_source.statistics.duplicates == 9


def test_a_region_that_was_read_is_covered_from_start_to_end_with_all_its_events(
    history: FakeHistory,
) -> None:
    history_source = source(history)
    read(history_source)
    start = NOW - timedelta(days=90)
    assert history_source.statistics.days == {
        region: set(range(start.toordinal(), NOW.toordinal() + 1)) for region in REGIONS
    }
    assert {key: len(days) for key, days in history_source.statistics.logged.items()} == {
        (region, kind): 91 for region in REGIONS for kind in LOGGED_KINDS
    }
    shorter = source(history, days=59)
    calls, _ = read(shorter)
    assert {call_read.session for call_read in calls} == set(SESSIONS[1:])
    assert {len(days) for days in shorter.statistics.days.values()} == {60}


def test_events_outside_the_window_are_left_out(history: FakeHistory) -> None:
    start = NOW - timedelta(days=59)
    calls, _ = read(source(history), Window(start, start + timedelta(seconds=10)))
    assert {call_read.session for call_read in calls} == {SESSIONS[1]}
    assert max(call_read.time for call_read in calls) == start + timedelta(seconds=9)


def test_who_stops_reading_stops_the_requests(history: FakeHistory) -> None:
    history.faults.append(Fault("slow", seconds=0.02))
    reading = source(history).read(Window(), Principals(frozenset({parse_principal(ROLE)})))
    assert any(isinstance(observation, Call) for observation in reading)
    before = {thread.ident for thread in threading.enumerate()}
    reading.close()  # type: ignore[attr-defined]
    request_count = len(history.requests)
    assert request_count <= 2 * 3 + 2 * 2
    assert before
    # At most the one request of each region that was under way.
    assert len(history.requests) <= request_count + len(REGIONS)


def test_a_server_that_does_not_answer_is_a_gap(
    history: FakeHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The other region answers well within the limit, on a busy machine too.
    monkeypatch.setattr(aws_module, "_READ_SECONDS", 2)
    history.faults.append(Fault("slow", "us-east-1", seconds=3))
    calls, gaps = read(source(history))
    assert len(calls) == 180
    assert "did not answer in time" in gaps[0].detail
    history.violations.clear()


class TestDelivery:
    def test_waiting_ends_when_a_call_of_our_own_shows(self, history: FakeHistory) -> None:
        history.lookups_before_delivery = 2
        gaps = list(
            await_delivery(
                Aws.open(history.environment()), REGIONS, timedelta(minutes=10), every=0.01
            )
        )
        assert gaps == []
        assert len(progress.LINES) == 2
        assert all(region in line for region in REGIONS for line in progress.LINES)

    def test_after_the_time_that_was_given_the_region_is_a_gap(self, history: FakeHistory) -> None:
        history.lookups_before_delivery = 1_000_000
        gaps = list(
            await_delivery(
                Aws.open(history.environment()), REGIONS, timedelta(seconds=0.3), every=0.1
            )
        )
        # A login that is late hides what its session did, wherever that was.
        assert [(gap.kind, gap.scope) for gap in gaps] == [(GapKind.EVENTS_LATE, Scope())] * 2
        assert "wait-for-events" in gaps[0].detail

    def test_a_denied_lookup_is_reported_without_waiting(self, history: FakeHistory) -> None:
        history.faults.append(Fault("denied"))
        gaps = list(await_delivery(Aws.open(history.environment()), REGIONS, timedelta(minutes=5)))
        assert all("cloudtrail:LookupEvents" in gap.detail for gap in gaps)
        assert len(gaps) == 2


def test_a_login_in_event_history_binds_its_key_to_the_subject(history: FakeHistory) -> None:
    """Additions need the branch of a run, which its login names."""
    when, subject = NOW - timedelta(days=3), "repo:acme/shop:ref:refs/heads/main"
    record = login(ROLE, "19000000009", when, "eu-west-1")
    record["responseElements"] |= {
        "credentials": {"accessKeyId": "ASIAEXAMPLE0000009", "sessionToken": "secret"},
        "subjectFromWebIdentityToken": subject,
        "provider": "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com",
    }
    history.events["eu-west-1"].append(record)
    keys, logins = (
        IssuedKeys(),
        [call_read for call_read in read(source(history))[0] if is_login(call_read)],
    )
    for login_call in logins:
        keys.note_login(login_call)
    identity = keys.identity_of("ASIAEXAMPLE0000009")
    assert identity is not None
    assert identity.subject == subject
    assert "secret" not in str([one_login.response for one_login in logins])
