"""Writes the result of a policy whose users are in several accounts for every account.

Until then a stand-in, 000000000001, replaces the account of each user (`evidence.users.unite` puts
it in): a resource with its account is exact, as that of one user is.
"""

from __future__ import annotations

import re
from operator import is_
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.evidence.users import OWN_ACCOUNT
from leastpriv.policy.document import Document

_ACCOUNT_OF_ARN = re.compile(rf"(arn:[^:\s\"']*:[^:\s\"']*:[^:\s\"']*:){OWN_ACCOUNT}(?=:)")
_ANY = "*"
_OF_PRINCIPAL = "${aws:PrincipalAccount}"
"""The policy variable of the account of the principal that calls ("AWS global condition context
keys", IAM User Guide, read 2026-12-01)."""
_VARIABLES_VERSION = "2012-10-17"


Context = TypeVar("Context", bound=Struct)


def in_every_account(context: Context, *, has_variables: bool) -> Context:
    """Returns the context of a proposal with every account in place of the stand-in.

    - `arn:aws:sqs:eu-west-1:000000000001:jobs` becomes `arn:aws:sqs:eu-west-1:*:jobs`: an
      identity-based policy alone grants nothing in another account.
    - `arn:aws:s3:::logs-000000000001` becomes `arn:aws:s3:::logs-${aws:PrincipalAccount}`, or
      `arn:aws:s3:::logs-*` where the policy cannot hold a policy variable (`has_variables`).
    """
    rewritten: Context = _Writer(_OF_PRINCIPAL if has_variables else _ANY).of(context)
    return rewritten


def may_hold_variables(document: Document) -> bool:
    """Whether a policy variable can be written into a policy as it is."""
    is_json = document.source.format == "json" and document.source.language == "plain"
    return is_json and document.version == _VARIABLES_VERSION


class _Writer:
    """Replaces the stand-in in all texts; a value that several others hold remains one."""

    def __init__(self, account_in_name: str) -> None:
        self._account_in_name = account_in_name
        self._results: dict[int, Any] = {}
        """By id of a value."""
        self._values: list[Any] = []
        """They are kept: the id of a value must not become that of another one."""

    def text(self, text: str) -> str:
        """Returns a text without the stand-in."""
        if OWN_ACCOUNT not in text:
            return text
        return _ACCOUNT_OF_ARN.sub(rf"\g<1>{_ANY}", text).replace(
            OWN_ACCOUNT, self._account_in_name
        )

    def of(self, value: Any) -> Any:
        """Returns a value of any type with the texts in it replaced; one object for one object."""
        if isinstance(value, str):
            return self.text(value) if type(value) is str else value
        if isinstance(value, bytes):
            return self.text(value.decode("utf-8", "surrogateescape")).encode(
                "utf-8", "surrogateescape"
            )
        if id(value) not in self._results:
            self._values.append(value)
            self._results[id(value)] = self._rewritten(value)
        return self._results[id(value)]

    def _rewritten(self, value: Any) -> Any:
        """Returns a struct or a collection with the texts in it replaced; other values as they
        are.
        """
        if isinstance(value, Document):
            return value.with_text(self.text(value.text))
        if isinstance(value, Struct):
            return self._struct(value)
        if type(value) is dict:
            return {self.of(key): self.of(member) for key, member in value.items()}
        if type(value) is tuple:
            return self._tuple(value)
        if isinstance(value, list):
            return list(map(self.of, value))
        if isinstance(value, frozenset):
            return frozenset(map(self.of, value))
        return value

    def _tuple(self, value: tuple[Any, ...]) -> tuple[Any, ...]:
        """Returns the tuple itself where no element changes."""
        elements = tuple(map(self.of, value))
        is_same = all(map(is_, elements, value))
        return value if is_same else elements

    def _struct(self, value: Struct) -> Struct:
        changed = {}
        for name in value.__struct_fields__:
            before = getattr(value, name)
            after = self.of(before)
            if after is not before:
                changed[name] = after
        return replace(value, **changed) if changed else value
