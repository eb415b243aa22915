"""Sends one request for each permission of the reader role, from the table that lists them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from leastpriv.aws.errors import aws_message, error_code, translate_errors
from leastpriv.aws.session import Aws, method_name
from leastpriv.errors import AwsError, AwsErrorKind
from leastpriv.init.reader_role import ReaderGrant, Values, filled_values, has_unknown_value
from leastpriv.permissions.fact_tables import table

_OF_CREDENTIALS = (
    AwsErrorKind.NO_CREDENTIALS,
    AwsErrorKind.INVALID,
    AwsErrorKind.EXPIRED,
    AwsErrorKind.UNREACHABLE,
)
"""Failures that each further request would repeat."""


_UNANSWERED = (
    AwsErrorKind.THROTTLED,
    AwsErrorKind.SERVER,
    AwsErrorKind.UNREACHABLE,
    AwsErrorKind.INCOMPLETE,
)
"""Failures that do not show whether the request is allowed."""


class CheckState(StrEnum):
    """What a check shows, as its line begins."""

    WORKS = "works"
    FAILS = "FAILS"
    UNKNOWN = "unknown"
    """AWS did not answer the request."""
    INFO = "info"
    """Nothing is checked: a piece of information."""


class Check(Struct, frozen=True):
    """One check with what it shows."""

    step: str
    state: CheckState
    detail: str

    @classmethod
    def of_error(cls, step: str, error: AwsError, about: str = "") -> Check:
        """Returns the check whose request ended with an error.

        Args:
            step: the name of the check.
            error: what AWS, or the way to AWS, says.
            about: what the request names; empty where the error says it.
        """
        detail = f"{about}: {said(error)}" if about else said(error)
        if error.kind in _UNANSWERED:
            return cls(step, CheckState.UNKNOWN, detail)
        return cls(step, CheckState.FAILS, detail)


class Probe(Struct, frozen=True):
    """The request that shows whether the role has a permission."""

    sid: str
    """The statement of the reader role."""
    action: str
    client: str
    operation: str
    parameters: str
    """JSON with values in braces."""
    missing: str
    """AWS's error for what does not exist, which only a caller with the permission gets."""
    note: str
    """Why no request is sent; empty where one is."""

    @property
    def is_of_bucket(self) -> bool:
        """Whether the check of the trail's bucket shows the permission."""
        return self.note == "bucket"


def known_probes() -> tuple[Probe, ...]:
    """Returns every probe, in the order of the table."""
    return tuple(_probe(row) for row in table("probes", __package__ or ""))


def _probe(row: Mapping[str, str]) -> Probe:
    service, _, operation = row["action"].partition(":")
    client, _, other_operation = row["client"].partition(":")
    return Probe(
        sid=row["sid"],
        action=row["action"],
        client=client or service,
        operation=other_operation or operation,
        parameters=row["parameters"],
        missing=row["missing"],
        note=row["note"],
    )


def send_probes(aws: Aws, grants: Iterable[ReaderGrant], values: Values) -> Iterator[Check]:
    """Yields the result of each probe of the grants; the first failure of the credentials
    themselves ends them.

    Args:
        aws: the credentials of the reader role, or of who checks it.
        grants: the statements of the role.
        values: what the requests name; a probe without its value is left out.
    """
    sids = {grant.sid for grant in grants}
    for probe in known_probes():
        if probe.sid not in sids or probe.is_of_bucket:
            continue
        if probe.note:
            yield Check(probe.action, CheckState.INFO, f"not tried: {probe.note}")
            continue
        (parameters,) = filled_values(probe.parameters, values)
        if has_unknown_value(parameters):
            continue
        try:
            yield _send(aws, probe, json.loads(parameters))
        except AwsError as error:
            yield Check.of_error(probe.operation, error)
            return


def _send(aws: Aws, probe: Probe, parameters: Mapping[str, Any]) -> Check:
    """Sends one probe; raises AwsError where the credentials themselves do not work."""
    works = Check(probe.operation, CheckState.WORKS, f"{probe.action} ({probe.sid})")
    try:
        answered(aws, probe.client, probe.operation, probe.action, **parameters)
    except AwsError as error:
        if error.kind in _OF_CREDENTIALS:
            raise
        if probe.missing and error_code(error) == probe.missing:
            return works
        if error.kind is AwsErrorKind.OTHER:
            return Check(probe.operation, CheckState.INFO, f"not known: {said(error)}")
        return Check.of_error(probe.operation, error, probe.sid)
    return works


def answered(
    aws: Aws, client: str, operation: str, action: str, region: str = "", **parameters: Any
) -> Mapping[str, Any]:
    """Sends a request and returns AWS's answer; raises AwsError."""
    with translate_errors(f"trying {operation}", action):
        answer: Mapping[str, Any] = getattr(aws.client(client, region), method_name(operation))(
            **parameters
        )
    return answer


def said(error: AwsError) -> str:
    """Returns AWS's own sentence, once, and the remedy."""
    message = aws_message(error)
    if not message or message in str(error):
        return str(error)
    return f'AWS says "{message}". {error}'
