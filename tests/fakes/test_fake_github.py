"""The fake GitHub follows GitHub's rules, on which the tests of the pull request's lifecycle
rely.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
import requests
from github import Auth, Github, GithubException, InputGitAuthor, InputGitTreeElement
from github.GitCommit import GitCommit
from github.PullRequest import PullRequest
from github.Repository import Repository
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.github import FakeGitHub, contract
from tests.fakes.github.routes import ROUTES
from tests.hypothesis_profiles import examples

ZERO = "0" * 40


@pytest.fixture
def hub() -> Iterator[FakeGitHub]:
    """A new GitHub."""
    with FakeGitHub() as started:
        yield started


def client(hub: FakeGitHub, token: str | None = None) -> Github:
    """PyGithub without retries and pauses."""
    auth = Auth.Token(token or hub.token)
    return Github(
        auth=auth,
        base_url=hub.url,
        retry=None,
        seconds_between_requests=0,
        seconds_between_writes=0,
    )


_REPOSITORIES: WeakKeyDictionary[FakeGitHub, dict[str, Repository]] = WeakKeyDictionary()


def repository(hub: FakeGitHub, token: str | None = None) -> Repository:
    """The repository through PyGithub, requested once per test and token."""
    known, key = _REPOSITORIES.setdefault(hub, {}), token or hub.token
    if key not in known:
        known[key] = client(hub, key).get_repo(hub.world.full_name)
    return known[key]


def ask(
    hub: FakeGitHub, method: str, path: str, body: Any = None, **headers: str
) -> requests.Response:
    """One raw request with the token."""
    given = {"Authorization": f"Bearer {hub.token}", **headers}
    return requests.request(method, hub.url + path, json=body, headers=given, timeout=10)


def below(path: str) -> str:
    """A path below the repository."""
    return f"/repos/acme/shop{path}"


def query(hub: FakeGitHub, text: str, token: str | None = None, **variables: Any) -> Any:
    """The body of the answer to one GraphQL request."""
    given = {"Authorization": f"bearer {token or hub.token}"}
    body = {"query": text, "variables": variables}
    return requests.post(hub.graphql_url, json=body, headers=given, timeout=10).json()


def error_of(call: Callable[[], object]) -> tuple[int, Any]:
    """Status and body of a denied call."""
    with pytest.raises(GithubException) as caught:
        call()
    return caught.value.status, caught.value.data


def commit_on(repo: Repository, branch: str, path: str, text: str) -> GitCommit:
    """A commit on a branch by the git database; no ref moves."""
    parent = repo.get_git_commit(repo.get_branch(branch).commit.sha)
    blob = repo.create_git_blob(text, "utf-8")
    element = InputGitTreeElement(path, "100644", "blob", sha=blob.sha)
    return repo.create_git_commit(
        "Change", repo.create_git_tree([element], base_tree=parent.tree), [parent]
    )


def opened(hub: FakeGitHub, branch: str = "leastpriv/deploy") -> PullRequest:
    """A pull request with one commit of the token's owner on a branch created by the API."""
    repo = repository(hub)
    commit = commit_on(repo, hub.default_branch, "iam/policy.json", "{}\n")
    repo.create_git_ref(f"refs/heads/{branch}", commit.sha)
    return repo.create_pull(base=hub.default_branch, head=branch, title="Tighten", body="Because.")


class TestStrictness:
    def test_the_committed_description_has_exactly_the_implemented_operations(self) -> None:
        assert {(route.method, route.template) for route in ROUTES} == contract.operations()

    def test_an_unknown_path_is_not_found_and_a_violation(self, hub: FakeGitHub) -> None:
        assert ask(hub, "GET", below("/stargazers")).status_code == 404
        assert len(hub.violations) == 1
        hub.violations.clear()

    @pytest.mark.parametrize(
        ("method", "path", "body", "named"),
        [
            ("POST", "/pulls", {"title": "t", "base": "main"}, "'head'"),
            (
                "POST",
                "/pulls",
                {"title": "t", "base": "main", "head": "h", "draft": "yes"},
                "boolean",
            ),
            (
                "POST",
                "/pulls",
                {"title": "t", "base": "main", "head": "h", "drafts": True},
                "'drafts'",
            ),
            ("GET", "/pulls?per-page=5", None, "'per-page'"),
            ("GET", "/pulls?state=merged", None, "merged"),
            ("POST", "/git/trees", {"tree": [{"path": "a", "mode": "777", "content": ""}]}, "777"),
            ("DELETE", "/git/refs/heads/x", {"force": True}, "body"),
        ],
    )
    def test_an_invalid_request_fails_and_the_violation_names_the_location(
        self, hub: FakeGitHub, method: str, path: str, body: Any, named: str
    ) -> None:
        answer = ask(hub, method, below(path), body)
        assert answer.status_code == 500
        assert named in answer.json()["message"]
        assert named in hub.violations.pop()

    def test_an_invalid_answer_is_a_violation(self) -> None:
        route = next(one for one in ROUTES if one.template.endswith("/git/ref/{ref}"))
        params = {"owner": "acme", "repo": "shop", "ref": "heads/main"}
        wrong = {
            "ref": "refs/heads/main",
            "node_id": "x",
            "url": "https://x",
            "object": {"type": "commit", "sha": "a"},
        }
        assert contract.response_violations(route, params, 200, wrong)
        assert contract.response_violations(route, params, 204, None)

    def test_a_sample_changes_nothing_that_github_limits(self) -> None:
        names = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern")
        names += ("uniqueItems", "multipleOf", "minProperties", "maxProperties", "not")
        limits = {
            (name, node[name])
            for node in contract.nodes(contract.description())
            for name in names
            if isinstance(node.get(name), str | int)
        }
        assert limits <= {
            ("minimum", 0),
            ("maximum", 6),
            ("minLength", 40),
            ("maxLength", 40),
            ("minItems", 1),
        }

    def test_the_description_is_corrected_only_while_it_contradicts_itself(self) -> None:
        kinds: dict[str, int] = {}

        def is_text(schema: Any) -> bool:
            return bool(schema == {"type": "string"})

        def count(node: dict[str, Any]) -> dict[str, Any]:
            null_is_missing = node.get("nullable") is True and None not in node.get("enum", [None])
            for kind, found in (
                ("null", null_is_missing),
                ("choice", isinstance(node.get("oneOf"), list)),
                ("discriminator", "propertyName" in node.get("discriminator", {})),
                (
                    "label",
                    node.get("properties", {}).get("color")
                    and is_text(node["properties"].get("description")),
                ),
                (
                    "head",
                    {"label", "ref", "sha"} <= set(node.get("properties", {}))
                    and not node["properties"]["repo"].get("nullable"),
                ),
            ):
                kinds[kind] = kinds.get(kind, 0) + bool(found)
            return node

        json.loads(
            (Path(contract.__file__).parent / "openapi.json").read_text(encoding="utf-8"),
            object_hook=count,
        )
        assert all(kinds.values()), kinds

    def test_an_unexpected_violation_fails_its_test(self) -> None:
        with pytest.raises(AssertionError, match="stargazers"), FakeGitHub() as hub:
            ask(hub, "GET", below("/stargazers"))

    def test_a_defect_of_the_fake_is_a_violation_and_no_outage(self, hub: FakeGitHub) -> None:
        hub.world.labels["broken"] = None  # type: ignore[assignment]
        assert ask(hub, "GET", below("/labels")).status_code == 500
        assert "the fake broke" in hub.violations.pop()

    def test_no_answer_leads_to_the_real_github_api(self, hub: FakeGitHub) -> None:
        number = opened(hub).number
        hub.add_run(7)
        hub.add_job(7)
        for path in (
            "",
            "/pulls",
            f"/pulls/{number}",
            f"/issues/{number}",
            "/branches/main",
            "/actions/runs/7",
        ):
            assert "api.github.com" not in ask(hub, "GET", below(path)).text
        assert "api.github.com" not in ask(hub, "GET", below("/actions/runs/7/jobs")).text

    def test_another_repository_is_not_found(self, hub: FakeGitHub) -> None:
        assert ask(hub, "GET", "/repos/acme/other").status_code == 404
        assert hub.violations == []

    def test_a_request_without_a_user_agent_is_an_error(self, hub: FakeGitHub) -> None:
        assert ask(hub, "GET", below(""), **{"User-Agent": ""}).status_code == 403


