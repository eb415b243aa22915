"""Reads and saves the history of a target: earlier usage, declined changes, comment commands,
reverted removals.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.session_names import workflow_run_id
from leastpriv.errors import (
    LeastprivError,
    PolicyFileError,
    PullRequestError,
    UnreadableHistoryError,
)
from leastpriv.evidence.created_resources import creating_usages
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.origins import (
    Ask,
    origins_by_login,
    origins_by_majority,
    resolve_origins,
)
from leastpriv.evidence.usage_history import (
    DeclinedPullRequest,
    KeepDecision,
    RevertedRemoval,
    UsageHistory,
    history_from_evidence,
    is_action_pattern,
    merge,
    pruned,
)
from leastpriv.evidence.users import OWN_ACCOUNT
from leastpriv.models import Origin, Permission, Principal, Run, RunOrigin, Usage
from leastpriv.pipeline.context import PullRequestContent, RunContext, Target, TargetHistory
from leastpriv.pipeline.load_policies import changed_at, folder_of, policy_before, read_policy
from leastpriv.policy.document import Document
from leastpriv.policy.replay import replay_need
from leastpriv.proposal.addition_rules import naming_usages
from leastpriv.proposal.guards import history_state
from leastpriv.proposal.models import (
    History,
    HistoryState,
    OfferCommand,
    fingerprint,
    ids_of_scope,
)
from leastpriv.pull_request.github.logins import origin_without_github
from leastpriv.pull_request.lifecycle import (
    COMMENT_MARKER,
    ClosedPullRequest,
    CommentCommand,
    fingerprint_scope,
    is_reverted_by,
)
from leastpriv.pull_request.models import PublishResult
from leastpriv.report.escape import code, prose
from leastpriv.report.phrases import plural

if TYPE_CHECKING:
    from leastpriv.pull_request.github.repository import GitHubRepository

_log = logging.getLogger(__name__)


def history_file(principal: Principal) -> tuple[str, int]:
    """Returns path and longest size of a usage history; a name is unique in its account, whatever
    its path.
    """
    from leastpriv.evidence.history_file import LONGEST_FILE

    account = "every-account" if principal.account == OWN_ACCOUNT else principal.account
    return f"{account}/{principal.kind}/{principal.name}.json", LONGEST_FILE


def load_history(target: Target, now: datetime) -> HistoryState:
    """Loads the usage history of a target; one that cannot be read holds removals back."""
    store = target.store
    principal = target.role
    if store is None:
        return HistoryState()
    from leastpriv.evidence.history_file import parse_history

    try:
        raw = store.read()
        if raw is not None and target.settings.spans_accounts:
            raw = raw.replace(b":*:", f":{OWN_ACCOUNT}:".encode())
        found = parse_history(raw, principal, now) if raw is not None else None
    except LeastprivError as error:
        trouble = f"what earlier runs used could not be read: {error}".rstrip(".")
        if isinstance(error, UnreadableHistoryError):
            trouble = f"the usage history {store.name} {error}: fix it, or delete it to start again"
        _log.info(f"No permission is removed: {trouble}.")
        return HistoryState(trouble=trouble)
    if found is None:
        return HistoryState(UsageHistory(principal))
    memory, left_out = found
    if left_out:
        rows = plural(left_out, "row that makes", "rows that make")
        _log.info(f"Left out of the usage history {store.name}: {rows} no sense.")
    return history_state(pruned(memory, now), left_out, now.date())


def save_history(content: PullRequestContent, target: Target, now: datetime) -> str:
    """Saves what this run has learned of a target; returns a sentence where that failed."""
    store = target.store
    evidence = content.context.evidence
    if store is None or not target.writes_store or content.history.history.history_state.trouble:
        return ""
    from leastpriv.evidence.history_file import parse_history, serialize_history

    added = merge(history_from_evidence(evidence), content.history.news)

    def with_news(raw: bytes | None) -> bytes:
        known = parse_history(raw, evidence.principal, now)[0] if raw is not None else None
        return serialize_history(pruned(merge(known, added) if known else added, now))

    try:
        store.update(with_news)
    except UnreadableHistoryError as error:
        return f"The usage history {store.name} {error}: it was not changed."
    except LeastprivError as error:
        return f"The results of this run could not be saved: {error}"
    return ""


def keep_decisions(
    said: Iterable[CommentCommand],
) -> tuple[Mapping[str, KeepDecision], tuple[CommentCommand, ...]]:
    """Returns the valid decisions by pattern, and all commands, the invalid ones with a reason."""
    invalid = "that is no action as policies name it, like `s3:DeleteBucket` or `s3:Delete*`"
    checked = tuple(
        replace(
            each, rejection=each.rejection or ("" if is_action_pattern(each.pattern) else invalid)
        )
        for each in said
    )
    decisions: dict[str, KeepDecision] = {}
    for each in checked:
        if each.rejection or each.verb == "add":
            continue
        keeps = each.verb == "keep"
        decision = KeepDecision(
            each.created_at, each.comment_id, keeps, each.author, each.pull_request
        )
        decisions[each.pattern] = max(decision, decisions.get(each.pattern, decision))
    return decisions, checked


def offer_commands(said: Iterable[CommentCommand], pull_request: int) -> tuple[OfferCommand, ...]:
    """Returns the valid commands about offers under one pull request, the oldest first."""
    own = [each for each in said if each.pull_request == pull_request and not each.rejection]
    own.sort(key=lambda each: (each.created_at, each.comment_id))
    return tuple(
        OfferCommand(each.pattern, takes=each.verb == "add") for each in own if each.verb != "keep"
    )


_MAX_MERGED = 10
"""Merged pull requests, each read twice, that are searched for the removal of a permission that is
denied now.
"""


class _Requests:
    """Sends requests to a repository, and collects their failures."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def get(self, request: Callable[[], _Answer], default: _Answer, what: str) -> _Answer:
        """Returns the answer, or the default after a failure."""
        try:
            return request()
        except PullRequestError as error:
            self.failures.append(str(error))
            _log.info(f"Not known: {what}. {error}")
            return default


