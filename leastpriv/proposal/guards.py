"""The guards: each looks at one action that would be removed and returns the reason to keep it, or
nothing.

Among them are those that use decisions of people, the usage history before the evidence, and
break-glass sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import pairwise

from msgspec.structs import replace

from leastpriv.diff.compare import Entry, is_used
from leastpriv.errors import did_you_mean, plural
from leastpriv.evidence.collector import NO_ANSWER
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.runs import RUN_SEPARATION
from leastpriv.evidence.usage_history import ANYTHING, KEPT_DAYS, ActionUse, UsageHistory
from leastpriv.models import AGGREGATED, Basis, Need, Outcome, Permission, Run, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.lifecycle import siblings_of
from leastpriv.permissions.patterns import action_matches, resource_covers, resource_overlaps
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import statements_allowing
from leastpriv.policy.replay import replay_need
from leastpriv.proposal.aws_guards import declared, generated_policy, last_accessed, shared_policy
from leastpriv.proposal.models import (
    GuardContext,
    GuardResult,
    HistoryState,
    Lifecycle,
    RemovalCandidate,
    removal_ids,
)
from leastpriv.proposal.origins import UNREVIEWED_USE, unreviewed_use_reason
from leastpriv.proposal.recorded_use import checked_inside
from leastpriv.proposal.visibility_guards import (
    allows_dropping_unseen,
    dropped_with_service,
    gap_in_scope,
    is_of_unseen_service,
    not_recorded,
    not_visible,
    other_resource,
    region_not_read,
)

Guard = Callable[[RemovalCandidate, GuardContext], str]


def asked_to_keep(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that a comment of a person with write permission asks to keep."""
    memory = context.history.history_state.memory
    keep = memory.kept(candidate.action) if memory else None
    if keep is None:
        return ""
    pattern, word = keep
    return f"@{word.by} keeps {pattern} by a comment under #{word.pull}"