@pytest.fixture(scope="module")
def crowded() -> Iterator[FakeGitHub]:
    """A GitHub with one of every object that its answers can show, and an app that may read all of
    it.
    """
    granted = dict.fromkeys(
        ("metadata", "contents", "pull_requests", "issues", "actions", "administration"), "write"
    )
    with FakeGitHub(login="lp[bot]", permissions={**granted, "members": "read"}) as hub:
        hub.add_user("ann")
        hub.add_team("platform")
        for branch in ("open", "closed", "merged", "draft", "gone"):
            hub.commit_as(
                "ann",
                branch,
                {f"{branch}/file": "1\n", "README.md": None if branch == "open" else "x"},
            )
        numbers = [
            hub.open_pull_as("ann", branch)
            for branch in ("open", "closed", "merged", "draft", "gone")
        ]
        api = repository(hub)
        first = api.get_pull(numbers[0])
        first.add_to_labels("a/b")
        first.add_to_assignees("ann")
        hub.add_user("bob")
        first.create_review_request(reviewers=["bob"], team_reviewers=["platform"])
        hub.close_pull(numbers[1], by="ann")
        hub.merge_pull(numbers[2])
        api.get_pull(numbers[3]).convert_to_draft()
        hub.move_branch_as("ann", "gone", None)
        api.create_issue("Drift", assignee="ann", labels=["a/b"]).edit(state="closed", body="")
        hub.world.issue(numbers[0]).body = None
        for number in numbers:
            hub.label_as("ann", number, "plain")
            hub.comment_as("ann", number, "why?")
            hub.review_as("bob" if number > 1 else "ann", number)
        hub.add_run(1, "open", status="in_progress", conclusion=None)
        hub.add_job(1, status="queued", conclusion=None)
        hub.add_job(1)
        hub.protect("main")
        yield hub


LISTS = ("/repos/{owner}/{repo}/pulls", "/repos/{owner}/{repo}/issues")
READS = sorted(
    route.template
    for route in ROUTES
    if route.method == "GET" and not route.template.endswith("/logs")
)


class TestEveryRead:
    @pytest.mark.parametrize("template", READS)
    def test_every_answer_is_valid_by_the_description(
        self, crowded: FakeGitHub, template: str
    ) -> None:
        commit = crowded.head("open")
        blob = crowded.world.git.at(commit, "open/file") or ("", "")
        fixed = {
            "owner": "acme", "repo": "shop", "org": "acme", "team_slug": "platform",
            "username": "ann",
            "branch": "main", "path": "merged",
            "ref": "heads/open" if "/git/" in template else "open",
            "basehead": "main...open", "commit_sha": commit, "tree_sha": commit,
            "file_sha": blob[1],
            "name": "a%2Fb", "run_id": "1", "attempt_number": "1",
            "job_id": str(max(crowded.world.jobs)),
            "comment_id": str(max(crowded.world.comments)),
        }  # fmt: skip
        for number in range(1, 7 if "/issues/" in template else 6):
            path = template.format(**fixed, issue_number=number, pull_number=number)
            answer = ask(crowded, "GET", path + ("?state=all" if template in LISTS else ""))
            assert answer.status_code == (403 if template == "/user" else 200), answer.text
            if "number}" not in template:
                break