_Answer = TypeVar("_Answer")


def target_history(
    run: RunContext, target: Target, base: str, missing: Sequence[Usage]
) -> TargetHistory:
    """Reads what the repository and the store have about a target, whose policy lacks the usages
    `missing`.

    `base`: the commit of its policy; empty where that was read on disk.
    """
    requests = _Requests()
    settings = target.settings
    scope_ids = run.scope_ids(target)
    host = target.repository.github if target.repository else None
    changed = requests.get(
        lambda: changed_at(target, base), None, "when the policy file was last changed"
    )
    earlier = None
    since = run.now - timedelta(days=settings.options.grace_days)
    if changed and changed > since:
        before = partial(policy_before, target, base, since)
        earlier = requests.get(before, None, "what the policy file granted before")
    state = load_history(target, run.now)
    known = state.memory or UsageHistory(settings.principal.arn)
    news = UsageHistory(settings.principal.arn)
    if host is None:
        scopes = {fingerprint_scope(each.fingerprint) for each in known.declined.values()}
        former = _Former.of(requests, target, base, scopes - set(scope_ids))
        declined = _declined(known, (), (*scope_ids, *former.scope_ids))
        history = History(declined, changed=changed, history_state=state, earlier=earlier)
        failure = " ".join(requests.failures[:1])
        return TargetHistory(history, news, failure=failure, former_paths=former.paths)
    closed = requests.get(
        lambda: [
            pull
            for branch in target.branches
            for pull in host.pull_requests.closed(branch, settings.base)
        ],
        list[ClosedPullRequest](),
        "what was declined earlier",
    )
    commands = requests.get(
        lambda: list(host.pull_requests.comment_commands(settings.branch, settings.base)),
        list[CommentCommand](),
        "what people said in comments",
    )
    opened = requests.get(
        lambda: host.pull_requests.opened(settings.branch, settings.base),
        None,
        "the open pull request",
    )
    fingerprints = {
        *(each.fingerprint for each in closed),
        *(each.fingerprint for each in known.declined.values()),
    }
    if opened:
        fingerprints.add(opened.fingerprint)
    scopes = set(map(fingerprint_scope, fingerprints))
    former = _Former.of(requests, target, base, scopes - {"", *scope_ids})
    own_scopes = (scope_ids[-1], *former.scope_ids)
    own = [each for each in closed if fingerprint_scope(each.fingerprint) in own_scopes]
    with_reverts = partial(_with_reverts, host, target, base, own, changed)
    own = requests.get(with_reverts, own, "whether a merged proposal was reverted")
    # Missing permission -> pull request that removed it, as the store has it or else the
    # repository.
    keys = {
        usage.need.permission: (usage.need.permission.action, usage.need.permission.resource)
        for usage in missing
    }
    removed = {
        permission: known.returned[key].pull
        for permission, key in keys.items()
        if key in known.returned
    }
    reverted = partial(_reverted, host, target, own, missing)
    removed |= requests.get(reverted, dict[Permission, int](), "what was removed")
    decisions, said = keep_decisions(commands)
    returned = {
        keys[usage.need.permission]: RevertedRemoval(
            usage.last_seen.date(), removed[usage.need.permission]
        )
        for usage in missing
        if usage.need.permission in removed
    }
    news = replace(
        news, words=decisions, declined=_new_declines(known, own, scope_ids), returned=returned
    )
    known = merge(known, news)
    if not state.trouble:
        state = history_state(known, state.left_out, state.today)
    history = History(
        declined=_declined(known, own, (*scope_ids, *former.scope_ids)),
        changed=changed,
        history_state=state,
        offer_commands=offer_commands(said, opened.number) if opened else (),
        removed=removed,
        earlier=earlier,
    )
    return TargetHistory(
        history=history,
        news=news,
        said=said,
        failure=" ".join(requests.failures[:1]),
        former_paths=former.paths,
    )


