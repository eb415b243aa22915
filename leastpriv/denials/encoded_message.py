"""Reads what `sts:DecodeAuthorizationMessage` returns for EC2's encoded denial messages.

A `Decoder` calls the function that it gets; this module sends no request without it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from leastpriv.errors import AwsError, AwsErrorKind, LeastprivError
from leastpriv.models import Denial, DeniedBy
from leastpriv.permissions import catalog

if TYPE_CHECKING:
    from leastpriv.aws.session import Aws

_MOST = 100
"""Most messages that one run decodes: each costs one request."""
_WITHOUT = ": it needs AWS credentials; decode it with `aws sts decode-authorization-message`"


def read_decoded(text: str, denial: Denial) -> Denial:
    """Adds the content of a decoded message to a denial; returns the denial unchanged for another
    text.

    Format: "DecodeAuthorizationMessage" in the AWS STS API Reference (read 2026-11-24): `allowed`,
    `explicitDeny`, `matchedStatements`, `failures` and `context` with `principal`, `action`,
    `resource`, `conditions`. It does not say which policy type lacked the permission; no grant
    overrides an explicit deny.
    """
    answer = _denying_answer(text)
    context = answer.get("context")
    if not isinstance(context, dict):
        return denial
    action = context.get("action")
    if not isinstance(action, str) or not catalog.action(action):
        return denial
    resource = context.get("resource")
    principal = _principal_of(context)
    is_explicit = answer.get("explicitDeny") is not False
    is_grantable = denial.denied_by in (DeniedBy.UNKNOWN, DeniedBy.IDENTITY)
    return replace(
        denial,
        actions=(action,),
        resource=resource if isinstance(resource, str) else "",
        principal=denial.principal if principal is None else principal,
        explicit=is_explicit,
        inferred=False,
        mendable=is_grantable and not is_explicit,
        why="an explicit deny applied, which no grant overrides" if is_explicit else "",
    )


def _denying_answer(text: str) -> Mapping[str, object]:
    """Returns the decoded message of a denial; empty for another text."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    is_denial = isinstance(answer, dict) and answer.get("allowed") is False
    return answer if is_denial else {}


def _principal_of(context: Mapping[str, object]) -> str | None:
    principal = context.get("principal")
    arn = principal.get("arn") if isinstance(principal, dict) else None
    return arn if isinstance(arn, str) else None


class Decoder:
    """Decodes each encoded message once, until AWS denies decoding."""

    def __init__(self, decode: Callable[[str], str] | None) -> None:
        """`decode` returns the decoded JSON of a text, or raises LeastprivError; None: decoding is
        not possible.
        """
        self._decode = decode
        self._known: dict[str, str] = {}
        self.trouble = _WITHOUT if decode is None else ""
        """Why messages could not be decoded, as the end of a sentence; empty so far."""

    @property
    def can_ask(self) -> bool:
        """Whether it can decode, or ask AWS to."""
        return self._decode is not None

    def decoded(self, denial: Denial) -> Denial:
        """Adds what the encoded text says to a denial that names no action. Never raises."""
        if not denial.encoded or (denial.actions and not denial.inferred):
            return denial
        return read_decoded(self._text(denial.encoded), denial)

    def _text(self, encoded: str) -> str:
        if encoded not in self._known and self._decode is not None and not self.trouble:
            if len(self._known) >= _MOST:
                self.trouble = f": more than {_MOST} such messages"
                return ""
            try:
                self._known[encoded] = self._decode(encoded)
            except LeastprivError as error:
                # A damaged text says nothing about the next one.
                damaged = isinstance(error, AwsError) and error.kind is AwsErrorKind.OTHER
                self._known[encoded] = ""
                self.trouble = "" if damaged else f": {str(error).rstrip('.')}"
        return self._known.get(encoded, "")


def decode_with(aws: Aws, encoded: str) -> str:
    """Decodes a text with AWS STS, to JSON.

    Raises:
        AwsError: the credentials lack `sts:DecodeAuthorizationMessage`, or the request failed.
        InputError: no region is set.
    """
    from leastpriv.aws.errors import translate_errors

    client = aws.client("sts")
    with translate_errors("decoding a denial of EC2", "sts:DecodeAuthorizationMessage"):
        return str(client.decode_authorization_message(EncodedMessage=encoded)["DecodedMessage"])


NO_DECODER = Decoder(None)
"""Decoder of a run without credentials."""
