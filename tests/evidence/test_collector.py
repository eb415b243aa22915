"""Calls folded into usage: counts, runs, refusals and gaps; folding is sound and memory is
bounded.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from leastpriv.evidence.collector import UsageCollector
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, Call, DeniedBy, Gap, GapKind, Outcome, Scope, Usage
from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.resource_types import bucket_of, fits

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
START = datetime(2026, 11, 1, tzinfo=UTC)
USER = "User: arn:aws:sts::111122223333:assumed-role/deploy/1 is not authorized to perform: "
NO_POLICY = " because no identity-based policy allows the action"


def call(
    name: str = "GetObject",
    parameters: Mapping[str, object] | None = None,
    *,
    source: str = "s3",
    minutes: float = 0,
    session: str = "12345678901",
    outcome: Outcome = Outcome.ALLOWED,
    message: str = "",
    region: str = "eu-west-1",
    resources: Sequence[str] = (),
    data_event: bool = False,
    read_only: bool | None = None,
    parameters_omitted: bool = False,
) -> Call:
    return Call(
        event_id="",
        principal=ROLE,
        session=session,
        time=START + timedelta(minutes=minutes),
        account="111122223333",
        region=region,
        source=f"{source}.amazonaws.com",
        name=name,
        parameters={"bucketName": "b", "key": "k"} if parameters is None else parameters,
        response={},
        resources=tuple(resources),
        outcome=outcome,
        error_code="AccessDenied" if outcome is Outcome.DENIED else "",
        error_message=message,
        data_event=data_event,
        read_only=read_only,
        parameters_omitted=parameters_omitted,
    )


def closed(*calls: Call) -> Evidence:
    book = UsageCollector(ROLE)
    for each_call in calls:
        book.note(each_call)
    return book.close()


def denied(
    message: str, name: str = "GetObject", source: str = "s3", **more: object
) -> list[Usage]:
    evidence_of_denial = closed(
        call(name, source=source, outcome=Outcome.DENIED, message=message, **more)
    )  # type: ignore[arg-type]
    return [usage for usage in evidence_of_denial.usages if usage.outcome is Outcome.DENIED]


def test_a_denial_of_an_unmapped_action_is_a_gap_of_the_mapping() -> None:
    """AWS's own word against the mapping: the actions concerned stay, others do not care."""
    evidence = closed(
        call(outcome=Outcome.DENIED, message=f"{USER}sqs:SendMessage on resource: x{NO_POLICY}")
    )
    (gap,) = evidence.gaps
    assert gap.kind is GapKind.MAPPING_DISAGREES
    assert gap.scope == Scope(actions=("sqs:SendMessage", "s3:GetObject"))
    assert gap.detail == "s3.amazonaws.com:GetObject was denied sqs:SendMessage"


@pytest.mark.parametrize(
    "action", ["s3:GetObject", "s3:GetObjectVersion", "kms:Decrypt", "iam:PassRole"]
)
def test_a_denial_that_agrees_with_the_mapping_is_no_gap(action: str) -> None:
    evidence = closed(
        call(outcome=Outcome.DENIED, message=f"{USER}{action} on resource: x{NO_POLICY}")
    )
    assert evidence.gaps == ()


def test_a_role_that_a_request_does_not_name_is_a_gap_counted_by_event() -> None:
    run_task = call("RunTask", {"taskDefinition": "app"}, source="ecs")
    evidence = closed(run_task, run_task)
    assert [(gap.kind, gap.scope.actions, gap.detail, gap.count) for gap in evidence.gaps] == [
        (GapKind.MAY_PASS_ROLE, ("iam:PassRole",), "ecs.amazonaws.com:RunTask", 2)
    ]


def test_forwarded_calls_are_the_principals_own_and_say_who_forwarded_them() -> None:
    """Identity decides whose call it is; `invokedBy` is told."""
    own_call = call("CreateQueue", {"queueName": "q"}, source="sqs")
    evidence = closed(
        own_call, structs.replace(own_call, invoked_by="cloudformation.amazonaws.com")
    )
    (usage,) = evidence.usages
    assert (usage.count, usage.forwarded_by) == (2, ("cloudformation.amazonaws.com",))
    assert [group.forwarded_by for group in evidence.groups] == [("cloudformation.amazonaws.com",)]


