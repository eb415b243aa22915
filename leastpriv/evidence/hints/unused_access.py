"""Findings and recommendations of the unused-access analyzers that are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from leastpriv.errors import AwsError, AwsTrouble
from leastpriv.evidence.aws_errors import explained
from leastpriv.evidence.hints.analyzers import Analyzer, analyzers, findings
from leastpriv.evidence.hints.found import Advice, UnusedAccess
from leastpriv.evidence.hints.generated_policy import grants_of
from leastpriv.evidence.hints.waiting import Waiting

_TYPES = ("UnusedIAMRole", "UnusedPermission", "UnusedIAMUserAccessKey", "UnusedIAMUserPassword")
_KINDS = ("ACCOUNT_UNUSED_ACCESS", "ORGANIZATION_UNUSED_ACCESS")


def unused_access(client: Any, principal: str, waiting: Waiting) -> tuple[UnusedAccess, ...]:
    """What each unused-access analyzer of the client's region says of a role or user; empty where there is none.

    Raises:
        AwsError: AWS refused, or failed.
    """
    return tuple(_told(client, analyzer, principal, waiting) for kind in _KINDS for analyzer in analyzers(client, kind))


def _told(client: Any, analyzer: Analyzer, principal: str, waiting: Waiting) -> UnusedAccess:
    services: set[str] = set()
    actions: set[str] = set()
    credentials: list[str] = []
    advice: list[Advice] = []
    unadvised: dict[str, None] = {}
    is_whole = False
    for finding in findings(client, analyzer, principal, *_TYPES):
        is_whole = is_whole or finding["findingType"] == "UnusedIAMRole"
        for detail in finding["findingDetails"]:
            unused = detail.get("unusedPermissionDetails")
            if unused:
                prefix = str(unused["serviceNamespace"]).lower()
                named = [str(each["action"]).lower() for each in unused.get("actions") or ()]
                actions.update(name if ":" in name else f"{prefix}:{name}" for name in named)
                services.update(() if named else (prefix,))
            if key := detail.get("unusedIamUserAccessKeyDetails"):
                credentials.append(str(key["accessKeyId"]))
            if "unusedIamUserPasswordDetails" in detail:
                credentials.append("password")
        if finding["findingType"] == "UnusedPermission":
            try:
                advice.extend(_advice(client, analyzer, str(finding["id"]), waiting))
            except AwsError as error:
                # It takes nothing from the finding.
                waiting.say(f"No recommendation for the finding {finding['id']}: {error}")
                unadvised[str(error)] = None
    return UnusedAccess(
        analyzer.name, analyzer.days, is_whole, tuple(sorted(services)), tuple(sorted(actions)), tuple(credentials),
        tuple(advice), tuple(unadvised),
    )  # fmt: skip


def _advice(client: Any, analyzer: Analyzer, finding: str, waiting: Waiting) -> Iterator[Advice]:
    """The recommendation for a finding.

    Raises:
        AwsError: AWS makes none, in time or at all, or its policy cannot be read.
    """
    with explained("asking for a recommendation", "access-analyzer:GenerateFindingRecommendation"):
        client.generate_finding_recommendation(analyzerArn=analyzer.arn, id=finding)
    answer = waiting.until(lambda: _recommended(client, analyzer, finding), "a recommendation")
    if answer is None:
        raise AwsError("A recommendation of Access Analyzer was not made in time: run again later.", AwsTrouble.OTHER)
    if answer["status"] == "FAILED":
        error = answer.get("error") or {}
        said = f"{error.get('code', 'no reason given')}: {str(error.get('message', '')).rstrip('.')}"
        raise AwsError(f"Access Analyzer makes no recommendation ({said}).", AwsTrouble.OTHER)
    for step in answer["recommendedSteps"]:
        change = step.get("unusedPermissionsRecommendedStep", {})
        if change.get("recommendedAction"):
            text = change.get("recommendedPolicy")
            grants = tuple(action.lower() for action, _ in grants_of([text])) if text else ()
            yield Advice(str(change["recommendedAction"]), str(change.get("existingPolicyId", "")), grants)


def _recommended(client: Any, analyzer: Analyzer, finding: str) -> Mapping[str, Any] | None:
    token: dict[str, str] = {}
    steps: list[Mapping[str, Any]] = []
    while True:
        with explained("reading a recommendation", "access-analyzer:GetFindingRecommendation"):
            page = client.get_finding_recommendation(analyzerArn=analyzer.arn, id=finding, **token)
        if page["status"] == "IN_PROGRESS":
            return None
        steps.extend(page.get("recommendedSteps", ()))
        if not page.get("nextToken"):
            return {**page, "recommendedSteps": steps}
        token = {"nextToken": page["nextToken"]}
