"""Lists the accounts of the AWS organization."""

from __future__ import annotations

from leastpriv.aws.session import Aws, pages
from leastpriv.permissions.event_table import home_region


def organization_accounts(aws: Aws) -> tuple[str, ...]:
    """Returns the ids of the active accounts, sorted; raises AwsError.

    Only the management account and delegated administrators may list them ("ListAccounts", AWS
    Organizations API reference, read 2026-12-01).
    """
    client = aws.client("organizations", home_region("organizations", aws.partition))
    activity = "listing the accounts of the organization (accounts: organization)"
    account_pages = pages(client, "list_accounts", activity, "organizations:ListAccounts")
    listed_accounts = [account for page in account_pages for account in page.get("Accounts") or ()]
    return tuple(
        sorted(
            str(account["Id"]) for account in listed_accounts if account.get("Status") == "ACTIVE"
        )
    )
