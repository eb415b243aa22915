"""The guide's links lead somewhere, its YAML blocks are valid, and its inputs and guards exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest
from check_jsonschema.builtin_schemas import get_builtin_schema

from leastpriv.config.inputs import inputs as every_input
from leastpriv.proposal.guards import GUARDS
from tests.pages import GUIDE, PAGES, ROOT, WITH_COMMANDS, Block, anchors, inline, of_language, yaml

WORKFLOW_KEYS = frozenset(
    {
        "actions",
        "contents",
        "pull-requests",
        "issues",
        "id-token",
        "security-events",
        "permissions",
        "runs-on",
        "on",
    }
    | {
        "role-session-name",
        "mask-aws-account-id",
        "inline-session-policy",
        "environment",
        "persist-credentials",
        "fetch-depth",
        "group",
    }
    | {"follow", "discover", "leastpriv"}
)
"""Keys of workflows, of other actions and of the config that pages name as `key: value`, besides
the inputs.
"""


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_and_anchor_exists(page: str) -> None:
    broken = []
    for link in inline(page, "link_open"):
        target = str(link.attrs["href"])
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        inside = linked.is_relative_to(ROOT) and linked.exists()
        name = linked.relative_to(ROOT).as_posix() if inside else ""
        if not inside or (anchor and anchor not in anchors(name)):
            broken.append(target)
    assert broken == []


def test_a_broken_anchor_is_an_error() -> None:
    assert "exactly-the-permissions-of-the-sources-you-choose" in anchors("docs/reader-role.md")
    assert "exactly" not in anchors("docs/reader-role.md")


def test_the_index_names_every_page_of_the_guide() -> None:
    first_words = {
        str(link.attrs["href"]).partition("#")[0] for link in inline("docs/README.md", "link_open")
    }
    assert set(GUIDE) - {"README.md"} <= first_words


def test_the_index_of_decisions_names_every_decision_in_order() -> None:
    decision_names = [
        str(link.attrs["href"]) for link in inline("docs/decisions/README.md", "link_open")
    ]
    decision_files = sorted(path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert decision_names == decision_files
    for name in decision_files:
        heading = (ROOT / "docs/decisions" / name).read_text(encoding="utf-8").splitlines()[0]
        assert re.match(rf"# {int(name[:4])}\. ", heading), name


@cache
def action() -> dict[str, Any]:
    return dict(yaml((ROOT / "action.yml").read_text(encoding="utf-8")))


def inputs() -> set[str]:
    return set(action()["inputs"])


def settings() -> set[str]:
    """The inputs that the config has."""
    return {action_input.name for action_input in every_input() if action_input.config_only}


@pytest.mark.parametrize("block", of_language("yaml"), ids=str)
def test_every_yaml_block_is_of_a_known_kind_and_valid(block: Block) -> None:
    """A workflow or a part of one, a step, inputs, a config, or a CloudFormation resource; other
    YAML fails.
    """
    value = yaml(block.text)
    if isinstance(value, list):
        value = {"jobs": {"part": {"runs-on": "ubuntu-latest", "steps": value}}}
    if "targets" in value or "settings" in value:
        schema = json.loads(
            (ROOT / "leastpriv/config/config.schema.json").read_text(encoding="utf-8")
        )
        jsonschema.validate(value, schema)
    elif "Resources" in value or "AWSTemplateFormatVersion" in value:
        assert all("Type" in resource for resource in value["Resources"].values())
    elif "jobs" in value or "on" in value:
        jsonschema.validate(_whole(value), get_builtin_schema("vendor.github-workflows"))
        for step in _steps(value):
            if step.get("uses", "").startswith("org/leastpriv-action@"):
                assert set(step.get("with", {})) <= inputs()
    else:
        step_inputs = value.get("with", value)
        assert set(step_inputs) <= inputs() | WORKFLOW_KEYS, set(step_inputs) - inputs()
    used_names = set(re.findall(r"steps\.leastpriv\.outputs\.([a-z-]+)", block.text))
    assert used_names <= set(action()["outputs"])


def _whole(value: dict[str, Any]) -> dict[str, Any]:
    """A workflow from a part; the comment for an omitted part is replaced by one."""
    jobs = {
        name: {"runs-on": "ubuntu-latest", **job, "steps": job.get("steps") or [{"run": "true"}]}
        for name, job in value.get("jobs", {"part": {}}).items()
    }
    return {"on": "workflow_dispatch", **value, "jobs": jobs}


def _steps(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in value.get("jobs", {}).values():
        yield from job.get("steps") or ()


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_every_input_that_a_sentence_sets_exists(page: str) -> None:
    marked_names = {
        match[1]
        for token in inline(page, "code_inline")
        if (match := re.match(r"([a-z]+(?:-[a-z]+)*): \S", token.content))
    }
    assert marked_names <= inputs() | settings() | WORKFLOW_KEYS


def test_the_guide_names_every_guard_in_its_order() -> None:
    text = (ROOT / "docs/guards.md").read_text(encoding="utf-8").partition("removal guards: end")[0]
    guard_names = re.findall(r"^- `([a-z-]+)`:", text, re.MULTILINE)
    known_guards = [*GUARDS]
    # A guard may hold back a narrowed resource too.
    assert [name for name in dict.fromkeys(guard_names) if name in known_guards] == known_guards


def test_every_json_block_is_json() -> None:
    for block in of_language("json"):
        json.loads(block.text)
