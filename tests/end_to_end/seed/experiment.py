"""The experiment: deploy as an administrator, propose from the records, deploy under the proposal alone, extend.

Every deploy starts in an account with nothing in it, so that all of it happens again, under new generated names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.end_to_end.lab.lab import Environment, Lab
from tests.end_to_end.seed.deploys import Deploy

ROLE = "ci-deploy"
MOST_ROUNDS = 12
_PASSED_ON = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")


@dataclass(frozen=True, slots=True)
class Done:
    """One deploy: what the steps printed, and the label of the step that failed (empty: none did)."""

    log: Path
    failed: str
    records: Path


@dataclass(frozen=True, slots=True)
class Round:
    """One deploy under a policy, and what the policy was given afterwards."""

    failed: str
    added: tuple[str, ...]
    """`action on resource`."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the experiment showed."""

    deploy: str
    policy: Mapping[str, Any]
    """The first proposal, from the administrator's records."""
    rounds: tuple[Round, ...]
    """Rounds that needed an extension; the one after them was clean."""
    clean: bool
    seconds: float


def experiment(deploy: Deploy, folder: Path, *, data_events: bool) -> Told:
    """Runs it for one tool; `data_events` says whether the trail records S3 objects and the like."""
    begin = time.monotonic()
    with Lab.start(folder / "administrator", data_events=data_events) as lab:
        arn = lab.admin_role(ROLE)
        done = deployed(deploy, lab, folder / "administrator", "1001", arn)
    assert not done.failed, f"the administrator's deploy failed in {done.failed}:\n{_end_of(done.log)}"
    file, trails = folder / "policy" / "ci-deploy.json", [done.records]
    proposal = propose(arn, file, trails, folder / "proposals" / "0")
    merge(proposal, folder / "proposals" / "0", file.parent)
    first = policy_of(file.parent)
    rounds: list[Round] = []
    logs: list[Path] = []
    for number in range(1, MOST_ROUNDS + 1):
        place = folder / f"round-{number}"
        with Lab.start(place, data_events=data_events) as lab:
            arn = lab.role(ROLE, policy_of(file.parent))
            done = deployed(deploy, lab, place, f"{1001 + number}", arn)
        if not done.failed:
            return Told(deploy.name, first, tuple(rounds), True, time.monotonic() - begin)
        trails.append(done.records)
        logs.append(done.log)
        out = folder / "proposals" / str(number)
        proposal = propose(arn, file, trails, out, logs)
        added = tuple(_added(proposal))
        rounds.append(Round(done.failed, added))
        if not added:
            break
        merge(proposal, out, file.parent)
    return Told(deploy.name, first, tuple(rounds), False, time.monotonic() - begin)


def deployed(deploy: Deploy, lab: Lab, folder: Path, session: str, arn: str) -> Done:
    """Runs the steps until one fails, as the role, and writes the records."""
    app, log = folder / "app", folder / "deploy.log"
    steps = deploy.prepare(app, lab)
    keys, failed = lab.assume(arn, session), ""
    with log.open("wb") as output:
        for step in steps:
            output.write(f"### {step.label}\n".encode())
            output.flush()
            variables = _variables(folder, keys, step.variables)
            done = subprocess.run(
                step.command, cwd=app, env=variables, stdout=output, stderr=subprocess.STDOUT, check=False, timeout=300
            )
            if done.returncode:
                failed = step.label
                break
    lab.flush()
    return Done(log, failed, lab.records)


def propose(arn: str, file: Path, trails: Sequence[Path], out: Path, logs: Sequence[Path] = ()) -> Any:
    """Runs `leastpriv propose` as a person would; gives what `proposal.json` says."""
    command = [str(Path(sys.executable).parent / "leastpriv"), "propose", "--role-arn", arn, "--policy-file", str(file)]
    command += [part for trail in trails for part in ("--trail", str(trail))]
    command += [part for log in logs for part in ("--job-log", str(log))]
    done = subprocess.run([*command, "--output-dir", str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((out / "proposal.json").read_bytes())


def merge(proposal: Any, out: Path, policies: Path) -> None:
    """Takes a proposal over: its files, of which there are several where one policy has no room for it."""
    policies.mkdir(exist_ok=True)
    names = [Path(each["path"]).name for each in proposal["proof"]["files"]]
    for name in names:
        (policies / name).write_bytes((out / (name if len(names) > 1 else "policy.json")).read_bytes())


def policy_of(policies: Path) -> dict[str, Any]:
    """All policies of the role as one: what is attached counts together."""
    read = [json.loads(file.read_bytes()) for file in sorted(policies.iterdir())]
    return {"Version": "2012-10-17", "Statement": [statement for each in read for statement in each["Statement"]]}


def _variables(folder: Path, keys: Environment, own: Mapping[str, str]) -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**passed, "HOME": str(folder), "NO_COLOR": "1", **keys, **own}


def _added(proposal: Any) -> Iterator[str]:
    for change in proposal["changes"]:
        if change["kind"] == "add":
            yield from (f"{change['action']} on {resource}" for resource in change["resources"])


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-3_000:]
