"""Deploys apps in the lab under the policies that `propose` makes of their template or plan alone.

    python -m bench.first_draft [--all-phases] FOLDER [APP …]

An app is `cdk-SHAPE` (credentials of the CLI), `roles-SHAPE` (the roles of the CDK's bootstrap),
`terraform-SHAPE` or `sam-events` of `bench.future`, a tool of the seed, `seed-sam`, or
`updates-NAME`, whose five updates set properties that its template lacks. Each role of
the app has exactly the policies of its draft, that of a plan also what the old provider of the lab
calls. Run 1 deploys under the draft of the change, the next ones under the draft of all phases.
After five runs in which each role acted (a deployment that changes nothing needs no execution
role), the others, among them the deletion and a new deployment, have what the proposal with the
guards' defaults makes of the draft of the change; with `--all-phases`, and for `updates-` apps, all
runs have the draft of all phases. What a run is denied is counted and granted, and
the run repeated.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.future.future import LabEvaluator
from bench.future.plan import FRESH, SHAPES, plan
from bench.future.record import (
    APPS,
    BUCKET,
    ROLE,
    bootstrap,
    cdk,
    commands,
    move_records,
    of_other_shapes,
)
from leastpriv.cli.main import main as leastpriv
from tests.end_to_end.lab.lab import ACCOUNT, Lab
from tests.end_to_end.seed import deploys, tools
from tests.end_to_end.seed.deploys import Step
from tests.end_to_end.seed.experiment import deployed

EXECUTION = f"cdk-hnb659fds-cfn-exec-role-{ACCOUNT}-us-east-1"
"""The role of the CDK's bootstrap that CloudFormation makes the resources with."""
LEARNED = 5
"""Runs of each role after which a proposal from the evidence replaces the policies."""
_SEED = {
    "cloudformation": (deploys.CLOUDFORMATION, "orders=app/template.yaml"),
    "sam": (deploys.SAM, "orders=app/template.yaml"),
    "cdk": (deploys.CDK_WITH_KEYS, "app/cdk.out"),
    "roles": (deploys.CDK_WITH_ROLES, "app/cdk.out"),
    "terraform": (deploys.TERRAFORM, "app/plan.json"),
}
_UPDATES = ("store", "worker", "flow", "served", "data", "serverless", "cdk")
_UPDATES_OF_CDK = 5
_SEED_RUNS = "first change first change first change destroy first"
_FIRST_DAY = datetime(2026, 5, 1, 9, tzinfo=UTC)
_APART = timedelta(days=10)
_MOST_ATTEMPTS = 15
_FIRST_SESSION = 1001
_OLD_PROVIDER = {
    "Sid": "OldProvider",
    "Effect": "Allow",
    "Action": [
        "ec2:DescribeVpcClassicLink", "ec2:DescribeVpcClassicLinkDnsSupport",
        "kinesis:DescribeStream",
        "kinesis:UpdateShardCount", "logs:ListTagsLogGroup", "logs:TagLogGroup",
    ],
    "Resource": ["*"],
}  # fmt: skip
"""What version 3.39 of Terraform's AWS provider calls, and the version of the tables does not."""
_DENIED = "Denied"
"""Begins the Sids of what the bench grants after a denial."""

Pair = tuple[str, str]
Statements = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class App:
    """An app as it is deployed."""

    declared: tuple[str, str]
    """`--templates` or `--plans`, and its value."""
    roles: tuple[str, ...]
    """The role of the CI, and the execution role."""
    runs: tuple[Callable[[], Sequence[Step]], ...]
    keeps_draft: bool = False
    """All runs have the draft of all phases."""


