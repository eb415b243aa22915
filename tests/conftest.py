"""Fixtures that every room's tests may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import hypothesis_profiles

hypothesis_profiles.load()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts so what it sends to the background: tests of an interruption would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def same_handlers() -> Iterator[None]:
    """What a test has done with an interruption, no other test of its worker is to find."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Find the folder of real policies, records and refusals, which is no part of the repository."""
    named = os.environ.get("LEASTPRIV_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder of real-world samples at {folder}; name one in LEASTPRIV_SHARED")
    return folder
