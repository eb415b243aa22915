"""Title and body of the pull request: the verdict first, the evidence last, and only that is ever cut.

The proposed policy in Terraform's own language: that is read and not edited, so that a person copies it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv import __version__
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, ChangeKind, DeniedBy
from leastpriv.policy.hcl_writer import hcl_of
from leastpriv.proposal.addition_rules import is_unknown
from leastpriv.proposal.models import Change
from leastpriv.proposal.suggestions import SIBLING
from leastpriv.report import escape
from leastpriv.report.aws_findings import outside_access, questions, told
from leastpriv.report.changes import (
    conditions_offered,
    lifecycle_counterparts,
    lifecycle_offers,
    patterns_opened,
    resources_narrowed,
)
from leastpriv.report.context import Subject
from leastpriv.report.escape import block, code, prose
from leastpriv.report.evidence_limits import for_security, held_back, live_role, offered, refused, refused_line, unseen
from leastpriv.report.phrases import (
    codes,
    day,
    fit,
    in_time,
    joined,
    last_of,
    plural,
    run_links,
    runs_of,
    times,
    watched,
)
from leastpriv.report.proof import chance_line, confidence_table, disagreements, judged, proof_lines
from leastpriv.report.role_chain import chain_section

_LONGEST = 20_000
"""Characters; a longer one would leave no room for the evidence. A large policy has 10,000."""


def to_copy(subject: Subject) -> Iterator[str]:
    """The section with the proposed statements, where the policy file cannot be edited and something changes."""
    document = subject.draft.document
    if document.editable or not subject.draft.changes:
        return
    name = code(subject.policy_file)
    text = block(hcl_of(document), "hcl")
    if len(text) > _LONGEST:
        text = "*It is too long for this page: `policy.tf` beside this report has it.*"
    what = "the statements" if document.pointer.startswith(("data.", "/data/")) else "the argument of `jsonencode`"
    yield (
        f"### To copy\n\n{name} is Terraform's own language, which is read here and not edited. In place of {what} "
        f"there, the proposal is:\n\n{text}"
    )


LONGEST_BODY = 58_000
"""GitHub takes 65,536 characters; headers and escapes count (Renovate caps at the same figure)."""
_WORDS = {
    Basis.OBSERVED: "observed: allowed, though no known policy grants it",
    Basis.INFERRED: "inferred from an allowed call",
    Basis.DENIED: "refused by AWS",
}


def title(subject: Subject) -> str:
    """One line of fixed words, figures and the role's name."""
    parts = [
        f"{verb} {len(changes)}"
        for verb, kind in (
            ("add", ChangeKind.ADD),
            ("narrow", ChangeKind.NARROW),
            ("remove", ChangeKind.REMOVE),
        )
        if (changes := subject.changes(kind))
    ]
    if subject.draft.committed is None and subject.draft.changes:
        return f"First least-privilege policy for {escape.name(subject.role)}"
    return f"Least privilege for {escape.name(subject.role)}: {', '.join(parts) or 'nothing to change'}"


def body(subject: Subject, reserved: int = 0) -> str:
    """The whole body in Markdown, at most 58,000 characters less those `reserved` for what follows it.

    What grows too long loses the evidence first, then the ends of its longest sections; verdict and proof stay whole.
    """
    mark = marker(subject.fingerprint)
    before = [verdict(subject), *disagreements(subject.judgements), *chance_line(subject)]
    proof = [*proof_lines(subject), *confidence_table(subject)]
    after = [*to_copy(subject), *proof, *judged(subject.judgements), *_what_happens(subject)]
    sections = [
        *_security(subject),
        *outside_access(subject),
        *_additions(subject),
        *patterns_opened(subject),
        *_narrowed(subject),
        *resources_narrowed(subject),
        *_removals(subject),
        *refused(subject),
        *(chain_section(subject.chained) if subject.chained else ()),
        *live_role(subject),
        *offered(subject),
        *questions(subject),
        *told(subject),
        *unseen(subject),
        *held_back(subject),
        *lifecycle_counterparts(subject),
        *conditions_offered(subject),
        *lifecycle_offers(subject.offers, subject.evidence.hints.declared),
    ]
    evidence = _evidence(subject)
    whole = _page([*before, *sections, *after, evidence, mark])
    longest = LONGEST_BODY - reserved
    if len(whole) <= longest:
        return whole
    evidence = "*The evidence table is too long for this page: it is in `proposal.json`.*"
    rest = [*before, *after, evidence, mark]
    room = longest - sum(len(part) + 2 for part in rest) - 2 * len(sections)
    return _page([*before, *fit(sections, room), *after, evidence, mark])


def marker(fingerprint: str) -> str:
    """What tells which proposal a body is about; hidden."""
    return f"<!-- leastpriv v=1 version={__version__} fingerprint={fingerprint} -->"


