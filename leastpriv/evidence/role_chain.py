"""From role to role: whom a principal's calls lead to, by AssumeRole or by handing a role to a service (pure).

The role that a workflow takes often holds nothing but the way to others: AWS CDK's (version 2) assumes four roles of
its bootstrap stack, one of which hands a fifth to CloudFormation, and Terragrunt assumes a role for each unit
(https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping.html, read 2026-11-26). Only calls that succeeded count, so
nobody draws a link by asking for it; what is followed is bounded all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

from leastpriv.aws.arns import principal_of, same_arn
from leastpriv.evidence.models import Evidence
from leastpriv.models import Outcome, Usage
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import unescape

MOST_ROLES = 25
"""Roles that one principal's links lead to in all; the others are counted."""
MOST_STEPS = 5
"""From a principal to the last role behind it: CDK takes two."""


class Way(StrEnum):
    """How a principal comes by what a role may do."""

    ASSUMED = "assumed"
    """By AssumeRole."""
    PASSED = "passed"
    """By handing it to a service that deploys with it."""


@dataclass(frozen=True, slots=True)
class Link:
    """One way from a principal to a role."""

    source: str
    """ARN of the principal."""
    role: str
    """ARN of the role."""
    way: Way
    service: str = ""
    """Name of the service that a role is handed to, `CloudFormation`."""
    count: int = 0
    """Calls that took the way."""
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """All links that lead on from some principals."""

    roots: tuple[str, ...]
    links: tuple[Link, ...] = ()
    left_out: int = 0
    """Roles beyond the bounds, as far as they are known."""

    @property
    def roles(self) -> tuple[str, ...]:
        """ARNs of the roles that the links lead to, in their order, each once."""
        return tuple(dict.fromkeys(link.role for link in self.links))

    @property
    def members(self) -> tuple[str, ...]:
        """ARNs of everybody in it, the roots first."""
        return tuple(dict.fromkeys((*self.roots, *self.roles)))

    def to(self, role: str) -> tuple[Link, ...]:
        """The links that lead to a role."""
        return tuple(link for link in self.links if link.role == role)

    def around(self, principal: str) -> Chain:
        """The part of it that hangs together with a principal."""
        found, size = {principal}, 0
        while len(found) > size:
            size = len(found)
            for link in self.links:
                if link.source in found or link.role in found:
                    found |= {link.source, link.role}
        roots = tuple(root for root in self.roots if root in found)
        links = tuple(link for link in self.links if link.source in found)
        return replace(self, roots=roots or (principal,), links=links, left_out=self.left_out if links else 0)


def chain_of(roots: Iterable[str], evidence: Mapping[str, Evidence]) -> Chain:
    """The links that lead on from some principals, breadth first; `evidence` by ARN, of as many as have been read.

    Each role is visited once, however the links turn back. A root that another root leads to is no root.
    """
    wanted = tuple(dict.fromkeys(roots))
    links: dict[tuple[str, str, Way, str], Link] = {}
    left_out: set[str] = set()
    reached = dict.fromkeys(wanted, 0)
    queue = list(wanted)
    while queue:
        principal = queue.pop(0)
        for link in _links(principal, evidence):
            if link.role == principal:
                continue
            if link.role not in reached:
                if reached[principal] >= MOST_STEPS or len(reached) - len(wanted) >= MOST_ROLES:
                    left_out.add(link.role)
                    continue
                reached[link.role] = reached[principal] + 1
                queue.append(link.role)
            links.setdefault((link.source, link.role, link.way, link.service), link)
    found = tuple(links.values())
    return Chain(_first(wanted, found), found, len(left_out))


def _first(wanted: Sequence[str], links: Sequence[Link]) -> tuple[str, ...]:
    """Those to whom nobody leads; the first of all where they lead to each other in a circle."""
    led_to = {link.role for link in links}
    free = [root for root in wanted if root not in led_to]
    seen: set[str] = set()
    for root in (*free, *wanted):
        if root not in seen:
            if root not in free:
                free.append(root)
            ahead = [root]
            while ahead:
                one = ahead.pop()
                if one not in seen:
                    seen.add(one)
                    ahead += [link.role for link in links if link.source == one]
    return tuple(free)


def _links(principal: str, evidence: Mapping[str, Evidence]) -> Sequence[Link]:
    """Of one principal, the most used first."""
    read = evidence.get(principal)
    if read is None:
        return ()
    found: dict[tuple[str, Way, str], Link] = {}
    for usage in read.usages:
        if usage.outcome is Outcome.ALLOWED and usage.succeeded:
            for way, service in _ways(usage):
                role = _known(unescape(usage.need.permission.resource), evidence)
                if role:
                    key = (role, way, service)
                    one = found.get(key) or Link(principal, role, way, service)
                    runs = tuple(dict.fromkeys((*one.runs, *usage.runs)))
                    found[key] = replace(one, count=one.count + usage.count, runs=runs)
    return sorted(found.values(), key=lambda link: (-link.count, link.role, link.way, link.service))


def _ways(usage: Usage) -> Iterator[tuple[Way, str]]:
    if usage.need.permission.action == "sts:AssumeRole":
        yield Way.ASSUMED, ""
    elif usage.need.permission.action == "iam:PassRole":
        sources = dict.fromkeys(event.partition(":")[0] for event in usage.events)
        for service in filter(None, map(_acting_services().get, sources)):
            yield Way.PASSED, service


def _known(arn: str, evidence: Mapping[str, Evidence]) -> str:
    """The role of an ARN as the evidence calls it; empty where it is none, as a pattern is."""
    if arn in evidence:
        return arn
    role = principal_of(arn)
    if role is None or role.kind != "role" or not re.fullmatch(r"[0-9]{12}", role.account) or role.arn != arn:
        return ""
    return next((name for name in evidence if same_arn(name, arn)), arn)


@cache
def _acting_services() -> Mapping[str, str]:
    return {row["event_source"]: row["name"] for row in table("acting_services", __package__ or "")}
