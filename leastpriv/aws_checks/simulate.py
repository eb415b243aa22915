"""Replays the needs by IAM's SimulateCustomPolicy, which is free of charge.

A disagreement is reported only if both sides are certain: not for a resource that is partly known
or in another account, for a decision of our replay that depends on a condition, or for a condition
key that the record does not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import account_of
from leastpriv.aws.errors import (
    error_code,
    required_member,
    translate_errors,
    translate_missing_members,
)
from leastpriv.aws.session import Aws, pages
from leastpriv.aws_checks.rendered_policy import render_policy
from leastpriv.errors import AwsError, AwsErrorKind, LeastprivError
from leastpriv.evidence.live_role import read_managed_policy
from leastpriv.models import Basis, Need, Permission, Principal
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import home_region
from leastpriv.permissions.patterns import literal_of, unescape
from leastpriv.policy.access import NamedPolicy, PolicyLevel
from leastpriv.policy.document import Document, parse
from leastpriv.policy.replay import ReplayEffect, replay_request
from leastpriv.proposal.models import CheckFinding, CheckResult, Severity
from leastpriv.proposal.proof import NeedDecision

_SCP = "SERVICE_CONTROL_POLICY"
_RCP = "RESOURCE_CONTROL_POLICY"
_WORDS = {_SCP: "service control policies", _RCP: "resource control policies"}
_DEEPEST = 8
"""Most levels above an account: AWS allows five levels of organizational units below the root."""


class OuterPolicies(Struct, frozen=True):
    """Texts of the policies that limit a principal; empty where there are none or they are not
    known.
    """

    boundary: str = ""
    scps: tuple[tuple[str, ...], ...] = ()
    """SCPs of each level, from the root to the account."""
    unread: tuple[str, ...] = ()
    document: Document | None = None
    """The boundary, parsed."""
    levels: tuple[PolicyLevel, ...] = ()
    """The SCPs and RCPs, parsed and with their names."""


NO_OUTER_POLICIES = OuterPolicies()


def read_outer_policies(
    aws: Aws, principal: Principal, boundary: str, *, organization: bool
) -> OuterPolicies:
    """Reads the boundary with this ARN (empty: none), and the organization's policies of the
    account where asked. Never raises.

    What cannot be read is a sentence of the result.
    """
    unread: list[str] = []
    document: Document | None = None
    levels: tuple[PolicyLevel, ...] = ()
    if boundary:
        try:
            document = read_managed_policy(aws, boundary, home_region("iam", principal.partition))
        except LeastprivError as error:
            unread.append(f"The permissions boundary is not known: {error}")
    if organization:
        account_level = account_levels(aws, principal.account, principal.partition)
        levels = account_level.levels
        unread += account_level.unread
    return OuterPolicies(
        boundary=document.to_bytes().decode() if document else "",
        scps=tuple(
            tuple(scp.document.to_bytes().decode() for scp in level.scps) for level in levels
        ),
        unread=tuple(unread),
        document=document,
        levels=levels,
    )


class AccountLevels(Struct, frozen=True):
    """The organization's policies of an account, as far as AWS says them."""

    levels: tuple[PolicyLevel, ...] = ()
    """From the root to the account; empty for the management account, which no SCP or RCP limits
    ("Service control policies" and "Resource control policies", AWS Organizations User Guide, read
    2026-12-01)."""
    unread: tuple[str, ...] = ()
    """Sentences about policies that are not known."""
    is_outside: bool = False
    """The organization of the credentials has no such account."""


