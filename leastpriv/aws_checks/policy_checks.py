"""Runs Access Analyzer's checks: ValidatePolicy, free of charge, and custom policy checks, which
AWS charges for.

`paid_checks` is pure, so that `run_checks` can state the price before the first request.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from msgspec import Struct

from leastpriv.aws.errors import translate_errors, translate_missing_members
from leastpriv.aws.session import Aws, method_name, pages
from leastpriv.aws_checks.rendered_policy import RenderedPolicy, TrustPolicy, render_policy
from leastpriv.errors import AwsError, plural
from leastpriv.models import ChangeKind
from leastpriv.permissions import catalog
from leastpriv.permissions.catalog import forbidden
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import action_matches, overlaps
from leastpriv.policy.document import Document, Statement
from leastpriv.proposal.models import CheckFinding, CheckResult, Proposal, Severity

VALIDATION = "ValidatePolicy"
TRUST = "AWS::IAM::AssumeRolePolicyDocument"
"""Access Analyzer's resource type of a trust policy."""
_WEIGHTS = {name: Severity[name] for name in ("ERROR", "SECURITY_WARNING", "WARNING", "SUGGESTION")}
_UNLISTED = "IAM checks it all the same: its denials name the action, and a grant ends them."


def validate(
    aws: Aws,
    documents: Mapping[str, Document],
    committed: Document | None,
    trust_policies: Sequence[TrustPolicy] = (),
) -> CheckResult:
    """Validates the proposed documents, by file name, and the trust policies.

    A finding is marked as existing if the `committed` policy has it too, as often as that policy
    has it; so are all findings on trust policies, which no proposal changes. An AwsError becomes
    the failure of the result.
    """
    findings: list[CheckFinding] = []
    skipped: list[str] = []
    request_count = 0
    try:
        committed_keys = _committed_keys(aws, committed)
        texts = [
            (file, render_policy(document), _OF_IDENTITY) for file, document in documents.items()
        ]
        texts += [
            (trust_policy.file, trust_policy.rendered, _OF_TRUST) for trust_policy in trust_policies
        ]
        for file, text, kind in texts:
            if text is None:
                skipped.append(unrendered_reason(file))
                continue
            request_findings = _request_findings(aws, text, kind)
            request_count += 1
            existing_indexes = (
                set(range(len(request_findings)))
                if kind is _OF_TRUST
                else _take(committed_keys, text, request_findings)
            )
            findings.extend(
                _validation_finding(
                    finding, file, text, in_committed_policy=index in existing_indexes
                )
                for index, finding in enumerate(request_findings)
            )
    except AwsError as error:
        return CheckResult(VALIDATION, request_count, tuple(findings), tuple(skipped), str(error))
    order = list(Severity)
    findings.sort(
        key=lambda each: (each.in_committed_policy, order.index(each.severity), each.line)
    )
    return CheckResult(VALIDATION, request_count, tuple(findings), tuple(skipped))


def _committed_keys(aws: Aws, committed: Document | None) -> list[_FindingKey]:
    """Returns the keys of what AWS finds in the committed policy; empty for a template, which AWS
    cannot read.
    """
    text = render_policy(committed) if committed else None
    if text is None:
        return []
    return [_FindingKey.of(text, finding) for finding in _request_findings(aws, text)]


def _validation_finding(
    finding: Mapping[str, Any], file: str, text: RenderedPolicy, *, in_committed_policy: bool
) -> CheckFinding:
    """Returns a finding of AWS with the first line of the policy that it concerns."""
    severity = _WEIGHTS.get(finding["findingType"], Severity.WARNING)
    details = finding["findingDetails"]
    if finding["issueCode"] == "INVALID_ACTION" and _names_unlisted_action(details):
        severity = Severity.SUGGESTION
        details = f"{details} {_UNLISTED}"
    return CheckFinding(
        severity=severity,
        code=finding["issueCode"],
        text=details,
        file=file,
        line=min(map(text.line, finding["locations"]), default=0),
        link=finding["learnMoreLink"],
        in_committed_policy=in_committed_policy,
    )


