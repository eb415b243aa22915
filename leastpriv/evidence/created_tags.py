"""Collects the tags with which one principal's calls created resources, and adds them to the needs
of later calls.

A deletion of a resource whose id AWS chose can be granted on every resource of the type only. Its
tags show whose the resource is, and the record of its creation shows the tags; those count that
name a project or a copy of it (`tag_keys.tsv`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from msgspec import Struct, structs

from leastpriv.evidence.created_resources import ResourceId
from leastpriv.evidence.models import CallTotals, CreatedTags, GroupKey, regrouped
from leastpriv.models import Basis, Call, Condition, Need, Outcome
from leastpriv.permissions.catalog import is_read, sensitivity
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.generalize import deletes
from leastpriv.permissions.lifecycle import created_types, is_tagging
from leastpriv.permissions.project_tags import Tags, is_copy_key, key_rank, tags_by_type
from leastpriv.permissions.request import creates
from leastpriv.permissions.resource_types import variables_of_arn
from leastpriv.permissions.service_facts import rules_of
from leastpriv.permissions.volatility import is_whole_type, service_of

if TYPE_CHECKING:
    from leastpriv.policy.document import Document, Statement

CALLED_VIA = "aws:CalledVia"
RESOURCE_TAG = "aws:ResourceTag/"
_TAGS_OF_API = "::/tags/"
"""What precedes the encoded ARN of an API where API Gateway changes its tags: its actions are HTTP
verbs, so that only the resource shows it.
"""
_MOST_CREATIONS = 2_000
"""Different sets of tags; beyond this number the tags of a creation count as unknown."""


class _CreationKey(NamedTuple):
    """What creations that count together have in common."""

    service: str
    kind: str
    """Resource type in lower case."""
    tags: Tags


class TaggedCreations(Struct, array_like=True):
    """The creations of one type of resource with the same tags."""

    service: str
    kind: str
    tags: Tags
    ids: set[str]
    """Ids of the resources."""
    runs: set[int]


class TagLedger:
    """Counts the creations of each resource type by the tags in their requests."""

    def __init__(self) -> None:
        self._creations: dict[_CreationKey, TaggedCreations] = {}

    def note(self, call: Call, prefix: str, run: int, made: Collection[str]) -> None:
        """Counts one call that succeeded, and the ids of what it made; one that creates nothing is
        ignored.
        """
        kinds = created_types(prefix, call.name)
        if not kinds:
            return
        tags = {} if call.parameters_omitted else dict(tags_by_type(call.parameters))
        for kind in dict.fromkeys((kinds[0], *filter(None, tags))):
            tag_keys = tuple(sorted({*tags.get(kind, ()), *tags.get("", ())}))
            creations = self._creations_of(_CreationKey(prefix, kind, tag_keys))
            creations.runs.add(run)
            if kind == kinds[0] and tag_keys:
                creations.ids.update(made)
        # Twice the limit: a sort for each set of tags past it would take long.
        if len(self._creations) > 2 * _MOST_CREATIONS:
            self._drop_tags()

    def noted(self) -> list[TaggedCreations]:
        """Returns the creations, for another ledger to add."""
        return list(self._creations.values())

    def absorb(self, others: Iterable[TaggedCreations], shift: int) -> None:
        """Adds the creations of another ledger, whose runs differ by `shift` from the new ones."""
        for other in others:
            creations = self._creations_of(_CreationKey(other.service, other.kind, other.tags))
            creations.ids.update(other.ids)
            creations.runs.update([run + shift for run in other.runs])
        if len(self._creations) > 2 * _MOST_CREATIONS:
            self._drop_tags()

    def _creations_of(self, key: _CreationKey) -> TaggedCreations:
        creations = self._creations.get(key)
        if creations is None:
            creations = self._creations[key] = TaggedCreations(*key, set(), set())
        return creations

    def _drop_tags(self) -> None:
        """Counts the largest sets of tags past the limit as unknown."""
        tagged = sorted(key for key in self._creations if key.tags)
        for key in tagged[_MOST_CREATIONS:]:
            runs = self._creations.pop(key).runs
            self._creations_of(key._replace(tags=())).runs.update(runs)

    def close(
        self, run_ids: Callable[[frozenset[int]], tuple[str, ...]]
    ) -> tuple[CreatedTags, ...]:
        """Returns the creations, sorted."""
        self._drop_tags()
        return tuple(
            CreatedTags(*key, run_ids(frozenset(creations.runs)))
            for key, creations in self._ordered()
        )

    def with_context(self, groups: Mapping[GroupKey, CallTotals]) -> Mapping[GroupKey, CallTotals]:
        """Returns the groups; needs of deletions and of sensitive actions get what the records show
        of them.

        The tags of a resource count as unknown where any call of the principal changed them later.
        """
        self._drop_tags()
        tags_by_id = {
            ResourceId(key.service, created_id): key.tags
            for key, creations in self._ordered()
            for created_id in creations.ids
        }
        for key in groups if tags_by_id else ():
            for need in filter(_changes_tags, key.needs):
                tags_by_id.pop(_id_of(need.permission.resource), None)

        def with_context(key: GroupKey, totals: CallTotals) -> GroupKey:
            if key.outcome is not Outcome.ALLOWED or not (tags_by_id or totals.forwarded):
                return key
            needs = [_with_context(need, totals, tags_by_id) for need in key.needs]
            return key._replace(needs=tuple(needs))

        return regrouped(groups, with_context)

    def _ordered(self) -> list[tuple[_CreationKey, TaggedCreations]]:
        return sorted(self._creations.items(), key=itemgetter(0))


def takes_conditions(action: str) -> bool:
    """Whether an action on an id that AWS chose may get a condition: it deletes, or is sensitive
    and no creation.
    """
    return deletes(action) or bool(sensitivity(action) and not creates(action.partition(":")[2]))


def tagged_types(action: str) -> Collection[str]:
    """The resource types, in lower case, by whose tags AWS authorizes such an action."""
    return {kind for kind, rules in rules_of(action).types.items() if rules.tagged}


def called_via(forwarded_by: Sequence[str], programs: Collection[str]) -> Condition | None:
    """The condition that calls meet if one service forwarded all of them, and AWS names it in
    `aws:CalledVia`.
    """
    if (
        len(forwarded_by) != 1
        or programs
        or forwarded_by[0] not in {row["service"] for row in table("called_via")}
    ):
        return None
    return Condition("ForAnyValue:StringEquals", CALLED_VIA, tuple(forwarded_by))


def written_conditions(statement: Statement) -> tuple[Condition, ...]:
    """The conditions of a statement if each has a form that this package writes: on ids that AWS
    chooses.
    """
    is_on_ids = statement.effect == "Allow" and all(map(is_whole_type, statement.resources))
    if not (is_on_ids and statement.conditions_readable):
        return ()
    conditions = tuple(statement.conditions)
    return conditions if all(map(_is_written, conditions)) else ()


def _is_written(condition: Condition) -> bool:
    """Whether a condition has one of the forms that this package writes."""
    if condition.key == CALLED_VIA:
        return condition.operator == "ForAnyValue:StringEquals" and len(condition.values) == 1
    if not condition.key.startswith(RESOURCE_TAG):
        return False
    key = condition.key.removeprefix(RESOURCE_TAG)
    if is_copy_key(key):
        return condition.operator in ("StringLike", "StringNotEquals")
    is_of_project = key_rank(key) is not None
    return is_of_project and condition.operator == "StringEquals" and len(condition.values) == 1


def with_unmet_conditions(need: Need, documents: Iterable[Document]) -> Need:
    """Returns a need that AWS denied, without the keys of the conditions under which the documents
    grant it.

    The denial shows that a condition that this package wrote did not hold; one that a person wrote
    remains unknown.
    """
    action = need.permission.action
    if not takes_conditions(action):
        return need
    # A list of what a role used needs no policy.
    from leastpriv.policy.evaluate import statements_naming

    naming = (
        statement for document in documents for statement in statements_naming(document, action)
    )
    keys = {condition.key for statement in naming for condition in written_conditions(statement)}
    absent = tuple(Condition("Null", key, ()) for key in sorted(keys))
    return structs.replace(need, context=absent) if absent else need


def _with_context(need: Need, totals: CallTotals, known: Mapping[ResourceId, Tags]) -> Need:
    action = need.permission.action
    if not takes_conditions(action):
        return need
    tags = known.get(_id_of(need.permission.resource), ()) if known and tagged_types(action) else ()
    context = [Condition("StringEquals", RESOURCE_TAG + key, (value,)) for key, value in tags]
    via = called_via(totals.forwarded, totals.programs)
    contexts = tuple([*context, via] if via else context)
    return structs.replace(need, context=contexts) if contexts else need


def _changes_tags(need: Need) -> bool:
    """Whether a call changed the tags of a resource after its creation."""
    action = need.permission.action
    if need.basis is not Basis.OBSERVED or is_read(action):
        return False
    return is_tagging(action) or _TAGS_OF_API in need.permission.resource


def _id_of(resource: str) -> ResourceId:
    """Returns the last id in the name of a resource; for the tags of an API that of the API."""
    if _TAGS_OF_API in resource:
        resource = unquote(resource.partition(_TAGS_OF_API)[2])
    prefix = service_of(resource)
    parts = variables_of_arn(prefix, resource) if prefix else ()
    return ResourceId(prefix, parts[-1].text if parts else "")
