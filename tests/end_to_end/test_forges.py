"""The recipes for GitLab and Jenkins, run as written against a bare repository.

On this machine `pip` does nothing, and `leastpriv` is this checkout. In a container without Docker
`pip` installs the commit of this checkout. A folder of records is in place of event history, and
GitLab's API is a server on this machine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from ruamel.yaml import YAML

from tests.end_to_end.containers import CannotRunError, Engine
from tests.fakes.deploys import POLICY, ROLE, usual_deploys, write_trail

ROOT = Path(__file__).parents[2]
BRANCH = "leastpriv/ci-deploy"
LEASTPRIV = """#!{python}
import sys
from leastpriv.cli.main import console_main

sys.argv[1:] = [{{"event-history": {trail!r}, {written!r}: {role!r}}}.get(each, each) for each in sys.argv[1:]]
sys.exit(console_main())
"""
GITLAB = {
    "CI_PROJECT_ID": "7",
    "CI_DEFAULT_BRANCH": "main",
    "CI_SERVER_HOST": "gitlab.example",
    "CI_PROJECT_PATH": "acme/shop",
    "PUSH_TOKEN": "push-token",
    "TOKEN": "oidc",
    "BRANCH": BRANCH,
    "POLICY": "iam/ci-deploy.json",
}
"""Variables of a job on GitLab, but for the address of its API."""
_JOB_SECONDS = 540
WRITTEN_ROLE = "arn:aws:iam::123456789012:role/ci-deploy"
pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a bare repository, programs in `bin` and records."""
    for name in ("bin", "home"):
        (tmp_path / name).mkdir()
    write_trail(tmp_path / "records", usual_deploys())
    files = {
        "pip": "#!/bin/sh\n",
        "leastpriv": LEASTPRIV.format(
            python=sys.executable,
            trail=str(tmp_path / "records"),
            written=WRITTEN_ROLE,
            role=ROLE,
        ),
    }
    for name, text in files.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    bare = tmp_path / "shop.git"
    run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare), cwd=tmp_path)
    run("git", "clone", "--quiet", str(bare), "first", cwd=tmp_path)
    (tmp_path / "first/iam").mkdir()
    (tmp_path / "first/iam/ci-deploy.json").write_text(json.dumps(POLICY, indent=2) + "\n")
    run("git", "add", ".", cwd=tmp_path / "first")
    run("git", "commit", "--quiet", "--message", "Begin", cwd=tmp_path / "first")
    run("git", "push", "--quiet", "origin", "HEAD:main", cwd=tmp_path / "first")
    return tmp_path


def run(*command: str, cwd: Path, **variables: str) -> str:
    identity = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Kim"), ("EMAIL", "kim@example.com"))
    }
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **identity, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def job(place: Path, name: str, script: str, **variables: str) -> Path:
    """Run a job's script in a clone as a runner prepares it, without a branch; return the clone.

    A clone of an earlier job is used again, and keeps its branches and untracked files.
    """
    clone = place / name
    if clone.exists():
        run("git", "fetch", "--quiet", "--prune", "origin", cwd=clone)
        run("git", "checkout", "--quiet", "--force", "--detach", "origin/main", cwd=clone)
    else:
        run("git", "clone", "--quiet", str(place / "shop.git"), name, cwd=place)
        run("git", "checkout", "--quiet", "--detach", cwd=clone)
    run(
        "bash",
        "-e",
        "-c",
        script,
        cwd=clone,
        PATH=f"{place / 'bin'}:{os.environ['PATH']}",
        PYTHONPATH=str(ROOT),
        HOME=str(place / "home"),
        **variables,
    )
    return clone


