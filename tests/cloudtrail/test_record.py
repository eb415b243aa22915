"""One CloudTrail record -> one call, one gap, or nothing."""

import gzip
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.cloudtrail.record import NoCall, SkipReason, is_login, parse_record
from leastpriv.models import Call, Gap, GapKind, Outcome, Scope

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci/deploy"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/16213480461"
IDENTITY: dict[str, Any] = {
    "type": "AssumedRole",
    "principalId": "AROAEXAMPLE:16213480461",
    "arn": SESSION,
    "accountId": ACCOUNT,
    "sessionContext": {"sessionIssuer": {"type": "Role", "arn": ROLE, "userName": "deploy"}},
}


def read_record(*given: Any) -> Call | Gap | None:
    """The call of a record, or its gap; None where it is skipped."""
    parsed = parse_record(*given)
    return None if isinstance(parsed, SkipReason) else parsed


def record(**fields: Any) -> dict[str, Any]:
    """A plain record of the role; a field given as `None` is `null`, one given as `...` is left
    out.
    """
    plain: dict[str, Any] = {
        "eventVersion": "1.08",
        "userIdentity": IDENTITY,
        "eventTime": "2026-01-02T03:04:05Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": "GetBucketCors",
        "awsRegion": "eu-west-1",
        "eventID": "id-1",
        "eventType": "AwsApiCall",
        "requestParameters": {"bucketName": "b"},
        "readOnly": True,
    }
    return {key: value for key, value in {**plain, **fields}.items() if value is not ...}


def call(**fields: Any) -> Call:
    read_call = read_record(record(**fields))
    assert isinstance(read_call, Call)
    return read_call


def by(**identity: Any) -> Call | Gap | None:
    return read_record(record(userIdentity=identity))


def test_a_record_of_a_session_is_a_call_of_the_role_with_its_path() -> None:
    assert call() == Call(
        event_id="id-1",
        principal=ROLE,
        session="16213480461",
        time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        account=ACCOUNT,
        region="eu-west-1",
        source="s3.amazonaws.com",
        name="GetBucketCors",
        parameters={"bucketName": "b"},
        response={},
        resources=(),
        outcome=Outcome.ALLOWED,
        read_only=True,
    )


def test_without_a_session_issuer_the_role_is_the_one_in_the_session_arn() -> None:
    read_call = by(type="AssumedRole", arn=SESSION, accountId=ACCOUNT)
    assert isinstance(read_call, Call)
    assert (read_call.principal, read_call.session) == (
        f"arn:aws:iam::{ACCOUNT}:role/deploy",
        "16213480461",
    )


def test_a_user_has_no_session() -> None:
    read_call = by(type="IAMUser", arn=f"arn:aws-cn:iam::{ACCOUNT}:user/ci/bot", accountId=ACCOUNT)
    assert isinstance(read_call, Call)
    assert (read_call.principal, read_call.session) == (
        f"arn:aws-cn:iam::{ACCOUNT}:user/ci/bot",
        "",
    )


def test_a_user_whom_the_record_gives_by_name_only_is_found_by_account_and_name() -> None:
    read_call = by(type="IAMUser", userName="bot", accountId=ACCOUNT)
    assert isinstance(read_call, Call)
    assert read_call.principal == f"arn:aws:iam::{ACCOUNT}:user/bot"


@pytest.mark.parametrize("arn", [SESSION, f"arn:aws:iam::{ACCOUNT}:user/bot"])
def test_an_identity_without_a_type_counts_where_its_arn_says_who_it_is(arn: str) -> None:
    assert isinstance(by(arn=arn, accountId=ACCOUNT), Call)


def test_a_federated_user_has_the_permissions_of_its_creator() -> None:
    issuer = {"type": "IAMUser", "arn": f"arn:aws:iam::{ACCOUNT}:user/maker"}
    arn = f"arn:aws:sts::{ACCOUNT}:federated-user/guest"
    read_call = by(type="FederatedUser", arn=arn, sessionContext={"sessionIssuer": issuer})
    assert isinstance(read_call, Call)
    assert (read_call.principal, read_call.session) == (issuer["arn"], "")
    assert by(type="FederatedUser", arn=arn) is None


