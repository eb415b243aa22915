"""Completes additions: what the step of a denied call usually needs besides, and no run was denied
yet.

A deployment stops at its first denial. Without the rest of the step the feature waits for one pull
request for each permission. The rest is offered; the options or a comment write it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from msgspec import Struct, structs

from leastpriv.diff.compare import replay_usage
from leastpriv.errors import plural
from leastpriv.evidence.bucket_accounts import RESOURCE_ACCOUNT
from leastpriv.evidence.models import Evidence
from leastpriv.models import (
    Basis,
    ChangeKind,
    Condition,
    Need,
    Outcome,
    Permission,
    Usage,
    grouped,
)
from leastpriv.permissions.catalog import forbidden, is_read, sensitivity
from leastpriv.permissions.event_table import facts_of
from leastpriv.permissions.lifecycle import created_types
from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.resource_types import (
    VARIABLE,
    action_of,
    end_of,
    fill_variables,
    fits,
    variables_of_arn,
)
from leastpriv.permissions.tool_chains import ROLE_PASSING, ChainLink, usual_chain
from leastpriv.permissions.tool_lifecycle import STACK_SERVICE, Tool
from leastpriv.permissions.volatility import ServiceType, is_whole_type, service_of, service_types
from leastpriv.policy.document import Document
from leastpriv.policy.replay import replay_need
from leastpriv.proposal.guards import break_glass_runs, is_break_glass_use
from leastpriv.proposal.id_conditions import id_conditions
from leastpriv.proposal.models import Change, History, Options, PlaceOfStep
from leastpriv.proposal.offers import is_write_to_any
from leastpriv.proposal.origins import is_unreviewed_use
from leastpriv.proposal.self_widening import self_widening
from leastpriv.proposal.stability import with_items

_CREATE_ROLE = "iam:CreateRole"
_MAKES_BY_NAME = "secretsmanager:CreateSecret"
_DELETES_CHANGE_SET = "cloudformation:DeleteChangeSet"
_DRAWN_END = "-??????"
_LOG_GROUP = "log-group"
_DRAWN = re.compile(r"\$\{\w*(?:Id|ID|Uuid|UUID|Identifier)\}$")
"""The end of an ARN's template that AWS draws."""
_MOST_NAMES = 3
"""Resources of one type that a denied run used; with more, none of them is offered."""


class Completion(Struct, frozen=True):
    """The evidence, the policies and the rules by which additions are completed."""

    evidence: Evidence
    options: Options
    history: History
    policies: Sequence[Document]
    """All known policies of the principal."""


def complete_additions(added: Sequence[Change], completion: Completion) -> list[Change]:
    """Returns what the steps of denied additions usually need besides, one change for each action
    and conditions.

    Left out are permissions that a policy grants or denies, that a person declined, that are never
    added, and that would let the principal widen itself.
    """
    return _Completing(completion, added).changes()


class DeniedSteps:
    """What the steps of denied and since granted calls usually need besides, which the next run may
    use for the first time.
    """

    def __init__(self, completion: Completion) -> None:
        self._completion = completion

    def __call__(self, action: str) -> Sequence[PlaceOfStep]:
        """Returns where an action belongs to a denied step."""
        return self._places.get(action, ())

    @cached_property
    def _places(self) -> Mapping[str, Sequence[PlaceOfStep]]:
        evidence = self._completion.evidence
        settled: list[Change] = []
        for usage in evidence.usages:
            if usage.outcome is Outcome.DENIED and self._is_granted(usage):
                permission = usage.need.permission
                change = Change(
                    kind=ChangeKind.ADD,
                    action=permission.action,
                    resources=(permission.resource,),
                    usages=(usage,),
                )
                settled.append(change)
        completing = _Completing(self._completion, settled)
        links = [link for step in completing.steps() for link in completing.links(step)]
        steps = [(link.action, PlaceOfStep(link.resource, link.because)) for link in links]
        return grouped(steps)

    def _is_granted(self, usage: Usage) -> bool:
        if usage.need.basis is not Basis.DENIED or is_unreviewed_use(
            usage, self._completion.evidence
        ):
            return False
        principal = self._completion.evidence.principal
        return replay_usage(usage, principal, self._completion.policies) == {"allowed"}


