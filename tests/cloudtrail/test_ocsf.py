"""A table of Security Lake gives the same calls as the files, in the form of OCSF 1.1.0."""

from __future__ import annotations

from pathlib import Path

import pytest

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.athena import AthenaOptions, AthenaTable
from leastpriv.cloudtrail.athena_sql import CloudTrailTable, usage_query
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.models import Call
from tests.fakes.aws.athena import DuckDb, FakeAthena, is_there
from tests.fakes.aws.server import FakeAws
from tests.fakes.deploys import NOW, ROLE, deploys, write_trail

COLUMNS = {
    "time": "bigint",
    "time_dt": "timestamp",
    "metadata": "struct<uid:string,event_code:string,product:struct<feature:struct<name:string>>>",
    "actor": "struct<user:struct<type:string,uid:string>,session:struct<issuer:string>>",
    "api": "struct<operation:string,service:struct<name:string>>",
    "cloud": "struct<region:string,account:struct<uid:string>>",
    "http_request": "struct<user_agent:string>",
    "resources": "array<struct<uid:string,type:string>>",
    "unmapped": "map<string,string>",
}
LAKE = """
CREATE VIEW security.lake AS SELECT
  CAST(replace(replace(eventtime, 'T', ' '), 'Z', '') AS TIMESTAMP) AS time_dt,
  CAST(ROW(eventid, eventtype, CAST(ROW(CAST(ROW(eventcategory) AS ROW(name varchar)))
    AS ROW(feature ROW(name varchar)))) AS ROW(uid varchar, event_code varchar,
    product ROW(feature ROW(name varchar)))) AS metadata,
  CAST(ROW(CAST(ROW(useridentity.type, useridentity.principalid, useridentity.arn,
    CAST(ROW(useridentity.accountid) AS ROW(uid varchar)), useridentity.accesskeyid,
    useridentity.username) AS ROW(type varchar, uid_alt varchar, uid varchar,
    account ROW(uid varchar), credential_uid varchar, name varchar)),
    CAST(ROW(useridentity.sessioncontext.sessionissuer.arn) AS ROW(issuer varchar)),
    useridentity.invokedby) AS ROW("user" ROW(type varchar, uid_alt varchar, uid varchar,
    account ROW(uid varchar), credential_uid varchar, name varchar), session ROW(issuer varchar),
    invoked_by varchar)) AS actor,
  CAST(ROW(eventname, CAST(ROW(eventsource) AS ROW(name varchar)),
    CAST(ROW(errorcode, errormessage, responseelements) AS ROW(error varchar, message varchar,
    data varchar)), CAST(ROW(requestparameters) AS ROW(data varchar))) AS ROW(operation varchar,
    service ROW(name varchar), response ROW(error varchar, message varchar, data varchar),
    request ROW(data varchar))) AS api,
  CAST(ROW(awsregion, CAST(ROW(recipientaccountid) AS ROW(uid varchar))) AS ROW(region varchar,
    account ROW(uid varchar))) AS cloud,
  CAST(ROW(useragent) AS ROW(user_agent varchar)) AS http_request,
  transform(resources, r -> CAST(ROW(r.arn, r.type) AS ROW(uid varchar, type varchar)))
    AS resources,
  MAP(ARRAY['readOnly', 'managementEvent', 'recipientAccountId'],
    ARRAY[readonly, managementevent, recipientaccountid]) AS unmapped,
  account AS accountid, region
FROM security.logs
"""
UPDATE = {
    "event": "lambda:UpdateFunctionCode20150331v2",
    "parameters": {"functionName": "orders"},
    "response": {"functionArn": "arn:aws:lambda:eu-west-1:111122223333:function:orders"},
}
PUT = {
    "event": "s3:PutObject",
    "parameters": {"bucketName": "orders", "key": "a/b"},
    "resources": ["arn:aws:s3:::orders/a/b", "arn:aws:s3:::orders"],
    "data": True,
}
REFUSED = {"event": "sqs:CreateQueue", "error": "AccessDenied", "message": "no"}


@pytest.mark.skipif(not is_there(), reason="NOT COMPARED: `make lab` installs DuckDB")
def test_a_table_of_security_lake_has_the_calls_of_the_files(tmp_path: Path) -> None:
    logs = write_trail(tmp_path / "logs", deploys([UPDATE, PUT, REFUSED]))
    whose = Principals(frozenset({parse_principal(ROLE)}))
    folder = TrailFolder(logs)
    expected = [each for each in folder.read(Window(), whose) if isinstance(each, Call)]
    with DuckDb(logs) as duckdb:
        made = duckdb.ask(LAKE)
        assert "error" not in made, made
        athena = FakeAthena(
            duckdb, columns=COLUMNS, partitions=("accountid", "region"), parameters={}
        )
        trails = {"cloudtrail:DescribeTrails": lambda _: {"trailList": []}}
        with FakeAws({**athena.operations(), **trails}) as aws:
            clients = Aws.open(aws.environment())
            source = AthenaTable(clients, "security.lake", NOW, AthenaOptions(poll=0.01))
            items = list(source.read(Window(), whose))
    found = [each for each in items if isinstance(each, Call)]
    key = lambda call: call.event_id  # noqa: E731 - the key of both
    assert sorted(found, key=key) == sorted(expected, key=key)
    assert len(found) == 18
    assert source.statistics.days == folder.statistics.days
    assert source.statistics.data == folder.statistics.data


def test_a_query_of_security_lake_names_the_time_by_which_files_are_skipped() -> None:
    columns = [{"Name": name, "Type": kind} for name, kind in COLUMNS.items()]
    table = CloudTrailTable.of("lake", "events", {"Columns": columns})
    assert table.is_ocsf
    query = usage_query(table, Window(start=NOW), Principals(), [])
    assert f"time_dt >= TIMESTAMP '{NOW:%Y-%m-%d %H:%M:%S}'" in query
