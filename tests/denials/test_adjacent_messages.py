"""Messages in adjacent lines of a log: each one is read as if it were alone."""

from __future__ import annotations

import textwrap
from itertools import permutations

import pytest

from leastpriv.denials.log_text import clean_log_text
from leastpriv.denials.message import find_denials

CI = "User: arn:aws:iam::111122223333:user/ci is not authorized to perform:"
MESSAGES = (
    f"{CI} config:GetDiscoveredResourceCounts",
    f"{CI} sqs:SendMessage on resource: arn:aws:sqs:eu-west-1:111122223333:shop-jobs",
    f"AccessDeniedException: {CI} bedrock:InvokeModel on resource: ",
    f"AccessDenied: {CI} cloudformation:DescribeStacks on resource: arn:aws:cloudformation:eu:<ACCOU",
    f"{CI} cognito-idp:ListUserPools on resource: * because no identity-based poli",
    f'"Message": "{CI} dynamodb:UpdateItem on resource: arn:aws:dynamodb:eu-west-1:111122223333:'
    'table/carts"',
    "An error occurred (UnauthorizedOperation) when calling the DescribeRegions operation: You are"
    " not authorized to perform this operation.",
    "An error occurred (AccessDenied) when calling the PutObject operation: Access Denied",
    "An error occurred (AccessDeniedException) when calling the CreateComponentVersion operation:"
    " User: arn:aws:iam::111122223333:user/ci is not authorized to perform: null",
    "`Error: operation error S3: GetBucketLogging, https response error StatusCode: 403`",
    "API: ec2:disassociateAddress You do not have permission to access the specified resource.",
    "==> amazon-ebs: Error launching source instance: You are not authorized to perform this"
    " operation.",
)


def denials(text: str) -> set[tuple[tuple[str, ...], str, bool]]:
    denials_of_text = find_denials(clean_log_text(text))
    return {
        (found_denial.denial.actions, found_denial.denial.resource, found_denial.denial.mendable)
        for found_denial in denials_of_text
    }


@pytest.mark.parametrize(("first", "second"), [*permutations(MESSAGES, 2)])
def test_a_message_takes_no_part_of_the_message_in_the_next_line(first: str, second: str) -> None:
    assert denials(first)
    assert denials(f"{first}\n{second}") == denials(first) | denials(second)


@pytest.mark.parametrize("action", ["ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"])
@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_the_sentence_that_ec2_appends_belongs_to_its_error_wherever_lines_are_wrapped(
    action: str, width: int
) -> None:
    message = (
        "An error occurred (UnauthorizedOperation) when calling the RunInstances operation: You are"
        f" not authorized to perform this operation. {CI} {action} on resource:"
        f" arn:aws:ec2:eu-west-1:111122223333:instance/* because no identity-based policy allows"
        f" the {action} action"
    )
    wrapped = "\n".join(textwrap.wrap(message, width, break_on_hyphens=False))
    assert denials(wrapped) == denials(message)
    begun_anew = message.replace("operation. User", "operation.\nUser")
    assert denials(begun_anew) == denials(message)


def test_the_sentence_below_a_code_that_ends_its_line_belongs_to_the_error_of_the_code() -> None:
    code = (
        "Error: operation error S3: PutObject, https response error StatusCode: 403, RequestID: A,"
        " HostID: B, api error AccessDenied:"
    )
    sentence = f"{CI} kms:GenerateDataKey on the resource associated with this ciphertext"
    assert denials(f"{code}\n{sentence}") == denials(f"{code} {sentence}") == denials(sentence)


def test_an_explicit_deny_in_a_wrapped_line_ends_its_own_sentence_alone() -> None:
    first = f"{CI} s3:GetObject on resource: arn:aws:s3:::shop-carts/a.txt\nwith an explicit deny"
    second = f"Error: {CI} s3:PutObject on resource: arn:aws:s3:::shop-carts/b.txt"
    assert denials(f"{first}\n{second}") == {
        (("s3:GetObject",), "arn:aws:s3:::shop-carts/a.txt", False),
        (("s3:PutObject",), "arn:aws:s3:::shop-carts/b.txt", True),
    }
