"""What nobody foresaw in an answer ends one source, never the run: a gap that could hide anything."""

from __future__ import annotations

from collections.abc import Iterator

from leastpriv.errors import LeastprivError
from leastpriv.model import Call, Gap, GapKind, Scope


def as_gap(named: str, items: Iterator[Call | Gap]) -> Iterator[Call | Gap]:
    """The items of a source that is called so, up to what it stumbles over; that is the last item.

    Raises what is ours (`LeastprivError`), and what is no fault of an answer (an interruption).
    """
    try:
        yield from items
    except LeastprivError:
        raise
    except Exception as error:  # the answers of another party, in any shape
        detail = f"{named}: it was left at an answer of unknown shape ({type(error).__name__})"
        yield Gap(GapKind.SOURCE_FAILED, Scope(), detail)
