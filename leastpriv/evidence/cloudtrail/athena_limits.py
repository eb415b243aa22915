"""What a table in Athena leaves out, by its place and its partition projection (pure).

Properties: "Supported types for partition projection" of the Athena User Guide (read 2026-11-24).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from leastpriv.evidence.cloudtrail.athena_sql import accounts_of
from leastpriv.evidence.cloudtrail.athena_table import ACCOUNT_KEYS, Table, strftime_of
from leastpriv.evidence.cloudtrail.s3_layout import part_of
from leastpriv.evidence.cloudtrail.trail_settings import other_regions_than
from leastpriv.evidence.source import Principals, Window
from leastpriv.model import Gap, GapKind, Scope

_RELATIVE = re.compile(r"NOW(?:(?P<sign>[+-])(?P<number>\d{1,6})(?P<unit>YEAR|MONTH|WEEK|DAY|HOUR)S?)?", re.ASCII)
_HOURS = {"YEAR": 365 * 24, "MONTH": 28 * 24, "WEEK": 7 * 24, "DAY": 24, "HOUR": 1}
"""At least so long: of a range that begins some time ago, what is certain counts."""


def left_out_by_table(table: Table, named: str, window: Window, principals: Principals, now: datetime) -> Iterator[Gap]:
    """Accounts, regions and days that the table does not have: beside its place, or not named by its partitions."""
    account, region, _ = part_of(table.template.removeprefix("s3://"))
    regions = (region,) if region else _listed(table, [key for key in table.partitions if "region" in key])
    if regions:
        detail = f"{named}: the table has {', '.join(regions)} only"
        yield Gap(GapKind.NOT_LOGGED, Scope(regions=other_regions_than(regions)), detail)
    accounts = (account,) if account else _listed(table, ACCOUNT_KEYS)
    missing = [each for each in accounts_of(principals) if accounts and each not in accounts]
    if missing:
        yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{named}: the table does not have the account {', '.join(missing)}")
    for key in table.partitions:
        reason = _days_left_out(table, key, window, now)
        if reason:
            yield Gap(GapKind.NOT_LOGGED, Scope(), f"{named}: {reason}")


def _listed(table: Table, keys: Sequence[str]) -> tuple[str, ...]:
    """The values of the first of these partition keys that has a list of them."""
    lists = (table.parameters.get(f"projection.{key}.values", "") for key in keys)
    return tuple(each.strip() for each in next(filter(None, lists), "").split(",") if each.strip())


def _days_left_out(table: Table, key: str, window: Window, now: datetime) -> str:
    """Why days of the window may lie outside of the range of a partition key; empty where none does."""
    told = table.parameters.get(f"projection.{key}.range", "")
    kind = table.parameters.get(f"projection.{key}.type", "").lower()
    form = "%Y" if kind == "integer" and key == "year" else strftime_of(table, key) if kind == "date" else ""
    if not told or not form or window.start is None:
        return ""
    first, _, last = (each.strip() for each in told.partition(","))
    start, end = _moment(first, form, now), _moment(last, form, now)
    # The last day, month or year of a range is in it whole: the day's beginning is what is asked for.
    if start and end and start <= window.start and f"{end:{form}}" >= f"{min(window.end or now, now):{form}}":
        return ""
    return f"the table has {key} from {first} to {last} only"


def _moment(text: str, form: str, now: datetime) -> datetime | None:
    relative = _RELATIVE.fullmatch(text)
    try:
        if not relative:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        if not relative["number"]:
            return now
        length = timedelta(hours=int(relative["number"]) * _HOURS[relative["unit"]])
        return now - length if relative["sign"] == "-" else now + length
    except (ValueError, OverflowError):
        return None
