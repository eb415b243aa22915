"""Things made under other names: what a role did to one of them it will do to the next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from leastpriv.evidence.used_names import names_of
from leastpriv.models import Basis, Need, Outcome, Permission, Run, Usage
from leastpriv.permissions.generalize import ObservedResource

TIME = datetime(2026, 11, 1, tzinfo=UTC)
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:"


def usage(action: str, resource: str, event: str, run: int, **fields: object) -> Usage:
    usage_fields: dict[str, object] = {"outcome": Outcome.ALLOWED, "exact": True} | fields
    need = Need(
        Permission(action, resource), Basis.OBSERVED, "", exact=bool(usage_fields.pop("exact"))
    )
    when = TIME + timedelta(days=run)
    outcome = usage_fields.pop("outcome")
    return Usage(
        need, outcome, 1, when, when, (str(run),), (f"x.amazonaws.com:{event}",), **usage_fields
    )  # type: ignore[arg-type]


def queues(**fields: object) -> list[Usage]:
    return [
        usage("sqs:CreateQueue", f"{QUEUE}orders-{run}", "CreateQueue", run, **fields)
        for run in (1, 2, 3)
    ]


def written(usages: list[Usage], using: Usage, reviewed: set[str] | None = None) -> list[str]:
    """The patterns of the names of an app for one use."""
    runs = [
        Run(str(run), str(run), TIME + timedelta(days=run), TIME + timedelta(days=run))
        for run in (1, 2, 3)
    ]
    names = names_of(usages, runs, reviewed=reviewed)
    resource = ObservedResource(using.need.permission.resource, using.runs)
    patterns, _ = names.resources_of(using.need.permission.action, [resource])
    return [pattern.pattern for pattern in patterns]


def test_an_action_of_one_run_applies_to_the_whole_name_pattern() -> None:
    using = usage("sqs:TagQueue", f"{QUEUE}orders-2", "TagQueue", 2)
    assert written([*queues(), using], using) == [f"{QUEUE}orders-*"]


@pytest.mark.parametrize(
    "fields",
    [
        {"succeeded": False},
        {"outcome": Outcome.DENIED},
        {"outcome": Outcome.UNKNOWN},
    ],
    ids=["in vain", "refused", "nobody knows"],
)
def test_uncertain_creations_form_no_name_pattern(fields: dict[str, object]) -> None:
    using = usage("sqs:TagQueue", f"{QUEUE}orders-2", "TagQueue", 2)
    assert written([*queues(**fields), using], using) == []


def test_only_naming_usages_form_name_patterns() -> None:
    """Runs of unreviewed code cannot widen what is written for the others."""
    usages = queues()
    assert written(usages, usages[0]) == [f"{QUEUE}orders-*"]
    assert written(usages, usages[0], {"1", "2"}) == []
