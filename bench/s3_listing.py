"""Measures a listing of S3: `python bench/s3_listing.py [PAGES]` (50).

A server on this machine answers ListObjectsV2 with the given number of pages of a thousand objects
of a trail. Each client lists them in a separate process, five times in turn; printed are medians of
milliseconds of its core per page.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qs

from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.s3_bucket import Bucket

_ROUNDS = 5
_FOLDER = (
    "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/01/02/"
    "123456789012_CloudTrail_eu-west-1_20260102T0805Z_"
)
_MORE = "<StorageClass>STANDARD</StorageClass><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"


def main(arguments: list[str]) -> int:
    """Print the table."""
    if arguments[:1] == ["--serve"]:
        asyncio.run(serve(int(arguments[1])))
    if arguments[:1] == ["--list"]:
        return listed(*arguments[1:])
    pages = (*arguments, "50")[0]
    clients = ("boto3", "boto3, times left alone", "obstore", "ours")
    told: dict[str, list[float]] = {client: [] for client in clients}
    with subprocess.Popen(
        [sys.executable, __file__, "--serve", pages], stdout=subprocess.PIPE, text=True
    ) as server:
        port = server.stdout.readline().strip() if server.stdout else ""
        for _ in range(_ROUNDS):
            for client, rows in told.items():
                child = [sys.executable, __file__, "--list", client, port, pages]
                rows.append(float(subprocess.check_output(child, text=True)))
        server.terminate()
    for client, rows in told.items():
        gain = statistics.median(base / row for base, row in zip(told["boto3"], rows, strict=True))
        print(f"{client:24} {statistics.median(rows):6.1f} ms a page  {gain:5.1f}")
    return 0


def listed(client: str, port: str, pages: str) -> int:
    """List all pages, and print the milliseconds of the core for each."""
    environment = {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    os.environ.update(environment)
    work = _WAYS[client](environment)
    started = time.process_time()
    found = work()
    cost = time.process_time() - started
    if found != 1000 * int(pages):
        raise SystemExit(f"{found} objects")
    print(1000 * cost / int(pages))
    return 0


def _by_ours(environment: dict[str, str]) -> Callable[[], int]:
    bucket = Bucket("logs", Aws.open(environment).client("s3"))
    return lambda: sum(len(page) for page in bucket.objects("AWSLogs/"))


def _by_boto3(_: dict[str, str], **session: Any) -> Callable[[], int]:
    import boto3
    from botocore.session import get_session

    core = get_session()
    if session:
        core.get_component("response_parser_factory").set_parser_defaults(**session)
    paginator = boto3.Session(botocore_session=core).client("s3").get_paginator("list_objects_v2")
    return lambda: sum(
        len(page["Contents"]) for page in paginator.paginate(Bucket="logs", Prefix="AWSLogs/")
    )


def _by_obstore(environment: dict[str, str]) -> Callable[[], int]:
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        "logs",
        region="us-east-1",
        endpoint=environment["AWS_ENDPOINT_URL_S3"],
        access_key_id="test",
        secret_access_key="test",  # noqa: S106 - the server asks for none
        client_options={"allow_http": True},
    )
    return lambda: sum(len(page) for page in obstore.list(store, "AWSLogs/", chunk_size=1000))


_WAYS: dict[str, Callable[[dict[str, str]], Callable[[], int]]] = {
    "boto3": _by_boto3,
    "boto3, times left alone": lambda environment: _by_boto3(
        environment, timestamp_parser=lambda text: text
    ),
    "obstore": _by_obstore,
    "ours": _by_ours,
}


async def serve(pages: int) -> None:
    """A fake S3 with these pages of one bucket."""
    told = [page(number, last=number == pages - 1).encode() for number in range(pages)]

    class Connection(asyncio.Protocol):
        """Answers one request at a time."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            """Store the transport."""
            self.transport = cast(asyncio.Transport, transport)

        def data_received(self, data: bytes) -> None:
            """Answer with the page of the token."""
            query = parse_qs(data.split(b" ", 2)[1].decode().partition("?")[2])
            body = told[int(query.get("continuation-token", ["0"])[0])]
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Type:"
                " application/xml\r\n\r\n"
            )
            self.transport.write(head.encode() + body)

    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def page(number: int, *, last: bool) -> str:
    """A thousand objects, as S3 writes them."""
    objects = "".join(
        f"<Contents><Key>{_FOLDER}{number:08}{each:08}.json.gz</Key>"
        "<LastModified>2026-01-02T08:05:00.000Z</LastModified>"
        f"<ETag>&quot;{number:016x}{each:016x}&quot;</ETag>"
        f"<Size>{40_000 + each}</Size>{_MORE}</Contents>"
        for each in range(1000)
    )
    more = "" if last else f"<NextContinuationToken>{number + 1}</NextContinuationToken>"
    truncated = f"<IsTruncated>{str(not last).lower()}</IsTruncated>{more}<KeyCount>1000</KeyCount>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult'
        ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        "<Name>logs</Name><Prefix>AWSLogs/</Prefix><MaxKeys>1000</MaxKeys>"
        f"{truncated}{objects}</ListBucketResult>"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
