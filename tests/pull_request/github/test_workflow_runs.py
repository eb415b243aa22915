"""Only runs of merged or protected code are trusted, tested against a stateful GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leastpriv.models import Origin, Run, RunOrigin, WebIdentity
from leastpriv.pull_request.github.client import Connection, RequestDeadline
from leastpriv.pull_request.github.repository import GitHubRepository
from leastpriv.pull_request.github.workflow_runs import BY_LOGIN, BY_SESSION_NAME, OTHER_BRANCH
from tests.fakes.github import FakeGitHub

START = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
CREATED = "2026-11-03T08:59:00Z"
ENDED = "2026-11-03T09:20:00Z"


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub("acme/orders", files={"a.txt": b"a\n"}) as fake:
        fake.add_user("kim", "write")
        yield fake


def repository_for(github: FakeGitHub, token: str = "") -> GitHubRepository:
    connection = Connection.open(
        token or github.token,
        "acme/orders",
        api_url=github.url,
        web_url="https://github.example",
        deadline=RequestDeadline(lambda _: None),
    )
    return GitHubRepository(connection)


def origin(
    github: FakeGitHub, session: str = "42", *, late: timedelta = timedelta(), base: str = ""
) -> RunOrigin:
    run = Run(session, session, START + late, START + late + timedelta(minutes=5))
    return repository_for(github).origin_lookup(base).by_workflow_run(run)


def add_run(
    github: FakeGitHub, branch: str | None = None, event: str = "push", **more: Any
) -> None:
    github.add_run(42, branch, event, created_at=CREATED, updated_at=ENDED, **more)


def test_a_run_of_a_commit_on_the_base_is_trusted(github: FakeGitHub) -> None:
    add_run(github)
    github.commit_as("kim", "main", {"a.txt": "later\n"})
    assert origin(github) == RunOrigin(Origin.REVIEWED, "main", BY_SESSION_NAME)


def test_a_run_of_a_merged_branch_or_of_a_tag_on_the_base_is_trusted(github: FakeGitHub) -> None:
    add_run(github, "v1.2.0", head_sha=github.head("main"))
    assert origin(github).origin is Origin.REVIEWED


def test_a_run_of_an_unprotected_branch_is_not_trusted(github: FakeGitHub) -> None:
    github.commit_as("kim", "feature/x", {"b.txt": "x"})
    add_run(github, "feature/x")
    assert origin(github) == RunOrigin(
        Origin.UNREVIEWED, "the branch feature/x, which is not protected"
    )
    github.protect("feature/x")
    assert origin(github) == RunOrigin(Origin.REVIEWED, "feature/x", BY_SESSION_NAME)


def test_a_tag_with_the_name_of_a_protected_branch_is_not_trusted(github: FakeGitHub) -> None:
    sha = github.commit_as("kim", "feature/x", {"b.txt": "x"})
    github.commit_as("kim", "release", {"c.txt": "x"})
    github.protect("release")
    add_run(github, "release", head_sha=sha)
    assert origin(github).origin is Origin.UNREVIEWED


def test_another_base_trusts_its_own_commits(github: FakeGitHub) -> None:
    github.commit_as("kim", "release", {"c.txt": "x"})
    add_run(github, "release")
    assert origin(github).origin is Origin.UNREVIEWED
    assert origin(github, base="release") == RunOrigin(Origin.REVIEWED, "release", BY_SESSION_NAME)


@pytest.mark.parametrize(
    "event", ["pull_request", "pull_request_target", "pull_request_review", "issue_comment"]
)
def test_a_run_that_others_can_start_is_not_trusted_whatever_its_commit(
    github: FakeGitHub, event: str
) -> None:
    add_run(github, "main", event)
    assert origin(github).origin is Origin.UNREVIEWED


def test_a_run_started_by_another_run_has_an_unknown_commit(github: FakeGitHub) -> None:
    add_run(github, "main", "workflow_run")
    assert origin(github).origin is Origin.UNKNOWN


def test_a_fork_s_branch_of_the_same_name_is_not_the_base(github: FakeGitHub) -> None:
    add_run(github, "main", head_repository="eve/orders")
    assert origin(github) == RunOrigin(Origin.UNREVIEWED, "a fork")


@pytest.mark.parametrize("late", [timedelta(days=1), timedelta(hours=-3)])
def test_a_run_id_used_at_another_time_is_not_trusted(github: FakeGitHub, late: timedelta) -> None:
    add_run(github)
    assert origin(github, late=late).origin is Origin.UNREVIEWED


def test_an_unfinished_run_has_no_end(github: FakeGitHub) -> None:
    add_run(github, status="in_progress", conclusion=None)
    assert origin(github, late=timedelta(hours=5)).origin is Origin.REVIEWED


@pytest.mark.parametrize("session", ["43", "codebuild-7", "", "\u0664\u0662"])
def test_a_run_that_github_does_not_have_is_unknown(github: FakeGitHub, session: str) -> None:
    add_run(github)
    assert origin(github, session).origin is Origin.UNKNOWN


def test_without_actions_read_the_origin_is_unknown_and_the_permission_is_named(
    github: FakeGitHub,
) -> None:
    add_run(github)
    token = github.token_for("github-actions[bot]", {"metadata": "read", "contents": "read"})
    run_origin = (
        repository_for(github, token)
        .origin_lookup("")
        .by_workflow_run(Run("42", "42", START, START))
    )
    assert run_origin.origin is Origin.UNKNOWN
    assert "actions: read" in run_origin.where


def test_commits_and_branches_are_requested_once(github: FakeGitHub) -> None:
    sha = github.commit_as("kim", "feature/x", {"b.txt": "x"})
    for number in range(42, 47):
        github.add_run(number, "feature/x", head_sha=sha, created_at=CREATED, updated_at=ENDED)
    ask = repository_for(github).origin_lookup("").by_workflow_run
    before = len(github.requests)
    for number in range(42, 47):
        ask(Run(str(number), str(number), START, START))
    # The runs, the list of the runs of the base, a branch twice and a commit.
    assert len(github.requests) - before == 5 + 1 + 3


PROVIDER = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"


def login_origin(
    github: FakeGitHub, subject: str, session: str = "42", provider: str = PROVIDER
) -> RunOrigin:
    run = Run(
        session,
        session,
        START,
        START + timedelta(minutes=5),
        identity=WebIdentity(provider, subject),
    )
    return repository_for(github).origin_lookup("").by_workflow_run(run)


def test_a_login_and_a_run_of_the_base_prove_the_branch(github: FakeGitHub) -> None:
    add_run(github)
    assert login_origin(github, "repo:acme/orders:ref:refs/heads/main") == RunOrigin(
        Origin.REVIEWED, "main"
    )


def test_a_subject_with_the_ids_of_the_owner_and_the_repository_proves_the_branch(
    github: FakeGitHub,
) -> None:
    add_run(github)
    repository = repository_for(github)._connection.repository
    owner_and_repository = f"acme@{repository.owner.id}/orders@{repository.id}"
    assert login_origin(github, f"repo:{owner_and_repository}:ref:refs/heads/main") == RunOrigin(
        Origin.REVIEWED, "main"
    )
    assert (
        login_origin(github, f"repo:{owner_and_repository}:pull_request").origin
        is Origin.UNREVIEWED
    )
    assert (
        login_origin(github, f"repo:{owner_and_repository}0:ref:refs/heads/main").origin
        is Origin.UNREVIEWED
    )


def test_a_branch_that_borrows_the_id_of_a_run_of_the_base_is_not_trusted(
    github: FakeGitHub,
) -> None:
    add_run(github)
    run_origin = login_origin(github, "repo:acme/orders:ref:refs/heads/feature/x")
    assert (run_origin.origin, "feature/x" in run_origin.where) == (Origin.UNREVIEWED, True)


@pytest.mark.parametrize("session", ["42", "deploy"])
def test_the_login_of_a_pull_request_is_not_trusted(github: FakeGitHub, session: str) -> None:
    add_run(github)
    assert (
        login_origin(github, "repo:acme/orders:pull_request", session).origin is Origin.UNREVIEWED
    )


@pytest.mark.parametrize(
    ("subject", "provider"),
    [
        ("repo:acme/orders:ref:refs/heads/main", f"{PROVIDER}.eve"),
        (
            "repo:acme/orders:ref:refs/heads/main",
            "arn:aws:iam::1:oidc-provider/eve/_services/token",
        ),
        ("ref:refs/heads/main", PROVIDER),
        ("repo:acme/orders:ref:refs/heads/main", f"saml:{PROVIDER}"),
        ("repo:acme/orders:ref:refs/heads/main", "saml:token.actions.githubusercontent.com"),
        (
            "repo:acme/orders:ref:refs/heads/main",
            "https://eve/oidc-provider/token.actions.githubusercontent.com",
        ),
    ],
)
def test_the_login_of_another_provider_or_of_a_hidden_repository_is_unknown(
    github: FakeGitHub, subject: str, provider: str
) -> None:
    add_run(github)
    assert login_origin(github, subject, provider=provider).origin is Origin.UNKNOWN


@pytest.mark.parametrize(
    "subject", ["repo:eve/orders:ref:refs/heads/main", "repo:acme@1/orders@2:ref:refs/heads/main"]
)
def test_the_login_of_another_repository_is_unreviewed(github: FakeGitHub, subject: str) -> None:
    """Also of a repository that was made under the same name: its id differs."""
    add_run(github)
    run_origin = login_origin(github, subject)
    assert (run_origin.origin, "repository" in run_origin.where) == (Origin.UNREVIEWED, True)


def test_a_login_by_environment_leaves_the_session_name_as_the_only_sign_of_the_branch(
    github: FakeGitHub,
) -> None:
    add_run(github)
    run_origin = login_origin(github, "repo:acme/orders:environment:production")
    assert run_origin == RunOrigin(Origin.REVIEWED, "main", BY_SESSION_NAME)


def test_a_login_without_a_workflow_run_is_judged_by_its_branch_and_marked(
    github: FakeGitHub,
) -> None:
    main = login_origin(github, "repo:acme/orders:ref:refs/heads/main", "deploy")
    assert main == RunOrigin(Origin.REVIEWED, "main", BY_LOGIN)
    assert (
        login_origin(github, "repo:acme/orders:ref:refs/heads/x", "deploy").origin
        is Origin.UNREVIEWED
    )
    assert (
        login_origin(github, "repo:acme/orders:ref:refs/tags/v1", "deploy").origin is Origin.UNKNOWN
    )


def test_a_tag_with_the_name_of_the_base_proves_nothing(github: FakeGitHub) -> None:
    """Its login has the name of the branch, and the session the id of a run of the branch."""
    add_run(github)
    assert login_origin(github, "repo:acme/orders:ref:refs/tags/main") == RunOrigin(
        Origin.REVIEWED, "main", BY_SESSION_NAME
    )


def test_a_moved_tag_proves_nothing(github: FakeGitHub) -> None:
    add_run(github, "v1.2.0", head_sha=github.head("main"))
    run_origin = login_origin(github, "repo:acme/orders:ref:refs/tags/v1.2.0")
    assert run_origin == RunOrigin(Origin.REVIEWED, "main", BY_SESSION_NAME)


def test_the_login_of_an_unprotected_branch_is_unreviewed_whatever_commit_its_run_names(
    github: FakeGitHub,
) -> None:
    """Its first run is of the base's commit; a later commit borrows the id of that run."""
    add_run(github, "feature/x", head_sha=github.head("main"))
    github.commit_as("kim", "feature/x", {"b.txt": "x"})
    run_origin = login_origin(github, "repo:acme/orders:ref:refs/heads/feature/x")
    assert run_origin == RunOrigin(
        Origin.UNREVIEWED, "the branch feature/x, which is not protected"
    )


