"""Shows what the records cover: three sentences, the fields of `proposal.json`, and regions and days as a picture."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import count

from leastpriv.evidence.coverage import EXCLUDABLE, READ, WRITE, Coverage, bucket_of, days_of
from leastpriv.report.escape import code
from leastpriv.report.phrases import codes, joined, plural

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
    some = ", ".join(named[:2]) + (f" and {len(named) - 2:,} more" if len(named) > 2 else "")
    yield (
        f"Data events recorded: {some}, and no others."
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
