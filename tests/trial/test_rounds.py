"""Rounds continue, end and set the exit code as specified."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from leastpriv.aws.session import Aws
from leastpriv.cli.command_line import parser
from leastpriv.denials import job_logs
from leastpriv.errors import LeastprivError, Stopped, caught_signals
from leastpriv.models import ChangeKind
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import create_policy
from leastpriv.proposal.models import Change
from leastpriv.trial.cleanup import TrialTags
from leastpriv.trial.extend import CandidatePolicy
from leastpriv.trial.main import parse_settings
from leastpriv.trial.messages import repeated_line
from leastpriv.trial.process import Credentials
from leastpriv.trial.rounds import TrialContext, TrialRecords, TrialRun, TrialSettings
from leastpriv.trial.strategies import render_documents
from tests.fakes import progress
from tests.fakes.aws.authorization_details import AuthorizationAccounts, Denied, check, evaluation
from tests.fakes.aws.server import FakeAws
from tests.fakes.deploys import NOW

ROLE = "arn:aws:iam::111122223333:role/deploy"
TAGS = TrialTags("leastpriv-0a1b2c3d4e5f", NOW)
COMMAND = """
import json, sys
allowed = {action for each in json.loads(open(sys.argv[1]).read())['Statement'] for action in each['Action']}
for action in sys.argv[3:]:
    if action.lstrip('?') not in allowed:
        print('User: %s is not authorized to perform: %s' % (sys.argv[2], action.lstrip('?')))
        if not action.startswith('?'):
            sys.exit(255)
"""
"""Fails at the first action that the policy in force lacks; an action after `?` is optional."""


@dataclass
class FileStrategy:
    """A strategy that writes the candidate to a file, which the command reads as its
    permissions.
    """

    path: Path
    narrows: bool = True
    may_lag: bool = False
    acting_role: str = ROLE
    own_session: str = ""
    late: int = 0
    """Rounds by which the file lags behind, as IAM does."""
    policies: list[str] = field(default_factory=list)

    def apply(self, documents: Sequence[Document], number: int) -> Credentials:  # noqa: ARG002
        self.policies.append(render_documents(documents)[0])
        self.path.write_text(self.policies[max(0, len(self.policies) - 1 - self.late)])
        return Credentials("key", "secret", "token")

    def clean_up(self) -> list[str]:
        return []


SESSION = f"arn:aws:sts::111122223333:assumed-role/deploy/{TAGS.trial}"


@dataclass
class FinishedTrial:
    run: TrialRun
    policies: list[str]
    """Policies in force, round by round."""
    lines: list[str]
    code: int = -1

    def actions(self) -> list[str]:
        return sorted(
            action
            for statement in self.run.candidate.document.statements
            for action in statement.actions
        )


RunTrial = Callable[..., FinishedTrial]


@pytest.fixture
def run_trial(tmp_path: Path) -> RunTrial:
    def run(
        *actions: str,
        options: Sequence[str] = (),
        strategy: FileStrategy | None = None,
        script: str = COMMAND,
        sleep: Callable[[float], None] | None = None,
        with_records: bool = False,
        aws: Aws | None = None,
        save: Callable[[Document], object] | None = None,
    ) -> FinishedTrial:
        file = strategy or FileStrategy(tmp_path / "policy")
        argv = (sys.executable, "-c", script, str(file.path), f"{SESSION}-1", *actions)
        settings = _settings("--role-arn", ROLE, "--policy-file", "p.json", *options, "--", *argv)
        lines = progress.LINES
        context = TrialContext(
            dict(os.environ),
            io.StringIO(),
            io.StringIO(),
            lambda: datetime.now(UTC),
            sleep or _no_sleep,
        )
        records = TrialRecords(
            (tmp_path,) if with_records else (), False, aws or Aws(None, {}, ""), NOW
        )
        candidate = CandidatePolicy(parse(create_policy(()), "p.json"))
        finished = FinishedTrial(
            TrialRun(settings, context, file, TAGS, records, candidate), file.policies, lines
        )
        finished.run.save = save or finished.run.save
        with caught_signals(first_only=True) as signals, signals.recorded():
            finished.run.signals = signals
            finished.code = finished.run.run()
        return finished

    return run


def _settings(*arguments: str) -> TrialSettings:
    settings = parse_settings(parser().parse_args(["trial", *arguments]))
    assert settings is not None
    return settings


def _no_sleep(_: float) -> None:
    pass


def test_each_round_adds_what_was_denied_until_the_command_succeeds(run_trial: RunTrial) -> None:
    finished = run_trial("sns:ListTopics", "sqs:ListQueues", "ec2:DescribeVpcs")
    assert (finished.code, finished.actions()) == (
        0,
        ["ec2:DescribeVpcs", "sns:ListTopics", "sqs:ListQueues"],
    )
    assert [line.partition(" (")[0] for line in finished.lines[:4]] == [
        "Round 1",
        "Round 2",
        "Round 3",
        "Round 4",
    ]
    assert "Clean" in finished.lines[-1]


ALL_AT_ONCE = """
import json, sys
allowed = {action for each in json.loads(open(sys.argv[1]).read())['Statement'] for action in each['Action']}
missing = [action for action in sys.argv[3:] if action not in allowed]
if missing:
    print('User: %s is not authorized to perform: %s because no session policy allows the %s action.'
          ' Go to https://x/iam/home?region=us-east-1#/authorization-details/%s for complete details'
          % (sys.argv[2], missing[0], missing[0], 'z7' * 8))
    sys.exit(255)
