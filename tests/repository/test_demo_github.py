"""`make demo-github` makes four runs on a local fake of GitHub, and leaves a repository to look
into.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of one demonstration, and its output."""
    folder = tmp_path_factory.mktemp("demo") / "github"
    command = [sys.executable, str(ROOT / "tools/demo_github.py"), "--folder", str(folder)]
    completed = subprocess.run(command, check=True, capture_output=True, text=True)
    return folder, completed.stdout


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "--git-dir", str(folder / "orders.git"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_pull_request_is_created_kept_updated_and_not_created_again_once_declined(
    played: tuple[Path, str],
) -> None:
    operations = [
        line.split()[1]
        for line in played[1].splitlines()
        if line.startswith("pull-request-operation")
    ]
    assert operations == ["created", "none", "updated", "none"]
    assert "#1 already holds this proposal" in played[1]
    assert "Nothing to change; the branch is that of #1" in played[1]


def test_the_kept_repository_has_one_commit_on_main_with_both_additions(
    played: tuple[Path, str],
) -> None:
    branch = "leastpriv/orders-deploy"
    assert git(played[0], "rev-list", "--count", f"main..{branch}") == "1\n"
    change = git(played[0], "diff", f"main..{branch}")
    assert "cloudwatch:PutMetricAlarm" in change
    assert "sns:TagResource" in change
    assert (
        (played[0] / "pull-request-1.md")
        .read_text(encoding="utf-8")
        .startswith("> [!IMPORTANT]\n> **Security review, then merge.** Only runs of")
    )


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    command = [sys.executable, str(ROOT / "tools/demo_github.py"), "--folder", str(tmp_path)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 2
    assert (tmp_path / "mine.txt").exists()
