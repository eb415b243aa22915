"""The runner's context is read correctly, and paths of inputs remain inside the workspace."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.errors import InputError
from leastpriv.github_actions.context import (
    PullRequestEvent,
    Runner,
    is_from_fork,
    repository_path,
)

SERVER = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_WORKSPACE": "/github/workspace",
    "GITHUB_REPOSITORY": "octo/infra",
    "GITHUB_RUN_ID": "17650233411",
    "GITHUB_SERVER_URL": "https://ghe.example.org",
    "GITHUB_API_URL": "https://ghe.example.org/api/v3",
    "GITHUB_GRAPHQL_URL": "https://ghe.example.org/api/graphql",
    "GITHUB_OUTPUT": "/github/file_commands/output",
    "RUNNER_DEBUG": "1",
}


def pull_request(head: object, base: object = "octo/infra") -> dict[str, object]:
    """Return the part of a pull request event that names its repositories."""
    repo = None if head is None else {"full_name": head}
    return {"pull_request": {"head": {"repo": repo}, "base": {"repo": {"full_name": base}}}}


def test_the_context_is_read_from_the_environment() -> None:
    runner = Runner.from_environment(SERVER)
    assert runner.in_actions
    assert runner.debug
    assert runner.workspace == Path("/github/workspace")
    assert runner.output_file == Path("/github/file_commands/output")
    assert runner.summary_file is None
    assert runner.run_url == "https://ghe.example.org/octo/infra/actions/runs/17650233411"
    assert runner.api_url == SERVER["GITHUB_API_URL"]


def test_an_empty_environment_is_outside_actions_in_the_current_folder() -> None:
    runner = Runner.from_environment({"GITHUB_OUTPUT": ""})
    assert not runner.in_actions
    assert (runner.workspace, runner.output_file, runner.run_url) == (Path(), None, "")
    assert runner.api_url == "https://api.github.com"
    assert runner.read_event() == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe\x00", b'"x"', b"[" * 100_000],
    ids=["empty", "cut off", "a list", "no UTF-8", "a text", "deep"],
)
def test_a_malformed_event_is_an_error_only_when_it_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "event.json").write_bytes(content)
    runner = Runner.from_environment({"GITHUB_EVENT_PATH": str(tmp_path / "event.json")})
    with pytest.raises(InputError, match=r"event\.json \(GITHUB_EVENT_PATH\)"):
        runner.read_event()


def test_an_event_that_is_no_file_of_github_is_refused(tmp_path: Path) -> None:
    """A pipe has no writer, a device no end, and no event is that long."""
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "long").open("wb") as file:
        file.write(b'{"a": "')
        file.seek(65 * 1024**2)
        file.write(b'"}')
    for event in (tmp_path / "pipe", tmp_path / "long", Path("/dev/zero"), tmp_path):
        runner = Runner.from_environment({"GITHUB_EVENT_PATH": str(event)})
        with pytest.raises(InputError, match="GITHUB_EVENT_PATH"):
            runner.read_event()


@pytest.mark.parametrize(
    "changed",
    [
        {"number": -1},
        {"number": True},
        {"number": 10**30},
        {"base": {"sha": "../../../../user"}},
        {"head": {"sha": "main?ref=other#"}},
        {"head": {"sha": "--upload-pack=x"}},
        {"head": {"sha": "A" * 40}},
        {"head": {"sha": "\ud800" * 40}},
    ],
    ids=str,
)
def test_an_event_names_a_pull_request_by_number_and_commits(
    changed: Mapping[str, object], tmp_path: Path
) -> None:
    """Both become parts of addresses of GitHub's API."""
    pull = {"number": 7, "base": {"sha": "a" * 40}, "head": {"sha": "b" * 64}}
    file = tmp_path / "event.json"
    runner = Runner.from_environment({"GITHUB_EVENT_PATH": str(file)})
    file.write_text(json.dumps({"pull_request": pull}))
    assert runner.pull_request_event() == PullRequestEvent(7, "a" * 40, "b" * 64)
    file.write_text(json.dumps({"pull_request": {**pull, **changed}}))
    with pytest.raises(InputError, match="needs an event of a pull request"):
        runner.pull_request_event()


