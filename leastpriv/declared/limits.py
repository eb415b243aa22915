"""Names what no table knows of a declared resource, so that a draft can say it
(`data/unwritten.tsv`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

from leastpriv.declared.linked_roles import is_linked_role_unknown
from leastpriv.declared.models import members
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.tool_lifecycle import ResourceKind, is_custom, is_known

NO_TABLE = "no table lists its permissions"
_NO_LINKED_ROLE = "AWS may make one, and no table has its name"
_NEEDS_NOTHING = (
    "AWS::CDK::Metadata", "AWS::CloudFormation::WaitCondition",
    "AWS::CloudFormation::WaitConditionHandle",
    "aws_caller_identity", "aws_iam_policy_document", "aws_partition", "aws_region", "aws_arn",
    "aws_service_principal",
    "aws_default_tags", "aws_eks_cluster_auth", "aws_elb_service_account", "aws_ip_ranges",
    "aws_billing_service_account", "aws_elb_hosted_zone_id", "aws_s3_bucket_hosted_zone_id",
    "aws_cloudfront_log_delivery_canonical_user_id", "aws_cloudtrail_service_account",
    "aws_ecr_lifecycle_policy_document", "aws_elastic_beanstalk_hosted_zone",
    "aws_networkmanager_core_network_policy_document", "aws_redshift_service_account",
    "aws_sagemaker_prebuilt_ecr_image", "aws_service",
)  # fmt: skip
"""Types and data sources that call nothing that needs a permission."""


def why_unknown(part: str, reasons: Mapping[str, str]) -> str:
    """Returns why the needs of a part of a template or plan are not known, without a full stop."""
    return reasons.get(part, NO_TABLE).removeprefix("not known: ").rstrip(".")


def needs_nothing(name: str) -> bool:
    """Whether a type or data source calls nothing that needs a permission."""
    return name in _NEEDS_NOTHING


def unknown_parts(kind: ResourceKind, properties: Mapping[str, object]) -> dict[str, str]:
    """Returns the parts of a resource of which the needs are not written -> why."""
    unknown = {}
    if not (is_known(kind) or is_custom(kind) or needs_nothing(kind.name)):
        unknown[kind.name] = NO_TABLE
    if is_linked_role_unknown(kind):
        unknown[f"the service-linked role of {kind.name}"] = _NO_LINKED_ROLE
    for row in _rows_of(kind):
        if any(fnmatchcase(name, row["when"]) for name in _names_set(properties)):
            unknown[row["part"]] = row["reason"]
    return unknown


@lru_cache(maxsize=4_096)
def _rows_of(kind: ResourceKind) -> tuple[Mapping[str, str], ...]:
    rows = table("unwritten", __package__)
    return tuple(row for row in rows if kind.name in row["types"].split(","))


def _names_set(properties: Mapping[str, object]) -> Iterator[str]:
    """The names of the members that have a value, at any depth."""
    return (member.key for member in members(properties) if member.value not in (None, ""))
