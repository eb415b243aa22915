"""The tools of `leastpriv mcp` answer with the words of the shell, below one folder, without AWS."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from leastpriv.cli.main import main
from leastpriv.errors import InputError
from leastpriv.mcp_server import calls
from leastpriv.mcp_server.answers import of_failure, of_rows, of_text
from leastpriv.mcp_server.calls import Access
from leastpriv.mcp_server.server import is_error, result, short_text
from leastpriv.mcp_server.tools import tools
from tests.fakes.command import CommandResult

ROOT = Path(__file__).parents[2]
QUESTIONS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("questions.json").read_text(encoding="utf-8")
)
"""Of a security engineer: tool and arguments, the same command of a shell, and what is said."""
PROGRAM = "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())"
QUEUES = "arn:aws:sqs:eu-west-1:111122223333:orders-*"
SESSION = "arn:aws:sts::111122223333:assumed-role/ci-deploy"
AFTER_THE_TRAIL = datetime(2026, 11, 2, tzinfo=UTC)
"""What a command of the shell takes for now. The process of a tool has the clock of the machine, so
that an answer that depends on the day differs at any time and not around midnight alone.
"""
INVISIBLE = ("\u202e", "\u200b\u2066", "\U000e0041\U000e0042", "\x1b", "\u3164")
"""A direction, joiners, tags, the start of a terminal's sequence, a filler."""
TEMPLATE = """Resources:
  Orders:
    Type: AWS::SQS::Queue
    Properties: {QueueName: orders}
"""


ROLE = "arn:aws:iam::111122223333:role/deploy"
ODD = """Resources:
  Orders:
    Type: AWS::SQS::Queue
    Properties: {QueueName: orders}
  Odd:
    Type: AWS::Nonsense::Thing
  Part:
    Type: AWS::CloudFormation::Stack
    Properties: {TemplateURL: https://bucket.s3.amazonaws.com/part.yaml}
"""
PLAN = {"format_version": "1.2", "planned_values": {"root_module": {}}, "configuration": {}}
DENIAL = (
    "User: arn:aws:sts::111122223333:assumed-role/deploy/1 is not authorized to perform:"
    " sqs:{name} on resource: arn:aws:sqs:eu-west-1:111122223333:orders because no identity-based"
    " policy allows the sqs:{name} action\n"
)


def plan(*types: str) -> str:
    changes = [
        {
            "address": f"{resource_type}.q",
            "type": resource_type,
            "name": "q",
            "provider_name": "registry.terraform.io/hashicorp/aws",
            "change": {"actions": ["create"], "before": None, "after": {"name": "q"}},
        }
        for resource_type in types
    ]
    return json.dumps({**PLAN, "resource_changes": changes})


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
    (folder / "odd.yaml").write_text(ODD)
    (folder / "plan.json").write_text(plan("aws_sqs_queue", "aws_nonsense"))
    (folder / "nothing.json").write_text(plan())
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
        code = main(command, out, err, lambda: AFTER_THE_TRAIL)
    return CommandResult(code, out.getvalue(), err.getvalue())


def asked(tool: str, arguments: dict[str, Any], access: Access) -> dict[str, Any]:
    """The structured content of a call."""
    return asyncio.run(result(tool, arguments, access))


def check(found: Mapping[str, Any], question: Mapping[str, Any], root: Path) -> None:
    """Compare an answer with the wanted one, and with the shell's."""
    assert found["exit_code"] == question.get("exit_code", 0), found
    text = json.dumps(found, separators=(",", ":"))
    assert [part for part in question["says"] if part not in text] == []
    if "shell" not in question:
        return
    command = shell(question["shell"], root)
    assert found["exit_code"] == command.code
    assert found["messages"] == command.err.splitlines()
    if isinstance(found["answer"], str):
        assert found["answer"] == command.out
    else:
        assert found["answer"] == [json.loads(line) for line in command.out.splitlines()]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda each: each["question"])
def test_a_question_has_the_answer_of_the_shell(question: dict[str, Any], root: Path) -> None:
    access = Access(root=root, aws=False, seconds=60)
    check(asked(question["tool"], question["arguments"], access), question, root)


