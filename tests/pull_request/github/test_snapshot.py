"""What is read for all targets together is what single requests give."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.github.branches import Branches
from leastpriv.pull_request.github.pull_requests import PullRequests
from leastpriv.pull_request.github.repository import GitHubRepository
from leastpriv.pull_request.lifecycle import RECONSIDER_LABEL
from leastpriv.pull_request.models import TargetFiles
from tests.fakes.github.server import FakeGitHub
from tests.pull_request.github.test_repository import (
    BRANCH,
    OLD,
    OTHER,
    PATH,
    PROPOSED,
    connect,
    published,
)

CONTENTS = {
    'iam/quoted "name" \\ {}.json': b"{}\n",
    "iam/\N{SNOWMAN}\N{GRINNING FACE}.json": b"{}\n",
    "iam/plain.json": b'{"Version": "2012-10-17"}\n',
    "iam/line-ends.json": b"{}\r\n\r\n",
    "iam/no-end.json": b"{}",
    "iam/empty.json": b"",
    "iam/accents.json": "{'ä': '\N{SNOWMAN}'}\n".encode(),
    "iam/mark.json": "\N{BYTE ORDER MARK}{}\n".encode(),
    "iam/latin.json": b"{'\xe4': 1}\n",
    "iam/utf-16.json": "{}\n".encode("utf-16"),
    "iam/long.json": b"[" + b"1," * 300_000 + b"1]\n",
}


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    files = {**CONTENTS, PATH: OLD, "README.md": b"hello\n"}
    with FakeGitHub("acme/orders", files=files) as fake:
        fake.add_user("kim", "write")
        fake.add_user("tri", "triage")
        yield fake


def read_ahead(github: FakeGitHub, *targets: TargetFiles) -> GitHubRepository:
    remote = GitHubRepository(connect(github))
    remote.read_ahead("", targets or (TargetFiles(BRANCH, (PATH,)),))
    return remote


def test_files_of_any_content_are_the_same(github: FakeGitHub) -> None:
    paths = (*CONTENTS, "iam/none.json")
    remote = read_ahead(github, TargetFiles(BRANCH, paths))
    base = github.head("main")
    for path in paths:
        assert remote.read(base, path) == CONTENTS.get(path)


def test_most_files_need_no_further_request(github: FakeGitHub) -> None:
    remote = read_ahead(github, TargetFiles(BRANCH, tuple(CONTENTS)))
    base, before = github.head("main"), len(github.requests)
    for path in ("iam/plain.json", "iam/line-ends.json", "iam/empty.json", "iam/accents.json"):
        remote.read(base, path)
        assert remote.last_changed(base, path) is not None
    assert len(github.requests) == before


def test_a_link_is_read_as_github_follows_it_and_a_folder_is_no_file(github: FakeGitHub) -> None:
    from github import InputGitTreeElement

    repository = connect(github).repository
    base = repository.get_git_commit(github.head("main"))
    link = InputGitTreeElement("iam/link.json", "120000", "blob", content="plain.json")
    tree = repository.create_git_tree([link], base_tree=base.tree)
    commit = repository.create_git_commit("Link", tree, [base])
    github.move_branch_as("kim", "main", commit.sha)
    remote = read_ahead(github, TargetFiles(BRANCH, ("iam/link.json", "iam")))
    single = Branches(connect(github))
    assert remote.read(commit.sha, "iam/link.json") == single.read(commit.sha, "iam/link.json")
    with pytest.raises(PullRequestError, match="no regular file"):
        remote.read(commit.sha, "iam")


@pytest.mark.parametrize("method", ["merge", "squash"])
def test_the_time_of_a_change_is_the_same(github: FakeGitHub, method: str) -> None:
    github.merge_pull(published(github).number, "kim", method)
    head = github.head("main")
    expected = Branches(connect(github)).last_changed(head, PATH)
    assert read_ahead(github).last_changed(head, PATH) == expected


def test_pull_requests_are_the_same(github: FakeGitHub) -> None:
    published(github)
    github.close_pull(1, "kim")
    published(github, OTHER)
    github.close_pull(2, "tri")
    github.label_as("kim", 2, RECONSIDER_LABEL)
    github.move_branch_as("kim", BRANCH, None)
    published(github)
    fork = github.open_fork_pull_as("kim", "acme/fork", BRANCH, {PATH: b"[]"}, body=PROPOSED.body)
    github.close_pull(fork, "kim")
    github.open_fork_pull_as("kim", "acme/fork", BRANCH, {PATH: b"[]"}, body=PROPOSED.body)
    single, together = PullRequests(connect(github)), read_ahead(github).pull_requests
    assert together.closed(BRANCH, "") == single.list_closed(BRANCH, "")
    assert together.known_of_branch(BRANCH, "main") == single.of_branch(BRANCH, "main")


def test_comments_are_the_same(github: FakeGitHub) -> None:
    number = published(github).number
    for login in ("kim", "tri", "stale[bot]"):
        github.comment_as(login, number, "/leastpriv keep s3:DeleteBucket")
    single, together = PullRequests(connect(github)), read_ahead(github).pull_requests
    assert together.comment_commands(BRANCH, "") == single.comment_commands(BRANCH, "")
    assert [command.rejection for command in together.comment_commands(BRANCH, "")] == [
        "",
        "only people with write permission decide",
        "an app wrote it",
    ]


def test_a_branch_with_many_pull_requests_is_listed_whole(github: FakeGitHub) -> None:
    for number in range(1, 13):
        published(github)
        github.close_pull(number, "kim")
        github.label_as("kim", number, RECONSIDER_LABEL)
    single, together = PullRequests(connect(github)), read_ahead(github).pull_requests
    assert len(together.closed(BRANCH, "")) == 12
    assert together.closed(BRANCH, "") == single.list_closed(BRANCH, "")


def test_a_branch_that_moved_since_is_not_overwritten(github: FakeGitHub) -> None:
    published(github)
    remote = read_ahead(github)
    head = github.commit_as("kim", BRANCH, {"notes.txt": "mine"}, "Mine")
    remote.publish(OTHER, github.world.now())
    assert github.head(BRANCH) == head


def test_a_token_that_may_not_read_pull_requests_reads_files(github: FakeGitHub) -> None:
    token = github.token_for("reader[bot]", {"metadata": "read", "contents": "read"})
    remote = GitHubRepository(connect(github, token=token))
    remote.read_ahead("", [TargetFiles(BRANCH, (PATH,))])
    assert remote.read(github.head("main"), PATH) == OLD
