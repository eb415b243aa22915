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
    doing = "listing the accounts of the organization (accounts: organization)"
    found = pages(client, "list_accounts", doing, "organizations:ListAccounts")
    listed = [account for page in found for account in page.get("Accounts") or ()]
    return tuple(sorted(str(each["Id"]) for each in listed if each.get("Status") == "ACTIVE"))