@pytest.mark.parametrize("service", ["AWS Internal", "cloudformation.amazonaws.com"])
def test_a_forwarded_call_belongs_to_the_caller(service: str) -> None:
    read_call = by(**IDENTITY, invokedBy=service)
    assert isinstance(read_call, Call)
    assert (read_call.principal, read_call.invoked_by) == (ROLE, service)


@pytest.mark.parametrize(
    "kind",
    ["AWSService", "AWSAccount", "Root", "WebIdentityUser", "SAMLUser", "IdentityCenterUser"],
)
def test_a_caller_whom_no_policy_of_a_role_or_user_governs_makes_no_call(kind: str) -> None:
    parsed = parse_record(record(userIdentity={"type": kind, "arn": SESSION, "accountId": ACCOUNT}))
    assert parsed is SkipReason.OTHER_CALLER


@pytest.mark.parametrize("kind", ["Unknown", "RobotUser"])
def test_a_caller_of_unknown_type_with_the_arn_of_a_role_is_a_call_of_unknown_outcome(
    kind: str,
) -> None:
    read_call = by(type=kind, arn=SESSION, accountId=ACCOUNT)
    assert isinstance(read_call, Call)
    assert (read_call.outcome, read_call.caller_doubt) == (Outcome.UNKNOWN, kind)
    assert isinstance(parse_record(record(userIdentity={"type": kind, "accountId": ACCOUNT})), Gap)


@pytest.mark.parametrize(
    "identity",
    [
        {"type": "AssumedRole", "accountId": "999999999999"},
        {"type": "AssumedRole", "accountId": ACCOUNT, "userName": "another"},
        {
            "type": "AssumedRole",
            "accountId": ACCOUNT,
            "sessionContext": {"sessionIssuer": {"userName": "another"}},
        },
    ],
)
def test_an_unreadable_caller_that_cannot_be_a_target_hides_nothing(
    identity: dict[str, Any],
) -> None:
    unreadable = record(userIdentity=identity)
    assert isinstance(parse_record(unreadable), Gap)
    parsed = parse_record(unreadable, lambda arn: arn == ROLE, lambda account: account == ACCOUNT)
    assert parsed is SkipReason.NOT_WANTED


def test_a_service_linked_role_makes_no_call() -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
    identity = {**IDENTITY, "sessionContext": {"sessionIssuer": {"arn": arn}}}
    assert parse_record(record(userIdentity=identity)) is SkipReason.OTHER_CALLER


@pytest.mark.parametrize(
    "kind",
    [
        "AwsServiceEvent",
        "AwsConsoleSignIn",
        "AwsConsoleAction",
        "AwsVpceEvent",
        "AwsCloudTrailInsight",
    ],
)
def test_an_event_that_is_no_api_call_makes_no_call(kind: str) -> None:
    assert parse_record(record(eventType=kind)) is SkipReason.EVENT_TYPE


@pytest.mark.parametrize("kind", ["AwsServiceEvent", "AwsConsoleSignIn"])
def test_a_record_that_names_a_wanted_role_and_is_no_call_says_what_it_is(kind: str) -> None:
    parsed = parse_record(record(eventType=kind), lambda arn: arn == ROLE)
    assert parsed == NoCall(ROLE, kind)
    assert parse_record(record(eventType=kind), lambda _: False) is SkipReason.EVENT_TYPE


def test_a_record_of_an_unknown_type_is_a_gap_of_the_role_that_it_names() -> None:
    unknown_record = record(eventType="AwsApiCallV2")
    parsed = parse_record(unknown_record, lambda arn: arn == ROLE)
    assert isinstance(parsed, Gap)
    assert "eventType" in parsed.detail
    assert parse_record(unknown_record, lambda _: False) is SkipReason.EVENT_TYPE


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", 1e15])
def test_a_time_that_no_record_has_is_unreadable(time: object) -> None:
    """Days are counted one by one: eight thousand years took 11 seconds and 566 MB."""
    assert isinstance(parse_record(record(eventTime=time)), Gap)


