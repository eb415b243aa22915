"""Fakes CloudTrail's event history and AWS STS: events by region, paged, with the faults that a
test arranges.

Answers of LookupEvents are validated by botocore's model.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs

# Read by no function here: imported, it is without pauses from a process's first test on.
import leastpriv.cloudtrail.event_history  # noqa: F401
from tests.fakes.aws import contract
from tests.fakes.aws.quiet_server import QuietServer

ACCOUNT = "111122223333"
READER = f"arn:aws:sts::{ACCOUNT}:assumed-role/evidence-reader/leastpriv"
_PAGE = 50
_SCOPE = re.compile(r"Credential=[^/]+/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/")

REFUSALS: Mapping[str, tuple[int, str, str]] = {
    "throttled": (400, "ThrottlingException", "Rate exceeded"),
    "server error": (500, "InternalFailure", ""),
    "unavailable": (503, "ServiceUnavailable", ""),
    "denied": (
        400,
        "AccessDeniedException",
        f"User: {READER} is not authorized to perform: cloudtrail:LookupEvents because no identity-based policy allows "
        "the cloudtrail:LookupEvents action",
    ),
    "expired": (
        400,
        "ExpiredTokenException",
        "The security token included in the request is expired",
    ),
    "invalid": (
        400,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    ),
    "skewed": (
        400,
        "InvalidSignatureException",
        "Signature expired: 20261124T110000Z is now earlier than",
    ),
}
"""Status, code and message by the name of a fault."""


@dataclass(slots=True)
class Fault:
    """A fault of requests of one region from the `after`th on, `times` times."""

    kind: str
    """A name of `REFUSALS`, `cut` (the answer is truncated), `slow`, `html`, `same page` (next is
    itself) or `circle`.
    """
    region: str = ""
    after: int = 0
    times: int = 1_000_000
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class OwnCall:
    """A call that the server answered itself."""

    region: str
    record: Mapping[str, Any]
    earlier_lookups: int
    """Lookups of the region before the call."""


@dataclass(slots=True)
class FakeHistory:
    """A server, from entering the context to leaving it."""

    caller: str = READER
    lookups_before_delivery: int = 0
    """Lookups of a region that do not yet show a call that the server answered itself
    (GetCallerIdentity).
    """
    faults: list[Fault] = field(default_factory=list)
    events: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    """Records by region, in any order; a text in place of a record is returned unchanged, as is a
    record's `as text`.
    """
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Region and attribute (`Username=123`) of every LookupEvents."""
    violations: list[str] = field(default_factory=list)
    enabled: Sequence[str] | None = None
    """Regions that ListRegions returns as enabled; None: it is denied."""
    _server: QuietServer | None = None
    _counts: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _own: list[OwnCall] = field(default_factory=list)

    def __enter__(self) -> FakeHistory:
        fake = self

        class Handler(_Handler):
            history = fake

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        if kind is None and self.violations:
            raise AssertionError("botocore's models were broken:\n" + "\n".join(self.violations))

    def environment(self, region: str = "eu-west-1") -> dict[str, str]:
        """The environment of a step; requests are tried twice."""
        port = self._server.server_address[1] if self._server else 0
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "AKIAFAKE",
            "AWS_SECRET_ACCESS_KEY": "fake",
            "AWS_SESSION_TOKEN": "fake",
            "AWS_REGION": region,
            "AWS_MAX_ATTEMPTS": "2",
        }

    def forget(self) -> None:
        """Reset everything but the address and the caller."""
        self.faults, self.events, self.enabled = [], {}, None
        for kept in (self.requests, self.violations, self._own):
            kept.clear()
        self._counts.clear()

    def fault_of(self, region: str) -> Fault | None:
        """The fault of the next request of a region."""
        with self._lock:
            number = self._counts[region] = self._counts.get(region, -1) + 1
        for fault in self.faults:
            if fault.region in ("", region) and fault.after <= number < fault.after + fault.times:
                return fault
        return None

    def identity(self, region: str) -> tuple[str, str]:
        """Answers GetCallerIdentity: the XML, and the request's id, which its record will have."""
        with self._lock:
            identifier = f"{len(self._own):08d}-aaaa-bbbb-cccc-000000000000"
            record = {
                "eventVersion": "1.11", "eventName": "GetCallerIdentity",
                "eventSource": "sts.amazonaws.com",
                "eventType": "AwsApiCall", "awsRegion": region, "requestID": identifier,
                "eventID": identifier,
                "eventTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "readOnly": True,
                "userIdentity": {"type": "AssumedRole", "arn": self.caller, "accountId": ACCOUNT},
            }  # fmt: skip
            self._own.append(OwnCall(region, record, self._lookups(region)))
        return (
            '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
            f"<Arn>{self.caller}</Arn><UserId>AROAFAKE:leastpriv</UserId><Account>{self.caller.split(':')[4]}</Account>"
            f"</GetCallerIdentityResult><ResponseMetadata><RequestId>{identifier}</RequestId></ResponseMetadata>"
            "</GetCallerIdentityResponse>"
        ), identifier

    def _lookups(self, region: str) -> int:
        return sum(asked == region for asked, _ in self.requests)

    def answer(
        self, region: str, asked: Mapping[str, Any], fault: Fault | None
    ) -> Mapping[str, Any]:
        """One page of LookupEvents."""
        problems = list(
            contract.breaches(
                asked, contract.operation("cloudtrail", "LookupEvents").input_shape, "asked"
            )
        )
        attributes = asked.get("LookupAttributes") or []
        if len(attributes) > 1:
            problems.append("more than one attribute")
        wanted = {each["AttributeKey"]: each["AttributeValue"] for each in attributes}
        with self._lock:
            self.violations += problems
            self.requests.append(
                (region, ",".join(f"{key}={value}" for key, value in wanted.items()))
            )
            lookups = self._lookups(region)
            own = [
                call.record
                for call in self._own
                if call.region == region
                and lookups - call.earlier_lookups > self.lookups_before_delivery
            ]
        found = [
            record
            for record in [*self.events.get(region, ()), *own]
            if _fits(record, wanted, asked)
        ]
        found.sort(key=_time, reverse=True)
        first = int(asked.get("NextToken") or 0)
        page: dict[str, Any] = {
            "Events": [event_of(record) for record in found[first : first + _PAGE]]
        }
        if first + _PAGE < len(found):
            page["NextToken"] = str(first + _PAGE)
        if fault and fault.kind == "same page":
            page["NextToken"] = asked.get("NextToken") or "0"
        if fault and fault.kind == "circle":
            page["NextToken"] = "1" if asked.get("NextToken") == "0" else "0"
        model = contract.operation("cloudtrail", "LookupEvents").output_shape
        self.violations += contract.breaches(page, model, "LookupEvents")
        return page


