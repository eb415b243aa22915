"""Measures trails in S3 behind a slow line: `python bench/s3_latency.py FOLDER [MILLISECONDS [OBJECTS]]` (30, all).

A server on this machine answers LIST and GET of a folder of generated logs (AWSLogs/…) after so many milliseconds. Each
reading runs in a process of its own, three times in turn, with botocore alone and with obstore, and prints
median seconds, seconds of its core, objects a second, and peak memory. The server takes a core of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import resource
import statistics
import subprocess
import sys
import time
from bisect import bisect_right
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from leastpriv.evidence.aws import Aws
from leastpriv.evidence.cloudtrail.s3_trail import S3Trail
from leastpriv.evidence.source import Principals, Window, parse_principal

_MEBIBYTE = 1024 if sys.platform != "darwin" else 1024 * 1024
_ROUNDS = 3


def main(arguments: list[str]) -> int:
    """Print the table."""
    if arguments[:1] == ["--serve"]:
        asyncio.run(serve(Path(arguments[1]), float(arguments[2]) / 1000, int(arguments[3])))
    if arguments[:1] == ["--read"]:
        return read(*arguments[1:])
    folder, delay, most = (*arguments, *("", "30", "1000000")[len(arguments) :])
    accounts = sorted(path.name for path in (Path(folder) / "AWSLogs").iterdir())
    roles = ",".join(f"arn:aws:iam::{account}:role/nobody" for account in accounts)
    server = [sys.executable, __file__, "--serve", folder, delay, most]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as running:
        port = running.stdout.readline().strip() if running.stdout else ""
        told: dict[str, list[list[float]]] = {"boto3": [], "obstore": []}
        for _ in range(_ROUNDS):
            for client, rows in told.items():
                child = [sys.executable, __file__, "--read", port, client, roles]
                rows.append([float(each) for each in subprocess.check_output(child, text=True).split()])
        running.terminate()
    print(f"{delay} ms       seconds  of core  objects/s  peak MiB")
    for client, rows in told.items():
        wall, cpu, files, peak = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{client:12}  {wall:7.2f}  {cpu:7.2f}  {files / wall:9,.0f}  {peak:8.0f}")
    return 0


def read(port: str, client: str, roles: str) -> int:
    """Read all that is served; nobody's calls, so that fetching and looking through is all there is."""
    environment = {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "LEASTPRIV_S3_CLIENT": client,
    }
    source = S3Trail(Aws.open(environment), "s3://logs", survey=False)
    started, before = time.perf_counter(), time.process_time()
    for _ in source.read(Window(), Principals(frozenset(map(parse_principal, roles.split(","))))):
        pass
    wall, cpu = time.perf_counter() - started, time.process_time() - before
    print(wall, cpu, source.statistics.files, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEBIBYTE)
    return 0


async def serve(folder: Path, delay: float, most: int) -> None:
    """An S3 of one bucket, as much of it as a reader asks for."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json.gz"))[:most]
    entries = {path: entry(folder, path) for path in paths}

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            url = urlsplit(head.split(b" ", 2)[1].decode())
            await asyncio.sleep(delay)
            key = unquote(url.path).removeprefix("/logs").lstrip("/")
            body = (folder / key).read_bytes() if key else listing(entries, parse_qs(url.query)).encode()
            tag = etag(body)
            answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nETag: {tag}\r\nLast-Modified: {_THEN}\r\n\r\n"
            writer.write(answer.encode() + body)

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await client(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


_THEN = "Thu, 01 Jan 2026 00:00:00 GMT"


def etag(body: bytes) -> str:
    """As S3 makes it of an object that was put whole."""
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def entry(folder: Path, path: str) -> str:
    """An object in a listing."""
    body = (folder / path).read_bytes()
    size, then = len(body), "2026-01-01T00:00:00.000Z"
    what = f"<ETag>{escape(etag(body))}</ETag><LastModified>{then}</LastModified><Size>{size}</Size>"
    return f"<Contents><Key>{escape(path)}</Key>{what}</Contents>"


def listing(entries: dict[str, str], asked: dict[str, list[str]]) -> str:
    """One page of ListObjectsV2."""
    paths = list(entries)
    prefix, delimiter = asked.get("prefix", [""])[0], asked.get("delimiter", [""])[0]
    after = asked.get("continuation-token", asked.get("start-after", [""]))[0]
    found = [path for path in paths[bisect_right(paths, after) :] if path.startswith(prefix)]
    if delimiter:
        names = {prefix + path[len(prefix) :].partition("/")[0] + "/" for path in found if "/" in path[len(prefix) :]}
        content, more = (
            "".join(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in sorted(names)),
            "",
        )
    else:
        page = found[: int(asked.get("max-keys", ["1000"])[0])]
        content = "".join(entries[path] for path in page)
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(found) > len(page) else ""
    truncated = "true" if more else "false"
    return f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{content}</ListBucketResult>"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
