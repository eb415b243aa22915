"""`iam:PassRole`, which CloudTrail never shows: the roles that a request hands to a service.

AWS: "iam:PassRole … is not tracked by CloudTrail" (IAM user guide, access-analyzer-policy-generation). The role
mostly stands in the request: botocore 1.43.121 (2026-10-28) has 1,570 such parameters in 958 operations, nearly all
under a key that says so; `data/roles.tsv` has the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache

from leastpriv.model import Basis, Call, Condition, Need, Permission
from leastpriv.permissions.event_map import facts_of
from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.presence import Presence, key_in
from leastpriv.permissions.request import request_values
from leastpriv.permissions.tables import table
from leastpriv.permissions.templates import NAMED, partition

_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>\d{12}):role/[\w+=,.@/-]+")
_ROLE_IN_TEXT = re.compile(
    rf"(?:role|credentials)[\w-]*[\"']?\s*[:=]\s*\\?[\"']?({_ROLE_ARN.pattern})", re.IGNORECASE
)
"""A role's ARN in a document, under a key that says so: `"credentials": "arn:…"`, `assumeRole: arn:…`."""
_ROLE_NAME = re.compile(r"/?[\w+=,.@/-]{1,128}")
_NOT_PASSED = "not-passed"
_ROLE_KEY = re.compile(r"role|deliverlogspermissionarn|feedbackrolearn")


def passed_roles(call: Call, operation: str, texts: Sequence[tuple[str, str]]) -> Iterator[Need]:
    """One need for each role that the request of a call names; none for a role of another account.

    `texts` are those of the request by key, without what people choose the keys of.

    "You can only use the PassRole permission to pass an IAM role to a service that shares the same AWS account"
    (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html, read 2026-11-24).
    """
    named: dict[tuple[str, tuple[str, ...]], str] = {}
    # A map that people fill may hold ARNs of roles by the way; where a row names the key, the service reads it there.
    forms = _forms(operation)
    sure = any(form in ("arn", "text") for key, form in forms.items() if key != "*")
    for key, value in request_values(call.parameters) if sure else texts:
        if not (value.startswith("arn:") or key in forms or "*" in forms):
            continue
        for role, derivation in _role(call, operation, key, value):
            named.setdefault((role, _services(call, operation, key)), derivation)
    for (role, services), derivation in named.items():
        passed_to = (Condition("StringEquals", "iam:PassedToService", services),) if services else ()
        yield Need(
            permission=Permission("iam:PassRole", escape_observed(role), passed_to),
            basis=Basis.INFERRED,
            derivation=derivation,
            because=f"{call.source.partition('.')[0]}:{call.name} passes this role",
        )


def passes_unnamed_role(operation: str, presence: Presence) -> bool:
    """Whether a call may pass a role that its request does not name: the one of an instance profile, of a stack …."""
    forms = _forms(operation)
    return any(form in ("profile", "unnamed") and presence.has(key) for key, form in forms.items())


def keys_of_roles(operation: str) -> frozenset[str] | None:
    """Keys of a request that may name a role passed, besides those that hold a role's ARN; None where all may."""
    forms = _forms(operation)
    if forms.get("*", _NOT_PASSED) != _NOT_PASSED or {"arn", "text"} & set(forms.values()):
        return None
    return frozenset(map(key_in, forms))


def _role(call: Call, operation: str, key: str, value: str) -> Iterator[tuple[str, str]]:
    forms = _forms(operation)
    form = forms.get(key) or forms.get("*", "")
    if form == _NOT_PASSED or "/aws-service-role/" in value:
        return
    match = _ROLE_ARN.fullmatch(value)
    if match and match["account"] == call.account and (form or _ROLE_KEY.search(key)):
        yield value, "role ARN in the request"
    elif form == "text":
        for role in _ROLE_IN_TEXT.finditer(value):
            if role["account"] == call.account:
                yield role[1], "role ARN in a document of the request"
    elif form == "name" and _ROLE_NAME.fullmatch(value):
        yield f"arn:{partition(call)}:iam::{call.account}:role/{value.lstrip('/')}", NAMED


def _services(call: Call, operation: str, key: str) -> tuple[str, ...]:
    """The services that the role of a key is passed to: of our table, else those of AWS's service reference.

    The reference is of the commercial regions; in China some services have another name.
    """
    rows = _passed_to().get(operation, {})
    service = rows.get(key) or rows.get("*", "")
    if service or partition(call) == "aws-cn":
        return (service,) if service else ()
    return facts_of(operation).passed_to


@lru_cache(maxsize=4_096)
def _forms(operation: str) -> Mapping[str, str]:
    """Parameter in lower case -> what it says of a role, for one operation."""
    compiled = {"*": "text"} if facts_of(operation).roles == "text" else {}
    return {**compiled, **_roles().get(f"{operation.partition(':')[0]}:*", {}), **_roles().get(operation, {})}


@cache
def _roles() -> Mapping[str, Mapping[str, str]]:
    return _by_operation("roles", "form")


@cache
def _passed_to() -> Mapping[str, Mapping[str, str]]:
    return _by_operation("passed_to", "service")


def _by_operation(name: str, column: str) -> Mapping[str, Mapping[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in table(name):
        found.setdefault(row["operation"], {})[row["parameter"].lower()] = row[column]
    return found
