"""One of several targets: what it was told, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from leastpriv.errors import LeastprivError
from leastpriv.pipeline import Made, Result
from leastpriv.proposal.fingerprint import fingerprint
from leastpriv.pull_request.lifecycle import scope_of
from leastpriv.pull_request.publication import Published
from leastpriv.settings import Settings
from leastpriv.workplace import Workplace

_Answer = TypeVar("_Answer")
_RANKS = (1, 2, 3)
"""Exit codes, the worst first: what could not be looked at weighs more than what was found."""


@dataclass(frozen=True, slots=True)
class Target:
    """One role and its policy file."""

    settings: Settings
    workplace: Workplace = field(repr=False)
    group: str = ""
    where: str = ""
    """The entry that names it, for messages."""

    @property
    def role(self) -> str:
        """ARN of the role or user."""
        return self.settings.principal.arn

    @property
    def scope(self) -> str:
        """Principal and policy file, as fingerprints tell them apart."""
        return f"{self.role} {self.workplace.policy_name}"

    @property
    def digits(self) -> str:
        """The scope as it stands in a fingerprint."""
        return scope_of(fingerprint(self.scope, None, b""))


@dataclass(frozen=True, slots=True)
class Ended:
    """How one target ended."""

    target: Target
    made: Made | None = None
    failure: LeastprivError | None = None
    """Why there is no proposal."""
    published: Published | None = None
    forgotten: str = ""
    """Why what was learned is not remembered, or a comment not answered, in a sentence."""

    @property
    def result(self) -> Result | None:
        """As a run of its own would give it; None where there is no proposal."""
        made = self.made
        return Result(made.subject, made.title, made.text, self.published, self.forgotten) if made else None


def tried(work: Callable[[], _Answer]) -> tuple[_Answer | None, LeastprivError | None]:
    """What the work gives, or why it failed: no target ends the others, whatever becomes of it."""
    try:
        return work(), None
    except LeastprivError as error:
        return None, error
    except Exception as error:
        defect = f"Unexpected {type(error).__name__}: {error}. This is a defect; run this target alone and report it."
        return None, LeastprivError(defect)


def worst(codes: list[int]) -> int:
    """The exit code of all: 1 (not done) before 2 (bad input) before 3 (drift) before 0."""
    return next((code for code in _RANKS if code in codes), max(codes, default=0))
