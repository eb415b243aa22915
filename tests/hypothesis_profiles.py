"""How many examples a test tries: few on the machine of a developer, all of them in CI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")

# A loaded machine is slow at times: neither a deadline nor slow generation of data is a failure.
settings.register_profile("full", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", settings.get_profile("full"), max_examples=10)


def load(environment: Mapping[str, str]) -> None:
    """Load the profile that HYPOTHESIS_PROFILE names, or `full` in CI and `fast` elsewhere."""
    settings.load_profile(environment.get("HYPOTHESIS_PROFILE") or ("full" if environment.get("CI") else "fast"))


def examples(count: int, **others: Any) -> settings:
    """Return the settings of a property test with its own number of examples.

    Args:
        count: how many the profile `full` tries; another profile tries its own number where that is less.
        others: further settings of Hypothesis.
    """
    return settings(max_examples=count if _is_full() else min(count, settings.default.max_examples), **others)


def sampled(items: Sequence[T]) -> Sequence[T]:
    """Return all items of a corpus in the profile `full`, and every fourth in another profile."""
    return items if _is_full() else items[::4]


def _is_full() -> bool:
    return settings.get_current_profile_name() == "full"
