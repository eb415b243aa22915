"""Loads and saves the usage history of a target."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Self

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import parse_principal
from leastpriv.errors import LeastprivError, UnreadableHistoryError
from leastpriv.evidence.usage_history import UsageHistory, history_from_evidence, merge, pruned
from leastpriv.evidence.users import OWN_ACCOUNT
from leastpriv.models import Principal
from leastpriv.pipeline.context import PullRequestContent, Target
from leastpriv.pipeline.target_names import TargetNames
from leastpriv.proposal.guards import history_state
from leastpriv.proposal.models import HistoryState
from leastpriv.report.phrases import plural

if TYPE_CHECKING:
    from leastpriv.pull_request.github.state_branch import BranchStateStore
    from leastpriv.pull_request.models import FolderStateStore

_log = logging.getLogger(__name__)


class HistoryFile(Struct, frozen=True):
    """Where the usage history of a principal is kept."""

    path: str
    longest: int
    """Bytes that it has at most."""

    @classmethod
    def of(cls, principal: Principal) -> Self:
        """Returns the file of a principal; a name is unique in its account, whatever its path."""
        from leastpriv.evidence.history_file import LONGEST_FILE

        account = principal.account
        if account == OWN_ACCOUNT:
            account = "every-account"
        return cls(f"{account}/{principal.kind}/{principal.name}.json", LONGEST_FILE)


def load_history(target: Target, names: TargetNames, now: datetime) -> HistoryState:
    """Loads the usage history of a target, and that of its earlier names; one that cannot be read
    holds removals back.
    """
    store = target.store
    if store is None:
        return HistoryState()
    try:
        parsed_files = [_parsed(raw, target, now) for raw in _stored(store, target, names)]
    except LeastprivError as error:
        if isinstance(error, UnreadableHistoryError):
            trouble = f"the usage history {store.name} {error}: fix it, or delete it to start again"
        else:
            trouble = f"what earlier runs used could not be read: {error}".rstrip(".")
        _log.info(f"No permission is removed: {trouble}.")
        return HistoryState(trouble=trouble)
    memory = UsageHistory(target.role)
    left_out = 0
    for parsed in parsed_files:
        memory = merge(memory, parsed.history)
        left_out += parsed.left_out
    for parsed in parsed_files:
        name = parsed.history.target
        if name and names.was_name_of_target(name):
            names.adopt(name)
    if left_out:
        rows = plural(left_out, "row that makes", "rows that make")
        _log.info(f"Left out of the usage history {store.name}: {rows} no sense.")
    if not parsed_files:
        return HistoryState(memory)
    return history_state(pruned(memory, now), left_out, now.date())


class _ParsedHistory(Struct, frozen=True):
    """A usage history, and the number of its invalid rows."""

    history: UsageHistory
    left_out: int


def _parsed(raw: bytes, target: Target, now: datetime) -> _ParsedHistory:
    """Parses a stored history as that of the target's present role."""
    from leastpriv.evidence.history_file import parse_history, target_of

    name = target_of(raw)
    former = ""
    if name and name.role != target.role:
        former = name.role
    history, left_out = parse_history(raw, target.role, now, formerly=former)
    if name and history.target:
        # The name of the present role is renewed when the history is saved.
        history = replace(history, target=name)
    return _ParsedHistory(history, left_out)


def _stored(
    store: FolderStateStore | BranchStateStore, target: Target, names: TargetNames
) -> Iterator[bytes]:
    """Yields the stored history of a target, then those of its earlier names that it may lack."""
    from leastpriv.evidence.history_file import target_of

    def read_as_principal(raw: bytes) -> bytes:
        if target.settings.spans_accounts:
            return raw.replace(b":*:", f":{OWN_ACCOUNT}:".encode())
        return raw

    present = store.read()
    if present is not None:
        yield read_as_principal(present)
    for role in target.formerly.roles:
        file = HistoryFile.of(parse_principal(role))
        former = store.sibling(file.path).read()
        if former is not None:
            yield former
    if present is not None or target.formerly.roles:
        return
    for raw in store.others():
        name = target_of(raw)
        if name and names.was_name_of_target(name):
            yield read_as_principal(raw)


def save_history(content: PullRequestContent, target: Target, now: datetime) -> str:
    """Saves what this run has learned of a target; returns a sentence where that failed."""
    store = target.store
    evidence = content.context.evidence
    if store is None or not target.writes_store or content.history.history.history_state.trouble:
        return ""
    from leastpriv.evidence.history_file import parse_history, serialize_history

    loaded = content.history.history.history_state.memory or UsageHistory(evidence.principal)
    identity = content.history.identity
    added = merge(history_from_evidence(evidence), merge(content.history.news, loaded))

    def with_news(raw: bytes | None) -> bytes:
        """Returns the file with the news; it may have changed since it was loaded."""
        merged = added
        saved_name = None
        if raw is not None:
            saved, _ = parse_history(raw, evidence.principal, now)
            saved_name = saved.target
            merged = merge(saved, added)
        # A role may have a second policy file, whose target has the same history.
        if saved_name is None or identity.is_named(saved_name):
            merged = replace(merged, target=identity.name)
        return serialize_history(pruned(merged, now))

    try:
        store.update(with_news)
    except UnreadableHistoryError as error:
        return f"The usage history {store.name} {error}: it was not changed."
    except LeastprivError as error:
        return f"The results of this run could not be saved: {error}"
    return ""
