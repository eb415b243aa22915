"""Which parameters a request has, as the fact tables ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import cached_property, lru_cache

from leastpriv.model import Call, Outcome
from leastpriv.permissions.request import FREE_MAPS

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
