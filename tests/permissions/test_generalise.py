"""Opening what changes from run to run, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions.generalise import generalise
from leastpriv.permissions.patterns import escape_observed, resource_covers

HASH = "3f786850e387550fdab836ed7e6dc881de23001b3f786850e387550fdab836ed"
UUID = "1234abcd-12ab-34cd-56ef-1234567890ab"
HERE = "eu-west-1:111122223333"


@pytest.mark.parametrize(
    ("resource", "opened"),
    [
        (f"arn:aws:s3:::cdk-assets/{HASH}.zip", "arn:aws:s3:::cdk-assets/*.zip"),
        (f"arn:aws:s3:::cdk-assets/app/{HASH}/{HASH}.json", "arn:aws:s3:::cdk-assets/app/*/*.json"),
        (f"arn:aws:s3:::b/{UUID}", "arn:aws:s3:::b/*"),
        (f"arn:aws:cloudformation:{HERE}:stack/orders/{UUID}", f"arn:aws:cloudformation:{HERE}:stack/orders/*"),
        (f"arn:aws:cloudformation:{HERE}:changeSet/cs/{UUID.upper()}", f"arn:aws:cloudformation:{HERE}:changeSet/cs/*"),
        (f"arn:aws:codebuild:{HERE}:build/orders:{UUID}", f"arn:aws:codebuild:{HERE}:build/orders:*"),
        (f"arn:aws:ecs:{HERE}:task/web/{HASH[:32]}", f"arn:aws:ecs:{HERE}:task/web/*"),
    ],
)
def test_hashes_and_uuids_are_opened(resource: str, opened: str) -> None:
    assert generalise([resource]) == (opened,)


@pytest.mark.parametrize(
    "resource",
    [
        f"arn:aws:kms:{HERE}:key/{UUID}",
        f"arn:aws:acm:{HERE}:certificate/{UUID}",
        "arn:aws:s3:::b/p/report.txt",
        f"arn:aws:s3:::{HASH[:40]}",
        f"arn:aws:s3:::{UUID}/k",
        f"arn:aws:sqs:{HERE}:{HASH}",
        f"arn:aws:ec2:{HERE}:instance/i-0123456789abcdef0",
        f"arn:aws:ecs:{HERE}:service/deadbeef/web",
        "*",
        "arn:aws:s3:::b/*",
        "arn:aws:s3:::b/a${*}b",
    ],
)
def test_names_that_return_stay_as_they_are(resource: str) -> None:
    """A key's id is its whole name: opened it would be every key of the account."""
    assert generalise([resource]) == (resource,)


def test_more_than_five_objects_of_one_folder_are_the_folder() -> None:
    five = [f"arn:aws:s3:::b/p/{number}" for number in range(5)]
    assert generalise(five) == tuple(five)
    assert generalise([*five, "arn:aws:s3:::b/p/5", "arn:aws:s3:::b/q"]) == ("arn:aws:s3:::b/p/*", "arn:aws:s3:::b/q")


def test_the_bucket_stays_beside_its_opened_objects() -> None:
    objects = [f"arn:aws:s3:::b/{number}" for number in range(9)]
    assert generalise(["arn:aws:s3:::b", *objects]) == ("arn:aws:s3:::b", "arn:aws:s3:::b/*")


def test_many_things_of_other_services_stay_one_by_one() -> None:
    roles = [f"arn:aws:iam::111122223333:role/ci/r{number}" for number in range(9)]
    assert generalise(roles) == tuple(roles)


PART = st.sampled_from(["a", "b*", "x?", "${aws:username}", HASH, HASH[:32], UUID, UUID.upper(), "ab-" + UUID, "é", ""])
PATH = st.lists(PART, min_size=1, max_size=4).map("/".join)
RESOURCE = st.one_of(
    PATH.map(lambda path: f"arn:aws:s3:::bucket/{path}"),
    st.sampled_from(["arn:aws:s3:::bucket", f"arn:aws:s3:::{UUID}"]),
    st.tuples(
        st.sampled_from(["kms", "ecs", "cloudformation", "logs"]),
        st.sampled_from(["eu-west-1", "us-east-1", ""]),
        st.sampled_from(["111122223333", HASH[:32], ""]),
        st.sampled_from(["key/", "stack/", "log-group:", "", "/"]),
        PATH,
    ).map(lambda parts: f"arn:aws:{parts[0]}:{parts[1]}:{parts[2]}:{parts[3]}{parts[4]}"),
).map(escape_observed)


@given(st.lists(RESOURCE, max_size=15))
def test_every_resource_is_covered_and_no_pattern_leaves_service_region_and_account(resources: list[str]) -> None:
    opened = generalise(resources)
    for resource in resources:
        assert any(resource_covers(pattern, resource) for pattern in opened)
    heads = {tuple(resource.split(":", 5)[:5]) for resource in resources}
    for pattern in opened:
        assert tuple(pattern.split(":", 5)[:5]) in heads
        assert not pattern.endswith((":*", ":::*"))
        if ":s3:::" in pattern:
            assert pattern.startswith(("arn:aws:s3:::bucket", f"arn:aws:s3:::{UUID}"))


@given(st.lists(RESOURCE, max_size=15))
def test_opening_twice_changes_nothing_and_order_does_not_count(resources: list[str]) -> None:
    opened = generalise(resources)
    assert generalise(opened) == opened
    assert generalise(resources[::-1]) == opened


@given(st.text(max_size=50))
def test_any_text_is_covered_by_what_it_becomes(text: str) -> None:
    escaped = escape_observed(text)
    assert any(resource_covers(pattern, escaped) for pattern in generalise([escaped]))
