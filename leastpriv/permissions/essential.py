"""Reduces a call to what its needs depend on, so that a cache of calls holds no values that nothing reads.

A request may hold passwords, tokens and documents, and an answer credentials. Kept are the names of members, ARNs, the
texts under keys that the rules of the event read, and of documents the roles in them. A text that nothing reads becomes
a mark, because rules ask whether a request has any.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache

from msgspec import Struct, structs

from leastpriv.models import Call, Outcome
from leastpriv.permissions.event_table import STATEMENT, Verdict
from leastpriv.permissions.implied import ROLE_IN_TEXT
from leastpriv.permissions.mapping import EventPlan, plan_of
from leastpriv.permissions.project_tags import is_project_tag, pairs_of
from leastpriv.permissions.request import FREE_MAPS, NAMED_BY_KEY, NUMBERED, id_keys, key_of, request_values

_UNREAD = "\u2026"
"""Replaces a text that no rule reads."""
_UNREAD_NUMBER = 0.0
_UNREAD_KEY = "unread"
_DEEPEST = 64
"""Levels of a request; deeper ones are dropped, as the walk of the mapping ends before."""
_ALWAYS = frozenset({"awsservicename", "imageid", "resourcetype", "operation", "tablename"})
"""Keys that rules of single operations read."""
_CONTEXT = "encryptioncontext"
_ANSWERED = frozenset({"accesskeyid", "subject", "provider", "rootdevicetype"})
"""Keys of an answer: the key that a login or AssumeRole issued and its identity, and what EC2 says of an image."""
_ARN = re.compile(r"arn(:|%3a)", re.IGNORECASE)


def essential_call(call: Call) -> Call:
    """Returns the call without the texts of request, answer and error message on which nothing depends."""
    plan = plan_of(call.source, call.name)
    answer = _Answer(_answer_keys(call.source, call.name)).object_of(call.response)
    named = {part for _, text in request_values(answer) if text.startswith("arn:") for part in re.split("[:/]", text)}
    request = _Request(plan, _request_keys(call.source, call.name), frozenset(named)).object_of(call.parameters)
    message = call.error_message if call.outcome is Outcome.DENIED else ""
    return structs.replace(call, parameters=request, response=answer, error_message=message)


@lru_cache(maxsize=16_384)
def _request_keys(source: str, name: str) -> frozenset[str]:
    plan = plan_of(source, name)
    uris = [variable for _, mapped in plan.actions for variable in re.findall(r"\{([\w-]+)\}", mapped.resource)]
    places = [key.lower() for rule in plan.implies.tags for key in (rule.region, rule.under) if key]
    return plan.keys | _ALWAYS | {re.sub(r"[^a-z0-9]", "", uri.lower()) for uri in uris} | {*places}


@lru_cache(maxsize=16_384)
def _answer_keys(source: str, name: str) -> frozenset[str]:
    plan = plan_of(source, name)
    answered = {key.partition(" ")[2] for facts, _ in plan.actions for key in facts.answered}
    return _ANSWERED | id_keys(name) | answered


class _Answer(Struct, frozen=True):
    """Reduces the answer of a call."""

    keys: frozenset[str]

    def object_of(self, value: Mapping[str, object]) -> Mapping[str, object]:
        """Returns the reduced answer, which is empty only where the answer is."""
        found = self._reduced("", value, 0)
        return found if isinstance(found, dict) and found else {_UNREAD_KEY: _UNREAD} if value else {}

    def _reduced(self, key: str, value: object, depth: int) -> object:
        if isinstance(value, str):
            return value if _ARN.match(value) or key in self.keys else None
        if depth > _DEEPEST:
            return None
        if isinstance(value, Mapping):
            pairs = ((name, self._reduced(key_of(name), item, depth + 1)) for name, item in value.items())
            return {str(name): item for name, item in pairs if item is not None} or None
        if isinstance(value, list | tuple):
            return [item for each in value if (item := self._reduced(key, each, depth + 1)) is not None] or None
        return None


class _Request(Struct, frozen=True):
    """Reduces the request of a call."""

    plan: EventPlan
    keys: frozenset[str]
    in_answer: Collection[str]
    """Parts of the ARNs in the answer: a rule compares them with the request's texts."""

    def reads(self, key: str) -> bool:
        """Whether a rule reads the texts under a key; of a copy the rules know what it makes without `target`."""
        return key in self.keys or key.removeprefix("target") in self.keys

    def object_of(self, value: Mapping[str, object]) -> Mapping[str, object]:
        """Returns the reduced request with the names of all its members."""
        return {
            name: self._member(key_of(name), item, 0, is_free=key_of(name) in FREE_MAPS) for name, item in value.items()
        }

    def _member(self, key: str, value: object, depth: int, *, is_free: bool) -> object:
        """Returns a reduced member, which is empty only where the member is."""
        if isinstance(value, str):
            return self._text(key, value, is_free=is_free)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int | float):
            return value if self.reads(key) and not is_free else _UNREAD_NUMBER
        if depth > _DEEPEST or not value:
            return type(value)() if isinstance(value, dict | list) else None
        if isinstance(value, Mapping):
            return self._object(key, value, depth, is_free=is_free)
        if isinstance(value, list | tuple):
            return [self._member(key, item, depth + 1, is_free=is_free) for item in value]
        return None

    def _object(self, key: str, value: Mapping[str, object], depth: int, *, is_free: bool) -> Mapping[str, object]:
        if key == _CONTEXT and self.plan.shows_conditions:
            return {str(name): "" for name in value}
        pairs = [*pairs_of([value])] if key == "items" or key.startswith("tag") else []
        if pairs and is_project_tag(*pairs[0]):
            return value
        if value.keys() <= NUMBERED:
            return {name: self._member(key, item, depth + 1, is_free=is_free) for name, item in value.items()}
        found: dict[str, object] = {}
        left = False
        for name, item in value.items():
            own = key_of(name)
            free = is_free or own in FREE_MAPS
            is_tag = key == "tags" and isinstance(item, str) and is_project_tag(str(name), item)
            reduced = item if is_tag else self._member(own, item, depth + 1, is_free=free)
            if self.reads(own) or own.startswith("tag") or key in NAMED_BY_KEY or _holds(reduced):
                found[str(name)] = reduced
            else:
                left = left or (not free and _has_text(reduced))
        if left or not found:
            found[_UNREAD_KEY] = _UNREAD if left else ""
        return found

    def _text(self, key: str, text: str, *, is_free: bool) -> str:
        if _ARN.match(text):
            return text
        roles = self.plan.implies.roles
        is_read = self.reads(key) if not is_free else key in roles
        if roles.get(key, "" if is_read else roles.get("*", "")) == "text":
            documents = ", ".join(found[0] for found in ROLE_IN_TEXT.finditer(text))
            return documents or (_UNREAD if text else "")
        if self.plan.event.verdict is Verdict.BY_REQUEST and key == "statement":
            match = STATEMENT.match(text) or re.match(r"\s*\w+", text)
            return match[0] if match else _UNREAD
        if any(text in (sign["parameter"], sign["begins"]) for sign in self.plan.implies.transforms):
            return text
        if is_read or text in self.in_answer or (self.plan.is_of_two_apis and "/apis/" in text):
            return text
        return _UNREAD if text else ""


def _holds(value: object) -> bool:
    """Whether a reduced value has a text that something reads."""
    if isinstance(value, str):
        return value not in ("", _UNREAD)
    if type(value) is int:
        return True
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(_holds(item) for item in items)


def _has_text(value: object) -> bool:
    if isinstance(value, str):
        return value != ""
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(_has_text(item) for item in items)