def test_an_old_record_without_event_type_is_an_api_call_unless_it_is_a_sign_in() -> None:
    assert isinstance(read_record(record(eventType=..., eventVersion="1.0")), Call)
    signed_in = record(eventType=..., eventSource="signin.amazonaws.com", eventName="ConsoleLogin")
    assert parse_record(signed_in) is SkipReason.EVENT_TYPE


@pytest.mark.parametrize("mark", ["true", "True", True])
def test_a_console_session_is_a_call_of_unknown_outcome(mark: object) -> None:
    context = {**IDENTITY["sessionContext"], "sessionCredentialFromConsole": mark}
    for console_record in (
        record(sessionCredentialFromConsole=mark),
        record(userIdentity={**IDENTITY, "sessionContext": context}),
    ):
        parsed = parse_record(console_record)
        assert isinstance(parsed, Call)
        assert (parsed.outcome, parsed.caller_doubt) == (Outcome.UNKNOWN, "console")


@pytest.mark.parametrize("digest", [{}, {"digestS3Object": "x", "logFiles": []}, {"Records": []}])
def test_an_object_with_no_field_of_a_record_is_no_record(digest: dict[str, Any]) -> None:
    assert parse_record(digest) is SkipReason.NOT_A_RECORD


@pytest.mark.parametrize(
    "lack",
    [
        {"eventTime": None},
        {"eventTime": "yesterday"},
        {"eventTime": True},
        {"eventName": ...},
        {"eventName": ""},
        {"eventName": "Get Object\n"},
        {"eventSource": 3},
        {"userIdentity": ...},
        {"userIdentity": "deploy"},
        {"userIdentity": {}},
        {"userIdentity": {"type": "AssumedRole", "userName": "deploy"}},
        {"userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::0000:robot"}},
        {"userIdentity": {"arn": "--", "sessionContext": {"sessionIssuer": {"arn": "--"}}}},
    ],
)
def test_a_record_that_lacks_what_makes_it_a_call_is_a_gap_in_its_region(
    lack: dict[str, Any],
) -> None:
    parsed = read_record(record(**lack))
    assert isinstance(parsed, Gap)
    assert (parsed.kind, parsed.scope.regions) == (GapKind.UNREADABLE_RECORD, ("eu-west-1",))
    has_event = not {"eventName", "eventSource"} & lack.keys()
    assert parsed.scope.services == (("s3",) if has_event else ())


def test_a_gap_without_a_region_and_an_event_may_hide_any_call() -> None:
    parsed = read_record(record(eventTime=None, eventName=..., awsRegion="<b>"))
    assert isinstance(parsed, Gap)
    assert parsed.scope == Scope()


@pytest.mark.parametrize("value", [None, 3, "text", [], [1]])
def test_a_value_that_is_no_object_is_a_gap(value: object) -> None:
    assert isinstance(read_record(value), Gap)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.000Z",
        "2026-01-02 03:04:05",
        "2026-01-02 03:04:05.000000000",
        "2026-01-02T05:04:05+02:00",
        1767323045,
        "1767323045",
        1767323045000,
    ],
)
def test_the_time_is_read_in_every_form_that_tools_write(text: object) -> None:
    assert call(eventTime=text).time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), ("true", True), ("False", False), (None, None), ("maybe", None), (..., None)],
)
def test_read_only_is_a_boolean_or_its_text(value: object, expected: bool | None) -> None:
    assert call(readOnly=value).read_only is expected


@pytest.mark.parametrize("value", [None, "text", "null", ["a"], 3, ...])
def test_parameters_that_are_no_object_are_empty(value: object) -> None:
    assert call(requestParameters=value).parameters == {}


