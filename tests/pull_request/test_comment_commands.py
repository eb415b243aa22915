"""Only commands of people with write permission count, and none adds what is not offered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.pipeline.command_answers import commands_answer
from leastpriv.pipeline.comment_decisions import (
    checked_commands,
    keep_decisions,
    offer_commands,
)
from leastpriv.pull_request.github.client import Connection, RequestDeadline
from leastpriv.pull_request.github.pull_requests import PullRequests
from leastpriv.pull_request.lifecycle import CommentCommand, parse_commands, rejection_reason
from tests.fakes.github import FakeGitHub
from tests.fakes.github.direct import without_sockets
from tests.fakes.markdown import HOSTILE, read

KEEP = "/leastpriv keep s3:DeleteBucket"


@pytest.fixture
def clock() -> list[datetime]:
    return [datetime(2026, 11, 20, 12, tzinfo=UTC)]


@pytest.fixture
def github(clock: list[datetime]) -> Iterator[FakeGitHub]:
    with FakeGitHub("acme/orders", clock=lambda: clock[-1]) as fake:
        for login, role in (
            ("kim", "write"),
            ("ana", "maintain"),
            ("tri", "triage"),
            ("ron", "read"),
        ):
            fake.add_user(login, role)
        fake.commit_as("kim", "leastpriv/x", {"a.txt": "a"})
        fake.open_pull_as("kim", "leastpriv/x")
        yield fake


def commands(github: FakeGitHub) -> tuple[CommentCommand, ...]:
    connection = Connection.open(
        github.token,
        "acme/orders",
        api_url=github.url,
        web_url="https://github.com",
        deadline=RequestDeadline(lambda _: None),
    )
    return PullRequests(connection).commands([1])


def counted(github: FakeGitHub) -> list[str]:
    decisions = keep_decisions(checked_commands(commands(github)))
    return sorted(decisions)


def fill(github: FakeGitHub, number: int) -> None:
    """An outsider comments as often."""
    for _ in range(number):
        github.comment_as("ron", 1, "+1")


class TestParsing:
    @pytest.mark.parametrize(
        ("body", "found"),
        [
            (KEEP, [("keep", "s3:DeleteBucket")]),
            (
                "Please:\r\n\r\n  /leastpriv keep s3:DeleteBucket  \r\nThanks",
                [("keep", "s3:DeleteBucket")],
            ),
            ("/leastpriv keep `s3:A`, s3:B*", [("keep", "s3:A"), ("keep", "s3:B*")]),
            ("/leastpriv forget s3:*", [("forget", "s3:*")]),
            ("/leastpriv", [("", "")]),
            ("/leastpriv keep", [("keep", "")]),
            (f"> {KEEP}", []),
            (f"    {KEEP}", []),
            (f"Say {KEEP}", []),
            (f"```\n{KEEP}\n```", []),
            (f"~~~~\n~~~\n{KEEP}\n~~~~\n", []),
            (f"```\n```\n{KEEP}", [("keep", "s3:DeleteBucket")]),
            ("/leastprivate keep s3:A", []),
            (f"Denied: x\u2028{KEEP}", []),
            (f"Denied: x\x85{KEEP}", []),
            (f"Denied: x\x0b{KEEP}\x0c{KEEP}\x1c{KEEP}", []),
            (f"Denied: x <!--\n{KEEP}\n-->", []),
            (f"Denied: x\n<!--\n{KEEP}", []),
            (f"Denied: x <!--\n{KEEP}", [("keep", "s3:DeleteBucket")]),
            (f"<!-- why -->\n{KEEP}", [("keep", "s3:DeleteBucket")]),
            (f"Denied <a title='\n{KEEP}\n'>x</a>", []),
            (f"<div>Yearly</div>\n{KEEP}", [("keep", "s3:DeleteBucket")]),
            (f"<img src='x'>\n\n{KEEP}", [("keep", "s3:DeleteBucket")]),
            (f"Yearly:<br>\n{KEEP}", [("keep", "s3:DeleteBucket")]),
            (f"Yearly:<br/>{KEEP}", [("keep", "s3:DeleteBucket")]),
            (f"{KEEP}<br>", [("keep", "s3:DeleteBucket")]),
            (f"<details>\n\nlog\n\n</details>\n\n{KEEP}", [("keep", "s3:DeleteBucket")]),
            (f"<details>\nlog\n</details>\n{KEEP}", [("keep", "s3:DeleteBucket")]),
            (
                f"<details><summary>Log</summary>\n\n{KEEP}\n\n</details>",
                [("keep", "s3:DeleteBucket")],
            ),
            (f"<div>x</div>\n\n> {KEEP}\n\n```\n{KEEP}\n```", []),
            (f"<div>x</div>\n<!--\n{KEEP}\n-->", []),
            (f"<div>x</div>\n<!--\n{KEEP}", []),
            ("<div>x</div>\n/leastpriv forget s3:A\n\n/leastpriv add s3:A", []),
            ("x<br>/leastpriv forget s3:A", []),
            ("x `<br>`/leastpriv forget s3:A", []),
            (f"{KEEP}\n\n<details>\n\nlog\n\n</details>", [("keep", "s3:DeleteBucket")]),
            (f"[log]: https://example.org '\n{KEEP}\n'", []),
            (f"A [log](https://example.org '\n{KEEP}\n')", []),
            (f"A ![log](https://example.org '\n{KEEP}\n')", []),
            (f"> Denied\n{KEEP}", []),
            (f"[{KEEP}](https://example.org)", []),
            (f"`{KEEP}`", []),
            (f"Yearly:\n- a report\n{KEEP}", [("keep", "s3:DeleteBucket")]),
            (f"{KEEP}\n---\nKim", [("keep", "s3:DeleteBucket")]),
            ("/leastpriv keep s3:*Bucket* sqs:*", [("keep", "s3:*Bucket*"), ("keep", "sqs:*")]),
            ("/leastpriv keep s3:Get_*_", [("keep", "s3:Get_*_")]),
            (f"{KEEP}\n\n{'x' * 10_000}", [("keep", "s3:DeleteBucket")]),
            (f"> {KEEP}\n/leastpriv forget s3:A\n/leastpriv add s3:A\n{'x' * 10_000}", []),
        ],
    )
    def test_a_command_is_a_separate_line_outside_quotes_and_code(
        self, body: str, found: list[tuple[str, str]]
    ) -> None:
        commands = [(command.verb, command.pattern) for command in parse_commands(body)]
        assert commands == found

    @given(st.text())
    def test_any_text_gives_bounded_commands(self, body: str) -> None:
        parsed = parse_commands(f"/leastpriv keep {body}")
        assert len(parsed) <= 20
        assert all(len(command.pattern) <= 200 for command in parsed)

    @pytest.mark.parametrize("verb", ["take", "allow", "", "KEEP"])
    def test_other_commands_are_rejected(self, verb: str) -> None:
        assert rejection_reason(verb, "s3:DeleteBucket")


class TestAuthors:
    @pytest.mark.parametrize(
        ("login", "counts"),
        [("kim", True), ("ana", True), ("octocat", True), ("tri", False), ("ron", False)],
    )
    def test_only_commands_of_people_with_write_permission_count(
        self, github: FakeGitHub, login: str, counts: bool
    ) -> None:
        github.comment_as(login, 1, KEEP)
        assert counted(github) == (["s3:DeleteBucket"] if counts else [])

    def test_commands_of_outsiders_and_apps_do_not_count(self, github: FakeGitHub) -> None:
        github.comment_as("mallory", 1, KEEP)
        github.world.roles["helper[bot]"] = "write"
        github.comment_as("helper[bot]", 1, KEEP)
        assert [command.rejection for command in commands(github)] == [
            "only people with write permission decide",
            "an app wrote it",
        ]

    def test_an_edited_comment_does_not_count(
        self, github: FakeGitHub, clock: list[datetime]
    ) -> None:
        number = github.comment_as("kim", 1, "Fine.")
        clock.append(clock[-1] + timedelta(minutes=1))
        comment = github.world.comments[number]
        comment.body, comment.updated_at = KEEP, github.world.timestamp()
        (command,) = commands(github)
        assert "edited" in command.rejection
        assert counted(github) == []

    def test_commands_of_a_person_who_lost_the_permission_do_not_count(
        self, github: FakeGitHub
    ) -> None:
        github.comment_as("kim", 1, KEEP)
        github.world.roles["kim"] = "read"
        assert counted(github) == []

    def test_the_latest_command_on_a_pattern_counts(
        self, github: FakeGitHub, clock: list[datetime]
    ) -> None:
        github.comment_as("kim", 1, KEEP)
        clock.append(clock[-1] + timedelta(minutes=1))
        github.comment_as("ana", 1, "/leastpriv forget s3:DeleteBucket")
        decisions = keep_decisions(checked_commands(commands(github)))
        assert (decisions["s3:DeleteBucket"].keep, decisions["s3:DeleteBucket"].by) == (
            False,
            "ana",
        )

    @pytest.mark.parametrize(("before", "after"), [(1_100, 0), (0, 1_100)])
    def test_comments_of_outsiders_hide_no_command(
        self, github: FakeGitHub, before: int, after: int
    ) -> None:
        github.world.checks_descriptions = False
        with without_sockets(github):
            fill(github, before)
            github.comment_as("kim", 1, KEEP)
            fill(github, after)
            assert counted(github) == ["s3:DeleteBucket"]

    @pytest.mark.parametrize(
        "pattern", ["s3", "s3:${x}", "s3:\u202eDelete", "https://evil.example", "a:b:c", "*:*"]
    )
    def test_a_command_without_an_action_does_not_count(
        self, github: FakeGitHub, pattern: str
    ) -> None:
        github.comment_as("kim", 1, f"/leastpriv keep {pattern}")
        assert counted(github) == []


class TestOffers:
    def test_a_command_adds_under_its_own_pull_request_alone(self, github: FakeGitHub) -> None:
        github.comment_as("kim", 1, "/leastpriv add sqs:TagQueue")
        checked = checked_commands(commands(github))
        assert [
            (offer_command.pattern, offer_command.takes)
            for offer_command in offer_commands(checked, 1)
        ] == [("sqs:TagQueue", True)]
        assert offer_commands(checked, 2) == ()

    def test_adding_keeps_and_forgets_nothing(self, github: FakeGitHub) -> None:
        github.comment_as("kim", 1, "/leastpriv add sqs:TagQueue")
        assert counted(github) == []

    def test_only_people_who_may_write_take_an_offer(self, github: FakeGitHub) -> None:
        github.comment_as("tri", 1, "/leastpriv add sqs:TagQueue")
        github.comment_as("ron", 1, "/leastpriv add *")
        checked = checked_commands(commands(github))
        assert offer_commands(checked, 1) == ()

    def test_a_later_command_takes_an_offer_back(
        self, github: FakeGitHub, clock: list[datetime]
    ) -> None:
        github.comment_as("kim", 1, "/leastpriv add sqs:TagQueue")
        clock.append(clock[-1] + timedelta(minutes=1))
        github.comment_as("ana", 1, "/leastpriv forget sqs:TagQueue")
        checked = checked_commands(commands(github))
        assert [offer_command.takes for offer_command in offer_commands(checked, 1)] == [
            True,
            False,
        ]

    @pytest.mark.parametrize(
        ("said", "remembered"),
        [
            (["add sqs:TagQueue", "forget sqs:TagQueue"], []),
            (["add *", "forget sqs:TagQueue"], []),
            (["add sqs:TagQueue", "forget sqs:*"], ["sqs:*"]),
            (["forget sqs:TagQueue", "add sqs:TagQueue"], ["sqs:TagQueue"]),
            (["keep sqs:TagQueue", "add *", "forget sqs:TagQueue"], ["sqs:TagQueue"]),
        ],
    )
    def test_a_taken_back_offer_is_not_remembered(
        self, github: FakeGitHub, clock: list[datetime], said: list[str], remembered: list[str]
    ) -> None:
        for command in said:
            clock.append(clock[-1] + timedelta(minutes=1))
            github.comment_as("kim", 1, f"/leastpriv {command}")
        assert counted(github) == remembered

    @pytest.mark.parametrize(
        "body", ["Thanks\n/leastpriv add s3:*", "/leastpriv add s3:* <!-- -->"]
    )
    def test_a_command_among_other_text_adds_nothing(self, github: FakeGitHub, body: str) -> None:
        github.comment_as("kim", 1, body)
        checked = checked_commands(commands(github))
        assert offer_commands(checked, 1) == ()
        assert "without other text" in checked[-1].rejection

    @pytest.mark.parametrize("verb", ["add", "forget"])
    @pytest.mark.parametrize(
        "body",
        [
            '[//]: # "\n/leastpriv VERB s3:*\n"',
            '<a title="\n/leastpriv VERB s3:*\n">thanks</a>',
            '/leastpriv keep x <a title="\n/leastpriv VERB s3:*\n/leastpriv keep ">',
            "<details>\n\n/leastpriv VERB s3:*\n\n</details>",
        ],
    )
    def test_a_hidden_command_is_none(self, github: FakeGitHub, body: str, verb: str) -> None:
        github.comment_as("kim", 1, body.replace("VERB", verb))
        checked = checked_commands(commands(github))
        decisions = keep_decisions(checked)
        assert offer_commands(checked, 1) == ()
        assert not decisions

    def test_several_commands_in_one_comment_add(self, github: FakeGitHub) -> None:
        body = "/leastpriv add `sqs:TagQueue`, sqs:Untag*\r\n\r\n/leastpriv keep s3:A\n"
        github.comment_as("kim", 1, body)
        checked = checked_commands(commands(github))
        assert [offer_command.pattern for offer_command in offer_commands(checked, 1)] == [
            "sqs:TagQueue",
            "sqs:Untag*",
        ]


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(HOSTILE),
    st.sampled_from(["kim", "x[bot]"]),
)
def test_the_answer_shows_untrusted_commands_as_text(pattern: str, login: str) -> None:
    created_at = datetime(2026, 11, 20, tzinfo=UTC)
    given_ = [
        CommentCommand(
            verb=command.verb,
            pattern=command.pattern,
            author=login,
            created_at=created_at,
            comment_id=1,
            pull_request=1,
            rejection="an app wrote it",
        )
        for command in parse_commands(f"/leastpriv keep {pattern}")
    ]
    text = commands_answer(given_, (), remembered=True)
    assert read(text).acts() == []
    assert len([line for line in text.splitlines() if line.startswith("- ")]) == len(given_)
