"""The conditions of an action on every resource of a type whose id AWS chooses: they bound it where
no name can.

Each recorded call met them: one service forwarded all calls (`aws:CalledVia`), or the creations
have a tag of the project. A deletion also takes the tag of the copy, where the creations have one:
the end of a preview spares production.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from leastpriv.evidence.created_tags import (
    RESOURCE_TAG,
    called_via,
    tagged_types,
    takes_conditions,
)
from leastpriv.evidence.models import CreatedTags, Evidence
from leastpriv.models import Condition, Outcome, Usage, grouped
from leastpriv.permissions.names.app_names import destroys
from leastpriv.permissions.names.copies import Copies
from leastpriv.permissions.names.spelling import spelling_of
from leastpriv.permissions.names.words import key_of, words_of
from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.project_tags import is_copy_key, key_rank
from leastpriv.permissions.resource_types import types_of_arn
from leastpriv.permissions.volatility import ServiceType, is_whole_type, service_of, service_types
from leastpriv.policy.conditions import condition_holds
from leastpriv.proposal.models import Change

_NO_COPIES = Copies()


def id_conditions(
    action: str,
    resources: Sequence[str],
    usages: Iterable[Usage],
    evidence: Evidence,
    copies: Copies = _NO_COPIES,
) -> tuple[Condition, ...]:
    """The conditions of a deletion or a sensitive action on every resource of a type; none where
    the records show none.

    Args:
        action: the action.
        resources: where it would be granted.
        usages: those of the action, or of the actions that it belongs to where no call used it.
        evidence: shows the creations.
        copies: the copies of the app.
    """
    if not (resources and all(map(is_whole_type, resources)) and takes_conditions(action)):
        return ()
    known_usages = [usage for usage in usages if usage.outcome is not Outcome.UNKNOWN]
    vias = {called_via(usage.forwarded_by, usage.programs) for usage in known_usages}
    if len(vias) == 1 and (via := vias.pop()):
        return (via,)
    created = _creations(action, resources, evidence)
    contexts = [usage.need.context for usage in known_usages if usage.action == action]
    of_project = _of_project(created, contexts)
    if not destroys(action):
        return of_project
    return (*of_project, *_of_short_lived(created, contexts, copies))


def is_of_copy(condition: Condition) -> bool:
    """Whether a condition is about the tag of a copy."""
    return is_copy_key(condition.key.removeprefix(RESOURCE_TAG))


def by_id_conditions(
    change: Change, usages: Sequence[Usage], evidence: Evidence, copies: Copies
) -> Iterator[Change]:
    """Yields an addition in parts by the conditions that their ids take: an API apart from its
    routes, which have no tags of their own.
    """
    action = change.action
    conditions = id_conditions(action, change.resources, usages, evidence, copies)
    if conditions:
        yield replace(change, conditions=conditions)
        return
    names_by_types = grouped(
        [(types_of_arn(service_of(name), name), name) for name in change.resources]
    )
    names_by_conditions: dict[tuple[Condition, ...], list[str]] = {}
    for names in names_by_types.values():
        usages_of_type = [usage for usage in usages if _is_on(usage, names)]
        of_type = id_conditions(action, names, usages_of_type, evidence, copies)
        names_by_conditions.setdefault(of_type, []).extend(names)
    if len(names_by_conditions) <= 1:
        yield change
        return
    for conditions, names in names_by_conditions.items():
        yield replace(
            change,
            resources=tuple(names),
            patterns=tuple([pattern for pattern in change.patterns if pattern.pattern in names]),
            usages=tuple([usage for usage in change.usages if _is_on(usage, names)]),
            conditions=conditions,
        )


def _is_on(usage: Usage, names: Sequence[str]) -> bool:
    return any(resource_covers(name, usage.resource) for name in names)


def _creations(action: str, resources: Sequence[str], evidence: Evidence) -> Sequence[CreatedTags]:
    """The creations of the types of some resources; none where AWS does not authorize the action by
    the tags of each type, or a type was not created.
    """
    types = frozenset[ServiceType]().union(*map(service_types, resources))
    runs = {run.id for run in evidence.runs}
    created = [
        created_tags
        for created_tags in evidence.created_tags
        if ServiceType(created_tags.service, created_tags.kind) in types
        and not runs.isdisjoint(created_tags.runs)
    ]
    service = action.partition(":")[0]
    tagged = {ServiceType(service, kind) for kind in tagged_types(action)}
    created_types = {
        ServiceType(created_tags.service, created_tags.kind) for created_tags in created
    }
    return created if types <= tagged & created_types else ()


def _of_project(
    created: Sequence[CreatedTags], contexts: Sequence[Sequence[Condition]]
) -> tuple[Condition, ...]:
    """The condition on the most telling tag of a project that each creation has."""
    if not created:
        return ()
    common = set(created[0].tags).intersection(*(created_tags.tags for created_tags in created))
    rank_of_key = {key: key_rank(key) for key, _ in common}
    ranked = sorted(
        (rank, key, value) for key, value in common if (rank := rank_of_key[key]) is not None
    )
    for _, key, value in ranked:
        condition = Condition("StringEquals", RESOURCE_TAG + key, (value,))
        if all(condition in context for context in contexts):
            return (condition,)
    return ()


def _of_short_lived(
    created: Sequence[CreatedTags], contexts: Sequence[Sequence[Condition]], copies: Copies
) -> tuple[Condition, ...]:
    """The conditions on the tag that each creation has for its copy: of the form of short-lived
    copies, and of no long-lived one.
    """
    keys = [{key for key, _ in created_tags.tags if is_copy_key(key)} for created_tags in created]
    for key in sorted(set[str]().union(*keys).intersection(*keys)):
        values = [dict(created_tags.tags)[key] for created_tags in created]
        copy_of_value = {value: key_of(words_of(value)) for value in values}
        conditions = _on_copies(RESOURCE_TAG + key, copy_of_value, copies)
        if conditions and all(
            _is_met(each, context) for each in conditions for context in contexts
        ):
            return conditions
    return ()


def _on_copies(key: str, copy_of_value: Mapping[str, str], copies: Copies) -> tuple[Condition, ...]:
    """The conditions that a tag is that of a short-lived copy."""
    short_lived = [value for value, copy in copy_of_value.items() if copy in copies.short_lived]
    spelling = spelling_of(map(words_of, short_lived))
    if spelling is None:
        return ()
    forms = copies.ending_forms or copies.forms
    of_form = Condition("StringLike", key, tuple(sorted(map(spelling.of, forms))))
    lasting_values = {value for value, copy in copy_of_value.items() if copies.lasts(copy)}
    for copy in copies.lasting:
        if copy:
            lasting_values.add(spelling.of(copies.word_of(copy)))
    conditions: list[Condition] = []
    if "*" not in forms:
        conditions.append(of_form)
    # The form `*` covers production, and so does `pr*` of `pr41`.
    for value in lasting_values:
        if _is_met(of_form, [Condition("StringEquals", key, (value,))]):
            conditions.append(Condition("StringNotEquals", key, tuple(sorted(lasting_values))))
            break
    return tuple(conditions)


def _is_met(condition: Condition, context: Sequence[Condition]) -> bool:
    """Whether a request met a condition; not where its records do not show the tag."""
    values = {shown.key.lower(): shown.values for shown in context}
    return condition_holds(condition, values, complete=False, variables=True) is True
