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
from leastpriv.proposal.models import Change, GuardResult, HeldBackChange
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import visible
from leastpriv.report.phrases import share
from leastpriv.report.pull_request import body, title
from leastpriv.report.verdict import verdict
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
MARKER = re.compile(r"<!-- leastpriv v=1 version=[0-9.]+ fingerprint=[0-9a-f]{32} -->")
THIRD = FIRST + timedelta(days=14, minutes=5)
"""During the third run."""
FOLD = re.compile(r"<details><summary>[A-Za-z0-9,.:_ -]+</summary>\n|</details>\n?")


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


def test_the_first_screen_precedes_the_changes_the_evidence_the_limits_and_the_proof(
    sensitive: ReportContext,
) -> None:
    text = body(sensitive)
    assert text.startswith("**Safe to merge? After a security review.**")
    assert text.index("**For a security review:**") < text.index("<details>")
    assert folds(text) == [
        "Changes",
        "Evidence",
        "Escalation",
        "Kept without a recorded use",
        "Suggested, not included",
        "Could not be seen",
        "Proof",
        "What happens next",
    ]
    assert re.findall(r"^#### (.+)$", part(text, "Changes"), re.MULTILINE) == [
        "Added",
        "Narrowed",
        "Removed",
    ]


def test_findings_without_content_have_no_section(settled: ReportContext) -> None:
    text = body(settled)
    assert folds(text) == ["Evidence", "Escalation", "Could not be seen", "Proof"]
    assert "Merge" not in text


def test_the_first_screen_has_the_chance_the_replay_the_limits_and_each_kind_of_change(
    usual: ReportContext,
) -> None:
    """A reviewer asks before merging whether the next deploy will fail."""
    first = body(usual).partition("<details>")[0].splitlines()
    starts = [re.match(r"- \*\*(.+?)\*\*", line) for line in first if line.startswith("- ")]
    assert [found[1] for found in starts if found] == [
        "Chance",
        "Replay:",
        "Not known:",
        "Adds 1:",
        "Removes",
        "Narrows",
        "Still too wide:",
    ]
    chance = f"needs an action this policy lacks: about {share(usual.proof.chance)}, from 6 runs."
    assert any(line.endswith(chance) for line in first)
    assert len(" ".join(first).split()) <= 250


@pytest.mark.parametrize(
    ("denied_runs", "answer"),
    [(0, "Probably"), (3, "Not yet")],
    ids=["no-surprise", "half-of-the-runs"],
)
def test_the_answer_follows_the_chance(usual: ReportContext, denied_runs: int, answer: str) -> None:
    left_out = usual.proof.left_out
    assert left_out
    denied = {f"run-{number}": ("s3:GetObject",) for number in range(denied_runs)}
    proof = replace(
        usual.proof, left_out=replace(left_out, runs=6, untried=0, not_checked=0, denied=denied)
    )
    assert verdict(replace(usual, proof=proof)).startswith(f"**Safe to merge? {answer}.**")


def test_a_proposal_that_denies_recorded_calls_is_not_safe_to_merge(usual: ReportContext) -> None:
    replay = replace(usual.proof.replay, denied=usual.evidence.groups[:1])
    proof = replace(usual.proof, replay=replay, newly_denied=(usual.evidence.groups[0].event,))
    assert verdict(replace(usual, proof=proof)).startswith("**Safe to merge? No.** It would deny")


def test_a_call_that_neither_version_of_the_policy_allows_does_not_speak_against_the_change(
    usual: ReportContext,
) -> None:
    """Another policy of the role allowed it: the change denies nothing."""
    replay = replace(usual.proof.replay, denied=usual.evidence.groups[:1])
    context = replace(usual, proof=replace(usual.proof, replay=replay))
    assert not verdict(context).startswith("**Safe to merge? No.**")
    count = usual.evidence.groups[0].count
    assert f"; the other {count:,} need permissions that this change does not write." in body(
        context
    )


