"""On a shell: where the names of a command lead, and how its result is printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from leastpriv.errors import InputError, LeastprivError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from leastpriv.config.settings import Settings
    from leastpriv.pipeline.context import Workplace
    from leastpriv.report.tables import Row, TextTable

Clock = Callable[[], datetime]
"""Returns the time that is now, aware and in UTC."""


def print_text(stdout: TextIO, text: str) -> None:
    """Writes a command's result as it is: Markdown and JSON have been escaped where they were made.

    What the stream's encoding lacks is written as an escape.

    Raises:
        BrokenPipeError: whoever read it has gone.
        LeastprivError: it cannot be written, as on a full disk.
    """
    encoding = stdout.encoding or "utf-8"
    shown = text if text.endswith("\n") or not text else text + "\n"
    try:
        stdout.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LeastprivError(f"The result cannot be written to standard output: {error.strerror}.") from error


def print_markdown(stdout: TextIO, text: str) -> None:
    """Writes Markdown, to people at a terminal as it is meant to look; raises as `print_text`."""
    if not stdout.isatty():
        print_text(stdout, text)
        return
    # Imported here: who reads JSON does not wait for it.
    from rich.markdown import Markdown

    _print_rich(stdout, Markdown(text))


def print_rows(stdout: TextIO, rows: Sequence[Row], table: Callable[[Sequence[Row]], TextTable], form: str) -> None:
    """Writes rows as JSON lines, or as a table where `form` says so; raises as `print_text`."""
    from leastpriv.report.tables import json_lines

    if form != "table":
        print_text(stdout, json_lines(rows))
    elif stdout.isatty():
        print_table(stdout, table(rows))
    else:
        print_text(stdout, str(table(rows)))


def print_table(stdout: TextIO, table: TextTable) -> None:
    """Writes a table to a terminal, in its colours and as wide as it is; raises as `print_text`."""
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(*table.columns, box=box.SIMPLE_HEAD)
    for line in table.cells:
        drawn.add_row(*(Text(cell, style=_COLOURS.get(cell, ""), overflow="fold") for cell in line))
    _print_rich(stdout, drawn, *map(Text, table.notes))


_COLOURS = {"allowed": "green", "implicitDeny": "red", "explicitDeny": "bold red", "unknown": "yellow", "no": "yellow"}


def _print_rich(stdout: TextIO, *shown: RenderableType) -> None:
    from rich.console import Console

    whole = Console(file=stdout)
    with whole.capture() as captured:
        whole.print(*shown, sep="\n")
    print_text(stdout, captured.get())


def shell_workplace(settings: Settings, environment: Mapping[str, str], now: datetime) -> Workplace:
    """On a shell every path starts at the current folder; the repository is the one around the policy file.

    Raises:
        InputError: an input that only a step can have is given.
        PullRequestError: a mode that needs a git repository finds none.
    """
    from leastpriv.config.settings import AUTO_LOGS, Mode
    from leastpriv.evidence.history.file import LONGEST_FILE
    from leastpriv.pipeline.context import JobLogs, Workplace, changed_on_disk, earlier_on_disk, repository_root
    from leastpriv.pipeline.history import file_of
    from leastpriv.pipeline.sources import Reach
    from leastpriv.pull_request.state_store import FolderShelf

    policy, trails = Path(settings.policy.path), tuple(Path(name) for name in settings.trail_folders)
    absolute = policy.parent.resolve() / policy.name
    reach = Reach(environment, now, settings.aws_regions)
    if AUTO_LOGS in settings.job_logs:
        raise InputError("--job-log auto reads the logs of a step's workflow run: here, name files of logs.")
    logs = JobLogs(now, settings.job_logs)
    pointer = settings.policy.pointer
    shelf = FolderShelf(Path(settings.memory), file_of(settings.principal), LONGEST_FILE) if settings.memory else None
    if settings.mode not in (Mode.PULL_REQUEST, Mode.REVIEW):
        return Workplace(
            policy.as_posix(),
            Path(),
            trails,
            job_logs=logs,
            reach=reach,
            pointer=pointer,
            changed=changed_on_disk(absolute),
            shelf=shelf,
            earlier=lambda time: earlier_on_disk(absolute, time),
        )
    from leastpriv.pull_request.git import LocalRepository
    from leastpriv.pull_request.git_repository import LocalPlace

    root = repository_root(absolute) or absolute.parent
    place = LocalPlace(LocalRepository.open(root))
    path = absolute.relative_to(root).as_posix()
    return Workplace(path, Path(), trails, place, job_logs=logs, reach=reach, pointer=pointer, shelf=shelf)
