"""AWS's findings add nothing, and support only permitted removals."""

from __future__ import annotations

import json
import random
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from leastpriv.diff.compare import compare
from leastpriv.evidence.models import (
    AccessReport,
    AwsFindings,
    Evidence,
    GeneratedPolicy,
    LastAccess,
    ServiceAccess,
)
from leastpriv.models import ChangeKind
from leastpriv.policy.document import parse
from leastpriv.proposal.models import History, Options, Proposal, ProposalInputs
from leastpriv.proposal.propose import propose
from tests.fakes.evidence import FIRST, evidence_for
from tests.fakes.replace import replace

ENTRIES = (
    "sqs:*",
    "sns:CreateTopic",
    "sns:DeleteTopic",
    "ecr:Put*",
    "acm:*",
    "kms:ScheduleKeyDeletion",
    "s3:PutBucketAcl",
)
ACTIONS = (
    "sqs:CreateQueue",
    "sns:CreateTopic",
    "sns:DeleteTopic",
    "ecr:PutImage",
    "acm:ListCertificates",
    "s3:PutBucketAcl",
)
SERVICES = ("sqs", "sns", "ecr", "acm", "kms", "s3", "iam")
DAYS = st.one_of(st.none(), st.integers(-400, 60))
DOCUMENT = parse(
    json.dumps({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": entry, "Resource": "*"} for entry in ENTRIES],
    }).encode(),
    "p.json",
)  # fmt: skip
REPORTS = st.dictionaries(
    st.sampled_from(SERVICES), st.tuples(DAYS, st.dictionaries(st.sampled_from(ACTIONS), DAYS))
)


def attempt(days: int | None) -> LastAccess | None:
    return None if days is None else LastAccess(FIRST + timedelta(days=days), "eu-west-1")


def hints(
    report: dict[str, tuple[int | None, dict[str, int | None]]] | None, generated: list[str] | None
) -> AwsFindings:
    services = {
        name: ServiceAccess(
            name,
            attempt(days),
            {
                action.lower(): attempt(action_name)
                for action, action_name in actions.items()
                if action.startswith(f"{name}:")
            },
        )
        for name, (days, actions) in (report or {}).items()
    }
    access = None if report is None else AccessReport(FIRST + timedelta(days=60), services)
    grants = tuple((action, ("*",)) for action in generated or ())
    return AwsFindings(
        access, None if generated is None else GeneratedPolicy("job", None, None, True, grants)
    )


def proposed(evidence: Evidence) -> Proposal:
    history = History(changed=FIRST - timedelta(days=30))
    return propose(
        DOCUMENT,
        compare(DOCUMENT, [], evidence),
        evidence,
        Options(minimum_runs=0),
        ProposalInputs(history),
    )


def removed(draft: Proposal) -> set[tuple[int, str]]:
    return {
        (change.statement, action) for change in draft.changes for action in change.removed_actions
    }


def added(draft: Proposal) -> set[tuple[str, tuple[str, ...]]]:
    return {
        (change.action, change.resources)
        for change in draft.changes
        if change.kind is ChangeKind.ADD
    }


@given(
    st.integers(0, 20),
    st.one_of(st.none(), REPORTS),
    st.one_of(st.none(), st.lists(st.sampled_from(ACTIONS))),
)
def test_aws_findings_add_nothing_and_support_only_permitted_removals(
    seed: int,
    report: dict[str, tuple[int | None, dict[str, int | None]]] | None,
    generated: list[str] | None,
) -> None:
    evidence = evidence_for(DOCUMENT, random.Random(seed))  # noqa: S311 - no secret
    findings = hints(report, generated)
    without, with_hints = proposed(evidence), proposed(replace(evidence, aws_findings=findings))
    assert added(with_hints) == added(without)
    for _, action in removed(with_hints) - removed(without):
        service = (
            findings.access.services.get(action.partition(":")[0]) if findings.access else None
        )
        action_attempt = findings.access.action(action) if findings.access else None
        never = service is not None and service.last is None
        assert never or (
            action_attempt is not None
            and evidence.first is not None
            and action_attempt.time < evidence.first
        )
    actions = {usage.need.permission.action for usage in evidence.usages}
    assert not {action for _, action in removed(with_hints)} & {*(generated or ())} - actions
