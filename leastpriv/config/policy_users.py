"""Reads the users of a policy from the input `role-arn`: ARNs, patterns, labels and exclusions.

`LABEL=ARN` names a user in reports, and `!ARN` says that a role is no user. A pattern has `*` or
`?` in account, path or name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from leastpriv.aws.arns import account_of, has_wildcard
from leastpriv.config.inputs import Value, check_own_policy, named_principal
from leastpriv.errors import InputError
from leastpriv.evidence.users import OWN_ACCOUNT, common_principal
from leastpriv.models import Principal

_USER = re.compile(r"(?:(?P<label>[A-Za-z0-9][\w .-]{0,63})=)?(?P<excluded>!?)(?P<arn>arn:.*)")
_SEPARATOR = re.compile(r"[\r\n]+|,(?=\s*(?:[\w .-]{1,64}=)?!?arn:)")
_PATTERN = re.compile(
    r"arn:(?P<partition>aws(?:-[a-z]+)*):iam::(?P<account>[0-9*?]{1,12}):role/"
    r"(?P<path>[\w+=,.@/*?-]{1,576})",
    re.ASCII,
)


class PolicyUsers(Struct, frozen=True):
    """The users of a policy as an input names them."""

    arns: tuple[str, ...] = ()
    """ARNs and patterns; empty where the policy has the one user of the settings."""
    labels: Mapping[str, str] = {}
    """ARN or pattern -> its name in reports."""
    excluded: tuple[str, ...] = ()
    """ARNs and patterns of roles that are no users."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns among the users."""
        return tuple(arn for arn in self.arns if has_wildcard(arn))

    @property
    def named(self) -> tuple[str, ...]:
        """The ARNs among the users."""
        return tuple(arn for arn in self.arns if not has_wildcard(arn))

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts of the users, each once; a pattern may name several by wildcards."""
        return tuple(dict.fromkeys(map(account_of, self.arns)))


def policy_users(value: Value, label: str) -> PolicyUsers:
    """Returns the users that an input names; raises InputError where one is no role or user."""
    arns: list[str] = []
    labels: dict[str, str] = {}
    excluded: list[str] = []
    for text in _texts(value):
        user = _USER.fullmatch(text)
        if not user:
            # The whole value is named, as one that is no list.
            named_principal(value if isinstance(value, str) else text, label)
            continue
        arn = user["arn"]
        _check_arn(arn, label)
        if user["excluded"]:
            excluded.append(arn)
            continue
        if arn in arns:
            raise InputError(f"{label} names {arn!r} twice.")
        if user["label"]:
            labels[arn] = user["label"].strip()
        arns.append(arn)
    if excluded and not arns:
        raise InputError(f"{label} excludes roles and names none: add the ARN of a role.")
    if len(set(labels.values())) < len(labels):
        raise InputError(f"{label} gives one label to two roles: choose another for one of them.")
    return PolicyUsers(tuple(arns), labels, tuple(excluded))


def _check_arn(arn: str, label: str) -> None:
    if has_wildcard(arn):
        _check_pattern(arn, label)
    else:
        named_principal(arn, label)


def _texts(value: Value) -> tuple[str, ...]:
    """Returns the entries of the input; a name may contain a comma."""
    texts = _SEPARATOR.split(value) if isinstance(value, str) else value
    return tuple(text.strip() for text in texts if text.strip())


def principal_of_users(users: PolicyUsers, label: str) -> Principal:
    """Returns the common principal of all users; that of a pattern is in every account where
    the account has a wildcard.
    """
    return common_principal([_principal(arn, label) for arn in users.arns])


def _principal(arn: str, label: str) -> Principal:
    """Returns a user of the policy, a role or an IAM user, as a principal.

    A run has one principal in its settings, and a pattern names none. So a pattern gives a made-up
    role: `arn:aws:iam::*:role/ci-*` the role `ci` of the stand-in account.
    """
    match = _PATTERN.fullmatch(arn) if has_wildcard(arn) else None
    if not match:
        return named_principal(arn, label)
    account = OWN_ACCOUNT if has_wildcard(match["account"]) else match["account"]
    path, slash, last = match["path"].rpartition("/")
    name = re.sub(r"[*?]+", "", last).strip("_+=,.@-") or "role"
    folders = f"{path}{slash}" if not has_wildcard(path) else ""
    return Principal(
        arn=f"arn:{match['partition']}:iam::{account}:role/{folders}{name}",
        partition=match["partition"],
        account=account,
        kind="role",
        name=name,
    )


def _check_pattern(arn: str, label: str) -> None:
    if not _PATTERN.fullmatch(arn):
        raise InputError(
            f"{label} is {arn!r}: wildcards may stand in account, path and name of a role, as in"
            " arn:aws:iam::*:role/ci-deploy."
        )
    check_own_policy(arn, label)


def check_one_policy(users: PolicyUsers, where: str) -> None:
    """Raises InputError for a pattern that any role matches: such roles share no policy."""
    for arn in users.patterns:
        name = arn.rpartition("/")[2]
        if not re.search(r"[A-Za-z0-9]", name):
            raise InputError(
                f"{where} is {arn!r}, which roles of any name match: name the roles that share the"
                " policy file, or write {name} in policy-file for a file each."
            )


def of_accounts(arns: Sequence[str], accounts: Sequence[str]) -> tuple[str, ...]:
    """Returns ARNs and patterns with each account in place of a wildcard that matches it."""
    from leastpriv.permissions.patterns import matches

    arns_of_accounts: list[str] = []
    for arn in arns:
        account = account_of(arn)
        if not has_wildcard(account):
            arns_of_accounts.append(arn)
            continue
        matching_accounts = [
            listed_account for listed_account in accounts if matches(account, listed_account)
        ]
        arns_of_accounts += [
            arn.replace(f"::{account}:", f"::{matching_account}:", 1)
            for matching_account in matching_accounts
        ]
    return tuple(dict.fromkeys(arns_of_accounts))
