"""`Resource: "*"` narrowed: a used action is granted on what the runs have shown, where that is settled.

A resource that no run has shown yet is the risk: the next run may need it. So every use has to be known whole, each
pattern has to be shown by as many runs as a removal takes, and what the earlier half of the runs has shown has to
cover what the later half used. What too few runs used is granted on all things of its kind that runs used by any
action, where these were shown often enough. An action that speaks of what another action makes is narrowed only
together with it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain

from leastpriv.diff.compare import Difference, Entry
from leastpriv.evidence.created_resources import Made, made_of
from leastpriv.evidence.iam_paths import without_path
from leastpriv.models import ChangeKind, Outcome, Usage
from leastpriv.permissions.arn_templates import IN_PART, NAMED
from leastpriv.permissions.generalize import Pattern, Seen, patterns_of
from leastpriv.permissions.lifecycle import siblings_of
from leastpriv.permissions.patterns import action_matches, resource_covers
from leastpriv.permissions.resource_types import action_of, fits, with_any_path
from leastpriv.permissions.volatility import is_open_anyway, service_of
from leastpriv.policy.document import Statement
from leastpriv.proposal.guards.people_and_history import used_elsewhere
from leastpriv.proposal.guards.registry import objection_to
from leastpriv.proposal.models import Candidate, Change, HeldBack, Objection, Situation

_ESCAPED = re.compile(r"\$\{[*?$]\}")


@dataclass(frozen=True, slots=True)
class _Learned:
    """A used action on `*`, and the patterns that stand for what was seen; or the reason why they may not."""

    entry: Entry
    """As if the action stood for itself."""
    patterns: tuple[Pattern, ...] = ()
    objection: Objection | None = None

    @property
    def action(self) -> str:
        return self.entry.granted[0]


@dataclass(frozen=True, slots=True)
class _Known:
    """What the evidence shows of all resources."""

    made: Made
    whole: Mapping[str, Sequence[Usage]]
    """Service -> usages that name all of the one thing that they are about."""
    bare: frozenset[str]
    """ARNs of IAM without a path for sure."""

    def kin(self, action: str) -> list[Seen]:
        """Things that an action could be about, by whatever action they were used."""
        own = self.whole.get(action.partition(":")[0], ())
        return self.made.seen(usage for usage in own if fits(action, usage.need.permission.resource))


def narrowed_resources(
    difference: Difference, changes: Sequence[Change], situation: Situation, *, escapes: bool
) -> tuple[list[Change], list[HeldBack]]:
    """Judges each used action that a statement would still grant on `*` after `changes`.

    `escapes`: the policy's version can write names with `*`, `?` or `$`. With `resources: keep` nothing is narrowed.
    """
    if situation.options.keep_forms:
        return [], []
    usages = situation.evidence.usages
    allowed = [usage for usage in usages if usage.outcome is Outcome.ALLOWED]
    bare = without_path(usage.need for usage in allowed if usage.succeeded)
    whole: dict[str, list[Usage]] = {}
    for usage in allowed:
        if _is_whole(usage, bare):
            whole.setdefault(service_of(usage.need.permission.resource), []).append(usage)
    known = _Known(made_of(usages), whole, bare)
    makers = makers_of(situation)
    learned = [
        _learn(entry, situation, makers.get(entry.granted[0], ()), known, escapes)
        for entry in _on_all(difference, changes)
    ]
    settled = _with_their_makers(learned, makers)
    narrowed = [_change(each) for each in settled if not each.objection]
    return narrowed, [_held(each, each.objection) for each in settled if each.objection]


def _on_all(difference: Difference, changes: Sequence[Change]) -> Iterable[Entry]:
    """Used actions on `*`, each as an entry of its own; none that an unchanged wildcard on `*` grants as well."""
    decided = {(change.statement, change.action): change for change in changes if change.kind is not ChangeKind.ADD}
    on_all = [entry for entry in difference.entries if "*" in entry.statement.resources]
    wide = [entry for entry in on_all if entry.is_wildcard and (entry.statement.index, entry.pattern) not in decided]
    found: dict[tuple[int, str], Entry] = {}
    for entry in on_all:
        change = decided.get((entry.statement.index, entry.pattern))
        if entry.is_wildcard:
            names = [(action, action) for action in change.used] if change else []
        else:
            names = [] if change else [(entry.pattern, action) for action in entry.granted]
        for pattern, action in names:
            uses = {action: entry.uses.get(action, ())}
            if _is_used(uses[action]) and _takes_resources(action) and not _grants_any(wide, action):
                known = found.get((entry.statement.index, action))
                own = replace(entry, pattern=pattern, granted=(action,), uses=uses)
                found[entry.statement.index, action] = known or own
    return found.values()


def _is_used(usages: Iterable[Usage]) -> bool:
    return any(usage.outcome is Outcome.ALLOWED for usage in usages)


def _takes_resources(action: str) -> bool:
    known = action_of(action)
    return known is not None and bool(known.resource_types)


def _grants_any(entries: Iterable[Entry], action: str) -> bool:
    return any(
        action in entry.granted if entry.statement.not_actions else action_matches(entry.pattern, action)
        for entry in entries
    )


def makers_of(situation: Situation) -> Mapping[str, tuple[str, ...]]:
    """Used action -> the used ones that make the things it is about."""
    used = [action for action, usages in situation.used.items() if _is_used(usages)]
    found: dict[str, list[str]] = {}
    for maker_action in filter(makes_its_resource, used):
        for sibling in siblings_of((maker_action,)):
            found.setdefault(sibling, []).append(maker_action)
    return {action: tuple(found[action]) for action in used if action in found}


def _learn(entry: Entry, situation: Situation, makers: Sequence[str], known: _Known, escapes: bool) -> _Learned:
    action = entry.granted[0]
    objection = objection_to(Candidate(action, entry), situation)
    if objection:
        return _Learned(entry, (), objection)
    if not _can_be_copied(entry.statement):
        return _Learned(entry, (), Objection("condition", "its statement's condition cannot be written a second time"))
    own = [usage for name in makers for usage in situation.used[name] if fits(action, usage.need.permission.resource)]
    usages = [usage for usage in (*entry.uses[action], *own) if usage.outcome is Outcome.ALLOWED]
    partly = next((usage for usage in usages if not _is_whole(usage, known.bare)), None)
    if partly:
        reason = f"a call names its resource in part or by a like name: {partly.need.permission.resource}"
        return _Learned(entry, (), Objection("unknown-resource", reason))
    found = known.made.seen(usages)
    new_things = makes_its_resource(action)
    unsettled = _unsettled(found, found, situation, escapes=escapes, new_things=new_things)
    if unsettled and unsettled.guard == "few-runs":
        # Others may show how its things are named; which of them it will be about, too few runs tell: all, then.
        kin = [*found, *known.kin(action)]
        found = found if new_things else kin
        unsettled = _unsettled(found, kin, situation, escapes=escapes, new_things=new_things)
    patterns = _patterns(found, situation)
    before = used_elsewhere(entry, (each.pattern for each in patterns), situation.recollection)
    return _Learned(entry, patterns, unsettled or before)


_MAKES = re.compile("Create|Put|Register|Run|Allocate|Publish|Import|Upload|Request|Copy|Restore|Issue")


@lru_cache(maxsize=4_096)
def makes_its_resource(action: str) -> bool:
    """Whether an action makes the thing that it is authorised on: `CreateQueue` a queue, `PutMetricAlarm` an alarm.

    Not `PutBucketPolicy`, whose bucket is there, nor `PutItem`. Read from the name.
    """
    known = action_of(action)
    match = _MAKES.match(action.partition(":")[2])
    if known is None or match is None:
        return False
    noun = _word(match.string[match.end() :])
    return any(noun.endswith(_word(kind.name)) for kind in known.resource_types)


def _word(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removesuffix("s")


def _can_be_copied(statement: Statement) -> bool:
    """Whether a statement's condition, if any, can stand in another one as well; templates may know parts of it."""
    return statement.conditions_readable and not any("${" in v for each in statement.conditions for v in each.values)


