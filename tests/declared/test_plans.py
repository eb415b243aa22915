"""The promises of needs from Terraform plans: only what the change needs, on names and references
of the plan.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from leastpriv.declared.models import Declaration, Place
from leastpriv.declared.plan import backend_calls, read_plan
from leastpriv.declared.resource_needs import needs_of
from leastpriv.errors import InputError
from leastpriv.permissions.tool_lifecycle import (
    Phase,
    ResourceKind,
    Tool,
    conditional_actions,
)

PLACE = Place("aws", "111122223333", "eu-west-1")
CI = "arn:aws:iam::111122223333:role/ci"
ACCOUNT = "111122223333"


def change(
    kind: str, actions: list[str], after: Any = None, before: Any = None, **unknown: bool
) -> dict[str, Any]:
    return {
        "address": f"{kind}.main",
        "mode": "managed",
        "type": kind,
        "name": "main",
        "provider_name": "registry.terraform.io/hashicorp/aws",
        "change": {"actions": actions, "before": before, "after": after, "after_unknown": unknown},
    }


def plan(*changes: dict[str, Any], configuration: Any = None, **more: Any) -> bytes:
    content = {
        "format_version": "1.2",
        "planned_values": {},
        "resource_changes": list(changes),
        **more,
    }
    return json.dumps({**content, "configuration": {"root_module": configuration or {}}}).encode()


def needed(raw: bytes) -> dict[str, set[str]]:
    """Action -> resources."""
    resources_by_action: dict[str, set[str]] = {}
    for need in needs_of(read_plan(raw, "plan.json"), PLACE):
        resources_by_action.setdefault(need.permission.action, set()).add(need.permission.resource)
    return resources_by_action


QUEUE = {
    "name": "orders",
    "fifo_queue": False,
    "tags": None,
    "tags_all": {},
    "arn": f"arn:aws:sqs:eu-west-1:{ACCOUNT}:orders",
}


def test_a_plan_that_creates_needs_creation_and_reads() -> None:
    needs = needed(plan(change("aws_sqs_queue", ["create"], {"name": "orders", "tags_all": {}})))
    assert needs["sqs:CreateQueue"] == {f"arn:aws:sqs:eu-west-1:{ACCOUNT}:orders"}
    assert "sqs:GetQueueAttributes" in needs
    assert {"sqs:DeleteQueue", "sqs:TagQueue"}.isdisjoint(needs)


def test_tags_need_the_permission_to_tag() -> None:
    needs = needed(
        plan(change("aws_sqs_queue", ["create"], {"name": "orders", "tags_all": {"a": "b"}}))
    )
    assert "sqs:TagQueue" in needs


def test_a_plan_that_deletes_needs_deletion_of_the_resource_in_the_state() -> None:
    needs = needed(plan(change("aws_sqs_queue", ["delete"], None, QUEUE)))
    assert needs["sqs:DeleteQueue"] == {QUEUE["arn"]}
    assert "sqs:CreateQueue" not in needs


def test_a_replacement_needs_both() -> None:
    needs = needed(plan(change("aws_sqs_queue", ["delete", "create"], {"name": "baskets"}, QUEUE)))
    assert {"sqs:DeleteQueue", "sqs:CreateQueue"} <= set(needs)


def test_an_update_needs_what_its_changed_attributes_need() -> None:
    after = {**QUEUE, "delay_seconds": 5}
    needs = needed(plan(change("aws_sqs_queue", ["update"], after, QUEUE)))
    assert "sqs:SetQueueAttributes" in needs
    assert {"sqs:CreateQueue", "sqs:DeleteQueue"}.isdisjoint(needs)


def test_what_does_not_change_is_read() -> None:
    needs = needed(plan(change("aws_sqs_queue", ["no-op"], QUEUE, QUEUE)))
    assert needs["sqs:GetQueueAttributes"] == {QUEUE["arn"]}
    assert "sqs:SetQueueAttributes" not in needs


def test_a_role_that_the_plan_makes_is_passed_by_its_reference() -> None:
    trust = json.dumps({"Statement": [{"Principal": {"Service": "lambda.amazonaws.com"}}]})
    function = {
        "address": "aws_lambda_function.main",
        "expressions": {"role": {"references": ["aws_iam_role.main.arn", "aws_iam_role.main"]}},
    }
    raw = plan(
        change(
            "aws_iam_role",
            ["create"],
            {"name": "worker", "path": "/", "assume_role_policy": trust},
            arn=True,
        ),
        change("aws_lambda_function", ["create"], {"function_name": "worker"}, role=True, arn=True),
        configuration={"resources": [function]},
    )
    (passed,) = [
        need
        for need in needs_of(read_plan(raw, "p"), PLACE)
        if need.permission.action == "iam:PassRole"
    ]
    assert passed.permission.resource == f"arn:aws:iam::{ACCOUNT}:role/worker"
    assert passed.permission.conditions[0].values == ("lambda.amazonaws.com",)


def test_an_expression_in_the_json_syntax_of_terraform_is_a_reference_and_no_text() -> None:
    """The tools that write this syntax, such as the CDK for Terraform, quote each expression."""
    role_values = {"name": "worker", "path": "/", "assume_role_policy": "{}"}
    role_expressions = {
        "role": {"constant_value": "${aws_iam_role.main.arn}", "references": ["aws_iam_role.main"]}
    }
    attached = {
        "role": {"constant_value": "${aws_iam_role.main.id}", "references": ["aws_iam_role.main"]},
        "policy": {"constant_value": "{}"},
    }
    resources = [
        {"address": "aws_lambda_function.main", "expressions": role_expressions},
        {"address": "aws_iam_role_policy.main", "expressions": attached},
    ]
    needs = needed(
        plan(
            change("aws_iam_role", ["create"], role_values, arn=True),
            change("aws_lambda_function", ["create"], {"function_name": "worker"}, role=True),
            change("aws_iam_role_policy", ["create"], {"name": "orders"}, role=True),
            configuration={"resources": resources},
        )
    )
    role = f"arn:aws:iam::{ACCOUNT}:role/worker"
    assert needs["iam:PassRole"] == {role}
    assert needs["iam:PutRolePolicy"] == {role}
    assert not any("${" in resource for resources in needs.values() for resource in resources)


def test_a_prefix_opens_the_end_of_a_name() -> None:
    needs = needed(plan(change("aws_sqs_queue", ["create"], {"name_prefix": "orders-"}, name=True)))
    assert needs["sqs:CreateQueue"] == {f"arn:aws:sqs:eu-west-1:{ACCOUNT}:orders-*"}


def test_a_name_is_no_id_that_aws_gives() -> None:
    needs = needed(
        plan(
            change(
                "aws_security_group", ["create"], {"name": "web", "ingress": [], "vpc_id": "vpc-1"}
            )
        )
    )
    assert f"arn:aws:ec2:eu-west-1:{ACCOUNT}:security-group/*" in needs["ec2:CreateSecurityGroup"]


def test_a_rule_of_an_event_bus_has_its_own_name() -> None:
    needs = needed(
        plan(
            change(
                "aws_cloudwatch_event_rule",
                ["create"],
                {"name": "nightly", "event_bus_name": "default"},
            )
        )
    )
    assert f"arn:aws:events:eu-west-1:{ACCOUNT}:rule/nightly" in needs["events:PutRule"]


def test_a_data_source_is_read() -> None:
    state = {"values": {"root_module": {"resources": [
        {"mode": "data", "type": "aws_sqs_queue", "address": "data.aws_sqs_queue.q",
        "values": {"name": "orders"}},
        {"mode": "data", "type": "aws_caller_identity", "address": "data.aws_caller_identity.me",
        "values": {}},
    ]}}}  # fmt: skip
    raw = plan(prior_state=state)
    assert "sqs:GetQueueAttributes" in needed(raw)
    assert not read_plan(raw, "p").unknown


def test_a_data_source_that_the_deployment_reads_names_what_the_plan_makes() -> None:
    secret = change("aws_secretsmanager_secret", ["create"], {"name": "shop"}, arn=True, id=True)
    kind = "aws_secretsmanager_secret_version"
    read = {
        **change(kind, ["read"], {"version_stage": None}, secret_id=True),
        "address": f"data.{kind}.main",
        "mode": "data",
    }
    configured = {
        "address": f"data.{kind}.main",
        "expressions": {"secret_id": {"references": ["aws_secretsmanager_secret.main.id"]}},
    }
    needs = needed(plan(secret, read, configuration={"resources": [configured]}))
    assert needs["secretsmanager:GetSecretValue"] == {
        f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:shop-*"
    }


def test_a_type_without_any_known_action_is_named() -> None:
    raw = plan(change("aws_elastictranscoder_pipeline", ["create"], {"name": "video"}))
    assert [*read_plan(raw, "p").unknown] == ["aws_elastictranscoder_pipeline"]


def test_a_plan_without_a_resource_of_aws_says_so() -> None:
    subnet = {
        **change("azurerm_subnet", ["create"], {}),
        "provider_name": "registry.terraform.io/hashicorp/azurerm",
    }
    assert read_plan(plan(subnet), "p.json").unknown == {"p.json": "it has no resource of AWS"}


def test_the_plans_of_several_units_in_one_file_are_all_read() -> None:
    def unit(name: str) -> bytes:
        queue = change("aws_sqs_queue", ["create"], {"name": name, "tags_all": {}}, arn=True)
        policy = change("aws_sqs_queue_policy", ["create"], {"policy": "{}"}, queue_url=True)
        references = {"references": ["aws_sqs_queue.main.id", "aws_sqs_queue.main"]}
        configured = {
            "address": "aws_sqs_queue_policy.main",
            "expressions": {"queue_url": references},
        }
        return plan(queue, policy, configuration={"resources": [configured]})

    raw = b"12:01:02.123 INFO [one] terraform\n" + unit("orders") + b"\n" + unit("carts") + b"\n"
    needs = needed(raw)
    queues = {f"arn:aws:sqs:eu-west-1:{ACCOUNT}:{name}" for name in ("orders", "carts")}
    assert needs["sqs:CreateQueue"] == queues
    assert needs["sqs:SetQueueAttributes"] == queues


def test_a_broken_plan_after_a_whole_one_is_refused() -> None:
    whole_plan = plan(change("aws_sqs_queue", ["create"], {"name": "orders"}))
    with pytest.raises(InputError, match=r"p\.json is no plan in JSON"):
        read_plan(whole_plan + b"\n" + whole_plan[:-20], "p.json")


def test_a_plan_of_opentofu_is_read_as_one_of_terraform() -> None:
    queue = {
        **change("aws_sqs_queue", ["create"], {"name": "orders"}),
        "provider_name": "registry.opentofu.org/hashicorp/aws",
    }
    assert "sqs:CreateQueue" in needed(plan(queue))


def test_a_plan_in_its_own_format_is_refused_with_the_command_that_shows_it() -> None:
    with pytest.raises(InputError, match=r"terraform show -json tf\.plan > plan\.json"):
        read_plan(b"PK\x03\x04\x14", "tf.plan")


def test_a_route_is_read_by_its_table() -> None:
    route = {"route_table_id": "rtb-0123456789abcdef0", "destination_cidr_block": "10.0.0.0/8"}
    assert "ec2:DescribeRouteTables" in needed(plan(change("aws_route", ["create"], route)))


def test_an_auto_scaling_group_asks_for_what_its_attributes_set() -> None:
    needs = needed(plan(change("aws_autoscaling_group", ["create"], {"name": "web"})))
    assert {"autoscaling:PutWarmPool", "autoscaling:EnableMetricsCollection"}.isdisjoint(needs)
    block = {"name": "web", "warm_pool": [{"min_size": 1}], "enabled_metrics": ["GroupMaxSize"]}
    needs = needed(plan(change("aws_autoscaling_group", ["create"], block)))
    assert {"autoscaling:PutWarmPool", "autoscaling:EnableMetricsCollection"} <= set(needs)


def test_other_providers_are_left_out_and_unknown_types_named() -> None:
    bucket = {
        **change("google_storage_bucket", ["create"], {}),
        "provider_name": "registry.terraform.io/hashicorp/google",
    }
    declaration = read_plan(plan(bucket, change("aws_newer_type", ["create"], {})), "p")
    assert [resource.kind.name for resource in declaration.resources] == ["aws_newer_type"]
    assert [*declaration.unknown] == ["aws_newer_type"]


def test_the_backend_in_s3_needs_state_and_lock() -> None:
    config = {
        "bucket": "state",
        "key": "app.tfstate",
        "use_lockfile": True,
        "dynamodb_table": "locks",
    }
    calls = backend_calls(json.dumps({"backend": {"type": "s3", "config": config}}).encode(), PLACE)
    permissions = {(need.permission.action, need.permission.resource) for need in calls}
    assert ("s3:PutObject", "arn:aws:s3:::state/app.tfstate") in permissions
    assert ("s3:DeleteObject", "arn:aws:s3:::state/app.tfstate.tflock") in permissions
    assert ("dynamodb:PutItem", f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/locks") in permissions
    assert backend_calls(b'{"backend": {"type": "local"}}', PLACE) == ()


@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b"{}", b'{"planned_values": {}, "resource_changes": 3}']
)
def test_what_is_no_plan_is_bad_input(raw: bytes) -> None:
    with pytest.raises(InputError, match="terraform show -json"):
        read_plan(raw, "plan.json")


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [
        ("main.tf", 'resource "aws_sqs_queue" "q" {}', "terraform plan -out tf.plan"),
        ("Pulumi.yaml", "name: shop", "pulumi preview --json"),
        ("cdk.json", '{"app": "x", "context": {}}', "cdk synth"),
        ("terragrunt.hcl", "inputs = {}", "terragrunt show -json"),
        ("state.json", '{"serial": 1, "lineage": "a"}', "terraform show -json"),
        ("template.json", '{"Resources": {}}', "input templates"),
    ],
)
def test_another_file_is_refused_with_a_command_that_does_not_overwrite_it(
    name: str, text: str, command: str
) -> None:
    with pytest.raises(InputError) as refused:
        read_plan(text.encode(), name)
    assert command in str(refused.value)
    assert f"> {name}" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "after", "action", "resource"),
    [
        (
            "aws_iam_role_policy_attachment",
            {"role": "worker", "policy_arn": "arn:aws:iam::aws:policy/X"},
            "iam:AttachRolePolicy",
            f"arn:aws:iam::{ACCOUNT}:role/worker",
        ),
        (
            "aws_sqs_queue_policy",
            {"queue_url": f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/orders", "policy": "{}"},
            "sqs:SetQueueAttributes",
            f"arn:aws:sqs:eu-west-1:{ACCOUNT}:orders",
        ),
        (
            "aws_kms_alias",
            {"name": "alias/orders"},
            "kms:CreateAlias",
            f"arn:aws:kms:eu-west-1:{ACCOUNT}:alias/orders",
        ),
        ("aws_s3_bucket_policy", {"bucket": "files"}, "s3:PutBucketPolicy", "arn:aws:s3:::files"),
        (
            "aws_cloudwatch_event_target",
            {"rule": "nightly", "arn": "x"},
            "events:PutTargets",
            f"arn:aws:events:eu-west-1:{ACCOUNT}:rule/nightly",
        ),
        (
            "aws_route53_record",
            {"name": "www", "zone_id": "Z1"},
            "route53:ChangeResourceRecordSets",
            "arn:aws:route53:::hostedzone/Z1",
        ),
        (
            "aws_secretsmanager_secret",
            {"name": "db"},
            "secretsmanager:CreateSecret",
            f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:db-*",
        ),
    ],
)
def test_known_names_of_other_resources_are_in_the_arn(
    kind: str, after: dict[str, Any], action: str, resource: str
) -> None:
    assert resource in needed(plan(change(kind, ["create"], after)))[action]


@pytest.mark.parametrize(
    ("kind", "action", "with_it", "without"),
    [
        (
            "aws_lambda_function",
            "lambda:GetLayerVersion",
            {"layers": ["arn:aws:lambda:eu-west-1:1:layer:a:1"]},
            {},
        ),
        (
            "aws_lambda_function",
            "ec2:DescribeSubnets",
            {"vpc_config": [{"subnet_ids": ["subnet-1"]}]},
            {},
        ),
        ("aws_s3_object", "s3:PutObjectAcl", {"acl": "private"}, {}),
        (
            "aws_secretsmanager_secret",
            "secretsmanager:ReplicateSecretToRegions",
            {"replica": [{"region": "x"}]},
            {},
        ),
        (
            "aws_db_instance",
            "secretsmanager:CreateSecret",
            {"manage_master_user_password": True},
            {"password": "x"},
        ),
        ("aws_flow_log", "logs:CreateLogDelivery", {"log_destination": "arn:aws:s3:::flow"}, {}),
        (
            "aws_backup_vault",
            "kms:CreateGrant",
            {"kms_key_arn": "arn:aws:kms:eu-west-1:1:key/1"},
            {},
        ),
    ],
)
def test_an_argument_needs_what_its_service_authorizes_inside_the_call(
    kind: str, action: str, with_it: dict[str, Any], without: dict[str, Any]
) -> None:
    assert action in needed(plan(change(kind, ["create"], {"name": "orders", **with_it})))
    assert action not in needed(plan(change(kind, ["create"], {"name": "orders", **without})))


def test_a_final_snapshot_needs_the_right_to_make_it() -> None:
    database = {"identifier": "orders", "final_snapshot_identifier": "orders-last"}
    assert "rds:CreateDBSnapshot" in needed(
        plan(change("aws_db_instance", ["delete"], None, database))
    )
    assert "rds:CreateDBSnapshot" not in needed(
        plan(change("aws_db_instance", ["delete"], None, {"identifier": "orders"}))
    )


def test_a_web_acl_of_a_load_balancer_needs_its_permission() -> None:
    arn = f"arn:aws:elasticloadbalancing:eu-west-1:{ACCOUNT}:loadbalancer/app/web/1"
    needs = needed(plan(change("aws_wafv2_web_acl_association", ["create"], {"resource_arn": arn})))
    assert "elasticloadbalancing:SetWebAcl" in needs
    assert "apigateway:SetWebACL" not in needs


@pytest.mark.parametrize(
    "kind", ["aws_vpc", "aws_cloudwatch_log_group", "aws_db_instance", "aws_lambda_function"]
)
def test_tags_of_a_new_resource_need_the_permission_of_their_service(kind: str) -> None:
    tags = {"aws_vpc": "ec2:CreateTags", "aws_db_instance": "rds:AddTagsToResource"}
    tag = tags.get(
        kind, {"aws_lambda_function": "lambda:TagResource"}.get(kind, "logs:TagResource")
    )
    assert tag in needed(plan(change(kind, ["create"], {"tags_all": {"team": "shop"}})))
    assert tag not in needed(plan(change(kind, ["create"], {"tags_all": {}})))


def test_a_reference_means_the_instance_with_its_index() -> None:
    queues = [
        {
            **change("aws_sqs_queue", ["create"], {"name": name}),
            "address": f'aws_sqs_queue.main["{name}"]',
        }
        for name in ("shop-a", "shop-b")
    ]
    policy = change("aws_sqs_queue_policy", ["create"], {}, queue_url=True)
    policies = [
        {**policy, "address": f"aws_sqs_queue_policy.main{index}"} for index in ('["shop-b"]', "")
    ]

    def written(reference: str, policy: dict[str, Any]) -> set[str]:
        expression = {"queue_url": {"references": [f"{reference}.url", reference, "each.key"]}}
        configuration = {
            "resources": [{"address": "aws_sqs_queue_policy.main", "expressions": expression}]
        }
        resources = needed(plan(*queues, policy, configuration=configuration))[
            "sqs:SetQueueAttributes"
        ]
        return {arn.rpartition(":")[2] for arn in resources}

    assert written('aws_sqs_queue.main["shop-a"]', policies[1]) == {"shop-a"}
    assert written("aws_sqs_queue.main", policies[0]) == {"shop-b"}
    assert written("aws_sqs_queue.main", policies[1]) == {"shop-*"}


def test_a_role_inside_a_block_is_passed_by_its_reference() -> None:
    role = change("aws_iam_role", ["create"], {"name": "fire", "assume_role_policy": "{}"})
    stream = change(
        "aws_kinesis_firehose_delivery_stream",
        ["create"],
        {"name": "f", "extended_s3_configuration": [{}]},
    )
    stream["change"]["after_unknown"] = {"extended_s3_configuration": [{"role_arn": True}]}
    role_reference = {"role_arn": {"references": ["aws_iam_role.main.arn", "aws_iam_role.main"]}}
    expressions = {"extended_s3_configuration": [role_reference]}
    configuration = {
        "resources": [
            {"address": "aws_kinesis_firehose_delivery_stream.main", "expressions": expressions}
        ]
    }
    needs = needed(plan(role, stream, configuration=configuration))
    assert needs["iam:PassRole"] == {f"arn:aws:iam::{ACCOUNT}:role/fire"}


def test_a_role_that_an_instance_profile_names_is_passed() -> None:
    role = change(
        "aws_iam_role", ["create"], {"name": "web", "path": "/app/", "assume_role_policy": "{}"}
    )
    profile = change("aws_iam_instance_profile", ["create"], {"name": "web-profile", "role": "web"})
    assert needed(plan(role, profile))["iam:PassRole"] == {f"arn:aws:iam::{ACCOUNT}:role/app/web"}


def test_an_attribute_that_aws_decides_asks_for_nothing() -> None:
    balancer = change(
        "aws_lb", ["create"], {"name": "web", "subnets": ["subnet-1"]}, ip_address_type=True
    )
    assert "elasticloadbalancing:SetIpAddressType" not in needed(plan(balancer))
    balancer["change"]["after"]["ip_address_type"] = "dualstack"
    assert "elasticloadbalancing:SetIpAddressType" in needed(plan(balancer))


def test_a_data_source_needs_what_it_reads_and_not_what_its_resource_does() -> None:
    bucket = {
        "address": "data.aws_s3_bucket.a",
        "mode": "data",
        "type": "aws_s3_bucket",
        "values": {"bucket": "logs"},
    }
    subnets = {"address": "data.aws_subnets.a", "mode": "data", "type": "aws_subnets", "values": {}}
    read = plan(prior_state={"values": {"root_module": {"resources": [bucket, subnets]}}})
    assert needed(read) == {
        "s3:ListBucket": {"arn:aws:s3:::logs"},
        "s3:GetBucketLocation": {"arn:aws:s3:::logs"},
        "ec2:DescribeSubnets": {"*"},
    }
    assert not read_plan(read, "plan.json").unknown


def test_a_replacement_deletes_the_old_name_and_creates_the_new_one() -> None:
    needs = needed(plan(change("aws_sqs_queue", ["delete", "create"], {"name": "new"}, QUEUE)))
    assert needs["sqs:DeleteQueue"] == {QUEUE["arn"]}
    assert needs["sqs:CreateQueue"] == {f"arn:aws:sqs:eu-west-1:{ACCOUNT}:new"}


def test_a_bucket_that_terraform_empties_needs_the_deletion_of_its_objects() -> None:
    for force, actions in ((True, {"s3:DeleteObject", "s3:DeleteObjectVersion"}), (False, set())):
        bucket = {"bucket": "old", "arn": "arn:aws:s3:::old", "force_destroy": force}
        needs = needed(plan(change("aws_s3_bucket", ["delete"], None, bucket)))
        assert {action for action in needs if action.startswith("s3:DeleteObject")} == actions


def test_an_update_without_its_role_passes_none() -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/worker"
    before = {"function_name": "mailer", "role": role, "memory_size": 128}
    assert "iam:PassRole" not in needed(
        plan(change("aws_lambda_function", ["update"], {**before, "memory_size": 256}, before))
    )
    after = {**before, "role": f"{role}-2"}
    needs = needed(plan(change("aws_lambda_function", ["update"], after, before)))
    assert needs["iam:PassRole"] == {f"{role}-2"}


PROVIDERS = {
    "aws": {"name": "aws", "expressions": {"region": {"references": ["var.region"]}}},
    "aws.edge": {
        "name": "aws",
        "alias": "edge",
        "expressions": {"region": {"constant_value": "us-east-1"}},
    },
    "aws.text": {
        "name": "aws",
        "alias": "text",
        "expressions": {
            "region": {"constant_value": "${var.region}", "references": ["var.region"]}
        },
    },
    "aws.dns": {
        "name": "aws",
        "alias": "dns",
        "expressions": {
            "assume_role": [{"role_arn": {"constant_value": "arn:aws:iam::999988887777:role/dns"}}]
        },
    },
}


def of_provider(key: str) -> bytes:
    resources = [{"address": "aws_sns_topic.main", "provider_config_key": key, "expressions": {}}]
    configuration = {"provider_config": PROVIDERS, "root_module": {"resources": resources}}
    content = json.loads(plan(change("aws_sns_topic", ["create"], {"name": "news"})))
    return json.dumps(
        {
            **content,
            "variables": {"region": {"value": "eu-central-1"}},
            "configuration": configuration,
        }
    ).encode()


@pytest.mark.parametrize(
    ("key", "region"),
    [("aws", "eu-central-1"), ("aws.text", "eu-central-1"), ("aws.edge", "us-east-1")],
)
def test_a_resource_is_in_the_region_of_its_provider(key: str, region: str) -> None:
    assert needed(of_provider(key))["sns:CreateTopic"] == {f"arn:aws:sns:{region}:{ACCOUNT}:news"}


def test_what_a_provider_makes_as_another_role_needs_that_role_alone() -> None:
    other_role = "arn:aws:iam::999988887777:role/dns"
    needs_of_ci = needs_of(
        read_plan(of_provider("aws.dns"), "p", f"arn:aws:iam::{ACCOUNT}:role/ci"), PLACE
    )
    assert [(need.permission.action, need.permission.resource) for need in needs_of_ci] == [
        ("sts:AssumeRole", other_role)
    ]
    needs_of_other = needs_of(read_plan(of_provider("aws.dns"), "p", other_role), PLACE)
    assert "sns:CreateTopic" in {need.permission.action for need in needs_of_other}


def test_a_load_balancer_makes_no_security_group() -> None:
    needs = needed(plan(change("aws_lb", ["create"], {"name": "web", "subnets": ["subnet-1"]})))
    assert not any(action.startswith("ec2:Create") for action in needs)


def test_a_document_is_no_name() -> None:
    needs = needed(
        plan(
            change("aws_iam_policy", ["create"], {"name": "reading", "policy": '{"Statement":[]}'})
        )
    )
    assert needs["iam:CreatePolicy"] == {f"arn:aws:iam::{ACCOUNT}:policy/reading"}


def test_a_number_that_is_not_set_asks_for_nothing() -> None:
    function = {"function_name": "mail", "reserved_concurrent_executions": -1}
    assert "lambda:PutFunctionConcurrency" not in needed(
        plan(change("aws_lambda_function", ["create"], function))
    )
    function["reserved_concurrent_executions"] = 2
    assert "lambda:PutFunctionConcurrency" in needed(
        plan(change("aws_lambda_function", ["create"], function))
    )


def test_what_is_on_asks_for_nothing_that_switches_it_off() -> None:
    key = {"enable_key_rotation": True, "is_enabled": False}
    needs = needed(plan(change("aws_kms_key", ["create"], key)))
    assert {"kms:EnableKeyRotation", "kms:DisableKey"} <= set(needs)
    assert "kms:DisableKeyRotation" not in needs


def test_a_name_of_a_declared_role_means_the_role_with_its_path() -> None:
    role = {"name": "host", "path": "/hosts/"}
    profile = change("aws_iam_instance_profile", ["create"], {"name": "host", "role": "host"})
    needs = needed(plan(change("aws_iam_role", ["create"], role), profile))
    assert (
        needs["iam:PassRole"] == needs["iam:GetRole"] == {f"arn:aws:iam::{ACCOUNT}:role/hosts/host"}
    )


@pytest.mark.parametrize(("kind", "other"), [("ingress", "Egress"), ("egress", "Ingress")])
def test_a_rule_of_a_security_group_needs_the_action_of_its_direction(
    kind: str, other: str
) -> None:
    needs = needed(
        plan(
            change(
                "aws_security_group_rule", ["create"], {"type": kind, "security_group_id": "sg-1"}
            )
        )
    )
    assert f"ec2:AuthorizeSecurityGroup{kind.title()}" in needs
    assert f"ec2:AuthorizeSecurityGroup{other}" not in needs


def state_of(**config: Any) -> bytes:
    return json.dumps(
        {"backend": {"type": "s3", "config": {"bucket": "state", "key": "app", **config}}}
    ).encode()


@pytest.mark.parametrize("assumes", [{"role_arn": "ROLE"}, {"assume_role": [{"role_arn": "ROLE"}]}])
def test_a_backend_that_assumes_another_role_needs_that_alone(assumes: dict[str, Any]) -> None:
    other_role = "arn:aws:iam::999988887777:role/state"
    raw = state_of(**json.loads(json.dumps(assumes).replace("ROLE", other_role)))
    (need,) = backend_calls(raw, PLACE, f"arn:aws:iam::{ACCOUNT}:role/ci")
    assert (need.permission.action, need.permission.resource) == ("sts:AssumeRole", other_role)
    assert len(backend_calls(raw, PLACE, other_role)) > 1


def test_the_lock_and_the_key_of_a_backend_are_in_its_region() -> None:
    calls = backend_calls(
        state_of(region="eu-north-1", dynamodb_table="locks", kms_key_id="alias/state"), PLACE
    )
    permissions = {(need.permission.action, need.permission.resource) for need in calls}
    assert ("dynamodb:PutItem", f"arn:aws:dynamodb:eu-north-1:{ACCOUNT}:table/locks") in permissions
    assert ("kms:Decrypt", f"arn:aws:kms:eu-north-1:{ACCOUNT}:key/*") in permissions


def test_a_backend_has_no_wildcard_of_its_configuration() -> None:
    raw = state_of(
        bucket="state-*",
        key="env/*/${x}",
        workspace_key_prefix="w?",
        dynamodb_table="locks*",
        kms_key_id="key-*",
        use_lockfile=True,
    )
    resources = {call.permission.resource for call in backend_calls(raw, PLACE)}
    assert resources == {
        "arn:aws:s3:::state-${*}",
        "arn:aws:s3:::state-${*}/env/${*}/${$}{x}",
        "arn:aws:s3:::state-${*}/env/${*}/${$}{x}.tflock",
        "arn:aws:s3:::state-${*}/w${?}/*/env/${*}/${$}{x}",
        f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/locks${{*}}",
        f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/key-${{*}}",
    }
    (need,) = backend_calls(state_of(role_arn="arn:aws:iam::999988887777:role/*"), PLACE)
    assert need.permission.resource == "arn:aws:iam::999988887777:role/${*}"


def test_an_encrypted_cluster_needs_a_grant_on_its_key() -> None:
    key = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/9"
    needs = needed(
        plan(change("aws_rds_cluster", ["create"], {"cluster_identifier": "db", "kms_key_id": key}))
    )
    assert needs["kms:CreateGrant"] == needs["kms:DescribeKey"] == {key}
    assert "kms:CreateGrant" not in needed(
        plan(change("aws_rds_cluster", ["create"], {"cluster_identifier": "db"}))
    )


@pytest.mark.parametrize("actions", [["create"], ["no-op"]])
def test_what_a_plan_creates_or_reads_is_not_deleted(actions: list[str]) -> None:
    profile = {"name": "web", "arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/web"}
    needs = needed(plan(change("aws_iam_instance_profile", actions, profile, profile)))
    assert "iam:GetInstanceProfile" in needs
    assert "iam:RemoveRoleFromInstanceProfile" not in needs


def test_an_update_of_an_encrypted_value_uses_its_key() -> None:
    key = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/9"
    before = {"name": "/a", "type": "SecureString", "value": "x", "key_id": key}
    needs = needed(plan(change("aws_ssm_parameter", ["update"], {**before, "value": "y"}, before)))
    assert needs["kms:Encrypt"] == {key}


def test_an_update_of_a_tagged_resource_tags_it_only_if_its_tags_change() -> None:
    before = {**QUEUE, "delay_seconds": 0, "tags": {"a": "b"}, "tags_all": {"a": "b"}}
    assert "sqs:TagQueue" not in needed(
        plan(change("aws_sqs_queue", ["update"], {**before, "delay_seconds": 5}, before))
    )
    tagged = {**before, "tags": {"a": "c"}, "tags_all": {"a": "c"}}
    assert "sqs:TagQueue" in needed(plan(change("aws_sqs_queue", ["update"], tagged, before)))


def test_a_bucket_of_a_shortened_plan_needs_what_its_attributes_ask_for() -> None:
    needs = needed(plan(change("aws_s3_bucket", ["create"], {"bucket": "logs", "acl": "private"})))
    assert "s3:PutBucketAcl" in needs
    assert not {"s3:PutBucketPolicy", "s3:PutBucketCORS", "s3:PutReplicationConfiguration"} & {
        *needs
    }


def test_new_code_of_a_function_is_read_from_its_bucket() -> None:
    before = {"function_name": "pay", "s3_bucket": "code", "s3_key": "1.zip"}
    needs = needed(
        plan(change("aws_lambda_function", ["update"], {**before, "s3_key": "2.zip"}, before))
    )
    assert needs["s3:GetObject"] == {"arn:aws:s3:::code/*"}
    assert "lambda:PutFunctionConcurrency" not in needs


def test_what_is_scaled_is_not_the_id_of_its_target() -> None:
    target = {"resource_id": "service/web/web", "service_namespace": "ecs", "min_capacity": 1}
    needs = needed(plan(change("aws_appautoscaling_target", ["create"], target)))
    assert needs["application-autoscaling:RegisterScalableTarget"] == {
        f"arn:aws:application-autoscaling:eu-west-1:{ACCOUNT}:scalable-target/*"
    }


def test_groups_of_a_cluster_are_those_that_it_names_or_the_default_ones() -> None:
    cluster = {
        "cluster_identifier": "orders",
        "engine": "aurora-mysql",
        "db_subnet_group_name": "private",
    }
    needs = needed(plan(change("aws_rds_cluster", ["create"], cluster)))
    ends = {arn.split(":", 5)[5] for arn in needs["rds:CreateDBCluster"]}
    assert ends == {"cluster:orders", "subgrp:private", "og:default*", "cluster-pg:default*"}
    managed = needed(
        plan(
            change("aws_rds_cluster", ["create"], {**cluster, "manage_master_user_password": True})
        )
    )
    assert managed["secretsmanager:CreateSecret"] == {
        f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:rds!*"
    }
    open_one = change("aws_rds_cluster", ["create"], cluster, db_cluster_parameter_group_name=True)
    expressions = {"db_cluster_parameter_group_name": {"references": ["var.group"]}}
    resource = {"address": "aws_rds_cluster.main", "expressions": expressions}
    needs = needed(plan(open_one, configuration={"resources": [resource]}))
    assert f"arn:aws:rds:eu-west-1:{ACCOUNT}:cluster-pg:*" in needs["rds:CreateDBCluster"]


def test_a_group_under_a_shorter_name_and_a_load_balancer_by_its_reference_are_named() -> None:
    cache = {"replication_group_id": "carts", "engine": "redis", "subnet_group_name": "private"}
    needs = needed(plan(change("aws_elasticache_replication_group", ["create"], cache)))
    region_and_account = f"eu-west-1:{ACCOUNT}"
    assert (
        f"arn:aws:elasticache:{region_and_account}:subnetgroup:private"
        in needs["elasticache:CreateReplicationGroup"]
    )
    balancer = change(
        "aws_lb", ["create"], {"name": "web", "load_balancer_type": "application"}, arn=True
    )
    listener = change("aws_lb_listener", ["create"], {"port": 80}, load_balancer_arn=True)
    references = {"load_balancer_arn": {"references": ["aws_lb.main.arn", "aws_lb.main"]}}
    configured = {"resources": [{"address": "aws_lb_listener.main", "expressions": references}]}
    needs = needed(plan(balancer, listener, configuration=configured))
    assert needs["elasticloadbalancing:ModifyListenerAttributes"] == {
        f"arn:aws:elasticloadbalancing:{region_and_account}:listener/app/web/*/*"
    }


def test_the_address_of_a_resource_is_not_repeated_with_its_type() -> None:
    queue = change("aws_sqs_queue", ["create"], {"name": "orders"})
    needs = needs_of(read_plan(plan(queue), "plan.json"), PLACE)
    assert {need.because for need in needs} == {
        "aws_sqs_queue.main (create)",
        "aws_sqs_queue.main (read)",
    }


def test_a_changed_rule_of_a_security_group_needs_the_actions_of_its_direction() -> None:
    before = {"id": "sg-1", "name": "web", "egress": [{"from_port": 443}]}
    needs = needed(
        plan(
            change(
                "aws_security_group", ["update"], {**before, "egress": [{"from_port": 80}]}, before
            )
        )
    )
    assert {"ec2:RevokeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupEgress"} <= {*needs}
    assert not {"ec2:RevokeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupIngress"} & {*needs}


def test_more_memory_of_a_function_needs_no_new_code() -> None:
    before = {"function_name": "pay", "memory_size": 128}
    needs = needed(
        plan(change("aws_lambda_function", ["update"], {**before, "memory_size": 256}, before))
    )
    assert "lambda:UpdateFunctionConfiguration" in needs
    assert "lambda:UpdateFunctionCode" not in needs


def test_a_secret_without_a_policy_needs_no_right_to_set_one() -> None:
    plain = needed(plan(change("aws_secretsmanager_secret", ["create"], {"name": "key"})))
    policed = needed(
        plan(change("aws_secretsmanager_secret", ["create"], {"name": "key", "policy": "{}"}))
    )
    assert {*policed} - {*plain} == {"secretsmanager:PutResourcePolicy"}


@pytest.mark.parametrize(
    ("kind", "after", "action", "resource"),
    [
        (
            "aws_iam_openid_connect_provider",
            {
                "url": "https://token.actions.githubusercontent.com",
                "client_id_list": ["sts.amazonaws.com"],
            },
            "iam:CreateOpenIDConnectProvider",
            "oidc-provider/token.actions.githubusercontent.com",
        ),
        (
            "aws_iam_service_linked_role",
            {"aws_service_name": "es.amazonaws.com"},
            "iam:CreateServiceLinkedRole",
            "role/aws-service-role/es.amazonaws.com/*",
        ),
        ("aws_iam_saml_provider", {"name": "okta"}, "iam:CreateSAMLProvider", "saml-provider/okta"),
    ],
)
def test_identities_are_named_by_what_their_arn_has(
    kind: str, after: dict[str, Any], action: str, resource: str
) -> None:
    assert needed(plan(change(kind, ["create"], after)))[action] == {
        f"arn:aws:iam::{ACCOUNT}:{resource}"
    }


def test_an_association_needs_both_resources_and_makes_neither() -> None:
    balancer = f"arn:aws:elasticloadbalancing:eu-west-1:{ACCOUNT}:loadbalancer/app/web/abc"
    association = change(
        "aws_wafv2_web_acl_association", ["create"], {"resource_arn": balancer}, web_acl_arn=True
    )
    acl = change("aws_wafv2_web_acl", ["create"], {"name": "edge", "scope": "REGIONAL"}, arn=True)
    acl_reference = {"references": ["aws_wafv2_web_acl.main.arn", "aws_wafv2_web_acl.main"]}
    of_association = {
        "address": "aws_wafv2_web_acl_association.main",
        "expressions": {"web_acl_arn": acl_reference},
    }
    needs = needed(plan(association, acl, configuration={"resources": [of_association]}))
    assert needs["wafv2:AssociateWebACL"] == {
        balancer,
        f"arn:aws:wafv2:eu-west-1:{ACCOUNT}:regional/webacl/edge/*",
    }


DATABASE = {
    "identifier": "main",
    "instance_class": "db.t3.micro",
    "engine": "postgres",
    "replicate_source_db": None,
}


@pytest.mark.parametrize(("blocks", "is_needed"), [([], False), ([{"enabled": True}], True)])
def test_an_update_deletes_a_database_only_after_a_blue_green_deployment(
    blocks: list[dict[str, bool]], is_needed: bool
) -> None:
    before = {**DATABASE, "blue_green_update": blocks}
    needs = needed(
        plan(
            change(
                "aws_db_instance", ["update"], {**before, "instance_class": "db.t3.large"}, before
            )
        )
    )
    conditional = {"rds:DeleteDBInstance", "rds:SwitchoverBlueGreenDeployment"}
    assert conditional & needs.keys() == (conditional if is_needed else set())
    assert "rds:PromoteReadReplica" not in needs
    assert "rds:DeleteDBInstance" in needed(
        plan(change("aws_db_instance", ["delete"], None, before))
    )


def test_a_new_instance_is_neither_stopped_nor_changed_in_its_options() -> None:
    new = {
        "ami": "ami-1",
        "instance_type": "t3.micro",
        "monitoring": True,
        "user_data": "x",
        "source_dest_check": True,
    }
    needs = needed(plan(change("aws_instance", ["create"], new)))
    unwanted = {
        "ec2:StopInstances",
        "ec2:StartInstances",
        "ec2:ModifyVolume",
        "ec2:MonitorInstances",
    }
    assert "ec2:RunInstances" in needs
    assert {*unwanted, "ec2:GetPasswordData", "ec2:ModifyInstanceAttribute"}.isdisjoint(needs)
    router = needed(plan(change("aws_instance", ["create"], {**new, "source_dest_check": False})))
    assert "ec2:ModifyInstanceAttribute" in router
    larger = needed(
        plan(change("aws_instance", ["update"], {**new, "instance_type": "t3.large"}, new))
    )
    assert {
        "ec2:StopInstances",
        "ec2:StartInstances",
        "ec2:ModifyInstanceAttribute",
    } <= larger.keys()
    unwatched = needed(plan(change("aws_instance", ["update"], {**new, "monitoring": False}, new)))
    assert "ec2:UnmonitorInstances" in unwatched
    assert {"ec2:MonitorInstances", "ec2:StopInstances"}.isdisjoint(unwatched)


def test_a_plan_of_changes_alone_is_read() -> None:
    raw = json.dumps(
        {"resource_changes": [change("aws_sqs_queue", ["delete"], None, QUEUE)]}
    ).encode()
    assert needed(raw)["sqs:DeleteQueue"] == {QUEUE["arn"]}


def test_a_subnet_is_no_secondary_subnet() -> None:
    needs = needed(
        plan(change("aws_instance", ["create"], {"ami": "ami-1", "subnet_id": "subnet-01"}))
    )
    assert not any(":secondary-subnet/" in arn for arn in needs["ec2:RunInstances"])
    assert f"arn:aws:ec2:eu-west-1:{ACCOUNT}:subnet/subnet-01" in needs["ec2:RunInstances"]


def test_a_group_whose_tags_are_blocks_needs_the_permission_to_tag() -> None:
    tags = [{"key": "Name", "value": "web", "propagate_at_launch": True}]
    assert "autoscaling:CreateOrUpdateTags" in needed(
        plan(change("aws_autoscaling_group", ["create"], {"name": "web", "tag": tags}))
    )


def test_the_deletion_of_a_type_is_no_action_that_only_some_properties_need() -> None:
    database = conditional_actions(ResourceKind(Tool.TERRAFORM, "aws_db_instance"))
    assert "rds:DeleteDBInstance" not in database
    assert "rds:PromoteReadReplica" in database


def _plan_of(
    changes: list[dict[str, Any]], root: dict[str, Any] | None = None, around: str = "{}"
) -> Declaration:
    text = json.dumps({"resource_changes": changes, "configuration": {"root_module": root or {}}})
    return read_plan(around.replace("{}", text).encode(), "plan.json", CI)


def _created(
    address: str, after: dict[str, Any], unknown: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    change = {"actions": ["create"], "before": None, "after": after, "after_unknown": unknown or {}}
    name = address.rpartition(".")[2].partition("[")[0]
    kind = address.rpartition(f".{name}")[0].rpartition(".")[2]
    return {"address": address, "type": kind, "name": name, "change": change, **more}


def _on(declaration: Declaration, action: str) -> set[str]:
    return {
        need.permission.resource
        for need in needs_of(declaration, PLACE)
        if need.permission.action == action
    }


TRUST = json.dumps({"Statement": [{"Principal": {"Service": "lambda.amazonaws.com"}}]})
ROLE_CHANGE = _created(
    "module.role.aws_iam_role.this", {"name": "worker", "assume_role_policy": TRUST}
)
FUNCTION = {"function_name": "worker", "filename": "x.zip"}
ROLE_MODULE = {
    "resources": [{"address": "aws_iam_role.this", "expressions": {}}],
    "outputs": {
        "arn": {"expression": {"references": ["aws_iam_role.this.arn", "aws_iam_role.this"]}},
        "all": {"expression": {"references": ["aws_iam_role.this"]}},
        "loop": {"expression": {"references": ["module.role.loop"]}},
    },
}


@pytest.mark.parametrize(
    "references",
    [
        ["module.role.arn", "module.role"],
        ["module.role.all.arn", "module.role.all", "module.role"],
        ["module.role[0].arn", "module.role[0]", "module.role"],
    ],
)
def test_an_output_of_a_module_names_its_role(references: list[str]) -> None:
    root = {
        "resources": [
            {
                "address": "aws_lambda_function.f",
                "expressions": {"role": {"references": references}},
            }
        ],
        "module_calls": {"role": {"module": ROLE_MODULE}},
    }
    function = _created("aws_lambda_function.f", FUNCTION, {"role": True})
    declaration = _plan_of([ROLE_CHANGE, function], root)
    assert _on(declaration, "iam:PassRole") == {"arn:aws:iam::111122223333:role/worker"}


def test_a_variable_of_a_module_and_a_for_each_name_a_resource() -> None:
    root = {
        "module_calls": {
            "role": {"module": ROLE_MODULE},
            "app": {
                "expressions": {"role_arn": {"references": ["module.role.arn", "module.role"]}},
                "module": {
                    "resources": [
                        {
                            "address": "aws_lambda_function.f",
                            "for_each_expression": {"references": ["var.role_arn"]},
                            "expressions": {"role": {"references": ["each.value"]}},
                        }
                    ],
                },
            },
        }
    }
    function = _created('module.app.aws_lambda_function.f["a"]', FUNCTION, {"role": True})
    declaration = _plan_of([ROLE_CHANGE, function], root)
    assert _on(declaration, "iam:PassRole") == {"arn:aws:iam::111122223333:role/worker"}


@pytest.mark.parametrize("references", [["local.role"], ["module.role.loop", "module.role"], []])
def test_a_role_that_a_local_holds_is_one_of_the_plan_that_trusts_the_service(
    references: list[str],
) -> None:
    expressions = {"role": {"references": references}}
    root = {
        "resources": [{"address": "aws_lambda_function.f", "expressions": expressions}],
        "module_calls": {"role": {"module": ROLE_MODULE}},
    }
    function = _created("aws_lambda_function.f", FUNCTION, {"role": True})
    declaration = _plan_of([ROLE_CHANGE, function], root)
    assert _on(declaration, "iam:PassRole") == {"arn:aws:iam::111122223333:role/worker"}
    alone = _plan_of([function], root)
    assert _on(alone, "iam:PassRole") == {"arn:aws:iam::111122223333:role/*"}


def test_a_resource_of_cloud_control_needs_its_handlers_and_cloud_control() -> None:
    queue = _created(
        "awscc_sqs_queue.orders",
        {"queue_name": "orders", "kms_master_key_id": "k"},
        provider_name="registry.terraform.io/hashicorp/awscc",
    )
    declaration = _plan_of([queue])
    assert _on(declaration, "sqs:CreateQueue") == {"arn:aws:sqs:eu-west-1:111122223333:orders"}
    assert _on(declaration, "cloudformation:CreateResource") == {"*"}
    unknown_box = _created(
        "awscc_acme_box.b", {}, provider_name="registry.terraform.io/hashicorp/awscc"
    )
    assert [*_plan_of([unknown_box]).unknown] == ["awscc_acme_box"]


def test_an_attribute_that_an_older_provider_lacks_is_not_set() -> None:
    def updated(before: dict[str, Any], after: dict[str, Any]) -> Declaration:
        change = _created("aws_cloudwatch_log_group.l", {"name": "/shop", **after})
        change["change"] |= {"actions": ["update"], "before": {"name": "/shop", **before}}
        return _plan_of([change])

    older = updated({"retention_in_days": 7}, {"retention_in_days": 14})
    assert not _on(older, "logs:PutLogGroupDeletionProtection")
    assert _on(older, "logs:PutRetentionPolicy")
    newer = updated({"deletion_protection_enabled": False}, {"deletion_protection_enabled": True})
    assert _on(newer, "logs:PutLogGroupDeletionProtection")
    later = needs_of(older.with_phases(Phase.UPDATE), PLACE)
    assert "logs:PutLogGroupDeletionProtection" not in {n.permission.action for n in later}


@pytest.mark.parametrize(
    "around",
    ["[command]/opt/terraform-bin show -json p\n{}\n::debug::stdout: x\n", "\n{}\n", "\ufeff{}"],
)
def test_what_a_wrapper_prints_around_a_plan_is_read_past(around: str) -> None:
    declaration = _plan_of([_created("aws_sqs_queue.q", {"name": "orders"})], None, around)
    assert [resource.address for resource in declaration.resources] == ["aws_sqs_queue.q"]


def test_a_plan_in_utf16_is_read() -> None:
    text = json.dumps({"resource_changes": [_created("aws_sqs_queue.q", {"name": "orders"})]})
    assert len(read_plan(text.encode("utf-16"), "plan.json").resources) == 1


def test_a_tag_of_an_unknown_resource_is_named_by_its_key() -> None:
    tag = _created(
        "aws_ec2_tag.t", {"key": "kubernetes.io/role/elb", "value": "1"}, {"resource_id": True}
    )
    [need] = [
        tagging
        for tagging in needs_of(_plan_of([tag]), PLACE)
        if tagging.permission.action == "ec2:CreateTags"
    ]
    assert need.permission.resource == "*"
    [condition] = need.permission.conditions
    assert (condition.key, condition.values) == ("aws:TagKeys", ("kubernetes.io/role/elb",))


def test_outputs_that_refer_to_each_other_end() -> None:
    module = {
        "outputs": {
            str(number): {"expression": {"references": [f"module.role.{number + 1}"] * 2}}
            for number in range(3_000)
        }
    }
    module["outputs"]["3000"] = {"expression": {"references": ["module.role.0"]}}
    calls = {"role": {"module": {**module, "module_calls": {"role": {"module": module}}}}}
    expressions = {"role": {"references": ["module.role.0", "module.role"]}}
    root = {
        "resources": [{"address": "aws_lambda_function.f", "expressions": expressions}],
        "module_calls": calls,
    }
    function = _created("aws_lambda_function.f", FUNCTION, {"role": True})
    assert _on(_plan_of([function], root), "iam:PassRole")


def test_a_preview_of_pulumi_is_read_as_a_plan() -> None:
    def step(token: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
        urn = f"urn:pulumi:prod::shop::{token}::{name}"
        return {"op": "create", "urn": urn, "newState": {"type": token, "inputs": inputs}}

    unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    steps = [
        step("pulumi:pulumi:Stack", "shop-prod", {}),
        step("aws:sqs/queue:Queue", "orders", {"name": "orders", "kmsMasterKeyId": unknown}),
        step("aws:ec2/securityGroup:SecurityGroup", "web", {"vpcId": "vpc-1"}),
        step("aws:rds/instance:Instance", "db", {"identifier": "db"}),
        step("aws:acme/box:Box", "box", {}),
        step("aws-native:sns:Topic", "alerts", {"topicName": "alerts"}),
    ]
    declaration = read_plan(json.dumps({"steps": steps}).encode(), "preview.json")
    assert _on(declaration, "sqs:CreateQueue") == {"arn:aws:sqs:eu-west-1:111122223333:orders"}
    assert _on(declaration, "ec2:CreateSecurityGroup")
    assert "arn:aws:rds:eu-west-1:111122223333:db:db" in _on(declaration, "rds:CreateDBInstance")
    assert _on(declaration, "sns:CreateTopic") == {"arn:aws:sns:eu-west-1:111122223333:alerts"}
    assert [*declaration.unknown] == ["aws_acme_box"]


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("aws:s3/bucketV2:BucketV2", "aws_s3_bucket"),
        ("aws:apigateway/restApi:RestApi", "aws_api_gateway_rest_api"),
        ("aws:lb/loadBalancer:LoadBalancer", "aws_lb"),
        (
            "aws:ec2transitgateway/vpcAttachment:VpcAttachment",
            "aws_ec2_transit_gateway_vpc_attachment",
        ),
        ("aws:servicediscovery/service:Service", "aws_service_discovery_service"),
        ("aws:cfg/recorder:Recorder", "aws_config_configuration_recorder"),
    ],
)
def test_types_of_pulumi_are_those_of_terraform(token: str, kind: str) -> None:
    state = {"type": token, "inputs": {}}
    steps = [{"op": "create", "urn": f"urn:pulumi:prod::shop::{token}::x", "newState": state}]
    declaration = read_plan(json.dumps({"steps": steps}).encode(), "preview.json")
    assert [resource.kind.name for resource in declaration.resources] == [kind]
    assert not declaration.unknown


def test_a_preview_of_pulumi_says_which_role_a_function_has() -> None:
    trust = json.dumps({"Statement": [{"Principal": {"Service": "lambda.amazonaws.com"}}]})
    unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    role_urn = "urn:pulumi:prod::shop::my:App$aws:iam/role:Role::worker"
    steps = [
        {
            "op": "create",
            "urn": role_urn,
            "newState": {
                "type": "aws:iam/role:Role",
                "inputs": {"name": "worker", "assumeRolePolicy": trust},
            },
        },
        {
            "op": "create",
            "urn": "urn:pulumi:prod::shop::my:App$aws:lambda/function:Function::worker",
            "newState": {
                "type": "aws:lambda/function:Function",
                "inputs": {"name": "worker", "role": unknown},
                "propertyDependencies": {"role": [role_urn]},
            },
        },
    ]
    declaration = read_plan(json.dumps({"steps": steps}).encode(), "preview.json")
    assert _on(declaration, "iam:PassRole") == {"arn:aws:iam::111122223333:role/worker"}


def test_a_default_group_loses_its_rules_when_terraform_takes_it_over() -> None:
    group = _created("aws_default_security_group.default", {"vpc_id": "vpc-1"})
    declaration = _plan_of([group])
    assert _on(declaration, "ec2:RevokeSecurityGroupIngress")
    assert _on(declaration, "ec2:RevokeSecurityGroupEgress")


def test_a_command_that_terraform_runs_is_named_as_not_known() -> None:
    local = {"address": "null_resource.n", "provisioners": [{"type": "local-exec"}]}
    declaration = _plan_of([], {"resources": [local, {"address": "aws_sqs_queue.q"}]})
    assert [*declaration.unknown] == ["the command of null_resource.n"]
