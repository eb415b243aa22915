"""An error of AWS that a user can fix names the remedy, and only such an error does."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from leastpriv.aws.errors import remedy, to_aws_error

READER = "arn:aws:sts::111122223333:assumed-role/leastpriv-reader/run"
OBJECT = (
    f"User: {READER} is not authorized to perform: s3:GetObject on resource:"
    ' "arn:aws:s3:::trail/a.json.gz"'
)
KEY = (
    f"User: {READER} is not authorized to perform: kms:Decrypt on resource:"
    " arn:aws:kms:eu-west-1:999999999999:key/1"
)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Not authorized to perform sts:AssumeRoleWithWebIdentity", "init --check"),
        ("Incorrect token audience", "client ids"),
        (
            (
                "No OpenIDConnect provider found in your account for"
                " https://token.actions.githubusercontent.com"
            ),
            "Create",
        ),
        (
            "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
            "thumbprint",
        ),
        (
            (
                "Couldn't retrieve verification key from your identity provider, please reference"
                " AssumeRole…"
            ),
            "internet",
        ),
        (
            f"{KEY} because no identity-based policy allows the kms:Decrypt action",
            "--kms-key-arn`.",
        ),
        (
            f"{KEY} because no resource-based policy allows the kms:Decrypt action",
            "trail-key-policy.json",
        ),
        (
            (
                "The ciphertext refers to a customer master key that does not exist, does not exist"
                " in this region, or you are not allowed to access."
            ),
            "trail-key-policy.json",
        ),
        (f"{OBJECT} because no VPC endpoint policy allows the s3:GetObject action", "VPC endpoint"),
        (f"{OBJECT} with an explicit deny in a VPC endpoint policy", "VPC endpoint"),
        (f"{OBJECT} with an explicit deny in a resource-based policy", "aws:SourceVpce"),
        (
            f"{OBJECT} because no resource-based policy allows the s3:GetObject action",
            "trail-bucket-policy.json",
        ),
        (f"{OBJECT} with an explicit deny in a service control policy", "aws-regions"),
        ("Access Denied", "gives no reason"),
    ],
)
def test_an_error_that_a_user_can_fix_names_the_remedy(message: str, words: str) -> None:
    sentence = str(
        to_aws_error(
            ClientError({"Error": {"Code": "AccessDenied", "Message": message}}, "X"), "reading"
        )
    )
    assert words in sentence
    assert sentence.endswith(".")
    assert ".." not in sentence


@pytest.mark.parametrize(
    "message",
    [
        f"{OBJECT} because no identity-based policy allows the s3:GetObject action",
        f"User: {READER} is not authorized to perform: iam:GetRole on resource: role deploy",
        "Rate exceeded",
        "",
    ],
)
def test_another_error_has_no_remedy_that_may_be_wrong(message: str) -> None:
    assert remedy(message) == ""
