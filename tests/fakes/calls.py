"""Creates calls for tests of required permissions, with default values for irrelevant fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from leastpriv.models import Basis, Call, Need, Outcome
from leastpriv.permissions.arn_templates import Resource
from leastpriv.permissions.mapping import needs_of
from leastpriv.permissions.request import noun_of, read_request
from leastpriv.permissions.resources import find_resources
from leastpriv.permissions.service_facts import facts_of_action


def a_call(
    event: str,
    parameters: Mapping[str, object] | None = None,
    *,
    outcome: Outcome = Outcome.ALLOWED,
    error_code: str = "",
    read_only: bool | None = False,
    resources: Sequence[str] = (),
    invoked_by: str = "",
    partition: str = "aws",
    parameters_omitted: bool = False,
) -> Call:
    """A call of `event`: `lambda:CreateFunction20150331`, or with the whole event source before the
    colon.
    """
    source, _, name = event.rpartition(":")
    return Call(
        event_id="",
        principal=f"arn:{partition}:iam::111122223333:role/ci/deploy",
        session="12345678901",
        time=datetime(2026, 11, 1, tzinfo=UTC),
        account="111122223333",
        region="eu-west-1",
        source=source if "." in source else f"{source}.amazonaws.com",
        name=name,
        parameters=parameters or {},
        response={},
        resources=tuple(resources),
        outcome=outcome,
        error_code=error_code,
        invoked_by=invoked_by,
        read_only=read_only,
        parameters_omitted=parameters_omitted,
    )


def inferred(call: Call) -> list[Need]:
    """The inferred needs of a call."""
    return [need for need in needs_of(call).needs if need.basis is Basis.INFERRED]


def inferred_besides_launch(call: Call) -> list[Need]:
    """The inferred needs of a call, without those of the launch itself."""
    return [need for need in inferred(call) if need.permission.action != "ec2:RunInstances"]


def resources_of(
    call: Call, action: str, *, on: str = "", template: str = "", of_types: Collection[str] = ()
) -> tuple[Resource, ...]:
    """Returns the resources that `action` was authorized on in `call`; at least one.

    Args:
        call: the call.
        action: the action, in the catalogue's spelling.
        on: `source` or `target` where the event copies one resource to another.
        template: an ARN template of the events table.
        of_types: the resource types meant (lower case), where not all of the action's are.
    """
    facts = facts_of_action(action, tuple(of_types))
    request = read_request(noun_of(call.name), call.parameters)
    return tuple(find_resources(call, facts, request, on, template))
