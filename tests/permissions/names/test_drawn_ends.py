"""Which ends of names a tool drew from letters alone."""

from __future__ import annotations

import pytest

from leastpriv.permissions.names.drawn_ends import drawn_ends
from leastpriv.permissions.names.words import name_of

TABLES = ("table/shop-alice-Users-zntyreqc", "table/shop-bob-Users-gzuihsue")
QUEUES = ("shop-alice-Mails-cvfkzamq", "shop-bob-Mails-xppovicc")
MORE_QUEUES = ("shop-alice-Jobs-fljxyigd", "shop-bob-Jobs-zlwqykdw")


def ends_of(names: tuple[str, ...]) -> frozenset[str]:
    arns = [
        f"arn:aws:{'dynamodb' if name.startswith('table/') else 'sqs'}:eu-west-1:111122223333:{name}"
        for name in names
    ]
    return drawn_ends(name for name in map(name_of, arns) if name is not None)


def test_ends_of_one_length_that_differ_in_three_forms_of_two_services_are_drawn() -> None:
    names = (*TABLES, *QUEUES, *MORE_QUEUES)
    assert ends_of(names) == {name.rpartition("-")[2] for name in names}


@pytest.mark.parametrize(
    ("why", "names"),
    [
        ("two forms of names may have words of one length", (*TABLES, *QUEUES)),
        (
            "one service alone",
            (*QUEUES, *MORE_QUEUES, "shop-alice-Pay-rudqsuey", "shop-bob-Pay-xxopsdko"),
        ),
        (
            "ends of other lengths",
            (*TABLES, *QUEUES, "shop-alice-Jobs-created", "shop-bob-Jobs-deleted"),
        ),
        (
            "words of five letters",
            (
                *("table/shop-alice-Users-zntyr", "table/shop-bob-Users-gzuih"),
                *("shop-alice-Mails-cvfkz", "shop-bob-Mails-xppov"),
                *("shop-alice-Jobs-fljxy", "shop-bob-Jobs-zlwqy"),
            ),
        ),
        (
            "components, behind the same text",
            (
                *("table/shop-prod-orders-payments", "table/shop-prod-orders-products"),
                *("shop-prod-mails-incoming", "shop-prod-mails-outgoing"),
                *("shop-prod-jobs-finished", "shop-prod-jobs-unfinish"),
            ),
        ),
    ],
)
def test_other_ends_are_words(why: str, names: tuple[str, ...]) -> None:
    assert ends_of(names) == frozenset(), why
