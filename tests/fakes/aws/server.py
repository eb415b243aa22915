"""Fakes some operations of AWS: start it, arrange faults, read the requests."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self

from botocore.model import OperationModel, ServiceModel

from tests.fakes.aws import contract
from tests.fakes.aws.protocols import (
    Message,
    Parameters,
    Reply,
    UnreadableError,
    answer,
    error_reply,
    read,
)
from tests.fakes.aws.quiet_server import QuietServer

ACCOUNT = "111122223333"
_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
_CLIENTS = {"access-analyzer": "accessanalyzer"}
"""The name in a signature -> the client's name, where they differ."""


class RefusedError(Exception):
    """The error that an operation answers with."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass(frozen=True, slots=True)
class Asked:
    """A received request."""

    service: str
    operation: str
    parameters: Parameters
    access_key: str
    region: str


Operation = Callable[[Asked], Mapping[str, Any]]
"""Returns the members of the operation's output; raises RefusedError."""


@dataclass(slots=True)
class _Fault:
    operation: str
    times: int
    error: RefusedError | None = None
    seconds: float = 0.0
    cut: bool = False
    """The answer is truncated in the middle."""


class FakeAws:
    """A server of operations by `service:Operation`, from entering the context to leaving it.

    Leaving raises AssertionError if a request or an answer violated botocore's models.
    """

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self.operations = dict(operations)
        self.requests: list[Asked] = []
        self.violations: list[str] = []
        self._faults: list[_Fault] = []
        self._server: QuietServer | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"aws": self})
        self._server = QuietServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server and self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        if kind is None:
            self.insist()

    def insist(self) -> None:
        """Raises AssertionError if a request or an answer violated botocore's models."""
        if self.violations:
            raise AssertionError("botocore's models were broken:\n" + "\n".join(self.violations))

    def forget(self, operations: Mapping[str, Operation]) -> None:
        """Reset everything but the address, with these operations."""
        self.operations = dict(operations)
        for kept in (self.requests, self.violations, self._faults):
            kept.clear()

    @property
    def endpoint(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self._server.server_port}" if self._server else ""

    def environment(
        self, key: str = "AKIAFAKE", region: str = "eu-west-1", attempts: int = 2
    ) -> dict[str, str]:
        """The variables that direct the product's clients to it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": region, "AWS_MAX_ATTEMPTS": str(attempts),
            "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip

    def asked(self, operation: str) -> list[Parameters]:
        """The parameters of every request of one operation, in order."""
        return [each.parameters for each in self.requests if each.operation == operation]

    # Faults of tests.

    def refuse(
        self, operation: str, code: str, message: str = "", status: int = 400, times: int = 1_000
    ) -> None:
        """Answer the next requests of an operation with an error."""
        self._faults.append(_Fault(operation, times, RefusedError(code, message, status)))

    def delay(self, operation: str, seconds: float, times: int = 1_000) -> None:
        """Answer the next requests of an operation late."""
        self._faults.append(_Fault(operation, times, seconds=seconds))

    def break_off(self, operation: str, times: int = 1_000) -> None:
        """Close the connection in the middle of the next answers of an operation."""
        self._faults.append(_Fault(operation, times, cut=True))

    def fail_as(self, row: Mapping[str, Any], operation: str) -> None:
        """Make an operation fail as a row of `faults.json` describes."""
        refused = row.get("refuse")
        if refused:
            self.refuse(operation, **refused)
        if "delay" in row:
            self.delay(operation, row["delay"])
        if row.get("break-off"):
            self.break_off(operation)

    # For the handler.

    def reply(self, message: Message) -> tuple[Reply, bool]:
        """The answer to a request, and whether it is truncated."""
        signed = _CREDENTIAL.search(message.headers.get("authorization", ""))
        if not signed:
            return Reply(403, b"", ()), False
        key, region, signing = signed.groups()
        # IAM's toolbox signs as IAM does.
        toolbox = signing == "iam" and message.path.startswith("/authorization-details/")
        service = contract.service("iam-toolbox" if toolbox else _CLIENTS.get(signing, signing))
        try:
            found, parameters = read(message, service)
        except (UnreadableError, ValueError, KeyError) as error:
            return self._violated(service, f"unreadable request: {error}"), False
        asked = Asked(service.service_name, found.name, parameters, key, region)
        fault = self._noted(asked)
        if fault and fault.seconds:
            time.sleep(fault.seconds)
        wrong = list(contract.breaches(parameters, found.input_shape, found.name))
        if wrong:
            return self._violated(service, *wrong), False
        return self._answered(asked, found, fault), bool(fault and fault.cut)

    def _noted(self, asked: Asked) -> _Fault | None:
        """Record a request and return its fault."""
        with self._lock:
            self.requests.append(asked)
            fault = next(
                (each for each in self._faults if each.operation == asked.operation and each.times),
                None,
            )
            if fault:
                fault.times -= 1
        return fault

    def _answered(self, asked: Asked, found: OperationModel, fault: _Fault | None) -> Reply:
        service, name = found.service_model, f"{asked.service}:{asked.operation}"
        if name not in self.operations:
            return self._violated(service, f"{name} is not here")
        try:
            if fault and fault.error:
                raise fault.error
            with self._lock:
                value = self.operations[name](asked)
        except RefusedError as error:
            if error.code not in contract.error_names(found):
                return self._violated(service, f"{found.name} has no error {error.code}")
            return error_reply(service, error.code, error.message, error.status)
        wrong = list(contract.breaches(value, found.output_shape, f"{found.name}'s answer"))
        return self._violated(service, *wrong) if wrong else answer(found, value)

    def _violated(self, service: ServiceModel, *words: str) -> Reply:
        self.violations += words
        return error_reply(service, "InternalFailure", "; ".join(words)[:500], 500)


class _Handler(BaseHTTPRequestHandler):
    aws: FakeAws
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    """Head and body are sent together: a client that delays its acknowledgement would delay the
    body by 40 ms.
    """

    def do_POST(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name of the base class
        """Log nothing: the requests are recorded."""

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length") or 0))
        reply, cut = self.aws.reply(Message(self.command, path, query, headers, body))
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[: len(reply.body) // 2] if cut else reply.body)
        if cut:
            self.close_connection = True
