"""Drift in three ways: the committed file against what the role used, and against the role in the account.

Each finding is one thing that somebody can do something about, at a line of the policy file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from leastpriv.diff.compare import decide
from leastpriv.diff.live_role_drift import Drift
from leastpriv.evidence.live_role import LiveRole
from leastpriv.models import Basis, ChangeKind, Outcome, Usage
from leastpriv.permissions.patterns import action_matches, resource_overlaps
from leastpriv.policy.containment import contained
from leastpriv.policy.document import Document
from leastpriv.proposal.models import Change, Draft


class DriftKind(StrEnum):
    """What differs; the gravest first."""

    ONLY_LIVE = "only-in-the-account"
    """The account allows it, and the file does not."""
    ONLY_FILE = "only-in-the-file"
    """The file allows it, and the account does not: it is not deployed."""
    DENY_LIVE = "denied-only-in-the-account"
    DENY_FILE = "denied-only-in-the-file"
    NOT_DEPLOYED = "not-in-the-account"
    """Nothing attached to the role is like the file."""
    NO_FILE = "no-file"
    """There is no policy file."""
    MISSING = "missing"
    """The role needs it, and the file does not allow it."""
    UNUSED = "unused"
    UNUSED_IN_WILDCARD = "unused-in-wildcard"
    UNUSED_RESOURCES = "unused-resources"


class Grants(StrEnum):
    """What one of the three says: yes, no, in part, or nobody asked."""

    YES = "allows"
    NO = "does not"
    PART = "in part"
    UNKNOWN = "not read"
    DENIES = "denies"
    NONE = "–"


@dataclass(frozen=True, slots=True)
class Drifted:
    """One finding."""

    kind: DriftKind
    action: str
    """As written in the file, the catalogue's name of one that is missing, or a file's name."""
    resources: tuple[str, ...]
    line: int
    """1-based line of the policy file; 1 where it has none of its own."""
    file: Grants
    account: Grants
    used: str
    """Of the use, in words: `4× in 2 runs`, `refused 1×`, `no`, or empty where it does not matter."""
    gone: tuple[str, ...] = ()
    """Actions of a wildcard that nobody used."""

    @property
    def id(self) -> str:
        """Eight hexadecimal digits that stay while the same thing differs, wherever its line is."""
        parts = [self.kind.value, self.action, sorted(self.resources)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def drifting(draft: Draft, live: LiveRole | None, drift: Drift | None, principal: str) -> tuple[Drifted, ...]:
    """All findings, what differs in the account first, then what is missing, then what is not used, by line."""
    found = [*_account(draft.committed, live, drift), *_use(draft, live, drift, principal)]
    order = list(DriftKind)
    return tuple(sorted(found, key=lambda each: (order.index(each.kind), each.line, each.action)))


def _account(committed: Document | None, live: LiveRole | None, drift: Drift | None) -> Iterator[Drifted]:
    if drift is None or committed is None:
        return
    policies = live.policies if live else ()
    counterpart = next((policy.document for policy in policies if policy.name == drift.counterpart), None)
    if counterpart and drift.differs:
        yield from _allowed_on_one_side(committed, counterpart)
    for kind, pair, file, account in (
        (DriftKind.DENY_LIVE, drift.live_denies, Grants.NONE, Grants.DENIES),
        (DriftKind.DENY_FILE, drift.file_denies, Grants.DENIES, Grants.NONE),
    ):
        if pair:
            yield Drifted(kind, pair[0], (pair[1],), _line(committed, *pair, "Deny"), file, account, "")
    if drift.missing:
        yield Drifted(DriftKind.NOT_DEPLOYED, committed.where, (), 1, Grants.YES, Grants.NO, "")
    for name in drift.unlike:
        yield Drifted(DriftKind.NOT_DEPLOYED, name, (), 1, Grants.YES, Grants.NO, "")


def _allowed_on_one_side(committed: Document, counterpart: Document) -> Iterator[Drifted]:
    """What the account allows and the file does not, and the other way round: a finding for each entry."""
    found: dict[tuple[DriftKind, int, str], list[str]] = {}
    for kind, old, new in (
        (DriftKind.ONLY_LIVE, committed, counterpart),
        (DriftKind.ONLY_FILE, counterpart, committed),
    ):
        for excess in contained([old], [new]).excesses:
            found.setdefault((kind, excess.statement.index, excess.action), []).append(excess.resource)
    for (kind, statement, action), resources in found.items():
        if kind is DriftKind.ONLY_FILE:
            line = committed.line_of_entry(statement, action)
            yield Drifted(kind, action, tuple(resources), line, Grants.YES, Grants.NO, "")
        else:
            line = _line(committed, action, resources[0], "Allow")
            yield Drifted(kind, action, tuple(resources), line, Grants.NO, Grants.YES, "")


def _use(draft: Draft, live: LiveRole | None, drift: Drift | None, principal: str) -> Iterator[Drifted]:
    if draft.committed is None:
        if draft.changes:
            actions = tuple(change.action for change in draft.changes)
            account = Grants.UNKNOWN if live is None else Grants.NONE
            yield Drifted(DriftKind.NO_FILE, "", (), 1, Grants.NO, account, f"{len(actions)} actions", actions)
        return
    for change in draft.changes:
        if change.kind is ChangeKind.ADD:
            account = _live_says(change.usages, live, principal)
            line = _line(draft.committed, change.action, "*", "Allow")
            yield Drifted(
                DriftKind.MISSING, change.action, change.resources, line, Grants.NO, account, _use_of(change.usages)
            )
        else:
            yield _narrowed(change, draft.committed, drift)


def _narrowed(change: Change, committed: Document, drift: Drift | None) -> Drifted:
    compared = drift is not None and not drift.unknown
    account = Grants.UNKNOWN if not compared else Grants.PART if drift and drift.differs else Grants.YES
    kind = DriftKind.UNUSED if change.kind is ChangeKind.REMOVE else DriftKind.UNUSED_IN_WILDCARD
    used = "no"
    if change.kind is ChangeKind.NARROW:
        kind = DriftKind.UNUSED_RESOURCES if change.onto else kind
        used = "on fewer resources" if change.onto else f"{len(change.used)} of {change.granted} actions"
    line = committed.line_of_entry(change.statement, change.action)
    return Drifted(kind, change.action, change.resources, line, Grants.YES, account, used, change.gone)


def _use_of(usages: Sequence[Usage]) -> str:
    refused = sum(usage.count for usage in usages if usage.outcome is Outcome.DENIED)
    allowed = sum(usage.count for usage in usages if usage.outcome is Outcome.ALLOWED)
    implied = bool(usages) and all(usage.need.basis is Basis.INFERRED for usage in usages)
    parts = [f"refused {refused}×"] if refused else []
    parts += [f"{'implied' if implied else 'used'} {allowed}×"] if allowed else []
    return ", ".join(parts) or "yes"


def _live_says(usages: Sequence[Usage], live: LiveRole | None, principal: str) -> Grants:
    """Whether what is attached in the account allows what is missing in the file."""
    if live is None or not live.is_known:
        return Grants.UNKNOWN
    documents = [policy.document for policy in live.policies]
    told = {decide(usage.need, principal, region, documents) for usage in usages for region in usage.regions or ("",)}
    if told <= {"allowed"}:
        return Grants.YES
    return Grants.NO if told <= {"implicitDeny", "explicitDeny"} else Grants.PART


def _line(committed: Document, action: str, resource: str, effect: str) -> int:
    """Line of the statement where what the file lacks would stand: one that grants, or denies, the same service."""
    service = action.partition(":")[0].lower()
    of_service = [
        statement
        for statement in committed.statements
        if statement.effect == effect
        and any(action_matches(entry.partition(":")[0], service) for entry in statement.actions)
    ]
    exact = [each for each in of_service if any(resource_overlaps(entry, resource) for entry in each.resources)]
    return next((each.line for each in (*exact, *of_service)), 1)
