"""Damage on the way: files, records, the clock, the disk, a sudden end. Each is reported, and none
leads to a removal.

The cases give the sentences letter by letter; `bench/faults.py` prints them as a table. What AWS
does wrong is in `test_source_faults.py`, what GitHub does in `pull_request/test_publish.py`.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.command import CommandResult, leastpriv
from tests.fakes.damage import DAMAGES, full_disk
from tests.fakes.deploys import POLICY, ROLE, deploys, usual_deploys, write_trail

CASES = json.loads(
    (Path(__file__).parents[1] / "cases_sources" / "damage.json").read_text(encoding="utf-8")
)
SLOW = {"gzip bomb", "huge record"}
COMMAND = "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())"
GET_ROLE = {"event": "iam:GetRole", "parameters": {"roleName": "orders"}, "region": "us-east-1"}
ROLES = {
    "Effect": "Allow",
    "Action": "iam:GetRole",
    "Resource": "arn:aws:iam::111122223333:role/orders",
}
"""Of a service whose events are in us-east-1 alone: its only call is in the region that one damage
takes away.
"""


def arranged(folder: Path, damage: str = "whole") -> tuple[str, ...]:
    """A policy, a trail that something happened to, and the command for both."""
    trail = write_trail(folder / "trail", [*usual_deploys(), *deploys([GET_ROLE])])
    (folder / "policy.json").write_text(
        json.dumps({**POLICY, "Statement": [*POLICY["Statement"], ROLES]}, indent=2)
    )
    DAMAGES[damage](trail)
    return (
        "propose", "--role-arn", ROLE, "--policy-file", str(folder / "policy.json"), "--trails",
        str(trail),
        "--output-dir", str(folder / "out"), "--evidence-folder", str(folder / "memory"),
        "--page-file", str(folder / "page.html"), "--sarif-file", str(folder / "x.sarif"),
    )  # fmt: skip


def told_of(folder: Path) -> tuple[list[str], set[str]]:
    """The gaps in words, without names of folders, and what is removed or narrowed."""
    value = json.loads((folder / "out" / "proposal.json").read_text())
    gaps = [
        f"{gap['gap']}: {gap['detail'].replace('trail/AWSLogs', 'AWSLogs')}"
        for gap in value["gaps"]
    ]
    return sorted(gaps), {
        change["action"] for change in value["changes"] if change["kind"] != "add"
    }


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, id=case["damage"], marks=pytest.mark.slow if case["damage"] in SLOW else ()
        )
        for case in CASES
    ],
)
def test_a_damaged_trail_is_reported_and_removes_no_permission(
    tmp_path: Path, case: dict[str, Any]
) -> None:
    run = leastpriv(*arranged(tmp_path, case["damage"]))
    assert run.code == 0, run.err
    assert told_of(tmp_path) == (sorted(case["told"]), set(case["removes"]))


def test_every_damage_has_a_case_and_only_the_whole_trail_removes_all() -> None:
    assert [case["damage"] for case in CASES] == list(DAMAGES)
    all_removals = CASES[0]["removes"]
    for case in CASES[1:]:
        if case["damage"] == "records without a time":
            # Their events say which services they may hide.
            assert case["removes"] == ["sns:CreateTopic"]
            continue
        assert case["removes"] == (
            [] if case["told"] else [name for name in all_removals if not name.startswith("iam:")]
        )


@pytest.mark.slow
def test_a_bomb_costs_no_memory(tmp_path: Path) -> None:
    """It would unfold to four gigabytes; what a run takes without it is about a hundred
    megabytes.
    """
    arguments = arranged(tmp_path, "gzip bomb")
    # The peak that `getrusage` gives of a child is that of the process which started it, if that
    # was larger.
    report = "atexit.register(lambda: print(open('/proc/self/status').read(), file=sys.stderr))"
    limit = "resource.setrlimit(resource.RLIMIT_AS, (900_000_000, 900_000_000))"
    script = f"import atexit, resource, sys; {report}; {limit}; {COMMAND}"
    completed = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    peak = re.search(r"VmHWM:\s+(\d+) kB", completed.stderr)
    assert peak
    assert int(peak[1]) < 400_000


def started(
    arguments: tuple[str, ...], size: int | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=None if size is None else full_disk(size),
    )


def whole_files(folder: Path) -> list[str]:
    """Names of the files of a run; each is read as what it is, so that a half one fails."""
    paths = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and "trail" not in path.parts
    ]
    for path in paths:
        if path.suffix in {".json", ".sarif"} and not path.name.startswith("."):
            json.loads(path.read_bytes())
        if path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")
        if path.suffix == ".gz":
            gzip.decompress(path.read_bytes())
    return [path.name for path in paths if not path.name.startswith(".")]


@pytest.mark.parametrize("size", [0, 3_000])
def test_a_full_disk_is_an_error_that_names_the_place_and_leaves_no_half_file(
    tmp_path: Path, size: int
) -> None:
    completed = started(arranged(tmp_path), size)
    assert completed.returncode == 1
    last = completed.stderr.splitlines()[-1].replace(str(tmp_path), "PLACE")
    assert last == "error: The folder PLACE/out cannot be written: File too large."
    assert "proposal.json" not in whole_files(tmp_path)
    assert "Traceback" not in completed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_a_run_that_is_killed_leaves_whole_files_and_the_next_one_goes_on(
    tmp_path: Path, seed: int
) -> None:
    arguments = arranged(tmp_path)
    chance = random.Random(seed)  # noqa: S311 - to be the same each time
    child = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    file_name = ("memory", "out", "page.html", "x.sarif")[seed % 4]
    end = time.monotonic() + 30
    # Most of a run is reading: kill it where something has just been written, or anywhere before.
    while (
        seed % 5
        and not (tmp_path / file_name).exists()
        and child.poll() is None
        and time.monotonic() < end
    ):
        time.sleep(0.001)
    time.sleep(chance.random() * (0.02 if seed % 5 else 1.0))
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    whole_files(tmp_path)
    again: CommandResult = leastpriv(*arguments)
    assert again.code == 0, again.err
    assert {"proposal.json", "policy.json", "page.html", "x.sarif"} <= set(whole_files(tmp_path))
    assert told_of(tmp_path)[1] == set(CASES[0]["removes"])
