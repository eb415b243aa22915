"""On a terminal `leastpriv init` asks for what is not given; with `--check` its exit code says
whether all works.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from leastpriv.cli.commands import ask
from leastpriv.init.options import known_options, parse_options
from tests.fakes.aws.server import FakeAws
from tests.fakes.command import leastpriv

ROLE = "arn:aws:iam::111122223333:role/ci"


def answered(
    answers: Sequence[str], **given: Sequence[str]
) -> tuple[dict[str, Sequence[str]], list[str], list[str]]:
    """The options after these answers, the questions and the errors."""
    remaining_answers, prompts, errors = list(answers), list[str](), list[str]()

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        return remaining_answers.pop(0) + "\n"

    options = ask({**dict.fromkeys(known_options(), ()), **given}, answer, errors.append)
    assert not remaining_answers
    return options, prompts, errors


def test_the_defaults_are_those_of_a_first_run() -> None:
    options, prompts, errors = answered(["acme/shop", ROLE, "", "", "", ""])
    assert errors == []
    assert len(prompts) == 6
    assert parse_options(options) == parse_options(
        {**options, "branch": ["main"], "trails": ["event-history"]}
    )
    assert options["repository"] == ("acme/shop",)


def test_a_trail_in_a_bucket_is_asked_for_its_key_account_and_table() -> None:
    key = "arn:aws:kms:eu-west-1:999999999999:key/1"
    parsed, prompts, _ = answered(
        [
            "acme/shop",
            f"{ROLE} {ROLE}-2",
            "a.json b.json",
            "prod eu",
            "s3://logs/AWSLogs/o-abcdefghij",
            key,
            "",
            "wg/d.t",
            "s3://results",
        ]
    )
    options = parse_options(parsed)
    assert [target.file for target in options.targets] == ["a.json", "b.json"]
    assert options.environment == "prod eu"
    assert not any("Branch" in question for question in prompts)
    assert options.trail_account == "999999999999"
    assert {"athena", "kms"} <= {*options.sources}


def test_a_wrong_answer_is_asked_again_with_the_reason() -> None:
    options, prompts, errors = answered(["acme", "", "acme/shop", ROLE, "", "", "", ""])
    assert "OWNER/NAME" in errors[0]
    assert prompts[0] == prompts[1] == prompts[2]
    assert options["repository"] == ("acme/shop",)


def test_what_is_given_is_not_asked() -> None:
    _, prompts, _ = answered(["acme/shop", "", "", ""], **{"role-arn": [ROLE], "branch": ["main"]})
    assert not any("ARNs of the roles" in question or "Branch" in question for question in prompts)


@pytest.mark.parametrize(("denied", "code"), [(False, 0), (True, 1)])
def test_the_exit_code_of_a_check_says_whether_all_works(
    denied: bool, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = "arn:aws:sts::111122223333:assumed-role/leastpriv-reader/run"
    answer = {"Account": "111122223333", "Arn": reader, "UserId": "x"}
    operations = {
        "cloudtrail:LookupEvents": lambda _: {"Events": []},
        "sts:GetCallerIdentity": lambda _: answer,
    }
    with FakeAws(operations) as aws:
        if denied:
            aws.refuse("LookupEvents", "AccessDeniedException", "no")
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        run = leastpriv(
            "init", "--check", "--repository", "acme/shop", "--role-arn", ROLE, "--sources",
            "event-history",
            "--aws-regions", "eu-west-1",
        )  # fmt: skip
    assert (run.code, "LookupEvents: eu-west-1" in run.out) == (code, True)
