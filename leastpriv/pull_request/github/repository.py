"""Publishes a proposal on GitHub, by one step of the lifecycle, and stores the state of a target
there.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import PullRequestError, UnreadableHistoryError
from leastpriv.pull_request.github.branches import FILE_MODES, WEB_FLOW, decoded, logins
from leastpriv.pull_request.github.client import (
    Connection,
    CreationForbiddenError,
    found_or,
    is_bot,
    translate_github_errors,
)
from leastpriv.pull_request.github.pull_requests import PullRequests
from leastpriv.pull_request.github.workflow_runs import WorkflowRuns
from leastpriv.pull_request.lifecycle import (
    EDITED_LABEL,
    ClosedPullRequest,
    CommentCommand,
    OpenPullRequest,
    PlannedStep,
    ProposalBranch,
    PullRequestStep,
    WantedProposal,
    fingerprint_scope,
    plan_step,
)
from leastpriv.pull_request.models import (
    OriginLookup,
    Publication,
    PublishResult,
    PullRequestOperation,
    StateUpdate,
    commit_message,
)

if TYPE_CHECKING:
    from github.Commit import Commit
    from github.GitCommit import GitCommit

_MAX_CLOSED_READ = 5
"""Closed pull requests of the branch whose comments are read; each takes one request."""
_EDITED_MARKER = "<!-- leastpriv:edited v=1 -->"
_LEFT_ALONE: Mapping[PullRequestStep, tuple[str, str]] = {
    PullRequestStep.LEAVE_EDITED: (
        (
            "This branch has commits of others, so it is left alone: tick the box in the"
            " description to rebuild it (commits of others on it are lost), or close this pull"
            " request."
        ),
        EDITED_LABEL,
    ),
    PullRequestStep.LEAVE_RETARGETED: (
        (
            "This pull request targets another branch than the one the proposal is made for, so it"
            " is left alone: set the target back, or close it and name the other branch in the"
            " input `base`."
        ),
        EDITED_LABEL,
    ),
    PullRequestStep.LEAVE_OBSOLETE: (
        (
            "No change is left: the policy now matches the evidence. The pull request is not"
            " closed, because its branch has commits of others."
        ),
        "",
    ),
}
"""The comment that says once why a pull request is left alone, and its label."""
_RESUMED = "The branch was left alone for a while; it follows the evidence again."
_CLOSED = "No change is left: the policy on the base branch now matches the evidence."


class GitHubRepository(PullRequests):
    """A repository on GitHub, by its API only: no checkout, no git, no write in the workspace."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._closed = cache(self.list_closed)

    @property
    def pull_requests(self) -> Self:
        """The repository itself."""
        return self

    def closed_pull_requests(self, branch: str) -> tuple[ClosedPullRequest, ...]:
        """Returns closed pull requests, as `list_closed`; requested once."""
        return self._closed(branch)

    def comment_commands(self, branch: str, base: str) -> tuple[CommentCommand, ...]:
        """Returns the commands under the open pull request of the branch and its latest closed
        ones.
        """
        opened = self.find_open(branch, self.branch_head(base)[0])
        numbers = [opened.number] if opened else []
        numbers += [each.number for each in self._closed(branch)[:_MAX_CLOSED_READ]]
        return self.commands(dict.fromkeys(numbers))

    def is_public(self) -> bool:
        """Whether the repository is public."""
        return not self._repository.private

    def state_store(self, branch: str, path: str, title: str, max_bytes: int) -> BranchStateStore:
        """Returns a file of a separate branch as the store of state."""
        return BranchStateStore(self._connection, branch, path, title, max_bytes)

    def origin_lookup(self, base: str, reviewed_refs: tuple[str, ...] = ()) -> OriginLookup:
        """Returns what finds the origins of runs, compared with `base` (empty: the default branch)
        and the input `reviewed-refs`.
        """
        name = base or self._repository.default_branch
        runs = WorkflowRuns(self._connection, self, name, reviewed_refs)
        return OriginLookup(runs.origin_by_login, runs.origin)

    def publish(self, publication: Publication, now: datetime) -> PublishResult:  # noqa: ARG002 - GitHub dates commits
        """Brings branch and pull request to the proposal, or leaves them unchanged and gives the
        reason.
        """
        base, base_sha = self.branch_head(publication.base)
        expected = publication.expected_base or base_sha
        paths = {publication.path, *publication.files} if expected != base_sha else ()
        if any(self.read(expected, path) != self.read(base_sha, path) for path in paths):
            raise PullRequestError(
                f"The policy on {base!r} changed while the proposal was made: run again."
            )
        if publication.branch == base:
            raise PullRequestError(f"The input branch is {base!r}, the base itself: name another.")
        scope = fingerprint_scope(publication.fingerprint)
        changes = not publication.is_held_by(lambda path: self.read(base_sha, path))
        branch = self.proposal_branch(
            publication.branch, base_sha, publication.path, publication.fingerprint_for
        )
        opened = self.find_open(publication.branch, base)
        closed = () if opened else self.list_closed(publication.branch)
        same_scope = [each for each in closed if fingerprint_scope(each.fingerprint) == scope]
        if branch and branch.merged and any(each.merged_at for each in same_scope):
            # A branch left over from a merge, by whichever button: the base holds all of it.
            branch = replace(branch, is_own=True, has_own_commits=True)
        declined = [each for each in same_scope if each.declined]
        decision = plan_step(
            WantedProposal(publication.fingerprint, base, changes), branch, opened, declined
        )
        return _PlannedWork(self, publication, base, base_sha, branch, opened).execute(decision)


