"""Decides whether old documents allow all that new documents allow, and shows a request that they
do not.

Exact for the wildcards of Action, NotAction, Resource and NotResource over all texts, including
actions that AWS has not added yet. Sound for conditions and policy variables: if neither
containment nor a request can be shown, the access counts as new.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.models import Permission
from leastpriv.policy.condition_sets import (
    EVERYTHING,
    ConditionSet,
    Rule,
    cases,
    conjunction,
    implies,
    listed_rules,
    mutually_exclusive,
    rules_of,
    with_certain_parts,
)
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.glob_automaton import (
    Element,
    GlobSet,
    Overlap,
    StepBudget,
    StepBudgetError,
    each_bit,
)

if TYPE_CHECKING:
    from leastpriv.policy.witness import Witness

_MAX_STEPS = 2_000_000
"""Steps, of about a microsecond each, after which the answer is "not proved"; real policies take
some thousands.
"""
_IMPLIES_COST = 8
"""Steps that comparing two condition sets costs."""

UNPROVEN_CONDITIONS = "its conditions or policy variables are not provably narrower"
UNPROVEN_WILDCARDS = "its wildcards are too entangled to be compared"


class Excess(Struct, frozen=True):
    """A pair of entries, action and resource, of a new Allow statement that may allow more than the
    old documents.
    """

    document: int
    """Index of its document among the new ones."""
    statement: Statement
    action: str
    """The entry as written; `*` for a NotAction."""
    resource: str
    """The entry as written; `*` for a NotResource."""
    witness: Witness | None
    """A request that only the new documents allow; None if none can be shown."""
    reason: str = ""
    """Why no request can be shown."""


class Containment(Struct, frozen=True):
    """The result of a containment check; without excesses the old documents contain the new
    ones.
    """

    excesses: tuple[Excess, ...]

    @property
    def holds(self) -> bool:
        """Whether the new documents provably allow only what the old ones allow."""
        return not self.excesses

    @property
    def smallest(self) -> Excess | None:
        """The excess with the shortest witness; an excess without a witness only if none has
        one.
        """
        return min(self.excesses, key=_size, default=None)


def check_containment(
    old: Sequence[Document],
    new: Sequence[Document],
    listed: Iterable[Permission] = (),
    *,
    limits: Sequence[Sequence[Document]] = (),
    budget: int = _MAX_STEPS,
) -> Containment:
    """Compares what `new` allows with what `old` and the `listed` grants allow under their
    conditions.

    Each of the `limits` is one more layer of policies that must allow too: what it does not allow
    is no new access.
    """
    grants = [rule for permission in listed for rule in listed_rules(permission)]
    layers = [rules_of(layer) for layer in limits]
    denies = [rule for layer in layers for rule in layer if not rule.allow]
    question = RuleComparison(
        [*rules_of(old), *grants],
        [*rules_of(new), *denies],
        budget,
        limits=[[rule for rule in layer if rule.allow] for layer in layers],
    )
    new_access = list(question.new_access(rule for rule in question.new if rule.allow))
    steps = StepBudget(budget)
    excesses: list[Excess] = []
    for access in new_access:
        witness = None
        reason = UNPROVEN_WILDCARDS
        if access.action:
            from leastpriv.policy.witness import find_witness

            with suppress(StepBudgetError):
                steps.spend(sum(len(document.statements) for document in (*old, *new)))
                witness = find_witness(
                    access.action, access.resource, access.rule, old=old, new=new, limits=limits
                )
                reason = "" if witness else UNPROVEN_CONDITIONS
        excesses.append(
            Excess(
                document=access.rule.document,
                statement=access.rule.statement,
                action=access.action_entry,
                resource=access.resource_entry,
                witness=witness,
                reason=reason,
            )
        )
    return Containment(tuple(excesses))


def lost_denies(
    old: Sequence[Document], new: Sequence[Document], *, budget: int = _MAX_STEPS
) -> tuple[Statement, ...]:
    """Returns the Deny statements of `old` that the Deny statements of `new` do not provably
    cover.
    """
    question = RuleComparison(rules_as_allows(new, "Deny"), rules_as_allows(old, "Deny"), budget)
    lost = (access.rule.statement for access in question.new_access(question.new))
    return tuple(dict.fromkeys(lost))


def rules_as_allows(documents: Sequence[Document], effect: str) -> tuple[Rule, ...]:
    """Returns the rules of the statements of one effect, each as the rule of an Allow."""
    return tuple(
        replace(rule, allow=True)
        for rule in rules_of(documents)
        if rule.allow == (effect == "Allow")
    )


def _size(excess: Excess) -> tuple[bool, int, str]:
    witness = excess.witness
    text = (witness.action + witness.resource) if witness else ""
    return witness is None, len(text) + sum(map(len, witness.context)) if witness else 0, text


class _RuleView(Struct, frozen=True):
    """All rules as seen by one new rule; bits as in the glob sets."""

    cases: int
    """Number of cases of its condition set."""
    covering: Mapping[int, int]
    """Bit of an old Allow -> cases that its condition set covers, as bits."""
    denying: Mapping[int, int]
    """Bit of a new Deny -> cases that it denies."""
    blocking: Mapping[int, int]
    """Bit of an old Deny that may hold together with the rule -> new Denies that hold if it does.
    """
    blockers: int
    """The keys of `blocking`."""
    limits: tuple[Mapping[int, int], ...]
    """For each limiting layer: bit of an Allow -> cases that it may allow."""
    relevant: int
    """All bits that this view uses."""

    def leaves_new_access(self, bits: int) -> bool:
        """Returns whether a request that matches the rules `bits` and the new rule may be newly
        allowed.
        """
        denied = covered = 0
        for bit in each_bit(bits & ~self.blockers):
            denied |= self.denying.get(bit, 0)
            covered |= self.covering.get(bit, 0)
        open_cases = (1 << self.cases) - 1 & ~denied
        for layer in self.limits:
            allowed = 0
            for bit, allowed_cases in layer.items():
                if bit & bits:
                    allowed |= allowed_cases
            open_cases &= allowed
        barred = any(not self.blocking[bit] & bits for bit in each_bit(bits & self.blockers))
        return bool(open_cases & ~covered) or (bool(open_cases) and barred)


class NewAccess(Struct, frozen=True):
    """An entry for actions and one for resources of a rule that may allow more, and a request."""

    rule: Rule
    action_entry: str
    resource_entry: str
    action: str = ""
    """The action of the request; empty if the step budget ended before one was found."""
    resource: str = ""
    """The resource of the request, a plain text."""


class _Example(Struct, frozen=True):
    """A request that is newly allowed."""

    action: str
    resource: str


class _Entry(Struct, frozen=True):
    """An entry of an element as a report shows it, and the element that it is alone."""

    text: str
    element: Element


class _Grant(Struct, frozen=True):
    """What allows one action, or a pattern of actions, on one resource."""

    action: str
    resource: str
    condition_set: ConditionSet


class RuleComparison:
    """Compares old rules with new ones; old rules are also bits, in their order."""

    def __init__(
        self,
        old: Sequence[Rule],
        new: Sequence[Rule] = (),
        steps: int = _MAX_STEPS,
        *,
        limits: Sequence[Sequence[Rule]] = (),
    ) -> None:
        self.budget, budget = StepBudget(steps), StepBudget(steps)
        """Of the condition sets; the glob sets have their own."""
        self.old = with_certain_parts(old)
        self.new = tuple(dict.fromkeys(new))
        denies = with_certain_parts(rule for rule in self.new if not rule.allow)
        self.compared = len(self.old) + len(denies)
        """Number of the rules before those of the limiting layers."""
        self.limits = tuple(tuple(layer) for layer in limits if not any(map(_is_everything, layer)))
        self.rules = (*self.old, *denies, *chain.from_iterable(self.limits))
        self.actions = GlobSet([rule.actions for rule in self.rules], actions=True, budget=budget)
        self.resources = GlobSet(
            [rule.resources for rule in self.rules], actions=False, budget=budget
        )
        self.views: dict[ConditionSet, _RuleView] = {}
        self.known: dict[tuple[ConditionSet, Element, int], str | None] = {}
        self.same: frozenset[_Grant] = frozenset()
        """Old grants of one action on one resource, which no old Deny limits: the same new grant
        adds no access.
        """
        if all(rule.allow for rule in self.old):
            self.same = frozenset(
                _Grant(rule.actions.patterns[0], rule.resources.patterns[0], rule.condition_set)
                for rule in self.old
                if len(rule.actions.patterns) == len(rule.resources.patterns) == 1
                and not (rule.actions.negated or rule.resources.negated)
            )

    def new_access(self, rules: Iterable[Rule]) -> Iterator[NewAccess]:
        """Yields rules with entries, action and resource, that are not provably allowed
        already.
        """
        for rule in rules:
            for actions in _entries(rule.actions):
                for resources in _entries(rule.resources):
                    grant = _Grant(actions.text, resources.text, rule.condition_set)
                    if grant in self.same:
                        continue
                    # An entry with a variable has a rule for itself; report the entry, not the form
                    # in which `*` replaces the variable.
                    reported_resource = (*rule.condition_set.matching, resources.text)[0]
                    access = NewAccess(rule, actions.text, reported_resource)
                    try:
                        example = self._example(
                            rule.condition_set, actions.element, resources.element
                        )
                    except StepBudgetError:
                        yield access
                        continue
                    if example:
                        yield replace(access, action=example.action, resource=example.resource)

    def _example(
        self, condition_set: ConditionSet, actions: Element, resources: Element
    ) -> _Example | None:
        """Finds a request that is newly allowed, with an action of the catalogue if one is; raises
        StepBudgetError.
        """
        example = self._find_new_access(condition_set, actions, resources)
        if example is None:
            return None
        return self._with_known_action(condition_set, actions, resources) or example

    def covers(
        self, condition_set: ConditionSet, actions: Element | int, resources: Element
    ) -> bool:
        """Returns whether the old rules, all of which allow, provably allow all; also beyond the
        budget, if one does.

        `actions` may be the bits of the rules that name them.
        """
        with suppress(StepBudgetError):
            action_bits = (
                actions if isinstance(actions, int) else self.actions.overlap(actions).whole
            )
            covering_bits = action_bits & self.resources.overlap(resources).whole
            if any(
                implies(condition_set, self.old[bit.bit_length() - 1].condition_set)
                for bit in each_bit(covering_bits)
            ):
                return True
            if isinstance(actions, int):
                return self._uncovered_resource(condition_set, resources, actions) is None
            return self._find_new_access(condition_set, actions, resources) is None
        return False

    def naming(self, actions: Element, *, in_part: bool = False) -> int:
        """Returns the bits of the old rules that certainly name all of an action entry, or may name
        a part of it.
        """
        with suppress(StepBudgetError):
            overlap = self.actions.overlap(actions)
            return overlap.whole | overlap.part if in_part else overlap.whole
        return 0

    def overlapping(self, resources: Element) -> Overlap:
        """Returns the bits of the old rules that hold for all, and that may hold for some, of the
        resources.
        """
        with suppress(StepBudgetError):
            return self.resources.overlap(resources)
        return Overlap(0, (1 << len(self.rules)) - 1)

    def _find_new_access(
        self, condition_set: ConditionSet, actions: Element, resources: Element
    ) -> _Example | None:
        """Finds a request that is newly allowed, its resource a shortest one for its action."""
        view = self._view(condition_set)
        overlap = self.actions.overlap(actions)
        if self._surely_covered(
            view, resources, overlap.whole & view.relevant, overlap.part & view.relevant
        ):
            return None
        for member in self.actions.members(actions, view.relevant):
            resource = self._uncovered_resource(condition_set, resources, member.elements)
            if resource is not None:
                return _Example(member.text, resource)
        return None

    def _with_known_action(
        self, condition_set: ConditionSet, actions: Element, resources: Element
    ) -> _Example | None:
        """Prefers an existing action to the shortest text that could be one."""
        from leastpriv.policy.witness import example_actions

        with suppress(StepBudgetError):
            for action in example_actions(actions, resources):
                resource = self._uncovered_resource(
                    condition_set, resources, self.actions.membership(action)
                )
                if resource is not None:
                    return _Example(action, resource)
        return None

    def _uncovered_resource(
        self, condition_set: ConditionSet, resources: Element, named_by: int
    ) -> str | None:
        """Finds a resource that is not yet allowed for the actions that exactly the rules
        `named_by` name.
        """
        view = self._view(condition_set)
        signature = named_by & view.relevant
        key = (condition_set, resources, signature)
        if key not in self.known:
            if self._surely_covered(view, resources, signature, 0):
                self.known[key] = None
            elif resources == EVERYTHING and view.leaves_new_access(
                self.resources.membership("*") & signature
            ):
                # `*`, the resource of calls without resources, is more readable than a letter and
                # as short.
                self.known[key] = "*"
            else:
                members = self.resources.members(resources, signature)
                self.known[key] = next(
                    (member.text for member in members if view.leaves_new_access(member.elements)),
                    None,
                )
        return self.known[key]

    def _surely_covered(self, view: _RuleView, resources: Element, whole: int, part: int) -> bool:
        """Shows quickly, by comparing patterns one by one, that all is allowed already; False may
        be wrong.

        `whole` and `part` are the rules that match all of the actions, or possibly some of them.
        """
        overlap = self.resources.overlap(resources)
        denied = covered = 0
        for bit in each_bit(overlap.whole & whole):
            denied |= view.denying.get(bit, 0)
            covered |= view.covering.get(bit, 0)
        open_cases = (1 << view.cases) - 1 & ~denied
        if open_cases & ~covered:
            return False
        blocking = (overlap.whole | overlap.part) & (whole | part) & view.blockers
        return not open_cases or all(
            self._still_denied(view, bit, whole) for bit in each_bit(blocking)
        )

    def _still_denied(self, view: _RuleView, bit: int, whole: int) -> bool:
        """Returns whether a new Deny holds if an old one does, so that the end of the old one
        allows no more.

        Args:
            view: The rules as the new Allow sees them.
            bit: The old Deny: 0b100 is the third of `rules`.
            whole: The rules, as bits, that match all actions of the new Allow.
        """
        rule = self.rules[bit.bit_length() - 1]
        # New Denies whose conditions hold with those of the old one, on at least its resources.
        keeping = self.resources.overlap(rule.resources).whole & view.blocking[bit]
        if keeping & whole:
            return True
        # One that lacks some actions of the Allow suffices if it has all of the old Deny.
        return bool(keeping & self.actions.overlap(rule.actions).whole)

    def _view(self, condition_set: ConditionSet) -> _RuleView:
        if condition_set not in self.views:
            alternatives = cases(condition_set)
            self.budget.spend(_IMPLIES_COST * len(alternatives) * len(self.rules))
            covering, denying, blocking = dict[int, int](), dict[int, int](), dict[int, int]()
            compared = self.rules[: self.compared]
            new_denies = [
                (1 << position, rule)
                for position, rule in enumerate(compared)
                if position >= len(self.old)
            ]
            for index, rule in enumerate(compared):
                case_bits = sum(
                    implies(alternative, rule.condition_set) << number
                    for number, alternative in enumerate(alternatives)
                )
                if index >= len(self.old):
                    denying[1 << index] = case_bits
                elif rule.allow and case_bits:
                    covering[1 << index] = case_bits
                elif not rule.allow and not mutually_exclusive(condition_set, rule.condition_set):
                    together = conjunction(condition_set, rule.condition_set)
                    blocking[1 << index] = sum(
                        bit for bit, deny in new_denies if implies(together, deny.condition_set)
                    )
            blockers = sum(blocking)
            limits = tuple(self._limiting(alternatives))
            limiting = sum(bit for layer in limits for bit in layer)
            self.views[condition_set] = _RuleView(
                cases=len(alternatives),
                covering=covering,
                denying=denying,
                blocking=blocking,
                blockers=blockers,
                limits=limits,
                relevant=sum(covering) + sum(denying) + blockers + limiting,
            )
        return self.views[condition_set]

    def _limiting(self, alternatives: Sequence[ConditionSet]) -> Iterator[Mapping[int, int]]:
        """Yields for each limiting layer which of the cases each of its Allow rules may allow.

        Rules and cases are bits: that of a rule is the key, those of its cases are the value.
        """
        index = self.compared
        for layer in self.limits:
            cases_by_bit: dict[int, int] = {}
            for rule in layer:
                case_bits = 0
                for number, case in enumerate(alternatives):
                    if not mutually_exclusive(case, rule.condition_set):
                        case_bits |= 1 << number
                cases_by_bit[1 << index] = case_bits
                index += 1
            yield cases_by_bit


def _is_everything(rule: Rule) -> bool:
    """Whether an Allow rule allows all actions on all resources without a condition."""
    is_plain = not rule.condition_set.conditions and not rule.condition_set.matching
    return is_plain and rule.actions == EVERYTHING and rule.resources == EVERYTHING


def _entries(element: Element) -> Iterator[_Entry]:
    """Yields each entry of an element; one that excludes patterns is a single entry."""
    if element.negated:
        yield _Entry("*", element)
        return
    for pattern in dict.fromkeys(element.patterns):
        yield _Entry(pattern, Element((pattern,)))
