"""The branch that remembers, against a GitHub that keeps state: nothing is lost in a race, and no stranger is heard."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from github import InputGitAuthor, InputGitTreeElement

from leastpriv.errors import PullRequestError, UnreadableHistoryError
from leastpriv.pull_request.github.client import Connection
from leastpriv.pull_request.github.state_branch import BranchStateStore
from leastpriv.pull_request.state_store import FolderStateStore, StateStore, StateUpdate
from tests.fakes.github import FakeGitHub

BRANCH = "leastpriv-evidence"
PATH = "111122223333/role/ci-deploy.json"
LONGEST = 1_000
TRAILER = "Leastpriv-Memory: v1"


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub("acme/orders") as fake:
        fake.add_user("kim", "write")
        yield fake


def store(
    github: FakeGitHub, path: str = PATH, token: str = "", web: str = "https://github.com", max_bytes: int = LONGEST
) -> BranchStateStore:
    connection = Connection.open(
        token or github.token, "acme/orders", api_url=github.url, web_url=web, sleep=lambda _: None
    )
    return BranchStateStore(connection, BRANCH, path, "Remember what ci-deploy used", max_bytes)


def adding(name: str) -> StateUpdate:
    """Adds a name to a list of names; the same once more changes nothing."""
    return lambda raw: json.dumps(sorted({*json.loads(raw or b"[]"), name})).encode()


def names(github: FakeGitHub, path: str = PATH) -> list[str]:
    found = json.loads(github.file(path, BRANCH))
    assert isinstance(found, list)
    return found


def commits(github: FakeGitHub) -> int:
    return len(github.world.git.commits(github.head(BRANCH)))


class Unsigned(set[str]):
    """The commits that a server signs which signs none."""

    def add(self, element: str) -> None:
        """Leaves it unsigned."""


class TestKeeping:
    def test_nothing_is_kept_where_there_is_no_branch(self, github: FakeGitHub) -> None:
        assert store(github).read() is None

    def test_the_branch_begins_without_a_parent_and_without_the_code(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        (first,) = github.world.git.commits(github.head(BRANCH))
        assert (first.parents, store(github).read()) == ((), b'["a"]')
        listed = github.world.git.read_tree(first.tree, recursive=True)
        assert [entry.path for entry in listed if entry.kind == "blob"] == [PATH]

    def test_what_is_known_already_makes_no_commit(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        head = github.head(BRANCH)
        store(github).update(adding("a"))
        assert github.head(BRANCH) == head

    def test_files_of_other_roles_stay(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        store(github, "111122223333/role/other.json").update(adding("b"))
        assert (names(github), names(github, "111122223333/role/other.json")) == (["a"], ["b"])

    def test_the_default_branch_and_its_files_are_never_touched(self, github: FakeGitHub) -> None:
        head = github.head("main")
        store(github).update(adding("a"))
        assert github.head("main") == head


class TestRaces:
    def test_eight_runs_at_once_on_two_roles_lose_nothing(self, github: FakeGitHub) -> None:
        failures: list[BaseException] = []
        together = threading.Barrier(8)

        def remember(number: int) -> None:
            try:
                own = store(github, PATH if number % 2 else "111122223333/role/other.json")
                together.wait()
                own.update(adding(f"run-{number}"))
                own.update(adding(f"run-{number}-again"))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=remember, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        found = [*names(github), *names(github, "111122223333/role/other.json")]
        assert sorted(found) == sorted(f"run-{n}{again}" for n in range(8) for again in ("", "-again"))
        assert commits(github) == 16

    def test_a_faster_run_right_before_the_branch_moves_is_merged(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        pattern = f"/git/refs/heads/{BRANCH}"
        github.before_next("PATCH", pattern, lambda: store(github).update(adding("faster")))
        store(github).update(adding("slower"))
        assert names(github) == ["a", "faster", "slower"]

    def test_two_first_runs_are_merged(self, github: FakeGitHub) -> None:
        github.before_next("POST", "/git/refs$", lambda: store(github).update(adding("faster")))
        store(github).update(adding("slower"))
        assert names(github) == ["faster", "slower"]

    def test_an_answer_that_got_lost_is_no_second_commit(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        github.fail_next("PATCH", f"/git/refs/heads/{BRANCH}", 422, carried_out=True)
        store(github).update(adding("b"))
        assert (names(github), commits(github)) == (["a", "b"], 2)

    def test_a_protected_branch_is_told_and_not_tried_for_ever(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        github.protect(BRANCH)
        with pytest.raises(PullRequestError, match="protects the branch"):
            store(github).update(adding("b"))


class TestStrangers:
    def forged(
        self,
        github: FakeGitHub,
        author: InputGitAuthor | None,
        content: str,
        path: str = PATH,
        committer: InputGitAuthor | None = None,
    ) -> str:
        """A commit over the branch, made with a person's token, with the trailer and whatever author."""
        token = github.token_for("kim")
        repository = Connection.open(
            token, "acme/orders", api_url=github.url, web_url="https://github.com", sleep=lambda _: None
        ).repository
        head = repository.get_git_commit(github.head(BRANCH))
        element = InputGitTreeElement(path, "100644", "blob", content=content)
        tree = repository.create_git_tree([element], base_tree=head.tree)
        # What GitHub's own pages write as committer is as easily written by anybody.
        given = {"author": author, "committer": committer or author} if author else {}
        commit = repository.create_git_commit(f"Remember\n\n{TRAILER}", tree, [head], **given)
        repository.get_git_ref(f"heads/{BRANCH}").edit(commit.sha)
        return commit.sha

    BOT = InputGitAuthor("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")

    @pytest.mark.parametrize("author", [None, BOT], ids=["own name", "the bot's address"])
    def test_a_forged_commit_is_not_read_and_gone_with_our_next(
        self, github: FakeGitHub, author: InputGitAuthor | None
    ) -> None:
        store(github).update(adding("a"))
        forged = self.forged(github, author, '["forged"]')
        assert store(github).read() == b'["a"]'
        store(github).update(adding("b"))
        assert names(github) == ["a", "b"]
        assert github.world.git.is_ancestor(forged, github.head(BRANCH))

    def test_a_forged_commit_that_looks_like_githubs_own_lacks_its_signature(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        self.forged(github, self.BOT, '["forged"]', committer=InputGitAuthor("GitHub", "noreply@github.com"))
        assert store(github).read() == b'["a"]'

    def test_a_forged_file_of_another_role_does_not_become_ours_by_our_commit(self, github: FakeGitHub) -> None:
        other = "111122223333/role/other.json"
        store(github, other).update(adding("b"))
        self.forged(github, self.BOT, '["forged"]', other)
        store(github).update(adding("a"))
        assert (store(github, other).read(), names(github)) == (b'["b"]', ["a"])

    def test_a_forged_commit_goes_even_where_nothing_new_is_remembered(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        self.forged(github, self.BOT, '["forged"]')
        store(github).update(adding("a"))
        assert names(github) == ["a"]

    def test_a_bots_other_commits_are_no_memory(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        own = Connection.open(
            github.token, "acme/orders", api_url=github.url, web_url="https://github.com", sleep=lambda _: None
        ).repository
        head = own.get_git_commit(github.head(BRANCH))
        tree = own.create_git_tree([InputGitTreeElement(PATH, "100644", "blob", content="[]")], base_tree=head.tree)
        own.get_git_ref(f"heads/{BRANCH}").edit(own.create_git_commit("Format", tree, [head]).sha)
        assert store(github).read() == b'["a"]'

    def test_another_bots_memory_is_not_ours(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        rights = {"metadata": "read", "contents": "write"}
        other = github.token_for("policy-bot[bot]", rights)
        with pytest.raises(PullRequestError, match="token's own memory"):
            store(github, token=other).read()

    def test_a_branch_of_somebody_else_is_never_written(self, github: FakeGitHub) -> None:
        head = github.commit_as("kim", BRANCH, {"a.txt": "mine\n"})
        for ask in (store(github).read, lambda: store(github).update(adding("a"))):
            with pytest.raises(PullRequestError, match="name a branch that does not exist yet"):
                ask()
        assert github.head(BRANCH) == head

    def test_a_commit_that_github_does_not_sign_is_not_put_on_the_branch(
        self, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(github.world, "signed", Unsigned())
        with pytest.raises(PullRequestError, match="did not sign"):
            store(github).update(adding("a"))
        assert BRANCH not in str(github.world.git.refs("refs/heads/"))
        store(github, web="https://github.example").update(adding("a"))
        assert names(github) == ["a"]

    def test_a_persons_token_is_known_by_its_login(self, github: FakeGitHub) -> None:
        token = github.token_for("kim")
        store(github, token=token).update(adding("a"))
        store(github, token=token).update(adding("b"))
        assert names(github) == ["a", "b"]

    def test_a_file_that_is_too_long_is_told_without_being_fetched(self, github: FakeGitHub) -> None:
        store(github, max_bytes=10_000).update(lambda _: b" " * 5_000)
        before = len(github.requests)
        with pytest.raises(UnreadableHistoryError, match="longer than 1,000 bytes"):
            store(github).read()
        assert not [each for each in github.requests[before:] if "/git/blobs/" in each.path]


class TestFolder:
    def test_what_was_kept_is_read_and_nothing_else_is_left_behind(self, tmp_path: Path) -> None:
        own = FolderStateStore(tmp_path, PATH, LONGEST)
        assert own.read() is None
        own.update(adding("a"))
        own.update(adding("b"))
        assert own.read() == b'["a", "b"]'
        assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [".lock", "ci-deploy.json"]

    def test_runs_at_once_lose_nothing(self, tmp_path: Path) -> None:
        def remember(number: int) -> None:
            FolderStateStore(tmp_path, PATH, LONGEST).update(adding(f"{number}"))

        threads = [threading.Thread(target=remember, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found: StateStore = FolderStateStore(tmp_path, PATH, LONGEST)
        assert len(json.loads(found.read() or b"[]")) == 20

    def test_a_long_file_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "long.json").write_bytes(b" " * 2_000)
        with pytest.raises(UnreadableHistoryError, match="longer than"):
            FolderStateStore(tmp_path, "long.json", LONGEST).read()
