"""Reads the tags of a request, and knows which tags name a project (`tag_keys.tsv`)."""

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


def tags_by_type(
    parameters: Mapping[str, object], *, is_whole: bool = True
) -> Iterator[tuple[str, Tags]]:
    """Yields the tags of a request by resource type, empty for what the call creates.

    Some requests wrap all in one member (`DistributionConfigWithTags`,
    `CreateLaunchTemplateRequest`).
    """
    for name, value in parameters.items():
        match name.lower():
            case "tags" | "taglist" | "tagset":
                yield "", tuple(project_tags(value))
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
        project_tags(members.get("tags", members.get("tag")))
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


def project_tags(value: object) -> Iterator[tuple[str, str]]:
    """Yields the tags that name a project, in any of AWS's forms: a map, or a list of members with
    key and value.
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
        if isinstance(key, str) and isinstance(text, str) and is_project_tag(key, text):
            yield key, text


def is_project_tag(key: str, value: str) -> bool:
    """Whether a tag says to which project a resource belongs, in text that a condition can hold."""
    return key_rank(key) is not None and bool(_TEXT.fullmatch(key) and _TEXT.fullmatch(value))


@cache
def key_rank(key: str) -> int | None:
    """The rank of a tag's key among those that name a project (`tag_keys.tsv`), the most telling
    first.
    """
    last = re.split(r"[:/.]", key)[-1].lower()
    plain = re.sub(r"[-_ ]", "", last)
    plain = plain.removesuffix("name") or plain
    is_reserved = key.lower().startswith("aws:")
    return next(
        (
            rank
            for rank, row in enumerate(table("tag_keys"))
            if row["key"] == plain and not is_reserved
        ),
        None,
    )