def test_the_riskiest_removals_are_named_first(usual: ReportContext) -> None:
    first = usual.changes(ChangeKind.NARROW)[0]
    actions = (
        "lambda:ListAliases",
        "lambda:UpdateAlias",
        "lambda:AddPermission",
        "lambda:DeleteAlias",
    )
    narrowed = replace(first, removed_actions=actions)
    text = body(replace(usual, proposal=replace(usual.proposal, changes=(narrowed,))))
    assert (
        "`lambda:AddPermission`, `lambda:DeleteAlias`, `lambda:UpdateAlias`, `lambda:ListAliases`"
        in text
    )


def test_a_policy_that_granted_everything_has_a_short_body(usual: ReportContext) -> None:
    actions = tuple(
        f"{service}:Get{number}" for service in ("ec2", "iam", "s3") for number in range(7_000)
    )
    first = usual.changes(ChangeKind.NARROW)[0]
    wide = replace(first, action="*", granted=22_000, removed_actions=actions)
    text = body(replace(usual, proposal=replace(usual.proposal, changes=(wide,))))
    assert len(text.split()) <= 900
    assert "`ec2` 7,000, `iam` 7,000, `s3` 7,000" in text


def test_the_chance_names_only_the_runs_behind_it(usual: ReportContext) -> None:
    """Runs that could not be left out do not increase the certainty."""
    left_out = usual.proof.left_out
    assert left_out
    proof = replace(
        usual.proof, left_out=replace(left_out, runs=4, untried=1, not_checked=2, denied={})
    )
    assert "about 12 %, a rough guess from 3 of 6 runs." in body(replace(usual, proof=proof))
    none = replace(proof, left_out=replace(left_out, runs=0, untried=0, not_checked=6, denied={}))
    assert none.confidence
    assert (none.chance_runs, none.chance) == (6, none.confidence.whole.chance)


def test_the_proof_shows_the_confidence_that_the_guard_uses(tmp_path: Path) -> None:
    """Otherwise a service could be narrowed although the table shows less than
    `minimum-confidence`.
    """
    context = proposal(tmp_path, POLICY, minimum_confidence="100").context
    held = [
        each.guard_result.reason
        for each in context.proposal.held_back
        if each.guard_result.guard == "minimum-confidence"
    ]
    line = next(
        line
        for line in body(context).splitlines()
        if line.startswith("Confidence that the next run")
    )
    assert held
    for reason in held:
        percent = re.findall(r"confidence is (\d+) percent of at least 100", reason)[0]
        named = re.findall(r"runs? used (`.+?`)", reason)
        assert (f"{named[0]} {percent} %" if named else f"{percent} % in all") in line


def test_a_very_small_chance_is_an_upper_bound() -> None:
    assert (share(0.001), share(0.0149), share(0.083), share(0.5)) == (
        "1 % or less",
        "1 % or less",
        "8 %",
        "50 %",
    )


def test_denials_and_held_back_changes_have_separate_sections(tmp_path: Path) -> None:
    context = proposal(tmp_path, POLICY, never_add="cloudwatch:*", keep="sns:*").context
    text = body(context)
    assert "- 1 because the input `keep` names them (`keep`): `sns:CreateTopic`" in part(
        text, "Kept without a recorded use"
    )
    assert f"- `cloudwatch:PutMetricAlarm` on `{ALARM}` (1× in 1 run): " in part(text, "Changes")


def test_the_first_screen_counts_changes_and_evidence(usual: ReportContext) -> None:
    narrowed = next(iter(usual.changes(ChangeKind.NARROW)))
    granted = (
        f"from {narrowed.granted} to {narrowed.granted - len(narrowed.removed_actions)} actions (1"
        " used)"
    )
    text = body(usual)
    assert text.startswith(verdict(usual))
    assert verdict(usual).endswith(
        "5 removed actions may leave no record: rehearse the change first."
    )
    assert granted in text
    assert "- **Removes** 2 unused entries and " in text


def test_the_verdict_says_that_nothing_changes(settled: ReportContext) -> None:
    assert verdict(settled).startswith("**Nothing to change.**")
    assert "Chance" not in body(settled)
    assert title(settled) == "Least privilege for ci-deploy: nothing to change"


