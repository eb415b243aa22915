"""The index finds the same statements as comparing each entry."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions.patterns import action_covers
from leastpriv.policy.compact import merge_statements
from leastpriv.policy.document import parse
from leastpriv.policy.evaluate import names_action, statements_naming

entries = st.builds(
    "{}:{}".format,
    st.sampled_from(["s3", "S3", "s*", "?3", "ec2", "*"]),
    st.text("AaBb*?", min_size=1, max_size=3),
) | st.just("*")
actions = st.builds(
    "{}:{}".format, st.sampled_from(["s3", "S3", "ec2"]), st.text("AaBb", min_size=1, max_size=3)
)
statements = st.builds(
    lambda key, effect, listed: {"Effect": effect, key: listed, "Resource": "*"},
    st.sampled_from(["Action", "Action", "NotAction"]),
    st.sampled_from(["Allow", "Deny"]),
    st.lists(entries, min_size=1, max_size=4),
)


@given(st.lists(statements, max_size=5), st.lists(actions, min_size=1, max_size=5))
def test_statements_naming_returns_the_statements_with_a_matching_entry(
    policy: list[dict[str, object]], asked: list[str]
) -> None:
    document = parse(json.dumps({"Version": "2012-10-17", "Statement": policy}).encode(), "p.json")
    for action in asked:
        assert statements_naming(document, action) == tuple(
            statement for statement in document.statements if names_action(statement, action)
        )


@given(st.lists(entries, min_size=1, max_size=8), st.lists(entries, min_size=1, max_size=8))
def test_merged_statements_keep_entries_that_no_other_covers(
    one: list[str], other: list[str]
) -> None:
    policy = [
        {"Effect": "Allow", "Action": action_entry, "Resource": "*"}
        for action_entry in (one, other)
    ]
    document = parse(json.dumps({"Version": "2012-10-17", "Statement": policy}).encode(), "p.json")
    widest: list[str] = []
    for action in [*one, *other]:
        if not any(action_covers(entry, action) for entry in widest):
            widest = [entry for entry in widest if not action_covers(action, entry)] + [action]
    (statement,) = merge_statements(document).document.statements
    assert {*statement.actions} == {*widest}
