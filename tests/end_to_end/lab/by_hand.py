"""`make lab`: starts the lab, prints how to use it, stops on Ctrl-C."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import threading
from pathlib import Path

from tests.end_to_end.lab.lab import ROOT, Lab, LabError

_FOLDER = ROOT / ".lab" / "run"
_MARK = ".leastpriv-lab"
"""A file that marks a folder of the lab, whose records may be deleted."""
_STARTED = """\
A local AWS that enforces IAM is at {endpoint} (account {account}, {region}).

In another terminal, as the account's root:

{exports}

Records appear in {records} {delay}after each call.
Take a role, run your deploy with its keys, and see what it needed:

  .venv/bin/leastpriv permissions --role-arn arn:aws:iam::{account}:role/NAME --trails {records}
  .venv/bin/leastpriv propose --role-arn arn:aws:iam::{account}:role/NAME --policy-file POLICY.json --trails {records}

docs/contributing/lab.md has a whole round to copy. Ctrl-C stops the lab; the records stay until the next start.
"""


def main(arguments: list[str]) -> int:
    """Run until Ctrl-C; 1 if it does not start."""
    parser = argparse.ArgumentParser(
        prog="make lab", description="Start the lab and keep it running."
    )
    parser.add_argument("--port", type=_port, default=4566, help="0 takes a free one")
    parser.add_argument(
        "--delay", type=float, default=0.0, help="seconds until CloudTrail delivers a record"
    )
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument(
        "--no-data-events", action="store_true", help="leave out calls on objects, items, messages"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=_FOLDER,
        help=(
            "where records and log go, empty or the lab's own; its records of the last time are"
            " removed"
        ),
    )
    given = parser.parse_args(arguments)
    trouble = _emptied(given.folder)
    if trouble:
        sys.stderr.write(f"{trouble}\n")
        return 2
    stopped = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stopped.set())
    try:
        lab = Lab.start(
            given.folder, delay=given.delay, data_events=not given.no_data_events, flush_every=1.0,
            port=given.port,
            region=given.region,
        )  # fmt: skip
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with lab:
        sys.stdout.write(_instructions(lab, given.delay))
        sys.stdout.flush()
        while not stopped.wait(1.0):
            if not lab.is_running:
                sys.stderr.write(f"the lab has ended; see {_shown(given.folder / 'lab.log')}\n")
                return 1
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: write 0 to 65535")
    return int(text)


def _emptied(folder: Path) -> str:
    """Creates and marks the folder; returns a sentence, and changes nothing, if it holds other
    files.
    """
    own = folder / _MARK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_own = own.exists() or folder.resolve() == _FOLDER.resolve()
        if not is_own and any(folder.iterdir()):
            return (
                f"--folder is {str(folder)!r}, which is not empty and not the lab's own: name an"
                " empty or a new one."
            )
        own.touch()
    except OSError as error:
        return f"--folder is {str(folder)!r}, which cannot be used: {error.strerror}."
    for name in ("records", "state"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return ""


def _instructions(lab: Lab, delay: float) -> str:
    names = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
             "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED")  # fmt: skip
    exports = "\n".join(f"  export {name}={lab.root[name]}" for name in names)
    return _STARTED.format(
        endpoint=lab.endpoint, account=lab.account, region=lab.region, exports=exports,
        records=_shown(lab.records),
        delay=f"{delay:g} seconds " if delay else "a second ",
    )  # fmt: skip


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
