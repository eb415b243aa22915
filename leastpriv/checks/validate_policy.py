"""Access Analyzer's ValidatePolicy: grammar and good practice, free of charge; findings by line of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leastpriv.checks.sent import Sent, sent
from leastpriv.errors import AwsError
from leastpriv.evidence.aws import Aws
from leastpriv.evidence.aws_errors import explained
from leastpriv.policy.document import Document
from leastpriv.proposal.judgement import Judgement, Remark, Weight

JUDGE = "ValidatePolicy"
_ACTION = "access-analyzer:ValidatePolicy"
_WEIGHTS = {
    "ERROR": Weight.ERROR,
    "SECURITY_WARNING": Weight.SECURITY_WARNING,
    "WARNING": Weight.WARNING,
    "SUGGESTION": Weight.SUGGESTION,
}


def validate(aws: Aws, documents: Mapping[str, Document], committed: Document | None) -> Judgement:
    """Judges the proposed documents, by file name; never raises AwsError.

    A finding that the `committed` policy has as well is marked so.
    """
    remarks: list[Remark] = []
    unasked: list[str] = []
    asked = 0
    try:
        known = {_key(found) for found in _findings(aws, sent(committed))} if committed else set()
        for file, document in documents.items():
            text = sent(document)
            if text is None:
                unasked.append(not_rendered(file))
                continue
            found = _findings(aws, text)
            asked += 1
            remarks.extend(_remark(one, text, file, already=_key(one) in known) for one in found)
    except AwsError as error:
        return Judgement(JUDGE, asked, tuple(remarks), tuple(unasked), str(error))
    order = list(Weight)
    remarks.sort(key=lambda remark: (remark.already, order.index(remark.weight), remark.line))
    return Judgement(JUDGE, asked, tuple(remarks), tuple(unasked))


def not_rendered(file: str) -> str:
    """Why a policy inside a template is not sent."""
    return f"{file} has parts that only the rendered template knows, so that AWS was not asked about it."


def _findings(aws: Aws, text: Sent | None) -> Sequence[Mapping[str, Any]]:
    if text is None:
        return ()
    with explained("having the policy validated", _ACTION):
        pages = (
            aws.client("accessanalyzer")
            .get_paginator("validate_policy")
            .paginate(policyDocument=text.text, policyType="IDENTITY_POLICY", locale="EN")
        )
        return [finding for page in pages for finding in page["findings"]]


def _key(finding: Mapping[str, Any]) -> tuple[str, str]:
    return finding["issueCode"], finding["findingDetails"]


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