@pytest.mark.parametrize(
    ("subject", "refs", "reviewed"),
    [
        ("ref:refs/heads/staging", ("staging",), True),
        ("ref:refs/heads/release/1.2", ("release/*",), True),
        ("ref:refs/heads/staging-2", ("staging",), False),
        ("ref:refs/tags/v1", ("refs/tags/v*",), True),
        ("environment:production", ("environment:production",), True),
        ("environment:preview", ("environment:production",), False),
        ("pull_request", ("*", "environment:*"), False),
        ("ref:refs/pull/7/merge", ("*", "refs/*"), False),
    ],
)
def test_reviewed_refs_name_further_refs_and_environments(
    github: FakeGitHub, subject: str, refs: tuple[str, ...], reviewed: bool
) -> None:
    identity = WebIdentity(PROVIDER, f"repo:acme/orders:{subject}")
    run = Run("deploy", "deploy", START, START, identity=identity)
    lookup = repository_for(github).origin_lookup("", refs)
    by_login = lookup.by_login(run)
    assert (by_login is not None and by_login.origin is Origin.REVIEWED) is reviewed
    assert (lookup.by_workflow_run(run).origin is Origin.REVIEWED) is reviewed


def test_a_run_of_a_branch_of_reviewed_refs_is_reviewed_by_its_session_name(
    github: FakeGitHub,
) -> None:
    github.commit_as("kim", "staging", {"b.txt": "x"})
    add_run(github, "staging")
    run = Run("42", "42", START, START)
    assert repository_for(github).origin_lookup("").by_workflow_run(run).origin is Origin.UNREVIEWED
    run_origin = repository_for(github).origin_lookup("", ("staging",)).by_workflow_run(run)
    assert run_origin == RunOrigin(Origin.REVIEWED, "staging", BY_SESSION_NAME)


