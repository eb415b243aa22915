"""Measures trails in S3: `python -m bench.s3_trail FOLDER [OBJECTS]`.

The records of a folder of generated logs (AWSLogs/… as CloudTrail delivers it) are split into the
given number of objects (5,000 by default) and put into buckets of a local S3, the one in the lab's
environment (`make lab`): a fifth of them, and all. Each source runs in a separate process and
prints its seconds, its peak memory, and its requests to S3: flat memory shows as equal mebibytes
for both buckets. The last two rows are a run with a new cache and the run after it.
"""

from __future__ import annotations

import os
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

from bench.generated_logs import LogObject, cut, role_of, usual_role
from bench.measure import Stopwatch, peak_mebibytes
from leastpriv.aws.arns import Window, parse_principal
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.file_reader import S3TrailOptions
from leastpriv.cloudtrail.trail import S3Trail
from leastpriv.pipeline.sources import read_evidence

_LAB = Path(__file__).resolve().parents[1] / ".lab" / "venv" / "bin" / "ministack"


def main(arguments: list[str]) -> int:
    """Print the table; 2 without a folder or a local S3."""
    if arguments[:1] == ["--one"]:
        return one(*arguments[1:])
    if not arguments or not _LAB.exists():
        print("Name a folder of generated logs, and run `make lab` once.", file=sys.stderr)
        return 2
    object_count = int(arguments[1]) if arguments[1:] else 5_000
    with local_s3() as endpoint, tempfile.TemporaryDirectory() as cache:
        role = filled(endpoint, Path(arguments[0]), object_count)
        print("reading          objects  seconds  peak MiB   LIST    GET    records    calls")
        for bucket in ("fifth", "whole"):
            for what in ("one role", "all roles"):
                read_in_child(endpoint, bucket, what=what, role=role if what == "one role" else "")
        for what in ("new cache", "next run"):
            read_in_child(endpoint, "whole", what=what, role=role, cache=cache)
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


def filled(endpoint: str, folder: Path, object_count: int) -> str:
    """Put the records into both buckets; return the role that is read."""
    client = Aws.open(environment_of(endpoint)).client("s3")
    for bucket in ("fifth", "whole"):
        client.create_bucket(Bucket=bucket)
    calls_by_role: Counter[str] = Counter()

    def put(bucket: str, log_object: LogObject) -> None:
        client.put_object(Bucket=bucket, Key=log_object.key, Body=log_object.body())

    with ThreadPoolExecutor(8) as pool:
        for number, log_object in enumerate(cut(folder, object_count)):
            calls_by_role.update(filter(None, map(role_of, log_object.records)))
            pool.submit(put, "whole", log_object)
            if number % 5 == 0:
                pool.submit(put, "fifth", log_object)
    return usual_role(calls_by_role)


def read_in_child(endpoint: str, bucket: str, *, what: str, role: str, cache: str = "") -> None:
    """Read once in a separate process."""
    command = [sys.executable, "-m", "bench.s3_trail", "--one", endpoint, bucket, what, role, cache]
    subprocess.run(command, check=True)


def one(endpoint: str, bucket: str, what: str, role: str, cache: str) -> int:
    """Read one bucket and print its row."""
    requests: Counter[str] = Counter()
    aws = Aws.open(environment_of(endpoint))

    def count(request: Any, **_: Any) -> None:
        requests["LIST" if "list-type=2" in request.url else "GET"] += 1

    aws.client("s3").meta.events.register("before-send.s3", count)
    source = S3Trail(aws, f"s3://{bucket}", S3TrailOptions(cache=Path(cache) if cache else None))
    stopwatch = Stopwatch()
    read_evidence([source], Window(), parse_principal(role) if role else None)
    seconds = stopwatch.elapsed
    figures = source.statistics
    print(
        f"{what:15}  {figures.files:7,}  {seconds:7.1f}  {peak_mebibytes():8.0f} "
        f" {requests['LIST']:5,}  {requests['GET']:5,}  {figures.records:9,}  {figures.calls:7,}",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
