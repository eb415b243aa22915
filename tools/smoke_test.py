#!/usr/bin/env python3
"""Start an image of the action as a runner does, and check its content; needs only a container
engine.

    python3 tools/smoke_test.py docker|podman IMAGE

Without inputs the action names the missing one in one sentence; it reports on the bundled example
without a network; the image holds every module as valid byte code, the API models of the services
that the action calls, and no package manager, compiler or git. Otherwise it exits with 1 and a
sentence.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from image_root import AWS_SERVICES, CREDENTIAL_SERVICES

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "cdk-app"
TOOLS = ("pip", "pip3", "cc", "gcc", "g++", "make", "git", "uv", "apt", "dpkg", "perl", "bash")
LOOK = f"""
import importlib.util, pathlib, shutil, struct, sys
sys.path.insert(0, "/app")
bad = [tool for tool in {TOOLS} if shutil.which(tool)]
bad += [name for name in ("pip", "ensurepip", "setuptools") if importlib.util.find_spec(name)]
import boto3, github, leastpriv
for package in (leastpriv, boto3, github):
    for source in pathlib.Path(package.__file__).parent.rglob("*.py"):
        cached = pathlib.Path(importlib.util.cache_from_source(str(source)))
        if not cached.exists() or struct.unpack("<I", cached.read_bytes()[4:8])[0] != 1:
            bad.append(str(source) + " has no byte code that is valid as it is")
for service in {(*AWS_SERVICES, *CREDENTIAL_SERVICES)}:
    boto3.client(service, region_name="eu-west-1", aws_access_key_id="A", aws_secret_access_key="B")
print("\\n".join(bad[:10]))
"""
INPUTS = {
    "ROLE-ARN": "arn:aws:iam::111122223333:role/ci/orders-deploy",
    "POLICY-FILE": "iam/orders-deploy.json",
    "TRAILS": "trail",
    "MODE": "report",
    "GITHUB-TOKEN": "",
}
Run = Callable[..., subprocess.CompletedProcess[str]]


def main(arguments: list[str]) -> int:
    """Run the three checks in order; 0, or 1 with the finding."""
    parser = argparse.ArgumentParser(description="Check an image of the action.")
    parser.add_argument("engine", help="docker or podman")
    parser.add_argument("image")
    given = parser.parse_args(arguments)
    engine: str = given.engine
    image: str = given.image
    if shutil.which(engine) is None:
        parser.error(f"the container engine {engine!r} is not installed here")

    def run(*options: str, command: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        line = [engine, "run", "--rm", *options, image, *command]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    for check in (without_inputs, contents, report):
        found = check(run)
        if found:
            print(f"{image}: {check.__name__}: {found}", file=sys.stderr)
            return 1
    print(
        f"{image}: names missing inputs, reports on the example, holds byte code and no tools that"
        " build"
    )
    return 0


def without_inputs(run: Run) -> str:
    """One sentence that names the input, and exit code 2."""
    done = run("--env", "GITHUB_ACTIONS=true", "--env", "GITHUB_WORKSPACE=/tmp")
    said = done.stdout + done.stderr
    right = done.returncode == 2 and "role-arn" in said and "Traceback" not in said
    return "" if right else f"exit code {done.returncode}: {said}"


def contents(run: Run) -> str:
    """Byte code, and no tools."""
    done = run("--entrypoint", "python", command=("-c", LOOK))
    return (done.stdout + done.stderr).strip()


def report(run: Run) -> str:
    """The bundled example, read-only and without a network."""
    with tempfile.TemporaryDirectory() as folder:
        workspace, files = Path(folder, "workspace"), Path(folder, "files")
        shutil.copytree(EXAMPLE, workspace)
        files.mkdir()
        for name in ("output", "summary"):
            (files / name).touch()
        (files / "event.json").write_text("{}", encoding="utf-8")
        done = run(*_as_a_runner(workspace, files))
        changes = "has-changes" in (files / "output").read_text(encoding="utf-8")
    return (
        ""
        if (done.returncode, changes) == (0, True)
        else f"exit code {done.returncode}: {done.stdout}{done.stderr}"
    )


def _as_a_runner(workspace: Path, files: Path) -> list[str]:
    variables = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": "/github/workspace",
        "GITHUB_OUTPUT": "/github/files/output",
        "GITHUB_STEP_SUMMARY": "/github/files/summary",
        "GITHUB_EVENT_PATH": "/github/files/event.json",
        "GITHUB_EVENT_NAME": "schedule",
        "RUNNER_TEMP": "/tmp",  # noqa: S108 - of the container
        **{f"INPUT_{name}": value for name, value in INPUTS.items()},
    }
    mounts = ["-v", f"{workspace}:/github/workspace:ro", "-v", f"{files}:/github/files"]
    settings = [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]
    return ["--network=none", *mounts, *settings]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
