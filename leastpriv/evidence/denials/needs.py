"""From a refusal and what its call maps to, the permissions that were lacking.

From a refusal that a log tells to the permissions that were lacking: a log shows no request.

A refused call as CloudTrail recorded it -> its denial (pure).

A refusal under the proposal itself: what promise 5 makes of it (pure).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache

from msgspec import structs

from leastpriv.aws.arns import same_arn
from leastpriv.aws.error_codes import denying_policy_type
from leastpriv.evidence.denials.encoded_message import Decoder
from leastpriv.evidence.denials.log_text import squeezed
from leastpriv.evidence.denials.message import read_denial
from leastpriv.evidence.denials.resource import arn_of, filled
from leastpriv.evidence.denials.sentence import TAIL
from leastpriv.evidence.runs import is_rehearsal
from leastpriv.models import Basis, Call, Denial, DeniedBy, Need, Outcome, Permission
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict
from leastpriv.permissions.mapping import CallNeeds, needs_of
from leastpriv.permissions.patterns import escape_observed, resource_matches, unescape
from leastpriv.permissions.resource_types import end_of, fits

OF_A_TYPE = re.compile(r"arn:[^:*?]*:ec2:[^:*?]*:\d*:[a-z-]+/\*")
"""What AWS itself writes for something not made yet: `arn:aws:ec2:eu-west-1:111122223333:vpc/*`."""
_ONE_STACK = re.compile(r"arn:[^:*?]*:cloudformation:[^:*?]+:\d*:stack/[A-Za-z][A-Za-z0-9-]*/\*")
"""What AWS writes for a stack that a request names without its id: the name is one stack's at a time."""
_CUT_BEFORE = re.compile(r"[\s\"`<>'].*|[.,;:'!…)\]}]+", re.DOTALL)
"""Where a reader of a message takes a name to end: at a blank or a quote, before the sentence's own marks."""
_LOG_GROUP = re.compile(r"arn:[^:*?]*:logs:[^:*?]*:[^:*?]*:log-group:[^:*?]+")
_NO_STREAM = re.compile(rf"({_LOG_GROUP.pattern}):log-stream:")
NAMED_BY_REFUSAL = "named by the refusal"
ELSEWHERE = "named by the refusal, in another account"
"""Derivation of a resource that is not in the account of the principal that the refusal names."""
NAMED_WITHOUT_PATH = "named by the refusal, without its path"
"""Derivation of an IAM resource that a refusal names by kind and name: `role deployer`."""


def refused_needs(mapped: CallNeeds, denial: Denial) -> tuple[Need, ...]:
    """Needs of a refused call: what the message names comes before what the event maps to."""
    observed = _observed(mapped)
    if not denial.actions:
        return tuple(observed)
    return tuple(need for action in denial.actions for need in _named_needs(action, denial, observed))


def partner_needs(call: Call, refused: Sequence[Need]) -> tuple[Need, ...]:
    """What the refused call will need next: all that its request implies besides `refused`, were it allowed."""
    named = {need.permission.action for need in refused}
    allowed = structs.replace(call, outcome=Outcome.ALLOWED, error_code="", error_message="")
    found = (need for need in needs_of(allowed).needs if need.basis is Basis.INFERRED)
    return tuple(need for need in found if need.permission.action not in named)


def contradicted(mapped: CallNeeds, denial: Denial) -> tuple[str, ...]:
    """Actions, in the catalogue's spelling, that AWS refused on an ARN though the request names others only."""
    names = (catalog.spelling(action) for action in denial.actions)
    own = {name: [need for need in _observed(mapped) if need.permission.action == name] for name in names if name}
    return tuple(name for name, needs in own.items() if _is_sure(needs) and _is_strange(denial.resource, needs))


def _observed(mapped: CallNeeds) -> list[Need]:
    return [replace(need, basis=Basis.DENIED) for need in mapped.needs if need.basis is Basis.OBSERVED]


def _named_needs(action: str, denial: Denial, observed: Sequence[Need]) -> Sequence[Need]:
    """Needs for one action that a refusal names.

    The message repeats names that the caller chose, and cuts them: what the request says of the resource comes first
    where the two agree. Where they do not, AWS names what it checked.
    """
    known = catalog.action(action)
    name = known.name if known else action
    own = [need for need in observed if need.permission.action == name]
    resource = _of_log_group(arn_of(denial.resource, denial.principal))
    strange = _is_strange(resource, own)
    if _is_sure(own) and not (strange and _is_of_service(name, resource)):
        return own
    agreed = [replace(need, exact=True) for need in own if need.permission.resource == resource]
    if agreed:
        return agreed
    takes_arns = known is None or bool(known.resource_types)
    named = fits(name, resource) or (strange and _is_of_service(name, resource))
    literal = named and takes_arns and _is_literal(resource)
    if literal or (_is_as_aws_writes_it(resource) and fits(name, resource)):
        permission = Permission(name, _as_policies_name_it(name, resource) if literal else resource)
        derivation = _derivation(resource, denial)
        return [Need(permission, Basis.DENIED, derivation, verified=known is not None)]
    if own:
        return own
    return [
        Need(
            Permission(name, "*"),
            Basis.DENIED,
            "the refusal names no resource",
            verified=known is not None,
            exact=not takes_arns,
        )
    ]


