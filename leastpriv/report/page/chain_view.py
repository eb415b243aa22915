"""The roles that a role leads to, laid out for the page: a column a step, each way in words beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leastpriv.evidence.chain import Chain, Link, Way
from leastpriv.report.chain import Chained
from leastpriv.report.words import plural

WIDTH, _COLUMN, _ROW, _BOX, _HEIGHT = 1000, 330, 54, 250, 36
_LONGEST = 28


@dataclass(frozen=True, slots=True)
class Box:
    """One role; `label` is its name, cut to what fits."""

    x: int
    y: int
    label: str
    arn: str
    committed: bool
    """A committed policy is looked after."""


@dataclass(frozen=True, slots=True)
class Line:
    """One way from a role to another."""

    path: str
    """Of the SVG."""
    words: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chain; `view` is the SVG's size."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    height: int
    left_out: int
    width: int = _BOX
    box_height: int = _HEIGHT


def drawing(chained: Chained | None) -> Drawing | None:
    """The chain as boxes and lines; None where nothing leads on."""
    if chained is None or not chained.chain.links:
        return None
    chain = chained.chain
    places = _places(chain)
    boxes = tuple(
        Box(x, y, _cut(_name(arn)), arn, committed=arn in chained.committed) for arn, (x, y) in sorted(places.items())
    )
    lines = tuple(_line(link, places) for link in chain.links if {link.source, link.role} <= places.keys())
    return Drawing(boxes, lines, max(y for _, y in places.values()) + _ROW, chain.left_out)


def _places(chain: Chain) -> Mapping[str, tuple[int, int]]:
    """ARN -> corner of its box; a role stands in the column of the shortest way to it."""
    steps = dict.fromkeys(chain.roots, 0)
    for _ in chain.members:
        for link in chain.links:
            if link.source in steps:
                steps.setdefault(link.role, steps[link.source] + 1)
    rows: dict[int, int] = {}
    places = {}
    for arn, step in steps.items():
        rows[step] = rows.get(step, -1) + 1
        places[arn] = (step * _COLUMN, rows[step] * _ROW + 8)
    return places


def _line(link: Link, places: Mapping[str, tuple[int, int]]) -> Line:
    (x, y), (to_x, to_y) = places[link.source], places[link.role]
    start, end = x + _BOX, to_x
    if to_x <= x:
        # Back to an earlier column, or within one: round the right side.
        start, end = x + _BOX, to_x + _BOX
    bend = max(abs(end - start) // 2, 40)
    last = end - bend if to_x > x else end + bend
    path = f"M{start} {y + _HEIGHT // 2} C{start + bend} {y + _HEIGHT // 2} {last} {to_y + _HEIGHT // 2} "
    return Line(f"{path}{end} {to_y + _HEIGHT // 2}", _words(link))


def _words(link: Link) -> str:
    how = "assumes" if link.way is Way.ASSUMED else f"hands {link.service or 'a service'}"
    return f"{_name(link.source)} {how} {_name(link.role)} ({plural(link.count, 'call')})"


def _name(arn: str) -> str:
    return arn.rpartition("/")[2]


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
