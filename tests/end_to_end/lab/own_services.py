"""Operations that no emulator has: event history, policy generation, regions of an account, EC2's
encoded messages.

They are handlers like ministack's, so it checks signature and policies first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ministack import app
from ministack.core import iam_actions, router

from tests.end_to_end.lab import wording
from tests.end_to_end.lab.event_history import LookupRefusedError, lookup
from tests.end_to_end.lab.exchange import CURRENT, Exchange
from tests.end_to_end.lab.policy_generation import GenerationRefusedError, Generations
from tests.end_to_end.lab.serve import Options
from tests.end_to_end.lab.trail import Trail

Answer = tuple[int, dict[str, str], bytes]
Handler = Callable[..., Awaitable[Answer]]

_ANALYZER = "access-analyzer"
_ACCOUNT = "account"
_ENABLED = ("ap-south-1", "eu-central-1", "eu-west-1", "us-east-1", "us-west-2")
"""Some regions that every account has enabled."""


def install(trail: Trail, options: Options) -> None:
    """Register the handlers."""
    for service, client in ((_ANALYZER, "accessanalyzer"), (_ACCOUNT, "account")):
        router.SERVICE_PATTERNS[service] = {}
        iam_actions.SERVICE_TO_IAM_NAMESPACE[service] = service
        iam_actions._BOTOCORE_SERVICE_MAP[service] = [client]
    app.SERVICE_HANDLERS[_ACCOUNT] = _regions
    app.SERVICE_HANDLERS[_ANALYZER] = _analyzer(Generations(trail))
    app.SERVICE_HANDLERS["cloudtrail"] = _cloudtrail(
        trail, options, app.SERVICE_HANDLERS["cloudtrail"]
    )
    app.SERVICE_HANDLERS["sts"] = _sts(app.SERVICE_HANDLERS["sts"])


def _analyzer(generations: Generations) -> Handler:
    operations: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
        "StartPolicyGeneration": generations.start,
        "GetGeneratedPolicy": generations.get,
        "ListPolicyGenerations": generations.list,
        "CancelPolicyGeneration": generations.cancel,
    }

    async def handle(*_: Any) -> Answer:
        exchange = _current()
        operation = operations.get(exchange.operation)
        if operation is None:
            return _unknown(exchange)
        try:
            return (
                200,
                {"Content-Type": "application/json"},
                json.dumps(operation(exchange.parameters)).encode(),
            )
        except GenerationRefusedError as error:
            return _rest_error(400, error.code, str(error))

    return handle


async def _regions(*_: Any) -> Answer:
    """Answers account:ListRegions."""
    if _current().operation != "ListRegions":
        return _unknown(_current())
    listed = [{"RegionName": name, "RegionOptStatus": "ENABLED_BY_DEFAULT"} for name in _ENABLED]
    regions = [*listed, {"RegionName": "af-south-1", "RegionOptStatus": "DISABLED"}]
    return 200, {"Content-Type": "application/json"}, json.dumps({"Regions": regions}).encode()


def _cloudtrail(trail: Trail, options: Options, others: Handler) -> Handler:
    calls: list[float] = []

    async def handle(*arguments: Any) -> Answer:
        exchange = _current()
        if exchange.operation != "LookupEvents":
            return await others(*arguments)
        now = time.monotonic()
        calls[:] = [each for each in calls if now - each < 1]
        if options.lookups_per_second and len(calls) >= options.lookups_per_second:
            return _json(400, {"__type": "ThrottlingException", "message": "Rate exceeded"})
        calls.append(now)
        try:
            return _json(200, lookup(trail.delivered(), exchange.region, exchange.parameters))
        except LookupRefusedError as error:
            return _json(400, {"__type": error.code, "message": str(error)})

    return handle


def _sts(others: Handler) -> Handler:
    async def handle(*arguments: Any) -> Answer:
        exchange = CURRENT.get()
        if exchange is None or exchange.operation != "DecodeAuthorizationMessage":
            return await others(*arguments)
        found = wording.decoded(str(exchange.parameters.get("EncodedMessage", "")))
        namespace = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
        if found is None:
            text = (
                "<Code>InvalidAuthorizationMessageException</Code><Message>Message is not"
                " valid</Message>"
            )
            body = (
                "<ErrorResponse"
                f" {namespace}><Error><Type>Sender</Type>{text}</Error></ErrorResponse>"
            )
            return 400, {"Content-Type": "text/xml"}, body.encode()
        shown = json.dumps(found).replace("&", "&amp;").replace("<", "&lt;")
        result = f"<DecodeAuthorizationMessageResult><DecodedMessage>{shown}</DecodedMessage>"
        name = "DecodeAuthorizationMessage"
        body = f"<{name}Response {namespace}>{result}</{name}Result></{name}Response>"
        return 200, {"Content-Type": "text/xml"}, body.encode()

    return handle


def _current() -> Exchange:
    exchange = CURRENT.get()
    if exchange is None:
        raise RuntimeError("a call that the gateway did not read")
    return exchange


def _json(status: int, body: Mapping[str, Any]) -> Answer:
    return status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(body).encode()


def _unknown(exchange: Exchange) -> Answer:
    """The error for an operation that the lab lacks: no server error, which clients send again."""
    return _rest_error(404, "UnknownOperationException", f"the lab has no {exchange.operation}")


def _rest_error(status: int, code: str, message: str) -> Answer:
    headers = {"Content-Type": "application/json", "x-amzn-errortype": code}
    return status, headers, json.dumps({"message": message}).encode()
