"""The page is complete, loads nothing, and no name in it acts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import html5lib
import pytest
from msgspec import structs

from leastpriv.evidence.role_chain import RoleChain, RoleLink, RoleLinkKind
from leastpriv.models import Basis, Usage
from leastpriv.permissions.generalize import Certainty, Pattern
from leastpriv.proposal.models import Change, GuardResult
from leastpriv.proposal.suggestions import SuggestedAction
from leastpriv.report import html
from leastpriv.report.context import ReportContext
from leastpriv.report.html import target_view
from leastpriv.report.pull_request import body
from leastpriv.report.role_chain import RoleChainPolicies
from leastpriv.report.targets import TargetRow
from tests.fakes.contexts import with_parts
from tests.fakes.deploys import ALARM, POLICY, ROLE, proposal
from tests.fakes.markdown import HOSTILE, OF_THE_GUIDE
from tests.fakes.replace import replace

SVG = "{http://www.w3.org/2000/svg}"
RUNS = "https://github.com/acme/orders/actions/runs/{run}"


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    """One addition, one narrowing, two removals; six runs, one with a denied call."""
    return proposal(tmp_path_factory.mktemp("usual"), POLICY, run_url=RUNS).context


def page(contexts: Sequence[ReportContext]) -> str:
    """The page of some proposals."""
    return html.page(
        [TargetRow(context.principal, context.policy_file, context=context) for context in contexts]
    )


def parsed(text: str) -> Element:
    """Parses like a browser; strict, so that an error of the template fails."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def all_text(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def tags(element: Element) -> list[str]:
    return [str(node.tag) for node in element.iter()]


def test_it_loads_nothing_and_names_no_other_host(usual: ReportContext) -> None:
    root = parsed(page([usual]))
    assert not [
        element
        for element in root.iter()
        if element.get("src") or element.tag in ("link", "iframe", "object", "base")
    ]
    addresses = [
        href
        for link in root.iter("a")
        if (href := link.get("href", "")) and not href.startswith("#")
    ]
    assert addresses
    reference = r"https://docs\.aws\.amazon\.com/service-authorization/latest/reference/list_\w+\.html(#\w+-\w+)?"
    run = r"https://github\.com/acme/orders/actions/runs/\d+"
    allowed = re.compile(f"{reference}|{run}|{OF_THE_GUIDE.pattern}")
    assert all(allowed.fullmatch(address) for address in addresses)


def test_only_the_embedded_style_and_script_run(usual: ReportContext) -> None:
    [policy] = [
        meta.get("content", "")
        for meta in parsed(page([usual])).iter("meta")
        if meta.get("http-equiv")
    ]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"\sstyle=|\son\w+=", page([usual]))


def test_the_page_has_every_change_with_its_evidence(usual: ReportContext) -> None:
    changes = [
        details
        for details in parsed(page([usual])).iter("details")
        if "change" in details.get("class", "")
    ]
    assert len(changes) == len(usual.proposal.changes)
    [added] = [all_text(change) for change in changes if "add" in change.get("class", "").split()]
    assert "cloudwatch:PutMetricAlarm denied in 1 run, last 2026-10-15" in added
    assert ALARM in added


def test_each_changed_line_of_the_policy_has_its_evidence(usual: ReportContext) -> None:
    lines = {line["action"]: line for line in target_view(usual, 1)["diff"] if line["action"]}
    assert (lines["sqs:PurgeQueue"]["sign"], lines["sqs:PurgeQueue"]["basis"]) == ("-", "removed")
    assert "no call in 35 days and 6 runs" in lines["sqs:PurgeQueue"]["evidence"]
    assert (
        lines["lambda:UpdateFunctionCode"]["sign"],
        lines["lambda:UpdateFunctionCode"]["basis"],
    ) == ("+", "used")
    assert (
        "used in 6 runs, last 2026-11-05: [17650000005]"
        in lines["lambda:UpdateFunctionCode"]["evidence"]
    )
    assert lines["cloudwatch:PutMetricAlarm"]["basis"] == "added"
    assert any(
        line["basis"] == "kept" and line["evidence"].startswith("kept: ") for line in lines.values()
    )


def test_a_resource_that_no_request_named_says_so_at_its_line(usual: ReportContext) -> None:
    added = next(
        change for change in usual.proposal.changes if change.action.startswith("cloudwatch:")
    )
    (resource,) = added.resources
    answered = replace(added, patterns=(Pattern(resource, (), (), Certainty.FROM_ANSWER),))
    changes = tuple(answered if change is added else change for change in usual.proposal.changes)
    context = with_parts(usual, proposal=replace(usual.proposal, changes=changes))
    lines = [line for line in target_view(context, 1)["diff"] if resource in line["text"]]
    assert [line["evidence"] for line in lines] == [
        "the answer of a call names it, not the request"
    ]


