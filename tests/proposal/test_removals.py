"""Replacement entries of a wildcard grant exactly the used and kept actions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.diff.compare import Entry
from leastpriv.models import ChangeKind
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_covers, action_matches
from leastpriv.policy.document import parse
from leastpriv.proposal.removals import GuardedEntry, replacement_entries
from tests.fakes.deploys import CREATE_QUEUE, POLICY, UPDATE, deploys, proposal, usual_deploys
from tests.hypothesis_profiles import examples

PATTERNS = (
    "lambda:*",
    "sqs:*",
    "ecr:*",
    "lambda:List*",
    "lambda:*Function*",
    "dynamodb:?et*",
    "SQS:*",
)
STATEMENT = parse(
    b'{"Statement": {"Effect": "Allow", "Action": "a:*", "Resource": "*"}}', "p.json"
).statements[0]


def chosen(names: tuple[str, ...], bits: int) -> list[str]:
    """The names whose bit is set."""
    return [name for index, name in enumerate(names) if bits >> index & 1]


@examples(60)
@given(
    st.sampled_from(PATTERNS),
    st.integers(0, 2**120),
    st.integers(0, 2**120),
    st.integers(0, 2**120),
)
def test_replacement_entries_grant_exactly_the_used_and_kept_actions(
    pattern: str, used: int, remaining: int, more: int
) -> None:
    granted = catalog.expand(pattern)
    uses = chosen(granted, used & more)
    kept_actions = [name for name in chosen(granted, remaining) if name not in uses]
    entries = replacement_entries(uses, kept_actions, Entry(STATEMENT, pattern, granted, {}))
    allowed = {name for name in granted if any(action_matches(entry, name) for entry in entries)}
    assert allowed == {*uses, *kept_actions}
    if pattern.endswith(":*"):
        assert set(uses) <= set(entries)
    assert all(action_covers(pattern, entry) for entry in entries)
    assert list(entries) == sorted(set(entries))


@given(st.sampled_from(PATTERNS), st.integers(0, 2**120))
def test_replacement_entries_are_never_more_than_the_actions(pattern: str, remaining: int) -> None:
    granted = catalog.expand(pattern)
    kept_actions = chosen(granted, remaining)
    assert len(
        replacement_entries([], kept_actions, Entry(STATEMENT, pattern, granted, {}))
    ) <= len(kept_actions)


@given(st.sampled_from(("lambda:Get*", "s3:Get*", "ssm:?et*", "iam:*Role*")), st.data())
def test_entries_below_a_part_of_a_service_cannot_be_joined(
    pattern: str, data: st.DataObject
) -> None:
    """No wildcard of whole words could replace two of them without granting a removed action."""
    granted = catalog.expand(pattern)
    start = data.draw(st.sampled_from(granted))[: data.draw(st.integers(6, 20))]
    dropped = data.draw(st.sets(st.sampled_from(granted), max_size=6))
    uses = [name for name in granted if name.startswith(start) or name not in dropped]
    entries = replacement_entries(uses, [], Entry(STATEMENT, pattern, granted, {}))
    allowed = {name for name in granted if any(action_matches(entry, name) for entry in entries)}
    assert allowed == {*uses}
    for name in uses:
        for end in word_ends(name):
            wider = f"{name[:end]}*"
            if not action_covers(pattern, wider):
                continue
            joined = [entry for entry in entries if action_covers(wider, entry)]
            adds = any(action_matches(wider, action_name) for action_name in {*granted} - {*uses})
            assert adds or len(joined) <= 1


def word_ends(action: str) -> list[int]:
    """Where the words of an action's name end."""
    return [match.end() for match in re.finditer("[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", action)]


def test_a_long_list_of_kept_actions_is_compacted_if_a_wildcard_grants_the_same() -> None:
    granted = catalog.expand("lambda:*")
    reads = [name for name in granted if name.startswith("lambda:List")]
    entries = replacement_entries(
        ["lambda:UpdateFunctionCode"], reads, Entry(STATEMENT, "lambda:*", granted, {})
    )
    assert len(reads) > 12
    assert entries == ("lambda:List*", "lambda:UpdateFunctionCode")


