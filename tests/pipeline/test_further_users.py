"""The further users of a policy in their accounts: how they differ from the file, and which other
policies count.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws.session import AwsSession
from leastpriv.config.settings import from_options
from leastpriv.evidence.live_role import LivePolicy, LiveRole
from leastpriv.evidence.models import Evidence
from leastpriv.models import Principal
from leastpriv.pipeline import load_policies
from leastpriv.pipeline.context import Target
from leastpriv.pipeline.load_policies import (
    AttachedPolicies,
    with_account_gaps,
    with_further_users,
    with_live_role,
)
from leastpriv.policy.document import Document, parse
from tests.fakes.deploys import NOW

DEV = "arn:aws:iam::111122223333:role/ci-deploy"
PROD = "arn:aws:iam::333344445555:role/ci-deploy"


def document(*actions: str) -> Document:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return parse(json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode(), "x.json")


def role(arn: str, policies: dict[str, Document]) -> LiveRole:
    account = arn.split(":")[4]
    live_policies = (
        LivePolicy(f"arn:aws:iam::{account}:policy/{name}", policy)
        for name, policy in policies.items()
    )
    return LiveRole(arn, tuple(live_policies))


def policies_of(
    monkeypatch: pytest.MonkeyPatch, dev: dict[str, Document], prod: dict[str, Document]
) -> AttachedPolicies:
    committed = document("sqs:CreateQueue")
    options: dict[str, Any] = {
        "role-arn": (DEV, PROD),
        "policy-file": "x.json",
        "trails": ("trail",),
    }
    target = Target(from_options(options), "x.json", Path())

    def live(_: AwsSession, principal: Principal) -> LiveRole:
        return role(principal.arn, prod)

    monkeypatch.setattr(load_policies, "_live", live)
    of_first_user = with_live_role(AttachedPolicies(committed=committed), role(DEV, dev))
    session = AwsSession({}, NOW)
    return with_further_users(of_first_user, target, lambda _: session)


def test_a_user_whose_account_differs_from_the_file_holds_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_in_file = {"deploy": document("sqs:CreateQueue")}
    wider = {"deploy": document("sqs:CreateQueue", "sqs:PurgeQueue")}
    policies = policies_of(monkeypatch, as_in_file, wider)
    assert policies.drift
    assert not policies.drift.differs
    differs = with_account_gaps(Evidence(DEV), policies).live_role_drift
    assert differs.startswith(f"{PROD}: ")
    assert "sqs:PurgeQueue" in differs
    assert not with_account_gaps(
        Evidence(DEV), policies_of(monkeypatch, as_in_file, as_in_file)
    ).live_role_drift


def test_another_policy_counts_only_if_each_user_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    attached = {"deploy": document("sqs:CreateQueue")}
    base, extra = document("sns:Publish"), document("kms:Decrypt")
    policies = policies_of(
        monkeypatch, {**attached, "base": base, "extra": extra}, {**attached, "base": base}
    )
    assert policies.names == ("arn:aws:iam::111122223333:policy/base",)
