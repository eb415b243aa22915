"""Additions: permissions that the evidence needs and the policies lack, within the rules for
additions.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.diff.compare import may_have_path
from leastpriv.evidence.bucket_accounts import RESOURCE_ACCOUNT
from leastpriv.evidence.created_resources import CreatedResources, find_created_resources
from leastpriv.evidence.created_tags import written_conditions
from leastpriv.evidence.iam_paths import arns_without_path
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.used_names import names_of
from leastpriv.models import Basis, ChangeKind, Condition, Need, Origin, Outcome, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.catalog import BY_LEVEL, sensitivity
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.generalize import ObservedResource, Pattern, ends
from leastpriv.permissions.names.app_names import AppNames, destroys
from leastpriv.permissions.names.writer import write_resources
from leastpriv.permissions.patterns import (
    has_variable,
    has_wildcard,
    resource_covers,
    resource_overlaps,
    without_covered,
)
from leastpriv.permissions.resource_types import fits, types_of_arn, widest
from leastpriv.permissions.volatility import WildcardPart, service_of
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import names_action, statements_allowing
from leastpriv.proposal.addition_rules import BREAK_GLASS, addition_result, held_addition
from leastpriv.proposal.guards import break_glass_runs, is_break_glass_use
from leastpriv.proposal.id_conditions import by_id_conditions, id_conditions, is_of_copy
from leastpriv.proposal.models import (
    NO_TIME,
    Change,
    Decline,
    GuardResult,
    HeldBackChange,
    History,
    Options,
)
from leastpriv.proposal.origins import addition_by_origin, proved_runs, without_unreviewed
from leastpriv.proposal.self_widening import denial_result, runs_over_budget
from leastpriv.proposal.stability import in_whole_types

_OBJECT_OF_ANY_BUCKET = re.compile(r"arn:[^:]*:s3:::[^/]*[*?][^/]*/.*", re.DOTALL)
_UNMET = "AWS denied a call under the committed condition that"
"""Beginning of the reason of a grant without a condition that it has in the committed policy."""


def unmet_reason(change: Change) -> str:
    """The reason of a grant without a condition that a denied call did not meet; empty for
    others.
    """
    reasons = (opening.reason for pattern in change.patterns for opening in pattern.openings)
    return next((reason for reason in reasons if reason.startswith(_UNMET)), "")


def in_committed_form(
    action: str, patterns: Iterable[Pattern], statements: Sequence[Statement]
) -> tuple[Pattern, ...]:
    """Replaces each pattern by the committed resource of the same service that covers it, if there
    is one.

    `b/*` replaces `b/app.zip` if the policy grants other actions on `b/*`. The narrowest covering
    entry counts, never `*`. Patterns that become equal are merged.
    """
    sid_by_form = _committed_forms(action, statements)
    pattern_by_form: dict[str, Pattern] = {}
    for pattern in patterns:
        form = _narrowest_form(action, pattern.pattern, sid_by_form)
        if form and form != pattern.pattern:
            statement_name = sid_by_form[form] or "without a Sid"
            reason = f"the committed statement {statement_name} has it like this"
            opening = WildcardPart("resource", reason)
            pattern = replace(pattern, pattern=form, openings=(opening,))
        earlier = pattern_by_form.get(pattern.pattern)
        if earlier:
            covers = {*earlier.covers, *pattern.covers}
            openings = dict.fromkeys((*earlier.openings, *pattern.openings))
            pattern = replace(earlier, covers=tuple(sorted(covers)), openings=tuple(openings))
        pattern_by_form[pattern.pattern] = pattern
    return tuple(pattern_by_form.values())


def _committed_forms(action: str, statements: Sequence[Statement]) -> Mapping[str, str]:
    """Returns the resources on which statements allow actions of a service, with their Sid."""
    prefix = f"{action.partition(':')[0].lower()}:"
    sid_by_form: dict[str, str] = {}
    for statement in statements:
        is_of_service = any(entry.lower().startswith(prefix) for entry in statement.actions)
        if statement.effect != "Allow" or not is_of_service:
            continue
        for entry in statement.resources:
            if entry.strip("*") and not has_variable(entry):
                sid_by_form[entry] = statement.sid
    return sid_by_form


def _narrowest_form(action: str, resource: str, forms: Iterable[str]) -> str:
    """Returns the form that covers a resource and that all its other forms cover; empty without
    one.
    """
    covering = [form for form in forms if resource_covers(form, resource) and fits(action, form)]
    for form in covering:
        if all(resource_covers(other_form, form) for other_form in covering):
            return form
    return ""


def additions(
    missing: Sequence[Usage],
    evidence: Evidence,
    options: Options,
    history: History,
    document: Document | None = None,
    *,
    names: AppNames | None = None,
) -> tuple[list[Change], list[HeldBackChange]]:
    """Lists the additions, one per action, resources and conditions, and those that a rule holds
    back.

    Args:
        missing: the usages that no policy allows.
        evidence: all evidence of the target.
        options: the user's options.
        history: what the repository shows.
        document: the committed policy.
        names: the names of the target; None: those of the evidence.
    """
    committed = document.statements if document else ()
    is_draft = not committed
    judged = _judge(missing, evidence, options, document)
    held_back = list(judged.held_back)
    if not judged.accepted and not judged.forbidden:
        return [], held_back
    runs = proved_runs(evidence)
    if names is None:
        names = names_of(evidence.usages, evidence.runs, options.copies, runs)
    naming = _naming_usages(judged, missing, evidence)
    writing = _Writing(
        evidence=evidence,
        options=options,
        created=find_created_resources(evidence.usages, naming, runs),
        names=names,
        pathless=_names_without_path(evidence) if is_draft else frozenset(),
    )
    for (_, guard_result), usages in judged.forbidden.items():
        held_back.append(_forbidden_change(usages, guard_result, writing))
    changes: list[Change] = []
    for action, usages, conditions in _by_conditions(judged.accepted, evidence):
        change = _without_unmet_conditions(_change(action, usages, writing), committed)
        removed_by = max(history.removed.get(usage.need.permission, 0) for usage in usages)
        change = replace(change, conditions=conditions, removed_by=removed_by)
        for part in _by_names(change, usages, writing, committed):
            part, declined = _without_declined(part, history, evidence)
            changes += _in_own_account(part, evidence)
            held_back.extend(declined)
    # An addition that restores an earlier removal comes first.
    merged = _without_needless_conditions(_merge_condition_values(changes))
    return sorted(merged, key=lambda change: not change.removed_by), held_back


class _JudgedUsages(Struct):
    """The usages that no policy allows, by what the rules for additions make of them."""

    accepted: dict[str, list[Usage]] = {}
    """By action."""
    held_back: list[HeldBackChange] = []
    forbidden: dict[tuple[str, GuardResult], list[Usage]] = {}
    """Allowed calls of what no policy file may grant, by action and guard."""


def _judge(
    missing: Sequence[Usage], evidence: Evidence, options: Options, document: Document | None
) -> _JudgedUsages:
    """Asks the guards of additions about each usage that no policy allows."""
    over_budget = runs_over_budget(evidence)
    reviewed = without_unreviewed(evidence)
    break_glass = break_glass_runs(evidence.runs, options.break_glass)
    judged = _JudgedUsages()
    for usage in missing:
        action = usage.need.permission.action
        guard_result = (
            addition_result(usage, evidence, options, document, reviewed)
            or addition_by_origin(usage, evidence, options)
            or denial_result(usage, evidence, over_budget)
        )
        if guard_result is None and is_break_glass_use(usage, break_glass):
            guard_result = BREAK_GLASS
        if guard_result is None:
            judged.accepted.setdefault(action, []).append(usage)
        elif guard_result.guard == "forbidden" and usage.outcome is Outcome.ALLOWED:
            judged.forbidden.setdefault((action, guard_result), []).append(usage)
        else:
            judged.held_back.append(held_addition(usage, guard_result))
    return judged


def _naming_usages(
    judged: _JudgedUsages, missing: Sequence[Usage], evidence: Evidence
) -> list[Usage]:
    """Returns the usages that show names: of the additions, and of needs that the policies already
    allow, where reviewed code used them.
    """
    runs = proved_runs(evidence)
    naming = [usage for usages in judged.accepted.values() for usage in usages]
    lacking = {usage.need.permission for usage in missing}
    for usage in evidence.usages:
        is_proved = runs is None or not runs.isdisjoint(usage.runs)
        if is_proved and usage.need.permission not in lacking:
            naming.append(usage)
    return naming


def _forbidden_change(
    usages: Sequence[Usage], guard_result: GuardResult, writing: _Writing
) -> HeldBackChange:
    """Returns the addition of one action that no policy file may grant, as it would be written."""
    action = usages[0].need.permission.action
    resources = _change(action, usages, writing).resources
    return HeldBackChange(
        ChangeKind.ADD,
        action,
        resources,
        guard_result,
        usages=tuple(usages),
        conditions=id_conditions(action, resources, usages, writing.evidence, writing.names.copies),
    )


def _by_names(
    change: Change, usages: Sequence[Usage], writing: _Writing, committed: Sequence[Statement]
) -> Iterator[Change]:
    """Yields an addition in parts: by the conditions that bound ids of resources, each in the forms
    that the committed policy has.
    """
    parts: Iterable[Change] = (change,)
    if not change.conditions:
        parts = by_id_conditions(change, usages, writing.evidence, writing.names.copies)
    for part in parts:
        if writing.options.keep_forms and not part.security:
            yield _with_committed_resources(part, committed)
        else:
            yield part


def _without_unmet_conditions(change: Change, committed: Sequence[Statement]) -> Change:
    """Names the resources of a statement whose condition (0034) a denied call did not meet; a
    sensitive action none.
    """
    if change.security:
        return change
    conditions_by_form = _conditions_by_form(change.action, committed)
    if not conditions_by_form:
        return change
    pattern_by_form: dict[str, Pattern | None] = {}
    for resource in change.resources:
        forms = (form for form in conditions_by_form if resource_covers(form, resource))
        form = next(forms, "")
        if not form:
            pattern_by_form[resource] = None
            continue
        sentences = [condition.sentence() for condition in conditions_by_form[form]]
        opening = WildcardPart("resource", f"{_UNMET} {' and '.join(sentences)}")
        pattern_by_form[form] = Pattern(form, (resource,), (opening,))
    patterns = (*change.patterns, *filter(None, pattern_by_form.values()))
    return replace(change, resources=tuple(pattern_by_form), patterns=patterns)


def _conditions_by_form(
    action: str, committed: Sequence[Statement]
) -> Mapping[str, Sequence[Condition]]:
    """Returns the resources on which the committed policy names an action under a condition."""
    conditions_by_form: dict[str, Sequence[Condition]] = {}
    for statement in committed:
        if not statement.conditions or not names_action(statement, action):
            continue
        conditions = written_conditions(statement)
        if conditions:
            conditions_by_form.update(dict.fromkeys(statement.resources, conditions))
    return conditions_by_form


def _by_conditions(
    accepted: Mapping[str, Sequence[Usage]], evidence: Evidence
) -> Iterator[tuple[str, list[Usage], tuple[Condition, ...]]]:
    """Groups an action's usages by conditions; a usage that an unconditional one covers needs no
    condition.
    """
    for action, usages in accepted.items():
        unconditional: set[str] = set()
        for usage in usages:
            if not _conditions(usage):
                unconditional.update(_written_resources(usage.need, evidence))
        usages_by_conditions: dict[tuple[Condition, ...], list[Usage]] = {}
        for usage in usages:
            conditions = _conditions(usage)
            if conditions and _are_covered(_written_resources(usage.need, evidence), unconditional):
                conditions = ()
            usages_by_conditions.setdefault(conditions, []).append(usage)
        for conditions, usages_of_conditions in usages_by_conditions.items():
            yield action, usages_of_conditions, conditions


def _are_covered(resources: Iterable[str], patterns: Collection[str]) -> bool:
    """Whether each resource is one of some patterns, or covered by a wildcard of them."""
    wildcards = [pattern for pattern in patterns if has_wildcard(pattern)]
    return all(
        resource in patterns or any(resource_covers(wildcard, resource) for wildcard in wildcards)
        for resource in resources
    )


def _conditions(usage: Usage) -> tuple[Condition, ...]:
    return usage.need.permission.conditions


def _merge_condition_values(changes: Sequence[Change]) -> list[Change]:
    """Merges changes that differ only in the values of one condition: its values are
    alternatives.
    """
    change_by_key: dict[object, Change] = {}
    for index, change in enumerate(changes):
        alone = change.conditions[0] if len(change.conditions) == 1 else None
        key = (change.action, change.resources, alone.operator, alone.key) if alone else index
        earlier = change_by_key.setdefault(key, change)
        if alone and earlier is not change:
            values = tuple(sorted({*earlier.conditions[0].values, *alone.values}))
            bases = filter(None, (earlier.basis, change.basis))
            usages, condition = (*earlier.usages, *change.usages), replace(alone, values=values)
            change_by_key[key] = replace(
                earlier, conditions=(condition,), usages=usages, basis=_strongest(bases)
            )
    return list(change_by_key.values())


def _without_needless_conditions(changes: Sequence[Change]) -> list[Change]:
    """Merges a conditional change into the unconditional one of its action whose patterns cover all
    its resources.
    """
    free = {change.action: place for place, change in enumerate(changes) if not change.conditions}
    kept_changes, gone = list(changes), set[int]()
    for index, change in enumerate(changes):
        unconditional = free.get(change.action, index)
        wider_resources = changes[unconditional].resources
        if unconditional != index and all(
            any(resource_covers(wider, name) for wider in wider_resources)
            for name in change.resources
        ):
            kept_changes[unconditional] = replace(
                kept_changes[unconditional],
                usages=(*kept_changes[unconditional].usages, *change.usages),
            )
            gone.add(index)
    return [change for place, change in enumerate(kept_changes) if place not in gone]


def _without_declined(
    change: Change, history: History, evidence: Evidence
) -> tuple[Change, list[HeldBackChange]]:
    """Splits a change into the resources that may be added and those that a person declined.

    A decline holds for a wider pattern too, while runs used no other name than the declined ones.
    That of a commit which deletes a merged addition ends when a later call needs it again.
    """
    accepted: list[str] = []
    held_back: list[HeldBackChange] = []
    declined_before: dict[str, Decline] = {}
    for resource in change.resources:
        decline = _decline_of(change, resource, history, evidence)
        names = _used_names(change, resource)
        by_name = ((name, _decline_of(change, name, history, evidence)) for name in names)
        declines = {name: of_name for name, of_name in by_name if of_name}
        if decline is None and len(declines) == len(names):
            decline = max(declines.values())
        if decline is None:
            accepted.append(resource)
            declined_before |= declines
            deletions = (history.deletion_of(change.action, name) for name in (resource, *names))
            ended = [deletion for deletion in deletions if deletion]
            if ended and not declines:
                declined_before[resource] = max(ended, key=lambda deletion: deletion.at)
            continue
        guard_result = GuardResult("declined", f"it was {decline.words}")
        held_back.append(
            HeldBackChange(
                ChangeKind.ADD, change.action, (resource,), guard_result, usages=change.usages
            )
        )
    change = replace(change, resources=tuple(accepted), declined_before=declined_before or None)
    return change, held_back


def _decline_of(change: Change, name: str, history: History, evidence: Evidence) -> Decline | None:
    """Returns the decline of an addition on a name; None where no person declined it, or a call
    needed it after the commit that deletes it.
    """
    decline = history.decline_of(change.action, name)
    if decline:
        return decline
    deletion = history.deletion_of(change.action, name)
    if deletion is None or _last_needed(change, name, evidence) > deletion.at:
        return None
    return deletion


def _last_needed(change: Change, name: str, evidence: Evidence) -> datetime:
    """Returns when a run of reviewed or unknown code last needed an addition on a name."""
    usages = [
        usage for usage in change.usages if resource_overlaps(name, usage.need.permission.resource)
    ] or change.usages
    unreviewed = evidence.runs_of_origin(Origin.UNREVIEWED)
    all_runs = (*evidence.runs, *evidence.logged_runs)
    last_of_run = {run.id: run.last for run in all_runs if run.id not in unreviewed}
    times = [NO_TIME]
    for usage in usages:
        if unreviewed.isdisjoint(usage.runs):
            times.append(usage.last_seen)
            continue
        counted = [last_of_run[run] for run in usage.runs if run in last_of_run]
        times += [min(time, usage.last_seen) for time in counted]
    return max(times)


def _used_names(change: Change, resource: str) -> tuple[str, ...]:
    """Returns the names that runs used and one resource of an addition covers."""
    for pattern in change.patterns:
        if pattern.pattern == resource and pattern.covers:
            return pattern.covers
    return (resource,)


class _Writing(Struct, frozen=True):
    """What decides how the resources of an addition are written."""

    evidence: Evidence
    options: Options
    created: CreatedResources
    names: AppNames
    pathless: frozenset[str] = frozenset()
    """Of a draft: names of IAM whose path no record shows."""


def _names_without_path(evidence: Evidence) -> frozenset[str]:
    """The names of IAM resources that requests have without a path, which no record shows."""
    succeeded = (usage.need for usage in evidence.usages if usage.succeeded)
    pathless = arns_without_path(succeeded)
    names = {
        usage.need.permission.resource
        for usage in evidence.usages
        if usage.denial is None and may_have_path(usage.need)
    }
    return frozenset(names - pathless)


def _change(action: str, usages: Sequence[Usage], writing: _Writing) -> Change:
    """Returns the addition of one action on the resources of its usages: `arn:aws:s3:::shop-*` of
    allowed calls, and exact ones of denials.
    """
    security = sensitivity(action)
    resources_by_usage = {
        usage: _written_resources(usage.need, writing.evidence) for usage in usages
    }
    resources = tuple(dict.fromkeys(chain.from_iterable(resources_by_usage.values())))
    patterns: tuple[Pattern, ...] = ()
    # A denial shows no pattern, since a denied call may ask for any name: only allowed calls are
    # generalized.
    allowed = [usage for usage in usages if not usage.denial]
    if allowed and not writing.options.exact_resources:
        observed = [
            writing.created.observe(usage, resource)
            for usage in allowed
            for resource in resources_by_usage[usage]
        ]
        patterns = _patterns_of(action, observed, security, writing)
        resources = _with_patterns(resources, patterns)
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


def _patterns_of(
    action: str, observed: Sequence[ObservedResource], security: str, writing: _Writing
) -> tuple[Pattern, ...]:
    """Returns the patterns that an addition has for the resources of allowed calls."""
    is_part = security == BY_LEVEL and _is_part_of_written(action, observed, writing.evidence)
    patterns = write_resources(
        action,
        observed,
        writing.names,
        opens_look=not security or is_part,
        principal=writing.evidence.principal,
        pathless=writing.pathless,
    )
    return in_whole_types(patterns)


def _with_patterns(resources: Iterable[str], patterns: Iterable[Pattern]) -> tuple[str, ...]:
    """Returns patterns, and the resources that none of them has or covers."""
    wildcards: list[str] = []
    named: set[str] = set()
    for pattern in patterns:
        wildcards.append(pattern.pattern)
        named.update(pattern.covers)
    others = [
        resource
        for resource in resources
        if resource not in named
        and not any(resource_covers(wildcard, resource) for wildcard in wildcards)
    ]
    return without_covered((*wildcards, *others))


def without_unnamed_state(changes: Sequence[Change]) -> tuple[list[Change], list[Change]]:
    """Splits off deletions of state on every id of a type: the written changes, and the offered
    ones.

    An id carries no copy. Written are the ids that runs destroyed, and what a condition bounds.
    """
    changes_with_names: list[Change] = []
    offered: list[Change] = []
    for change in changes:
        whole_types_of_state = tuple(
            resource
            for resource in change.resources
            if _is_all_state_of_a_type(change.action, resource)
        )
        if not whole_types_of_state or change.conditions or not destroys(change.action):
            changes_with_names.append(change)
            continue
        offered.append(replace(change, resources=whole_types_of_state))
        ids = {
            name
            for pattern in change.patterns
            if pattern.pattern in whole_types_of_state
            for name in pattern.covers
        }
        exact = sorted(name for name in ids if not has_wildcard(name))
        other_resources = [
            resource for resource in change.resources if resource not in whole_types_of_state
        ]
        patterns = tuple(
            pattern for pattern in change.patterns if pattern.pattern in other_resources
        )
        if other_resources or exact:
            resources = tuple(dict.fromkeys((*other_resources, *exact)))
            changes_with_names.append(replace(change, resources=resources, patterns=patterns))
    return changes_with_names, offered


def _is_all_state_of_a_type(action: str, resource: str) -> bool:
    """Whether a pattern covers every id of a type that holds state, and the action may delete them.

    `kms:DeleteAlias` is authorized on the alias and on its key, and deletes the alias alone.
    """
    if not resource.endswith("/*"):
        return False
    service = service_of(resource)
    stateful = {row["type"] for row in table("stateful_ids") if row["service"] == service}
    if stateful.isdisjoint(types_of_arn(service, resource)):
        return False
    known_action = catalog.action(action)
    types = known_action.resource_types if known_action else ()
    return not any(ends(action, kind.name) for kind in types if kind.name not in stateful)


def without_denied(
    changes: Sequence[Change], names: AppNames, policies: Sequence[Document]
) -> list[Change]:
    """Returns the additions; those that destroy leave out the names of long-lived copies.

    What a policy grants already is not denied.
    """
    changes_left: list[Change] = []
    for change in changes:
        granted = [
            resource
            for statement in statements_allowing(policies, change.action)
            for resource in statement.resources or ("*",)
        ]
        is_bounded = any(map(is_of_copy, change.conditions))
        denied = () if is_bounded else names.denied(change.action, change.resources)
        newly_denied = (
            name
            for name in denied
            if not any(resource_overlaps(name, granted_name) for granted_name in granted)
        )
        changes_left.append(replace(change, denied_on=tuple(newly_denied)))
    return changes_left


_WITHOUT_CALL = frozenset({Basis.LIFECYCLE, Basis.DECLARED, Basis.INFERRED})
"""Bases of an addition that no run called."""
_LOCK = ".tflock"
"""Ends the name of the object by which Terraform locks a state in S3; it holds none itself
(https://developer.hashicorp.com/terraform/language/backend/s3, read 2026-11-27).
"""


def with_new_deletions(
    changes: Sequence[Change], names: AppNames, policies: Sequence[Document]
) -> list[Change]:
    """Returns the changes; each addition with the names that it newly allows to delete, except
    those of short-lived copies.
    """
    return [
        replace(change, may_destroy=tuple(_newly_destroyed(change, names, policies)))
        for change in changes
    ]


def _newly_destroyed(
    change: Change, names: AppNames, policies: Sequence[Document]
) -> Iterator[str]:
    """Yields the resources that an addition lets a run destroy for the first time: names that live
    long and that no run has destroyed, and those that another policy denies.
    """
    if change.kind is not ChangeKind.ADD or not destroys(change.action):
        return
    statements = list(statements_allowing(policies, change.action))
    granted = [resource for statement in statements for resource in statement.resources or ("*",)]
    without = {*change.denied_on, *granted}
    for resource in change.resources:
        if any(resource_covers(granted_name, resource) for granted_name in granted):
            continue
        if resource.endswith(_LOCK):
            continue
        if change.basis in _WITHOUT_CALL:
            is_new = not names.is_in_short_lived_copies(resource)
        else:
            is_new = names.spares(change.action, resource)
        if is_new and resource not in without:
            yield resource
    for resource in names.denied(change.action, change.resources):
        if not any(resource_overlaps(resource, earlier_resource) for earlier_resource in without):
            yield resource


def _is_part_of_written(
    action: str, seen: Collection[ObservedResource], evidence: Evidence
) -> bool:
    """Whether the runs write what an action sets a part of: its name begins with theirs
    (`PutObjectAcl`).
    """
    allowed = (
        usage.need.permission for usage in evidence.usages if usage.outcome is Outcome.ALLOWED
    )
    resources_of_parents = {
        parent.resource
        for parent in allowed
        if action.startswith(parent.action) and action != parent.action
    }
    return bool(seen) and all(observed.resource in resources_of_parents for observed in seen)


def _in_own_account(change: Change, evidence: Evidence) -> Iterator[Change]:
    """Yields an addition in two parts: objects of buckets with an open name get the condition that
    the bucket is in the account of the role. Where no record shows the account of a bucket, the
    objects that were used are written without it.
    """
    objects = tuple(
        resource for resource in change.resources if _OBJECT_OF_ANY_BUCKET.fullmatch(resource)
    )
    objects_in_use = {
        name for pattern in change.patterns if pattern.pattern in objects for name in pattern.covers
    }
    other_names = [resource for resource in change.resources if resource not in objects]
    own = own_account(evidence.principal)
    in_own_buckets = {
        usage.need.permission.resource for usage in change.usages if own in usage.need.context
    }
    resources_left = without_covered((*other_names, *sorted(objects_in_use - in_own_buckets)))
    account = (*change.conditions, own)
    for resources, conditions in ((resources_left, change.conditions), (objects, account)):
        if resources:
            patterns = tuple(pattern for pattern in change.patterns if pattern.pattern in resources)
            yield replace(change, resources=resources, patterns=patterns, conditions=conditions)


def own_account(principal: str) -> Condition:
    """The condition of resources in the principal's account: an ARN of a bucket or object does not
    show whose it is.
    """
    return Condition("StringEquals", RESOURCE_ACCOUNT, (principal.split(":")[4],))


def _with_committed_resources(change: Change, committed: Sequence[Statement]) -> Change:
    """Uses the committed policy's resource patterns; a resource without a pattern remains exact."""
    patterns = in_committed_form(change.action, change.patterns, committed)
    own_patterns = {pattern.pattern for pattern in change.patterns}
    resources = dict.fromkeys(
        (
            *(pattern.pattern for pattern in patterns),
            *(r for r in change.resources if r not in own_patterns),
        )
    )
    return replace(change, patterns=patterns, resources=tuple(resources)) if patterns else change


def _written_resources(need: Need, evidence: Evidence) -> tuple[str, ...]:
    """Resources of a need as written: never a bare `*` if the action takes an ARN."""
    if need.permission.resource == "*" and not need.exact:
        return widest(need.permission.action, evidence.principal, evidence.regions)
    return (need.permission.resource,)


def _strongest(bases: Iterable[Basis]) -> Basis:
    order = (Basis.OBSERVED, Basis.DENIED, Basis.INFERRED)
    return min(bases, key=order.index)
