"""Compares what two versions of a policy grant and deny, independent of their form.

Other statements, orders, spellings or wildcards of equal meaning are no difference. Coverage is
that of `policy/containment`; which actions of the catalogue differ is listed with it.

A set of rules is a number, one bit for each rule: `0b101` are the first and the third rule of the
other version. Actions that the same rules name are compared once, under that number. A rule is
`bare` without its Condition block.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property, lru_cache
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.models import Condition, grouped
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import resource_covers, resource_overlaps
from leastpriv.permissions.resource_types import fits
from leastpriv.policy.condition_sets import ConditionSet, Rule, implies
from leastpriv.policy.conditions import in_2012_spelling, without_variables
from leastpriv.policy.containment import RuleComparison, rules_as_allows
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.glob_automaton import Element, each_bit

ActionEntry = str | tuple[str, ...]
"""One entry of `Action`, or the whole of `NotAction`."""
ResourceEntry = str | tuple[str, ...]
"""One entry of `Resource`, or the whole of `NotResource`."""

EXCLUDED = "NotResource: "
"""Prefix of an excluded resource in reports."""
_ByRules = Mapping[int, set[str]]
"""Bits of the rules of the other version that name the actions -> actions: `{0b01:
{"s3:getobject"}, 0b00: {"s3:putobject"}}` where its first rule names the first and none the
second."""
_MANY = 1_000
"""From this many actions on, the service of the ARN preselects the actions."""


class _ConditionChange(Struct, frozen=True):
    """Conditions of one version in the place of those of the other."""

    effect: str
    before: frozenset[Condition]
    after: frozenset[Condition]


class _Conditioned(Struct, frozen=True):
    """Actions on a resource that both versions name under different conditions."""

    actions: set[str]
    resource: ResourceEntry
    is_before: bool
    """Whether the conditions before are met and those after not."""


_ByChange = dict[_ConditionChange, list[_Conditioned]]


class EntryDiff(Struct, frozen=True):
    """The part of one entry of a statement that the other version lacks."""

    statement: Statement
    entry: str
    """As written; `NotAction: …` for all entries of a NotAction."""
    granted: int
    """Number of catalogue actions that the entry names on its statement's resources."""
    only: tuple[str, ...]
    """Actions that the other version does not have on these resources."""
    partly: tuple[str, ...]
    """Actions that the other version has on fewer resources."""
    on: tuple[str, ...]
    """Resources on which the versions differ."""
    elsewhere: tuple[str, ...]
    """Resources on which the other version has `partly`."""
    whole: bool
    """Whether the other version has no part of the entry."""

    @property
    def actions(self) -> tuple[str, ...]:
        """All actions that differ; empty if only future actions of AWS differ, as between a
        wildcard and its list.
        """
        return tuple(sorted({*self.only, *self.partly}))


class ConditionDiff(Struct, frozen=True):
    """Actions that both versions name on the same resources under different conditions."""

    effect: str
    before: tuple[Condition, ...]
    after: tuple[Condition, ...]
    actions: tuple[str, ...]
    """Also an entry of which only future actions of AWS differ."""
    on: tuple[str, ...]
    stricter: bool
    """Whether a request, as far as the text shows, meets the conditions before and not after."""
    looser: bool
    """The reverse; both may be true."""

    @property
    def widens(self) -> bool:
        """Whether more may be allowed after: an Allow under fewer conditions, or a Deny under
        more.
        """
        return self.looser if self.effect == "Allow" else self.stricter


class PolicyDiff(Struct, frozen=True):
    """All differences; empty if both versions have the same meaning."""

    removed: tuple[EntryDiff, ...]
    """Grants of the version before."""
    added: tuple[EntryDiff, ...]
    """Grants of the version after."""
    denies_removed: tuple[EntryDiff, ...]
    denies_added: tuple[EntryDiff, ...]
    conditions: tuple[ConditionDiff, ...]


