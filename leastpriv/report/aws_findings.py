"""What AWS itself says of the role's use: warnings, questions for the reviewer, and what it did to the proposal."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from leastpriv.evidence.aws_findings.models import AccessReport, Advice, GeneratedPolicy, UnusedAccess
from leastpriv.models import ChangeKind
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_matches
from leastpriv.proposal.guards.aws import was_granted
from leastpriv.proposal.guards.second_opinion import Question, Why, has_placeholder, second_opinion
from leastpriv.report.context import Subject
from leastpriv.report.escape import code, prose
from leastpriv.report.phrases import codes, day, joined, plural

_MOST_QUESTIONS = 40
_WHY = {
    Why.UNSEEN: "no call of it is in this evidence: was it used at another time, in another region, or not at all?",
    Why.REFUSED: "AWS refused it in this evidence; generated policies hold refused calls too",
    Why.UNKNOWN: "the catalogue of actions does not know it: is it needed?",
}


def outside_access(subject: Subject) -> Iterator[str]:
    """A warning for everybody outside who may assume the role; nothing where there is nobody."""
    found = [each for each in subject.evidence.hints.outside if not each.is_bound_subject]
    if not found:
        return
    rows = []
    for each in found:
        conditions = [f"{code(key)} matches {code(value)}" for key, value in list(each.conditions.items())[:6]]
        only_if = f", only if {joined(conditions)}" if conditions else ", without any condition"
        who = "anybody" if each.is_public else code(each.principal)
        rows.append(f"- {who}{only_if}")
    yield (
        "### The role is open to outsiders\n\nIAM Access Analyzer found that others than its account or organization "
        f"may assume {code(subject.role)}. Nothing in this change alters that: look at the role's trust policy.\n\n"
        + "\n".join(rows)
    )


def questions(subject: Subject) -> Iterator[str]:
    """What IAM Access Analyzer's generated policy has and the proposal has not: to be answered, never written."""
    opinion = second_opinion([*subject.draft.documents, *subject.attached_documents], subject.evidence)
    if opinion is None:
        return
    head = (
        f"IAM Access Analyzer wrote {_generated(opinion.generated)} It knows neither `iam:PassRole` nor data events, "
        "and takes refused calls for used ones."
    )
    agreed = f"The proposal grants {opinion.agreed:,} of its actions as well."
    if not opinion.questions:
        yield f"### Second opinion\n\n{head} {agreed} It names nothing that the proposal lacks."
        return
    lines = [_question(each) for each in opinion.questions[:_MOST_QUESTIONS]]
    more = len(opinion.questions) - len(lines)
    rest = [f"- … and {more:,} more"] if more else []
    yield (
        f"### Questions: IAM Access Analyzer names more\n\n{head} {agreed} The others are not written into the policy; "
        "add by hand what you know to be needed.\n\n" + "\n".join([*lines, *rest])
    )


def _generated(generated: GeneratedPolicy) -> str:
    first, last = day(generated.first), day(generated.last)
    complete = "" if generated.is_complete else ", which it calls incomplete,"
    several = f"{plural(generated.policies, 'policy', 'policies')}" if generated.policies != 1 else "a policy"
    whose = " Somebody else had asked for it." if generated.was_running else ""
    return f"{several}{complete} from the trail's events of {first} to {last}.{whose}"


def _question(question: Question) -> str:
    found = codes(question.resources, 3)
    if question.is_filled:
        where = f" on {found}, as what was seen fills its placeholders"
    elif any(map(has_placeholder, question.resources)):
        where = f" on {found}, whose placeholders nothing that was seen fills"
    else:
        where = "" if question.resources == ("*",) else f" on {found}"
    return f"- {code(question.action)}{where}: {_WHY[question.why]}"


def told(subject: Subject) -> Iterator[str]:
    """What IAM's last accessed information and the unused-access analyzers say, and what followed from it."""
    hints = subject.evidence.hints
    lines = [
        *(_last_accessed(hints.access, subject) if hints.access else ()),
        *(line for unused in hints.unused for line in _unused(unused, subject)),
    ]
    if lines:
        yield "### AWS's own word on the use\n\n" + "\n".join(lines)


