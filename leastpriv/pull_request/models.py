"""Types shared by a local repository and GitHub, the text of commit messages, and the folder of
state between runs.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from msgspec import Struct

from leastpriv.atomic_file import open_regular, write_atomically
from leastpriv.errors import LeastprivError, UnreadableHistoryError
from leastpriv.models import Run, RunOrigin
from leastpriv.pull_request.lifecycle import Holds, fingerprint_scope

TRAILER = "Leastpriv-Fingerprint"
_SUMMARY = (
    "The pull request's text has the evidence for each change and the replay of the recorded calls."
)
_MAX_TITLE = 120

FingerprintFunction = Callable[[bytes | None, Mapping[str, bytes]], str]
"""Maps the policy file before the proposal, and all files of the branch, to the proposal's
fingerprint.
"""


class OriginLookup(Struct, frozen=True):
    """How the origin of a run is found."""

    by_login: Callable[[Run], RunOrigin | None]
    """What the login of a run shows; None where it shows no ref, or where another run may have the
    same login.
    """
    by_workflow_run: Callable[[Run], RunOrigin]
    """The same with the workflow run that the session names, a question to GitHub for each run."""


class PullRequestOperation(StrEnum):
    """The operation of `publish`; the values of the output `pull-request-operation`."""

    CREATED = "created"
    UPDATED = "updated"
    CLOSED = "closed"
    HELD = "held"
    NONE = "none"


class LineComment(Struct, frozen=True):
    """A comment at a line of a policy file's diff; `text` is Markdown."""

    path: str
    line: int
    side: Literal["LEFT", "RIGHT"]
    """LEFT: the file on the base; RIGHT: the file on the branch."""
    text: str


class PullRequestOptions(Struct, frozen=True):
    """Labels, people and draft state of a new pull request."""

    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    team_reviewers: tuple[str, ...] = ()
    """Slugs; `GITHUB_TOKEN` cannot request their review, only the token of an app or a person."""
    assignees: tuple[str, ...] = ()
    draft: bool = False
    commit_title: str = ""
    """First line of the commit's message; empty: the title of the pull request."""


class PolicyName(Struct, frozen=True):
    """A name of a policy file, and how proposals under this name are known."""

    path: str
    scope: str
    """The part of their fingerprints that no proposal changes."""
    fingerprint_for: FingerprintFunction


