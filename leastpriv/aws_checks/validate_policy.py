"""Runs Access Analyzer's ValidatePolicy, which is free of charge; maps findings to lines of the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leastpriv.aws.errors import translate_errors
from leastpriv.aws.session import Aws
from leastpriv.aws_checks.rendered_policy import RenderedPolicy, TrustPolicy, render_policy
from leastpriv.errors import AwsError
from leastpriv.policy.document import Document
from leastpriv.proposal.models import CheckFinding, CheckResult, Severity

VALIDATION = "ValidatePolicy"
TRUST = "AWS::IAM::AssumeRolePolicyDocument"
"""Access Analyzer's resource type of a trust policy."""
_ACTION = "access-analyzer:ValidatePolicy"
_WEIGHTS = {
    "ERROR": Severity.ERROR,
    "SECURITY_WARNING": Severity.SECURITY_WARNING,
    "WARNING": Severity.WARNING,
    "SUGGESTION": Severity.SUGGESTION,
}


def validate(
    aws: Aws, documents: Mapping[str, Document], committed: Document | None, trust_policies: Sequence[TrustPolicy] = ()
) -> CheckResult:
    """Validates the proposed documents, by file name, and the trust policies.

    A finding is marked as existing if the `committed` policy has it too, as often as that policy has it; so are all
    findings on trust policies, which no proposal changes. An AwsError becomes the failure of the result.
    """
    findings: list[CheckFinding] = []
    skipped: list[str] = []
    asked = 0
    try:
        before = render_policy(committed) if committed else None
        known = _CommittedFindings(before, _request_findings(aws, before))
        for file, document in documents.items():
            text = render_policy(document)
            if text is None:
                skipped.append(unrendered_reason(file))
                continue
            found = _request_findings(aws, text)
            asked += 1
            old = known.take(text, found)
            findings.extend(
                _check_finding(one, text, file, in_committed_policy=place in old) for place, one in enumerate(found)
            )
        for trust_policy in trust_policies:
            if trust_policy.rendered is None:
                skipped.append(unrendered_reason(trust_policy.file))
                continue
            found = _request_findings(aws, trust_policy.rendered, _OF_TRUST)
            asked += 1
            findings.extend(
                _check_finding(one, trust_policy.rendered, trust_policy.file, in_committed_policy=True) for one in found
            )
    except AwsError as error:
        return CheckResult(VALIDATION, asked, tuple(findings), tuple(skipped), str(error))
    order = list(Severity)
    findings.sort(key=lambda each: (each.in_committed_policy, order.index(each.severity), each.line))
    return CheckResult(VALIDATION, asked, tuple(findings), tuple(skipped))


def unrendered_reason(file: str) -> str:
    """Returns the reason why a policy inside a template is not sent."""
    return f"{file} has parts that only the rendered template knows, so AWS did not check it."


_OF_IDENTITY = {"policyType": "IDENTITY_POLICY"}
_OF_TRUST = {"policyType": "RESOURCE_POLICY", "validatePolicyResourceType": TRUST}


def _request_findings(
    aws: Aws, text: RenderedPolicy | None, kind: Mapping[str, str] = _OF_IDENTITY
) -> Sequence[Mapping[str, Any]]:
    if text is None:
        return ()
    with translate_errors("validating the policy", _ACTION):
        pages = (
            aws.client("accessanalyzer")
            .get_paginator("validate_policy")
            .paginate(policyDocument=text.text, locale="EN", **kind)
        )
        return [finding for page in pages for finding in page["findings"]]


class _CommittedFindings:
    """The committed policy's findings, each of which matches at most one finding of the proposal."""

    def __init__(self, text: RenderedPolicy | None, findings: Sequence[Mapping[str, Any]]) -> None:
        self._left = [_FindingKey.of(text, finding) for finding in findings] if text else []

    def take(self, text: RenderedPolicy, findings: Sequence[Mapping[str, Any]]) -> set[int]:
        """Returns the indexes of findings that the committed policy has too; unchanged statements match first."""
        keys = [_FindingKey.of(text, finding) for finding in findings]
        found: set[int] = set()
        for same in (_FindingKey.__eq__, _FindingKey.follows):
            for place, key in enumerate(keys):
                old = None if place in found else next((each for each in self._left if same(key, each)), None)
                if old:
                    self._left.remove(old)
                    found.add(place)
        return found


@dataclass(frozen=True, slots=True)
class _FindingKey:
    """Identity of a finding: its message and its statement."""

    message: tuple[str, str]
    sid: str
    content: str
    """The statement as JSON; empty if the finding concerns no statement."""

    @classmethod
    def of(cls, text: RenderedPolicy, finding: Mapping[str, Any]) -> _FindingKey:
        path = next((location["path"] for location in finding["locations"] if location.get("path")), ())
        statement = text.statement(path)
        content = json.dumps(statement, sort_keys=True) if statement else ""
        sid = str(statement.get("Sid") or "") if statement else ""
        return cls((finding["issueCode"], finding["findingDetails"]), sid, content)

    def follows(self, old: _FindingKey) -> bool:
        """Returns whether it may concern the same statement after narrowing: equal Sids, or no Sids."""
        return (self.message, self.sid, bool(self.content)) == (old.message, old.sid, bool(old.content))


def _check_finding(
    finding: Mapping[str, Any], text: RenderedPolicy, file: str, *, in_committed_policy: bool
) -> CheckFinding:
    locations = finding["locations"]
    return CheckFinding(
        _WEIGHTS.get(finding["findingType"], Severity.WARNING),
        finding["issueCode"],
        finding["findingDetails"],
        file,
        min((text.line(location) for location in locations), default=0),
        finding["learnMoreLink"],
        in_committed_policy,
    )
