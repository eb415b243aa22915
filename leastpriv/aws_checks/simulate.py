"""IAM's SimulateCustomPolicy, free of charge: the replay's needs decided once more, by AWS.

What a simulation cannot know is no disagreement: a resource known only in part or in another account, a decision of
ours that hangs on a condition, a condition key that the record does not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from leastpriv.aws.errors import explained
from leastpriv.aws.session import Aws
from leastpriv.aws_checks.rendered_policy import sent
from leastpriv.diff.compare import Verdict, request
from leastpriv.errors import AwsError, AwsTrouble
from leastpriv.models import Basis, Need, Permission
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import literal_of, unescape
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import Request
from leastpriv.proposal.models import Judgement, Remark, Weight
from leastpriv.proposal.proof import Allowance

JUDGE = "SimulateCustomPolicy"
_ACTION = "iam:SimulateCustomPolicy"
_MOST_RESULTS = 500
"""Actions times resources of one request: answers come in pages of at most 1,000 (API reference, read 2026-11-24)."""
_MOST_REQUESTS = 200
"""Beyond it the rest is left unasked, for the time it takes; a hundred needs of a CDK app are 18 requests."""
_LONGEST_RESOURCE = 2048
_LONGEST_ACTION = 128
_NEVER = ("explicitDeny", "implicitDeny")

Context = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Question:
    """One need of the replay as a simulation can be asked for it."""

    action: str
    resource: str
    """A plain text, or `*` for an action that takes no resource."""
    context: Context
    ours: Verdict


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions of one request: each action is asked for on each resource."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    context: Context

    @property
    def halves(self) -> tuple[Batch, Batch]:
        """The batch with half of the actions each."""
        middle = len(self.actions) // 2
        return (
            Batch(self.actions[:middle], self.resources, self.context),
            Batch(self.actions[middle:], self.resources, self.context),
        )


@dataclass(slots=True)
class _Answers:
    decisions: dict[tuple[str, str, Context], tuple[str, bool]] = field(default_factory=dict)
    """(action in lower case, resource, context) -> AWS's decision, and whether it had all that decides."""
    unknown: list[str] = field(default_factory=list)
    """Actions that the simulator does not take."""


def simulate(
    aws: Aws, documents: Sequence[Document], allowances: Iterable[Allowance], principal: str, file: str
) -> Judgement:
    """Has the replay's needs decided by AWS under all policies of the principal; never raises AwsError.

    `file` names the proposed policy in remarks.
    """
    asked, left_out = _questions(allowances, principal)
    unasked = (
        [f"{left_out:,} of the needs name their resource only in part, or in another account."] if left_out else []
    )
    # The largest first, so that the bound leaves out little.
    made = sorted(batches(asked), key=_size, reverse=True)
    if len(made) > _MOST_REQUESTS:
        rest = sum(map(_size, made[_MOST_REQUESTS:]))
        unasked.append(f"{rest:,} of the needs would take more than {_MOST_REQUESTS} requests.")
    texts = [text.text if (text := sent(document)) else "" for document in documents]
    if not all(map(_sendable, texts)):
        return Judgement(JUDGE, 0, (), ("A policy that AWS could not be sent as it is keeps it from simulating.",))
    answers, failure = _Answers(), ""
    try:
        for batch in made[:_MOST_REQUESTS]:
            _ask(aws, texts, batch, answers)
    except AwsError as error:
        failure = str(error)
    if answers.unknown:
        unasked.append(f"The simulator does not know {', '.join(sorted(set(answers.unknown))[:6])}.")
    told = [(question, decided) for question in asked if (decided := _answer(answers, question))]
    unsure = sum(not sure for _, (_, sure) in told)
    if unsure:
        unasked.append(f"{unsure:,} of the needs hang on condition keys that no record shows.")
    remarks = _remarks(told, file)
    return Judgement(JUDGE, len(told), remarks, tuple(unasked), failure)


