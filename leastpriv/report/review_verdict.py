"""The first sentences of a review: the most severe finding, then what else matters before merging."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv.evidence.models import CallGroup
from leastpriv.proposal.review_models import ReviewVerdict
from leastpriv.report.context import ReviewContext
from leastpriv.report.escape import code
from leastpriv.report.phrases import evidence_span, plural


def review_verdict(context: ReviewContext) -> str:
    """The first sentences for the reviewer: the most severe finding, then what else matters before merging."""
    sentences = [_finding(context), *_reservations(context)]
    evidence = context.evidence
    if not evidence.counts.calls:
        sentences.append(
            f"**No call of {code(context.principal)}** is among the {context.records:,} records that were read: "
            "check the ARN and the trail."
        )
    return " ".join(sentences)


def _finding(context: ReviewContext) -> str:
    review, basis = context.review, evidence_span(context.evidence)
    state = " (new)" if review.is_created else " (deleted)" if review.is_deleted else ""
    file = f"{code(context.policy_file)}{state}"
    did = f"{code(context.role)} did in {basis}"
    match review.verdict:
        case ReviewVerdict.BREAKS:
            calls = plural(count_calls(review.newly_denied), "recorded call")
            return (
                f"**Breaks: {calls} of {code(context.role)} would be denied** after this edit of {file}, and are "
                f"not before it: found in {basis}. Such a deploy would fail."
            )
        case ReviewVerdict.NEW_ACCESS:
            needed = f"what {code(context.role)} needed in {basis}"
            return f"**New access without evidence** in {file}: {_unproven(context)} beyond {needed}."
        case ReviewVerdict.NEEDED_ACCESS:
            return f"**Adds only what was needed** in {file}: it was denied, or used without a known grant."
        case ReviewVerdict.NARROWS:
            surely = " for sure" if review.may_be_denied else ""
            return f"**Allows less** in {file}: no recorded call would be denied{surely}, of all that {did}."
        case _:
            return f"**No change of permissions** in {file}: both versions allow and deny the same."


def _unproven(context: ReviewContext) -> str:
    """Counts the added actions without evidence; access that a Deny or a condition blocked is not counted."""
    additions_section = context.review.additions
    added = {action for addition in additions_section for action in addition.edit.actions}
    unproven = {action for addition in additions_section for action in addition.unproven}
    if not unproven:
        return "it goes"
    some = f"{len(unproven):,} of " if len(unproven) < len(added) else ""
    return f"{some}{plural(len(added), 'added action')} {'goes' if len(unproven) == 1 else 'go'}"


def _reservations(context: ReviewContext) -> Iterator[str]:
    review = context.review
    if review.verdict is ReviewVerdict.BREAKS and review.has_new_access_without_evidence:
        yield "It also gives **new access without evidence**."
    if review.verdict is ReviewVerdict.NEW_ACCESS:
        yield "No recorded call would be denied."
    if review.may_be_denied:
        calls = plural(count_calls(review.may_be_denied), "recorded call")
        yield f"**{calls} may be denied**: the records do not decide it."
    unseen = {action for removal in review.removals for actions in removal.unseen.values() for action in actions}
    if unseen:
        yield f"Of {plural(len(unseen), 'removed action')} a use may be unseen or still to come."


def count_calls(groups: Sequence[CallGroup]) -> int:
    """Returns the number of calls of some groups."""
    return sum(group.count for group in groups)
