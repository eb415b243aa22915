"""`resources: keep`: additions in the form that the committed policy has."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from leastpriv.permissions.generalize import Pattern
from leastpriv.policy.document import parse
from leastpriv.proposal.additions import in_committed_form

KEY = Pattern("arn:aws:s3:::b/app.zip", ("arn:aws:s3:::b/app.zip",), ())


def written(pattern: Pattern, *statements: dict[str, object]) -> Sequence[Pattern]:
    raw = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]})
    return in_committed_form("s3:PutObject", [pattern], parse(raw.encode(), "p.json").statements)


def test_the_narrowest_entry_that_covers_the_resource_is_taken_and_says_whose_it_is() -> None:
    (found,) = written(KEY, {"Sid": "A", "Action": "s3:GetObject", "Resource": ["arn:aws:s3:::*", "arn:aws:s3:::b/*"]})
    assert (found.pattern, found.covers) == ("arn:aws:s3:::b/*", KEY.covers)
    assert "committed statement A" in found.openings[0].reason


@pytest.mark.parametrize(
    "statement",
    [
        {"Action": "s3:GetObject", "Resource": "*"},
        {"Action": "sqs:*", "Resource": "arn:aws:s3:::b/*"},
        {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::b"},
        {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/${aws:username}*"},
        {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::other/*"},
        {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"},
        {"Action": "s3:GetObject", "NotResource": "arn:aws:s3:::c/*"},
    ],
    ids=["all", "another service", "the bucket", "a variable", "another bucket", "a Deny", "NotResource"],
)
def test_no_form_is_taken_from(statement: dict[str, object]) -> None:
    assert written(KEY, statement) == (KEY,)


def test_of_two_entries_of_which_none_is_the_narrower_neither_is_taken() -> None:
    statement = {"Action": "s3:GetObject", "Resource": ["arn:aws:s3:::b/*", "arn:aws:s3:::*/app.zip"]}
    assert written(KEY, statement) == (KEY,)


def test_entries_that_became_equal_are_one_and_cover_both() -> None:
    raw = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*"}],
    }
    other = Pattern("arn:aws:s3:::b/z", ("arn:aws:s3:::b/z",), ())
    (found,) = in_committed_form("s3:PutObject", [KEY, other], parse(json.dumps(raw).encode(), "p.json").statements)
    assert found.covers == ("arn:aws:s3:::b/app.zip", "arn:aws:s3:::b/z")
