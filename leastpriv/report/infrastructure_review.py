"""The part of a review about the infrastructure: what its change needs, what the role lacks, what was ever used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv.models import Need
from leastpriv.permissions.catalog import sensitivity
from leastpriv.policy.hcl_text import new_statements_hcl
from leastpriv.policy.source import Location
from leastpriv.proposal.preflight import Covered, Preflight, Withdrawn, as_text
from leastpriv.report.context import ReviewContext
from leastpriv.report.phrases import (
    block,
    code,
    codes,
    day,
    fold,
    joined,
    latest_use,
    name,
    only_if,
    path_name,
    plural,
    prose,
    times,
)

_MOST_ROWS = 40
_MOST_NAMED = 6


def preflight_title(context: ReviewContext) -> Iterator[str]:
    """The part of the title; nothing without a template or plan."""
    found = context.preflight
    if found and found.withdrawn:
        yield f"removes {plural(len(_withdrawn_actions(found)), 'permission')} that {_declared_in(found)} still needs"
    if found and found.missing:
        yield f"this change needs {plural(len(found.missing_actions), 'permission')} that {name(context.role)} lacks"
    elif found and not found.withdrawn:
        known = " of its known types" if found.change.unread else ""
        yield f"the role has the permissions that this change{known} needs"
    elif context.declared_in:
        yield "the infrastructure does not change"


def preflight_answer(context: ReviewContext) -> tuple[str, str] | None:
    """The answer to "Safe to merge?" for the change of the infrastructure, with the reason; None without a change."""
    found = context.preflight
    if found is None:
        return None
    sources = codes(found.change.sources, 3)
    role = code(context.role)
    gone = _withdrawal(found) if found.withdrawn else ""
    if gone and not found.missing:
        return "Not known" if all(each.is_open for each in found.withdrawn) else "No", gone
    if not found.missing:
        covered = {each.need.permission.action for each in found.covered}
        seen = {each.need.permission.action for each in found.covered if each.usages}
        return "Probably" if found.change.unread else "Yes", (
            f"{role} has the permissions that this change of {sources} needs: {plural(len(covered), 'permission')}, "
            f"{len(seen):,} of them in use."
        )
    actions, sensitive = found.missing_actions, found.sensitive_actions
    more = f", and {len(actions) - _MOST_NAMED:,} more" if len(actions) > _MOST_NAMED else ""
    several = len(actions) > 1
    them = "them" if several else "it"
    reads = f", {len(found.missing_reads):,} of them reads," if several and found.missing_reads else ""
    careful = "" if not sensitive else f", {len(sensitive):,} of them sensitive" if several else ", a sensitive one"
    return "No", (
        f"{gone} This change needs {plural(len(actions), 'permission')}{reads} that {role} lacks: "
        f"{codes(actions[:_MOST_NAMED])}{more}{careful}. Without {them} its deployment or its rollback may fail. "
        f"{sources} declares {them}; no run used {them} yet, and this comment adds no permission."
    ).lstrip()


def _withdrawn_actions(found: Preflight) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.need.permission.action for each in found.withdrawn))


def _declared_in(found: Preflight, source: str = "") -> str:
    """`the template app.yaml`; all declarations of a change for a need of a resource that it deletes."""
    sources = (source,) if source else found.change.sources
    noun = "plan" if set(sources) <= set(found.change.plans) else "template"
    return f"the {noun}{'s' if len(sources) > 1 else ''} {codes(sources, 3)}"


def _withdrawal(found: Preflight) -> str:
    """The sentence about what the edit takes away, whole where it is one permission."""
    actions, rows = _withdrawn_actions(found), [*withdrawn_rows(found)]
    without = f"Without {'it' if len(actions) == 1 else 'them'} a later deployment may fail."
    if len(rows) == 1:
        return f"T{rows[0][1:]}. {without}"
    sources = {each.source for each in found.withdrawn}
    source = _declared_in(found, sources.pop() if len(sources) == 1 else "")
    more = f", and {len(actions) - _MOST_NAMED:,} more" if len(actions) > _MOST_NAMED else ""
    gone = f"{plural(len(actions), 'permission')} that this pull request removes"
    return f"T{source[1:]} still needs {gone}: {codes(actions[:_MOST_NAMED])}{more}. {without}"


def withdrawn_rows(found: Preflight) -> Iterator[str]:
    """Yields a sentence for the needs of one resource in one phase that an edit takes away in one way."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for each in found.withdrawn:
        on = f"{code(each.need.permission.resource)}{only_if(each.need.permission.conditions)}"
        because = each.need.because.replace(" (", ", ").replace(")", "")
        row = (_declared_in(found, each.source), f"{on} ({prose(because)})", _how(each))
        rows.setdefault(row, []).append(each.need.permission.action)
    for (source, on, how), actions in rows.items():
        them = "it" if len(actions) == 1 else "them"
        yield f"{source} still needs {codes(actions, len(actions))} on {on}: this pull request removes {them}{how}"


