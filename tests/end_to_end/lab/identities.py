"""CloudTrail's userIdentity of a caller: docs.aws.amazon.com, "CloudTrail userIdentity element",
2026-11.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

from ministack.core.iam_evaluator import CredentialResolutionError, resolve_credential
from ministack.services import iam, sts

from tests.end_to_end.lab.exchange import Exchange

Identity = dict[str, Any]


def identity_of(access_key: str, account: str) -> Identity | None:
    """The identity of an access key, or None for an unknown key (CloudTrail records no such
    call).
    """
    found = resolve_credential(access_key, _account_of(access_key, account))
    if isinstance(found, CredentialResolutionError):
        return None
    identity: Identity = {
        "type": "IAMUser" if found.principal_type == "User" else found.principal_type,
        "principalId": found.principal_id,
        "arn": found.principal_arn,
        "accountId": found.account_id,
        "accessKeyId": access_key,
    }
    session = sts._sessions.get(access_key) or {}
    if found.principal_type == "User":
        identity["userName"] = found.principal_name
    if found.principal_type == "AssumedRole":
        role = _role(found.principal_arn.split("/")[1], found.account_id)
        issuer = _issuer(role, found.account_id, found.principal_arn)
        identity["sessionContext"] = _context(session, issuer, session.get("LabFederation"))
    elif session:
        identity["sessionContext"] = _context(session, {}, None)
    return identity


def role_session(role_arn: str, session_name: str, account: str, invoked_by: str) -> Identity:
    """The identity of a service that assumed a role, such as a stack's: without access key."""
    role = _role(role_arn.rpartition("/")[2], account)
    arn = f"arn:aws:sts::{account}:assumed-role/{role_arn.rpartition('/')[2]}/{session_name}"
    issuer = _issuer(role, account, arn)
    return {
        "type": "AssumedRole",
        "principalId": f"{issuer['principalId']}:{session_name}",
        "arn": arn,
        "accountId": account,
        "sessionContext": _context({}, issuer, None),
        "invokedBy": invoked_by,
    }


def forwarded(identity: Identity, invoked_by: str) -> Identity:
    """The caller's identity in the calls a service makes in its name (forward access sessions)."""
    context = identity.get("sessionContext") or {"attributes": _attributes({})}
    shown = {**identity, "sessionContext": context, "invokedBy": invoked_by}
    shown.pop("accessKeyId", None)
    return shown


def web_identity(exchange: Exchange) -> Identity:
    """The caller of AssumeRoleWithWebIdentity, from the token."""
    claims = _claims(str(exchange.parameters.get("WebIdentityToken", "")))
    provider = provider_of(exchange)
    subject, audience = str(claims.get("sub", "")), claims.get("aud", "")
    audience = audience[0] if isinstance(audience, list) and audience else audience
    return {
        "type": "WebIdentityUser",
        "principalId": f"{provider}:{audience}:{subject}",
        "userName": subject,
        "identityProvider": provider,
    }


def provider_of(exchange: Exchange) -> str:
    """The ARN of the OIDC provider that a web identity token names, in the account of the role."""
    issuer = str(_claims(str(exchange.parameters.get("WebIdentityToken", ""))).get("iss", ""))
    account = str(exchange.parameters.get("RoleArn", "::::")).split(":")[4]
    return f"arn:aws:iam::{account}:oidc-provider/{issuer.partition('://')[2] or issuer}"


def remember_federation(access_key: str, provider: str) -> None:
    """Record the provider of a session; its later calls show it."""
    session = sts._sessions.get(access_key)
    if session is not None:
        session["LabFederation"] = {"federatedProvider": provider, "attributes": {}}


def _account_of(access_key: str, account: str) -> str:
    session = sts._sessions.get(access_key)
    return str((session or {}).get("AccountId") or account)


def _role(name: str, account: str) -> dict[str, Any]:
    return iam._roles.get_scoped(account, None, name) or {}


def _issuer(role: dict[str, Any], account: str, session_arn: str) -> dict[str, Any]:
    name = session_arn.split("/")[1]
    return {
        "type": "Role",
        "principalId": role.get("RoleId", "AROAUNKNOWNROLE000000"),
        "arn": role.get("Arn", f"arn:aws:iam::{account}:role/{name}"),
        "accountId": account,
        "userName": name,
    }


def _context(
    session: dict[str, Any], issuer: dict[str, Any], federation: dict[str, Any] | None
) -> dict[str, Any]:
    shown = {"sessionIssuer": issuer} if issuer else {}
    return (
        shown
        | ({"webIdFederationData": federation} if federation else {})
        | {"attributes": _attributes(session)}
    )


def _attributes(session: dict[str, Any]) -> dict[str, str]:
    issued = session.get("IssuedAt")
    when = (
        datetime.fromtimestamp(issued, UTC)
        if isinstance(issued, int | float)
        else datetime.now(UTC)
    )
    return {"creationDate": when.strftime("%Y-%m-%dT%H:%M:%SZ"), "mfaAuthenticated": "false"}


def _claims(token: str) -> dict[str, Any]:
    try:
        part = token.split(".")[1]
        read = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
