"""Finds lifecycle counterparts of an action, and dependent actions that AWS may deny inside its
call.

In: used actions, `sqs:CreateQueue`, with the tools that called them.
Out: the unused actions that belong to them, `sqs:DeleteQueue` and `sqs:SetQueueAttributes`, by the
used action that explains each: its siblings (by name) or partners (by what the tool does).

A role that created a queue has to update, tag and delete it one day, though no run of the window
did. The rule reads names: verb + noun, `Create` + `Queue`. `data/siblings.tsv` adds what names do
not show.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, lru_cache

from msgspec import Struct

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict, Visibility, facts_of, map_event, visibility
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.mapping import CallNeeds
from leastpriv.permissions.request import DATE, creates, noun_of
from leastpriv.permissions.tool_lifecycle import (
    CDK,
    Phase,
    ResourceKind,
    actions_of_phase,
    conditional_actions,
    making_actions,
    tag_actions,
    types_made_by,
)

_CLOSING = {
    "Attach": "Detach",
    "Associate": "Disassociate",
    "Add": "Remove",
    "Authorize": "Revoke",
    "Subscribe": "Unsubscribe",
}
_KINDS = {
    verb: kind
    for kind, verbs in {
        "make": (
            "Create Put Register Run Allocate Publish Import Upload Request Copy Restore Start"
            " Execute Issue"
        ),
        "change": "Update Modify Set Enable Disable Reset Change Configure",
        "end": "Delete BatchDelete Deregister Deprecate Release Stop Terminate Cancel",
        "read": "BatchGet BatchDescribe Get Describe List Head",
        "tag": "Tag Untag",
        "open": " ".join(_CLOSING),
        "close": " ".join(_CLOSING.values()),
    }.items()
    for verb in verbs.split()
}
_METHODS = {"DELETE": "end", "GET": "read", "PATCH": "change", "POST": "make", "PUT": "make"}
"""Methods of HTTP, the actions of API Gateway."""
_VERBS = re.compile(rf"(?P<verb>{'|'.join(_KINDS)})(?P<noun>[A-Z]\w*)")
_PART = re.compile(
    r"(Code|Config|Configuration|Attribute|Setting|Description|Option|Properties|Tag|Tagging"
    r"|Version|Status)s?"
)
"""What may follow a noun and still name the same resource: `Function` + `Code`, `Queue` +
`Attributes`.
"""
_SERVICE_TAGS = re.compile(
    r"(Tag|Untag)Resources?|(Add|Remove|Create|Delete|Describe|List|CreateOrUpdate)Tags"
    r"((To|From|For|Of)Resource)?|ListResourceTags"
)
"""Tagging actions that serve all resources of a service."""


class _Name(Struct, frozen=True):
    action: str
    kind: str = ""
    """`make`, `change`, `end`, `read`, `tag`, `open`, `close`, `service tag`; empty for another
    form.
    """
    verb: str = ""
    noun: str = ""


def siblings_of(used_actions: Collection[str]) -> Mapping[str, str]:
    """Find the lifecycle counterparts that are not used: sibling -> the used action that explains
    it.

    Names have the catalogue's spelling. Reads imply nothing; an action that ends something implies
    the reads before it. Where several used actions explain one sibling, the first in the alphabet
    does.
    """
    names = sorted({name for action in used_actions if (name := catalog.spelling(action))})
    explained: dict[str, str] = {}
    for action in names:
        for sibling in _siblings(action):
            explained.setdefault(sibling, action)
    return {sibling: explained[sibling] for sibling in sorted(explained) if sibling not in names}


def siblings_among(action: str, used_actions: Iterable[str]) -> tuple[str, ...]:
    """The lifecycle siblings of one action that are among used ones, sorted."""
    name = catalog.spelling(action)
    return tuple(sorted(_siblings(name).intersection(used_actions) - {name})) if name else ()


@cache
def _siblings(action: str) -> frozenset[str]:
    sibling_names = (
        name
        for row in table("siblings")
        if row["used"] == action
        for name in row["siblings"].split(",")
    )
    return frozenset((*_by_name(action), *filter(None, map(catalog.spelling, sibling_names))))


def _by_name(action: str) -> Iterator[str]:
    """Yields the actions of the service on the same noun that follow one of its verb:
    `DeleteQueue` and `TagQueue` for `CreateQueue`.
    """
    action_name = _parse(action)
    if action_name.kind in ("", "read"):
        return
    for other_name in _names(action.partition(":")[0]):
        if other_name.kind == "service tag":
            if action_name.kind not in ("end", "close"):
                yield other_name.action
        elif (
            other_name.kind
            and _follows(action_name, other_name)
            and _same_thing(action_name.noun, other_name.noun)
        ):
            yield other_name.action


def _follows(used_name: _Name, other_name: _Name) -> bool:
    """Returns whether a role that did `used_name` to a resource will need `other_name` for the
    same resource.
    """
    if other_name.kind == "read":
        return True
    if used_name.kind == "open":
        return other_name.verb == _CLOSING[used_name.verb]
    if used_name.kind == "tag":
        return other_name.kind == "tag"
    if used_name.kind == "change" and other_name.verb == "Create":
        return True  # many properties change only by replacement
    return used_name.kind in ("make", "change") and (
        other_name.kind in ("change", "end", "tag") or other_name.verb == "Put"
    )


def _same_thing(used: str, other: str) -> bool:
    """`Queue` and `Queues`, `Function` and `FunctionCode`; not `Role` and `RolePolicy`."""
    if used[:3] != other[:3]:
        return False
    if _stem(used) == _stem(other):
        return True
    longer, shorter = (other, used) if len(other) > len(used) else (used, other)
    singular = (
        re.sub("ies$", "y", shorter)
        if shorter.endswith("ies")
        else re.sub(r"(?<![su])s$", "", shorter)
    )
    return any(
        longer.startswith(base) and bool(_PART.fullmatch(longer[len(base) :]))
        for base in {shorter, singular}
    )


def _stem(noun: str) -> str:
    """Make a key that singular and plural share; not a word."""
    return re.sub(r"(es|s)+$", "", re.sub("ies$", "y", noun)).removesuffix("e")


def creates_or_adds(action: str) -> bool:
    """Whether an action makes a resource, or a part or a setting of one."""
    return _parse(action).kind in ("make", "open") or _parse(action).verb in ("Set", "Enable")


@cache
def _names(prefix: str) -> tuple[_Name, ...]:
    return tuple(_parse(action) for action in catalog.actions(prefix))


@cache
def _parse(action: str) -> _Name:
    """Splits the name of an action: `sqs:CreateQueue` gives the kind `make`, the verb `Create` and
    the noun `Queue`.
    """
    name = action.partition(":")[2]
    if _SERVICE_TAGS.fullmatch(name):
        return _Name(action, "service tag")
    match = _VERBS.match(name)
    if name in _METHODS:
        return _Name(action, _METHODS[name], name)
    return (
        _Name(action, _KINDS[match["verb"]], match["verb"], match["noun"])
        if match
        else _Name(action)
    )


_OF_ANY_CALL = frozenset({"iam:PassRole", "iam:CreateServiceLinkedRole"})
"""Checked by any service that is handed a role or makes its own: the roles of operations, and
data/dependents.tsv.
"""


def unknown_refusals(
    source: str, name: str, mapped: CallNeeds, refused: tuple[str, ...]
) -> tuple[str, ...]:
    """Actions that a refusal of the event names though the event is not known to need them, as it
    spells them.

    Empty where the event cannot be mapped (the mapping reports that) and for a login, which no
    identity policy governs.
    """
    if mapped.verdict in (Verdict.UNMAPPED, Verdict.NO_PERMISSION):
        return ()
    checked_actions = _checked_actions(
        source, name, tuple([need.permission.action for need in mapped.needs])
    )
    return tuple(
        action
        for action in refused
        if action.lower() not in checked_actions and not action.lower().startswith("kms:")
    )


@lru_cache(maxsize=2_048)
def _checked_actions(source: str, name: str, needed_actions: tuple[str, ...]) -> frozenset[str]:
    """Returns, in lower case, all that AWS may check in a call of the event with these needs.

    Of AWS KMS it may check any action, since each service may use a key in the caller's name.
    """
    event = map_event(source, name)
    actions = {action.lower() for action in needed_actions}
    actions.update(action.action.lower() for action in event.actions)
    return frozenset(
        {*actions, *(action.lower() for action in _partners(event.operation, actions))}
    )


def _partners(operation: str, needed_actions: Collection[str]) -> Iterator[str]:
    """Yields all that may be checked besides."""
    yield from _OF_ANY_CALL
    facts = facts_of(operation)
    yield from facts.inner
    yield from (trigger.action for trigger in facts.triggers)
    yield from (rule.action for rule in facts.tags)
    for action in (operation, *needed_actions):
        yield from _dependents().get(action.lower(), ())


def next_actions(action: str) -> tuple[str, ...]:
    """Actions that AWS may check besides, once it allows this one (data/dependents.tsv)."""
    return tuple(
        name for name in _dependents().get(action.lower(), ()) if name.lower() != action.lower()
    )


@cache
def _dependents() -> Mapping[str, tuple[str, ...]]:
    return {
        row["action"].lower(): tuple(row["dependents"].split(",")) for row in table("dependents")
    }


def lifecycle_partners(
    tools_by_action: Mapping[str, Collection[str]],
    redeployed: Collection[str] = (),
    *,
    only_ends: bool = False,
) -> Mapping[str, tuple[str, ...]]:
    """Maps each unused life-cycle action to the used actions that it belongs to, by what the
    deploying tools do.

    An action that makes a resource type of the tool has the actions of that type's read, update and
    delete as partners; any other has its lifecycle counterparts (`siblings_of`). Tagging actions
    are where the runs set tags of it.

    Args:
        tools_by_action: used action -> the tools that called it (`Tool`, `CDK`); none: a script.
        redeployed: used actions whose resources several later runs deployed again.
        only_ends: leave out what only changes a resource: each kind of change that a run made was
            recorded.
    """
    actions_by_partner: dict[str, set[str]] = {}
    # Tags of a stack or a provider are on every resource from its creation on.
    tagged = {
        used_action.partition(":")[0]
        for used_action in tools_by_action
        if is_tagging(used_action) and "Tagging" in catalog.access_level(used_action)
    }
    for action in sorted(tools_by_action):
        partners = _partners_by_tool(
            action, tools_by_action[action], frozenset(tools_by_action), only_ends=only_ends
        )
        if not tools_by_action[action]:
            partners = {
                counterpart
                for counterpart in partners
                if not _is_shown(action, counterpart, tools_by_action, redeployed)
            }
        for partner in partners:
            is_needed = action.partition(":")[0] in tagged or not is_tagging(partner)
            is_related = _shares_a_type(action, partner) or changes_made(action, partner)
            if is_needed and partner not in tools_by_action and is_related:
                actions_by_partner.setdefault(partner, set()).add(action)
    return {
        partner: tuple(sorted(actions_by_partner[partner]))
        for partner in sorted(actions_by_partner)
    }


def _partners_by_tool(
    action: str, tools: Collection[str], used_actions: frozenset[str], *, only_ends: bool
) -> Collection[str]:
    """The partners of one action.

    Reads that come with a phase which the runs have shown were used then. A property that no call
    has set and that can be removed needs no further permission.
    """
    siblings = _siblings(action)
    if only_ends:
        siblings = frozenset(
            [sibling for sibling in siblings if _parse(sibling).kind in ("", "end", "close")]
        )
    is_cdk_only = {*tools} == {CDK}
    if visibility(action).visibility is Visibility.DATA:
        # An item, not a resource that a tool manages: its life ends. The AWS CDK leaves its assets.
        return () if is_cdk_only else _ends_of_item(action, siblings)
    prefix = action.partition(":")[0]
    shown_properties = {
        property_of(used_action)
        for used_action in used_actions
        if used_action.partition(":")[0] == prefix
    }
    if not tools:
        # A script may change and delete what it creates; its properties are those that it has set.
        return {
            sibling
            for sibling in siblings
            if is_tagging(sibling) or _may_follow_in_script(action, sibling, shown_properties)
        }
    kinds = [kind for kind in types_made_by(action) if kind.tool in tools]
    kinds = [kind for kind in kinds if used_actions.issuperset(making_actions(kind))] or kinds
    if not kinds and is_cdk_only:
        # The AWS CDK changes a stack by the calls that created it; only the end of the stack is
        # still to come.
        return {sibling for sibling in siblings if _parse(sibling).verb == "Delete"}
    if not kinds:
        return _writes_of(siblings)
    partners = set[str]()
    for kind in kinds:
        use = _use_of_type(action, kind, used_actions)
        partners |= _partners_at_end(use)
        if not only_ends:
            partners |= _partners_of_update(use, siblings)
            partners |= set(filter(is_tagging, tag_actions(kind)))
        for conditional_action in conditional_actions(kind):
            is_shown = property_of(conditional_action) in shown_properties
            if not is_shown and not changes_made(action, conditional_action):
                partners.discard(conditional_action)
    unneeded = _removable_properties(action, partners) - shown_properties - {"tags"}
    return {partner for partner in partners if property_of(partner) not in unneeded}


def _ends_of_item(action: str, siblings: Collection[str]) -> set[str]:
    """Those siblings of an action on an item that end the item."""
    return {
        sibling
        for sibling in siblings
        if _parse(sibling).kind == "end" and property_of(sibling) == property_of(action)
    }


def _writes_of(actions: Iterable[str]) -> set[str]:
    """Returns those of some actions that do not only read."""
    return {action for action in actions if _parse(action).kind != "read"}


class _UseOfType(Struct, frozen=True):
    """A used action that makes a resource type of a tool, and what else the tool used for the
    type.
    """

    action: str
    kind: ResourceKind
    used_actions: frozenset[str]
    making: frozenset[str]
    """What the tool calls while it creates a resource of the type."""
    unset: frozenset[str]
    """Properties that the tool sets in a creation, and that no call has set."""

    def of_phase(self, phase: Phase) -> set[str]:
        """Returns what the tool calls in a phase, of the service of the action."""
        start = f"{self.action.partition(':')[0]}:"
        return {action for action in actions_of_phase(self.kind, phase) if action.startswith(start)}

    def with_set_properties(self, actions: Iterable[str]) -> set[str]:
        """Returns actions without those of properties that no call has set."""
        return {action for action in actions if property_of(action) not in self.unset}


def _use_of_type(action: str, kind: ResourceKind, used_actions: frozenset[str]) -> _UseOfType:
    making = frozenset({*actions_of_phase(kind, Phase.CREATE), *tag_actions(kind)})
    set_properties = {property_of(used_action) for used_action in making & used_actions}
    unused = _writes_of(making - used_actions)
    unset = {property_of(unused_action) for unused_action in unused} - set_properties
    return _UseOfType(action, kind, used_actions, making, frozenset(unset))


def _partners_of_update(use: _UseOfType, siblings: Collection[str]) -> set[str]:
    """What an update of the resource needs; the reads of an update that a run has shown were used
    then.
    """
    actions = use.of_phase(Phase.UPDATE)
    writes = _writes_of(actions)
    named_alike = writes.intersection(siblings)
    partners = use.with_set_properties(named_alike)
    partners |= {write for write in named_alike if changes_made(use.action, write)}
    if use.used_actions.isdisjoint(writes - use.making):
        partners |= use.with_set_properties(actions - use.making)
    return partners


def _partners_at_end(use: _UseOfType) -> set[str]:
    """What the deletion of the resource needs."""
    actions = use.of_phase(Phase.DELETE)
    writes = _writes_of(actions)
    ends = {
        write for write in writes if _parse(write).kind == "end" and changes_made(use.action, write)
    }
    if not use.used_actions.isdisjoint(ends or writes - use.making):
        return ends
    further = actions - use.making
    if ends:
        # A creation that fails makes some calls of a deletion; what the tool reads in each run was
        # seen.
        further |= actions - writes - {*actions_of_phase(use.kind, Phase.READ)}
    return ends | use.with_set_properties(further)


def _removable_properties(action: str, partners: Iterable[str]) -> set[str]:
    """The properties that one partner sets and another one removes."""
    removed = set[str]()
    changed = set[str]()
    for partner in partners:
        if _parse(partner).kind in ("end", "close"):
            removed.add(property_of(partner))
        elif not changes_made(action, partner):
            changed.add(property_of(partner))
    return removed & changed


def _may_follow_in_script(action: str, sibling: str, shown_properties: Collection[str]) -> bool:
    """Whether a script that made something may change it, or end it or a property that the script
    has used.
    """
    noun, service = _stem(_parse(sibling).noun), action.partition(":")[0]
    match _parse(sibling).kind:
        case "end" if _parse(action).kind == "change":
            # What only changes in every run, another one made: CI that deploys code deletes no
            # function.
            return False
        case "end" if noun != _stem(_parse(action).noun) and noun in _nouns_made(service):
            # Another action makes what it ends: the settings of a deployment.
            return property_of(sibling) in shown_properties
        case "change" | "end":
            return changes_made(action, sibling) or (
                _parse(sibling).verb == "Delete" and property_of(sibling) in shown_properties
            )
        case "close":
            return property_of(sibling) in shown_properties
        case _:
            return False


@cache
def _nouns_made(service: str) -> frozenset[str]:
    """What the actions of a service make, as `_stem` writes it."""
    return frozenset(_stem(name.noun) for name in _names(service) if name.kind == "make")


def _is_shown(
    action: str, sibling: str, used_actions: Collection[str], redeployed: Collection[str]
) -> bool:
    """Whether the runs of a script have shown that it does without a sibling of a used action.

    A script that changes what it finds does so in each run. What it ends, it ends by the calls of
    an earlier end.
    """
    kind = _parse(sibling).kind
    if kind == "change" or is_tagging(sibling):
        return action in redeployed
    # The runs have ended a resource that the sibling would be for, without it.
    catalog_action = catalog.action(sibling)
    kinds = (
        {
            _stem(re.sub("[^a-z0-9]", "", kind.name.lower()))
            for kind in catalog_action.resource_types
        }
        if catalog_action
        else set()
    )
    service = sibling.partition(":")[0]
    ends = (
        _stem(_parse(used_action).noun.lower())
        for used_action in used_actions
        if used_action.startswith(f"{service}:Delete")
    )
    return any(kind.startswith(noun) for noun in ends for kind in kinds)


def _shares_a_type(action: str, partner: str) -> bool:
    """Whether a partner takes a resource of the action's types, or one of the two takes none."""
    types, partner_types = (
        {kind.name for kind in catalog_action.resource_types} if catalog_action else set()
        for catalog_action in map(catalog.action, (action, partner))
    )
    return not types or not partner_types or not types.isdisjoint(partner_types)


