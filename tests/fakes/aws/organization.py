"""Fakes AWS Organizations as its management account sees it: a tree of units with service and
resource control policies, paged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.aws.server import Asked, Operation, RefusedError

RCP_FULL_ACCESS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}],
}
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
    """Level -> ids of SCPs, besides full access."""
    rcps: dict[str, Sequence[str]] = field(default_factory=dict)
    """Level -> ids of RCPs, besides the one that AWS attaches; empty: the type is not enabled."""

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
        target, kind = asked.parameters["TargetId"], asked.parameters["Filter"]
        found = ["p-FullAWSAccess", *self.attached.get(target, ())]
        if kind == "RESOURCE_CONTROL_POLICY":
            found = ["p-RCPFullAWSAccess", *self.rcps.get(target, ())] if self.rcps else []
        start = int(asked.parameters.get("NextToken") or 0)
        more = {"NextToken": str(start + 1)} if start + 1 < len(found) else {}
        shown = [{"Id": name, "Type": kind} for name in found[start : start + 1]]
        return {"Policies": shown, **more}

    def _policy(self, asked: Asked) -> Mapping[str, Any]:
        name = asked.parameters["PolicyId"]
        found = RCP_FULL_ACCESS if name == "p-RCPFullAWSAccess" else self.policies[name]
        return {"Policy": {"Content": json.dumps(found)}}
