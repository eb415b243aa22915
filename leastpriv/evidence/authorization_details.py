"""Replaces denials by AWS's own account of them: every action, resource and condition key that a
call was judged by.

AWS returns the account under the authorization id of a denial (`GetRequestAuthorizationDetails`,
API model 2018-05-10 of botocore 1.44.8, read 2026-11-27): some minutes after the denial, and for at
least 24 hours, in the denial's region.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import same_arn
from leastpriv.aws.errors import error_code, required_member, translate_errors, why_no_grant_helps
from leastpriv.aws.session import Polling
from leastpriv.aws.session_names import is_rehearsal
from leastpriv.denials.needs import as_rehearsal_denial, logged_needs
from leastpriv.errors import AwsError, AwsErrorKind, InputError
from leastpriv.evidence.iam_paths import summed
from leastpriv.evidence.models import Evidence
from leastpriv.models import Condition, Denial, DeniedBy, Gap, GapKind, Need, Scope, Usage
from leastpriv.permissions.fact_tables import table

_log = logging.getLogger(__name__)

ACTION = "iam:GetRequestAuthorizationDetails"
_KEPT = timedelta(hours=24)
_LATE = timedelta(minutes=20)
"""Age of a denial up to which a missing answer may still come."""
_MOST_IDS = 50
_MOST_PAGES = 50
_EXPLICIT = "EXPLICIT_DENY"
_IMPLICIT = "IMPLICIT_DENY"
_ALLOW = "ALLOW"
_NOT_ANSWERED = {
    AwsErrorKind.DENIED: f"the credentials lack {ACTION}",
    AwsErrorKind.THROTTLED: "AWS kept throttling the requests",
}
DERIVATION = "AWS's authorization details name it"


class Evaluation(Struct, frozen=True):
    """How AWS judged one action on one resource of a call."""

    action: str
    resource: str
    """`*` for an action without resources."""
    denied_by: tuple[DeniedBy, ...] = ()
    """The policy types that denied, in AWS's order; empty for an allowed action, and where AWS
    shows no check.
    """
    explicit: bool = False
    policies: tuple[str, ...] = ()
    """Policies that denied, or that a denying check found without an allowing statement."""
    context: Mapping[str, tuple[str, ...]] = {}
    """Condition key -> values."""
    allowed: bool = False


class AuthorizationDetails(Struct, frozen=True):
    """AWS's account of one denied call."""

    principal: str
    """ARN of the denied principal, without its session; empty where the answer lacks it."""
    session: str
    evaluations: tuple[Evaluation, ...]


class DeniedRequest(Struct, frozen=True):
    """A denial of which AWS keeps an account."""

    id: str
    region: str
    seen: datetime


def parse_details(pages: Sequence[Mapping[str, Any]]) -> AuthorizationDetails:
    """Parses the pages of one answer; what an unknown check denied is denied by an unknown policy
    type.
    """
    context = _values(pages[0].get("requestContext") or {})
    policies = {
        str(policy.get("uri")): policy for page in pages for policy in page.get("policies") or ()
    }
    evaluations = [
        _evaluation(evaluation, context, policies)
        for page in pages
        for evaluation in page.get("evaluations") or ()
        if isinstance(evaluation.get("action"), str)
    ]
    principal, user = (
        "".join(context.get(key, ())[:1]) for key in ("aws:principalarn", "aws:userid")
    )
    return AuthorizationDetails(principal, user.partition(":")[2], tuple(evaluations))


def _evaluation(
    raw: Mapping[str, Any],
    context: Mapping[str, tuple[str, ...]],
    policies: Mapping[str, Mapping[str, Any]],
) -> Evaluation:
    """Returns AWS's evaluation of one action of a request, with the policies that denied it."""
    effect = raw.get("evaluatedEffect")
    checks = [
        check
        for check in raw.get("checks") or ()
        if check.get("evaluatedEffect") in (_EXPLICIT, _IMPLICIT)
    ]
    # Older answers have no checks, and the matching policies in the evaluation itself.
    denying = [check for check in checks if check["evaluatedEffect"] == effect] or (
        [raw] if effect == _EXPLICIT else []
    )
    types = dict.fromkeys(_denying_type(check, policies) for check in denying)
    return Evaluation(
        action=str(raw["action"]),
        resource=str(raw.get("resource") or "*"),
        denied_by=() if effect == _ALLOW else tuple(types),
        explicit=effect == _EXPLICIT,
        policies=tuple(
            dict.fromkeys(name for check in denying for name in _policy_names(check, policies))
        ),
        context={**context, **_values(raw.get("context") or {})},
        allowed=effect == _ALLOW,
    )


