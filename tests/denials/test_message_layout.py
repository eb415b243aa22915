"""What surrounds AWS's sentence: Markdown, quotes, tables, links, and the id of the decision."""

from __future__ import annotations

import pytest

from leastpriv.denials.log_text import clean_log_text
from leastpriv.denials.message import find_denials, read_denial
from leastpriv.models import DeniedBy

SENTENCE = (
    "User: arn:aws:iam::111122223333:user/ci is not authorized to perform: dynamodb:PutItem on"
    " resource: arn:aws:dynamodb:eu-west-1:111122223333:table/shop-prod-carts"
)
REASON = " because no identity-based policy allows the dynamodb:PutItem action"
TABLE = "arn:aws:dynamodb:eu-west-1:111122223333:table/shop-prod-carts"


@pytest.mark.parametrize(
    "message",
    [
        SENTENCE + "," + REASON,
        SENTENCE + ";" + REASON,
        SENTENCE + ", retrying",
        f"**{SENTENCE}**",
        f"**{SENTENCE}.**",
        f"**`{SENTENCE}`**",
        f"{{'Error': {{'Message': '{SENTENCE}.'}}}}",
        f"Failed ({SENTENCE})",
        f"[{SENTENCE}]",
        SENTENCE.replace(TABLE, f"**{TABLE}**") + REASON,
        SENTENCE.replace(TABLE, f"<{TABLE}>") + REASON,
        SENTENCE.replace(TABLE, f"[{TABLE}](https://console.aws.amazon.com/dynamodbv2)") + REASON,
        SENTENCE.replace("dynamodb:PutItem", "**dynamodb:PutItem**") + REASON,
        SENTENCE.replace("dynamodb:PutItem", "**`dynamodb:PutItem`**") + REASON,
        SENTENCE.replace("perform:", "perform:**").replace("on resource:", "**on resource:**")
        + REASON,
        SENTENCE.replace(TABLE, f"&#39;{TABLE}&#39;") + REASON,
        SENTENCE.replace(TABLE, f"\\'{TABLE}\\'") + REASON,
        SENTENCE.replace(TABLE, TABLE.replace("_", "\\_")) + REASON,
    ],
)
def test_markdown_quotes_and_punctuation_are_no_part_of_the_names(message: str) -> None:
    denial = read_denial(message)
    assert (denial.actions, denial.resource, denial.mendable) == (
        ("dynamodb:PutItem",),
        TABLE,
        True,
    )


def test_a_table_with_borders_may_break_within_the_names() -> None:
    text = SENTENCE + REASON
    rows = "\n".join(f"| {text[start : start + 58]:58} |" for start in range(0, len(text), 58))
    denial = read_denial(rows)
    assert (denial.actions, denial.resource, denial.denied_by) == (
        ("dynamodb:PutItem",),
        TABLE,
        DeniedBy.IDENTITY,
    )


def test_masks_of_the_runner_and_of_html_remain() -> None:
    masked = read_denial(SENTENCE.replace("111122223333", "***") + REASON)
    assert masked.resource == TABLE.replace("111122223333", "***")
    escaped = read_denial(SENTENCE.replace("111122223333", "&lt;ACCOUNT&gt;") + REASON)
    assert escaped.resource == TABLE.replace("111122223333", "<ACCOUNT>")
    masked_denial = read_denial(SENTENCE.replace(TABLE, "***") + REASON)
    assert masked_denial.resource == "***"


@pytest.mark.parametrize(
    "action", ["iam:PutRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary"]
)
def test_an_action_in_the_reason_does_not_name_the_policy_type(action: str) -> None:
    sentence = (
        f"User: arn:aws:iam::111122223333:user/ci is not authorized to perform: {action} on"
        " resource: role ci"
    )
    by_identity = read_denial(
        f"{sentence} because no identity-based policy allows the {action} action"
    )
    assert (by_identity.denied_by, by_identity.mendable) == (DeniedBy.IDENTITY, True)
    by_boundary = read_denial(
        f"{sentence} because no permissions boundary allows the {action} action"
    )
    assert (by_boundary.denied_by, by_boundary.mendable) == (DeniedBy.BOUNDARY, False)


def test_a_reason_that_repeats_the_action_belongs_to_the_sentence_whatever_is_between() -> None:
    boundary_reason = " because no permissions boundary allows the dynamodb:PutItem action"
    assert not read_denial(
        SENTENCE + "/\nindex-of-carts, in the next line" + boundary_reason
    ).mendable


