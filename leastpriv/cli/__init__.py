"""The `leastpriv` command: options, one module per command, and output."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
