"""Reads a trail in S3 with a role that has only the documented permissions, from a local AWS that
enforces IAM.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.lab.lab import Lab

BUCKET = "acme-trail"
LIST = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"}
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/AWSLogs/*"}
SETTINGS = {
    "Effect": "Allow",
    "Action": [
        "cloudtrail:DescribeTrails",
        "cloudtrail:GetTrailStatus",
        "cloudtrail:GetEventSelectors",
    ],
    "Resource": "*",
}


def policy(*statements: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


@pytest.fixture(scope="module")
def deployed(lab: Lab) -> str:
    """A role with two deploys, and their records in the trail's bucket."""
    role = lab.admin_role("shop-deploy")
    for run in ("17000000001", "17000000002"):
        queues = lab.client("sqs", lab.assume(role, run))
        queues.create_queue(QueueName="orders")
    lab.flush()
    bucket = lab.client("s3")
    bucket.create_bucket(Bucket=BUCKET)
    for path in lab.records.rglob("*.json.gz"):
        bucket.put_object(
            Bucket=BUCKET, Key=path.relative_to(lab.records).as_posix(), Body=path.read_bytes()
        )
    return role


def permissions(
    lab: Lab,
    role: str,
    reader: str,
    statements: tuple[Mapping[str, Any], ...],
    *options: str,
    code: int = 0,
) -> tuple[list[dict[str, Any]], str]:
    """Rows of `leastpriv permissions` for a reader with these statements, and the messages."""
    environment = lab.assume(lab.role(reader, policy(*statements)), "reading")
    program = str(Path(sys.executable).with_name("leastpriv"))
    command = [program, "permissions", "--role-arn", role, "--trails", f"s3://{BUCKET}"]
    told = subprocess.run(
        [*command, *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert told.returncode == code, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()], told.stderr


def test_a_reader_with_the_documented_permissions_finds_what_the_deploys_used(
    lab: Lab, deployed: str, tmp_path: Path
) -> None:
    rows, _ = permissions(
        lab, deployed, "reader", (LIST, READ, SETTINGS), "--cache-dir", str(tmp_path)
    )
    used = {row["action"]: row["count"] for row in rows if "action" in row}
    assert used["sqs:CreateQueue"] == 2
    assert not [
        row
        for row in rows
        if row.get("gap") in ("source-failed", "unreadable-file", "unreadable-record")
    ]
    assert (
        permissions(
            lab, deployed, "reader-again", (LIST, READ, SETTINGS), "--cache-dir", str(tmp_path)
        )[0]
        == rows
    )


@pytest.mark.parametrize(
    ("reader", "statements", "missing"),
    [("lister", (LIST, SETTINGS), "s3:GetObject"), ("blind", (READ, SETTINGS), "s3:ListBucket")],
)
def test_a_reader_without_a_permission_gets_its_name(
    lab: Lab, deployed: str, reader: str, statements: tuple[Mapping[str, Any], ...], missing: str
) -> None:
    # A run without calls fails, and still writes its gaps.
    rows, messages = permissions(lab, deployed, reader, statements, code=1)
    assert f"AWS denied {missing}" in messages
    [gap] = [row for row in rows if row.get("gap") == "source-failed"]
    assert f"AWS denied {missing}" in gap["detail"]
    assert not any("action" in row for row in rows)


def test_a_reader_without_access_to_the_settings_still_finds_the_calls(
    lab: Lab, deployed: str
) -> None:
    rows, _ = permissions(lab, deployed, "modest", (LIST, READ))
    [gap] = [row for row in rows if row.get("gap") == "settings-unknown"]
    assert "cloudtrail:DescribeTrails" in gap["detail"]
    assert any(row.get("action") == "sqs:CreateQueue" for row in rows)


def test_a_proposal_from_the_trail_names_its_gaps(lab: Lab, deployed: str, tmp_path: Path) -> None:
    (tmp_path / "ci.json").write_text(
        json.dumps(policy({"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}))
    )
    environment = lab.assume(lab.role("proposer", policy(LIST, READ)), "proposing")
    program = str(Path(sys.executable).with_name("leastpriv"))
    command = [
        program,
        "propose",
        "--role-arn",
        deployed,
        "--policy-file",
        "ci.json",
        "--trails",
        f"s3://{BUCKET}",
    ]
    options = ["--cache-dir", "cache", "--output-dir", "out"]
    told = subprocess.run(
        [*command, *options],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert told.returncode == 0, told.stderr
    assert "2 runs" in told.stderr
    text = (tmp_path / "out" / "pull-request.md").read_text()
    assert "The settings of a trail, so only its records show what it logs (1)" in text
    assert list((tmp_path / "cache").glob("*.sqlite"))
