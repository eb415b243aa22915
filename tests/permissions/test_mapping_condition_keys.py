"""Condition keys that a record shows: only what a page of AWS lets follow from it."""

from __future__ import annotations

import pytest

from leastpriv.models import Call
from leastpriv.permissions.mapping import needs_of
from tests.fakes.calls import a_call
from tests.fakes.tables import table

KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def conditions(call: Call) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (c.operator, c.key, c.values)
        for need in needs_of(call).needs
        for c in need.permission.conditions
    ]


def forwarded(context: dict[str, str], **more: object) -> Call:
    parameters = {"encryptionContext": context}
    return a_call("kms:Decrypt", parameters, resources=[KEY], invoked_by="AWS Internal", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("row", table("kms_contexts"), ids=lambda row: row["service"])
def test_a_key_used_for_a_service_is_used_through_it(row: dict[str, str]) -> None:
    key_conditions = conditions(forwarded({row["context"]: "whatever"}))
    assert key_conditions == [
        ("StringEquals", "kms:ViaService", (f"{row['service']}.eu-west-1.amazonaws.com",))
    ]


def test_a_key_used_directly_or_for_an_unknown_service_shows_none() -> None:
    assert (
        conditions(
            a_call("kms:Decrypt", {"encryptionContext": {"aws:s3:arn": "x"}}, resources=[KEY])
        )
        == []
    )
    assert conditions(forwarded({"department": "finance"})) == []
    assert (
        conditions(a_call("kms:Decrypt", {"encryptionContext": "x"}, invoked_by="AWS Internal"))
        == []
    )
    assert conditions(forwarded({"aws:s3:arn": "x"}, partition="aws-cn")) == []


def test_a_service_linked_role_is_made_for_one_service() -> None:
    call = a_call("iam:CreateServiceLinkedRole", {"aWSServiceName": "autoscaling.amazonaws.com"})
    assert conditions(call) == [
        ("StringEquals", "iam:AWSServiceName", ("autoscaling.amazonaws.com",))
    ]
    assert conditions(a_call("iam:CreateServiceLinkedRole", {"aWSServiceName": ["x"]})) == []
