"""Fits a proposal into the quotas of IAM; what makes it too large is not narrowed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.models import ChangeKind, grouped
from leastpriv.policy.containment import check_containment
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.edit import apply_edits, edited_for_evaluation
from leastpriv.policy.size import PackedPolicy, PolicyKind, pack, policy_kind, size_of_others
from leastpriv.proposal.edit_plan import plan_edits
from leastpriv.proposal.models import Change, HeldBackChange, ProposalInputs
from leastpriv.proposal.resource_narrowing import TOO_LARGE

MOST_FILES = 5
"""No person reviews a policy in more files line by line."""


class FittedChanges(Struct, frozen=True):
    """The changes that the quotas take, with the result."""

    changes: tuple[Change, ...]
    packed: PackedPolicy
    fits: bool = True
    """Whether the quotas are kept."""
    too_large: tuple[Change, ...] = ()
    """The narrowings of the statements that are left as they are."""

    @property
    def statements(self) -> frozenset[int]:
        """The statements that are left as they are."""
        return frozenset(change.statement for change in self.too_large)

    @property
    def held_back(self) -> list[HeldBackChange]:
        """The narrowings that the quotas do not take, each action of a statement once."""
        held_by_entry = {
            (change.statement, change.action): HeldBackChange(
                ChangeKind.NARROW, change.action, change.resources, TOO_LARGE, change.sid
            )
            for change in self.too_large
            if change.used or change.replacement
        }
        return [*held_by_entry.values()]


def within_quotas(
    document: Document, changes: tuple[Change, ...], principal: str, inputs: ProposalInputs
) -> FittedChanges:
    """Applies the changes; those statements are not narrowed whose growth makes more policies than
    a role takes.
    """
    narrowings = [change for change in changes if change.kind is ChangeKind.NARROW]
    by_growth = sorted(filter(_growth, narrowings), key=_growth, reverse=True)
    longest = list(dict.fromkeys(change.statement for change in by_growth))

    @cache
    def without(count: int) -> FittedChanges:
        """Applies the changes without the longest narrowings."""
        return _fitted(document, changes, frozenset(longest[:count]), principal, inputs)

    fewest = _fewest(len(longest), lambda count: without(count).fits)
    narrowed = grouped([(change.statement, change) for change in narrowings])
    too_large = [change for statement in longest[:fewest] for change in narrowed[statement]]
    return replace(without(fewest), too_large=tuple(too_large))


def _fewest(statements: int, fits: Callable[[int], bool]) -> int:
    """Returns how many of some statements are left as they are, at least, to keep the quotas.

    Packing a large policy takes seconds: the number is doubled, then searched by halves.
    """
    if fits(0):
        return 0
    most = 1
    while most < statements and not fits(most):
        most *= 2
    least = min(most // 2 + 1, statements)
    return bisect_left(range(min(most, statements)), True, least, key=fits)


def _fitted(
    document: Document,
    changes: Sequence[Change],
    left: frozenset[int],
    principal: str,
    inputs: ProposalInputs,
) -> FittedChanges:
    """Applies the changes without the narrowings of some statements."""
    kept = tuple(
        change
        for change in changes
        if change.kind is not ChangeKind.NARROW or change.statement not in left
    )
    edits = plan_edits(document, kept)
    if not inputs.writes:
        return FittedChanges(kept, PackedPolicy(edited_for_evaluation(document, edits)))
    if not kept:
        return FittedChanges(kept, PackedPolicy(document))
    edited = apply_edits(document, edits)
    packed = within_quota(edited, principal, inputs.attached, document)
    return FittedChanges(kept, packed, fits=is_within_quota(packed))


def is_within_quota(packed: PackedPolicy) -> bool:
    """Whether a role takes a policy, and a person reviews it."""
    return packed.fits and len(packed.further) < MOST_FILES


def _growth(change: Change) -> int:
    """How many actions and resources a narrowing writes beyond the one that it replaces."""
    return max(len(change.replacement), 1) + max(len(change.restricted_to), 1) - 2


def within_quota(
    document: Document,
    principal: str,
    attached: Sequence[Document],
    committed: Document | None = None,
) -> PackedPolicy:
    """Fits a document into its quota; writes a wildcard only if the committed document granted
    it.
    """
    wide = _wide_part(committed) if committed else None

    def may_fold(edited: Document, statement: Statement, pattern: str) -> bool:
        if wide is None or all(statement.effect == "Deny" for statement in wide.statements):
            return False
        possible = tuple(each for each in statement.possible if each.key != "Action")
        folded = replace(
            statement,
            index=0,
            actions=(pattern,),
            unknown_actions=(),
            possible=possible,
            items=(),
        )
        return check_containment([wide], [edited.with_statements((folded,))]).holds

    kind = policy_kind(committed, principal) if committed else PolicyKind.MANAGED
    managed = sum(policy_kind(other, principal) is PolicyKind.MANAGED for other in attached)
    others_size = size_of_others(kind, attached, principal)
    return pack(
        document, kind, attached=managed, used_by_others=others_size, may_write_wildcard=may_fold
    )


def _wide_part(document: Document) -> Document:
    """Returns what of a policy decides whether it grants all that a wildcard does: entries without
    wildcards grant no action that AWS adds later.
    """
    wide = [
        statement
        for statement in document.statements
        if statement.effect == "Deny" or _is_wide(statement)
    ]
    numbered = (replace(each, index=index) for index, each in enumerate(wide))
    return document.with_statements(tuple(numbered))


def _is_wide(statement: Statement) -> bool:
    """Whether a statement names more actions than it lists."""
    if statement.not_actions or statement.unknown_actions:
        return True
    return any("*" in entry or "?" in entry for entry in statement.actions)