def test_the_branches_of_many_previews_cost_a_limited_number_of_requests(
    github: FakeGitHub,
) -> None:
    lookup = repository_for(github).origin_lookup("")
    before = len(github.requests)
    origins = []
    for number in range(40):
        subject = f"repo:acme/orders:ref:refs/heads/preview-{number}"
        identity = WebIdentity(PROVIDER, subject)
        run_origin = lookup.by_login(Run("deploy", "deploy", START, START, identity=identity))
        assert run_origin is not None
        origins.append(run_origin.origin)
    assert origins == [Origin.UNREVIEWED] * 30 + [Origin.UNKNOWN] * 10
    assert len(github.requests) - before == 30


def test_a_pull_request_target_job_does_not_pass_as_a_push_run_beside_it(
    github: FakeGitHub,
) -> None:
    """Its login names the base branch, and its session the id of the push run."""
    add_run(github)
    subject = "repo:acme/orders:ref:refs/heads/main"
    assert login_origin(github, subject).origin is Origin.REVIEWED
    github.add_run(43, "main", "pull_request_target", created_at=CREATED, updated_at=ENDED)
    for session in ("42", "deploy"):
        run_origin = login_origin(github, subject, session)
        assert (run_origin.origin, "pull_request_target" in run_origin.where) == (
            Origin.UNKNOWN,
            True,
        )
    assert login_origin(github, subject, "43").origin is Origin.UNREVIEWED


