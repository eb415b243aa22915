"""The first screen of a review: safe to merge or not and why, what the edit removes, adds, and leaves unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from leastpriv.evidence.models import CallGroup
from leastpriv.models import Usage
from leastpriv.permissions.catalog import removal_rank
from leastpriv.proposal.review_models import ReviewVerdict
from leastpriv.report.context import ReviewContext
from leastpriv.report.first_screen import kept_because
from leastpriv.report.infrastructure_review import preflight_answer
from leastpriv.report.phrases import code, codes, day, evidence_span, latest_use, plural, prose, run_links, times
from leastpriv.report.verdict import MOST_SHOWN

_MOST_LINES = 3


def review_first_screen(context: ReviewContext) -> list[str]:
    """Returns the lines of the first screen of a review; missing permissions of the infrastructure precede the edit."""
    answer, finding = _edit(context)
    preflight = preflight_answer(context)
    reasons = [*_reasons(context)]
    if preflight and context.review.verdict is ReviewVerdict.UNCHANGED:
        answer, finding = preflight
    elif preflight and context.preflight and context.preflight.lacking and not context.review.breaks:
        reasons.insert(0, f"**Edit of the policy:** {finding}")
        answer, finding = preflight
    elif preflight:
        reasons.insert(0, f"**Infrastructure:** {preflight[1]}")
    verdict = f"**Safe to merge? {answer}.** {finding}" if answer else finding
    return [verdict, *reasons, *_changes(context)]


def _edit(context: ReviewContext) -> tuple[str, str]:
    """The answer for the edit of the policy, empty where it changes nothing, and the reason."""
    review, role, basis = context.review, code(context.role), evidence_span(context.evidence)
    state = " (new)" if review.is_created else " (deleted)" if review.is_deleted else ""
    file = f"{code(context.policy_file)}{state}"
    security = any(each.forbidden or each.sensitive for each in review.additions)
    certain = not review.may_be_denied and not any(removal.unseen for removal in review.removals)
    match review.verdict:
        case ReviewVerdict.UNCHANGED:
            return "", f"**Nothing to review.** Both versions of {file} allow and deny the same."
        case ReviewVerdict.BREAKS:
            calls = plural(count_calls(review.newly_denied), "recorded call")
            more = " It also gives new access without evidence." if review.has_new_access_without_evidence else ""
            reason = (
                f"After this edit of {file}, {calls} of {role} in {basis} would be denied: such a deploy would fail."
            )
            return "No", f"{reason}{more}"
        case _ if context.declared_in and not (context.evidence.counts.calls or context.records):
            sources = codes(context.declared_in, 2)
            if review.verdict is ReviewVerdict.NARROWS:
                is_needed = context.preflight and context.preflight.withdrawn
                kept = "" if is_needed else f", and {sources} needs nothing of what it takes away"
                return "Probably", f"{file} allows less{kept}; no record of calls was read."
            answer = "After a security review" if security else "Yes"
            if review.verdict is ReviewVerdict.NEW_ACCESS:
                answer = "After a security review" if security else "After a review of what it adds"
                return answer, (
                    f"{file} gains access that nothing asks for: {_unproven(context)} beyond what {sources} needs."
                )
            return answer, f"{file} gains only what {sources} needs; no record of calls was read."
        case _ if not context.evidence.counts.calls:
            records = f"the {context.records:,} records that were read"
            return "Not known", (
                f"No call of {code(context.principal)} is among {records}, so nothing shows what {file} needs: check "
                "the ARN and the trail."
            )
        case ReviewVerdict.NEW_ACCESS:
            answer = "After a security review" if security else "After a review of what it adds"
            needed = f"{role} needed in {basis}"
            return answer, f"{file} gains access without evidence: {_unproven(context)} beyond what {needed}."
        case ReviewVerdict.NEEDED_ACCESS:
            answer = "After a security review" if security else "Yes"
            return answer, f"{file} gains only what was denied, or used without a known grant."
        case _:
            surely = " for sure" if review.may_be_denied else ""
            return (
                "Yes" if certain else "Probably",
                f"{file} allows less, and no recorded call of {role} in {basis} would be denied{surely}.",
            )


def _unproven(context: ReviewContext) -> str:
    """Counts the added actions without evidence; access that a Deny or a condition blocked is not counted."""
    added = {action for addition in context.review.additions for action in addition.edit.actions}
    unproven = {action for addition in context.review.additions for action in addition.unproven}
    if not unproven:
        return "it goes"
    some = f"{len(unproven):,} of " if len(unproven) < len(added) else ""
    return f"{some}{plural(len(added), 'added action')} {'goes' if len(unproven) == 1 else 'go'}"


def _reasons(context: ReviewContext) -> Iterator[str]:
    review = context.review
    if review.after.recorded and review.verdict is not ReviewVerdict.UNCHANGED:
        calls = f"{review.after.allowed:,} of {plural(review.after.recorded, 'successful call')}"
        yield f"**Replay:** this version allows {calls}, the base {review.before.allowed:,}."
    if review.may_be_denied:
        calls = plural(count_calls(review.may_be_denied), "recorded call")
        yield f"**Not sure:** {calls} may be denied; the records do not decide it."
    guards = Counter(
        {guard.guard: len(actions) for removal in review.removals for guard, actions in removal.unseen.items()}
    )
    unseen = {action for removal in review.removals for actions in removal.unseen.values() for action in actions}
    if unseen:
        why = kept_because(guards.most_common(1)[0][0])
        yield f"**Not known:** whether {plural(len(unseen), 'removed action')} will be needed, because {why}."
    unread = context.preflight.change.unread if context.preflight else ()
    if unread:
        yield f"**Not known:** what {codes(unread, 3)} needs."


def _changes(context: ReviewContext) -> Iterator[str]:
    review = context.review
    used: dict[str, list[Usage]] = {}
    for removal in review.removals:
        for action, usages in removal.lost.items():
            used.setdefault(action, []).extend(usages)
    if used:
        uses = (f"{code(action)} ({last_seen(context, usages)})" for action, usages in used.items())
        yield f"**Removes what was used:** {_listed(uses)}."
    doubtful = {action for removal in review.removals for action in removal.doubtful}
    rest = {action for removal in review.removals for action in removal.edit.actions} - used.keys() - doubtful
    if rest:
        riskiest = sorted(rest, key=lambda action: (removal_rank(action), action))
        yield f"**Removes without a recorded use:** {codes(riskiest, MOST_SHOWN)}."
    careful = {
        f"{codes(actions, 2)} on {codes(each.edit.on, 1)}, because it {prose(reason)}"
        for each in review.additions
        for found in (each.forbidden, each.sensitive)
        for reason, actions in found.items()
    }
    if careful:
        yield f"**For a security review:** {_listed(sorted(careful))}."
    unproven = dict.fromkeys(action for each in review.additions for action in each.unproven)
    proven = dict.fromkeys(
        action for each in review.additions for action in each.edit.actions if action not in unproven
    )
    if proven:
        yield f"**Adds what was needed:** {codes(proven, MOST_SHOWN)}."
    if unproven:
        yield f"**Adds without evidence:** {codes(unproven, MOST_SHOWN)}."
    others = len(review.conditions) + len(review.denies_added) + len(review.denies_removed)
    if others:
        yield f"**Changes {plural(others, 'condition or Deny', 'conditions or Denies')}**, listed below."


def last_seen(context: ReviewContext, usages: Sequence[Usage]) -> str:
    """Returns `14×, last in run [123](…) on 2026-11-03`."""
    last = max(usages, key=lambda usage: usage.last_seen)
    run = f" in run {run_links(last.runs[-1:], context.run_url)}" if last.runs else ""
    return f"{times(usages, context.evidence)}, last{run} on {day(latest_use(usages))}"


def _listed(parts: Iterable[str]) -> str:
    every = list(parts)
    more = f"; and {len(every) - _MOST_LINES:,} more" if len(every) > _MOST_LINES else ""
    return "; ".join(every[:_MOST_LINES]) + more


def count_calls(groups: Sequence[CallGroup]) -> int:
    """Returns the number of calls of some groups."""
    return sum(group.count for group in groups)
