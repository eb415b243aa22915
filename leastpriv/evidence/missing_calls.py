"""Says why the evidence has no call of a role or user: the likely slip, with the names that were found instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from leastpriv.aws.arns import principal_of
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.models import Gap, GapKind, Principal

_MOST_NAMED = 5
_UNREAD = (GapKind.SOURCE_FAILED, GapKind.UNREADABLE_FILE, GapKind.UNREADABLE_RECORD)


def missing_calls(principal: Principal, statistics: Sequence[ReadStatistics], gaps: Sequence[Gap]) -> str:
    """Returns sentences that say what was read and which slip is likely.

    Args:
        principal: the role or user without a call.
        statistics: what was read of each source.
        gaps: the gaps of the evidence.
    """
    whole = ReadStatistics()
    for each in statistics:
        whole.absorb(each)
    return f"No calls by {_name(principal.arn)}. {_slip(principal, whole, gaps)}"


def damaged_files(statistics: Sequence[ReadStatistics], gaps: Sequence[Gap]) -> str:
    """Returns a sentence where every file that was read is damaged, whatever its intact part shows; else nothing.

    Args:
        statistics: what was read of each source.
        gaps: the gaps of the evidence.
    """
    damaged = sum(each.damaged_files for each in statistics)
    if not damaged or any(each.damaged_files + each.foreign_files < max(each.files, 1) for each in statistics):
        return ""
    first = next((gap.detail for gap in gaps if gap.kind in _UNREAD), "")
    return f"Every file that was read is damaged ({damaged:,}): {first}."


def _slip(principal: Principal, read: ReadStatistics, gaps: Sequence[Gap]) -> str:
    unread = [gap for gap in gaps if gap.kind in _UNREAD]
    if not read.records and unread:
        more = f" (and {len(unread) - 1} more gaps)" if len(unread) > 1 else ""
        return f"No record could be read: {unread[0].detail}{more}."
    if not read.records and read.outside_window:
        return f"All {read.outside_window:,} records are outside the window: check --from and --to, or lookback-days."
    if read.callers:
        return _others(principal, read.callers)
    if not read.records:
        return "No record was read: check trails, and the window."
    lost = f" {unread[0].detail}." if unread else ""
    return f"{read.records:,} records were read: check role-arn and trails.{lost}"


def _others(principal: Principal, callers: Mapping[str, int]) -> str:
    # A session's ARN lacks the path of its role.
    arns: dict[tuple[str, str, str], str] = {}
    counts: Counter[tuple[str, str, str]] = Counter()
    for arn, calls in callers.items():
        other = principal_of(arn) or principal_of(f"{arn}/session")
        if other and ":role/aws-service-role/" not in other.arn:
            key = (other.account, other.kind, other.name)
            arns[key] = max(arns.get(key, ""), other.arn, key=len)
            counts[key] += calls
    own = sorted((key for key in counts if key[0] == principal.account), key=lambda key: (-counts[key], arns[key]))
    if not own:
        accounts = ", ".join(sorted({account for account, _, _ in counts})[:_MOST_NAMED])
        whose = f"of account {accounts}: check the account in role-arn, and" if accounts else "of services: check"
        return f"The calls in this trail are {whose} trails."
    names = {name: (account, kind, name) for account, kind, name in own}
    from difflib import get_close_matches

    close = [names[name] for name in get_close_matches(principal.name, names, n=_MOST_NAMED, cutoff=0.7)]
    shown = list(dict.fromkeys([*close, *own]))[:_MOST_NAMED]
    listed = ", ".join(f"{_name(arns[key])} ({counts[key]:,} call{'' if counts[key] == 1 else 's'})" for key in shown)
    more = f" and {len(own) - len(shown)} more" if len(own) > len(shown) else ""
    meant = f" Did you mean {_name(arns[close[0]])}?" if close else ""
    return f"Roles and users in this trail: {listed}{more}.{meant}"


def _name(arn: str) -> str:
    """Returns the end of an ARN: `role/ci/deploy`."""
    return arn.split(":", 5)[5]