def test_an_action_leads_to_its_documentation(usual: ReportContext) -> None:
    addresses = {link.get("href") for link in parsed(page([usual])).iter("a")}
    reference = "https://docs.aws.amazon.com/service-authorization/latest/reference"
    assert f"{reference}/list_amazoncloudwatch.html#amazoncloudwatch-PutMetricAlarm" in addresses
    assert f"{reference}/list_awslambda.html" in addresses


def test_the_life_cycle_names_what_is_kept_and_what_no_policy_grants(usual: ReportContext) -> None:
    counterpart = SuggestedAction("sqs:TagQueue", Basis.LIFECYCLE, "sqs:CreateQueue")
    later = SuggestedAction("sqs:DeleteQueue", Basis.LIFECYCLE, "sqs:CreateQueue")
    context = replace(usual, kept_counterparts=(counterpart,), suggested_actions=(later,))
    [life_cycle] = target_view(context, 1)["life_cycles"]
    assert life_cycle == {
        "action": "sqs:CreateQueue",
        "kept": ["sqs:TagQueue"],
        "suggested": ["sqs:DeleteQueue"],
    }


def test_granted_used_and_remaining_actions_are_counted_by_service(usual: ReportContext) -> None:
    bars = {bar["service"]: bar for bar in target_view(usual, 1)["bars"]}
    [narrowed] = [change for change in usual.proposal.changes if change.action == "lambda:*"]
    functions = bars["lambda"]
    assert (functions["granted"], functions["used"]) == (narrowed.granted, 1)
    assert functions["after"] == narrowed.granted - len(narrowed.removed_actions)
    assert (bars["sqs"]["granted"], bars["sqs"]["used"], bars["sqs"]["after"]) == (2, 1, 1)
    assert (bars["cloudwatch"]["granted"], bars["cloudwatch"]["after"]) == (0, 1)
    assert target_view(usual, 1)["bars"][0]["service"] == "lambda"


def test_a_run_with_a_denied_call_has_another_shape(usual: ReportContext) -> None:
    root = parsed(page([usual]))
    [time] = [drawing for drawing in root.iter(f"{SVG}svg") if drawing.get("class") == "time"]
    assert (len(list(time.iter(f"{SVG}circle"))), len(list(time.iter(f"{SVG}path")))) == (5, 1)
    assert "6 runs from 2026-10-01 to 2026-11-05, 1 with denied calls" in time.get("aria-label", "")


def test_the_role_chain_is_drawn_and_described(usual: ReportContext) -> None:
    first_role, deploy, last = ROLE, f"{ROLE[:-9]}cdk-deploy", f"{ROLE[:-9]}cdk-exec"
    links = (
        RoleLink(first_role, deploy, RoleLinkKind.ASSUMED, count=6),
        RoleLink(deploy, last, RoleLinkKind.PASSED, "CloudFormation", count=2),
        RoleLink(last, first_role, RoleLinkKind.ASSUMED, count=1),
    )
    context = replace(
        usual,
        chained=RoleChainPolicies(
            RoleChain((first_role,), links, left_out=3), frozenset({first_role})
        ),
    )
    root = parsed(page([context]))
    [drawn] = [drawing for drawing in root.iter(f"{SVG}svg") if drawing.get("class") == "chain"]
    assert [label.text for label in drawn.iter(f"{SVG}text")] == [
        "cdk-deploy",
        "cdk-exec",
        "ci-deploy",
    ]
    assert [group.get("class") for group in drawn.iter(f"{SVG}g")] == ["open", "open", "kept"]
    text = all_text(root)
    assert "ci-deploy assumes cdk-deploy (6 calls)" in text
    assert "cdk-deploy passes cdk-exec to CloudFormation (2 calls)" in text
    assert "And 3 further roles, not followed." in text


def test_several_roles_share_a_page_with_a_table_of_roles(usual: ReportContext) -> None:
    root = parsed(page([usual, usual]))
    [nav] = root.iter("nav")
    targets = [link.get("href") for link in nav.iter("a")]
    assert [f"#{article.get('id')}" for article in root.iter("article")] == targets
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def fleet(*rows: TargetRow) -> list[list[str]]:
    """The cells of the table of roles."""
    [nav] = parsed(html.page(rows)).iter("nav")
    return [[all_text(cell) for cell in row] for row in nav.iter("tr")]


def test_the_table_of_roles_has_figures_verdict_chance_and_last_run_of_each(
    usual: ReportContext,
) -> None:
    draft = with_parts(usual, proposal=replace(usual.proposal, changes=()))
    _, first, second = fleet(
        *(TargetRow(ROLE, "iam/x.json", context=context) for context in (usual, draft))
    )
    bars = target_view(usual, 1)["bars"]
    assert first[2:5] == [
        str(sum(bar[kind] for bar in bars)) for kind in ("granted", "used", "after")
    ]
    assert first[5:] == ["Rehearse first, then merge", "seldom", "6", "2026-11-05"]
    assert second[5] == "Nothing to change"
    assert second[4] == second[2]


