"""Reads the identity behind a run's keys: the subject of a token that GitHub issued to a job."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from msgspec import Struct

from leastpriv.models import Origin, RunOrigin, WebIdentity

BY_LOGIN = "branch by login, workflow run unknown"
"""Mark of an origin whose commit is not known."""
_OIDC_PROVIDER = re.compile(r"\Aarn:[a-z-]+:iam::[0-9]{12}:oidc-provider/")
_NUMBER = re.compile(r"@[0-9]+(?=/|\Z)")
_GITHUB_PROVIDER = "token.actions.githubusercontent.com"
_SERVER_PROVIDER = "/_services/token"
"""Identity providers of github.com and its enterprises, and of GitHub Enterprise Server
(docs.github.com, "OpenID Connect reference", read 2026-11-27)."""
_ENVIRONMENT = "environment:"
_BRANCH = "refs/heads/"


class GitHubLogin(Struct, frozen=True):
    """The subject of a token that GitHub issued to a workflow's job."""

    repository: str
    """`octo/shop`; empty where the repository's own form of subjects hides it."""
    ref: str = ""
    """`refs/heads/main`; empty where the subject has no ref, as with an environment."""
    environment: str = ""
    """Name of the job's environment; empty where the subject has none."""
    is_pull_request: bool = False
    ids: tuple[str, ...] = ()
    """`@ID` of the owner and of the repository, where the subject has them: a later owner of the
    names has others.
    """

    @classmethod
    def of(cls, identity: WebIdentity, web_url: str = "https://github.com") -> GitHubLogin | None:
        """Parses the identity of a token; None where another provider issued it.

        `repo:OWNER/NAME:ref:REF` or `repo:OWNER@ID/NAME@ID:ref:REF`, `…:environment:NAME`,
        `…:pull_request`; GitHub encodes a colon in a value ("OpenID Connect reference", read
        2026-11-27).
        """
        provider = _OIDC_PROVIDER.sub("", identity.provider)
        server = web_url.partition("://")[2].rstrip("/") + _SERVER_PROVIDER
        if provider.partition("/")[0] != _GITHUB_PROVIDER and provider != server:
            return None
        parts = identity.subject.split(":")
        values = dict(zip(parts[::2], parts[1::2], strict=False))
        repository = values.get("repo", "")
        return cls(
            repository=_NUMBER.sub("", repository),
            ref=values.get("ref", ""),
            environment=values.get("environment", ""),
            is_pull_request="pull_request" in parts[::2] or _is_of_pull_request(values),
            ids=tuple(_NUMBER.findall(repository)),
        )

    @property
    def branch(self) -> str:
        """Name of the branch; empty for a tag."""
        return self.ref.removeprefix(_BRANCH) if self.ref.startswith(_BRANCH) else ""

    @property
    def ref_name(self) -> str:
        """Name of the branch or tag, as a workflow run has it."""
        return self.ref.removeprefix(_BRANCH).removeprefix("refs/tags/")


def _is_of_pull_request(values: dict[str, str]) -> bool:
    """Whether the ref of a subject is the merge commit or the head of a pull request."""
    return values.get("ref", "").startswith("refs/pull/")


def names_ref(patterns: Iterable[str], ref: str) -> bool:
    """Whether one of `reviewed-refs` names a full ref: `main` and `release/*` are branches."""
    for pattern in patterns:
        if pattern.startswith(_ENVIRONMENT):
            continue
        full_pattern = pattern if pattern.startswith("refs/") else _BRANCH + pattern
        if fnmatchcase(ref, full_pattern):
            return True
    return False


def names_environment(patterns: Iterable[str], environment: str) -> bool:
    """Whether one of `reviewed-refs` names an environment, as `environment:production`."""
    names = (
        pattern.removeprefix(_ENVIRONMENT)
        for pattern in patterns
        if pattern.startswith(_ENVIRONMENT)
    )
    return any(fnmatchcase(environment, name) for name in names)


def reviewed_by_name(login: GitHubLogin, patterns: Iterable[str]) -> RunOrigin | None:
    """Returns the origin of a login whose ref or environment `reviewed-refs` names, else None."""
    refs = tuple(patterns)
    if login.environment and names_environment(refs, login.environment):
        return RunOrigin(Origin.REVIEWED, f"the environment {login.environment}")
    if login.ref and names_ref(refs, login.ref):
        return RunOrigin(Origin.REVIEWED, login.ref_name, BY_LOGIN)
    return None


def origin_without_github(
    identity: WebIdentity, repository: str, base: str, patterns: Iterable[str]
) -> RunOrigin | None:
    """Returns the origin that the login of a run shows without a question to GitHub, else None.

    Args:
        identity: the login.
        repository: `octo/shop`, the repository of the target; empty where it is not known.
        base: the base branch; empty where it is not known.
        patterns: the input `reviewed-refs`.
    """
    login = GitHubLogin.of(identity)
    if login is None:
        return None
    if login.is_pull_request:
        return RunOrigin(Origin.UNREVIEWED, "a login of a pull request")
    if repository and login.repository and login.repository.lower() != repository.lower():
        return RunOrigin(Origin.UNREVIEWED, f"a login of the repository {login.repository}")
    reviewed = (*patterns, base) if base else tuple(patterns)
    origin = reviewed_by_name(login, reviewed)
    if origin or not base or not login.branch:
        return origin
    return RunOrigin(Origin.UNREVIEWED, f"the branch {login.branch}, which is not reviewed")
