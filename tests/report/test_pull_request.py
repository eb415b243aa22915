"""The pull request's text: the order of its sections, its limits, and inert names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from leastpriv.models import ChangeKind
from leastpriv.proposal.ledger import GrantState
from leastpriv.proposal.models import Change, GuardResult, HeldBackChange
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import visible
from leastpriv.report.first_screen import first_screen
from leastpriv.report.proposal_json import proposal_json
from leastpriv.report.pull_request import body, title
from leastpriv.report.screen_models import markdown
from tests.fakes.contexts import with_parts
from tests.fakes.deploys import (
    ALARM,
    CREATE_QUEUE,
    FIRST,
    POLICY,
    UPDATE,
    as_committed,
    deploys,
    proposal,
)
from tests.fakes.markdown import HOSTILE, read, table_widths
from tests.fakes.replace import replace
from tests.fakes.runs import Proposed
from tests.test_cases import CASES, run_case

LIMIT = 58_000
ALLOW = {"Effect": "Allow"}
MARKER = re.compile(r"<!-- leastpriv v=1 version=[0-9.]+ fingerprint=[0-9a-f]{32} -->")
THIRD = FIRST + timedelta(days=14, minutes=5)
"""During the third run."""
FOLD = re.compile(r"<details><summary>[A-Za-z0-9,.:_ -]+</summary>\n|</details>\n?")


def is_fold_or_statements(html: str) -> bool:
    """Whether a part of a body that is no text is the tag of a fold, or statements to copy."""
    if FOLD.fullmatch(html.strip() + "\n"):
        return True
    remainder = html.strip()
    while remainder:
        statement, end = json.JSONDecoder().raw_decode(remainder)
        assert {*statement} <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        remainder = remainder[end:].strip()
    return True


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    """The usual deploys: one addition, one narrowing, two removals."""
    return proposal(tmp_path_factory.mktemp("usual"), POLICY).context


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    """A policy without any change to propose."""
    records = deploys([UPDATE, CREATE_QUEUE])
    return proposal(tmp_path_factory.mktemp("settled"), as_committed(), records).context


@pytest.fixture(scope="module")
def sensitive(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    """The usual deploys with one sensitive call that the policy lacks, and one that must not be
    added.
    """
    attach = {"event": "iam:AttachRolePolicy", "region": "us-east-1"}
    parameters = {"roleName": "orders", "policyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}
    records = deploys([UPDATE, CREATE_QUEUE, {**attach, "parameters": parameters}])
    return proposal(
        tmp_path_factory.mktemp("sensitive"), POLICY, records, never_add="cloudwatch:*"
    ).context


def folds(text: str) -> list[str]:
    """The titles of the collapsed sections, up to their answer."""
    return [
        title.partition(":")[0]
        for title in re.findall(r"^<details><summary>(.+)</summary>$", text, re.MULTILINE)
    ]


def part(text: str, title: str) -> str:
    """The content of one collapsed section."""
    return text.partition(f"<details><summary>{title}")[2].partition("</details>")[0]


def test_the_first_screen_precedes_three_folds(sensitive: ReportContext) -> None:
    text = body(sensitive)
    assert text.startswith("> [!IMPORTANT]\n> **Security review, then merge.** It adds ")
    assert text.index("**For a security review:**") < text.index("<details>")
    assert folds(text) == [
        "Removed",
        "Evidence and replay",
        "Kept, offered, not known",
    ]


def test_folds_without_content_are_absent(settled: ReportContext) -> None:
    text = body(settled)
    assert folds(text) == ["Evidence and replay", "Kept, offered, not known"]
    assert "Merge" not in text


def test_the_first_screen_has_one_instruction_one_table_and_the_chance(
    usual: ReportContext,
) -> None:
    """A reviewer asks before merging whether the next deploy will fail."""
    first = body(usual).partition("<details>")[0]
    assert first.count("> [!") == 1
    assert re.findall(r"^\| \*{0,2}(`?\w+)", first, re.MULTILINE) == [
        "Statement",
        "`Functions",
        "`Queues",
        "`Topics",
        "new",
    ]
    assert (
        "**The next run is seldom denied.** No run could be judged by the policy"
        " of the runs before it." in first
    )
    assert len(first.split()) <= 450


@pytest.mark.parametrize(
    ("denied_runs", "word"),
    [(0, "run is seldom denied"), (2, "run may be denied"), (6, "run is likely denied")],
)
def test_the_word_follows_the_counts(usual: ReportContext, denied_runs: int, word: str) -> None:
    left_out, later = usual.proof.left_out, usual.proof.later_runs
    assert left_out
    assert later
    denied = {f"run-{number}": ("s3:GetObject",) for number in range(denied_runs)}
    actions = [("s3:GetObject",)] * min(denied_runs, 5) + [()] * (5 - min(denied_runs, 5))
    proof = replace(
        usual.proof,
        left_out=replace(left_out, runs=6, untried=0, not_checked=0, denied=denied),
        later_runs=replace(later, denied=dict(zip("abcde", actions, strict=True))),
    )
    assert f"{word}.** " in body(with_parts(usual, proof=proof))


def test_a_proposal_that_denies_recorded_calls_is_not_merged(usual: ReportContext) -> None:
    replay = replace(usual.proof.replay, denied=usual.evidence.groups[:1])
    proof = replace(usual.proof, replay=replay, newly_denied=(usual.evidence.groups[0].event,))
    text = body(with_parts(usual, proof=proof))
    assert text.startswith("> [!CAUTION]\n> **Do not merge.** It would deny recorded calls")


def test_a_call_that_neither_version_of_the_policy_allows_does_not_speak_against_the_change(
    usual: ReportContext,
) -> None:
    """Another policy of the role allowed it: the change denies nothing."""
    group = usual.evidence.groups[0]
    replay = replace(usual.proof.replay, denied=(group,), allowed=12 - group.count)
    text = body(with_parts(usual, proof=replace(usual.proof, replay=replay)))
    assert "Do not merge" not in text
    assert "**Rehearse first, then merge.** Neither the committed policy nor this one" in text
    verb = "is" if group.count == 1 else "are"
    neither = f"{group.count:,} {verb} allowed neither before nor after this change."
    assert f"{12 - group.count} remain allowed and {neither}" in text


def test_the_most_sensitive_removals_are_named_first(usual: ReportContext) -> None:
    first = usual.changes(ChangeKind.NARROW)[0]
    actions = (
        "lambda:ListAliases",
        "lambda:UpdateAlias",
        "lambda:AddPermission",
        "lambda:DeleteAlias",
    )
    narrowed = replace(first, removed_actions=actions, unproven={})
    text = body(with_parts(usual, proposal=replace(usual.proposal, changes=(narrowed,))))
    assert (
        "`lambda:AddPermission`, `lambda:DeleteAlias`, `lambda:UpdateAlias`, `lambda:ListAliases`"
        in text
    )
    assert "| 4, most\u00a0sensitive<br>`AddPermission` |" in text


def test_a_policy_that_granted_everything_lists_the_removed_actions_of_services_in_use_first(
    tmp_path: Path,
) -> None:
    policy_of_everything = {
        "Version": "2012-10-17",
        "Statement": [{**ALLOW, "Action": "*", "Resource": "*"}],
    }
    context = proposal(tmp_path, policy_of_everything).context
    text = body(context)
    assert len(text) <= LIMIT
    assert len(text.partition("<details>")[0].split()) <= 450
    unrecorded = context.ledger.grants_of(GrantState.REMOVED_UNRECORDED)
    in_use = [removal for removal in unrecorded if removal.guard != "unseen-service"]
    table = text.partition("#### No record could show a use")[2].partition("####")[0]
    assert in_use
    assert all(f"`{removal.action}`" in table for removal in in_use)
    value = json.loads(proposal_json(context, "", ""))["ledger"]["statements"][0]
    assert {*value["removed-unrecorded"]} == {removal.action for removal in unrecorded}


def test_the_chance_counts_only_runs_that_were_judged(usual: ReportContext) -> None:
    """Runs that could not be left out do not increase the certainty."""
    left_out = usual.proof.left_out
    assert left_out
    proof = replace(
        usual.proof, left_out=replace(left_out, runs=4, untried=1, not_checked=2, denied={})
    )
    assert with_parts(usual, proof=proof).chance.left_out == 3
    none = replace(proof, left_out=replace(left_out, runs=0, untried=0, not_checked=6, denied={}))
    assert with_parts(usual, proof=none).chance.left_out == 6


def test_the_proof_shows_the_confidence_that_the_guard_uses(tmp_path: Path) -> None:
    """Otherwise a service could be narrowed although the table shows less than
    `minimum-confidence`.
    """
    context = proposal(tmp_path, POLICY, minimum_confidence="100").context
    reasons = [
        held_back.guard_result.reason
        for held_back in context.proposal.held_back
        if held_back.guard_result.guard == "minimum-confidence"
    ]
    line = next(
        line
        for line in body(context).splitlines()
        if line.startswith("Confidence that the next run")
    )
    assert reasons
    for reason in reasons:
        percent = re.findall(r"confidence is (\d+) percent of at least 100", reason)[0]
        services = re.findall(r"runs? used (`.+?`)", reason)
        assert (f"{services[0]} {percent} %" if services else f"{percent} % in all") in line


def test_denials_and_held_back_changes_have_separate_sections(tmp_path: Path) -> None:
    context = proposal(tmp_path, POLICY, never_add="cloudwatch:*", keep="sns:*").context
    text = body(context)
    assert "- 1 because the input `keep` names the action (`keep`): `sns:CreateTopic`" in part(
        text, "Kept, offered, not known"
    )
    line = f"- `cloudwatch:PutMetricAlarm` on `{ALARM}` (1× in 1 run): "
    assert line in part(text, "Evidence and replay")


def test_the_table_counts_what_the_ledger_counts(usual: ReportContext) -> None:
    ledger, text = usual.ledger, body(usual)
    narrowed = ledger.statements[0]
    removed, doubted = len(narrowed.removed), len(narrowed.of(GrantState.REMOVED_UNRECORDED))
    before = len(narrowed.grants)
    change = f"{before}\u00a0→\u00a0**{before - removed}**"
    row = f"| `Functions`<br>`lambda:*` | {change} | 1 | {removed} ({doubted}\u00a0?)"
    assert row in text
    assert f"{doubted} of the {ledger.removed} removed actions leave no CloudTrail record" in text
    assert f"Removed: {ledger.removed} actions, {doubted} of them without a record" in text


def test_the_first_screen_says_that_nothing_changes(settled: ReportContext) -> None:
    assert body(settled).startswith("> [!NOTE]\n> **Nothing to change.** The policy has what")
    assert "denied.**" not in body(settled)
    assert title(settled) == "iam(ci-deploy): nothing to change"


def test_the_title_has_the_effect_and_the_role(usual: ReportContext) -> None:
    before = usual.ledger.count(*GrantState)
    remaining = before - usual.ledger.removed
    assert title(usual) == f"iam(ci-deploy): {before} -> {remaining} actions, plus 1 added"


def test_a_first_draft_says_that_it_is_one_and_removes_nothing(tmp_path: Path) -> None:
    context = proposal(tmp_path).context
    assert title(context) == "iam(ci-deploy): first draft with 5 actions"
    text = body(context)
    assert text.startswith("> [!IMPORTANT]\n> **Security review, then merge.**")
    row = next(line for line in text.splitlines() if "`function:orders` | 6 | 1 |" in line)
    assert "<br>`UpdateFunctionCode` | 3 |" in row
    assert row.count("(not\u00a0used\u00a0yet)") == 2
    assert "Removed" not in text


def test_an_addition_shows_resource_basis_times_runs_and_day(usual: ReportContext) -> None:
    line = f"- `cloudwatch:PutMetricAlarm` on `{ALARM}`: denied by AWS, 1× in 1 run, last in run `"
    (addition,) = [
        body_line for body_line in body(usual).splitlines() if body_line.startswith(line)
    ]
    assert addition.endswith(" on 2026-10-15")


def test_a_pattern_lists_what_it_covers_and_the_reason_of_its_wildcards(tmp_path: Path) -> None:
    """Two queues of three were deleted, and the pattern lets the role delete any: a reviewer must
    see that.
    """
    creations = [
        {"event": "sqs:CreateQueue", "parameters": {"queueName": f"orders-{run}"}}
        for run in (1, 2, 3)
    ]
    queue = "https://sqs.eu-west-1.amazonaws.com/111122223333/orders-"
    deleted = [
        {"event": "sqs:DeleteQueue", "parameters": {"queueUrl": f"{queue}{run}"}} for run in (2, 3)
    ]
    calls = [[creations[0]], [creations[1], deleted[0]], [creations[2], deleted[1]]]
    runs = [
        {"first": f"2026-11-{run:02}T10:00:00Z", "calls": run_calls}
        for run, run_calls in enumerate(calls, start=1)
    ]
    text = run_case({"policy": None, "runs": runs}, tmp_path).body
    section = text.partition("#### 1 resource without a whole name")[2].partition("####")[0]
    (row,) = [line for line in section.splitlines() if "orders-*" in line]
    assert "`sqs:CreateQueue`, `sqs:DeleteQueue`" in row
    assert all(f"orders-{run}`" in row for run in (1, 2, 3))
    assert "every run showed another" in row
    assert "also match resources that other teams create" in section


def test_a_resource_of_which_records_show_the_type_alone_is_listed(tmp_path: Path) -> None:
    creation = {
        "event": "ec2:CreateSecurityGroup",
        "parameters": {"groupName": "web", "vpcId": "vpc-0123456789abcdef0"},
        "response": {"groupId": "sg-0123456789abcdef0"},
    }
    text = run_case(
        {"policy": None, "runs": [{"first": "2026-11-01T10:00:00Z", "calls": [creation]}]}, tmp_path
    ).body
    section = text.partition("#### 1 resource without a whole name")[2].partition("</details>")[0]
    (row,) = [line for line in section.splitlines() if "security-group/*" in line]
    assert "the records show its type or a part of its name" in row
    assert "other teams" not in section


def test_exact_resources_have_no_wildcard_section(tmp_path: Path) -> None:
    call = {"event": "sqs:CreateQueue", "parameters": {"queueName": "orders"}}
    text = run_case(
        {"policy": None, "runs": [{"first": "2026-11-01T10:00:00Z", "calls": [call]}]}, tmp_path
    ).body
    assert "without a whole name" not in text


def test_a_removal_shows_its_statement_and_line_of_the_committed_file(usual: ReportContext) -> None:
    committed = usual.proposal.committed
    assert committed
    lines = committed.text.splitlines()
    removals = re.findall(
        r"- statement `(\w+)` \(line (\d+)\): 1 action\n  - `(sqs:PurgeQueue|sns:CreateTopic)`",
        body(usual),
    )
    assert [name for _, _, name in removals] == ["sqs:PurgeQueue", "sns:CreateTopic"]
    for sid, line, _ in removals:
        assert f'"Sid": "{sid}"' in "".join(lines[int(line) - 1 : int(line) + 1])


def test_the_proof_says_how_many_calls_were_replayed_and_what_is_not_evaluated(
    usual: ReportContext,
) -> None:
    assert (
        "- **12 of 12** successful calls are allowed by the result. Not evaluated: 1 call that AWS"
        " denied. SCPs, permissions boundaries and resource policies are not evaluated."
        in body(usual)
    )


def test_the_three_latest_runs_are_linked_oldest_first(tmp_path: Path) -> None:
    """A second resource that only early runs used must not appear among the latest."""
    early = {**UPDATE, "parameters": {"functionName": "zebra"}}
    late = deploys([UPDATE], first=FIRST + timedelta(days=21), times=3, number=3)
    records = [*deploys([CREATE_QUEUE]), *deploys([early], times=3), *late]
    policy = json.loads(json.dumps(POLICY).replace("function:orders", "function:*"))
    url = "https://github.com/octo-org/shop/actions/runs/{run}"
    text = proposal(tmp_path, policy, records, run_url=url).body
    latest = ", ".join(
        f"[{run}]({url.format(run=run)})" for run in (17650000003, 17650000004, 17650000005)
    )
    assert f"latest runs: {latest} and 3 earlier." in text


def test_the_marker_is_once_at_the_end_with_version_and_fingerprint(usual: ReportContext) -> None:
    text = body(usual)
    assert len(MARKER.findall(text)) == 1
    assert MARKER.fullmatch(text.splitlines()[-1])
    assert usual.fingerprint in text.splitlines()[-1]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Proposed:
    """Every name that an attacker can choose is hostile: objects, events, services, resources,
    Sids, the file.
    """
    bucket = "arn:aws:s3:::shop"
    put = [
        {
            "event": "s3:PutObject",
            "data": True,
            "parameters": {"bucketName": "shop", "key": text},
            "resources": [f"{bucket}/{text}"],
        }
        for text in HOSTILE
    ]
    events = [{"event": f"lambda:{text}"} for text in HOSTILE] + [
        {"event": f"{text}:Do"} for text in HOSTILE
    ]
    refused = [
        {
            "event": "s3:GetObject",
            "data": True,
            "error": "AccessDenied",
            "message": (
                f"User: x is not authorized to perform: s3:GetObject on resource: {bucket}/{text} "
                f"with an explicit deny in a service control policy {text}"
            ),
        }
        for text in HOSTILE
    ]
    statements = [
        {
            "Sid": text,
            "Effect": "Allow",
            "Action": ["sqs:CreateQueue", "sqs:PurgeQueue"],
            "Resource": f"*{text}",
        }
        for text in HOSTILE
    ]
    odd = [
        {"Sid": text, "Effect": "Allow", "Action": f"s3:{text}", "Resource": "*"}
        for text in HOSTILE
        if text != "*"
    ]
    policy: Mapping[str, Any] = {**POLICY, "Statement": [*POLICY["Statement"], *statements, *odd]}
    return proposal(
        tmp_path_factory.mktemp("hostile"),
        policy,
        [*deploys([UPDATE, *put, *events]), *deploys(refused, first=THIRD, times=1, number=2)],
        path="iam/" + "".join(HOSTILE[:12]),
        resources="exact",
        run_url="https://github.com/octo-org/shop/actions/runs/{run}",
    )


def test_hostile_names_are_inert(hostile: Proposed) -> None:
    page = read(f"## {hostile.title}\n\n{hostile.body}")
    marker = hostile.body.splitlines()[-1]
    assert page.html[-1].strip() == marker
    assert len(page.html) >= 5
    assert all(map(is_fold_or_statements, page.html[:-1]))
    assert page.links
    assert all(
        re.fullmatch(r"https://github.com/octo-org/shop/actions/runs/1765\d+", link)
        for link in page.links
    )
    assert set(page.acts()) == {*page.html, *page.links}


def test_the_marker_is_there_once_whatever_the_names(hostile: Proposed) -> None:
    assert hostile.body.count("<!--") == 1
    assert hostile.body.count("-->") >= 1
    assert MARKER.fullmatch(hostile.body.splitlines()[-1])


def test_reasons_that_quote_hostile_names_are_inert(usual: ReportContext) -> None:
    """A guard's reason quotes events and files: the tables of held-back changes, denials and kept
    actions.
    """
    reasons = [
        GuardResult(f"guard-{number}", f"unmapped-event: {text}")
        for number, text in enumerate(HOSTILE)
    ]
    held_back = tuple(
        HeldBackChange(ChangeKind.REMOVE, "s3:X", ("*",), reason) for reason in reasons
    )
    wildcard = usual.changes(ChangeKind.NARROW)[0]
    action_names = (*wildcard.removed_actions, *(wildcard.kept or ()))
    narrowed = replace(
        wildcard,
        removed_actions=(),
        unproven={},
        kept=dict(zip(action_names, reasons, strict=False)),
    )
    draft = replace(
        usual.proposal, changes=(narrowed,), held_back=held_back, held_back_additions=held_back
    )
    text = body(with_parts(usual, proposal=draft))
    page = read(text)
    assert set(page.acts()) == set(page.html)
    assert all(map(is_fold_or_statements, page.html[:-1]))
    assert all(len(numbers) == 1 for numbers in table_widths(text))
    assert page.codes.count("guard-4") == 2


def test_hostile_names_reach_every_section(hostile: Proposed) -> None:
    """Names of objects, events, statements and actions are evidence: omitting one would hide the
    attack.
    """
    for section in (
        "Evidence and replay",
        "Kept, offered, not known",
    ):
        code_texts = "\n".join(read(part(hostile.body, section)).codes)
        assert "evil.example" in code_texts or visible("@octo-org/security") in code_texts, section
    assert "gap-in-scope" in part(hostile.body, "Kept, offered, not known")


def test_hostile_names_cannot_lengthen_the_page(hostile: Proposed) -> None:
    assert len(hostile.body) <= LIMIT


def many(context: ReportContext, kind: ChangeKind, count: int = 5_000) -> ReportContext:
    """The context with its first change of a kind repeated, each on another long resource."""
    first = context.changes(kind)[0]
    changes = tuple(_numbered(first, number) for number in range(count))
    return with_parts(context, proposal=replace(context.proposal, changes=changes))


def _numbered(change: Change, number: int) -> Change:
    resources = tuple(f"arn:aws:s3:::{number}/{'x' * 200}" for _ in range(3))
    stays = dict(islice((change.kept or {}).items(), 3))
    return replace(
        change,
        resources=resources,
        sid=f"S{number}",
        kept=stays,
        security="changes who may do what",
    )


@pytest.mark.parametrize("kind", list(ChangeKind))
def test_five_thousand_changes_fit_a_page_with_a_complete_first_screen(
    usual: ReportContext, kind: ChangeKind
) -> None:
    context = many(usual, kind)
    text = body(context)
    assert len(text) <= LIMIT
    assert text.startswith(f"{markdown(first_screen(context))}\n\n")
    assert MARKER.fullmatch(text.splitlines()[-1])
    assert all(len(numbers) == 1 for numbers in table_widths(text))


def test_five_thousand_held_back_removals_and_additions_fit_too(usual: ReportContext) -> None:
    held_back = tuple(
        HeldBackChange(
            ChangeKind.ADD,
            f"s3:X{number}",
            ("*",),
            GuardResult("resource-type", f"reason {number} {'y' * 90}"),
        )
        for number in range(5_000)
    )
    context = with_parts(
        usual, proposal=replace(usual.proposal, held_back=held_back, held_back_additions=held_back)
    )
    text = body(context)
    assert len(text) <= LIMIT
    assert text.startswith("> [!WARNING]")
    assert "`sqs:PurgeQueue`" in text


def test_only_the_longest_section_is_truncated_and_says_where_the_rest_is(
    usual: ReportContext,
) -> None:
    text = body(many(usual, ChangeKind.ADD, 5_000))
    assert "more lines are in `proposal.json`" in text
    assert text.count("more lines are in") == 1
    assert len(text) > 0.8 * LIMIT


def case_of(name: str) -> dict[str, Any]:
    [path] = [path for path in CASES if path.stem == name]
    return dict(json.loads(path.read_text(encoding="utf-8")))


def case_body(name: str, folder: Path) -> str:
    return run_case(case_of(name), folder).body


def test_the_first_screen_says_which_condition_a_denied_call_did_not_meet(tmp_path: Path) -> None:
    text = case_body("deletion-that-a-tag-denied-returns-without-it", tmp_path)
    assert (
        "AWS denied a call under the committed condition that `aws:ResourceTag/project` is shop |"
        in text
    )


def test_a_first_draft_does_not_call_the_one_catalog_of_glue_every_resource_of_a_type(
    tmp_path: Path,
) -> None:
    names = {
        "CreateDatabase": {"databaseInput": {"name": "lake"}},
        "DeleteDatabase": {"name": "lake"},
    }
    calls = [
        {"event": f"glue:{name}", "parameters": parameters} for name, parameters in names.items()
    ]
    text = run_case(
        {"policy": None, "runs": [{"first": "2026-09-01T10:00:00Z", "calls": calls}]}, tmp_path
    ).body
    assert "`glue:DeleteDatabase`" in text
    assert "every resource of a type" not in text


def test_a_first_draft_shows_deletions_of_all_resources_of_a_type(tmp_path: Path) -> None:
    vpcs = [f"vpc-0a1b2c3d4e5f6071{number}" for number in range(3)]
    creations = [{"event": "ec2:CreateVpc", "response": {"vpc": {"vpcId": vpc}}} for vpc in vpcs]
    runs = [
        {
            "first": f"2026-09-0{day + 1}T10:00:00Z",
            "calls": [call, {"event": "ec2:DeleteVpc", "parameters": {"vpcId": vpc}}],
        }
        for day, (call, vpc) in enumerate(zip(creations, vpcs, strict=True))
    ]
    text = run_case({"policy": None, "runs": runs}, tmp_path).body
    assert (
        "**Too wide:** `ec2:DeleteVpc` on every resource of a type, since AWS chooses the ids."
        in text
    )


def test_a_long_draft_counts_its_offers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of("teardown-of-a-preview-grants-no-deletion-of-production")
    context = run_case(case, tmp_path).context
    offered = (
        "**Offered, not in this change:** 3 permissions to delete resources that may live long"
    )
    assert f"{offered}: `" in body(context)
    monkeypatch.setattr("leastpriv.report.context._SHORT_DRAFT", 0)
    text = body(context)
    assert f"{offered}; `proposal.json` has their statements." in text


def test_a_long_name_of_an_action_is_shown_whole_in_lines(tmp_path: Path) -> None:
    case = case_of("star-resource-narrows-in-place")
    entry = "secretsmanager:DescribeSecret"
    case["policy"]["Statement"].append({"Effect": "Allow", "Action": entry, "Resource": "*"})
    context = run_case(case, tmp_path).context
    table = first_screen(context).changes
    assert table
    cells = [row.cells[0] for row in table.rows]
    assert any(cell.endswith("<br>`secretsmanager:`<br>`DescribeSecret`") for cell in cells), cells


def test_a_probe_is_named_with_its_session_before_all_else(tmp_path: Path) -> None:
    text = case_body("burst-of-denials-is-a-probe", tmp_path)
    first_paragraph = text.partition("\n\n")[0]
    assert first_paragraph.startswith(
        "> [!CAUTION]\n> **No change is proposed, and this may be an attack.** No call of"
    )
    assert "who started `17650001`, last seen on 2026-09-01." in first_paragraph


@pytest.mark.parametrize(
    ("granted", "said"),
    [
        (["lambda:*"], "a run can use that role by passing it to a new Lambda function"),
        (["lambda:AddPermission"], "a run can use that role by passing it to a new Lambda"),
        (
            ["lambda:GetFunction"],
            "to use that role by passing it to a new Lambda function, a run also needs"
            " `lambda:InvokeFunction` or a similar action, which the policy lacks",
        ),
        (
            ["lambda:UpdateFunctionConfiguration", "lambda:UpdateFunctionCode"],
            "a run can use that role by passing it to a Lambda function whose code it replaces",
        ),
    ],
)
def test_a_passed_role_is_shown_with_what_uses_it_or_what_lacks_for_that(
    granted: list[str], said: str, tmp_path: Path
) -> None:
    case = case_of("denied-pass-role-with-its-role")
    case["policy"]["Statement"].append({"Effect": "Allow", "Action": granted, "Resource": "*"})
    first = run_case(case, tmp_path).body.partition("<details>")[0]
    assert said in first.replace("<br>", " ")


def test_a_function_that_a_run_may_invoke_is_the_one_that_it_may_create(tmp_path: Path) -> None:
    case = case_of("denied-pass-role-with-its-role")
    functions = "arn:aws:lambda:eu-west-1:111122223333:function:"
    case["policy"]["Statement"] = [
        {"Effect": "Allow", "Action": "sqs:CreateQueue", "Resource": "*"},
        {"Effect": "Allow", "Action": "lambda:CreateFunction", "Resource": f"{functions}orders-*"},
        {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": f"{functions}audit-log"},
    ]
    first = run_case(case, tmp_path).body.partition("<details>")[0]
    assert "a run also needs `lambda:InvokeFunction`" in first.replace("<br>", " ")


def test_an_addition_counts_its_denials_apart_from_the_calls_that_were_allowed(
    tmp_path: Path,
) -> None:
    text = case_body("denied-pass-role-with-its-role", tmp_path)
    assert "<br>on `role/orders-api`<br>denied by AWS 1× | +1 |" in text
    assert (
        "denied by AWS, 1× in 1 run, last in run `17650000100` on 2026-10-10; allowed calls need it"
        " too, 1×" in text
    )


def test_kept_actions_are_counted_by_reason_and_named(tmp_path: Path) -> None:
    text = case_body("second-run-proposes-nothing", tmp_path)
    assert "- 8 because CloudTrail would not show a use (`not-visible`): `sqs:" in text
    assert "- 4 because a later deploy updates or deletes what was created (`sibling`): " in text


def test_a_first_draft_shows_each_service_and_that_a_merge_changes_nothing_yet(
    tmp_path: Path,
) -> None:
    first = case_body("no-policy-yet", tmp_path).partition("<details>")[0]
    assert "Merging changes nothing in the account until you attach the policy." in first
    rows = re.findall(r"^\| \*\*`(\w+)`\*\*<br>`(\w+)` \| (\d+) \|", first, re.MULTILINE)
    assert rows == [
        ("iam", "PassRole", "1"),
        ("lambda", "CreateFunction", "1"),
        ("sqs", "CreateQueue", "1"),
    ]


def test_a_restricted_action_is_counted_once(tmp_path: Path) -> None:
    text = case_body("unrecorded-actions-are-kept-on-the-resources-of-the-runs", tmp_path)
    [total] = re.findall(r"#### Kept without a recorded use: (\d+) actions", text)
    parts = re.findall(r"^- (\d+) because .+ \(`", text, re.MULTILINE)
    assert sum(map(int, parts)) == int(total)
    assert "without a record of its use: `kinesis:GetRecords`" in text
