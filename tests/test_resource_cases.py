"""Each file of `tests/cases_resources` is a rule of AWS about resources: these calls are authorized
on these ARNs.

`tests/cases_resources/README.md` describes the format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from leastpriv.models import Call, Outcome
from leastpriv.permissions.resource_types import fits
from tests.fakes.calls import resources_of

CASES = sorted((Path(__file__).parent / "cases_resources").glob("*.json"))
CHECKS = [
    (path, number)
    for path in CASES
    for number in range(len(json.loads(path.read_bytes())["checks"]))
]
ACCOUNT = "111122223333"


@pytest.mark.parametrize(
    ("path", "number"), CHECKS, ids=lambda value: getattr(value, "stem", value)
)
def test_case(path: Path, number: int) -> None:
    """The call has exactly the expected resources, and each of them fits the action."""
    check = json.loads(path.read_bytes())["checks"][number]
    action = check["action"]
    if "fits" in check:
        assert fits(action, check["resource"]) is check["fits"]
        return
    resources = resources_of(
        call_of(check), action, on=check.get("on", ""), template=check.get("template", "")
    )
    assert [resource.pattern for resource in resources] == check["resources"]
    assert all(fits(action, resource.pattern) for resource in resources)
    if "exact" in check:
        expected = check["exact"]
        exact = [resource.exact for resource in resources]
        assert exact == (expected if isinstance(expected, list) else [expected] * len(resources))
    if "derivation" in check:
        assert [resource.derivation for resource in resources] == [check["derivation"]]


def call_of(check: Mapping[str, Any]) -> Call:
    """Make the call of a check."""
    service, _, name = check.get("event", check["action"]).partition(":")
    return Call(
        event_id="",
        principal=check.get("principal", f"arn:aws:iam::{ACCOUNT}:role/ci/deploy"),
        session="12345678901",
        time=datetime(2026, 11, 1, tzinfo=UTC),
        account=ACCOUNT,
        region=check.get("region", "eu-west-1"),
        source=f"{service}.amazonaws.com",
        name=name,
        parameters=check["request"],
        response=check.get("response", {}),
        resources=tuple(check.get("listed", ())),
        outcome=Outcome.ALLOWED,
    )


def test_there_are_enough_cases_and_each_says_why() -> None:
    assert len(CHECKS) >= 230
    for path in CASES:
        case = json.loads(path.read_text(encoding="utf-8"))
        assert case["title"], path.name
        assert case["why"], path.name
