"""Replays the needs by IAM's SimulateCustomPolicy, which is free of charge.

A disagreement is reported only if both sides are certain: not for a resource that is partly known or in another
account, for a decision of our replay that depends on a condition, or for a condition key that the record does not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from leastpriv.aws.errors import translate_errors
from leastpriv.aws.session import Aws
from leastpriv.aws_checks.rendered_policy import render_policy
from leastpriv.diff.compare import ReplayEffect, replay_request
from leastpriv.errors import AwsError, AwsErrorKind
from leastpriv.models import Basis, Need, Permission
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import literal_of, unescape
from leastpriv.policy.document import Document
from leastpriv.proposal.models import CheckFinding, CheckResult, Severity
from leastpriv.proposal.proof import NeedDecision

SIMULATION = "SimulateCustomPolicy"
_ACTION = "iam:SimulateCustomPolicy"
_MOST_RESULTS = 500
"""Maximum of actions times resources in one request: AWS answers in pages of at most 1,000 (API reference, read
2026-11-24)."""
_MOST_REQUESTS = 200
"""Maximum of requests, which limits the time; a hundred needs of a CDK app take 18 requests."""
_LONGEST_RESOURCE = 2048
_LONGEST_ACTION = 128
_NEVER = ("explicitDeny", "implicitDeny")

Context = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class SimulationRequest:
    """One need of the replay in the form of the simulation."""

    action: str
    resource: str
    """A plain text, or `*` for an action without resource types."""
    context: Context
    replay_effect: ReplayEffect


@dataclass(frozen=True, slots=True)
class Batch:
    """Needs of one request, which simulates each action on each resource."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    context: Context

    @property
    def halves(self) -> tuple[Batch, Batch]:
        """The batch split into two with half of the actions each."""
        middle = len(self.actions) // 2
        return (
            Batch(self.actions[:middle], self.resources, self.context),
            Batch(self.actions[middle:], self.resources, self.context),
        )


@dataclass(slots=True)
class _Answers:
    decisions: dict[tuple[str, str, Context], tuple[str, bool]] = field(default_factory=dict)
    """(action in lower case, resource, context) -> AWS's decision, and whether no condition key was missing."""
    unknown: list[str] = field(default_factory=list)
    """Actions that the simulator does not know."""

    def of(self, need: SimulationRequest) -> tuple[str, bool] | None:
        """Returns the answer to a need, if any."""
        return self.decisions.get((need.action.lower(), need.resource, need.context))


def simulate(
    aws: Aws, documents: Sequence[Document], need_decisions: Iterable[NeedDecision], principal: str, file: str
) -> CheckResult:
    """Simulates the replay's needs under all policies of the principal; an AwsError becomes the result's failure.

    `file` names the proposed policy in findings.
    """
    asked, left_out = _simulation_requests(need_decisions, principal)
    skipped = (
        [f"{left_out:,} of the needs name their resource only in part, or in another account."] if left_out else []
    )
    # Largest first, so that the limit skips few needs.
    made = sorted(batches(asked), key=_size, reverse=True)
    if len(made) > _MOST_REQUESTS:
        rest = sum(map(_size, made[_MOST_REQUESTS:]))
        skipped.append(f"{rest:,} of the needs would take more than {_MOST_REQUESTS} requests.")
    texts = [text.text if (text := render_policy(document)) else "" for document in documents]
    if not all(map(_sendable, texts)):
        return CheckResult(
            SIMULATION, 0, (), ("A policy that AWS could not be sent as it is keeps it from simulating.",)
        )
    answers, failure = _Answers(), ""
    try:
        for batch in made[:_MOST_REQUESTS]:
            _simulate_batch(aws, texts, batch, answers)
    except AwsError as error:
        failure = str(error)
    if answers.unknown:
        skipped.append(f"The simulator does not know {', '.join(sorted(set(answers.unknown))[:6])}.")
    decided = [(need, answer) for need in asked if (answer := answers.of(need))]
    unsure = sum(not sure for _, (_, sure) in decided)
    if unsure:
        skipped.append(f"{unsure:,} of the needs hang on condition keys that no record shows.")
    findings = _disagreements(decided, file)
    return CheckResult(SIMULATION, len(decided), findings, tuple(skipped), failure)


