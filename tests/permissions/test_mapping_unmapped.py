"""An event that nobody can map vetoes what it may have been, and no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.models import Gap, GapKind, Scope
from leastpriv.permissions.event_table import scope_of_unmapped
from leastpriv.proposal.visibility_guards import could_hide
from tests.fakes.tables import table


def hides(source: str, name: str, action: str, prefix: str = "") -> bool:
    scope = scope_of_unmapped(f"{source}.amazonaws.com", name, prefix or source)
    return could_hide(Gap(GapKind.UNMAPPED_EVENT, scope, ""), action)


@pytest.mark.parametrize(
    ("source", "name", "action", "expected"),
    [
        ("newservice", "DoThing", "newservice:Anything", True),
        ("newservice", "DoThing", "sqs:DeleteQueue", False),
        ("newservice", "DeleteQueue", "sqs:DeleteQueue", True),
        ("newservice", "DeleteQueue", "sqs:CreateQueue", False),
        ("streams.newservice", "DoThing", "newservice:Anything", False),
        ("control-s3", "DoThing", "s3:PutObject", True),
        ("sqsv2", "DoThing", "sqs:CreateQueue", True),
        ("keyvaluestore-edge", "DoThing", "cloudfront-keyvaluestore:PutKey", True),
        ("s3", "REST.SEAL.VAULT_PART", "s3:PutObject", True),
        ("s3", "REST.SEAL.VAULT_PART", "sqs:CreateQueue", False),
        ("newservice", "Do Thing", "sqs:CreateQueue", True),
        ("newservice", "*", "sqs:CreateQueue", True),
        ("", "DoThing", "sqs:CreateQueue", True),
        ("New Service", "DoThing", "sqs:CreateQueue", True),
    ],
)
def test_it_hides_its_own_service_related_ones_and_the_action_of_its_name(
    source: str, name: str, action: str, expected: bool
) -> None:
    assert hides(source, name, action) is expected


@pytest.mark.parametrize(
    "row",
    [row for row in table("events") if row["kind"] == "prefix"],
    ids=lambda row: row["event_source"],
)
def test_the_true_action_would_be_hidden_if_the_table_lacked_the_service(
    row: dict[str, str],
) -> None:
    """These sources are not their prefix: without the table their events would be unmapped."""
    label = row["event_source"].removesuffix(".amazonaws.com")
    assert hides(label, "ListThings", f"{row['actions']}:ListThings", prefix="not-a-service")


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_becomes_a_pattern_of_its_own(source: str, name: str) -> None:
    scope = scope_of_unmapped(source, name, "not-a-service")
    assert scope == Scope() or (
        not set("*?") & set("".join(scope.services)) and scope.actions == (f"*:{name}",)
    )
    assert scope == Scope() or name.isalnum()
