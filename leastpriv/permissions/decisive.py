"""The part of a request that some rules look at: what is left of it decides what they find, the rest may be anything.

Most of a request decides nothing of what its call needs: tokens, times, sizes, descriptions. What is kept stands where
it stood, so that the rules read it as they would read the whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from leastpriv.permissions.request import FREE_MAPS, MOST_VALUES, NAMED_BY_KEY, is_numbered

_TEXT, _PRESENCE, _FREE, _UNTOLD = 1, 2, 4, 8
"""What counts of a member: its text; that it is there; nothing below it but for itself; nobody can say."""
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
                if kind & _TEXT or (value.startswith("arn:") and not kind & _FREE and self._is_sought(value)):
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
            elif kind & _TEXT or (type(item) is str and item.startswith("arn:") and self._is_sought(item)):
                kept.append(item)
            elif item and type(item) is str:
                left.texts = True
        return kept

    def _is_sought(self, arn: str) -> bool:
        return not self._services.isdisjoint(("*", arn[4:].partition(":")[2].partition(":")[0]))

    def _kind(self, name: str) -> int:
        key = name.lower()
        kind = _FREE if key in FREE_MAPS else _UNTOLD if key in NAMED_BY_KEY else 0
        if key in self._texts or (key.endswith("s") and key[:-1] in self._texts):
            kind |= _TEXT
        if key in self._presence:
            kind |= _PRESENCE
        if len(self._kinds) < _MOST_KEYS:
            self._kinds[name] = kind
        return kind


class _Left:
    """What was met and left out of one request."""

    __slots__ = ("members", "texts")

    def __init__(self) -> None:
        self.members, self.texts = 0, False
