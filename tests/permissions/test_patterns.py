"""The matcher of action and resource patterns."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leastpriv.permissions.patterns import (
    action_covers,
    action_matches,
    covers,
    escape_observed,
    has_variable,
    matches,
    overlaps,
    resource_covers,
    resource_matches,
    resource_overlaps,
    unescape,
)

globs = st.text("ab*?", max_size=7)
texts = st.text("ab", max_size=7)
pieces = ["a", "$", "{", "}", "*", "?", "${", "${*}", "${?}", "${$}", "${aws:username}", ":", "\n"]
hostile = st.lists(st.sampled_from(pieces), max_size=6).map("".join) | st.text(max_size=12)


def naive_match(pattern: str, text: str) -> bool:
    """Try everything; the definition of a glob."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(naive_match(pattern[1:], text[i:]) for i in range(len(text) + 1))
    return bool(text) and pattern[0] in {"?", text[0]} and naive_match(pattern[1:], text[1:])


def words(longest: int) -> list[str]:
    """Every word over a three-letter alphabet up to a length."""
    all_words = level = [""]
    for _ in range(longest):
        level = [word + letter for word in level for letter in "abc"]
        all_words = all_words + level
    return all_words


WORDS = words(6)


@given(globs, texts)
def test_matches_agrees_with_trying_everything(pattern: str, text: str) -> None:
    assert matches(pattern, text) == naive_match(pattern, text)


@given(st.text(max_size=8), st.text(max_size=8))
def test_matches_agrees_with_a_regular_expression_on_any_text(pattern: str, text: str) -> None:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    assert matches(pattern, text) == bool(re.fullmatch(expression, text, re.DOTALL))


@given(st.text("aBzZİß*?", max_size=6), st.text("AbZzİß", max_size=6))
def test_ignoring_case_is_matching_after_lowering_ascii_letters(pattern: str, text: str) -> None:
    def lower(value: str) -> str:
        return "".join(char.lower() if char.isascii() else char for char in value)

    assert matches(pattern, text, ignore_case=True) == naive_match(lower(pattern), lower(text))


def test_many_wildcards_take_no_exponential_time() -> None:
    """With backtracking over all stars this test would never end."""
    assert not matches("*a" * 60 + "b", "a" * 3000)
    assert not covers("*a" * 60 + "b", "a" * 300 + "*")
    assert not overlaps("*a" * 40 + "b", "a" * 300 + "?*c")


@given(globs, globs)
def test_covers_is_never_true_wrongly(pattern: str, other: str) -> None:
    if covers(pattern, other):
        assert all(matches(pattern, word) for word in WORDS if matches(other, word))


@given(globs, st.lists(st.sampled_from(["", "a", "bc", "?", "*"]), max_size=5))
def test_a_pattern_covers_what_its_wildcards_are_filled_with(
    pattern: str, fillings: list[str]
) -> None:
    parts = pattern.split("*")
    wildcards = len(parts) - 1
    texts = [*fillings, *[""] * wildcards][:wildcards]
    filled = parts[0] + "".join(text + part for text, part in zip(texts, parts[1:], strict=True))
    if "?" not in pattern:
        assert covers(pattern, filled)
    assert covers(pattern, pattern)


