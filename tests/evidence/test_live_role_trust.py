"""Who may take a role, by its trust policy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.evidence.live_role import (
    TrustedCaller,
    TrustKind,
    services_without_sts_events,
    trusted_callers,
)

PROVIDER = "token.actions.githubusercontent.com"
GITHUB = f"arn:aws:iam::111122223333:oidc-provider/{PROVIDER}"
SUBJECT = "repo:acme/shop:ref:refs/heads/main"


def policy(principal: Any, **more: Any) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Principal": principal, **more},
    }


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            policy(
                {"Federated": GITHUB},
                Condition={"StringLike": {f"{PROVIDER}:sub": SUBJECT}, "StringEquals": {"a": "b"}},
            ),
            [TrustedCaller(TrustKind.GITHUB, GITHUB, (SUBJECT,))],
        ),
        (policy({"Federated": GITHUB}), [TrustedCaller(TrustKind.GITHUB, GITHUB)]),
        (policy({"Service": ["codebuild.amazonaws.com", "lambda.amazonaws.com"]}), [
            TrustedCaller(TrustKind.CODEBUILD, "codebuild.amazonaws.com"),
            TrustedCaller(TrustKind.SERVICE, "lambda.amazonaws.com"),
        ]),
        (policy({"AWS": "arn:aws:iam::111122223333:user/kim"}), [
            TrustedCaller(TrustKind.PRINCIPAL, "arn:aws:iam::111122223333:user/kim")
        ]),
        (policy({"AWS": "*"}), [TrustedCaller(TrustKind.ANY, "*")]),
        (policy("*"), [TrustedCaller(TrustKind.ANY, "*")]),
        (policy({"Federated": "cognito-identity.amazonaws.com"}), [
            TrustedCaller(TrustKind.FEDERATED, "cognito-identity.amazonaws.com")
        ]),
        (policy({"AWS": "*"}) | {"Statement": [{"Effect": "Deny", "Principal": "*"}]}, []),
        ({"Statement": {"Effect": "Allow", "NotPrincipal": {"AWS": "x"}}}, [TrustedCaller(TrustKind.ANY, "*")]),
        (None, []),
    ],
)  # fmt: skip
def test_each_kind_of_caller_is_recognised(document: object, expected: list[TrustedCaller]) -> None:
    assert list(trusted_callers(document)) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["Statement", "Effect", "Principal", "AWS", "x"]), inner)
    ),
)


@given(JSON)
def test_an_invalid_trust_policy_has_no_callers(document: object) -> None:
    assert all(
        trusted.identifier for trusted in trusted_callers(document) if trusted.kind is TrustKind.ANY
    )


@pytest.mark.parametrize(
    ("services", "names"),
    [
        (["rolesanywhere.amazonaws.com", "codebuild.amazonaws.com"], ("IAM Roles Anywhere",)),
        (["rolesanywhere.amazonaws.com", "rolesanywhere.amazonaws.com"], ("IAM Roles Anywhere",)),
        (["lambda.amazonaws.com", "pods.eks.amazonaws.com"], ()),
    ],
)
def test_services_that_take_a_role_in_their_own_way_are_named(
    services: list[str], names: tuple[str, ...]
) -> None:
    statement = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
    assert services_without_sts_events(trusted_callers({"Statement": [statement]})) == names
