"""Creates the bodies of issues, pull requests, comments and reviews."""

from __future__ import annotations

from tests.fakes.github.bodies import Bodies, Body, node_id
from tests.fakes.github.records import Comment, Issue, PullRequest, Review
from tests.fakes.github.world import World

_ONLY_ALONE = (
    "merged", "mergeable", "rebaseable", "mergeable_state", "merged_by", "comments",
    "review_comments",
    "maintainer_can_modify", "commits", "additions", "deletions", "changed_files",
)  # fmt: skip
"""Fields of a single pull request that a list lacks."""


def association(world: World, login: str) -> str:
    """The association of an author with the repository."""
    if login == world.owner:
        return "OWNER"
    return {"none": "NONE", "read": "NONE", "admin": "MEMBER"}.get(
        world.role(login), "COLLABORATOR"
    )


def _shared(bodies: Bodies, issue: Issue) -> Body:
    return {
        "number": issue.number,
        "title": issue.title,
        "body": issue.body,
        "state": issue.state,
        "locked": False,
        "active_lock_reason": None,
        "milestone": None,
        "user": bodies.user(issue.author),
        "labels": [bodies.label(bodies.world.labels[name]) for name in issue.labels],
        "assignee": bodies.maybe_user(issue.assignees[0] if issue.assignees else None),
        "assignees": [bodies.user(login) for login in issue.assignees],
        "author_association": association(bodies.world, issue.author),
        "created_at": issue.created_at,
        "updated_at": issue.updated_at,
        "closed_at": issue.closed_at,
    }


def issue_body(bodies: Bodies, issue: Issue) -> Body:
    """An issue, or a pull request as the issues endpoints return it."""
    url = bodies.url(f"/issues/{issue.number}")
    body = {
        **bodies.example("issue"),
        **_shared(bodies, issue),
        "id": 70000 + issue.number,
        "node_id": node_id("I", issue.number),
        "url": url,
        "html_url": bodies.page(f"/{'pull' if issue.pull else 'issues'}/{issue.number}"),
        **{f"{name}_url": f"{url}/{name}" for name in ("comments", "events")},
        "labels_url": f"{url}/labels{{/name}}",
        "closed_by": bodies.maybe_user(issue.closed_by),
        "state_reason": issue.state_reason,
        "comments": len(comments_of(bodies.world, issue.number)),
    }
    del body["pull_request"]
    return {**body, "pull_request": _pull_links(bodies, issue)} if issue.pull else body


def _pull_links(bodies: Bodies, issue: Issue) -> Body:
    page = bodies.page(f"/pull/{issue.number}")
    return {
        "url": bodies.url(f"/pulls/{issue.number}"),
        "html_url": page,
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        "merged_at": issue.pull.merged_at if issue.pull else None,
    }


def comments_of(world: World, number: int) -> list[Comment]:
    """The comments of an issue, the oldest first."""
    return [one for one in world.comments.values() if one.number == number]


def comment_body(bodies: Bodies, comment: Comment) -> Body:
    """A comment of an issue or pull request."""
    issue = bodies.world.issue(comment.number)
    page = bodies.page(f"/{'pull' if issue.pull else 'issues'}/{issue.number}")
    return {
        **bodies.example("issue-comment"),
        "id": comment.id,
        "node_id": node_id("IC", comment.id),
        "url": bodies.url(f"/issues/comments/{comment.id}"),
        "html_url": f"{page}#issuecomment-{comment.id}",
        "issue_url": bodies.url(f"/issues/{comment.number}"),
        "user": bodies.user(comment.author),
        "author_association": association(bodies.world, comment.author),
        "body": comment.body,
        "created_at": comment.created_at,
        "updated_at": comment.updated_at,
    }


def review_body(bodies: Bodies, review: Review) -> Body:
    """A review of a pull request."""
    page = bodies.page(f"/pull/{review.number}#pullrequestreview-{review.id}")
    url = bodies.url(f"/pulls/{review.number}")
    return {
        "id": review.id,
        "node_id": node_id("PRR", review.id),
        "user": bodies.user(review.author),
        "body": review.body,
        "state": review.state,
        "html_url": page,
        "pull_request_url": url,
        "_links": {"html": {"href": page}, "pull_request": {"href": url}},
        "submitted_at": review.submitted_at,
        "commit_id": review.sha,
        "author_association": association(bodies.world, review.author),
    }


