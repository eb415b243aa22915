"""Resources as messages name them: made ARNs, filled where hidden, and never a wildcard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.denials.message import read_denial
from leastpriv.denials.needs import logged_needs
from leastpriv.denials.resource import fill_hidden_parts, has_hidden_part, resource_arn
from leastpriv.models import Denial, DeniedBy

ROLE = "arn:aws:iam::123456789012:role/ci/deploy"
SESSION = "arn:aws:sts::123456789012:assumed-role/deploy/run"


@pytest.mark.parametrize(
    ("named", "arn"),
    [
        ("role web", "arn:aws:iam::123456789012:role/web"),
        ("user alice", "arn:aws:iam::123456789012:user/alice"),
        ("instance profile web", "arn:aws:iam::123456789012:instance-profile/web"),
        (
            "policy arn:aws:iam::123456789012:policy/p version v2",
            "arn:aws:iam::123456789012:policy/p",
        ),
        ("policy p", "arn:aws:iam::123456789012:policy/p"),
        ("fast-api-secret", "fast-api-secret"),
        ("arn:aws:s3:::b", "arn:aws:s3:::b"),
    ],
)
def test_a_kind_and_a_name_are_an_arn_in_the_principals_account(named: str, arn: str) -> None:
    assert resource_arn(named, SESSION) == arn


def test_a_name_without_a_known_account_is_unchanged() -> None:
    assert resource_arn("role web", "arn:aws:sts::***:assumed-role/deploy/run") == "role web"


@pytest.mark.parametrize(
    "hidden",
    [
        "arn:aws:lambda:eu-west-1:***:function:f",
        "arn:aws:lambda:<region>:<account id>:function:f",
        "arn:aws:lambda:eu-west-1:XXXXXXXXXXXX:function:f",
        "arn:aws:lambda:${region}:123456789012:function:f",
        "arn:aws:lambda:eu-west-1:123456789012:function:...",
    ],
)
def test_a_hidden_part_is_filled_by_the_only_evidence_that_agrees(hidden: str) -> None:
    arns = [
        "arn:aws:lambda:eu-west-1:123456789012:function:f",
        "arn:aws:lambda:eu-west-1:123456789012:alias:x",
    ]
    assert has_hidden_part(hidden)
    assert fill_hidden_parts(hidden, arns) == arns[0]


def test_two_matching_arns_do_not_fill_a_masked_part() -> None:
    arns = [f"arn:aws:cloudfront::123456789012:distribution/{name}" for name in ("E1", "E2")]
    assert fill_hidden_parts("arn:aws:cloudfront::***:distribution/***", arns) == ""


def test_an_account_hidden_as_the_principals_is_the_principals() -> None:
    masked = "arn:aws:sts::***:assumed-role/deploy/run"
    assert fill_hidden_parts(
        "arn:aws:sqs:eu-west-1:***:q", (), masked_principal=masked, principal=ROLE
    ) == ("arn:aws:sqs:eu-west-1:123456789012:q")
    assert (
        fill_hidden_parts(
            "arn:aws:sqs:eu-west-1:***:***", (), masked_principal=masked, principal=ROLE
        )
        == ""
    )
    assert (
        fill_hidden_parts(
            "arn:aws:sqs:eu-west-1:***:q", (), masked_principal=SESSION, principal=ROLE
        )
        == ""
    )


@given(
    st.lists(
        st.sampled_from(["***", "<account>", "...", "${x}", "[redacted]", "XXXX", "name"]),
        min_size=1,
        max_size=3,
    ),
    st.lists(st.from_regex(r"\Aarn:aws:sqs:eu-west-1:\d{12}:[a-z]{1,4}\Z"), max_size=3),
)
def test_masked_parts_are_filled_from_other_evidence_or_not_at_all(
    parts: list[str], known: list[str]
) -> None:
    hidden = "arn:aws:sqs:eu-west-1:***:" + "-".join(parts)
    assert fill_hidden_parts(hidden, known) in ("", *known)


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("ssm:GetParameter", "arn:aws:ssm:eu-west-1:123456789012:*"),
        ("cloudfront:CreateInvalidation", "arn:aws:cloudfront::***:distribution/***"),
        ("secretsmanager:GetSecretValue", "db-password"),
        ("sqs:SendMessage", ""),
    ],
)
def test_a_wildcard_a_mask_or_a_bare_name_gives_no_exact_need(action: str, resource: str) -> None:
    denial = Denial((action,), resource, SESSION, DeniedBy.IDENTITY, False, True)
    needs = logged_needs(denial, ROLE)
    assert [(need.permission.action, need.exact) for need in needs] == [(action, False)]


def test_a_role_that_a_log_names_is_needed_by_its_arn() -> None:
    denial = read_denial(
        f"User: {SESSION} is not authorized to perform: iam:GetRole on resource: role web"
    )
    assert [(need.permission.resource, need.exact) for need in logged_needs(denial, ROLE)] == [
        ("arn:aws:iam::123456789012:role/web", True)
    ]
