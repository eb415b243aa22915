"""Every fact has exactly one state, and all outputs show the same sums."""

from __future__ import annotations

import json
import random
import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from leastpriv.diff.compare import entries_of
from leastpriv.models import Outcome
from leastpriv.permissions import catalog
from leastpriv.proposal.ledger import (
    CallNotEvaluated,
    DenialState,
    GrantState,
    NeedState,
    OfferState,
)
from leastpriv.report.context import ReportContext
from leastpriv.report.html import target_view
from leastpriv.report.offers import offered_statements
from leastpriv.report.proposal_json import proposal_json
from leastpriv.report.pull_request import body, title
from leastpriv.report.targets import target_figures
from tests.fakes.random_cases import random_case, random_template
from tests.hypothesis_profiles import examples
from tests.test_cases import ROLE, records, run_case

DENIED = frozenset({"AccessDenied"})


def made(case: Mapping[str, Any], template: Mapping[str, Any] | None = None) -> ReportContext:
    """The context of a case's proposal, with the needs of a template."""
    with tempfile.TemporaryDirectory() as folder:
        if template is None:
            return run_case(case, Path(folder)).context
        path = Path(folder) / "template.json"
        path.write_text(json.dumps(template), encoding="utf-8")
        options = {**case["options"], "templates": [str(path)]}
        return run_case({**case, "options": options}, Path(folder)).context


@examples(2_000, ci=80, fast=6)
@given(st.integers(0, 2**32))
@example(1)  # a path whose target only the rendered file shows
def test_every_fact_of_a_random_case_has_one_state_and_all_outputs_show_the_sums(
    seed: int,
) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    case = random_case(chance)
    context = made(case, random_template(chance))
    check_calls(case, context)
    check_denials(context)
    check_needs(context)
    check_offers(context)
    check_grants(context)
    check_outputs(context)


def check_calls(case: Mapping[str, Any], context: ReportContext) -> None:
    """The records of the role and its calls, counted from the trail."""
    session = ROLE.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")
    records_of_role = [
        record
        for record in records(case)
        if record["userIdentity"].get("arn", "").startswith(session)
    ]
    logins = [
        record for record in records(case) if record["eventName"].startswith("AssumeRoleWith")
    ]
    of_role = len(records_of_role) + len(logins)
    assert sum(context.ledger.records.states.values()) == of_role
    api_calls = [record for record in records_of_role if record["eventType"] == "AwsApiCall"]
    calls = context.ledger.calls
    assert calls.total == len(api_calls) == sum(calls.states.values())
    denied = [record for record in api_calls if record.get("errorCode") in DENIED]
    assert calls.not_evaluated.get(CallNotEvaluated.DENIED_BY_AWS, 0) == len(denied)
    assert calls.succeeded == calls.total - calls.unclear - len(denied)
    assert context.ledger.records.calls == calls.total


def check_denials(context: ReportContext) -> None:
    """Each denied permission once; one that is added is allowed by the result alone."""
    evidence = context.evidence
    denied = [usage for usage in evidence.usages if usage.outcome is Outcome.DENIED]
    facts = context.ledger.denials
    assert [id(fact.usage) for fact in facts] == [id(usage) for usage in denied]
    assert all(bool(fact.why) == (fact.state is DenialState.NOT_ADDED) for fact in facts)


def check_needs(context: ReportContext) -> None:
    """Each declared need once; one that is not written has a reason."""
    declared = context.evidence.aws_findings.declared
    facts = context.ledger.needs
    assert [fact.need for fact in facts] == [
        *dict.fromkeys((*declared.needs, *declared.later_needs))
    ]
    assert all(bool(fact.why) == (fact.state is NeedState.NOT_WRITTEN) for fact in facts)


def check_offers(context: ReportContext) -> None:
    """Each offered deletion once on each resource; one that the result lacks has a statement to
    copy.
    """
    offered = context.proposal.offered
    pairs = [(change.action, resource) for change in offered for resource in change.resources]
    facts = context.ledger.offers
    assert [(fact.action, fact.resource) for fact in facts] == [*dict.fromkeys(pairs)]
    text = json.dumps(offered_statements(context))
    for fact in context.ledger.offered:
        assert json.dumps(fact.action) in text
        assert json.dumps(fact.resource) in text


def test_an_offered_deletion_has_one_state_and_is_in_all_outputs() -> None:
    case = {
        "policy": None,
        "options": {"lifecycle": "write"},
        "runs": [
            {
                "first": "2026-11-01T10:00:00Z",
                "calls": [{"event": "sqs:CreateQueue", "parameters": {"queueName": "orders-main"}}],
            }
        ],
    }
    context = made(case)
    assert [fact.state for fact in context.ledger.offers] == [OfferState.OFFERED]
    check_offers(context)
    check_outputs(context)


def check_grants(context: ReportContext) -> None:
    """Each action of each statement once, and the removed ones are those of the changes."""
    committed = context.proposal.committed
    if committed is None:
        assert context.ledger.statements == ()
        return
    allows = [statement for statement in committed.statements if statement.effect == "Allow"]
    assert [ledger_statement.statement for ledger_statement in context.ledger.statements] == allows
    for facts in context.ledger.statements:
        names = [grant.action for grant in facts.grants]
        assert len(names) == len(set(names))
        actions = {
            action
            for entry in entries_of(facts.statement)
            if not facts.statement.not_actions
            for action in catalog.expand(entry)
        }
        if "*" in facts.statement.resources and not facts.statement.not_actions:
            assert actions <= set(names)
        assert all(
            grant.guard or grant.state is not GrantState.KEPT_UNUSED for grant in facts.grants
        )
    gone = Counter(
        (change.statement, action)
        for change in context.proposal.changes
        for action in change.removed_actions
    )
    removed = {
        (facts.statement.index, grant.action)
        for facts in context.ledger.statements
        for grant in facts.removed
    }
    assert removed <= set(gone)


def check_outputs(context: ReportContext) -> None:
    """Body, title, page, index and `proposal.json` show the sums of the ledger."""
    ledger, text = context.ledger, body(context)
    value = json.loads(proposal_json(context, title(context), text))["ledger"]
    for kind, states in ledger.sums.items():
        total = sum(states.values())
        assert value["sums"][kind] == {"total": total, **states}
        row = re.search(
            rf"^\| {kind.replace('_', ' ')} \| ([\d,]+) \| (.*) \|$", text, re.MULTILINE
        )
        counts = {
            name.replace(" ", "-"): int(count.replace(",", ""))
            for count, name in re.findall(r"([\d,]+) ([a-z ]+)", row[2] if row else "")
        }
        assert (int(row[1].replace(",", "")) if row else 0) == total
        assert counts == {state: count for state, count in states.items() if count}
    before, removed = ledger.count(*GrantState), ledger.removed
    statements = [
        state for statement in value["statements"] for state in statement["removed-unrecorded"]
    ]
    assert len(statements) == ledger.count(GrantState.REMOVED_UNRECORDED)
    figures = target_figures(context)
    assert figures["granted"] == before
    facts = {what: figure for figure, what in target_view(context, 1)["facts"]}
    assert facts["removed"] == f"{removed:,}"
    if removed and context.proposal.committed:
        actions, remaining = len(ledger.actions), len(ledger.actions_left)
        counts = (
            f"{actions:,} -> {remaining:,} actions" if remaining < actions else "repeated grant"
        )
        assert counts in title(context)
        assert f"<details><summary>Removed: {removed:,} action" in text
