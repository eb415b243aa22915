"""Judges an infrastructure change before it is merged: what it needs, and what of that the role's policies lack."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from leastpriv.diff.compare import replay_need
from leastpriv.evidence.models import Evidence
from leastpriv.models import Need, Outcome, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import resource_overlaps
from leastpriv.permissions.sensitive import sensitivity
from leastpriv.policy.document import Document
from leastpriv.proposal.declared_additions import declared_additions
from leastpriv.proposal.edit_plan import new_statements
from leastpriv.proposal.models import GuardResult, Options


@dataclass(frozen=True, slots=True)
class DeclaredChange:
    """The needs of a change, from templates and plans."""

    sources: tuple[str, ...]
    made: tuple[Need, ...]
    """Of new resources."""
    kept: tuple[Need, ...]
    """Of resources that exist already: a grant on a part of a pattern may be the one that they have."""
    unread: tuple[str, ...] = ()
    """Types whose permissions no table has."""

    @property
    def needs(self) -> tuple[Need, ...]:
        """The needs of all resources, those of new ones first."""
        return tuple(dict.fromkeys((*self.made, *self.kept)))


@dataclass(frozen=True, slots=True)
class Covered:
    """A need that the policies allow, with its use in the evidence."""

    need: Need
    usages: tuple[Usage, ...]


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a change needs."""

    change: DeclaredChange
    missing: tuple[Need, ...]
    """Needs that no policy of the role allows."""
    never_written: Mapping[Need, GuardResult]
    """Missing needs that no proposal writes, and why."""
    covered: tuple[Covered, ...]
    statements: tuple[Mapping[str, object], ...]
    """Statements to paste that grant the missing needs."""

    @property
    def missing_actions(self) -> tuple[str, ...]:
        """The distinct actions that are missing, in order."""
        return tuple(dict.fromkeys(need.permission.action for need in self.missing))

    @property
    def missing_reads(self) -> tuple[str, ...]:
        """Those among them that only read."""
        return tuple(filter(is_read, self.missing_actions))

    @property
    def sensitive_actions(self) -> tuple[str, ...]:
        """Those among them that a security reviewer checks."""
        return tuple(filter(sensitivity, self.missing_actions))


def preflight(
    change: DeclaredChange, documents: Sequence[Document], evidence: Evidence, options: Options
) -> Preflight | None:
    """Compares what a change needs with the policies of the role; None for a change that needs nothing.

    Args:
        change: the needs of the change.
        documents: the policies of the role after the change.
        evidence: recorded calls of the role; declared needs are no evidence.
        options: the user's limits.
    """
    made, needs = set(change.made), change.needs
    if not needs:
        return None
    lacking = {need for need in needs if not _is_allowed(need, need in made, documents, evidence.principal)}
    missing = tuple(sorted((need for need in needs if need in lacking), key=_rank))
    changes, held = declared_additions(missing, evidence.principal, options, (), ())
    reasons = {(each.action, each.resources[0]): each.guard_result for each in held}
    sids = [statement.sid for document in documents for statement in document.statements]
    return Preflight(
        change,
        missing,
        {need: reasons[_key(need)] for need in missing if _key(need) in reasons},
        tuple(Covered(need, tuple(_uses(need, evidence))) for need in needs if need not in lacking),
        tuple(new_statements(changes, sids)),
    )


def _rank(need: Need) -> int:
    """What a reviewer reads first: sensitive actions, then writes, then reads."""
    action = need.permission.action
    return 0 if sensitivity(action) else 2 if is_read(action) else 1


def is_read(action: str) -> bool:
    """Whether an action only reads."""
    return catalog.access_level(action) in ("Read", "List")


def _key(need: Need) -> tuple[str, str]:
    return need.permission.action, need.permission.resource


def as_text(statements: Sequence[Mapping[str, object]], language: str) -> str:
    """Returns statements as they stand in a policy file in `json` or `yaml`."""
    if language == "json":
        return json.dumps(list(statements), indent=2)
    from ruamel.yaml import YAML

    written = io.StringIO()
    YAML().dump(json.loads(json.dumps(list(statements))), written)
    return written.getvalue().rstrip("\n")


def _is_allowed(need: Need, is_new: bool, documents: Sequence[Document], principal: str) -> bool:
    """Whether the policies allow a need; on a part of its resource only where the resource exists already."""
    effect = replay_need(need, principal, "", documents)
    return effect in ("allowed", "unknown") or (effect == "allowedInPart" and not is_new)


def _uses(need: Need, evidence: Evidence) -> Iterator[Usage]:
    permission = need.permission
    for usage in evidence.usages:
        own = usage.need.permission
        is_same = own.action == permission.action and resource_overlaps(own.resource, permission.resource)
        if usage.outcome is Outcome.ALLOWED and is_same:
            yield usage
