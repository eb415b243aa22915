"""Reads the tags of a request, and knows which tags name a project or a copy of it
(`tag_keys.tsv`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from leastpriv.permissions.fact_tables import table

Tags = tuple[tuple[str, str], ...]
"""Keys and values, sorted."""
_TEXT = re.compile(r"[\w .:/=+@-]{1,256}")
"""A key or value without a wildcard or policy variable, in the letters that AWS allows in tags
(https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html, inferred).
"""
_OF_CREATED = frozenset({
    "tags", "taglist", "tagset", "tagslist",
    "backupplantags", "backupvaulttags", "bottags", "flowtags", "frameworktags",
    "identitypooltags", "reportplantags", "userpooltags",
})  # fmt: skip
"""Parameters that hold the tags of what a call creates, in lower case (models of botocore 1.44.8;
others, as `stagingAreaTags`, hold those of something else).
"""


def tags_by_type(
    parameters: Mapping[str, object], *, is_whole: bool = True
) -> Iterator[tuple[str, Tags]]:
    """Yields the tags of a request by resource type, empty for what the call creates.

    Some requests wrap all in one member (`DistributionConfigWithTags`,
    `CreateLaunchTemplateRequest`).
    """
    for name, value in parameters.items():
        match name.lower():
            case lowered if lowered in _OF_CREATED:
                yield "", tuple(_telling_tags(value))
            case "tagspecificationset" | "tagspecifications" | "tagspecification":
                yield from map(_specification, _items(value))
            case _ if (
                is_whole
                and isinstance(value, Mapping)
                and name.lower().endswith(("withtags", "request"))
            ):
                yield from tags_by_type(value, is_whole=False)


def _specification(value: Mapping[str, object]) -> tuple[str, Tags]:
    """The type and the tags of a tag specification; the records of some calls count members:
    `"tag": 1`.
    """
    members = {
        name.lower(): member for name, member in value.items() if not isinstance(member, int)
    }
    return str(members.get("resourcetype", "")).lower(), tuple(
        _telling_tags(members.get("tags", members.get("tag")))
    )


_WRAPPERS = frozenset({"items", "member"})


def _items(value: object) -> Iterator[Mapping[str, object]]:
    """Yields the objects of a list, which EC2's records wrap as `items`, or write as one object if
    there is one.
    """
    if isinstance(value, Mapping):
        value = next(
            (member for name, member in value.items() if name.lower() in _WRAPPERS), [value]
        )
    for element in value if isinstance(value, list | tuple) else ():
        if isinstance(element, Mapping):
            yield element


def _telling_tags(value: object) -> Iterator[tuple[str, str]]:
    """Yields the tags that name a project or a copy, in any of AWS's forms: a map, or a list of
    members with key and value.
    """
    pairs: Iterable[tuple[object, object]]
    names = set(map(str.lower, value)) if isinstance(value, Mapping) else _WRAPPERS
    if isinstance(value, Mapping) and names.isdisjoint(_WRAPPERS) and not names >= {"key", "value"}:
        pairs = value.items()
    else:
        members = (
            {key.lower().removeprefix("tag"): text for key, text in element.items()}
            for element in _items(value)
        )
        pairs = ((member.get("key"), member.get("value")) for member in members)
    for key, text in pairs:
        if isinstance(key, str) and isinstance(text, str) and is_telling_tag(key, text):
            yield key, text


def is_telling_tag(key: str, value: str) -> bool:
    """Whether a tag says to which project or copy a resource belongs, in text that a condition can
    hold.
    """
    is_known = key_rank(key) is not None or is_copy_key(key)
    return is_known and bool(_TEXT.fullmatch(key) and _TEXT.fullmatch(value))


@cache
def key_rank(key: str) -> int | None:
    """The rank of a tag's key among those that name a project (`tag_keys.tsv`), the most telling
    first.
    """
    keys = [row["key"] for row in table("tag_keys") if row["names"] == "project"]
    plain = _plain(key)
    return keys.index(plain) if plain in keys else None


@cache
def is_copy_key(key: str) -> bool:
    """Whether a tag's key names a copy of the project: `Environment`, `stage`."""
    keys = [row["key"] for row in table("tag_keys") if row["names"] == "copy"]
    return _plain(key) in keys


def _plain(key: str) -> str:
    """A key in lower case without its prefix, separators and `name`; empty for one of AWS."""
    if key.lower().startswith("aws:"):
        return ""
    last = re.split(r"[:/.]", key)[-1].lower()
    plain = re.sub(r"[-_ ]", "", last)
    return plain.removesuffix("name") or plain
