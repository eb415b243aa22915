"""Derives the missing permissions of a denial, from CloudTrail records, job logs and rehearsal runs
(pure).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from functools import lru_cache

from msgspec.structs import replace

from leastpriv.aws.arns import account_of, same_arn
from leastpriv.aws.errors import denying_policy
from leastpriv.aws.session_names import is_rehearsal
from leastpriv.denials.encoded_message import Decoder
from leastpriv.denials.log_text import without_blanks
from leastpriv.denials.message import read_denial
from leastpriv.denials.resource import fill_hidden_parts, resource_arn
from leastpriv.denials.sentence import TAIL
from leastpriv.models import Basis, Call, Condition, Denial, DeniedBy, Need, Outcome, Permission
from leastpriv.permissions import catalog
from leastpriv.permissions.arn_templates import (
    IN_PART,
    NAMED_WITHOUT_PATH,
    partition,
    without_build_step_names,
)
from leastpriv.permissions.event_table import Verdict, facts_of, map_event
from leastpriv.permissions.lifecycle import created_types
from leastpriv.permissions.mapping import CallNeeds, needs_of_request, uses_keys
from leastpriv.permissions.patterns import (
    TYPE_WILDCARD,
    escape_observed,
    resource_matches,
    unescape,
)
from leastpriv.permissions.resource_types import end_of, fits, types_of_arn
from leastpriv.permissions.volatility import service_of

_LINE_ENDS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
_LINE_END = "\ufffd"
"""Replaces the line ends of a name in a message: as a blank, they would make it the name of another
resource.
"""
_ONE_STACK = re.compile(r"arn:[^:*?]*:cloudformation:[^:*?]+:\d*:stack/[A-Za-z][A-Za-z0-9-]*/\*")
"""AWS's own form for a stack that a request names without its id: only one stack has the name at a
time.
"""
_SERVICE_LINKED = re.compile(r"arn:[^:]*:iam::\d*:role/aws-service-role/([a-z0-9.-]{1,128})/")
_CUT_BEFORE = re.compile(r"[\s\"`<>'].*|[.,;:'!…)\]}]+", re.DOTALL)
"""The end of a name in a message: a blank, a quote, or punctuation of the sentence."""
_LOG_GROUP = re.compile(r"arn:[^:*?]*:logs:[^:*?]*:[^:*?]*:log-group:[^:*?]+")
_NO_STREAM = re.compile(rf"({_LOG_GROUP.pattern}):log-stream:")
_CLIMB = re.compile(r"/\.{1,2}(?:/|\Z)")
_LITERAL_ARN = re.compile(r"arn(?::[^:*?]*){4}:[^*?]+")
NAMED_BY_DENIAL = "named by the denial"
IN_OTHER_ACCOUNT = "named by the denial, in another account"
"""Derivation of a resource in another account than the denied principal's."""


def denied_needs(mapped: CallNeeds, denial: Denial, call: Call | None = None) -> tuple[Need, ...]:
    """Returns the needs of a denied call: what the message names takes precedence over the mapping
    of the event.
    """
    observed = _observed(mapped)
    if not denial.actions:
        return tuple(observed)
    is_new = call is not None and _is_to_be_created(denial.resource, call)
    return tuple(
        need for action in denial.actions for need in _named_needs(action, denial, observed, is_new)
    )


def _is_to_be_created(resource: str, call: Call) -> bool:
    """Whether AWS names, by `*` in place of its id, a resource that a denied call would have
    created.

    A request without `*` shows that the caller did not choose the wildcard:
    `loadbalancer/app/web/*`.
    """
    name, _, end = resource.rpartition("/")
    is_pattern = end != "*" or not set(name).isdisjoint("*?")
    if is_pattern or call.parameters_omitted or "*" in json.dumps(call.parameters, default=str):
        return False
    service = service_of(resource)
    return not {kind.lower() for kind in types_of_arn(service, resource)}.isdisjoint(
        created_types(service, call.name)
    )


def implied_needs(call: Call, mapped: CallNeeds) -> tuple[Need, ...]:
    """Returns the needs that the request of a denied call implies, as if AWS had allowed it."""
    if call.read_only:
        return ()
    allowed = replace(call, outcome=Outcome.ALLOWED, error_code="", error_message="")
    # The action that was denied is no further one, on whatever resource.
    own_actions = {need.permission.action for need in mapped.needs}
    needs = needs_of_request(allowed, mapped.needs)
    return tuple(need for need in needs if need.permission.action not in own_actions)


