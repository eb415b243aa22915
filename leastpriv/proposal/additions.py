"""Additions: what the evidence needs and the policy lacks, under the rules of extending (an escalation channel).

`resources: keep`: an addition takes the form in which the committed policy already writes such a resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from leastpriv.evidence.created_resources import Made, made_of
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, ChangeKind, Condition, Need, Usage
from leastpriv.permissions.generalize import Pattern, patterns_of
from leastpriv.permissions.patterns import has_variable, resource_covers
from leastpriv.permissions.resource_types import fits, widest
from leastpriv.permissions.sensitive import sensitivity
from leastpriv.permissions.volatility import Opening
from leastpriv.policy.document import Statement
from leastpriv.proposal.addition_rules import EMERGENCY, is_logged, reviewed, untrusted, unwritable
from leastpriv.proposal.fingerprint import addition_id
from leastpriv.proposal.guards.people_and_history import emergencies_of, is_emergency
from leastpriv.proposal.models import Change, HeldBack, History, Objection, Options


def in_committed_form(action: str, patterns: Iterable[Pattern], statements: Sequence[Statement]) -> tuple[Pattern, ...]:
    """Each pattern as a committed statement about the same service writes it; as it is where none covers it.

    `b/*` stands in place of `b/app.zip` where the policy grants other actions on `b/*`. Of several entries the
    narrowest counts, never `*`. Entries that became equal are one pattern.
    """
    forms = _forms(action, statements)
    found: dict[str, Pattern] = {}
    for pattern in patterns:
        covering = [form for form in forms if resource_covers(form, pattern.pattern) and fits(action, form)]
        form = next((form for form in covering if all(resource_covers(other, form) for other in covering)), "")
        if form and form != pattern.pattern:
            sid = forms[form]
            opening = Opening("resource", f"the committed statement {sid or 'without a Sid'} writes it so")
            pattern = replace(pattern, pattern=form, openings=(opening,))
        known = found.get(pattern.pattern)
        found[pattern.pattern] = _joined_resources(known, pattern) if known else pattern
    return tuple(found.values())


def _forms(action: str, statements: Sequence[Statement]) -> dict[str, str]:
    """Resource entries of the Allow statements that grant actions of the same service -> Sid."""
    prefix = action.partition(":")[0].lower()
    return {
        entry: statement.sid
        for statement in statements
        if statement.effect == "Allow" and any(each.lower().startswith(f"{prefix}:") for each in statement.actions)
        for entry in statement.resources
        if entry.strip("*") and not has_variable(entry)
    }


def _joined_resources(one: Pattern, other: Pattern) -> Pattern:
    covers = tuple(sorted({*one.covers, *other.covers}))
    return replace(one, covers=covers, openings=tuple(dict.fromkeys((*one.openings, *other.openings))))


def additions(
    missing: Sequence[Usage],
    evidence: Evidence,
    options: Options,
    history: History,
    committed: Sequence[Statement] = (),
    *,
    escapes: bool = True,
) -> tuple[list[Change], list[HeldBack]]:
    """Changes that add what is missing, one an action, resources and conditions; what is refused, with the reason."""
    emergencies = emergencies_of(evidence.runs, options.break_glass)
    accepted: dict[str, list[Usage]] = {}
    refused: list[HeldBack] = []
    for usage in missing:
        objection = (
            unwritable(usage, evidence, options, escapes=escapes)
            or untrusted(usage, history.origins)
            or (EMERGENCY if is_emergency(usage, emergencies) else None)
        )
        if objection:
            action, resource = usage.need.permission.action, usage.need.permission.resource
            refused.append(HeldBack(ChangeKind.ADD, action, (resource,), objection, usages=(usage,)))
        else:
            accepted.setdefault(usage.need.permission.action, []).append(usage)
    changes: list[Change] = []
    teachers = [usage for usages in accepted.values() for usage in usages]
    made = made_of(evidence.usages, teachers, reviewed(history.origins))
    for action, usages, conditions in _groups(accepted, evidence):
        change = _change(action, usages, evidence, options, made)
        removers = (history.removed.get(usage.need.permission, 0) for usage in usages)
        change = replace(change, conditions=conditions, removed_by=max(removers, default=0))
        change, declined = _undeclined(_in_form(change, committed) if options.keep_forms else change, history.declined)
        changes.extend([change] if change.resources else [])
        refused.extend(declined)
    # What a removal of ours broke comes back first.
    return sorted(_joined(changes), key=lambda change: not change.removed_by), refused


def _groups(
    accepted: Mapping[str, Sequence[Usage]], evidence: Evidence
) -> Iterator[tuple[str, list[Usage], tuple[Condition, ...]]]:
    """Usages of an action under the same conditions, one that an unconditional one covers among those without."""
    for action, usages in accepted.items():
        free = [resource for each in usages if not _under(each) for resource in _written(each.need, evidence)]
        found: dict[tuple[Condition, ...], list[Usage]] = {}
        for usage in usages:
            own = _written(usage.need, evidence)
            is_covered = all(any(resource_covers(wide, resource) for wide in free) for resource in own)
            found.setdefault(() if is_covered else _under(usage), []).append(usage)
        yield from ((action, found[conditions], conditions) for conditions in found)


def _under(usage: Usage) -> tuple[Condition, ...]:
    return usage.need.permission.conditions


def _joined(changes: Sequence[Change]) -> list[Change]:
    """Changes that differ in the values of one condition alone as one: its values are alternatives."""
    found: dict[object, Change] = {}
    for place, change in enumerate(changes):
        alone = change.conditions[0] if len(change.conditions) == 1 else None
        key = (change.action, change.resources, alone.operator, alone.key) if alone else place
        known = found.setdefault(key, change)
        if alone and known is not change:
            values = tuple(sorted({*known.conditions[0].values, *alone.values}))
            bases = filter(None, (known.basis, change.basis))
            found[key] = replace(
                known,
                conditions=(replace(alone, values=values),),
                usages=(*known.usages, *change.usages),
                basis=_strongest(bases),
            )
    return list(found.values())


def _undeclined(change: Change, declined: Mapping[str, int]) -> tuple[Change, list[HeldBack]]:
    """The change without the resources that a person declined for its action, and these with the reason."""
    numbers = {
        resource: number
        for resource in change.resources
        if (number := declined.get(addition_id(change.action, resource)))
    }
    left = tuple(resource for resource in change.resources if resource not in numbers)
    refused = [
        HeldBack(
            ChangeKind.ADD,
            change.action,
            (resource,),
            Objection("declined", f"it was declined in #{number}"),
            usages=change.usages,
        )
        for resource, number in numbers.items()
    ]
    return replace(change, resources=left), refused


def _change(action: str, usages: Sequence[Usage], evidence: Evidence, options: Options, made: Made) -> Change:
    security = sensitivity(action)
    observed = [made.see(usage, resource) for usage in usages for resource in _written(usage.need, evidence)]
    resources = tuple(dict.fromkeys(each.resource for each in observed))
    patterns: tuple[Pattern, ...] = ()
    logged = tuple(resource for usage in usages if is_logged(usage) for resource in _written(usage.need, evidence))
    if not (options.exact_resources or security or all(usage.denial for usage in usages)):
        # One refusal is no habit: only what allowed calls showed is opened.
        seen = [each for each in observed if each.resource not in logged]
        patterns = patterns_of([*seen, *made.due(seen)])
        resources = tuple(dict.fromkeys((*(found.pattern for found in patterns), *logged)))
    return Change(
        kind=ChangeKind.ADD,
        action=action,
        resources=resources,
        used=(action,),
        basis=_strongest(usage.need.basis for usage in usages),
        usages=tuple(usages),
        security=security,
        patterns=patterns,
    )


def _in_form(change: Change, committed: Sequence[Statement]) -> Change:
    """The change with its resources as committed statements write them; what was not to be opened stays exact."""
    patterns = in_committed_form(change.action, change.patterns, committed)
    resources = tuple(found.pattern for found in patterns)
    return replace(change, patterns=patterns, resources=resources) if patterns else change


def _written(need: Need, evidence: Evidence) -> tuple[str, ...]:
    """The resource as it is written: never a bare `*` where the action takes an ARN."""
    if need.permission.resource == "*" and not need.exact:
        return widest(need.permission.action, evidence.principal, evidence.regions)
    return (need.permission.resource,)


def _strongest(bases: Iterable[Basis]) -> Basis:
    order = (Basis.OBSERVED, Basis.DENIED, Basis.INFERRED)
    return min(bases, key=order.index)
