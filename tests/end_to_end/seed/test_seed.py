"""The experiment's promise: what the records of one administrator's deploy show is enough for the same deploy again.

Where the trail leaves data events out, the refusals of the job log and of the records close the loop.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.lab.lab import is_there
from tests.end_to_end.seed import deploys
from tests.end_to_end.seed.deploys import Deploy
from tests.end_to_end.seed.experiment import Told, experiment
from tests.end_to_end.seed.tools import ToolMissingError

pytestmark = pytest.mark.skipif(not is_there(), reason="the lab's environment is not there: make lab")

QUICK = (deploys.SCRIPT, deploys.CLOUDFORMATION)
SLOW = (deploys.CDK_WITH_ROLES, deploys.CDK_WITH_KEYS, deploys.SAM, deploys.TERRAFORM)
TOOLS = [*QUICK, *(pytest.param(deploy, marks=pytest.mark.slow) for deploy in SLOW)]


def told(deploy: Deploy, folder: Path, *, data_events: bool) -> Told:
    try:
        return experiment(deploy, folder, data_events=data_events)
    except ToolMissingError as error:
        pytest.skip(str(error))


def actions_of(policy: object) -> list[str]:
    assert isinstance(policy, dict)
    return [action for statement in policy["Statement"] for action in statement["Action"]]


@pytest.mark.parametrize("deploy", TOOLS, ids=lambda deploy: deploy.name)
def test_after_one_run_of_an_administrator_the_proposal_alone_is_enough(deploy: Deploy, tmp_path: Path) -> None:
    found = told(deploy, tmp_path, data_events=True)
    assert (found.clean, found.rounds) == (True, ())
    assert all("*" not in action for action in actions_of(found.policy))


@pytest.mark.slow
@pytest.mark.parametrize("deploy", [*QUICK, *SLOW], ids=lambda deploy: deploy.name)
def test_without_data_events_each_refusal_is_mended_and_the_deploy_ends_clean(deploy: Deploy, tmp_path: Path) -> None:
    found = told(deploy, tmp_path, data_events=False)
    assert found.clean
    assert all(len(each.added) >= 1 for each in found.rounds)
    assert len(found.rounds) <= MOST_ROUNDS[deploy.name]


# A tool stops at the first refusal, so that a deploy takes as many rounds as it has kinds of data events.
MOST_ROUNDS = {deploy.name: 1 for deploy in (*QUICK, *SLOW)} | {deploys.SCRIPT.name: 4}
