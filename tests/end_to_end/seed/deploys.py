"""The commands of each tool that deploy, change and delete its app, as in a workflow."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.end_to_end.lab.lab import Lab
from tests.end_to_end.seed import tools
from tests.end_to_end.seed.tools import APPS

_BUCKET = "deploys-111122223333"
_EXECUTION = ("--cloudformation-execution-policies", "arn:aws:iam::aws:policy/AdministratorAccess")


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a deploy, run in the app's folder."""

    label: str
    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deploy:
    """A tool with its app: `prepare` installs the tool and creates the app's folder and
    prerequisites of the deploy.
    """

    name: str
    prepare: Callable[[Path, Lab], tuple[Step, ...]]
    template: str = ""
    """Path, in the app's folder, of the template whose resource types declare further permissions.
    """


def _script(app: Path, lab: Lab) -> tuple[Step, ...]:
    shutil.copytree(APPS / "script", app, dirs_exist_ok=True)
    (app / "site").mkdir(exist_ok=True)
    _zip(app, APPS / "cloudformation" / "function" / "worker.py")
    lab.role("orders-worker", None)
    path = {"PATH": f"{tools.awscli().parent}:/usr/bin:/bin"}
    orders = (
        ("first deploy", "up", "1"),
        ("deploy of a change", "up", "2"),
        ("take down", "down", "2"),
    )
    return tuple(
        Step(label, ("sh", "deploy.sh", what, release), path) for label, what, release in orders
    )


def _boto3(app: Path, lab: Lab) -> tuple[Step, ...]:
    shutil.copytree(APPS / "boto3", app, dirs_exist_ok=True)
    _zip(app, APPS / "cloudformation" / "function" / "worker.py")
    orders = (
        ("first deploy", "up", "1"),
        ("deploy of a change", "up", "2"),
        ("take down", "down", "2"),
    )
    return tuple(
        Step(label, (sys.executable, "deploy.py", what, release)) for label, what, release in orders
    )


def _cloudformation(app: Path, lab: Lab) -> tuple[Step, ...]:
    shutil.copytree(APPS / "cloudformation", app, dirs_exist_ok=True)
    lab.client("s3").create_bucket(Bucket=_BUCKET)
    aws = str(tools.awscli())
    package = (
        aws,
        "cloudformation",
        "package",
        "--template-file",
        "template.yaml",
        "--s3-bucket",
        _BUCKET,
    )
    deploy = (
        aws,
        "cloudformation",
        "deploy",
        "--stack-name",
        "orders",
        "--template-file",
        "packaged.yaml",
    )
    deploy += (
        "--capabilities",
        "CAPABILITY_IAM",
        "--no-fail-on-empty-changeset",
        "--parameter-overrides",
    )
    return (
        Step("package", (*package, "--output-template-file", "packaged.yaml")),
        Step("first deploy", (*deploy, "Release=1")),
        Step("deploy of a change", (*deploy, "Release=2")),
        Step("delete", (aws, "cloudformation", "delete-stack", "--stack-name", "orders")),
        Step(
            "wait",
            (aws, "cloudformation", "wait", "stack-delete-complete", "--stack-name", "orders"),
        ),
    )


def _cdk(app: Path, lab: Lab, variables: Mapping[str, str]) -> tuple[Step, ...]:
    packages = tools.cdk()
    shutil.copytree(APPS / "cdk", app, dirs_exist_ok=True)
    if not (app / "node_modules").exists():
        (app / "node_modules").symlink_to(packages / "node_modules")
    command = (str(packages / "node_modules" / ".bin" / "cdk"), "--no-notices", "--ci")

    def step(label: str, *arguments: str, release: str = "1") -> Step:
        # The CDK stores the account of a key; a folder per run keeps runs apart (aws-cdk,
        # CDK_HOME).
        own = {
            "CDK_HOME": str(app / ".cdk-home"),
            "CDK_DISABLE_CLI_TELEMETRY": "1",
            "RELEASE": release,
            **variables,
        }
        return Step(label, (*command, *arguments), own)

    return (
        # The default, explicitly: ministack does not read it from the bootstrap template's nested
        # conditions.
        step("bootstrap", "bootstrap", f"aws://{lab.account}/{lab.region}", *_EXECUTION),
        step("ls", "ls"),
        step("synth", "synth", "--quiet"),
        step("diff", "diff"),
        step("first deploy", "deploy", "--require-approval", "never"),
        step("diff of a change", "diff", release="2"),
        step("deploy of a change", "deploy", "--require-approval", "never", release="2"),
        step("destroy", "destroy", "--force", release="2"),
    )


