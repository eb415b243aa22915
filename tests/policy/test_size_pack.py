"""The promises of packing: nothing is gained or lost, each policy is within its quota, and what fits is not touched."""

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
RESOURCES = [f"arn:aws:sqs:eu-west-1:111122223333:{name}-{PADDING}" for name in ("a", "b", "c", "d")]
ACTIONS = ["sqs:SendMessage", "sqs:CreateQueue", "sqs:DeleteQueue", "sqs:Get*", "SQS:sendmessage", "sns:Publish"]
TAGGED = {"StringEquals": {"aws:ResourceTag/team": ["shop", "é"]}}
DATED = {"NumericLessThan": {"s3:max-keys": 1.5}}


@st.composite
def statement(draw: st.DrawFn) -> dict[str, Any]:
    names, places = draw(
        st.sampled_from([("Action", "Resource")] * 4 + [("NotAction", "Resource"), ("Action", "NotResource")])
    )
    made: dict[str, Any] = {
        "Effect": draw(st.sampled_from(["Allow", "Allow", "Allow", "Deny"])),
        names: draw(st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=4) | st.just("sqs:*")),
        places: draw(st.lists(st.sampled_from(RESOURCES), min_size=1, max_size=4) | st.just("*")),
    }
    condition = draw(st.sampled_from([None, None, TAGGED, DATED]))
    return {**made, "Condition": condition} if condition else made


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    statements = draw(st.lists(statement(), min_size=1, max_size=14))
    for number, each in enumerate(statements):
        if draw(st.booleans()):
            each["Sid"] = f"Part{number}"
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
def test_the_parts_together_say_what_the_whole_said_and_each_has_room(policy: dict[str, Any]) -> None:
    whole = document(policy)
    packed = pack(whole)
    assert packed.fits
    assert all(policy_size(part) <= quota(PolicyKind.MANAGED) for part in parts(packed))
    assert all(part.version == whole.version for part in parts(packed))
    assert_same([whole], parts(packed))


@examples(80)
@given(policies())
def test_sids_stay_unique_and_what_fits_is_not_touched(policy: dict[str, Any]) -> None:
    whole = document(policy)
    packed = pack(whole)
    for part in parts(packed):
        sids = [statement.sid for statement in part.statements if statement.sid]
        assert len(sids) == len(set(sids))
    if policy_size(whole) <= quota(PolicyKind.MANAGED):
        assert packed == PackedPolicy(whole)
    again = pack(packed.document)
    assert again == PackedPolicy(packed.document)


@examples(80)
@given(policies())
def test_merging_loses_and_gains_nothing(policy: dict[str, Any]) -> None:
    whole = document(policy)
    merged, gone = merge_statements(whole)
    assert len(merged.statements) + len(gone) == len(whole.statements)
    assert policy_size(merged) <= policy_size(whole)
    assert_same([whole], [merged])


def test_statements_of_equal_resources_or_equal_actions_become_one() -> None:
    queue, other = RESOURCES[:2]
    both = ["sqs:CreateQueue", "sqs:SendMessage"]
    merged, gone = merge_statements(
        document(
            {
                "Statement": [
                    {"Sid": "A", "Effect": "Allow", "Action": "sqs:SendMessage", "Resource": queue},
                    {"Sid": "B", "Effect": "Allow", "Action": ["sqs:CreateQueue"], "Resource": [queue]},
                    {"Sid": "C", "Effect": "Allow", "Action": "sns:Publish", "Resource": queue, "Condition": TAGGED},
                    {"Sid": "D", "Effect": "Deny", "Action": "sqs:DeleteQueue", "Resource": queue},
                    {
                        "Sid": "E",
                        "Effect": "Allow",
                        "Action": both,
                        "Resource": other,
                    },
                ]
            }
        )
    )
    assert gone == ("B", "E")
    assert [statement.sid for statement in merged.statements] == ["A", "C", "D"]
    assert merged.statements[0].actions == ("sqs:SendMessage", "sqs:CreateQueue")
    assert merged.statements[0].resources == (queue, other)


