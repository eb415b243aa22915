"""Measures many targets in one run: `python -m bench.several_targets [TARGETS [MEGABYTES
[ACCOUNTS]]]`, from the root.

Creates a trail in which the roles deploy among the calls of an application, then runs the whole
command (read, propose, report, page) in a separate process: for one target, and for all in one
config. The policy files are committed in a git repository. Prints processor seconds, peak memory,
git processes, and the size of the page.
"""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.fakes.chains import config, entry, policy
from tests.test_cases import record

_FIRST = datetime(2026, 8, 20, tzinfo=UTC)
_DAYS, _RUNS = 98, 14
_CALLS = (
    {"event": "sqs:CreateQueue", "parameters": {"queueName": "orders"}},
    {"event": "ssm:GetParameter", "parameters": {"name": "/orders/version"}},
    {"event": "lambda:UpdateFunctionCode20150331v2", "parameters": {"functionName": "orders"}},
    {"event": "cloudformation:DescribeStacks", "parameters": {"stackName": "orders"}},
    {"event": "s3:GetBucketEncryption", "parameters": {"bucketName": "orders-assets"}},
)
GRANTED = (
    "sqs:*",
    "ssm:GetParameter*",
    "lambda:*",
    "cloudformation:*",
    "s3:GetBucket*",
    "dynamodb:DescribeTable",
)
_MEASURED = """
import resource, sys
started = []
def watch(event, details):
    if event == "subprocess.Popen" and str(details[0]).endswith("/git"):
        started.append(details)
sys.addaudithook(watch)
from leastpriv.cli.main import console_main
code = console_main()
print(resource.getrusage(0)[2], len(started))
sys.exit(code)
"""


def roles(count: int, accounts: int) -> list[str]:
    """The ARNs of the targets, spread over accounts."""
    return [
        f"arn:aws:iam::{111122223333 + number % accounts}:role/deploy-{number:03}"
        for number in range(count)
    ]


class Deploy(Struct, frozen=True):
    """A run of a workflow that deploys with the role of a target."""

    run_id: int
    start: datetime


def deploys(number: int) -> list[Deploy]:
    """The deploys of the target of a number."""
    return [_deploy(number, day) for day in range(_DAYS) if _deploys_on(number, day)]


def _deploys_on(number: int, day: int) -> bool:
    return (day + number) % (_DAYS // _RUNS) == 0


def _deploy(number: int, day: int) -> Deploy:
    start = _FIRST + timedelta(days=day, minutes=number)
    return Deploy(17650000000 + number * 1_000 + day, start)


def day_records(targets: list[str], day: int, others: int) -> Iterator[dict[str, Any]]:
    """The records of a day: each target deploys every seventh day, and an application calls in
    every account.
    """
    start = _FIRST + timedelta(days=day)
    for number, role in enumerate(targets):
        if _deploys_on(number, day):
            deploy = _deploy(number, day)
            for later, call in enumerate(_CALLS):
                time = deploy.start + timedelta(seconds=later)
                yield _record(role, str(deploy.run_id), time, call)
    accounts = list(dict.fromkeys(role.split(":")[4] for role in targets))
    for number in range(others):
        role = f"arn:aws:iam::{accounts[number % len(accounts)]}:role/app-{number % 40}"
        call = {
            "event": "dynamodb:DescribeTable",
            "parameters": {"tableName": f"orders-{number % 7}"},
        }
        yield _record(
            role, f"session-{number % 100}", start + timedelta(seconds=number % 86_000), call
        )


def _record(role: str, session: str, when: datetime, call: Mapping[str, Any]) -> dict[str, Any]:
    return record(role, session, when, call) | {"recipientAccountId": role.split(":")[4]}


def write(folder: Path, targets: list[str], megabytes: int) -> tuple[int, int]:
    """Writes the trail, a file per account and day; returns the numbers of records and of bytes of
    JSON.
    """
    count = size = 0
    others = megabytes * 1_000_000 // _DAYS // 1_000
    for day in range(_DAYS):
        files: dict[str, list[dict[str, Any]]] = {}
        for each in day_records(targets, day, others):
            files.setdefault(each["recipientAccountId"], []).append(each)
        date = _FIRST + timedelta(days=day)
        for account, inside in files.items():
            name = f"{account}_CloudTrail_eu-west-1_{date:%Y%m%d}T2355Z_AbCdEfGhIjKlMnOp.json.gz"
            path = folder / f"AWSLogs/{account}/CloudTrail/eu-west-1/{date:%Y/%m/%d}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"Records": inside}).encode()
            path.write_bytes(gzip.compress(text, 1))
            count, size = count + len(inside), size + len(text)
    return count, size


class Measured(Struct, frozen=True):
    """What a command took."""

    processor: float
    """Seconds."""
    elapsed: float
    """Seconds."""
    peak: int
    """MB."""
    git: int
    """Processes of git."""


def run(folder: Path, *arguments: str) -> Measured:
    """Measures one command, which has to succeed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [
        sys.executable,
        "-c",
        _MEASURED,
        "propose",
        "--trails",
        "trail",
        "--aws-regions",
        "eu-west-1",
        *arguments,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3_000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak, git = map(int, done.stdout.split()[-2:])
    return Measured(seconds, time.monotonic() - start, peak // 1_024, git)


def commit_all(folder: Path) -> None:
    """Makes a folder a git repository with one commit of all its files."""
    identity = ("-c", "user.name=kim", "-c", "user.email=kim@example.org")
    for step in (("init", "--quiet"), ("add", "iam"), ("commit", "--quiet", "--message", "Begin")):
        subprocess.run(["git", *identity, *step], cwd=folder, check=True)


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    count, megabytes, accounts = (
        int(each) for each in (*arguments, *("200", "1000", "1")[len(arguments) :])
    )
    targets = roles(count, accounts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records, size = write(folder / "trail", targets, megabytes)
        files = {role: f"iam/{number:03}.json" for number, role in enumerate(targets)}
        (folder / "iam").mkdir()
        for file in files.values():
            (folder / file).write_text(policy(*GRANTED), encoding="utf-8")
        commit_all(folder)
        listed = config([entry(role, file) for role, file in files.items()], follow=False)
        (folder / "leastpriv.yml").write_text(listed, encoding="utf-8")
        print(
            f"{records:,} records, {size / 1e6:,.0f} MB of JSON, {count} targets in {accounts}"
            " accounts"
        )
        outputs = ("--page-file", "fleet.html", "--output-dir", "out")
        one = ("--role-arn", targets[0], "--policy-file", files[targets[0]], *outputs)
        for what, options in (
            ("one target", one),
            ("all targets", ("--config", "leastpriv.yml", *outputs)),
        ):
            took = run(folder, *options)
            page = (folder / "fleet.html").stat().st_size / 1e6
            print(
                f"  {what}: {took.processor:.1f} s of processor, {took.elapsed:.1f} s,"
                f" {took.peak:,} MB, {took.git:,} git processes, page {page:.2f} MB"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
