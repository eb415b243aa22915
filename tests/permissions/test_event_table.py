"""From event names to actions: the plain rule, the table, and the honest answer where nobody
knows.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import MappedEvent, Verdict, facts_of, map_event
from tests.fakes.tables import table


def names(event: MappedEvent) -> set[str]:
    return {mapped.action for mapped in event.actions}


@pytest.mark.parametrize(
    ("source", "event", "actions"),
    [
        ("sqs", "CreateQueue", "sqs:CreateQueue"),
        ("monitoring", "PutMetricAlarm", "cloudwatch:PutMetricAlarm"),
        ("email", "SendEmail", "ses:SendEmail"),
        ("tagging", "GetResources", "tag:GetResources"),
        ("lambda", "CreateFunction20150331", "lambda:CreateFunction"),
        ("lambda", "UpdateFunctionCode20150331v2", "lambda:UpdateFunctionCode"),
        ("lambda", "ListTags20170331", "lambda:ListTags"),
        ("lambda", "Invoke", "lambda:InvokeFunction"),
        ("cloudfront", "CreateFunction2020_05_31", "cloudfront:CreateFunction"),
        ("cloudfront", "CreateFunction", "cloudfront:CreateFunction"),
        ("s3", "ListBuckets", "s3:ListAllMyBuckets"),
        ("s3", "HeadBucket", "s3:ListBucket"),
        ("s3", "HeadObject", "s3:GetObject"),
        ("s3", "GetBucketCors", "s3:GetBucketCORS"),
        ("s3", "GetBucketLifecycle", "s3:GetLifecycleConfiguration"),
        ("s3", "DeleteBucketTagging", "s3:PutBucketTagging"),
        ("s3", "CopyObject", "s3:GetObject s3:PutObject"),
        ("s3", "GetBucketVersioning", "s3:GetBucketVersioning"),
        ("s3.amazonaws.com.cn", "HeadBucket", "s3:ListBucket"),
        ("sqs", "SendMessageBatch", "sqs:SendMessage"),
        ("kms", "ReEncrypt", "kms:ReEncryptFrom kms:ReEncryptTo"),
        ("bedrock", "Converse", "bedrock:InvokeModel"),
        ("dms", "DescribeDataProviders", "dms:ListDataProviders"),
        ("quicksight", "UpdateTopicV2", "quicksight:UpdateTopic"),
        ("verifiedpermissions", "BatchGetPolicy", "verifiedpermissions:GetPolicy"),
    ],
)
def test_an_event_maps_to_the_actions_aws_authorises(source: str, event: str, actions: str) -> None:
    full = source if "." in source else f"{source}.amazonaws.com"
    mapped_event = map_event(full, event)
    assert mapped_event.verdict is Verdict.MAPPED
    assert names(mapped_event) == set(actions.split())


@pytest.mark.parametrize(
    ("source", "event", "verdict"),
    [
        ("sts.amazonaws.com", "GetCallerIdentity", Verdict.NO_PERMISSION),
        ("sts.amazonaws.com", "AssumeRoleWithWebIdentity", Verdict.NO_PERMISSION),
        ("dynamodb.amazonaws.com", "TransactWriteItems", Verdict.BY_REQUEST),
        ("s3.amazonaws.com", "FrobnicateBucket", Verdict.UNVERIFIED),
        ("s3.amazonaws.com", "GetObjectV2", Verdict.UNVERIFIED),
        ("ec2.amazonaws.com", "CreateDefaultVpcV2", Verdict.UNVERIFIED),
        ("sqs.amazonaws.com", "PurgeQueueBatch", Verdict.UNVERIFIED),
        ("cases.amazonaws.com", "BatchUpdateCase", Verdict.UNVERIFIED),
        ("nosuch.amazonaws.com", "DoIt", Verdict.UNMAPPED),
        ("s3.amazonaws.com", "Put Object", Verdict.UNMAPPED),
        ("s3.amazonaws.com", "*", Verdict.UNMAPPED),
        ("s3.amazonaws.com", "Get*", Verdict.UNMAPPED),
        ("", "", Verdict.UNMAPPED),
    ],
)
def test_what_nobody_knows_is_said_and_never_guessed(
    source: str, event: str, verdict: Verdict
) -> None:
    assert map_event(source, event).verdict is verdict


def test_the_name_of_a_new_action_is_kept_though_unverified() -> None:
    """The catalogue lags: an unknown action of a known service may veto a removal under its own
    name.
    """
    assert names(map_event("s3.amazonaws.com", "FrobnicateBucket")) == {"s3:FrobnicateBucket"}


def test_every_action_of_the_catalogue_maps_to_itself_or_to_a_row_of_the_table() -> None:
    """No suffix or fallback rule mangles a real name: all 22,000 are asked for as events of their
    own service.
    """
    ruled = {
        (row["event_source"], row["event_name"])
        for row in table("events")
        if row["kind"] in {"rename", "no-permission", "by-statement"} and row["match"] == "exact"
    }
    patterns = [
        (row["event_source"], re.compile(row["event_name"]))
        for row in table("events")
        if row["kind"] in {"rename", "no-permission"} and row["match"] == "regex"
    ]
    moved = {row["event_source"] for row in table("events") if row["kind"] == "prefix"}
    strange = []
    for prefix in catalog.services():
        source = f"{prefix}.amazonaws.com"
        for action in catalog.actions(prefix):
            name = action.partition(":")[2]
            by_row = (source, name) in ruled or any(
                s == source and p.fullmatch(name) for s, p in patterns
            )
            by_row = by_row or bool(facts_of(action).actions)
            if source not in moved and not by_row and names(map_event(source, name)) != {action}:
                strange.append(action)
    assert strange == []


@pytest.mark.parametrize(
    "row",
    [row for row in table("events") if row["kind"] == "rename" and row["match"] == "exact"],
    ids=lambda row: (
        f"{row['event_source'].partition('.')[0]}-{row['event_name']}-{row['resource'][-20:]}"
    ),
)
def test_every_rename_row_is_reached_by_its_own_event(row: dict[str, str]) -> None:
    mapped_event = map_event(row["event_source"], row["event_name"])
    row_actions = {entry.strip().partition("@")[0] for entry in row["actions"].split(",")}
    assert mapped_event.verdict is Verdict.MAPPED
    assert row_actions <= names(mapped_event)
    assert any(mapped.resource == row["resource"] for mapped in mapped_event.actions)


@pytest.mark.parametrize("row", table("fallbacks"), ids=lambda row: row["operation"])
def test_an_operation_without_an_action_of_its_own_goes_by_another_only_while_that_is_so(
    row: dict[str, str],
) -> None:
    """A new catalogue may have the action: then the table is to be made anew."""
    prefix, _, name = row["operation"].partition(":")
    assert catalog.spelling(row["operation"]) is None
    assert names(map_event(f"{prefix}.amazonaws.com", name)) == {row["action"]}


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_gets_an_answer_and_only_known_or_unverified_names(
    source: str, event: str
) -> None:
    mapped_event = map_event(source + ".amazonaws.com", event)
    if mapped_event.verdict is Verdict.MAPPED:
        assert all(catalog.spelling(name) == name for name in names(mapped_event))
    else:
        assert not re.search(r"[*?$\s]", "".join(names(mapped_event)))


@pytest.mark.parametrize("service", ["a" * 2_000, "../services/sqs", ""])
def test_a_service_name_that_no_file_can_have_has_no_facts(service: str) -> None:
    assert facts_of(f"{service}:CreateQueue") == facts_of("sqs:NoSuchOperation")
