"""What the action's container runs, by absolute path and isolated from the job's environment.

`python -I` reads no `PYTHON*` variable and no file of the working directory, which is a checkout
that others may have written. So the package is found next to this file, or where it is installed.

The process that reads others' files has no credential in its environment: this one moves them into
a pipe and starts itself again.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOAD_CODE = ("OPENSSL_CONF", "OPENSSL_ENGINES", "OPENSSL_MODULES", "AWS_DATA_PATH", "BOTO_CONFIG")
"""Variables by which a library loads code or models from a file that the job names."""
_NEEDED_SECRETS = (
    "INPUT_GITHUB-TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_RUNTIME_TOKEN",
)
_SECRET_NAME = re.compile(
    "TOKEN|SECRET|PASSW|PRIVATE|CREDENTIAL|API_?KEY|ACCESS_?KEY|CONNECTION_?STRING"
)
_NO_SECRET = re.compile("INPUT_|AWS_CONTAINER_|.*_(FILE|URI|URL)$", re.DOTALL)
"""Inputs of the action, and what the AWS SDK or the runner names a place by."""


def start_without_secrets(environment: dict[str, str]) -> NoReturn:
    """Replaces this process by one that has the secrets in a pipe instead of its environment."""
    secrets = {name: environment.pop(name) for name in _NEEDED_SECRETS if name in environment}
    others = [name for name in environment if _is_secret(name)]
    for name in (*_LOAD_CODE, *others):
        environment.pop(name, None)
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    os.write(write_end, json.dumps(secrets).encode())
    os.close(write_end)
    command = [sys.executable, "-I", str(Path(__file__).resolve()), str(read_end)]
    os.execve(sys.executable, command, environment)  # noqa: S606 - this program itself


def _is_secret(name: str) -> bool:
    """Whether a variable of the job sounds like a secret that the action does not need."""
    named = name.upper()
    return _SECRET_NAME.search(named) is not None and not _NO_SECRET.match(named)


def whole_environment(pipe: int) -> dict[str, str]:
    """Returns the environment with the secrets of the pipe."""
    with os.fdopen(pipe, encoding="utf-8") as secrets:
        return {**os.environ, **json.load(secrets)}


def find_package() -> None:
    """Lets Python import the package next to this file, whose folder `python -I` leaves out."""
    if sys.flags.safe_path:
        sys.path.insert(0, str(Path(__file__).resolve().parent))


def main(environment: Mapping[str, str]) -> int:
    """Runs the action."""
    from datetime import UTC, datetime

    from leastpriv.action.step import action_main

    return action_main(environment, sys.stdout, sys.stderr, lambda: datetime.now(UTC))


if __name__ == "__main__":
    find_package()
    if not sys.flags.isolated:
        # A tool that runs this file in its own process.
        sys.exit(main(os.environ))
    if len(sys.argv) == 1:
        start_without_secrets(dict(os.environ))
    from leastpriv.process_limits import limit_process

    limit_process()
    sys.exit(main(whole_environment(int(sys.argv[1]))))
