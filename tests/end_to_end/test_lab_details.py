"""With IAM's account of denied calls, which the lab gives late as AWS does, one round adds all that
a call lacks.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.lab.lab import Lab, is_there
from tests.end_to_end.test_trial import Bench

ROLE = "arn:aws:iam::111122223333:role/app"
_CALLER = {
    "Effect": "Allow",
    "Principal": {"Service": "lambda.amazonaws.com"},
    "Action": "sts:AssumeRole",
}
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [_CALLER]})
CREATE = (
    f"aws iam create-role --role-name app --assume-role-policy-document '{TRUST}' --tags"
    " Key=team,Value=a"
)
BROAD = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "iam:*", "Resource": "*"}],
}


@pytest.mark.parametrize("details", [True, False])
def test_one_round_adds_all_that_a_call_lacks(tmp_path: Path, *, details: bool) -> None:
    if not is_there():
        pytest.skip("the lab's environment is not there: make lab sets it up")
    with Lab.start(tmp_path / "lab", details=details) as lab:
        bench = Bench(lab, tmp_path, lab.role("deploy", BROAD, path="/ci/"))
        bench.write(("s3:GetObject", "*"))
        yes = ("--yes-to", "iam:CreateRole", "--yes-to", "iam:TagRole")
        told = bench.trial(CREATE, "--wait-for-records", "20", *yes)
    assert told.code == 0, told.err
    found = json.loads(bench.file.read_text())["Statement"]
    assert {"iam:CreateRole", "iam:TagRole"} <= set(bench.granted()), found
    assert bench.granted()["iam:TagRole"] == [ROLE]
    rounds = [line for line in told.err.splitlines() if line.startswith("Round")]
    assert len(rounds) == 2, told.err
