"""Counts the denied features that the first pull request and its offers unblock.

    python -m bench.complete_additions [--table]

Each row of `denied_features.tsv` is a deploy that stops at the first call of a new feature. The
proposal of that evidence is made as a user's, its offers are taken, and each permission that the
deploy needs then is asked of the result. With `--table` each type of the compiled life cycles is
such a feature too, with its unconditional actions.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, ChangeKind, Need, Outcome, Permission, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import read_rows
from leastpriv.permissions.lifecycle import created_types
from leastpriv.permissions.resource_types import fill_variables
from leastpriv.permissions.tool_lifecycle import (
    STACK_SERVICE,
    Phase,
    ResourceKind,
    Tool,
    actions_of_phase,
    conditional_actions,
    making_actions,
    type_names,
)
from leastpriv.policy.document import parse
from leastpriv.policy.edit import create_policy
from leastpriv.policy.replay import replay_need
from leastpriv.proposal.complete_additions import Completion, complete_additions
from leastpriv.proposal.edit_plan import new_statements
from leastpriv.proposal.models import Change, History, Options
from tests.fakes.runs import Proposed
from tests.test_cases import run_case

FEATURES = Path(__file__).with_name("denied_features.tsv")
ACCOUNT = "111122223333"
REGION = "eu-west-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci-deploy"
AGENTS = {
    "terraform": "HashiCorp/1.0 Terraform/1.9.5 terraform-provider-aws/5.60.0",
    "sam": "aws-sam-cli/1.120 Botocore/1.34",
    "cdk": "aws-cdk/2.150",
    "script": "aws-cli/2.17.20 md/awscrt#0.20 command",
}
_GLOBAL = ("iam", "cloudfront", "route53")
_IDENTITY = {
    "type": "AssumedRole",
    "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/ci-deploy/17650000100",
    "accountId": ACCOUNT,
    "invokedBy": STACK_SERVICE,
    "sessionContext": {"sessionIssuer": {"type": "Role", "arn": ROLE, "userName": "ci-deploy"}},
}
_NOW = datetime(2026, 10, 1, tzinfo=UTC)


def main() -> None:
    """Prints the share of unblocked features, and what the others lack."""
    unblocked: Counter[str] = Counter()
    features: Counter[str] = Counter()
    for feature in read_rows(FEATURES.read_text(encoding="utf-8")):
        missing = [*lacking(feature)]
        features[feature["tool"]] += 1
        unblocked[feature["tool"]] += not missing
        if missing:
            print(f"{feature['tool']}, {feature['feature']}: {', '.join(missing)}")
    for tool, count in features.items():
        print(f"{tool}: {unblocked[tool]} of {count}")
    print(
        f"all: {unblocked.total()} of {features.total()}"
        f" ({unblocked.total() / features.total():.0%})"
    )
    if "--table" in sys.argv:
        _measure_table()


def lacking(feature: Mapping[str, str]) -> Iterator[str]:
    """Yields what the deploy of a feature needs and neither the proposal nor its offers grant."""
    denied = _arn(feature["denied"], feature["resource"])
    with tempfile.TemporaryDirectory() as folder:
        proposed = run_case(_case(feature, denied), Path(folder))
    documents = _with_offers(proposed)
    for text in feature["needed"].split():
        action, _, resource = text.partition("@")
        arn = _arn(action, resource.replace("{r}", denied))
        need = Need(Permission(action, arn), Basis.OBSERVED, "")
        effects = {replay_need(need, ROLE, region, documents) for region in (REGION, "us-east-1")}
        if "allowed" not in effects and not _is_allowed_with_condition(documents, need):
            yield text


def _is_allowed_with_condition(documents: Sequence[Any], need: Need) -> bool:
    """Whether a statement allows a passed role, whose service only the call shows."""
    action, resource = need.permission.action, need.permission.resource
    if action != "iam:PassRole":
        return False
    statements = (statement for document in documents for statement in document.statements)
    return any(
        action in statement.actions and resource in statement.resources for statement in statements
    )


def _with_offers(proposed: Proposed) -> list[Any]:
    """The policies of a proposal, and one with all its offers."""
    proposal = proposed.context.proposal
    offers = new_statements(proposal.offered, ())
    if not offers:
        return [*proposal.documents]
    return [*proposal.documents, parse(create_policy(offers), "the offers")]


def _case(feature: Mapping[str, str], denied: str) -> dict[str, Any]:
    """The evidence of the denied deploy, as a case of `tests/cases`."""
    action = feature["denied"]
    tool = feature["tool"]
    allowed = [_allowed(text) for text in feature["before"].split()]
    message = (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/ci-deploy/run is not authorized to perform:"
        f" {action} on resource: {denied} because no identity-based policy allows the {action}"
        " action"
    )
    call: dict[str, Any] = {"event": action, "error": "AccessDenied", "message": message}
    if feature["request"]:
        call["parameters"] = json.loads(feature["request"])
    calls = [*allowed, call]
    for call in calls:
        is_global = call["event"].partition(":")[0] in _GLOBAL
        call["region"] = "us-east-1" if is_global else REGION
        if tool == Tool.CLOUDFORMATION:
            call["identity"] = _IDENTITY
        else:
            call["user-agent"] = AGENTS[tool]
    usual = {"event": "sts:GetCallerIdentity", "user-agent": AGENTS["script"]}
    grants = [
        {"Sid": f"Own{number}", "Effect": "Allow", "Action": call["event"], "Resource": "*"}
        for number, call in enumerate(allowed)
    ]
    usual_grant = {
        "Sid": "Parameter",
        "Effect": "Allow",
        "Action": "ssm:GetParameter",
        "Resource": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/shared",
    }
    return {
        "policy": {"Version": "2012-10-17", "Statement": [usual_grant, *grants]},
        "runs": [
            {"first": "2026-09-01T10:00:00Z", "times": 10, "every-days": 4, "calls": [usual]},
            {"first": "2026-10-20T10:00:00Z", "calls": calls},
        ],
    }


def _allowed(text: str) -> dict[str, Any]:
    """An allowed call of a run: a new role, or a new function."""
    event, _, name = text.partition("@")
    if event == "iam:CreateRole":
        role = {"arn": f"arn:aws:iam::{ACCOUNT}:role/{name}", "roleName": name}
        return {"event": event, "parameters": {"roleName": name}, "response": {"role": role}}
    return {"event": event, "parameters": {"functionName": name.partition(":")[2]}}


def _arn(action: str, text: str) -> str:
    """The whole ARN of a resource as the table writes it."""
    if text == "*" or text.startswith("arn:"):
        return text
    service, colons, name = text.partition("::")
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}" if colons else f"{action}@{text}"


def _measure_table() -> None:
    """Prints the share of types whose denied creation is completed by what each deployment of the
    type needs, where the run made a role.
    """
    completed: Counter[str] = Counter()
    types: Counter[str] = Counter()
    for tool in Tool:
        for name in type_names(tool):
            kind = ResourceKind(tool, name)
            if name.startswith("data.") or not making_actions(kind):
                continue
            types[tool] += 1
            completed[tool] += not _needed_by(kind).difference(_completed(kind))
    for tool in Tool:
        print(f"types of {tool}: {completed[tool]} of {types[tool]}")
    print(f"all types: {completed.total() / types.total():.1%}")


def _needed_by(kind: ResourceKind) -> set[str]:
    """Returns the actions that each deployment of a type needs besides the denied one, to make and
    to read a resource: `sqs:GetQueueAttributes` of a queue.

    The denied call is the first that makes the resource (`_completed`). Actions for optional
    properties are left out, since a denial does not show whether the resource has them.
    """
    actions = {
        action
        for phase in (Phase.CREATE, Phase.READ)
        for action in actions_of_phase(kind, phase)
        if catalog.spelling(action)
    }
    return actions - conditional_actions(kind) - {making_actions(kind)[0]}


def _completed(kind: ResourceKind) -> set[str]:
    maker = making_actions(kind)[0]
    is_stack = kind.tool is Tool.CLOUDFORMATION
    usage = _usage(maker, _made(maker), Outcome.DENIED)
    usage = _of_tool(usage, is_stack=is_stack)
    role = _usage("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/orders", Outcome.ALLOWED)
    change = Change(ChangeKind.ADD, maker, (_made(maker),), usages=(usage,), basis=Basis.DENIED)
    evidence = Evidence(ROLE, usages=(usage, role))
    completion = Completion(evidence, Options(), History(), ())
    return {change.action for change in complete_additions([change], completion)}


def _usage(action: str, resource: str, outcome: Outcome) -> Usage:
    return Usage(
        need=Need(Permission(action, resource), Basis.OBSERVED, ""),
        outcome=outcome,
        count=1,
        first_seen=_NOW,
        last_seen=_NOW,
        runs=("1",),
        events=(),
        regions=(REGION,),
    )


def _of_tool(usage: Usage, *, is_stack: bool) -> Usage:
    if is_stack:
        return replace(usage, programs=(), forwarded_by=(STACK_SERVICE,))
    return replace(usage, programs=(Tool.TERRAFORM,))


def _made(maker: str) -> str:
    """An ARN of the type that an action makes, else of one that it takes."""
    documented = catalog.action(maker)
    if documented is None or not documented.resource_types:
        return "*"
    service, _, name = maker.partition(":")
    made_types = created_types(service, name)
    kinds = [kind for kind in documented.resource_types if kind.name.lower() in made_types]
    kinds += [kind for kind in documented.resource_types if kind.required]
    kinds += documented.resource_types
    values = {"Partition": "aws", "Region": REGION, "Account": ACCOUNT}
    return fill_variables(kinds[0].arn, values, "orders")


if __name__ == "__main__":
    main()