def test_the_title_counts_changes_by_kind_and_names_the_role(usual: ReportContext) -> None:
    assert title(usual) == "Least privilege for ci-deploy: add 1, narrow 1, remove 2"


def test_a_first_draft_says_that_it_is_one_and_removes_nothing(tmp_path: Path) -> None:
    context = proposal(tmp_path).context
    assert title(context) == "First least-privilege policy for ci-deploy"
    assert verdict(context).startswith("**Safe to merge? After a security review.**")
    text = body(context)
    assert "- **Grants 5 actions** of " in text
    assert "#### Narrowed" not in text
    assert "#### Removed" not in text


def test_an_addition_shows_resource_basis_times_runs_and_day(usual: ReportContext) -> None:
    line = f"- `cloudwatch:PutMetricAlarm` on `{ALARM}`: denied by AWS, 1× in 1 run, last in `"
    (shown,) = [each for each in body(usual).splitlines() if each.startswith(line)]
    assert shown.endswith(" on 2026-10-15")


def test_a_pattern_lists_what_it_covers_and_the_reason_of_its_wildcards(tmp_path: Path) -> None:
    """Two queues of three were deleted, and the pattern lets the role delete any: a reviewer must
    see that.
    """
    made = [
        {"event": "sqs:CreateQueue", "parameters": {"queueName": f"orders-{run}"}}
        for run in (1, 2, 3)
    ]
    queue = "https://sqs.eu-west-1.amazonaws.com/111122223333/orders-"
    deleted = [
        {"event": "sqs:DeleteQueue", "parameters": {"queueUrl": f"{queue}{run}"}} for run in (2, 3)
    ]
    calls = [[made[0]], [made[1], deleted[0]], [made[2], deleted[1]]]
    runs = [
        {"first": f"2026-11-{run:02}T10:00:00Z", "calls": own}
        for run, own in enumerate(calls, start=1)
    ]
    text = run_case({"policy": None, "runs": runs}, tmp_path).body
    section = text.partition("#### 1 name pattern")[2].partition("####")[0]
    (row,) = [line for line in section.splitlines() if "orders-*" in line]
    assert "`sqs:CreateQueue`, `sqs:DeleteQueue`" in row
    assert all(f"orders-{run}`" in row for run in (1, 2, 3))
    assert "every run showed another" in row
    assert "also match resources that other teams create" in section


def test_exact_resources_have_no_wildcard_section(tmp_path: Path) -> None:
    call = {"event": "sqs:CreateQueue", "parameters": {"queueName": "orders"}}
    text = run_case(
        {"policy": None, "runs": [{"first": "2026-11-01T10:00:00Z", "calls": [call]}]}, tmp_path
    ).body
    assert "name pattern" not in text


def test_a_removal_shows_its_statement_and_line_of_the_committed_file(usual: ReportContext) -> None:
    committed = usual.proposal.committed
    assert committed
    lines = committed.text.splitlines()
    found = re.findall(
        r"- `(sqs:PurgeQueue|sns:CreateTopic)`, statement `(\w+)` \(line (\d+)\)", body(usual)
    )
    assert [name for name, _, _ in found] == ["sqs:PurgeQueue", "sns:CreateTopic"]
    for _, sid, line in found:
        assert f'"Sid": "{sid}"' in "".join(lines[int(line) - 1 : int(line) + 1])


