"""The chain of roles: what calls that succeeded lead to, and nothing else, however hostile the
names and shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.aws.arns import parse_principal
from leastpriv.evidence.collector import UsageCollector
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.role_chain import (
    MOST_ROLES,
    MOST_STEPS,
    RoleChain,
    RoleLinkKind,
    build_chain,
)
from leastpriv.models import Call, Outcome

ACCOUNT = "111122223333"
TIME = datetime(2026, 11, 1, 9, tzinfo=UTC)


def role(name: str, account: str = ACCOUNT) -> str:
    return f"arn:aws:iam::{account}:role/{name}"


CI, DEPLOY, FILES, EXEC = (
    role(name)
    for name in (
        "ci-deploy",
        "cdk-hnb659fds-deploy-role-111122223333-eu-west-1",
        "cdk-hnb659fds-file-publishing-role-111122223333-eu-west-1",
        "cdk-hnb659fds-cfn-exec-role-111122223333-eu-west-1",
    )
)


def assumes(who: str, whom: object, outcome: Outcome = Outcome.ALLOWED, error: str = "") -> Call:
    """An AssumeRole; `error` is the code of one that failed."""
    return _call(
        who,
        "sts.amazonaws.com",
        "AssumeRole",
        {"roleArn": whom, "roleSessionName": "x"},
        outcome,
        error,
    )


def hands(
    who: str, whom: str, service: str = "cloudformation", event: str = "CreateChangeSet"
) -> Call:
    """A call that hands a role to a service."""
    key = {
        "CreateChangeSet": "roleARN",
        "CreateProject": "serviceRole",
        "CreateFunction20150331": "role",
    }[event]
    name = {"cloudformation": "stackName", "codebuild": "name", "lambda": "functionName"}[service]
    return _call(
        who, f"{service}.amazonaws.com", event, {name: "orders", key: whom}, Outcome.ALLOWED, ""
    )


def _call(
    who: str, source: str, name: str, parameters: Mapping[str, object], outcome: Outcome, error: str
) -> Call:
    return Call(
        "", who, "12345678901", TIME, ACCOUNT, "eu-west-1", source, name, parameters, {}, (),
        outcome, error
    )  # fmt: skip


def chain(roots: Sequence[str], calls: Sequence[Call]) -> RoleChain:
    """The chain that some calls show, with the evidence of everybody who called."""
    books = {
        who: UsageCollector(who)
        for who in dict.fromkeys([*roots, *(call.principal for call in calls)])
    }
    for call in calls:
        books[call.principal].note(call)
    return build_chain(roots, {who: book.close() for who, book in books.items()})


def ways(found: RoleChain) -> list[tuple[str, str, str, str, int]]:
    return [
        (link.source, link.role, link.kind.value, link.service, link.count) for link in found.links
    ]


def test_a_cdk_deploy_leads_over_the_roles_of_its_bootstrap_stack_to_the_one_of_cloudformation() -> (
    None
):
    calls = [assumes(CI, DEPLOY), assumes(CI, DEPLOY), assumes(CI, FILES), hands(DEPLOY, EXEC)]
    role_chain = chain([CI], calls)
    assert ways(role_chain) == [
        (CI, DEPLOY, "assumed", "", 2),
        (CI, FILES, "assumed", "", 1),
        (DEPLOY, EXEC, "passed", "CloudFormation", 1),
    ]
    assert role_chain.roots == (CI,)
    assert role_chain.roles == (DEPLOY, FILES, EXEC)


def test_a_role_passed_to_codebuild_is_followed_and_a_functions_role_is_not() -> None:
    calls = [
        hands(CI, role("build"), "codebuild", "CreateProject"),
        hands(CI, role("app"), "lambda", "CreateFunction20150331"),
    ]
    assert [(link.role, link.service) for link in chain([CI], calls).links] == [
        (role("build"), "CodeBuild")
    ]


@pytest.mark.parametrize(
    "call",
    [
        assumes(CI, DEPLOY, Outcome.DENIED, "AccessDenied"),
        assumes(CI, DEPLOY, Outcome.UNKNOWN, "Throttling"),
        assumes(CI, DEPLOY, Outcome.ALLOWED, "RegionDisabledException"),
    ],
)
def test_a_denied_assume_role_call_adds_no_link(call: Call) -> None:
    assert chain([CI], [call]).links == ()


@pytest.mark.parametrize(
    "whom",
    [
        "arn:aws:iam::111122223333:role/*",
        "arn:aws:iam::111122223333:user/ann",
        "arn:aws:iam::*:role/admin",
        'arn:aws:iam::111122223333:role/x"]; click n0 "https://evil.example"',
        "arn:aws:iam::111122223333:role/../../etc/passwd\n",
        "role",
        "",
        {"x": 1},
        7,
    ],
)
def test_only_roles_of_an_account_are_part_of_the_chain(whom: object) -> None:
    assert chain([CI], [assumes(CI, whom)]).links == ()


def test_cycles_end_and_a_role_that_assumes_itself_is_no_link() -> None:
    calls = [
        assumes(CI, CI),
        assumes(CI, DEPLOY),
        assumes(DEPLOY, FILES),
        assumes(FILES, CI),
        assumes(FILES, DEPLOY),
    ]
    role_chain = chain([CI, DEPLOY], calls)
    assert len(role_chain.links) == 4
    assert role_chain.roots == (CI,)


def test_a_fan_out_is_bounded_the_most_used_first_and_the_rest_counted() -> None:
    calls = [assumes(CI, role(f"r{number:03}")) for number in range(300)] + [
        assumes(CI, role("r299"))
    ] * 2
    role_chain = chain([CI], calls)
    assert len(role_chain.roles) == MOST_ROLES
    assert role_chain.roles[0] == role("r299")
    assert role_chain.left_out == 300 - MOST_ROLES


def test_a_long_chain_is_truncated_and_says_so() -> None:
    names = [CI, *(role(f"r{number:03}") for number in range(40))]
    role_chain = chain([CI], [assumes(source, target) for source, target in pairwise(names)])
    assert len(role_chain.roles) == MOST_STEPS
    assert role_chain.left_out == 1


def test_a_target_named_without_its_path_is_the_role_that_the_login_names() -> None:
    role_chain = chain(
        [CI, role("deploy")], [assumes(CI, role("ci/deploy")), assumes(role("deploy"), EXEC)]
    )
    assert role_chain.roles == (role("deploy"), EXEC)


def test_the_part_around_a_principal_leaves_strangers_out() -> None:
    role_chain = chain(
        [CI, role("other")],
        [assumes(CI, DEPLOY), assumes(role("other"), FILES), hands(DEPLOY, EXEC)],
    )
    assert role_chain.around(EXEC).members == (CI, DEPLOY, EXEC)
    assert role_chain.around(role("other")).members == (role("other"), FILES)
    assert role_chain.around(role("nobody")).links == ()


NAMES = st.integers(0, 60).map(lambda number: role(f"r{number}"))
TEXT = st.text(max_size=40)


@given(
    st.lists(st.tuples(NAMES, NAMES | TEXT | TEXT.map(role)), max_size=120),
    st.lists(NAMES, min_size=1, max_size=3),
)
def test_whatever_the_records_say_the_chain_is_bounded_and_holds_roles_alone(
    pairs: list[tuple[str, str]], roots: list[str]
) -> None:
    role_chain = chain(roots, [assumes(who, whom) for who, whom in pairs])
    assert len(set(role_chain.roles) - set(roots)) <= MOST_ROLES
    assert role_chain.roots
    assert all(parse_principal(arn).kind == "role" for arn in role_chain.members)
    assert len({(link.source, link.role) for link in role_chain.links}) == len(role_chain.links)
    assert all(
        link.kind is RoleLinkKind.ASSUMED and link.source != link.role for link in role_chain.links
    )


def test_evidence_without_calls_leads_nowhere() -> None:
    assert build_chain([CI], {}) == RoleChain((CI,))
    assert build_chain([CI], {CI: Evidence(CI)}).members == (CI,)
