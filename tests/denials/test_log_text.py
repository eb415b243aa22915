"""What tools put around a text goes, its lines stay countable."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.denials.log_text import breakable, clean_log_text, without_blanks

PIECES = st.sampled_from(
    [
        "\n",
        "\r\n",
        "\r",
        "\\n",
        "\x1b[31m",
        "\x1b]8;;",
        "\x07",
        "│ ",
        "##[error]",
        "2026-06-03T20:19:44.1Z ",
        "\\u0041",
        "\t",
        "x",
    ]
)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("\x1b[31m│\x1b[0m \x1b[1mError: \x1b[0mx", "Error: x"),
        ("[31m│[0m Error", "Error"),
        ("2026-06-03T20:19:44.5897769Z ##[error]User", "User"),
        ("deploy\tRun cdk\t2026-06-03T20:19:44.5897769Z User", "User"),
        ("[2026-06-03T20:19:44Z] User", "User"),
        ("::error file=a.tf,line=1::User", "User"),
        ("> # , User   ", "User"),
        ("│ User │", "User"),
        ("a\\n\\tb", "a\vb"),
        ('say \\\\\\"arn\\\\\\"', 'say "arn"'),
        ("a&quot;b", 'a"b'),
        ("\\u2026 because", "… because"),
        ("* because", "* because"),
    ],
)
def test_what_tools_put_around_a_text_goes(raw: str, text: str) -> None:
    assert clean_log_text(raw).text == text


def test_the_column_where_a_line_ends_counts_its_box_and_not_its_time() -> None:
    assert clean_log_text("2026-06-03T20:19:44Z │ ab   \ncd").ends == (4, 2)


@given(st.lists(PIECES | st.text(max_size=4), max_size=20).map("".join))
def test_lines_can_be_counted_and_found_in_the_result(raw: str) -> None:
    layout = clean_log_text(raw)
    assert layout.text.count("\n") == raw.count("\n")
    assert (
        len(layout.starts)
        == len(layout.ends)
        == 1 + layout.text.count("\n") + layout.text.count("\v")
    )
    assert all(start == 0 or layout.text[start - 1] in "\n\v" for start in layout.starts)


@given(st.lists(st.integers(0, 30), max_size=6), st.sampled_from(["\n", "\v"]))
def test_words_are_found_wherever_a_line_breaks(places: list[int], mark: str) -> None:
    words = "not authorized to perform"
    broken = "".join(
        character + mark * (places.count(position) > 0) for position, character in enumerate(words)
    )
    assert re.search(breakable(words), f"x {broken} y")
    assert without_blanks(broken) == without_blanks(words)


def test_a_link_over_two_lines_is_no_link_and_the_lines_remain() -> None:
    assert clean_log_text("a\x1b]8;;https://\n.example\x07b").text.count("\n") == 1
