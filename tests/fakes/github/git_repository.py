"""The bare git repository of the fake, by git's plumbing commands, and by its objects alone where
no rule of git is needed.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath

from tests.fakes.github import git_objects
from tests.fakes.github.git_objects import Child, Commit, Signature

NO_OID = "0" * 40
_ENVIRONMENT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
_OID = re.compile(r"[0-9a-f]{40}")
_PLAIN_PATH = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
"""A path that is no pattern for git."""
_CONFIG = """[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
"""
_DIFF = ("diff", "--no-renames", "--no-ext-diff", "--no-color")
_PATCH = re.compile(r"^diff --git ", re.MULTILINE)
_LOG_FORMAT = "%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B%x00"


class GitError(Exception):
    """An error of git; the message is git's own."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """The change of one file between two commits; `patch` begins with its first `@@`."""

    path: str
    status: str
    additions: int
    deletions: int
    sha: str
    patch: str


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry of a tree; `sha` of None deletes the path when a tree is written."""

    path: str
    mode: str
    sha: str | None
    kind: str = "blob"
    size: int | None = None


class ObjectReader:
    """Names and contents of objects from one long-lived git process: a process for each question
    takes longer.
    """

    def __init__(self, folder: Path) -> None:
        self._command = ["git", f"--git-dir={folder}", "cat-file", "--batch-command"]
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def info(self, name: str) -> tuple[str, str] | None:
        """Kind and object id of what a revision names, or None where there is no such object."""
        with self._lock:
            oid, kind, size = self._ask("info", name)
        return (kind, oid) if size.isdecimal() else None

    def size(self, oid: str) -> int:
        """The size of an object that exists."""
        with self._lock:
            return int(self._ask("info", oid)[2])

    def content(self, oid: str) -> bytes:
        """The content of an object; raises GitError where there is none."""
        with self._lock:
            *_, size = self._ask("contents", oid)
            if not size.isdecimal():
                raise GitError(f"fatal: Not a valid object name {oid}")
            assert self._process
            assert self._process.stdout
            return self._process.stdout.read(int(size) + 1)[:-1]

    def _ask(self, what: str, name: str) -> list[str]:
        """The three last words of the first line of git's answer."""
        if "\n" in name:
            return [name, "", "missing"]
        if self._process is None:
            pipe, environment = subprocess.PIPE, {**os.environ, **_ENVIRONMENT}
            self._process = subprocess.Popen(
                self._command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
            )
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{what} {name}\n".encode())
        self._process.stdin.flush()
        words = self._process.stdout.readline().decode(errors="replace").rstrip("\n").rsplit(" ", 2)
        return ["", "", *words][-3:]

    def close(self) -> None:
        """End the process."""
        if self._process:
            self._process.communicate()


@dataclass(slots=True)
class GitRepository:
    """A bare repository; every method takes and returns full object ids unless its docstring
    differs.
    """

    folder: Path
    _indexes: int = 0
    _constants: dict[tuple[str, ...], str] = field(default_factory=dict)
    _commits: dict[str, Commit] = field(default_factory=dict)
    _ancestors: dict[str, frozenset[str]] = field(default_factory=dict)
    objects: ObjectReader = field(init=False)

    def __post_init__(self) -> None:
        self.objects = ObjectReader(self.folder)

    def create(self, default_branch: str) -> None:
        """Create the empty repository on disk."""
        for part in ("objects", "refs/heads"):
            (self.folder / part).mkdir(parents=True)
        (self.folder / "config").write_text(_CONFIG)
        (self.folder / "HEAD").write_text(f"ref: refs/heads/{default_branch}\n")

    def run(
        self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> bytes:
        """Run one git command; raises GitError with git's message when it fails."""
        done = self._process(arguments, stdin, environment)
        if done.returncode:
            raise GitError(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def text(
        self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> str:
        """Run one git command and return its output without the last line end."""
        output = self.run(*arguments, stdin=stdin, environment=environment)
        return output.decode(errors="replace").removesuffix("\n")

    def constant(self, *arguments: str) -> str:
        """As `text`, for results that never change because all arguments are object ids: run
        once.
        """
        if arguments not in self._constants:
            self._constants[arguments] = self.text(*arguments)
        return self._constants[arguments]

    def _process(
        self, arguments: Sequence[str], stdin: bytes, environment: Mapping[str, str] | None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["git", f"--git-dir={self.folder}", *arguments],
            input=stdin,
            capture_output=True,
            env={**os.environ, **_ENVIRONMENT, **(environment or {})},
            check=False,
        )

    def resolve(self, revision: str, kind: str = "commit") -> str | None:
        """The object id that a revision names, or None; `kind` may be `commit`, `tree`, `blob` or
        `object`.
        """
        if not revision or revision.startswith("-") or ".." in revision:
            return None
        found = self.objects.info(f"{revision}^{{{kind}}}")
        return found[1] if found else None

    def at(self, commit: str, path: str) -> tuple[str, str] | None:
        """Kind and object id of the entry at a path of a commit, or None."""
        if found := self.objects.info(f"{commit}:{path}"):
            return found
        # A submodule's commit is no object of this repository.
        parent, _, name = path.rpartition("/")
        folder = self.objects.info(f"{commit}:{parent}")
        if folder is None or folder[0] != "tree":
            return None
        child = git_objects.read_tree(self.objects.content(folder[1])).get(name)
        return (child.kind, child.sha) if child else None

    def branch(self, name: str) -> str | None:
        """The commit at the head of a branch, or None."""
        return self.resolve(f"refs/heads/{name}")

    def refs(self, prefix: str) -> dict[str, str]:
        """Every ref whose full name starts with `prefix`, with its object id, sorted by name."""
        listed = self.text("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        pairs = (line.split(" ") for line in listed)
        return {name: oid for name, oid in pairs if name.startswith(prefix)}

    def well_formed(self, ref: str) -> bool:
        """Whether git accepts `ref` as a full name."""
        return ref.count("/") >= 2 and _is_accepted(ref)

    def move_ref(self, ref: str, new: str | None, old: str | None) -> None:
        """Create, move or (new None) delete a ref that is at `old` now; raises GitError when it is
        not.
        """
        if new is None:
            self.run("update-ref", "-d", ref, old or NO_OID)
        elif not self._move_plain_ref(ref, new, old):
            self.run("update-ref", ref, new, old or NO_OID)

    def _move_plain_ref(self, ref: str, new: str, old: str | None) -> bool:
        """Write the file of a ref as git does, under its lock; False where git has to decide."""
        if self.kind(new) != "commit" or not self.well_formed(ref):
            return False
        file = self.folder / ref
        lock = file.with_name(f"{file.name}.lock")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with lock.open("x") as writer:
                writer.write(f"{new}\n")
        except OSError:
            return False
        is_moved = self.resolve(ref, "object") == old and not file.is_dir()
        if is_moved:
            lock.replace(file)
        else:
            lock.unlink()
        return is_moved

    def write_blob(self, content: bytes) -> str:
        """Store a blob."""
        return git_objects.store(self.folder, "blob", content)

    def read_blob(self, oid: str) -> bytes:
        """The content of a blob."""
        return self.objects.content(oid)

    def kind(self, oid: str) -> str | None:
        """`blob`, `tree`, `commit` or `tag`, or None where there is no such object."""
        found = self.objects.info(oid)
        return found[0] if found else None

    def write_tree(self, base: str | None, entries: Sequence[TreeEntry]) -> str:
        """Store a tree: `base` (empty when None) with the entries applied to it."""
        files = {one.path: Child(one.mode, one.sha) for one in entries if one.sha}
        tree = self.resolve(base, "tree") if base else None
        is_new = len(files) == len(entries) and (tree is not None or base is None)
        if is_new and all(self._is_plain(path, file, files) for path, file in files.items()):
            return self._with_files(tree, files)
        return self.tree_by_index(base, entries)

    def _is_plain(self, path: str, file: Child, files: Mapping[str, Child]) -> bool:
        """Whether git stores a file as it is: no rule of paths concerns it, and no other file."""
        in_a_file = any(str(folder) in files for folder in PurePosixPath(path).parents)
        is_plain = git_objects.is_plain_file(path, file.mode)
        return is_plain and not in_a_file and self.kind(file.sha) == "blob"

    def _with_files(self, tree: str | None, files: Mapping[str, Child]) -> str:
        """Store a tree with files in it and in its folders; a file takes the place of a folder of
        its name, and a folder that of a file.
        """
        children = git_objects.read_tree(self.objects.content(tree)) if tree else {}
        by_folder: dict[str, dict[str, Child]] = {}
        for path, file in files.items():
            name, is_below, rest = path.partition("/")
            if is_below:
                by_folder.setdefault(name, {})[rest] = file
            else:
                children[name] = file
        for name, inside in by_folder.items():
            known = children.get(name)
            folder = known.sha if known and known.mode == git_objects.FOLDER else None
            children[name] = Child(git_objects.FOLDER, self._with_files(folder, inside))
        return git_objects.store(self.folder, "tree", git_objects.tree_content(children))

    def tree_by_index(self, base: str | None, entries: Sequence[TreeEntry]) -> str:
        """Store a tree as `write_tree` does, by git's index, which knows all rules of paths."""
        self._indexes += 1
        index = self.folder / f"index-{self._indexes}"
        environment = {"GIT_INDEX_FILE": str(index)}
        self.run("read-tree", base or "--empty", environment=environment)
        lines = (
            f"{one.mode if one.sha else '0'} {one.sha or NO_OID}\t{one.path}\0" for one in entries
        )
        self.run(
            "update-index",
            "-z",
            "--index-info",
            stdin="".join(lines).encode(),
            environment=environment,
        )
        tree = self.text("write-tree", environment=environment)
        index.unlink(missing_ok=True)
        return tree

    def read_tree(self, tree: str, recursive: bool = False) -> list[TreeEntry]:
        """The entries of a tree; with `recursive`, those of its folders too."""
        oid = self.resolve(tree, "tree")
        if oid is None:
            raise GitError(f"fatal: Not a valid object name {tree}")
        return [*self._entries(oid, "", recursive)]

    def _entries(self, tree: str, folder: str, recursive: bool) -> Iterator[TreeEntry]:
        for name, child in git_objects.read_tree(self.objects.content(tree)).items():
            path = f"{folder}{name}"
            size = self.objects.size(child.sha) if child.kind == "blob" else None
            yield TreeEntry(path, child.mode, child.sha, child.kind, size)
            if recursive and child.kind == "tree":
                yield from self._entries(child.sha, f"{path}/", recursive)

    def write_commit(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        author: Signature,
        committer: Signature,
    ) -> str:
        """Store a commit; the message is kept unchanged."""
        if not git_objects.is_plain_line(
            author.name, author.email, committer.name, committer.email
        ):
            raise GitError("error: a name or an address ends its field")
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        lines += [f"author {_raw(author)}", f"committer {_raw(committer)}", "", message]
        return git_objects.store(self.folder, "commit", "\n".join(lines).encode())

    def commits(self, *revisions: str, paths: Sequence[str] = ()) -> list[Commit]:
        """The commits that `git log` shows for the revisions, newest first."""
        if len(paths) < 2 and all(map(_PLAIN_PATH.fullmatch, paths)):
            line = self._line_of_commits(revisions)
            if line is not None:
                return [commit for commit in line if self._changes_any(commit, paths)]
        return self.commits_by_git(*revisions, paths=paths)

    def commits_by_git(self, *revisions: str, paths: Sequence[str] = ()) -> list[Commit]:
        """As `commits`, by git, which knows all kinds of revisions, paths and merges."""
        arguments = ["log", "--topo-order", f"--format={_LOG_FORMAT}", *revisions, "--", *paths]
        return _parsed_log(self.text(*arguments))

    def _line_of_commits(self, revisions: Sequence[str]) -> list[Commit] | None:
        """The commits of one revision, without those of another, where none is a merge; None for
        other revisions.
        """
        start, *limits = sorted(revisions, key=lambda each: each.startswith("^"))
        bounds = [limit.removeprefix("^") for limit in limits]
        if not all(_OID.fullmatch(sha) for sha in (start, *bounds)) or len(bounds) > 1:
            return None
        excluded = self.ancestors(bounds[0]) if bounds else frozenset()
        line: list[Commit] = []
        sha = start
        while sha and sha not in excluded:
            line.append(self.commit(sha))
            if len(line[-1].parents) > 1:
                return None
            sha = next(iter(line[-1].parents), "")
        return line

    def _changes_any(self, commit: Commit, paths: Sequence[str]) -> bool:
        """Whether a commit without a merge changes any of the paths; each does without paths."""
        parent = next(iter(commit.parents), None)
        before = self.commit(parent).tree if parent else None
        return not paths or any(
            self._child(commit.tree, path) != (before and self._child(before, path))
            for path in paths
        )

    def _child(self, tree: str, path: str) -> Child | None:
        """The entry at a path of a tree."""
        child: Child | None = Child(git_objects.FOLDER, tree)
        for name in path.split("/"):
            if child is None or child.kind != "tree":
                return None
            child = git_objects.read_tree(self.objects.content(child.sha)).get(name)
        return child

    def commit(self, sha: str) -> Commit:
        """One commit."""
        if sha not in self._commits:
            self._commits[sha] = git_objects.read_commit(sha, self.objects.content(sha))
        return self._commits[sha]

    def ancestors(self, sha: str) -> frozenset[str]:
        """The ids of a commit and of all its ancestors."""
        if sha not in self._ancestors:
            found: set[str] = set()
            waiting = [sha]
            while waiting:
                commit = waiting.pop()
                if commit in self._ancestors:
                    found |= self._ancestors[commit]
                elif commit not in found:
                    found.add(commit)
                    waiting += self.commit(commit).parents
            self._ancestors[sha] = frozenset(found)
        return self._ancestors[sha]

    def count(self, base: str, head: str) -> int:
        """The number of commits of `head` that `base` lacks."""
        return len(self.ancestors(head) - self.ancestors(base))

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `older` is `newer` or an ancestor of it."""
        return self.merge_base(older, newer) == older

    def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor, or None for histories without one."""
        try:
            common = self.ancestors(one) & self.ancestors(other)
        except GitError:
            return None
        # All ancestors of a common one are common too.
        worse = {parent for sha in common for parent in self.commit(sha).parents}
        best = common - worse
        return self.constant("merge-base", one, other) if len(best) > 1 else min(best, default=None)

    def merged_tree(self, one: str, other: str) -> str | None:
        """The tree of a merge of two commits, or None where they conflict."""
        base = self.merge_base(one, other)
        if base in (one, other):
            return self.commit(other if base == one else one).tree
        try:
            return self.constant("merge-tree", "--write-tree", one, other)
        except GitError:
            return None

    def changes(self, old: str, new: str) -> list[FileChange]:
        """The change of each file between two trees or commits, sorted by path."""
        flags = (*_DIFF, "--no-abbrev", "-z", "--raw", "--numstat", "-p")
        listed, _, patches = self.constant(*flags, old, new).partition("\0\0")
        fields = [field for field in listed.split("\0") if field]
        number = sum(1 for line in fields if line.startswith(":"))
        counts = [line.split("\t", 2) for line in fields[2 * number :]]
        patch_of_file = _PATCH.split(patches)[1:]
        if len(patch_of_file) != number:
            # A file that becomes a link has two.
            patch_of_file = [
                self.constant(*_DIFF, "-p", old, new, "--", f":(literal){path}")
                for path in fields[1 : 2 * number : 2]
            ]
        rows = zip(fields[: 2 * number : 2], counts, patch_of_file, strict=True)
        return [_file_change(raw, numbers, patch) for raw, numbers, patch in rows]

    def renames(self, old: str, new: str) -> dict[str, str]:
        """New path -> earlier path of the files that moved between two trees or commits."""
        statuses = {change.status for change in self.changes(old, new)}
        if not statuses >= {"added", "removed"}:
            return {}
        flags = ["-r", "-z", "-M", "--diff-filter=R", "--name-status"]
        fields = self.constant("diff-tree", *flags, old, new).split("\0")
        return dict(zip(fields[2::3], fields[1::3], strict=False))


@lru_cache(maxsize=4096)
def _is_accepted(ref: str) -> bool:
    """Whether git accepts the full name of a ref."""
    command = ["git", "check-ref-format", ref]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _file_change(raw: str, numbers: Sequence[str], patch: str) -> FileChange:
    """A line of `--raw`, one of `--numstat` and the patch of one file."""
    added, deleted, path = numbers
    _, _, before, after, letter = raw.removeprefix(":").split(" ")
    status = {"A": "added", "D": "removed"}.get(letter, "modified")
    return FileChange(
        path=path,
        status=status,
        additions=int(added) if added != "-" else 0,
        deletions=int(deleted) if deleted != "-" else 0,
        sha=before if status == "removed" else after,
        patch=patch[start:] if (start := patch.find("\n@@") + 1) else "",
    )


def signature(name: str, email: str, when: datetime) -> Signature:
    """A signature at a time with a zone."""
    return Signature(name, email, when.isoformat(timespec="seconds"))


def _raw(who: Signature) -> str:
    when = datetime.fromisoformat(who.date)
    return f"{who.name} <{who.email}> {int(when.timestamp())} {when.strftime('%z')}"


def _parsed_log(text: str) -> list[Commit]:
    fields = text.split("\0")
    rows = [fields[start : start + 10] for start in range(0, len(fields) - 9, 10)]
    return [
        Commit(
            sha=row[0].strip(),
            tree=row[1],
            parents=tuple(row[2].split()),
            author=Signature(*row[3:6]),
            committer=Signature(*row[6:9]),
            message=row[9].removesuffix("\n"),
        )
        for row in rows
    ]
