"""AWS's messages of denials: docs.aws.amazon.com, "Troubleshoot access denied error messages", and
real ones.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping

_SILENT_ON_STAR = frozenset({
    "autoscaling", "codebuild", "codecommit", "config", "ec2", "elasticloadbalancing", "rds",
    "route53", "s3",
    "secretsmanager", "servicequotas",
})  # fmt: skip
"""Services whose messages name no resource if the action has none; the others write `*`. Observed
in real messages.
"""

_OF_STAR = {
    "sqs": "arn:aws:sqs:{region}:{account}:", "sns": "arn:aws:sns:{region}:{account}:*",
    "ssm": "arn:aws:ssm:{region}:{account}:*",
    "lightsail": "arn:aws:lightsail:{region}:{account}:*",
    "glacier": "arn:aws:glacier:{region}:{account}:vaults/",
    "iam:ListRoles": "arn:aws:iam::{account}:role/",
    "iam:ListUsers": "arn:aws:iam::{account}:user/", "iam:ListPolicies": "policy path /",
    "cloudformation": "arn:aws:cloudformation:{region}:{account}:stack/*/*",
}  # fmt: skip
"""The resource named instead of `*`: observed for sqs, sns, ssm, lightsail, glacier and ListRoles,
else guessed.
"""

DRAWN = "-LabS3c"
"""The suffix of the name of a secret that is not there, which the check uses: six random characters.

`secret:NAME` alone does not allow CreateSecret, `secret:NAME-*` does: iann0036/iam-dataset#22,
tried on AWS, 2023-02. `secret:NAME-??????` grants permissions to a secret that does not exist yet:
"Limiting Access to Specific Secrets", AWS Secrets Manager User Guide, read 2026-12-02.
"""

_IAM_KINDS = {
    "role": "role",
    "user": "user",
    "group": "group",
    "instance-profile": "instance profile",
}
_IAM_FULL_ARN = ("Create", "PassRole", "Upload", "List", "TagRole", "TagUser")
"""IAM names the ARN for these, and for others the kind and the name: observed in real messages,
TagRole guessed.
"""


def refusal(caller: str, action: str, resource: str, reason: str, region: str) -> str:
    """The message; `reason` is the text after the resource, `resource` an ARN or `*`."""
    action = spelled(action)
    shown = _resource(action, resource, caller, region)
    on = f" on resource: {shown}" if shown else ""
    sentence = (
        f"User: {caller} is not authorized to perform: {action}{on}"
        f" {reason.replace('{action}', action)}"
    )
    if not action.startswith("ec2:"):
        return sentence
    return of_ec2(sentence, caller, action, shown)


def of_ec2(sentence: str, caller: str, action: str, resource: str) -> str:
    """The message of EC2, with the encoded message if there is a resource."""
    whole = f"You are not authorized to perform this operation. {sentence}"
    return (
        f"{whole}. Encoded authorization failure message: {encoded(caller, action, resource)}"
        if resource
        else whole
    )


def spelled(action: str) -> str:
    """An action as its service writes it: SQS in small letters, SNS with a large prefix."""
    prefix, _, name = action.partition(":")
    return {"sqs": f"sqs:{name.lower()}", "sns": f"SNS:{name}"}.get(prefix, action)


def _resource(action: str, resource: str, caller: str, region: str) -> str:
    prefix, _, name = action.partition(":")
    prefix = prefix.lower()
    if resource in ("", "*"):
        if name.startswith(("Create", "Run", "Get")) and prefix == "ec2":
            return resource
        pattern = _OF_STAR.get(f"{prefix}:{name}", _OF_STAR.get(prefix, ""))
        if pattern:
            return pattern.format(region=region, account=caller.split(":")[4])
        return "" if prefix in _SILENT_ON_STAR else "*"
    if prefix == "secretsmanager" and (
        resource.endswith(DRAWN) or not re.search(r"-\w{6}$", resource)
    ):
        # Of a missing secret only the name is known.
        return resource.rpartition(":secret:")[2].removesuffix(DRAWN)
    if prefix == "s3":
        return f'"{resource}"'
    if prefix == "iam" and not name.startswith(_IAM_FULL_ARN):
        found = re.fullmatch(r"arn:aws:iam::\d+:([\w-]+)/(?:.*/)?([^/]+)", resource)
        if found and found.group(1) in _IAM_KINDS:
            return f"{_IAM_KINDS[found.group(1)]} {found.group(2)}"
        if found and found.group(1) == "policy":
            return f"policy {resource}"
    return resource


def encoded(caller: str, action: str, resource: str) -> str:
    """EC2's encoded message; `decoded` reads it, as sts:DecodeAuthorizationMessage does."""
    text = {
        "allowed": False,
        "explicitDeny": False,
        "matchedStatements": {"items": []},
        "failures": {"items": []},
        "context": {
            "principal": {"id": "", "arn": caller},
            "action": action,
            "resource": resource,
            "conditions": {"items": []},
        },
    }
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(text).encode())).decode()


def decoded(message: str) -> Mapping[str, object] | None:
    """The content of an encoded message, or None for one that the lab did not write."""
    try:
        read: Mapping[str, object] = json.loads(zlib.decompress(base64.urlsafe_b64decode(message)))
    except (ValueError, zlib.error):
        return None
    return read
