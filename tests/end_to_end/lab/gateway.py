"""Receives each call, lets ministack answer it, and records it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from ministack import app as ministack

from tests.end_to_end.lab import identities
from tests.end_to_end.lab.details import DETAILS, PATH
from tests.end_to_end.lab.exchange import CURRENT, Exchange, Message, read_exchange
from tests.end_to_end.lab.records import Answer, further_records, record_of
from tests.end_to_end.lab.response_elements import answer_of
from tests.end_to_end.lab.serve import Options
from tests.end_to_end.lab.trail import Trail

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_KEPT_BYTES = 4 * 1024 * 1024
"""Bytes of an answer to read; a larger one is an object's contents."""

_CHANGEABLE = ("data_events", "service_events", "delay", "lookups_per_second")


class Gateway:
    """An ASGI application around ministack's."""

    def __init__(self, trail: Trail, options: Options) -> None:
        self.trail = trail
        self.options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" and self.options.flush_every:
            self._flushing = asyncio.create_task(self._flush_now_and_then())
        if scope["type"] != "http":
            await ministack.app(scope, receive, send)
            return
        body = await _read(receive)
        if scope["path"].startswith("/_lab/"):
            await _answer(send, self._control(scope["path"].rpartition("/")[2], body))
            return
        if scope["path"].startswith(PATH):
            found = DETAILS.of(scope["path"].removeprefix(PATH))
            await _answer(
                send, found or {"message": "There are no such details."}, 200 if found else 404
            )
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        query = scope.get("query_string", b"").decode()
        client = (scope.get("client") or ("127.0.0.1",))[0]
        message = Message(scope["method"], scope["path"], query, headers, body, client)
        # Policies check aws:SecureTransport; the real endpoints have TLS, this one uses plain HTTP.
        scope = {**scope, "headers": [*scope["headers"], (b"x-forwarded-proto", b"https")]}
        try:
            exchange = read_exchange(message, self.options.region, datetime.now(UTC))
        except Exception as error:  # an answer without a record is better than none
            sys.stderr.write(f"unread call: {message.method} {message.path} {error!r}\n")
            exchange = None
        if exchange is None:
            await ministack.app(scope, _replay(body, receive), send)
            return
        await self._pass_on(exchange, scope, _replay(body, receive), send)

    async def _pass_on(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        account = self.options.account
        if exchange.operation.startswith("AssumeRoleWithWeb") and exchange.service == "sts":
            exchange.identity = identities.web_identity(exchange)
        else:
            exchange.identity = identities.identity_of(exchange.access_key, account) or {}
        token = CURRENT.set(exchange)
        status, headers, kept = 0, {}, bytearray()

        async def noting(event: dict[str, Any]) -> None:
            nonlocal status, headers
            if event["type"] == "http.response.start":
                status = event["status"]
                headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in event["headers"]
                }
            elif len(kept) < _KEPT_BYTES:
                kept.extend(event.get("body", b""))
            if event["type"] == "http.response.body" and not event.get("more_body"):
                self._note(exchange, Answer(status, headers, bytes(kept)))
            await send(event)

        try:
            await ministack.app(scope, receive, noting)
        finally:
            CURRENT.reset(token)

    def _note(self, exchange: Exchange, answer: Answer) -> None:
        """Record before the caller has its answer, so that its next request finds the record."""
        if (
            exchange.service == "sts"
            and exchange.operation == "AssumeRoleWithWebIdentity"
            and answer.status < 300
        ):
            keys = answer_of(exchange, answer.headers, answer.body).get("Credentials", {})
            identities.remember_federation(
                keys.get("AccessKeyId", ""), identities.provider_of(exchange)
            )
        record = record_of(exchange, answer, self.options.account)
        if record is not None and (self.options.data_events or record["managementEvent"]):
            self.trail.add(record, exchange.action)
            for further in further_records(exchange, record):
                self.trail.add(further)

    def _control(self, name: str, body: bytes) -> dict[str, Any]:
        if name == "flush":
            return {"records": self.trail.flush()}
        if name == "records":
            return {"Records": self.trail.delivered()}
        given = json.loads(body or b"{}")
        for setting, value in given.items():
            if setting in _CHANGEABLE:
                setattr(self.options, setting, value)
        self.trail.delay = self.options.delay
        return {setting: getattr(self.options, setting) for setting in _CHANGEABLE}

    async def _flush_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self.options.flush_every)
            self.trail.flush()


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        event = await receive()
        body.extend(event.get("body", b""))
        if event["type"] == "http.disconnect" or not event.get("more_body"):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> dict[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send: Send, body: dict[str, Any], status: int = 200) -> None:
    headers = [(b"content-type", b"application/json")]
    headers += [(b"x-amzn-errortype", b"ResourceNotFoundException")] if status == 404 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
