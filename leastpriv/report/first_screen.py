"""The first screen of every result: safe to merge or not and why, what changes, and what remains
too wide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from leastpriv.models import Basis, ChangeKind, grouped
from leastpriv.permissions import catalog
from leastpriv.permissions.catalog import removal_rank, sensitivity
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.generalize import deletes
from leastpriv.permissions.patterns import has_wildcard
from leastpriv.permissions.volatility import is_whole_type
from leastpriv.proposal.addition_rules import OFFERED
from leastpriv.proposal.additions import unmet_reason
from leastpriv.proposal.models import Change
from leastpriv.proposal.origins import has_unknown_origin
from leastpriv.proposal.wildcards import LIFECYCLE
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code, prose
from leastpriv.report.evidence_limits import not_added_title, was_denied
from leastpriv.report.phrases import (
    basis_usages,
    codes,
    denied_by_text,
    guard_row,
    joined,
    links_of_runs,
    plural,
    share,
    successful_runs,
)
from leastpriv.report.unreviewed_runs import unreviewed_line
from leastpriv.report.verdict import MOST_SHOWN, escalation_line, verdict

_FEW_RUNS = 5
_MOST_NAMED = 8
"""Kept actions by name; more are counted by entry."""
_MOST_RESOURCES = 2
_MOST_SERVICES = 12


def first_screen(context: ReportContext) -> list[str]:
    """Returns the lines of the first screen of a proposal, in Markdown with all names escaped.

    The first is the answer to "Safe to merge?" with its reason. Chance, replay and limits follow,
    then additions, removals and narrowings, then what remains granted without use, and what an
    attacker could do with it.
    """
    replaced = (
        f"**Replaces** {codes(context.replaced)}: detach it after the merge; until then it denies"
        " no call."
    )
    changes = (
        _adds(context),
        _not_added(context),
        _removes(context),
        _narrows(context),
        unreviewed_line(context),
        _too_wide(context),
    )
    lines = [verdict(context), *_reasons(context), replaced if context.replaced else ""]
    return list(filter(None, (*lines, *changes, escalation_line(context))))


def markdown(lines: Sequence[str]) -> str:
    """Returns the lines of a first screen as Markdown: the verdict, then a list."""
    return "\n\n".join([lines[0], "\n".join(f"- {line}" for line in lines[1:])]).strip()


def _reasons(context: ReportContext) -> Iterator[str]:
    proof = context.proof
    if not context.evidence.counts.calls:
        return
    if context.proposal.changes and proof.confidence is not None and proof.confidence.whole.runs:
        yield (
            "**Chance** that the next run needs an action this policy lacks: about"
            f" {share(proof.chance)},"
            f" {'a rough guess ' if proof.chance_runs < _FEW_RUNS else ''}from"
            f" {successful_runs(proof.chance_runs, context.evidence)}."
        )
    replay = proof.replay
    if not replay.recorded:
        yield "**Replay:** no call succeeded, so there is nothing to replay."
        return
    unsure = (
        f", {replay.conditional:,} of them if a condition holds that is not recorded"
        if replay.conditional
        else ""
    )
    allowed = replay.allowed + replay.conditional
    every = "all" if allowed == replay.recorded else f"{allowed:,} of"
    denied = sum(each.count for each in replay.denied)
    rest = (
        f"; the other {denied:,} need permissions that this change does not write" if denied else ""
    )
    free = context.evidence.counts.no_permission if context.proposal.committed is None else 0
    needless = f" ({free:,} {'needs' if free == 1 else 'need'} no permission)" if free else ""
    yield (
        f"**Replay:** {every} {plural(replay.recorded, 'successful call')}"
        f" allowed{needless}{unsure}{rest}."
    )
    limits, unnamed = _limits(context)
    if limits or unnamed:
        shown = limits[: 3 if len(limits) + unnamed > 3 else None]
        others = len(limits) - len(shown) + unnamed
        shown += [plural(others, "further gap")] if others else []
        yield f"**Not known:** {'; '.join(shown)}."


def _limits(context: ReportContext) -> tuple[list[str], int]:
    """What the evidence could not show, a few words each, and how many kinds of gaps have no such
    words.
    """
    limits = []
    if not context.evidence.coverage.data:
        limits.append("the use of objects, items and messages, since no data event was recorded")
    kinds = dict.fromkeys(gap.kind for gap in context.evidence.gaps)
    labels = {row["kind"]: row["on_first_screen"] for row in table("gap_labels", __package__ or "")}
    known = list(filter(None, (labels.get(kind) for kind in kinds)))
    added = context.changes(ChangeKind.ADD)
    is_unknown = any(
        has_unknown_origin(usage, context.evidence) for each in added for usage in each.usages
    )
    if is_unknown or (added and not context.evidence.origins):
        limits.append("from which branch the runs came")
    return limits + known, len(kinds) - len(known)


def _adds(context: ReportContext) -> str:
    added = sorted(context.changes(ChangeKind.ADD), key=lambda change: not change.security)
    if not added:
        return ""
    if context.proposal.committed is None and any(
        change.basis is Basis.DECLARED for change in added
    ):
        return _declared_draft(context)
    if context.proposal.committed is None:
        services = dict.fromkeys(change.action.partition(":")[0] for change in added)
        careful = dict.fromkeys(change.action for change in added if change.security)
        look = f"; for a security review: {codes(careful, MOST_SHOWN)}" if careful else ""
        # An action may have several changes, each with its resources and condition.
        bases = grouped([(change.action, change.basis) for change in added])
        coming = sum({*each} == {Basis.LIFECYCLE} for each in bases.values())
        more = f", {coming:,} of them for the life cycle of what the runs made" if coming else ""
        inferred = sum({*each} == {Basis.INFERRED} for each in bases.values())
        more += f", {inferred:,} of them inferred from recorded calls" if inferred else ""
        names = f": {codes(bases)}" if len(bases) <= MOST_SHOWN else look
        return (
            f"**Grants {plural(len(bases), 'action')}** of"
            f" {plural(len(services), 'service')}{more}{names}."
        )
    shown = [_added(change, context) for change in added[:3]]
    more = f"; and {len(added) - 3:,} more" if len(added) > 3 else ""
    return f"**Adds {len(added):,}:** {'; '.join(shown)}{more}."


def _declared_draft(context: ReportContext) -> str:
    """What a first draft grants that rests on templates or plans."""
    added, declared = context.changes(ChangeKind.ADD), context.evidence.aws_findings.declared
    unseen = {each.action for each in added} - {
        each.action for each in added if each.basis is not Basis.DECLARED
    }
    is_all = len(unseen) == len({each.action for each in added})
    seen = "none of them seen yet" if is_all else f"{len(unseen):,} of them never seen"
    later = {need.permission.action for need in declared.later_needs} - {
        change.action for change in added
    }
    text = (
        f"**Grants {plural(len({change.action for change in added}), 'action')}** from"
        f" {codes(declared.sources, 3)}, {seen} in a run. After the first runs the proposal removes"
        " what they did not use."
    )
    if later:
        further = plural(len(later), "further action")
        text += f" Updates and deletions need {further}; `declared-phases: all` writes them."
    if declared.unread:
        text += f" **Not known:** what {codes(declared.unread, 3)} needs."
    if declared.stateless:
        text += (
            " **Not drafted:** what Terraform's state needs, because the folder of"
            f" {codes(declared.stateless, 3)} has no `.terraform/terraform.tfstate` (`terraform"
            " init` writes it unless the state is local)."
        )
    return text


def _added(change: Change, context: ReportContext) -> str:
    runs = links_of_runs(basis_usages(change), context.evidence, context.run_url, 1)
    how = {
        Basis.DENIED: denied_by_text(change),
        Basis.OBSERVED: "used",
        Basis.INFERRED: "needed by a recorded call",
    }
    review = ", **for a security review**" if change.security else ""
    where = f" in {runs}" if runs else ""
    basis = how.get(change.basis or Basis.OBSERVED, str(change.basis))
    reason = unmet_reason(change)
    review += f": {prose(reason)}" if reason else ""
    return f"{code(change.action)} on {codes(change.resources, 1)} ({basis}{where}{review})"


def _not_added(context: ReportContext) -> str:
    """Names the needs that are not added, by reason; used actions first, since the next run needs
    them.
    """
    groups = grouped(
        [(each.guard_result.guard, each) for each in context.proposal.held_back_additions]
    )
    groups.pop(OFFERED, None)
    if not groups:
        return ""
    parts = []
    for guard, held in sorted(
        groups.items(), key=lambda group: (all(map(was_denied, group[1])), -len(group[1]))
    )[:2]:
        actions = sorted({each.action for each in held}, key=removal_rank)
        last = links_of_runs(
            [usage for each in held for usage in each.usages], context.evidence, context.run_url, 1
        )
        where = f" (last in {last})" if last else ""
        parts.append(f"{codes(actions, 3)}, because {kept_because(guard, 'addition')}{where}")
    more = f"; {plural(len(groups) - 2, 'further reason')}" if len(groups) > 2 else ""
    every = [each for held in groups.values() for each in held]
    return f"**{not_added_title(every)}:** {'; '.join(parts)}{more}."


def _removes(context: ReportContext) -> str:
    entries = context.changes(ChangeKind.REMOVE)
    narrowed = [change for change in context.changes(ChangeKind.NARROW) if not change.restricted_to]
    actions = {action for change in (*entries, *narrowed) for action in change.removed_actions}
    if not actions and not entries:
        return ""
    counted = [plural(len(entries), "unused entry", "unused entries")] if entries else []
    inside = sum(len(change.removed_actions) for change in narrowed)
    counted += [plural(inside, "unused action") + " of wildcards"] if inside else []
    riskiest = sorted(actions, key=removal_rank)[:MOST_SHOWN]
    names = (
        codes(riskiest)
        if len(actions) <= MOST_SHOWN
        else f"the most powerful are {codes(riskiest)}"
    )
    return f"**Removes** {joined(counted)}: {names}."


def _narrows(context: ReportContext) -> str:
    changes = context.changes(ChangeKind.NARROW)
    wildcards = [change for change in changes if not change.restricted_to]
    restricted = [change for change in changes if change.restricted_to]
    parts = []
    if wildcards:
        granted = sum(change.granted for change in wildcards)
        left = granted - sum(len(change.removed_actions) for change in wildcards)
        used = sum(len(change.used) for change in wildcards)
        shown = codes((change.action for change in wildcards), 3)
        parts.append(f"{shown} from {granted:,} to {left:,} actions ({used:,} used)")
    if restricted:
        parts.append(
            f"{plural(len(restricted), 'action')} from `*` to the resources that were used"
        )
    return f"**Narrows** {joined(parts)}." if parts else ""


def _too_wide(context: ReportContext) -> str:
    """What remains granted without use, the largest entry first, and the most frequent reason."""
    if not context.evidence.counts.calls:
        return ""
    if context.proposal.committed is None:
        added = context.changes(ChangeKind.ADD)
        wide = [change.action for change in added if "*" in change.resources]
        free = (each for each in added if not each.conditions and deletes(each.action))
        # Of a type without a name, as Glue's catalog, the account has one resource.
        ends = [
            each.action
            for each in free
            if any(map(is_whole_type, filter(has_wildcard, each.resources)))
        ]
        parts = [f"{codes(wide, 3)} on every resource"] if wide else []
        parts += (
            [f"{codes(ends, 3)} on every resource of a type, since AWS chooses the ids"]
            if ends
            else []
        )
        found = "; ".join(parts) or "nothing; each action has its resources"
        return f"**Still too wide:** {found}." if context.proposal.changes else ""
    kept = grouped(_kept_entries(context))
    later = sum(each.count for each in kept.pop(LIFECYCLE, ()))
    counts = Counter(
        {guard: sum(each.count for each in entries) for guard, entries in kept.items()}
    )
    most = counts.most_common(2)
    parts = [
        f"{count:,} because {kept_because(guard)} ({_examples(kept[guard])})"
        for guard, count in most
    ]
    rest = counts.total() - sum(count for _, count in most)
    parts += [f"{rest:,} for other reasons"] if rest else []
    text = ""
    if len(counts) == 1:
        [guard] = counts
        found = f"because {kept_because(guard)}: {_examples(kept[guard])}"
        text = f"{plural(counts.total(), 'action')} kept without a recorded use, {found}."
    elif parts:
        text = (
            f"{plural(counts.total(), 'action')} kept without a recorded use: {', '.join(parts)}."
        )
    everywhere = dict.fromkeys(held.action for held in context.proposal.held_back_restrictions)
    if everywhere:
        text += f"{' U' if text else 'u'}sed actions on every resource: {codes(everywhere, 3)}."
    coming = (
        f" {later:,} more {'is' if later == 1 else 'are'} kept for later deploys." if later else ""
    )
    return f"**Still too wide:** {text or 'nothing found.'}{coming}"


class _KeptEntry(Struct, frozen=True):
    action: str
    group: str
    """The entry or service that counts it in a long list."""
    resources: tuple[str, ...]
    count: int


def _kept_entries(context: ReportContext) -> Iterator[tuple[str, _KeptEntry]]:
    """Yields each entry with the guard that keeps it."""
    narrowed = context.changes(ChangeKind.NARROW)
    restricted = {
        (each.statement, each.action): each.restricted_to for each in narrowed if each.restricted_to
    }
    for change in narrowed:
        for action, result in (change.kept or {}).items() if not change.restricted_to else ():
            group = change.action if ":" in change.action else action.partition(":")[0]
            on = restricted.get((change.statement, action), change.resources)
            yield result.guard, _KeptEntry(action, group, on, 1)
    size = entry_sizes(context)
    for held in context.proposal.held_back:
        yield (
            held.guard_result.guard,
            _KeptEntry(held.action, held.action, held.resources, size(held.action)),
        )


def _examples(entries: Sequence[_KeptEntry]) -> str:
    """A short list by name, the riskiest first, with resources where few differ; a long one by
    entry with counts.
    """
    total = sum(entry.count for entry in entries)
    if len(entries) == total <= _MOST_NAMED:
        few = len({entry.resources for entry in entries}) <= _MOST_RESOURCES
        riskiest = sorted(entries, key=lambda entry: removal_rank(entry.action))
        shown = (each.resources if few or sensitivity(each.action) else () for each in riskiest)
        by_resources = grouped(zip(shown, (each.action for each in riskiest), strict=True))
        on = {
            each: " on every resource" if "*" in each else f" on {codes(each, 1)}"
            for each in by_resources
            if each
        }
        return ", ".join(
            f"{codes(names)}{on.get(resources, '')}" for resources, names in by_resources.items()
        )
    left: Counter[str] = Counter()
    for entry in entries:
        left[entry.group] += entry.count
    parts = [
        f"{code(group)}{f' {count:,}' if len(left) > 1 < count else ''}"
        for group, count in left.most_common(3)
    ]
    rest = total - sum(count for _, count in left.most_common(3))
    return ", ".join(parts) + (f" and {rest:,} more" if rest else "")


def entry_sizes(context: ReportContext) -> Callable[[str], int]:
    """Returns a function of an entry: how many actions it grants on its resources, at least 1."""
    granted: dict[str, int] = {}
    for entry in context.difference.entries:
        granted[entry.pattern] = max(granted.get(entry.pattern, 0), len(entry.granted))
    return lambda pattern: granted.get(pattern, len(catalog.expand(pattern))) or 1


def kept_because(guard: str, group: str = "removal") -> str:
    """Returns the reason of a guard, or its name, as Markdown that completes "kept because …"."""
    row = guard_row(guard, group)
    return row["reason"] if row else code(guard)


def service_counts(actions: Sequence[str]) -> str:
    """Returns how many of `actions` belong to each service, the largest first: "`s3` 53, `lambda`
    32".
    """
    counts = Counter(action.partition(":")[0] for action in sorted(actions))
    shown = ", ".join(
        f"{code(service)} {count:,}" for service, count in counts.most_common(_MOST_SERVICES)
    )
    more = len(counts) - _MOST_SERVICES
    return f"{shown} and {more:,} more services" if more > 0 else shown