class Publication(Struct, frozen=True):
    """The files and texts to publish for one policy file."""

    branch: str
    base: str
    """Base branch of the commit; empty: the branch that is checked out, on GitHub the default
    branch.
    """
    path: str
    """The policy file, relative to the repository's root, with `/`."""
    files: Mapping[str, bytes]
    """All files of the commit, by path; empty if there is nothing to propose."""
    title: str
    fingerprint: str
    """Lower-case hexadecimal; equal for equal proposals."""
    expected_base: str = ""
    """Commit of the base that the proposal was made from; empty if nothing of the base was read."""
    body: str = ""
    """Body of the pull request, with its controls."""
    fingerprint_for: FingerprintFunction = lambda _, __: ""
    """Returns the fingerprint of this principal's and file's proposal; empty if no proposal changes
    such files.
    """
    comments: Sequence[LineComment] = ()
    """Comments of the pull request's review; few."""
    options: PullRequestOptions = PullRequestOptions()
    holds: Holds = Holds()
    """What holds changes back, if nothing is proposed."""
    formers: tuple[PolicyName, ...] = ()
    """Earlier names of the policy file: their branch and pull request go on under the new one."""
    taken_away: str = ""
    """Sentence in Markdown on the additions that a person took away from the branch; empty without
    such.
    """

    @property
    def scope(self) -> str:
        """The part of the fingerprint that identifies principal and policy file."""
        return fingerprint_scope(self.fingerprint)

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes of the present and the earlier names."""
        return frozenset({self.scope, *(former.scope for former in self.formers)})

    @property
    def policy(self) -> PolicyName:
        """The present name of the policy file."""
        return PolicyName(self.path, self.scope, self.fingerprint_for)

    def is_part_of(self, read: Callable[[str], bytes | None]) -> bool:
        """Whether a commit, read by `read`, has all proposed files; true if nothing is
        proposed.
        """
        return all(read(path) == content for path, content in self.files.items())


class BaseBranch(Struct, frozen=True):
    """A branch that pull requests go into, and the commit at its head."""

    name: str
    commit: str


class TargetFiles(Struct, frozen=True):
    """The files that belong to one branch with a proposal."""

    branch: str
    policies: tuple[str, ...] = ()
    """Policy files, whose last change counts."""
    others: tuple[str, ...] = ()
    """Further files that the run may read on the base, or write on the branch."""

    def with_files(self, policy_path: str, others: Iterable[str]) -> Self:
        """Returns the files of the branch with those of a further target."""
        return type(self)(
            branch=self.branch,
            policies=(*self.policies, policy_path),
            others=tuple(dict.fromkeys([*self.others, *others])),
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """All files."""
        return (*self.policies, *self.others)


class PublishResult(Struct, frozen=True):
    """The result of `publish`."""

    operation: PullRequestOperation
    branch: str
    head_sha: str
    """Head of the branch after publishing; empty without a branch."""
    base_sha: str
    reason: str = ""
    """A sentence, where the operation is `none` or `closed`."""
    number: int = 0
    """Number of the pull request; 0 without one."""
    url: str = ""
    failure: str = ""
    """A sentence, if the branch or the pull request could not be created."""
    manual_url: str = ""
    """Page on which a person opens the pull request, if only its creation failed."""


def pull_request_outputs(published: PublishResult | None) -> dict[str, str]:
    """Returns the step's outputs for branch and pull request (docs: action.yml); None: nothing was
    to be published.
    """
    publish_result = published or PublishResult(PullRequestOperation.NONE, "", "", "")
    return {
        "pull-request-number": str(publish_result.number) if publish_result.url else "",
        "pull-request-url": publish_result.url,
        "pull-request-operation": publish_result.operation.value,
        "pull-request-head-sha": publish_result.head_sha,
        "pull-request-branch": publish_result.branch,
    }


def commit_message(publication: Publication) -> str:
    """Returns first line, summary and trailer, which is always a paragraph apart, the last one.

    Line breaks in the title become blanks. A zero-width space disables what GitHub acts on in a
    commit message (`@name`, `#12`, `[skip ci]`).
    """
    commit_title = publication.options.commit_title or publication.title
    words = " ".join(_neutralize(commit_title).split())
    title = words[:_MAX_TITLE].rstrip() or "Change permissions"
    return f"{title}\n\n{_SUMMARY}\n\n{TRAILER}: {publication.fingerprint}\n"


def is_branch_name(name: str) -> bool:
    """Whether git accepts `name` as a branch (https://git-scm.com/docs/git-check-ref-format) and it
    is visible.
    """
    parts = name.split("/")
    return (
        all(part and not part.startswith(".") and not part.endswith(".lock") for part in parts)
        and not name.startswith("-")
        and not name.endswith(".")
        and name not in ("@", "HEAD")
        and not set(name) & set(" ~^:?*[\\")
        and ".." not in name
        and "@{" not in name
        and all(unicodedata.category(character) not in {"Cc", "Cf", "Cs"} for character in name)
    )


def _neutralize(text: str) -> str:
    """Returns a text whose `@name`, `#12` and `[skip ci]` have no effect on GitHub, without
    invisible characters.
    """
    visible = text
    if not text.replace("\n", "").isprintable():
        visible = "".join(
            c
            for c in text
            if c == "\n" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        )
    # https://docs.github.com/en/actions/how-tos/manage-workflow-runs/skip-workflow-runs, read
    # 2026-11
    skipping = r"\[(?=(?:skip (?:ci|actions)|ci skip|no ci|actions skip)\])|^skip(?=-checks)"
    return re.sub(
        rf"(?im)(?:@|#(?=\d)|\bGH-(?=\d)|/(?:issues|pull)/(?=\d)|{skipping})",
        "\\g<0>\u200b",
        visible,
    )


StateUpdate = Callable[[bytes | None], bytes]
"""Maps the stored state (None: nothing) to the new state; called again if a parallel run was
faster.
"""


class FolderStateStore(Struct, frozen=True):
    """A file in a folder on disk that holds state; runs on the same machine wait for each other."""

    folder: Path
    path: str
    """Relative to the folder, with `/`."""
    max_bytes: int
    """Bytes; a longer file is not read."""

    @property
    def name(self) -> str:
        """Path of the file."""
        return (self.folder / self.path).as_posix()

    def sibling(self, path: str) -> Self:
        """Returns another file of the folder."""
        return type(self)(self.folder, path, self.max_bytes)

    def others(self) -> Iterator[bytes]:
        """Yields the states of other targets in the folder."""
        for file in sorted(self.folder.rglob("*.json")):
            if not file.is_file():
                continue
            path = file.relative_to(self.folder).as_posix()
            try:
                content = self.sibling(path).read() if path != self.path else None
            except UnreadableHistoryError:
                # The folder may have files of others.
                continue
            if content is not None:
                yield content

    def read(self) -> bytes | None:
        """Returns the content of the file; None if it does not exist."""
        try:
            with open_regular(self.folder / self.path) as file:
                if os.fstat(file.fileno()).st_size > self.max_bytes:
                    raise UnreadableHistoryError(
                        f"is longer than {self.max_bytes:,} bytes, or no file"
                    )
                return file.read(self.max_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LeastprivError(f"{self.name} cannot be read: {error.strerror}.") from error

    def update(self, change: StateUpdate) -> None:
        """Writes the file atomically."""
        import fcntl

        target = self.folder / self.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with (self.folder / ".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                before = self.read()
                after = change(before)
                if after != before:
                    write_atomically(target, after)
        except OSError as error:
            raise LeastprivError(f"{self.name} cannot be written: {error.strerror}.") from error
