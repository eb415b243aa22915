"""Records the histories with the real tools in the lab; they have some megabytes each and are not
kept in git.

    .venv/bin/python -m bench.future.record FOLDER [TOOL-SHAPE[-second] …]

Of each history FOLDER/TOOL-SHAPE gets `records/` (a trail, each run on separate days, three days
apart), and `checks.jsonl`: every authorization check of the lab on the role's policies, with the
run. An existing history is not recorded again. Ten take about half an hour on two idle cores.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, product
from pathlib import Path
from typing import Any

from bench.future.plan import FRESH, NAMED, PLANS, SHAPES, Run, plan
from tests.end_to_end.lab.lab import ACCOUNT, Environment, Lab
from tests.end_to_end.seed import tools

APPS = Path(__file__).with_name("apps")
ROLE = "ci-deploy"
TOOLS = ("cdk", "terraform")
BUCKET = f"deploys-{ACCOUNT}"
_FIRST_DAY = datetime(2026, 9, 1, 9, tzinfo=UTC)
_APART = timedelta(days=3)
_A_MONTH = timedelta(days=30)
_FIRST_RUN = 1001
_PASSED_ON = (
    "PATH",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
)

Command = tuple[Sequence[str], Mapping[str, str]]


def main(arguments: list[str]) -> None:
    """Records the given histories, or all of the first plan."""
    parser = argparse.ArgumentParser(description="Record histories in the lab.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("histories", nargs="*", metavar="HISTORY")
    options = parser.parse_args(arguments)
    folder: Path = options.folder.resolve()
    names: list[str] = options.histories
    fresh = ((tool, shape, "-fresh") for tool, shapes in FRESH.items() for shape in shapes)
    named_shapes = (("boto3", shape, "-named") for shape in NAMED)
    first = product(TOOLS, SHAPES, set(PLANS) - {"-fresh", "-named"})
    for tool, shape, plan_name in chain(first, fresh, named_shapes):
        name = f"{tool}-{shape}{plan_name}"
        if (name in names or not (names or plan_name)) and not (folder / name).exists():
            begin = time.monotonic()
            record(tool, shape, folder / name, plan_name)
            print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)


def record(tool: str, shape: str, history: Path, plan_name: str = "") -> None:
    """Records one history by one of the plans, completely or not at all."""
    work = history.with_name(f".{history.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    shutil.copytree(
        APPS / tool, work / "app", ignore=of_other_shapes(shape) if tool == "terraform" else None
    )
    with Lab.start(work / "lab", checks=True) as lab:
        if tool == "cdk":
            bootstrap(work, lab, plan(shape, plan_name))
        if tool == "sam" or plan_name == "-named":
            lab.client("s3").create_bucket(Bucket=BUCKET)
        arn = lab.admin_role(ROLE)
        lab.flush()
        shutil.rmtree(lab.records)
        (work / "lab" / "checks.jsonl").unlink(missing_ok=True)
        for number, run in enumerate(plan(shape, plan_name)):
            keys = lab.assume(arn, str(_FIRST_RUN + number))
            begin = _first_day(shape) + number * (_A_MONTH if shape == "monthly" else _APART)
            keys |= {"DATE": f"{begin:%Y%m%d}", "RUN": str(_FIRST_RUN + number)}
            app = work / "app"
            is_first = number == 0
            for command, variables in commands(
                tool, shape, run, is_first=is_first, app=app, lab=lab
            ):
                _call(command, work, {**keys, **variables})
            time.sleep(1.1)
            lab.flush()
            move_records(lab.records, work / "records" / f"{_FIRST_RUN + number}", begin)
    shutil.copy(work / "lab" / "checks.jsonl", work)
    for subfolder in ("app", "lab"):
        shutil.rmtree(work / subfolder, ignore_errors=True)
    work.rename(history)


def of_other_shapes(shape: str) -> Any:
    """Returns a filter of `copytree` that leaves out the files of the other shapes of Terraform."""
    return shutil.ignore_patterns(
        *(
            f"{other_shape}.tf"
            for other_shape in (*SHAPES, *FRESH["terraform"])
            if other_shape != shape
        )
    )


def _first_day(shape: str) -> datetime:
    return _FIRST_DAY - 11 * _A_MONTH if shape == "monthly" else _FIRST_DAY


def bootstrap(work: Path, lab: Lab, runs: Sequence[Run]) -> None:
    """Bootstraps the regions of the runs for the CDK."""
    packages = tools.cdk()
    (work / "app" / "node_modules").symlink_to(packages / "node_modules")
    for region in dict.fromkeys((lab.region, *(run.region for run in runs))):
        command = [
            "bootstrap",
            f"aws://{lab.account}/{region}",
            "--cloudformation-execution-policies",
        ]
        _call(
            [cdk(), *command, "arn:aws:iam::aws:policy/AdministratorAccess"],
            work,
            {**lab.root, "SHAPE": "site"},
        )


def cdk() -> str:
    """Returns the command of the CDK."""
    return str(tools.cdk() / "node_modules" / ".bin" / "cdk")


def commands(
    tool: str, shape: str, run: Run, *, is_first: bool, app: Path, lab: Lab
) -> Iterator[Command]:
    """The commands of a workflow for one state of the app."""
    if tool == "cdk":
        variables = {name.upper(): value for name, value in run.variables.items()}
        variables |= {"AWS_REGION": run.region, "AWS_DEFAULT_REGION": run.region}
        variables |= {
            "SHAPE": shape,
            "CDK_HOME": str(app / ".cdk-home"),
            "CDK_DISABLE_CLI_TELEMETRY": "1",
        }
        command = (cdk(), "--no-notices", "--ci")
        if run.is_destroy:
            if shape == "site":  # CloudFormation deletes no bucket with objects
                bucket = f"s3://site{run.stage}-{run.generation}-{lab.account}"
                yield (str(tools.awscli()), "s3", "rm", bucket, "--recursive", "--quiet"), {}
            yield (*command, "destroy", "--force"), variables
            return
        yield (*command, "deploy", "--require-approval", "never"), variables
        if shape == "site":
            yield from _synchronised(run, app, lab)
        return
    if tool in ("awscli", "boto3"):
        variables = {name.upper(): value for name, value in run.variables.items()}
        variables["PATH"] = f"{tools.awscli().parent}:/usr/bin:/bin"
        variables |= {"SHAPE": shape, "AWS_REGION": run.region}
        program = "named" if shape in NAMED else shape
        script = ("sh", f"{shape}.sh") if tool == "awscli" else (sys.executable, f"{program}.py")
        yield (*script, "down" if run.is_destroy else "up"), variables
        return
    if tool == "sam":
        yield from _by_transform(shape, run, app)
        return
    terraform = tools.terraform()
    with zipfile.ZipFile(app / "worker.zip", "w") as archive:
        member = zipfile.ZipInfo("worker.py", (2026, 1, 1, 0, 0, 0))
        archive.writestr(member, f"def handler(event, context):\n    return {run.release}\n")
    variables = {
        "TF_CLI_CONFIG_FILE": str(terraform / "terraform.rc"),
        "TF_VAR_endpoint": lab.endpoint,
        "TF_IN_AUTOMATION": "1",
    }
    variables |= {f"TF_VAR_{name}": value for name, value in run.variables.items()}
    program = str(terraform / "program")
    variables["TF_VAR_region"] = run.region
    if is_first:
        yield (program, "init", "-input=false", "-no-color"), variables
    if run.stage:
        workspace = f"{run.region}{run.stage}"
        is_new = not (app / "terraform.tfstate.d" / workspace).exists()
        yield (program, "workspace", "new" if is_new else "select", workspace), variables
    if run.is_destroy:
        yield (program, "destroy", "-auto-approve", "-input=false", "-no-color"), variables
        return
    yield (program, "plan", "-input=false", "-no-color"), variables
    yield (program, "apply", "-auto-approve", "-input=false", "-no-color"), variables


def _by_transform(shape: str, run: Run, app: Path) -> Iterator[Command]:
    """The commands of AWS CloudFormation for a template with the transform of AWS SAM."""
    aws, stack = (str(tools.awscli()), "cloudformation"), ("--stack-name", f"orders{run.stage}")
    if run.is_destroy:
        yield (*aws, "delete-stack", *stack), {}
        yield (*aws, "wait", "stack-delete-complete", *stack), {}
        return
    (app / "function" / "worker.py").write_text(
        f"def handler(event, context):\n    return {run.release}\n"
    )
    packaged = ("--s3-bucket", BUCKET, "--output-template-file", "packaged.yaml")
    yield (*aws, "package", "--template-file", f"{shape}.yaml", *packaged), {}
    parameters = (
        f"Release={run.release}",
        f"Setting={60 * run.setting}",
        f"Name=orders{run.stage}-{run.generation}",
    )
    options = (
        "--capabilities",
        "CAPABILITY_IAM",
        "--no-fail-on-empty-changeset",
        "--parameter-overrides",
        *parameters,
    )
    yield (*aws, "deploy", *stack, "--template-file", "packaged.yaml", *options), {}


def _synchronised(run: Run, app: Path, lab: Lab) -> Iterator[Command]:
    """The pages of a static site, one of them named by its contents."""
    pages = app / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    (pages / "assets").mkdir(parents=True)
    (pages / "index.html").write_text(f"release {run.release}\n")
    (pages / "assets" / f"app.{run.release * 0x9E3779B1 & 0xFFFFFFFF:08x}.js").write_text(
        f"release = {run.release}\n"
    )
    bucket = f"s3://site{run.stage}-{run.generation}-{lab.account}"
    yield (str(tools.awscli()), "s3", "sync", str(pages), bucket, "--delete", "--no-progress"), {}


def _call(command: Sequence[str], work: Path, variables: Environment) -> None:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment = {**passed, "HOME": str(work), "NO_COLOR": "1", **variables}
    with (work / "tool.log").open("ab") as log:
        log.write(f"### {' '.join(command)}\n".encode())
        log.flush()
        completed = subprocess.run(
            command, cwd=work / "app", env=environment, stdout=log, stderr=log, check=False
        )
    if completed.returncode:
        text = (work / "tool.log").read_text(errors="replace")
        raise SystemExit(f"{' '.join(command)} failed:\n{text[-3_000:]}")


def move_records(records: Path, history: Path, begin: datetime) -> None:
    """Moves the records of a run to other days, as if it had begun then."""
    read: list[dict[str, Any]] = []
    for file in sorted(records.rglob("*.json.gz")):
        read += json.loads(gzip.decompress(file.read_bytes()))["Records"]
    shutil.rmtree(records)
    history.mkdir(parents=True)
    if not read:
        return
    moved = begin - min(_time(record["eventTime"]) for record in read)
    for record in read:
        record["eventTime"] = _text(_time(record["eventTime"]) + moved)
        attributes = (record.get("userIdentity", {}).get("sessionContext") or {}).get("attributes")
        if attributes and "creationDate" in attributes:
            attributes["creationDate"] = _text(_time(attributes["creationDate"]) + moved)
    by_region: dict[str, list[dict[str, Any]]] = {}
    for record in read:
        by_region.setdefault(record["awsRegion"], []).append(record)
    for region, records_of_region in by_region.items():
        stamp = f"{begin:%Y%m%dT%H%MZ}"
        file = history / f"{ACCOUNT}_CloudTrail_{region}_{stamp}_AbCdEfGhIjKlMnOp.json.gz"
        file.write_bytes(gzip.compress(json.dumps({"Records": records_of_region}).encode()))


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


if __name__ == "__main__":
    main(sys.argv[1:])
