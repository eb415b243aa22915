"""Credentials of a trial, from a stateful STS that botocore's models validate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from leastpriv.aws.arns import parse_principal
from leastpriv.aws.session import Aws
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import create_policy
from leastpriv.trial.cleanup import TrialTags
from leastpriv.trial.strategies import SessionPolicy
from tests.fakes.aws.server import Asked, FakeAws, Operation, RefusedError
from tests.fakes.deploys import NOW

ROLE = "arn:aws:iam::111122223333:role/deploy"
TAGS = TrialTags("leastpriv-0a1b2c3d4e5f", NOW)
_LAYERS = 3


@dataclass
class FakeSts:
    """STS: sessions by access key, each with its number of narrowing policies."""

    caller: str = "arn:aws:sts::111122223333:assumed-role/deploy/17650000001"
    refuses: str = ""
    layers: dict[str, int] = field(default_factory=lambda: {"ASIAOWN": 0})

    def operations(self) -> dict[str, Operation]:
        return {
            "sts:GetCallerIdentity": lambda _: {
                "UserId": "A",
                "Account": "111122223333",
                "Arn": self.caller,
            },
            "sts:GetScopedCredentials": self._scope,
            "sts:AssumeRole": lambda _: self._issued("ROLE", 0),
        }

    def _scope(self, asked: Asked) -> Mapping[str, Any]:
        if self.refuses:
            raise RefusedError(self.refuses, "no", 403)
        layers = self.layers[asked.access_key] + 1
        if layers > _LAYERS:
            raise RefusedError("AccessDenied", "too many layers", 403)
        return {
            **self._issued("NARROW", layers),
            "SessionInfo": {"ScopedSessionId": "AROA:1", "Arn": self.caller},
        }

    def _issued(self, name: str, layers: int) -> dict[str, Any]:
        key = f"ASIA{name}{len(self.layers):08}"
        self.layers[key] = layers
        expires = datetime(2026, 11, 25, tzinfo=UTC)
        return {
            "Credentials": {
                "AccessKeyId": key,
                "SecretAccessKey": "s",
                "SessionToken": "t",
                "Expiration": expires,
            }
        }


@pytest.fixture
def sts() -> FakeSts:
    return FakeSts()


@pytest.fixture
def aws(sts: FakeSts) -> Iterator[FakeAws]:
    with FakeAws(sts.operations()) as running:
        yield running


def strategy(aws: FakeAws, token: str = "t") -> SessionPolicy:  # noqa: S107 - the token of a fake
    environment = aws.environment("ASIAOWN") | ({"AWS_SESSION_TOKEN": token} if token else {})
    return SessionPolicy(
        Aws.open(environment), parse_principal(ROLE), TAGS, lambda: NOW, lambda _: None
    )


def documents() -> tuple[Document, ...]:
    return (parse(create_policy(()), "p.json"),)


def asked(aws: FakeAws) -> list[str]:
    return [
        request.operation for request in aws.requests if request.operation != "GetCallerIdentity"
    ]


def test_a_session_of_the_role_is_narrowed_and_the_role_is_not_assumed(aws: FakeAws) -> None:
    session_policy = strategy(aws)
    keys = [session_policy.apply(documents(), number).key for number in range(1, 6)]
    assert asked(aws) == ["GetScopedCredentials"] * 5
    assert len(set(keys)) == 5
    assert session_policy.own_session == "17650000001"
    assert (
        aws.asked("GetScopedCredentials")[0]["ScopedSessionDescription"]
        == "leastpriv-0a1b2c3d4e5f-1"
    )
    assert "Statement" in aws.asked("GetScopedCredentials")[0]["Policy"]


@pytest.mark.parametrize(
    ("caller", "token"),
    [
        ("arn:aws:sts::111122223333:assumed-role/other/x", "token"),
        ("arn:aws:sts::444455556666:assumed-role/deploy/x", "token"),
        ("arn:aws:iam::111122223333:user/kim", ""),
    ],
)
def test_another_caller_assumes_the_role(
    aws: FakeAws, sts: FakeSts, caller: str, token: str
) -> None:
    sts.caller = caller
    session_policy = strategy(aws, token)
    session_policy.apply(documents(), 1)
    assert (asked(aws), session_policy.own_session) == (["AssumeRole"], "")


@pytest.mark.parametrize("code", ["AccessDenied", "ValidationError"])
def test_where_aws_does_not_narrow_the_role_is_assumed_from_then_on(
    aws: FakeAws, sts: FakeSts, code: str
) -> None:
    sts.refuses = code
    session_policy = strategy(aws)
    session_policy.apply(documents(), 1)
    session_policy.apply(documents(), 2)
    assert (asked(aws), session_policy.own_session) == (
        ["GetScopedCredentials", "AssumeRole", "AssumeRole"],
        "",
    )
