"""Answers requests to open, change and review pull requests."""

from __future__ import annotations

from tests.fakes.github.bodies import Body
from tests.fakes.github.issue_bodies import full_pull_body, pull_body, review_body
from tests.fakes.github.line_comment_routes import add_line_comment
from tests.fakes.github.records import Issue, PullRequest, Review
from tests.fakes.github.routing import Answer, Call, check_body_length, custom, invalid, page_of
from tests.fakes.github.world import ACTIONS_BOT, ApiError, World

ACTIONS_REFUSED = "GitHub Actions is not permitted to create or approve pull requests."
_REVIEW_STATES = {
    "APPROVE": "APPROVED",
    "REQUEST_CHANGES": "CHANGES_REQUESTED",
    "COMMENT": "COMMENTED",
}


def _pull(call: Call) -> tuple[Issue, PullRequest]:
    return call.world.pull(call.params["pull_number"])


def _shown(call: Call, issue: Issue, pull: PullRequest) -> Body:
    return pull_body(call.bodies, issue, pull)


def list_pulls(call: Call) -> Answer:
    """Pull requests, the newest first, or sorted by `sort` and `direction`."""
    query = call.query
    state, head = query.get("state", "open"), query.get("head", "")
    found = [
        (issue, pull)
        for issue, pull in call.world.pulls()
        if state in ("all", issue.state)
        # "Filter pulls by head user or head organization and branch name in the format of
        # user:ref-name or organization:ref-name" (GitHub's description of the REST API): the
        # repository of the head is no part of it. A head without its owner is no filter.
        and (":" not in head or head == f"{call.world.head_owner(pull)}:{pull.head}")
        and query.get("base", pull.base) == pull.base
    ]
    if query.get("sort") == "updated":
        found.sort(key=lambda pair: pair[0].updated_at)
    newest_first = (
        query.get("direction", "desc" if query.get("sort", "created") == "created" else "asc")
        == "desc"
    )
    return page_of(call, found[::-1] if newest_first else found, lambda pair: _shown(call, *pair))


def create_pull(call: Call) -> Answer:
    """Open a pull request from a branch of this repository."""
    world, given = call.world, call.body
    if call.login == ACTIONS_BOT and not world.actions_may_open_pull_requests:
        raise ApiError(403, ACTIONS_REFUSED)
    check_body_length("PullRequest", given.get("body"))
    owner, _, head = given["head"].rpartition(":")
    head_sha, base_sha = world.git.branch(head), world.git.branch(given["base"])
    if head_sha is None or owner not in ("", world.owner):
        raise invalid("PullRequest", "head")
    if base_sha is None:
        raise invalid("PullRequest", "base")
    _check_duplicate(world, head, given["base"])
    if world.git.count(base_sha, head_sha) == 0:
        raise custom("PullRequest", f"No commits between {given['base']} and {head}")
    pull = PullRequest(head, given["base"], head_sha, base_sha, bool(given.get("draft")))
    issue = world.open_issue(call.login, str(given["title"]), given.get("body"), pull)
    return Answer(full_pull_body(call.bodies, issue, pull), 201)


def _check_duplicate(world: World, head: str, base: str) -> None:
    for issue, pull in world.pulls():
        if issue.state == "open" and (pull.fork, pull.head, pull.base) == ("", head, base):
            raise custom("PullRequest", f"A pull request already exists for {world.owner}:{head}.")


def get_pull(call: Call) -> Answer:
    """One pull request."""
    return Answer(full_pull_body(call.bodies, *_pull(call)))


def update_pull(call: Call) -> Answer:
    """Change title, body, base or state."""
    (issue, pull), given = _pull(call), call.body
    check_body_length("PullRequest", given.get("body"))
    if given.get("base", pull.base) != pull.base:
        _retarget(call.world, issue, pull, given["base"])
    if "state" in given:
        change_state(call.world, issue, given["state"], call.login)
    issue.title, issue.body = given.get("title", issue.title), given.get("body", issue.body)
    call.world.touch(issue)
    return Answer(full_pull_body(call.bodies, issue, pull))


def _retarget(world: World, issue: Issue, pull: PullRequest, base: str) -> None:
    sha = world.git.branch(base)
    if sha is None:
        raise invalid("PullRequest", "base")
    if issue.state == "closed":
        raise invalid(
            "PullRequest",
            "base",
            "invalid",
            "Cannot change the base branch of a closed pull request.",
        )
    if not pull.fork:
        _check_duplicate(world, pull.head, base)
    pull.base, pull.base_sha = base, sha


def change_state(
    world: World, issue: Issue, state: str, by: str, reason: str | None = None
) -> None:
    """Close or reopen an issue or a pull request.

    Raises:
        ApiError: 422 if a pull request cannot be reopened.
    """
    if state == issue.state:
        return
    if state == "closed":
        world.close(issue, by, reason)
        return
    if issue.pull:
        _check_reopening(world, issue.pull)
    issue.state, issue.closed_at, issue.closed_by = "open", None, None
    issue.state_reason = None if issue.pull else "reopened"
    world.touch(issue)


