"""The evidence is the same, byte for byte, whatever the order of the records."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from leastpriv.aws.arns import Principals
from leastpriv.cloudtrail.file_reader import CountedCalls
from leastpriv.evidence import collector, created_tags, models, runs
from leastpriv.evidence.collected_calls import check_collected, decode_collected
from leastpriv.evidence.collector import PrincipalCollectors, UsageCollector
from leastpriv.models import Call, Gap, GapKind, Outcome, Scope
from tests.evidence.test_collector import NO_POLICY, ROLE, USER, call

_DENIALS = (
    "Access Denied",
    f"{USER}s3:GetObject on resource: arn:aws:s3:::b/k{NO_POLICY}",
    f"{USER}s3:GetObject on resource: arn:aws:s3:::b/l{NO_POLICY}",
)


def _evidence(calls: Sequence[Call], gaps: Sequence[Gap] = ()) -> bytes:
    book = UsageCollector(ROLE)
    for noted_call in calls:
        book.note(noted_call)
    for gap in gaps:
        book.note_gap(gap)
    return msgspec.json.encode(book.close())


def _mixed(items: Sequence[object], seed: int) -> list[object]:
    mixed = list(items)
    random.Random(seed).shuffle(mixed)  # noqa: S311 - a shuffle that can be repeated
    return mixed


@pytest.fixture(autouse=True, scope="module")
def _low_limits() -> object:
    """Limits that a few calls pass, so that the test sees what lies beyond them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collector, "_MOST_RESOURCES_PER_ACTION", 4)
        patch.setattr(collector, "_MOST_GAPS", 4)
        patch.setattr(models, "_MOST_IDS", 4)
        patch.setattr(created_tags, "_MOST_CREATIONS", 4)
        yield


_OBJECTS = st.builds(
    call,
    st.sampled_from(["GetObject", "PutObject", "HeadBucket", "FrobnicateBucket", "Twist"]),
    st.fixed_dictionaries(
        {
            "bucketName": st.sampled_from("bcd"),
            "key": st.sampled_from(["k", "l", "x/k", "x/l", "y/z/k", "y/w/l", "*"]),
        }
    ),
    minutes=st.integers(0, 400),
    session=st.sampled_from(["", "12345678901", "laptop"]),
    outcome=st.sampled_from(Outcome),
    message=st.sampled_from(_DENIALS),
    region=st.sampled_from(["eu-west-1", "us-east-1"]),
    parameters_omitted=st.booleans(),
)
_QUEUES = st.builds(
    lambda name, region, tag: call(
        "CreateQueue",
        {"queueName": name, "tags": {"project": tag}},
        source="sqs",
        region=region,
        read_only=False,
    ),
    st.sampled_from("abcdefgh"),
    st.sampled_from(["eu-west-1", "us-east-1"]),
    st.sampled_from("uvwxyz"),
)
_GATEWAYS = st.builds(
    lambda number: structs.replace(
        call("CreateRestApi", {"name": "shop"}, source="apigateway", read_only=False),
        response={"id": f"{number:08x}", "name": "shop"},
    ),
    st.integers(0, 20),
)
_GAPS = st.builds(
    lambda number, count: Gap(
        GapKind.UNMAPPED_EVENT, Scope(services=("s3",)), f"s3:Event{number}", count
    ),
    st.integers(0, 12),
    st.integers(1, 3),
)


@given(
    st.lists(st.one_of(_OBJECTS, _QUEUES, _GATEWAYS), max_size=40),
    st.lists(_GAPS, max_size=20),
    st.integers(0, 1_000),
)
@example([call("GetObject", {"bucketName": "b", "key": f"{n % 3}/{n}"}) for n in range(12)], [], 7)
def test_records_in_any_order_give_the_same_evidence(
    calls: Sequence[Call], gaps: Sequence[Gap], seed: int
) -> None:
    expected = _evidence(calls, gaps)
    assert _evidence(_mixed(calls, seed), _mixed(gaps, seed)) == expected  # type: ignore[arg-type]
    assert _evidence(list(reversed(calls)), list(reversed(gaps))) == expected


_KEYS = [f"ASIA{number:016}" for number in range(8)]
_CALLS = st.lists(
    st.builds(
        lambda each, key: structs.replace(each, access_key=key),
        st.one_of(_OBJECTS, _QUEUES, _GATEWAYS),
        st.sampled_from(["", *_KEYS]),
    ),
    max_size=40,
)
_LOGINS = st.builds(
    lambda key: structs.replace(
        call("AssumeRoleWithWebIdentity", {}, source="sts"),
        response={"credentials": {"accessKeyId": key}, "subject": key[-1], "provider": "p"},
    ),
    st.sampled_from(_KEYS),
)
_SESSION_DENIALS = st.builds(
    lambda key, minutes: structs.replace(
        call(
            "PutObject",
            minutes=minutes,
            session="leastpriv",
            outcome=Outcome.DENIED,
            message=f"{USER}s3:PutObject on resource: arn:aws:s3:::b/k because no session policy"
            " allows the s3:PutObject action",
        ),
        access_key=key,
    ),
    st.sampled_from(_KEYS),
    st.integers(0, 400),
)
_SCOPED_KEYS = st.builds(
    lambda number: structs.replace(
        call(
            "GetScopedCredentials",
            {"scopedSessionDescription": f"leastpriv-rehearsal-1234567890{number}"},
            source="sts",
        ),
        access_key=_KEYS[number // 2],
        response={"credentials": {"accessKeyId": _KEYS[number]}},
    ),
    st.integers(0, 7),
)
"""STS issues each key once."""


def _merged(parts: Sequence[Sequence[Call]]) -> bytes:
    """Returns the evidence of parts that are counted apart, encoded, and added up."""
    books = PrincipalCollectors(Principals(), 1)
    for calls in parts:
        apart = PrincipalCollectors(Principals(), 0, is_part=True)
        for noted_call in calls:
            apart.note(0, noted_call)
        books.note(0, CountedCalls(1, check_collected(decode_collected(apart.collected()))))
    return msgspec.json.encode(list(books.close()))


@given(
    st.lists(st.one_of(_OBJECTS, _QUEUES, _GATEWAYS, _LOGINS, _SESSION_DENIALS, _SCOPED_KEYS)),
    _CALLS,
    st.lists(st.integers(0, 3), min_size=1, max_size=8),
    st.integers(0, 1_000),
)
def test_any_split_of_the_calls_counted_apart_gives_the_same_evidence(
    odd: Sequence[Call], calls: Sequence[Call], cuts: Sequence[int], seed: int
) -> None:
    """A limit of three keys shows that those that are kept do not depend on the order either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "_MOST_KEYS", 3)
        mixed: list[Call] = _mixed([*odd, *calls], seed)  # type: ignore[assignment]
        books = PrincipalCollectors(Principals(), 1)
        for noted_call in [*odd, *calls]:
            books.note(0, noted_call)
        expected = msgspec.json.encode(list(books.close()))
        parts: list[list[Call]] = [[] for _ in range(4)]
        for number, noted_call in enumerate(mixed):
            parts[cuts[number % len(cuts)]].append(noted_call)
        assert _merged(parts) == expected
        assert _merged(parts[::-1]) == expected
        assert _merged([[one_call] for one_call in mixed[:10]] + [mixed[10:]]) == expected
