"""Reads the tags of a request that say to which project a new resource belongs (`tag_keys.tsv`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from leastpriv.permissions.fact_tables import table

Tags = tuple[tuple[str, str], ...]
"""Keys and values, sorted."""
_TEXT = re.compile(r"[\w .:/=+@-]{1,256}")
"""A key or value without a wildcard or policy variable, in the letters that AWS allows in tags
(https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html, inferred)."""


def tags_by_type(parameters: Mapping[str, object], *, is_whole: bool = True) -> Iterator[tuple[str, Tags]]:
    """Yields the tags of a request by resource type, empty for what the call creates.

    Some requests wrap all in one member (`DistributionConfigWithTags`).
    """
    for name, value in parameters.items():
        match name.lower():
            case "tags" | "taglist" | "tagset":
                yield "", _project_tags(value)
            case "tagspecificationset" | "tagspecifications" | "tagspecification":
                yield from (
                    (str(each.get("resourceType", "")).lower(), _project_tags(each.get("tags")))
                    for each in _items(value)
                )
            case _ if is_whole and isinstance(value, Mapping) and name.lower().endswith("withtags"):
                yield from tags_by_type(value, is_whole=False)


def _project_tags(value: object) -> Tags:
    return tuple((key, text) for key, text in pairs_of(value) if is_project_tag(key, text))


_WRAPPERS = frozenset({"items", "member"})


def _items(value: object) -> Iterator[Mapping[str, object]]:
    """Yields the objects of a list, which EC2's records wrap as `items`."""
    if isinstance(value, Mapping):
        value = next((each for name, each in value.items() if str(name).lower() in _WRAPPERS), ())
    for each in value if isinstance(value, list | tuple) else ():
        if isinstance(each, Mapping):
            yield each


def pairs_of(value: object) -> Iterator[tuple[str, str]]:
    """Yields keys and values of tags in any of AWS's forms: a map, or a list of members with key and value."""
    if isinstance(value, Mapping) and not any(str(name).lower() in _WRAPPERS for name in value):
        yield from ((key, text) for key, text in value.items() if isinstance(text, str))
        return
    for each in _items(value):
        members = {str(key).lower().removeprefix("tag"): text for key, text in each.items()}
        key, text = members.get("key"), members.get("value")
        if isinstance(key, str) and isinstance(text, str):
            yield key, text


def is_project_tag(key: str, value: str) -> bool:
    """Whether a tag says to which project a resource belongs, in text that a condition can hold."""
    return key_rank(key) is not None and bool(_TEXT.fullmatch(key) and _TEXT.fullmatch(value))


@cache
def key_rank(key: str) -> int | None:
    """The rank of a tag's key among those that name a project (`tag_keys.tsv`), the most telling first."""
    last = re.split(r"[:/.]", key)[-1].lower()
    plain = re.sub(r"[-_ ]", "", last)
    plain = plain.removesuffix("name") or plain
    ranks = {row["key"]: rank for rank, row in enumerate(table("tag_keys"))}
    return None if key.lower().startswith("aws:") else ranks.get(plain)
