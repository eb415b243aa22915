"""What the parameters of a request say: its texts by key, which of them stand outermost, the account they name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

_MOST_VALUES = 2_000
"""A request may hold any number of values; the first ones name its resources."""
FREE_MAPS = frozenset(
    {
        "tags", "tagset", "tagging", "variables", "environment", "parameters", "arguments", "defaultarguments",
        "hyperparameters", "input", "metadata", "options",
    }
)  # fmt: skip
"""Maps whose keys or values people choose: what stands there names no resource and hands no role to anybody."""
_WRAPPER = re.compile(r"(request|input)$")
"""A key whose object is the request itself: `CreateVpcEndpointRequest`, Glue's `databaseInput`."""
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


def texts_of(event: str, parameters: object) -> RequestTexts:
    """The texts of a request of the event named."""
    return RequestTexts(
        values=tuple(request_values(parameters, skip=FREE_MAPS)),
        outer=tuple(_outer(parameters)),
        members=frozenset(str(key).lower() for key in parameters) if isinstance(parameters, Mapping) else frozenset(),
        noun=noun_of(event),
    )


def request_values(parameters: object, skip: Collection[str] = ()) -> list[tuple[str, str]]:
    """All (key, text) pairs of request parameters, keys in lower case, outermost first; nothing under `skip` keys."""
    pairs: list[tuple[str, str]] = []
    level: list[tuple[str, object]] = [("", parameters)]
    while level and len(pairs) < _MOST_VALUES:
        deeper: list[tuple[str, object]] = []
        for key, value in level[:_MOST_VALUES]:
            if isinstance(value, Mapping):
                named = [(str(name).lower(), item) for name, item in value.items()]
                deeper.extend([pair for pair in named if pair[0] not in skip] if skip else named)
            elif isinstance(value, list | tuple):
                deeper.extend((key, item) for item in value)
            elif isinstance(value, str) and value:
                pairs.append((key, value))
        level = deeper
    return pairs


def _outer(parameters: object) -> Iterator[tuple[str, str]]:
    """Texts of the outermost members, or of those of a member that wraps the whole request."""
    for name, value in parameters.items() if isinstance(parameters, Mapping) else ():
        key = str(name).lower()
        if isinstance(value, Mapping) and _WRAPPER.search(key) and key not in FREE_MAPS:
            yield from ((str(inner).lower(), text) for inner, text in value.items() if isinstance(text, str) and text)
        entries = value[:_MOST_VALUES] if isinstance(value, list) else [value]
        yield from ((key, text) for text in entries if isinstance(text, str) and text)


@lru_cache(maxsize=16_384)
def noun_of(event: str) -> str:
    """What an event is about, in lower case: `CreateFunction20150331` -> `function`."""
    return _VERB.sub("", _DATE.sub("", event), count=1).lower()


def creates(event: str) -> bool:
    """Whether an event makes a thing whose id AWS chooses."""
    return _CREATES.match(event) is not None


def owner(values: Sequence[tuple[str, str]]) -> str:
    """The account that the request names as the resource's owner; empty where it names none.

    `queueUrl` ends in account and name (SQS API reference); `registryId` and `catalogId` are accounts (ECR, Glue).
    """
    for key, value in values:
        match = re.search(r"/(\d{12})/[^/]+$", value) if key == "queueurl" else None
        if match or (key in ("registryid", "catalogid") and re.fullmatch(r"\d{12}", value)):
            return match[1] if match else value
    return ""
