"""The rest of a denied step: its resources and its limits, and the measure of unblocked
features.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from bench.complete_additions import FEATURES, lacking
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, ChangeKind, Need, Outcome, Permission, Run, Usage
from leastpriv.permissions.fact_tables import read_rows
from leastpriv.policy.document import Document
from leastpriv.proposal.complete_additions import Completion, complete_additions
from leastpriv.proposal.models import Change, Decline, History, Options, addition_id

PLACE = "eu-west-1:111122223333"
ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
NOW = datetime(2026, 10, 1, tzinfo=UTC)


def usage(action: str, resource: str, outcome: Outcome = Outcome.ALLOWED, run: str = "1") -> Usage:
    return Usage(
        need=Need(Permission(action, resource), Basis.OBSERVED, ""),
        outcome=outcome,
        count=1,
        first_seen=NOW,
        last_seen=NOW,
        runs=(run,),
        events=(),
        regions=("eu-west-1",),
        programs=("terraform",),
    )


def completed(
    action: str,
    resource: str,
    used: Sequence[Usage] = (),
    *,
    options: Options = Options(),
    history: History = History(),
    policies: Sequence[Document] = (),
) -> dict[str, tuple[str, ...]]:
    """What the step of a denied action needs besides: action -> resources."""
    denied = usage(action, resource, Outcome.DENIED)
    change = Change(ChangeKind.ADD, action, (resource,), usages=(denied,), basis=Basis.DENIED)
    evidence = Evidence(ROLE, usages=(denied, *used), runs=(Run("1", "1", NOW, NOW),))
    changes = complete_additions([change], Completion(evidence, options, history, policies))
    return {addition.action: addition.resources for addition in changes}


def test_an_offer_has_the_resource_of_the_denied_call() -> None:
    queue = f"arn:aws:sqs:{PLACE}:orders"
    assert set(completed("sqs:CreateQueue", queue).values()) == {(queue,)}


def test_an_id_that_only_a_successful_call_gets_is_open() -> None:
    resources = completed("kms:CreateKey", "*")
    assert resources["kms:DescribeKey"] == (f"arn:aws:kms:{PLACE}:key/*",)
    layer = f"arn:aws:lambda:{PLACE}:layer:tools"
    assert completed("lambda:PublishLayerVersion", layer)["lambda:GetLayerVersion"] == (
        f"{layer}:*",
    )


def test_a_secret_has_the_end_that_aws_draws() -> None:
    secret = f"arn:aws:secretsmanager:{PLACE}:secret:orders"
    resources = completed("secretsmanager:CreateSecret", secret)
    assert resources["secretsmanager:DescribeSecret"] == (f"{secret}-??????",)


def test_a_role_is_passed_that_the_denied_run_made_and_no_other() -> None:
    function = f"arn:aws:lambda:{PLACE}:function:orders"
    creation = usage("iam:CreateRole", "arn:aws:iam::111122223333:role/orders-fn")
    creation_of_other_run = usage(
        "iam:CreateRole", "arn:aws:iam::111122223333:role/billing", run="2"
    )
    resources = completed("lambda:CreateFunction", function, [creation, creation_of_other_run])
    assert resources["iam:PassRole"] == ("arn:aws:iam::111122223333:role/orders-fn",)
    assert "iam:PassRole" not in completed(
        "lambda:CreateFunction", function, [creation_of_other_run]
    )


def test_a_declined_and_a_forbidden_action_are_not_offered() -> None:
    queue = f"arn:aws:sqs:{PLACE}:orders"
    declined = History(declined={addition_id("sqs:TagQueue", queue): Decline(4)})
    options = Options(never_add=("sqs:Delete*",))
    resources = completed("sqs:CreateQueue", queue, options=options, history=declined)
    assert "sqs:GetQueueAttributes" in resources
    assert not {"sqs:TagQueue", "sqs:DeleteQueue"} & resources.keys()


def test_no_sensitive_action_is_offered_on_the_principal_itself() -> None:
    resources = completed("iam:CreateRole", ROLE)
    assert "iam:GetRole" in resources
    assert not {"iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:TagRole"} & resources.keys()


ROWS = [
    row
    for row in read_rows(FEATURES.read_text(encoding="utf-8"))
    if (row["tool"], row["feature"])
    not in {
        ("terraform", "security group"),
        ("sam", "image of a function"),
        ("script", "service of containers"),
        ("script", "deployment of CodeDeploy"),
    }
]
"""The features but for those that miss the measure: a sensitive action on every resource of a
type, and names that no record has."""


def test_the_first_pull_request_and_its_offers_unblock_most_denied_features() -> None:
    missing = {row["feature"]: [*lacking(row)] for row in ROWS[::30]}
    assert not any(missing.values()), missing


@pytest.mark.slow
def test_the_first_pull_request_and_its_offers_unblock_every_other_denied_feature() -> None:
    missing = {(row["tool"], row["feature"]): [*lacking(row)] for row in ROWS}
    assert {feature: actions for feature, actions in missing.items() if actions} == {}
