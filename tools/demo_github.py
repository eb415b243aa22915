#!/usr/bin/env python3
"""Run the action on the bundled example with a fake GitHub on this machine: no account, no network.

    python tools/demo_github.py [--folder .demo-github]

The server is the one of the tests: it keeps its state in a git repository and rejects requests that
violate GitHub's description of its API. The action runs four times: the pull request is opened;
nothing changed; a new deploy is in the evidence; a person closed the pull request. The repository
remains in the folder.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from demo import (
    EXAMPLE,
    POLICY_FILE,
    Stage,
    collapsed,
    heading,
    log_lines,
    output_lines,
    read_outputs,
    run_action,
    set_up,
    shown,
    stage_of,
)

from tests.fakes.github import FakeGitHub

_BRANCH = "leastpriv/orders-deploy"
_BODY_LINES = 30


def main(arguments: list[str]) -> int:
    """Make the four runs; 0, or the exit code of the run that failed."""
    stage = stage_of(
        arguments, "Run the action against a GitHub on this machine.", ROOT / ".demo-github"
    )
    if stage is None:
        return 2
    set_up(stage)
    shutil.rmtree(stage.workspace / ".git")
    shutil.rmtree(stage.workspace / "iam")
    policy = (EXAMPLE / POLICY_FILE).read_bytes()
    with FakeGitHub("acme/orders", files={POLICY_FILE: policy}) as github:
        github.add_user("kim", "write")
        _add_runs(github, stage)
        code = _play(github, stage)
        shutil.copytree(github.git_dir, stage.folder / "orders.git")
    return code


def _play(github: FakeGitHub, stage: Stage) -> int:
    acts: tuple[tuple[str, Callable[[], object]], ...] = (
        ("The first run: a pull request", lambda: None),
        ("The same evidence again: nothing", lambda: None),
        (
            "One more deploy, of main, that tags a topic: the same pull request",
            lambda: _deploy_more(stage),
        ),
        (
            "Kim has closed it: its changes are declined, one by one",
            lambda: github.close_pull(1, "kim"),
        ),
    )
    for number, (title, happens) in enumerate(acts, start=1):
        print(heading(f"{number}. {title}"))
        asked = len(github.requests)
        happens()
        for path in (stage.outputs, stage.summary):
            path.write_text("", encoding="utf-8")
        code = run_action(stage, _environment(github))
        print("\n".join([*list(log_lines(stage))[1:], *list(output_lines(stage))[-5:]]))
        writes = sum(_writes(each) for each in github.requests[asked:])
        print(
            f"{len(github.requests) - asked} requests to GitHub, {writes} of them write", end="\n\n"
        )
        if code:
            return code
        if number == 1:
            print("\n".join(_pull_request(github, stage)), end="\n\n")
    print("\n".join(_pointers(stage)))
    return 0


def _writes(exchange: Any) -> bool:
    return exchange.method not in ("GET", "HEAD") and "query {" not in str(exchange.body)


def _deploy_more(stage: Stage) -> None:
    """Add a call to the trail, as one of the recorded runs would have made it."""
    own = ":assumed-role/orders-deploy/"
    old = next(
        each
        for each in _records(stage.workspace / "cloudtrail")
        if own in str(each["userIdentity"].get("arn"))
    )
    topic = "arn:aws:sns:eu-west-1:111122223333:orders"
    record = {
        **old,
        "eventSource": "sns.amazonaws.com",
        "eventName": "TagResource",
        "eventID": "00000000-0000-4000-8000-000000000001",
        "requestParameters": {"resourceArn": topic, "tags": [{"key": "team", "value": "orders"}]},
        "responseElements": None,
        "resources": [],
    }
    file = next((stage.workspace / "cloudtrail").rglob("*.json.gz")).with_name(
        "111122223333_CloudTrail_more.json.gz"
    )
    file.write_bytes(gzip.compress(json.dumps({"Records": [record]}).encode()))


def _records(trail: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(trail.rglob("*.json.gz")):
        yield from json.loads(gzip.decompress(path.read_bytes()))["Records"]


def _add_runs(github: FakeGitHub, stage: Stage) -> None:
    """The workflow runs of the session names in the trail, all of the base branch."""
    times: dict[int, list[str]] = {}
    for record in _records(stage.workspace / "cloudtrail"):
        session = str(record["userIdentity"].get("arn", "")).rpartition("/")[2]
        if session.isdecimal():
            times.setdefault(int(session), []).append(record["eventTime"])
    for run, seen in times.items():
        github.add_run(run, created_at=min(seen), updated_at=max(seen))


def _environment(github: FakeGitHub) -> dict[str, str]:
    return {
        "INPUT_GITHUB-TOKEN": github.token,
        "GITHUB_SHA": github.head("main"),
        "GITHUB_API_URL": github.url,
        "GITHUB_GRAPHQL_URL": github.graphql_url,
    }


def _pull_request(github: FakeGitHub, stage: Stage) -> Iterator[str]:
    number = int(read_outputs(stage.outputs.read_text(encoding="utf-8"))["pull-request-number"])
    pull = github.pull(number)
    body = str(pull.body)
    (stage.folder / f"pull-request-{number}.md").write_text(body, encoding="utf-8")
    yield heading(f"#{number} {pull.title}")
    yield f"{pull.author} · {_BRANCH} → main · labels: {', '.join(pull.labels)}"
    yield ""
    lines = collapsed(body).splitlines()
    yield from lines[:_BODY_LINES]
    if len(lines) > _BODY_LINES:
        yield (
            f"… {len(lines) - _BODY_LINES} more lines in"
            f" {shown(stage.folder / f'pull-request-{number}.md')}"
        )


def _pointers(stage: Stage) -> Iterator[str]:
    yield heading("Look yourself")
    repository = shown(stage.folder / "orders.git")
    yield f"git -C {repository} log --stat --format=fuller main..{_BRANCH}"
    yield f"git -C {repository} diff main..{_BRANCH}"
    yield from (f"less {shown(path)}" for path in sorted(stage.folder.glob("pull-request-*.md")))
    yield f"less {shown(stage.summary)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
