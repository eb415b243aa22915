"""Runs Access Analyzer's custom policy checks, which AWS charges for by the request.

`paid_checks` is pure, so that `run_checks` can state the price before the first request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from leastpriv.aws.errors import translate_errors
from leastpriv.aws.session import Aws
from leastpriv.aws_checks.rendered_policy import TrustPolicy, render_policy
from leastpriv.aws_checks.validate_policy import TRUST, unrendered_reason
from leastpriv.errors import AwsError
from leastpriv.models import ChangeKind
from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import action_matches, overlaps
from leastpriv.permissions.sensitive import forbidden
from leastpriv.policy.document import Document, Statement
from leastpriv.proposal.models import CheckFinding, CheckResult, Proposal, Severity

_log = logging.getLogger(__name__)

NO_NEW_ACCESS = "CheckNoNewAccess"
ACCESS_NOT_GRANTED = "CheckAccessNotGranted"
NO_PUBLIC_ACCESS = "CheckNoPublicAccess"
_MOST_ACTIONS = 100
"""Maximum of actions in one CheckAccessNotGranted (API model of Access Analyzer, 2026-11)."""
_METHODS = {
    NO_NEW_ACCESS: "check_no_new_access",
    ACCESS_NOT_GRANTED: "check_access_not_granted",
    NO_PUBLIC_ACCESS: "check_no_public_access",
}


@dataclass(frozen=True, slots=True)
class PaidCheck:
    """One paid request."""

    operation: str
    arguments: Mapping[str, Any]
    file: str
    lines: tuple[int, ...]
    """Lines of the policy's statements, by index."""
    expected: str
    """`PASS` or `FAIL` by our own evaluation; empty if it gives no answer."""
    failure_meaning: str
    """The meaning of a FAIL in words."""


def paid_checks(
    proposal: Proposal,
    files: Mapping[str, Document],
    never_add: Sequence[str] = (),
    trust_policies: Sequence[TrustPolicy] = (),
) -> tuple[tuple[PaidCheck, ...], tuple[str, ...]]:
    """Returns the checks worth their price, and sentences about what cannot be checked.

    `files` are the proposed documents by name. CheckNoNewAccess is run on proposals that only narrow;
    CheckAccessNotGranted with the forbidden actions of the built-in list and `never_add`; CheckNoPublicAccess on trust
    policies.
    """
    checks: list[PaidCheck] = []
    skipped: list[str] = []
    for file, document in files.items():
        text = render_policy(document)
        if text is None:
            skipped.append(unrendered_reason(file))
            continue
        lines = tuple(statement.line for statement in document.statements)
        checks.extend(_new_access(proposal, text.text, file, lines))
        checks.extend(_not_granted(document, text.text, file, lines, never_add))
    for trust_policy in trust_policies:
        if trust_policy.rendered is None:
            skipped.append(unrendered_reason(trust_policy.file))
            continue
        arguments = {"policyDocument": trust_policy.rendered.text, "resourceType": TRUST}
        meaning = "the trust policy may let any principal assume the role"
        checks.append(PaidCheck(NO_PUBLIC_ACCESS, arguments, trust_policy.file, trust_policy.lines, "", meaning))
    return tuple(checks), tuple(skipped)


def price(checks: Sequence[PaidCheck]) -> str:
    """Returns a sentence with the price of the checks; empty without checks."""
    if not checks:
        return ""
    row = next(row for row in table("prices", __package__) if row["what"] == "custom-policy-check")
    each, whole = Decimal(row["usd"]), Decimal(row["usd"]) * len(checks)
    requests = "1 custom policy check" if len(checks) == 1 else f"{len(checks)} custom policy checks"
    return (
        f"Asking for {requests} of Access Analyzer, which AWS charges: {whole} USD, {each} each (as of {row['read']})."
    )


def run_checks(aws: Aws, checks: Sequence[PaidCheck], skipped: Sequence[str] = ()) -> tuple[CheckResult, ...]:
    """Logs the price, then runs the checks; returns one result per operation.

    An AwsError ends the checks of its operation and becomes the failure of its result.
    """
    if checks:
        _log.info(price(checks))
    operations = dict.fromkeys(check.operation for check in checks)
    found = [_run(aws, [check for check in checks if check.operation == operation]) for operation in operations]
    return (*found, CheckResult("custom policy checks", 0, (), tuple(skipped))) if skipped else tuple(found)


