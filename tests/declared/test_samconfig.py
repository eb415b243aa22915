"""A configuration of AWS SAM is a contributor's file."""

from __future__ import annotations

import time

import pytest

from leastpriv.declared.declarations import read_stack
from leastpriv.declared.models import Declaration, Place
from leastpriv.declared.resource_needs import needs_of
from leastpriv.declared.transforms import deployed_as
from leastpriv.errors import InputError
from leastpriv.permissions.patterns import has_wildcard


@pytest.mark.parametrize(
    "text",
    [
        "a." * 50_000 + "b = 1",
        "[" + "a." * 2_000 + "a]\n" + "".join(f"b.c{number} = 1\n" for number in range(50_000)),
        "".join("a." * 200 + f"b{number} = 1\n" for number in range(2_000)),
        "x = " + "[" * 10_000,
        "x = " + "{a=" * 5_000,
        "x = " + "9" * 9_000,
        "# " + "a" * 2_000_000,
    ],
)
def test_a_configuration_that_grows_is_refused_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(InputError):
        deployed_as(text.encode())
    assert time.process_time() - began < 2


FUNCTION = b"""Transform: AWS::Serverless-2016-10-31
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: ./x, Handler: a.b, Runtime: python3.12}
"""
PLACE = Place("aws", "111122223333", "eu-west-1")


def stack_with(config: str) -> Declaration:
    return read_stack("t.yaml", {"t.yaml": FUNCTION, "samconfig.toml": config.encode()}.get, PLACE)


def buckets(declaration: Declaration) -> set[str]:
    """The buckets that the needs of a declaration name."""
    resources = {need.permission.resource for need in needs_of(declaration, PLACE)}
    return {
        resource.split(":::")[1].split("/")[0] for resource in resources if ":s3:::" in resource
    }


def test_a_configuration_of_many_environments_is_read() -> None:
    lines = ['[default.deploy.parameters]\nstack_name = "shop"\ns3_bucket = "acme-artifacts"']
    for number in range(1_000):
        lines.append(f'[env{number}.deploy.parameters]\nstack_name = "shop-env{number}"')
        lines.append(f'parameter_overrides = "Url=https://{number}.{number}.shop.example.com"')
    declaration = stack_with("\n".join(lines))
    assert declaration.unknown == {}
    assert buckets(declaration) == {"acme-artifacts"}
    stacks = {need.permission.resource for need in declaration.calls if ":stack/" in str(need)}
    assert stacks
    assert all(":stack/shop" in stack for stack in stacks if ":stack/" in stack)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("# " + "a" * 2_000_000, "too large to read"),
        ("a." * 50_000 + "b = 1", "too large to read"),
        ("stack_name: shop", "cannot be read as TOML"),
    ],
)
def test_a_configuration_that_is_not_read_is_named_and_no_bucket_is_invented(
    config: str, problem: str
) -> None:
    declaration = stack_with(config)
    assert declaration.unknown["samconfig.toml"] == problem
    assert not any("aws-sam-cli-managed" in str(need) for need in needs_of(declaration, PLACE))
    assert not any(
        need.permission.action == "s3:PutObject" for need in needs_of(declaration, PLACE)
    )


def test_its_names_have_no_wildcard() -> None:
    lines = ('stack_name = "*"', 's3_bucket = "b*"', 's3_prefix = "a?/*"')
    stack = deployed_as("\n".join(["[default.deploy.parameters]", *lines]).encode())
    assert not any(map(has_wildcard, (stack.name, stack.bucket, stack.prefix)))
