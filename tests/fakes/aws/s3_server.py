"""Fakes Amazon S3 with one bucket: listings and objects over HTTP, with the faults that a test
arranges.

Listings are validated by botocore's model of ListObjectsV2.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape

from leastpriv.aws.session import Aws
from tests.fakes.aws import contract
from tests.fakes.aws.quiet_server import QuietServer

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(slots=True)
class _Fault:
    key: re.Pattern[str]
    times: int
    code: str = ""
    message: str = ""
    status: int = 0
    seconds: float = 0.0
    cut_after: int = -1
    """Bytes of the body before the connection closes."""


@dataclass(slots=True)
class FakeS3:
    """A server of one bucket, from entering the context to leaving it."""

    bucket: str = "logs"
    objects: dict[str, bytes] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of some objects, names without `x-amz-meta-`."""
    requests: list[str] = field(default_factory=list)
    """`LIST prefix` and `GET key`, with ` bytes=…` for a part."""
    last_signature: str = ""
    """The header `Authorization` of the last request."""
    violations: list[str] = field(default_factory=list)
    most_keys: int = 1000
    ranges: bool = True
    """Whether parts of an object are available."""
    _faults: list[_Fault] = field(default_factory=list)
    _doors: dict[int, Aws] = field(default_factory=dict)
    _server: QuietServer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> FakeS3:
        fake = self

        class Handler(_Handler):
            s3 = fake

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        if kind is None and self.violations:
            raise AssertionError("botocore's models were broken:\n" + "\n".join(self.violations))

    @property
    def endpoint(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self._server.server_port}" if self._server else ""

    def environment(self, attempts: int = 1, others: str = "http://127.0.0.1:1") -> dict[str, str]:
        """The variables that direct the product's clients to it, and to `others` for all other
        services.
        """
        return {
            "AWS_ENDPOINT_URL": others, "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": "AKIAFAKE",
            "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1",
            "AWS_MAX_ATTEMPTS": str(attempts),
            "AWS_EC2_METADATA_DISABLED": "true", "LEASTPRIV_S3_CLIENT": "boto3",
        }  # fmt: skip

    def aws(self, attempts: int = 1) -> Aws:
        """The product's client for it; created once, since that takes most of a test's time."""
        if attempts not in self._doors:
            self._doors[attempts] = Aws.open(self.environment(attempts))
        return self._doors[attempts]

    def forget(self) -> None:
        """Reset everything but the address."""
        self.objects.clear()
        self.metadata.clear()
        self.requests.clear()
        self._faults.clear()
        self.most_keys, self.ranges = 1000, True

    # Faults of tests; `key` is a pattern of keys, or of `LIST prefix`.

    def refuse(
        self, key: str, code: str, message: str = "", status: int = 403, times: int = 1_000
    ) -> None:
        """Answer the next requests with an error."""
        self._faults.append(_Fault(re.compile(key), times, code, message, status))

    def delay(self, key: str, seconds: float, times: int = 1_000) -> None:
        """Answer the next requests late."""
        self._faults.append(_Fault(re.compile(key), times, seconds=seconds))

    def break_off(self, key: str, after: int, times: int = 1) -> None:
        """Close the connection after so many bytes of a body."""
        self._faults.append(_Fault(re.compile(key), times, cut_after=after))

    def gets(self) -> int:
        """The number of requests for objects or parts."""
        return sum(1 for each in self.requests if each.startswith("GET "))

    # For the handler.

    def fault_of(self, what: str) -> _Fault | None:
        """Record a request, and return the fault arranged for it."""
        with self._lock:
            self.requests.append(what)
            found = next(
                (each for each in self._faults if each.times and each.key.search(what)), None
            )
            if found:
                found.times -= 1
        return found

    def listing(self, query: Mapping[str, str]) -> bytes:
        """A page of ListObjectsV2."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        most = min(int(query.get("max-keys", 1000)), self.most_keys)
        after = query.get("continuation-token") or query.get("start-after", "")
        keys = [key for key in sorted(self.objects) if key.startswith(prefix) and key > after]
        if delimiter:
            folders = sorted({
                prefix + key[len(prefix) :].split(delimiter)[0] + delimiter
                for key in keys
                if delimiter in key[len(prefix) :]
            })  # fmt: skip
            keys = [key for key in keys if delimiter not in key[len(prefix) :]]
        else:
            folders = []
        page = keys[:most]
        # "encoding-type" of ListObjectsV2 in the API reference (read 2026-11): botocore asks for it
        # and decodes.
        encoded = quote if query.get("encoding-type") == "url" else str
        answer: dict[str, Any] = {
            "Name": self.bucket, "Prefix": prefix, "MaxKeys": most,
            "KeyCount": len(page) + len(folders),
            "IsTruncated": len(keys) > most,
            "CommonPrefixes": [{"Prefix": encoded(each)} for each in folders],
            "Contents": [
                {"Key": encoded(key), "ETag": etag(self.objects[key]),
                "Size": len(self.objects[key]),
                 "LastModified": datetime(2026, 1, 1, tzinfo=UTC), "StorageClass": "STANDARD"}
                for key in page
            ],
        }  # fmt: skip
        if encoded is quote:
            answer |= {"EncodingType": "url", "Prefix": quote(prefix)}
        if answer["IsTruncated"]:
            answer["NextContinuationToken"] = page[-1]
        self.violations += contract.breaches(
            answer, contract.operation("s3", "ListObjectsV2").output_shape, "ListObjectsV2"
        )
        return f'<ListBucketResult xmlns="{_NAMESPACE}">{"".join(_xml(answer))}</ListBucketResult>'.encode()


def etag(body: bytes) -> str:
    """The ETag of S3 for an object of one part."""
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def _xml(value: Mapping[str, Any]) -> Iterator[str]:
    for name, item in value.items():
        for each in item if isinstance(item, list) else [item]:
            if isinstance(each, Mapping):
                yield f"<{name}>{''.join(_xml(each))}</{name}>"
            elif isinstance(each, datetime):
                yield f"<{name}>{each:%Y-%m-%dT%H:%M:%S.000Z}</{name}>"
            else:
                yield (
                    f"<{name}>{escape(str(each).lower() if isinstance(each, bool) else str(each))}</{name}>"
                )


class _Handler(BaseHTTPRequestHandler):
    s3: FakeS3
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    # Headers and body are sent together: otherwise the second waits 40 ms for the first one's
    # acknowledgement.

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name of the base class
        """Log nothing: the requests are recorded."""

    def do_GET(self) -> None:
        path, _, text = self.path.partition("?")
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        query = {
            name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()
        }
        part = self.headers.get("range", "")
        what = f"GET {key} {part}".rstrip() if key else f"LIST {query.get('prefix', '')}"
        self.s3.last_signature = self.headers.get("authorization", "")
        fault = self.s3.fault_of(what)
        if fault and fault.seconds:
            time.sleep(fault.seconds)
        if fault and fault.status:
            self._error(fault.status, fault.code, fault.message)
        elif bucket != self.s3.bucket:
            self._error(404, "NoSuchBucket", "The specified bucket does not exist")
        elif not key:
            cut_after = fault.cut_after if fault else -1
            self._send(200, self.s3.listing(query), {"Content-Type": "application/xml"}, cut_after)
        elif key not in self.s3.objects:
            self._error(404, "NoSuchKey", "The specified key does not exist.")
        else:
            self._object(self.s3.objects[key], self.s3.metadata.get(key, {}), part, fault)

    def _object(
        self, body: bytes, metadata: Mapping[str, str], part: str, fault: _Fault | None
    ) -> None:
        # CloudTrail sets this encoding, which clients must not decode.
        headers = {
            "ETag": etag(body),
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        }
        headers |= {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        if self.headers.get("if-match", headers["ETag"]) != headers["ETag"]:
            self._error(
                412,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
            )
            return
        status = 200
        if part and self.s3.ranges:
            start = int(part.removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        self._send(status, body, headers, fault.cut_after if fault else -1)

    def _error(self, status: int, code: str, message: str) -> None:
        text = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
        self._send(status, text.encode(), {"Content-Type": "application/xml"})

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str], cut_after: int = -1
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body if cut_after < 0 else body[:cut_after])
        except OSError:
            cut_after = 0
        if cut_after >= 0:
            self.close_connection = True
