#!/usr/bin/env python3
"""Run the action on the bundled example as a GitHub runner would, with no AWS account and no
GitHub.

    python tools/demo.py [--folder .demo]

In the folder it creates a git repository with the example's policy committed on `main`, runs
`entrypoint.py` with the environment, event and files of a scheduled run, and shows the results.
Exit code: the entry point's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from operator import ne
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "cdk-app"
POLICY_FILE = "iam/orders-deploy.json"
INPUTS = {
    "role-arn": "arn:aws:iam::111122223333:role/ci/orders-deploy",
    "policy-file": POLICY_FILE,
    "trails": "cloudtrail",
    "aws-regions": "eu-west-1, us-east-1",
    "minimum-days": "30",
    "mode": "pull-request",
    "github-token": "",
}
"""The example's workflow writes these under `with:`; the other inputs have the defaults of
action.yml.

Without a token the proposal becomes a branch of the repository in the workspace.
"""
_PERSON = {"NAME": "Kim", "EMAIL": "kim@example.com", "DATE": "2026-10-01T09:00:00Z"}
_COMMITTER = {
    f"GIT_{part}_{key}": text for part in ("AUTHOR", "COMMITTER") for key, text in _PERSON.items()
}
_LOG_LINES = 40
_DIFF_LINES = 7
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Stage:
    """The folders of the demonstration: a workspace with a git repository, and the runner's own
    files.
    """

    folder: Path

    @property
    def workspace(self) -> Path:
        """`GITHUB_WORKSPACE`: the checkout."""
        return self.folder / "orders"

    @property
    def runner(self) -> Path:
        """Folder of the files that runner and step exchange."""
        return self.folder / "runner"

    @property
    def outputs(self) -> Path:
        """`GITHUB_OUTPUT`."""
        return self.runner / "output.txt"

    @property
    def summary(self) -> Path:
        """`GITHUB_STEP_SUMMARY`."""
        return self.runner / "summary.md"

    @property
    def results(self) -> Path:
        """Where the action writes the proposal."""
        return self.runner / "temp" / "leastpriv"

    @property
    def log(self) -> Path:
        """The output of the step."""
        return self.runner / "log.txt"


def main(arguments: list[str]) -> int:
    """Prepare the folders, run the entry point, show the results; return the entry point's exit
    code.
    """
    stage = stage_of(arguments, "Run the action on the bundled example.", ROOT / ".demo")
    if stage is None:
        return 2
    set_up(stage)
    code = run_action(stage)
    for part in (log_lines,) if code else (_pull_request, _change, _pointers):
        print("\n".join(part(stage)), end="\n\n")
    if code:
        print(f"The entry point ended with exit code {code}.", file=sys.stderr)
    return code


def stage_of(arguments: list[str], description: str, default: Path) -> Stage | None:
    """The folders that a command line selects; None if the folder has other files."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--folder",
        type=Path,
        default=default,
        help="deleted and written again (default: %(default)s)",
    )
    stage = Stage(parser.parse_args(arguments).folder.absolute())
    if (
        stage.folder.exists()
        and any(stage.folder.iterdir())
        and not (stage.runner / "event.json").exists()
    ):
        print(
            f"{stage.folder} is not a folder of this demo: choose another one with --folder.",
            file=sys.stderr,
        )
        return None
    return stage


def set_up(stage: Stage) -> None:
    """Recreate the folder: a repository with one commit on `main`, the trail in it, the runner's
    files.
    """
    if stage.folder.exists():
        shutil.rmtree(stage.folder)
    policy = stage.workspace / POLICY_FILE
    policy.parent.mkdir(parents=True)
    shutil.copyfile(EXAMPLE / POLICY_FILE, policy)
    (stage.workspace / ".gitignore").write_text("/cloudtrail/\n", encoding="utf-8")
    git(stage, "init", "--quiet")
    git(stage, "symbolic-ref", "HEAD", "refs/heads/main")
    git(stage, "add", "--all")
    git(
        stage,
        "commit",
        "--quiet",
        "--no-gpg-sign",
        "--message",
        "Let GitHub Actions deploy the app",
    )
    shutil.copytree(EXAMPLE / "trail", stage.workspace / "cloudtrail")
    (stage.runner / "temp").mkdir(parents=True)
    (stage.runner / "event.json").write_text(json.dumps(_event(), indent=2), encoding="utf-8")
    for path in (stage.outputs, stage.summary):
        path.touch()


