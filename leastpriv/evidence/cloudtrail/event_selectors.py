"""Event selectors of a trail, basic and advanced -> what they leave out (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leastpriv.model import Scope
from leastpriv.permissions.events import map_event
from leastpriv.permissions.visibility import data_event_types

_READ, _WRITE = "read", "write"
_BOTH = frozenset({_READ, _WRITE})
_BASIC = {"ReadOnly": frozenset({_READ}), "WriteOnly": frozenset({_WRITE}), "All": _BOTH}
_OF_A_SERVICE = 2
"""Colons of a value that names all resources of a service: `arn:aws:s3`."""
_CALLS = {_READ: "reading calls", _WRITE: "writing calls"}


@dataclass(frozen=True, slots=True)
class _Selector:
    """One selector, whichever form it came in."""

    category: str
    """`Management` or `Data`; others select nothing that a permission is read from."""
    kinds: frozenset[str]
    """`read`, `write` or both."""
    excluded: frozenset[str] = frozenset()
    """Event sources that it leaves out."""
    data_type: str = ""
    resources: tuple[str, ...] = ("*",)
    """ARNs of the resources that it selects, with `*` at their end where all that begins so is meant."""
    narrowed: bool = False
    """It selects by something else too (a name, a caller): what it leaves out is not known in these words."""


def unlogged(answer: Mapping[str, Any]) -> Iterator[tuple[Scope, str]]:
    """What GetEventSelectors says that the trail leaves out: scope, and words for it.

    Of data events that are selected for some resources, the scope leaves those resources out: whether they are logged
    since long enough, the records themselves must show (docs: decision 3).
    """
    advanced = answer.get("AdvancedEventSelectors") or ()
    basic = answer.get("EventSelectors") or ()
    selectors = [*map(_advanced, advanced), *(one for each in basic for one in _basic(each))]
    yield from _management([each for each in selectors if each.category == "Management"])
    yield from _data([each for each in selectors if each.category == "Data"])


def _management(selectors: Sequence[_Selector]) -> Iterator[tuple[Scope, str]]:
    whole = [each for each in selectors if not each.narrowed]
    left_out: dict[frozenset[str], list[str]] = {}
    for kind in (_READ, _WRITE):
        covering = [each.excluded for each in whole if kind in each.kinds]
        if covering:
            left_out.setdefault(frozenset.intersection(*covering), []).append(kind)
        else:
            yield Scope(events=(f"management-{kind}",)), f"management events of {_CALLS[kind]}"
    for excluded, kinds in left_out.items():
        for source in sorted(excluded):
            events = tuple(f"management-{kind}" for kind in kinds if len(kinds) < len(_BOTH))
            yield Scope(services=(map_event(source, "").prefix,), events=events), f"management events of {source}"


def _data(selectors: Sequence[_Selector]) -> Iterator[tuple[Scope, str]]:
    selected = {each.data_type for each in selectors}
    missing = tuple(kind for kind in data_event_types() if kind not in selected)
    if missing:
        others = f" of other kinds than {', '.join(sorted(selected))}" if selected else ""
        yield Scope(events=missing, data_events=True), f"data events{others}"
    for data_type in sorted(selected):
        for kind in (_READ, _WRITE):
            clear = [each for each in selectors if each.data_type == data_type and kind in each.kinds]
            resources = sorted({resource for each in clear if not each.narrowed for resource in each.resources})
            if "*" not in resources:
                but = f" but for {', '.join(resources)}" if resources else ""
                yield (
                    Scope(events=(f"{data_type} {kind}",), outside=tuple(resources)),
                    f"all data events of {data_type} ({kind}){but}",
                )


def _basic(selector: Mapping[str, Any]) -> Iterator[_Selector]:
    kinds = _BASIC.get(str(selector.get("ReadWriteType") or "All"), frozenset())
    if selector.get("IncludeManagementEvents", True):
        excluded = frozenset(str(each) for each in selector.get("ExcludeManagementEventSources") or ())
        yield _Selector("Management", kinds, excluded)
    for resource in selector.get("DataResources") or ():
        data_type = str(resource.get("Type"))
        named = tuple(_named(data_type, str(value)) for value in resource.get("Values") or ())
        yield _Selector("Data", kinds, data_type=data_type, resources=named)


def _named(data_type: str, value: str) -> str:
    """A value of a basic selector: a bucket and prefix, a function, a table, or all of a service, `arn:aws:lambda`.

    Source: DataResource of the CloudTrail API reference, read 2026-11-24.
    """
    return _below(value) if data_type == "AWS::S3::Object" or _is_whole(value) else value


def _below(start: str) -> str:
    """All ARNs that begin so; those of a whole service are all that a type of resource can have."""
    return "*" if _is_whole(start) else f"{start}*"


def _is_whole(start: str) -> bool:
    return start.rstrip(":").count(":") <= _OF_A_SERVICE


def _advanced(selector: Mapping[str, Any]) -> _Selector:
    fields = {str(each.get("Field")): each for each in selector.get("FieldSelectors") or ()}
    category = _only(fields.pop("eventCategory", {}))
    flag = _only(fields.pop("readOnly", {}))
    kinds = {"true": frozenset({_READ}), "false": frozenset({_WRITE})}.get(flag.lower(), _BOTH)
    data_type = _only(fields.pop("resources.type", {}))
    resources: tuple[str, ...] = ("*",)
    if _operators(fields.get("resources.ARN", {})) in ({"Equals"}, {"StartsWith"}):
        named = fields.pop("resources.ARN")
        resources = (
            *map(str, named.get("Equals") or ()),
            *(_below(str(start)) for start in named.get("StartsWith") or ()),
        )
    excluded: frozenset[str] = frozenset()
    if category == "Management" and _operators(fields.get("eventSource", {})) == {"NotEquals"}:
        excluded = frozenset(str(each) for each in fields.pop("eventSource", {}).get("NotEquals", ()))
    return _Selector(category, kinds, excluded, data_type, resources, narrowed=bool(fields))


def _only(field: Mapping[str, Any]) -> str:
    values: Sequence[object] = field.get("Equals") or ()
    return str(values[0]) if len(values) == 1 else ""


def _operators(field: Mapping[str, Any]) -> set[str]:
    return {name for name, values in field.items() if name != "Field" and values}