def account_levels(aws: Aws, account: str, partition: str) -> AccountLevels:
    """Reads the SCPs and RCPs above an account. Never raises.

    RCPs that may not be read leave the SCPs as they are. The result is `is_outside` where
    Organizations answers `ChildNotFoundException`: the credentials are of another organization.
    """
    try:
        client = aws.client("organizations", home_region("iam", partition))
        reader = _OrganizationReader(client, account)
        scps = reader.policies(_SCP)
    except LeastprivError as error:
        is_outside = isinstance(error, AwsError) and error_code(error) == "ChildNotFoundException"
        sentence = f"The service control policies of the account are not known: {error}"
        return AccountLevels(unread=(sentence,), is_outside=is_outside)
    rcps: Mapping[str, tuple[NamedPolicy, ...]] = {}
    unread: tuple[str, ...] = ()
    try:
        rcps = reader.policies(_RCP)
    except LeastprivError as error:
        unread = (f"The resource control policies of the account are not known: {error}",)
    # SCPs and RCPs do not limit the management account, which owns them.
    is_management_account = account in reader.owners
    if is_management_account:
        return AccountLevels(unread=unread)
    levels = tuple(PolicyLevel(name, scps[name], rcps.get(name, ())) for name in reader.names)
    return AccountLevels(levels, unread)


class _OrganizationReader:
    """Reads the policies of each level from the root to an account."""

    def __init__(self, client: Any, account: str) -> None:
        """Reads the levels; raises AwsError."""
        self._client = client
        self.names = [account]
        """Ids of the levels, from the root to the account."""
        self.owners: set[str] = set()
        """Accounts that own the policies that were read: the management account, from
        `arn:aws:organizations::123456789012:policy/o-a1b2c3d4e5/...`; AWS's own have no number."""
        self._read: dict[str, NamedPolicy] = {}
        for _ in range(_DEEPEST):
            if self.names[0].startswith("r-"):
                return
            activity = "reading the organization's units above the account"
            parents = self._ids("list_parents", "Parents", activity, ChildId=self.names[0])
            self.names[:0] = parents[:1]
        if not self.names[0].startswith("r-"):
            raise AwsError(
                f"AWS names no root above {self.names[0]}: run again later.",
                AwsErrorKind.INCOMPLETE,
            )

    def policies(self, policy_type: str) -> Mapping[str, tuple[NamedPolicy, ...]]:
        """Returns the policies of one type by level; raises AwsError."""
        activity = f"reading the organization's {_WORDS[policy_type]}"
        policies_by_target: dict[str, tuple[NamedPolicy, ...]] = {}
        for name in self.names:
            ids = self._ids(
                "list_policies_for_target", "Policies", activity, TargetId=name, Filter=policy_type
            )
            policies_by_target[name] = tuple(
                self._policy(policy_id, policy_type) for policy_id in ids
            )
        return policies_by_target

    def _policy(self, policy_id: str, policy_type: str) -> NamedPolicy:
        """Reads a policy once, as `p-a1b2c3d4`, and notes the account that owns it."""
        if policy_id in self._read:
            return self._read[policy_id]
        word = "SCP" if policy_type == _SCP else "RCP"
        activity = f"reading the {word} {policy_id}"
        with translate_errors(activity, "organizations:DescribePolicy"):
            answer = self._client.describe_policy(PolicyId=policy_id)
        summary = required_member(answer, activity, "Policy").get("PolicySummary", {})
        self.owners.add(account_of(str(summary.get("Arn", ""))))
        text = str(required_member(answer, activity, "Policy", "Content"))
        is_rcp = policy_type == _RCP
        document = parse(text.encode(), f"{word} {policy_id}", resource_based=is_rcp)
        self._read[policy_id] = NamedPolicy(str(summary.get("Name") or policy_id), document)
        return self._read[policy_id]

    def _ids(self, operation: str, key: str, doing: str, **given: str) -> list[str]:
        """Returns the ids in all pages of a listing: `list_parents` has them below `Parents`."""
        action = f"organizations:{''.join(word.title() for word in operation.split('_'))}"
        return [
            str(target["Id"])
            for page in pages(self._client, operation, doing, action, **given)
            for target in page.get(key) or ()
        ]


SIMULATION = "SimulateCustomPolicy"
_MOST_RESULTS = 500
"""Maximum of actions times resources in one request: AWS answers in pages of at most 1,000 (API
reference, read 2026-11-24)."""
_MOST_REQUESTS = 200
"""Maximum of requests, which limits the time; a hundred needs of a CDK app take 18 requests."""
_LONGEST_RESOURCE = 2048
_LONGEST_ACTION = 128