def diff_policies(
    before: Document | None, after: Document | None, attached: Sequence[Document] = ()
) -> PolicyDiff:
    """Compares two versions of a policy (None: no file); what another attached policy has too is no
    difference.
    """
    conditioned: _ByChange = {}

    def lacking(
        version: Document | None, other: Document | None, effect: str, *, is_before: bool
    ) -> tuple[EntryDiff, ...]:
        """Returns what a version has and the other one has not."""
        others_documents = [document for document in (other, *attached) if document]
        comparison = _EntryComparison(
            rules_as_allows(others_documents, effect), is_before, conditioned
        )
        documents = [version] if version else []
        return tuple(comparison.differences(rules_as_allows(documents, effect)))

    return PolicyDiff(
        removed=lacking(before, after, "Allow", is_before=True),
        added=lacking(after, before, "Allow", is_before=False),
        denies_removed=lacking(before, after, "Deny", is_before=True),
        denies_added=lacking(after, before, "Deny", is_before=False),
        conditions=tuple(
            _condition_diff(change, entries) for change, entries in conditioned.items()
        ),
    )


def _condition_diff(change: _ConditionChange, entries: Sequence[_Conditioned]) -> ConditionDiff:
    """Returns a change of conditions with all actions and resources that it concerns."""
    actions: set[str] = set()
    resources: dict[str, None] = {}
    for entry in entries:
        actions |= entry.actions
        resources.update(dict.fromkeys(_shown_resources(entry.resource)))
    return ConditionDiff(
        effect=change.effect,
        before=tuple(sorted(change.before)),
        after=tuple(sorted(change.after)),
        actions=tuple(sorted(actions)),
        on=tuple(resources),
        stricter=any(entry.is_before for entry in entries),
        looser=not all(entry.is_before for entry in entries),
    )


class _NamedActions(Struct, frozen=True):
    """Actions that a rule of the other version names."""

    rule: Rule
    actions: set[str]


