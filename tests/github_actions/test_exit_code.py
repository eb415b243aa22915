"""Progress of this package reaches the console, escaped; log records of other packages do not."""

from __future__ import annotations

import io
import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from leastpriv.github_actions.context import logging_to
from leastpriv.github_actions.workflow_commands import Console

OWN = logging.getLogger("leastpriv.evidence.example")


def test_untrusted_text_runs_no_workflow_command() -> None:
    out = io.StringIO()
    with logging_to(Console(out, out, in_actions=True)):
        OWN.info("100 %s of role a\n::error::b\n##[add-mask]c\x1b[2J")
    assert out.getvalue().splitlines() == [
        "100 %s of role a",
        "| ::error::b",
        "## [add-mask]c\\x1b[2J",
    ]


@pytest.mark.parametrize(
    "name", ["", "urllib3.connectionpool", "boto3", "botocore.retries", "leastprivate"]
)
def test_records_of_other_packages_are_not_shown(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = io.StringIO()
    with logging_to(Console(out, out, in_actions=False)):
        logging.getLogger(name).error("Connection pool is full")
    assert (out.getvalue(), capsys.readouterr()) == ("", ("", ""))


def test_warnings_of_other_packages_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of YAML warns with the line of the file, which may be a workflow command."""
    warned: list[object] = []
    monkeypatch.setattr(warnings, "showwarning", lambda *given, **_: warned.append(given))
    out = io.StringIO()
    with logging_to(Console(out, out, in_actions=True)):
        warnings.warn("found duplicate anchor\n  ::add-mask::arn: &a 1", stacklevel=1)
    assert warned == []
    assert out.getvalue() == ""


def test_nothing_is_shown_after_the_run_and_the_level_is_restored() -> None:
    out, logger = io.StringIO(), logging.getLogger("leastpriv")
    before = (logger.level, list(logger.handlers), list(logging.getLogger().handlers))
    with pytest.raises(KeyboardInterrupt), logging_to(Console(out, out, in_actions=False)):
        raise KeyboardInterrupt
    OWN.info("late")
    assert out.getvalue() == ""
    assert (logger.level, list(logger.handlers), list(logging.getLogger().handlers)) == before


def test_lines_of_several_threads_stay_whole() -> None:
    out = io.StringIO()
    lines = [f"{number:03}{'x' * 500}" for number in range(200)]
    with logging_to(Console(out, out, in_actions=False)), ThreadPoolExecutor(8) as pool:
        list(pool.map(OWN.info, lines))
    assert sorted(out.getvalue().splitlines()) == lines


class Closed(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_a_closed_stream_ends_the_run_unless_the_work_has_to_be_completed() -> None:
    console = Console(Closed(), Closed(), in_actions=False)
    with pytest.raises(BrokenPipeError), logging_to(console):
        OWN.info("a")
    with logging_to(console, ignore_closed=True):
        OWN.info("a")
