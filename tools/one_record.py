"""Count the files and functions of the package that one CloudTrail record passes in a run of the
action.

The repository of the demo holds a policy of one statement, and its trail one record. Calls are
those of functions and class bodies of the package, and those of built-in functions by them; module
bodies do not count. A call of a function of another file than the last call's is a change of file.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import runpy
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from demo import INPUTS, POLICY_FILE, Stage, environment, git, read_outputs, set_up

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "sqs:PurgeQueue",
            "Resource": "arn:aws:sqs:eu-west-1:111122223333:orders-*",
        }
    ],
}
ADDED = ["sqs:CreateQueue", "sqs:TagQueue"]
"""The permissions that the record requires."""


class Tracer:
    """Counts the calls of a package's functions, as `sys.setprofile` reports them."""

    def __init__(self, package: Path) -> None:
        self._folder = f"{package}{os.sep}"
        self._functions: set[tuple[str, str]] = set()
        self._calls = self._changes = self._depth = self._deepest = 0
        self._last = ""

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Count one event."""
        file, name = frame.f_code.co_filename, frame.f_code.co_qualname
        if name == "<module>" or not file.startswith(self._folder):
            return
        if event == "return":
            self._depth -= 1
        if event in {"call", "c_call"}:
            self._calls += 1
        if event == "call":
            self._functions.add((file, name))
            self._changes += file != self._last
            self._last = file
            self._depth += 1
            self._deepest = max(self._deepest, self._depth)

    def counts(self) -> Mapping[str, int]:
        """Return what was counted."""
        return {
            "files": len({file for file, _ in self._functions}),
            "functions": len(self._functions),
            "calls": self._calls,
            "changes of file": self._changes,
            "deepest stack": self._deepest,
        }

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Count what every thread calls inside the block."""
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def trace(package: Path) -> Mapping[str, int]:
    """Run `entrypoint.py` on the one record and count the calls inside the package.

    Raises:
        RuntimeError: the action did not propose the permissions that the record requires.
    """
    tracer = Tracer(package)
    with tempfile.TemporaryDirectory() as folder:
        stage = prepared(Path(folder) / "stage")
        log = io.StringIO()
        with (
            contextlib.chdir(stage.workspace),
            patch.dict(os.environ, environment(stage), clear=True),
            contextlib.redirect_stdout(log),
            contextlib.suppress(SystemExit),
            tracer.at_work(),
        ):
            runpy.run_path(str(ROOT / "entrypoint.py"), run_name="__main__")
        added = read_outputs(stage.outputs.read_text(encoding="utf-8")).get("added-actions", "")
        if not added or json.loads(added) != ADDED:
            raise RuntimeError(
                f"The action added {added or 'nothing'} instead of {ADDED}:\n{log.getvalue()}"
            )
    return tracer.counts()


def prepared(folder: Path) -> Stage:
    """Set up the demo with one statement and one record, of yesterday."""
    stage = Stage(folder)
    set_up(stage)
    (stage.workspace / POLICY_FILE).write_text(
        json.dumps(POLICY, indent=2) + "\n", encoding="utf-8"
    )
    git(stage, "commit", "--quiet", "--no-gpg-sign", "--all", "--message", "Grant one action")
    shutil.rmtree(stage.workspace / "cloudtrail")
    time = datetime.now(UTC) - timedelta(days=1)
    trail = (
        stage.workspace
        / "cloudtrail/AWSLogs/111122223333/CloudTrail/eu-west-1"
        / f"{time:%Y/%m/%d}"
    )
    trail.mkdir(parents=True)
    file = trail / f"111122223333_CloudTrail_eu-west-1_{time:%Y%m%dT%H%MZ}_AbCdEfGhIjKlMnOp.json.gz"
    file.write_bytes(gzip.compress(json.dumps({"Records": [record(time)]}).encode()))
    return stage


def record(time: datetime) -> Mapping[str, Any]:
    """Return the record of a call that creates a queue with a tag."""
    role = INPUTS["role-arn"]
    name, account = role.rpartition("/")[2], role.split(":")[4]
    issuer = {"type": "Role", "arn": role, "accountId": account, "userName": name}
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "arn": f"arn:aws:sts::{account}:assumed-role/{name}/17650000001",
            "accountId": account,
            "accessKeyId": "ASIAEXAMPLE0000001",
            "sessionContext": {"sessionIssuer": issuer},
        },
        "eventTime": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": "sqs.amazonaws.com",
        "eventName": "CreateQueue",
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "203.0.113.7",
        "requestParameters": {"queueName": "orders-events", "tags": {"app": "orders"}},
        "responseElements": {
            "queueUrl": f"https://sqs.eu-west-1.amazonaws.com/{account}/orders-events"
        },
        "eventID": "3fa4c6f2-0000-4000-8000-000000000001",
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "eventCategory": "Management",
        "recipientAccountId": account,
    }
