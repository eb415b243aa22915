"""Reads all sources of evidence in one pass, into the evidence of each principal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import PurePath
from typing import TYPE_CHECKING

from leastpriv.aws.arns import EvidenceSource, Principals, Window
from leastpriv.errors import LeastprivError
from leastpriv.models import Call, Gap, GapKind, Principal, Scope

if TYPE_CHECKING:
    from leastpriv.evidence.denials.encoded_message import Decoder
    from leastpriv.evidence.models import Evidence

_SAY_EVERY = 10_000


def read_evidence(
    sources: Sequence[EvidenceSource],
    window: Window,
    target: Principal | Principals | None,
    progress: Callable[[int], None] = lambda _: None,
    decoder: Decoder | None = None,
) -> Mapping[str, Evidence]:
    """Evidence by principal ARN, of one target or of several in one pass; `target` None reads everybody.

    A target is always in the answer, also without any call. Gaps count for every principal, since what could not
    be read may have been anybody's. `decoder` reads what EC2 encoded. `progress` hears of the number of calls read so
    far, now and then.

    Raises:
        LeastprivError: what the first source raised, where none could be read; beside others that is a gap.
    """
    return dict(read_by_principal(sources, window, target, progress, decoder))


def read_by_principal(
    sources: Sequence[EvidenceSource],
    window: Window,
    target: Principal | Principals | None,
    progress: Callable[[int], None] = lambda _: None,
    decoder: Decoder | None = None,
) -> Iterator[tuple[str, Evidence]]:
    """As `read_evidence`; all is read at once, and the evidence given one by one, so that it need not all be held."""
    principals = target if isinstance(target, Principals) else Principals(frozenset({target}) if target else None)
    items = _items(sources, window, principals)
    first = next(items, None)
    # What makes use of the calls takes longer to load than all before: the first file is open by then, and a bucket's
    # first objects are on their way.
    from leastpriv.evidence.collector import PrincipalCollectors

    books = PrincipalCollectors(principals, len(sources), decoder)
    for number, (source, item) in enumerate(chain([first] if first else [], items), start=1):
        books.note(source, item)
        if number % _SAY_EVERY == 0:
            progress(number)
    return books.close()


def _items(
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
    """What a source gives; one that fails in a way nobody foresaw ends with a gap, and the others are still read."""
    try:
        yield from source.read(window, principals)
    except LeastprivError as error:
        yield error
    except Exception as error:
        yield Gap(
            GapKind.SOURCE_FAILED, Scope(), f"{_name(source)} could not be read to its end: {describe_defect(error)}"
        )


def _name(source: EvidenceSource) -> str:
    return type(source).__name__ if type(source).__str__ is object.__str__ else str(source)


def describe_defect(error: Exception) -> str:
    """An exception that nobody foresaw, in words: whoever reports it should not need to see it happen again."""
    from traceback import extract_tb

    places = extract_tb(error.__traceback__)
    where = f" at {PurePath(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    return f"unexpected {type(error).__name__}{where}; this is a defect, please report it"
