"""Each file of `tests/cases_access` is a rule of AWS about several policy types: these requests get
these answers.

`tests/cases_access/README.md` describes the format.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from leastpriv.policy.access import (
    NamedPolicy,
    Organization,
    Policies,
    ResourcePolicy,
    evaluate_access,
    with_every_resource,
)
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import read_requests
from leastpriv.policy.organization import OrganizationFiles, organization_of

CASES = sorted((Path(__file__).parent / "cases_access").glob("*.json"))
CHECKS = [
    (path, number)
    for path in CASES
    for number in range(len(json.loads(path.read_bytes())["checks"]))
]
FULL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


def document(policy: object, name: str, *, resource_based: bool = False) -> Document:
    """Parses a policy of a case."""
    return parse(json.dumps(policy).encode(), name, resource_based=resource_based)


def organization(files: dict[str, Any]) -> Organization:
    """Reads the files of an organization as from a folder."""
    contents = {
        name: json.dumps(FULL if policy == "FullAWSAccess" else policy).encode()
        for name, policy in files.items()
    }
    folders = {each.as_posix() for name in files for each in PurePosixPath(name).parents}
    return organization_of(
        OrganizationFiles(("Root",), contents, frozenset(folders - {"."})), "--organization"
    )


def policies(given: dict[str, Any]) -> Policies:
    """Makes the policies of a case."""
    return Policies(
        identity=tuple(document(each, "identity.json") for each in given["identity"]),
        boundary=(document(given["boundary"], "b.json"),) if "boundary" in given else None,
        session=(document(given["session"], "s.json"),) if "session" in given else None,
        organization=organization(given["organization"])
        if "organization" in given
        else Organization(),
        resources=tuple(
            ResourcePolicy(
                NamedPolicy(arn, with_every_resource(document(each, arn, resource_based=True))), arn
            )
            for arn, each in given.get("resources", {}).items()
        ),
    )


@pytest.mark.parametrize(
    ("path", "number"), CHECKS, ids=lambda value: getattr(value, "stem", value)
)
def test_case(path: Path, number: int) -> None:
    """The policies give the expected answer to the request, by the expected policy."""
    case = json.loads(path.read_bytes())
    check = case["checks"][number]
    asked = {key: check[key] for key in ("principal", "action", "resource")}
    asked |= {
        "context": check.get("context", {}),
        "context_complete": check.get("complete", True),
    }
    (request,) = read_requests(json.dumps(asked).encode(), "request.json")
    decision = evaluate_access(request, policies(case["policies"]))
    found = {
        "answer": decision.effect,
        "by": decision.layer,
        "sid": decision.statement.sid if decision.statement else "",
        "policy": decision.policy,
        "level": decision.level,
        "not_given": decision.not_given,
    }
    assert {key: found[key] for key in found if key in check} == {
        key: check[key] for key in found if key in check
    }


def test_there_are_enough_cases_and_each_names_its_source() -> None:
    assert len(CHECKS) >= 150
    for path in CASES:
        case = json.loads(path.read_text(encoding="utf-8"))
        assert case["source"].startswith("https://docs.aws.amazon.com/"), path.name
        assert case["title"], path.name
        assert case["why"], path.name
