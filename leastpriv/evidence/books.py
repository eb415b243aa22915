"""Items of all sources shared out: the calls to a book for each principal, the gaps to all of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

from msgspec import structs

from leastpriv.evidence.handed_out import HandedOutKeys
from leastpriv.evidence.left_out import left_out_by_all
from leastpriv.evidence.refusals.encoded import NO_DECODER, Decoder
from leastpriv.evidence.source import Principals
from leastpriv.evidence.usage import Evidence, UsageBook
from leastpriv.model import Call, Gap

_MOST_BY_PATTERN = 200
"""Principals that patterns take in: logs may name any number, and each has a book of its own."""


class Books:
    """The books of one reading."""

    def __init__(self, principals: Principals, sources: int, decoder: Decoder | None = None) -> None:
        """Each target has a book from the beginning; `sources` is how many of them there are."""
        self._principals, self._decoder = principals, decoder or NO_DECODER
        self._books = {each.arn: UsageBook(each.arn, self._decoder) for each in principals.targets or ()}
        self._most = len(self._books) + _MOST_BY_PATTERN if principals.patterns else sys.maxsize
        self._keys = HandedOutKeys()
        self._gaps: list[list[Gap]] = [[] for _ in range(sources)]

    def note(self, source: int, item: Call | Gap) -> None:
        """Take in what a source, by its number, gave."""
        if isinstance(item, Gap):
            self._gaps[source].append(item)
            return
        # A record without sessionIssuer has lost the role's path: it is the same role, and the same run.
        own = self._principals.target_of(item.principal) if self._principals.targets is not None else None
        call = structs.replace(item, principal=own.arn) if own and own.arn != item.principal else item
        if call.principal not in self._books and len(self._books) < self._most:
            self._books[call.principal] = UsageBook(call.principal, self._decoder)
        if call.principal in self._books:
            self._books[call.principal].note(call)
            self._keys.note(call)

    def close(self) -> Iterator[tuple[str, Evidence]]:
        """Gives evidence by principal ARN, sorted, and lets each book go; what all sources left out counts for all."""
        for book in self._books.values():
            for gap in left_out_by_all(self._gaps):
                book.note_gap(gap)
        for name in sorted(self._books):
            yield name, self._with_keys(self._books.pop(name).close())

    def _with_keys(self, evidence: Evidence) -> Evidence:
        """The evidence with whose keys the calls were signed with, and the runs that chained sessions go back to."""
        runs = self._keys.with_logins(evidence.principal, evidence.runs)
        return replace(evidence, signed=self._keys.callers(evidence.principal), runs=runs)
