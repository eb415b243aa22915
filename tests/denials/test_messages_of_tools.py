"""Messages as tools of 2026 print them, written by hand: `messages_of_tools.jsonl`, one a line.

`kind`: named (the text has the action, and a grant helps), inferred (the action follows from an
operation), denied otherwise (no grant helps), no grant (another error). An empty `resource` of an
inferred message is not compared.
"""

from __future__ import annotations

import io
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.denials.job_logs import distinct_denials, read_log
from leastpriv.denials.log_text import clean_log_text
from leastpriv.denials.message import read_denial
from tests.hypothesis_profiles import examples

ROWS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (
        Path(__file__).with_name("messages_of_tools.jsonl").read_text(encoding="utf-8").splitlines()
    )
]


def _is_read(row: dict[str, Any]) -> bool:
    denial = read_denial(row["message"])
    actions = {action.lower() for action in denial.actions}
    if row["kind"] == "no grant":
        return not (denial.mendable and actions)
    right = row["action"].lower() in actions and denial.mendable == row["mendable"]
    if row["kind"] == "inferred":
        return right and row["resource"] in (None, denial.resource)
    return (
        right
        and row["resource"] == denial.resource
        and row["denied_by"] in (None, denial.denied_by)
    )


@pytest.mark.parametrize("kind", ["named", "denied otherwise", "no grant"])
def test_every_message_of_a_kind_is_read(kind: str) -> None:
    assert [row["message"] for row in ROWS if row["kind"] == kind and not _is_read(row)] == []


def test_nearly_all_actions_are_inferred_from_operations() -> None:
    rows = [row for row in ROWS if row["kind"] == "inferred"]
    assert sum(map(_is_read, rows)) >= 118, "118 of 124 on 2026-12-01"


def test_a_log_of_a_message_has_the_same_denial() -> None:
    named_rows = [row for row in ROWS if row["kind"] == "named"]
    for row in named_rows:
        distinct, _ = distinct_denials(read_log(io.BytesIO(row["message"].encode()), "log"))
        assert row["action"].lower() in {
            action.lower()
            for distinct_denial in distinct
            for action in distinct_denial.denial.actions
        }


def test_no_message_that_a_grant_does_not_fix_is_offered_from_a_log() -> None:
    for row in ROWS:
        if row["kind"] == "no grant":
            distinct, _ = distinct_denials(read_log(io.BytesIO(row["message"].encode()), "log"))
            assert [
                distinct_denial.denial.actions
                for distinct_denial in distinct
                if distinct_denial.denial.mendable and distinct_denial.denial.actions
            ] == []


_REQUEST_ID = re.compile(r"(?:RequestID|HostID): ?[\w-]*, ")


@pytest.mark.parametrize("kind", ["named", "denied otherwise"])
def test_a_line_end_more_or_an_id_less_changes_no_reading(kind: str) -> None:
    for row in ROWS:
        if row["kind"] == kind:
            for text in (f"{row['message']}\n", f"{row['message']}\r\n\r\n"):
                assert _is_read({**row, "message": text}), text
            assert _is_read({**row, "message": _REQUEST_ID.sub("", row["message"])})


def test_an_operation_is_found_without_the_ids_of_its_request() -> None:
    for row in ROWS:
        if row["kind"] == "inferred" and _is_read(row):
            assert _is_read({**row, "message": _REQUEST_ID.sub("", row["message"]) + "\n"})


@examples(60)
@given(st.sampled_from([row for row in ROWS if row["kind"] == "named"]), st.data())
def test_a_message_that_is_cut_in_its_reason_has_the_same_action(
    row: dict[str, Any], data: st.DataObject
) -> None:
    message = row["message"]
    reason = message.rfind("because no identity-based")
    if reason < 0 or "\n" in message[reason - 200 :]:
        return
    end = data.draw(st.integers(reason, len(message)))
    denial = read_denial(message[:end] + data.draw(st.sampled_from(["", "\n", "..."])))
    assert row["action"].lower() in {action.lower() for action in denial.actions}


@examples(60)
@given(
    st.sampled_from([row for row in ROWS if row["kind"] == "named"]),
    st.integers(min_value=80, max_value=220),
)
def test_a_message_that_is_wrapped_between_words_has_the_same_action(
    row: dict[str, Any], width: int
) -> None:
    lines = row["message"].split("\n")
    # A terminal's lines are wrapped one by one; ARNs and codes stay whole.
    wrapped = "\n".join(
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) for line in lines
    )
    denial = read_denial(wrapped)
    assert row["action"].lower() in {action.lower() for action in denial.actions}


@pytest.mark.parametrize(
    "label",
    [
        "api-1  | ",
        "#7 12.3 ",
        "==> amazon-ebs.x: ",
        "[Container] 2026/09/01 10:00:00.1 ",
        "ERROR: ",
    ],
)
def test_a_label_is_removed_only_where_the_line_before_or_after_has_it_too(label: str) -> None:
    assert clean_log_text(f"{label}one\n{label}two").text == "one\ntwo"
    alone = clean_log_text(f"{label}one\ntwo").text
    assert alone == (
        "one\ntwo" if label.startswith("[Container]") else f"{label.removeprefix('#')}one\ntwo"
    )


@pytest.mark.parametrize(
    "begin",
    [
        "User: arn:aws:iam::111122223333:user/",
        "operation error S3: PutObject, https response error StatusCode: 403, RequestID: ",
        "An error occurred (AccessDenied) when calling the PutObject operation: ",
        "Error loading state: ",
        "creating S3 Bucket (logs): AccessDenied: ",
        "upload failed: ./",
        "S3 PutObject: ",
        "AccessDenied: ",
        "CREATE_FAILED            AWS::S3::Bucket    ",
        "HEAD https://logs.s3.eu-west-1.amazonaws.com/a : ",
    ],
)
def test_a_beginning_that_two_messages_share_is_no_label(begin: str) -> None:
    text = f"{begin}one\n{begin}two"
    assert clean_log_text(text).text == text


def test_the_newest_authorization_id_of_equal_denials_counts() -> None:
    sentence = (
        "User: arn:aws:iam::111122223333:user/ci is not authorized to perform: iam:GetRole on"
        " resource: role x"
    )
    ids = ["4f1c2b7e-9d30-4a8e-b7c1-0a2b3c4d5e6f", "5f1c2b7e-9d30-4a8e-b7c1-0a2b3c4d5e6f"]
    reason = " because no identity-based policy allows the iam:GetRole action"
    advice = [
        f"{sentence}{reason}, or call X with the following authorization id: {authorization_id}"
        for authorization_id in ids
    ]
    distinct, _ = distinct_denials(
        read_log(io.BytesIO("\n".join([*advice, sentence]).encode()), "log")
    )
    assert [distinct_denial.denial.authorization_id for distinct_denial in distinct] == [ids[1]]
