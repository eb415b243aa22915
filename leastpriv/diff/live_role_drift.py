"""The policy file against what is in force in the account: by meaning, never by bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from leastpriv.evidence.live_role import LivePolicy, LiveRole
from leastpriv.policy.containment import Excess, contained, lost_denies
from leastpriv.policy.document import Document, Statement

# A placeholder's name holds no colon, and a policy variable's does (policy/placeholders.py); `${*}` is an escape.
_PLACEHOLDER = re.compile(r"\$\{(?![*?$]\})[^{}:]*\}")


@dataclass(frozen=True, slots=True)
class Drift:
    """How the policy file and the account differ; with neither excess nor `missing` they say the same."""

    counterpart: str
    """Name of the policy in the account that the file stands for; empty where none is like it."""
    live_allows: tuple[str, str] | None = None
    """An action and a resource that the account allows and the file does not."""
    file_allows: tuple[str, str] | None = None
    """An action and a resource that the file allows and the account does not: it has not been deployed yet."""
    live_denies: tuple[str, str] | None = None
    """An action and a resource that a Deny of the counterpart names, and none of the files does."""
    file_denies: tuple[str, str] | None = None
    """An action and a resource that a Deny of the file names, and none in the account does."""
    unlike: tuple[str, ...] = ()
    """The other files that nothing in the account is like."""
    missing: bool = False
    """Nothing in the account is like the file."""
    unknown: str = ""
    """Why the two cannot be compared; empty where they can."""

    @property
    def differs(self) -> bool:
        """Whether the account is known not to be what the file says."""
        found = (self.live_allows, self.file_allows, self.live_denies, self.file_denies)
        return self.missing or bool(self.unlike) or any(found)


def drift(committed: Document, files: Sequence[Document], live: LiveRole) -> tuple[Drift, tuple[LivePolicy, ...]]:
    """Compares the policy file with its counterpart in the account; tells also the policies that no file stands for.

    `files` are the other policies that are named. A counterpart is a policy that allows the same; else one named like
    the file, or the only one that is left, or the one that shares most with it.
    """
    left = list(live.policies)
    unlike: list[str] = []
    for document in files:
        same = _counterpart(document, left)
        if same:
            left.remove(same)
        elif live.is_known and not _is_template(document):
            unlike.append(document.where)
    if _is_template(committed):
        found = _likest(committed, left, live.is_known)
        reason = "parts of the file are known only once its template is rendered"
        compared = Drift(found.name if found else "", unlike=tuple(unlike), unknown=reason)
        return compared, tuple(each for each in left if each is not found)
    found = _counterpart(committed, left) or _likest(committed, left, live.is_known)
    rest = tuple(policy for policy in left if policy is not found)
    if found is None:
        # What could not be read may be the one.
        unknown = "" if live.is_known else "not all of the account was read"
        return Drift("", unlike=tuple(unlike), missing=live.is_known, unknown=unknown), rest
    beside = [*files, *(policy.document for policy in rest)]
    return replace(_between(committed, found, beside, live), unlike=tuple(unlike)), rest


def _between(committed: Document, found: LivePolicy, beside: Sequence[Document], live: LiveRole) -> Drift:
    """How the file and its counterpart differ; a Deny counts wherever it stands, since it speaks for all policies."""
    in_force = [policy.document for policy in live.policies]
    return Drift(
        found.name,
        live_allows=_named(contained([committed], [found.document]).smallest),
        file_allows=_named(contained([found.document], [committed]).smallest),
        live_denies=_denied(lost_denies([found.document], [committed, *beside])),
        file_denies=_denied(lost_denies([committed], in_force)) if live.is_known else None,
    )


def _counterpart(document: Document, policies: Sequence[LivePolicy]) -> LivePolicy | None:
    return next((policy for policy in policies if _same(document, policy.document)), None)


def _same(one: Document, other: Document) -> bool:
    return all(
        contained([some], [others]).holds and not lost_denies([some], [others])
        for some, others in ((one, other), (other, one))
    )


def _is_template(document: Document) -> bool:
    return any(map(_PLACEHOLDER.search, _texts(document)))


def _likest(committed: Document, policies: Sequence[LivePolicy], are_all: bool) -> LivePolicy | None:
    """By name, else by what both grant; `are_all`: there is no other one that could not be read."""
    own = [policy for policy in policies if ":iam::aws:policy/" not in policy.name]
    stem = PurePosixPath(committed.where.partition("#")[0]).stem.lower()
    named = [policy for policy in own if re.split(r"[/ ]", policy.name)[-1].lower() == stem]
    if named:
        return named[0]
    if not are_all:
        return None
    shared = {policy.name: _entries(committed) & _entries(policy.document) for policy in own}
    likest = max(own, key=lambda policy: len(shared[policy.name]), default=None)
    if likest is None or (not shared[likest.name] and len(own) > 1):
        return None
    return likest


def _entries(document: Document) -> set[str]:
    return {action.lower() for statement in document.statements for action in statement.actions}


def _texts(document: Document) -> list[str]:
    return [
        text
        for statement in document.statements
        for text in (*statement.actions, *statement.resources, *statement.not_actions, *statement.not_resources)
        if statement.variables
    ]


def _denied(statements: Sequence[Statement]) -> tuple[str, str] | None:
    if not statements:
        return None
    first = statements[0]
    return next(iter(first.actions), "*"), next(iter(first.resources), "*")


def _named(excess: Excess | None) -> tuple[str, str] | None:
    if excess is None:
        return None
    witness = excess.witness
    return (witness.action, witness.resource) if witness else (excess.action, excess.resource)