class ContextEntry(Struct, frozen=True, order=True):
    """A condition key of a request, with its values."""

    key: str
    values: tuple[str, ...]


Context = tuple[ContextEntry, ...]
"""Sorted by key."""


class SimulationRequest(Struct, frozen=True):
    """One need of the replay in the form of the simulation."""

    action: str
    resource: str
    """A plain text, or `*` for an action without resource types."""
    context: Context
    replay_effect: ReplayEffect


class Batch(Struct, frozen=True):
    """Needs of one request, which simulates each action on each resource."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    context: Context


class SimulatedDecision(Struct, frozen=True):
    """AWS's decision on one need."""

    decision: str
    sure: bool
    """No condition key was missing."""
    outer: str = ""
    """The policy type outside the principal's own policies that denied it."""


class _Question(Struct, frozen=True):
    """What the simulator decides at once."""

    action: str
    """In lower case; as written where the simulator rejects it."""
    resource: str
    """Empty where the simulator rejects the action."""
    context: Context


class _Answer(Struct, frozen=True):
    """The simulator's answer to a question."""

    question: _Question
    decision: SimulatedDecision | None
    """None: it does not know the action."""


class _DecidedNeed(Struct, frozen=True):
    """A need of the replay with AWS's decision on it."""

    need: SimulationRequest
    answer: SimulatedDecision


class SimulatedPolicies(Struct, frozen=True):
    """All policies of the principal."""

    documents: Sequence[Document]
    file: str = ""
    outer: OuterPolicies = NO_OUTER_POLICIES
    """Policies that limit the principal, where they are known; a need that they deny is a finding.
    """


def simulate(
    aws: Aws, policies: SimulatedPolicies, need_decisions: Iterable[NeedDecision], principal: str
) -> CheckResult:
    """Simulates the replay's needs under all policies of the principal; an AwsError becomes the
    result's failure.
    """
    requests = [_simulation_request(need_decision, principal) for need_decision in need_decisions]
    simulated_requests = list(dict.fromkeys(filter(None, requests)))
    left_out = requests.count(None)
    skipped = [*policies.outer.unread]
    if left_out:
        skipped.append(
            f"{left_out:,} of the needs name their resource only in part, or in another account."
        )
    # Largest first, so that the limit skips few needs.
    sorted_batches = sorted(batches(simulated_requests), key=_size, reverse=True)
    if len(sorted_batches) > _MOST_REQUESTS:
        requests_left = sum(map(_size, sorted_batches[_MOST_REQUESTS:]))
        skipped.append(
            f"{requests_left:,} of the needs would take more than {_MOST_REQUESTS} requests."
        )
    texts = [
        text.text if (text := render_policy(document)) else "" for document in policies.documents
    ]
    if not all(map(_sendable, texts)):
        return CheckResult(
            SIMULATION,
            0,
            (),
            ("AWS cannot simulate a policy that cannot be sent to it unchanged.",),
        )
    decisions: dict[_Question, SimulatedDecision | None] = {}
    failure = ""
    try:
        with translate_missing_members("simulating the replay"):
            for batch in sorted_batches[:_MOST_REQUESTS]:
                for answer in _simulate_batch(aws, texts, policies.outer, batch):
                    decisions[answer.question] = answer.decision
    except AwsError as error:
        failure = str(error)
    unknown = sorted(
        {question.action for question, decision in decisions.items() if decision is None}
    )
    if unknown:
        skipped.append(f"The simulator does not know {', '.join(unknown[:6])}.")
    decided: list[_DecidedNeed] = []
    for need in simulated_requests:
        decision = decisions.get(_Question(need.action.lower(), need.resource, need.context))
        if decision:
            decided.append(_DecidedNeed(need, decision))
    unsure = sum(not decided_need.answer.sure for decided_need in decided)
    if unsure:
        skipped.append(f"{unsure:,} of the needs depend on condition keys that no record shows.")
    findings = dict.fromkeys(_findings(decided, policies.file))
    return CheckResult(SIMULATION, len(decided), tuple(findings), tuple(skipped), failure)


