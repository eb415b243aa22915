"""Connects to a repository with bounded waits; turns errors of GitHub into sentences with a
remedy.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from math import ceil
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from leastpriv.errors import PullRequestError, plural

if TYPE_CHECKING:
    from github import Github, GithubException
    from github.GithubObject import GithubObject
    from github.PaginatedList import PaginatedList
    from github.Repository import Repository


_PROTECTION_MESSAGE = re.compile(
    "protected|must be made through a pull request|rule violations", re.IGNORECASE
)
"""Answers of branch protection and rulesets to a move (docs.github.com, "About protected branches",
read 2026-11).
"""


_WRITE_PERMISSIONS = ("admin", "write")
"""Answers of GitHub for people with write permission; `maintain` is returned as `write`, `triage`
as `read` (docs.github.com, "Get repository permissions for a user", read 2026-11-26)."""
ACTIONS_BOT = "github-actions[bot]"
"""Login of the token that GitHub gives the jobs of a repository."""


_log = logging.getLogger(__name__)


class CreationForbiddenError(PullRequestError):
    """The token may not create pull requests; the branch exists, and `manual_url` is where a person
    opens one.
    """

    def __init__(self, message: str, manual_url: str) -> None:
        super().__init__(message)
        self.manual_url = manual_url


_Found = TypeVar("_Found")
_Element = TypeVar("_Element", bound="GithubObject")
PAGE = 100
"""Entries in one answer of GitHub."""


class DeadlineError(Exception):
    """GitHub takes longer than a run waits for it."""

    def __init__(self, *, is_rate_limit: bool) -> None:
        super().__init__()
        self.is_rate_limit = is_rate_limit


def found_or(read: Callable[[], _Found], missing: _Found) -> _Found:
    """Returns what `read` returns; `missing` where GitHub answers that the object does not
    exist.
    """
    from github import UnknownObjectException

    try:
        return read()
    except UnknownObjectException:
        return missing


@contextmanager
def translate_github_errors(doing: str) -> Iterator[None]:
    """Turns errors of GitHub while `doing` something (a gerund) into a PullRequestError."""
    from github import GithubException

    try:
        yield
    except GithubException as error:
        raise PullRequestError(error_sentence(doing, error)) from error
    except DeadlineError as error:
        what = (
            "GitHub's rate limit was reached"
            if error.is_rate_limit
            else "GitHub took too long to answer"
        )
        raise PullRequestError(f"{what} while {doing}: run again later.") from error
    except OSError as error:
        raise PullRequestError(
            f"GitHub could not be reached while {doing}: {type(error).__name__}."
        ) from error


def error_sentence(doing: str, error: GithubException) -> str:
    """Returns the sentence for an error of GitHub."""
    message = _message_of(error)
    match error.status:
        case 401:
            return f"GitHub rejected the token while {doing}: check the input github-token."
        case 403 if "not accessible" in message:
            permissions = _required_permissions(doing)
            return (
                f"The token may not do this ({doing}: {message}): the job needs `permissions:"
                f" {permissions}`."
            )
        case 403 | 422 if _PROTECTION_MESSAGE.search(message):
            return (
                f"GitHub protects the branch ({doing}: {message}): name another in the input"
                " branch."
            )
        case 404 if doing.startswith("reading the repository"):
            return (
                f"GitHub has no such repository for this token ({doing}): check the input"
                " github-token."
            )
        case 403 if "rate limit" in message.lower():
            return _rate_limit_sentence(doing, error)
        case 429:
            return _rate_limit_sentence(doing, error)
    explanation = f": {message}" if message else ""
    return f"GitHub answered {error.status} while {doing}{explanation}."


def _message_of(error: GithubException) -> str:
    """Returns GitHub's own sentence without its full stop; empty where the answer has none."""
    if not isinstance(error.data, dict):
        return ""
    return str(error.data.get("message", "")).rstrip(".")


def _rate_limit_sentence(doing: str, error: GithubException) -> str:
    """Returns the sentence for a rate limit, with the time to wait where it is known."""
    wait = getattr(error, "wait", None)
    again = f"run again in {_duration(wait)}" if wait else "run again later"
    return f"GitHub's rate limit was reached while {doing}: {again}."