OF_MAIN = {"repository": {"default_branch": "main"}}
FOLLOWED = {
    "event": "push",
    "head_branch": "main",
    "head_repository": {"full_name": "octo/infra"},
}


def followed(**changed: object) -> dict[str, object]:
    """Return the event of a run that follows one of `main`, with changes."""
    return {**OF_MAIN, "workflow_run": {**FOLLOWED, **changed}}


@pytest.mark.parametrize(
    ("name", "event", "variables", "unreviewed"),
    [
        ("schedule", {"schedule": "0 3 * * 1"}, {}, False),
        ("push", OF_MAIN, {"GITHUB_REF": "refs/heads/main"}, False),
        ("push", OF_MAIN, {"GITHUB_REF": "refs/tags/v1"}, False),
        ("push", OF_MAIN, {"GITHUB_REF": "refs/heads/feature"}, True),
        (
            "push",
            OF_MAIN,
            {"GITHUB_REF": "refs/heads/release/1", "GITHUB_REF_PROTECTED": "true"},
            False,
        ),
        ("workflow_dispatch", OF_MAIN, {"GITHUB_REF": "refs/heads/feature"}, True),
        ("deployment_status", OF_MAIN, {"GITHUB_REF": ""}, True),
        ("deployment_status", OF_MAIN, {"GITHUB_REF": "refs/heads/main"}, False),
        ("pull_request", pull_request("octo/infra"), {}, True),
        ("pull_request_target", pull_request("mallory/infra"), {}, True),
        ("issue_comment", {**OF_MAIN, "issue": {"pull_request": {"url": "x"}}}, {}, True),
        ("issue_comment", {**OF_MAIN, "issue": {"number": 1}}, {}, False),
        ("workflow_run", followed(), {}, False),
        ("workflow_run", followed(event="pull_request"), {}, True),
        ("workflow_run", followed(event="pull_request_target"), {}, True),
        ("workflow_run", followed(head_branch="feature"), {}, True),
        ("workflow_run", followed(head_repository={"full_name": "mallory/infra"}), {}, True),
        ("workflow_run", followed(head_repository=None), {}, True),
        ("workflow_run", followed(event=None), {}, True),
    ],
)
def test_only_code_of_a_reviewed_branch_declares_needs(
    name: str,
    event: Mapping[str, object],
    variables: Mapping[str, str],
    unreviewed: bool,
    tmp_path: Path,
) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event))
    runner = Runner.from_environment(
        {
            **SERVER,
            "GITHUB_EVENT_PATH": str(file),
            "GITHUB_EVENT_NAME": name,
            "GITHUB_REF": "refs/heads/main",
            **variables,
        }
    )
    assert runner.may_have_unreviewed_code("") is unreviewed
    assert runner.may_have_unreviewed_code("main") is unreviewed


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("issue_comment", {**OF_MAIN, "issue": {"pull_request": {"url": "x"}}}),
        ("workflow_run", followed(event="pull_request")),
    ],
)
def test_a_run_after_a_pull_request_declares_needs_by_the_commit_of_the_base_alone(
    name: str, event: Mapping[str, object], tmp_path: Path
) -> None:
    """GITHUB_SHA is the last commit of the default branch; a step may check the head out."""
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event))
    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    runner = Runner.from_environment(
        {
            **SERVER,
            "GITHUB_WORKSPACE": str(tmp_path),
            "GITHUB_EVENT_PATH": str(file),
            "GITHUB_EVENT_NAME": name,
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_SHA": "a" * 40,
        }
    )
    unreviewed: list[bool] = []
    for head, commit in (("a" * 40, ""), ("b" * 40, ""), ("ref: refs/heads/main", "a" * 40)):
        (git / "HEAD").write_text(f"{head}\n")
        (git / "refs/heads/main").write_text(f"{commit}\n")
        unreviewed.append(runner.may_have_unreviewed_code(""))
    assert unreviewed == [False, True, False]


