"""Whose calls are read: ARNs of targets, and which callers match them."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.aws.arns import Principals, Window, parse_principal, principal_of, session_of
from leastpriv.errors import InputError
from leastpriv.models import Principal

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/deploy"


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
@pytest.mark.parametrize("kind", ["role", "user"])
@pytest.mark.parametrize("path", ["", "ci/", "ci/prod/"])
def test_a_role_or_user_of_any_partition_and_path_is_a_target(
    partition: str, kind: str, path: str
) -> None:
    arn = f"arn:{partition}:iam::{ACCOUNT}:{kind}/{path}de-ploy.1"
    assert parse_principal(arn) == Principal(arn, partition, ACCOUNT, kind, "de-ploy.1")


def test_a_session_arn_is_rejected_and_the_role_is_named() -> None:
    with pytest.raises(InputError, match=re.escape(ROLE)) as caught:
        parse_principal(f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/run-1")
    assert "assumed-role/deploy/run-1" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "deploy",
        f"arn:aws:iam::{ACCOUNT}:root",
        f"arn:aws:iam::{ACCOUNT}:policy/deploy",
        f"arn:aws:sts::{ACCOUNT}:role/deploy",
        "arn:aws:iam::1234:role/deploy",
        f"arn:aws:iam::{ACCOUNT}:role/",
        f"arn:aws:iam::{ACCOUNT}:role/deploy ",
        f"arn:aws:iam::{ACCOUNT}:role/deploy\n",
        f"arn:aws:iam::{ACCOUNT}:role//deploy",
        f"arn:aws:iam::{ACCOUNT}:role/dep*",
    ],
)
def test_another_text_is_rejected_in_one_sentence_that_names_it(value: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_principal(value)
    assert repr(value) in str(caught.value)
    assert "arn:aws:iam::123456789012:role/NAME" in str(caught.value)


@given(
    st.text()
    | st.from_regex(r"arn:aws:(iam|sts)::\d{12}:(role|user|assumed-role)/.*", fullmatch=True)
)
def test_any_text_is_a_principal_with_that_very_arn_or_an_input_error(value: str) -> None:
    try:
        arn = parse_principal(value).arn
    except InputError:
        arn = value
    assert arn == value


def test_a_session_arn_gives_the_role_without_its_path_and_the_session() -> None:
    arn = f"arn:aws-cn:sts::{ACCOUNT}:assumed-role/deploy/user4611055=person@example.com"
    principal = principal_of(arn)
    assert principal is not None
    assert principal.arn == f"arn:aws-cn:iam::{ACCOUNT}:role/deploy"
    assert session_of(arn) == "user4611055=person@example.com"


@pytest.mark.parametrize(
    ("target", "caller", "wanted"),
    [
        ("role/deploy", "role/deploy", True),
        ("role/ci/deploy", "role/ci/deploy", True),
        ("role/ci/deploy", "role/deploy", True),
        ("role/deploy", "role/ci/deploy", True),
        ("role/ci/deploy", "role/other/deploy", False),
        ("role/deploy", "user/deploy", False),
        ("role/deploy", "role/deploy2", False),
        ("role/deploy", "role/xdeploy", False),
        ("role/deploy", "nonsense", False),
    ],
)
def test_a_caller_matches_by_arn_or_by_name_where_one_of_the_two_lacks_the_path(
    target: str, caller: str, wanted: bool
) -> None:
    principals = Principals(frozenset({parse_principal(f"arn:aws:iam::{ACCOUNT}:{target}")}))
    assert principals.wants(f"arn:aws:iam::{ACCOUNT}:{caller}") is wanted


def test_a_role_of_the_same_name_in_another_account_or_partition_is_not_wanted() -> None:
    principals = Principals(frozenset({parse_principal(ROLE)}))
    assert not principals.wants("arn:aws:iam::999999999999:role/deploy")
    assert not principals.wants(f"arn:aws-cn:iam::{ACCOUNT}:role/deploy")


def test_the_target_with_the_equal_arn_wins_over_one_that_only_shares_the_name() -> None:
    bare, pathed = parse_principal(ROLE), parse_principal(f"arn:aws:iam::{ACCOUNT}:role/ci/deploy")
    principals = Principals(frozenset({bare, pathed}))
    assert principals.target_of(bare.arn) == bare
    assert principals.target_of(pathed.arn) == pathed


def test_all_principals_are_read_without_a_target() -> None:
    assert Principals().wants(ROLE)
    assert not Principals(frozenset()).wants(ROLE)


def test_a_window_includes_its_start_and_not_its_end() -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert Window(start, end).contains(start)
    assert not Window(start, end).contains(end)
    assert Window().contains(start)
    assert not Window(end=start).contains(start)
