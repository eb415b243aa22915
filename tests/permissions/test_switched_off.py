"""A parameter that a request turns off causes no further need."""

from __future__ import annotations

import pytest

from leastpriv.permissions.mapping import needs_of
from tests.fakes.calls import a_call


def actions(event: str, parameters: dict[str, object]) -> set[str]:
    return {need.permission.action for need in needs_of(a_call(event, parameters)).needs}


def delivered(*enabled: object) -> set[str]:
    configurations = [{"logType": "slow-log", "enabled": is_enabled} for is_enabled in enabled]
    return actions(
        "elasticache:CreateCacheCluster",
        {"cacheClusterId": "c", "logDeliveryConfigurations": configurations},
    )


@pytest.mark.parametrize("off", [False, "false", "False"])
def test_a_log_delivery_that_is_off_needs_no_permission_of_cloudwatch_logs(off: object) -> None:
    assert "logs:CreateLogDelivery" not in delivered(off)
    assert "logs:CreateLogDelivery" not in delivered(off, off)


def test_one_that_is_on_or_says_nothing_needs_it() -> None:
    without = {"cacheClusterId": "c", "logDeliveryConfigurations": [{"logType": "slow-log"}]}
    assert "logs:CreateLogDelivery" in actions("elasticache:CreateCacheCluster", without)
    for configurations in ((True,), (False, True), ("true",)):
        assert "logs:CreateLogDelivery" in delivered(*configurations)


def test_equal_texts_with_another_switch_are_mapped_apart() -> None:
    """The calls differ in a truth value alone, which is no text."""
    assert "logs:CreateLogDelivery" in delivered(True)
    assert "logs:CreateLogDelivery" not in delivered(False)
    assert "logs:CreateLogDelivery" in delivered(True)