def _duration(seconds: float) -> str:
    """Returns a time to wait in words, rounded up."""
    if seconds <= _SECONDS_IN_WORDS:
        return plural(ceil(seconds), "second")
    return plural(ceil(seconds / 60), "minute")


def _required_permissions(doing: str) -> str:
    """Returns the permissions that the job lacks for the denied request."""
    if doing.startswith(("commenting", "taking a label", "editing #", "closing #", "reading #")):
        return "pull-requests: write"
    if doing == "keeping the issue":
        return "issues: write"
    if doing.startswith("writing the branch"):
        return "contents: write"
    if doing.startswith("listing"):
        return "pull-requests: read"
    return "contents: write, pull-requests: write"


_SECONDS_IN_WORDS = 120
"""Longer waits are said in minutes."""
_MAX_TRIES = 5
_MAX_WAIT = 120
"""Seconds. PyGithub would sleep until the rate limit resets, up to an hour of a paid job; a longer
wait ends the run.
"""
_SECONDARY_WAIT = 60
"""Seconds to wait at a secondary rate limit without `Retry-After`: "at least one minute"
(docs.github.com, "Rate limits for the REST API", read 2026-11)."""


_MAX_TOTAL = 180.0
"""Seconds that a run spends on all slow requests to GitHub together, pauses included."""
_PROMPT = 5.0
"""Seconds of a request that is not slow: two hundred targets send thousands."""
_MAX_REQUEST = 90.0
"""Seconds of one request with its repetitions: a server that answers byte by byte never exceeds a
socket's timeout.
"""


