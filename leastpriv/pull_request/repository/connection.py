"""One repository on GitHub, seen with one token: who we are there, and how long we wait for an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from leastpriv.pull_request.github_errors import explained

if TYPE_CHECKING:
    from github import Github
    from github.Repository import Repository

_TRIES = 5
_LONGEST_WAIT = 120
"""Seconds. PyGithub would sleep until a rate limit's reset, up to an hour of a paid job: beyond this we stop."""
_SECONDARY_WAIT = 60
"""Seconds to wait at a secondary rate limit without `Retry-After`: "at least one minute" (docs.github.com,
"Rate limits for the REST API", read 2026-11)."""


class Connection:
    """A repository and the login of the token's owner."""

    def __init__(self, repository: Repository, web_url: str, sleep: Callable[[float], None]) -> None:
        self.repository = repository
        self.web_url = web_url
        self.sleep = sleep
        self._own_login = ""

    @classmethod
    def open(
        cls,
        token: str,
        full_name: str,
        *,
        api_url: str,
        web_url: str,
        sleep: Callable[[float], None],
    ) -> Connection:
        """Connects to `owner/name`; `api_url` is the base of the REST API, on GHES `https://HOST/api/v3`.

        Raises:
            PullRequestError: the token is refused, or the repository is not to be found with it.
        """
        client = _client(token, api_url, sleep)
        with explained(f"reading the repository {full_name}"):
            return cls(client.get_repo(full_name), web_url, sleep)

    @property
    def owner(self) -> str:
        """Login of the repository's owner."""
        return self.repository.full_name.partition("/")[0]

    @property
    def login(self) -> str:
        """Whose token it is; asked of GitHub once.

        Raises:
            PullRequestError: GitHub does not say it.
        """
        if not self._own_login:
            self._own_login = self._viewer()
        return self._own_login

    def is_me(self, login: str) -> bool:
        """Whether the token belongs to this login.

        Raises:
            PullRequestError: as `login`.
        """
        return login == self.login

    def may_be_ours(self, login: str) -> bool:
        """Whether a login may be ours, now or before the token was changed: itself, or that of a bot."""
        return is_bot(login) or self.is_me(login)

    def _viewer(self) -> str:
        from github import GithubException

        with explained("asking whose token this is"):
            try:
                _, answer = self.repository.requester.graphql_query("query { viewer { login } }", {})
                return str(answer["data"]["viewer"]["login"])
            except (GithubException, KeyError, TypeError):
                # A guess would take our own branch for a stranger's, or the other way round.
                _, user = self.repository.requester.requestJsonAndCheck("GET", "/user")
                return str(user["login"])


def is_bot(login: str) -> bool:
    """Whether a login is an app's, as that of `GITHUB_TOKEN` is."""
    return login.endswith("[bot]")


def _client(token: str, api_url: str, sleep: Callable[[float], None]) -> Github:
    from github import Auth, Github
    from github.GithubException import RateLimitExceededExceedsMaxWait
    from github.GithubRetry import GithubRetry

    for name in ("github", "urllib3"):
        # PyGithub prints to standard error once imported, and urllib3 warns there: text of others, past our one door.
        logging.getLogger(name).setLevel(logging.CRITICAL)

    class Patience(GithubRetry):
        """PyGithub's own retries (5xx, rate limits), with an end to each wait."""

        def increment(
            self,
            method: str | None = None,
            url: str | None = None,
            response: Any = None,
            *rest: Any,
            **named: Any,
        ) -> Any:
            asked = self.get_retry_after(response) if response is not None else None
            if response is not None and asked is not None and asked > _LONGEST_WAIT:
                body = {"message": f"rate limit, to be tried again in {asked:.0f} seconds"}
                raise RateLimitExceededExceedsMaxWait(response.status, body, dict(response.headers), wait=asked)
            return super().increment(method, url, response, *rest, **named)

        def sleep(self, response: Any = None) -> None:
            asked = self.get_retry_after(response) if response is not None else None
            sleep(min(asked if asked is not None else self.get_backoff_time(), _LONGEST_WAIT))

    return Github(
        auth=Auth.Token(token),
        base_url=api_url,
        # PyGithub pauses a second between writes. GitHub asks for that from those who make "a large number" of them
        # (docs.github.com, "Best practices for using the REST API", read 2026-11); a run makes ten at most.
        seconds_between_requests=0,
        seconds_between_writes=0,
        retry=Patience(
            total=_TRIES,
            backoff_factor=1,
            secondary_rate_wait=_SECONDARY_WAIT,
            max_rate_limit_wait=_LONGEST_WAIT,
            status_forcelist=[429, 500, 502, 503, 504],
            # PyGithub's own list lacks PATCH, which edits and moves.
            allowed_methods=["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"],
            # Once all tries are spent the last answer counts, with its status and words.
            raise_on_status=False,
        ),
        per_page=100,
        lazy=False,
    )
