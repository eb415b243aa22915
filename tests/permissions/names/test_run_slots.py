"""A part of a name is open once enough runs each showed another: how many depends on its look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from leastpriv.permissions.generalize import ObservedResource
from leastpriv.permissions.names.app_names import read_app_names
from leastpriv.permissions.names.observed import NameUse, RunFacts

BUCKET = "arn:aws:s3:::shop-builds"
DRAWN = ("k3x9qz", "w8m2vt", "r7p4ny", "h5j6gs", "z2u8kw")
PLAIN = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "ivory")


def exact_keys(runs: Sequence[Iterable[str]], day: str = "") -> set[str]:
    """The keys of objects that remain as they are, where each run wrote some."""
    uses = [
        NameUse("s3:PutObject", f"{BUCKET}/{key}", (str(number),), creates=True, destroys=False)
        for number, keys in enumerate(runs)
        for key in keys
    ]
    names = read_app_names(uses, [RunFacts(str(number), day=day) for number in range(len(runs))])
    observed = [ObservedResource(resource) for resource in {use.resource for use in uses}]
    _, other_resources = names.resources_of("s3:PutObject", observed)
    return {
        other_resource.resource.removeprefix(f"{BUCKET}/") for other_resource in other_resources
    }


def of_words(words: Iterable[str]) -> list[list[str]]:
    return [[f"jobs/{word}/plan.json"] for word in words]


@pytest.mark.parametrize(
    ("few_runs", "enough_runs"),
    [
        pytest.param(of_words(DRAWN[:1]), of_words(DRAWN[:2]), id="drawn text: two runs"),
        pytest.param(of_words(["7", "9"]), of_words(["7", "9", "12"]), id="numbers: three runs"),
        pytest.param(of_words(PLAIN[:3]), of_words(PLAIN[:4]), id="plain words: four runs"),
        pytest.param(
            of_words(["Ab-Cd3ef_Gh", "Kl-Mn4op_Qr"]),
            of_words(["Ab-Cd3ef_Ghi", "Kl-Mn4op_Qrs"]),
            id="drawn text with signs: twelve letters",
        ),
    ],
)
def test_a_part_is_open_once_enough_runs_each_showed_another(
    few_runs: list[list[str]], enough_runs: list[list[str]]
) -> None:
    assert exact_keys(few_runs) == {key for keys in few_runs for key in keys}
    assert exact_keys(enough_runs) == set()


def test_words_that_later_runs_use_again_are_items_of_the_app() -> None:
    new = of_words(PLAIN[:4])
    assert exact_keys([*new, *new[:2]]) == set()
    assert exact_keys([*new, *new[:3]]) == {key for keys in new for key in keys}


def test_several_words_of_each_run_are_items_of_the_app() -> None:
    two_a_run = [
        [*keys, *further_keys]
        for keys, further_keys in zip(of_words(PLAIN[:4]), of_words(PLAIN[4:8]), strict=True)
    ]
    assert exact_keys(two_a_run) == set()
    later_runs = [[*two_a_run[0], f"jobs/{PLAIN[8]}/plan.json"], *two_a_run[1:]]
    assert exact_keys(later_runs) == {key for keys in later_runs for key in keys}


def test_most_values_that_look_drawn_open_the_others_too() -> None:
    """A drawn text may happen to have no digit."""
    drawn = [key for keys in of_words(DRAWN) for key in keys]
    plain = [key for keys in of_words(PLAIN) for key in keys]
    assert exact_keys([drawn[:2], [drawn[2], *plain[:2]]]) == set()
    assert exact_keys([drawn[:3], [*drawn[3:], *plain[:4]]]) == set(plain[:4])


def test_a_number_is_not_divided_since_another_name_has_its_digits_apart() -> None:
    runs = [["lib/a-1-2.txt"], *([f"jobs/run-{number}/plan.json"] for number in (12, 13, 14))]
    assert exact_keys(runs) == {"lib/a-1-2.txt"}
