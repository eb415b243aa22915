"""Who may take a role, by its trust policy (pure): GitHub Actions, CodeBuild, other services and accounts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from leastpriv.permissions.tables import table

GITHUB = "token.actions.githubusercontent.com"
"""GitHub's OIDC provider (docs.github.com, "Configuring OpenID Connect in Amazon Web Services", read 2026-11-24)."""


class TrustKind(StrEnum):
    """What kind of caller a statement of a trust policy lets in."""

    GITHUB = "github"
    CODEBUILD = "codebuild"
    SERVICE = "service"
    FEDERATED = "federated"
    PRINCIPAL = "principal"
    """A user, a role, an account."""
    ANYBODY = "anybody"


@dataclass(frozen=True, slots=True)
class Trusted:
    """One caller that a trust policy lets in."""

    kind: TrustKind
    who: str
    """The provider, service or ARN as written."""
    subjects: tuple[str, ...] = ()
    """Of a web identity: the values that its `sub` may have (`repo:acme/shop:ref:refs/heads/main`); empty is any."""


def trusted_by(document: object) -> tuple[Trusted, ...]:
    """All callers of the Allow statements, in order, each once; what is no trust policy trusts nobody. Never raises."""
    if not isinstance(document, Mapping):
        return ()
    return tuple(
        dict.fromkeys(
            trusted
            for statement in _listed(document.get("Statement"))
            if isinstance(statement, Mapping) and statement.get("Effect") == "Allow"
            for trusted in _callers(statement)
        )
    )


def unseen_logins(trusted: Iterable[Trusted]) -> tuple[str, ...]:
    """Names of the services that take the role in a way of their own, by no event of AWS STS."""
    names = {row["service"]: row["name"] for row in table("other_logins", __package__ or "")}
    services = (each.who for each in trusted if each.kind is TrustKind.SERVICE)
    return tuple(dict.fromkeys(names[service] for service in services if service in names))


def _callers(statement: Mapping[str, object]) -> Iterator[Trusted]:
    principal = statement.get("Principal")
    if principal == "*":
        yield Trusted(TrustKind.ANYBODY, "*")
    if not isinstance(principal, Mapping):
        return
    for who in _texts(principal.get("AWS")):
        yield Trusted(TrustKind.ANYBODY if who == "*" else TrustKind.PRINCIPAL, who)
    for who in _texts(principal.get("Service")):
        # codebuild.amazonaws.com, in China with .cn behind it
        yield Trusted(TrustKind.CODEBUILD if who.startswith("codebuild.") else TrustKind.SERVICE, who)
    for who in _texts(principal.get("Federated")):
        kind = TrustKind.GITHUB if who.rpartition("oidc-provider/")[2] == GITHUB else TrustKind.FEDERATED
        yield Trusted(kind, who, tuple(_subjects(statement, who)))


def _subjects(statement: Mapping[str, object], provider: str) -> Iterator[str]:
    conditions = statement.get("Condition")
    name = provider.rpartition("oidc-provider/")[2]
    for operator, keys in conditions.items() if isinstance(conditions, Mapping) else ():
        if isinstance(keys, Mapping) and "Not" not in str(operator):
            for key, values in keys.items():
                if str(key).lower() == f"{name}:sub".lower():
                    yield from _texts(values)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _texts(value: object) -> list[str]:
    return [each for each in _listed(value) if isinstance(each, str)]
