"""Fetches the job logs of one attempt of a workflow run, and adds the denials in job logs to the
evidence.

Only this module uses `requests`. Jobs: "List jobs for a workflow run attempt"; a log: "Download job
logs for a workflow run", which answers 302 with an address that is valid for a minute and needs no
token (docs.github.com, REST API, "Workflow jobs", read 2026-11). The archive of the whole run is
404 while the run is in progress, so the log of each finished job is requested.

A log is untrusted: every program of a job writes into it. Its denials are marked (`Denial.log`),
and `proposal/additions.py` decides which of them may be written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import Window, principal_of, same_principal, session_of
from leastpriv.aws.session_names import is_rehearsal, workflow_run_id
from leastpriv.budget import Budget
from leastpriv.denials.encoded_message import NO_DECODER, Decoder
from leastpriv.denials.job_logs import (
    CHUNK,
    LoggedDenial,
    distinct_denials,
    log_budget,
    read_log,
)
from leastpriv.denials.needs import as_rehearsal_denial, logged_needs
from leastpriv.denials.resource import fill_hidden_parts, has_hidden_part, resource_arn
from leastpriv.evidence.models import Evidence
from leastpriv.models import (
    Basis,
    Denial,
    DeniedBy,
    Gap,
    GapKind,
    Need,
    Outcome,
    Permission,
    Run,
    Scope,
    Usage,
)
from leastpriv.permissions.lifecycle import next_actions
from leastpriv.permissions.patterns import resource_matches, unescape

if TYPE_CHECKING:
    from requests import PreparedRequest, Response


class LoggedDenials(Struct, frozen=True):
    """The denials in some logs."""

    denials: tuple[LoggedDenial, ...] = ()
    """Each distinct denial once."""
    gaps: tuple[Gap, ...] = ()
    run: Run | None = None
    """The workflow run of the jobs; None: unknown."""


def add_job_logs(
    evidence: Evidence,
    logs: Sequence[LoggedDenials],
    window: Window,
    read_at: datetime,
    decoder: Decoder = NO_DECODER,
) -> Evidence:
    """Adds denied usages, gaps and workflow runs from logs to the evidence.

    A denial in a line without a time counts as seen at `read_at`. One that CloudTrail recorded for
    the same action and resource is left out. `decoder` decodes EC2's messages.
    """
    usages: dict[_UsageKey, Usage] = {}
    gaps = Counter[Gap]()
    for job_log in logs:
        for gap in job_log.gaps:
            gaps[gap] += gap.count
    recorded = {usage.need.permission for usage in evidence.usages if usage.denial}
    allowed_resources = _allowed_resources(evidence)
    for job_log in logs:
        for logged in job_log.denials:
            if logged.time and not window.contains(logged.time):
                continue
            decoded = decoder.decoded(logged.denial)
            denial = _with_location(logged, decoded, evidence, job_log.run)
            open_gap = _left_open(denial, evidence.principal, decoder.trouble)
            if open_gap:
                gaps[open_gap] += 1
                continue
            for need in _needs(denial, evidence.principal, allowed_resources):
                key = _UsageKey(
                    permission=need.permission,
                    denied_by=denial.denied_by,
                    is_mendable=denial.mendable,
                    has_principal=bool(denial.principal),
                )
                if need.permission not in recorded and key not in usages:
                    usages[key] = _usage(need, denial, logged, job_log.run, read_at)
    all_usages = sorted(
        (*evidence.usages, *usages.values()),
        key=lambda usage: (usage.need.permission, usage.outcome, usage.need.derivation),
    )
    return replace(
        evidence,
        usages=tuple(all_usages),
        gaps=(*evidence.gaps, *(replace(gap, count=count) for gap, count in gaps.items())),
        logged_runs=tuple(job_log.run for job_log in logs if job_log.run),
    )


class _UsageKey(NamedTuple):
    """Of the denials in logs that are equal in this, the first is a usage."""

    permission: Permission
    denied_by: DeniedBy
    is_mendable: bool
    has_principal: bool


def _allowed_resources(evidence: Evidence) -> set[str]:
    """Returns the ARNs that allowed calls used: the part of an ARN that a log hides, as in
    `arn:aws:s3:::***-data`, is that of one of them.
    """
    resources: set[str] = set()
    for usage in evidence.usages:
        resource = usage.need.permission.resource
        if usage.denial is None and usage.need.exact and resource.startswith("arn:"):
            resources.add(resource)
    return resources


def _with_location(
    logged: LoggedDenial, denial: Denial, evidence: Evidence, run: Run | None
) -> Denial:
    """Adds the location to a denial, and a missing principal from an equal denial in CloudTrail of
    the same run.
    """
    denial = replace(denial, log=f"{logged.file}:{logged.line}")
    if denial.principal:
        return as_rehearsal_denial(denial, rehearsed=is_rehearsal(session_of(denial.principal)))
    return (
        replace(denial, principal=evidence.principal)
        if _is_corroborated(denial, evidence, run)
        else denial
    )


def _is_corroborated(denial: Denial, evidence: Evidence, run: Run | None) -> bool:
    """Whether CloudTrail has a denial of the principal in the same workflow run, for the same
    action and resource.
    """
    denied_actions = {action.lower() for action in denial.actions}
    return run is not None and any(
        usage.denial is not None
        and (usage.denial.mendable or usage.denial.denied_by is DeniedBy.UNKNOWN)
        and usage.need.permission.action.lower() in denied_actions
        and any(workflow_run_id(usage_run) == run.id for usage_run in usage.runs)
        and _agree(denial.resource, usage.need.permission.resource, evidence.principal)
        for usage in evidence.usages
    )


def _agree(logged: str, recorded: str, principal: str) -> bool:
    """Whether a log's resource may be the record's; a missing one on either side matches."""
    if not logged or recorded == "*":
        return True
    logged_arn = resource_arn(logged, principal)
    recorded_name = unescape(recorded)
    return resource_matches(recorded, logged_arn) or (
        has_hidden_part(logged_arn)
        and fill_hidden_parts(logged_arn, [recorded_name]) == recorded_name
    )


def _left_open(denial: Denial, principal: str, trouble: str) -> Gap | None:
    """Returns the gap of a denial that gives no usage of this principal; None: it gives one."""
    if denial.principal and not _is_own(denial.principal, principal):
        return Gap(GapKind.DENIAL_OF_OTHER_PRINCIPAL, Scope(), denial.principal)
    if denial.actions:
        return None
    if denial.encoded:
        return Gap(GapKind.ENCODED_DENIAL, Scope(), f"{denial.log}{trouble}")
    return Gap(GapKind.UNNAMED_DENIAL, Scope(), f"{denial.log}: {denial.why}".removesuffix(": "))


def _is_own(named: str, principal: str) -> bool:
    """Whether a message names the principal; a masked account matches where all else does."""
    logged_principal = principal_of(named)
    own_principal = principal_of(principal)
    if logged_principal is None or own_principal is None:
        return False
    if has_hidden_part(logged_principal.account):
        arn = logged_principal.arn.replace(
            f"::{logged_principal.account}:", f"::{own_principal.account}:", 1
        )
        logged_principal = replace(logged_principal, arn=arn, account=own_principal.account)
    return same_principal(logged_principal, own_principal)


def _needs(denial: Denial, principal: str, known: Collection[str]) -> Iterator[Need]:
    """Yields the denied needs, then those that AWS may check next, whose resource no log
    contains.
    """
    yield from logged_needs(denial, principal, known)
    for action in denial.actions if denial.mendable and denial.principal else ():
        because = f"AWS may ask for it once {action} is allowed"
        for partner in next_actions(action):
            yield Need(
                Permission(partner, "*"),
                Basis.INFERRED,
                "a log shows no request",
                because,
                exact=False,
            )


def _usage(
    need: Need, denial: Denial, one: LoggedDenial, run: Run | None, read_at: datetime
) -> Usage:
    region = "".join(need.permission.resource.split(":")[3:4])
    time = one.time or read_at
    return Usage(
        need,
        Outcome.DENIED,
        count=1,
        first_seen=time,
        last_seen=time,
        runs=(run.id,) if run else (),
        events=(f"job log {denial.log}",),
        regions=(region,) if region and set(region).isdisjoint("*?$") else (),
        denial=denial,
        succeeded=False,
    )


LARGEST_LOG = 512 * 1024**2
"""Most bytes of one log that are read."""
_MOST_PAGES = 10
_PER_PAGE = 100
_TRIES = 3
_LONGEST_WAIT = 60
"""In seconds: a longer rate limit is a gap, instead of an hour of a paid job."""
_SECONDS = re.compile(r"[0-9]{1,6}")
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
        """Reads the distinct denials in the logs of the finished jobs; failures are gaps. Never
        raises.

        A job in progress, such as the current one, has no log yet, and a skipped job never has one.
        """
        gaps: list[Gap] = []
        try:
            jobs = [*self._jobs(gaps)]
        except _UnreadError as error:
            return LoggedDenials(gaps=(_gap(f"the jobs of run {self.run_id}", str(error)),))
        read = [
            job
            for job in jobs
            if job.get("status") == "completed" and job.get("conclusion") != "skipped"
        ]
        budget = log_budget()
        denials, limit = distinct_denials(
            refusal for job in read for refusal in self._refusals(job, gaps, budget)
        )
        if limit:
            gaps.append(_gap(f"run {self.run_id}", f"its logs are read in part (limit: {limit})"))
        stamps = (_time(job.get(key)) for job in read for key in ("started_at", "completed_at"))
        times = [time for time in stamps if time]
        run = Run(self.run_id, self.run_id, min(times), max(times)) if times else None
        return LoggedDenials(tuple(denials), tuple(gaps), run)

    def _jobs(self, gaps: list[Gap]) -> Iterator[Mapping[str, object]]:
        path = f"/repos/{self.repository}/actions/runs/{self.run_id}/attempts/{self.attempt}/jobs"
        for page in range(1, _MOST_PAGES + 1):
            answer = self._tried(
                f"{self.api_url}{path}?per_page={_PER_PAGE}&page={page}", with_token=True
            )
            try:
                content = answer.json()
            except (ValueError, OSError, RecursionError):
                raise _UnreadError("GitHub's response was cut off or is not JSON") from None
            jobs = content.get("jobs") if isinstance(content, dict) else None
            if not isinstance(jobs, list):
                raise _UnreadError("GitHub's answer holds no jobs")
            yield from (job for job in jobs if isinstance(job, dict))
            if len(jobs) < _PER_PAGE:
                return
        gaps.append(
            _gap(f"run {self.run_id}", f"only the first {_MOST_PAGES * _PER_PAGE:,} jobs are read")
        )

    def _refusals(
        self, job: Mapping[str, object], gaps: list[Gap], budget: Budget
    ) -> Iterator[LoggedDenial]:
        """Yields the denials of one log, as far as it can be fetched."""
        name = str(job.get("name") or job.get("id"))
        try:
            path = f"/repos/{self.repository}/actions/jobs/{job.get('id')}/logs"
            answer = self._tried(f"{self.api_url}{path}", with_token=True)
            body = _Body(self._stored(answer), self.largest)
            yield from read_log(body, name, budget)
            if body.is_cut:
                gaps.append(_gap(name, f"only its first {self.largest:,} bytes are read"))
        except _UnreadError as error:
            gaps.append(_gap(name, str(error)))
        except (
            OSError,
            ValueError,
        ) as error:  # errors of `requests` are OSErrors, but it also lets others through
            gaps.append(_gap(name, f"its log was cut off ({type(error).__name__})"))

    def _stored(self, answer: Response) -> Response:
        """Fetches the log from its storage."""
        if not answer.is_redirect:
            return answer
        address = answer.headers["Location"]
        scheme = ""
        with suppress(ValueError):
            scheme = urlsplit(address).scheme
        if scheme not in {"https", urlsplit(self.api_url).scheme}:
            raise _UnreadError("GitHub says that it is stored at no web address")
        return self._tried(address, with_token=False)

    def _tried(self, address: str, *, with_token: bool) -> Response:
        """Returns the answer 200, or the API's redirection, which would receive the token if it
        were followed.
        """
        for tries_left in reversed(range(_TRIES)):
            try:
                answer = self._get(address, with_token=with_token)
            except OSError as error:
                trouble = f"GitHub could not be reached ({type(error).__name__})"
                wait = 1.0
            except ValueError:
                # `requests` parses the address of a redirection even where it is not followed.
                trouble = "GitHub names an address that is none"
                wait = -1.0
            else:
                if answer.status_code == 200 or (with_token and answer.is_redirect):
                    return answer
                trouble, wait = _trouble(answer, with_token=with_token)
                answer.close()
            if not tries_left or wait < 0 or wait > _LONGEST_WAIT:
                break
            self.sleep(wait * (_TRIES - tries_left))
        raise _UnreadError(trouble)

    def _get(self, address: str, *, with_token: bool) -> Response:
        import requests

        def authorised(request: PreparedRequest) -> PreparedRequest:
            # Always set, even without effect: otherwise `requests` would send the credentials of
            # the host in ~/.netrc.
            if with_token:
                request.headers["Authorization"] = f"Bearer {self.token}"
            return request

        headers = {"Accept": "application/vnd.github+json"} if with_token else {}
        return requests.get(
            address,
            headers=headers,
            auth=authorised,
            timeout=_TIMEOUT,
            allow_redirects=False,
            stream=True,
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
    status = answer.status_code
    headers = answer.headers
    retry_after = headers.get("Retry-After", "")
    if status in (403, 429) and (
        retry_after or headers.get("X-RateLimit-Remaining") == "0" or status == 429
    ):
        return "GitHub's rate limit was reached", float(retry_after) if _SECONDS.fullmatch(
            retry_after
        ) else -1
    if status in (401, 403) and not with_token:
        return f"the store of the log answered {status}", -1
    if status == 401:
        return "GitHub rejected the token (input github-token)", -1
    if status == 403:
        return _NOT_READABLE, -1
    if status in (404, 410):
        return "GitHub has none, or it has expired", -1
    return f"GitHub answered {status}", 1 if status >= 500 else -1


def _gap(name: str, trouble: str) -> Gap:
    return Gap(GapKind.UNREADABLE_LOG, Scope(), f"{name}: {trouble}")


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return time.replace(tzinfo=time.tzinfo or UTC) if time else None
