"""One name of the next run opens the words of its copy, and nothing of another app."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions.generalize import ObservedResource
from leastpriv.permissions.names.next_run import read_next_run
from leastpriv.permissions.names.observed import NameUse
from leastpriv.permissions.patterns import resource_covers

HERE = "eu-west-1:111122223333"
QUEUE = f"arn:aws:sqs:{HERE}:"
TABLE = f"arn:aws:dynamodb:{HERE}:table/"


def use(action: str, resource: str, *, creates: bool = True) -> NameUse:
    destroys = ":Delete" in action
    return NameUse(action, resource, ("run",), creates=creates and not destroys, destroys=destroys)


def resources(earlier: list[NameUse], later: NameUse, of: NameUse) -> list[str]:
    names = read_next_run(earlier, later)
    if names is None:
        return [of.resource]
    patterns, other_resources = names.resources_of(of.action, [ObservedResource(of.resource)])
    return [pattern.pattern for pattern in patterns] + [
        resource.resource for resource in other_resources
    ]


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ("shop-pr-31-orders", "shop-pr-32-orders", "shop-pr-*-orders"),
        ("shop-a1b2c3-orders", "shop-d4e5f6-orders", "shop-*-orders"),
        ("pr-31-shop-orders", "pr-32-shop-orders", "pr-*-shop-orders"),
        (
            "shop-pr-31/shop-pr-31-orders",
            "shop-pr-32/shop-pr-32-orders",
            "shop-pr-*/shop-pr-*-orders",
        ),
        ("shop-pr-31/api-7-orders", "shop-pr-32/api-8-orders", "shop-pr-32/api-8-orders"),
        ("shop-login-orders", "shop-search-orders", "shop-search-orders"),
        ("orders", "users", "users"),
    ],
)
def test_a_name_of_the_next_run_opens_its_word(earlier: str, later: str, expected: str) -> None:
    create = use("sqs:CreateQueue", f"{QUEUE}{later}")
    written_names = resources([use("sqs:CreateQueue", f"{QUEUE}{earlier}")], create, create)
    assert written_names == [f"{QUEUE}{expected}"]


def test_a_short_number_is_open_in_its_own_name_alone() -> None:
    queue = use("sqs:CreateQueue", f"{QUEUE}orders-1")
    table = use("dynamodb:CreateTable", f"{TABLE}carts-1")
    later = use("sqs:CreateQueue", f"{QUEUE}orders-2")
    assert resources([queue, table], later, later) == [f"{QUEUE}orders-*"]
    assert resources([queue, table], later, table) == [table.resource]


def test_a_deletion_in_production_stays_exact_after_a_preview() -> None:
    production = [
        use("sqs:CreateQueue", f"{QUEUE}shop-prod-orders"),
        use("dynamodb:CreateTable", f"{TABLE}shop-prod-carts"),
        use("lambda:CreateFunction", f"arn:aws:lambda:{HERE}:function:shop-prod-api"),
    ]
    deletion = use("dynamodb:DeleteTable", f"{TABLE}shop-prod-carts")
    later = use("sqs:CreateQueue", f"{QUEUE}shop-login-orders")
    assert f"{QUEUE}shop-*-orders" in resources([*production, deletion], later, later)
    assert resources([*production, deletion], later, deletion) == [deletion.resource]


WORD = st.sampled_from(["prod", "qa", "pr-31", "pr-32", "shop", "orders", "*", "Api", "7", "a1b2"])
NAME = st.lists(WORD, min_size=1, max_size=4).map("-".join)


@given(st.sampled_from([QUEUE, TABLE, "arn:aws:s3:::"]), NAME, NAME)
def test_the_next_run_opens_no_whole_name(head: str, earlier: str, later: str) -> None:
    action = {QUEUE: "sqs:CreateQueue", TABLE: "dynamodb:CreateTable"}.get(head, "s3:CreateBucket")
    creation = use(action, head + later)
    written_names = resources([use(action, head + earlier)], creation, creation)
    assert any(resource_covers(pattern, creation.resource) for pattern in written_names)
    assert head + "*" not in written_names or later == "*"