def _names_unlisted_action(details: str) -> bool:
    """Whether a text of Access Analyzer is about an action that AWS authorizes and does not
    list.
    """
    words = {word.rstrip(".,").lower() for word in details.split()}
    return any(row["action"].lower() in words for row in table("unlisted_actions"))


def unrendered_reason(file: str) -> str:
    """Returns the reason why a policy inside a template is not sent."""
    return f"{file} has parts that only the rendered template knows, so AWS did not check it."


_MEMBERS = ("findingType", "issueCode", "findingDetails", "learnMoreLink", "locations")
_OF_IDENTITY = {"policyType": "IDENTITY_POLICY"}
_OF_TRUST = {"policyType": "RESOURCE_POLICY", "validatePolicyResourceType": TRUST}


def _request_findings(
    aws: Aws, text: RenderedPolicy, kind: Mapping[str, str] = _OF_IDENTITY
) -> Sequence[Mapping[str, Any]]:
    """Returns AWS's findings on a policy, each with the members of `_MEMBERS`."""
    client = aws.client("accessanalyzer")
    parameters = {"policyDocument": text.text, "locale": "EN", **kind}
    activity = "validating the policy"
    finding_pages = list(
        pages(client, "validate_policy", activity, "access-analyzer:ValidatePolicy", **parameters)
    )
    with translate_missing_members(activity):
        return [
            {name: finding[name] for name in _MEMBERS}
            for page in finding_pages
            for finding in page["findings"]
        ]


def _take(
    keys_left: list[_FindingKey], text: RenderedPolicy, findings: Sequence[Mapping[str, Any]]
) -> set[int]:
    """Returns the indexes of findings that the committed policy has too; takes each of its findings
    `keys_left` once.
    """
    keys = [_FindingKey.of(text, finding) for finding in findings]
    taken_indexes: set[int] = set()
    # Unchanged statements match first.
    for is_same in (_FindingKey.__eq__, _FindingKey.follows):
        for index, key in enumerate(keys):
            old = (
                None
                if index in taken_indexes
                else next(
                    (earlier_key for earlier_key in keys_left if is_same(key, earlier_key)), None
                )
            )
            if old:
                keys_left.remove(old)
                taken_indexes.add(index)
    return taken_indexes


class _FindingKey(Struct, frozen=True):
    """Identity of a finding: its message and its statement."""

    message: tuple[str, str]
    sid: str
    content: str
    """The statement as JSON; empty if the finding concerns no statement."""

    @classmethod
    def of(cls, text: RenderedPolicy, finding: Mapping[str, Any]) -> _FindingKey:
        path = next(
            (location["path"] for location in finding["locations"] if location.get("path")), ()
        )
        statement = text.statement(path)
        content = json.dumps(statement, sort_keys=True) if statement else ""
        sid = str(statement.get("Sid") or "") if statement else ""
        return cls((finding["issueCode"], finding["findingDetails"]), sid, content)

    def follows(self, old: _FindingKey) -> bool:
        """Returns whether it may concern the same statement after narrowing: equal Sids, or no
        Sids.
        """
        return (self.message, self.sid, bool(self.content)) == (
            old.message,
            old.sid,
            bool(old.content),
        )


_log = logging.getLogger(__name__)

NO_NEW_ACCESS = "CheckNoNewAccess"
ACCESS_NOT_GRANTED = "CheckAccessNotGranted"
NO_PUBLIC_ACCESS = "CheckNoPublicAccess"
_MOST_ACTIONS = 100
"""Maximum of actions in one CheckAccessNotGranted (API model of Access Analyzer, 2026-11)."""


class PaidCheck(Struct, frozen=True):
    """One paid request."""

    operation: str
    arguments: Mapping[str, Any]
    file: str
    lines: tuple[int, ...]
    """Lines of the policy's statements, by index."""
    expected: str
    """`PASS` or `FAIL` by our own evaluation; empty if it gives no answer."""
    failure_meaning: str


