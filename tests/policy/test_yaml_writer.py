"""Edits of policies in YAML change only the necessary lines."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

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
    ReplaceNotAction,
    ReplaceResources,
    apply_edits,
)
from leastpriv.policy.syntax_tree import json_value

POINTER = "/Resources/DeployRole/Properties/Policies/0/PolicyDocument"

TEMPLATE = """AWSTemplateFormatVersion: '2010-09-09'
# deploys
Resources:
  DeployRole:
    Type: AWS::IAM::Role
    Properties:
      Policies:
        - PolicyName: deploy
          PolicyDocument:
            Version: 2012-10-17
            Statement:   # all of it
              # buckets
              - Sid: Buckets
                Effect: Allow
                Action:
                  - s3:GetObject  # read
                  # write
                  - s3:PutObject
                  - 's3:List*'
                Resource: !Sub "arn:${AWS::Partition}:s3:::${Bucket}/*"

              # roles
              - Effect: Allow
                Action: iam:PassRole
                Resource: !GetAtt Other.Arn
                Condition:
                  StringEquals:
                    iam:PassedToService: lambda.amazonaws.com

              # machines
              - {Effect: Allow, Action: ["ec2:Describe*", "ec2:RunInstances"], Resource: "*"}
  Bucket:
    Type: AWS::S3::Bucket  # the last line
"""

NEW = {
    "Resource": ["arn:aws:sqs:eu-west-1:111122223333:q", "arn:aws:s3:::b/${*}"],
    "Action": ["sqs:SendMessage"],
    "Sid": "New",
    "Condition": {"StringEquals": {"aws:X": "y"}, "Bool": {"aws:SecureTransport": True}},
    "Effect": "Allow",
}
NEW_LINES = """              - Sid: New
                Effect: Allow
                Action: sqs:SendMessage
                Resource:
                  - arn:aws:sqs:eu-west-1:111122223333:q
                  - 'arn:aws:s3:::b/${*}'
                Condition:
                  StringEquals:
                    aws:X: 'y'
                  Bool:
                    aws:SecureTransport: true
"""


def edited(text: str, *edits: Edit, pointer: str = POINTER) -> str:
    """Applies edits to a template given as text."""
    return apply_edits(parse(text.encode(), "t.yaml", pointer), edits).to_bytes().decode()


def remove(statement: int, *actions: str) -> ReplaceActions:
    """Removes actions without replacement."""
    return ReplaceActions(statement, frozenset(actions))


def replace(statement: int, old: str, *new: str) -> ReplaceActions:
    """Replaces one action by others."""
    return ReplaceActions(statement, frozenset({old}), ((old, new),))


MACHINES = (
    '              - {Effect: Allow, Action: ["ec2:Describe*", "ec2:RunInstances"], Resource:'
    ' "*"}\n'
)
ROLES = """              - Effect: Allow
                Action: iam:PassRole
                Resource: !GetAtt Other.Arn
                Condition:
                  StringEquals:
                    iam:PassedToService: lambda.amazonaws.com

