"""`resources: keep`: an addition takes the form in which the committed policy already writes such a resource."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from leastpriv.permissions.generalise import Pattern
from leastpriv.permissions.patterns import has_variable, resource_covers
from leastpriv.permissions.resource_types import fits
from leastpriv.permissions.volatility import Opening
from leastpriv.policy.document import Statement


def in_committed_form(action: str, patterns: Iterable[Pattern], statements: Sequence[Statement]) -> tuple[Pattern, ...]:
    """Each pattern as a committed statement about the same service writes it; as it is where none covers it.

    `b/*` stands in place of `b/app.zip` where the policy grants other actions on `b/*`. Of several entries the
    narrowest counts, never `*`. Entries that became equal are one pattern.
    """
    forms = _forms(action, statements)
    found: dict[str, Pattern] = {}
    for pattern in patterns:
        covering = [form for form in forms if resource_covers(form, pattern.pattern) and fits(action, form)]
        form = next((form for form in covering if all(resource_covers(other, form) for other in covering)), "")
        if form and form != pattern.pattern:
            sid = forms[form]
            opening = Opening("resource", f"the committed statement {sid or 'without a Sid'} writes it so")
            pattern = replace(pattern, pattern=form, openings=(opening,))
        known = found.get(pattern.pattern)
        found[pattern.pattern] = _joined(known, pattern) if known else pattern
    return tuple(found.values())


def _forms(action: str, statements: Sequence[Statement]) -> dict[str, str]:
    """Resource entries of the Allow statements that grant actions of the same service -> Sid."""
    prefix = action.partition(":")[0].lower()
    return {
        entry: statement.sid
        for statement in statements
        if statement.effect == "Allow" and any(each.lower().startswith(f"{prefix}:") for each in statement.actions)
        for entry in statement.resources
        if entry.strip("*") and not has_variable(entry)
    }


def _joined(one: Pattern, other: Pattern) -> Pattern:
    covers = tuple(sorted({*one.covers, *other.covers}))
    return replace(one, covers=covers, openings=tuple(dict.fromkeys((*one.openings, *other.openings))))
