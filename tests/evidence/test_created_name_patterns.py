"""Things made under other names: what a role did to one of them it will do to the next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from leastpriv.evidence.created_resources import find_created_resources
from leastpriv.models import Basis, Need, Outcome, Permission, Usage
from leastpriv.permissions.arn_templates import IN_RESPONSE
from leastpriv.permissions.generalize import patterns_of

TIME = datetime(2026, 11, 1, tzinfo=UTC)
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:"


def usage(action: str, resource: str, event: str, run: int, **fields: object) -> Usage:
    given: dict[str, object] = {"outcome": Outcome.ALLOWED, "exact": True} | fields
    need = Need(Permission(action, resource), Basis.OBSERVED, "", exact=bool(given.pop("exact")))
    when = TIME + timedelta(days=run)
    outcome = given.pop("outcome")
    return Usage(need, outcome, 1, when, when, (str(run),), (f"x.amazonaws.com:{event}",), **given)  # type: ignore[arg-type]


def queues(**fields: object) -> list[Usage]:
    return [
        usage("sqs:CreateQueue", f"{QUEUE}orders-{run}", "CreateQueue", run, **fields)
        for run in (1, 2, 3)
    ]


def test_an_action_of_one_run_applies_to_the_whole_name_pattern() -> None:
    using = usage("sqs:TagQueue", f"{QUEUE}orders-2", "TagQueue", 2)
    made = find_created_resources([*queues(), using])
    assert [each.pattern for each in patterns_of(made.seen([using]))] == [f"{QUEUE}orders-*"]


@pytest.mark.parametrize(
    "fields",
    [
        {"succeeded": False},
        {"outcome": Outcome.DENIED},
        {"outcome": Outcome.UNKNOWN},
        {"exact": False},
    ],
    ids=["in vain", "refused", "nobody knows", "named in part"],
)
def test_uncertain_creations_form_no_name_pattern(fields: dict[str, object]) -> None:
    assert not find_created_resources(queues(**fields)).families


def test_names_of_created_resources_whose_id_aws_chose_show_the_copies_of_an_app() -> None:
    kinds = {"kafka:CreateClusterV2": "cluster", "kafka:CreateConfiguration": "configuration"}
    made: list[Usage] = []
    for run, word in enumerate(("prod", "login", "cart")):
        for action, kind in kinds.items():
            arn = f"arn:aws:kafka:eu-west-1:111122223333:{kind}/lake-{word}/*"
            each = usage(action, arn, action.partition(":")[2], run, exact=False)
            made.append(
                structs.replace(each, need=structs.replace(each.need, derivation=IN_RESPONSE))
            )
    patterns = {family.pattern for family in find_created_resources(made).families.values()}
    assert patterns == {
        f"arn:aws:kafka:eu-west-1:111122223333:{kind}/lake-*/*" for kind in kinds.values()
    }


def test_used_resources_form_no_name_pattern() -> None:
    assert not find_created_resources(
        [usage("sqs:TagQueue", f"{QUEUE}orders-{run}", "TagQueue", run) for run in (1, 2, 3)]
    ).families


def test_parents_of_created_resources_form_no_name_pattern() -> None:
    """A table was made in each database; who made the databases, nobody knows."""
    places = [f"arn:aws:glue:eu-west-1:111122223333:database/app-{run}" for run in (1, 2, 3)]
    assert not find_created_resources(
        [usage("glue:CreateTable", each, "CreateTable", run) for run, each in enumerate(places)]
    ).families


def test_only_naming_usages_form_name_patterns() -> None:
    """Runs of unreviewed code cannot widen what is written for the others."""
    own = queues()
    assert find_created_resources(own, own).families
    assert not find_created_resources(own, own[:2]).families


def bucket(run: int) -> str:
    return f"arn:aws:s3:::site-{run}-111122223333"


def site(run: int, *actions: str, key: str = "index.html") -> list[Usage]:
    """A bucket that a run makes, and what it does to an object of it."""
    made = usage("s3:CreateBucket", bucket(run), "CreateBucket", run)
    return [
        made,
        *(usage(f"s3:{action}", f"{bucket(run)}/{key}", action, run) for action in actions),
    ]


def due(usages: list[Usage], action: str) -> list[str]:
    made = find_created_resources(usages)
    used = made.seen(each for each in usages if each.need.permission.action == action)
    return [each.pattern for each in patterns_of([*made.expected_objects(used)])]


def test_actions_on_objects_of_two_buckets_are_expected_for_the_newest_bucket() -> None:
    old = [*site(1, "PutObject", "DeleteObject"), *site(2, "PutObject", "DeleteObject")]
    assert due([*old, *site(3, "PutObject")], "s3:DeleteObject") == [f"{bucket(3)}/index.html"]


def test_no_action_is_expected_with_one_bucket_or_a_missing_object() -> None:
    one = [*site(1, "PutObject", "DeleteObject"), *site(2, "PutObject"), *site(3, "PutObject")]
    assert due(one, "s3:DeleteObject") == []
    two = [*site(1, "PutObject", "DeleteObject"), *site(2, "PutObject", "DeleteObject")]
    assert due([*two, *site(3, "PutObject", key="other.html")], "s3:DeleteObject") == []
    assert due(two, "s3:DeleteObject") == []


def test_no_action_on_buckets_is_expected() -> None:
    buckets = [each for run in (1, 2, 3) for each in site(run)]
    made = find_created_resources(buckets)
    assert list(made.expected_objects(made.seen(buckets[:2]))) == []


def test_a_folder_wildcard_of_the_newest_bucket_needs_one_in_the_older_buckets() -> None:
    """Seven files that one run deletes from each bucket are seven files, also in the bucket that is
    there now.
    """
    files = [f"assets/{letter}.html" for letter in "abcdefg"]
    old = [
        each
        for run in (1, 2)
        for key in files
        for each in site(run, "PutObject", "DeleteObject", key=key)
    ]
    new = [each for key in files for each in site(3, "PutObject", key=key)]
    assert due([*old, *new], "s3:DeleteObject") == [f"{bucket(3)}/{key}" for key in files]


@pytest.mark.parametrize(
    "fields", [{"outcome": Outcome.DENIED}, {"exact": False}], ids=["refused", "named in part"]
)
def test_no_action_is_expected_for_an_uncertain_object(fields: dict[str, object]) -> None:
    old = [*site(1, "PutObject", "DeleteObject"), *site(2, "PutObject", "DeleteObject"), *site(3)]
    put = usage("s3:PutObject", f"{bucket(3)}/index.html", "PutObject", 3, **fields)
    assert due([*old, put], "s3:DeleteObject") == []


def test_expected_objects_are_generalized_like_observed_ones() -> None:
    keys = ("app.54d5d5d6.js", "app.78dde6c4.js", "app.1715607a.js")
    old = [each for run in (1, 2) for each in site(run, "PutObject", "DeleteObject", key=keys[run])]
    assert due([*old, *site(3, "PutObject", key=keys[0])], "s3:DeleteObject") == [
        f"{bucket(3)}/app.????????.js"
    ]


def test_the_bucket_of_an_object_is_never_a_wildcard() -> None:
    """`site-*/index.html` would be other people's buckets too; `site-*` for `s3:ListBucket` gives
    nobody anything.
    """
    usages = [each for run in (1, 2, 3) for each in site(run, "PutObject", "DeleteObject")]
    made = find_created_resources(usages)
    for found in patterns_of(made.seen(usages)):
        assert "/" in found.pattern or found.pattern == "arn:aws:s3:::site-*-111122223333"
        assert "/" not in found.pattern or "*" not in found.pattern