def _last_accessed(access: AccessReport, subject: Subject) -> Iterator[str]:
    idle = [name for name, service in access.services.items() if service.last is None]
    yield (
        f"- **Last accessed information** up to {access.until:%Y-%m-%d %H:%M} UTC (later attempts may be missing, and "
        f"refused ones count): the role's policies grant {plural(len(access.services), 'service')}, and "
        f"{len(idle):,} of them nobody tried to use."
    )
    if idle and not was_granted(subject.evidence, subject.history.changed):
        changed = subject.history.changed
        when = f"it changed on {day(changed)}" if changed else "when it last changed is not known"
        yield f"- That lets no grant go, since the policy file may be younger than the evidence: {when}."
    dropped = _dropped(subject, frozenset(idle))
    if dropped:
        them = "it" if len(dropped) == 1 else "them"
        yield f"- IAM knows of no attempt on {codes(dropped, 12)}, so what wildcards grant of {them} goes."
        policies = sorted({policy for name in dropped for policy in access.granted_by.get(name, ())})
        if policies:
            yield f"- As IAM sees it, these services are granted by {codes(policies, 6)}."
    stays = _vetoed(subject)
    if stays:
        yield f"- It keeps {codes(stays, 12)}, of which this evidence shows no use."
    for shared in [each for each in access.shared if each.others][:5]:
        yield (
            f"- {code(shared.arn)} is not this role's alone: {codes(sorted(shared.others), 3)} used "
            f"{code(shared.service)} through it, last on {day(max(each.time for each in shared.others.values()))}."
        )
    if access.missing:
        yield (
            "- Not told of all policies what they grant and who else uses them, so that what may be shared stays: "
            f"{prose(access.missing)}"
        )


def _vetoed(subject: Subject) -> list[str]:
    """What was to go and stays for its sake: entries, and actions of wildcards."""
    guards = ("last-accessed", "shared-policy")
    entries = [held.action for held in subject.draft.held_back if held.objection.guard in guards]
    stays = (change.stays or {} for change in subject.changes(ChangeKind.NARROW))
    actions = [action for each in stays for action, objection in each.items() if objection.guard in guards]
    return list(dict.fromkeys([*entries, *sorted(actions)]))


def _dropped(subject: Subject, idle: frozenset[str]) -> list[str]:
    """Services of which a wildcard grants nothing any more for IAM's sake: neither it nor this evidence knows a use."""
    if not was_granted(subject.evidence, subject.history.changed):
        return []
    changes = (*subject.changes(ChangeKind.NARROW), *subject.changes(ChangeKind.REMOVE))
    gone = {action.partition(":")[0] for change in changes if change.granted > 1 for action in change.gone}
    used = {usage.need.permission.action.partition(":")[0] for usage in subject.evidence.usages}
    return sorted((gone & idle) - used)


def _unused(unused: UnusedAccess, subject: Subject) -> Iterator[str]:
    gone = {action.lower() for change in subject.draft.changes for action in change.gone}
    days = f" ({unused.days} days)" if unused.days else ""
    if unused.is_whole:
        yield f"- **Unused access**: the analyzer {code(unused.analyzer)}{days} calls the whole role unused."
    if unused.credentials:
        yield (
            f"- **Unused access**: the analyzer {code(unused.analyzer)}{days} calls credentials of the user unused: "
            f"{codes(unused.credentials, 4)}. Deactivate what no deploy uses."
        )
    if not unused.actions and not unused.services:
        return
    patterns = [*unused.actions, *(f"{service}:*" for service in unused.services)]
    agreed = sum(any(action_matches(pattern, action) for pattern in patterns) for action in gone)
    kept = [action for action in unused.actions if action not in gone]
    what = joined([
        *([plural(len(unused.services), "service")] if unused.services else []),
        *([plural(len(unused.actions), "action")] if unused.actions else []),
    ])  # fmt: skip
    yield (
        f"- **Unused access**: the analyzer {code(unused.analyzer)}{days} calls {what} unused, and this proposal takes "
        f"away {plural(agreed, 'action')} of these."
    )
    if kept:
        yield f"- It also calls unused what stays here or is not granted by this file: {codes(map(_spelled, kept), 8)}."
    for step in unused.advice:
        verb = "to detach" if step.step == "DETACH_POLICY" else "to replace"
        yield f"- It recommends {verb} {code(step.policy or 'a policy')}{_kept_there(step, gone)}."
    for why in unused.unadvised:
        yield f"- Without a recommendation: {prose(why)}"


def _kept_there(step: Advice, gone: AbstractSet[str]) -> str:
    """What the recommended policy grants and the proposal takes away: there AWS is of another mind."""
    kept = sorted(action for action in gone if any(action_matches(pattern, action) for pattern in step.grants))
    return f" by a policy that keeps what goes here: {codes(map(_spelled, kept), 8)}" if kept else ""


def _spelled(action: str) -> str:
    return catalog.spelling(action) or action


def unasked_lines(subject: Subject) -> Iterator[str]:
    """Sources of hints that gave none, one item of a list a line."""
    for each in subject.evidence.hints.unasked:
        yield f"- AWS's own word ({each.source}): {prose(each.why)}"
