"""The limits of work, and the walk of references."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.budget import LIMITS, Budget, Limits, dependencies_first
from leastpriv.errors import CycleError, TooLargeError


def _budget(**limits: float) -> Budget:
    given: dict[str, float] = {"steps": 9, "characters": 9, "files": 9, "seconds": 9, **limits}
    return Budget(Limits(reason="a test", **given), clock=lambda: 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("spent", ["steps", "characters", "files"])
def test_work_within_the_limit_is_done_and_one_more_is_refused(spent: str) -> None:
    budget = _budget()
    budget.spend(**{"steps": 0, spent: 9})
    assert budget.exceeded == ""
    with pytest.raises(TooLargeError, match=f"not known: too large .more than 9 {spent}."):
        budget.spend(**{"steps": 0, spent: 1})
    with pytest.raises(TooLargeError):
        budget.spend(steps=0)


def test_work_that_takes_too_long_is_refused_even_if_the_clock_goes_back() -> None:
    times = iter([0.0, 1.0, 10.0, 2.0])
    budget = Budget(LIMITS["policy"], clock=lambda: next(times))
    for _ in range(8):
        budget.spend()
    for _ in range(20):
        with pytest.raises(TooLargeError, match="more than 5 seconds"):
            budget.spend()


@given(st.integers(1, 30), st.randoms(use_true_random=False))
def test_each_definition_comes_once_and_after_all_it_refers_to(
    count: int, chance: random.Random
) -> None:
    references = {
        key: [other for other in range(key) if chance.random() < 0.4] for key in range(count)
    }
    order = list(dependencies_first(count - 1, references.__getitem__, (), _budget(steps=10_000)))
    assert len(order) == len({*order})
    assert order[-1] == count - 1
    for place, key in enumerate(order):
        assert {*references[key]} <= {*order[:place]}


@given(st.integers(1, 30), st.integers(0, 29), st.randoms(use_true_random=False))
def test_a_cycle_is_refused_with_its_path(count: int, entry: int, chance: random.Random) -> None:
    # A chain that ends in a cycle, and shortcuts that make no other cycle.
    begin = min(entry, count - 1)
    references = {key: [key + 1] for key in range(count)}
    references[count - 1] = [begin]
    for key in range(begin):
        references[key] += [other for other in range(key + 1, count) if chance.random() < 0.2]
    with pytest.raises(CycleError) as error:
        list(dependencies_first(0, references.__getitem__, (), _budget(steps=10_000)))
    path = error.value.path
    assert path[0] == path[-1]
    for one, other in pairwise(path):
        assert int(other) in references[int(one)]


def test_a_chain_may_be_longer_than_the_recursion_limit() -> None:
    order = list(
        dependencies_first(
            50_000, lambda key: [key - 1] if key else [], (), _budget(steps=1_000_000)
        )
    )
    assert order == list(range(50_001))


def test_known_definitions_are_not_visited() -> None:
    def references(key: str) -> list[str]:
        assert key not in {"b", "c"}
        return {"a": ["b", "d"], "d": ["c"]}[key]

    assert list(dependencies_first("a", references, {"b", "c"}, _budget())) == ["d", "a"]
    assert list(dependencies_first("c", references, {"b", "c"}, _budget())) == []


def test_the_path_of_a_long_cycle_is_shortened_to_one_sentence() -> None:
    with pytest.raises(CycleError) as error:
        list(
            dependencies_first(
                ("local", 0),
                lambda key: [("local", (key[1] + 1) % 1000)],
                (),
                _budget(steps=10_000),
            )
        )
    assert len(str(error.value)) < 300
    assert str(error.value).startswith("local.0 -> local.1 -> ")
    assert "992 more" in str(error.value)


@pytest.mark.parametrize("work", sorted(LIMITS))
def test_each_limit_has_a_reason(work: str) -> None:
    assert LIMITS[work].reason  # type: ignore[index]