@dataclass(frozen=True, slots=True)
class Container:
    """Runs jobs in the image of another forge's runner."""

    engine: Engine
    image: str

    def job(self, place: Path, name: str, script: str, **variables: str) -> Path:
        """Run a job's script in a container, in a new clone; return the clone."""
        clone = place / name
        run("git", "clone", "--quiet", str(place / "shop.git"), name, cwd=place)
        run("git", "checkout", "--quiet", "--detach", cwd=clone)
        commit = run("git", "rev-parse", "HEAD", cwd=ROOT).strip()
        texts = {
            "event-history": str(place / "records"),
            WRITTEN_ROLE: ROLE,
            "<commit>": commit,
        }
        for written, text in texts.items():
            script = script.replace(written, text)
        given = {"HOME": str(place / "home"), **variables}
        options = [f"--env={variable}={value}" for variable, value in given.items()]
        self.engine.podman(
            "run", "--rm", "--network=host", f"--volume={place}:{place}", *options,
            f"--workdir={clone}", self.image, "bash", "-e", "-c", script,
            seconds=_JOB_SECONDS,
        )  # fmt: skip
        return clone


@pytest.fixture(scope="module")
def container() -> Container:
    """The image, built."""
    try:
        engine = Engine.start()
        return Container(engine, engine.build_forge())
    except CannotRunError as error:
        pytest.skip(f"NO CONTAINER CAN BE BUILT HERE, so no recipe runs in one: {error}")


@pytest.fixture
def source(place: Path) -> Path:
    """The place, where git finds this repository under the address that the recipes name."""
    run("git", "clone", "--quiet", "--bare", str(ROOT), "action.git", cwd=place)
    address = "https://github.com/org/leastpriv-action"
    run("git", "config", "--global", f"url.{place / 'action.git'}.insteadOf", address, cwd=place,
        HOME=str(place / "home"))  # fmt: skip
    return place


def test_gitlab_runs_in_a_container(source: Path, container: Container) -> None:
    address = "https://oauth2:push-token@gitlab.example/acme/shop.git"
    run("git", "config", "--global", f"url.{source / 'shop.git'}.insteadOf", address, cwd=source,
        HOME=str(source / "home"))  # fmt: skip
    with gitlab() as (api, merge_requests, requests):
        variables = {**GITLAB, "CI_API_V4_URL": api}
        clone = container.job(source, "one", gitlab_script(), **variables)
        assert json.loads(proposed(source)) != POLICY
        [merge_request] = merge_requests
        assert merge_request["description"] == (clone / "body.md").read_text()
        assert [method for method, _ in requests] == ["GET", "GET", "POST"]


def test_jenkins_runs_in_a_container(source: Path, container: Container) -> None:
    clone = container.job(source, "one", jenkins_script(), BRANCH=BRANCH)
    assert json.loads(proposed(source)) != POLICY
    assert "recorded" in (clone / "body.md").read_text()


def gitlab_script() -> str:
    """The shell lines of the recipe for GitLab."""
    recipe = YAML(typ="safe", pure=True).load((ROOT / "examples/gitlab-ci.yml").read_text())
    return "\n".join(recipe["least-privilege"]["script"])


def jenkins_script() -> str:
    """The shell lines of the recipe for Jenkins."""
    text = (ROOT / "examples/Jenkinsfile").read_text(encoding="utf-8")
    (script,) = re.findall(r"sh '''(.*?)'''", text, re.DOTALL)
    return str(script)


def proposed(place: Path) -> str:
    return run("git", "show", f"{BRANCH}:iam/ci-deploy.json", cwd=place / "shop.git")


@contextmanager
def gitlab() -> Iterator[tuple[str, list[dict[str, str]], list[tuple[str, str]]]]:
    """GitLab's merge requests; yields the address, what they hold, and the requests."""
    merge_requests: list[dict[str, str]] = []
    requests: list[tuple[str, str]] = []

    class Answers(BaseHTTPRequestHandler):
        def answer(self) -> None:
            requests.append((self.command, self.path))
            assert self.headers["PRIVATE-TOKEN"] == "push-token"
            sent = parse_qs(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())
            fields = {name: values[0] for name, values in sent.items()}
            state = parse_qs(urlsplit(self.path).query).get("state", [""])[0]
            found: object = [
                {"iid": at}
                for at, each in enumerate(merge_requests, start=1)
                if each["state"] == state
            ]
            if self.command == "POST":
                merge_requests.append({**fields, "state": "opened"})
                found = {"iid": 1}
            if self.command == "PUT":
                merge_requests[int(self.path.rpartition("/")[2]) - 1].update(fields)
                found = {"iid": 1}
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = answer  # noqa: N815 - the names of http.server

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api/v4", merge_requests, requests
    server.shutdown()


