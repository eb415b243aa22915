"""`leastpriv trial` in the lab runs a command under an enforced policy and leaves the account
unchanged.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.lab.lab import PYTHON, Lab
from tests.trial.test_process import has_ended

PARAMETER = "arn:aws:ssm:us-east-1:111122223333:parameter/orders/image"
PUT = "aws ssm put-parameter --name /orders/image --value 1 --type String --overwrite"
GET = "aws ssm get-parameter --name /orders/image"
YES_TO_GET = ("--yes-to", "ssm:GetParameter")
"""A parameter may hold a secret, so the output of a command does not add its read."""
BROAD = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["ssm:*", "s3:*"], "Resource": "*"}],
}
PATH = "/leastpriv-trial/"


@dataclass(frozen=True, slots=True)
class TrialResult:
    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Bench:
    """A role, a policy file and the function that tries it."""

    lab: Lab
    folder: Path
    role: str

    @property
    def file(self) -> Path:
        return self.folder / "policy.json"

    def write(self, *grants: tuple[str, str], **more: object) -> None:
        statements = [
            {"Effect": "Allow", "Action": action, "Resource": resource}
            for action, resource in grants
        ]
        self.file.write_text(
            json.dumps({"Version": "2012-10-17", "Statement": statements, **more}, indent=2) + "\n"
        )

    def start(
        self, script: str, *options: str, keys: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """A trial of a script in a separate process."""
        named = () if "--role-arn" in options else ("--role-arn", self.role)
        named += () if "--policy-file" in options else ("--policy-file", str(self.file))
        return self._process([*named, *options, "--settle", "0", "--", "sh", "-ec", script], keys)

    def clean_up(self) -> TrialResult:
        process = self._process(["--clean-up"], None)
        out, err = process.communicate(timeout=120)
        return TrialResult(process.returncode, out, err)

    def _process(
        self, arguments: Sequence[str], keys: Mapping[str, str] | None
    ) -> subprocess.Popen[str]:
        """The installed command in a separate session: it has no terminal."""
        own = "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())"
        command = [sys.executable, "-c", own, "trial", *arguments]
        path = os.pathsep.join([str(PYTHON.parent), os.environ["PATH"]])
        return subprocess.Popen(
            command,
            env={**(keys or self.lab.root), "PATH": path, "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def trial(
        self, script: str, *options: str, keys: Mapping[str, str] | None = None
    ) -> TrialResult:
        process = self.start(script, *options, keys=keys)
        out, err = process.communicate(timeout=120)
        return TrialResult(process.returncode, out, err)

    def granted(self) -> dict[str, list[str]]:
        """Action -> resources of the file."""
        found: dict[str, list[str]] = {}
        for statement in json.loads(self.file.read_text())["Statement"]:
            for action in _listed(statement["Action"]):
                found.setdefault(action, []).extend(_listed(statement["Resource"]))
        return found

    def temporary(self) -> list[str]:
        """ARNs of resources that trials created and did not remove."""
        iam = self.lab.client("iam")
        roles = [role["Arn"] for role in iam.list_roles(PathPrefix=PATH)["Roles"]]
        return roles + [
            found["Arn"] for found in iam.list_policies(Scope="Local", PathPrefix=PATH)["Policies"]
        ]


def _listed(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


@pytest.fixture(scope="module")
def role(lab: Lab) -> str:
    return lab.role("deploy", BROAD, path="/ci/")


@pytest.fixture
def bench(lab: Lab, role: str, tmp_path: Path) -> Bench:
    made = Bench(lab, tmp_path, role)
    made.write(("s3:GetObject", "*"))
    return made


def account(lab: Lab) -> Any:
    """All roles, users and policies of the account."""
    found = lab.client("iam").get_account_authorization_details(
        Filter=["User", "Role", "LocalManagedPolicy"]
    )
    return {key: found[key] for key in ("UserDetailList", "RoleDetailList", "Policies")}


def wait_for(bench: Bench, what: Path) -> None:
    until = time.monotonic() + 60
    while not what.exists():
        assert time.monotonic() < until, f"{what.name} never came"
        time.sleep(0.05)


def test_a_session_of_the_role_gets_what_the_command_needs_and_nothing_more(bench: Bench) -> None:
    before = account(bench.lab)
    script = f"aws sts get-caller-identity --query Arn --output text; {PUT}; {GET}"
    told = bench.trial(script, *YES_TO_GET)
    assert (told.code, bench.granted()) == (
        0,
        {"s3:GetObject": ["*"], "ssm:PutParameter": [PARAMETER], "ssm:GetParameter": [PARAMETER]},
    ), told.err
    rounds = [line.split(" (")[0] for line in told.err.splitlines() if line.startswith("Round")]
    # The denial of the write brings the read that a person said yes to.
    assert rounds == ["Round 1", "Round 2"]
    assert {line.split("/")[1] for line in told.out.splitlines() if line.startswith("arn:")} == {
        "deploy"
    }
    assert account(bench.lab) == before


def test_a_user_is_tried_by_a_temporary_role_that_is_deleted_afterwards(bench: Bench) -> None:
    user, key, secret = bench.lab.user("robot", _iam_of_a_trial())
    before = account(bench.lab)
    told = bench.trial(PUT, "--role-arn", user, keys=bench.lab.environment(key, secret))
    assert (told.code, bench.granted().get("ssm:PutParameter")) == (0, [PARAMETER]), told.err
    assert "assumed-role/leastpriv-" in told.err
    assert account(bench.lab) == before


def _iam_of_a_trial() -> dict[str, object]:
    """The policy of docs/trial-role.json, which the strategy trial-role needs; the lab checks ARNs
    without their path.
    """
    text = (Path(__file__).parents[2] / "docs" / "trial-role.json").read_text(encoding="utf-8")
    found: dict[str, object] = json.loads(
        text.replace("role/leastpriv-trial/*", "role/*leastpriv-*")
    )
    return found


def test_a_large_policy_is_tried_by_temporary_policies_that_are_deleted_afterwards(
    bench: Bench,
) -> None:
    bench.write(
        *((f"sqs:{name}", f"arn:aws:sqs:us-east-1:111122223333:{name}-*") for name in _MANY)
    )
    assert len(bench.file.read_text()) > 2_048
    before = account(bench.lab)
    watched = (
        f"aws iam list-policies --scope Local --path-prefix {PATH} --query 'length(Policies)'"
        " --output text"
    )
    keys = " ".join(f"{name}='{value}'" for name, value in bench.lab.root.items())
    told = bench.trial(f"env -u AWS_SESSION_TOKEN {keys} {watched}; {PUT}")
    assert (told.code, bench.granted()["ssm:PutParameter"]) == (0, [PARAMETER]), told.err
    assert [line for line in told.out.splitlines() if line.isdigit()] == ["1", "1"]
    assert account(bench.lab) == before


_MANY = (
    "SendMessage", "ReceiveMessage", "DeleteMessage", "CreateQueue", "DeleteQueue", "GetQueueUrl",
    "ListQueueTags",
    "PurgeQueue", "TagQueue", "UntagQueue", "SetQueueAttributes", "GetQueueAttributes",
    "AddPermission",
    "RemovePermission", "ChangeMessageVisibility", "ListDeadLetterSourceQueues",
    "StartMessageMoveTask",
    "CancelMessageMoveTask", "ListMessageMoveTasks",
)  # fmt: skip


def test_permissions_that_the_role_itself_lacks_are_reported_separately(bench: Bench) -> None:
    bench.write(("sqs:ListQueues", "*"))
    told = bench.trial("aws sns list-topics")
    assert told.code == 1
    assert "the role itself lacks it" in told.err
    assert bench.granted() == {"sqs:ListQueues": ["*"], "sns:ListTopics": ["*"]}


def test_an_explicit_deny_of_the_policy_is_not_resolved(bench: Bench) -> None:
    deny = {"Effect": "Deny", "Action": "ssm:PutParameter", "Resource": "*"}
    bench.write(Statement=[{"Effect": "Allow", "Action": "ssm:*", "Resource": "*"}, deny])
    before = bench.file.read_bytes()
    told = bench.trial(PUT)
    assert (told.code, bench.file.read_bytes()) == (1, before)
    assert "No progress in round 1" in told.err
    assert "explicit" in told.err.split("not fixed:")[1]


def test_ctrl_c_ends_the_command_cleans_up_and_writes_the_file(bench: Bench) -> None:
    ready, ended = bench.folder / "ready", bench.folder / "ended"
    script = f"{PUT}; trap 'touch {ended}; exit 7' INT; touch {ready}; sleep 60 & wait"
    process = bench.start(script, "--strategy", "trial-role")
    wait_for(bench, ready)
    assert bench.temporary()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=50)
    assert (process.returncode, ended.exists(), bench.temporary()) == (130, True, []), err
    assert bench.granted()["ssm:PutParameter"] == [PARAMETER]


def test_resources_of_a_killed_trial_are_reported_by_the_next_and_removed_only_on_request(
    bench: Bench,
) -> None:
    ready = bench.folder / "ready"
    process = bench.start(f"touch {ready}; sleep 3", "--strategy", "trial-role")
    wait_for(bench, ready)
    process.kill()
    process.communicate(timeout=50)
    (left,) = bench.temporary()
    expired = [{"Key": "leastpriv:until", "Value": "2020-01-01T00:00:00+00:00"}]
    bench.lab.client("iam").tag_role(RoleName=left.rpartition("/")[2], Tags=expired)
    told = bench.trial("true")
    assert f"role {left}: left by a trial that ended." in told.err
    assert "--clean-up" in told.err
    assert bench.temporary() == [left]
    cleaned = bench.clean_up()
    assert (cleaned.code, bench.temporary()) == (0, []), cleaned.err


def test_resources_of_a_running_trial_are_not_removed(bench: Bench) -> None:
    ready, done = bench.folder / "ready", bench.folder / "done"
    process = bench.start(
        f"touch {ready}; while [ ! -e {done} ]; do sleep 0.1; done", "--strategy", "trial-role"
    )
    wait_for(bench, ready)
    cleaned = bench.clean_up()
    assert "of a trial that may still run" in cleaned.err
    assert len(bench.temporary()) == 1
    done.touch()
    _, err = process.communicate(timeout=50)
    assert (process.returncode, bench.temporary()) == (0, []), err


@pytest.mark.slow
def test_a_caller_who_may_not_assume_the_role_gets_the_remedy(bench: Bench) -> None:
    _, key, secret = bench.lab.user("nobody", None)
    told = bench.trial("true", keys=bench.lab.environment(key, secret))
    assert told.code == 1
    assert "may not assume" in told.err
    assert "--strategy trial-role" in told.err
    assert "iam:ListRoles" in told.err


@pytest.mark.slow
def test_a_session_of_the_role_itself_gets_the_remedy(bench: Bench) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{bench.lab.account}:user/x"},
    }
    trust = {"Version": "2012-10-17", "Statement": [{**statement, "Action": "sts:AssumeRole"}]}
    role = bench.lab.role("closed", BROAD)
    session = bench.lab.assume(role, "run-1")
    bench.lab.client("iam").update_assume_role_policy(
        RoleName="closed", PolicyDocument=json.dumps(trust)
    )
    told = bench.trial("true", "--role-arn", role, keys=session)
    assert told.code == 1
    assert "these credentials are a session of that role already" in told.err


@pytest.mark.slow
def test_a_role_that_the_command_passes_is_added_exactly_and_marked(bench: Bench) -> None:
    execution = bench.lab.role("app", None)
    with zipfile.ZipFile(bench.folder / "app.zip", "w") as archive:
        archive.writestr("app.py", "")
    broad = {"Effect": "Allow", "Action": ["lambda:*", "iam:PassRole"], "Resource": "*"}
    role = bench.lab.role("deploys-functions", {"Version": "2012-10-17", "Statement": [broad]})
    bench.write(("lambda:*", "*"))
    script = (
        "aws lambda create-function --function-name orders --runtime python3.12 --handler app.h"
        f" --role {execution}"
    )
    command = f"{script} --zip-file fileb://{bench.folder}/app.zip"
    unsaid = bench.trial(command, "--role-arn", role)
    assert (unsaid.code, "iam:PassRole" in bench.granted()) == (1, False), unsaid.err
    assert "--yes-to iam:PassRole" in unsaid.err
    told = bench.trial(command, "--role-arn", role, "--yes-to", "iam:PassRole")
    assert (told.code, bench.granted().get("iam:PassRole")) == (0, [execution]), told.err
    (line,) = (line for line in told.err.splitlines() if line.startswith("  + iam:PassRole"))
    assert "(sensitive: " in line


ADMIN = (
    "echo User: $(aws sts get-caller-identity --query Arn --output text) is not authorized to"
    " perform: iam:PutUserPolicy on resource: arn:aws:iam::111122223333:user/ops because no"
    " identity-based policy allows the iam:PutUserPolicy action; aws iam put-user-policy --user-name"
    " ops --policy-name all --policy-document '{}'; exit 9"
)
"""A command that says of its own session that it was denied a policy of a user."""


@pytest.mark.parametrize("strategy", ["session-policy", "trial-role"])
def test_a_command_cannot_talk_itself_into_power(bench: Bench, strategy: str) -> None:
    told = bench.trial(ADMIN, "--strategy", strategy)
    assert (told.code, bench.granted()) == (1, {"s3:GetObject": ["*"]}), told.err
    assert "not fixed: iam:PutUserPolicy" in told.err
    assert "--yes-to iam:PutUserPolicy" in told.err


def test_nothing_outside_of_the_bound_is_added(bench: Bench) -> None:
    bound = bench.folder / "bound.json"
    grant = {"Effect": "Allow", "Action": "ssm:PutParameter", "Resource": PARAMETER}
    bound.write_text(json.dumps({"Version": "2012-10-17", "Statement": [grant]}))
    told = bench.trial(f"{PUT}; {GET}", "--within", str(bound), *YES_TO_GET)
    assert told.code == 1
    assert bench.granted() == {"s3:GetObject": ["*"], "ssm:PutParameter": [PARAMETER]}
    assert "not fixed: ssm:GetParameter" in told.err
    assert "--within does not allow it" in told.err


def test_a_killed_trial_has_saved_its_rounds_and_ends_the_command(bench: Bench) -> None:
    written, ready = bench.folder / "written", bench.folder / "ready"
    process = bench.start(f"{PUT}; echo $$ > {written}; mv {written} {ready}; sleep 600")
    wait_for(bench, ready)
    shell = int(ready.read_text())
    assert bench.granted()["ssm:PutParameter"] == [PARAMETER]
    assert not has_ended(shell)
    process.kill()
    process.communicate(timeout=50)
    until = time.monotonic() + 60
    while not has_ended(shell) and time.monotonic() < until:
        time.sleep(0.05)
    assert has_ended(shell)


def test_the_command_gets_no_secret_of_the_caller(bench: Bench) -> None:
    keys = {**bench.lab.root, "NPM_TOKEN": "t0", "TF_VAR_password": "p0"}
    told = bench.trial("env", "--pass-env", "NPM_TOKEN", keys=keys)
    assert told.code == 0, told.err
    assert "NPM_TOKEN=t0" in told.out
    assert "p0" not in told.out
    (line,) = (line for line in told.err.splitlines() if "--pass-env NAME passes one on" in line)
    assert "TF_VAR_password" in line
    assert "NPM_TOKEN" not in line


@pytest.mark.slow
def test_records_name_denials_that_the_output_does_not(bench: Bench) -> None:
    """A denied HEAD request has no body: the command line prints `Forbidden`, CloudTrail the
    object.
    """
    s3 = bench.lab.client("s3")
    s3.create_bucket(Bucket="assets-trial")
    s3.put_object(Bucket="assets-trial", Key="app.zip", Body=b"1")
    bench.write(("sqs:ListQueues", "*"))
    script = f"aws s3 cp s3://assets-trial/app.zip {bench.folder}/app.zip"
    blind = bench.trial(script)
    assert (blind.code, bench.granted()) == (1, {"sqs:ListQueues": ["*"]})
    assert "try again with --trails" in blind.err
    told = _with_records(bench, script)
    assert (told.code, bench.granted()["s3:GetObject"]) == (
        0,
        ["arn:aws:s3:::assets-trial/app.zip"],
    ), told.err


def _with_records(bench: Bench, script: str) -> TrialResult:
    """A trial during which records are delivered, as CloudTrail does."""
    process = bench.start(script, "--trails", str(bench.lab.records), "--wait-for-records", "20")
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        bench.lab.flush()
        time.sleep(0.3)
    out, err = process.communicate(timeout=50)
    return TrialResult(process.returncode, out, err)


@pytest.mark.slow
def test_event_history_names_the_denials_of_a_silent_command(bench: Bench) -> None:
    told = bench.trial(
        f"{PUT} > /dev/null 2>&1", "--trails", "event-history", "--wait-for-records", "20"
    )
    assert (told.code, bench.granted().get("ssm:PutParameter")) == (0, [PARAMETER]), told.err
    assert "Not seen in records: event history holds management events only" in told.err


def on_a_terminal(bench: Bench, script: str, *more: str) -> tuple[int, int]:
    """Starts a trial of a script in the foreground of a terminal; its process and the terminal."""
    own = "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())"
    options = ["trial", "--role-arn", bench.role, "--policy-file", str(bench.file), *more]
    options += ["--settle", "0", "--", "sh", "-c", script]
    path = os.pathsep.join([str(PYTHON.parent), os.environ["PATH"]])
    environment = {**bench.lab.root, "PATH": path, "HOME": str(bench.folder)}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-c", own, *options], environment)  # noqa: S606
    return pid, terminal


@pytest.mark.slow
def test_ctrl_c_on_a_terminal_reaches_the_command_once(bench: Bench) -> None:
    """The terminal signals the whole group: many tools take a second signal for "at once"."""
    ready, count = bench.folder / "ready", bench.folder / "count"
    script = (
        f"trap 'echo x >> {count}; sleep 0.5; exit 7' INT; touch {ready}; while :; do sleep 0.1;"
        " done"
    )
    pid, terminal = on_a_terminal(bench, script)
    wait_for(bench, ready)
    os.write(terminal, b"\x03")
    status = os.waitpid(pid, 0)[1]
    os.close(terminal)
    assert (os.waitstatus_to_exitcode(status), count.read_text()) == (130, "x\n")


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.02, 0.5])
def test_a_second_ctrl_c_on_a_terminal_ends_a_command_that_ignores_the_first(
    bench: Bench, pause: float
) -> None:
    """However quick it is, the denials of the round are written, and its resources are removed."""
    ready = bench.folder / "ready"
    script = f"trap '' INT; {PUT}; touch {ready}; sleep 60"
    pid, terminal = on_a_terminal(bench, script, "--strategy", "trial-role")
    wait_for(bench, ready)
    began = time.monotonic()
    for number in range(4):
        os.write(terminal, b"\x03")
        time.sleep(pause if number == 0 else 0.3)
    status = os.waitpid(pid, 0)[1]
    os.close(terminal)
    # To a shell both are 130: the last may come after all work, when the interpreter ends.
    assert os.waitstatus_to_exitcode(status) in (130, -signal.SIGINT)
    assert bench.temporary() == []
    assert time.monotonic() - began < 50
    assert bench.granted()["ssm:PutParameter"] == [PARAMETER]


@pytest.mark.slow
def test_a_closed_terminal_loses_no_addition(bench: Bench) -> None:
    """Without a reader of the output, the file is still written and the account cleaned up."""
    ready = bench.folder / "ready"
    script = f"trap '' HUP; {PUT}; touch {ready}; sleep 60"
    pid, terminal = on_a_terminal(bench, script, "--strategy", "trial-role")
    wait_for(bench, ready)
    os.close(terminal)
    os.waitpid(pid, 0)
    assert bench.temporary() == []
    assert bench.granted()["ssm:PutParameter"] == [PARAMETER]


@pytest.mark.slow
def test_a_policy_that_could_not_be_deleted_ends_no_later_round(bench: Bench) -> None:
    """The strategy trial-role with managed policies, and a caller who may not delete them."""
    bench.write(
        *(
            (f"sqs:{name}", f"arn:aws:sqs:us-east-1:111122223333:{name}-{'x' * 500}")
            for name in _MANY
        )
    )
    assert len(json.dumps(json.loads(bench.file.read_text()), separators=(",", ":"))) > 10_240
    broad = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    deny = {"Effect": "Deny", "Action": "iam:DeletePolicy", "Resource": "*"}
    _, key, secret = bench.lab.user(
        "cannot-delete", {"Version": "2012-10-17", "Statement": [broad, deny]}
    )
    options = ("--strategy", "trial-role", *YES_TO_GET)
    told = bench.trial(f"{PUT}; {GET}", *options, keys=bench.lab.environment(key, secret))
    left = bench.temporary()
    assert told.code == 1
    assert "Clean: the command succeeded" in told.err
    assert left
    assert all(f"{arn} is still there" in told.err for arn in left)
    assert not [arn for arn in left if ":role/" in arn]
    for arn in left:
        bench.lab.client("iam").delete_policy(PolicyArn=arn)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["session-policy", "trial-role"])
def test_a_missing_role_is_named_in_the_error(bench: Bench, strategy: str) -> None:
    missing = "arn:aws:iam::111122223333:role/ci/no-such-role"
    told = bench.trial("true", "--role-arn", missing, "--strategy", strategy)
    assert (told.code, f"There is no role {missing}" in told.err) == (2, True), told.err


@pytest.mark.slow
def test_additions_are_reported_if_the_file_cannot_be_written(bench: Bench) -> None:
    there = bench.folder / "there"
    there.mkdir()
    file = there / "policy.json"
    file.write_text(bench.file.read_text())
    told = bench.trial(f"rm -r {there}; touch {there}; {PUT}", "--policy-file", str(file))
    assert told.code == 1
    assert f"  + ssm:PutParameter on {PARAMETER}" in told.err
    assert "cannot be written" in told.err.splitlines()[-1]


@pytest.mark.slow
def test_a_terminated_trial_leaves_no_resource(bench: Bench) -> None:
    ready = bench.folder / "ready"
    bench.write(
        *((f"sqs:{name}", f"arn:aws:sqs:us-east-1:111122223333:{name}-*") for name in _MANY)
    )
    process = bench.start(f"touch {ready}; sleep 60")
    wait_for(bench, ready)
    assert len(bench.temporary()) == 1
    process.terminate()
    _, err = process.communicate(timeout=50)
    assert (process.returncode, bench.temporary()) == (143, []), err


@pytest.mark.slow
def test_the_boundary_applies_to_a_temporary_role_too(bench: Bench) -> None:
    only = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
    }
    role = bench.lab.role("bounded", BROAD, boundary=only)
    told = bench.trial(PUT, "--role-arn", role, "--strategy", "trial-role")
    assert told.code == 1
    assert "boundary" in told.err
    assert bench.temporary() == []


@pytest.mark.slow
def test_a_file_saved_in_between_is_left_alone(bench: Bench) -> None:
    theirs = '{"Version": "2012-10-17", "Statement": []}\n'
    told = bench.trial(f"printf '%s' '{theirs}' > {bench.file}; {PUT}")
    assert (told.code, bench.file.read_text()) == (0, theirs), told.err
    beside = json.loads(bench.file.with_name("policy.json.trial").read_text())
    assert PARAMETER in [statement["Resource"] for statement in beside["Statement"]]
    assert "was changed while the trial ran" in told.err