def with_conditions(
    refused: Sequence[Need], implied: Sequence[Need], call: Call
) -> tuple[Need, ...]:
    """Adds what the request shows: a resource that the denial does not name, and conditions, as
    that of `iam:PassRole`.

    A request may name the role by its instance profile alone; its operation then passes roles to
    one service.
    """
    permissions_by_pair = {
        (need.permission.action, need.permission.resource): need.permission for need in implied
    }
    needs = []
    names_no_arn = " on resource: arn:" not in call.error_message
    for need in refused:
        needs_of_action = [
            implied_need
            for implied_need in implied
            if implied_need.permission.action == need.permission.action
        ]
        if names_no_arn and not need.exact and len(needs_of_action) == 1:
            # The request names the resource that the denial does not.
            is_known = needs_of_action[0].exact or needs_of_action[0].derivation == IN_PART
            need = replace(need, permission=needs_of_action[0].permission, exact=is_known)
        permission = need.permission
        permission = (
            permission
            if permission.conditions
            else replace(permission, conditions=_conditions_of_request(permission, call))
        )
        needs.append(
            replace(
                need,
                permission=permissions_by_pair.get(
                    (permission.action, permission.resource), permission
                ),
            )
        )
    return tuple(needs)


def _conditions_of_request(permission: Permission, call: Call) -> tuple[Condition, ...]:
    """The conditions under which an allowed call would show an action that AWS authorizes inside
    it.
    """
    if permission.action == "iam:CreateServiceLinkedRole":
        role = _SERVICE_LINKED.match(permission.resource)
        return (Condition("StringEquals", "iam:AWSServiceName", (role[1],)),) if role else ()
    if partition(call) != "aws":
        return ()
    if permission.action == "iam:PassRole":
        facts = facts_of(map_event(call.source, call.name).operation)
        if facts.services and not facts.passed_to:
            return (Condition("StringEquals", "iam:PassedToService", facts.services),)
    if permission.action.startswith("kms:"):
        service = call.source.partition(".")[0]
        if uses_keys(service):
            via = f"{service}.{call.region}.amazonaws.com"
            return (Condition("StringEquals", "kms:ViaService", (via,)),)
    return ()


def dependent_needs(implied: Sequence[Need], refused: Sequence[Need]) -> tuple[Need, ...]:
    """Returns the further needs that the request of a denied call implies, which AWS would check
    next.
    """
    refused_actions = {need.permission.action for need in refused}
    return tuple(need for need in implied if need.permission.action not in refused_actions)


def mapping_contradictions(mapped: CallNeeds, denial: Denial) -> tuple[str, ...]:
    """Returns actions, as the catalogue spells them, that AWS denied on an ARN which the request
    does not name.
    """
    names = (catalog.spelling(action) for action in denial.actions)
    needs_by_action = {
        name: [need for need in _observed(mapped) if need.permission.action == name]
        for name in names
        if name
    }
    return tuple(
        name
        for name, needs in needs_by_action.items()
        if _is_certain(needs) and _is_strange(denial.resource, needs)
    )


def _observed(mapped: CallNeeds) -> list[Need]:
    return [
        replace(need, basis=Basis.DENIED) for need in mapped.needs if need.basis is Basis.OBSERVED
    ]


