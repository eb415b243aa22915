"""Which tags say to which project a resource belongs."""

from __future__ import annotations

import pytest

from leastpriv.permissions.project_tags import is_copy_key, is_telling_tag, key_rank, tags_by_type


@pytest.mark.parametrize(
    "key", ["Project", "project-name", "acme:project", "acme/ProjectName", "PROJECT_NAME"]
)
def test_a_project_is_named_in_any_spelling_and_before_an_owner(key: str) -> None:
    assert (key_rank(key) or 0) < (key_rank("Owner") or 0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("commit", "0a1b2c3"),
        ("Name", "shop-vpc"),
        ("aws:cloudformation:stack-name", "shop"),
        ("aws:project", "shop"),
        ("Project", "shop-*"),
        ("Project", "${aws:PrincipalTag/project}"),
        ("Project", ""),
        ("Environment", "pr-*"),
    ],
)
def test_a_tag_of_one_deployment_or_with_a_wildcard_tells_nothing(key: str, value: str) -> None:
    assert not is_telling_tag(key, value)


@pytest.mark.parametrize("key", ["Environment", "env", "acme:stage", "StageName", "git/branch"])
def test_a_copy_of_a_project_is_named_in_any_spelling(key: str) -> None:
    assert is_copy_key(key)
    assert key_rank(key) is None


def test_a_tag_of_aws_names_no_copy() -> None:
    assert not is_copy_key("aws:cloudformation:stage")


PROJECT = ("project", "shop")


@pytest.mark.parametrize(
    ("parameters", "kind"),
    [
        ({"tags": {"project": "shop", "key": "v"}}, ""),
        ({"tags": [{"key": "project", "value": "shop"}]}, ""),
        ({"userPoolTags": {"project": "shop"}}, ""),
        ({"tagList": [{"tagKey": "project", "tagValue": "shop"}]}, ""),
        (
            {
                "tagSpecificationSet": {
                    "items": [
                        {"resourceType": "vpc", "tags": [{"key": "project", "value": "shop"}]}
                    ]
                }
            },
            "vpc",
        ),
        (
            {
                "CreateLaunchTemplateRequest": {
                    "TagSpecification": {
                        "ResourceType": "launch-template",
                        "tag": 1,
                        "Tag": {"tag": 1, "Key": "project", "Value": "shop"},
                    }
                }
            },
            "launch-template",
        ),
        (
            {
                "CreateNatGatewayRequest": {
                    "TagSpecification": [
                        {
                            "ResourceType": "natgateway",
                            "tag": 1,
                            "Tag": [{"Key": "project", "Value": "shop"}],
                        }
                    ]
                }
            },
            "natgateway",
        ),
    ],
)
def test_tags_are_read_in_each_form_in_which_records_have_them(
    parameters: dict[str, object], kind: str
) -> None:
    assert list(tags_by_type(parameters)) == [(kind, (PROJECT,))]