def _derivation(resource: str, denial: Denial) -> str:
    if denial.resource and not denial.resource.startswith("arn:"):
        return NAMED_WITHOUT_PATH
    accounts = {part for arn in (denial.principal, resource) for part in arn.split(":")[4:5] if part.isdigit()}
    return ELSEWHERE if len(accounts) == 2 else NAMED_BY_REFUSAL


def _of_log_group(resource: str) -> str:
    """A log group that CloudWatch Logs names by the log stream that the request did not name."""
    group = _NO_STREAM.fullmatch(resource)
    return group[1] if group else resource


def _as_policies_name_it(action: str, arn: str) -> str:
    return escape_observed(arn) + (end_of(action, "log-group") if _LOG_GROUP.fullmatch(arn) else "")


def _is_sure(own: Sequence[Need]) -> bool:
    return bool(own) and all(need.exact for need in own)


def _is_of_service(action: str, arn: str) -> bool:
    return arn.split(":")[2] == action.partition(":")[0]


def _is_literal(resource: str) -> bool:
    climbs = ":s3:" not in resource and re.search(r"/\.{1,2}(?:/|\Z)", resource)
    return not climbs and re.fullmatch(r"arn(?::[^:*?]*){4}:[^*?]+", resource) is not None


def _is_as_aws_writes_it(resource: str) -> bool:
    """Whether a resource with a wildcard is one of the two that AWS writes so itself."""
    return bool(OF_A_TYPE.fullmatch(resource) or _ONE_STACK.fullmatch(resource))


def _is_strange(resource: str, own: Sequence[Need]) -> bool:
    """Whether a refusal names an ARN that none of the call's own resources is, also not one that the message cuts."""
    if not own or not _is_literal(resource):
        return False
    return not any(_is_same(resource, need.permission.resource) for need in own)


def _is_same(resource: str, pattern: str) -> bool:
    if pattern == "*" or resource_matches(pattern, resource):
        return True
    whole = unescape(pattern)
    return whole.startswith(resource) and _CUT_BEFORE.fullmatch(whole[len(resource) :]) is not None


_NO_REQUEST = CallNeeds(Verdict.UNMAPPED, "")


def logged_needs(denial: Denial, principal: str, known: Collection[str] = ()) -> tuple[Need, ...]:
    """Needs of a refusal for the principal whose ARN is given; of one that names no action, none.

    What the log hides of the resource is filled from `known`, ARNs of other evidence. A resource that stays hidden, or
    that the log does not name, or that AWS writes as a wildcard, is not known: the need is then not exact.
    """
    resource = filled(arn_of(denial.resource, principal), known, masked_principal=denial.principal, principal=principal)
    return refused_needs(_NO_REQUEST, replace(denial, resource=resource))


def as_rehearsed(denial: Denial, session: str) -> Denial:
    """The denial as it counts for a session of this name.

    In a rehearsal the session policy *is* the proposal, so what it does not allow is what the proposal lacks: mendable,
    while `denied_by` stays `session`. An explicit deny stays one, since no grant outweighs it.
    """
    refused = denial.denied_by is DeniedBy.SESSION and not denial.explicit and bool(denial.actions)
    return replace(denial, mendable=True, why="") if refused and is_rehearsal(session) else denial


_LINE_ENDS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


def recorded_denial(call: Call, principal: str, decoder: Decoder) -> Denial:
    """The refusal of a call of `principal`; one that names another cannot be mended in this one's policy."""
    told = decoder.decoded(_read(call.error_message, call.error_code))
    denial = as_rehearsed(told, call.session)
    if not denial.principal:
        return denial
    is_own = same_arn(denial.principal, principal)
    return denial if is_own else replace(denial, mendable=False, denied_by=DeniedBy.UNKNOWN)


@lru_cache(maxsize=256)
def _read(told: str, code: str) -> Denial:
    """A record's message is one sentence on one line, and its reason stands last: any other is part of a name.

    An object's key may hold line ends, and even a whole sentence of refusal, before the true reason.
    """
    message = _LINE_ENDS.sub(" ", told)
    denial = read_denial(message, error_code=code)
    tails = [*TAIL.finditer(message)] if denial.mendable else []
    if not tails:
        return denial
    reason = message[tails[-1].start() :]
    denied_by, why = denying_policy_type(reason) or (DeniedBy.UNKNOWN, "")
    explicit = squeezed(reason).startswith("withanexplicitdeny")
    if explicit:
        why = "an explicit deny refused it, which no grant outweighs"
    elif denied_by in (DeniedBy.IDENTITY, DeniedBy.UNKNOWN):
        return denial
    return replace(denial, denied_by=denied_by, explicit=explicit, mendable=False, why=why)
