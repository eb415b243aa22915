"""The door to GitHub: the place of the pull request by API only, without checkout, git or a write in the workspace.

Commits are made from blob, tree and commit objects without author fields, so that GitHub signs them; the branch then
moves once, by compare-and-swap.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.git import fingerprint_of
from leastpriv.pull_request.github_errors import CreationForbiddenError, explained, sentence
from leastpriv.pull_request.lifecycle import Branch, Declined, Pull

if TYPE_CHECKING:
    from github.PullRequest import PullRequest
    from github.Repository import Repository

_BODY_FINGERPRINT = re.compile(r"<!-- leastpriv v=1 [^>]*?fingerprint=([0-9a-f]+)")
_NOBODY = "0" * 40
_WEB_FLOW = "web-flow"
"""Login of GitHub's own committer, who signs what the API commits."""
_MOST_DECLINED = 20
_WAITS = (1.0, 2.0, 4.0)
"""Seconds between tries when a pull request just made is not found yet (eventual consistency, 422 and 404)."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a pull request is told besides its branch."""

    title: str
    body: str
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    team_reviewers: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    draft: bool = False


@dataclass(frozen=True, slots=True)
class OpenPull:
    """An open pull request with its address."""

    number: int
    url: str


class GitHubRepository:
    """One repository, seen with one token."""

    def __init__(self, repository: Repository, web_url: str, sleep: Callable[[float], None]) -> None:
        self._repository = repository
        self._web_url = web_url
        self._sleep = sleep
        self._own_login = ""

    @classmethod
    def open(
        cls,
        token: str,
        full_name: str,
        *,
        api_url: str,
        web_url: str,
        sleep: Callable[[float], None],
        pause: float = 1.0,
    ) -> GitHubRepository:
        """Connects to `owner/name`; `pause` is the time between writes in seconds.

        GitHub asks for a second between writes (docs: "Best practices for using the REST API"); reads need no pause.

        Raises:
            PullRequestError: the token is refused, or the repository is not to be found with it.
        """
        from github import Auth, Github

        client = Github(
            auth=Auth.Token(token),
            base_url=api_url,
            seconds_between_requests=0,
            seconds_between_writes=pause,
            lazy=False,
        )
        with explained(f"reading the repository {full_name}"):
            repository = client.get_repo(full_name)
        return cls(repository, web_url, sleep)

    def head_of(self, base: str = "") -> tuple[str, str]:
        """Name and commit of the branch `base`, or of the default branch.

        Raises:
            PullRequestError: there is no such branch.
        """
        name = base or self._repository.default_branch
        commit = self.commit_at(name)
        if commit is None:
            raise PullRequestError(f"The branch {name!r} does not exist on GitHub: name another in the input base.")
        return name, commit

    def commit_at(self, branch: str) -> str | None:
        """Commit at the head of a branch; None where there is no such branch."""
        from github import UnknownObjectException

        with explained(f"reading the branch {branch}"):
            try:
                return self._repository.get_git_ref(f"heads/{branch}").object.sha
            except UnknownObjectException:
                return None

    def read(self, commit: str, path: str) -> bytes | None:
        """Content of a file in a commit; None where there is none.

        Raises:
            PullRequestError: the path is a folder or a link.
        """
        from github import UnknownObjectException

        with explained(f"reading {path}"):
            try:
                found = self._repository.get_contents(path, ref=commit)
            except UnknownObjectException:
                return None
            if isinstance(found, list) or found.type != "file":
                raise PullRequestError(f"The path {path!r} is no regular file on GitHub: name another in policy-file.")
            if found.encoding == "base64":
                return found.decoded_content
            blob = self._repository.get_git_blob(found.sha)
            return base64.b64decode(blob.content)

    def branch(self, name: str, base_sha: str) -> Branch | None:
        """The branch as the life cycle sees it; None where there is none."""
        head = self.commit_at(name)
        if head is None:
            return None
        with explained(f"comparing {name} with its base"):
            commits = list(self._repository.compare(base_sha, head).commits) or [self._repository.get_commit(head)]
        fingerprints = [fingerprint_of(commit.commit.message) for commit in commits]
        ours = all(fingerprints) and all(self._is_ours(commit) for commit in commits)
        return Branch(head, ours, any(fingerprints), fingerprints[-1])

    def open_pull(self, branch: str) -> tuple[Pull, OpenPull] | None:
        """The open pull request of the branch."""
        with explained("listing pull requests"):
            pulls = self._repository.get_pulls(state="open", head=f"{self._repository.owner.login}:{branch}")
            for pull in pulls:
                labels = tuple(label.name for label in pull.labels)
                return Pull(pull.number, pull.base.ref, pull.body or "", labels), OpenPull(pull.number, pull.html_url)
        return None

    def declined(self, branch: str) -> tuple[Declined, ...]:
        """Pull requests of the branch that somebody else closed without merging, newest first."""
        with explained("listing closed pull requests"):
            pulls = self._repository.get_pulls(
                state="closed", head=f"{self._repository.owner.login}:{branch}", sort="updated", direction="desc"
            )
            return tuple(
                Declined(pull.number, fingerprint[1])
                for _, pull in zip(range(_MOST_DECLINED), pulls, strict=False)
                if pull.merged_at is None
                and (fingerprint := _BODY_FINGERPRINT.search(pull.body or ""))
                and not self._closed_by_us(pull)
            )

    def commit(self, base_sha: str, path: str, content: bytes, message: str) -> str:
        """A signed commit on `base_sha` that changes one file; no branch points to it yet."""
        from github import InputGitTreeElement

        with explained("making the commit"):
            base = self._repository.get_git_commit(base_sha)
            blob = self._repository.create_git_blob(base64.b64encode(content).decode(), "base64")
            element = InputGitTreeElement(path=path, mode="100644", type="blob", sha=blob.sha)
            tree = self._repository.create_git_tree([element], base_tree=base.tree)
            return self._repository.create_git_commit(message, tree, [base]).sha

    def move(self, branch: str, before: str | None, after: str | None) -> None:
        """Moves, makes (`before` None) or deletes (`after` None) the branch, if it still stands where it was seen.

        Raises:
            PullRequestError: it stands elsewhere now.
        """
        from github import GithubException

        with explained(f"moving the branch {branch}"):
            try:
                self._compare_and_swap(branch, before, after)
            except GithubException:
                # The answer to a stale `beforeOid` is generic: only a second look tells who moved first.
                self._expect(branch, before)
                self._move_by_rest(branch, before, after)

    def create_pull(self, base: str, branch: str, words: Words) -> OpenPull:
        """Opens the pull request; one that exists already is taken over.

        Raises:
            CreationForbiddenError: the setting "Allow GitHub Actions to create and approve pull requests" is off.
        """
        from github import GithubException

        try:
            pull = self._repository.create_pull(base, branch, title=words.title, body=words.body, draft=words.draft)
        except GithubException as error:
            if error.status == 403 and "create or approve pull requests" in str(error.data):
                raise CreationForbiddenError(self._forbidden(base, branch)) from error
            found = self.open_pull(branch) if error.status == 422 else None
            if found is None:
                raise PullRequestError(sentence(f"opening the pull request of {branch}", error)) from error
            return found[1]
        self._equip(pull.number, words)
        return OpenPull(pull.number, pull.html_url)

    def edit_pull(self, number: int, words: Words) -> None:
        """Gives an open pull request its new title and body."""
        with explained(f"editing #{number}"):
            self._repository.get_pull(number).edit(title=words.title, body=words.body)

    def close_pull(self, number: int, comment: str) -> None:
        """Says why and closes."""
        with explained(f"closing #{number}"):
            pull = self._repository.get_pull(number)
            pull.create_issue_comment(comment)
            pull.edit(state="closed")

    def say_once(self, number: int, marker: str, comment: str, label: str = "") -> None:
        """One comment of ours with this marker, written or edited in place."""
        with explained(f"commenting on #{number}"):
            issue = self._repository.get_issue(number)
            text = f"{comment}\n\n{marker}"
            own = next(
                (each for each in issue.get_comments() if marker in each.body and self._is_me(each.user.login)), None
            )
            if own is None:
                issue.create_comment(text)
            elif own.body != text:
                own.edit(text)
            if label and label not in {each.name for each in issue.labels}:
                issue.add_to_labels(label)

    def _equip(self, number: int, words: Words) -> None:
        if words.labels:
            self._patiently(number, "labels", lambda pull: pull.add_to_labels(*words.labels))
        if words.assignees:
            self._patiently(number, "assignees", lambda pull: pull.add_to_assignees(*words.assignees))
        if words.reviewers or words.team_reviewers:
            people, teams = list(words.reviewers), list(words.team_reviewers)
            self._patiently(number, "reviewers", lambda pull: pull.create_review_request(people, teams))

    def _patiently(self, number: int, what: str, wish: Callable[[PullRequest], object]) -> None:
        """A pull request just made may not be found yet (eventual consistency: 404 and 422)."""
        from github import GithubException

        with explained(f"setting the {what} of #{number}"):
            for wait in (*_WAITS, 0.0):
                try:
                    wish(self._repository.get_pull(number))
                except GithubException as error:
                    if not wait or error.status not in (404, 422):
                        raise
                    self._sleep(wait)
                else:
                    return

    def _is_ours(self, commit: Any) -> bool:
        author = commit.author.login if commit.author else ""
        committer = commit.committer.login if commit.committer else ""
        return self._is_me(author) and (committer == _WEB_FLOW or self._is_me(committer))

    def _is_me(self, login: str) -> bool:
        if not self._own_login:
            self._own_login = self._viewer()
        return login == self._own_login

    def _viewer(self) -> str:
        from github import GithubException

        try:
            _, answer = self._repository.requester.graphql_query("query { viewer { login } }", {})
            return str(answer["data"]["viewer"]["login"])
        except (GithubException, KeyError, TypeError):
            return "github-actions[bot]"

    def _closed_by_us(self, pull: PullRequest) -> bool:
        closer = pull.as_issue().closed_by
        return closer is not None and self._is_me(closer.login)

    def _compare_and_swap(self, branch: str, before: str | None, after: str | None) -> None:
        update = {
            "name": f"refs/heads/{branch}",
            "beforeOid": before or _NOBODY,
            "afterOid": after or _NOBODY,
            "force": True,
        }
        wish = {"repositoryId": self._repository.node_id, "refUpdates": [update]}
        self._repository.requester.graphql_named_mutation("updateRefs", wish, "clientMutationId")

    def _expect(self, branch: str, before: str | None) -> None:
        now = self.commit_at(branch)
        if now != before:
            raise PullRequestError(f"Somebody moved the branch {branch!r} meanwhile: run again.")

    def _move_by_rest(self, branch: str, before: str | None, after: str | None) -> None:
        """For servers and tokens without `updateRefs`: looked at just before, so the window is one request wide."""
        if before is None and after is not None:
            self._repository.create_git_ref(f"refs/heads/{branch}", after)
        elif after is None:
            self._repository.get_git_ref(f"heads/{branch}").delete()
        else:
            self._repository.get_git_ref(f"heads/{branch}").edit(after, force=True)

    def _forbidden(self, base: str, branch: str) -> str:
        link = f"{self._web_url}/{self._repository.full_name}/compare/{base}...{branch}?expand=1"
        return (
            f"GitHub does not let this token create pull requests. The branch {branch} is there: open the pull request "
            f"at {link}, or switch on 'Allow GitHub Actions to create and approve pull requests' in the settings of "
            "the repository and of the organization (Actions > General)."
        )