class _PlannedWork(Struct, frozen=True):
    """A proposal with the present state of its branch and pull request."""

    github: GitHubRepository
    publication: Publication
    base: str
    base_sha: str
    branch: ProposalBranch | None
    opened: OpenPullRequest | None

    def execute(self, decision: PlannedStep) -> PublishResult:
        """Executes a planned step and returns the result."""
        name, head, opened = (
            self.publication.branch,
            self.branch.head if self.branch else "",
            self.opened,
        )
        number, url = (opened.number, opened.url) if opened else (decision.declined, "")
        left = PublishResult(
            PullRequestOperation.NONE, name, head, self.base_sha, decision.reason, number, url
        )
        match decision.step:
            case PullRequestStep.FOREIGN:
                raise PullRequestError(
                    f"The branch {name!r} is not this program's: name another in the input branch."
                )
            case PullRequestStep.OTHER_SCOPE:
                raise PullRequestError(
                    f"The branch {name!r} holds the proposal for another role or policy file: name"
                    " a separate branch for each in the input branch."
                )
            case PullRequestStep.CREATE | PullRequestStep.UPDATE:
                return self._write_branch(decision.declined)
            case PullRequestStep.CREATE_PULL | PullRequestStep.REWORD:
                return self._write_pull_request(head, decision.declined)
            case PullRequestStep.CLOSE if opened:
                self.github.close(opened.number, _CLOSED)
                self.github.move_branch(name, head, None)
                return replace(left, operation=PullRequestOperation.CLOSED, head_sha="")
            case PullRequestStep.DELETE_BRANCH:
                self.github.move_branch(name, head, None)
                return replace(left, head_sha="")
            case step if opened and step in _LEFT_ALONE:
                self.github.upsert_comment(opened.number, _EDITED_MARKER, *_LEFT_ALONE[step])
            case _ if decision.is_current:
                self._resume()
        return left

    def _resume(self) -> None:
        """Removes the label and edits the comment that said that a pull request is left alone."""
        if self.opened and self.opened.has_label(EDITED_LABEL):
            self.github.resume(self.opened.number, _EDITED_MARKER, _RESUMED, EDITED_LABEL)

    def _write_branch(self, declined: int) -> PublishResult:
        """Moves the branch once to one commit on the base's head; comments at the changed lines of
        that commit.
        """
        publication, github = self.publication, self.github
        head = github.create_commit(self.base_sha, publication.files, commit_message(publication))
        github.move_branch(publication.branch, self.branch.head if self.branch else None, head)
        result = self._write_pull_request(head, declined)
        if result.failure:
            return result
        is_new = result.operation is PullRequestOperation.CREATED
        warning = github.replace_line_comments(
            result.number, head, publication.comments, is_new=is_new
        )
        return replace(result, reason=" ".join(filter(None, [result.reason, warning])))

    def _write_pull_request(self, head: str, declined: int) -> PublishResult:
        name, title, body, opened = (
            self.publication.branch,
            self.publication.title,
            self.publication.body,
            self.opened,
        )
        if opened:
            self.github.edit(opened.number, title, body)
            self._resume()
            operation = PullRequestOperation.UPDATED
            return PublishResult(
                operation, name, head, self.base_sha, "", opened.number, opened.url
            )
        if declined:
            body += f"\nWhat was declined in #{declined} is not part of this.\n"
        try:
            number, url, warning = self.github.create(
                self.base, name, title, body, self.publication.options
            )
        except CreationForbiddenError as error:
            head = self.github.commit_at(name) or ""
            none = PullRequestOperation.NONE
            return PublishResult(
                none, name, head, self.base_sha, failure=str(error), manual_url=error.manual_url
            )
        operation = PullRequestOperation.CREATED
        return PublishResult(operation, name, head, self.base_sha, warning, number, url)


_TRAILER = "Leastpriv-Memory: v1"
_MAX_TRIES = 15
"""Of runs that write at the same time, one succeeds per try; so this many may."""
_MAX_PAUSE = 0.5
"""Seconds between tries, times the number of the try, at most."""
_MAX_COMMITS = 100
"""Commits behind the head that are searched for one of this program."""
_SIGNING_HOSTS = ("github.com", "ghe.com")
"""Hosts whose commits by the API of an app are signed (docs.github.com, "About commit signature
verification", read 2026-11-26); an Enterprise Server signs only where its owner set that up."""


