"""Creates CloudTrail records of the product's own requests, and the product's needs and proposal
from them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.fakes.aws.server import Asked
from tests.fakes.deploys import record

NO_AWS = {"AWS_EC2_METADATA_DISABLED": "true"}
_PREFIXES = {"accessanalyzer": "access-analyzer"}
_GLOBAL = ("iam",)


def records_of(asked: Iterable[Asked], role: str) -> Iterator[dict[str, Any]]:
    """The records of requests to fakes, all by one role."""
    now = datetime.now(UTC)
    for number, each in enumerate(asked):
        call = {
            "event": f"{_PREFIXES.get(each.service, each.service)}:{each.operation}",
            "parameters": {
                key[0].lower() + key[1:]: value for key, value in each.parameters.items()
            },
            "region": "us-east-1" if each.service in _GLOBAL else each.region,
        }
        yield record(call, now + timedelta(milliseconds=number), "1765000099", role)


def used(trail: Path, role: str) -> set[str]:
    """The actions that a role's records show, as the product derives them."""
    done = leastpriv(NO_AWS, "permissions", "--role-arn", role, "--trails", trail)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row for row in rows if "gap" in row] == []
    # A call without the answer that its kind has counts as unknown; it was made all the same.
    unknown = {row["unknown"] for row in rows if "unknown" in row}
    return unknown | {row["action"] for row in rows if row.get("basis") in ("observed", "inferred")}


def changes(policy: Path, trail: Path, role: str, out: Path) -> list[tuple[str, str]]:
    """Kind and action of every change that the product proposes for a role's policy by its
    records.
    """
    done = leastpriv(
        NO_AWS, "propose", "--role-arn", role, "--policy-file", policy, "--trails", trail,
        "--minimum-days", "0",
        "--minimum-runs", "0", "--aws-regions", "us-east-1", "--aws-regions", "eu-west-1",
        "--output-dir", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    proposal = json.loads((out / "proposal.json").read_text())
    assert [each["action"] for each in proposal["held_back_additions"]] == []
    return [(change["kind"], change["action"]) for change in proposal["changes"]]


def leastpriv(
    environment: Mapping[str, str], *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    """Runs the installed command with only the given variables of AWS or a runner."""
    command = Path(sys.executable).with_name("leastpriv")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "INPUT_", "GITHUB_"))
    }
    return subprocess.run(
        [command, *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
