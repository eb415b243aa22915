"""Resources: found where a record names them, of a type the action takes; an observed name is no
wildcard. `tests/cases_resources` has the rules of single services.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.models import Call, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.arn_templates import Resource
from leastpriv.permissions.patterns import has_variable, resource_matches
from leastpriv.permissions.request import request_values
from leastpriv.permissions.resource_types import fits, is_named_when_meant, widest
from tests.fakes.calls import resources_of

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci/deploy"
HERE = f"eu-west-1:{ACCOUNT}"


def call(
    service: str,
    name: str,
    parameters: Mapping[str, object] | None = None,
    *,
    resources: Sequence[str] = (),
) -> Call:
    return Call(
        event_id="",
        principal=ROLE,
        session="12345678901",
        time=datetime(2026, 11, 1, tzinfo=UTC),
        account=ACCOUNT,
        region="eu-west-1",
        source=f"{service}.amazonaws.com",
        name=name,
        parameters=parameters or {},
        response={},
        resources=tuple(resources),
        outcome=Outcome.ALLOWED,
    )


def patterns(found: Sequence[Resource]) -> list[str]:
    return [resource.pattern for resource in found]


@pytest.mark.parametrize("model", ["zz.amazon.nova-lite-v1:0", "zz-z.anthropic.claude-v2"])
def test_a_model_behind_a_region_not_listed_is_no_foundation_model_by_that_name(model: str) -> None:
    resources = resources_of(
        call("bedrock", "InvokeModel", {"modelId": model}), "bedrock:InvokeModel"
    )
    assert f"arn:aws:bedrock:eu-west-1::foundation-model/{model}" not in patterns(resources)
    assert any(
        resource_matches(pattern, f"arn:aws:bedrock:{HERE}:inference-profile/{model}")
        for pattern in patterns(resources)
    )


def test_an_image_named_by_a_parameter_is_any_image() -> None:
    request_ = {"instancesSet": {"items": [{"imageId": "resolve:ssm:/app/ami"}]}}
    resources = resources_of(call("ec2", "RunInstances", request_), "ec2:RunInstances")
    assert [(image.pattern, image.exact) for image in resources if "image" in image.pattern] == [
        ("arn:aws:ec2:eu-west-1::image/*", False)
    ]


@pytest.mark.parametrize("number", [60, 1_000])
def test_none_of_many_resources_is_dropped(number: int) -> None:
    request_ = {
        "resourcesSet": {"items": [{"resourceId": f"i-{count:08x}"} for count in range(number)]}
    }
    assert len(resources_of(call("ec2", "CreateTags", request_), "ec2:CreateTags")) == number


def test_more_resources_than_are_told_are_all_of_their_type() -> None:
    arns = [f"arn:aws:sns:{HERE}:t{count}" for count in range(1_200)]
    resources = resources_of(call("sns", "Publish", {"topicArns": arns}), "sns:Publish")
    assert [(resource.pattern, resource.exact) for resource in resources] == [
        (f"arn:aws:sns:{HERE}:*", False)
    ]
    recorded = resources_of(call("sns", "Publish", {}, resources=arns), "sns:Publish")
    assert [(resource.pattern, resource.exact) for resource in recorded] == [
        (f"arn:aws:sns:{HERE}:*", False)
    ]


def test_one_of_very_many_types_is_one_pattern_that_covers_them_all() -> None:
    """`ec2:CreateTags` takes 90 types: a cut list would leave the one out that was meant."""
    resources = resources_of(
        call("ec2", "CreateTags", {"resourcesSet": {"items": []}}), "ec2:CreateTags"
    )
    assert f"arn:aws:ec2:{HERE}:*" in patterns(resources)
    assert len(resources) < 6
    for kind in ("vpc/vpc-1", "volume/vol-1", "transit-gateway/tgw-1"):
        assert any(
            resource_matches(pattern, f"arn:aws:ec2:{HERE}:{kind}")
            for pattern in patterns(resources)
        )


def test_a_launch_template_that_is_named_is_asked_for_too() -> None:
    """RunInstances is refused on `launch-template/…`, whose id the request may not have."""
    request = {
        "launchTemplate": {"launchTemplateName": "web"},
        "subnetId": "subnet-1",
        "imageId": "ami-1",
    }
    assert f"arn:aws:ec2:{HERE}:launch-template/*" in patterns(
        resources_of(call("ec2", "RunInstances", request), "ec2:RunInstances")
    )


def test_a_resource_that_fits_no_type_of_its_action_is_widened_to_its_types() -> None:
    """Every resource fits its action, checked where resources are made: the source of a copy may be
    anything that a header says.
    """
    request = {"bucketName": "b", "key": "k", "x-amz-copy-source": f"arn:aws:sqs:{HERE}:q"}
    widened = patterns(resources_of(call("s3", "CopyObject", request), "s3:GetObject", on="source"))
    assert all(fits("s3:GetObject", pattern) for pattern in widened)
    assert "arn:aws:s3:::*/*" in widened


NASTY = st.text(alphabet="ab/*?${}:'\"\\\n é", min_size=1, max_size=20)


@given(NASTY)
def test_an_observed_name_matches_itself_and_is_never_a_wildcard_or_a_variable(key: str) -> None:
    put_call = call("s3", "PutObject", {"bucketName": "b", "key": key})
    (resource,) = resources_of(put_call, "s3:PutObject")
    assert not has_variable(resource.pattern)
    assert resource_matches(resource.pattern, f"arn:aws:s3:::b/{key}")
    assert not resource_matches(resource.pattern, f"arn:aws:s3:::b/{key}x")
    assert not resource_matches(resource.pattern, "arn:aws:s3:::b/other")


@given(NASTY)
def test_a_listed_arn_matches_itself_only(key: str) -> None:
    arn = f"arn:aws:s3:::b/x{key}"
    (resource,) = resources_of(call("s3", "GetObject", {}, resources=[arn]), "s3:GetObject")
    assert resource_matches(resource.pattern, arn)
    assert not resource_matches(resource.pattern, arn + "x")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=12)
    | st.sampled_from([ROLE, "arn:aws:s3:::b/k"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.just("name"), inner, max_size=4)
    ),
    max_leaves=20,
)
ACTIONS = [
    name
    for prefix in ("s3", "iam", "kms", "ec2", "logs", "ecs", "rds", "sns")
    for name in catalog.actions(prefix)
]


@given(
    st.sampled_from(ACTIONS),
    st.dictionaries(st.text(max_size=8), JSON, max_size=5),
    st.lists(st.text(max_size=30)),
)
def test_any_request_gives_at_least_one_resource_and_each_fits_the_action(
    action: str, parameters: dict[str, object], resources: list[str]
) -> None:
    written_resources = resources_of(
        call(action.partition(":")[0], "Any", parameters, resources=resources), action
    )
    assert written_resources
    assert all(fits(action, resource.pattern) for resource in written_resources)


def test_request_values_come_outermost_first_with_lower_case_keys() -> None:
    request = {
        "Deep": {"Name": "inner"},
        "Name": "outer",
        "List": ["a", {"Key": "b"}, ""],
        "n": 1,
        "none": None,
    }
    assert request_values(request) == [
        ("name", "outer"),
        ("name", "inner"),
        ("list", "a"),
        ("key", "b"),
    ]


def test_request_values_leave_out_what_is_under_a_skipped_key() -> None:
    assert request_values({"Tags": {"a": "b"}, "x": {"tags": "c", "d": "e"}}, skip={"tags"}) == [
        ("d", "e")
    ]


@pytest.mark.parametrize("parameters", [None, "text", 3, [], {}])
def test_request_values_of_no_object_are_few(parameters: object) -> None:
    assert len(request_values(parameters)) <= 1


def test_request_values_of_huge_and_deep_requests_are_bounded() -> None:
    """A request of a million values, or one nested 50,000 deep, costs neither memory nor the
    recursion limit.
    """
    deep: object = "bottom"
    for _ in range(50_000):
        deep = {"a": [deep]}
    many_values = {
        "names": [f"n{number}" for number in range(1_000_000)],
        "items": [{"x": ["y"] * 100}] * 10_000,
    }
    started = time.process_time()
    assert request_values(deep) == [("a", "bottom")]
    assert len(request_values(many_values)) <= 4_000
    many_names = call("ssm", "GetParameters", {"names": [f"n{number}" for number in range(5_000)]})
    assert len(resources_of(many_names, "ssm:GetParameters")) <= 50
    assert time.process_time() - started < 5


def test_the_widest_resource_stays_in_the_account_and_the_regions_seen() -> None:
    assert widest("sqs:SendMessage", ROLE, ["eu-west-1", "us-east-1"]) == (
        f"arn:aws:sqs:eu-west-1:{ACCOUNT}:*",
        f"arn:aws:sqs:us-east-1:{ACCOUNT}:*",
    )
    assert widest("ec2:DescribeInstances", ROLE, ["eu-west-1"]) == ("*",)


@pytest.mark.parametrize("action", ["apigateway:POST", "lex:CreateIntent"])
def test_each_widest_resource_is_one_arn_though_the_catalogue_writes_two_a_cell(
    action: str,
) -> None:
    assert not any(", " in pattern for pattern in widest(action, ROLE, ["eu-west-1"]))


@given(st.sampled_from(ACTIONS))
def test_the_widest_resources_fit_their_action(action: str) -> None:
    assert all(fits(action, resource) for resource in widest(action, ROLE, ["eu-west-1"]))


@pytest.mark.parametrize(
    ("action", "kind", "is_named"),
    [
        ("lambda:GetFunction", "function alias", True),
        ("lambda:InvokeFunction", "function alias", False),
        ("lambda:InvokeFunction", "function version", False),
        ("lambda:GetFunction", "function", False),
        ("dynamodb:TagResource", "table", True),
        ("dynamodb:Query", "index", False),
        ("s3:GetObject", "accesspointobject", True),
    ],
)
def test_silence_about_a_resource_is_an_answer_only_where_the_record_would_name_it(
    action: str, kind: str, is_named: bool
) -> None:
    """A record of a synchronous Invoke does not tell the alias: a grant on the alias may have
    served it.
    """
    assert is_named_when_meant(action, kind) is is_named


def test_a_renamed_service_keeps_the_arn_of_the_request() -> None:
    """A connection has the prefix of its creation, and both services act on it."""
    old = f"arn:aws:codestar-connections:{HERE}:connection/c"
    new = f"arn:aws:codeconnections:{HERE}:connection/c"
    for service, arn in (("codeconnections", old), ("codestar-connections", new)):
        resources = resources_of(
            call(service, "DeleteConnection", {"connectionArn": arn}), f"{service}:DeleteConnection"
        )
        assert patterns(resources) == [arn]


def test_a_message_to_a_phone_number_needs_all_resources() -> None:
    resources = resources_of(call("sns", "Publish", {"phoneNumber": "+15550100"}), "sns:Publish")
    assert patterns(resources) == ["*"]


def test_a_command_to_instances_by_id_names_them() -> None:
    ids = ["i-0123456789abcdef0", "mi-0123456789abcdef0"]
    request = {
        "documentName": "AWS-RunShellScript",
        "targets": [{"key": "InstanceIds", "values": ids}],
    }
    command_resources = patterns(
        resources_of(call("ssm", "SendCommand", request), "ssm:SendCommand")
    )
    assert command_resources == [
        "arn:aws:ssm:eu-west-1::document/AWS-RunShellScript",
        f"arn:aws:ec2:{HERE}:instance/{ids[0]}",
        f"arn:aws:ssm:{HERE}:managed-instance/{ids[1]}",
    ]
