"""What somebody else says of a proposal: AWS as a second judge (`checks/`), told in the report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Weight(StrEnum):
    """How much a remark weighs, the gravest first; the middle four are those of Access Analyzer."""

    DISAGREES = "disagrees"
    """The judge contradicts our own evaluation of the policies."""
    ERROR = "error"
    SECURITY_WARNING = "security-warning"
    WARNING = "warning"
    SUGGESTION = "suggestion"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that a judge remarked; untrusted text, like everything from outside."""

    weight: Weight
    code: str
    """AWS's name for it (`PASS_ROLE_WITH_STAR_IN_RESOURCE`), else ours."""
    text: str
    file: str
    line: int = 0
    """1-based line of the file; 0 where the remark is about no place."""
    link: str = ""
    """Page that explains it."""
    already: bool = False
    """The committed policy gives rise to it too."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One judge's whole answer, or why there is none."""

    judge: str
    """The API operation, `ValidatePolicy`."""
    asked: int
    """How many policies, or actions on resources, it judged."""
    remarks: tuple[Remark, ...] = ()
    unasked: tuple[str, ...] = ()
    """What it was not asked, and why, in sentences."""
    failure: str = ""
    """Why it could not be asked, in a sentence; what it said before is kept."""

    @property
    def disagreements(self) -> tuple[Remark, ...]:
        """Where it contradicts our own evaluation."""
        return tuple(remark for remark in self.remarks if remark.weight is Weight.DISAGREES)