def test_the_address_of_a_run_holds_braces_as_they_are() -> None:
    environment = {"GITHUB_REPOSITORY": "a/{0.x}", "GITHUB_SERVER_URL": "https://{run}"}
    runner = Runner.from_environment({**environment, "GITHUB_RUN_ID": "5"})
    assert runner.run_url == "https://{run}/a/{0.x}/actions/runs/5"


def test_no_link_of_the_checkout_leads_the_proposal_elsewhere(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    runner = Runner.from_environment({"GITHUB_WORKSPACE": str(checkout)})
    assert runner.output_folder == checkout / "leastpriv"
    (checkout / "leastpriv").symlink_to(tmp_path)
    with pytest.raises(InputError, match="leads out of the repository"):
        _ = runner.output_folder


def test_a_missing_event_file_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json"):
        Runner.from_environment({"GITHUB_EVENT_PATH": str(tmp_path / "none.json")}).read_event()


@pytest.mark.parametrize(
    ("event", "fork"),
    [
        (pull_request("octo/infra"), False),
        (pull_request("mallory/infra"), True),
        (pull_request(None), True),
        ({"pull_request": {}}, True),
        ({"pull_request": "x"}, False),
        ({"schedule": "0 5 * * 1"}, False),
        ({}, False),
    ],
)
def test_a_pull_request_from_another_or_a_deleted_repository_is_from_a_fork(
    event: dict[str, object], fork: bool
) -> None:
    assert is_from_fork(event) is fork


def test_runs_of_forks_and_dependabot_have_a_read_only_token(tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps(pull_request("mallory/infra")))
    assert Runner.from_environment({"GITHUB_EVENT_PATH": str(event)}).has_read_only_token()
    assert Runner.from_environment(
        {"GITHUB_ACTOR": "dependabot[bot]", "GITHUB_EVENT_NAME": "push"}
    ).has_read_only_token()
    assert not Runner.from_environment(SERVER).has_read_only_token()


@pytest.mark.parametrize(
    ("value", "path"),
    [("iam/x.json", "iam/x.json"), ("./iam//x.json", "iam/x.json"), ("a..b", "a..b")],
)
def test_a_path_inside_the_workspace_is_accepted_whether_or_not_it_exists(
    tmp_path: Path, value: str, path: str
) -> None:
    assert (
        repository_path(tmp_path, value, "policy-file").relative_to(tmp_path.resolve()).as_posix()
        == path
    )


OUTSIDE = (
    "..",
    "../x",
    "iam/../../x",
    "iam/..",
    "in/../../x",
    ".",
    "/etc/passwd",
    "out/x.json",
    "out",
    "loop/x",
)
UNFIT = ("", "a\0b", "a\nb", "a\u202eb", ".git/config", "x/.GIT/hooks/x")


@pytest.mark.parametrize("value", OUTSIDE + UNFIT)
def test_a_path_that_leaves_the_workspace_is_an_error_that_names_the_input(
    tmp_path: Path, value: str
) -> None:
    workspace = tmp_path / "workspace"
    (workspace / "iam").mkdir(parents=True)
    (workspace / "out").symlink_to(tmp_path)
    (workspace / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="The input policy-file is"):
        repository_path(workspace, value, "policy-file")


def test_a_link_inside_the_workspace_is_followed(tmp_path: Path) -> None:
    (tmp_path / "iam").mkdir()
    (tmp_path / "link").symlink_to("iam")
    assert (
        repository_path(tmp_path, "link/x.json", "policy-file")
        == tmp_path.resolve() / "link" / "x.json"
    )


@given(
    st.lists(
        st.sampled_from(["..", ".", "a", "/", "b.json", "~", "$HOME", "\\", "C:"]), max_size=6
    ).map("/".join)
)
def test_every_accepted_path_is_inside(value: str) -> None:
    workspace = Path("/nonexistent/workspace")
    try:
        path = repository_path(workspace, value, "policy-file")
    except InputError:
        return
    assert path.resolve().is_relative_to(workspace)
    assert path != workspace