def _cdk_with_roles(app: Path, lab: Lab) -> tuple[Step, ...]:
    return _cdk(app, lab, {})


def _cdk_with_keys(app: Path, lab: Lab) -> tuple[Step, ...]:
    return _cdk(app, lab, {"CLI_CREDENTIALS": "1"})


def _sam(app: Path, lab: Lab) -> tuple[Step, ...]:
    sam = tools.sam()
    shutil.copytree(APPS / "sam", app, dirs_exist_ok=True)
    lab.client("s3").create_bucket(Bucket=_BUCKET)
    deploy = (
        *sam,
        "deploy",
        "--stack-name",
        "orders{FRESH}",
        "--s3-bucket",
        _BUCKET,
        "--capabilities",
        "CAPABILITY_IAM",
    )
    deploy += (
        "--no-confirm-changeset",
        "--no-fail-on-empty-changeset",
        "--no-progressbar",
        "--parameter-overrides",
    )
    quiet = {"SAM_CLI_TELEMETRY": "0"}
    return (
        Step("validate", (*sam, "validate"), quiet),
        Step("build", (*sam, "build"), quiet),
        Step("first deploy", (*deploy, "Release=1", "Fresh={FRESH}"), quiet),
        Step("deploy of a change", (*deploy, "Release=2", "Fresh={FRESH}"), quiet),
        Step("delete", (*sam, "delete", "--stack-name", "orders{FRESH}", "--no-prompts"), quiet),
    )


def _terraform(app: Path, lab: Lab) -> tuple[Step, ...]:
    made = tools.terraform()
    shutil.copytree(APPS / "terraform", app, dirs_exist_ok=True)
    _zip(app, APPS / "cloudformation" / "function" / "worker.py")
    program = str(made / "program")
    own = {
        "TF_CLI_CONFIG_FILE": str(made / "terraform.rc"),
        "TF_VAR_endpoint": lab.endpoint,
        "TF_IN_AUTOMATION": "1",
    }

    def step(label: str, *arguments: str) -> Step:
        return Step(label, (program, *arguments, "-no-color"), own)

    return (
        step("init", "init", "-input=false"),
        step("plan", "plan", "-input=false", "-var=release=1"),
        step("first deploy", "apply", "-auto-approve", "-input=false", "-var=release=1"),
        step("deploy of a change", "apply", "-auto-approve", "-input=false", "-var=release=2"),
        step("destroy", "destroy", "-auto-approve", "-input=false", "-var=release=2"),
    )


def _zip(app: Path, source: Path) -> None:
    with zipfile.ZipFile(app / "worker.zip", "w") as archive:
        archive.write(source, source.name)


SCRIPT = Deploy("awscli script", _script)
BOTO3 = Deploy("boto3", _boto3)
CLOUDFORMATION = Deploy("aws cloudformation deploy", _cloudformation, "template.yaml")
CDK_WITH_ROLES = Deploy("CDK, bootstrap roles", _cdk_with_roles, "cdk.out/Orders.template.json")
CDK_WITH_KEYS = Deploy("CDK, CLI credentials", _cdk_with_keys, "cdk.out/Orders.template.json")
SAM = Deploy("SAM", _sam, ".aws-sam/build/template.yaml")
TERRAFORM = Deploy("Terraform", _terraform)
ALL = (SCRIPT, BOTO3, CLOUDFORMATION, CDK_WITH_ROLES, CDK_WITH_KEYS, SAM, TERRAFORM)