def _check_reopening(world: World, pull: PullRequest) -> None:
    why = ""
    if pull.merged_at:
        why = "The pull request cannot be reopened."
    elif world.head_of(pull) is None:
        why = f"The {pull.head} branch has been deleted."
    elif pull.head_was_moved:
        why = f"The {pull.head} branch was force-pushed or recreated."
    if why:
        raise invalid("PullRequest", "state", "invalid", f"state cannot be changed. {why}")
    if not pull.fork:
        _check_duplicate(world, pull.head, pull.base)


def list_commits(call: Call) -> Answer:
    """The commits of a pull request, the oldest first."""
    _, pull = _pull(call)
    found = call.world.git.commits(pull.head_sha, f"^{pull.base_sha}")
    return page_of(call, found[::-1], call.bodies.commit)


def list_files(call: Call) -> Answer:
    """The files that a pull request changes."""
    _, pull = _pull(call)
    fork = call.world.git.merge_base(pull.base_sha, pull.head_sha) or pull.base_sha
    changes = call.world.git.changes(fork, pull.head_sha)
    return page_of(call, changes, lambda change: call.bodies.file_change(change, pull.head_sha))


def list_reviewers(call: Call) -> Answer:
    """The requested reviewers."""
    _, pull = _pull(call)
    users = [call.bodies.user(login) for login in pull.reviewers]
    return Answer({"users": users, "teams": [call.bodies.team(slug) for slug in pull.teams]})


def request_reviewers(call: Call) -> Answer:
    """Request a review of people and teams."""
    issue, pull = _pull(call)
    people, teams = call.body.get("reviewers", []), call.body.get("team_reviewers", [])
    _check_reviewers(call, issue, people, teams)
    for known, wanted in ((pull.reviewers, people), (pull.teams, teams)):
        known += [one for one in wanted if one not in known]
    call.world.touch(issue)
    return Answer(_shown(call, issue, pull), 201)


def _check_reviewers(call: Call, issue: Issue, people: list[str], teams: list[str]) -> None:
    """GitHub's errors; the token of a workflow cannot see teams, which GitHub reports as a failed
    lookup.
    """
    world = call.world
    if issue.author in people:
        raise ApiError(422, "Review cannot be requested from pull request author.")
    if any(world.role(login) == "none" for login in people) or any(
        slug not in world.teams for slug in teams
    ):
        raise ApiError(
            422,
            "Reviews may only be requested from collaborators. One or more of the users or teams"
            f" you specified is not a collaborator of the {world.full_name} repository.",
        )
    if teams and call.token.installation and "members" not in (call.token.permissions or {}):
        node = call.bodies.team(teams[0])["node_id"]
        raise ApiError(
            422,
            "Validation Failed",
            [f"Could not resolve to a node with the global id of '{node}'."],
        )


def remove_reviewers(call: Call) -> Answer:
    """Withdraw the request for a review."""
    issue, pull = _pull(call)
    pull.reviewers = [
        login for login in pull.reviewers if login not in call.body.get("reviewers", [])
    ]
    pull.teams = [slug for slug in pull.teams if slug not in call.body.get("team_reviewers", [])]
    call.world.touch(issue)
    return Answer(_shown(call, issue, pull))


def list_reviews(call: Call) -> Answer:
    """The reviews, the oldest first."""
    issue, _ = _pull(call)
    found = [one for one in call.world.reviews if one.number == issue.number]
    return page_of(call, found, lambda one: review_body(call.bodies, one))


def create_review(call: Call) -> Answer:
    """Submit a review, with comments on lines in the diff."""
    issue, _ = _pull(call)
    event = call.body.get("event")
    if event not in _REVIEW_STATES:
        raise ApiError(422, "Unprocessable Entity", ["the fake has no pending reviews"])
    if (
        event == "APPROVE"
        and call.login == ACTIONS_BOT
        and not call.world.actions_may_open_pull_requests
    ):
        raise ApiError(403, ACTIONS_REFUSED)
    if issue.author == call.login and event != "COMMENT":
        raise ApiError(422, "Unprocessable Entity", ["Can not approve your own pull request"])
    kept = dict(call.world.line_comments)
    review = add_review(
        call.world, issue.number, call.login, _REVIEW_STATES[event], call.body.get("body", "")
    )
    try:
        for given in call.body.get("comments", ()):
            add_line_comment(
                call.world, issue.number, call.login, {"side": "RIGHT", **given}, review.id
            )
    except ApiError:
        # GitHub accepts all or none.
        call.world.reviews.remove(review)
        call.world.line_comments.clear()
        call.world.line_comments.update(kept)
        raise
    return Answer(review_body(call.bodies, review))


def add_review(world: World, number: int, login: str, state: str, body: str) -> Review:
    """Add a review; its author is no longer a requested reviewer."""
    issue, pull = world.pull(number)
    made = world.timestamp()
    review = Review(
        next(world.ids), number, world.account(login).login, body, state, pull.head_sha, made
    )
    world.reviews.append(review)
    pull.reviewers = [one for one in pull.reviewers if one != login]
    world.touch(issue)
    return review
