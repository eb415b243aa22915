"""Access Analyzer's custom policy checks: automated reasoning about a policy, paid by the request.

What would be asked is known before anything is: `paid_checks` is pure, and `run_checks` names the price first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from leastpriv.aws.errors import explained
from leastpriv.aws.session import Aws
from leastpriv.aws_checks.rendered_policy import sent
from leastpriv.aws_checks.trust_policies import TrustPolicy
from leastpriv.aws_checks.validate_policy import TRUST, not_rendered
from leastpriv.errors import AwsError
from leastpriv.models import ChangeKind
from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import action_matches, overlaps
from leastpriv.permissions.sensitive import forbidden
from leastpriv.policy.document import Document, Statement
from leastpriv.proposal.models import Draft, Judgement, Remark, Weight

NO_NEW_ACCESS = "CheckNoNewAccess"
ACCESS_NOT_GRANTED = "CheckAccessNotGranted"
NO_PUBLIC_ACCESS = "CheckNoPublicAccess"
_MOST_ACTIONS = 100
"""Actions of one CheckAccessNotGranted (API model of Access Analyzer, 2026-11)."""
_METHODS = {
    NO_NEW_ACCESS: "check_no_new_access",
    ACCESS_NOT_GRANTED: "check_access_not_granted",
    NO_PUBLIC_ACCESS: "check_no_public_access",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One paid request."""

    judge: str
    arguments: Mapping[str, Any]
    file: str
    lines: tuple[int, ...]
    """Lines of the policy's statements, by their index."""
    expected: str
    """`PASS` or `FAIL` by our own evaluation; empty where we have none."""
    means: str
    """What a FAIL means, in words."""


def paid_checks(
    draft: Draft, files: Mapping[str, Document], never_add: Sequence[str] = (), trusts: Sequence[TrustPolicy] = ()
) -> tuple[tuple[Check, ...], tuple[str, ...]]:
    """All that is worth paying for, and sentences about what cannot be asked.

    `files` are the proposed documents by name. No new access is asked of proposals that only narrow; of the forbidden
    actions, those of the built-in list and `never_add`, none may be granted; no trust policy may let everybody in.
    """
    checks: list[Check] = []
    unasked: list[str] = []
    for file, document in files.items():
        text = sent(document)
        if text is None:
            unasked.append(not_rendered(file))
            continue
        lines = tuple(statement.line for statement in document.statements)
        checks.extend(_new_access(draft, text.text, file, lines))
        checks.extend(_not_granted(document, text.text, file, lines, never_add))
    for trust in trusts:
        if trust.sent is None:
            unasked.append(not_rendered(trust.file))
            continue
        arguments = {"policyDocument": trust.sent.text, "resourceType": TRUST}
        means = "the trust policy can let anybody assume the role"
        checks.append(Check(NO_PUBLIC_ACCESS, arguments, trust.file, trust.lines, "", means))
    return tuple(checks), tuple(unasked)


def price(checks: Sequence[Check]) -> str:
    """What the checks cost, in a sentence; empty for none."""
    if not checks:
        return ""
    row = next(row for row in table("prices", __package__) if row["what"] == "custom-policy-check")
    each, whole = Decimal(row["usd"]), Decimal(row["usd"]) * len(checks)
    requests = "1 custom policy check" if len(checks) == 1 else f"{len(checks)} custom policy checks"
    return (
        f"Asking for {requests} of Access Analyzer, which AWS charges: {whole} USD, {each} each (as of {row['read']})."
    )


def run_checks(
    aws: Aws, checks: Sequence[Check], say: Callable[[str], None], unasked: Sequence[str] = ()
) -> tuple[Judgement, ...]:
    """Says the price, then asks; one judgement a kind of check, the first failure of a kind ends that kind.

    Never raises AwsError.
    """
    if checks:
        say(price(checks))
    judges = dict.fromkeys(check.judge for check in checks)
    found = [_run(aws, [check for check in checks if check.judge == judge]) for judge in judges]
    return (*found, Judgement("custom policy checks", 0, (), tuple(unasked))) if unasked else tuple(found)


