"""The log files of one bucket: lists and reads its objects, and resumes bodies after an
interruption.
"""

from __future__ import annotations

import heapq
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Any, BinaryIO, NamedTuple, cast

from leastpriv.aws.arns import Window
from leastpriv.aws.errors import required_member, translate_errors
from leastpriv.aws.s3_objects import CONCURRENT_GETS, FastObjectClient
from leastpriv.cloudtrail.file_store import (
    DayRange,
    FileOrder,
    LogPrefix,
    StoredFile,
    find_log_prefixes,
    key_order,
)
from leastpriv.cloudtrail.prefetch import DaemonThreadPool
from leastpriv.errors import AwsError, AwsErrorKind

_CHUNK = 256 * 1024
_TRIES = 4
"""Interruptions in a row without a new byte before reading fails."""
_AT_ONCE = 16
"""Folders that are listed concurrently."""
_OBJECTS_AT_ONCE = 32
"""S3 answers after some 30 ms, in which botocore can process 32 responses (measured 2026-11)."""
_RETRIED = (AwsErrorKind.INCOMPLETE, AwsErrorKind.UNREACHABLE)
_NAMES = 20_000
"""Names of objects in memory, over all accounts and regions."""
_PAGE = 1_000
"""Most names that S3 returns per page ("ListObjectsV2" of the API reference, read 2026-11)."""
_LEAST = 50


class DescribedObject(NamedTuple):
    """The content of an object, with its metadata."""

    content: bytes
    metadata: Mapping[str, str]
    """Names without `x-amz-meta-`."""