class _EntryComparison:
    """Compares the entries of one version with the other version, for statements of one effect."""

    def __init__(self, others: Sequence[Rule], is_before: bool, conditioned: _ByChange) -> None:
        """Prepares a comparison with conditions (`full`) and one without (`bare`): an entry that
        only the second covers is there under other conditions, a change of conditions.

        Args:
            others: The rules of the other version, as Allows.
            is_before: Whether the entries are those of the version before.
            conditioned: Collects these changes, for both directions and both effects.
        """
        self.is_before = is_before
        self.conditioned = conditioned
        # Without its condition set, a statement without resources would cover all resources.
        others = [
            rule for rule in others if rule.statement.resources or rule.statement.not_resources
        ]
        self.full = RuleComparison(others)
        self.bare = RuleComparison([replace(rule, condition_set=_bare(rule)) for rule in others])

    @cached_property
    def named_by(self) -> Mapping[str, int]:
        """Action of the catalogue -> bits of the rules that name it."""
        bits_of_action: dict[str, int] = {}
        for place, rule in enumerate(self.full.old):
            bit = 1 << place
            entries = _action_entries(rule.statement)
            for action in frozenset[str]().union(*map(catalogue_actions, entries)):
                bits_of_action[action] = bits_of_action.get(action, 0) | bit
        return bits_of_action

    def differences(self, rules: Iterable[Rule]) -> Iterator[EntryDiff]:
        """Yields the part of each entry that the other version lacks; collects changed conditions
        separately.
        """
        common_meanings = {rule.statement.meaning for rule in self.full.old}
        for statement, rules_of_statement in grouped(
            (rule.statement, rule) for rule in rules
        ).items():
            resources = (
                {}
                if statement.meaning in common_meanings
                else _resource_rules(statement, rules_of_statement)
            )
            for entry in _action_entries(statement):
                compared = {
                    resource: self._lacking(rule, entry, resource)
                    for resource, rule in resources.items()
                }
                lacking = {
                    resource: by_rules
                    for resource, by_rules in compared.items()
                    if by_rules is not None
                }
                if lacking:
                    yield self._difference(resources, entry, lacking)

    def _lacking(self, rule: Rule, entry: ActionEntry, resource: ResourceEntry) -> _ByRules | None:
        """Returns an entry's actions that the other version lacks on a resource; None if there is
        no difference.
        """
        pattern = Element((entry,)) if isinstance(entry, str) else Element(entry, negated=True)
        if self.full.covers(rule.condition_set, pattern, rule.resources):
            return None
        actions_here = _actions_on(rule.statement, entry, resource)
        bare = _bare(rule)
        lacking: dict[int, set[str]] = {}
        conditioned: dict[int, set[str]] = {}
        for bits, actions in self._by_rules(entry, pattern, actions_here).items():
            if not self.bare.covers(bare, bits, rule.resources):
                lacking[bits] = actions
            elif not self.full.covers(rule.condition_set, bits, rule.resources):
                conditioned[bits] = actions
        # A wildcard exceeds its list, because it also names future actions.
        names_future_actions = is_pattern(entry) and bool(
            actions_here or not catalogue_actions(entry)
        )
        lacks_future_actions = names_future_actions and not self.bare.covers(
            bare, pattern, rule.resources
        )
        if lacking or lacks_future_actions:
            self._note(rule, conditioned, resource)
            return lacking
        if names_future_actions and not conditioned:
            conditioned = {self.full.naming(pattern, in_part=True): {_shown_entry(entry)}}
        self._note(rule, conditioned, resource)
        return None

    def _by_rules(self, entry: ActionEntry, pattern: Element, actions: Iterable[str]) -> _ByRules:
        """Groups actions of an entry by the rules of the other version that name them.

        `pattern` is the whole entry. A literal that the catalogue lacks is its own only action.
        """
        if isinstance(entry, str) and not is_pattern(entry) and not catalog.action(entry):
            # A wildcard of the other version may name it.
            return {self.full.naming(pattern): {entry}}
        by_bits = grouped([(self.named_by.get(action, 0), action) for action in actions])
        return {bits: set(of_bits) for bits, of_bits in by_bits.items()}

    def _naming(self, by_rules: _ByRules, rules: int) -> Iterator[_NamedActions]:
        """Yields those of the rules, given as bits, that name some of the actions."""
        actions_by_rule: dict[int, set[str]] = defaultdict(set)
        for bits, of_bits in by_rules.items():
            for bit in each_bit(bits & rules):
                actions_by_rule[bit] |= of_bits
        for bit in sorted(actions_by_rule):
            yield _NamedActions(self.full.old[bit.bit_length() - 1], actions_by_rule[bit])

    def _note(self, rule: Rule, by_rules: _ByRules, resource: ResourceEntry) -> None:
        """Collects actions that the other version has on a resource under other conditions."""
        pending = set[str]().union(*by_rules.values())
        overlap = self.full.overlapping(rule.resources)
        # One statement of the other version has the actions on the whole resource.
        for rule_actions in self._naming(by_rules, overlap.whole):
            if implies(_bare(rule), _bare(rule_actions.rule)):
                self._add(rule, rule_actions.rule, rule_actions.actions & pending, resource)
                pending -= rule_actions.actions
        # Several statements together have the rest.
        for rule_actions in self._naming(by_rules, overlap.whole | overlap.part):
            if not implies(rule.condition_set, rule_actions.rule.condition_set):
                self._add(rule, rule_actions.rule, rule_actions.actions & pending, resource)

    def _add(self, rule: Rule, other: Rule, actions: set[str], resource: ResourceEntry) -> None:
        """Collects actions that have the conditions of `rule` in this version, and those of `other`
        in the other one.
        """
        if not actions:
            return
        conditions = _shown_conditions(rule)
        shown_of_other = _shown_conditions(other)
        change = _ConditionChange(
            effect=rule.statement.effect,
            before=conditions if self.is_before else shown_of_other,
            after=shown_of_other if self.is_before else conditions,
        )
        conditioned = _Conditioned(actions, resource, self.is_before)
        self.conditioned.setdefault(change, []).append(conditioned)

    def _difference(
        self,
        resources: Mapping[ResourceEntry, Rule],
        entry: ActionEntry,
        lacking: Mapping[ResourceEntry, _ByRules],
    ) -> EntryDiff:
        """Returns what the other version lacks of an entry, with the resources on which it lacks
        it.

        An action that the other version has on a part of these resources is in `partly`.
        """
        statement = next(iter(resources.values())).statement
        only: set[str] = set()
        partly: set[str] = set()
        elsewhere: dict[str, None] = {}
        for resource, by_rules in lacking.items():
            overlap = self.full.overlapping(resources[resource].resources)
            in_part: set[str] = set()
            for rule_actions in self._naming(by_rules, overlap.whole | overlap.part):
                shared = _shared_resources(
                    rule_actions.rule.statement, resource, statement.variables
                )
                elsewhere.update(dict.fromkeys(shared))
                if shared:
                    in_part |= rule_actions.actions
            only |= set().union(*by_rules.values()) - in_part
            partly |= in_part
        only -= partly
        granted = len(
            {action for resource in resources for action in _actions_on(statement, entry, resource)}
        )
        return EntryDiff(
            statement=statement,
            entry=_shown_entry(entry),
            granted=granted,
            only=tuple(sorted(only)),
            partly=tuple(sorted(partly)),
            on=tuple(
                dict.fromkeys(
                    shown_resource
                    for resource in lacking
                    for shown_resource in _shown_resources(resource)
                )
            ),
            elsewhere=tuple(elsewhere),
            whole=not partly and len(only) == granted and len(lacking) == len(resources),
        )