def _page(sections: Sequence[str]) -> str:
    return "\n\n".join(filter(None, sections)) + "\n"


def verdict(subject: Subject) -> str:
    """The one sentence that a reviewer reads first."""
    evidence = subject.evidence
    basis = f"in {watched(evidence)}"
    if subject.draft.committed is None and any(held.objection.guard == "declined" for held in subject.draft.refused):
        return f"**The first draft was declined** for {code(subject.role)}, so there is none: see below."
    if not evidence.counts.calls and not subject.changes(ChangeKind.ADD):
        return (
            f"**No call of {code(subject.principal)}** is among the {subject.records:,} records that were read: "
            "is the ARN right, and the trail?"
        )
    if subject.draft.committed is None and not subject.draft.changes:
        return f"**Nothing to draft**: no call of {code(subject.role)} {basis} needed a permission that can be written."
    if subject.draft.committed is None:
        return (
            f"**A first draft** of {code(subject.policy_file)} from what {code(subject.role)} used {basis}: "
            f"{plural(len(subject.draft.changes), 'action')}. Nothing is removed by it: attach it beside the role's "
            "present grants, watch some runs, then detach the wide one."
        )
    removed = subject.changes(ChangeKind.REMOVE)
    narrowed = [change for change in subject.changes(ChangeKind.NARROW) if not change.onto]
    onto = [change for change in subject.changes(ChangeKind.NARROW) if change.onto]
    added = subject.changes(ChangeKind.ADD)
    parts = []
    if added:
        refused_ones = sum(any(usage.need.basis is Basis.DENIED for usage in change.usages) for change in added)
        why = (
            " that AWS refused" if refused_ones == len(added) else f" ({refused_ones} refused)" if refused_ones else ""
        )
        parts.append(f"adds {plural(len(added), 'action')}{why}")
    if narrowed:
        grants = sum(change.granted for change in narrowed)
        used = sum(len(change.used) for change in narrowed)
        entries = plural(len(narrowed), "wildcard")
        left = grants - sum(len(change.gone) for change in narrowed)
        parts.append(f"narrows {entries} ({grants:,} → {left:,} actions granted, {used:,} used)")
    if onto:
        parts.append(f"narrows the resources of {plural(len(onto), 'action')}")
    if removed:
        parts.append(f"removes {plural(len(removed), 'entry', 'entries')} without any use")
    sentence = joined(parts) or "changes nothing"
    role = f"{code(subject.role)} did {basis}" if evidence.counts.calls else f"job logs tell of {code(subject.role)}"
    return f"**{sentence[0].upper()}{sentence[1:]}** in {code(subject.policy_file)}: what {role}."


def _security(subject: Subject) -> Iterator[str]:
    sensitive = [change for change in subject.changes(ChangeKind.ADD) if change.security]
    logged = dict.fromkeys(refused_line(held) for held in subject.draft.refused if for_security(held))
    if sensitive or logged:
        rows = [
            f"- {code(change.action)} on {codes(change.resources)}{only_if(change)}: {change.security}"
            for change in sensitive
        ]
        rows += [f"{line} **Not written.**" for line in logged]
        yield "### Needs a security reviewer\n\n" + "\n".join(rows)


def _additions(subject: Subject) -> Iterator[str]:
    added = subject.changes(ChangeKind.ADD)
    if not added:
        return
    rows = [
        f"| {code(change.action)} | {codes(change.resources, 4)}{only_if(change)} | {basis_words(subject, change)} | "
        f"{times(change.usages, subject.evidence)} | {len(runs_of(change.usages))} | {day(last_of(change.usages))} |"
        for change in added
    ]
    head = "| Action | Resource | Basis | Times | Runs | Last seen |\n| --- | --- | --- | ---: | ---: | --- |"
    yield f"### Adds\n\n{head}\n" + "\n".join(rows)


def only_if(change: Change) -> str:
    """The conditions of an addition, after its resources."""
    conditions = [f"{code(each.key)} is {' or '.join(map(code, each.values))}" for each in change.conditions]
    return f", only if {joined(conditions)}" if conditions else ""


def basis_words(subject: Subject, change: Change) -> str:
    """Why an addition is there, and whether nobody knows whose code asked for it."""
    origins = subject.history.origins
    mark = f", **removed by #{change.removed_by}**" if change.removed_by else ""
    mark += " (branch unknown)" if origins and is_unknown(change.usages, origins) else ""
    if change.basis is Basis.OBSERVED and subject.draft.committed is None:
        return f"observed{mark}"
    return f"{_words(change)}{mark}"


