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
    narrowed: bool = False
    """It selects by something else too (a name, a caller): what it leaves out is not known in these words."""


def unlogged(answer: Mapping[str, Any]) -> Iterator[tuple[Scope, str]]:
    """What GetEventSelectors says that the trail leaves out: scope, and words for it.

    Data events that are selected for some resources only have no gap: of those the records themselves must show that
    they are logged (docs: decision 3).
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
    for kind in sorted(selected):
        own = [each for each in selectors if each.data_type == kind]
        clear = {word for each in own if not each.narrowed for word in each.kinds}
        if any(each.narrowed for each in own) and clear != _BOTH:
            yield Scope(events=(kind,)), f"all data events of {kind}"


def _basic(selector: Mapping[str, Any]) -> Iterator[_Selector]:
    kinds = _BASIC.get(str(selector.get("ReadWriteType") or "All"), frozenset())
    if selector.get("IncludeManagementEvents", True):
        excluded = frozenset(str(each) for each in selector.get("ExcludeManagementEventSources") or ())
        yield _Selector("Management", kinds, excluded)
    for resource in selector.get("DataResources") or ():
        yield _Selector("Data", kinds, data_type=str(resource.get("Type")))


def _advanced(selector: Mapping[str, Any]) -> _Selector:
    fields = {str(each.get("Field")): each for each in selector.get("FieldSelectors") or ()}
    category = _only(fields.pop("eventCategory", {}))
    flag = _only(fields.pop("readOnly", {}))
    kinds = {"true": frozenset({_READ}), "false": frozenset({_WRITE})}.get(flag.lower(), _BOTH)
    data_type = _only(fields.pop("resources.type", {}))
    # Of the resources that are named the records must show that they are logged, so the naming is no gap.
    fields.pop("resources.ARN", None)
    excluded: frozenset[str] = frozenset()
    if category == "Management" and _operators(fields.get("eventSource", {})) == {"NotEquals"}:
        excluded = frozenset(str(each) for each in fields.pop("eventSource", {}).get("NotEquals", ()))
    return _Selector(category, kinds, excluded, data_type, narrowed=bool(fields))


def _only(field: Mapping[str, Any]) -> str:
    values: Sequence[object] = field.get("Equals") or ()
    return str(values[0]) if len(values) == 1 else ""


def _operators(field: Mapping[str, Any]) -> set[str]:
    return {name for name, values in field.items() if name != "Field" and values}
