"""Shows deletions that are offered and not written, and what the names of the app do not show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from leastpriv.models import grouped
from leastpriv.permissions.catalog import removal_rank
from leastpriv.policy.document import Document
from leastpriv.proposal.edit_plan import new_statements, statements_text
from leastpriv.proposal.ledger import OfferFact
from leastpriv.proposal.models import BREAKS, Change, Release
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import block, code, prose
from leastpriv.report.phrases import at_most, codes, only_if, plural, section, short_arn

_MOST_SHOWN = 3
"""Deletions by name in the line of the first screen."""
_MOST_LINES = 40
"""Actions in the list of the fold; `proposal.json` has all."""
_LONGEST = 12_000
"""Characters of the statements to copy; more would leave no room for the evidence."""


def offered_line(context: ReportContext) -> str:
    """Returns the line of the first screen on offered deletions; empty without one."""
    facts = _riskiest_first(context)
    if not facts:
        return ""
    by_action = grouped([(fact.action, fact.resource) for fact in facts])
    named = [
        f"{code(action)} on {codes(map(short_arn, resources), 1)}"
        for action, resources in list(by_action.items())[:_MOST_SHOWN]
    ]
    left = len(by_action) - len(named)
    more = f" and {plural(left, 'more action')}" if left else ""
    return (
        f"**Offered: {plural(len(facts), 'deletion')}** of what may live long, not written:"
        f" {', '.join(named)}{more}. `lifecycle: all` writes them."
    )


def offered_section(context: ReportContext) -> Iterator[str]:
    """Yields all offered deletions, with statements to copy."""
    facts = _riskiest_first(context)
    if not facts:
        return
    by_action = grouped([(fact.action, fact) for fact in facts])
    lines = [_offer_line(action, own) for action, own in by_action.items()]
    shown = at_most(lines, _MOST_LINES, "- and {:,} more actions, in `proposal.json`.")
    head = (
        "They delete in copies that live long, in shared state, or by ids that show no copy."
        " `lifecycle: all` writes all of them"
    )
    title = f"Offered: {plural(len(facts), 'deletion')}"
    if context.is_long_draft:
        end = f"{head}; `proposal.json` has the list (`offered`), and statements to copy."
        yield from section(title, [end])
        return
    head += "; by hand:"
    text = _statements_text(context.proposal.committed, offered_statements(context))
    language = context.proposal.committed.source.format if context.proposal.committed else "json"
    copied = block(text, language)
    if len(copied) > _LONGEST:
        copied = (
            "The statements are too long for this page: `offered_statements` in `proposal.json`."
        )
    yield from section(title, [*shown, "", head, "", copied])


def _offer_line(action: str, facts: Sequence[OfferFact]) -> str:
    change = facts[0].change
    because = f" (life cycle of {code(change.because)})" if change.because else ""
    on = codes((fact.resource for fact in facts), 4)
    return f"- {code(action)} on {on}{only_if(change.conditions)}{because}"


def offered_statements(context: ReportContext) -> list[dict[str, object]]:
    """Returns the offered deletions as statements to copy."""
    changes = [
        Change(
            kind=fact.change.kind,
            action=fact.action,
            resources=(fact.resource,),
            conditions=fact.change.conditions,
        )
        for fact in _riskiest_first(context)
    ]
    committed = context.proposal.committed
    taken = [each.sid for each in committed.statements] if committed else []
    return [dict(statement) for statement in new_statements(changes, taken)]


def _statements_text(committed: Document | None, statements: Sequence[dict[str, object]]) -> str:
    if committed is not None:
        return statements_text(committed, statements)
    return "".join(f"{json.dumps(each, indent=2, ensure_ascii=False)}\n" for each in statements)


def _riskiest_first(context: ReportContext) -> list[OfferFact]:
    return sorted(
        context.ledger.offered, key=lambda fact: (removal_rank(fact.action), fact.resource)
    )


def not_on(change: Change, most: int = 2) -> str:
    """Returns what a Deny next to an addition leaves out, as it follows a resource; empty without
    one.
    """
    if not change.denied_on:
        return ""
    return f", not on {codes(map(short_arn, change.denied_on), most)} (a Deny next to it)"


def first_notes(context: ReportContext) -> list[str]:
    """Returns the findings on names for the first screen: which written names break, and of a first
    draft which copies it does not cover.
    """
    is_draft = context.proposal.committed is None
    notes = context.proposal.notes if context.proposal.changes else ()
    return [_note(each) for each in notes if is_draft or each.startswith(BREAKS)]


def other_notes(context: ReportContext) -> list[str]:
    """Returns the findings on names that the first screen leaves out."""
    shown = first_notes(context)
    notes = context.proposal.notes if context.proposal.changes else ()
    return [note for note in map(_note, notes) if note not in shown]


def _note(text: str) -> str:
    begin, _, rest = text.partition(": ")
    return f"**{begin}:** {prose(rest)}."


def releases_line(context: ReportContext) -> str:
    """Returns which values of inputs would release what they hold back; empty where none would."""
    if not context.proposal.releases:
        return ""
    first, *others = map(_release, context.proposal.releases)
    more = "".join(f"; {each}" for each in others)
    return f"**Held back by inputs:** {first}{more}."


def _release(release: Release) -> str:
    settings = [code(f"{name}: {value}") for name, value in release.settings.items()]
    parts = [plural(release.removals, "removal")] if release.removals else []
    if release.narrowings:
        parts.append(plural(release.narrowings, "narrowing"))
    verb = "releases" if len(settings) == 1 else "release"
    return f"{' with '.join(settings)} {verb} {' and '.join(parts)}"
