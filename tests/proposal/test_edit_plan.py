"""Edits go into a statement that fits, all others into a new one, and grant only the listed
changes.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from leastpriv.models import ChangeKind, Condition, Permission
from leastpriv.policy.containment import check_containment
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import apply_edits
from leastpriv.proposal.edit_plan import plan_edits
from leastpriv.proposal.models import Change
from tests.fakes.replace import replace

QUEUE, OTHER = (f"arn:aws:sqs:eu-west-1:111122223333:{name}" for name in ("orders", "payments"))
CONDITION = {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}
SEND = {"Sid": "Send", "Effect": "Allow", "Action": ["sqs:SendMessage"], "Resource": QUEUE}


def document(*statements: dict[str, Any]) -> Document:
    return parse(
        json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, indent=2).encode(),
        "p.json",
    )


def add(action: str, *resources: str) -> Change:
    return Change(ChangeKind.ADD, action, resources)


def placed(committed: Document, *changes: Change) -> list[dict[str, Any]]:
    return list(
        json.loads(apply_edits(committed, plan_edits(committed, changes)).text)["Statement"]
    )


def test_an_addition_goes_into_the_statement_with_the_same_resources() -> None:
    assert placed(document(SEND), add("sqs:CreateQueue", QUEUE)) == [
        {**SEND, "Action": ["sqs:SendMessage", "sqs:CreateQueue"]}
    ]


def test_an_additional_resource_goes_into_the_statement_with_the_same_actions() -> None:
    two_actions = {**SEND, "Action": ["sqs:SendMessage", "sqs:GetQueueUrl"]}
    statements = placed(
        document(two_actions), add("sqs:SendMessage", OTHER), add("sqs:GetQueueUrl", OTHER)
    )
    assert statements == [{**two_actions, "Resource": [QUEUE, OTHER]}]


def test_an_additional_resource_for_one_of_several_actions_gets_a_new_statement() -> None:
    two_actions = {**SEND, "Action": ["sqs:SendMessage", "sqs:GetQueueUrl"]}
    statements = placed(document(two_actions), add("sqs:SendMessage", OTHER))
    assert [statement["Sid"] for statement in statements] == ["Send", "AllowSqsSendMessage"]
    assert statements[0] == two_actions


def test_no_condition_is_widened_and_no_deny_or_not_action_takes_an_addition() -> None:
    unfit = (
        {**SEND, "Condition": CONDITION},
        {**SEND, "Sid": "Never", "Effect": "Deny"},
        {"Sid": "Not", "Effect": "Allow", "NotAction": "iam:*", "Resource": QUEUE},
        {"Sid": "Else", "Effect": "Allow", "Action": ["sqs:SendMessage"], "NotResource": QUEUE},
    )
    for statement in unfit:
        statements = placed(
            document(statement), add("sqs:CreateQueue", QUEUE), add("sqs:SendMessage", OTHER)
        )
        assert statements[0] == statement
        assert [added_statement["Sid"] for added_statement in statements[1:]] == [
            "AllowSqsCreateQueue",
            "AllowSqsSendMessage",
        ]


def test_an_addition_under_a_condition_goes_into_the_statement_with_the_same_one() -> None:
    region = Condition("StringEquals", "aws:RequestedRegion", ("eu-west-1",))
    change = replace(add("sqs:CreateQueue", QUEUE), conditions=(region,))
    conditioned = {**SEND, "Condition": {"StringEquals": {"AWS:RequestedRegion": ["eu-west-1"]}}}
    assert placed(document(SEND, conditioned), change)[1]["Action"] == [
        "sqs:SendMessage",
        "sqs:CreateQueue",
    ]
    conditioned_like = {**SEND, "Condition": {"StringLike": {"aws:RequestedRegion": ["eu-west-1"]}}}
    statements = placed(document(SEND, conditioned_like), change)
    assert statements[:2] == [SEND, conditioned_like]
    assert statements[2]["Sid"] == "AllowSqsCreateQueue"


def test_a_grant_that_leaves_its_statement_keeps_the_condition() -> None:
    grant = {
        "Sid": "Wide",
        "Effect": "Allow",
        "Action": ["sqs:*", "sqs:ListQueues"],
        "Resource": "*",
        "Condition": CONDITION,
    }
    narrowed = Change(
        ChangeKind.NARROW, "sqs:*", ("*",), 0, replacement=("sqs:SendMessage", "sqs:ListQueues")
    )
    moved = Change(ChangeKind.NARROW, "sqs:SendMessage", ("*",), 0, restricted_to=(QUEUE,))
    statements = placed(document(grant), narrowed, moved)
    assert statements[0] == {**grant, "Action": ["sqs:ListQueues"]}
    sid = "AllowSqsSendMessage"
    assert statements[1] == {
        **SEND,
        "Sid": sid,
        "Resource": QUEUE,
        "Action": ["sqs:SendMessage"],
        "Condition": CONDITION,
    }


def test_a_statement_without_actions_on_all_resources_remains_with_the_used_resources() -> None:
    grant = {
        "Sid": "Wide",
        "Effect": "Allow",
        "Action": ["sqs:SendMessage", "sqs:PurgeQueue"],
        "Resource": ["*"],
    }
    moved = Change(ChangeKind.NARROW, "sqs:SendMessage", ("*",), 0, restricted_to=(QUEUE, OTHER))
    gone = Change(ChangeKind.REMOVE, "sqs:PurgeQueue", ("*",), 0)
    assert placed(document(grant), moved, gone) == [
        {**grant, "Action": ["sqs:SendMessage"], "Resource": [QUEUE, OTHER]}
    ]


def test_a_moved_grant_survives_the_removal_of_its_statement() -> None:
    grant = {
        "Sid": "Wide",
        "Effect": "Allow",
        "Action": ["sqs:SendMessage", "sqs:ListQueues"],
        "Resource": "*",
    }
    purge = {"Sid": "Purge", "Effect": "Allow", "Action": "sqs:PurgeQueue", "Resource": QUEUE}
    moved = Change(ChangeKind.NARROW, "sqs:SendMessage", ("*",), 0, restricted_to=(QUEUE,))
    gone = Change(ChangeKind.REMOVE, "sqs:PurgeQueue", (QUEUE,), 1)
    statements = placed(document(grant, purge), moved, gone)
    assert statements == [
        {**grant, "Action": ["sqs:ListQueues"]},
        {**purge, "Action": "sqs:SendMessage"},
    ]


def test_an_action_that_leaves_two_statements_is_written_once() -> None:
    grant = {
        "Sid": "Wide",
        "Effect": "Allow",
        "Action": ["SQS:sendmessage", "sqs:ListQueues"],
        "Resource": "*",
    }
    also = {
        "Sid": "Also",
        "Effect": "Allow",
        "Action": ["sqs:Send*", "sqs:GetQueueUrl"],
        "Resource": "*",
    }
    narrowed = Change(
        ChangeKind.NARROW,
        "SQS:sendmessage",
        ("*",),
        0,
        used=("sqs:SendMessage",),
        restricted_to=(QUEUE,),
    )
    narrowed_wildcard = Change(
        ChangeKind.NARROW, "sqs:Send*", ("*",), 1, replacement=("sqs:SendMessage",)
    )
    moved = Change(ChangeKind.NARROW, "sqs:SendMessage", ("*",), 1, restricted_to=(QUEUE,))
    statements = placed(document(grant, also), narrowed, narrowed_wildcard, moved)
    assert [statement["Sid"] for statement in statements] == ["Wide", "Also", "AllowSqsSendMessage"]
    assert [statement["Action"] for statement in statements] == [
        ["sqs:ListQueues"],
        ["sqs:GetQueueUrl"],
        ["sqs:SendMessage"],
    ]


def test_an_action_in_unusual_case_remains_as_written() -> None:
    grant = {"Sid": "Wide", "Effect": "Allow", "Action": ["SQS:sendmessage"], "Resource": "*"}
    narrowed = Change(
        ChangeKind.NARROW,
        "SQS:sendmessage",
        ("*",),
        0,
        used=("sqs:SendMessage",),
        restricted_to=(QUEUE,),
    )
    assert placed(document(grant), narrowed) == [{**grant, "Resource": QUEUE}]


def test_a_not_action_becomes_an_action() -> None:
    statement = {"Sid": "All", "Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*"}
    change = Change(
        ChangeKind.NARROW,
        "NotAction: iam:*",
        ("*",),
        0,
        replacement=("sqs:CreateQueue", "sqs:ListQueues"),
    )
    assert placed(document(statement), change) == [
        {
            "Sid": "All",
            "Effect": "Allow",
            "Action": ["sqs:CreateQueue", "sqs:ListQueues"],
            "Resource": "*",
        }
    ]


def test_an_action_in_two_spellings_is_removed_in_both() -> None:
    two_spellings = {**SEND, "Action": ["sqs:PurgeQueue", "sqs:SendMessage", "SQS:purgequeue"]}
    gone = Change(ChangeKind.REMOVE, "sqs:PurgeQueue", (QUEUE,), 0)
    assert placed(document(two_spellings), gone) == [SEND]


def test_an_addition_replaces_the_last_removed_action() -> None:
    gone = Change(ChangeKind.REMOVE, "sqs:SendMessage", (QUEUE,), 0)
    assert placed(document(SEND), gone, add("sqs:CreateQueue", QUEUE)) == [
        {**SEND, "Action": ["sqs:CreateQueue"]}
    ]
    second_statement = {**SEND, "Sid": "Other", "Action": ["sqs:GetQueueUrl"]}
    assert placed(document(SEND, second_statement), gone, add("sqs:CreateQueue", QUEUE)) == [
        {**second_statement, "Action": ["sqs:GetQueueUrl", "sqs:CreateQueue"]}
    ]


def test_statements_that_become_equal_are_merged() -> None:
    not_action = {"Sid": "Most", "Effect": "Allow", "NotAction": "iam:*", "Resource": QUEUE}
    all_actions = {"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": QUEUE}
    becomes = ("sqs:CreateQueue", "sqs:SendMessage")
    narrowed_not_action = Change(
        ChangeKind.NARROW, "NotAction: iam:*", (QUEUE,), 0, replacement=becomes
    )
    narrowed_wildcard = Change(ChangeKind.NARROW, "*", (QUEUE,), 1, replacement=becomes)
    statements = placed(document(not_action, all_actions), narrowed_not_action, narrowed_wildcard)
    assert statements == [
        {"Sid": "Most", "Effect": "Allow", "Action": [*becomes], "Resource": QUEUE}
    ]
    under = {**all_actions, "Condition": CONDITION}
    assert [
        statement["Sid"]
        for statement in placed(document(not_action, under), narrowed_not_action, narrowed_wildcard)
    ] == ["Most", "All"]


def test_a_condition_with_a_key_in_two_spellings_differs_from_either() -> None:
    region = Condition("StringEquals", "aws:RequestedRegion", ("eu-west-1",))
    change = replace(add("sqs:CreateQueue", QUEUE), conditions=(region,))
    twice = {
        "StringEquals": {"aws:RequestedRegion": "us-east-1", "AWS:requestedregion": "eu-west-1"}
    }
    statements = placed(document({**SEND, "Condition": twice}), change)
    assert [statement["Sid"] for statement in statements] == ["Send", "AllowSqsCreateQueue"]


def in_template(text: str, *changes: Change, name: str = "t.yaml") -> str:
    committed = parse(text.encode(), name, "/Role/Policy", {"AWS::AccountId": "111122223333"})
    edited = apply_edits(committed, plan_edits(committed, changes)).text
    assert parse(
        edited.encode(), name, "/Role/Policy", {"AWS::AccountId": "111122223333"}
    ).statements
    return edited


def test_an_addition_is_not_written_next_to_a_multi_line_function() -> None:
    """The CDK writes its templates like this."""
    resource = {"Fn::Sub": "arn:aws:sqs:eu-west-1:${AWS::AccountId}:orders"}
    policy = {"Statement": [{**SEND, "Resource": resource}], "Version": "2012-10-17"}
    text = json.dumps({"Role": {"Policy": policy}}, indent=1)
    edited_policy = json.loads(
        in_template(text, add("sqs:SendMessage", OTHER), name="t.template.json")
    )["Role"]["Policy"]
    assert edited_policy["Statement"][0] == policy["Statement"][0]  # type: ignore[index]
    assert edited_policy["Statement"][1]["Resource"] == OTHER


TEMPLATE = """Role:
  Policy:
    Version: '2012-10-17'
    Statement:
      - Effect: Allow
        Action: [sqs:GetQueueUrl, sqs:TagQueue]
        Resource: ["arn:aws:sqs:eu-west-1:111122223333:a", "arn:aws:sqs:eu-west-1:111122223333:b"]
      - Effect: Allow
        Action: ACTION
        Resource: !Sub arn:aws:sqs:eu-west-1:${AWS::AccountId}:orders