class Bucket:
    """One bucket. Every method raises `AwsError`; safe to use from several threads."""

    def __init__(self, name: str, client: Any, fast: FastObjectClient | None = None) -> None:
        """`fast`: the client that is tried first for objects."""
        self.name = name
        self._client = client
        self._fast = fast
        # All retries of botocore have one quota, which a hundred throttled requests use up.
        self._repeated = threading.BoundedSemaphore(_OBJECTS_AT_ONCE)
        self.at_once = CONCURRENT_GETS if fast else _OBJECTS_AT_ONCE
        """Best number of concurrent requests for objects."""
        self.prefixes: Sequence[LogPrefix] = ()
        """The log prefixes that `list` reads."""
        self.unlisted: dict[LogPrefix, AwsError] = {}
        """Log prefixes that could not be listed completely."""

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Returns the folders directly below a prefix, with trailing slashes."""
        pages = self._pages(prefix, Delimiter="/")
        return tuple(
            str(entry["Prefix"]) for page in pages for entry in page.get("CommonPrefixes", ())
        )

    def folders_of(self, prefixes: Sequence[str]) -> list[tuple[str, ...]]:
        """Returns `folders` of each prefix, listed concurrently."""
        with closing(DaemonThreadPool(min(len(prefixes), _AT_ONCE))) as fetchers:
            folder_tasks = [fetchers.submit(self.folders, prefix) for prefix in prefixes]
            return [answer.result() for answer in folder_tasks]

    def find_prefixes(self, prefix: str, accounts: frozenset[str] | None) -> tuple[LogPrefix, ...]:
        """Finds the log prefixes of these accounts (None: all) below a prefix without a trailing
        slash.
        """
        prefixes = find_log_prefixes(self.folders_of, f"{prefix}/" if prefix else "", accounts)
        return tuple(
            prefix_found
            for prefix_found in prefixes
            if not accounts or not prefix_found.account or prefix_found.account in accounts
        )

    def objects(
        self, prefix: str, start_after: str = "", page: int = 1000
    ) -> Iterator[tuple[StoredFile, ...]]:
        """Yields pages of the objects below a prefix in order of their keys, after
        `start_after`.
        """
        position = {"StartAfter": start_after} if start_after else {}
        for answer in self._pages(prefix, MaxKeys=page, **position):
            # A page may be empty though another follows.
            if entries := answer.get("Contents"):
                yield tuple(
                    StoredFile(
                        str(entry["Key"]), str(entry.get("ETag", "")), int(entry.get("Size", 0))
                    )
                    for entry in entries
                )

    def list(self, window: Window) -> Iterator[StoredFile]:
        """Yields the log files of a window below `prefixes`, oldest first; the first pages are
        requested at once.
        """
        days, branches = DayRange.of(window), self.prefixes
        # Each prefix has one page in use and the next one in flight.
        size = max(_LEAST, min(_PAGE, _NAMES // (2 * max(1, len(branches)))))
        with closing(DaemonThreadPool(min(max(1, len(branches)), self.at_once))) as fetchers:
            listings = [
                self.objects(branch.prefix, days.start_after(branch), size) for branch in branches
            ]
            page_tasks = [fetchers.submit(next, pages, ()) for pages in listings]
            streams = [
                self._branch(branch, days, pages, first, fetchers)
                for branch, pages, first in zip(branches, listings, page_tasks, strict=True)
            ]
            for entry in heapq.merge(*streams, key=lambda entry: entry.order):
                yield entry.stored

    def _branch(
        self,
        branch: LogPrefix,
        days: DayRange,
        pages: Iterator[tuple[StoredFile, ...]],
        requested: Future[tuple[StoredFile, ...]],
        fetchers: DaemonThreadPool,
    ) -> Iterator[_ListedFile]:
        """Yields the log files of one prefix; `requested`: the first of its pages."""
        try:
            while page := requested.result():
                if days.ends_before(branch, page[-1].key):
                    pages = iter(())
                requested = fetchers.submit(next, pages, ())
                for stored in page:
                    if days.ends_before(branch, stored.key):
                        return
                    order = key_order(stored.key)
                    if order and not days.excludes(stored.key):
                        yield _ListedFile(order, stored)
        except AwsError as error:
            self.unlisted[branch] = error

    def name_of(self, stored: StoredFile) -> str:
        """The location of an object: `s3://bucket/key`."""
        return f"s3://{self.name}/{stored.key}"

    def open(self, stored: StoredFile) -> BinaryIO:
        """Returns the content of an object as a stream that resumes after an interruption.

        Opening raises `AwsError`; reading raises `OSError` where the body cannot be read
        completely.
        """
        return cast(BinaryIO, _Body(self._client, self.name, stored))

    def fetch(self, stored: StoredFile) -> bytes:
        """Returns the content of an object; raises AwsError where it cannot be read completely."""
        if self._fast is None:
            return self.fetch_described(stored).content
        content = self._fast.fetch(stored.key, stored.etag, stored.size)
        if content is not None:
            return content
        with self._repeated:
            return self.fetch_described(stored).content

    def fetch_described(self, stored: StoredFile) -> DescribedObject:
        """Returns the content of an object and its metadata; raises AwsError."""
        with _Body(self._client, self.name, stored) as body:
            return DescribedObject(body.everything(), body.metadata)

    def _pages(self, prefix: str, **more: Any) -> Iterator[Mapping[str, Any]]:
        activity = f"listing s3://{self.name}/{prefix}"
        position: dict[str, str] = {}
        earlier_tokens: set[str] = set()
        while True:
            with translate_errors(activity, "s3:ListBucket"):
                page = self._client.list_objects_v2(
                    Bucket=self.name, Prefix=prefix, **more, **position
                )
            is_truncated = required_member(page, activity, "IsTruncated")
            yield page
            if not is_truncated:
                return
            token = str(page.get("NextContinuationToken") or "")
            if not token or token in earlier_tokens:
                raise AwsError(
                    f"The listing of s3://{self.name}/{prefix} has no next page: run again later.",
                    AwsErrorKind.INCOMPLETE,
                )
            earlier_tokens.add(token)
            position = {"ContinuationToken": token}


class _ListedFile(NamedTuple):
    """A log file in a listing, with what orders it among those of other prefixes."""

    order: FileOrder
    stored: StoredFile


class _Body(io.RawIOBase):
    def __init__(self, client: Any, bucket: str, stored: StoredFile) -> None:
        super().__init__()
        self._client = client
        self._bucket = bucket
        self._stored = stored
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
        for tries_left in reversed(range(_TRIES)):
            try:
                with translate_errors(f"reading objects of s3://{self._bucket}", "s3:GetObject"):
                    stream = self._stream or self._opened()
                    self._stream = stream
                    piece: bytes = stream.read(size)
                self._at += len(piece)
                return piece
            except AwsError as error:
                # Resume an interrupted body at its next byte; botocore repeats requests, never
                # bodies.
                self._stream = None
                if error.kind not in _RETRIED or not tries_left:
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
