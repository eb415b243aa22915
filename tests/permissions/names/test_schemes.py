"""A pattern covers the names of the next run, of the next month and of the next year."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.permissions.generalize import ObservedResource, patterns_of
from leastpriv.permissions.names.app_names import read_app_names
from leastpriv.permissions.names.observed import NameUse, RunFacts
from leastpriv.permissions.patterns import resource_covers

SCHEMES = json.loads(Path(__file__).with_name("schemes.json").read_text(encoding="utf-8"))
FIRST = datetime(2026, 10, 20, 9, 5, tzinfo=UTC)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
WORDS = ("login", "search", "footer", "refunds", "checkout", "wallet", "themes", "basket")


def drawn(seed: random.Random, letters: str, count: int) -> str:
    return "".join(seed.choice(letters) for _ in range(count))


def resource(scheme: dict[str, Any], run: int, day: datetime) -> str:
    """The resource that a run names by a scheme."""
    seed = random.Random(f"{scheme['name']} {run}")  # noqa: S311 - names of a test
    values = {
        "number": 100 + 3 * run,
        "version": f"1.{run}.0",
        "word": WORDS[run % len(WORDS)] if run < len(WORDS) else drawn(seed, LETTERS, 7),
        "uuid": uuid.UUID(int=seed.getrandbits(128), version=4),
        "hex8": drawn(seed, "abcdef" + DIGITS, 8),
        "hex16": drawn(seed, "abcdef" + DIGITS, 16),
        "hex40": drawn(seed, "abcdef" + DIGITS, 40),
        "lower6": drawn(seed, LETTERS + DIGITS, 6),
        "upper13": drawn(seed, LETTERS.upper() + DIGITS, 13),
        "mixed10": drawn(seed, LETTERS + LETTERS.upper() + DIGITS, 10),
        "mixed21": drawn(seed, LETTERS + LETTERS.upper() + DIGITS + "_-", 21),
        "epoch": int(day.timestamp()),
        "year": f"{day:%Y}",
        "month": f"{day:%m}",
        "day": f"{day:%d}",
        "hour": f"{day:%H}",
        "minute": f"{day:%M}",
        "short_year": f"{day:%y}",
        "short_month": f"{day:%b}".lower(),
        "week": f"{day.isocalendar().week:02}",
        "fiscal_week": f"{(day.isocalendar().week + 12) % 52 + 1:02}",
        "fiscal_period": f"{(day.month + 2) % 12 + 1:02}",
        "quarter": (day.month + 2) // 3,
        "full_month": f"{day:%B}",
        "day_of_year": f"{day:%j}",
        "plain_month": day.month,
        "plain_day": day.day,
    }
    name = scheme["name"].format_map(values)
    service = scheme["action"].partition(":")[0]
    if service == "s3":
        return f"arn:aws:s3:::shop-deploys/{name}"
    return f"arn:aws:{service}:eu-west-1:111122223333:{name}"


def written(scheme: dict[str, Any], count: int) -> list[str]:
    """The resources that are written after a number of runs, three days apart."""
    days = [FIRST + timedelta(days=3 * run) for run in range(count)]
    names = [resource(scheme, run, day) for run, day in enumerate(days)]
    runs = [RunFacts(str(run), day=f"{day:%Y%m%d}") for run, day in enumerate(days)]
    uses = [
        NameUse(scheme["action"], name, (str(run),), creates=True) for run, name in enumerate(names)
    ]
    observed = [ObservedResource(name, (str(run),)) for run, name in enumerate(names)]
    name_patterns, other_resources = read_app_names(uses, runs).resources_of(
        scheme["action"], observed
    )
    return [pattern.pattern for pattern in (*name_patterns, *patterns_of(other_resources))]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme["name"])
@pytest.mark.parametrize("count", [5, 8, 20])
def test_a_pattern_covers_the_next_run_the_next_month_and_the_next_year(
    scheme: dict[str, Any], count: int
) -> None:
    patterns = written(scheme, count)
    last = FIRST + timedelta(days=3 * count)
    for run, later in ((count, 0), (count + 13, 40), (count + 27, 80)):
        name = resource(scheme, run, last + timedelta(days=later))
        assert any(resource_covers(pattern, name) for pattern in patterns), (name, patterns[:3])


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme["name"])
def test_a_pattern_covers_no_name_of_another_app(scheme: dict[str, Any]) -> None:
    other_app = resource({**scheme, "name": "billing/{hex8}"}, 1, FIRST)
    assert not any(resource_covers(pattern, other_app) for pattern in written(scheme, 8))
