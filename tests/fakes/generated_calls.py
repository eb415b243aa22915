"""Makes calls from botocore's API models: of each operation one without parameters, and one with
all of its model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import botocore.session

from leastpriv.models import Call, Outcome

ACCOUNT = "111122223333"
REGION = "eu-west-1"
_DEEPEST = 7
_S3_NAMES = {"Bucket": "bucketName", "Key": "key"}
_VALUES = frozenset({"value", "values", "attributevalue", "attributes", "staticvalue"})
"""Members whose meaning another member tells."""
_EC2_TAGS = {"items": [{"resourceType": "instance", "tags": [{"key": "team", "value": "web"}]}]}


@cache
def _loader() -> Any:
    return botocore.session.get_session().get_component("data_loader")


@cache
def model_of(client: str) -> Mapping[str, Any] | None:
    """Returns the API model of a client of Boto3; None where the installed botocore lacks it."""
    if client not in _loader().list_available_services("service-2"):
        return None
    model: Mapping[str, Any] = _loader().load_service_model(client, "service-2")
    return model


def clients() -> tuple[str, ...]:
    """Returns the names of all clients of the installed botocore."""
    return tuple(_loader().list_available_services("service-2"))


def source_of(client: str, prefix: str) -> str:
    """Returns the event source of a client's calls: the signing name stands for it."""
    model = model_of(client)
    metadata = model["metadata"] if model else {}
    return (
        f"{metadata.get('signingName') or metadata.get('endpointPrefix') or prefix}.amazonaws.com"
    )


def call(source: str, name: str, parameters: Mapping[str, object]) -> Call:
    """Returns an allowed call of the role `deploy`."""
    return Call(
        event_id="",
        principal=f"arn:aws:iam::{ACCOUNT}:role/deploy",
        session="1",
        time=datetime(2026, 11, 1, tzinfo=UTC),
        account=ACCOUNT,
        region=REGION,
        source=source,
        name=name,
        parameters=parameters,
        response={},
        resources=(),
        outcome=Outcome.ALLOWED,
    )


def parameters_of(
    client: str, operation: str, *, required_only: bool = False, variant: int = 0, arns_of: str = ""
) -> dict[str, object]:
    """Returns request parameters with every member that the model has, or the required ones, as
    CloudTrail has them.

    Args:
        client: name of the client in Boto3.
        operation: name of the operation.
        required_only: leave out optional members.
        variant: which value of each enumeration to take.
        arns_of: the service of the ARNs; with one, values whose keys say nothing are ARNs of roles.
    """
    model = model_of(client)
    found = model["operations"].get(operation) if model else None
    if model is None or found is None or "input" not in found:
        return {}
    value = _Filler(model["shapes"], required_only, variant, arns_of).value(
        found["input"]["shape"], "", ()
    )
    parameters = dict(value) if isinstance(value, dict) else {}
    if client == "ec2" and "tagSpecifications" in parameters:
        parameters["tagSpecificationSet"] = _EC2_TAGS
    return parameters


@dataclass(frozen=True, slots=True)
class _Filler:
    """Fills shapes of one model."""

    shapes: Mapping[str, Any]
    required_only: bool
    variant: int
    arns_of: str

    def value(self, name: str, member: str, above: tuple[str, ...]) -> object:
        """Returns a value of a shape; None where it would hold itself."""
        shape = self.shapes[name]
        if name in above or len(above) > _DEEPEST:
            return None
        above = (*above, name)
        match shape["type"]:
            case "structure":
                return self._structure(shape, above)
            case "list":
                item = self.value(shape["member"]["shape"], member, above)
                return [] if item is None else [item]
            case "map":
                item = self.value(shape["value"]["shape"], member, above)
                key = "roleArn" if self.arns_of else "key"
                return {} if item is None else {key: item}
            case "boolean":
                return True
            case "integer" | "long" | "float" | "double":
                return 1
            case "blob" | "timestamp":
                return None
            case _:
                return self._text(shape, member)

    def _structure(self, shape: Mapping[str, Any], above: tuple[str, ...]) -> dict[str, object]:
        members, required = shape.get("members", {}), shape.get("required", ())
        kept = [pair for pair in members.items() if not self.required_only or pair[0] in required]
        filled = ((_key(key, spec), self.value(spec["shape"], key, above)) for key, spec in kept)
        return {key: value for key, value in filled if value is not None}

    def _text(self, shape: Mapping[str, Any], member: str) -> str:
        if shape.get("enum"):
            return str(shape["enum"][self.variant % len(shape["enum"])])
        lower = member.lower()
        if "role" in lower or "credentials" in lower or (self.arns_of and lower in _VALUES):
            return f"arn:aws:iam::{ACCOUNT}:role/service-role"
        if not lower.endswith("arn"):
            return f"the-{lower}"
        return (
            f"arn:aws:{self.arns_of}:{REGION}:{ACCOUNT}:{lower}/x"
            if self.arns_of
            else f"arn:aws:iam::{ACCOUNT}:role/{lower}"
        )


def _key(member: str, spec: Mapping[str, Any]) -> str:
    if member in _S3_NAMES and spec.get("location") == "uri":
        return _S3_NAMES[member]
    if spec.get("location") == "header":
        return str(spec.get("locationName", member))
    return member[:1].lower() + member[1:]


def operations() -> Iterator[tuple[str, str, str]]:
    """Yields (client, event source, operation) of every API model."""
    for client in clients():
        model = model_of(client)
        for operation in model["operations"] if model else ():
            yield client, source_of(client, client), operation