@dataclass(slots=True)
class Measured:
    """What the runs under one policy of one role show."""

    policy: str
    role: str
    granted: frozenset[str] = frozenset()
    """Actions that the policy grants."""
    used_before: int = 0
    """Actions that the runs before used."""
    used: set[str] = field(default_factory=set)
    """Actions that runs used up to the last under this policy."""
    denied: dict[Pair, int] = field(default_factory=dict)
    """Denied pair -> its first run."""
    announced: frozenset[str] = frozenset()
    """Actions that the report names as needed and not added."""

    @property
    def unannounced(self) -> tuple[Pair, ...]:
        """The denied pairs that the report did not name."""
        return tuple(pair for pair in self.denied if pair[0] not in self.announced)

    def __str__(self) -> str:
        parts = (self.used_before, len(self.used)) if self.used_before else (len(self.used),)
        count = len(self.granted)
        ratios = ", ".join(
            f"{count} granted / {used_count} used = {count / used_count:.2f}"
            for used_count in parts
        )
        pairs = ", ".join(
            f"{action} on {resource} (run {run}{', announced' * (action in self.announced)})"
            for (action, resource), run in self.denied.items()
        )
        return (
            f"{self.role} under {self.policy}: {ratios}, denied"
            f" {len(self.denied)}{': ' if pairs else ''}{pairs}"
        )


def main(arguments: list[str]) -> None:
    """Measures the given apps, or all."""
    names = [f"{tool}-{shape}" for tool in ("cdk", "roles", "terraform") for shape in SHAPES]
    names += [f"sam-{shape}" for shape in FRESH["sam"]] + [f"seed-{name}" for name in _SEED]
    names += [f"updates-{name}" for name in _UPDATES]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        help="folder whose subfolders of the apps are replaced",
    )
    parser.add_argument(
        "apps", metavar="APP", nargs="*", help=f"one of {', '.join(names)}; all without one"
    )
    parser.add_argument(
        "--all-phases", action="store_true", help="all runs have the draft of all phases"
    )
    options = parser.parse_args(arguments)
    # An app's folder is deleted first: a path in place of a name would delete another folder.
    if unknown := [name for name in options.apps if name not in names]:
        parser.error(f"{unknown[0]!r} is no app: choose from {', '.join(names)}")
    for name in options.apps or names:
        work = options.folder.resolve() / name
        for measured in measure(name, work, keeps_draft=options.all_phases):
            print(f"{name}: {measured}", flush=True)


