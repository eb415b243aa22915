"""Measures the reading of trail files.

`python -m bench.ingestion GENERATOR FOLDER [--mb 100 1000] [--peers] [--rows REGEX]`

GENERATOR writes logs and the answer that a reader should find (`gen_trail.py --truth`); they are
made in FOLDER where they are not there yet, with seed 42. Two sets are measured: the generator's
(G), and a copy whose calls repeat (R, `repeating_trail.py`). Each row runs in a process of its own,
in turn with `igzip -dc` of the same files: the table shows medians of the ratios of processor time,
and of wall time, to it (**L**), and peak memory. Answers are held against the truth: count, first
and last of each role, source, name, error and resource. `--peers` adds what one would use
otherwise, each in an environment of its own in FOLDER: `gzip -dc`, Python's gzip and json, jq,
DuckDB, trailscraper (whose policy has no counts: the table says how many of the role's actions it
holds).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import mebibytes_of
from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.record import is_login
from leastpriv.models import Call

Answer = dict[tuple[str, ...], list[Any]]
"""(role, event source, event name, error, resource) -> count, first, last."""
_MEDIUM_ROLE = 29
"""Index of a role with a medium number of calls, of roles sorted by that number."""
_TEN_ROLES = slice(19, 65, 5)
"""Ten roles around it."""
_PEERS = {"duckdb": "duckdb==2.0.1", "trailscraper": "trailscraper==0.10.0"}


@dataclass(frozen=True)
class Row:
    """One command of the table."""

    name: str
    command: str
    roles: frozenset[str] | None = frozenset()
    """Whose answer it prints as JSON lines; `None`: everybody's; none: it prints something else."""
    rounds: int = 99
    policy: bool = False
    """It prints a policy instead."""


@dataclass(frozen=True)
class Spent:
    """What one run took."""

    cpu: float
    wall: float
    peak: float
    answer: str


def main(arguments: list[str]) -> int:
    """Print one table for each size; 1 where an answer is wrong."""
    if arguments[:1] == ["--read"]:
        return read(*arguments[1:])
    if arguments[:1] == ["--naive"]:
        return naive(arguments[1], arguments[2])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("generator", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mb", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument(
        "--rows", default="", help="a regular expression: only rows whose names hold it"
    )
    options = parser.parse_args(arguments)
    if not shutil.which("igzip"):
        sys.exit("igzip is needed (Debian's package isal): its time is the unit of the table.")
    wrong = 0
    for size in options.mb:
        logs, truth, roles = generated(options.generator, options.folder, size)
        for label, logs_and_truth in (("G", (logs, truth)), ("R", repeating(logs))):
            measured_logs, expected = logs_and_truth
            peers = peer_rows(options.folder, measured_logs, roles) if options.peers else []
            rows = [
                row
                for row in (*own_rows(options.folder, measured_logs, roles), *peers)
                if re.search(options.rows, row.name)
            ]
            wrong += table(f"{label}, {size:,} MB", measured_logs, expected, rows, options.rounds)
    return min(wrong, 1)


