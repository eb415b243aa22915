"""The state branch loses nothing in a race and ignores forged commits, tested against a stateful
GitHub.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from github import InputGitAuthor, InputGitTreeElement

from leastpriv.errors import PullRequestError, UnreadableHistoryError
from leastpriv.pull_request.github.client import Connection, RequestDeadline
from leastpriv.pull_request.github.state_branch import BranchStateStore, StateBranch
from leastpriv.pull_request.models import FolderStateStore, StateUpdate
from tests.fakes.github import FakeGitHub

BRANCH = "leastpriv-evidence"
PATH = "111122223333/role/ci-deploy.json"
MAX_BYTES = 1_000
TRAILER = "Leastpriv-Memory: v1"


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub("acme/orders") as fake:
        fake.add_user("kim", "write")
        yield fake


def store(
    github: FakeGitHub,
    path: str = PATH,
    token: str = "",
    web: str = "https://github.com",
    max_bytes: int = MAX_BYTES,
) -> BranchStateStore:
    connection = Connection.open(
        token or github.token,
        "acme/orders",
        api_url=github.url,
        web_url=web,
        deadline=RequestDeadline(lambda _: None),
    )
    branch = StateBranch(connection, BRANCH)
    return branch.store(path, "Remember what ci-deploy used", max_bytes)


def adding(name: str) -> StateUpdate:
    """Adds a name to a list of names, once."""
    return lambda raw: json.dumps(sorted({*json.loads(raw or b"[]"), name})).encode()


def names(github: FakeGitHub, path: str = PATH) -> list[str]:
    document = json.loads(github.file(path, BRANCH))
    assert isinstance(document, list)
    return document


def commits(github: FakeGitHub) -> int:
    return len(github.world.git.commits(github.head(BRANCH)))


class Unsigned(set[str]):
    """The commits of a server that signs none."""

    def add(self, element: str) -> None:
        """Leaves it unsigned."""


class TestStoring:
    def test_no_state_is_read_without_the_branch(self, github: FakeGitHub) -> None:
        assert store(github).read() is None

    def test_the_branch_begins_without_a_parent_and_without_the_code(
        self, github: FakeGitHub
    ) -> None:
        store(github).update(adding("a"))
        (first,) = github.world.git.commits(github.head(BRANCH))
        assert (first.parents, store(github).read()) == ((), b'["a"]')
        entries = github.world.git.read_tree(first.tree, recursive=True)
        assert [entry.path for entry in entries if entry.kind == "blob"] == [PATH]

    def test_unchanged_state_creates_no_commit(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        head = github.head(BRANCH)
        store(github).update(adding("a"))
        assert github.head(BRANCH) == head

    def test_files_of_other_roles_are_kept(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        store(github, "111122223333/role/other.json").update(adding("b"))
        assert (names(github), names(github, "111122223333/role/other.json")) == (["a"], ["b"])

    def test_the_default_branch_and_its_files_are_never_touched(self, github: FakeGitHub) -> None:
        head = github.head("main")
        store(github).update(adding("a"))
        assert github.head("main") == head


class TestRaces:
    def test_four_runs_at_once_on_two_roles_lose_nothing(self, github: FakeGitHub) -> None:
        failures: list[BaseException] = []
        together = threading.Barrier(4)

        def add_run(number: int) -> None:
            try:
                own_store = store(github, PATH if number % 2 else "111122223333/role/other.json")
                together.wait()
                own_store.update(adding(f"run-{number}"))
                own_store.update(adding(f"run-{number}-again"))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=add_run, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        state_names = [*names(github), *names(github, "111122223333/role/other.json")]
        assert sorted(state_names) == sorted(
            f"run-{n}{again}" for n in range(4) for again in ("", "-again")
        )
        assert commits(github) == 8

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

    def test_a_lost_answer_creates_no_second_commit(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        github.fail_next("PATCH", f"/git/refs/heads/{BRANCH}", 422, carried_out=True)
        store(github).update(adding("b"))
        assert (names(github), commits(github)) == (["a", "b"], 2)

    def test_a_protected_branch_is_reported_after_a_limited_number_of_tries(
        self, github: FakeGitHub
    ) -> None:
        store(github).update(adding("a"))
        github.protect(BRANCH)
        with pytest.raises(PullRequestError, match="protects the branch"):
            store(github).update(adding("b"))


class TestForgedState:
    def forged(
        self,
        github: FakeGitHub,
        author: InputGitAuthor | None,
        content: str,
        path: str = PATH,
        committer: InputGitAuthor | None = None,
    ) -> str:
        """A commit on the branch with the trailer, made with a person's token and any author."""
        token = github.token_for("kim")
        repository = Connection.open(
            token,
            "acme/orders",
            api_url=github.url,
            web_url="https://github.com",
            deadline=RequestDeadline(lambda _: None),
        ).repository
        head = repository.get_git_commit(github.head(BRANCH))
        element = InputGitTreeElement(path, "100644", "blob", content=content)
        tree = repository.create_git_tree([element], base_tree=head.tree)
        # Anyone can write the committer of GitHub's web pages into a commit.
        identities = {"author": author, "committer": committer or author} if author else {}
        commit = repository.create_git_commit(f"Remember\n\n{TRAILER}", tree, [head], **identities)
        repository.get_git_ref(f"heads/{BRANCH}").edit(commit.sha)
        return commit.sha

    BOT = InputGitAuthor(
        "github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com"
    )

    @pytest.mark.parametrize("author", [None, BOT], ids=["own name", "the bot's address"])
    def test_a_forged_commit_is_ignored_and_dropped_by_the_next_commit(
        self, github: FakeGitHub, author: InputGitAuthor | None
    ) -> None:
        store(github).update(adding("a"))
        forged = self.forged(github, author, '["forged"]')
        assert store(github).read() == b'["a"]'
        store(github).update(adding("b"))
        assert names(github) == ["a", "b"]
        assert github.world.git.is_ancestor(forged, github.head(BRANCH))

    def test_a_forged_commit_with_githubs_committer_lacks_its_signature(
        self, github: FakeGitHub
    ) -> None:
        store(github).update(adding("a"))
        self.forged(
            github, self.BOT, '["forged"]', committer=InputGitAuthor("GitHub", "noreply@github.com")
        )
        assert store(github).read() == b'["a"]'

    def test_a_forged_file_of_another_role_is_dropped_by_the_next_commit(
        self, github: FakeGitHub
    ) -> None:
        other_state = "111122223333/role/other.json"
        store(github, other_state).update(adding("b"))
        self.forged(github, self.BOT, '["forged"]', other_state)
        store(github).update(adding("a"))
        assert (store(github, other_state).read(), names(github)) == (b'["b"]', ["a"])

    def test_a_forged_commit_is_dropped_even_if_the_state_is_unchanged(
        self, github: FakeGitHub
    ) -> None:
        store(github).update(adding("a"))
        self.forged(github, self.BOT, '["forged"]')
        store(github).update(adding("a"))
        assert names(github) == ["a"]

    def test_other_commits_of_the_bot_hold_no_state(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        own_store = Connection.open(
            github.token,
            "acme/orders",
            api_url=github.url,
            web_url="https://github.com",
            deadline=RequestDeadline(lambda _: None),
        ).repository
        head = own_store.get_git_commit(github.head(BRANCH))
        tree = own_store.create_git_tree(
            [InputGitTreeElement(PATH, "100644", "blob", content="[]")], base_tree=head.tree
        )
        own_store.get_git_ref(f"heads/{BRANCH}").edit(
            own_store.create_git_commit("Format", tree, [head]).sha
        )
        assert store(github).read() == b'["a"]'

    def test_the_state_of_another_bot_does_not_count(self, github: FakeGitHub) -> None:
        store(github).update(adding("a"))
        rights = {"metadata": "read", "contents": "write"}
        other_token = github.token_for("policy-bot[bot]", rights)
        with pytest.raises(PullRequestError, match="token's own memory"):
            store(github, token=other_token).read()

    def test_a_branch_without_own_state_is_never_written(self, github: FakeGitHub) -> None:
        head = github.commit_as("kim", BRANCH, {"a.txt": "mine\n"})
        for ask in (store(github).read, lambda: store(github).update(adding("a"))):
            with pytest.raises(PullRequestError, match="name a branch that does not exist yet"):
                ask()
        assert github.head(BRANCH) == head

    def test_an_unsigned_commit_does_not_reach_the_branch(
        self, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(github.world, "signed", Unsigned())
        with pytest.raises(PullRequestError, match="did not sign"):
            store(github).update(adding("a"))
        assert BRANCH not in str(github.world.git.refs("refs/heads/"))
        store(github, web="https://github.example").update(adding("a"))
        assert names(github) == ["a"]

    def test_the_state_of_a_persons_token_is_identified_by_its_login(
        self, github: FakeGitHub
    ) -> None:
        token = github.token_for("kim")
        store(github, token=token).update(adding("a"))
        store(github, token=token).update(adding("b"))
        assert names(github) == ["a", "b"]

    def test_a_file_that_is_too_long_is_reported_without_a_download(
        self, github: FakeGitHub
    ) -> None:
        store(github, max_bytes=10_000).update(lambda _: b" " * 5_000)
        before = len(github.requests)
        with pytest.raises(UnreadableHistoryError, match="longer than 1,000 bytes"):
            store(github).read()
        assert not [
            request for request in github.requests[before:] if "/git/blobs/" in request.path
        ]


class TestFolder:
    def test_stored_state_is_read_back_and_no_other_file_remains(self, tmp_path: Path) -> None:
        own_store = FolderStateStore(tmp_path, PATH, MAX_BYTES)
        assert own_store.read() is None
        own_store.update(adding("a"))
        own_store.update(adding("b"))
        assert own_store.read() == b'["a", "b"]'
        assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [
            ".lock",
            "ci-deploy.json",
        ]

    def test_parallel_runs_lose_no_state(self, tmp_path: Path) -> None:
        def add_run(number: int) -> None:
            FolderStateStore(tmp_path, PATH, MAX_BYTES).update(adding(f"{number}"))

        threads = [threading.Thread(target=add_run, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        state_store = FolderStateStore(tmp_path, PATH, MAX_BYTES)
        assert len(json.loads(state_store.read() or b"[]")) == 20

    def test_a_file_that_is_too_long_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "long.json").write_bytes(b" " * 2_000)
        with pytest.raises(UnreadableHistoryError, match="longer than"):
            FolderStateStore(tmp_path, "long.json", MAX_BYTES).read()
