"""The demonstration runs the real entry point as a runner would, and shows its results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.github_actions.context import heredoc
from tests.fakes import scripts

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "tools" / "demo.py"
POLICY = "iam/orders-deploy.json"


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    return load()


@cache
def load() -> ModuleType:
    return scripts.load("tools/demo.py")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo") / "stage"
    finished = run(folder)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return folder, finished.stdout


def run(folder: Path, program: Path = DEMO) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(program), "--folder", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "AWS_PROFILE": "must-not-be-used", "GITHUB_TOKEN": "must-not-be-used"},
    )


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder / "orders"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def allows(policy: list[dict[str, Any]], action: str, resource: str) -> bool:
    """Evaluate a policy without conditions, as an independent oracle."""

    def some(patterns: str | list[str], text: str) -> bool:
        return any(
            fnmatchcase(text, pattern)
            for pattern in ([patterns] if isinstance(patterns, str) else patterns)
        )

    hits = [
        statement["Effect"]
        for statement in policy
        if some(statement["Action"], action) and some(statement["Resource"], resource)
    ]
    return bool(hits) and "Deny" not in hits


def by_sid(policy: str) -> dict[str, Any]:
    return {statement["Sid"]: statement for statement in json.loads(policy)["Statement"]}


def outputs_of(demo: ModuleType, folder: Path) -> dict[str, str]:
    return demo.read_outputs((folder / "runner" / "output.txt").read_text())


def test_the_branch_has_one_commit_on_main_that_changes_only_the_policy_file(
    demo: ModuleType, shown: tuple[Path, str]
) -> None:
    folder, _ = shown
    branch = outputs_of(demo, folder)["pull-request-branch"]
    assert git(folder, "rev-list", "--count", f"main..{branch}").strip() == "1"
    assert git(folder, "diff", "--name-only", f"main..{branch}").split() == [POLICY]
    assert (
        git(folder, "rev-parse", branch).strip()
        == outputs_of(demo, folder)["pull-request-head-sha"]
    )


def test_checkout_and_main_do_not_change(shown: tuple[Path, str]) -> None:
    folder, _ = shown
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "symbolic-ref", "HEAD").strip() == "refs/heads/main"
    assert (folder / "orders" / POLICY).read_bytes() == (
        ROOT / "examples" / "cdk-app" / POLICY
    ).read_bytes()


def test_only_lines_of_statements_that_must_change_do(
    demo: ModuleType, shown: tuple[Path, str]
) -> None:
    folder, _ = shown
    branch = outputs_of(demo, folder)["pull-request-branch"]
    before = by_sid(git(folder, "show", f"main:{POLICY}"))
    after = by_sid(git(folder, "show", f"{branch}:{POLICY}"))
    for sid in (
        "NeverPeopleOrKeys",
        "BootstrapVersion",
        "BootstrapLookup",
        "HandRolesToLambda",
        "FindLogs",
    ):
        assert after[sid] == before[sid]
    removed = [
        line[1:].strip().strip(",")
        for line in git(folder, "diff", "-U0", f"main..{branch}").splitlines()
        if line.startswith("-") and not line.startswith("---")
    ]
    assert '"Action": "lambda:*"' in removed
    assert not any("iam:CreateUser" in line or "iam:PassedToService" in line for line in removed)


def test_the_proposal_adds_the_denied_alarm_and_nothing_that_a_service_control_policy_denies(
    demo: ModuleType, shown: tuple[Path, str]
) -> None:
    folder, _ = shown
    outputs = outputs_of(demo, folder)
    assert outputs["has-changes"] == "true"
    added = json.loads(outputs["added-actions"])
    assert "cloudwatch:PutMetricAlarm" in added
    assert not any(action.startswith("ec2:") for action in added)


def test_the_proposal_removes_what_was_never_used_and_keeps_what_the_trail_cannot_show(
    demo: ModuleType, shown: tuple[Path, str]
) -> None:
    folder, _ = shown
    outputs = outputs_of(demo, folder)
    removed = set(json.loads(outputs["removed-actions"]))
    assert {"sns:CreateTopic", "sns:Subscribe", "sqs:PurgeQueue"} <= removed
    assert "sqs:GetQueueAttributes" not in removed
    assert "sqs:GetQueueAttributes" in outputs["policy"]
    assert "sns:" not in outputs["policy"]


def test_the_next_deploy_is_allowed_even_where_the_trail_shows_nothing(
    demo: ModuleType, shown: tuple[Path, str]
) -> None:
    folder, _ = shown
    proposed = json.loads(outputs_of(demo, folder)["policy"])["Statement"]
    needs = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "make_example.py"), "--needs"],
        capture_output=True,
        check=True,
    )
    needed_actions = [json.loads(line) for line in needs.stdout.splitlines()]
    assert len(needed_actions) > 90
    assert [
        need for need in needed_actions if not allows(proposed, need["action"], need["resource"])
    ] == []


def test_the_reader_sees_the_pull_request_the_change_and_where_the_rest_is_in_fifty_lines(
    shown: tuple[Path, str],
) -> None:
    folder, text = shown
    headings = [line.strip("─ ") for line in text.splitlines() if line.startswith("──")]
    assert headings == [
        "The pull request",
        f"The change of {POLICY}",
        "The rest",
    ]
    title = (
        (folder / "runner" / "temp" / "leastpriv" / "pull-request.md").read_text().splitlines()[0]
    )
    assert title.startswith("# ")
    assert title in text.splitlines()
    assert '\n+        "cloudformation:CreateChangeSet",\n' in text
    assert len(text.splitlines()) <= 50
    assert "::group::" not in text


def test_a_second_run_in_the_same_folder_replaces_the_first(
    tmp_path: Path, demo: ModuleType
) -> None:
    stage = demo.Stage(tmp_path / "stage")
    demo.set_up(stage)
    first = demo.git(stage, "rev-parse", "main")
    (stage.workspace / "left-over").touch()
    demo.set_up(stage)
    assert demo.git(stage, "rev-parse", "main") == first
    assert demo.git(stage, "status", "--porcelain") == ""


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("text")
    finished = run(tmp_path)
    assert finished.returncode == 2
    assert "--folder" in finished.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_the_exit_code_of_the_entry_point_is_passed_on(tmp_path: Path) -> None:
    for name in ("tools/demo.py", "action.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "entrypoint.py").write_text("import sys\nprint('::group::Reading')\nsys.exit(3)\n")
    finished = run(tmp_path / "stage", tmp_path / "tools" / "demo.py")
    assert finished.returncode == 3
    assert "▸ Reading\n" in finished.stdout
    assert "exit code 3" in finished.stderr


def test_the_entry_point_gets_only_the_runner_s_variables(
    tmp_path: Path, demo: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "must-not-be-used")
    stage = demo.Stage(tmp_path / "stage")
    demo.set_up(stage)
    given_to_it = demo.environment(stage)
    assert {name.split("_")[0] for name in given_to_it} == {
        "PATH",
        "HOME",
        "LANG",
        "CI",
        "GITHUB",
        "RUNNER",
        "INPUT",
    }
    assert given_to_it["INPUT_ROLE-ARN"] == "arn:aws:iam::111122223333:role/ci/orders-deploy"
    assert given_to_it["INPUT_MINIMUM-DAYS"] == "30"
    assert given_to_it["INPUT_GITHUB-TOKEN"] == ""
    assert json.loads(Path(given_to_it["GITHUB_EVENT_PATH"]).read_text())["schedule"]


def test_inputs_without_a_default_arrive_empty_as_on_a_runner(demo: ModuleType) -> None:
    action = """\
inputs:
  a:
    default: "90"
    required: false
  b-c:
    description: x
outputs:
  d:
    default: 1
"""
    assert demo.default_inputs(action) == {"a": "90", "b-c": ""}


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z-]{0,9}", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"])),
    )
)
def test_outputs_are_read_back_as_they_were_written(written: dict[str, str]) -> None:
    text = "".join(
        heredoc(name, value, "ghadelimiter_0f1e2d3c4b5a6978") for name, value in written.items()
    )
    assert load().read_outputs(text) == written


def test_details_are_collapsed_and_comments_hidden(demo: ModuleType) -> None:
    text = """\
a
<!-- marker -->
<details><summary><b>More</b> here</summary>
<details><summary>In</summary>x</details>
</details>
b"""
    assert demo.collapsed(text) == "a\n▸ More here\nb"
