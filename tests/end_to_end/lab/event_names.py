"""Event name, event source, readOnly and category of an operation in CloudTrail."""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path

from botocore.model import OperationModel

_SOURCES = {
    "cloudwatch": "monitoring", "stepfunctions": "states", "elbv2": "elasticloadbalancing",
    "elb": "elasticloadbalancing", "sesv2": "ses", "ses": "ses",
    "accessanalyzer": "access-analyzer",
    "apigatewayv2": "apigateway", "efs": "elasticfilesystem", "resourcegroupstaggingapi": "tagging",
    "s3control": "s3", "cloudcontrol": "cloudcontrolapi", "opensearch": "es",
}  # fmt: skip
"""The API model's name → the first part of eventSource."""

API_VERSIONS = {
    "dynamodb": "2012-08-10", "logs": "20140328", "elbv2": "2015-12-01", "elb": "2012-06-01",
    "route53": "2013-04-01", "cloudfront": "2020_05_31", "efs": "2015-02-01", "wafv2": "2019-04-23",
}  # fmt: skip
"""Services whose records have apiVersion, as observed in real ones."""

_S3_NAMES = {
    "ListObjectsV2": "ListObjects",
    "GetBucketLifecycleConfiguration": "GetBucketLifecycle",
    "PutBucketLifecycleConfiguration": "PutBucketLifecycle",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "DeleteBucketPublicAccessBlock",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
}
"""docs.aws.amazon.com, "Amazon S3 CloudTrail events", 2026-04: the names that differ from the
API's.
"""

_LAMBDA_V2 = frozenset({
    "AddPermission", "GetFunction", "GetFunctionConfiguration", "GetPolicy", "RemovePermission",
    "TagResource",
    "UntagResource", "UpdateFunctionCode", "UpdateFunctionConfiguration",
})  # fmt: skip
"""Lambda events that end in v2, as observed in real records."""

_LAMBDA_DATES = ("2015-03-31", "2017-03-31", "2017-10-31", "2018-10-31")
"""Lambda's later API dates give plain event names."""

_GLOBAL = frozenset(
    {"iam", "organizations", "route53", "cloudfront", "account", "globalaccelerator", "shield"}
)
"""Services whose records are of us-east-1 for every region of the caller."""

_READS = (
    "BatchGet", "Check", "Describe", "Filter", "Get", "Head", "List", "Lookup", "Query", "Scan",
    "Search", "Select",
    "Simulate", "Validate", "View",
)  # fmt: skip
_ALSO_READS = frozenset({
    ("sts", "AssumeRole"), ("sts", "AssumeRoleWithWebIdentity"), ("sts", "AssumeRoleWithSAML"),
    ("kms", "Decrypt"), ("kms", "Encrypt"), ("kms", "GenerateDataKey"), ("kms",
    "GenerateDataKeyWithoutPlaintext"),
    ("kms", "ReEncrypt"), ("kms", "Sign"), ("kms", "Verify"), ("kms", "GenerateMac"), ("kms",
    "VerifyMac"),
    ("cloudformation", "EstimateTemplateCost"), ("cloudformation", "DetectStackDrift"),
    ("ecr", "BatchCheckLayerAvailability"), ("dynamodb", "TransactGetItems"),
})  # fmt: skip
"""Operations that CloudTrail marks readOnly in spite of their names: observed in real records (sts,
kms).
"""

_IN_NO_TRAIL = frozenset({("logs", "PutLogEvents")})
"""docs.aws.amazon.com, "Logging CloudWatch Logs API calls", 2026-04: not among the logged ones."""

_DATA_EVENTS = Path(__file__).resolve().parents[3] / "tools" / "visibility" / "data_events.tsv"
_PREFIXES = {"stepfunctions": "states", "eventbridge": "events", "sesv2": "ses"}


@cache
def _data_operations() -> frozenset[tuple[str, str]]:
    """(prefix, operation) of the documented data events; the product's table, each row with its
    source.
    """
    lines = [
        line
        for line in _DATA_EVENTS.read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    return frozenset(
        (row["prefix"], row["operation"]) for row in csv.DictReader(lines, delimiter="\t")
    )


def event_source(service: str) -> str:
    """The eventSource of an API model's service."""
    return f"{_SOURCES.get(service, service)}.amazonaws.com"


def event_name(service: str, operation: str, model: OperationModel | None) -> str:
    """The eventName of an operation."""
    if service == "s3":
        return _S3_NAMES.get(operation, operation)
    if service == "lambda" and model is not None and not is_data_event(service, operation):
        dated = re.match(r"/(\d{4}-\d{2}-\d{2})/", model.http.get("requestUri", ""))
        if dated and dated.group(1) in _LAMBDA_DATES:
            return f"{operation}{dated.group(1).replace('-', '')}{'v2' if operation in _LAMBDA_V2 else ''}"
    if service == "cloudfront" and model is not None:
        return f"{operation}{model.service_model.api_version.replace('-', '_')}"
    return operation


def event_region(service: str, region: str) -> str:
    """The awsRegion of a record."""
    return "us-east-1" if service in _GLOBAL else region


def is_data_event(service: str, operation: str) -> bool:
    """Whether it is logged only by a trail with data events."""
    return (_PREFIXES.get(service, service), operation) in _data_operations()


def is_read_only(service: str, operation: str) -> bool:
    """The readOnly of an operation in CloudTrail."""
    return operation.startswith(_READS) or (service, operation) in _ALSO_READS


def is_recorded(service: str, operation: str) -> bool:
    """Whether any trail can show it."""
    return (service, operation) not in _IN_NO_TRAIL
