"""Says what events need by our tables of `tools/facts/`, without AWS's service reference."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from raw_tables import table

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import MappedEvent, Verdict
from leastpriv.permissions.service_facts import DatedName, MappedAction

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OperationRule:
    """What our tables say of an operation."""

    verdict: Verdict
    actions: tuple[MappedAction, ...] = ()


@dataclass(frozen=True, slots=True)
class EventRows:
    """The rows of `events.tsv` of one kind."""

    by_name: dict[str, list[Row]] = field(default_factory=dict)
    """By event source and event name: `s3.amazonaws.com:CopyObject`."""
    by_pattern: dict[str, list[Row]] = field(default_factory=dict)
    """By event source; the event name is a regular expression."""

    def of(self, source: str, name: str) -> list[Row]:
        """Return the rows of an event."""
        rows = list(self.by_name.get(f"{source}:{name}", ()))
        patterns = self.by_pattern.get(source, ())
        rows.extend(row for row in patterns if re.fullmatch(row["event_name"], name))
        return rows


def event_by_rules(source: str, name: str) -> MappedEvent:
    """Returns what the action of an event's name and `events.tsv` say of it."""
    source = source.removesuffix(".cn")
    prefix = prefix_of(source)
    operation = without_date(source, name)
    rule = by_rules(source, prefix, operation)
    return MappedEvent(rule.verdict, prefix, rule.actions, f"{prefix}:{operation}")


def by_rules(source: str, prefix: str, name: str) -> OperationRule:
    """Returns the verdict and the actions of an operation of an event source."""
    if _rows("no-permission").of(source, name):
        return OperationRule(Verdict.NO_PERMISSION)
    if _rows("by-statement").of(source, name):
        return OperationRule(Verdict.BY_REQUEST)
    renamed = tuple(_renamed(source, name))
    if renamed:
        return OperationRule(Verdict.MAPPED, renamed)
    return _by_own_name(f"{prefix}:{name}")


def _by_own_name(operation: str) -> OperationRule:
    action = catalog.spelling(operation) or catalog.spelling(_fallbacks().get(operation, ""))
    if action:
        return OperationRule(Verdict.MAPPED, (MappedAction(action),))
    prefix, _, name = operation.partition(":")
    if prefix in catalog.services() and re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name):
        return OperationRule(Verdict.UNVERIFIED, (MappedAction(operation),))
    return OperationRule(Verdict.UNMAPPED)


def _renamed(source: str, name: str) -> Iterator[MappedAction]:
    for row in _rows("rename").of(source, name):
        for entry in row["actions"].split(","):
            written, _, parameter = entry.strip().partition("@")
            action = catalog.spelling(written)
            if action:
                yield MappedAction(action, parameter, row["resource"])


def without_date(source: str, name: str) -> str:
    """Returns the name of an event without the version of the API."""
    for row in _by_kind("suffix"):
        if row["event_source"] in (source, "*.amazonaws.com"):
            dated = re.fullmatch(row["event_name"], name)
            if dated:
                return dated["op"]
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
    labels = {row["label"]: row["prefix"] for row in table("sources")}
    # CloudTrail writes some with a hyphen: `metering-marketplace`.
    spellings = {label.replace(".", "-"): prefix for label, prefix in labels.items()} | labels
    by_source = {f"{label}.amazonaws.com": prefix for label, prefix in spellings.items()}
    by_source.update((row["event_source"], row["actions"]) for row in _by_kind("prefix"))
    return by_source


@cache
def _by_kind(kind: str) -> tuple[Row, ...]:
    return tuple(row for row in table("events") if row["kind"] == kind)


@cache
def _rows(kind: str) -> EventRows:
    rows = EventRows()
    for row in _by_kind(kind):
        source = row["event_source"]
        if row["match"] == "exact":
            rows.by_name.setdefault(f"{source}:{row['event_name']}", []).append(row)
        else:
            rows.by_pattern.setdefault(source, []).append(row)
    return rows


def dated_names() -> tuple[DatedName, ...]:
    """Returns the names with the version of an API; only their group `op` has a name."""
    names = []
    for row in _by_kind("suffix"):
        pattern = re.sub(r"\?P<(?!op>)\w+>", "?:", row["event_name"]).strip("^$")
        names.append(DatedName(row["event_source"].removesuffix(".amazonaws.com"), pattern))
    return tuple(names)