class TestTokens:
    def test_a_wrong_token_is_an_error(self, hub: FakeGitHub) -> None:
        status, body = error_of(lambda: repository(hub, "nonsense"))
        assert (status, body["message"]) == (401, "Bad credentials")

    def test_a_request_without_a_token_is_an_error(self, hub: FakeGitHub) -> None:
        assert requests.get(hub.url + below(""), timeout=10).status_code == 401

    def test_a_read_only_token_reads_and_may_not_write(self, hub: FakeGitHub) -> None:
        repo = repository(hub, hub.read_only_token)
        assert repo.default_branch == "main"
        status, body = error_of(lambda: repo.create_git_ref("refs/heads/x", hub.head("main")))
        assert (status, body["message"]) == (403, "Resource not accessible by integration")

    @pytest.mark.parametrize(
        ("missing", "path"),
        [
            ("contents", "/git/ref/heads/main"),
            ("pull_requests", "/pulls"),
            ("actions", "/actions/runs/1"),
        ],
    )
    def test_a_permission_that_the_workflow_does_not_list_is_denied(
        self, missing: str, path: str
    ) -> None:
        granted = {
            "metadata": "read",
            "contents": "write",
            "pull_requests": "write",
            "actions": "read",
        }
        del granted[missing]
        with FakeGitHub(permissions=granted) as hub:
            answer = ask(hub, "GET", below(path))
            assert (answer.status_code, answer.json()["message"]) == (
                403,
                "Resource not accessible by integration",
            )

    def test_the_workflows_token_may_not_read_branch_protection(self, hub: FakeGitHub) -> None:
        hub.protect("main")
        assert ask(hub, "GET", below("/branches/main/protection")).status_code == 403
        assert repository(hub).get_branch("main").protected

    def test_the_workflow_s_token_has_no_user_and_has_a_login_in_graphql(
        self, hub: FakeGitHub
    ) -> None:
        assert error_of(lambda: client(hub).get_user().login)[0] == 403
        assert query(hub, "{viewer{login}}") == {
            "data": {"viewer": {"login": "github-actions[bot]"}}
        }

    def test_a_persons_token_has_a_user(self) -> None:
        with FakeGitHub(login="ann") as hub:
            assert client(hub).get_user().login == "ann"
            assert repository(hub).permissions.push

    def test_a_person_without_write_permission_may_not_write(self, hub: FakeGitHub) -> None:
        hub.add_user("ann", "read")
        repo = repository(hub, hub.token_for("ann"))
        assert not repo.permissions.push
        assert error_of(lambda: repo.create_git_ref("refs/heads/x", hub.head("main")))[0] == 403


class TestGit:
    def test_a_commit_of_an_app_without_author_is_signed_by_github(self, hub: FakeGitHub) -> None:
        commit = commit_on(repository(hub), "main", "a", "b")
        seen = repository(hub).get_commit(commit.sha)
        assert seen.author.login == "github-actions[bot]"
        assert seen.committer.login == "web-flow"
        assert seen.commit.verification.verified

    def test_a_commit_with_a_given_author_is_not_signed(self, hub: FakeGitHub) -> None:
        repo = repository(hub)
        parent = repo.get_git_commit(hub.head("main"))
        author = InputGitAuthor("Ann", "ann@example.com")
        commit = repo.create_git_commit("m", parent.tree, [parent], author=author)
        assert not commit.verification.verified
        assert repo.get_commit(commit.sha).author is None

    def test_a_persons_commit_by_the_api_is_not_signed(self, hub: FakeGitHub) -> None:
        hub.add_user("ann")
        commit = commit_on(repository(hub, hub.token_for("ann")), "main", "a", "b")
        assert not commit.verification.verified
        assert repository(hub).get_commit(commit.sha).committer.login == "ann"

    def test_a_forged_bot_address_in_a_commit_has_no_signature(self, hub: FakeGitHub) -> None:
        hub.add_user("eve")
        repo = repository(hub, hub.token_for("eve"))
        parent = repo.get_git_commit(hub.head("main"))
        bot = InputGitAuthor(
            "github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com"
        )
        commit = repo.get_commit(
            repo.create_git_commit("m", parent.tree, [parent], author=bot, committer=bot).sha
        )
        assert commit.author.login == "github-actions[bot]"
        assert not commit.commit.verification.verified

    def test_a_person_s_push_is_unsigned_and_a_commit_on_the_pages_is_signed(
        self, hub: FakeGitHub
    ) -> None:
        pushed, clicked = (
            hub.commit_as("ann", "x", {"a": "1"}),
            hub.commit_as("ann", "x", {"a": "2"}, on_web=True),
        )
        repo = repository(hub)
        assert [repo.get_commit(sha).commit.verification.verified for sha in (pushed, clicked)] == [
            False,
            True,
        ]
        assert repo.get_commit(clicked).committer.login == "web-flow"
        assert repo.get_commit(pushed).author.login == "ann"

    def test_a_ref_is_created_once_moved_and_deleted(self, hub: FakeGitHub) -> None:
        repo, main = repository(hub), hub.head("main")
        ref = repo.create_git_ref("refs/heads/a/b", main)
        assert (
            error_of(lambda: repo.create_git_ref("refs/heads/a/b", main))[1]["message"]
            == "Reference already exists"
        )
        commit = commit_on(repo, "main", "a", "b")
        ref.edit(commit.sha)
        assert hub.head("a/b") == commit.sha
        ref.delete()
        assert error_of(lambda: repo.get_git_ref("heads/a/b"))[0] == 404
        assert error_of(ref.delete) == (
            422,
            {**error_of(ref.delete)[1], "message": "Reference does not exist"},
        )

    def test_a_branch_blocks_a_branch_below_it(self, hub: FakeGitHub) -> None:
        repo = repository(hub)
        status, body = error_of(lambda: repo.create_git_ref("refs/heads/main/x", hub.head("main")))
        assert (status, body["message"]) == (422, "Reference update failed")

    def test_a_ref_to_a_missing_commit_is_an_error(self, hub: FakeGitHub) -> None:
        status, body = error_of(lambda: repository(hub).create_git_ref("refs/heads/x", "1" * 40))
        assert (status, body["message"]) == (422, "Object does not exist")

    def test_a_move_that_drops_commits_needs_force(self, hub: FakeGitHub) -> None:
        first = hub.commit_as("ann", "x", {"a": "1"})
        hub.commit_as("ann", "x", {"a": "2"})
        ref = repository(hub).get_git_ref("heads/x")
        status, body = error_of(lambda: ref.edit(first))
        assert (status, body["message"]) == (422, "Update is not a fast forward")
        ref.edit(first, force=True)
        assert hub.head("x") == first

    def test_matching_refs_have_the_prefix(self, hub: FakeGitHub) -> None:
        for name in ("leastpriv/a", "leastpriv/b", "other"):
            hub.commit_as("ann", name, {"a": "1"})
        found = repository(hub).get_git_matching_refs("heads/leastpriv/")
        assert [ref.ref for ref in found] == ["refs/heads/leastpriv/a", "refs/heads/leastpriv/b"]

    def test_a_protected_branch_rejects_moves_deletion_and_content(self, hub: FakeGitHub) -> None:
        repo = repository(hub)
        commit = commit_on(repo, "main", "a", "b")
        hub.protect("main")
        ref, words = repo.get_git_ref("heads/main"), "Changes must be made through a pull request."
        moved, deleted = error_of(lambda: ref.edit(commit.sha)), error_of(ref.delete)
        assert (moved[0], moved[1]["message"]) == (422, words)
        assert (deleted[0], deleted[1]["message"]) == (422, "Cannot delete this protected branch")
        status, body = error_of(lambda: repo.create_file("new", "m", "x"))
        assert (status, body["message"]) == (409, f"Could not create file: {words}")

    def test_a_tree_over_a_base_keeps_changes_and_deletes(self, hub: FakeGitHub) -> None:
        hub.commit_as("ann", "main", {"old": "1", "kept/deep": "2"})
        repo = repository(hub)
        base = repo.get_git_commit(hub.head("main")).tree
        body = {"base_tree": base.sha, "tree": [
            {"path": "old", "mode": "100644", "type": "blob", "sha": None},
            {"path": "new", "mode": "100644", "type": "blob", "content": "n"},
        ]}  # fmt: skip
        tree = ask(hub, "POST", below("/git/trees"), body).json()["sha"]
        paths = [
            one.path for one in repo.get_git_tree(tree, recursive=True).tree if one.type == "blob"
        ]
        assert paths == ["README.md", "kept/deep", "new"]

    def test_a_tree_or_commit_of_missing_objects_is_an_error(self, hub: FakeGitHub) -> None:
        entry = {"path": "a", "mode": "100644", "type": "blob", "sha": "1" * 40}
        assert ask(hub, "POST", below("/git/trees"), {"tree": [entry]}).status_code == 422
        commit = ask(hub, "POST", below("/git/commits"), {"message": "m", "tree": "1" * 40})
        assert (commit.status_code, commit.json()["message"]) == (422, "Tree SHA does not exist")

    def test_a_comparison_counts_from_the_merge_base(self, hub: FakeGitHub) -> None:
        hub.commit_as("ann", "x", {"a": "1\n"})
        hub.commit_as("ann", "main", {"b": "2\n"})
        found = repository(hub).compare("main", "x")
        assert (found.status, found.ahead_by, found.behind_by) == ("diverged", 1, 1)
        assert [(one.filename, one.status, one.patch) for one in found.files] == [
            ("a", "added", "@@ -0,0 +1 @@\n+1")
        ]

    def test_the_history_of_one_path_is_the_newest_first(self, hub: FakeGitHub) -> None:
        shas = [
            hub.commit_as("ann", "main", {"a": str(number)}, f"c{number}") for number in range(3)
        ]
        hub.commit_as("ann", "main", {"b": "x"})
        assert [one.sha for one in repository(hub).get_commits(path="a")] == shas[::-1]


