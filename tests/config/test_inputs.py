"""Inputs are read as the runner and the toolkit read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.config.inputs import parse_boolean, parse_integer, read_input, split_list
from leastpriv.errors import InputError


def test_an_input_is_found_under_the_name_the_runner_gives_it() -> None:
    environment = {
        "INPUT_POLICY-FILE": " iam/x.json\n",
        "INPUT_TWO_WORDS": "x",
        "policy-file": "no",
    }
    assert read_input(environment, "policy-file") == "iam/x.json"
    assert read_input(environment, "two words") == "x"
    assert read_input(environment, "role-arn") == ""


@given(
    st.lists(
        st.text(
            st.characters(codec="ascii", categories=["L", "N", "P"], exclude_characters=","),
            min_size=1,
        )
    )
)
def test_a_list_reads_the_same_by_commas_and_by_lines(entries: list[str]) -> None:
    for separator in (",", "\n", " ,\r\n\n , "):
        assert split_list(separator.join(entries)) == tuple(entries)


@pytest.mark.parametrize("text", ["", " ", ",", "\n,\n"])
def test_an_empty_list_is_empty(text: str) -> None:
    assert split_list(text) == ()


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("TRUE", True), ("false", False)]
)
def test_a_boolean_is_read_as_the_toolkit_reads_it(text: str, value: bool) -> None:
    assert parse_boolean(text, "The input draft") is value


@pytest.mark.parametrize("text", ["", "yes", "no", "1", "0", "on", "tRUE", "null"])
def test_a_malformed_boolean_is_an_error_that_names_the_input(text: str) -> None:
    with pytest.raises(InputError, match=r"input draft .* true or false"):
        parse_boolean(text, "The input draft")


@given(st.integers(0, 10**9 - 1))
def test_a_number_reads_back(number: int) -> None:
    assert parse_integer(str(number), "minimum-days") == number


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1.0", "1e3", "1_0", "0x1", "\u0663", "x", "9" * 5000]
)
def test_a_malformed_number_is_an_error_that_names_the_input(text: str) -> None:
    with pytest.raises(InputError, match=r"input minimum-days .* whole number"):
        parse_integer(text, "The input minimum-days")


def test_a_number_below_the_minimum_is_an_error() -> None:
    with pytest.raises(InputError, match="1 or more"):
        parse_integer("0", "The input minimum-runs", minimum=1)
