"""`resources: keep`: additions use the resource patterns of the committed policy."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from leastpriv.permissions.generalize import Pattern
from leastpriv.policy.document import parse
from leastpriv.proposal.additions import in_committed_form

KEY = Pattern("arn:aws:s3:::b/app.zip", ("arn:aws:s3:::b/app.zip",), ())


def written(pattern: Pattern, *statements: dict[str, object]) -> Sequence[Pattern]:
    raw = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", **statement} for statement in statements],
        }
    )
    return in_committed_form("s3:PutObject", [pattern], parse(raw.encode(), "p.json").statements)


def test_the_narrowest_covering_entry_is_used_with_its_sid() -> None:
    (pattern,) = written(
        KEY,
        {"Sid": "A", "Action": "s3:GetObject", "Resource": ["arn:aws:s3:::*", "arn:aws:s3:::b/*"]},
    )
    assert (pattern.pattern, pattern.covers) == ("arn:aws:s3:::b/*", KEY.covers)
    assert "committed statement A" in pattern.openings[0].reason


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
    ids=[
        "all",
        "another service",
        "the bucket",
        "a variable",
        "another bucket",
        "a Deny",
        "NotResource",
    ],
)
def test_no_committed_resource_is_used_from(statement: dict[str, object]) -> None:
    assert written(KEY, statement) == (KEY,)


def test_two_entries_of_which_none_is_narrower_are_not_used() -> None:
    statement = {
        "Action": "s3:GetObject",
        "Resource": ["arn:aws:s3:::b/*", "arn:aws:s3:::*/app.zip"],
    }
    assert written(KEY, statement) == (KEY,)


def test_patterns_that_become_equal_are_merged() -> None:
    raw = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*"}],
    }
    second_pattern = Pattern("arn:aws:s3:::b/z", ("arn:aws:s3:::b/z",), ())
    (pattern,) = in_committed_form(
        "s3:PutObject", [KEY, second_pattern], parse(json.dumps(raw).encode(), "p.json").statements
    )
    assert pattern.covers == ("arn:aws:s3:::b/app.zip", "arn:aws:s3:::b/z")
