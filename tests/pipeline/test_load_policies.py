"""What the account tells beside the calls: logins that event history does not show, and drift in
plain words.
"""

from __future__ import annotations

import pytest

from leastpriv.diff.compare import Drift
from leastpriv.evidence.live_role import LiveRole, TrustedCaller, TrustKind
from leastpriv.evidence.models import Evidence
from leastpriv.models import GapKind, Scope
from leastpriv.pipeline.infrastructure import RepositoryVersion
from leastpriv.pipeline.load_policies import AttachedPolicies, drift_sentence, with_account_gaps
from leastpriv.policy.document import parse

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
