"""The promises of needs from a cloud assembly of the CDK: the CI role and the execution role,
apart.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leastpriv.declared.declarations import read_declarations
from leastpriv.declared.models import Place
from leastpriv.declared.resource_needs import needs_of
from leastpriv.errors import InputError

PLACE = Place("aws", "111122223333")
ROLES = "arn:aws:iam::111122223333:role/cdk-hnb659fds"
CI = "arn:aws:iam::111122223333:role/ci-deploy"
EXECUTION = f"{ROLES}-cfn-exec-role-111122223333-eu-west-1"
DEPLOY = f"{ROLES}-deploy-role-111122223333-eu-west-1"
PUBLISHING = f"{ROLES}-file-publishing-role-111122223333-eu-west-1"
VARIABLE = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/cdk-hnb659fds-%s-role-${AWS::AccountId}-${AWS::Region}"


def assembly(folder: Path, *, roles: bool = True) -> Path:
    """Writes a cloud assembly with one stack."""
    out = folder / "cdk.out"
    out.mkdir()
    role_properties = {
        "assumeRoleArn": VARIABLE % "deploy",
        "cloudFormationExecutionRoleArn": VARIABLE % "cfn-exec",
        "lookupRole": {"arn": VARIABLE % "lookup"},
    }
    destination = {
        "bucketName": "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}",
        "objectKey": "a.zip",
    }
    if roles:
        destination["assumeRoleArn"] = VARIABLE % "file-publishing"
    artifacts: dict[str, Any] = {
        "Shop.assets": {"type": "cdk:asset-manifest", "properties": {"file": "Shop.assets.json"}},
        "Shop": {
            "type": "aws:cloudformation:stack",
            "environment": "aws://111122223333/eu-west-1",
            "properties": {
                "templateFile": "Shop.template.json",
                "stackName": "shop",
                **(role_properties if roles else {}),
            },
            "dependencies": ["Shop.assets"],
        },
    }
    files: dict[str, Any] = {
        "manifest.json": {"version": "48.0.0", "artifacts": artifacts},
        "Shop.template.json": {"Resources": {"Orders": {"Type": "AWS::SQS::Queue"}}},
        "Shop.assets.json": {
            "files": {"a": {"destinations": {"current": destination}}},
            "dockerImages": {},
        },
    }
    for name, content in files.items():
        (out / name).write_text(json.dumps(content))
    return folder


def needed(folder: Path, role: str) -> set[tuple[str, str]]:
    declarations = read_declarations(["cdk.out"], [], role, PLACE, folder)
    return {
        (need.permission.action, need.permission.resource)
        for declaration in declarations
        for need in needs_of(declaration, PLACE)
    }


def test_the_ci_role_assumes_the_roles_of_the_bootstrap_and_makes_nothing(tmp_path: Path) -> None:
    needs = needed(assembly(tmp_path), CI)
    assert {action for action, _ in needs} == {"sts:AssumeRole"}
    assert {DEPLOY, PUBLISHING} <= {resource for _, resource in needs}


def test_the_execution_role_makes_the_resources_alone(tmp_path: Path) -> None:
    needs = needed(assembly(tmp_path), EXECUTION)
    assert ("sqs:CreateQueue", "arn:aws:sqs:eu-west-1:111122223333:shop-Orders-*") in needs
    assert not any(action.startswith(("sts:", "cloudformation:")) for action, _ in needs)


def test_the_deploy_role_deploys_the_stack_and_passes_the_execution_role(tmp_path: Path) -> None:
    needs = needed(assembly(tmp_path), DEPLOY)
    assert ("iam:PassRole", EXECUTION) in needs
    assert (
        "cloudformation:ExecuteChangeSet",
        "arn:aws:cloudformation:eu-west-1:111122223333:stack/shop/*",
    ) in needs
    assert not any(action.startswith("sqs:") for action, _ in needs)


def test_without_roles_the_ci_role_does_all_of_it(tmp_path: Path) -> None:
    needs = needed(assembly(tmp_path, roles=False), CI)
    bucket = "arn:aws:s3:::cdk-hnb659fds-assets-111122223333-eu-west-1"
    assert {("s3:PutObject", f"{bucket}/*"), ("s3:ListBucket", bucket)} <= needs
    assert {"sqs:CreateQueue", "cloudformation:CreateChangeSet"} <= {action for action, _ in needs}


@pytest.mark.parametrize("name", ["manifest.json", "Shop.template.json", "Shop.assets.json"])
def test_a_damaged_assembly_is_bad_input(tmp_path: Path, name: str) -> None:
    (assembly(tmp_path) / "cdk.out" / name).write_text("{")
    with pytest.raises(InputError):
        needed(tmp_path, CI)


@pytest.mark.parametrize(
    "artifacts",
    [
        [1],
        {"Shop": 3},
        {
            "Shop": {"type": "aws:cloudformation:stack", "dependencies": ["A"]},
            "A": {"type": "cdk:asset-manifest"},
        },
        {"Shop": {"type": "aws:cloudformation:stack", "properties": {"lookupRole": "x"}}},
        {"Shop": {"type": "cdk:cloud-assembly", "properties": {"directoryName": "."}}},
    ],
)
def test_an_assembly_with_fields_of_other_types_is_bad_input(
    tmp_path: Path, artifacts: Any
) -> None:
    (assembly(tmp_path) / "cdk.out" / "manifest.json").write_text(
        json.dumps({"artifacts": artifacts})
    )
    with pytest.raises(InputError):
        needed(tmp_path, CI)


def two_regions(folder: Path) -> Path:
    """Writes an assembly whose stack is deployed in two regions."""
    assembly_folder = assembly(folder)
    manifest = folder / "cdk.out" / "manifest.json"
    artifacts = json.loads(manifest.read_text())["artifacts"]
    artifacts["Far"] = {**artifacts["Shop"], "environment": "aws://111122223333/us-east-1"}
    manifest.write_text(json.dumps({"artifacts": artifacts}))
    return assembly_folder


def test_a_role_of_the_bootstrap_needs_nothing_for_stacks_of_other_regions(tmp_path: Path) -> None:
    assembly_folder = two_regions(tmp_path)
    for role in (EXECUTION, DEPLOY):
        needs = needed(assembly_folder, role)
        assert needs
        assert not any(
            action == "sts:AssumeRole" or ":us-east-1:" in resource for action, resource in needs
        )
    assumed = {
        resource for action, resource in needed(assembly_folder, CI) if action == "sts:AssumeRole"
    }
    assert {
        f"{ROLES}-deploy-role-111122223333-{region}" for region in ("eu-west-1", "us-east-1")
    } <= assumed


def test_the_publishing_role_uploads_and_assumes_no_role(tmp_path: Path) -> None:
    needs = needed(two_regions(tmp_path), PUBLISHING)
    assert {action.partition(":")[0] for action, _ in needs} == {"s3"}
    assert all("-eu-west-1" in resource for _, resource in needs)


def test_a_role_needs_the_roles_of_a_bootstrap_in_another_account(tmp_path: Path) -> None:
    folder = assembly(tmp_path)
    manifest = folder / "cdk.out" / "manifest.json"
    text = manifest.read_text().replace("aws://111122223333", "aws://999988887777")
    manifest.write_text(text)
    needs = needed(folder, CI)
    assert {action for action, _ in needs} == {"sts:AssumeRole"}
    assert all(resource.split(":")[4] == "999988887777" for _, resource in needs)


def with_missing(folder: Path, *missing: dict[str, Any], roles: bool = True) -> None:
    """Writes an assembly whose manifest lists values that are looked up."""
    manifest = assembly(folder, roles=roles) / "cdk.out" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "missing": list(missing)}))


VPC = {
    "key": "vpc-provider:account=111122223333:filter.isDefault=true:region=eu-west-1",
    "provider": "vpc-provider",
    "props": {"account": "111122223333", "region": "eu-west-1", "filter": {"isDefault": "true"}},
}
LOOKUP = f"{ROLES}-lookup-role-111122223333-eu-west-1"


def calls_for(folder: Path, role: str) -> dict[str, set[str]]:
    """The actions of a role for missing values -> their resources."""
    resources_by_action: dict[str, set[str]] = {}
    for declaration in read_declarations(["cdk.out"], [], role, PLACE, root=folder):
        for need in declaration.calls if declaration.source == "cdk.out" else ():
            resources_by_action.setdefault(need.permission.action, set()).add(
                need.permission.resource
            )
    return resources_by_action


def test_the_cli_looks_up_what_no_context_has_with_the_lookup_role(tmp_path: Path) -> None:
    own_vpc = {**VPC, "props": {**VPC["props"], "lookupRoleArn": VARIABLE % "lookup"}}
    with_missing(tmp_path, own_vpc)
    assert calls_for(tmp_path, CI) == {"sts:AssumeRole": {LOOKUP}}
    assert set(calls_for(tmp_path, LOOKUP)) == {
        "ec2:DescribeVpcs",
        "ec2:DescribeSubnets",
        "ec2:DescribeRouteTables",
        "ec2:DescribeVpnGateways",
    }
    assert calls_for(tmp_path, DEPLOY) == {}


def test_without_a_lookup_role_the_cli_looks_up_itself_and_the_value_is_not_known(
    tmp_path: Path,
) -> None:
    parameter = {
        "key": "ssm:account=111122223333:parameterName=/net/vpc:region=eu-west-1",
        "provider": "ssm",
        "props": {"account": "111122223333", "region": "eu-west-1", "parameterName": "/net/vpc"},
    }
    with_missing(tmp_path, VPC, parameter, roles=False)
    arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/net/vpc"
    needs = calls_for(tmp_path, CI)
    assert needs["ssm:GetParameter"] == {arn}
    assert needs["ec2:DescribeVpcs"] == {"*"}
    unknown = [
        part
        for declaration in read_declarations(["cdk.out"], [], CI, PLACE, root=tmp_path)
        for part in declaration.unknown
    ]
    assert unknown == [f"the context {lookup['key']}" for lookup in (VPC, parameter)]


def stages(folder: Path, **missing: list[dict[str, Any]]) -> None:
    """Writes an assembly whose stages `dev` and `prod` are assemblies inside it."""
    top_folder = assembly(folder) / "cdk.out"
    artifacts: dict[str, Any] = {}
    for name, account in (("dev", "111122223333"), ("prod", "999988887777")):
        inner = top_folder / f"assembly-{name}"
        inner.mkdir()
        for file in top_folder.glob("*.json"):
            text = file.read_text().replace("aws://111122223333", f"aws://{account}")
            (inner / file.name).write_text(text.replace('"shop"', f'"{name}-shop"'))
        manifest = inner / "manifest.json"
        content = {**json.loads(manifest.read_text()), "missing": missing.get(name, [])}
        manifest.write_text(json.dumps(content))
        properties = {"directoryName": inner.name}
        artifacts[inner.name] = {"type": "cdk:cloud-assembly", "properties": properties}
    (top_folder / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))


def test_the_stacks_of_all_stages_are_read(tmp_path: Path) -> None:
    stages(tmp_path)
    assumed = {resource for action, resource in needed(tmp_path, CI) if action == "sts:AssumeRole"}
    for account in ("111122223333", "999988887777"):
        role = f"arn:aws:iam::{account}:role/cdk-hnb659fds-deploy-role-{account}-eu-west-1"
        assert role in assumed
    assert ("sqs:CreateQueue", "arn:aws:sqs:eu-west-1:111122223333:dev-shop-Orders-*") in needed(
        tmp_path, EXECUTION
    )


def test_what_a_stage_alone_lacks_is_looked_up_by_the_roles_of_its_place(tmp_path: Path) -> None:
    """Each role needs and names the values of the stacks that it deploys."""
    dev = {**VPC, "props": {**VPC["props"], "lookupRoleArn": VARIABLE % "lookup"}}
    prod_role = LOOKUP.replace("111122223333", "999988887777")
    prod = {
        **dev,
        "key": VPC["key"].replace("111122223333", "999988887777"),
        "props": {**dev["props"], "account": "999988887777"},
    }
    stages(tmp_path, dev=[dev], prod=[prod])
    assert calls_for(tmp_path, CI) == {"sts:AssumeRole": {LOOKUP, prod_role}}
    assert calls_for(tmp_path, LOOKUP)["ec2:DescribeVpcs"] == {"*"}
    for role, keys in ((CI, {dev["key"], prod["key"]}), (EXECUTION, {dev["key"]})):
        declarations = read_declarations(["cdk.out"], [], role, PLACE, root=tmp_path)
        unknown = {part for declaration in declarations for part in declaration.unknown}
        assert unknown == {f"the context {key}" for key in keys}
