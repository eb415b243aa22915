"""The shape of a source of evidence, `read(window, principals)` -> calls and gaps, and whose are wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from leastpriv.errors import InputError
from leastpriv.models import Call, Gap, Principal

# Names: IAM allows letters, digits and +=,.@_- (IAM User Guide, "IAM and AWS STS quotas", read 2026-11-24).
# Paths are kept looser (printable ASCII), and accounts too, because published logs mask them.
_PRINCIPAL = re.compile(
    r"arn:(?P<partition>aws(?:-[a-z]+)*):(?:iam|sts)::(?P<account>[0-9A-Za-z_<>*-]{1,64}):"
    r"(?P<kind>role|user)/(?P<path>(?:[!-.0-~]+/)*)(?P<name>[\w+=,.@-]{1,64})",
    re.ASCII,
)
_SESSION = re.compile(
    r"arn:(?P<partition>aws(?:-[a-z]+)*):(?:iam|sts)::(?P<account>[0-9A-Za-z_<>*-]{1,64}):"
    r"assumed-role/(?P<name>[\w+=,.@-]{1,64})/(?P<session>[\w+=,.@-]+)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Window:
    """The time that evidence is read for: `start` included, `end` not; aware UTC, `None` is open."""

    start: datetime | None = None
    end: datetime | None = None

    def contains(self, time: datetime) -> bool:
        """Whether a call at this time counts."""
        return (self.start is None or time >= self.start) and (self.end is None or time < self.end)

    def since(self, time: datetime | None) -> Window:
        """The part of it that is not older than `time`; all of it where that is None."""
        return replace(self, start=max(filter(None, (self.start, time)), default=None))


@dataclass(frozen=True, slots=True)
class Principals:
    """Whose calls are read: a set of targets, or everybody (`targets` is `None`)."""

    targets: frozenset[Principal] | None = None
    patterns: frozenset[str] = frozenset()
    """ARNs with wildcards: roles and users that are read beside the targets, whoever they turn out to be."""

    def wants(self, principal_arn: str) -> bool:
        """Whether calls of this role or user are to be read."""
        return self.targets is None or self.target_of(principal_arn) is not None

    @property
    def accounts(self) -> frozenset[str] | None:
        """The targets' accounts, in whose trails their calls are; `None` where everybody's calls are read."""
        return None if self.targets is None else _accounts_of(self.targets, self.patterns)

    def include(self, account: str) -> bool:
        """Whether an account is one of the targets'; every account is where everybody's calls are read."""
        return self.targets is None or account in _accounts_of(self.targets, self.patterns)

    def target_of(self, principal_arn: str) -> Principal | None:
        """Tell the target whose call this is.

        Equal ARNs match first. Otherwise the same partition, account, kind and name match when one of the two
        lacks the path, because a session ARN (`assumed-role/NAME/SESSION`) has lost the role's path. What a pattern
        matches is a target by itself.
        """
        return _target_of(self.targets or frozenset(), self.patterns, principal_arn)


class Source(Protocol):
    """Anything that evidence is read from."""

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Read the calls of these principals in this window, and what could not be seen.

        Roughly oldest first, event history newest first; memory does not grow with the amount of evidence. Raises
        `InputError`, at once or while reading, where the source is not there at all: beside others that is a gap
        (`read.py`).
        """
        ...  # pragma: no cover


def parse_principal(arn: str) -> Principal:
    """Read the role or user that a person named by its ARN, with its path where it has one.

    Raises `InputError` for a session's ARN and for anything that is no role or user ARN.
    """
    session = _SESSION.fullmatch(arn)
    if session:
        own = f"arn:{session['partition']}:iam::{session['account']}:role/{session['name']}"
        raise InputError(
            f"{arn!r} is the ARN of a session, not of a role: use the role's own ARN, {own}"
            " (with the role's path if it has one)."
        )
    found = principal_of(arn)
    if found is None or found.arn != arn or not re.fullmatch(r"[0-9]{12}", found.account):
        raise InputError(
            f"{arn!r} is not the ARN of a role or user: use the role's own ARN,"
            " like arn:aws:iam::123456789012:role/NAME."
        )
    return found


@lru_cache(maxsize=4096)
def principal_of(arn: str) -> Principal | None:
    """Read the role or user behind an ARN of any form that a log can hold; `None` where it is neither.

    A session ARN gives the role without its path: the session's name is `session_of`.
    """
    session = _SESSION.fullmatch(arn)
    if session:
        name = session["name"]
        own = f"arn:{session['partition']}:iam::{session['account']}:role/{name}"
        return Principal(own, session["partition"], session["account"], "role", name)
    match = _PRINCIPAL.fullmatch(arn)
    if not match:
        return None
    partition, account, kind, path, name = match.group("partition", "account", "kind", "path", "name")
    return Principal(f"arn:{partition}:iam::{account}:{kind}/{path}{name}", partition, account, kind, name)


def session_of(arn: str) -> str:
    """Read the session's name in an `assumed-role` ARN, else empty."""
    match = _SESSION.fullmatch(arn)
    return match["session"] if match else ""


def same_principal(one: Principal, other: Principal) -> bool:
    """Equal ARNs, or the same partition, account, kind and name where one of the two lacks the path."""
    if one.arn == other.arn:
        return True
    alike = (one.partition, one.account, one.kind, one.name) == (
        other.partition,
        other.account,
        other.kind,
        other.name,
    )
    return alike and not (_has_path(one) and _has_path(other))


def same_arn(one: str, other: str) -> bool:
    """Whether two ARNs, also of sessions, are of the same role or user, as `same_principal` tells."""
    found, known = principal_of(one), principal_of(other)
    return found is not None and known is not None and same_principal(found, known)


def _has_path(principal: Principal) -> bool:
    return not principal.arn.endswith(f":{principal.kind}/{principal.name}")


@lru_cache(maxsize=64)
def _accounts_of(targets: frozenset[Principal], patterns: frozenset[str]) -> frozenset[str]:
    return frozenset((*(target.account for target in targets), *(pattern.split(":")[4] for pattern in patterns)))


@lru_cache(maxsize=4096)
def _target_of(targets: frozenset[Principal], patterns: frozenset[str], arn: str) -> Principal | None:
    caller = principal_of(arn)
    if caller is None:
        return None
    alike = sorted((target for target in targets if same_principal(target, caller)), key=lambda target: target.arn)
    others = [*alike[:1], *([caller] if _fits(patterns, caller.arn) else [])]
    return next((target for target in alike if target.arn == caller.arn), others[0] if others else None)


def _fits(patterns: frozenset[str], arn: str) -> bool:
    if not patterns:
        return False
    from leastpriv.permissions.patterns import matches

    return any(matches(pattern, arn) for pattern in patterns)
