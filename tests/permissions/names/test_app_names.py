"""The copies of an app, and what is written of its names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions.generalize import ObservedResource
from leastpriv.permissions.names.app_names import destroys, read_app_names
from leastpriv.permissions.names.copies import Copies
from leastpriv.permissions.names.observed import DeclaredCopies, NameUse, RunFacts
from leastpriv.permissions.names.words import words_of
from leastpriv.permissions.patterns import resource_covers

CASES = json.loads(Path(__file__).with_name("copies.json").read_text(encoding="utf-8"))
HERE = "eu-west-1:111122223333"


def arn_of(name: str) -> str:
    service = "dynamodb" if name.startswith("table/") else "sqs"
    service = "sns" if name.lower().endswith("alerts") else service
    return f"arn:aws:{service}:{HERE}:{name}"


def uses_of(runs: list[dict[str, Any]]) -> list[NameUse]:
    uses: list[NameUse] = []
    for number, run in enumerate(runs):
        for kind in ("creates", "uses", "destroys"):
            for name in run.get(kind, ()):
                use = NameUse(
                    action=f"x:{kind}",
                    resource=arn_of(name),
                    runs=(str(number),),
                    creates=kind == "creates",
                    destroys=kind == "destroys",
                )
                uses.append(use)
    return uses


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["title"])
def test_the_copies_of_an_app(case: dict[str, Any]) -> None:
    runs = [
        RunFacts(
            id=str(number),
            branch=run.get("branch"),
            words=frozenset({run["branch"], run["branch"].rpartition("/")[2]})
            if "branch" in run
            else frozenset(),
        )
        for number, run in enumerate(case["runs"])
    ]
    declared_words = {key: tuple(words) for key, words in case.get("declared", {}).items()}
    declared = DeclaredCopies(
        declared_words.get("long-lived", ()), declared_words.get("short-lived", ())
    )
    copies = read_app_names(uses_of(case["runs"]), runs, declared).copies
    assert sorted("".join(word) for word in copies.long_lived.values()) == case["long-lived"]
    assert sorted("".join(word) for word in copies.short_lived.values()) == case["short-lived"]
    assert list(copies.forms) == case["forms"]


WORD = st.sampled_from(["prod", "qa", "pr-31", "pr-47", "shop", "orders", "Api", "7", "a1b2c3d4"])
NAME = st.lists(WORD, min_size=1, max_size=4).map("-".join)
PLACE = st.sampled_from([f"sqs:{HERE}:", "s3:::", f"dynamodb:{HERE}:table/", f"sns:{HERE}:"])
ARN = st.tuples(PLACE, NAME).map(lambda each: f"arn:aws:{each[0]}{each[1]}")
ACTIONS = {
    "sqs": ("sqs:CreateQueue", "sqs:DeleteQueue"),
    "s3": ("s3:CreateBucket", "s3:DeleteBucket"),
    "dynamodb": ("dynamodb:CreateTable", "dynamodb:DeleteTable"),
    "sns": ("sns:CreateTopic", "sns:DeleteTopic"),
}
USE = st.tuples(ARN, st.sampled_from("1234"), st.booleans())


@given(st.lists(USE, max_size=16))
def test_what_was_used_is_covered_in_its_place_and_what_lives_long_is_denied(
    used: list[tuple[str, str, bool]],
) -> None:
    uses: list[NameUse] = []
    for arn, run, is_end in used:
        action = ACTIONS[arn.split(":")[2]][is_end]
        uses.append(NameUse(action, arn, (run,), creates=not is_end, destroys=is_end))
    names = read_app_names(uses, [RunFacts(run) for run in "1234"])
    for action in {use.action for use in uses}:
        resources = {use.resource for use in uses if use.action == action}
        patterns, other_resources = names.resources_of(
            action, [ObservedResource(arn) for arn in sorted(resources)]
        )
        written_patterns = [
            *(pattern.pattern for pattern in patterns),
            *(resource.resource for resource in other_resources),
        ]
        assert all(
            any(resource_covers(pattern, arn) for pattern in written_patterns) for arn in resources
        )
        heads = {tuple(arn.split(":", 5)[:5]) for arn in resources}
        assert {tuple(pattern.split(":", 5)[:5]) for pattern in written_patterns} <= heads | {
            tuple(use.name.head.split(":")) for use in names.uses
        }
        denied = names.denied(action, written_patterns)
        assert destroys(action) or not denied
        assert not any(
            resource_covers(denied_pattern, arn) for denied_pattern in denied for arn in resources
        )


TABLES = f"arn:aws:dynamodb:{HERE}:table"


def uses_of_tables(
    made: dict[str, str], used: dict[str, str], ended: dict[str, str]
) -> list[NameUse]:
    """Uses of tables: name -> runs, one letter each."""
    kinds = (("CreateTable", made), ("UpdateTable", used), ("DeleteTable", ended))
    return [
        NameUse(
            f"dynamodb:{event}",
            f"{TABLES}/{name}",
            tuple(runs),
            creates=event == "CreateTable",
            destroys=event == "DeleteTable",
        )
        for event, tables in kinds
        for name, runs in tables.items()
    ]


def denied_tables(uses: list[NameUse], pattern: str) -> tuple[str, ...]:
    names = read_app_names(uses, [RunFacts(run) for run in "12345"])
    denied = names.denied("dynamodb:DeleteTable", [f"{TABLES}/{pattern}"])
    return tuple(name.removeprefix(f"{TABLES}/") for name in denied)


def test_a_table_that_lives_while_newer_ones_come_and_go_is_denied() -> None:
    """The tables of previews have no word of a copy, but a hash."""
    made = {"Orders-a1b2c3d4-x": "1", "Orders-b2c3d4e5-x": "2", "Orders-c3d4e5f6-x": "4"}
    ended = {"Orders-b2c3d4e5-x": "3", "Orders-c3d4e5f6-x": "5"}
    uses = uses_of_tables(made, {"Orders-a1b2c3d4-x": "1345"}, ended)
    assert denied_tables(uses, "Orders-*-x") == ("Orders-a1b2c3d4-x",)


def test_a_table_that_replaced_an_older_one_is_not_denied() -> None:
    """The next run replaces the present one."""
    made = {"Orders-a1b2c3d4-x": "1", "Orders-b2c3d4e5-x": "2"}
    uses = uses_of_tables(made, {"Orders-b2c3d4e5-x": "2345"}, {"Orders-a1b2c3d4-x": "2"})
    assert denied_tables(uses, "Orders-*-x") == ()


def test_the_week_of_a_run_is_no_copy_so_that_next_year_is_covered() -> None:
    uses: list[NameUse] = []
    days = {"1": "20261020", "2": "20261027", "3": "20261103"}
    for run, week in zip(days, ("43", "44", "45"), strict=True):
        for service, kind in (("dynamodb", "table/"), ("sqs", "")):
            make, end = ACTIONS[service]
            arn = f"arn:aws:{service}:{HERE}:{kind}e2e-2026-w{week}-jobs"
            uses.append(NameUse(make, arn, (run,), creates=True))
            uses.append(NameUse(end, arn, (run,), destroys=True))
    names = read_app_names(uses, [RunFacts(run, day=day) for run, day in days.items()])
    used = [ObservedResource(use.resource) for use in uses if use.action == "sqs:DeleteQueue"]
    patterns, _ = names.resources_of("sqs:DeleteQueue", used)
    assert [pattern.pattern for pattern in patterns] == [f"arn:aws:sqs:{HERE}:e2e-20*-*-jobs"]


def test_settings_that_every_deployment_renews_are_not_destroyed() -> None:
    assert not destroys("lambda:RemovePermission")
    assert not destroys("events:RemoveTargets")
    assert not destroys("rds:RemoveTagsFromResource")
    assert destroys("dynamodb:DeleteTable")
    assert destroys("kms:ScheduleKeyDeletion")


@pytest.mark.parametrize(
    "action",
    [
        *("cloudformation:DeleteChangeSet", "servicecatalog:DeleteProvisionedProductPlan"),
        *("events:RemoveTargets", "iam:RemoveRoleFromInstanceProfile", "lambda:RemovePermission"),
        "iam:DeletePolicyVersion",
        *("lambda:RemoveLayerVersionPermission", "ec2:DeleteTags", "s3:DeleteObjectTagging"),
    ],
)
def test_a_deletion_of_what_holds_no_state_destroys_nothing(action: str) -> None:
    assert not destroys(action)


@pytest.mark.parametrize(
    "action",
    ["cloudformation:DeleteStack", "sqs:DeleteQueue", "ram:DeletePermission", "s3:DeleteObject"],
)
def test_a_deletion_of_a_resource_destroys_it(action: str) -> None:
    assert destroys(action)


def names_of_copies(words: Iterable[str]) -> Copies:
    """Reads the names of an app of which each run made one copy."""
    runs = [
        {"creates": [f"table/shop-{word}-users", f"shop-{word}-mails", f"shop-{word}-alerts"]}
        for word in words
    ]
    facts = [RunFacts(str(number)) for number in range(len(runs))]
    return read_app_names(uses_of(runs), facts).copies


def plain_words(count: int) -> list[str]:
    """Returns different words without a number: `baba`, `babe`."""
    syllables = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]
    return [first + second for first in syllables for second in syllables][:count]


def test_thirty_previews_without_a_common_form_are_copies() -> None:
    copies = names_of_copies(["prod", *plain_words(30)])
    assert [*copies.long_lived] == ["prod"]
    assert len(copies.short_lived) == 30


def test_a_hundred_words_at_one_place_are_items_that_runs_make() -> None:
    copies = names_of_copies(plain_words(100))
    assert not copies.long_lived
    assert not copies.short_lived


@pytest.mark.parametrize("words", [("euc1", "use1"), ("eu-central-1", "us-east-1")])
def test_names_that_differ_in_their_region_have_one_shape(words: tuple[str, str]) -> None:
    regions = dict(zip(words, ("eu-central-1", "us-east-1"), strict=True))
    resources = [
        f"arn:aws:{service}:{region}:111122223333:shop-{word}-{copy}-{service}"
        for word, region in regions.items()
        for copy in ("prod", "stage")
        for service in ("sqs", "sns", "events")
    ]
    uses = [
        NameUse(f"{resource.split(':')[2]}:Create", resource, (str(number),), creates=True)
        for number, resource in enumerate(resources)
    ]
    names = read_app_names(uses, [RunFacts(str(number)) for number in range(len(uses))])
    shapes = {names.shape_of(resource) for resource in resources if ":sqs:" in resource}
    assert len(shapes) == 1
    assert None not in shapes


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov", "aws-iso-b", "aws-eusc"])
def test_each_region_of_aws_is_one_word(partition: str) -> None:
    regions = botocore.session.Session().get_available_regions("sts", partition)
    assert regions
    for region in regions:
        assert words_of(f"shop-prod-{region}-jobs") == (
            "shop",
            "-",
            "prod",
            "-",
            region,
            "-",
            "jobs",
        )


def test_a_preview_of_a_market_is_no_region() -> None:
    assert words_of("de-pr-4") == ("de", "-", "pr", "-", "4")


def test_a_deny_names_no_resource_that_the_action_does_not_take() -> None:
    # AWS authorizes the end of a revision on `*` alone: a Deny on names would never hold.
    services = [f"arn:aws:ecs:{HERE}:service/shop-{copy}/api" for copy in ("prod", "pr-1", "pr-2")]
    queues = [f"arn:aws:sqs:{HERE}:shop-{copy}-mails" for copy in ("prod", "pr-1", "pr-2")]
    topics = [f"arn:aws:sns:{HERE}:shop-{copy}-alerts" for copy in ("prod", "pr-1", "pr-2")]
    uses = [
        NameUse(f"{name.split(':')[2]}:Create", name, (str(run),), creates=True, destroys=False)
        for run, names_of_run in enumerate(zip(services, queues, topics, strict=True))
        for name in names_of_run
    ]
    names = read_app_names(uses, [RunFacts(str(run)) for run in range(3)])
    assert names.denied("ecs:DeleteService", ["*"]) == (services[0],)
    assert names.denied("ecs:DeregisterTaskDefinition", ["*"]) == ()


GLUED = ("shop", "prod", "pr41", "41", "dev", "a", "b", "ab", "abc", "ShopPr41", "jobs", "shopprod")


@st.composite
def glued_name(draw: st.DrawFn) -> str:
    """A name of words with and without a sign between them."""
    words = draw(st.lists(st.sampled_from(GLUED), min_size=1, max_size=5))
    signs = st.sampled_from(("", "-", "-", "_", "/", ":"))
    return "".join(f"{draw(signs)}{word}" for word in words).lstrip("-_/:")


@given(st.lists(glued_name(), min_size=1, max_size=12))
def test_names_are_read_however_their_texts_are_divided(names: list[str]) -> None:
    uses = uses_of([{"creates": [f"table/{name}"]} for name in names])
    read = read_app_names(uses, [RunFacts(str(number)) for number, _ in enumerate(names)])
    assert {*read.by_resource} == {arn_of(f"table/{name}") for name in names}


def test_a_text_that_is_several_words_is_divided_until_none_is() -> None:
    runs = [
        {"creates": ["table/a-b", "table/ab-c", "table/abc"]},
        {"creates": ["table/abc-d"]},
    ]
    read = read_app_names(uses_of(runs), [RunFacts("0"), RunFacts("1")])
    assert {use.template[2:] for use in read.uses} == {
        ("a", "-", "b"),
        ("a", "b", "-", "c"),
        ("a", "b", "c"),
        ("a", "b", "c", "-", "d"),
    }


def test_a_name_of_very_many_words_is_not_compared_with_others() -> None:
    runs = [{"creates": [f"table/{'-'.join(['part'] * 40)}-{number}"]} for number in range(3)]
    read = read_app_names(uses_of(runs), [RunFacts(str(number)) for number in range(3)])
    assert not read.by_resource
