"""The usage history on a shell: a folder that `--evidence-folder` names."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.fakes.command import CommandResult, leastpriv
from tests.fakes.deploys import (
    CREATE_QUEUE,
    POLICY,
    ROLE,
    UPDATE,
    deploys,
    usual_deploys,
    write_trail,
)

PURGE = {
    "event": "sqs:PurgeQueue",
    "parameters": {"queueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/orders"},
}
LONG_AGO = datetime(2026, 3, 1, 9, tzinfo=UTC)
FILE = "111122223333/role/ci-deploy.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy, an early trail in which a queue is purged, and a late one in which it is not."""
    (tmp_path / "policy.json").write_text(json.dumps(POLICY, indent=2))
    write_trail(
        tmp_path / "early", deploys([UPDATE, CREATE_QUEUE, PURGE], first=LONG_AGO, number=100)
    )
    write_trail(tmp_path / "late", usual_deploys())
    return tmp_path


def propose(folder: Path, trail: str, *more: str) -> CommandResult:
    options = [
        "--role-arn",
        ROLE,
        "--policy-file",
        str(folder / "policy.json"),
        "--trails",
        str(folder / trail),
    ]
    return leastpriv("propose", *options, *more)


def test_what_an_earlier_run_saw_is_kept_by_a_later_one(folder: Path) -> None:
    memory = ("--evidence-folder", str(folder / "memory"))
    assert "`sqs:PurgeQueue`" in propose(folder, "late").out
    assert propose(folder, "early", *memory).code == 0
    later = propose(folder, "late", *memory)
    assert "`remembered`" in later.out
    assert "sqs:PurgeQueue" not in later.out.partition("#### Removed")[2].partition("</details>")[0]


@pytest.mark.parametrize(
    "content",
    [b"[" * 90_000, b"{}", b"\x00" * 2_000_000, b'{"leastpriv-memory": 2}'],
    ids=["brackets", "no format", "zeros", "a later format"],
)
def test_an_unreadable_usage_history_removes_no_grant_and_is_not_overwritten(
    folder: Path, content: bytes
) -> None:
    file = folder / "memory" / FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    run = propose(folder, "late", "--evidence-folder", str(folder / "memory"))
    assert run.code == 0
    assert "#### Removed" not in run.out
    assert "fix it, or delete it to start again" in run.err
    assert file.read_bytes() == content


def test_a_folder_that_cannot_be_written_is_reported_and_the_proposal_printed(folder: Path) -> None:
    # No folder can be made below a file.
    (folder / "memory").mkdir()
    (folder / "memory" / FILE.partition("/")[0]).write_text("a file")
    run = propose(folder, "late", "--evidence-folder", str(folder / "memory"))
    assert run.code == 0
    assert "No permission is removed" in run.err
    assert run.out


def test_a_file_in_place_of_the_folder_is_refused_before_anything_is_read(folder: Path) -> None:
    (folder / "memory").write_text("a file")
    run = propose(folder, "late", "--evidence-folder", str(folder / "memory"))
    assert run.code == 2
    assert run.err.startswith("error: --evidence-folder is ")
