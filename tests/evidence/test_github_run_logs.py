"""The logs of a workflow run, read from a GitHub that keeps state: what cannot be had is a gap and
ends nothing.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from leastpriv.evidence.run_logs import LoggedDenials, WorkflowRunLogs
from leastpriv.models import GapKind
from tests.fakes.github import FakeGitHub

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"
REFUSAL = (
    "2026-11-03T09:00:07.1234567Z User: arn:aws:sts::123456789012:assumed-role/ci/42 is not"
    f" authorized to perform: sqs:TagQueue on resource: {QUEUE} because no identity-based policy"
    " allows the sqs:TagQueue action\n"
)


@pytest.fixture
def hub() -> Iterator[FakeGitHub]:
    with FakeGitHub("acme/orders") as fake:
        fake.add_run(42, created_at="2026-11-03T09:00:00Z", attempt=2)
        yield fake


def read(
    hub: FakeGitHub, *, token: str = "", waits: list[float] | None = None, largest: int = 1 << 20
) -> LoggedDenials:
    waited = [] if waits is None else waits
    return WorkflowRunLogs(
        hub.url, "acme/orders", "42", "2", token or hub.token, waited.append, largest
    ).read()


def told(logs: LoggedDenials) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(logged.file, logged.line, logged.denial.actions) for logged in logs.denials]


def gaps(logs: LoggedDenials) -> list[str]:
    assert {gap.kind for gap in logs.gaps} <= {GapKind.UNREADABLE_LOG}
    return [gap.detail for gap in logs.gaps]


def test_the_finished_jobs_of_this_attempt_are_read_and_no_others(hub: FakeGitHub) -> None:
    hub.add_job(42, "deploy", f"start\n{REFUSAL}")
    hub.add_job(42, "earlier", REFUSAL.replace("TagQueue", "PurgeQueue"), attempt=1)
    hub.add_job(42, "leastpriv", None, status="in_progress", conclusion=None)
    hub.add_job(42, "rollback", None, conclusion="skipped")
    logs = read(hub)
    assert told(logs) == [("deploy", 2, ("sqs:TagQueue",))]
    assert logs.denials[0].time == datetime(2026, 11, 3, 9, 0, 7, tzinfo=UTC)
    assert logs.run is not None
    assert (logs.run.id, logs.run.first) == ("42", datetime(2026, 11, 3, 9, tzinfo=UTC))
    assert gaps(logs) == []


def test_only_the_api_receives_the_token(
    hub: FakeGitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage refuses any credential, also one of a ~/.netrc; only without one it gives the
    log.
    """
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login kim password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    hub.add_job(42, "deploy", REFUSAL)
    assert (len(read(hub).denials), gaps(read(hub))) == (1, [])


def test_an_enterprise_server_is_asked_below_its_prefix() -> None:
    with FakeGitHub("acme/orders", prefix="/api/v3") as enterprise:
        enterprise.add_run(42, attempt=2)
        enterprise.add_job(42, "deploy", REFUSAL)
        assert (len(read(enterprise).denials), gaps(read(enterprise))) == (1, [])


def test_a_request_that_the_storage_rejects_is_a_gap(hub: FakeGitHub) -> None:
    """The address holds for a minute; a job's log may be gone between both requests."""
    job = hub.add_job(42, "deploy", REFUSAL)
    hub.fail_next("GET", "/logs", 302, headers={"Location": f"{hub.server_url}/no/such/log/{job}"})
    hub.violations.clear()
    assert gaps(read(hub)) == ["deploy: the store of the log answered 401"]


def test_jobs_are_read_over_pages(hub: FakeGitHub) -> None:
    for number in range(130):
        hub.add_job(
            42,
            f"deploy ({number})",
            REFUSAL.replace("orders", f"orders-{number}") if number > 127 else "",
        )
    assert [file for file, *_ in told(read(hub))] == ["deploy (128)", "deploy (129)"]


def test_a_log_that_expired_is_a_gap_and_the_others_are_read(hub: FakeGitHub) -> None:
    hub.add_job(42, "build", None)
    hub.add_job(42, "deploy", REFUSAL)
    logs = read(hub)
    assert told(logs) == [("deploy", 1, ("sqs:TagQueue",))]
    assert gaps(logs) == ["build: GitHub has none, or it has expired"]


def test_without_the_right_to_read_them_a_gap_names_the_permission(hub: FakeGitHub) -> None:
    hub.add_job(42, "deploy", REFUSAL)
    token = hub.token_for("other[bot]", {"metadata": "read", "contents": "read"})
    logs = read(hub, token=token)
    assert (logs.denials, logs.run) == ((), None)
    (gap,) = gaps(logs)
    assert "`permissions: actions: read`" in gap


def test_a_token_that_github_does_not_know_is_a_gap(hub: FakeGitHub) -> None:
    assert gaps(read(hub, token=hub.token[1:])) == [
        "the jobs of run 42: GitHub rejected the token (input github-token)"
    ]


