"""The mapper against the one that read its tables call by call (`tests/oracle`): they find the same needs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from leastpriv.aws.arns import Principals, Window
from leastpriv.evidence.cloudtrail.local_store import TrailFolder
from leastpriv.models import Call, Need, Outcome
from leastpriv.permissions import mapping
from leastpriv.permissions.mapping import needs_of
from tests.fakes.generated_calls import call, operations, parameters_of
from tests.oracle import mapping as oracle

TEXTS = [
    *(
        "web",
        "a/b",
        "*",
        "x?y",
        "$",
        "",
        "default",
        "123456789012",
        "i-0abc",
        "a:b:c",
        "alias/x",
        "1",
        "$LATEST",
        "/p/q",
    ),
    *("arn:aws:s3:::b/k", "arn:aws:iam::111122223333:role/deploy", "arn:aws:sns:eu-west-1:111122223333:t"),
    *("https://sqs.eu-west-1.amazonaws.com/111122223333/q", "AWS-Run", "ou-a1b2-11111111", "secret-abcdef"),
]
ARNS = [text for text in TEXTS if text.startswith("arn:")]


def differs(made: Call) -> str:
    found, wanted = needs_of(made), oracle.needs_of(made)
    same = (
        str(found.verdict) == str(wanted.verdict)
        and found.prefix == wanted.prefix
        and sorted(map(str, found.needs)) == sorted(map(str, wanted.needs))
        and found.gaps == wanted.gaps
        and sorted(found.kept) == sorted(wanted.kept)
    )
    return "" if same else f"{made.source}:{made.name} {made.parameters}: {words(found.needs)} {words(wanted.needs)}"


def words(needs: tuple[Need, ...]) -> list[str]:
    return [f"{need.permission.action} {need.permission.resource} {need.derivation}" for need in needs]


@pytest.mark.slow
def test_all_operations_need_the_same() -> None:
    wrong = [
        found
        for client, source, operation in operations()
        for parameters in ({}, *(parameters_of(client, operation, required_only=only) for only in (True, False)))
        if (found := differs(call(source, operation, parameters)))
    ]
    assert wrong == []


@pytest.mark.slow
def test_all_public_records_need_the_same(shared_folder: Path) -> None:
    wrong = []
    for file in sorted((shared_folder / "corpus").glob("records*/**/*.gz")):
        calls = (item for item in TrailFolder(file).read(Window(), Principals(None)) if isinstance(item, Call))
        wrong += [found for each in calls if (found := differs(each))]
    assert wrong == []


@pytest.mark.slow
def test_ten_thousand_generated_calls_need_the_same() -> None:
    assert [found for made in generated(10_000) if (found := differs(made))] == []


def test_some_generated_calls_need_the_same() -> None:
    assert [found for made in generated(300) if (found := differs(made))] == []


@pytest.mark.parametrize("count", [150, pytest.param(3_000, marks=pytest.mark.slow)])
def test_a_call_needs_the_same_whatever_was_mapped_before(count: int) -> None:
    chance = random.Random(11)  # noqa: S311 - the same calls each time
    wrong = []
    for first in generated(count):
        for other in variants(first, chance):
            needs_of(first)
            after = needs_of(other)
            mapping.DECIDED.clear()
            if needs_of(other) != after:
                wrong.append(f"{other} after {first}")
    assert wrong == []


def variants(first: Call, chance: random.Random) -> Iterator[Call]:
    """Yields calls that differ from one in one field or in parts of their parameters."""
    yield structs.replace(first, principal="arn:aws-cn:iam::111122223333:user/bob")
    yield structs.replace(first, account="444455556666")
    yield structs.replace(first, region="eu-central-1")
    yield structs.replace(first, resources=tuple(chance.sample(ARNS, 2)))
    yield from (structs.replace(first, outcome=outcome) for outcome in Outcome)
    yield structs.replace(first, error_code="NoSuchKey")
    yield structs.replace(first, read_only=not first.read_only)
    yield structs.replace(first, parameters_omitted=True)
    yield structs.replace(first, invoked_by="lambda.amazonaws.com")
    yield structs.replace(first, response={"arn": ARNS[0], "rootDeviceType": "ebs"})
    for _ in range(6):
        yield structs.replace(first, parameters=changed(first.parameters, chance))
    for key, value in first.parameters.items():
        yield structs.replace(first, parameters={**first.parameters, key: 7 if isinstance(value, bool | int) else {}})


def generated(count: int) -> Iterator[Call]:
    """Calls of random operations, with odd texts, parts left out, and answers, errors and resources at random."""
    chance = random.Random(7)  # noqa: S311 - the same calls each time
    known = list(operations())
    for _ in range(count):
        client, source, operation = chance.choice(known)
        made = call(source, operation, changed(parameters_of(client, operation, variant=chance.randrange(4)), chance))
        if chance.random() < 0.2:
            made = structs.replace(made, resources=tuple(chance.sample(ARNS, 2)))
        if chance.random() < 0.2:
            made = structs.replace(made, response=changed(parameters_of(client, operation), chance))
        if chance.random() < 0.2:
            made = structs.replace(
                made, outcome=chance.choice(list(Outcome)), error_code=chance.choice(("", "NoSuchKey"))
            )
        if chance.random() < 0.2:
            made = structs.replace(made, read_only=chance.choice((True, False)))
        if chance.random() < 0.1:
            made = structs.replace(made, principal="arn:aws-cn:iam::111122223333:user/bob")
        yield made


def changed(value: object, chance: random.Random) -> dict[str, object]:
    found = _changed(value, chance)
    return found if isinstance(found, dict) else {}


def _changed(value: object, chance: random.Random) -> object:
    if isinstance(value, dict):
        return {key: _changed(item, chance) for key, item in value.items() if chance.random() < 0.75}
    if isinstance(value, list):
        return [_changed(item, chance) for item in value for _ in range(chance.choice((1, 1, 1, 2)))]
    if isinstance(value, str):
        return chance.choice(TEXTS) if chance.random() < 0.4 else value + chance.choice(("", "-2", "/x"))
    return value
