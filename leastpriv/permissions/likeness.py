"""Which calls need the same: a call without all that its needs do not depend on.

The needs of like calls are made out once, and of the likeness alone, so that it cannot lack what decides them: they
would come out differently from those of the call itself, which tests compare.

The part of a request that some rules look at: what is left of it decides what they find, the rest may be anything.

Most of a request decides nothing of what its call needs: tokens, times, sizes, descriptions. What is kept stands where
it stood, so that the rules read it as they would read the whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from leastpriv.models import Call
from leastpriv.permissions.condition_keys import keys_of_conditions
from leastpriv.permissions.event_map import facts_of
from leastpriv.permissions.event_table import MappedEvent, Verdict, map_event, triggers_of
from leastpriv.permissions.implied import keys_of_roles, tags_of
from leastpriv.permissions.request import FREE_MAPS, MOST_VALUES, NAMED_BY_KEY, is_numbered, key_in, key_of, noun_of
from leastpriv.permissions.resource_types import services_of_arns
from leastpriv.permissions.resources import keys_of_action

_TEXT, _PRESENCE, _FREE, _UNTOLD = 1, 2, 4, 8
"""What counts of a member: its text; that it is there; nothing below it but for itself; nobody can say."""
_ARNS = ("arn:", "arn%")
_MOST_KEYS = 4_096
"""Keys that are remembered: requests may hold maps of any."""
_OTHERS = ("\0", "-")
"""A member in place of all texts left out: some rules ask whether a request has any."""


class UntoldError(Exception):
    """Which part of a request decides cannot be told."""


class Decisive:
    """Picks from requests what some rules look at."""

    def __init__(self, texts: Collection[str], presence: Collection[str], services: Collection[str]) -> None:
        """Each may hold more than the rules look at, never less.

        `texts`: keys in lower case whose texts, numbers and presence count; those with one more `s` count too.
        `presence`: keys in lower case of which only the presence counts. `services`: those whose ARNs (third field)
        count under any key; `*` is all.
        """
        self._texts, self._presence, self._services = frozenset(texts), frozenset(presence), frozenset(services)
        self._kinds: dict[str, int] = {}

    def of(self, parameters: Mapping[str, object]) -> Mapping[str, object]:
        """The decisive part of a request of JSON values.

        Raises:
            UntoldError: it cannot be told, as where there are more values than the rules read.
            RecursionError: it is nested too deeply.
        """
        left = _Left()
        kept = self._members(parameters, left)
        if left.members > MOST_VALUES:
            raise UntoldError
        return {**kept, _OTHERS[0]: _OTHERS[1]} if left.texts else kept

    def _members(self, members: Mapping[str, object], left: _Left) -> dict[str, object]:
        left.members += len(members)
        kept: dict[str, object] = {}
        for name, value in members.items():
            kind = self._kinds.get(name)
            if kind is None:
                kind = self._kind(name)
            if type(value) is str:
                if kind & _TEXT or (value.startswith(_ARNS) and not kind & _FREE and self._is_sought(value)):
                    kept[name] = value
                    continue
                left.texts = left.texts or (value != "" and not kind & _FREE)
                if kind & _PRESENCE:
                    kept[name] = value != ""
            elif isinstance(value, dict | list):
                inner = self._inner(value, kind, left)
                if inner or kind & (_TEXT | _PRESENCE):
                    kept[name] = inner
            elif kind & (_TEXT | _PRESENCE):
                kept[name] = value
        if "content" in kept and is_numbered(kept):
            # It is read as its content alone, perhaps only now.
            raise UntoldError
        return kept

    def _inner(self, value: dict[str, object] | list[object], kind: int, left: _Left) -> Collection[object]:
        """What counts in a member that is no text."""
        if kind & _FREE:
            # Nothing is looked for there, but a list's own texts may count as those of its key.
            own = value if kind & _TEXT and isinstance(value, list) else ()
            return [item for item in own if not isinstance(item, dict | list)]
        if isinstance(value, dict):
            if kind & _UNTOLD or is_numbered(value):
                raise UntoldError
            return self._members(value, left)
        left.members += len(value)
        kept: list[object] = []
        for item in value:
            if isinstance(item, dict | list):
                inner = self._inner(item, kind, left)
                if inner:
                    kept.append(inner)
            elif kind & _TEXT or (type(item) is str and item.startswith(_ARNS) and self._is_sought(item)):
                kept.append(item)
            elif item and type(item) is str:
                left.texts = True
        return kept

    def _is_sought(self, arn: str) -> bool:
        return arn[3] == "%" or not self._services.isdisjoint(("*", arn[4:].partition(":")[2].partition(":")[0]))

    def _kind(self, name: str) -> int:
        key = key_of(name)
        kind = _FREE if key in FREE_MAPS else _UNTOLD if key in NAMED_BY_KEY else 0
        if key in self._texts or (key.endswith("s") and key[:-1] in self._texts):
            kind |= _TEXT
        if key in self._presence or name.lower() in self._presence or name.lower() in self._texts:
            kind |= _PRESENCE
        if len(self._kinds) < _MOST_KEYS:
            self._kinds[name] = kind
        return kind


class _Left:
    """What was met and left out of one request."""

    __slots__ = ("members", "texts")

    def __init__(self) -> None:
        self.members, self.texts = 0, False


_LONGEST = 2_000
"""Characters of a request that is compared: 4,096 kept ones would be 8 MB, of the longest requests 400 MB."""
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class ResponseReadError(Exception):
    """What a call needs hangs on its response too."""


class _Unread(Mapping[str, object]):
    """A response that is not part of the likeness."""

    def __getitem__(self, key: str) -> object:
        raise ResponseReadError

    def __iter__(self) -> Iterator[str]:
        raise ResponseReadError

    def __len__(self) -> int:
        raise ResponseReadError


_UNREAD = _Unread()


class Alike(tuple[Any, ...]):
    """What of a call decides its needs, but for its response."""

    request: Mapping[str, object]

    def call(self) -> Call:
        """A call of these things alone. Where it has a response, reading that raises `ResponseReadError`."""
        source, name, principal, account, region, resources, outcome, code, invoked_by, read_only, omitted, *rest = self
        return Call(
            event_id="",
            principal=principal,
            session="",
            time=_NO_TIME,
            account=account,
            region=region,
            source=source,
            name=name,
            parameters=self.request,
            response=_UNREAD if rest[0] else {},
            resources=resources,
            outcome=outcome,
            error_code=code,
            invoked_by=invoked_by,
            read_only=read_only,
            parameters_omitted=omitted,
        )


def likeness(call: Call) -> Alike | None:
    """What decides the needs of a call; None where that is too much to be kept."""
    try:
        request = _request(call)
        text = repr(request) if request else ""
    except RecursionError:
        return None
    if len(text) > _LONGEST:
        return None
    alike = Alike(
        (
            *(call.source, call.name, _caller(call.principal), call.account, call.region, call.resources),
            *(call.outcome, call.error_code, call.invoked_by, call.read_only, call.parameters_omitted),
            *(bool(call.response), text),
        )
    )
    alike.request = request
    return alike


def _request(call: Call) -> Mapping[str, object]:
    decisive = _decisive(call.source, call.name)
    try:
        return decisive.of(call.parameters) if decisive else call.parameters
    except UntoldError:
        return call.parameters


@lru_cache(maxsize=1_024)
def _caller(principal: str) -> str:
    """What counts of who called: the partition, and who a user is."""
    return principal if ":user/" in principal else ":".join(principal.split(":")[:2])


@lru_cache(maxsize=4_096)
def _decisive(source: str, name: str) -> Decisive | None:
    """What the rules look at in the requests of an event; None where that may be anything."""
    event = map_event(source, name)
    roles = keys_of_roles(event.operation)
    if event.verdict is Verdict.BY_REQUEST or roles is None or tags_of(event.operation):
        return None
    if any(mapped.on or mapped.resource for mapped in event.actions):
        return None
    actions = {mapped.action for mapped in event.actions} | {row["action"] for row in triggers_of(event.operation)}
    texts, presence = _keys(event, actions)
    services = {"iam"}.union(*(services_of_arns(action.partition(":")[0]) for action in actions))
    return Decisive(texts | roles, presence, services)


def _keys(event: MappedEvent, actions: Collection[str]) -> tuple[set[str], set[str]]:
    """Keys of which the texts, and of which the presence alone counts."""
    noun = noun_of(event.operation.partition(":")[2])
    texts = {key_in(row["parameter"]) for row in triggers_of(event.operation)}
    texts.update(key_in(each) for _, *parameters in facts_of(event.operation).inner.values() for each in parameters)
    presence: set[str] = set()
    for action in actions:
        read, seen = keys_of_conditions(action)
        texts |= keys_of_action(action, noun) | read
        presence |= seen
    return texts, presence
