"""Compiles what the events of a service need: our tables and the import of AWS's service
reference.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from api_models import operations_of_source
from event_rules import OperationRule, by_rules, event_by_rules, prefix_of, without_date
from raw_tables import table

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict
from leastpriv.permissions.request import noun_of
from leastpriv.permissions.service_facts import EventFacts, MappedAction, TagRule, Trigger

REFERENCE = Path(__file__).parent / "facts" / "event_map"
"""What `compile_event_map.py` took of AWS's service reference: a file for each service."""
_ANY = "*"
_SHORTEST = 3
"""Letters of a type's name that may stand in the name of what makes it."""
_TAGS_ITSELF = re.compile(
    r"(Tag|Untag|AddTags|RemoveTags|CreateTags|DeleteTags|ListTags|Describe|Get|List)"
)


def events_of(prefix: str) -> Mapping[str, EventFacts]:
    """Returns the facts of a service's operations, of those that have some; `*`: of operations that
    no model knows.
    """
    names = (
        set(_sources_by_name(prefix)) | set(_named_by_tables(prefix)) | _reference(prefix).keys()
    )
    of_any = _event(prefix, _ANY)
    if of_any != EventFacts():
        names |= {action.partition(":")[2] for action in catalog.actions(prefix)}
        names |= operations_of_source(f"{prefix}.amazonaws.com")
    found = {name: _event(prefix, name) for name in sorted(names - {_ANY})}
    own = {name: facts for name, facts in found.items() if facts != of_any}
    return own | ({_ANY: of_any} if of_any != EventFacts() else {})


@cache
def _sources_by_name(prefix: str) -> Mapping[str, list[str]]:
    """Operation -> event sources of the rows of `events.tsv` about it."""
    sources: dict[str, list[str]] = defaultdict(list)
    for row in table("events"):
        source = row["event_source"]
        if row["kind"] not in ("rename", "no-permission", "by-statement"):
            continue
        if prefix_of(source) != prefix:
            continue
        names = iter([row["event_name"]])
        if row["match"] != "exact":
            names = _matching(source, row["event_name"])
        for name in names:
            sources[without_date(source, name)].append(source)
    return sources


def _matching(source: str, pattern: str) -> Iterator[str]:
    """The operations that a pattern of `events.tsv` means; `*` where it means any."""
    for part in pattern.split("|"):
        if part.isalnum():
            yield part
        elif part == ".*":
            yield _ANY
        else:
            yield from (name for name in operations_of_source(source) if re.fullmatch(part, name))


def _named_by_tables(prefix: str) -> Iterator[str]:
    operations = list(_triggers())
    for name in ("roles", "passed_to", "tags_on_create", "made_types", "fallbacks"):
        operations.extend(row["operation"] for row in table(name))
    for operation in operations:
        service, _, name = operation.partition(":")
        if service == prefix:
            yield name


@cache
def _reference(prefix: str) -> Mapping[str, Mapping[str, Any]]:
    path = REFERENCE / f"{prefix}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def imported_tags(operation: str) -> tuple[str, ...]:
    """Returns the tagging actions that AWS's service reference names for an operation and that our
    tables do not name.
    """
    prefix, _, name = operation.partition(":")
    return tuple(_reference(prefix).get(name, {}).get("tags", ()))


def _event(prefix: str, name: str) -> EventFacts:
    operation = f"{prefix}:{name}"
    imported = _reference(prefix).get(name, {})
    inner: Mapping[str, list[str]] = imported.get("inner", {})
    passes_role = imported.get("roles", "")
    rule = _special_rule(prefix, name, imported.get("actions", ()))
    return EventFacts(
        verdict=rule.verdict.value if rule else "",
        actions=rule.actions if rule else (),
        triggers=(*_triggers().get(operation, ()), *_added(inner)),
        inner={action: tuple(parameters) for action, (_, *parameters) in inner.items()},
        tags=tuple(_tag_rules(operation, imported.get("tags", {}))),
        roles={
            **({_ANY: "text"} if passes_role == "text" else {}),
            **_forms(f"{prefix}:*"),
            **_forms(operation),
        },
        passes_role=passes_role,
        passed_to={
            row["parameter"].lower(): tuple(row["service"].split(","))
            for row in _rows("passed_to", operation)
        },
        services=tuple(imported.get("passed_to", ())),
    )


def _special_rule(prefix: str, name: str, imported: list[str]) -> OperationRule | None:
    """Return the verdict and the actions of an operation; None where they are those of its name."""
    if imported:
        return OperationRule(Verdict.MAPPED, tuple(map(MappedAction, imported)))
    sources = _sources_by_name(prefix).get(name) or [f"{prefix}.amazonaws.com"]
    rules = {by_rules(source, prefix, "Any" if name == _ANY else name) for source in sources}
    if len(rules) > 1:
        raise ValueError(f"events.tsv contradicts itself about {prefix}:{name} by its source")
    rule = rules.pop()
    if rule.verdict in (Verdict.UNVERIFIED, Verdict.UNMAPPED):
        return None
    own_action = MappedAction(catalog.spelling(f"{prefix}:{name}") or "")
    return None if rule.actions == (own_action,) else rule


