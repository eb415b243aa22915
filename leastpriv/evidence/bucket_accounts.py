"""Adds the account of a bucket to the needs of its objects, where the records show who created
the bucket (pure).

An ARN of an object does not show whose bucket it is in. A bucket is created in the caller's account
("CreateBucket", Amazon S3 API Reference, read 2026-12-02), so that for the buckets of a principal's
own runs the value of `aws:ResourceAccount` is known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import structs

from leastpriv.evidence.models import CallTotals, GroupKey, regrouped
from leastpriv.models import Condition, Need, Outcome

RESOURCE_ACCOUNT = "aws:ResourceAccount"
_CREATE_BUCKET = "s3:CreateBucket"


def with_bucket_accounts(
    groups: Mapping[GroupKey, CallTotals], principal: str
) -> Mapping[GroupKey, CallTotals]:
    """Returns the groups; needs of objects get the account where the principal created their
    bucket.
    """
    buckets = {
        need.permission.resource
        for key, totals in groups.items()
        if key.outcome is Outcome.ALLOWED and totals.succeeded
        for need in key.needs
        if need.permission.action == _CREATE_BUCKET and need.exact
    }
    if not buckets:
        return groups
    account = Condition("StringEquals", RESOURCE_ACCOUNT, (principal.split(":")[4],))

    def with_account(key: GroupKey, _: CallTotals) -> GroupKey:
        if key.outcome is not Outcome.ALLOWED:
            return key
        needs = [_with_account(need, buckets, account) for need in key.needs]
        return key._replace(needs=tuple(needs))

    return regrouped(groups, with_account)


def _with_account(need: Need, buckets: Collection[str], account: Condition) -> Need:
    bucket, slash, _ = need.permission.resource.partition("/")
    if not slash or bucket not in buckets:
        return need
    return structs.replace(need, context=(*need.context, account))
