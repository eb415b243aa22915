"""Maps one API call to the permissions it requires, or to a gap if the event is unmapped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache

from msgspec import Struct, structs

from leastpriv.models import Basis, Call, Condition, Gap, GapKind, Need, Permission, Scope
from leastpriv.permissions import catalog
from leastpriv.permissions.arn_templates import Resource, partition
from leastpriv.permissions.event_table import (
    MappedEvent,
    Verdict,
    facts_of,
    items_of,
    map_event,
)
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.implied import ImpliedFacts, implied_facts, implied_needs
from leastpriv.permissions.patterns import unescape
from leastpriv.permissions.request import (
    CallRequest,
    Presence,
    Reads,
    key_in,
    noun_of,
    read_request,
    request_values,
)
from leastpriv.permissions.resources import (
    find_resources,
    is_listed_whole,
    listed_resources,
    resources_of_all_calls,
)
from leastpriv.permissions.service_facts import (
    ActionFacts,
    EventFacts,
    MappedAction,
    Trigger,
    facts_of_action,
)


class CallNeeds(Struct, frozen=True, gc=False):
    """What one call needs."""

    verdict: Verdict
    prefix: str
    needs: tuple[Need, ...] = ()
    gaps: tuple[Gap, ...] = ()
    """What the call may need besides, if its record does not say."""
    kept: tuple[str, ...] = ()
    """Actions that AWS may authorize inside the call, of which its record does not say whether: no
    grant of them is added, and none is removed while such calls are made."""


class EventPlan(Struct, frozen=True, eq=False):
    """All that decides what calls of one event need, looked up once for all of them."""

    event: MappedEvent
    nothing: CallNeeds | None
    """The answer where no identity policy has to allow the event."""
    verdict: Verdict
    is_by_request: bool
    noun: str
    actions: tuple[tuple[ActionFacts, MappedAction], ...]
    triggers: tuple[tuple[ActionFacts, Trigger], ...]
    inner: tuple[tuple[str, tuple[str, ...]], ...]
    """Action that AWS may authorize inside, with the parameters any of which causes it; none:
    unknown.
    """
    implies: ImpliedFacts
    is_of_two_apis: bool
    has_choice: bool
    """Parameters decide which of the actions a call needs."""
    may_need_more: bool
    """A call may need actions besides, of which its record does not say whether."""
    shows_conditions: bool
    reads: Reads
    """Keys of a request that decide what the call needs."""
    is_listed_whole: bool
    """What CloudTrail lists in `resources` alone decides what a reading call needs."""
    of_reading: CallNeeds | None
    """What all reading calls need; None where it depends on the call."""

    def for_keys(self, keys: frozenset[str]) -> EventPlan:
        """Returns the plan for requests with these keys, and no others that are read."""
        if self.nothing or self.is_by_request:
            return self
        triggers = tuple(
            (facts.for_keys(keys), trigger)
            for facts, trigger in self.triggers
            if _may_have(keys, trigger.parameter)
        )
        inner = tuple(
            pair
            for pair in self.inner
            if any(_may_have(keys, parameter) for parameter in pair[1] or ("",))
        )
        implies = self.implies.for_keys(keys)
        return structs.replace(
            self,
            actions=tuple([(facts.for_keys(keys), mapped) for facts, mapped in self.actions]),
            triggers=triggers,
            has_choice=self.is_of_two_apis or bool(triggers),
            inner=inner,
            implies=implies,
            may_need_more=bool(inner or implies.role_anywhere or implies.unnamed),
        )


@lru_cache(maxsize=16_384)
def _plan_of(source: str, name: str) -> EventPlan:
    """Returns what decides the needs of an event's calls."""
    event = map_event(source, name)
    facts = facts_of(event.operation)
    implied = implied_facts(event.operation)
    actions = tuple([(facts_of_action(mapped.action), mapped) for mapped in event.actions])
    triggers = tuple([(facts_of_action(trigger.action), trigger) for trigger in facts.triggers])
    action_names = [mapped.action for mapped in event.actions]
    action_names += [trigger.action for trigger in facts.triggers]
    naming_keys = {_NAMED_BY[action] for action in action_names if action in _NAMED_BY}
    has_kms_action = any(action.startswith("kms:") for action in action_names)
    is_by_request = event.verdict is Verdict.BY_REQUEST
    is_of_two_apis = _is_of_two_apis(event.actions)
    needs_more = bool(facts.triggers or facts.inner or implied.objects or implied.role_anywhere)
    has_one_meaning = not (is_by_request or is_of_two_apis or needs_more)
    nothing = None
    if event.verdict is Verdict.NO_PERMISSION:
        nothing = CallNeeds(event.verdict, event.prefix)
    keys_read = None
    if not (is_by_request or implied.role_anywhere or "*" in implied.roles):
        keys_read = naming_keys | _keys_read(facts, implied, action_names)
    verdict = Verdict.MAPPED if is_by_request else event.verdict
    of_reading = None
    if has_one_meaning and actions and not (naming_keys or has_kms_action):
        of_reading = _needs_of_all_calls(actions, verdict, event.prefix)
    return EventPlan(
        event=event,
        nothing=nothing,
        verdict=verdict,
        is_by_request=is_by_request,
        noun=noun_of(name),
        actions=actions,
        triggers=triggers,
        inner=tuple(facts.inner.items()),
        implies=implied,
        is_of_two_apis=is_of_two_apis,
        has_choice=is_of_two_apis or bool(triggers),
        may_need_more=bool(facts.inner or implied.role_anywhere or implied.unnamed),
        shows_conditions=bool(naming_keys) or has_kms_action,
        reads=Reads(keys_read),
        is_listed_whole=has_one_meaning and _are_listed_whole(actions),
        of_reading=of_reading,
    )


