"""The judgement of the product: one rule a function, each with a name that the reader of the pull request sees.

A guard looks at one action that an entry would no longer grant and answers with the reason to keep it, or with nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from leastpriv.evidence.models import Evidence
from leastpriv.evidence.runs import SILENCE
from leastpriv.models import Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_matches, resource_covers
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import entries_naming
from leastpriv.proposal.confidence import confidences
from leastpriv.proposal.fingerprint import entry_id
from leastpriv.proposal.guards.aws import declared, last_accessed, shared_policy
from leastpriv.proposal.guards.people_and_history import asked_to_keep, is_emergency, refused_after_removal, remembered
from leastpriv.proposal.guards.second_opinion import generated_policy
from leastpriv.proposal.guards.visibility import (
    checked_inside,
    dropped_with_service,
    gap_in_scope,
    is_unseen,
    lets_unseen_go,
    not_recorded,
    not_visible,
    other_resource,
    region_not_read,
)
from leastpriv.proposal.models import Candidate, Objection, Situation

Guard = Callable[[Candidate, Situation], str]


def kept(candidate: Candidate, situation: Situation) -> str:
    """A person said that it stays."""
    for pattern in situation.options.keep:
        if action_matches(pattern, candidate.action):
            return f"`keep` names {pattern}"
    return ""


def declined(candidate: Candidate, situation: Situation) -> str:
    """A person closed the pull request that changed this entry."""
    if not situation.declined:
        return ""
    entry = candidate.entry
    number = situation.declined.get(entry_id(entry.pattern, entry.statement.sid, entry.resources))
    return f"it was declined in #{number}" if number else ""


def live_differs(candidate: Candidate, situation: Situation) -> str:  # noqa: ARG001
    """The account is not what the file says: what was used was used under other permissions."""
    differs = situation.evidence.live_differs
    return f"{differs}: deploy the file, or commit what was changed in the account, first" if differs else ""


def unknown_action(candidate: Candidate, situation: Situation) -> str:  # noqa: ARG001 - one shape for all guards
    """The catalogue lacks it, so nobody can say that it was not used."""
    if catalog.spelling(candidate.action) is None:
        return "the catalogue does not know this action, so its use cannot be ruled out"
    return ""


def minimum_days(candidate: Candidate, situation: Situation) -> str:  # noqa: ARG001
    """The evidence is too young."""
    days, least = situation.evidence.span.days, situation.options.minimum_days
    return f"the evidence spans {days} of {least} days" if days < least else ""


def minimum_runs(candidate: Candidate, situation: Situation) -> str:  # noqa: ARG001
    """Too few runs without a refusal."""
    known, least = situation.separate_runs, situation.options.minimum_runs
    runs = separate_runs(situation.evidence, situation.emergencies) if known is None else known
    return f"the evidence holds {runs} of {least} runs without a refusal" if runs < least else ""


def minimum_confidence(candidate: Candidate, situation: Situation) -> str:
    """The runs that used its service keep showing actions of it that no other run used: the next one may as well."""
    least = situation.options.minimum_confidence
    found = (situation.confidence or confidences(situation.evidence)).of(candidate.action) if least else None
    if found is None or found.percent >= least:
        return ""
    service = candidate.action.partition(":")[0]
    runs = f"{found.runs} run{'' if found.runs == 1 else 's'}"
    where = f"{runs} used `{service}`" if service in situation.services else f"there are {runs}"
    seen = f"{where}, {found.own} with an action that no other used"
    return f"{seen}: confidence is {found.percent} percent of at least {least}"


def separate_runs(evidence: Evidence, without: frozenset[str] = frozenset()) -> int:
    """Runs without a refusal that needed a permission; those that began within an hour may be one deploy.

    `without` are ids of runs that do not count.
    """
    working = {run for usage in evidence.usages if usage.outcome is Outcome.ALLOWED for run in usage.runs} - without
    starts = sorted(run.first for run in evidence.runs if not run.denied and run.id in working)
    apart = sum(1 for before, start in pairwise(starts) if start - before > SILENCE)
    return apart + bool(starts)


def grace_period(candidate: Candidate, situation: Situation) -> str:
    """It came into the policy file of late: who put it there may not have needed it yet."""
    earlier, statement = situation.earlier, candidate.entry.statement
    if earlier is None or _granted_then(candidate.action, statement, earlier):
        return ""
    return f"it was added to the policy file within the last {situation.options.grace_days} days"


def _granted_then(action: str, statement: Statement, earlier: Document) -> bool:
    """Whether an earlier version allowed the action on all that the statement names."""
    then = [each for each in earlier.statements if each.effect == "Allow" and entries_naming(each, action)]
    wide = [resource for each in then for resource in each.resources]
    if not statement.resources:
        return any(each.not_resources == statement.not_resources or "*" in each.resources for each in then)
    return all(
        any(resource_covers(before, resource) for before in wide) or any(each.not_resources for each in then)
        for resource in statement.resources
    )


def break_glass(candidate: Candidate, situation: Situation) -> str:
    """People in an emergency used it through this entry, and will need it again."""
    usages = candidate.entry.uses.get(candidate.action, ())
    seen = [
        usage.last_seen
        for usage in usages
        if usage.outcome is Outcome.ALLOWED and is_emergency(usage, situation.emergencies)
    ]
    return f"only sessions that `break-glass` names used it, on {max(seen):%Y-%m-%d} at last" if seen else ""


def inconclusive(candidate: Candidate, situation: Situation) -> str:  # noqa: ARG001
    """It was called through this entry, and refused or without a clear answer: that vetoes a removal."""
    outcomes = {usage.outcome for usage in candidate.entry.uses.get(candidate.action, ())}
    if Outcome.DENIED in outcomes:
        return "it was called and refused"
    if Outcome.UNKNOWN in outcomes:
        return "it was called, with an answer that says nothing about authorisation"
    return ""


def unexplained_use(candidate: Candidate, situation: Situation) -> str:
    """It was allowed where no known policy grants it, or granted it then: its resource may have been read wrongly."""
    if candidate.action in situation.unexplained:
        return "it was allowed on a resource that no known policy covers: this grant may be the one that was used"
    uses = [usage for usage in situation.used.get(candidate.action, ()) if usage.outcome is Outcome.ALLOWED]
    if situation.changed and uses and all(usage.last_seen < situation.changed for usage in uses):
        # What grants the use now may be new: a second run right after a merge has to see what the first one saw.
        day = situation.changed.date().isoformat()
        return (
            f"no use of it is younger than the policy file's last change ({day}): this grant may have been the used one"
        )
    return ""


def unseen_service(candidate: Candidate, situation: Situation) -> str:
    """A wildcard's unit is the service: without any call it is dropped only where the user says so."""
    if not is_unseen(candidate, situation) or lets_unseen_go(candidate, situation):
        return ""
    prefix = candidate.action.partition(":")[0]
    return f"no call of {prefix} in the window; set `unseen-services: drop` to remove such grants"