"""


def test_an_addition_is_not_written_next_to_a_terraform_expression_that_may_be_a_list() -> None:
    statement = {**SEND, "Resource": "${var.queues}"}
    committed = parse(json.dumps({"Statement": [statement]}).encode(), "main.tf.json")
    statements = json.loads(
        apply_edits(committed, plan_edits(committed, [add("sqs:SendMessage", OTHER)])).text
    )["Statement"]
    assert (statements[0], statements[1]["Resource"]) == (statement, OTHER)


def test_an_addition_is_not_written_next_to_a_function_that_may_be_a_list() -> None:
    text = TEMPLATE.replace("ACTION", "!Ref Actions")
    template = in_template(text, add("sqs:SendMessage", QUEUE))
    assert template.startswith(text)
    assert "AllowSqsSendMessage" in template


def test_a_function_that_moves_into_a_list_is_quoted() -> None:
    template = in_template(
        TEMPLATE.replace("ACTION", "sqs:SendMessage"), add("sqs:SendMessage", OTHER)
    )
    assert (
        f"Resource: [!Sub 'arn:aws:sqs:eu-west-1:${{AWS::AccountId}}:orders', {OTHER}]"
        in template.replace('"', "")
    )


NAMES = st.lists(
    st.sampled_from(["sqs:SendMessage", "sqs:CreateQueue", "sns:Publish"]), min_size=1, max_size=3
)
PLACES = st.lists(
    st.sampled_from([QUEUE, OTHER, "arn:aws:sns:eu-west-1:111122223333:t"]), min_size=1, max_size=2
)
STATEMENTS = st.lists(
    st.builds(
        lambda effect, names, places, condition: {
            "Effect": effect,
            "Action": names,
            "Resource": places,
            **({"Condition": CONDITION} if condition else {}),
        },
        st.sampled_from(["Allow", "Allow", "Deny"]),
        NAMES,
        PLACES,
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)
ADDED = st.lists(
    st.builds(lambda name, on: add(name, *dict.fromkeys(on)), NAMES.map(lambda n: n[0]), PLACES),
    max_size=5,
)


@given(STATEMENTS, ADDED)
def test_the_edited_policy_allows_the_committed_access_and_the_listed_additions_only(
    statements: list[dict[str, Any]], changes: list[Change]
) -> None:
    committed = document(*statements)
    edited = apply_edits(committed, plan_edits(committed, changes))
    permissions = [
        Permission(change.action, resource) for change in changes for resource in change.resources
    ]
    assert check_containment([committed], [edited], permissions).excesses == ()
    assert check_containment([edited], [committed]).excesses == ()
    allowing = document(
        *(
            statement
            for statement in json.loads(edited.text)["Statement"]
            if statement["Effect"] == "Allow"
        )
    )
    granting = document(
        *({"Effect": "Allow", "Action": p.action, "Resource": p.resource} for p in permissions)
    )
    assert check_containment([allowing], [granting]).excesses == ()
    denies = [
        statement
        for statement in json.loads(edited.text)["Statement"]
        if statement["Effect"] == "Deny"
    ]
    assert denies == [statement for statement in statements if statement["Effect"] == "Deny"]
