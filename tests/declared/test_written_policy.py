"""The promises of needs from a policy that another tool wrote from source code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leastpriv.declared.written_policy import read_written_policy
from leastpriv.errors import InputError
from leastpriv.models import Permission
from tests.fakes.command import leastpriv

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
SEND = {"Effect": "Allow", "Action": ["sqs:SendMessage"], "Resource": [QUEUE]}


def policy(*statements: object) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def printed(*statements: object, **more: Any) -> bytes:
    """What iam-policy-autopilot prints."""
    entry = {"Policy": policy(*statements), "PolicyType": "Identity"}
    return json.dumps({"Policies": [entry], **more}).encode()


@pytest.mark.parametrize("raw", [printed(SEND), json.dumps(policy(SEND)).encode()])
def test_what_the_policy_allows_is_needed_with_its_origin(raw: bytes) -> None:
    declaration = read_written_policy(raw, "autopilot.json")
    [need] = declaration.calls
    assert need.permission == Permission("sqs:SendMessage", QUEUE)
    assert need.because == "the policy autopilot.json"
    assert not declaration.unknown


def test_a_policy_of_a_resource_is_no_need_of_the_role() -> None:
    entry = {"Policy": policy(SEND), "PolicyType": "Resource"}
    raw = json.dumps({"Policies": [entry]}).encode()
    assert read_written_policy(raw, "p.json").calls == ()


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        ({**SEND, "Action": "*"}, "* of"),
        ({**SEND, "Action": "ec2:*"}, "ec2:* of"),
        ({**SEND, "Action": "sqs:NoSuchAction"}, "sqs:NoSuchAction of"),
        ({**SEND, "Effect": "Deny"}, "a statement of"),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, "a statement of"),
    ],
)
def test_what_says_nothing_of_the_program_is_named(statement: object, part: str) -> None:
    declaration = read_written_policy(json.dumps(policy(statement)).encode(), "p.json")
    assert declaration.calls == ()
    [name] = declaration.unknown
    assert name.startswith(part)


@pytest.mark.parametrize("raw", [b"no JSON", b"[]", b'{"Resources": {}}'])
def test_another_file_is_refused_in_one_sentence(raw: bytes) -> None:
    with pytest.raises(InputError, match=r"The input declared names 'p\.json'"):
        read_written_policy(raw, "p.json")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*more: str) -> Any:
    return leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", "ci.json", "--aws-regions", "eu-west-1",
        "--declared", "autopilot.json", *more,
    )  # fmt: skip


def test_a_first_draft_has_the_needs_and_holds_sensitive_ones_on_any_resource_back(
    place: Path,
) -> None:
    secret = {**SEND, "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
    Path("autopilot.json").write_bytes(printed(SEND, secret))
    command = run("--output-dir", "out")
    assert command.code == 0
    drafted = json.loads(Path("out/policy.json").read_text())
    assert [statement["Action"] for statement in drafted["Statement"]] == [["sqs:SendMessage"]]
    text = Path("out/pull-request.md").read_text()
    assert "the policy autopilot.json" in text
    assert "secretsmanager:GetSecretValue" in text


def test_a_check_says_what_an_existing_policy_lacks(place: Path) -> None:
    Path("autopilot.json").write_bytes(
        printed({**SEND, "Action": ["sqs:SendMessage", "sqs:DeleteMessage"]})
    )
    Path("ci.json").write_text(json.dumps(policy(SEND)))
    command = run("--mode", "check")
    assert command.code == 3
    assert "`sqs:DeleteMessage`" in command.out
    Path("autopilot.json").write_bytes(printed(SEND))
    assert run("--mode", "check").code == 0
