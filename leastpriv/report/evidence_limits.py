"""Sections on the limits of a proposal: gaps, coverage, changes held back, denials not added, and the live role."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import count
from typing import TYPE_CHECKING

from leastpriv.evidence.coverage import EXCLUDABLE, READ, WRITE, Coverage, bucket_of, days_of
from leastpriv.evidence.live_role import TrustedCaller, TrustKind
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind, Outcome
from leastpriv.permissions.catalog import sensitivity
from leastpriv.permissions.fact_tables import table
from leastpriv.proposal.addition_rules import OFFERED, ONLY_LOGGED, has_unknown_origin
from leastpriv.proposal.models import GuardResult, HeldBackChange
from leastpriv.report.aws_findings import skipped_source_lines
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code, json_text, prose
from leastpriv.report.phrases import by_guard_result, codes, joined, listed, plural
from leastpriv.report.tables import conditions_value

if TYPE_CHECKING:
    from leastpriv.diff.compare import Drift


def gaps_section(context: ReportContext) -> Iterator[str]:
    """Gaps of this run."""
    lines = list(
        _gap_lines(context.evidence, bool(context.attached) or (context.live is not None and context.live.is_known))
    )
    if context.difference.conditional:
        actions = dict.fromkeys(usage.need.permission.action for usage in context.difference.conditional)
        lines.append(f"- Conditions that decide {codes(actions, 8)} and that no record shows.")
    if context.assumed:
        lines.append(
            f"- Whether {codes(context.assumed, 8)} is attached too, as its name suggests. If not, give the file "
            "another name."
        )
    lines.extend(skipped_source_lines(context))
    lines.extend(_unknown_branches(context))
    yield "\n".join([*lines, *(f"- {line}" for line in coverage_sentences(context.evidence.coverage))])


def limits_lines(evidence: Evidence, *, has_attached: bool) -> Iterator[str]:
    """The gaps and the coverage of the evidence alone, as list items."""
    yield from _gap_lines(evidence, has_attached)
    yield from (f"- {line}" for line in coverage_sentences(evidence.coverage))


def _gap_lines(evidence: Evidence, has_attached: bool) -> Iterator[str]:
    for row in table("gap_labels", __package__ or ""):
        gaps = [gap for gap in evidence.gaps if gap.kind == row["kind"]]
        if gaps:
            shown = codes((gap.detail for gap in gaps), 6)
            yield f"- {row['label']} ({sum(gap.count for gap in gaps):,}): {shown}."
    if not has_attached:
        yield "- Other policies of the role are not known: `also-attached` is not set."


def _unknown_branches(context: ReportContext) -> Iterator[str]:
    """Additions need reviewed code; if the branch is unknown, the reader must check it."""
    added = context.changes(ChangeKind.ADD)
    if added and not context.history.origins:
        yield "- The branch of each run: check that additions come from runs that you trust."
        return
    unknown = [
        change.action
        for change in added
        if any(has_unknown_origin(usage, context.history.origins) for usage in change.usages)
    ]
    if unknown:
        yield f"- The branch of the runs behind {codes(unknown, 8)}: check that they ran code that you trust."


def not_added_section(context: ReportContext) -> Iterator[str]:
    """Actions that were needed or attempted and are not added."""
    shown = [
        held
        for held in context.proposal.held_back_additions
        if held.guard_result.guard != OFFERED and not is_sensitive_job_log_denial(held)
    ]
    groups = by_guard_result(shown)
    lines = [
        _not_added_group(result, group) if len(group) > _MOST_ALONE else "\n".join(map(not_added_line, group))
        for result, group in groups.items()
    ]
    if lines:
        yield f"#### {not_added_title(shown)}\n\n" + "\n".join(dict.fromkeys(lines))


def not_added_title(held: Sequence[HeldBackChange]) -> str:
    """Returns the heading of additions that were held back; without a denial the role has the permission already."""
    if not any(each.usages for each in held):
        return "Needed by the declaration, not added"
    return "Denied, not added" if all(map(was_denied, held)) else "Not added"


def was_denied(held: HeldBackChange) -> bool:
    """Whether every call that needed a held-back addition was denied; a declared need has no calls."""
    return bool(held.usages) and not any(usage.outcome is Outcome.ALLOWED for usage in held.usages)


_MOST_ALONE = 4
"""Denials of one reason on lines of their own; more share a line."""


def _not_added_group(result: GuardResult, group: Sequence[HeldBackChange]) -> str:
    actions = dict.fromkeys(held.action for held in group)
    return f"- {plural(len(actions), 'action')}, {codes(actions, 12)}. The reason for each: {prose(result.reason)}."


def is_sensitive_job_log_denial(held: HeldBackChange) -> bool:
    """Whether only a job log shows the denial of a sensitive action, which a security reviewer should see first."""
    return held.guard_result.guard == ONLY_LOGGED and bool(sensitivity(held.action))


def implied_needs_section(context: ReportContext) -> Iterator[str]:
    """Actions that the denied calls will need next on an unknown resource."""
    groups = by_guard_result(
        held for held in context.proposal.held_back_additions if held.guard_result.guard == OFFERED
    )
    if groups:
        lines = [
            f"- {codes((held.action for held in group), 8)}: {prose(result.reason)}."
            for result, group in groups.items()
        ]
        head = "#### Needed next by denied calls\n\nNo record names the resource: add what you know.\n\n"
        yield head + "\n".join(lines)


def not_added_line(held: HeldBackChange) -> str:
    """One list item: what was denied, how often, where a job log shows it, and why it is not added."""
    calls = sum(usage.count for usage in held.usages)
    runs = len({run for usage in held.usages for run in usage.runs})
    seen = f" ({calls:,}× in {plural(runs, 'run')})" if calls else ""
    logs = [usage.denial.log for usage in held.usages if usage.denial and usage.denial.log]
    if logs:
        seen = f" (job log {codes(logs, 2)})"
    by_hand = "" if was_denied(held) or held.guard_result.guard != "forbidden" or not calls else f"; {_by_hand(held)}"
    return f"- {code(held.action)} on {codes(held.resources, 3)}{seen}: {prose(held.guard_result.reason)}{by_hand}."


def _by_hand(held: HeldBackChange) -> str:
    """The statement for an action that runs called and that is never written."""
    condition = {"Condition": conditions_value(held.conditions)} if held.conditions else {}
    grant = {"Effect": "Allow", "Action": held.action, "Resource": list(held.resources), **condition}
    return f"it is never written, so later calls are denied. If the deployment needs it, add {code(json_text(grant))}"


_WHO = {
    TrustKind.GITHUB: "GitHub Actions",
    TrustKind.CODEBUILD: "CodeBuild",
    TrustKind.SERVICE: "the service",
    TrustKind.FEDERATED: "the identity provider",
    TrustKind.PRINCIPAL: "",
    TrustKind.ANYONE: "any principal:",
}


def live_role_section(context: ReportContext) -> Iterator[str]:
    """The section about the role in the account, if it was read."""
    live = context.live
    if live is None:
        return
    lines = [*_drift(context.drift, context.policy_file)]
    if live.boundary:
        lines.append(
            f"- Its permissions boundary {code(live.boundary)} is not evaluated: no grant here allows what it denies."
        )
    if live.trust:
        lines.append(f"- It can be assumed by {'; '.join(map(_trusted, live.trust[:6]))}.")
    if lines:
        yield "#### The role in the account\n\n" + "\n".join(lines)


def live_role_value(context: ReportContext) -> dict[str, object] | None:
    """The same for `proposal.json`; None if it was not read."""
    live, drift = context.live, context.drift
    if live is None:
        return None
    return {
        "principal": live.principal,
        "known": live.is_known,
        "policies": [policy.name for policy in live.policies],
        "boundary": live.boundary or None,
        "tags": dict(live.tags),
        "trusted": [
            {"kind": each.kind, "who": each.identifier, "subjects": list(each.subjects)} for each in live.trust
        ],
        "drift": drift
        and {
            "counterpart": drift.counterpart or None,
            "differs": drift.differs,
            "missing": drift.missing,
            **{
                name: found and {"action": found[0], "resource": found[1]}
                for name in ("live_allows", "file_allows", "live_denies", "file_denies")
                for found in [getattr(drift, name)]
            },
            "unlike": list(drift.files_without_counterpart),
            "unknown": drift.unknown or None,
        },
    }


def _drift(drift: Drift | None, file: str) -> Iterator[str]:
    if drift is None:
        return
    if drift.unknown:
        yield f"- It could not be compared with {code(file)}: {prose(drift.unknown)}."
    elif drift.missing:
        yield f"- **No attached policy resembles {code(file)}**, so no permission is narrowed: deploy the file first."
    elif drift.differs and not drift.files_without_counterpart:
        yield (
            f"- **{code(drift.counterpart)} differs from {code(file)}**, so no permission is narrowed: first deploy "
            "the file, or commit what was changed in the account."
        )
    elif not drift.files_without_counterpart:
        yield f"- {code(drift.counterpart)} allows what {code(file)} allows."
    for name in drift.files_without_counterpart:
        missing = f"No attached policy resembles {code(name)}"
        yield f"- **{missing}**, so no permission is narrowed: deploy it, or leave it out."
    for found, what in (
        (drift.live_allows, "Only the account allows"),
        (drift.file_allows, "Only the file allows"),
        (drift.live_denies, "Only the account denies"),
        (drift.file_denies, "Only the file denies"),
    ):
        if found:
            yield f"  - {what}, for one, {code(found[0])} on {code(found[1])}."


def _trusted(trusted: TrustedCaller) -> str:
    whose = f" for {codes(trusted.subjects, 4)}" if trusted.subjects else ""
    return f"{_WHO[trusted.kind]} {code(trusted.identifier)}{whose}".strip()


_MOST_REGIONS = 20
_MOST_RESOURCES = 200
_KINDS = {READ: "reads", WRITE: "writes", EXCLUDABLE["kms"]: "AWS KMS", EXCLUDABLE["rds-data"]: "the RDS Data API"}


def coverage_sentences(coverage: Coverage) -> Iterator[str]:
    """Yields what was recorded of all principals: regions and days, kinds of management events, data events."""
    if not coverage.days:
        yield "Coverage: no record of any region."
        return
    first, last = _period(coverage)
    number = (last - first).days + 1
    regions = [
        f"{code(region)} {len(coverage.days[region])} of {number:,}"
        for region in _most_recorded(coverage)[:_MOST_REGIONS]
    ]
    more = len(coverage.days) - len(regions)
    further = f" and {plural(more, 'more region')}" if more else ""
    yield f"Calendar days with records: {', '.join(regions)}{further}. No other region has records."
    where: dict[str, list[str]] = {}
    for kind, name in _KINDS.items():
        where.setdefault(_where(kind, coverage), []).append(name)
    absent = where.pop("", [])
    kinds = "; ".join(f"{joined(names)} {place}" for place, names in where.items())
    missing = f" No region has events of {joined(absent, 'or')}." if absent else ""
    yield f"Management events recorded: {kinds or 'none'}.{missing}"
    named = [f"{code(resource)} ({', '.join(kinds)})" for resource, kinds in _data_kinds(coverage).items()]
    yield (
        f"Data events recorded: {listed(named, 2)}, and no others."
        if named
        else "Data events recorded (objects, items, messages, invocations): none."
    )


def _period(coverage: Coverage) -> tuple[date, date]:
    """Returns the first and the last day that the picture shows."""
    found = frozenset[date]().union(*coverage.days.values())
    whole = coverage.whole_days or (min(found), max(found))
    return min(whole[0], *found), max(whole[1], *found)


def _most_recorded(coverage: Coverage) -> Sequence[str]:
    return sorted(coverage.days, key=lambda region: (-len(coverage.days[region]), region))


def _where(kind: str, coverage: Coverage) -> str:
    regions = [region for region in _most_recorded(coverage) if (region, kind) in coverage.logged]
    if len(regions) == len(coverage.days):
        return "in each of these regions" if len(regions) > 1 else "in this region"
    return f"in {codes(regions, 4)} only" if regions else ""


def _data_kinds(coverage: Coverage) -> Mapping[str, Sequence[str]]:
    """Bucket or other resource -> `read`, `write`."""
    found: dict[str, set[str]] = {}
    for stream in coverage.data:
        found.setdefault(bucket_of(stream.prefix), set()).add(stream.kind or "unknown")
    return {resource: sorted(kinds) for resource, kinds in sorted(found.items())}


def coverage_value(coverage: Coverage) -> dict[str, object]:
    """Returns the coverage by region, day and kind, and of data events by resource, as JSON values."""
    by_resource: dict[tuple[str, str], tuple[set[str], int]] = {}
    for stream, mask in coverage.data.items():
        key = (bucket_of(stream.prefix), stream.event)
        prefixes, days = by_resource.get(key, (set(), 0))
        by_resource[key] = ({*prefixes, stream.prefix} if len(prefixes) < _MOST_REGIONS else prefixes, days | mask)
    window = coverage.window
    return {
        "from": window.start.isoformat() if window.start else None,
        "to": window.end.isoformat() if window.end else None,
        "every_region": coverage.every_region,
        "named_regions": sorted(coverage.named_regions),
        "regions": [
            {
                "region": region,
                "days": len(days),
                "first": str(min(days)),
                "last": str(max(days)),
                "without_record": [str(day) for day in _missing(days)],
                "days_by_kind": {kind: len(coverage.logged.get((region, kind), ())) for kind in _KINDS},
            }
            for region, days in sorted(coverage.days.items())
            if days
        ],
        "data_events": [
            {"resource": resource, "event": event, "prefixes": sorted(prefixes), "days": len(days_of(mask))}
            for (resource, event), (prefixes, mask) in sorted(by_resource.items())[:_MOST_RESOURCES]
        ],
    }


def _missing(days: Collection[date]) -> list[date]:
    first = min(days)
    every = (first + timedelta(days=number) for number in range((max(days) - first).days))
    return [day for day in every if day not in days]


def coverage_picture(coverage: Coverage) -> Iterator[dict[str, object]]:
    """Yields regions and the days on which they have records, the region with the most days first.

    A line is 100 wide and 10 high; `whole` is the SVG path of days with reads and writes, `part` of days with one of
    them only.
    """
    for region in _most_recorded(coverage)[:_MOST_REGIONS]:
        first, last = _period(coverage)
        width = 100 / ((last - first).days + 1)
        days = coverage.days[region]
        reads, writes = (coverage.logged.get((region, kind), frozenset()) for kind in (READ, WRITE))
        whole, part = (_path(each, first, width) for each in (days & reads & writes, days - (reads & writes)))
        yield {"region": region, "days": len(days), "whole": whole, "part": part}


def _path(days: Collection[date], first: date, width: float) -> str:
    """Returns a rectangle for each run of neighbouring days."""
    path, day = "", timedelta(days=1)
    for start in sorted(days):
        if start - day not in days:
            length = next(number for number in count(1) if start + number * day not in days)
            path += f"M{(start - first).days * width:.2f} 0h{length * width:.2f}v10h-{length * width:.2f}z"
    return path
