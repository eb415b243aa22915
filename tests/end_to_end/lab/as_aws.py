"""Names the resources that AWS checks where ministack checks another one, or `*`.

By the Service Authorization Reference, not by the project's own rules, so that the lab can show an
error of these. AWS may check a call on several resources: the first replaces ministack's, the
others are checked too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import ec2, iam, kms

Parameters = dict[str, Any]
_SERVICES = Path(__file__).parents[3] / "leastpriv" / "permissions" / "data" / "services"


def resources(exchange: Any, action: str, resource: str) -> list[str]:
    """All resources of a check, none where AWS makes no check; `resource` is ministack's."""
    prefix, _, name = action.partition(":")
    rule: Callable[..., list[str] | None] | None = globals().get(f"_{prefix.replace('-', '_')}")
    place = f"{exchange.region}:{get_account_id()}"
    found = rule(name, exchange.parameters, place, resource) if rule else None
    if found is None and not _is_of_type(prefix, name, resource):
        found = _by_reference(prefix, name, exchange.parameters, place)
    return [resource] if found is None else found


def _by_reference(prefix: str, name: str, asked: Parameters, place: str) -> list[str] | None:
    """The required resource of an action, where the request has its parts under the words of AWS's
    reference.
    """
    region, account = place.split(":")
    given = {key.lower(): value for key, value in asked.items() if isinstance(value, str) and value}
    given["scope"] = given.get("scope", "").lower()
    for kind, arn, is_required in _reference(prefix).get(name.lower(), ("", "", ()))[2]:
        own = re.sub("[^a-z0-9]", "", kind.lower())
        texts = {"partition": "aws", "region": region, "account": account}
        for variable in re.findall(r"\$\{(\w+)\}", arn) if is_required else ():
            key = variable.lower()
            short = key.removeprefix(own) if name.lower().endswith(own) else ""
            texts.setdefault(key, given.get(key) or given.get(short) or "")
        if is_required and all(texts.values()):
            for variable in set(re.findall(r"\$\{(\w+)\}", arn)):
                arn = arn.replace(f"${{{variable}}}", texts[variable.lower()])
            return [arn]
    return None


def _is_of_type(prefix: str, name: str, resource: str) -> bool:
    """Whether a resource is of a type of the action."""
    kinds = _reference(prefix).get(name.lower(), ("", "", ()))[2]
    patterns = (re.sub(r"\\\$\\\{\w+\\\}", ".*", re.escape(arn)) for _, arn, _ in kinds)
    return resource != "*" and any(re.fullmatch(pattern, resource) for pattern in patterns)


@cache
def _reference(prefix: str) -> dict[str, Any]:
    """Actions of a service as AWS's reference lists them: name -> (action, access level, (type,
    ARN, required) …).
    """
    file = _SERVICES / f"{prefix}.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))["actions"]) if file.is_file() else {}


def action_of(exchange: Any, action: str) -> str:
    """The action, where ministack checks another one of the service (ListAliases for GetAlias)."""
    renamed = {"Invoke": "InvokeFunction", "InvokeAsync": "InvokeFunction", "ListTags": "ListTags"}
    if action.startswith("lambda:") and exchange.service == "lambda":
        return f"lambda:{renamed.get(exchange.operation, exchange.operation)}"
    if action == "cloudfront:CreateDistributionWithTags":
        return "cloudfront:CreateDistribution"
    return action


