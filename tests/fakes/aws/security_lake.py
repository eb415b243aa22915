"""A table of Security Lake on DuckDB, made from the records of a trail.

Source of the form: AWS's mapping of CloudTrail to OCSF 1.1.0 in github.com/ocsf/examples
(`mappings/markdown/AWS/v1.1.0/CloudTrail`, API Activity), read 2026-12-02. A part of a record that
it does not name is in `unmapped`, under its path.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.fakes.aws.athena import DuckDb

LAKE = "security.lake"
COLUMNS: Mapping[str, str] = {
    "time": "bigint",
    "time_dt": "timestamp",
    "metadata": "struct<uid:string,event_code:string,product:struct<feature:struct<name:string>>>",
    "actor": "struct<user:struct<type:string,uid:string>,session:struct<issuer:string>>",
    "api": "struct<operation:string,service:struct<name:string>>",
    "cloud": "struct<region:string,provider:string>",
    "http_request": "struct<user_agent:string>",
    "resources": "array<struct<uid:string,type:string>>",
    "unmapped": "map<string,string>",
    "region": "string",
    "accountid": "string",
}
"""Columns as the catalogue describes them. Its tables are of Iceberg, which have no partition keys
there."""
_CREATE = """
CREATE TABLE security.lake AS SELECT
  CAST(replace(replace(eventtime, 'T', ' '), 'Z', '') AS TIMESTAMP) AS time_dt,
  {'uid': eventid, 'event_code': eventtype, 'product': {'feature': {'name': eventcategory}}}
    AS metadata,
  {
    'user': {
      'type': useridentity.type,
      'uid_alt': useridentity.principalid,
      'uid': useridentity.arn,
      'account': {'uid': useridentity.accountid},
      'credential_uid': useridentity.accesskeyid,
      'name': useridentity.username
    },
    'session': {'issuer': useridentity.sessioncontext.sessionissuer.arn},
    'invoked_by': useridentity.invokedby
  } AS actor,
  {
    'operation': eventname,
    'service': {'name': eventsource},
    'request': {'data': requestparameters},
    'response': {'error': errorcode, 'message': errormessage, 'data': responseelements}
  } AS api,
  {'region': awsregion, 'provider': 'AWS'} AS cloud,
  {'user_agent': useragent} AS http_request,
  list_transform(resources, LAMBDA r : {'uid': r.arn, 'type': r.type}) AS resources,
  map_from_entries(list_filter([UNMAPPED], LAMBDA each : each.value IS NOT NULL)) AS unmapped,
  account AS accountid,
  region
FROM security.logs
"""
_SESSION = "userIdentity.sessionContext"
_ISSUER = f"{_SESSION}.sessionIssuer"
_UNMAPPED = (
    "readOnly",
    "managementEvent",
    "recipientAccountId",
    "sessionCredentialFromConsole",
    f"{_SESSION}.sessionCredentialFromConsole",
    f"{_ISSUER}.type",
    f"{_ISSUER}.principalId",
    f"{_ISSUER}.accountId",
    f"{_ISSUER}.userName",
)


def create_lake(duckdb: DuckDb) -> None:
    """Creates the table from that of CloudTrail's records, `security.logs`."""
    parts = ", ".join(f"{{'key': '{path}', 'value': {path.lower()}}}" for path in _UNMAPPED)
    made = duckdb.ask(_CREATE.replace("UNMAPPED", parts), dialect="duckdb")
    assert "error" not in made, made
