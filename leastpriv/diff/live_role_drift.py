"""Compares the policy file with the role's live policies, by meaning and not by bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.evidence.live_role import LivePolicy, LiveRole
from leastpriv.policy.containment import Excess, check_containment, lost_denies
from leastpriv.policy.document import Document, Statement

# A placeholder's name has no colon, a policy variable's has one (`policy/template_functions`); `${*}` is an escape.
_PLACEHOLDER = re.compile(r"\$\{(?![*?$]\})[^{}:]*\}")


class Drift(Struct, frozen=True):
    """The differences between the policy file and the account."""

    counterpart: str
    """Name of the live policy that corresponds to the file; empty if there is none."""
    live_allows: tuple[str, str] | None = None
    """An action and a resource that the account allows and the file does not."""
    file_allows: tuple[str, str] | None = None
    """An action and a resource that the file allows and the account does not: the file is not deployed yet."""
    live_denies: tuple[str, str] | None = None
    """An action and a resource of a Deny of the counterpart that no file has."""
    file_denies: tuple[str, str] | None = None
    """An action and a resource of a Deny of the file that no live policy has."""
    files_without_counterpart: tuple[str, ...] = ()
    """Other files without a counterpart."""
    missing: bool = False
    """Whether the file has no counterpart."""
    unknown: str = ""
    """Why the file cannot be compared; empty if it can."""

    @property
    def differs(self) -> bool:
        """Whether the account is known to differ from the file."""
        found = (self.live_allows, self.file_allows, self.live_denies, self.file_denies)
        return self.missing or bool(self.files_without_counterpart) or any(found)


def compare_with_live_role(
    committed: Document, files: Sequence[Document], live: LiveRole
) -> tuple[Drift, tuple[LivePolicy, ...]]:
    """Compares the policy file with its counterpart; returns also the live policies without a file.

    `files` are the other policy files. The counterpart is a policy of equal meaning, else one named like the file, the
    only remaining one, or the one with the most common entries.
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
        found = _most_similar(committed, left, live.is_known)
        reason = "parts of the file are known only once its template is rendered"
        compared = Drift(found.name if found else "", files_without_counterpart=tuple(unlike), unknown=reason)
        return compared, tuple(each for each in left if each is not found)
    if committed.has_several_policies:
        # Several policies of one folder are compared with all policies of the role that AWS does not manage.
        own = [policy for policy in left if ":iam::aws:policy/" not in policy.name]
        documents = [policy.document for policy in own]
        compared = _compare("the role", committed, documents, [committed], documents)
        compared = compared if live.is_known else replace(compared, file_allows=None, file_denies=None)
        rest = tuple(each for each in left if each not in own)
        return replace(compared, files_without_counterpart=tuple(unlike)), rest
    found = _counterpart(committed, left) or _most_similar(committed, left, live.is_known)
    rest = tuple(policy for policy in left if policy is not found)
    if found is None:
        # A policy that could not be read may be the counterpart.
        unknown = "" if live.is_known else "not all of the account was read"
        return Drift("", files_without_counterpart=tuple(unlike), missing=live.is_known, unknown=unknown), rest
    denying = [committed, *files, *(policy.document for policy in rest)]
    in_force = [policy.document for policy in live.policies]
    compared = _compare(found.name, committed, [found.document], denying, in_force)
    compared = compared if live.is_known else replace(compared, file_denies=None)
    return replace(compared, files_without_counterpart=tuple(unlike)), rest


def _compare(
    name: str, committed: Document, own: Sequence[Document], files: Sequence[Document], in_force: Sequence[Document]
) -> Drift:
    """Compares the file with its counterpart `own`; a Deny of any of the `files`, or of any in force, counts."""
    return Drift(
        name,
        live_allows=_first_access(check_containment([committed], own).smallest),
        file_allows=_first_access(check_containment(own, [committed]).smallest),
        live_denies=_first_denied(lost_denies(own, files)),
        file_denies=_first_denied(lost_denies([committed], in_force)),
    )


def _counterpart(document: Document, policies: Sequence[LivePolicy]) -> LivePolicy | None:
    return next((policy for policy in policies if _equivalent(document, policy.document)), None)


def _equivalent(one: Document, other: Document) -> bool:
    return all(
        check_containment([some], [others]).holds and not lost_denies([some], [others])
        for some, others in ((one, other), (other, one))
    )


def _is_template(document: Document) -> bool:
    return any(map(_PLACEHOLDER.search, _texts(document)))


def _most_similar(committed: Document, policies: Sequence[LivePolicy], are_all: bool) -> LivePolicy | None:
    """Finds a policy by name, else by common entries; `are_all` states that all policies could be read."""
    own = [policy for policy in policies if ":iam::aws:policy/" not in policy.name]
    stem = PurePosixPath(committed.where.partition("#")[0]).stem.lower()
    named = [policy for policy in own if re.split(r"[/ ]", policy.name)[-1].lower() == stem]
    if named:
        return named[0]
    if not are_all:
        return None
    shared = {policy.name: _entries(committed) & _entries(policy.document) for policy in own}
    most_similar = max(own, key=lambda policy: len(shared[policy.name]), default=None)
    if most_similar is None or (not shared[most_similar.name] and len(own) > 1):
        return None
    return most_similar


def _entries(document: Document) -> set[str]:
    return {action.lower() for statement in document.statements for action in statement.actions}


def _texts(document: Document) -> list[str]:
    return [
        text
        for statement in document.statements
        for text in (*statement.actions, *statement.resources, *statement.not_actions, *statement.not_resources)
        if statement.variables
    ]


def _first_denied(statements: Sequence[Statement]) -> tuple[str, str] | None:
    if not statements:
        return None
    first = statements[0]
    return next(iter(first.actions), "*"), next(iter(first.resources), "*")


def _first_access(excess: Excess | None) -> tuple[str, str] | None:
    if excess is None:
        return None
    witness = excess.witness
    return (witness.action, witness.resource) if witness else (excess.action, excess.resource)