class TestContents:
    def test_a_stale_blob_id_conflicts(self, hub: FakeGitHub) -> None:
        repo = repository(hub)
        old = repo.get_contents("README.md")
        assert not isinstance(old, list)
        repo.update_file("README.md", "m", "new", old.sha)
        assert error_of(lambda: repo.update_file("README.md", "m", "newer", old.sha))[0] == 409
        assert hub.file("README.md") == b"new"

    def test_replacing_a_file_without_its_blob_id_is_an_error(self, hub: FakeGitHub) -> None:
        status, body = error_of(lambda: repository(hub).create_file("README.md", "m", "new"))
        assert (status, body["message"]) == (422, 'Invalid request.\n\n"sha" wasn\'t supplied.')

    def test_a_folder_is_a_list_and_a_missing_path_is_not_found(self, hub: FakeGitHub) -> None:
        hub.commit_as("ann", "x", {"iam/a.json": "1", "iam/deep/b.json": "2"})
        repo = repository(hub)
        listed = repo.get_contents("iam", ref="x")
        assert isinstance(listed, list)
        assert [(one.path, one.type) for one in listed] == [
            ("iam/a.json", "file"),
            ("iam/deep", "dir"),
        ]
        assert error_of(lambda: repo.get_contents("iam"))[0] == 404
        assert error_of(lambda: repo.get_contents("iam", ref="nowhere"))[0] == 404

    def test_a_file_over_a_mebibyte_has_no_content(self, hub: FakeGitHub) -> None:
        hub.commit_as("ann", "main", {"big": b"x" * (1024 * 1024 + 1)})
        found = repository(hub).get_contents("big")
        assert not isinstance(found, list)
        assert (found.encoding, found.size) == ("none", 1024 * 1024 + 1)
        raw = ask(hub, "GET", below("/contents/big"), Accept="application/vnd.github.raw+json")
        assert len(raw.content) == 1024 * 1024 + 1


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeGitHub]:
    """One GitHub for many examples."""
    with FakeGitHub() as started:
        yield started


NAMES = st.text("abzAZ09-_+%#&= äß", min_size=1, max_size=12).map(lambda text: f"x{text}x")


class TestRoundTrips:
    @examples(10)
    @given(
        path=st.lists(NAMES, min_size=1, max_size=3).map("/".join), content=st.binary(max_size=200)
    )
    def test_any_bytes_at_any_path_are_read_back_unchanged(
        self, shared: FakeGitHub, path: str, content: bytes
    ) -> None:
        repo, branch = repository(shared), f"b{len(shared.requests)}"
        repo.create_git_ref(f"refs/heads/{branch}", shared.head("main"))
        repo.create_file(path, "m", content, branch=branch)
        found = repo.get_contents(path, ref=branch)
        assert not isinstance(found, list)
        assert found.decoded_content == content == shared.file(path, branch)

    @examples(10)
    @given(content=st.binary(max_size=200))
    def test_a_blob_is_read_back_unchanged(self, shared: FakeGitHub, content: bytes) -> None:
        repo = repository(shared)
        blob = repo.get_git_blob(
            repo.create_git_blob(base64.b64encode(content).decode(), "base64").sha
        )
        assert base64.b64decode(blob.content) == content

    @examples(10)
    @given(
        name=NAMES,
        message=st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=40),
    )
    def test_a_label_and_a_comment_are_read_back_unchanged(
        self, shared: FakeGitHub, name: str, message: str
    ) -> None:
        repo = repository(shared)
        number = shared.world.open_issue("ann", "t", None).number
        repo.get_issue(number).add_to_labels(name)
        repo.get_issue(number).create_comment(f"x{message}")
        assert [label.name.lower() for label in repo.get_issue(number).labels] == [name.lower()]
        assert shared.comments(number) == [f"x{message}"]

    @examples(10)
    @given(count=st.integers(0, 12), size=st.integers(1, 5))
    def test_following_the_links_of_a_list_visits_every_item_once(
        self, shared: FakeGitHub, count: int, size: int
    ) -> None:
        number = shared.world.open_issue("ann", "t", None).number
        wanted = [shared.comment_as("ann", number, f"c{index}") for index in range(count)]
        address, found = shared.url + below(f"/issues/{number}/comments?per_page={size}"), []
        while address:
            answer = requests.get(
                address, headers={"Authorization": f"Bearer {shared.token}"}, timeout=10
            )
            found += [one["id"] for one in answer.json()]
            address = answer.links.get("next", {}).get("url", "")
        assert found == wanted


