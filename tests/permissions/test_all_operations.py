"""Every operation of botocore's models, with all parameters and parts of them: what no single
record shows.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

import pytest
from msgspec import structs

from leastpriv.models import Call, Need, Outcome
from leastpriv.permissions.mapping import needs_of
from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.resource_types import fits, types_of_arn
from tests.fakes.generated_calls import call, operations, parameters_of

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
    *(
        "arn:aws:s3:::b/k",
        "arn:aws:iam::111122223333:role/deploy",
        "arn:aws:sns:eu-west-1:111122223333:t",
    ),
    *(
        "https://sqs.eu-west-1.amazonaws.com/111122223333/q",
        "AWS-Run",
        "ou-a1b2-11111111",
        "secret-abcdef",
    ),
]
ARNS = [text for text in TEXTS if text.startswith("arn:")]
TWO_OF_ONE_NAME = (
    # The request names both,
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/gt_IAM.html.
    *("dynamodb:CreateGlobalTable", "dynamodb:UpdateGlobalTable"),
    # Nothing in the request says whether the caller owns the data set or is entitled to it.
    "dataexchange:",
    # The ARN of the model says of which kind it is, a flywheel's does not.
    "comprehend:CreateEndpoint",
    # A request that names the rule group has its type too (botocore's model: Type), which decides.
    "network-firewall:",
)


@cache
def mapped() -> tuple[tuple[Call, tuple[Need, ...]], ...]:
    return tuple((made_call, needs_of(made_call).needs) for made_call in calls())


def calls() -> Iterator[Call]:
    for client, source, operation in operations():
        yield call(source, operation, parameters_of(client, operation))


def calls_of_parts() -> Iterator[Call]:
    """Each operation with all parameters, with the required ones, and with those and each optional
    one alone.
    """
    for client, source, operation in operations():
        all_parameters = parameters_of(client, operation)
        required_parameters = parameters_of(client, operation, required_only=True)
        for parameters in (
            all_parameters,
            required_parameters,
            *(
                {**required_parameters, key: all_parameters[key]}
                for key in all_parameters.keys() - required_parameters.keys()
            ),
        ):
            yield call(source, operation, parameters)


def strange(needs: Sequence[Need]) -> set[str]:
    """Resources that do not fit their action."""
    return {
        f"{need.permission.action} {need.permission.resource}"
        for need in needs
        if not fits(need.permission.action, need.permission.resource)
    }


@pytest.mark.slow
def test_every_resource_fits_its_action() -> None:
    assert {odd_resource for _, needs in mapped() for odd_resource in strange(needs)} == set()


def test_odd_texts_break_nothing_and_give_resources_that_fit() -> None:
    assert {
        odd_resource
        for made_call in odd_calls(300)
        for odd_resource in strange(needs_of(made_call).needs)
    } == set()


@pytest.mark.slow
def test_one_parameter_never_fills_two_parts_of_an_exact_resource() -> None:
    twice = {
        f"{made_call.source}:{made_call.name} {need.permission.resource}"
        for made_call, needs in mapped()
        for need in needs
        if need.exact and need.permission.resource.startswith("arn:")
        for text, times in Counter(
            re.findall(r"(?<=[:/])the-[a-z0-9-]+", need.permission.resource)
        ).items()
        if times > 1
    }
    assert twice == set()


@pytest.mark.parametrize("step", [40, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "hidden", ["HIDDEN_DUE_TO_SECURITY_REASONS", "****", "<sensitiveDataRemoved>"]
)
def test_a_value_that_a_record_hides_names_no_resource(hidden: str, step: int) -> None:
    hidden_calls = (
        call(source, name, with_texts(parameters_of(client, name), hidden))
        for client, source, name in operations()
    )
    needs = (
        need.permission
        for made_call in islice(hidden_calls, 0, None, step)
        for need in needs_of(made_call).needs
    )
    assert {
        f"{need.action} {need.resource}"
        for need in needs
        if escape_observed(hidden) in need.resource
    } == set()


def with_texts(value: Any, text: str) -> Any:
    """The value with one text in place of each."""
    if isinstance(value, dict):
        return {key: with_texts(part, text) for key, part in value.items()}
    if isinstance(value, list):
        return [with_texts(part, text) for part in value]
    return text if isinstance(value, str) else value


@pytest.mark.slow
def test_one_parameter_never_names_resources_of_two_types() -> None:
    named_actions = {
        f"{action}: {', '.join(sorted(kinds))}"
        for made_call in calls_of_parts()
        for action, kinds in named_twice(made_call)
    }
    assert {
        named_action
        for named_action in named_actions
        if not named_action.startswith(TWO_OF_ONE_NAME)
    } == set()


def named_twice(made: Call) -> Iterator[tuple[str, set[str]]]:
    """Actions of which one text of the request ends the ARNs of several resource types."""
    resources: dict[tuple[str, str], set[str]] = defaultdict(set)
    for need in needs_of(made).needs:
        ends = re.search(r"(?<=[:/-])(the-[a-z0-9-]+)$", need.permission.resource)
        if ends and need.basis == "observed":
            resources[need.permission.action, ends[1]].add(need.permission.resource)
    for (action, _), named_resources in resources.items():
        kinds = {
            kind
            for resource in named_resources
            for kind in types_of_arn(action.partition(":")[0], resource)
        }
        if len(named_resources) > 1 and len(kinds) > 1:
            yield action, kinds


def odd_calls(count: int) -> Iterator[Call]:
    """Calls of random operations, with odd texts, parts left out, and answers, errors and resources
    at random.
    """
    chance = random.Random(7)  # noqa: S311 - the same calls each time
    all_operations = list(operations())
    for _ in range(count):
        client, source, operation = chance.choice(all_operations)
        odd_call = call(
            source,
            operation,
            changed(parameters_of(client, operation, variant=chance.randrange(4)), chance),
        )
        if chance.random() < 0.2:
            odd_call = structs.replace(odd_call, resources=tuple(chance.sample(ARNS, 2)))
        if chance.random() < 0.2:
            odd_call = structs.replace(
                odd_call, response=changed(parameters_of(client, operation), chance)
            )
        if chance.random() < 0.2:
            odd_call = structs.replace(
                odd_call,
                outcome=chance.choice(list(Outcome)),
                error_code=chance.choice(("", "NoSuchKey")),
            )
        if chance.random() < 0.2:
            odd_call = structs.replace(odd_call, read_only=chance.choice((True, False)))
        if chance.random() < 0.1:
            odd_call = structs.replace(odd_call, principal="arn:aws-cn:iam::111122223333:user/bob")
        yield odd_call


def changed(value: object, chance: random.Random) -> dict[str, object]:
    odd_parameters = _changed(value, chance)
    return odd_parameters if isinstance(odd_parameters, dict) else {}


def _changed(value: object, chance: random.Random) -> object:
    if isinstance(value, dict):
        return {
            key: _changed(part, chance) for key, part in value.items() if chance.random() < 0.75
        }
    if isinstance(value, list):
        return [
            _changed(part, chance) for part in value for _ in range(chance.choice((1, 1, 1, 2)))
        ]
    if isinstance(value, str):
        return (
            chance.choice(TEXTS)
            if chance.random() < 0.4
            else value + chance.choice(("", "-2", "/x"))
        )
    return value
