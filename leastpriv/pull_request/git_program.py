"""Runs the git program in a repository on disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from leastpriv.errors import PullRequestError

_TIMEOUT = 120
_NO_VARIABLES: Mapping[str, str] = {}
_SAFE_CONFIGURATION = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "i18n.commitEncoding=UTF-8",
    "log.diffMerges=separate",
    "log.follow=false",
    "log.showRoot=true",
    "log.showSignature=false",
    # The checkout belongs to another user than the container's root
    # (https://git-scm.com/docs/git-config, safe.directory). The settings above switch off what an
    # untrusted configuration could run.
    "safe.directory=*",
)


class GitProgram(Struct, frozen=True):
    """The git program, run in one repository without the configuration, hooks and prompts of the
    user or of the checkout.
    """

    folder: Path
    """The root of the repository, or its bare directory."""
    path: str
    """Absolute path of the program."""

    def run_or_none(self, *arguments: str, stdin: bytes = b"") -> bytes | None:
        """Returns the output; None where git fails."""
        process = self._call(arguments, stdin, _NO_VARIABLES)
        return process.stdout if process.returncode == 0 else None

    def run(
        self, *arguments: str, stdin: bytes = b"", extra: Mapping[str, str] = _NO_VARIABLES
    ) -> bytes:
        """Returns the output; raises PullRequestError where git fails.

        Args:
            arguments: The subcommand and what follows.
            stdin: Its input.
            extra: Further environment variables.
        """
        process = self._call(arguments, stdin, extra)
        if process.returncode != 0:
            lines = process.stderr.decode("utf-8", "replace").strip().splitlines()
            reason = lines[0] if lines else "no reason given"
            raise PullRequestError(f"git {arguments[0]} failed in {self.folder}: {reason}")
        return process.stdout

    def _call(
        self, arguments: tuple[str, ...], stdin: bytes, extra: Mapping[str, str]
    ) -> subprocess.CompletedProcess[bytes]:
        settings = [part for setting in _SAFE_CONFIGURATION for part in ("-c", setting)]
        owner = self.folder.stat()
        # As root, git would leave files in the checkout that its owner cannot remove
        # (actions/runner#434).
        uid = owner.st_uid if os.geteuid() == 0 and owner.st_uid != 0 else None
        try:
            return subprocess.run(  # noqa: S603 - absolute program, fixed arguments, no shell
                [self.path, *settings, *arguments],
                input=stdin,
                capture_output=True,
                cwd=self.folder,
                env={
                    "PATH": os.defpath,
                    "HOME": "/nonexistent",
                    "LC_ALL": "C",
                    "GIT_CEILING_DIRECTORIES": str(self.folder.parent),
                    "GIT_CONFIG_NOSYSTEM": "1",
                    "GIT_CONFIG_GLOBAL": os.devnull,
                    # A path is a path, whatever `:(`, `*` or `[` its names have.
                    "GIT_LITERAL_PATHSPECS": "1",
                    "GIT_NO_LAZY_FETCH": "1",
                    # For git before 2.45, which fetches from the remote of a partial clone.
                    "GIT_ALLOW_PROTOCOL": "",
                    "GIT_NO_REPLACE_OBJECTS": "1",
                    "GIT_OPTIONAL_LOCKS": "0",
                    "GIT_TERMINAL_PROMPT": "0",
                    **extra,
                },
                timeout=_TIMEOUT,
                check=False,
                user=uid,
                group=None if uid is None else owner.st_gid,
                extra_groups=None if uid is None else [],
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise PullRequestError(
                f"git {arguments[0]} could not run in {self.folder}: {error}"
            ) from error


def git_program(folder: Path) -> str | None:
    """Returns the absolute path of the git program; one that the repository itself brings is not
    it.
    """
    root = folder.resolve()
    places = [
        place
        for place in os.get_exec_path()
        if Path(place).is_absolute() and not Path(place).resolve().is_relative_to(root)
    ]
    found = shutil.which("git", path=os.pathsep.join(places))
    return str(Path(found).absolute()) if found else None
