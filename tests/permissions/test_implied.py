"""What calls need besides roles and tags: told by the record, never by what is likely."""

from __future__ import annotations

import pytest
from msgspec import structs

from leastpriv.aws.errors import call_outcome
from leastpriv.models import Outcome
from leastpriv.permissions.mapping import needs_of
from tests.fakes.calls import a_call, inferred, inferred_besides_launch


@pytest.mark.parametrize("event", ["s3:GetObject", "s3:HeadObject"])
@pytest.mark.parametrize("code", ["NoSuchKey", "NotFound"])
def test_an_object_that_is_told_absent_shows_the_right_to_list_the_bucket(
    event: str, code: str
) -> None:
    """S3 says 404 only to those who may list, 403 to others: without it a deploy would stop at its
    first run.
    """
    assert call_outcome(code, "") is Outcome.ALLOWED
    (need,) = inferred(
        a_call(
            event, {"bucketName": "state", "key": "a/b.tfstate"}, error_code=code, read_only=True
        )
    )
    assert (need.permission.action, need.permission.resource) == (
        "s3:ListBucket",
        "arn:aws:s3:::state",
    )
    assert need.exact


@pytest.mark.parametrize(
    ("event", "parameters", "error_code", "outcome"),
    [
        ("s3:GetObject", {"bucketName": "state", "key": "k"}, "NoSuchBucket", Outcome.ALLOWED),
        ("s3:GetObject", {"bucketName": "state", "key": "k"}, "", Outcome.ALLOWED),
        ("s3:HeadObject", {"bucketName": "state", "key": "k"}, "404", Outcome.UNKNOWN),
        ("s3:GetObject", {"bucketName": "state", "key": "k"}, "NoSuchKey", Outcome.UNKNOWN),
        ("s3:GetObject", {"key": "k"}, "NoSuchKey", Outcome.ALLOWED),
        ("s3:DeleteObject", {"bucketName": "state", "key": "k"}, "NoSuchKey", Outcome.ALLOWED),
        ("lambda:GetFunction", {"functionName": "f"}, "NotFound", Outcome.ALLOWED),
    ],
)
def test_other_answers_show_no_right_to_list(
    event: str, parameters: dict[str, object], error_code: str, outcome: Outcome
) -> None:
    assert inferred(a_call(event, parameters, error_code=error_code, outcome=outcome)) == []


@pytest.mark.parametrize(
    ("image", "resource"),
    [
        ("resolve:ssm:/golden/ami", "arn:aws:ssm:eu-west-1:111122223333:parameter/golden/ami"),
        ("resolve:ssm:golden", "arn:aws:ssm:eu-west-1:111122223333:parameter/golden"),
        ("resolve:ssm:/golden/ami:3", "arn:aws:ssm:eu-west-1:111122223333:parameter/golden/ami"),
        (
            "resolve:ssm:/aws/service/ami-x/latest",
            "arn:aws:ssm:eu-west-1::parameter/aws/service/ami-x/latest",
        ),
        ("resolve:ssm:/odd*name", "arn:aws:ssm:eu-west-1:111122223333:parameter/odd${*}name"),
    ],
)
def test_an_image_named_by_a_parameter_needs_that_parameter(image: str, resource: str) -> None:
    call = a_call("ec2:RunInstances", {"instancesSet": {"items": [{"imageId": image}]}})
    (need,) = inferred_besides_launch(call)
    assert (need.permission.action, need.permission.resource) == ("ssm:GetParameters", resource)


def test_an_image_named_by_its_id_needs_no_parameter() -> None:
    assert (
        inferred_besides_launch(
            a_call("ec2:RunInstances", {"instancesSet": {"items": [{"imageId": "ami-1"}]}})
        )
        == []
    )


def launched(root: str, parameters: dict[str, object] | None = None) -> list[str]:
    call = a_call(
        "ec2:RunInstances",
        {"instancesSet": {"items": [{"imageId": "ami-1"}]}, **(parameters or {})},
    )
    answer = {
        "instancesSet": {"items": [{"instanceId": "i-0123456789abcdef0", "rootDeviceType": root}]}
    }
    needs = inferred(structs.replace(call, response=answer))
    return [
        need.permission.resource for need in needs if need.permission.action == "ec2:RunInstances"
    ]


def test_an_instance_that_starts_from_a_volume_needs_the_action_on_volumes() -> None:
    """The request names no volume; EC2 asks for one wherever the image is on Amazon EBS."""
    assert launched("ebs") == ["arn:aws:ec2:eu-west-1:111122223333:volume/*"]
    assert launched("instance-store") == []


