"""A past of a policy file that a test makes up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from leastpriv.pull_request.git_repository import FileChange, RevertedProposal


@dataclass(frozen=True, slots=True)
class KnownPast:
    """When a file was changed last, what it had before, and the commits to it."""

    change: datetime | None = None
    before: bytes | None = None
    commits: Sequence[FileChange] = ()
    elsewhere: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Commit -> the lines that it adds to other files."""

    def changed(self) -> datetime | None:
        return self.change

    def at(self, time: datetime) -> bytes | None:  # noqa: ARG002 - one version before the last
        return self.before

    def changes(self) -> Sequence[FileChange]:
        return self.commits

    def added_lines(self, commit: str, besides: Sequence[str]) -> Sequence[str] | None:  # noqa: ARG002
        return self.elsewhere.get(commit)

    def reverted(self) -> Sequence[RevertedProposal]:
        return ()
