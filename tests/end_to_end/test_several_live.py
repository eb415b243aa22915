"""Several targets from an account's event history: one lookup for all, patterns by IAM's list of
roles, live roles.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.lab.lab import Lab
from tests.end_to_end.test_lab import allow, policy
from tests.fakes.chains import config, entry

pytestmark = pytest.mark.slow

LEASTPRIV = (
    sys.executable,
    "-c",
    "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())",
)


def proposed(folder: Path, keys: Mapping[str, str]) -> tuple[Any, str, int]:
    """Runs `leastpriv propose --config` on event history; returns the index, the messages, and the
    exit code.
    """
    command = [
        *LEASTPRIV,
        "propose",
        "--config",
        "leastpriv.yml",
        "--trails",
        "event-history",
        "--output-dir",
        "out",
    ]
    command += ["--aws-regions", keys["AWS_REGION"]]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **keys}, capture_output=True, text=True, check=False
    )
    file = folder / "out" / "proposal.json"
    return json.loads(file.read_bytes()) if file.exists() else None, done.stderr, done.returncode


def test_one_lookup_serves_named_roles_patterns_and_the_chain(
    fresh_lab: Lab, tmp_path: Path
) -> None:
    lab = fresh_lab
    deploy = lab.role("team-orders", policy(allow("sqs:*")), path="/teams/")
    lab.role("team-idle", policy(allow("sqs:*")), path="/teams/")
    ci = lab.role("ci-deploy", policy(allow("sts:AssumeRole"), allow("ssm:*")))
    keys = lab.assume(ci, "17650000001")
    taken = lab.client("sts", keys).assume_role(RoleArn=deploy, RoleSessionName="unit")[
        "Credentials"
    ]
    own = lab.environment(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])
    lab.client("sqs", own).create_queue(QueueName="orders")
    (tmp_path / "iam").mkdir()
    (tmp_path / "iam/ci.json").write_text(
        json.dumps(policy(allow("sts:AssumeRole"), allow("ssm:*")), indent=2)
    )
    teams = f"arn:aws:iam::{lab.account}:role/teams/team-*"
    listed = [entry(ci, "iam/ci.json"), entry(teams, "iam/{name}.json")]
    (tmp_path / "leastpriv.yml").write_text(config(listed))
    found, said, code = proposed(tmp_path, lab.root)
    assert code == 0, said
    assert [target["role-arn"] for target in found["targets"]] == [ci, deploy]
    assert [target["added-actions"] for target in found["targets"]] == [
        [],
        ["sqs:CreateQueue"],
    ]
    assert [(link["from"], link["role"], link["count"]) for link in found["chain"]["links"]] == [
        (ci, deploy, 1)
    ]
    assert said.count("Reading event history as") == 1


def test_without_permission_to_list_roles_only_the_pattern_fails(
    fresh_lab: Lab, tmp_path: Path
) -> None:
    lab = fresh_lab
    ci = lab.role("ci-deploy", policy(allow("ssm:*")))
    reader = lab.role("reader", policy(allow("cloudtrail:LookupEvents"), allow("iam:Get*")))
    lab.client("ssm", lab.assume(ci, "17650000001")).put_parameter(
        Name="/x", Value="1", Type="String"
    )
    (tmp_path / "iam").mkdir()
    (tmp_path / "iam/ci.json").write_text(json.dumps(policy(allow("ssm:*")), indent=2))
    teams = f"arn:aws:iam::{lab.account}:role/teams/team-*"
    (tmp_path / "leastpriv.yml").write_text(
        config([entry(ci, "iam/ci.json"), entry(teams, "iam/{name}.json")])
    )
    found, said, code = proposed(tmp_path, lab.assume(reader, "17650000002"))
    assert code == 1
    assert "iam:ListRoles" in said
    assert [target["exit-code"] for target in found["targets"]] == [0, 1]
