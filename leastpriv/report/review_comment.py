"""The one comment on a person's pull request that edits a policy: the verdict first, what it rests on last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from leastpriv.evidence.usage import CallGroup
from leastpriv.proposal.findings import Verdict
from leastpriv.report import escape
from leastpriv.report.escape import code
from leastpriv.report.fit import fit
from leastpriv.report.limits import UNSEEN, unseen_lines
from leastpriv.report.proof import replay_sentences
from leastpriv.report.review_sections import additions, conditions, needs_security, removals
from leastpriv.report.reviewed import Reviewed
from leastpriv.report.words import codes, plural, watched

_LONGEST = 58_000
"""GitHub takes 65,536 characters; headers and escapes count, as in a pull request's body."""


def marker(principal: str, policy_file: str) -> str:
    """The last line of the comment, by which the next run finds it again: one a principal and policy file."""
    scope = hashlib.sha256(f"{principal} {policy_file}".encode()).hexdigest()[:12]
    return f"<!-- leastpriv:review v=1 scope={scope} -->"


def review_title(subject: Reviewed) -> str:
    """One line of fixed words, figures and the role's name."""
    review = subject.review
    match review.verdict:
        case Verdict.BREAKS:
            found = f"refuses {plural(_calls(review.broken), 'recorded call')}"
        case Verdict.NEW_ACCESS:
            found = "new access without evidence"
        case Verdict.NEEDED_ACCESS:
            found = "adds what was needed"
        case Verdict.NARROWS:
            found = "allows less"
        case _:
            found = "no change of permissions"
    return f"Policy review for {escape.name(subject.role)}: {found}"


def review_body(subject: Reviewed, longest: int = _LONGEST) -> str:
    """The whole comment in Markdown, at most `longest` characters, with `marker` as its last line.

    What grows too long loses the ends of its longest sections; verdict and replay stay whole.
    """
    before, after = [verdict(subject)], [_replay(subject), marker(subject.principal, subject.policy_file)]
    sections = [
        *needs_security(subject),
        *removals(subject),
        *additions(subject),
        *conditions(subject),
        f"{UNSEEN}\n\n" + "\n".join(unseen_lines(subject.evidence, bool(subject.attached))),
    ]
    whole = _page([*before, *sections, *after])
    if len(whole) <= longest:
        return whole
    room = longest - sum(len(part) + 2 for part in (*before, *after)) - 2 * len(sections)
    return _page([*before, *fit(sections, room, "the job's summary"), *after])


def _page(sections: Sequence[str]) -> str:
    return "\n\n".join(sections) + "\n"


def verdict(subject: Reviewed) -> str:
    """What a reviewer reads first: the gravest finding, then what else is to be known before merging."""
    sentences = [_finding(subject), *_reservations(subject)]
    evidence = subject.evidence
    if not evidence.counts.calls:
        sentences.append(
            f"**No call of {code(subject.principal)}** is among the {subject.records:,} records that were read: "
            "is the ARN right, and the trail?"
        )
    return " ".join(sentences)


def _finding(subject: Reviewed) -> str:
    review, file = subject.review, _file(subject)
    evidence = subject.evidence
    basis = watched(evidence)
    did = f"{code(subject.role)} did in {basis}"
    match review.verdict:
        case Verdict.BREAKS:
            calls = plural(_calls(review.broken), "recorded call")
            return (
                f"**Breaks: {calls} of {code(subject.role)} would be refused** after this edit of {file}, and are "
                f"not before it: found in {basis}. Such a deploy would fail."
            )
        case Verdict.NEW_ACCESS:
            needed = f"what {code(subject.role)} needed in {basis}"
            return f"**New access without evidence** in {file}: {_unproven(subject)} beyond {needed}."
        case Verdict.NEEDED_ACCESS:
            return f"**Adds only what was needed** in {file}: it was refused, or used without a known grant."
        case Verdict.NARROWS:
            surely = " for sure" if review.may_break else ""
            return f"**Allows less** in {file}: no recorded call would be refused{surely}, of all that {did}."
        case _:
            return f"**No change of permissions** in {file}: both versions allow and deny the same."


def _file(subject: Reviewed) -> str:
    state = " (new)" if subject.review.is_created else " (deleted)" if subject.review.is_deleted else ""
    return f"{code(subject.policy_file)}{state}"


def _unproven(subject: Reviewed) -> str:
    """`3 of the 4 added actions go`; what a Deny or a condition held back is not counted."""
    additions = subject.review.additions
    added = {action for addition in additions for action in addition.edit.actions}
    unproven = {action for addition in additions for action in addition.unproven}
    if not unproven:
        return "it goes"
    some = f"{len(unproven):,} of " if len(unproven) < len(added) else ""
    return f"{some}{plural(len(added), 'added action')} {'goes' if len(unproven) == 1 else 'go'}"


def _reservations(subject: Reviewed) -> Iterator[str]:
    review = subject.review
    if review.verdict is Verdict.BREAKS and review.has_new_access_without_evidence:
        yield "It also gives **new access without evidence**."
    if review.verdict is Verdict.NEW_ACCESS:
        yield "No recorded call would be refused."
    if review.may_break:
        yield f"**{plural(_calls(review.may_break), 'recorded call')} may be refused**: the records do not decide it."
    unseen = {action for removal in review.removals for actions in removal.unseen.values() for action in actions}
    if unseen:
        yield f"Of {plural(len(unseen), 'removed action')} a use could have stayed unseen, or is still to come."


def _replay(subject: Reviewed) -> str:
    review = subject.review
    lines = list(replay_sentences(review.after, "this version"))
    lines.append(f"The base allows {review.before.allowed:,} of {review.before.recorded:,}.")
    if review.broken:
        events = codes(dict.fromkeys(group.event for group in review.broken), 8)
        lines.append(f"**{plural(_calls(review.broken), 'call')} would be refused for this edit**: {events}.")
    if review.may_break:
        events = codes(dict.fromkeys(group.event for group in review.may_break), 8)
        lines.append(f"{plural(_calls(review.may_break), 'call')} would be allowed less surely than before: {events}.")
    both = [group for group in review.after.refused if group not in set(review.broken)]
    if both:
        lines.append(
            f"{plural(_calls(both), 'call')} by neither version: another policy of the role must have allowed "
            f"{'it' if _calls(both) == 1 else 'them'} ({codes(dict.fromkeys(group.event for group in both), 4)})."
        )
    return "### Replay\n\n" + "\n".join(f"- {line}" for line in lines)


def _calls(groups: Sequence[CallGroup]) -> int:
    return sum(group.count for group in groups)
