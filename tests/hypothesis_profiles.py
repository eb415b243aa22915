"""How many examples a test tries: few on the machine of a developer, a quarter in CI, all in
`make test-all`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")

# A loaded machine is slow at times: neither a deadline nor slow generation of data is a failure.
settings.register_profile("full", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# CI tries the same examples each time: it answers for the change, and not for the day. New ones are
# tried by developers and in `make test-all`.
settings.register_profile("ci", settings.get_profile("full"), max_examples=50, derandomize=True)
settings.register_profile("fast", settings.get_profile("full"), max_examples=10)
_STEPS = {"full": 1, "ci": 4, "fast": 4}
"""Profile -> it takes every so many items of a corpus."""


def load(environment: Mapping[str, str]) -> None:
    """Load the profile that HYPOTHESIS_PROFILE names, or `ci` in CI and `fast` elsewhere."""
    settings.load_profile(
        environment.get("HYPOTHESIS_PROFILE") or ("ci" if environment.get("CI") else "fast")
    )


def examples(
    count: int, *, ci: int | None = None, fast: int | None = None, **others: Any
) -> settings:
    """Return the settings of a property test with its own number of examples.

    Args:
        count: how many the profile `full` tries.
        ci: how many the profile `ci` tries; without it a quarter of `count`.
        fast: how many the profile `fast` tries; without it the number of that profile, where
            `count` is not less.
        others: further settings of Hypothesis.
    """
    profile = settings.get_current_profile_name()
    if profile == "fast":
        limit = settings.default.max_examples if fast is None else fast
        return settings(max_examples=min(count, limit), **others)
    if profile == "ci" and ci is not None:
        return settings(max_examples=ci, **others)
    return settings(max_examples=max(count // _STEPS.get(profile, 1), 1), **others)


def sampled(items: Sequence[T], first: int = 0) -> Sequence[T]:
    """Return all items of a corpus in the profile `full`, and every fourth in the others.

    Args:
        items: the items of the corpus.
        first: a number that differs between tests which share the corpus, so that they try
            different items.
    """
    step = _STEPS.get(settings.get_current_profile_name(), 1)
    return items[first % step :: step]
