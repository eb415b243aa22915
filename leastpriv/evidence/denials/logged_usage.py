"""Adds the denials in job logs to the evidence: denied usages, and gaps (pure).

A log is untrusted: every program of a job writes into it. Its denials are marked (`Denial.log`), and
`proposal/additions.py` decides which of them may be written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import Window, principal_of, same_principal, session_of
from leastpriv.evidence.denials.encoded_message import NO_DECODER, Decoder
from leastpriv.evidence.denials.job_logs import LoggedDenial
from leastpriv.evidence.denials.needs import as_rehearsal_denial, logged_needs
from leastpriv.evidence.denials.resource import fill_hidden_parts, has_hidden_part, resource_arn
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.runs import is_rehearsal, workflow_run_id
from leastpriv.models import Basis, Denial, DeniedBy, Gap, GapKind, Need, Outcome, Permission, Run, Scope, Usage
from leastpriv.permissions.lifecycle import next_actions
from leastpriv.permissions.patterns import resource_matches, unescape


class LoggedDenials(Struct, frozen=True):
    """The denials in some logs."""

    denials: tuple[LoggedDenial, ...] = ()
    """Each distinct denial once."""
    gaps: tuple[Gap, ...] = ()
    run: Run | None = None
    """The workflow run of the jobs; None: unknown."""


def add_job_logs(
    evidence: Evidence, logs: Sequence[LoggedDenials], window: Window, read_at: datetime, decoder: Decoder = NO_DECODER
) -> Evidence:
    """Adds denied usages, gaps and workflow runs from logs to the evidence.

    A denial in a line without a time counts as seen at `read_at`. One that CloudTrail recorded for the same action and
    resource is left out. `decoder` decodes EC2's messages.
    """
    usages: dict[tuple[Permission, str], Usage] = {}
    gaps: list[Gap] = [gap for each in logs for gap in each.gaps]
    recorded = {usage.need.permission for usage in evidence.usages if usage.denial}
    known = {
        usage.need.permission.resource
        for usage in evidence.usages
        if usage.need.exact and usage.need.permission.resource.startswith("arn:") and usage.denial is None
    }
    for each in logs:
        for one in each.denials:
            if one.time and not window.contains(one.time):
                continue
            denial = _with_location(one, decoder.decoded(one.denial), evidence, each.run)
            gap = _left_open(denial, evidence.principal, decoder.trouble)
            gaps.extend([gap] if gap else [])
            for need in () if gap else _needs(denial, evidence.principal, known):
                key = need.permission, f"{denial.denied_by} {denial.mendable} {bool(denial.principal)}"
                if need.permission not in recorded and key not in usages:
                    usages[key] = _usage(need, denial, one, each.run, read_at)
    return replace(
        evidence,
        usages=tuple(sorted((*evidence.usages, *usages.values()), key=_order)),
        gaps=(*evidence.gaps, *_counted(gaps)),
        logged_runs=tuple(each.run for each in logs if each.run),
    )


def _order(usage: Usage) -> tuple[object, ...]:
    return usage.need.permission, usage.outcome, usage.need.derivation


def _with_location(one: LoggedDenial, told: Denial, evidence: Evidence, run: Run | None) -> Denial:
    """Adds the location to a denial, and a missing principal from an equal denial in CloudTrail of the same run."""
    denial = replace(told, log=f"{one.file}:{one.line}")
    if denial.principal:
        return as_rehearsal_denial(denial, rehearsed=is_rehearsal(session_of(denial.principal)))
    return replace(denial, principal=evidence.principal) if _is_corroborated(denial, evidence, run) else denial


def _is_corroborated(denial: Denial, evidence: Evidence, run: Run | None) -> bool:
    wanted = {action.lower() for action in denial.actions}
    return run is not None and any(
        usage.denial is not None
        and (usage.denial.mendable or usage.denial.denied_by is DeniedBy.UNKNOWN)
        and usage.need.permission.action.lower() in wanted
        and any(workflow_run_id(each) == run.id for each in usage.runs)
        and _agree(denial.resource, usage.need.permission.resource, evidence.principal)
        for usage in evidence.usages
    )


def _agree(logged: str, recorded: str, principal: str) -> bool:
    """Whether a log's resource may be the record's; a missing one on either side matches."""
    if not logged or recorded == "*":
        return True
    named = resource_arn(logged, principal)
    whole = unescape(recorded)
    return resource_matches(recorded, named) or (has_hidden_part(named) and fill_hidden_parts(named, [whole]) == whole)


def _left_open(denial: Denial, principal: str, trouble: str) -> Gap | None:
    """Returns the gap of a denial that gives no usage of this principal; None: it gives one."""
    if denial.principal and not _is_own(denial.principal, principal):
        return Gap(GapKind.DENIAL_OF_OTHER_PRINCIPAL, Scope(), denial.principal)
    if denial.actions:
        return None
    if denial.encoded:
        return Gap(GapKind.ENCODED_DENIAL, Scope(), f"{denial.log}{trouble}")
    return Gap(GapKind.UNNAMED_DENIAL, Scope(), f"{denial.log}{': ' if denial.why else ''}{denial.why}")


def _is_own(named: str, principal: str) -> bool:
    """Whether a message names the principal; a masked account matches where all else does."""
    found, own = principal_of(named), principal_of(principal)
    if found is None or own is None:
        return False
    if has_hidden_part(found.account):
        arn = found.arn.replace(f"::{found.account}:", f"::{own.account}:", 1)
        found = replace(found, arn=arn, account=own.account)
    return same_principal(found, own)


def _needs(denial: Denial, principal: str, known: Collection[str]) -> Iterator[Need]:
    """Yields the denied needs, then those that AWS may check next, whose resource no log contains."""
    yield from logged_needs(denial, principal, known)
    for action in denial.actions if denial.mendable and denial.principal else ():
        for partner in next_actions(action):
            yield Need(
                Permission(partner, "*"),
                Basis.INFERRED,
                "a log shows no request",
                because=f"AWS may ask for it once {action} is allowed",
                exact=False,
            )


def _usage(need: Need, denial: Denial, one: LoggedDenial, run: Run | None, read_at: datetime) -> Usage:
    region = (need.permission.resource.split(":") + [""] * 3)[3]
    time = one.time or read_at
    return Usage(
        need=need,
        outcome=Outcome.DENIED,
        count=1,
        first_seen=time,
        last_seen=time,
        runs=(run.id,) if run else (),
        events=(f"job log {denial.log}",),
        regions=(region,) if region and not set(region) & set("*?$") else (),
        denial=denial,
        succeeded=False,
    )


def _counted(gaps: Iterable[Gap]) -> Iterator[Gap]:
    """Merges equal gaps."""
    counts: dict[Gap, int] = {}
    for gap in gaps:
        counts[gap] = counts.get(gap, 0) + gap.count
    yield from (replace(gap, count=count) for gap, count in counts.items())
