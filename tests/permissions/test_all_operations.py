"""Every operation of botocore's models, with all parameters: what no single record shows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest

from leastpriv.models import Call, Need
from leastpriv.permissions.mapping import needs_of
from leastpriv.permissions.resource_types import fits
from tests.fakes.generated_calls import call, operations, parameters_of


@cache
def mapped() -> tuple[tuple[Call, tuple[Need, ...]], ...]:
    return tuple((made, needs_of(made).needs) for made in calls())


def calls() -> Iterator[Call]:
    for client, source, operation in operations():
        yield call(source, operation, parameters_of(client, operation))


@pytest.mark.slow
def test_every_resource_fits_its_action() -> None:
    strange = {
        f"{need.permission.action} {need.permission.resource}"
        for _, needs in mapped()
        for need in needs
        if not fits(need.permission.action, need.permission.resource)
    }
    assert strange == set()


@pytest.mark.slow
def test_one_parameter_never_fills_two_parts_of_an_exact_resource() -> None:
    twice = {
        f"{made.source}:{made.name} {need.permission.resource}"
        for made, needs in mapped()
        for need in needs
        if need.exact and need.permission.resource.startswith("arn:")
        for text, times in Counter(re.findall(r"(?<=[:/])the-[a-z0-9-]+", need.permission.resource)).items()
        if times > 1
    }
    assert twice == set()