def test_equal_needs_are_counted_with_first_last_runs_regions_and_events() -> None:
    evidence = closed(
        call(minutes=500, session="99999999999", region="us-east-1"),
        call(minutes=0),
        call("HeadObject", minutes=3),
    )
    (usage,) = evidence.usages
    assert (usage.need.permission.action, usage.need.permission.resource) == (
        "s3:GetObject",
        "arn:aws:s3:::b/k",
    )
    assert usage.count == 3
    assert (usage.first_seen, usage.last_seen) == (START, START + timedelta(minutes=500))
    assert usage.runs == ("12345678901", "99999999999")
    assert usage.regions == ("eu-west-1", "us-east-1")
    assert usage.events == ("s3.amazonaws.com:GetObject", "s3.amazonaws.com:HeadObject")
    assert evidence.span == timedelta(minutes=500)
    assert [run.id for run in evidence.runs] == ["12345678901", "99999999999"]


def test_allowed_unknown_and_denied_uses_of_one_permission_stay_apart() -> None:
    evidence = closed(
        call(), call(outcome=Outcome.UNKNOWN), call(outcome=Outcome.DENIED, message="Access Denied")
    )
    assert sorted(usage.outcome for usage in evidence.usages) == ["allowed", "denied", "unknown"]
    assert (
        evidence.counts.calls,
        evidence.counts.allowed,
        evidence.counts.denied,
        evidence.counts.unknown,
    ) == (3, 1, 1, 1)


def test_each_call_is_counted_by_what_became_of_it() -> None:
    evidence = closed(
        call(),
        call("GetCallerIdentity", {}, source="sts"),
        call("DoIt", source="nosuch"),
        call("FrobnicateBucket"),
        call("DoIt", source="nosuch", outcome=Outcome.DENIED),
    )
    assert evidence.counts.calls == 5
    assert evidence.counts.allowed == 4
    assert evidence.counts.no_permission == 1
    assert evidence.counts.unmapped == 2


def test_an_unmapped_event_is_a_gap_over_its_service_and_over_what_has_its_name() -> None:
    evidence = closed(
        call("DoIt", source="nosuch"),
        call("DoIt", source="nosuch"),
        call("Do It"),
        call("FrobnicateBucket"),
    )
    assert {(gap.kind, gap.scope, gap.count) for gap in evidence.gaps} == {
        (GapKind.UNMAPPED_EVENT, Scope(services=("nosuch",), actions=("*:DoIt",)), 2),
        (GapKind.UNMAPPED_EVENT, Scope(services=("s3",)), 1),
        (GapKind.UNVERIFIED_ACTION, Scope(services=("s3",)), 1),
    }


def test_omitted_parameters_could_hide_a_passed_role() -> None:
    (gap,) = closed(call("RunInstances", {}, source="ec2", parameters_omitted=True)).gaps
    assert (gap.kind, gap.scope.actions) == (GapKind.PARAMETERS_OMITTED, ("iam:PassRole",))


def test_gaps_are_counted_and_past_the_bound_only_their_details_go() -> None:
    book = UsageCollector(ROLE)
    for number in range(3_000):
        book.note_gap(
            Gap(GapKind.UNREADABLE_FILE, Scope(regions=("eu-west-1",)), f"file {number}", count=2)
        )
    gaps = book.close().gaps
    assert len(gaps) <= 1_001
    assert sum(gap.count for gap in gaps) == 6_000
    assert {gap.scope for gap in gaps} == {Scope(regions=("eu-west-1",))}


def test_no_calls_give_empty_evidence_without_a_span() -> None:
    evidence = closed()
    assert (evidence.usages, evidence.groups, evidence.runs, evidence.span) == (
        (),
        (),
        (),
        timedelta(),
    )


def test_a_call_that_needs_two_permissions_is_one_group_and_two_usages() -> None:
    evidence = closed(call("PutObject", {"bucketName": "b", "key": "k", "x-amz-acl": "private"}))
    (group,) = evidence.groups
    assert [need.permission.action for need in group.needs] == ["s3:PutObject", "s3:PutObjectAcl"]
    assert [usage.count for usage in evidence.usages] == [1, 1]