def _bare(rule: Rule) -> ConditionSet:
    """Returns the condition set of a rule without its Condition block."""
    return ConditionSet(
        matching=rule.condition_set.matching, not_matching=rule.condition_set.not_matching
    )


def _action_entries(statement: Statement) -> tuple[ActionEntry, ...]:
    return (
        (statement.not_actions,)
        if statement.not_actions
        else tuple(dict.fromkeys(statement.actions))
    )


def _shown_entry(entry: ActionEntry) -> str:
    return entry if isinstance(entry, str) else f"NotAction: {', '.join(entry)}"


def _resource_rules(statement: Statement, rules: Sequence[Rule]) -> Mapping[ResourceEntry, Rule]:
    """Returns each distinct resource entry of a statement, as written, with a rule for it alone."""
    if statement.not_resources:
        return {statement.not_resources: rules[0]}
    rule_by_text: dict[str, Rule] = {}
    for rule in rules:
        for text in rule.condition_set.matching or rule.resources.patterns:
            rule_by_text[text] = rule
    rule_by_entry: dict[ResourceEntry, Rule] = {}
    for entry in statement.resources:
        text = in_2012_spelling(entry, statement.variables)
        entry_alone = Element((without_variables(text),))
        rule_by_entry[entry] = replace(rule_by_text[text], resources=entry_alone)
    return rule_by_entry


def _shown_conditions(rule: Rule) -> frozenset[Condition]:
    """Returns conditions with sorted values; an unreadable block is one condition with its text.

    The key is marked if `${…}` in the values is plain text, because such a condition has another
    meaning.
    """
    if rule.condition_set.unreadable:
        return frozenset({Condition("", rule.condition_set.unreadable, ())})
    conditions = set[Condition]()
    for condition in rule.statement.conditions:
        plain = not rule.statement.variables and any("${" in value for value in condition.values)
        key = condition.key + (" (with ${…} as plain text)" if plain else "")
        conditions.add(Condition(condition.operator, key, tuple(sorted(set(condition.values)))))
    return frozenset(conditions)


@lru_cache(maxsize=512)
def catalogue_actions(entry: ActionEntry) -> frozenset[str]:
    """Returns the catalogue actions of an entry; a literal that the catalogue lacks returns itself
    in lower case.
    """
    if isinstance(entry, tuple):
        return frozenset(catalog.expand("*")).difference(*map(catalogue_actions, entry))
    expanded = catalog.expand(entry)
    return frozenset(expanded if expanded or is_pattern(entry) else (entry.lower(),))


def is_pattern(entry: ActionEntry) -> bool:
    """Returns whether an entry also names future actions."""
    return isinstance(entry, tuple) or "*" in entry or "?" in entry


def _actions_on(
    statement: Statement, entry: ActionEntry, resource: ResourceEntry
) -> frozenset[str]:
    """Returns an entry's actions that fit a resource: `s3:Get*` on `arn:aws:s3:::shop/*` has
    `s3:getobject`, and not `s3:getbucketacl`.

    A literal that fits no resource of its statement fits each.
    """
    actions = catalogue_actions(entry)
    if resource == "*" or isinstance(resource, tuple):
        return actions
    nowhere = not is_pattern(entry) and not any(
        fits(action, statement_resource)
        for action in actions
        for statement_resource in statement.resources
    )
    return actions if nowhere else _fitting_actions(entry, resource)


