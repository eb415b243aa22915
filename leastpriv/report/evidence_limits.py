"""What the evidence could not see, what was held back by which guard, and what was refused and is not proposed.

The role as it is in the account, beside the policy file: for people, and for machines.
"""

from __future__ import annotations

from collections.abc import Iterator

from leastpriv.diff.live_role_drift import Drift
from leastpriv.evidence.live_role import Trusted, TrustKind
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind, GapKind
from leastpriv.permissions.sensitive import sensitivity
from leastpriv.proposal.addition_rules import OFFERED, ONLY_LOGGED, is_unknown
from leastpriv.proposal.models import HeldBack
from leastpriv.proposal.suggestions import SIBLING
from leastpriv.report.aws_findings import unasked_lines
from leastpriv.report.context import Subject
from leastpriv.report.escape import code, prose
from leastpriv.report.phrases import by_objection, codes, plural

_GAPS = {
    GapKind.UNREADABLE_FILE: "Damaged trail files",
    GapKind.UNREADABLE_RECORD: "Damaged records",
    GapKind.UNMAPPED_EVENT: "Events that nobody can map to an action",
    GapKind.UNVERIFIED_ACTION: "Events newer than the catalogue of actions",
    GapKind.PARAMETERS_OMITTED: "Calls whose request CloudTrail left out",
    GapKind.MAY_PASS_ROLE: "Calls that may pass a role that their request does not name",
    GapKind.UNREADABLE_LOG: "Job logs that could not be read",
    GapKind.UNTOLD_REFUSAL: "Refusals in job logs that name no action",
    GapKind.ENCODED_REFUSAL: "Refusals that EC2 encoded",
    GapKind.REFUSAL_OF_ANOTHER: "Refusals in job logs that name another principal",
    GapKind.MAPPING_DISAGREES: "Calls refused for an action, or on a resource, that their event is not known to need",
    GapKind.FROM_THE_FUTURE: "A clock that is wrong, here or where the records were made",
    GapKind.NOT_LOGGED: "Events that a trail is not set to log",
    GapKind.NOT_VALIDATED: "Trail files that are not as CloudTrail's digest files say, whose calls do not count",
    GapKind.LOGGING_STOPPED: "Times in which a trail logged nothing",
    GapKind.SETTINGS_UNKNOWN: "What a trail is set to log, so its records alone tell",
    GapKind.SOURCE_FAILED: "Sources that could not be read to their end",
    GapKind.NO_DATA_EVENTS: "Data events, in sources that have none",
    GapKind.EVENTS_LATE: "Events that CloudTrail had not delivered yet",
    GapKind.LIVE_ROLE_UNREAD: "The role as it is in the account",
}


def unseen(subject: Subject) -> Iterator[str]:
    """What this run could not see: its own gaps, not boiler-plate."""
    lines = list(
        unseen_lines(subject.evidence, bool(subject.attached) or (subject.live is not None and subject.live.is_known))
    )
    if subject.difference.conditional:
        actions = dict.fromkeys(usage.need.permission.action for usage in subject.difference.conditional)
        lines.append(f"- Conditions: allowed only where one holds that the record does not show: {codes(actions, 8)}.")
    if subject.assumed:
        lines.append(
            f"- Taken as attached too, for nothing but the name: {codes(subject.assumed, 8)}. Where that is wrong, "
            "what it grants is missing here: give the file another name."
        )
    lines.extend(unasked_lines(subject))
    lines.extend(_unknown_branches(subject))
    yield f"{UNSEEN}\n\n" + "\n".join(lines)


UNSEEN = "### What this run could not see"


def unseen_lines(evidence: Evidence, has_attached: bool) -> Iterator[str]:
    """The part of it that the evidence alone tells, one item of a list a line."""
    covered = list(evidence.coverage.regions)
    for kind, label in _GAPS.items():
        gaps = [gap for gap in evidence.gaps if gap.kind is kind]
        if gaps:
            shown = codes((gap.detail for gap in gaps), 6)
            yield f"- {label} ({sum(gap.count for gap in gaps):,}): {shown}."
    yield f"- Other regions than {codes(covered, 20)}." if covered else "- Any region."
    recorded = sorted({root for root, _ in evidence.data_recorded})
    yield (
        f"- Data events other than those of {codes(recorded, 4)}: actions that only they would show stay."
        if recorded
        else "- Data events (objects, items, messages, invocations): none was recorded, so what only they show stays."
    )
    if not has_attached:
        yield (
            "- Other policies of the role: none was named (`also-attached`), so what is missing is measured "
            "against this file alone."
        )


def _unknown_branches(subject: Subject) -> Iterator[str]:
    """Additions must come from reviewed code; where nobody could tell, the reader has to."""
    added = subject.changes(ChangeKind.ADD)
    if added and not subject.history.origins:
        yield "- The branch that each run deployed from: look whether additions come from runs that you trust."
        return
    unknown = [change.action for change in added if is_unknown(change.usages, subject.history.origins)]
    if unknown:
        yield f"- The branch of the runs behind {codes(unknown, 8)}: look whether they ran code that you trust."


def held_back(subject: Subject) -> Iterator[str]:
    """Changes that a guard held back, grouped by guard and reason; lifecycle counterparts have their own section."""
    named = {offer.action.lower() for offer in subject.kept_siblings}
    groups = by_objection(
        held for held in subject.draft.held_back if held.objection.guard != SIBLING or held.action.lower() not in named
    )
    if groups:
        table = "\n".join(
            f"| {code(objection.guard)} | {codes((held.action for held in group), 12)} | {prose(objection.reason)} |"
            for objection, group in groups.items()
        )
        yield f"### Held back\n\n| Guard | Entries | Why |\n| --- | --- | --- |\n{table}"


