"""Records every authorization check of the lab in a file, as ground truth for measurements.

One JSON object per line: principal (the session's ARN), action, resource, region, context. `python
-m tests.end_to_end.lab.checks` decides such checks for a policy without a lab; see `main`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ministack.core import iam_evaluator

Check = Mapping[str, Any]


class Checks:
    """Records checks; with an empty path it records none."""

    def __init__(self, path: str = "") -> None:
        self.path = path

    def note(self, asked: iam_evaluator.EvalContext) -> None:
        """Append a check."""
        if not self.path:
            return
        row = {
            "principal": asked.principal_arn, "action": asked.action,
            "resource": asked.resource_arn,
            "region": asked.region, "context": asked.service_context,
        }  # fmt: skip
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=str) + "\n")


def is_allowed(check: Check, policies: list[Any]) -> bool:
    """Whether parsed identity-based policies alone allow a check."""
    principal = str(check["principal"])
    asked = iam_evaluator.EvalContext(
        principal_arn=principal,
        principal_type="AssumedRole",
        principal_account=principal.split(":")[4],
        action=check["action"],
        resource_arn=check["resource"],
        region=check["region"],
        source_ip="127.0.0.1",
        secure_transport=True,
        service_context={"aws:resourceaccount": principal.split(":")[4], **check["context"]},
    )
    return bool(iam_evaluator.evaluate(asked, policies).decision == "Allow")


def main() -> None:
    """Reads `{"policies": [documents…], "checks": [check…]}` and writes a list of booleans, one per
    line.
    """
    for line in sys.stdin:
        given = json.loads(line)
        policies = [iam_evaluator.parse_policy_document(document) for document in given["policies"]]
        sys.stdout.write(
            json.dumps([is_allowed(check, policies) for check in given["checks"]]) + "\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