def test_a_pull_request_target_run_at_another_time_lowers_nothing(github: FakeGitHub) -> None:
    add_run(github)
    github.add_run(
        43,
        "main",
        "pull_request_target",
        created_at="2026-11-03T07:00:00Z",
        updated_at="2026-11-03T07:20:00Z",
    )
    subject = "repo:acme/orders:ref:refs/heads/main"
    assert login_origin(github, subject) == RunOrigin(Origin.REVIEWED, "main")


def test_a_session_that_begins_after_its_workflow_run_is_unreviewed(github: FakeGitHub) -> None:
    add_run(github)
    assert origin(github, late=timedelta(minutes=10)).origin is Origin.REVIEWED
    assert origin(github, late=timedelta(minutes=40)).origin is Origin.UNREVIEWED
    assert origin(github, late=timedelta(minutes=-30)).origin is Origin.UNREVIEWED


def test_a_new_branch_that_a_rule_protects_is_marked(github: FakeGitHub) -> None:
    """Who creates `release/evil` under a rule for `release/*` pushes its first commits without a
    review.
    """
    github.commit_as("kim", "release/evil", {"c.txt": "x"})
    github.protect("release/evil")
    add_run(github, "release/evil")
    subject = "repo:acme/orders:ref:refs/heads/release/evil"
    assert login_origin(github, subject) == RunOrigin(Origin.REVIEWED, "release/evil", OTHER_BRANCH)
    assert login_origin(github, subject, "deploy") == RunOrigin(
        Origin.REVIEWED, "release/evil", OTHER_BRANCH
    )


