"""The promises of settings: values read, defaults put in, and every message names the input and the
way out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from time import process_time
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.config.inputs import check_spelling, inputs, named_principal, trails, window
from leastpriv.config.settings import (
    Mode,
    Settings,
    from_options,
    parse_settings,
    step_inputs,
    with_step_defaults,
)
from leastpriv.errors import InputError
from leastpriv.proposal.models import UnseenServices
from leastpriv.pull_request.models import PullRequestOptions
from tests.fakes.deploys import ROLE

Answer = TypeVar("Answer")
NEEDED = {"role-arn": ROLE, "policy-file": "iam/ci.json", "trails": "trail"}
WRONG = {
    "role-arn": [
        "ci-deploy",
        "arn:aws:sts::111122223333:assumed-role/ci/1",
        "arn:aws:s3:::b",
        "x\n::error::y",
        "arn:aws:iam::111122223333:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS",
        "arn:aws:iam::*:role/aws-service-role/*ECS",
    ],
    "also-attached": ["arn:aws:iam::111122223333:role/ci"],
    "mode": ["pr", "REPORT", "report,check"],
    "trails": [
        "s3://",
        "s3:///AWSLogs",
        "s3://B",
        "arn:aws:s3:::bucket",
        "arn:aws:cloudtrail:x:1:trail/y",
    ],
    "athena-table": ["trails", "a.b.c.d", "db.table;", "x/y/db.table", "db.'table'"],
    "lookback-days": ["0", "-1", "ten", "1.5", "1e9", "\u0663"],
    "minimum-days": ["-1", "x", "30 days", "9999999999"],
    "minimum-runs": ["-1", "x", "5,0"],
    "unseen-services": ["yes", "Keep"],
    "resources": ["all", "keep forms"],
    "keep": ["DeleteBucket", "s3"],
    "never-add": ["iam", "iam:Pass\u200bRole", "iam:\u202e*", "s3:P\u0443t*"],
    "validate-digests": ["perhaps", "1"],
    "base": ["a..b", "-x", "a b", "main^", "--all", "main:iam"],
    "branch": ["-x", "a..b", "a b", "HEAD", "x.lock", "@{-1}", "a\nb", "x/", "a\u202eb"],
}
"""Wrong values by input; inputs that are missing here take any text."""


def environment(**values: str) -> dict[str, str]:
    """A step's variables, as the runner spells them."""
    inputs = {**NEEDED, **{name.replace("_", "-"): value for name, value in values.items()}}
    return {f"INPUT_{name.upper()}": value for name, value in inputs.items()}


def answer(work: Callable[[], Answer]) -> Answer | str:
    """What the work gives, or the message that refuses it."""
    try:
        return work()
    except InputError as error:
        return str(error)


def message_of_step(name: str, value: str) -> str:
    with pytest.raises(InputError) as raised:
        parse_settings(step_inputs(environment(**{name: value})))
    return str(raised.value)


def message_of_options(name: str, value: str) -> str:
    action_input = next(each_input for each_input in inputs() if each_input.name == name)
    with pytest.raises(InputError) as raised:
        from_options({**NEEDED, name: (value,) if action_input.several else value})
    return str(raised.value)


def test_a_wrong_choice_lists_only_values_that_can_be_written() -> None:
    assert message_of_step("unseen-services", "yes").endswith(": choose keep or drop.")


def is_one_sentence(message: str) -> bool:
    """One sentence, whatever the value: a full stop ends it and nothing but quoted values may hold
    another.
    """
    return message.endswith(".") and "\n" not in message and not re.search(r"[.!?] [A-Z]", message)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_an_error_that_names_input_and_value(name: str, value: str) -> None:
    message = message_of_step(name, value)
    assert message.startswith(f"The input {name}")
    assert message.count("The input") == 1
    assert repr(value)[1:-1] in message or value in message
    assert ":" in message.replace(value, "")
    assert is_one_sentence(message)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_on_a_shell_the_message_names_the_option(name: str, value: str) -> None:
    flag = next(action_input.flag for action_input in inputs() if action_input.name == name)
    message = message_of_options(name, value)
    assert re.match(rf"(The input )?{flag}\b", message)
    assert is_one_sentence(message)