def run_action(stage: Stage, extra: Mapping[str, str] | None = None) -> int:
    """Run the entry point with only the runner's environment and `extra`; its log goes to
    `stage.log`.
    """
    with stage.log.open("w", encoding="utf-8") as log:
        finished = subprocess.run(
            [sys.executable, str(ROOT / "entrypoint.py")],
            cwd=stage.workspace,
            env={**environment(stage), **(extra or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return finished.returncode


def environment(stage: Stage) -> dict[str, str]:
    """Return the variables of a step in a scheduled run (docs.github.com, "Variables
    reference").
    """
    inputs = {**default_inputs((ROOT / "action.yml").read_text(encoding="utf-8")), **INPUTS}
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(stage.runner),
        "LANG": "C.UTF-8",
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(stage.workspace),
        "GITHUB_OUTPUT": str(stage.outputs),
        "GITHUB_STEP_SUMMARY": str(stage.summary),
        "GITHUB_EVENT_NAME": "schedule",
        "GITHUB_EVENT_PATH": str(stage.runner / "event.json"),
        "GITHUB_REPOSITORY": "acme/orders",
        "GITHUB_REPOSITORY_OWNER": "acme",
        "GITHUB_WORKFLOW": "Least privilege",
        "GITHUB_JOB": "least-privilege",
        "GITHUB_RUN_ID": "18012345678",
        "GITHUB_RUN_NUMBER": "7",
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_ACTOR": "kim",
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_REF_NAME": "main",
        "GITHUB_REF_TYPE": "branch",
        "GITHUB_SHA": (
            git(stage, "rev-parse", "main").strip() if (stage.workspace / ".git").exists() else ""
        ),
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_API_URL": "https://api.github.com",
        "GITHUB_GRAPHQL_URL": "https://api.github.com/graphql",
        "RUNNER_TEMP": str(stage.runner / "temp"),
        "RUNNER_OS": "Linux",
        "RUNNER_ARCH": "X64",
        **{f"INPUT_{name.upper()}": value for name, value in inputs.items()},
    }


def default_inputs(action: str) -> dict[str, str]:
    """List every input of an action.yml with its default, or empty, as a runner passes them."""
    section = re.search(r"^inputs:\n(.*?)^\S", action, re.DOTALL | re.MULTILINE)
    defaults: dict[str, str] = {}
    for line in section[1].splitlines() if section else ():
        if name := re.fullmatch(r"  ([\w-]+):", line):
            defaults[name[1]] = ""
        elif value := re.fullmatch(r"    default: *(.*)", line):
            defaults[next(reversed(defaults))] = value[1].strip("\"'")
    return defaults


def read_outputs(text: str) -> dict[str, str]:
    """Read the step outputs of a `GITHUB_OUTPUT` file, in order: `name=value` lines and
    heredocs.
    """
    outputs: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        name, heredoc, delimiter = line.partition("<<")
        if heredoc and "=" not in name:
            outputs[name] = "\n".join(takewhile(partial(ne, delimiter), lines))
        elif "=" in line:
            outputs[line.partition("=")[0]] = line.partition("=")[2]
    return outputs


def git(stage: Stage, *arguments: str) -> str:
    """Run git in the workspace, without a user's configuration; return its output."""
    surroundings = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(stage.folder),
        **_COMMITTER,
    }
    finished = subprocess.run(
        ["git", *arguments],
        cwd=stage.workspace,
        env={**surroundings, "GIT_CONFIG_NOSYSTEM": "1", "GIT_PAGER": "cat"},
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    return finished.stdout


def collapsed(markdown: str) -> str:
    """Show the text as GitHub first does: `<details>` collapsed, comments hidden."""
    text = re.sub(r"<!--.*?-->\n?", "", markdown, flags=re.DOTALL)
    innermost = re.compile(r"<details>((?:(?!<details>).)*?)</details>", re.DOTALL)
    while innermost.search(text):
        text = innermost.sub(lambda match: f"▸ {_summary_of(match[1])}", text)
    return re.sub(r"(▸ .*)\n\n(?=▸ )", r"\1\n", re.sub(r"\n{3,}", "\n\n", text)).strip()


def _summary_of(details: str) -> str:
    found = re.search(r"<summary>(.*?)</summary>", details, re.DOTALL)
    return re.sub(r"<[^>]+>", "", found[1]).strip() if found else "details"


def _event() -> Mapping[str, object]:
    repository = {
        "id": 812345678,
        "name": "orders",
        "full_name": "acme/orders",
        "private": True,
        "default_branch": "main",
        "owner": {"login": "acme", "type": "Organization"},
    }
    return {
        "schedule": "17 6 * * 1",
        "repository": repository,
        "workflow": ".github/workflows/least-privilege.yml",
    }


def heading(text: str) -> str:
    """A heading in the output."""
    return f"── {text} ".ljust(_WIDTH, "─")


def log_lines(stage: Stage) -> Iterator[str]:
    """Show the runner's log: groups by their names, no workflow commands."""
    yield heading("The runner's log")
    hidden = re.compile(r"::(?:endgroup|add-mask|stop-commands|debug)\b.*|::[A-Za-z0-9]{20,}::")
    lines = [
        line
        for line in stage.log.read_text(encoding="utf-8").splitlines()
        if not hidden.match(line)
    ]
    for line in lines[:_LOG_LINES]:
        yield re.sub(r"^::(notice|warning|error)\b[^:]*::", r"\1: ", line).replace(
            "::group::", "▸ ", 1
        )
    if len(lines) > _LOG_LINES:
        yield f"… {len(lines) - _LOG_LINES} more lines in {shown(stage.log)}"


def output_lines(stage: Stage) -> Iterator[str]:
    """Show each output on a line, long ones truncated."""
    yield heading("Outputs of the step")
    for name, value in read_outputs(stage.outputs.read_text(encoding="utf-8")).items():
        lines = value.splitlines()
        short = (
            f"({len(lines)} lines)"
            if len(lines) > 1
            else textwrap.shorten(value, _WIDTH - 32, placeholder=" …")
        )
        yield f"{name:<30}{short}".rstrip()


def _pull_request(stage: Stage) -> Iterator[str]:
    yield heading("The pull request")
    path = stage.results / "pull-request.md"
    if not path.exists():
        yield "There is none."
        return
    yield collapsed(path.read_text(encoding="utf-8"))


def _change(stage: Stage) -> Iterator[str]:
    """Compare the policy file on `main` with the proposal's branch."""
    yield heading(f"The change of {POLICY_FILE}")
    branch = read_outputs(stage.outputs.read_text(encoding="utf-8")).get("pull-request-branch", "")
    if not branch:
        yield "No branch was written."
        return
    diff = git(
        stage, "diff", "--no-color", "--unified=0", f"main..{branch}", "--", POLICY_FILE
    ).splitlines()[4:]
    yield from diff[:_DIFF_LINES]
    if len(diff) > _DIFF_LINES:
        yield (
            f"… {len(diff) - _DIFF_LINES} more lines: git -C {shown(stage.workspace)} diff"
            f" main..{branch}"
        )


def _pointers(stage: Stage) -> Iterator[str]:
    yield heading("The rest")
    names = ", ".join(path.name for path in sorted(stage.results.glob("*")))
    yield f"{shown(stage.results)}: {names}"
    yield f"{shown(stage.log)}, {shown(stage.outputs)}, {shown(stage.summary)}: what the runner got"


def shown(path: Path) -> str:
    """Write a path to copy: relative to the current folder where that is shorter."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