def _words(change: Change) -> str:
    """Why an addition is there."""
    words = _WORDS.get(change.basis or Basis.OBSERVED, "")
    denials = [usage.denial for usage in change.usages if usage.denial]
    if not denials or len(denials) < len(change.usages):
        return words
    if change.basis is Basis.INFERRED:
        words = "what the refused call will need next"
    if all(denial.log for denial in denials):
        return f"{words}, from the job log {codes(dict.fromkeys(denial.log for denial in denials), 2)}"
    return f"{words} in a rehearsal" if all(denial.denied_by is DeniedBy.SESSION for denial in denials) else words


def _narrowed(subject: Subject) -> Iterator[str]:
    narrowed = [change for change in subject.changes(ChangeKind.NARROW) if not change.onto]
    if narrowed:
        yield "### Narrows\n\n" + "\n\n".join(_narrowed_entry(change, subject.evidence) for change in narrowed)


def _narrowed_entry(change: Change, evidence: Evidence) -> str:
    lines = [
        f"**{code(change.action)}** in {_place(change)} granted {plural(change.granted, 'action')} on "
        f"{codes(change.resources, 3)}; {plural(len(change.used), 'action')} used.",
        "",
        "| Stays | Because | Times | Runs | Last seen |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for action in change.used:
        usages = [usage for usage in change.usages if usage.need.permission.action == action]
        lines.append(
            f"| {code(action)} | used | {times(usages, evidence)} | {len(runs_of(usages))} | {day(last_of(usages))} |"
        )
    lines.extend(
        f"| {codes(actions, 8)} | {code(guard)}: {prose(reason)} | | | |" for guard, reason, actions in _stays(change)
    )
    siblings = sum(objection.guard == SIBLING for objection in (change.stays or {}).values())
    if siblings:
        lines.append(f"| {plural(siblings, 'lifecycle counterpart')}, listed below | {code(SIBLING)} | | | |")
    lines += ["", f"Goes ({len(change.gone)}): {codes(change.gone, 150)}."]
    folded = [entry for entry in change.becomes if "*" in entry]
    if folded:
        lines += ["", f"What stays unused is written in part as {codes(folded, 20)}, which grants no action that goes."]
    return "\n".join(lines)


def _stays(change: Change) -> list[tuple[str, str, list[str]]]:
    """(guard, reason, actions) of what stays though unused, but for lifecycle counterparts, which have a section."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for action, objection in (change.stays or {}).items():
        if objection.guard == SIBLING:
            continue
        grouped.setdefault((objection.guard, objection.reason), []).append(action)
    return [(guard, reason, sorted(actions)) for (guard, reason), actions in sorted(grouped.items())]


def _removals(subject: Subject) -> Iterator[str]:
    removed = subject.changes(ChangeKind.REMOVE)
    if not removed:
        return
    by_place: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for change in removed:
        by_place.setdefault((_place(change), change.resources), []).append(change.action)
    rows = [f"| {codes(actions, 40)} | {place} | {codes(on, 3)} |" for (place, on), actions in by_place.items()]
    evidence = subject.evidence
    seen = f"No call in {watched(evidence)}, though CloudTrail would have shown it."
    yield f"### Removes\n\n{seen}\n\n| Entry | Statement | On |\n| --- | --- | --- |\n" + "\n".join(rows)


def _place(change: Change) -> str:
    return (
        f"statement {code(change.sid)} (line {change.line})" if change.sid else f"the statement on line {change.line}"
    )


def _what_happens(subject: Subject) -> Iterator[str]:
    if not subject.draft.changes:
        return
    file = code(subject.policy_file)
    lines = [
        f"- **Merge** changes {file}, not the account: apply it the way you apply it today.",
        "- **Edit** the branch and it is yours: it will not be touched again while it has commits of others.",
    ]
    if not subject.draft.document.editable:
        lines = [
            f"- **Copy** the text above into {file} and apply it the way you apply it today: nothing was written there."
        ]
    yield "\n".join(["### What happens next", "", *lines, "- To keep an action for good, name it in the input `keep`."])


def _evidence(subject: Subject) -> str:
    rows = [_evidence_row(subject, change) for change in subject.draft.changes if change.usages]
    if not rows:
        return ""
    head = "| Action | Events | First seen | Last seen | Runs |\n| --- | --- | --- | --- | --- |"
    table = "\n".join(row for block in rows for row in block)
    return f"<details><summary>Evidence for each action</summary>\n\n{head}\n{table}\n\n</details>"


def _evidence_row(subject: Subject, change: Change) -> list[str]:
    rows = []
    for action in change.used:
        usages = [usage for usage in change.usages if usage.need.permission.action == action]
        events = dict.fromkeys(event for usage in usages for event in usage.events)
        first = min((usage.first_seen for usage in usages), default=None)
        runs = run_links(in_time(runs_of(usages), subject.evidence.runs), subject.run_url)
        rows.append(f"| {code(action)} | {codes(events, 4)} | {day(first)} | {day(last_of(usages))} | {runs} |")
    return rows
