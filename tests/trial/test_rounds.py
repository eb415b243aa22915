"""The promises of the rounds: when they go on, when they end, and with which exit code."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from leastpriv.aws.session import Aws
from leastpriv.aws.signals import Stopped, caught_signals
from leastpriv.cli.parser import parser
from leastpriv.errors import LeastprivError
from leastpriv.evidence.denials import job_logs
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import create_policy
from leastpriv.trial.cleanup import ProcessIdentity, TrialTags
from leastpriv.trial.extend import CandidatePolicy
from leastpriv.trial.options import TrialSettings, parse_settings
from leastpriv.trial.policy_rendering import render_documents
from leastpriv.trial.process import Credentials
from leastpriv.trial.records import TrialRecords
from leastpriv.trial.rounds import TrialContext, TrialRun
from tests.fakes import progress
from tests.fakes.deploys import NOW

ROLE = "arn:aws:iam::111122223333:role/deploy"
MARK = TrialTags("leastpriv-0a1b2c3d4e5f", NOW, ProcessIdentity("machine", 1, 1))
COMMAND = """
import json, sys
allowed = {action for each in json.loads(open(sys.argv[1]).read())['Statement'] for action in each['Action']}
for action in sys.argv[3:]:
    if action.lstrip('?') not in allowed:
        print('User: %s is not authorized to perform: %s' % (sys.argv[2], action.lstrip('?')))
        if not action.startswith('?'):
            sys.exit(255)
