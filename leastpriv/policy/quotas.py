"""How large a policy may be, by what it is attached as: facts of AWS (`quotas.tsv`)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from itertools import count, takewhile

from leastpriv.permissions.tables import table
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import policy_size
from leastpriv.policy.spans import minified


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
