"""For real deployments by AWS CloudFormation, AWS SAM, the CDK and Terraform, the draft of all phases
of the first version suffices for five updates and the deletion.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.first_draft import measure
from tests.end_to_end.lab.lab import is_there
from tests.end_to_end.seed.tools import ToolMissingError

pytestmark = pytest.mark.slow

APPS = ("store", "worker", "flow", "served", "cdk", "data", "serverless")


@pytest.mark.parametrize("app", APPS)
def test_no_run_is_denied_what_the_report_did_not_announce(app: str, tmp_path: Path) -> None:
    if not is_there():
        pytest.skip("the lab's environment is not there: make lab sets it up")
    try:
        measured = measure(f"updates-{app}", tmp_path / app)
    except ToolMissingError as error:
        pytest.skip(str(error))
    for each in measured:
        assert each.used
        assert each.unannounced == (), str(each)