def changes_made(making_action: str, action: str) -> bool:
    """Whether an action changes the very resource that another makes: `SetQueueAttributes` that of
    `CreateQueue`.
    """
    return not is_tagging(action) and _same_thing(_parse(making_action).noun, _parse(action).noun)


def is_tagging(action: str) -> bool:
    """Whether an action reads, sets or removes tags."""
    return _parse(action).kind in ("tag", "service tag")


@cache
def property_of(action: str) -> str:
    """The part of a resource that an action sets, changes or ends; equal for `TagQueue` and
    `UntagQueue`.
    """
    if is_tagging(action):
        return "tags"
    name = _parse(action)
    if not name.noun:
        return action
    # A role has inline policies (`PutRolePolicy`) and attached ones.
    attached = "attached " if name.verb in ("Attach", "Detach") else ""
    return attached + _stem(name.noun)


@lru_cache(maxsize=16_384)
def created_types(prefix: str, event: str) -> tuple[str, ...]:
    """Resource types, in lower case, that an event creates: `CreateVpc` a `vpc`, `RunInstances` an
    `instance`.
    """
    operation = f"{prefix}:{DATE.sub('', event)}"
    for row in table("made_types"):
        if row["operation"] == operation:
            # `with`: what AWS makes along with them.
            return tuple(f"{row['types']},{row['with']}".strip(",").split(","))
    # In S3 it writes an object or a setting of a bucket.
    makes = creates(event) or (event.startswith("Put") and prefix != "s3")
    if prefix not in catalog.services() or not makes or _uses_existing_resource(prefix, event):
        return ()
    return _types_by_noun(prefix, event)


