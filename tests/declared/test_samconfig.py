"""A configuration of AWS SAM is a contributor's file."""

from __future__ import annotations

import time

import pytest

from leastpriv.declared.models import Stack
from leastpriv.declared.transforms import deployed_as
from leastpriv.permissions.patterns import has_wildcard


@pytest.mark.parametrize(
    "text",
    ["a." * 50_000 + "b = 1", "x = " + "[" * 10_000, "x = " + "{a=" * 5_000, "x = " + "9" * 9_000],
)
def test_a_configuration_that_grows_says_nothing(text: str) -> None:
    began = time.process_time()
    assert deployed_as(text.encode()) == Stack()
    assert time.process_time() - began < 2


def test_its_names_have_no_wildcard() -> None:
    lines = ('stack_name = "*"', 's3_bucket = "b*"', 's3_prefix = "a?/*"')
    stack = deployed_as("\n".join(["[default.deploy.parameters]", *lines]).encode())
    assert not any(map(has_wildcard, (stack.name, stack.bucket, stack.prefix)))
