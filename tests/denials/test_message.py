"""One refusal message -> what was refused, and whether a grant can help."""

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import wrap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.denials.log_text import clean_log_text
from leastpriv.denials.message import find_denials, read_denial
from leastpriv.models import Denial, DeniedBy

WHO = "arn:aws:sts::123456789012:assumed-role/deploy/run=1@a.b"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:q"
INSTANCE = "arn:aws:ec2:eu-west-1:123456789012:instance/*"
EC2 = "You are not authorized to perform this operation."
SENTENCE = f"User: {WHO} is not authorized to perform: sqs:SendMessage on resource: {QUEUE}"


def test_the_standard_sentence_gives_action_resource_principal_and_policy_type() -> None:
    message = f"{SENTENCE} because no identity-based policy allows the sqs:SendMessage action"
    assert read_denial(message) == Denial(
        ("sqs:SendMessage",),
        QUEUE,
        WHO,
        DeniedBy.IDENTITY,
        explicit=False,
        mendable=True,
        message=message,
    )


@pytest.mark.parametrize(
    ("reason", "denied_by"),
    [
        ("because no service control policy allows the sqs:SendMessage action", DeniedBy.SCP),
        ("because no resource control policy allows the sqs:SendMessage action", DeniedBy.RCP),
        ("because no permissions boundary allows the sqs:SendMessage action", DeniedBy.BOUNDARY),
        ("because no session policy allows the sqs:SendMessage action", DeniedBy.SESSION),
        ("because no resource-based policy allows the sqs:SendMessage action", DeniedBy.RESOURCE),
        ("because no VPC endpoint policy allows the sqs:SendMessage action", DeniedBy.VPCE),
        (
            (
                "because public policies are blocked by the BlockPublicPolicy block public access"
                " setting."
            ),
            DeniedBy.BPA,
        ),
    ],
)
def test_what_another_policy_did_not_allow_is_not_mended_in_the_identity_policy(
    reason: str, denied_by: DeniedBy
) -> None:
    denial = read_denial(f"{SENTENCE} {reason}")
    assert (denial.denied_by, denial.explicit, denial.mendable) == (denied_by, False, False)
    assert (denial.actions, denial.resource) == (("sqs:SendMessage",), QUEUE)


@pytest.mark.parametrize(
    ("reason", "denied_by"),
    [
        ("with an explicit deny", DeniedBy.UNKNOWN),
        ("with an explicit deny in an identity-based policy", DeniedBy.IDENTITY),
        (
            (
                "with an explicit deny in a service control policy:"
                " arn:aws:organizations::1:policy/o-1/p-1"
            ),
            DeniedBy.SCP,
        ),
        ("with an explicit deny transitively through a service control policy", DeniedBy.SCP),
        ("with an explicit deny in\nan identity-based policy (Service: Iam)", DeniedBy.IDENTITY),
        (
            "with an explicit deny in a permissions boundary: arn:aws:iam::1:policy/session",
            DeniedBy.BOUNDARY,
        ),
        ("with an explicit deny in a resource control policy.", DeniedBy.RCP),
        ("with an explicit deny in a session policy", DeniedBy.SESSION),
        ("with an explicit deny in a VPC endpoint policy", DeniedBy.VPCE),
        ("with an explicit deny in a resource-based policy", DeniedBy.RESOURCE),
    ],
)
def test_an_explicit_deny_is_never_mendable(reason: str, denied_by: DeniedBy) -> None:
    denial = read_denial(f"{SENTENCE} {reason}")
    assert (denial.denied_by, denial.explicit, denial.mendable) == (denied_by, True, False)
    assert denial.resource == QUEUE


def test_a_denial_without_a_reason_may_be_fixed_by_a_grant() -> None:
    denial = read_denial(SENTENCE)
    assert (denial.denied_by, denial.mendable) == (DeniedBy.UNKNOWN, True)