class RequestDeadline:
    """Limits the time of each request, and of all slow requests of a run together."""

    def __init__(
        self, sleep: Callable[[float], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.sleep, self._clock = sleep, clock
        self._spent = 0.0
        self._started = 0.0
        self._is_rate_limit = False

    def limited(self, request: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a request that raises `DeadlineError` in place of taking longer."""

        def within_deadline(*arguments: Any, **named: Any) -> Any:
            """Sends one request in a thread, and raises DeadlineError where the time of all
            requests is over.
            """
            self._started, self._is_rate_limit = self._clock(), False
            answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

            def ask() -> None:
                try:
                    answers.put((request(*arguments, **named), None))
                except BaseException as error:  # raised again in the thread of the caller
                    answers.put((None, error))

            # A thread that waits for a server cannot be ended; it ends with the process.
            Thread(target=ask, daemon=True).start()
            try:
                answer, error = answers.get(timeout=max(self._left(), 0.001))
            except Empty:
                raise DeadlineError(is_rate_limit=self._is_rate_limit) from None
            finally:
                took = self._clock() - self._started
                self._spent += took if took > _PROMPT else 0.0
            if error:
                raise error
            return answer

        return within_deadline

    def pause(self, seconds: float, *, is_rate_limit: bool) -> None:
        """Sleeps before a repetition."""
        self._is_rate_limit = is_rate_limit
        if seconds > self._left():
            raise DeadlineError(is_rate_limit=is_rate_limit)
        if is_rate_limit:
            _log.info(f"GitHub's rate limit is reached: this run waits {_duration(seconds)}.")
        self.sleep(seconds)

    def _left(self) -> float:
        seconds_used = self._clock() - self._started
        return min(_MAX_REQUEST - seconds_used, _MAX_TOTAL - self._spent - seconds_used)


class Connection:
    """A repository, and the login of the token's owner."""

    def __init__(
        self, repository: Repository, web_url: str, sleep: Callable[[float], None]
    ) -> None:
        self.repository = repository
        self.web_url = web_url
        self.sleep = sleep
        self._writers: dict[str, bool] = {}

    @classmethod
    def open(
        cls, token: str, full_name: str, *, api_url: str, web_url: str, deadline: RequestDeadline
    ) -> Connection:
        """Connects to `owner/name`; `api_url` is the base of the REST API, on GHES
        `https://HOST/api/v3`.
        """
        client = _client(token, api_url, deadline)
        with translate_github_errors(f"reading the repository {full_name}"):
            return cls(client.get_repo(full_name), web_url, deadline.sleep)

    @property
    def owner(self) -> str:
        """Login of the repository's owner."""
        return self.repository.full_name.partition("/")[0]

    @cached_property
    def login(self) -> str:
        """Login of the token's owner."""
        from github import GithubException

        with translate_github_errors("asking whose token this is"):
            try:
                _, answer = self.repository.requester.graphql_query(
                    "query { viewer { login } }", {}
                )
                return str(answer["data"]["viewer"]["login"])
            except (GithubException, KeyError, TypeError):
                # A guess could take the program's branch for a person's, or the reverse.
                _, user = self.repository.requester.requestJsonAndCheck("GET", "/user")
                return str(user["login"])

    def is_own_login(self, login: str) -> bool:
        """Whether the token belongs to this login."""
        return login == self.login

    def may_be_own_login(self, login: str) -> bool:
        """Whether this program may have used the login, now or with an earlier token: it is the
        token's, or a bot's.
        """
        return is_bot(login) or self.is_own_login(login)

    def may_write(self, login: str) -> bool:
        """Whether a login is that of a person with write permission; requested once for each."""
        if login not in self._writers:
            self._writers[login] = self._has_write_permission(login)
        return self._writers[login]

    def _has_write_permission(self, login: str) -> bool:
        if not login or is_bot(login):
            return False
        repository = self.repository
        return found_or(
            lambda: repository.get_collaborator_permission(login) in _WRITE_PERMISSIONS, False
        )


def pages_of(listed: PaginatedList[_Element]) -> Iterator[list[_Element]]:
    """Yields the pages of a list; PyGithub's own iteration keeps all of them in memory."""
    number = 0
    while True:
        page = listed.get_page(number)
        yield page
        if len(page) < PAGE:
            return
        number += 1


def utc(time: datetime) -> datetime:
    """Returns a time of PyGithub as an aware one."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def is_bot(login: str) -> bool:
    """Whether a login is that of an app, as with `GITHUB_TOKEN`."""
    return login.endswith("[bot]")


def _client(token: str, api_url: str, deadline: RequestDeadline) -> Github:
    from github import Auth, Github
    from github.GithubException import RateLimitExceededExceedsMaxWait
    from github.GithubRetry import GithubRetry

    for name in ("github", "urllib3"):
        # PyGithub prints to standard error once imported, and urllib3 warns there: untrusted text
        # that the console would not escape.
        logging.getLogger(name).setLevel(logging.CRITICAL)

    class Patience(GithubRetry):
        """Retries as PyGithub does (5xx, rate limits), with a limit for each wait."""

        def increment(
            self,
            method: str | None = None,
            url: str | None = None,
            response: Any = None,
            *rest: Any,
            **named: Any,
        ) -> Any:
            """Counts a retry; raises where GitHub asks to wait for longer than `_MAX_WAIT`."""
            retry_after = self.get_retry_after(response) if response is not None else None
            if response is not None and retry_after is not None and retry_after > _MAX_WAIT:
                body = {"message": f"rate limit, to be tried again in {retry_after:.0f} seconds"}
                raise RateLimitExceededExceedsMaxWait(
                    response.status, body, dict(response.headers), wait=retry_after
                )
            return super().increment(method, url, response, *rest, **named)

        def sleep(self, response: Any = None) -> None:
            retry_after = self.get_retry_after(response) if response is not None else None
            seconds = min(
                retry_after if retry_after is not None else self.get_backoff_time(), _MAX_WAIT
            )
            deadline.pause(
                seconds, is_rate_limit=response is not None and response.status in (403, 429)
            )

    client = Github(
        auth=Auth.Token(token),
        base_url=api_url,
        # PyGithub pauses a second between writes. GitHub asks for that from clients that make "a
        # large number" of them (docs.github.com, "Best practices for using the REST API", read
        # 2026-11); a run makes ten at most.
        seconds_between_requests=0,
        seconds_between_writes=0,
        retry=Patience(
            total=_MAX_TRIES,
            backoff_factor=1,
            secondary_rate_wait=_SECONDARY_WAIT,
            max_rate_limit_wait=_MAX_WAIT,
            status_forcelist=[429, 500, 502, 503, 504],
            # PyGithub's list lacks PATCH, which edits and moves.
            allowed_methods=["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"],
            # After the last try, its answer counts, with status and text.
            raise_on_status=False,
        ),
        per_page=PAGE,
        lazy=False,
    )
    requester = client.requester
    # All other requests of PyGithub go through this one.
    requester.requestJson = deadline.limited(requester.requestJson)  # type: ignore[method-assign]
    return client