def _is_of_two_apis(actions: Sequence[MappedAction]) -> bool:
    """Whether an event names calls of both API Gateway's first and its second API."""
    return len({"::/v2/" in mapped.resource for mapped in actions}) == 2


def _are_listed_whole(actions: Iterable[tuple[ActionFacts, MappedAction]]) -> bool:
    """Whether what CloudTrail lists in `resources` is all that some actions are called on."""
    for facts, mapped in actions:
        if mapped.on or mapped.resource or not is_listed_whole(facts):
            return False
    return True


def _needs_of_all_calls(
    actions: Iterable[tuple[ActionFacts, MappedAction]], verdict: Verdict, prefix: str
) -> CallNeeds | None:
    """The needs of actions whose calls are authorized on the same resources; None where one of
    them is not.
    """
    needs: list[Need] = []
    for facts, mapped in actions:
        resources = resources_of_all_calls(facts)
        if mapped.resource or not resources:
            return None
        needs += _needs_on(mapped.action, resources, verdict)
    return CallNeeds(verdict, prefix, tuple(dict.fromkeys(needs)))


def _keys_read(facts: EventFacts, implied: ImpliedFacts, actions: Iterable[str]) -> set[str]:
    """Returns the keys that the rules of an event and of its actions read in its requests."""
    parameters = ["apiid", *implied.roles]
    parameters += [trigger.parameter for trigger in facts.triggers]
    parameters += [rule.parameter for rule in facts.tags]
    for causes in facts.inner.values():
        parameters += causes
    keys = {key_in(parameter) for parameter in parameters}
    for object_read in implied.objects:
        keys.update(object_read.parameters)
    for action in actions:
        keys.update(facts_of_action(catalog.spelling(action) or action).keys_read())
    for rule in facts.tags:
        keys.update(facts_of_action(rule.of, rule.types).keys_read())
    return keys


def _may_have(keys: frozenset[str], parameter: str) -> bool:
    """Whether requests with some keys may have a parameter as a table writes it."""
    return not parameter or parameter.startswith("!") or key_in(parameter) in keys


@lru_cache(maxsize=2_048)
def _plan_for_keys(plan: EventPlan, keys: frozenset[str]) -> EventPlan:
    """Returns what decides the needs of an event's calls whose requests have these keys."""
    return plan.for_keys(keys)


def needs_of(call: Call) -> CallNeeds:
    """The permissions of one call: observed ones from the event, inferred ones from what its
    request implies.

    An event without a mapping gives no need and the verdict `unmapped`; an action newer than the
    catalogue gives a need with `verified=False`, which may veto a removal and is never written.
    """
    plan = _plan_of(call.source, call.name)
    if plan.nothing:
        return plan.nothing
    if call.read_only:
        if plan.of_reading:
            return plan.of_reading
        listed_needs = _needs_of_listed(call, plan) if plan.is_listed_whole else None
        if listed_needs:
            return listed_needs
    request = read_request(plan.noun, call.parameters, plan.reads)
    plan = _plan_for_keys(plan, frozenset(request.keys))
    return _needs(call, plan, request)


def needs_of_request(call: Call, observed: Sequence[Need]) -> tuple[Need, ...]:
    """Returns what the request of a mapped call implies besides the needs that its event names."""
    plan = _plan_of(call.source, call.name)
    if plan.nothing or not observed:
        return ()
    request = read_request(plan.noun, call.parameters, plan.reads)
    implies = _plan_for_keys(plan, frozenset(request.keys)).implies
    needs = implied_needs(call, implies, request, observed)
    return () if _names_nothing(needs) else tuple(dict.fromkeys(needs))


