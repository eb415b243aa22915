"""Which resources a principal's own runs made: their ids, which AWS chooses, will be others next time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from leastpriv.model import Outcome, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.generalise import Seen
from leastpriv.permissions.request import creates, noun_of
from leastpriv.permissions.resource_types import types_of_arn
from leastpriv.permissions.volatility import service_of


def maker(usages: Iterable[Usage]) -> Callable[[Usage], bool]:
    """Tells of a usage whether its resource may have been made by the same principal's runs.

    It may when the first run that used it made something of its type with success.
    """
    made: dict[tuple[str, str], set[str]] = {}
    for usage in usages:
        if usage.outcome is Outcome.ALLOWED and usage.succeeded:
            prefix = usage.need.permission.action.partition(":")[0]
            for kind in {kind for event in usage.events for kind in _made_by(prefix, event.rpartition(":")[2])}:
                made.setdefault((prefix, kind), set()).update(usage.runs)

    def is_made(usage: Usage) -> bool:
        resource = usage.need.permission.resource
        prefix = service_of(resource)
        kinds = types_of_arn(prefix, resource) if prefix in {service for service, _ in made} else ()
        return bool(usage.runs) and any(usage.runs[0] in made.get((prefix, kind.lower()), ()) for kind in kinds)

    return is_made


def seen(usages: Iterable[Usage], is_made: Callable[[Usage], bool]) -> list[Seen]:
    """What usages show of their resources, for `patterns_of`."""
    return [Seen(usage.need.permission.resource, usage.runs, is_made(usage)) for usage in usages]


@lru_cache(maxsize=16_384)
def _made_by(prefix: str, event: str) -> tuple[str, ...]:
    """Resource types, in lower case, of which an event makes one: `CreateVpc` a `vpc`, `RunInstances` an `instance`."""
    if not creates(event):
        return ()
    noun = noun_of(event).removesuffix("s").partition("with")[0]
    kinds = {kind.name.lower() for kind in catalog.resource_types(prefix)}
    return tuple(sorted(kind for kind in kinds if re.sub(r"[^a-z0-9]", "", kind).removesuffix("s") == noun))