def test_parameters_that_a_tool_has_written_as_text_are_read() -> None:
    assert call(requestParameters='{"bucketName": "b"}').parameters == {"bucketName": "b"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (..., ()),
        ("arn:aws:s3:::b", ("arn:aws:s3:::b",)),
        (
            [{"ARN": "arn:1", "type": "AWS::S3::Object"}, {"arn": "arn:2"}, {"type": "x"}],
            ("arn:1", "arn:2"),
        ),
        ([{"ARNPrefix": "arn:aws:s3:::b/"}], ("arn:aws:s3:::b/",)),
        (["arn:1", 2, None], ("arn:1",)),
        ({"ARN": "arn:1"}, ("arn:1",)),
    ],
)
def test_resources_are_the_arns_in_order(value: object, expected: tuple[str, ...]) -> None:
    assert call(resources=value).resources == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"eventCategory": "Data"}, True),
        ({"managementEvent": False}, True),
        ({"eventCategory": "Management", "managementEvent": True}, False),
        ({}, False),
    ],
)
def test_a_data_event_says_so_by_category_or_by_not_being_a_management_event(
    fields: dict[str, Any], expected: bool
) -> None:
    assert call(**fields).data_event is expected


def test_parameters_that_cloudtrail_left_out_are_said_to_be_left_out() -> None:
    marker = {"omitted": True, "originalSize": 250_000, "reason": "too large"}
    assert call(requestParameters=marker).parameters_omitted
    assert call(requestParameters=marker).parameters == {}
    assert call(requestParameters=None, omitted=True).parameters_omitted
    assert not call(requestParameters=None).parameters_omitted


def test_a_parameter_that_is_called_omitted_is_a_parameter() -> None:
    read_call = call(requestParameters={"omitted": True, "bucketName": "b"})
    assert read_call.parameters == {"omitted": True, "bucketName": "b"}
    assert not read_call.parameters_omitted


def test_a_record_without_event_id_has_an_empty_one() -> None:
    assert call(eventID=...).event_id == ""


def test_the_account_is_the_principals_even_where_a_tool_lost_its_zeros() -> None:
    assert call(userIdentity={**IDENTITY, "accountId": 12345}).account == "000000012345"
    assert by(type="AssumedRole", arn=SESSION).account == ACCOUNT  # type: ignore[union-attr]


def test_calls_and_gaps_of_those_who_are_not_wanted_are_left_out() -> None:
    assert parse_record(record(), lambda arn: arn != ROLE) is SkipReason.NOT_WANTED
    assert parse_record(record(eventTime=None), lambda arn: arn != ROLE) is SkipReason.NOT_WANTED
    assert isinstance(parse_record(record(), lambda arn: arn == ROLE), Call)


def test_a_denied_call_keeps_its_code_and_text() -> None:
    read_call = call(errorCode="AccessDenied", errorMessage="Access Denied")
    assert (read_call.outcome, read_call.error_code, read_call.error_message) == (
        Outcome.DENIED,
        "AccessDenied",
        "Access Denied",
    )


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["true", SESSION, ROLE, "AssumedRole", "IAMUser", "AwsApiCall"])
)
KEYS = st.sampled_from(
    [
        "type",
        "arn",
        "ARN",
        "accountId",
        "userName",
        "principalId",
        "sessionContext",
        "sessionIssuer",
        "omitted",
    ]
) | st.text(max_size=5)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5)
)


@given(JSON)
def test_no_json_value_makes_the_reader_fail(value: object) -> None:
    assert read_record(value) is None or isinstance(read_record(value), Call | Gap)


@given(
    st.sampled_from([*sorted(record()), "resources", "errorCode", "errorMessage", "omitted"]), JSON
)
def test_no_value_of_a_field_makes_the_reader_fail(field: str, value: object) -> None:
    parsed = read_record(record(**{field: value}))
    if isinstance(parsed, Call):
        assert parsed.time.utcoffset() is not None
        assert ":assumed-role/" not in parsed.principal


