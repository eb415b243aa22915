"""Derives the reader role's grants, its trust policy, and the policies of another account's bucket
and key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from os.path import commonprefix
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import InputError
from leastpriv.models import Condition, Principal
from leastpriv.permissions.fact_tables import table

DEFAULT_SOURCES = ("event-history", "live-role", "denial-details", "last-accessed", "policy-checks")
"""Sources for a first run: they need no trail and are free."""
READER = "leastpriv-reader"
"""Name of the role, and of its inline policy."""
Values = Mapping[str, str | Sequence[str]]
"""Values of the grants' resources, by name; several values make several resources."""
_VALUE = re.compile(r"\{(\w+)\}")
_OWN = ("Partition", "Account")
"""Values of the role's own account, which a template finds out."""


class ReaderGrant(Struct, frozen=True):
    """One statement of the reader role's policy."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    """With values in braces, `arn:{Partition}:s3:::{TrailBucket}`."""
    condition: Condition | None
    page: str
    """AWS's page that documents the need."""


def known_sources() -> tuple[str, ...]:
    """Returns every source, in the order of the table."""
    return tuple(dict.fromkeys(row["source"] for row in _table("sources")))


def reader_grants(sources: Sequence[str], values: Values | None = None) -> tuple[ReaderGrant, ...]:
    """Returns the distinct grants that the chosen sources need, with `values` filled in, if given.

    Raises InputError for an unknown source, or for a value that a source lacks.
    """
    for name in sources:
        if name not in known_sources():
            raise InputError(f"--sources holds {name!r}: choose from {', '.join(known_sources())}.")
    grants = dict.fromkeys(_grant(row) for row in _table("sources") if row["source"] in sources)
    if values is None:
        return tuple(grants)
    for row in _table("sources"):
        if row["source"] in sources:
            _check_values(row, values)
    return tuple(_filled(grant, values) for grant in grants)


def _check_values(row: Mapping[str, str], values: Values) -> None:
    """Raises InputError for a value that a grant of a source needs and no option gives."""
    for name in _VALUE.findall(row["resources"] + row["condition"]):
        if name in _OWN or values.get(name):
            continue
        option = next(
            value_row["option"] for value_row in _table("values") if value_row["value"] == name
        )
        raise InputError(
            f"The source {row['source']} needs {option}: name it, or leave the source out."
        )


def _filled(grant: ReaderGrant, values: Values) -> ReaderGrant:
    """Returns a grant with the values of the options in its resources and its condition."""
    condition = grant.condition
    if condition:
        filled = tuple(
            filled_value
            for value in condition.values
            for filled_value in filled_values(value, values)
        )
        condition = Condition(condition.operator, condition.key, filled)
    resources = dict.fromkeys(
        filled_value
        for resource in grant.resources
        for filled_value in filled_values(resource, values)
    )
    return replace(grant, resources=tuple(resources), condition=condition)


def filled_values(text: str, values: Values) -> tuple[str, ...]:
    """Returns a text with the given values filled in: one text for each combination of values;
    unknown ones remain.
    """
    for name in dict.fromkeys(_VALUE.findall(text)):
        if name in values:
            value_texts = values[name]
            several = (value_texts,) if isinstance(value_texts, str) else value_texts
            filled = [text.replace(f"{{{name}}}", value) for value in several]
            return tuple(
                filled_value
                for partly_filled in filled
                for filled_value in filled_values(partly_filled, values)
            )
    return (text,)


def has_unknown_value(text: str) -> bool:
    """Whether a value in braces is not filled in."""
    return _VALUE.search(text) is not None


def reader_policy(grants: Iterable[ReaderGrant], values: Values) -> dict[str, Any]:
    """Returns the role's IAM policy; `values` has every value, `Partition` and `Account` among
    them.
    """
    return {
        "Version": "2012-10-17",
        "Statement": [_statement(_filled(grant, values)) for grant in grants],
    }


def _statement(grant: ReaderGrant) -> dict[str, Any]:
    """Returns a grant as a statement of a policy."""
    condition = grant.condition
    conditions = (
        {"Condition": {condition.operator: {condition.key: condition.values[0]}}}
        if condition
        else {}
    )
    statement = {
        "Sid": grant.sid,
        "Effect": "Allow",
        "Action": list(grant.actions),
        "Resource": list(grant.resources),
    }
    return {**statement, **conditions}


