"""What each command of `leastpriv` does, from its options to its exit code; what fails is caught above (`cli.py`)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
