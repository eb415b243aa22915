"""What the parameters of a request say: one walk for its texts by key, and which parameters it
has.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice, repeat
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from leastpriv.models import Call, Outcome
from leastpriv.permissions.fact_tables import table

MOST_VALUES = 2_000
"""A request may hold any number of values; the first ones name its resources."""
FREE_MAPS = frozenset(
    {
        "tags", "tagset", "tagging", "variables", "environment", "parameters", "arguments",
        "defaultarguments",
        "hyperparameters", "input", "metadata", "options", "encryptioncontext", "aliastarget",
    }
)  # fmt: skip
"""Maps whose keys or values people choose: they name no resource and no role that is passed. The
zone of an alias target is the target's
(https://docs.aws.amazon.com/Route53/latest/APIReference/API_AliasTarget.html, read 2026-11-27).
"""
_NAMED_BY_KEY = frozenset({"requestitems"})
"""Maps whose keys name resources: DynamoDB's BatchGetItem and BatchWriteItem
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html, read
2026-11-24).
"""
_MASKS = (
    "HIDDEN_DUE_TO_SECURITY_REASONS|Value hidden due to security"
    " reasons.|<sensitiveDataRemoved>|REDACTED"
)
_HIDDEN = frozenset((*_MASKS.split("|"), *map("*".__mul__, range(3, 17))))
"""What services write in place of a value that a record may not hold (records of AWS's guides,
2026-11-27): no name.
"""
_WRAPPER = re.compile(r"(request|input)$|^target$")
"""A key whose object is the request itself: `CreateVpcEndpointRequest`, Glue's `databaseInput`; or
the one it is about: `target` of Organizations' invitations."""
_SIMPLE = frozenset({bool, int, float, type(None)})
_NUMBERED = frozenset({"tag", "content"})
"""Members of an object in a numbered list of EC2, whose content has the key of the list."""
_VERB = re.compile(r"[A-Z][a-z]+")
_CREATES = re.compile(
    r"(Create|Run|Allocate|Request|Import|Register|Start|Copy|Restore|Clone|Purchase|Publish)[A-Z]"
)
_LINKS = re.compile(r"(Activate|Add|Associate|Attach|Enable|Schedule|Send|Submit|Subscribe)[A-Z]")
DATE = re.compile(r"20\d{2}_?\d{2}_?\d{2}(v\d+)?$")
KeyedText = tuple[str, str]
"""A key of a request in lower case and a text under it; a tuple, for a request may have thousands.
"""
KeyedValue = tuple[str, Any]
"""The same with a value that is yet to be read."""
_Pairs = Sequence[KeyedText]
_NUMBERS = ("number", "version", "revision")
"""Ends of keys whose numbers are parts of a resource's name."""
_MOST_NAMES = 4_096
"""Names of members that are remembered: requests may hold maps of any."""


class RequestMember(Struct, frozen=True, gc=False):
    """What a member of a request is, by its name."""

    key: str
    is_read: bool
    """Some rule reads it."""
    is_free: bool
    """People choose the keys below it."""
    wraps: bool
    """Its object may be the request itself."""
    is_number: bool
    """Its number is the one of a version, not a count."""


class Reads(dict[str, RequestMember]):
    """What the members of one event's requests are, by their names; texts that no rule reads only
    count where they are ARNs.
    """

    def __init__(self, keys: Collection[str] | None) -> None:
        """Takes the keys in lower case that rules read; None where any may be read."""
        super().__init__()
        self._keys = keys

    def __missing__(self, name: str) -> RequestMember:
        """Returns what a member is whose name was not asked for yet."""
        key = key_of(name)
        is_read = self._keys is None or key in self._keys or key in _NAMED_BY_KEY
        is_free = key in FREE_MAPS
        member = RequestMember(
            key,
            is_read=is_read,
            is_free=is_free,
            wraps=not is_free and _WRAPPER.search(key) is not None,
            is_number=is_read and not is_free and key.endswith(_NUMBERS),
        )
        if len(self) < _MOST_NAMES:
            self[name] = member
        return member


ANY = Reads(None)