def _named_needs(
    action: str, denial: Denial, observed: Sequence[Need], is_new: bool
) -> Sequence[Need]:
    """Returns the needs for one action that a denial names: `s3:GetObject` on `arn:…:orders/a`.

    The message repeats names that the caller chose, perhaps truncated: where message and request
    agree, the resource comes from the request. Where they differ, AWS's message names what AWS
    checked.

    The request is certain where it names the exact resource of each need. The message is strange
    where it names another resource of the action's service than all of these, not one cut short.

    Args:
        action: The action, as the denial writes it.
        denial: The denial.
        observed: The needs that the request shows, of any action.
        is_new: Whether the denied call would have created the resource.
    """
    catalogue_action = catalog.action(action)
    name = catalogue_action.name if catalogue_action else action
    observed = [need for need in observed if need.permission.action == name]
    resource = resource_arn(denial.resource, denial.principal)
    group = _NO_STREAM.fullmatch(resource)
    if group:
        # CloudWatch Logs writes a log stream that the request did not name.
        resource = group[1]
    is_strange = _is_strange(resource, observed)
    is_strange = is_strange and resource.split(":")[2] == name.partition(":")[0]
    # The request knows the resource better than a message that may be cut short.
    if _is_certain(observed) and not is_strange:
        return observed
    # Of several resources that the request may mean, the message names one.
    agreed = [
        replace(need, exact=True)
        for need in observed
        if _agrees(need.permission.resource, resource)
    ]
    if agreed:
        return agreed

    # The message alone names the resource.
    takes_arns = catalogue_action is None or bool(catalogue_action.resource_types)
    permission = _named_permission(
        name, resource, is_new=is_new, may_not_fit=is_strange, takes_arns=takes_arns
    )
    if permission:
        return [_denied_need(permission, _derivation(resource, denial))]
    lists_all = (
        resource == "*" and catalogue_action is not None and catalogue_action.access_level == "List"
    )
    # Neither is exact: prefer the request, unless AWS checked the list of all resources.
    if observed and not lists_all:
        return observed
    how = "AWS checked the list of all on `*`" if lists_all else "the denial names no resource"
    need = _denied_need(Permission(name, "*"), how)
    return [replace(need, exact=lists_all or not takes_arns)]


def _named_permission(
    action: str, resource: str, *, is_new: bool, may_not_fit: bool, takes_arns: bool
) -> Permission | None:
    """Returns the permission on the resource that a denial names; None where it names none.

    Args:
        action: The denied action.
        resource: The resource of the denial.
        is_new: Whether the denied call would have created it.
        may_not_fit: Whether it counts even if it is no resource of the action.
        takes_arns: Whether the action has resources.
    """
    does_fit = fits(action, resource)
    if takes_arns and (does_fit or may_not_fit) and _is_literal(resource):
        end = end_of(action, "log-group") if _LOG_GROUP.fullmatch(resource) else ""
        return Permission(action, escape_observed(resource) + end)
    if does_fit and (is_new or _is_wildcard_of_aws(resource)):
        return Permission(action, resource)
    return None


def _denied_need(permission: Permission, derivation: str) -> Need:
    is_known = catalog.action(permission.action) is not None
    return Need(permission, Basis.DENIED, derivation, verified=is_known)


def _agrees(requested: str, denied: str) -> bool:
    """Returns whether a request and a denial name the same resource.

    Both may name a secret without the end that Secrets Manager drew.
    """
    secret = f":secret:{escape_observed(denied)}-??????"
    return requested == denied or requested.endswith(secret)


def _is_wildcard_of_aws(resource: str) -> bool:
    """Returns whether AWS itself writes such a pattern for the resource of a denial."""
    return bool(TYPE_WILDCARD.fullmatch(resource) or _ONE_STACK.fullmatch(resource))


def _derivation(resource: str, denial: Denial) -> str:
    """Returns how a denial shows the resource of a need."""
    if denial.resource and not denial.resource.startswith("arn:"):
        return NAMED_WITHOUT_PATH
    account = account_of(resource)
    caller_account = account_of(denial.principal)
    are_known = account.isdigit() and caller_account.isdigit()
    if are_known and account != caller_account:
        return IN_OTHER_ACCOUNT
    return NAMED_BY_DENIAL


def _is_certain(own: Sequence[Need]) -> bool:
    return bool(own) and all(need.exact for need in own)


def _is_literal(resource: str) -> bool:
    if ":s3:" not in resource and _CLIMB.search(resource):
        return False
    return _LITERAL_ARN.fullmatch(resource) is not None


def _is_strange(resource: str, own: Sequence[Need]) -> bool:
    """Whether a denial names an ARN that matches none of the call's resources, not even a truncated
    one.
    """
    if not own or not _is_literal(resource):
        return False
    for pattern in (need.permission.resource for need in own):
        one_line = _LINE_ENDS.sub(_LINE_END, unescape(pattern))
        is_cut = one_line.startswith(resource) and _CUT_BEFORE.fullmatch(one_line, len(resource))
        if pattern == "*" or resource == one_line or is_cut or resource_matches(pattern, resource):
            return False
    return True


_NO_REQUEST = CallNeeds(Verdict.UNMAPPED, "")


