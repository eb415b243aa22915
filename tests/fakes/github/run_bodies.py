"""Creates the bodies of workflow runs and their jobs."""

from __future__ import annotations

from tests.fakes.github.bodies import Bodies, Body, node_id
from tests.fakes.github.records import Job, Run


def run_body(bodies: Bodies, run: Run) -> Body:
    """A workflow run."""
    body = bodies.example("workflow-run")
    url = bodies.url(f"/actions/runs/{run.id}")
    links = {key: f"{url}/{key.removesuffix('_url')}" for key in body if key.endswith("_url")}
    return {
        **body,
        **links,
        "id": run.id,
        "node_id": node_id("WFR", run.id),
        "url": url,
        "html_url": bodies.page(f"/actions/runs/{run.id}"),
        "jobs_url": f"{url}/jobs",
        "logs_url": f"{url}/logs",
        "head_branch": run.head_branch,
        "head_sha": run.head_sha,
        "event": run.event,
        "status": run.status,
        "conclusion": run.conclusion,
        "path": run.path,
        "run_attempt": run.attempt,
        "actor": bodies.user(run.actor),
        "triggering_actor": bodies.user(run.actor),
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "run_started_at": run.started_at,
        "pull_requests": [],
        "repository": bodies.short_repository(body["repository"]),
        "head_repository": {
            **bodies.short_repository(body["head_repository"]),
            **_fork(bodies, run),
        },
    }


def _fork(bodies: Bodies, run: Run) -> Body:
    owner, _, name = run.head_repository.partition("/")
    fork = run.head_repository != bodies.world.full_name
    return {
        "full_name": run.head_repository,
        "name": name,
        "owner": bodies.user(owner),
        "fork": fork,
    }


def job_body(bodies: Bodies, job: Job) -> Body:
    """A job of a workflow run."""
    run = bodies.world.runs[job.run_id]
    done = job.status == "completed"
    return {
        **bodies.example("job"),
        "id": job.id,
        "node_id": node_id("JOB", job.id),
        "url": bodies.url(f"/actions/jobs/{job.id}"),
        "html_url": bodies.page(f"/actions/runs/{run.id}/job/{job.id}"),
        "run_id": run.id,
        "run_url": bodies.url(f"/actions/runs/{run.id}"),
        "run_attempt": job.attempt,
        "check_run_url": bodies.url(f"/check-runs/{job.id}"),
        "name": job.name,
        "status": job.status,
        "conclusion": job.conclusion,
        "head_branch": run.head_branch,
        "head_sha": run.head_sha,
        "created_at": run.created_at,
        "started_at": run.created_at,
        "completed_at": run.created_at if done else None,
        "steps": [],
    }
