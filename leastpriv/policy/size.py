"""Keeps a policy within AWS's size quotas (`quotas.tsv`): shortens it without loss, then splits it.

All policies of a role count together, so that a statement may move to another policy. A policy
within its quota is never changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from itertools import accumulate, chain, count, takewhile
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.permissions.fact_tables import table
from leastpriv.policy.compact import (
    ActionWildcard,
    MayWriteWildcard,
    merge_statements,
    shorten_actions,
)
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import DropStatement, Edit, ReplaceActions, ReplaceResources, apply_edits
from leastpriv.policy.evaluate import policy_size
from leastpriv.policy.json_writer import json_style_of
from leastpriv.policy.syntax_tree import minified


class PolicyKind(StrEnum):
    """How a policy is attached; each kind has its own quota."""

    MANAGED = "managed"
    INLINE_ROLE = "inline-role"
    INLINE_USER = "inline-user"
    SESSION = "session"


def quota(kind: PolicyKind) -> int:
    """Returns the characters that a policy may have; for inline policies, all those of the role or
    user together.
    """
    return int(_quotas()[kind]["characters"])


@cache
def _quotas() -> Mapping[str, Mapping[str, str]]:
    return {row["kind"]: row for row in table("quotas")}


def max_managed_policies() -> int:
    """Returns AWS's default quota of managed policies for a role or user."""
    return int(_quotas()[PolicyKind.MANAGED]["policies"])


def session_policy(documents: Sequence[Document]) -> str:
    """Joins all statements into one session policy without white space; empty if it exceeds the
    quota.

    AWS counts a session policy's plain text, white space included. Empty also if the versions
    differ or no document has a statement.
    """
    texts = join_statements(documents)
    return texts[0] if len(texts) == 1 and len(texts[0]) <= quota(PolicyKind.SESSION) else ""


def join_statements(documents: Iterable[Document]) -> list[str]:
    """Joins all statements into one policy without white space per version."""
    nodes: dict[str, list[str]] = {}
    for document in documents:
        for node in document.statement_nodes:
            nodes.setdefault(document.version, []).append(minified(node))
    version_members = {
        version: f'"Version":{json.dumps(version)},' if version else "" for version in sorted(nodes)
    }
    return [
        f'{{{name}"Statement":[{",".join(nodes[version])}]}}'
        for version, name in version_members.items()
    ]


def policy_kind(document: Document, principal: str) -> PolicyKind:
    """Returns how a committed policy is attached; `principal` is the ARN of its role or user.

    The output of `get-role-policy` and `get-user-policy` is an inline policy; in a template the
    resource type decides (`attached_as.tsv`). A policy too large for a managed policy is inline
    too. All others count as managed.
    """
    kind = document.source.resource_type or _terraform_type(document)
    rows = [row for row in table("attached_as") if row["type"] == kind]
    is_of_user = principal.split(":", 5)[-1].startswith("user/")
    if rows and rows[0]["principal"]:
        is_of_user = True
    inline = PolicyKind.INLINE_USER if is_of_user else PolicyKind.INLINE_ROLE
    if rows:
        return inline if rows[0]["attached_as"] == "inline" else PolicyKind.MANAGED
    is_too_large = quota(PolicyKind.MANAGED) < policy_size(document) <= quota(inline)
    return inline if document.pointer == "/PolicyDocument" or is_too_large else PolicyKind.MANAGED


def _terraform_type(document: Document) -> str:
    """Returns the type of the Terraform resource that holds a policy; empty for other files."""
    resource = re.search(r"(?:^|/)(aws_(?:iam|ssoadmin)_\w+)[./]", document.pointer)
    return resource[1] if resource else ""


def size_of_others(kind: PolicyKind, others: Iterable[Document], principal: str) -> int:
    """Returns the characters of a shared quota that other policies of the role or user use."""
    if _quotas()[kind]["several"] != "yes":
        return 0
    return sum(
        policy_size(document) for document in others if policy_kind(document, principal) is kind
    )


def numbered_file(path: str, number: int) -> str:
    """Returns the file of the `number`-th policy, 1 for the committed one:
    `iam/ci-deploy-2.json`.
    """
    if number <= 1:
        return path
    folder, slash, name = path.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    base = stem if dot else name
    return f"{folder}{slash}{base}-{number}.json"


def file_number(path: str, name: str) -> int:
    """Returns the number in a file name that `numbered_file` made for the policy file `path`; 0 for
    other names.
    """
    if name == path:
        return 1
    match = re.search(r"-([2-9]|[1-9][0-9]{1,2})\.json$", name)
    return int(match[1]) if match and numbered_file(path, int(match[1])) == name else 0


