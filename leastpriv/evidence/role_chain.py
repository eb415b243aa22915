"""Follows role chains: the roles that a principal assumes or passes to a service.

A workflow's role often holds little more than access to other roles: AWS CDK (version 2) assumes
four roles of its bootstrap stack, one of which passes a fifth to CloudFormation, and Terragrunt
assumes a role for each unit (https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping.html, read
2026-11-26). Only successful calls count, so a denied request adds no link; the number of roles and
steps is limited all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import principal_of, same_arn
from leastpriv.evidence.models import Evidence
from leastpriv.models import Outcome, Usage
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import unescape

MOST_ROLES = 25
"""Most roles that the chain of one principal includes; further roles are only counted."""
MOST_STEPS = 5
"""Most steps from a principal to the last role: CDK takes two."""


class RoleLinkKind(StrEnum):
    """How a principal uses a role's permissions."""

    ASSUMED = "assumed"
    """By AssumeRole."""
    PASSED = "passed"
    """By passing the role to a service that deploys with it."""


class RoleLink(Struct, frozen=True):
    """One link from a principal to a role."""

    source: str
    """ARN of the principal."""
    role: str
    """ARN of the role."""
    kind: RoleLinkKind
    service: str = ""
    """Name of the service that receives the role, `CloudFormation`."""
    count: int = 0
    """Number of calls of this link."""
    runs: tuple[str, ...] = ()


class RoleChain(Struct, frozen=True):
    """All links that begin at some principals."""

    roots: tuple[str, ...]
    links: tuple[RoleLink, ...] = ()
    left_out: int = 0
    """Number of roles beyond the limits, as far as known."""

    @property
    def roles(self) -> tuple[str, ...]:
        """ARNs of the roles that the links reach, in order, each once."""
        return tuple(dict.fromkeys(link.role for link in self.links))

    @property
    def members(self) -> tuple[str, ...]:
        """ARNs of all principals in the chain, the roots first."""
        return tuple(dict.fromkeys((*self.roots, *self.roles)))

    def to(self, role: str) -> tuple[RoleLink, ...]:
        """Returns the links that reach a role."""
        return tuple(link for link in self.links if link.role == role)

    def around(self, principal: str) -> RoleChain:
        """Returns the part of the chain that is connected with a principal."""
        roles = {principal}
        size = 0
        while len(roles) > size:
            size = len(roles)
            for link in self.links:
                if link.source in roles or link.role in roles:
                    roles |= {link.source, link.role}
        roots = tuple(root for root in self.roots if root in roles)
        links = tuple(link for link in self.links if link.source in roles)
        return replace(
            self, roots=roots or (principal,), links=links, left_out=self.left_out if links else 0
        )


def build_chain(roots: Iterable[str], evidence: Mapping[str, Evidence]) -> RoleChain:
    """Follows the links from some principals, breadth first, and visits each role once.

    A root that another root reaches is not a root of the result. `evidence`: by ARN, of the
    principals that were read.
    """
    root_roles = tuple(dict.fromkeys(roots))
    links: list[RoleLink] = []
    left_out: set[str] = set()
    reached = dict.fromkeys(root_roles, 0)
    queue = list(root_roles)
    while queue:
        principal = queue.pop(0)
        for link in _links(principal, evidence):
            if link.role == principal:
                continue
            if link.role not in reached:
                if reached[principal] >= MOST_STEPS or len(reached) - len(root_roles) >= MOST_ROLES:
                    left_out.add(link.role)
                    continue
                reached[link.role] = reached[principal] + 1
                queue.append(link.role)
            links.append(link)
    return RoleChain(_first(root_roles, links), tuple(links), len(left_out))


def _first(wanted: Sequence[str], links: Sequence[RoleLink]) -> tuple[str, ...]:
    """The principals that no link reaches; the first principal of each cycle."""
    led_to = {link.role for link in links}
    free = [root for root in wanted if root not in led_to]
    roles_seen: set[str] = set()
    for root in (*free, *wanted):
        if root not in roles_seen:
            if root not in free:
                free.append(root)
            ahead = [root]
            while ahead:
                role = ahead.pop()
                if role not in roles_seen:
                    roles_seen.add(role)
                    ahead += [link.role for link in links if link.source == role]
    return tuple(free)


def _links(principal: str, evidence: Mapping[str, Evidence]) -> Sequence[RoleLink]:
    """Links of one principal, the most used first."""
    links: dict[RoleLink, RoleLink] = {}
    usages = evidence[principal].usages if principal in evidence else ()
    for usage in usages:
        if usage.outcome is not Outcome.ALLOWED or not usage.succeeded:
            continue
        for way in _ways(usage):
            role = _known(unescape(usage.need.permission.resource), evidence)
            if not role:
                continue
            bare_link = RoleLink(principal, role, way.kind, way.service)
            link = links.get(bare_link, bare_link)
            links[bare_link] = replace(
                link,
                count=link.count + usage.count,
                runs=tuple(dict.fromkeys((*link.runs, *usage.runs))),
            )
    return sorted(
        links.values(), key=lambda link: (-link.count, link.role, link.kind, link.service)
    )


class _Way(NamedTuple):
    """How a call uses a role, and the service that receives the role."""

    kind: RoleLinkKind
    service: str = ""


def _ways(usage: Usage) -> Iterator[_Way]:
    if usage.action == "sts:AssumeRole":
        yield _Way(RoleLinkKind.ASSUMED)
    elif usage.action == "iam:PassRole":
        names = {
            row["event_source"]: row["name"] for row in table("acting_services", __package__ or "")
        }
        for source in dict.fromkeys(event.partition(":")[0] for event in usage.events):
            if source in names:
                yield _Way(RoleLinkKind.PASSED, names[source])


def _known(arn: str, evidence: Mapping[str, Evidence]) -> str:
    """Returns a role's ARN as it is spelled in the evidence; empty for a pattern."""
    if arn in evidence:
        return arn
    role = principal_of(arn)
    if (
        role is None
        or role.kind != "role"
        or not re.fullmatch(r"[0-9]{12}", role.account)
        or role.arn != arn
    ):
        return ""
    return next((name for name in evidence if same_arn(name, arn)), arn)