@pytest.mark.parametrize(
    ("written", "resource"),
    [
        (' on resource: "arn:aws:s3:::b/a key" because', "arn:aws:s3:::b/a key"),
        (' on resource: \\"arn:aws:s3:::b/k\\" because', "arn:aws:s3:::b/k"),
        (" on resource: role deploy because", "role deploy"),
        (" on resource: instance profile web because", "instance profile web"),
        (f" on resource: {QUEUE}.", QUEUE),
        (f" on resource: {QUEUE} (Service: Sqs, Status Code: 403)", QUEUE),
        (" on resource: * because", "*"),
        (" because", ""),
        ("", ""),
    ],
)
def test_the_resource_is_as_the_service_names_it(written: str, resource: str) -> None:
    denial = read_denial(f"User: {WHO} is not authorized to perform: sqs:SendMessage{written}")
    assert (denial.actions, denial.resource) == (("sqs:SendMessage",), resource)


def test_ec2_says_it_twice_and_the_second_sentence_names_the_action() -> None:
    denial = read_denial(
        f"You are not authorized to perform this operation. User: {WHO} is not authorized to"
        " perform: ec2:RunInstances on resource: arn:aws:ec2:us-east-1:1:instance/* with an"
        " explicit deny in a permissions boundary: arn:aws:iam::1:policy/b. Encoded authorization"
        " failure message: abc"
    )
    assert (denial.actions, denial.denied_by, denial.mendable) == (
        ("ec2:RunInstances",),
        DeniedBy.BOUNDARY,
        False,
    )


def test_a_denial_does_not_take_the_reason_of_the_next_one() -> None:
    denial = read_denial(
        f"{SENTENCE}, {SENTENCE} with an explicit deny in a service control policy"
    )
    assert (denial.denied_by, denial.mendable) == (DeniedBy.UNKNOWN, True)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Access Denied",
        "You are not authorized to perform this operation.",
        (
            f"User: {WHO} is not authorized to perform: <redacted> because no identity-based policy"
            " allows it"
        ),
        f"User: {WHO} is not authorized to perform: null",
    ],
)
def test_a_message_without_an_action_is_not_mendable(message: str) -> None:
    denial = read_denial(message)
    assert (denial.actions, denial.mendable) == ((), False)


@pytest.mark.parametrize(
    "message",
    [
        "Not authorized to perform sts:AssumeRoleWithWebIdentity",
        f"User: {WHO} is not authorized to perform: some:ApiCall on resource: some-resource",
        (
            f"User: {WHO} is not authorized to perform: account:ListRegions (Your organization must"
            " first enable trusted access with AWS Account Management.)"
        ),
    ],
)
def test_a_login_a_placeholder_and_a_rule_of_the_account_are_not_mended(message: str) -> None:
    assert not read_denial(message).mendable


def test_the_error_code_of_a_vpc_endpoint_gives_the_policy_type() -> None:
    denial = read_denial(SENTENCE, error_code="VpceAccessDenied")
    assert (denial.denied_by, denial.mendable) == (DeniedBy.VPCE, False)


