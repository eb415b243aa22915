"""Which calls need the same: a call without all that its needs do not depend on.

The needs of like calls are made out once, and of the likeness alone, so that it cannot lack what decides them: they
would come out differently from those of the call itself, which tests compare.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from leastpriv.model import Call
from leastpriv.permissions.decisive import Decisive, UntoldError
from leastpriv.permissions.event_map import facts_of
from leastpriv.permissions.events import MappedEvent, Verdict, map_event, triggers_of
from leastpriv.permissions.pass_role import keys_of_roles
from leastpriv.permissions.presence import key_in
from leastpriv.permissions.request import noun_of
from leastpriv.permissions.resource_types import services_of_arns
from leastpriv.permissions.resources import keys_of_action
from leastpriv.permissions.shown_conditions import keys_of_conditions
from leastpriv.permissions.tagging import tags_of

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
