"""Additions grant only the listed actions and resources, and sensitive ones need exact evidence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from leastpriv.evidence.models import Evidence
from leastpriv.models import (
    Basis,
    ChangeKind,
    Denial,
    DeniedBy,
    Need,
    Outcome,
    Permission,
    Run,
    Usage,
)
from leastpriv.proposal.additions import additions
from leastpriv.proposal.edit_plan import new_statements
from leastpriv.proposal.models import Change, Decline, History, Options, addition_id
from tests.fakes.deploys import ROLE
from tests.fakes.replace import replace

TIME = datetime(2026, 11, 3, tzinfo=UTC)
EVIDENCE = Evidence(ROLE, regions=("eu-west-1",))
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
NAMES = st.sampled_from(
    ["sqs:SendMessage", "sqs:CreateQueue", "s3:PutObject", "execute-api:Invoke", "ec2:RunInstances"]
)
RESOURCES = st.lists(
    st.sampled_from(["arn:a", "arn:b", "arn:c", "*"]), min_size=1, max_size=3, unique=True
)
CHANGES = st.lists(
    st.builds(lambda name, on: Change(ChangeKind.ADD, name, tuple(on)), NAMES, RESOURCES),
    max_size=8,
)
SIDS = st.lists(
    st.sampled_from(["AllowSqs", "allowsqs", "AllowSqsSendMessage", "AllowSqsSendMessage2", ""])
)


def usage(
    action: str, resource: str, *, denied_by: DeniedBy | None = None, **need: object
) -> Usage:
    """One usage; a denial if `denied_by` is given, which a policy can fix if no identity-based
    policy allowed it.
    """
    basis = Basis.DENIED if denied_by else Basis.OBSERVED
    mendable = denied_by is DeniedBy.IDENTITY
    denial = Denial((action,), resource, ROLE, denied_by, False, mendable) if denied_by else None
    needed_permission = structs.replace(
        Need(Permission(action, resource), basis, "from the record"), **need
    )  # type: ignore[arg-type]
    outcome = Outcome.DENIED if denied_by else Outcome.ALLOWED
    return Usage(
        needed_permission, outcome, 1, TIME, TIME, ("17650001",), ("e",), ("eu-west-1",), denial
    )


def pairs(made: list[Mapping[str, object]]) -> set[tuple[str, str]]:
    return {
        (action, resource)
        for statement in made
        for action in statement["Action"]
        for resource in statement["Resource"]
    }  # type: ignore[attr-defined]


@given(CHANGES, SIDS)
def test_statements_grant_exactly_the_listed_actions_and_resources(
    changes: list[Change], taken: list[str]
) -> None:
    statements = new_statements(changes, taken)
    assert pairs(statements) == {
        (change.action, resource) for change in changes for resource in change.resources
    }
    assert all(
        list(statement) == ["Sid", "Effect", "Action", "Resource"]
        and statement["Effect"] == "Allow"
        for statement in statements
    )


@given(CHANGES, SIDS)
def test_sids_are_letters_and_digits_and_unique_in_any_case(
    changes: list[Change], taken: list[str]
) -> None:
    sids = [str(statement["Sid"]) for statement in new_statements(changes, taken)]
    assert all(sid.isalnum() and sid.isascii() for sid in sids)
    assert len({*map(str.lower, sids)}) == len(sids)
    assert not {*map(str.lower, sids)} & {*map(str.lower, taken)}


@pytest.mark.parametrize(
    ("actions", "sid"),
    [
        (["sqs:SendMessage"], "AllowSqsSendMessage"),
        (["sqs:SendMessage", "sqs:CreateQueue"], "AllowSqs"),
        (["execute-api:Invoke", "sqs:SendMessage"], "AllowExecuteApiSqs"),
    ],
)
def test_a_sid_describes_its_statement(actions: list[str], sid: str) -> None:
    statements = new_statements(
        [Change(ChangeKind.ADD, action, ("arn:a",)) for action in actions], ()
    )
    assert [statement["Sid"] for statement in statements] == [sid]


def test_actions_on_the_same_resources_share_a_statement() -> None:
    changes = [
        Change(ChangeKind.ADD, "sqs:SendMessage", ("arn:b", "arn:a")),
        Change(ChangeKind.ADD, "sqs:CreateQueue", ("arn:a", "arn:b")),
        Change(ChangeKind.ADD, "sqs:PurgeQueue", ("arn:a",)),
    ]
    assert [statement["Action"] for statement in new_statements(changes, ())] == [
        ["sqs:CreateQueue", "sqs:SendMessage"],
        ["sqs:PurgeQueue"],
    ]


def add(*usages: Usage, **options: object) -> tuple[list[tuple[str, tuple[str, ...]]], list[str]]:
    """(action, resources) of the additions, and guards of what is held back."""
    changes, refused = additions(usages, EVIDENCE, replace(Options(), **options), History())  # type: ignore[arg-type]
    return [(change.action, change.resources) for change in changes], [
        held_back.guard_result.guard for held_back in refused
    ]


@pytest.mark.parametrize(
    ("number", "reason"),
    [(4, "it was declined in #4"), (0, "it was declined by a commit that reverts it")],
)
def test_a_declined_addition_is_held_back(number: int, reason: str) -> None:
    history = History(declined={addition_id("sqs:PurgeQueue", QUEUE): Decline(number)})
    changes, refused = additions([usage("sqs:PurgeQueue", QUEUE)], EVIDENCE, Options(), history)
    assert changes == []
    assert [held_back.guard_result.reason for held_back in refused] == [reason]


def test_an_action_that_was_used_or_that_a_grant_fixes_is_added_on_its_resource() -> None:
    refused = usage("sqs:CreateQueue", QUEUE, denied_by=DeniedBy.IDENTITY)
    added = [("sqs:PurgeQueue", (QUEUE,)), ("sqs:CreateQueue", (QUEUE,))]
    assert add(usage("sqs:PurgeQueue", QUEUE), refused) == (added, [])


@pytest.mark.parametrize("who", [who for who in DeniedBy if who is not DeniedBy.IDENTITY])
def test_a_denial_by_another_policy_type_is_reported_and_adds_nothing(who: DeniedBy) -> None:
    changes, refused = additions(
        [usage("sqs:CreateQueue", QUEUE, denied_by=who)], EVIDENCE, Options(), History()
    )
    assert changes == []
    assert [held_back.guard_result.guard for held_back in refused] == ["not-mendable"]
    assert refused[0].guard_result.reason


@pytest.mark.parametrize("pattern", ["sqs:CreateQueue", "sqs:*", "SQS:create*", "*"])
def test_an_action_of_never_add_is_not_added(pattern: str) -> None:
    assert add(usage("sqs:CreateQueue", QUEUE), never_add=(pattern,)) == ([], ["forbidden"])


def test_an_unknown_action_is_added_only_if_aws_names_it() -> None:
    assert add(usage("sqs:DoTomorrow", QUEUE, verified=False)) == ([], ["unverified-action"])
    usage_of_unknown = usage("sqs:DoTomorrow", "*", denied_by=DeniedBy.IDENTITY, verified=False)
    assert [action for action, _ in add(usage_of_unknown)[0]] == ["sqs:DoTomorrow"]


def test_a_resource_of_another_type_is_not_added() -> None:
    assert add(usage("sqs:CreateQueue", "arn:aws:s3:::shop/key")) == ([], ["resource-type"])


@pytest.mark.parametrize(
    ("resource", "need"),
    [
        ("*", {}),
        ("arn:aws:iam::111122223333:role/*", {}),
        ("arn:aws:iam::111122223333:role/orders", {"exact": False}),
    ],
)
@pytest.mark.parametrize("action", ["iam:PassRole", "iam:CreateRole", "sts:AssumeRole"])
def test_a_sensitive_action_is_added_only_on_an_exact_resource(
    action: str, resource: str, need: dict[str, Any]
) -> None:
    assert add(usage(action, resource, **need)) == ([], ["sensitive"])


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        (
            "secretsmanager:GetSecretValue",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:orders/db-??????",
        ),
        (
            "cloudformation:SetStackPolicy",
            "arn:aws:cloudformation:eu-west-1:111122223333:stack/orders/*",
        ),
        ("logs:PutResourcePolicy", "*"),
    ],
)
def test_a_sensitive_action_is_added_where_aws_alone_chooses_what_its_resource_leaves_open(
    action: str, resource: str
) -> None:
    changes, refused = additions(
        [usage(action, resource, exact=resource == "*")], EVIDENCE, Options(), History()
    )
    assert refused == []
    assert [(change.action, change.resources, bool(change.security)) for change in changes] == [
        (action, (resource,), True)
    ]


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        (
            "secretsmanager:GetSecretValue",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:orders/*-??????",
        ),
        (
            "ec2:CreateNetworkInterfacePermission",
            "arn:aws:ec2:eu-west-1:111122223333:network-interface/*",
        ),
    ],
)
def test_a_sensitive_action_is_not_added_where_no_part_of_its_resource_is_named(
    action: str, resource: str
) -> None:
    assert add(usage(action, resource, exact=False)) == ([], ["sensitive"])


def test_a_sensitive_action_is_added_for_a_security_reviewer_on_its_exact_resource() -> None:
    roles = [f"arn:aws:iam::111122223333:role/orders/{number}{'a' * 31}" for number in range(3)]
    changes, refused = additions(
        [usage("iam:PassRole", role) for role in roles], EVIDENCE, Options(), History()
    )
    assert refused == []
    assert changes[0].resources == tuple(roles)
    assert changes[0].security


def test_a_resource_known_only_by_its_type_is_added_as_that_type_never_as_a_bare_wildcard() -> None:
    added, refused = add(usage("sqs:PurgeQueue", "*", exact=False))
    assert added == [("sqs:PurgeQueue", ("arn:aws:sqs:eu-west-1:111122223333:*",))]
    assert refused == []


def test_resources_are_generalized_by_default_and_exact_on_demand() -> None:
    keys = [f"arn:aws:s3:::shop/builds/{character * 64}.zip" for character in "ab"]
    usages = [usage("s3:PutObject", key) for key in keys]
    assert add(*usages)[0] == [("s3:PutObject", ("arn:aws:s3:::shop/builds/*.zip",))]
    assert add(*usages, exact_resources=True)[0] == [("s3:PutObject", tuple(keys))]


def test_the_strongest_of_several_bases_counts() -> None:
    usages = [
        usage("sqs:CreateQueue", QUEUE, denied_by=DeniedBy.IDENTITY),
        usage("sqs:CreateQueue", QUEUE),
    ]
    changes, _ = additions(usages, EVIDENCE, Options(), History())
    assert [change.basis for change in changes] == [Basis.OBSERVED]


def test_a_name_that_the_pattern_of_the_same_addition_covers_is_not_listed_too() -> None:
    kinds = {"sqs:CreateQueue": "sqs", "sns:CreateTopic": "sns", "dynamodb:CreateTable": "dynamodb"}
    names = {"sqs": "shop-%s", "sns": "shop-%s", "dynamodb": "table/shop-%s"}
    words = ("prod", "cart", "login", "one-two-three-four-five-six")
    usages = [
        replace(
            usage(action, f"arn:aws:{prefix}:eu-west-1:111122223333:{names[prefix] % word}"),
            runs=(word,),
            events=(f"{prefix}.amazonaws.com:{action.partition(':')[2]}",),
        )
        for action, prefix in kinds.items()
        for word in words
    ]
    days = (datetime(2026, 11, day, tzinfo=UTC) for day in range(1, len(words) + 1))
    runs = tuple(Run(word, word, day, day) for word, day in zip(words, days, strict=True))
    evidence = replace(EVIDENCE, usages=tuple(usages), runs=runs)
    added, _ = additions(usages, evidence, Options(), History())
    assert {(change.action, change.resources) for change in added} == {
        (action, (f"arn:aws:{prefix}:eu-west-1:111122223333:{names[prefix] % '*'}",))
        for action, prefix in kinds.items()
    }
