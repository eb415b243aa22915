"""What a trail is set to record, and what its settings leave out."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.trail import S3Trail
from leastpriv.cloudtrail.trail_config import (
    Trail,
    excluded_events,
    location_gaps,
    logging_stopped_gaps,
    unrecorded_regions,
)
from leastpriv.errors import InputError
from leastpriv.models import Call, Gap, GapKind, Scope
from leastpriv.permissions.event_table import data_event_types
from tests.fakes.aws import contract
from tests.fakes.aws.s3_server import FakeS3
from tests.fakes.aws.server import Asked, FakeAws, RefusedError
from tests.fakes.counted import read_parts

ARN = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main"
TRAIL = Trail(ARN, "logs", "", "eu-west-1", multi_region=True, global_events=True)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
S3_OBJECTS = "AWS::S3::Object"
EVERY_TYPE = [{"Field": "eventCategory", "Equals": ["Data"]}]


def basic(**selector: Any) -> dict[str, Any]:
    return {
        "TrailARN": ARN,
        "EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": True, **selector}],
    }


def advanced(*selectors: Mapping[str, Mapping[str, list[str]]]) -> dict[str, Any]:
    """Selectors by field: `{"eventCategory": {"Equals": ["Management"]}}`."""
    fields = [
        [{"Field": name, **operators} for name, operators in selector.items()]
        for selector in selectors
    ]
    return {
        "TrailARN": ARN,
        "AdvancedEventSelectors": [{"FieldSelectors": field} for field in fields],
    }


MANAGEMENT = {"eventCategory": {"Equals": ["Management"]}}
READS = {"readOnly": {"Equals": ["true"]}}
WRITES = {"readOnly": {"Equals": ["false"]}}
NO_KMS = {"eventSource": {"NotEquals": ["kms.amazonaws.com"]}}
NO_KMS_NO_RDS = {"eventSource": {"NotEquals": ["kms.amazonaws.com", "rdsdata.amazonaws.com"]}}
OBJECTS = {"eventCategory": {"Equals": ["Data"]}, "resources.type": {"Equals": [S3_OBJECTS]}}
ONE_BUCKET = {"resources.ARN": {"StartsWith": ["arn:aws:s3:::artefacts/"]}}
PUTS = {"eventName": {"Equals": ["PutObject"]}}
DATA = {"DataResources": [{"Type": S3_OBJECTS, "Values": ["arn:aws:s3"]}]}

NO_READS = Scope(events=("management-read",))
NO_WRITES = Scope(events=("management-write",))
KMS, RDS = Scope(services=("kms",)), Scope(services=("rds-data",))


@pytest.mark.parametrize(
    ("answer", "left_out"),
    [
        (basic(), []),
        (basic(ReadWriteType="WriteOnly"), [NO_READS]),
        (basic(ReadWriteType="ReadOnly"), [NO_WRITES]),
        (basic(IncludeManagementEvents=False), [NO_READS, NO_WRITES]),
        (
            basic(ExcludeManagementEventSources=["kms.amazonaws.com", "rdsdata.amazonaws.com"]),
            [KMS, RDS],
        ),
        (advanced(MANAGEMENT), []),
        (advanced({**MANAGEMENT, **WRITES}), [NO_READS]),
        (advanced({**MANAGEMENT, **WRITES}, {**MANAGEMENT, **READS}), []),
        (advanced({**MANAGEMENT, **NO_KMS_NO_RDS}), [KMS, RDS]),
        (advanced({**MANAGEMENT, **NO_KMS}, MANAGEMENT), []),
        (
            advanced({**MANAGEMENT, **READS, **NO_KMS}, {**MANAGEMENT, **WRITES}),
            [Scope(services=("kms",), events=("management-read",))],
        ),
        (
            advanced({**MANAGEMENT, "eventSource": {"Equals": ["kms.amazonaws.com"]}}),
            [NO_READS, NO_WRITES],
        ),
        (
            advanced(
                {**MANAGEMENT, "userIdentity.arn": {"NotEquals": ["x"]}}, {**MANAGEMENT, **WRITES}
            ),
            [NO_READS],
        ),
        (advanced(OBJECTS), [NO_READS, NO_WRITES]),
        (advanced({**MANAGEMENT, "readOnly": {"NotEquals": ["true"]}}), [NO_READS, NO_WRITES]),
        (advanced({"eventCategory": {"NotEquals": ["Data"]}}), [NO_READS, NO_WRITES]),
        (advanced(MANAGEMENT, {"eventCategory": {"Equals": ["NetworkActivity"]}}), []),
    ],
)
def test_management_events_that_the_selectors_exclude_are_gaps(
    answer: Any, left_out: list[Scope]
) -> None:
    assert not list(
        contract.breaches(
            answer, contract.operation("cloudtrail", "GetEventSelectors").output_shape, ""
        )
    )
    assert [scope for scope, _ in excluded_events(answer) if not scope.data_events] == left_out


def objects(kind: str, *outside: str) -> Scope:
    """Data events of one kind on all objects but for some."""
    return Scope(events=(f"{S3_OBJECTS} {kind}",), outside=outside)


def of_both(*outside: str) -> list[Scope]:
    return [objects("read", *outside), objects("write", *outside)]


def selected(*values: str, kind: str = S3_OBJECTS) -> dict[str, Any]:
    return {"DataResources": [{"Type": kind, "Values": list(values)}]}


BUCKET, FUNCTION = "arn:aws:s3:::artefacts/", "arn:aws:lambda:eu-west-1:111122223333:function:shop"
PRIVATE = {"resources.ARN": {"NotStartsWith": ["arn:aws:s3:::artefacts/private/"]}}
ANOTHER = {"resources.ARN": {"Equals": ["arn:aws:s3:::other/x"]}}


@pytest.mark.parametrize(
    ("answer", "left_out"),
    [
        (basic(**selected("arn:aws:s3")), []),
        (basic(**selected("arn:aws:s3:::")), []),
        (basic(**selected(BUCKET)), of_both(f"{BUCKET}*")),
        (basic(**selected(f"{BUCKET}logs")), of_both(f"{BUCKET}logs*")),
        (basic(ReadWriteType="WriteOnly", **selected("arn:aws:s3")), [objects("read")]),
        (advanced(MANAGEMENT, OBJECTS), []),
        (advanced(MANAGEMENT, {**OBJECTS, **WRITES, **ONE_BUCKET}), [objects("read"), objects("write", f"{BUCKET}*")]),
        (advanced(MANAGEMENT, {**OBJECTS, **ONE_BUCKET}, {**OBJECTS, **ANOTHER}),
         of_both(f"{BUCKET}*", "arn:aws:s3:::other/x")),
        (advanced(MANAGEMENT, {**OBJECTS, **PUTS}), of_both()),
        (advanced(MANAGEMENT, {**OBJECTS, **PUTS}, OBJECTS), []),
        (advanced(MANAGEMENT, {**OBJECTS, **PRIVATE}), of_both()),
        (advanced(MANAGEMENT, {**OBJECTS, **PUTS, **ONE_BUCKET}, {**OBJECTS, **ANOTHER}),
         of_both("arn:aws:s3:::other/x")),
        (advanced(MANAGEMENT, {**OBJECTS, **PUTS}, {**OBJECTS, **WRITES}), [objects("read")]),
    ],
)  # fmt: skip
def test_the_excluded_kind_of_a_partly_selected_type_is_a_gap(
    answer: Any, left_out: list[Scope]
) -> None:
    scopes = [
        scope for scope, _ in excluded_events(answer) if "management" not in str(scope.events)
    ]
    missing = tuple(kind for kind in data_event_types() if kind != S3_OBJECTS)
    assert scopes == [Scope(events=missing, data_events=True), *left_out]


def test_a_field_that_a_selector_has_twice_narrows_it() -> None:
    answer = advanced(MANAGEMENT, {**OBJECTS, **PRIVATE})
    answer["AdvancedEventSelectors"][1]["FieldSelectors"].append(
        {"Field": "resources.ARN", "StartsWith": [BUCKET]}
    )
    [_, *scopes] = [scope for scope, _ in excluded_events(answer)]
    assert scopes == of_both()


def test_of_functions_those_that_are_named_are_left_out_of_the_rest() -> None:
    [_, *scopes] = [
        scope
        for scope, _ in excluded_events(basic(**selected(FUNCTION, kind="AWS::Lambda::Function")))
    ]
    assert [scope.outside for scope in scopes] == [(FUNCTION,), (FUNCTION,)]
    all_excluded = excluded_events(
        basic(**selected("arn:aws:lambda", kind="AWS::Lambda::Function"))
    )
    assert len(list(all_excluded)) == 1


def test_a_trail_without_selectors_of_data_events_says_so_of_all_types() -> None:
    assert [scope for scope, _ in excluded_events(basic())] == [
        Scope(events=data_event_types(), data_events=True)
    ]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"IsLogging": True, "StartLoggingTime": NOON - 300 * DAY}, ""),
        ({"IsLogging": True, "StartLoggingTime": NOON - 80 * DAY}, ""),
        (
            {
                "IsLogging": True,
                "StartLoggingTime": NOON - 300 * DAY,
                "StopLoggingTime": NOON - 301 * DAY,
            },
            "",
        ),
        (
            {
                "IsLogging": True,
                "StartLoggingTime": NOON - 80 * DAY,
                "StopLoggingTime": NOON - 100 * DAY,
            },
            "its logging was off from 2026-02-21 12:00 to 2026-03-13 12:00 UTC",
        ),
        (
            {"IsLogging": False, "StopLoggingTime": NOON - 3 * DAY},
            "its logging is off since 2026-05-29 12:00",
        ),
        (
            {"IsLogging": False, "StopLoggingTime": NOON - 300 * DAY},
            "its logging is off since 2025-08-05",
        ),
        ({"IsLogging": False, "StopLoggingTime": NOON + DAY}, ""),
        ({"IsLogging": False}, "its logging is off"),
        (
            {
                "IsLogging": True,
                "StartLoggingTime": NOON - 300 * DAY,
                "LatestDeliveryError": "AccessDenied",
            },
            "CloudTrail could not deliver its events: AccessDenied",
        ),
    ],
)
def test_a_time_without_logging_in_the_window_may_hide_any_call(
    status: dict[str, Any], words: str
) -> None:
    gaps = list(logging_stopped_gaps(TRAIL, status, Window(NOON - 90 * DAY, NOON)))
    assert [(gap.kind, gap.scope) for gap in gaps] == (
        [(GapKind.LOGGING_STOPPED, Scope())] if words else []
    )
    assert all(words in gap.detail for gap in gaps)


def test_a_trail_of_one_region_hides_the_others() -> None:
    [gap] = unrecorded_regions(
        Trail(ARN, "logs", "", "eu-west-1", multi_region=False, global_events=True)
    )
    assert "eu-west-1" not in gap.scope.regions
    assert {"us-east-1", "eu-central-1", "ap-southeast-2"} <= set(gap.scope.regions)
    assert not any(region.startswith(("cn-", "us-gov-")) for region in gap.scope.regions)


def test_a_trail_without_global_events_hides_global_services() -> None:
    [gap] = unrecorded_regions(
        Trail(ARN, "logs", "", "eu-west-1", multi_region=True, global_events=False)
    )
    assert {"iam", "cloudfront", "route53"} <= set(gap.scope.services)


# The discovery, asked of a CloudTrail that answers by botocore's models.


def described(name: str = "main", **fields: Any) -> dict[str, Any]:
    arn = ARN.replace("/main", f"/{name}")
    return {
        "Name": name, "TrailARN": arn, "S3BucketName": "logs", "HomeRegion": "eu-west-1",
        "IsMultiRegionTrail": True,
        "IncludeGlobalServiceEvents": True, **fields,
    }  # fmt: skip


class Account:
    """The trails of an account."""

    def __init__(
        self,
        *trails: dict[str, Any],
        selectors: Mapping[str, Any] | None = None,
        statuses: Mapping[str, Any] | None = None,
    ) -> None:
        self.trails = trails
        self.statuses = statuses or {}
        self.selectors = selectors or {}

    def describe(self, asked: Asked) -> Mapping[str, Any]:
        trail_names = asked.parameters.get("trailNameList")
        trails = [
            trail
            for trail in self.trails
            if not trail_names or trail["Name"] in trail_names or trail["TrailARN"] in trail_names
        ]
        return {"trailList": trails}

    def status(self, asked: Asked) -> Mapping[str, Any]:
        name = asked.parameters["Name"].rpartition("/")[2]
        answer = self.statuses.get(
            name, {"IsLogging": True, "StartLoggingTime": datetime(2020, 1, 1, tzinfo=UTC)}
        )
        assert isinstance(answer, Mapping)
        return answer

    def select(self, asked: Asked) -> Mapping[str, Any]:
        if asked.region != "eu-west-1":
            raise RefusedError("InvalidHomeRegionException", "not here")
        return self.selectors.get(asked.parameters["TrailName"].rpartition("/")[2], basic())

    def operations(self) -> dict[str, Any]:
        return {
            "cloudtrail:DescribeTrails": self.describe, "cloudtrail:GetTrailStatus": self.status,
            "cloudtrail:GetEventSelectors": self.select,
        }  # fmt: skip


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with FakeS3() as server:
        name = "111122223333_CloudTrail_eu-west-1_20260501T0000Z_a.json.gz"
        key = f"AWSLogs/111122223333/CloudTrail/eu-west-1/2026/05/01/{name}"
        record = {
            "eventVersion": "1.08", "eventTime": "2026-05-01T00:00:00Z", "eventName": "GetQueueUrl",
            "eventSource": "sqs.amazonaws.com", "eventType": "AwsApiCall", "awsRegion": "eu-west-1",
            "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/deploy"},
        }  # fmt: skip
        for top in ("", "prod/"):
            server.objects[top + key] = gzip.compress(json.dumps({"Records": [record]}).encode())
        yield server


def read(
    s3: FakeS3, account: Account, named: str, window: Window | None = None
) -> tuple[int, list[Gap]]:
    """How many calls were read, and the gaps."""
    with FakeAws(account.operations()) as aws:
        environment = s3.environment(others=aws.endpoint) | {"AWS_REGION": "us-east-1"}
        observations = list(
            read_parts(S3Trail(Aws.open(environment), named), window or Window(), Principals())
        )
    return sum(isinstance(observation, Call) for observation in observations), [
        observation for observation in observations if isinstance(observation, Gap)
    ]


@pytest.mark.parametrize("named", ["main", ARN, "s3://logs"])
def test_a_trail_is_found_by_its_name_its_arn_or_its_bucket(s3: FakeS3, named: str) -> None:
    account = Account(described(), selectors={"main": basic(ReadWriteType="WriteOnly", **DATA)})
    calls, gaps = read(s3, account, named)
    assert calls == 1
    assert [gap.kind for gap in gaps] == [
        GapKind.NOT_LOGGED,
        GapKind.NOT_LOGGED,
        GapKind.NOT_LOGGED,
    ]
    assert gaps[0] == Gap(
        GapKind.NOT_LOGGED, NO_READS, f"{ARN}: it does not log management events of reading calls"
    )


def test_a_trails_own_prefix_is_read(s3: FakeS3) -> None:
    calls, _ = read(s3, Account(described(S3KeyPrefix="prod")), "main")
    assert calls == 1
    assert not any(request.startswith("GET AWSLogs") for request in s3.requests)


def test_of_several_trails_into_one_place_the_most_complete_counts(s3: FakeS3) -> None:
    writes, all_events = basic(ReadWriteType="WriteOnly"), basic(**DATA)
    account = Account(
        described("writes"), described(), described("elsewhere", S3KeyPrefix="prod"),
        selectors={"writes": writes, "main": all_events,
        "elsewhere": basic(IncludeManagementEvents=False)},
    )  # fmt: skip
    _, gaps = read(s3, account, "s3://logs/AWSLogs/")
    assert [gap.scope.data_events for gap in gaps] == [True]


def other_regions_of(gaps: list[Gap]) -> bool:
    """Whether the gaps say that other regions than one are not recorded."""
    return any(gap.kind is GapKind.NOT_LOGGED and "ap-south-1" in gap.scope.regions for gap in gaps)


ONE_REGION = {"IsMultiRegionTrail": False}


@pytest.mark.parametrize(
    ("trails", "named", "hidden"),
    [
        ([described(**ONE_REGION)], "s3://logs", True),
        ([described(**ONE_REGION), described("all")], "s3://logs", False),
        ([described(**ONE_REGION), described("org", IsOrganizationTrail=True)], "s3://logs", True),
        ([described(**ONE_REGION), described("prod", S3KeyPrefix="prod")], "s3://logs", True),
        ([described(**ONE_REGION), described("prod", S3KeyPrefix="prod")], "s3://logs/prod", False),
        (
            [described(**ONE_REGION), described("prod", S3KeyPrefix="prod")],
            "s3://logs/AWSLogs/111122223333",
            True,
        ),
    ],
)
def test_only_trails_that_deliver_to_the_read_prefix_count(
    s3: FakeS3, trails: list[dict[str, Any]], named: str, hidden: bool
) -> None:
    calls, gaps = read(s3, Account(*trails), named)
    assert (calls, other_regions_of(gaps)) == (1, hidden)


def test_an_organization_trail_counts_for_the_files_below_its_id(s3: FakeS3) -> None:
    for key in [log_key for log_key in s3.objects if log_key.startswith("AWSLogs/")]:
        s3.objects[key.replace("AWSLogs/", "AWSLogs/o-abc1234567/")] = s3.objects.pop(key)
    account = Account(described(**ONE_REGION), described("org", IsOrganizationTrail=True))
    calls, gaps = read(s3, account, "s3://logs")
    assert (calls, other_regions_of(gaps)) == (1, False)


@pytest.mark.parametrize(
    ("since", "hidden"),
    [(timedelta(days=100), False), (timedelta(days=89), True), (timedelta(hours=1), True)],
)
def test_a_trail_counts_only_since_it_began_to_log(
    s3: FakeS3, since: timedelta, hidden: bool
) -> None:
    started = {"IsLogging": True, "StartLoggingTime": NOON - since}
    account = Account(described(**ONE_REGION), described("all"), statuses={"all": started})
    _, gaps = read(s3, account, "s3://logs", Window(NOON - 90 * DAY, NOON))
    assert other_regions_of(gaps) is hidden


def test_a_young_trail_that_is_alone_is_no_gap_by_its_age(s3: FakeS3) -> None:
    account = Account(
        described(), statuses={"main": {"IsLogging": True, "StartLoggingTime": NOON - 40 * DAY}}
    )
    _, gaps = read(s3, account, "s3://logs", Window(NOON - 90 * DAY, NOON))
    assert [gap.scope.data_events for gap in gaps] == [True]


def test_a_stopped_trail_counts_only_without_an_active_one(s3: FakeS3) -> None:
    off = {"main": {"IsLogging": False}}
    _, gaps = read(
        s3, Account(described(), described("one", **ONE_REGION), statuses=off), "s3://logs"
    )
    assert other_regions_of(gaps)
    assert GapKind.LOGGING_STOPPED not in {gap.kind for gap in gaps}
    _, gaps = read(s3, Account(described(), statuses=off), "s3://logs")
    assert GapKind.LOGGING_STOPPED in {gap.kind for gap in gaps}


REGION_PLACE = "AWSLogs/111122223333/CloudTrail/eu-west-1"


def test_a_prefix_of_one_region_hides_the_others(s3: FakeS3) -> None:
    assert not other_regions_of(read(s3, Account(described()), "s3://logs")[1])
    calls, gaps = read(s3, Account(described()), f"s3://logs/{REGION_PLACE}")
    assert (calls, other_regions_of(gaps)) == (1, True)
    assert not any("eu-west-1" in gap.scope.regions for gap in gaps)


@pytest.mark.parametrize(
    ("days", "window", "holds"),
    [
        (
            "2026/05",
            Window(datetime(2026, 5, 3, tzinfo=UTC), datetime(2026, 5, 20, tzinfo=UTC)),
            True,
        ),
        ("2026", Window(datetime(2026, 5, 3, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)), True),
        (
            "2026/05",
            Window(datetime(2026, 5, 3, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)),
            False,
        ),
        # The last files of a month may be delivered on the first of the next one.
        (
            "2026/05",
            Window(datetime(2026, 5, 3, tzinfo=UTC), datetime(2026, 5, 31, tzinfo=UTC)),
            False,
        ),
        (
            "2026/05/01",
            Window(datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 1, 9, tzinfo=UTC)),
            False,
        ),
        ("2026/05", Window(), False),
        (
            "2026/05",
            Window(datetime(2026, 5, 3, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)),
            False,
        ),
    ],
)
def test_a_prefix_of_some_days_hides_the_other_days_of_the_window(
    days: str, window: Window, holds: bool
) -> None:
    gaps = list(location_gaps("x", f"{REGION_PLACE}/{days}/", window))
    assert [gap.scope for gap in gaps if not gap.scope.regions] == ([] if holds else [Scope()])


def test_a_trail_that_is_not_there_is_bad_input(s3: FakeS3) -> None:
    with pytest.raises(InputError, match="no trail 'mian': check the name, or name its ARN"):
        read(s3, Account(described()), "mian")


def test_settings_that_may_not_be_read_are_said_and_hide_no_call(s3: FakeS3) -> None:
    def refuse(asked: Asked) -> Mapping[str, Any]:
        raise RefusedError(
            "AccessDeniedException",
            "User: arn:aws:iam::111122223333:role/reader is not authorized to perform:"
            " cloudtrail:DescribeTrails because no identity-based policy allows the"
            " cloudtrail:DescribeTrails action",
        )

    account = Account()
    account.describe = refuse  # type: ignore[method-assign]
    calls, [gap] = read(s3, account, "s3://logs")
    assert (calls, gap.kind, gap.kind.hides_use) == (1, GapKind.SETTINGS_UNKNOWN, False)
    assert "cloudtrail:DescribeTrails" in gap.detail


def test_a_bucket_that_no_trail_of_the_account_delivers_to_says_so(s3: FakeS3) -> None:
    calls, [gap] = read(s3, Account(described(S3BucketName="other-bucket")), "s3://logs")
    assert (calls, gap.kind) == (1, GapKind.SETTINGS_UNKNOWN)
    assert "no trail of this account delivers there" in gap.detail
