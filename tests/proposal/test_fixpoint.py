"""A second run on the first run's result proposes nothing, whatever the policy, and each proposal
has its proof.

The policies of public repositories are not part of this repository: see `shared_folder`. Of the
cases, `tests/test_cases.py` makes a second run.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import jsonpatch
import pytest

from leastpriv.diff.compare import compare
from leastpriv.diff.policy_diff import json_patch
from leastpriv.errors import PolicyFileError
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind
from leastpriv.policy.document import Document, Statement, parse
from leastpriv.policy.evaluate import policy_size
from leastpriv.proposal.models import History, Options, Proposal, ProposalInputs, UnseenServices
from leastpriv.proposal.proof import prove
from leastpriv.proposal.propose import propose
from tests.fakes.evidence import RUNS, evidence_for, with_unknown_grants
from tests.hypothesis_profiles import sampled
from tests.test_cases import change_words

OPTIONS = (
    Options(),
    Options(unseen_services=UnseenServices.DROP, exact_resources=True),
    Options(keep_forms=True),
)
SEEDS = range(4)


@dataclass(frozen=True)
class Draft:
    """A proposal for a policy of the corpus, and what it was made from."""

    proposal: Proposal
    evidence: Evidence
    options: Options

    @property
    def name(self) -> str:
        """The file of the policy."""
        return self.proposal.document.where


@pytest.fixture(scope="module")
def drafts(shared_folder: Path) -> list[Draft]:
    return list(_drafts(shared_folder))


def _drafts(shared_folder: Path) -> Iterator[Draft]:
    paths = sampled(sorted((shared_folder / "corpus" / "policies").glob("*.json")))
    for number, path in enumerate(paths):
        try:
            document = parse(path.read_bytes(), path.name)
        except PolicyFileError:
            continue  # a trust policy, a policy of a resource, a template
        if not all(_is_whole(statement) for statement in document.statements):
            continue
        # One of the four seeds in the profiles `fast` and `ci`, all in `full`; + 2, so that a policy
        # becomes shorter by removals alone.
        for seed in sampled(SEEDS, number + 2):
            chance = random.Random(f"{path.name} {seed}")  # noqa: S311 - the same each time
            evidence, options = evidence_for(document, chance), OPTIONS[seed % len(OPTIONS)]
            yield Draft(_proposed(document, evidence, options), evidence, options)


def _is_whole(statement: Statement) -> bool:
    return bool(statement.resources or statement.not_resources) and bool(
        statement.actions or statement.not_actions
    )


def _proposed(document: Document, evidence: Evidence, options: Options) -> Proposal:
    return propose(document, compare(document, [], evidence), evidence, options)


def _second(first: Proposal, evidence: Evidence, options: Options, history: History) -> Proposal:
    """The proposal on the files of an earlier one."""
    document = parse(first.content, first.document.where, first.document.pointer)
    further = first.documents[1:]
    comparison = compare(document, further, evidence)
    return propose(document, comparison, evidence, options, ProposalInputs(history, further))


def test_the_corpus_yields_changes_of_every_kind(
    drafts: list[Draft],
) -> None:
    """So that the tests below cannot pass without a change."""
    kinds = {
        (change.kind, bool(change.restricted_to)): change.action
        for draft in drafts
        for change in draft.proposal.changes
    }
    assert len(drafts) > len(sampled(range(120)))
    assert len(kinds) == 4


def test_a_second_run_on_a_policy_of_the_corpus_proposes_nothing(
    drafts: list[Draft],
) -> None:
    for draft in drafts:
        second = _second(draft.proposal, draft.evidence, draft.options, History())
        assert [change_words(change) for change in second.changes] == [], draft.name


def test_calls_that_another_policy_allowed_are_added_once_and_then_remove_nothing(
    drafts: list[Draft],
) -> None:
    """After the merge the grant is younger than the calls, which holds removals back."""
    added = 0
    for number, draft in enumerate(drafts[::3]):
        committed = draft.proposal.committed
        assert committed
        chance = random.Random(number)  # noqa: S311 - the same each time
        evidence = with_unknown_grants(committed, draft.evidence, chance)
        first = _proposed(committed, evidence, draft.options)
        added += any(change.kind is ChangeKind.ADD for change in first.changes)
        merged = History(changed=RUNS[-1].first + timedelta(days=1))
        second = _second(first, evidence, draft.options, merged)
        assert [change_words(change) for change in second.changes] == [], draft.name
    assert added > len(sampled(range(15)))


def test_a_proposal_for_a_policy_of_the_corpus_grants_nothing_unlisted_and_breaks_nothing(
    drafts: list[Draft],
) -> None:
    for draft in drafts:
        proof = prove(draft.proposal, [], draft.evidence)
        assert (proof.new_access, proof.newly_denied) == ((), ()), draft.name
        assert proof.replay.denied == (), draft.name


def test_a_policy_of_the_corpus_grows_only_by_additions_and_what_replaces_a_wildcard(
    drafts: list[Draft],
) -> None:
    """In characters without white space, over all files; what is only removed needs no further
    file.
    """
    shorter = 0
    for draft in drafts:
        proposal = draft.proposal
        assert proposal.committed
        if all(change.kind is ChangeKind.REMOVE for change in proposal.changes):
            sizes = [policy_size(document) for document in proposal.documents]
            assert len(sizes) == 1, draft.name
            assert sizes[0] <= policy_size(proposal.committed), draft.name
            shorter += bool(proposal.changes)
    assert shorter > 1


def test_leave_one_run_out_on_the_corpus_covers_every_run(
    drafts: list[Draft],
) -> None:
    left_out_runs = [
        prove(draft.proposal, [], draft.evidence, draft.options, History()).left_out
        for draft in drafts[::3]
    ]
    assert all(
        left_out
        and left_out.runs <= 12
        and len(left_out.denied) + left_out.untried <= left_out.runs
        for left_out in left_out_runs
    )
    assert any(left_out and left_out.denied for left_out in left_out_runs)


def test_the_json_patch_turns_a_policy_of_the_corpus_into_the_proposed_one(
    drafts: list[Draft],
) -> None:
    for draft in drafts:
        before, after = draft.proposal.committed, draft.proposal.document
        assert before
        patch = json.loads(json_patch(before, after))
        assert jsonpatch.apply_patch(_value(before), patch) == _value(after)
        assert (patch == []) == (not draft.proposal.changes)


def _value(document: Document) -> object:
    return json.loads(document.text.removeprefix("\ufeff"))
