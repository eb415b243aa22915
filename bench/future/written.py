"""Writes histories whose calls are listed in `written.json`, without the lab.

    .venv/bin/python -m bench.future.written FOLDER

Each app has the calls of a new copy (`make`), of changed code, of a changed setting and of a
takedown (`down`), and those of each run (`always`, and `read` for a copy that is there), in the
form of `tests/cases`. Its `plan` and `shape` name the order of the runs in `plan.py`, or its
`steps` are the order: a word after the copy names further calls of the app. Its `days` are the days
between two runs. $NAME is the generation of the names, $STAGE the copy, $ID an id that AWS drew for
it, $WORD a word of the release.
FOLDER/HISTORY gets `records/`, as of `bench.future.record`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from typing import Any

from bench.future.plan import Run, copies, plan
from tests.test_cases import ROLE, record

APPS = Path(__file__).with_name("written.json")
REGION = "us-east-1"
_FIRST_DAY = datetime(2026, 9, 1, 9, tzinfo=UTC)
_DAYS_APART = 3
_FIRST_RUN = 1001
_WORDS = ("orders", "refunds", "mails", "search", "prices", "stock", "labels", "coupons")
"""What the app is extended by, release by release."""

App = Mapping[str, Any]
Call = Mapping[str, Any]


def main(arguments: list[str]) -> None:
    """Writes all histories."""
    parser = argparse.ArgumentParser(description="Write histories without the lab.")
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args(arguments).folder
    for name, app in json.loads(APPS.read_text(encoding="utf-8")).items():
        there: dict[str, Run] = {}
        runs = _runs_of(app)
        days = [0, *app.get("days", [_DAYS_APART] * (len(runs) - 1))]
        begin = _FIRST_DAY
        for number, (run, apart) in enumerate(zip(runs, days, strict=True)):
            begin += timedelta(days=apart)
            session = str(_FIRST_RUN + number)
            records = [
                record(ROLE, session, begin + timedelta(seconds=second), _by_agent(app, call))
                for second, call in enumerate(calls_of(app, run, there))
            ]
            place = folder / name / "records" / session
            place.mkdir(parents=True)
            for region in {each["awsRegion"] for each in records}:
                own = [each for each in records if each["awsRegion"] == region]
                content = json.dumps({"Records": own}).encode()
                stamp = f"{begin:%Y%m%dT%H%MZ}"
                file = place / f"111122223333_CloudTrail_{region}_{stamp}_AbCdEfGhIjKlMnOp.json.gz"
                file.write_bytes(gzip.compress(content))


def _runs_of(app: App) -> tuple[Run, ...]:
    if "steps" in app:
        return tuple(copies(app["steps"]))
    return plan(app["shape"], app["plan"])


def calls_of(app: App, run: Run, there: dict[str, Run]) -> Iterator[Call]:
    """Yields the calls of a run; `there` is what earlier runs deployed, by stage."""
    yield from _filled(app["always"], run, run)
    before = there.get(run.stage)
    if run.is_destroy:
        there.pop(run.stage, None)
        yield from _filled(app["down"], before or run, run)
        return
    there[run.stage] = run
    yield from _changes_of(app, run, before)
    for word in run.also:
        yield from _filled(app[word], run, before or run)


def _changes_of(app: App, run: Run, before: Run | None) -> Iterator[Call]:
    if before is None:
        yield from _filled(app["make"], run, run)
        return
    if run.generation != before.generation:
        yield from _filled(app["make"], run, run)
        yield from _filled(app["down"], before, before)
        return
    yield from _filled(app["read"], run, run)
    if run.release != before.release:
        yield from _filled(app["code"], run, before)
    if run.setting != before.setting:
        yield from _filled(app["setting"], run, before)


def _filled(calls: list[Call], run: Run, before: Run) -> list[Call]:
    values = {
        "STAGE": run.stage,
        "NAME": run.generation,
        "RELEASE": run.release,
        "SETTING": run.setting,
        "WORD": _WORDS[(run.release - 1) % len(_WORDS)],
        "HASH": _hash(f"{run.stage} {run.release} {run.setting}"),
        "OLD": _hash(f"{before.stage} {before.release} {before.setting}"),
        "ID": _hash(run.stage),
    }
    filled: list[Call] = json.loads(Template(json.dumps(calls)).substitute(values))
    return filled


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _by_agent(app: App, call: Call) -> Call:
    return {"region": REGION, "user-agent": app["agent"], **call}


if __name__ == "__main__":
    main(sys.argv[1:])
