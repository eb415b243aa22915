"""Actions of people and workflows on GitHub, and the state after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.fakes.github import branches, pull_routes
from tests.fakes.github.line_comment_routes import add_line_comment
from tests.fakes.github.records import Issue, Job, LineComment, PullRequest, Run
from tests.fakes.github.world import World

Content = str | bytes | None


class People:
    """Everyone but the client under test; works on one world."""

    world: World

    # People, teams and runs.

    def add_user(self, login: str, permission: str = "write") -> None:
        """A person with a role: none, read, triage, write, maintain or admin."""
        with self.world.lock:
            self.world.account(login)
            self.world.roles[login] = permission

    def add_team(self, slug: str) -> None:
        """A team of the owner that may read the repository."""
        self.world.teams[slug] = next(self.world.ids)

    def add_run(
        self,
        run_id: int,
        head_branch: str | None = None,
        event: str = "push",
        *,
        head_sha: str | None = None,
        status: str = "completed",
        conclusion: str | None = "success",
        attempt: int = 1,
        actor: str = "octocat",
        path: str = ".github/workflows/deploy.yml",
        head_repository: str | None = None,
        created_at: str | None = None,
        updated_at: str | None = None,
        started_at: str | None = None,
        earlier: Mapping[int, tuple[str, str]] | None = None,
    ) -> None:
        """A workflow run; another `head_repository` is a fork's. Times are ISO 8601, by default
        now.

        `started_at` is the start of the latest attempt; `earlier` has start and end of the attempts
        before it.
        """
        branch = head_branch or self.world.default_branch
        sha = head_sha or self.world.git.branch(branch) or self.head(self.world.default_branch)
        where = head_repository or self.world.full_name
        made = created_at or self.world.timestamp()
        ended = updated_at or made
        self.world.runs[run_id] = Run(
            run_id, branch, sha, event, status, conclusion, attempt, actor, path, where, made,
            ended,
            started_at or made, earlier or {},
        )  # fmt: skip

    def add_job(
        self,
        run_id: int,
        name: str = "deploy",
        log: str | bytes | None = "",
        *,
        status: str = "completed",
        conclusion: str | None = "success",
        attempt: int | None = None,
    ) -> int:
        """A job of a run, and its id; a log of None has expired."""
        job_id, text = next(self.world.ids), log.encode() if isinstance(log, str) else log
        tried = attempt or self.world.runs[run_id].attempt
        self.world.jobs[job_id] = Job(job_id, run_id, tried, name, status, conclusion, text)
        return job_id

    # Actions of people.

    def commit_as(
        self,
        login: str,
        branch: str,
        files: Mapping[str, Content],
        message: str = "Change",
        *,
        on_web: bool = False,
    ) -> str:
        """A person commits (None deletes a file) and pushes, regardless of protection; returns the
        commit.

        A new branch starts at the default branch. GitHub signs commits on its pages.
        """
        with self.world.lock:
            head = self.world.git.branch(branch) or self.head(self.world.default_branch)
            author = self.world.account(login).sign(self.world.now())
            sha = branches.commit_files(
                self.world, head, as_bytes(files), message, author, signed=on_web
            )
            branches.move(self.world, f"refs/heads/{branch}", sha, login)
            return sha

    def update_branch_as(self, login: str, number: int) -> str:
        """A person presses "Update branch": the base is merged into the head, and GitHub signs."""
        with self.world.lock:
            _, pull = self.world.pull(number)
            base, head = self.head(pull.base), self.head(pull.head)
            tree = self.world.git.merged_tree(head, base)
            if tree is None:
                raise ValueError(f"{pull.base} and {pull.head} are in conflict")
            author = self.world.account(login).sign(self.world.now())
            message = f"Merge branch '{pull.base}' into {pull.head}"
            sha = branches.commit_signed(self.world, tree, [head, base], message, author)
            branches.move(self.world, f"refs/heads/{pull.head}", sha, login)
            return sha

    def move_branch_as(self, login: str, branch: str, sha: str | None) -> None:
        """A person forces a branch to a commit, or (None) deletes it."""
        with self.world.lock:
            branches.move(self.world, f"refs/heads/{branch}", sha, login)

    def open_pull_as(
        self,
        login: str,
        head: str,
        base: str | None = None,
        title: str = "A change",
        body: str = "",
    ) -> int:
        """A person opens a pull request for a branch; returns its number."""
        with self.world.lock:
            target = base or self.world.default_branch
            pull = PullRequest(head, target, self.head(head), self.head(target))
            return self.world.open_issue(login, title, body, pull).number

    def open_fork_pull_as(
        self,
        login: str,
        fork: str,
        branch: str,
        files: Mapping[str, Content],
        base: str | None = None,
        title: str = "A change",
        body: str = "",
    ) -> int:
        """A person opens a pull request of a fork's branch, one commit on the base; returns its
        number.

        Members of an organization may fork a repository into that organization.
        """
        with self.world.lock:
            target = base or self.world.default_branch
            if fork not in self.world.forks:
                self.world.forks[fork] = next(self.world.ids)
            author = self.world.account(login).sign(self.world.now())
            sha = branches.commit_files(
                self.world, self.head(target), as_bytes(files), title, author, signed=False
            )
            pull = PullRequest(branch, target, sha, self.head(target), fork=fork)
            return self.world.open_issue(login, title, body, pull).number

    def delete_fork(self, fork: str) -> None:
        """A person deletes a fork; its pull requests remain, without their head repository."""
        with self.world.lock:
            del self.world.forks[fork]

    def close_pull(self, number: int, by: str) -> None:
        """A person closes a pull request."""
        self._change_state(number, "closed", by)

    def reopen_pull(self, number: int, by: str) -> None:
        """A person reopens it; raises ApiError if GitHub denies it."""
        self._change_state(number, "open", by)

    def _change_state(self, number: int, state: str, by: str) -> None:
        with self.world.lock:
            pull_routes.change_state(self.world, self.world.pull(number)[0], state, by)

    def merge_pull(
        self,
        number: int,
        by: str = "octocat",
        method: str = "merge",
        *,
        delete_branch: bool = False,
    ) -> str:
        """A person merges (`merge` or `squash`); returns the new commit of the base."""
        with self.world.lock:
            sha = branches.merge(self.world, number, by, method)
            if delete_branch:
                self.move_branch_as(by, self.world.pull(number)[1].head, None)
            return sha

    def comment_as(self, login: str, number: int, body: str) -> int:
        """A person comments; returns the comment's id."""
        with self.world.lock:
            return self.world.comment(number, login, body).id

    def review_as(self, login: str, number: int, state: str = "APPROVED", body: str = "") -> None:
        """A person reviews: APPROVED, CHANGES_REQUESTED or COMMENTED."""
        with self.world.lock:
            pull_routes.add_review(self.world, number, login, state, body)

    def answer_as(self, login: str, comment: int, body: str) -> int:
        """A person answers a comment at a line; returns the answer's id."""
        with self.world.lock:
            asked = self.world.line_comments[comment]
            place = {"path": asked.path, "line": asked.line, "side": asked.side, "body": body}
            return add_line_comment(
                self.world, asked.number, login, place, None, reply_to=comment
            ).id

    def line_comments(self, number: int) -> list[LineComment]:
        """Comments at lines, the oldest first."""
        return [one for one in self.world.line_comments.values() if one.number == number]

    def edit_body_as(self, login: str, number: int, body: str) -> None:
        """A person edits the description; GitHub's REST API does not name the editor."""
        with self.world.lock:
            self.world.account(login)
            issue = self.world.issue(number)
            issue.body = body
            self.world.touch(issue)

    def label_as(self, login: str, number: int, *labels: str) -> None:
        """A person adds labels."""
        with self.world.lock:
            self.world.account(login)
            issue = self.world.issue(number)
            issue.labels += [
                name for one in labels if (name := self.world.label(one).name) not in issue.labels
            ]
            self.world.touch(issue)

    def unlabel_as(self, login: str, number: int, label: str) -> None:
        """A person removes a label."""
        with self.world.lock:
            self.world.account(login)
            issue = self.world.issue(number)
            issue.labels.remove(label)
            self.world.touch(issue)

    # State for assertions.

    def head(self, branch: str) -> str:
        """The commit at the head of a branch; raises KeyError without such a branch."""
        sha = self.world.git.branch(branch)
        if sha is None:
            raise KeyError(branch)
        return sha

    def file(self, path: str, branch: str | None = None) -> bytes:
        """The content of a file on a branch; raises GitError without such a file."""
        place = f"refs/heads/{branch or self.world.default_branch}:{path}"
        return self.world.git.read_blob(place)

    def pull(self, number: int) -> Issue:
        """A pull request's state; do not change it."""
        return self.world.pull(number)[0]

    def comments(self, number: int) -> Sequence[str]:
        """The bodies of the comments on an issue or pull request, the oldest first."""
        return [one.body for one in self.world.comments.values() if one.number == number]


def as_bytes(files: Mapping[str, Content]) -> dict[str, bytes | None]:
    """Files with text as UTF-8."""
    return {path: one.encode() if isinstance(one, str) else one for path, one in files.items()}
