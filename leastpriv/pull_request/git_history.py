"""Reads what git knows of the past of files, for many files in few processes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby

from msgspec import Struct

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.git_objects import GitObjects, path_parts
from leastpriv.pull_request.git_program import GitProgram
from leastpriv.pull_request.lifecycle import reverted_commits
from leastpriv.pull_request.models import TRAILER

_MAX_MOVES = 5
_COMMIT_FIELDS = 4
_LATEST = 253_402_300_799
"""The last second that a time can have."""
_MOST_PATHSPECS = 100
"""Git compares each entry of a changed folder with each of them."""
_MOST_MARKED = 2_000
_MOST_NAMED = 2_000
"""Commits that messages name and that are looked up: one message may name thousands."""


class LoggedCommit(Struct, frozen=True):
    """A commit with its message."""

    sha: str
    parents: tuple[str, ...]
    """None in the first commit, and in the oldest of a shallow clone."""
    time: datetime
    """When it was committed (aware, UTC)."""
    message: str


class NamedVersions(Struct, frozen=True):
    """The commits that changed a file under one of its names."""

    path: str
    versions: Sequence[LoggedCommit]
    """The latest first; of a merged branch the merge."""


class _LogEntry(Struct, frozen=True):
    """A commit with the files in which it differs from one of its parents."""

    commit: LoggedCommit
    names: frozenset[str]


class GitHistory:
    """The past of files as of one commit: versions and names along the first parents, and reverts.

    The first question about a file reads the answers for all that are expected.
    """

    def __init__(self, git: GitProgram, objects: GitObjects, commit: str) -> None:
        """Reads nothing yet."""
        self._git = git
        self._objects = objects
        self._commit = commit
        self._expected: set[str] = set()
        self._versions: dict[str, list[LoggedCommit]] = {}
        self._renames: dict[str, Mapping[str, str]] = {}
        """Commit -> path after -> path before."""
        self._positions: Mapping[str, int] | None = None
        self._marked: dict[str, list[LoggedCommit]] = {}
        """Path -> the commits whose messages have a mark of a proposal or of a revert."""
        self._named: dict[str, LoggedCommit | None] = {}
        self._failure: PullRequestError | None = None
        """Why git did not answer: asked for each file, it would fail as often."""

    def _check(self) -> None:
        if self._failure:
            raise self._failure

    def expect(self, paths: Iterable[str]) -> None:
        """Names files that will be asked about."""
        self._expected.update(name for name in map(_name, paths) if name)

    def names(self, path: str) -> Iterator[NamedVersions]:
        """Yields the present name of a file, then those that it had before it was moved, the latest
        first.
        """
        self._check()
        name = _name(path)
        if name not in self._versions:
            self._read({name, *self._expected} - {""})
        versions: Sequence[LoggedCommit] = self._versions.get(name, ())
        yield NamedVersions(path, versions)
        for _ in range(_MAX_MOVES):
            if not versions:
                return
            first = versions[-1]
            name = self._renames.get(first.sha, {}).get(name, "")
            if not name:
                return
            versions = self._older(name, first)
            yield NamedVersions(name, versions)

    def _older(self, path: str, than: LoggedCommit) -> Sequence[LoggedCommit]:
        """Returns the versions of a file before a commit."""
        positions = self._positions_of_commits()
        start = positions[than.sha]
        return [
            version for version in self._versions.get(path, ()) if positions[version.sha] > start
        ]

    def _positions_of_commits(self) -> Mapping[str, int]:
        if self._positions is None:
            output = self._git.run("rev-list", "--first-parent", "--end-of-options", self._commit)
            self._positions = {sha: number for number, sha in enumerate(output.decode().split())}
        return self._positions

    def _read(self, paths: Collection[str]) -> None:
        """Reads the versions of files under all their names."""
        for _ in range(_MAX_MOVES + 1):
            unread = [path for path in paths if path not in self._versions]
            if not unread:
                return
            self._read_versions(unread)
            firsts = {path: self._versions[path][-1] for path in unread if self._versions[path]}
            self._read_renames(firsts.values())
            paths = {
                self._renames[first.sha][path]
                for path, first in firsts.items()
                if path in self._renames.get(first.sha, {})
            }

    def _read_versions(self, paths: Sequence[str]) -> None:
        self._versions.update({path: [] for path in paths})
        for entry in self._log(paths, "--first-parent"):
            for path in entry.names.intersection(paths):
                self._versions[path].append(entry.commit)

    def _read_renames(self, firsts: Iterable[LoggedCommit]) -> None:
        """Reads which files commits renamed, compared with their first parents."""
        parents = {
            version.sha: version.parents[0]
            for version in firsts
            if version.parents and version.sha not in self._renames
        }
        if not parents:
            return
        together = self._renamed(parents)
        if together is None:
            # Git stops at the first commit of which a partial clone lacks a file.
            together = {}
            for commit, parent in parents.items():
                together.update(self._renamed({commit: parent}) or {})
        for commit in parents:
            self._renames[commit] = together.get(commit, {})

    def _renamed(self, parents: Mapping[str, str]) -> dict[str, dict[str, str]] | None:
        """Returns commit -> path after -> path before; None where git fails."""
        output = self._git.run_or_none(
            *("diff-tree", "--stdin", "-r", "-z", "-M", "--diff-filter=R", "--name-status"),
            stdin="".join(f"{commit} {parent}\n" for commit, parent in parents.items()).encode(),
        )
        if output is None:
            return None
        renames_by_commit: dict[str, dict[str, str]] = {}
        commit = ""
        # A commit's id, then for each renamed file `R` with the similarity, and both paths.
        fields = iter(output.split(b"\0")[:-1])
        for field in fields:
            if not field.startswith(b"R"):
                commit = field.decode()
                renames_by_commit.setdefault(commit, {})
                continue
            before = os.fsdecode(next(fields))
            after = os.fsdecode(next(fields))
            renames_by_commit[commit][after] = before
        return renames_by_commit

    def reverts(self, path: str) -> Sequence[LoggedCommit]:
        """Returns the commits that changed a file, the newest first, whose messages say that they
        revert others.
        """
        return [commit for commit in self._marks(path) if reverted_commits(commit.message)]

    def has_proposal(self, path: str) -> bool:
        """Whether a commit that changed a file has the mark of a proposal."""
        return any(TRAILER in commit.message for commit in self._marks(path))

    def _marks(self, path: str) -> Sequence[LoggedCommit]:
        self._check()
        name = _name(path)
        if name not in self._marked:
            known = {name, *self._expected, *self._versions} - {""}
            self._read_marked([path for path in known if path not in self._marked])
        return self._marked.get(name, ())

    def _read_marked(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        self._marked.update({path: [] for path in paths})
        options = ("--full-history", f"--max-count={_MOST_MARKED}", "--basic-regexp")
        marks = (f"--grep={TRAILER}: ", "--grep=^This reverts commit")
        entries = self._log(paths, *options, *marks)
        for _, entries_of_commit in groupby(entries, lambda entry: entry.commit.sha):
            by_parent = list(entries_of_commit)
            commit = by_parent[0].commit
            if len(by_parent) < len(commit.parents):
                # A merge that equals a parent brings along what others changed.
                continue
            names = frozenset.intersection(*(entry.names for entry in by_parent))
            for path in names.intersection(paths):
                self._marked[path].append(commit)
        self._read_named([commit for path in paths for commit in self._marked[path]])

    def _read_named(self, reverts: Iterable[LoggedCommit]) -> None:
        """Reads the commits that the messages of reverts name."""
        names = dict.fromkeys(
            name for revert in reverts for name in reverted_commits(revert.message)
        )
        unread = [name for name in names if name not in self._named][:_MOST_NAMED]
        found = self._objects.read([f"{name}^{{commit}}" for name in unread])
        shas = {name: commit.name for name, commit in zip(unread, found, strict=True) if commit}
        commits = {commit.sha: commit for commit in self._commits(tuple(set(shas.values())))}
        self._named.update({name: commits.get(shas.get(name, "")) for name in unread})

    def _commits(self, shas: Sequence[str]) -> Iterator[LoggedCommit]:
        if shas:
            stdin = "".join(f"{sha}\n" for sha in shas).encode()
            yield from logged(self._git, "--no-walk=unsorted", "--stdin", stdin=stdin)

    def named(self, name: str) -> LoggedCommit | None:
        """Returns the commit that the message of a revert names, perhaps abbreviated; None where
        the clone lacks it.
        """
        return self._named.get(name)

    def _log(self, paths: Collection[str], *options: str) -> Iterator[_LogEntry]:
        """Yields the commits that change files, and perhaps others: newest first, once for each
        parent from which they differ.
        """
        try:
            output = self._git.run_or_none(
                *("log", "-z", "-m", "--no-renames", "--name-only", "--encoding=UTF-8", *options),
                *("--format=%x00%H%x00%P%x00%ct%x00%B", "--end-of-options", self._commit),
                *("--", *_pathspecs(paths)),
            )
        except PullRequestError as error:
            self._failure = error
            raise
        # Each commit begins with an empty field, which no name is.
        fields = deque((output or b"").split(b"\0")[:-1])
        while fields:
            fields.popleft()
            commit = _commit_of([fields.popleft() for _ in range(_COMMIT_FIELDS)])
            names: list[bytes] = []
            while fields and fields[0]:
                names.append(fields.popleft())
            # A line break separates the message from the names.
            names[:1] = [name.removeprefix(b"\n") for name in names[:1]]
            yield _LogEntry(commit, frozenset(map(os.fsdecode, names)))


def _commit_of(fields: Sequence[bytes]) -> LoggedCommit:
    """Returns a commit by its name, parents, seconds and message."""
    sha, parents, seconds, message = (field.decode("utf-8", "replace") for field in fields)
    # Git stores later times than a calendar has.
    time = datetime.fromtimestamp(min(int(seconds), _LATEST), UTC)
    return LoggedCommit(sha, tuple(parents.split()), time, message)


def _name(path: str) -> str:
    """Returns the name that git has for a path; empty for one that leads out of the repository, as
    git answers for no file where one does.
    """
    try:
        return os.fsdecode(b"/".join(path_parts(path)))
    except PullRequestError:
        return ""


def _pathspecs(paths: Collection[str]) -> tuple[str, ...]:
    """Returns paths or, of too many, the folders that have them; none: the whole repository."""
    specs = set(paths)
    while len(specs) > _MOST_PATHSPECS:
        deepest = max(spec.count("/") for spec in specs)
        if deepest == 0:
            return ()
        specs = {spec.rpartition("/")[0] if spec.count("/") == deepest else spec for spec in specs}
    return tuple(sorted(specs))


def logged(git: GitProgram, *arguments: str, stdin: bytes = b"") -> Iterator[LoggedCommit]:
    """Yields the commits that `git log` finds, newest first."""
    output = git.run_or_none(
        *("log", "-z", "--encoding=UTF-8", "--format=%H%x00%P%x00%ct%x00%B", *arguments),
        stdin=stdin,
    )
    fields = (output or b"").split(b"\0")[:-1]
    for start in range(0, len(fields), _COMMIT_FIELDS):
        yield _commit_of(fields[start : start + _COMMIT_FIELDS])
