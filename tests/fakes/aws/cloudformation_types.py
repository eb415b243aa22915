"""Fakes CloudFormation's registry of resource types and its stacks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.fakes.aws.server import Asked, FakeAws, RefusedError

_PAGE = 2
_LIST = "cloudformation:ListStackResources"
_THEN = datetime(2026, 11, 1, tzinfo=UTC)


class CloudFormationTypes(FakeAws):
    """`types` are the handlers by type name, `stacks` the types of a stack's resources by (region, name).

    `only_in` is the region with private types; other types are registered everywhere.
    """

    def __init__(
        self, types: Mapping[str, Mapping[str, Sequence[str]]], stacks: Mapping[tuple[str, str], Sequence[str]]
    ) -> None:
        super().__init__({
            "cloudformation:DescribeType": self._describe_type,
            "cloudformation:ListStackResources": self._list_stack_resources,
        })  # fmt: skip
        self.types, self.stacks = types, stacks
        self.only_in: dict[str, str] = {}
        self.denied: set[str] = set()
        """Stacks whose resources the caller may not list."""
        self.broken: set[str] = set()
        """Types for which the registry fails."""

    def _describe_type(self, asked: Asked) -> Mapping[str, Any]:
        name = asked.parameters["TypeName"]
        if name in self.broken:
            raise RefusedError("CFNRegistryException", "The registry cannot read the type.")
        if name not in self.types or self.only_in.get(name, asked.region) != asked.region:
            words = f"The type '{name}' cannot be found."
            raise RefusedError("TypeNotFoundException", words, 404)
        handlers = {handler: {"permissions": list(actions)} for handler, actions in self.types[name].items()}
        schema = {"typeName": name, "properties": {}, "handlers": handlers} if handlers else {"typeName": name}
        return {"Type": "RESOURCE", "TypeName": name, "Schema": json.dumps(schema), "Visibility": "PUBLIC"}

    def _list_stack_resources(self, asked: Asked) -> Mapping[str, Any]:
        name = asked.parameters["StackName"]
        if name in self.denied:
            arn = f"arn:aws:cloudformation:{asked.region}:111122223333:stack/{name}/*"
            words = f"User: arn:aws:iam::111122223333:user/ci is not authorized to perform: {_LIST} on resource: {arn}"
            raise RefusedError("AccessDenied", words, 403)
        kinds = self.stacks.get((asked.region, name))
        if kinds is None:
            raise RefusedError("ValidationError", f"Stack with id {name} does not exist")
        start = int(asked.parameters.get("NextToken", "0"))
        some = kinds[start : start + _PAGE]
        more = {"NextToken": str(start + _PAGE)} if start + _PAGE < len(kinds) else {}
        return {"StackResourceSummaries": [_summary(kind, start + place) for place, kind in enumerate(some)], **more}


def _summary(kind: str, number: int) -> Mapping[str, Any]:
    return {
        "LogicalResourceId": f"Resource{number}",
        "ResourceType": kind,
        "LastUpdatedTimestamp": _THEN,
        "ResourceStatus": "CREATE_COMPLETE",
    }
