"""Reads a policy that another tool wrote from source code, as a declaration of what a program
calls.

It may be an IAM policy, or what `iam-policy-autopilot generate-policies` prints: policies in a
list, each with its type (github.com/awslabs/iam-policy-autopilot, read 2026-12-01).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from leastpriv.declared.models import UNKNOWN, Declaration
from leastpriv.errors import InputError, PolicyFileError
from leastpriv.models import Basis, Need, Permission
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import has_wildcard
from leastpriv.permissions.resource_types import ends_in_a_name
from leastpriv.policy.document import Document, Statement, parse

_NO_ACTION = "no table has the action, or it names too many"
_MOST_ACTIONS = 40
"""Actions of a wildcard that are taken for needs; a wider one says nothing of the program."""


def read_written_policy(raw: bytes, source: str) -> Declaration:
    """Reads a policy as the needs of a program.

    Args:
        raw: the file.
        source: its path, as the user names it.

    Raises:
        InputError: it is no policy in JSON.
    """
    needs: dict[Need, None] = {}
    unknown: dict[str, str] = {}
    for document in _documents(raw, source):
        for statement in document.statements:
            statement_place = (
                f"{source}, line {statement.line}" if document.pointer == "" else source
            )
            if reason := _why_not_read(statement):
                unknown[f"a statement of {statement_place}"] = reason
                continue
            for entry in statement.actions:
                actions = _actions_of(entry)
                if not actions:
                    unknown[f"{entry} of {statement_place}"] = _NO_ACTION
                    continue
                needs.update(dict.fromkeys(_needs(actions, statement, source)))
    calls = tuple(needs)
    reads = tuple(call for call in calls if catalog.is_read(call.permission.action))
    return Declaration(source, calls=calls, plan_calls=reads, unknown=unknown)


def _documents(raw: bytes, source: str) -> Iterator[Document]:
    """The policies of identities in a file."""
    remedy = "write one as JSON, such as by `iam-policy-autopilot generate-policies`"
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The input declared names {source!r}, no JSON: {remedy}.") from error
    listed = content.get("Policies") if isinstance(content, dict) else None
    policies = [content]
    if isinstance(listed, list):
        entries = [entry for entry in listed if isinstance(entry, dict)]
        policies = [entry.get("Policy") for entry in entries if _is_of_identity(entry)]
    try:
        if not isinstance(listed, list):
            yield parse(raw, source)
            return
        for policy in policies:
            yield parse(json.dumps(policy).encode(), source)
    except PolicyFileError as error:
        raise InputError(f"The input declared names {source!r}, no policy: {error}") from error


def _is_of_identity(entry: Mapping[str, object]) -> bool:
    return entry.get("PolicyType", "Identity") == "Identity"


def _why_not_read(statement: Statement) -> str:
    """Why a statement says nothing of what a program needs; empty where it does."""
    if statement.effect != "Allow":
        return "it denies"
    if statement.not_actions or statement.not_resources:
        return "it names what it does not allow"
    return ""


def _actions_of(entry: str) -> tuple[str, ...]:
    """The actions of an entry; empty where the catalogue has none, or too many."""
    if not has_wildcard(entry):
        spelling = catalog.spelling(entry)
        return (spelling,) if spelling else ()
    actions = catalog.expand(entry) if ":" in entry else ()
    return actions if len(actions) <= _MOST_ACTIONS else ()


def _needs(actions: tuple[str, ...], statement: Statement, source: str) -> Iterator[Need]:
    for action in actions:
        for resource in statement.resources:
            permission = Permission(action, resource, statement.conditions)
            because = f"the policy {source}"
            # `arn:*:s3:::*/*` names a type and no resource.
            is_named = resource != UNKNOWN and ends_in_a_name(resource)
            yield Need(
                permission,
                Basis.DECLARED,
                "the policy of another tool",
                because,
                exact=is_named,
            )
