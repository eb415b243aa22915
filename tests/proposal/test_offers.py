"""Which offers are written: by an option, by a comment, never a sensitive action."""

from __future__ import annotations

import pytest

from leastpriv.models import Basis, ChangeKind
from leastpriv.permissions.catalog import sensitivity
from leastpriv.proposal.models import (
    Change,
    CompleteAdditions,
    History,
    Lifecycle,
    OfferCommand,
    Options,
)
from leastpriv.proposal.offers import settle_offers

USUAL = ("sqs:GetQueueAttributes", "sqs:TagQueue", "sqs:DeleteQueue", "sqs:AddPermission")


def offer(action: str, usual_as: str = "a tool calls it") -> Change:
    return Change(
        ChangeKind.ADD,
        action,
        ("arn:aws:sqs:eu-west-1:111122223333:orders",),
        basis=Basis.LIFECYCLE,
        usual_as=usual_as,
        security=sensitivity(action),
    )


def written(*commands: str, options: Options = Options()) -> set[str]:
    """The actions that commands (`add A`, `forget A`) and options write."""
    said = []
    for command in commands:
        verb, _, pattern = command.partition(" ")
        said.append(OfferCommand(pattern, takes=verb == "add"))
    offers = [offer(action) for action in USUAL]
    settled = settle_offers(offers, options, History(offer_commands=tuple(said)))
    assert {*settled.written, *settled.offered} == {*offers}
    return {change.action for change in settled.written}


def test_an_offer_is_not_written_unasked() -> None:
    assert written() == set()


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (["add sqs:TagQueue"], {"sqs:TagQueue"}),
        (["add SQS:tagqueue"], {"sqs:TagQueue"}),
        (["add *"], {"sqs:TagQueue", "sqs:GetQueueAttributes"}),
        (["add sqs:Delete*"], set()),
        (["add sqs:DeleteQueue"], {"sqs:DeleteQueue"}),
        (["add sqs:AddPermission"], set()),
        (["add sqs:*", "forget sqs:TagQueue"], {"sqs:GetQueueAttributes"}),
        (["forget sqs:*", "add sqs:TagQueue"], {"sqs:TagQueue"}),
        (["add sqs:DeleteQueue", "forget sqs:*"], set()),
        (["add s3:PutObject"], set()),
    ],
)
def test_the_latest_comment_on_an_offer_counts(commands: list[str], expected: set[str]) -> None:
    assert written(*commands) == expected


def test_complete_additions_writes_no_deletion_and_no_sensitive_action() -> None:
    options = Options(complete_additions=CompleteAdditions.WRITE)
    assert written(options=options) == {"sqs:TagQueue", "sqs:GetQueueAttributes"}


def test_lifecycle_all_writes_offered_deletions_alone() -> None:
    assert written(options=Options(lifecycle=Lifecycle.ALL)) == {"sqs:DeleteQueue"}