@pytest.fixture
def on_gitlab(place: Path) -> Path:
    """The place, where GitLab's address leads to the bare repository."""
    address = "https://oauth2:push-token@gitlab.example/acme/shop.git"
    run("git", "config", "--global", f"url.{place / 'shop.git'}.insteadOf", address, cwd=place,
        HOME=str(place / "home"))  # fmt: skip
    return place


def script_in(place: Path) -> str:
    """The recipe for GitLab, with the token's file in the place."""
    return gitlab_script().replace("/tmp/token", str(place / "token"))  # noqa: S108 - of the job


def head(place: Path, branch: str = BRANCH) -> str:
    return run("git", "rev-parse", branch, cwd=place / "shop.git").strip()


def commit_to(place: Path, branch: str, text: str) -> None:
    """Commits a policy as a person, and pushes it."""
    clone = place / "person"
    if not clone.exists():
        run("git", "clone", "--quiet", str(place / "shop.git"), "person", cwd=place)
    run("git", "fetch", "--quiet", "origin", cwd=clone)
    run("git", "checkout", "--quiet", "-B", branch, f"origin/{branch}", cwd=clone)
    (clone / "iam/ci-deploy.json").write_text(text)
    run("git", "commit", "--quiet", "--all", "--message", "Mine", cwd=clone)
    run("git", "push", "--quiet", "origin", branch, cwd=clone)


def wider_policy() -> str:
    """The policy with another grant that no run uses."""
    statement = {"Effect": "Allow", "Action": "sns:DeleteTopic", "Resource": "*"}
    wider = {**POLICY, "Statement": [*POLICY["Statement"], statement]}
    return json.dumps(wider, indent=2) + "\n"


def test_gitlab_opens_one_merge_request_and_renews_it_in_one_workspace(on_gitlab: Path) -> None:
    place = on_gitlab
    script = script_in(place)
    with gitlab() as (api, merge_requests, requests):
        variables = {**GITLAB, "CI_API_V4_URL": api}
        clone = job(place, "one", script, **variables)
        assert json.loads(proposed(place)) != POLICY
        [merge_request] = merge_requests
        title = run("git", "log", "-1", "--format=%s", BRANCH, cwd=place / "shop.git").strip()
        assert merge_request["title"] == title
        assert merge_request["description"] == (clone / "body.md").read_text()
        assert "recorded" in merge_request["description"]
        assert merge_request["source_branch"] == BRANCH
        assert merge_request["target_branch"] == "main"
        assert [method for method, _ in requests] == ["GET", "GET", "POST"]

        # The same proposal: no push, no request.
        first = head(place)
        job(place, "one", script, **variables)
        assert head(place) == first
        assert len(requests) == 3

        # A wider policy on main: the same merge request has the new proposal.
        commit_to(place, "main", wider_policy())
        job(place, "one", script, **variables)
        assert head(place) != first
        assert [method for method, _ in requests[3:]] == ["GET", "GET", "PUT"]
        assert len(merge_requests) == 1

        # A person's commit remains, and so does the text of the merge request.
        commit_to(place, BRANCH, "{}\n")
        job(place, "one", script, **variables)
        assert proposed(place) == "{}\n"
        assert len(requests) == 6


