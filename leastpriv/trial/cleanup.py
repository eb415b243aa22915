"""Names, tags, finds and removes the roles and policies of trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from leastpriv.aws.errors import translate_errors
from leastpriv.errors import LeastprivError

TRIAL_PATH = "/leastpriv-trial/"
"""Path of every role and policy that a trial makes, and of nothing else."""
CREDENTIAL_LIFETIME = timedelta(hours=1)
"""Lifetime of a round's credentials; its role and policies are of no use afterwards."""
_TRIAL_TAG = "leastpriv:trial"
_UNTIL_TAG = "leastpriv:until"


class TrialTags(Struct, frozen=True):
    """The names and tags of one trial."""

    trial: str
    """`leastpriv-` and twelve random hexadecimal digits."""
    started: datetime

    def session_name(self, number: int) -> str:
        """Returns the name of a round's session."""
        return f"{self.trial}-{number}"

    def resource_name(self, part: str) -> str:
        """Returns the name of a role or policy: `leastpriv-0a1b2c3d4e5f-20261103T091500-3`."""
        return f"{self.trial}-{self.started:%Y%m%dT%H%M%S}-{part}"

    def tags(self, now: datetime) -> list[dict[str, str]]:
        """Returns the tags for resources of a round."""
        until = (now + CREDENTIAL_LIFETIME).astimezone(UTC).isoformat(timespec="seconds")
        return [{"Key": _TRIAL_TAG, "Value": self.trial}, {"Key": _UNTIL_TAG, "Value": until}]


def has_trial_ended(tags: Mapping[str, str], now: datetime) -> bool:
    """Whether the trial that set these tags has ended; false without readable tags."""
    try:
        return datetime.fromisoformat(tags[_UNTIL_TAG]) < now
    except (KeyError, ValueError, TypeError):
        return False


def find_trial_resources(iam: Any, now: datetime) -> dict[str, bool]:
    """Returns the ARNs of roles and policies that trials have not removed, and whether the trial of
    each has ended.

    Roles are first, since policies are attached to them.
    """
    with translate_errors("looking for resources of earlier trials", "iam:ListRoles"):
        roles = [
            role["Arn"]
            for page in _pages(iam, "list_roles", PathPrefix=TRIAL_PATH)
            for role in page["Roles"]
        ]
        tagged_roles = [(arn, iam.list_role_tags(RoleName=arn.rpartition("/")[2])) for arn in roles]
    with translate_errors("looking for resources of earlier trials", "iam:ListPolicies"):
        pages = _pages(iam, "list_policies", Scope="Local", PathPrefix=TRIAL_PATH)
        policies = [policy["Arn"] for page in pages for policy in page["Policies"]]
        tagged_roles += [(arn, iam.list_policy_tags(PolicyArn=arn)) for arn in policies]
    return {
        arn: has_trial_ended({tag["Key"]: tag["Value"] for tag in answer["Tags"]}, now)
        for arn, answer in tagged_roles
    }


def remove_all(iam: Any, arns: Sequence[str]) -> list[str]:
    """Removes roles and policies, in this order; returns a sentence for each that remains. Raises
    no AwsError.
    """
    failures: list[str] = []
    for arn in arns:
        try:
            if ":role/" in arn:
                remove_role(iam, arn.rpartition("/")[2])
            else:
                remove_policy(iam, arn)
        except LeastprivError as error:
            failures.append(f"{arn} is still there: {error}")
    return failures


def remove_role(iam: Any, name: str) -> None:
    """Removes a role with its inline policies and detaches managed ones; a missing role is no
    error.

    Raises AwsError where the role remains.
    """
    # A missing policy, such as one that is still listed, does not mean that the role is missing.
    missing = iam.exceptions.NoSuchEntityException
    with translate_errors(f"removing the temporary role {name}", "iam:DeleteRole"):
        with suppress(missing):
            for page in _pages(iam, "list_role_policies", RoleName=name):
                for policy in page["PolicyNames"]:
                    with suppress(missing):
                        iam.delete_role_policy(RoleName=name, PolicyName=policy)
        with suppress(missing):
            for page in _pages(iam, "list_attached_role_policies", RoleName=name):
                for attached in page["AttachedPolicies"]:
                    detach(iam, name, attached["PolicyArn"])
        with suppress(missing):
            iam.delete_role(RoleName=name)


def detach(iam: Any, role: str, arn: str) -> None:
    """Detaches a managed policy from a role, if it is attached."""
    with suppress(iam.exceptions.NoSuchEntityException):
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)


def remove_policy(iam: Any, arn: str) -> None:
    """Removes a managed policy that is attached to nothing; a missing policy is no error; raises
    AwsError.
    """
    with (
        translate_errors(f"removing the temporary policy {arn}", "iam:DeletePolicy"),
        suppress(iam.exceptions.NoSuchEntityException),
    ):
        iam.delete_policy(PolicyArn=arn)


def _pages(iam: Any, operation: str, **parameters: str) -> Iterator[dict[str, Any]]:
    # All pages first: a removal in between must not shift the rest.
    yield from list(iam.get_paginator(operation).paginate(**parameters))
