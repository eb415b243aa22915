"""The promises of a memory: its merge loses nothing in any order, and its file is read back
whatever lies in it.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.errors import UnreadableHistoryError
from leastpriv.evidence.history_file import LONGEST_FILE, parse_history, serialize_history
from leastpriv.evidence.usage_history import (
    KEPT_DAYS,
    MOST_DECLINED,
    MOST_RESOURCES,
    MOST_RESTORED,
    ActionUse,
    DeclinedAddition,
    DeclinedPullRequest,
    KeepDecision,
    RevertedRemoval,
    UsageHistory,
    history_from_evidence,
    is_action_pattern,
    limit_resources,
    limit_returned,
    merge,
    pruned,
)
from leastpriv.permissions.patterns import action_covers
from tests.fakes.deploys import ROLE
from tests.fakes.evidence import evidence, usage
from tests.hypothesis_profiles import examples

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"

days = st.dates(date(2026, 1, 1), NOW.date())
times = st.datetimes(datetime(2026, 1, 1), datetime(2026, 11, 24)).map(
    lambda at: at.replace(microsecond=0, tzinfo=UTC)
)
numbers = st.integers(1, 9)
months = st.dictionaries(st.sampled_from(["2026-08", "2026-09", "2026-10"]), numbers, max_size=3)
uses_of_actions = st.builds(
    lambda pair, runs, run: ActionUse(min(pair), max(pair), runs, run),
    st.tuples(days, days),
    months,
    st.sampled_from(["", "17650000001", "17650000002"]),
)
resources = st.one_of(st.just("*"), st.integers(0, 30).map(lambda number: f"{QUEUE}-{number}"))
by_resource = st.dictionaries(resources, uses_of_actions, min_size=1, max_size=25).map(
    limit_resources
)
actions = st.sampled_from(["sqs:SendMessage", "sqs:DeleteQueue", "s3:PutObject"])
words = st.builds(
    KeepDecision, times, numbers, st.booleans(), st.sampled_from(["kim", "lee"]), numbers
)
fingerprints = st.sampled_from(["a" * 32, "b" * 32])
declines = st.builds(
    DeclinedPullRequest,
    times,
    st.booleans(),
    fingerprints,
    st.just(("0123456789ab",)),
    st.lists(st.builds(DeclinedAddition, actions, resources), max_size=2).map(tuple),
    st.booleans(),
)
removals = st.one_of(
    st.builds(RevertedRemoval, days, numbers),
    st.builds(RevertedRemoval, days, numbers, times, st.booleans()),
)
patterns = st.one_of(actions, st.sampled_from(["sqs:*", "s3:Delete*", "*"]))
memories = st.builds(
    UsageHistory,
    st.just(ROLE),
    st.dictionaries(actions, by_resource, max_size=3),
    st.dictionaries(st.sampled_from(["sqs:*", "s3:Delete*", "*"]), words, max_size=3),
    st.dictionaries(st.integers(1, 5), declines, max_size=4),
    st.dictionaries(st.tuples(patterns, resources), removals, max_size=3),
)


class TestMerge:
    @given(memories, memories)
    def test_it_is_commutative(self, one: UsageHistory, other: UsageHistory) -> None:
        assert merge(one, other) == merge(other, one)

    @given(memories, memories, memories)
    def test_it_is_associative(
        self, one: UsageHistory, other: UsageHistory, third: UsageHistory
    ) -> None:
        assert merge(merge(one, other), third) == merge(one, merge(other, third))

    @given(memories, memories)
    def test_it_is_idempotent(self, one: UsageHistory, other: UsageHistory) -> None:
        assert merge(one, one) == one
        assert merge(merge(one, other), other) == merge(one, other)

    @given(memories, memories)
    def test_what_one_of_them_vetoes_the_merge_vetoes(
        self, one: UsageHistory, other: UsageHistory
    ) -> None:
        together = merge(one, UsageHistory(ROLE, used=other.used))
        for action, uses_by_resource in other.used.items():
            for resource in uses_by_resource:
                assert one.words or together.last_use(action, (resource,))

    def test_memories_of_two_principals_are_not_merged(self) -> None:
        with pytest.raises(ValueError, match="two principals"):
            merge(UsageHistory(ROLE), UsageHistory(f"{ROLE}-2"))

    def test_beyond_the_bound_the_newest_declined_pull_requests_stay(self) -> None:
        def some(first: int) -> UsageHistory:
            return UsageHistory(
                ROLE,
                declined={
                    number: DeclinedPullRequest(NOW, False, "a" * 32, ())
                    for number in range(first, first + 80)
                },
            )

        assert sorted(merge(some(1), some(81)).declined) == list(range(161 - MOST_DECLINED, 161))


class TestPruning:
    @given(memories)
    def test_pruning_is_idempotent_and_keeps_recent_entries(self, memory: UsageHistory) -> None:
        later = NOW + timedelta(days=200)
        remaining = pruned(memory, later)
        assert pruned(remaining, later) == remaining
        oldest = (later - timedelta(days=KEPT_DAYS)).date()
        for action, uses_by_resource in memory.used.items():
            recent = {
                name
                for name, use in uses_by_resource.items()
                if max(use.last, use.expected_until or use.last) >= oldest
            }
            assert set(remaining.used.get(action, {})) <= recent
            assert {name for name, use in uses_by_resource.items() if use.last >= oldest} <= set(
                remaining.used.get(action, {})
            )

    def test_four_hundred_days_are_remembered_and_not_one_more(self) -> None:
        last = (NOW - timedelta(days=KEPT_DAYS)).date()
        uses = {"sqs:PurgeQueue": {QUEUE: ActionUse(last, last)}}
        back = {("sqs:PurgeQueue", QUEUE): RevertedRemoval(last, 3)}
        memory = UsageHistory(ROLE, used=uses, returned=back)
        assert pruned(memory, NOW) == memory
        assert pruned(memory, NOW + timedelta(days=1)) == UsageHistory(ROLE)

    @given(st.dictionaries(st.tuples(patterns, resources), removals, max_size=30))
    def test_a_limit_of_what_came_back_forgets_no_action(
        self, returned: dict[tuple[str, str], RevertedRemoval]
    ) -> None:
        granted = {key: back for key, back in returned.items() if back.granted}
        limited = limit_returned(granted, most=4)
        assert len(limited) <= 4
        for (name, resource), back in granted.items():
            assert any(
                action_covers(wider, name) and pattern in ("*", resource) and latest >= back
                for (wider, pattern), latest in limited.items()
            )

    def test_what_a_person_granted_again_is_remembered_for_good_within_a_bound(self) -> None:
        merged = NOW - timedelta(days=2 * KEPT_DAYS)
        by_person = RevertedRemoval(merged.date(), 3, merged, by_person=True)
        by_proposal = RevertedRemoval(merged.date(), 3, merged)
        back = {("sqs:*", QUEUE): by_person, ("sqs:PurgeQueue", QUEUE): by_proposal}
        remaining = pruned(UsageHistory(ROLE, returned=back), NOW)
        assert remaining.returned == {("sqs:*", QUEUE): by_person}
        many = {("sqs:*", f"{QUEUE}-{number}"): by_person for number in range(2 * MOST_RESTORED)}
        assert len(pruned(UsageHistory(ROLE, returned=many), NOW).returned) == MOST_RESTORED

    def test_a_keep_never_expires_and_a_forget_expires_with_its_use(self) -> None:
        old = NOW - timedelta(days=KEPT_DAYS + 1)
        decisions = {
            "s3:*": KeepDecision(old, 1, True, "kim", 3),
            "sqs:*": KeepDecision(old, 2, False, "kim", 3),
        }
        assert list(pruned(UsageHistory(ROLE, words=decisions), NOW).words) == ["s3:*"]

    def test_a_forget_that_revokes_a_part_of_a_keep_never_expires(self) -> None:
        """Without it the wider word would keep after 400 days what somebody let go."""
        old = NOW - timedelta(days=KEPT_DAYS + 1)
        part, after_keep, before = (
            KeepDecision(old + timedelta(hours=n), n, False, "kim", 3) for n in (1, 2, -1)
        )
        keeps = {"s3:*": KeepDecision(old, 0, True, "kim", 3)}
        decisions = {**keeps, "s3:Delete*": part, "sqs:*": after_keep, "s3:Put*": before}
        remaining = pruned(UsageHistory(ROLE, words=decisions), NOW)
        assert remaining.words == {**keeps, "s3:Delete*": part}
        assert remaining.kept("s3:DeleteBucket") is None


class TestQuestions:
    memory = UsageHistory(
        ROLE,
        used={
            "sqs:PurgeQueue": {QUEUE: ActionUse(date(2026, 1, 5), date(2026, 3, 1), {"2026-03": 2})}
        },
    )

    def test_a_use_counts_for_every_pattern_that_may_name_its_resource(self) -> None:
        for pattern in (
            "*",
            QUEUE,
            "arn:aws:sqs:*:111122223333:ord*",
            "arn:aws:sqs:*:*:${aws:PrincipalTag/x}",
        ):
            assert self.memory.last_use("sqs:PurgeQueue", (pattern,)), pattern
        assert self.memory.last_use("sqs:PurgeQueue", (f"{QUEUE}-2",)) is None
        assert self.memory.last_use("sqs:DeleteQueue") is None

    @pytest.mark.parametrize("day", [1, 2])
    def test_a_forgotten_use_blocks_no_removal(self, day: int) -> None:
        decision = KeepDecision(datetime(2026, 3, day, 9, tzinfo=UTC), 1, False, "kim", 3)
        memory = merge(self.memory, UsageHistory(ROLE, words={"sqs:Purge*": decision}))
        assert memory.last_use("sqs:PurgeQueue") is None

    def test_use_after_that_is_remembered_again(self) -> None:
        decision = KeepDecision(datetime(2026, 2, 1, tzinfo=UTC), 1, False, "kim", 3)
        assert merge(self.memory, UsageHistory(ROLE, words={"sqs:*": decision})).last_use(
            "sqs:PurgeQueue"
        )

    def test_the_latest_decision_counts_whatever_its_pattern(self) -> None:
        first = KeepDecision(datetime(2026, 2, 1, tzinfo=UTC), 1, True, "kim", 3)
        then = KeepDecision(datetime(2026, 2, 2, tzinfo=UTC), 2, False, "lee", 3)
        memory = UsageHistory(ROLE, words={"sqs:PurgeQueue": first, "sqs:*": then})
        assert memory.kept("sqs:PurgeQueue") is None
        assert UsageHistory(ROLE, words={"sqs:PurgeQueue": first}).kept("sqs:PurgeQueue") == (
            "sqs:PurgeQueue",
            first,
        )


class TestLearning:
    def test_a_use_is_days_runs_by_month_and_the_resource_as_a_policy_names_it(self) -> None:
        history = history_from_evidence(evidence([usage("sqs:SendMessage", QUEUE, range(12))]))
        (row,) = history.used["sqs:SendMessage"].values()
        assert (row.first, row.last) == (date(2026, 9, 1), date(2026, 10, 15))
        assert row.runs == {"2026-09": 8, "2026-10": 4}

    def test_a_read_window_that_is_read_again_is_counted_once(self) -> None:
        history = history_from_evidence(evidence([usage("sqs:SendMessage", QUEUE, range(12))]))
        assert merge(history, history).used["sqs:SendMessage"][QUEUE].least_runs == 12

    def test_a_name_that_the_file_cannot_hold_is_remembered_on_every_resource(self) -> None:
        history = history_from_evidence(evidence([usage("sqs:SendMessage", f"{QUEUE}-é")]))
        assert list(history.used["sqs:SendMessage"]) == ["*"]


class TestFile:
    @given(memories)
    def test_a_history_survives_serialization(self, memory: UsageHistory) -> None:
        parsed = parse_history(serialize_history(memory), ROLE, NOW)
        assert parsed == (memory, 0)

    @given(st.binary(max_size=400))
    def test_any_bytes_are_a_memory_or_a_sentence(self, raw: bytes) -> None:
        with pytest.raises(UnreadableHistoryError):
            parse_history(raw, ROLE, NOW)

    def test_a_text_that_is_no_unicode_is_left_out(self) -> None:
        row = {"at": "2026-11-01T00:00:00Z", "comment": 1, "word": "keep", "by": "\ud800"}
        content = json.loads(serialize_history(UsageHistory(ROLE)))
        content["words"] = {"sqs:*": row}
        parsed, left_out = parse_history(json.dumps(content).encode(), ROLE, NOW)
        assert (parsed.words, left_out) == ({}, 1)

    @examples(300)
    @given(
        st.dictionaries(
            st.sampled_from(["used", "words", "declined", "returned"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
                lambda inner: (
                    st.lists(inner, max_size=4)
                    | st.dictionaries(
                        st.sampled_from(
                            [
                                "s3:PutObject",
                                "*",
                                "7",
                                "first",
                                "last",
                                "runs",
                                "at",
                                "seen",
                                "changes",
                                "é",
                            ]
                        ),
                        inner,
                        max_size=4,
                    )
                ),
                max_leaves=12,
            ),
        )
    )
    def test_foreign_rows_cost_themselves_alone(self, foreign: dict[str, Any]) -> None:
        valid = UsageHistory(
            ROLE, used={"sqs:SendMessage": {QUEUE: ActionUse(date(2026, 1, 5), date(2026, 3, 1))}}
        )
        content = json.loads(serialize_history(valid))
        for key, value in foreign.items():
            content[key] = (
                {**value, **content[key]}
                if isinstance(value, dict) and key != "returned"
                else value
            )
        parsed = parse_history(json.dumps(content).encode(), ROLE, NOW)[0]
        if isinstance(content["used"], dict):
            assert parsed.used["sqs:SendMessage"] == valid.used["sqs:SendMessage"]

    @pytest.mark.parametrize(
        ("raw", "why"),
        [
            (b"[" * 100_000, "not readable JSON"),
            (b'{"leastpriv-memory": ' + b"9" * 10_000 + b"}", "not readable JSON"),
            (b'{"a": ' * 50_000 + b"1" + b"}" * 50_000, "not readable JSON"),
            (b" " * (LONGEST_FILE + 1), "longer than"),
            (b"\xff\xfe{}", "not readable JSON"),
            (b"[]", "no memory"),
            (b"{}", "no memory"),
            (b'{"leastpriv-memory": true}', "no memory"),
            (b'{"leastpriv-memory": 2}', "a newer version"),
            (
                b'{"leastpriv-memory": 1, "principal": "arn:aws:iam::111122223333:role/other"}',
                "another principal",
            ),
        ],
    )
    def test_an_invalid_history_file_is_a_clear_error(self, raw: bytes, why: str) -> None:
        with pytest.raises(UnreadableHistoryError, match=why):
            parse_history(raw, ROLE, NOW)

    @pytest.mark.parametrize("path", ["", "ci/", "ci/eu/"])
    def test_a_role_may_be_named_with_its_path_and_without(self, path: str) -> None:
        """What one run remembers by one name the next one finds by the other, so that it removes
        nothing used.
        """
        written_role, read_role = (
            f"arn:aws:iam::111122223333:role/{path_of_role}deploy"
            for path_of_role in (path, "" if path else "ci/")
        )
        written_history = UsageHistory(
            written_role,
            used={"s3:PutObject": {"*": ActionUse(date(2026, 1, 1), date(2026, 1, 2))}},
        )
        history = parse_history(serialize_history(written_history), read_role, NOW)[0]
        assert (history.principal, history.used) == (read_role, written_history.used)

    def test_a_role_of_that_name_with_another_path_is_another_one(self) -> None:
        raw = serialize_history(UsageHistory("arn:aws:iam::111122223333:role/ci/deploy"))
        with pytest.raises(UnreadableHistoryError, match="another principal"):
            parse_history(raw, "arn:aws:iam::111122223333:role/old/deploy", NOW)

    @pytest.mark.parametrize(
        "last", ["9999-12-31", "2026-13-01", "2026-11-26", "yesterday", 20261101]
    )
    def test_a_use_of_the_future_or_of_no_day_is_left_out(self, last: object) -> None:
        row = {"first": "2026-01-01", "last": last, "runs": {}}
        content = {"leastpriv-memory": 1, "principal": ROLE, "used": {"s3:PutObject": {"*": row}}}
        parsed = parse_history(json.dumps(content).encode(), ROLE, NOW)
        assert (parsed[0].used, parsed[1]) == ({}, 1)

    def test_what_would_be_too_long_names_fewer_resources_and_no_action_less(self) -> None:
        row = ActionUse(
            date(2025, 11, 1), date(2026, 11, 1), {f"2026-{month:02}": 30 for month in range(1, 12)}
        )
        many_uses = {
            f"s3:Action{n}": {f"{QUEUE}-{n}-{m}": row for m in range(MOST_RESOURCES)}
            for n in range(900)
        }
        raw = serialize_history(UsageHistory(ROLE, used=many_uses))
        assert len(raw) <= LONGEST_FILE
        assert parse_history(raw, ROLE, NOW)[0].used.keys() == many_uses.keys()

    def test_no_file_is_written_that_the_next_run_could_not_read(self) -> None:
        """Nothing would be removed any more, and no run would write over it."""
        changes = tuple(f"{number:012x}" for number in range(900))
        declined = {
            number: DeclinedPullRequest(NOW, False, "a" * 32, changes)
            for number in range(1, MOST_DECLINED + 1)
        }
        with pytest.raises(UnreadableHistoryError, match="would be longer than 1,000,000 bytes"):
            serialize_history(UsageHistory(ROLE, declined=declined))

    @pytest.mark.parametrize(
        ("text", "is_one"), [("s3:Delete*", True), ("*", True), ("s3", False), ("s3:a b", False)]
    )
    def test_an_action_pattern_is_one_as_policies_have_them(self, text: str, is_one: bool) -> None:
        assert is_action_pattern(text) is is_one
