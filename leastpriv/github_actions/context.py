"""The environment of a step, as the runner sets it, the paths of its inputs, its outputs, summary
and exit code.

Errors become a message and an exit code here, in a shell too.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeGuard

from msgspec import Struct

from leastpriv.atomic_file import open_regular
from leastpriv.errors import InputError, LeastprivError
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.process_limits import collect_rarely

_DEPENDABOT = "dependabot[bot]"
_READ_ONLY_EVENTS = frozenset(
    {"push", "pull_request", "pull_request_review", "pull_request_review_comment"}
)
"""For Dependabot (docs.github.com, "Troubleshooting Dependabot on GitHub Actions", read 2026-11).
"""


_OUTPUT = "leastpriv"
_BRANCH = "refs/heads/"
_NAMED_HEAD = "ref: "
_LONGEST_EVENT = 64 * 1024**2
"""Bytes. GitHub sends no event above 25 MB (docs.github.com, "Webhook events and payloads", read
2026-12)."""
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MOST_NUMBER = 2**63


class Runner(Struct, frozen=True):
    """The environment of a step; outside Actions everything but the workspace is empty or GitHub's
    default.
    """

    workspace: Path
    """Folder of the checkout; the current folder outside Actions."""
    temporary: Path | None
    """`RUNNER_TEMP`: emptied with the job."""
    output_file: Path | None
    summary_file: Path | None
    event_path: Path | None
    event_name: str
    repository: str
    """`owner/name`"""
    workflow_ref: str
    """`owner/name/.github/workflows/FILE@REF` of the workflow that runs."""
    actor: str
    run_id: str
    run_attempt: str
    server_url: str
    api_url: str
    in_actions: bool
    debug: bool
    action_repository: str = ""
    """`owner/name` of the action that runs; empty for one of the workspace."""
    action_ref: str = ""
    """The tag, branch or commit of its `uses:`."""
    ref: str = ""
    """The ref that triggered the run, as `refs/heads/main`."""
    is_ref_protected: bool = False
    sha: str = ""
    """The commit that triggered the run; of the default branch after a comment or another run."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Runner:
        """Reads the variables of the runner from `environment` (docs.github.com, "Variables
        reference").
        """

        def path(name: str) -> Path | None:
            return Path(environment[name]) if environment.get(name) else None

        return cls(
            workspace=path("GITHUB_WORKSPACE") or Path(),
            temporary=path("RUNNER_TEMP"),
            output_file=path("GITHUB_OUTPUT"),
            summary_file=path("GITHUB_STEP_SUMMARY"),
            event_path=path("GITHUB_EVENT_PATH"),
            event_name=environment.get("GITHUB_EVENT_NAME", ""),
            repository=environment.get("GITHUB_REPOSITORY", ""),
            workflow_ref=environment.get("GITHUB_WORKFLOW_REF", ""),
            actor=environment.get("GITHUB_ACTOR", ""),
            run_id=environment.get("GITHUB_RUN_ID", ""),
            run_attempt=environment.get("GITHUB_RUN_ATTEMPT") or "1",
            server_url=environment.get("GITHUB_SERVER_URL") or "https://github.com",
            api_url=environment.get("GITHUB_API_URL") or "https://api.github.com",
            in_actions=environment.get("GITHUB_ACTIONS") == "true",
            debug=environment.get("RUNNER_DEBUG") == "1",
            action_repository=environment.get("GITHUB_ACTION_REPOSITORY", ""),
            action_ref=environment.get("GITHUB_ACTION_REF", ""),
            ref=environment.get("GITHUB_REF", ""),
            is_ref_protected=environment.get("GITHUB_REF_PROTECTED") == "true",
            sha=environment.get("GITHUB_SHA", ""),
        )

    @property
    def workflow(self) -> str:
        """The workflow's file with its repository: `owner/name/.github/workflows/FILE`."""
        return self.workflow_ref.partition("@")[0]

    @property
    def run_url(self) -> str:
        """Address of this workflow run; empty outside Actions."""
        return self.run_url_template.format(run=self.run_id) if self.run_id else ""

    @property
    def run_url_template(self) -> str:
        """Template of the address of a workflow run with `{run}`; empty without a repository."""
        if not self.repository:
            return ""
        place = f"{self.server_url}/{self.repository}".replace("{", "{{").replace("}", "}}")
        return f"{place}/actions/runs/{{run}}"

    @property
    def output_folder(self) -> Path:
        """Folder of the proposal's files; raises InputError where a link leads it elsewhere."""
        if self.temporary:
            return self.temporary / _OUTPUT
        return repository_path(self.workspace, _OUTPUT, "RUNNER_TEMP")

    def read_event(self) -> Mapping[str, object]:
        """Reads the event that started the run; empty without an event."""
        if self.event_path is None:
            return {}
        try:
            with open_regular(self.event_path) as file:
                content = file.read(_LONGEST_EVENT + 1)
            event = json.loads(content) if len(content) <= _LONGEST_EVENT else None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"The event file {self.event_path} (GITHUB_EVENT_PATH) is not readable JSON."
            ) from error
        if not isinstance(event, dict):
            raise InputError(
                f"The event file {self.event_path} (GITHUB_EVENT_PATH) does not hold a JSON object."
            )
        return event

    def pull_request_event(self) -> PullRequestEvent:
        """Reads the pull request of the event that started the run."""
        event = self.read_event()
        number = _nested_value(event, "pull_request", "number")
        base, head = (
            _nested_value(event, "pull_request", side, "sha") for side in ("base", "head")
        )
        if not (_is_number(number) and _is_commit(base) and _is_commit(head)):
            raise InputError(
                "The input mode is 'review', which needs an event of a pull request, and this run"
                f" is one of {self.event_name or 'no event'}: run it on pull_request."
            )
        return PullRequestEvent(number, base, head)

    def may_have_unreviewed_code(self, base: str) -> bool:
        """Whether the checkout may be of a pull request, a fork or an unprotected branch other than
        `base` (empty: the default branch), by what the event says.
        """
        if self.event_name.startswith("pull_request"):
            return True
        if self.event_name and not self.ref:
            # A deployment of a commit, as of the preview of a pull request ("Events that trigger
            # workflows", docs.github.com, read 2026-12).
            return True
        event = self.read_event()
        if _nested_value(event, "issue", "pull_request") is not None:
            return not self._has_triggering_commit()
        reviewed = base or _nested_value(event, "repository", "default_branch")
        if isinstance(event.get("workflow_run"), dict):
            return not (self._is_of_branch(event, reviewed) or self._has_triggering_commit())
        if not isinstance(reviewed, str) or not self.ref.startswith(_BRANCH):
            return False
        return self.ref.removeprefix(_BRANCH) != reviewed and not self.is_ref_protected

    def _has_triggering_commit(self) -> bool:
        """Whether the commit that triggered the run is checked out in the workspace."""
        folder = self.workspace / ".git"
        commit = ""
        with suppress(OSError, ValueError):
            commit = (folder / "HEAD").read_text(encoding="ascii").strip()
            if commit.startswith(_NAMED_HEAD):
                reference = folder / commit.removeprefix(_NAMED_HEAD)
                commit = reference.read_text(encoding="ascii").strip()
        return _is_commit(commit) and commit == self.sha

    def _is_of_branch(self, event: Mapping[str, object], branch: object) -> bool:
        """Whether the run that a `workflow_run` follows is of a branch of this repository."""
        trigger = _nested_value(event, "workflow_run", "event")
        repository = _nested_value(event, "workflow_run", "head_repository", "full_name")
        head = _nested_value(event, "workflow_run", "head_branch")
        is_pull_request = not isinstance(trigger, str) or trigger.startswith("pull_request")
        return not is_pull_request and repository == self.repository and head == branch

    def has_read_only_token(self) -> bool:
        """Whether GitHub gives this run a token that cannot write: a fork's pull request, or
        Dependabot's.
        """
        return (self.actor == _DEPENDABOT and self.event_name in _READ_ONLY_EVENTS) or is_from_fork(
            self.read_event()
        )