@pytest.mark.parametrize(
    ("message", "actions", "resource"),
    [
        (
            (
                "upload failed: ./a to s3://bucket-1/k An error occurred (AccessDenied) when"
                " calling the PutObject operation: Access Denied"
            ),
            "s3:PutObject",
            "arn:aws:s3:::bucket-1/k",
        ),
        (
            (
                "copy failed: s3://bucket-1/x to s3://bucket-2/y An error occurred (AccessDenied)"
                " when calling the CopyObject operation: Access Denied"
            ),
            "s3:GetObject,s3:PutObject",
            "",
        ),
        (
            (
                "$ aws s3 ls s3://bucket-1/\nAn error occurred (AccessDenied) when calling the"
                " ListObjectsV2 operation: Access Denied"
            ),
            "s3:ListBucket",
            "arn:aws:s3:::bucket-1",
        ),
        (
            (
                "Error: reading S3 Bucket (bucket-1): operation error S3: HeadBucket, https"
                " response error StatusCode: 403, RequestID: 1, HostID: 2, api error Forbidden:"
                " Forbidden\n│\n│   with aws_s3_bucket.x,"
            ),
            "s3:ListBucket",
            "arn:aws:s3:::bucket-1",
        ),
        ("API: s3:SetBucketEncryption Access Denied", "s3:PutEncryptionConfiguration", ""),
        (
            "API: ec2:RunInstances You are not authorized to perform this operation. Encoded",
            "ec2:RunInstances",
            "",
        ),
        (
            "Error loading state: AccessDenied: Access Denied\n\tstatus code: 403",
            "s3:GetObject",
            "",
        ),
        (
            "Error: error reading S3 Bucket (bucket-1): Forbidden: Forbidden\n\tstatus code: 403",
            "s3:ListBucket",
            "arn:aws:s3:::bucket-1",
        ),
        (
            "Error putting object in S3 bucket (bucket-1): AccessDenied: Access Denied",
            "s3:PutObject",
            "",
        ),
        (
            "error reading S3 Object (a/b.html): Forbidden: Forbidden",
            "s3:GetObject",
            "arn:aws:s3:::***/a/b.html",
        ),
        (
            "error creating S3 bucket ACL for b-1: AccessDenied: Access Denied",
            "s3:PutBucketAcl",
            "",
        ),
        (
            (
                "CREATE_FAILED | AWS::S3::BucketPolicy | X\nAccess Denied (Service: S3, Status"
                " Code: 403, Request ID: 1)"
            ),
            "s3:PutBucketPolicy",
            "",
        ),
        (
            (
                "CREATE_FAILED | AWS::ApiGateway::RestApi | X\nAccess Denied (Service: ApiGateway,"
                " Status Code: 403)"
            ),
            "apigateway:POST",
            "",
        ),
        (
            (
                "Your access has been denied by S3, please make sure your request credentials have"
                " permission to GetObject for b/k.zip. S3 Error Code: AccessDenied. S3 Error"
                " Message: Access Denied"
            ),
            "s3:GetObject",
            "arn:aws:s3:::b/k.zip",
        ),
        (
            (
                "An error occurred (AccessDenied) when calling the SendMessage operation: Access to"
                " the resource https://sqs.eu-west-1.amazonaws.com/123456789012/q is denied."
            ),
            "sqs:SendMessage",
            QUEUE,
        ),
        (
            (
                "Command run: ecs deploy\nAn error occurred (AccessDeniedException) when calling"
                " the DescribeServices operation: User: arn:aws:sts::***:a"
            ),
            "ecs:DescribeServices",
            "",
        ),
        (
            (
                "The ciphertext refers to a customer master key that does not exist, does not exist"
                " in this region, or you are not allowed to access."
            ),
            "kms:Decrypt",
            "",
        ),
    ],
)
def test_an_action_that_is_not_named_is_inferred_and_the_denial_says_so(
    message: str, actions: str, resource: str
) -> None:
    denial = read_denial(message)
    assert (",".join(denial.actions), denial.resource) == (actions, resource)
    assert (denial.inferred, denial.mendable, denial.principal) == (True, True, "")


@pytest.mark.parametrize(
    "message",
    [
        (
            "An error occurred (AccessDenied) when calling the DeleteObject operation: Access"
            " Denied because object protected by object lock."
        ),
        (
            "An error occurred (AccessDenied) when calling the AssumeRole operation: Roles may not"
            " be assumed by root accounts."
        ),
        (
            "operation error CloudWatch Logs: CreateLogGroup, https response error StatusCode: 400,"
            " RequestID: 1, api error AccessDeniedException: The specified KMS key does not exist"
            " or is not allowed to be used"
        ),
        "operation error S3: PutObject, exceeded maximum number of attempts",
        (
            "operation error S3: PutObject, https response error StatusCode: 403, RequestID: 1, api"
            " error ExpiredToken: x"
        ),
        "You do not have permission to perform the 'cancel' action on this order.",
        "The provided execution role does not have permissions to call SendMessage on SQS",
        "The execution role does not have permission to perform: sqs:SendMessage",
        "Error putting S3 policy: OperationAborted: A conflicting conditional operation",
        "Error creating S3 bucket policy: AccessDenied: Access Denied",
        (
            "aws s3 cp a s3://b/k --endpoint-url http://store:9000\nAn error occurred"
            " (AccessDenied) when calling the PutObject operation: Access Denied"
        ),
        "CodeBuild is not authorized to perform: sts:AssumeRole on service role. Please verify",
        (
            "User: anonymous is not authorized to perform: execute-api:Invoke on resource:"
            " arn:aws:execute-api:x:1:a/b"
        ),
        "User 'bob' is not authorized to perform: delete on resource: order/12",
        (
            "current credentials could not be used to assume 'arn:aws:iam::1:role/x', but are for"
            " the right account. Proceeding anyway."
        ),
        "API: ec2:disassociateAddress You do not have permission to access the specified resource.",
        f"{SENTENCE} because",
        f"{SENTENCE} because the moon is full",
        (
            f"User: {WHO} is not authorized to perform: kms:Decrypt on the resource associated with"
            " this ciphertext because the resource does not exist in this Region, no"
            " resource-based policies allow access, or a resource-based policy explicitly denies"
            " access"
        ),
    ],
)
def test_look_alikes_and_other_causes_are_not_mendable(message: str) -> None:
    assert not read_denial(message).mendable


