"""Shows the offers, and what the names of the app do not show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from leastpriv.models import grouped
from leastpriv.permissions.catalog import removal_rank
from leastpriv.permissions.names.app_names import destroys
from leastpriv.policy.document import Document
from leastpriv.proposal.edit_plan import new_statements, statements_text
from leastpriv.proposal.ledger import OfferFact
from leastpriv.proposal.lifecycle_additions import ends_setting
from leastpriv.proposal.models import BREAKS, Change, Release
from leastpriv.proposal.offers import Reach, reach_of
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import block, code, prose
from leastpriv.report.phrases import (
    at_most,
    codes,
    joined,
    only_if,
    plural,
    section,
    short_arn,
    them,
)

_MOST_SHOWN = 3
"""Actions by name in a line of the first screen."""
_MOST_LINES = 40
"""Lines in the list of the fold; `proposal.json` has all offers."""
_MOST_ACTIONS = 12
"""Actions in a line of the fold."""
_LONGEST = 12_000
"""Characters of the statements to copy; more would leave no room for the evidence."""


def offered_line(context: ReportContext) -> str:
    """Returns the line of the first screen on offered deletions; empty without one."""
    facts = _deletions(context)
    if not facts or context.is_long_draft:
        return ""
    return (
        f"**{_title(facts, context)}:** {plural(len(facts), 'permission')} to delete"
        f" {_what_lives_long(facts)}: {_most_shown(facts)}. {_how_to_take(facts, context)}."
    )


def _title(facts: Sequence[OfferFact], context: ReportContext) -> str:
    """What becomes of some offered deletions in this change."""
    if _are_removed(facts, context):
        return "Removed, since no run used them, and offered"
    return "Offered, not in this change"


def _are_removed(facts: Sequence[OfferFact], context: ReportContext) -> bool:
    """Whether the committed policy grants some offers: a narrowed wildcard loses them."""
    if context.proposal.committed is None:
        return False
    return all(fact.change.because and not fact.change.usual_as for fact in facts)


def _what_lives_long(facts: Sequence[OfferFact]) -> str:
    """What some offered deletions delete; that of a setting is offered in every copy."""
    is_of_setting = [ends_setting(fact.change) for fact in facts]
    if all(is_of_setting):
        return "settings"
    return f"resources that may live long{', or settings' if any(is_of_setting) else ''}"


def counted_offers_line(context: ReportContext) -> str:
    """Returns the line of a long draft on all offers, of which `proposal.json` has the statements;
    empty without one.
    """
    if not context.is_long_draft:
        return ""
    parts = []
    if completing := _completing(context):
        count = plural(len(completing), "permission")
        parts.append(
            f"{count} that usually follow{'s' if len(completing) == 1 else ''} denied calls"
        )
    if deletions := _deletions(context):
        number = len(deletions)
        count = f"{number:,}" if parts else plural(number, "permission")
        parts.append(f"{count} to delete {_what_lives_long(deletions)}")
    if not parts:
        return ""
    return (
        f"**Offered, not in this change:** {' and '.join(parts)}; `proposal.json` has their"
        " statements."
    )


def completing_line(context: ReportContext) -> str:
    """Returns the line of the first screen on what the steps of denied calls usually need
    besides; empty without a permission.
    """
    facts = _completing(context)
    if not facts or context.is_long_draft:
        return ""
    owners = dict.fromkeys(fact.change.because for fact in facts)
    return (
        f"**Offered, not in this change:** {_most_shown(facts)} usually"
        f" follow{'s' if len(facts) == 1 else ''} {codes(owners, _MOST_SHOWN)}."
        f" {_how_to_comment(facts, context)}."
    )


def _most_shown(facts: Sequence[OfferFact]) -> str:
    """The first actions of some offers, those on equal resources together, and how many more there
    are.
    """
    by_action = grouped([(fact.action, fact.resource) for fact in facts])
    shown_pairs = [
        (codes(map(short_arn, resources), 1), action)
        for action, resources in list(by_action.items())[:_MOST_SHOWN]
    ]
    pair_words = [
        f"{codes(actions)} on {resource_words}"
        for resource_words, actions in grouped(shown_pairs).items()
    ]
    actions_left = len(by_action) - len(shown_pairs)
    further_words = f" and {plural(actions_left, 'more action')}" if actions_left else ""
    return f"{', '.join(pair_words)}{further_words}"


_WAYS = {
    Reach.USUAL: "Comment `/leastpriv add ACTION` to take one, or set `complete-additions: write`",
    Reach.DELETION: "`lifecycle: all` adds {them}",
    Reach.WIDE: "Comment `/leastpriv add ACTION` with its whole name to take one",
    Reach.SENSITIVE: "Sensitive actions are added by a person: add {them} by hand",
}
"""What writes offers, those that the most ways write first."""
_WAYS_WITHOUT_COMMENTS = {
    **_WAYS,
    Reach.USUAL: "`complete-additions: write` adds {them}",
    Reach.WIDE: "Add {them} by hand",
}
"""The same for a report, which takes no comment."""
_TO_KEEP = (
    "`lifecycle: all` keeps {them}, a comment `/leastpriv add ACTION` with its whole name one of"
    " them"
)
_TO_KEEP_WITHOUT_COMMENTS = "`lifecycle: all` keeps {them}"
"""What grants the deletions that a narrowed wildcard loses."""


def _how_to_comment(facts: Sequence[OfferFact], context: ReportContext) -> str:
    """Which comment takes some offers, without the full stop; of a report, what writes them."""
    waiting = _waiting(facts, context)
    facts_left = [fact for fact in facts if fact not in waiting]
    reaches = {reach_of(fact.change) for fact in facts_left}
    if not context.is_pull_request or Reach.USUAL not in reaches:
        return _how_to_take(facts, context)
    exceptions = []
    if Reach.WIDE in reaches:
        wide_actions = [fact.action for fact in facts_left if reach_of(fact.change) is Reach.WIDE]
        kinds = _kinds_of_wide(wide_actions, deletion="a deletion", write="a write to any resource")
        exceptions.append(f"{joined(kinds, 'or')} needs its whole name ({code(wide_actions[0])})")
    if Reach.SENSITIVE in reaches:
        exceptions.append("add a sensitive one by hand")
    but = f"; {', and '.join(exceptions)}" if exceptions else ""
    later = f". {_left_for_later(waiting)}" if waiting else ""
    return f"Comment `/leastpriv add ACTION` to take one{but}{later}"


def _kinds_of_wide(actions: Sequence[str], *, deletion: str, write: str) -> Sequence[str]:
    """What some wide actions are, in the words for a deletion and for a write."""
    deletions = [action for action in actions if destroys(action)]
    kinds = [deletion] if deletions else []
    if len(deletions) < len(actions):
        kinds.append(write)
    return kinds


def _waiting(facts: Sequence[OfferFact], context: ReportContext) -> Sequence[OfferFact]:
    return [fact for fact in facts if fact.change in context.proposal.waiting]


def _left_for_later(waiting: Sequence[OfferFact]) -> str:
    return f"Left for later by `max-changes`: {len(waiting)}"


def _how_to_take(facts: Sequence[OfferFact], context: ReportContext) -> str:
    """What writes some offers, without the full stop."""
    waiting = _waiting(facts, context)
    reaches = {reach_of(fact.change) for fact in facts if fact not in waiting}
    sentences = []
    if reaches:
        main, *further_reaches = [reach for reach in _WAYS if reach in reaches]
        ways = _WAYS if context.is_pull_request else _WAYS_WITHOUT_COMMENTS
        way = "by a comment with the whole name" if context.is_pull_request else "by hand"
        if main is Reach.WIDE and not context.is_pull_request:
            # A person adds the sensitive ones in the same way.
            further_reaches = []
        exceptions = ", ".join(_exception(reach, facts, way) for reach in further_reaches)
        text = ways[main]
        if main is Reach.DELETION and _are_removed(facts, context):
            text = _TO_KEEP if context.is_pull_request else _TO_KEEP_WITHOUT_COMMENTS
        text = text.format(them=them(len(facts)))
        sentences.append(f"{text}{f' ({exceptions})' if further_reaches else ''}")
    if waiting:
        sentences.append(_left_for_later(waiting))
    return ". ".join(sentences)


def _exception(reach: Reach, facts: Sequence[OfferFact], way: str) -> str:
    """What a more usual way does not write, and which way does."""
    if reach is Reach.SENSITIVE:
        return "sensitive ones only by hand"
    reached_actions = [fact.action for fact in facts if reach_of(fact.change) is reach]
    kinds = _kinds_of_wide(reached_actions, deletion="deletions", write="writes to any resource")
    return f"{' and '.join(kinds)} only {way}"


def offered_section(context: ReportContext) -> Iterator[str]:
    """Yields all offers, with statements to copy."""
    completing = _completing(context)
    if completing:
        title = f"Offered, not in this change: {plural(len(completing), 'permission')}"
        head = (
            f"The steps that were denied usually need these. {_how_to_take(completing, context)}."
        )
        yield from _offers_section(title, head, completing, context)
    deletions = _deletions(context)
    if deletions:
        count = plural(len(deletions), "permission")
        title = f"{_title(deletions, context)}: {count} to delete {_what_lives_long(deletions)}"
        head = (
            "They delete in copies that live long, in shared state, by ids that show no copy, or"
            " what a call set."
            f" {_how_to_take(deletions, context)}."
        )
        yield from _offers_section(title, head, deletions, context)


def _offers_section(
    title: str, head: str, facts: Sequence[OfferFact], context: ReportContext
) -> Iterator[str]:
    """Yields a section of offered additions, with the statements to add by hand; not in a long
    draft.
    """
    # The first screen counts the offers of a long draft, and `proposal.json` has them.
    if context.is_long_draft:
        return
    lines = [*_offer_lines(facts)]
    shown_lines = at_most(lines, _MOST_LINES, "- and {:,} more lines, in `proposal.json`.")
    text = _statements_text(context.proposal.committed, _statements(facts, context))
    language = context.proposal.committed.source.format if context.proposal.committed else "json"
    copied = block(text, language)
    if len(copied) > _LONGEST:
        copied = (
            "The statements are too long for this page: `offered_statements` in `proposal.json`."
        )
    yield from section(title, [*shown_lines, "", f"{head} By hand:", "", copied])


def _offer_lines(facts: Sequence[OfferFact]) -> Iterator[str]:
    """Yields a line for the offers with equal resources and an equal reason."""
    by_action = grouped(
        [((fact.action, fact.change.conditions, _reason(fact)), fact) for fact in facts]
    )
    lines: dict[tuple[str, str, str], list[str]] = {}
    for (action, conditions, reason), offered_facts in by_action.items():
        resource_words = codes((fact.resource for fact in offered_facts), 4)
        lines.setdefault((resource_words, only_if(conditions), reason), []).append(action)
    for (resource_words, condition, reason), actions in lines.items():
        yield f"- {codes(actions, _MOST_ACTIONS)} on {resource_words}{condition}{reason}"


def _reason(fact: OfferFact) -> str:
    change = fact.change
    careful = f"; sensitive: {prose(change.security)}" if change.security else ""
    if change.usual_as:
        return f" (with {code(change.because)}: {prose(change.usual_as)}){careful}"
    if change.because:
        return f" (life cycle of {code(change.because)}){careful}"
    return careful


def offered_statements(context: ReportContext) -> list[dict[str, object]]:
    """Returns all offers as statements to copy."""
    return _statements([*_completing(context), *_deletions(context)], context)


def _statements(facts: Sequence[OfferFact], context: ReportContext) -> list[dict[str, object]]:
    changes = [
        Change(
            kind=fact.change.kind,
            action=fact.action,
            resources=(fact.resource,),
            conditions=fact.change.conditions,
        )
        for fact in facts
    ]
    committed = context.proposal.committed
    taken = [statement.sid for statement in committed.statements] if committed else []
    return [dict(statement) for statement in new_statements(changes, taken)]


def _statements_text(committed: Document | None, statements: Sequence[dict[str, object]]) -> str:
    if committed is not None:
        return statements_text(committed, statements)
    return "".join(
        f"{json.dumps(statement, indent=2, ensure_ascii=False)}\n" for statement in statements
    )


def _completing(context: ReportContext) -> list[OfferFact]:
    """What the steps of denied calls usually need besides, in the order of its worth."""
    return [fact for fact in context.ledger.offered if fact.change.usual_as]


def _deletions(context: ReportContext) -> list[OfferFact]:
    """The deletions that no step of a denied call needs, the most sensitive first."""
    deletions = [fact for fact in context.ledger.offered if not fact.change.usual_as]
    return sorted(deletions, key=lambda fact: (removal_rank(fact.action), fact.resource))


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
    return [_note(note) for note in notes if is_draft or note.startswith(BREAKS)]


def other_notes(context: ReportContext) -> list[str]:
    """Returns the findings on names that the first screen leaves out."""
    shown_notes = first_notes(context)
    notes = context.proposal.notes if context.proposal.changes else ()
    return [note for note in map(_note, notes) if note not in shown_notes]


def _note(text: str) -> str:
    begin, _, words_after = text.partition(": ")
    return f"**{begin}:** {prose(words_after)}."


def releases_line(context: ReportContext) -> str:
    """Returns which values of inputs would release what they hold back; empty where none would."""
    if not context.proposal.releases:
        return ""
    first, *further_releases = map(_release, context.proposal.releases)
    further_words = "".join(f"; {release}" for release in further_releases)
    return f"**Held back by inputs:** {first}{further_words}."


def _release(release: Release) -> str:
    settings = [code(f"{name}: {value}") for name, value in release.settings.items()]
    parts = [plural(release.removals, "removal")] if release.removals else []
    if release.narrowings:
        parts.append(plural(release.narrowings, "narrowing"))
    verb = "releases" if len(settings) == 1 else "release"
    return f"{' with '.join(settings)} {verb} {' and '.join(parts)}"
