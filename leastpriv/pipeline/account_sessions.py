"""Opens an AWS session for each account whose targets are read by a role of their own."""

from __future__ import annotations

from collections.abc import Mapping

from leastpriv.aws.assumed_role import AssumedRole, AssumedSession
from leastpriv.aws.session import AwsSession
from leastpriv.config.targets_file import Configuration


def account_sessions(
    configuration: Configuration, trusted: Configuration | None, base: AwsSession
) -> Mapping[str, AwsSession]:
    """Returns the sessions by account; accounts that the run's own credentials read are left out.

    Args:
        configuration: the config that the run reads, which may be that of a pull request.
        trusted: the config of the base branch; None where it is not known. It alone decides which roles are assumed.
        base: the session of the run's own credentials.
    """
    known = _readers(trusted) if trusted else {}
    return {
        account: AssumedSession(reader, base, "" if known.get(account) == reader else _untrusted(reader, trusted))
        for account, reader in _readers(configuration).items()
    }


def _readers(configuration: Configuration) -> Mapping[str, AssumedRole]:
    return {entry.account: entry.reader for entry in configuration.entries if entry.reader}


def _untrusted(reader: AssumedRole, trusted: Configuration | None) -> str:
    if trusted is None:
        return (
            f"The role {reader.arn} is not assumed: assume-role counts only in the config of the base branch, which is "
            "not there, or not known without github-token."
        )
    return (
        f"The role {reader.arn} is not assumed: the config of the base branch does not name it with these values for "
        f"the account {reader.account}. It counts once it is merged."
    )
