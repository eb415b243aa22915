"""Listing and reading the objects of one bucket: pages on demand, and bodies that go on where they broke off."""

from __future__ import annotations

import heapq
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Any, Protocol

from leastpriv.aws.errors import translate_errors
from leastpriv.aws.s3_objects import CONCURRENT_GETS, FastObjectClient
from leastpriv.errors import AwsError, AwsErrorKind
from leastpriv.evidence.cloudtrail.file_store import Branch, Days, Stored, place_in_time
from leastpriv.evidence.cloudtrail.prefetch import Fetchers

__all__ = ["Bucket", "Clients", "Stored"]

_CHUNK = 256 * 1024
_TRIES = 4
"""How often in a row a body may break off without a single new byte before it is given up."""
_AT_ONCE = 16
"""Folders that are listed at the same time."""
_OBJECTS_AT_ONCE = 32
"""S3 answers after some 30 ms: 32 at a time are what botocore can take in within that (measured 2026-11)."""
_LOST = (AwsErrorKind.INCOMPLETE, AwsErrorKind.UNREACHABLE)


class Clients(Protocol):
    """What makes clients: `evidence.aws.Aws`."""

    @property
    def region(self) -> str:
        """The region of the environment; may be empty."""
        ...  # pragma: no cover

    def client(self, service: str, region: str = "") -> Any:
        """A client of a service in a region; empty is the environment's."""
        ...  # pragma: no cover

    def fast_object_client(self, bucket: str) -> FastObjectClient | None:
        """A faster way to the objects of a bucket, where there is one."""
        ...  # pragma: no cover


class Bucket:
    """One bucket. Every method raises `AwsError`; several threads may use one."""

    def __init__(self, name: str, client: Any, fast: FastObjectClient | None = None) -> None:
        """`fast`: what objects are asked of first."""
        self.name = name
        self._client = client
        self._fast = fast
        self.at_once = CONCURRENT_GETS if fast else _OBJECTS_AT_ONCE
        """Objects that are best asked for at the same time."""

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Names right below a prefix that end in `/`, with it."""
        return tuple(name for page in self._pages(prefix, Delimiter="/") for name in _names(page))

    def folders_of(self, prefixes: Sequence[str]) -> list[tuple[str, ...]]:
        """`folders` of each prefix, asked at the same time."""
        if len(prefixes) == 1:
            return [self.folders(prefixes[0])]
        with closing(Fetchers(min(len(prefixes), _AT_ONCE))) as fetchers:
            asked = [fetchers.submit(self.folders, prefix) for prefix in prefixes]
            return [answer.result() for answer in asked]

    def objects(self, prefix: str, start_after: str = "", page: int = 1000) -> Iterator[tuple[Stored, ...]]:
        """Objects below a prefix in order of their keys, behind `start_after`, a page at a time."""
        more = {"StartAfter": start_after} if start_after else {}
        for found in self._pages(prefix, MaxKeys=page, **more):
            yield tuple(
                Stored(str(entry["Key"]), str(entry.get("ETag", "")), int(entry.get("Size", 0)))
                for entry in found.get("Contents", ())
            )

    def open(self, stored: Stored) -> io.RawIOBase:
        """The bytes of an object as a stream that reads on where the connection broke.

        Opening raises `AwsError`; reading raises `OSError` where the body could not be had to its end.
        """
        return _Body(self._client, self.name, stored)

    def fetch(self, stored: Stored) -> bytes:
        """All bytes of an object.

        Raises:
            AwsError: it cannot be had, or not to its end.
        """
        found = self._fast.fetch(stored.key, stored.etag, stored.size) if self._fast else None
        return self.fetch_described(stored)[0] if found is None else found

    def fetch_described(self, stored: Stored) -> tuple[bytes, Mapping[str, str]]:
        """All bytes of an object, and its metadata, names without `x-amz-meta-`.

        Raises:
            AwsError: it cannot be had, or not to its end.
        """
        with _Body(self._client, self.name, stored) as body:
            return body.everything(), body.metadata

    def _pages(self, prefix: str, **more: Any) -> Iterator[Mapping[str, Any]]:
        token: dict[str, str] = {}
        known: set[str] = set()
        while True:
            with translate_errors(f"listing s3://{self.name}/{prefix}", "s3:ListBucket"):
                page = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix, **more, **token)
            yield page
            if not page.get("IsTruncated"):
                return
            following = str(page.get("NextContinuationToken") or "")
            if not following or following in known:
                sentence = f"The listing of s3://{self.name}/{prefix} leads to no next page: run again later."
                raise AwsError(sentence, AwsErrorKind.INCOMPLETE)
            known.add(following)
            token = {"ContinuationToken": following}


class _Body(io.RawIOBase):
    def __init__(self, client: Any, bucket: str, stored: Stored) -> None:
        super().__init__()
        self._client, self._bucket, self._stored = client, bucket, stored
        self._at = 0
        self.metadata: Mapping[str, str] = {}
        self._stream = self._opened()

    def read(self, size: int = -1) -> bytes:
        """Next bytes, at most `size`; empty at the end."""
        try:
            return self._more(size if size >= 0 else self._stored.size or -1)
        except AwsError as error:
            raise OSError(0, str(error)) from error

    def everything(self) -> bytes:
        pieces = []
        while piece := self._more(_CHUNK):
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        if not self.closed and self._stream is not None:
            self._stream.close()
        super().close()

    def _more(self, size: int) -> bytes:
        for left in reversed(range(_TRIES)):
            try:
                with translate_errors(f"reading objects of s3://{self._bucket}", "s3:GetObject"):
                    stream = self._stream or self._opened()
                    self._stream = stream
                    piece: bytes = stream.read(size)
                self._at += len(piece)
                return piece
            except AwsError as error:
                # A body that broke off goes on from its next byte; botocore repeats requests, never bodies.
                self._stream = None
                if error.kind not in _LOST or not left:
                    raise
        raise AssertionError("unreachable")  # pragma: no cover

    def _opened(self) -> Any:
        # Of the same content only: a log file is never written anew, but a bucket can be told to.
        part = {"Range": f"bytes={self._at}-", "IfMatch": self._stored.etag} if self._at else {}
        with translate_errors(f"reading objects of s3://{self._bucket}", "s3:GetObject"):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._stored.key, **part)
            stream = answer["Body"]
            self.metadata = answer.get("Metadata", {})
            if self._at and "ContentRange" not in answer:
                stream.read(self._at)
        return stream


def _names(page: Mapping[str, Any]) -> Iterator[str]:
    yield from (str(entry["Prefix"]) for entry in page.get("CommonPrefixes", ()))


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
