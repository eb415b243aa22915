"""Reads the permissions that the handlers of CloudFormation resource types declare (basis *declared*).

A type's schema lists the actions of each handler (create, read, update, delete, list)
(https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html, `handlers`, read
2026-11-24). They show what a later run may need, but more than a run needs: they are kept where a policy has them, and
offered elsewhere, but never written.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from leastpriv.aws.errors import translate_errors
from leastpriv.aws.session import Aws
from leastpriv.errors import AwsError, AwsErrorKind
from leastpriv.evidence.aws_findings.models import DeclaredNeeds
from leastpriv.evidence.models import Evidence
from leastpriv.models import Outcome
from leastpriv.permissions import catalog

_log = logging.getLogger(__name__)

_TYPE = re.compile(r"[A-Za-z0-9]{2,64}::[A-Za-z0-9]{2,64}::[A-Za-z0-9]{2,64}")
"""`TypeName` of DescribeType in the API model (botocore 1.44.8); `Custom::X` does not match."""
_STACK = re.compile(
    r"arn:[a-z-]+:cloudformation:(?P<region>[a-z0-9-]+):[0-9]*:stack/(?P<name>[A-Za-z][A-Za-z0-9-]*)/.*"
)
_CLOUDFORMATION = "cloudformation.amazonaws.com"
_DEPLOYS = ("cloudformation:CreateStack", "cloudformation:UpdateStack", "cloudformation:ExecuteChangeSet")
_FINAL_ERRORS = (
    AwsErrorKind.NO_CREDENTIALS,
    AwsErrorKind.INVALID,
    AwsErrorKind.EXPIRED,
    AwsErrorKind.THROTTLED,
    AwsErrorKind.UNREACHABLE,
)
"""Errors that would also fail the next request."""
_RETRIABLE_ERRORS = (AwsErrorKind.SERVER, AwsErrorKind.INCOMPLETE)
"""Errors that may not affect the next request."""
_MOST_FAILURES = 3
"""Retriable errors in a row before the rest is skipped: there may be hundreds of types, each with its own retries."""
_MOST_STACKS = 100
_MOST_TYPES = 300


@dataclass(frozen=True, slots=True, order=True)
class DeployedStack:
    """The name of a stack."""

    region: str
    name: str


def deployed_stacks(evidence: Evidence) -> tuple[DeployedStack, ...]:
    """Returns the stacks that a principal deployed, if CloudFormation then called AWS on behalf of the principal.

    Where it called with the stack's own role, the handlers need no permission of the principal.
    """
    if not any(_CLOUDFORMATION in usage.forwarded_by for usage in evidence.usages):
        return ()
    resources = (
        usage.need.permission.resource
        for usage in evidence.usages
        if usage.outcome is Outcome.ALLOWED and usage.need.permission.action in _DEPLOYS
    )
    found = (_STACK.fullmatch(resource) for resource in resources)
    return tuple(sorted({DeployedStack(match["region"], match["name"]) for match in found if match}))


def read_declared_needs(aws: Aws, stacks: Iterable[DeployedStack]) -> DeclaredNeeds:
    """Reads from CloudFormation what the types of some stacks need.

    Never raises AwsError: the result says what is not known.
    """
    failures: list[str] = []
    known = list(stacks)
    if len(known) > _MOST_STACKS:
        failures.append(f"Only {_MOST_STACKS} of {len(known):,} stacks were read.")
    wanted = _wanted(aws, known[:_MOST_STACKS], failures)
    if wanted:
        _log.info(f"Asking CloudFormation what {len(wanted):,} resource types need")
    if len(wanted) > _MOST_TYPES:
        failures.append(f"Only {_MOST_TYPES} of {len(wanted):,} resource types were asked.")
    handlers, untold = _asked(aws, sorted(wanted.items())[:_MOST_TYPES], failures)
    return _declared(handlers, untold, " ".join(dict.fromkeys(failures)))


def permissions_in(schema: str) -> Mapping[str, tuple[str, ...]]:
    """Parses the handlers of a type's schema: handler -> actions as spelled there; empty where the schema has none."""
    try:
        handlers = json.loads(schema).get("handlers", {})
        return {
            name: tuple(entry for entry in handler.get("permissions", ()) if isinstance(entry, str))
            for name, handler in handlers.items()
        }
    except (ValueError, AttributeError, TypeError):
        return {}


