"""The lab's process: ministack with every call recorded. Started by `Lab.start`; one JSON argument,
see `Options`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Options:
    """Options of a lab; see `Lab.start`. The four in the middle can change while it runs."""

    port: int
    folder: str
    account: str
    region: str
    delay: float
    service_events: bool
    data_events: bool
    lookups_per_second: float
    flush_every: float
    root_key: str
    root_secret: str
    checks: str = ""
    """File for every authorization check (`checks.py`); empty for none."""
    details: bool = False
    """Whether IAM's denials have an authorization id (`details.py`)."""


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM."""
    options = Options(**json.loads(arguments[0]))
    _surroundings(options)
    # ministack reads its environment when it is imported.
    from tests.end_to_end.lab import enforcement, own_services, stacks
    from tests.end_to_end.lab.details import DETAILS
    from tests.end_to_end.lab.gateway import Gateway
    from tests.end_to_end.lab.trail import Trail

    logging.disable(logging.INFO)
    trail = Trail(Path(options.folder) / "records", options.account, options.delay)
    enforcement.install(options.checks)
    DETAILS.kept = options.details
    own_services.install(trail, options)
    stacks.install(trail, options)
    asyncio.run(_serve(Gateway(trail, options), options))
    return 0


def _surroundings(options: Options) -> None:
    state = Path(options.folder) / "state"
    state.mkdir(exist_ok=True)
    os.environ |= {
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(options.port),
        "IOT_MTLS_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "MINISTACK_ACCOUNT_ID": options.account,
        "MINISTACK_REGION": options.region,
        "AWS_ACCESS_KEY_ID": options.root_key,
        "AWS_SECRET_ACCESS_KEY": options.root_secret,
        "AWS_EC2_METADATA_DISABLED": "true",
        "LOG_LEVEL": "WARNING",
        "TMPDIR": str(state),
    }


async def _serve(app: object, options: Options) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{options.port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    config.loglevel = "WARNING"
    stopped = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopped.set)
    watching = asyncio.create_task(_end_with_parent(stopped))
    await serve(app, config, shutdown_trigger=stopped.wait)
    watching.cancel()


async def _end_with_parent(stopped: asyncio.Event) -> None:
    """A killed test run leaves no file."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(2)
    stopped.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
