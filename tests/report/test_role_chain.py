"""The role chain in reports: a flowchart that no name can change, and the roles without a committed
policy.
"""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from leastpriv.evidence.role_chain import RoleChain, RoleLink, RoleLinkKind
from leastpriv.report.role_chain import (
    RoleChainPolicies,
    UncommittedRole,
    chain_section,
    mermaid,
    role_chain_value,
)
from tests.fakes.markdown import HOSTILE, read

CI, DEPLOY, EXEC = (
    f"arn:aws:iam::111122223333:role/{name}" for name in ("ci/ci-deploy", "cdk_deploy", "cfn-exec")
)
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
LINE = re.compile(
    rf"flowchart LR|    n\d+(?:\[{LABEL}\]|\(\[{LABEL}\]\))|    n\d+ -->\|{LABEL}\| n\d+"
)


def section(chained: RoleChainPolicies) -> str:
    return "\n".join(chain_section(chained))


def test_the_flowchart_shows_roles_links_and_committed_policies() -> None:
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


def test_without_a_chain_there_is_no_section() -> None:
    assert section(RoleChainPolicies(RoleChain((CI,)))) == ""


def test_roles_without_a_committed_policy_are_listed_with_their_needs() -> None:
    needs = UncommittedRole(
        EXEC, ("lambda:CreateFunction", "sqs:CreateQueue"), calls=40, runs=6, denied=1
    )
    lost = UncommittedRole(ABROAD, failure="no source shows the account 444455556666")
    text = section(
        RoleChainPolicies(CHAIN, frozenset({CI, DEPLOY}), (needs, lost), advice="Name them.")
    )
    assert (
        "- `role/cfn-exec`, passed to CloudFormation 12× by `role/cdk_deploy`: 2 actions (40 calls"
        " in 6 runs and 1 action denied or not written): `lambda:CreateFunction`, `sqs:CreateQueue`"
        in text
    )
    assert (
        "- `role/publish`, assumed 3× by `role/ci/ci-deploy`: not known: `no source shows the"
        " account" in text
    )
    assert text.endswith("Name them.")
    assert "- `role/cdk_deploy`" not in text


def test_a_role_that_other_principals_use_is_listed() -> None:
    signed = {DEPLOY: {CI: 10, "": 4}, EXEC: {"": 40}}
    text = section(RoleChainPolicies(CHAIN, frozenset({CI, DEPLOY, EXEC}), signed=signed))
    assert "- `role/cdk_deploy`: 4 of 14 calls." in text
    assert "role/cfn-exec`:" not in text


def test_no_other_principal_is_claimed_without_access_keys_in_the_events() -> None:
    """Without the response of AssumeRole the owner of the access keys is unknown."""
    text = section(RoleChainPolicies(CHAIN, frozenset({CI, DEPLOY}), signed={DEPLOY: {"": 14}}))
    assert "Used by others too" not in text


def test_the_json_has_the_same_chain() -> None:
    value = role_chain_value(
        RoleChainPolicies(
            CHAIN, frozenset({CI}), (UncommittedRole(EXEC, ("sqs:CreateQueue",), 3, 1),)
        )
    )
    assert value["roots"] == [CI]
    assert value["committed"] == [CI]
    assert [link["role"] for link in value["links"]] == [DEPLOY, ABROAD, EXEC]  # type: ignore[attr-defined,index]


HOSTILE_NAMES = st.sampled_from(
    [*HOSTILE, '"] --> n9', '"]\n    click n0 "https://evil.example"', "%%{init: {}}%%"]
)
NAMES = HOSTILE_NAMES | st.text(max_size=200)


@given(st.lists(st.tuples(NAMES, NAMES, NAMES), max_size=60))
def test_no_name_ends_a_label_adds_a_link_or_leaves_the_block(
    names: list[tuple[str, str, str]],
) -> None:
    links = tuple(
        RoleLink(
            f"arn:aws:iam::1:role/{origin}",
            f"arn:aws:iam::2:role/{target}",
            RoleLinkKind.PASSED,
            service,
            1,
        )
        for origin, target, service in names
    )
    chained = RoleChainPolicies(RoleChain((CI,), links))
    lines = mermaid(chained).split("\n")
    assert all(LINE.fullmatch(line) for line in lines), lines
    assert len([line for line in lines if "-->" in line]) <= 40


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5))
def test_the_section_shows_names_only_as_code(names: list[tuple[str, str]]) -> None:
    links = tuple(
        RoleLink(CI, f"arn:aws:iam::2:role/{name}", RoleLinkKind.ASSUMED, "", 1)
        for name, _ in names
    )
    unwritten = tuple(
        UncommittedRole(link.role, (action,), failure=action if len(action) % 2 else "")
        for link, (_, action) in zip(links, names, strict=True)
    )
    chained = RoleChainPolicies(RoleChain((CI,), links), without_policy=unwritten)
    page = read(section(chained))
    assert page.acts() == ([f"{mermaid(chained)}\n"] if len(links) > 1 else [])
    assert page.blocks.count("heading_open") == 1
