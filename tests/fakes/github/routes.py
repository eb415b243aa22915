"""The table of all implemented operations; the committed description has exactly these."""

from __future__ import annotations

from tests.fakes.github import (
    content_routes,
    git_routes,
    issue_routes,
    line_comment_routes,
    pull_routes,
    repository_routes,
)
from tests.fakes.github.routing import REPO, Route

_CODE = ("contents",)
_PULLS = ("pull_requests",)
_EITHER = ("issues", "pull_requests")
"""The endpoints of issues also accept the permission of pull requests if the issue is one."""
_RUNS = ("actions",)
_RUN = f"{REPO}/actions/runs/{{run_id}}"
_ISSUE = f"{REPO}/issues/{{issue_number}}"
_PULL = f"{REPO}/pulls/{{pull_number}}"

ROUTES = (
    Route("GET", "/rate_limit", repository_routes.get_rate_limit),
    Route("GET", "/user", repository_routes.get_user),
    Route("GET", "/orgs/{org}/teams/{team_slug}", repository_routes.get_team, ("members",)),
    Route("GET", REPO, repository_routes.get_repository, ("metadata",)),
    Route(
        "GET",
        f"{REPO}/collaborators/{{username}}/permission",
        repository_routes.get_permission,
        ("metadata",),
    ),
    Route("GET", f"{REPO}/actions/jobs/{{job_id}}", repository_routes.get_job, _RUNS),
    Route("GET", f"{REPO}/actions/jobs/{{job_id}}/logs", repository_routes.get_job_log, _RUNS),
    Route("GET", f"{REPO}/actions/runs", repository_routes.list_runs, _RUNS),
    Route("GET", _RUN, repository_routes.get_run, _RUNS),
    Route("GET", f"{_RUN}/attempts/{{attempt_number}}", repository_routes.get_attempt, _RUNS),
    Route("GET", f"{_RUN}/jobs", repository_routes.list_jobs, _RUNS),
    Route(
        "GET",
        f"{_RUN}/attempts/{{attempt_number}}/jobs",
        repository_routes.list_jobs_of_attempt,
        _RUNS,
    ),
    Route("GET", f"{REPO}/branches", content_routes.list_branches, _CODE),
    Route("GET", f"{REPO}/branches/{{branch}}", content_routes.get_branch, _CODE),
    Route(
        "GET",
        f"{REPO}/branches/{{branch}}/protection",
        content_routes.get_protection,
        ("administration",),
    ),
    Route("GET", f"{REPO}/contents/{{path}}", content_routes.get_contents, _CODE),
    Route("PUT", f"{REPO}/contents/{{path}}", content_routes.put_contents, _CODE),
    Route("GET", f"{REPO}/commits", git_routes.list_commits, _CODE),
    Route("GET", f"{REPO}/commits/{{commit_sha}}/pulls", git_routes.pulls_of_commit, _PULLS),
    Route("GET", f"{REPO}/commits/{{ref}}", git_routes.get_commit, _CODE),
    Route("GET", f"{REPO}/compare/{{basehead}}", git_routes.compare, _CODE),
    Route("POST", f"{REPO}/git/blobs", git_routes.create_blob, _CODE),
    Route("GET", f"{REPO}/git/blobs/{{file_sha}}", git_routes.get_blob, _CODE),
    Route("POST", f"{REPO}/git/commits", git_routes.create_commit, _CODE),
    Route("GET", f"{REPO}/git/commits/{{commit_sha}}", git_routes.get_git_commit, _CODE),
    Route("GET", f"{REPO}/git/matching-refs/{{ref}}", git_routes.matching_refs, _CODE),
    Route("GET", f"{REPO}/git/ref/{{ref}}", git_routes.get_ref, _CODE),
    Route("POST", f"{REPO}/git/refs", git_routes.create_ref, _CODE),
    Route("PATCH", f"{REPO}/git/refs/{{ref}}", git_routes.update_ref, _CODE),
    Route("DELETE", f"{REPO}/git/refs/{{ref}}", git_routes.delete_ref, _CODE),
    Route("POST", f"{REPO}/git/trees", git_routes.create_tree, _CODE),
    Route("GET", f"{REPO}/git/trees/{{tree_sha}}", git_routes.get_tree, _CODE),
    Route("GET", f"{REPO}/issues", issue_routes.list_issues, ("issues",)),
    Route("POST", f"{REPO}/issues", issue_routes.create_issue, ("issues",)),
    Route("GET", _ISSUE, issue_routes.get_issue, _EITHER),
    Route("PATCH", _ISSUE, issue_routes.update_issue, _EITHER),
    Route("POST", f"{_ISSUE}/assignees", issue_routes.add_assignees, _EITHER),
    Route("DELETE", f"{_ISSUE}/assignees", issue_routes.remove_assignees, _EITHER),
    Route("GET", f"{_ISSUE}/comments", issue_routes.list_comments, _EITHER),
    Route("POST", f"{_ISSUE}/comments", issue_routes.create_comment, _EITHER),
    Route("GET", f"{_ISSUE}/labels", issue_routes.list_labels_of_issue, _EITHER),
    Route("POST", f"{_ISSUE}/labels", issue_routes.add_labels, _EITHER),
    Route("DELETE", f"{_ISSUE}/labels/{{name}}", issue_routes.remove_label, _EITHER),
    Route("GET", f"{REPO}/issues/comments/{{comment_id}}", issue_routes.get_comment, _EITHER),
    Route("PATCH", f"{REPO}/issues/comments/{{comment_id}}", issue_routes.update_comment, _EITHER),
    Route("DELETE", f"{REPO}/issues/comments/{{comment_id}}", issue_routes.delete_comment, _EITHER),
    Route("GET", f"{REPO}/labels", issue_routes.list_labels, _EITHER),
    Route("POST", f"{REPO}/labels", issue_routes.create_label, _EITHER),
    Route("GET", f"{REPO}/labels/{{name}}", issue_routes.get_label, _EITHER),
    Route("GET", f"{REPO}/pulls", pull_routes.list_pulls, _PULLS),
    Route("POST", f"{REPO}/pulls", pull_routes.create_pull, _PULLS),
    Route("GET", _PULL, pull_routes.get_pull, _PULLS),
    Route("PATCH", _PULL, pull_routes.update_pull, _PULLS),
    Route("GET", f"{_PULL}/comments", line_comment_routes.list_line_comments, _PULLS),
    Route(
        "DELETE",
        f"{REPO}/pulls/comments/{{comment_id}}",
        line_comment_routes.delete_line_comment,
        _PULLS,
    ),
    Route("GET", f"{_PULL}/commits", pull_routes.list_commits, _PULLS),
    Route("GET", f"{_PULL}/files", pull_routes.list_files, _PULLS),
    Route("GET", f"{_PULL}/requested_reviewers", pull_routes.list_reviewers, _PULLS),
    Route("POST", f"{_PULL}/requested_reviewers", pull_routes.request_reviewers, _PULLS),
    Route("DELETE", f"{_PULL}/requested_reviewers", pull_routes.remove_reviewers, _PULLS),
    Route("GET", f"{_PULL}/reviews", pull_routes.list_reviews, _PULLS),
    Route("POST", f"{_PULL}/reviews", pull_routes.create_review, _PULLS),
)