def test_each_attempt_of_a_run_has_its_own_time(github: FakeGitHub) -> None:
    """A session between two attempts, months apart, belongs to neither."""
    again, ended = "2027-01-20T08:59:00Z", "2027-01-20T09:20:00Z"
    earlier = {1: (CREATED, ENDED)}
    github.add_run(
        42, created_at=CREATED, updated_at=ended, attempt=2, started_at=again, earlier=earlier
    )
    later = START.replace(year=2027, month=1, day=20)
    between = START.replace(month=12)
    assert origin(github).origin is Origin.REVIEWED
    assert origin(github, late=between - START).origin is Origin.UNREVIEWED
    two_periods = Run("42", "42", START, later, periods=((START, START), (later, later)))
    assert (
        repository_for(github).origin_lookup("").by_workflow_run(two_periods).origin
        is Origin.REVIEWED
    )
    three = Run(
        "42", "42", START, later, periods=((START, START), (between, between), (later, later))
    )
    assert (
        repository_for(github).origin_lookup("").by_workflow_run(three).origin is Origin.UNREVIEWED
    )


def test_many_runs_and_commits_of_the_base_are_listed_together(github: FakeGitHub) -> None:
    runs = []
    for number in range(30):
        start = START - timedelta(days=number)
        sha = github.commit_as("kim", "main", {"a.txt": f"{number}\n"})
        created, ended = start - timedelta(minutes=1), start + timedelta(minutes=20)
        times = {
            "created_at": f"{created:%Y-%m-%dT%H:%M:%SZ}",
            "updated_at": f"{ended:%Y-%m-%dT%H:%M:%SZ}",
        }
        github.add_run(1_000 + number, head_sha=sha, **times)
        session = str(1_000 + number)
        runs.append(Run(session, session, start, start + timedelta(minutes=5)))
    lookup = repository_for(github).origin_lookup("")
    before = len(github.requests)
    reviewed = RunOrigin(Origin.REVIEWED, "main", BY_SESSION_NAME)
    assert [lookup.by_workflow_run(run) for run in runs] == [reviewed] * 30
    assert len(github.requests) - before <= 8, [
        request.path for request in github.requests[before:]
    ]
    # Runs of other branches are not in the list.
    github.commit_as("kim", "feature/x", {"b.txt": "x"})
    add_run(github, "feature/x")
    origin_of_branch = lookup.by_workflow_run(Run("42", "42", START, START))
    assert origin_of_branch.origin is Origin.UNREVIEWED


def test_a_token_that_may_read_no_run_is_not_asked_again(github: FakeGitHub) -> None:
    token = github.token_for("github-actions[bot]", {"metadata": "read", "contents": "read"})
    lookup = repository_for(github, token).origin_lookup("")
    before = len(github.requests)
    for number in range(20):
        session = str(100 + number)
        run_origin = lookup.by_workflow_run(Run(session, session, START, START))
        assert "actions: read" in run_origin.where
    assert len(github.requests) - before == 1