def test_the_proof_says_how_many_calls_were_replayed_and_what_is_not_evaluated(
    usual: ReportContext,
) -> None:
    assert (
        "- **12 of 12** successful calls are allowed by the result. SCPs, permissions boundaries"
        " and resource policies are not evaluated." in body(usual)
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
    assert f"Latest runs: {latest} and 3 earlier." in text


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
    assert len(page.html) > 10
    assert all(FOLD.fullmatch(html.strip() + "\n") for html in page.html[:-1])
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
    held = tuple(HeldBackChange(ChangeKind.REMOVE, "s3:X", ("*",), reason) for reason in reasons)
    narrowed = replace(
        usual.changes(ChangeKind.NARROW)[0],
        kept={f"lambda:X{number}": reason for number, reason in enumerate(reasons)},
    )
    draft = replace(usual.proposal, changes=(narrowed,), held_back=held, held_back_additions=held)
    text = body(replace(usual, proposal=draft))
    page = read(text)
    assert set(page.acts()) == set(page.html)
    assert all(FOLD.fullmatch(html.strip() + "\n") for html in page.html[:-1])
    assert all(len(numbers) == 1 for numbers in table_widths(text))
    assert page.codes.count("guard-4") == 2


def test_hostile_names_reach_every_section(hostile: Proposed) -> None:
    """Names of objects, events, statements and actions are evidence: omitting one would hide the
    attack.
    """
    for section in (
        "Changes",
        "Could not be seen",
        "Kept without a recorded use",
        "What happens next",
    ):
        shown = "\n".join(read(part(hostile.body, section)).codes)
        assert "evil.example" in shown or visible("@octo-org/security") in shown, section
    assert "gap-in-scope" in part(hostile.body, "Kept without a recorded use")


def test_hostile_names_cannot_lengthen_the_page(hostile: Proposed) -> None:
    assert len(hostile.body) <= LIMIT


def many(context: ReportContext, kind: ChangeKind, count: int = 5_000) -> ReportContext:
    """The context with its first change of a kind repeated, each on another long resource."""
    first = context.changes(kind)[0]
    changes = tuple(_numbered(first, number) for number in range(count))
    return replace(context, proposal=replace(context.proposal, changes=changes))


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
def test_five_thousand_changes_fit_a_page_with_complete_verdict_and_proof(
    usual: ReportContext, kind: ChangeKind
) -> None:
    context = many(usual, kind)
    text = body(context)
    assert len(text) <= LIMIT
    assert text.startswith(f"{verdict(context)}\n\n")
    additions = " beyond the listed additions"
    assert part(text, "Proof").replace(additions, "") == part(body(usual), "Proof").replace(
        additions, ""
    )
    assert MARKER.fullmatch(text.splitlines()[-1])
    assert all(len(numbers) == 1 for numbers in table_widths(text))


def test_five_thousand_held_back_removals_and_additions_fit_too(usual: ReportContext) -> None:
    held = tuple(
        HeldBackChange(
            ChangeKind.ADD,
            f"s3:X{number}",
            ("*",),
            GuardResult("resource-type", f"reason {number} {'y' * 90}"),
        )
        for number in range(5_000)
    )
    context = replace(
        usual, proposal=replace(usual.proposal, held_back=held, held_back_additions=held)
    )
    text = body(context)
    assert len(text) <= LIMIT
    assert text.startswith(verdict(usual))
    assert "`sqs:PurgeQueue`" in text


def test_only_the_longest_section_is_truncated_and_says_where_the_rest_is(
    usual: ReportContext,
) -> None:
    text = body(many(usual, ChangeKind.ADD, 5_000))
    assert "more lines are in `proposal.json`" in text
    assert text.count("more lines are in") == 1
    assert len(text) > 0.8 * LIMIT


def case_body(name: str, folder: Path) -> str:
    [path] = [path for path in CASES if path.stem == name]
    case = json.loads(path.read_text(encoding="utf-8"))
    return run_case(case, folder).body


def test_the_first_screen_says_which_condition_a_denied_call_did_not_meet(tmp_path: Path) -> None:
    text = case_body("deletion-that-a-tag-denied-returns-without-it", tmp_path)
    assert (
        "AWS denied a call under the committed condition that `aws:ResourceTag/project` is shop)"
        in text
    )


def test_a_first_draft_does_not_call_the_one_catalog_of_glue_every_resource_of_a_type(
    tmp_path: Path,
) -> None:
    names = {
        "CreateDatabase": {"databaseInput": {"name": "lake"}},
        "DeleteDatabase": {"name": "lake"},
    }
    calls = [{"event": f"glue:{name}", "parameters": given} for name, given in names.items()]
    text = run_case(
        {"policy": None, "runs": [{"first": "2026-09-01T10:00:00Z", "calls": calls}]}, tmp_path
    ).body
    assert "`glue:DeleteDatabase`" in text
    assert "every resource of a type" not in text


def test_a_first_draft_names_deletions_of_all_resources_of_a_type_as_too_wide(
    tmp_path: Path,
) -> None:
    vpcs = [f"vpc-0a1b2c3d4e5f6071{number}" for number in range(3)]
    made = [{"event": "ec2:CreateVpc", "response": {"vpc": {"vpcId": each}}} for each in vpcs]
    runs = [
        {
            "first": f"2026-09-0{day + 1}T10:00:00Z",
            "calls": [call, {"event": "ec2:DeleteVpc", "parameters": {"vpcId": each}}],
        }
        for day, (call, each) in enumerate(zip(made, vpcs, strict=True))
    ]
    text = run_case({"policy": None, "runs": runs}, tmp_path).body
    assert "`ec2:DeleteVpc` on every resource of a type, since AWS chooses the ids." in text


def test_a_probe_is_named_with_its_session_before_all_else(tmp_path: Path) -> None:
    text = case_body("burst-of-denials-is-a-probe", tmp_path)
    assert text.startswith(
        "**No change is proposed, and this may be an attack.** No call of `ci-deploy` succeeded"
    )
    assert "who started `17650001`, last seen on 2026-09-01." in text.splitlines()[0]
    assert (
        "too few days: `iam:PassRole` on `arn:aws:iam::111122223333:role/orders-api`,"
        " `sqs:CreateQueue` on" in text
    )


def test_a_passed_role_is_shown_with_the_granted_action_that_uses_it(tmp_path: Path) -> None:
    first = case_body("denied-pass-role-with-its-role", tmp_path).partition("<details>")[0]
    assert (
        "it lets a service act as the role that it receives. Together with `lambda:CreateFunction`,"
        " which the policy grants on every resource, a run can use the permissions of the role by"
        " passing it to a new Lambda function" in first
    )


def test_an_addition_counts_its_denials_apart_from_the_calls_that_were_allowed(
    tmp_path: Path,
) -> None:
    text = case_body("denied-pass-role-with-its-role", tmp_path)
    assert "(denied by AWS in `17650000100`, **for a security review**)" in text
    assert (
        "denied by AWS, 1× in 1 run, last in `17650000100` on 2026-10-10; allowed calls need it"
        " too, 1×" in text
    )


def test_few_kept_actions_are_named_with_their_resources_and_counterparts_counted_apart(
    tmp_path: Path,
) -> None:
    text = case_body("second-run-proposes-nothing", tmp_path)
    [line] = [line for line in text.splitlines() if line.startswith("- **Still too wide:**")]
    assert (
        "8 actions kept without a recorded use, because their use would leave no record: " in line
    )
    assert (
        "`sqs:ReceiveMessage` on `arn:aws:sqs:eu-west-1:111122223333:orders-*`. 4 more are kept for"
        " later" in line
    )
    assert "`sqs:DeleteQueue`" not in line


def test_a_first_draft_names_what_it_grants_and_that_a_merge_changes_nothing_yet(
    tmp_path: Path,
) -> None:
    first = case_body("no-policy-yet", tmp_path).partition("<details>")[0]
    assert "Merging changes nothing in the account until you attach the policy." in first
    assert (
        "inferred from recorded calls: `iam:PassRole`, `lambda:CreateFunction`, `sqs:CreateQueue`."
        in first
    )
    assert "all 3 successful calls allowed (1 needs no permission)." in first


def test_the_first_screen_counts_a_restricted_action_once_as_the_list_of_kept_actions_does(
    tmp_path: Path,
) -> None:
    text = case_body("unrecorded-actions-are-kept-on-the-resources-of-the-runs", tmp_path)
    [line] = [line for line in text.splitlines() if line.startswith("- **Still too wide:**")]
    [listed] = re.findall(r"Kept without a recorded use: (\d+) actions", text)
    [unseen, *later] = map(
        int, re.findall(r"(\d+)(?: actions kept| more (?:is|are) kept for later)", line)
    )
    assert unseen + sum(later) == int(listed)
    assert "without a record of its use: `kinesis:GetRecords`" in text
