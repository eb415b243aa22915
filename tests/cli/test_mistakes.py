"""A run that checked nothing fails, and the message names the likely slip."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.fakes.command import CommandResult
from tests.fakes.command import leastpriv as run
from tests.fakes.deploys import FIRST, POLICY, ROLE, UPDATE, record, usual_deploys, write_trail

TYPO = ROLE.replace("ci-deploy", "ci-depoy")
COMMITTER = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
OTHER_ACCOUNT = ROLE.replace("111122223333", "444455556666")


def leastpriv(*arguments: str | Path) -> CommandResult:
    return run(*map(str, arguments))


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The usual deploys, and one call of another role with a path."""
    other_record = record(UPDATE, FIRST, "nightly", "arn:aws:iam::111122223333:role/ops/backup")
    return str(write_trail(tmp_path_factory.mktemp("trail"), [*usual_deploys(), other_record]))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A trail whose every file is damaged."""
    folder = write_trail(tmp_path_factory.mktemp("damaged"), usual_deploys())
    for file in folder.rglob("*.gz"):
        file.write_bytes(file.read_bytes()[:20])
    return str(folder)


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "ci-deploy.json"
    path.write_text(json.dumps(POLICY, indent=2))
    return str(path)


@pytest.mark.parametrize("mode", ["report", "check"])
def test_a_mistyped_role_fails_in_every_mode_and_names_the_roles_of_the_trail(
    trail: str, policy: str, mode: str
) -> None:
    run = leastpriv(
        "propose", "--role-arn", TYPO, "--policy-file", policy, "--trails", trail, "--mode", mode
    )
    assert run.code == 1
    assert "No calls by role/ci-depoy." in run.err
    assert "role/ci-deploy (" in run.err
    assert "role/ops/backup (1 call)" in run.err
    assert "Did you mean role/ci-deploy?" in run.err


def test_a_role_of_another_account_fails_and_names_the_account_of_the_trail(
    trail: str, policy: str
) -> None:
    run = leastpriv(
        "propose", "--role-arn", OTHER_ACCOUNT, "--policy-file", policy, "--trails", trail
    )
    assert run.code == 1
    assert "No calls by role/ci-deploy." in run.err
    assert "it has no folder of the account 444455556666" in run.err


def test_damaged_files_alone_fail_and_are_named(damaged: str, policy: str) -> None:
    run = leastpriv("propose", "--role-arn", ROLE, "--policy-file", policy, "--trails", damaged)
    assert run.code == 1
    assert "No record could be read: " in run.err


def test_a_window_in_the_future_fails_and_is_named(trail: str, policy: str) -> None:
    run = leastpriv(
        "propose",
        "--role-arn",
        ROLE,
        "--policy-file",
        policy,
        "--trails",
        trail,
        "--from",
        "2026-12-24",
    )
    assert run.code == 1
    assert "window" in run.err


def test_a_role_that_rests_may_be_reported_only(trail: str, policy: str) -> None:
    run = leastpriv(
        "propose",
        "--role-arn",
        TYPO,
        "--policy-file",
        policy,
        "--trails",
        trail,
        "--when-no-calls",
        "report",
    )
    assert run.code == 0


@pytest.mark.parametrize("command", ["permissions", "explain"])
def test_every_command_fails_without_a_call_and_names_the_slip(trail: str, command: str) -> None:
    actions = ["sqs:CreateQueue"] if command == "explain" else []
    run = leastpriv(command, *actions, "--role-arn", TYPO, "--trails", trail)
    assert run.code == 1
    assert "Did you mean role/ci-deploy?" in run.err


def test_all_roles_of_unreadable_records_fail_and_report_each_gap_once(
    damaged: str, trail: str
) -> None:
    run = leastpriv("permissions", "--all-roles", "--trails", damaged)
    assert run.code == 1
    assert "No call of any role or user was read." in run.err
    gaps = [row["detail"] for line in run.out.splitlines() if "gap" in (row := json.loads(line))]
    assert gaps
    with_good_trail = leastpriv(
        "permissions", "--all-roles", "--trails", damaged, "--trails", trail
    )
    assert with_good_trail.code == 0
    rows = [json.loads(line) for line in with_good_trail.out.splitlines()]
    assert len({row["principal"] for row in rows if "principal" in row}) == 2
    assert sorted(row["detail"] for row in rows if "gap" in row) == sorted(gaps)


def test_a_role_with_a_path_is_one_role(tmp_path: Path) -> None:
    """A record without `sessionIssuer` has no path of the role."""
    whole_record = record(UPDATE, FIRST, "1", "arn:aws:iam::111122223333:role/ci/deploy")
    short = {
        **record(UPDATE, FIRST, "1", "arn:aws:iam::111122223333:role/ci/deploy"),
        "eventID": "another",
    }
    short["userIdentity"] = {
        key: value for key, value in short["userIdentity"].items() if key != "sessionContext"
    }
    run = leastpriv(
        "permissions", "--all-roles", "--trails", write_trail(tmp_path, [short, whole_record])
    )
    assert {json.loads(line)["principal"] for line in run.out.splitlines()} == {
        "arn:aws:iam::111122223333:role/ci/deploy"
    }


def test_a_role_with_a_path_that_a_pattern_matches_is_one_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole_record = record(UPDATE, FIRST, "1", "arn:aws:iam::111122223333:role/ci/deploy")
    short = {
        **record(UPDATE, FIRST, "1", "arn:aws:iam::111122223333:role/ci/deploy"),
        "eventID": "another",
    }
    short["userIdentity"] = {
        key: value for key, value in short["userIdentity"].items() if key != "sessionContext"
    }
    write_trail(tmp_path / "trail", [short, whole_record])
    Path("leastpriv.yml").write_text(
        'targets:\n- role-arn: "arn:aws:iam::111122223333:role/*"\n  policy-file: iam/{name}.json\n'
    )
    run = leastpriv("propose", "--config", "leastpriv.yml", "--trails", "trail")
    assert run.code == 0, run.err
    assert "2 calls in 1 run" in run.err
    assert "`role/ci/deploy`" in run.out
    assert "`role/deploy`" not in run.out


def test_a_record_with_the_time_of_an_export_is_read(tmp_path: Path) -> None:
    renamed_record = dict(record(UPDATE, FIRST, "1"))
    renamed_record["@timestamp"] = renamed_record.pop("eventTime")
    (tmp_path / "export.json").write_text(json.dumps({"Records": [renamed_record]}))
    run = leastpriv("permissions", "--role-arn", ROLE, "--trails", tmp_path)
    assert [json.loads(line).get("action") for line in run.out.splitlines()] == [
        "lambda:UpdateFunctionCode"
    ]


def test_calls_of_unknown_outcome_have_a_row(tmp_path: Path) -> None:
    call = {**UPDATE, "error": "ThrottlingException"}
    run = leastpriv(
        "permissions",
        "--role-arn",
        ROLE,
        "--trails",
        write_trail(tmp_path, [record(call, FIRST, "1")]),
    )
    assert [json.loads(line).get("unknown") for line in run.out.splitlines()] == [
        "lambda:UpdateFunctionCode"
    ]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("propsoe",), "did you mean propose?"),
        (("propose", "--polcy-file", "p.json"), "did you mean --policy-file?"),
        (
            ("propose", "--role-arn", ROLE, "--role-arn", TYPO),
            "--role-arn is given twice: write several roles in one value, each on a line",
        ),
        (
            (
                "propose",
                "--role-arn",
                ROLE,
                "--policy-file",
                "p",
                "--trails",
                "t",
                "--mode",
                "chek",
            ),
            "did you mean check?",
        ),
        (
            (
                "propose",
                "--role-arn",
                ROLE,
                "--policy-file",
                "p",
                "--trails",
                "t",
                "--when-no-calls",
                "reprot",
            ),
            "did you mean report?",
        ),
        (
            ("permissions", "--role-arn", ROLE, "--trails", "t", "--format", "tabel"),
            "did you mean table?",
        ),
        (
            (
                "propose",
                "--role-arn",
                ROLE,
                "--policy-file",
                "p",
                "--trails",
                "t",
                "--aws-regions",
                "eu-wset-1",
            ),
            "did you mean eu-west-1?",
        ),
        (
            (
                "propose",
                "--role-arn",
                ROLE,
                "--policy-file",
                "p",
                "--trails",
                "t",
                "--lookback-days",
                "99999",
            ),
            "lookback-days",
        ),
        (
            ("propose", "--role-arn", ROLE, "--policy-file", "p", "--trails", "~/trail"),
            "~ is not expanded",
        ),
    ],
)
def test_a_wrong_word_ends_with_2_and_names_what_was_meant(
    arguments: tuple[str, ...], hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "p"
    policy.write_text(json.dumps(POLICY))
    run = leastpriv(*(str(policy) if argument == "p" else argument for argument in arguments))
    assert run.code == 2
    assert hint in run.err + capsys.readouterr().err


def test_a_mistyped_action_of_a_policy_is_named_with_the_one_that_was_meant(
    trail: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.json"
    statement = {"Effect": "Allow", "Action": ["s3:GetObjcet", "sqs:CreateQueue"], "Resource": "*"}
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": statement}))
    run = leastpriv("propose", "--role-arn", ROLE, "--policy-file", path, "--trails", trail)
    assert "s3:GetObjcet" in run.err
    assert "did you mean s3:GetObject?" in run.err


def test_a_damaged_compressed_file_is_not_read_as_nothing(tmp_path: Path, policy: str) -> None:
    (tmp_path / "trail").mkdir()
    (tmp_path / "trail" / "one.json.gz").write_bytes(gzip.compress(b'{"Records": []}'))
    run = leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", policy, "--trails", tmp_path / "trail"
    )
    assert run.code in (1, 2)


@pytest.mark.parametrize("second", ["missing", "empty"])
def test_a_wrong_name_of_one_of_two_trails_fails(
    trail: str, policy: str, second: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    run = leastpriv(
        "propose",
        "--role-arn",
        ROLE,
        "--policy-file",
        policy,
        "--trails",
        trail,
        "--trails",
        tmp_path / second,
    )
    assert run.code == 2
    assert f"'{tmp_path / second}'" in run.err


def test_regions_may_be_listed_in_one_option_as_in_the_input(trail: str, policy: str) -> None:
    options = ("propose", "--role-arn", ROLE, "--policy-file", policy, "--trails", trail)
    once = leastpriv(*options, "--aws-regions", "eu-west-1, us-east-1")
    assert (once.code, once.out) == (
        0,
        leastpriv(*options, "--aws-regions", "eu-west-1", "--aws-regions", "us-east-1").out,
    )


def test_regions_without_any_call_of_the_role_fail_and_name_those_with_calls(
    trail: str, policy: str
) -> None:
    run = leastpriv(
        "propose",
        "--role-arn",
        ROLE,
        "--policy-file",
        policy,
        "--trails",
        trail,
        "--aws-regions",
        "eu-west-2",
    )
    assert run.code == 2
    assert (
        "aws-regions names eu-west-2, but all calls of role/ci-deploy are in eu-west-1" in run.err
    )


@pytest.mark.parametrize(
    ("option", "text", "meant"),
    [
        ("--keep", "s3:GetObjcet", "s3:GetObject"),
        ("--keep", "dynamdob:*", "dynamodb:*"),
        ("--never-add", "iam:PasRole", "iam:PassRole"),
        ("--never-add", "lamda:*", "lambda:*"),
        ("--keep", "ec2:DescribeInstance", "ec2:DescribeInstances"),
        ("--keep", "s33:*", "s3:*"),
        ("--keep", "lambada:*", "lambda:*"),
        ("--keep", "dynomodb:*", "dynamodb:*"),
        ("--never-add", "s3:GetObjekt", "s3:GetObject"),
        ("--never-add", "s3:GetObjectt", "s3:GetObject"),
    ],
)
def test_a_mistyped_action_of_an_input_ends_with_2(
    trail: str, policy: str, option: str, text: str, meant: str
) -> None:
    run = leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", policy, "--trails", trail, option, text
    )
    assert run.code == 2
    assert f"which is no action (did you mean {meant}?)" in run.err


@pytest.mark.parametrize(
    "text", ["s3:PutObjectAnnotationsOfTomorrow", "s3:*", "*", "s3:get*", "newservice:DoIt"]
)
def test_an_action_newer_than_the_catalogue_may_be_kept(
    trail: str, tmp_path: Path, text: str
) -> None:
    policy = tmp_path / "ci-deploy.json"
    newer = {"Effect": "Allow", "Action": "newservice:DoIt", "Resource": "*"}
    policy.write_text(json.dumps({**POLICY, "Statement": [*POLICY["Statement"], newer]}))
    run = leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", policy, "--trails", trail, "--keep", text
    )
    assert run.code == 0


def test_a_service_that_neither_the_catalogue_nor_the_policy_has_cannot_be_kept(
    trail: str, policy: str
) -> None:
    arguments = ("propose", "--role-arn", ROLE, "--policy-file", policy, "--trails", trail)
    run = leastpriv(*arguments, "--keep", "frobnicate:*")
    assert run.code == 2
    assert "keep names 'frobnicate:*', and neither the catalogue" in run.err
    run = leastpriv(*arguments, "--never-add", "frobnicate:*")
    assert run.code == 0
    assert "never-add names 'frobnicate:*', and the catalogue" in run.err
    assert "has no service frobnicate." in run.err


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("emergncy-*", "emergency-7"),
        ("emergecny-7", "emergency-7"),
        ("Emergenncy-*", "emergency-7"),
        ("1765*x", ""),
    ],
)
def test_a_break_glass_pattern_that_nearly_matches_a_session_ends_with_2(
    tmp_path: Path, policy: str, pattern: str, meant: str
) -> None:
    trail = write_trail(
        tmp_path / "trail", [*usual_deploys(), record(UPDATE, FIRST, "emergency-7")]
    )
    run = leastpriv(
        "propose",
        "--role-arn",
        ROLE,
        "--policy-file",
        policy,
        "--trails",
        trail,
        "--break-glass",
        pattern,
    )
    assert run.code == (2 if meant else 0), run.err
    assert (
        f"break-glass names {pattern!r}, and no session matches it (did you mean {meant}?)."
        in run.err
    ) == bool(meant)


@pytest.mark.parametrize(("pattern", "is_named"), [("emergncy-*", True), ("1765000000?", False)])
def test_a_break_glass_pattern_without_a_session_is_named(
    trail: str, policy: str, pattern: str, is_named: bool
) -> None:
    run = leastpriv(
        "propose",
        "--role-arn",
        ROLE,
        "--policy-file",
        policy,
        "--trails",
        trail,
        "--break-glass",
        pattern,
    )
    assert run.code == 0
    assert (
        f"break-glass names {pattern!r}, and no session of this evidence matches it." in run.err
    ) == is_named


@pytest.mark.parametrize(
    ("action", "meant"),
    [
        ("s3:GetObjcet", "s3:GetObject"),
        ("dynamdob:GetItem", "dynamodb:GetItem"),
        ("s3:PutObjet*", ""),
    ],
)
@pytest.mark.parametrize("with_evidence", [False, True])
def test_a_mistyped_action_is_not_explained(
    trail: str, action: str, meant: str, with_evidence: bool
) -> None:
    run = leastpriv(
        "explain", action, *(("--role-arn", ROLE, "--trails", trail) if with_evidence else ())
    )
    assert run.code == 2
    assert (f"did you mean {meant}?" if meant else "no action of that pattern") in run.err


@pytest.mark.parametrize("name", ["{policy}", "{folder}/./{file}"])
def test_the_policy_file_is_no_other_attached_policy(trail: str, policy: str, name: str) -> None:
    path = Path(policy)
    attached = name.format(policy=policy, folder=path.parent, file=path.name)
    run = leastpriv(
        "propose",
        "--role-arn",
        ROLE,
        "--policy-file",
        policy,
        "--trails",
        trail,
        "--also-attached",
        attached,
    )
    assert run.code == 2
    assert "the file of --policy-file" in run.err


@pytest.mark.parametrize(
    ("name", "is_slip"),
    [
        ("ci-deplyo.json", True),
        ("ci-deply.json", True),
        ("ci-deployy.json", True),
        ("CI-DEPLYO.json", True),
        ("ci-destroy.json", False),
        ("ci-deploy-2.json", False),
        ("package-lokc.json", False),
    ],
)
@pytest.mark.parametrize("mode", ["report", "pull-request"])
def test_a_missing_policy_file_named_nearly_as_a_policy_is_a_slip(
    trail: str, name: str, is_slip: bool, mode: str, tmp_path: Path
) -> None:
    """`package-lock.json` is no policy."""
    (tmp_path / "iam").mkdir()
    (tmp_path / "iam" / "ci-deploy.json").write_text(json.dumps(POLICY))
    (tmp_path / "iam" / "package-lock.json").write_text("{}")
    if mode == "pull-request":
        for arguments in (
            ["init", "-q", "-b", "main"],
            ["add", "."],
            [*COMMITTER, "commit", "-q", "-m", "Begin"],
        ):
            subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    run = leastpriv(
        "propose",
        "--role-arn",
        ROLE,
        "--policy-file",
        tmp_path / "iam" / name,
        "--trails",
        trail,
        "--mode",
        mode,
    )
    assert run.code == (2 if is_slip else 0), run.err
    assert ("(did you mean " in run.err and "ci-deploy.json?)" in run.err) == is_slip


@pytest.mark.parametrize(
    ("name", "is_slip"),
    [
        ("ima/prod/ci-deploy.json", True),
        ("iam/prdo/ci-deploy.json", True),
        ("IAM/prod/ci-deplyo.json", True),
        ("iam/test/ci-deploy.json", False),
        ("iam/ci-deploy.json", False),
        ("policies/prod/ci-deploy.json", False),
    ],
)
@pytest.mark.parametrize("mode", ["report", "pull-request"])
def test_a_missing_folder_named_nearly_as_that_of_a_policy_is_a_slip(
    trail: str, name: str, is_slip: bool, mode: str, tmp_path: Path
) -> None:
    (tmp_path / "iam" / "prod").mkdir(parents=True)
    (tmp_path / "iam" / "prod" / "ci-deploy.json").write_text(json.dumps(POLICY))
    if mode == "pull-request":
        for arguments in (
            ["init", "-q", "-b", "main"],
            ["add", "."],
            [*COMMITTER, "commit", "-q", "-m", "Begin"],
        ):
            subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    run = leastpriv(
        "propose",
        "--role-arn",
        ROLE,
        "--policy-file",
        tmp_path / name,
        "--trails",
        trail,
        "--mode",
        mode,
    )
    assert run.code == (2 if is_slip else 0), run.err
    assert ("(did you mean " in run.err and "iam/prod/ci-deploy.json?)" in run.err) == is_slip


def test_an_organization_trail_without_the_account_of_one_target_fails_and_names_it(
    trail: str, policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(Path(trail) / "AWSLogs", tmp_path / "members" / "AWSLogs" / "o-abcdefghij")
    Path("leastpriv.yml").write_text(
        f"targets:\n- {{role-arn: '{ROLE}', policy-file: ci-deploy.json}}\n"
        f"- {{role-arn: '{OTHER_ACCOUNT}', policy-file: other.json}}\n"
    )
    run = leastpriv("propose", "--config", "leastpriv.yml", "--trails", "members")
    assert run.code == 1
    assert "The calls in this trail are of account 111122223333: check the account" in run.err
    assert "iam(ci-deploy, 111122223333): " in run.err


@pytest.mark.parametrize(("missing", "code"), [("fail", 1), ("report", 0)])
def test_a_pattern_with_a_path_that_no_record_has_fails_and_names_the_roles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, code: int
) -> None:
    """A record without `sessionIssuer` has no path of the role."""
    monkeypatch.chdir(tmp_path)
    service_record = {**record(UPDATE, FIRST, "1", "arn:aws:iam::111122223333:role/ci/deploy")}
    service_record["userIdentity"] = {
        key: value
        for key, value in service_record["userIdentity"].items()
        if key != "sessionContext"
    }
    write_trail(tmp_path / "trail", [service_record])
    Path("leastpriv.yml").write_text(
        'targets:\n- role-arn: "arn:aws:iam::111122223333:role/ci/*"\n  policy-file:'
        " iam/{name}.json\n"
    )
    run = leastpriv(
        "propose", "--config", "leastpriv.yml", "--trails", "trail", "--when-no-calls", missing
    )
    assert run.code == code, run.err
    assert (
        "No calls by role/ci/*. Roles and users in this trail: role/deploy (1 call)." in run.err
    ) == bool(code)


@pytest.mark.parametrize("command", ["propose", "permissions", "explain"])
def test_a_trail_whose_files_are_all_cut_off_fails(
    trail: str, policy: str, command: str, tmp_path: Path
) -> None:
    for file in Path(trail).rglob("*.gz"):
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content[: len(content) * 2 // 3])
    further_options = {
        "propose": ("--policy-file", policy),
        "permissions": (),
        "explain": ("sqs:CreateQueue",),
    }[command]
    run = leastpriv(command, *further_options, "--role-arn", ROLE, "--trails", tmp_path)
    assert run.code == 1
    assert "Every file that was read is damaged (" in run.err
    with_good_trail = leastpriv(
        command, *further_options, "--role-arn", ROLE, "--trails", tmp_path, "--trails", trail
    )
    assert with_good_trail.code == 0


def test_callers_that_are_services_are_no_roles_of_the_trail(tmp_path: Path, policy: str) -> None:
    service_record = dict(record(UPDATE, FIRST, "1"))
    service_record["userIdentity"] = {"type": "AWSService", "invokedBy": "lambda.amazonaws.com"}
    trail = write_trail(tmp_path / "trail", [service_record])
    run = leastpriv("propose", "--role-arn", ROLE, "--policy-file", policy, "--trails", trail)
    assert run.code == 1
    assert "1 records were read: check role-arn and trails." in run.err


def test_a_pipe_is_refused_and_standard_input_is_named(tmp_path: Path) -> None:
    """`leastpriv denials <(…)` would wait for ever on a pipe that no program writes."""
    os.mkfifo(tmp_path / "log")
    command = run("denials", str(tmp_path / "log"))
    assert command.code == 2
    assert "pass a pipe as standard input, with the name -" in command.err


@pytest.mark.parametrize(
    "arguments",
    [
        (
            "propose",
            "--role-arn",
            "arn:aws:iam::111122223333:role/x",
            "--policy-file",
            "{long}",
            "--trails",
            ".",
        ),
        ("permissions", "--role-arn", "arn:aws:iam::111122223333:role/x", "--trails", "{long}"),
        ("denials", "{long}"),
        ("contains", "--old", "{long}", "--new", "{long}"),
    ],
)
def test_a_path_that_is_too_long_is_one_sentence(arguments: tuple[str, ...]) -> None:
    command = run(*(argument.format(long="a" * 5_000) for argument in arguments))
    assert command.code == 2
    assert "too long" in command.err
    assert "defect" not in command.err


def test_a_long_path_of_a_trail_does_not_fill_the_screen() -> None:
    role = "arn:aws:iam::111122223333:role/x"
    command = run("permissions", "--role-arn", role, "--trails", "a" * 5_000)
    assert "begins with 'aaa" in command.err
    assert len(command.err) < 400


SLIPS = {
    "a name instead of an ARN": (
        ("--role-arn", "ci-deploy"),
        "--role-arn: 'ci-deploy' is not the ARN of a role or user",
    ),
    "the ARN of a session": (
        ("--role-arn", "arn:aws:sts::111122223333:assumed-role/ci-deploy/x"),
        "is the ARN of a session, not of a role: use the role's own ARN",
    ),
    "an account of eleven digits": (
        ("--role-arn", "arn:aws:iam::11112222333:role/x"),
        "is not the ARN of a role or user",
    ),
    "an ARN with a region": (
        ("--role-arn", "arn:aws:iam:eu-west-1:111122223333:role/x"),
        "(an ARN of IAM has no region)",
    ),
    "the ARN of a policy as role": (
        ("--role-arn", "arn:aws:iam::111122223333:policy/x"),
        "(it is of the type policy)",
    ),
    "an ARN in quotes": (("--role-arn", f'"{ROLE}"'), "(it has quotes)"),
    "the ARN of a policy as its file": (
        ("--policy-file", "arn:aws:iam::111122223333:policy/x"),
        "--policy-file is an ARN: name the file",
    ),
    "an empty policy file": (("--policy-file", "empty.json"), "the file is empty"),
    "a comma after the last item": (("--policy-file", "comma.json"), "remove the comma"),
    "the address of a bucket": (("--trails", "https://b.s3.amazonaws.com/x"), "s3://BUCKET/PREFIX"),
    "an availability zone": (("--aws-regions", "eu-west-1a"), "an availability zone of eu-west-1"),
    "a state as a plan": (
        ("--plans", "state.json"),
        "state.json is no plan: it is a state of Terraform",
    ),
    "a template as a plan": (("--plans", "app.json"), "app.json is no plan: it is a template"),
    "a mistyped key of the config": (("--config", "keys.yml"), "'keys.yml', which has the unknown"),
    "a folder as policy": (
        ("--policy-file", "FOLDER"),
        "which cannot be read: it is a folder, and not a file",
    ),
    "broken JSON": (("--policy-file", "bad.json"), "bad.json: line 1, column 13: a JSON value is"),
    "a trust policy": (("--policy-file", "trust.json"), "this statement has a principal"),
    "no such trail": (("--trails", "no/where"), "there is no file or folder 'no/where'"),
    "a mistyped event history": (("--trails", "event-histroy"), "did you mean event-history?"),
    "a bucket without its scheme": (("--trails", "my-bucket"), "(a bucket is s3://my-bucket)"),
    "a bucket's name that S3 does not take": (("--trails", "s3://My_Bucket"), "s3://BUCKET/PREFIX"),
    "a zip archive": (("--trails", "trail.zip"), "'trail.zip' is a zip archive: unpack it"),
    "a folder of zip archives": (("--trails", "zips"), "has zip archives (logs.zip)"),
    "an empty folder": (("--trails", "FOLDER"), "'FOLDER' has no CloudTrail file"),
    "a mistyped region": (("--aws-regions", "eu-wset-1"), "did you mean eu-west-1?"),
    "a number in words": (("--minimum-days", "a month"), "--minimum-days is 'a month': write a"),
    "a mistyped mode": (("--mode", "chek"), "did you mean check?"),
    "a mistyped action": (("--keep", "s3:PutObjct"), "did you mean s3:PutObject?"),
    "a date of another form": (("--from", "24.11.2026"), "write a date like 2026-11-03"),
    "an empty window": (("--from", "2026-11-24", "--to", "2026-11-01"), "the window is empty"),
    "a choice that does not exist": (("--lifecycle", "drop"), "choose write or offer or off or"),
    "a mistyped setting": (("--config", "settings.yml"), "'lifecyle' (did you mean lifecycle?)"),
    "a config that does not exist": (("--config", "no.yml"), "--config names 'no.yml', which"),
    "an address as the policy": (("--policy-file", "https://x/p.json"), "is an address: name the"),
    "a page over the policy": (("--page-file", "ci-deploy.json"), "as is --policy-file"),
    "a file as the output folder": (("--output-dir", "bad.json"), "which is a file: name a folder"),
    "a file as the folder of the cache": (("--cache-dir", "bad.json"), "--cache-dir is 'bad.json'"),
    "a file as the usage history": (
        ("--evidence-folder", "bad.json"),
        "--evidence-folder is 'bad.json', which is a file: name a folder",
    ),
    "digests of a folder": (
        ("--validate-digests", "true", "--trails", "FOLDER"),
        "--trails names 'FOLDER', which has no digest files: name the trail's bucket",
    ),
    "digests of a log group": (
        ("--validate-digests", "true", "--trails", "log-group:trail"),
        "names 'log-group:trail', which has no digest files",
    ),
    "a boundary of no template": (
        ("--boundary-file", "boundary.json"),
        "--boundary-file is 'boundary.json', without --templates or --plans",
    ),
    "a mistyped environment": (
        ("--reviewed-refs", "enviroment:production"),
        "'enviroment:production', which is no branch or tag: write environment:NAME",
    ),
    "a mistyped boundary": (
        ("--other-policies", "bounary=boundary.json"),
        "other-policies holds 'bounary=boundary.json': write boundary=FILE",
    ),
    "a job log that does not exist": (("--job-logs", "no.log"), "--job-logs names 'no.log', which"),
    "Terraform without a policy": (("--policy-file", "main.tf"), "main.tf: the file has no policy"),
    "Terraform that ends early": (("--policy-file", "cut.tf"), "cut.tf: line 2, column 1: this is"),
    "a wrong address": (
        ("--policy-file", "main.tf#data.aws_iam_policy_document.x"),
        "data.aws_iam_policy_document.x leads nowhere",
    ),
    "a missing comma of the config": (("--config", "comma.yml"), "no YAML on line 2: expected ','"),
    "a setting twice": (("--config", "twice.yml"), 'found duplicate key "lifecycle"'),
    "an empty config": (("--config", "empty.json"), "holds no mapping: write targets: at its top"),
    "a policy without resources": (("--policy-file", "no-resource.json"), "has no Resource, which"),
}
COMMAND_SLIPS = {
    "a request without a resource": (
        ("evaluate", "--policy", "ci-deploy.json", "--request", "no-resource-asked.json"),
        "no-resource-asked.json: line 1, column 1: a request needs a resource, as arn:aws:s3",
    ),
    "a resource that is no ARN": (
        ("evaluate", "--policy", "ci-deploy.json", "--request", "no-arn.json"),
        "no-arn.json: line 1, column 40: resource must be an ARN",
    ),
    "a mistyped field of a request": (
        ("evaluate", "--policy", "ci-deploy.json", "--request", "mistyped.json"),
        "a request has no 'contxt'",
    ),
    "a mistyped region of permissions": (
        ("permissions", "--trails", "FOLDER", "--role-arn", ROLE, "--aws-regions", "eu-west-11"),
        "--aws-regions holds 'eu-west-11', which is no region (did you mean eu-west-1?)",
    ),
    "a file as the folder of init": (
        ("init", "--repository", "a/b", "--role-arn", ROLE, "--output-dir", "ci-deploy.json"),
        "--output-dir is 'ci-deploy.json', which is a file: name a folder",
    ),
    "an address as repository": (
        ("init", "--repository", "https://github.com/a/b", "--role-arn", ROLE),
        "--repository is 'https://github.com/a/b': write OWNER/NAME",
    ),
    "a branch instead of a commit": (
        ("init", "--repository", "a/b", "--role-arn", ROLE, "--action", "a/b@main"),
        "--action is 'a/b@main': write OWNER/NAME@COMMIT",
    ),
    "a bound that does not exist": (
        ("trial", "--role-arn", ROLE, "--policy-file", "p.json", "--within", "no.json", "--", "ls"),
        "--within names 'no.json', which cannot be read",
    ),
    "a program that does not exist": (
        ("trial", "--role-arn", ROLE, "--policy-file", "p.json", "--", "no-such-program"),
        "The command 'no-such-program' cannot be run: there is no such program",
    ),
    "no answer of account details": (
        ("roles", "--trails", "FOLDER", "--account-details", "ci-deploy.json"),
        "'ci-deploy.json', which is not the answer of `aws iam get-account-authorization-details`",
    ),
    "a role and all roles": (
        ("permissions", "--trails", "FOLDER", "--role-arn", ROLE, "--all-roles"),
        "Name one role with --role-arn, or all with --all-roles",
    ),
    "a guard instead of an action": (
        ("explain", "minimum-days"),
        "ACTION is 'minimum-days': write",
    ),
    "a name as principal": (
        ("contains", "--old", "p.json", "--new", "p.json", "--principal", "ci-deploy"),
        "--principal ci-deploy is no ARN of a role, user or session",
    ),
    "a root that does not exist": (("mcp", "--root", "no"), "--root is 'no', which is no folder"),
}


@pytest.fixture(scope="module")
def slips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slips")
    (folder / "FOLDER").mkdir()
    (folder / "zips").mkdir()
    (folder / "ci-deploy.json").write_text(json.dumps(POLICY))
    (folder / "bad.json").write_text('{"Version": ')
    (folder / "empty.json").write_text("")
    (folder / "comma.json").write_text('{"Version": "2012-10-17", "Statement": [{},]}')
    (folder / "state.json").write_text(
        '{"version": 4, "serial": 1, "lineage": "a", "resources": []}'
    )
    (folder / "app.json").write_text('{"Resources": {}}')
    (folder / "keys.yml").write_text("target: []\n")
    allows = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    (folder / "trust.json").write_text(json.dumps({"Statement": [allows]}))
    (folder / "settings.yml").write_text("settings:\n  lifecyle: offer\n")
    (folder / "main.tf").write_text('resource "aws_iam_role" "x" {\n  name = "x"\n}\n')
    (folder / "cut.tf").write_text('resource "aws_iam_role" "x" {\n')
    (folder / "comma.yml").write_text("targets:\n- {role-arn: a policy-file: b}\n")
    (folder / "twice.yml").write_text("settings:\n  lifecycle: off\n  lifecycle: all\n")
    no_resource = {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject"}]}
    (folder / "no-resource.json").write_text(json.dumps(no_resource))
    request = {"action": "s3:GetObject"}
    (folder / "no-resource-asked.json").write_text(json.dumps(request))
    (folder / "no-arn.json").write_text(json.dumps({**request, "resource": "bucket/key"}))
    (folder / "mistyped.json").write_text(json.dumps({**request, "contxt": {}}))
    for archive in ("trail.zip", "zips/logs.zip"):
        with zipfile.ZipFile(folder / archive, "w") as zip_file:
            zip_file.writestr("a.json", "{}")
    return folder


@pytest.mark.parametrize("slip", SLIPS)
def test_the_first_line_of_an_error_names_the_slip(
    slip: str, slips: Path, trail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(slips)
    slip_options, named_input = SLIPS[slip]
    usual = {"--role-arn": ROLE, "--policy-file": "ci-deploy.json", "--trails": trail}
    usual |= dict(zip(slip_options[::2], slip_options[1::2], strict=True))
    run = leastpriv("propose", *(word for pair in usual.items() for word in pair))
    first = run.err.partition("\n")[0]
    assert (run.code, named_input in first) == (2, True), run.err


@pytest.mark.parametrize("slip", COMMAND_SLIPS)
def test_the_first_line_of_each_other_command_names_the_slip(
    slip: str, slips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(slips)
    arguments, named_input = COMMAND_SLIPS[slip]
    run = leastpriv(*arguments)
    first = run.err.partition("\n")[0]
    assert (run.code, named_input in first) == (2, True), run.err


def test_a_folder_without_a_log_is_no_log_without_a_denial(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    run = leastpriv("denials", tmp_path / "logs")
    assert (run.code, "has no file: name the folder of the logs" in run.err) == (2, True)


def test_a_role_that_differs_in_case_or_partition_is_named(trail: str, policy: str) -> None:
    for wrong, named_part in (
        (ROLE.replace("ci-deploy", "CI-Deploy"), "Did you mean role/ci-deploy?"),
        (ROLE.replace("arn:aws:", "arn:aws-cn:"), f"This trail has calls of {ROLE}: correct"),
    ):
        run = leastpriv("propose", "--role-arn", wrong, "--policy-file", policy, "--trails", trail)
        assert (run.code, named_part in run.err) == (1, True), run.err
