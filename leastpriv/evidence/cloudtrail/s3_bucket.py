"""Lists and reads the objects of one bucket, and resumes bodies after an interruption."""

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
from leastpriv.evidence.cloudtrail.file_store import DayRange, LogPrefix, StoredFile, key_order
from leastpriv.evidence.cloudtrail.prefetch import DaemonThreadPool

_CHUNK = 256 * 1024
_TRIES = 4
"""Interruptions in a row without a new byte before reading fails."""
_AT_ONCE = 16
"""Folders that are listed concurrently."""
_OBJECTS_AT_ONCE = 32
"""S3 answers after some 30 ms, in which botocore can process 32 responses (measured 2026-11)."""
_RETRIED = (AwsErrorKind.INCOMPLETE, AwsErrorKind.UNREACHABLE)


class AwsClients(Protocol):
    """Creates AWS clients; implemented by `leastpriv.aws.session`."""

    @property
    def region(self) -> str:
        """The region of the environment; may be empty."""
        ...  # pragma: no cover

    def client(self, service: str, region: str = "") -> Any:
        """Returns the client of a service in a region; empty: the environment's."""
        ...  # pragma: no cover

    def fast_object_client(self, bucket: str) -> FastObjectClient | None:
        """Returns a faster client for objects, where there is one."""
        ...  # pragma: no cover


class Bucket:
    """One bucket. Every method raises `AwsError`; safe to use from several threads."""

    def __init__(self, name: str, client: Any, fast: FastObjectClient | None = None) -> None:
        """`fast`: the client that is tried first for objects."""
        self.name = name
        self._client = client
        self._fast = fast
        self.at_once = CONCURRENT_GETS if fast else _OBJECTS_AT_ONCE
        """Best number of concurrent requests for objects."""

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Returns the folders directly below a prefix, with trailing slashes."""
        return tuple(name for page in self._pages(prefix, Delimiter="/") for name in _names(page))

    def folders_of(self, prefixes: Sequence[str]) -> list[tuple[str, ...]]:
        """Returns `folders` of each prefix, listed concurrently."""
        if len(prefixes) == 1:
            return [self.folders(prefixes[0])]
        with closing(DaemonThreadPool(min(len(prefixes), _AT_ONCE))) as fetchers:
            asked = [fetchers.submit(self.folders, prefix) for prefix in prefixes]
            return [answer.result() for answer in asked]

    def objects(self, prefix: str, start_after: str = "", page: int = 1000) -> Iterator[tuple[StoredFile, ...]]:
        """Yields pages of the objects below a prefix in order of their keys, after `start_after`."""
        more = {"StartAfter": start_after} if start_after else {}
        for found in self._pages(prefix, MaxKeys=page, **more):
            yield tuple(
                StoredFile(str(entry["Key"]), str(entry.get("ETag", "")), int(entry.get("Size", 0)))
                for entry in found.get("Contents", ())
            )

    def open(self, stored: StoredFile) -> io.RawIOBase:
        """Returns the content of an object as a stream that resumes after an interruption.

        Opening raises `AwsError`; reading raises `OSError` where the body cannot be read completely.
        """
        return _Body(self._client, self.name, stored)

    def fetch(self, stored: StoredFile) -> bytes:
        """Returns the content of an object.

        Raises:
            AwsError: it cannot be read completely.
        """
        found = self._fast.fetch(stored.key, stored.etag, stored.size) if self._fast else None
        return self.fetch_described(stored)[0] if found is None else found

    def fetch_described(self, stored: StoredFile) -> tuple[bytes, Mapping[str, str]]:
        """Returns the content of an object and its metadata, names without `x-amz-meta-`.

        Raises:
            AwsError: it cannot be read completely.
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
                sentence = f"The listing of s3://{self.name}/{prefix} has no next page: run again later."
                raise AwsError(sentence, AwsErrorKind.INCOMPLETE)
            known.add(following)
            token = {"ContinuationToken": following}


class _Body(io.RawIOBase):
    def __init__(self, client: Any, bucket: str, stored: StoredFile) -> None:
        super().__init__()
        self._client, self._bucket, self._stored = client, bucket, stored
        self._at = 0
        self.metadata: Mapping[str, str] = {}
        self._stream = self._opened()

    def read(self, size: int = -1) -> bytes:
        """Returns the next bytes, at most `size`; empty at the end."""
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
                # Resume an interrupted body at its next byte; botocore repeats requests, never bodies.
                self._stream = None
                if error.kind not in _RETRIED or not left:
                    raise
        raise AssertionError("unreachable")  # pragma: no cover

    def _opened(self) -> Any:
        # The ETag must be unchanged: a log file is never rewritten, but a bucket allows it.
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
"""Names of objects in memory, over all accounts and regions."""
_PAGE = 1_000
"""Most names that S3 returns per page ("ListObjectsV2" of the API reference, read 2026-11)."""
_LEAST = 50


class BucketListing:
    """Lists some prefixes concurrently: the first pages of all are requested at once."""

    def __init__(
        self,
        bucket: Bucket,
        branches: Sequence[LogPrefix],
        days: DayRange,
        fetchers: DaemonThreadPool,
        lost: Callable[[LogPrefix, AwsError], None],
    ) -> None:
        """`lost`: called with a prefix that could not be listed completely."""
        self._days, self._fetchers, self._lost = days, fetchers, lost
        # Each prefix has one page in use and the next one in flight.
        size = max(_LEAST, min(_PAGE, _NAMES // (2 * max(1, len(branches)))))
        listings = [bucket.objects(each.prefix, days.start_after(each), size) for each in branches]
        self._under_way = [(each, pages, self._asked(pages)) for each, pages in zip(branches, listings, strict=True)]

    def __iter__(self) -> Iterator[StoredFile]:
        """Yields the objects of the days that are read; can be iterated once."""
        streams = [self._branch(*each) for each in self._under_way]
        self._under_way = []
        for _, stored in heapq.merge(*streams, key=lambda entry: entry[0]):
            yield stored

    def _branch(
        self, branch: LogPrefix, pages: Iterator[tuple[StoredFile, ...]], asked: Future[tuple[StoredFile, ...]]
    ) -> Iterator[tuple[tuple[str, str], StoredFile]]:
        try:
            while page := asked.result():
                if self._days.ends_before(branch, page[-1].key):
                    pages = iter(())
                asked = self._asked(pages)
                for stored in page:
                    if self._days.ends_before(branch, stored.key):
                        return
                    place = key_order(stored.key)
                    if place and not self._days.excludes(stored.key):
                        yield place, stored
        except AwsError as error:
            self._lost(branch, error)

    def _asked(self, pages: Iterator[tuple[StoredFile, ...]]) -> Future[tuple[StoredFile, ...]]:
        return self._fetchers.submit(next, pages, ())
