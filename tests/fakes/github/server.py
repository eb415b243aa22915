"""The fake as tests use it: start it, arrange its state, read the requests."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from tests.fakes.github import branches, contract
from tests.fakes.github.bodies import Bodies
from tests.fakes.github.git_repository import GitRepository
from tests.fakes.github.people import Content, People, as_bytes
from tests.fakes.github.records import Exchange, Token
from tests.fakes.github.routing import Answer
from tests.fakes.github.storage import LogStorage
from tests.fakes.github.web import Desk, Fault, Hook
from tests.fakes.github.world import ACTIONS_BOT, World

DEFAULT_PERMISSIONS: Mapping[str, str] = {
    "metadata": "read", "contents": "write", "pull_requests": "write", "actions": "read",
}  # fmt: skip
SECONDARY_LIMIT = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. If"
    " you reach out to GitHub Support for help, please include the request ID."
)


class QuietHandler(WSGIRequestHandler):
    """Answers without a log on the terminal."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: the exchanges are recorded."""


class FakeGitHub(People):
    """A GitHub with one repository, from entering the context to leaving it.

    Leaving raises AssertionError if a request or an answer violated GitHub's description, unless
    the test emptied `violations` because it intended them.

    Args:
        full_name: Owner and name of the repository.
        login: Owner of `token`: `github-actions[bot]` is a workflow's own token, another `…[bot]`
            an app's, any other a person's.
        permissions: Permissions of `token` for an app, as in a workflow's `permissions` (with
            underscores).
        default_branch: Exists with one commit.
        files: Of that commit.
        prefix: `/api/v3` makes the addresses those of GitHub Enterprise Server.
        clock: Returns the time, with a zone.
    """

    def __init__(
        self,
        full_name: str = "acme/shop",
        *,
        login: str = ACTIONS_BOT,
        permissions: Mapping[str, str] = DEFAULT_PERMISSIONS,
        default_branch: str = "main",
        files: Mapping[str, Content] | None = None,
        prefix: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fake-github-"))
        self.git_dir = self._folder / "repository.git"
        self.world = World(full_name, default_branch, GitRepository(self.git_dir), clock)
        self.default_branch, self._prefix = default_branch, prefix
        self.world.git.create(default_branch)
        self._first_commit(files or {"README.md": f"# {self.world.name}\n"})
        self.token, self.read_only_token = "fake-token-write", "fake-token-read"
        self._tokens = self._first_tokens(login, dict(permissions))
        self._servers: list[BaseWSGIServer] = []
        self._threads: list[threading.Thread] = []

    def _first_tokens(self, login: str, permissions: dict[str, str]) -> dict[str, Token]:
        self.world.account(login)
        if not login.endswith("[bot]"):
            self.world.roles[login] = "write"
        reading = dict.fromkeys(permissions, "read")
        granted = permissions if login.endswith("[bot]") else None
        return {self.token: Token(login, granted), self.read_only_token: Token(login, reading)}

    def _first_commit(self, files: Mapping[str, Content]) -> None:
        git, author = self.world.git, self.world.account("octocat").sign(self.world.now())
        sha = branches.commit_files(
            self.world, None, as_bytes(files), "Begin", author, signed=False
        )
        git.move_ref(f"refs/heads/{self.default_branch}", sha, None)
        self.world.roles["octocat"] = "admin"

    def __enter__(self) -> FakeGitHub:
        storage = self._serve(LogStorage(self.world))
        api = make_server("127.0.0.1", 0, _unready, threaded=True, request_handler=QuietHandler)
        self.server_url = f"http://127.0.0.1:{api.server_port}"
        self.url = self.server_url + self._prefix
        self.graphql_url = self.server_url + self._prefix.removesuffix("/v3") + "/graphql"
        web = self.server_url if self._prefix else "https://github.com"
        bodies = Bodies(self.world, self.url, web, contract.description()["components"]["examples"])
        self._desk = Desk(self.world, bodies, self._prefix, storage, self._tokens)
        api.app = self._desk
        self._start(api)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()
        self.world.git.objects.close()
        shutil.rmtree(self._folder)
        if kind is None and self.violations:
            raise AssertionError("GitHub's description was broken:\n" + "\n".join(self.violations))

    def _serve(self, app: Any) -> str:
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
        self._start(server)
        return f"http://127.0.0.1:{server.server_port}"

    def _start(self, server: BaseWSGIServer) -> None:
        self._servers.append(server)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        self._threads.append(thread)
        thread.start()

    @property
    def application(self) -> Desk:
        """The application that answers the API."""
        return self._desk

    def behind(self, address: str) -> None:
        """Name the address of a server that passes requests on in all answers from now on."""
        bodies = self._desk.bodies
        self._desk.bodies = Bodies(bodies.world, address, bodies.web, bodies.examples)

    @property
    def requests(self) -> list[Exchange]:
        """Every request so far, in the order of their ends."""
        return self._desk.exchanges

    @property
    def violations(self) -> list[str]:
        """Violations of GitHub's description; each was answered with 500."""
        return self._desk.violations

    # State of the server that tests arrange.

    def token_for(self, login: str, permissions: Mapping[str, str] | None = None) -> str:
        """A further token: of an app with these permissions, or of a person with all
        permissions.
        """
        token = f"fake-token-{len(self._tokens)}"
        self.world.account(login)
        self._tokens[token] = Token(login, None if permissions is None else dict(permissions))
        return token

    def fail_next(
        self,
        method: str,
        path_pattern: str,
        status: int,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        carried_out: bool = False,
    ) -> None:
        """Answer the next matching requests so; with `carried_out` they take effect in spite of the
        answer.

        `path_pattern` is a regular expression that is searched in the path without the API's
        prefix.
        """
        words = {"message": "Server Error"} if body is None else body
        response = Answer(words, status, list((headers or {}).items()))
        self._desk.faults.append(
            Fault(
                method, re.compile(path_pattern), times, response=response, carried_out=carried_out
            )
        )

    def heal(self) -> None:
        """Forget the failures that no request met."""
        self._desk.faults.clear()

    def limit_next(
        self,
        method: str,
        path_pattern: str,
        times: int = 1,
        retry_after: int = 1,
        status: int = 403,
    ) -> None:
        """Deny the next matching requests by the secondary rate limit."""
        body = {
            "message": SECONDARY_LIMIT,
            "documentation_url": "https://docs.github.com/rest/rate-limit",
        }
        self.fail_next(method, path_pattern, status, times, {"Retry-After": str(retry_after)}, body)

    def before_next(self, method: str, path_pattern: str, action: Callable[[], object]) -> None:
        """Run an action just before the next matching request is answered, so that it loses a
        race.
        """
        self._desk.hooks.append(Hook(method, re.compile(path_pattern), action=action))

    def set_rate_limit(self, remaining: int, reset: int) -> None:
        """Set the number of requests left until `reset` (seconds since 1970); with 0 every one is
        denied.
        """
        self.world.rate.remaining, self.world.rate.reset = remaining, reset

    def forbid_pull_request_creation(self) -> None:
        """Disable "Allow GitHub Actions to create and approve pull requests"."""
        self.world.actions_may_open_pull_requests = False

    @property
    def graphql_update_refs(self) -> bool:
        """Whether the server has the `updateRefs` mutation."""
        return self.world.graphql_update_refs

    @graphql_update_refs.setter
    def graphql_update_refs(self, has: bool) -> None:
        self.world.graphql_update_refs = has

    def protect(self, branch: str) -> None:
        """Allow changes of a branch only by pull requests."""
        self.world.protected.add(branch)


def _unready(_environ: Any, _start_response: Any) -> Iterable[bytes]:
    raise RuntimeError("the server is not ready")