def generated(generator: Path, folder: Path, size: int) -> tuple[Path, Answer, list[str]]:
    """The logs of a size, the right answer, and the roles by how much they call."""
    logs, truth_file = folder / f"d{size}", folder / f"d{size}.truth"
    generator_command = [
        sys.executable,
        str(generator),
        "--out",
        str(logs),
        "--mb",
        str(size),
        "--seed",
        "42",
    ]
    if not truth_file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [*generator_command, "--truth", str(truth_file) + ".part"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        Path(str(truth_file) + ".part").rename(truth_file)
    truth: Answer = {}
    with truth_file.open() as lines:
        for row in map(json.loads, lines):
            if "role" in row:
                key = tuple(
                    row[name]
                    for name in ("role", "eventSource", "eventName", "errorCode", "resource")
                )
                add(truth, key, row["count"], row["first"], row["last"])
    roles_text = subprocess.run(
        [*generator_command, "--list-roles"], check=True, capture_output=True, text=True
    ).stdout
    return logs, truth, [line.split()[-1] for line in roles_text.splitlines() if "arn:" in line]


def repeating(logs: Path) -> tuple[Path, Answer]:
    """A copy of the logs whose calls repeat, and the right answer about it."""
    copy, truth_file = logs.with_name(f"{logs.name}-r"), logs.with_name(f"{logs.name}-r.truth")
    if not truth_file.exists():
        from bench.repeating_trail import rewritten

        truth: Answer = {}
        for record in rewritten(logs, copy):
            identity = record["userIdentity"]
            role = identity.get("sessionContext", {}).get("sessionIssuer", {}).get("arn")
            if identity.get("type") == "AssumedRole" and role:
                key = key_of(role, record)
                add(truth, key, 1, record["eventTime"], record["eventTime"])
        truth_file.write_text(
            "".join(json.dumps([*key, *counts]) + "\n" for key, counts in truth.items())
        )
    answer: Answer = {}
    for *key, count, first, last in map(json.loads, truth_file.read_text().splitlines()):
        add(answer, tuple(key), count, first, last)
    return copy, answer


def key_of(role: str, record: Mapping[str, Any]) -> tuple[str, ...]:
    """What a call of a role counts under."""
    resources = record.get("resources") or [{}]
    return (
        role,
        record["eventSource"],
        record["eventName"],
        record.get("errorCode") or "",
        folded(resources[0].get("ARN", "")),
    )


def add(answer: Answer, key: tuple[str, ...], count: int, first: str, last: str) -> None:
    """Count so many of a key."""
    totals = answer.setdefault(key, [0, first, last])
    totals[:] = [totals[0] + count, min(totals[1], first), max(totals[2], last)]


def logs_of_all_accounts(logs: Path) -> Path:
    """Return the logs in a folder that is not named `AWSLogs`: below that name the reader leaves
    out the folders of other accounts than the role's.
    """
    copy = logs.with_name(f"{logs.name}-all")
    if not copy.exists():
        # Hard links: a link that leads out of the folder is not followed.
        shutil.copytree(logs / "AWSLogs", copy, copy_function=os.link)
    return copy


def own_rows(folder: Path, logs: Path, roles: list[str]) -> list[Row]:
    """Return the rows of leastpriv itself: the reader alone, then the command `permissions`.

    `roles` begins with the one that calls most.
    """
    hot = roles[0]
    role = roles[_MEDIUM_ROLE]
    ten = roles[_TEN_ROLES]
    cache = folder / "cache"
    every_account = logs_of_all_accounts(logs)
    on_one_core = "taskset -c 0 " if shutil.which("taskset") else ""

    def reader(
        name: str,
        whose: Iterable[str] | None,
        *mode: str,
        trail: Path = every_account,
        before: str = "",
    ) -> Row:
        principals = ",".join(whose) if whose is not None else "all"
        command = shlex.join(
            [sys.executable, "-m", "bench.ingestion", "--read", str(trail), principals, *mode]
        )
        return Row(name, before + command, frozenset(whose) if whose is not None else None)

    tool = (
        f"{shlex.quote(sys.executable)} -c 'from leastpriv.cli.main import console_main;"
        " console_main()'"
    )
    command = f"{tool} permissions --trails {shlex.quote(str(logs))}"
    cached = f"{command} --cache-dir {shlex.quote(str(cache))}"
    return [
        reader("1 role, on one core", [role], "calls", before=on_one_core),
        reader("1 role", [role], "calls"),
        reader("10 roles, on one core", ten, "calls", before=on_one_core),
        reader("10 roles", ten, "calls"),
        reader("the hottest role", [hot], "calls"),
        reader("all roles", None, "calls"),
        reader("1 role of one account in four", [role], "calls", trail=logs),
        reader("1 role, and the statistics of all principals", [role], "survey"),
        Row("permissions --role-arn (1 role)", f"{command} --role-arn {role} >/dev/null"),
        Row("permissions --role-arn (the hottest)", f"{command} --role-arn {hot} >/dev/null 2>&1"),
        Row(
            "permissions --role-arn (the hottest), first run with a cache",
            f"rm -rf {cache}; {cached} --role-arn {hot} >/dev/null 2>&1",
        ),
        Row(
            "permissions --role-arn (the hottest), second run with a cache",
            f"{cached} --role-arn {hot} >/dev/null 2>&1",
        ),
        Row(
            "permissions --all-roles, on one core",
            f"{on_one_core}{command} --all-roles >/dev/null 2>&1",
            rounds=1,
        ),
        Row("permissions --all-roles", f"{command} --all-roles >/dev/null 2>&1", rounds=1),
    ]


def read(folder: str, named: str, what: str) -> int:
    """Read a folder and print the answer; the row's process."""
    targets = None if named == "all" else frozenset(map(parse_principal, named.split(",")))
    source = TrailFolder(Path(folder), survey=what == "survey")
    answer: Answer = {}
    for call in source.read(Window(), Principals(targets)):
        if isinstance(call, Call) and not is_login(call):
            resource = folded(call.resources[0]) if call.resources else ""
            key: tuple[str, ...] = (
                call.principal,
                call.source,
                call.name,
                call.error_code,
                resource,
            )
            totals = answer.get(key)
            if totals is None:
                answer[key] = [1, call.time, call.time]
            else:
                totals[0] += 1
                totals[1], totals[2] = min(totals[1], call.time), max(totals[2], call.time)
    for key, (count, first, last) in answer.items():
        print(
            json.dumps([*key, count, f"{first:%Y-%m-%dT%H:%M:%SZ}", f"{last:%Y-%m-%dT%H:%M:%SZ}"])
        )
    status = Path("/proc/self/status")
    if status.exists():
        print("peak", status.read_text().partition("VmHWM:")[2].split()[0])
    return 0


def folded(arn: str) -> str:
    """A resource as the truth names it: objects by their bucket."""
    return f"{arn.partition('/')[0]}/*" if arn.startswith("arn:aws:s3:::") and "/" in arn else arn


def naive(folder: str, named: str) -> int:
    """What one writes first: gzip and json."""
    import gzip

    answer: Answer = {}
    for path in sorted(Path(folder).rglob("*.json.gz")):
        with gzip.open(path, "rt") as file:
            records = json.load(file)["Records"]
        for record in records:
            identity = record["userIdentity"]
            role = identity.get("sessionContext", {}).get("sessionIssuer", {}).get("arn")
            if identity.get("type") == "AssumedRole" and role == named:
                add(answer, key_of(role, record), 1, record["eventTime"], record["eventTime"])
    for key, values in answer.items():
        print(json.dumps([*key, *values]))
    return 0


def peer_rows(folder: Path, logs: Path, roles: list[str]) -> list[Row]:
    """What one would use otherwise, for one role."""
    role, files = roles[_MEDIUM_ROLE], f"find {shlex.quote(str(logs))} -name '*.json.gz'"
    rows = [
        Row("gzip -dc", f"{files} | xargs gzip -dc >/dev/null"),
        Row(
            "Python: gzip, json",
            shlex.join([sys.executable, "-m", "bench.ingestion", "--naive", str(logs), role]),
            frozenset({role}),
            1,
        ),
    ]
    if shutil.which("jq"):
        rows.append(
            Row(
                "gzip -dc | jq",
                f"{files} | xargs gzip -dc | jq -c --arg role {role} {shlex.quote(_JQ)}",
                frozenset({role}),
                1,
            )
        )
    for name, package in _PEERS.items():
        python = folder / "peers" / name / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True)
    duckdb, scraper = (folder / "peers" / name / "bin" for name in _PEERS)
    query = _SQL.format(logs=logs, role=role)
    rows.append(
        Row(
            "DuckDB",
            shlex.join([str(duckdb / "python"), "-c", _DUCKDB, query]),
            frozenset({role}),
            1,
        )
    )
    select = f"{scraper / 'trailscraper'} select --log-dir {logs} --filter-assumed-role-arn {role}"
    generate = f"{select} | {scraper / 'trailscraper'} generate"
    rows.append(Row("trailscraper", generate, frozenset({role}), 1, policy=True))
    return rows


