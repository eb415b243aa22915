"""Access Analyzer's ValidatePolicy: grammar and good practice, free of charge; findings by line of the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leastpriv.aws.errors import explained
from leastpriv.aws.session import Aws
from leastpriv.aws_checks.rendered_policy import Sent, sent
from leastpriv.aws_checks.trust_policies import TrustPolicy
from leastpriv.errors import AwsError
from leastpriv.policy.document import Document
from leastpriv.proposal.models import Judgement, Remark, Weight

JUDGE = "ValidatePolicy"
TRUST = "AWS::IAM::AssumeRolePolicyDocument"
"""How Access Analyzer calls a trust policy among the policies of resources."""
_ACTION = "access-analyzer:ValidatePolicy"
_WEIGHTS = {
    "ERROR": Weight.ERROR,
    "SECURITY_WARNING": Weight.SECURITY_WARNING,
    "WARNING": Weight.WARNING,
    "SUGGESTION": Weight.SUGGESTION,
}


def validate(
    aws: Aws, documents: Mapping[str, Document], committed: Document | None, trusts: Sequence[TrustPolicy] = ()
) -> Judgement:
    """Judges the proposed documents, by file name, and trust policies beside them; never raises AwsError.

    A finding that the `committed` policy has as well is marked so, as often as that one has it; so are all of trust
    policies, which no proposal changes.
    """
    remarks: list[Remark] = []
    unasked: list[str] = []
    asked = 0
    try:
        before = sent(committed) if committed else None
        known = _Known(before, _findings(aws, before))
        for file, document in documents.items():
            text = sent(document)
            if text is None:
                unasked.append(not_rendered(file))
                continue
            found = _findings(aws, text)
            asked += 1
            old = known.take(text, found)
            remarks.extend(_remark(one, text, file, already=place in old) for place, one in enumerate(found))
        for trust in trusts:
            if trust.sent is None:
                unasked.append(not_rendered(trust.file))
                continue
            found = _findings(aws, trust.sent, _OF_TRUST)
            asked += 1
            remarks.extend(_remark(one, trust.sent, trust.file, already=True) for one in found)
    except AwsError as error:
        return Judgement(JUDGE, asked, tuple(remarks), tuple(unasked), str(error))
    order = list(Weight)
    remarks.sort(key=lambda remark: (remark.already, order.index(remark.weight), remark.line))
    return Judgement(JUDGE, asked, tuple(remarks), tuple(unasked))


def not_rendered(file: str) -> str:
    """Why a policy inside a template is not sent."""
    return f"{file} has parts that only the rendered template knows, so that AWS was not asked about it."


_OF_IDENTITY = {"policyType": "IDENTITY_POLICY"}
_OF_TRUST = {"policyType": "RESOURCE_POLICY", "validatePolicyResourceType": TRUST}


def _findings(aws: Aws, text: Sent | None, kind: Mapping[str, str] = _OF_IDENTITY) -> Sequence[Mapping[str, Any]]:
    if text is None:
        return ()
    with explained("having the policy validated", _ACTION):
        pages = (
            aws.client("accessanalyzer")
            .get_paginator("validate_policy")
            .paginate(policyDocument=text.text, locale="EN", **kind)
        )
        return [finding for page in pages for finding in page["findings"]]


class _Known:
    """The committed policy's findings; each explains one of the proposal's and no second one."""

    def __init__(self, text: Sent | None, findings: Sequence[Mapping[str, Any]]) -> None:
        self._left = [_Key.of(text, finding) for finding in findings] if text else []

    def take(self, text: Sent, findings: Sequence[Mapping[str, Any]]) -> set[int]:
        """Which of a policy's findings are explained, by their places; those of unchanged statements come first."""
        keys = [_Key.of(text, finding) for finding in findings]
        found: set[int] = set()
        for same in (_Key.__eq__, _Key.follows):
            for place, key in enumerate(keys):
                old = None if place in found else next((each for each in self._left if same(key, each)), None)
                if old:
                    self._left.remove(old)
                    found.add(place)
        return found


@dataclass(frozen=True, slots=True)
class _Key:
    """What makes two findings one: what is said, and of which statement."""

    said: tuple[str, str]
    sid: str
    content: str
    """The statement as JSON; empty where the finding is about none."""

    @classmethod
    def of(cls, text: Sent, finding: Mapping[str, Any]) -> _Key:
        path = next((location["path"] for location in finding["locations"] if location.get("path")), ())
        statement = text.statement(path)
        content = json.dumps(statement, sort_keys=True) if statement else ""
        sid = str(statement.get("Sid") or "") if statement else ""
        return cls((finding["issueCode"], finding["findingDetails"]), sid, content)

    def follows(self, old: _Key) -> bool:
        """Whether it may be the same statement, narrowed: one with its Sid, or neither has one."""
        return (self.said, self.sid, bool(self.content)) == (old.said, old.sid, bool(old.content))


def _remark(finding: Mapping[str, Any], text: Sent, file: str, *, already: bool) -> Remark:
    locations = finding["locations"]
    return Remark(
        _WEIGHTS.get(finding["findingType"], Weight.WARNING),
        finding["issueCode"],
        finding["findingDetails"],
        file,
        min((text.line(location) for location in locations), default=0),
        finding["learnMoreLink"],
        already,
    )