class CallRequest:
    """The texts of one request, as far as they may name a resource."""

    __slots__ = ("arns", "by_key", "keys", "noun", "outer", "values")

    def __init__(self, noun: str, values: _Pairs, outer: _Pairs, keys: Collection[str]) -> None:
        """Takes the (key in lower case, text) pairs of a request about `noun`, as far as rules read
        them.

        Args:
            noun: what the event is about: `CreateTrail` -> `trail`.
            values: texts, outermost first, without those of `FREE_MAPS`.
            outer: those of the request's own members: deeper ones may be about something else.
            keys: keys of members, whatever they hold, without those below `FREE_MAPS`.
        """
        self.noun = noun
        self.values = values
        self.outer = outer
        self.keys = keys
        self.by_key: dict[str, list[str]] = {}
        self.arns: list[str] = []
        for key, text in values:
            self.by_key.setdefault(key, []).append(text)
            if text[:4] == "arn:":
                self.arns.append(text)

    def pairs(self, keys: Sequence[str]) -> _Pairs:
        """Returns the pairs of some keys, in the order of the request; deeper ones where its own
        members have none.
        """
        if len(keys) == 1:
            pairs = [(keys[0], text) for text in self.by_key.get(keys[0], ())]
        else:
            pairs = [pair for pair in self.values if pair[0] in keys]
        if len(pairs) < 2:
            return pairs
        own_keys = {key for key, _ in self.outer}
        return [pair for pair in pairs if pair[0] not in own_keys or pair in self.outer]

    def only(self, values: _Pairs) -> CallRequest:
        """Returns the request with some of its texts."""
        return CallRequest(self.noun, values, self.outer, self.keys)

    def without(self, keys: Collection[str]) -> CallRequest:
        """Returns the request without the texts under some keys, in lower case."""
        values = [pair for pair in self.values if pair[0] not in keys]
        outer = [pair for pair in self.outer if pair[0] not in keys]
        return CallRequest(self.noun, values, outer, self.keys)


_ZONES = "vPCZoneIdentifier"
"""Of Auto Scaling groups: ids of subnets in one text, with commas (API reference of
CreateAutoScalingGroup, read 2026-12-01)."""


def read_request(noun: str, parameters: Mapping[str, Any], reads: Reads = ANY) -> CallRequest:
    """Reads the texts of a request about `noun` in one walk."""
    zones = parameters.get(_ZONES)
    if type(zones) is str:
        parameters = {**parameters, "subnets": zones.replace(" ", "").split(",")}
    values: list[KeyedText] = []
    outer: list[KeyedText] = []
    keys = set()
    containers: list[_Container] = []
    for name, value in parameters.items():
        member = reads[name]
        kind = type(value)
        if member.is_read:
            keys.add(member.key)
        if kind is str:
            if value[:3] == "arn":
                value = _plain_arn(value)
            elif not member.is_read or not value or value in _HIDDEN:
                continue
            pair = (member.key, value)
            outer.append(pair)
            if not member.is_free:
                values.append(pair)
        elif kind is list:
            outer += _texts_of([(member.key, text) for text in value[:MOST_VALUES]])
            if not member.is_free:
                containers.append((member, value))
        elif kind is dict:
            if member.is_free:
                continue
            if member.wraps or member.key == noun:
                # What it holds is the request's own, but the names that the request itself has.
                inner_texts = [
                    (str(inner).lower(), text)
                    for inner, text in value.items()
                    if inner not in parameters
                ]
                outer += _texts_of(inner_texts)
            containers.append((member, value))
        elif member.is_number and kind is int:
            outer.append((member.key, str(value)))
            values.append((member.key, str(value)))
    if containers:
        _read_containers(containers, values, reads, keys)
    return CallRequest(noun, values, outer, keys)


def _texts_of(members: Sequence[tuple[str, Any]]) -> _Pairs:
    """Returns those of some pairs of key and value that are texts, without hidden ones."""
    return [pair for pair in members if type(pair[1]) is str and pair[1] and pair[1] not in _HIDDEN]


_Container = tuple[RequestMember, Any]
"""An object or a list of a request, with the member that holds it."""


