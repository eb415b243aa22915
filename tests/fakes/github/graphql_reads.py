"""Resolves the reading fields of GraphQL requests: files, commits, branches and pull requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.fakes.github.bodies import Bodies, node_id, utc
from tests.fakes.github.git_repository import Commit
from tests.fakes.github.issue_bodies import comments_of
from tests.fakes.github.records import Comment, Issue, PullRequest
from tests.fakes.github.world import World

Fields = dict[str, Any]
_LONGEST = 512_000


@dataclass(frozen=True, slots=True)
class Reads:
    """The objects of one repository, as dictionaries; a callable is a field with arguments."""

    world: World
    bodies: Bodies

    def object(self, expression: str) -> Fields | None:
        """A commit by its name."""
        sha = self.world.git.branch(expression) or self.world.git.resolve(expression)
        return self.commit(self.world.git.commit(sha)) if sha else None

    def _entry(self, commit: str, path: str) -> Fields | None:
        """An entry of a tree."""
        folder, _, name = path.rpartition("/")
        tree = self.world.git.at(commit, folder) if folder else ("tree", commit)
        if tree is None or tree[0] != "tree":
            return None
        for entry in self.world.git.read_tree(tree[1]):
            if entry.path == name and entry.sha:
                shown = self._blob(entry.sha) if entry.kind == "blob" else self._tree(entry.sha)
                return {"mode": int(entry.mode, 8), "object": shown}
        return None

    def _tree(self, oid: str) -> Fields:
        return {"__typename": "Tree", "oid": oid}

    def _blob(self, oid: str) -> Fields:
        """A file; the text of a long one is truncated."""
        content = self.world.git.read_blob(oid)
        text = None if b"\0" in content else content[:_LONGEST].decode("utf-8", "replace")
        is_truncated = len(content) > _LONGEST
        return {"__typename": "Blob", "oid": oid, "isTruncated": is_truncated, "text": text}

    def commit(self, commit: Commit) -> Fields:
        """A commit."""
        git = self.world.git
        first = commit.parents[0] if commit.parents else git.write_tree(None, [])
        return {
            "__typename": "Commit",
            "oid": commit.sha,
            "message": commit.message,
            "messageHeadline": commit.message.partition("\n")[0],
            "url": self.bodies.page(f"/commit/{commit.sha}"),
            "committedDate": utc(commit.committer.date),
            "changedFilesIfAvailable": lambda _info: len(git.changes(first, commit.sha)),
            "file": lambda _info, path: self._entry(commit.sha, path),
            "parents": lambda _info, first=None, **_: {
                "nodes": [{"oid": sha} for sha in commit.parents][:first]
            },
            "history": lambda _info, path=None, first=None, **_: {
                "nodes": [
                    self.commit(one)
                    for one in git.commits(commit.sha, paths=[path] if path else ())[:first]
                ]
            },
            "associatedPullRequests": lambda _info, first=None, **_: self._pulls_of(
                commit.sha, first
            ),
        }

    def _pulls_of(self, sha: str, first: int | None) -> Fields:
        found = [
            (issue, pull)
            for issue, pull in self.world.pulls()
            if sha == pull.merge_sha
            or (pull.merged_at and self.world.git.is_ancestor(sha, pull.head_sha))
        ]
        return self._connection(found, first)

    def compare(self, base: str, head: str) -> Fields | None:
        """A comparison of two branches; None where either does not exist."""
        git = self.world.git
        first, second = git.branch(base), git.branch(head)
        if first is None or second is None:
            return None
        return {"aheadBy": git.count(first, second)}

    def pull_requests(self, given: Fields) -> Fields:
        """The pull requests of branches of a name, those of forks included."""
        found = [
            (issue, pull)
            for issue, pull in self.world.pulls()
            if given.get("headRefName") in (None, pull.head)
            and given.get("baseRefName") in (None, pull.base)
            and (not given.get("states") or _state(issue, pull) in given["states"])
            and (not given.get("labels") or set(given["labels"]) & set(issue.labels))
        ]
        order = given.get("orderBy") or {"field": "CREATED_AT", "direction": "ASC"}
        if order["field"] == "UPDATED_AT":
            found.sort(key=lambda pair: (pair[0].updated_at, pair[0].number))
        if order["direction"] == "DESC":
            found.reverse()
        return self._connection(found, given.get("first"))

    def _connection(self, found: Sequence[tuple[Issue, PullRequest]], first: int | None) -> Fields:
        nodes = [self.pull(issue, pull) for issue, pull in found[:first]]
        return {"totalCount": len(found), "nodes": nodes}

    def pull(self, issue: Issue, pull: PullRequest) -> Fields:
        """A pull request."""
        full_name = pull.fork or self.world.full_name
        is_there = not pull.fork or pull.fork in self.world.forks
        merged = self.world.git.commit(pull.merge_sha) if pull.merge_sha else None
        comments = comments_of(self.world, issue.number)
        return {
            "id": node_id("PR", issue.number),
            "number": issue.number,
            "isDraft": pull.draft,
            "state": _state(issue, pull),
            "title": issue.title,
            "url": self.bodies.page(f"/pull/{issue.number}"),
            "author": self.actor(issue.author),
            "baseRefName": pull.base,
            "body": issue.body or "",
            "headRefName": pull.head,
            "headRefOid": pull.head_sha,
            "headRepository": {"id": node_id("R", full_name)} if is_there else None,
            "labels": lambda _info, first=None, **_: {
                "nodes": [{"name": name} for name in issue.labels[:first]]
            },
            "mergeCommit": self.commit(merged) if merged else None,
            "createdAt": issue.created_at,
            "mergedAt": pull.merged_at,
            "updatedAt": issue.updated_at,
            "comments": lambda _info, first=None, **_: {
                "totalCount": len(comments),
                "nodes": [self._comment(one) for one in comments[:first]],
            },
            "timelineItems": lambda _info, **given: {"nodes": self._closings(issue, given)},
            "commits": lambda _info, first=None, **_: {"nodes": self._commits(pull)[:first]},
        }

    def _commits(self, pull: PullRequest) -> list[Fields]:
        """The commits of a pull request, the oldest first."""
        found = self.world.git.commits(pull.head_sha, f"^{pull.base_sha}")
        return [{"commit": self.commit(each)} for each in reversed(found)]

    def _closings(self, issue: Issue, given: Fields) -> list[Fields]:
        if given.get("itemTypes") != ["CLOSED_EVENT"]:
            raise NotImplementedError("the fake has closings alone in a timeline")
        if issue.closed_at is None:
            return []
        actor = self.actor(issue.closed_by) if issue.closed_by else None
        return [{"__typename": "ClosedEvent", "actor": actor}]

    def _comment(self, comment: Comment) -> Fields:
        return {
            "author": self.actor(comment.author),
            "body": comment.body,
            "createdAt": comment.created_at,
            "updatedAt": comment.updated_at,
            "fullDatabaseId": str(comment.id),
        }

    def actor(self, login: str) -> Fields:
        """An account; the login of an app's bot has no `[bot]` here, unlike in the REST API."""
        kind = self.world.account(login).kind
        return {"__typename": kind, "login": login.removesuffix("[bot]")}


def _state(issue: Issue, pull: PullRequest) -> str:
    return "MERGED" if pull.merged_at else issue.state.upper()