def test_there_are_ten_questions_and_each_tool_answers_one() -> None:
    assert len(QUESTIONS) >= 10
    assert {question["tool"] for question in QUESTIONS} == set(tools())


def test_a_record_of_the_conversation_needs_no_file(root: Path) -> None:
    (file,) = (root / "trail").rglob("*.json*")
    record = json.loads(file.read_bytes())["Records"][0]
    answer = asked("needs", {"record": record}, Access(root=root, aws=False, seconds=60))
    assert [row["action"] for row in answer["answer"]][:2] == ["sqs:CreateQueue", "sqs:TagQueue"]


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
        ("evaluate", {"policies": ["iam/deploy.json"], "requests": "x"}, "a list of objects"),
        ("evaluate", {"policies": ["iam/deploy.json"], "requests": {}}, "a list of objects"),
        ("needs", {"record": ["x"]}, "an object or a list of objects"),
        ("explain", {"actions": ["a:B"], "minimum_days": "35"}, "minimum_days is an integer"),
        ("explain", {"actions": ["a:B"], "minimum_days": True}, "minimum_days is an integer"),
        ("explain", {"actions": ["a:B"], "minimum_days": -1}, "minimum_days is an integer"),
        ("explain", {"actions": ["s3:\0"]}, "actions has a NUL character"),
        ("explain", {"actions": ["s3:" + "x" * 200_000]}, "actions has a text of 200,003"),
        ("explain", {"actions": ["\u20ac" * 90_000]}, "100,000 bytes are the most"),
        ("explain", {"actions": ["a:B"] * 1_001}, "1,001 values"),
        ("explain", {"actions": ["s3:\ud800"]}, "half a character"),
        ("explain", {"actions": ["s3:" + "x" * 90_000] * 12}, "name fewer"),
        ("review", {"role_arn": "r", "policy_file": "a\0", "trails": ["t"]}, "a NUL character"),
        ("denials", {}, "text or files: name one of them"),
        ("denials", {"text": "", "files": []}, "text or files: name one of them"),
        ("denials", {"text": "x", "files": ["build.log"]}, "not both"),
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
        asyncio.run(calls.answer(tool, arguments, Access(root=root, aws=False, seconds=60)))
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_option_in_a_value_remains_a_value(root: Path) -> None:
    arguments = {"actions": ["--policy-file=/etc/passwd"]}
    answer = asked("explain", arguments, Access(root=root, aws=False, seconds=60))
    assert answer["exit_code"] == 2
    assert "--policy-file=/etc/passwd" in answer["messages"][0]


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
    without = asked("needs", arguments, Access(root=root, aws=False, seconds=60))
    assert "--aws" in without["messages"][0]
    allowed = asked("needs", arguments, Access(root=root, aws=True, seconds=60))
    assert allowed["exit_code"] == 1
    assert "127.0.0.1" in " ".join(allowed["messages"])


def test_a_call_that_takes_too_long_ends_with_a_sentence(root: Path) -> None:
    answer = asked("explain", {"actions": ["*:*"]}, Access(root=root, aws=False, seconds=0))
    assert answer["exit_code"] == 2
    assert "--time-limit" in answer["messages"][0]


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
    answer = asked("needs", {"record": call}, Access(root, aws=False, seconds=60))
    text = json.dumps(answer, ensure_ascii=False)
    assert answer["exit_code"] == 0
    assert "orders-" in text
    assert not set(name) & set(text)
    assert "Invisible characters in names are written out" in answer["messages"][-1]
    refused = asked("explain", {name: ["s3:GetObject"]}, Access(root, aws=False, seconds=60))
    assert not set(name) & set(json.dumps(refused, ensure_ascii=False))


def test_only_a_log_without_denials_is_no_error() -> None:
    assert not is_error("denials", 1)
    assert is_error("denials", 2)
    assert is_error("needs", 1)
    assert not is_error("review", 3)


def without_aws(root: Path) -> Access:
    return Access(root=root, aws=False, seconds=60)


