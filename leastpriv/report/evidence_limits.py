"""Sections on the limits of a proposal: gaps, coverage, changes held back, denials not added, and
the live role.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import count

from leastpriv.cloudtrail.coverage import EXCLUDABLE, READ, WRITE, Coverage, days_of
from leastpriv.diff.compare import Drift
from leastpriv.evidence.live_role import TrustKind
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind, Outcome, condition_block, grouped
from leastpriv.permissions.catalog import sensitivity
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.resource_types import bucket_of
from leastpriv.proposal.addition_rules import OFFERED, ONLY_LOGGED
from leastpriv.proposal.models import HeldBackChange
from leastpriv.proposal.origins import has_unknown_origin
from leastpriv.report.aws_findings import skipped_source_lines
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code, json_text, prose
from leastpriv.report.phrases import by_guard_result, codes, joined, listed, plural, section

_MOST_ALONE = 4
"""Denials of one reason on lines of their own; more share a line."""
_WHO = {
    TrustKind.GITHUB: "GitHub Actions",
    TrustKind.CODEBUILD: "CodeBuild",
    TrustKind.SERVICE: "the service",
    TrustKind.FEDERATED: "the identity provider",
    TrustKind.PRINCIPAL: "",
    TrustKind.ANY: "any principal:",
}
_MOST_REGIONS = 20
_MOST_RESOURCES = 200
_KINDS = {
    READ: "reads",
    WRITE: "writes",
    EXCLUDABLE["kms"]: "AWS KMS",
    EXCLUDABLE["rds-data"]: "the RDS Data API",
}


def gaps_lines(context: ReportContext) -> list[str]:
    """The gaps of this run and the coverage of its evidence, as list items."""
    lines = []
    if context.difference.conditional:
        actions = dict.fromkeys(
            usage.need.permission.action for usage in context.difference.conditional
        )
        lines.append(f"- Conditions that decide {codes(actions, 8)} and that no record shows.")
    if context.assumed:
        assumed = f"Whether {codes(context.assumed, 8)} is attached too, as its name suggests"
        lines.append(f"- {assumed}. If not, give the file another name.")
    lines.extend(skipped_source_lines(context))
    coverage = context.evidence.coverage
    if coverage.only_region and coverage.named_regions == {coverage.only_region}:
        lines.append(f"- Calls in other regions than {code(coverage.only_region)}.")
    added = context.changes(ChangeKind.ADD)
    unknown = [
        change.action
        for change in added
        if any(has_unknown_origin(usage, context.evidence) for usage in change.usages)
    ]
    if added and not context.evidence.origins:
        lines.append(
            "- The branch of each run: check that additions come from runs that you trust."
        )
    elif unknown:
        lines.append(
            f"- The branch of the runs behind {codes(unknown, 8)}: check that they ran code that"
            " you trust."
        )
    is_known = bool(context.attached) or (context.live is not None and context.live.is_known)
    return [*limits_lines(context.evidence, lines, has_attached=is_known)]


def limits_lines(
    evidence: Evidence, others: Iterable[str] = (), *, has_attached: bool
) -> Iterator[str]:
    """The gaps of the evidence, `others`, and its coverage, as list items."""
    for row in table("gap_labels", __package__ or ""):
        gaps = [gap for gap in evidence.gaps if gap.kind == row["kind"]]
        if gaps:
            gap_words = codes((gap.detail for gap in gaps), 6)
            yield f"- {row['label']} ({sum(gap.count for gap in gaps):,}): {gap_words}."
    if not has_attached:
        yield "- Other policies of the role are not known: `also-attached` is not set."
    yield from others
    yield from (f"- {line}" for line in coverage_sentences(evidence.coverage))


def not_added_section(context: ReportContext) -> Iterator[str]:
    """Actions that were needed or attempted and are not added."""
    held_changes = (
        held_change
        for held_change in context.proposal.held_back_additions
        if held_change.guard_result.guard != OFFERED
    )
    shown_changes = [
        held_change for held_change in held_changes if not is_sensitive_job_log_denial(held_change)
    ]
    lines: list[str] = []
    for guard_result, group in by_guard_result(shown_changes).items():
        actions = dict.fromkeys(held_change.action for held_change in group)
        several = f"- {plural(len(actions), 'action')}, {codes(actions, 12)}. The reason for each: "
        alone = "\n".join(map(not_added_line, group))
        lines.append(
            f"{several}{prose(guard_result.reason)}." if len(group) > _MOST_ALONE else alone
        )
    yield from section(not_added_title(shown_changes), dict.fromkeys(lines))


def not_added_title(held: Sequence[HeldBackChange]) -> str:
    """Returns the heading of additions that were held back; without a denial the role has the
    permission already.
    """
    if not any(held_change.usages for held_change in held):
        return "Needed by the declaration, not added"
    return "Denied, not added" if all(map(was_denied, held)) else "Not added"


def was_denied(held: HeldBackChange) -> bool:
    """Whether every call that needed a held-back addition was denied; a declared need has no
    calls.
    """
    return bool(held.usages) and not any(usage.outcome is Outcome.ALLOWED for usage in held.usages)


def is_sensitive_job_log_denial(held: HeldBackChange) -> bool:
    """Whether only a job log shows the denial of a sensitive action, which a security reviewer
    should see first.
    """
    return held.guard_result.guard == ONLY_LOGGED and bool(sensitivity(held.action))


def implied_needs_section(context: ReportContext) -> Iterator[str]:
    """Actions that the denied calls will need next on an unknown resource."""
    offered = by_guard_result(
        held_change
        for held_change in context.proposal.held_back_additions
        if held_change.guard_result.guard == OFFERED
    )
    lines = [
        f"- {codes((held_change.action for held_change in offered_changes), 8)}:"
        f" {prose(guard_result.reason)}."
        for guard_result, offered_changes in offered.items()
    ]
    if lines:
        head = "No record names the resource: add what you know."
        yield from section("Needed next by denied calls", [head, "", *lines])


def not_added_line(held: HeldBackChange) -> str:
    """One list item: what was denied, how often, where a job log shows it, and why it is not
    added.
    """
    calls = sum(usage.count for usage in held.usages)
    runs = len({run for usage in held.usages for run in usage.runs})
    call_words = f" ({calls:,}× in {plural(runs, 'run')})" if calls else ""
    logs = [usage.denial.log for usage in held.usages if usage.denial and usage.denial.log]
    if logs:
        call_words = f" (job log {codes(logs, 2)})"
    by_hand = ""
    is_forbidden_call = held.guard_result.guard == "forbidden" and calls > 0
    if is_forbidden_call and not was_denied(held):
        by_hand = f"; {_by_hand(held)}"
    return (
        f"- {code(held.action)} on {codes(held.resources, 3)}{call_words}:"
        f" {prose(held.guard_result.reason)}{by_hand}."
    )


def _by_hand(held: HeldBackChange) -> str:
    """The statement for an action that runs called and that is never written."""
    condition = {"Condition": condition_block(held.conditions)} if held.conditions else {}
    grant = {
        "Effect": "Allow",
        "Action": held.action,
        "Resource": list(held.resources),
        **condition,
    }
    return (
        "it is never written, so later calls are denied. If the deployment needs it, add"
        f" {code(json_text(grant))}"
    )


def live_role_section(context: ReportContext) -> Iterator[str]:
    """The section about the role in the account, if it was read."""
    live = context.live
    if live is None:
        return
    lines = [*_drift(context.drift, context.policy_file)]
    if live.boundary:
        boundary = f"Its permissions boundary {code(live.boundary)}"
        lines.append(f"- {boundary} is not evaluated: no grant here allows what it denies.")
    if live.trust:
        callers = (
            f"{_WHO[trusted.kind]}"
            f" {code(trusted.identifier)}"
            f"{f' for {codes(trusted.subjects, 4)}' if trusted.subjects else ''}"
            for trusted in live.trust[:6]
        )
        lines.append(f"- It can be assumed by {'; '.join(map(str.strip, callers))}.")
    yield from section("The role in the account", lines)


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
            {"kind": trusted.kind, "who": trusted.identifier, "subjects": list(trusted.subjects)}
            for trusted in live.trust
        ],
        "drift": (
            drift
            and {
                "counterpart": drift.counterpart or None,
                "differs": drift.differs,
                "missing": drift.missing,
                **{
                    name: decision and {"action": decision[0], "resource": decision[1]}
                    for name in ("live_allows", "file_allows", "live_denies", "file_denies")
                    for decision in [getattr(drift, name)]
                },
                "unlike": list(drift.files_without_counterpart),
                "unknown": drift.unknown or None,
            }
        ),
    }


def _drift(drift: Drift | None, file: str) -> Iterator[str]:
    """Yields how the role in the account differs from the policy file, and that nothing is narrowed
    therefore.
    """
    if drift is None:
        return
    if drift.unknown:
        yield f"- It could not be compared with {code(file)}: {prose(drift.unknown)}."
    elif drift.missing:
        yield (
            f"- **No attached policy resembles {code(file)}**, so no permission is narrowed: deploy"
            " the file first."
        )
    elif drift.differs and not drift.files_without_counterpart:
        yield (
            f"- **{code(drift.counterpart)} differs from {code(file)}**, so no permission is"
            " narrowed: first deploy the file, or commit what was changed in the account."
        )
    elif not drift.files_without_counterpart:
        yield f"- {code(drift.counterpart)} allows what {code(file)} allows."
    for name in drift.files_without_counterpart:
        unlike = f"**No attached policy resembles {code(name)}**"
        yield f"- {unlike}, so no permission is narrowed: deploy it, or leave it out."
    for differing, what in (
        (drift.live_allows, "Only the account allows"),
        (drift.file_allows, "Only the file allows"),
        (drift.live_denies, "Only the account denies"),
        (drift.file_denies, "Only the file denies"),
    ):
        if differing:
            yield f"  - {what}, for one, {code(differing[0])} on {code(differing[1])}."


def coverage_sentences(coverage: Coverage) -> Iterator[str]:
    """Yields what was recorded of all principals: regions and days, kinds of management events,
    data events.
    """
    if not coverage.days:
        yield "Coverage: no record of any region."
        return
    first, last = _period(coverage)
    number = (last - first).days + 1
    shown_regions = _most_recorded(coverage)[:_MOST_REGIONS]
    regions = [
        f"{code(region)} {len(coverage.days[region])} of {number:,}" for region in shown_regions
    ]
    further_regions = len(coverage.days) - len(regions)
    further = f" and {plural(further_regions, 'more region')}" if further_regions else ""
    yield f"Calendar days with records: {', '.join(regions)}{further}. No other region has records."
    kinds_by_regions = grouped([(_where(kind, coverage), name) for kind, name in _KINDS.items()])
    absent = kinds_by_regions.pop("", [])
    kinds = "; ".join(
        f"{joined(names)} {regions_text}" for regions_text, names in kinds_by_regions.items()
    )
    missing = f" No region has events of {joined(absent, 'or')}." if absent else ""
    yield f"Management events recorded: {kinds or 'none'}.{missing}"
    kinds_by_bucket = grouped(
        [(bucket_of(stream.prefix), stream.kind or "unknown") for stream in coverage.data]
    )
    bucket_texts = [
        f"{code(bucket)} ({', '.join(sorted({*kinds_of_bucket}))})"
        for bucket, kinds_of_bucket in sorted(kinds_by_bucket.items())
    ]
    yield (
        f"Data events recorded: {listed(bucket_texts, 2)}, and no others."
        if bucket_texts
        else "Data events recorded (objects, items, messages, invocations): none."
    )


def _period(coverage: Coverage) -> tuple[date, date]:
    days_read = frozenset[date]().union(*coverage.days.values())
    whole_days = coverage.whole_days or (min(days_read), max(days_read))
    return min(whole_days[0], *days_read), max(whole_days[1], *days_read)


def _most_recorded(coverage: Coverage) -> Sequence[str]:
    return sorted(coverage.days, key=lambda region: (-len(coverage.days[region]), region))


def _where(kind: str, coverage: Coverage) -> str:
    regions = [region for region in _most_recorded(coverage) if coverage.days_with(region, kind)]
    if len(regions) == len(coverage.days):
        return "in each of these regions" if len(regions) > 1 else "in this region"
    return f"in {codes(regions, 4)} only" if regions else ""


def coverage_value(coverage: Coverage) -> dict[str, object]:
    """Returns the coverage by region, day and kind, and of data events by resource, as JSON
    values.
    """
    by_resource: dict[tuple[str, str], tuple[set[str], int]] = {}
    for stream, mask in coverage.data.items():
        key = (bucket_of(stream.prefix), stream.event)
        prefixes, days = by_resource.get(key, (set(), 0))
        by_resource[key] = (
            {*prefixes, stream.prefix} if len(prefixes) < _MOST_REGIONS else prefixes,
            days | mask,
        )
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
                "without_record": [
                    str(day) for day in sorted(_days_between(min(days), max(days)) - days)
                ],
                "days_by_kind": {kind: len(coverage.days_with(region, kind)) for kind in _KINDS},
            }
            for region, days in sorted(coverage.days.items())
            if days
        ],
        "data_events": [
            {
                "resource": resource,
                "event": event,
                "prefixes": sorted(prefixes),
                "days": len(days_of(mask)),
            }
            for (resource, event), (prefixes, mask) in sorted(by_resource.items())[:_MOST_RESOURCES]
        ],
    }


def _days_between(first: date, last: date) -> set[date]:
    return {first + timedelta(days=number) for number in range(1, (last - first).days)}


def coverage_picture(coverage: Coverage) -> Iterator[dict[str, object]]:
    """Yields regions and the days on which they have records, the region with the most days first.

    A line is 100 wide and 10 high; `whole` is the SVG path of days with reads and writes, `part` of
    days with one of them only.
    """
    for region in _most_recorded(coverage)[:_MOST_REGIONS]:
        first, last = _period(coverage)
        width = 100 / ((last - first).days + 1)
        days = coverage.days[region]
        reads, writes = (coverage.days_with(region, kind) for kind in (READ, WRITE))
        whole_path, part = (
            _path(days_of_path, first, width)
            for days_of_path in (days & reads & writes, days - (reads & writes))
        )
        yield {"region": region, "days": len(days), "whole": whole_path, "part": part}


def _path(days: Collection[date], first: date, width: float) -> str:
    """Returns a rectangle for each run of neighbouring days."""
    path, day = "", timedelta(days=1)
    for start in sorted(days):
        if start - day not in days:
            length = next(number for number in count(1) if start + number * day not in days)
            path += (
                f"M{(start - first).days * width:.2f}"
                f" 0h{length * width:.2f}v10h-{length * width:.2f}z"
            )
    return path
