"""Says what events need by our tables of `tools/facts/`, without AWS's service reference."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from raw_tables import table

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import MappedEvent, Verdict
from leastpriv.permissions.service_facts import MappedAction


def event_by_rules(source: str, name: str) -> MappedEvent:
    """Returns what the action of an event's name and `events.tsv` say of it."""
    source = source.removesuffix(".cn")
    prefix = prefix_of(source)
    bare = without_date(source, name)
    verdict, actions = by_rules(source, prefix, bare)
    return MappedEvent(verdict, prefix, actions, f"{prefix}:{bare}")


_Mapped = tuple[Verdict, tuple[MappedAction, ...]]


def by_rules(source: str, prefix: str, name: str) -> _Mapped:
    """Returns the verdict and the actions of an operation of an event source."""
    if _rows("no-permission", source, name):
        return Verdict.NO_PERMISSION, ()
    if _rows("by-statement", source, name):
        return Verdict.BY_REQUEST, ()
    renamed = tuple(_renamed(source, name))
    return (Verdict.MAPPED, renamed) if renamed else _plain(prefix, name)


def _plain(prefix: str, name: str) -> _Mapped:
    found = catalog.spelling(f"{prefix}:{name}") or catalog.spelling(
        _fallbacks().get(f"{prefix}:{name}", "")
    )
    if found:
        return Verdict.MAPPED, (MappedAction(found),)
    if prefix in catalog.services() and re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name):
        return Verdict.UNVERIFIED, (MappedAction(f"{prefix}:{name}"),)
    return Verdict.UNMAPPED, ()


def _renamed(source: str, name: str) -> Iterator[MappedAction]:
    for row in _rows("rename", source, name):
        for entry in row["actions"].split(","):
            action, _, on = entry.strip().partition("@")
            found = catalog.spelling(action)
            if found:
                yield MappedAction(found, on, row["resource"])


def without_date(source: str, name: str) -> str:
    """Returns the name of an event without the version of the API."""
    for row in _by_kind("suffix"):
        match = (
            re.fullmatch(row["event_name"], name)
            if row["event_source"] in (source, "*.amazonaws.com")
            else None
        )
        if match:
            return match["op"]
    return name


def prefix_of(source: str) -> str:
    """Returns the IAM prefix of an event source."""
    label = source.removesuffix(".amazonaws.com").lower()
    return prefixes().get(f"{label}.amazonaws.com") or label


@cache
def _fallbacks() -> Mapping[str, str]:
    """Operation -> action, for those that have none of their own; a name that no API model has is
    never guessed.
    """
    return {row["operation"]: row["action"] for row in table("fallbacks")}


@cache
def prefixes() -> Mapping[str, str]:
    """Returns event source -> IAM prefix, where that is not the first part of the source."""
    known = {f"{row['label']}.amazonaws.com": row["prefix"] for row in table("sources")}
    # CloudTrail writes some with a hyphen: `metering-marketplace`.
    hyphened = {
        f"{row['label'].replace('.', '-')}.amazonaws.com": row["prefix"] for row in table("sources")
    }
    return hyphened | known | {row["event_source"]: row["actions"] for row in _by_kind("prefix")}


def _rows(kind: str, source: str, name: str) -> list[Mapping[str, str]]:
    exact, patterns = _index(kind)
    found = list(exact.get((source, name), ()))
    found += [row for row in patterns.get(source, ()) if re.fullmatch(row["event_name"], name)]
    return found


@cache
def _by_kind(kind: str) -> tuple[Mapping[str, str], ...]:
    return tuple(row for row in table("events") if row["kind"] == kind)


_Row = Mapping[str, str]


@cache
def _index(kind: str) -> tuple[dict[tuple[str, str], list[_Row]], dict[str, list[_Row]]]:
    exact: dict[tuple[str, str], list[_Row]] = {}
    patterns: dict[str, list[_Row]] = {}
    for row in _by_kind(kind):
        if row["match"] == "exact":
            exact.setdefault((row["event_source"], row["event_name"]), []).append(row)
        else:
            patterns.setdefault(row["event_source"], []).append(row)
    return exact, patterns


def dated_names() -> tuple[tuple[str, str], ...]:
    """Returns (first part of an event source or `*`, regular expression) of names with the version
    of an API.
    """
    rows = (
        (row["event_source"].removesuffix(".amazonaws.com"), row["event_name"])
        for row in _by_kind("suffix")
    )
    return tuple(
        (label, re.sub(r"\?P<(?!op>)\w+>", "?:", name).strip("^$")) for label, name in rows
    )