class _Further(Struct, frozen=True):
    """A further permission of a denied step."""

    action: str
    resource: str
    conditions: tuple[Condition, ...]
    because: str
    """The denied action."""
    usual_as: str
    """Why the step usually needs it."""


class _Step:
    """A denied addition, with the facts of the step that was denied."""

    def __init__(self, change: Change, evidence: Evidence) -> None:
        self.action = change.action
        self.denied = [usage for usage in change.usages if usage.outcome is Outcome.DENIED]
        self.regions = sorted({region for usage in self.denied for region in usage.regions})
        self.runs = {run for usage in self.denied for run in usage.runs}
        self.last_seen = max(usage.last_seen for usage in self.denied)
        self.resources = list(_denied_resources(change, self.denied))
        self.conditions = tuple(
            condition for condition in change.conditions if condition.key == RESOURCE_ACCOUNT
        )
        self.programs = _programs(self.denied)
        self._principal = evidence.principal

    @cached_property
    def types(self) -> frozenset[ServiceType]:
        """The types of the denied resources."""
        return frozenset(each for resource in self.resources for each in service_types(resource))

    def places_of(self, link: ChainLink) -> list[str]:
        """Returns where a further action of the step applies to the denied resources."""
        catalogue_action = action_of(link.action)
        if catalogue_action is None:
            return []
        if link.on_any or not catalogue_action.resource_types:
            return ["*"]
        names: list[str] = []
        for each in self.resources:
            if each == "*":
                continue
            resource = self._as_made(each, link.action)
            names += self._items_below(resource, link)
        distinct_names = list(dict.fromkeys(names))
        return distinct_names or list(dict.fromkeys(self._of_new_items(link.action)))

    def _items_below(self, resource: str, link: ChainLink) -> Iterator[str]:
        """Yields the resource, its items, or the items of a collection of an API."""
        if link.below:
            yield f"{resource}{link.below}"
            return
        yield from with_items(link.action, resource)
        items_below = f"{resource}/*"
        is_collection = service_of(resource) == "apigateway"
        if is_collection and is_read(link.action) and fits(link.action, items_below):
            yield items_below

    def _as_made(self, resource: str, action: str) -> str:
        """Returns a denied resource as further calls name it: with the end that AWS draws or
        writes.
        """
        if self.action == _MAKES_BY_NAME:
            return f"{resource.removesuffix(_DRAWN_END)}{_DRAWN_END}"
        if service_of(resource) == "logs":
            group = resource.removesuffix(":*")
            return f"{group}{end_of(action, _LOG_GROUP)}"
        return resource

    def _of_new_items(self, action: str) -> Iterator[str]:
        """Yields the resources of the types that the denied call makes, where it was denied on
        their parent or on no resource: the parts of their names that the denial has, and `*` for
        the id that only a call that succeeds gets.
        """
        catalogue_action = action_of(action)
        service, _, name = self.action.partition(":")
        if catalogue_action is None or not action.startswith(f"{service}:"):
            return
        types = created_types(service, name)
        for kind in catalogue_action.resource_types:
            for denied in self.resources:
                item_arn = self._item_of(kind.arn, denied)
                is_below = denied != "*" and item_arn.startswith(denied) and is_read(action)
                is_made = kind.name.lower() in types and not fits(self.action, item_arn)
                is_drawn = is_read(action) and _DRAWN.search(kind.arn) is not None
                if is_below or is_made or is_drawn:
                    yield item_arn

    def _item_of(self, template: str, denied: str) -> str:
        """Returns a template with the values that a denied resource shows, its own name open."""
        partition, account = self._principal.split(":")[1], self._principal.split(":")[4]
        region = self.regions[0] if len(self.regions) == 1 else "*"
        values = {"Partition": partition, "Region": region, "Account": account}
        if denied != "*":
            *parents, _ = ("", *VARIABLE.findall(template))
            for part in variables_of_arn(service_of(denied), denied):
                if part.variable in parents:
                    values[part.variable] = part.text
        return fill_variables(template, values)


def _denied_resources(change: Change, denied: Sequence[Usage]) -> Iterator[str]:
    """Yields the resources of an addition that a denial names, as they are written."""
    names = [usage.resource for usage in denied]
    for resource in change.resources:
        if any(resource_covers(resource, name) or name == "*" for name in names):
            yield resource


