"""Measures a fleet on GitHub: `python -m bench.fleet [TARGETS [REPOSITORIES [MEGABYTES [TRAIL]]]]`,
from the root.

Creates a trail in which the roles deploy among the calls of an application, and repositories on a
stand-in for GitHub on this machine. TRAIL is a folder that keeps the trail for a further run of the
same size. The action runs as a step, in its own process, with all
targets in one config: first it opens a pull request for each, then it finds nothing changed. Prints
processor seconds and peak memory of that process, requests, writes, and the sizes of index, summary
and page.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from bench.measure import mebibytes_of
from bench.several_targets import GRANTED, deploys, roles, write
from tests.action.test_step import Job
from tests.fakes.chains import policy
from tests.fakes.github import FakeGitHub
from tests.fakes.github.organization import FakeOrganization

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_CONFIG = ".github/leastpriv.yml"
_DEFAULTS = ("300", "20", "1000")


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    sizes = arguments[: len(_DEFAULTS)]
    given = (*sizes, *_DEFAULTS[len(sizes) :])
    count, repositories, megabytes = (int(each) for each in given)
    kept = Path(arguments[-1]).resolve() if len(arguments) > len(_DEFAULTS) else None
    names = [f"acme/service-{number:02}" for number in range(repositories)]
    targets = roles(count, 20)
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeOrganization([FakeGitHub(name) for name in names]) as organization,
    ):
        job = _job(Path(folder), organization, targets, names)
        trail = kept or job.workspace / "trail"
        if not trail.exists():
            records, size = write(trail, targets, megabytes)
            print(f"{records:,} records, {size / 1e6:,.0f} MB of JSON", flush=True)
        if kept:
            shutil.copytree(kept, job.workspace / "trail", copy_function=os.link)
        print(f"{count} targets in 20 accounts and {repositories} repositories", flush=True)
        for what in ("first run", "unchanged"):
            print(f"  {what}: {_measured(job, organization)}", flush=True)


def _job(
    folder: Path, organization: FakeOrganization, targets: Sequence[str], names: Sequence[str]
) -> Job:
    """Returns a job of the first repository, whose config has the targets of all."""
    files: dict[str, dict[str, str | bytes | None]] = {name: {} for name in names}
    lines = ["targets:\n"]
    for number, role in enumerate(targets):
        name = names[number % len(names)]
        path = f"iam/{number:03}.json"
        files[name][path] = policy(*GRANTED)
        lines.append(f"  - role-arn: {role}\n    policy-file: {path}\n    repository: {name}\n")
    files[names[0]][_CONFIG] = "".join(lines)
    for name, hub in organization.hubs.items():
        hub.add_user("kim", "write")
        hub.commit_as("kim", "main", files[name], "Begin")
    for number in range(len(targets)):
        hub = organization.hubs[names[number % len(names)]]
        for deploy in deploys(number):
            ended = deploy.start + timedelta(minutes=20)
            created = deploy.start.strftime(_TIME)
            hub.add_run(deploy.run_id, created_at=created, updated_at=ended.strftime(_TIME))
    job = Job(folder, organization.hubs[names[0]])
    job.policy.unlink()
    return job


def _measured(job: Job, organization: FakeOrganization) -> str:
    """Runs the step; returns its figures in words."""
    exchanges = organization.requests()
    writes = _writes(organization)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    first = next(iter(organization.hubs))
    done = job.started_step(
        extra={"GITHUB_REPOSITORY": first, "GITHUB_API_URL": organization.url},
        config=_CONFIG,
        role_arn="",
        policy_file="",
        mode="pull-request",
        trails="trail",
        aws_regions="eu-west-1",
        page_file="fleet.html",
        github_token=organization.hubs[first].token,
    )
    if done.code:
        raise SystemExit(done.log[-3_000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    index = (job.workspace / done.outputs["proposal-file"]).stat().st_size
    page = (job.workspace / "fleet.html").stat().st_size
    opened = sum(len(hub.world.pulls()) for hub in organization.hubs.values())
    return (
        f"{seconds:.1f} s of processor, {time.monotonic() - start:.0f} s,"
        f" {mebibytes_of(after):,.0f} MB, {organization.requests() - exchanges:,} requests,"
        f" {_writes(organization) - writes:,} of them writes, {opened} pull requests, index"
        f" {index / 1e3:,.0f} kB, summary {len(done.summary) / 1e3:,.0f} kB, page"
        f" {page / 1e3:,.0f} kB"
    )


def _writes(organization: FakeOrganization) -> int:
    exchanges = (each for hub in organization.hubs.values() for each in hub.requests)
    return sum(each.method != "GET" and each.path != "/graphql" for each in exchanges)


if __name__ == "__main__":
    main(sys.argv[1:])
