"""Answers requests for issues, their comments, labels and assignees."""

from __future__ import annotations

from tests.fakes.github import pull_routes
from tests.fakes.github.issue_bodies import comment_body, comments_of, issue_body
from tests.fakes.github.records import Comment, Issue
from tests.fakes.github.routing import Answer, Call, check_body_length, invalid, page_of
from tests.fakes.github.world import ApiError, not_found


def _issue(call: Call) -> Issue:
    return call.world.issue(call.params["issue_number"])


def list_issues(call: Call) -> Answer:
    """Issues and pull requests, the newest first."""
    state, label = call.query.get("state", "open"), call.query.get("labels", "")
    wanted = {name.lower() for name in label.split(",") if name}
    found = [
        issue
        for issue in reversed(call.world.issues.values())
        if state in ("all", issue.state)
        and wanted <= {name.lower() for name in issue.labels}
        and call.query.get("creator", issue.author) == issue.author
    ]
    return page_of(call, found, lambda issue: issue_body(call.bodies, issue))


def create_issue(call: Call) -> Answer:
    """Open an issue."""
    check_body_length("Issue", call.body.get("body"))
    issue = call.world.open_issue(call.login, str(call.body["title"]), call.body.get("body"))
    _put_labels(call, issue, call.body.get("labels", []))
    _put_assignees(call, issue, call.body.get("assignees", []))
    return Answer(issue_body(call.bodies, issue), 201)


def get_issue(call: Call) -> Answer:
    """One issue or pull request."""
    return Answer(issue_body(call.bodies, _issue(call)))


def update_issue(call: Call) -> Answer:
    """Change title, body, state, labels or assignees."""
    issue, given = _issue(call), call.body
    check_body_length("Issue", given.get("body"))
    issue.title, issue.body = str(given.get("title", issue.title)), given.get("body", issue.body)
    for key, put in (("labels", _put_labels), ("assignees", _put_assignees)):
        if key in given:
            getattr(issue, key).clear()
            put(call, issue, given[key])
    if "state" in given:
        pull_routes.change_state(
            call.world, issue, given["state"], call.login, given.get("state_reason")
        )
    call.world.touch(issue)
    return Answer(issue_body(call.bodies, issue))


def _put_labels(call: Call, issue: Issue, labels: list[str | dict[str, str]]) -> None:
    for given in labels:
        name = call.world.label(given if isinstance(given, str) else given["name"]).name
        if name not in issue.labels:
            issue.labels.append(name)
    call.world.touch(issue)


def _put_assignees(call: Call, issue: Issue, logins: list[str]) -> None:
    """People without access are ignored silently, as the endpoint's documentation says."""
    for login in logins:
        if call.world.role(login) != "none" and login not in issue.assignees:
            issue.assignees.append(login)
    call.world.touch(issue)


def add_assignees(call: Call) -> Answer:
    """Assign people."""
    _put_assignees(call, _issue(call), call.body.get("assignees", []))
    return Answer(issue_body(call.bodies, _issue(call)), 201)


def remove_assignees(call: Call) -> Answer:
    """Remove people."""
    issue = _issue(call)
    issue.assignees = [
        login for login in issue.assignees if login not in call.body.get("assignees", [])
    ]
    call.world.touch(issue)
    return Answer(issue_body(call.bodies, issue))


def list_comments(call: Call) -> Answer:
    """The comments of an issue, the oldest first."""
    found = comments_of(call.world, _issue(call).number)
    since = call.query.get("since", "")
    return page_of(
        call,
        [one for one in found if one.updated_at >= since],
        lambda one: comment_body(call.bodies, one),
    )


def create_comment(call: Call) -> Answer:
    """Add a comment."""
    issue = _issue(call)
    if not call.body["body"].strip():
        raise invalid("IssueComment", "body", "missing_field")
    check_body_length("IssueComment", call.body["body"])
    comment = call.world.comment(issue.number, call.login, call.body["body"])
    return Answer(comment_body(call.bodies, comment), 201)


def _comment(call: Call) -> Comment:
    found = call.world.comments.get(int(call.params["comment_id"]))
    if found is None:
        raise not_found()
    return found


def get_comment(call: Call) -> Answer:
    """One comment."""
    return Answer(comment_body(call.bodies, _comment(call)))


def update_comment(call: Call) -> Answer:
    """Edit a comment."""
    comment = _comment(call)
    check_body_length("IssueComment", call.body["body"])
    comment.body, comment.updated_at = call.body["body"], call.world.timestamp()
    return Answer(comment_body(call.bodies, comment))


def delete_comment(call: Call) -> Answer:
    """Delete a comment."""
    del call.world.comments[_comment(call).id]
    return Answer(None, 204)


def _labels_of(call: Call, issue: Issue) -> Answer:
    return page_of(call, [call.world.labels[name] for name in issue.labels], call.bodies.label)


def list_labels_of_issue(call: Call) -> Answer:
    """The labels on an issue."""
    return _labels_of(call, _issue(call))


def add_labels(call: Call) -> Answer:
    """Add labels to an issue; unknown ones are created."""
    given = call.body if isinstance(call.body, list) else call.body.get("labels", [])
    _put_labels(call, _issue(call), given)
    return _labels_of(call, _issue(call))


def remove_label(call: Call) -> Answer:
    """Remove one label."""
    issue, name = _issue(call), call.params["name"].lower()
    kept = [one for one in issue.labels if one.lower() != name]
    if len(kept) == len(issue.labels):
        raise not_found("Label does not exist")
    issue.labels = kept
    call.world.touch(issue)
    return _labels_of(call, issue)


def list_labels(call: Call) -> Answer:
    """The labels of the repository."""
    return page_of(call, list(call.world.labels.values()), call.bodies.label)


def create_label(call: Call) -> Answer:
    """Create a label."""
    name = call.body["name"]
    if name.lower() in {known.lower() for known in call.world.labels}:
        raise ApiError(
            422,
            "Validation Failed",
            [{"resource": "Label", "code": "already_exists", "field": "name"}],
        )
    label = call.world.label(name)
    label.color, label.description = (
        call.body.get("color", label.color),
        call.body.get("description"),
    )
    return Answer(call.bodies.label(label), 201)


def get_label(call: Call) -> Answer:
    """One label."""
    name = call.params["name"].lower()
    for known in call.world.labels.values():
        if known.name.lower() == name:
            return Answer(call.bodies.label(known))
    raise not_found()
