"""A proposal needs no more policies than IAM attaches to a role."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.deploys import deploys, proposal

QUEUES = [
    f"{one}{other}-orders-of-the-shop-without-a-common-end-{other}{one}"
    for one in "abcdefgh"
    for other in "ijklmnopq"
]
CALLS = [{"event": "sqs:CreateQueue", "parameters": {"queueName": name}} for name in QUEUES]
OTHER = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}],
}


@pytest.mark.parametrize("action", ["*", "sqs:*"])
@pytest.mark.parametrize(("others", "is_held"), [(0, False), (9, True)])
def test_what_would_need_too_many_policies_remains(
    action: str, others: int, is_held: bool, tmp_path: Path
) -> None:
    committed = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}],
    }
    files = [tmp_path / f"{number}.json" for number in range(others)]
    for file in files:
        file.write_text(json.dumps(OTHER))
    found = proposal(
        tmp_path, committed, deploys(CALLS), resources="exact", also_attached=tuple(map(str, files))
    ).content.context.proposal
    assert bool(found.held_back_as("too-large")) is is_held
    assert (found.content == json.dumps(committed, indent=2).encode()) is is_held
    assert found.packed is not None
    assert found.packed.fits
