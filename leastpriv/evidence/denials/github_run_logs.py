"""Fetches the job logs of one attempt of a workflow run from GitHub's API: the only module that uses `requests`.

Jobs: "List jobs for a workflow run attempt"; a log: "Download job logs for a workflow run", which answers 302 with an
address that is valid for a minute and needs no token (docs.github.com, REST API, "Workflow jobs", read 2026-11). The
archive of the whole run is 404 while the run is in progress, so the log of each finished job is requested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from leastpriv.evidence.denials.job_logs import CHUNK, LoggedDenial, distinct_denials, read_log
from leastpriv.evidence.denials.logged_usage import LoggedDenials
from leastpriv.models import Gap, GapKind, Run, Scope

if TYPE_CHECKING:
    from requests import PreparedRequest, Response


LARGEST_LOG = 512 * 1024**2
"""Most bytes of one log that are read."""
_MOST_PAGES = 10
_PER_PAGE = 100
_TRIES = 3
_LONGEST_WAIT = 60
"""In seconds: a longer rate limit is a gap, instead of an hour of a paid job."""
_TIMEOUT = (10, 60)
_NOT_READABLE = "the job's token may not read them: it needs `permissions: actions: read`"


class _UnreadError(Exception):
    """A log, or the list of jobs, could not be fetched; the message ends a sentence."""


class WorkflowRunLogs(Struct, frozen=True):
    """Fetches the logs of a workflow run."""

    api_url: str
    """Base of the REST API, on GHES `https://HOST/api/v3`."""
    repository: str
    """`owner/name`"""
    run_id: str
    attempt: str
    token: str
    sleep: Callable[[float], None]
    largest: int = LARGEST_LOG

    def read(self) -> LoggedDenials:
        """Reads the distinct denials in the logs of the finished jobs; failures are gaps. Never raises.

        A job in progress, such as the current one, has no log yet, and a skipped job never has one.
        """
        gaps: list[Gap] = []
        try:
            jobs = [*self._jobs(gaps)]
        except _UnreadError as error:
            return LoggedDenials(gaps=(_gap(f"the jobs of run {self.run_id}", str(error)),))
        read = [job for job in jobs if job.get("status") == "completed" and job.get("conclusion") != "skipped"]
        found, more = distinct_denials(one for job in read for one in self._refusals(job, gaps))
        gaps.extend([_gap(f"run {self.run_id}", f"only the first {len(found):,} denials count")] if more else [])
        return LoggedDenials(tuple(found), tuple(gaps), _span(self.run_id, read))

    def _jobs(self, gaps: list[Gap]) -> Iterator[Mapping[str, object]]:
        path = f"/repos/{self.repository}/actions/runs/{self.run_id}/attempts/{self.attempt}/jobs"
        for page in range(1, _MOST_PAGES + 1):
            answer = self._ask(f"{path}?per_page={_PER_PAGE}&page={page}")
            try:
                told = answer.json()
            except (ValueError, OSError, RecursionError):
                raise _UnreadError("GitHub's response was cut off or is not JSON") from None
            jobs = told.get("jobs") if isinstance(told, dict) else None
            if not isinstance(jobs, list):
                raise _UnreadError("GitHub's answer holds no jobs")
            yield from (job for job in jobs if isinstance(job, dict))
            if len(jobs) < _PER_PAGE:
                return
        gaps.append(_gap(f"run {self.run_id}", f"only the first {_MOST_PAGES * _PER_PAGE:,} jobs are read"))

    def _refusals(self, job: Mapping[str, object], gaps: list[Gap]) -> Iterator[LoggedDenial]:
        """Yields the denials of one log, as far as it can be fetched."""
        name = str(job.get("name") or job.get("id"))
        try:
            answer = self._ask(f"/repos/{self.repository}/actions/jobs/{job.get('id')}/logs")
            body = _Body(self._stored(answer), self.largest)
            yield from read_log(body, name)
            if body.is_cut:
                gaps.append(_gap(name, f"only its first {self.largest:,} bytes are read"))
        except _UnreadError as error:
            gaps.append(_gap(name, str(error)))
        except (OSError, ValueError) as error:  # errors of `requests` are OSErrors, but it also lets others through
            gaps.append(_gap(name, f"its log was cut off ({type(error).__name__})"))

    def _ask(self, path: str) -> Response:
        """Returns the API's answer: 200, or a redirection, which is not followed because it would receive the token."""
        return self._tried(f"{self.api_url}{path}", with_token=True)

    def _stored(self, answer: Response) -> Response:
        """Fetches the log from its storage."""
        if not answer.is_redirect:
            return answer
        address = answer.headers["Location"]
        if _scheme(address) not in {"https", urlsplit(self.api_url).scheme}:
            raise _UnreadError("GitHub says that it is stored at no web address")
        return self._tried(address, with_token=False)

    def _tried(self, address: str, *, with_token: bool) -> Response:
        for left in reversed(range(_TRIES)):
            try:
                answer = self._get(address, with_token=with_token)
            except OSError as error:
                trouble, wait = f"GitHub could not be reached ({type(error).__name__})", 1.0
            except ValueError:
                # `requests` parses the address of a redirection even where it is not followed.
                trouble, wait = "GitHub names an address that is none", -1.0
            else:
                if answer.status_code == 200 or (with_token and answer.is_redirect):
                    return answer
                trouble, wait = _trouble(answer, with_token=with_token)
                answer.close()
            if not left or wait < 0 or wait > _LONGEST_WAIT:
                break
            self.sleep(wait * (_TRIES - left))
        raise _UnreadError(trouble)

    def _get(self, address: str, *, with_token: bool) -> Response:
        import requests

        def authorised(request: PreparedRequest) -> PreparedRequest:
            # Always set, even without effect: otherwise `requests` would send the credentials of the host in ~/.netrc.
            if with_token:
                request.headers["Authorization"] = f"Bearer {self.token}"
            return request

        headers = {"Accept": "application/vnd.github+json"} if with_token else {}
        return requests.get(
            address, headers=headers, auth=authorised, timeout=_TIMEOUT, allow_redirects=False, stream=True
        )