_JQ = (
    '.Records[] | select(.userIdentity.type == "AssumedRole") |'
    " select(.userIdentity.sessionContext.sessionIssuer.arn == $role) | [$role, .eventSource,"
    ' .eventName, .errorCode // "", .resources[0].ARN // "", 1, .eventTime, .eventTime]'
)
_DUCKDB = (
    "import duckdb, json, sys\nfor row in duckdb.sql(sys.argv[1]).fetchall():"
    " print(json.dumps(row))"
)
_SQL = """
SELECT userIdentity.sessionContext.sessionIssuer.arn AS role, eventSource, eventName,
  coalesce(errorCode, ''),
  regexp_replace(coalesce(resources[1].ARN, ''), '^(arn:aws:s3:::[^/]*/).*', '\\1*'),
  count(*), min(eventTime), max(eventTime)
FROM (SELECT unnest(Records, max_depth := 2)
  FROM read_json('{logs}/**/*.json.gz', format='newline_delimited',
  records=true, maximum_object_size=200000000,
  columns={{Records: 'STRUCT(eventTime VARCHAR, eventSource VARCHAR, eventName VARCHAR,
  errorCode VARCHAR, resources STRUCT(ARN VARCHAR)[], userIdentity STRUCT(
  type VARCHAR, sessionContext STRUCT(sessionIssuer STRUCT(arn VARCHAR))))[]'}}))
WHERE role = '{role}' AND userIdentity.type = 'AssumedRole' GROUP BY ALL
"""
"""Without `records=true` its look at the files' shape alone takes ten times as long."""


