"""Derives the reader role's grants, parameters and trust policy from the chosen evidence sources.

Jobs of one repository on one branch may assume the role by GitHub's OIDC provider. GitHub writes the subject of its
tokens in two forms: by names, `repo:OWNER/NAME:…`, and for repositories created, renamed or transferred since
2026-07-15, or that opted in, by names and immutable ids, `repo:OWNER@ID/NAME@ID:…`
(https://docs.github.com/en/actions/reference/security/oidc#immutable-subject-claims, read 2026-11-24). A repository
uses one form at a time; the role accepts both, so that a switch breaks nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from leastpriv.errors import InputError
from leastpriv.models import Condition
from leastpriv.permissions.fact_tables import table

DEFAULT_SOURCES = ("event-history", "live-role", "denial-details", "last-accessed", "policy-checks", "resource-types")
"""Sources for a first run: they need no trail and are free."""
_VALUE = re.compile(r"\{(\w+)\}")
OWN = ("Partition", "Account")
"""Values of the role's own account, which are not parameters."""


@dataclass(frozen=True, slots=True)
class ReaderGrant:
    """One statement of the reader role's policy."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    """With values in braces, `arn:{Partition}:s3:::{TrailBucket}`."""
    condition: Condition | None
    page: str
    """AWS's page that documents the need."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that only the user knows."""

    name: str
    """Name in CloudFormation, `TrailBucket`."""
    variable: str
    """Name in Terraform, `trail_bucket`."""
    default: str | None
    description: str


REPOSITORY = (
    Parameter("RepositoryOwner", "repository_owner", None, "Owner of the repository, as GitHub spells it"),
    Parameter("RepositoryName", "repository_name", None, "Name of the repository, without its owner"),
    Parameter(
        "RepositoryOwnerId", "repository_owner_id", "", "Id of the owner: gh api repos/OWNER/NAME --jq .owner.id"
    ),
    Parameter("RepositoryId", "repository_id", "", "Id of the repository: gh api repos/OWNER/NAME --jq .id"),
    Parameter("Branch", "branch", "main", "Branch whose jobs may assume the role"),
)
"""Parameters of the trust policy."""


def known_sources() -> tuple[str, ...]:
    """Returns every source, in the order of the table."""
    return tuple(dict.fromkeys(row["source"] for row in _table("sources")))


def reader_grants(sources: Sequence[str]) -> tuple[ReaderGrant, ...]:
    """Returns the distinct grants that the chosen sources need.

    Raises InputError for an unknown source.
    """
    for name in sources:
        if name not in known_sources():
            raise InputError(f"--sources holds {name!r}: choose from {', '.join(known_sources())}.")
    found = (_grant(row) for row in _table("sources") if row["source"] in sources)
    return tuple(dict.fromkeys(found))


def template_parameters(grants: Iterable[ReaderGrant], given: Mapping[str, str]) -> tuple[Parameter, ...]:
    """Returns the parameters of the trust policy and of the grants in table order; `given` values become defaults."""
    named = {name for grant in grants for resource in grant.resources for name in _VALUE.findall(resource)}
    own = (Parameter(row["name"], row["terraform"], _default(row), row["description"]) for row in _table("parameters"))
    chosen = (*REPOSITORY, *(parameter for parameter in own if parameter.name in named))
    return tuple(replace(each, default=given.get(each.name) or each.default) for each in chosen)


def _default(row: Mapping[str, str]) -> str | None:
    return row["default"] or ("" if row["name"] == "TrailPrefix" else None)


def filled_resource(resource: str, values: Mapping[str, str]) -> str:
    """Returns a resource with its values filled in."""
    return _VALUE.sub(lambda found: values[found[1]], resource)


def reader_policy(grants: Iterable[ReaderGrant], values: Mapping[str, str]) -> dict[str, object]:
    """Returns the role's IAM policy; `values` has every parameter, `Partition` and `Account`."""
    return {"Version": "2012-10-17", "Statement": [_statement(grant, values) for grant in grants]}


def _statement(grant: ReaderGrant, values: Mapping[str, str]) -> dict[str, object]:
    condition = grant.condition
    conditions = {"Condition": {condition.operator: {condition.key: condition.values[0]}}} if condition else {}
    return {
        "Sid": grant.sid,
        "Effect": "Allow",
        "Action": list(grant.actions),
        "Resource": [filled_resource(resource, values) for resource in grant.resources],
        **conditions,
    }


def _grant(row: Mapping[str, str]) -> ReaderGrant:
    operator, key, value = row["condition"].split(" ") if row["condition"] else ("", "", "")
    return ReaderGrant(
        row["sid"],
        tuple(row["actions"].split(",")),
        tuple(row["resources"].split(" ")),
        Condition(operator, key, (value,)) if operator else None,
        row["page"],
    )


def _table(name: str) -> tuple[Mapping[str, str], ...]:
    return table(name, __package__ or "")


ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
"""Default audience of aws-actions/configure-aws-credentials."""


def subjects(owner: str, name: str, branch: str, owner_id: str, repository_id: str) -> tuple[str, str]:
    """Returns the subjects of jobs on a branch: by names, and by names and ids.

    An argument may be a template expression, as `${RepositoryOwner}`.
    """
    where = f"ref:refs/heads/{branch}"
    return f"repo:{owner}/{name}:{where}", f"repo:{owner}@{owner_id}/{name}@{repository_id}:{where}"


ADVICE = (
    "By names, then by ids. Once the repository uses ids, remove the first: a name can be given up and taken by others."
)
"""A comment in the trust policy."""
