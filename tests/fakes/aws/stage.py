"""Fakes AWS with every source of evidence on one role's deploys, over HTTP, with a fault in one
source.

`tests/cases_sources/faults.json` holds the result of a run for each fault; `bench/source_faults.py`
prints it as a table.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

from leastpriv.aws import session as aws_module
from tests.fakes.aws.athena import DuckDb, FakeAthena
from tests.fakes.aws.event_history import FakeHistory, Fault, login
from tests.fakes.aws.policy_checks import PolicyChecks
from tests.fakes.aws.s3_server import FakeS3
from tests.fakes.aws.server import Asked, Operation
from tests.fakes.command import CommandResult, leastpriv
from tests.fakes.deploys import (
    FIRST,
    POLICY,
    ROLE,
    UPDATE,
    Record,
    record,
    usual_deploys,
    write_trail,
)

SOURCES: Mapping[str, tuple[str, ...]] = {
    "event history": ("--trails", "event-history"),
    "trail in S3": ("--trails", "s3://logs"),
    "Athena": ("--athena-table", "security.logs"),
    "live role": ("--trails", "s3://logs"),
}
"""Source -> the options that select it."""
CALLER = "arn:aws:sts::111122223333:assumed-role/evidence-reader/leastpriv"
_TRAIL = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main"
_MANAGED = "arn:aws:iam::111122223333:policy/ci-deploy"
_WITHOUT_FAULT = ("no-data-events", "not-logged")
"""Gaps of every run here: event history and the trail have no data events."""
_LONGEST_WAIT = 60.0
"""Seconds until a request to be interrupted must have arrived."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The report of one run."""

    result: CommandResult
    proposal: Mapping[str, Any]
    """`proposal.json`; empty without one."""
    seconds: float
    """From Ctrl-C, or without one from the start, to the end."""

    @property
    def removed(self) -> tuple[str, ...]:
        """Actions that the proposal removes or narrows."""
        found = self.proposal.get("changes", ())
        return tuple(change["action"] for change in found if change["kind"] != "add")

    @property
    def sentences(self) -> tuple[str, ...]:
        """The gaps that the run reported, else its error."""
        errors = [line for line in self.result.err.splitlines() if line.startswith("error: ")]
        gaps = sorted(
            {
                gap["detail"]
                for gap in self.proposal.get("gaps", ())
                if gap["gap"] not in _WITHOUT_FAULT
            }
        )
        lines = (*gaps, *(line.removeprefix("error: ") for line in errors))
        return tuple(re.sub(r"http://127\.0\.0\.1:\d+", "http://AWS", text) for text in lines)


def records() -> list[Record]:
    """The usual deploys; the last one makes more calls than fit a page of event history."""
    last = FIRST + timedelta(days=35)
    return [
        *usual_deploys(),
        *(record(UPDATE, last + timedelta(minutes=n), "17650000005") for n in range(1, 60)),
    ]


