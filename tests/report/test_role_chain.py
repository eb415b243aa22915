"""The chain as people see it: a drawing that no name can change, and the roles that nobody looks after."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from leastpriv.evidence.role_chain import RoleChain, RoleLink, RoleLinkKind
from leastpriv.report.role_chain import RoleChainPolicies, UncommittedRole, chain_section, mermaid, role_chain_value
from tests.fakes.markdown import HOSTILE, read

CI, DEPLOY, EXEC = (f"arn:aws:iam::111122223333:role/{name}" for name in ("ci/ci-deploy", "cdk_deploy", "cfn-exec"))
ABROAD = "arn:aws:iam::444455556666:role/publish"
CHAIN = RoleChain(
    (CI,),
    (
        RoleLink(CI, DEPLOY, RoleLinkKind.ASSUMED, count=1200),
        RoleLink(CI, ABROAD, RoleLinkKind.ASSUMED, count=3),
        RoleLink(DEPLOY, EXEC, RoleLinkKind.PASSED, "CloudFormation", 12),
    ),
)
LABEL = r'"(?:[A-Za-z0-9 ./:-]|#[0-9]{1,7};)*"'
LINE = re.compile(rf"flowchart LR|    n\d+(?:\[{LABEL}\]|\(\[{LABEL}\]\))|    n\d+ -->\|{LABEL}\| n\d+")


def section(chained: RoleChainPolicies) -> str:
    return "\n".join(chain_section(chained))


def test_the_drawing_names_roles_ways_and_who_has_a_committed_policy() -> None:
    assert mermaid(RoleChainPolicies(CHAIN, frozenset({CI, DEPLOY}))).split("\n") == [
        "flowchart LR",
        '    n0["ci-deploy"]',
        '    n1["cdk#95;deploy"]',
        '    n2(["publish in 444455556666"])',
        '    n3(["cfn-exec"])',
        '    n0 -->|"assumed 1#44;200#215;"| n1',
        '    n0 -->|"assumed 3#215;"| n2',
        '    n1 -->|"passed to CloudFormation 12#215;"| n3',
    ]


def test_nothing_is_said_where_nothing_leads_on() -> None:
    assert section(RoleChainPolicies(RoleChain((CI,)))) == ""


def test_roles_without_a_committed_policy_are_named_with_what_they_would_need() -> None:
    needs = UncommittedRole(EXEC, ("lambda:CreateFunction", "sqs:CreateQueue"), calls=40, runs=6, denied=1)
    lost = UncommittedRole(ABROAD, failure="no source shows the account 444455556666")
    text = section(RoleChainPolicies(CHAIN, frozenset({CI, DEPLOY}), (needs, lost), advice="Name them."))
    assert (
        "| `role/cfn-exec` | passed to CloudFormation 12× by `role/cdk_deploy` | 2 actions (40 calls in 6 runs and "
        "1 action refused or not written): `lambda:CreateFunction`, `sqs:CreateQueue` |" in text
    )
    assert "| `role/publish` | assumed 3× by `role/ci/ci-deploy` | not known: `no source shows the account" in text
    assert text.endswith("Name them.")
    assert "role/cdk_deploy` |" not in text.replace("by `role/cdk_deploy` |", "")


def test_a_role_that_others_use_too_is_told() -> None:
    signed = {DEPLOY: {CI: 10, "": 4}, EXEC: {"": 40}}
    text = section(RoleChainPolicies(CHAIN, frozenset({CI, DEPLOY, EXEC}), signed=signed))
    assert "- `role/cdk_deploy`: 4 of 14 calls." in text
    assert "role/cfn-exec`:" not in text


def test_nobody_is_said_to_use_a_role_too_where_the_logins_tell_no_keys() -> None:
    """A record without the answer of AssumeRole leaves open whose the keys were, the chain's own among them."""
    text = section(RoleChainPolicies(CHAIN, frozenset({CI, DEPLOY}), signed={DEPLOY: {"": 14}}))
    assert "Used by others too" not in text


def test_machines_get_the_same() -> None:
    value = role_chain_value(
        RoleChainPolicies(CHAIN, frozenset({CI}), (UncommittedRole(EXEC, ("sqs:CreateQueue",), 3, 1),))
    )
    assert value["roots"] == [CI]
    assert value["committed"] == [CI]
    assert [link["role"] for link in value["links"]] == [DEPLOY, ABROAD, EXEC]  # type: ignore[attr-defined,index]


HOSTILE_NAMES = st.sampled_from([*HOSTILE, '"] --> n9', '"]\n    click n0 "https://evil.example"', "%%{init: {}}%%"])
NAMES = HOSTILE_NAMES | st.text(max_size=200)


@given(st.lists(st.tuples(NAMES, NAMES, NAMES), max_size=60))
def test_no_name_can_end_a_label_draw_a_line_or_leave_the_block(names: list[tuple[str, str, str]]) -> None:
    links = tuple(
        RoleLink(f"arn:aws:iam::1:role/{one}", f"arn:aws:iam::2:role/{other}", RoleLinkKind.PASSED, service, 1)
        for one, other, service in names
    )
    chained = RoleChainPolicies(RoleChain((CI,), links))
    lines = mermaid(chained).split("\n")
    assert all(LINE.fullmatch(line) for line in lines), lines
    assert len([line for line in lines if "-->" in line]) <= 40


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5))
def test_the_section_shows_names_as_code_and_nothing_else(names: list[tuple[str, str]]) -> None:
    links = tuple(RoleLink(CI, f"arn:aws:iam::2:role/{name}", RoleLinkKind.ASSUMED, "", 1) for name, _ in names)
    unwritten = tuple(
        UncommittedRole(link.role, (action,), failure=action if len(action) % 2 else "")
        for link, (_, action) in zip(links, names, strict=True)
    )
    chained = RoleChainPolicies(RoleChain((CI,), links), unwritten=unwritten)
    page = read(section(chained))
    assert page.acts() == [f"{mermaid(chained)}\n"]
    assert page.blocks.count("heading_open") == 1