def test_a_denial_says_why_no_grant_helps_only_where_none_does() -> None:
    assert (
        "service control policy"
        in read_denial(f"{SENTENCE} because no service control policy allows it").why
    )
    assert "explicit deny" in read_denial(f"{SENTENCE} with an explicit deny").why
    assert (
        "decode-authorization-message"
        in read_denial(
            "UnauthorizedOperation: You are not authorized to perform this operation. Encoded"
            " authorization failure message: a"
        ).why
    )
    assert read_denial(SENTENCE).why == ""


def test_a_truncated_reason_counts_once_it_is_unambiguous() -> None:
    assert read_denial(f"{SENTENCE} because no identity-ba").denied_by is DeniedBy.IDENTITY
    assert read_denial(f"{SENTENCE} because no ").denied_by is DeniedBy.UNKNOWN


@pytest.mark.parametrize("end", range(1, len("with an explicit deny")))
def test_a_truncated_explicit_deny_is_not_mendable(end: int) -> None:
    tail = "with an explicit deny"[:end].strip()
    for text in (f"{SENTENCE} {tail}", f"{SENTENCE} {tail}...", f"{SENTENCE}\n{tail}\nnext line"):
        denial = read_denial(text)
        assert (denial.resource, denial.mendable) == (read_denial(SENTENCE).resource, False), text


@pytest.mark.parametrize(
    "line",
    [
        "Updating the VPC endpoint policy now",
        "checkov: 0 statements with an explicit deny found",
        "The service control policies are as before",
    ],
)
def test_a_line_after_the_reason_does_not_change_the_policy_type(line: str) -> None:
    denial = read_denial(
        f"{SENTENCE} because no identity-based policy allows the sqs:SendMessage action\n{line}"
    )
    assert (denial.denied_by, denial.explicit, denial.mendable) == (DeniedBy.IDENTITY, False, True)


def test_a_reason_that_the_caller_put_into_a_name_is_not_the_reason() -> None:
    key = 'k" because no identity-based policy allows the s3:PutObject action'
    sentence = (
        f"User: {WHO} is not authorized to perform: s3:PutObject on resource:"
        f' "arn:aws:s3:::b/{key}"'
    )
    for blank in (" ", "\n", f' {"p" * 900}" ', f'\n{"p" * 900}" '):
        denial = read_denial(f"{sentence}{blank}with an explicit deny in a service control policy")
        assert (denial.explicit, denial.mendable) == (True, False)


def test_only_awss_own_words_name_an_identity_policy() -> None:
    denial = read_denial(
        f"{SENTENCE} because the network is closed, whatever the identity-based policy says"
    )
    assert (denial.denied_by, denial.mendable) == (DeniedBy.UNKNOWN, False)


@pytest.mark.parametrize(
    "text",
    [
        f"{SENTENCE}\n" * 3 + "Done: all",
        "\n".join(f"{SENTENCE}-{number}" for number in range(4)),
        f"{SENTENCE}\nretry: with an explicit deny in a service control policy",
    ],
    ids=["copies", "like each other", "a label before the reason"],
)
def test_a_name_does_not_continue_into_the_next_line(text: str) -> None:
    """Lines of one length are a sign of wrapping only where they are not one message again."""
    assert read_denial(text).resource in (QUEUE, f"{QUEUE}-0")


def test_a_resource_truncated_at_a_backtick_is_unknown() -> None:
    assert (
        read_denial(
            f"{SENTENCE}`b because no identity-based policy allows the sqs:SendMessage action"
        ).resource
        == ""
    )
    assert read_denial(f"`{SENTENCE}` failed").resource == QUEUE


def test_an_encoded_text_without_a_denial_gives_none() -> None:
    denial = read_denial(
        "nobody is not authorized to perform a dance. Encoded authorization failure message:"
        f" {'a' * 80}"
    )
    assert (denial.actions, denial.mendable) == ((), False)


