#!/usr/bin/env python3
"""The steps of a release that are more than a command; needs only Python.

    python tools/release.py prepare VERSION

Sets the version and gives its changes a heading in CHANGELOG.md, for a commit.

    python tools/release.py notes VERSION

Prints the notes of CHANGELOG.md; fails unless the package has that version.

    python tools/release.py sbom VERSION

Prints the bill of materials of requirements.txt as CycloneDX.

    python tools/release.py pin IMAGE@DIGEST

Makes action.yml name the image by digest in place of the Dockerfile.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import UTC, date, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LOCKED = re.compile(r"^([\w.-]+)==([\w.+!-]+) \\$|^    --hash=sha256:([0-9a-f]{64})", re.MULTILINE)
_IMAGE = re.compile(r"[a-z0-9.-]+(?::\d+)?/[a-z0-9._/-]+@sha256:[0-9a-f]{64}")


def notes(version: str, package: str, changelog: str) -> str:
    """Return the section of a version.

    Raises:
        ValueError: the package has another version, or the changelog no section for it.
    """
    if f'__version__ = "{version}"' not in package:
        raise ValueError(
            f"leastpriv/__init__.py does not say version {version}: change it in a separate"
            " commit first"
        )
    section = re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)",
        changelog,
        re.M | re.S,
    )
    if section is None or not section[1].strip():
        raise ValueError(
            f"CHANGELOG.md has no section `## [{version}] - YYYY-MM-DD` with text in it"
        )
    return section[1].strip() + "\n"


def prepared(version: str, package: str, changelog: str, today: date) -> tuple[str, str]:
    """Return `leastpriv/__init__.py` and CHANGELOG.md of a version.

    Raises:
        ValueError: the version has another form, or there are no changes to release.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ValueError(f"{version} is no version like 1.2.3")
    section = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    if section is None or not section[1].strip():
        raise ValueError("CHANGELOG.md has no changes below `## [Unreleased]`")
    heading = f"## [Unreleased]\n\n## [{version}] - {today}\n"
    package = re.sub(r'(?m)^__version__ = ".*"$', f'__version__ = "{version}"', package)
    return package, changelog.replace("## [Unreleased]\n", heading, 1)


def pinned(action: str, image: str) -> str:
    """Return action.yml with the image in place of the Dockerfile.

    Raises:
        ValueError: the image is not named by digest, or action.yml does not say `image: Dockerfile`
            once.
    """
    if not _IMAGE.fullmatch(image):
        raise ValueError(f"{image} is not an image by digest, REGISTRY/NAME@sha256:…")
    text, count = re.subn(
        r"^  image: Dockerfile$", f"  image: docker://{image}", action, flags=re.MULTILINE
    )
    if count != 1:
        raise ValueError("action.yml does not say `image: Dockerfile` once")
    return text


def bill_of_materials(version: str, lock: str) -> str:
    """Return the bill of materials of the locked packages, as CycloneDX 1.6 in JSON.

    Args:
        version: of the release.
        lock: requirements.txt; each package has the hashes of all its files.
    """
    components: list[dict[str, object]] = []
    hashes: list[dict[str, str]] = []
    for found in _LOCKED.finditer(lock):
        if found[3]:
            hashes.append({"alg": "SHA-256", "content": found[3]})
            continue
        hashes = []
        components.append(
            {
                "type": "library",
                "name": found[1],
                "version": found[2],
                "purl": f"pkg:pypi/{found[1].lower()}@{found[2]}",
                "externalReferences": [
                    {
                        "type": "distribution",
                        "url": f"https://pypi.org/project/{found[1]}/{found[2]}/",
                        "hashes": hashes,
                    }
                ],
            }
        )
    product = {
        "type": "application",
        "name": "leastpriv",
        "version": version,
        "purl": f"pkg:pypi/leastpriv@{version}",
    }
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": product},
        "components": components,
    }
    return json.dumps(bill, indent=1) + "\n"


def main(arguments: list[str]) -> int:
    """Run one of the steps; 2 with a sentence if the input is wrong."""
    parser = argparse.ArgumentParser(description="Run one step of a release.")
    parser.add_argument("step", choices=("prepare", "notes", "sbom", "pin"))
    parser.add_argument("what", metavar="VERSION|IMAGE@DIGEST")
    given = parser.parse_args(arguments)
    step: str = given.step
    what: str = given.what
    action = ROOT / "action.yml"
    package = ROOT / "leastpriv" / "__init__.py"
    changelog = ROOT / "CHANGELOG.md"
    try:
        before = package.read_text(encoding="utf-8"), changelog.read_text(encoding="utf-8")
        if step == "pin":
            action.write_text(pinned(action.read_text(encoding="utf-8"), what), encoding="utf-8")
        elif step == "sbom":
            lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
            print(bill_of_materials(what, lock), end="")
        elif step == "prepare":
            for path, text in zip(
                (package, changelog), prepared(what, *before, datetime.now(UTC).date()), strict=True
            ):
                path.write_text(text, encoding="utf-8")
        else:
            print(notes(what, *before), end="")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
