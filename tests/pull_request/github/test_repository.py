"""Publishing on GitHub follows the lifecycle, tested against a stateful GitHub that validates every
request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from leastpriv.errors import PullRequestError
from leastpriv.proposal.models import fingerprint
from leastpriv.pull_request.github.branches import Branches
from leastpriv.pull_request.github.client import Connection, RequestDeadline
from leastpriv.pull_request.github.pull_requests import PullRequests
from leastpriv.pull_request.github.repository import GitHubRepository
from leastpriv.pull_request.lifecycle import (
    EDITED_LABEL,
    PAUSED_LABEL,
    REBASE_BOX,
    RECONSIDER_LABEL,
    ClosedPullRequest,
    controls_section,
)
from leastpriv.pull_request.models import (
    Publication,
    PublishResult,
    PullRequestOperation,
    PullRequestOptions,
    commit_message,
)
from tests.fakes.github.direct import without_sockets
from tests.fakes.github.server import FakeGitHub
from tests.fakes.replace import replace

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
OLD = b'{"Version": "2012-10-17", "Statement": []}\n'
NEW = b'{"Version": "2012-10-17", "Statement": [1]}\n'
FURTHER = "iam/ci-deploy-2.json"
CHANGES = ("0123456789ab", "ba9876543210")


def fingerprint_for(before: bytes | None, after: Mapping[str, bytes]) -> str:
    """Of a policy with at most one further file."""
    known_pulls = [after[name] for name in ("iam/ci-deploy.json", FURTHER) if name in after]
    return (
        fingerprint("role/ci-deploy iam/ci-deploy.json", before, *known_pulls)
        if len(known_pulls) == len(after)
        else ""
    )


def proposal(content: bytes, title: str, further: Mapping[str, bytes] | None = None) -> Publication:
    """A proposal that changes `OLD` to the content and the further files."""
    digest = fingerprint_for(OLD, {"iam/ci-deploy.json": content, **(further or {})})
    body = (
        f"Evidence.\n\n<!-- leastpriv v=1 version=1 fingerprint={digest}"
        f" -->\n\n{controls_section(CHANGES)}"
    )
    branch, path = "leastpriv/ci-deploy", "iam/ci-deploy.json"
    return Publication(
        branch,
        "",
        path,
        {path: content, **(further or {})},
        title,
        digest,
        body=body,
        fingerprint_for=fingerprint_for,
    )


PROPOSED = proposal(NEW, "Remove 14 actions")
OTHER = proposal(b"[2]\n", "Remove 15 actions")
SPLIT = proposal(b"[3]\n", "Add 1 action", {FURTHER: b"[4]\n"})
BRANCH, PATH = PROPOSED.branch, PROPOSED.path


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub("acme/orders", files={PATH: OLD, "README.md": b"hello\n"}) as fake:
        fake.add_user("lee", "read")
        fake.add_user("kim", "write")
        yield fake


def connect(
    github: FakeGitHub, sleep: Callable[[float], None] = lambda _: None, token: str = ""
) -> Connection:
    return Connection.open(
        token or github.token,
        "acme/orders",
        api_url=github.url,
        web_url="https://github.example",
        deadline=RequestDeadline(sleep),
    )


def published(
    github: FakeGitHub,
    publication: Publication = PROPOSED,
    pull_request_options: PullRequestOptions | None = None,
) -> PublishResult:
    options = pull_request_options or PullRequestOptions()
    return GitHubRepository(connect(github)).publish(replace(publication, options=options), NOW)


def declined(github: FakeGitHub) -> list[ClosedPullRequest]:
    closed = PullRequests(connect(github)).list_closed(BRANCH, "")
    return [pull for pull in closed if pull.declined]


def writes(github: FakeGitHub) -> list[str]:
    """Requests that could change state, without GraphQL queries."""
    return [
        f"{request.method} {request.path}"
        for request in github.requests
        if request.method not in ("GET", "HEAD") and "query {" not in str(request.body)
    ]


def without_writes(github: FakeGitHub, again: Callable[[], PublishResult]) -> PublishResult:
    """Assert the result of a step that must not change anything."""
    before = writes(github)
    publication = again()
    assert writes(github) == before
    return publication


class TestOpen:
    def test_the_first_proposal_is_one_signed_commit_on_the_base_a_branch_and_a_pull_request(
        self, github: FakeGitHub
    ) -> None:
        base = github.head("main")
        publish_result = published(github)
        pull = github.pull(publish_result.number)
        assert (publish_result.operation, publish_result.head_sha) == (
            PullRequestOperation.CREATED,
            github.head(BRANCH),
        )
        assert (pull.title, pull.body, pull.state) == (PROPOSED.title, PROPOSED.body, "open")
        assert github.file(PATH, BRANCH) == NEW
        assert github.file("README.md", BRANCH) == b"hello\n"
        commit = connect(github).repository.get_commit(publish_result.head_sha)
        assert [parent.sha for parent in commit.parents] == [base]
        assert commit.commit.message.endswith(
            f"\n\nLeastpriv-Fingerprint: {PROPOSED.fingerprint}\n".rstrip("\n")
        )
        assert commit.commit.raw_data["verification"]["verified"] is True

    def test_an_equal_proposal_makes_no_write_request(self, github: FakeGitHub) -> None:
        first = published(github)
        again = without_writes(github, lambda: published(github))
        assert (again.operation, again.head_sha, again.number) == (
            PullRequestOperation.NONE,
            first.head_sha,
            first.number,
        )

    def test_a_changed_proposal_updates_the_pull_request_with_one_commit_on_the_base_head(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        base = github.commit_as("kim", "main", {"README.md": "moved on\n"})
        publish_result = published(github, OTHER)
        assert (publish_result.operation, publish_result.number) == (
            PullRequestOperation.UPDATED,
            first.number,
        )
        assert (github.pull(first.number).title, github.pull(first.number).body) == (
            OTHER.title,
            OTHER.body,
        )
        comparison = connect(github).repository.compare(base, publish_result.head_sha)
        assert (comparison.ahead_by, comparison.behind_by) == (1, 0)
        assert github.file(PATH, BRANCH) == b"[2]\n"

    def test_the_policy_is_read_at_the_commit_that_becomes_the_parent(
        self, github: FakeGitHub
    ) -> None:
        expected = replace(PROPOSED, expected_base=github.head("main"))
        github.commit_as("kim", "main", {PATH: b"[9]\n"})
        with pytest.raises(PullRequestError, match="changed while the proposal was made"):
            published(github, expected)
        assert "POST /repos/acme/orders/git/commits" not in writes(github)

    def test_a_base_that_changed_in_other_files_does_not_stop_the_run(
        self, github: FakeGitHub
    ) -> None:
        expected = replace(PROPOSED, expected_base=github.head("main"))
        base = github.commit_as("kim", "main", {"README.md": "moved on\n"})
        publish_result = published(github, expected)
        assert connect(github).repository.compare(base, publish_result.head_sha).behind_by == 0

    def test_a_file_keeps_its_mode_and_a_link_is_an_error(self, github: FakeGitHub) -> None:
        branches = Branches(connect(github))
        base = github.head("main")
        repository = connect(github).repository
        from github import InputGitTreeElement

        tree = repository.create_git_tree(
            [
                InputGitTreeElement("iam/run.json", "100755", "blob", content="{}"),
                InputGitTreeElement("iam/link.json", "120000", "blob", content="ci-deploy.json"),
            ],
            base_tree=repository.get_git_commit(base).tree,
        )
        odd = repository.create_git_commit("Odd", tree, [repository.get_git_commit(base)]).sha
        new = branches.create_commit(odd, {"iam/run.json": b"[]"}, "x")
        folder = next(
            entry for entry in repository.get_git_commit(new).tree.tree if entry.path == "iam"
        )
        assert {e.path: e.mode for e in repository.get_git_tree(folder.sha).tree}[
            "run.json"
        ] == "100755"
        with pytest.raises(PullRequestError, match="symbolic link"):
            branches.create_commit(odd, {"iam/link.json": b"[]"}, "x")
        with pytest.raises(PullRequestError, match="leads through"):
            branches.create_commit(odd, {"README.md/x.json": b"[]"}, "x")

    def test_labels_reviewers_teams_assignees_and_draft_are_set_once_on_creation(
        self, github: FakeGitHub
    ) -> None:
        for login in ("lee", "max"):
            github.add_user(login, "write")
        github.add_team("platform")
        token = github.token_for(
            "policy-bot[bot]",
            {"metadata": "read", "contents": "write", "pull_requests": "write", "members": "read"},
        )
        manners = PullRequestOptions(
            ("leastpriv", "iam"), ("lee",), ("platform",), ("max",), draft=True
        )
        remote = GitHubRepository(connect(github, token=token))
        number = remote.publish(replace(PROPOSED, options=manners), NOW).number
        pull = connect(github).repository.get_pull(number)
        people, teams = pull.raw_data["requested_reviewers"], pull.raw_data["requested_teams"]
        assert [label.name for label in pull.labels] == ["leastpriv", "iam"]
        assert ([p["login"] for p in people], [t["slug"] for t in teams]) == (["lee"], ["platform"])
        assert ([p.login for p in pull.assignees], pull.draft) == (["max"], True)
        before = len([w for w in writes(github) if "labels" in w or "reviewers" in w])
        remote.publish(replace(OTHER, options=manners), NOW)
        assert len([w for w in writes(github) if "labels" in w or "reviewers" in w]) == before

    def test_a_rejected_reviewer_is_reported_and_the_pull_request_is_open(
        self, github: FakeGitHub
    ) -> None:
        publish_result = published(
            github,
            pull_request_options=PullRequestOptions(
                reviewers=("nobody-here",), labels=("leastpriv",)
            ),
        )
        assert publish_result.operation is PullRequestOperation.CREATED
        assert "reviewers" in publish_result.reason
        assert github.pull(publish_result.number).labels == ["leastpriv"]

    def test_a_new_proposal_names_the_declined_pull_request(self, github: FakeGitHub) -> None:
        first = published(github)
        github.close_pull(first.number, "kim")
        second = published(github, OTHER)
        assert second.number != first.number
        assert f"#{first.number}" in str(github.pull(second.number).body)


class TestEditedBranch:
    def test_a_branch_that_a_person_pushed_to_is_left_alone_with_one_comment(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        head = github.commit_as("kim", BRANCH, {PATH: b"[3]\n"}, "Mine")
        assert published(github, OTHER).operation is PullRequestOperation.NONE
        without_writes(github, lambda: published(github, OTHER))
        assert github.head(BRANCH) == head
        assert github.pull(first.number).labels == [EDITED_LABEL]
        assert len(github.comments(first.number)) == 1

    def test_a_person_s_commit_with_the_trailer_counts_as_a_person_s(
        self, github: FakeGitHub
    ) -> None:
        published(github)
        message = f"Mine\n\nLeastpriv-Fingerprint: {OTHER.fingerprint}"
        head = github.commit_as("kim", BRANCH, {PATH: b"[3]\n"}, message, on_web=True)
        assert published(github, OTHER).operation is PullRequestOperation.NONE
        assert github.head(BRANCH) == head

    def test_the_ticked_box_replaces_the_branch_and_is_unticked(self, github: FakeGitHub) -> None:
        first = published(github)
        github.commit_as("kim", BRANCH, {PATH: b"[3]\n"}, "Mine")
        published(github, OTHER)
        ticked = str(github.pull(first.number).body).replace(
            REBASE_BOX, REBASE_BOX.replace("[ ]", "[x]")
        )
        github.edit_body_as("kim", first.number, ticked)
        publish_result = published(github, OTHER)
        assert (publish_result.operation, publish_result.number) == (
            PullRequestOperation.UPDATED,
            first.number,
        )
        assert github.file(PATH, BRANCH) == b"[2]\n"
        assert REBASE_BOX in str(github.pull(first.number).body)
        assert EDITED_LABEL not in github.pull(first.number).labels

    def test_the_ticked_box_also_renews_a_branch_without_edits(self, github: FakeGitHub) -> None:
        first = published(github)
        ticked = str(github.pull(first.number).body).replace(
            REBASE_BOX, REBASE_BOX.replace("[ ]", "[x]")
        )
        github.edit_body_as("kim", first.number, ticked)
        base = github.commit_as("kim", "main", {"README.md": "moved on\n"})
        publish_result = published(github)
        assert publish_result.operation is PullRequestOperation.UPDATED
        assert connect(github).repository.compare(base, publish_result.head_sha).behind_by == 0

    def test_the_button_update_branch_does_not_count_as_an_edit(self, github: FakeGitHub) -> None:
        first = published(github)
        github.commit_as("kim", "main", {"README.md": "moved on\n"})
        github.update_branch_as("kim", first.number)
        assert (
            without_writes(github, lambda: published(github)).operation is PullRequestOperation.NONE
        )
        assert published(github, OTHER).operation is PullRequestOperation.UPDATED

    def test_a_pull_request_with_a_changed_target_is_left_alone_with_a_comment(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        github.commit_as("kim", "release", {"a.txt": "x"})
        connect(github).repository.get_pull(first.number).edit(base="release")
        assert published(github, OTHER).operation is PullRequestOperation.NONE
        assert "another branch" in github.comments(first.number)[0]
        assert github.head(BRANCH) == first.head_sha
        connect(github).repository.get_pull(first.number).edit(base="main")
        assert published(github, OTHER).operation is PullRequestOperation.UPDATED
        assert github.pull(first.number).labels == []
        assert "follows the evidence again" in github.comments(first.number)[0]

    def test_a_pull_request_with_all_comments_that_github_accepts_ends_no_run(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        github.commit_as("kim", "release", {"a.txt": "x"})
        connect(github).repository.get_pull(first.number).edit(base="release")
        github.world.checks_descriptions = False
        with without_sockets(github):
            for _ in range(2_500):
                github.comment_as("lee", first.number, "+1")
            assert published(github, OTHER).operation is PullRequestOperation.NONE
        assert github.pull(first.number).labels == [EDITED_LABEL]

    def test_a_backport_of_the_branch_is_not_taken_for_the_pull_request(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        github.commit_as("kim", "release", {"a.txt": "x"})
        backport = github.open_pull_as("kim", BRANCH, "release", body="Backport.")
        assert published(github, OTHER).number == first.number
        assert (github.pull(backport).labels, github.comments(backport)) == ([], [])

    def test_the_ticked_box_of_a_retargeted_pull_request_moves_nothing(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        head = github.commit_as("kim", BRANCH, {PATH: b"[3]\n"}, "Mine")
        github.commit_as("kim", "release", {"a.txt": "x"})
        connect(github).repository.get_pull(first.number).edit(base="release")
        ticked = str(github.pull(first.number).body).replace(
            REBASE_BOX, REBASE_BOX.replace("[ ]", "[x]")
        )
        github.edit_body_as("kim", first.number, ticked)
        published(github, OTHER)
        assert github.head(BRANCH) == head

    @pytest.mark.parametrize(
        "files", [{PATH: b'["*"]\n'}, {".github/workflows/x.yml": "on: push\n"}]
    )
    def test_a_commit_with_own_name_and_trailer_must_also_be_the_proposal(
        self, github: FakeGitHub, files: dict[str, str | bytes]
    ) -> None:
        published(github)
        trailer = f"Remove 14 actions\n\nLeastpriv-Fingerprint: {PROPOSED.fingerprint}"
        head = github.commit_as("github-actions[bot]", BRANCH, files, trailer)
        assert published(github).operation is PullRequestOperation.NONE
        assert published(github, OTHER).operation is PullRequestOperation.NONE
        assert github.head(BRANCH) == head
        assert EDITED_LABEL in github.pull(1).labels

    def test_another_token_continues_the_pull_request(self, github: FakeGitHub) -> None:
        first = published(github)
        token = github.token_for(
            "policy-bot[bot]", {"metadata": "read", "contents": "write", "pull_requests": "write"}
        )
        publish_result = GitHubRepository(connect(github, token=token)).publish(OTHER, NOW)
        assert (publish_result.operation, publish_result.number) == (
            PullRequestOperation.UPDATED,
            first.number,
        )

    def test_the_branch_of_another_policy_file_is_not_overwritten(self, github: FakeGitHub) -> None:
        first = published(github)
        digest = fingerprint("role/ci-deploy iam/other.json", None, NEW)
        other_proposal = replace(PROPOSED, path="iam/other.json", fingerprint=digest)
        with pytest.raises(PullRequestError, match="another role or policy file"):
            published(github, other_proposal)
        nothing = without_writes(
            github, lambda: published(github, replace(other_proposal, files={}))
        )
        assert (nothing.operation, "another role" in nothing.reason) == (
            PullRequestOperation.NONE,
            True,
        )
        assert (github.head(BRANCH), github.pull(first.number).state) == (first.head_sha, "open")

    def test_the_paused_label_stops_everything(self, github: FakeGitHub) -> None:
        first = published(github)
        github.label_as("kim", first.number, PAUSED_LABEL)
        assert without_writes(github, lambda: published(github, OTHER)).head_sha == first.head_sha

    def test_a_branch_without_own_commits_stops_the_run(self, github: FakeGitHub) -> None:
        github.commit_as("kim", BRANCH, {"a.txt": b"x"}, "Kim's own")
        with pytest.raises(PullRequestError, match="input branch"):
            published(github)


class TestSplit:
    """For a policy with a further file, one commit holds both files, and all rules apply to
    both.
    """

    def test_one_commit_holds_all_files_and_an_equal_proposal_changes_nothing(
        self, github: FakeGitHub
    ) -> None:
        base = github.head("main")
        publish_result = published(github, SPLIT)
        assert (github.file(PATH, BRANCH), github.file(FURTHER, BRANCH)) == (b"[3]\n", b"[4]\n")
        assert connect(github).repository.compare(base, publish_result.head_sha).ahead_by == 1
        again = without_writes(github, lambda: published(github, SPLIT))
        assert (again.operation, again.number) == (PullRequestOperation.NONE, publish_result.number)

    def test_a_later_proposal_without_the_split_removes_the_further_file_from_the_branch(
        self, github: FakeGitHub
    ) -> None:
        first = published(github, SPLIT)
        publish_result = published(github)
        assert (publish_result.operation, publish_result.number) == (
            PullRequestOperation.UPDATED,
            first.number,
        )
        remote = GitHubRepository(connect(github))
        assert (
            remote.read(publish_result.head_sha, PATH),
            remote.read(publish_result.head_sha, FURTHER),
        ) == (
            NEW,
            None,
        )

    @pytest.mark.parametrize("edited", [{FURTHER: "[5]\n"}, {"iam/ci-deploy-3.json": "[5]\n"}])
    def test_an_edit_of_any_file_makes_the_branch_a_person_s(
        self, github: FakeGitHub, edited: dict[str, str | bytes]
    ) -> None:
        published(github, SPLIT)
        head = github.commit_as("kim", BRANCH, edited)
        published(github)
        assert github.head(BRANCH) == head

    @pytest.mark.parametrize("edited", [{FURTHER: "[5]\n"}, {"README.md": "[5]\n"}])
    def test_own_name_and_trailer_on_other_contents_make_no_own_commit(
        self, github: FakeGitHub, edited: dict[str, str | bytes]
    ) -> None:
        published(github, SPLIT)
        head = github.commit_as("github-actions[bot]", BRANCH, edited, commit_message(SPLIT))
        published(github)
        assert github.head(BRANCH) == head

    def test_after_the_merge_there_is_nothing_to_change(self, github: FakeGitHub) -> None:
        github.merge_pull(published(github, SPLIT).number, "kim")
        assert published(github, SPLIT).operation is PullRequestOperation.NONE
        assert Branches(connect(github)).commit_at(BRANCH) is None

    def test_a_base_on_which_the_further_file_changed_stops_the_run(
        self, github: FakeGitHub
    ) -> None:
        expected = replace(SPLIT, expected_base=github.head("main"))
        github.commit_as("kim", "main", {FURTHER: "[9]\n"})
        with pytest.raises(PullRequestError, match="changed while the proposal was made"):
            published(github, expected)


class TestHistory:
    def test_a_file_changed_at_the_time_of_its_newest_commit(self, github: FakeGitHub) -> None:
        remote = GitHubRepository(connect(github))
        first = remote.last_changed(github.head("main"), PATH)
        elsewhere = github.commit_as("kim", "main", {"README.md": "moved on\n"})
        assert first is not None
        assert remote.last_changed(elsewhere, PATH) == first
        changed = remote.last_changed(github.commit_as("kim", "main", {PATH: b"[9]\n"}), PATH)
        assert changed is not None
        assert changed >= first
        assert changed.tzinfo is not None
        assert remote.last_changed(elsewhere, "iam/none.json") is None

    @pytest.mark.parametrize("method", ["merge", "squash"])
    def test_a_merged_change_counts_from_its_merge(self, method: str) -> None:
        """A proposal may wait for weeks, in which calls are made under the old policy."""
        times = [NOW]
        with FakeGitHub("acme/orders", files={PATH: OLD}, clock=lambda: times[-1]) as github:
            github.add_user("kim", "write")
            number = published(github).number
            times.append(NOW + timedelta(days=9))
            github.commit_as("kim", "main", {"README.md": "moved on\n"})
            times.append(NOW + timedelta(days=14))
            head = github.merge_pull(number, "kim", method)
            times.append(NOW + timedelta(days=20))
            assert GitHubRepository(connect(github)).last_changed(head, PATH) == NOW + timedelta(
                days=14
            )
            blind = connect(
                github,
                token=github.token_for("reader[bot]", {"contents": "read", "metadata": "read"}),
            )
            last_change = NOW if method == "merge" else NOW + timedelta(days=14)
            assert GitHubRepository(blind).last_changed(head, PATH) == last_change

    def test_a_file_is_read_as_of_a_time_or_in_its_first_version(self, github: FakeGitHub) -> None:
        remote = GitHubRepository(connect(github))
        changed_at = remote.last_changed(github.head("main"), PATH)
        assert changed_at is not None
        first = remote.read(github.head("main"), PATH)
        for number in range(40):  # more than GitHub returns in one page
            github.commit_as("kim", "main", {PATH: f"[{number}]\n"})
        head = github.head("main")
        assert remote.read_at(head, PATH, changed_at + timedelta(days=4_000)) == b"[39]\n"
        assert remote.read_at(head, PATH, changed_at - timedelta(days=40)) == first
        assert remote.read_at(head, "iam/none.json", changed_at) is None


class TestNoChange:
    def test_the_pull_request_is_closed_with_a_reason_and_the_branch_deleted(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        github.commit_as("kim", "main", {PATH: NEW}, "By hand")
        publish_result = published(github)
        assert (publish_result.operation, publish_result.number, publish_result.head_sha) == (
            PullRequestOperation.CLOSED,
            first.number,
            "",
        )
        assert github.pull(first.number).state == "closed"
        assert "No change is left" in github.comments(first.number)[0]
        assert Branches(connect(github)).commit_at(BRANCH) is None

    def test_a_pull_request_that_a_person_edited_gets_a_comment_and_remains_open(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        head = github.commit_as("kim", BRANCH, {"notes.txt": "x"}, "Mine")
        github.commit_as("kim", "main", {PATH: NEW}, "By hand")
        for _ in range(2):
            assert published(github).operation is PullRequestOperation.NONE
        assert (github.pull(first.number).state, github.head(BRANCH)) == ("open", head)
        assert len(github.comments(first.number)) == 1

    def test_after_a_merge_the_branch_is_deleted(self, github: FakeGitHub) -> None:
        first = published(github)
        github.merge_pull(first.number, "kim")
        assert published(github).operation is PullRequestOperation.NONE
        assert Branches(connect(github)).commit_at(BRANCH) is None
        assert (
            without_writes(github, lambda: published(github)).operation is PullRequestOperation.NONE
        )

    def test_after_a_merge_of_an_updated_branch_the_next_proposal_opens(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        github.commit_as("kim", "main", {"README.md": "moved on\n"})
        github.update_branch_as("kim", first.number)
        github.merge_pull(first.number, "kim")
        assert published(github).operation is PullRequestOperation.NONE
        assert published(github, OTHER).operation is PullRequestOperation.CREATED

    def test_a_branch_of_others_is_no_error_without_a_change(self, github: FakeGitHub) -> None:
        github.commit_as("kim", BRANCH, {"a.txt": b"x"}, "Kim's own")
        assert (
            without_writes(
                github, lambda: published(github, replace(PROPOSED, files={PATH: OLD}))
            ).operation
            is PullRequestOperation.NONE
        )

    def test_a_pull_request_that_this_program_closed_is_not_declined(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        github.commit_as("kim", "main", {PATH: NEW}, "By hand")
        published(github)
        github.commit_as("kim", "main", {PATH: OLD}, "And back")
        again = published(github)
        assert (again.operation, again.number != first.number) == (
            PullRequestOperation.CREATED,
            True,
        )


class TestDeclined:
    def test_the_same_proposal_does_not_come_back(self, github: FakeGitHub) -> None:
        first = published(github)
        github.close_pull(first.number, "kim")
        again = without_writes(github, lambda: published(github))
        assert (again.operation, again.number) == (PullRequestOperation.NONE, first.number)
        assert f"declined in #{first.number}" in again.reason

    def test_its_changes_are_declined_until_the_label_reconsiders_them(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        github.close_pull(first.number, "kim")
        assert [(pull.number, pull.changes) for pull in declined(github)] == [
            (first.number, CHANGES)
        ]
        github.label_as("kim", first.number, RECONSIDER_LABEL.upper())
        assert declined(github) == []

    def test_merged_and_unrelated_pull_requests_decline_nothing(self, github: FakeGitHub) -> None:
        first = published(github)
        github.merge_pull(first.number, "kim", delete_branch=True)
        github.commit_as("kim", BRANCH, {"a.txt": "x"})
        their_pull = github.open_pull_as("kim", BRANCH, body="Mine.")
        github.close_pull(their_pull, "kim")
        assert declined(github) == []

    def test_a_rewritten_description_does_not_revoke_the_decline(self, github: FakeGitHub) -> None:
        first = published(github)
        github.edit_body_as("kim", first.number, "We do not want this.")
        github.close_pull(first.number, "kim")
        assert (
            without_writes(github, lambda: published(github)).operation is PullRequestOperation.NONE
        )

    def test_closing_by_a_bot_declines_nothing(self, github: FakeGitHub) -> None:
        first = published(github)
        github.close_pull(first.number, "stale[bot]")
        assert declined(github) == []

    def test_the_owner_of_the_token_can_decline_too(self) -> None:
        with FakeGitHub("acme/orders", files={PATH: OLD}, login="kim") as github:
            first = published(github)
            github.close_pull(first.number, "kim")
            assert published(github).operation is PullRequestOperation.NONE

    def test_another_files_proposal_on_the_same_branch_is_not_declined_with_it(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        github.close_pull(first.number, "kim")
        github.move_branch_as("kim", BRANCH, None)
        digest = fingerprint("role/ci-deploy iam/other.json", None, NEW)
        assert (
            published(github, replace(PROPOSED, path="iam/other.json", fingerprint=digest)).number
            != first.number
        )

    def test_the_branch_of_a_declined_pull_request_is_kept_for_reopening(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        github.close_pull(first.number, "kim")
        nothing = replace(PROPOSED, files={PATH: OLD})
        assert (
            without_writes(github, lambda: published(github, nothing)).operation
            is PullRequestOperation.NONE
        )
        github.reopen_pull(first.number, "kim")
        assert published(github).number == first.number


def test_without_drafts_a_normal_pull_request_is_opened(github: FakeGitHub) -> None:
    message = "Draft pull requests are not supported in this repository."
    github.fail_next(
        "POST",
        "/pulls$",
        422,
        body={"message": "Validation Failed", "errors": [{"message": message}]},
    )
    publish_result = published(github, pull_request_options=PullRequestOptions(draft=True))
    assert (publish_result.operation, "no draft" in publish_result.reason) == (
        PullRequestOperation.CREATED,
        True,
    )


class TestDeniedRequests:
    def test_forbidden_creation_keeps_the_branch_and_gives_the_link_then_is_tried_again(
        self, github: FakeGitHub
    ) -> None:
        github.forbid_pull_request_creation()
        publish_result = published(github)
        assert (
            publish_result.manual_url
            == "https://github.example/acme/orders/compare/main...leastpriv/ci-deploy?expand=1"
        )
        assert "Allow GitHub Actions to create and approve pull requests" in publish_result.failure
        assert publish_result.head_sha == github.head(BRANCH)
        github.world.actions_may_open_pull_requests = True
        again = published(github)
        assert (again.operation, again.head_sha) == (
            PullRequestOperation.CREATED,
            publish_result.head_sha,
        )

    def test_a_wrong_token_is_one_sentence_that_names_the_input(self, github: FakeGitHub) -> None:
        with pytest.raises(PullRequestError, match="github-token"):
            connect(github, token="wrong")  # noqa: S106 - an invented one
        github.violations.clear()

    def test_a_read_only_token_gets_the_missing_permissions(self, github: FakeGitHub) -> None:
        with pytest.raises(PullRequestError, match="contents: write"):
            GitHubRepository(connect(github, token=github.read_only_token)).publish(PROPOSED, NOW)

    def test_a_protected_branch_is_named_in_the_error(self, github: FakeGitHub) -> None:
        first = published(github)
        github.protect(BRANCH)
        with pytest.raises(PullRequestError, match="protects the branch"):
            published(github, OTHER)
        assert github.head(BRANCH) == first.head_sha

    def test_a_missing_base_names_the_input(self, github: FakeGitHub) -> None:
        with pytest.raises(PullRequestError, match="input base"):
            published(github, replace(PROPOSED, base="nowhere"))


class TestRetries:
    @pytest.mark.parametrize("status", [500, 502, 503])
    def test_a_server_error_is_retried(self, github: FakeGitHub, status: int) -> None:
        waits: list[float] = []
        github.fail_next("POST", "/git/trees", status, times=2)
        publish_result = GitHubRepository(connect(github, waits.append)).publish(PROPOSED, NOW)
        assert publish_result.operation is PullRequestOperation.CREATED
        assert 1 <= sum(waits) <= 10

    def test_a_secondary_rate_limit_is_retried_after_the_time_that_github_gives(
        self, github: FakeGitHub, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", logger="leastpriv")
        waits: list[float] = []
        github.limit_next("POST", "/pulls$", times=1, retry_after=7)
        publish_result = GitHubRepository(connect(github, waits.append)).publish(PROPOSED, NOW)
        assert (publish_result.operation, waits) == (PullRequestOperation.CREATED, [7.0])
        assert caplog.messages == ["GitHub's rate limit is reached: this run waits 7 seconds."]

    def test_a_wait_of_an_hour_ends_the_run(self, github: FakeGitHub) -> None:
        waits: list[float] = []
        github.limit_next("POST", "/git/blobs", times=1, retry_after=3_600)
        with pytest.raises(PullRequestError, match=r"rate limit .*: run again in 60 minutes"):
            GitHubRepository(connect(github, waits.append)).publish(PROPOSED, NOW)
        assert waits == []

    def test_the_primary_rate_limit_ends_the_run_with_a_sentence(self, github: FakeGitHub) -> None:
        remote = GitHubRepository(connect(github))
        github.set_rate_limit(0, int(time.time()) + 3_000)
        with pytest.raises(PullRequestError, match=r"rate limit .*: run again in (50|51) minutes"):
            remote.publish(PROPOSED, NOW)

    def test_a_pull_request_not_found_right_after_its_creation_is_requested_again(
        self, github: FakeGitHub
    ) -> None:
        waits: list[float] = []
        github.fail_next("POST", "/labels$", 422, times=2, body={"message": "Validation Failed"})
        remote = GitHubRepository(connect(github, waits.append))
        options = PullRequestOptions(labels=("leastpriv",))
        number = remote.publish(replace(PROPOSED, options=options), NOW).number
        assert github.pull(number).labels == ["leastpriv"]
        assert waits == [1.0, 2.0]

    @pytest.mark.parametrize("by_graphql", [True, False])
    def test_a_move_with_a_lost_answer_counts_as_done(
        self, github: FakeGitHub, by_graphql: bool
    ) -> None:
        github.graphql_update_refs = by_graphql
        failing_request = ("POST", "/graphql") if by_graphql else ("POST", "/git/refs$")
        connection = connect(github)
        connection.is_own_login("kim")  # the query for the token's login is GraphQL too
        github.fail_next(*failing_request, 502, carried_out=True)
        assert (
            GitHubRepository(connection).publish(PROPOSED, NOW).operation
            is PullRequestOperation.CREATED
        )

    @pytest.mark.parametrize("times", [1, 9])
    def test_a_failed_edit_of_the_text_is_repeated_by_the_next_run(
        self, github: FakeGitHub, times: int
    ) -> None:
        first = published(github)
        github.fail_next("PATCH", "/pulls/", 502, times=times)
        if times > 5:
            with pytest.raises(PullRequestError, match="502"):
                published(github, OTHER)
            github._desk.faults.clear()
        published(github, OTHER)
        assert (github.pull(first.number).title, github.pull(first.number).body) == (
            OTHER.title,
            OTHER.body,
        )
        assert (
            without_writes(github, lambda: published(github, OTHER)).operation
            is PullRequestOperation.NONE
        )

    @pytest.mark.parametrize(
        "path", ["/git/blobs", "/git/trees", "/git/commits", "/pulls$", "/labels$"]
    )
    def test_a_long_server_failure_ends_with_a_sentence_and_the_next_run_continues(
        self, github: FakeGitHub, path: str
    ) -> None:
        github.fail_next("POST", path, 502, times=50)
        manners = PullRequestOptions(labels=("leastpriv",))
        try:
            publish_result = published(github, pull_request_options=manners)
            assert "502" in publish_result.reason
        except PullRequestError as error:
            assert "502" in str(error)  # noqa: PT017 - both results are right, depending on what failed
        github._desk.faults.clear()
        published(github, pull_request_options=manners)
        assert connect(github).repository.get_pulls(state="all").totalCount == 1
        assert github.file(PATH, BRANCH) == NEW

    def test_a_creation_with_a_lost_answer_creates_no_second_pull_request(
        self, github: FakeGitHub
    ) -> None:
        github.fail_next("POST", "/pulls$", 502, carried_out=True)
        publish_result = published(
            github, pull_request_options=PullRequestOptions(labels=("leastpriv",))
        )
        assert publish_result.operation is PullRequestOperation.CREATED
        assert github.pull(publish_result.number).labels == ["leastpriv"]
        assert connect(github).repository.get_pulls(state="all").totalCount == 1


class TestRaces:
    def test_with_compare_and_swap_no_other_request_moves_a_branch(
        self, github: FakeGitHub
    ) -> None:
        for method in ("POST", "PATCH", "DELETE"):
            github.fail_next(method, "/git/refs", 422, times=9, body={"message": "Not by REST"})
        assert published(github).operation is PullRequestOperation.CREATED
        assert published(github, OTHER).operation is PullRequestOperation.UPDATED
        github.commit_as("kim", "main", {PATH: b"[2]\n"}, "By hand")
        assert published(github, OTHER).operation is PullRequestOperation.CLOSED
        assert Branches(connect(github)).commit_at(BRANCH) is None

    @pytest.mark.parametrize("by_graphql", [True, False])
    def test_a_branch_that_moves_between_look_and_move_is_not_overwritten(
        self, github: FakeGitHub, by_graphql: bool
    ) -> None:
        github.graphql_update_refs = by_graphql
        published(github)
        pushed: list[str] = []
        github.before_next(
            "POST",
            "/git/commits",
            lambda: pushed.append(github.commit_as("kim", BRANCH, {"a.txt": b"x"}, "Mine")),
        )
        with pytest.raises(PullRequestError, match="changed during the run"):
            published(github, OTHER)
        assert pushed == [github.head(BRANCH)]

    @pytest.mark.parametrize("by_graphql", [True, False])
    def test_two_runs_at_once_lose_no_commit_and_open_one_pull_request(
        self, github: FakeGitHub, by_graphql: bool
    ) -> None:
        github.graphql_update_refs = by_graphql
        for round_ in range(5):
            race(github, f"{round_:02x}")
        assert connect(github).repository.get_pulls(state="all").totalCount == 1


def race(github: FakeGitHub, digest: str) -> None:
    """After two parallel runs with different proposals the branch holds one of them completely."""
    proposals = [proposal(f'["{letter}{digest}"]\n'.encode(), letter) for letter in ("aa", "bb")]
    outcomes: list[PublishResult | PullRequestError] = []

    def one(publication: Publication) -> None:
        try:
            outcomes.append(published(github, publication))
        except PullRequestError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=one, args=(publication,)) for publication in proposals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == 2
    assert any(isinstance(outcome, PublishResult) for outcome in outcomes)
    assert all(
        "changed during the run" in str(outcome)
        for outcome in outcomes
        if isinstance(outcome, PullRequestError)
    ), outcomes
    assert github.file(PATH, BRANCH) in [proposal.files[PATH] for proposal in proposals]
    assert connect(github).repository.compare("main", BRANCH).ahead_by == 1
    final = next(
        proposal for proposal in proposals if proposal.files[PATH] == github.file(PATH, BRANCH)
    )
    # The last run may have lost the race for the text; the next run of the same proposal corrects
    # it.
    published(github, final)
    [pull] = connect(github).repository.get_pulls(state="open", head=f"acme:{BRANCH}")
    assert (pull.title, pull.body) == (final.title, final.body)


@pytest.mark.slow
def test_fifty_races_lose_no_commit_and_open_one_pull_request(github: FakeGitHub) -> None:
    for round_ in range(50):
        race(github, f"{round_:02x}")
    assert connect(github).repository.get_pulls(state="all").totalCount == 1


def test_on_an_enterprise_server_all_addresses_have_its_prefix() -> None:
    with FakeGitHub("acme/orders", files={PATH: OLD}, prefix="/api/v3") as github:
        assert "/api/v3" in github.url
        assert published(github).operation is PullRequestOperation.CREATED