def bucket_policy(
    sources: Sequence[str], values: Values, accounts: Sequence[str]
) -> dict[str, Any]:
    """Returns what the bucket's policy must allow to the reader roles of other accounts: each reads
    its own folder.

    The principals are accounts, restricted to the role by condition: a role named there must exist,
    and one that is created again is another principal.
    """
    account_values = {**values, "Account": "${aws:PrincipalAccount}"}
    statements = [
        _statement(grant)
        for grant in reader_grants(sources, account_values)
        if grant.sid in _OF_THE_BUCKET
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            _from_accounts(statement, account_values, accounts) for statement in statements
        ],
    }


_OF_THE_BUCKET = ("ListTrailBucket", "ListAccounts", "ReadTrailFiles")


def key_policy(values: Values, accounts: Sequence[str]) -> dict[str, Any]:
    """Returns what the key's policy must allow to the reader roles of other accounts.

    The encryption context is that of CloudTrail's files ("Granting decrypt permissions" of the
    CloudTrail User Guide).
    """
    statement = {
        "Sid": "DecryptTrailFiles",
        "Action": ["kms:Decrypt"],
        "Resource": ["*"],
        "Condition": {"Null": {"kms:EncryptionContext:aws:cloudtrail:arn": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [_from_accounts(statement, values, accounts)]}


def _from_accounts(
    statement: dict[str, Any], values: Values, accounts: Sequence[str]
) -> dict[str, Any]:
    """Returns a statement of a bucket's or key's policy that grants the same to the reader roles of
    other accounts.
    """
    roots = [f"arn:{values['Partition']}:iam::{account}:root" for account in accounts]
    readers = [f"arn:{values['Partition']}:iam::{account}:role/{READER}" for account in accounts]
    condition = {"ArnEquals": {"aws:PrincipalArn": readers}, **statement.get("Condition", {})}
    other_members = {
        name: value
        for name, value in statement.items()
        if name not in ("Sid", "Effect", "Condition")
    }
    sid = f"Leastpriv{statement['Sid']}"
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"AWS": roots},
        **other_members,
        "Condition": condition,
    }


def trust_policy(provider: str, audience: str, subjects: Sequence[str]) -> dict[str, Any]:
    """Returns the trust policy for jobs with one of these subjects; `provider` is the ARN of the
    OIDC provider.
    """
    issuer = provider.partition(":oidc-provider/")[2]
    condition: dict[str, dict[str, Any]] = {"StringEquals": {f"{issuer}:aud": audience}}
    condition.setdefault(subject_operator(subjects), {})[f"{issuer}:sub"] = list(subjects)
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": provider},
        "Action": "sts:AssumeRoleWithWebIdentity",
    }
    return {"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition}]}


def subject_operator(subjects: Sequence[str]) -> str:
    """Returns the condition operator for some subjects: a pattern of tags has wildcards."""
    return "StringLike" if any("*" in subject for subject in subjects) else "StringEquals"


MOST_NAMES = 40
"""Most roles or accounts that a policy names: 200 exceed its size."""


def arn_ends(principals: Iterable[Principal]) -> tuple[str, ...]:
    """Returns the ends of the ARNs, `role/ci-deploy`; of many, which exceed a policy's size, one
    pattern.
    """
    ends = tuple(dict.fromkeys(principal.arn.split(":", 5)[5] for principal in principals))
    if len(ends) <= MOST_NAMES:
        return ends
    # Of characters, not of folders.
    return (f"{commonprefix(ends)}*",)  # noqa: RUF071


def _grant(row: Mapping[str, str]) -> ReaderGrant:
    operator, key, value = row["condition"].split(" ") if row["condition"] else ("", "", "")
    return ReaderGrant(
        row["sid"],
        tuple(row["actions"].split(",")),
        tuple(row["resources"].split(" ")),
        Condition(operator, key, (value,)) if operator else None,
        row["page"],
    )


def _table(name: str) -> tuple[Mapping[str, str], ...]:
    return table(name, __package__ or "")