def numbered_files(path: str, is_there: Callable[[str], bool]) -> Iterator[str]:
    """Yields the existing continuations of a policy file: `ci-deploy-2.json`,
    `ci-deploy-3.json` ….
    """
    return takewhile(is_there, (numbered_file(path, number) for number in count(2)))


class PackedPolicy(Struct, frozen=True):
    """A policy and the policies that it was split into."""

    document: Document
    """The rest in the committed file."""
    further: tuple[Document, ...] = ()
    """New managed policies, each in its own file."""
    merged: tuple[str, ...] = ()
    """Sids (or lines) of statements that were merged into another one."""
    wildcards: tuple[ActionWildcard, ...] = ()
    fits: bool = True
    """Whether each policy is within its quota, and their number too."""


def pack(
    document: Document,
    kind: PolicyKind = PolicyKind.MANAGED,
    *,
    attached: int = 0,
    used_by_others: int = 0,
    may_write_wildcard: MayWriteWildcard = lambda _document, _statement, _pattern: False,
) -> PackedPolicy:
    """Brings a policy within its quota.

    Statements of equal effect, condition and resources (or actions) are merged; then lists of
    actions become wildcards that grant the same actions of the catalogue; only as much of both as
    the quota requires. If that is not enough, the last statements move to new managed policies, and
    a statement too large for one is split. Deny statements move last.

    `attached` is the number of other managed policies of the role, `used_by_others` the characters
    of the quota that other policies use.
    """
    limit = max(quota(kind) - used_by_others, 0)
    if policy_size(document) <= limit or document.has_several_policies:
        return PackedPolicy(document)
    if any(statement.fixed for statement in document.statements):
        return PackedPolicy(document, fits=False)
    ways = _shorter_forms(document, may_write_wildcard, limit)
    for way in ways:
        if policy_size(way.document) <= limit:
            return way
    may_be_split = document.source.format == "json" and document.source.language == "plain"
    splits = _splits(ways, limit) if may_be_split else []
    if not splits:
        # No split brings it within a quota that other policies use whole.
        return replace(ways[-1], fits=False)
    best = min(splits, key=lambda split: len(split.further))
    policies = len(best.further)
    if kind is PolicyKind.MANAGED:
        policies += 1
    return replace(best, fits=policies <= max_managed_policies() - attached)


def _shorter_forms(
    document: Document, may_write_wildcard: MayWriteWildcard, limit: int
) -> list[PackedPolicy]:
    """Returns a policy as it is, with merged statements, and with wildcards for actions too."""
    merged = merge_statements(document, limit)
    shortened = shorten_actions(merged.document, may_write_wildcard, limit)
    forms = [PackedPolicy(document)]
    if merged.document.source.outer != document.source.outer:
        forms.append(PackedPolicy(merged.document, (), merged.sids))
    if shortened.wildcards:
        forms.append(PackedPolicy(shortened.document, (), merged.sids, shortened.wildcards))
    return forms


def _splits(forms: Iterable[PackedPolicy], limit: int) -> list[PackedPolicy]:
    """Returns each form of a policy split over several policies, where all of these fit.

    Statements that are split keep their form, unless that takes more policies.
    """
    managed_quota = quota(PolicyKind.MANAGED)
    splits: list[PackedPolicy] = []
    for form in forms:
        split = _split(form, limit)
        fits = policy_size(split.document) <= limit
        if fits and all(policy_size(part) <= managed_quota for part in split.further):
            splits.append(split)
    return splits


_PART = re.compile(r"Part\d+\Z")
_SUFFIX_LENGTH = len("Part999")
"""Length that the Sid of a split statement may gain."""

_Value = dict[str, Any]
"""A statement as JSON."""


def _split(way: PackedPolicy, first: int) -> PackedPolicy:
    """Leaves the statements that fit in the file and distributes the others over new policies."""
    document = way.document
    taken = {statement.sid.lower() for statement in document.statements}
    edits, moved = _overflow(document, first, taken)
    parts: list[list[_Value]] = []
    lengths: list[int] = []
    limit, empty = quota(PolicyKind.MANAGED), _policy_length(document, []) - 1
    for piece in chain.from_iterable(
        _split_statement(document, value, limit, taken) for value in moved
    ):
        piece_length = _own_length(piece)
        part_index = next(
            (index for index, length in enumerate(lengths) if length + piece_length <= limit),
            len(parts),
        )
        if part_index == len(parts):
            parts.append([])
            lengths.append(empty)
        parts[part_index].append(piece)
        lengths[part_index] += piece_length
    style = json_style_of(document)
    texts = (json.dumps(_policy_value(document, part), indent=style.unit) + "\n" for part in parts)
    further = (
        parse(text.replace("\n", style.newline).encode(), f"a part of {document.where}")
        for text in texts
    )
    return replace(way, document=apply_edits(document, edits), further=tuple(further))