def sibling(candidate: Candidate, situation: Situation) -> str:
    """A later run will need it to update or delete what this role makes."""
    if dropped_with_service(candidate, situation):
        return ""
    used = situation.siblings.get(candidate.action)
    return f"lifecycle counterpart of {used}" if used else ""


GUARDS: tuple[tuple[str, Guard], ...] = (
    ("keep", kept),
    ("asked-to-keep", asked_to_keep),
    ("declined", declined),
    ("refused-after-removal", refused_after_removal),
    ("live-differs", live_differs),
    ("unknown-action", unknown_action),
    ("minimum-days", minimum_days),
    ("minimum-runs", minimum_runs),
    ("grace-period", grace_period),
    ("break-glass", break_glass),
    ("gap-in-scope", gap_in_scope),
    ("inconclusive", inconclusive),
    ("unexplained-use", unexplained_use),
    ("remembered", remembered),
    ("last-accessed", last_accessed),
    ("shared-policy", shared_policy),
    ("access-analyzer", generated_policy),
    ("unseen-service", unseen_service),
    ("region-not-read", region_not_read),
    ("not-recorded", not_recorded),
    ("other-resource", other_resource),
    ("checked-inside", checked_inside),
    ("not-visible", not_visible),
    ("sibling", sibling),
    ("declared", declared),
    ("minimum-confidence", minimum_confidence),
)
"""In the order in which a reader should hear of them."""


def objection_to(candidate: Candidate, situation: Situation) -> Objection | None:
    """The first guard that holds the removal of this action back, or None."""
    for name, guard in GUARDS:
        reason = guard(candidate, situation)
        if reason:
            return Objection(name, reason)
    return None
