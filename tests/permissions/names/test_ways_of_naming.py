"""What runs did in one copy of an app covers the next preview, however the app names its copies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from leastpriv.permissions.generalize import ObservedResource
from leastpriv.permissions.names.app_names import AppNames, read_app_names
from leastpriv.permissions.names.observed import NameUse, RunFacts
from leastpriv.permissions.patterns import resource_covers

APPS = json.loads(Path(__file__).with_name("ways_of_naming.json").read_text(encoding="utf-8"))
CREATES = ("dynamodb:CreateTable", "sqs:CreateQueue", "ssm:PutParameter")
CHANGES = ("dynamodb:UpdateTable", "sqs:SetQueueAttributes", "ssm:LabelParameterVersion")
DESTROYS = ("dynamodb:DeleteTable", "sqs:DeleteQueue", "ssm:DeleteParameter")


def resources_of_copy(app: dict[str, Any], number: int) -> list[str]:
    """A table, a queue and a parameter of one copy: production first, the next preview last."""
    words = {name: words_of_copies[number] for name, words_of_copies in app["words"].items()}
    return [
        f"arn:aws:{action.partition(':')[0]}:eu-west-1:111122223333:{name.format_map(words)}"
        for action, name in zip(CREATES, app["names"], strict=True)
    ]


def uses(run: str, actions: Sequence[str], resources: Sequence[str]) -> list[NameUse]:
    return [
        NameUse(action, resource, (run,), creates=action in CREATES, destroys=action in DESTROYS)
        for action, resource in zip(actions, resources, strict=True)
    ]


def names_of(app: dict[str, Any]) -> AppNames:
    """The names after production was made and changed, and two previews were made and taken
    down.
    """
    production, first, second = (resources_of_copy(app, number) for number in range(3))
    made = [
        *uses("1", CREATES, production),
        *uses("2", CREATES, first),
        *uses("3", DESTROYS, first),
        *uses("4", CHANGES, production),
        *uses("5", CREATES, second),
        *uses("6", DESTROYS, second),
    ]
    return read_app_names(made, [RunFacts(run) for run in "123456"])


def written(names: AppNames, action: str) -> list[str]:
    used = [use.use.resource for use in names.uses if use.use.action == action]
    patterns, other_resources = names.resources_of(action, list(map(ObservedResource, used)))
    return [pattern.pattern for pattern in patterns] + [each.resource for each in other_resources]


@pytest.mark.parametrize("app", APPS, ids=lambda app: app["title"])
def test_what_a_run_changed_in_production_may_be_changed_in_the_next_preview(
    app: dict[str, Any],
) -> None:
    names = names_of(app)
    for action, resource in zip(CHANGES, resources_of_copy(app, 3), strict=True):
        patterns = written(names, action)
        assert any(resource_covers(pattern, resource) for pattern in patterns), patterns


@pytest.mark.parametrize("app", APPS, ids=lambda app: app["title"])
def test_the_next_preview_may_be_taken_down_and_production_may_not(app: dict[str, Any]) -> None:
    names = names_of(app)
    copies = zip(DESTROYS, resources_of_copy(app, 0), resources_of_copy(app, 3), strict=True)
    for action, in_production, in_preview in copies:
        patterns = written(names, action)
        denied = names.denied(action, patterns)
        assert any(resource_covers(pattern, in_preview) for pattern in patterns), patterns
        assert not any(resource_covers(pattern, in_preview) for pattern in denied), denied
        is_covered = any(resource_covers(pattern, in_production) for pattern in patterns)
        is_denied = any(resource_covers(pattern, in_production) for pattern in denied)
        assert not is_covered or is_denied, (patterns, denied)


@pytest.mark.parametrize(
    "copies",
    [
        ["stable", "3fa8c1d2", "91bd02e7", "7c11e94a"],
        ["prod-eu", "2026-11-01", "2026-11-02", "2026-11-03"],
    ],
)
def test_what_was_there_before_all_that_came_and_went_is_not_taken_down(copies: list[str]) -> None:
    names = ["table/shop-{copy}-users", "shop-{copy}-mails", "parameter/shop/{copy}/token"]
    app = {"words": {"copy": copies}, "names": names}
    test_the_next_preview_may_be_taken_down_and_production_may_not(app)