class _Former(Struct, frozen=True):
    """The earlier names of a policy file."""

    paths: tuple[str, ...] = ()
    scope_ids: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, requests: _Requests, target: Target, base: str, unknown_scopes: Collection[str]
    ) -> Self:
        """Returns the earlier names, for which nothing is asked without proposals of an unknown
        scope.
        """
        repository = target.repository
        if not unknown_scopes or target.group or repository is None:
            return cls()
        names = requests.get(
            lambda: repository.earlier_names(
                base or repository.branch_head(target.settings.base)[1], target.policy_path
            ),
            tuple[str, ...](),
            "the earlier names of the policy file",
        )
        return cls(
            paths=names,
            scope_ids=tuple(
                fingerprint_scope(fingerprint(target.scope_at(name), None, b"")) for name in names
            ),
        )


class RunOrigins(Struct, frozen=True):
    """The origin of each run, and whether GitHub answered."""

    origins: Mapping[str, RunOrigin]
    """By run id."""
    failure: str = ""
    """Why no pull request may be published: GitHub did not answer."""


def run_origins(target: Target, missing: Sequence[Usage], evidence: Evidence) -> RunOrigins:
    """Resolves the origin of each run, by its login and, where GitHub is asked, its workflow run.

    Without an answer of GitHub the logins alone count, and other runs are of unknown origin.
    """
    settings = target.settings
    reviewed_refs = settings.options.reviewed_refs
    runs = (*evidence.runs, *evidence.logged_runs)

    def by_login_alone(run: Run) -> RunOrigin | None:
        if run.identity is None:
            return None
        return origin_without_github(run.identity, "", settings.base, reviewed_refs)

    host = target.repository.github if target.repository else None
    if host is None:
        return RunOrigins(origins_by_login(runs, by_login_alone))
    requests = _Requests()
    unread = RunOrigin(Origin.UNKNOWN, "runs whose branch GitHub did not say")
    unknown = {run.id: unread for run in runs} | origins_by_login(runs, by_login_alone)

    def ask() -> dict[str, RunOrigin]:
        lookup = host.origin_lookup(settings.base, reviewed_refs)
        by_workflow_run = _by_workflow_run(lookup.by_workflow_run, evidence)
        return resolve_origins(
            evidence,
            missing=missing,
            naming=[
                *naming_usages(evidence, missing),
                *creating_usages(evidence.usages, missing),
            ],
            by_login=lookup.by_login,
            ask=by_workflow_run,
        )

    origins = requests.get(ask, unknown, "the branches that the runs deployed from")
    unclear = (each for each in origins.values() if each.origin is Origin.UNKNOWN)
    for where in sorted({origin.where for origin in unclear}):
        _log.info(f"Not known where these runs came from: {where}")
    return RunOrigins(origins, " ".join(requests.failures[:1]))


def _by_workflow_run(ask: Ask, evidence: Evidence) -> Ask:
    """Finds the origin of a run by the workflow run in its session name, or in that of its
    login.
    """

    def of_run(run: Run) -> RunOrigin:
        named = workflow_run_id(run.session) or workflow_run_id(run.parent_run)
        return ask(replace(run, session=named or run.session))

    by_majority = origins_by_majority(evidence.runs, of_run)

    def of_any(run: Run) -> RunOrigin:
        # GitHub itself names the run that wrote a log.
        return replace(of_run(run), mark="") if run in evidence.logged_runs else by_majority(run)

    return of_any


def _declined(
    memory: UsageHistory, closed: Sequence[ClosedPullRequest], own: tuple[str, ...]
) -> Mapping[str, int]:
    """Returns id of a change -> number of the pull request that declined it; GitHub's state
    overrides the store's.
    """
    undone = {each.number for each in closed if each.undone}
    return {
        change: number
        for number, decline in sorted(memory.declined.items())
        if not decline.taken_back
        and number not in undone
        and fingerprint_scope(decline.fingerprint) in own
        for change in decline.changes
    }


def _new_declines(
    known: UsageHistory, closed: Sequence[ClosedPullRequest], scope_ids: tuple[str, ...]
) -> Mapping[int, DeclinedPullRequest]:
    """Returns the declines that the store lacks; a description that was rewritten later removes
    none.
    """
    found: dict[int, DeclinedPullRequest] = {}
    for each in closed:
        before = known.declined.get(each.number)
        ids = ids_of_scope(each.changes, scope_ids[0]) if len(scope_ids) > 1 else each.changes
        changes = tuple(ids) or (before.changes if before else ())
        decline = DeclinedPullRequest(each.changed_at, each.reconsidered, each.fingerprint, changes)
        is_news = before is None or (before.taken_back, before.changes) != (
            each.reconsidered,
            changes,
        )
        if (each.declined or (each.reconsidered and before)) and is_news:
            found[each.number] = decline
    return found