class _Handler(BaseHTTPRequestHandler):
    history: FakeHistory
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        scope = _SCOPE.search(self.headers.get("Authorization") or "")
        region = scope["region"] if scope else ""
        if scope and scope["service"] == "sts":
            assert parse_qs(body.decode())["Action"] == ["GetCallerIdentity"]
            if any(fault.kind == "no identity" for fault in self.history.faults):
                code, message = REFUSALS["expired"][1:]
                text = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
                self._send(403, text.encode(), "text/xml")
                return
            text, identifier = self.history.identity(region)
            self._send(200, text.encode(), "text/xml", {"x-amzn-RequestId": identifier})
            return
        if scope and scope["service"] == "iam":
            self._iam(self.history.fault_of(region))
            return
        if scope and scope["service"] == "account":
            self._account()
            return
        assert self.headers["X-Amz-Target"].endswith(".LookupEvents")
        fault = self.history.fault_of(region)
        if fault and fault.kind in REFUSALS:
            status, code, message = REFUSALS[fault.kind]
            self._send(status, json.dumps({"__type": code, "message": message}).encode())
        elif fault and fault.kind == "html":
            self._send(200, b"<html>Sign in to the network</html>", "text/html")
        else:
            if fault and fault.kind == "slow":
                time.sleep(fault.seconds)
            page = json.dumps(self.history.answer(region, json.loads(body), fault)).encode()
            self._send(200, page, cut=fault is not None and fault.kind == "cut")

    def _account(self) -> None:
        """Answers ListRegions."""
        assert self.path == "/listRegions"
        if self.history.enabled is None:
            message = REFUSALS["denied"][2].replace(
                "cloudtrail:LookupEvents", "account:ListRegions"
            )
            headers = {"x-amzn-ErrorType": "AccessDeniedException"}
            self._send(403, json.dumps({"message": message}).encode(), "application/json", headers)
            return
        regions = [
            {"RegionName": name, "RegionOptStatus": "ENABLED"} for name in self.history.enabled
        ]
        page = {"Regions": [*regions, {"RegionName": "af-south-1", "RegionOptStatus": "DISABLED"}]}
        self.history.violations += contract.breaches(
            page, contract.operation("account", "ListRegions").output_shape, "ListRegions"
        )
        self._send(200, json.dumps(page).encode(), "application/json")

    def _iam(self, fault: Fault | None) -> None:
        """IAM always fails here; the lab answers its requests."""
        assert fault is not None
        if fault.kind in REFUSALS:
            status, code, message = REFUSALS[fault.kind]
            text = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
            self._send(status, text.encode(), "text/xml")
            return
        if fault.kind == "slow":
            time.sleep(fault.seconds)
        self._send(
            200,
            b"<GetRoleResponse><GetRoleResult><Role><Path>/</Path>",
            "text/xml",
            cut=fault.kind == "cut",
        )

    def _send(
        self,
        status: int,
        body: bytes,
        kind: str = "application/x-amz-json-1.1",
        headers: Mapping[str, str] | None = None,
        *,
        cut: bool = False,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body[: len(body) // 2] if cut else body)
        except OSError:  # the client closed the connection
            cut = True
        if cut:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the standard library
        """Log nothing."""


def event_of(record: Mapping[str, Any] | str) -> dict[str, Any]:
    """A record as LookupEvents returns it."""
    if isinstance(record, str):
        return {"EventId": "broken", "CloudTrailEvent": record}
    return {
        "EventId": record.get("eventID", ""),
        "EventName": record.get("eventName", ""),
        "EventTime": _time(record).timestamp(),
        "Username": user_of(record),
        "CloudTrailEvent": record.get("as text", json.dumps(record)),
    }


def _fits(
    record: Mapping[str, Any] | str, wanted: Mapping[str, str], asked: Mapping[str, Any]
) -> bool:
    if isinstance(record, str):
        return not {"EventName", "ResourceName"} & wanted.keys()
    if "StartTime" in asked and _time(record).timestamp() < float(asked["StartTime"]):
        return False
    if "EndTime" in asked and _time(record).timestamp() > float(asked["EndTime"]):
        return False
    known: Mapping[str, Callable[[], Sequence[str]]] = {
        "Username": lambda: [user_of(record)],
        "EventName": lambda: [str(record.get("eventName"))],
        "ResourceName": lambda: [str((record.get("requestParameters") or {}).get("roleArn"))],
    }
    return all(value in known[key]() for key, value in wanted.items())


def user_of(record: Mapping[str, Any]) -> str:
    """The Username of an event in LookupEvents: a user's name, or a session's."""
    identity = record["userIdentity"]
    return str(identity.get("userName") or str(identity.get("arn") or "").rpartition("/")[2])


def _time(record: Mapping[str, Any] | str) -> datetime:
    if isinstance(record, str):
        return datetime.now(UTC) - timedelta(days=1)
    return datetime.fromisoformat(str(record["eventTime"])).astimezone(UTC)


def call(
    role: str, session: str, name: str, when: datetime, region: str, **more: Any
) -> dict[str, Any]:
    """A record of one call of a role's session; `name` is `sqs:CreateQueue`."""
    source, _, event = name.partition(":")
    account = role.split(":")[4]
    return {
        "eventVersion": "1.11", "eventName": event, "eventSource": f"{source}.amazonaws.com",
        "eventType": "AwsApiCall",
        "awsRegion": region, "eventID": f"{region}/{session}/{event}/{when:%Y%m%d%H%M%S%f}",
        "readOnly": False,
        "eventTime": f"{when:%Y-%m-%dT%H:%M:%SZ}", "requestParameters": {},
        "responseElements": None,
        "managementEvent": True, "eventCategory": "Management",
        "userIdentity": {
            "type": "AssumedRole", "principalId": f"AROAFAKE:{session}", "accountId": account,
            "arn": f"arn:aws:sts::{account}:assumed-role/{role.rpartition('/')[2]}/{session}",
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": role}},
        },
    } | more  # fmt: skip


def login(
    role: str, session: str, when: datetime, region: str, event: str = "AssumeRoleWithWebIdentity"
) -> dict[str, Any]:
    """The record of a workflow's login."""
    account, name = role.split(":")[4], role.rpartition("/")[2]
    return {
        "eventVersion": "1.11", "eventName": event, "eventSource": "sts.amazonaws.com",
        "eventType": "AwsApiCall",
        "awsRegion": region, "eventID": f"{region}/{session}/{event}",
        "eventTime": f"{when:%Y-%m-%dT%H:%M:%SZ}",
        "readOnly": True, "managementEvent": True, "eventCategory": "Management",
        "userIdentity": {"type": "WebIdentityUser",
        "userName": "repo:acme/shop:ref:refs/heads/main"},
        "requestParameters": {"roleArn": role, "roleSessionName": session},
        "responseElements": {
            "assumedRoleUser": {"arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session}"},
        },
    }  # fmt: skip