def batches(questions: Sequence[Question]) -> Iterator[Batch]:
    """Put questions together so that as few requests as possible ask nothing else: equal context, equal resources."""
    wanted: dict[tuple[Context, str], dict[str, None]] = {}
    for question in questions:
        wanted.setdefault((question.context, question.action), {})[question.resource] = None
    alike: dict[tuple[Context, tuple[str, ...]], list[str]] = {}
    for (context, action), resources in wanted.items():
        alike.setdefault((context, tuple(sorted(resources))), []).append(action)
    for (context, shared), actions in alike.items():
        for some in _chunks(shared, _MOST_RESULTS):
            for few in _chunks(actions, max(1, _MOST_RESULTS // len(some))):
                yield Batch(few, some, context)


def _size(batch: Batch) -> int:
    return len(batch.actions) * len(batch.resources)


def _questions(allowances: Iterable[Allowance], principal: str) -> tuple[list[Question], int]:
    """What can be asked, each once, and how much cannot."""
    found: dict[Question, None] = {}
    left_out = 0
    for allowance in allowances:
        question = _question(allowance, principal)
        if question:
            found[question] = None
        else:
            left_out += 1
    return list(found), left_out


def _question(allowance: Allowance, principal: str) -> Question | None:
    permission = allowance.permission
    resource = _plain_resource(permission)
    account = resource.split(":")[4] if resource.startswith("arn:") and resource.count(":") > 4 else ""
    if not resource or (account not in ("", principal.split(":")[4])):
        return None
    if len(resource) > _LONGEST_RESOURCE or len(permission.action) > _LONGEST_ACTION or not _sendable(resource):
        return None
    asked = request(Need(permission, Basis.OBSERVED, ""), principal, allowance.region)
    return Question(permission.action, resource, _context(asked), allowance.effect)


def _plain_resource(permission: Permission) -> str:
    """The one resource that is meant; empty where it is a pattern."""
    if permission.resource == "*":
        known = catalog.action(permission.action)
        return "*" if known and not known.resource_types else ""
    plain = literal_of(permission.resource, True)
    return unescape(permission.resource) if plain is not None else ""


def _context(asked: Request) -> Context:
    return tuple(sorted((key, values) for key, values in asked.context.items()))


def _sendable(text: str) -> bool:
    """IAM takes Latin-1 only (the pattern of `PolicyInputList`)."""
    return bool(text) and all(char in "\t\n\r" or " " <= char <= "\u00ff" for char in text)


def _ask(aws: Aws, texts: Sequence[str], batch: Batch, answers: _Answers) -> None:
    """Ask for one batch; an action that the simulator does not take is found by halving.

    Raises:
        AwsError: AWS does not answer, or the policies are not taken.
    """
    try:
        results = _simulated(aws, texts, batch)
    except AwsError as error:
        if error.trouble is not AwsTrouble.OTHER or "InvalidInput" not in str(error):
            raise
        if len(batch.actions) == 1:
            answers.unknown.extend(batch.actions)
            return
        for half in batch.halves:
            _ask(aws, texts, half, answers)
        return
    for result in results:
        for resource, decision, sure in _decided(result, batch):
            answers.decisions[result["EvalActionName"].lower(), resource, batch.context] = decision, sure


def _simulated(aws: Aws, texts: Sequence[str], batch: Batch) -> list[Mapping[str, Any]]:
    entries = [
        {
            "ContextKeyName": key,
            "ContextKeyValues": list(values),
            "ContextKeyType": "string" + ("List" * (len(values) > 1)),
        }
        for key, values in batch.context
    ]
    resources = {} if batch.resources == ("*",) else {"ResourceArns": list(batch.resources)}
    with explained("having the replay simulated", _ACTION):
        pages = (
            aws.client("iam")
            .get_paginator("simulate_custom_policy")
            .paginate(PolicyInputList=list(texts), ActionNames=list(batch.actions), ContextEntries=entries, **resources)
        )
        return [result for page in pages for result in page.get("EvaluationResults", ())]


def _decided(result: Mapping[str, Any], batch: Batch) -> Iterator[tuple[str, str, bool]]:
    """Yield each resource with its decision, and whether no condition key was missing for it.

    `EvalResourceName` of the whole result is a template of ARNs (API reference, read 2026-11-24); it used to be the
    resource, and answers of that form are read too.
    """
    organisation = result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True)
    for each in result.get("ResourceSpecificResults", ()):
        sure = not each.get("MissingContextValues") and organisation
        yield each["EvalResourceName"], each["EvalResourceDecision"], sure
    if not result.get("ResourceSpecificResults"):
        named = result.get("EvalResourceName", "")
        whole = batch.resources[0] if len(batch.resources) == 1 else named
        yield whole, result["EvalDecision"], not result.get("MissingContextValues") and organisation


def _answer(answers: _Answers, question: Question) -> tuple[str, bool] | None:
    return answers.decisions.get((question.action.lower(), question.resource, question.context))


def _remarks(told: Iterable[tuple[Question, tuple[str, bool]]], file: str) -> tuple[Remark, ...]:
    """Where AWS decides otherwise than we do, and both are sure."""
    remarks: dict[Remark, None] = {}
    for question, (decision, sure) in told:
        if sure and question.ours in ("allowed", *_NEVER) and (question.ours == "allowed") != (decision == "allowed"):
            text = (
                f"{question.action} on {question.resource}: our replay says {_words(question.ours)}, AWS's simulation "
                f"{_words(decision)}."
            )
            remarks[Remark(Weight.DISAGREES, "SIMULATION", text, file)] = None
    return tuple(remarks)


def _words(decision: str) -> str:
    return {"allowed": "allowed", "explicitDeny": "denied explicitly"}.get(decision, "not allowed")


def _chunks(items: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    left = iter(items)
    while some := tuple(islice(left, size)):
        yield some
