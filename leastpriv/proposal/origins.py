"""What follows from the origin of a run: one table for additions, removals, thresholds and names.

Runs that no one reviewed keep the permissions that they use, and decide nothing else. Preview
deployments of branches and pull requests are legitimate use; a pull request's code is not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.evidence.models import CallGroup, Evidence
from leastpriv.models import ChangeKind, Origin, Usage, grouped, usages_by_action
from leastpriv.permissions.catalog import sensitivity
from leastpriv.proposal.models import Change, GuardResult, Options, UnknownRefs

UNTRUSTED_REF = "untrusted-ref"
"""Guard of an addition that only unreviewed runs need."""
UNKNOWN_REF = "unknown-ref"
"""Guard of an addition of runs whose ref is not known (input `unknown-refs`)."""
UNREVIEWED_USE = "unreviewed-use"
"""Guard of a removal or of a name that only unreviewed runs speak for."""
_BRANCH_UNKNOWN = "branch unknown"
_MOST_PLACES = 3


class Adds(StrEnum):
    """Whether a run may add a permission."""

    YES = "yes"
    NO = "no"
    BY_INPUT = "as the input `unknown-refs` says"


class OriginRule(Struct, frozen=True):
    """What a run of one origin decides."""

    counts: bool
    """It counts for `minimum-runs`, confidence, rhythm and the proof of a name pattern."""
    decides_use: bool
    """Its use alone makes an action a used one; else the guard `unreviewed-use` keeps the action.
    """
    names_sensitive: bool
    """Its names enter a narrowed resource of a sensitive action; of others they always do."""
    adds: Adds
    mark: str
    """What a reviewer reads of a use that only such runs made; empty for reviewed runs."""


ORIGIN_RULES: Mapping[Origin, OriginRule] = {
    Origin.REVIEWED: OriginRule(
        counts=True, decides_use=True, names_sensitive=True, adds=Adds.YES, mark=""
    ),
    Origin.UNREVIEWED: OriginRule(
        counts=False,
        decides_use=False,
        names_sensitive=False,
        adds=Adds.NO,
        mark="only by unreviewed runs",
    ),
    Origin.UNKNOWN: OriginRule(
        counts=True,
        decides_use=True,
        names_sensitive=True,
        adds=Adds.BY_INPUT,
        mark=_BRANCH_UNKNOWN,
    ),
}
"""The only table of what follows from the origin of a run."""


def rule_of(usage: Usage, evidence: Evidence) -> OriginRule:
    """Returns the rule of the best origin of a usage's runs."""
    return ORIGIN_RULES[evidence.origin_of(usage)]


def uncounted_runs(evidence: Evidence) -> frozenset[str]:
    """Returns the ids of the runs that count for no threshold."""
    return frozenset(
        run for run, origin in evidence.origins.items() if not ORIGIN_RULES[origin.origin].counts
    )


def is_unreviewed_use(usage: Usage, evidence: Evidence) -> bool:
    """Whether only unreviewed runs made a usage."""
    return not rule_of(usage, evidence).decides_use


def names_resource(usage: Usage, action: str, evidence: Evidence) -> bool:
    """Whether the resource of a usage may enter a narrowed resource of an action."""
    rule = rule_of(usage, evidence)
    return rule.names_sensitive or not sensitivity(action)


def without_unreviewed(evidence: Evidence) -> Evidence:
    """Returns the evidence without what only unreviewed runs used: it makes no name known."""
    reviewed = tuple(usage for usage in evidence.usages if not is_unreviewed_use(usage, evidence))
    return replace(evidence, usages=reviewed)


def unreviewed_use_reason(usages: Sequence[Usage], evidence: Evidence, options: Options) -> str:
    """Why an action is kept that only unreviewed runs used; empty where another run used it, or
    where `unknown-refs: refuse` lets a sensitive action go.
    """
    allowed = [usage for usage in usages if usage.is_allowed]
    if not allowed or not all(is_unreviewed_use(usage, evidence) for usage in allowed):
        return ""
    if any(is_refused_use(usage, evidence, options) for usage in allowed):
        return ""
    last = max(usage.last_seen for usage in allowed)
    return f"only unreviewed runs used it, last on {last:%Y-%m-%d} ({_places(allowed, evidence)})"