def _wanted(aws: Aws, stacks: Iterable[DeployedStack], failures: list[str]) -> Mapping[str, Mapping[str, None]]:
    """Type -> regions of its stacks, where a private type is registered."""
    wanted: dict[str, dict[str, None]] = {}
    failed = 0
    for stack in stacks:
        try:
            found = _types_of_stack(aws, stack)
        except AwsError as error:
            if error.kind is AwsErrorKind.OTHER and "does not exist" in str(error):
                continue  # The stack has been deleted.
            failures.append(str(error))
            failed += error.kind in _RETRIABLE_ERRORS
            if error.kind in _FINAL_ERRORS or failed == _MOST_FAILURES:
                break
        else:
            for name in found:
                wanted.setdefault(name, {})[stack.region] = None
    return wanted


def _asked(
    aws: Aws, types: Iterable[tuple[str, Iterable[str]]], failures: list[str]
) -> tuple[Mapping[str, Mapping[str, tuple[str, ...]]], tuple[str, ...]]:
    """Returns handlers by type, and the types that are not registered in their regions."""
    handlers: dict[str, Mapping[str, tuple[str, ...]]] = {}
    untold: list[str] = []
    failed = 0
    for name, regions in types:
        try:
            schema = next(filter(None, (_schema(aws, name, region) for region in regions)), None)
        except AwsError as error:
            failures.append(str(error))
            failed += error.kind in _RETRIABLE_ERRORS
            # DescribeType has no resource-level permissions: a denial for one type is a denial for all.
            if error.kind in (*_FINAL_ERRORS, AwsErrorKind.DENIED) or failed == _MOST_FAILURES:
                break
            continue
        if schema is None:
            untold.append(name)
        else:
            handlers[name] = permissions_in(schema)
    return handlers, tuple(untold)


def _schema(aws: Aws, name: str, region: str) -> str | None:
    """The schema of a type in a region, `{}` where it has none; None where the registry lacks the type."""
    try:
        with translate_errors(f"asking for the resource type {name}", "cloudformation:DescribeType"):
            found: Mapping[str, Any] = aws.client("cloudformation", region).describe_type(
                Type="RESOURCE", TypeName=name
            )
    except AwsError as error:
        if "TypeNotFoundException" in str(error):
            return None
        raise
    return found.get("Schema") or "{}"


def _declared(
    handlers: Mapping[str, Mapping[str, tuple[str, ...]]], untold: tuple[str, ...], failure: str
) -> DeclaredNeeds:
    actions: dict[str, set[str]] = {}
    unknown: set[str] = set()
    for kind, by_handler in handlers.items():
        for entry in (entry for entries in by_handler.values() for entry in entries):
            names = catalog.expand(entry) if "*" in entry else (catalog.spelling(entry) or "",)
            for name in filter(None, names):
                actions.setdefault(name, set()).add(kind)
            if not any(names):
                unknown.add(entry)
    known = {name: tuple(sorted(kinds)) for name, kinds in sorted(actions.items())}
    return DeclaredNeeds(known, tuple(handlers), untold, tuple(sorted(unknown)), failure)


def _types_of_stack(aws: Aws, stack: DeployedStack) -> tuple[str, ...]:
    with translate_errors(f"listing the resources of the stack {stack.name}", "cloudformation:ListStackResources"):
        pages = aws.client("cloudformation", stack.region).get_paginator("list_stack_resources")
        return _types(
            entry["ResourceType"]
            for page in pages.paginate(StackName=stack.name)
            for entry in page["StackResourceSummaries"]
        )


def _types(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if _TYPE.fullmatch(name)}))
