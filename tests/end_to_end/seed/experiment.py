"""Deploys as an administrator, proposes from the records, deploys under the proposal alone, and
extends it.

The deploy under the proposal is a `leastpriv trial` in an empty account, so that every call is made
again, with new generated names. Its first round shows whether the proposal suffices, each further
one is an extension.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.end_to_end.lab.lab import Environment, Lab
from tests.end_to_end.seed.deploys import Deploy, Step

ROLE = "ci-deploy"
MOST_ROUNDS = 20
_PASSED_ON = (
    "PATH",
    "PYTHONPATH",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
)
_RUNS = Path(__file__).with_name("run_steps.py")
_LEASTPRIV = (
    sys.executable,
    "-c",
    "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())",
)
_ROUND = re.compile(r"^Round (\d+) ")
_ADDED = re.compile(r"^  \+ (.+?) on (\S+)")


_DATA_OF = ("dynamodb", "kinesis", "kms", "lambda", "s3", "sns", "sqs", "ssm", "states")
"""Services whose data the deploys may read and write in a trial."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The result of the experiment."""

    deploy: str
    policy: Mapping[str, Any]
    """The first proposal, from the administrator's records, and the accepted offers."""
    extensions: int
    """Rounds with a denial before the clean one."""
    added: tuple[str, ...]
    """`action on resource`, in the order of the extended file."""
    clean: bool
    seconds: float
    log: str
    """The output of the trial."""


def experiment(
    deploy: Deploy,
    folder: Path,
    *,
    data_events: bool,
    until: str = "",
    accept_offers: bool = False,
    fresh_names: bool = False,
) -> TrialResult:
    """Runs it for one tool; `data_events` says whether the trail records S3 objects and similar
    data events.

    `until` is the label of the administrator's last step: empty for all. With `accept_offers` a
    person accepts the offers of the proposal, including the permissions that the handlers of the
    app's resource types declare. With `fresh_names` each deploy writes another word into its names.
    """
    fresh = {"FRESH_NAMES": "1"} if fresh_names else {}
    begin = time.monotonic()
    file, place = folder / "ci-deploy.json", folder / "administrator"
    with Lab.start(place, data_events=data_events) as lab:
        arn = lab.admin_role(ROLE)
        steps = deploy.prepare(place / "app", lab)
        log, code = deployed(_until(steps, until), place, {**lab.assume(arn, "1001"), **fresh})
        assert code == 0, f"the administrator's deploy failed:\n{log[-3_000:]}"
        lab.flush()
        template = place / "app" / deploy.template if accept_offers and deploy.template else None
        proposal = propose(arn, file, lab.records, folder / "proposal", template, lab.root)
    policy = policy_of(proposal, folder / "proposal", accept_offers=accept_offers)
    file.write_text(json.dumps(policy, indent=2), encoding="utf-8")
    place = folder / "trial"
    with Lab.start(place, data_events=data_events, flush_every=0.2) as lab:
        arn = lab.role(ROLE, None)
        log, code = tried(arn, file, deploy.prepare(place / "app", lab), place, lab, fresh)
    rounds = [int(found[1]) for line in log.splitlines() if (found := _ROUND.match(line))]
    listed = [found for line in log.splitlines() if (found := _ADDED.match(line))]
    added = tuple(f"{action} on {found[2]}" for found in listed for action in found[1].split(", "))
    return TrialResult(
        deploy.name,
        policy,
        max(rounds, default=1) - 1,
        added,
        code == 0,
        time.monotonic() - begin,
        log,
    )


def _until(steps: Sequence[Step], label: str) -> Sequence[Step]:
    last = next((place for place, step in enumerate(steps) if step.label == label), len(steps) - 1)
    return steps[: last + 1]


def deployed(steps: Sequence[Step], folder: Path, keys: Environment) -> tuple[str, int]:
    """Runs the steps until one fails; returns their output and the exit code."""
    return _run(_command(steps, folder), folder, keys)


def tried(
    arn: str,
    file: Path,
    steps: Sequence[Step],
    folder: Path,
    lab: Lab,
    variables: Mapping[str, str],
) -> tuple[str, int]:
    """Tries the policy file on the steps with a temporary role; returns output and exit code.

    A person says yes to the data of the services that the apps use.
    """
    command = [
        *_LEASTPRIV,
        "trial",
        "--role-arn",
        arn,
        "--policy-file",
        str(file),
        "--strategy",
        "trial-role",
    ]
    command += ["--trails", str(lab.records), "--settle", "0", "--max-rounds", str(MOST_ROUNDS)]
    command += ["--wait-for-records", "5"]
    for service in _DATA_OF:
        command += ["--yes-to", f"{service}:*"]
    return _run([*command, "--", *_command(steps, folder)], folder, {**lab.root, **variables})


def propose(
    arn: str,
    file: Path,
    trail: Path,
    out: Path,
    template: Path | None,
    variables: Mapping[str, str],
) -> Any:
    """Runs `leastpriv propose` as a user would; returns `proposal.json`."""
    command = [
        *_LEASTPRIV,
        "propose",
        "--role-arn",
        arn,
        "--policy-file",
        str(file),
        "--trails",
        str(trail),
    ]
    command += ["--templates", str(template)] if template else []
    own = {**os.environ, **variables}
    done = subprocess.run(
        [*command, "--output-dir", str(out)], env=own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((out / "proposal.json").read_bytes())


def policy_of(proposal: Any, out: Path, *, accept_offers: bool) -> dict[str, Any]:
    """The proposed policies as one, with the accepted offers; on all resources, if none is
    named.
    """
    names = [Path(each["path"]).name for each in proposal["proof"]["files"]]
    files = [out / name for name in names] if len(names) > 1 else [out / "policy.json"]
    statements = [each for file in files for each in json.loads(file.read_bytes())["Statement"]]
    if accept_offers:
        statements += [
            {"Effect": "Allow", "Action": offer["action"], "Resource": offer["resources"] or "*"}
            for offer in proposal["suggested_actions"]
        ]
    return {"Version": "2012-10-17", "Statement": statements}


def _command(steps: Sequence[Step], folder: Path) -> list[str]:
    told = [
        {"label": each.label, "command": each.command, "variables": dict(each.variables)}
        for each in steps
    ]
    (folder / "steps.json").write_text(json.dumps(told), encoding="utf-8")
    return [sys.executable, str(_RUNS), str(folder / "steps.json")]


def _run(command: Sequence[str], folder: Path, keys: Environment) -> tuple[str, int]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    variables = {**passed, "HOME": str(folder), "NO_COLOR": "1", **keys}
    log = folder / "deploy.log"
    with log.open("ab") as output:
        done = subprocess.run(
            command,
            cwd=folder / "app",
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return log.read_text(encoding="utf-8", errors="replace"), done.returncode