def _read_containers(
    level: Sequence[_Container], values: list[KeyedText], reads: Reads, keys: set[str]
) -> None:
    """Appends the texts that are read in some objects and lists, level by level, and adds their
    keys.
    """
    while level and len(values) < MOST_VALUES:
        deeper: list[_Container] = []
        for holder, container in level[:MOST_VALUES]:
            for member, value in _members(holder, container, reads):
                kind = type(value)
                if member.is_read:
                    keys.add(member.key)
                if member.is_free:
                    # What people choose the keys of says nothing.
                    continue
                if kind is str:
                    if value[:3] == "arn":
                        values.append((member.key, _plain_arn(value)))
                    elif member.is_read and value and value not in _HIDDEN:
                        values.append((member.key, value))
                elif kind is dict or kind is list:
                    deeper.append((member, value))
                elif member.is_number and kind is int:
                    values.append((member.key, str(value)))
            if holder.key in _NAMED_BY_KEY and type(container) is dict:
                values += [(holder.key, str(name)) for name in container if name]
        level = deeper


def _members(holder: RequestMember, container: Any, reads: Reads) -> Iterable[_Container]:
    """The values in an object or list, each with its member: those in a list are of its holder."""
    if type(container) is list:
        return zip(repeat(holder), container)
    if "content" in container and container.keys() <= _NUMBERED:
        return ((holder, container["content"]),)
    return zip(map(reads.__getitem__, container), container.values(), strict=True)


def arns_in(answer: Mapping[str, object]) -> Iterator[str]:
    """Yields the ARNs of an answer, outermost first."""
    level: list[Any] = [answer.values()]
    count = 0
    while level and count < MOST_VALUES:
        deeper: list[Any] = []
        for container in level[:MOST_VALUES]:
            for value in container:
                if type(value) is str:
                    if value[:3] == "arn":
                        yield _plain_arn(value)
                elif type(value) is dict:
                    deeper.append(value.values())
                elif type(value) is list:
                    deeper.append(value)
            count += len(container)
        level = deeper


def request_values(parameters: object, skip: Collection[str] = ()) -> list[KeyedText]:
    """All (key, text) pairs of request parameters, keys in lower case, outermost first; nothing
    under `skip` keys.
    """
    pairs: list[KeyedText] = []
    level: list[KeyedValue] = [("", parameters)]
    while level and len(pairs) < MOST_VALUES:
        deeper: list[KeyedValue] = []
        for key, value in level[:MOST_VALUES]:
            if type(value) is dict and "content" in value:
                value = _content(value)
            if type(value) is str:
                if value and value not in _HIDDEN:
                    pairs.append((key, value if value[:3] != "arn" else _plain_arn(value)))
            elif type(value) is list or type(value) is tuple:
                deeper += [(key, element) for element in value]
            elif type(value) is dict or (type(value) not in _SIMPLE and isinstance(value, Mapping)):
                keyed_members = [
                    (key_of(name), member_value) for name, member_value in value.items()
                ]
                deeper += (
                    [pair for pair in keyed_members if pair[0] not in skip]
                    if skip
                    else keyed_members
                )
                if key in _NAMED_BY_KEY:
                    pairs += [(key, str(name)) for name in value if name]
        level = deeper
    return pairs


@lru_cache(maxsize=16_384)
def key_of(name: object) -> str:
    """Returns a key in lower case; the hyphens of a path's part (`application-id`) are no letters
    of it.
    """
    lower = str(name).lower()
    return lower.replace("-", "") if "-" in lower and not lower.startswith("x-amz") else lower


def _plain_arn(text: str) -> str:
    """An ARN as policies write it: decoded where a path held it, without a stream's place behind
    it.
    """
    if text.startswith(("arn%3A", "arn%3a")):
        text = unquote(text)
    # DynamoDB's shard iterator: the stream's ARN, `|`, a version, `|`, the place.
    return text.partition("|")[0] if ":dynamodb:" in text else text


def _content(value: Mapping[str, object]) -> object:
    """What EC2's `{"tag": 1, "content": "rtb-…"}`, a member of a numbered list, holds; else the
    value.
    """
    return value["content"] if value.keys() <= _NUMBERED else value


@lru_cache(maxsize=16_384)
def noun_of(event: str) -> str:
    """What an event is about, in lower case: `CreateFunction20150331` -> `function`."""
    return _VERB.sub("", DATE.sub("", event).removeprefix("Batch"), count=1).lower()


