"""The grants of `init` for a source equal the permissions derived from the product's requests to a
fake AWS.

Other sources are compared with runs in the lab (`tests/end_to_end/test_reader_role.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.aws.session import Aws
from leastpriv.aws_checks.simulate import read_outer_policies
from leastpriv.cloudtrail.file_reader import S3TrailOptions
from leastpriv.cloudtrail.trail import LogGroup
from leastpriv.evidence.live_role import (
    entities_of_policy,
    list_matching_roles,
    read_live_role,
)
from leastpriv.init.options import InitOptions, parse_options
from leastpriv.init.reader_role import ReaderGrant, reader_grants, reader_policy
from leastpriv.init.render import action_inputs
from leastpriv.policy.document import parse
from leastpriv.policy.evaluate import Request, evaluate
from tests.cloudtrail.test_athena import Stand
from tests.cloudtrail.test_digest_validation import fill, read
from tests.cloudtrail.test_trail import ACCOUNT as TRAIL_ACCOUNT
from tests.evidence.aws_findings.test_collect import Account
from tests.fakes.aws.athena import FakeAthena
from tests.fakes.aws.log_groups import LogGroups
from tests.fakes.aws.organization import Organization
from tests.fakes.aws.s3_server import FakeS3
from tests.fakes.aws.server import ACCOUNT, Asked, FakeAws, Operation
from tests.fakes.deploys import usual_deploys, write_trail
from tests.fakes.digests import listed_keys
from tests.fakes.own_calls import changes, records_of, used

READER = f"arn:aws:iam::{ACCOUNT}:role/leastpriv-reader"
KIM = f"arn:aws:iam::{ACCOUNT}:user/kim"
OWN, TEAM = f"arn:aws:iam::{ACCOUNT}:policy/own", f"arn:aws:iam::{ACCOUNT}:policy/team"
VALUES = {
    "Partition": "aws", "Account": ACCOUNT, "Users": ["user/kim"], "WorkGroup": "primary",
    "LogGroup": "logs",
    "AnalyzerRoleArn": f"arn:aws:iam::{ACCOUNT}:role/analyzer",
}  # fmt: skip


def test_reader_role_allows_policy_generation_and_findings(tmp_path: Path) -> None:
    """One generation that completes, and one that is interrupted and cancelled."""
    account, hurried = Account(), Account()
    with FakeAws({**account.iam.operations(), **account.analyzer.operations()}) as aws:
        account.aws_findings(Aws.open(aws.environment()))
        aws.operations = {**hurried.iam.operations(), **hurried.analyzer.operations()}
        hurried.time.on_sleep = lambda: _interrupt_after("GetGeneratedPolicy", aws)
        with pytest.raises(KeyboardInterrupt):
            hurried.aws_findings(Aws.open(aws.environment()))
    requests = [request for request in aws.requests if request.service == "accessanalyzer"]
    _hold(requests, list(reader_grants(["access-analyzer"])), tmp_path)


def test_reader_role_allows_reading_a_users_policies(tmp_path: Path) -> None:
    with FakeAws(_user()) as aws:
        session = Aws.open(aws.environment())
        role = read_live_role(session, parse_principal(KIM))
        entities_of_policy(session, OWN)
    assert role.is_known
    _hold(aws.requests, list(reader_grants(["live-user"])), tmp_path)


def test_reader_role_allows_listing_roles_of_a_wildcard(tmp_path: Path) -> None:
    role = {
        "Path": "/", "RoleName": "ci", "RoleId": "AROAAAAAAAAAAAAAAAAA", "Arn": READER,
        "CreateDate": datetime(2026, 1, 1, tzinfo=UTC), "AssumeRolePolicyDocument": "{}",
    }  # fmt: skip
    with FakeAws({"iam:ListRoles": lambda _: {"Roles": [role], "IsTruncated": False}}) as aws:
        assert list_matching_roles(Aws.open(aws.environment()), ["*"], "aws") == (
            parse_principal(READER),
        )
    _hold(aws.requests, list(reader_grants(["roles"])), tmp_path)


def test_reader_role_allows_reading_digest_keys(tmp_path: Path) -> None:
    keys = {"cloudtrail:ListPublicKeys": lambda _: listed_keys()}
    with FakeAws(keys) as aws, FakeS3() as s3:
        fill(s3)
        aws.operations["cloudtrail:DescribeTrails"] = lambda _: {"trailList": []}
        read(Aws.open(s3.environment(others=aws.endpoint)))
    requests = [request for request in aws.requests if request.operation == "ListPublicKeys"]
    _hold(requests, list(reader_grants(["digests"])), tmp_path)


def test_reader_role_allows_reading_a_log_group(tmp_path: Path) -> None:
    trail = {
        "TrailARN": f"arn:aws:cloudtrail:eu-west-1:{ACCOUNT}:trail/main",
        "S3BucketName": "logs",
        "HomeRegion": "eu-west-1",
        "CloudWatchLogsLogGroupArn": f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:logs:*",
    }
    groups = LogGroups({"logs": usual_deploys()}, [trail])
    with FakeAws(groups.operations()) as aws:
        source = LogGroup(Aws.open(aws.environment()), "log-group:logs", S3TrailOptions())
        assert list(source.read(Window(), Principals()))
    _hold(aws.requests, list(reader_grants(["log-group"])), tmp_path)


def test_reader_role_allows_reading_service_control_policies(tmp_path: Path) -> None:
    with FakeAws(Organization().operations()) as aws:
        outer_policies = read_outer_policies(
            Aws.open(aws.environment()), parse_principal(READER), "", organization=True
        )
    assert len(outer_policies.scps) == 3
    _hold(aws.requests, list(reader_grants(["organization-policies"])), tmp_path)


def test_reader_role_allows_athena_queries(tmp_path: Path) -> None:
    """Except for Athena's requests to Glue and S3 on the reader's behalf, which only AWS's own
    records show.
    """
    athena = FakeAthena(None)
    with Stand() as servers:
        stand = servers.of(athena)
        stand.s3.objects[f"AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/2026/03/01/x.json.gz"] = bytes(
            1000
        )
        stand.read()
        athena.running = 10**6
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("leastpriv.cloudtrail.athena.time.sleep", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                stand.read()
        requests = [request for request in stand.aws.requests if request.service == "athena"]
    own_grants = [
        grant for grant in reader_grants(["athena"]) if grant.actions[0].startswith("athena:")
    ]
    _hold(requests, own_grants, tmp_path)


@pytest.mark.parametrize("organization", ["", "o-abcdefghij"])
def test_reader_role_allows_each_request_to_the_bucket_of_a_trail_and_no_other_account_s(
    organization: str,
) -> None:
    """The addresses are those of the workflow that init writes; digests are listed and read too."""
    top = f"AWSLogs/{organization}/" if organization else "AWSLogs/"
    target = parse_options(
        {**REQUIRED, "trails": [f"s3://logs/{top}"], "sources": ["s3-trail", "digests"]}
    )
    keys = {
        "cloudtrail:ListPublicKeys": lambda _: listed_keys(),
        "cloudtrail:DescribeTrails": lambda _: {"trailList": []},
    }
    with FakeAws(keys) as aws, FakeS3() as s3:
        fill(s3)
        s3.objects = {key.replace("AWSLogs/", top, 1): body for key, body in s3.objects.items()}
        calls, _ = read(
            Aws.open(s3.environment(others=aws.endpoint)), named=action_inputs(target)["trails"]
        )
    assert organization or calls
    _allowed(s3.requests, target)


def test_reader_role_allows_each_request_for_a_table_over_a_trail() -> None:
    tables = {"athena-table": ["default.logs"], "athena-results": ["s3://results"]}
    target = parse_options({**REQUIRED, **tables, "trails": ["s3://logs"], "sources": ["athena"]})
    with Stand() as servers:
        stand = servers.of(FakeAthena(None))
        stand.s3.objects[f"AWSLogs/{TRAIL_ACCOUNT}/CloudTrail/eu-west-1/2026/03/01/x.json.gz"] = (
            bytes(1000)
        )
        stand.read(
            Principals(frozenset({parse_principal(f"arn:aws:iam::{TRAIL_ACCOUNT}:role/ci")}))
        )
        _allowed(stand.s3.requests, target)


REQUIRED = {"repository": ["acme/shop"], "role-arn": [f"arn:aws:iam::{TRAIL_ACCOUNT}:role/ci"]}


def _allowed(requests: Sequence[str], target: InitOptions) -> None:
    """Each request to S3 is allowed, and none outside the account's folder or the names of
    accounts.
    """
    values = {**target.values, "Account": TRAIL_ACCOUNT}
    policy = parse(
        json.dumps(reader_policy(reader_grants(target.sources), values)).encode(), "reader.json"
    )
    kinds = set()
    for request in requests:
        kind, _, name = request.partition(" ")
        name = name.partition(" bytes=")[0]
        kinds.add(kind)
        listing = Request(
            "s3:ListBucket", "arn:aws:s3:::logs", {"s3:prefix": (name,)}, context_complete=True
        )
        reading = Request("s3:GetObject", f"arn:aws:s3:::logs/{name}", context_complete=True)
        assert evaluate(listing if kind == "LIST" else reading, [policy]).effect == "allowed", (
            request
        )
    assert kinds >= {"LIST"}
    for other_prefix in ("", "AWSLogs/999999999999/", f"AWSLogs/{TRAIL_ACCOUNT[:-1]}"):
        listing = Request(
            "s3:ListBucket",
            "arn:aws:s3:::logs",
            {"s3:prefix": (other_prefix,)},
            context_complete=True,
        )
        assert evaluate(listing, [policy]).effect == "implicitDeny", other_prefix


def _hold(requests: list[Asked], granted: list[ReaderGrant], folder: Path) -> None:
    """The product proposes no change to a policy of the grants, and names exactly their actions."""
    assert requests
    write_trail(folder / "trail", records_of(requests, READER))
    policy = folder / "reader.json"
    policy.write_text(json.dumps(reader_policy(granted, VALUES), indent=2))
    assert used(folder / "trail", READER) == {
        action for grant in granted for action in grant.actions
    }
    assert changes(policy, folder / "trail", READER, folder / "out") == []


def _interrupt_after(operation: str, aws: FakeAws) -> None:
    if aws.requests[-1].operation == operation:
        raise KeyboardInterrupt


def _interrupt(_: float) -> None:
    raise KeyboardInterrupt


def _user() -> dict[str, Operation]:
    """A user with a policy of each kind, in a group with both kinds."""
    text = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"},
        }
    )
    then = datetime(2026, 1, 1, tzinfo=UTC)
    user = {
        "Path": "/",
        "UserName": "kim",
        "UserId": "AIDAAAAAAAAAAAAAAAAA",
        "Arn": KIM,
        "CreateDate": then,
    }
    group = {
        "Path": "/", "GroupName": "team", "GroupId": "AGPAAAAAAAAAAAAAAAAA",
        "Arn": f"arn:aws:iam::{ACCOUNT}:group/team", "CreateDate": then,
    }  # fmt: skip
    inline = {"PolicyName": "inline", "PolicyDocument": text}
    answers: dict[str, Mapping[str, Any]] = {
        "GetUser": {"User": user},
        "ListAttachedUserPolicies": {"AttachedPolicies": [{"PolicyArn": OWN}]},
        "ListUserPolicies": {"PolicyNames": ["inline"]},
        "GetUserPolicy": {"UserName": "kim", **inline},
        "ListGroupsForUser": {"Groups": [group]},
        "ListAttachedGroupPolicies": {"AttachedPolicies": [{"PolicyArn": TEAM}]},
        "ListGroupPolicies": {"PolicyNames": ["inline"]},
        "GetGroupPolicy": {"GroupName": "team", **inline},
        "GetPolicy": {"Policy": {"DefaultVersionId": "v1"}},
        "GetPolicyVersion": {"PolicyVersion": {"Document": text}},
        "ListEntitiesForPolicy": {"PolicyUsers": [{"UserName": "kim"}]},
    }
    return {f"iam:{name}": _told(value) for name, value in answers.items()}


def _told(value: Mapping[str, Any]) -> Operation:
    return lambda _: value
