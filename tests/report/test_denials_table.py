"""`leastpriv denials`: a JSON line for each distinct denial, and an exit code for scripts."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from leastpriv.cli.main import main
from leastpriv.denials.job_logs import LoggedDenial
from leastpriv.models import Denial, DeniedBy
from leastpriv.report.tables import denial_summary

SENTENCE = "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: sqs:ListQueues"


def denials(tmp_path: Path, log: str) -> tuple[int, list[dict[str, object]], str]:
    file, out, error = tmp_path / "log", io.StringIO(), io.StringIO()
    file.write_text(log, encoding="utf-8")
    code = main(["denials", str(file)], out, error, lambda: datetime(2026, 11, 24, tzinfo=UTC))
    return code, [json.loads(line) for line in out.getvalue().splitlines()], error.getvalue()


def test_a_denial_is_one_line_and_exit_code_0(tmp_path: Path) -> None:
    log = (
        f"a\n{SENTENCE} because no identity-based policy allows the sqs:ListQueues"
        f" action\n{SENTENCE}\n"
    )
    code, rows, summary = denials(tmp_path, log)
    assert code == 0
    assert rows == [
        {
            "file": str(tmp_path / "log"),
            "line": 2,
            "action": "sqs:ListQueues",
            "actions": ["sqs:ListQueues"],
            "resource": None,
            "principal": "arn:aws:iam::123456789012:user/ci",
            "denied_by": "identity",
            "explicit": False,
            "mendable": True,
            "inferred": False,
            "why": None,
            "authorization_id": None,
            "message": (
                f"{SENTENCE} because no identity-based policy allows the sqs:ListQueues action"
            ),
        }
    ]
    assert summary == "1 distinct denial; a grant could fix 1.\n"


def test_a_log_without_a_denial_is_no_line_and_exit_code_1(tmp_path: Path) -> None:
    assert denials(tmp_path, "all went well\n") == (1, [], "No denial was found.\n")


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    out, error = io.StringIO(), io.StringIO()
    assert (
        main(
            ["denials", str(tmp_path / "absent")],
            out,
            error,
            lambda: datetime(2026, 11, 24, tzinfo=UTC),
        )
        == 2
    )
    assert "absent' cannot be read" in error.getvalue()


def test_a_log_cannot_run_a_command_of_the_runner_through_its_message(tmp_path: Path) -> None:
    log = (
        f"User: arn:aws:iam::1:user/x##[add-mask]y\x1b]0;z\x07 {SENTENCE[6:]}\n::set-output"
        " name=a::b\n"
    )
    _, rows, _ = denials(tmp_path, log)
    assert rows
    out = io.StringIO()
    main(
        ["denials", str(tmp_path / "log")],
        out,
        io.StringIO(),
        lambda: datetime(2026, 11, 24, tzinfo=UTC),
    )
    assert "##[" not in out.getvalue()
    assert all(line.startswith("{") for line in out.getvalue().splitlines())
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("", "2 distinct denials; a grant could fix 1."),
        ("15 seconds", "There may be more (limit: 15 seconds)."),
    ],
)
def test_the_summary_counts_denials_that_a_grant_fixes(limit: str, words: str) -> None:
    denials = [
        LoggedDenial("log", 1, Denial(("s3:PutObject",), "", "", DeniedBy.UNKNOWN, False, mendable))
        for mendable in (True, False)
    ]
    assert words in denial_summary(denials, limit)
