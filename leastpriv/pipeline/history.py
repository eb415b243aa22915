"""What the repository and the memory say of earlier runs: declines, people's words, removals that broke a run.

The memory between runs: read before a proposal is made, kept after it; a run without one is whole.

The one comment that answers people's commands under the open pull request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from leastpriv.config.settings import Settings
from leastpriv.diff.compare import replay_need
from leastpriv.errors import LeastprivError, PolicyFileError, PullRequestError, UnreadableHistoryError
from leastpriv.evidence.created_resources import creating_usages
from leastpriv.evidence.history.file import from_bytes, to_bytes
from leastpriv.evidence.history.models import Decline, Memory, Returned, Word, is_action_pattern, learned, merge, pruned
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.runs import workflow_run_id
from leastpriv.models import Origin, Permission, Principal, Run, Trust, Usage
from leastpriv.pipeline.context import Historian, Workplace, changed_at, policy_before, read_policy
from leastpriv.policy.document import Document
from leastpriv.proposal.addition_rules import run_origins
from leastpriv.proposal.fingerprint import fingerprint, ids_of_scope
from leastpriv.proposal.guards.people_and_history import history_state
from leastpriv.proposal.models import History, HistoryState
from leastpriv.pull_request.comment_commands import COMMENT_MARKER, Said
from leastpriv.pull_request.github.pull_requests import Closed
from leastpriv.pull_request.lifecycle import scope_of
from leastpriv.pull_request.models import Published
from leastpriv.pull_request.state_store import Shelf
from leastpriv.report.escape import code, prose
from leastpriv.report.phrases import plural

_log = logging.getLogger(__name__)


def file_of(principal: Principal) -> str:
    """Where the memory of a principal lies; names are unique in an account, whatever their path."""
    return f"{principal.account}/{principal.kind}/{principal.name}.json"


def recall(shelf: Shelf | None, principal: str, now: datetime) -> HistoryState:
    """What is remembered of a principal; where it cannot be read, a sentence that holds removals back."""
    if shelf is None:
        return HistoryState()
    try:
        raw = shelf.read()
        found = from_bytes(raw, principal, now) if raw is not None else None
    except UnreadableHistoryError as error:
        return _unknown(f"the memory {shelf.name} {error}: mend it, or delete it to begin anew")
    except LeastprivError as error:
        return _unknown(f"what earlier runs used could not be read: {error}".rstrip("."))
    if found is None:
        return HistoryState(Memory(principal))
    if found.left_out:
        rows = plural(found.left_out, "row that makes", "rows that make")
        _log.info(f"Left out of the memory {shelf.name}: {rows} no sense.")
    return history_state(pruned(found.memory, now), found.left_out)


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
    except UnreadableHistoryError as error:
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


def _unknown(trouble: str) -> HistoryState:
    _log.info(f"Nothing is removed: {trouble}.")
    return HistoryState(trouble=trouble)


_MOST_MERGED = 10
"""Merged pull requests, each read twice, among which the one is looked for that removed what is refused now."""


@dataclass(frozen=True, slots=True)
class Found:
    """The history, what of it is news to the memory, and whether something could not be asked."""

    history: History
    news: Memory
    said: tuple[Said, ...] = ()
    """Commands in comments, those that do not count with the reason."""
    failure: str = ""
    """Why nothing may be published: the repository could not be asked."""


class _Asking:
    """Asks what may fail: a failure is kept, and the answer is what it would be if there were nothing."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def __call__(self, ask: Callable[[], _Answer], otherwise: _Answer, what: str) -> _Answer:
        try:
            return ask()
        except PullRequestError as error:
            self.failures.append(str(error))
            _log.info(f"Not known: {what}. {error}")
            return otherwise


_Answer = TypeVar("_Answer")


def history_of(
    settings: Settings,
    workplace: Workplace,
    base: str,
    scopes: tuple[str, str],
    missing: Sequence[Usage],
    evidence: Evidence,
    now: datetime,
) -> Found:
    """What the repository and the memory know of the target.

    `scopes`: that of the target, and that of the pull request it shares with others, empty where it has its own.
    """
    asked = _Asking()
    changed = asked(lambda: changed_at(workplace, base, settings), None, "when the policy file was last changed")
    earlier = _earlier(asked, settings, workplace, base, now - timedelta(days=settings.options.grace_days), changed)
    recollection = recall(workplace.shelf, settings.principal.arn, now)
    known = recollection.memory or Memory(settings.principal.arn)
    historian, news = workplace.historian, Memory(settings.principal.arn)
    if historian is None:
        declined = _declined(known, (), _own(scopes))
        history = History(declined, changed=changed, history_state=recollection, earlier=earlier)
        return Found(history, news, failure=" ".join(asked.failures[:1]))
    nothing: Sequence[Closed] = ()
    closed = asked(lambda: historian.closed(settings.branch), nothing, "what was declined earlier")
    silence: Sequence[Said] = ()
    said = tuple(asked(lambda: historian.said(settings.branch, settings.base), silence, "what people said in comments"))
    ours = [each for each in closed if scope_of(each.proposal.fingerprint) == _own(scopes)[-1]]
    nobody: dict[Permission, int] = {}
    removed = _returned(known, missing)
    removed |= asked(
        lambda: _removed(historian, workplace, settings.principal, ours, missing), nobody, "what was removed"
    )
    words, said = words_of(said)
    news = replace(
        news,
        words=words,
        declined=_news_of_declines(known, ours, scopes),
        returned={
            (usage.need.permission.action, usage.need.permission.resource): Returned(
                usage.last_seen.date(), removed[usage.need.permission]
            )
            for usage in missing
            if usage.need.permission in removed
        },
    )
    known = merge(known, news)
    if not recollection.trouble:
        recollection = history_state(known, recollection.left_out)
    origins = _origins(asked, settings, historian, missing, evidence)
    for where in sorted({origin.where for origin in origins.values() if origin.trust is Trust.UNKNOWN}):
        _log.info(f"Not known where these runs came from: {where}")
    history = History(_declined(known, ours, _own(scopes)), origins, changed, recollection, removed, earlier)
    return Found(history, news, said, " ".join(asked.failures[:1]))


