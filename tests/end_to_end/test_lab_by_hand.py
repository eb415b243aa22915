"""`make lab`, and the commands that docs/contributing/lab.md gives to copy."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.lab.lab import PYTHON, ROOT, is_there

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not is_there(), reason=f"the lab's environment is not there ({PYTHON.parents[1]}): make lab"
    ),
]


@pytest.fixture
def instructions(tmp_path: Path) -> Iterator[str]:
    """The output of `make lab`, while it runs."""
    command = [
        sys.executable,
        "-m",
        "tests.end_to_end.lab.by_hand",
        "--port",
        "0",
        "--folder",
        str(tmp_path / "run"),
    ]
    with (tmp_path / "instructions").open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 60
        while "Ctrl-C" not in (tmp_path / "instructions").read_text() and time.monotonic() < until:
            time.sleep(0.1)
        yield (tmp_path / "instructions").read_text()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_the_documented_round_ends_with_a_deploy_under_the_proposed_policy(
    instructions: str, tmp_path: Path
) -> None:
    exports = dict(re.findall(r"export (\w+)=(\S+)", instructions))
    records = next(iter(re.findall(r"Records appear in (\S+)", instructions)))
    blocks = re.findall(
        r"```sh\n(.*?)```",
        (ROOT / "docs/contributing/lab.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )
    (round_,) = (block for block in blocks if "create-role" in block)
    script = "set -e\n" + round_.replace(".lab/run/records", records)
    folders = [str(PYTHON.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {"PATH": ":".join(folders), "HOME": str(tmp_path), "AWS_PAGER": "", **exports}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    policy = json.loads((tmp_path / "proposal/policy.json").read_text())
    lists = [each["Action"] for each in policy["Statement"]]
    actions = {action for each in lists for action in ([each] if isinstance(each, str) else each)}
    # The names of the topic and the parameter show no copy of the app, so their deletion is offered.
    assert actions == {"sns:CreateTopic", "ssm:PutParameter"}
