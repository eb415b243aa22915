"""Copies a frozen value with some fields changed, be it a struct or a dataclass."""

import dataclasses
from typing import Any

from msgspec import Struct, structs


def replace(value: Any, **changes: Any) -> Any:
    """Returns the copy."""
    change = structs.replace if isinstance(value, Struct) else dataclasses.replace  # noqa: TID251 - for test doubles that are dataclasses
    return change(value, **changes)
