"""The overview of all roles of some trails: what each may do, what it did, and where to begin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from leastpriv.aws.arns import account_of, parse_principal, principal_of
from leastpriv.config.targets_file import Configuration
from leastpriv.errors import LeastprivError
from leastpriv.evidence.models import Evidence
from leastpriv.models import Outcome, Principal
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_matches, matches
from leastpriv.pipeline.infrastructure import RepositoryVersion
from leastpriv.pipeline.load_policies import read_attached
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.source import Location
from leastpriv.proposal.escalation_paths import escalation_paths, is_administrator
from leastpriv.report.roles import NextStep, RoleOverview

_SERVICE_LINKED = ":role/aws-service-role/"


def overview(
    found: Iterable[tuple[str, Evidence]], policies: KnownPolicies
) -> tuple[RoleOverview, ...]:
    """Returns all roles of the records and of the known policies, those with most to gain first."""
    rows: dict[tuple[str, str], RoleOverview] = {}
    for arn, evidence in found:
        principal = principal_of(arn)
        if principal is None or principal.kind != "role" or _SERVICE_LINKED in arn:
            continue
        rows[_key(principal)] = _of_calls(arn, evidence, policies.of(principal))
    for arn in policies.arns:
        principal = principal_of(arn)
        if principal is None or _SERVICE_LINKED in arn:
            continue
        if _key(principal) not in rows:
            rows[_key(principal)] = _row(RoleOverview(arn), policies.of(principal), frozenset())
    return tuple(sorted(rows.values(), key=lambda row: row.rank))


def _key(principal: Principal) -> tuple[str, str]:
    """Returns account and name: a session's ARN lacks the path of its role."""
    return principal.account, principal.name


def _of_calls(arn: str, evidence: Evidence, documents: Sequence[Document] | None) -> RoleOverview:
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
    return _row(row, documents, used_actions)


def _row(
    row: RoleOverview, documents: Sequence[Document] | None, used: frozenset[str]
) -> RoleOverview:
    """Adds what the policies of a role grant."""
    if documents is None:
        return row
    granted = _granted(tuple(_grants(documents)))
    return replace(
        row,
        has_policy=True,
        granted=len(granted),
        used=len(granted & used),
        administrator=_is_administrator(tuple(documents), row.arn),
        riskiest=next(
            (action for action in _by_risk() if action in granted and action not in used), ""
        ),
    )


def _grants(documents: Iterable[Document]) -> Iterator[Statement]:
    for document in documents:
        for statement in document.statements:
            yield statement.meaning


@cache
def _granted(statements: tuple[Statement, ...]) -> frozenset[str]:
    """Returns the actions that statements allow on some resource."""
    allowed: set[str] = set()
    denied: set[str] = set()
    for statement in statements:
        if statement.effect == "Allow":
            allowed |= _actions(statement.actions, statement.not_actions)
        elif "*" in statement.resources and not statement.conditions:
            denied |= _actions(statement.actions, statement.not_actions)
    return frozenset(allowed - denied)


@cache
def _actions(patterns: tuple[str, ...], without: tuple[str, ...]) -> frozenset[str]:
    if without:
        return frozenset(
            action
            for action in _by_risk()
            if not any(action_matches(pattern, action) for pattern in without)
        )
    return frozenset(action for pattern in patterns for action in catalog.expand(pattern))


@cache
def _by_risk() -> tuple[str, ...]:
    """Returns all actions of the catalogue, the riskiest first."""
    all_actions = (action for service in catalog.services() for action in catalog.actions(service))
    return tuple(sorted(all_actions, key=catalog.removal_rank))


def _is_administrator(documents: tuple[Document, ...], arn: str) -> bool:
    return is_administrator(escalation_paths(documents, arn))


class KnownPolicies:
    """The policies of roles, from the files of a config and from the accounts themselves."""

    def __init__(self) -> None:
        self._by_role: dict[tuple[str, str], tuple[Document, ...]] = {}
        self._by_pattern: list[tuple[str, tuple[Document, ...]]] = []
        self.arns: list[str] = []
        """Roles that are known by their ARN."""
        self.unread: list[str] = []
        """Why a policy is not known, in sentences."""

    def add(self, arn: str, documents: Sequence[Document]) -> None:
        """Adds the policies of a role."""
        principal = parse_principal(arn)
        self._by_role.setdefault(_key(principal), tuple(documents))
        self.arns.append(arn)

    def add_config(self, configuration: Configuration, folder: Path) -> None:
        """Adds the policy files of a config; one that cannot be read is not known."""
        version = RepositoryVersion.on_disk(folder)
        for entry in configuration.entries:
            for arn in entry.users.arns:
                principal = principal_of(arn)
                path = entry.policy_file(arn)
                location = Location.of(path)
                raw = version.read(location.path)
                if raw is None:
                    continue
                shown_principal = principal or Principal(
                    arn, "aws", account_of(arn), "role", "role"
                )
                try:
                    document = read_attached(
                        raw, path, shown_principal, version.folder(location.path)
                    )
                except LeastprivError as error:
                    self.unread.append(str(error))
                    continue
                if principal:
                    self.add(arn, (document,))
                else:
                    self._by_pattern.append((arn, (document,)))

    def of(self, principal: Principal) -> tuple[Document, ...] | None:
        """Returns the policies of a role; None where they are not known."""
        files = self._by_role.get(_key(principal))
        if files is not None:
            return files
        for pattern, documents in self._by_pattern:
            if matches(pattern, principal.arn):
                return documents
        return None


def totals(rows: Sequence[RoleOverview]) -> Mapping[NextStep, int]:
    """Returns the number of roles with each next step."""
    return {step: sum(row.next_step is step for row in rows) for step in NextStep}
