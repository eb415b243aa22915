"""Names of IAM's roles and users: the path that one call shows counts for the others that give the
name alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from leastpriv.evidence.collector import UsageCollector
from leastpriv.models import Call, Outcome
from tests.fakes.calls import a_call

HERE = "arn:aws:iam::111122223333"
POLICY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


def resources(*calls: Call) -> Mapping[str, list[str]]:
    """Action -> its resources in the evidence; usages and groups have to agree."""
    book = UsageCollector(calls[0].principal)
    for call in calls:
        book.note(call)
    evidence = book.close()
    assert {usage.need for usage in evidence.usages} == {
        need for group in evidence.groups for need in group.needs
    }
    assert sum(group.count for group in evidence.groups) == len(calls)
    resources_by_action: dict[str, list[str]] = {}
    for usage in evidence.usages:
        resources_by_action.setdefault(usage.need.permission.action, []).append(
            usage.need.permission.resource
        )
    return resources_by_action


def attach(name: str = "deployer") -> Call:
    return a_call("iam:AttachRolePolicy", {"roleName": name, "policyArn": POLICY})


def create(path: str | None, **fields: object) -> Call:
    return a_call(
        "iam:CreateRole", {"roleName": "deployer"} | ({"path": path} if path else {}), **fields
    )  # type: ignore[arg-type]


def test_a_path_that_created_the_role_counts_for_calls_by_name() -> None:
    """In whatever order the records come."""
    for calls in ([create("/ci/"), attach()], [attach(), create("/ci/")]):
        assert resources(*calls)["iam:AttachRolePolicy"] == [f"{HERE}:role/ci/deployer"]


@pytest.mark.parametrize(
    ("making", "using", "resource"),
    [
        ("CreateUser userName", "CreateAccessKey userName", "user/ci/x"),
        ("CreateGroup groupName", "DeleteGroup groupName", "group/ci/x"),
        (
            "CreateInstanceProfile instanceProfileName",
            "DeleteInstanceProfile instanceProfileName",
            "instance-profile/ci/x",
        ),
    ],
)
def test_users_groups_and_instance_profiles_are_alike(
    making: str, using: str, resource: str
) -> None:
    (create_event, creation_key), (event, use_key) = making.split(), using.split()
    by_action = resources(
        a_call(f"iam:{create_event}", {creation_key: "x", "path": "/ci/"}),
        a_call(f"iam:{event}", {use_key: "x"}),
    )
    assert by_action[f"iam:{event}"] == [f"{HERE}:{resource}"]


def test_a_path_in_the_arn_of_a_role_that_was_passed_counts_too() -> None:
    passed = a_call(
        "lambda:UpdateFunctionConfiguration",
        {"functionName": "f", "role": f"{HERE}:role/ci/deployer"},
    )
    assert resources(passed, attach())["iam:AttachRolePolicy"] == [f"{HERE}:role/ci/deployer"]


@pytest.mark.parametrize(
    "others",
    [
        [],
        [create(None)],
        [create(None), create("/ci/")],
        [create("/ci/"), create("/team/")],
        [create("/ci/", error_code="EntityAlreadyExists")],
        [create("/ci/", error_code="ValidationError", outcome=Outcome.UNKNOWN)],
    ],
    ids=[
        "nothing",
        "made without one",
        "made with and without",
        "two paths",
        "made in vain",
        "no answer",
    ],
)
def test_without_one_certain_path_the_name_is_unchanged(others: list[Call]) -> None:
    assert resources(*others, attach())["iam:AttachRolePolicy"] == [f"{HERE}:role/deployer"]


def test_other_names_and_creating_calls_are_unchanged() -> None:
    by_action = resources(create("/ci/"), attach("other"))
    assert by_action["iam:AttachRolePolicy"] == [f"{HERE}:role/other"]
    assert by_action["iam:CreateRole"] == [f"{HERE}:role/ci/deployer"]
