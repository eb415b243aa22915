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

from bench.resource_accuracy import CLASSES, is_account_wide, verdict
from leastpriv.denials.resource import has_hidden_part
from leastpriv.models import Call, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.resource_types import action_of, variables_of_arn
from tests.fakes.calls import resources_of

_USAGE = 2
_ARN = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:(\d{12}|aws)?:.+")
_WAYS = ("by name", "by ARN")


def named_resources(path: Path) -> Iterator[tuple[str, str]]:
    """(action, ARN) of each row with both, once; AWS itself writes `*` in the ARN of a resource
    without id.
    """
    seen = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        expected = json.loads(line)["expected"]
        resource = expected["resource"] or ""
        for name in expected["actions"]:
            known = action_of(name)
            if (
                known
                and known.resource_types
                and _ARN.fullmatch(resource)
                and not has_hidden_part(resource)
            ):
                seen.add((known.name, resource))
    yield from sorted(seen)


def requests(action: str, arn: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(way, request) created from the operation's members; an empty request if no member fits."""
    members = _members(*action.split(":"))
    prefix, fields = action.partition(":")[0], arn.split(":", 5)
    # For a log group AWS names streams that do not exist yet; Secrets Manager adds six characters
    # to a name.
    bare = re.sub(r":log-stream:$|(?<=:secret:)(.+)-\w{6}$", r"\1", arn)
    parts = [
        (name.lower(), text) for name, text in variables_of_arn(prefix, bare) if "*" not in text
    ]
    named = {
        member: text
        for variable, text in parts
        for member in members
        if _stem(member) in (_stem(variable), "") and not member.lower().endswith("arn")
    }
    yield "by name", {_as_recorded(member): text for member, text in named.items()}
    arns = [member for member in members if member.lower().endswith(("arn", "arns"))]
    yield "by ARN", {_as_recorded(arns[0]): arn} if arns and "*" not in fields[5] else {}


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


def classified(action: str, arn: str) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """(way, class, derived resources, request) of one truth; `*` of AWS's own counts literally."""
    fields = arn.split(":", 5)
    account = fields[4] if fields[4].isdigit() else "111122223333"
    for way, parameters in requests(action, arn):
        call = Call(
            event_id="",
            principal=f"arn:{fields[1]}:iam::{account}:role/r",
            session="",
            time=datetime(2026, 11, 1, tzinfo=UTC),
            account=fields[4] if fields[4].isdigit() else "111122223333",
            region=fields[3] or "us-east-1",
            source="",
            name=action.partition(":")[2],
            parameters=parameters,
            response={},
            resources=(),
            outcome=Outcome.ALLOWED,
        )
        derived = tuple(resource.pattern for resource in resources_of(call, action))
        found = verdict(call, action, (arn,), derived)
        if found == "wrong" and arn in derived:
            found = "exact"
        if found != "unknown" and not parameters:
            found = "no request"
        yield way, found, derived, str(parameters)


def main(arguments: list[str]) -> int:
    """Print the figures; 2 without the file."""
    shown = arguments[arguments.index("--list") + 1] if "--list" in arguments[:-1] else ""
    path = Path(arguments[0]) if arguments else Path()
    classes = (*CLASSES, "no request")
    if not path.is_file() or (shown and shown not in classes):
        print(f"Name a refusals.jsonl; --list takes {', '.join(classes)}.", file=sys.stderr)
        return _USAGE
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    wide = 0
    for action, arn in named_resources(path):
        for way, found, derived, request in classified(action, arn):
            counts[way, action.partition(":")[0]][found] += 1
            wide += any(is_account_wide(action, resource) for resource in derived)
            if found == shown:
                print(
                    f"{action} {way}\n  true    {arn}\n  derived {', '.join(derived)[:300]}\n "
                    f" request {request[:200]}"
                )
    for way in _WAYS:
        print(f"\n{way:24} {'cases':>6} " + " ".join(f"{name:>10}" for name in classes))
        rows = {service: found for (of, service), found in counts.items() if of == way}
        whole = sum(rows.values(), Counter[str]())
        for service, told in (
            *sorted(rows.items(), key=lambda row: -row[1].total()),
            ("all", whole),
        ):
            print(
                f"{service:24} {told.total():>6} "
                + " ".join(f"{told[name]:>10}" for name in classes)
            )
    print(f"\na whole account where the action takes an ARN: {wide}; catalogue {catalog.version()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
