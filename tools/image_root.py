"""Collect the files of the action's image: Python, the libraries it loads, packages and the action.

    python image_root.py ROOT PACKAGES APP

The Dockerfile runs it on the base image, and its last stage holds ROOT alone: the image has no
package manager, no compiler and no API models of AWS services that the action never calls. Needs
Python and the programs of a Debian base only.

ROOT: an empty folder. PACKAGES: what pip installed with `--prefix`. APP: the folder of the action.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

AWS_SERVICES = (
    "accessanalyzer", "account", "athena", "cloudtrail", "iam", "iam-toolbox", "logs",
    "organizations", "s3", "sts",
)  # fmt: skip
"""Services that the action calls; tests compare them with the code."""
CREDENTIAL_SERVICES = ("signin", "sso", "sso-oidc")
"""Services that botocore asks for credentials (its `credentials.py` and `tokens.py`, 1.44.8)."""
TERMINAL_PACKAGES = ("rich", "pygments")
"""Packages that only the `leastpriv` command imports, which the image does not have."""
PROGRAMS = ("sh", "env", "tail", "cat")
"""Programs with which a runner in Kubernetes may start the entry point of a container."""
_NOT_NEEDED = (
    "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtledemo",
    "site-packages", "dist-packages",
)  # fmt: skip
"""Folders of the standard library that no run imports, and those of packages."""
_SYSTEM_FILES = (
    "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/os-release", "/etc/debian_version",
    "/etc/ld.so.cache", "/etc/ssl/openssl.cnf", "/etc/ssl/certs/ca-certificates.crt",
    "/usr/lib/ssl/cert.pem", "/usr/lib/ssl/certs", "/usr/lib/ssl/openssl.cnf",
)  # fmt: skip
_LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_STATUS = Path("/var/lib/dpkg/status")


class ImageRoot:
    """The files of an image below a folder."""

    def __init__(self, root: Path) -> None:
        """Make the folders that every image has, and the links of the base to them."""
        self.root = root
        self.taken: set[Path] = set()
        for name in ("bin", "lib", "lib64", "sbin"):
            if Path("/", name).is_symlink():
                self._copy_of(Path("/", name)).symlink_to(Path("/", name).readlink())
        temporary = self._copy_of(Path("/tmp"))  # noqa: S108 - of the image
        temporary.mkdir()
        temporary.chmod(0o1777)

    def take(self, path: Path) -> None:
        """Copy a file and the links that lead to it; a path that does not exist is left out."""
        path = path.parent.resolve() / path.name
        if path in self.taken or not os.path.lexists(path):
            return
        self.taken.add(path)
        copy = self._copy_of(path)
        if path.is_symlink():
            copy.symlink_to(path.readlink())
            self.take(path.parent / path.readlink())
        elif path.is_file():
            shutil.copy2(path, copy)

    def take_library(self, library: Path) -> None:
        """Copy the standard library without the folders that no run imports."""
        for folder, names, files in os.walk(library):
            names[:] = [name for name in names if name not in _NOT_NEEDED]
            names[:] = [name for name in names if not name.startswith("config-")]
            for name in files:
                self.take(Path(folder, name))

    def take_libraries(self, packages: Path) -> None:
        """Copy the shared libraries that programs and extensions load: those taken, and packages'.

        A library that a wheel brings is not taken again.
        """
        installed = (Path(folder, name) for folder, _, files in os.walk(packages) for name in files)
        for path in [*self.taken, *installed]:
            if path.is_symlink() or not _is_elf(path):
                continue
            for library in _shared_libraries(path):
                if not library.is_relative_to(packages):
                    self.take(library)

    def take_package_records(self) -> None:
        """Copy the records and licences of the Debian packages whose files were taken.

        A scanner of the image reads them.
        """
        if not _STATUS.exists():
            return
        packages = set(_owners(self.taken))
        stanzas = _STATUS.read_text(encoding="utf-8").split("\n\n")
        records = [stanza for stanza in stanzas if _package_of(stanza) in packages]
        self._copy_of(_STATUS).write_text("\n\n".join([*records, ""]), encoding="utf-8")
        for package in packages:
            self.take(Path("/usr/share/doc", package, "copyright"))

    def _copy_of(self, path: Path) -> Path:
        copy = self.root / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        return copy


def remove_unused_models(packages: Path) -> None:
    """Remove botocore's models of services that the action does not call."""
    called = {*AWS_SERVICES, *CREDENTIAL_SERVICES}
    (data,) = packages.glob("lib/python3*/site-packages/botocore/data")
    missing = [name for name in called if not (data / name).is_dir()]
    if missing:
        raise SystemExit(f"botocore has no models of {', '.join(sorted(missing))}")
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in called:
            shutil.rmtree(folder)


def remove_packages(packages: Path, names: Iterable[str]) -> None:
    """Remove packages with their records."""
    (site,) = packages.glob("lib/python3*/site-packages")
    for name in names:
        for folder in [site / name, *site.glob(f"{name}-*.dist-info")]:
            shutil.rmtree(folder)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _shared_libraries(path: Path) -> Iterator[Path]:
    """Yield the libraries that the dynamic linker finds for a program or an extension."""
    output = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    for library in _LIBRARY.findall(output.stdout):
        yield Path(library)


def _owners(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the Debian packages that files belong to."""
    names = sorted(str(path) for path in paths)
    output = subprocess.run(
        ["dpkg-query", "-S", *names], capture_output=True, text=True, check=False
    )
    for line in output.stdout.splitlines():
        owners, _, _ = line.rpartition(": ")
        for owner in owners.split(", "):
            yield owner.partition(":")[0]


def _package_of(stanza: str) -> str:
    return stanza.partition("\n")[0].removeprefix("Package: ")


def _folder(name: str) -> Path:
    """Return the path of a folder, for argparse."""
    path = Path(name)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{name!r} is no folder")
    return path


def main(arguments: list[str]) -> int:
    """Collect the files."""
    parser = argparse.ArgumentParser(description="Collect the files of the action's image.")
    for name in ("root", "packages", "app"):
        parser.add_argument(name, type=_folder)
    options = parser.parse_args(arguments)
    root: Path = options.root
    packages: Path = options.packages
    app: Path = options.app
    image = ImageRoot(root)
    image.take(Path(sys.prefix, "pyvenv.cfg"))
    image.take_library(Path(sysconfig.get_path("stdlib")))
    image.take(Path(sys.executable))
    for name in PROGRAMS:
        image.take(Path(shutil.which(name) or name))
    image.take_libraries(packages)
    for name in _SYSTEM_FILES:
        image.take(Path(name))
    image.take_package_records()
    remove_unused_models(packages)
    remove_packages(packages, TERMINAL_PACKAGES)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    shutil.copytree(packages, root / "usr/local", symlinks=True, dirs_exist_ok=True)
    shutil.copytree(app, root / "app", symlinks=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
