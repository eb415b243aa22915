"""The one comment that answers people's commands under the open pull request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.commands import COMMENT_MARKER, Said
from leastpriv.pull_request.publication import Published
from leastpriv.report.escape import code, prose
from leastpriv.workplace import Historian

_MOST = 50


def answer(historian: Historian | None, said: Sequence[Said], published: Published, *, remembered: bool) -> str:
    """Writes, or edits in place, the comment that says what counts; gives a sentence where that failed."""
    text = answer_to((each for each in said if each.pull == published.number), remembered=remembered)
    if historian is None or not (published.url and text):
        return ""
    try:
        historian.say_once(published.number, COMMENT_MARKER, text, anew=True)
    except PullRequestError as error:
        return f"The commands under #{published.number} could not be answered: {error}"
    return ""


def answer_to(said: Iterable[Said], *, remembered: bool) -> str:
    """What counts and what does not, in Markdown; empty where nobody asked for anything."""
    given = list(said)
    if not given:
        return ""
    lines = [_line(each) for each in given[:_MOST]]
    if len(given) > _MOST:
        lines.append(f"- and {len(given) - _MOST:,} more.")
    lasting = (
        "What counts is remembered, and holds beyond this pull request until somebody writes `/leastpriv forget …`."
        if remembered
        else "What counts holds as long as this is one of the latest pull requests of its branch: the input "
        "`evidence-branch` has it remembered, the input `keep` states it for good."
    )
    return "\n".join([*lines, "", f"{lasting} A command never adds a permission."])


def _line(said: Said) -> str:
    asked = code(f"{said.asked.verb} {said.asked.pattern}".strip(), 120)
    who = f"by {code(said.by, 60)}" if said.by else "by nobody who is known"
    if said.refusal:
        return f"- {asked} {who} does not count: {prose(said.refusal)}."
    return f"- {asked} {who} counts."