class TestPullRequests:
    def test_a_pull_request_shows_its_changes(self, hub: FakeGitHub) -> None:
        pull = opened(hub)
        assert (pull.user.login, pull.state, pull.mergeable, pull.draft) == (
            "github-actions[bot]",
            "open",
            True,
            False,
        )
        assert (pull.commits, pull.additions, pull.changed_files) == (1, 1, 1)
        assert pull.head.sha == hub.head("leastpriv/deploy")
        assert [one.filename for one in pull.get_files()] == ["iam/policy.json"]
        assert [one.sha for one in pull.get_commits()] == [pull.head.sha]

    def test_creation_is_denied_for_three_reasons(self, hub: FakeGitHub) -> None:
        opened(hub)
        repo = repository(hub)
        repo.create_git_ref("refs/heads/same", hub.head("main"))
        again, empty, missing = (
            error_of(lambda head=head: repo.create_pull(base="main", head=head, title="t", body=""))  # type: ignore[misc]
            for head in ("leastpriv/deploy", "same", "nowhere")
        )
        assert {again[0], empty[0], missing[0]} == {422}
        assert (
            again[1]["errors"][0]["message"]
            == "A pull request already exists for acme:leastpriv/deploy."
        )
        assert empty[1]["errors"][0]["message"] == "No commits between main and same"
        assert missing[1]["errors"] == [
            {"resource": "PullRequest", "field": "head", "code": "invalid"}
        ]

    def test_creation_may_be_forbidden_to_workflows_and_not_to_apps(self, hub: FakeGitHub) -> None:
        hub.forbid_pull_request_creation()
        status, body = error_of(lambda: opened(hub))
        words = "GitHub Actions is not permitted to create or approve pull requests."
        assert (status, body["message"]) == (403, words)
        app = repository(
            hub, hub.token_for("leastpriv[bot]", {"metadata": "read", "pull_requests": "write"})
        )
        assert app.create_pull(base="main", head="leastpriv/deploy", title="t", body="").number == 1

    def test_lists_are_filtered_by_state_head_and_base(self, hub: FakeGitHub) -> None:
        first, second = opened(hub, "a"), opened(hub, "b")
        first.edit(state="closed")
        repo = repository(hub)

        def numbers(**given: str) -> list[int]:
            return [one.number for one in repo.get_pulls(**given)]

        assert numbers() == [second.number]
        assert numbers(state="all") == [second.number, first.number]
        assert numbers(state="all", head="acme:a") == [first.number]
        assert numbers(base="other") == []
        assert numbers(head="a") == [second.number], "a head without its owner is no filter"

    def test_a_fork_of_the_same_owner_matches_the_filter_for_owner_and_branch(
        self, hub: FakeGitHub
    ) -> None:
        made = opened(hub, "topic")
        theirs = hub.open_fork_pull_as("kim", "acme/shop-of-kim", "topic", {"a.txt": "a"})
        other = hub.open_fork_pull_as("eve", "eve/shop", "topic", {"a.txt": "a"})
        listed = list(repository(hub).get_pulls(head="acme:topic"))
        assert [pull.number for pull in listed] == [theirs, made.number]
        assert [pull.head.repo.full_name for pull in listed] == ["acme/shop-of-kim", "acme/shop"]
        assert listed[0].head.repo.id != repository(hub).id == listed[1].head.repo.id
        assert [pull.number for pull in repository(hub).get_pulls(head="eve:topic")] == [other]
        hub.delete_fork("acme/shop-of-kim")
        assert repository(hub).get_pull(theirs).head.repo is None

    def test_a_push_moves_the_head(self, hub: FakeGitHub) -> None:
        pull = opened(hub)
        sha = hub.commit_as("ann", "leastpriv/deploy", {"b": "2"})
        pull.update()
        assert (pull.head.sha, pull.commits) == (sha, 2)

    def test_deleting_the_branch_closes(self, hub: FakeGitHub) -> None:
        pull = opened(hub)
        repository(hub).get_git_ref("heads/leastpriv/deploy").delete()
        pull.update()
        assert (pull.state, pull.merged) == ("closed", False)

    def test_moving_the_branch_back_to_its_base_closes(self, hub: FakeGitHub) -> None:
        pull = opened(hub)
        repository(hub).get_git_ref("heads/leastpriv/deploy").edit(hub.head("main"), force=True)
        pull.update()
        assert (pull.state, pull.merged) == ("closed", False)

    @pytest.mark.parametrize("method", ["merge", "squash"])
    def test_a_merge_closes_and_records_login_and_time(self, method: str) -> None:
        now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        with FakeGitHub(clock=lambda: now) as hub:
            pull = opened(hub)
            sha = hub.merge_pull(pull.number, by="ann", method=method, delete_branch=True)
            pull.update()
            assert (pull.state, pull.merged, pull.merged_by.login) == ("closed", True, "ann")
            assert (pull.merged_at, pull.closed_at, pull.merge_commit_sha) == (now, now, sha)
            assert hub.file("iam/policy.json") == b"{}\n"
            assert [one.number for one in repository(hub).get_commit(sha).get_pulls()] == [
                pull.number
            ]

    def test_a_base_that_contains_the_head_merges_the_pull_request(self, hub: FakeGitHub) -> None:
        pull = opened(hub)
        hub.move_branch_as("ann", "main", hub.head("leastpriv/deploy"))
        pull.update()
        assert (pull.state, pull.merged) == ("closed", True)

    def test_a_conflict_is_not_mergeable(self, hub: FakeGitHub) -> None:
        pull = opened(hub)
        hub.commit_as("ann", "main", {"iam/policy.json": "[]\n"})
        pull.update()
        assert (pull.mergeable, pull.mergeable_state) == (False, "dirty")

    def test_the_update_button_merges_the_base_with_githubs_signature(
        self, hub: FakeGitHub
    ) -> None:
        pull = opened(hub)
        hub.commit_as("ann", "main", {"b": "2"})
        commit = repository(hub).get_commit(hub.update_branch_as("ann", pull.number))
        assert (commit.author.login, commit.committer.login) == ("ann", "web-flow")
        assert commit.commit.verification.verified
        assert [one.filename for one in pull.get_files()] == ["iam/policy.json"]

    def test_a_closed_pull_request_is_reopened_only_if_its_branch_is_unchanged(
        self, hub: FakeGitHub
    ) -> None:
        pull = opened(hub)
        hub.close_pull(pull.number, by="ann")
        assert (
            ask(hub, "GET", below(f"/issues/{pull.number}")).json()["closed_by"]["login"] == "ann"
        )
        pull.edit(state="open")
        hub.close_pull(pull.number, by="ann")
        hub.commit_as("ann", "leastpriv/deploy", {"b": "2"})
        status, body = error_of(lambda: pull.edit(state="open"))
        assert status == 422
        assert "was force-pushed or recreated" in body["errors"][0]["message"]

    def test_title_body_and_base_are_edited(self, hub: FakeGitHub) -> None:
        pull = opened(hub)
        hub.commit_as("ann", "release", {"r": "1"})
        pull.edit(title="T", body="B", base="release")
        pull.update()
        assert (pull.title, pull.body, pull.base.ref) == ("T", "B", "release")
        assert error_of(lambda: pull.edit(base="nowhere"))[0] == 422

    def test_a_body_over_the_limit_is_an_error(self, hub: FakeGitHub) -> None:
        pull = opened(hub)
        pull.edit(body="x" * 65536)
        assert error_of(lambda: pull.edit(body="x" * 65537))[0] == 422
        assert error_of(lambda: pull.create_issue_comment("x" * 65537))[0] == 422

    def test_a_person_edits_labels_comments_and_reviews(self, hub: FakeGitHub) -> None:
        pull = opened(hub)
        hub.edit_body_as("ann", pull.number, "mine")
        hub.label_as("ann", pull.number, "leastpriv: paused")
        hub.comment_as("ann", pull.number, "why?")
        hub.review_as("ann", pull.number, "CHANGES_REQUESTED", "no")
        pull.update()
        assert (pull.body, [one.name for one in pull.labels]) == ("mine", ["leastpriv: paused"])
        assert [(one.user.login, one.body) for one in pull.get_issue_comments()] == [
            ("ann", "why?")
        ]
        assert [(one.user.login, one.state) for one in pull.get_reviews()] == [
            ("ann", "CHANGES_REQUESTED")
        ]

    def test_a_draft_becomes_ready_and_a_draft_again_by_graphql(self, hub: FakeGitHub) -> None:
        pull = opened(hub)
        pull.convert_to_draft()
        pull.update()
        assert pull.draft
        pull.mark_ready_for_review()
        pull.update()
        assert not pull.draft


