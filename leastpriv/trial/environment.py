"""The environment of the command: the trial's credentials, and no way to any other (pure)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from leastpriv.permissions.tables import table


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary keys of one session."""

    key: str
    secret: str = field(repr=False)
    token: str = field(repr=False)


def child_environment(environment: Mapping[str, str], credentials: Credentials, region: str) -> dict[str, str]:
    """The caller's environment with only the trial's credentials.

    The files of `~/.aws` are hidden too, since a profile there may lead to the caller's own rights; `region`, which may
    come from there, is set if it is known. Nothing is taken from an instance's metadata.
    """
    hidden = [row["name"] for row in table("credential_variables", __package__)]
    kept = {name: value for name, value in environment.items() if not _is_one_of(name.upper(), hidden)}
    regions = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region} if region else {}
    return {
        **regions,
        **kept,
        "AWS_ACCESS_KEY_ID": credentials.key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret,
        "AWS_SESSION_TOKEN": credentials.token,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
    }


def _is_one_of(name: str, hidden: Sequence[str]) -> bool:
    return any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in hidden)
