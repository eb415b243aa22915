"""Any edit of any policy in HCL does what it says and no more, or is refused with a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from leastpriv.errors import LeastprivError, PolicyFileError
from leastpriv.policy.document import Document, Statement, parse
from leastpriv.policy.edit import (
    AppendActions,
    AppendStatement,
    DropStatement,
    Edit,
    ReplaceActions,
    ReplaceNotAction,
    ReplaceResources,
    apply_edits,
    can_add_entries,
    can_add_statements,
)
from tests.hypothesis_profiles import examples

VALUES = {"AWS::Partition": "aws", "AWS::AccountId": "111122223333"}
DATA = "data.aws_iam_policy_document.p"
RESOURCE = "aws_iam_policy.p"
NEW_RESOURCE = "arn:aws:s3:::new"
NEW_STATEMENT = AppendStatement(
    {"Effect": "Allow", "Action": ["q:Q"], "Resource": ["arn:aws:s3:::assets/k"]}
)


def quoted(texts: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"


def list_of(lists: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Expressions that make a list of other lists."""
    one_list = st.sampled_from([
        "distinct({})", "compact({})", "tolist({})", "toset({})", "sort({})", "reverse({})",
        'formatlist("%s", {})', "slice({}, 0, 1)", "[for a in {} : a]",
        '[for a in {} : a if a != "a:A"]',
    ])  # fmt: skip
    two_lists = st.sampled_from([
        "concat({}, {})", "setunion({}, {})", "setsubtract({}, {})", "flatten([{}, {}])",
        "var.v == [] ? {} : {}", "length({}) > 1 ? {} : []",
    ])  # fmt: skip
    return st.builds(str.format, one_list, lists) | st.builds(str.format, two_lists, lists, lists)


ACTIONS = st.recursive(
    st.lists(st.sampled_from(["a:A", "b:B", "c:C", "s3:*"]), min_size=1, max_size=3).map(quoted)
    | st.sampled_from(["local.one", "local.two", "var.v"]),
    list_of,
    max_leaves=3,
)
RESOURCES = st.sampled_from([
    '["*"]', '["arn:aws:s3:::x", "arn:aws:s3:::y/*"]', "local.resources",
    '[aws_s3_bucket.b.arn, "${aws_s3_bucket.b.arn}/*"]',
    '[for name in ["p", "q"] : "arn:aws:s3:::${name}"]',
])  # fmt: skip
OBJECT = st.builds('{{Effect = "Allow", Action = {}, Resource = {}}}'.format, ACTIONS, RESOURCES)
OBJECTS = st.recursive(
    st.lists(OBJECT, min_size=1, max_size=3).map(lambda each: "[\n" + ",\n".join(each) + "\n]"),
    lambda lists: st.one_of(
        st.builds("concat({}, {})".format, lists, lists),
        st.builds("[for s in {} : s if length(s.Action) > 1]".format, lists),
        st.builds('[for s in {} : s if contains(s.Action, "a:A")]'.format, lists),
        st.builds("length(local.one) > 1 ? {} : []".format, lists),
    ),
    max_leaves=2,
)
STATEMENT = st.builds(
    "  statement {{\n    {} = {}\n    resources = {}\n  }}\n".format,
    st.sampled_from(["actions", "actions", "actions", "not_actions"]),
    ACTIONS,
    RESOURCES,
)
DYNAMIC = st.builds(
    (
        '  dynamic "statement" {{\n    for_each = {}\n    content {{\n      actions = {}\n'
        "      resources = {}\n    }}\n  }}\n"
    ).format,
    ACTIONS | st.just("length(local.one) > 1 ? [1] : []"),
    st.just("[statement.value]") | ACTIONS,
    RESOURCES,
)
IN_HEREDOC = st.sampled_from([
    '["a:A", "b:B"]', "${jsonencode(local.one)}", '"a:A"', '["${join("\\",\\"", local.one)}"]',
    '["%{ if length(local.one) > 1 }a:A%{ endif }", "c:C"]', '["a:A", "${local.two[0]}"]',
])  # fmt: skip


def data_source(blocks: Sequence[str]) -> tuple[str, str]:
    return f'data "aws_iam_policy_document" "p" {{\n{"".join(blocks)}}}\n', DATA


def encoded(objects: str) -> tuple[str, str]:
    policy = f'jsonencode({{Version = "2012-10-17", Statement = {objects}}})'
    return f'resource "aws_iam_policy" "p" {{\n  policy = {policy}\n}}\n', RESOURCE


def heredoc(actions: Sequence[str]) -> tuple[str, str]:
    statements = (
        f'{{"Effect": "Allow", "Action": {action}, "Resource": "*"}}' for action in actions
    )
    policy = f'{{"Version": "2012-10-17", "Statement": [{", ".join(statements)}]}}'
    return f'resource "aws_iam_policy" "p" {{\n  policy = <<EOF\n{policy}\nEOF\n}}\n', RESOURCE