class TestIssues:
    def test_labels_are_created_on_first_use_and_removed(self, hub: FakeGitHub) -> None:
        pull = opened(hub)
        pull.add_to_labels("leastpriv", "a/b")
        assert sorted(one.name for one in repository(hub).get_labels()) == ["a/b", "leastpriv"]
        pull.remove_from_labels("a/b")
        assert [one.name for one in pull.get_labels()] == ["leastpriv"]
        assert error_of(lambda: pull.remove_from_labels("a/b"))[0] == 404
        assert error_of(lambda: repository(hub).create_label("LeastPriv", "ff0000"))[0] == 422

    def test_only_people_with_access_are_assigned(self, hub: FakeGitHub) -> None:
        hub.add_user("ann")
        pull = opened(hub)
        pull.add_to_assignees("ann", "stranger")
        pull.update()
        assert [one.login for one in pull.assignees] == ["ann"]

    def test_reviews_are_requested_from_collaborators_only(self, hub: FakeGitHub) -> None:
        hub.add_user("ann")
        pull = opened(hub)
        pull.create_review_request(reviewers=["ann"])
        assert [one.login for one in pull.get_review_requests()[0]] == ["ann"]
        status, body = error_of(lambda: pull.create_review_request(reviewers=["stranger"]))
        assert status == 422
        assert body["message"].startswith("Reviews may only be requested from collaborators.")

    def test_the_workflow_s_token_cannot_request_a_team(self, hub: FakeGitHub) -> None:
        hub.add_team("platform")
        pull = opened(hub)
        status, body = error_of(lambda: pull.create_review_request(team_reviewers=["platform"]))
        assert status == 422
        assert "Could not resolve to a node with the global id" in body["errors"][0]
        app = repository(
            hub,
            hub.token_for(
                "lp[bot]", {"metadata": "read", "pull_requests": "write", "members": "read"}
            ),
        )
        app.get_pull(pull.number).create_review_request(team_reviewers=["platform"])
        assert [one.slug for one in pull.get_review_requests()[1]] == ["platform"]

    def test_a_comment_is_edited_in_place_and_deleted(self, hub: FakeGitHub) -> None:
        pull = opened(hub)
        comment = pull.create_issue_comment("one")
        comment.edit("two")
        assert hub.comments(pull.number) == ["two"]
        assert comment.user.login == "github-actions[bot]"
        comment.delete()
        assert hub.comments(pull.number) == []

    def test_opening_an_issue_needs_its_own_permission(self, hub: FakeGitHub) -> None:
        assert error_of(lambda: repository(hub).create_issue("Drift"))[0] == 403
        token = hub.token_for("lp[bot]", {"metadata": "read", "issues": "write"})
        issue = repository(hub, token).create_issue("Drift", labels=["leastpriv"])
        issue.edit(state="closed", state_reason="completed")
        found = repository(hub, token).get_issues(state="closed", labels=["leastpriv"])
        assert [(one.title, one.state_reason) for one in found] == [("Drift", "completed")]

    @pytest.mark.parametrize(
        ("role", "legacy"), [("maintain", "write"), ("triage", "read"), ("admin", "admin")]
    )
    def test_a_permission_is_returned_by_role_and_by_level(
        self, hub: FakeGitHub, role: str, legacy: str
    ) -> None:
        hub.add_user("ann", role)
        found = ask(hub, "GET", below("/collaborators/ann/permission")).json()
        assert (found["permission"], found["role_name"]) == (legacy, role)
        assert ask(hub, "GET", below("/collaborators/stranger/permission")).status_code == 404


