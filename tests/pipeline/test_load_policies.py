"""What the account tells beside the calls: logins that event history does not show, and drift in
plain words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from leastpriv.aws.session import AwsSession
from leastpriv.config.settings import Settings, from_options
from leastpriv.diff.compare import Drift
from leastpriv.errors import InputError
from leastpriv.evidence.live_role import LiveRole, TrustedCaller, TrustKind
from leastpriv.evidence.models import Evidence
from leastpriv.models import GapKind, Scope
from leastpriv.pipeline.infrastructure import RepositoryVersion
from leastpriv.pipeline.load_policies import (
    AttachedPolicies,
    drift_sentence,
    managed_policies,
    with_account_gaps,
)
from leastpriv.policy.document import parse
from tests.fakes.aws.server import ACCOUNT, Asked, FakeAws, RefusedError

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
ANYWHERE = TrustedCaller(TrustKind.SERVICE, "rolesanywhere.amazonaws.com")
CODEBUILD = TrustedCaller(TrustKind.CODEBUILD, "codebuild.amazonaws.com")


@pytest.mark.parametrize(
    ("trust", "by_sessions", "kinds"),
    [
        ((CODEBUILD, ANYWHERE), True, [GapKind.SOURCE_FAILED]),
        ((CODEBUILD, ANYWHERE), False, []),
        ((CODEBUILD,), True, []),
    ],
)
def test_a_way_into_the_role_that_shows_no_login_may_hide_any_use(
    trust: tuple[TrustedCaller, ...], by_sessions: bool, kinds: list[GapKind]
) -> None:
    policies = AttachedPolicies(live=LiveRole(ROLE, trust=trust))
    evidence = with_account_gaps(Evidence(ROLE), policies, by_sessions=by_sessions)
    assert [gap.kind for gap in evidence.gaps] == kinds
    assert all(gap.scope == Scope() and "IAM Roles Anywhere" in gap.detail for gap in evidence.gaps)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Drift("p"), ""),
        (
            Drift("p", file_denies=("iam:*", "*")),
            "the file denies iam:* on *, which no policy in the account does",
        ),
        (Drift("p", live_denies=("iam:*", "*")), "p denies iam:* on *, which the file does not"),
        (
            Drift("p", files_without_counterpart=("iam/logs.json",)),
            "no policy of the role is like iam/logs.json (also-attached)",
        ),
        (Drift("", missing=True), "no policy of the role is like the file"),
    ],
)
def test_a_difference_of_the_account_is_a_plain_sentence(found: Drift, sentence: str) -> None:
    assert drift_sentence(found) == sentence
    assert found.differs is bool(sentence)


MAIN_TF = b"""
data "aws_iam_policy_document" "deploy" {
  statement {
    actions   = local.actions
    resources = ["*"]
  }
}
"""


def test_only_the_terraform_files_of_the_folder_are_read_for_an_expression() -> None:
    files = {
        "infra/main.tf": MAIN_TF,
        "infra/locals.tf": b'locals { actions = ["sqs:CreateQueue"] }',
        "infra/lambda.zip": b"PK",
        "infra/old.TF": b'locals { actions = ["iam:*"] }',
        "infra/network/main.tf": b"locals {}",
    }
    read: list[str] = []

    def read_file(path: str) -> bytes:
        read.append(path)
        return files[path]

    folder = RepositoryVersion(read_file, lambda _: files).folder("infra/main.tf")
    document = parse(MAIN_TF, "infra/main.tf", "data.aws_iam_policy_document.deploy", folder=folder)
    assert document.statements[0].actions == ("sqs:CreateQueue",)
    assert read == ["infra/locals.tf"]


MISSPELT = "arn:aws:iam::aws:policy/AdministratorAcess"


def attached_settings(arn: str) -> Settings:
    return from_options(
        {
            "role-arn": ROLE,
            "policy-file": "p.json",
            "trails": "event-history",
            "also-attached": arn,
        }
    )


def aws_session(aws: FakeAws) -> AwsSession:
    return AwsSession(aws.environment(), datetime(2026, 12, 1, tzinfo=UTC))


@pytest.fixture
def without_policies() -> Iterator[FakeAws]:
    """An account in which no policy has the name that is asked for."""
    identity = {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/kim", "UserId": "x"}
    operations = {"sts:GetCallerIdentity": lambda _: identity, "iam:GetPolicy": no_such_policy}
    with FakeAws(operations) as server:
        yield server


def no_such_policy(_: Asked) -> Mapping[str, Any]:
    raise RefusedError("NoSuchEntity", "Policy does not exist.", 404)


def test_a_policy_of_aws_that_aws_does_not_have_is_a_wrong_input(without_policies: FakeAws) -> None:
    with pytest.raises(InputError, match=r"also-attached names .*did you mean AdministratorAccess"):
        managed_policies(attached_settings(MISSPELT), aws_session(without_policies))


def test_a_policy_of_the_account_that_does_not_exist_yet_is_a_gap(
    without_policies: FakeAws,
) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:policy/new"
    found = managed_policies(attached_settings(arn), aws_session(without_policies))
    [gap] = found.gaps
    assert gap.detail.startswith(f"{arn} (also-attached): AWS")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("AdministratorAcess", " (did you mean AdministratorAccess?)"),
        ("NewerThanTheTable", ""),
    ],
)
def test_without_aws_an_unlisted_policy_of_aws_is_said_not_to_be_checked(
    name: str, advice: str
) -> None:
    arn = f"arn:aws:iam::aws:policy/{name}"
    [gap] = managed_policies(attached_settings(arn), None).gaps
    assert gap.detail.startswith(
        f"{arn} (also-attached): it is not checked whether AWS has a policy of this name{advice}."
    )
