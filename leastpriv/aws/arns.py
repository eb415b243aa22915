"""The interface of evidence sources, `read(window, principals)` -> calls and gaps, and the
principals to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import InputError
from leastpriv.models import Call, Gap, Principal

# Names: IAM allows letters, digits and +=,.@_- (IAM User Guide, "IAM and AWS STS quotas", read
# 2026-11-24). Paths (printable ASCII) and accounts are matched loosely, because published logs mask
# them.
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


class Window(Struct, frozen=True):
    """The period to read: `start` inclusive, `end` exclusive; aware UTC, `None`: open."""

    start: datetime | None = None
    end: datetime | None = None

    def contains(self, time: datetime) -> bool:
        """Whether the window contains a time."""
        return (self.start is None or time >= self.start) and (self.end is None or time < self.end)

    def since(self, time: datetime | None) -> Window:
        """Returns the part of the window from `time` on; the whole window where `time` is None."""
        return replace(self, start=max(filter(None, (self.start, time)), default=None))


class Principals(Struct, frozen=True):
    """The principals whose calls are read: a set of targets, or all (`targets` is `None`)."""

    targets: frozenset[Principal] | None = None
    patterns: frozenset[str] = frozenset()
    """ARNs with wildcards: roles and users that are read in addition to the targets."""

    def wants(self, principal_arn: str) -> bool:
        """Whether to read the calls of this role or user."""
        return self.targets is None or self.target_of(principal_arn) is not None

    @property
    def accounts(self) -> frozenset[str] | None:
        """Accounts of the targets, whose trails have their calls; `None` where the accounts are not
        known before their records are read.
        """
        return None if self.targets is None else _accounts_of(self.targets, self.patterns)

    def include(self, account: str) -> bool:
        """Whether an account may belong to one of the targets."""
        accounts = self.accounts
        return accounts is None or account in accounts

    @property
    def has_several_accounts(self) -> bool:
        """Whether the targets are, or may be, in several accounts."""
        accounts = self.accounts
        return self.targets is not None and (accounts is None or len(accounts) > 1)

    def target_of(self, principal_arn: str) -> Principal | None:
        """Returns the target that made a call.

        Equal ARNs match first. Otherwise the same partition, account, kind and name match when one
        of the two lacks the path, because a session ARN (`assumed-role/NAME/SESSION`) has no role
        path. A principal that matches a pattern is a target, too.
        """
        return _target_of(self.targets or frozenset(), self.patterns, principal_arn)


class EvidenceSource(Protocol):
    """A source of evidence."""

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Reads the calls of these principals in this window, and gaps for what could not be read.

        Roughly oldest first, event history newest first; memory does not grow with the amount of
        evidence.

        Raises:
            InputError: the source does not exist; may be raised while reading. With other sources
                it becomes a gap (`evidence/collector.py`).
        """
        ...  # pragma: no cover


def parse_principal(arn: str) -> Principal:
    """Parses the ARN of a role or user that a user entered.

    Raises InputError where the ARN is of a session, or not of a role or user.
    """
    principal = principal_of(arn)
    if principal and session_of(arn):
        raise InputError(
            f"{arn!r} is the ARN of a session, not of a role: use the role's own ARN,"
            f" {principal.arn} (with the role's path if it has one)."
        )
    if (
        principal is None
        or principal.arn != arn
        or not re.fullmatch(r"[0-9]{12}", principal.account)
    ):
        slip = _slip_of(arn)
        hint = f" ({slip})" if slip else ""
        raise InputError(
            f"{arn!r} is not the ARN of a role or user{hint}: use the role's own ARN,"
            " like arn:aws:iam::123456789012:role/NAME."
        )
    return principal


def _slip_of(text: str) -> str:
    """Returns the slip in a text that should be the ARN of a role; empty if none is known."""
    arn = text.strip("\"'`")
    if arn != text:
        return "it has quotes"
    parts = arn.split(":", 5)
    if len(parts) < 6 or parts[0] != "arn":
        return ""
    _, _, service, region, account, name = parts
    kind, _, _ = name.partition("/")
    if service not in ("iam", "sts"):
        return f"it is an ARN of {service}"
    if region:
        return "an ARN of IAM has no region"
    if not re.fullmatch(r"[0-9]{12}", account, re.ASCII):
        return "the number of an account has 12 digits"
    if kind.lower() in ("role", "user"):
        return f"write {kind.lower()} in small letters" if kind != kind.lower() else ""
    return f"it is of the type {kind}"