def _needs_of_listed(call: Call, plan: EventPlan) -> CallNeeds | None:
    """The needs of a call whose resources CloudTrail lists, without its request; None where that
    decides as well.
    """
    if call.error_code or call.error_message or call.parameters_omitted:
        return None
    needs: list[Need] = []
    for facts, mapped in plan.actions:
        resources = listed_resources(call, facts)
        if not resources:
            return None
        shown = _shown(call, mapped.action) if plan.shows_conditions else _NOTHING_SHOWN
        needs += _needs_on(mapped.action, resources, plan.verdict, shown)
    if _names_nothing(needs):
        return None
    return CallNeeds(plan.verdict, plan.event.prefix, tuple(dict.fromkeys(needs)))


def _needs(call: Call, plan: EventPlan, request: CallRequest) -> CallNeeds:
    """Returns the observed and the implied needs of a call, and a gap where it may pass a role that
    its request does not name.
    """
    needs = _observed(call, plan, request)
    if needs and (plan.implies.is_any or request.arns):
        needs += implied_needs(call, plan.implies, request, needs)
    if not needs or _names_nothing(needs):
        return CallNeeds(Verdict.UNMAPPED, plan.event.prefix)
    if len(needs) > 1:
        needs = list(dict.fromkeys(needs))
    if not (plan.may_need_more or call.parameters_omitted):
        return CallNeeds(plan.verdict, plan.event.prefix, tuple(needs))
    presence = Presence(call, request)
    return CallNeeds(
        verdict=plan.verdict,
        prefix=plan.event.prefix,
        needs=tuple(needs),
        gaps=_gaps(call, plan, presence) if plan.implies.unnamed else (),
        kept=_kept(call, plan, presence, needs),
    )


def _gaps(call: Call, plan: EventPlan, presence: Presence) -> tuple[Gap, ...]:
    """Returns the gap of a call that may pass a role that its request does not name."""
    unnamed = plan.implies.unnamed
    if not presence.carried_out or call.read_only or not any(map(presence.has, unnamed)):
        return ()
    scope = Scope(actions=("iam:PassRole",))
    return (Gap(GapKind.MAY_PASS_ROLE, scope, f"{call.source}:{call.name}"),)


_LONGEST_ARN = 2_048
"""Characters (`ResourceArns`,
https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulateCustomPolicy.html, read 2026-11-26).
"""


def _names_nothing(needs: Sequence[Need]) -> bool:
    """Whether a name is too long for any resource: no policy could hold it, and a wildcard would be
    a guess.
    """
    for need in needs:
        name = need.permission.resource
        if len(name) > _LONGEST_ARN and len(unescape(name)) > _LONGEST_ARN:
            return True
    return False


def _observed(call: Call, plan: EventPlan, request: CallRequest) -> list[Need]:
    """Needs of the event's own actions, and of those that its parameters cause."""
    needs: list[Need] = []
    if plan.is_by_request:
        for call_item in items_of(call):
            part = call_item.part_of(call)
            part_request = request if part is call else read_request(plan.noun, part.parameters)
            resources = find_resources(part, facts_of_action(call_item.action), part_request)
            needs += _needs_on(call_item.action, resources, plan.verdict)
        return needs
    for facts, mapped in _actions(call, plan, request) if plan.has_choice else plan.actions:
        resources = find_resources(call, facts, request, mapped.on, mapped.resource)
        shown = _shown(call, mapped.action) if plan.shows_conditions else _NOTHING_SHOWN
        needs += _needs_on(mapped.action, resources, plan.verdict, shown)
    return needs


class _Shown(Struct, frozen=True, gc=False):
    """What the record of a call shows of the keys that conditions of an action may name."""

    conditions: tuple[Condition, ...] = ()
    context: tuple[Condition, ...] = ()


_NOTHING_SHOWN = _Shown()


def _shown(call: Call, action: str) -> _Shown:
    return _Shown(shown_conditions(call, action), shown_context(call, action))


_OBSERVED = Basis.OBSERVED
"""Python 3.11 takes longer to look a member up in its enumeration than to make a need."""


def _needs_on(
    action: str, resources: Sequence[Resource], verdict: Verdict, shown: _Shown = _NOTHING_SHOWN
) -> list[Need]:
    """Returns the need of an action on each of some resources."""
    needs = []
    for resource in resources:
        permission = Permission(action, resource.pattern, shown.conditions)
        need = Need(
            permission,
            _OBSERVED,
            resource.derivation,
            verified=verdict is not _UNVERIFIED,
            exact=resource.exact,
            context=shown.context,
        )
        needs.append(need)
    return needs


_UNVERIFIED = Verdict.UNVERIFIED


