"""Which tags say to which project a resource belongs."""

from __future__ import annotations

import pytest

from leastpriv.evidence.created_tags import is_project_tag, key_rank


@pytest.mark.parametrize("key", ["Project", "project-name", "acme:project", "acme/ProjectName", "PROJECT_NAME"])
def test_a_project_is_named_in_any_spelling_and_before_an_owner(key: str) -> None:
    assert (key_rank(key) or 0) < (key_rank("Owner") or 0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Environment", "prod"),
        ("commit", "0a1b2c3"),
        ("Name", "shop-vpc"),
        ("aws:cloudformation:stack-name", "shop"),
        ("aws:project", "shop"),
        ("Project", "shop-*"),
        ("Project", "${aws:PrincipalTag/project}"),
        ("Project", ""),
    ],
)
def test_a_tag_of_one_deployment_or_with_a_wildcard_names_no_project(key: str, value: str) -> None:
    assert not is_project_tag(key, value)
