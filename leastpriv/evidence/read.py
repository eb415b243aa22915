"""Sources read into one book of usage per principal, in one pass."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from traceback import extract_tb

from msgspec import structs

from leastpriv.errors import LeastprivError
from leastpriv.evidence.handed_out import HandedOutKeys
from leastpriv.evidence.left_out import left_out_by_all
from leastpriv.evidence.refusals.encoded import NO_DECODER, Decoder
from leastpriv.evidence.source import Principals, Source, Window
from leastpriv.evidence.usage import Evidence, UsageBook
from leastpriv.model import Call, Gap, GapKind, Principal, Scope

_SAY_EVERY = 10_000
_MOST_BY_PATTERN = 200
"""Principals that patterns take in: logs may name any number, and each has a book of its own."""


def read_evidence(
    sources: Sequence[Source],
    window: Window,
    target: Principal | Principals | None,
    progress: Callable[[int], None] = lambda _: None,
    decoder: Decoder = NO_DECODER,
) -> Mapping[str, Evidence]:
    """Evidence by principal ARN, of one target or of several in one pass; `target` None reads everybody.

    A target is always in the answer, also without any call. Gaps count for every principal, since what could not
    be read may have been anybody's. `decoder` reads what EC2 encoded. `progress` hears of the number of calls read so
    far, now and then.

    Raises:
        LeastprivError: what the first source raised, where none could be read; beside others that is a gap.
    """
    principals = target if isinstance(target, Principals) else Principals(frozenset({target}) if target else None)
    books = {each.arn: UsageBook(each.arn, decoder) for each in principals.targets or ()}
    most = len(books) + _MOST_BY_PATTERN if principals.patterns else sys.maxsize
    keys = HandedOutKeys()
    gaps: list[list[Gap]] = [[] for _ in sources]
    for number, (source, item) in enumerate(_items(sources, window, principals), start=1):
        if isinstance(item, Gap):
            gaps[source].append(item)
        else:
            # A record without sessionIssuer has lost the role's path: it is the same role, and the same run.
            own = principals.target_of(item.principal) if principals.targets is not None else None
            call = structs.replace(item, principal=own.arn) if own and own.arn != item.principal else item
            if call.principal not in books and len(books) < most:
                books[call.principal] = UsageBook(call.principal, decoder)
            if call.principal in books:
                books[call.principal].note(call)
                keys.note(call)
        if number % _SAY_EVERY == 0:
            progress(number)
    for book in books.values():
        for gap in left_out_by_all(gaps):
            book.note_gap(gap)
    return {name: _with_keys(book.close(), keys) for name, book in sorted(books.items())}


def _with_keys(evidence: Evidence, keys: HandedOutKeys) -> Evidence:
    """The evidence with whose keys the calls were signed with, and the runs that chained sessions go back to."""
    runs = keys.with_logins(evidence.principal, evidence.runs)
    return replace(evidence, signed=keys.callers(evidence.principal), runs=runs)


def _items(sources: Sequence[Source], window: Window, principals: Principals) -> Iterator[tuple[int, Call | Gap]]:
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


def _read(source: Source, window: Window, principals: Principals) -> Iterator[Call | Gap | LeastprivError]:
    """What a source gives; one that fails in a way nobody foresaw ends with a gap, and the others are still read."""
    try:
        yield from source.read(window, principals)
    except LeastprivError as error:
        yield error
    except Exception as error:
        yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{_name(source)} could not be read to its end: {defect(error)}")


def _name(source: Source) -> str:
    return type(source).__name__ if type(source).__str__ is object.__str__ else str(source)


def defect(error: Exception) -> str:
    """An exception that nobody foresaw, in words: whoever reports it should not need to see it happen again."""
    places = extract_tb(error.__traceback__)
    where = f" at {PurePath(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    return f"unexpected {type(error).__name__}{where}; this is a defect, please report it"