class PullRequestEvent(Struct, frozen=True):
    """Number and commits of the pull request of an event."""

    number: int
    base: str
    head: str


def _is_number(value: object) -> TypeGuard[int]:
    """Whether a value of an event is the number of a pull request."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST_NUMBER


def _is_commit(value: object) -> TypeGuard[str]:
    """Whether a value of an event is the id of a commit, which becomes a part of addresses."""
    return isinstance(value, str) and _COMMIT.fullmatch(value) is not None


def is_from_fork(event: Mapping[str, object]) -> bool:
    """Whether `event` has a pull request whose head is in another repository, or in a deleted
    one.
    """
    if not isinstance(event.get("pull_request"), dict):
        return False
    head = _nested_value(event, "pull_request", "head", "repo", "full_name")
    return head is None or head != _nested_value(event, "pull_request", "base", "repo", "full_name")


def repository_path(workspace: Path, value: str, input_name: str) -> Path:
    """Returns the path `value` (relative, with `/`) inside the workspace; it need not exist.

    Links in it are checked, not replaced; none leads to a file of git itself.
    """
    path = PurePosixPath(value)
    root = workspace.resolve()
    if not path.parts or path.is_absolute():
        raise InputError(
            f"The input {input_name} is {value!r}: write a path relative to the repository's root."
        )
    if not value.isprintable() and any(
        unicodedata.category(character) in {"Cc", "Cs", "Cf"} for character in value
    ):
        raise InputError(
            f"The input {input_name} is {value!r}: remove the characters that do not show."
        )
    full_path = _place(root, path)
    if _is_of_git(path) or (full_path is not None and _is_of_git(full_path)):
        raise InputError(
            f"The input {input_name} is {value!r}: files of git itself are out of bounds."
        )
    if ".." in path.parts or full_path is None:
        raise InputError(
            f"The input {input_name} is {value!r}: it leads out of the repository; name a file"
            " in it."
        )
    return root / path


def _place(root: Path, path: PurePosixPath) -> PurePath | None:
    """Returns where a path leads below the root after links are resolved; None: out of it."""
    # A loop of links: 3.11 and 3.12 raise RuntimeError, 3.13 OSError.
    with suppress(OSError, RuntimeError):
        resolved = (root / path).resolve()
        if resolved.is_relative_to(root):
            return resolved.relative_to(root)
    return None


def _is_of_git(path: PurePath) -> bool:
    return ".git" in (part.lower() for part in path.parts)


def _nested_value(value: object, *keys: str) -> object:
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


SUMMARY_LIMIT = 900_000
"""Bytes. GitHub drops a step's whole summary beyond 1 MiB (actions/runner,
`CreateStepSummaryCommand`).
"""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TRUNCATION_NOTE = (
    "\n\n*The summary was cut here: GitHub takes 1 MiB a step. The proposal's files hold all of"
    " it.*\n"
)


def heredoc(name: str, value: str, delimiter: str) -> str:
    """Returns one output in the runner's `name<<delimiter` form, with its final newline."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not the name of an output")
    if delimiter in value:
        raise LeastprivError(f"The output {name} holds its own delimiter and was not written.")
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def write_outputs(path: Path | None, outputs: Mapping[str, str]) -> None:
    """Appends outputs to the file that `GITHUB_OUTPUT` names, None outside Actions; a value may be
    any text.
    """
    import secrets

    if path:
        for name, value in outputs.items():
            _append(path, heredoc(name, value, f"leastpriv_{secrets.token_hex(32)}"))


