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
    ConditionSet,
    Rule,
    cases,
    conjunction,
    implies,
    listed_rule,
    mutually_exclusive,
    rules_of,
)
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.glob_automaton import Element, GlobSet, StepBudget, StepBudgetError
from leastpriv.policy.witness import Witness, example_actions, find_witness

_MAX_STEPS = 2_000_000
"""Steps of about a microsecond after which the answer is "cannot tell"; real policies take some thousands."""
_IMPLIES_COST = 8
"""Steps that comparing two provisos takes."""

UNPROVEN_CONDITIONS = "its conditions or policy variables are not provably narrower"
UNPROVEN_WILDCARDS = "its wildcards are too entangled to be compared"


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


def check_containment(
    old: Sequence[Document], new: Sequence[Document], listed: Iterable[Permission] = (), *, budget: int = _MAX_STEPS
) -> Containment:
    """Compare what `new` allows with what `old` and the `listed` grants, under their conditions, allow."""
    grants = [listed_rule(permission) for permission in listed]
    question = _Comparison([*rules_of(old), *grants], rules_of(new), StepBudget(budget))
    new_access = list(question.new_access(rule for rule in question.new if rule.allow))
    left = StepBudget(budget)
    return Containment(
        tuple(_excess(access, it, old, new, left) for access in new_access if (it := access.rule.statement))
    )


def lost_denies(old: Sequence[Document], new: Sequence[Document], *, budget: int = _MAX_STEPS) -> tuple[Statement, ...]:
    """Return the Deny statements of `old` that those of `new` do not provably cover, whatever else is allowed."""
    question = _Comparison(_as_allows(new), _as_allows(old), StepBudget(budget))
    lost = (access.rule.statement for access in question.new_access(question.new))
    return tuple(dict.fromkeys(statement for statement in lost if statement))


def _as_allows(documents: Sequence[Document]) -> tuple[Rule, ...]:
    return tuple(replace(rule, allow=True) for rule in rules_of(documents) if not rule.allow)


def _size(excess: Excess) -> tuple[bool, int, str]:
    witness = excess.witness
    text = (witness.action + witness.resource) if witness else ""
    return witness is None, len(text) + sum(map(len, witness.context)) if witness else 0, text


@dataclass(frozen=True, slots=True)
class _NewAccess:
    """A pair of entries with a request that the rules do not show to be allowed already."""

    rule: Rule
    action_entry: str
    resource_entry: str
    action: str = ""
    """Empty where none was found in reasonable time."""
    resource: str = ""
    """A plain text."""


def _excess(
    access: _NewAccess, statement: Statement, old: Sequence[Document], new: Sequence[Document], budget: StepBudget
) -> Excess:
    witness, reason = None, UNPROVEN_WILDCARDS
    if access.action:
        with suppress(StepBudgetError):
            budget.spend(sum(len(document.statements) for document in (*old, *new)))
            witness = find_witness(access.action, access.resource, access.rule, old, new)
            reason = "" if witness else UNPROVEN_CONDITIONS
    return Excess(access.rule.document, statement, access.action_entry, access.resource_entry, witness, reason)


@dataclass(frozen=True, slots=True)
class _RuleView:
    """All rules as one new rule sees them; bits as in the universes."""

    cases: int
    """How many cases its proviso has."""
    covering: Mapping[int, int]
    """Bit of an old Allow -> the cases that its proviso covers, as bits."""
    denying: Mapping[int, int]
    """Bit of a new Deny -> the cases that it denies."""
    blocking: Mapping[int, int]
    """Bit of an old Deny that may hold together with the rule -> the new Denies that hold wherever it does."""
    blockers: int
    """The keys of `barring`."""
    relevant: int
    """All bits that the view names."""

    def leaves_new_access(self, bits: int) -> bool:
        """Tell whether a request, which the rules `bits` are about and the new rule too, may be newly allowed."""
        denied = covered = 0
        for bit in _each_bit(bits & ~self.blockers):
            denied |= self.denying.get(bit, 0)
            covered |= self.covering.get(bit, 0)
        wanted = (1 << self.cases) - 1 & ~denied
        barred = any(not self.blocking[bit] & bits for bit in _each_bit(bits & self.blockers))
        return bool(wanted & ~covered) or (bool(wanted) and barred)


