"""Publishes a proposal as one commit on one branch of a git repository on disk.

It reads and writes git objects and moves one reference; working tree, index and HEAD never change.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import ClassVar, Self

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import BaseBranchError, PullRequestError
from leastpriv.pull_request.git_history import GitHistory, LoggedCommit, NamedVersions, logged
from leastpriv.pull_request.git_objects import (
    GitObjects,
    TreeEntry,
    file_entry,
    is_full_name,
    path_parts,
    subfolder,
)
from leastpriv.pull_request.git_program import GitProgram, git_program
from leastpriv.pull_request.lifecycle import fingerprint_scope, reverted_commits
from leastpriv.pull_request.models import (
    TRAILER,
    BaseBranch,
    Publication,
    PublishResult,
    PullRequestOperation,
    commit_message,
)

AUTHOR_NAME = "leastpriv"
AUTHOR_EMAIL = "leastpriv@users.noreply.github.com"

_MOST_LOGGED = 200
_MOST_CHANGES = 50
MOST_FILES_OF_COMMIT = 100
"""A commit to more files rewrites a repository."""
LONGEST_PATCH = 1_000_000
"""Characters of a patch that is searched."""
_MOST_COMMITS = 100
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


class _ProposalCommit(Struct, frozen=True):
    """What a commit on a branch shows of the proposal that it brought."""

    fingerprint: str
    number: int
    """Number of its pull request, where the message names one; else 0."""
    on_side: LoggedCommit | None = None
    """The commit of the proposal on a merged branch."""


class _NamedCommit(Struct, frozen=True):
    """A commit that changed a file."""

    commit: LoggedCommit
    path: str
    """The file, under the name that it had then."""
    path_before: str
    """The file, under the name that it had before."""


class GitRepository:
    """A repository on disk; it has no pull requests."""

    github: ClassVar[None] = None

    def __init__(self, git: GitProgram) -> None:
        """Reads nothing yet."""
        self.git = git
        self._objects = GitObjects(git)
        self._histories: dict[str, GitHistory] = {}

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Opens the repository whose root (or bare directory) is `folder`."""
        program = git_program(folder)
        if program is None:
            raise PullRequestError(
                "git is not installed here: give a github-token, install git, or use mode report."
            )
        git = GitProgram(folder.resolve(), program)
        if not folder.is_dir() or git.run_or_none("rev-parse", "--git-dir") is None:
            raise PullRequestError(
                f"The folder {folder} is not the root of a git repository: check it out first."
            )
        return cls(git)

    def read_ahead(self, commit: str, paths: Iterable[str]) -> None:
        """Reads together what will be asked of files as of a commit; what cannot be read so is read
        when it is needed, and fails there.
        """
        paths = tuple(paths)
        self._history(commit).expect(paths)
        with suppress(PullRequestError):
            self._objects.read_ahead(commit, paths)

    def _history(self, commit: str) -> GitHistory:
        history = self._histories.get(commit) or GitHistory(self.git, self._objects, commit)
        if is_full_name(commit):
            self._histories[commit] = history
        return history

    def branch_head(self, base: str | None = None) -> BaseBranch:
        """Returns name and commit of the branch `base`, or of the branch that is checked out.

        A branch that exists only as `origin/NAME`, as after the checkout of a tag, counts too.
        """
        if not base:
            output = self.git.run_or_none("symbolic-ref", "--quiet", "HEAD")
            if output is None:
                raise PullRequestError(
                    "No branch is checked out here: name the base branch in the input base."
                )
            base = output.decode().strip().removeprefix("refs/heads/")
        for reference in (f"refs/heads/{base}", f"refs/remotes/origin/{base}"):
            commit = self.commit_at(reference)
            if commit is not None:
                return BaseBranch(base, commit)
        raise BaseBranchError(
            f"The branch {base!r} has no commit here: name another in the input base, or fetch it."
        )

    def commit_at(self, reference: str) -> str | None:
        """Returns the commit of a full reference name."""
        output = self.git.run_or_none(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}"
        )
        return None if output is None else output.decode().strip()

    def read(self, commit: str, path: str) -> bytes | None:
        """Returns the content of the file at `path` in `commit`; None if it does not exist."""
        return self._objects.file(commit, path)

    def paths(self, commit: str, folder: str) -> tuple[str, ...]:
        """Returns the paths of the files in a folder and below; a path that is not UTF-8 is left
        out.
        """
        output = self.git.run(
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
        present = next(self._history(commit).names(path))
        return present.versions[0].time if present.versions else None

    def read_at(self, commit: str, path: str, time: datetime) -> bytes | None:
        """Returns the file at `path` as it was at `time` (aware), as of `commit`; None if it never
        existed.

        For a younger file it is the first version; a shallow clone has no version before its oldest
        commit.
        """
        first = None
        for name in self._history(commit).names(path):
            # By the dates of the commits: git's --before ends at the first commit that is too
            # young.
            for version in name.versions:
                first = version.sha, name.path
                if version.time <= time:
                    return self.read(*first)
        return self.read(*first) if first else None

    def earlier_names(self, commit: str, path: str) -> tuple[str, ...]:
        """Returns the paths that a file had before it was moved, as of a commit, the latest
        first.
        """
        _, *earlier = self._history(commit).names(path)
        return tuple(name.path for name in earlier)

    def reverted_proposals(self, commit: str, path: str) -> tuple[RevertedProposal, ...]:
        """Returns the merged proposals for a file, under each name that it had, which later commits
        revert, as of a commit.

        A revert that is itself reverted does not count. A shallow clone shows what it has.
        """
        history = self._history(commit)
        proposals: list[RevertedProposal] = []
        for name in list(history.names(path)):
            for merged in _reverted_commits(history, name.path):
                proposal = self._proposal_of(merged, name.path)
                if proposal:
                    proposals.append(proposal)
        return tuple(proposals)

    def _proposal_of(self, merged: LoggedCommit, path: str) -> RevertedProposal | None:
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

    def _proposal_commit(self, merged: LoggedCommit, path: str) -> _ProposalCommit | None:
        """Returns what a commit shows of the proposal for a file that it brought, by whichever way
        it was merged; None for a commit of others.
        """
        if not merged.parents:
            return None
        commits = [merged]
        if len(merged.parents) > 1:
            sides = f"{merged.parents[0]}..{merged.parents[1]}"
            limit = f"--max-count={_MOST_LOGGED}"
            commits = list(logged(self.git, limit, sides, "--", path))
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
        history = self._history(commit)
        names = list(history.names(path))
        if not any(history.has_proposal(name.path) for name in names):
            return ()
        named_commits = list(islice(_named_commits(names), _MOST_CHANGES))
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
            time=commit.time,
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
        output = self.git.run_or_none(
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
        patch = self.git.run_or_none(
            *("diff-tree", "-r", "-p", "--unified=0", "--no-renames", "--no-ext-diff"),
            *("--no-textconv", "--end-of-options", *sides, "--", *others),
        )
        if patch is None or len(patch) > LONGEST_PATCH:
            return None
        return added_in_patch(patch.decode("utf-8", "replace"))

    def publish(self, publication: Publication, now: datetime) -> PublishResult:
        """Brings the branch to the one commit of the proposal, or leaves it unchanged and gives the
        reason.

        A branch with commits of this program only is renewed on the base's head, or deleted if
        nothing is left to change. A branch that a person added to, amended or rebased is left as it
        is.
        """
        base = self._base_of(publication)
        head = self.commit_at(f"refs/heads/{publication.branch}")
        unchanged = PublishResult(
            PullRequestOperation.NONE, publication.branch, head or "", base.commit
        )
        edit_reason = self._edit_reason(publication, base.commit, head) if head else ""
        if edit_reason:
            return replace(unchanged, reason=edit_reason)
        if publication.is_part_of(lambda path: self.read(base.commit, path)):
            return self._without_change(publication, base, unchanged)
        if head and self._holds_proposal(publication, base, head):
            return replace(unchanged, reason="The branch already holds this proposal.")
        tree = self._tree_with(publication.files, base)
        new_head = self.write_commit(tree, base.commit, commit_message(publication), now)
        self.move_branch(publication.branch, head, new_head)
        operation = PullRequestOperation.UPDATED if head else PullRequestOperation.CREATED
        return replace(unchanged, operation=operation, head_sha=new_head)

    def _base_of(self, publication: Publication) -> BaseBranch:
        """Returns the base of a proposal; raises PullRequestError where it moved since the proposal
        was made, or is the proposal's branch.
        """
        base = self.branch_head(publication.base)
        if publication.expected_base not in ("", base.commit):
            raise PullRequestError(
                f"The branch {base.name!r} moved while the proposal was made: run again."
            )
        if publication.branch == base.name:
            raise PullRequestError(
                f"The input branch is {base.name!r}: name a branch other than the base"
                f" {base.name!r}."
            )
        return base

    def _without_change(
        self, publication: Publication, base: BaseBranch, unchanged: PublishResult
    ) -> PublishResult:
        """Deletes the branch of a proposal that changes nothing on the base, unless its changes
        wait; returns the result.
        """
        head = unchanged.head_sha
        if not head:
            return replace(unchanged, reason=f"Nothing to change on {base.name}.")
        hold = publication.holds.hold(())
        if hold and not self._is_on_base(base.commit, head):
            return replace(unchanged, operation=PullRequestOperation.HELD, reason=hold.text)
        self.move_branch(publication.branch, head, None)
        return replace(
            unchanged,
            operation=PullRequestOperation.CLOSED,
            head_sha="",
            reason=f"No change is left on {base.name}.",
        )

    def _holds_proposal(self, publication: Publication, base: BaseBranch, head: str) -> bool:
        """Whether the branch at `head` is the one commit of the proposal on the base."""
        latest = self._commits(head)[0]
        is_on_base = latest.parents == (base.commit,)
        return is_on_base and latest.fingerprint == publication.fingerprint

    def _tree_with(self, files: Mapping[str, bytes], base: BaseBranch) -> str:
        """Writes the tree of the base with the files of a proposal, and returns it."""
        tree = f"{base.commit}^{{tree}}"
        for path, content in files.items():
            blob = self.git.run("hash-object", "-w", "--stdin", stdin=content).decode().strip()
            tree = self._replace_entry(tree, path_parts(path), blob, path)
        return tree

    def _is_on_base(self, base_sha: str, head: str) -> bool:
        """Whether the base holds each file that the commits of the branch change."""
        paths = self.git.run(
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
            self.git.run("commit-tree", tree, "-p", parent, stdin=stdin, extra=identity)
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
            in self.git.run("worktree", "list", "--porcelain").decode().splitlines()
        ):
            raise PullRequestError(
                f"The branch {branch!r} is checked out: check out another, or name another in"
                " branch."
            )
        target = ("-d", reference) if after is None else (reference, after)
        try:
            self.git.run("update-ref", *target, before or "")
        except PullRequestError:
            if self.commit_at(reference) != before:
                raise PullRequestError(
                    f"The branch {branch!r} changed during the run: run again."
                ) from None
            raise

    def _commits(self, *revisions: str) -> list[Commit]:
        """Reads the newest 100 commits of a range, newest first."""
        form = "--format=%P%n%ae%n%ce%n%B"
        output = self.git.run(
            "log",
            "-z",
            f"--max-count={_MOST_COMMITS}",
            "--encoding=UTF-8",
            form,
            "--end-of-options",
            *revisions,
        )
        commits: list[Commit] = []
        for record in output.decode("utf-8", "replace").split("\0")[:-1]:
            parents, author, committer, message = record.split("\n", 3)
            is_own = author == committer == AUTHOR_EMAIL
            commits.append(Commit(tuple(parents.split()), trailer_fingerprint(message), is_own))
        return commits

    def _replace_entry(
        self, tree: str | None, names: tuple[bytes, ...], blob: str, path: str
    ) -> str:
        """Writes a copy of a tree with a file at a path and returns it; an existing file keeps its
        mode.
        """
        entries = {} if tree is None else dict(self._objects.tree(tree))
        name, *names_below = names
        if names_below:
            folder = subfolder(entries, name, path)
            oid = self._replace_entry(
                folder.oid if folder else None, tuple(names_below), blob, path
            )
            entries[name] = TreeEntry(stat.S_IFDIR, name, oid)
        else:
            present = file_entry(entries, name, path)
            mode = present.mode if present else stat.S_IFREG | 0o644
            entries[name] = TreeEntry(mode, name, blob)
        lines = b"".join(
            b"%06o %b %b\t%b\0" % (entry.mode, entry.kind.encode(), entry.oid.encode(), entry.name)
            for entry in entries.values()
        )
        # --missing: a partial clone lacks the blobs of unchanged files, and git fetches nothing
        # here.
        return self.git.run("mktree", "-z", "--missing", stdin=lines).decode().strip()


def _named_commits(names: Sequence[NamedVersions]) -> Iterator[_NamedCommit]:
    """Yields the commits that changed a file, of a merged branch the merge, newest first."""
    for name, name_before in zip(names, [*names[1:], None], strict=True):
        for number, commit in enumerate(name.versions, start=1):
            is_move = name_before is not None and number == len(name.versions)
            before = name_before.path if name_before and is_move else name.path
            yield _NamedCommit(commit, name.path, before)


def added_in_patch(patch: str) -> tuple[str, ...]:
    """Returns the lines that a patch adds."""
    return tuple(
        line[1:]
        for line in patch.splitlines()
        if line.startswith("+") and not line.startswith("+++ ")
    )


def _reverted_commits(history: GitHistory, path: str) -> Iterator[LoggedCommit]:
    """Yields the commits that commits to a file revert."""
    undone: set[str] = set()
    for revert in history.reverts(path):
        if revert.sha in undone:
            continue
        for name in reverted_commits(revert.message):
            reverted = history.named(name)
            if reverted and reverted.sha not in undone:
                undone.add(reverted.sha)
                yield reverted