def test_gitlab_opens_no_merge_request_that_was_merged_or_declined(on_gitlab: Path) -> None:
    place = on_gitlab
    script = script_in(place)
    bare = place / "shop.git"
    with gitlab() as (api, merge_requests, requests):
        variables = {**GITLAB, "CI_API_V4_URL": api}
        job(place, "one", script, **variables)
        run("git", "update-ref", "refs/merge-requests/1/head", head(place), cwd=bare)
        run("git", "update-ref", "-d", f"refs/heads/{BRANCH}", cwd=bare)
        merge_requests[0]["state"] = "closed"
        job(place, "one", script, **variables)
        job(place, "two", script, **variables)
        assert len(merge_requests) == 1
        assert "POST" not in [method for method, _ in requests[3:]]
        assert BRANCH not in run("git", "branch", "--list", cwd=bare)

        # Another proposal is not declined.
        commit_to(place, "main", wider_policy())
        job(place, "one", script, **variables)
        assert [each["state"] for each in merge_requests] == ["closed", "opened"]

        merge_requests[1]["state"] = "merged"
        run("git", "update-ref", "refs/heads/main", head(place), cwd=bare)
        run("git", "update-ref", "-d", f"refs/heads/{BRANCH}", cwd=bare)
        before = len(requests)
        job(place, "one", script, **variables)
        assert len(requests) == before
        assert BRANCH not in run("git", "branch", "--list", cwd=bare)


def test_gitlab_overwrites_no_commit_that_is_pushed_during_the_job(on_gitlab: Path) -> None:
    place = on_gitlab
    script = script_in(place)
    with gitlab() as (api, _, requests):
        variables = {**GITLAB, "CI_API_V4_URL": api}
        job(place, "one", script, **variables)
        commit_to(place, "main", wider_policy())
        # The commit is on its way while the job reads records.
        run("git", "checkout", "--quiet", "-B", BRANCH, f"origin/{BRANCH}", cwd=place / "person")
        (place / "person/iam/ci-deploy.json").write_text("{}\n")
        run("git", "commit", "--quiet", "--all", "--message", "Mine", cwd=place / "person")
        push = f"git -C {place / 'person'} push --quiet origin {BRANCH}\nafter="
        racing = script.replace("after=", push, 1)
        assert racing != script
        with pytest.raises(AssertionError, match="stale info"):
            job(place, "one", racing, **variables)
        assert proposed(place) == "{}\n"
        assert "PUT" not in [method for method, _ in requests]


def test_jenkins_pushes_the_branch_and_keeps_the_text(place: Path) -> None:
    (place / "home/python/bin").mkdir(parents=True)
    for name in ("pip", "leastpriv"):
        (place / "home/python/bin" / name).symlink_to(place / "bin" / name)
    script = jenkins_script().replace('python3 -m venv "$HOME/python"', "")
    for name in ("one", "one", "two"):
        clone = job(place, name, script, BRANCH=BRANCH)
        assert json.loads(proposed(place)) != POLICY
        assert "recorded" in (clone / "body.md").read_text()
    commits = run("git", "rev-list", "--count", f"main..{BRANCH}", cwd=place / "shop.git")
    assert commits.strip() == "1"

    # A person's commit remains; a branch that a person deletes is made from main, without it.
    commit_to(place, BRANCH, "{}\n")
    job(place, "one", script, BRANCH=BRANCH)
    assert proposed(place) == "{}\n"
    run("git", "update-ref", "-d", f"refs/heads/{BRANCH}", cwd=place / "shop.git")
    job(place, "one", script, BRANCH=BRANCH)
    assert json.loads(proposed(place))["Statement"]

    # Of a merged proposal no old text remains.
    run("git", "update-ref", "refs/heads/main", head(place), cwd=place / "shop.git")
    run("git", "update-ref", "-d", f"refs/heads/{BRANCH}", cwd=place / "shop.git")
    text = place / "one/body.md"
    text.write_text("Of another job.")
    job(place, "one", script, BRANCH=BRANCH)
    assert not text.exists() or "Of another job." not in text.read_text()
    assert BRANCH not in run("git", "branch", "--list", cwd=place / "shop.git")