def test_a_role_template_is_a_kind_of_resource() -> None:
    template = "role template arn:aws:iam::aws:role-template/lambda/basic:1"
    user = "User: arn:aws:iam::111122223333:user/ci"
    message = (
        f"{user} is not authorized to perform: iam:GetRoleTemplateVersion on resource: {template}"
    )
    assert read_denial(message).resource == template
    assert read_denial(f"{message} because no identity-based policy allows it").resource == template


ID = "4f1c2b7e-9d30-4a8e-b7c1-0a2b3c4d5e6f"
CONSOLE = "https://us-east-1.console.aws.amazon.com/iam/home?region=us-east-1"
LINK = f" action. Go to {CONSOLE}#/authorization-details/{ID} for complete details"
ADVICE = (
    f", or call the GetRequestAuthorizationDetails API with the following authorization id: {ID}"
)


@pytest.mark.parametrize("width", [40, 80, 120, 10_000])
@pytest.mark.parametrize("advice", [LINK, LINK + ADVICE, ADVICE, ADVICE + "."])
def test_a_denial_keeps_its_authorization_id(advice: str, width: int) -> None:
    text = SENTENCE + REASON.removesuffix(" action") + advice
    denial = read_denial(
        "\n".join(text[start : start + width] for start in range(0, len(text), width))
    )
    assert denial.authorization_id == ID
    assert (denial.actions, denial.denied_by) == (("dynamodb:PutItem",), DeniedBy.IDENTITY)


OTHER_ID = "11111111-2222-3333-4444-555555555555"
QUOTED = (
    (
        "x, or call the GetRequestAuthorizationDetails API with the following authorization id:"
        f" {OTHER_ID}"
    ),
    f"x. Go to {CONSOLE}#/authorization-details/{OTHER_ID} for complete details",
    f"x\n. Go to {CONSOLE}#/authorization-details/{OTHER_ID} for complete details",
    (
        "x because no identity-based policy allows the dynamodb:PutItem action. authorization id:"
        f" {OTHER_ID}.\nx"
    ),
)


@pytest.mark.parametrize("name", QUOTED)
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize(("advice", "expected"), [("", ""), (LINK + ADVICE, ID)])
def test_an_id_in_the_name_of_a_resource_is_not_that_of_the_denial(
    name: str, quote: str, advice: str, expected: str
) -> None:
    text = f"{SENTENCE}/{quote}{name}{quote}{REASON.removesuffix(' action')}{advice or ' action'}"
    assert read_denial(text).authorization_id in ("", expected)


def test_an_id_of_any_length_is_whole_and_its_region_is_the_link_s() -> None:
    own_id = "z7k2" * 16
    text = SENTENCE + REASON.removesuffix(" action") + (LINK + ADVICE).replace(ID, own_id)
    for width in (40, 80, 120, 10_000):
        denial = read_denial(
            "\n".join(text[start : start + width] for start in range(0, len(text), width))
        )
        assert denial.authorization_id == own_id
    assert read_denial(text).authorization_region == "us-east-1"
    assert read_denial(SENTENCE + REASON + ADVICE).authorization_region == ""


def test_each_denial_of_a_log_has_its_own_authorization_id() -> None:
    first_text, second_text = (
        SENTENCE + REASON + ADVICE,
        SENTENCE + REASON + ADVICE.replace("4f1c", "0000"),
    )
    denials = find_denials(clean_log_text(f"{first_text}\n{second_text}\n{SENTENCE}"))
    assert [found_denial.denial.authorization_id for found_denial in denials] == [
        ID,
        ID.replace("4f1c", "0000"),
        "",
    ]


def test_an_encoded_message_behind_a_sentence_with_an_action_is_no_denial_of_its_own() -> None:
    user = "arn:aws:sts::111122223333:assumed-role/ci-deploy/run"
    group = "arn:aws:ec2:eu-west-1:111122223333:security-group/sg-0a1b2c"
    text = (
        f"UnauthorizedOperation: You are not authorized to perform this operation. User: {user} is"
        f" not authorized to perform: ec2:DeleteSecurityGroup on resource: {group} because no"
        " identity-based policy allows the ec2:DeleteSecurityGroup action. Encoded authorization"
        f" failure message: {'aB3' * 90}"
    )
    denials = find_denials(clean_log_text(text))
    assert [
        (found_denial.denial.actions, found_denial.denial.resource) for found_denial in denials
    ] == [(("ec2:DeleteSecurityGroup",), group)]
