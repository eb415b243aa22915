"""A response that no AWS service wrote, or that lacks a member, is an error and never an empty
result.
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from leastpriv.aws.arns import Window
from leastpriv.aws.errors import to_aws_error, translate_errors
from leastpriv.aws.session import method_name
from leastpriv.cloudtrail.file_store import LogPrefix
from leastpriv.cloudtrail.s3_bucket import Bucket
from leastpriv.cloudtrail.trail_config import find_trail
from leastpriv.errors import AwsError, AwsErrorKind
from leastpriv.evidence.live_role import list_matching_roles
from tests.fakes.aws.raw_answers import Raw, answering

PAGE = "<!DOCTYPE html>\n<html><body>This site is blocked.</body></html>"
REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("cloudtrail", "LookupEvents", {}),
    ("accessanalyzer", "ListAnalyzers", {}),
    ("iam", "GetRole", {"RoleName": "deploy"}),
    ("s3", "ListObjectsV2", {"Bucket": "logs"}),
]


@pytest.mark.parametrize("status", [200, 302, 403, 407])
@pytest.mark.parametrize(("service", "operation", "arguments"), REQUESTS)
def test_a_page_of_a_proxy_is_no_answer_and_no_denial(
    service: str,
    operation: str,
    arguments: dict[str, Any],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = answering(monkeypatch, {operation: [Raw(PAGE, status)]}).client(service)
    with (
        pytest.raises(AwsError, match="may not come from AWS") as caught,
        translate_errors("reading", "x:Y"),
    ):
        getattr(client, method_name(operation))(**arguments)
    assert (caught.value.kind, caught.value.missing_action) == (AwsErrorKind.INCOMPLETE, "")


@pytest.mark.parametrize(("service", "operation", "arguments"), REQUESTS)
def test_a_page_of_an_overloaded_server_asks_for_another_run(
    service: str, operation: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = answering(monkeypatch, {operation: [Raw(PAGE, 503)]}).client(service)
    with pytest.raises(AwsError, match="run again later"), translate_errors("reading"):
        getattr(client, method_name(operation))(**arguments)


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "answer"),
    [
        ("cloudtrail", "LookupEvents", {}, Raw("", 403)),
        ("cloudtrail", "LookupEvents", {}, Raw('{"error": "blocked by the gateway"}', 403)),
        ("cloudtrail", "LookupEvents", {}, Raw('{"Events": [{"EventId": "a"')),
        ("cloudtrail", "LookupEvents", {}, Raw("null")),
        ("s3", "ListObjectsV2", {"Bucket": "logs"}, Raw("Access denied by the proxy", 403)),
        (
            "iam",
            "GetRole",
            {"RoleName": "deploy"},
            Raw("<?xml version='1.0'?><rss><channel/></rss>"),
        ),
    ],
)
def test_an_answer_without_the_form_of_its_protocol_is_not_from_aws(
    service: str,
    operation: str,
    arguments: dict[str, Any],
    answer: Raw,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = answering(monkeypatch, {operation: [answer]}).client(service)
    with pytest.raises(AwsError, match="may not come from AWS"), translate_errors("reading", "x:Y"):
        getattr(client, method_name(operation))(**arguments)


def test_an_explicit_deny_asks_for_no_grant() -> None:
    denied = (
        "User: arn:aws:sts::1:assumed-role/r/x is not authorized to perform: iam:GetRole on"
        " resource: role deploy"
    )
    message = (
        f"{denied} with an explicit deny in an identity-based policy:"
        " arn:aws:iam::111122223333:policy/no-iam"
    )
    error = to_aws_error(
        ClientError({"Error": {"Code": "AccessDenied", "Message": message}}, "X"), "reading"
    )
    assert "policy/no-iam: no Allow helps" in str(error)
    assert "allow it to" not in str(error)


def test_a_trail_that_the_answer_lacks_is_not_called_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws = answering(monkeypatch, {"DescribeTrails": [Raw("{}")]})
    with pytest.raises(AwsError, match="lacks trailList"):
        find_trail(aws, "main")


def test_a_record_that_quotes_html_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    events = {"Events": [{"CloudTrailEvent": '{"userAgent": "<html>"}'}]}
    client = answering(monkeypatch, {"LookupEvents": [Raw.json(events)]}).client("cloudtrail")
    assert client.lookup_events()["Events"] == events["Events"]


def test_a_list_of_roles_that_breaks_off_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = answering(
        monkeypatch,
        {"ListRoles": [Raw.query("ListRoles", "<IsTruncated>true</IsTruncated><Roles/>")]},
    )
    with pytest.raises(AwsError, match="lacks Marker"):
        list_matching_roles(aws, ["arn:aws:iam::111122223333:role/*"], "aws")


FOLDER = "AWSLogs/111122223333/CloudTrail/eu-west-1/"


def page(days: list[int], more: str = "") -> Raw:
    names = (
        f"2026/11/{day:02}/111122223333_CloudTrail_eu-west-1_202611{day:02}T0000Z_a.json.gz"
        for day in days
    )
    files = "".join(
        f"<Contents><Key>{FOLDER}{name}</Key><Size>3</Size></Contents>" for name in names
    )
    token = f"<NextContinuationToken>{more}</NextContinuationToken>" if more else ""
    return Raw(
        f"<ListBucketResult><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{token}{files}</ListBucketResult>"
    )


@pytest.mark.parametrize(
    ("pages", "days", "is_whole"),
    [
        ([page([1], "a"), page([], "b"), page([3])], ["01", "03"], True),
        ([page([], "a"), page([3])], ["03"], True),
        ([page([1], "a"), Raw("")], ["01"], False),
    ],
)
def test_an_empty_page_of_a_bucket_ends_no_listing(
    pages: list[Raw], days: list[str], is_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket("logs", answering(monkeypatch, {"ListObjectsV2": pages}).client("s3"))
    bucket.prefixes = (LogPrefix(FOLDER, dated=True, region="eu-west-1", account="111122223333"),)
    assert [stored.key.split("/")[6] for stored in bucket.list(Window())] == days
    assert (not bucket.unlisted) is is_whole


NOT_ENABLED = "The AWS Access Key Id needs a subscription for the service"
SKEWED = "The difference between the request time and the current time is too large."


@pytest.mark.parametrize(
    ("code", "message", "kind", "words"),
    [
        ("OptInRequired", NOT_ENABLED, "invalid", "aws-regions"),
        ("SubscriptionRequiredException", NOT_ENABLED, "invalid", "aws-regions"),
        (
            "RegionDisabledException",
            "STS is not activated in this region for account:1.",
            "invalid",
            "Activate STS",
        ),
        (
            "InvalidSignatureException",
            "Signature expired: 20261124T110000Z is now earlier than",
            "invalid",
            "clock",
        ),
        (
            "SignatureDoesNotMatch",
            "Signature not yet current: 20261124T130000Z is still",
            "invalid",
            "clock",
        ),
        ("RequestTimeTooSkewed", SKEWED, "invalid", "clock"),
        (
            "InvalidToken",
            "The provided token is malformed or otherwise invalid.",
            "invalid",
            "check where",
        ),
        (
            "InvalidObjectState",
            "The operation is not valid for the object's storage class",
            "other",
            "restore them",
        ),
        (
            "AccessDeniedException",
            "You don't have permissions to access this resource.",
            "denied",
            "management account",
        ),
        ("KMS.ThrottlingException", "You have exceeded the rate", "throttled", "run again later"),
        (
            "RequestTimeout",
            "Your socket connection to the server was not read",
            "server",
            "run again later",
        ),
    ],
)
def test_an_error_code_shows_the_cause_and_its_remedy(
    code: str, message: str, kind: str, words: str
) -> None:
    error = to_aws_error(
        ClientError({"Error": {"Code": code, "Message": message}}, "X"), "reading", "x:Y"
    )
    assert error.kind is AwsErrorKind(kind)
    assert words in str(error)