class UnreviewedUse(Struct, frozen=True):
    """An action that only unreviewed runs used."""

    action: str
    usages: tuple[Usage, ...]
    security: str
    """Why a security reviewer should look; empty where the action is not sensitive."""
    where: str
    """The refs of the runs, in words."""

    @property
    def resources(self) -> tuple[str, ...]:
        """The resources on which the runs used it."""
        return tuple(dict.fromkeys(usage.resource for usage in self.usages))


def unreviewed_uses(evidence: Evidence) -> tuple[UnreviewedUse, ...]:
    """Returns the actions that only unreviewed runs used, the sensitive ones first."""
    uses: list[UnreviewedUse] = []
    for action, usages in usages_by_action(evidence.allowed_usages).items():
        if all(is_unreviewed_use(usage, evidence) for usage in usages):
            place_words = _places(usages, evidence)
            uses.append(UnreviewedUse(action, tuple(usages), sensitivity(action), place_words))
    return tuple(sorted(uses, key=lambda use: (not use.security, use.action)))


def is_refused_use(usage: Usage, evidence: Evidence, options: Options) -> bool:
    """Whether a usage blocks no removal: sensitive, of unreviewed runs alone, and `unknown-refs` is
    `refuse`.
    """
    return (
        options.unknown_refs is UnknownRefs.REFUSE
        and is_unreviewed_use(usage, evidence)
        and bool(sensitivity(usage.action))
    )


def is_sensitive_call_of_unreviewed(group: CallGroup, evidence: Evidence) -> bool:
    """Whether only unreviewed runs made some calls, and they need a sensitive action."""
    origins = {evidence.origin_of_run(run) for run in group.runs}
    is_unreviewed = bool(origins) and not any(
        ORIGIN_RULES[origin].decides_use for origin in origins
    )
    return is_unreviewed and any(sensitivity(need.permission.action) for need in group.needs)


def addition_by_origin(usage: Usage, evidence: Evidence, options: Options) -> GuardResult | None:
    """Returns why the origin of the runs that need an addition forbids it, else None."""
    rule = rule_of(usage, evidence)
    if rule.adds is Adds.YES:
        return None
    if rule.adds is Adds.NO or _may_be_unreviewed(usage, evidence):
        reason = f"only these runs need it: {_places((usage,), evidence)}"
        return GuardResult(UNTRUSTED_REF, reason)
    return _by_input(usage, evidence, options)


def _by_input(usage: Usage, evidence: Evidence, options: Options) -> GuardResult | None:
    """Returns why the input `unknown-refs` forbids an addition whose runs have no known ref."""
    reason = sensitivity(usage.action)
    refuses_all = options.unknown_refs is UnknownRefs.REFUSE
    refuses_sensitive = (
        options.unknown_refs is UnknownRefs.REFUSE_SENSITIVE
        and bool(reason)
        and knows_origins(evidence)
    )
    if not (refuses_all or refuses_sensitive):
        return None
    place_words = _places((usage,), evidence)
    where = "no known run needs it"
    if place_words:
        where = f"only runs without a known branch need it: {place_words}"
    return GuardResult(UNKNOWN_REF, where if refuses_all else f"{reason}; {where}")


def _may_be_unreviewed(usage: Usage, evidence: Evidence) -> bool:
    """Whether a usage without a reviewed run has an unreviewed one, or one past the limit of
    questions, where a repository can distinguish them.
    """
    origins = [evidence.origins[run] for run in usage.runs if run in evidence.origins]
    if any(not origin.is_asked for origin in origins):
        return True
    has_unreviewed = any(origin.origin is Origin.UNREVIEWED for origin in origins)
    return has_unreviewed and knows_origins(evidence)


