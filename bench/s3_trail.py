"""Measures trails in S3: `python bench/s3_trail.py FOLDER [OBJECTS]`.

The records of a folder of generated logs (AWSLogs/… as CloudTrail delivers it) are split into the
given number of objects (5,000 by default) and put into buckets of a local S3, the one in the lab's
environment (`make lab`): a fifth of them, and all. Each source runs in a separate process and
prints its seconds, its peak memory, and its requests to S3: flat memory shows as equal mebibytes
for both buckets. The last two rows are a run with a new cache and the run after it.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from leastpriv.aws.arns import Window, parse_principal
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.trail import S3Trail, S3TrailOptions
from leastpriv.pipeline.sources import read_evidence

_LAB = Path(__file__).resolve().parents[1] / ".lab" / "venv" / "bin" / "ministack"
_MEBIBYTE = 1024 if sys.platform != "darwin" else 1024 * 1024
"""`ru_maxrss` is in kibibytes on Linux and in bytes on macOS (getrusage(2))."""


def main(arguments: list[str]) -> int:
    """Print the table; 2 without a folder or a local S3."""
    if arguments[:1] == ["--one"]:
        return one(*arguments[1:])
    if not arguments or not _LAB.exists():
        print("Name a folder of generated logs, and run `make lab` once.", file=sys.stderr)
        return 2
    most = int(arguments[1]) if arguments[1:] else 5_000
    with local_s3() as endpoint, tempfile.TemporaryDirectory() as cache:
        role = filled(endpoint, Path(arguments[0]), most)
        print("reading          objects  seconds  peak MiB   LIST    GET    records    calls")
        for bucket in ("fifth", "whole"):
            for what in ("one role", "all roles"):
                child(endpoint, bucket, what, role if what == "one role" else "", "")
        for what in ("new cache", "next run"):
            child(endpoint, "whole", what, role, cache)
    return 0


@contextmanager
def local_s3() -> Iterator[str]:
    """A local S3 on a free port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    environment = {**os.environ, "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    server = subprocess.Popen(
        [_LAB], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        for _ in range(300):
            with suppress(OSError):
                urllib.request.urlopen(endpoint, timeout=1).close()
                break
            time.sleep(0.1)
        yield endpoint
    finally:
        server.terminate()
        server.wait()


def environment_of(endpoint: str) -> dict[str, str]:
    """The variables that direct the product's clients to it."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def filled(endpoint: str, folder: Path, most: int) -> str:
    """Put the records into both buckets; return the role with the median number of calls."""
    client = Aws.open(environment_of(endpoint)).client("s3")
    for bucket in ("fifth", "whole"):
        client.create_bucket(Bucket=bucket)
    files = sorted(folder.rglob("*.json.gz"))
    total = sum(len(records(file)) for file in files)
    each = -(-total // most)
    roles: Counter[str] = Counter()

    def put(bucket: str, key: str, body: bytes) -> None:
        client.put_object(Bucket=bucket, Key=key, Body=body)

    with ThreadPoolExecutor(8) as pool:
        for file in files:
            found, key = records(file), file.relative_to(folder).as_posix().removesuffix(".json.gz")
            roles.update(
                str(issuer.get("arn"))
                for record in found
                if (issuer := _issuer(record)) and record.get("eventType")
            )
            for at in range(0, len(found), each):
                body = gzip.compress(json.dumps({"Records": found[at : at + each]}).encode())
                for bucket in ("fifth", "whole") if at // each % 5 == 0 else ("whole",):
                    pool.submit(put, bucket, f"{key}{at:06}.json.gz", body)
    return roles.most_common()[len(roles) // 4][0]


def records(file: Path) -> list[dict[str, Any]]:
    """The records of one file."""
    found: list[dict[str, Any]] = json.loads(gzip.decompress(file.read_bytes()))["Records"]
    return found


def _issuer(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (
        record.get("userIdentity", {}).get("sessionContext", {}).get("sessionIssuer", {})
    )
    return found


def child(endpoint: str, bucket: str, what: str, role: str, cache: str) -> None:
    """Read once in a separate process."""
    subprocess.run(
        [sys.executable, __file__, "--one", endpoint, bucket, what, role, cache], check=True
    )


def one(endpoint: str, bucket: str, what: str, role: str, cache: str) -> int:
    """Read one bucket and print its row."""
    asked: Counter[str] = Counter()
    door = Aws.open(environment_of(endpoint))

    def count(request: Any, **_: Any) -> None:
        asked["LIST" if "list-type=2" in request.url else "GET"] += 1

    door.client("s3").meta.events.register("before-send.s3", count)
    source = S3Trail(door, f"s3://{bucket}", S3TrailOptions(cache=Path(cache) if cache else None))
    started = time.perf_counter()
    read_evidence([source], Window(), parse_principal(role) if role else None)
    seconds = time.perf_counter() - started
    figures = source.statistics
    print(
        f"{what:15}  {figures.files:7,}  {seconds:7.1f}  {peak():8.0f}  {asked['LIST']:5,} "
        f" {asked['GET']:5,}  {figures.records:9,}  {figures.calls:7,}",
        flush=True,
    )
    return 0


def peak() -> float:
    """Peak mebibytes of this process; `getrusage` would also count the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEBIBYTE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