@pytest.mark.parametrize("name", ["role-arn", "policy-file"])
@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_what_is_needed_and_missing_is_named(name: str, value: str) -> None:
    message = message_of_step(name, value)
    assert message.startswith(f"The input {name} is missing: ")
    assert is_one_sentence(message)


@pytest.mark.parametrize(
    "name", [action_input.name for action_input in inputs() if action_input.name not in NEEDED]
)
def test_empty_text_is_the_default_as_the_runner_passes_inputs_without_one(name: str) -> None:
    assert parse_settings(step_inputs(environment(**{name: ""}))) == parse_settings(
        step_inputs(environment())
    )


def test_defaults_are_those_of_the_contract() -> None:
    parsed = parse_settings(step_inputs(environment()))
    assert parsed.principal.arn == ROLE
    assert (parsed.mode, parsed.trails, parsed.also_attached) == (Mode.PULL_REQUEST, ("trail",), ())
    assert (parsed.options.minimum_days, parsed.options.minimum_runs) == (35, 5)
    assert (parsed.options.unseen_services, parsed.options.exact_resources) == (
        UnseenServices.BY_ENTRY,
        False,
    )
    assert (parsed.options.keep, parsed.options.never_add) == ((), ())
    assert (parsed.base, parsed.branch) == ("", "leastpriv/ci-deploy")
    assert parsed.pull_request_options == PullRequestOptions(labels=("leastpriv",))
    assert parsed.github_token == ""


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_a_step_that_names_no_evidence_reads_event_history_in_the_region_of_the_environment(
    value: str,
) -> None:
    parsed = parse_settings(with_step_defaults(step_inputs(environment(trails=value))))
    assert parsed.event_history
    assert (parsed.trail_folders, parsed.aws_regions) == ((), ())
    assert (parsed.lookback_days, parsed.wait_for_events) == (90, 0)


def test_event_history_may_stand_among_folders() -> None:
    parsed = parse_settings(
        step_inputs(
            environment(
                trails="logs,event-history",
                aws_regions="eu-west-1\nus-gov-west-1",
                lookback_days="30",
                wait_for_events="15",
            )
        )
    )
    assert (parsed.event_history, parsed.trail_folders) == (True, ("logs",))
    assert parsed.aws_regions == ("eu-west-1", "us-gov-west-1")
    assert (parsed.lookback_days, parsed.wait_for_events) == (30, 15)


def test_on_a_shell_a_proposal_is_reported_unless_asked_otherwise() -> None:
    assert from_options(NEEDED).mode is Mode.REPORT
    assert from_options({**NEEDED, "mode": "pull-request"}).mode is Mode.PULL_REQUEST


def test_what_a_new_pull_request_is_given() -> None:
    parsed = parse_settings(
        step_inputs(
            environment(
                labels="a, b",
                reviewers="kim\nlee",
                team_reviewers="platform",
                assignees="max",
                draft="true",
            )
        )
    )
    assert parsed.pull_request_options == PullRequestOptions(
        ("a", "b"), ("kim", "lee"), ("platform",), ("max",), draft=True
    )


def test_the_token_does_not_show_when_settings_are_printed() -> None:
    assert "secret" not in repr(parse_settings(step_inputs(environment(github_token="secret"))))  # noqa: S106 - an invented one


