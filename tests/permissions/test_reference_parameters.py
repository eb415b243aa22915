"""AWS's service reference as the judge of 600 operations, by parameter. Skipped without its copy."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from leastpriv.permissions import catalog

pytestmark = pytest.mark.slow
"""Of two thousand parameters each is a call: ten seconds."""


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return import_module("bench.service_reference")


@pytest.fixture(scope="module")
def reference(bench: ModuleType, shared_folder: Path) -> Any:
    (archive,) = (shared_folder / "data" / "aws-service-reference").glob("*.tar.xz")
    return bench.load(str(archive))


def test_the_sample_has_passed_roles_tags_and_plain_operations(
    bench: ModuleType, reference: Any
) -> None:
    sample = bench.sample(reference)
    actions = Counter(action for sampled in sample for action in set(sampled.operation.actions))
    tags = sum(
        count for action, count in actions.items() if "Tagging" in catalog.access_level(action)
    )
    assert len({(sampled.operation.name, sampled.client) for sampled in sample}) == 600
    assert actions["iam:PassRole"] >= 100
    assert tags >= 200


def test_each_parameter_asks_for_what_aws_s_reference_authorizes(
    bench: ModuleType, reference: Any
) -> None:
    differences = bench.differences(reference)
    assert [difference for difference in differences if not difference.why] == []


def test_each_explained_difference_is_still_one(bench: ModuleType, reference: Any) -> None:
    differences = {
        (difference.operation, difference.kind, difference.action)
        for difference in bench.differences(reference)
    }
    explained = {
        (row["operation"], row["kind"], row["action"])
        for row in bench._rows("reference_parameters.tsv")
    }
    assert explained == differences