class BranchStateStore:
    """State in one file of a separate branch, by GitHub's API, without checkout.

    Everyone with push permission could write there, and an author's address is easily forged. So
    only commits of the token's login count (signed by GitHub, where it signs), and each new commit
    starts from the files of the last such commit: files of other commits are not read, and the next
    commit drops them.
    """

    def __init__(
        self, connection: Connection, branch: str, path: str, title: str, max_bytes: int
    ) -> None:
        self._connection, self._repository = connection, connection.repository
        self._branch, self._path, self._title, self._max_bytes = branch, path, title, max_bytes

    @property
    def name(self) -> str:
        """The file and its branch."""
        return f"{self._path} on the branch {self._branch}"

    def read(self) -> bytes | None:
        """Returns the file in the newest commit that counts; None without one."""
        with translate_github_errors(f"reading the branch {self._branch}"):
            return self._file_content(self._branch_state()[1])

    def update(self, change: StateUpdate) -> None:
        """Creates one commit on the head and moves the branch to it; repeats if the branch moved in
        between.
        """
        for number in range(_MAX_TRIES):
            with translate_github_errors(f"writing the branch {self._branch}"):
                if self._try_update(change):
                    return
            self._connection.sleep(random.uniform(0, _MAX_PAUSE * (number + 1)))  # noqa: S311 - a pause, no secret
        raise PullRequestError(
            f"Others moved the branch {self._branch!r} {_MAX_TRIES} times meanwhile: run again."
        )

    def _try_update(self, change: StateUpdate) -> bool:
        """Whether the branch holds the new state; false if a parallel run was faster.

        The commit has the files of the newest commit that counts and this one. Without force GitHub
        rejects the move if the head is no longer the commit's parent.
        """
        from github import GithubException, GithubObject, InputGitTreeElement

        head, newest, is_intact = self._branch_state()
        before = self._file_content(newest)
        after = change(before)
        if after == before and is_intact:
            return True
        blob = self._repository.create_git_blob(base64.b64encode(after).decode(), "base64")
        element = InputGitTreeElement(
            path=self._path, mode=FILE_MODES[0], type="blob", sha=blob.sha
        )
        tree = self._repository.create_git_tree(
            [element], base_tree=newest.commit.tree if newest else GithubObject.NotSet
        )
        parents = [self._repository.get_git_commit(head)] if head else []
        commit = self._repository.create_git_commit(
            f"{self._title} [skip ci]\n\n{_TRAILER}\n", tree, parents
        )
        if self._expects_signature() and not _is_signed(commit):
            # The next run would ignore an unsigned commit, and it would hide an earlier one that
            # counts.
            raise PullRequestError(
                "GitHub did not sign the commit of the memory, so others could forge one like it:"
                " leave the input evidence-branch out, or use the token of an app whose commits are"
                " signed."
            )
        try:
            if head is None:
                self._repository.create_git_ref(f"refs/heads/{self._branch}", commit.sha)
            else:
                self._repository.get_git_ref(f"heads/{self._branch}").edit(commit.sha, force=False)
        except GithubException as error:
            if error.status not in (404, 409, 422):
                raise
            now = self._head()
            if now == head:
                # The branch did not move, so it is no race: it is protected, or git rejects its
                # name.
                raise
            return now == commit.sha
        return True

    def _branch_state(self) -> tuple[str | None, Commit | None, bool]:
        """Returns the head, the newest commit that counts, and whether that is the head."""
        head = self._head()
        if head is None:
            return None, None, True
        for number, commit in enumerate(
            islice(self._repository.get_commits(sha=head), _MAX_COMMITS)
        ):
            if self._is_own_state(commit):
                return head, commit, number == 0
        raise PullRequestError(
            f"None of the newest commits of the branch {self._branch!r} is one of this token's own"
            " memory: name a branch that does not exist yet in the input evidence-branch, or"
            " delete this one."
        )

    def _is_own_state(self, commit: Commit) -> bool:
        author, committer = logins(commit)
        is_memory = commit.commit.message.rstrip().endswith(f"\n{_TRAILER}")
        if not (
            is_memory and self._connection.is_own_login(author) and committer in (author, WEB_FLOW)
        ):
            return False
        return _is_signed(commit.commit) or not self._expects_signature()

    def _expects_signature(self) -> bool:
        """Whether GitHub signs the commits that this token creates by the API."""
        if not is_bot(self._connection.login):
            return False
        host = urlsplit(self._connection.web_url).hostname or ""
        return any(host == name or host.endswith(f".{name}") for name in _SIGNING_HOSTS)

    def _file_content(self, commit: Commit | None) -> bytes | None:
        if commit is None:
            return None
        contents = found_or(lambda: self._repository.get_contents(self._path, ref=commit.sha), None)
        if contents is None:
            return None
        if isinstance(contents, list) or contents.type != "file" or contents.size > self._max_bytes:
            raise UnreadableHistoryError(f"is longer than {self._max_bytes:,} bytes, or no file")
        return decoded(self._repository, contents)

    def _head(self) -> str | None:
        return found_or(
            lambda: self._repository.get_git_ref(f"heads/{self._branch}").object.sha, None
        )


def _is_signed(commit: GitCommit) -> bool:
    return (commit.raw_data.get("verification") or {}).get("verified") is True