def _athena(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    if asked.get("ResourceARN"):
        return [asked["ResourceARN"]]
    group = asked.get("WorkGroup") or (asked.get("Name") if name.endswith("WorkGroup") else None)
    return [f"arn:aws:athena:{place}:workgroup/{group}"] if group else None


def _glue(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    kind = next(
        (
            kind
            for kind in ("Job", "Crawler")
            if name.removeprefix("Get") == kind or name[6:] == kind
        ),
        "",
    )
    if kind and (own := asked.get(f"{kind}Name") or asked.get("Name")):
        return [f"arn:aws:glue:{place}:{kind.lower()}/{own}"]
    if name not in ("CreateDatabase", "GetDatabase", "UpdateDatabase", "DeleteDatabase"):
        return [asked["ResourceArn"]] if asked.get("ResourceArn") else None
    database = (asked.get("DatabaseInput") or {}).get("Name") or asked.get("Name")
    return [f"arn:aws:glue:{place}:catalog", f"arn:aws:glue:{place}:database/{database}"]


def _events(name: str, asked: Parameters, place: str, _: str) -> list[str] | None:
    rule = asked.get("Rule") or (asked.get("Name") if name.endswith("Rule") else None)
    if name in ("PutTargets", "RemoveTargets", "ListTargetsByRule") or (
        rule and name.endswith("Rule")
    ):
        bus = str(asked.get("EventBusName") or "default").rpartition("/")[2]
        return [f"arn:aws:events:{place}:rule/{'' if bus == 'default' else bus + '/'}{rule}"]
    if name in ("CreateEventBus", "DeleteEventBus", "DescribeEventBus") and asked.get("Name"):
        return [f"arn:aws:events:{place}:event-bus/{asked['Name']}"]
    return None


def _cloudwatch(name: str, asked: Parameters, place: str, _: str) -> list[str] | None:
    if name == "DeleteAlarms":
        return [f"arn:aws:cloudwatch:{place}:alarm:{each}" for each in asked.get("AlarmNames", [])]
    if name == "DescribeAlarms":
        return [
            f"arn:aws:cloudwatch:{place}:alarm:{each}" for each in asked.get("AlarmNames") or ["*"]
        ]
    board = asked.get("DashboardName") or next(iter(asked.get("DashboardNames") or []), "")
    if board:
        return [f"arn:aws:cloudwatch::{place.partition(':')[2]}:dashboard/{board}"]
    return [asked["ResourceARN"]] if asked.get("ResourceARN") else None


def _ssm(name: str, asked: Parameters, place: str, _: str) -> list[str] | None:
    names = asked.get("Names") if name in ("GetParameters", "DeleteParameters") else None
    return [f"arn:aws:ssm:{place}:parameter/{each.lstrip('/')}" for each in names or []] or None


def _kms(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    def key(named: str) -> str:
        if ":alias/" in named or named.startswith("alias/"):
            arn = named if named.startswith("arn:") else f"arn:aws:kms:{place}:{named}"
            named = str(kms._aliases.get(arn) or "")
        return (
            named if named.startswith("arn:") or not named else f"arn:aws:kms:{place}:key/{named}"
        )

    if name in ("CreateAlias", "UpdateAlias", "DeleteAlias"):
        alias = f"arn:aws:kms:{place}:{asked.get('AliasName')}"
        of = key(str(asked.get("TargetKeyId") or "")) or key(str(asked.get("AliasName")))
        old = key(str(asked.get("AliasName"))) if name == "UpdateAlias" else ""
        return [each for each in dict.fromkeys((alias, of, old)) if each]
    named = str(asked.get("KeyId") or "")
    if not named:
        return None
    return (
        [key(named)] if key(named) else []
    )  # of an alias that is not there: NotFoundException, whatever policies say


def _iam(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    account = place.partition(":")[2]
    if name in _BY_ARN:
        return [asked["Arn"]] if asked.get("Arn") else None
    if asked.get("InstanceProfileName"):
        return [
            f"arn:aws:iam::{account}:instance-profile{asked.get('Path') or '/'}{asked['InstanceProfileName']}"
        ]
    if name == "CreatePolicy":
        return [f"arn:aws:iam::{account}:policy{asked.get('Path') or '/'}{asked.get('PolicyName')}"]
    if asked.get("RoleName"):
        made = iam._roles.get_scoped(account, None, asked["RoleName"]) or {}
        if name != "CreateRole" and not made:
            return []  # the path of a role that does not exist is not known
        path = asked.get("Path") if name == "CreateRole" else made.get("Path")
        return [f"arn:aws:iam::{account}:role{path or '/'}{asked['RoleName']}"]
    return None


_BY_ARN = frozenset({"GenerateServiceLastAccessedDetails", "ListPoliciesGrantingServiceAccess"})


def _access_analyzer(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    return [asked["analyzerArn"]] if asked.get("analyzerArn") else None


def _iot(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    key = {"Policy": "target", "ThingPrincipal": "principal"}.get(
        name.removeprefix("Attach").removeprefix("Detach"), ""
    )
    target = str(asked.get(key) or "")
    return [target] if target.startswith("arn:") else None


def _lambda(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    layer = asked.get("LayerName")
    if layer and not str(layer).startswith("arn:"):
        version = asked.get("VersionNumber")
        return [f"arn:aws:lambda:{place}:layer:{layer}" + (f":{version}" if version else "")]
    own = str(asked.get("FunctionName") or "")
    if name == "InvokeFunction" and own:
        bare = own if own.startswith("arn:") else f"arn:aws:lambda:{place}:function:{own}"
        return [bare + (f":{asked['Qualifier']}" if asked.get("Qualifier") else "")]
    if name in ("CreateFunction", "UpdateFunctionConfiguration") and own:
        bare = own if own.startswith("arn:") else f"arn:aws:lambda:{place}:function:{own}"
        return [bare]
    if name in _ON_ALL_OF_LAMBDA:
        return ["*"]
    if name in _QUALIFIED and own and asked.get("Qualifier"):
        bare = own if own.startswith("arn:") else f"arn:aws:lambda:{place}:function:{own}"
        return [f"{bare}:{asked['Qualifier']}"]
    if own and not own.startswith("arn:") and ":" in own:
        return [f"arn:aws:lambda:{place}:function:{own.partition(':')[0]}"]
    return None


_ON_ALL_OF_LAMBDA = frozenset({
    "CreateEventSourceMapping", "ListEventSourceMappings", "ListLayerVersions", "ListLayers",
    "ListFunctions",
})  # fmt: skip
_QUALIFIED = frozenset({
    "AddPermission", "CreateFunctionUrlConfig", "DeleteFunction", "DeleteFunctionUrlConfig",
    "GetFunction",
    "GetFunctionConfiguration",
    "GetPolicy", "RemovePermission", "UpdateFunctionUrlConfig", "PutProvisionedConcurrencyConfig",
})  # fmt: skip
"""Actions that the Service Authorization Reference lists with aliases and versions among their
resources.
"""


def _ecs(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    cluster = str(asked.get("cluster") or "default").rpartition("/")[2]
    one = str(asked.get("serviceName") or asked.get("service") or "").rpartition("/")[2]
    if name in ("CreateService", "UpdateService", "DeleteService") and one:
        return [f"arn:aws:ecs:{place}:service/{cluster}/{one}"]
    if name == "DescribeServices":
        return [
            f"arn:aws:ecs:{place}:service/{cluster}/{str(each).rpartition('/')[2]}"
            for each in asked["services"]
        ]
    if name in ("DeregisterTaskDefinition", "DescribeTaskDefinition", "ListClusters"):
        return ["*"]
    if name == "CreateCluster":
        return [f"arn:aws:ecs:{place}:cluster/{asked.get('clusterName') or 'default'}"]
    if name == "RegisterTaskDefinition":
        return [f"arn:aws:ecs:{place}:task-definition/{asked.get('family')}:*"]
    if name == "DescribeClusters":
        clusters = asked.get("clusters") or ["default"]
        return [f"arn:aws:ecs:{place}:cluster/{str(each).rpartition('/')[2]}" for each in clusters]
    if name == "RunTask":
        definition = str(asked.get("taskDefinition")).rpartition("/")[2]
        return [
            f"arn:aws:ecs:{place}:task-definition/{definition if ':' in definition else definition + ':*'}"
        ]
    return None


_EC2_KINDS = {
    "vpc": "vpc", "subnet": "subnet", "igw": "internet-gateway", "rtb": "route-table",
    "sg": "security-group",
    "eipalloc": "elastic-ip", "nat": "natgateway", "lt": "launch-template", "vpce": "vpc-endpoint",
}  # fmt: skip
_EC2_MADE = {
    "CreateVpc": ("vpc/*",),
    "CreateSubnet": ("subnet/*", "vpc/{VpcId}"),
    "CreateInternetGateway": ("internet-gateway/*",),
    "AttachInternetGateway": ("internet-gateway/{InternetGatewayId}", "vpc/{VpcId}"),
    "DetachInternetGateway": ("internet-gateway/{InternetGatewayId}", "vpc/{VpcId}"),
    "CreateRouteTable": ("route-table/*", "vpc/{VpcId}"),
    "CreateRoute": ("route-table/{RouteTableId}",),
    "DeleteRoute": ("route-table/{RouteTableId}",),
    "AssociateRouteTable": ("route-table/{RouteTableId}", "subnet/{SubnetId}"),
    "CreateSecurityGroup": ("security-group/*", "vpc/{VpcId}"),
    "AuthorizeSecurityGroupIngress": ("security-group/{GroupId}",),
    "AuthorizeSecurityGroupEgress": ("security-group/{GroupId}",),
    "RevokeSecurityGroupIngress": ("security-group/{GroupId}",),
    "RevokeSecurityGroupEgress": ("security-group/{GroupId}",),
    "AllocateAddress": ("elastic-ip/*",),
    "CreateNatGateway": ("natgateway/*", "subnet/{SubnetId}", "elastic-ip/{AllocationId}"),
    "DeleteNatGateway": ("natgateway/{NatGatewayId}",),
    "CreateVpcEndpoint": ("vpc-endpoint/*", "vpc/{VpcId}"),
    "CreateLaunchTemplate": ("launch-template/*",),
    "DeleteLaunchTemplate": ("launch-template/{LaunchTemplateId}",),
    "CreateLaunchTemplateVersion": ("launch-template/{LaunchTemplateId}",),
}  # fmt: skip


def _ec2(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    if name == "DescribeVpcAttribute":
        return [f"arn:aws:ec2:{place}:vpc/{asked.get('VpcId')}"]
    if name.startswith(("Describe", "List")):
        return ["*"]
    if name == "DisassociateRouteTable":
        found = [
            str(key)
            for key, each in ec2._route_tables.items()
            for one in each.get("Associations", [])
            if asked.get("AssociationId") == one.get("RouteTableAssociationId")
        ]
        return [f"arn:aws:ec2:{place}:route-table/{found[0].rpartition('/')[2]}"] if found else []
    if name in ("CreateTags", "DeleteTags"):
        ids = [str(each) for each in asked.get("Resources", [])]
        return [
            f"arn:aws:ec2:{place}:{_EC2_KINDS.get(each.partition('-')[0], '*')}/{each}"
            for each in ids
        ]
    patterns = _EC2_MADE.get(name)
    if patterns is None:
        return None
    filled = [
        each.format_map({**asked})
        for each in patterns
        if all(key in asked for key in _fields(each))
    ]
    return [f"arn:aws:ec2:{place}:{each}" for each in filled]


def _fields(text: str) -> list[str]:
    return [part.partition("}")[0] for part in text.split("{")[1:]]


def _elasticache(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    if asked.get("ResourceName"):
        return [str(asked["ResourceName"])]
    own = f"arn:aws:elasticache:{place}:subnetgroup:{asked.get('CacheSubnetGroupName') or '*'}"
    return [own] if "SubnetGroup" in name else None


def _elasticloadbalancing(
    name: str, asked: Parameters, place: str, resource: str
) -> list[str] | None:
    if name.startswith("Describe"):
        return ["*"]
    if name == "CreateLoadBalancer":
        kind = {"network": "net", "gateway": "gwy"}.get(str(asked.get("Type")), "app")
        return [f"arn:aws:elasticloadbalancing:{place}:loadbalancer/{kind}/{asked.get('Name')}/*"]
    if name == "CreateTargetGroup":
        return [f"arn:aws:elasticloadbalancing:{place}:targetgroup/{asked.get('Name')}/*"]
    if name in ("AddTags", "RemoveTags"):
        return [str(each) for each in asked.get("ResourceArns", [])]
    if name == "CreateRule" and asked.get("ListenerArn"):
        return [asked["ListenerArn"]]
    names = ("RuleArn", "ListenerArn", "TargetGroupArn", "LoadBalancerArn")
    return next(([asked[each]] for each in names if asked.get(each)), None)


def _cloudfront(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    account = place.partition(":")[2]
    if name.startswith("List"):
        return [asked["Resource"]] if asked.get("Resource") else ["*"]
    if name in ("TagResource", "UntagResource"):
        return [asked["Resource"]]
    kind = "origin-access-identity" if "OriginAccessIdentity" in name else "distribution"
    kind = "origin-access-control" if "OriginAccessControl" in name else kind
    if name.startswith("Create") and "Invalidation" not in name:
        return ["*"]
    return [
        f"arn:aws:cloudfront::{account}:{kind}/{asked.get('DistributionId') or asked.get('Id') or '*'}"
    ]


def _route53(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    if name == "GetChange":
        return [f"arn:aws:route53:::change/{str(asked.get('Id')).rpartition('/')[2]}"]
    if name in ("ListTagsForResource", "ChangeTagsForResource"):
        return [f"arn:aws:route53:::{asked.get('ResourceType')}/{asked.get('ResourceId')}"]
    zone = str(
        asked.get("HostedZoneId") or (asked.get("Id") if "HostedZone" in name else "") or ""
    ).rpartition("/")[2]
    return [f"arn:aws:route53:::hostedzone/{zone}"] if zone else ["*"]


def _dynamodb(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    table = str(asked.get("TableName") or "")
    if (
        name in ("Query", "Scan")
        and asked.get("IndexName")
        and table
        and not table.startswith("arn:")
    ):
        return [f"arn:aws:dynamodb:{place}:table/{table}/index/{asked['IndexName']}"]
    return None


def _cognito_idp(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    return [asked["ResourceArn"]] if asked.get("ResourceArn") else None


def _sns(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    subscription = str(asked.get("SubscriptionArn") or "")
    return [subscription.rpartition(":")[0]] if subscription.count(":") == 6 else None


def _scheduler(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    if name in ("CreateSchedule", "UpdateSchedule", "DeleteSchedule", "GetSchedule"):
        return [
            f"arn:aws:scheduler:{place}:schedule/{asked.get('GroupName') or 'default'}/{asked.get('Name')}"
        ]
    return [asked["ResourceArn"]] if asked.get("ResourceArn") else None


def _states(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    if name in ("ListStateMachines", "ValidateStateMachineDefinition"):
        return ["*"]
    if name == "StartExecution" and asked.get("stateMachineArn"):
        return [asked["stateMachineArn"]]
    return [asked["resourceArn"]] if asked.get("resourceArn") else None


def _cloudformation(name: str, asked: Parameters, place: str, resource: str) -> list[str] | None:
    change = str(asked.get("ChangeSetName") or "")
    if resource == "*" and change.startswith("arn:"):
        return [change]
    return None