def append_summary(path: Path, markdown: str) -> None:
    """Appends to the file that `GITHUB_STEP_SUMMARY` names; beyond the limit it is truncated
    between lines.
    """
    size = path.stat().st_size if path.exists() else 0
    _append(
        path,
        truncate_at_line(
            markdown if markdown.endswith("\n") else markdown + "\n", max(SUMMARY_LIMIT - size, 0)
        ),
    )


def write_summary(path: Path, markdown: str, start: int) -> None:
    """Writes the summary from the byte `start` of its file on, in place of what the step wrote
    there before.
    """
    try:
        if path.exists() and path.stat().st_size > start:
            os.truncate(path, start)
    except OSError as error:
        raise LeastprivError(
            f"The summary {str(path)!r} cannot be written: {error.strerror}."
        ) from error
    append_summary(path, markdown)


def truncate_at_line(markdown: str, limit: int) -> str:
    """Returns as many whole lines as fit `limit` bytes, and a note if some are left out; empty if
    that does not fit.
    """
    if _size(markdown) <= limit:
        return markdown
    lines: list[str] = []
    fence = ""
    size = _size(_TRUNCATION_NOTE)
    for line in markdown.splitlines(keepends=True):
        after = _open_fence_after(fence, line)
        if size + _size(line) + _size(after) + 1 > limit:
            break
        size += _size(line)
        lines.append(line)
        fence = after
    closing = f"{fence}\n" if fence else ""
    return "".join(lines) + closing + _TRUNCATION_NOTE if size <= limit else ""


