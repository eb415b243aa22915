"""The generated policy compared with the proposal: questions, never grants."""

from __future__ import annotations

import json

from leastpriv.evidence.models import AwsFindings, Evidence, GeneratedPolicy
from leastpriv.models import Outcome
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.aws_guards import (
    GeneratedPolicyComparison,
    UngrantedAction,
    UngrantedReason,
    compare_with_generated_policy,
)
from tests.fakes.evidence import evidence, usage
from tests.fakes.replace import replace

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
QUEUES = "arn:aws:sqs:${Region}:${Account}:${QueueName}"


def document(*actions: str, **more: object) -> Document:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*", **more}
    return parse(json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode(), "p.json")


def opinion(
    *grants: tuple[str, str], seen: Evidence, documents: tuple[Document, ...]
) -> GeneratedPolicyComparison:
    generated = GeneratedPolicy(
        "job", None, None, True, tuple((action, (resource,)) for action, resource in grants)
    )
    comparison = compare_with_generated_policy(
        documents, replace(seen, aws_findings=AwsFindings(generated=generated))
    )
    assert comparison
    return comparison


SEEN = evidence(
    [
        usage("sqs:CreateQueue", QUEUE),
        replace(usage("sqs:PurgeQueue", QUEUE), outcome=Outcome.DENIED),
    ]
)


def test_without_a_generated_policy_there_is_no_comparison() -> None:
    assert compare_with_generated_policy([document("s3:*")], SEEN) is None


def test_an_action_that_the_proposal_grants_is_agreed_and_no_question() -> None:
    comparison = opinion(
        ("sqs:CreateQueue", QUEUES),
        ("s3:PutBucketAcl", "*"),
        seen=SEEN,
        documents=(document("sqs:*", "S3:put*"),),
    )
    assert (comparison.agreed, comparison.questions) == (2, ())


def test_a_deny_statement_grants_nothing() -> None:
    comparison = opinion(
        ("sqs:CreateQueue", QUEUES), seen=SEEN, documents=(document("sqs:*", Effect="Deny"),)
    )
    assert [question.action for question in comparison.questions] == ["sqs:CreateQueue"]


def test_an_action_that_not_action_partly_excludes_is_not_granted() -> None:
    text = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "NotAction": "s3:GetObject", "Resource": "*"},
    }
    all_but_one = parse(json.dumps(text).encode(), "p.json")
    comparison = opinion(("s3:Get*", "*"), ("s3:Put*", "*"), seen=SEEN, documents=(all_but_one,))
    assert (comparison.agreed, [question.action for question in comparison.questions]) == (
        1,
        ["s3:Get*"],
    )


def test_a_recorded_resource_replaces_a_placeholder() -> None:
    comparison = opinion(
        ("sqs:GetQueueUrl", QUEUES),
        ("sns:Publish", "arn:aws:sns:${Region}:${Account}:${TopicName}"),
        seen=SEEN,
        documents=(),
    )
    filled, unrecorded = comparison.questions
    assert (filled.resources, filled.has_real_resources, filled.why) == (
        (QUEUE,),
        True,
        UngrantedReason.UNSEEN,
    )
    assert (unrecorded.resources, unrecorded.has_real_resources) == (
        ("arn:aws:sns:${Region}:${Account}:${TopicName}",),
        False,
    )


def test_each_resource_with_placeholders_is_replaced_separately() -> None:
    literal, keys = (
        "arn:aws:sqs:eu-west-1:111122223333:literal",
        "arn:aws:kms:${Region}:${Account}:key/${KeyId}",
    )
    ungranted_action = opinion_on("sqs:GetQueueUrl", (QUEUES, keys, literal))
    assert (ungranted_action.resources, ungranted_action.has_real_resources) == (
        (QUEUE, keys, literal),
        True,
    )
    ungranted_action = opinion_on("sqs:GetQueueUrl", (literal, "*"))
    assert (ungranted_action.resources, ungranted_action.has_real_resources) == (
        (literal, "*"),
        False,
    )


def opinion_on(action: str, resources: tuple[str, ...]) -> UngrantedAction:
    generated = GeneratedPolicy("job", None, None, True, ((action, resources),))
    comparison = compare_with_generated_policy(
        (), replace(SEEN, aws_findings=AwsFindings(generated=generated))
    )
    assert comparison
    [question] = comparison.questions
    return question


def test_an_object_does_not_replace_a_bucket_placeholder() -> None:
    object_evidence = evidence([usage("s3:PutObject", "arn:aws:s3:::assets/key")])
    [question] = opinion(
        ("s3:GetBucketAcl", "arn:aws:s3:::${BucketName}"), seen=object_evidence, documents=()
    ).questions
    assert not question.has_real_resources


def test_a_denied_call_is_reported_as_denied() -> None:
    [question] = opinion(("sqs:PurgeQueue", QUEUES), seen=SEEN, documents=()).questions
    assert question.why is UngrantedReason.DENIED


def test_an_action_that_the_catalogue_lacks_is_a_question() -> None:
    [question] = opinion(("sqs:Teleport", "*"), seen=SEEN, documents=()).questions
    assert question.why is UngrantedReason.UNKNOWN


def test_an_action_that_needs_no_permission_is_no_question() -> None:
    comparison = opinion(("sts:GetCallerIdentity", "*"), seen=SEEN, documents=())
    assert (comparison.questions, comparison.agreed) == ((), 0)