def _places(usages: Sequence[Usage], evidence: Evidence) -> str:
    """Names the refs of the runs behind some usages."""
    runs = (run for usage in usages for run in reversed(usage.runs))
    origins = (evidence.origins.get(run) for run in runs)
    places = [*dict.fromkeys(origin.where for origin in origins if origin and origin.where)]
    words = ", ".join(places[:_MOST_PLACES])
    further = len(places) - _MOST_PLACES
    return f"{words} and {further} more" if further > 0 else words


def knows_origins(evidence: Evidence) -> bool:
    """Whether a repository or `reviewed-refs` can distinguish a reviewed run from another one.

    A login of a pull request is known without them; it shows nothing about the other runs.
    """
    return any(
        origin.origin is not Origin.UNREVIEWED and origin.where
        for origin in evidence.origins.values()
    )


def proved_runs(evidence: Evidence) -> frozenset[str] | None:
    """Returns the runs whose created resources may widen a pattern; None if no origin is known.

    They are the proved ones; where no run is proved, all without unreviewed code, whose additions
    are marked.
    """
    if not evidence.origins:
        return None
    runs = {run.id for run in (*evidence.runs, *evidence.logged_runs)} | {*evidence.origins}
    proved = {
        run
        for run, origin in evidence.origins.items()
        if origin.origin is Origin.REVIEWED and not origin.mark
    }
    return frozenset(proved or runs - uncounted_runs(evidence))


def has_unknown_origin(usage: Usage, evidence: Evidence) -> bool:
    """Whether no run of a usage is known to come from reviewed code."""
    return evidence.origin_of(usage) is not Origin.REVIEWED


def origin_mark(usage: Usage, evidence: Evidence) -> str:
    """Returns what a reviewer must know of the runs behind a usage; empty if one of them is proved
    to be reviewed code.
    """
    origin = evidence.origin_of(usage)
    if origin is not Origin.REVIEWED:
        return ORIGIN_RULES[origin].mark
    origins = (evidence.origins.get(run) for run in usage.runs)
    return min(
        run_origin.mark
        for run_origin in origins
        if run_origin and run_origin.origin is Origin.REVIEWED
    )


def change_marks(change: Change, evidence: Evidence) -> Mapping[str, tuple[str, ...]]:
    """Returns the marks of a change: of an addition all of them, of a narrowing those of resources
    that no reviewed run used.
    """
    if change.kind is ChangeKind.ADD:
        return origin_marks(change.usages, evidence)
    if not (change.restricted_to and evidence.origins):
        return {}
    return _marks_of_names(change.usages, evidence)


def _marks_of_names(usages: Sequence[Usage], evidence: Evidence) -> Mapping[str, tuple[str, ...]]:
    """Returns the marks of a narrowing by all runs that an allowed call shows on a resource."""
    allowed = [usage for usage in usages if usage.is_allowed]
    by_resource = grouped([(usage.resource, usage) for usage in allowed])
    marked: dict[str, list[str]] = {}
    for resource, used in by_resource.items():
        origins = {evidence.origin_of_run(run) for usage in used for run in usage.runs}
        mark = _mark_of_name(origins or {Origin.UNKNOWN}, evidence)
        if mark:
            marked.setdefault(mark, []).append(resource)
    return {mark: tuple(resources) for mark, resources in marked.items()}


def _mark_of_name(origins: Collection[Origin], evidence: Evidence) -> str:
    """Returns the mark of a name that runs of some origins used; empty where a reviewed one did.

    Where nothing distinguishes reviewed runs, the other ones may be reviewed.
    """
    if Origin.REVIEWED in origins:
        return ""
    if Origin.UNKNOWN in origins and not knows_origins(evidence):
        return ""
    used_by = Origin.UNREVIEWED if Origin.UNREVIEWED in origins else Origin.UNKNOWN
    return ORIGIN_RULES[used_by].mark


def origin_marks(usages: Sequence[Usage], evidence: Evidence) -> Mapping[str, tuple[str, ...]]:
    """Returns the marks of a change, each with the resources that only runs with the mark used;
    none if no origin is known.
    """
    if not evidence.origins:
        return {}
    marked = grouped([(origin_mark(usage, evidence), usage.resource) for usage in usages])
    return {mark: tuple(dict.fromkeys(resources)) for mark, resources in marked.items() if mark}
