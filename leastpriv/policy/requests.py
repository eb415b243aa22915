"""Requests that a user wrote down: one JSON object, or a list of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from leastpriv.errors import InputError
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import escape_observed
from leastpriv.policy.evaluate import Request
from leastpriv.policy.location import names
from leastpriv.policy.spans import Node, place, read

_KEYS = ("principal", "action", "resource", "context", "context_complete")
_IGNORED = ("statement",)
"""What `leastpriv contains` tells beside a request."""
_ACTION = re.compile(r"[A-Za-z0-9_-]+:[A-Za-z0-9_-]+")
_ARN_PARTS = 6


def read_requests(raw: bytes, where: str) -> tuple[Request, ...]:
    """Read the requests of a JSON file in UTF-8; `where` names the file in messages.

    The principal's ARN stands for the context keys that AWS derives from it, unless the context has them. A
    resource is a pattern as in a policy, and `*` alone, for an action that takes no resource, the text itself. A line
    of `leastpriv contains` is a request too.
    Raises InputError: not JSON of this shape, a principal that is no ARN, or an action that is no name.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8.") from error
    root = read(text, where)
    reader = _Reader(text, where)
    return tuple(reader.request(node) for node in (root.items if root.kind == "array" else (root,)))


class _Reader:
    """`text` and `where` serve the messages."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where

    def error(self, node: Node, advice: str) -> InputError:
        return InputError(f"{self.where}: {place(self.text, node.start)}: {advice}.")

    def request(self, node: Node) -> Request:
        if node.kind != "object":
            raise self.error(node, f"a request must be an object with {', '.join(_KEYS)}")
        for member in node.members:
            if member.key not in (*_KEYS, *_IGNORED):
                raise self.error(member.value, f"a request has no {names([member.key])!r}; it has {', '.join(_KEYS)}")
        action = self.string(node, "action")
        if not _ACTION.fullmatch(action):
            at = node.get("action") or node
            raise self.error(at, "a request needs an action, as s3:GetObject, without wildcards or blanks")
        resource = self.string(node, "resource", "*")
        if not resource:
            raise self.error(node.get("resource") or node, "resource is empty; write an ARN, or leave it out for all")
        known = catalog.action(action)
        if resource == "*" and known and not known.resource_types:
            resource = escape_observed(resource)
        context = dict(self.principal(node))
        context |= self.context(node.get("context"))
        return Request(action, resource, context, self.complete(node.get("context_complete")))

    def string(self, node: Node, key: str, absent: str = "") -> str:
        value = node.get(key)
        if value is not None and value.kind != "string":
            raise self.error(value, f"{key} must be a string")
        return value.text if value else absent

    def principal(self, node: Node) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield the keys that the principal stands for."""
        value, arn = node.get("principal"), self.string(node, "principal")
        if value and (not arn.startswith("arn:") or arn.count(":") < _ARN_PARTS - 1):
            raise self.error(value, "principal must be an ARN, as arn:aws:iam::111122223333:role/deploy")
        return _principal_keys(arn)

    def complete(self, node: Node | None) -> bool:
        if node and (node.kind != "literal" or node.text not in {"true", "false"}):
            raise self.error(node, "context_complete must be true or false")
        return node is not None and node.text == "true"

    def context(self, node: Node | None) -> dict[str, tuple[str, ...]]:
        if node is None:
            return {}
        if node.kind != "object":
            raise self.error(node, "context must be an object of condition keys and values")
        found: dict[str, tuple[str, ...]] = {}
        for member in node.members:
            key = member.key.lower()
            if key in found:
                raise self.error(
                    member.value, f"the key {names([member.key])!r} stands twice, in different case; keep one"
                )
            found[key] = tuple(self.values(member.value))
        return found

    def values(self, node: Node) -> Iterator[str]:
        """Yield a key's values; `null` is none, so that the key is absent."""
        for item in node.items if node.kind == "array" else (node,):
            if item.kind in {"object", "array"}:
                raise self.error(
                    item, "a value in the context must be text, a number, true or false, or a list of such"
                )
            if item.kind == "string" or item.text != "null":
                yield item.text


def _principal_keys(arn: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the keys that each request of a principal has.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html, read 2026-11-24; for an
    assumed role `aws:PrincipalArn` is the role, whose path the session's ARN does not show.
    """
    parts = arn.split(":", _ARN_PARTS - 1)
    if len(parts) < _ARN_PARTS:
        return
    kind, _, name = parts[5].partition("/")
    if kind == "assumed-role":
        arn = f"{parts[0]}:{parts[1]}:iam::{parts[4]}:role/{name.partition('/')[0]}"
    yield "aws:principalarn", (arn,)
    yield "aws:principalaccount", (parts[4],)
    if kind == "user":
        yield "aws:username", (name.rpartition("/")[2],)
