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
    found = []
    for roles, login, trail in islice(
        zip(cycle(ROLES), cycle(LOGINS), cycle(TRAILS), strict=False), number
    ):
        given = {
            "repository": ["acme/shop"],
            "action": [f"org/leastpriv-action@{'0' * 40}"],
            **roles,
            **login,
            **trail,
        }
        if "aws-us-gov" in given["role-arn"][0] or "aws-regions" not in given:
            found.append(given)
        else:
            found.append({**given, "aws-regions": ["eu-west-1", "us-east-1"]})
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A folder with the files of each combination."""
    found = []
    for number, given in enumerate(combinations(40)):
        trails = given.get("trails", [])
        if "s3-trail" in given.get("sources", ()) and not any(
            each.startswith("s3://") for each in trails
        ):
            given = {**given, "trails": [*trails, "s3://acme-trail"]}
        if len(given["role-arn"]) == 3 and trails in ([], ["event-history"]):
            given = {**given, "hub-account": [OTHER]}
        folder = tmp_path_factory.mktemp(f"init{number:02}-")
        for name, content in render_files(parse_options(given)).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        found.append(folder)
    assert (
        len(
            {
                "".join(path.read_text() for path in sorted(each.rglob("*.*")) if path.is_file())
                for each in found
            }
        )
        == 40
    )
    return found


def run(tool: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name(tool)
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def every(folders: Sequence[Path], pattern: str) -> list[Path]:
    found = [path for folder in folders for path in sorted(folder.glob(pattern))]
    assert len(found) >= len(folders) or "stackset" in pattern
    return found


def test_cfn_lint_reports_nothing(folders: list[Path]) -> None:
    done = run("cfn-lint", "--regions", "eu-west-1", "--", *every(folders, "*.yaml"))
    assert (done.returncode, done.stdout) == (0, "")
    assert any(path.name.endswith("stackset.yaml") for path in every(folders, "*.yaml"))


def test_zizmor_and_github_s_schema_report_nothing(folders: list[Path]) -> None:
    workflows = every(folders, ".github/workflows/*.yml")
    done = run("zizmor", "--offline", "--no-progress", "--persona", "regular", *workflows)
    assert done.returncode == 0, done.stdout
    done = run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    assert done.returncode == 0, done.stdout


def test_actionlint_reports_nothing(folders: list[Path], tmp_path: Path) -> None:
    install_actionlint(tmp_path)
    found = findings(tmp_path, *every(folders, ".github/workflows/*.yml"))
    assert [each for each in found if not any(name in each for name in LATER)] == []


@pytest.mark.skipif(not is_there(), reason="the lab's environment is not there: make lab")
def test_terraform_formats_nothing_and_accepts_every_configuration(folders: list[Path]) -> None:
    try:
        made = tools.terraform()
    except tools.ToolMissingError as error:
        pytest.skip(str(error))
    own = {
        "TF_CLI_CONFIG_FILE": str(made / "terraform.rc"),
        "TF_IN_AUTOMATION": "1",
        "AWS_REGION": "eu-west-1",
    }
    plugins = ""
    for folder in [part for each in folders for part in _by_account(each)]:
        if plugins:
            shutil.copytree(plugins, folder / ".terraform", symlinks=True)
            shutil.copy(Path(plugins).with_name(".terraform.lock.hcl"), folder)
        for command in (
            ("fmt", "-check", "-diff"),
            *(() if plugins else (("init", "-input=false"),)),
            ("validate",),
        ):
            done = subprocess.run(
                [made / "program", *command], cwd=folder, env={**os.environ, **own},
                capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout[-2_000:]
        plugins = plugins or str(folder / ".terraform")


def _by_account(folder: Path) -> list[Path]:
    """The folder, and one with the configuration for other accounts, if there is one."""
    found = [folder]
    for member in folder.glob("*-other-accounts.tf"):
        (folder / "other").mkdir()
        shutil.move(member, folder / "other")
        found.append(folder / "other")
    return found
