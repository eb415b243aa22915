"""Requests to AWS without the pauses between them, in this process."""

from __future__ import annotations

import sys
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

_PART_OF_A_PAUSE = 0.01
"""Not none: threads that wait for each other at AWS take turns."""


def _short_sleep(seconds: float) -> None:
    time.sleep(seconds * _PART_OF_A_PAUSE)


_SHORT_TIME = SimpleNamespace(sleep=_short_sleep)
"""What botocore's endpoint needs of the module `time`."""


def without_pauses() -> None:
    """Read event history without the pauses that the limit of AWS demands, and repeat a failed
    request after a hundredth of botocore's pause.

    A process that has not imported the product's reader or botocore yet does not do so here, and
    the test that imports it waits.
    """
    reader: Any = sys.modules.get("leastpriv.cloudtrail.event_history")
    if reader is not None and not isinstance(reader.EventHistoryOptions, partial):
        reader.EventHistoryOptions = partial(reader.EventHistoryOptions, pace=0.0)
    endpoint: Any = sys.modules.get("botocore.endpoint")
    if endpoint is not None:
        endpoint.time = _SHORT_TIME
