"""The JSON Patch turns the committed JSON into the proposed JSON."""

from __future__ import annotations

import json
from typing import Any

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.diff.policy_diff import json_patch
from leastpriv.policy.document import Document, parse

ACTIONS = st.lists(
    st.sampled_from(["s3:GetObject", "s3:*", "sqs:a/b", "~1:x"]), min_size=1, max_size=4
) | st.just("s3:*")
STATEMENTS = st.lists(
    st.fixed_dictionaries(
        {
            "Effect": st.sampled_from(["Allow", "Deny"]),
            "Action": ACTIONS,
            "Resource": st.sampled_from(["*", ["a", "b"]]),
        },
        optional={"Sid": st.text(max_size=3), "Condition": st.just({"Bool": {"aws:a/b": "true"}})},
    ),
    max_size=4,
)


def document(statements: list[dict[str, Any]]) -> Document:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": statements}).encode(), "p.json")


@given(STATEMENTS, STATEMENTS)
def test_the_patch_turns_the_committed_value_into_the_proposed(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    old, new = document(before), document(after)
    patch = json.loads(json_patch(old, new))
    assert jsonpatch.apply_patch(json.loads(old.text), patch) == json.loads(new.text)
    assert (patch == []) == (before == after)


@given(STATEMENTS)
def test_without_a_committed_policy_the_patch_adds_the_whole(after: list[dict[str, Any]]) -> None:
    new = document(after)
    assert jsonpatch.apply_patch(None, json.loads(json_patch(None, new))) == json.loads(new.text)


def test_the_patch_ignores_a_byte_order_mark() -> None:
    text = b'\xef\xbb\xbf{"Statement": []}'
    assert json.loads(json_patch(parse(text, "p.json"), document([])))[0]["path"] == "/Version"
