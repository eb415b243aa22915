"""Reads event history quickly."""

from __future__ import annotations

from functools import partial

import pytest

from leastpriv.cloudtrail import event_history


def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read event history in this process without the pauses that the limit of AWS demands."""
    unpaced = partial(event_history.EventHistoryOptions, pace=0.0)
    monkeypatch.setattr(event_history, "EventHistoryOptions", unpaced)
