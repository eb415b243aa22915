"""Rules that forbid an addition by its action, its resource and its evidence.

Additions are an escalation channel. `origins.py` says what the origin of the runs forbids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from leastpriv.diff.compare import may_have_path
from leastpriv.evidence.models import Evidence
from leastpriv.models import (
    Basis,
    ChangeKind,
    Denial,
    DeniedBy,
    Need,
    Usage,
)
from leastpriv.permissions.catalog import forbidden, is_administration, is_read, sensitivity
from leastpriv.permissions.data_access import data_read
from leastpriv.permissions.lifecycle import created_types
from leastpriv.permissions.patterns import TYPE_WILDCARD, has_wildcard, resource_covers
from leastpriv.permissions.resource_types import (
    action_of,
    fits,
    kinds_of,
    sets_tags_on_new,
    types_of_arn,
)
from leastpriv.permissions.volatility import is_open_anyway, is_whole_type
from leastpriv.policy.document import VARIABLES_VERSION, Document
from leastpriv.policy.replay import doubt_of
from leastpriv.proposal.models import GuardResult, HeldBackChange, Options
from leastpriv.proposal.self_widening import SELF_WIDENING, self_widening

OFFERED = "offered"
"""Guard of a need that a denied call implies, on an unknown resource."""
ONLY_LOGGED = "only-logged"
"""Guard of a need that only a job log shows and that a job log may not add."""
UNPRINTABLE = "unprintable-name"
"""Guard of a need whose resource, named only by a denial, has characters outside printable ASCII.
"""
BREAK_GLASS = GuardResult(
    "break-glass", "only sessions named in `break-glass` used it or were denied it"
)
_ON_RESOURCE = " on resource: "
_END_OF_RESOURCE = re.compile(r"\Z|[.]?\s*\Z|[.]?\s+(?:because|with|through|in|due)\b|[,;\"')]")
"""What AWS writes behind the resource of a denial."""
_POLICY_ARN = re.compile(r"(?:policy|boundary): (arn:[^\s`]+?)(?=[.]?(?:\s|\Z))")
"""The policy that AWS names behind an explicit deny since 2026-01."""
_QUOTES = ('"', "'")
"""Around the resource in messages of S3."""
_DENIED_BY: Mapping[str, str] = {
    "scp": "a service control policy denied this: ask the organization's administrators",
    "rcp": "a resource control policy denied this: ask the organization's administrators",
    "boundary": "the role's permissions boundary denied this: allow the action there as well",
    "session": (
        "the session policy of the run denied this: change it in the step that assumes the role"
    ),
    "resource": "the policy of the resource denied this: its owner must allow the role there",
    "vpce": "the policy of the VPC endpoint denied this: allow the action there as well",
    "bpa": "S3 Block Public Access denied this",
    "identity": "an explicit Deny in an identity-based policy applies",
    "unknown": "the denial does not say that an identity-based policy lacks the action",
}


def naming_usages(evidence: Evidence, missing: Sequence[Usage]) -> list[Usage]:
    """Returns the allowed usages that make the resource of a denial known that only a job log
    shows.
    """
    patterns = [usage.resource for usage in missing if is_from_job_log(usage)]
    return [
        usage
        for usage in evidence.allowed_usages
        if any(resource_covers(pattern, usage.resource) for pattern in patterns)
    ]


def addition_result(
    usage: Usage,
    evidence: Evidence,
    options: Options,
    document: Document | None,
    reviewed: Evidence,
) -> GuardResult | None:
    """The first rule that forbids the addition of what `document` lacks; `reviewed` is from
    `without_unreviewed`.
    """
    return first_result(_results_of_rules(usage, evidence, options, document, reviewed))


def first_result(results: Iterable[GuardResult]) -> GuardResult | None:
    """The first of the results of some rules that has a reason to forbid an addition."""
    return next((result for result in results if result.reason), None)


def _results_of_rules(
    usage: Usage,
    evidence: Evidence,
    options: Options,
    document: Document | None,
    reviewed: Evidence,
) -> Iterator[GuardResult]:
    """Yields what each rule says; one with an empty reason does not hold the addition back."""
    yield GuardResult("forbidden", forbidden(usage.action, options.never_add))
    yield from _results_for_name(usage)
    if usage.denial:
        yield from _results_for_denial(usage.need, usage.denial)
    yield from _results_for_action(usage)
    yield GuardResult(SELF_WIDENING, self_widening(usage, evidence, document))
    if is_from_job_log(usage):
        yield GuardResult(ONLY_LOGGED, _foreign_reason(usage.need, evidence.principal))
        yield GuardResult(ONLY_LOGGED, _text_alone_reason(usage, reviewed, document))
    yield GuardResult("unknown-resource", _inferred_reason(usage, reviewed, document))
    if document and document.version != VARIABLES_VERSION and "${" in usage.resource:
        reason = "its name has `*`, `?` or `$`, which need a policy of Version 2012-10-17"
        yield GuardResult("policy-version", reason)


def _results_for_name(usage: Usage) -> Iterator[GuardResult]:
    """Yields why no grant helps, or why a reader could not see which resource is named."""
    if usage.denial and not usage.denial.mendable:
        yield GuardResult("not-mendable", _denied_by_text(usage))
    if not usage.resource.isprintable():
        yield GuardResult(UNPRINTABLE, "its name has characters that a reader may not see")


def _results_for_denial(need: Need, denial: Denial) -> Iterator[GuardResult]:
    """Yields what forbids to write a need as a denial names it."""
    if not need.permission.resource.isascii():
        reason = "only a denial names it, with characters outside printable ASCII"
        yield GuardResult(UNPRINTABLE, reason)
    if need.basis is Basis.DENIED and not _is_as_aws_wrote(denial):
        reason = "its name in the message of AWS has characters that no policy can name"
        yield GuardResult(UNPRINTABLE, reason)
    if need.basis is Basis.INFERRED and not need.exact:
        reason = "the denied call implies it, and no record names its resource"
        yield GuardResult(OFFERED, need.because or reason)
    if denial.log:
        yield from _results_for_logged_denial(need, denial)


def _results_for_action(usage: Usage) -> Iterator[GuardResult]:
    """Yields what forbids the action, or the action on a resource that nothing names."""
    need = usage.need
    action = usage.action
    if not need.verified and not _is_named_by_aws(usage):
        yield GuardResult("unverified-action", "the catalogue does not know this action")
    if not fits(action, usage.resource):
        yield GuardResult("resource-type", f"{action} does not support this resource type")
    if "*" in action or "?" in action:
        yield GuardResult("wildcard-action", "a denial names one action, never a pattern")
    is_named = _names_its_resource(need)
    reason = sensitivity(action)
    if reason and not is_named:
        yield GuardResult("sensitive", f"{reason}; the evidence does not name an exact resource")
    if reason and usage.denial is None and not usage.succeeded:
        yield GuardResult("sensitive", f"{reason}; every call of it failed")
    may_be_any = usage.denial is not None or ":s3:::*" in usage.resource
    if may_be_any and not need.exact and not is_named:
        reason = "neither the request nor the denial names the resource"
        yield GuardResult("unknown-resource", reason)


def _is_named_by_aws(usage: Usage) -> bool:
    """Whether AWS itself names the action, in a denial that no job log alone shows."""
    denial = usage.denial
    if denial is None or denial.log:
        return False
    return bool(denial.actions) and usage.need.basis is Basis.DENIED


def _is_as_aws_wrote(denial: Denial) -> bool:
    """Whether the message of a recorded denial has the resource letter by letter.

    Escape sequences are removed before a message is read: `secret.txt` is another object than the
    one whose name has one.
    """
    _, is_named, resource_text = denial.message.partition(_ON_RESOURCE)
    if denial.log or denial.judged_by or not (is_named and denial.resource):
        return True
    quote = resource_text[:1] if resource_text[:1] in _QUOTES else ""
    as_written = f"{quote}{denial.resource}{quote}"
    if not resource_text.startswith(as_written):
        return False
    following = resource_text.removeprefix(as_written)
    return _END_OF_RESOURCE.match(following) is not None


def _results_for_logged_denial(need: Need, denial: Denial) -> Iterator[GuardResult]:
    """Yields what forbids a denial that only a job log shows, to which anyone can write."""
    if not denial.principal:
        yield GuardResult(ONLY_LOGGED, "a job log shows it without the denied principal")
    if need.exact and TYPE_WILDCARD.fullmatch(need.permission.resource):
        # AWS names `vpc/*` for a resource that does not exist yet; a job log could print it for one
        # that does.
        yield GuardResult(ONLY_LOGGED, "a job log names every resource of a type")
    if not need.verified:
        reason = "a job log names it, and the catalogue does not know this action"
        yield GuardResult("unverified-action", reason)
    reason = sensitivity(need.permission.action)
    if reason:
        yield GuardResult(ONLY_LOGGED, f"{reason}; only a job log shows the denial")


def _names_its_resource(need: Need) -> bool:
    """Whether AWS alone chooses what a need leaves open, as the end of a secret, or no statement
    can name more.
    """
    action = need.permission.action
    resource = need.permission.resource
    if need.exact and not has_wildcard(resource):
        return True
    if is_open_anyway(resource):
        return not is_whole_type(resource) or _is_made_of_others(action, resource)
    return action_of(action) is not None and not kinds_of(action, "*")


def _is_made_of_others(action: str, resource: str) -> bool:
    """Whether an action makes a resource from others that it has to be allowed on as well: a job
    from a job definition.
    """
    catalogue_action = action_of(action)
    service, _, event = action.partition(":")
    made = created_types(service, event)
    if catalogue_action is None or types_of_arn(service, resource).isdisjoint(made):
        return False
    return any(kind.name.lower() not in made for kind in catalogue_action.resource_types)


def _foreign_reason(need: Need, principal: str) -> str:
    """Why a resource that only a job log names is outside the role's account; empty if it may be
    inside.
    """
    action = need.permission.action
    resource = need.permission.resource
    if not (need.exact and resource.startswith("arn:")):
        return ""
    _, partition, _, _, account, *_ = resource.split(":")
    if partition != principal.split(":")[1]:
        return f"only a job log names it, and it is in another partition ({partition})"
    if account.isdigit() and account != principal.split(":")[4]:
        return f"only a job log names it, and it is in another account ({account})"
    catalogue_action = action_of(action)
    if account or catalogue_action is None:
        return ""
    names = kinds_of(action, resource)
    templates = [kind.arn for kind in catalogue_action.resource_types if kind.name in names]
    if templates and all(":${Account}:" in template for template in templates):
        return "only a job log names it, and its name lacks the account"
    return ""


def _text_alone_reason(usage: Usage, evidence: Evidence, document: Document | None) -> str:
    """Why a job log alone adds nothing; empty for reads of a resource that other evidence or the
    policy names.
    """
    action = usage.action
    service = action.partition(":")[0]
    if not _is_denied_in_a_record(usage, evidence):
        if not is_read(action):
            return "it writes, and only a job log shows the denial"
        if data_read(action):
            return f"it reads {data_read(action)}, and only a job log shows the denial"
    if usage.resource != "*":
        if not usage.need.exact or _is_known(usage.resource, evidence, document):
            return ""
        return "only a job log names the resource: no allowed call and no statement has it"
    if is_administration(service):
        return f"only a job log shows it, and it reads all of {service}"
    if service in _services_on_all(evidence, document):
        return ""
    return (
        f"only a job log shows it, and no allowed call and no statement has {service} on every"
        " resource"
    )


def _services_on_all(evidence: Evidence, document: Document | None) -> frozenset[str]:
    """Returns the services that an allowed call used on `*`, or that the committed policy has on
    `*`.
    """
    actions = [usage.action for usage in evidence.allowed_usages if usage.resource == "*"]
    for statement in document.statements if document else ():
        if "*" in statement.resources:
            actions += statement.actions
    return frozenset(action.partition(":")[0].lower() for action in actions)


def _is_denied_in_a_record(usage: Usage, evidence: Evidence) -> bool:
    """Whether CloudTrail recorded a denial of the same action in the same run."""
    action = usage.action
    runs = set(usage.runs)
    for other in evidence.usages:
        is_recorded = other.denial is not None and not other.denial.log
        if other.action == action and is_recorded and not runs.isdisjoint(other.runs):
            return True
    return False


def _is_known(resource: str, evidence: Evidence, document: Document | None) -> bool:
    """Whether an allowed call used the resource, or the committed policy has it as it is."""
    for statement in document.statements if document else ():
        if resource in statement.resources:
            return True
    # AWS writes `stack/NAME/*` for a stack whose id a request lacks.
    return any(
        "*" not in usage.resource.replace("${*}", "") and resource_covers(resource, usage.resource)
        for usage in evidence.allowed_usages
    )


def _inferred_reason(usage: Usage, evidence: Evidence, document: Document | None) -> str:
    """Why an inferred need would widen access; empty if only AWS chooses what its resource leaves
    open, or it was used.

    A draft has the tags of a new resource whose id AWS gives: "At a minimum, the permission must
    cover all KMS keys in the account and Region"
    (https://docs.aws.amazon.com/kms/latest/developerguide/manage-tags-api.html, read 2026-11-27).
    Where a policy is there and lacks them, another one has allowed the calls.
    """
    need = usage.need
    resource = usage.resource
    if need.basis is not Basis.INFERRED or need.exact:
        return ""
    if is_open_anyway(resource) and not is_whole_type(resource):
        return ""
    is_draft = not (document and document.statements)
    if is_draft and sets_tags_on_new(need.permission):
        return ""
    observed = (other for other in evidence.usages if other.need.basis is Basis.OBSERVED)
    if any(other.resource == resource for other in observed):
        return ""
    return "a call implies it, and no record names its resource"


def is_from_job_log(usage: Usage) -> bool:
    """Whether only a job log shows the denial."""
    return usage.denial is not None and bool(usage.denial.log)


def held_addition(usage: Usage, guard_result: GuardResult) -> HeldBackChange:
    """Returns an addition that a guard holds back."""
    permission = usage.need.permission
    return HeldBackChange(
        ChangeKind.ADD, permission.action, (permission.resource,), guard_result, usages=(usage,)
    )


def denied_elsewhere(usage: Usage) -> HeldBackChange:
    """Reports a denial that no identity-based policy can fix."""
    return held_addition(usage, GuardResult("not-mendable", _denied_by_text(usage)))


def denied_in_part(usage: Usage) -> HeldBackChange:
    """Reports a denial with an unnamed resource if the policies allow the action on some
    resources.
    """
    reason = (
        "the policies allow it on some resources, and neither the request nor the denial names the"
        " resource"
    )
    if may_have_path(usage.need):
        remedy = "write the ARN with its path if it is denied again"
        reason = f"the policies allow it without a path, as AWS names it: {remedy}"
    return held_addition(usage, GuardResult("unknown-resource", reason))


def denied_in_doubt(usage: Usage, principal: str, documents: Sequence[Document]) -> HeldBackChange:
    """Reports a denial that a condition or an unknown part of a policy may have allowed since."""
    doubts = (doubt_of(usage.need, principal, region, documents) for region in usage.replay_regions)
    doubt = next(filter(None, doubts), "a statement may allow it")
    return held_addition(usage, GuardResult("may-be-allowed", doubt))


def _denied_by_text(usage: Usage) -> str:
    """Returns why no grant of the policy helps against a denial, with the ARN of the denying policy
    where the message names it.
    """
    denial = usage.denial
    if denial is None:
        return ""
    if "Encoded authorization failure message" in denial.message and not denial.actions:
        return "the denial is encoded: decode it with `aws sts decode-authorization-message`"
    if denial.why and denial.denied_by is DeniedBy.UNKNOWN:
        return denial.why
    text = _DENIED_BY[denial.denied_by.value]
    policy_match = _POLICY_ARN.search(denial.message)
    if not policy_match:
        return text
    what, colon, remedy = text.partition(":")
    return f"{what} (`{policy_match[1]}`){colon}{remedy}"
