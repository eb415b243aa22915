"""Measures derived resources by denials: `python -m bench.refused_resources REFUSALS_JSONL [--list
CLASS]`.

Quoted denials have an action and an ARN, but no request. So one is created: the operation of the
action's name, its members (botocore's model) that are named like a part of the ARN filled with that
part, once, and once the members that are ARNs filled with the ARN. The resource derived from it is
classified as in `resource_accuracy.py`, with two more classes: `unknown` if the catalogue gives the
action no type of the ARN, `no request` if no member is named like any part. ARNs with a hidden part
(`***`, `<account>`) and truncated ones are left out. Needs the package installed.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.resource_accuracy import CLASSES, is_account_wide, print_counts, verdict
from leastpriv.denials.resource import has_hidden_part
from leastpriv.models import Call, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.resource_types import action_of, variables_of_arn
from tests.fakes.calls import resources_of

_USAGE = 2
_ARN = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:(\d{12}|aws)?:.+")
_WAYS = ("by name", "by ARN")


class DeniedPermission(Struct, frozen=True, order=True):
    """An action and an ARN that a denial names."""

    action: str
    arn: str


class ClassifiedResource(Struct, frozen=True):
    """What the mapping derives from a request that was made of an ARN."""

    way: str
    """One of `_WAYS`."""
    verdict: str
    derived: tuple[str, ...]
    request: Mapping[str, Any]


def denied_permissions(path: Path) -> list[DeniedPermission]:
    """Return what each row with an action and an ARN names, once.

    AWS itself writes `*` in the ARN of a resource without id.
    """
    permissions = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        expected = json.loads(line)["expected"]
        resource = expected["resource"] or ""
        for name in expected["actions"]:
            known = action_of(name)
            if not known or not known.resource_types:
                continue
            if _ARN.fullmatch(resource) and not has_hidden_part(resource):
                permissions.add(DeniedPermission(known.name, resource))
    return sorted(permissions)


def requests(action: str, arn: str) -> Mapping[str, dict[str, Any]]:
    """Return by way the request made of the operation's members; it is empty if no member fits."""
    members = _members(*action.split(":"))
    prefix = action.partition(":")[0]
    # For a log group AWS names streams that do not exist yet; Secrets Manager adds six characters
    # to a name.
    bare = re.sub(r":log-stream:$|(?<=:secret:)(.+)-\w{6}$", r"\1", arn)
    parts = [
        (part.variable.lower(), part.text)
        for part in variables_of_arn(prefix, bare)
        if "*" not in part.text
    ]
    named = {
        member: text
        for variable, text in parts
        for member in members
        if _stem(member) in (_stem(variable), "") and not member.lower().endswith("arn")
    }
    by_name = {_as_recorded(member): text for member, text in named.items()}
    by_arn = {}
    arn_members = [member for member in members if member.lower().endswith(("arn", "arns"))]
    if arn_members and "*" not in arn.split(":", 5)[5]:
        by_arn = {_as_recorded(arn_members[0]): arn}
    return {"by name": by_name, "by ARN": by_arn}


def _stem(member: str) -> str:
    return re.sub(r"(identifier|name|ids?|withpath|withoutleadingslash)+$", "", member.lower())


def _as_recorded(member: str) -> str:
    return member[:1].lower() + member[1:]


@cache
def _members(prefix: str, operation: str) -> tuple[str, ...]:
    """Names of an operation's text members, in the model's order; empty where botocore has no such
    operation.
    """
    for name in _services():
        model = _model(name)
        if prefix in (
            name,
            model["metadata"].get("signingName"),
            model["metadata"]["endpointPrefix"],
        ):
            shape = model["operations"].get(operation, {}).get("input", {}).get("shape")
            if shape:
                return tuple(model["shapes"][shape].get("members", {}))
    return ()


@cache
def _services() -> tuple[str, ...]:
    return tuple(_loader().list_available_services("service-2"))


@cache
def _loader() -> Any:
    from botocore.loaders import Loader

    return Loader()


@cache
def _model(service: str) -> Mapping[str, Any]:
    model: Mapping[str, Any] = _loader().load_service_model(service, "service-2")
    return model


def classified(action: str, arn: str) -> Iterator[ClassifiedResource]:
    """Yield how the resource that is derived from a made request compares with the ARN, for each
    way to name the resource there.

    `sqs:SendMessage` on `arn:aws:sqs:us-east-1:111122223333:jobs`: by name the request has
    `queueUrl: jobs`, by ARN a member with the whole ARN, if the operation has one.
    """
    fields = arn.split(":", 5)
    account = fields[4] if fields[4].isdigit() else "111122223333"
    for way, parameters in requests(action, arn).items():
        call = Call(
            event_id="",
            principal=f"arn:{fields[1]}:iam::{account}:role/r",
            session="",
            time=datetime(2026, 11, 1, tzinfo=UTC),
            account=account,
            region=fields[3] or "us-east-1",
            source="",
            name=action.partition(":")[2],
            parameters=parameters,
            response={},
            resources=(),
            outcome=Outcome.ALLOWED,
        )
        derived = tuple(resource.pattern for resource in resources_of(call, action))
        judgement = verdict(call, action, (arn,), derived)
        has_wildcard_of_aws = judgement == "wrong" and arn in derived
        if has_wildcard_of_aws:
            # AWS wrote `*` itself: the pattern is literally what it names.
            judgement = "exact"
        could_not_be_asked = judgement != "unknown" and not parameters
        if could_not_be_asked:
            judgement = "no request"
        yield ClassifiedResource(way, judgement, derived, parameters)


def main(arguments: list[str]) -> int:
    """Print the figures; 2 without the file."""
    shown = arguments[arguments.index("--list") + 1] if "--list" in arguments[:-1] else ""
    path = Path(arguments[0]) if arguments else Path()
    classes = (*CLASSES, "no request")
    if not path.is_file() or (shown and shown not in classes):
        print(f"Name a refusals.jsonl; --list takes {', '.join(classes)}.", file=sys.stderr)
        return _USAGE
    by_way: dict[str, dict[str, Counter[str]]] = {way: defaultdict(Counter) for way in _WAYS}
    wide = 0
    for permission in denied_permissions(path):
        action = permission.action
        for result in classified(action, permission.arn):
            by_way[result.way][action.partition(":")[0]][result.verdict] += 1
            wide += any(is_account_wide(action, resource) for resource in result.derived)
            if result.verdict == shown:
                print(f"{action} {result.way}\n  true    {permission.arn}")
                print(f"  derived {', '.join(result.derived)[:300]}")
                print(f"  request {str(result.request)[:200]}")
    for way, by_service in by_way.items():
        print()
        print_counts(way, by_service, classes)
    print(f"\na whole account where the action takes an ARN: {wide}; catalogue {catalog.version()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
