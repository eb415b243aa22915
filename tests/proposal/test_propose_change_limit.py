"""`max-changes`: few changes, the most certain, reproducible, and the rest held back by name."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from leastpriv.diff.compare import compare
from leastpriv.errors import PolicyFileError
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind
from leastpriv.permissions import catalog
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.models import (
    Change,
    History,
    Options,
    Proposal,
    ProposalInputs,
    UnseenServices,
)
from leastpriv.proposal.proof import prove
from leastpriv.proposal.propose import MAX_CHANGES, propose
from leastpriv.proposal.removals import creators_of, guard_context
from tests.fakes.evidence import evidence as evidence_of
from tests.fakes.evidence import evidence_for, usage
from tests.fakes.replace import replace
from tests.hypothesis_profiles import sampled

WIDE = Options(unseen_services=UnseenServices.DROP, minimum_runs=1)


@dataclass(frozen=True)
class Case:
    """A policy of the corpus, and possible evidence for it."""

    document: Document
    evidence: Evidence

    @property
    def name(self) -> str:
        """The file of the policy."""
        return self.document.where

    def drafted(self, limit: int) -> Proposal:
        """The proposal with at most so many changes; 0 is no limit."""
        options = Options(unseen_services=UnseenServices.DROP, minimum_runs=1, max_changes=limit)
        comparison = compare(self.document, [], self.evidence)
        return propose(self.document, comparison, self.evidence, options)


@pytest.fixture(scope="module")
def cases(shared_folder: Path) -> list[Case]:
    """Policies of the corpus with many changes."""
    return list(_cases(shared_folder))


def _cases(shared_folder: Path) -> Iterator[Case]:
    for path in sampled(sorted((shared_folder / "corpus" / "policies").glob("*.json"))[::5]):
        try:
            document = parse(path.read_bytes(), path.name)
        except PolicyFileError:
            continue
        if all(statement.resources and statement.actions for statement in document.statements):
            chance = random.Random(path.name)  # noqa: S311 - the same each time
            yield Case(document, evidence_for(document, chance))


def name(change: Change) -> tuple[object, ...]:
    return (
        change.kind,
        change.statement,
        change.action,
        change.used,
        change.resources,
        change.restricted_to,
        change.replacement,
    )


def test_a_limited_proposal_has_a_subset_of_the_changes_and_holds_back_the_rest(
    cases: list[Case],
) -> None:
    cut = 0
    for case in cases:
        unlimited = case.drafted(0)
        for limit in (1, 3):
            few = case.drafted(limit)
            limited = [
                held_back
                for held_back in few.held_back
                if held_back.guard_result.guard == MAX_CHANGES
            ]
            plain = {name(change) for change in unlimited.changes if not change.restricted_to}
            assert len(few.changes) == min(limit, len(unlimited.changes)) or any(
                change.restricted_to for change in unlimited.changes
            )
            assert len(few.changes) <= limit
            assert {name(change) for change in few.changes if not change.restricted_to} <= plain, (
                case.name
            )
            # The resources of an action are restricted only after its wildcard is narrowed.
            assert len(few.changes) + len(limited) <= len(unlimited.changes)
            cut += bool(limited)
    assert cut > len(sampled(range(10)))


def test_an_unreached_limit_changes_nothing(cases: list[Case]) -> None:
    for case in cases:
        unlimited = case.drafted(0)
        limited = case.drafted(len(unlimited.changes) + 1)
        assert (limited.content, limited.held_back) == (unlimited.content, unlimited.held_back), (
            case.name
        )


def test_a_limited_proposal_is_proved(cases: list[Case]) -> None:
    for case in cases:
        proof = prove(case.drafted(2), [], case.evidence)
        assert (proof.new_access, proof.newly_denied, proof.unapplied) == ((), (), ()), case.name


def test_additions_come_before_removals(cases: list[Case]) -> None:
    """Without them the next deploy fails; a removal can wait."""
    for case in cases:
        added = sum(change.kind is ChangeKind.ADD for change in case.drafted(0).changes)
        few = case.drafted(2)
        assert sum(change.kind is ChangeKind.ADD for change in few.changes) == min(added, 2), (
            case.name
        )


def test_an_action_is_restricted_only_together_with_the_action_that_creates_its_resources(
    cases: list[Case],
) -> None:
    """Otherwise the action would be denied on the next resource that the role creates."""
    for case in cases:
        makers = creators_of(guard_context(case.evidence, WIDE).used)
        restricted = {
            change.restricted_action for change in case.drafted(0).changes if change.restricted_to
        }
        for limit in range(1, 6):
            onto = {
                change.restricted_action
                for change in case.drafted(limit).changes
                if change.restricted_to
            }
            for action in onto:
                assert {*makers.get(action, ())} & restricted <= onto, case.name


def test_the_order_of_the_evidence_does_not_matter(
    cases: list[Case],
) -> None:
    for case in cases[:10]:
        usages = tuple(reversed(case.evidence.usages))
        turned = Case(case.document, replace(case.evidence, usages=usages))
        forward, backward = case.drafted(2), turned.drafted(2)
        assert {(change.kind, change.action) for change in forward.changes} == {
            (change.kind, change.action) for change in backward.changes
        }, case.name


def portions(*, was_merged: bool) -> list[Proposal]:
    """The proposals for a policy of thirty unused actions, each after the merge of the last one."""
    actions = sorted(catalog.actions("sns"))[:30]
    statement = {"Effect": "Allow", "Action": ["ssm:GetParameter", *actions], "Resource": "*"}
    content = json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()
    denied = evidence_for(parse(content, "policy.json"), random.Random(1))  # noqa: S311 - the same
    read = usage("ssm:GetParameter", "arn:aws:ssm:eu-west-1:111122223333:parameter/orders")
    refused = [usage for usage in denied.usages if usage.denial]
    evidence = evidence_of([read, *refused])
    inputs = ProposalInputs(history=History(was_merged=was_merged))
    options = Options(minimum_runs=1)
    proposals: list[Proposal] = []
    while not proposals or proposals[-1].changes:
        document = parse(content, "policy.json")
        difference = compare(document, [], evidence)
        proposals.append(propose(document, difference, evidence, options, inputs))
        content = proposals[-1].content
    return proposals


def removals_in(proposal: Proposal) -> int:
    return sum(change.kind is not ChangeKind.ADD for change in proposal.changes)


def test_a_first_proposal_removes_all_at_once() -> None:
    first, nothing = portions(was_merged=False)
    assert removals_in(first) > 25
    assert not nothing.changes


def test_a_proposal_after_a_merged_one_removes_in_portions_and_holds_no_addition_back() -> None:
    first, second, nothing = portions(was_merged=True)
    added = [change for change in first.changes if change.kind is ChangeKind.ADD]
    assert removals_in(first) == 25
    assert added
    assert [held_back.kind for held_back in first.held_back_as(MAX_CHANGES)].count(
        ChangeKind.ADD
    ) == 0
    assert removals_in(second) > 0
    assert not nothing.changes
