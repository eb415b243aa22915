"""What the parameters of a request say: its texts by key, which of them stand outermost, the account they name.

Which parameters a request has, as the fact tables ask for them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from urllib.parse import unquote

from leastpriv.models import Call, Outcome
from tests.fakes.tables import table

MOST_VALUES = 2_000
"""A request may hold any number of values; the first ones name its resources."""
FREE_MAPS = frozenset(
    {
        "tags", "tagset", "tagging", "variables", "environment", "parameters", "arguments", "defaultarguments",
        "hyperparameters", "input", "metadata", "options", "aliastarget",
    }
)  # fmt: skip
"""Maps whose keys or values people choose: what stands there names no resource and hands no role to anybody."""
NAMED_BY_KEY = frozenset({"requestitems"})
"""Maps whose keys name resources: DynamoDB's BatchGetItem and BatchWriteItem
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html, read 2026-11-24).
"""
_WRAPPER = re.compile(r"(request|input)$|^target$")
"""A key whose object is the request itself: `CreateVpcEndpointRequest`, Glue's `databaseInput`; or the one it is about:
`target` of Organizations' invitations."""
_NUMBERED = frozenset({"tag", "content"})
_VERB = re.compile(r"[A-Z][a-z]+")
_CREATES = re.compile(r"(Create|Run|Allocate|Request|Import|Register|Start|Copy|Restore|Clone|Purchase|Publish)[A-Z]")
_DATE = re.compile(r"20\d{2}_?\d{2}_?\d{2}(v\d+)?$")


@dataclass(frozen=True, slots=True)
class RequestTexts:
    """The texts of one request, as far as they may name a resource."""

    values: tuple[tuple[str, str], ...]
    """(key in lower case, text), outermost first; nothing of `FREE_MAPS`."""
    outer: tuple[tuple[str, str], ...]
    """Those of the request's own members: deeper ones may be about something else."""
    members: frozenset[str]
    """Keys of the request's own members, in lower case, whatever they hold."""
    noun: str
    """What the event is about: `CreateTrail` -> `trail`."""
    holds_arns: bool
    """Whether one of `values` may be an ARN."""
    keys: frozenset[str]
    """All keys of `values` and `outer`, and what is left of each without an `s` at its end; perhaps more."""


def texts_of(event: str, parameters: object) -> RequestTexts:
    """The texts of a request of the event named."""
    values, noun = tuple(request_values(parameters, skip=FREE_MAPS)), noun_of(event)
    outer = tuple(_outer(parameters, noun))
    keys = {key for key, _ in values}.union(key for key, _ in outer)
    return RequestTexts(
        values=values,
        outer=outer,
        members=frozenset(_keys(parameters)),
        noun=noun,
        holds_arns=any(value.startswith("arn:") for _, value in values),
        keys=frozenset(keys.union(key[:-1] for key in keys if key.endswith("s"))),
    )


def _keys(parameters: object) -> Iterator[str]:
    """Keys of all members, without those below `FREE_MAPS`."""
    level = [("", parameters)]
    while level:
        deeper = []
        for key, value in level:
            if isinstance(value, Mapping) and key not in FREE_MAPS:
                yield from (key_of(name) for name in value)
                deeper += [(key_of(name), item) for name, item in value.items()]
            elif isinstance(value, list):
                deeper += [(key, item) for item in value]
        level = deeper


def without(texts: RequestTexts, keys: Collection[str]) -> RequestTexts:
    """The texts without those under some keys, in lower case."""
    if not keys:
        return texts
    values = tuple(pair for pair in texts.values if pair[0] not in keys)
    return replace(texts, values=values, outer=tuple(pair for pair in texts.outer if pair[0] not in keys))


