"""Used actions that were granted on `*`: those that are granted on what the runs have shown, and those that stay.

What each pattern of an addition stands for, and why it is open: a pattern fits more than what was seen.

Lifecycle counterparts as a group of their own: what was made has to be updated, tagged and deleted later.

What a later run may need and no policy grants: a list that a person may copy from; nothing of it is written.

Conditions that a reader may add: what they are, and of which statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv.evidence.aws_findings.models import Declared
from leastpriv.models import Basis, ChangeKind
from leastpriv.permissions.sensitive import sensitivity
from leastpriv.proposal.models import Change
from leastpriv.proposal.suggestions import Offer
from leastpriv.report.context import Subject
from leastpriv.report.escape import code, prose
from leastpriv.report.phrases import by_objection, codes, day, joined, last_of, plural, runs_of


def resources_narrowed(subject: Subject) -> Iterator[str]:
    """The section about resources; it says what the reader risks."""
    changes = [change for change in subject.changes(ChangeKind.NARROW) if change.onto]
    if changes:
        rows = "\n".join(_row(change) for change in changes)
        head = "| Action | Was on | Is on | Runs | Last seen |\n| --- | --- | --- | ---: | --- |"
        risk = (
            "Every use names its resource, and what the earlier half of the runs used covers the later half. A run "
            "that needs another resource will be refused: keep `*` where you plan one (`keep`, or `resources: keep`)."
        )
        yield f"### Narrows resources\n\n{risk}\n\n{head}\n{rows}"
    yield from _held_open(subject)


def _row(change: Change) -> str:
    covered = sum(len(pattern.covers) for pattern in change.patterns)
    opened = any(pattern.openings for pattern in change.patterns)
    stands_for = f" for {plural(covered, 'resource')} seen" if opened else ""
    return (
        f"| {codes(change.used)} | {codes(change.resources, 2)} | {codes(change.onto, 6)}{stands_for} | "
        f"{len(runs_of(change.usages))} | {day(last_of(change.usages))} |"
    )


def _held_open(subject: Subject) -> Iterator[str]:
    groups = by_objection(subject.draft.held_open)
    if groups:
        table = "\n".join(
            f"| {codes((held.action for held in group), 12)} | {code(objection.guard)}: {prose(objection.reason)} |"
            for objection, group in groups.items()
        )
        count = plural(len(subject.draft.held_open), "used action stays", "used actions stay")
        head = "| Action | Because |\n| --- | --- |"
        yield f"<details><summary>{count} on `*`</summary>\n\n{head}\n{table}\n\n</details>"


_MOST_ROWS = 30
_MOST_SEEN = 3


def patterns_opened(subject: Subject) -> Iterator[str]:
    """The folded section below the additions; nothing where each is written on what was seen, letter by letter."""
    seen: dict[str, tuple[dict[str, None], dict[str, None], dict[str, None]]] = {}
    for change in subject.changes(ChangeKind.ADD):
        for pattern in change.patterns:
            if pattern.openings and pattern.pattern in change.resources:
                actions, covers, reasons = seen.setdefault(pattern.pattern, ({}, {}, {}))
                actions[change.action] = None
                covers.update(dict.fromkeys(pattern.covers))
                reasons.update(dict.fromkeys(opening.reason for opening in pattern.openings))
    if not seen:
        return
    rows = [
        f"| {code(name)} | {codes(actions, _MOST_SEEN)} | {codes(covers, _MOST_SEEN)} | {prose('; '.join(reasons))} |"
        for name, (actions, covers, reasons) in sorted(seen.items())
    ]
    more = f"\n\n{len(rows) - _MOST_ROWS:,} more are in `proposal.json`." if len(rows) > _MOST_ROWS else ""
    count = plural(len(rows), "pattern stands", "patterns stand")
    yield (
        f"<details><summary>{count} for more than what was seen</summary>\n\n"
        "Whatever has such a name is granted, also what others made in this account: where another team's things are "
        "named so, write the names instead (`resources: exact`).\n\n"
        "| Pattern | For | Seen on | Open because |\n| --- | --- | --- | --- |\n"
        + "\n".join(rows[:_MOST_ROWS])
        + f"{more}\n\n</details>"
    )


HEADING = "### Lifecycle counterparts"
_MOST_COUNTERPARTS = 20


def lifecycle_counterparts(subject: Subject) -> Iterator[str]:
    """By the used action that they go with: those that stay, and those that no policy grants."""
    yield from counterparts(subject.kept_siblings, [each for each in subject.offers if each.basis is Basis.SIBLING])


def counterparts(staying: Sequence[Offer], offers: Sequence[Offer]) -> Iterator[str]:
    """The section, where there is any."""
    kept, offered = _by_partner(staying), _by_partner(offers)
    partners = sorted({*kept, *offered})
    if not partners:
        return
    rows = [
        f"| {code(partner)} | {_names(kept.get(partner, ()))} | {_names(offered.get(partner, ()))} |"
        for partner in partners[:_MOST_COUNTERPARTS]
    ]
    if len(partners) > _MOST_COUNTERPARTS:
        rows.append(f"| and {len(partners) - _MOST_COUNTERPARTS:,} more, in `proposal.json` | | |")
    yield (
        f"{HEADING}\n\nA later run updates, tags or deletes what this role makes, though no run has shown it yet. What "
        "the policy grants for that stays; the rest is offered, not written: `proposal.json` has statements to copy "
        "for what is not for a security reviewer (†).\n\n"
        "| Used | Stays | Offered |\n| --- | --- | --- |\n" + "\n".join(rows)
    )


def _by_partner(offers: Sequence[Offer]) -> dict[str, list[Offer]]:
    found: dict[str, list[Offer]] = {}
    for offer in offers:
        found.setdefault(offer.because, []).append(offer)
    return found


def _names(offers: Sequence[Offer]) -> str:
    """Actions that share their resources together; † behind those of which some is for a security reviewer."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for offer in offers:
        groups.setdefault(offer.resources, []).append(offer.action)
    told = []
    for resources, actions in groups.items():
        careful = " †" if any(map(sensitivity, actions)) else ""
        on = f" on {codes(resources, 3)}" if resources else ""
        told.append(f"{codes(actions, 8)}{careful}{on}")
    return "; ".join(told)


