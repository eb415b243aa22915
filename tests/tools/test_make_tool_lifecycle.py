"""The promises of the tool that compiles the tables of resource types: the shipped tables are what
it makes.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from tests.fakes.scripts import load

ROOT = Path(__file__).parents[2]
DATA = ROOT / "leastpriv" / "permissions" / "data"
MOST_BYTES = 400_000


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "tools"))
    yield load("tools/make_tool_lifecycle.py")
    sys.path.remove(str(ROOT / "tools"))


@pytest.mark.slow
def test_the_table_of_cloudformation_types_is_what_the_tool_makes(tool: ModuleType) -> None:
    """A quarter of a minute. The table of Terraform's types, made from this one, is compared on
    every run of the suite.
    """
    specification = importlib.util.find_spec("cfnlint")
    assert specification is not None
    assert specification.origin is not None
    assert f"CFN_LINT := {version('cfn-lint')}" in (ROOT / "Makefile").read_text()
    table_text = tool.cloudformation_table(Path(specification.origin).parents[1])
    assert table_text == tool.read_compressed(DATA / "cloudformation_types.tsv.gz")


def test_the_table_of_terraform_types_is_what_the_tool_makes(tool: ModuleType) -> None:
    handlers = tool.read_compressed(DATA / "cloudformation_types.tsv.gz")
    table_text = tool.terraform_table(tool.read_compressed(tool.OPERATIONS), handlers)
    assert table_text == tool.read_compressed(DATA / "terraform_types.tsv.gz")


def test_the_tables_add_little_to_the_package() -> None:
    sizes = [
        (DATA / f"{name}_types.tsv.gz").stat().st_size for name in ("cloudformation", "terraform")
    ]
    assert sum(sizes) < MOST_BYTES


def test_a_name_that_the_catalogue_lacks_is_counted_and_left_out(
    tool: ModuleType, tmp_path: Path
) -> None:
    schema = {
        "typeName": "AWS::SQS::Queue",
        "properties": {"QueueName": {"type": "string"}},
        "handlers": {
            "create": {"permissions": ["sqs:createqueue", "sqs:NoSuchAction", "sqs:Get*"]},
            "delete": {"permissions": ["sqs:DeleteQueue"]},
        },
        "tagging": {"permissions": ["sqs:TagQueue"]},
    }
    schemas = tmp_path / "cfnlint" / "data" / "schemas"
    (schemas / "resources").mkdir(parents=True)
    (schemas / "resources" / "a.json").write_text(json.dumps(schema))
    (schemas / "version.json").write_text('{"schema_date": "2026-10-20T22:11:15Z"}')
    table_text = tool.cloudformation_table(tmp_path)
    assert "Left out, since the catalogue lacks them: 1 names in 1 places." in table_text
    assert (
        "AWS::SQS::Queue\tsqs:CreateQueue,sqs:GetQueueAttributes,sqs:GetQueueUrl\t\t\tsqs:DeleteQueue\t"
        in table_text
    )