"""
"""One call that needs several actions, of which AWS's message names the first that lacks."""


@pytest.mark.parametrize(("session", "rounds"), [(TAGS.trial, 2), ("GitHubActions", 4)])
def test_with_aws_s_details_one_round_adds_all_that_a_call_lacks(
    run_trial: RunTrial, session: str, rounds: int
) -> None:
    actions = ("iam:ListRoles", "iam:ListUsers", "iam:ListGroups")
    lacks = check("SESSION", "IMPLICIT_DENY", types=["SESSION_POLICY"])
    accounts = AuthorizationAccounts(lambda: datetime.now(UTC), takes=timedelta())
    context = {"aws:PrincipalArn": ROLE, "aws:userid": f"AROAEXAMPLE:{session}-1"}
    evaluations = [evaluation(action, "*", "IMPLICIT_DENY", lacks) for action in actions]
    accounts.requests["z7" * 8] = Denied(datetime.now(UTC), context, evaluations)
    with FakeAws(accounts.operations()) as aws:
        finished = run_trial(*actions, script=ALL_AT_ONCE, aws=Aws.open(aws.environment()))
    assert (finished.code, finished.actions(), len(finished.policies)) == (
        0,
        sorted(actions),
        rounds,
    )


def test_after_the_last_round_all_additions_are_kept(run_trial: RunTrial) -> None:
    finished = run_trial(
        "sns:ListTopics", "sqs:ListQueues", "ec2:DescribeVpcs", options=["--max-rounds", "2"]
    )
    assert (finished.code, finished.actions()) == (1, ["sns:ListTopics", "sqs:ListQueues"])
    assert (
        finished.lines[-1]
        == "The 2 rounds of --max-rounds are used, and in each a call of the command was denied."
    )


def test_the_policy_is_saved_after_each_round_that_extended_it(run_trial: RunTrial) -> None:
    saved: list[Document] = []
    finished = run_trial("sns:ListTopics", "ec2:DescribeVpcs", save=saved.append)
    documents = [json.loads(document.to_bytes()) for document in saved]
    assert [len(policy["Statement"][0]["Action"]) for policy in documents] == [1, 2]
    assert saved[-1] == finished.run.candidate.document


def test_a_command_over_the_time_limit_ends_the_trial_with_its_denials_added(
    run_trial: RunTrial,
) -> None:
    saved: list[Document] = []
    script = COMMAND.replace("sys.exit(255)", "sys.stdout.flush(); import time; time.sleep(60)")
    with pytest.raises(LeastprivError, match="--time-limit"):
        run_trial("sns:ListTopics", script=script, options=["--time-limit", "2"], save=saved.append)
    assert [json.loads(document.to_bytes())["Statement"][0]["Action"] for document in saved] == [
        ["sns:ListTopics"]
    ]


def test_what_a_person_may_say_yes_to_is_named_with_the_option(run_trial: RunTrial) -> None:
    finished = run_trial("sns:ListTopics", "iam:PutUserPolicy")
    assert (finished.code, finished.actions()) == (1, ["sns:ListTopics"])
    assert any("--yes-to iam:PutUserPolicy" in line for line in finished.lines)


def test_a_single_round_has_the_singular_message(run_trial: RunTrial) -> None:
    finished = run_trial("sns:ListTopics", "sqs:ListQueues", options=["--max-rounds", "1"])
    assert (
        finished.lines[-1]
        == "The 1 round of --max-rounds is used, and a call of the command was denied."
    )