def test_no_more_statements_are_merged_or_folded_than_it_takes() -> None:
    """Whoever adds one queue to a full policy does not want to read forty statements anew."""
    queue = "arn:aws:sqs:eu-west-1:111122223333:orders-{:02}-" + "x" * 34
    queues = [
        {"Sid": f"Queue{number}", "Effect": "Allow", "Action": "sqs:SendMessage", "Resource": queue.format(number)}
        for number in range(40)
    ]
    limit = quota(PolicyKind.MANAGED)
    whole = document({"Version": "2012-10-17", "Statement": queues})
    assert limit < policy_size(whole) < limit + 300
    packed = pack(whole)
    assert packed.fits
    assert packed.further == packed.wildcards == ()
    assert packed.merged == tuple(f"Queue{number}" for number in range(40 - len(packed.merged), 40))
    assert policy_size(merge_statements(whole, policy_size(packed.document))[0]) == policy_size(packed.document)
    fewer, gone = merge_statements(whole, limit + 150)
    assert len(gone) < len(packed.merged)
    assert limit < policy_size(fewer) <= limit + 150
    lists = document({"Version": "2012-10-17", "Statement": [long_list("A", 120), long_list("B", 100, "s3")]})
    folded_policy, wildcards = shorten_actions(
        lists, lambda _document, _statement, _pattern: True, policy_size(lists) - 10
    )
    assert [each.pattern.partition(":")[0] for each in wildcards] == ["ec2"]
    assert policy_size(folded_policy) <= policy_size(lists) - 10
    shortest, every = shorten_actions(lists, lambda _document, _statement, _pattern: True)
    assert {each.pattern.partition(":")[0] for each in every} == {"ec2", "s3"}
    exactly, enough = shorten_actions(lists, lambda _document, _statement, _pattern: True, policy_size(shortest))
    assert (policy_size(exactly), {*enough}) == (policy_size(shortest), {*every})


@examples(80)
@given(policies(), st.integers(1, 100))
def test_merging_to_a_size_loses_and_gains_nothing_and_reaches_it_where_all_of_it_would(
    policy: dict[str, Any], share: int
) -> None:
    whole = document(policy)
    limit = policy_size(whole) * share // 100
    merged, gone = merge_statements(whole, limit)
    everything, all_gone = merge_statements(whole)
    assert len(merged.statements) + len(gone) == len(whole.statements)
    assert len(gone) <= len(all_gone)
    assert (policy_size(merged) <= limit) == (policy_size(everything) <= limit)
    assert_same([whole], [merged])


def long_list(sid: str, count: int, service: str = "ec2") -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": list(catalog.actions(service)[:count]), "Resource": "*"}


def test_a_wildcard_is_written_only_where_that_is_allowed_and_grants_the_same_actions_today() -> None:
    large = document({"Version": "2012-10-17", "Statement": [long_list("Servers", 400)]})
    assert pack(large).wildcards == ()
    packed = pack(large, may_write_wildcard=lambda _document, _statement, _pattern: True)
    assert packed.wildcards
    granted = {
        action
        for part in parts(packed)
        for each in part.statements
        for entry in each.actions
        for action in catalog.expand(entry)
    }
    assert granted == set(large.statements[0].actions)
    for each in packed.wildcards:
        assert set(each.actions) == set(catalog.expand(each.pattern))
        assert len(each.actions) >= 3


@given(st.integers(0, 2**60), st.booleans())
def test_a_fold_stands_for_nothing_else(bits: int, allowed: bool) -> None:
    names = catalog.actions("sqs") + catalog.actions("sns")
    chosen = [name for place, name in enumerate(names) if bits >> place & 1]
    others = [name for name in names if name not in chosen]
    entries = wildcards_for(chosen, others, lambda _: allowed)
    assert {name for name in names if any(action_matches(entry, name) for entry in entries)} == set(chosen)
    assert allowed or entries == tuple(sorted(chosen))


def test_the_file_keeps_its_lines_and_denials_and_the_last_statements_move() -> None:
    statements = [long_list("One", 120), long_list("Two", 100, "iam"), {**long_list("Three", 60, "rds")}]
    deny = {"Sid": "Never", "Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::secret"}
    whole = document({"Version": "2012-10-17", "Statement": [*statements, deny]}, indent="\t")
    packed = pack(whole)
    assert [[each.sid for each in part.statements] for part in parts(packed)] == [["One", "Three", "Never"], ["Two"]]
    lines = iter(whole.text.splitlines())
    assert all(line in lines for line in packed.document.text.splitlines())
    assert "\n\t" in packed.further[0].text


def test_a_statement_too_large_for_one_policy_is_cut_in_several() -> None:
    whole = document({"Version": "2012-10-17", "Statement": long_list("Servers", 500)})
    packed = pack(whole)
    assert len(parts(packed)) > 1
    assert packed.document.statements[0].sid == "Servers"
    assert len({part.statements[0].sid for part in parts(packed)}) == len(parts(packed))
    assert sum(len(each.actions) for part in parts(packed) for each in part.statements) == 500
    assert_same([whole], parts(packed))