def test_a_run_that_is_not_there_is_a_gap(hub: FakeGitHub) -> None:
    hub.world.runs.clear()
    assert gaps(read(hub)) == ["the jobs of run 42: GitHub has none, or it has expired"]


def test_an_error_of_the_server_is_waited_out(hub: FakeGitHub) -> None:
    hub.add_job(42, "deploy", REFUSAL)
    hub.fail_next("GET", "/attempts/2/jobs", 502, times=2)
    waits: list[float] = []
    assert (len(read(hub, waits=waits).denials), waits) == (1, [1.0, 2.0])


def test_a_persistent_error_is_a_gap_after_three_tries(hub: FakeGitHub) -> None:
    hub.add_job(42, "deploy", REFUSAL)
    hub.fail_next("GET", "/logs", 503, times=99)
    waits: list[float] = []
    logs = read(hub, waits=waits)
    assert (gaps(logs), len(waits)) == (["deploy: GitHub answered 503"], 2)


@pytest.mark.parametrize(("seconds", "is_read"), [(2, True), (3_000, False)])
def test_a_rate_limit_is_waited_for_if_it_is_short(
    hub: FakeGitHub, seconds: int, is_read: bool
) -> None:
    hub.add_job(42, "deploy", REFUSAL)
    hub.limit_next("GET", "/logs", retry_after=seconds)
    waits: list[float] = []
    logs = read(hub, waits=waits)
    assert waits == ([float(seconds)] if is_read else [])
    assert gaps(logs) == ([] if is_read else ["deploy: GitHub's rate limit was reached"])


@pytest.mark.parametrize("after", ["\xb2", "9" * 400, "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1e9"])
def test_a_rate_limit_without_seconds_is_a_gap(hub: FakeGitHub, after: str) -> None:
    hub.add_job(42, "deploy", REFUSAL)
    hub.fail_next("GET", "/logs", 429, headers={"Retry-After": after})
    assert gaps(read(hub)) == ["deploy: GitHub's rate limit was reached"]


def test_a_server_that_is_not_there_is_a_gap(hub: FakeGitHub) -> None:
    logs = WorkflowRunLogs(
        "http://127.0.0.1:9", "acme/orders", "42", "2", hub.token, lambda _: None
    ).read()
    assert gaps(logs) == ["the jobs of run 42: GitHub could not be reached (ConnectionError)"]


@pytest.mark.parametrize("answer", [[], {"jobs": None}, "jobs", {"total_count": 1}])
def test_an_answer_of_another_form_is_a_gap(hub: FakeGitHub, answer: object) -> None:
    hub.fail_next("GET", "/attempts/2/jobs", 200, body=answer)
    assert gaps(read(hub)) == ["the jobs of run 42: GitHub's answer holds no jobs"]


def test_a_log_is_read_up_to_its_limit(hub: FakeGitHub) -> None:
    hub.add_job(
        42, "deploy", REFUSAL + "x" * 70_000 + "\n" + REFUSAL.replace("TagQueue", "PurgeQueue")
    )
    logs = read(hub, largest=60_000)
    assert told(logs) == [("deploy", 1, ("sqs:TagQueue",))]
    assert gaps(logs) == ["deploy: only its first 60,000 bytes are read"]


def test_what_was_read_of_a_stream_that_breaks_counts(hub: FakeGitHub) -> None:
    """The storage promises more bytes than it sends, then hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = server.accept()
        connection.recv(65_536)
        body = (REFUSAL + "x" * 2_000_000 + "\n").encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + body)
        connection.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    hub.add_job(42, "deploy", REFUSAL)
    address = f"http://127.0.0.1:{server.getsockname()[1]}/log"
    hub.fail_next("GET", "/logs", 302, headers={"Location": address})
    logs = read(hub, largest=1 << 30)
    thread.join()
    server.close()
    assert told(logs) == [("deploy", 1, ("sqs:TagQueue",))]
    assert gaps(logs) == ["deploy: its log was cut off (ChunkedEncodingError)"]


def test_only_redirections_to_web_addresses_are_followed(hub: FakeGitHub) -> None:
    hub.add_job(42, "deploy", REFUSAL)
    hub.fail_next("GET", "/logs", 302, headers={"Location": "file:///etc/passwd"})
    assert gaps(read(hub)) == ["deploy: GitHub says that it is stored at no web address"]


@pytest.mark.parametrize(
    "location", ["https://[::1", "https://store.invalid/\xff", "ftp://store/log", "//", ""]
)
def test_an_address_that_is_none_is_a_gap(location: str) -> None:
    """Written byte by byte: the other GitHub of the tests mends addresses."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            jobs = "/attempts/" in self.path
            body = b'{"jobs": [{"id": 1, "name": "build", "status": "completed"}]}' if jobs else b""
            self.send_response(200 if jobs else 302)
            self.send_header("Content-Length", str(len(body)))
            if not jobs:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        logs = WorkflowRunLogs(address, "acme/orders", "42", "2", "token", lambda _: None).read()
        server.shutdown()
    (gap,) = gaps(logs)
    assert gap.startswith("build: ")
