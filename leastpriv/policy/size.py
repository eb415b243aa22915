"""How large a policy may be, by what it is attached as: facts of AWS (`quotas.tsv`).

A policy within AWS's quotas: counted as AWS counts, shortened without loss, then split over several policies.

Every policy of a role counts together with the others, and a statement stands for itself, so that statements may lie in
any of them. What does not have to move stays: a policy that fits is never touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from itertools import accumulate, chain, count, takewhile
from typing import Any

from leastpriv.permissions.fact_tables import table
from leastpriv.policy.compact import Fold, MayFold, fold, merge
from leastpriv.policy.document import Document, Statement, parse
from leastpriv.policy.edit import DropStatement, Edit, ReplaceActions, ReplaceResources, apply
from leastpriv.policy.evaluate import policy_size
from leastpriv.policy.json_writer import layout_of
from leastpriv.policy.syntax_tree import minified


class Kind(StrEnum):
    """What a policy is attached as; each kind has a quota of its own."""

    MANAGED = "managed"
    INLINE_ROLE = "inline-role"
    INLINE_USER = "inline-user"
    SESSION = "session"


def quota(kind: Kind) -> int:
    """Characters that a policy of a kind may have; of an inline policy, all those of its role or user together."""
    return _quotas()[kind]


@cache
def _quotas() -> dict[str, int]:
    return {row["kind"]: int(row["characters"]) for row in table("quotas")}


@cache
def most_managed() -> int:
    """Managed policies that a role or user may have, where AWS has not raised it."""
    return next(int(row["policies"]) for row in table("quotas") if row["policies"])


def session_policy(documents: Sequence[Document]) -> str:
    """All statements as the one inline policy of a session, without white space; empty where it would not fit.

    Of a session's policies the plain text counts, white space too. Empty also where the documents' versions differ,
    or none has a statement.
    """
    nodes = [minified(node) for document in documents for node in document.statement_nodes]
    versions = {document.version for document in documents}
    if not nodes or len(versions) != 1:
        return ""
    version = f'"Version":{json.dumps(versions.pop())},' if documents[0].version else ""
    text = f'{{{version}"Statement":[{",".join(nodes)}]}}'
    return text if len(text) <= quota(Kind.SESSION) else ""


def kind_of(document: Document, principal: str) -> Kind:
    """What a committed policy is attached as, judged by its place, `principal` being the ARN of its role or user.

    The output of `get-role-policy` and `get-user-policy` is an inline policy; in a template the type of the resource
    tells (`attached_as.tsv`). What is too large for a managed policy is inline too. Everything else counts as managed.
    """
    found = _attached_as(document)
    user = principal.split(":", 5)[-1].startswith("user/") or bool(found and found["principal"])
    inline = Kind.INLINE_USER if user else Kind.INLINE_ROLE
    if found:
        return inline if found["attached_as"] == "inline" else Kind.MANAGED
    is_too_large = quota(Kind.MANAGED) < policy_size(document) <= quota(inline)
    return inline if document.pointer == "/PolicyDocument" or is_too_large else Kind.MANAGED


def size_beside(kind: Kind, others: Iterable[Document], principal: str) -> int:
    """Characters that other policies of the role or user take of a quota that is over all policies of the kind."""
    if kind not in _shared():
        return 0
    return sum(policy_size(other) for other in others if kind_of(other, principal) is kind)


@cache
def _shared() -> frozenset[Kind]:
    return frozenset(Kind(row["kind"]) for row in table("quotas") if row["several"] == "yes")


def _attached_as(document: Document) -> Mapping[str, str] | None:
    """The row of the resource that the policy is a part of."""
    of_terraform = re.search(r"(?:^|/)(aws_iam_\w+)[./]", document.pointer)
    kind = document.source.kind or (of_terraform[1] if of_terraform else "")
    return next((row for row in table("attached_as") if row["type"] == kind), None)


def name_of(path: str, number: int) -> str:
    """The file of the `number`-th policy, the committed one being the first: `iam/ci-deploy-2.json`."""
    folder, slash, name = path.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{folder}{slash}{stem if dot else name}-{number}.json" if number > 1 else path


def number_of(path: str, name: str) -> int:
    """Which policy of the policy file `path` the file `name` is, as `name_of` counts; 0 where it is none."""
    if name == path:
        return 1
    found = re.search(r"-([2-9]|[1-9][0-9]{1,2})\.json$", name)
    return int(found[1]) if found and name_of(path, int(found[1])) == name else 0


def continuations(path: str, is_there: Callable[[str], bool]) -> Iterator[str]:
    """Names of the files that the policy file `path` continues in: `ci-deploy-2.json`, `ci-deploy-3.json` …."""
    return takewhile(is_there, (name_of(path, number) for number in count(2)))


@dataclass(frozen=True, slots=True)
class Packed:
    """A policy and those that it was split into."""

    document: Document
    """What is left in the file."""
    further: tuple[Document, ...] = ()
    """New managed policies, each of a file of its own."""
    merged: tuple[str, ...] = ()
    """Sids (or places) of statements that became part of another one."""
    folds: tuple[Fold, ...] = ()
    fits: bool = True
    """Each policy is within its quota, and they are not too many."""


def pack(
    document: Document,
    kind: Kind = Kind.MANAGED,
    *,
    attached: int = 0,
    beside: int = 0,
    may_fold: MayFold = lambda _document, _statement, _pattern: False,
) -> Packed:
    """Bring a policy within its quota; `attached` is the number of other managed policies of the role.

    Statements of equal effect, condition and resources (or actions) become one; then lists of actions become
    wildcards that grant the same actions of the catalogue, where `may_fold` lets them; no more of both than it takes.
    Where that is not enough the last statements move to further managed policies instead, one that is too large being
    cut in several. Those that deny have the first claim to stay. `beside` is what other policies take of the quota.
    """
    limit = max(quota(kind) - beside, 0)
    if policy_size(document) <= limit:
        return Packed(document)
    shorter, merged = merge(document, limit)
    shortest, folds = fold(shorter, may_fold, limit)
    ways = (Packed(document), Packed(shorter, (), merged), Packed(shortest, (), merged, folds))
    whole = next((way for way in ways if policy_size(way.document) <= limit), None)
    if whole or not _can_be_split(document):
        return whole or replace(ways[-1], fits=False)
    # What does not become one policy keeps its statements as they are, unless that takes more policies.
    splits = [split for way in ways if _has_room(split := _split(way, limit), limit)]
    if not splits:
        # No cut helps, as where others take the whole quota: pieces would be no nearer to what IAM takes.
        return replace(ways[-1], fits=False)
    best = min(splits, key=lambda way: len(way.further))
    policies = len(best.further) + (kind is Kind.MANAGED)
    return replace(best, fits=policies <= most_managed() - attached)


def _has_room(packed: Packed, limit: int) -> bool:
    within = (policy_size(part) <= quota(Kind.MANAGED) for part in packed.further)
    return policy_size(packed.document) <= limit and all(within)


def _can_be_split(document: Document) -> bool:
    """Whether a statement means the same in a file of its own: not where only a template knows its parts."""
    return document.source.format == "json" and document.source.language == "plain"


_PART = re.compile(r"Part\d+\Z")
_SPARE = len("Part999")
"""What the Sid of a further piece may be longer."""

_Value = dict[str, Any]
"""A statement as JSON."""


def _split(way: Packed, first: int) -> Packed:
    """The file with the statements that fit, and new policies with the others, as they find room."""
    document = way.document
    taken = {statement.sid.lower() for statement in document.statements}
    edits, moved = _overflow(document, first, taken)
    parts: list[list[_Value]] = []
    for piece in chain.from_iterable(_cut(document, value, quota(Kind.MANAGED), taken) for value in moved):
        with_room = (part for part in parts if _length(document, [*part, piece]) <= quota(Kind.MANAGED))
        part = next(with_room, None)
        if part is None:
            parts.append([piece])
        else:
            part.append(piece)
    return replace(way, document=apply(document, edits), further=tuple(_policy(document, part) for part in parts))


def _overflow(document: Document, limit: int, taken: set[str]) -> tuple[list[Edit], list[_Value]]:
    """The statements that have no room, those that deny finding it first; one that alone is too large stays in part."""
    order = sorted(document.statements, key=lambda statement: (statement.effect == "Allow", statement.index))
    values = {statement.index: _value(document, statement) for statement in document.statements}
    kept: list[int] = []
    for statement in order:
        if _length(document, [values[index] for index in (*kept, statement.index)]) <= limit:
            kept.append(statement.index)
    moved = [index for index in values if index not in kept]
    if kept:
        return [DropStatement(index) for index in moved], [values[index] for index in moved]
    head, *rest = _cut(document, values[0], limit, taken)
    edits = [*_reduced(document.statements[0], head), *(DropStatement(index) for index in moved[1:])]
    return edits, [*rest, *(values[index] for index in moved[1:])]


def _reduced(statement: Statement, value: _Value) -> Iterator[Edit]:
    """What leaves of a statement only the lists of `value`."""
    actions, resources = frozenset(_listed(value, "Action")), frozenset(_listed(value, "Resource"))
    if gone := frozenset(statement.actions) - actions:
        yield ReplaceActions(statement.index, gone)
    if gone := frozenset(statement.resources) - resources:
        yield ReplaceResources(statement.index, gone)


def _cut(document: Document, value: _Value, limit: int, taken: set[str]) -> list[_Value]:
    """A statement, or where it alone is too large several, each with as many of its actions or resources as fit.

    `taken` are the Sids in lower case that no piece may get; it takes in those that pieces got.
    """
    if _length(document, [value]) <= limit:
        return [value]
    sid = _key(value, "Sid")
    first, *rest = _pieces(document, value, limit - (_SPARE if sid in value else 0))
    return [first, *({**piece, sid: _numbered(str(piece[sid]), taken)} if sid in piece else piece for piece in rest)]


def _pieces(document: Document, value: _Value, limit: int) -> Iterator[_Value]:
    name = next((name for name in ("Action", "Resource") if len(_listed(value, name)) > 1), None)
    if name is None or _length(document, [value]) <= limit:
        yield value
        return
    key, entries = _key(value, name), _listed(value, name)
    while entries:
        room = limit - _length(document, [{**value, key: []}])
        number = max(1, sum(size <= room for size in accumulate(map(_entry_length, entries))))
        # One entry alone may still be too much, with all those of the other list.
        yield from _pieces(document, {**value, key: entries[:number]}, limit)
        entries = entries[number:]


def _entry_length(entry: str) -> int:
    return len(json.dumps(entry, ensure_ascii=False)) + 1


def _numbered(sid: str, taken: set[str]) -> str:
    """A Sid for a further piece, of letters and digits as IAM wants it: `DeployPart2`."""
    stem = _PART.sub("", sid)
    found = next(found for number in count(2) if (found := f"{stem}Part{number}").lower() not in taken)
    taken.add(found.lower())
    return found


def _key(value: _Value, name: str) -> str:
    """How a statement spells one of its keys."""
    return next((key for key in value if key.casefold() == name.casefold()), name)


def _listed(value: _Value, name: str) -> list[str]:
    found = value.get(_key(value, name), [])
    return [found] if isinstance(found, str) else list(found)


def _value(document: Document, statement: Statement) -> _Value:
    # A number with a fraction as text, which means the same and is written back as it was.
    return dict(json.loads(minified(document.statement_nodes[statement.index]), parse_float=str))


def _whole(document: Document, values: Sequence[_Value]) -> dict[str, object]:
    version: dict[str, object] = {"Version": document.version} if document.version else {}
    return {**version, "Statement": list(values)}


def _length(document: Document, values: Sequence[_Value]) -> int:
    """Size of a policy of some statements, beside what else the document's own policy holds (`Id`)."""
    others = sum(
        len(minified(member.value)) + len(member.key) + 4
        for member in document.policy.members
        if member.key.casefold() not in {"version", "statement"}
    )
    return others + len(json.dumps(_whole(document, values), separators=(",", ":"), ensure_ascii=False))


def _policy(document: Document, values: Sequence[_Value]) -> Document:
    """A policy of some statements, of a document's version and in its hand."""
    layout = layout_of(document)
    text = json.dumps(_whole(document, values), indent=layout.unit) + "\n"
    return parse(text.replace("\n", layout.newline).encode(), f"a part of {document.where}")