def _earlier(
    asked: _Asking,
    settings: Settings,
    workplace: Workplace,
    base: str,
    since: datetime,
    changed: datetime | None,
) -> Document | None:
    """The policy before the days of grace; None where it did not change since, or nobody knows."""
    nothing: Document | None = None
    if changed is None or changed <= since:
        return nothing
    return asked(
        lambda: policy_before(workplace, base, settings, since), nothing, "what the policy file granted before"
    )


def _own(scopes: tuple[str, str]) -> tuple[str, ...]:
    """Beginnings of the fingerprints of this target's proposals; the last is that of its pull request."""
    return tuple(scope_of(fingerprint(scope, None, b"")) for scope in scopes if scope)


def _origins(
    asked: _Asking, settings: Settings, historian: Historian, missing: Sequence[Usage], evidence: Evidence
) -> Mapping[str, Origin]:
    unknown: Mapping[str, Origin] = {}
    runs = (*evidence.logged_runs, *evidence.runs)
    makers = creating_usages(evidence.usages, missing)
    return asked(
        lambda: run_origins(missing, runs, _of_workflow_runs(historian.origins(settings.base)), makers),
        unknown,
        "the branches that the runs deployed from",
    )


def _of_workflow_runs(ask: Callable[[Run], Origin]) -> Callable[[Run], Origin]:
    """Asks by the workflow run that a session's name gives, also in a rehearsal's, or its login's."""

    def of_run(run: Run) -> Origin:
        named = workflow_run_id(run.session) or workflow_run_id(run.parent_run)
        return ask(replace(run, session=named or run.session))

    return of_run


def _declined(memory: Memory, closed: Sequence[Closed], own: tuple[str, ...]) -> Mapping[str, int]:
    """Id of a change -> number of the pull request that declined it; what GitHub says now counts over the memory."""
    undone = {each.proposal.number for each in closed if not each.declined}
    return {
        change: number
        for number, decline in sorted(memory.declined.items())
        if not decline.taken_back and number not in undone and scope_of(decline.fingerprint) in own
        for change in decline.changes
    }


def _news_of_declines(known: Memory, closed: Sequence[Closed], scopes: tuple[str, str]) -> Mapping[int, Decline]:
    """What the memory does not know yet; a description that was rewritten since takes nothing from it."""
    own, shared = _own(scopes)[0], bool(scopes[1])
    found: dict[int, Decline] = {}
    for each in closed:
        number, before = each.proposal.number, known.declined.get(each.proposal.number)
        ids = ids_of_scope(each.proposal.changes, own) if shared else each.proposal.changes
        changes = tuple(ids) or (before.changes if before else ())
        decline = Decline(each.changed_at, each.taken_back, each.proposal.fingerprint, changes)
        is_news = before is None or (before.taken_back, before.changes) != (each.taken_back, changes)
        if (each.declined or (each.taken_back and before)) and is_news:
            found[number] = decline
    return found


def _returned(memory: Memory, missing: Sequence[Usage]) -> dict[Permission, int]:
    """Missing again, as the memory knows it."""
    keys = {usage.need.permission: (usage.need.permission.action, usage.need.permission.resource) for usage in missing}
    return {permission: memory.returned[key].pull for permission, key in keys.items() if key in memory.returned}


def _removed(
    historian: Historian,
    workplace: Workplace,
    principal: Principal,
    closed: Sequence[Closed],
    missing: Sequence[Usage],
) -> dict[Permission, int]:
    """Permission that is refused -> number of the pull request of ours that removed it, the latest first."""
    refused = [usage for usage in missing if usage.denial and usage.denial.mendable]
    merged = [each for each in closed if each.merged_at and each.merge_commit][:_MOST_MERGED] if refused else []
    found: dict[Permission, int] = {}
    for each in sorted(merged, key=lambda each: each.proposal.number, reverse=True):
        before = _policy_at(historian, historian.parent_of(each.merge_commit), workplace, principal)
        after = _policy_at(historian, each.merge_commit, workplace, principal)
        for usage in refused if before and after else ():
            later = each.merged_at is not None and usage.last_seen > each.merged_at
            if later and _granted(usage, principal, before) and not _granted(usage, principal, after):
                found.setdefault(usage.need.permission, each.proposal.number)
    return found


def _granted(usage: Usage, principal: Principal, document: Document | None) -> bool:
    documents = [document] if document else []
    regions = usage.regions or ("",)
    return all(replay_need(usage.need, principal.arn, region, documents).startswith("allowed") for region in regions)


def _policy_at(historian: Historian, commit: str, workplace: Workplace, principal: Principal) -> Document | None:
    raw = historian.read(commit, workplace.policy_path) if commit else None
    try:
        return read_policy(raw, workplace, principal) if raw is not None else None
    except PolicyFileError:
        return None


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
