"""A pull request is the program's own by repository, author and base, never by a branch's name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leastpriv.pull_request.github.repository import GitHubRepository
from leastpriv.pull_request.lifecycle import PAUSED_LABEL
from leastpriv.pull_request.models import PublishResult, PullRequestOperation
from tests.fakes.github.direct import without_sockets
from tests.fakes.github.server import FakeGitHub
from tests.pull_request.github.test_repository import (
    BRANCH,
    NOW,
    OLD,
    OTHER,
    PATH,
    PROPOSED,
    connect,
    declined,
    published,
    without_writes,
)

FORK = "acme/orders-of-kim"
ADMINISTRATOR = b'{"Version": "2012-10-17", "Statement": [{"Action": "*"}]}\n'
BOT = "github-actions[bot]"
KEEP = "/leastpriv keep s3:DeleteBucket"


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    files = {PATH: OLD, "README.md": b"hello\n"}
    with FakeGitHub("acme/orders", files=files) as fake, without_sockets(fake):
        fake.add_user("kim", "write")
        fake.add_user("tri", "triage")
        fake.add_user("eve", "read")
        yield fake


def fork_pull(github: FakeGitHub, base: str | None = None, body: str = PROPOSED.body) -> int:
    """A pull request of a fork in the same organization, with the markers of the proposal."""
    return github.open_fork_pull_as(
        "eve", FORK, BRANCH, {PATH: ADMINISTRATOR}, base, "More permissions", body
    )


def assert_opened(github: FakeGitHub, result: PublishResult) -> None:
    """The proposal has a pull request of the program, with its own text and diff."""
    pull = github.pull(result.number)
    assert result.operation is PullRequestOperation.CREATED
    assert (pull.author, pull.title, pull.state) == (BOT, PROPOSED.title, "open")
    assert pull.pull is not None
    assert (pull.pull.fork, pull.pull.head, pull.pull.base) == ("", BRANCH, "main")
    assert PROPOSED.body in str(pull.body)
    assert github.file(PATH, BRANCH) == PROPOSED.files[PATH]


class TestFork:
    """Members of an organization may fork a repository into it, and choose the branch's name."""

    def test_its_open_pull_request_is_not_taken_for_the_proposal(self, github: FakeGitHub) -> None:
        number = fork_pull(github)
        before = github.pull(number)
        state = (before.title, before.body, list(before.labels), before.updated_at)
        assert_opened(github, published(github))
        after = github.pull(number)
        assert (after.title, after.body, after.labels, after.updated_at) == state
        assert github.comments(number) == []

    def test_its_pull_request_that_copies_text_and_labels_stops_nothing(
        self, github: FakeGitHub
    ) -> None:
        number = fork_pull(github)
        github.label_as("kim", number, PAUSED_LABEL)
        assert_opened(github, published(github))

    def test_its_closed_pull_request_declines_nothing(self, github: FakeGitHub) -> None:
        number = fork_pull(github)
        github.close_pull(number, "eve")
        assert declined(github) == []
        assert_opened(github, published(github))

    def test_a_writer_who_closes_it_declines_nothing(self, github: FakeGitHub) -> None:
        number = fork_pull(github)
        github.close_pull(number, "kim")
        assert declined(github) == []
        assert_opened(github, published(github))

    def test_a_deleted_fork_is_no_repository_of_ours(self, github: FakeGitHub) -> None:
        open_number, closed_number = fork_pull(github), fork_pull(github)
        github.close_pull(closed_number, "kim")
        github.delete_fork(FORK)
        assert declined(github) == []
        publish_result = published(github)
        assert_opened(github, publish_result)
        assert publish_result.number not in (open_number, closed_number)

    def test_the_pull_request_of_the_program_in_a_fork_is_not_its_own(
        self, github: FakeGitHub
    ) -> None:
        number = github.open_fork_pull_as(
            BOT, FORK, BRANCH, {PATH: ADMINISTRATOR}, body=PROPOSED.body
        )
        assert_opened(github, published(github))
        github.close_pull(number, "kim")
        assert declined(github) == []

    def test_its_pull_request_beside_the_open_proposal_changes_nothing(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        fork_pull(github)
        again = without_writes(github, lambda: published(github))
        assert again.number == first.number
        assert published(github, OTHER).number == first.number
        assert github.pull(first.number).title == OTHER.title

    def test_commands_under_it_do_not_count(self, github: FakeGitHub) -> None:
        open_number, closed_number = fork_pull(github), fork_pull(github)
        github.close_pull(closed_number, "kim")
        for number in (open_number, closed_number):
            github.comment_as("kim", number, KEEP)
        pulls = GitHubRepository(connect(github)).pull_requests
        assert pulls.comment_commands(BRANCH, "") == ()

    def test_many_of_its_closed_pull_requests_hide_no_decline(self, github: FakeGitHub) -> None:
        first = published(github)
        github.close_pull(first.number, "kim")
        for _ in range(105):
            github.close_pull(fork_pull(github), "eve")
        assert [pull.number for pull in declined(github)] == [first.number]


class TestOtherAuthor:
    def test_a_closed_pull_request_of_another_author_declines_nothing(
        self, github: FakeGitHub
    ) -> None:
        published(github)
        github.close_pull(1, BOT)
        their_pull = github.open_pull_as("kim", BRANCH, title="Mine", body=PROPOSED.body)
        github.close_pull(their_pull, "kim")
        assert declined(github) == []
        publish_result = published(github)
        assert publish_result.number not in (1, their_pull)
        assert_opened(github, publish_result)

    def test_an_open_pull_request_of_a_writer_keeps_its_text_and_is_named(
        self, github: FakeGitHub
    ) -> None:
        published(github)
        github.close_pull(1, BOT)
        their_pull = github.open_pull_as("kim", BRANCH, title="Mine", body=PROPOSED.body)
        publish_result = published(github, OTHER)
        assert (publish_result.number, publish_result.url, publish_result.failure) == (0, "", "")
        assert f"#{their_pull} by kim" in publish_result.reason
        pull = github.pull(their_pull)
        assert (pull.title, pull.body, pull.labels) == ("Mine", PROPOSED.body, [])
        assert github.file(PATH, BRANCH) == OTHER.files[PATH]
        github.close_pull(their_pull, "kim")
        again = published(github, OTHER)
        assert (again.operation, github.pull(again.number).author) == (
            PullRequestOperation.CREATED,
            BOT,
        )

    def test_an_open_pull_request_of_an_outsider_fails_with_its_number(
        self, github: FakeGitHub
    ) -> None:
        published(github)
        github.close_pull(1, BOT)
        their_pull = github.open_pull_as("eve", BRANCH, title="Mine", body=PROPOSED.body)
        publish_result = published(github, OTHER)
        assert f"#{their_pull} by eve" in publish_result.failure
        assert (github.pull(their_pull).title, github.comments(their_pull)) == ("Mine", [])

    def test_another_app_is_another_author(self, github: FakeGitHub) -> None:
        published(github)
        github.close_pull(1, BOT)
        their_pull = github.open_pull_as("renovate[bot]", BRANCH, body=PROPOSED.body)
        assert f"#{their_pull} by renovate[bot]" in published(github, OTHER).failure
        github.close_pull(their_pull, "kim")
        assert declined(github) == []

    def test_an_app_continues_what_a_workflow_of_the_repository_opened(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        permissions = {"metadata": "read", "contents": "write", "pull_requests": "write"}
        app = github.token_for("policy-bot[bot]", permissions)
        publish_result = GitHubRepository(connect(github, token=app)).publish(OTHER, NOW)
        assert publish_result.number == first.number
        github.close_pull(first.number, BOT)
        of_app = GitHubRepository(connect(github, token=app)).publish(PROPOSED, NOW)
        assert github.pull(of_app.number).author == "policy-bot[bot]"
        other_app = github.token_for("other-bot[bot]", permissions)
        of_other = GitHubRepository(connect(github, token=other_app)).publish(OTHER, NOW)
        assert f"#{of_app.number} by policy-bot[bot]" in of_other.failure
        assert github.pull(of_app.number).title == PROPOSED.title


class TestOtherBase:
    def test_a_pull_request_of_another_author_into_another_base_changes_nothing(
        self, github: FakeGitHub
    ) -> None:
        github.commit_as("kim", "release", {"a.txt": "x"})
        published(github)
        github.close_pull(1, BOT)
        their_pull = github.open_pull_as("kim", BRANCH, "release", body=PROPOSED.body)
        assert_opened(github, published(github))
        assert (github.pull(their_pull).labels, github.comments(their_pull)) == ([], [])

    def test_a_closed_pull_request_into_another_base_declines_nothing(
        self, github: FakeGitHub
    ) -> None:
        github.commit_as("kim", "release", {"a.txt": "x"})
        published(github)
        connect(github).repository.get_pull(1).edit(base="release")
        github.close_pull(1, "kim")
        assert declined(github) == []
        publish_result = published(github)
        assert publish_result.number != 1
        assert_opened(github, publish_result)


class TestDecline:
    @pytest.mark.parametrize("login", ["tri", "eve", "stale[bot]", "no-longer-here"])
    def test_only_a_closer_with_write_permission_declines(
        self, github: FakeGitHub, login: str
    ) -> None:
        first = published(github)
        github.close_pull(first.number, login)
        closed = GitHubRepository(connect(github)).pull_requests.closed(BRANCH, "")
        # What the memory knows of an earlier decline still counts.
        assert [(pull.declined, pull.undone) for pull in closed] == [(False, False)]
        publish_result = published(github)
        assert publish_result.number != first.number
        assert_opened(github, publish_result)

    @pytest.mark.parametrize("role", ["write", "maintain", "admin"])
    def test_each_permission_to_write_declines(self, github: FakeGitHub, role: str) -> None:
        github.add_user("ana", role)
        first = published(github)
        github.close_pull(first.number, "ana")
        assert [pull.number for pull in declined(github)] == [first.number]
        again = without_writes(github, lambda: published(github))
        assert again.operation is PullRequestOperation.NONE