def test_a_bucket_that_an_option_names_is_the_resource() -> None:
    refused = "An error occurred (AccessDenied) when calling the PutObject operation: Access Denied"
    denial = read_denial(f"aws s3api put-object --bucket orders --key a/b\n{refused}")
    assert (denial.actions, denial.resource) == (("s3:PutObject",), "arn:aws:s3:::orders/a/b")


def test_two_adjacent_bare_denials_are_both_found() -> None:
    refused = "An error occurred (AccessDenied) when calling the PutObject operation: Access Denied"
    for between in ("\n", "\n\n"):
        denials = find_denials(clean_log_text(f"{refused}{between}{SENTENCE}"))
        assert [found_denial.denial.actions for found_denial in denials] == [
            ("s3:PutObject",),
            ("sqs:SendMessage",),
        ]
    of_refused_action = SENTENCE.replace("sqs:SendMessage", "s3:PutObject")
    assert len(find_denials(clean_log_text(f"{refused}\n{of_refused_action}"))) == 1


@pytest.mark.parametrize(
    ("message", "action", "resource"),
    [
        (
            "creating S3 Bucket (logs): AccessDenied: Access Denied",
            "s3:CreateBucket",
            "arn:aws:s3:::logs",
        ),
        (
            "creating Amazon S3 (Simple Storage) Bucket (logs): AccessDenied: Access Denied",
            "s3:CreateBucket",
            "arn:aws:s3:::logs",
        ),
        (
            "putting S3 Bucket (logs) ACL: AccessDenied: Access Denied",
            "s3:PutBucketAcl",
            "arn:aws:s3:::logs",
        ),
        (
            "error creating Lambda Function (1): AccessDeniedException: \n\tstatus code: 403",
            "lambda:CreateFunction",
            "",
        ),
        (
            f"reading EC2 Instance Type (t2.micro): UnauthorizedOperation: {EC2}",
            "ec2:DescribeInstanceTypes",
            "",
        ),
        (f"Error creating VPC: UnauthorizedOperation: {EC2}", "ec2:CreateVpc", ""),
        (
            f"Error fetching Availability Zones: UnauthorizedOperation: {EC2}",
            "ec2:DescribeAvailabilityZones",
            "",
        ),
    ],
)
def test_what_terraform_was_doing_names_the_operation(
    message: str, action: str, resource: str
) -> None:
    denial = read_denial(f"│ Error: {message}\n│ \tstatus code: 403")
    assert (denial.actions, denial.resource, denial.inferred, denial.mendable) == (
        (action,),
        resource,
        True,
        True,
    )


@pytest.mark.parametrize(
    "message",
    [
        "creating Widget (1): AccessDenied: Access Denied",
        "creating a bucket: AccessDenied: Access Denied",
        "Error creating Network: Forbidden: not on this plan",
        "creating S3 Bucket (logs): BucketAlreadyExists: Forbidden",
        "creating S3 Bucket (logs): AccessDenied: Access Denied because of a lock",
    ],
)
def test_unknown_operation_names_give_no_action(message: str) -> None:
    denial = read_denial(f"Error: {message}")
    assert (denial.actions, denial.mendable) == ((), False)


_FRAMES = "\n    at Object.run (/app/index.js:1:1)" * 3
_JAVA_1 = (
    "(Service: Amazon S3; Status Code: 403; Error Code: AccessDenied; Request ID: 1; S3 Extended"
    " Request ID: 2)"
)
_JAVA_2 = "(Service: Ec2, Status Code: 403, Request ID: 1)"


