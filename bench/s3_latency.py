"""Measures trails in S3 with latency: `python -m bench.s3_latency FOLDER [MILLISECONDS [OBJECTS]]`
(30, all).

A server on this machine answers LIST and GET of a folder of generated logs (AWSLogs/…) after the
given milliseconds. Each client runs in a separate process, nine times in turn, and prints median
seconds, seconds of its core, objects per second, peak memory, and its gain over the first: the
median of the ratios per turn, and the ratio of the quickest turns, which other work disturbs least.
Objects are first downloaded and dropped, then also read; the last table is the reading alone, from
disk. The clients are boto3 as in a script (a paginator, 32 threads that each get an object and read
it with the product's reader), and the product's with botocore alone and with obstore. The server
takes a seventh of a millisecond per object.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import resource
import statistics
import subprocess
import sys
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from bench.measure import Stopwatch, peak_mebibytes
from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.file_reader import EventDeduplicator, LogFile, S3TrailOptions
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.record_reader import ReadOptions, RecordReader
from leastpriv.cloudtrail.s3_bucket import Bucket
from leastpriv.cloudtrail.statistics import ReadStatistics
from leastpriv.cloudtrail.trail import S3Trail
from leastpriv.evidence.parts import CountingFiles

_ROUNDS = 9
_THREADS = 32


_CLIENTS = ("boto3 alone", "botocore", "obstore")


def main(arguments: list[str]) -> int:
    """Print the tables."""
    if arguments[:1] == ["--serve"]:
        asyncio.run(serve(Path(arguments[1]), float(arguments[2]) / 1000, int(arguments[3])))
    if arguments[:1] == ["--read"]:
        return read(*arguments[1:])
    folder, delay, object_count = (*arguments, *("", "30", "1000000")[len(arguments) :])
    accounts = sorted(path.name for path in (Path(folder) / "AWSLogs").iterdir())
    roles = ",".join(f"arn:aws:iam::{account}:role/release-of-nobody" for account in accounts)
    server = [sys.executable, "-m", "bench.s3_latency", "--serve", folder, delay, object_count]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as running:
        port = running.stdout.readline().strip() if running.stdout else ""
        try:
            for what in ("objects got", "objects got and read"):
                table(what, delay, [port, roles, what])
        finally:
            running.terminate()
    child = [sys.executable, "-m", "bench.s3_latency", "--read", "local", folder, roles, ""]
    alone = [float(figure) for figure in subprocess.check_output(child, text=True).split()]
    print(f"the same files read from the disk: {alone[0]:.2f} s, {alone[1]:.2f} s of core")
    return 0


def table(what: str, delay: str, reader_arguments: list[str]) -> None:
    """Run each client in turn, and print its figures and its gain over the first."""
    rows_by_client: dict[str, list[list[float]]] = {client: [] for client in _CLIENTS}
    for _ in range(_ROUNDS):
        for client, rows in rows_by_client.items():
            child = [sys.executable, "-m", "bench.s3_latency", "--read", client, *reader_arguments]
            rows.append(
                [float(figure) for figure in subprocess.check_output(child, text=True).split()]
            )
    base = rows_by_client[_CLIENTS[0]]
    print(f"{what}, {delay} ms")
    print("              seconds  of core  objects/s  peak MiB  gain: seconds  of core  quickest")
    for client, rows in rows_by_client.items():
        wall, cpu, files, peak = (statistics.median(values) for values in zip(*rows, strict=True))
        gains = [
            statistics.median(b[column] / r[column] for b, r in zip(base, rows, strict=True))
            for column in (0, 1)
        ]
        quickest = min(row[0] for row in base) / min(row[0] for row in rows)
        figures = f"{wall:7.2f}  {cpu:7.2f}  {files / wall:9,.0f}  {peak:8.0f}"
        print(f"{client:12}  {figures}  {gains[0]:13.2f}  {gains[1]:7.2f}  {quickest:8.2f}")


def read(client: str, place: str, roles: str, what: str) -> int:
    """Download all objects and read them for no principal, so that no calls are kept."""
    principals = Principals(frozenset(map(parse_principal, roles.split(","))))
    environment = {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{place}",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "LEASTPRIV_S3_CLIENT": {"botocore": "boto3"}.get(client, client),
    }
    if client == "local":
        folder = TrailFolder(Path(place), survey=False)
        _timed(lambda: files_of(folder, principals))
    elif client == "boto3 alone":
        alone = alone_client(environment)
        _timed(lambda: read_alone(alone, principals, what))
    else:
        # Clients are created before the clock starts, for all: they delay the start, not the
        # reading.
        aws = Aws.open(environment)
        aws.client("s3"), aws.client("cloudtrail")
        trail = S3Trail(aws, "s3://logs", S3TrailOptions(survey=False))
        _timed(lambda: got(aws) if what == "objects got" else files_of(trail, principals))
    return 0


def _timed(work: Callable[[], int]) -> None:
    stopwatch = Stopwatch()
    files = work()
    elapsed = stopwatch.elapsed
    processor = stopwatch.processor
    # Processes that read ahead count once they have ended.
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor += children.ru_utime + children.ru_stime
    print(elapsed, processor, files, peak_mebibytes())


def files_of(source: S3Trail | TrailFolder, principals: Principals) -> int:
    """Read a source to its end, as the product does: by parts, in processes where they pay."""
    for _ in source.read_parts(Window(), principals, CountingFiles()):
        pass
    return source.statistics.files


def got(aws: Aws) -> int:
    """List and get all objects as the product does, and drop them."""
    bucket = Bucket("logs", aws.client("s3"), aws.fast_object_client("logs"))
    bucket.folders("AWSLogs/")
    stored_objects = [stored for page in bucket.objects("AWSLogs/") for stored in page]
    with ThreadPoolExecutor(bucket.at_once) as pool:
        return sum(1 for _ in pool.map(lambda stored: len(bucket.fetch(stored)), stored_objects))


def alone_client(environment: dict[str, str]) -> Any:
    """A client of S3 as in a script; its modules are imported before the clock starts, for all."""
    import boto3
    from botocore.config import Config

    os.environ.update(environment)
    config = Config(max_pool_connections=_THREADS, retries={"mode": "standard"})
    return boto3.client("s3", config=config)


def read_alone(client: Any, principals: Principals, what: str) -> int:
    """As a script would, but with the product's reader: the baseline of the product's client and
    its threads.
    """
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="logs", Prefix="AWSLogs/")
    keys = [entry["Key"] for page in pages for entry in page["Contents"]]
    of_thread = threading.local()

    def look_through(key: str) -> int:
        body = client.get_object(Bucket="logs", Key=key)["Body"].read()
        if what == "objects got":
            return len(body)
        if not hasattr(of_thread, "reader"):
            of_thread.reader = RecordReader(ReadOptions(Window(), principals, survey=False))
            of_thread.seen = EventDeduplicator()
        figures = ReadStatistics()
        log = LogFile(of_thread.reader, key, "", figures, of_thread.seen)
        return len(list(log.read(lambda: io.BytesIO(body))))

    with ThreadPoolExecutor(_THREADS) as pool:
        return len(list(pool.map(look_through, keys)))


async def serve(folder: Path, delay: float, object_count: int) -> None:
    """A fake S3 of one bucket, with the operations that a reader uses."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json.gz"))[
        :object_count
    ]
    tags = {path: etag((folder / path).read_bytes()) for path in paths}
    entries = {path: entry(path, tags[path], (folder / path).stat().st_size) for path in paths}
    loop = asyncio.get_running_loop()

    def answer(url: str) -> bytes:
        path, _, query = url.partition("?")
        key = unquote(path).removeprefix("/logs").lstrip("/")
        body = (
            (folder / key).read_bytes()
            if key
            else listing(paths, entries, parse_qs(query)).encode()
        )
        tag = tags.get(key, "")
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nETag: {tag}\r\nLast-Modified:"
            f" {_THEN}\r\n"
        )
        return f"{head}Content-Type: application/xml\r\n\r\n".encode() + body

    class Connection(asyncio.Protocol):
        """Answers late, and one request at a time, as clients without pipelining send them."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            """Store the transport."""
            self.transport = cast(asyncio.Transport, transport)
            self.asked = b""

        def data_received(self, data: bytes) -> None:
            """Answer each complete request."""
            self.asked += data
            if self.asked.endswith(b"\r\n\r\n"):
                url = self.asked.split(b" ", 2)[1].decode()
                self.asked = b""
                loop.call_later(delay, lambda: self.transport.write(answer(url)))

    server = await loop.create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


_THEN = "Thu, 01 Jan 2026 00:00:00 GMT"


def etag(body: bytes) -> str:
    """The ETag of S3 for an object uploaded in one part."""
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def entry(path: str, tag: str, size: int) -> str:
    """An object in a listing."""
    return (
        f"<Contents><Key>{escape(path)}</Key>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>{escape(tag)}</ETag><Size>{size}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def listing(paths: list[str], entries: dict[str, str], query: dict[str, list[str]]) -> str:
    """One page of ListObjectsV2."""
    prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
    after = query.get("continuation-token", query.get("start-after", [""]))[0]
    matching = paths[
        max(bisect_right(paths, after), bisect_left(paths, prefix)) : bisect_left(
            paths, f"{prefix}\U0010ffff"
        )
    ]
    if delimiter:
        names = {
            prefix + path[len(prefix) :].partition("/")[0] + "/"
            for path in matching
            if "/" in path[len(prefix) :]
        }
        content = "".join(
            f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in sorted(names)
        )
        continuation = ""
    else:
        page = matching[: int(query.get("max-keys", ["1000"])[0])]
        content = "".join(entries[path] for path in page)
        continuation = (
            f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
            if len(matching) > len(page)
            else ""
        )
    truncated = "true" if continuation else "false"
    return (
        f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>"
        f"{continuation}{content}</ListBucketResult>"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