def refused(subject: Subject) -> Iterator[str]:
    """Needed or attempted, and not written into the policy."""
    told = [held for held in subject.draft.refused if held.objection.guard != OFFERED and not for_security(held)]
    if told:
        yield "### Refused, not proposed\n\n" + "\n".join(dict.fromkeys(refused_line(held) for held in told))


def for_security(held: HeldBack) -> bool:
    """Whether a job log alone tells of the refusal of a sensitive action: the security reviewer sees it first."""
    return held.objection.guard == ONLY_LOGGED and bool(sensitivity(held.action))


def offered(subject: Subject) -> Iterator[str]:
    """What the refused calls will need next, where nothing names its resource."""
    groups = by_objection(held for held in subject.draft.refused if held.objection.guard == OFFERED)
    if groups:
        lines = [
            f"- {codes((held.action for held in group), 8)}: {prose(objection.reason)}."
            for objection, group in groups.items()
        ]
        yield "### Needed next, not written\n\nNothing names the resource: add what you know of.\n\n" + "\n".join(lines)


def refused_line(held: HeldBack) -> str:
    """One item of a list: what was refused, how often, where a job log tells it, and why it is not written."""
    count = sum(usage.count for usage in held.usages)
    runs = len({run for usage in held.usages for run in usage.runs})
    seen = f" ({count:,}× in {plural(runs, 'run')})" if count else ""
    logs = [usage.denial.log for usage in held.usages if usage.denial and usage.denial.log]
    if logs:
        seen = f" (job log {codes(logs, 2)})"
    return f"- {code(held.action)} on {codes(held.resources, 3)}{seen}: {prose(held.objection.reason)}."


_WHO = {
    TrustKind.GITHUB: "GitHub Actions",
    TrustKind.CODEBUILD: "CodeBuild",
    TrustKind.SERVICE: "the service",
    TrustKind.FEDERATED: "the identity provider",
    TrustKind.PRINCIPAL: "",
    TrustKind.ANYBODY: "anybody:",
}


def live_role(subject: Subject) -> Iterator[str]:
    """A section about the account, where it was asked."""
    live = subject.live
    if live is None:
        return
    lines = [*_drift(subject.drift, subject.policy_file)]
    if live.boundary:
        lines.append(
            f"- Its permissions boundary {code(live.boundary)} is not modelled: what it refuses, no grant here allows."
        )
    if live.trust:
        lines.append(f"- It may be taken by {'; '.join(map(_trusted, live.trust[:6]))}.")
    if lines:
        yield "### The role in the account\n\n" + "\n".join(lines)


def live_value(subject: Subject) -> dict[str, object] | None:
    """The same for `proposal.json`; None where nobody asked."""
    live, drift = subject.live, subject.drift
    if live is None:
        return None
    return {
        "principal": live.principal,
        "known": live.is_known,
        "policies": [policy.name for policy in live.policies],
        "boundary": live.boundary or None,
        "tags": dict(live.tags),
        "trusted": [{"kind": each.kind, "who": each.who, "subjects": list(each.subjects)} for each in live.trust],
        "drift": None if drift is None else _drift_value(drift),
    }


def _drift(drift: Drift | None, file: str) -> Iterator[str]:
    if drift is None:
        return
    if drift.unknown:
        yield f"- Whether it is what {code(file)} says is not known: {prose(drift.unknown)}."
    elif drift.missing:
        yield f"- **Nothing attached is like {code(file)}**, so nothing is narrowed: deploy the file first."
    elif drift.differs and not drift.unlike:
        yield (
            f"- **{code(drift.counterpart)} is not what {code(file)} says**, so nothing is narrowed: deploy the file, "
            "or commit what was changed in the account, first."
        )
    elif not drift.unlike:
        yield f"- {code(drift.counterpart)} allows what {code(file)} allows."
    for name in drift.unlike:
        yield f"- **Nothing attached is like {code(name)}**, so nothing is narrowed: deploy it, or leave it out, first."
    for found, what in (
        (drift.live_allows, "Only the account allows"),
        (drift.file_allows, "Only the file allows"),
        (drift.live_denies, "Only the account denies"),
        (drift.file_denies, "Only the file denies"),
    ):
        if found:
            yield f"  - {what}, for one, {code(found[0])} on {code(found[1])}."


def _trusted(trusted: Trusted) -> str:
    whose = f" for {codes(trusted.subjects, 4)}" if trusted.subjects else ""
    return f"{_WHO[trusted.kind]} {code(trusted.who)}{whose}".strip()


def _drift_value(drift: Drift) -> dict[str, object]:
    def pair(found: tuple[str, str] | None) -> dict[str, str] | None:
        return {"action": found[0], "resource": found[1]} if found else None

    return {
        "counterpart": drift.counterpart or None,
        "differs": drift.differs,
        "missing": drift.missing,
        "live_allows": pair(drift.live_allows),
        "file_allows": pair(drift.file_allows),
        "live_denies": pair(drift.live_denies),
        "file_denies": pair(drift.file_denies),
        "unlike": list(drift.unlike),
        "unknown": drift.unknown or None,
    }