def _overflow(document: Document, limit: int, taken: set[str]) -> tuple[list[Edit], list[_Value]]:
    """Returns edits and statements that exceed the limit; Deny statements are kept first.

    A single statement that is too large remains in part.
    """
    # A number with a fraction is read as text, so that it is written back unchanged.
    nodes = enumerate(document.statement_nodes)
    values: dict[int, _Value] = {
        index: json.loads(minified(node), parse_float=str) for index, node in nodes
    }
    kept_indexes = _fitting(document, values, limit)
    moved = [index for index in values if index not in kept_indexes]
    if kept_indexes:
        return [DropStatement(index) for index in moved], [values[index] for index in moved]
    head, *further_pieces = _split_statement(document, values[0], limit, taken)
    edits: list[Edit] = [DropStatement(index) for index in moved[1:]]
    first = document.statements[0]
    moved_actions = frozenset(first.actions).difference(_listed(head, "Action"))
    if moved_actions:
        edits.append(ReplaceActions(0, moved_actions))
    moved_resources = frozenset(first.resources).difference(_listed(head, "Resource"))
    if moved_resources:
        edits.append(ReplaceResources(0, moved_resources))
    return edits, [*further_pieces, *(values[index] for index in moved[1:])]


def _fitting(document: Document, values: Mapping[int, _Value], limit: int) -> set[int]:
    """Returns the statements that fit in a policy together; Deny statements come first."""
    order = sorted(
        document.statements, key=lambda statement: (statement.effect == "Allow", statement.index)
    )
    fitting: set[int] = set()
    length = _policy_length(document, []) - 1
    for statement in order:
        own_length = _own_length(values[statement.index])
        if length + own_length <= limit:
            fitting.add(statement.index)
            length += own_length
    return fitting


def _split_statement(
    document: Document, value: _Value, limit: int, taken: set[str]
) -> list[_Value]:
    """Returns a statement, or if it is too large several, each with as many actions or resources as
    fit.

    `taken` are the Sids in lower case that are in use; it gains those of the new statements.
    """
    if _policy_length(document, [value]) <= limit:
        return [value]
    sid = _key(value, "Sid")
    first, *further_pieces = _pieces(
        document, value, limit - (_SUFFIX_LENGTH if sid in value else 0)
    )
    return [
        first,
        *(
            {**piece, sid: _numbered(str(piece[sid]), taken)} if sid in piece else piece
            for piece in further_pieces
        ),
    ]


def _pieces(document: Document, value: _Value, limit: int) -> Iterator[_Value]:
    # Each piece repeats the other list: the longer one is split.
    several = [name for name in ("Action", "Resource") if len(_listed(value, name)) > 1]
    name = max(several, key=lambda name: sum(map(len, _listed(value, name))), default=None)
    if name is None or _policy_length(document, [value]) <= limit:
        yield value
        return
    key, entries = _key(value, name), _listed(value, name)
    while entries:
        room = limit - _policy_length(document, [{**value, key: []}])
        lengths = (len(json.dumps(entry, ensure_ascii=False)) + 1 for entry in entries)
        number = max(1, sum(size <= room for size in accumulate(lengths)))
        # One entry may still be too large together with all entries of the other list.
        yield from _pieces(document, {**value, key: entries[:number]}, limit)
        entries = entries[number:]


def _numbered(sid: str, taken: set[str]) -> str:
    """Returns an unused Sid of letters and digits, as IAM requires: `DeployPart2`."""
    stem = _PART.sub("", sid)
    new_sid = next(
        new_sid for number in count(2) if (new_sid := f"{stem}Part{number}").lower() not in taken
    )
    taken.add(new_sid.lower())
    return new_sid


def _key(value: _Value, name: str) -> str:
    """Returns the spelling of a key in a statement."""
    return next((key for key in value if key.casefold() == name.casefold()), name)


def _listed(value: _Value, name: str) -> list[str]:
    entries = value.get(_key(value, name), [])
    return [entries] if isinstance(entries, str) else list(entries)


def _policy_value(document: Document, values: Sequence[_Value]) -> dict[str, object]:
    version: dict[str, object] = {"Version": document.version} if document.version else {}
    return {**version, "Statement": list(values)}


def _policy_length(document: Document, values: Sequence[_Value]) -> int:
    """Returns the size of a policy of these statements with the document's other elements
    (`Id`).
    """
    length = sum(
        len(minified(member.value)) + len(member.key) + 4
        for member in document.policy.members
        if member.key.casefold() not in {"version", "statement"}
    )
    return length + _own_length(_policy_value(document, values)) - 1


def _own_length(value: Mapping[str, object]) -> int:
    """Returns the characters of a statement in a policy, with the comma behind it."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False)) + 1
