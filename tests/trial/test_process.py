"""The command runs as given, its output is unchanged, and its denials are read."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from leastpriv.denials import job_logs
from leastpriv.errors import InputError, caught_signals
from leastpriv.trial import process, process_group
from leastpriv.trial.process import CommandResult, run_command
from tests.fakes import progress
from tests.fakes.processes import has_ended

REFUSAL = (
    "User: arn:aws:sts::111122223333:assumed-role/deploy/t-1 is not authorized to perform:"
    " sns:ListTopics because no session policy allows the sns:ListTopics action"
)


@dataclass(frozen=True, slots=True)
class Ran:
    ended: CommandResult
    out: bytes
    err: bytes


def run(script: str, *arguments: str, **more: str) -> Ran:
    """A Python script as the command."""
    out, err = io.BytesIO(), io.BytesIO()
    streams = [
        io.TextIOWrapper(stream, encoding="utf-8", write_through=True) for stream in (out, err)
    ]
    ended = run_command(
        [sys.executable, "-c", script, *arguments], {**os.environ, **more}, *streams
    )
    ran = Ran(ended, out.getvalue(), err.getvalue())
    for stream in streams:
        stream.detach()
    return ran


def test_bytes_of_any_kind_pass_through_unchanged() -> None:
    script = (
        "import sys; sys.stdout.buffer.write(bytes(range(256)) * 9000);"
        " sys.stderr.buffer.write(b'\\r\\x1b[1m\\xff')"
    )
    ran = run(script)
    assert (ran.out, ran.err, ran.ended.exit_code) == (
        bytes(range(256)) * 9000,
        b"\r\x1b[1m\xff",
        0,
    )


def test_arguments_reach_the_command_as_they_are() -> None:
    ran = run("import sys; print(sys.argv[1:], flush=True)", "a b", "$HOME", "*", "--", "")
    assert ran.out.decode().strip() == "['a b', '$HOME', '*', '--', '']"


def test_each_denial_of_both_streams_is_read_once() -> None:
    script = (
        "import sys; print(sys.argv[1]); print(sys.argv[1], file=sys.stderr); print('x' * 100_000);"
        " sys.exit(3)"
    )
    ran = run(script, REFUSAL)
    assert [denial.actions for denial in ran.ended.denials] == [("sns:ListTopics",)]
    assert ran.ended.exit_code == 3


def test_a_denial_that_arrives_in_pieces_is_read() -> None:
    script = (
        "import sys, time\nfor c in sys.argv[1]:\n  sys.stderr.write(c); sys.stderr.flush();"
        " time.sleep(0.0005)"
    )
    assert [denial.actions for denial in run(script, REFUSAL).ended.denials] == [
        ("sns:ListTopics",)
    ]


def test_more_denials_than_are_kept_do_not_stop_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_logs, "MOST_DISTINCT", 5)
    script = (
        "import sys\nfor number in range(9_000):\n  print(sys.argv[1].replace('sns:ListTopics',"
        " 'sns:List%d' % (number % 50)) if number < 50 else 'x' * 99)"
    )
    ran = run(script, REFUSAL)
    assert (ran.ended.exit_code, len(ran.ended.denials), ran.out.count(b"\n")) == (0, 5, 9_000)


def test_a_command_ended_by_a_signal_has_the_exit_code_of_a_shell() -> None:
    assert run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)").ended.exit_code == 137


def test_a_child_process_left_running_does_not_block_the_trial(tmp_path: Path) -> None:
    """A daemon keeps the pipe open: the trial continues once the command itself has ended."""
    done_file = tmp_path / "done"
    daemon = f"import pathlib, time; time.sleep(30); pathlib.Path({str(done_file)!r}).touch()"
    ran = run(
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', sys.argv[1]]).pid)",
        daemon,
    )
    os.kill(int(ran.out), signal.SIGKILL)
    assert not done_file.exists()


@pytest.mark.parametrize(
    "argv", [["/nowhere/deploy"], ["no-such-command-here"], [""], ["a\0b"], [os.sep]]
)
def test_a_program_that_cannot_be_run_is_bad_input(argv: list[str]) -> None:
    with pytest.raises(InputError, match="cannot be run"):
        run_command(argv, dict(os.environ), io.StringIO(), io.StringIO())


IGNORES = (
    "import signal, sys, time\nfor each in {}: signal.signal(each, signal.SIG_IGN)\nprint('ready',"
    " flush=True)\n{}"
)
"""A script that ignores signals."""


def interrupted(script: str, *numbers: int) -> tuple[CommandResult, list[str]]:
    """Runs a script and sends signals to this process as soon as the script is ready."""
    progress_lines = progress.LINES

    class Sink(io.StringIO):
        def write(self, text: str) -> int:
            if "ready" in text:
                for number in numbers:
                    os.kill(os.getpid(), number)
                    # The system merges two signals of one kind that arrive together.
                    time.sleep(0.01)
            return len(text)

    with caught_signals(first_only=True) as signals, signals.recorded():
        argv = [sys.executable, "-c", script]
        ended = run_command(argv, dict(os.environ), Sink(), io.StringIO(), signals)
    return ended, progress_lines


def test_a_second_signal_right_after_the_first_ends_a_command_that_ignores_it(
    not_on_a_terminal: None,
) -> None:
    ended, progress_lines = interrupted(
        IGNORES.format("[signal.SIGINT]", "time.sleep(60)"), signal.SIGINT, signal.SIGINT
    )
    assert (ended.exit_code, ended.interrupted, len(progress_lines)) == (143, signal.SIGINT, 1)


def test_a_third_signal_kills(not_on_a_terminal: None) -> None:
    script = IGNORES.format("[signal.SIGINT, signal.SIGTERM]", "time.sleep(60)")
    ended, _ = interrupted(script, *[signal.SIGINT] * 3)
    assert (ended.exit_code, ended.interrupted) == (137, signal.SIGINT)


def test_a_timeout_escalates_like_a_further_signal(
    not_on_a_terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_group, "_ESCALATION_DELAY", 0.1)
    script = IGNORES.format("[signal.SIGINT, signal.SIGTERM]", "time.sleep(60)")
    assert interrupted(script, signal.SIGTERM)[0].exit_code == 137


def test_output_before_a_signal_is_read(not_on_a_terminal: None) -> None:
    script = f"import time; print({REFUSAL!r}); print('ready', flush=True); time.sleep(60)"
    ended, _ = interrupted(script, signal.SIGTERM)
    assert [denial.actions for denial in ended.denials] == [("sns:ListTopics",)]


def test_a_failing_reader_is_reported_and_the_command_continues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_stream: object, _name: str) -> Iterator[job_logs.LoggedDenial]:
        raise RecursionError
        yield

    monkeypatch.setattr(process, "read_log", broken)
    ran = run("print('x' * 300_000); raise SystemExit(3)")
    assert (ran.ended.exit_code, len(ran.out)) == (3, 300_001)
    assert "stdout was not fully searched for denials (RecursionError)" in ran.ended.unread


def test_a_daemon_with_endless_output_does_not_block_the_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_MAX_AFTER_EXIT", 0.5)
    daemon = "import time\nfor _ in range(600): print('x', flush=True); time.sleep(0.1)"
    began = time.monotonic()
    run("import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])", daemon)
    assert time.monotonic() - began < 45


def test_the_time_limit_ends_the_command_and_what_it_started(
    not_on_a_terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_group, "_ESCALATION_DELAY", 0.2)
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    script = (
        "import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c',"
        f" {child!r}]).pid, {REFUSAL!r}, flush=True); time.sleep(60)"
    )
    out = io.StringIO()
    ended = run_command(
        [sys.executable, "-c", script], dict(os.environ), out, io.StringIO(), time_limit=1.5
    )
    assert (ended.timed_out, ended.interrupted, ended.exit_code) == (True, 0, 143)
    assert [denial.actions for denial in ended.denials] == [("sns:ListTopics",)]
    assert has_ended(int(out.getvalue().split()[0]))


def test_a_command_within_its_time_limit_is_not_ended() -> None:
    argv = [sys.executable, "-c", "print(1)"]
    ended = run_command(argv, dict(os.environ), io.StringIO(), io.StringIO(), time_limit=60)
    assert (ended.timed_out, ended.exit_code) == (False, 0)


DEPLOY = (
    "import os, signal, subprocess, sys, time\n"
    "keep = subprocess.Popen([sys.executable, '-c', 'import signal, time;"
    " signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)'],"
    " stdout=subprocess.PIPE)\n"
    "keep.stdout.readline()\n"
    "print(os.getpid(), keep.pid, flush=True)\n"
    "time.sleep(60)"
)
"""A command whose child process ignores SIGTERM."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_end_of_the_trial_ends_the_command_and_its_child_processes(
    number: signal.Signals,
) -> None:
    """Also a kill that the trial cannot handle: the command has credentials for an hour."""
    trial = (
        "import os, sys; from leastpriv.trial.process import run_command;"
        " from leastpriv.errors import caught_signals\n"
        "with caught_signals(first_only=True) as signals, signals.recorded():\n"
        f"  run_command([sys.executable, '-c', {DEPLOY!r}], dict(os.environ), sys.stdout,"
        " sys.stderr, signals)"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", trial],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert running.stdout
    pids = [int(pid) for pid in running.stdout.readline().split()]
    running.send_signal(number)
    running.wait(30)
    running.stdout.close()
    until = time.monotonic() + 20
    while time.monotonic() < until and not all(map(has_ended, pids)):
        time.sleep(0.1)
    assert [pid for pid in pids if not has_ended(pid)] == []


@pytest.fixture
def not_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command has its own process group."""
    monkeypatch.setattr(process, "is_in_foreground", lambda: False)