def test_real_records_are_read_without_a_loss(shared_folder: Path) -> None:
    """Every one of 4,584 public records is a call, is none for a known reason, or is a gap; few are
    gaps.
    """
    read_counts: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for path in sorted((shared_folder / "corpus" / "records").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                read = parse_record(json.loads(line))
                read_counts[
                    read.value if isinstance(read, SkipReason) else type(read).__name__
                ] += 1
                if isinstance(read, Call) and not read.caller_doubt:
                    outcomes[read.outcome.value] += 1
    assert read_counts.total() >= 4_500
    # Four of them are of an unknown type: no other state is known of these.
    assert read_counts["Gap"] <= 31
    assert read_counts[SkipReason.NOT_A_RECORD.value] == 0
    assert read_counts["Call"] >= 3_252
    assert outcomes["denied"] >= 128
    assert outcomes["unknown"] <= 126


PROVIDER = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
LOGIN = {
    "userIdentity": {"type": "WebIdentityUser", "userName": "repo:octo/shop:ref:refs/heads/main"},
    "eventSource": "sts.amazonaws.com",
    "eventName": "AssumeRoleWithWebIdentity",
    "requestParameters": {"roleArn": ROLE, "roleSessionName": "16213480461"},
    "responseElements": {
        "credentials": {
            "accessKeyId": "ASIAEXAMPLE000000001",
            "sessionToken": "secret",
            "secretAccessKey": "secret",
        },
        "subjectFromWebIdentityToken": "repo:octo/shop:ref:refs/heads/main",
        "provider": PROVIDER,
        "assumedRoleUser": {"arn": SESSION},
    },
}


def test_a_login_links_a_key_with_an_identity_and_keeps_no_secret() -> None:
    parsed = read_record(record(**LOGIN))
    assert isinstance(parsed, Call)
    assert is_login(parsed)
    assert (parsed.principal, parsed.parameters) == (ROLE, {})
    assert parsed.response == {
        "credentials": {"accessKeyId": "ASIAEXAMPLE000000001"},
        "subject": "repo:octo/shop:ref:refs/heads/main",
        "provider": PROVIDER,
    }


def test_the_issuer_of_a_saml_login_is_no_provider_of_open_id_connect() -> None:
    response = {
        **LOGIN["responseElements"],
        "subject": "repo:octo/shop:ref:refs/heads/main",
        "issuer": PROVIDER,
    }
    fields = {
        "eventName": "AssumeRoleWithSAML",
        "userIdentity": {"type": "SAMLUser"},
        "responseElements": response,
    }
    parsed = read_record(record(**{**LOGIN, **fields}))
    assert isinstance(parsed, Call)
    assert parsed.response["provider"] == f"saml:{PROVIDER}"


@pytest.mark.parametrize(
    "fields",
    [
        {"errorCode": "AccessDenied"},
        {"eventSource": "sqs.amazonaws.com"},
        {"responseElements": None},
        {"userIdentity": {"type": "AWSAccount"}},
        {"userIdentity": {"type": [], "invokedBy": "x.amazonaws.com"}},
    ],
)
def test_a_record_that_issues_no_key_to_an_identity_is_no_login(fields: dict[str, object]) -> None:
    assert read_record(record(**{**LOGIN, **fields})) is None


def test_a_login_to_another_role_is_not_read() -> None:
    assert read_record(record(**LOGIN), lambda arn: arn != ROLE) is None


@pytest.mark.parametrize(
    ("time", "is_read"),
    [
        ("0001-01-01T00:00:00Z", False),
        ("2012-12-31T23:59:59Z", False),
        ("2013-11-13T00:00:00Z", True),
        ("2099-12-31T23:59:59Z", True),
        ("2100-01-01T00:00:00Z", False),
        ("9999-12-31T23:59:59Z", False),
        (253402300799, False),
    ],
)
def test_a_time_without_records_of_cloudtrail_is_a_gap(time: object, is_read: bool) -> None:
    parsed = read_record(record(eventTime=time))
    assert isinstance(parsed, Call) is is_read
    assert is_read or (isinstance(parsed, Gap) and "eventTime" in parsed.detail)