@lru_cache(maxsize=1_024)
def _fitting_actions(entry: ActionEntry, resource: str) -> frozenset[str]:
    """Returns the actions of an entry that fit a resource; of `*`, which has thousands, only those
    of the ARN's service are tested one by one.
    """
    actions = catalogue_actions(entry)
    service = _service_of(resource) if resource.count(":") > 2 else "*"
    if len(actions) > _MANY and not _is_open(service):
        index = _actions_by_arn_service()
        actions &= index.get(service, frozenset()) | index[""]
    return frozenset(action for action in actions if fits(action, resource))


@cache
def _actions_by_arn_service() -> Mapping[str, frozenset[str]]:
    """Returns the actions that may fit an ARN, by its service: `s3` -> `s3:getobject`, ...

    "" has the actions whose ARN may be of any service.
    """
    index: dict[str, set[str]] = {"": set()}
    for action in catalog.expand("*"):
        catalogue_action = catalog.action(action)
        # Its own service counts always: the catalogue lacks resources of API Gateway that the event
        # table names.
        services = {action.partition(":")[0]}
        for resource_type in catalogue_action.resource_types if catalogue_action else ():
            services.update(map(_service_of, resource_type.arn.split(", ")))
        for service in services:
            index.setdefault("" if _is_open(service) else service, set()).add(action)
    return {service: frozenset(actions) for service, actions in index.items()}


def _service_of(arn: str) -> str:
    return arn.split(":", 3)[2]


def _is_open(service: str) -> bool:
    """Whether the service of an ARN has a wildcard or a variable."""
    return bool(set(service) & set("$*?"))


def _shared_resources(
    statement: Statement, resource: ResourceEntry, variables: bool
) -> tuple[str, ...]:
    """Returns the statement's resources that may overlap `resource`, as reports show them: of
    `bucket/*` and `other/*`, the first for `bucket/a`.

    Args:
        statement: The statement of the other version.
        resource: A tuple holds the entries of NotResource: it means all resources but these.
        variables: Whether `resource` may hold policy variables.
    """
    if isinstance(resource, tuple):
        shared = tuple(
            entry for entry in statement.resources if not _any_covers(resource, entry, variables)
        )
        return shared or (
            _shown_resources(statement.not_resources) if statement.not_resources else ()
        )
    if statement.not_resources:
        outside = _any_covers(statement.not_resources, resource, statement.variables)
        return () if outside else _shown_resources(statement.not_resources)
    return tuple(
        entry
        for entry in statement.resources
        if resource_overlaps(entry, resource, variables=statement.variables)
    )


def _any_covers(entries: Iterable[str], other: str, variables: bool) -> bool:
    return any(resource_covers(entry, other, variables=variables) for entry in entries)


def _shown_resources(resource: ResourceEntry) -> tuple[str, ...]:
    """Returns a resource entry as reports show it; `NotResource: arn…` if it is excluded."""
    return (
        (resource,)
        if isinstance(resource, str)
        else tuple(f"{EXCLUDED}{entry}" for entry in resource)
    )


def json_patch(committed: Document | None, proposed: Document) -> str:
    """Returns a JSON Patch from the committed file's value to the proposed value, as indented JSON.

    Without a file the patch adds the whole value. YAML templates have their functions in the long
    form, as `{"Fn::Sub": …}`. The patch is verified by applying it: if the library's shortest patch
    fails (moves within lists of equal items), the whole value is replaced.
    """
    import jsonpatch

    pointer, after = proposed.value_in_file()
    if committed is None:
        return _text([{"op": "add", "path": "", "value": after}], "")
    before = committed.value_in_file()[1]
    operations = jsonpatch.make_patch(before, after).patch
    try:
        right = jsonpatch.apply_patch(before, operations) == after
    except jsonpatch.JsonPatchException:
        right = False
    return _text(operations if right else [{"op": "replace", "path": "", "value": after}], pointer)


def _text(operations: list[dict[str, Any]], pointer: str) -> str:
    """Prefixes the operations' paths with `pointer`."""
    pointer_keys = ("path", "from")
    moved = [
        {key: pointer + value if key in pointer_keys else value for key, value in operation.items()}
        for operation in operations
    ]
    # `##[` is a workflow command of the runner at any position in a line, so it gets an escape.
    return json.dumps(moved, indent=2).replace("##[", "#\\u0023[") + "\n"
