"""Fakes AWS Organizations as its management account sees it: a tree of units with service control
policies, paged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.aws.server import Asked, Operation, RefusedError

FULL_ACCESS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


@dataclass(slots=True)
class Organization:
    """The state: the parent of each account and unit, and the policies of each level by id."""

    parents: dict[str, str] = field(
        default_factory=lambda: {"111122223333": "ou-abcd-11111111", "ou-abcd-11111111": "r-abcd"}
    )
    policies: dict[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"p-FullAWSAccess": FULL_ACCESS}
    )
    attached: dict[str, Sequence[str]] = field(default_factory=dict)
    """Level -> ids of policies, besides full access."""

    def operations(self) -> dict[str, Operation]:
        """The operations for `FakeAws`."""
        return {
            "organizations:ListParents": self._parents,
            "organizations:ListPoliciesForTarget": self._listed,
            "organizations:DescribePolicy": self._policy,
        }

    def _parents(self, asked: Asked) -> Mapping[str, Any]:
        child = asked.parameters["ChildId"]
        if child not in self.parents:
            raise RefusedError("ChildNotFoundException", child)
        parent = self.parents[child]
        return {
            "Parents": [
                {"Id": parent, "Type": "ROOT" if parent.startswith("r-") else "ORGANIZATIONAL_UNIT"}
            ]
        }

    def _listed(self, asked: Asked) -> Mapping[str, Any]:
        found = ["p-FullAWSAccess", *self.attached.get(asked.parameters["TargetId"], ())]
        start = int(asked.parameters.get("NextToken") or 0)
        more = {"NextToken": str(start + 1)} if start + 1 < len(found) else {}
        shown = [
            {"Id": name, "Type": "SERVICE_CONTROL_POLICY"} for name in found[start : start + 1]
        ]
        return {"Policies": shown, **more}

    def _policy(self, asked: Asked) -> Mapping[str, Any]:
        return {"Policy": {"Content": json.dumps(self.policies[asked.parameters["PolicyId"]])}}
