"""The settings that a config has instead of action.yml, of one target and of several."""

from __future__ import annotations

import re

import pytest

from leastpriv.config.settings import (
    GivenInputs,
    parse_settings,
    step_inputs,
    with_step_defaults,
)
from leastpriv.config.targets_file import (
    read_configuration,
    settings_inputs,
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
    action_inputs = {**TARGET, **{name.replace("_", "-"): value for name, value in inputs.items()}}
    return step_inputs({f"INPUT_{name.upper()}": value for name, value in action_inputs.items()})


def merged(raw: str, **inputs: str) -> GivenInputs:
    """The inputs of a step with the settings of its file, as a run takes them."""
    all_inputs = with_settings(of_step(**inputs), raw.encode(), "leastpriv.yml")
    return with_step_defaults(all_inputs)


def test_the_settings_of_a_file_complete_the_inputs_of_one_target() -> None:
    raw = b"settings: {lifecycle: offer, minimum-confidence: 90, break-glass: [sos-*]}"
    parsed = parse_settings(merged(raw.decode()))
    assert parsed.options.lifecycle is Lifecycle.OFFER
    assert parsed.options.minimum_confidence == 90
    assert parsed.options.break_glass == ("sos-*",)


def test_an_input_goes_before_a_setting() -> None:
    merged_inputs = merged("settings: {lifecycle: all}", lifecycle="off")
    assert parse_settings(merged_inputs).options.lifecycle is Lifecycle.OFF


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
    merged_inputs = merged("settings: {lifecycle: drop}")
    with pytest.raises(InputError, match=r"'leastpriv\.yml': lifecycle is 'drop': choose write or"):
        parse_settings(merged_inputs)


def test_settings_are_shared_by_all_targets_of_a_file() -> None:
    raw = b"settings: {lifecycle: offer}\ntargets: [{role-arn: " + ROLE.encode()
    raw += b", policy-file: iam/ci-deploy.json}]"
    configuration = read_configuration(raw, "leastpriv.yml")
    all_inputs = with_step_defaults(
        with_shared_settings(of_step(role_arn="", policy_file=""), configuration)
    )
    (entry,) = configuration.entries
    assert settings_of(entry, (ROLE,), all_inputs).options.lifecycle is Lifecycle.OFFER


EVIDENCE = {
    "trails": "logs",
    "job-logs": "deploy.log",
    "athena-table": "security.trails",
    "templates": "template.yaml",
    "plans": "plan.json",
    "declared": "autopilot.json",
}


@pytest.mark.parametrize("name", EVIDENCE)
def test_named_evidence_is_all_that_is_read(name: str) -> None:
    parsed = parse_settings(merged("settings: {}", **{name: EVIDENCE[name]}))
    assert not parsed.event_history


@pytest.mark.parametrize("name", sorted({*EVIDENCE} & {*settings_inputs()}))
def test_evidence_in_the_settings_reads_the_same_as_an_input(name: str) -> None:
    of_input = parse_settings(merged("settings: {}", **{name: EVIDENCE[name]}))
    of_file = parse_settings(merged(f"settings: {{{name}: {EVIDENCE[name]}}}"))
    assert of_file == of_input
    raw = f"settings: {{{name}: {EVIDENCE[name]}}}\ntargets:\n- role-arn: {ROLE}\n"
    raw += "  policy-file: iam/ci-deploy.json\n"
    configuration = read_configuration(raw.encode(), "leastpriv.yml")
    shared = with_shared_settings(of_step(role_arn="", policy_file=""), configuration)
    (entry,) = configuration.entries
    assert not settings_of(entry, (ROLE,), with_step_defaults(shared)).event_history


def test_a_step_without_evidence_reads_event_history() -> None:
    assert parse_settings(merged("settings: {lifecycle: offer}")).trails == ("event-history",)
    assert parse_settings(merged("settings: {athena-table: [' ']}")).event_history


@pytest.mark.parametrize(
    "value",
    ["a.b, c.d", "[a.b, c.d]", "['a.b,c.d']", "[' a.b ', 'c.d', '']", "[a.b, 'c.d, a.b']"],
)
def test_the_tables_of_a_list_read_the_same_as_text(value: str) -> None:
    raw = f"settings:\n  athena-table: {value}\n"
    assert parse_settings(merged(raw)).athena_tables == ("a.b", "c.d")