"""
"""Fails at the first action that the policy in force lacks; one behind `?` it can do without."""


@dataclass
class FileStrategy:
    """A strategy that puts the candidate into a file, which the command obeys."""

    path: Path
    narrows: bool = True
    may_lag: bool = False
    acting_role: str = ROLE
    late: int = 0
    """Rounds by which the file may_lag behind, as IAM does."""
    seen: list[str] = field(default_factory=list)

    def apply(self, documents: Sequence[Document], number: int) -> Credentials:  # noqa: ARG002
        self.seen.append(render_documents(documents)[0])
        self.path.write_text(self.seen[max(0, len(self.seen) - 1 - self.late)])
        return Credentials("key", "secret", "token")

    def clean_up(self) -> list[str]:
        return []


SESSION = f"arn:aws:sts::111122223333:assumed-role/deploy/{MARK.trial}"


@dataclass
class Tried:
    course: TrialRun
    policies: list[str]
    """That were in force, round by round."""
    said: list[str]
    code: int = -1

    def actions(self) -> list[str]:
        return sorted(action for each in self.course.candidate.document.statements for action in each.actions)


Try = Callable[..., Tried]


@pytest.fixture
def tried(tmp_path: Path) -> Try:
    def run(
        *actions: str,
        options: Sequence[str] = (),
        strategy: FileStrategy | None = None,
        script: str = COMMAND,
        sleep: Callable[[float], None] | None = None,
        with_records: bool = False,
    ) -> Tried:
        file = strategy or FileStrategy(tmp_path / "policy")
        argv = (sys.executable, "-c", script, str(file.path), f"{SESSION}-1", *actions)
        settings = _settings("--role-arn", ROLE, "--policy-file", "p.json", *options, "--", *argv)
        said = progress.LINES
        around = TrialContext(
            dict(os.environ), io.StringIO(), io.StringIO(), lambda: datetime.now(UTC), sleep or _no_sleep
        )
        records = TrialRecords((tmp_path,) if with_records else (), False, Aws(None, {}, ""), NOW)
        candidate = CandidatePolicy(parse(create_policy(()), "p.json"))
        found = Tried(TrialRun(settings, around, file, MARK, records, "", candidate), file.seen, said)
        with caught_signals(first_only=True) as signals, signals.recorded():
            found.course.signals = signals
            found.code = found.course.run()
        return found

    return run


def _settings(*arguments: str) -> TrialSettings:
    found = parse_settings(parser().parse_args(["trial", *arguments]))
    assert found is not None
    return found


def _no_sleep(_: float) -> None:
    pass


def test_each_round_adds_what_it_was_refused_until_the_command_succeeds(tried: Try) -> None:
    found = tried("sns:ListTopics", "sqs:ListQueues", "ec2:DescribeVpcs")
    assert (found.code, found.actions()) == (0, ["ec2:DescribeVpcs", "sns:ListTopics", "sqs:ListQueues"])
    assert [line.partition(" (")[0] for line in found.said[:4]] == ["Round 1", "Round 2", "Round 3", "Round 4"]
    assert "Clean" in found.said[-1]


def test_rounds_that_are_spent_keep_what_they_found(tried: Try) -> None:
    found = tried("sns:ListTopics", "sqs:ListQueues", "ec2:DescribeVpcs", options=["--max-rounds", "2"])
    assert (found.code, found.actions()) == (1, ["sns:ListTopics", "sqs:ListQueues"])
    assert found.said[-1] == "The 2 rounds of --max-rounds are spent, and in each the command was refused something."


def test_one_round_is_told_as_one(tried: Try) -> None:
    found = tried("sns:ListTopics", "sqs:ListQueues", options=["--max-rounds", "1"])
    assert found.said[-1] == "The 1 round of --max-rounds is spent, and the command was refused something."


def test_what_a_command_can_do_without_is_offered_and_not_added(tried: Try) -> None:
    found = tried("sns:ListTopics", "?sqs:ListQueues")
    assert (found.code, found.actions()) == (0, ["sns:ListTopics"])
    assert "  offered: sqs:ListQueues on *" in found.said


def test_a_round_without_a_new_mendable_refusal_is_the_last(tried: Try) -> None:
    found = tried("sns:ListTopics", "sqs:ListQueues", options=["--never-add", "sqs:*"])
    assert (found.code, found.actions(), len(found.policies)) == (1, ["sns:ListTopics"], 2)
    assert found.said[-1].startswith("No progress in round 2")
    assert any(line.startswith("  not mended: sqs:ListQueues") for line in found.said)


def test_a_change_that_iam_has_not_heeded_yet_gets_one_more_round(tried: Try, tmp_path: Path) -> None:
    late = FileStrategy(tmp_path / "late", may_lag=True, late=1)
    found = tried("sns:ListTopics", strategy=late)
    assert (found.code, len(late.seen)) == (0, 3)
    never = FileStrategy(tmp_path / "never", may_lag=True, late=99)
    found = tried("sns:ListTopics", strategy=never)
    assert (found.code, len(never.seen), found.actions()) == (1, 3, ["sns:ListTopics"])


def test_a_command_that_fails_for_another_reason_ends_the_trial(tried: Try) -> None:
    found = tried(script="raise SystemExit(9)")
    assert (found.code, found.actions()) == (1, [])
    assert "exit code 9, and no refusal of it was seen" in found.said[-1]


def test_the_candidate_in_force_is_the_file_as_it_stands(tried: Try) -> None:
    found = tried("sns:ListTopics")
    last = json.loads(found.policies[-1])
    assert last["Statement"][0]["Action"] == ["sns:ListTopics"]


def test_output_that_could_not_be_read_ends_the_trial_with_what_was_found(
    tried: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect in reading must not pass for "nothing was refused"."""
    monkeypatch.setattr("leastpriv.trial.process.read_log", _breaks_at_a_mark)
    script = COMMAND.replace("sys.exit", "print('MARK') or sys.exit")
    with pytest.raises(LeastprivError, match=r"stdout was not read to its end.*RecursionError"):
        tried("sns:ListTopics", script=script)


def _breaks_at_a_mark(stream: job_logs.ByteStream, name: str) -> Iterator[job_logs.LoggedDenial]:
    for one in job_logs.read_log(stream, name):
        yield one
        raise RecursionError


def test_a_signal_ends_the_waiting_for_records_and_the_round_is_told_all_the_same(tried: Try) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    script = "import sys; print('User: %s is not authorized to perform: nothing' % sys.argv[2]); sys.exit(1)"
    found = tried(script=script, sleep=sleep, with_records=True, options=["--wait-for-records", "600"])
    assert (found.code, len(waits)) == (130, 1)
    assert found.said[0].startswith("Round 1")


def test_a_signal_between_rounds_is_not_forgotten_and_what_was_found_stays(tried: Try, tmp_path: Path) -> None:
    """It comes right after the round's command has ended by itself."""

    class Interrupted(FileStrategy):
        def apply(self, documents: Sequence[Document], number: int) -> Credentials:
            if number == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().apply(documents, number)

    file = Interrupted(tmp_path / "policy")
    with pytest.raises(Stopped):
        tried("sns:ListTopics", "sqs:ListQueues", strategy=file)
    assert len(file.seen) == 1