class TestRuns:
    def test_a_run_has_its_branch_event_and_repository(self, hub: FakeGitHub) -> None:
        hub.add_run(42, "feature", "pull_request", head_repository="eve/shop")
        run = repository(hub).get_workflow_run(42)
        assert (run.head_branch, run.event, run.head_repository.full_name) == (
            "feature",
            "pull_request",
            "eve/shop",
        )
        assert error_of(lambda: repository(hub).get_workflow_run(43))[0] == 404

    def test_the_jobs_are_those_of_the_latest_attempt_unless_all_are_requested(
        self, hub: FakeGitHub
    ) -> None:
        hub.add_run(42, attempt=2)
        hub.add_job(42, "old", attempt=1)
        hub.add_job(42, "new")
        run = repository(hub).get_workflow_run(42)
        assert [one.name for one in run.jobs()] == ["new"]
        assert [one.name for one in run.jobs("all")] == ["old", "new"]
        jobs = ask(hub, "GET", below("/actions/runs/42/attempts/1/jobs")).json()["jobs"]
        assert [one["name"] for one in jobs] == ["old"]

    def test_a_job_log_is_on_another_server_that_rejects_the_token(self, hub: FakeGitHub) -> None:
        hub.add_run(42)
        job = hub.add_job(42, log="AccessDenied\n")
        answer = ask(hub, "GET", below(f"/actions/jobs/{job}/logs"))
        assert (answer.status_code, answer.text, len(answer.history)) == (200, "AccessDenied\n", 1)
        refused = requests.get(
            answer.url, headers={"Authorization": f"Bearer {hub.token}"}, timeout=10
        )
        assert refused.status_code == 400

    def test_the_log_of_a_running_job_is_not_found_and_an_old_one_is_deleted(
        self, hub: FakeGitHub
    ) -> None:
        hub.add_run(42)
        running, expired = (
            hub.add_job(42, status="in_progress", conclusion=None),
            hub.add_job(42, log=None),
        )
        statuses = [
            ask(hub, "GET", below(f"/actions/jobs/{job}/logs")).status_code
            for job in (running, expired)
        ]
        assert statuses == [404, 410]


UPDATE = "mutation($input: UpdateRefsInput!){updateRefs(input:$input){clientMutationId}}"


def update_refs(hub: FakeGitHub, *updates: dict[str, Any]) -> Any:
    """Request one atomic move of refs."""
    found = query(hub, '{repository(owner:"acme",name:"shop"){id}}')
    return query(
        hub,
        UPDATE,
        input={"repositoryId": found["data"]["repository"]["id"], "refUpdates": list(updates)},
    )


class TestGraphQL:
    def test_an_apps_login_has_no_suffix_unlike_in_the_rest_api(self, hub: FakeGitHub) -> None:
        pull = opened(hub)
        text = """query($branch: String!) { repository(owner: "acme", name: "shop") {
          pullRequests(headRefName: $branch, first: 5) {
            totalCount nodes { number state author { __typename login } headRepository { id } }
          }
        } }"""
        found = query(hub, text, branch="leastpriv/deploy")["data"]["repository"]["pullRequests"]
        assert pull.user.login == "github-actions[bot]"
        assert found["totalCount"] == 1
        assert found["nodes"][0]["author"] == {"__typename": "Bot", "login": "github-actions"}
        hub.open_fork_pull_as("kim", "eve/shop", "leastpriv/deploy", {"a.txt": "a"})
        found = query(hub, text, branch="leastpriv/deploy")["data"]["repository"]["pullRequests"]
        assert found["totalCount"] == 2, "a name of a branch is that of any fork too"
        reader = hub.token_for("reader[bot]", {"metadata": "read", "contents": "read"})
        refused = query(hub, text, reader, branch="leastpriv/deploy")
        assert refused["errors"][0]["type"] == "FORBIDDEN"

    def test_files_and_history_of_a_commit_are_read(self, hub: FakeGitHub) -> None:
        text = """query($sha: String!) { repository(owner: "acme", name: "shop") {
          object(expression: $sha) { ... on Commit {
            file(path: "README.md") { mode object { ... on Blob { text isTruncated } } }
            none: file(path: "none.md") { mode }
            history(first: 1, path: "README.md") { nodes { oid } }
            changedFilesIfAvailable parents(first: 2) { nodes { oid } }
          } }
        } }"""
        sha = hub.head("main")
        found = query(hub, text, sha=sha)["data"]["repository"]["object"]
        assert found["file"] == {
            "mode": 0o100644,
            "object": {"text": "# shop\n", "isTruncated": False},
        }
        assert (found["none"], found["history"]["nodes"]) == (None, [{"oid": sha}])
        assert (found["changedFilesIfAvailable"], found["parents"]["nodes"]) == (1, [])

    def test_update_refs_moves_a_ref_from_where_it_was_expected(self, hub: FakeGitHub) -> None:
        old, new = hub.commit_as("ann", "x", {"a": "1"}), hub.head("main")
        done = update_refs(
            hub, {"name": "refs/heads/x", "beforeOid": old, "afterOid": new, "force": True}
        )
        assert "errors" not in done
        assert hub.head("x") == new

    def test_update_refs_creates_with_a_null_object_id_before_and_deletes_with_one_after(
        self, hub: FakeGitHub
    ) -> None:
        main = hub.head("main")
        assert "errors" not in update_refs(
            hub, {"name": "refs/heads/x", "beforeOid": ZERO, "afterOid": main}
        )
        assert hub.head("x") == main
        assert "errors" in update_refs(
            hub, {"name": "refs/heads/x", "beforeOid": ZERO, "afterOid": main}
        )
        assert "errors" not in update_refs(
            hub, {"name": "refs/heads/x", "beforeOid": main, "afterOid": ZERO}
        )
        with pytest.raises(KeyError):
            hub.head("x")

    def test_update_refs_with_a_stale_ref_fails_with_a_generic_error_and_moves_nothing(
        self, hub: FakeGitHub
    ) -> None:
        x, y = hub.commit_as("ann", "x", {"a": "1"}), hub.commit_as("ann", "y", {"a": "2"})
        main = hub.head("main")
        fresh = {"name": "refs/heads/x", "beforeOid": x, "afterOid": main, "force": True}
        stale = {"name": "refs/heads/y", "beforeOid": x, "afterOid": main, "force": True}
        done = update_refs(hub, fresh, stale)
        assert done["data"] == {"updateRefs": None}
        assert done["errors"][0]["message"].startswith(
            "Something went wrong while executing your query."
        )
        assert (hub.head("x"), hub.head("y")) == (x, y)

    def test_update_refs_respects_fast_forwards_and_protection(self, hub: FakeGitHub) -> None:
        x, main = hub.commit_as("ann", "x", {"a": "1"}), hub.head("main")
        assert "errors" in update_refs(
            hub, {"name": "refs/heads/x", "beforeOid": x, "afterOid": main}
        )
        hub.protect("main")
        assert "errors" in update_refs(
            hub, {"name": "refs/heads/main", "beforeOid": main, "afterOid": x}
        )
        assert hub.head("main") == main

    def test_a_server_may_lack_update_refs(self, hub: FakeGitHub) -> None:
        hub.graphql_update_refs = False
        main = hub.head("main")
        done = update_refs(hub, {"name": "refs/heads/x", "beforeOid": ZERO, "afterOid": main})
        assert "data" not in done
        assert "Field 'updateRefs' doesn't exist on type 'Mutation'" in [
            one["message"] for one in done["errors"]
        ]

    def test_pygithub_raises_an_error_for_a_denied_mutation(self, hub: FakeGitHub) -> None:
        given = {"repositoryId": "R_nothing", "refUpdates": []}
        call = client(hub).requester.graphql_named_mutation
        assert error_of(lambda: call("updateRefs", given, "clientMutationId"))[0] == 404

    def test_create_commit_on_branch_expects_a_head_and_is_signed(self, hub: FakeGitHub) -> None:
        text = (
            "mutation($input:"
            " CreateCommitOnBranchInput!){createCommitOnBranch(input:$input){commit{oid}}}"
        )
        main = hub.head("main")
        wanted = {
            "branch": {"repositoryNameWithOwner": "acme/shop", "branchName": "main"},
            "message": {"headline": "m"},
            "expectedHeadOid": main,
            "fileChanges": {
                "additions": [{"path": "a", "contents": "aGk="}],
                "deletions": [{"path": "README.md"}],
            },
        }
        oid = query(hub, text, input=wanted)["data"]["createCommitOnBranch"]["commit"]["oid"]
        assert (oid, hub.file("a")) == (hub.head("main"), b"hi")
        assert repository(hub).get_commit(oid).commit.verification.verified
        assert query(hub, text, input=wanted)["errors"][0]["type"] == "STALE_DATA"

    def test_a_mutation_needs_its_permission(self, hub: FakeGitHub) -> None:
        done = query(
            hub, UPDATE, hub.read_only_token, input={"repositoryId": "R", "refUpdates": []}
        )
        assert done["errors"][0]["type"] == "FORBIDDEN"

    @pytest.mark.parametrize(
        "text",
        [
            "{viewer{email}}",
            "mutation{mergePullRequest(input:{}){clientMutationId}}",
            "{viewer{login}",
            "query",
        ],
    )
    def test_a_query_outside_the_committed_schema_is_a_violation(
        self, hub: FakeGitHub, text: str
    ) -> None:
        assert query(hub, text)["message"].startswith("Violation: POST /graphql")
        assert len(hub.violations) == 1
        hub.violations.clear()