@lru_cache(maxsize=16_384)
def creates(event: str) -> bool:
    """Whether an event makes a resource whose id AWS chooses."""
    return _CREATES.match(event) is not None


@lru_cache(maxsize=16_384)
def may_create(event: str) -> bool:
    """Whether an event may make a resource whose id AWS chooses: an association too."""
    return creates(event) or _LINKS.match(event) is not None


def new_ids(call: Call) -> tuple[str, ...]:
    """The ids that AWS gave to what a call made, as its answer names them; none of a call that
    makes nothing.

    What the request has too, the caller chose. A bare `id` or `arn` is that of the new resource
    only where the answer is about it, not deeper (an origin of a distribution) or in tags. The id
    of a certificate is at the end of its ARN, that of a zone of Route 53 behind `/hostedzone/`.
    """
    if not call.response or not creates(call.name):
        return ()
    id_keys = _id_keys(call.name)
    noun = noun_of(call.name).partition("with")[0]
    described = _described(call.response, id_keys)
    answer = read_request(noun, described, _reads_of_ids(call.name))
    id_values = [value for key, value in answer.values if key in id_keys and key not in _BARE_KEYS]
    id_values += [value for key, value in answer.outer if key in _BARE_KEYS]
    requested_values = (
        {value.lower() for _, value in request_values(call.parameters)} if id_values else set()
    )
    ids = [
        re.split("[:/]", value)[-1] if value.startswith(("/", "arn:")) else value
        for value in id_values
    ]
    return tuple([each for each in ids if each.lower() not in requested_values])


@lru_cache(maxsize=1_024)
def _reads_of_ids(event: str) -> Reads:
    return Reads(_id_keys(event))


_BARE_KEYS = frozenset({"id", "arn"})


def _described(answer: Mapping[str, object], id_keys: frozenset[str]) -> Mapping[str, object]:
    """What an answer says of the new resource: its only object, whatever that is called
    (`createCollectionDetail` of CreateCollection), unless it has the id next to it.
    """
    keys = {name: key_of(name) for name in answer}
    if not id_keys.isdisjoint(keys.values()):
        return answer
    objects = [
        member
        for name, member in answer.items()
        if isinstance(member, Mapping) and (len(answer) == 1 or keys[name] not in FREE_MAPS)
    ]
    return objects[0] if len(objects) == 1 else answer


@lru_cache(maxsize=16_384)
def _id_keys(event: str) -> frozenset[str]:
    """The keys, in lower case, under which an answer may hold the id of what an event makes.

    `groupId` is the end of CreateSecurityGroup's noun with `Id`; CreateDhcpOptions answers with
    `dhcpOptionsId`, RequestCertificate with `certificateArn`.
    """
    noun, plain = noun_of(event).partition("with")[0], DATE.sub("", event)
    # Where the key of the answer with the new id is not the noun and `Id`, the table has it.
    table_keys = (
        row["id"].lower()
        for row in table("made_types")
        if row["id"] and row["operation"].endswith(f":{plain}")
    )
    id_key = next(table_keys, f"{noun.removesuffix('s')}id")
    ends = (id_key[index:] for index in range(len(id_key) - len("id") - 2))
    return frozenset({id_key, f"{noun}id", f"{noun}arn", *_BARE_KEYS, *ends})


def hides_passed_role(call: Call) -> bool:
    """Whether a call did what it should, and its record hides the text under a key of a role."""
    if call.outcome is not Outcome.ALLOWED or call.error_code:
        return False
    waiting: list[KeyedValue] = [*call.parameters.items()]
    for key, value in islice(waiting, MOST_VALUES):
        kind = type(value)
        if kind is str:
            if value in _HIDDEN and "role" in key.lower():
                return True
        elif kind is dict:
            waiting += value.items()
        elif kind is list:
            waiting += zip(repeat(key), value)
    return False


_SWITCH = "enabled"
"""Member that turns the parameter around it on or off."""
_DEEPEST_SWITCH = 6