def request_values(parameters: object, skip: Collection[str] = ()) -> list[tuple[str, str]]:
    """All (key, text) pairs of request parameters, keys in lower case, outermost first; nothing under `skip` keys."""
    pairs: list[tuple[str, str]] = []
    level: list[tuple[str, object]] = [("", parameters)]
    while level and len(pairs) < MOST_VALUES:
        deeper: list[tuple[str, object]] = []
        for key, found in level if len(level) <= MOST_VALUES else level[:MOST_VALUES]:
            # Most values are texts, and asking for an abstract class takes longer than all else of this loop.
            value = _content(found) if type(found) is dict and len(found) <= len(_NUMBERED) else found
            if type(value) is str:
                if value:
                    pairs.append((key, value if not value.startswith("arn") else _plain_arn(value)))
            elif type(value) is dict or isinstance(value, Mapping):
                named = [(key_of(name), item) for name, item in value.items()]
                deeper += [pair for pair in named if pair[0] not in skip] if skip else named
                if key in NAMED_BY_KEY:
                    pairs += [(key, str(name)) for name in value if name]
            elif isinstance(value, list | tuple):
                deeper += [(key, item) for item in value]
        level = deeper
    return pairs


@lru_cache(maxsize=16_384)
def key_of(name: object) -> str:
    """A key in lower case; the hyphens of a path's part (`application-id`) are no letters of it."""
    lower = str(name).lower()
    return lower.replace("-", "") if "-" in lower and not lower.startswith("x-amz") else lower


def _plain_arn(text: str) -> str:
    """An ARN as policies write it: decoded where a path held it, without a stream's place behind it."""
    if text.startswith(("arn%3A", "arn%3a")):
        text = unquote(text)
    # DynamoDB's shard iterator: the stream's ARN, `|`, a version, `|`, the place.
    return text.partition("|")[0] if ":dynamodb:" in text else text


def _content(value: Mapping[str, object]) -> object:
    """What EC2's `{"tag": 1, "content": "rtb-…"}`, a member of a numbered list, holds; else the value."""
    return value["content"] if is_numbered(value) else value


def is_numbered(value: Mapping[str, object]) -> bool:
    """Whether a mapping is a member of one of EC2's numbered lists."""
    return len(value) <= len(_NUMBERED) and "content" in value and value.keys() <= _NUMBERED


def _outer(parameters: object, noun: str) -> Iterator[tuple[str, str]]:
    """Texts of the outermost members, or of those of a member that wraps the whole request or what it is about."""
    for name, value in parameters.items() if type(parameters) is dict or isinstance(parameters, Mapping) else ():
        key = key_of(name)
        if type(value) is str:
            if value:
                yield key, _plain_arn(value) if value.startswith("arn") else value
            continue
        if isinstance(value, Mapping) and (_WRAPPER.search(key) or key == noun) and key not in FREE_MAPS:
            yield from ((str(inner).lower(), text) for inner, text in value.items() if isinstance(text, str) and text)
        entries = value[:MOST_VALUES] if isinstance(value, list) else [value]
        yield from ((key, text) for text in entries if isinstance(text, str) and text)


@lru_cache(maxsize=16_384)
def noun_of(event: str) -> str:
    """What an event is about, in lower case: `CreateFunction20150331` -> `function`."""
    return _VERB.sub("", _DATE.sub("", event).removeprefix("Batch"), count=1).lower()


def creates(event: str) -> bool:
    """Whether an event makes a thing whose id AWS chooses."""
    return _CREATES.match(event) is not None


def new_ids(event: str, answer: object) -> tuple[str, ...]:
    """The ids that AWS gave to what an event made, as its answer names them; none of an event that makes nothing.

    A bare `id` is that of the new thing only where the answer is about it: what lies deeper the caller may have
    chosen (an origin of a distribution), as tags and their like.
    """
    if not creates(event):
        return ()
    noun = noun_of(event).partition("with")[0]
    own = f"{noun.removesuffix('s')}id"
    named = (value for key, value in request_values(answer, skip=FREE_MAPS) if key == own)
    return (*named, *(value for key, value in _outer(answer, noun) if key == "id"))