def paid_checks(
    proposal: Proposal,
    files: Mapping[str, Document],
    never_add: Sequence[str] = (),
    trust_policies: Sequence[TrustPolicy] = (),
) -> tuple[tuple[PaidCheck, ...], tuple[str, ...]]:
    """Returns the checks worth their price, and sentences about what cannot be checked.

    `files` are the proposed documents by name. CheckNoNewAccess is run on proposals that only
    narrow; CheckAccessNotGranted with the forbidden actions of the built-in list and `never_add`;
    CheckNoPublicAccess on trust policies.
    """
    checks: list[PaidCheck] = []
    skipped: list[str] = []
    actions = forbidden_actions(tuple(never_add))
    committed = render_policy(proposal.committed) if proposal.committed else None
    only_narrows = proposal.changes and not any(
        change.kind is ChangeKind.ADD for change in proposal.changes
    )
    for file, document in files.items():
        text = render_policy(document)
        if text is None:
            skipped.append(unrendered_reason(file))
            continue
        lines = tuple(statement.line for statement in document.statements)
        if committed and only_narrows:
            documents = {"newPolicyDocument": text.text, "existingPolicyDocument": committed.text}
            meaning = "a proposal that only narrows allows new access"
            parameters: dict[str, Any] = {**documents, "policyType": "IDENTITY_POLICY"}
            checks.append(
                PaidCheck(
                    operation=NO_NEW_ACCESS,
                    arguments=parameters,
                    file=file,
                    lines=lines,
                    expected="PASS",
                    failure_meaning=meaning,
                )
            )
        for start in range(0, len(actions), _MOST_ACTIONS):
            action_batch = actions[start : start + _MOST_ACTIONS]
            parameters = {
                "policyDocument": text.text,
                "access": [{"actions": list(action_batch)}],
                "policyType": "IDENTITY_POLICY",
            }
            meaning = (
                "the policy grants an action on the list of forbidden actions: only a person may"
                " add it"
            )
            checks.append(
                PaidCheck(
                    operation=ACCESS_NOT_GRANTED,
                    arguments=parameters,
                    file=file,
                    lines=lines,
                    expected=_expected(document, action_batch),
                    failure_meaning=meaning,
                )
            )
    for trust_policy in trust_policies:
        if trust_policy.rendered is None:
            skipped.append(unrendered_reason(trust_policy.file))
            continue
        arguments = {"policyDocument": trust_policy.rendered.text, "resourceType": TRUST}
        meaning = "the trust policy may let any principal assume the role"
        checks.append(
            PaidCheck(
                operation=NO_PUBLIC_ACCESS,
                arguments=arguments,
                file=trust_policy.file,
                lines=trust_policy.lines,
                expected="",
                failure_meaning=meaning,
            )
        )
    return tuple(checks), tuple(skipped)


def price(checks: Sequence[PaidCheck]) -> str:
    """Returns a sentence with the price of the checks; empty without checks."""
    if not checks:
        return ""
    row = next(row for row in table("prices", __package__) if row["what"] == "custom-policy-check")
    price_of_one, price_of_all = Decimal(row["usd"]), Decimal(row["usd"]) * len(checks)
    requests = plural(len(checks), "custom policy check")
    return (
        f"Asking for {requests} of Access Analyzer, which AWS charges: {price_of_all} USD,"
        f" {price_of_one} each (as of {row['read']})."
    )


def run_checks(
    aws: Aws, checks: Sequence[PaidCheck], skipped: Sequence[str] = ()
) -> tuple[CheckResult, ...]:
    """Logs the price, then runs the checks; returns one result per operation.

    An AwsError ends the checks of its operation and becomes the failure of its result.
    """
    if checks:
        _log.info(price(checks))
    operations = dict.fromkeys(check.operation for check in checks)
    findings = [
        _run(aws, [check for check in checks if check.operation == operation])
        for operation in operations
    ]
    return (
        (*findings, CheckResult("custom policy checks", 0, (), tuple(skipped)))
        if skipped
        else tuple(findings)
    )


