"""Publishing on GitHub, row by row of the life cycle, against a GitHub that keeps state and checks every request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from leastpriv.errors import PullRequestError
from leastpriv.proposal.fingerprint import fingerprint
from leastpriv.pull_request.body_markers import controls_section
from leastpriv.pull_request.github.branches import Branches
from leastpriv.pull_request.github.client import Connection
from leastpriv.pull_request.github.repository import GitHubRepository
from leastpriv.pull_request.lifecycle import EDITED_LABEL, PAUSED_LABEL, REBASE_BOX, RECONSIDER_LABEL, DeclinedProposal
from leastpriv.pull_request.models import (
    Publication,
    PublishResult,
    PullRequestOperation,
    PullRequestOptions,
    commit_message,
)
from tests.fakes.github.server import FakeGitHub

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
OLD = b'{"Version": "2012-10-17", "Statement": []}\n'
NEW = b'{"Version": "2012-10-17", "Statement": [1]}\n'
FURTHER = "iam/ci-deploy-2.json"
CHANGES = ("0123456789ab", "ba9876543210")


def certify(before: bytes | None, after: Mapping[str, bytes]) -> str:
    """Of a policy that continues in one more file at most."""
    known = [after[name] for name in ("iam/ci-deploy.json", FURTHER) if name in after]
    return fingerprint("role/ci-deploy iam/ci-deploy.json", before, *known) if len(known) == len(after) else ""


def proposal(content: bytes, title: str, further: Mapping[str, bytes] | None = None) -> Publication:
    """A proposal that turns `OLD` into the content and the further files."""
    stamp = certify(OLD, {"iam/ci-deploy.json": content, **(further or {})})
    body = f"Evidence.\n\n<!-- leastpriv v=1 version=1 fingerprint={stamp} -->\n\n{controls_section(CHANGES)}"
    branch, path = "leastpriv/ci-deploy", "iam/ci-deploy.json"
    return Publication(
        branch, "", path, content, title, "Short.", stamp, body=body, fingerprint_for=certify, other_files=further or {}
    )


PROPOSED = proposal(NEW, "Remove 14 actions")
OTHER = proposal(b"[2]\n", "Remove 15 actions")
SPLIT = proposal(b"[3]\n", "Add 1 action", {FURTHER: b"[4]\n"})
BRANCH, PATH = PROPOSED.branch, PROPOSED.path


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub("acme/orders", files={PATH: OLD, "README.md": b"hello\n"}) as fake:
        fake.add_user("kim", "write")
        yield fake


def connect(github: FakeGitHub, sleep: Callable[[float], None] = lambda _: None, token: str = "") -> Connection:
    return Connection.open(
        token or github.token, "acme/orders", api_url=github.url, web_url="https://github.example", sleep=sleep
    )


def published(
    github: FakeGitHub, publication: Publication = PROPOSED, pull_request_options: PullRequestOptions | None = None
) -> PublishResult:
    return GitHubRepository(connect(github), pull_request_options or PullRequestOptions()).publish(publication, NOW)


def declined(github: FakeGitHub) -> tuple[DeclinedProposal, ...]:
    return GitHubRepository(connect(github), PullRequestOptions()).declined(BRANCH)


def writes(github: FakeGitHub) -> list[str]:
    """Requests that could change something, without questions by GraphQL."""
    return [
        f"{each.method} {each.path}"
        for each in github.requests
        if each.method not in ("GET", "HEAD") and "query {" not in str(each.body)
    ]


def untouched(github: FakeGitHub, again: Callable[[], PublishResult]) -> PublishResult:
    """The result of a step that must not change anything."""
    before = writes(github)
    result = again()
    assert writes(github) == before
    return result


class TestOpen:
    def test_the_first_proposal_is_one_signed_commit_on_the_base_a_branch_and_a_pull_request(
        self, github: FakeGitHub
    ) -> None:
        base = github.head("main")
        result = published(github)
        pull = github.pull(result.number)
        assert (result.operation, result.head_sha) == (PullRequestOperation.CREATED, github.head(BRANCH))
        assert (pull.title, pull.body, pull.state) == (PROPOSED.title, PROPOSED.body, "open")
        assert github.file(PATH, BRANCH) == NEW
        assert github.file("README.md", BRANCH) == b"hello\n"
        commit = connect(github).repository.get_commit(result.head_sha)
        assert [parent.sha for parent in commit.parents] == [base]
        assert commit.commit.message.endswith(f"\n\nLeastpriv-Fingerprint: {PROPOSED.fingerprint}\n".rstrip("\n"))
        assert commit.commit.raw_data["verification"]["verified"] is True

    def test_the_same_proposal_again_changes_nothing_at_all(self, github: FakeGitHub) -> None:
        first = published(github)
        again = untouched(github, lambda: published(github))
        assert (again.operation, again.head_sha, again.number) == (
            PullRequestOperation.NONE,
            first.head_sha,
            first.number,
        )

    def test_another_proposal_is_the_same_pull_request_with_one_commit_on_the_base_head(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        base = github.commit_as("kim", "main", {"README.md": "moved on\n"})
        result = published(github, OTHER)
        assert (result.operation, result.number) == (PullRequestOperation.UPDATED, first.number)
        assert (github.pull(first.number).title, github.pull(first.number).body) == (OTHER.title, OTHER.body)
        comparison = connect(github).repository.compare(base, result.head_sha)
        assert (comparison.ahead_by, comparison.behind_by) == (1, 0)
        assert github.file(PATH, BRANCH) == b"[2]\n"

    def test_the_policy_is_read_at_the_commit_that_becomes_the_parent(self, github: FakeGitHub) -> None:
        expected = replace(PROPOSED, expected_base=github.head("main"))
        github.commit_as("kim", "main", {PATH: b"[9]\n"})
        with pytest.raises(PullRequestError, match="changed while the proposal was made"):
            published(github, expected)
        assert "POST /repos/acme/orders/git/commits" not in writes(github)

    def test_a_base_that_moved_elsewhere_is_no_reason_to_stop(self, github: FakeGitHub) -> None:
        expected = replace(PROPOSED, expected_base=github.head("main"))
        base = github.commit_as("kim", "main", {"README.md": "moved on\n"})
        result = published(github, expected)
        assert connect(github).repository.compare(base, result.head_sha).behind_by == 0

    def test_a_file_keeps_its_mode_and_a_link_is_refused(self, github: FakeGitHub) -> None:
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
        folder = next(entry for entry in repository.get_git_commit(new).tree.tree if entry.path == "iam")
        assert {e.path: e.mode for e in repository.get_git_tree(folder.sha).tree}["run.json"] == "100755"
        with pytest.raises(PullRequestError, match="symbolic link"):
            branches.create_commit(odd, {"iam/link.json": b"[]"}, "x")
        with pytest.raises(PullRequestError, match="leads through"):
            branches.create_commit(odd, {"README.md/x.json": b"[]"}, "x")

    def test_labels_reviewers_teams_assignees_and_draft_are_set_once_on_creation(self, github: FakeGitHub) -> None:
        for login in ("lee", "max"):
            github.add_user(login, "write")
        github.add_team("platform")
        token = github.token_for(
            "policy-bot[bot]", {"metadata": "read", "contents": "write", "pull_requests": "write", "members": "read"}
        )
        manners = PullRequestOptions(("leastpriv", "iam"), ("lee",), ("platform",), ("max",), draft=True)
        place = GitHubRepository(connect(github, token=token), manners)
        number = place.publish(PROPOSED, NOW).number
        pull = connect(github).repository.get_pull(number)
        people, teams = pull.raw_data["requested_reviewers"], pull.raw_data["requested_teams"]
        assert [label.name for label in pull.labels] == ["leastpriv", "iam"]
        assert ([p["login"] for p in people], [t["slug"] for t in teams]) == (["lee"], ["platform"])
        assert ([p.login for p in pull.assignees], pull.draft) == (["max"], True)
        before = len([w for w in writes(github) if "labels" in w or "reviewers" in w])
        place.publish(OTHER, NOW)
        assert len([w for w in writes(github) if "labels" in w or "reviewers" in w]) == before

    def test_a_reviewer_that_github_refuses_is_told_and_the_pull_request_stays(self, github: FakeGitHub) -> None:
        result = published(
            github, pull_request_options=PullRequestOptions(reviewers=("nobody-here",), labels=("leastpriv",))
        )
        assert result.operation is PullRequestOperation.CREATED
        assert "reviewers" in result.reason
        assert github.pull(result.number).labels == ["leastpriv"]

    def test_a_new_proposal_after_a_declined_one_says_which(self, github: FakeGitHub) -> None:
        first = published(github)
        github.close_pull(first.number, "kim")
        second = published(github, OTHER)
        assert second.number != first.number
        assert f"#{first.number}" in str(github.pull(second.number).body)


class TestAPersonsWork:
    def test_a_branch_that_a_person_pushed_to_is_left_alone_and_told_once(self, github: FakeGitHub) -> None:
        first = published(github)
        head = github.commit_as("kim", BRANCH, {PATH: b"[3]\n"}, "Mine")
        assert published(github, OTHER).operation is PullRequestOperation.NONE
        untouched(github, lambda: published(github, OTHER))
        assert github.head(BRANCH) == head
        assert github.pull(first.number).labels == [EDITED_LABEL]
        assert len(github.comments(first.number)) == 1

    def test_a_commit_that_a_person_forged_with_our_trailer_is_a_persons(self, github: FakeGitHub) -> None:
        published(github)
        message = f"Mine\n\nLeastpriv-Fingerprint: {OTHER.fingerprint}"
        head = github.commit_as("kim", BRANCH, {PATH: b"[3]\n"}, message, on_web=True)
        assert published(github, OTHER).operation is PullRequestOperation.NONE
        assert github.head(BRANCH) == head

    def test_the_ticked_box_takes_the_branch_back_and_is_unticked(self, github: FakeGitHub) -> None:
        first = published(github)
        github.commit_as("kim", BRANCH, {PATH: b"[3]\n"}, "Mine")
        published(github, OTHER)
        ticked = str(github.pull(first.number).body).replace(REBASE_BOX, REBASE_BOX.replace("[ ]", "[x]"))
        github.edit_body_as("kim", first.number, ticked)
        result = published(github, OTHER)
        assert (result.operation, result.number) == (PullRequestOperation.UPDATED, first.number)
        assert github.file(PATH, BRANCH) == b"[2]\n"
        assert REBASE_BOX in str(github.pull(first.number).body)
        assert EDITED_LABEL not in github.pull(first.number).labels

    def test_the_ticked_box_renews_our_own_branch_too(self, github: FakeGitHub) -> None:
        first = published(github)
        ticked = str(github.pull(first.number).body).replace(REBASE_BOX, REBASE_BOX.replace("[ ]", "[x]"))
        github.edit_body_as("kim", first.number, ticked)
        base = github.commit_as("kim", "main", {"README.md": "moved on\n"})
        result = published(github)
        assert result.operation is PullRequestOperation.UPDATED
        assert connect(github).repository.compare(base, result.head_sha).behind_by == 0

    def test_the_button_update_branch_is_nobodys_work(self, github: FakeGitHub) -> None:
        first = published(github)
        github.commit_as("kim", "main", {"README.md": "moved on\n"})
        github.update_branch_as("kim", first.number)
        assert untouched(github, lambda: published(github)).operation is PullRequestOperation.NONE
        assert published(github, OTHER).operation is PullRequestOperation.UPDATED

    def test_a_changed_target_is_left_alone_and_told(self, github: FakeGitHub) -> None:
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

    def test_a_backport_of_the_branch_is_not_taken_for_the_pull_request(self, github: FakeGitHub) -> None:
        first = published(github)
        github.commit_as("kim", "release", {"a.txt": "x"})
        backport = github.open_pull_as("kim", BRANCH, "release", body="Backport.")
        assert published(github, OTHER).number == first.number
        assert (github.pull(backport).labels, github.comments(backport)) == ([], [])

    def test_the_ticked_box_of_a_retargeted_pull_request_moves_nothing(self, github: FakeGitHub) -> None:
        first = published(github)
        head = github.commit_as("kim", BRANCH, {PATH: b"[3]\n"}, "Mine")
        github.commit_as("kim", "release", {"a.txt": "x"})
        connect(github).repository.get_pull(first.number).edit(base="release")
        ticked = str(github.pull(first.number).body).replace(REBASE_BOX, REBASE_BOX.replace("[ ]", "[x]"))
        github.edit_body_as("kim", first.number, ticked)
        published(github, OTHER)
        assert github.head(BRANCH) == head

    @pytest.mark.parametrize("files", [{PATH: b'["*"]\n'}, {".github/workflows/x.yml": "on: push\n"}])
    def test_a_commit_with_our_name_and_trailer_is_not_ours_unless_it_is_the_proposal(
        self, github: FakeGitHub, files: dict[str, str | bytes]
    ) -> None:
        published(github)
        trailer = f"Remove 14 actions\n\nLeastpriv-Fingerprint: {PROPOSED.fingerprint}"
        head = github.commit_as("github-actions[bot]", BRANCH, files, trailer)
        assert published(github).operation is PullRequestOperation.NONE
        assert published(github, OTHER).operation is PullRequestOperation.NONE
        assert github.head(BRANCH) == head
        assert EDITED_LABEL in github.pull(1).labels

    def test_another_token_goes_on_where_the_old_one_stopped(self, github: FakeGitHub) -> None:
        first = published(github)
        token = github.token_for("policy-bot[bot]", {"metadata": "read", "contents": "write", "pull_requests": "write"})
        result = GitHubRepository(connect(github, token=token), PullRequestOptions()).publish(OTHER, NOW)
        assert (result.operation, result.number) == (PullRequestOperation.UPDATED, first.number)

    def test_the_branch_of_another_policy_file_is_not_overwritten(self, github: FakeGitHub) -> None:
        first = published(github)
        stamp = fingerprint("role/ci-deploy iam/other.json", None, NEW)
        other = replace(PROPOSED, path="iam/other.json", fingerprint=stamp)
        with pytest.raises(PullRequestError, match="another role or policy file"):
            published(github, other)
        nothing = untouched(github, lambda: published(github, replace(other, policy=None)))
        assert (nothing.operation, "another role" in nothing.reason) == (PullRequestOperation.NONE, True)
        assert (github.head(BRANCH), github.pull(first.number).state) == (first.head_sha, "open")

    def test_the_paused_label_stops_everything(self, github: FakeGitHub) -> None:
        first = published(github)
        github.label_as("kim", first.number, PAUSED_LABEL)
        assert untouched(github, lambda: published(github, OTHER)).head_sha == first.head_sha

    def test_a_branch_that_was_never_ours_stops_the_run(self, github: FakeGitHub) -> None:
        github.commit_as("kim", BRANCH, {"a.txt": b"x"}, "Kim's own")
        with pytest.raises(PullRequestError, match="input branch"):
            published(github)


class TestSplit:
    """A policy that continues in a further file: one commit holds both, and the rules for one file hold for two."""

    def test_one_commit_holds_all_files_and_the_same_again_changes_nothing(self, github: FakeGitHub) -> None:
        base = github.head("main")
        result = published(github, SPLIT)
        assert (github.file(PATH, BRANCH), github.file(FURTHER, BRANCH)) == (b"[3]\n", b"[4]\n")
        assert connect(github).repository.compare(base, result.head_sha).ahead_by == 1
        again = untouched(github, lambda: published(github, SPLIT))
        assert (again.operation, again.number) == (PullRequestOperation.NONE, result.number)

    def test_a_later_proposal_without_the_split_takes_the_further_file_off_the_branch(self, github: FakeGitHub) -> None:
        first = published(github, SPLIT)
        result = published(github)
        assert (result.operation, result.number) == (PullRequestOperation.UPDATED, first.number)
        place = GitHubRepository(connect(github), PullRequestOptions())
        assert (place.read(result.head_sha, PATH), place.read(result.head_sha, FURTHER)) == (NEW, None)

    @pytest.mark.parametrize("edited", [{FURTHER: "[5]\n"}, {"iam/ci-deploy-3.json": "[5]\n"}])
    def test_a_person_who_touched_any_of_the_files_has_the_branch(
        self, github: FakeGitHub, edited: dict[str, str | bytes]
    ) -> None:
        published(github, SPLIT)
        head = github.commit_as("kim", BRANCH, edited)
        published(github)
        assert github.head(BRANCH) == head

    @pytest.mark.parametrize("edited", [{FURTHER: "[5]\n"}, {"README.md": "[5]\n"}])
    def test_our_name_and_trailer_on_other_contents_make_no_commit_ours(
        self, github: FakeGitHub, edited: dict[str, str | bytes]
    ) -> None:
        published(github, SPLIT)
        head = github.commit_as("github-actions[bot]", BRANCH, edited, commit_message(SPLIT))
        published(github)
        assert github.head(BRANCH) == head

    def test_after_the_merge_nothing_is_left(self, github: FakeGitHub) -> None:
        github.merge_pull(published(github, SPLIT).number, "kim")
        assert published(github, SPLIT).operation is PullRequestOperation.NONE
        assert Branches(connect(github)).commit_at(BRANCH) is None

    def test_a_base_on_which_the_further_file_changed_is_read_anew(self, github: FakeGitHub) -> None:
        expected = replace(SPLIT, expected_base=github.head("main"))
        github.commit_as("kim", "main", {FURTHER: "[9]\n"})
        with pytest.raises(PullRequestError, match="changed while the proposal was made"):
            published(github, expected)


class TestHistory:
    def test_a_file_was_changed_when_the_newest_commit_on_it_was_made(self, github: FakeGitHub) -> None:
        place = GitHubRepository(connect(github), PullRequestOptions())
        first = place.last_changed(github.head("main"), PATH)
        elsewhere = github.commit_as("kim", "main", {"README.md": "moved on\n"})
        assert first is not None
        assert place.last_changed(elsewhere, PATH) == first
        changed = place.last_changed(github.commit_as("kim", "main", {PATH: b"[9]\n"}), PATH)
        assert changed is not None
        assert changed >= first
        assert changed.tzinfo is not None
        assert place.last_changed(elsewhere, "iam/none.json") is None

    @pytest.mark.parametrize("method", ["merge", "squash"])
    def test_what_a_pull_request_brought_counts_from_its_merge_on(self, method: str) -> None:
        """The commit of a proposal may wait for weeks, and the calls of these weeks were made under the old policy."""
        times = [NOW]
        with FakeGitHub("acme/orders", files={PATH: OLD}, clock=lambda: times[-1]) as github:
            github.add_user("kim", "write")
            number = published(github).number
            times.append(NOW + timedelta(days=9))
            github.commit_as("kim", "main", {"README.md": "moved on\n"})
            times.append(NOW + timedelta(days=14))
            head = github.merge_pull(number, "kim", method)
            times.append(NOW + timedelta(days=20))
            assert GitHubRepository(connect(github), PullRequestOptions()).last_changed(head, PATH) == NOW + timedelta(
                days=14
            )
            blind = connect(github, token=github.token_for("reader[bot]", {"contents": "read", "metadata": "read"}))
            own = NOW if method == "merge" else NOW + timedelta(days=14)
            assert GitHubRepository(blind, PullRequestOptions()).last_changed(head, PATH) == own

    def test_a_file_is_read_as_it_was_at_a_time_or_as_it_was_made(self, github: FakeGitHub) -> None:
        place = GitHubRepository(connect(github), PullRequestOptions())
        made = place.last_changed(github.head("main"), PATH)
        assert made is not None
        first = place.read(github.head("main"), PATH)
        for number in range(40):  # more than GitHub tells at once
            github.commit_as("kim", "main", {PATH: f"[{number}]\n"})
        head = github.head("main")
        assert place.read_at(head, PATH, made + timedelta(days=4_000)) == b"[39]\n"
        assert place.read_at(head, PATH, made - timedelta(days=40)) == first
        assert place.read_at(head, "iam/none.json", made) is None


class TestNothingLeft:
    def test_the_pull_request_is_closed_with_a_reason_and_the_branch_deleted(self, github: FakeGitHub) -> None:
        first = published(github)
        github.commit_as("kim", "main", {PATH: NEW}, "By hand")
        result = published(github)
        assert (result.operation, result.number, result.head_sha) == (PullRequestOperation.CLOSED, first.number, "")
        assert github.pull(first.number).state == "closed"
        assert "Nothing is left to change" in github.comments(first.number)[0]
        assert Branches(connect(github)).commit_at(BRANCH) is None

    def test_a_person_worked_on_it_so_it_is_told_and_stays_open(self, github: FakeGitHub) -> None:
        first = published(github)
        head = github.commit_as("kim", BRANCH, {"notes.txt": "x"}, "Mine")
        github.commit_as("kim", "main", {PATH: NEW}, "By hand")
        for _ in range(2):
            assert published(github).operation is PullRequestOperation.NONE
        assert (github.pull(first.number).state, github.head(BRANCH)) == ("open", head)
        assert len(github.comments(first.number)) == 1

    def test_after_a_merge_the_left_over_branch_goes(self, github: FakeGitHub) -> None:
        first = published(github)
        github.merge_pull(first.number, "kim")
        assert published(github).operation is PullRequestOperation.NONE
        assert Branches(connect(github)).commit_at(BRANCH) is None
        assert untouched(github, lambda: published(github)).operation is PullRequestOperation.NONE

    def test_after_a_merge_of_an_updated_branch_all_goes_on(self, github: FakeGitHub) -> None:
        first = published(github)
        github.commit_as("kim", "main", {"README.md": "moved on\n"})
        github.update_branch_as("kim", first.number)
        github.merge_pull(first.number, "kim")
        assert published(github).operation is PullRequestOperation.NONE
        assert published(github, OTHER).operation is PullRequestOperation.CREATED

    def test_a_strangers_branch_is_no_error_while_nothing_is_to_be_done(self, github: FakeGitHub) -> None:
        github.commit_as("kim", BRANCH, {"a.txt": b"x"}, "Kim's own")
        assert (
            untouched(github, lambda: published(github, replace(PROPOSED, policy=OLD))).operation
            is PullRequestOperation.NONE
        )

    def test_what_we_closed_ourselves_is_not_declined(self, github: FakeGitHub) -> None:
        first = published(github)
        github.commit_as("kim", "main", {PATH: NEW}, "By hand")
        published(github)
        github.commit_as("kim", "main", {PATH: OLD}, "And back")
        again = published(github)
        assert (again.operation, again.number != first.number) == (PullRequestOperation.CREATED, True)


class TestDeclined:
    def test_the_same_proposal_does_not_come_back(self, github: FakeGitHub) -> None:
        first = published(github)
        github.close_pull(first.number, "kim")
        again = untouched(github, lambda: published(github))
        assert (again.operation, again.number) == (PullRequestOperation.NONE, first.number)
        assert f"declined in #{first.number}" in again.reason

    def test_its_changes_are_remembered_one_by_one_until_the_label_takes_it_back(self, github: FakeGitHub) -> None:
        first = published(github)
        github.close_pull(first.number, "kim")
        assert [(each.number, each.changes) for each in declined(github)] == [(first.number, CHANGES)]
        github.label_as("kim", first.number, RECONSIDER_LABEL.upper())
        assert declined(github) == ()

    def test_merged_pull_requests_and_those_about_something_else_decline_nothing(self, github: FakeGitHub) -> None:
        first = published(github)
        github.merge_pull(first.number, "kim", delete_branch=True)
        github.commit_as("kim", BRANCH, {"a.txt": "x"})
        theirs = github.open_pull_as("kim", BRANCH, body="Mine.")
        github.close_pull(theirs, "kim")
        assert declined(github) == ()

    def test_a_rewritten_description_does_not_undo_the_decline(self, github: FakeGitHub) -> None:
        first = published(github)
        github.edit_body_as("kim", first.number, "We do not want this.")
        github.close_pull(first.number, "kim")
        assert untouched(github, lambda: published(github)).operation is PullRequestOperation.NONE

    def test_a_bot_that_closes_stale_pull_requests_decides_nothing(self, github: FakeGitHub) -> None:
        first = published(github)
        github.close_pull(first.number, "stale[bot]")
        assert declined(github) == ()

    def test_the_owner_of_the_token_can_decline_too(self) -> None:
        with FakeGitHub("acme/orders", files={PATH: OLD}, login="kim") as github:
            first = published(github)
            github.close_pull(first.number, "kim")
            assert published(github).operation is PullRequestOperation.NONE

    def test_another_files_proposal_on_the_same_branch_is_not_declined_with_it(self, github: FakeGitHub) -> None:
        first = published(github)
        github.close_pull(first.number, "kim")
        github.move_branch_as("kim", BRANCH, None)
        stamp = fingerprint("role/ci-deploy iam/other.json", None, NEW)
        assert published(github, replace(PROPOSED, path="iam/other.json", fingerprint=stamp)).number != first.number

    def test_the_branch_of_a_declined_pull_request_stays_so_that_it_can_be_opened_again(
        self, github: FakeGitHub
    ) -> None:
        first = published(github)
        github.close_pull(first.number, "kim")
        nothing = replace(PROPOSED, policy=OLD)
        assert untouched(github, lambda: published(github, nothing)).operation is PullRequestOperation.NONE
        github.reopen_pull(first.number, "kim")
        assert published(github).number == first.number


def test_drafts_that_the_repository_lacks_are_opened_as_normal_ones(github: FakeGitHub) -> None:
    message = "Draft pull requests are not supported in this repository."
    github.fail_next("POST", "/pulls$", 422, body={"message": "Validation Failed", "errors": [{"message": message}]})
    result = published(github, pull_request_options=PullRequestOptions(draft=True))
    assert (result.operation, "no draft" in result.reason) == (PullRequestOperation.CREATED, True)


class TestRefused:
    def test_forbidden_creation_keeps_the_branch_and_gives_the_link_then_is_tried_again(
        self, github: FakeGitHub
    ) -> None:
        github.forbid_pull_request_creation()
        result = published(github)
        assert result.manual_url == "https://github.example/acme/orders/compare/main...leastpriv/ci-deploy?expand=1"
        assert "Allow GitHub Actions to create and approve pull requests" in result.failure
        assert result.head_sha == github.head(BRANCH)
        github.world.actions_may_open_pull_requests = True
        again = published(github)
        assert (again.operation, again.head_sha) == (PullRequestOperation.CREATED, result.head_sha)

    def test_a_wrong_token_is_one_sentence_that_names_the_input(self, github: FakeGitHub) -> None:
        with pytest.raises(PullRequestError, match="github-token"):
            connect(github, token="wrong")  # noqa: S106 - an invented one
        github.violations.clear()

    def test_a_token_that_may_only_read_is_told_which_permissions_are_missing(self, github: FakeGitHub) -> None:
        with pytest.raises(PullRequestError, match="contents: write"):
            GitHubRepository(connect(github, token=github.read_only_token), PullRequestOptions()).publish(PROPOSED, NOW)

    def test_a_protected_branch_is_told_as_such(self, github: FakeGitHub) -> None:
        first = published(github)
        github.protect(BRANCH)
        with pytest.raises(PullRequestError, match="protects the branch"):
            published(github, OTHER)
        assert github.head(BRANCH) == first.head_sha

    def test_a_base_that_is_not_there_names_the_input(self, github: FakeGitHub) -> None:
        with pytest.raises(PullRequestError, match="input base"):
            published(github, replace(PROPOSED, base="nowhere"))


class TestPatience:
    @pytest.mark.parametrize("status", [500, 502, 503])
    def test_a_server_error_is_waited_out(self, github: FakeGitHub, status: int) -> None:
        waits: list[float] = []
        github.fail_next("POST", "/git/trees", status, times=2)
        result = GitHubRepository(connect(github, waits.append), PullRequestOptions()).publish(PROPOSED, NOW)
        assert result.operation is PullRequestOperation.CREATED
        assert 1 <= sum(waits) <= 10

    def test_a_secondary_rate_limit_is_waited_out_for_as_long_as_github_says(self, github: FakeGitHub) -> None:
        waits: list[float] = []
        github.limit_next("POST", "/pulls$", times=1, retry_after=7)
        result = GitHubRepository(connect(github, waits.append), PullRequestOptions()).publish(PROPOSED, NOW)
        assert (result.operation, waits) == (PullRequestOperation.CREATED, [7.0])

    def test_a_wait_of_an_hour_is_not_slept_through(self, github: FakeGitHub) -> None:
        waits: list[float] = []
        github.limit_next("POST", "/git/blobs", times=1, retry_after=3_600)
        with pytest.raises(PullRequestError, match="rate limit"):
            GitHubRepository(connect(github, waits.append), PullRequestOptions()).publish(PROPOSED, NOW)
        assert waits == []

    def test_the_primary_rate_limit_ends_the_run_with_a_sentence(self, github: FakeGitHub) -> None:
        place = GitHubRepository(connect(github), PullRequestOptions())
        github.set_rate_limit(0, int(time.time()) + 3_000)
        with pytest.raises(PullRequestError, match="rate limit"):
            place.publish(PROPOSED, NOW)

    def test_a_pull_request_not_found_right_after_its_creation_is_asked_for_again(self, github: FakeGitHub) -> None:
        waits: list[float] = []
        github.fail_next("POST", "/labels$", 422, times=2, body={"message": "Validation Failed"})
        place = GitHubRepository(connect(github, waits.append), PullRequestOptions(labels=("leastpriv",)))
        number = place.publish(PROPOSED, NOW).number
        assert github.pull(number).labels == ["leastpriv"]
        assert waits == [1.0, 2.0]

    @pytest.mark.parametrize("by_graphql", [True, False])
    def test_a_move_whose_answer_got_lost_is_not_taken_for_somebody_elses(
        self, github: FakeGitHub, by_graphql: bool
    ) -> None:
        github.graphql_update_refs = by_graphql
        where = ("POST", "/graphql") if by_graphql else ("POST", "/git/refs$")
        connection = connect(github)
        connection.is_own_login("kim")  # the question who we are goes by GraphQL too
        github.fail_next(*where, 502, carried_out=True)
        assert (
            GitHubRepository(connection, PullRequestOptions()).publish(PROPOSED, NOW).operation
            is PullRequestOperation.CREATED
        )

    @pytest.mark.parametrize("times", [1, 9])
    def test_a_text_that_could_not_be_edited_is_set_right_by_the_next_run(self, github: FakeGitHub, times: int) -> None:
        first = published(github)
        github.fail_next("PATCH", "/pulls/", 502, times=times)
        if times > 5:
            with pytest.raises(PullRequestError, match="502"):
                published(github, OTHER)
            github._desk.faults.clear()
        published(github, OTHER)
        assert (github.pull(first.number).title, github.pull(first.number).body) == (OTHER.title, OTHER.body)
        assert untouched(github, lambda: published(github, OTHER)).operation is PullRequestOperation.NONE

    @pytest.mark.parametrize("path", ["/git/blobs", "/git/trees", "/git/commits", "/pulls$", "/labels$"])
    def test_a_server_that_fails_for_long_ends_with_a_sentence_and_the_next_run_goes_on(
        self, github: FakeGitHub, path: str
    ) -> None:
        github.fail_next("POST", path, 502, times=50)
        manners = PullRequestOptions(labels=("leastpriv",))
        try:
            result = published(github, pull_request_options=manners)
            assert "502" in result.reason
        except PullRequestError as error:
            assert "502" in str(error)  # noqa: PT017 - both ends are right, by what failed
        github._desk.faults.clear()
        published(github, pull_request_options=manners)
        assert connect(github).repository.get_pulls(state="all").totalCount == 1
        assert github.file(PATH, BRANCH) == NEW

    def test_a_creation_whose_answer_got_lost_makes_no_second_pull_request(self, github: FakeGitHub) -> None:
        github.fail_next("POST", "/pulls$", 502, carried_out=True)
        result = published(github, pull_request_options=PullRequestOptions(labels=("leastpriv",)))
        assert result.operation is PullRequestOperation.CREATED
        assert github.pull(result.number).labels == ["leastpriv"]
        assert connect(github).repository.get_pulls(state="all").totalCount == 1


class TestRaces:
    def test_where_the_server_can_compare_and_swap_nothing_else_moves_a_branch(self, github: FakeGitHub) -> None:
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
            "POST", "/git/commits", lambda: pushed.append(github.commit_as("kim", BRANCH, {"a.txt": b"x"}, "Mine"))
        )
        with pytest.raises(PullRequestError, match="moved"):
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


def race(github: FakeGitHub, stamp: str) -> None:
    """Two runs with different proposals at the same time: the branch ends as one of them, whole."""
    proposals = [proposal(f'["{letter}{stamp}"]\n'.encode(), letter) for letter in ("aa", "bb")]
    done: list[PublishResult | PullRequestError] = []

    def one(publication: Publication) -> None:
        try:
            done.append(published(github, publication))
        except PullRequestError as error:
            done.append(error)

    threads = [threading.Thread(target=one, args=(publication,)) for publication in proposals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 2
    assert any(isinstance(each, PublishResult) for each in done)
    assert all("moved" in str(each) for each in done if isinstance(each, PullRequestError)), done
    assert github.file(PATH, BRANCH) in [each.policy for each in proposals]
    assert connect(github).repository.compare("main", BRANCH).ahead_by == 1
    final = next(each for each in proposals if each.policy == github.file(PATH, BRANCH))
    # Whoever comes last may have lost the race for the text: the next run of the same proposal sets it right.
    published(github, final)
    [pull] = connect(github).repository.get_pulls(state="open", head=f"acme:{BRANCH}")
    assert (pull.title, pull.body) == (final.title, final.body)


@pytest.mark.slow
def test_fifty_races_lose_no_commit_and_open_one_pull_request(github: FakeGitHub) -> None:
    for round_ in range(50):
        race(github, f"{round_:02x}")
    assert connect(github).repository.get_pulls(state="all").totalCount == 1


def test_on_a_server_of_ones_own_everything_lies_below_its_prefix() -> None:
    with FakeGitHub("acme/orders", files={PATH: OLD}, prefix="/api/v3") as github:
        assert "/api/v3" in github.url
        assert published(github).operation is PullRequestOperation.CREATED
