"""The settings that a config has instead of action.yml, of one target and of several."""

from __future__ import annotations

import re

import pytest

from leastpriv.config.settings import GivenInputs, parse_settings, step_inputs
from leastpriv.config.targets_file import (
    read_configuration,
    settings_of,
    with_settings,
    with_shared_settings,
)
from leastpriv.errors import InputError
from leastpriv.proposal.models import Lifecycle

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
TARGET = {"role-arn": ROLE, "policy-file": "iam/ci-deploy.json", "config": "leastpriv.yml"}


def of_step(**inputs: str) -> GivenInputs:
    """The inputs of a step of one role whose further settings are in a file."""
    named = {**TARGET, **{name.replace("_", "-"): value for name, value in inputs.items()}}
    return step_inputs({f"INPUT_{name.upper()}": value for name, value in named.items()})


def test_the_settings_of_a_file_complete_the_inputs_of_one_target() -> None:
    raw = b"settings: {lifecycle: offer, minimum-confidence: 90, break-glass: [sos-*]}"
    found = parse_settings(with_settings(of_step(), raw, "leastpriv.yml"))
    assert found.options.lifecycle is Lifecycle.OFFER
    assert found.options.minimum_confidence == 90
    assert found.options.break_glass == ("sos-*",)


def test_an_input_goes_before_a_setting() -> None:
    given = with_settings(of_step(lifecycle="off"), b"settings: {lifecycle: all}", "leastpriv.yml")
    assert parse_settings(given).options.lifecycle is Lifecycle.OFF


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("targets: [{role-arn: x}]", "which lists targets, and the input role-arn is set"),
        ("settings: {lifecyle: off}", "unknown key 'lifecyle' (did you mean lifecycle?)"),
        ("settings: {keep: x}", "has the key 'keep', which is an input"),
        ("settings: [lifecycle]", "settings is no mapping"),
        ("lifecycle: off", "put it under settings:"),
    ],
)
def test_a_wrong_file_of_settings_is_bad_input(raw: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        with_settings(of_step(), raw.encode(), "leastpriv.yml")


def test_a_wrong_value_of_a_setting_names_the_file() -> None:
    given = with_settings(of_step(), b"settings: {lifecycle: drop}", "leastpriv.yml")
    with pytest.raises(InputError, match=r"'leastpriv\.yml': lifecycle is 'drop': choose write or"):
        parse_settings(given)


def test_settings_are_shared_by_all_targets_of_a_file() -> None:
    raw = b"settings: {lifecycle: offer}\ntargets: [{role-arn: " + ROLE.encode()
    raw += b", policy-file: iam/ci-deploy.json}]"
    configuration = read_configuration(raw, "leastpriv.yml")
    given = with_shared_settings(of_step(role_arn="", policy_file=""), configuration)
    (entry,) = configuration.entries
    assert settings_of(entry, (ROLE,), given).options.lifecycle is Lifecycle.OFFER
