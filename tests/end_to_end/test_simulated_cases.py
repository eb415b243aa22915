"""The lab's simulator of IAM decides every need that a case's proposal is replayed for, as a second
opinion.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leastpriv.aws.session import Aws
from leastpriv.aws_checks.simulate import SimulatedPolicies, simulate
from leastpriv.proposal.proof import NeedDecision
from tests.end_to_end.lab.lab import Lab
from tests.test_cases import CASES, run_case

_ODD_KEYS = "odd-letter-case"
"""IAM accepts the keys of a policy in any case. Ministack's simulator (1.5.33) does not; it also
accepts no context, and does not support `${*}`."""


@pytest.mark.slow
def test_an_independent_evaluator_agrees_on_every_replayed_need(lab: Lab, tmp_path: Path) -> None:
    aws, asked = Aws.open(lab.root), 0
    for path in (path for path in CASES if path.stem != _ODD_KEYS):
        subject = run_case(
            json.loads(path.read_text(encoding="utf-8")), tmp_path / path.stem
        ).context
        needs = [each for each in subject.proof.need_decisions if _can_decide(each)]
        documents = [*subject.proposal.documents, *subject.attached_documents]
        found = simulate(
            aws, SimulatedPolicies(documents, subject.policy_file), needs, subject.principal
        )
        assert (found.failure, [remark.text for remark in found.findings]) == ("", []), path.name
        asked += found.asked
    assert asked > 150


def _can_decide(allowance: NeedDecision) -> bool:
    """Whether the lab's simulator can decide it: see above."""
    conditional = allowance.statement is not None and allowance.statement.conditions != ()
    return not conditional and "${" not in allowance.permission.resource
