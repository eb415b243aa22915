"""Answers botocore's requests with raw bytes, before they are sent: pages of proxies, answers
without members.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest, AWSResponse

from leastpriv.aws.session import Aws

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAFAKE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1",
    "AWS_MAX_ATTEMPTS": "1",
}  # fmt: skip
_MOST_REQUESTS = 50
"""More requests of one operation than any test needs: a request without end fails."""


@dataclass(frozen=True, slots=True)
class Raw:
    """One answer."""

    body: str
    status: int = 200

    @classmethod
    def json(cls, value: object) -> Raw:
        """An answer of a JSON protocol."""
        return cls(json.dumps(value))

    @classmethod
    def failed(cls, code: str, message: str, status: int = 400) -> Raw:
        """An error of a JSON protocol."""
        return cls(json.dumps({"__type": code, "message": message}), status)

    @classmethod
    def query(cls, operation: str, result: str) -> Raw:
        """An answer of the query protocol."""
        return cls(
            f"<{operation}Response><{operation}Result>{result}</{operation}Result></{operation}Response>"
        )


class _Body(BytesIO):
    def stream(self, **_: object) -> Any:
        yield self.read()


def answering(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Sequence[Raw]]) -> Aws:
    """Returns clients whose operations answer in this order; the last answer repeats."""
    asked: dict[str, int] = {}

    def answer(request: AWSRequest, event_name: str, **_: object) -> AWSResponse:
        operation = event_name.rpartition(".")[2]
        number = asked[operation] = asked.get(operation, 0) + 1
        if number > _MOST_REQUESTS:
            raise AssertionError(f"{operation} is requested without end")
        given = answers[operation][min(number, len(answers[operation])) - 1]
        return AWSResponse(request.url, given.status, {}, _Body(given.body.encode()))

    aws = Aws.open(ENVIRONMENT)
    made = aws._made

    def watched(service: str, region: str) -> Any:
        client = made(service, region)
        client.meta.events.register_first("before-send", answer)
        return client

    monkeypatch.setattr(aws, "_made", watched)
    return aws
