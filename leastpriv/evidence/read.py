"""Sources read into one book of usage per principal, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from leastpriv.evidence.left_out import left_out_by_all
from leastpriv.evidence.refusals.encoded import NO_DECODER, Decoder
from leastpriv.evidence.source import Principals, Source, Window
from leastpriv.evidence.usage import Evidence, UsageBook
from leastpriv.model import Call, Gap, Principal

_SAY_EVERY = 10_000


def read_evidence(
    sources: Sequence[Source],
    window: Window,
    target: Principal | None,
    progress: Callable[[int], None] = lambda _: None,
    decoder: Decoder = NO_DECODER,
) -> Mapping[str, Evidence]:
    """Evidence by principal ARN; `target` None reads everybody.

    A target is always in the answer, also without any call. Gaps count for every principal, since what could not
    be read may have been anybody's. `decoder`
    reads what EC2 encoded. `progress` hears of the number of calls read so far, now and then.
    """
    principals = Principals(frozenset({target}) if target else None)
    books: dict[str, UsageBook] = {target.arn: UsageBook(target.arn, decoder)} if target else {}
    gaps: list[list[Gap]] = [[] for _ in sources]
    for number, (source, item) in enumerate(_items(sources, window, principals), start=1):
        if isinstance(item, Gap):
            gaps[source].append(item)
        else:
            # A record without sessionIssuer has lost the role's path: it is the same role, and the same run.
            call = replace(item, principal=target.arn) if target and item.principal != target.arn else item
            books.setdefault(call.principal, UsageBook(call.principal, decoder)).note(call)
        if number % _SAY_EVERY == 0:
            progress(number)
    for book in books.values():
        for gap in left_out_by_all(gaps):
            book.note_gap(gap)
    return {name: book.close() for name, book in sorted(books.items())}


def _items(sources: Sequence[Source], window: Window, principals: Principals) -> Iterator[tuple[int, Call | Gap]]:
    for number, source in enumerate(sources):
        for item in source.read(window, principals):
            yield number, item