class TestFaults:
    def test_a_fault_hits_the_given_number_of_requests(self, hub: FakeGitHub) -> None:
        hub.fail_next("GET", r"/git/ref/", 502, times=2)
        statuses = [ask(hub, "GET", below("/git/ref/heads/main")).status_code for _ in range(3)]
        assert statuses == [502, 502, 200]

    def test_a_fault_changes_nothing_unless_the_request_is_carried_out(
        self, hub: FakeGitHub
    ) -> None:
        body = {"ref": "refs/heads/x", "sha": hub.head("main")}
        hub.fail_next("POST", r"/git/refs$", 500)
        hub.fail_next("POST", r"/git/refs$", 500, carried_out=True)
        answers = [ask(hub, "POST", below("/git/refs"), body) for _ in range(3)]
        assert [one.status_code for one in answers] == [500, 500, 422]
        assert answers[-1].json()["message"] == "Reference already exists"

    def test_the_secondary_limit_gives_the_time_of_a_retry(self, hub: FakeGitHub) -> None:
        hub.limit_next("POST", r"/pulls$", retry_after=7, status=429)
        answer = ask(hub, "POST", below("/pulls"), {"title": "t", "head": "h", "base": "main"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
        assert "secondary rate limit" in answer.json()["message"]

    def test_the_primary_limit_blocks_until_its_reset_and_can_always_be_read(
        self, hub: FakeGitHub
    ) -> None:
        hub.set_rate_limit(1, reset=2_000_000_000)
        answers = [ask(hub, "GET", below("")) for _ in range(2)]
        assert [one.status_code for one in answers] == [200, 403]
        assert answers[1].headers["X-RateLimit-Remaining"] == "0"
        assert client(hub).get_rate_limit().rate.remaining == 0

    def test_a_ref_can_move_between_two_requests(self, hub: FakeGitHub) -> None:
        mine = commit_on(repository(hub), "main", "a", "mine")
        hub.before_next(
            "PATCH", r"/git/refs/heads/main", lambda: hub.commit_as("ann", "main", {"a": "theirs"})
        )
        ref = repository(hub).get_git_ref("heads/main")
        assert error_of(lambda: ref.edit(mine.sha))[1]["message"] == "Update is not a fast forward"
        assert hub.file("a") == b"theirs"

    def test_every_request_is_kept_with_its_answer(self, hub: FakeGitHub) -> None:
        ask(hub, "POST", below("/labels?"), {"name": "n"})
        seen = hub.requests[-1]
        assert (seen.method, seen.path, seen.status) == ("POST", below("/labels"), 201)
        assert (seen.login, seen.body) == ("github-actions[bot]", {"name": "n"})


class TestEnterpriseServer:
    def test_all_paths_have_its_prefix(self) -> None:
        with FakeGitHub(prefix="/api/v3") as hub:
            assert hub.graphql_url == f"{hub.server_url}/api/graphql"
            assert repository(hub).url.startswith(f"{hub.server_url}/api/v3/repos/")
            given = {"repositoryId": "R_nothing", "refUpdates": []}
            call = client(hub).requester.graphql_named_mutation
            assert error_of(lambda: call("updateRefs", given, "clientMutationId"))[0] == 404
            assert opened(hub).html_url.startswith(hub.server_url)

    def test_a_path_without_the_prefix_is_a_violation(self) -> None:
        with FakeGitHub(prefix="/api/v3") as hub:
            answer = requests.get(
                hub.server_url + below(""),
                headers={"Authorization": f"Bearer {hub.token}"},
                timeout=10,
            )
            assert answer.status_code == 404
            assert json.dumps(hub.violations).count("/repos/acme/shop") == 1
            hub.violations.clear()
