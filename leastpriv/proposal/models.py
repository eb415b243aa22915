"""What a proposal is made from, and what it consists of.

What somebody else says of a proposal: AWS as a second judge (`checks/`), told in the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from leastpriv.diff.compare import Entry
from leastpriv.evidence.history.models import Memory
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, ChangeKind, Condition, Origin, Permission, Usage
from leastpriv.permissions.generalize import Pattern
from leastpriv.policy.document import Document
from leastpriv.policy.size import Packed
from leastpriv.proposal.confidence import Confidences


@dataclass(frozen=True, slots=True)
class Options:
    """The user's dials."""

    minimum_days: int = 30
    minimum_runs: int = 5
    minimum_confidence: int = 0
    """In percent."""
    grace_days: int = 0
    break_glass: tuple[str, ...] = ()
    """Patterns of session names, as a shell has them."""
    max_changes: int = 0
    """0: no limit."""
    drop_unseen_services: bool = False
    keep: tuple[str, ...] = ()
    never_add: tuple[str, ...] = ()
    exact_resources: bool = False
    keep_forms: bool = False
    """Additions are written as the committed policy writes such resources."""


@dataclass(frozen=True, slots=True)
class Recollection:
    """What is remembered from before the evidence; without memory and trouble nobody asked."""

    memory: Memory | None = None
    trouble: str = ""
    """Why it could not be read, in words: then nothing is removed."""
    left_out: int = 0
    """Rows of it that make no sense."""
    siblings: Mapping[str, str] = field(default_factory=dict)
    """Lifecycle sibling -> the remembered action that explains it."""


_NOTHING = Recollection()


@dataclass(frozen=True, slots=True)
class History:
    """What the repository's history says: declined changes, and where the runs came from; empty where nobody asked."""

    declined: Mapping[str, int] = field(default_factory=dict)
    """Id of a change (`fingerprint.change_ids`) -> number of the pull request that was closed unmerged with it."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Run id -> where its code came from; only of runs that additions hang on."""
    changed: datetime | None = None
    """When the policy file was last changed; None where nobody knows."""
    recollection: Recollection = _NOTHING
    removed: Mapping[Permission, int] = field(default_factory=dict)
    """Permission that was refused -> number of the merged pull request that had removed it."""
    earlier: Document | None = None
    """The policy as it was before the days of grace, or at its first if it is younger; None where nobody knows, or it
    did not change since."""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that guards look at."""

    evidence: Evidence
    options: Options
    used: Mapping[str, tuple[Usage, ...]]
    """Catalogue action -> its usages, through whichever statement."""
    siblings: Mapping[str, str]
    """Lifecycle sibling -> the used action that explains it."""
    services: frozenset[str]
    """Prefixes of the services with any call."""
    unexplained: frozenset[str] = frozenset()
    """Actions with an allowed call that no known policy grants."""
    declined: Mapping[str, int] = field(default_factory=dict)
    """As in `History`."""
    separate_runs: int | None = None
    """Runs without a refusal, as `minimum-runs` counts them; None: not counted yet."""
    changed: datetime | None = None
    """As in `History`."""
    noted: Mapping[str, datetime] = field(default_factory=dict)
    """Service -> its last recorded call (`last_accessed.last_noted`)."""
    recollection: Recollection = _NOTHING
    confidence: Confidences | None = None
    """What the runs show of the actions they used; None: not counted yet."""
    emergencies: frozenset[str] = frozenset()
    """Ids of the runs whose session is named like those of an emergency."""
    earlier: Document | None = None
    """As in `History`."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One action that would no longer be granted by one entry."""

    action: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Objection:
    """A guard that holds a change back, and why."""

    guard: str
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """One edit of the committed policy."""

    kind: ChangeKind
    action: str
    """The committed entry as written (remove, narrow) or the catalogue action (add)."""
    resources: tuple[str, ...]
    statement: int = -1
    """Index in the committed document; -1 for additions."""
    sid: str = ""
    line: int = 0
    """1-based line of the statement in the committed file; 0 for additions."""
    granted: int = 1
    """How many actions the entry granted."""
    gone: tuple[str, ...] = ()
    """Catalogue actions that the entry no longer grants."""
    used: tuple[str, ...] = ()
    becomes: tuple[str, ...] = ()
    """What stands in the entry's place (narrow)."""
    stays: Mapping[str, Objection] | None = None
    """Actions of a narrowed wildcard that stay though unused, and why."""
    basis: Basis | None = None
    usages: tuple[Usage, ...] = ()
    security: str = ""
    """Why a security reviewer should look, or empty."""
    patterns: tuple[Pattern, ...] = ()
    """Of `resources` or `onto`: what each stands for, and which of its parts are open for which reason."""
    onto: tuple[str, ...] = ()
    """Of an action that stays, granted on `*` so far: the resources on which it is granted from now on."""
    conditions: tuple[Condition, ...] = ()
    """Of an addition: under which all of its uses were authorised, all to hold."""
    removed_by: int = 0
    """Of an addition: number of the pull request that had removed it before it was refused; 0: none did."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A change that a guard held back."""

    kind: ChangeKind
    action: str
    resources: tuple[str, ...]
    objection: Objection
    sid: str = ""
    usages: tuple[Usage, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """The changed document before it is proved."""

    committed: Document | None
    document: Document
    content: bytes
    changes: tuple[Change, ...]
    held_back: tuple[HeldBack, ...]
    refused: tuple[HeldBack, ...]
    """Needed by a refused call or in use, and not proposed."""
    held_open: tuple[HeldBack, ...] = ()
    """Used actions that stay granted on `*`, and why."""
    packed: Packed | None = None
    """How `document` was brought within AWS's quotas; None where nothing was changed."""

    @property
    def documents(self) -> tuple[Document, ...]:
        """The changed document, and the new ones that it was split into."""
        return (self.document, *(self.packed.further if self.packed else ()))


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
