"""Edits of a policy file."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.errors import PolicyFileError
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import (
    AppendActions,
    AppendStatement,
    DropStatement,
    Edit,
    ReplaceActions,
    ReplaceResources,
    apply_edits,
    create_policy,
    edited_for_evaluation,
)
from leastpriv.policy.syntax_tree import json_string

NEW = {
    "Resource": ["arn:aws:s3:::b"],
    "Action": ["s3:ListBucket"],
    "Sid": "New",
    "Condition": {"StringEquals": {"aws:X": "y"}},
    "Effect": "Allow",
}


def edited(text: str, *edits: Edit) -> str:
    """Applies edits to a policy given as text."""
    return apply_edits(parse(text.encode(), "p.json"), edits).to_bytes().decode()


def remove(statement: int, *actions: str) -> ReplaceActions:
    """Removes actions without replacement."""
    return ReplaceActions(statement, frozenset(actions))


def replace(statement: int, old: str, *new: str) -> ReplaceActions:
    """Replaces one action by others."""
    return ReplaceActions(statement, frozenset({old}), ((old, new),))


_ACTIONS = ("s3:GetObject", "s3:Get*", "s3:*", "sqs:SendMessage", "*")
_RESOURCES = ("*", "arn:aws:s3:::a", "arn:aws:s3:::b/*", "arn:aws:s3:::${aws:username}")


@st.composite
def documents_with_edits(draw: st.DrawFn) -> tuple[Document, list[Edit]]:
    """Draws a policy and edits of some of its statements."""
    statements: list[dict[str, object]] = []
    edits: list[Edit] = []
    for index in range(draw(st.integers(1, 5))):
        actions = draw(st.lists(st.sampled_from(_ACTIONS), min_size=1, max_size=3, unique=True))
        resources = draw(st.lists(st.sampled_from(_RESOURCES), min_size=1, max_size=2, unique=True))
        statements.append({"Effect": "Allow", "Action": actions, "Resource": resources})
        match draw(st.sampled_from(("none", "drop", "append", "actions", "resources"))):
            case "drop":
                edits.append(DropStatement(index))
            case "append":
                edits.append(AppendActions(index, (draw(st.sampled_from(_ACTIONS)),)))
            case "actions":
                gone = draw(st.sets(st.sampled_from(actions), min_size=1))
                edits.append(remove(index, *gone))
            case "resources":
                edits.append(ReplaceResources(index, frozenset(resources), ("arn:aws:s3:::z",)))
            case _:
                continue
    if draw(st.booleans()):
        edits.append(AppendStatement(NEW))
    text = json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)
    return parse(text.encode(), "p.json"), draw(st.permutations(edits))


@given(documents_with_edits())
def test_a_policy_edited_for_evaluation_has_the_statements_of_the_written_one(
    drawn: tuple[Document, list[Edit]],
) -> None:
    document, edits = drawn
    parsed_again = apply_edits(document, edits).statements
    evaluated = edited_for_evaluation(document, edits).statements
    assert [statement.meaning for statement in evaluated] == [
        statement.meaning for statement in parsed_again
    ]
    assert [statement.index for statement in evaluated] == [*range(len(parsed_again))]


TALL = """{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "One",
      "Effect": "Allow",
      "Action": [
        "s3:A",
        "s3:B",
        "s3:C"
      ],
      "Resource": "*"
    },
    {
      "Effect": "Allow",
      "Action": "ec2:*",
      "Resource": "*"
    }
  ]
}
"""


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (remove(0, "s3:A"), '        "s3:A",\n', ""),
        (remove(0, "s3:B"), '        "s3:B",\n', ""),
        (remove(0, "s3:C"), '"s3:B",\n        "s3:C"\n', '"s3:B"\n'),
        (remove(0, "s3:B", "s3:C"), '"s3:A",\n        "s3:B",\n        "s3:C"\n', '"s3:A"\n'),
        (
            replace(0, "s3:B", "s3:BB", "s3:BC"),
            '        "s3:B",\n',
            '        "s3:BB",\n        "s3:BC",\n',
        ),
        (
            replace(0, "s3:A", "s3:X", "s3:BB"),
            '"s3:A",\n        "s3:B",\n        "s3:C"\n',
            '"s3:B",\n        "s3:BB",\n        "s3:C",\n        "s3:X"\n',
        ),
        (AppendActions(0, ("s3:0",)), '        "s3:A",\n', '        "s3:0",\n        "s3:A",\n'),
        (replace(0, "s3:C", "s3:X"), '"s3:C"\n', '"s3:X"\n'),
        (AppendActions(0, ("s3:X",)), '"s3:C"\n', '"s3:C",\n        "s3:X"\n'),
        (replace(1, "ec2:*", "ec2:RunInstances"), '"ec2:*"', '"ec2:RunInstances"'),
        (
            replace(1, "ec2:*", "ec2:A", "ec2:B"),
            '"Action": "ec2:*"',
            '"Action": [\n        "ec2:A",\n        "ec2:B"\n      ]',
        ),
        (
            AppendActions(1, ("s3:X",)),
            '"Action": "ec2:*"',
            '"Action": [\n        "ec2:*",\n        "s3:X"\n      ]',
        ),
        (
            DropStatement(1),
            (
                '},\n    {\n      "Effect": "Allow",\n      "Action": "ec2:*",\n      "Resource":'
                ' "*"\n    }'
            ),
            "}",
        ),
        (
            remove(1, "ec2:*"),
            (
                '},\n    {\n      "Effect": "Allow",\n      "Action": "ec2:*",\n      "Resource":'
                ' "*"\n    }'
            ),
            "}",
        ),
        (
            AppendStatement(NEW),
            '      "Action": "ec2:*",\n      "Resource": "*"\n    }\n',
            (
                '      "Action": "ec2:*",\n      "Resource": "*"\n    },\n    {\n      "Sid":'
                ' "New",\n      "Effect": "Allow",\n      "Action": "s3:ListBucket",\n     '
                ' "Resource": "arn:aws:s3:::b",\n      "Condition": {\n        "StringEquals": {\n '
                '         "aws:X": "y"\n        }\n      }\n    }\n'
            ),
        ),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("unit", ["  ", "\t", "    "])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_list_with_one_entry_a_line_keeps_its_layout(
    edit: Edit, old: str, new: str, newline: str, unit: str, wrapped: bool
) -> None:
    """Holds for any indentation, line end and AWS CLI wrapper."""
    wrapper = '{\n  "PolicyName": "x",\n  "PolicyDocument": ', "}\n"

    def written(text: str) -> str:
        inner = text.rstrip().replace("\n", "\n  ") + "\n" if wrapped else text
        text_of_file = wrapper[0] + inner + wrapper[1] if wrapped else text
        return text_of_file.replace("  ", unit).replace("\n", newline)

    assert TALL.count(old) == 1
    assert edited(written(TALL), edit) == written(TALL.replace(old, new))


@pytest.mark.parametrize(
    ("before", "edit", "after"),
    [
        ('["a:A", "a:B", "a:C"]', remove(0, "a:A"), '["a:B", "a:C"]'),
        ('["a:A", "a:B", "a:C"]', remove(0, "a:B"), '["a:A", "a:C"]'),
        ('["a:A", "a:B", "a:C"]', remove(0, "a:C"), '["a:A", "a:B"]'),
        ('["a:A","a:B"]', replace(0, "a:A", "a:X", "a:Y"), '["a:X","a:Y","a:B"]'),
        ('[ "a:A" ]', AppendActions(0, ("a:B",)), '[ "a:A", "a:B" ]'),
        ('[ "a:A" , "a:B" ]', AppendActions(0, ("a:C",)), '[ "a:A" , "a:B" , "a:C" ]'),
        ('["a:A", "a:B", "a:A"]', remove(0, "a:A"), '["a:B"]'),
        (
            '["a:A", "a:B"]',
            ReplaceActions(0, frozenset(), (("a:A", ("a:X",)),)),
            '["a:A", "a:X", "a:B"]',
        ),
        ('["a:*"]', replace(0, "a:*", "a:B", "a:B", "A:b"), '["a:B"]'),
        ('["a:*", "a:B"]', replace(0, "a:*", "a:b", "a:C"), '["a:C", "a:B"]'),
        ('"a:*"', replace(0, "a:*", "a:A", "a:B"), '["a:A", "a:B"]'),
        ('"a:*"', replace(0, "a:*", "a:A"), '"a:A"'),
        ('"a:\\u002a"', ReplaceActions(0, frozenset()), '"a:\\u002a"'),
        ('"a:\\u002a"', AppendActions(0, ("A:*",)), '"a:\\u002a"'),
    ],
)
def test_a_list_on_one_line_keeps_its_layout(before: str, edit: Edit, after: str) -> None:
    policy_form = (
        '{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": {}, "Resource":'
        ' "*"}}]}}'
    )
    assert edited(policy_form.format(before), edit) == policy_form.format(after)


WRAPPED = """{"Statement": [{
    "Effect": "Allow",
    "Action": ["a:A", "a:B",
               "b:A", "b:B",

               "c:A"],
    "Resource": "*"
}, {
    "Effect": "Deny",
    "Action": "x:Y",
    "Resource": "*"
}]}"""


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (remove(0, "a:B"), '["a:A", "a:B",', '["a:A",'),
        (remove(0, "b:A"), '"b:A", "b:B"', '"b:B"'),
        (remove(0, "b:B"), '"b:A", "b:B"', '"b:A"'),
        (remove(0, "b:A", "b:B"), '               "b:A", "b:B",\n', ""),
        (AppendActions(0, ("c:B",)), '"c:A"]', '"c:A",\n               "c:B"]'),
        (remove(0, "c:A"), '"b:B",\n\n               "c:A"', '"b:B"'),
        (
            DropStatement(1),
            '}, {\n    "Effect": "Deny",\n    "Action": "x:Y",\n    "Resource": "*"\n}',
            "}",
        ),
        (
            AppendStatement({"Effect": "Allow", "Action": "q:R", "Resource": ["*", "x"]}),
            '"x:Y",\n    "Resource": "*"\n}',
            (
                '"x:Y",\n    "Resource": "*"\n}, {\n    "Effect": "Allow",\n    "Action": "q:R",\n'
                '    "Resource": [\n        "*",\n        "x"\n    ]\n}'
            ),
        ),
    ],
)
def test_an_irregular_layout_is_preserved(edit: Edit, old: str, new: str) -> None:
    assert WRAPPED.count(old) == 1
    assert edited(WRAPPED, edit) == WRAPPED.replace(old, new)


def test_leading_commas_are_preserved() -> None:
    text = '{"Statement": [{"Effect": "Allow", "Action": [\n    "a:A"\n  , "a:B"\n  , "a:C"\n  ]}]}'
    assert edited(text, remove(0, "a:B")) == text.replace('  , "a:B"\n', "")
    assert edited(text, AppendActions(0, ("a:D",))) == text.replace('"a:C"\n', '"a:C"\n  , "a:D"\n')


def test_dropping_every_statement_leaves_an_empty_list() -> None:
    assert json.loads(edited(TALL, DropStatement(0), remove(1, "ec2:*")))["Statement"] == []
    assert '\n  "Statement": []\n}' in edited(TALL, DropStatement(0), DropStatement(1))
    single = '{"Statement": {"Effect": "Allow", "Action": "a:B", "Resource": "*"}}'
    assert edited(single, DropStatement(0)) == '{"Statement": []}'


def test_a_single_statement_object_becomes_a_list_when_another_is_added() -> None:
    single = (
        '{\n "Statement": {\n  "Effect": "Allow",\n  "Action": "a:B",\n  "Resource": "*"\n }\n}'
    )
    added = {"Effect": "Allow", "Action": "c:D", "Resource": "*"}
    assert (
        edited(single, AppendStatement(added))
        == '{\n "Statement": [{\n  "Effect": "Allow",\n  "Action": "a:B",\n  "Resource": "*"\n'
        " }, {\n"
        '  "Effect": "Allow",\n  "Action": "c:D",\n  "Resource": "*"\n }]\n}'
    )
    assert (
        edited(single, AppendStatement(added), DropStatement(0))
        == '{\n "Statement": [\n  {\n   "Effect": "Allow",\n   "Action": "c:D",\n   "Resource":'
        ' "*"\n  }\n ]\n}'
    )
    assert edited(single, remove(0, "a:B"), AppendStatement(added)) == edited(
        single, AppendStatement(added), DropStatement(0)
    )


def test_a_statement_is_appended_in_the_style_of_the_file() -> None:
    added = AppendStatement({"Effect": "Allow", "Action": ["c:D"], "Resource": "r"})
    flat = '{"Statement":[\n  { "Effect" : "Allow", "Action" : ["a:B"], "Resource" : "*" }\n]}\n'
    assert edited(flat, added) == flat.replace(
        '"*" }\n', '"*" },\n  { "Effect" : "Allow", "Action" : ["c:D"], "Resource" : "r" }\n'
    )
    tiny = '{"Statement":[{"Effect":"Allow","Action":["a:B"],"Resource":["*"]}]}'
    assert (
        edited(tiny, added) == tiny[:-2] + ',{"Effect":"Allow","Action":["c:D"],"Resource":["r"]}]}'
    )


def test_unknown_keys_and_a_byte_order_mark_are_preserved() -> None:
    condition = '"condition": {"Null": {"a:B": [1.0, null]}}'
    text = (
        f'\ufeff{{"STATEMENT": [{{"effect": "Allow", "ACTION": ["a:A", "a:B"], {condition}}}], "x":'
        " {}}"
    )
    assert edited(text, remove(0, "a:B")) == text.replace(', "a:B"', "")


@pytest.mark.parametrize("version", ['"Version": "2008-10-17", ', ""])
def test_an_escape_is_not_appended_to_a_version_that_reads_it_as_plain_text(version: str) -> None:
    text = "{" + version + '"Statement": []}'
    for resource in ("b/${*}", ["x", "b/${*}"]):
        added = AppendStatement({"Effect": "Allow", "Action": "a:B", "Resource": resource})
        with pytest.raises(
            PolicyFileError, match=r'^p\.json: .*"Version": "2012-10-17"; set that version first\.$'
        ):
            edited(text, added)
        assert "b/${*}" in edited('{"Version": "2012-10-17", "Statement": []}', added)
    statement_text = '{"Effect": "Allow", "Action": "a:B", "Resource": "x"}'
    statements = f'{statement_text}, {{"Effect": "Allow", "Action": "c:D", "Resource": "${{y}}"}}'
    text = text.replace("[]", f"[{statements}]")
    with pytest.raises(PolicyFileError, match="set that version first"):
        edited(text, ReplaceResources(0, frozenset(), ("b/${*}",)))
    # Existing entries keep their meaning next to another resource.
    assert '["x", "${y}"]' in edited(text, ReplaceResources(0, frozenset(), ("${y}",)))


@pytest.mark.parametrize(
    "edit",
    [
        remove(0, "s3:Z"),
        replace(0, "s3:Z", "s3:Y"),
        remove(2, "s3:A"),
        DropStatement(-1),
        AppendActions(2, ("s3:A",)),
    ],
)
def test_an_edit_of_a_missing_entry_is_an_error(edit: Edit) -> None:
    with pytest.raises(ValueError, match=r"the policy has no statement|has no action"):
        edited(TALL, edit)


def test_a_not_action_list_is_not_edited() -> None:
    with pytest.raises(ValueError, match="has no Action"):
        edited('{"Statement": {"Effect": "Allow", "NotAction": "a:B"}}', AppendActions(0, ("a:C",)))


def test_a_new_policy_has_the_usual_form() -> None:
    assert (
        create_policy([NEW]).decode()
        == '{\n  "Version": "2012-10-17",\n  "Statement": [\n    {\n      "Sid": "New",\n     '
        ' "Effect": "Allow",\n      "Action": [\n        "s3:ListBucket"\n      ],\n     '
        ' "Resource": [\n        "arn:aws:s3:::b"\n      ],\n      "Condition": {\n       '
        ' "StringEquals": {\n          "aws:X": "y"\n        }\n      }\n    }\n  ]\n}\n'
    )
    assert create_policy([]) == b'{\n  "Version": "2012-10-17",\n  "Statement": []\n}\n'


ACTIONS = [f"{service}:{name}" for service in "ab" for name in ("*", "A", "B", "C*", "Ä\u2028")]
lists = st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=5)
statements = st.fixed_dictionaries(
    {
        "Effect": st.just("Allow"),
        "Action": lists | st.sampled_from(ACTIONS),
        "Resource": st.just(["*", "x"]),
    }
)
# Two actions or more, so that any style writes them as a list.
appended_statements = st.fixed_dictionaries(
    {
        "Effect": st.just("Allow"),
        "Action": st.lists(st.sampled_from(ACTIONS), min_size=2, max_size=3),
        "Resource": st.just(["*", "x"]),
    }
)
policies = st.lists(statements, min_size=1, max_size=4)
Policy = Sequence[Mapping[str, str | list[str]]]


def actions_of(statement: Mapping[str, str | list[str]]) -> list[str]:
    """Returns the Action of a statement as a list."""
    action = statement["Action"]
    return [action] if isinstance(action, str) else action


@st.composite
def edits_of(draw: st.DrawFn, policy: Policy) -> list[Edit]:
    """Draws any edits that a policy allows."""
    edits: list[Edit] = []
    for index, statement in enumerate(policy):
        present = st.sampled_from(actions_of(statement))
        if draw(st.booleans()):
            insert = draw(st.lists(st.tuples(present, lists.map(tuple)), max_size=2))
            edits.append(ReplaceActions(index, draw(st.frozensets(present)), tuple(insert)))
        if draw(st.integers(0, 4)) == 0:
            edits.append(DropStatement(index))
        if draw(st.integers(0, 3)) == 0:
            edits.append(AppendActions(index, tuple(draw(lists))))
    return edits + [AppendStatement(new) for new in draw(st.lists(appended_statements, max_size=2))]


def expected_actions(before: list[str], edits: Sequence[Edit]) -> list[str]:
    """Applies the edits of one statement to its list."""
    replacements = [edit for edit in edits if isinstance(edit, ReplaceActions)]
    removed = {action for edit in replacements for action in edit.remove}
    lower_actions = {action.lower() for action in before if action not in removed}
    after: list[str] = []
    for index, action in enumerate(before):
        after += [] if action in removed else [action]
        new = [
            added
            for edit in replacements
            for target, group in edit.insert
            if target == action
            for added in group
        ]
        new = new if before.index(action) == index else []
        if index == len(before) - 1:
            new += [
                added for edit in edits if isinstance(edit, AppendActions) for added in edit.actions
            ]
        for added in new:
            after += [] if added.lower() in lower_actions else [added]
            lower_actions.add(added.lower())
    orders = (str.casefold, str) if len(set(before)) > 2 else ()
    order = next((key for key in orders if before == sorted(before, key=key)), None)
    return sorted(after, key=order) if order else after


def expected(policy: Policy, edits: Sequence[Edit]) -> list[dict[str, object]]:
    """Applies the edits to the value instead of the text."""
    expected_statements: list[dict[str, object]] = []
    for index, statement in enumerate(policy):
        own_edits = [
            edit
            for edit in edits
            if not isinstance(edit, AppendStatement) and edit.statement == index
        ]
        actions = expected_actions(actions_of(statement), own_edits)
        bare = isinstance(statement["Action"], str) and len(actions) == 1
        if actions and not any(isinstance(edit, DropStatement) for edit in own_edits):
            expected_statements.append({**statement, "Action": actions[0] if bare else actions})
    appended = [edit.statement for edit in edits if isinstance(edit, AppendStatement)]
    return expected_statements + [
        {key: new[key] for key in ("Effect", "Action", "Resource")} for new in appended
    ]


@given(st.data(), policies, st.sampled_from([1, 2, 4, "\t"]))
def test_edits_of_a_regular_file_equal_a_new_file(
    data: st.DataObject, policy: Policy, indent: int | str
) -> None:
    """A regular file has only one layout, so equality shows that no other line differs."""

    def written(value: object) -> str:
        text = json.dumps(
            {"Version": "2012-10-17", "Statement": value}, indent=indent, ensure_ascii=False
        )
        return re.sub(
            r'"[^"\\]*(?:\\.[^"\\]*)*"', lambda found: json_string(json.loads(found[0])), text
        )

    edits = data.draw(edits_of(policy))
    assert edited(written(policy), *edits) == written(expected(policy, edits))


blanks = st.sampled_from(["", " ", "  ", "\n", "\n\n", "\r\n    ", "\t"])


@st.composite
def scattered(draw: st.DrawFn, value: object) -> str:
    """Writes a JSON value with white space anywhere."""
    if isinstance(value, dict):
        parts = [
            f"{draw(blanks)}{json.dumps(k)}{draw(blanks)}:{draw(scattered(v))}"
            for k, v in value.items()
        ]
        return f"{draw(blanks)}{{{','.join(parts)}{draw(blanks)}}}{draw(blanks)}"
    if isinstance(value, list):
        return f"{draw(blanks)}[{','.join(draw(scattered(v)) for v in value)}{draw(blanks)}]{draw(blanks)}"
    return draw(blanks) + json.dumps(value) + draw(blanks)


@given(st.data(), policies)
def test_edits_preserve_meaning_of_irregular_files(data: st.DataObject, policy: Policy) -> None:
    text = data.draw(scattered({"Version": "2012-10-17", "Statement": policy}))
    edits = data.draw(edits_of(policy))
    assert json.loads(edited(text, *edits))["Statement"] == expected(policy, edits)
    assert edited(text) == text


def changed_lines(before: Document, after: Document) -> list[str]:
    """Returns the lines that a diff shows as removed or added."""
    difference = difflib.ndiff(before.text.splitlines(), after.text.splitlines())
    return [line for line in difference if line[0] in "-+"]


def test_in_real_policies_removing_an_action_touches_only_its_line_and_the_comma_before(
    shared_folder: Path,
) -> None:
    folder = shared_folder / "corpus" / "policies"
    tried = 0
    for entry in json.loads((folder / "MANIFEST.json").read_text()):
        try:
            document = parse((folder / entry["file"]).read_bytes(), entry["file"])
        except PolicyFileError:
            continue
        for statement in document.statements:
            if len(set(statement.actions)) < 2:
                continue
            tried += 1
            action = statement.actions[-1]
            after = apply_edits(document, [ReplaceActions(statement.index, frozenset({action}))])
            remaining = tuple(entry for entry in statement.actions if entry != action)
            assert after.statements[statement.index].actions == remaining
            assert len(changed_lines(document, after)) <= 2 + statement.actions.count(action)
    assert tried > 100


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (
            "p.json",
            (
                '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "a:B",'
                ' "Resource": "*"}]}'
            ),
        ),
        (
            "p.yaml",
            (
                "Version: '2012-10-17'\nStatement:\n  - Effect: Allow\n    Action:\n      - a:B\n  "
                "  Resource: '*'\n"
            ),
        ),
    ],
)
def test_names_outside_latin_1_are_written_as_escapes(where: str, text: str) -> None:
    name = "arn:aws:s3:::orders/\u4e2d\u6587"
    statement = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [name]}
    edited_document = apply_edits(parse(text.encode(), where), [AppendStatement(statement)])
    assert "\\u4e2d\\u6587" in edited_document.to_bytes().decode("ascii")
    assert edited_document.statements[-1].resources == (name,)
