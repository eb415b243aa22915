"""The options of `leastpriv init` -> what the files are about; every message names the option."""

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
"""A path may hold quotes and braces, which a template would read as its own."""
_PLAIN_PATH = re.compile(r"(?!/)(?!(?:[^#]*/)?\.\.(?:[/#]|$))[\w./][\w./#@+-]*", re.ASCII)
"""One that stays in the repository, maybe with a pointer behind `#`."""
_PLAIN_BRANCH = re.compile(r"(?!.*(?:\.\.|//|/\.|/$|\.$|\.lock$|@\{))[\w][\w./@+-]*", re.ASCII)
_USERS = {"live-role": "live-user"}
_ROLES = {user: role for role, user in _USERS.items()}


@dataclass(frozen=True, slots=True)
class Target:
    """What the files are about; a value that nobody gave is an example's, for the reader to replace."""

    role_arn: str = "arn:aws:iam::123456789012:role/ci-deploy"
    policy_file: str = "iam/ci-deploy.json"
    region: str = "eu-west-1"
    audience: str = "sts.amazonaws.com"
    """Of the tokens that GitHub's login gives to a job."""
    values: dict[str, str] = field(default_factory=dict)
    """Parameters of the reader role that are known, by their names in CloudFormation."""

    @property
    def reader_arn(self) -> str:
        """ARN of the reader role in the account of the role."""
        _, partition, _, _, account, _ = self.role_arn.split(":", 5)
        return f"arn:{partition}:iam::{account}:role/leastpriv-reader"


def target_of(
    role_arn: str = "", policy_file: str = "", repository: str = "", region: str = "", branch: str = ""
) -> Target:
    """Checks each option; an empty one is not given. Without a region the files have one of the role's partition.

    Raises:
        InputError: an option has a value that cannot be put into the files, or the region is of another partition.
    """
    values: dict[str, str] = {}
    if role_arn:
        try:
            values["TargetRoleArn"] = parse_principal(role_arn).arn
        except InputError as error:
            raise InputError(f"--role-arn: {error}") from error
        _insist(_PLAIN_ARN, role_arn, "--role-arn", "use a role whose path has letters, digits and +=,.@_- only")
    if repository:
        _insist(_REPOSITORY, repository, "--repository", "write OWNER/NAME")
        values["RepositoryOwner"], values["RepositoryName"] = repository.split("/")
    if region:
        _insist(_REGION, region, "--region", "write a region like eu-west-1")
    if policy_file:
        _insist(_PLAIN_PATH, policy_file, "--policy-file", "write a path in the repository, like iam/ci-deploy.json")
    if branch:
        _insist(_PLAIN_BRANCH, branch, "--branch", "write the name of a branch, with letters, digits and ./@+_- only")
        values["Branch"] = branch
    example = Target()
    arn = role_arn or example.role_arn
    partition = _partition(arn, region)
    return Target(
        arn, policy_file or example.policy_file, region or partition["example"], partition["audience"], values
    )


def _partition(role_arn: str, region: str) -> Mapping[str, str]:
    """The row of the role's partition."""
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


def sources_of(given: Sequence[str], target: Target) -> tuple[str, ...]:
    """The chosen sources, from values that may be lists; a user is read as a user, and a role as a role."""
    named = [name.strip() for value in given for name in re.split(r"[,\n]", value) if name.strip()]
    own = _USERS if ":user/" in target.role_arn else _ROLES if "TargetRoleArn" in target.values else {}
    return tuple(dict.fromkeys(own.get(name, name) for name in named or DEFAULT_SOURCES))


def _insist(pattern: re.Pattern[str], value: str, option: str, advice: str) -> None:
    if not pattern.fullmatch(value):
        raise InputError(f"{option} is {value!r}: {advice}.")
