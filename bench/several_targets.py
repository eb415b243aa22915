"""Measures five targets in one run: `python -m bench.several_targets [RECORDS [ROUNDS]]`, from the root.

Creates a trail in which five roles of a CDK deploy make calls among others, then times whole runs (read, propose,
report) in turn: one target; five targets in one scan; five runs of one target. Prints medians in processor seconds, and
the ratios pair by pair.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from leastpriv.cli.main import main as leastpriv
from tests.fakes.chains import CI, DEPLOY, EXEC, FILES, IMAGES, chain_deploys, config, entry, policy
from tests.test_cases import record

FIVE = (CI, DEPLOY, FILES, IMAGES, EXEC)
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def others(count: int) -> Iterator[dict[str, Any]]:
    """Calls of an application and of people, as in most of a trail."""
    for number in range(count):
        role = f"arn:aws:iam::111122223333:role/app-{number % 40}"
        time_ = datetime(2026, 10, 1, tzinfo=UTC) + timedelta(seconds=37 * number % 3_000_000)
        call = {"event": "dynamodb:DescribeTable", "parameters": {"tableName": f"orders-{number % 7}"}}
        yield record(role, f"session-{number % 100}", time_, call)


def write(folder: Path, count: int) -> int:
    """Write the trail, one file per day; return the number of records."""
    days: dict[str, list[dict[str, Any]]] = {}
    deploys = [dict(each) for each in chain_deploys(times=40, days=1)]
    for each in (*deploys, *others(count)):
        days.setdefault(each["eventTime"][:10], []).append(each)
    for day, inside in days.items():
        name = f"111122223333_CloudTrail_eu-west-1_{day.replace('-', '')}T2355Z_AbCdEfGhIjKlMnOp.json.gz"
        path = folder / "AWSLogs/111122223333/CloudTrail/eu-west-1" / day.replace("-", "/") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(json.dumps({"Records": inside}).encode()))
    return sum(map(len, days.values()))


def run(*arguments: str) -> float:
    """Processor seconds of one command, which other work on the machine does not lengthen; it has to succeed."""
    start = time.process_time()
    err = io.StringIO()
    code = leastpriv(("propose", "--trails", "trail", *arguments), io.StringIO(), err, lambda: NOW)
    if code:
        raise SystemExit(err.getvalue())
    return time.process_time() - start


def main(arguments: list[str]) -> None:
    """Measure and print."""
    count = int(arguments[0]) if arguments else 200_000
    rounds = int(arguments[1]) if len(arguments) > 1 else 5
    with tempfile.TemporaryDirectory() as name, chdir(name):
        here = Path(name)
        records = write(here / "trail", count)
        (here / "iam").mkdir()
        files = {role: f"iam/{number}.json" for number, role in enumerate(FIVE)}
        for file in files.values():
            (here / file).write_text(policy("*"), encoding="utf-8")
        listed = config([entry(role, file) for role, file in files.items()], follow=False)
        (here / "leastpriv.yml").write_text(listed, encoding="utf-8")
        one, five, apart = [], [], []
        run("--role-arn", CI, "--policy-file", files[CI])  # warm: the catalogue is loaded once a process
        for _ in range(rounds):
            one.append(run("--role-arn", CI, "--policy-file", files[CI]))
            five.append(run("--config", "leastpriv.yml"))
            apart.append(sum(run("--role-arn", role, "--policy-file", file) for role, file in files.items()))
    print(f"{records:,} records, five targets, {rounds} rounds, {os.cpu_count()} cores")
    for what, seconds in (("one target", one), ("five in one scan", five), ("five scans", apart)):
        print(f"  {what}: {statistics.median(seconds):.2f} s")
    share = statistics.median(both / 5 / alone for both, alone in zip(five, one, strict=True))
    against = statistics.median(both / each for both, each in zip(five, apart, strict=True))
    print(f"  a target of the five takes {share:.2f} of one alone; one scan takes {against:.2f} of five")


if __name__ == "__main__":
    main(sys.argv[1:])
