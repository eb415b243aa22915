"""The tables of a review: what an edit takes away and gives, each entry with its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv.models import Usage, grouped
from leastpriv.permissions.catalog import removal_rank
from leastpriv.proposal.review_models import Addition, Removal, asks_for_grant
from leastpriv.report.context import ReviewContext
from leastpriv.report.escape import code, prose
from leastpriv.report.phrases import codes, guard_words, last_run_page, plural, short_arn, times
from leastpriv.report.screen_models import NOTHING, Column, Table, TableRow

_MOST_ROWS = 10
_MOST_NAMES = 3
_EDIT_COLUMNS = (
    Column("Edit", longest=30),
    Column("On", longest=25),
    Column("Evidence", longest=14),
    Column("Effect", longest=14),
)
_SECURITY_COLUMNS = (
    Column("Action", longest=25),
    Column("Resource", longest=25),
    Column("Why", longest=30),
)


def edit_table(context: ReviewContext) -> Table | None:
    """Returns a row for each entry that an edit removes or adds, what breaks a deploy first."""
    rows = [
        *(row for removal in context.review.removals for row in _lost_rows(removal, context)),
        *(row for removal in context.review.removals for row in _doubtful_rows(removal, context)),
        *(row for addition in context.review.additions for row in _added_rows(addition, context)),
        *(row for removal in context.review.removals for row in _unused_rows(removal)),
    ]
    if not rows:
        return None
    rows_left = len(rows) - _MOST_ROWS
    note = f"{plural(rows_left, 'more row')} are in *Changes*." if rows_left > 0 else ""
    return Table.of(_EDIT_COLUMNS, rows[:_MOST_ROWS], note)


def _lost_rows(removal: Removal, context: ReviewContext) -> Iterator[TableRow]:
    for action, usages in removal.lost.items():
        verb = "narrows" if action in removal.edit.partly else "removes"
        call_words = _calls("used", usages, context)
        yield TableRow((f"{verb} {code(action)}", _on(removal.edit.on), call_words, "**denied**"))


def _doubtful_rows(removal: Removal, context: ReviewContext) -> Iterator[TableRow]:
    for action, usages in removal.doubtful.items():
        verb = "narrows" if action in removal.edit.partly else "removes"
        call_words = _calls("used", usages, context)
        yield TableRow(
            (f"{verb} {code(action)}", _on(removal.edit.on), call_words, "may be denied")
        )


def _unused_rows(removal: Removal) -> Iterator[TableRow]:
    """Yields the row of the removed actions without a recorded use, with the guards that object."""
    edit = removal.edit
    used_actions = {*removal.lost, *removal.doubtful}
    unused = sorted(
        (action for action in edit.actions if action not in used_actions), key=removal_rank
    )
    if not unused and edit.actions:
        return
    names = codes(unused, _MOST_NAMES) if unused else code(edit.entry)
    guards = {
        guard_words(guard_result.guard)
        for guard_result, actions in removal.unseen.items()
        if not used_actions.issuperset(actions)
    }
    effect = f"not known: {', '.join(sorted(guards)[:2])}" if guards else "allows less"
    yield TableRow((f"removes {names}", _on(edit.on), "no recorded use", effect))


def _added_rows(addition: Addition, context: ReviewContext) -> Iterator[TableRow]:
    """Yields a row of the added actions with evidence, and one of those without."""
    edit = addition.edit
    verb = "widens" if edit.partly and not edit.only else "adds"
    proven = [action for action in edit.actions if action not in addition.unproven]
    if proven:
        usages = [usage for action in proven for usage in addition.asked.get(action, ())]
        asking = [usage for usage in usages if asks_for_grant(usage)]
        evidence = _calls("denied or used", asking, context) if asking else "declared"
        yield TableRow(
            (
                f"{verb} {codes(proven, _MOST_NAMES)}",
                _on(edit.on),
                evidence,
                "allows what was needed",
            )
        )
    if addition.unproven:
        names = codes(addition.unproven, _MOST_NAMES)
        yield TableRow((f"{verb} {names}", _on(edit.on), "none", "**new access**"))
    if not edit.actions:
        effect = "what AWS will add"
        yield TableRow((f"{verb} {code(edit.entry)}", _on(edit.on), "none", effect))


def edits_to_review(context: ReviewContext) -> Table | None:
    """Returns the sensitive additions of an edit, with the reason of each."""
    edits = [
        (reason, (addition, action))
        for addition in context.review.additions
        for kind in (addition.forbidden, addition.sensitive)
        for reason, actions in kind.items()
        for action in actions
    ]
    if not edits:
        return None
    rows = []
    for reason, pairs in grouped(edits).items():
        is_forbidden = any(reason in addition.forbidden for addition, _ in pairs)
        never = "**no proposal would write it:** " if is_forbidden else ""
        resources = dict.fromkeys(name for addition, _ in pairs for name in addition.edit.on)
        actions = dict.fromkeys(action for _, action in pairs)
        rows.append(TableRow((codes(actions, 4), _on(list(resources)), f"{never}{prose(reason)}")))
    return Table.of(_SECURITY_COLUMNS, rows[:_MOST_ROWS])


def _on(resources: Sequence[str]) -> str:
    return codes(map(short_arn, resources), 2) or NOTHING


def _calls(verb: str, usages: Sequence[Usage], context: ReviewContext) -> str:
    """Returns the number of calls, linked to the last run."""
    text = f"{verb} {times(usages, context.evidence)}"
    page = last_run_page(usages, context.evidence, context.run_url)
    return f"[{text}]({page})" if page else text