def test_what_a_draft_lacks_is_in_its_answer(root: Path) -> None:
    arguments = {"templates": ["odd.yaml"], "plans": ["plan.json"], "role_arn": ROLE}
    answer = asked("needs", arguments, without_aws(root))
    lacking = {part["part"]: part["reason"] for part in answer["answer"]["not_drafted"]}
    assert lacking["AWS::Nonsense::Thing"] == "no table lists its permissions"
    assert lacking["aws_nonsense"] == "no table lists its permissions"
    assert "not in the repository" in lacking["AWS::CloudFormation::Stack Part"]
    assert ".terraform/terraform.tfstate" in lacking["the state of plan.json"]
    suggested = {suggestion["action"] for suggestion in answer["answer"]["suggested_actions"]}
    assert "sqs:SetQueueAttributes" in suggested
    assert answer["exit_code"] == 0
    title, last = answer["messages"]
    assert title == answer["answer"]["title"]
    assert last == "The draft lacks what 4 parts may need: see not_drafted."


def test_a_file_of_which_nothing_was_drafted_is_a_failure(root: Path) -> None:
    arguments = {"templates": ["template.yaml"], "plans": ["nothing.json"], "role_arn": ROLE}
    answer = asked("needs", arguments, without_aws(root))
    assert answer["exit_code"] == 1
    assert "Nothing of nothing.json was drafted: it has no resource of AWS." in answer["messages"]
    assert "sqs:CreateQueue" in json.dumps(answer["answer"]["policies"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "arguments", "names"),
    [
        ("needs", {"templates": ["missing.yaml"], "role_arn": ROLE}, "The parameter templates"),
        ("needs", {"record": {"eventName": "x"}}, "record"),
        ("needs", {"trails": ["trail"], "role_arn": "deploy"}, "role_arn"),
        ("explain", {"actions": ["a:B"], "policy_file": "x.json"}, ""),
        ("evaluate", {"policies": ["iam/deploy.json"], "requests": [{}]}, "requests"),
    ],
)
def test_messages_name_no_file_of_the_call_and_the_parameters_of_the_tool(
    root: Path, tool: str, arguments: dict[str, Any], names: str
) -> None:
    answer = asked(tool, arguments, without_aws(root))
    assert answer["exit_code"] in (1, 2)
    text = " ".join(answer["messages"])
    assert names in text
    assert "leastpriv-" not in text
    assert not re.search(r"--|role-arn|policy-file", text), text


def test_a_message_has_the_parameters_of_the_tool() -> None:
    needs = tools()["needs"]
    wrong = "error: The input templates names 'x', which is no file: see --templates, --role-arn."
    right = "error: The parameter templates names 'x', which is no file: see templates, role_arn."
    assert calls.in_words_of_tool(needs, wrong) == right
    value = "There is no action '--role-arn=x' in my-role-arn-file and in trails."
    assert calls.in_words_of_tool(needs, value) == value


def test_the_root_itself_is_a_folder_without_files_of_git(root: Path) -> None:
    (root / ".git/hidden.log").write_text(DENIAL.format(name="PurgeQueue"))
    (root / "deploy.log").write_text(DENIAL.format(name="TagQueue"))
    answer = asked("denials", {"files": ["."]}, without_aws(root))
    (root / "deploy.log").unlink()
    assert [row["action"] for row in answer["answer"]] == ["sqs:TagQueue"]
    needs = asked("needs", {"trails": ["."], "role_arn": ROLE}, without_aws(root))
    assert "sqs:CreateQueue" in {row.get("action") for row in needs["answer"]}


def test_a_long_answer_says_what_is_left_out_and_how_to_see_it() -> None:
    lines = [json.dumps({"action": f"s3:{number}", "text": "x" * 100}) for number in range(1_000)]
    answer = of_rows(tools()["needs"], 0, lines, "")
    row_count = len(answer.answer)
    assert 100 < row_count < 600
    missing_rows = 1_000 - row_count
    narrow = "narrow record, trails, templates, plans or role_arn"
    assert answer.messages == (f"{missing_rows} more rows: {narrow}.",)
    text = of_text(tools()["review"], 0, "a line of text\n" * 10_000, "one\n" * 200)
    assert text.answer.endswith("a line of text\n")
    line_count = text.answer.count("\n")
    assert text.messages[-1].startswith(f"{10_000 - line_count:,} more lines: narrow trails")
    assert len(text.messages) == 52
    failed = of_failure(2, "one\n" * 200 + "the reason\n")
    assert failed.answer is None
    assert len(failed.messages) == 51
    assert failed.messages[-1] == "the reason"
    short = of_rows(tools()["needs"], 0, lines[:3], "said\n")
    assert len(short.answer) == 3
    assert short.messages == ("said",)