class Presence(Struct, frozen=True, gc=False):
    """Which parameters a request has, as the fact tables ask for them."""

    call: Call
    request: CallRequest
    """The call's request, read with all keys that are asked for."""

    @property
    def carried_out(self) -> bool:
        """Whether the call did what it should."""
        return self.call.outcome is Outcome.ALLOWED and not self.call.error_code

    @property
    def whole(self) -> bool:
        """Whether it did, and the record holds all of its request, so that a key that is absent was
        not sent.
        """
        return self.carried_out and not self.call.parameters_omitted

    def has(self, parameter: str) -> bool:
        """Whether the request has a parameter as a table writes it.

        `key`: it is there, be it empty, and does not turn itself off. `key=text`, `key!=text`: it
        is there with this text, or with another. `key?member`: the query of one of its texts has
        the member. `key~text`: one of its texts contains this. `!key`: it was not sent. Nothing:
        any request has it.
        """
        if not parameter:
            return True
        sign, key, text = _asked(parameter)
        if sign == "!":
            return self.whole and key not in self.request.keys
        if key not in self.request.keys:
            return False
        if not sign:
            return not self._is_turned_off(key)
        for shown_text in self._texts(key):
            if _agrees(sign, text, shown_text):
                return True
        return False

    def is_filled(self, parameter: str) -> bool:
        """Whether the request has a parameter that is not empty."""
        key = key_of(parameter)
        if key not in self.request.keys:
            return False
        # Zero and false are values.
        return any(value or value not in _EMPTY for value in self._values(key))

    def _is_turned_off(self, key: str) -> bool:
        """Whether all that the request has under a key is off: `[{"enabled": false}]`."""
        if key in self.request.by_key:
            # It holds texts, and then nothing else.
            return False
        switches = [switch for value in self._values(key) for switch in _switches(value)]
        return bool(switches) and not any(switches)

    def _values(self, key: str) -> Iterator[object]:
        """The values under a key, at any level; those below maps whose keys people choose do not
        count.
        """
        level: list[object] = [self.call.parameters]
        count = 0
        while level and count < MOST_VALUES:
            deeper: list[object] = []
            for value in level[:MOST_VALUES]:
                if isinstance(value, Mapping):
                    count += len(value)
                    for name, member in value.items():
                        member_key = key_of(name)
                        if member_key == key:
                            yield member
                        if type(member) is dict or type(member) is list:
                            deeper += [member] if member_key not in FREE_MAPS else ()
                elif isinstance(value, list):
                    deeper += [
                        element
                        for element in value
                        if type(element) is dict or type(element) is list
                    ]
            level = deeper

    def _texts(self, key: str) -> Iterator[str]:
        """The texts, numbers and truth values under a key, in lower case."""
        if key in self.request.by_key:
            yield from map(str.lower, self.request.by_key[key])
            return
        for value in self._values(key):
            for element in value if isinstance(value, list) else [value]:
                if isinstance(element, str | bool | int):
                    yield str(element).lower()


def _switches(value: object) -> Iterator[bool]:
    """Yields the values of all members `enabled` of a value, at any level."""
    level = [value]
    for _ in range(_DEEPEST_SWITCH):
        deeper: list[object] = []
        for element in level:
            if isinstance(element, list):
                deeper += element
            elif isinstance(element, Mapping):
                for name, member in element.items():
                    if key_of(name) == _SWITCH and isinstance(member, bool | str):
                        yield str(member).lower() == "true"
                    else:
                        deeper.append(member)
        level = deeper[:MOST_VALUES]


def _agrees(sign: str, text: str, shown_text: str) -> bool:
    if sign == "?":
        return text in {
            member.partition("=")[0] for member in shown_text.partition("?")[2].split("&")
        }
    return text in shown_text if sign == "~" else (shown_text == text) == (sign == "=")


def key_in(parameter: str) -> str:
    """Returns the key of a parameter as a table writes it, as `key_of` has keys."""
    return _asked(parameter)[1]


_EMPTY: tuple[object, ...] = (None, "", [], {})


@lru_cache(maxsize=4_096)
def _asked(parameter: str) -> tuple[str, str, str]:
    """(`!`, `!=`, `=`, `?`, `~` or nothing, key, text) of a parameter as a table writes it, in
    lower case.
    """
    name = parameter.lower()
    if name.startswith("!"):
        return "!", key_of(name[1:]), ""
    sign = next((sign for sign in ("!=", "=", "?", "~") if sign in name), "")
    key, _, text = name.partition(sign) if sign else (name, "", "")
    return sign, key_of(key), text
