from __future__ import annotations

import json
from typing import Any

from leastpriv.cloudtrail.coverage import Coverage
from leastpriv.diff.compare import compare
from leastpriv.evidence.models import DeclaredNeeds, Evidence
from leastpriv.models import Basis
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.guards import first_guard_result
from leastpriv.proposal.models import Options, RemovalCandidate
from leastpriv.proposal.removals import guard_context
from leastpriv.proposal.suggestions import SuggestedAction, suggested_actions
from tests.fakes.evidence import data_events, evidence, usage
from tests.fakes.replace import replace

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
CREATED = evidence([usage("sqs:CreateQueue", QUEUE)])
TYPES = DeclaredNeeds(
    {"sqs:GetQueueUrl": ("AWS::SQS::Queue",), "kms:GetKeyPolicy": ("A::B::C", "D::E::F")}
)


def test_lifecycle_counterparts_are_suggested_on_the_resources_in_use() -> None:
    offers = {
        offer.action: offer for offer in suggested_actions(CREATED, [_policy("sqs:CreateQueue")])
    }
    assert offers["sqs:DeleteQueue"].basis is Basis.LIFECYCLE
    assert offers["sqs:DeleteQueue"].because == "sqs:CreateQueue"
    assert offers["sqs:DeleteQueue"].resources == (QUEUE,)


def test_an_action_that_a_policy_grants_anywhere_is_not_suggested() -> None:
    actions = {
        offer.action
        for offer in suggested_actions(
            CREATED, [_policy("sqs:CreateQueue"), _policy("sqs:Delete*")]
        )
    }
    assert "sqs:DeleteQueue" not in actions
    assert "sqs:SetQueueAttributes" in actions
    all_but_iam = parse(_text({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}), "p.json")
    assert suggested_actions(CREATED, [all_but_iam]) == ()


def test_an_action_of_never_add_is_not_suggested() -> None:
    actions = {offer.action for offer in suggested_actions(CREATED, [], ("sqs:Delete*",))}
    assert "sqs:DeleteQueue" not in actions
    assert "sqs:SetQueueAttributes" in actions


def test_declared_permissions_name_their_types_and_no_resource() -> None:
    offers = {
        offer.action: offer
        for offer in suggested_actions(_declared(), [_policy("sqs:CreateQueue")])
    }
    assert (offers["kms:GetKeyPolicy"].basis, offers["kms:GetKeyPolicy"].because) == (
        Basis.DECLARED,
        "A::B::C, D::E::F",
    )
    assert offers["kms:GetKeyPolicy"].resources == ()


def test_a_used_action_is_not_suggested() -> None:
    calls = evidence([usage("sqs:CreateQueue", QUEUE), usage("sqs:DeleteQueue", QUEUE)])
    assert "sqs:DeleteQueue" not in {offer.action for offer in suggested_actions(calls, [])}


def test_a_declared_permission_that_a_policy_has_is_kept() -> None:
    """A use that no record shows is kept: the guard names the type."""
    document = parse(
        _text({"Effect": "Allow", "Action": ["kms:GetKeyPolicy", "kms:ListKeys"], "Resource": "*"}),
        "p.json",
    )
    declared_needs = _declared()
    entries = compare(document, [], declared_needs).entries
    context = guard_context(declared_needs, Options())
    guard_results = {
        entry.pattern: first_guard_result(RemovalCandidate(entry.pattern, entry), context)
        for entry in entries
    }
    assert guard_results["kms:ListKeys"] is None
    guard_result = guard_results["kms:GetKeyPolicy"]
    assert guard_result
    assert (guard_result.guard, "A::B::C and 1 more" in guard_result.reason) == ("declared", True)


def _declared() -> Evidence:
    return replace(CREATED, aws_findings=replace(CREATED.aws_findings, declared=TYPES))


def _policy(action: str) -> Document:
    return parse(_text({"Effect": "Allow", "Action": action, "Resource": "*"}), "p.json")


def _text(statement: dict[str, Any]) -> bytes:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()


BUCKET = "arn:aws:s3:::orders-assets"


def test_item_actions_of_a_bucket_without_recorded_data_events_are_suggested() -> None:
    """A trail records data events only on demand; without them actions on objects leave no
    trace.
    """
    offers = {
        offer.action: offer
        for offer in suggested_actions(evidence([usage("s3:GetBucketLocation", BUCKET)]), [])
    }
    assert offers["s3:PutObject"].resources == (f"{BUCKET}/*",)
    assert (offers["s3:ListBucket"].resources, offers["s3:ListBucket"].because) == (
        (BUCKET,),
        "S3CrudPolicy",
    )


def test_item_actions_are_not_suggested_with_recorded_data_events_or_for_a_pattern() -> None:
    data_coverage = Coverage(data=data_events(0, ("GetObject", "read", f"{BUCKET}/")))
    recorded = replace(evidence([usage("s3:GetBucketLocation", BUCKET)]), coverage=data_coverage)
    pattern = evidence([usage("s3:GetBucketLocation", "arn:aws:s3:::orders-*")])
    for calls in (recorded, pattern, evidence([usage("sqs:CreateQueue", QUEUE)])):
        assert not {offer.action for offer in suggested_actions(calls, [])} & {
            "s3:PutObject",
            "s3:ListBucket",
        }


def test_an_action_used_on_one_queue_is_suggested_on_the_next_that_the_role_created() -> None:
    """A renamed resource gets its first update or deletion in a later run than its creation."""
    queues = [f"arn:aws:sqs:eu-west-1:111122223333:orders-{number}" for number in (1, 2)]
    creations = [usage("sqs:CreateQueue", queue) for queue in queues]
    calls = evidence([*creations, usage("sqs:SetQueueAttributes", queues[0])])
    granted = _text({"Effect": "Allow", "Action": "sqs:SetQueueAttributes", "Resource": queues[0]})
    suggested = {
        offer.action: offer for offer in suggested_actions(calls, [parse(granted, "p.json")])
    }
    assert suggested["sqs:SetQueueAttributes"] == SuggestedAction(
        "sqs:SetQueueAttributes", Basis.LIFECYCLE, "sqs:CreateQueue", (queues[1],)
    )
    wildcard = _text(
        {"Effect": "Allow", "Action": "sqs:Set*", "Resource": "arn:aws:sqs:*:*:orders-*"}
    )
    assert "sqs:SetQueueAttributes" not in {
        offer.action for offer in suggested_actions(calls, [parse(wildcard, "p.json")])
    }
    # No call of this role created the second queue, so its purpose is unknown.
    other_calls = evidence(
        [usage("sqs:SendMessage", queues[1]), usage("sqs:SetQueueAttributes", queues[0])]
    )
    assert "sqs:SetQueueAttributes" not in {
        offer.action for offer in suggested_actions(other_calls, [parse(granted, "p.json")])
    }
