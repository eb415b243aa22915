"""Publishing on GitHub, row by row of the life cycle, against a GitHub that keeps state and checks every request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.github_errors import CreationForbiddenError
from leastpriv.pull_request.lifecycle import EDITED_LABEL, PAUSED_LABEL
from leastpriv.pull_request.local import Operation, Publication
from leastpriv.pull_request.publish import OnGitHub, publish_on_github
from leastpriv.pull_request.repository import GitHubRepository, Words
from tests.fakes.github.server import FakeGitHub

OLD = b'{"Version": "2012-10-17", "Statement": []}\n'
NEW = b'{"Version": "2012-10-17", "Statement": [1]}\n'
PROPOSED = Publication("leastpriv/ci-deploy", "", "iam/ci-deploy.json", NEW, "Remove 14 actions", "Short.", "ab" * 16)
BOX = "- [ ] <!-- leastpriv:rebase --> make the branch anew"


def words(fingerprint: str = PROPOSED.fingerprint) -> Words:
    return Words("Remove 14 actions", f"Evidence.\n\n{BOX}\n\n<!-- leastpriv v=1 fingerprint={fingerprint} -->\n")


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub("acme/orders", files={PROPOSED.path: OLD, "README.md": b"hello\n"}) as fake:
        yield fake


def connect(github: FakeGitHub) -> GitHubRepository:
    return GitHubRepository.open(
        github.token, "acme/orders", api_url=github.url, web_url="https://github.example", sleep=lambda _: None, pause=0
    )


def published(github: FakeGitHub, publication: Publication = PROPOSED, text: Words | None = None) -> OnGitHub:
    return publish_on_github(connect(github), publication, text or words(publication.fingerprint))


def test_the_first_proposal_makes_one_signed_commit_a_branch_and_a_pull_request(github: FakeGitHub) -> None:
    result = published(github)
    assert (result.operation, result.number > 0) == (Operation.CREATED, True)
    repository = connect(github)
    assert repository.read(result.head_sha, PROPOSED.path) == NEW
    assert repository.read(result.head_sha, "README.md") == b"hello\n"


def test_the_same_proposal_again_changes_nothing_at_all(github: FakeGitHub) -> None:
    first = published(github)
    writes_before = len([each for each in github.requests if each.method not in ("GET", "HEAD")])
    again = published(github)
    assert (again.operation, again.head_sha, again.number) == (Operation.NONE, first.head_sha, first.number)
    writes = [each for each in github.requests if each.method not in ("GET", "HEAD")][writes_before:]
    assert [each.path for each in writes if "graphql" not in each.path] == []


def test_another_proposal_is_the_same_pull_request_with_one_commit_on_the_base(github: FakeGitHub) -> None:
    first = published(github)
    other = replace(PROPOSED, fingerprint="cd" * 16, content=b"[2]\n")
    result = published(github, other, replace(words(other.fingerprint), title="Remove 15 actions"))
    assert (result.operation, result.number) == (Operation.UPDATED, first.number)
    assert connect(github).read(result.head_sha, PROPOSED.path) == b"[2]\n"


def test_a_branch_that_a_person_pushed_to_is_left_alone_and_told_once(github: FakeGitHub) -> None:
    first = published(github)
    github.add_user("kim", "write")
    github.commit_as("kim", PROPOSED.branch, {PROPOSED.path: b"[3]\n"}, "Mine")
    other = replace(PROPOSED, fingerprint="cd" * 16, content=b"[2]\n")
    for _ in range(2):
        result = published(github, other)
        assert result.operation is Operation.NONE
    assert connect(github).read(result.head_sha, PROPOSED.path) == b"[3]\n"
    pull = connect(github).open_pull(PROPOSED.branch)
    assert pull is not None
    assert EDITED_LABEL in pull[0].labels
    assert first.number == pull[0].number


def test_a_proposal_that_a_person_declined_does_not_come_back(github: FakeGitHub) -> None:
    first = published(github)
    github.add_user("kim", "write")
    github.close_pull(first.number, "kim")
    assert published(github).operation is Operation.NONE
    other = replace(PROPOSED, fingerprint="cd" * 16, content=b"[2]\n")
    assert published(github, other).number != first.number


def test_nothing_left_to_change_closes_the_pull_request_and_deletes_the_branch(github: FakeGitHub) -> None:
    published(github)
    github.add_user("kim", "write")
    github.commit_as("kim", "main", {PROPOSED.path: NEW}, "By hand")
    assert published(github).operation is Operation.CLOSED
    repository = connect(github)
    assert repository.commit_at(PROPOSED.branch) is None
    assert repository.open_pull(PROPOSED.branch) is None


def test_the_paused_label_stops_everything(github: FakeGitHub) -> None:
    first = published(github)
    github.add_user("kim", "write")
    github.label_as("kim", first.number, PAUSED_LABEL)
    other = replace(PROPOSED, fingerprint="cd" * 16, content=b"[2]\n")
    assert published(github, other).head_sha == first.head_sha


def test_forbidden_creation_keeps_the_branch_and_gives_the_link(github: FakeGitHub) -> None:
    github.forbid_pull_request_creation()
    with pytest.raises(CreationForbiddenError, match=r"compare/main\.\.\.leastpriv/ci-deploy"):
        published(github)
    assert connect(github).commit_at(PROPOSED.branch) is not None


def test_a_branch_that_was_never_ours_stops_the_run(github: FakeGitHub) -> None:
    github.add_user("kim", "write")
    github.commit_as("kim", PROPOSED.branch, {"a.txt": b"x"}, "Kim's own")
    with pytest.raises(PullRequestError, match="input branch"):
        published(github)


@pytest.mark.parametrize("by_graphql", [True, False])
def test_a_branch_that_moves_between_look_and_move_is_not_overwritten(github: FakeGitHub, by_graphql: bool) -> None:
    github.graphql_update_refs = by_graphql
    first = published(github)
    github.add_user("kim", "write")
    repository = connect(github)
    repository.branch(PROPOSED.branch, first.base_sha)
    github.commit_as("kim", PROPOSED.branch, {"a.txt": b"x"}, "Mine")
    kims = repository.commit_at(PROPOSED.branch)
    with pytest.raises(PullRequestError, match="moved"):
        repository.move(PROPOSED.branch, first.head_sha, first.base_sha)
    assert repository.commit_at(PROPOSED.branch) == kims


def test_a_wrong_token_is_one_sentence_that_names_the_input(github: FakeGitHub) -> None:
    with pytest.raises(PullRequestError, match="github-token"):
        GitHubRepository.open("wrong", "acme/orders", api_url=github.url, web_url=github.url, sleep=time.sleep, pause=0)
    github.violations.clear()
