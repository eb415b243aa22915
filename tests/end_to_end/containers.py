"""Builds and runs the image with podman on machines without a Docker engine or an image registry.

Three settings let podman run on machines without cgroups v2, nft or permission to raise limits. If
the base image of the Dockerfile cannot be pulled, `mmdebstrap` creates a substitute from Debian's
packages, with the same release of Debian and the same minor version of Python, so that only the
digest in the Dockerfile's first line changes.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".lab" / "containers"
"""Kept between runs: the substitute takes minutes to create."""

IMAGE = "localhost/leastpriv-action:test"
STAND_IN = "localhost/python-stand-in:3.13"
RUNNER = "localhost/leastpriv-runner:test"
"""The image of a job: the base of IMAGE, with a shell, pip and boto3."""
FORGE = "localhost/leastpriv-forge:test"
"""The image of a job on another forge."""
RUNNER_PYTHON = "/usr/local/bin/python"
_RELEASE = "trixie"
_PACKAGES = "ca-certificates,python3,python3-venv"
_OWN_SETTINGS = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pip.conf"))
"""Certificates and package index of this machine, if it has its own."""
_BUILD_SECONDS = 540


class CannotRunError(Exception):
    """No container can be built or run here; the message gives the reason and the remedy."""


@dataclass(slots=True)
class Engine:
    """podman with separate settings and storage below `folder`."""

    folder: Path = FOLDER
    base: list[str] | None = None
    """Options that name the base of a build, once they are known."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make every podman process use them."""
        return {
            **os.environ,
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        }

    @classmethod
    def start(cls, folder: Path = FOLDER) -> Engine:
        """Write the settings and check that podman answers.

        Raises:
            CannotRunError: podman is missing or does not start.
        """
        if not shutil.which("podman"):
            raise CannotRunError(
                "podman is not installed (Debian: apt-get install podman runc mmdebstrap)"
            )
        engine = cls(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "containers.conf").write_text(_settings(), encoding="utf-8")
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/storage"\nrunroot ='
            f' "{folder}/run"\n',
            encoding="utf-8",
        )
        engine.podman("info")
        return engine

    def podman(self, *arguments: str, seconds: float = 60, cwd: Path = ROOT) -> str:
        """Run a command of podman and return its output.

        Raises:
            CannotRunError: it failed, with the end of its output.
        """
        try:
            done = subprocess.run(
                ["podman", *arguments], cwd=cwd, env=self.environment, capture_output=True,
                text=True, timeout=seconds,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise CannotRunError(
                f"podman {arguments[0]} took more than {seconds:.0f} seconds"
            ) from None
        if done.returncode:
            raise CannotRunError(f"podman {arguments[0]}: {(done.stdout + done.stderr)[-2000:]}")
        return done.stdout

    def has(self, image: str) -> bool:
        """Whether the storage holds an image."""
        try:
            self.podman("image", "exists", image)
        except CannotRunError:
            return False
        return True

    def build(self) -> str:
        """Build the Dockerfile and return the image's name.

        Raises:
            CannotRunError: neither its base nor the substitute is available; AssertionError: the
                build itself fails.
        """
        try:
            self.podman("build", *self.build_options(), "--tag", IMAGE, ".", seconds=_BUILD_SECONDS)
        except CannotRunError as error:
            raise AssertionError(f"the Dockerfile does not build: {error}") from error
        return IMAGE

    def build_options(self) -> list[str]:
        """Return the options of a build on this machine: its base, certificates and package index.

        Raises:
            CannotRunError: neither the base nor the substitute is available.
        """
        if self.base is None:
            self.base = (
                ["--pull=missing"]
                if self._pulls()
                else ["--pull=never", "--from", self._stand_in()]
            )
        return [*self.base, *_as_this_machine()]

    def build_runner(self) -> str:
        """Build the image in which a workflow's jobs run, and return its name."""
        return self._derived(RUNNER, "python -m pip install --quiet boto3")

    def build_forge(self) -> str:
        """Build the image in which jobs of GitLab and Jenkins run, and return its name: as
        `python:3.13`, which has git and curl.
        """
        install = "apt-get install --quiet --yes --no-install-recommends git curl"
        return self._derived(FORGE, f"apt-get update --quiet && {install}")

    def _derived(self, image: str, command: str) -> str:
        """Build the base of the Dockerfile with this machine's settings and one command more."""
        context = self.folder / "derived"
        context.mkdir(exist_ok=True)
        lines = [f"FROM {self._base_image()}"]
        for path in _OWN_SETTINGS:
            if path.exists():
                shutil.copy(path, context / path.name)
                lines.append(f"COPY {path.name} {path}")
        lines.append(f"RUN {command}")
        (context / "Dockerfile").write_text("\n".join([*lines, ""]), encoding="utf-8")
        self.podman("build", "--pull=never", "--tag", image, str(context), seconds=_BUILD_SECONDS)
        return image

    def _base_image(self) -> str:
        options = self.build_options()
        if "--from" in options:
            return options[options.index("--from") + 1]
        return f"docker.io/library/{_pinned_base()}"

    def _pulls(self) -> bool:
        base = f"docker.io/library/{_pinned_base()}"
        try:
            self.podman("pull", "--quiet", "--retry=0", base, seconds=90)
        except CannotRunError:
            return False
        return True

    def _stand_in(self) -> str:
        if self.has(STAND_IN):
            return STAND_IN
        if not shutil.which("mmdebstrap"):
            raise CannotRunError(
                "the base image cannot be pulled, and mmdebstrap, which makes a stand-in, is not"
                " installed"
            )
        root = self.folder / "root.tar"
        done = subprocess.run(
            ["mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", _RELEASE, root],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CannotRunError(f"mmdebstrap cannot make the stand-in: {done.stderr[-1000:]}")
        self.podman("import", str(root), f"{STAND_IN}-root", seconds=240)
        root.unlink()
        # /usr/local as in the official image: its pip is not Debian's, and its packages are where
        # the Dockerfile installs them.
        lines = f"FROM {STAND_IN}-root\nRUN python3 -m venv /usr/local\n"
        context = self.folder / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(lines, encoding="utf-8")
        self.podman("build", "--pull=never", "--tag", STAND_IN, str(context), seconds=240)
        return STAND_IN

    @contextmanager
    def service(self) -> Iterator[str]:
        """Docker's API on a socket, as `act` needs it; yields the address."""
        socket = self.folder / "podman.sock"
        socket.unlink(missing_ok=True)
        command = ["podman", "system", "service", "--time=0", f"unix://{socket}"]
        with (self.folder / "service.log").open("wb") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
            try:
                _wait_for(socket, process)
                yield f"unix://{socket}"
            finally:
                process.terminate()
                process.wait(20)


def _settings() -> str:
    limits = [
        f'"{name}={limit}:{limit}"'
        for name, kind in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
        if (limit := resource.getrlimit(kind)[1]) != resource.RLIM_INFINITY
    ]
    runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
    return (
        f'[containers]\ndefault_ulimits = [{", ".join(limits)}]\nnetns = "host"\n'
        f'[engine]\n{runtime}cgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    )


def _as_this_machine() -> list[str]:
    """The package index and certificates of this machine, only for the build."""
    return [f"--volume={path}:{path}:ro" for path in _OWN_SETTINGS if path.exists()]


def _pinned_base() -> str:
    """The base image that the Dockerfile names."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"^FROM (\S+) AS base", text, re.MULTILINE)
    assert found is not None
    return found[1]


def _wait_for(socket: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise CannotRunError("podman's service does not start")
        time.sleep(0.1)