class Stage:
    """The servers, from entering the context to leaving it; each run resets them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trail = write_trail(folder / "trail", records())
        (folder / "policy.json").write_text(json.dumps(POLICY, indent=2))
        self.history, self.aws, self.s3 = FakeHistory(caller=CALLER), PolicyChecks(), FakeS3()
        self.aws.caller = CALLER
        self._judges = dict(self.aws.operations)
        self._duckdb: DuckDb | None = None
        self.athena = FakeAthena(None)

    def __enter__(self) -> Self:
        for server in (self.history, self.aws, self.s3):
            server.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in (self.history, self.aws, self.s3, self._duckdb):
            if server:
                server.__exit__(kind, error, trace)

    def run(self, case: Mapping[str, Any]) -> Outcome:
        """Proposes from the case's source with the case's fault.

        A folder with the same records is read too, unless the case is `alone`: it shows what the
        failing source does not, so that only the gap prevents a removal.
        """
        self._begin(case["source"])
        fault = case.get("fault", {})
        self._arrange(fault)
        folder = () if case.get("alone") else ("--trails", str(self.trail))
        out = self.folder / "out"
        for file in out.glob("*"):
            file.unlink()
        self._started = time.monotonic()
        with (
            patch.object(aws_module, "_READ_SECONDS", fault.get("read_seconds", 30)),
            patch.dict(os.environ, self._environment(case["source"], fault), clear=True),
            self._interrupted(fault.get("interrupt_at", "")),
        ):
            result = leastpriv(
                "propose", "--role-arn", ROLE, "--policy-file", str(self.folder / "policy.json"),
                *folder,
                *SOURCES[case["source"]], "--output-dir", str(out),
            )  # fmt: skip
        seconds = time.monotonic() - self._started
        written = out / "proposal.json"
        return Outcome(result, json.loads(written.read_text()) if written.exists() else {}, seconds)

    def _begin(self, source: str) -> None:
        """Everything without faults."""
        self.s3.forget()
        self.aws.forget(self._judges)
        for path in sorted(self.trail.rglob("*.json.gz")):
            self.s3.objects[path.relative_to(self.trail).as_posix()] = path.read_bytes()
        self.history.forget()
        self.history.enabled = ("eu-west-1", "us-east-1")
        logins = [
            login(ROLE, str(17650000000 + turn), FIRST + timedelta(days=7 * turn), "eu-west-1")
            for turn in range(6)
        ]
        self.history.events = {"eu-west-1": [*logins, *records()], "us-east-1": []}
        if source == "Athena" and self._duckdb is None:
            self._duckdb = DuckDb(self.trail).__enter__()
        self.athena = FakeAthena(self._duckdb)
        self.aws.operations |= {**self.athena.operations(), **account(), **trail_settings()}

    def _arrange(self, fault: Mapping[str, Any]) -> None:
        for each in fault.get("history", ()):
            self.history.faults.append(Fault(**each))
        for server, name in ((self.s3, "s3"), (self.aws, "aws")):
            for each in fault.get(name, ()):
                getattr(server, each["do"])(
                    **{key: value for key, value in each.items() if key != "do"}
                )
        if "attached" in fault:
            roles = [
                {"RoleName": name, "RoleId": "AROAAAAAAAAAAAAAAAAA"} for name in fault["attached"]
            ]
            self.aws.operations["iam:ListEntitiesForPolicy"] = lambda _: {
                "PolicyRoles": roles,
                "PolicyUsers": [],
                "PolicyGroups": [],
                "IsTruncated": False,
            }
        for name, value in fault.get("athena", {}).items():
            setattr(self.athena, name, tuple(value) if isinstance(value, list) else value)
        if "page" in fault:
            self.s3.most_keys = self.athena.page = fault["page"]
            self.aws.operations |= account(fault["page"])
        if "damage" in fault:
            [key] = [key for key in self.s3.objects if fault["damage"] in key]
            self.s3.objects[key] = self.s3.objects[key][:-20]

    def _environment(self, source: str, fault: Mapping[str, Any]) -> Mapping[str, str]:
        found = self.s3.environment(attempts=fault.get("attempts", 2), others=self.aws.endpoint)
        history = self.history.environment()["AWS_ENDPOINT_URL"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        only = {
            "AWS_CONFIG_FILE": str(self.folder / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "none"),
        }
        lookups = {"AWS_ENDPOINT_URL_CLOUDTRAIL": history} if source == "event history" else {}
        return {**kept, **found, **only, **lookups}

    @contextmanager
    def _interrupted(self, request: str) -> Iterator[None]:
        """Inside, the main thread gets Ctrl-C as soon as a request of that name arrives."""
        done = threading.Event()

        def watch() -> None:
            until = time.monotonic() + _LONGEST_WAIT
            while not done.is_set() and time.monotonic() < until:
                if any(request in each for each in self._asked()):
                    self._started = time.monotonic()
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    return
                time.sleep(0.02)

        watcher = threading.Thread(target=watch, daemon=True)
        if request:
            watcher.start()
        try:
            yield
        finally:
            done.set()

    def _asked(self) -> Sequence[str]:
        lookups = [attribute for _, attribute in list(self.history.requests)]
        return [
            *lookups,
            *list(self.s3.requests),
            *(each.operation for each in list(self.aws.requests)),
        ]


def account(page: int = 100) -> Mapping[str, Operation]:
    """The role in the account, with the policy file's policy and another attached, the given number
    per page.
    """
    other = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:TagSession", "Resource": "*"}],
    }
    documents = {_MANAGED: POLICY, f"{_MANAGED}-more": other}
    role = {
        "Path": "/", "RoleName": "ci-deploy", "RoleId": "AROAAAAAAAAAAAAAAAAA", "Arn": ROLE,
        "CreateDate": datetime(2026, 1, 1, tzinfo=UTC), "AssumeRolePolicyDocument": "{}",
    }  # fmt: skip

    def attached(asked: Asked) -> Mapping[str, Any]:
        start = int(asked.parameters.get("Marker", "0"))
        found = [{"PolicyArn": arn} for arn in documents][start : start + page]
        more = (
            {"IsTruncated": True, "Marker": str(start + page)}
            if start + page < len(documents)
            else {}
        )
        return {"AttachedPolicies": found, "IsTruncated": False, **more}

    def version(asked: Asked) -> Mapping[str, Any]:
        return {"PolicyVersion": {"Document": json.dumps(documents[asked.parameters["PolicyArn"]])}}

    return {
        "account:ListRegions": lambda _: {
            "Regions": [
                {"RegionName": name, "RegionOptStatus": "ENABLED"}
                for name in ("eu-west-1", "us-east-1")
            ]
        },
        "iam:GetRole": lambda _: {"Role": role},
        "iam:ListAttachedRolePolicies": attached,
        "iam:ListRolePolicies": lambda _: {"PolicyNames": [], "IsTruncated": False},
        "iam:GetPolicy": lambda _: {"Policy": {"DefaultVersionId": "v1"}},
        "iam:GetPolicyVersion": version,
        "iam:ListEntitiesForPolicy": lambda _: {
            "PolicyRoles": [{"RoleName": role["RoleName"], "RoleId": role["RoleId"]}],
            "PolicyUsers": [],
            "PolicyGroups": [],
            "IsTruncated": False,
        },
    }


def trail_settings() -> Mapping[str, Operation]:
    """A trail into the bucket that has logged all management events of all regions for a year."""
    trail = {
        "Name": "main", "S3BucketName": "logs", "TrailARN": _TRAIL, "HomeRegion": "eu-west-1",
        "IsMultiRegionTrail": True, "IncludeGlobalServiceEvents": True,
        "IsOrganizationTrail": False,
    }  # fmt: skip
    return {
        "cloudtrail:DescribeTrails": lambda _: {"trailList": [trail]},
        "cloudtrail:GetTrailStatus": lambda _: {"IsLogging": True,
        "StartLoggingTime": FIRST - timedelta(days=365)},
        "cloudtrail:GetEventSelectors": lambda _: {
            "TrailARN": _TRAIL, "EventSelectors": [{"ReadWriteType": "All",
            "IncludeManagementEvents": True}],
        },
    }  # fmt: skip