class _Comparison:
    """The old rules against the new ones."""

    def __init__(self, old: Sequence[Rule], new: Sequence[Rule], budget: StepBudget) -> None:
        self.old = tuple(dict.fromkeys(old))
        self.new = tuple(dict.fromkeys(new))
        self.rules = (*self.old, *(rule for rule in self.new if not rule.allow))
        self.actions = GlobSet([rule.actions for rule in self.rules], actions=True, budget=budget)
        self.resources = GlobSet([rule.resources for rule in self.rules], actions=False, budget=budget)
        self.budget = budget
        self.views: dict[ConditionSet, _RuleView] = {}
        self.known: dict[tuple[ConditionSet, Element, int], str | None] = {}

    def new_access(self, rules: Iterable[Rule]) -> Iterator[_NewAccess]:
        """Yield the pairs of entries of some new rules that are not provably allowed already."""
        for rule in rules:
            for action_entry, actions in _entries(rule.actions):
                for resource_entry, resources in _entries(rule.resources):
                    try:
                        found = self._find_new_access(rule, actions, resources)
                    except StepBudgetError:
                        found = ("", "")
                    if found:
                        # A rule about one entry with a variable: tell that entry, not its loosened form.
                        yield _NewAccess(rule, action_entry, (*rule.condition_set.matching, resource_entry)[0], *found)

    def _find_new_access(self, rule: Rule, actions: Element, resources: Element) -> tuple[str, str] | None:
        """Find an action and a resource, the resource a shortest one for its action."""
        view = self._view(rule.condition_set)
        relevant = view.relevant
        overlap = self.actions.overlap(actions)
        if self._surely_covered(view, resources, overlap.whole & relevant, overlap.part & relevant):
            return None
        for signature, action in self.actions.members(actions, relevant):
            resource = self._uncovered_resource(rule.condition_set, view, resources, signature)
            if resource is not None:
                return self._with_known_action(rule.condition_set, actions, resources) or (action, resource)
        return None

    def _with_known_action(
        self, condition_set: ConditionSet, actions: Element, resources: Element
    ) -> tuple[str, str] | None:
        """Prefer an action that exists to the shortest text that could be one."""
        view = self._view(condition_set)
        with suppress(StepBudgetError):
            for action in example_actions(actions, resources):
                signature = self.actions.membership(action) & view.relevant
                resource = self._uncovered_resource(condition_set, view, resources, signature)
                if resource is not None:
                    return action, resource
        return None

    def _uncovered_resource(
        self, condition_set: ConditionSet, view: _RuleView, resources: Element, signature: int
    ) -> str | None:
        """Find a resource that is not allowed already for actions of one signature."""
        key = (condition_set, resources, signature)
        if key not in self.known:
            self.known[key] = self._search_resource(view, resources, signature)
        return self.known[key]

    def _search_resource(self, view: _RuleView, resources: Element, signature: int) -> str | None:
        if self._surely_covered(view, resources, signature, 0):
            return None
        if resources == EVERYTHING and view.leaves_new_access(self.resources.membership("*") & signature):
            # The resource of calls that have none reads better than a letter, and is as short.
            return "*"
        found = (text for bits, text in self.resources.members(resources, signature) if view.leaves_new_access(bits))
        return next(found, None)

    def _surely_covered(self, view: _RuleView, resources: Element, whole: int, part: int) -> bool:
        """Tell quickly, by comparing patterns one by one, that all is allowed already; False may be wrong.

        `whole` and `part` are the rules that are about all of the actions, or may be about some of them.
        """
        overlap = self.resources.overlap(resources)
        denied = covered = 0
        for bit in _each_bit(overlap.whole & whole):
            denied |= view.denying.get(bit, 0)
            covered |= view.covering.get(bit, 0)
        wanted = (1 << view.cases) - 1 & ~denied
        if wanted & ~covered:
            return False
        blocking = (overlap.whole | overlap.part) & (whole | part) & view.blockers
        return not wanted or all(self._still_denied(view, bit, whole) for bit in _each_bit(blocking))

    def _still_denied(self, view: _RuleView, bit: int, whole: int) -> bool:
        """Whether a new Deny holds wherever an old one does."""
        rule = self.rules[bit.bit_length() - 1]
        keeping = self.resources.overlap(rule.resources).whole & view.blocking[bit]
        if keeping & whole:
            return True
        return bool(keeping & self.actions.overlap(rule.actions).whole)

    def _view(self, condition_set: ConditionSet) -> _RuleView:
        if condition_set not in self.views:
            self.views[condition_set] = self._build_view(condition_set)
        return self.views[condition_set]

    def _build_view(self, condition_set: ConditionSet) -> _RuleView:
        alternatives = cases(condition_set)
        self.budget.spend(_IMPLIES_COST * len(alternatives) * len(self.rules))
        covering, denying, blocking = dict[int, int](), dict[int, int](), dict[int, int]()
        new_denies = [(1 << place, rule) for place, rule in enumerate(self.rules) if place >= len(self.old)]
        for place, rule in enumerate(self.rules):
            held = sum(implies(each, rule.condition_set) << number for number, each in enumerate(alternatives))
            if place >= len(self.old):
                denying[1 << place] = held
            elif rule.allow and held:
                covering[1 << place] = held
            elif not rule.allow and not mutually_exclusive(condition_set, rule.condition_set):
                together = conjunction(condition_set, rule.condition_set)
                blocking[1 << place] = sum(bit for bit, deny in new_denies if implies(together, deny.condition_set))
        blockers = sum(blocking)
        return _RuleView(
            len(alternatives), covering, denying, blocking, blockers, sum(covering) + sum(denying) + blockers
        )


def _entries(element: Element) -> Iterator[tuple[str, Element]]:
    """Yield each entry as it is told, and what it stands for."""
    if element.negated:
        yield "*", element
        return
    for pattern in dict.fromkeys(element.patterns):
        yield pattern, Element((pattern,))


def _each_bit(bits: int) -> Iterator[int]:
    while bits:
        bit = bits & -bits
        yield bit
        bits ^= bit
