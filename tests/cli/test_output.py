"""The promises of a command's result: for people at a terminal as it is meant to look, for programs
as it is.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.cli.command_line import print_markdown, print_rows, print_table
from leastpriv.github_actions.workflow_commands import PROGRESS_PREFIX, Console
from leastpriv.report.tables import TextTable, denial_table, excess_table, permission_table
from tests.fakes.deploys import POLICY, ROLE, usual_deploys, write_trail
from tests.fakes.markdown import HOSTILE

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ROW = {
    "action": "s3:PutObject",
    "resource": "*",
    "basis": "observed",
    "count": 3,
    "runs": ["1"],
    "last_seen": "x",
}


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def at_terminal(*arguments: str) -> str:
    """What the command shows at a real terminal of 100 columns."""
    script = "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())"
    outer, inner = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm-256color"}
    child = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=inner,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    os.close(inner)
    shown_bytes = b""
    while True:
        try:
            part = os.read(outer, 65_536)
        except OSError:  # Linux says EIO where the other side is closed
            break
        if not part:
            break
        shown_bytes += part
    child.wait()
    os.close(outer)
    return shown_bytes.decode()


@pytest.fixture(scope="module")
def proposing(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("usual")
    trail = write_trail(folder / "trail", usual_deploys())
    policy = folder / "ci-deploy.json"
    policy.write_text(json.dumps(POLICY, indent=2), encoding="utf-8")
    return ("propose", "--role-arn", ROLE, "--policy-file", str(policy), "--trails", str(trail))


def test_at_a_terminal_the_proposal_is_set_as_text_and_elsewhere_it_is_markdown(
    proposing: tuple[str, ...],
) -> None:
    text = at_terminal(*proposing)
    assert COLOUR.search(text)
    assert "**" not in text
    assert "| --- |" not in text
    assert "cloudwatch:PutMetricAlarm" in COLOUR.sub("", text)
    assert "--output-dir writes the whole" in " ".join(COLOUR.sub("", text).split())
    assert "What happens next" not in text
    script = "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())"
    piped = subprocess.run(
        [sys.executable, "-c", script, *proposing], capture_output=True, text=True, check=False
    )
    assert piped.stdout.startswith("# iam(ci-deploy): ")
    assert "What happens next" in piped.stdout
    assert "\x1b" not in piped.stdout


def test_as_json_the_proposal_is_the_file_that_is_written(
    proposing: tuple[str, ...], tmp_path: Path
) -> None:
    script = "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())"
    command = [
        sys.executable,
        "-c",
        script,
        *proposing,
        "--format",
        "json",
        "--output-dir",
        str(tmp_path),
    ]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert completed.stdout == (tmp_path / "proposal.json").read_text(encoding="utf-8")


@given(st.sampled_from(HOSTILE) | st.text())
def test_no_name_moves_the_cursor_of_a_terminal_or_colours_it(name: str) -> None:
    terminal = Terminal()
    print_table(terminal, permission_table([{**ROW, "resource": name}]))
    assert "\x1b" not in COLOUR.sub("", terminal.getvalue())
    assert "s3:PutObject" in terminal.getvalue()


def test_a_long_name_is_folded_and_never_cut() -> None:
    terminal, arn = Terminal(), "arn:aws:s3:::" + "k" * 107
    print_table(terminal, permission_table([{**ROW, "resource": arn}]))
    assert "".join(re.findall(r"k+", COLOUR.sub("", terminal.getvalue()))) == "k" * 107


def test_tables_without_a_terminal_are_aligned_columns() -> None:
    out = StringIO()
    row = {
        "action": "s3:GetObject",
        "resource": None,
        "denied_by": "scp",
        "mendable": False,
        "file": "x.log",
        "line": 7,
    }
    print_rows(out, [row], denial_table, "table")
    assert [line.split() for line in out.getvalue().splitlines()] == [
        ["action", "resource", "denied_by", "mendable", "where"],
        ["s3:GetObject", "–", "scp", "no", "x.log:7"],
    ]


def test_a_request_that_is_newly_allowed_shows_its_context() -> None:
    statement = {"file": "new.json", "index": 0, "sid": "Deploy", "line": 4}
    row = {
        "action": "s3:GetObject",
        "resource": "x",
        "context": {"aws:RequestedRegion": ["eu-west-1"]},
    }
    assert excess_table([{**row, "statement": statement}]).cells == (
        ("s3:GetObject", "x", "aws:RequestedRegion eu-west-1", "new.json:4 Deploy"),
    )


def test_markdown_is_not_rendered_without_a_terminal() -> None:
    out = StringIO()
    print_markdown(out, "# **x**\n")
    assert out.getvalue() == "# **x**\n"


def test_an_empty_table_is_its_head() -> None:
    assert str(TextTable(("a", "b"), ())) == "a  b\n"


class TestProgress:
    def test_at_a_terminal_the_next_line_takes_the_place_of_a_passing_one(self) -> None:
        terminal = Terminal()
        console = Console(terminal, terminal, in_actions=False)
        for message in (
            f"{PROGRESS_PREFIX}10,000 calls",
            f"{PROGRESS_PREFIX}20,000 calls",
            "Read 25,000 records",
        ):
            console.log(message)
        erase = "\r\x1b[2K"
        assert (
            terminal.getvalue()
            == f"… 10,000 calls{erase}… 20,000 calls{erase}Read 25,000 records\n"
        )

    def test_a_passing_line_is_taken_away_before_a_result_is_written(self) -> None:
        terminal = Terminal()
        console = Console(terminal, terminal, in_actions=False)
        console.log(f"{PROGRESS_PREFIX}10,000 calls")
        console.clear_progress()
        console.clear_progress()
        assert terminal.getvalue() == "… 10,000 calls\r\x1b[2K"

    @pytest.mark.parametrize("in_actions", [True, False])
    def test_elsewhere_a_phase_has_one_line(self, in_actions: bool) -> None:
        out = StringIO()
        console = Console(out, out, in_actions=in_actions)
        console.log(f"{PROGRESS_PREFIX}10,000 calls")
        console.log("Read 25,000 records")
        assert out.getvalue() == "Read 25,000 records\n"
