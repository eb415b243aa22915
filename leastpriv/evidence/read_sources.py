"""Reads all sources of evidence in one pass, into the evidence of each principal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePath
from typing import TYPE_CHECKING

from leastpriv.aws.arns import EvidenceSource, Principals, Window
from leastpriv.errors import LeastprivError
from leastpriv.models import Call, Gap, GapKind, Principal, Scope

if TYPE_CHECKING:
    from leastpriv.evidence.denials.encoded_message import Decoder
    from leastpriv.evidence.models import Evidence

_PROGRESS_EVERY = 10_000


@dataclass(frozen=True, slots=True)
class ReadHooks:
    """What a reader of all sources gets besides them."""

    progress: Callable[[int], None] = lambda _: None
    """Called with the number of calls so far, from time to time."""
    decoder: Decoder | None = None
    """Decodes EC2's encoded messages."""
    shared_gaps: list[Gap] | None = None
    """Receives the gaps of the sources; None: they go to the evidence of each principal."""


def read_evidence(
    sources: Sequence[EvidenceSource],
    window: Window,
    target: Principal | Principals | None,
    progress: Callable[[int], None] = lambda _: None,
    decoder: Decoder | None = None,
) -> Mapping[str, Evidence]:
    """Reads all sources in one pass and returns the evidence by principal ARN.

    A target is always in the result, even without calls. Gaps count for every principal, since they may hide calls of
    any.

    Args:
        sources: the sources to read.
        window: the period to read.
        target: the target or targets; None: all principals.
        progress: called with the number of calls so far, from time to time.
        decoder: decodes EC2's encoded messages.

    Raises:
        LeastprivError: no source could be read; the error of the first. With other sources it is a gap.
    """
    return dict(read_by_principal(sources, window, target, ReadHooks(progress, decoder)))


def read_by_principal(
    sources: Sequence[EvidenceSource],
    window: Window,
    target: Principal | Principals | None,
    hooks: ReadHooks | None = None,
) -> Iterator[tuple[str, Evidence]]:
    """Like `read_evidence`, but yields the evidence one by one after reading, so that not all is in memory."""
    hooks = hooks or ReadHooks()
    principals = target if isinstance(target, Principals) else Principals(frozenset({target}) if target else None)
    items = _all_items(sources, window, principals)
    first = next(items, None)
    # Import late: the modules below take longer to load than all others, and meanwhile the first objects arrive.
    from leastpriv.evidence.collector import PrincipalCollectors

    books = PrincipalCollectors(principals, len(sources), hooks.decoder)
    for number, (source, item) in enumerate(chain([first] if first else [], items), start=1):
        books.note(source, item)
        if number % _PROGRESS_EVERY == 0:
            hooks.progress(number)
    return books.close(hooks.shared_gaps)


def _all_items(
    sources: Sequence[EvidenceSource], window: Window, principals: Principals
) -> Iterator[tuple[int, Call | Gap]]:
    failures: list[LeastprivError] = []
    for number, source in enumerate(sources):
        for item in _read(source, window, principals):
            if isinstance(item, LeastprivError):
                failures.append(item)
                yield number, Gap(GapKind.SOURCE_FAILED, Scope(), str(item))
            else:
                yield number, item
    if failures and len(failures) == len(sources):
        raise failures[0]


def _read(source: EvidenceSource, window: Window, principals: Principals) -> Iterator[Call | Gap | LeastprivError]:
    """Yields the items of a source; an unexpected error becomes a gap, so that the other sources are still read."""
    try:
        yield from source.read(window, principals)
    except LeastprivError as error:
        yield error
    except Exception as error:
        yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{_name(source)} could not be fully read: {describe_defect(error)}")


def _name(source: EvidenceSource) -> str:
    return type(source).__name__ if type(source).__str__ is object.__str__ else str(source)


def describe_defect(error: Exception) -> str:
    """Describes an unexpected exception so that a report of it is enough to find the cause."""
    from traceback import extract_tb

    places = extract_tb(error.__traceback__)
    where = f" at {PurePath(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    return f"unexpected {type(error).__name__}{where}; this is a defect, please report it"
