"""Reading requests from a file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from leastpriv.errors import InputError, PolicyFileError
from leastpriv.policy.evaluate import Request, read_requests


def read(found: object) -> tuple[Request, ...]:
    return read_requests(json.dumps(found).encode(), "r.json")


def one(**parts: Any) -> Request:
    (request,) = read({"action": "s3:GetObject", "resource": "arn:aws:s3:::b/k", **parts})
    return request


def test_requests_are_one_object_or_a_list() -> None:
    assert [request.action for request in read([{"action": "a:B"}, {"action": "c:D"}])] == [
        "a:B",
        "c:D",
    ]
    assert read([]) == ()
    assert one() == Request("s3:GetObject", "arn:aws:s3:::b/k", {}, False)


def test_context_values_are_strings_numbers_and_booleans_or_lists() -> None:
    context = {
        "AWS:a": "x",
        "b": ["x", "y"],
        "c": 10,
        "d": True,
        "e": [],
        "f": None,
        "g": "null",
        "h": [1, None],
    }
    assert one(context=context).context == {
        "aws:a": ("x",),
        "b": ("x", "y"),
        "c": ("10",),
        "d": ("true",),
        "e": (),
        "f": (),
        "g": ("null",),
        "h": ("1",),
    }


def test_a_context_is_complete_only_if_declared() -> None:
    assert one(context_complete=True).context_complete is True
    assert one(context_complete=False).context_complete is False
    assert one().context_complete is False


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        (
            "arn:aws:iam::111122223333:user/ci/me",
            {
                "aws:principalarn": ("arn:aws:iam::111122223333:user/ci/me",),
                "aws:principalaccount": ("111122223333",),
                "aws:username": ("me",),
            },
        ),
        (
            "arn:aws:iam::111122223333:role/ci/deploy",
            {
                "aws:principalarn": ("arn:aws:iam::111122223333:role/ci/deploy",),
                "aws:principalaccount": ("111122223333",),
            },
        ),
        (
            "arn:aws-cn:sts::111122223333:assumed-role/deploy/run",
            {
                "aws:principalarn": ("arn:aws-cn:iam::111122223333:role/deploy",),
                "aws:principalaccount": ("111122223333",),
            },
        ),
    ],
)
def test_the_principal_provides_the_keys_that_aws_derives_from_it(
    principal: str, expected: dict[str, tuple[str, ...]]
) -> None:
    kind = {"user": "User", "role": "AssumedRole", "assumed-role": "AssumedRole"}
    always = {
        "aws:principalisawsservice": ("false",),
        "aws:principaltype": (kind[principal.split(":")[5].partition("/")[0]],),
    }
    assert one(principal=principal).context == expected | always


def test_the_context_overrides_the_principal() -> None:
    request = one(principal="arn:aws:iam::1:user/me", context={"aws:UserName": "you"})
    assert request.context["aws:username"] == ("you",)


def test_a_star_is_literal_for_an_action_without_resource_types() -> None:
    (none, with_bucket, absent, unknown) = read(
        [
            {"action": "s3:ListAllMyBuckets", "resource": "*"},
            {"action": "s3:GetObject", "resource": "*"},
            {"action": "S3:listallmybuckets"},
            {"action": "s3:NoSuchThing"},
        ]
    )
    assert [none.resource, with_bucket.resource, absent.resource, unknown.resource] == [
        "${*}",
        "*",
        "${*}",
        "*",
    ]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("s3:GetObject", "must be an object"),
        ([[]], "must be an object"),
        ({"action": "s3:GetObject", "ressource": "*"}, "has no 'ressource'"),
        ({"resource": "*"}, "needs an action"),
        ({"action": "s3:Get*"}, "without wildcards"),
        ({"action": "s3:GetObjec?"}, "without wildcards"),
        ({"action": "GetObject"}, "needs an action"),
        ({"action": ["s3:GetObject"]}, "action must be a string"),
        ({"action": "s3:GetObject", "principal": {}}, "principal must be a string"),
        ({"action": "s3:GetObject", "context": []}, "context must be an object"),
        ({"action": "s3:GetObject", "context": {"k": {}}}, "must be text"),
        ({"action": "s3:GetObject", "context": {"k": [[]]}}, "must be text"),
        ({"action": "s3:GetObject", "context": {"k": "a", "K": "b"}}, "appears twice"),
        ({"action": "s3:GetObject", "context_complete": "yes"}, "true or false"),
    ],
)
def test_invalid_requests_are_rejected_with_their_position(found: object, message: str) -> None:
    with pytest.raises(InputError, match=r"^r\.json: line 1, column \d+: .*" + message + r".*\.$"):
        read(found)


def test_bytes_that_are_not_utf_8_are_rejected() -> None:
    with pytest.raises(InputError, match="byte 1 is not UTF-8"):
        read_requests(b"\xff", "r.json")


@pytest.mark.parametrize(
    ("request_fields", "message"),
    [
        ({"principal": "bob"}, "principal must be an ARN"),
        ({"principal": "arn:aws:iam::111122223333"}, "principal must be an ARN"),
        ({"principal": ""}, "principal must be an ARN"),
        ({"resource": ""}, "resource is empty"),
        ({"action": ":"}, "a request needs an action"),
        ({"action": "s3:"}, "a request needs an action"),
        ({"action": "s3:Get Object "}, "a request needs an action"),
        ({"context_complete": "true"}, "context_complete must be true or false"),
        ({"context_complete": 1}, "context_complete must be true or false"),
    ],
)
def test_malformed_requests_are_rejected_in_one_sentence(
    request_fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=rf"^r\.json: line 1, column \d+: {message}[^\n]*\.$"):
        one(**request_fields)


def test_a_request_nested_too_deep_is_not_called_a_policy() -> None:
    with pytest.raises(
        PolicyFileError, match="deeper than 64 levels is neither a policy nor a request"
    ):
        read_requests(b"[" * 70, "r.json")


def test_the_statement_in_a_line_of_contains_is_ignored() -> None:
    assert one(statement={"file": "a.json", "index": 0}) == one()