POLICIES = st.one_of(
    st.builds(data_source, st.lists(STATEMENT | DYNAMIC, min_size=1, max_size=3)),
    st.builds(encoded, OBJECTS),
    st.builds(heredoc, st.lists(IN_HEREDOC, min_size=1, max_size=3)),
)
SHARED = (
    "locals {{\n  one = {}\n  two = {}\n"
    '  resources = ["arn:aws:s3:::x", "arn:aws:s3:::z"]\n}}\n'
    'variable "v" {{\n  default = ["e:E"]\n}}\n'
    'resource "aws_s3_bucket" "b" {{\n  bucket = "assets"\n}}\n'
).format


def read(text: str, address: str) -> Document:
    return parse(text.encode(), "main.tf", address, VALUES)


def edits_of(
    document: Document, draw: Callable[[int], int], *, allowed_only: bool
) -> Iterator[Edit]:
    """Yields some edits; `allowed_only`: those that the file says it can take."""
    for statement in document.statements:
        index = statement.index
        entries = [*dict.fromkeys(statement.actions)]
        resources = [*dict.fromkeys(statement.resources)]
        takes_actions = takes_resources = True
        takes_whole = True
        if allowed_only:
            entries = [entry for entry in entries if not statement.fixed_reason(entry)]
            resources = [entry for entry in resources if not statement.fixed_reason(entry)]
            takes_actions = can_add_entries(document, index, "Action") if entries else False
            takes_resources = can_add_entries(document, index, "Resource") if resources else False
            takes_whole = not statement.fixed_reason("")
        kind = draw(5)
        if kind == 0 and takes_whole:
            yield DropStatement(index)
        elif kind == 1 and takes_actions:
            yield AppendActions(index, ("n:N", "m:M"))
        elif kind == 2 and entries:
            removed = frozenset(entries[: 1 + draw(len(entries))])
            yield ReplaceActions(index, removed, ((min(removed), ("n:N",)),) if draw(2) else ())
        elif kind == 3 and resources and takes_resources:
            yield ReplaceResources(index, frozenset(resources[: draw(2)]), (NEW_RESOURCE,))
        elif kind == 4 and statement.not_actions and takes_whole:
            yield ReplaceNotAction(index, ("n:N",))
    if draw(3) == 0 and (can_add_statements(document) or not allowed_only):
        yield NEW_STATEMENT


def meanings(statements: Sequence[Statement]) -> list[Statement]:
    return sorted((statement.meaning for statement in statements), key=repr)


@examples(400)
@given(st.builds(SHARED, ACTIONS, ACTIONS), POLICIES, st.booleans(), st.data())
def test_an_edit_of_any_policy_is_made_whole_or_refused_with_a_sentence(
    shared: str, policy: tuple[str, str], allowed_only: bool, data: st.DataObject
) -> None:
    text, address = policy
    try:
        document = read(shared + text, address)
    except LeastprivError:
        assume(False)
    edits = [
        *edits_of(
            document,
            lambda number: data.draw(st.integers(0, number - 1)),
            allowed_only=allowed_only,
        )
    ]
    try:
        edited = apply_edits(document, edits)
    except (PolicyFileError, ValueError):
        return
    edited_statements = {edit.statement for edit in edits if not isinstance(edit, AppendStatement)}
    untouched = [
        original for original in document.statements if original.index not in edited_statements
    ]
    remaining = meanings(edited.statements)
    for statement in meanings(untouched):
        remaining.remove(statement)
    # Each other statement is an edited one or the new one.
    gone = {edit.statement for edit in edits if isinstance(edit, DropStatement)}
    added = sum(isinstance(edit, AppendStatement) for edit in edits)
    emptied = sum(isinstance(edit, ReplaceActions) and not edit.insert for edit in edits)
    most_statements = len(edited_statements - gone) + added
    assert most_statements - emptied <= len(remaining) <= most_statements


def test_an_entry_that_a_function_takes_out_of_a_list_is_not_edited() -> None:
    block = (
        '  statement {\n    actions   = slice(["a:A", "b:B"], 0, 1)\n    resources = ["*"]\n  }\n'
    )
    text, address = data_source([block])
    document = read(text, address)
    assert document.statements[0].fixed_reason("a:A") == "slice takes a part of the list"
    assert not can_add_entries(document, 0, "Action")


@pytest.mark.parametrize(
    "actions", ["${jsonencode(local.one)}", '["${join("\\",\\"", local.one)}"]']
)
def test_a_list_that_an_expression_makes_in_a_heredoc_is_not_edited(actions: str) -> None:
    text, address = heredoc([actions])
    document = read(SHARED('["a:A", "b:B"]', '["c:C"]') + text, address)
    assert all(map(document.statements[0].fixed_reason, ("a:A", "b:B")))
    assert not can_add_entries(document, 0, "Action")