@pytest.mark.parametrize(
    ("pattern", "other", "expected"),
    [
        ("*", "*", True),
        ("*", "a?b*", True),
        ("?*", "*?", True),
        ("*?*", "?", True),
        ("?", "*", False),
        ("?*", "*", False),
        ("a", "?", False),
        ("a*", "*a", False),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/logs/*", True),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b*", False),
    ],
)
def test_covers_on_known_pairs(pattern: str, other: str, expected: bool) -> None:
    assert covers(pattern, other) is expected


@given(st.text("ab*?", max_size=5), st.text("ab*?", max_size=5))
def test_overlaps_is_exact(pattern: str, other: str) -> None:
    expected = any(matches(pattern, word) and matches(other, word) for word in WORDS)
    # The shortest common text has at most one letter for each place that is not a star.
    if len((pattern + other).replace("*", "")) <= len(WORDS[-1]):
        assert overlaps(pattern, other) == expected
    assert overlaps(pattern, other) or not expected
    assert overlaps(pattern, other) == overlaps(other, pattern)


def test_actions_ignore_case_and_resources_do_not() -> None:
    assert action_matches("S3:get*", "s3:GetObject")
    assert action_covers("s3:*", "S3:Get*")
    assert not action_covers("s3:Get*", "s3:*")
    assert not resource_matches("arn:aws:s3:::Bucket", "arn:aws:s3:::bucket")
    assert resource_matches("*", "arn:aws:s3:::bucket")


def test_a_wildcard_at_the_end_of_a_segment_crosses_colons() -> None:
    assert resource_matches(
        "arn:aws:logs:*:log-stream:x", "arn:aws:logs:eu-west-1:1:log-group:g:log-stream:x"
    )


def test_escapes_are_the_characters_themselves_only_where_variables_exist() -> None:
    assert resource_matches("b/${*}${?}${$}", "b/*?$")
    assert not resource_matches("b/${*}", "b/x")
    assert resource_matches("b/${*}", "b/${xyz}", variables=False)
    assert not resource_matches("b/${*}", "b/*", variables=False)


def test_a_policy_variable_is_unknown_covers_nothing_and_overlaps_everything() -> None:
    variable = "b/${aws:username}/x"
    assert has_variable(variable)
    assert has_variable("b/${unclosed")
    assert not has_variable("b/${*}${?}${$}{x}")
    assert not resource_matches(variable, variable)
    assert not resource_covers(variable, "b/me/x")
    assert resource_covers("b/*", variable)
    assert resource_covers(variable, variable)
    assert not resource_covers("b/?/x", variable)
    assert resource_overlaps(variable, "b/me/x")
    assert not resource_overlaps(variable, "b/me/y")


@given(hostile, hostile)
@example("${aws:username}", "me")
@example("${*}", "*")
def test_an_escaped_name_matches_itself_and_nothing_else(text: str, other: str) -> None:
    pattern = escape_observed(text)
    assert not has_variable(pattern)
    assert resource_matches(pattern, text)
    assert resource_matches(pattern, other) == (text == other)
    assert resource_covers(pattern, escape_observed(other)) == (text == other)
    assert resource_overlaps(pattern, escape_observed(other)) == (text == other)


@given(hostile)
def test_an_ordinary_name_is_not_escaped_and_unescaping_gives_any_name_back(text: str) -> None:
    assert unescape(escape_observed(text)) == text
    if not set(text) & set("*?$"):
        assert escape_observed(text) == text


@given(st.text("a*?$", max_size=6), st.text("a*?$", max_size=6), st.text("a*?$", max_size=6))
def test_escapes_inside_patterns_keep_covering_and_overlapping_sound(
    name: str, rest: str, word: str
) -> None:
    pattern, concrete = escape_observed(name) + "*", escape_observed(name + rest)
    assert resource_covers(pattern, concrete)
    assert resource_overlaps(pattern, concrete)
    assert resource_covers(pattern, pattern)
    if resource_covers(concrete, pattern):
        assert resource_matches(concrete, name + word)


@pytest.mark.parametrize("end", ["b", "?b", "*b"])
def test_long_patterns_that_nearly_match_are_compared_in_little_time(end: str) -> None:
    patterns = [f"arn:aws:s3:::*{'a' * 1_500}{number}{end}" for number in range(20)]
    numbered_arns = [f"arn:aws:s3:::*{'a' * 1_800}?{number}" for number in range(20)]
    began = time.process_time()
    for pattern in patterns:
        for numbered_arn in numbered_arns:
            assert not resource_covers(pattern, numbered_arn)
            resource_overlaps(pattern, numbered_arn)
    assert time.process_time() - began < 5
