"""Checks the options of `leastpriv init`; every message names the option."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from leastpriv.aws.arns import parse_principal
from leastpriv.errors import InputError
from leastpriv.init.reader_role import DEFAULT_SOURCES
from leastpriv.permissions.fact_tables import table

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}/(?!\.\.?$)[A-Za-z0-9._-]{1,100}")
_REGION = re.compile(r"[a-z]{2,5}(-[a-z]+)+-\d{1,2}", re.ASCII)
_PLAIN_ARN = re.compile(r"[\w+=,.@/:-]+", re.ASCII)
"""A path may have quotes and braces, which a template would interpret."""
_PLAIN_PATH = re.compile(r"(?!/)(?!(?:[^#]*/)?\.\.(?:[/#]|$))[\w./][\w./#@+-]*", re.ASCII)
"""A path inside the repository, with an optional pointer after `#`."""
_PLAIN_BRANCH = re.compile(r"(?!.*(?:\.\.|//|/\.|/$|\.$|\.lock$|@\{))[\w][\w./@+-]*", re.ASCII)
_USERS = {"live-role": "live-user"}
_ROLES = {user: role for role, user in _USERS.items()}


@dataclass(frozen=True, slots=True)
class InitOptions:
    """The checked options; an option that was not given has an example value for the user to replace."""

    role_arn: str = "arn:aws:iam::123456789012:role/ci-deploy"
    policy_file: str = "iam/ci-deploy.json"
    region: str = "eu-west-1"
    audience: str = "sts.amazonaws.com"
    """Audience of the tokens that GitHub's OIDC provider issues to a job."""
    values: dict[str, str] = field(default_factory=dict)
    """Known parameters of the reader role, by their names in CloudFormation."""

    @property
    def reader_arn(self) -> str:
        """ARN of the reader role, in the account of the role."""
        _, partition, _, _, account, _ = self.role_arn.split(":", 5)
        return f"arn:{partition}:iam::{account}:role/leastpriv-reader"


def parse_options(
    role_arn: str = "", policy_file: str = "", repository: str = "", region: str = "", branch: str = ""
) -> InitOptions:
    """Checks each option; an empty one is not given, and a missing region is one of the role's partition.

    Raises InputError if an option's value cannot be written into the files, or the region is in another partition.
    """
    values: dict[str, str] = {}
    if role_arn:
        try:
            values["TargetRoleArn"] = parse_principal(role_arn).arn
        except InputError as error:
            raise InputError(f"--role-arn: {error}") from error
        _require(_PLAIN_ARN, role_arn, "--role-arn", "use a role whose path has letters, digits and +=,.@_- only")
    if repository:
        _require(_REPOSITORY, repository, "--repository", "write OWNER/NAME")
        values["RepositoryOwner"], values["RepositoryName"] = repository.split("/")
    if region:
        _require(_REGION, region, "--region", "write a region like eu-west-1")
    if policy_file:
        _require(_PLAIN_PATH, policy_file, "--policy-file", "write a path in the repository, like iam/ci-deploy.json")
    if branch:
        _require(_PLAIN_BRANCH, branch, "--branch", "write the name of a branch, with letters, digits and ./@+_- only")
        values["Branch"] = branch
    example = InitOptions()
    arn = role_arn or example.role_arn
    partition = _partition(arn, region)
    return InitOptions(
        arn, policy_file or example.policy_file, region or partition["example"], partition["audience"], values
    )


def _partition(role_arn: str, region: str) -> Mapping[str, str]:
    """Returns the row of the role's partition."""
    name = role_arn.split(":")[1]
    known = {row["partition"]: row for row in table("partitions", __package__ or "")}
    if name not in known:
        raise InputError(f"--role-arn is of the partition {name}: choose a role in {', '.join(known)}.")
    if region and not re.fullmatch(known[name]["regions"], region):
        raise InputError(
            f"--region is {region!r}, which is not in the partition {name} of the role: write a region like "
            f"{known[name]['example']}."
        )
    return known[name]


def chosen_sources(given: Sequence[str], target: InitOptions) -> tuple[str, ...]:
    """Returns the chosen sources; the source for roles or users is replaced to fit the principal."""
    named = [name.strip() for value in given for name in re.split(r"[,\n]", value) if name.strip()]
    own = _USERS if ":user/" in target.role_arn else _ROLES if "TargetRoleArn" in target.values else {}
    return tuple(dict.fromkeys(own.get(name, name) for name in named or DEFAULT_SOURCES))


def _require(pattern: re.Pattern[str], value: str, option: str, advice: str) -> None:
    if not pattern.fullmatch(value):
        raise InputError(f"{option} is {value!r}: {advice}.")
