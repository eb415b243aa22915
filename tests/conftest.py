"""Fixtures for the tests of every package."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leastpriv.models import grouped
from tests import hypothesis_profiles, processor_time, temporary_folder
from tests.fakes import progress
from tests.fakes.aws import shared_models, unpaced

hypothesis_profiles.load(os.environ)
temporary_folder.use_memory(os.environ)

_TESTS = Path(__file__).parent
_TESTS_OF_PART = 25
"""Fewer make xdist itself slow, which counts all parts of a worker after each test."""
_CHEAP_FIXTURES = {"shared_folder", "tmp_path_factory", "request"}
_LONG_RUN = 60
"""Seconds of the processor."""
_LONGEST_ID = 80
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


@pytest.hookimpl(tryfirst=True)
def pytest_make_parametrize_id(val: object) -> str | None:
    """Shorten the id of a long text: every worker sends all ids, and one was of megabytes."""
    if not isinstance(val, str | bytes) or len(val) <= _LONGEST_ID:
        return None
    start = ascii(val[:_LONGEST_ID])
    return f"{start}...{len(val)}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make the units of work of xdist: whole files first, then files whose tests share nothing, in
    parts, so that no worker is left alone with a long file at the end.
    """
    by_file = grouped((item.path, item) for item in items)
    shared = {path for path, tests in by_file.items() if any(map(_shares_a_fixture, tests))}
    for path, tests in by_file.items():
        for number, item in enumerate(tests):
            part = 0 if path in shared else number // _TESTS_OF_PART
            item.add_marker(pytest.mark.xdist_group(f"{path.relative_to(_TESTS)}-{part}"))
    items.sort(key=lambda item: item.path not in shared)


def _shares_a_fixture(item: pytest.Item) -> bool:
    """Whether a test uses a fixture that other tests of its file use too."""
    definitions = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    names = definitions.keys() - _CHEAP_FIXTURES
    return any(definition.scope != "function" for name in names for definition in definitions[name])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count the processor time of each file."""
    with processor_time.counted(item.path.relative_to(_TESTS.parent).as_posix()):
        yield


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the times of a worker to the process that started it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["processor_time"] = dict(processor_time.SECONDS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the times of a worker."""
    processor_time.SECONDS.update(getattr(node, "workeroutput", {}).get("processor_time", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show where the processor time of a long run went."""
    if processor_time.SECONDS.total() > _LONG_RUN:
        for line in processor_time.summary(processor_time.SECONDS):
            terminalreporter.write_line(line)


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


@pytest.fixture(autouse=True)
def without_pauses_of_aws() -> None:
    """Wait for no limit of AWS: the fakes and the lab have none."""
    unpaced.without_pauses()


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
