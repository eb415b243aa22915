#!/usr/bin/env python3
"""The two steps of a release that are more than a command; needs only Python.

python tools/release.py notes VERSION  print the notes of CHANGELOG.md; fails unless the package has that
version
python tools/release.py pin IMAGE@DIGEST   make action.yml name the image by digest in place of the Dockerfile
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_IMAGE = re.compile(r"[a-z0-9.-]+(?::\d+)?/[a-z0-9._/-]+@sha256:[0-9a-f]{64}")


def notes(version: str, package: str, changelog: str) -> str:
    """Return the section of a version.

    Raises:
        ValueError: the package has another version, or the changelog no section for it.
    """
    if f'__version__ = "{version}"' not in package:
        raise ValueError(
            f"leastpriv/__init__.py does not say version {version}: change it in a commit of its own first"
        )
    section = re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    if section is None or not section[1].strip():
        raise ValueError(f"CHANGELOG.md has no section `## [{version}] - YYYY-MM-DD` with text in it")
    return section[1].strip() + "\n"


def pinned(action: str, image: str) -> str:
    """Return action.yml with the image in place of the Dockerfile.

    Raises:
        ValueError: the image is not named by digest, or action.yml does not say `image: Dockerfile` once.
    """
    if not _IMAGE.fullmatch(image):
        raise ValueError(f"{image} is not an image by digest, REGISTRY/NAME@sha256:…")
    text, count = re.subn(r"^  image: Dockerfile$", f"  image: docker://{image}", action, flags=re.MULTILINE)
    if count != 1:
        raise ValueError("action.yml does not say `image: Dockerfile` once")
    return text


def main(arguments: list[str]) -> int:
    """Run one of the two; 2 with a sentence if the input is wrong."""
    step, what = arguments
    action = ROOT / "action.yml"
    try:
        if step == "pin":
            action.write_text(pinned(action.read_text(encoding="utf-8"), what), encoding="utf-8")
        else:
            package = (ROOT / "leastpriv" / "__init__.py").read_text(encoding="utf-8")
            print(notes(what, package, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")), end="")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
