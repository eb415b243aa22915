"""The estimates: the papers' figures on the papers' data, and no certainty without evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.proposal.confidence import (
    Confidence,
    Confidences,
    chance,
    confidences,
    estimate,
    falling_chance,
)
from tests.fakes.deploys import proposal

# Ants of three heights in Costa Rica (data set `ant` of the R package iNEXT 3, CRAN; J. T. Longino
# and R. K. Colwell, Ecosphere 2 (2011)): sampling units, then the frequency of each species.
ANTS_1070 = (150, {1: 28, 2: 16, 3: 13, 4: 3, 5: 1, 6: 3, 7: 6, 8: 1, 9: 1, 10: 1, 11: 4})
ANTS_2000 = (200, [1, 2, 2, 3, 4, 8, 8, 13, 15, 19, 23, 34, 59, 80])
# Spiders of two treatments of hemlock (data set `spider` of iNEXT; A. M. Ellison et al., 2010). The
# estimator for individuals has the same form, with n for T and U: (n, S, Q1, Q2, coverage, Chao),
# the last two as iNEXT has them.
SPIDERS = [(168, 26, 12, 4, 0.9289, 43.893), (252, 37, 14, 4, 0.9446, 61.403)]


def of(frequencies: Sequence[int], runs: int) -> Confidence:
    """Confidence from how often each permission was used, in so many runs."""
    return Confidence(
        runs,
        len(frequencies),
        sum(frequencies),
        list(frequencies).count(1),
        list(frequencies).count(2),
        0,
    )


@pytest.mark.parametrize(("size", "species", "once", "twice", "coverage", "richness"), SPIDERS)
def test_the_estimates_are_those_that_inext_prints(
    size: int, species: int, once: int, twice: int, coverage: float, richness: float
) -> None:
    confidence = Confidence(size, species, size, once, twice, 0)
    assert round(confidence.coverage, 4) == coverage
    assert round(species + confidence.unseen, 3) == richness


def test_coverage_and_chao2_by_hand_on_the_ants_of_2000_metres() -> None:
    """Q1 = 1, Q2 = 2, U = 271, T = 200: A = 199/(199 + 4), 1 - A/271; 199/200 · 1/4."""
    confidence = of(ANTS_2000[1], ANTS_2000[0])
    assert confidence.uses == 271
    assert math.isclose(confidence.coverage, 1 - 199 / 203 / 271)
    assert math.isclose(confidence.unseen, 199 / 200 / 4)


def test_coverage_and_chao2_by_hand_where_many_are_rare() -> None:
    """Q1 = 28, Q2 = 16, T = 150: A = 149·28/(149·28 + 32); 149/150 · 28²/32."""
    runs, counts = ANTS_1070
    frequencies = [often for often, species in counts.items() for _ in range(species)]
    confidence = of(frequencies, runs)
    assert math.isclose(confidence.coverage, 1 - 28 / sum(frequencies) * 4172 / 4204)
    assert math.isclose(confidence.unseen, 149 / 150 * 24.5)


def test_without_duplicates_the_bias_corrected_forms_count() -> None:
    """Q1 = 3, Q2 = 0, U = 13, T = 5: A = 4·2/(4·2 + 2); 4/5 · 3·2/2."""
    confidence = of([5, 5, 1, 1, 1], 5)
    assert math.isclose(confidence.coverage, 1 - 3 / 13 * 8 / 10)
    assert math.isclose(confidence.unseen, 4 / 5 * 3)


def test_without_rare_permissions_none_is_unseen() -> None:
    confidence = of([4, 4, 3], 4)
    assert (confidence.coverage, confidence.unseen) == (1, 0)


def test_one_run_shows_nothing_about_the_next() -> None:
    confidence = estimate([{"1"}, {"1"}])
    assert (confidence.runs, confidence.own, confidence.coverage) == (1, 1, 0)
    assert confidence.percent == 25


def test_without_a_run_the_chance_is_one_half() -> None:
    confidence = estimate([])
    assert (confidence.chance, confidence.coverage, confidence.unseen) == (0.5, 0, 0)


@pytest.mark.parametrize(
    ("surprises", "runs", "expected"),
    [(0, 0, 0.5), (0, 5, 0.5 / 6), (1, 5, 0.25), (5, 5, 5.5 / 6), (0, 99, 0.005)],
)
def test_the_chance_is_the_mean_under_jeffreys_prior(
    surprises: int, runs: int, expected: float
) -> None:
    assert math.isclose(chance(surprises, runs), expected)


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_falling_chance_expects_the_surprises_that_came(surprises: int, more: int) -> None:
    """With c/(c + k) after k runs, the runs and the next one bring K + ½ surprises."""
    runs = surprises + more
    falling = falling_chance(surprises, runs)
    c = falling * (runs + 1) / (1 - falling)
    expected = sum(c / (c + number) for number in range(1, runs + 2))
    assert math.isclose(expected, surprises + 0.5, rel_tol=1e-6)


samples = st.lists(st.frozensets(st.integers(0, 9).map(str), min_size=1), max_size=12)


@given(samples)
def test_every_estimate_is_within_its_bounds(permissions: list[frozenset[str]]) -> None:
    confidence = estimate(permissions)
    assert 0 <= confidence.coverage <= 1
    assert confidence.unseen >= 0
    assert 0 < confidence.chance < 1
    assert 0 <= confidence.percent < 100
    assert confidence.own <= confidence.runs
    assert (
        confidence.once + confidence.twice <= confidence.permissions <= confidence.uses
        or not permissions
    )


@given(samples, st.permutations(range(10)))
def test_names_and_order_of_runs_do_not_matter(
    permissions: list[frozenset[str]], names: list[int]
) -> None:
    renamed = [frozenset(str(names[int(run)]) for run in runs) for runs in reversed(permissions)]
    assert estimate(renamed) == estimate(permissions)


@given(samples)
def test_repeated_runs_never_lower_the_confidence(permissions: list[frozenset[str]]) -> None:
    again = [frozenset((*runs, *(f"{run}'" for run in runs))) for runs in permissions]
    before, after = estimate(permissions), estimate(again)
    assert after.own == 0
    assert after.chance <= before.chance
    assert after.coverage == 1 or not permissions


@given(samples)
def test_a_run_with_nothing_new_lowers_the_chance(permissions: list[frozenset[str]]) -> None:
    if permissions:
        usual = [runs | {"usual", "usual too"} for runs in permissions]
        assert estimate(usual).chance < estimate([runs | {"usual"} for runs in permissions]).chance


def test_the_confidence_of_a_service_is_over_the_runs_that_used_it(tmp_path: Path) -> None:
    """Forty runs of other services do not make a single use of this one more certain."""
    context = proposal(tmp_path, None).context
    of_context = confidences(context.evidence)
    assert of_context.whole.runs == max(
        confidence.runs for confidence in of_context.by_service.values()
    )
    assert set(of_context.by_service) == {
        usage.need.permission.action.partition(":")[0]
        for usage in context.evidence.usages
        if usage.outcome == "allowed" and usage.need.verified
    }


def test_a_service_that_no_run_used_has_the_confidence_of_all_runs() -> None:
    of_all, sqs = Confidence(9, 1, 9), Confidence(2, 1, 2)
    confidences_by_service = Confidences(of_all, {"sqs": sqs})
    assert (
        confidences_by_service.of("sqs:PurgeQueue"),
        confidences_by_service.of("sns:Publish"),
    ) == (sqs, of_all)


def test_resources_that_one_entry_grants_are_one_permission(tmp_path: Path) -> None:
    """Otherwise an object with a new hash in each run would always count as unseen."""
    context = proposal(tmp_path, None).context
    by_entry = confidences(context.evidence, context.proposal.documents)
    by_name = estimate(
        usage.runs for usage in context.evidence.usages if usage.outcome == "allowed"
    )
    assert by_entry.whole.own <= by_name.own
    assert by_entry.whole.permissions <= by_name.permissions