@pytest.mark.parametrize(
    ("trace", "actions"),
    [
        (
            (
                f"AccessDenied: Access Denied{_FRAMES}\n    at de_PutObjectCommandError"
                " (/app/node_modules/@aws-sdk/client-s3/dist-cjs/protocols/Aws_restXml.js:5763:12)"
            ),
            ("s3:PutObject",),
        ),
        (
            (
                f'"AccessDenied: Access Denied",{_FRAMES}\n"    at'
                " null.deserializeAws_restXmlPutObjectTaggingCommandError"
                ' (/node_modules/@aws-sdk/client-s3/protocols/Aws_restXml.ts:9518:39)"'
            ),
            ("s3:PutObjectTagging",),
        ),
        (
            (
                "com.amazonaws.services.s3.model.AmazonS3Exception: Access Denied"
                f" {_JAVA_1}{_FRAMES}\n\tat"
                " com.amazonaws.services.s3.AmazonS3Client.invoke(AmazonS3Client.java:5456)\n\tat"
                " com.amazonaws.services.s3.AmazonS3Client.putObject(AmazonS3Client.java:1809)"
            ),
            ("s3:PutObject",),
        ),
        (
            (
                f"software.amazon.awssdk.services.ec2.model.Ec2Exception: {EC2} {_JAVA_2}{_FRAMES}"
                "\n\tat"
                " software.amazon.awssdk.services.ec2.DefaultEc2Client.describeInstances(DefaultEc2Client.java:1)"
            ),
            ("ec2:DescribeInstances",),
        ),
        (
            (
                f"acme.OddException: Access Denied{_FRAMES}\n at"
                " com.amazonaws.services.s3.AmazonS3Client.putObject("
            ),
            (),
        ),
        (
            (
                f"AccessDenied: Access Denied because of a lock{_FRAMES}\n at"
                " de_PutObjectCommandError (/client-s3/)"
            ),
            (),
        ),
        (
            (
                f"AccessDenied: Access Denied{_FRAMES}\n    at de_CommandError"
                " (/app/node_modules/@aws-sdk/client-s3/)"
            ),
            (),
        ),
        (
            (
                "AccessDenied: Access Denied\n\nRetry: AccessDenied: Access Denied\n at"
                " de_GetObjectCommandError (/node_modules/@aws-sdk/client-s3/dist-cjs/index.js:1)"
            ),
            ("s3:GetObject",),
        ),
    ],
)
def test_a_stack_trace_names_the_operation_of_the_denial_above_it(
    trace: str, actions: tuple[str, ...]
) -> None:
    denials = [
        found_denial.denial
        for found_denial in find_denials(clean_log_text(trace))
        if found_denial.denial.actions
    ]
    assert [denial.actions for denial in denials] == ([actions] if actions else [])
    assert all(denial.inferred and denial.mendable for denial in denials)


@pytest.mark.parametrize(
    ("host", "operation", "actions"),
    [
        ("orders.s3.eu-west-1.amazonaws.com", "PutObject", ("s3:PutObject",)),
        ("s3.amazonaws.com", "ListObjects", ("s3:ListBucket",)),
        ("ec2.eu-west-1.amazonaws.com", "DescribeInstances", ("ec2:DescribeInstances",)),
        ("orders.nyc3.digitaloceanspaces.com", "PutObject", ()),
    ],
)
def test_the_sdk_for_php_names_operation_and_service(
    host: str, operation: str, actions: tuple[str, ...]
) -> None:
    text, code = (
        (EC2, "UnauthorizedOperation")
        if host.startswith("ec2.")
        else ("Access Denied", "AccessDenied")
    )
    denial = read_denial(
        f'Error executing "{operation}" on "https://{host}/a"; AWS HTTP error: Client error: `PUT'
        f" https://{host}/a` "
        "resulted in a `403 Forbidden` response:\n<?xml"
        f" version='1.0'?>\n<Error><Code>{code}</Code><Message>{text}"
        f"</Message></Error> (truncated...)\n {code} (client): {text} - <?xml version='1.0'?>"
    )
    assert (denial.actions, denial.mendable) == (actions, bool(actions))


@pytest.mark.parametrize("words", ["", "the ", "action ", "the action ", "action: "])
def test_the_word_action_may_precede_the_action(words: str) -> None:
    denial = read_denial(
        f"User {WHO} is not authorized to perform {words}sqs:SendMessage on resource {QUEUE}"
    )
    assert (denial.actions, denial.resource, denial.mendable) == (("sqs:SendMessage",), QUEUE, True)


@pytest.mark.parametrize("width", [30, 40, 80, 177])
def test_a_bare_denial_may_break_within_a_word(width: int) -> None:
    """As a table's column or a terminal breaks it; the operation's name is whole again."""
    text = (
        "An error occurred (AccessDenied) when calling the GetBucketLocation operation: Access"
        " Denied"
    )
    denial = read_denial(
        "\n".join(text[start : start + width] for start in range(0, len(text), width))
    )
    assert (denial.actions, denial.mendable) == (("s3:GetBucketLocation",), True)


