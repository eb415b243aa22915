"""Roles and policies of trials: found by their path, removed whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from leastpriv.errors import LeastprivError
from leastpriv.evidence.aws_errors import explained
from leastpriv.trial.marks import PATH, Here, LeftOver, is_dead


def left_overs(iam: Any, now: datetime, here: Here) -> list[LeftOver]:
    """All that trials have made and not removed, roles first, since they hold the policies.

    Raises:
        AwsError: the account cannot be asked.
    """
    with explained("looking for what an earlier trial left", "iam:ListRoles"):
        roles = [role["Arn"] for page in _pages(iam, "list_roles", PathPrefix=PATH) for role in page["Roles"]]
        tags = [_tags(iam.list_role_tags(RoleName=arn.rpartition("/")[2])) for arn in roles]
    found = [LeftOver("role", arn, is_dead(own, now, here)) for arn, own in zip(roles, tags, strict=True)]
    with explained("looking for what an earlier trial left", "iam:ListPolicies"):
        pages = _pages(iam, "list_policies", Scope="Local", PathPrefix=PATH)
        policies = [policy["Arn"] for page in pages for policy in page["Policies"]]
        tags = [_tags(iam.list_policy_tags(PolicyArn=arn)) for arn in policies]
    return found + [LeftOver("policy", arn, is_dead(own, now, here)) for arn, own in zip(policies, tags, strict=True)]


def removed(iam: Any, what: Sequence[LeftOver]) -> list[str]:
    """Removes roles and policies; a sentence for each that is still there. Never raises for what AWS answers."""
    ordered = sorted(what, key=lambda one: one.kind, reverse=True)
    return all_removed(
        (one.arn, partial(remove_role, iam, one.name) if one.kind == "role" else partial(remove_policy, iam, one.arn))
        for one in ordered
    )


def all_removed(steps: Iterable[tuple[str, Callable[[], None]]]) -> list[str]:
    """Does every step; a sentence, with the ARN that it is about, for each that failed."""
    failures: list[str] = []
    for arn, remove in steps:
        try:
            remove()
        except LeastprivError as error:
            failures.append(f"{arn} is still there: {error}")
    return failures


def remove_role(iam: Any, name: str) -> None:
    """Removes a role with its inline policies; managed ones are taken off it. One that is gone is no error.

    Raises:
        AwsError: it is still there.
    """
    # What is missing on the way, such as a policy that is listed still, does not mean that the role is.
    missing = iam.exceptions.NoSuchEntityException
    with explained(f"removing the temporary role {name}", "iam:DeleteRole"):
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
    """Takes a managed policy off a role, if it is on it."""
    with suppress(iam.exceptions.NoSuchEntityException):
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)


def remove_policy(iam: Any, arn: str) -> None:
    """Removes a managed policy that nothing uses. One that is gone is no error.

    Raises:
        AwsError: it is still there.
    """
    with (
        explained(f"removing the temporary policy {arn}", "iam:DeletePolicy"),
        suppress(iam.exceptions.NoSuchEntityException),
    ):
        iam.delete_policy(PolicyArn=arn)


def _pages(iam: Any, operation: str, **parameters: str) -> Iterator[dict[str, Any]]:
    # All pages first: what is removed meanwhile must not shift the rest.
    yield from list(iam.get_paginator(operation).paginate(**parameters))


def _tags(answer: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in answer["Tags"]}
