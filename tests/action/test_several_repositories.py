"""A run whose targets are in several repositories: `repository` of a target, and waves by
`max-pull-requests`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.action.test_requests import with_login
from tests.action.test_step import Job, Step
from tests.fakes.deploys import CREATE_QUEUE, POLICY, UPDATE, deploys, write_trail
from tests.fakes.github import FakeGitHub
from tests.fakes.github.organization import FakeOrganization

OWN = "octo-org/platform"
SHOP, BANK, MAIL = "octo-org/shop", "octo-org/bank", "octo-org/mail"
NAMES = (OWN, SHOP, BANK, MAIL)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONFIG = ".github/leastpriv.yml"
FILE = "iam/deploy.json"
EXTRA = ("dynamodb:DeleteTable", "ec2:TerminateInstances", "rds:DeleteDBInstance")
"""Actions that no run used: the policies of later targets have more of them."""


def role_of(repository: str) -> str:
    return f"arn:aws:iam::111122223333:role/{repository.rpartition('/')[2]}"


def policy(extra: Sequence[str]) -> str:
    statements: list[dict[str, Any]] = [*POLICY["Statement"]]
    if extra:
        statements.append({"Effect": "Allow", "Action": [*extra], "Resource": "*"})
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)


@pytest.fixture
def organization() -> Iterator[FakeOrganization]:
    hubs = [FakeGitHub(name, files={"README.md": "x\n"}, clock=lambda: NOW) for name in NAMES]
    with FakeOrganization(hubs) as started:
        yield started


@pytest.fixture
def job(tmp_path: Path, organization: FakeOrganization) -> Job:
    """A job of the first repository, whose config names a target in each of the others."""
    hubs = organization.hubs
    entries = [
        f"  - repository: {name}\n    role-arn: {role_of(name)}\n    policy-file: {FILE}\n"
        for name in NAMES[1:]
    ]
    config = "targets:\n" + "".join(entries)
    for number, (name, hub) in enumerate(hubs.items()):
        hub.add_user("kim", "write")
        files: dict[str, str | bytes | None] = {FILE: policy(EXTRA[:number])}
        hub.commit_as("kim", "main", {CONFIG: config} if name == OWN else files, "Begin")
    job = Job(tmp_path, hubs[OWN])
    job.policy.unlink()
    records = [
        record_with_login
        for number, name in enumerate(NAMES[1:])
        for record in deploys([UPDATE, CREATE_QUEUE])
        for record_with_login in with_login(record, role_of(name), number, name)
    ]
    write_trail(job.workspace / "cloudtrail", records)
    return job


def run(job: Job, organization: FakeOrganization, **inputs: str) -> Step:
    step_inputs = {
        "config": CONFIG,
        "role_arn": "",
        "policy_file": "",
        "mode": "pull-request",
        "github_token": organization.hubs[OWN].token,
        "never_add": "cloudwatch:*",
        "minimum_days": "30",
        "trails": "cloudtrail",
    }
    variables = {"GITHUB_REPOSITORY": OWN, "GITHUB_API_URL": organization.url}
    return job.step(extra=variables, **{**step_inputs, **inputs})


def opened(organization: FakeOrganization) -> dict[str, list[str]]:
    """The branches of the open pull requests of each repository."""
    return {
        name: [pull.head for issue, pull in hub.world.pulls() if issue.state == "open"]
        for name, hub in organization.hubs.items()
    }


def test_each_target_has_its_pull_request_in_its_own_repository(
    job: Job, organization: FakeOrganization
) -> None:
    step_run = run(job, organization)
    assert step_run.code == 0, step_run.log
    branches = {name: [f"leastpriv/{name.rpartition('/')[2]}"] for name in NAMES[1:]}
    assert opened(organization) == {OWN: [], **branches}
    for name in NAMES[1:]:
        hub = organization.hubs[name]
        text = hub.file(FILE, branches[name][0])
        assert b"dynamodb:DeleteTable" not in text
        assert hub.file(FILE, "main") != text
        assert f"/{name}/pull/1" in step_run.log
    before = organization.requests()
    again = run(job, organization)
    assert again.outputs["pull-request-operation"] == "none", again.log
    assert opened(organization) == {OWN: [], **branches}
    assert organization.requests() - before <= 10 * len(NAMES)


def test_a_repository_that_the_token_may_not_write_fails_alone(
    job: Job, organization: FakeOrganization
) -> None:
    organization.hubs[BANK].fail_next("POST", "/git/", 403, times=100)
    step_run = run(job, organization)
    assert step_run.code == 1
    pulls = opened(organization)
    assert (len(pulls[SHOP]), len(pulls[BANK]), len(pulls[MAIL])) == (1, 0, 1), step_run.log


def test_a_wave_opens_the_most_valuable_first_and_the_others_in_later_runs(
    job: Job, organization: FakeOrganization
) -> None:
    for order in ([MAIL], [MAIL, BANK], [MAIL, BANK, SHOP], [MAIL, BANK, SHOP]):
        step_run = run(job, organization, max_pull_requests="1")
        assert step_run.code == 0, step_run.log
        pulls = opened(organization)
        assert sorted(name for name in NAMES if pulls[name]) == sorted(order), step_run.log
        waiting = {SHOP, BANK, MAIL} - set(order)
        assert step_run.log.count("waits for a later run") == len(waiting), step_run.log


def test_patterns_of_two_repositories_may_have_files_of_one_path(
    job: Job, organization: FakeOrganization
) -> None:
    hubs = organization.hubs
    lines = ["targets:\n"]
    records = []
    for number, name in enumerate((SHOP, BANK)):
        account = str(111122223333 + number)
        lines.append(f"  - repository: {name}\n    role-arn: arn:aws:iam::{account}:role/dep*\n")
        lines.append("    policy-file: iam/{name}.json\n")
        role = "arn:aws:iam::111122223333:role/deploy"
        for record in deploys([UPDATE, CREATE_QUEUE]):
            role_records = json.dumps(with_login(record, role, number, name))
            records += json.loads(
                role_records.replace("111122223333", account).replace("deploy-", account)
            )
    hubs[OWN].commit_as("kim", "main", {CONFIG: "".join(lines)}, "Name roles by patterns")
    write_trail(job.workspace / "patterns", records)
    step_run = run(job, organization, trails="patterns", aws_regions="eu-west-1")
    assert step_run.code == 0, step_run.log
    pulls = opened(organization)
    assert (len(pulls[SHOP]), len(pulls[BANK]), len(pulls[MAIL])) == (1, 1, 0), step_run.log


@pytest.mark.parametrize("mode", ["report", "check"])
def test_an_annotation_names_the_repository_of_a_policy_file_of_another_one(
    job: Job, organization: FakeOrganization, mode: str
) -> None:
    """Its property `file` would be a file of the run's repository."""
    log = run(job, organization, mode=mode).log
    annotations = [line for line in log.splitlines() if line.startswith(("::notice", "::warning"))]
    assert not any("file=" in annotation for annotation in annotations)
    assert any(f"::{SHOP}: {FILE}:" in annotation for annotation in annotations)


def test_a_link_to_a_line_leads_to_the_repository_of_the_policy_file(
    job: Job, organization: FakeOrganization
) -> None:
    step_run = run(job, organization, mode="report")
    assert f"/{SHOP}/blob/main/{FILE}#L" in step_run.summary
    assert f"/{OWN}/blob/" not in step_run.summary
