"""What a call needs that CloudTrail never names, each with what in the call implies it; nothing that is only likely.

Left out on purpose: `iam:CreateServiceLinkedRole`. A service makes its role once for an account, so a call that may
make it seldom does; where it does, CloudTrail shows an event of its own under the caller's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv.model import Basis, Call, Need, Outcome, Permission
from leastpriv.permissions.pass_role import passed_roles
from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.presence import Presence
from leastpriv.permissions.request import RequestTexts, request_values
from leastpriv.permissions.tagging import tagging_needs
from leastpriv.permissions.templates import partition

_ABSENT = frozenset({"NoSuchKey", "NotFound"})
"""Codes of a record; `404` is what SDKs make of an answer without a body (github.com/aws/aws-cli/issues/666)."""
_ALIAS = "resolve:ssm:"


def implied_needs(
    call: Call, operation: str, presence: Presence, texts: RequestTexts, observed: Sequence[Need]
) -> Iterator[Need]:
    """Inferred needs of one call; none for refused and inconclusive calls, which prove no need.

    `operation` is the `operation` of its event (`lambda:CreateFunction`), `observed` are its observed needs.
    """
    if call.outcome is not Outcome.ALLOWED:
        return
    if call.error_code:
        yield from _told_absent(call, operation, observed)
    elif not call.read_only:
        yield from passed_roles(call, operation, texts.values)
        yield from tagging_needs(call, operation, presence)
        yield from _image_alias(call, operation)
        yield from _root_volume(call, operation, observed)


def _told_absent(call: Call, operation: str, observed: Sequence[Need]) -> Iterator[Need]:
    """Only to a caller with `s3:ListBucket` S3 says 404 of an object that is not there, to others 403.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, "Permissions" (read 2026-11-24).
    """
    if operation not in ("s3:GetObject", "s3:HeadObject") or call.error_code not in _ABSENT:
        return
    objects = [need.permission.resource for need in observed if need.exact and ":s3:::" in need.permission.resource]
    for bucket in dict.fromkeys(resource.partition("/")[0] for resource in objects):
        yield Need(
            permission=Permission("s3:ListBucket", bucket),
            basis=Basis.INFERRED,
            derivation="bucket of the object",
            because=f"s3:{call.name} was told that the object is absent",
        )


def _root_volume(call: Call, operation: str, observed: Sequence[Need]) -> Iterator[Need]:
    """EC2 makes the volume of an image on Amazon EBS, though no request names it: the answer tells the device's type.

    "EC2-VPC-EBS: instance, image, security group, network interface, volume"
    (https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html, read 2026-11-24).
    """
    is_on_ebs = operation == "ec2:RunInstances" and ("rootdevicetype", "ebs") in request_values(call.response)
    if is_on_ebs and not any(":volume/" in need.permission.resource for need in observed):
        yield Need(
            permission=Permission(
                "ec2:RunInstances", f"arn:{partition(call)}:ec2:{call.region}:{call.account}:volume/*"
            ),
            basis=Basis.INFERRED,
            derivation="a new volume, as the answer says",
            because=f"ec2:{call.name} makes the root volume of an image on Amazon EBS",
        )


def _image_alias(call: Call, operation: str) -> Iterator[Need]:
    """EC2 reads the parameter of `resolve:ssm:NAME` in the caller's name.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-ec2-aliases.html (read 2026-11-24);
    parameters under `/aws/` are AWS's own, whose ARNs have no account.
    """
    if operation != "ec2:RunInstances":
        return
    for key, value in request_values(call.parameters):
        if key != "imageid" or not value.startswith(_ALIAS):
            continue
        alias = value.removeprefix(_ALIAS)
        name = alias.rpartition("parameter/")[2] if alias.startswith("arn:") else alias
        path = name.partition(":")[0].strip("/")
        account = "" if path.startswith("aws/") else call.account
        arn = f"arn:{partition(call)}:ssm:{call.region}:{account}:parameter/{escape_observed(path)}"
        yield Need(
            permission=Permission("ssm:GetParameters", arn),
            basis=Basis.INFERRED,
            derivation="parameter that stands for the image",
            because=f"ec2:{call.name} names its image by a parameter",
        )
