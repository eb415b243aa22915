"""The overview of all roles of some trails: what each may do, what it did, and where to begin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import account_of, parse_principal, principal_of
from leastpriv.config.targets_file import Configuration
from leastpriv.errors import LeastprivError
from leastpriv.evidence.models import Evidence
from leastpriv.models import Outcome, Principal
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import matches
from leastpriv.pipeline.infrastructure import RepositoryVersion
from leastpriv.pipeline.load_policies import read_attached
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.source import Location
from leastpriv.proposal.escalation_paths import escalation_paths, is_administrator
from leastpriv.report.roles import NextStep, RoleOverview

_SERVICE_LINKED = ":role/aws-service-role/"


class _RoleName(Struct, frozen=True):
    """Account and name of a role: a session's ARN lacks the path of its role."""

    account: str
    name: str

    @classmethod
    def of(cls, principal: Principal) -> Self:
        """Returns the name of a role."""
        return cls(principal.account, principal.name)


def overview(
    evidence_by_role: Iterable[tuple[str, Evidence]], policies: KnownPolicies
) -> tuple[RoleOverview, ...]:
    """Returns all roles of the records and of the known policies, those with most to gain first."""
    rows: dict[_RoleName, RoleOverview] = {}
    for arn, evidence in evidence_by_role:
        principal = principal_of(arn)
        if principal is None or principal.kind != "role" or _SERVICE_LINKED in arn:
            continue
        rows[_RoleName.of(principal)] = _called_role(arn, evidence, policies.of(principal))
    for arn in policies.arns:
        principal = principal_of(arn)
        if principal is None or _SERVICE_LINKED in arn:
            continue
        name = _RoleName.of(principal)
        if name not in rows:
            rows[name] = _with_policies(RoleOverview(arn), policies.of(principal), frozenset())
    return tuple(sorted(rows.values(), key=lambda row: row.rank))


def _called_role(
    arn: str, evidence: Evidence, documents: Sequence[Document] | None
) -> RoleOverview:
    """Returns the row of a role with recorded calls."""
    used_actions = frozenset(
        usage.need.permission.action
        for usage in evidence.usages
        if usage.outcome is Outcome.ALLOWED
    )
    row = RoleOverview(
        arn=arn,
        calls=evidence.counts.calls,
        runs=len(evidence.runs),
        last=evidence.last,
        denied=evidence.counts.denied,
        used=len(used_actions),
    )
    return _with_policies(row, documents, used_actions)


def _with_policies(
    row: RoleOverview, documents: Sequence[Document] | None, used_actions: frozenset[str]
) -> RoleOverview:
    """Adds what the policies of a role grant."""
    if documents is None:
        return row
    statements = [statement for document in documents for statement in document.statements]
    granted_actions = _granted_actions(tuple(statement.meaning for statement in statements))
    unused_actions = granted_actions - used_actions
    by_risk = (action for action in _actions_by_risk() if action in unused_actions)
    return replace(
        row,
        has_policy=True,
        granted=len(granted_actions),
        used=len(granted_actions & used_actions),
        administrator=is_administrator(escalation_paths(documents, row.arn)),
        riskiest=next(by_risk, ""),
    )


@cache
def _granted_actions(statements: tuple[Statement, ...]) -> frozenset[str]:
    """Returns the actions that statements allow on some resource."""
    allowed: set[str] = set()
    denied: set[str] = set()
    for statement in statements:
        if statement.effect == "Allow":
            allowed |= _statement_actions(statement.actions, statement.not_actions)
        elif "*" in statement.resources and not statement.conditions:
            denied |= _statement_actions(statement.actions, statement.not_actions)
    return frozenset(allowed - denied)


@cache
def _statement_actions(actions: tuple[str, ...], not_actions: tuple[str, ...]) -> frozenset[str]:
    """Returns the actions of the catalogue that the patterns of a statement, as in `Action` or
    `NotAction`, stand for.
    """
    if not not_actions:
        return frozenset(action for pattern in actions for action in catalog.expand(pattern))
    excluded = frozenset(action for pattern in not_actions for action in catalog.expand(pattern))
    return frozenset(_actions_by_risk()) - excluded


@cache
def _actions_by_risk() -> tuple[str, ...]:
    """Returns all actions of the catalogue, the riskiest first."""
    all_actions = (action for service in catalog.services() for action in catalog.actions(service))
    return tuple(sorted(all_actions, key=catalog.removal_rank))


class _PatternPolicies(Struct, frozen=True):
    """The policies of all roles whose ARN matches a pattern."""

    pattern: str
    documents: tuple[Document, ...]


class KnownPolicies:
    """The policies of roles, from the files of a config and from the accounts themselves."""

    def __init__(self) -> None:
        self._documents_by_role: dict[_RoleName, tuple[Document, ...]] = {}
        self._policies_of_patterns: list[_PatternPolicies] = []
        self.arns: list[str] = []
        """Roles that are known by their ARN."""
        self.unread: list[str] = []
        """Why a policy is not known, in sentences."""

    def add(self, arn: str, documents: Sequence[Document]) -> None:
        """Adds the policies of a role."""
        name = _RoleName.of(parse_principal(arn))
        self._documents_by_role.setdefault(name, tuple(documents))
        self.arns.append(arn)

    def add_config(self, configuration: Configuration, folder: Path) -> None:
        """Adds the policy files of a config; one that cannot be read is not known."""
        version = RepositoryVersion.on_disk(folder)
        for entry in configuration.entries:
            for arn in entry.users.arns:
                try:
                    document = _read_policy(version, entry.policy_file(arn), arn)
                except LeastprivError as error:
                    self.unread.append(str(error))
                    continue
                if document is None:
                    continue
                if principal_of(arn):
                    self.add(arn, (document,))
                else:
                    self._policies_of_patterns.append(_PatternPolicies(arn, (document,)))

    def of(self, principal: Principal) -> tuple[Document, ...] | None:
        """Returns the policies of a role; None where they are not known."""
        documents = self._documents_by_role.get(_RoleName.of(principal))
        if documents is not None:
            return documents
        for policies in self._policies_of_patterns:
            if matches(policies.pattern, principal.arn):
                return policies.documents
        return None


def _read_policy(version: RepositoryVersion, file: str, arn: str) -> Document | None:
    """Reads the policy file of a role, or of the roles of a pattern; None where there is none.

    Raises:
        LeastprivError: it is no policy.
    """
    path = Location.of(file).path
    raw = version.read(path)
    if raw is None:
        return None
    principal = principal_of(arn)
    if principal is None:
        # The pattern may be one of many accounts: nothing else of the principal is known.
        principal = Principal(arn, "aws", account_of(arn), kind="role", name="role")
    return read_attached(raw, file, principal, version.folder(path))


def totals(rows: Sequence[RoleOverview]) -> Mapping[NextStep, int]:
    """Returns the number of roles with each next step."""
    return {step: sum(row.next_step is step for row in rows) for step in NextStep}
