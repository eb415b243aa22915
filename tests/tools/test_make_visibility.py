"""The promises of the tool that compiles visibility: its order of sources, and tables that are what
it makes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import carriers_of, read_only_by_name, visibility
from tests.fakes.scripts import load

TOOLS = Path(__file__).parents[2] / "tools"
FLAGS = {True: "yes", False: "no", None: ""}


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    sys.path.insert(0, str(TOOLS))
    yield load("tools/make_visibility.py")
    sys.path.remove(str(TOOLS))


def events() -> ModuleType:
    return sys.modules["trail_events"]


@pytest.fixture(scope="module")
def empty(tool: ModuleType) -> object:
    """A compiler without AWS's service reference: our own tables alone."""
    return tool.Compiler(sys.modules["service_reference"].ServiceReference("none", {}))


@pytest.mark.parametrize(
    ("operation", "is_read", "visibility", "reason"),
    [
        ("s3:GetObject", True, "data", "data"),
        ("apigateway:TestInvokeMethod", True, "never", "page"),
        ("ec2:DescribeInstances", False, "management", "record"),
        ("mgn:ListApplications", True, "management", "page"),
        ("mgn:ListApplications", False, "unknown", "not-read"),
        ("lambda:CreateMicrovmImage", True, "management", "listed"),
        ("dynamodb:PutResourcePolicy", True, "unknown", "not-listed"),
        ("glue:GetPartitions", True, "unknown", "excepted"),
    ],
)
def test_an_operation_is_shown_by_the_first_source_that_knows_it(
    tool: ModuleType, operation: str, is_read: bool, visibility: str, reason: str
) -> None:
    page = next(iter(events().page_models(operation.partition(":")[0]).values())) if is_read else ""
    event = tool.event_of(operation, page)
    assert (event.visibility, event.reason) == (visibility, reason)


def test_the_flag_settles_only_what_no_other_source_knows(tool: ModuleType) -> None:
    reference = sys.modules["service_reference"]
    action = {
        "resource_types": (),
        "condition_keys": (),
        "access": frozenset(),
        "tracks_last_access": True,
    }
    names = (
        "personalize:CreateSolution",
        "s3:GetObject",
        "logs:PutLogEvents",
        "sqs:CreateQueue",
        "swf:RecordMarker",
    )
    flagged = [reference.Action(name, records_management_event=True, **action) for name in names]
    services = {
        each.name.partition(":")[0]: reference.Service(each.name.partition(":")[0], (each,), (), ())
        for each in flagged
    }
    compiler = tool.Compiler(reference.ServiceReference("flags", services))
    answers = {name: compiler.answer(name) for name in names}
    assert answers["personalize:CreateSolution"].reason == "flag"
    assert {name: answer.visibility for name, answer in answers.items()} == {
        "personalize:CreateSolution": "management",
        "s3:GetObject": "data",
        "logs:PutLogEvents": "never",
        "sqs:CreateQueue": "management",
        # A decision inside another call, which the flag marks with the whole service.
        "swf:RecordMarker": "permission-only",
    }


def test_an_action_that_a_page_does_not_settle_is_management_once_aws_flags_it(
    empty: object,
) -> None:
    answer = empty.answer("personalize:CreateSolution")  # type: ignore[attr-defined]
    assert answer.visibility == "unknown"


@pytest.mark.parametrize("name", ["pages", "data_events", "silent_actions", "ended"])
def test_every_row_of_the_hand_made_tables_names_its_source(tool: ModuleType, name: str) -> None:
    assert [row for row in tool.facts(name) if not row["source"]] == []


def test_every_action_inside_a_call_that_we_add_names_its_source(tool: ModuleType) -> None:
    assert [row for row in tool.table("carried_actions") if not row["source"]] == []


def test_every_page_that_was_read_of_late_is_quoted_with_its_date(tool: ModuleType) -> None:
    rows = [row for row in tool.facts("pages") if row["date"]]
    assert len(rows) > 140
    assert [row for row in rows if not row["quotation"] or not row["date"].startswith("20")] == []


def test_every_action_of_the_hand_made_tables_is_in_the_catalogue(tool: ModuleType) -> None:
    facts = [
        action for row in tool.table("carried_actions") for action in tool.matching(row["action"])
    ]
    facts += [row["action"] for row in tool.facts("silent_actions") if "*" not in row["action"]]
    facts += [
        action
        for row in tool.facts("data_events")
        for action in row["actions"].split(",")
        if action
    ]
    assert [action for action in facts if catalog.spelling(action) != action] == []


def test_every_api_model_of_a_page_exists(tool: ModuleType) -> None:
    prefixes = {row["prefix"] for row in tool.facts("pages")}
    names = {model.name for prefix in prefixes for model in events().page_models(prefix)}
    assert [name for name in sorted(names) if not events().source_of(name)] == []


def test_no_operation_that_has_data_events_makes_its_action_a_management_action(
    tool: ModuleType,
) -> None:
    sources = {row["prefix"]: events().page_models(row["prefix"]) for row in tool.facts("pages")}
    checked = 0
    for row in tool.facts("data_events"):
        actions = [action for action in row["actions"].split(",") if action]
        for model in sources.get(row["prefix"], ()) if not actions else ():
            actions += tool.actions_of_operation(f"{model.source}.amazonaws.com", row["operation"])
        for action in actions:
            checked += 1
            assert visibility(action).visibility != "management", (row["operation"], action)
    assert checked > 200


@pytest.mark.slow
def test_the_tables_are_what_the_tool_makes_of_its_sources(
    tool: ModuleType, shared_folder: Path
) -> None:
    """A newer catalogue may have more actions, never another answer for the old ones."""
    archive = next((shared_folder / "data" / "aws-service-reference").glob("*.tar.xz"))
    compiler = tool.Compiler(sys.modules["service_reference"].load(str(archive)))
    for prefix in ("s3", "lambda", "sqs", "dynamodb", "iam", "chime"):
        for action in catalog.actions(prefix):
            answer = compiler.answer(action)
            action_facts = visibility(action)
            assert action_facts.visibility == answer.visibility, action
            assert action_facts.resource_type == answer.resource_type, action
            by_name = FLAGS[read_only_by_name(action.partition(":")[2])]
            assert (answer.read_only or by_name) in (FLAGS[action_facts.read_only], by_name), action
            triggers = {carrier.operation: carrier.triggered for carrier in carriers_of(action)}
            assert triggers == compiler.inner.get(action, {}), action
