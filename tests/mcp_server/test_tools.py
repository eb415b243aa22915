"""The tools of `leastpriv mcp` answer with the words of the shell, below one folder, without AWS."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from leastpriv.cli.main import main
from leastpriv.errors import InputError
from leastpriv.mcp_server.server import is_error, result
from leastpriv.mcp_server.tools import Access, answer, tools
from tests.fakes.command import CommandResult

ROOT = Path(__file__).parents[2]
QUESTIONS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("questions.json").read_text(encoding="utf-8")
)
"""Of a security engineer: tool and arguments, the same command of a shell, and what is said."""
PROGRAM = "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())"
QUEUES = "arn:aws:sqs:eu-west-1:111122223333:orders-*"
SESSION = "arn:aws:sts::111122223333:assumed-role/ci-deploy"
INVISIBLE = ("\u202e", "\u200b\u2066", "\U000e0041\U000e0042", "\x1b", "\u3164")
"""A direction, joiners, tags, the start of a terminal's sequence, a filler."""
TEMPLATE = """Resources:
  Orders:
    Type: AWS::SQS::Queue
    Properties: {QueueName: orders}
"""


def policy(action: str, resource: str = "*") -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2) + "\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with policies, a trail, a template and a log; one policy has an edit."""
    folder = tmp_path_factory.mktemp("mcp") / "shop"
    shutil.copytree(ROOT / "examples/one-record/trail", folder / "trail")
    (folder / "iam").mkdir()
    (folder / "iam/deploy.json").write_text(policy("sqs:*", QUEUES))
    (folder / "iam/wider.json").write_text(policy("iam:CreateUser"))
    (folder / "iam/edited.json").write_text(policy("sqs:*", QUEUES))
    (folder / "template.yaml").write_text(TEMPLATE)
    (folder / "build.log").write_text("done\n")
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Begin"]):
        identity = ["-c", "user.name=Kim", "-c", "user.email=kim@example.com"]
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)
    (folder / "iam/edited.json").write_text(policy("sqs:PurgeQueue", QUEUES))
    return folder


def shell(command: list[str], root: Path) -> CommandResult:
    """Runs a command of the shell in the folder."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(root):
        code = main(command, out, err, lambda: datetime.now(UTC))
    return CommandResult(code, out.getvalue(), err.getvalue())


def check(found: Mapping[str, Any], question: Mapping[str, Any], root: Path) -> None:
    """Compare an answer with the wanted one, and with the shell's."""
    assert found["exit_code"] == question.get("exit_code", 0), found
    text = json.dumps(found, separators=(",", ":"))
    assert [part for part in question["says"] if part not in text] == []
    if "shell" not in question:
        return
    done = shell(question["shell"], root)
    assert found["exit_code"] == done.code
    assert found["messages"] == done.err.splitlines()
    if isinstance(found["answer"], str):
        assert found["answer"] == done.out
    else:
        assert found["answer"] == [json.loads(line) for line in done.out.splitlines()]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda each: each["question"])
def test_a_question_has_the_answer_of_the_shell(question: dict[str, Any], root: Path) -> None:
    access = Access(root=root, aws=False, seconds=60)
    check(result(question["tool"], question["arguments"], access), question, root)


def test_there_are_ten_questions_and_each_tool_answers_one() -> None:
    assert len(QUESTIONS) >= 10
    assert {each["tool"] for each in QUESTIONS} == set(tools())


def test_a_record_of_the_conversation_needs_no_file(root: Path) -> None:
    (file,) = (root / "trail").rglob("*.json*")
    record = json.loads(file.read_bytes())["Records"][0]
    found = answer("needs", {"record": record}, Access(root=root, aws=False, seconds=60))
    assert [row["action"] for row in found.answer][:2] == ["sqs:CreateQueue", "sqs:TagQueue"]


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("denials", {"files": ["../outside.log"]}, "leads out of"),
        ("denials", {"files": ["/etc/passwd"]}, "relative to"),
        ("denials", {"files": ["out/outside.log"]}, "leads out of"),
        ("contains", {"old": [".git/config"], "new": ["iam/wider.json"]}, "files of git"),
        ("needs", {"templates": ["shop=../t.yaml"], "role_arn": "r"}, "leads out of"),
        ("needs", {"templates": ["t.yaml?../values.json"], "role_arn": "r"}, "leads out of"),
        ("needs", {"plans": ["../plan.json"], "role_arn": "r"}, "leads out of"),
        ("needs", {"plans": ["plan.json"]}, "needs role_arn"),
        ("needs", {}, "one of record, trails, templates and plans"),
        ("needs", {"record": {"eventName": "x"}, "trails": ["trail"]}, "not both"),
        ("needs", {"trails": ["s3://logs/prefix"]}, "start the server with --aws"),
        ("needs", {"trails": ["event-history"]}, "start the server with --aws"),
        ("needs", {"trails": ["log-group:trail"]}, "start the server with --aws"),
        ("contains", {"old": ["arn:aws:iam::aws:policy/X"], "new": ["a"]}, "with --aws"),
        ("explain", {}, "needs actions"),
        ("explain", {"actions": "iam:PassRole"}, "a list of texts"),
        ("explain", {"actions": ["a:B"], "role_arn": ["r"]}, "a text"),
        ("explain", {"actions": ["a:B"], "role": "r"}, "no parameter 'role'"),
        ("evaluate", {"policies": ["iam/deploy.json"], "requests": "x"}, "an object"),
        ("explian", {"actions": ["a:B"]}, "did you mean explain?"),
    ],
)
def test_a_wrong_argument_has_one_sentence(
    tool: str, arguments: dict[str, Any], sentence: str, root: Path
) -> None:
    (root / "out").unlink(missing_ok=True)
    (root / "out").symlink_to(root.parent)
    (root.parent / "outside.log").write_text("secret")
    with pytest.raises(InputError) as caught:
        answer(tool, arguments, Access(root=root, aws=False, seconds=60))
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_option_in_a_value_remains_a_value(root: Path) -> None:
    arguments = {"actions": ["--policy-file=/etc/passwd"]}
    found = result("explain", arguments, Access(root=root, aws=False, seconds=60))
    assert found["exit_code"] == 2
    assert "--policy-file=/etc/passwd" in found["messages"][0]


