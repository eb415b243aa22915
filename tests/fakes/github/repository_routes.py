"""Answers requests for the repository, people, teams, workflow runs and the rate limit."""

from __future__ import annotations

from typing import Any

from tests.fakes.github.records import Job, Run
from tests.fakes.github.routing import Answer, Call, page_of
from tests.fakes.github.run_bodies import job_body, run_body
from tests.fakes.github.world import ROLES, ApiError, not_found
from tests.fakes.replace import replace

_MOST_FOUND = 1_000
INTEGRATION_REFUSED = "Resource not accessible by integration"


def get_repository(call: Call) -> Answer:
    """The repository."""
    rank = len(ROLES) if call.token.installation else ROLES.index(call.world.role(call.login))
    levels = {
        "pull": "read",
        "triage": "triage",
        "push": "write",
        "maintain": "maintain",
        "admin": "admin",
    }
    granted = {name: rank >= ROLES.index(role) for name, role in levels.items()}
    if call.token.installation:
        may_push = (call.token.permissions or {}).get("contents") == "write"
        granted |= {"push": may_push, "maintain": False, "admin": False}
    return Answer(call.bodies.repository(granted))


def get_user(call: Call) -> Answer:
    """The owner of the token; an app's token has no user."""
    if call.token.installation:
        raise ApiError(403, INTEGRATION_REFUSED)
    return Answer(call.bodies.private_user(call.login))


def get_team(call: Call) -> Answer:
    """A team of the owner."""
    if call.params["org"] != call.world.owner or call.params["team_slug"] not in call.world.teams:
        raise not_found()
    return Answer(call.bodies.team_full(call.params["team_slug"]))


def get_permission(call: Call) -> Answer:
    """The permission of a person on the repository."""
    login = call.params["username"]
    if login not in call.world.accounts:
        raise not_found(f"{login} is not a user")
    return Answer(call.bodies.permission(login))


def get_rate_limit(call: Call) -> Answer:
    """The primary rate limit; this request does not count."""
    rate = call.world.rate
    shown = {
        "limit": rate.limit,
        "used": rate.limit - rate.remaining,
        "remaining": rate.remaining,
        "reset": rate.reset,
    }
    return Answer({"resources": {"core": shown, "search": shown, "graphql": shown}, "rate": shown})


def _run(call: Call) -> Run:
    found = call.world.runs.get(int(call.params["run_id"]))
    if found is None:
        raise not_found()
    return found


def _job(call: Call) -> Job:
    found = call.world.jobs.get(int(call.params["job_id"]))
    if found is None:
        raise not_found()
    return found


def get_run(call: Call) -> Answer:
    """A workflow run."""
    return Answer(run_body(call.bodies, _run(call)))


def list_runs(call: Call) -> Answer:
    """The workflow runs of the repository, newest first; where the query names an event, a branch
    or the latest time of creation (`<=TIME`), the first 1,000 of these.
    """
    event, branch = call.query.get("event", ""), call.query.get("branch", "")
    latest = call.query.get("created", "").removeprefix("<=")
    runs = [
        run
        for run in call.world.runs.values()
        if event in ("", run.event)
        and branch in ("", run.head_branch)
        and (not latest or run.created_at <= latest)
    ]
    runs.sort(key=lambda run: run.created_at, reverse=True)
    if event or branch or latest:
        runs = runs[:_MOST_FOUND]
    return page_of(call, runs, lambda run: run_body(call.bodies, run), key="workflow_runs")


def get_attempt(call: Call) -> Answer:
    """One attempt of a workflow run."""
    run, number = _run(call), int(call.params["attempt_number"])
    if not 1 <= number <= run.attempt:
        raise not_found()
    started, ended = run.earlier.get(number, (run.started_at, run.updated_at))
    return Answer(
        run_body(call.bodies, replace(run, attempt=number, started_at=started, updated_at=ended))
    )


def list_jobs(call: Call) -> Answer:
    """The jobs of a run: of its latest attempt, or (`filter=all`) of every one."""
    run = _run(call)
    return _jobs(call, run, None if call.query.get("filter") == "all" else run.attempt)


def list_jobs_of_attempt(call: Call) -> Answer:
    """The jobs of one attempt."""
    return _jobs(call, _run(call), int(call.params["attempt_number"]))


def _jobs(call: Call, run: Run, attempt: int | None) -> Answer:
    jobs = [
        one
        for one in call.world.jobs.values()
        if one.run_id == run.id and attempt in (None, one.attempt)
    ]
    return page_of(call, jobs, lambda job: job_body(call.bodies, job), key="jobs")


def get_job(call: Call) -> Answer:
    """A job."""
    return Answer(job_body(call.bodies, _job(call)))


def get_job_log(call: Call) -> Answer:
    """The address of the log of a finished job: another server, which rejects the API's token."""
    job = _job(call)
    if job.status != "completed":
        raise not_found()
    if job.log is None:
        raise ApiError(410, "Server Error")
    headers: list[tuple[str, Any]] = [("Location", f"{call.storage_url}/logs/{job.id}?sig=fake")]
    return Answer(None, 302, headers)
