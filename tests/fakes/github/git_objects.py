"""Git's objects as bytes: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects.

A process of git for each object takes two milliseconds of the processor, and a test of the product
stores and reads hundreds.
"""

from __future__ import annotations

import hashlib
import re
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

FOLDER = "040000"
SUBMODULE = "160000"
_FILES = frozenset({"100644", "100755"})
_PLAIN_NAME = re.compile(
    r"(?!\.{1,2}$|\.git[ .]*$|git~)[ !#-.0-9;-\[\]-~]+", re.ASCII | re.IGNORECASE
)
"""Without what a file system may take for `.git`, which git refuses."""
_ENDS_A_FIELD = re.compile(r"[\n\0<>]")
_SIGNATURE = re.compile(rb"(.*?) ?<([^>]*)> (-?\d+) ([+-])(\d\d)(\d\d)")


@dataclass(frozen=True, slots=True)
class Signature:
    """Author or committer, and the time (an ISO 8601 time with its offset)."""

    name: str
    email: str
    date: str


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit as git stores it."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Signature
    committer: Signature
    message: str


@dataclass(frozen=True, slots=True)
class Child:
    """What a tree holds under a name."""

    mode: str
    sha: str

    @property
    def kind(self) -> str:
        """`blob`, `tree` or `commit`."""
        return {FOLDER: "tree", SUBMODULE: "commit"}.get(self.mode, "blob")


Children = Mapping[str, Child]


def store(git_dir: Path, kind: str, content: bytes) -> str:
    """Store an object as a loose file; returns its id."""
    stored = f"{kind} {len(content)}\0".encode() + content
    oid = hashlib.sha1(stored, usedforsecurity=False).hexdigest()
    path = git_dir / "objects" / oid[:2] / oid[2:]
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        # Another thread may store the same object, and git reads no incomplete one.
        incomplete = path.with_name(f"tmp_obj_{oid[:6]}{threading.get_ident()}")
        incomplete.write_bytes(zlib.compress(stored, 1))
        incomplete.replace(path)
    return oid


def read_commit(sha: str, content: bytes) -> Commit:
    """Read the content of a commit."""
    headers, _, message = content.partition(b"\n\n")
    fields: dict[bytes, list[bytes]] = {}
    for line in headers.split(b"\n"):
        name, _, value = line.partition(b" ")
        fields.setdefault(name, []).append(value)
    return Commit(
        sha=sha,
        tree=fields[b"tree"][0].decode(),
        parents=tuple(parent.decode() for parent in fields.get(b"parent", ())),
        author=_read_signature(fields[b"author"][0]),
        committer=_read_signature(fields[b"committer"][0]),
        message=message.decode(errors="replace").removesuffix("\n"),
    )


def _read_signature(line: bytes) -> Signature:
    match = _SIGNATURE.fullmatch(line)
    if match is None:
        raise ValueError(f"no signature: {line!r}")
    name, email, seconds, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == b"-" else 1)
    time = datetime.fromtimestamp(int(seconds), timezone(offset) if offset else UTC)
    return Signature(
        name.decode(errors="replace"), email.decode(errors="replace"), time.isoformat()
    )


def read_tree(content: bytes) -> dict[str, Child]:
    """Read the content of a tree, in its order."""
    children: dict[str, Child] = {}
    start = 0
    while start < len(content):
        end = content.index(b"\0", start)
        mode, _, name = content[start:end].partition(b" ")
        start = end + 21
        children[name.decode()] = Child(mode.decode().zfill(6), content[end + 1 : start].hex())
    return children


def tree_content(children: Children) -> bytes:
    """Write the content of a tree; a folder is sorted as if its name ended with `/`."""
    lines: dict[bytes, bytes] = {}
    for name, child in children.items():
        key = name.encode() + (b"/" if child.mode == FOLDER else b"")
        mode = child.mode.lstrip("0").encode()
        lines[key] = mode + b" " + name.encode() + b"\0" + bytes.fromhex(child.sha)
    return b"".join(lines[key] for key in sorted(lines))


def is_plain_file(path: str, mode: str) -> bool:
    """Whether a file has a usual mode, and a path that every git accepts."""
    return mode in _FILES and all(_PLAIN_NAME.fullmatch(name) for name in path.split("/"))


def is_plain_line(*texts: str) -> bool:
    """Whether no text ends a line of a commit, or a name or an address in it."""
    return not any(_ENDS_A_FIELD.search(text) for text in texts)
