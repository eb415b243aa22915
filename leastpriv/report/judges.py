"""What AWS, as a second judge, says of the proposal: disagreements first and loud, then findings by line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from leastpriv.proposal.judgement import Judgement, Remark, Weight
from leastpriv.report.escape import code, prose
from leastpriv.report.words import plural

_MOST = 30
_LINK = re.compile(r"https://docs\.aws\.amazon\.com/[\w./#-]+", re.ASCII)
_WORDS = {
    Weight.DISAGREES: "**disagrees**",
    Weight.ERROR: "**error**",
    Weight.SECURITY_WARNING: "**security warning**",
    Weight.WARNING: "warning",
    Weight.SUGGESTION: "suggestion",
}


def disagreements(judgements: Sequence[Judgement]) -> Iterator[str]:
    """A warning for the top of a page, where AWS decides otherwise than our own evaluation."""
    found = [(each.judge, remark) for each in judgements for remark in each.disagreements]
    if found:
        lines = [f"> - {code(judge)}: {prose(remark.text)}" for judge, remark in found[:_MOST]]
        if len(found) > _MOST:
            lines.append(f"> - and {len(found) - _MOST:,} more")
        yield (
            "> [!CAUTION]\n> **AWS disagrees with this proposal's own proof.** Do not merge before you know why; "
            "please report it as a defect.\n>\n" + "\n".join(lines)
        )


def judged(judgements: Sequence[Judgement]) -> Iterator[str]:
    """The section on all judges; nothing where none was asked."""
    if not judgements:
        return
    lines = [f"- {sentence}" for judgement in judgements for sentence in _sentences(judgement)]
    remarks = [remark for judgement in judgements for remark in judgement.remarks if remark.weight is not _LOUD]
    yield "### What AWS says of it\n\n" + "\n".join(lines) + _table(remarks)


_LOUD = Weight.DISAGREES
_UNITS = {
    "ValidatePolicy": ("judged", "policy", "policies"),
    "SimulateCustomPolicy": ("judged", "action on a resource", "actions on resources"),
}
"""What a judge counts; the others are paid by the request."""


def _sentences(judgement: Judgement) -> Iterator[str]:
    judge, unit = code(judgement.judge), _UNITS.get(judgement.judge, ("answered", "paid request", "paid requests"))
    if judgement.asked:
        grave = len(judgement.disagreements)
        others = len(judgement.remarks) - grave
        told = [f"**{plural(grave, 'disagreement')}**"] if grave else []
        told += [plural(others, "remark")] if others else []
        yield f"{judge} {unit[0]} {plural(judgement.asked, *unit[1:])}: {', '.join(told) or 'nothing to say'}."
    if judgement.failure:
        yield f"{judge} could not be asked{' further' if judgement.asked else ''}. {prose(judgement.failure)}"
    for sentence in judgement.unasked:
        yield f"{judge}: {prose(sentence)}"


def _table(remarks: Sequence[Remark]) -> str:
    if not remarks:
        return ""
    rows = [_row(remark) for remark in remarks[:_MOST]]
    if len(remarks) > _MOST:
        rows.append(f"| | | and {len(remarks) - _MOST:,} more, in `proposal.json` |")
    return "\n\n| Line | What | |\n| --- | --- | --- |\n" + "\n".join(rows)


def _row(remark: Remark) -> str:
    place = code(f"{remark.file}:{remark.line}") if remark.line else code(remark.file)
    name = f"[{code(remark.code)}]({remark.link})" if _LINK.fullmatch(remark.link) else code(remark.code)
    already = " (so it is in the committed policy)" if remark.already else ""
    return f"| {place} | {_WORDS[remark.weight]} {name} | {prose(remark.text)}{already} |"