def _run(aws: Aws, checks: Sequence[Check]) -> Judgement:
    judge, remarks = checks[0].judge, list[Remark]()
    for number, check in enumerate(checks):
        try:
            with explained(f"having {judge} run", f"access-analyzer:{judge}"):
                answer = getattr(aws.client("accessanalyzer"), _METHODS[judge])(**check.arguments)
        except AwsError as error:
            return Judgement(judge, number, tuple(remarks), (), str(error))
        remarks.extend(_remarks(check, answer))
    return Judgement(judge, len(checks), tuple(remarks))


def _remarks(check: Check, answer: Mapping[str, Any]) -> Iterator[Remark]:
    result = answer.get("result", "")
    if check.expected and result != check.expected:
        found = next(_places(check, answer), 0)
        why = f" ({answer['message']})" if answer.get("message") else ""
        ours = f"our own evaluation says {check.expected}, AWS says {result or 'nothing'}{why}"
        yield Remark(Weight.DISAGREES, check.judge, f"{check.means}: {ours}.", check.file, found)
    elif result == "FAIL":
        weight = Weight.WARNING if check.expected else Weight.SECURITY_WARNING
        for line in _places(check, answer) if answer.get("reasons") else (0,):
            yield Remark(weight, check.judge, f"{check.means}.", check.file, line)


def _places(check: Check, answer: Mapping[str, Any]) -> Iterator[int]:
    for reason in answer.get("reasons") or ():
        index = reason.get("statementIndex")
        yield check.lines[index] if index is not None and index < len(check.lines) else 0


def _new_access(draft: Draft, text: str, file: str, lines: tuple[int, ...]) -> Iterator[Check]:
    committed = sent(draft.committed) if draft.committed else None
    if not draft.changes or committed is None or any(change.kind is ChangeKind.ADD for change in draft.changes):
        return
    arguments = {
        "newPolicyDocument": text,
        "existingPolicyDocument": committed.text,
        "policyType": "IDENTITY_POLICY",
    }
    yield Check(NO_NEW_ACCESS, arguments, file, lines, "PASS", "a proposal that only narrows allows something new")


def _not_granted(
    document: Document, text: str, file: str, lines: tuple[int, ...], never_add: Sequence[str]
) -> Iterator[Check]:
    actions = forbidden_actions(tuple(never_add))
    for start in range(0, len(actions), _MOST_ACTIONS):
        some = actions[start : start + _MOST_ACTIONS]
        arguments = {"policyDocument": text, "access": [{"actions": list(some)}], "policyType": "IDENTITY_POLICY"}
        means = "the policy grants what is on the list of forbidden actions, which nobody but a person puts there"
        yield Check(ACCESS_NOT_GRANTED, arguments, file, lines, _expected(document, some), means)


@cache
def forbidden_actions(never_add: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The forbidden list as Access Analyzer takes it: patterns, and single actions where only writes are meant."""
    found = [*never_add]
    for row in table("forbidden", "leastpriv.permissions"):
        names = catalog.expand(row["pattern"])
        if row["levels"] == "any" or all(map(forbidden, names)):
            found.append(row["pattern"])
        else:
            found.extend(name for name in names if forbidden(name))
    return tuple(dict.fromkeys(found))


def _expected(document: Document, actions: Sequence[str]) -> str:
    """What we expect to hear: FAIL where a statement grants some of the actions, empty where that hangs on others."""
    granting = [each for each in document.statements if any(_grants(each, pattern) for pattern in actions)]
    if not granting:
        return "PASS"
    denies = any(statement.effect == "Deny" for statement in document.statements)
    plain = any(not each.conditions and each.conditions_readable and not each.not_actions for each in granting)
    return "FAIL" if plain and not denies else ""


def _grants(statement: Statement, pattern: str) -> bool:
    """Whether an Allow statement names some action of a pattern."""
    if statement.effect != "Allow":
        return False
    if statement.not_actions:
        names = catalog.expand(pattern) or (pattern,)
        return any(not any(action_matches(entry, name) for entry in statement.not_actions) for name in names)
    return any(overlaps(entry, pattern, ignore_case=True) for entry in statement.actions)
