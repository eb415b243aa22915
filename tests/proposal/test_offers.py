"""Which offers are written: by an option, by a comment, never a sensitive action."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from leastpriv.models import Basis, ChangeKind
from leastpriv.permissions.catalog import sensitivity
from leastpriv.policy.document import parse
from leastpriv.proposal.models import (
    Change,
    CompleteAdditions,
    History,
    Lifecycle,
    OfferCommand,
    Options,
    Proposal,
)
from leastpriv.proposal.offers import CommandEffect, answer_to, settle_offers

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
    offer_commands = []
    for command in commands:
        verb, _, pattern = command.partition(" ")
        offer_commands.append(OfferCommand(pattern, takes=verb == "add"))
    offers = [offer(action) for action in USUAL]
    settled = settle_offers(offers, options, History(offer_commands=tuple(offer_commands)))
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


def test_lifecycle_all_writes_no_deletion_of_a_denied_step() -> None:
    options = Options(lifecycle=Lifecycle.ALL)
    assert written(options=options) == set()
    deletion = offer("sqs:DeleteQueue", usual_as="")
    assert settle_offers([deletion], options, History()).written == (deletion,)


HOSTED_ZONES = "arn:aws:route53:::hostedzone/*"


@pytest.mark.parametrize(
    ("action", "resource", "is_wide"),
    [
        ("route53:ChangeResourceRecordSets", HOSTED_ZONES, True),
        ("route53:ChangeResourceRecordSets", "arn:aws:route53:::hostedzone/Z1", False),
        ("route53:GetHostedZone", HOSTED_ZONES, False),
        ("kms:EnableKey", "arn:aws:kms:eu-west-1:111122223333:key/*", True),
        ("ec2:CreateTags", "arn:aws:ec2:eu-west-1:111122223333:security-group/*", True),
        ("ec2:CreateTags", "*", True),
        ("ecr:GetAuthorizationToken", "*", False),
        ("s3:PutBucketTagging", "arn:aws:s3:::*", True),
        ("s3:PutObject", "arn:aws:s3:::orders/*", False),
        ("cloudformation:ExecuteChangeSet", "arn:aws:cloudformation:*:1:stack/orders/*", False),
        ("wafv2:UpdateWebACL", "arn:aws:wafv2:eu-west-1:1:regional/webacl/*/*", True),
        ("wafv2:UpdateWebACL", "arn:aws:wafv2:eu-west-1:1:regional/webacl/shop/*", False),
        ("unknown:PutRow", "arn:aws:unknown:eu-west-1:1:row/*", True),
    ],
)
def test_a_write_to_any_resource_of_a_type_is_written_by_its_whole_name_alone(
    action: str, resource: str, is_wide: bool
) -> None:
    open_offer = replace(offer(action), resources=(resource,), security="")
    write = Options(lifecycle=Lifecycle.ALL, complete_additions=CompleteAdditions.WRITE)
    all_taken = History(offer_commands=(OfferCommand("*", takes=True),))
    taken_by_name = History(offer_commands=(OfferCommand(action, takes=True),))
    assert (settle_offers([open_offer], write, History()).offered == (open_offer,)) is is_wide
    assert (settle_offers([open_offer], Options(), all_taken).offered == (open_offer,)) is is_wide
    assert settle_offers([open_offer], Options(), taken_by_name).written == (open_offer,)


def test_taken_offers_come_before_those_of_an_option() -> None:
    offers = [offer(action) for action in USUAL]
    options = Options(complete_additions=CompleteAdditions.WRITE)
    history = History(offer_commands=(OfferCommand("sqs:TagQueue", takes=True),))
    settled = settle_offers(offers, options, history)
    assert [offer.action for offer in settled.written] == ["sqs:TagQueue", "sqs:GetQueueAttributes"]


def answer(pattern: str, *said: str, limit: int = 10) -> CommandEffect:
    """What a command does to a proposal that at most `limit` of the offers change."""
    history = History(
        offer_commands=tuple(OfferCommand(offer_pattern, takes=True) for offer_pattern in said)
    )
    settled = settle_offers([offer(action) for action in USUAL], Options(), history)
    waiting = settled.written[limit:]
    document = parse(b'{"Version": "2012-10-17", "Statement": []}', "policy.json")
    proposal = Proposal(
        committed=None,
        document=document,
        content=b"",
        changes=settled.written[:limit],
        held_back=(),
        held_back_additions=(),
        offered=(*waiting, *settled.offered),
        waiting=waiting,
    )
    return answer_to(pattern, proposal)


def test_the_answer_to_a_command_says_what_it_does() -> None:
    assert answer("sqs:TagQueue", "sqs:TagQueue") == CommandEffect(added=1)
    assert answer("*", "*") == CommandEffect(added=2, unnamed=1, sensitive=1)
    assert answer("sqs:TagQueue", "sqs:TagQueue", limit=0) == CommandEffect(waiting=1)
    assert answer("sqs:TagQueue") == CommandEffect(taken_back=1)
    assert answer("sqs:Delete*", "sqs:Delete*") == CommandEffect(unnamed=1)
    assert answer("sqs:DeleteQueue", "sqs:DeleteQueue") == CommandEffect(added=1)
    assert answer("iam:PassRole", "iam:PassRole") == CommandEffect(sensitive=1)
    assert answer("sqs:NeverOffered", "sqs:NeverOffered") == CommandEffect()
