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
from leastpriv.diff.drift import Drift
from leastpriv.evidence.live_role import LiveRole
from leastpriv.model import Basis, ChangeKind, Outcome, Usage
from leastpriv.permissions.patterns import action_matches, resource_overlaps
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import Request, evaluate
from leastpriv.proposal.situation import Change, Draft


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
    found = [*_account(draft.committed, drift), *_use(draft, live, drift, principal)]
    order = list(DriftKind)
    return tuple(sorted(found, key=lambda each: (order.index(each.kind), each.line, each.action)))


def _account(committed: Document | None, drift: Drift | None) -> Iterator[Drifted]:
    yes, no, denies = Grants.YES, Grants.NO, Grants.DENIES
    if drift is None:
        return
    for kind, pair, file, account in (
        (DriftKind.ONLY_LIVE, drift.live_allows, no, yes),
        (DriftKind.ONLY_FILE, drift.file_allows, yes, no),
        (DriftKind.DENY_LIVE, drift.live_denies, Grants.NONE, denies),
        (DriftKind.DENY_FILE, drift.file_denies, denies, Grants.NONE),
    ):
        if pair:
            yield Drifted(kind, pair[0], (pair[1],), _line(committed, *pair, kind), file, account, "")
    if drift.missing and committed:
        yield Drifted(DriftKind.NOT_DEPLOYED, committed.where, (), 1, yes, no, "")
    for name in drift.unlike:
        yield Drifted(DriftKind.NOT_DEPLOYED, name, (), 1, yes, no, "")


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
            line = _line(draft.committed, change.action, "*", DriftKind.MISSING)
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


def _line(committed: Document | None, action: str, resource: str, kind: DriftKind) -> int:
    """Line of the statement that a finding is about: that decides, else that grants the same service; else 1."""
    if committed is None:
        return 1
    if kind is DriftKind.ONLY_FILE:
        decision = evaluate(Request(action, resource), [committed])
        if decision.statement is not None:
            return committed.statements[decision.statement].line
    effect = "Deny" if kind in (DriftKind.DENY_FILE, DriftKind.DENY_LIVE) else "Allow"
    service = action.partition(":")[0].lower()
    of_service = [
        statement
        for statement in committed.statements
        if statement.effect == effect
        and any(action_matches(entry.partition(":")[0], service) for entry in statement.actions)
    ]
    exact = [each for each in of_service if any(resource_overlaps(entry, resource) for entry in each.resources)]
    return next((each.line for each in (*exact, *of_service)), 1)
