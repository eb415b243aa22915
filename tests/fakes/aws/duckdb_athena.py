"""Runs Athena's SQL on DuckDB, in the Python of the lab's environment: one query per line in, one
answer per line out.

`python duckdb_athena.py FOLDER DATABASE.TABLE COLUMNS`: the folder has the layout of a trail's
bucket, and is read as the table of the given columns (`{"name": "type"}`) partitioned by account,
region and day. A line in is `{"sql": …, "dialect": …}`, one out, after `loaded`, is
`{"names": […], "rows": [[…]]}` with all values as text, or `{"error": …}`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import duckdb
import sqlglot

# Field by field: Athena's reader compares names without case, DuckDB's does not.
_KEYS = """
    eventVersion userIdentity principalId invokedBy accountId accessKeyId userName eventTime sessionContext
    sessionIssuer eventSource eventName awsRegion errorCode errorMessage requestParameters responseElements eventID
    readOnly eventType recipientAccountId eventCategory managementEvent sharedEventID sessionCredentialFromConsole
    sourceIPAddress userAgent ARNPrefix
"""
_CAMEL = {name.lower(): name for name in _KEYS.split()}


def main() -> None:
    folder, table, columns = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    connection = duckdb.connect()
    load(connection, folder, table, columns)
    sys.stdout.write("loaded\n")
    sys.stdout.flush()
    for line in sys.stdin:
        try:
            asked = json.loads(line)
            answer = ask(connection, asked["sql"], asked["dialect"])
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def load(
    connection: duckdb.DuckDBPyConnection, folder: str, table: str, columns: dict[str, str]
) -> None:
    database, name = table.split(".")
    place = "/([0-9]{12})/CloudTrail/([^/]+)/([0-9]{4}/[0-9]{2}/[0-9]{2})/"
    told = ", ".join(
        f"{expression(f'r->{quoted(column)}', kind)} AS {column}"
        for column, kind in columns.items()
    )
    connection.execute(f"CREATE SCHEMA {database}")
    connection.execute(
        f"""CREATE TABLE {database}.{name} AS SELECT {told},
        regexp_extract(filename, '{place}', 1) AS account, regexp_extract(filename, '{place}', 2) AS region,
        regexp_extract(filename, '{place}', 3) AS day
        FROM (SELECT unnest(Records) r, filename FROM read_json(?, columns={{'Records': 'JSON[]'}},
        maximum_object_size=200000000, filename=true, format='newline_delimited'))""",  # noqa: S608 - columns of this module
        [sorted(map(str, Path(folder).glob("**/CloudTrail/**/*.json.gz")))],
    )


def expression(value: str, kind: str) -> str:
    """A JSON value as a column of a Hive type, in DuckDB's SQL."""
    kind = kind.replace(" ", "")
    if kind.startswith("struct<"):
        fields = ", ".join(
            f"{name} := {expression(f'({value})->{quoted(name)}', inner)}"
            for name, inner in members(kind[7:-1])
        )
        return (
            f"CASE WHEN ({value}) IS NOT NULL AND json_type({value}) <> 'NULL' THEN"
            f" struct_pack({fields}) END"
        )
    if kind.startswith("array<"):
        # Athena's reader accepts a key in any case; the records have `ARN` and `arn`.
        inner = expression("x", kind[6:-1]).replace(
            "(x)->'arn'", "coalesce((x)->'ARN', (x)->'arn')"
        )
        made = f"list_transform(CAST({value} AS JSON[]), LAMBDA x : {inner})"
        return f"CASE WHEN json_type({value}) = 'ARRAY' THEN {made} END"
    return f"CASE WHEN json_type({value}) <> 'NULL' THEN ({value})->>'$' END"


def members(text: str) -> list[tuple[str, str]]:
    found, depth, start = [], 0, 0
    for at, letter in enumerate(text + ","):
        depth += (letter == "<") - (letter == ">")
        if letter == "," and not depth:
            name, _, kind = text[start:at].partition(":")
            found.append((name, kind))
            start = at + 1
    return found


def quoted(name: str) -> str:
    return f"'{_CAMEL.get(name, name)}'"


def ask(connection: duckdb.DuckDBPyConnection, sql: str, dialect: str) -> dict[str, object]:
    [statement] = sqlglot.transpile(sql, read=dialect, write="duckdb")
    answer = connection.execute(statement)
    names = [column[0] for column in answer.description or ()]
    rows = [[None if cell is None else text(cell) for cell in row] for row in answer.fetchall()]
    return {"names": names, "rows": rows}


def text(cell: object) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


if __name__ == "__main__":
    main()
