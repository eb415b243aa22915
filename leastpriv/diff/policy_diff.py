"""Two versions of a policy: what one grants or denies and the other does not, whatever the form of either.

Where two versions say the same with other statements, orders, spellings or wildcards, there is no edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from leastpriv.diff.statement_coverage import (
    Clause,
    Names,
    Place,
    clauses,
    covers_names,
    covers_place,
    is_met_by,
    is_pattern,
    named,
    named_at,
    shared_places,
    written,
)
from leastpriv.models import Condition
from leastpriv.policy.document import Document, Statement


@dataclass(frozen=True, slots=True)
class Edit:
    """One entry of one version's statement, as far as the other version does not have it."""

    statement: Statement
    entry: str
    """As written; `NotAction: …` for all of these."""
    granted: int
    """Number of catalogue actions that the entry names on its statement's resources."""
    only: tuple[str, ...]
    """Actions that the other version does not have there."""
    partly: tuple[str, ...]
    """Actions that it has on fewer resources."""
    on: tuple[str, ...]
    """Resources on which they differ."""
    elsewhere: tuple[str, ...]
    """Where the other version has `partly`."""
    whole: bool
    """The other version has nothing of the entry."""

    @property
    def actions(self) -> tuple[str, ...]:
        """All actions that differ; none where only what AWS will add differs, as between a wildcard and its list."""
        return tuple(sorted({*self.only, *self.partly}))


@dataclass(frozen=True, slots=True)
class ConditionEdit:
    """Actions that both versions name on the same resources, under other conditions."""

    effect: str
    before: tuple[Condition, ...]
    after: tuple[Condition, ...]
    actions: tuple[str, ...]
    on: tuple[str, ...]
    stricter: bool
    """Some request met the conditions before and does not after, as far as their text shows."""
    looser: bool
    """The reverse; both may be true."""

    @property
    def widens(self) -> bool:
        """Whether more may be allowed after: an Allow under fewer conditions, a Deny under more."""
        return self.looser if self.effect == "Allow" else self.stricter


@dataclass(frozen=True, slots=True)
class Edits:
    """All differences; empty where both versions say the same."""

    removed: tuple[Edit, ...]
    """Grants of the version before."""
    added: tuple[Edit, ...]
    """Grants of the version after."""
    denies_removed: tuple[Edit, ...]
    denies_added: tuple[Edit, ...]
    conditions: tuple[ConditionEdit, ...]


@dataclass(slots=True)
class _Conditioned:
    """What two sets of conditions are about."""

    actions: set[str] = field(default_factory=set)
    on: dict[str, None] = field(default_factory=dict)
    stricter: bool = False
    looser: bool = False


_Key = tuple[str, frozenset[Condition], frozenset[Condition]]
"""Effect, conditions before and after."""


def edits(before: Document | None, after: Document | None, attached: Sequence[Document] = ()) -> Edits:
    """Compares two versions of a policy (None: there is no file).

    What another attached policy grants or denies as well is no edit.
    """
    found: dict[str, list[Edit]] = {}
    conditioned: dict[_Key, _Conditioned] = {}
    for effect in ("Allow", "Deny"):
        for one, other, is_before in ((before, after, True), (after, before, False)):
            side = _Side(clauses([other, *attached], effect), is_before, conditioned)
            own = clauses([one], effect)
            found[f"{effect} {is_before}"] = [
                edit for clause in own for names in clause.names if (edit := side.edit(clause, names))
            ]
    return Edits(
        removed=tuple(found["Allow True"]),
        added=tuple(found["Allow False"]),
        denies_removed=tuple(found["Deny True"]),
        denies_added=tuple(found["Deny False"]),
        conditions=tuple(_condition_edits(conditioned)),
    )


class _Side:
    """Looks for the entries of one version in the other one."""

    def __init__(self, others: Sequence[Clause], is_before: bool, conditioned: dict[_Key, _Conditioned]) -> None:
        self._others = others
        self._is_before = is_before
        self._conditioned = conditioned

    def edit(self, clause: Clause, names: Names) -> Edit | None:
        """What the other version lacks of one entry; what it has under other conditions is noted apart."""
        only: set[str] = set()
        partly: set[str] = set()
        elsewhere: dict[str, None] = {}
        lacking = {place: rest for place in clause.places if (rest := self._rest(clause, names, place)) is not None}
        for place, rest in lacking.items():
            left: set[str] = set()
            for entries, actions in self._shared(clause, place, rest):
                elsewhere.update(dict.fromkeys(entries))
                left |= actions
            only |= rest - left
            partly |= left
        if not lacking:
            return None
        only -= partly
        granted = len(frozenset[str]().union(*(named_at(clause, names, place) for place in clause.places)))
        spelled = _spelling(names)
        return Edit(
            statement=clause.statement,
            entry=names if isinstance(names, str) else f"NotAction: {', '.join(names)}",
            granted=granted,
            only=tuple(sorted(spelled.get(action, action) for action in only)),
            partly=tuple(sorted(spelled.get(action, action) for action in partly)),
            on=tuple(dict.fromkeys(entry for place in lacking for entry in written(place))),
            elsewhere=tuple(elsewhere),
            whole=not partly and len(only) == granted and len(lacking) == len(clause.places),
        )

    def _rest(self, clause: Clause, names: Names, place: Place) -> set[str] | None:
        """Actions of an entry that nothing covers at a place; None where there is no difference."""
        there = [other for other in self._others if covers_place(other, place, clause.statement.variables)]
        same = [other for other in there if is_met_by(other.conditions, clause.conditions)]
        if any(covers_names(other, names) for other in same):
            return None
        here = named_at(clause, names, place)
        rest = set(here).difference(*(other.named for other in same))
        for other in there:
            shared = rest & other.named if other not in same else None
            if shared:
                self._note(clause, other, shared, place)
                rest -= shared
        # A wildcard is more than its list: it also names what AWS will add.
        more = is_pattern(names) and bool(here or not named(names)) and not any(covers_names(o, names) for o in there)
        return rest if rest or more else None

    def _shared(self, clause: Clause, place: Place, rest: set[str]) -> Iterator[tuple[tuple[str, ...], set[str]]]:
        """Resources at the place that the other version has for some of the actions, and these."""
        for other in self._others:
            actions = rest & other.named
            entries = shared_places(other, place, clause.statement.variables) if actions else ()
            if entries:
                yield entries, actions

    def _note(self, clause: Clause, other: Clause, actions: set[str], place: Place) -> None:
        before, after = (clause, other) if self._is_before else (other, clause)
        key = (clause.statement.effect, before.conditions, after.conditions)
        note = self._conditioned.setdefault(key, _Conditioned())
        note.actions |= actions
        note.on.update(dict.fromkeys(written(place)))
        note.stricter = note.stricter or self._is_before
        note.looser = note.looser or not self._is_before


def _spelling(names: Names) -> Mapping[str, str]:
    """How the file spells a literal that the catalogue lacks."""
    return {} if is_pattern(names) else {action: str(names) for action in named(names) if action == str(names).lower()}


def _condition_edits(conditioned: Mapping[_Key, _Conditioned]) -> list[ConditionEdit]:
    return [
        ConditionEdit(
            effect=effect,
            before=tuple(sorted(before)),
            after=tuple(sorted(after)),
            actions=tuple(sorted(note.actions)),
            on=tuple(note.on),
            stricter=note.stricter,
            looser=note.looser,
        )
        for (effect, before, after), note in conditioned.items()
    ]
