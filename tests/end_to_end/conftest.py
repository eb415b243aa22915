"""Fixtures of these tests: the lab, a local AWS that enforces IAM, new for each module or test; and
the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.containers import CannotRunError, Engine
from tests.end_to_end.lab.lab import PYTHON, Lab, is_there


def _started(folder: Path) -> Iterator[Lab]:
    if not is_there():
        pytest.skip(
            f"the lab's environment is not there ({PYTHON.parents[1]}): make lab sets it up"
        )
    with Lab.start(folder) as lab:
        yield lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab for the tests of a module, empty at the beginning."""
    yield from _started(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def fresh_lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab for one test."""
    yield from _started(tmp_path / "lab")


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Podman with the image of the Dockerfile built."""
    try:
        engine = Engine.start()
        engine.build()
    except CannotRunError as error:
        pytest.skip(
            f"NO CONTAINER CAN BE BUILT HERE, so neither image nor workflow is tested: {error}"
        )
    return engine
