"""Reads a table of Amazon Security Lake as one of CloudTrail records, in SQL.

Security Lake keeps CloudTrail's events in the form of OCSF 1.1.0, in the tables
`cloud_trail_mgmt_2_0`, `s3_data_2_0` and `lambda_execution_2_0` ("Security Lake queries for AWS
source version 2", Amazon Security Lake User Guide). Which field has which part of a record: AWS's
mapping in github.com/ocsf/examples, `mappings/markdown/AWS/v1.1.0/CloudTrail` (a part without a
field is in `unmapped` under its path), and that of OpenSearch's integration; read 2026-12-02.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leastpriv.aws.arns import Window

_MARKS = frozenset(("api", "actor", "cloud", "metadata", "time_dt"))
"""Columns that a table of OCSF has, and one of CloudTrail records has not."""
TIME = "time_dt"
"""The time of an event, by which the files of a table are skipped."""
_SESSION = "userIdentity.sessionContext"
_ISSUER = f"{_SESSION}.sessionIssuer"
_IDENTITY: Mapping[str, str] = {
    "type": "actor.user.type",
    "principalid": "actor.user.uid_alt",
    "arn": "actor.user.uid",
    "accountid": "actor.user.account.uid",
    "invokedby": "actor.invoked_by",
    "accesskeyid": "actor.user.credential_uid",
    "username": "actor.user.name",
}
_ISSUER_FIELDS: Mapping[str, str] = {
    "type": f"element_at(unmapped, '{_ISSUER}.type')",
    "principalid": f"element_at(unmapped, '{_ISSUER}.principalId')",
    "arn": "actor.session.issuer",
    "accountid": f"element_at(unmapped, '{_ISSUER}.accountId')",
    "username": f"element_at(unmapped, '{_ISSUER}.userName')",
}
_COLUMNS: Mapping[str, str] = {
    "eventtime": f"date_format({TIME}, '%Y-%m-%dT%H:%i:%sZ')",
    "eventsource": "api.service.name",
    "eventname": "api.operation",
    "awsregion": "cloud.region",
    "useragent": "http_request.user_agent",
    "errorcode": "api.response.error",
    "errormessage": "api.response.message",
    "requestparameters": "api.request.data",
    "responseelements": "api.response.data",
    "eventid": "metadata.uid",
    "readonly": "element_at(unmapped, 'readOnly')",
    "eventtype": "metadata.event_code",
    "recipientaccountid": "element_at(unmapped, 'recipientAccountId')",
    "eventcategory": "metadata.product.feature.name",
    "managementevent": "element_at(unmapped, 'managementEvent')",
    "sessioncredentialfromconsole": "element_at(unmapped, 'sessionCredentialFromConsole')",
}
"""Column of CloudTrail's table -> field of OCSF."""
_STRUCT = (
    "struct<type:string,principalid:string,arn:string,accountid:string,invokedby:string,"
    "accesskeyid:string,username:string,sessioncontext:struct<sessionissuer:struct<type:string,"
    "principalid:string,arn:string,accountid:string,username:string>,"
    "sessioncredentialfromconsole:string>>"
)
TYPES: Mapping[str, str] = {
    **dict.fromkeys(_COLUMNS, "string"),
    "useridentity": _STRUCT,
    "resources": "array<struct<arn:string,type:string>>",
}
"""The columns of the table as the query reads it."""


KEYS = ("region", "accountid")
"""The keys by which the tables are partitioned. Those of an Iceberg table are columns."""


def is_ocsf(columns: Mapping[str, str]) -> bool:
    """Whether a table with these columns has events in the form of OCSF."""
    return set(columns) >= _MARKS


def relation(table: str, partitions: tuple[str, ...], window: Window) -> str:
    """Returns the table as a query with the columns of CloudTrail's table.

    Args:
        table: Its quoted name.
        partitions: Its partition keys, quoted.
        window: The time to read: files outside it are skipped.
    """
    issuer = _row(_ISSUER_FIELDS)
    console = f"element_at(unmapped, '{_SESSION}.sessionCredentialFromConsole')"
    session = _row({"sessionissuer": issuer.value, "sessioncredentialfromconsole": console})
    typed_session = f"ROW(sessionissuer {issuer.kind}, sessioncredentialfromconsole varchar)"
    identity = _row({**_IDENTITY, "sessioncontext": session.value})
    fields = ", ".join(f"{name} varchar" for name in _IDENTITY)
    kind = f"ROW({fields}, sessioncontext {typed_session})"
    columns = [f"{column} AS {name}" for name, column in _COLUMNS.items()]
    # A record without a caller may be one of any principal.
    is_known = f"coalesce({', '.join(_IDENTITY.values())}) IS NOT NULL"
    columns.append(
        f"CASE WHEN {is_known} THEN CAST({identity.value} AS {kind}) END AS useridentity"
    )
    columns.append(
        "transform(resources, r -> CAST(ROW(r.uid, r.type) AS ROW(arn varchar, type varchar))) AS"
        " resources"
    )
    columns += partitions
    conditions = " AND ".join(_times(window))
    # Fields of this module and a quoted name.
    rows = f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608
    where_clause = f" WHERE {conditions}" if conditions else ""
    return f"({rows}{where_clause})"


class _Row:
    """A row in SQL and its type."""

    def __init__(self, value: str, kind: str) -> None:
        self.value = value
        self.kind = kind


def _row(fields: Mapping[str, str]) -> _Row:
    value = f"ROW({', '.join(fields.values())})"
    return _Row(value, f"ROW({', '.join(f'{name} varchar' for name in fields)})")


def _times(window: Window) -> Iterator[str]:
    for sign, time in ((">=", window.start), ("<", window.end)):
        if time:
            yield f"{TIME} {sign} TIMESTAMP '{time:%Y-%m-%d %H:%M:%S}'"
