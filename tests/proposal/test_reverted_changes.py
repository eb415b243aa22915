"""What a policy grants though a proposal removed it, by whichever entry and resource it came back."""

from __future__ import annotations

import json

import pytest

from leastpriv.models import Permission
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.reverted_changes import missing_additions, restored_grants

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
QUEUES = "arn:aws:sqs:eu-west-1:111122223333:*"

Grants = list[tuple[object, str]]


def policy(grants: Grants, key: str = "Action") -> Document:
    statements = [
        {"Effect": "Allow", key: actions, "Resource": resource} for actions, resource in grants
    ]
    return parse(json.dumps({"Version": "2012-10-17", "Statement": statements}).encode(), "p.json")


@pytest.mark.parametrize(
    ("before", "proposed", "now", "restored"),
    [
        pytest.param(
            [("*", "*")],
            [("sqs:SendMessage", "*")],
            [("sqs:SendMessage", "*"), ("s3:DeleteBucket", "*")],
            {("s3:DeleteBucket", "*")},
            id="an action of a wildcard",
        ),
        pytest.param(
            [("sqs:*", "*")],
            [("sqs:SendMessage", "*")],
            [("sqs:SendMessage", "*"), ("sqs:PurgeQueue", QUEUE)],
            {("sqs:PurgeQueue", QUEUE)},
            id="on one of the resources",
        ),
        pytest.param(
            [("sqs:PurgeQueue", QUEUE), ("sqs:SendMessage", QUEUE)],
            [("sqs:SendMessage", QUEUE)],
            [("sqs:SendMessage", QUEUE), ("sqs:*", QUEUES)],
            {("sqs:PurgeQueue", QUEUE)},
            id="below a wider wildcard on more resources",
        ),
        pytest.param(
            [("sqs:Send*", QUEUE), ("sqs:PurgeQueue", QUEUE)],
            [("sqs:PurgeQueue", QUEUE)],
            [("sqs:PurgeQueue", QUEUE), ("sqs:*Message", QUEUE)],
            {("sqs:SendMessage", QUEUE)},
            id="below a wildcard that overlaps the removed one",
        ),
        pytest.param(
            [("sqs:*", QUEUE)],
            [("sqs:Send*", QUEUE)],
            [("sqs:SendMessage", QUEUE)],
            set(),
            id="what a later proposal narrowed further did not come back",
        ),
        pytest.param(
            [("sqs:*", "*")],
            [("sqs:SendMessage", "*")],
            [("sqs:SendMessage", QUEUE)],
            set(),
            id="a narrowed resource did not come back",
        ),
        pytest.param(
            [("sqs:PurgeQueue", QUEUE), ("sqs:PurgeQueue", QUEUES)],
            [("sqs:PurgeQueue", QUEUES)],
            [("sqs:PurgeQueue", QUEUES), ("sqs:PurgeQueue", QUEUE)],
            set(),
            id="what was granted all along",
        ),
        pytest.param(
            [("sqs:PurgeQueue", QUEUE)],
            [],
            [("sqs:PurgeQueue", f"{QUEUE}-2"), ("sns:Publish", QUEUE)],
            set(),
            id="another resource or action is new",
        ),
    ],
)
def test_restored_grants(
    before: Grants, proposed: Grants, now: Grants, restored: set[tuple[str, str]]
) -> None:
    grants = restored_grants(policy(before), policy(proposed), policy(now))
    assert {(grant.pattern, grant.resource) for grant in grants} == restored


def test_a_removed_not_action_comes_back_by_one_of_its_actions() -> None:
    before = policy([("iam:*", "*")], "NotAction")
    proposed = policy([("sqs:SendMessage", "*")])
    now = policy([("sqs:SendMessage", "*"), ("sqs:PurgeQueue", QUEUE), ("iam:PassRole", "*")])
    grants = restored_grants(before, proposed, now)
    assert {(grant.pattern, grant.resource) for grant in grants} == {("sqs:PurgeQueue", QUEUE)}


def test_an_addition_is_missing_where_no_policy_grants_all_of_its_resource() -> None:
    on_queue, on_all = Permission("sqs:SendMessage", QUEUE), Permission("sqs:SendMessage", "*")
    assert missing_additions([on_queue, on_all], [policy([("sqs:Send*", QUEUES)])]) == (on_all,)


@pytest.mark.parametrize(
    "statement",
    [
        {"Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:*:*:${aws:PrincipalTag/app}"},
        {"Action": "sqs:SendMessage", "NotResource": "arn:aws:sqs:*:*:payments"},
        {"NotAction": "iam:*", "Resource": "*"},
    ],
)
def test_an_addition_that_a_person_wrote_in_another_form_is_not_missing(
    statement: dict[str, str],
) -> None:
    content = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
    document = parse(json.dumps(content).encode(), "p.json")
    assert missing_additions([Permission("sqs:SendMessage", QUEUE)], [document]) == ()
    assert missing_additions([Permission("iam:PassRole", QUEUE)], [document]) != ()