def batches(needs: Sequence[SimulationRequest]) -> Iterator[Batch]:
    """Yields as few batches as possible that simulate exactly the needs: equal context and equal
    resources.
    """
    resources_by_action: dict[_ActionInContext, dict[str, None]] = {}
    for need in needs:
        action_in_context = _ActionInContext(need.action, need.context)
        resources_by_action.setdefault(action_in_context, {})[need.resource] = None
    actions_by_resources: dict[_ResourcesInContext, list[str]] = {}
    for action_in_context, resources in resources_by_action.items():
        shared = _ResourcesInContext(tuple(sorted(resources)), action_in_context.context)
        actions_by_resources.setdefault(shared, []).append(action_in_context.action)
    for shared, actions in actions_by_resources.items():
        for start in range(0, len(shared.resources), _MOST_RESULTS):
            batch_resources = shared.resources[start : start + _MOST_RESULTS]
            step = max(1, _MOST_RESULTS // len(batch_resources))
            for position in range(0, len(actions), step):
                batch_actions = tuple(actions[position : position + step])
                yield Batch(batch_actions, batch_resources, shared.context)


class _ActionInContext(Struct, frozen=True):
    """An action with what else its requests have in common."""

    action: str
    context: Context


class _ResourcesInContext(Struct, frozen=True):
    """All resources of some requests for one action, with the context of these."""

    resources: tuple[str, ...]
    context: Context


def _size(batch: Batch) -> int:
    return len(batch.actions) * len(batch.resources)


def _simulation_request(need_decision: NeedDecision, principal: str) -> SimulationRequest | None:
    """Returns a need as the simulation takes it; None where its resource is a pattern, is in
    another account than the principal, or cannot be sent.
    """
    permission = need_decision.permission
    resource = _plain_resource(permission)
    if not resource:
        return None
    account = account_of(resource) if resource.startswith("arn:") else ""
    if account not in ("", account_of(principal)):
        return None
    is_too_long = len(resource) > _LONGEST_RESOURCE or len(permission.action) > _LONGEST_ACTION
    if is_too_long or not _sendable(resource):
        return None
    request = replay_request(Need(permission, Basis.OBSERVED, ""), principal, need_decision.region)
    entries = [ContextEntry(key, values) for key, values in request.context.items() if values]
    context = tuple(sorted(entries))
    return SimulationRequest(permission.action, resource, context, need_decision.effect)


def _plain_resource(permission: Permission) -> str:
    """Returns the only resource of a permission; empty if it is a pattern.

    `arn:aws:s3:::shop-prod` is one, `arn:aws:s3:::shop-*` is not; `*` is one for an action without
    resource types, as `ec2:DescribeInstances`.
    """
    if permission.resource == "*":
        catalogue_action = catalog.action(permission.action)
        return "*" if catalogue_action and not catalogue_action.resource_types else ""
    plain = literal_of(permission.resource, True)
    return unescape(permission.resource) if plain is not None else ""


def _sendable(text: str) -> bool:
    """IAM accepts only Latin-1 (pattern of `PolicyInputList`)."""
    return bool(text) and all(char in "\t\n\r" or " " <= char <= "\u00ff" for char in text)


def _simulate_batch(
    aws: Aws, policy_texts: Sequence[str], outer: OuterPolicies, batch: Batch
) -> Iterator[_Answer]:
    """Simulates one batch; finds an action that the simulator rejects by halving, and yields no
    decision for it.
    """
    try:
        entries = [
            {
                "ContextKeyName": entry.key,
                "ContextKeyValues": list(entry.values),
                "ContextKeyType": "stringList" if len(entry.values) > 1 else "string",
            }
            for entry in batch.context
        ]
        parameters: dict[str, Any] = {
            "PolicyInputList": list(policy_texts),
            "ActionNames": list(batch.actions),
        }
        if batch.resources != ("*",):
            parameters["ResourceArns"] = list(batch.resources)
        if outer.boundary:
            parameters["PermissionsBoundaryPolicyInputList"] = [outer.boundary]
        if outer.scps:
            levels = [{"ServiceControlPolicyInputList": list(level)} for level in outer.scps]
            parameters["OrderedOrganizationPolicyInputList"] = levels
        activity, action = "simulating the replay", "iam:SimulateCustomPolicy"
        result_pages = pages(
            aws.client("iam"),
            "simulate_custom_policy",
            activity,
            action,
            ContextEntries=entries,
            **parameters,
        )
        results_of_pages = [
            evaluation for page in result_pages for evaluation in page.get("EvaluationResults", ())
        ]
    except AwsError as error:
        if error.kind is not AwsErrorKind.OTHER or "InvalidInput" not in str(error):
            raise
        if len(batch.actions) == 1:
            yield _Answer(_Question(batch.actions[0], "", batch.context), None)
            return
        middle = len(batch.actions) // 2
        for half in (batch.actions[:middle], batch.actions[middle:]):
            yield from _simulate_batch(aws, policy_texts, outer, replace(batch, actions=half))
        return
    for evaluation_result in results_of_pages:
        yield from _answers(evaluation_result, batch)


def _answers(result: Mapping[str, Any], batch: Batch) -> Iterator[_Answer]:
    """Yields the answer for each resource.

    `EvalResourceName` of the whole result is a template of ARNs (API reference, read 2026-11-24);
    in older answers it is the resource.
    """
    action = result["EvalActionName"].lower()
    resource_results = result.get("ResourceSpecificResults", ())
    for resource_result in resource_results:
        yield _Answer(
            _Question(action, resource_result["EvalResourceName"], batch.context),
            _decision(resource_result["EvalResourceDecision"], resource_result, result),
        )
    if resource_results:
        return
    resource = result.get("EvalResourceName", "")
    if len(batch.resources) == 1:
        (resource,) = batch.resources
    yield _Answer(
        _Question(action, resource, batch.context),
        _decision(result["EvalDecision"], result, result),
    )


def _decision(
    decision: str, each: Mapping[str, Any], result: Mapping[str, Any]
) -> SimulatedDecision:
    """Returns AWS's decision on one resource; where an SCP and the boundary deny, the SCP is named.

    Args:
        decision: As in `EvalResourceDecision`: `allowed`, `explicitDeny`, `implicitDeny`.
        each: The member of the answer for the resource.
        result: The answer for the action, whose details count where `each` has none.
    """
    organization = result.get("OrganizationsDecisionDetail", {})
    boundary = each.get(
        "PermissionsBoundaryDecisionDetail", result.get("PermissionsBoundaryDecisionDetail", {})
    )
    outer = ""
    if not organization.get("AllowedByOrganizations", True):
        outer = "a service control policy of the organization"
    elif not boundary.get("AllowedByPermissionsBoundary", True):
        outer = "the permissions boundary of the principal"
    return SimulatedDecision(decision, not each.get("MissingContextValues"), outer)


def _findings(decided: Iterable[_DecidedNeed], file: str) -> Iterator[CheckFinding]:
    """Yields findings where AWS and our replay are both certain and disagree, then needs denied
    from outside.
    """
    sure = [decided_need for decided_need in decided if decided_need.answer.sure]
    for decided_need in sure:
        need = decided_need.need
        answer = decided_need.answer
        replay_is_certain = need.replay_effect in ("allowed", "explicitDeny", "implicitDeny")
        differs = (need.replay_effect == "allowed") != (answer.decision == "allowed")
        if replay_is_certain and differs and not answer.outer:
            text = (
                f"{need.action} on {need.resource}: the replay says {_words(need.replay_effect)},"
                f" AWS's simulation {_words(answer.decision)}."
            )
            yield CheckFinding(Severity.DISAGREES, "SIMULATION", text, file)
    for decided_need in sure:
        need = decided_need.need
        answer = decided_need.answer
        if answer.outer and need.replay_effect == "allowed" and answer.decision != "allowed":
            text = (
                f"{need.action} on {need.resource} is used, and {answer.outer} denies it now: no"
                " grant helps."
            )
            yield CheckFinding(Severity.WARNING, "DENIED_OUTSIDE", text, file)


def _words(decision: str) -> str:
    return {"allowed": "allowed", "explicitDeny": "denied explicitly"}.get(decision, "not allowed")