def test_the_sentence_after_a_bare_ec2_denial_belongs_to_it() -> None:
    sentence = f"User: {WHO} is not authorized to perform: ec2:RunInstances on resource: {INSTANCE}"
    deny = (
        f"Error launching source instance: UnauthorizedOperation: {EC2} {sentence} with an explicit"
        " deny in a"
    )
    denials = find_denials(
        clean_log_text(f"{deny} service control policy. Encoded authorization failure message: x")
    )
    assert [
        (found_denial.denial.resource, found_denial.denial.denied_by, found_denial.denial.mendable)
        for found_denial in denials
    ] == [(INSTANCE, DeniedBy.SCP, False)]


def test_a_transitive_denial_is_not_mendable() -> None:
    denial = read_denial(f"{SENTENCE} transitively through a service control policy")
    assert (denial.resource, denial.denied_by, denial.mendable) == (QUEUE, DeniedBy.SCP, False)


@pytest.mark.parametrize("width", [20, 40, 76, 120])
def test_words_in_place_of_a_resource_may_break_anywhere(width: int) -> None:
    """KMS names the ciphertext, not its key, and gives reasons that no grant mends."""
    message = (
        f"User: {WHO} is not authorized to perform: kms:Decrypt on the resource associated with"
        " this ciphertext because the resource does not exist in this Region, no resource-based"
        " policies allow access, or a resource-based policy explicitly denies access"
    )
    denial = read_denial(
        "\n".join(f"│ {line}" for line in wrap(message, width, break_long_words=False))
    )
    assert (denial.actions, denial.resource, denial.mendable) == (("kms:Decrypt",), "", False)


def test_terraforms_backend_names_bucket_and_object_in_quotes() -> None:
    error = "https response error StatusCode: 403, RequestID: 1, HostID: 2, api error"
    state = (
        'Unable to access object "prod/a.tfstate" in S3 bucket "states": operation error S3:'
        f" HeadObject, {error}"
    )
    denial = read_denial(f"{state} Forbidden: Forbidden")
    assert (denial.actions, denial.resource) == (
        ("s3:GetObject",),
        "arn:aws:s3:::states/prod/a.tfstate",
    )
    listing = (
        'Unable to list objects in S3\n│ bucket "states" with prefix "env:/": operation error S3:'
        " ListObjectsV2,"
    )
    denial = read_denial(f"│ {listing} {error} AccessDenied: Access Denied")
    assert (denial.actions, denial.resource) == (("s3:ListBucket",), "arn:aws:s3:::states")


PARTS = st.sampled_from(
    [
        "--bucket orders --key ",
        "Error: creating S3 Bucket (orders): AccessDenied: ",
        (
            "\n at de_PutObjectCommandError (/client-s3/) at"
            " software.amazon.awssdk.services.s3.DefaultS3Client.putObject("
        ),
        "transitively through a service control policy",
        f"Encoded authorization failure message: {'a' * 80}",
        "An error occurred (AccessDenied) when calling the PutObject operation: Access Denied",
        SENTENCE,
        "not authorized to perform",
        " on resource: ",
        '"',
        "\n",
        "│ ",
        "because ",
        "explicit deny",
        "(The ",
    ]
) | st.text(max_size=10)


@given(st.lists(PARTS, max_size=12).map("".join), st.text(max_size=5))
def test_no_text_makes_the_reader_fail_or_mends_without_an_action(message: str, code: str) -> None:
    denial = read_denial(message, error_code=code)
    assert denial.message == message
    assert not denial.mendable or (denial.actions and not denial.explicit and not denial.why)


@given(st.text(max_size=30))
def test_whatever_follows_an_explicit_deny_does_not_make_it_mendable(rest: str) -> None:
    assert not read_denial(
        f"{SENTENCE} with an explicit deny{rest if rest[:1].strip() == '' else ' ' + rest}"
    ).mendable


