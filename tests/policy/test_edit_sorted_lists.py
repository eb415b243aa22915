"""Sorted lists remain sorted after an edit and keep every existing line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import AppendActions, Edit, ReplaceActions, ReplaceResources, apply_edits

ORDERS: tuple[Callable[[str], str], ...] = (str.casefold, str)


def json_file(entries: Sequence[str]) -> str:
    statement = {"Effect": "Allow", "Action": [*entries], "Resource": [*entries]}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


def one_line(entries: Sequence[str]) -> str:
    return json.dumps(json.loads(json_file(entries)))


def yaml_file(entries: Sequence[str]) -> str:
    block = "".join(
        f"\n      # why {entry}\n      - '{entry}'  # {len(entry)}" for entry in entries
    )
    return f"Statement:\n  # all\n  - Effect: Allow\n    Action:{block}\n    Resource:{block}\n"


def yaml_brackets(entries: Sequence[str]) -> str:
    entries_text = "".join(f"\n      '{entry}',  # {len(entry)}" for entry in entries)
    return (
        f"Statement:\n  - Effect: Allow\n    Action: [{entries_text}\n    ]\n    Resource: [{entries_text}\n  "
        "  ]\n"
    )


def terraform_json(entries: Sequence[str]) -> str:
    return json.dumps(
        {"resource": {"aws_iam_role_policy": {"p": {"policy": json_file(entries)}}}}, indent=2
    )


def jsonencode(entries: Sequence[str]) -> str:
    policy = json_file(entries).replace('": ', '" = ')
    return f'resource "aws_iam_role_policy" "p" {{\n  policy = jsonencode({policy})\n}}\n'


def data_source(entries: Sequence[str]) -> str:
    entries_text = "".join(f'\n      # why {entry}\n      "{entry}",' for entry in entries)
    lists = f"    actions = [{entries_text}\n    ]\n    resources = [{entries_text}\n    ]"
    return f'data "aws_iam_policy_document" "p" {{\n  statement {{\n{lists}\n  }}\n}}\n'


FORMS: dict[Callable[[Sequence[str]], str], tuple[str, str]] = {
    json_file: ("p.json", ""),
    one_line: ("p.json", ""),
    yaml_file: ("p.yaml", ""),
    yaml_brackets: ("p.yaml", ""),
    terraform_json: ("p.tf.json", "/resource/aws_iam_role_policy/p/policy"),
    jsonencode: ("p.tf", "aws_iam_role_policy.p.policy"),
    data_source: ("p.tf", "data.aws_iam_policy_document.p"),
}
forms = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)

names = st.sampled_from(
    [f"{service}:{name}" for service in ("a", "b-c", "b") for name in ("*", "A", "B", "Ab", "a*")]
)
lists = st.lists(names, min_size=3, max_size=6, unique_by=str.casefold)


def read(form: Callable[[Sequence[str]], str], entries: Sequence[str]) -> Document:
    file_name, pointer = FORMS[form]
    return parse(form(entries).encode(), file_name, pointer)


def is_sorted(entries: Sequence[str]) -> bool:
    """Returns whether entries are in one of the usual orders."""
    return any(
        all(key(entry) <= key(next_entry) for entry, next_entry in pairwise(entries))
        for key in ORDERS
    )


def lines(document: Document) -> list[str]:
    """Returns the lines without commas: the last entry of a list in brackets has none."""
    return document.text.replace(",", "").splitlines()


@st.composite
def edits(draw: st.DrawFn, there: Sequence[str]) -> tuple[Edit, frozenset[str], tuple[str, ...]]:
    """Draws an edit of the only statement, with the entries that it removes and inserts."""
    new, removed = tuple(draw(lists)), draw(st.frozensets(st.sampled_from(there)))
    kind = draw(st.sampled_from([AppendActions, ReplaceActions, ReplaceResources]))
    if kind is AppendActions:
        return AppendActions(0, new), frozenset(), new
    if kind is ReplaceResources:
        return ReplaceResources(0, removed, new), removed, new
    return ReplaceActions(0, removed, ((draw(st.sampled_from(there)), new),)), removed, new


@forms
@given(lists, st.sampled_from(ORDERS), st.data())
def test_new_entries_of_a_sorted_list_are_inserted_in_order(
    form: Callable[[Sequence[str]], str],
    there: list[str],
    order: Callable[[str], str],
    data: st.DataObject,
) -> None:
    there = sorted(there, key=order)
    edit, removed, new = data.draw(edits(there))
    (statement,) = apply_edits(read(form, there), [edit]).statements
    edited, untouched, comparison_key = (statement.actions, statement.resources, str.casefold)
    if isinstance(edit, ReplaceResources):
        edited, untouched, comparison_key = untouched, edited, str
    remaining = [entry for entry in there if entry not in removed]
    fresh = [
        entry
        for entry in new
        if comparison_key(entry) not in {comparison_key(action) for action in remaining}
    ]
    assert is_sorted(edited)
    assert sorted(edited) == sorted([*remaining, *fresh])
    assert untouched == tuple(there)


@pytest.mark.parametrize(
    "form", [form for form in FORMS if form is not one_line], ids=lambda form: form.__name__
)
@given(lists, lists, st.sampled_from(ORDERS))
def test_every_existing_line_keeps_its_comment(
    form: Callable[[Sequence[str]], str],
    there: list[str],
    new: list[str],
    order: Callable[[str], str],
) -> None:
    before = read(form, sorted(there, key=order))
    after = apply_edits(before, [ReplaceResources(0, frozenset(), tuple(new))])
    fresh = [entry for entry in new if entry not in there]
    added = {
        f"{dash}{quote}{entry}{quote}"
        for entry in fresh
        for dash in ("", "- ")
        for quote in ("", "'", '"')
    }
    unchanged = [line for line in lines(after) if line.strip() not in added]
    assert unchanged == lines(before)
    assert len(lines(after)) == len(unchanged) + len(fresh)


def test_a_comment_above_the_first_entry_stays_with_it_if_other_entries_have_comments() -> None:
    lines = [
        "Statement:",
        "- Effect: Allow",
        "  Action:  # all",
        "  # one,",
        "  # twice",
        "  - b:B",
        "  # two",
        "  - b:C",
    ]
    lines_before = "".join(f"{line}\r\n" for line in [*lines, "  - b:D"])
    of_all = lines_before.replace("  # two\r\n", "")
    for text, above in ((lines_before, "  # one,"), (of_all, "  - b:B")):
        edited = (
            apply_edits(parse(text.encode(), "p.yaml"), [AppendActions(0, ("a:A",))])
            .to_bytes()
            .decode()
        )
        assert edited == text.replace(f"{above}\r\n", f"  - a:A\r\n{above}\r\n")


@forms
@pytest.mark.parametrize(
    "there", [["b:B", "a:A", "c:C"], ["a:B", "a:C"], ["b:B"], ["a:A", "a:A", "a:B"]]
)
def test_an_unsorted_or_short_list_gets_new_entries_at_its_end(
    form: Callable[[Sequence[str]], str], there: list[str]
) -> None:
    (statement,) = apply_edits(read(form, there), [AppendActions(0, ("a:Aa",))]).statements
    assert statement.actions == (*there, "a:Aa")