def _denying_type(check: Mapping[str, Any], policies: Mapping[str, Mapping[str, Any]]) -> DeniedBy:
    """Returns the policy type of a denying check, or of the first policy that denied in an answer
    without checks.
    """
    matched = _denying_policies(check)
    kind = policies.get(str(matched[0].get("uri")), {}).get("type") if matched else ""
    types = {
        row["type"]: DeniedBy(row["denied_by"])
        for row in table("policy_types", "leastpriv.evidence")
    }
    return types.get(str(check.get("checkType")), types.get(str(kind), DeniedBy.UNKNOWN))


def _denying_policies(check: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        matched_policy
        for matched_policy in check.get("matchedPolicies") or ()
        if any(
            statement.get("evaluatedEffect") == "DENY"
            for statement in matched_policy.get("matchedStatements") or ()
        )
    ]


def _policy_names(
    check: Mapping[str, Any], policies: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Yields the policies behind a denying check: those with a statement that matched, else all
    that may have denied.
    """
    matched = _denying_policies(check)
    if matched:
        return _matched_names(matched, policies)
    return _candidate_names(check, policies)


def _matched_names(
    matched: Iterable[Mapping[str, Any]], policies: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Yields `arn:aws:iam::123456789012:policy/limits (statement NoDelete)`; an inline policy has
    the name of what it is attached to.
    """
    for matched_policy in matched:
        policy = policies.get(str(matched_policy.get("uri")), {})
        attached = ", ".join(str(target.get("arn")) for target in policy.get("attachedTo") or ())
        name = (
            f"an inline policy of {attached}"
            if policy.get("inline") and attached
            else str(matched_policy.get("uri"))
        )
        sids = [
            str(statement["sid"])
            for statement in matched_policy.get("matchedStatements") or ()
            if statement.get("sid")
        ]
        yield f"{name} (statement {', '.join(sids)})" if sids else name


def _candidate_names(
    check: Mapping[str, Any], policies: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Yields the policies of the check's types that are attached to its target, without inline
    ones: where no statement denies, one that allows is missing in each of them.
    """
    relevant_types = set(check.get("relevantPolicyTypes") or ())
    target = check.get("targetArn")
    for policy in policies.values():
        arns = [attached.get("arn") for attached in policy.get("attachedTo") or ()]
        is_relevant = policy.get("type") in relevant_types and not policy.get("inline")
        is_at_target = not target or target in arns
        if is_relevant and is_at_target:
            yield str(policy.get("uri"))


def _values(context: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Returns a context with its keys in lower case and its values as texts, as conditions have
    them.
    """
    return {
        key.lower(): tuple(
            str(element).lower() if isinstance(element, bool) else str(element)
            for element in (value if isinstance(value, list) else [value])
            if isinstance(element, str | int | float)
        )
        for key, value in context.items()
    }


def denied_requests(evidence: Evidence) -> list[DeniedRequest]:
    """Returns the denials of the evidence that have an authorization id, the newest first."""
    requests_by_id: dict[str, DeniedRequest] = {}
    for usage in evidence.usages:
        denial = usage.denial
        if denial and denial.authorization_id:
            region = denial.authorization_region or next(iter(usage.regions), "")
            request = DeniedRequest(denial.authorization_id, region, usage.last_seen)
            earlier_request = requests_by_id.setdefault(request.id, request)
            requests_by_id[request.id] = replace(
                earlier_request,
                region=earlier_request.region or region,
                seen=max(earlier_request.seen, request.seen),
            )
    return sorted(requests_by_id.values(), key=lambda each: (each.seen, each.id), reverse=True)


class DetailsAnswer(NamedTuple):
    """What AWS returned of the details of denials."""

    details: Mapping[str, AuthorizationDetails]
    """By authorization id."""
    gaps: tuple[Gap, ...]


def read_details(
    client: Callable[[str], Any], requests: Iterable[DeniedRequest], waiting: Polling
) -> DetailsAnswer:
    """Asks AWS for the details of denials; what it does not return is a gap, and ends no run.

    Args:
        client: returns the client `iam-toolbox` of a region; an empty one is the environment's.
        requests: the denials, the newest first.
        waiting: how long a new denial's missing answer is waited for.
    """
    reader = _Reader(client)
    now = waiting.clock()
    requests_left = list(requests)
    recent = [request for request in requests_left if now - request.seen <= _KEPT]
    reader.leave_out(
        len(requests_left) - len(recent), "older than 24 hours, so AWS may have deleted them"
    )
    reader.leave_out(len(recent) - _MOST_IDS, f"beyond the newest {_MOST_IDS}")
    missing = reader.ask(recent[:_MOST_IDS])
    new = [request for request in missing if now - request.seen <= _LATE]
    if new and not reader.stopped:
        _log.info(
            f"AWS has no details yet of {len(new)} new denials, and makes them available minutes"
            " later"
        )
        waiting.until(
            lambda: not reader.ask(new) or reader.stopped or None, "the details of denials"
        )
    if not reader.stopped:
        unanswered = sum(request.id not in reader.found for request in missing)
        reader.leave_out(unanswered, "not there: expired, of another account, or not written yet")
    return DetailsAnswer(reader.found, tuple(reader.gaps))


class _Reader(Struct):
    """Asks for details until AWS refuses to be asked."""

    client: Callable[[str], Any]
    found: dict[str, AuthorizationDetails] = {}
    gaps: list[Gap] = []
    stopped: bool = False

    def leave_out(self, count: int, detail: str) -> None:
        """Notes a gap for some denials."""
        if count > 0:
            self.gaps.append(Gap(GapKind.DENIAL_DETAILS, Scope(), detail, count))

    def ask(self, requests: Sequence[DeniedRequest]) -> list[DeniedRequest]:
        """Asks for the entities not found yet, and returns the requests that AWS does not know."""
        missing: list[DeniedRequest] = []
        for request in requests:
            if self.stopped or request.id in self.found:
                continue
            try:
                self.found[request.id] = parse_details(
                    _pages(self.client(request.region), request.id)
                )
            except (AwsError, InputError) as error:
                code = error_code(error) if isinstance(error, AwsError) else ""
                if code == "ResourceNotFoundException":
                    missing.append(request)
                    continue
                # A malformed id says nothing about the other denials.
                self.stopped = code != "ValidationException"
                self.leave_out(
                    1, _NOT_ANSWERED.get(getattr(error, "kind", AwsErrorKind.OTHER), str(error))
                )
                _log.info(f"Not read: the details of denials. {error}")
        return missing


def _pages(client: Any, name: str) -> list[Mapping[str, Any]]:
    activity = "asking for the details of a denial"
    pages: list[Mapping[str, Any]] = []
    token: dict[str, str] = {}
    for _ in range(_MOST_PAGES):
        with translate_errors(activity, ACTION):
            page = client.get_request_authorization_details(authorizationId=name, **token)
        required_member(page, activity, "evaluations")
        pages.append(page)
        if not page.get("nextToken"):
            break
        token = {"nextToken": str(page["nextToken"])}
    return pages


def with_details(
    evidence: Evidence, found: Mapping[str, AuthorizationDetails], gaps: Iterable[Gap] = ()
) -> Evidence:
    """Replaces the denied usages that AWS's details explain by one for each action and resource
    that AWS denied.

    A usage of an action that the details do not contain remains. A job log or the name of a
    resource may contain the id of another denial, whose details say nothing about this one: those
    of another principal or session.
    """
    sessions = {run.id: run.session for run in evidence.runs}
    usages: list[Usage] = []
    explained: dict[str, list[Usage]] = {}
    strange: dict[str, Gap] = {}
    for usage in evidence.usages:
        denial = usage.denial
        details = found.get(denial.authorization_id) if denial else None
        if denial is None or details is None:
            usages.append(usage)
        elif not same_arn(details.principal, evidence.principal):
            strange[details.principal] = Gap(
                GapKind.DENIAL_OF_OTHER_PRINCIPAL, Scope(), details.principal
            )
        elif not denial.log and _is_of_other_session(usage, details.session, sessions):
            usages.append(usage)
            strange[details.session] = Gap(
                GapKind.DENIAL_DETAILS, Scope(), "of another session than the denial"
            )
        else:
            explained.setdefault(denial.authorization_id, []).append(usage)
    for authorization_id, recorded in explained.items():
        judged = {evaluation.action.lower() for evaluation in found[authorization_id].evaluations}
        usages += [usage for usage in recorded if usage.action.lower() not in judged]
    denied: dict[tuple[object, ...], Usage] = {}
    for authorization_id, recorded in explained.items():
        template = max(recorded, key=lambda usage: usage.count)
        for usage in _denied_usages(found[authorization_id], template, evidence.principal):
            key = _key_of_denied(usage)
            parts = (denied[key], usage) if key in denied else (usage,)
            denied[key] = summed(usage.need.permission.resource, parts)
    usages += denied.values()
    usages.sort(key=lambda usage: (usage.need.permission, usage.outcome, usage.need.derivation))
    return replace(evidence, usages=tuple(usages), gaps=(*evidence.gaps, *gaps, *strange.values()))


def _is_of_other_session(usage: Usage, session: str, sessions: Mapping[str, str]) -> bool:
    """Whether the runs of a usage have other sessions than this one, as far as they are known."""
    if not session:
        return False
    return all(sessions.get(run, session) != session for run in usage.runs or ("",))


def _key_of_denied(usage: Usage) -> tuple[object, ...]:
    denial = usage.denial
    return (usage.need, denial and denial.denied_by, denial and denial.mendable)


class ExplainedDenial(NamedTuple):
    """An action on a resource that AWS denied, and the conditions of an addition."""

    denial: Denial
    conditions: tuple[Condition, ...]


def explained_denials(recorded: Denial, details: AuthorizationDetails) -> Iterator[ExplainedDenial]:
    """Yields a denial for each action and resource that AWS denied."""
    for evaluation in details.evaluations:
        if not evaluation.allowed:
            denial = _denial(evaluation, details, recorded)
            yield ExplainedDenial(denial, _conditions(evaluation))


def _denied_usages(
    details: AuthorizationDetails, template: Usage, principal: str
) -> Iterator[Usage]:
    """Yields a usage like `template` for each action and resource that AWS denied."""
    needs_seen: set[Need] = set()
    for denial, conditions in (
        explained_denials(template.denial, details) if template.denial else ()
    ):
        for need in logged_needs(denial, principal):
            permission = replace(need.permission, conditions=conditions)
            denied_need = replace(
                need,
                permission=permission,
                derivation=DERIVATION if need.exact else need.derivation,
            )
            if denied_need not in needs_seen:
                needs_seen.add(denied_need)
                yield replace(template, need=denied_need, denial=denial)


def _denial(evaluation: Evaluation, details: AuthorizationDetails, recorded: Denial) -> Denial:
    """Returns the recorded denial with the action, resource and policy types of an evaluation."""
    stated = evaluation.denied_by
    if not stated and not evaluation.explicit:
        # AWS shows no check: the message of the denial names the policy type.
        stated = (recorded.denied_by,)
    other_types = [stated_type for stated_type in stated if stated_type is not DeniedBy.IDENTITY]
    if evaluation.explicit:
        reason = "an explicit deny applied, which no grant overrides"
    elif evaluation.denied_by:
        unnamed = "a policy of a type that AWS does not name denied it"
        reason = " and ".join(
            why_no_grant_helps(other_type) or unnamed for other_type in other_types
        )
    else:
        reason = recorded.why
    if reason and evaluation.policies and (evaluation.explicit or evaluation.denied_by):
        reason += f" ({', '.join(evaluation.policies)})"
    denial = replace(
        recorded,
        actions=(evaluation.action,),
        resource="" if evaluation.resource == "*" else evaluation.resource,
        principal=recorded.principal or details.principal,
        denied_by=(*other_types, *stated, DeniedBy.UNKNOWN)[0],
        explicit=evaluation.explicit,
        mendable=not reason,
        why=reason,
        inferred=False,
        judged_by=tuple(sorted(evaluation.context)),
    )
    alone = set(other_types) == {DeniedBy.SESSION}
    return as_rehearsal_denial(denial, rehearsed=is_rehearsal(details.session)) if alone else denial


def _conditions(evaluation: Evaluation) -> tuple[Condition, ...]:
    """Returns the conditions of an addition: the keys of `detail_conditions.tsv` that AWS judged
    the action by.
    """
    keys = (
        row["key"]
        for row in table("detail_conditions", "leastpriv.evidence")
        if evaluation.action.lower().startswith(row["action"].lower())
    )
    keys_and_values = ((key, evaluation.context.get(key.lower(), ())) for key in keys)
    return tuple(
        Condition("StringEquals", key, values)
        for key, values in keys_and_values
        if len(values) == 1
    )