class _Body:
    """The body of an answer, at most `largest` bytes of it."""

    def __init__(self, answer: Response, largest: int) -> None:
        self._chunks = answer.iter_content(CHUNK)
        self._left = largest
        self.is_cut = False

    def read(self, size: int, /) -> bytes:  # noqa: ARG002 - the interface of a stream
        """Returns the next bytes; empty at the end, or where the rest is not read."""
        chunk: bytes = next(self._chunks, b"")
        self.is_cut = self.is_cut or len(chunk) > self._left
        chunk = chunk[: self._left]
        self._left -= len(chunk)
        return chunk


def _trouble(answer: Response, *, with_token: bool) -> tuple[str, float]:
    """Why an answer cannot be used, and the seconds until the next attempt; negative: never."""
    status, headers = answer.status_code, answer.headers
    asked = headers.get("Retry-After", "")
    if status in (403, 429) and (asked or headers.get("X-RateLimit-Remaining") == "0" or status == 429):
        return "GitHub's rate limit was reached", float(asked) if asked.isdigit() else -1
    if status in (401, 403) and not with_token:
        return f"the store of the log answered {status}", -1
    if status == 401:
        return "GitHub rejected the token (input github-token)", -1
    if status == 403:
        return _NOT_READABLE, -1
    if status in (404, 410):
        return "GitHub has none, or it has expired", -1
    return f"GitHub answered {status}", 1 if status >= 500 else -1


def _scheme(address: str) -> str:
    """Empty where it is not an address."""
    try:
        return urlsplit(address).scheme
    except ValueError:
        return ""


def _gap(name: str, trouble: str) -> Gap:
    return Gap(GapKind.UNREADABLE_LOG, Scope(), f"{name}: {trouble}")


def _span(run_id: str, jobs: list[Mapping[str, object]]) -> Run | None:
    """Returns the run with the times of its finished jobs."""
    times = [time for job in jobs for key in ("started_at", "completed_at") if (time := _time(job.get(key)))]
    return Run(run_id, run_id, min(times), max(times)) if times else None


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return time.replace(tzinfo=time.tzinfo or UTC) if time else None
