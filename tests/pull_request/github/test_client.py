"""Requests to GitHub end in time, one by one and together, and the error names a rate limit."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.github import client
from leastpriv.pull_request.github.client import (
    Connection,
    RequestDeadline,
    translate_github_errors,
)
from tests.fakes.github import FakeGitHub

FULL_NAME = "acme/orders"


class Clock:
    """A clock that only sleeping advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def time(self) -> float:
        return self.now


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub(FULL_NAME, files={"a.txt": b"a\n"}) as fake:
        yield fake


def connected(github: FakeGitHub, clock: Clock) -> Connection:
    return Connection.open(
        github.token,
        FULL_NAME,
        api_url=github.url,
        web_url="https://github.example",
        deadline=RequestDeadline(clock.sleep, clock.time),
    )


def read_branch(connection: Connection) -> None:
    with translate_github_errors("reading the branch main"):
        connection.repository.get_branch("main")


@pytest.mark.parametrize(
    "limit",
    [
        {"status": 403, "body": {"message": "You have exceeded a secondary rate limit"}},
        {"status": 429, "body": {"message": "Too many requests"}, "headers": {"Retry-After": "60"}},
    ],
)
def test_a_rate_limit_ends_one_request_in_time_and_is_named(
    github: FakeGitHub, limit: dict[str, object]
) -> None:
    clock = Clock()
    connection = connected(github, clock)
    github.fail_next("GET", "/branches/main", times=20, **limit)  # type: ignore[arg-type]
    with pytest.raises(
        PullRequestError, match="rate limit was reached while reading the branch main"
    ):
        read_branch(connection)
    assert clock.now <= 90


def test_all_requests_together_end_in_time(github: FakeGitHub) -> None:
    clock = Clock()
    connection = connected(github, clock)
    github.fail_next(
        "GET",
        "/branches/main",
        429,
        times=50,
        headers={"Retry-After": "50"},
        body={"message": "wait"},
    )
    for _ in range(10):
        with suppress(PullRequestError):
            read_branch(connection)
    assert clock.now <= 180
    with pytest.raises(PullRequestError, match="rate limit"):
        read_branch(connection)


def test_any_number_of_prompt_requests_is_in_time() -> None:
    clock = Clock()
    deadline = RequestDeadline(clock.sleep, clock.time)
    prompt = deadline.limited(lambda: clock.sleep(4))
    for _ in range(300):
        prompt()
    assert clock.now == 1_200


@contextmanager
def dripping_server() -> Iterator[str]:
    """A server that sends a header line each 50 ms, without end."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                connection, _ = server.accept()
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                for number in range(2_000):
                    connection.sendall(b"X-%d: y\r\n" % number if number < 90 else b"x")
                    time.sleep(0.05)
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_answers_byte_by_byte_ends_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "_MAX_REQUEST", 0.5)
    started = time.monotonic()
    with dripping_server() as url, pytest.raises(PullRequestError, match="took too long to answer"):
        Connection.open(
            "t",
            FULL_NAME,
            api_url=url,
            web_url="https://github.example",
            deadline=RequestDeadline(_no_sleep),
        )
    assert time.monotonic() - started < 10


_no_sleep: Callable[[float], None] = lambda _: None  # noqa: E731 - a fake