def test_a_failed_target_is_first_in_the_table_with_its_reason_and_account(
    usual: ReportContext,
) -> None:
    other_role = ROLE.replace("111122223333", "222233334444")
    good = TargetRow(
        ROLE, "iam/x.json", context=usual, pull_request="https://github.com/acme/orders/pull/1"
    )
    head, first, second = fleet(good, TargetRow(other_role, "iam/y.json", failure="No <call>."))
    assert head[0] == "Account"
    assert first == [
        "222233334444",
        "role/ci-deploy",
        "iam/y.json",
        "–",
        "–",
        "–",
        "Failed: No <call>.",
        "–",
        "–",
        "–",
    ]
    assert second[6].endswith("pull request")
    assert fleet(TargetRow(other_role, "iam/y.json", failure="x"))[1][5] == "Failed: x"


def test_of_a_large_fleet_the_widest_targets_that_fit_have_details(
    usual: ReportContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "_LARGEST_OF_A_FLEET", 200_000)
    text = page([usual] * 21)
    assert len(text.encode()) <= 200_000
    root = parsed(text)
    [nav] = root.iter("nav")
    targets = [link.get("href") for link in nav.iter("a")]
    detailed = [f"#{article.get('id')}" for article in root.iter("article")]
    assert detailed == targets
    assert 1 < len(detailed) < 20
    assert len(list(nav.iter("tr"))) == 22
    left_out = f"The proposals of {21 - len(detailed)} more targets are in their folders"
    assert left_out in all_text(nav)
    assert len(list(parsed(page([usual] * 20)).iter("article"))) == 20


def test_the_chance_is_the_same_as_in_the_pull_request(usual: ReportContext) -> None:
    sentence = (
        "The next run is seldom denied. No run could be judged by the policy of the runs before it"
    )
    assert sentence in all_text(parsed(page([usual])))
    assert sentence in body(usual).replace("*", "")


def test_evidence_beyond_the_limit_is_counted(usual: ReportContext) -> None:
    [narrowed] = [change for change in usual.proposal.changes if change.action == "lambda:*"]
    many = replace(narrowed, usages=narrowed.usages * 3_000)
    context = replace(usual, proposal=replace(usual.proposal, changes=(many,)))
    assert target_view(context, 1)["left_out"] == len(many.usages) - 2_000
    assert len(page([context])) < 2_000_000


def test_a_first_draft_and_an_unchanged_policy_have_a_page(tmp_path: Path) -> None:
    draft = proposal(tmp_path, None).context
    assert "Security review, then merge." in all_text(parsed(page([draft])))


@pytest.fixture(scope="module")
def harmless(usual: ReportContext) -> Element:
    """The page with `x` for all untrusted names."""
    return parsed(page([_named(usual, "x")]))


# An addition on `*` has a sentence of its own.
@pytest.mark.parametrize("name", [hostile_name for hostile_name in HOSTILE if hostile_name != "*"])
def test_no_name_becomes_markup(usual: ReportContext, harmless: Element, name: str) -> None:
    hostile = parsed(page([_named(usual, name)]))
    assert tags(hostile) == tags(harmless)
    assert sorted(_attributes(hostile)) == sorted(_attributes(harmless))
    text = all_text(hostile)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", text)


def _attributes(root: Element) -> Iterator[str]:
    """Names of attributes, and values except labels."""
    for element in root.iter():
        for key, value in element.attrib.items():
            yield f"{element.tag} {key}" + ("" if key.startswith("aria") else f"={value}")


def _named(context: ReportContext, name: str) -> ReportContext:
    """The same proposal with one name for all untrusted names."""
    changes = tuple(_change(change, name) for change in context.proposal.changes)
    runs = tuple(replace(run, id=name) for run in context.evidence.runs)
    return replace(
        context,
        principal=f"arn:aws:iam::111122223333:role/{name}",
        policy_file=name,
        proposal=replace(context.proposal, changes=changes),
        evidence=replace(context.evidence, runs=runs),
        chained=RoleChainPolicies(
            RoleChain(
                (ROLE,), (RoleLink(ROLE, f"{ROLE[:-9]}{name}", RoleLinkKind.PASSED, name, count=1),)
            )
        ),
    )


def _change(change: Change, name: str) -> Change:
    kept_actions = {
        f"{name}{number}": GuardResult(name, name) for number, _ in enumerate(change.kept or {})
    }
    return replace(
        change,
        resources=(name,),
        sid=name if change.sid else "",
        removed_actions=tuple(name for _ in change.removed_actions),
        kept=kept_actions,
        usages=tuple(_usage(usage, name) for usage in change.usages),
    )


def _usage(usage: Usage, name: str) -> Usage:
    permission = structs.replace(usage.need.permission, resource=name)
    return replace(
        usage, need=structs.replace(usage.need, permission=permission), events=(name,), runs=(name,)
    )