def _run(aws: Aws, checks: Sequence[PaidCheck]) -> CheckResult:
    operation, findings = checks[0].operation, list[CheckFinding]()
    for number, check in enumerate(checks):
        try:
            with translate_errors(f"running {operation}", f"access-analyzer:{operation}"):
                answer = getattr(aws.client("accessanalyzer"), _METHODS[operation])(**check.arguments)
        except AwsError as error:
            return CheckResult(operation, number, tuple(findings), (), str(error))
        findings.extend(_findings(check, answer))
    return CheckResult(operation, len(checks), tuple(findings))


def _findings(check: PaidCheck, answer: Mapping[str, Any]) -> Iterator[CheckFinding]:
    result = answer.get("result", "")
    if check.expected and result != check.expected:
        found = next(_lines(check, answer), 0)
        why = f" ({answer['message']})" if answer.get("message") else ""
        ours = f"this action's result is {check.expected}, AWS's is {result or 'missing'}{why}"
        yield CheckFinding(Severity.DISAGREES, check.operation, f"{check.failure_meaning}: {ours}.", check.file, found)
    elif result == "FAIL":
        weight = Severity.WARNING if check.expected else Severity.SECURITY_WARNING
        for line in _lines(check, answer) if answer.get("reasons") else (0,):
            yield CheckFinding(weight, check.operation, f"{check.failure_meaning}.", check.file, line)


def _lines(check: PaidCheck, answer: Mapping[str, Any]) -> Iterator[int]:
    for reason in answer.get("reasons") or ():
        index = reason.get("statementIndex")
        yield check.lines[index] if index is not None and index < len(check.lines) else 0


def _new_access(proposal: Proposal, text: str, file: str, lines: tuple[int, ...]) -> Iterator[PaidCheck]:
    committed = render_policy(proposal.committed) if proposal.committed else None
    if not proposal.changes or committed is None or any(change.kind is ChangeKind.ADD for change in proposal.changes):
        return
    arguments = {
        "newPolicyDocument": text,
        "existingPolicyDocument": committed.text,
        "policyType": "IDENTITY_POLICY",
    }
    yield PaidCheck(NO_NEW_ACCESS, arguments, file, lines, "PASS", "a proposal that only narrows allows new access")


def _not_granted(
    document: Document, text: str, file: str, lines: tuple[int, ...], never_add: Sequence[str]
) -> Iterator[PaidCheck]:
    actions = forbidden_actions(tuple(never_add))
    for start in range(0, len(actions), _MOST_ACTIONS):
        some = actions[start : start + _MOST_ACTIONS]
        arguments = {"policyDocument": text, "access": [{"actions": list(some)}], "policyType": "IDENTITY_POLICY"}
        failure_meaning = "the policy grants an action on the list of forbidden actions: only a person may add it"
        yield PaidCheck(ACCESS_NOT_GRANTED, arguments, file, lines, _expected(document, some), failure_meaning)


@cache
def forbidden_actions(never_add: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Returns the forbidden actions: patterns, or single actions if only a pattern's write actions are forbidden."""
    found = [*never_add]
    for row in table("forbidden", "leastpriv.permissions"):
        names = catalog.expand(row["pattern"])
        if row["levels"] == "any" or all(map(forbidden, names)):
            found.append(row["pattern"])
        else:
            found.extend(name for name in names if forbidden(name))
    return tuple(dict.fromkeys(found))


def _expected(document: Document, actions: Sequence[str]) -> str:
    """Returns FAIL if a statement grants some of the actions, PASS if none does, empty if the answer is uncertain."""
    granting = [each for each in document.statements if any(_grants(each, pattern) for pattern in actions)]
    if not granting:
        return "PASS"
    denies = any(statement.effect == "Deny" for statement in document.statements)
    plain = any(not each.conditions and each.conditions_readable and not each.not_actions for each in granting)
    return "FAIL" if plain and not denies else ""


def _grants(statement: Statement, pattern: str) -> bool:
    """Returns whether an Allow statement names an action of a pattern."""
    if statement.effect != "Allow":
        return False
    if statement.not_actions:
        names = catalog.expand(pattern) or (pattern,)
        return any(not any(action_matches(entry, name) for entry in statement.not_actions) for name in names)
    return any(overlaps(entry, pattern, ignore_case=True) for entry in statement.actions)
