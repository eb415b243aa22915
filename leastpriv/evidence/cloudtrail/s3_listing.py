"""The objects of a bucket's branches, oldest first over all of them: each is listed on its own, a page ahead."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

from leastpriv.errors import AwsError
from leastpriv.evidence.cloudtrail.fetchers import Fetchers
from leastpriv.evidence.cloudtrail.s3_layout import Branch, Days, place_in_time
from leastpriv.evidence.cloudtrail.s3_objects import Bucket, Stored

_NAMES = 20_000
"""Names of objects held at a time, over all accounts and regions."""
_PAGE = 1_000
"""Names that S3 gives at most ("ListObjectsV2" of the API reference, read 2026-11)."""
_LEAST = 50


class Listing:
    """Lists some branches at the same time: the first page of each is asked for at once."""

    def __init__(
        self,
        bucket: Bucket,
        branches: Sequence[Branch],
        days: Days,
        fetchers: Fetchers,
        lost: Callable[[Branch, AwsError], None],
    ) -> None:
        """`lost`: told of a branch that could not be listed, or not to its end."""
        self._days, self._fetchers, self._lost = days, fetchers, lost
        # Of each branch one page is read while the next one is under way.
        size = max(_LEAST, min(_PAGE, _NAMES // (2 * max(1, len(branches)))))
        listings = [bucket.objects(each.prefix, days.start_after(each), size) for each in branches]
        self._under_way = [(each, pages, self._asked(pages)) for each, pages in zip(branches, listings, strict=True)]

    def __iter__(self) -> Iterator[Stored]:
        """Gives the objects of the days that are read; to be gone through once."""
        streams = [self._branch(*each) for each in self._under_way]
        self._under_way = []
        for _, stored in heapq.merge(*streams, key=lambda entry: entry[0]):
            yield stored

    def _branch(
        self, branch: Branch, pages: Iterator[tuple[Stored, ...]], asked: Future[tuple[Stored, ...]]
    ) -> Iterator[tuple[tuple[str, str], Stored]]:
        try:
            while page := asked.result():
                if self._days.ends_before(branch, page[-1].key):
                    pages = iter(())
                asked = self._asked(pages)
                for stored in page:
                    if self._days.ends_before(branch, stored.key):
                        return
                    place = place_in_time(stored.key)
                    if place and not self._days.leave_out(stored.key):
                        yield place, stored
        except AwsError as error:
            self._lost(branch, error)

    def _asked(self, pages: Iterator[tuple[Stored, ...]]) -> Future[tuple[Stored, ...]]:
        return self._fetchers.submit(next, pages, ())
