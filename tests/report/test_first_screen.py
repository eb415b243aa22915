"""The first screen of results that remove nothing, and of facts that were left out before."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import leastpriv.proposal
import leastpriv.report
from leastpriv.models import Origin, RunOrigin
from leastpriv.permissions.fact_tables import table
from leastpriv.proposal.ledger import DenialState, GrantState
from leastpriv.proposal.verdict import VerdictRule
from leastpriv.report.drift import context_findings
from leastpriv.report.first_screen import first_screen
from leastpriv.report.pull_request import body, title
from leastpriv.report.screen_models import Column, Table, TableRow, in_lines, markdown
from tests.fakes.contexts import with_parts
from tests.fakes.deploys import POLICY, proposal
from tests.fakes.replace import replace
from tests.fakes.runs import Proposed
from tests.test_cases import run_case

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
QUEUE = {
    "event": "sqs:CreateQueue",
    "parameters": {"queueName": "orders"},
    "response": {"queueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/orders"},
}
ALLOWS = {
    "Sid": "Queues",
    "Effect": "Allow",
    "Action": "sqs:CreateQueue",
    "Resource": "arn:aws:sqs:eu-west-1:111122223333:orders",
}


def policy(*statements: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [ALLOWS, *statements]}


def proposed(folder: Path, *calls: Mapping[str, Any], **case: Any) -> Proposed:
    run = {"first": "2026-09-01T10:00:00Z", "times": 12, "every-days": 4, "calls": [QUEUE]}
    further_runs = [{"first": "2026-10-20T15:00:00Z", "calls": list(calls)}] if calls else []
    return run_case({"policy": policy(), "runs": [run, *further_runs], **case}, folder)


def test_a_call_without_the_answer_of_its_kind_is_counted_and_not_evaluated(
    tmp_path: Path,
) -> None:
    context = proposed(tmp_path, {**QUEUE, "response": None}).context
    assert (context.ledger.calls.total, context.ledger.calls.allowed) == (13, 12)
    assert "**12 of 12** successful calls are allowed by the result. Not evaluated: 1 call of" in (
        body(context)
    )
    assert "| calls | 13 | 12 allowed, 1 not evaluated |" in body(context)


MAIN = [
    'data "aws_iam_policy_document" "deploy" {',
    "  statement {",
    '    actions   = ["sqs:CreateQueue"]',
    '    resources = ["arn:aws:sqs:eu-west-1:111122223333:orders"]',
    "  }",
    "}",
]
ROLE_FILE = [
    'resource "aws_iam_role" "deploy" {',
    '  name = "ci-deploy"',
    "}",
    'resource "aws_iam_role_policy" "deploy" {',
    "  role   = aws_iam_role.deploy.id",
    "  policy = data.aws_iam_policy_document.deploy.json",
    "}",
]


def test_a_denied_permission_that_the_file_cannot_take_heads_the_result(tmp_path: Path) -> None:
    denied = {
        "event": "sns:CreateTopic",
        "parameters": {"name": "orders"},
        "error": "AccessDenied",
        "message": (
            "User: arn:aws:sts::111122223333:assumed-role/ci-deploy/1 is not authorized to perform:"
            " SNS:CreateTopic on resource: arn:aws:sns:eu-west-1:111122223333:orders because no"
            " identity-based policy allows the SNS:CreateTopic action"
        ),
    }
    run = {"first": "2026-09-01T10:00:00Z", "times": 8, "every-days": 4, "calls": [QUEUE, denied]}
    files = {"main.tf": MAIN, "role.tf": ROLE_FILE}
    context = run_case(
        {"terraform": files, "policy-file": "role.tf", "runs": [run]}, tmp_path
    ).context
    assert title(context) == "iam(ci-deploy): needs 1 permission that you must add in role.tf"
    first = markdown(first_screen(context))
    assert first.startswith("> [!NOTE]\n> **Add by hand.** AWS denied `sns:CreateTopic`, and")
    assert "it is in `main.tf`" in first
    assert '"sns:CreateTopic"' in first
    assert "```hcl\nstatement {" in first
    assert [finding.action for finding in context_findings(context)] == ["sns:CreateTopic"]


def test_a_run_that_was_denied_to_extend_its_role_has_an_alert_of_its_own(tmp_path: Path) -> None:
    denied = {
        "event": "iam:PutRolePolicy",
        "region": "us-east-1",
        "parameters": {"roleName": "ci-deploy", "policyName": "more", "policyDocument": "{}"},
        "error": "AccessDenied",
        "message": (
            "User: arn:aws:sts::111122223333:assumed-role/ci-deploy/1 is not authorized to perform: iam:PutRolePolicy on resource:"
            " arn:aws:iam::111122223333:role/ci-deploy because no identity-based policy allows the iam:PutRolePolicy action"
        ),
    }
    context = proposed(tmp_path, denied).context
    assert context.ledger.denials[0].state is DenialState.NOT_ADDED
    first = markdown(first_screen(context))
    assert first.startswith(
        "> [!CAUTION]\n> **A run tried to extend its own permissions.** AWS denied"
        " `iam:PutRolePolicy` in `17650000100`. It is not added: find out who started the run.\n\n"
        "> [!NOTE]\n> **Nothing to change.** "
    )


def test_a_run_without_evidence_has_the_slip_in_its_title(tmp_path: Path) -> None:
    context = proposal(tmp_path, POLICY, []).context
    assert title(context) == "No evidence of ci-deploy: no record was read"
    assert markdown(first_screen(context)).startswith("> [!NOTE]\n> **No evidence.** ")


def test_a_use_by_unreviewed_runs_alone_is_on_the_first_screen(tmp_path: Path) -> None:
    run = {"first": "2026-10-20T15:00:00Z", "session": "17650099", "calls": [TAG]}
    unused = {**ALLOWS, "Sid": "More", "Action": ["sqs:TagQueue", "sqs:PurgeQueue"]}
    main_runs = {"first": "2026-09-01T10:00:00Z", "times": 12, "every-days": 4, "calls": [QUEUE]}
    unmarked = run_case({"policy": policy(unused), "runs": [main_runs, run]}, tmp_path).context
    origin = RunOrigin(Origin.UNREVIEWED, "the branch feature/x")
    context = with_parts(
        unmarked, evidence=replace(unmarked.evidence, origins={"17650099": origin})
    )
    assert context.ledger.unreviewed == {"sqs:TagQueue"}
    assert context.verdict.rule is VerdictRule.UNREVIEWED_USE
    assert "Only runs of unreviewed code used `sqs:TagQueue`" in body(context)


TAG = {
    "event": "sqs:TagQueue",
    "parameters": {
        "queueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/orders",
        "tags": {"a": "b"},
    },
}


def test_all_removed_actions_are_listed_those_without_a_record_first(tmp_path: Path) -> None:
    wildcard = {**ALLOWS, "Sid": "Keys", "Action": "kms:*", "Resource": "*"}
    context = proposed(
        tmp_path, policy=policy(wildcard), options={"unseen-services": "drop"}
    ).context
    removed = context.ledger.removed
    assert removed > 20
    text = body(context).partition("<summary>Removed: ")[2].partition("</details>")[0]
    unrecorded = context.ledger.grants_of(GrantState.REMOVED_UNRECORDED)
    for grant in context.ledger.grants_of(GrantState.REMOVED_RECORDED):
        assert f"`{grant.action}`" in text
    positions = [text.index(f"`{grant.action}`") for grant in unrecorded]
    recorded = text.partition("A use would have been recorded")[0]
    assert all(position < len(recorded) for position in positions)


def test_each_guard_of_a_removal_has_words_for_a_cell() -> None:
    rows = table("guards", leastpriv.proposal.__name__)
    removal = {row["name"] for row in rows if row["group"] == "removal"}
    words = {row["guard"] for row in table("guard_words", leastpriv.report.__name__)}
    assert removal <= words


def test_the_reason_of_a_guard_is_right_for_one_action_and_for_several() -> None:
    depends_on_number = re.compile(r"\b(?:it|its|they|them|their)\b")
    rows = table("guards", leastpriv.proposal.__name__)
    assert not [row["reason"] for row in rows if depends_on_number.search(row["reason"])]


def test_a_record_of_the_role_that_is_no_call_is_counted_with_the_reason(tmp_path: Path) -> None:
    context = proposed(tmp_path, {**QUEUE, "type": "AwsServiceEvent"}).context
    ledger = context.ledger
    assert ledger.records.calls == ledger.calls.total == 12
    assert context.ledger.records.others == {"AwsServiceEvent": 1}
    assert "| records | 13 | 12 call, 1 no call |" in body(context)


def test_a_condition_of_an_addition_is_in_the_table_of_the_first_screen(tmp_path: Path) -> None:
    path = Path(__file__).parents[1] / "cases" / "conditions-are-written.json"
    content = run_case(json.loads(path.read_text(encoding="utf-8")), tmp_path)
    first = markdown(first_screen(content.context))
    by_kind = "<br>only if `ec2:CreateAction` is<br>`CreateSecurityGroup`<br>needed by a call 3×"
    assert f"| **new:** `ec2:CreateTags`<br>on `security-group/*`{by_kind} | +1 |" in first
    passed = "only if `iam:PassedToService` is<br>`ecs-tasks.amazonaws.com`"
    assert f"| `iam:PassRole`<br>on `role/shop-task`<br>{passed} |" in first


def test_a_new_path_to_a_named_role_is_on_the_first_screen(tmp_path: Path) -> None:
    passes = {
        "Effect": "Allow",
        "Action": ["iam:PassRole", "lambda:CreateFunction", "lambda:InvokeFunction"],
        "Resource": ["arn:aws:iam::111122223333:role/worker", "arn:aws:lambda:*:*:function:app"],
    }
    options = {"keep": passes["Action"]}
    context = proposed(tmp_path, policy=policy(passes), options=options).context
    first = markdown(first_screen(context))
    assert "**Open path:** an attacker in one run can gain more permissions by passing" in first
    assert "`role/worker`" in first
    assert "which gives administrator only if `role/worker` has it" in first


def test_a_policy_without_such_a_path_has_no_line_of_one(tmp_path: Path) -> None:
    assert "to more permissions" not in markdown(first_screen(proposed(tmp_path).context))


def test_a_table_has_no_column_without_a_value() -> None:
    columns = (Column("Statement"), Column("Used"), Column("Still open"))
    rows = [TableRow(("`A`", "1", "–")), TableRow(("`B`", "", ""))]
    table = Table.of(columns, rows)
    assert [column.name for column in table.columns] == ["Statement", "Used"]
    assert [row.cells for row in table.rows] == [("`A`", "1"), ("`B`", "")]


_PARTS = st.sampled_from(["a", "word", "`a b`", "``x ` y``", "[`A b`](u#L4)", "`", "[", "1\u00a0→"])


@given(st.lists(_PARTS, min_size=1).map(" ".join), st.integers(min_value=1, max_value=30))
def test_lines_of_a_cell_lose_no_character_and_split_no_code(cell: str, longest: int) -> None:
    lines = in_lines(cell, longest)
    assert lines.replace("<br>", " ") == cell
    if "`" not in cell.replace("`a b`", "").replace("``x ` y``", "").replace("[`A b`](u#L4)", ""):
        assert all(
            line.count("`a b`") * 2 + line.count("`A b`") * 2 + line.count("``x ` y``") * 5
            == line.count("`")
            for line in lines.split("<br>")
        )