def batches(needs: Sequence[SimulationRequest]) -> Iterator[Batch]:
    """Yields as few batches as possible that simulate exactly the needs: equal context and equal resources."""
    wanted: dict[tuple[Context, str], dict[str, None]] = {}
    for need in needs:
        wanted.setdefault((need.context, need.action), {})[need.resource] = None
    alike: dict[tuple[Context, tuple[str, ...]], list[str]] = {}
    for (context, action), resources in wanted.items():
        alike.setdefault((context, tuple(sorted(resources))), []).append(action)
    for (context, shared), actions in alike.items():
        for some in _chunks(shared, _MOST_RESULTS):
            for few in _chunks(actions, max(1, _MOST_RESULTS // len(some))):
                yield Batch(few, some, context)


def _size(batch: Batch) -> int:
    return len(batch.actions) * len(batch.resources)


def _simulation_requests(need_decisions: Iterable[NeedDecision], principal: str) -> tuple[list[SimulationRequest], int]:
    """Returns the distinct needs that can be simulated, and the number of those that cannot."""
    found: dict[SimulationRequest, None] = {}
    left_out = 0
    for need_decision in need_decisions:
        need = _simulation_request(need_decision, principal)
        if need:
            found[need] = None
        else:
            left_out += 1
    return list(found), left_out


def _simulation_request(need_decision: NeedDecision, principal: str) -> SimulationRequest | None:
    permission = need_decision.permission
    resource = _plain_resource(permission)
    account = resource.split(":")[4] if resource.startswith("arn:") and resource.count(":") > 4 else ""
    if not resource or (account not in ("", principal.split(":")[4])):
        return None
    if len(resource) > _LONGEST_RESOURCE or len(permission.action) > _LONGEST_ACTION or not _sendable(resource):
        return None
    asked = replay_request(Need(permission, Basis.OBSERVED, ""), principal, need_decision.region)
    context = tuple(sorted((key, values) for key, values in asked.context.items()))
    return SimulationRequest(permission.action, resource, context, need_decision.effect)


def _plain_resource(permission: Permission) -> str:
    """Returns the only resource of a permission; empty if it is a pattern."""
    if permission.resource == "*":
        known = catalog.action(permission.action)
        return "*" if known and not known.resource_types else ""
    plain = literal_of(permission.resource, True)
    return unescape(permission.resource) if plain is not None else ""


def _sendable(text: str) -> bool:
    """IAM accepts only Latin-1 (pattern of `PolicyInputList`)."""
    return bool(text) and all(char in "\t\n\r" or " " <= char <= "\u00ff" for char in text)


def _simulate_batch(aws: Aws, texts: Sequence[str], batch: Batch, answers: _Answers) -> None:
    """Simulates one batch; finds an action that the simulator rejects by halving.

    Raises AwsError if AWS does not answer or rejects the policies.
    """
    try:
        results = _simulate_once(aws, texts, batch)
    except AwsError as error:
        if error.kind is not AwsErrorKind.OTHER or "InvalidInput" not in str(error):
            raise
        if len(batch.actions) == 1:
            answers.unknown.extend(batch.actions)
            return
        for half in batch.halves:
            _simulate_batch(aws, texts, half, answers)
        return
    for result in results:
        for resource, decision, sure in _decisions(result, batch):
            answers.decisions[result["EvalActionName"].lower(), resource, batch.context] = decision, sure


def _simulate_once(aws: Aws, texts: Sequence[str], batch: Batch) -> list[Mapping[str, Any]]:
    entries = [
        {
            "ContextKeyName": key,
            "ContextKeyValues": list(values),
            "ContextKeyType": "string" + ("List" * (len(values) > 1)),
        }
        for key, values in batch.context
    ]
    resources = {} if batch.resources == ("*",) else {"ResourceArns": list(batch.resources)}
    with translate_errors("having the replay simulated", _ACTION):
        pages = (
            aws.client("iam")
            .get_paginator("simulate_custom_policy")
            .paginate(PolicyInputList=list(texts), ActionNames=list(batch.actions), ContextEntries=entries, **resources)
        )
        return [result for page in pages for result in page.get("EvaluationResults", ())]


def _decisions(result: Mapping[str, Any], batch: Batch) -> Iterator[tuple[str, str, bool]]:
    """Yields each resource with its decision, and whether no condition key was missing.

    `EvalResourceName` of the whole result is a template of ARNs (API reference, read 2026-11-24); in older answers it
    is the resource.
    """
    organisation = result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True)
    for each in result.get("ResourceSpecificResults", ()):
        sure = not each.get("MissingContextValues") and organisation
        yield each["EvalResourceName"], each["EvalResourceDecision"], sure
    if not result.get("ResourceSpecificResults"):
        named = result.get("EvalResourceName", "")
        whole = batch.resources[0] if len(batch.resources) == 1 else named
        yield whole, result["EvalDecision"], not result.get("MissingContextValues") and organisation


def _disagreements(
    decided: Iterable[tuple[SimulationRequest, tuple[str, bool]]], file: str
) -> tuple[CheckFinding, ...]:
    """Returns findings where AWS and our replay are both certain and disagree."""
    findings: dict[CheckFinding, None] = {}
    for need, (decision, sure) in decided:
        if (
            sure
            and need.replay_effect in ("allowed", *_NEVER)
            and (need.replay_effect == "allowed") != (decision == "allowed")
        ):
            text = (
                f"{need.action} on {need.resource}: our replay says {_words(need.replay_effect)}, AWS's simulation "
                f"{_words(decision)}."
            )
            findings[CheckFinding(Severity.DISAGREES, "SIMULATION", text, file)] = None
    return tuple(findings)


def _words(decision: str) -> str:
    return {"allowed": "allowed", "explicitDeny": "denied explicitly"}.get(decision, "not allowed")


def _chunks(items: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    left = iter(items)
    while some := tuple(islice(left, size)):
        yield some
