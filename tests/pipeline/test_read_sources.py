"""Sources into evidence: one pass, one book a principal, every gap counts for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.errors import AwsError, AwsErrorKind, InputError, LeastprivError
from leastpriv.evidence import collector
from leastpriv.evidence.runs import IssuedKeys, RunTracker
from leastpriv.models import Call, Gap, GapKind, Outcome, Run, Scope
from leastpriv.pipeline.sources import ReadHooks, read_evidence

DEPLOY = "arn:aws:iam::111122223333:role/ci/deploy"
OTHER = "arn:aws:iam::111122223333:user/ann"
LOST = Gap(GapKind.UNREADABLE_FILE, Scope(), "one.json.gz: it is cut")


TIME = datetime(2026, 11, 1, tzinfo=UTC)


def call(principal: str, session: str = "12345678901") -> Call:
    return Call(
        event_id="",
        principal=principal,
        session=session,
        time=TIME,
        account="111122223333",
        region="eu-west-1",
        source="sqs.amazonaws.com",
        name="CreateQueue",
        parameters={"queueName": "q"},
        response={},
        resources=(),
        outcome=Outcome.ALLOWED,
    )


class Listed:
    """A source that hands out what it was given, to those who are asked for."""

    def __init__(self, *items: Call | Gap) -> None:
        self.items = items
        self.asked: list[tuple[Window, Principals]] = []

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        self.asked.append((window, principals))
        return (
            item_read
            for item_read in self.items
            if isinstance(item_read, Gap) or principals.wants(item_read.principal)
        )


def test_all_principals_are_read_in_one_pass_of_each_source() -> None:
    first, second = Listed(call(DEPLOY), call(OTHER, "")), Listed(call(DEPLOY))
    evidence_by_role = read_evidence([first, second], Window(), None)
    assert {arn: evidence.counts.calls for arn, evidence in evidence_by_role.items()} == {
        DEPLOY: 2,
        OTHER: 1,
    }
    assert [len(source.asked) for source in (first, second)] == [1, 1]
    assert list(evidence_by_role) == sorted(evidence_by_role)


def test_a_target_is_in_the_answer_also_without_a_call() -> None:
    evidence_by_role = read_evidence([Listed(call(OTHER, ""))], Window(), parse_principal(DEPLOY))
    assert list(evidence_by_role) == [DEPLOY]
    assert evidence_by_role[DEPLOY].counts.calls == 0


def test_a_target_and_its_calls_without_the_path_are_one_role_and_one_run() -> None:
    source = Listed(call(DEPLOY, "laptop"), call("arn:aws:iam::111122223333:role/deploy", "laptop"))
    evidence_by_role = read_evidence([source], Window(), parse_principal(DEPLOY))
    assert list(evidence_by_role) == [DEPLOY]
    assert evidence_by_role[DEPLOY].counts.calls == 2
    assert len(evidence_by_role[DEPLOY].runs) == 1
    assert (
        evidence_by_role[DEPLOY].usages[0].need.permission.resource
        == "arn:aws:sqs:eu-west-1:111122223333:q"
    )


def test_a_gap_counts_for_every_principal_wherever_it_occurs() -> None:
    evidence_by_role = read_evidence([Listed(call(DEPLOY), LOST, call(OTHER, ""))], Window(), None)
    assert [evidence.gaps for evidence in evidence_by_role.values()] == [(LOST,), (LOST,)]


def test_sources_receive_the_window_and_the_principals() -> None:
    window = Window(datetime(2026, 10, 1, tzinfo=UTC), None)
    source = Listed()
    read_evidence([source], window, parse_principal(DEPLOY))
    ((asked_window, principals),) = source.asked
    assert asked_window == window
    assert principals.wants(DEPLOY)
    assert not principals.wants(OTHER)


def test_progress_is_reported() -> None:
    heard: list[int] = []
    read_evidence([Listed(*[call(DEPLOY)] * 20_500)], Window(), None, ReadHooks(heard.append))
    assert heard == [10_000, 20_000]


class Failing:
    """A source that gives some items and then fails; the error is raised at once where there is
    none.
    """

    def __init__(self, error: BaseException, *items: Call | Gap) -> None:
        self.error = error
        self.items = items

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:  # noqa: ARG002
        if not self.items:
            raise self.error
        return self._read()

    def _read(self) -> Iterator[Call | Gap]:
        yield from self.items
        raise self.error


NOT_THERE = InputError("trails: there is no bucket 'logs'.")
REFUSED = AwsError("AWS refused it.", AwsErrorKind.DENIED)


@pytest.mark.parametrize("error", [NOT_THERE, REFUSED])
@pytest.mark.parametrize("items", [(), (call(DEPLOY),)])
def test_a_missing_source_among_others_is_a_gap_that_may_hide_any_call(
    error: LeastprivError, items: tuple[Call, ...]
) -> None:
    evidence = read_evidence(
        [Failing(error, *items), Listed(call(DEPLOY))], Window(), parse_principal(DEPLOY)
    )[DEPLOY]
    assert evidence.counts.calls == 1 + len(items)
    assert [(gap.kind, gap.scope, gap.detail) for gap in evidence.gaps] == [
        (GapKind.SOURCE_FAILED, Scope(), str(error)),
    ]


@pytest.mark.parametrize("errors", [[NOT_THERE], [NOT_THERE, REFUSED], [REFUSED, NOT_THERE]])
def test_where_no_source_can_be_read_the_first_reason_is_the_error(
    errors: list[LeastprivError],
) -> None:
    with pytest.raises(LeastprivError) as raised:
        read_evidence([Failing(error) for error in errors], Window(), parse_principal(DEPLOY))
    assert raised.value is errors[0]


def test_an_unexpected_failure_is_a_gap_with_its_location() -> None:
    broken = Failing(KeyError("NextContinuationToken"), call(DEPLOY))
    evidence = read_evidence([broken, Listed(call(DEPLOY))], Window(), parse_principal(DEPLOY))[
        DEPLOY
    ]
    assert evidence.counts.calls == 2
    assert [(gap.kind, gap.scope) for gap in evidence.gaps] == [(GapKind.SOURCE_FAILED, Scope())]
    assert (
        "Failing could not be fully read: unexpected KeyError at test_read_sources.py:"
        in evidence.gaps[0].detail
    )


def test_whoever_interrupts_the_reading_is_obeyed() -> None:
    with pytest.raises(KeyboardInterrupt):
        read_evidence(
            [Failing(KeyboardInterrupt(), call(DEPLOY)), Listed()],
            Window(),
            parse_principal(DEPLOY),
        )


def login(principal: str, key: str) -> Call:
    """An AssumeRole that hands out a key."""
    response = {"credentials": {"accessKeyId": key}}
    return structs.replace(
        call(principal), name="AssumeRole", source="sts.amazonaws.com", response=response
    )


KEY, ANOTHER = "ASIACHAIN00000000001", "ASIACHAIN00000000002"
WANTED = frozenset({parse_principal(DEPLOY), parse_principal(OTHER)})


def test_several_targets_are_read_in_one_pass_and_each_call_counts_for_its_own() -> None:
    source = Listed(call(DEPLOY), call(OTHER), call(OTHER))
    evidence_by_role = read_evidence([source], Window(), Principals(WANTED))
    assert {name: evidence.counts.calls for name, evidence in evidence_by_role.items()} == {
        DEPLOY: 1,
        OTHER: 2,
    }
    assert len(source.asked) == 1


@pytest.mark.parametrize("late", [False, True])
def test_calls_are_linked_to_the_issuer_of_their_key_in_any_order(late: bool) -> None:
    calls = [
        login(DEPLOY, KEY),
        structs.replace(call(OTHER), access_key=KEY),
        structs.replace(call(OTHER), access_key=ANOTHER),
    ]
    evidence_by_role = read_evidence(
        [Listed(*reversed(calls) if late else calls)], Window(), Principals(WANTED)
    )
    assert evidence_by_role[OTHER].signed == {DEPLOY: 1, "": 1}


def chained(key: str, minute: int) -> Call:
    """A call of a chained session, whose name says nothing."""
    time = datetime(2026, 11, 1, 9, minute, tzinfo=UTC)
    return structs.replace(call(CHAINED, "aws-cdk"), time=time, access_key=key)


CHAINED = "arn:aws:iam::111122223333:role/cdk-deploy"
MIDDLE = "arn:aws:iam::111122223333:role/unit"
THREE = frozenset(map(parse_principal, (DEPLOY, MIDDLE, CHAINED)))


def taken_by(*calls: Call) -> list[str]:
    evidence_by_role = read_evidence([Listed(*calls)], Window(), Principals(THREE))
    return [run.parent_run for run in evidence_by_role[CHAINED].runs]


def test_a_chained_session_has_the_parent_run_that_issued_its_keys() -> None:
    direct = (login(DEPLOY, KEY), chained(KEY, 1), chained(KEY, 5))
    assert taken_by(*direct) == taken_by(*reversed(direct)) == ["12345678901"]
    by_another = structs.replace(login(MIDDLE, KEY), session="unit", access_key=ANOTHER)
    assert taken_by(login(DEPLOY, ANOTHER), by_another, chained(KEY, 1)) == ["12345678901"]


@pytest.mark.parametrize("other", [ANOTHER, ""])
def test_a_session_with_a_key_of_unknown_issuer_has_no_parent_run(other: str) -> None:
    """What somebody else did under the same name must not count as done by reviewed code."""
    assert taken_by(login(DEPLOY, KEY), chained(KEY, 1), chained(other, 2)) == [""]


def test_keys_of_two_runs_in_one_session_name_go_back_to_neither() -> None:
    second = structs.replace(login(DEPLOY, ANOTHER), session="12345678902")
    assert taken_by(login(DEPLOY, KEY), second, chained(KEY, 1), chained(ANOTHER, 2)) == [""]


def test_logins_in_a_circle_end() -> None:
    first_login = structs.replace(login(MIDDLE, KEY), session="unit", access_key=ANOTHER)
    second_login = structs.replace(login(CHAINED, ANOTHER), session="unit", access_key=KEY)
    assert set(taken_by(first_login, second_login, chained(KEY, 1))) == {""}


def test_principals_that_match_a_pattern_are_read_with_the_targets() -> None:
    principals = Principals(
        frozenset({parse_principal(DEPLOY)}), frozenset({"arn:aws:iam::111122223333:role/team-*"})
    )
    roles, other_roles = (
        f"arn:aws:iam::{account}:role/" for account in ("111122223333", "444455556666")
    )
    names = [f"{roles}team-a", f"{roles}x", f"{other_roles}team-a", f"{other_roles}x"]
    assert [name for name in names if principals.wants(name)] == names[:1]
    assert principals.include("111122223333")
    assert not principals.include("444455556666")
    assert principals.wants("arn:aws:sts::111122223333:assumed-role/team-b/run-1")


def test_a_pattern_takes_in_no_more_than_memory_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "_MOST_BY_PATTERN", 200)
    principals = Principals(
        frozenset({parse_principal(DEPLOY)}), frozenset({"arn:aws:iam::111122223333:role/*"})
    )
    crowd = [call(f"arn:aws:iam::111122223333:role/made-up-{number}") for number in range(500)]
    evidence_by_role = read_evidence([Listed(*crowd, call(DEPLOY))], Window(), principals)
    assert len(evidence_by_role) == 201
    assert evidence_by_role[DEPLOY].counts.calls == 1


@given(st.lists(st.sampled_from([KEY, ANOTHER, "", "short", "x" * 200]), max_size=30))
def test_invalid_keys_are_ignored(keys: list[str]) -> None:
    ledger = IssuedKeys()
    runs = RunTracker(ledger.stored)
    for key in keys:
        ledger.note(login(DEPLOY, key), DEPLOY)
        runs.note(structs.replace(call(OTHER), access_key=key if key in (KEY, ANOTHER) else ""))
    assert sum(ledger.key_issuers(runs.key_uses()).values()) == sum(
        key in (KEY, ANOTHER) for key in keys
    )


def test_the_number_of_keys_is_limited_and_further_keys_are_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("leastpriv.evidence.runs._MOST_KEYS", 3)
    ledger = IssuedKeys()
    runs = RunTracker(ledger.stored)
    for number in range(5):
        key = f"ASIACHAIN{number:011}"
        ledger.note(login(DEPLOY, key), DEPLOY)
        runs.note(structs.replace(call(OTHER, "x"), access_key=key))
    ledger.settle()
    uses = list(runs.key_uses())
    assert ledger.key_issuers(uses) == {DEPLOY: 3}
    run = Run("x", "x", TIME, TIME)
    assert ledger.with_parent_runs(uses, [run]) == (run,)
