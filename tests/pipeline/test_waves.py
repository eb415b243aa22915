"""`max-pull-requests`: a run opens the most valuable pull requests first."""

from __future__ import annotations

from pathlib import Path

import pytest

from leastpriv.config.settings import from_options
from leastpriv.errors import InputError
from leastpriv.pipeline.context import Target, TargetResult
from leastpriv.pipeline.publish import _Wave
from leastpriv.pull_request.models import PublishResult, PullRequestOperation
from tests.fakes.deploys import POLICY, proposal

OPTIONS: dict[str, str | tuple[str, ...]] = {
    "role-arn": "arn:aws:iam::111122223333:role/ci-deploy",
    "policy-file": "x.json",
    "trails": ("trail",),
}


@pytest.mark.parametrize("value", ["-1", "many", "1.5"])
def test_another_number_is_bad_input(value: str) -> None:
    with pytest.raises(InputError, match="max-pull-requests"):
        from_options({**OPTIONS, "max-pull-requests": value})


def test_a_wave_ends_when_enough_pull_requests_were_opened(tmp_path: Path) -> None:
    settings = from_options(OPTIONS)
    drafted = proposal(tmp_path, POLICY)
    target_result = TargetResult(Target(settings, "x.json"), content=drafted.content)
    wave = _Wave(1)
    publication = PublishResult(PullRequestOperation.CREATED, "x", "", "")
    updated = PublishResult(PullRequestOperation.UPDATED, "x", "", "")
    assert target_result.has_changes
    assert not wave.waits([target_result])
    wave.note(updated)
    assert not wave.waits([target_result])
    wave.note(publication)
    assert wave.waits([target_result])
    assert not _Wave(0).waits([target_result])
