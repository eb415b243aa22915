"""One repository on GitHub, seen with one token: who we are there, and how long we wait for an answer.

What GitHub refuses, as one sentence with the way out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from leastpriv.errors import PullRequestError

if TYPE_CHECKING:
    from github import Github, GithubException
    from github.Repository import Repository


_PROTECTED = re.compile("protected|must be made through a pull request|rule violations", re.IGNORECASE)
"""What branch protection and rulesets answer to a move (docs.github.com, "About protected branches", read 2026-11)."""


class CreationForbiddenError(PullRequestError):
    """The token may not create pull requests: the branch stays; `link` is where a person does it by hand."""

    def __init__(self, message: str, link: str) -> None:
        super().__init__(message)
        self.link = link


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turns refusals while `doing` something (a gerund) into a PullRequestError."""
    from github import GithubException

    try:
        yield
    except GithubException as error:
        raise PullRequestError(sentence(doing, error)) from error
    except OSError as error:
        raise PullRequestError(f"GitHub could not be reached while {doing}: {type(error).__name__}.") from error


def sentence(doing: str, error: GithubException) -> str:
    """The sentence of one refusal."""
    said = str(error.data.get("message", "")).rstrip(".") if isinstance(error.data, dict) else ""
    if error.status == 401:
        return f"GitHub refused the token while {doing}: check the input github-token."
    if error.status == 403 and "not accessible" in said:
        return f"The token may not do this ({doing}: {said}): the job needs `permissions: {_needed(doing)}`."
    if error.status in (403, 422) and _PROTECTED.search(said):
        return f"GitHub protects the branch ({doing}: {said}): name another in the input branch."
    if error.status == 404 and doing.startswith("reading the repository"):
        return f"GitHub has no such repository for this token ({doing}): check the input github-token."
    if error.status in (403, 429) and "rate limit" in said.lower():
        return f"GitHub's rate limit was reached while {doing}: run again later."
    return f"GitHub answered {error.status} while {doing}{': ' + said if said else ''}."


def _needed(doing: str) -> str:
    """Permissions of the job for something that was refused."""
    if doing.startswith(("commenting", "taking a label", "editing #", "closing #", "reading #")):
        return "pull-requests: write"
    if doing == "keeping the issue":
        return "issues: write"
    if doing.startswith("writing the branch"):
        return "contents: write"
    if doing.startswith("listing"):
        return "pull-requests: read"
    return "contents: write, pull-requests: write"


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