def measure(name: str, work: Path, runs: int = 8, *, keeps_draft: bool = False) -> list[Measured]:
    """Returns what the first runs of an app show of its policies."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with Lab.start(work / "lab", checks=True) as lab:
        bench = _Bench(work, lab, _prepared(name, work, lab))
        bench.keeps_draft = bench.keeps_draft or keeps_draft
        measurements = bench.measured(runs)
    for subfolder in ("app", "lab"):
        shutil.rmtree(work / subfolder, ignore_errors=True)
    return measurements


class _Bench:
    """One app in its lab, with the policies that its roles have now."""

    def __init__(self, work: Path, lab: Lab, app: App) -> None:
        self.work, self.lab, self.app = work, lab, app
        self.keeps_draft = app.keeps_draft
        self.evaluator = LabEvaluator()
        self.policies: dict[str, Statements] = {}
        self.first: dict[str, Statements] = {}
        """The draft of the change, with what the first run was denied."""
        self.announced: dict[str, frozenset[str]] = {}
        """Actions that the report of the last draft of a role names and does not add."""
        self.attempts = 0
        self.used: dict[str, set[str]] = {role: set() for role in app.roles}
        self.acted = dict.fromkeys(app.roles, 0)
        """Runs with a call of each role."""

    def measured(self, runs: int) -> list[Measured]:
        measurements: list[Measured] = []
        for number, steps in enumerate(self.app.runs[:runs], 1):
            has_learned = bool(self.first) and min(self.acted.values()) >= LEARNED
            if number == 1 or (not self.keeps_draft and (number == 2 or has_learned)):
                measurements += (self._now(number, role) for role in self.app.roles)
            self._run(number, steps, measurements[-len(self.app.roles) :])
        if len(self.app.runs) <= runs and not self.keeps_draft:
            measurements += (self._now(runs + 1, role) for role in self.app.roles)
        self.evaluator.close()
        return measurements

    def _now(self, number: int, role: str) -> Measured:
        """Replaces the policies of a role before a run."""
        committed = [
            statement for statement in self.policies.get(role, ()) if statement is not _OLD_PROVIDER
        ]
        if self.keeps_draft:
            name, statements = "the draft of all phases", self._proposed(role, "all")
        elif number == 1:
            name, statements = "the draft of the change", self._proposed(role, "change")
        elif number == 2:
            self.first[role] = committed
            denied = [
                statement
                for statement in self.first[role]
                if statement.get("Sid", "").startswith(_DENIED)
            ]
            name, statements = "the draft of all phases", [*self._proposed(role, "all"), *denied]
        else:
            name = f"the proposal after {number - 1} runs ({self.acted[role]} of the role)"
            statements = self._proposed(role, "change", self.first.pop(role, committed))
        granted = frozenset(action for statement in statements for action in _actions(statement))
        self._install(
            role, [*statements, _OLD_PROVIDER] if self.app.declared[0] == "--plans" else statements
        )
        return Measured(
            policy=name,
            role=role,
            granted=granted,
            used_before=len(self.used[role]),
            used=set(self.used[role]),
            announced=self.announced[role],
        )

    def _run(self, number: int, steps: Callable[[], Sequence[Step]], now: list[Measured]) -> None:
        """Deploys until the run passes, and grants after each attempt what it was denied.

        An attempt that fails without a new denial would fail again, so that it ends the bench.
        """
        roles_in_run: set[str] = set()
        for _ in range(_MOST_ATTEMPTS):
            self._checks_file.unlink(missing_ok=True)
            session = str(_FIRST_SESSION + self.attempts)
            keys = self.lab.assume(f"arn:aws:iam::{ACCOUNT}:role/{ROLE}", session)
            log, code = deployed(steps(), self.work, keys)
            self._keep_records(session)
            checks = self._read_checks()
            has_denial = [self._count(measured, checks, number) for measured in now]
            roles_in_run.update(
                role
                for role in self.acted
                if any(f":assumed-role/{role}/" in check["principal"] for check in checks)
            )
            if code == 0:
                self.acted |= {role: self.acted[role] + 1 for role in roles_in_run}
                return
            if not any(has_denial):
                break
        raise SystemExit(f"run {number} of {self.work.name} failed:\n{log[-3_000:]}")

    @property
    def _checks_file(self) -> Path:
        """The permissions that the lab checked since the file was last deleted, as JSON lines."""
        return self.work / "lab" / "checks.jsonl"

    def _read_checks(self) -> list[dict[str, Any]]:
        if not self._checks_file.exists():
            return []
        return [json.loads(line) for line in self._checks_file.read_text("utf-8").splitlines()]

    def _count(self, measured: Measured, checks: Sequence[Mapping[str, Any]], number: int) -> bool:
        """Counts the checks of a role, and grants what it was denied; whether there was a
        denial.
        """
        role_checks = [
            check for check in checks if f":assumed-role/{measured.role}/" in check["principal"]
        ]
        self.used[measured.role].update(check["action"] for check in role_checks)
        measured.used = set(self.used[measured.role])
        policy = {"Version": "2012-10-17", "Statement": self.policies[measured.role]}
        answers = self.evaluator.allowed([policy], role_checks)
        denied = {
            (check["action"], check["resource"])
            for check, allowed in zip(role_checks, answers, strict=True)
            if not allowed
        }
        for action, resource in sorted(denied):
            measured.denied.setdefault((action, resource), number)
            sid = f"{_DENIED}{len(self.policies[measured.role])}"
            grant = {"Sid": sid, "Effect": "Allow", "Action": [action], "Resource": [resource]}
            self._install(measured.role, [*self.policies[measured.role], grant])
        return bool(denied)

    def _keep_records(self, session: str) -> None:
        """Moves the records of an attempt to its own day."""
        self.lab.flush()
        moved = self.work / "records" / session
        move_records(self.lab.records, moved, _FIRST_DAY + self.attempts * _APART)
        self.lab.records.mkdir(exist_ok=True)
        self.attempts += 1

    def _proposed(self, role: str, phases: str, committed: Statements | None = None) -> Statements:
        """The policies of a draft, or those that the evidence makes of the committed ones."""
        out, file = self.work / f"{role}-{self.attempts}", self.work / f"{role}.json"
        file.unlink(missing_ok=True)
        arguments = [
            "propose",
            "--role-arn",
            f"arn:aws:iam::{ACCOUNT}:role/{role}",
            "--policy-file",
            str(file),
        ]
        arguments += [
            "--aws-regions",
            "us-east-1",
            "--declared-phases",
            phases,
            "--output-dir",
            str(out),
        ]
        if committed is not None:
            file.write_text(
                json.dumps({"Version": "2012-10-17", "Statement": committed}, indent=2),
                encoding="utf-8",
            )
            arguments += ["--trails", str(self.work / "records")]
        now = _FIRST_DAY + self.attempts * _APART
        code = leastpriv([*arguments, *self.app.declared], io.StringIO(), sys.stderr, lambda: now)
        if code:
            raise SystemExit(code)
        held_back = json.loads((out / "proposal.json").read_bytes())["held_back_additions"]
        self.announced[role] = frozenset(addition["action"] for addition in held_back)
        split = sorted(out.glob(f"{role}*.json")) or [out / "policy.json"]
        return [
            statement for path in split for statement in json.loads(path.read_bytes())["Statement"]
        ]

    def _install(self, role: str, statements: Statements) -> None:
        self.policies[role] = statements
        self.lab.set_policy(role, {"Version": "2012-10-17", "Statement": statements})


def _prepared(name: str, work: Path, lab: Lab) -> App:
    """Makes the folder of an app, its roles, and what it declares."""
    tool, _, shape = name.partition("-")
    lab.role(ROLE, None)
    if tool == "updates":
        app = _with_updates(shape, work, lab)
    elif tool == "seed":
        app = _of_the_seed(shape, work, lab)
    else:
        app = _of_the_future(tool, shape, work, lab)
    if EXECUTION in app.roles:
        iam = lab.client("iam")
        for attached in iam.list_attached_role_policies(RoleName=EXECUTION)["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=EXECUTION, PolicyArn=attached["PolicyArn"])
    lab.flush()
    shutil.rmtree(lab.records)
    return app


def _of_the_future(tool: str, shape: str, work: Path, lab: Lab) -> App:
    kind = "cdk" if tool == "roles" else tool
    extra_variables = {"BOOTSTRAP_ROLES": "1"} if tool == "roles" else {}
    shutil.copytree(
        APPS / kind, work / "app", ignore=of_other_shapes(shape) if kind == "terraform" else None
    )
    states = plan(shape, "-draft")
    if kind == "sam":
        lab.client("s3").create_bucket(Bucket=BUCKET)

    def steps(number: int) -> Iterator[Step]:
        run = states[number]
        app = work / "app"
        for command, variables in commands(
            kind, shape, run, is_first=number == 0, app=app, lab=lab
        ):
            yield Step(f"run {number + 1}", tuple(command), {**variables, **extra_variables})

    if kind == "cdk":
        bootstrap(work, lab, states)
        first = next(steps(0))
        synth = Step(
            "synth",
            (cdk(), "--no-notices", "synth", "--quiet", "--output", "first.out"),
            first.variables,
        )
        _call([synth], work, lab)
        declared = ("--templates", str(work / "app" / "first.out"))
    elif kind == "terraform":
        declared = ("--plans", _planned([*steps(0)], work, lab))
    else:
        # What the command line of `aws cloudformation deploy` gives, where `templates` reads it.
        parameters = "Release=1 Setting=60 Name=orders-1"
        config = f'[default.deploy.parameters]\nstack_name = "orders"\ns3_bucket = "{BUCKET}"\n'
        config += f'parameter_overrides = "{parameters}"\n'
        (work / "app" / "samconfig.toml").write_text(config, encoding="utf-8")
        declared = ("--templates", str(work / "app" / f"{shape}.yaml"))
    runs = tuple(lambda number=number: list(steps(number)) for number in range(len(states)))
    return App(declared, (ROLE, *((EXECUTION,) if tool == "roles" else ())), runs)


def _with_updates(name: str, work: Path, lab: Lab) -> App:
    """Makes an app whose updates set properties of the resources of its first version."""
    if name == "cdk":
        return _cdk_with_updates(work, lab)
    described = json.loads((APPS / "updates" / f"{name}.json").read_bytes())
    if described.get("tool") == "terraform":
        return _plan_with_updates(described, work, lab)
    return _template_with_updates(described, work)


def _template_with_updates(described: Mapping[str, Any], work: Path) -> App:
    """Makes an app of CloudFormation or, with the tool `sam`, of its transform."""
    resources = described["resources"]
    capabilities = ["--capabilities", "CAPABILITY_IAM"]
    transform = {}
    if described.get("tool") == "sam":
        transform = {"Transform": "AWS::Serverless-2016-10-31"}
        capabilities.append("CAPABILITY_AUTO_EXPAND")
    aws = (str(tools.awscli()), "cloudformation")
    stack = ("--stack-name", "shop")
    runs: list[Sequence[Step]] = []
    for number, update in enumerate(({}, *described["updates"])):
        for logical_id, properties in update.items():
            resources[logical_id]["Properties"].update(properties)
        file = work / "app" / f"{number}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({**transform, "Resources": resources}), encoding="utf-8")
        deploy = (*aws, "deploy", "--template-file", file.name, *stack)
        runs.append([Step(f"update {number}", (*deploy, *capabilities), {})])
    wait = Step("wait", (*aws, "wait", "stack-delete-complete", *stack), {})
    runs.append([Step("delete", (*aws, "delete-stack", *stack), {}), wait])
    declared = ("--templates", f"shop={work / 'app' / '0.json'}")
    steps = tuple(lambda steps_of_run=steps_of_run: steps_of_run for steps_of_run in runs)
    return App(declared, (ROLE,), steps, keeps_draft=True)


def _plan_with_updates(described: Mapping[str, Any], work: Path, lab: Lab) -> App:
    """Makes an app of Terraform in its JSON syntax."""
    app = work / "app"
    app.mkdir()
    shutil.copy(APPS / "terraform" / "provider.tf", app)
    for release, archive in enumerate(("worker.zip", "second.zip"), 1):
        with zipfile.ZipFile(app / archive, "w") as file:
            code = f"def handler(event, context):\n    return {release}\n"
            file.writestr(zipfile.ZipInfo("worker.py", (2026, 1, 1, 0, 0, 0)), code)
    resources = described["resources"]
    versions: list[str] = []
    for update in ({}, *described["updates"]):
        for address, attributes in update.items():
            kind, _, resource = address.partition(".")
            resources[kind][resource].update(attributes)
        versions.append(json.dumps({"resource": resources}))
    program = str(tools.terraform() / "program")
    variables = {
        "TF_CLI_CONFIG_FILE": str(tools.terraform() / "terraform.rc"),
        "TF_VAR_endpoint": lab.endpoint,
        "TF_IN_AUTOMATION": "1",
    }
    options = ("-input=false", "-no-color")

    def steps(number: int) -> list[Step]:
        if number == len(versions):
            return [Step("destroy", (program, "destroy", "-auto-approve", *options), variables)]
        (app / "main.tf.json").write_text(versions[number], encoding="utf-8")
        init = Step("init", (program, "init", *options), variables)
        plan_step = Step("plan", (program, "plan", *options), variables)
        apply = Step("apply", (program, "apply", "-auto-approve", *options), variables)
        return [init, plan_step, apply]

    declared = ("--plans", _planned(steps(0), work, lab))
    runs = tuple(lambda number=number: steps(number) for number in range(len(versions) + 1))
    return App(declared, (ROLE,), runs, keeps_draft=True)


def _cdk_with_updates(work: Path, lab: Lab) -> App:
    """Makes an app of the CDK that the roles of its bootstrap deploy."""
    shutil.copytree(APPS / "updates" / "cdk", work / "app")
    bootstrap(work, lab, ())
    command = (cdk(), "--no-notices", "--ci")
    environment = {"CDK_HOME": str(work / "app" / ".cdk-home"), "CDK_DISABLE_CLI_TELEMETRY": "1"}

    def steps(number: int) -> list[Step]:
        variables = {**environment, "UPDATE": str(number)}
        if number > _UPDATES_OF_CDK:
            return [Step("destroy", (*command, "destroy", "--force"), variables)]
        return [
            Step("deploy", (*command, "deploy", "--require-approval", "never"), variables),
        ]

    synth = Step("synth", (*command, "synth", "--quiet", "--output", "first.out"), environment)
    _call([synth], work, lab)
    declared = ("--templates", str(work / "app" / "first.out"))
    runs = tuple(lambda number=number: steps(number) for number in range(_UPDATES_OF_CDK + 2))
    return App(declared, (ROLE, EXECUTION), runs, keeps_draft=True)


def _of_the_seed(name: str, work: Path, lab: Lab) -> App:
    deploy, path = _SEED[name]
    steps = deploy.prepare(work / "app", lab)
    before = [step for step in steps if step.label in ("bootstrap", "synth", "validate", "build")]
    stack, separator, path = path.rpartition("=")
    source = f"{stack}{separator}{work / path}"
    if name == "terraform":
        source = _planned(list(steps[:3]), work, lab)
    elif name == "sam":
        config = (
            'version = 0.1\n[default.deploy.parameters]\nstack_name = "orders"\ns3_bucket ='
            f' "{BUCKET}"\n'
        )
        (work / "app" / "samconfig.toml").write_text(config, encoding="utf-8")
    elif name in ("cdk", "roles"):
        _call(before, work, lab)
    groups = {
        "first": [
            step
            for step in steps[: _index_of(steps, "first deploy") + 1]
            if step.label != "bootstrap"
        ],
        "change": [
            step
            for step in steps
            if step.label in ("package", "deploy of a change", "diff of a change")
        ],
        "destroy": list(steps[_index_of(steps, "deploy of a change") + 1 :]),
    }
    runs = tuple(lambda what=what: groups[what] for what in _SEED_RUNS.split())
    option = "--plans" if name == "terraform" else "--templates"
    return App((option, source), (ROLE, *((EXECUTION,) if name == "roles" else ())), runs)


def _index_of(steps: Sequence[Step], label: str) -> int:
    return next(index for index, step in enumerate(steps) if step.label == label)


def _planned(steps: Sequence[Step], work: Path, lab: Lab) -> str:
    """The plan of the first deploy as JSON, made by an administrator."""
    init, planned = steps[0], next(step for step in steps if "plan" in step.command)
    plan_file = work / "app" / "first.json"
    program, variables = init.command[0], planned.variables
    _call([init, Step("plan", (*planned.command, "-out=first.plan"), variables)], work, lab)
    # Output of plugins is marked `o:` in the programs of `tools.terraform`.
    show = f"{program} show -json first.plan | sed 's/^o://' > {plan_file}"
    _call([Step("show", ("sh", "-c", show), variables)], work, lab)
    return str(plan_file)


def _call(steps: Sequence[Step], work: Path, lab: Lab) -> None:
    log, code = deployed(steps, work, lab.root)
    if code:
        raise SystemExit(log[-3_000:])


def _actions(statement: Mapping[str, Any]) -> list[str]:
    action = statement["Action"]
    return action if isinstance(action, list) else [action]


if __name__ == "__main__":
    main(sys.argv[1:])