def test_compacted_wildcards_are_prefixes() -> None:
    """`cloudwatch:*Tel*` would be shorter, but a reviewer could not see what it grants."""
    granted = catalog.expand("cloudwatch:*")
    kept_actions = [name for name in granted if not name.startswith("cloudwatch:Put")]
    entries = replacement_entries([], kept_actions, Entry(STATEMENT, "cloudwatch:*", granted, {}))
    wildcards = [entry for entry in entries if "*" in entry]
    assert "cloudwatch:Describe*" in wildcards
    assert len(entries) < len(kept_actions)
    assert all(re.fullmatch(r"cloudwatch:[A-Z][A-Za-z0-9]*\*", entry) for entry in wildcards)


def test_used_actions_are_written_in_full_even_next_to_a_wildcard() -> None:
    granted = catalog.expand("lambda:*")
    reads = [name for name in granted if name.startswith("lambda:List")]
    entries = replacement_entries(reads[:1], reads[1:], Entry(STATEMENT, "lambda:*", granted, {}))
    assert reads[0] in entries


def test_an_action_newer_than_the_catalogue_is_kept_if_it_was_called(tmp_path: Path) -> None:
    """The evidence then has a gap for the service, so the whole wildcard is kept."""
    odd = {"event": "lambda:UpdateFunctionOfTomorrow", "parameters": {"functionName": "orders"}}
    draft = proposal(tmp_path, POLICY, deploys([UPDATE, CREATE_QUEUE, odd])).context.proposal
    assert "lambda:*" not in {change.action for change in draft.changes}
    assert {(held_back.action, held_back.guard_result.guard) for held_back in draft.held_back} == {
        ("lambda:*", "gap-in-scope")
    }


def test_not_action_that_keeps_every_service_is_held_back_and_unchanged(tmp_path: Path) -> None:
    statement = {"Sid": "All", "Effect": "Allow", "NotAction": ["iam:*", "s3:*"], "Resource": "*"}
    policy = {**POLICY, "Statement": [*POLICY["Statement"], statement]}
    draft = proposal(tmp_path, policy, unseen_services="keep").context.proposal
    held_back = next(change for change in draft.held_back if change.sid == "All")
    assert (held_back.kind, held_back.action, held_back.guard_result.guard) == (
        ChangeKind.NARROW,
        "NotAction: iam:*, s3:*",
        "not-action",
    )
    assert statement in json.loads(draft.content)["Statement"]


@pytest.mark.parametrize("position", range(3))
def test_the_order_of_statements_survives(tmp_path: Path, position: int) -> None:
    """The statement of topics is removed wherever it is; the new one is the last."""
    functions, queues, topics = POLICY["Statement"]
    order = [functions, queues]
    order.insert(position, topics)
    draft = proposal(tmp_path, {**POLICY, "Statement": order}, usual_deploys()).context.proposal
    sids = [statement["Sid"] for statement in json.loads(draft.content)["Statement"]]
    assert sids == ["Functions", "Queues", "AllowCloudwatchPutMetricAlarm"]


def test_a_deny_statement_is_never_narrowed(tmp_path: Path) -> None:
    deny = {"Sid": "Never", "Effect": "Deny", "Action": "sns:*", "Resource": "*"}
    draft = proposal(
        tmp_path, {**POLICY, "Statement": [*POLICY["Statement"], deny]}
    ).context.proposal
    assert deny in json.loads(draft.content)["Statement"]


def forget_all(guarded: GuardedEntry, changed: frozenset[str]) -> None:
    """Forgets what the guards said of every action."""
    guarded._results.clear()


@pytest.mark.parametrize(
    ("actions", "limit"), [(["iam:*", "lambda:*"], ""), (["s3:*", "sqs:*", "kms:*"], "3")]
)
def test_guards_that_are_asked_again_only_where_needed_decide_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actions: list[str], limit: str
) -> None:
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [*POLICY["Statement"], statement]}
    selective = proposal(tmp_path, policy, max_changes=limit).content.context.proposal
    monkeypatch.setattr(GuardedEntry, "forget", forget_all)
    complete = proposal(tmp_path, policy, max_changes=limit).content.context.proposal
    assert selective.changes == complete.changes
    assert selective.held_back == complete.held_back