def test_content_is_short_and_says_where_the_whole_answer_is() -> None:
    few = {"exit_code": 0, "answer": [{"action": "s3:GetObject"}], "messages": ["said"]}
    assert short_text(few) == 'said\n{"action": "s3:GetObject"}'
    long = short_text({"exit_code": 0, "answer": "x" * 50_000, "messages": ["said"]})
    assert long.startswith("said\nxxx")
    assert len(long) < 2_100
    assert long.endswith("The structured content has the whole answer.")
    assert short_text({"exit_code": 0, "answer": [], "messages": []}) == "The answer is empty."


def test_a_cancelled_call_ends_its_process_which_has_limits(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def remember(*command: Any, **options: Any) -> asyncio.subprocess.Process:
        started.append(await start(*command, **options))
        return started[-1]

    async def cancel() -> tuple[str, int]:
        call = asyncio.create_task(
            calls.answer("denials", {"files": ["endless.log"]}, without_aws(root))
        )
        limits = Path("/proc/self/limits")
        for _ in range(500):
            await asyncio.sleep(0.01)
            if started:
                limits = Path(f"/proc/{started[0].pid}/limits")
                if re.search(r"address space +6442450944", limits.read_text()):
                    break
        text = limits.read_text()
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        return text, await started[0].wait()

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remember)
    with (root / "endless.log").open("wb") as file:
        file.truncate(20 * 2**30)
    text, code = asyncio.run(cancel())
    (root / "endless.log").unlink()
    assert code == -signal.SIGKILL
    assert re.search(r"address space +6442450944", text)
    assert re.search(r"core file size +0", text)


@pytest.mark.slow
def test_four_calls_run_at_once(root: Path) -> None:
    mcp = pytest.importorskip("mcp", reason="THE PACKAGE mcp IS NOT INSTALLED: make installs it")
    server = server_of(root)

    async def ask() -> int:
        most_at_once = 0
        async with mcp.Client(server) as client:
            asked_for = [
                asyncio.create_task(client.call_tool("explain", {"actions": ["s3:*"]}))
                for _ in range(10)
            ]
            while not all(task.done() for task in asked_for):
                await asyncio.sleep(0.02)
                most_at_once = max(most_at_once, children_of_server(root))
            assert [task.result().is_error for task in asked_for] == [False] * 10
        return most_at_once

    assert asyncio.run(ask()) == 4


def children_of_server(root: Path) -> int:
    """Counts the processes that answer calls in the root."""
    number = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            number += b"limit_process()" in command and (folder / "cwd").readlink() == root
    return number


def test_the_client_of_the_package_gets_declarations_and_structured_answers(root: Path) -> None:
    mcp = pytest.importorskip("mcp", reason="THE PACKAGE mcp IS NOT INSTALLED: make installs it")
    server = server_of(root)
    questions = [QUESTIONS[0], QUESTIONS[1], QUESTIONS[6], QUESTIONS[9]]

    async def ask() -> tuple[Any, list[Any]]:
        async with mcp.Client(server) as client:
            tool_list = await client.list_tools()
            answers = [
                await client.call_tool(one_question["tool"], one_question["arguments"])
                for one_question in questions
            ]
            return tool_list, answers

    tool_list, answers = asyncio.run(ask())
    assert [tool.name for tool in tool_list.tools] == list(tools())
    for tool in tool_list.tools:
        assert tool.annotations.read_only_hint
        assert not tool.annotations.open_world_hint
        assert tool.description
    for question, answer in zip(questions, answers, strict=True):
        check(answer.structured_content, question, root)
        assert answer.content[0].text == short_text(answer.structured_content)
        assert answer.is_error == (question.get("exit_code") == 2)


def server_of(root: Path) -> Any:
    """How the client starts the server."""
    from mcp.client.stdio import StdioServerParameters

    return StdioServerParameters(
        command=sys.executable,
        args=["-P", "-c", PROGRAM, "mcp", f"--root={root}"],
        env={"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )
