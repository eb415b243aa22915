"""Each message about an option of `leastpriv trial` names the option and the remedy."""

from __future__ import annotations

import pytest

from leastpriv.cli.command_line import parser
from leastpriv.errors import InputError
from leastpriv.trial.main import parse_settings
from leastpriv.trial.rounds import TrialSettings
from tests.fakes.command import leastpriv

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
USER = "arn:aws:iam::111122223333:user/robot"


def settings(*arguments: str, identifier: str = ROLE) -> TrialSettings:
    parsed = parse_settings(
        parser().parse_args(
            ["trial", "--role-arn", identifier, "--policy-file", "p.json", *arguments]
        )
    )
    assert parsed is not None
    return parsed


def test_the_command_is_all_arguments_after_two_dashes() -> None:
    argv = ("make", "deploy", "--max-rounds", "3", "--", "-v", "")
    assert settings("--", *argv).argv == argv
    assert settings("--max-rounds", "2", "--", "make").max_rounds == 2


def test_a_role_is_tried_by_its_session_policy_and_a_user_by_a_temporary_role() -> None:
    assert settings("--", "make").strategy == "session-policy"
    assert settings("--", "make", identifier=USER).strategy == "trial-role"


def test_cleaning_up_needs_neither_a_role_nor_a_policy() -> None:
    assert parse_settings(parser().parse_args(["trial", "--clean-up"])) is None


@pytest.mark.parametrize("flag", ["--role-arn", "--policy-file"])
def test_a_command_needs_role_and_policy(flag: str) -> None:
    options = {"--role-arn": ROLE, "--policy-file": "p.json"}
    other_options = [
        word for name, value in options.items() if name != flag for word in (name, value)
    ]
    with pytest.raises(InputError, match=f"{flag} is missing"):
        parse_settings(parser().parse_args(["trial", "--clean-up", *other_options, "--", "make"]))


@pytest.mark.parametrize(
    ("arguments", "identifier", "sentence"),
    [
        ([], ROLE, "no command to try"),
        (["--strategy", "session-policy", "--", "make"], USER, "a user cannot be assumed"),
        (["--max-rounds", "0", "--", "make"], ROLE, "--max-rounds is '0'"),
        (["--max-rounds", "٣", "--", "make"], ROLE, "--max-rounds"),
        (["--wait-for-records", "-1", "--", "make"], ROLE, "--wait-for-records is '-1'"),
        (["--settle", "soon", "--", "make"], ROLE, "--settle is 'soon'"),
        (["--never-add", "DeleteBucket", "--", "make"], ROLE, "--never-add holds 'DeleteBucket'"),
        (["--yes-to", "*", "--", "make"], ROLE, "--yes-to holds '\\*'"),
        (["--yes-to", "*:Pass*", "--", "make"], ROLE, "a yes to every service"),
        (["--yes-to", "PassRole", "--", "make"], ROLE, "--yes-to holds 'PassRole'"),
        (["--pass-env", "AWS_SESSION_TOKEN", "--", "make"], ROLE, "the trial's own credentials"),
        (["--pass-env", "NPM_TOKEN=x", "--", "make"], ROLE, "without its value"),
        (["--time-limit", "0", "--", "make"], ROLE, "--time-limit is '0'"),
        (
            ["--", "make"],
            "arn:aws:sts::111122223333:assumed-role/deploy/1",
            "session, not of a role",
        ),
    ],
)
def test_an_invalid_option_is_bad_input(
    arguments: list[str], identifier: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        settings(*arguments, identifier=identifier)


def test_bad_input_ends_with_two_before_any_request_to_aws() -> None:
    command = leastpriv("trial", "--role-arn", "deploy", "--policy-file", "p.json", "--", "make")
    assert (command.code, "--role-arn" in command.err or "is not the ARN" in command.err) == (
        2,
        True,
    )
