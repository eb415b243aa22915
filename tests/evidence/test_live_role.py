"""What keeps IAM from telling what is attached is a gap that says so; the lab's tests read what it tells."""

from __future__ import annotations

import pytest

from leastpriv.evidence import aws as aws_module
from leastpriv.evidence.aws import Aws
from leastpriv.evidence.live_role import read_live
from leastpriv.evidence.source import parse_principal
from leastpriv.model import GapKind
from tests.fakes.aws.event_history import FakeHistory, Fault

FAULTS = {
    "throttled": "kept refusing for too many requests",
    "server error": "AWS failed",
    "unavailable": "AWS failed",
    "denied": "AWS refused",
    "expired": "have expired",
    "invalid": "does not know these credentials",
    "cut": "broke off",
    "slow": "did not answer in time",
}


@pytest.mark.parametrize("arn", ["arn:aws:iam::111122223333:role/ci/deploy", "arn:aws:iam::111122223333:user/kim"])
@pytest.mark.parametrize("kind", FAULTS)
def test_whatever_keeps_iam_from_telling_is_a_gap_and_never_the_end(
    kind: str, arn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_module, "_READ_SECONDS", 0.2)
    with FakeHistory(faults=[Fault(kind, seconds=0.5)]) as fake:
        found = read_live(Aws.open({**fake.environment(), "AWS_MAX_ATTEMPTS": "1"}), parse_principal(arn))
    assert not found.is_known
    assert (found.principal, found.policies) == (arn, ())
    assert {gap.kind for gap in found.gaps} == {GapKind.LIVE_ROLE_UNREAD}
    assert all(FAULTS[kind] in gap.detail for gap in found.gaps), found.gaps
    assert all("What else is attached is not known" in gap.detail for gap in found.gaps)