def test_a_denial_message_takes_precedence_over_the_event() -> None:
    (usage,) = denied(
        USER + 'kms:Decrypt on resource: "arn:aws:kms:eu-west-1:111122223333:key/abc"' + NO_POLICY,
        "GetParameter",
        "ssm",
    )
    assert usage.need.permission.action == "kms:Decrypt"
    assert usage.need.permission.resource == "arn:aws:kms:eu-west-1:111122223333:key/abc"
    assert usage.need.basis is Basis.DENIED
    assert usage.need.exact
    assert usage.denial is not None
    assert usage.denial.denied_by is DeniedBy.IDENTITY


def test_a_denial_without_an_action_has_the_needs_of_the_event() -> None:
    (usage,) = denied("Access Denied")
    assert (usage.need.permission.action, usage.need.permission.resource) == (
        "s3:GetObject",
        "arn:aws:s3:::b/k",
    )
    assert usage.need.basis is Basis.DENIED


def test_a_denial_without_a_resource_has_the_resources_of_the_request() -> None:
    request = {"instancesSet": {"items": [{"instanceId": "i-1"}, {"instanceId": "i-2"}]}}
    usages = denied(
        USER + "ec2:StopInstances" + NO_POLICY, "StopInstances", "ec2", parameters=request
    )
    assert [usage.need.permission.resource for usage in usages] == [
        "arn:aws:ec2:eu-west-1:111122223333:instance/i-1",
        "arn:aws:ec2:eu-west-1:111122223333:instance/i-2",
    ]


def test_a_denial_on_a_resource_of_another_type_does_not_grant_it() -> None:
    (usage,) = denied(
        USER + "s3:GetObject on resource: arn:aws:sqs:eu-west-1:111122223333:q" + NO_POLICY
    )
    assert usage.need.permission.resource == "arn:aws:s3:::b/k"


def test_a_name_in_a_denial_becomes_neither_a_wildcard_nor_a_variable() -> None:
    """Whoever names an object `*` or `${aws:username}` gets no more than that object."""
    for key, pattern in (("*", "${*}"), ("a?", "a${?}"), ("${aws:username}", "${$}{aws:username}")):
        (usage,) = denied(
            f'{USER}s3:GetObject on resource: "arn:aws:s3:::b/{key}"{NO_POLICY}',
            parameters={"bucketName": "b", "key": key},
        )
        assert usage.need.permission.resource == f"arn:aws:s3:::b/{pattern}"
        assert usage.need.basis is Basis.DENIED


def test_a_variable_in_a_denial_is_text_even_without_the_request() -> None:
    (usage,) = denied(
        f'{USER}s3:GetObject on resource: "arn:aws:s3:::b/${{aws:username}}/k"{NO_POLICY}',
        parameters={},
    )
    assert usage.need.permission.resource == "arn:aws:s3:::b/${$}{aws:username}/k"


def test_a_wildcard_in_a_name_in_a_denial_is_never_a_pattern() -> None:
    """The caller chose the key `*`: the message alone cannot tell it from a pattern, so it names no
    resource.
    """
    usages = denied(
        f'{USER}s3:GetObject on resource: "arn:aws:s3:::shop/*"{NO_POLICY}', parameters={}
    )
    assert not any(usage.need.exact for usage in usages)
    assert "arn:aws:s3:::shop/*" not in {usage.need.permission.resource for usage in usages}


def test_an_action_that_only_the_denial_names_is_not_verified() -> None:
    (usage,) = denied(USER + "s3:FrobnicateBucket on resource: arn:aws:s3:::b" + NO_POLICY)
    assert usage.need.permission.action == "s3:FrobnicateBucket"
    assert not usage.need.verified


def test_mendable_denials_and_others_are_separate() -> None:
    evidence = closed(
        call(
            outcome=Outcome.DENIED,
            message=USER + "s3:GetObject on resource: arn:aws:s3:::b/k" + NO_POLICY,
        ),
        call(
            outcome=Outcome.DENIED,
            message=USER
            + "s3:GetObject on resource: arn:aws:s3:::b/k with an explicit deny in a service"
            " control policy",
        ),
    )
    denials = [usage.denial for usage in evidence.usages if usage.denial]
    assert sorted((denial.denied_by, denial.mendable) for denial in denials) == [
        ("identity", True),
        ("scp", False),
    ]


@pytest.mark.parametrize(
    ("arn", "root"),
    [
        ("arn:aws:s3:::b/p/k", "arn:aws:s3:::b"),
        ("arn:aws:s3:::b", "arn:aws:s3:::b"),
        ("arn:aws:dynamodb:eu-west-1:1:table/t", "arn:aws:dynamodb:eu-west-1:1:table/t"),
    ],
)
def test_a_selector_names_the_bucket_of_an_object(arn: str, root: str) -> None:
    assert bucket_of(arn) == root


