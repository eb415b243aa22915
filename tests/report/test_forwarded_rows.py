"""Rows of `leastpriv permissions` name the services that forwarded the calls, if any."""

from __future__ import annotations

from msgspec.structs import replace

from leastpriv.evidence.collector import UsageCollector
from leastpriv.evidence.iam_paths import by_pattern
from leastpriv.report.tables import permission_row
from tests.fakes.calls import a_call


def test_a_row_of_forwarded_calls_names_the_services_that_forwarded_them() -> None:
    observed_call = a_call("sqs:CreateQueue", {"queueName": "orders"})
    book = UsageCollector(observed_call.principal)
    for service in ("cloudformation.amazonaws.com", "", "cloudformation.amazonaws.com"):
        book.note(replace(observed_call, invoked_by=service))
    (usage,) = by_pattern(book.close().usages)
    row = permission_row(usage)
    assert row["count"] == 3
    assert row["forwarded_by"] == ["cloudformation.amazonaws.com"]


def test_a_row_of_direct_calls_has_no_such_field() -> None:
    observed_call = a_call("sqs:CreateQueue", {"queueName": "orders"})
    book = UsageCollector(observed_call.principal)
    book.note(observed_call)
    (usage,) = book.close().usages
    assert "forwarded_by" not in permission_row(usage)
