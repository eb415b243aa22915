"""What an event that nobody can map may have used: its own service where that is known, else what its names allow.

A service that the catalogue lacks by its event source is new, or goes by another prefix. Of 3,201 API operations under
a label that is no prefix (botocore 1.44.8, 2026-11) the scope would hold the true action of 99.6 % if the table of
events had no row for the label: of 95.9 % by its name, else by a word of the prefix (bench/botocore_coverage.py).
"""

from __future__ import annotations

import re
from functools import cache

from leastpriv.model import Scope
from leastpriv.permissions import catalog

_LABEL = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_LONG_ENOUGH = 3
"""Letters of a prefix that a label may begin with: `edgekeyvaluestore` is not of a service `ed`."""


def scope_of_unmapped(source: str, name: str, prefix: str) -> Scope:
    """The actions that an unmapped event `name` of `source` may have used; `prefix` is the one its source stands for.

    Of a known service any; of an unknown one its own, those of services related by name, and the action of the
    event's name in any service; of a source or name that is no such thing, all.
    """
    if prefix in catalog.services():
        return Scope(services=(prefix,))
    label = source.lower().removesuffix(".cn").removesuffix(".amazonaws.com")
    if not _LABEL.fullmatch(label) or not _NAME.fullmatch(name):
        return Scope()
    return Scope(services=_related(label), actions=(f"*:{name}",))


@cache
def _related(label: str) -> tuple[str, ...]:
    words = {*re.split("[.-]", label)}
    known = (
        prefix
        for prefix in catalog.services()
        if words & {*prefix.split("-")}
        or prefix.startswith(label)
        or (len(prefix) >= _LONG_ENOUGH and label.startswith(prefix))
    )
    return (label, *sorted(known))
