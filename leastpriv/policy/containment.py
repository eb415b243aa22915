"""Is everything that some new documents allow allowed by the old ones? If not: what is not, with a request to show it.

Exact for the wildcards of Action, NotAction, Resource and NotResource over all texts, not only today's actions: a
request is sought that a new Allow statement is about and that no old Allow statement, or an old Deny, is about.
Sound for conditions and policy variables: where neither "contained" nor a request can be shown, the answer is that
one cannot tell, which counts as new access.

Statements taken apart into rules that containment can compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from leastpriv.models import Permission
from leastpriv.policy.condition_sets import (
    EVERYTHING,
    Proviso,
    Rule,
    both,
    cases,
    exclude,
    implies,
    listed_rule,
    rules_of,
)
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.glob_automaton import Effort, EffortError, Element, Universe
from leastpriv.policy.witness import Witness, actions_to_name, shown

_MOST_EFFORT = 2_000_000
"""Steps of about a microsecond after which the answer is "cannot tell"; real policies take some thousands."""
_IMPLIES = 8
"""Steps that comparing two provisos takes."""

CONDITIONS = "its conditions or policy variables are not provably narrower"
EFFORT = "its wildcards are too entangled to be compared"


@dataclass(frozen=True, slots=True)
class Excess:
    """A pair of entries of a new Allow statement that allows what the old documents do not, or may do so."""

    document: int
    """Number of its document among the new ones."""
    statement: Statement
    action: str
    """The entry as written; `*` for a NotAction."""
    resource: str
    """The entry as written; `*` for a NotResource."""
    witness: Witness | None
    """A request that the new documents allow and the old ones do not; None where one cannot tell."""
    reason: str = ""
    """Why one cannot tell."""


@dataclass(frozen=True, slots=True)
class Containment:
    """The answer; nothing in excess means that the old documents contain the new ones."""

    excesses: tuple[Excess, ...]

    @property
    def holds(self) -> bool:
        """Whether the new documents provably allow nothing that the old ones do not."""
        return not self.excesses

    @property
    def smallest(self) -> Excess | None:
        """The excess with the shortest witness; one without a witness only where none has one."""
        return min(self.excesses, key=_size, default=None)


def contained(
    old: Sequence[Document], new: Sequence[Document], listed: Iterable[Permission] = (), *, effort: int = _MOST_EFFORT
) -> Containment:
    """Compare what `new` allows with what `old` and the `listed` grants, under their conditions, allow."""
    grants = [listed_rule(permission) for permission in listed]
    question = _Question([*rules_of(old), *grants], rules_of(new), Effort(effort))
    gaps = list(question.gaps(rule for rule in question.new if rule.allow))
    left = Effort(effort)
    return Containment(tuple(_excess(gap, it, old, new, left) for gap in gaps if (it := gap.rule.statement)))


def lost_denies(
    old: Sequence[Document], new: Sequence[Document], *, effort: int = _MOST_EFFORT
) -> tuple[Statement, ...]:
    """Return the Deny statements of `old` that those of `new` do not provably cover, whatever else is allowed."""
    question = _Question(_as_allows(new), _as_allows(old), Effort(effort))
    lost = (gap.rule.statement for gap in question.gaps(question.new))
    return tuple(dict.fromkeys(statement for statement in lost if statement))


def _as_allows(documents: Sequence[Document]) -> tuple[Rule, ...]:
    return tuple(replace(rule, allow=True) for rule in rules_of(documents) if not rule.allow)


def _size(excess: Excess) -> tuple[bool, int, str]:
    witness = excess.witness
    text = (witness.action + witness.resource) if witness else ""
    return witness is None, len(text) + sum(map(len, witness.context)) if witness else 0, text


@dataclass(frozen=True, slots=True)
class _Gap:
    """A pair of entries with a request that the rules do not show to be allowed already."""

    rule: Rule
    action_entry: str
    resource_entry: str
    action: str = ""
    """Empty where none was found in reasonable time."""
    resource: str = ""
    """A plain text."""


def _excess(
    gap: _Gap, statement: Statement, old: Sequence[Document], new: Sequence[Document], effort: Effort
) -> Excess:
    witness, reason = None, EFFORT
    if gap.action:
        with suppress(EffortError):
            effort.spend(sum(len(document.statements) for document in (*old, *new)))
            witness = shown(gap.action, gap.resource, gap.rule, old, new)
            reason = "" if witness else CONDITIONS
    return Excess(gap.rule.document, statement, gap.action_entry, gap.resource_entry, witness, reason)


@dataclass(frozen=True, slots=True)
class _View:
    """All rules as one new rule sees them; bits as in the universes."""

    cases: int
    """How many cases its proviso has."""
    covering: Mapping[int, int]
    """Bit of an old Allow -> the cases that its proviso covers, as bits."""
    removing: Mapping[int, int]
    """Bit of a new Deny -> the cases that it denies."""
    barring: Mapping[int, int]
    """Bit of an old Deny that may hold together with the rule -> the new Denies that hold wherever it does."""
    bars: int
    """The keys of `barring`."""
    relevant: int
    """All bits that the view names."""

    def lacks(self, bits: int) -> bool:
        """Tell whether a request, which the rules `bits` are about and the new rule too, may be newly allowed."""
        denied = covered = 0
        for bit in _single(bits & ~self.bars):
            denied |= self.removing.get(bit, 0)
            covered |= self.covering.get(bit, 0)
        wanted = (1 << self.cases) - 1 & ~denied
        barred = any(not self.barring[bit] & bits for bit in _single(bits & self.bars))
        return bool(wanted & ~covered) or (bool(wanted) and barred)


class _Question:
    """The old rules against the new ones."""

    def __init__(self, old: Sequence[Rule], new: Sequence[Rule], effort: Effort) -> None:
        self.old = tuple(dict.fromkeys(old))
        self.new = tuple(dict.fromkeys(new))
        self.rules = (*self.old, *(rule for rule in self.new if not rule.allow))
        self.actions = Universe([rule.actions for rule in self.rules], actions=True, effort=effort)
        self.resources = Universe([rule.resources for rule in self.rules], actions=False, effort=effort)
        self.effort = effort
        self.views: dict[Proviso, _View] = {}
        self.known: dict[tuple[Proviso, Element, int], str | None] = {}

    def gaps(self, rules: Iterable[Rule]) -> Iterator[_Gap]:
        """Yield the pairs of entries of some new rules that are not provably allowed already."""
        for rule in rules:
            for action_entry, actions in _entries(rule.actions):
                for resource_entry, resources in _entries(rule.resources):
                    try:
                        found = self._gap(rule, actions, resources)
                    except EffortError:
                        found = ("", "")
                    if found:
                        # A rule about one entry with a variable: tell that entry, not its loosened form.
                        yield _Gap(rule, action_entry, (*rule.proviso.fits, resource_entry)[0], *found)

    def _gap(self, rule: Rule, actions: Element, resources: Element) -> tuple[str, str] | None:
        """Find an action and a resource, the resource a shortest one for its action."""
        view = self._view(rule.proviso)
        relevant = view.relevant
        reach = self.actions.reach(actions)
        if self._fine(view, resources, reach.whole & relevant, reach.part & relevant):
            return None
        for signature, action in self.actions.members(actions, relevant):
            resource = self._missing(rule.proviso, view, resources, signature)
            if resource is not None:
                return self._named(rule.proviso, actions, resources) or (action, resource)
        return None

    def _named(self, proviso: Proviso, actions: Element, resources: Element) -> tuple[str, str] | None:
        """Prefer an action that exists to the shortest text that could be one."""
        view = self._view(proviso)
        with suppress(EffortError):
            for action in actions_to_name(actions, resources):
                signature = self.actions.membership(action) & view.relevant
                resource = self._missing(proviso, view, resources, signature)
                if resource is not None:
                    return action, resource
        return None

    def _missing(self, proviso: Proviso, view: _View, resources: Element, signature: int) -> str | None:
        """Find a resource that is not allowed already for actions of one signature."""
        key = (proviso, resources, signature)
        if key not in self.known:
            self.known[key] = self._find(view, resources, signature)
        return self.known[key]

    def _find(self, view: _View, resources: Element, signature: int) -> str | None:
        if self._fine(view, resources, signature, 0):
            return None
        if resources == EVERYTHING and view.lacks(self.resources.membership("*") & signature):
            # The resource of calls that have none reads better than a letter, and is as short.
            return "*"
        found = (text for bits, text in self.resources.members(resources, signature) if view.lacks(bits))
        return next(found, None)

    def _fine(self, view: _View, resources: Element, whole: int, part: int) -> bool:
        """Tell quickly, by comparing patterns one by one, that all is allowed already; False may be wrong.

        `whole` and `part` are the rules that are about all of the actions, or may be about some of them.
        """
        reach = self.resources.reach(resources)
        denied = covered = 0
        for bit in _single(reach.whole & whole):
            denied |= view.removing.get(bit, 0)
            covered |= view.covering.get(bit, 0)
        wanted = (1 << view.cases) - 1 & ~denied
        if wanted & ~covered:
            return False
        barring = (reach.whole | reach.part) & (whole | part) & view.bars
        return not wanted or all(self._kept(view, bit, whole) for bit in _single(barring))

    def _kept(self, view: _View, bit: int, whole: int) -> bool:
        """Whether a new Deny holds wherever an old one does."""
        rule = self.rules[bit.bit_length() - 1]
        keeping = self.resources.reach(rule.resources).whole & view.barring[bit]
        if keeping & whole:
            return True
        return bool(keeping & self.actions.reach(rule.actions).whole)

    def _view(self, proviso: Proviso) -> _View:
        if proviso not in self.views:
            self.views[proviso] = self._seen(proviso)
        return self.views[proviso]

    def _seen(self, proviso: Proviso) -> _View:
        alternatives = cases(proviso)
        self.effort.spend(_IMPLIES * len(alternatives) * len(self.rules))
        covering, removing, barring = dict[int, int](), dict[int, int](), dict[int, int]()
        new_denies = [(1 << place, rule) for place, rule in enumerate(self.rules) if place >= len(self.old)]
        for place, rule in enumerate(self.rules):
            held = sum(implies(each, rule.proviso) << number for number, each in enumerate(alternatives))
            if place >= len(self.old):
                removing[1 << place] = held
            elif rule.allow and held:
                covering[1 << place] = held
            elif not rule.allow and not exclude(proviso, rule.proviso):
                together = both(proviso, rule.proviso)
                barring[1 << place] = sum(bit for bit, deny in new_denies if implies(together, deny.proviso))
        bars = sum(barring)
        return _View(len(alternatives), covering, removing, barring, bars, sum(covering) + sum(removing) + bars)


def _entries(element: Element) -> Iterator[tuple[str, Element]]:
    """Yield each entry as it is told, and what it stands for."""
    if element.negated:
        yield "*", element
        return
    for pattern in dict.fromkeys(element.patterns):
        yield pattern, Element((pattern,))


def _single(bits: int) -> Iterator[int]:
    while bits:
        bit = bits & -bits
        yield bit
        bits ^= bit
