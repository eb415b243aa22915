"""A second run on the first run's result proposes nothing, whatever the policy, and each proposal
has its proof.

The policies of public repositories are not part of this repository: see `shared_folder`. Of the
cases, `tests/test_cases.py` makes a second run.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def drafts(shared_folder: Path) -> list[tuple[Proposal, Evidence, Options]]:
    return list(_drafts(shared_folder))


def _drafts(shared_folder: Path) -> Iterator[tuple[Proposal, Evidence, Options]]:
    paths = sampled(sorted((shared_folder / "corpus" / "policies").glob("*.json")))
    for number, path in enumerate(paths):
        try:
            document = parse(path.read_bytes(), path.name)
        except PolicyFileError:
            continue  # a trust policy, a policy of a resource, a template
        if not all(_is_whole(statement) for statement in document.statements):
            continue
        # Two of the four seeds in the profiles `fast` and `ci`, all in `full`.
        for seed in sorted({*sampled(SEEDS, number), *sampled(SEEDS, number + 2)}):
            chance = random.Random(f"{path.name} {seed}")  # noqa: S311 - the same each time
            evidence, options = evidence_for(document, chance), OPTIONS[seed % len(OPTIONS)]
            yield _proposed(document, evidence, options), evidence, options


def _is_whole(statement: Statement) -> bool:
    return bool(statement.resources or statement.not_resources) and bool(
        statement.actions or statement.not_actions
    )


def _proposed(document: Document, evidence: Evidence, options: Options) -> Proposal:
    return propose(document, compare(document, [], evidence), evidence, options)


def test_the_corpus_yields_changes_of_every_kind(
    drafts: list[tuple[Proposal, Evidence, Options]],
) -> None:
    """So that the tests below cannot pass without a change."""
    kinds = {
        (change.kind, bool(change.restricted_to)): change.action
        for draft, _, _ in drafts
        for change in draft.changes
    }
    assert len(drafts) > len(sampled(range(150)))
    assert len(kinds) == 4


def test_a_second_run_on_a_policy_of_the_corpus_proposes_nothing(
    drafts: list[tuple[Proposal, Evidence, Options]],
) -> None:
    for draft, evidence, options in drafts:
        other_documents = draft.documents[1:]
        again = parse(draft.content, draft.document.where, draft.document.pointer)
        second = propose(
            again,
            compare(again, other_documents, evidence),
            evidence,
            options,
            ProposalInputs(attached=other_documents),
        )
        assert [change_words(change) for change in second.changes] == [], draft.document.where


def test_calls_that_another_policy_allowed_are_added_once_and_then_remove_nothing(
    drafts: list[tuple[Proposal, Evidence, Options]],
) -> None:
    """After the merge the grant is younger than the calls, which holds removals back."""
    added = 0
    for number, (draft, evidence_of_draft, options) in enumerate(drafts[::4]):
        assert draft.committed
        evidence = with_unknown_grants(draft.committed, evidence_of_draft, random.Random(number))  # noqa: S311 - the same each time
        first = _proposed(draft.committed, evidence, options)
        added += any(change.kind is ChangeKind.ADD for change in first.changes)
        again, other_documents = (
            parse(first.content, draft.document.where, draft.document.pointer),
            first.documents[1:],
        )
        merged = History(changed=RUNS[-1].first + timedelta(days=1))
        second = propose(
            again,
            compare(again, other_documents, evidence),
            evidence,
            options,
            ProposalInputs(merged, other_documents),
        )
        assert [change_words(change) for change in second.changes] == [], draft.document.where
    assert added > len(sampled(range(15)))


def test_a_proposal_for_a_policy_of_the_corpus_grants_nothing_unlisted_and_breaks_nothing(
    drafts: list[tuple[Proposal, Evidence, Options]],
) -> None:
    for draft, evidence, _ in drafts:
        proof = prove(draft, [], evidence)
        assert (proof.new_access, proof.newly_denied) == ((), ()), draft.document.where
        assert proof.replay.denied == (), draft.document.where


def test_a_policy_of_the_corpus_grows_only_by_additions_and_what_replaces_a_wildcard(
    drafts: list[tuple[Proposal, Evidence, Options]],
) -> None:
    """In characters without white space, over all files; what is only removed needs no further
    file.
    """
    shorter = 0
    for draft, _, _ in drafts:
        assert draft.committed
        if all(change.kind is ChangeKind.REMOVE for change in draft.changes):
            sizes = [policy_size(document) for document in draft.documents]
            assert (sum(sizes) <= policy_size(draft.committed), len(sizes)) == (True, 1), (
                draft.document.where
            )
            shorter += bool(draft.changes)
    assert shorter > 1


def test_leave_one_run_out_on_the_corpus_covers_every_run(
    drafts: list[tuple[Proposal, Evidence, Options]],
) -> None:
    left_out_runs = [
        prove(draft, [], evidence, options, History()).left_out
        for draft, evidence, options in drafts[:: len(SEEDS) + 1]
    ]
    assert all(
        left_out
        and left_out.runs <= 12
        and len(left_out.denied) + left_out.untried <= left_out.runs
        for left_out in left_out_runs
    )
    assert any(left_out and left_out.denied for left_out in left_out_runs)


def test_the_json_patch_turns_a_policy_of_the_corpus_into_the_proposed_one(
    drafts: list[tuple[Proposal, Evidence, Options]],
) -> None:
    for draft, _, _ in drafts:
        assert draft.committed
        patch = json.loads(json_patch(draft.committed, draft.document))
        assert jsonpatch.apply_patch(_value(draft.committed), patch) == _value(draft.document)
        assert (patch == []) == (not draft.changes)


def _value(document: Document) -> object:
    return json.loads(document.text.removeprefix("\ufeff"))