def test_credentials_reach_a_command_only_with_aws(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trail would be read by the credentials of the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    arguments = {"trails": ["event-history"], "role_arn": "arn:aws:iam::111122223333:role/deploy"}
    without = result("needs", arguments, Access(root=root, aws=False, seconds=60))
    assert "--aws" in without["messages"][0]
    asked = result("needs", arguments, Access(root=root, aws=True, seconds=60))
    assert asked["exit_code"] == 1
    assert "127.0.0.1" in " ".join(asked["messages"])


def test_a_call_that_takes_too_long_ends_with_a_sentence(root: Path) -> None:
    found = result("explain", {"actions": ["*:*"]}, Access(root=root, aws=False, seconds=0))
    assert found["exit_code"] == 2
    assert "--time-limit" in found["messages"][0]


@pytest.mark.parametrize("name", INVISIBLE, ids=ascii)
def test_no_answer_has_text_that_a_person_does_not_see(name: str, root: Path) -> None:
    call = {
        "eventVersion": "1.08",
        "userIdentity": {"type": "AssumedRole", "arn": f"{SESSION}/1", "accountId": "111122223333"},
        "eventTime": "2026-11-01T08:00:00Z",
        "eventSource": "sqs.amazonaws.com",
        "eventName": "CreateQueue",
        "awsRegion": "eu-west-1",
        "requestParameters": {"queueName": f"orders-{name}"},
        "eventID": "00000000-0000-4000-8000-000000000001",
        "eventType": "AwsApiCall",
    }
    found = result("needs", {"record": call}, Access(root, aws=False, seconds=60))
    text = json.dumps(found, ensure_ascii=False)
    assert found["exit_code"] == 0
    assert "orders-" in text
    assert not set(name) & set(text)
    assert "Invisible characters in names are written out" in found["messages"][-1]
    refused = result("explain", {name: ["s3:GetObject"]}, Access(root, aws=False, seconds=60))
    assert not set(name) & set(json.dumps(refused, ensure_ascii=False))


def test_only_a_log_without_denials_is_no_error() -> None:
    assert not is_error("denials", 1)
    assert is_error("denials", 2)
    assert is_error("needs", 1)
    assert not is_error("review", 3)


def test_the_client_of_the_package_gets_declarations_and_structured_answers(root: Path) -> None:
    mcp = pytest.importorskip("mcp", reason="THE PACKAGE mcp IS NOT INSTALLED: make installs it")
    from mcp.client.stdio import StdioServerParameters

    server = StdioServerParameters(
        command=sys.executable,
        args=["-P", "-c", PROGRAM, "mcp", f"--root={root}"],
        env={"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )
    chosen = [QUESTIONS[0], QUESTIONS[1], QUESTIONS[5], QUESTIONS[8]]

    async def ask() -> tuple[Any, list[Any]]:
        async with mcp.Client(server) as client:
            listed = await client.list_tools()
            answers = [await client.call_tool(each["tool"], each["arguments"]) for each in chosen]
            return listed, answers

    listed, answers = asyncio.run(ask())
    assert [tool.name for tool in listed.tools] == list(tools())
    for tool in listed.tools:
        assert tool.annotations.read_only_hint
        assert tool.description
    for question, found in zip(chosen, answers, strict=True):
        check(found.structured_content, question, root)
        assert json.loads(found.content[0].text) == found.structured_content
        assert found.is_error == (question.get("exit_code") == 2)