def rhythm(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that came back at a steady interval, until the next use is overdue by half an
    interval.
    """
    state = context.history.history_state
    if (
        state.memory is None
        or state.today is None
        or is_used(candidate.entry.uses.get(candidate.action, ()))
    ):
        return ""
    for _, use in state.memory.uses(candidate.action, entry_resources(candidate.entry)):
        interval = use.interval
        until = use.expected_until
        if interval and until and until >= state.today:
            due = use.last + interval
            return (
                f"used about every {interval.days} days, last on {use.last}: expected again about"
                f" {due}"
            )
    return ""


def remembered(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that was used before the evidence, or all actions if the history is
    unreadable.
    """
    state = context.history.history_state
    entry = candidate.entry
    memory = state.memory
    if state.trouble or memory is None or is_used(entry.uses.get(candidate.action, ())):
        return state.trouble
    last_use = memory.last_use(candidate.action, entry_resources(entry))
    if last_use:
        return f"{_use_text(last_use[1])}, as remembered"
    if candidate.action in context.counterparts and not dropped_with_service(candidate, context):
        # The guard `sibling` reports what the evidence itself shows.
        return ""
    partner = state.counterparts.get(candidate.action, "")
    partner_use = memory.last_use(partner) if partner else None
    if partner_use is None:
        return ""
    return f"lifecycle counterpart of {partner}, {_use_text(partner_use[1])}, as remembered"


def refused_after_removal(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that was removed once and then denied to a run, or that the policy grants
    after the merge of its removal.
    """
    history = context.history.history_state
    # Asked of each granted action, and in most runs nothing came back.
    if not history.returned:
        return ""
    entry = candidate.entry
    resources = dict.fromkeys([*entry_resources(entry), *entry.resources])
    back = history.reverted_removal(candidate.action, resources)
    if back is None:
        return ""
    if back.commit:
        brought_back = "a person granted it" if back.by_person else "the policy grants it"
        return (
            f"commit {back.commit[:7]}, a merged proposal, removes it, and {brought_back} all the"
            " same: delete it by hand to remove it"
        )
    if back.by_person:
        return (
            f"the merged #{back.pull} removes it, and a person granted it all the same: it is"
            " removed after a comment `/leastpriv forget`"
        )
    if back.granted:
        return f"the merged #{back.pull} removes it, and the policy grants it all the same"
    again = back.refused + timedelta(days=KEPT_DAYS)
    return (
        f"it was removed by #{back.pull} and denied on {back.refused}: it is not removed again"
        f" before {again}"
    )


def history_state(
    memory: UsageHistory, left_out: int = 0, today: date | None = None
) -> HistoryState:
    """The guards' view of a usage history."""
    used_actions = [action for action in memory.used if memory.last_use(action)]
    return HistoryState(
        memory,
        left_out=left_out,
        counterparts=siblings_of(used_actions),
        today=today,
        returned=memory.returned_by_service(),
    )


def before_evidence(recollection: HistoryState, first: datetime | None) -> HistoryState:
    """Removes usage since `first`, where the evidence begins: a run that is left out must not
    influence the history.
    """
    memory = recollection.memory
    if memory is None or first is None:
        return recollection
    day = first.astimezone(UTC).date()
    earlier_use: dict[str, dict[str, ActionUse]] = {}
    for action, by_resource in memory.used.items():
        for resource, use in by_resource.items():
            if use.last < day:
                earlier_use.setdefault(action, {})[resource] = use
    return history_state(replace(memory, used=earlier_use), today=recollection.today)


def used_elsewhere(
    entry: Entry, patterns: Iterable[str], recollection: HistoryState
) -> GuardResult | None:
    """The guard result for restricting a used action to these patterns if it was used on others
    before the evidence.
    """
    if recollection.memory is None:
        return None
    action = entry.granted[0]
    pattern_texts = tuple(patterns)
    uncovered = {
        resource: use
        for resource, use in recollection.memory.used.get(action, {}).items()
        if recollection.memory.last_use(action, (resource,))
        and not any(resource_covers(pattern, resource) for pattern in pattern_texts)
    }
    if not uncovered:
        return None
    resource = max(uncovered, key=lambda name: (uncovered[name].last, name))
    place_words = "on many resources" if resource == ANYTHING else f"on {resource}"
    return GuardResult(
        "remembered", f"{_use_text(uncovered[resource])} {place_words}, as remembered"
    )


def entry_resources(entry: Entry) -> Sequence[str]:
    """Resource patterns of an entry's statement; `*` for `NotResource`."""
    return entry.statement.resources or (ANYTHING,)


def _use_text(used: ActionUse) -> str:
    runs = f" in at least {plural(used.least_runs, 'run')}" if used.least_runs else ""
    return f"used{runs}, last on {used.last}"


def break_glass_runs(runs: Iterable[Run], patterns: Sequence[str]) -> frozenset[str]:
    """Ids of the runs whose session name matches a shell pattern, ignoring case."""
    lower_patterns = [pattern.lower() for pattern in patterns]
    return frozenset(
        run.id
        for run in runs
        if any(fnmatchcase(run.session.lower(), pattern) for pattern in lower_patterns)
    )


def is_break_glass_use(usage: Usage, break_glass: frozenset[str]) -> bool:
    """Whether only break-glass sessions used it."""
    return bool(usage.runs) and break_glass.issuperset(usage.runs)


def kept(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that the input `keep` names."""
    matching = (
        pattern for pattern in context.options.keep if action_matches(pattern, candidate.action)
    )
    return next((f"`keep` names {pattern}" for pattern in matching), "")


def declined(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps what a person declined: the change of its entry, or the removal of the action, on one
    of its resources.

    A person may have rewritten the entry since: as a part of a declined wildcard of the service or
    of all services, or on a part of all resources.
    """
    declined = context.history.declined
    for change in _removal_ids(candidate) if declined else ():
        if change in declined:
            return f"it was {declined[change].words}"
    return ""


def _removal_ids(candidate: RemovalCandidate) -> list[str]:
    """The ids of the change of the entry and of the removal of the action, and of what includes
    them.
    """
    entry = candidate.entry
    service = candidate.action.partition(":")[0]
    names = dict.fromkeys((entry.pattern, candidate.action, f"{service}:*", "*"))
    resources = dict.fromkeys((*entry.resources, ANYTHING))
    return [change for name in names for change in removal_ids(name, resources)]


def live_differs(candidate: RemovalCandidate, context: GuardContext) -> str:  # noqa: ARG001
    """Keeps all while the role in the account differs from the file: usage had other
    permissions.
    """
    differs = context.evidence.live_role_drift
    return (
        f"{differs}: first deploy the file, or commit the change in the account" if differs else ""
    )


def unread_user(candidate: RemovalCandidate, context: GuardContext) -> str:  # noqa: ARG001
    """Keeps all while the evidence does not show what one of the policy's users did."""
    unread = [user for user in context.evidence.users if user.unread]
    if not unread:
        return ""
    labels = ", ".join(user.label for user in unread)
    return f"what {labels} did is not known ({_as_a_part(unread[0].unread)})"


def _as_a_part(sentence: str) -> str:
    """Returns a sentence as a part of another: without its full stop and its first capital."""
    text = sentence.rstrip(".")
    first, _, words_after = text.partition(" ")
    return f"{first.lower()} {words_after}" if first.istitle() and first.isalpha() else text


def other_users(candidate: RemovalCandidate, context: GuardContext) -> str:  # noqa: ARG001
    """Keeps all while the policy may govern roles that no input names."""
    unnamed = context.evidence.unnamed_users
    if not unnamed:
        return ""
    first = unnamed[0]
    further_users = f", and {plural(len(unnamed) - 1, 'further role')}" if len(unnamed) > 1 else ""
    return (
        f"the policy may govern {first.arn} too ({first.why}){further_users}: add {first.arn} to"
        " role-arn"
        f" or roles, or !{first.arn} if it does not"
    )


# All guards have these parameters.
def unknown_action(candidate: RemovalCandidate, context: GuardContext) -> str:  # noqa: ARG001
    """Keeps an action that the catalogue lacks: its use cannot be ruled out."""
    if candidate.action in candidate.entry.statement.unknown_actions:
        return "only the rendered template knows this action"
    if catalog.spelling(candidate.action) is None:
        prefix = candidate.action.partition(":")[0]
        meant = did_you_mean(
            candidate.action, catalog.actions(prefix) if prefix in catalog.services() else ()
        )
        return f"the catalogue does not know this action{meant}, so its use cannot be ruled out"
    return ""


def minimum_days(candidate: RemovalCandidate, context: GuardContext) -> str:  # noqa: ARG001
    """Keeps all if the evidence spans too few days."""
    evidence = context.evidence
    users = [user for user in evidence.users if not user.unread]
    shortest = min(users, key=lambda user: user.span, default=None)
    days = shortest.span.days if shortest else evidence.span.days
    minimum = context.options.minimum_days
    if days >= minimum:
        return ""
    of_user = f" of {shortest.label}" if shortest else ""
    return f"the evidence{of_user} spans {days} of {minimum} days"


def minimum_runs(candidate: RemovalCandidate, context: GuardContext) -> str:  # noqa: ARG001
    """Keeps all if there are too few runs without a denial."""
    runs = context.separate_runs
    minimum = context.options.minimum_runs
    if runs >= minimum:
        return ""
    of_user = f" of {context.fewest_runs_of}" if context.fewest_runs_of else ""
    return f"the evidence holds {runs} of {minimum} runs{of_user} without a denial"


def minimum_confidence(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps actions of a called service whose runs still show actions that no other run used.

    Of an action that a template declares, its phases show whether a run had the occasion, and no
    estimate.
    """
    service = candidate.action.partition(":")[0]
    confidence = context.confidence.of(candidate.action)
    minimum = context.options.minimum_confidence
    is_judged = service in context.programs and confidence.percent < minimum
    if not is_judged or candidate.action in context.evidence.aws_findings.declared.exercised:
        return ""
    run_words = (
        f"{plural(confidence.runs, 'run')} used `{service}`, {confidence.own} with an action that"
        " no other"
        " used"
    )
    return f"{run_words}: confidence is {confidence.percent} percent of at least {minimum}"


def runs_of_users(evidence: Evidence, without: frozenset[str] = frozenset()) -> dict[str, int]:
    """Returns the number of separate runs of each user of the policy by its label, which is empty
    where the policy has one user.

    A run counts without a denial that needed a permission; runs within an hour may be one deploy.

    Args:
        evidence: What was read of all users.
        without: Ids of runs that do not count.
    """
    working = {run for usage in evidence.usages if usage.is_allowed for run in usage.runs} - without
    runs = [run for run in evidence.runs if not run.denied and run.id in working]
    runs_by_user = {
        user.label: count_separate([run for run in runs if run.id in user.runs])
        for user in evidence.users
        if not user.unread
    }
    return runs_by_user or {"": count_separate(runs)}


def count_separate(runs: Iterable[Run]) -> int:
    """Returns the number of runs, those within an hour of each other as one."""
    starts = sorted(run.first for run in runs)
    return bool(starts) + sum(start - before > RUN_SEPARATION for before, start in pairwise(starts))


def grace_period(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that was added to the policy file recently: its first use may still come."""
    earlier = context.history.earlier
    if earlier is None or _was_allowed(candidate, earlier, context):
        return ""
    days = context.options.grace_days
    return f"it was added to the policy file within the last {days} days"


def _was_allowed(candidate: RemovalCandidate, earlier: Document, context: GuardContext) -> bool:
    """Whether the earlier policy allowed the action on all that its statement grants now."""
    statement = candidate.entry.statement
    action = candidate.action
    before = _comparable(earlier, statement, tuple(context.policies))

    def effect(resource: str) -> str:
        need = Need(Permission(action, resource), Basis.KEPT, "", exact=False)
        return replay_need(need, context.evidence.principal, "", [before])

    if statement.not_resources:
        allowing = statements_allowing([before], action)
        is_alike = any(
            each.not_resources == statement.not_resources and not each.conditions
            for each in allowing
        )
        return effect("*") == "allowed" or (is_alike and effect("*") != "explicitDeny")
    return all(effect(resource) == "allowed" for resource in statement.resources)


@lru_cache(maxsize=256)
def _comparable(
    earlier: Document, statement: Statement, policies: tuple[Document, ...]
) -> Document:
    """Returns the earlier policy without the conditions of the statement, and without each Deny
    that a present policy has too: neither is new.
    """
    present = set[Statement]()
    for document in policies:
        present.update(
            statement.meaning for statement in document.statements if statement.effect == "Deny"
        )
    comparable = []
    for each in earlier.statements:
        if each.effect == "Deny" and each.meaning in present:
            continue
        is_alike = each.effect == "Allow" and set(each.conditions) == set(statement.conditions)
        comparable.append(replace(each, conditions=()) if is_alike else each)
    return Document(
        raw=earlier.raw,
        pointer=earlier.pointer,
        where=earlier.where,
        version=earlier.version,
        statements=tuple(comparable),
        source=earlier.source,
        pseudo_parameters=earlier.pseudo_parameters,
    )


def break_glass(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that break-glass sessions used through this entry."""
    allowed = (use for use in candidate.entry.uses.get(candidate.action, ()) if use.is_allowed)
    times = [use.last_seen for use in allowed if is_break_glass_use(use, context.break_glass_runs)]
    return (
        f"only sessions named in `break-glass` used it, last on {max(times):%Y-%m-%d}"
        if times
        else ""
    )


def unreviewed_use(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that only unreviewed runs used through this entry."""
    usages = candidate.entry.uses.get(candidate.action, ())
    return unreviewed_use_reason(usages, context.evidence, context.options)


def inconclusive(candidate: RemovalCandidate, context: GuardContext) -> str:  # noqa: ARG001
    """Keeps an action whose call through this entry was denied or had no clear result."""
    usages = candidate.entry.uses.get(candidate.action, ())
    outcomes = {usage.outcome for usage in usages}
    if Outcome.DENIED in outcomes:
        return "it was called and denied"
    if doubtful := [usage for usage in usages if usage.doubt]:
        last = max(doubtful, key=lambda usage: usage.last_seen)
        day = f"{last.last_seen:%Y-%m-%d}"
        texts = {
            NO_ANSWER: f"its call on {day} lacks the usual response",
            AGGREGATED: f"a summary of data events has such calls, last on {day}",
            "console": f"a console session of the role called it, last on {day}",
        }
        return texts.get(
            last.doubt, f"a caller of the type {last.doubt} with its ARN called it, last on {day}"
        )
    if Outcome.UNKNOWN in outcomes:
        return "it was called, but the response does not show whether it was allowed"
    return ""


def unexplained_use(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action with a use that no known policy grants, or granted then: its resource may be
    misread.
    """
    if candidate.action in context.unexplained:
        return (
            "it was allowed on a resource that no known policy covers: this grant may be the"
            " used one"
        )
    uses = [usage for usage in context.used.get(candidate.action, ()) if usage.is_allowed]
    own_needs = {usage.need for usage in candidate.entry.uses.get(candidate.action, ())}
    is_explained = all(usage.need in own_needs for usage in uses)
    if (
        context.history.changed
        and not is_explained
        and all(use.last_seen < context.history.changed for use in uses)
    ):
        # The grant may be new: a second run right after a merge must have the same result as the
        # first.
        day = context.history.changed.date().isoformat()
        return (
            f"no use of it is younger than the policy file's last change ({day}): this grant may be"
            " the used one"
        )
    return ""


def unseen_service(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps actions of a service without any call, unless the user drops such services."""
    if not is_of_unseen_service(candidate, context) or allows_dropping_unseen(candidate, context):
        return ""
    prefix = candidate.action.partition(":")[0]
    is_called = any(action.startswith(f"{prefix}:") for action in context.used)
    by_whom = " by a reviewed run" if is_called else ""
    return f"no call of {prefix}{by_whom}; `unseen-services: drop` removes it"


def lifecycle_counterpart(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that updates or deletes what this role creates."""
    is_exercised = candidate.action in context.evidence.aws_findings.declared.exercised
    is_off = is_exercised or context.options.lifecycle is Lifecycle.OFF
    if is_off or dropped_with_service(candidate, context):
        return ""
    counterpart = context.counterparts.get(candidate.action, "")
    if not counterpart:
        partners = context.partners.get(candidate.action, ())
        counterpart = next(iter(partners), "")
    if not counterpart:
        return _of_denied_step(candidate, context)
    return f"lifecycle counterpart of {counterpart}"


def _of_denied_step(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Why the step of a denied and since granted call may need an action next; empty where none
    does.
    """
    resources = entry_resources(candidate.entry)
    for denied_step in context.denied_steps(candidate.action):
        if any(resource_overlaps(denied_step.resource, resource) for resource in resources):
            return f"usual with {denied_step.because}, which a run was denied"
    return ""


GUARDS: Mapping[str, Guard] = {
    "keep": kept,
    "asked-to-keep": asked_to_keep,
    "declined": declined,
    "refused-after-removal": refused_after_removal,
    "unread-user": unread_user,
    "other-users": other_users,
    "live-differs": live_differs,
    "unknown-action": unknown_action,
    UNREVIEWED_USE: unreviewed_use,
    "minimum-days": minimum_days,
    "minimum-runs": minimum_runs,
    "grace-period": grace_period,
    "break-glass": break_glass,
    "gap-in-scope": gap_in_scope,
    "inconclusive": inconclusive,
    "unexplained-use": unexplained_use,
    "rhythm": rhythm,
    "remembered": remembered,
    "last-accessed": last_accessed,
    "shared-policy": shared_policy,
    "access-analyzer": generated_policy,
    "unseen-service": unseen_service,
    "region-not-read": region_not_read,
    "not-recorded": not_recorded,
    "other-resource": other_resource,
    "checked-inside": checked_inside,
    "not-visible": not_visible,
    "sibling": lifecycle_counterpart,
    "declared": declared,
    "minimum-confidence": minimum_confidence,
}
"""In the order in which reports list them."""


def first_guard_result(
    candidate: RemovalCandidate, context: GuardContext, *without: str
) -> GuardResult | None:
    """The first guard, `without` some of them, that holds the removal of this action back, or
    None.
    """
    for name, guard in GUARDS.items():
        if name not in without:
            reason = guard(candidate, context)
            if reason:
                return GuardResult(name, reason)
    return None