def _with_reverts(
    host: GitHubRepository,
    target: Target,
    base: str,
    closed: Sequence[ClosedPullRequest],
    changed: datetime | None,
) -> list[ClosedPullRequest]:
    """Returns closed pull requests; a merged one that a later commit reverts is a declined one."""
    merged = [
        each.merged_at
        for each in closed
        if each.merged_at and changed and each.merged_at < changed and not each.reconsidered
    ]
    if not merged:
        return list(closed)
    commit = base or host.branch_head(target.settings.base)[1]
    messages = host.branches.messages_since(commit, target.policy_path, min(merged))
    found: list[ClosedPullRequest] = []
    for each in closed:
        is_reverted = (
            each.merged_at in merged
            and not each.reconsidered
            and any(is_reverted_by(each, message, host.full_name) for message in messages)
        )
        found.append(replace(each, declined=True, undone=False) if is_reverted else each)
    return found


def _reverted(
    host: GitHubRepository,
    target: Target,
    closed: Sequence[ClosedPullRequest],
    missing: Sequence[Usage],
) -> dict[Permission, int]:
    """Returns denied permission -> number of the latest merged proposal that removed it."""
    denied = [usage for usage in missing if usage.denial and usage.denial.mendable]
    merged = (
        [each for each in closed if each.merged_at and each.merge_commit][:_MAX_MERGED]
        if denied
        else []
    )
    found: dict[Permission, int] = {}
    for each in sorted(merged, key=lambda each: each.number, reverse=True):
        before = _policy_at(host.branches.parent_of(each.merge_commit), target)
        after = _policy_at(each.merge_commit, target)
        for usage in denied if before and after else ():
            later = each.merged_at is not None and usage.last_seen > each.merged_at
            if (
                later
                and _granted(usage, target.role, before)
                and not _granted(usage, target.role, after)
            ):
                found.setdefault(usage.need.permission, each.number)
    return found


def _granted(usage: Usage, principal: str, document: Document | None) -> bool:
    documents = [document] if document else []
    regions = usage.regions or ("",)
    return all(
        replay_need(usage.need, principal, region, documents).startswith("allowed")
        for region in regions
    )


def _policy_at(commit: str, target: Target) -> Document | None:
    raw = (
        target.repository.read(commit, target.policy_path) if commit and target.repository else None
    )
    try:
        return read_policy(raw, target, folder_of(target, commit)) if raw is not None else None
    except PolicyFileError:
        return None


_MAX_COMMANDS = 50


def answer_commands(content: PullRequestContent, target: Target, published: PublishResult) -> str:
    """Writes or edits the comment that lists valid and invalid commands; returns a sentence where
    that failed.
    """
    said = (each for each in content.history.said if each.pull_request == published.number)
    text = commands_answer(said, remembered=target.store is not None)
    host = target.repository.github if target.repository else None
    if host is None or not (published.url and text):
        return ""
    if host.pull_requests.has_comment(published.number, COMMENT_MARKER, text):
        return ""
    try:
        host.pull_requests.upsert_comment(published.number, COMMENT_MARKER, text, create=True)
    except PullRequestError as error:
        return f"The commands under #{published.number} could not be answered: {error}"
    return ""


def commands_answer(said: Iterable[CommentCommand], *, remembered: bool) -> str:
    """Lists valid and invalid commands in Markdown; empty without a command."""
    given = list(said)
    if not given:
        return ""
    lines = []
    for each in given[:_MAX_COMMANDS]:
        asked = code(f"{each.verb} {each.pattern}".strip(), 120)
        who = f"by {code(each.author, 60)}" if each.author else "by an unknown person"
        verdict = f"does not count: {prose(each.rejection)}" if each.rejection else "counts"
        lines.append(f"- {asked} {who} {verdict}.")
    if len(given) > _MAX_COMMANDS:
        lines.append(f"- and {len(given) - _MAX_COMMANDS:,} more.")
    lasting = (
        "Commands that count are remembered beyond this pull request, until a person writes"
        " `/leastpriv forget …`."
        if remembered
        else (
            "Commands that count apply while this is one of the latest pull requests of its branch:"
            " the input `evidence-branch` remembers them, the input `keep` keeps an action for"
            " good."
        )
    )
    adding = "`add` adds only offered actions that are not sensitive."
    return "\n".join([*lines, "", f"{lasting} {adding}"])