def test_denials_of_a_successful_command_are_offered_and_not_added(run_trial: RunTrial) -> None:
    finished = run_trial("sns:ListTopics", "?sqs:ListQueues")
    assert (finished.code, finished.actions()) == (0, ["sns:ListTopics"])
    assert "  offered: sqs:ListQueues on *" in finished.lines


def test_a_round_without_a_resolvable_denial_is_the_last(run_trial: RunTrial) -> None:
    finished = run_trial("sns:ListTopics", "sqs:ListQueues", options=["--never-add", "sqs:*"])
    assert (finished.code, finished.actions(), len(finished.policies)) == (1, ["sns:ListTopics"], 2)
    assert finished.lines[-1].startswith("No progress in round 2")
    assert any(line.startswith("  not fixed: sqs:ListQueues") for line in finished.lines)


def test_a_change_that_iam_has_not_applied_yet_gets_one_more_round(
    run_trial: RunTrial, tmp_path: Path
) -> None:
    late = FileStrategy(tmp_path / "late", may_lag=True, late=1)
    finished = run_trial("sns:ListTopics", strategy=late)
    assert (finished.code, len(late.policies)) == (0, 3)
    never = FileStrategy(tmp_path / "never", may_lag=True, late=99)
    finished = run_trial("sns:ListTopics", strategy=never)
    assert (finished.code, len(never.policies), finished.actions()) == (1, 3, ["sns:ListTopics"])


def test_a_command_that_fails_for_another_reason_ends_the_trial(run_trial: RunTrial) -> None:
    finished = run_trial(script="raise SystemExit(9)")
    assert (finished.code, finished.actions()) == (1, [])
    assert "exit code 9, and no denial was found" in finished.lines[-1]


def test_the_candidate_in_force_is_the_current_file(run_trial: RunTrial) -> None:
    finished = run_trial("sns:ListTopics")
    last = json.loads(finished.policies[-1])
    assert last["Statement"][0]["Action"] == ["sns:ListTopics"]


def test_unreadable_output_ends_the_trial_with_the_additions_so_far(
    run_trial: RunTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect in reading must not count as "nothing was refused"."""
    monkeypatch.setattr("leastpriv.trial.process.read_log", _breaks_at_a_mark)
    script = COMMAND.replace("sys.exit", "print('MARK') or sys.exit")
    with pytest.raises(
        LeastprivError, match=r"stdout was not fully searched for denials.*RecursionError"
    ):
        run_trial("sns:ListTopics", script=script)


def _breaks_at_a_mark(stream: job_logs.ByteStream, name: str) -> Iterator[job_logs.LoggedDenial]:
    for logged_denial in job_logs.read_log(stream, name):
        yield logged_denial
        raise RecursionError


def test_a_signal_ends_the_waiting_for_records_and_the_round_is_still_reported(
    run_trial: RunTrial,
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    script = (
        "import sys; print('User: %s is not authorized to perform: nothing' % sys.argv[2]);"
        " sys.exit(1)"
    )
    finished = run_trial(
        script=script, sleep=sleep, with_records=True, options=["--wait-for-records", "600"]
    )
    assert (finished.code, len(waits)) == (130, 1)
    assert finished.lines[0].startswith("Round 1")


def test_a_signal_between_rounds_ends_the_trial_with_the_additions_so_far(
    run_trial: RunTrial, tmp_path: Path
) -> None:
    """It arrives just after the round's command has ended."""

    class Interrupted(FileStrategy):
        def apply(self, documents: Sequence[Document], number: int) -> Credentials:
            if number == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().apply(documents, number)

    file = Interrupted(tmp_path / "policy")
    with pytest.raises(Stopped):
        run_trial("sns:ListTopics", "sqs:ListQueues", strategy=file)
    assert len(file.policies) == 1


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (("arn:aws:sqs:us-east-1:111122223333:jobs",), "If each round creates one"),
        (("arn:aws:sqs:us-east-1:111122223333:jobs-*",), "as each round creates one"),
    ],
)
def test_a_second_denial_is_of_a_new_name_for_sure_only_where_a_pattern_was_learned(
    resources: tuple[str, ...], words: str
) -> None:
    change = Change(kind=ChangeKind.ADD, action="sqs:PurgeQueue", resources=resources)
    assert words in repeated_line("sqs:PurgeQueue", "queue", [change])
