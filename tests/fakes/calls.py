"""Creates calls for tests of required permissions, with default values for irrelevant fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from leastpriv.models import Basis, Call, Need, Outcome
from leastpriv.permissions.mapping import needs_of


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
    """A call of `event`: `lambda:CreateFunction20150331`, or with the whole event source before the colon."""
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
