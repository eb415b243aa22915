"""Publishes a proposal as one commit on one branch of a git repository on disk.

It reads and writes git objects and moves one reference; working tree, index and HEAD never change.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import ClassVar, Self

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import BaseBranchError, PullRequestError
from leastpriv.pull_request.lifecycle import fingerprint_scope, reverted_commits
from leastpriv.pull_request.models import (
    TRAILER,
    Publication,
    PublishResult,
    PullRequestOperation,
    commit_message,
)

AUTHOR_NAME = "leastpriv"
AUTHOR_EMAIL = "leastpriv@users.noreply.github.com"

_TIMEOUT = 120
_MAX_MOVES = 5
_SAFE_CONFIGURATION = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "i18n.commitEncoding=UTF-8",
    "log.showSignature=false",
    # The checkout belongs to another user than the container's root
    # (https://git-scm.com/docs/git-config, safe.directory). The settings above switch off what an
    # untrusted configuration could run.
    "safe.directory=*",
)
_FILE_MODES = frozenset({b"100644", b"100755"})
_MOST_LOGGED = 200
_MOST_CHANGES = 50
_LATEST = 253_402_300_799
"""The last second that a time can have."""
MOST_FILES_OF_COMMIT = 100
"""A commit to more files rewrites a repository."""
LONGEST_PATCH = 1_000_000
"""Characters of a patch that is searched."""
_TRAILER_LINE = re.compile(rf"^[ \t]*{TRAILER}: ([0-9a-f]+)[ \t]*$", re.MULTILINE)
_PULL_REQUEST = re.compile(
    r"\A(?:Merge pull request #(?P<merge>\d{1,9}) |[^\n]*\(#(?P<squash>\d{1,9})\)(?:\n|\Z))"
)
"""The number in the message of a merge, as GitHub's buttons write it."""
_TRAILER_PATTERN = re.compile(rf"\n\n{TRAILER}: ([0-9a-f]+)\s*\Z")


def trailer_fingerprint(message: str) -> str:
    """Returns the fingerprint in the trailer of a commit message; empty without this trailer."""
    match = _TRAILER_PATTERN.search(message)
    return match[1] if match else ""


class Commit(Struct, frozen=True):
    """The fields of a commit that decide whether a person edited the branch."""

    parents: tuple[str, ...]
    fingerprint: str
    """Fingerprint in the trailer; empty without this trailer."""
    untouched: bool
    """Author and committer are this program: the commit was neither amended nor rebased."""


class RevertedProposal(Struct, frozen=True):
    """A merged proposal that a later commit reverts."""

    path: str
    """The policy file, under the name that it had then."""
    fingerprint: str
    before: bytes | None
    """The policy file without the proposal; None: it did not exist."""
    after: bytes | None
    """The policy file with it."""
    number: int = 0
    """Number of its pull request, where the message of its merge ends with one; else 0."""


class FileChange(Struct, frozen=True):
    """A commit on a branch that changed a file."""

    commit: str
    time: datetime
    """When it, or the branch that it merges, came to the branch (aware, UTC)."""
    path: str
    """The file, under the name that it had then."""
    before: bytes | None
    """The file without the commit; None: it did not exist."""
    after: bytes | None
    """The file with it; None: it no longer existed."""
    fingerprint: str = ""
    """Fingerprint of the proposal that it brought; empty: a commit of others."""
    number: int = 0
    """Number of its pull request, where its message names one; else 0."""
    proposed_on: bytes | None = None
    """Of a merged branch with a proposal: the file that the proposal changed."""
    proposed: bytes | None = None
    """Of a merged branch with a proposal: the file as it was proposed, before commits of others."""


class _LoggedCommit(Struct, frozen=True):
    """A commit with its message."""

    sha: str
    parents: tuple[str, ...]
    date: int
    """When it was committed, in seconds."""
    message: str


