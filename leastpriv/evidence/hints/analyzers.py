"""The analyzers of IAM Access Analyzer that are there, and their active findings about one role or user.

Reading findings is free; an unused-access analyzer is charged for each role and user that it watches, so that none is
ever made here (data/costs.tsv).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from leastpriv.evidence.aws_errors import explained


@dataclass(frozen=True, slots=True)
class Analyzer:
    """An active analyzer."""

    arn: str
    name: str
    days: int = 0
    """Of an unused-access analyzer: without use for so long something is unused; 0 where AWS does not say."""


def analyzers(client: Any, kind: str) -> Iterator[Analyzer]:
    """Active analyzers of a kind of zone of trust (`ACCOUNT`, `ORGANIZATION_UNUSED_ACCESS` …) in the client's region.

    Raises:
        AwsError: AWS refused, or failed.
    """
    token: dict[str, str] = {}
    while True:
        with explained("listing analyzers", "access-analyzer:ListAnalyzers"):
            page = client.list_analyzers(type=kind, **token)
        for each in page["analyzers"]:
            if each["status"] == "ACTIVE":
                days = each.get("configuration", {}).get("unusedAccess", {}).get("unusedAccessAge", 0)
                yield Analyzer(each["arn"], each["name"], int(days))
        if not page.get("nextToken"):
            return
        token = {"nextToken": page["nextToken"]}


def findings(client: Any, analyzer: Analyzer, resource: str, *kinds: str) -> Iterator[Mapping[str, Any]]:
    """Active findings of some types about a role or user, by ARN, each as `GetFindingV2` gives it, all pages joined.

    Raises:
        AwsError: AWS refused, or failed.
    """
    wanted = {"resource": {"eq": [resource]}, "status": {"eq": ["ACTIVE"]}}
    token: dict[str, str] = {}
    while True:
        with explained(f"listing findings of the analyzer {analyzer.name}", "access-analyzer:ListFindings"):
            page = client.list_findings_v2(analyzerArn=analyzer.arn, filter=wanted, **token)
        for each in page["findings"]:
            # Held against the filter again: what is about another role would be a false word about this one.
            if each.get("findingType") in kinds and each["resource"] == resource and each["status"] == "ACTIVE":
                yield _whole(client, analyzer, str(each["id"]))
        if not page.get("nextToken"):
            return
        token = {"nextToken": page["nextToken"]}


def _whole(client: Any, analyzer: Analyzer, number: str) -> Mapping[str, Any]:
    token: dict[str, str] = {}
    details: list[Mapping[str, Any]] = []
    while True:
        with explained(f"reading a finding of the analyzer {analyzer.name}", "access-analyzer:GetFinding"):
            page = client.get_finding_v2(analyzerArn=analyzer.arn, id=number, **token)
        details.extend(page["findingDetails"])
        if not page.get("nextToken"):
            return {**page, "findingDetails": details}
        token = {"nextToken": page["nextToken"]}
