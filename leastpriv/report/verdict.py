"""Decides what the first line of a result says: safe to merge or not, or why nothing changes.

It also reports the paths on which an attacker becomes administrator, for the first screen and for
JSON.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import to_builtins

from leastpriv.models import ChangeKind
from leastpriv.proposal.escalation_paths import (
    EscalationPath,
    Strength,
    is_administrator,
    passed_role_use,
)
from leastpriv.proposal.models import Change
from leastpriv.proposal.self_widening import DENIAL_BUDGET
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code, json_text, plain, prose
from leastpriv.report.phrases import (
    codes,
    evidence_span,
    guard_row,
    joined,
    last_day,
    links_of_runs,
    plural,
)
from leastpriv.report.tables import conditions_value

MOST_SHOWN = 5
"""Names in one line; a first screen has no longer list."""
_HIGH_CHANCE = 0.2
_LOW_CHANCE = 0.05
_OF_TIME_AND_PLACE = frozenset({"minimum-days", "minimum-runs", "region-not-read", "not-recorded"})
"""Guards that name what the evidence lacks of days, runs and regions."""
_MOST_LINES = 5
_MOST_OTHERS = 2
_MOST_UNDECIDED = 3
_ANY = re.compile(r"\{([^}]*)\}")


def verdict(context: ReportContext) -> str:
    """Returns the first line of a result: the answer to "Safe to merge?" with its reason, or why
    nothing changes.
    """
    proposal, evidence = context.proposal, context.evidence
    declined = any(held.guard_result.guard == "declined" for held in proposal.held_back_additions)
    if proposal.committed is None and declined:
        return f"**The first draft was declined** for {code(context.role)}, so there is none."
    if evidence.counts.calls and not context.proof.replay.recorded and not proposal.changes:
        return _probe_verdict(context) or (
            f"**No change is proposed.** No call of {code(context.role)} succeeded in"
            f" {evidence_span(evidence)}, so the policy remains as it is."
        )
    if not evidence.counts.calls and not context.changes(ChangeKind.ADD):
        if not context.records:
            return (
                "**No evidence.** No CloudTrail record was read: `trails` names where the records"
                " are."
            )
        return (
            f"**No call of {code(context.principal)}** is among the {context.records:,} records"
            " that were read. Check the ARN and the trail."
        )
    if not proposal.changes:
        draft = proposal.committed is None
        what = (
            "No permission that can be written was used"
            if draft
            else "The policy has what the role used"
        )
        denied = sum(each.count for each in context.proof.replay.denied)
        if denied and not draft:
            calls = f"{plural(denied, 'recorded call')} in {evidence_span(evidence)}"
            return (
                f"**Nothing to change.** The policy lacks what {calls} used, and nothing can be"
                " added for that."
            )
        what = f"{what} in {evidence_span(evidence)}"
        # Why the evidence proves no removal yet, with the remedy.
        results = Counter(held.guard_result for held in proposal.held_back)
        result = next(
            (each for each, _ in results.most_common() if each.guard in _OF_TIME_AND_PLACE), None
        )
        if result and (row := guard_row(result.guard)):
            lacking = f"{prose(result.reason.partition(': ')[0])}. Remedy: {row['remedy']}"
            return f"**Nothing is changed yet.** {what}; the rest is kept, because {lacking}."
        return f"**Nothing to {'draft' if draft else 'change'}.** {what}."
    answer, why = _answer(context)
    return f"**Safe to merge? {answer}.** {why}"


_ACTIONS_OF_A_PROBE = 20
"""Different denied actions, without any success, that look like a probe and not like a deploy."""


def _probe_verdict(context: ReportContext) -> str:
    """The verdict where sessions of many denials made the calls and none succeeded; else empty."""
    held = (
        each
        for each in context.proposal.held_back_additions
        if each.guard_result.guard == DENIAL_BUDGET
    )
    usages = [usage for each in held for usage in each.usages]
    if len({usage.need.permission.action for usage in usages}) < _ACTIONS_OF_A_PROBE:
        return ""
    runs = links_of_runs(usages, context.evidence, context.run_url)
    return (
        f"**No change is proposed, and this may be an attack.** No call of {code(context.role)}"
        f" succeeded, and {context.evidence.counts.denied:,} were denied. That looks like a probe"
        f" with stolen credentials: find out who started {runs}, last seen on {last_day(usages)}."
    )


def short_verdict(context: ReportContext) -> str:
    """Returns the verdict in a few words, for a table: the answer to "Safe to merge?", or why there
    is none.
    """
    if context.proposal.changes:
        return _answer(context)[0]
    if not context.evidence.counts.calls:
        return "No calls"
    return "Nothing to change" if context.proof.replay.recorded else "Not enough evidence"


def _answer(context: ReportContext) -> tuple[str, str]:
    proof, role = context.proof, code(context.role)
    if any(each.disagreements for each in context.check_results):
        return "No", "AWS contradicts the proof of this proposal: see below."
    if proof.new_access or not proof.fits:
        what = (
            "It grants more than the listed additions"
            if proof.new_access
            else "It is larger than IAM accepts"
        )
        return "No", f"{what}: see *Proof*."
    if proof.newly_denied:
        return (
            "No",
            (
                "It would deny recorded calls that the policy allows:"
                f" {codes(proof.newly_denied, MOST_SHOWN)}."
            ),
        )
    careful = {
        change.action: change.security
        for change in context.changes(ChangeKind.ADD)
        if change.security
    }
    if careful:
        [(first, why), *others] = careful.items()
        several = f"power over permissions, keys or code: {codes(careful, 3)}"
        power = several if others else f"{code(first)}, which {why}"
        draft = " Merging changes nothing in the account until you attach the policy."
        return (
            "After a security review",
            f"It adds {power}.{draft if context.proposal.committed is None else ''}",
        )
    if context.proposal.committed is None:
        return (
            "Yes",
            (
                f"The new file changes nothing until you attach it to {role} and detach the wide"
                " policy."
            ),
        )
    removing = [*context.changes(ChangeKind.NARROW), *context.changes(ChangeKind.REMOVE)]
    if not removing:
        return "Yes", "It only adds permissions: review these."
    which = " that the policy allows" if proof.replay.denied else ""
    remains = (
        f"Every recorded call of {role} in {evidence_span(context.evidence)}{which} remains allowed"
    )
    if proof.chance > _HIGH_CHANCE:
        return (
            "Not yet",
            "Later runs often needed new actions: rehearse it first, or wait for more runs.",
        )
    unproven = sum(len(change.unproven or {}) for change in removing)
    is_wide = any(change.action.startswith(("*", "NotAction")) for change in removing)
    if unproven or (is_wide and not context.evidence.coverage.data):
        unseen = (
            plural(unproven, "removed action") if unproven else "services are removed whose use"
        )
        return (
            "Probably",
            f"{remains}, but {unseen} may leave no record: rehearse the change first.",
        )
    return "Probably" if proof.chance > _LOW_CHANCE else "Yes", f"{remains}."


def use_of_passed_role(context: ReportContext, change: Change) -> str:
    """The sentence on what an added permission to pass a role gives together with what the policy
    grants, or empty.
    """
    use = passed_role_use(change, context.proposal.documents)
    if use is None:
        return ""
    where = "every resource" if "*" in use.resources else codes(use.resources, 2)
    role = f"the role {use.known}" if use.known else "what the role may do is not known"
    return (
        f" Together with {code(use.action)}, which the policy grants on {where}, a run can use the"
        f" permissions of the role by {use.how}; {role}."
    )


def escalation_section(context: ReportContext) -> Iterator[str]:
    """Lists the paths to administrator if `escalation_line` does not name all of them, and the
    closed ones.
    """
    leading = context.escalation.leading
    if len(leading) > 1:
        lines = [f"- {_path_line(path)}" for path in leading[:_MOST_LINES]]
        if len(leading) > _MOST_LINES:
            lines.append(
                f"- and by {plural(len(leading) - _MOST_LINES, 'further path')}, in"
                " `proposal.json`."
            )
        yield "\n".join([escalation_verdict(context.escalation.after), "", *lines])
    ended = [path for path in context.escalation.closed if path.leads_to_administrator]
    if ended:
        names = codes(dict.fromkeys(action for path in ended for action in path.actions[:1]), 6)
        yield f"The proposal closes {plural(len(ended), 'path')} to administrator, by {names}."


def escalation_line(context: ReportContext) -> str:
    """The line of the first screen on the most direct path to administrator; empty without one."""
    leading = context.escalation.leading
    if not leading:
        names = context.escalation.undecided_by
        if not names:
            return ""
        decide = "decides" if len(names) == 1 else "decide"
        return (
            f"**Escalation cannot be ruled out:** only the rendered file shows what"
            f" {codes(names, _MOST_UNDECIDED)} {decide}."
        )
    what = "Administrator in effect" if is_administrator(context.escalation.after) else "Escalation"
    more = f"; and {plural(len(leading) - 1, 'further path')}" if len(leading) > 1 else ""
    return (
        f"**{what}:** an attacker in one run can gain more permissions by"
        f" {_path_line(leading[0])}{more}."
    )


def escalation_title(context: ReportContext) -> str:
    """The title of the fold: how many paths lead to administrator, how many to named roles and
    resources.
    """
    every, leading = len(context.escalation.after), len(context.escalation.leading)
    others = f"{every - leading:,} to named roles and resources"
    ways = (
        f"{plural(leading, 'path')} to administrator, {others}"
        if every
        else "no path to more permissions"
    )
    return f"Escalation: {ways}"


def reach_section(context: ReportContext) -> Iterator[str]:
    """Lists the paths that lead to named roles and resources, or that are open under a condition
    only.
    """
    leading = context.escalation.leading
    others = [path for path in context.escalation.after if path not in leading]
    if others:
        lines = [f"- {_path_line(path)}" for path in others[:_MOST_OTHERS]]
        if len(others) > _MOST_OTHERS:
            lines.append(f"- and {plural(len(others) - _MOST_OTHERS, 'further path')}")
        yield "\n".join(["Paths to named roles and resources:", "", *lines])


def boundary_section(context: ReportContext) -> Iterator[str]:
    """Offers a permissions boundary for the roles that the role creates, and the condition that
    demands it.
    """
    boundary = context.boundary
    if boundary is None:
        return
    where = codes(name for name, _ in boundary.statements)
    condition = json_text({"Condition": conditions_value([boundary.condition])})
    path = code(boundary.path)
    draft = (
        f"{path} exists: "
        if boundary.path
        else "The input `boundary-file` drafts one: deploy it, then "
    )
    if boundary.content:
        draft = (
            f"This proposal drafts one as {path}: change it to what these roles need, deploy it,"
            " then "
        )
    yield (
        f"**A permissions boundary** limits the roles that this role creates. {draft}add it to the"
        f" templates of these roles, and this condition to {where}: {code(condition, 600)}"
    )


def escalation_verdict(paths: Sequence[EscalationPath]) -> str:
    """The sentence before the list of paths; empty without a path to administrator."""
    if is_administrator(paths):
        return (
            "**Administrator in effect.** An attacker who controls one run becomes administrator of"
            " the account by:"
        )
    if any(path.leads_to_administrator for path in paths):
        where = "where the account has a role, user or resource with such permissions"
        return f"**Still lets an attacker become administrator**, {where}, by:"
    wide = "**Still lets an attacker act as a role with wide permissions** by:"
    return wide if any(path.known for path in paths) else ""


def path_sentence(path: EscalationPath) -> str:
    """One path in plain text, for a log or an annotation."""
    target = joined([*path.targets[:3], *(["others"] if len(path.targets) > 3 else [])])
    how = _ANY.sub(lambda found: target or found[1], path.how)
    return plain(
        f"{how} ({', '.join(path.actions)}){_only_if([each.key for each in path.conditions])}", 600
    )


def escalation_value(context: ReportContext) -> dict[str, object]:
    """The open paths before and after the proposal for machines."""
    escalation = context.escalation
    return {
        "administrator_before": is_administrator(escalation.before),
        "administrator_after": is_administrator(escalation.after),
        "before": [_path_value(path) for path in escalation.before],
        "after": [_path_value(path) for path in escalation.after],
        "closed": [path.id for path in escalation.closed],
        "undecided_by": list(escalation.undecided_by),
        "boundary": (
            {
                "file": context.boundary.path or None,
                "drafted": bool(context.boundary.content),
                "condition": conditions_value([context.boundary.condition]),
                "statements": {
                    name: list(actions) for name, actions in context.boundary.statements
                },
            }
            if context.boundary
            else None
        ),
    }


def _path_line(path: EscalationPath) -> str:
    target = codes(path.targets, 3)
    how = _ANY.sub(lambda found: target or found[1], path.how)
    known = f", which {path.known}" if path.known else ""
    secrets = ", among which credentials may be" if path.strength is Strength.SECRETS else ""
    return (
        f"{how}{known}{secrets}"
        f" ({codes(path.actions)}){_only_if([code(each.key) for each in path.conditions])}"
    )


def _only_if(keys: Sequence[str]) -> str:
    return f", only under its conditions on {joined(keys[:3])}" if keys else ""


def _path_value(path: EscalationPath) -> dict[str, object]:
    conditions = conditions_value(path.conditions)
    return {
        **to_builtins(path),
        "how": path_sentence(path),
        "conditions": conditions,
        "known": path.known or None,
    }