@lru_cache(maxsize=4096)
def principal_of(arn: str) -> Principal | None:
    """Parses any form of ARN in a log to a role or user; `None` where it is neither.

    A session ARN gives the role without its path; `session_of` returns the session name.
    """
    session = _SESSION.fullmatch(arn)
    if session:
        name = session["name"]
        role_arn = f"arn:{session['partition']}:iam::{session['account']}:role/{name}"
        return Principal(role_arn, session["partition"], session["account"], "role", name)
    match = _PRINCIPAL.fullmatch(arn)
    if not match:
        return None
    partition, account, kind, path, name = match.group(
        "partition", "account", "kind", "path", "name"
    )
    return Principal(
        f"arn:{partition}:iam::{account}:{kind}/{path}{name}", partition, account, kind, name
    )


def session_of(arn: str) -> str:
    """Returns the session name of an `assumed-role` ARN, else an empty string."""
    match = _SESSION.fullmatch(arn)
    return match["session"] if match else ""


def same_principal(one: Principal, other: Principal) -> bool:
    """Whether the ARNs are equal, or partition, account, kind and name are and one of the two lacks
    the path.
    """
    if one.arn == other.arn:
        return True
    bare = any(
        principal.arn.endswith(f":{principal.kind}/{principal.name}") for principal in (one, other)
    )
    return bare and all(
        getattr(one, name) == getattr(other, name)
        for name in ("partition", "account", "kind", "name")
    )


def same_arn(one: str, other: str) -> bool:
    """Whether two ARNs, of roles, users or sessions, belong to the same role or user (see
    `same_principal`).
    """
    first, second = principal_of(one), principal_of(other)
    return first is not None and second is not None and same_principal(first, second)


@lru_cache(maxsize=64)
def _accounts_of(targets: frozenset[Principal], patterns: frozenset[str]) -> frozenset[str] | None:
    accounts = {target.account for target in targets} | {
        account_of(pattern) for pattern in patterns
    }
    if any(has_wildcard(account) for account in accounts):
        return None
    return frozenset(accounts)


def account_of(arn: str) -> str:
    """Returns the account of an ARN or of a pattern of ARNs; empty where it has none."""
    return "".join(arn.split(":")[4:5])


def region_field(arn: str) -> str:
    """Returns what an ARN or a pattern of ARNs has as its region; empty where it has none."""
    return "".join(arn.split(":")[3:4]) if arn.startswith("arn:") else ""


def has_wildcard(text: str) -> bool:
    """Whether a text is a pattern: it has `*` or `?`."""
    return "*" in text or "?" in text


def _arn_without_path(principal: Principal) -> str:
    """Returns what identifies a role or user whatever its path: `same_principal` compares it."""
    resource = f"{principal.kind}/{principal.name}"
    return f"arn:{principal.partition}:iam::{principal.account}:{resource}"


@lru_cache(maxsize=64)
def _by_arn_without_path(targets: frozenset[Principal]) -> Mapping[str, list[Principal]]:
    """Returns the targets, those of one name sorted: there may be thousands."""
    by_arn: dict[str, list[Principal]] = {}
    for target in sorted(targets, key=lambda target: target.arn):
        by_arn.setdefault(_arn_without_path(target), []).append(target)
    return by_arn


@lru_cache(maxsize=4096)
def _target_of(
    targets: frozenset[Principal], patterns: frozenset[str], arn: str
) -> Principal | None:
    """Returns the target that an ARN of a caller means, whatever the path in it; with patterns the
    caller itself.
    """
    caller = principal_of(arn)
    if caller is None:
        return None
    of_the_name = _by_arn_without_path(targets).get(_arn_without_path(caller), ())
    matching_targets = [target for target in of_the_name if same_principal(target, caller)]
    if matching_targets:
        return next(
            (target for target in matching_targets if target.arn == caller.arn), matching_targets[0]
        )
    from leastpriv.permissions.patterns import matches

    return caller if any(matches(pattern, caller.arn) for pattern in patterns) else None


def short_arn(arn: str) -> str:
    """Returns an ARN without partition, service, region and account: `table/orders-*`."""
    parts = arn.split(":", 5)
    return parts[5] if len(parts) == 6 and parts[0] == "arn" and parts[5] else arn
