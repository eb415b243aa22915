"""Reads the roles and policies of an account from the answer of GetAccountAuthorizationDetails.

`aws iam get-account-authorization-details > account.json` writes it (IAM API reference, read
2026-12-01).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from leastpriv.errors import InputError, PolicyFileError
from leastpriv.policy.document import Document, parse

_LONGEST = 256 * 1024 * 1024


class AccountRole(Struct, frozen=True):
    """A role of an account and its policies."""

    arn: str
    documents: tuple[Document, ...] = ()
    unread: tuple[str, ...] = ()
    """Names of policies that cannot be parsed."""


def read_account_details(raw: bytes, name: str) -> dict[str, AccountRole]:
    """Returns the roles by ARN; raises InputError where the file is no such answer."""
    form = (
        f"--account-details names {name!r}, which is not the answer of `aws iam"
        " get-account-authorization-details`: write that to a file."
    )
    if len(raw) > _LONGEST:
        raise InputError(f"--account-details names {name!r}, which is longer than 256 MB.")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise InputError(form) from None
    if not isinstance(content, Mapping) or not isinstance(content.get("RoleDetailList"), list):
        raise InputError(form)
    managed = {policy.name: policy for policy in _managed_policies(content)}
    roles: dict[str, AccountRole] = {}
    for role in content["RoleDetailList"]:
        if not isinstance(role, Mapping) or not isinstance(role.get("Arn"), str):
            raise InputError(form)
        policies = list(_policies(role, managed))
        roles[role["Arn"]] = AccountRole(
            arn=role["Arn"],
            documents=tuple(policy.document for policy in policies if policy.document),
            unread=tuple(policy.name for policy in policies if policy.document is None),
        )
    return roles


class _Policy(Struct, frozen=True):
    """A policy of the account."""

    name: str
    """Its ARN, if it is managed."""
    document: Document | None = None
    """None where it cannot be parsed."""


def _managed_policies(content: Mapping[str, Any]) -> Iterator[_Policy]:
    """Yields the managed policies with their default versions."""
    for policy in content.get("Policies") or ():
        arn = str(policy.get("Arn"))
        versions = policy.get("PolicyVersionList") or ()
        defaults = [version for version in versions if version.get("IsDefaultVersion")]
        document = _document(defaults[0].get("Document"), arn) if defaults else None
        yield _Policy(arn, document)


def _policies(role: Mapping[str, Any], managed: Mapping[str, _Policy]) -> Iterator[_Policy]:
    """Yields the inline and managed policies of a role."""
    for policy in role.get("RolePolicyList") or ():
        name = str(policy.get("PolicyName"))
        yield _Policy(name, _document(policy.get("PolicyDocument"), name))
    for policy in role.get("AttachedManagedPolicies") or ():
        arn = str(policy.get("PolicyArn"))
        yield managed.get(arn, _Policy(arn))


def _document(value: object, name: str) -> Document | None:
    """Parses a policy; the AWS CLI writes it as an object, the API as text with %-escapes."""
    text = unquote(value) if isinstance(value, str) else json.dumps(value)
    try:
        return parse(text.encode(), name)
    except PolicyFileError:
        return None
