"""The policies that decide besides the role's own, read from files on disk or in a commit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from leastpriv.config.settings import from_options
from leastpriv.errors import InputError
from leastpriv.pipeline.context import Target
from leastpriv.pipeline.other_policies import read_other_policies
from leastpriv.policy.access import Policies

ROLE = "arn:aws:iam::111122223333:role/deploy"
ALLOW = {"Effect": "Allow", "Action": "*", "Resource": "*"}
DENY = {"Effect": "Deny", "Action": "sqs:*", "Resource": "*"}
FILES = {
    "org/Root/full.json": [ALLOW],
    "org/Root/Apps/prod-111122223333/limits.json": [ALLOW, DENY],
    "org/Root/Apps/prod-111122223333/data.json": [{**DENY, "Principal": "*"}],
    "org/Root/Other/stage-444455556666/full.json": [ALLOW],
    "iam/boundary.json": [ALLOW],
    "iam/session.json": [ALLOW],
    "queue.json": [{**ALLOW, "Principal": {"AWS": ROLE}}],
}
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:jobs"
OTHERS = ("boundary=iam/boundary.json", "session=iam/session.json", f"{QUEUE}=queue.json")


def text(statements: object) -> bytes:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()


class Commit:
    """The files of one commit, as a repository reads them."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def read(self, _: str, path: str) -> bytes | None:
        return self._files.get(path)

    def paths(self, _: str, folder: str) -> list[str]:
        return [file for file in self._files if file.startswith(f"{folder}/")]


def read(target: SimpleNamespace) -> Policies:
    return read_other_policies(cast("Target", target), "abc")


def options(*organization: str, others: tuple[str, ...] = OTHERS) -> Any:
    return from_options(
        {
            "role-arn": ROLE,
            "policy-file": "p.json",
            "trails": ("trail",),
            "organization-policies": organization,
            "other-policies": others,
        }
    )


@pytest.fixture(params=["disk", "commit"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> SimpleNamespace:
    files = {name: text(statements) for name, statements in FILES.items()}
    if request.param == "commit":
        return SimpleNamespace(settings=options("org"), base_repository=Commit(files), folder=None)
    for name, raw in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(raw)
    return SimpleNamespace(settings=options("org"), base_repository=None, folder=tmp_path)


def test_folders_and_files_of_each_kind_are_read(target: SimpleNamespace) -> None:
    policies = read(target)
    levels = policies.organization.levels_of("111122223333")
    assert [(level.name, len(level.scps), len(level.rcps)) for level in levels] == [
        ("Root", 1, 0),
        ("prod-111122223333", 1, 1),
    ]
    assert len(policies.organization.levels_of("444455556666")) == 2
    assert policies.organization.levels_of("777788889999") == ()
    assert policies.boundary is not None
    assert policies.session is not None
    assert [resource_policy.resource for resource_policy in policies.resources] == [QUEUE]


def test_a_file_that_does_not_exist_is_named(target: SimpleNamespace) -> None:
    target.settings = options("none")
    with pytest.raises(InputError, match=r"organization-policies names '.*none'"):
        read(target)
    target.settings = options("org", others=("boundary=none.json",))
    with pytest.raises(InputError, match=r"none\.json'"):
        read(target)


@pytest.mark.parametrize(
    ("given", "asks", "files"),
    [
        ((), False, ()),
        (("false",), False, ()),
        (("true",), True, ()),
        (("org",), False, ("org",)),
        (("org", "more.json"), False, ("org", "more.json")),
    ],
)
def test_true_asks_aws_and_other_values_are_files(
    given: tuple[str, ...], asks: bool, files: tuple[str, ...]
) -> None:
    parsed = options(*given)
    assert (parsed.organization_policies, parsed.organization_files) == (asks, files)