def _open_fence_after(fence: str, line: str) -> str:
    """Returns the run of backticks that is still open after `line`."""
    fence_match = re.match(r" {0,3}(`{3,})([^`]*)$", line.rstrip("\r\n"))
    if fence_match is None:
        return fence
    if not fence:
        return fence_match[1]
    return "" if fence_match[1].startswith(fence) and not fence_match[2].strip() else fence


def _size(text: str) -> int:
    return len(text.encode("utf-8", "backslashreplace"))


def _append(path: Path, text: str) -> None:
    try:
        with path.open("ab") as file:
            file.write(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise LeastprivError(
            f"The runner's file {path} cannot be written: {error.strerror}."
        ) from error


_INTERRUPTED = 130
_SHORT_SIGPIPE = 141


def exit_code_of(
    work: Callable[[], int], console: Console, *, verbose: bool, ignore_closed: bool = False
) -> int:
    """Returns the exit code of `work`, or of its error; with `ignore_closed` a closed terminal ends
    no work.
    """
    collect_rarely()

    try:
        with logging_to(console, ignore_closed=ignore_closed):
            return work()
    except KeyboardInterrupt:
        console.error("Interrupted: nothing was published.")
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of the output closed it, as in `leastpriv permissions … | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SHORT_SIGPIPE
    except Exception as error:
        # The user gets a sentence instead of a traceback, also for a defect.
        path_error = _too_long_path(error) or error
        if not isinstance(path_error, LeastprivError):
            path_error = LeastprivError(
                f"Unexpected {type(error).__name__}: {error}. This is a defect; run again with -v"
                " and report it."
            )
        console.error(str(path_error))
        if verbose:
            import traceback

            console.untrusted(traceback.format_exc())
        return path_error.exit_code


def _too_long_path(error: Exception) -> InputError | None:
    """Returns the error for a path that the system does not take; None for any other error."""
    if not isinstance(error, OSError) or error.errno != errno.ENAMETOOLONG:
        return None
    name = os.fsdecode(error.filename or "")
    return InputError(
        f"A path of {len(name):,} characters is too long for this system: it begins with"
        f" {name[:60]!r}; name a shorter one."
    )


_PACKAGE = __name__.partition(".")[0]


class ConsoleHandler(logging.Handler):
    """Writes each record as a message of the console, which escapes untrusted text in it."""

    def __init__(self, console: Console, *, ignore_closed: bool = False) -> None:
        """`ignore_closed`: a closed terminal or pipe raises nothing, so that the work continues."""
        super().__init__()
        self._console = console
        self._ignored: tuple[type[Exception], ...] = (OSError, ValueError) if ignore_closed else ()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record."""
        with suppress(*self._ignored):
            self._console.log(record.getMessage())


@contextmanager
def logging_to(console: Console, *, ignore_closed: bool = False) -> Iterator[None]:
    """Shows this package's progress on the console while the context is open, but no records and
    no warnings of other packages: these quote the files that they read, unescaped.
    """
    package_logger = logging.getLogger(_PACKAGE)
    root_logger = logging.getLogger()
    handler = ConsoleHandler(console, ignore_closed=ignore_closed)
    null_handler = logging.NullHandler()
    level = package_logger.level
    package_logger.setLevel(logging.INFO)
    package_logger.addHandler(handler)
    root_logger.addHandler(null_handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        package_logger.removeHandler(handler)
        root_logger.removeHandler(null_handler)
        package_logger.setLevel(level)