def _run(aws: Aws, checks: Sequence[PaidCheck]) -> CheckResult:
    """Runs the checks of one operation, up to the first error."""
    operation, findings = checks[0].operation, list[CheckFinding]()
    for number, check in enumerate(checks):
        try:
            with translate_errors(f"running {operation}", f"access-analyzer:{operation}"):
                answer = getattr(aws.client("accessanalyzer"), method_name(operation))(
                    **check.arguments
                )
        except AwsError as error:
            return CheckResult(operation, number, tuple(findings), (), str(error))
        findings.extend(_findings(check, answer))
    return CheckResult(operation, len(checks), tuple(findings))


def _findings(check: PaidCheck, answer: Mapping[str, Any]) -> Iterator[CheckFinding]:
    """Yields the findings of one check.

    - AWS's result differs from ours: it disagrees, once.
    - `FAIL` as we expected: a warning, since AWS confirms our evaluation.
    - `FAIL` of a check of which we expect nothing: a security warning.
    """
    result = answer.get("result", "")
    disagrees = bool(check.expected) and result != check.expected
    if disagrees:
        line = next(_lines(check, answer), 0)
        message = f" ({answer['message']})" if answer.get("message") else ""
        mismatch = (
            f"this action's result is {check.expected}, AWS's is {result or 'missing'}{message}"
        )
        yield CheckFinding(
            severity=Severity.DISAGREES,
            code=check.operation,
            text=f"{check.failure_meaning}: {mismatch}.",
            file=check.file,
            line=line,
        )
        return
    if result != "FAIL":
        return
    severity = Severity.WARNING if check.expected else Severity.SECURITY_WARNING
    for line in _lines(check, answer) if answer.get("reasons") else (0,):
        yield CheckFinding(
            severity=severity,
            code=check.operation,
            text=f"{check.failure_meaning}.",
            file=check.file,
            line=line,
        )


def _lines(check: PaidCheck, answer: Mapping[str, Any]) -> Iterator[int]:
    """Yields the line of each statement that AWS gives as a reason; 0 where it names none."""
    for reason in answer.get("reasons") or ():
        index = reason.get("statementIndex")
        yield check.lines[index] if index is not None and index < len(check.lines) else 0


@cache
def forbidden_actions(never_add: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Returns the forbidden actions: patterns, or single actions if only a pattern's write actions
    are forbidden.
    """
    forbidden_names = [*never_add]
    for row in table("forbidden"):
        names = catalog.expand(row["pattern"])
        if row["levels"] == "any" or all(map(forbidden, names)):
            forbidden_names.append(row["pattern"])
        else:
            forbidden_names.extend(name for name in names if forbidden(name))
    return tuple(dict.fromkeys(forbidden_names))


def _expected(document: Document, actions: Sequence[str]) -> str:
    """Returns FAIL if a statement grants some of the actions, PASS if none does, empty if the
    answer is uncertain.
    """
    granting = [
        statement
        for statement in document.statements
        if any(_grants(statement, pattern) for pattern in actions)
    ]
    if not granting:
        return "PASS"
    denies = any(statement.effect == "Deny" for statement in document.statements)
    plain = any(
        not statement.conditions and statement.conditions_readable and not statement.not_actions
        for statement in granting
    )
    return "FAIL" if plain and not denies else ""


def _grants(statement: Statement, pattern: str) -> bool:
    """Returns whether an Allow statement names an action of a pattern."""
    if statement.effect != "Allow":
        return False
    if statement.not_actions:
        names = catalog.expand(pattern) or (pattern,)
        return any(
            not any(action_matches(entry, name) for entry in statement.not_actions)
            for name in names
        )
    return any(overlaps(entry, pattern, ignore_case=True) for entry in statement.actions)