"""


@pytest.mark.parametrize(
    ("edits", "old", "new"),
    [
        ([remove(0, "s3:GetObject")], "                  - s3:GetObject  # read\n", ""),
        ([remove(0, "s3:PutObject")], "                  - s3:PutObject\n", ""),
        ([remove(0, "s3:List*")], "                  - 's3:List*'\n", ""),
        (
            [replace(0, "s3:List*", "s3:ListA", "s3:ListB")],
            "- 's3:List*'\n",
            "- s3:ListA\n                  - s3:ListB\n",
        ),
        (
            [AppendActions(0, ("s3:X",))],
            "- 's3:List*'\n",
            "- 's3:List*'\n                  - s3:X\n",
        ),
        (
            [replace(1, "iam:PassRole", "iam:GetRole")],
            "Action: iam:PassRole",
            "Action: iam:GetRole",
        ),
        (
            [AppendActions(1, ("iam:GetRole",))],
            "Action: iam:PassRole\n",
            "Action:\n                  - iam:PassRole\n                  - iam:GetRole\n",
        ),
        (
            [remove(2, "ec2:RunInstances")],
            '["ec2:Describe*", "ec2:RunInstances"]',
            '["ec2:Describe*"]',
        ),
        ([AppendActions(2, ("ec2:X",))], '"ec2:RunInstances"]', '"ec2:RunInstances", "ec2:X"]'),
        ([DropStatement(1)], ROLES, "\n"),
        ([remove(1, "iam:PassRole")], ROLES, "\n"),
        ([DropStatement(2)], MACHINES, ""),
        ([AppendStatement(NEW)], MACHINES, MACHINES + "\n" + NEW_LINES),
        ([DropStatement(2), AppendStatement(NEW)], MACHINES, NEW_LINES),
        (
            [ReplaceResources(1, frozenset(), ("arn:aws:iam::1:role/r",))],
            "Resource: !GetAtt Other.Arn\n",
            (
                "Resource:\n                  - !GetAtt Other.Arn\n                  -"
                " arn:aws:iam::1:role/r\n"
            ),
        ),
        (
            [ReplaceResources(2, frozenset({"*"}), ("arn:aws:ec2:x",))],
            'Resource: "*"',
            'Resource: "arn:aws:ec2:x"',
        ),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_an_edit_changes_only_necessary_lines_and_keeps_comments_and_short_tags(
    edits: Sequence[Edit], old: str, new: str, newline: str, mark: str
) -> None:
    def written(text: str) -> str:
        return mark + text.replace("\n", newline)

    assert TEMPLATE.count(old) == 1
    assert edited(written(TEMPLATE), *edits) == written(TEMPLATE.replace(old, new))


def test_a_file_without_a_final_line_end_gets_none() -> None:
    text = (
        "Version: 2012-10-17\nStatement:\n- Effect: Allow\n  Resource: '*'\n  Action:\n  - a:B\n "
        " - a:C"
    )
    assert edited(text, remove(0, "a:C"), pointer="") == text.removesuffix("\n  - a:C")
    assert edited(text, AppendActions(0, ("a:D",)), pointer="") == text + "\n  - a:D"


def test_lists_at_the_column_of_their_key_keep_it() -> None:
    text = "Statement:\n- Effect: Allow\n  Action:\n  - a:B\n  Resource: '*'\n"
    added = {"Effect": "Allow", "Action": ["c:D", "e:F"], "Resource": ["*"]}
    assert edited(text, AppendStatement(added), pointer="") == (
        text + "- Effect: Allow\n  Action:\n  - c:D\n  - e:F\n  Resource: '*'\n"
    )


def test_one_statement_without_a_list_becomes_one_when_another_is_added() -> None:
    text = "Statement:\n  Effect: Allow  # why\n  Action: a:B\n\n  Resource: '*'\nOther: 1\n"
    added = {"Effect": "Allow", "Action": "c:D", "Resource": "*"}
    assert (
        edited(text, AppendStatement(added), pointer="")
        == "Statement:\n  - Effect: Allow  # why\n    Action: a:B\n\n    Resource: '*'\n"
        "  - Effect: Allow\n    Action: c:D\n    Resource: '*'\nOther: 1\n"
    )
    assert edited(text, DropStatement(0), pointer="") == "Statement: []\nOther: 1\n"
    assert (
        edited(text, DropStatement(0), AppendStatement(added), pointer="")
        == "Statement:\n  - Effect: Allow\n    Action: c:D\n    Resource: '*'\nOther: 1\n"
    )


def test_dropping_all_statements_leaves_an_empty_list_that_can_be_appended_to() -> None:
    text = "Statement:\n  - Effect: Allow\n    Action: a:B\n    Resource: '*'\nOther: 1\n"
    assert edited(text, DropStatement(0), pointer="") == "Statement: []\nOther: 1\n"
    added = AppendStatement({"Effect": "Allow", "Action": "a:B", "Resource": "*"})
    assert (
        edited("Statement: []\nOther: 1\n", added, pointer="")
        == "Statement:\n  - Effect: Allow\n    Action:\n      - a:B\n    Resource:\n      -"
        " '*'\nOther: 1\n"
    )


def test_a_not_action_becomes_an_action_of_the_same_form() -> None:
    text = "Statement:\n  - Effect: Allow\n    NotAction: 'iam:*'\n    Resource: '*'\n"
    change = ReplaceNotAction(0, ("s3:A", "s3:B"))
    assert edited(text, change, pointer="") == text.replace(
        "NotAction: 'iam:*'", "Action:\n      - 's3:A'\n      - 's3:B'"
    )
    bracketed = text.replace("NotAction: 'iam:*'", "NotAction: [iam:*, a:B]")
    assert edited(bracketed, change, pointer="") == text.replace(
        "NotAction: 'iam:*'", "Action: [s3:A, s3:B]"
    )


@pytest.mark.parametrize(
    ("before", "edit", "after"),
    [
        ("[a:A, a:B]", remove(0, "a:A"), "[a:B]"),
        ("[a:A, a:B]", AppendActions(0, ("a:*",)), "[a:A, a:B, a:*]"),
        ("['a:A', 'a:B']", AppendActions(0, ("a:C",)), "['a:A', 'a:B', 'a:C']"),
        ("[a:A, a:B,]", remove(0, "a:A"), "[a:B,]"),
        ("[\n      a:A, # first\n      a:B, # second\n      a:C\n    ]", remove(0, "a:B"), None),
        (
            "[\n      a:A, # first, of all\n      # alone\n      a:B # last\n    ]",
            remove(0, "a:A"),
            None,
        ),
        ("[\n      a:A, # first\n      a:B # last\n    ]", remove(0, "a:B"), None),
        ("[\n      a:A # first\n      , a:B # last\n    ]", AppendActions(0, ("a:C",)), None),
    ],
)
def test_a_list_in_brackets_keeps_its_form_and_its_comments(
    before: str, edit: Edit, after: str | None
) -> None:
    template_form = "Statement:\n  - Effect: Allow\n    Action: {}\n    Resource: '*'\n"
    edited_text = edited(template_form.format(before), edit, pointer="")
    assert comments(edited_text) == comments(template_form.format(before))
    if after:
        assert edited_text == template_form.format(after)


def comments(text: str) -> list[str]:
    """Returns all comments of a text in order; no string of these tests has a `#`."""
    return re.findall(r"#[^\r\n]*", text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Statement:\n  - &x\n    Effect: Allow\n    Action: a:B\n    Resource: r\n",
            "YAML anchor or alias",
        ),
        (
            "x: &x [a:B]\nStatement:\n  - Effect: Allow\n    Action: *x\n    Resource: r\n",
            "YAML anchor or alias",
        ),
        (
            "x: &x {Action: a:B}\nStatement:\n  - <<: *x\n    Effect: Allow\n",
            "YAML anchor or alias",
        ),
        (
            "Statement:\n  - Effect: Allow\n    Effect: Deny\n",
            "line 2, column 5: the key Effect appears twice",
        ),
        (
            "Statement:\n  - !If [Prod, {Effect: Allow}, !Ref AWS::NoValue]\n",
            "this statement is made by Fn::If",
        ),
        ("Statement:\n  - Effect: !Ref Effect\n", "neither Allow nor Deny"),
        (
            "Statement:\n  - Effect: Allow\n    NotAction: !Ref Actions\n",
            "what this NotAction leaves out is not known",
        ),
        ("Statement:\n  - Effect: [\n", "line 3, column 1: "),
        ("a: 1\n---\nb: 1\n", "several YAML documents"),
        ("", "the file is empty"),
        ("\x01", "this is not YAML"),
        ("- " * 3_000, "nested so deep"),
        ("x" * 1_000_001, "more than CloudFormation takes"),
    ],
)
def test_unreadable_yaml_is_rejected_in_one_sentence_with_the_file(text: str, message: str) -> None:
    with pytest.raises(PolicyFileError) as caught:
        parse(text.encode(), "t.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("t.yaml: ")
    assert "\n" not in str(caught.value)


def test_no_entry_is_added_to_a_function_that_may_be_a_list() -> None:
    text = "Statement:\n  - Effect: Allow\n    Action: a:B\n    Resource: !Ref List\n"
    with pytest.raises(
        PolicyFileError,
        match=r"^t\.yaml: line 4, column 15: no entry can be added next to this Ref in",
    ):
        edited(text, ReplaceResources(0, frozenset(), ("arn:aws:s3:::b",)), pointer="")


ACTIONS = [f"{service}:{name}" for service in "ab" for name in ("*", "A", "B", "C*", "D")]
lists = st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=5)
statements = st.fixed_dictionaries(
    {"Action": lists | st.sampled_from(ACTIONS), "Resource": st.just(["*", "x:y"])}
)
Policy = Sequence[Mapping[str, str | list[str]]]
policies = st.lists(statements, min_size=1, max_size=4)
strings = st.sampled_from(["{}", "'{}'", '"{}"'])
notes = st.sampled_from(["", "", "", "  # a, b: [c]", "  # - d:E"])
between = st.sampled_from(["", "", "\n", "    # alone\n", "\n# left\n"])


@st.composite
def templates(draw: st.DrawFn, policy: Policy) -> str:
    """Writes a policy in varied YAML: blocks and brackets, quotes, comments, blank lines."""
    dash, gap = draw(st.sampled_from(["", "  ", "    "])), draw(st.sampled_from(["", "\n"]))
    text = "Version: '2012-10-17'\nStatement:\n"
    for number, statement in enumerate(policy):
        entry = (
            draw(flow(statement)) if draw(st.integers(0, 4)) == 0 else draw(block(statement, dash))
        )
        text += (gap if number else "") + draw(between) + f"{dash}- {entry}"
    return text + draw(st.sampled_from(["", "\n# end\n", "Id: x\n"]))


@st.composite
def flow(draw: st.DrawFn, statement: Mapping[str, str | list[str]]) -> str:
    action = statement["Action"]
    quoted_entries = [
        draw(quoted(entry)) for entry in ([action] if isinstance(action, str) else action)
    ]
    actions_text = (
        quoted_entries[0] if isinstance(action, str) else f"[{', '.join(quoted_entries)}]"
    )
    return f'{{Effect: Allow, Action: {actions_text}, Resource: ["*", "x:y"]}}{draw(notes)}\n'


def quoted(entry: str) -> st.SearchStrategy[str]:
    """Draws a spelling of a string; a star at the end needs no quotes."""
    return strings.map(lambda form: form.format(entry))


@st.composite
def block(draw: st.DrawFn, statement: Mapping[str, str | list[str]], dash: str) -> str:
    indent, inner = dash + "  ", draw(st.sampled_from(["", "  "]))
    action = statement["Action"]
    if isinstance(action, str):
        actions = f"{indent}Action: {draw(quoted(action))}{draw(notes)}\n"
    elif draw(st.booleans()):
        actions = (
            f"{indent}Action:"
            f" [{', '.join([draw(quoted(entry)) for entry in action])}]{draw(notes)}\n"
        )
    else:
        actions = f"{indent}Action:{draw(notes)}\n"
        for entry in action:
            actions += draw(between) + f"{indent}{inner}- {draw(quoted(entry))}{draw(notes)}\n"
    parts = [f"{indent}Effect: Allow{draw(notes)}\n", actions, f"{indent}Resource: ['*', x:y]\n"]
    return "".join(draw(st.permutations(parts))).removeprefix(indent)


@st.composite
def edits_of(draw: st.DrawFn, policy: Policy) -> list[Edit]:
    """Draws any edits that a policy allows."""
    edits: list[Edit] = []
    for index, statement in enumerate(policy):
        action = statement["Action"]
        present = st.sampled_from([action] if isinstance(action, str) else action)
        if draw(st.booleans()):
            insert = draw(st.lists(st.tuples(present, lists.map(tuple)), max_size=2))
            edits.append(ReplaceActions(index, draw(st.frozensets(present)), tuple(insert)))
        if draw(st.integers(0, 4)) == 0:
            edits.append(DropStatement(index))
        if draw(st.integers(0, 3)) == 0:
            edits.append(AppendActions(index, tuple(draw(lists))))
        if draw(st.integers(0, 5)) == 0:
            edits.append(ReplaceResources(index, frozenset({"*"}), ("arn:aws:s3:::b/${*}",)))
    added = {"Effect": "Allow", "Action": ["x:Y", "x:Z"], "Resource": ["*"]}
    return edits + [AppendStatement(added) for _ in range(draw(st.integers(0, 2)))]


def as_json(policy: Policy) -> Document:
    """Returns the same policy in JSON, whose edits have their own tests."""
    import json

    return parse(
        json.dumps(
            {"Version": "2012-10-17", "Statement": [_whole(part) for part in policy]}
        ).encode(),
        "p.json",
    )


def _whole(statement: Mapping[str, object]) -> dict[str, object]:
    return {"Effect": "Allow", **statement}


def meaning(document: Document) -> list[object]:
    return [
        (
            statement.sid,
            statement.effect,
            statement.actions,
            statement.resources,
            statement.conditions,
        )
        for statement in document.statements
    ]


@given(st.data(), policies)
def test_any_layout_is_preserved_byte_for_byte_with_its_meaning(
    data: st.DataObject, policy: Policy
) -> None:
    raw = data.draw(templates(policy)).encode()
    document = parse(raw, "t.yaml")
    assert apply_edits(document, []).to_bytes() == document.to_bytes() == raw
    assert meaning(document) == meaning(as_json(policy))


@given(st.data(), policies)
def test_edits_of_yaml_have_the_meaning_of_the_same_edits_of_json(
    data: st.DataObject, policy: Policy
) -> None:
    document = parse(data.draw(templates(policy)).encode(), "t.yaml")
    edits = data.draw(edits_of(policy))
    assert meaning(apply_edits(document, edits)) == meaning(apply_edits(as_json(policy), edits))


@given(st.data(), policies)
def test_edits_keep_all_comments_outside_removed_text(data: st.DataObject, policy: Policy) -> None:
    document = parse(data.draw(templates(policy)).encode(), "t.yaml")
    edits = [edit for edit in data.draw(edits_of(policy)) if not isinstance(edit, DropStatement)]
    after = apply_edits(document, edits)
    if len(after.statements) < len(policy) + sum(
        isinstance(edit, AppendStatement) for edit in edits
    ):
        return
    alone = [line for line in document.text.splitlines() if line.strip().startswith("#")]
    assert [line for line in after.text.splitlines() if line in alone] == alone


@given(st.data(), policies)
def test_removing_one_action_of_a_block_removes_one_line(
    data: st.DataObject, policy: Policy
) -> None:
    document = parse(data.draw(templates(policy)).encode(), "t.yaml")
    for index, node in enumerate(document.statement_nodes):
        value = node.get_any_case("Action")
        actions = document.statements[index].actions
        if value and value.block and len({*actions}) == len(actions) > 1:
            after = apply_edits(document, [remove(index, actions[-1])])
            differences = difflib.ndiff(document.text.splitlines(), after.text.splitlines())
            lines = [line for line in differences if line[0] in "-+"]
            assert [line[0] for line in lines if line[1:].strip()] == ["-"]
            assert actions[-1] in lines[0] or actions[-1] in lines[-1]


def test_a_template_is_read_with_its_short_tags_as_functions() -> None:
    document = parse(TEMPLATE.encode(), "t.yaml", POINTER)
    first, second, third = document.statements
    assert (first.line, second.line, third.line) == (13, 23, 31)
    assert first.resources == ("arn:${AWS.Partition}:s3:::${Bucket.BucketName}/*",)
    assert second.resources == ("${Other.Arn}",)
    assert third.actions == ("ec2:Describe*", "ec2:RunInstances")
    resource = document.statement_nodes[0].get_any_case("Resource")
    assert resource
    assert json_value(resource) == {"Fn::Sub": "arn:${AWS::Partition}:s3:::${Bucket}/*"}


@pytest.mark.parametrize(
    ("statement", "action", "appended"),
    [
        (
            "{Effect: Allow, Action: [s3:PutObject, s3:GetObject], Resource: '*'}",
            "[s3:PutObject, sqs:SendMessage]",
            (
                "{Sid: Queue, Effect: Allow, Action: [sqs:CreateQueue], Resource: '*', "
                "Condition: {StringEquals: {aws:ResourceTag/team: ['true', 'a, b']}}}"
            ),
        ),
        (
            "{ 'Effect': 'Allow', 'Action': ['s3:PutObject', 's3:GetObject'], 'Resource': '*' }",
            "['s3:PutObject', 'sqs:SendMessage']",
            (
                "{ 'Sid': 'Queue', 'Effect': 'Allow', 'Action': ['sqs:CreateQueue'], 'Resource':"
                " '*', 'Condition': { 'StringEquals': { 'aws:ResourceTag/team': ['true', 'a, b']"
                " } } }"
            ),
        ),
        (
            '{"Effect":"Allow","Action":["s3:PutObject","s3:GetObject"],"Resource":["*"]}',
            '["s3:PutObject","sqs:SendMessage"]',
            (
                '{"Sid":"Queue","Effect":"Allow","Action":["sqs:CreateQueue"],"Resource":["*"],'
                '"Condition":{"StringEquals":{"aws:ResourceTag/team":["true","a, b"]}}}'
            ),
        ),
    ],
)
def test_new_text_in_brackets_has_the_quotes_of_the_file(
    statement: str, action: str, appended: str
) -> None:
    document = parse(
        f"Policy: {{Version: '2012-10-17', Statement: [{statement}]}}\n".encode(),
        "t.yaml",
        "/Policy",
    )
    edited = apply_edits(
        document,
        [
            ReplaceActions(
                0, frozenset({"s3:GetObject"}), (("s3:GetObject", ("sqs:SendMessage",)),)
            ),
            AppendStatement(
                {
                    "Sid": "Queue",
                    "Effect": "Allow",
                    "Action": ["sqs:CreateQueue"],
                    "Resource": ["*"],
                    "Condition": {"StringEquals": {"aws:ResourceTag/team": ["true", "a, b"]}},
                }
            ),
        ],
    )
    assert action in edited.text
    assert edited.text.endswith(f"{appended}]}}\n")
    assert json_value(edited.policy)["Statement"][1]["Condition"] == {  # type: ignore[index]
        "StringEquals": {"aws:ResourceTag/team": ["true", "a, b"]}
    }
