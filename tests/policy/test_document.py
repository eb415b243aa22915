"""Reading a policy file without loss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.errors import NoPolicyError, PolicyFileError
from leastpriv.models import Condition
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import Request, evaluate

ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}


def of(*statements: object, **elements: object) -> bytes:
    """Writes a policy of these statements."""
    return json.dumps({"Version": "2012-10-17", **elements, "Statement": list(statements)}).encode()


def rejection(raw: bytes, pointer: str = "") -> str:
    """Returns the message with which the bytes are rejected."""
    with pytest.raises(PolicyFileError) as caught:
        parse(raw, "p.json", pointer)
    return str(caught.value)


ODD = {
    "tabs": (
        b'{\n\t"Version": "2012-10-17",\n\t"Statement": [\n\t\t{"Effect": "Deny", "Action":'
        b' "*"}\n\t]\n}'
    ),
    "carriage returns": (
        b'{"Statement": [\r\n{"Effect": "Deny",\r\n "Action": ["a:B", "a:B"]}\r\n]}\r\n'
    ),
    "byte order mark": b'\xef\xbb\xbf{"Statement": []}\n\n',
    "single object": (
        b'{"Statement": {"Effect": "Allow", "NotAction": "iam:*", "NotResource": ["x"]}}'
    ),
    "odd keys": (
        b'{"version":"2012-10-17","STATEMENT":[{"effect":"Allow","action":"*","CONDITION":{"a":{"b":[1e3]}}}]}'
    ),
    "escapes": '{"Statement":[{"Sid":"\\u00e9é\\/","Effect":"Allow","Action":"*"}]} \t\n'.encode(),
    "lone surrogate": (
        b'{"Statement":[{"Sid":"\\ud800","Effect":"Allow","Action":"a:B","Resource":"*"}]}'
    ),
}


@pytest.mark.parametrize("raw", ODD.values(), ids=ODD)
def test_an_irregular_policy_is_preserved_byte_for_byte(raw: bytes) -> None:
    assert parse(raw, "p.json").to_bytes() == raw


blanks = st.text(" \t\r\n", max_size=3)


@st.composite
def rewritten(draw: st.DrawFn, value: object) -> str:
    """Writes a JSON value with white space anywhere."""
    if isinstance(value, dict):
        parts = [
            f"{draw(blanks)}{json.dumps(k)}{draw(blanks)}:{draw(rewritten(v))}"
            for k, v in value.items()
        ]
        return f"{draw(blanks)}{{{','.join(parts)}{draw(blanks)}}}{draw(blanks)}"
    if isinstance(value, list):
        return f"{draw(blanks)}[{','.join(draw(rewritten(v)) for v in value)}{draw(blanks)}]{draw(blanks)}"
    return draw(blanks) + json.dumps(value, ensure_ascii=draw(st.booleans())) + draw(blanks)


POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "Ä",
            "Effect": "Allow",
            "Action": ["s3:Get*", "s3:PutObject"],
            "Resource": "arn:aws:s3:::b/*",
        },
        {
            "Effect": "Deny",
            "NotAction": "iam:*",
            "Resource": ["*"],
            "Condition": {"Bool": {"aws:X": [True, "false"]}},
        },
    ],
}


@given(rewritten(POLICY), st.booleans())
def test_any_layout_is_preserved_byte_for_byte_with_its_meaning(text: str, mark: bool) -> None:
    raw = ("\ufeff" if mark else "").encode() + text.encode()
    document = parse(raw, "p.json")
    assert document.to_bytes() == raw
    assert meaning(document) == meaning(parse(json.dumps(POLICY).encode(), "p.json"))


def meaning(document: Document) -> list[object]:
    """Returns the statements without their lines."""
    fields = (
        "index",
        "sid",
        "effect",
        "actions",
        "not_actions",
        "resources",
        "not_resources",
        "conditions",
    )
    return [[getattr(statement, name) for name in fields] for statement in document.statements]


def test_statements_are_read_as_written() -> None:
    first, second = parse(json.dumps(POLICY, indent=2).encode(), "p.json").statements
    assert (first.index, first.sid, first.effect, first.line) == (0, "Ä", "Allow", 4)
    assert first.actions == ("s3:Get*", "s3:PutObject")
    assert first.resources == ("arn:aws:s3:::b/*",)
    assert first.conditions_readable
    assert (second.index, second.sid, second.actions, second.not_actions) == (1, "", (), ("iam:*",))
    assert second.conditions == (Condition("Bool", "aws:X", ("true", "false")),)


@pytest.mark.parametrize("pointer", ["/PolicyVersion/Document", "/Policy", "/PolicyDocument"])
def test_the_policy_in_the_output_of_the_aws_cli_is_found(pointer: str) -> None:
    wrapped: object = json.loads(of(ALLOW))
    for key in reversed(pointer.split("/")[1:]):
        wrapped = {"Other": 1, key: wrapped}
    document = parse(json.dumps(wrapped).encode(), "p.json")
    assert document.pointer == pointer
    assert document.statements[0].actions == ("s3:GetObject",)


def test_a_pointer_finds_the_policy_anywhere() -> None:
    raw = json.dumps({"a/b": [0, {"~": json.loads(of(ALLOW))}]}).encode()
    assert parse(raw, "p.json", "/a~1b/1/~0").statements[0].actions == ("s3:GetObject",)


@pytest.mark.parametrize(
    ("pointer", "lack"),
    [
        ("/a~1b/1/none", "leads nowhere: /a~1b/1 has no none, only ~; correct the pointer."),
        (
            "/a~1b/7/~0",
            "leads nowhere: /a~1b is a list that has no 7, only 0 to 1; correct the pointer.",
        ),
        (
            "/a~1b/-1/~0",
            "leads nowhere: /a~1b is a list that has no -1, only 0 to 1; correct the pointer.",
        ),
        (
            "/a~1b/0/x",
            "leads nowhere: /a~1b/0 is a number, so that it has no x; correct the pointer.",
        ),
        ("/b/x", "leads nowhere: the top has no b, only a/b; correct the pointer."),
        (
            "/a~1b",
            "there is no policy at /a~1b: it is a list, no policy; the file has p.json#/a~1b/1/~0.",
        ),
        ("/a~1b/1", "it is an object without Statement, only ~; the file has p.json#/a~1b/1/~0."),
    ],
)
def test_the_error_of_an_invalid_pointer_names_the_missing_part_and_the_existing_names(
    pointer: str, lack: str
) -> None:
    raw = json.dumps({"a/b": [0, {"~": json.loads(of(ALLOW))}]}).encode()
    with pytest.raises(NoPolicyError) as caught:
        parse(raw, "p.json", pointer)
    assert str(caught.value).endswith(lack)


def test_error_messages_list_few_and_short_names() -> None:
    message = rejection(
        json.dumps({f"{number:03}{'x' * 99}": 1 for number in range(300)}).encode(), "/y"
    )
    assert len(message) < 1_000
    assert "and 288 more" in message
    assert len(rejection(b"{}", "/" + "y" * 40_000)) < 1_000


def test_the_error_of_a_file_with_policies_lists_their_pointers() -> None:
    role = {
        "AssumeRolePolicyDocument": json.loads(of({**ALLOW, "Principal": "*"})),
        "Policy": json.loads(of(ALLOW)),
    }
    raw = json.dumps({"Resources": {"A/B": role, "Text": {"Fn::Sub": of(ALLOW).decode()}}}).encode()
    assert rejection(raw).endswith(
        "name one inside the file by its pointer: p.json#/Resources/A~1B/Policy,"
        " p.json#/Resources/Text."
    )


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"{}", "name the JSON file of an IAM policy"),
        (b"[1]", "name the JSON file of an IAM policy"),
        (b'"Statement"', "name the JSON file of an IAM policy"),
        (b'{"PolicyVersion": {"Document": "%7B%7D"}}', "name the JSON file of an IAM policy"),
        (
            b'{"Statement": "x"}',
            "p.json: line 1, column 15: Statement must be an object or a list of objects",
        ),
        (b'{"Statement": [\n 1]}', "p.json: line 2, column 2: a statement must be an object"),
        (of({**ALLOW, "Principal": "*"}), "resource-based or trust policy"),
        (of({**ALLOW, "notprincipal": "*"}), "resource-based or trust policy"),
        (of({**ALLOW, "Effect": "allow"}), "neither Allow nor Deny"),
        (of({"Action": "a:B", "Resource": "*"}), "neither Allow nor Deny"),
        (of({**ALLOW, "Action": ["a:B", 1]}), "Action must be a string or a list of strings"),
        (
            of({**ALLOW, "Resource": {"Fn::Sub": "x"}}),
            "Resource must be a string or a list of strings",
        ),
        (of({**ALLOW, "action": "a:B"}), "appears twice, in different case"),
        (of({**ALLOW, "NotAction": "a:B"}), "both Action and NotAction"),
        (of({**ALLOW, "NotResource": "x"}), "both Resource and NotResource"),
        (of({**ALLOW, "Sid": 1}), "Sid must be a string"),
        (of(ALLOW, Version=2012), "Version must be a string"),
        (of(ALLOW, Version="2012-10-18"), "IAM knows no Version 2012-10-18; write 2012-10-17"),
        (
            of({**ALLOW, "Conditions": {}}),
            "IAM knows no Conditions in a statement and rejects the policy; write Cond",
        ),
        (
            of({**ALLOW, "Note": "x"}),
            "IAM knows no Note in a statement and rejects the policy; remove it",
        ),
        (of({**ALLOW, "Action": []}), "Action is empty, which IAM rejects"),
        (of({**ALLOW, "Resource": []}), "Resource is empty, which IAM rejects"),
        (
            of({"Effect": "Deny", "notaction": [], "Resource": "*"}),
            "notaction is empty, which IAM rejects",
        ),
        (
            of({"Effect": "Deny", "Action": "*", "NotResource": []}),
            "NotResource is empty, which IAM rejects",
        ),
        (
            of({"Effect": "Deny", "Resource": "*"}),
            "this statement has no Action, which IAM rejects",
        ),
        (b'{"Statement": [], "Id": 1, "Id": 2}', 'the key "Id" appears twice'),
        (b'{"Statement": []', "a comma or } is missing"),
        (b'{"Statement": []}\xff', "byte 18 is not UTF-8; save the file as UTF-8"),
        ('{"Statement": []}'.encode("utf-16"), "save the file as UTF-8"),
        (b" " * 5_000_000, "too many for a policy file"),
    ],
)
def test_other_content_than_an_identity_based_policy_is_rejected_in_one_sentence_with_the_file(
    raw: bytes, part: str
) -> None:
    message = rejection(raw)
    assert part in message
    assert message.startswith("p.json: ")
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize(
    "condition",
    [
        "x",
        [],
        {"Bool": "x"},
        {"Bool": {"k": {"a": 1}}},
        {"Bool": {"k": [["x"]]}},
        {"Bool": {"k": None}},
    ],
)
def test_an_unreadable_condition_is_kept_and_marked(condition: object) -> None:
    (statement,) = parse(of({**ALLOW, "Condition": condition}), "p.json").statements
    assert not statement.conditions_readable


def test_policy_variables_need_version_2012() -> None:
    assert parse(of(ALLOW), "p.json").statements[0].variables
    assert not parse(of(ALLOW, Version="2008-10-17"), "p.json").statements[0].variables
    document = parse(json.dumps({"Statement": [ALLOW]}).encode(), "p.json")
    assert (document.version, document.statements[0].variables) == ("", False)


def test_documents_are_equal_if_bytes_and_meaning_are_equal() -> None:
    assert parse(of(ALLOW), "a.json") == parse(of(ALLOW), "b.json")
    assert hash(parse(of(ALLOW), "a.json")) == hash(parse(of(ALLOW), "b.json"))
    assert parse(of(ALLOW), "a.json") != parse(of(ALLOW, ALLOW), "a.json")


def test_pseudo_parameters_of_each_account_are_resolved() -> None:
    """Cached results of a document do not apply to the same bytes in another account."""
    raw = json.dumps(
        {"R": {"Statement": {**ALLOW, "Resource": {"Fn::Sub": "arn:aws:a:::${AWS::AccountId}"}}}}
    ).encode()
    first_document, second_document = (
        parse(raw, "t.json", "/R", {"AWS::AccountId": account})
        for account in ("111122223333", "4444")
    )
    assert first_document != second_document
    request = Request("s3:GetObject", "arn:aws:a:::4444")
    assert [
        evaluate(request, [document]).effect for document in (first_document, second_document)
    ] == [
        "implicitDeny",
        "allowed",
    ]


def test_real_policies_are_preserved_byte_for_byte(shared_folder: Path) -> None:
    """Of the sample files only a trust policy and a statement without Effect are rejected."""
    folder = shared_folder / "corpus" / "policies"
    messages = []
    for entry in json.loads((folder / "MANIFEST.json").read_text()):
        raw = (folder / entry["file"]).read_bytes()
        for pointer in entry["policy_paths"] or [""]:
            try:
                assert parse(raw, entry["file"], pointer).to_bytes() == raw
            except PolicyFileError as error:
                messages.append(str(error))
    assert sorted("principal" in message or "Effect" in message for message in messages) == [
        True,
        True,
    ]


def test_documents_of_one_file_differ_by_their_statements_in_hash_too() -> None:
    """Caches of hundreds of targets with one text compare no document with each of the others."""
    document = parse(of(ALLOW, {**ALLOW, "Action": "s3:PutObject"}), "p.json")
    edited = document.with_statements(document.statements[:1])
    assert document == parse(document.raw, "p.json")
    assert hash(document) == hash(parse(document.raw, "p.json"))
    assert document != edited
    assert hash(document) != hash(edited)
