"""Untrusted text remains text in Markdown."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.report.escape import code, json_text, name, plain, prose, visible
from tests.fakes.markdown import HOSTILE, read

PIECES = (
    st.sampled_from(HOSTILE)
    | st.text(max_size=8)
    | st.text(alphabet="`|\\<>@#[]()*_!-: \n", max_size=12)
)
TEXTS = st.lists(PIECES, max_size=4).map("".join)


@given(TEXTS, TEXTS)
def test_any_text_is_one_code_span_of_its_table_cell_and_nothing_else(one: str, other: str) -> None:
    page = read(f"| a | b |\n| --- | --- |\n| {code(one)} | {code(other)} |\n\nend")
    assert [code.strip() for code in page.codes] == [visible(one).strip(), visible(other).strip()]
    assert page.acts() == []
    assert page.prose.split() == ["a", "b", "end"]
    assert (page.blocks.count("tr_open"), page.blocks.count("td_open")) == (2, 2)


@given(TEXTS)
def test_in_a_list_or_a_sentence_any_text_is_one_code_span(text: str) -> None:
    page = read(f"- item {code(text)} and\n\n**{code(text)}** starts a line")
    assert [code.strip() for code in page.codes] == [visible(text).strip()] * 2
    assert page.acts() == []
    assert page.prose.split() == ["item", "and", "starts", "a", "line"]


@given(TEXTS)
def test_visible_text_is_one_line_without_hidden_characters(text: str) -> None:
    line = visible(text)
    assert "|" not in line
    assert "<!--" not in line
    assert "##[" not in line
    hidden = [
        character
        for character in line.replace("@\u200b", "")
        if unicodedata.category(character)[0] == "C"
    ]
    assert hidden == []
    assert len(line.splitlines()) <= 1


@given(TEXTS)
def test_a_mention_is_broken_even_in_plain_text(text: str) -> None:
    assert "@" not in code(text).replace("@\u200b", "")


FILLERS_MARKS_AND_CONTROLS = (
    "\u034f\u115f\u3164\uffa0\u2800\u17b5\ufe0f\U000e0101\u180e\u200d\u00ad\ufeff\u2028"
)


@pytest.mark.parametrize("character", FILLERS_MARKS_AND_CONTROLS)
def test_an_invisible_character_is_written_out(character: str) -> None:
    assert visible(f"a{character}b") == f"a\\u{{{ord(character):x}}}b"


def test_two_names_that_look_alike_by_a_hidden_character_differ_on_the_page() -> None:
    assert code("deploy") != code("dep\u200dloy")


@given(st.text(min_size=301))
def test_a_long_text_is_truncated_visibly(text: str) -> None:
    assert code(text, 20) == code(text[:19] + "…")


@given(
    TEXTS
    | st.lists(
        st.sampled_from(["`", "``", " ", "<b>", "(", ")", ".", "a", "@me"]), max_size=12
    ).map("".join)
)
def test_a_sentence_that_quotes_untrusted_text_is_inert(text: str) -> None:
    page = read(f"| a |\n| --- |\n| it is {prose(text)} |\n\nend")
    assert page.acts() == []
    assert (page.blocks.count("tr_open"), page.blocks.count("td_open")) == (2, 1)
    assert page.blocks[-3:] == ["paragraph_open", "inline", "paragraph_close"]


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("lifecycle counterpart of iam:CreateRole", "lifecycle counterpart of `iam:CreateRole`"),
        (
            "set `unseen-services: drop` to remove such grants",
            "set `unseen-services: drop` to remove such grants",
        ),
        ("data event (AWS::SQS::Queue), not known", "data event (`AWS::SQS::Queue`), not known"),
        (
            "the organization's S3 policy, 12 of 30 days.",
            "the organization's S3 policy, 12 of 30 days.",
        ),
        ("`keep` names s3:*", "`keep` names `s3:*`"),
        ("used on arn:aws:sqs:::job-??", "used on `arn:aws:sqs:::job-??`"),
        ("is it used?", "is it used?"),
        ("gap: x`<b>`|y", "gap: ``x`<b>`\\u{7c}y``"),
        ("`x`<i> ((`y`). ..", "`` `x`<i> `` ((`y`). .."),
        ("<b>``x`y", "```<b>``x`y```"),
    ],
)
def test_plain_words_of_a_sentence_remain_and_quotes_become_code(sentence: str, shown: str) -> None:
    assert prose(sentence) == shown


@given(TEXTS)
def test_a_name_for_titles_is_of_iams_alphabet_and_notifies_no_user(text: str) -> None:
    title_name = name(text)
    assert "@" not in title_name
    assert set(read(f"# {title_name}").acts()) <= {"www."}
    assert len(title_name) <= 64 + 3 * text[:64].count("@")


def test_names_of_roles_remain_readable() -> None:
    assert name("ci-deploy_2.x+y=z,w") == "ci-deploy_2.x+y=z,w"


@given(TEXTS)
def test_a_line_for_a_terminal_is_one_line_that_moves_no_cursor_and_runs_no_command(
    text: str,
) -> None:
    line = plain(text)
    assert len(line.splitlines()) <= 1
    assert "##[" not in line
    assert all(unicodedata.category(character)[0] != "C" for character in line)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_json_on_several_lines_is_that_of_the_standard_library(value: object) -> None:
    expected = json.dumps(value, indent=2).replace("##[", "#\\u0023[")
    assert json_text(value, indent=2) == expected


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": ["##[error]", {}, []]}, []])
def test_names_that_are_no_text_are_json_on_several_lines_too(value: object) -> None:
    assert json.loads(json_text(value, indent=2)) == value
