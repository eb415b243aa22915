"""Fakes Athena: DuckDB answers its queries on a folder with the layout of a trail's bucket."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.fakes.aws.server import Asked, Operation, RefusedError

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".lab" / "venv" / "bin" / "python"
_SCRIPT = Path(__file__).with_name("duckdb_athena.py")
COLUMNS: Mapping[str, str] = dict(
    re.findall(
        r"^  `(\w+)` (.+?),?$",
        (ROOT / "docs" / "athena-table.sql").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)
"""Columns of the documented table."""


def is_there() -> bool:
    """Whether DuckDB and sqlglot are installed, in the lab's environment."""
    return PYTHON.exists() and (PYTHON.parents[1] / ".installed").exists()


class DuckDb:
    """A process of DuckDB over a folder; a context manager."""

    def __init__(
        self, folder: Path, table: str = "security.logs", columns: Mapping[str, str] = COLUMNS
    ) -> None:
        arguments = [str(PYTHON), str(_SCRIPT), str(folder), table, json.dumps(dict(columns))]
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> DuckDb:
        """Waits until the folder is loaded; a query that waited for it would time out."""
        assert self._process.stdout
        assert self._process.stdout.readline() == "loaded\n"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)

    def ask(self, sql: str, dialect: str = "athena") -> Mapping[str, Any]:
        """The answer of one query: `names` and `rows`, or `error`."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"sql": sql, "dialect": dialect}) + "\n")
        self._process.stdin.flush()
        answer: Mapping[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@dataclass(slots=True)
class FakeAthena:
    """The operations of Athena; tests may read and change the state."""

    duckdb: DuckDb | None
    exists: bool = True
    columns: Mapping[str, str] = field(default_factory=lambda: COLUMNS)
    partitions: tuple[str, ...] = ("account", "region", "day")
    location: str = "s3://logs/AWSLogs"
    parameters: dict[str, str] = field(
        default_factory=lambda: {
            "projection.day.type": "date",
            "projection.day.format": "yyyy/MM/dd",
        }
    )
    scanned: int = 5_000_000
    running: int = 1
    """Number of requests for a query's state that return RUNNING."""
    failure: tuple[str, str] = ("", "")
    """State and reason of every query: FAILED or CANCELLED."""
    queries: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    page: int = 200
    answer: Mapping[str, Any] = field(default_factory=lambda: {"names": ["mine"], "rows": []})
    """The answer of every query without DuckDB."""
    _answers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _asked: dict[str, int] = field(default_factory=dict)

    def operations(self) -> dict[str, Operation]:
        """The operations for `FakeAws`."""
        return {
            "athena:GetTableMetadata": self.table, "athena:StartQueryExecution": self.start,
            "athena:GetQueryExecution": self.state, "athena:GetQueryResults": self.results,
            "athena:StopQueryExecution": self.stop,
        }  # fmt: skip

    def table(self, asked: Asked) -> Mapping[str, Any]:
        if not self.exists:
            raise RefusedError("MetadataException", "EntityNotFoundException: Entity Not Found")
        keys = [{"Name": name, "Type": "string"} for name in self.partitions]
        columns = [{"Name": name, "Type": kind} for name, kind in self.columns.items()]
        parameters = {"location": self.location, **self.parameters}
        described = {
            "Name": asked.parameters["TableName"],
            "Columns": columns,
            "PartitionKeys": keys,
        }
        return {
            "TableMetadata": {**described, "TableType": "EXTERNAL_TABLE", "Parameters": parameters}
        }

    def start(self, asked: Asked) -> Mapping[str, Any]:
        sql = asked.parameters["QueryString"]
        self.queries.append(sql)
        number = f"query-{len(self.queries)}"
        self._answers[number] = self.duckdb.ask(sql) if self.duckdb else self.answer
        return {"QueryExecutionId": number}

    def state(self, asked: Asked) -> Mapping[str, Any]:
        number = asked.parameters["QueryExecutionId"]
        self._asked[number] = self._asked.get(number, 0) + 1
        state, reason = self.failure
        error = self._answers[number].get("error", "")
        if error:
            state, reason = "FAILED", error
        if self._asked[number] <= self.running:
            state, reason = "RUNNING", ""
        status = {
            "State": state or "SUCCEEDED",
            **({"StateChangeReason": reason} if reason else {}),
        }
        figures = {"DataScannedInBytes": self.scanned}
        return {
            "QueryExecution": {"QueryExecutionId": number, "Status": status, "Statistics": figures}
        }

    def results(self, asked: Asked) -> Mapping[str, Any]:
        answer = self._answers[asked.parameters["QueryExecutionId"]]
        rows = [answer["names"], *answer["rows"]]
        start = int(asked.parameters.get("NextToken", "0"))
        end = start + min(self.page, asked.parameters.get("MaxResults", 1000))
        told = [
            {"Data": [{"VarCharValue": cell} if cell is not None else {} for cell in row]}
            for row in rows[start:end]
        ]
        return {"ResultSet": {"Rows": told}, **({"NextToken": str(end)} if end < len(rows) else {})}

    def stop(self, asked: Asked) -> Mapping[str, Any]:
        self.stopped.append(asked.parameters["QueryExecutionId"])
        return {}