def test_a_statement_is_cut_into_as_few_policies_as_its_size_takes() -> None:
    queues = [f"arn:aws:sqs:eu-west-1:111122223333:orders-{number:04}" for number in range(500)]
    large = {"Sid": "A22", "Effect": "Allow", "Action": "sqs:SendMessage", "Resource": queues}
    whole = document({"Version": "2012-10-17", "Statement": [large]})
    packed = pack(whole)
    assert packed.fits
    assert len(parts(packed)) == -(-policy_size(whole) // quota(PolicyKind.MANAGED)) == 5
    assert [part.statements[0].sid for part in parts(packed)] == ["A22", *(f"A22Part{n}" for n in range(2, 6))]
    assert [resource for part in parts(packed) for resource in part.statements[0].resources] == queues


def test_pieces_of_several_statements_get_sids_of_their_own() -> None:
    servers = [{**long_list("Servers", 500)}, {**long_list("ServersPart2", 3, "rds")}, {**long_list("servers", 400)}]
    packed = pack(document({"Version": "2012-10-17", "Statement": servers}))
    sids = [each.sid.lower() for part in parts(packed) for each in part.statements]
    assert len(sids) == len({*sids})
    assert all(re.fullmatch("servers(part[0-9]+)?", sid) for sid in sids)


def test_what_cannot_be_cut_or_needs_too_many_policies_is_told() -> None:
    solid = document({"Statement": {"Effect": "Allow", "Action": "sqs:*", "Resource": "x" * 7_000}})
    assert not pack(solid).fits
    large = document({"Statement": [long_list("Servers", 500)]})
    assert pack(large).fits
    assert not pack(large, attached=max_managed_policies() - 1).fits


def test_an_inline_policy_of_a_role_has_more_room() -> None:
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
    found = {kind.value: quota(kind) for kind in PolicyKind}
    assert found == {"managed": 6_144, "inline-role": 10_240, "inline-user": 2_048, "session": 2_048}
    assert max_managed_policies() == 10


def test_a_session_policy_has_no_white_space_and_counts_its_plain_text() -> None:
    one = document({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]})
    text = session_policy([one, one])
    assert not re.search(r"\s", text)
    assert_same([one], [parse(text.encode(), "session.json")])
    assert session_policy([document({"Version": "2012-10-17", "Statement": [long_list("Servers", 60)]})]) == ""
    assert session_policy([one, document({"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}})]) == ""
    assert session_policy([]) == ""


@pytest.mark.parametrize(
    ("path", "second"),
    [
        ("iam/ci-deploy.json", "iam/ci-deploy-2.json"),
        ("ci.deploy.json", "ci.deploy-2.json"),
        ("iam.d/policy", "iam.d/policy-2.json"),
    ],
)
def test_further_files_stand_beside_the_first(path: str, second: str) -> None:
    assert (numbered_file(path, 1), numbered_file(path, 2)) == (path, second)
    there = {second, numbered_file(path, 3), numbered_file(path, 5)}
    assert list(numbered_files(path, there.__contains__)) == [second, numbered_file(path, 3)]


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
def test_the_type_of_the_resource_tells_what_its_policies_are_attached_as(
    kind: str, pointer: str, expected: PolicyKind
) -> None:
    inner: Any = {"Statement": {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}}
    for name in reversed(pointer.split("/")):
        inner = [inner] if name == "0" else {name: inner}
    template = json.dumps({"Resources": {"X": {"Type": kind, "Properties": inner}}}).encode()
    found = parse(template, "template.json", f"/Resources/X/Properties/{pointer}")
    assert policy_kind(found, ROLE) is expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("aws_iam_user_policy", PolicyKind.INLINE_USER),
        ("aws_iam_role_policy", PolicyKind.INLINE_ROLE),
        ("aws_iam_policy", PolicyKind.MANAGED),
    ],
)
def test_terraforms_resources_tell_it_too(kind: str, expected: PolicyKind) -> None:
    statement = '{ Effect = "Allow", Action = "a:B", Resource = "*" }'
    text = f'resource "{kind}" "x" {{\n  policy = jsonencode({{ Statement = [{statement}] }})\n}}\n'
    assert policy_kind(parse(text.encode(), "main.tf", f"{kind}.x.policy"), ROLE) is expected


def test_the_inline_policies_of_a_role_share_one_quota() -> None:
    large = document({"PolicyDocument": {"Statement": [long_list("Servers", 150)]}})
    size = policy_size(large)
    assert size_of_others(PolicyKind.INLINE_ROLE, [large, document({"Statement": [long_list("A", 3)]})], ROLE) == size
    assert size_of_others(PolicyKind.MANAGED, [large], ROLE) == 0


def test_what_other_policies_take_of_the_quota_is_left_to_them() -> None:
    alarm = {"Effect": "Allow", "Action": "cloudwatch:PutMetricAlarm", "Resource": f"arn:aws:cloudwatch:{PADDING}"}
    own = document({"PolicyDocument": {"Version": "2012-10-17", "Statement": [long_list("Servers", 200), alarm]}})
    assert pack(own, PolicyKind.INLINE_ROLE) == PackedPolicy(own)
    room = policy_size(own) - 1
    packed = pack(own, PolicyKind.INLINE_ROLE, used_by_others=quota(PolicyKind.INLINE_ROLE) - room)
    assert packed.fits
    assert policy_size(packed.document) <= room
    assert [policy_size(part) > 0 for part in packed.further] == [True]
    assert_same([own], parts(packed))
    full = pack(own, PolicyKind.INLINE_ROLE, used_by_others=quota(PolicyKind.INLINE_ROLE))
    assert (full.document, full.further, full.fits) == (own, (), False)