def objects(number: int) -> list[Call]:
    return [
        call("PutObject", {"bucketName": f"b{n % 7}", "key": f"p{n % 50}/{n}:x"})
        for n in range(number)
    ]


def test_many_object_keys_become_wildcards_and_memory_is_bounded() -> None:
    calls = objects(6_000)
    evidence = closed(*calls)
    assert len(evidence.usages) < 1_100
    assert sum(usage.count for usage in evidence.usages) == len(calls)
    patterns = [usage.need.permission.resource for usage in evidence.usages]
    for listed_call in calls:
        arn = f"arn:aws:s3:::{listed_call.parameters['bucketName']}/{listed_call.parameters['key']}"
        assert any(resource_covers(pattern, arn) for pattern in patterns)
    folded = [usage for usage in evidence.usages if "folded" in usage.need.derivation]
    assert folded
    assert not any(usage.need.exact for usage in folded)


@pytest.mark.parametrize(
    ("source", "name", "key", "value"),
    [
        ("logs", "CreateLogGroup", "logGroupName", "g{}"),
        ("sqs", "CreateQueue", "queueName", "q{}"),
        ("iam", "CreateRole", "roleName", "r{}"),
        ("ssm", "PutParameter", "name", "/a/{}"),
        ("lambda", "GetFunction20150331v2", "functionName", "f{}"),
    ],
)
def test_many_names_of_any_service_become_wildcards(
    source: str, name: str, key: str, value: str
) -> None:
    evidence = closed(
        *(call(name, {key: value.format(number)}, source=source) for number in range(1_500))
    )
    assert len(evidence.usages) < 1_100
    for usage in evidence.usages:
        assert fits(usage.need.permission.action, usage.need.permission.resource)
        assert usage.need.permission.resource.split(":")[4] == "111122223333"


def test_a_bare_star_is_never_replaced() -> None:
    refused = call(
        "GetObject", {}, outcome=Outcome.DENIED, message=USER + "s3:GetObjectTagging" + NO_POLICY
    )
    tagged = [
        call("GetObjectTagging", {"bucketName": "b", "key": str(number)}) for number in range(600)
    ]
    evidence = closed(*tagged, refused)
    (usage,) = [usage for usage in evidence.usages if usage.outcome is Outcome.DENIED]
    assert usage.need.permission.resource == "*"


CALLS = st.builds(
    call,
    st.sampled_from(["GetObject", "PutObject", "HeadBucket", "FrobnicateBucket"]),
    st.fixed_dictionaries(
        {"bucketName": st.sampled_from("bc"), "key": st.sampled_from(["k", "l", "*"])}
    ),
    minutes=st.integers(0, 400),
    session=st.sampled_from(["", "12345678901", "laptop"]),
    outcome=st.sampled_from(Outcome),
    message=st.sampled_from(
        ["Access Denied", USER + "s3:GetObject on resource: arn:aws:s3:::b/k" + NO_POLICY]
    ),
    region=st.sampled_from(["eu-west-1", "us-east-1"]),
)


@given(st.lists(CALLS, max_size=25), st.randoms(use_true_random=False))
def test_the_order_of_the_calls_does_not_count(calls: list[Call], random: object) -> None:
    shuffled = list(calls)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    in_order, shuffled_evidence = closed(*calls), closed(*shuffled)
    assert set(in_order.usages) == set(shuffled_evidence.usages)
    assert (in_order.runs, in_order.counts, in_order.regions, in_order.span) == (
        shuffled_evidence.runs,
        shuffled_evidence.counts,
        shuffled_evidence.regions,
        shuffled_evidence.span,
    )


@given(st.lists(CALLS, max_size=25))
def test_no_call_is_lost(calls: list[Call]) -> None:
    evidence = closed(*calls)
    counts = evidence.counts
    assert counts.calls == len(calls) == counts.allowed + counts.denied + counts.unknown
    allowed = [group for group in evidence.groups if group.outcome is Outcome.ALLOWED]
    assert sum(group.count for group in allowed) == counts.allowed
    ids = {run.id for run in evidence.runs}
    assert all(set(usage.runs) <= ids and usage.runs for usage in evidence.usages)
    assert sum(run.denied for run in evidence.runs) == counts.denied