def _programs(denied: Iterable[Usage]) -> frozenset[str]:
    """Returns who made the denied calls, as `usual_chain` takes it."""
    programs: set[str] = set()
    for usage in denied:
        programs.update(usage.programs)
        if STACK_SERVICE in usage.forwarded_by:
            programs.add(Tool.CLOUDFORMATION)
    return frozenset(programs)


class _Completing:
    """The search for the further permissions of all denied steps."""

    def __init__(self, completion: Completion, added: Sequence[Change]) -> None:
        self._completion = completion
        self._evidence = completion.evidence
        self._added = added

    def changes(self) -> list[Change]:
        """Returns the changes, those of one action and equal conditions as one."""
        links: list[_Further] = []
        for step in self.steps():
            links += [link for link in self.links(step) if self._may_offer(link, step)]
        # A write to any resource of a type is another offer than one to a named resource.
        links_by_form = grouped(
            [((link.action, link.conditions, _is_wide(link)), link) for link in links]
        )
        return [_change(links_of_form, self._evidence) for links_of_form in links_by_form.values()]

    def steps(self) -> Iterator[_Step]:
        """Yields the denied steps of the additions."""
        for change in self._added:
            if any(usage.outcome is Outcome.DENIED for usage in change.usages):
                yield _Step(change, self._evidence)

    def links(self, step: _Step) -> Iterator[_Further]:
        """Yields what a denied call usually needs besides, the links of its step: after a denied
        `sqs:CreateQueue`, `sqs:GetQueueAttributes` on the same queue.

        The resources are the denied ones, else those that the denied runs used by name. For
        `iam:PassRole` they are the roles that these runs made, which the denied call may pass on.
        """
        for link in self._chain(step).values():
            conditions = step.conditions
            resources = step.places_of(link)
            if link.action == ROLE_PASSING:
                resources = list(self._new_roles(step))
                conditions = _passed_to(step.action)
            elif not resources:
                resources = list(self._named_in_runs(link.action, step))
            for resource in resources:
                yield _Further(
                    action=link.action,
                    resource=resource,
                    conditions=conditions,
                    because=step.action,
                    usual_as=link.reason,
                )

    def _chain(self, step: _Step) -> Mapping[str, ChainLink]:
        """Returns the further actions of a step: what runs called on like resources, then what the
        tool usually calls.
        """
        links_by_action = {link.action: link for link in self._called_together(step)}
        links_by_action.pop(step.action, None)
        usual = usual_chain(step.action, step.programs, self._used, step.types)
        all_links = {**usual, **links_by_action}
        if self._completion.options.only_plans:
            return {action: link for action, link in all_links.items() if _is_of_plan(action)}
        return all_links

    @cached_property
    def _allowed(self) -> Sequence[Usage]:
        """The allowed usages of reviewed runs that are no break-glass sessions."""
        break_glass = break_glass_runs(self._evidence.runs, self._completion.options.break_glass)
        return [
            usage
            for usage in self._evidence.usages
            if usage.is_allowed
            and not is_unreviewed_use(usage, self._evidence)
            and not is_break_glass_use(usage, break_glass)
        ]

    @cached_property
    def _used(self) -> frozenset[str]:
        return frozenset(usage.action for usage in self._allowed)

    @cached_property
    def _by_type(self) -> Mapping[ServiceType, Sequence[Usage]]:
        """The usages on the resources of each type."""
        return grouped(
            (resource_type, usage)
            for usage in self._allowed
            for resource_type in service_types(usage.resource)
        )

    def _called_together(self, step: _Step) -> Iterator[ChainLink]:
        """Yields what the same program called on other resources of the denied types, by any user
        of the policy.

        Where the denied action was allowed on one of them, only its runs there count.
        """
        usages = [
            usage
            for resource_type in step.types
            for usage in self._by_type.get(resource_type, ())
            if not step.programs.isdisjoint(_programs([usage]))
        ]
        runs_by_resource: dict[str, set[str]] = {}
        for usage in usages:
            if usage.action == step.action and usage.runs:
                runs_by_resource.setdefault(usage.resource, set()).update(usage.runs)
        runs_by_action: dict[str, set[str]] = {}
        for usage in usages:
            runs = set(usage.runs)
            if runs_by_resource:
                runs &= runs_by_resource.get(usage.resource, set())
            if runs:
                runs_by_action.setdefault(usage.action, set()).update(runs)
        for action, runs in runs_by_action.items():
            reason = f"{plural(len(runs), 'run')} called it on another resource of this type"
            yield ChainLink(action, reason)

    def _new_roles(self, step: _Step) -> Iterator[str]:
        """Yields the roles that the denied run made, which the denied call may pass on."""
        for usage in self._allowed:
            permission = usage.need.permission
            is_of_step = not step.runs.isdisjoint(usage.runs)
            if permission.action == _CREATE_ROLE and is_of_step and usage.need.exact:
                yield permission.resource

    def _named_in_runs(self, action: str, step: _Step) -> Iterator[str]:
        """Yields the resources that the denied runs used and that a further action takes; none of
        too many.
        """
        service = action.partition(":")[0]
        names: dict[str, None] = {}
        for run in sorted(step.runs):
            for resource in self._by_run.get(run, ()):
                if service_of(resource) == service and fits(action, resource):
                    names[resource] = None
        if len(names) <= _MOST_NAMES:
            yield from names

    @cached_property
    def _by_run(self) -> Mapping[str, Sequence[str]]:
        """Run -> the resources that it used by name."""
        names_by_run: dict[str, dict[str, None]] = {}
        for usage in self._allowed:
            if usage.resource != "*":
                for run in usage.runs:
                    names_by_run.setdefault(run, {})[usage.resource] = None
        return {run: tuple(resources) for run, resources in names_by_run.items()}

    def _may_offer(self, link: _Further, step: _Step) -> bool:
        """Whether a further action of a denied step may be offered: it is not forbidden, declined,
        too wide, granted already or denied.
        """
        completion = self._completion
        permission = Permission(link.action, link.resource, link.conditions)
        if forbidden(link.action, completion.options.never_add):
            return False
        history = completion.history
        if history.decline_of(link.action, link.resource):
            return False
        deletion = history.deletion_of(link.action, link.resource)
        if deletion and step.last_seen <= deletion.at:
            return False
        if sensitivity(link.action) and self._is_too_wide(link.resource):
            return False
        need = Need(permission, Basis.LIFECYCLE, "", exact=True)
        as_denied = structs.replace(step.denied[0], need=need)
        document = completion.policies[0] if completion.policies else None
        if self_widening(as_denied, self._evidence, document):
            return False
        if any(self._is_written(addition, link) for addition in self._added):
            return False
        effects = {
            replay_need(need, self._evidence.principal, region, completion.policies)
            for region in step.regions or ("",)
        }
        return effects.isdisjoint({"allowed", "explicitDeny"})

    def _is_too_wide(self, resource: str) -> bool:
        """Whether a sensitive action on a resource is on every one of a type, or on the principal
        itself.
        """
        return is_whole_type(resource) or resource_covers(resource, self._evidence.principal)

    @staticmethod
    def _is_written(change: Change, link: _Further) -> bool:
        """Whether an addition has a further permission already."""
        if change.action != link.action or change.conditions not in ((), link.conditions):
            return False
        return any(resource_covers(resource, link.resource) for resource in change.resources)


def _is_wide(link: _Further) -> bool:
    return is_write_to_any(link.action, (link.resource,))


def _is_of_plan(action: str) -> bool:
    """Whether a role that only shows changes may need an action."""
    return is_read(action) or action == _DELETES_CHANGE_SET


def _passed_to(action: str) -> tuple[Condition, ...]:
    """Returns the condition under which a call of an action passes a role."""
    services = facts_of(action).services
    return (Condition("StringEquals", "iam:PassedToService", services),) if services else ()


def _change(links: Sequence[_Further], evidence: Evidence) -> Change:
    """Returns the addition of an action on the resources of its links."""
    first = links[0]
    resources = tuple(dict.fromkeys(link.resource for link in links))
    conditions = first.conditions
    if not conditions:
        conditions = id_conditions(first.action, resources, (), evidence)
    return Change(
        kind=ChangeKind.ADD,
        action=first.action,
        resources=resources,
        used=(first.action,),
        basis=Basis.LIFECYCLE,
        because=", ".join(sorted({link.because for link in links})),
        usual_as=first.usual_as,
        security=sensitivity(first.action),
        conditions=conditions,
    )