def _actions(
    call: Call, plan: EventPlan, request: CallRequest
) -> Sequence[tuple[ActionFacts, MappedAction]]:
    """The actions of a call whose parameters decide."""
    presence = Presence(call, request)
    actions = plan.actions
    if plan.is_of_two_apis:
        # API Gateway's two APIs share event names: version 2 names an `apiId` (botocore's models,
        # 2026-10).
        is_second = presence.has("apiId") or any(
            "/apis/" in value for _, value in request_values(call.parameters)
        )
        actions = tuple(pair for pair in actions if ("::/v2/" in pair[1].resource) == is_second)
    triggered = [pair for pair in plan.triggers if presence.has(pair[1].parameter)]
    if not triggered:
        return actions
    ends_of_copy = {mapped.action: mapped.on for _, mapped in actions}
    # What a copy sets besides (an ACL, tags) it sets on its target.
    further_end = "target" if any(ends_of_copy.values()) else ""
    caused = {}
    for facts, trigger in triggered:
        copy_end = ends_of_copy.get(trigger.replaces, further_end)
        caused[facts.name, trigger.replaces] = facts, MappedAction(facts.name, copy_end)
    replaced = {trigger.replaces for _, trigger in triggered}
    return [*[pair for pair in actions if pair[1].action not in replaced], *caused.values()]


def _kept(
    call: Call, plan: EventPlan, presence: Presence, needs: Sequence[Need]
) -> tuple[str, ...]:
    """Actions that AWS may authorize inside a call and that are none of its needs."""
    kept: list[str] = []
    # Of a request that is not in the record any key may have been sent.
    inner = _plan_of(call.source, call.name).inner if call.parameters_omitted else plan.inner
    for action, parameters in inner:
        if not parameters or call.parameters_omitted or any(map(presence.has, parameters)):
            kept.append(action)
    if plan.implies.role_anywhere and not call.read_only:
        kept.append("iam:PassRole")
    if not kept:
        return ()
    needed_actions = {need.permission.action for need in needs}
    return tuple([action for action in kept if action not in needed_actions])


_KEY_NAME = re.compile(r"[a-z0-9.-]{1,128}")
"""A service's name as it may stand in a condition: no variable, no wildcard."""
POLICY_ARN = "iam:PolicyARN"
"""The key for the policy that is attached. It, `iam:AWSServiceName` and their actions:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
(read 2026-11-24).
"""
_NAMED_BY = {
    "iam:AttachGroupPolicy": "policyarn",
    "iam:AttachRolePolicy": "policyarn",
    "iam:AttachUserPolicy": "policyarn",
    "iam:CreateServiceLinkedRole": "awsservicename",
}
"""Action -> the key of its request, in lower case, that has the value of a condition."""
_POLICY_ARN = re.compile(r"arn:[a-z-]+:iam::(?:aws|[0-9]{12}):policy/[A-Za-z0-9_+=,.@/-]{1,600}")


def shown_conditions(call: Call, action: str) -> tuple[Condition, ...]:
    """The conditions under which one action of a call was authorised, as far as the record shows
    them.
    """
    if action == "iam:CreateServiceLinkedRole":
        service = _text_parameter(call, _NAMED_BY[action])
        condition = Condition("StringEquals", "iam:AWSServiceName", (service,))
        return (condition,) if _KEY_NAME.fullmatch(service) else ()
    if call.invoked_by and action.startswith("kms:"):
        context = call.parameters.get("encryptionContext")
        # In China the form of the value is not documented.
        if not isinstance(context, Mapping) or partition(call) == "aws-cn":
            return ()
        service = next((_contexts()[key] for key in context if key in _contexts()), "")
        via = f"{service}.{call.region}.amazonaws.com"
        return (
            (Condition("StringEquals", "kms:ViaService", (via,)),)
            if service and _KEY_NAME.fullmatch(via)
            else ()
        )
    return ()


def shown_context(call: Call, action: str) -> tuple[Condition, ...]:
    """Further keys of the request of one action of a call: the policy that it attaches."""
    if action == "iam:CreateServiceLinkedRole" or action not in _NAMED_BY:
        return ()
    policy_arn = _text_parameter(call, _NAMED_BY[action])
    return (
        (Condition("ArnEquals", POLICY_ARN, (policy_arn,)),)
        if _POLICY_ARN.fullmatch(policy_arn)
        else ()
    )


def _text_parameter(call: Call, name: str) -> str:
    """A parameter of a call by its name in lower case; empty where it is no text."""
    for key, value in call.parameters.items():
        if key.lower() == name and isinstance(value, str):
            return value
    return ""


def uses_keys(service: str) -> bool:
    """Whether a service uses keys in the name of its caller, so that `kms:ViaService` names the
    service.
    """
    return service in _contexts().values()


@cache
def _contexts() -> Mapping[str, str]:
    return {row["context"]: row["service"] for row in table("kms_contexts")}