def rows(shared_folder: Path) -> list[dict[str, Any]]:
    text = (shared_folder / "corpus" / "refusals.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_of_real_messages_none_that_a_grant_cannot_help_is_mendable(shared_folder: Path) -> None:
    """Precision 100 %: 112 labelled messages, explicit denies, other policies, near misses."""
    hopeless = [row for row in rows(shared_folder) if row["grant"] == "no"]
    assert len(hopeless) >= 112
    assert [row["message"] for row in hopeless if read_denial(row["message"]).mendable] == []


def test_of_real_messages_that_want_a_grant_nearly_all_are_read_exactly(
    shared_folder: Path,
) -> None:
    """Floors as measured by bench/denials.py: 174 of 175 that name the action, 31 of 32 where it
    must be inferred.
    """
    right = {True: 0, False: 0}
    for row in rows(shared_folder):
        if row["grant"] == "yes":
            denial, expected = read_denial(row["message"]), row["expected"]
            expected_values = (sorted(expected["actions"]), expected["resource"] or "", True)
            right[row["action_in_text"]] += (
                sorted(denial.actions),
                denial.resource,
                denial.mendable,
            ) == expected_values
    assert (right[True] >= 174, right[False] >= 31) == (True, True), right


def read(denial: Denial) -> tuple[object, ...]:
    return (denial.actions, denial.resource, denial.denied_by, denial.mendable)


def hard(text: str, width: int) -> str:
    """Cut at a column, as a terminal does."""
    cut = [
        line[start : start + width]
        for line in text.split("\n")
        for start in range(0, max(1, len(line)), width)
    ]
    return "\n".join(cut)


def soft(text: str, width: int) -> str:
    """Wrapped between words in Terraform's box."""
    lines = [
        part
        for line in text.split("\n")
        for part in wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
    ]
    return "╷\n" + "\n".join("│ " + line for line in lines) + "\n╵"


def column(text: str, width: int) -> str:
    """The last column of a table like SAM's, without the status of the stack, from which an action
    may follow.
    """
    lines = [part for line in text.split("\n") for part in wrap(line, width) or [""]]
    return "\n".join(
        ("FAILED STATUS  AWS::X::Y  Name  " if number == 0 else " " * 32) + line
        for number, line in enumerate(lines)
    )


@pytest.mark.parametrize(
    ("wrapped", "floor"),
    [
        (lambda text: soft(text, 78), 258),
        (lambda text: hard(text, 177), 263),
        (lambda text: hard(text, 80), 249),
        (lambda text: column(text, 40), 250),
        (lambda text: column(text, 24), 245),
        (lambda text: text.replace("\n", "\r\n"), 269),
        (
            lambda text: "\n".join(
                f"2026-03-02T10:11:00.1234567Z {line}" for line in text.split("\n")
            ),
            269,
        ),
        (lambda text: json.dumps({"log": json.dumps({"message": text})}), 268),
    ],
    ids=[
        "box",
        "terminal-177",
        "terminal-80",
        "column-40",
        "column-24",
        "crlf",
        "timestamps",
        "json-in-json",
    ],
)
def test_of_real_messages_most_are_read_alike_when_wrapped_and_none_becomes_mendable(
    shared_folder: Path, wrapped: Callable[[str], str], floor: int
) -> None:
    """Floors as measured, of 269 messages in which an action is found."""
    read_alike = 0
    for row in rows(shared_folder):
        plain, of_wrapped = read_denial(row["message"]), read_denial(wrapped(row["message"]))
        assert plain.mendable or not of_wrapped.mendable, row["id"]
        read_alike += bool(plain.actions) and read(of_wrapped) == read(plain)
    assert read_alike >= floor


def test_a_denial_ends_at_its_line_whatever_another_program_says_below_it() -> None:
    log = (
        "An error occurred (403) when calling the HeadObject operation: Forbidden\n"
        "current credentials could not be used to assume"
        " 'arn:aws:iam::111122223333:role/cdk-hnb659fds-deploy-role-111122223333-eu-west-1', but"
        " are for the right account. Proceeding anyway.\n"
    )
    bare, warning = (found_denial.denial for found_denial in find_denials(clean_log_text(log)))
    assert bare.actions == ("s3:GetObject",)
    assert bare.mendable
    assert bare.message.endswith("HeadObject operation: Forbidden")
    assert not warning.mendable


def test_the_status_of_the_next_error_is_not_that_of_an_error_without_one() -> None:
    log = (
        "Error: operation error S3: CreateBucket, get identity: failed to refresh cached"
        " credentials, static credentials are empty\n"
        "Error: operation error SQS: CreateQueue, https response error StatusCode: 403, RequestID:"
        " 875c3f06, api error AccessDenied: Access Denied\n"
    )
    assert [found_denial.denial.actions for found_denial in find_denials(clean_log_text(log))] == [
        ("sqs:CreateQueue",)
    ]