def test_only_ids_of_created_resources_are_kept() -> None:
    """A failed call made nothing, and what a reading call lists was there before."""
    making = call("CreateRestApi", {"name": "shop"}, source="apigateway")
    evidence = closed(
        structs.replace(making, response={"id": "332d27d7", "name": "shop"}),
        structs.replace(making, response={"id": "471702ed"}, error_code="TooManyRequestsException"),
        structs.replace(
            call("GetRestApi", {"restApiId": "9cdc733a"}, source="apigateway"),
            response={"id": "9cdc733a"},
        ),
        structs.replace(
            call("CreateVpc", {}, source="ec2"),
            response={"vpc": {"vpcId": "vpc-1", "dhcpOptionsId": "dopt-1"}},
        ),
    )
    assert {resource_id for usage in evidence.usages for resource_id in usage.made} == {
        "332d27d7",
        "vpc-1",
    }


def test_the_number_of_ids_of_created_resources_is_limited() -> None:
    making = call("CreateRestApi", {"name": "shop"}, source="apigateway")
    evidence = closed(
        *(structs.replace(making, response={"id": f"{number:08x}"}) for number in range(1_200))
    )
    assert {len(usage.made) for usage in evidence.usages} == {1_000}


_EQUAL_REQUESTS: Sequence[Mapping[str, object]] = (
    {},
    {"bucketName": "b", "key": "k"},
    {"bucketName": "b"},
)
_CALLS_OF_EQUAL_REQUESTS = st.lists(
    st.builds(
        lambda request, name, outcome, region, read_only, answer, omitted, error: structs.replace(
            call(
                name,
                _EQUAL_REQUESTS[request],
                outcome=Outcome(outcome),
                region=region,
                read_only=read_only,
                parameters_omitted=omitted,
            ),
            response=answer,
            error_code=error if outcome != "denied" else "AccessDenied",
        ),
        st.integers(0, 2),
        st.sampled_from(["GetObject", "PutObject", "CreateBucket", "GetNothing"]),
        st.sampled_from(["allowed", "allowed", "denied", "unknown"]),
        st.sampled_from(["eu-west-1", "us-east-1"]),
        st.sampled_from([None, True, False]),
        st.sampled_from([{}, {"x": "y"}]),
        st.booleans(),
        st.sampled_from(["", "", "NoSuchKey"]),
    ),
    max_size=40,
)


@given(_CALLS_OF_EQUAL_REQUESTS)
@example(
    [
        call("GetObject", _EQUAL_REQUESTS[0], parameters_omitted=is_omitted)
        for is_omitted in (False, True)
    ]
)
@example(
    [call("GetObject", _EQUAL_REQUESTS[1], region=region) for region in ("eu-west-1", "us-east-1")]
)
def test_calls_that_share_a_request_count_like_calls_with_equal_ones(calls: Sequence[Call]) -> None:
    """The reader gives calls with equal requests the same object."""
    apart = [
        structs.replace(shared_call, parameters=dict(shared_call.parameters))
        for shared_call in calls
    ]
    assert closed(*calls) == closed(*apart)


def test_equal_requests_whose_answers_name_different_resources_are_different_needs() -> None:
    """A stack that was deleted and created again has a new id, which the request of its update does
    not name.
    """
    stacks = [
        f"arn:aws:cloudformation:eu-west-1:111122223333:stack/app/{number:036}" for number in (1, 2)
    ]
    first = call("UpdateStack", {"stackName": "app"}, source="cloudformation", read_only=False)
    calls = [structs.replace(first, response={"stackId": stack}) for stack in stacks]
    assert [usage.need.permission.resource for usage in closed(*calls).usages] == stacks


class _Request(dict[str, object]):
    """A request that a weak reference can follow."""


@pytest.mark.parametrize(
    "parameters",
    [
        {"bucketName": "b", "key": "k"},
        {"bucketName": "b", "key": "k" * 600},
        {"bucketName": "b", "key": "k", "tags": [{"key": str(number)} for number in range(600)]},
    ],
)
def test_no_request_takes_memory_until_the_end(parameters: Mapping[str, object]) -> None:
    collector, request = UsageCollector(ROLE), _Request(parameters)
    collector.note(call("GetObject", request))
    reference = weakref.ref(request)
    del request
    assert reference() is None