def test_every_input_reaches_its_setting() -> None:
    parsed = parse_settings(
        step_inputs(
            environment(
                also_attached="a.json, b.json\nc.json",
                mode="check",
                trails="one\n\n two ,three",
                minimum_days="0",
                minimum_runs="7",
                unseen_services="drop",
                resources="exact",
                keep="s3:Delete*,\niam:*",
                never_add="*",
                base="main",
                branch="policy/ci",
            )
        )
    )
    assert parsed.also_attached == ("a.json", "b.json", "c.json")
    assert (parsed.mode, parsed.trails) == (Mode.CHECK, ("one", "two", "three"))
    assert (parsed.options.minimum_days, parsed.options.minimum_runs) == (0, 7)
    assert (parsed.options.unseen_services, parsed.options.exact_resources) == (
        UnseenServices.DROP,
        True,
    )
    assert (parsed.options.keep, parsed.options.never_add) == (("s3:Delete*", "iam:*"), ("*",))
    assert (parsed.base, parsed.branch) == ("main", "policy/ci")


def test_a_user_may_be_named_wherever_a_role_may() -> None:
    user = "arn:aws:iam::111122223333:user/ci/deployer"
    assert parse_settings(step_inputs(environment(role_arn=user))).branch == "leastpriv/deployer"


def test_an_option_without_a_value_is_missing_and_not_the_current_folder() -> None:
    """`--trails "$UNSET"` must not read whatever lies around."""
    with pytest.raises(InputError, match="--trails is missing"):
        trails(("", "  "), "--trails")


def test_the_principal_of_an_option_is_named_by_the_message() -> None:
    with pytest.raises(InputError, match=r"^--role-arn: 'x' is not the ARN"):
        named_principal("x", "--role-arn")


@given(
    st.text(max_size=30) | st.datetimes(timezones=st.just(timezone(timedelta(hours=14)))).map(str)
)
def test_any_text_is_a_time_in_utc_or_an_error(text: str) -> None:
    window_or_error = answer(lambda: window(text, ""))
    if isinstance(window_or_error, str):
        assert window_or_error.startswith("--from is ")
    else:
        assert (
            window_or_error.start is None
            if not text
            else window_or_error.start and window_or_error.start.tzinfo is UTC
        )


def test_a_date_is_its_beginning_in_utc_and_another_zone_is_converted() -> None:
    parsed_window = window("2026-11-03", "2026-11-03T10:00:00+02:00")
    assert (parsed_window.start, parsed_window.end) == (
        datetime(2026, 11, 3, tzinfo=UTC),
        datetime(2026, 11, 3, 8, tzinfo=UTC),
    )


@pytest.mark.parametrize("end", ["2026-11-03", "2026-11-02"])
def test_an_empty_window_is_bad_input(end: str) -> None:
    with pytest.raises(
        InputError, match=r"--from 2026-11-03 is not before --to .*: the window is empty"
    ):
        window("2026-11-03", end)


@given(
    st.dictionaries(
        st.sampled_from([action_input.name for action_input in inputs()]), st.text(max_size=20)
    )
)
def test_whatever_a_workflow_passes_is_settings_or_one_sentence(values: dict[str, str]) -> None:
    settings_or_error = answer(
        lambda: parse_settings(with_step_defaults(step_inputs(environment(**values))))
    )
    assert isinstance(settings_or_error, Settings) or any(
        action_input.name in settings_or_error for action_input in inputs()
    )


def test_digests_cannot_be_validated_through_a_table_in_athena() -> None:
    with pytest.raises(InputError, match=r"--validate-digests is true, and --athena-table is set"):
        from_options({**NEEDED, "validate-digests": "true", "athena-table": "d.t"})


def test_a_name_of_any_length_is_compared_with_known_ones_at_once() -> None:
    """A file or a client may send a megabyte; the time of the processor counts."""
    started = process_time()
    for name in ("s3:" + "x" * 300_000, "x" * 300_000 + ":b"):
        check_spelling(name, "ACTION is")
    assert process_time() - started < 2


def test_a_letter_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match="did you mean sqs:CreateQueue"):
        check_spelling("sqs:CreateQueu", "ACTION is")
