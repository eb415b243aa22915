"""AWS's own refusals as the judge of the mapping; `bench/oracle.py` prints the same. Skipped without the samples."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def oracle() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "oracle.py"
    spec = importlib.util.spec_from_file_location("oracle", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_what_aws_refuses_is_what_the_mapping_says_but_for_two_explained_cases(
    oracle: ModuleType, shared_folder: Path
) -> None:
    cases = {
        *oracle.of_records(shared_folder / "corpus" / "records"),
        *oracle.of_messages(shared_folder / "corpus" / "refusals.jsonl"),
    }
    others = [case for case in cases if case.verdict == "other"]
    assert len(cases) >= 55
    assert [case for case in others if (case.event, case.action) not in oracle.EXPLAINED] == []
    assert len(others) <= 2
