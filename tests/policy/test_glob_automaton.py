"""Comparison of sets of glob patterns."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions.patterns import matches, resource_matches
from leastpriv.policy.glob_automaton import Element, GlobSet, StepBudget, StepBudgetError
from tests.hypothesis_profiles import examples

globs = st.text("ab*?", min_size=1, max_size=4)
elements = st.builds(Element, st.lists(globs, max_size=2).map(tuple), st.booleans())
WORDS = ["".join(letters) for length in range(1, 6) for letters in product("abx", repeat=length)]


def make_glob_set(*given_elements: Element, actions: bool = True, budget: int = 10**7) -> GlobSet:
    return GlobSet(given_elements, actions=actions, budget=StepBudget(budget))


def texts(glob_set: GlobSet, domain: Element, relevant: int) -> dict[int, str]:
    """The text of a domain by the elements that match it, as bits."""
    return {member.elements: member.text for member in glob_set.members(domain, relevant)}


def has(element: Element, text: str) -> bool:
    return any(matches(pattern, text) for pattern in element.patterns) != element.negated


def combination(given_elements: list[Element], text: str) -> int:
    return sum(has(element, text) << index for index, element in enumerate(given_elements))


@examples(300)
@given(elements, st.lists(elements, max_size=3))
def test_exactly_the_combinations_that_some_text_matches_are_found(
    domain: Element, others: list[Element]
) -> None:
    found = texts(make_glob_set(*others), domain, (1 << len(others)) - 1)
    assert {combination(others, text) for text in WORDS if has(domain, text)} <= set(found)
    for bits, text in found.items():
        assert text
        assert has(domain, text)
        assert combination(others, text) == bits
        shorter = (word for word in WORDS if len(word) < len(text) and has(domain, word))
        assert all(combination(others, word) != bits for word in shorter)


@examples(300)
@given(elements, st.lists(elements, max_size=3), st.sampled_from(WORDS))
def test_pairwise_comparison_is_never_wrong(
    domain: Element, others: list[Element], text: str
) -> None:
    glob_set = make_glob_set(*others)
    overlap = glob_set.overlap(domain)
    assert not overlap.whole & overlap.part
    assert glob_set.membership(text) == combination(others, text)
    if has(domain, text):
        bits = combination(others, text)
        assert overlap.whole & ~bits == 0
        assert bits & ~(overlap.whole | overlap.part) == 0


@pytest.mark.parametrize(
    ("domain", "other", "whole", "part"),
    [
        (Element(("s3:Get*",)), Element(("s3:*",)), 1, 0),
        (Element(("s3:Get*",)), Element(("S3:get*",)), 1, 0),
        (Element(("s3:*",)), Element(("s3:Get*",)), 0, 1),
        (Element(("s3:*",)), Element(("ec2:*", "s4:*")), 0, 0),
        (Element(("s3:*",)), Element(("ec2:*",), negated=True), 1, 0),
        (Element(("s3:*",)), Element(("*",), negated=True), 0, 0),
        (Element(("s3:*",)), Element(("s3:Get*",), negated=True), 0, 1),
        (Element(("s3:Get*",), negated=True), Element(("*",)), 1, 0),
        (Element(("s3:Get*",), negated=True), Element(("s3:*",)), 0, 1),
        (Element(("s3:Get*", "a"), negated=True), Element(("s3:Get*",), negated=True), 1, 0),
        (Element(("s3:Get*",), negated=True), Element(("s3:Get*", "a"), negated=True), 0, 1),
        (Element(("s3:Get*",), negated=True), Element(("s3:Get*",), negated=True), 1, 0),
        (Element(("s3:GetObject",)), Element(("s3:Get*",)), 1, 0),
        (Element(("s3:GetObject",)), Element(("s3:Put*",)), 0, 0),
    ],
)
def test_most_comparisons_need_no_automaton(
    domain: Element, other: Element, whole: int, part: int
) -> None:
    overlap = make_glob_set(other).overlap(domain)
    assert (overlap.whole, overlap.part) == (whole, part)


def test_only_resources_are_case_sensitive_and_have_escapes() -> None:
    escaped = Element(("b/${*}", "B/x"))
    assert make_glob_set(escaped, actions=False).membership("b/*") == 1
    assert make_glob_set(escaped, actions=False).membership("b/x") == 0
    assert make_glob_set(escaped, actions=True).membership("b/x") == 1
    assert texts(make_glob_set(escaped, actions=False), Element(("b/${*}",)), 1) == {1: "b/*"}
    assert make_glob_set(escaped, actions=False).text(Element(("b/${?}",))) == "b/?"
    assert make_glob_set().text(Element(("A", "b"))) is None
    assert make_glob_set().text(Element(("a",), negated=True)) is None


def test_case_and_escapes_hold_next_to_wildcards() -> None:
    escaped = Element(("B/${*}*",))
    glob_set = make_glob_set(escaped, actions=False)
    assert [glob_set.membership(text) for text in ("B/*", "B/*x", "B/x", "b/*x")] == [1, 1, 0, 0]
    assert make_glob_set(Element(("B/*",))).membership("b/X") == 1
    assert glob_set.overlap(Element(("B/${*}x*",))).whole == 1
    assert glob_set.overlap(Element(("B/${?}*",))).part == 0
    assert glob_set.overlap(Element(("b/${*}x*",))).part == 0
    assert make_glob_set(escaped).overlap(Element(("b/$a*",))).part == 0
    assert make_glob_set(escaped).overlap(Element(("b/${*}a*",))).whole == 1


@pytest.mark.parametrize(("actions", "expected"), [(False, "b/*xx"), (True, "b/${}xx")])
def test_the_automaton_reads_escapes_only_in_resources(actions: bool, expected: str) -> None:
    glob_set = make_glob_set(Element(("b/${*}xx",)), actions=actions)
    assert texts(glob_set, Element(("b/${*}xx*",)), 1)[1] == expected
    glob_set = make_glob_set(Element(("*/${*}xx",)), actions=actions)
    assert texts(glob_set, Element(("b/*",)), 1)[1] == expected


def test_texts_outside_the_domain_are_not_visited() -> None:
    elements = [Element((f"*{letter}*",)) for letter in "pqrstuv"]
    glob_set = make_glob_set(*elements, budget=150)
    assert len(list(glob_set.members(Element(("abc?",)), 0b1111111))) == 8


def test_only_relevant_elements_count() -> None:
    glob_set = make_glob_set(Element(("a*",)), Element(("*b",)), Element(("b*",)))
    assert set(texts(glob_set, Element(("*",)), 0b010)) == {0b000, 0b010}
    assert set(texts(glob_set, Element(("b",)), 0b101)) == {0b100}


@given(st.text(min_size=1, max_size=6))
def test_any_character_can_be_in_a_pattern(text: str) -> None:
    pattern = Element((text.replace("*", "").replace("?", "").replace("$", "") + "*",))
    for member in make_glob_set(pattern, actions=False).members(Element(("*",)), 1):
        assert resource_matches(pattern.patterns[0], member.text) == bool(member.elements)


def test_a_filler_is_found_if_all_usual_letters_are_in_use() -> None:
    letters = "xyzabcdefghijklmnopqrstuvw0123456789-_/"
    taken = Element(tuple(f"{letter}*" for letter in letters))
    members = texts(make_glob_set(taken), Element(("*",)), 1)
    assert set(members) == {0, 1}
    assert members[0] not in letters


@pytest.mark.parametrize("patterns", [300, 40])
def test_entangled_patterns_end_in_a_budget_error(patterns: int) -> None:
    hostile = [
        Element((f"*{'a*' * (n % 7 + 3)}{'b' * (n % 5)}?*a{'?' * n}",)) for n in range(patterns)
    ]
    glob_set = make_glob_set(*hostile, budget=200_000)
    with pytest.raises(StepBudgetError):
        list(glob_set.members(Element(("*",)), (1 << patterns) - 1))


def test_pairwise_comparison_spends_the_budget() -> None:
    patterns = tuple(f"*{'a*' * 100}{n}" for n in range(50))
    with pytest.raises(StepBudgetError):
        make_glob_set(Element(patterns), budget=1_000).overlap(Element(("*a*a*b*",)))
    with pytest.raises(StepBudgetError):
        make_glob_set(Element(patterns), budget=10).membership("a" * 1_000)
