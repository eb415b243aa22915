"""Policy variables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions.patterns import has_variable, resource_matches
from leastpriv.policy.conditions import in_2012_spelling, resolve_variables

CONTEXT = {
    "aws:username": ("ci",),
    "aws:team": ("a", "b"),
    "aws:empty": ("",),
    "aws:odd": ("a*?$",),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain*", "plain*"),
        ("a/${aws:username}/*", "a/ci/*"),
        ("${AWS:UserName}-${ aws:username }", "ci-ci"),
        ("${aws:odd}", "a${*}${?}${$}"),
        ("${*}${?}${$}${aws:username}", "${*}${?}${$}ci"),
        ("$${aws:username}", "${$}ci"),
        ("${aws:absent, 'all'}/x", "all/x"),
        ("${aws:absent,'all'}", "all"),
        ("${aws:empty, 'all'}", ""),
        ("${aws:username, 'all'}", "ci"),
        ("${aws:absent}", None),
        ("${aws:empty}", ""),
        ("${aws:absent, ''}", None),
        ("${aws:username}${aws:absent}", None),
        ("${aws:absent}${aws:username}", None),
    ],
)
def test_a_variable_becomes_its_value_its_default_or_nothing(
    text: str, expected: str | None
) -> None:
    assert resolve_variables(text, CONTEXT, complete=True) == expected


@pytest.mark.parametrize(
    "text",
    [
        "${aws:team}",
        "${aws:team, 'x'}",
        "${aws:TagKeys}",
        "${aws:TagKeys, 'x'}",
        "a/${ aws:tagkeys }",
    ],
)
@pytest.mark.parametrize("complete", [True, False])
def test_a_multivalued_key_has_no_value_as_a_variable(text: str, complete: bool) -> None:
    assert resolve_variables(text, CONTEXT | {"aws:tagkeys": ("a",)}, complete) is None
    assert resolve_variables("${aws:TagKeys}", {}, complete) is None


@pytest.mark.parametrize("text", ["${aws:username", "${aws:absent, x}"])
def test_a_malformed_variable_is_unknown(text: str) -> None:
    assert resolve_variables(text, CONTEXT, complete=True) == text
    assert has_variable(text)


def test_in_an_incomplete_context_an_absent_key_is_unknown_and_an_empty_value_is_a_value() -> None:
    assert (
        resolve_variables("${aws:absent}/${aws:username}", CONTEXT, complete=False)
        == "${aws:absent}/ci"
    )
    assert resolve_variables("${aws:absent, 'x'}", CONTEXT, complete=False) == "${aws:absent, 'x'}"
    assert resolve_variables("${aws:empty}", CONTEXT, complete=False) == ""
    assert resolve_variables("${aws:none}", {"aws:none": ()}, complete=False) is None


@given(
    st.text("a*?${}", max_size=6),
    st.text("a*?${}:", min_size=1, max_size=5),
    st.text("a*?${}", max_size=6),
)
def test_a_resolved_value_matches_only_itself(before: str, value: str, after: str) -> None:
    text = f"x{before.replace('$', '')}${{aws:k}}{after.replace('$', '')}"
    resolved = resolve_variables(text, {"aws:k": (value,)}, complete=True)
    assert resolved is not None
    longer = resolve_variables(text, {"aws:k": (value + "b",)}, complete=True)
    exact = resolve_variables("${aws:k}", {"aws:k": (value,)}, complete=True) or ""
    assert resource_matches(exact, value)
    assert not resource_matches(exact, value + "b")
    assert resolved != longer


@given(st.text("a*?${}", max_size=8), st.text("a*?${}", max_size=8))
def test_the_2012_spelling_of_an_older_pattern_keeps_its_meaning(pattern: str, text: str) -> None:
    assert resource_matches(in_2012_spelling(pattern, False), text) == resource_matches(
        pattern, text, variables=False
    )
    assert in_2012_spelling(pattern, True) == pattern
