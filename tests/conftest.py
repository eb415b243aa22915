"""Fixtures for the tests of every package."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import hypothesis_profiles
from tests.fakes import progress
from tests.fakes.aws import shared_models

hypothesis_profiles.load(os.environ)

_TESTS = Path(__file__).parent
_DEFAULTS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts background processes with ignored SIGINT: tests of Ctrl-C
    # would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure() -> None:
    """Collect garbage less often: each pass visits the catalogue and the API models, which stay
    until the end.
    """
    gc.set_threshold(100_000, 50, 100)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Start three workers for two cores: tests of the lab and of event history wait for a third of
    their time.
    """
    return (os.cpu_count() or 1) * 3 // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files at the top, which take longest: at the end one core would wait."""
    items.sort(key=lambda item: item.path.parent != _TESTS)


def pytest_unconfigure() -> None:
    """Leave to the system at the end what one last pass would visit for seconds."""
    gc.freeze()


@pytest.fixture(autouse=True)
def same_handlers() -> Iterator[None]:
    """Restore the handlers of signals after each test, for the next test of the same process."""
    before = {number: signal.getsignal(number) for number in _DEFAULTS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[str]]:
    """Record the progress that the product logs during the test."""
    with progress.recorded() as lines:
        yield lines


@pytest.fixture(autouse=True)
def shared_api_models() -> None:
    """Read each API model once in a process, and not once in a test."""
    shared_models.share()


@pytest.fixture
def default_signals(same_handlers: None) -> None:
    """Run a test with the default handlers of signals, also in a suite that `nohup` started.

    Not for all tests: the suite itself survives the end of its terminal.
    """
    for number, handler in _DEFAULTS.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Find the folder of real policies, records and denials, which is not part of the
    repository.
    """
    named = os.environ.get("LEASTPRIV_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder of real-world samples at {folder}; name one in LEASTPRIV_SHARED")
    return folder
