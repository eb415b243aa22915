"""Reads files and folders of commits, for many paths in one git process a level of folders."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath

from msgspec import Struct

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.git_program import GitProgram

_OBJECT_LINE = re.compile(rb"([0-9a-f]{40,64}) (commit|tree|blob|tag) (\d+)")
_FULL_NAME = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_DIGITS_OF_BYTE = 2


class TreeEntry(Struct, frozen=True):
    """A file or folder in a tree."""

    mode: int
    name: bytes
    oid: str

    @property
    def is_folder(self) -> bool:
        """Whether it is a tree."""
        return stat.S_ISDIR(self.mode)

    @property
    def kind(self) -> str:
        """The kind of its object."""
        if self.is_folder:
            return "tree"
        return "blob" if stat.S_ISREG(self.mode) or stat.S_ISLNK(self.mode) else "commit"


class GitObject(Struct, frozen=True):
    """An object as the clone has it."""

    name: str
    """Its full name."""
    content: bytes


Tree = Mapping[bytes, TreeEntry]
"""The entries of a folder, by name."""


def is_full_name(revision: str) -> bool:
    """Whether a revision is the full name of an object, which always means the same one."""
    return _FULL_NAME.fullmatch(revision) is not None


class _RemainingPath(Struct, frozen=True):
    """The part of a path that is below a tree."""

    tree: str
    names: tuple[bytes, ...]


class GitObjects:
    """The objects of a repository; what was read of a commit is kept."""

    def __init__(self, git: GitProgram) -> None:
        """Reads nothing yet."""
        self._git = git
        self._trees: dict[str, Tree] = {}
        self._blobs: dict[str, bytes] = {}

    def read(self, names: Sequence[str]) -> Iterator[GitObject | None]:
        """Yields each object; None where the clone lacks it."""
        if not names:
            return
        stdin = "".join(f"{name}\n" for name in names).encode()
        output = self._git.run("cat-file", "--batch", stdin=stdin)
        position = 0
        for _ in names:
            end = output.index(b"\n", position)
            header = _OBJECT_LINE.fullmatch(output[position:end])
            position = end + 1
            if header is None:
                yield None
                continue
            size = int(header[3])
            yield GitObject(header[1].decode(), output[position : position + size])
            position += size + 1

    def read_ahead(self, commit: str, paths: Iterable[str]) -> None:
        """Reads files of a commit together, level by level; `file` raises the error of each."""
        remaining_paths = []
        for path in paths:
            with suppress(PullRequestError):
                remaining_paths.append(_RemainingPath(_root(commit), path_parts(path)))
        while remaining_paths:
            self._read_trees(dict.fromkeys(remaining.tree for remaining in remaining_paths))
            blobs: list[str] = []
            next_level: list[_RemainingPath] = []
            for remaining in remaining_paths:
                name, *rest = remaining.names
                entry = self._trees.get(remaining.tree, {}).get(name)
                if entry and rest and entry.is_folder:
                    next_level.append(_RemainingPath(entry.oid, tuple(rest)))
                elif entry and not rest and stat.S_ISREG(entry.mode):
                    blobs.append(entry.oid)
            for blob in self.read(blobs):
                if blob:
                    self._blobs[blob.name] = blob.content
            remaining_paths = next_level

    def _read_trees(self, names: Collection[str]) -> None:
        unread = [name for name in names if name not in self._trees]
        for name, tree in zip(unread, self.read(unread), strict=True):
            if tree:
                self._trees[name] = parse_tree(tree)

    def file(self, commit: str, path: str) -> bytes | None:
        """Returns the content of a file of a commit; None if it does not exist.

        Raises PullRequestError where the path leads to or through anything but files and folders,
        or the clone lacks an object.
        """
        tree = _root(commit)
        *folders, name = path_parts(path)
        for folder in folders:
            entry = subfolder(self.tree(tree), folder, path)
            if entry is None:
                return None
            tree = entry.oid
        entry = file_entry(self.tree(tree), name, path)
        if entry is None:
            return None
        content = self._blobs.get(entry.oid)
        return self._git.run("cat-file", "blob", entry.oid) if content is None else content

    def tree(self, name: str) -> Tree:
        """Returns the entries of a tree; raises PullRequestError where the clone lacks it."""
        entries = self._trees.get(name)
        if entries is None:
            (tree,) = self.read([name])
            if tree is None:
                raise PullRequestError(f"The git repository in {self._git.folder} lacks {name}.")
            entries = parse_tree(tree)
            if is_full_name(name.removesuffix("^{tree}")):
                self._trees[name] = entries
        return entries


def parse_tree(tree: GitObject) -> Tree:
    r"""Parses a tree (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects): entries
    `MODE NAME\0` with the bytes of the object's name, which is as long as that of the tree.
    """
    content = tree.content
    length = len(tree.name) // _DIGITS_OF_BYTE
    entries: dict[bytes, TreeEntry] = {}
    position = 0
    while position < len(content):
        blank = content.index(b" ", position)
        end = content.index(b"\0", blank)
        mode = _canonical(int(content[position:blank], 8))
        entry_name = content[blank + 1 : end]
        position = end + 1 + length
        entries[entry_name] = TreeEntry(mode, entry_name, content[end + 1 : position].hex())
    return entries


def _canonical(mode: int) -> int:
    """Returns the mode as git writes it today: of files it keeps whether they are executable."""
    if not stat.S_ISREG(mode):
        return mode
    return stat.S_IFREG | (0o755 if mode & stat.S_IXUSR else 0o644)


def _root(commit: str) -> str:
    return f"{commit}^{{tree}}"


def path_parts(path: str) -> tuple[bytes, ...]:
    """Returns the names of a path; raises PullRequestError where it leads out of the repository or
    into git's own folder.
    """
    parts = PurePosixPath(path).parts
    if (
        not parts
        or path.startswith("/")
        or ".." in parts
        or "\0" in path
        or ".git" in (part.lower() for part in parts)
    ):
        raise PullRequestError(f"The path {path!r} does not name a file in the repository.")
    return tuple(os.fsencode(part) for part in parts)


def subfolder(entries: Tree, name: bytes, path: str) -> TreeEntry | None:
    """Returns a folder on the way of a path; None where there is nothing of the name.

    Raises PullRequestError for an entry that is no folder.
    """
    entry = entries.get(name)
    if entry is not None and not entry.is_folder:
        raise PullRequestError(
            f"The path {path!r} leads through a file, symbolic link or submodule: name the file"
            " itself."
        )
    return entry


def file_entry(entries: Tree, name: bytes, path: str) -> TreeEntry | None:
    """Returns the file at the end of a path; None where there is nothing of the name.

    Raises PullRequestError for an entry that is no regular file.
    """
    entry = entries.get(name)
    if entry is not None and not stat.S_ISREG(entry.mode):
        raise PullRequestError(
            f"The path {path!r} is a folder, symbolic link or submodule: name a regular file."
        )
    return entry