def owner(prefix: str, values: Sequence[tuple[str, str]]) -> str:
    """The account that the request names as the resource's owner; empty where it names none (`owners.tsv`)."""
    owners = _owners(prefix)
    for key, value in values if owners else ():
        match = owners[key].fullmatch(value) if key in owners else None
        if match:
            return match[1]
    return ""


def owner_keys(prefix: str) -> frozenset[str]:
    """The keys that `owner` looks at."""
    return frozenset(_owners(prefix))


@cache
def _owners(prefix: str) -> Mapping[str, re.Pattern[str]]:
    rows = (row for row in table("owners") if row["prefix"] == prefix)
    return {row["parameter"].lower(): re.compile(row["text"]) for row in rows}


_MOST_VALUES = 2_000
"""A request may hold any number of values; the first ones say what it asks for."""
_EMPTY: tuple[object, ...] = (None, "", [], {})


class Presence:
    """The parameters of one request, keys and texts in lower case; looked through when first asked for."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.carried_out = call.outcome is Outcome.ALLOWED and not call.error_code
        """The call did what it should."""
        self.whole = self.carried_out and not call.parameters_omitted
        """It did, and the record holds all of its request, so that a key that is absent was not sent."""

    @cached_property
    def _found(self) -> tuple[Mapping[str, Set[str]], Set[str]]:
        return _look(self._call.parameters)

    @property
    def texts(self) -> Mapping[str, Set[str]]:
        """Key at any level -> its texts, numbers and truth values; empty where it holds an object."""
        return self._found[0]

    @property
    def filled(self) -> Set[str]:
        """Keys with something in them."""
        return self._found[1]

    def has(self, parameter: str) -> bool:
        """Tell whether the request has a parameter as a table writes it.

        `key`: it is there, be it empty. `key=text`, `key!=text`: it is there with this text, or with another.
        `key?member`: the query of one of its texts has the member. `key~text`: one of its texts contains this.
        `!key`: it was not sent. Nothing: any request has it.
        """
        if not parameter:
            return True
        asked, key, text = _asked(parameter)
        if asked == "!":
            return self.whole and key not in self.texts
        found = self.texts.get(key)
        if not asked or found is None:
            return found is not None
        if asked == "!=":
            return bool(found - {text})
        if asked == "=":
            return text in found
        return any(text in (each if asked == "~" else _members(each)) for each in found)


def key_in(parameter: str) -> str:
    """The key that `Presence.has` looks at for a parameter as a table writes it."""
    return _asked(parameter)[1]


@lru_cache(maxsize=4_096)
def _asked(parameter: str) -> tuple[str, str, str]:
    """(`!`, `!=`, `=`, `?`, `~` or nothing, key, text) of a parameter as a table writes it, in lower case."""
    name = parameter.lower()
    if name.startswith("!"):
        return "!", name[1:], ""
    sign = next((sign for sign in ("!=", "=", "?", "~") if sign in name), "")
    key, _, text = name.partition(sign) if sign else (name, "", "")
    return sign, key, text


def _look(parameters: Mapping[str, object]) -> tuple[Mapping[str, Set[str]], Set[str]]:
    """`texts` and `filled`; what stands in maps whose keys people choose does not count."""
    texts: dict[str, set[str]] = {}
    filled: set[str] = set()
    level: list[tuple[str, object]] = [("", dict(parameters))]
    while level and len(texts) < _MOST_VALUES:
        deeper: list[tuple[str, object]] = []
        for key, value in level[:_MOST_VALUES]:
            if isinstance(value, dict):
                for name, item in value.items() if key not in FREE_MAPS else ():
                    lower = str(name).lower()
                    texts.setdefault(lower, set())
                    if item or item not in _EMPTY:
                        filled.add(lower)
                    deeper.append((lower, item))
            elif isinstance(value, list):
                deeper.extend((key, item) for item in value)
            elif isinstance(value, str | bool | int):
                texts.setdefault(key, set()).add(str(value).lower())
        level = deeper
    return texts, filled


def _members(text: str) -> set[str]:
    return {member.partition("=")[0] for member in text.partition("?")[2].split("&")}
