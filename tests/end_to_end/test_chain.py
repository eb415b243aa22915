"""For a real deploy by AWS CDK over its bootstrap stack's roles, the chain is found and its first
drafts suffice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.lab.lab import Lab
from tests.end_to_end.seed import deploys
from tests.end_to_end.seed.deploys import Step
from tests.end_to_end.seed.experiment import deployed
from tests.end_to_end.seed.tools import ToolMissingError
from tests.fakes.chains import policy

pytestmark = pytest.mark.slow

ROLE = "ci-deploy"
QUALIFIER = "cdk-hnb659fds"
LEASTPRIV = (
    sys.executable,
    "-c",
    "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())",
)


def proposed(lab: Lab, folder: Path, *arguments: str) -> Any:
    """Runs `leastpriv propose` in the folder of the repository; returns the index of its output."""
    command = [
        *LEASTPRIV,
        "propose",
        "--trails",
        str(lab.records),
        "--output-dir",
        "out",
        *arguments,
    ]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "out" / "proposal.json").read_bytes())


def some(steps: Sequence[Step], *labels: str) -> list[Step]:
    return [step for step in steps if step.label in labels]


def attach_alone(lab: Lab, role: str, document: Mapping[str, Any]) -> None:
    """Removes all policies of the role but its inline policy."""
    iam = lab.client("iam")
    for each in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=role, PolicyArn=each["PolicyArn"])
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    iam.put_role_policy(RoleName=role, PolicyName="least", PolicyDocument=json.dumps(document))


def test_the_chain_from_the_workflow_s_role_to_cloudformation_s_works_under_first_drafts(
    fresh_lab: Lab, tmp_path: Path
) -> None:
    """CI role -> deploy, file-publishing (and lookup) roles -> CloudFormation's role: five
    policies, one command.
    """
    lab, place, repository = fresh_lab, tmp_path / "place", tmp_path / "repository"
    for folder in (place, repository / "iam"):
        folder.mkdir(parents=True)
    try:
        steps = deploys.CDK_WITH_ROLES.prepare(place / "app", lab)
    except ToolMissingError as error:
        pytest.skip(str(error))
    log, code = deployed(some(steps, "bootstrap"), place, lab.root)
    assert code == 0, log[-3_000:]
    assume = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Resource": f"arn:aws:iam::{lab.account}:role/{QUALIFIER}-*",
    }
    ci = lab.role(ROLE, {"Version": "2012-10-17", "Statement": [assume]})
    log, code = deployed(
        some(steps, "first deploy", "deploy of a change"), place, lab.assume(ci, "17650000001")
    )
    assert code == 0, log[-3_000:]
    lab.flush()

    (repository / "iam/ci-deploy.json").write_text(policy("sts:AssumeRole"), encoding="utf-8")
    found = proposed(
        lab, repository, "--role-arn", ci, "--policy-file", "iam/ci-deploy.json", "--discover"
    )
    links = {
        (link["from"].rpartition("/")[2], link["role"].rpartition("/")[2], link["service"])
        for link in found["chain"]["links"]
    }

    def bootstrap(name: str) -> str:
        return f"{QUALIFIER}-{name}-role-{lab.account}-{lab.region}"

    assert found["chain"]["roots"] == [ci]
    assert {
        (ROLE, bootstrap("deploy"), ""),
        (ROLE, bootstrap("file-publishing"), ""),
        (bootstrap("deploy"), bootstrap("cfn-exec"), "CloudFormation"),
    } <= links
    first = repository / "out/first-files"
    drafts = {path.stem: json.loads(path.read_bytes()) for path in (first / "iam").glob("*.json")}
    assert {bootstrap("deploy"), bootstrap("file-publishing"), bootstrap("cfn-exec")} <= set(drafts)

    # Every role behind the workflow's has only its first draft: the change of the app is reverted.
    for role, document in drafts.items():
        attach_alone(lab, role, document)
    log, code = deployed(some(steps, "first deploy"), place, lab.assume(ci, "17650000002"))
    assert code == 0, log[-3_000:]

    # With the files in place, one scan covers every role, and nothing further is discovered.
    for path in (first / "iam").glob("*.json"):
        (repository / "iam" / path.name).write_bytes(path.read_bytes())
    (repository / "leastpriv.yml").write_bytes((first / "leastpriv.yml").read_bytes())
    lab.flush()
    again = proposed(lab, repository, "--config", "leastpriv.yml", "--discover")
    assert again["first_files"] == []
    assert len(again["targets"]) == len(drafts) + 1
    assert not any(target["failure"] for target in again["targets"])
