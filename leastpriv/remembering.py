"""The memory between runs: read before a proposal is made, kept after it; a run without one is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from leastpriv.errors import LeastprivError, UnreadableMemoryError
from leastpriv.evidence.memory.file import from_bytes, is_action_pattern, to_bytes
from leastpriv.evidence.memory.learned import learned
from leastpriv.evidence.memory.words import Memory, Word, merge, pruned
from leastpriv.evidence.usage import Evidence
from leastpriv.model import Principal
from leastpriv.proposal.remembered import recalled
from leastpriv.proposal.situation import Recollection
from leastpriv.pull_request.commands import Said
from leastpriv.pull_request.shelf import Shelf
from leastpriv.report.words import plural

Say = Callable[[str], None]


def file_of(principal: Principal) -> str:
    """Where the memory of a principal lies; names are unique in an account, whatever their path."""
    return f"{principal.account}/{principal.kind}/{principal.name}.json"


def recall(shelf: Shelf | None, principal: str, now: datetime, say: Say) -> Recollection:
    """What is remembered of a principal; where it cannot be read, a sentence that holds removals back."""
    if shelf is None:
        return Recollection()
    try:
        raw = shelf.read()
        found = from_bytes(raw, principal, now) if raw is not None else None
    except UnreadableMemoryError as error:
        return _unknown(f"the memory {shelf.name} {error}: mend it, or delete it to begin anew", say)
    except LeastprivError as error:
        return _unknown(f"what earlier runs used could not be read: {error}".rstrip("."), say)
    if found is None:
        return Recollection(Memory(principal))
    if found.left_out:
        rows = plural(found.left_out, "row that makes", "rows that make")
        say(f"Left out of the memory {shelf.name}: {rows} no sense.")
    return recalled(pruned(found.memory, now), found.left_out)


def keep(shelf: Shelf | None, evidence: Evidence, news: Memory, now: datetime) -> str:
    """Remembers what this run has learned; gives a sentence where that failed."""
    if shelf is None:
        return ""
    added = merge(learned(evidence), news)

    def with_ours(raw: bytes | None) -> bytes:
        known = from_bytes(raw, evidence.principal, now).memory if raw is not None else Memory(evidence.principal)
        return to_bytes(pruned(merge(known, added), now))

    try:
        shelf.update(with_ours)
    except UnreadableMemoryError as error:
        return f"The memory {shelf.name} {error}: nothing was written to it."
    except LeastprivError as error:
        return f"What this run has learned could not be kept: {error}"
    return ""


def words_of(said: Iterable[Said]) -> tuple[Mapping[str, Word], tuple[Said, ...]]:
    """The words that count, by pattern; and all that was said, what names no actions with that reason."""
    heard = tuple(
        replace(each, refusal=each.refusal or "" if is_action_pattern(each.asked.pattern) else _refused(each))
        for each in said
    )
    words: dict[str, Word] = {}
    for each in heard:
        if not each.refusal:
            word = Word(each.at, each.comment, each.asked.verb == "keep", each.by, each.pull)
            words[each.asked.pattern] = max(word, words.get(each.asked.pattern, word))
    return words, heard


def _refused(said: Said) -> str:
    return said.refusal or "that is no action as policies name it, like `s3:DeleteBucket` or `s3:Delete*`"


def _unknown(trouble: str, say: Say) -> Recollection:
    say(f"Nothing is removed: {trouble}.")
    return Recollection(trouble=trouble)
