"""Names of a file with a pointer."""

from __future__ import annotations

import pytest

from leastpriv.policy.source import Location


@pytest.mark.parametrize(
    ("name", "path", "pointer"),
    [
        ("iam/ci.json", "iam/ci.json", ""),
        ("t.yaml#/Resources/Role", "t.yaml", "/Resources/Role"),
        (
            "main.tf#data.aws_iam_policy_document.deploy",
            "main.tf",
            "data.aws_iam_policy_document.deploy",
        ),
        ("main.tf.json#/resource/a~1b/#", "main.tf.json", "/resource/a~1b/#"),
        ("iam/#1.json", "iam/#1.json", ""),
        ("x.json#", "x.json#", ""),
    ],
)
def test_a_name_is_split_only_before_a_pointer(name: str, path: str, pointer: str) -> None:
    location = Location.of(name)
    assert (location.path, location.pointer) == (path, pointer)
    assert str(location) == name
