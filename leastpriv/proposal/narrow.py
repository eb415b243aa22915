"""Removals: which entries of the committed policy go, which become narrower, and which a guard keeps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from leastpriv.diff.compare import Difference, Entry
from leastpriv.model import ChangeKind, Outcome
from leastpriv.permissions.patterns import action_covers
from leastpriv.policy.document import Document
from leastpriv.proposal.guards import objection_to
from leastpriv.proposal.situation import Candidate, Change, HeldBack, Objection, Situation

_LONG_LIST = 12
"""From here on a list of kept actions is folded into wildcards that grant exactly the same actions."""
_WORTH_A_WILDCARD = 3


def removals(difference: Difference, situation: Situation) -> tuple[list[Change], list[HeldBack]]:
    """Judges each entry of the committed policy."""
    changes: list[Change] = []
    held_back: list[HeldBack] = []
    for entry in difference.entries:
        decision = _judge_wildcard(entry, situation) if entry.is_wildcard else _judge_literal(entry, situation)
        if isinstance(decision, Change):
            changes.append(decision)
        elif decision:
            held_back.append(decision)
    return changes, held_back


def not_judged(document: Document) -> Iterator[HeldBack]:
    """Allow statements whose form is not narrowed: `NotAction` grants whatever AWS adds later."""
    for statement in document.statements:
        if statement.effect == "Allow" and statement.not_actions:
            entry = f"NotAction: {', '.join(statement.not_actions)}"
            reason = "NotAction grants every other action; write the statement with Action to have it narrowed"
            yield HeldBack(
                ChangeKind.NARROW, entry, statement.resources, Objection("not-action", reason), statement.sid
            )


def _judge_literal(entry: Entry, situation: Situation) -> Change | HeldBack | None:
    action = entry.granted[0]
    if action in entry.uses and _is_used(entry, action):
        return None
    objection = objection_to(Candidate(action, entry), situation)
    if objection:
        return _held(entry, ChangeKind.REMOVE, objection)
    return _change(entry, ChangeKind.REMOVE)


def _judge_wildcard(entry: Entry, situation: Situation) -> Change | HeldBack | None:
    used = tuple(action for action in entry.granted if _is_used(entry, action))
    unused = [action for action in entry.granted if action not in used]
    stays = {action: found for action in unused if (found := objection_to(Candidate(action, entry), situation))}
    unverified = {action: _UNVERIFIED for action in entry.uses if action not in entry.granted}
    unseen = next((found for found in stays.values() if found.guard == "unseen-service"), None)
    if unseen and _spans_services(entry.pattern):
        return _held(entry, ChangeKind.NARROW, _ALL_SERVICES)
    if len(stays) == len(unused):
        return _held(entry, ChangeKind.NARROW, _commonest(stays)) if stays else None
    stays = {**stays, **unverified}
    if not used and not stays:
        return _change(entry, ChangeKind.REMOVE)
    return _change(entry, ChangeKind.NARROW, used=used, stays=stays)


_ALL_SERVICES = Objection(
    "unseen-service",
    "it also grants services without any call in the window; set `unseen-services: drop` to narrow it to those in use",
)
_UNVERIFIED = Objection("unknown-action", "it was called, and the catalogue does not know it yet")


def _spans_services(pattern: str) -> bool:
    return any(wildcard in pattern.partition(":")[0] for wildcard in "*?")


def _is_used(entry: Entry, action: str) -> bool:
    return any(usage.outcome is Outcome.ALLOWED for usage in entry.uses.get(action, ()))


def _commonest(stays: Mapping[str, Objection]) -> Objection:
    counts = Counter(stays.values())
    return counts.most_common(1)[0][0]


def _held(entry: Entry, kind: ChangeKind, objection: Objection) -> HeldBack:
    return HeldBack(kind, entry.pattern, entry.resources, objection, entry.statement.sid)


def _change(
    entry: Entry, kind: ChangeKind, used: tuple[str, ...] = (), stays: Mapping[str, Objection] | None = None
) -> Change:
    usages = tuple(usage for action in used for usage in entry.uses[action] if usage.outcome is Outcome.ALLOWED)
    return Change(
        kind=kind,
        action=entry.pattern,
        resources=entry.resources,
        statement=entry.statement.index,
        sid=entry.statement.sid,
        line=entry.statement.line,
        granted=len(entry.granted),
        gone=tuple(action for action in entry.granted if action not in {*used, *(stays or ())}),
        used=used,
        becomes=entries_for(used, tuple(stays or ()), entry),
        stays=stays,
        usages=usages,
    )


def entries_for(used: Sequence[str], stays: Sequence[str], entry: Entry) -> tuple[str, ...]:
    """Action entries in the place of `entry` that grant exactly `used` and `stays`.

    Used actions are always spelled out. A long list of kept ones is folded into wildcards (`lambda:*Layer*`) wherever
    one grants nothing that goes, and nothing that the entry itself did not grant.
    """
    if len(stays) <= _LONG_LIST:
        return tuple(sorted({*used, *stays}))
    gone = {action for action in entry.granted if action not in {*used, *stays}}
    folds = _folds(stays, gone, entry.pattern)
    rest, entries = set(stays), list[str]()
    while rest:
        pattern = max(folds, key=lambda fold: (len(folds[fold] & rest), len(fold), fold), default="")
        if not pattern or len(folds[pattern] & rest) < _WORTH_A_WILDCARD:
            break
        entries.append(pattern)
        rest -= folds.pop(pattern)
    return tuple(sorted({*used, *entries, *rest}))


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

    def grants(self, action: str) -> bool:
        prefix, _, name = action.lower().partition(":")
        text = self.text.lower()
        return prefix == self.prefix and (name.startswith(text) if self.anchored else text in name)


def _folds(stays: Sequence[str], gone: set[str], committed: str) -> dict[str, set[str]]:
    """Wildcards that grant several of the kept actions and nothing that goes, with what they grant of the kept."""
    counts = Counter(fold for action in stays for fold in set(_word_folds(action)))
    return {
        fold.pattern: {action for action in stays if fold.grants(action)}
        for fold, count in counts.items()
        if count >= _WORTH_A_WILDCARD
        and action_covers(committed, fold.pattern)
        and not any(fold.grants(action) for action in gone)
    }


def _word_folds(action: str) -> Iterator[_Fold]:
    """All runs of words of a name: `ListLayerVersions` gives `List*`, `*Layer*`, `*LayerVersions*` …."""
    prefix, _, name = action.partition(":")
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+", name)
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            yield _Fold(prefix, "".join(words[start:end]), anchored=start == 0)