_MOST_OFFERS = 12
"""Lines: whoever reads a pull request looks at what changes first."""
_WORDS = {
    Basis.DECLARED: "declared by",
}


def lifecycle_offers(offers: Sequence[Offer], declared: Declared) -> Iterator[str]:
    """The section, where there is something to offer, or to tell of what was asked of resource types.

    Lifecycle counterparts have a section of their own (`siblings.py`).
    """
    groups = _grouped([offer for offer in offers if offer.basis is not Basis.SIBLING])
    lines = [_line(group) for group in groups[:_MOST_OFFERS]]
    if len(groups) > _MOST_OFFERS:
        lines.append(f"- and {sum(map(len, groups[_MOST_OFFERS:])):,} more, in `proposal.json`.")
    lines.extend(_untold(declared))
    if lines:
        yield (
            "### Offered for later runs, not written\n\nNo record shows their use, and no known policy grants them: an "
            "update, a deletion, a rollback, or calls that only data events show, may need them. `proposal.json` "
            "has all of them, and statements to copy for those that show a resource here and are not for a security "
            "reviewer.\n\n" + "\n".join(lines)
        )


def _untold(declared: Declared) -> Iterator[str]:
    """What is not known of resource types."""
    if declared.failure:
        yield f"- What resource types need is not known whole. {prose(declared.failure)}"
    if declared.untold:
        yield f"- CloudFormation's registry does not know {codes(declared.untold, 8)}, nor what their resources need."
    if declared.unknown:
        yield f"- Resource types name what is no action that the catalogue knows: {codes(declared.unknown, 8)}."


def statements(offers: Sequence[Offer]) -> list[dict[str, object]]:
    """Statements to copy: of actions that are not sensitive and whose resources are known from use."""
    by_resources: dict[tuple[str, ...], list[str]] = {}
    for offer in offers:
        if offer.resources and not sensitivity(offer.action):
            by_resources.setdefault(offer.resources, []).append(offer.action)
    return [
        {"Effect": "Allow", "Action": actions, "Resource": list(resources)}
        for resources, actions in by_resources.items()
    ]


def _grouped(offers: Sequence[Offer]) -> list[list[Offer]]:
    groups: dict[tuple[Basis, str, tuple[str, ...]], list[Offer]] = {}
    for offer in offers:
        groups.setdefault((offer.basis, offer.because, offer.resources), []).append(offer)
    return list(groups.values())


def _line(group: Sequence[Offer]) -> str:
    offer = group[0]
    on = f" on {codes(offer.resources, 3)}" if offer.resources else ""
    careful = " (for a security reviewer)" if any(sensitivity(each.action) for each in group) else ""
    return f"- {codes((each.action for each in group), 8)}{on}: {_WORDS[offer.basis]} {code(offer.because)}{careful}."


_MOST_CONDITIONS = 10


def conditions_offered(subject: Subject) -> Iterator[str]:
    """The section, where every call of some action met one."""
    offered = subject.offered_conditions
    lines = [
        f"- In {f'statement {code(each.sid)}' if each.sid else f'statement {each.statement + 1}'}: "
        f"{code(each.condition.key)} is {joined([code(value) for value in each.condition.values])} "
        f"({code(each.condition.operator)}) for {codes(each.actions, 8)}, in {plural(each.runs, 'run')} or more."
        for each in offered[:_MOST_CONDITIONS]
    ]
    if len(offered) > _MOST_CONDITIONS:
        lines.append(f"- and {len(offered) - _MOST_CONDITIONS:,} more, in `proposal.json`.")
    if lines:
        yield (
            "### Conditions that would fit, not written\n\nEvery recorded call of these actions met them. A statement "
            "that grants other actions as well has to be split first.\n\n" + "\n".join(lines)
        )
