"""What is to be published, what publishing did, and the commit's words: the same for a local repository and GitHub."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.git import TRAILER

_TITLE_LIMIT = 120


Certify = Callable[[bytes | None, Mapping[str, bytes]], str]
"""From the policy file as it was, and all files that a branch changes as they became, to the proposal's fingerprint."""


class Operation(StrEnum):
    """What publishing did; the values of the output `pull-request-operation`."""

    CREATED = "created"
    UPDATED = "updated"
    CLOSED = "closed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class LineComment:
    """What is told at a line of the diff of a policy file; `text` is Markdown."""

    path: str
    line: int
    side: Literal["LEFT", "RIGHT"]
    """The file on the base, or on the branch."""
    text: str


@dataclass(frozen=True, slots=True)
class Publication:
    """A policy file as it should become, the files that it continues in, and the words that go with them."""

    branch: str
    base: str
    """Branch the commit is based on; empty for the one that is checked out, on GitHub the default branch."""
    path: str
    """Relative to the repository's root, with `/`."""
    content: bytes | None
    """None: nothing to propose for a file that does not exist yet."""
    title: str
    summary: str
    """Body of the commit message; short."""
    fingerprint: str
    """Lower-case hexadecimal; equal for equal proposals."""
    expected_base: str = ""
    """Commit of the base that the proposal was made from; empty where nothing of the base was read."""
    body: str = ""
    """Of the pull request, with its controls."""
    certify: Certify = lambda _, __: ""
    """Gives the fingerprint of this principal's and file's proposal; empty where no proposal changes such files."""
    further: Mapping[str, bytes] = field(default_factory=dict)
    """New files that the policy continues in, or the other files that share the pull request, by path as above."""
    comments: Sequence[LineComment] = ()
    """Few, for the pull request's review."""

    @property
    def files(self) -> dict[str, bytes]:
        """All files that the commit holds, the policy file first; none where there is nothing to propose."""
        return {**({} if self.content is None else {self.path: self.content}), **self.further}

    def is_there(self, read: Callable[[str], bytes | None]) -> bool:
        """Whether a commit, of which `read` gives a file, holds all that is proposed; nothing proposed is there."""
        return all(read(path) == content for path, content in self.files.items())


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing did."""

    operation: Operation
    branch: str
    head_sha: str
    """Head of the branch afterwards; empty where there is no branch."""
    base_sha: str
    reason: str = ""
    """A sentence, where the operation is `none` or `closed`."""
    number: int = 0
    """Of the pull request; 0 where there is none."""
    url: str = ""
    failure: str = ""
    """A sentence, where the branch or the pull request could not be made."""
    link: str = ""
    """Where a person opens the pull request by hand, if only that failed."""


def pull_request_outputs(published: Published | None) -> dict[str, str]:
    """The step's outputs about branch and pull request (docs: action.yml); None: nothing was to be published."""
    found = published or Published(Operation.NONE, "", "", "")
    return {
        "pull-request-number": str(found.number) if found.url else "",
        "pull-request-url": found.url,
        "pull-request-operation": found.operation.value,
        "pull-request-head-sha": found.head_sha,
        "pull-request-branch": found.branch,
    }


class Place(Protocol):
    """Where the committed policy lies and the proposal goes: a repository on disk, or on GitHub."""

    def head_of(self, base: str) -> tuple[str, str]:
        """Name and commit of the branch `base`, or of the default one where it is empty."""

    def read(self, commit: str, path: str) -> bytes | None:
        """Content of a file in a commit; None where there is none."""

    def changed_at(self, commit: str, path: str) -> datetime | None:
        """When a file was last changed, as of a commit; None where there is none."""

    def earlier(self, commit: str, path: str, time: datetime) -> bytes | None:
        """Content of a file as it was at a time, as of a commit; its first where it is younger; None: never there."""

    def publish(self, publication: Publication, now: datetime) -> Published:
        """Brings branch and pull request to the proposal, or leaves them alone and says why."""


def checked_fingerprint(publication: Publication) -> None:
    """Raises PullRequestError where the fingerprint could not be found again in a commit."""
    if re.fullmatch(r"[0-9a-f]{8,128}", publication.fingerprint) is None:
        raise PullRequestError(f"The fingerprint {publication.fingerprint!r} is not hexadecimal.")


def commit_message(publication: Publication) -> str:
    """Return title, summary and trailer; whatever title and summary hold, the trailer is the last paragraph alone.

    Line breaks in the title become blanks, and what GitHub acts on in a commit message (`@name`, `#12`,
    `[skip ci]`) is broken by a zero-width space.
    """
    title = " ".join(_calm(publication.title).split())[:_TITLE_LIMIT].rstrip() or "Change permissions"
    summary = _calm(publication.summary).strip("\n")
    paragraphs = [title, *([summary] if summary.strip() else []), f"{TRAILER}: {publication.fingerprint}"]
    return "\n\n".join(paragraphs) + "\n"


def is_branch_name(name: str) -> bool:
    """Whether git takes `name` for a branch (https://git-scm.com/docs/git-check-ref-format) and people can read it."""
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


def _calm(text: str) -> str:
    shown = "".join(c for c in text if c == "\n" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"})
    # https://docs.github.com/en/actions/how-tos/manage-workflow-runs/skip-workflow-runs, read 2026-11
    skipping = r"\[(?=(?:skip (?:ci|actions)|ci skip|no ci|actions skip)\])|^skip(?=-checks)"
    return re.sub(rf"(?im)(?:@|#(?=\d)|\bGH-(?=\d)|/(?:issues|pull)/(?=\d)|{skipping})", "\\g<0>\u200b", shown)
