"""The records of one administrator's deploy suffice for the same deploy again.

If the trail has no data events, the denials in the job log and in the records supply the rest.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.first_draft import measure
from leastpriv.permissions.event_table import Visibility, visibility
from tests.end_to_end.lab.lab import is_there
from tests.end_to_end.seed import deploys
from tests.end_to_end.seed.deploys import Deploy
from tests.end_to_end.seed.experiment import TrialResult, experiment
from tests.end_to_end.seed.tools import ToolMissingError

pytestmark = pytest.mark.skipif(
    not is_there(), reason="the lab's environment is not there: make lab"
)

# The same promise on every run of the suite, by the quickest tool.
QUICK = (deploys.CLOUDFORMATION,)
SLOW = (
    deploys.SCRIPT,
    deploys.CDK_WITH_ROLES,
    deploys.CDK_WITH_KEYS,
    deploys.SAM,
    deploys.TERRAFORM,
)
TOOLS = [*QUICK, *(pytest.param(deploy, marks=pytest.mark.slow) for deploy in SLOW)]


def run_experiment(
    deploy: Deploy, folder: Path, *, data_events: bool, until: str = "", accept_offers: bool = False
) -> TrialResult:
    try:
        return experiment(
            deploy, folder, data_events=data_events, until=until, accept_offers=accept_offers
        )
    except ToolMissingError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("deploy", TOOLS, ids=lambda deploy: deploy.name)
def test_after_one_run_of_an_administrator_the_proposal_is_sufficient(
    deploy: Deploy, tmp_path: Path
) -> None:
    found = run_experiment(deploy, tmp_path, data_events=True)
    assert (found.clean, found.extensions, found.added) == (True, 0, ()), found.log[-3_000:]
    actions = [action for statement in found.policy["Statement"] for action in statement["Action"]]
    assert all("*" not in action for action in actions)


@pytest.mark.slow
@pytest.mark.parametrize("deploy", [*QUICK, *SLOW], ids=lambda deploy: deploy.name)
def test_without_data_events_the_trial_adds_them_and_nothing_else(
    deploy: Deploy, tmp_path: Path
) -> None:
    """A tool stops at the first denial, so that each kind of data event takes a round."""
    found = run_experiment(deploy, tmp_path, data_events=False)
    assert found.clean, found.log[-3_000:]
    added = {action.partition(" on ")[0] for action in found.added}
    assert {
        action for action in added if visibility(action).visibility is not Visibility.DATA
    } <= AGAIN


AGAIN = {"cloudformation:GetTemplate"}
"""A second `cdk bootstrap`, in the round after a denial, compares the toolkit's template with its
own.
"""


@pytest.mark.slow
def test_actions_that_an_administrator_did_not_use_are_offered_from_the_template(
    tmp_path: Path,
) -> None:
    """One deploy was seen, but no change and no deletion; with the offers of the proposal these
    need no extension.
    """
    (tmp_path / "without").mkdir()
    (tmp_path / "with").mkdir()
    deploy, until = deploys.CLOUDFORMATION, "first deploy"
    without = run_experiment(deploy, tmp_path / "without", data_events=True, until=until)
    accepted = run_experiment(
        deploy, tmp_path / "with", data_events=True, until=until, accept_offers=True
    )
    assert without.extensions > 1
    assert (accepted.clean, accepted.extensions) == (True, 0), accepted.log[-3_000:]


@pytest.mark.slow
def test_a_stack_is_deployed_and_changed_under_the_draft_of_its_template_alone(
    tmp_path: Path,
) -> None:
    """Only the bucket of `aws cloudformation package`, which no template names, is denied."""
    first, later = measure("seed-cloudformation", tmp_path / "app", runs=2)
    assert {action for action, _ in first.denied} == {"s3:PutObject"}
    assert len(first.granted) <= 2.5 * len(first.used)
    assert not later.denied