class _ProposalCommit(Struct, frozen=True):
    """What a commit on a branch shows of the proposal that it brought."""

    fingerprint: str
    number: int
    """Number of its pull request, where the message names one; else 0."""
    on_side: _LoggedCommit | None = None
    """The commit of the proposal on a merged branch."""


class _NamedCommit(Struct, frozen=True):
    """A commit that changed a file."""

    commit: _LoggedCommit
    path: str
    """The file, under the name that it had then."""
    path_before: str
    """The file, under the name that it had before."""


class _TreeEntry(Struct, frozen=True):
    mode: bytes
    kind: bytes
    name: bytes
    oid: bytes


class GitRepository(Struct, frozen=True):
    """A repository on disk, whose root (or bare directory) is `folder`; it has no pull requests."""

    github: ClassVar[None] = None
    folder: Path
    git: str
    """Absolute path of the git program."""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Opens the repository at `folder`, which must be its root."""
        git = _git_program(folder)
        if git is None:
            raise PullRequestError(
                "git is not installed here: give a github-token, install git, or use mode report."
            )
        repository = cls(folder.resolve(), str(Path(git).absolute()))
        if not folder.is_dir() or repository._run_or_none("rev-parse", "--git-dir") is None:
            raise PullRequestError(
                f"The folder {folder} is not the root of a git repository: check it out first."
            )
        return repository

    def branch_head(self, base: str | None = None) -> tuple[str, str]:
        """Returns name and commit of the branch `base`, or of the branch that is checked out.

        A branch that exists only as `origin/NAME`, as after the checkout of a tag, counts too.
        """
        if not base:
            output = self._run_or_none("symbolic-ref", "--quiet", "HEAD")
            if output is None:
                raise PullRequestError(
                    "No branch is checked out here: name the base branch in the input base."
                )
            base = output.decode().strip().removeprefix("refs/heads/")
        for reference in (f"refs/heads/{base}", f"refs/remotes/origin/{base}"):
            commit = self.commit_at(reference)
            if commit is not None:
                return base, commit
        raise BaseBranchError(
            f"The branch {base!r} has no commit here: name another in the input base, or fetch it."
        )

    def commit_at(self, reference: str) -> str | None:
        """Returns the commit of a full reference name."""
        output = self._run_or_none(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}"
        )
        return None if output is None else output.decode().strip()

    def read(self, commit: str, path: str) -> bytes | None:
        """Returns the content of the file at `path` in `commit`; None if it does not exist."""
        tree = f"{commit}^{{tree}}"
        *folders, name = _path_parts(path)
        for folder in folders:
            entry = _subfolder(self._entries(tree), folder, path)
            if entry is None:
                return None
            tree = entry.oid.decode()
        entry = _file_entry(self._entries(tree), name, path)
        return None if entry is None else self._run("cat-file", "blob", entry.oid.decode())

    def paths(self, commit: str, folder: str) -> tuple[str, ...]:
        """Returns the paths of the files in a folder and below; a path that is not UTF-8 is left
        out.
        """
        output = self._run(
            "ls-tree", "-r", "-z", "--name-only", "--full-tree", "--end-of-options", commit
        )
        start = f"{folder}/" if folder else ""
        decoded_paths = (path.decode("utf-8", "ignore") for path in output.split(b"\0")[:-1])
        return tuple(path for path in decoded_paths if path.startswith(start))

    def last_changed(self, commit: str, path: str) -> datetime | None:
        """Returns when the file at `path` was last changed, as of `commit` (aware, UTC); None if it
        never existed.

        A merged commit counts from its merge (`--first-parent`), which may be much later than the
        commit itself. A shallow clone knows no time before its oldest commit.
        """
        times = self._history(commit, path, "%ct", count=1)
        return _time_of(int(times[0])) if times else None

    def read_at(self, commit: str, path: str, time: datetime) -> bytes | None:
        """Returns the file at `path` as it was at `time` (aware), as of `commit`; None if it never
        existed.

        For a younger file it is the first version; a shallow clone has no version before its oldest
        commit.
        """
        # By the dates of the commits: git's --before ends at the first commit that is too young.
        sha = ""
        for version in self._history(commit, path, "%ct %H"):
            date, _, sha = version.partition(" ")
            if int(date) <= time.timestamp():
                return self.read(sha, path)
        if not sha:
            return None
        first = sha
        moved_from = self._moved_from(first, path)
        if moved_from:
            return self.read_at(f"{first}^", moved_from, time)
        return self.read(first, path)

    def earlier_names(self, commit: str, path: str) -> tuple[str, ...]:
        """Returns the paths that a file had before it was moved, as of a commit, the latest
        first.
        """
        names: list[str] = []
        while len(names) < _MAX_MOVES:
            versions = self._history(commit, path, "%H")
            moved_from = self._moved_from(versions[-1], path) if versions else ""
            if not moved_from:
                break
            names.append(moved_from)
            commit = f"{versions[-1]}^"
            path = moved_from
        return tuple(names)

    def _history(self, commit: str, path: str, fields: str, count: int = 0) -> list[str]:
        """Returns fields of the commits that changed a file, the latest first; all without a
        count.
        """
        options = ["--first-parent", f"--format={fields}"]
        if count:
            options.append(f"--max-count={count}")
        output = self._run_or_none("log", *options, "--end-of-options", commit, "--", path)
        return (output or b"").decode().splitlines()

    def _moved_from(self, commit: str, path: str) -> str:
        """Returns the path that a commit moved to `path`, compared with its first parent; empty if
        it did not.
        """
        output = self._run_or_none(
            *("diff-tree", "-r", "-z", "-M", "--diff-filter=R", "--name-status"),
            *("--end-of-options", f"{commit}^", commit),
        )
        fields = (output or b"").split(b"\0")
        for before, after in zip(fields[1::3], fields[2::3], strict=False):
            if after == os.fsencode(path):
                return os.fsdecode(before)
        return ""

    def reverted_proposals(self, commit: str, path: str) -> tuple[RevertedProposal, ...]:
        """Returns the merged proposals for a file, under each name that it had, which later commits
        revert, as of a commit.

        A revert that is itself reverted does not count. A shallow clone shows what it has. Of the
        commits that messages name, the first 200 are looked up.
        """
        proposals: list[RevertedProposal] = []
        commit_by_hash: dict[str, _LoggedCommit | None] = {}
        for name in (path, *self.earlier_names(commit, path)):
            for merged in self._reverted_commits(commit, name, commit_by_hash):
                proposal = self._proposal_of(merged, name)
                if proposal:
                    proposals.append(proposal)
        return tuple(proposals)

    def _reverted_commits(
        self, commit: str, path: str, known: dict[str, _LoggedCommit | None]
    ) -> Iterator[_LoggedCommit]:
        """Yields the commits that commits to a file revert, as of a commit.

        Args:
            commit: The newest commit.
            path: The file.
            known: Name in a message -> its commit; None where the clone lacks it. A further name
                is added.
        """
        undone: set[str] = set()
        for revert in self._logged("--full-history", commit, "--", path):
            if revert.sha in undone:
                continue
            for sha in reverted_commits(revert.message):
                # Each takes a process, and one message may name thousands.
                if sha not in known and len(known) < _MOST_LOGGED:
                    known[sha] = self._commit(sha)
                reverted = known.get(sha)
                if reverted and reverted.sha not in undone:
                    undone.add(reverted.sha)
                    yield reverted

    def _proposal_of(self, merged: _LoggedCommit, path: str) -> RevertedProposal | None:
        """Returns the proposal for a file that a commit brought, by whichever way it was merged;
        None for a commit of others.
        """
        proposal = self._proposal_commit(merged, path)
        if proposal is None:
            return None
        return RevertedProposal(
            path=path,
            fingerprint=proposal.fingerprint,
            before=self.read(merged.parents[0], path),
            after=self.read(merged.sha, path),
            number=proposal.number,
        )

    def _proposal_commit(self, merged: _LoggedCommit, path: str) -> _ProposalCommit | None:
        """Returns what a commit shows of the proposal for a file that it brought, by whichever way
        it was merged; None for a commit of others.
        """
        if not merged.parents:
            return None
        commits = [merged]
        if len(merged.parents) > 1:
            sides = f"{merged.parents[0]}..{merged.parents[1]}"
            commits = list(self._logged(sides, "--", path))
        # A squash has the message of the commit in its own.
        proposals = [commit for commit in commits if _TRAILER_LINE.search(commit.message)]
        if not proposals:
            return None
        oldest = proposals[-1]
        numbered = _PULL_REQUEST.match(merged.message)
        number = numbered["merge"] or numbered["squash"] if numbered else "0"
        return _ProposalCommit(
            fingerprint=_TRAILER_LINE.findall(oldest.message)[-1],
            number=int(number),
            on_side=oldest if oldest is not merged else None,
        )

    def file_changes(self, commit: str, path: str) -> tuple[FileChange, ...]:
        """Returns the newest 50 changes of a file, under each name that it had, since the first
        merged proposal among them, as of a commit, the newest first; none without such a proposal.

        A merged branch is one change. A shallow clone shows what it has.
        """
        named_commits = list(islice(self._named_commits(commit, path), _MOST_CHANGES))
        proposals = [self._proposal_commit(named.commit, named.path) for named in named_commits]
        while proposals and proposals[-1] is None:
            proposals.pop()
        if not proposals:
            return ()
        changes: list[FileChange] = []
        try:
            after = self.read(named_commits[0].commit.sha, path)
            for named, proposal in zip(named_commits, proposals, strict=False):
                # No commit between two changes of a file changes it.
                before = self.read(named.commit.parents[0], named.path_before)
                changes.append(self._file_change(named, proposal, before, after))
                after = before
        except (PullRequestError, IndexError):
            # A partial clone lacks the older versions, a shallow one the older commits.
            pass
        return tuple(changes)

    def _named_commits(self, commit: str, path: str) -> Iterator[_NamedCommit]:
        """Yields the commits that changed a file, of a merged branch the merge, newest first."""
        for _ in range(_MAX_MOVES):
            commits = list(self._logged("--first-parent", commit, "--", path))
            if not commits:
                return
            oldest = commits.pop()
            moved_from = self._moved_from(oldest.sha, path)
            yield from (_NamedCommit(newer, path, path) for newer in commits)
            yield _NamedCommit(oldest, path, moved_from or path)
            if not moved_from:
                return
            commit = f"{oldest.sha}^"
            path = moved_from

    def _file_change(
        self,
        named: _NamedCommit,
        proposal: _ProposalCommit | None,
        before: bytes | None,
        after: bytes | None,
    ) -> FileChange:
        commit = named.commit
        change = FileChange(
            commit=commit.sha,
            time=_time_of(commit.date),
            path=named.path,
            before=before,
            after=after,
        )
        if proposal is None:
            return change
        change = replace(change, fingerprint=proposal.fingerprint, number=proposal.number)
        side = proposal.on_side
        if side is None or not side.parents:
            return change
        return replace(
            change,
            proposed_on=self.read(side.parents[0], named.path),
            proposed=self.read(side.sha, named.path),
        )

    def added_lines(self, commit: str, besides: Collection[str]) -> tuple[str, ...] | None:
        """Returns the lines that a commit adds to the files of a repository, but to some.

        A merge is compared with its first parent. None: they are not known, or too many.

        Args:
            commit: The commit.
            besides: Paths of files that are left out.
        """
        sides = (f"{commit}^", commit)
        output = self._run_or_none(
            "diff-tree", "-r", "-z", "--name-only", "--no-renames", "--end-of-options", *sides
        )
        if output is None:
            return None
        paths = [os.fsdecode(path) for path in output.split(b"\0")[:-1]]
        others = [path for path in paths if path not in besides]
        if len(others) > MOST_FILES_OF_COMMIT:
            return None
        if not others:
            return ()
        patch = self._run_or_none(
            *("diff-tree", "-r", "-p", "--unified=0", "--no-renames", "--no-ext-diff"),
            *("--no-textconv", "--end-of-options", *sides, "--", *others),
        )
        if patch is None or len(patch) > LONGEST_PATCH:
            return None
        return added_in_patch(patch.decode("utf-8", "replace"))

    def _commit(self, sha: str) -> _LoggedCommit | None:
        """Returns a commit by its abbreviated name; None where the clone lacks it."""
        return next(self._logged("--max-count=1", f"{sha}^{{commit}}", "--"), None)

    def _logged(self, *arguments: str) -> Iterator[_LoggedCommit]:
        """Yields the newest commits that `git log` finds, newest first."""
        output = self._run_or_none(
            *("log", "-z", f"--max-count={_MOST_LOGGED}", "--encoding=UTF-8"),
            *("--format=%H%n%P%n%ct%n%B", *arguments),
        )
        for record in (output or b"").decode("utf-8", "replace").split("\0"):
            if record:
                sha, parents, date, message = record.split("\n", 3)
                yield _LoggedCommit(sha, tuple(parents.split()), int(date), message)

    def publish(self, publication: Publication, now: datetime) -> PublishResult:
        """Brings the branch to the one commit of the proposal, or leaves it unchanged and gives the
        reason.

        A branch with commits of this program only is renewed on the base's head, or deleted if
        nothing is left to change. A branch that a person added to, amended or rebased is left as it
        is.
        """
        branch = publication.branch
        base, base_sha = self.branch_head(publication.base)
        if publication.expected_base not in ("", base_sha):
            raise PullRequestError(
                f"The branch {base!r} moved while the proposal was made: run again."
            )
        if branch == base:
            raise PullRequestError(
                f"The input branch is {branch!r}: name a branch other than the base {base!r}."
            )
        head = self.commit_at(f"refs/heads/{branch}")
        unchanged = PublishResult(PullRequestOperation.NONE, branch, head or "", base_sha)
        if head is not None and (edited := self._edit_reason(publication, base_sha, head)):
            return replace(unchanged, reason=edited)
        if publication.is_part_of(lambda path: self.read(base_sha, path)):
            if head is None:
                return replace(unchanged, reason=f"Nothing to change on {base}.")
            hold = publication.holds.hold(())
            if hold and not self._is_on_base(base_sha, head):
                return replace(unchanged, operation=PullRequestOperation.HELD, reason=hold.text)
            self.move_branch(branch, head, None)
            reason = f"No change is left on {base}."
            return replace(
                unchanged, operation=PullRequestOperation.CLOSED, head_sha="", reason=reason
            )
        if head is not None:
            latest = self._commits(head)[0]
            if latest.fingerprint == publication.fingerprint and latest.parents == (base_sha,):
                return replace(unchanged, reason="The branch already holds this proposal.")
        tree = f"{base_sha}^{{tree}}"
        for path, content in publication.files.items():
            blob = self._run("hash-object", "-w", "--stdin", stdin=content).strip()
            tree = self._replace_entry(tree, _path_parts(path), blob, path).decode()
        new = self.write_commit(tree, base_sha, commit_message(publication), now)
        self.move_branch(branch, head, new)
        operation = PullRequestOperation.CREATED if head is None else PullRequestOperation.UPDATED
        return replace(unchanged, operation=operation, head_sha=new)

    def _is_on_base(self, base_sha: str, head: str) -> bool:
        """Whether the base holds each file that the commits of the branch change."""
        paths = self._run(
            "diff", "-z", "--name-only", "--no-renames", f"{base_sha}...{head}", "--"
        ).split(b"\0")[:-1]
        names = [os.fsdecode(path) for path in paths]
        return all(self.read(base_sha, name) == self.read(head, name) for name in names)

    def _edit_reason(self, publication: Publication, base_sha: str, head: str) -> str:
        """Returns why the branch belongs to a person now; empty if this program alone wrote it."""
        branch = publication.branch
        commits = self._commits(head, f"^{base_sha}") or self._commits(head)[:1]
        scopes = {fingerprint_scope(commit.fingerprint) for commit in commits if commit.fingerprint}
        if scopes - publication.scopes:
            if publication.is_part_of(lambda path: self.read(base_sha, path)):
                return (
                    f"Nothing to change; the branch {branch} holds the proposal for another role or"
                    " policy file."
                )
            raise PullRequestError(
                f"The branch {branch!r} holds the proposal for another role or policy file: name a"
                " separate branch for each in the input branch."
            )
        if not any(commit.fingerprint for commit in commits):
            raise PullRequestError(
                f"The branch {branch!r} is not this program's: name another in the input branch."
            )
        if all(commit.fingerprint and commit.untouched for commit in commits):
            return ""
        return (
            f"The branch {branch} has commits of others, so it is left alone: delete it to get a"
            " new proposal."
        )

    def write_commit(self, tree: str, parent: str, message: str, now: datetime) -> str:
        """Writes a commit of `tree` on `parent`, by this program at `now` (aware), and returns
        it.
        """
        date = f"{int(now.timestamp())} +0000"
        identity = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", AUTHOR_NAME), ("EMAIL", AUTHOR_EMAIL), ("DATE", date))
        }
        stdin = message.encode("utf-8", "replace")
        return (
            self._run("commit-tree", tree, "-p", parent, stdin=stdin, extra=identity)
            .decode()
            .strip()
        )

    def move_branch(self, branch: str, before: str | None, after: str | None) -> None:
        """Moves `branch` from `before` to `after` (None: no branch), unless another commit moved it
        in between.
        """
        reference = f"refs/heads/{branch}"
        if (
            f"branch {reference}"
            in self._run("worktree", "list", "--porcelain").decode().splitlines()
        ):
            raise PullRequestError(
                f"The branch {branch!r} is checked out: check out another, or name another in"
                " branch."
            )
        target = ("-d", reference) if after is None else (reference, after)
        try:
            self._run("update-ref", *target, before or "")
        except PullRequestError:
            if self.commit_at(reference) != before:
                raise PullRequestError(
                    f"The branch {branch!r} changed during the run: run again."
                ) from None
            raise

    def _commits(self, *revisions: str) -> list[Commit]:
        """Reads the newest 100 commits of a range, newest first."""
        form = "--format=%P%n%ae%n%ce%n%B"
        output = self._run(
            "log", "-z", "--max-count=100", "--encoding=UTF-8", form, "--end-of-options", *revisions
        )
        commits: list[Commit] = []
        for record in output.decode("utf-8", "replace").split("\0")[:-1]:
            parents, author, committer, message = record.split("\n", 3)
            is_own = author == committer == AUTHOR_EMAIL
            commits.append(Commit(tuple(parents.split()), trailer_fingerprint(message), is_own))
        return commits

    def _entries(self, tree: str) -> dict[bytes, _TreeEntry]:
        entries = {}
        for record in self._run("ls-tree", "-z", "--end-of-options", tree).split(b"\0")[:-1]:
            fields, name = record.split(b"\t", 1)
            mode, kind, oid = fields.split(b" ")
            entries[name] = _TreeEntry(mode, kind, name, oid)
        return entries

    def _replace_entry(
        self, tree: str | None, names: tuple[bytes, ...], blob: bytes, path: str
    ) -> bytes:
        """Writes a copy of a tree with a file at a path and returns it; an existing file keeps its
        mode.
        """
        entries = {} if tree is None else self._entries(tree)
        name, *names_below = names
        if names_below:
            subfolder = _subfolder(entries, name, path)
            oid = self._replace_entry(
                subfolder.oid.decode() if subfolder else None, tuple(names_below), blob, path
            )
            entries[name] = _TreeEntry(b"040000", b"tree", name, oid)
        else:
            present = _file_entry(entries, name, path)
            entries[name] = _TreeEntry(present.mode if present else b"100644", b"blob", name, blob)
        lines = b"".join(
            b"%b %b %b\t%b\0" % (e.mode, e.kind, e.oid, e.name) for e in entries.values()
        )
        # --missing: a partial clone lacks the blobs of unchanged files, and git fetches nothing
        # here.
        return self._run("mktree", "-z", "--missing", stdin=lines).strip()

    def _run_or_none(self, *arguments: str) -> bytes | None:
        process = self._call(arguments, b"", {})
        return process.stdout if process.returncode == 0 else None

    def _run(
        self, *arguments: str, stdin: bytes = b"", extra: Mapping[str, str] | None = None
    ) -> bytes:
        process = self._call(arguments, stdin, extra or {})
        if process.returncode != 0:
            lines = process.stderr.decode("utf-8", "replace").strip().splitlines() or [
                "no reason given"
            ]
            raise PullRequestError(f"git {arguments[0]} failed in {self.folder}: {lines[0]}")
        return process.stdout

    def _call(
        self, arguments: tuple[str, ...], stdin: bytes, extra: Mapping[str, str]
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs git without the configuration, hooks and prompts of the user or of the checkout."""
        settings = [part for setting in _SAFE_CONFIGURATION for part in ("-c", setting)]
        owner = self.folder.stat()
        # As root, git would leave files in the checkout that its owner cannot remove
        # (actions/runner#434).
        uid = owner.st_uid if os.geteuid() == 0 and owner.st_uid != 0 else None
        try:
            return subprocess.run(  # noqa: S603 - absolute program, fixed arguments, no shell
                [self.git, *settings, *arguments],
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


def _time_of(seconds: int) -> datetime:
    """Returns the date of a commit (aware, UTC); git stores later ones than a calendar has."""
    return datetime.fromtimestamp(min(seconds, _LATEST), UTC)


def added_in_patch(patch: str) -> tuple[str, ...]:
    """Returns the lines that a patch adds."""
    return tuple(
        line[1:]
        for line in patch.splitlines()
        if line.startswith("+") and not line.startswith("+++ ")
    )


def _git_program(folder: Path) -> str | None:
    """Returns the path of the git program; one that the repository itself brings is not it."""
    root = folder.resolve()
    places = [
        place
        for place in os.get_exec_path()
        if Path(place).is_absolute() and not Path(place).resolve().is_relative_to(root)
    ]
    return shutil.which("git", path=os.pathsep.join(places))


def _path_parts(path: str) -> tuple[bytes, ...]:
    parts = PurePosixPath(path).parts
    if (
        not parts
        or path.startswith("/")
        or ".." in parts
        or ".git" in (part.lower() for part in parts)
    ):
        raise PullRequestError(f"The path {path!r} does not name a file in the repository.")
    return tuple(os.fsencode(part) for part in parts)


def _subfolder(entries: Mapping[bytes, _TreeEntry], name: bytes, path: str) -> _TreeEntry | None:
    entry = entries.get(name)
    if entry is not None and entry.kind != b"tree":
        raise PullRequestError(
            f"The path {path!r} leads through a file, symbolic link or submodule: name the file"
            " itself."
        )
    return entry


def _file_entry(entries: Mapping[bytes, _TreeEntry], name: bytes, path: str) -> _TreeEntry | None:
    entry = entries.get(name)
    if entry is not None and entry.mode not in _FILE_MODES:
        raise PullRequestError(
            f"The path {path!r} is a folder, symbolic link or submodule: name a regular file."
        )
    return entry