def test_a_launch_whose_answer_tells_no_device_needs_the_action_on_volumes_too() -> None:
    """Most images are on Amazon EBS, and a denied volume fails the launch."""
    group = a_call(
        "autoscaling:CreateAutoScalingGroup",
        {"autoScalingGroupName": "web", "launchTemplate": {"launchTemplateId": "lt-1"}},
    )
    resources = [need.permission.resource for need in inferred(group)]
    assert "arn:aws:ec2:eu-west-1:111122223333:volume/*" in resources


def test_the_subnets_of_a_group_are_those_of_its_launches() -> None:
    group = a_call(
        "autoscaling:CreateAutoScalingGroup",
        {
            "autoScalingGroupName": "web",
            "launchTemplate": {"launchTemplateId": "lt-1"},
            "vPCZoneIdentifier": "subnet-0a1b2c3d4e5f60718, subnet-0a1b2c3d4e5f60719",
        },
    )
    resources = {need.permission.resource for need in needs_of(group).needs}
    subnets = {subnet for subnet in resources if ":subnet/" in subnet}
    assert subnets == {
        "arn:aws:ec2:eu-west-1:111122223333:subnet/subnet-0a1b2c3d4e5f60718",
        "arn:aws:ec2:eu-west-1:111122223333:subnet/subnet-0a1b2c3d4e5f60719",
    }


def test_a_backup_vault_needs_its_storage() -> None:
    needs = needs_of(a_call("backup:CreateBackupVault", {"backupVaultName": "main"})).needs
    assert [need.permission.action for need in needs] == [
        "backup:CreateBackupVault",
        "backup-storage:MountCapsule",
    ]


def test_a_service_linked_role_is_never_guessed() -> None:
    """The role is made once: a call that would make it if it were missing does not show that it
    was.
    """
    assert (
        inferred(a_call("autoscaling:CreateAutoScalingGroup", {"autoScalingGroupName": "web"}))
        == []
    )


@pytest.mark.parametrize(
    ("url", "resource"),
    [
        ("https://s3.amazonaws.com/acme/t/a%20b.yaml", "arn:aws:s3:::acme/t/a b.yaml"),
        ("https://s3-eu-west-1.amazonaws.com/acme/t.yaml", "arn:aws:s3:::acme/t.yaml"),
        ("https://acme.s3.eu-west-1.amazonaws.com/t.yaml?versionId=3", "arn:aws:s3:::acme/t.yaml"),
        (
            "https://acme.web.s3.dualstack.eu-west-1.amazonaws.com/t/*.yaml",
            "arn:aws:s3:::acme.web/t/${*}.yaml",
        ),
        ("s3://acme/t.yaml", "arn:aws:s3:::acme/t.yaml"),
    ],
)
def test_a_template_in_a_bucket_is_read_with_the_permissions_of_the_caller(
    url: str, resource: str
) -> None:
    (need,) = inferred(
        a_call("cloudformation:CreateStack", {"stackName": "orders", "templateURL": url})
    )
    assert (need.permission.action, need.permission.resource, need.exact) == (
        "s3:GetObject",
        resource,
        True,
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/t.yaml",
        "https://acme.s3.example.com/t.yaml",
        "DOC-EXAMPLE-BUCKET1",
        "s3://acme/",
        "",
    ],
)
def test_another_address_of_a_template_names_no_object(url: str) -> None:
    assert (
        inferred(a_call("cloudformation:CreateStack", {"stackName": "orders", "templateURL": url}))
        == []
    )


def test_each_pair_of_bucket_and_key_is_an_object_and_a_version_needs_its_own_action() -> None:
    contents = [{"s3Bucket": "one", "s3Key": "a"}, {"s3Bucket": "two", "s3Key": "b"}]
    lists = a_call(
        "elasticloadbalancing:AddTrustStoreRevocations", {"revocationContents": contents}
    )
    assert [need.permission.resource for need in inferred(lists)] == [
        "arn:aws:s3:::one/a",
        "arn:aws:s3:::two/b",
    ]
    code = {"functionName": "f", "s3Bucket": "one", "s3Key": "a", "s3ObjectVersion": "3"}
    needs = inferred(a_call("lambda:UpdateFunctionCode", code))
    assert [need.permission.action for need in needs] == ["s3:GetObject", "s3:GetObjectVersion"]
