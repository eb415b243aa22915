"""Generates calls of real events: their requests have keys that the mapping knows, and texts that
it distinguishes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from random import Random

from leastpriv.models import Call, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import map_event
from leastpriv.permissions.request import key_in
from leastpriv.permissions.resource_types import VARIABLE, own_variables
from tests.fakes.tables import table

_KEYS = (
    *(
        "name",
        "id",
        "arn",
        "identifier",
        "resourceArn",
        "tags",
        "path",
        "key",
        "bucketName",
        "roleArn",
    ),
    *("role", "description", "clientToken", "sourceArn", "sourceDBSnapshotIdentifier"),
    *("targetDBSnapshotIdentifier", "targetName", "input", "parameters", "options", "environment"),
    *(
        "metadata",
        "x-amz-copy-source",
        "content",
        "tag",
        "items",
        "resourceType",
        "tagSpecificationSet",
    ),
    *(
        "TagSpecification",
        "launchTemplateData",
        "versionId",
        "apiId",
        "region",
        "destinationRegion",
    ),
    *(
        "startTime",
        "imageId",
        "policyDocument",
        "encryptionContext",
        "requestItems",
        "transactItems",
    ),
    *(
        "statement",
        "tableName",
        "resources",
        "targets",
        "Host",
        "databaseInput",
        "CreateVpcEndpointRequest",
    ),
    *("taskRoleArn", "iamInstanceProfile", "instanceProfileName", "awsServiceName", "tagSet"),
)
_TEXTS = (
    *(
        "orders-1",
        "web",
        "a/b/c",
        "/aws/x",
        "alias/orders",
        "default",
        "x*y",
        "test?",
        "$LATEST",
        "${aws:username}",
    ),
    *(
        "arn:aws:iam::111122223333:role/app/task",
        "arn:aws:iam::999922223333:role/x",
        "arn:aws:s3:::b/k",
        "arn:",
    ),
    *(
        "i-0abc1234def",
        "vol-1",
        "sg-12",
        "key-1",
        "111122223333",
        "12345678-1234-1234-1234-123456789012",
    ),
    *(
        "https://sqs.eu-west-1.amazonaws.com/444422223333/q",
        "111122223333:function:f",
        "resolve:ssm:/a/b",
        "true",
    ),
    *(
        "/b/k?versionId=3",
        "Document",
        "REGIONAL",
        "instance",
        "lambda.amazonaws.com",
        "private",
        "/apis/a1/x",
    ),
    *('select * from "orders"', "update t set x=1"),
)
_IN_TEMPLATES = (
    "orders-1",
    "a/b",
    "web",
    "i-0abc1234def",
    "12345678-1234-1234-1234-123456789012",
    "x*y",
    "7",
)
_OTHERS: tuple[object, ...] = (1, 0, True, False, None, "", 2.5, [], {})
_PRINCIPALS = ("role/ci/deploy", "role/other", "user/ann")


def calls(random: Random, count: int) -> Iterator[Call]:
    """The given number of calls; each event with its own rules is as frequent as all others of its
    kind together.
    """
    for _ in range(count):
        source, name = random.choice(_listed() if random.random() < 0.5 else _named(random))
        prefix = map_event(source, name).prefix
        made = _Request(random, prefix if prefix in catalog.services() else "s3")
        yield Call(
            event_id="",
            principal=(
                f"arn:{random.choice(('aws', 'aws-cn'))}:iam::111122223333:{random.choice(_PRINCIPALS)}"
            ),
            session="12345678901",
            time=datetime(2026, 11, 1, tzinfo=UTC),
            account=random.choice(("111122223333", "111122223333", "444455556666", "")),
            region=random.choice(("eu-west-1", "us-east-1", "")),
            source=source,
            name=name,
            parameters=made.members(),
            response=made.members() if random.random() < 0.3 else {},
            resources=tuple(made.arn() for _ in range(random.choice((0, 0, 0, 1, 2)))),
            outcome=random.choices([*Outcome], (0.8, 0.15, 0.05))[0],
            error_code=random.choice(("", "", "", "NoSuchKey", "Throttling")),
            invoked_by=random.choice(("", "", "cloudformation.amazonaws.com")),
            read_only=random.choice((True, False, False, None)),
            parameters_omitted=random.random() < 0.05,
        )


class _Request:
    def __init__(self, random: Random, prefix: str) -> None:
        self._random, self._keys, self._templates = random, _keys_of(prefix), _templates_of(prefix)

    def members(self, depth: int = 0) -> dict[str, object]:
        found: dict[str, object] = {}
        for _ in range(self._random.randint(0, 3 if depth else 6)):
            key = self._random.choice(self._keys if self._random.random() < 0.6 else _KEYS)
            shapes = (key, key, key, key, key[:1].upper() + key[1:], key.upper())
            found[self._random.choice(shapes)] = self._value(depth)
        return found

    def arn(self) -> str:
        template = self._random.choice(self._templates)
        places = {"Partition": "aws", "Region": "eu-west-1", "Account": "111122223333"}
        return VARIABLE.sub(
            lambda found: places.get(found[1]) or self._random.choice(_IN_TEMPLATES), template
        )

    def _value(self, depth: int) -> object:
        shape = self._random.random() if depth < 4 else 0.0
        if shape < 0.35:
            return self._random.choice(_TEXTS)
        if shape < 0.55:
            return self.arn()
        if shape < 0.65:
            return self._random.choice(_OTHERS)
        if shape < 0.8:
            return [self._value(depth + 1) for _ in range(self._random.randint(0, 3))]
        if shape < 0.84:
            return {"tag": 1, "content": self._value(4)}
        return {"items": [self.members(depth + 1)]} if shape < 0.88 else self.members(depth + 1)


@cache
def _listed() -> Sequence[tuple[str, str]]:
    """Events that a table of the mapping names."""
    found = [(row["event_source"], row["event_name"]) for row in table("triggers")]
    found += [
        (row["event_source"], row["event_name"])
        for row in table("events")
        if row["match"] == "exact"
    ]
    operations = [
        row["operation"]
        for name in ("roles", "tags_on_create", "made_types")
        for row in table(name)
    ]
    operations += [
        row["action"] for name in ("ids_of_any_type", "other_arns") for row in table(name)
    ]
    split = (operation.partition(":") for operation in operations if not operation.endswith(":*"))
    return [*found, *((f"{prefix}.amazonaws.com", name) for prefix, _, name in split)]


def _named(random: Random) -> Sequence[tuple[str, str]]:
    """Events with the names of a service's actions."""
    prefix = random.choice(sorted(catalog.services()))
    names = [action.partition(":")[2] for action in catalog.actions(prefix)]
    return [(f"{prefix}.amazonaws.com", name) for name in names or ["Nothing"]]


@cache
def _keys_of(prefix: str) -> Sequence[str]:
    found = ["name"]
    for kind in catalog.resource_types(prefix):
        names = [name[:1].lower() + name[1:] for name in own_variables(kind.arn)]
        found += [
            *names,
            *(f"{name}s" for name in names),
            kind.name,
            f"{kind.name.replace('-', '')}Name",
        ]
    for name in ("parameters", "owners", "meant_otherwise", "type_choices"):
        found += 2 * [row["parameter"] for row in table(name) if row["prefix"] == prefix]
    for name in ("roles", "passed_to", "tags_on_create"):
        found += 2 * [
            row["parameter"] for row in table(name) if row["operation"].startswith(f"{prefix}:")
        ]
    triggers = (
        row["parameter"]
        for row in table("triggers")
        if row["event_source"].startswith(f"{prefix}.")
    )
    return [*found, *(key_in(parameter) for parameter in triggers)]


@cache
def _templates_of(prefix: str) -> Sequence[str]:
    arns = [arn for kind in catalog.resource_types(prefix) for arn in re.split(", ", kind.arn)]
    return arns or ["arn:${Partition}:s3:::${BucketName}"]
