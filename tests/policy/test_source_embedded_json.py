"""Policies inside a JSON string, a quoted YAML string or a YAML block."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.errors import NoPolicyError, PolicyFileError
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import AppendStatement, ReplaceActions, apply_edits

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": 'Ä "😀" \\',
            "Effect": "Allow",
            "Action": ["s3:A", "s3:B", "s3:C"],
            "Resource": "arn:aws:s3:::b/*",
        },
        {"Effect": "Deny", "Action": "iam:*", "Resource": "*"},
    ],
}
WITHOUT_B = json.loads(json.dumps(POLICY).replace('"s3:B", ', ""))
ADDED = {"Effect": "Allow", "Action": "x:Y", "Resource": "arn:aws:s3:::b/${*}"}

indents = st.sampled_from([None, 1, 2, "\t"])


FORMS = {
    "/": ["/", "\\/"],
    '"': ['\\"', "\\u0022"],
    "\\": ["\\\\", "\\u005C"],
    "\n": ["\\n", "\\u000a"],
    "\t": ["\\t", "\\u0009"],
}


def escaped(draw: st.DrawFn, text: str) -> str:
    """Writes `text` as a JSON string in which a drawn character is always or never escaped."""
    plain = {
        char: [char, json.dumps(char)[1:-1], *([f"\\u{ord(char):04x}"] * (char < "\x80"))]
        for char in text
    }
    forms = {char: draw(st.sampled_from(FORMS.get(char, plain[char]))) for char in sorted(plain)}
    return '"' + "".join(forms[char] for char in text) + '"'


@st.composite
def in_json(draw: st.DrawFn) -> tuple[str, str]:
    inner = json.dumps(POLICY, indent=draw(indents), ensure_ascii=draw(st.booleans()))
    return f'{{"resource": {{"r": [{{"policy": {escaped(draw, inner)} , "z": 1}}]}}}}', "main.json"


@st.composite
def in_quotes(draw: st.DrawFn) -> tuple[str, str]:
    inner = json.dumps(POLICY, ensure_ascii=draw(st.booleans()))
    policy_text = draw(
        st.sampled_from(
            ["'" + inner.replace("'", "''") + "'", json.dumps(inner, ensure_ascii=False)]
        )
    )
    return f"resource:\n  r:\n    - policy: {policy_text}  # it is\n      z: 1\n", "main.yaml"


@st.composite
def in_lines(draw: st.DrawFn) -> tuple[str, str]:
    inner = json.dumps(
        POLICY, indent=draw(st.sampled_from([1, 2, 4])), ensure_ascii=draw(st.booleans())
    )
    header, blank = (
        draw(st.sampled_from(["|", "|-", "|+", "| # c"])),
        draw(st.sampled_from(["", "\n"])),
    )
    lines = inner.replace("\n", blank + "\n          ")
    text = f"resource:\n  r:\n    - policy: {header}\n          {lines}\n      z: 1\n"
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"]))), "main.yaml"


wrapped = st.one_of(in_json(), in_quotes(), in_lines())


def opened(text: str, where: str) -> Document:
    return parse(text.encode(), where, "/resource/r/0/policy")


def inner_value(document: Document) -> object:
    """Returns the policy as a parser of the whole file reads it."""
    if document.where.endswith(".json"):
        return json.loads(json.loads(document.raw)["resource"]["r"][0]["policy"])
    from ruamel.yaml import YAML

    return json.loads(
        YAML(typ="safe", pure=True).load(document.raw.decode())["resource"]["r"][0]["policy"]
    )


@given(wrapped)
def test_a_policy_in_a_string_is_preserved_byte_for_byte(made: tuple[str, str]) -> None:
    document = opened(*made)
    assert document.statements[0].actions == ("s3:A", "s3:B", "s3:C")
    assert apply_edits(document, []).to_bytes() == document.to_bytes() == made[0].encode()


@given(wrapped)
def test_an_edit_changes_only_the_string(made: tuple[str, str]) -> None:
    document = opened(*made)
    after = apply_edits(document, [ReplaceActions(0, frozenset({"s3:B"})), AppendStatement(ADDED)])
    value = json.loads(json.dumps(WITHOUT_B))
    value["Statement"].append(ADDED)
    edited_value = inner_value(after)
    assert isinstance(edited_value, dict)
    added = edited_value["Statement"][-1]
    assert (edited_value["Statement"][:-1], added["Effect"]) == (value["Statement"][:-1], "Allow")
    assert after.statements[-1].resources == ("arn:aws:s3:::b/${*}",)
    assert after.raw.decode().endswith(made[0][-8:])


@given(wrapped)
def test_unaffected_text_keeps_its_escapes(made: tuple[str, str]) -> None:
    """Holds between two edits too, for any escaped character."""
    document, outer = opened(*made), made[0]
    embedded = document.source.embedded
    assert embedded
    before_b, after_b = (
        embedded.outer_offset(document.text.index(part)) for part in ('"s3:B"', '"s3:C"')
    )
    edited = apply_edits(document, [ReplaceActions(0, frozenset({"s3:B"}))]).to_bytes().decode()
    assert edited == outer[:before_b] + outer[after_b:]
    iam = embedded.outer_offset(document.text.index('"iam:*"'))
    twice = [
        ReplaceActions(0, frozenset({"s3:B"})),
        ReplaceActions(1, frozenset({"iam:*"}), (("iam:*", ("iam:X",)),)),
    ]
    edited = apply_edits(document, twice).to_bytes().decode()
    assert edited.startswith(outer[:before_b] + outer[after_b:iam])
    assert edited.endswith(
        outer[embedded.outer_offset(document.text.index('"iam:*"') + len('"iam:*"')) :]
    )


def test_statement_lines_are_lines_of_the_file() -> None:
    text = (
        'a:\n  policy: |\n    {\n      "Statement": [\n        {"Effect": "Deny", "Action": "*"}\n '
        "     ]\n    }\n"
    )
    document = parse(text.encode(), "x.yml", "/a/policy")
    assert document.statements[0].line == 5
    with pytest.raises(PolicyFileError, match=r"^x\.yml: line 5, column 9: the Effect"):
        parse(text.replace("Deny", "deny").encode(), "x.yml", "/a/policy")
    in_one = (
        '{\n "p": "{\\n\\"Statement\\": [{\\"Effect\\": \\"Deny\\", \\"Action\\": \\"*\\"}]}"\n}'
    )
    assert parse(in_one.encode(), "x.json", "/p").statements[0].line == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'p: "{\\x22Statement\\x22: []}"\n',
            "is a string of a form that cannot be edited in place",
        ),
        (
            'p: "{\n  \\"Statement\\": []}"\n',
            "is a string of a form that cannot be edited in place",
        ),
        ('p: >\n  {"Statement": []}\n', "is a string of a form that cannot be edited in place"),
        ("p: '{\"Statement\": [}'\n", "the string at /p is not JSON"),
    ],
)
def test_an_unsupported_string_is_an_error(text: str, message: str) -> None:
    with pytest.raises(PolicyFileError, match=message):
        parse(text.encode(), "x.yaml", "/p")


@pytest.mark.parametrize("text", ["p: nothing\n", "p: '{\"a\": 1}'\n", "p: 1\n"])
def test_a_string_without_a_policy_is_an_error(text: str) -> None:
    with pytest.raises(NoPolicyError, match="there is no policy at /p"):
        parse(text.encode(), "x.yaml", "/p")


def test_a_policy_under_fn_sub_keeps_its_variables_apart_from_the_template() -> None:
    text = (
        'p: !Sub |\n  {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["a:B",'
        ' "a:C"],\n   "Resource": "arn:aws:s3:::${Bucket}/${!aws:username}/*"}]}\n'
    )
    document = parse(text.encode(), "x.yaml", "/p")
    assert document.statements[0].resources == ("arn:aws:s3:::${Bucket}/${aws:username}/*",)
    after = apply_edits(document, [ReplaceActions(0, frozenset({"a:C"})), AppendStatement(ADDED)])
    assert after.statements[1].resources == ("arn:aws:s3:::b/${*}",)
    assert '"arn:aws:s3:::b/${!*}"' in after.raw.decode()
    assert '"arn:aws:s3:::${Bucket}/${!aws:username}/*"' in after.raw.decode()
