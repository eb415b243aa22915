"""Packing keeps the meaning, brings each policy within its quota, and leaves fitting policies
unchanged.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_matches
from leastpriv.policy.compact import merge_statements, shorten_actions, wildcards_for
from leastpriv.policy.containment import check_containment, lost_denies
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import policy_size
from leastpriv.policy.size import (
    PackedPolicy,
    PolicyKind,
    max_managed_policies,
    numbered_file,
    numbered_files,
    pack,
    policy_kind,
    quota,
    session_policy,
    size_of_others,
)
from tests.hypothesis_profiles import examples

Statements = list[dict[str, Any]]
ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
USER = "arn:aws:iam::111122223333:user/ann"
PADDING = "x" * 400
RESOURCES = [
    f"arn:aws:sqs:eu-west-1:111122223333:{name}-{PADDING}" for name in ("a", "b", "c", "d")
]
ACTIONS = [
    "sqs:SendMessage",
    "sqs:CreateQueue",
    "sqs:DeleteQueue",
    "sqs:Get*",
    "SQS:sendmessage",
    "sns:Publish",
]
TAGGED = {"StringEquals": {"aws:ResourceTag/team": ["shop", "é"]}}
DATED = {"NumericLessThan": {"s3:max-keys": 1.5}}


@st.composite
def statement(draw: st.DrawFn) -> dict[str, Any]:
    names, resource_keys = draw(
        st.sampled_from(
            [("Action", "Resource")] * 4 + [("NotAction", "Resource"), ("Action", "NotResource")]
        )
    )
    drawn: dict[str, Any] = {
        "Effect": draw(st.sampled_from(["Allow", "Allow", "Allow", "Deny"])),
        names: draw(st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=4) | st.just("sqs:*")),
        resource_keys: draw(
            st.lists(st.sampled_from(RESOURCES), min_size=1, max_size=4) | st.just("*")
        ),
    }
    condition = draw(st.sampled_from([None, None, TAGGED, DATED]))
    return {**drawn, "Condition": condition} if condition else drawn


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    statements = draw(st.lists(statement(), min_size=1, max_size=14))
    for number, numbered in enumerate(statements):
        if draw(st.booleans()):
            numbered["Sid"] = f"Part{number}"
    return {**draw(st.sampled_from([{"Version": "2012-10-17"}, {}])), "Statement": statements}


def document(policy: dict[str, Any], indent: int | str | None = 2) -> Document:
    return parse(json.dumps(policy, indent=indent).encode(), "iam/ci-deploy.json")


def parts(packed: PackedPolicy) -> list[Document]:
    return [packed.document, *packed.further]


def assert_same(one: list[Document], other: list[Document]) -> None:
    assert check_containment(one, other).excesses == ()
    assert check_containment(other, one).excesses == ()
    assert lost_denies(one, other) == lost_denies(other, one) == ()


@examples(150)
@given(policies())
def test_parts_keep_the_meaning_of_the_whole_and_fit_their_quotas(policy: dict[str, Any]) -> None:
    committed = document(policy)
    packed = pack(committed)
    assert packed.fits
    assert all(policy_size(part) <= quota(PolicyKind.MANAGED) for part in parts(packed))
    assert all(part.version == committed.version for part in parts(packed))
    assert_same([committed], parts(packed))


@examples(80)
@given(policies())
def test_sids_remain_unique_and_fitting_policies_are_unchanged(policy: dict[str, Any]) -> None:
    committed = document(policy)
    packed = pack(committed)
    for part in parts(packed):
        sids = [statement.sid for statement in part.statements if statement.sid]
        assert len(sids) == len(set(sids))
    if policy_size(committed) <= quota(PolicyKind.MANAGED):
        assert packed == PackedPolicy(committed)
    again = pack(packed.document)
    assert again == PackedPolicy(packed.document)


@examples(80)
@given(policies())
def test_merging_keeps_the_meaning(policy: dict[str, Any]) -> None:
    committed = document(policy)
    merged = merge_statements(committed)
    assert len(merged.document.statements) + len(merged.sids) == len(committed.statements)
    assert policy_size(merged.document) <= policy_size(committed)
    assert_same([committed], [merged.document])


def test_statements_of_equal_resources_or_equal_actions_become_one() -> None:
    queue, second_queue = RESOURCES[:2]
    two_actions = ["sqs:CreateQueue", "sqs:SendMessage"]
    merged = merge_statements(
        document(
            {
                "Statement": [
                    {"Sid": "A", "Effect": "Allow", "Action": "sqs:SendMessage", "Resource": queue},
                    {
                        "Sid": "B",
                        "Effect": "Allow",
                        "Action": ["sqs:CreateQueue"],
                        "Resource": [queue],
                    },
                    {
                        "Sid": "C",
                        "Effect": "Allow",
                        "Action": "sns:Publish",
                        "Resource": queue,
                        "Condition": TAGGED,
                    },
                    {"Sid": "D", "Effect": "Deny", "Action": "sqs:DeleteQueue", "Resource": queue},
                    {
                        "Sid": "E",
                        "Effect": "Allow",
                        "Action": two_actions,
                        "Resource": second_queue,
                    },
                ]
            }
        )
    )
    assert merged.sids == ("B", "E")
    statements = merged.document.statements
    assert [statement.sid for statement in statements] == ["A", "C", "D"]
    assert statements[0].actions == ("sqs:SendMessage", "sqs:CreateQueue")
    assert statements[0].resources == (queue, second_queue)


def test_only_as_many_statements_are_merged_or_shortened_as_necessary() -> None:
    """An addition of one queue to a full policy must not change forty statements."""
    queue = "arn:aws:sqs:eu-west-1:111122223333:orders-{:02}-" + "x" * 34
    queues = [
        {
            "Sid": f"Queue{number}",
            "Effect": "Allow",
            "Action": "sqs:SendMessage",
            "Resource": queue.format(number),
        }
        for number in range(40)
    ]
    limit = quota(PolicyKind.MANAGED)
    committed = document({"Version": "2012-10-17", "Statement": queues})
    assert limit < policy_size(committed) < limit + 300
    packed = pack(committed)
    assert packed.fits
    assert packed.further == packed.wildcards == ()
    assert packed.merged == tuple(f"Queue{number}" for number in range(40 - len(packed.merged), 40))
    packed_size = policy_size(packed.document)
    assert policy_size(merge_statements(committed, packed_size).document) == packed_size
    fewer = merge_statements(committed, limit + 150)
    assert len(fewer.sids) < len(packed.merged)
    assert limit < policy_size(fewer.document) <= limit + 150
    lists = document(
        {"Version": "2012-10-17", "Statement": [long_list("A", 120), long_list("B", 100, "s3")]}
    )
    folded = shorten_actions(
        lists, lambda _document, _statement, _pattern: True, policy_size(lists) - 10
    )
    assert [wildcard.pattern.partition(":")[0] for wildcard in folded.wildcards] == ["ec2"]
    assert policy_size(folded.document) <= policy_size(lists) - 10
    shortest = shorten_actions(lists, lambda _document, _statement, _pattern: True)
    assert {wildcard.pattern.partition(":")[0] for wildcard in shortest.wildcards} == {"ec2", "s3"}
    exact = shorten_actions(
        lists, lambda _document, _statement, _pattern: True, policy_size(shortest.document)
    )
    assert policy_size(exact.document) == policy_size(shortest.document)
    assert {*exact.wildcards} == {*shortest.wildcards}


@examples(80)
@given(policies(), st.integers(1, 100))
def test_merging_to_a_limit_keeps_the_meaning_and_reaches_the_limit_if_possible(
    policy: dict[str, Any], share: int
) -> None:
    committed = document(policy)
    limit = policy_size(committed) * share // 100
    merged = merge_statements(committed, limit)
    smallest = merge_statements(committed)
    assert len(merged.document.statements) + len(merged.sids) == len(committed.statements)
    assert len(merged.sids) <= len(smallest.sids)
    assert (policy_size(merged.document) <= limit) == (policy_size(smallest.document) <= limit)
    assert_same([committed], [merged.document])


def long_list(sid: str, count: int, service: str = "ec2") -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(catalog.actions(service)[:count]),
        "Resource": "*",
    }


def test_a_wildcard_is_written_only_with_consent_and_grants_the_same_catalogue_actions() -> None:
    large = document({"Version": "2012-10-17", "Statement": [long_list("Servers", 400)]})
    assert pack(large).wildcards == ()
    packed = pack(large, may_write_wildcard=lambda _document, _statement, _pattern: True)
    assert packed.wildcards
    granted = {
        action
        for part in parts(packed)
        for statement in part.statements
        for entry in statement.actions
        for action in catalog.expand(entry)
    }
    assert granted == set(large.statements[0].actions)
    for wildcard in packed.wildcards:
        assert set(wildcard.actions) == set(catalog.expand(wildcard.pattern))
        assert len(wildcard.actions) >= 3


@given(st.integers(0, 2**60), st.booleans())
def test_a_wildcard_replaces_no_other_action(bits: int, allowed: bool) -> None:
    names = catalog.actions("sqs") + catalog.actions("sns")
    chosen_names = [name for index, name in enumerate(names) if bits >> index & 1]
    other_names = [name for name in names if name not in chosen_names]
    entries = wildcards_for(chosen_names, other_names, lambda _: allowed)
    assert {name for name in names if any(action_matches(entry, name) for entry in entries)} == set(
        chosen_names
    )
    assert allowed or entries == tuple(sorted(chosen_names))


def test_the_file_keeps_its_lines_and_deny_statements_and_the_last_statements_move() -> None:
    statements = [
        long_list("One", 120),
        long_list("Two", 100, "iam"),
        {**long_list("Three", 60, "rds")},
    ]
    deny = {"Sid": "Never", "Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::secret"}
    committed = document({"Version": "2012-10-17", "Statement": [*statements, deny]}, indent="\t")
    packed = pack(committed)
    assert [[statement.sid for statement in part.statements] for part in parts(packed)] == [
        ["One", "Three", "Never"],
        ["Two"],
    ]
    lines = iter(committed.text.splitlines())
    assert all(line in lines for line in packed.document.text.splitlines())
    assert "\n\t" in packed.further[0].text


def test_a_statement_too_large_for_one_policy_is_split() -> None:
    committed = document({"Version": "2012-10-17", "Statement": long_list("Servers", 500)})
    packed = pack(committed)
    assert len(parts(packed)) > 1
    assert packed.document.statements[0].sid == "Servers"
    assert len({part.statements[0].sid for part in parts(packed)}) == len(parts(packed))
    assert (
        sum(len(statement.actions) for part in parts(packed) for statement in part.statements)
        == 500
    )
    assert_same([committed], parts(packed))


def test_a_statement_is_split_into_the_fewest_policies() -> None:
    queues = [f"arn:aws:sqs:eu-west-1:111122223333:orders-{number:04}" for number in range(500)]
    large = {"Sid": "A22", "Effect": "Allow", "Action": "sqs:SendMessage", "Resource": queues}
    committed = document({"Version": "2012-10-17", "Statement": [large]})
    packed = pack(committed)
    assert packed.fits
    assert len(parts(packed)) == -(-policy_size(committed) // quota(PolicyKind.MANAGED)) == 5
    assert [part.statements[0].sid for part in parts(packed)] == [
        "A22",
        *(f"A22Part{n}" for n in range(2, 6)),
    ]
    assert [
        resource for part in parts(packed) for resource in part.statements[0].resources
    ] == queues


def test_parts_of_split_statements_get_distinct_sids() -> None:
    servers = [
        {**long_list("Servers", 500)},
        {**long_list("ServersPart2", 3, "rds")},
        {**long_list("servers", 400)},
    ]
    packed = pack(document({"Version": "2012-10-17", "Statement": servers}))
    sids = [statement.sid.lower() for part in parts(packed) for statement in part.statements]
    assert len(sids) == len({*sids})
    assert all(re.fullmatch("servers(part[0-9]+)?", sid) for sid in sids)


def test_a_policy_that_cannot_be_split_does_not_fit() -> None:
    solid = document({"Statement": {"Effect": "Allow", "Action": "sqs:*", "Resource": "x" * 7_000}})
    assert not pack(solid).fits
    large = document({"Statement": [long_list("Servers", 500)]})
    assert pack(large).fits
    assert not pack(large, attached=max_managed_policies() - 1).fits


def test_an_inline_policy_of_a_role_has_a_larger_quota() -> None:
    large = document({"Statement": [long_list("Servers", 250)]})
    assert quota(PolicyKind.MANAGED) < policy_size(large) <= quota(PolicyKind.INLINE_ROLE)
    assert policy_kind(large, ROLE) is PolicyKind.INLINE_ROLE
    assert policy_kind(large, USER) is PolicyKind.MANAGED
    assert pack(large, policy_kind(large, ROLE)) == PackedPolicy(large)


def test_the_output_of_get_role_policy_is_inline() -> None:
    inner = {"Statement": {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}}
    wrapped = document({"RoleName": "ci-deploy", "PolicyName": "deploy", "PolicyDocument": inner})
    assert policy_kind(wrapped, ROLE) is PolicyKind.INLINE_ROLE
    assert policy_kind(wrapped, USER) is PolicyKind.INLINE_USER
    assert policy_kind(document({"PolicyVersion": {"Document": inner}}), ROLE) is PolicyKind.MANAGED


def test_quotas_are_those_of_aws() -> None:
    quotas = {kind.value: quota(kind) for kind in PolicyKind}
    assert quotas == {
        "managed": 6_144,
        "inline-role": 10_240,
        "inline-user": 2_048,
        "session": 2_048,
    }
    assert max_managed_policies() == 10


def test_a_session_policy_has_no_white_space_and_counts_its_plain_text() -> None:
    attached = document(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}],
        }
    )
    text = session_policy([attached, attached])
    assert not re.search(r"\s", text)
    assert_same([attached], [parse(text.encode(), "session.json")])
    assert (
        session_policy(
            [document({"Version": "2012-10-17", "Statement": [long_list("Servers", 60)]})]
        )
        == ""
    )
    assert (
        session_policy(
            [attached, document({"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}})]
        )
        == ""
    )
    assert session_policy([]) == ""


@pytest.mark.parametrize(
    ("path", "second"),
    [
        ("iam/ci-deploy.json", "iam/ci-deploy-2.json"),
        ("ci.deploy.json", "ci.deploy-2.json"),
        ("iam.d/policy", "iam.d/policy-2.json"),
    ],
)
def test_continuation_files_are_in_the_folder_of_the_first(path: str, second: str) -> None:
    assert (numbered_file(path, 1), numbered_file(path, 2)) == (path, second)
    existing_files = {second, numbered_file(path, 3), numbered_file(path, 5)}
    assert list(numbered_files(path, existing_files.__contains__)) == [
        second,
        numbered_file(path, 3),
    ]


@pytest.mark.parametrize(
    ("kind", "pointer", "expected"),
    [
        ("AWS::IAM::Policy", "PolicyDocument", PolicyKind.INLINE_ROLE),
        ("AWS::IAM::RolePolicy", "PolicyDocument", PolicyKind.INLINE_ROLE),
        ("AWS::IAM::UserPolicy", "PolicyDocument", PolicyKind.INLINE_USER),
        ("AWS::IAM::ManagedPolicy", "PolicyDocument", PolicyKind.MANAGED),
        ("AWS::IAM::Role", "Policies/0/PolicyDocument", PolicyKind.INLINE_ROLE),
        ("AWS::IAM::User", "Policies/0/PolicyDocument", PolicyKind.INLINE_USER),
        ("Custom::Thing", "PolicyDocument", PolicyKind.MANAGED),
    ],
)
def test_the_cloudformation_resource_type_decides_how_a_policy_is_attached(
    kind: str, pointer: str, expected: PolicyKind
) -> None:
    inner: Any = {"Statement": {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}}
    for name in reversed(pointer.split("/")):
        inner = [inner] if name == "0" else {name: inner}
    template = json.dumps({"Resources": {"X": {"Type": kind, "Properties": inner}}}).encode()
    document = parse(template, "template.json", f"/Resources/X/Properties/{pointer}")
    assert policy_kind(document, ROLE) is expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("aws_iam_user_policy", PolicyKind.INLINE_USER),
        ("aws_iam_role_policy", PolicyKind.INLINE_ROLE),
        ("aws_iam_policy", PolicyKind.MANAGED),
    ],
)
def test_the_terraform_resource_type_decides_how_a_policy_is_attached(
    kind: str, expected: PolicyKind
) -> None:
    statement = '{ Effect = "Allow", Action = "a:B", Resource = "*" }'
    text = f'resource "{kind}" "x" {{\n  policy = jsonencode({{ Statement = [{statement}] }})\n}}\n'
    assert policy_kind(parse(text.encode(), "main.tf", f"{kind}.x.policy"), ROLE) is expected


def test_the_inline_policies_of_a_role_share_one_quota() -> None:
    large = document({"PolicyDocument": {"Statement": [long_list("Servers", 150)]}})
    size = policy_size(large)
    assert (
        size_of_others(
            PolicyKind.INLINE_ROLE, [large, document({"Statement": [long_list("A", 3)]})], ROLE
        )
        == size
    )
    assert size_of_others(PolicyKind.MANAGED, [large], ROLE) == 0


def test_the_quota_that_other_policies_use_is_respected() -> None:
    alarm = {
        "Effect": "Allow",
        "Action": "cloudwatch:PutMetricAlarm",
        "Resource": f"arn:aws:cloudwatch:{PADDING}",
    }
    committed = document(
        {
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [long_list("Servers", 200), alarm],
            }
        }
    )
    assert pack(committed, PolicyKind.INLINE_ROLE) == PackedPolicy(committed)
    room = policy_size(committed) - 1
    packed = pack(
        committed, PolicyKind.INLINE_ROLE, used_by_others=quota(PolicyKind.INLINE_ROLE) - room
    )
    assert packed.fits
    assert policy_size(packed.document) <= room
    assert [policy_size(part) > 0 for part in packed.further] == [True]
    assert_same([committed], parts(packed))
    full = pack(committed, PolicyKind.INLINE_ROLE, used_by_others=quota(PolicyKind.INLINE_ROLE))
    assert (full.document, full.further, full.fits) == (committed, (), False)
