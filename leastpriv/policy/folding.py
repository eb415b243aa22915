"""Lists of actions shortened by wildcards that grant, of today's catalogue, exactly the same actions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

_WORTH_A_WILDCARD = 3
"""Fewer actions are as short by themselves."""


def folded(
    actions: Collection[str], others: Collection[str], may_write: Callable[[str], bool], *, inner: bool = True
) -> tuple[str, ...]:
    """Entries, sorted, that stand for `actions` and for none of `others`.

    A wildcard is over whole words of names, at their beginning (`lambda:List*`) or with `inner` anywhere
    (`lambda:*Layer*`), stands for three actions or more, and is written only where `may_write` says so.
    """
    folds, rest, entries = _folds(actions, others, inner), set(actions), list[str]()
    while rest:
        pattern = max(folds, key=lambda fold: (len(folds[fold] & rest), len(fold), fold), default="")
        if not pattern or len(folds[pattern] & rest) < _WORTH_A_WILDCARD:
            break
        stands_for = folds.pop(pattern)
        if may_write(pattern):
            entries.append(pattern)
            rest -= stands_for
    return tuple(sorted({*entries, *rest}))


@dataclass(frozen=True, slots=True)
class _Fold:
    """A wildcard over whole words of action names: `lambda:List*`, `lambda:*Layer*`."""

    prefix: str
    text: str
    anchored: bool
    """The names begin with the text."""

    @property
    def pattern(self) -> str:
        return f"{self.prefix}:{'' if self.anchored else '*'}{self.text}*"

    def among(self, names: Mapping[str, str]) -> set[str]:
        """Those of a service's actions, by lower-case name, that the wildcard grants."""
        text = self.text.lower()
        if self.anchored:
            return {action for name, action in names.items() if name.startswith(text)}
        return {action for name, action in names.items() if text in name}


def _folds(actions: Collection[str], others: Collection[str], inner: bool) -> dict[str, set[str]]:
    """Wildcards that grant several of the actions and none of the others, with what they grant of the former."""
    own, foreign = _by_service(actions), _by_service(others)
    counts = Counter(fold for action in actions for fold in set(_word_folds(action)))
    return {
        fold.pattern: fold.among(own[fold.prefix])
        for fold, count in counts.items()
        if count >= _WORTH_A_WILDCARD and (inner or fold.anchored) and not fold.among(foreign.get(fold.prefix, {}))
    }


def _by_service(actions: Collection[str]) -> dict[str, dict[str, str]]:
    """Prefix -> lower-case name -> action."""
    found: dict[str, dict[str, str]] = {}
    for action in actions:
        prefix, _, name = action.partition(":")
        found.setdefault(prefix.lower(), {})[name.lower()] = action
    return found


def _word_folds(action: str) -> Iterator[_Fold]:
    """All runs of words of a name: `ListLayerVersions` gives `List*`, `*Layer*`, `*LayerVersions*` …."""
    prefix, _, name = action.partition(":")
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+", name)
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            yield _Fold(prefix.lower(), "".join(words[start:end]), anchored=start == 0)