def pull_body(bodies: Bodies, issue: Issue, pull: PullRequest) -> Body:
    """A pull request as lists return it."""
    body = bodies.example("pull-request")
    for key in _ONLY_ALONE:
        del body[key]
    links = _pull_links(bodies, issue)
    url = links["url"]
    return {
        **body,
        **_shared(bodies, issue),
        **links,
        "id": 90000 + issue.number,
        "node_id": node_id("PR", issue.number),
        "issue_url": bodies.url(f"/issues/{issue.number}"),
        "commits_url": f"{url}/commits",
        "review_comments_url": f"{url}/comments",
        "review_comment_url": bodies.url("/pulls/comments{/number}"),
        "comments_url": bodies.url(f"/issues/{issue.number}/comments"),
        "statuses_url": bodies.url(f"/statuses/{pull.head_sha}"),
        "_links": _links(bodies, issue, pull),
        "draft": pull.draft,
        "merge_commit_sha": pull.merge_sha,
        "requested_reviewers": [bodies.user(login) for login in pull.reviewers],
        "requested_teams": [bodies.team(slug) for slug in pull.teams],
        "head": _head(bodies, body["head"], pull),
        "base": _side(bodies, body["base"], pull.base, pull.base_sha),
    }


def _links(bodies: Bodies, issue: Issue, pull: PullRequest) -> Body:
    own, asked = bodies.url(f"/pulls/{issue.number}"), bodies.url(f"/issues/{issue.number}")
    addresses = {
        "self": own,
        "html": bodies.page(f"/pull/{issue.number}"),
        "issue": asked,
        "comments": f"{asked}/comments",
        "review_comments": f"{own}/comments",
        "review_comment": bodies.url("/pulls/comments{/number}"),
        "commits": f"{own}/commits",
        "statuses": bodies.url(f"/statuses/{pull.head_sha}"),
    }
    return {name: {"href": address} for name, address in addresses.items()}


def _head(bodies: Bodies, example: Body, pull: PullRequest) -> Body:
    """The head branch, which may be of a fork; a deleted fork is null."""
    side = _side(bodies, example, pull.head, pull.head_sha)
    if not pull.fork:
        return side
    owner = bodies.world.head_owner(pull)
    fork = bodies.fork(side["repo"], pull.fork) if pull.fork in bodies.world.forks else None
    return {**side, "label": f"{owner}:{pull.head}", "user": bodies.user(owner), "repo": fork}


def _side(bodies: Bodies, example: Body, branch: str, sha: str) -> Body:
    return {
        "label": f"{bodies.world.owner}:{branch}",
        "ref": branch,
        "sha": sha,
        "user": bodies.user(bodies.world.owner),
        "repo": bodies.short_repository(example["repo"]),
    }


def full_pull_body(bodies: Bodies, issue: Issue, pull: PullRequest) -> Body:
    """A single pull request, with the fields that GitHub computes for it."""
    world = bodies.world
    base = world.git.merge_base(pull.base_sha, pull.head_sha) or pull.base_sha
    files = world.git.changes(base, pull.head_sha)
    mergeable = (
        None
        if issue.state == "closed"
        else world.git.merged_tree(pull.base_sha, pull.head_sha) is not None
    )
    return {
        **pull_body(bodies, issue, pull),
        "merged": pull.merged_at is not None,
        "mergeable": mergeable,
        "rebaseable": mergeable,
        "mergeable_state": _mergeable_state(mergeable, pull),
        "merged_by": bodies.maybe_user(pull.merged_by),
        "comments": len(comments_of(world, issue.number)),
        "review_comments": 0,
        "maintainer_can_modify": False,
        "commits": world.git.count(pull.base_sha, pull.head_sha),
        "additions": sum(one.additions for one in files),
        "deletions": sum(one.deletions for one in files),
        "changed_files": len(files),
    }


def _mergeable_state(mergeable: bool | None, pull: PullRequest) -> str:
    if mergeable is None:
        return "unknown"
    if not mergeable:
        return "dirty"
    return "draft" if pull.draft else "clean"