def table(title: str, logs: Path, truth: Answer, rows: list[Row], rounds: int) -> int:
    """Run all rows in turn and print their medians; how many were wrong."""
    files = f"find {shlex.quote(str(logs))} -name '*.json.gz' | xargs igzip -dc >/dev/null"
    run(files)
    spent: dict[str, list[tuple[Spent, Spent]]] = {row.name: [] for row in rows}
    wrong: set[str] = set()
    for number in range(rounds):
        for row in rows:
            if number < row.rounds:
                limit = run(files)
                spent[row.name].append((run(row.command), limit))
                if (
                    not number
                    and not row.policy
                    and not is_right(row, spent[row.name][0][0].answer, truth)
                ):
                    wrong.add(row.name)
    limits = [limit.cpu for pairs in spent.values() for _, limit in pairs]
    print(f"\n{title}; L = {statistics.median(limits):.2f} s of one core\n")
    print("| | CPU / L | wall / L | peak MiB | answer |\n| --- | --: | --: | --: | --- |")
    for row in rows:
        pairs = spent[row.name]
        cpu, wall = (
            statistics.median(f(cost) / f(limit) for cost, limit in pairs) for f in (_cpu, _wall)
        )
        peak = max(cost.peak for cost, _ in pairs)
        if row.policy:
            answer = actions_in(row, pairs[0][0].answer, truth)
        elif row.roles == frozenset():
            answer = ""
        else:
            answer = "WRONG" if row.name in wrong else "right"
        print(
            f"| {row.name} | {cpu:.2f} | {wall:.2f} | {peak:.0f} | {answer} |",
            flush=True,
        )
    return len(wrong)


def _cpu(spent: Spent) -> float:
    return spent.cpu


def _wall(spent: Spent) -> float:
    return spent.wall


def run(command: str) -> Spent:
    """Run a command line to its end."""
    started = time.perf_counter()
    process = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, text=True)
    answer = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"This failed with {process.returncode}: {command}")
    wall = time.perf_counter() - started
    printed, has_peak, peak = answer.rpartition("peak ")
    if has_peak:
        # What `wait4` reports begins with the memory of whoever started the process.
        return Spent(usage.ru_utime + usage.ru_stime, wall, int(peak) / 1024, printed)
    return Spent(usage.ru_utime + usage.ru_stime, wall, mebibytes_of(usage), answer)


def is_right(row: Row, printed: str, truth: Mapping[tuple[str, ...], list[Any]]) -> bool:
    """Whether a row's answer is the truth about its roles; a row that prints none is not asked."""
    if row.roles is not None and not row.roles:
        return True
    expected = {
        key: value for key, value in truth.items() if row.roles is None or key[0] in row.roles
    }
    roles = {key[0] for key in expected}
    answer: Answer = {}
    # DuckDB draws its progress among them.
    for line in filter(re.compile(r"\[").match, printed.splitlines()):
        *key, resource, count, first, last = json.loads(line)
        if key[0] in roles:  # the truth is about the generator's roles, not about users
            add(answer, (*key, folded(resource)), count, first, last)
    # Records that name no resource are one row here, and in the truth one for each that the
    # generator had in mind.
    for *key, resource in [key for key in expected if key not in answer]:
        add(expected, (*key, ""), *expected.pop((*key, resource)))
    return answer == expected


def actions_in(row: Row, printed: str, truth: Mapping[tuple[str, ...], list[Any]]) -> str:
    """How many of the calls that a role made are actions of a policy, by their names."""
    granted = {
        action.partition(":")[2].lower()
        for statement in json.loads(printed)["Statement"]
        for action in statement["Action"]
    }
    called = {
        name for role, _, name, error, _ in truth if row.roles and role in row.roles and not error
    }
    return f"{sum(name.lower() in granted for name in called)} of {len(called)} actions"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
