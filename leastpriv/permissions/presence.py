"""Which parameters a request has, as the fact tables ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leastpriv.model import Call, Outcome
from leastpriv.permissions.request import FREE_MAPS

_MOST_VALUES = 2_000
"""A request may hold any number of values; the first ones say what it asks for."""
_EMPTY: tuple[object, ...] = (None, "", [], {})


@dataclass(frozen=True, slots=True)
class Presence:
    """The parameters of one request, keys and texts in lower case."""

    texts: Mapping[str, frozenset[str]]
    """Key at any level -> its texts, numbers and truth values; empty where it holds an object."""
    filled: frozenset[str]
    """Keys with something in them."""
    carried_out: bool
    """The call did what it should."""
    whole: bool
    """It did, and the record holds all of its request, so that a key that is absent was not sent."""

    def has(self, parameter: str) -> bool:
        """Tell whether the request has a parameter as a table writes it.

        `key`: it is there, be it empty. `key=text`, `key!=text`: it is there with this text, or with another.
        `key?member`: the query of one of its texts has the member. `!key`: it was not sent.
        """
        name = parameter.lower()
        if name.startswith("!"):
            return self.whole and name[1:] not in self.texts
        key, differs, text = name.partition("!=")
        if differs:
            return bool(self.texts.get(key, frozenset()) - {text})
        key, equals, text = name.partition("=")
        if equals:
            return text in self.texts.get(key, ())
        key, queried, member = name.partition("?")
        return any(member in _members(each) for each in self.texts.get(key, ())) if queried else key in self.texts


def presence_of(call: Call) -> Presence:
    """Look through the request of a call; what stands in maps whose keys people choose does not count."""
    texts: dict[str, set[str]] = {}
    filled: set[str] = set()
    level: list[tuple[str, object]] = [("", dict(call.parameters))]
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
    carried_out = call.outcome is Outcome.ALLOWED and not call.error_code
    return Presence(
        texts={key: frozenset(found) for key, found in texts.items()},
        filled=frozenset(filled),
        carried_out=carried_out,
        whole=carried_out and not call.parameters_omitted,
    )


def _members(text: str) -> set[str]:
    return {member.partition("=")[0] for member in text.partition("?")[2].split("&")}
