"""Opens the parts of observed resources that change from run to run: `resources: pattern`.

What is opened is decided by shape: content hashes and UUIDs do not return. An ARN's partition, service, region and
account stay literal. An id that is the whole name (`key/UUID`) stays too, since its pattern would be every key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_MOST_SIBLINGS = 5
"""More resources than this in one folder, or under one name, are opened to the folder."""
_HASH = re.compile(r"[0-9a-f]{32,64}", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


def generalise(resources: Sequence[str]) -> tuple[str, ...]:
    """Patterns that cover all of `resources`, sorted; a resource with nothing volatile stays as it is."""
    opened = sorted({_open(resource) for resource in resources})
    return tuple(sorted(_fold_folders(opened)))


def _open(resource: str) -> str:
    head, tail = _split(resource)
    for volatile in (_UUID, _HASH):
        tail = volatile.sub("*", tail)
    opened = re.sub(r"\*{2,}", "*", tail)
    if opened == "*" and ":s3:::" not in head:
        return resource
    return head + opened


def _split(resource: str) -> tuple[str, str]:
    """The part that stays literal (through the bucket, or `stack/` and its name) and the part that may open."""
    fields = resource.split(":", 5)
    if len(fields) < 6:
        return resource, ""
    first, slash, rest = fields[5].partition("/")
    if not slash:
        return resource, ""
    return ":".join(fields[:5]) + f":{first}/", rest


def _fold_folders(resources: Sequence[str]) -> list[str]:
    folders: dict[str, list[str]] = {}
    for resource in resources:
        folder, slash, _ = resource.rpartition("/")
        folders.setdefault(folder + slash, []).append(resource)
    folded: list[str] = []
    for folder, inside in folders.items():
        folded.extend([f"{folder}*"] if len(inside) > _MOST_SIBLINGS and ":s3:::" in folder else inside)
    return folded