def logged_needs(denial: Denial, principal: str, known: Collection[str] = ()) -> tuple[Need, ...]:
    """Returns the needs of a logged denial for a principal, by ARN; none for a denial without an
    action.

    Masked parts of the resource are filled from `known`, ARNs of other evidence. A resource that
    remains masked, or is missing, or has AWS's own wildcard, is not known: the need is then not
    exact.
    """
    resource = fill_hidden_parts(
        resource_arn(denial.resource, principal),
        known,
        masked_principal=denial.principal,
        principal=principal,
    )
    return tuple(
        map(without_build_step_names, denied_needs(_NO_REQUEST, replace(denial, resource=resource)))
    )


def as_rehearsal_denial(denial: Denial, *, rehearsed: bool) -> Denial:
    """Adjusts a denial; where it is of a rehearsal, the session policy is the proposal.

    What the session policy does not allow is missing in the proposal: the denial is mendable, and
    `denied_by` remains `session`. An explicit deny remains one, since no grant overrides it.
    """
    refused = denial.denied_by is DeniedBy.SESSION and not denial.explicit and bool(denial.actions)
    return replace(denial, mendable=True, why="") if refused and rehearsed else denial


def recorded_denial(call: Call, principal: str, decoder: Decoder) -> Denial:
    """Returns the denial of a recorded call; this principal's policy cannot fix a denial of another
    one.
    """
    recorded = decoder.decoded(_read(call.error_message, call.error_code))
    denial = as_rehearsal_denial(recorded, rehearsed=is_rehearsal(call.session))
    is_own = not denial.principal or same_arn(denial.principal, principal)
    return denial if is_own else replace(denial, mendable=False, denied_by=DeniedBy.UNKNOWN)


_AWSS_SENTENCE = re.compile(
    r"User: (?P<principal>arn:aws[a-z-]*:(?:sts|iam)::\d{12}:[\w+=,.@/-]+)"
    r" is not authorized to perform: (?P<action>[a-z0-9-]+:[A-Za-z0-9]+)"
    r" on resource: (?P<quote>\"?)(?P<resource>arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:"
    r"(?:\d{12})?:[\w:/+=@*.-]{1,300}[\w*])(?P=quote)"
    r" because no identity-based policy allows the (?P=action) action",
    re.ASCII,
)
"""The usual sentence of a record, with names that need no further look."""
_PHRASE = re.compile(r"authoriz|explicit|because", re.IGNORECASE)
"""A name with such a word may be taken for a part of the sentence."""
_SAMPLE_PRINCIPAL = "arn:aws:sts::111122223333:assumed-role/role/session"
_SAMPLE_RESOURCE = "arn:aws:s3:::bucket"


def _read(text: str, code: str) -> Denial:
    """Reads a record's message; usual sentences that differ in their names are parsed once."""
    sentence_match = _AWSS_SENTENCE.fullmatch(text)
    if not sentence_match or _PHRASE.search(
        sentence_match["principal"] + sentence_match["resource"]
    ):
        return _parsed(text, code)
    action = sentence_match["action"]
    sample = (
        f"User: {_SAMPLE_PRINCIPAL} is not authorized to perform: {action} on resource:"
        f" {_SAMPLE_RESOURCE} because no identity-based policy allows the {action} action"
    )
    denial = _parsed(sample, code)
    return replace(
        denial,
        principal=sentence_match["principal"],
        resource=sentence_match["resource"],
        message=text,
    )


@lru_cache(maxsize=2_048)
def _parsed(text: str, code: str) -> Denial:
    """Returns the denial in the message of a record, which the last reason in it decides.

    It is one sentence on one line with the reason at its end: other line ends belong to a name. An
    object's key may contain line ends, and even a whole denial sentence, before the true reason.
    """
    message = _LINE_ENDS.sub(_LINE_END, text)
    denial = read_denial(message, error_code=code)
    tails = [*TAIL.finditer(message)] if denial.mendable else []
    if not tails:
        return denial
    reason = message[tails[-1].start() :]
    policy = denying_policy(reason)
    denied_by = policy.denied_by if policy else DeniedBy.UNKNOWN
    if without_blanks(reason).startswith("withanexplicitdeny"):
        why = "an explicit deny applied, which no grant overrides"
        return replace(denial, denied_by=denied_by, explicit=True, mendable=False, why=why)
    if policy is None or denied_by in (DeniedBy.IDENTITY, DeniedBy.UNKNOWN):
        return denial
    return replace(denial, denied_by=denied_by, explicit=False, mendable=False, why=policy.why)