def _how(each: Withdrawn) -> str:
    """What the edit leaves of a permission."""
    if each.conditions:
        shown = joined([code(f"{one.operator} {one.key}: {', '.join(one.values)}") for one in each.conditions])
        return f" by a Deny if {shown}" if each.denied else f" unless {shown}"
    if each.denied:
        return " by a Deny"
    return f", and leaves {codes(each.left, 3)}" if each.left else ""


def preflight_sections(context: ReviewContext) -> Iterator[str]:
    """The missing permissions, the statements to paste, and the permissions that the role has, a fold each."""
    found = context.preflight
    if found is None:
        return
    if found.withdrawn:
        rows = [f"- {row}." for row in withdrawn_rows(found)]
        rows[_MOST_ROWS:] = [f"- and {len(rows) - _MOST_ROWS:,} more."] if len(rows) > _MOST_ROWS else []
        title = f"Still needed: {plural(len(_withdrawn_actions(found)), 'removed permission')}"
        yield from fold(title, ["\n".join(rows)])
    if found.missing:
        yield from fold(f"Missing: {plural(len(found.missing_actions), 'permission')}", [_missing(found)])
    if found.statements:
        place = Location.of(context.policy_file)
        if place.path.endswith(".tf"):
            text = new_statements_hcl(found.statements, as_blocks=place.pointer.startswith("data."))
            statements = block(text, "hcl")
        else:
            language = "yaml" if place.path.endswith((".yaml", ".yml")) else "json"
            statements = block(as_text(found.statements, language, found.indent), language)
        yield from fold(f"To copy into the statements of {path_name(context.policy_file)}", [statements])
    if found.covered:
        yield _covered(context, found.covered)


def _missing(found: Preflight) -> str:
    """One row for the actions that one resource needs in one phase, on one ARN."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for need in found.missing:
        on = f"{code(need.permission.resource)}{only_if(need.permission.conditions)}"
        row = (on, prose(need.because), _warning(need, found))
        rows.setdefault(row, []).append(need.permission.action)
    lines = [
        f"| {codes(actions, len(actions))} | {on} | {because} | {note} |"
        for (on, because, note), actions in list(rows.items())[:_MOST_ROWS]
    ]
    if len(rows) > _MOST_ROWS:
        lines.append(f"| and {len(rows) - _MOST_ROWS:,} more, in the job summary | | | |")
    return "| Actions | On | For | Note |\n| --- | --- | --- | --- |\n" + "\n".join(lines)


def _warning(need: Need, found: Preflight) -> str:
    result = found.never_written.get(need)
    if result:
        return f"**not in the statements**: {prose(result.reason)}"
    reason = sensitivity(need.permission.action)
    return f"**sensitive**: {prose(reason)}" if reason else ""


def _covered(context: ReviewContext, covered: Sequence[Covered]) -> str:
    """The permissions that the policies allow: those in use with their count, those never seen by name."""
    seen: dict[str, Covered] = {}
    never: dict[str, None] = {}
    for each in covered:
        if each.usages:
            seen.setdefault(each.need.permission.action, each)
        else:
            never[each.need.permission.action] = None
    lines = [
        f"- {code(action)}: seen {times(each.usages, context.evidence)}, last on {day(latest_use(each.usages))}"
        for action, each in list(seen.items())[:_MOST_ROWS]
    ]
    left = [action for action in never if action not in seen]
    if left:
        lines.append(f"- never seen: {codes(left, 20)}")
    [text] = fold(f"Granted already: {plural(len({*seen, *never}), 'permission')}", ["\n".join(lines)])
    return text