def _types_by_noun(prefix: str, event: str) -> tuple[str, ...]:
    """Returns the types of a service that an event is named after.

    - `CreateQueue` and `CreateQueues` name a `queue`; `CreateClusterV2` a `cluster`.
    - `CreateDistributionWithTags` names a `distribution`.
    - Where no type has the whole noun, its end counts: `CreateDBCluster` names a `cluster`. Not in
      `CreateInstancesFromSnapshot`, where another resource is the end.
    """
    noun = noun_of(event).removesuffix("s").partition("with")[0]
    nouns = {noun, re.sub(r"v[0-9]$", "", noun)}
    kinds = sorted({kind.name.lower() for kind in catalog.resource_types(prefix)})
    noun_of_kind = {kind: re.sub(r"[^a-z0-9]", "", kind).removesuffix("s") for kind in kinds}
    named = [kind for kind in kinds if noun_of_kind[kind] in nouns]
    if not named and event.startswith("Create") and not _FROM_ANOTHER.search(event):
        named = [kind for kind in kinds if noun.endswith(noun_of_kind[kind])]
    return tuple(named)


_FROM_ANOTHER = re.compile(r"[a-z](?:From|For|Using)[A-Z]")
_VERBS_ON_EXISTING = re.compile(r"(?:Start|Run|Publish|Restore)(?=[A-Z])")
_CREATING_VERBS = ("Create", "Run", "Put", "Register", "Activate")


def _uses_existing_resource(prefix: str, event: str) -> bool:
    """Whether an event starts, publishes or restores an existing resource: `StartInstances`, not
    `StartExecution`.
    """
    verb = _VERBS_ON_EXISTING.match(event)
    if verb is None:
        return False
    noun = event[verb.end() :].removesuffix("s")
    makers = {
        f"{prefix}:{creating_verb}{noun}{end}"
        for creating_verb in _CREATING_VERBS
        if creating_verb != verb[0]
        for end in ("", "s")
    }
    return any(catalog.action(name) is not None for name in makers)