def _is_whole(usage: Usage, bare: Collection[str]) -> bool:
    """Whether a call names all of the one thing that it is about; of an IAM resource also the path."""
    need = usage.need
    resource = need.permission.resource
    if ":log-group:" in resource:
        resource = resource.removesuffix(":*")
    if not need.exact:
        return need.derivation == IN_PART and is_open_anyway(resource)
    pathless = need.derivation == NAMED and with_any_path(resource) and resource not in bare
    return not pathless and not set(_ESCAPED.sub("", resource)) & {"*", "?"}


def _patterns(found: Sequence[Seen], situation: Situation) -> tuple[Pattern, ...]:
    if not situation.options.exact_resources:
        return patterns_of(found)
    return tuple(Pattern(resource, (resource,), ()) for resource in sorted({each.resource for each in found}))


def _unsettled(
    found: Sequence[Seen], shown: Sequence[Seen], situation: Situation, *, escapes: bool, new_things: bool
) -> Objection | None:
    """Why a later run may well use another resource; `shown` are the uses that tell how often a thing was."""
    patterns = _patterns(found, situation)
    if not escapes and any("${" in pattern.pattern for pattern in patterns):
        return Objection("policy-version", "its name has `*`, `?` or `$`, which only Version 2012-10-17 can write")
    least = situation.options.minimum_runs
    for pattern in patterns:
        if new_things and not pattern.openings:
            return Objection(
                "makes-new", f"it makes new things, and no pattern says how they are named: {pattern.pattern}"
            )
        runs = {run for each in shown if resource_covers(pattern.pattern, each.resource) for run in each.runs}
        if len(runs) < least:
            return Objection("few-runs", f"{len(runs)} of {least} runs used it on {pattern.pattern}")
    order = [run.id for run in situation.evidence.runs]
    using = sorted({*chain.from_iterable(each.runs for each in found)}, key=order.index)
    early = {*using[: (len(using) + 1) // 2]}
    # That names change is known only when the later runs have shown it.
    before = [
        replace(each, runs=left, family=None)
        for each in found
        if (left := tuple(run for run in each.runs if run in early))
    ]
    known = _patterns(before, situation)
    for each in found:
        if not any(resource_covers(pattern.pattern, each.resource) for pattern in known):
            return Objection("new-resources", f"only the later half of the runs used it on {each.resource}")
    return None


def _with_their_makers(learned: Sequence[_Learned], makers: Mapping[str, tuple[str, ...]]) -> list[_Learned]:
    """Holds an action back while what makes its things stays on `*`."""
    found = list(learned)
    while True:
        open_ones = {each.action for each in found if each.objection}
        held = [
            replace(each, objection=Objection("sibling", f"{', '.join(named)} stays on `*` and may make another"))
            if not each.objection and (named := [name for name in makers.get(each.action, ()) if name in open_ones])
            else each
            for each in found
        ]
        if held == found:
            return found
        found = held


def _change(each: _Learned) -> Change:
    entry = each.entry
    usages = tuple(usage for usage in entry.uses[each.action] if usage.outcome is Outcome.ALLOWED)
    return Change(
        kind=ChangeKind.NARROW,
        action=entry.pattern,
        resources=entry.resources,
        statement=entry.statement.index,
        sid=entry.statement.sid,
        line=entry.statement.line,
        used=(each.action,),
        usages=usages,
        onto=tuple(pattern.pattern for pattern in each.patterns),
        patterns=each.patterns,
    )


def _held(each: _Learned, objection: Objection) -> HeldBack:
    entry = each.entry
    return HeldBack(ChangeKind.NARROW, entry.pattern, entry.resources, objection, entry.statement.sid)