def _added(inner: Mapping[str, list[str]]) -> Iterator[Trigger]:
    for action, (mode, *parameters) in inner.items():
        if mode == "add":
            yield from (Trigger(parameter, action) for parameter in parameters or ("",))


@cache
def _triggers() -> Mapping[str, tuple[Trigger, ...]]:
    found: dict[str, tuple[Trigger, ...]] = {}
    for row in table("triggers"):
        operation = event_by_rules(row["event_source"], row["event_name"]).operation
        action = catalog.spelling(row["action"])
        if action:
            found[operation] = (
                *found.get(operation, ()),
                Trigger(row["parameter"], action, row["replaces"]),
            )
    return found


def _forms(operation: str) -> Mapping[str, str]:
    return {row["parameter"].lower(): row["form"] for row in _rows("roles", operation)}


def _rows(name: str, operation: str) -> list[Mapping[str, str]]:
    return [row for row in table(name) if row["operation"] == operation]


def _tag_rules(operation: str, imported: Mapping[str, list[str]]) -> Iterator[TagRule]:
    """Yields which tagging action AWS also checks where a request sets tags on what it makes:
    `tags` of `acm:RequestCertificate` needs `acm:AddTagsToCertificate`. None for an operation whose
    own work is to tag or to read.

    The rows of our table, about the operation or about all of its service (`acm:*`), come before
    the import.

    Args:
        operation: `acm:RequestCertificate`, or `acm:*` for operations that no model knows.
        imported: Tagging action -> parameters that hold the tags, of AWS's service reference.
    """
    prefix, _, name = operation.partition(":")
    if _TAGS_ITSELF.match(name):
        return
    rows = [
        *_rows("tags_on_create", operation),
        *(_rows("tags_on_create", f"{prefix}:*") if name != _ANY else ()),
    ]
    known = {row["action"] for row in rows}
    for row in rows:
        empty = row["empty"] == "yes"
        rule = TagRule(row["parameter"], row["action"], row["condition"], row["resource"], empty)
        yield _tag_rule(operation, rule)
    for action, parameters in imported.items():
        if action not in known:
            for parameter in parameters:
                yield _tag_rule(operation, TagRule(parameter, action))


def _tag_rule(operation: str, rule: TagRule) -> TagRule:
    """The rule with what the operation makes."""
    made = made_by(operation, rule.action)
    # Which of several types is made the tables say of the creating action.
    by_creating = len(made.types) > 1 and {*made.types} <= {*_types(operation)}
    return TagRule(
        rule.parameter,
        rule.action,
        rule.condition,
        rule.resource,
        rule.empty,
        of=operation if by_creating else rule.action,
        types=made.types,
        asked=made.asked,
        region=made.region,
        under=made.under,
    )


@dataclass(frozen=True, slots=True)
class CreatedResource:
    """What a creating operation makes; the fields are those of `TagRule`."""

    types: tuple[str, ...]
    """Empty where nothing distinguishes them."""
    asked: bool = False
    region: str = ""
    under: str = ""


@cache
def made_by(operation: str, tagging: str) -> CreatedResource:
    """Returns what an `operation` (`rds:CreateDBInstance`) makes of the types that its `tagging`
    action takes.

    By `made_types.tsv`, the type at the end of the operation's noun, or the only type that both
    actions take.
    """
    row = next(iter(_rows("made_types", operation)), None)
    if row:
        return CreatedResource(
            tuple(row["types"].split(",")), row["asked"] == "yes", row["region"], row["under"]
        )
    types = _types(tagging)
    # `CreateFileSystemFromBackup` makes a file system, `CreateDatabase` of a catalog a database.
    noun = noun_of(operation.partition(":")[2]).partition("from")[0].removesuffix("s")
    flat = {name: re.sub("resource$|[^a-z0-9]", "", name).removesuffix("s") for name in types}
    long_enough = [name for name in types if len(flat[name]) >= _SHORTEST]
    # `CreateVpcAttachment` makes an attachment; the core network is its parent.
    at_end = [name for name in types if flat[name] == noun] or _longest(
        long_enough, flat, noun.endswith
    )
    common = [name for name in types if name in _types(operation)]
    if at_end or len(common) == 1:
        return CreatedResource(tuple(at_end or common))
    # `CreateLocationEfs` makes a location.
    within = _longest(long_enough, flat, noun.__contains__)
    return CreatedResource(tuple(within if len(within) == 1 else types))


def _longest(
    names: Sequence[str], flat: Mapping[str, str], fits: Callable[[str], bool]
) -> list[str]:
    """Those of some types whose name without signs fits, the longest ones alone."""
    found = [name for name in names if fits(flat[name])]
    longest = max((len(flat[name]) for name in found), default=0)
    return [name for name in found if len(flat[name]) == longest]


def _types(action: str) -> tuple[str, ...]:
    known = catalog.action(action)
    return tuple(dict.fromkeys(kind.name.lower() for kind in known.resource_types)) if known else ()
