"""Compares the committed policy with the evidence (used, unused and missing permissions) and with
the live role.

A wildcard entry is one grant, with the catalogue actions that it grants and those of them that were
used. Policies are compared by meaning and not by bytes.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import PurePosixPath

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.diff.policy_diff import catalogue_actions
from leastpriv.evidence.created_tags import with_unmet_conditions
from leastpriv.evidence.live_role import LivePolicy, LiveRole
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, DeniedBy, Need, Outcome, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.arn_templates import NAMED, NAMED_WITHOUT_PATH
from leastpriv.permissions.patterns import action_matches, folded
from leastpriv.permissions.resource_types import fits, with_any_path
from leastpriv.policy.containment import Excess, check_containment, lost_denies
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import grants, start_of
from leastpriv.policy.replay import (
    ReplayEffect,
    grants_part,
    is_named_whole,
    replay_need,
    replay_request,
)
from leastpriv.policy.template_functions import PLACEHOLDER

ReplayedUsage = tuple[Usage, frozenset[ReplayEffect]]
"""A usage, and the effects of the policies on it in its regions."""


class Entry(Struct, frozen=True):
    """One `Action` entry of an Allow statement, or its whole `NotAction`."""

    statement: Statement
    pattern: str
    """As written; `NotAction: …` for all entries of a NotAction."""
    granted: tuple[str, ...]
    """Catalogue actions that it grants on the statement's resources."""
    uses: Mapping[str, tuple[Usage, ...]]
    """Catalogue action -> usages that the entry may have allowed, whatever their outcome."""

    @property
    def is_wildcard(self) -> bool:
        """Whether the entry names more than one action."""
        return "*" in self.pattern or "?" in self.pattern or bool(self.statement.not_actions)

    @property
    def spans_services(self) -> bool:
        """Whether the entry grants actions of more than one service (`*`, NotAction)."""
        service = self.pattern.partition(":")[0]
        return bool(self.statement.not_actions) or "*" in service or "?" in service

    @property
    def spans_a_service(self) -> bool:
        """Whether the entry grants every action of a service, so that no person chose them by
        name.
        """
        return self.spans_services or self.pattern.partition(":")[2] == "*"

    @property
    def resources(self) -> tuple[str, ...]:
        """The statement's resources as a change shows them; `NotResource: arn…` if it excludes
        them.
        """
        statement = self.statement
        return statement.resources or tuple(
            f"NotResource: {resource}" for resource in statement.not_resources
        )


class Difference(Struct, frozen=True):
    """The committed policy's entries, and the usages that it does not allow."""

    entries: tuple[Entry, ...]
    missing: tuple[Usage, ...]
    """Needed, but not allowed by the policy and the attached policies together."""
    conditional: tuple[Usage, ...]
    """Allowed only under a condition that the evidence does not show."""
    explicitly_denied: tuple[Usage, ...]
    """Called, and denied by an explicit Deny of the policies."""
    denied_elsewhere: tuple[Usage, ...]
    """Denied by an SCP, a boundary, a resource policy or another policy that no identity-based
    policy overrides.
    """
    denied_in_part: tuple[Usage, ...] = ()
    """Denied on a partly known resource of which the policies allow a part, and not allowed since.
    """
    denied_in_doubt: tuple[Usage, ...] = ()
    """Denied, and not allowed since, where a condition or an unknown part of a file may allow it,
    and AWS's denial does not refute that.
    """

    @property
    def unsettled_denials(self) -> tuple[Usage, ...]:
        """The denials that the policies would repeat, or may repeat; each other one was granted
        since.
        """
        denials = (
            *self.missing,
            *self.conditional,
            *self.explicitly_denied,
            *self.denied_elsewhere,
            *self.denied_in_part,
            *self.denied_in_doubt,
        )
        return tuple(usage for usage in denials if usage.denial)


def is_used(usages: Iterable[Usage]) -> bool:
    """Whether a call with one of the usages was allowed."""
    return any(usage.outcome is Outcome.ALLOWED for usage in usages)


def compare(
    document: Document | None, attached: Sequence[Document], evidence: Evidence
) -> Difference:
    """Compares a policy (None if there is none yet) and the attached policies with the evidence."""
    documents = [*([document] if document else []), *attached]
    return classify(
        replay_usages(evidence, documents),
        entries_with_usage(document, evidence) if document else (),
    )


def replay_usages(evidence: Evidence, documents: Sequence[Document]) -> tuple[ReplayedUsage, ...]:
    """Replays every usage against the documents."""
    return tuple(
        (usage, replay_usage(usage, evidence.principal, documents)) for usage in evidence.usages
    )


def replay_usage(
    usage: Usage, principal: str, documents: Sequence[Document]
) -> frozenset[ReplayEffect]:
    """Replays a usage in each of its regions."""
    need = usage.need
    action_name = need.permission.action.partition(":")[2]
    event_names = {event.partition(":")[2] for event in usage.events}
    if event_names == {action_name}:
        need = replace(need, basis=Basis.OBSERVED)  # a denied call of the action itself
    if usage.denial and usage.denial.mendable:
        need = with_unmet_conditions(need, documents)
    regions = usage.regions or ("",)
    effects = frozenset(replay_need(need, principal, region, documents) for region in regions)
    if "unknown" not in effects or not _is_stated(usage):
        return effects
    # AWS says that no policy allows it: the parts that are not known do not.
    certain = [document.certain_part() for document in documents]
    effects = frozenset(replay_need(need, principal, region, certain) for region in regions)
    if "implicitDeny" not in effects:
        return effects
    return (effects - {"implicitDeny"}) | {"refuted"}


def _is_stated(usage: Usage) -> bool:
    """Whether AWS states of a denial that no identity-based policy allows the action."""
    denial = usage.denial
    return denial is not None and denial.mendable and denial.denied_by is DeniedBy.IDENTITY


def classify(usages: Sequence[ReplayedUsage], entries: tuple[Entry, ...]) -> Difference:
    """Classifies replayed usages into a difference."""
    last_allowed = _LastAllowed(usage for usage, _ in usages)
    usages_by_kind: dict[str, list[Usage]] = {}
    for usage, effects in usages:
        usages_by_kind.setdefault(_kind(usage, effects, last_allowed), []).append(usage)
    return Difference(
        entries=entries,
        missing=tuple(usages_by_kind.get("missing", ())),
        conditional=tuple(usages_by_kind.get("conditional", ())),
        explicitly_denied=tuple(usages_by_kind.get("explicitly_denied", ())),
        denied_elsewhere=tuple(usages_by_kind.get("denied_elsewhere", ())),
        denied_in_part=tuple(usages_by_kind.get("denied_in_part", ())),
        denied_in_doubt=tuple(usages_by_kind.get("denied_in_doubt", ())),
    )


def _kind(usage: Usage, effects: frozenset[ReplayEffect], last_allowed: _LastAllowed) -> str:
    """Returns the field of a difference that lists a usage; empty for none."""
    is_known = usage.outcome is not Outcome.UNKNOWN
    if usage.denial and not usage.denial.mendable:
        return "denied_elsewhere"
    if is_known and "explicitDeny" in effects:
        return "explicitly_denied"
    if is_known and "implicitDeny" in effects:
        return "missing"
    if usage.denial:
        return _kind_of_denial(usage, effects, last_allowed)
    return "conditional" if "unknown" in effects else ""


def _kind_of_denial(
    usage: Usage, effects: frozenset[ReplayEffect], last_allowed: _LastAllowed
) -> str:
    """Returns the field for a denial that the policies do not repeat for sure."""
    if effects & {"refuted", "unknown"}:
        if last_allowed.is_after(usage):
            return ""
        return "missing" if "refuted" in effects else "denied_in_doubt"
    if last_allowed.is_after(usage, any_resource=True):
        return ""
    # The policies may allow a role without its path, and AWS names the role so.
    is_in_part = "allowedInPart" in effects or may_have_path(usage.need)
    return "denied_in_part" if is_in_part else ""


class _LastAllowed:
    """When the permissions of some usages were last allowed."""

    def __init__(self, usages: Iterable[Usage]) -> None:
        self._by_permission: dict[tuple[str, str], datetime] = {}
        self._by_action: dict[str, datetime] = {}
        for usage in usages:
            if usage.outcome is not Outcome.ALLOWED:
                continue
            action, resource = usage.need.permission.action, usage.need.permission.resource
            last_seen = usage.last_seen
            pair = (action, resource)
            self._by_action[action] = max(last_seen, self._by_action.get(action, last_seen))
            self._by_permission[pair] = max(last_seen, self._by_permission.get(pair, last_seen))

    def is_after(self, denied: Usage, *, any_resource: bool = False) -> bool:
        """Whether what was denied was allowed later; a resource that is not known may be any."""
        action, resource = denied.need.permission.action, denied.need.permission.resource
        if any_resource or not denied.need.exact:
            return self._by_action.get(action, denied.last_seen) > denied.last_seen
        return self._by_permission.get((action, resource), denied.last_seen) > denied.last_seen


def may_have_path(need: Need) -> bool:
    """Whether a need has a role, user or policy of IAM by its name, which does not show the
    path.
    """
    return need.derivation in (NAMED, NAMED_WITHOUT_PATH) and bool(
        with_any_path(need.permission.resource)
    )


def entries_with_usage(document: Document, evidence: Evidence) -> tuple[Entry, ...]:
    """Returns the entries of a document's Allow statements with the usages that each may have
    allowed.
    """
    by_name: dict[str, dict[str, list[Usage]]] = {}
    for usage in evidence.usages:
        action = usage.need.permission.action
        by_name.setdefault(folded(action), {}).setdefault(action, []).append(usage)
    by_action = {
        name: {action: UsagesOfAction(usages) for action, usages in actions.items()}
        for name, actions in by_name.items()
    }
    return tuple(
        Entry(
            statement,
            pattern,
            _granted(statement, pattern),
            _uses(statement, pattern, by_action, evidence),
        )
        for statement in document.statements
        if statement.effect == "Allow"
        for pattern in entries_of(statement)
    )


class UsagesOfAction:
    """The usages of one action, of which a statement asks for those on its resources."""

    def __init__(self, usages: Sequence[Usage]) -> None:
        self._usages = usages
        self._order = {id(usage): index for index, usage in enumerate(usages)}
        one_text_usages = [usage for usage in usages if _has_literal_arn(usage)]
        self._others = [usage for usage in usages if not _has_literal_arn(usage)]
        self._named = sorted(one_text_usages, key=lambda usage: usage.resource)
        self._texts = [usage.resource for usage in self._named]

    def near(self, statement: Statement) -> Sequence[Usage]:
        """Returns the usages that a statement may have granted, and some more, in their order."""
        if statement.not_resources or not statement.resources:
            return self._usages
        nearby = {id(usage): usage for usage in self._others}
        for entry in statement.resources:
            start = start_of(entry)
            if not start:
                return self._usages
            first = bisect_left(self._texts, start)
            # What begins with a text comes before the text with a last character after all others.
            last = bisect_left(self._texts, f"{start}{chr(sys.maxunicode)}")
            nearby.update((id(usage), usage) for usage in self._named[first:last])
        return sorted(nearby.values(), key=lambda usage: self._order[id(usage)])


def _has_literal_arn(usage: Usage) -> bool:
    """Whether the resource of a usage is one ARN without a wildcard, variable or placeholder."""
    resource = usage.need.permission.resource
    return is_named_whole(usage.need) and start_of(resource) == resource


def entries_of(statement: Statement) -> tuple[str, ...]:
    """Returns a statement's `Action` entries, of those that differ only in case the first, or one
    `NotAction: …`.
    """
    if statement.not_actions:
        return (f"NotAction: {', '.join(statement.not_actions)}",)
    entries: dict[str, str] = {}
    for action in statement.actions:
        entries.setdefault(action.lower(), action)
    return tuple(entries.values())


def _granted(statement: Statement, pattern: str) -> tuple[str, ...]:
    """Returns the catalogue actions of an entry that fit its statement's resources; a literal
    always returns itself.
    """
    if statement.not_actions:
        expanded = tuple(sorted(catalogue_actions(statement.not_actions)))
    else:
        expanded = catalog.expand(pattern)
        if "*" not in pattern and "?" not in pattern:
            return expanded or (pattern,)
    if "*" in statement.resources:
        return expanded
    return tuple(name for name in expanded if _fits_resources(name, statement.resources))


def entry_names_action(statement: Statement, pattern: str, action: str) -> bool:
    """Returns whether an entry of a statement, as in `entries_of`, names an action."""
    if statement.not_actions:
        return not any(action_matches(excluded, action) for excluded in statement.not_actions)
    return action_matches(pattern, action)


@lru_cache(maxsize=65_536)
def _fits_resources(action: str, resources: tuple[str, ...]) -> bool:
    """Returns whether any resource fits the action; `*` alone fits an action without resource
    types.
    """
    return not resources or any(fits(action, resource) for resource in resources)


def _uses(
    statement: Statement,
    pattern: str,
    by_action: Mapping[str, Mapping[str, UsagesOfAction]],
    evidence: Evidence,
) -> Mapping[str, tuple[Usage, ...]]:
    """Returns usages by action; `by_action` is keyed by lower-case action, so that a literal entry
    needs one lookup.
    """
    is_literal = not (statement.not_actions or "*" in pattern or "?" in pattern)
    named_alike = [by_action.get(folded(pattern), {})] if is_literal else by_action.values()
    uses = {
        action: tuple(
            usage
            for usage in usages.near(statement)
            if _may_come_through(statement, usage, evidence.principal)
        )
        for actions in named_alike
        for action, usages in actions.items()
        if entry_names_action(statement, pattern, action)
    }
    return {action: usages for action, usages in uses.items() if usages}


def _may_come_through(statement: Statement, usage: Usage, principal: str) -> bool:
    """Returns whether a statement may have granted a usage; it must cover a fully known resource
    completely.
    """
    undecided = (
        not statement.conditions_readable
        or statement.conditions
        or statement.not_resources
        or not statement.is_certain
    )
    for region in usage.regions or ("",):
        grant = grants(statement, replay_request(usage.need, principal, region))
        if (
            grant == "yes"
            or (grant == "maybe" and undecided)
            or grants_part(statement, usage.need, principal, region)
        ):
            return True
    return False


class Drift(Struct, frozen=True):
    """The differences between the policy file and the account."""

    counterpart: str
    """Name of the live policy that corresponds to the file; empty if there is none."""
    live_allows: tuple[str, str] | None = None
    """An action and a resource that the account allows and the file does not."""
    file_allows: tuple[str, str] | None = None
    """An action and a resource that the file allows and the account does not: the file is not
    deployed yet.
    """
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
        decisions = (self.live_allows, self.file_allows, self.live_denies, self.file_denies)
        return self.missing or bool(self.files_without_counterpart) or any(decisions)


def compare_with_live_role(
    committed: Document, files: Sequence[Document], live: LiveRole
) -> tuple[Drift, tuple[LivePolicy, ...]]:
    """Compares the policy file with its counterpart; returns also the live policies without a file.

    `files` are the other policy files. The counterpart is a policy of equal meaning, else one named
    like the file, the only remaining one, or the one with the most common entries.
    """
    unmatched = list(live.policies)
    unlike: list[str] = []
    for document in files:
        policy = _counterpart(document, unmatched)
        if policy:
            unmatched.remove(policy)
        elif live.is_known and not _is_template(document):
            unlike.append(document.where)
    if _is_template(committed):
        compared = _compare_template(committed, unmatched, live)
    elif committed.has_several_policies:
        compared = _compare_folder(committed, unmatched, live)
    else:
        compared = _compare_file(committed, files, unmatched, live)
    drift = replace(compared.drift, files_without_counterpart=tuple(unlike))
    return drift, tuple(policy for policy in unmatched if policy not in compared.policies)


class _Comparison(Struct, frozen=True):
    """A comparison of the policy file, and the live policies that it is compared with."""

    drift: Drift
    policies: tuple[LivePolicy, ...]


def _compare_template(
    committed: Document, policies: Sequence[LivePolicy], live: LiveRole
) -> _Comparison:
    policy = _most_similar(committed, policies, live.is_known)
    reason = "parts of the file are known only once its template is rendered"
    if policy is None:
        return _Comparison(Drift("", unknown=reason), ())
    return _Comparison(Drift(policy.name, unknown=reason), (policy,))


def _compare_folder(
    committed: Document, policies: Sequence[LivePolicy], live: LiveRole
) -> _Comparison:
    """Compares several policies of one folder with all policies of the role that AWS does not
    manage.
    """
    own_policies = tuple(policy for policy in policies if not _is_managed_by_aws(policy))
    documents = [policy.document for policy in own_policies]
    drift = _drift("the role", committed, documents, denying=[committed], in_force=documents)
    if not live.is_known:
        drift = replace(drift, file_allows=None, file_denies=None)
    return _Comparison(drift, own_policies)


def _compare_file(
    committed: Document,
    files: Sequence[Document],
    policies: Sequence[LivePolicy],
    live: LiveRole,
) -> _Comparison:
    """Compares one policy with its counterpart."""
    counterpart = _counterpart(committed, policies)
    if counterpart is None:
        counterpart = _most_similar(committed, policies, live.is_known)
    if counterpart is None and live.is_known:
        return _Comparison(Drift("", missing=True), ())
    if counterpart is None:
        # A policy that could not be read may be the counterpart.
        return _Comparison(Drift("", unknown="not all of the account was read"), ())
    # A Deny of any file, or of any policy in force, counts.
    other_documents = [policy.document for policy in policies if policy is not counterpart]
    drift = _drift(
        counterpart.name,
        committed,
        [counterpart.document],
        denying=[committed, *files, *other_documents],
        in_force=[policy.document for policy in live.policies],
    )
    if not live.is_known:
        drift = replace(drift, file_denies=None)
    return _Comparison(drift, (counterpart,))


def _drift(
    name: str,
    committed: Document,
    documents: Sequence[Document],
    *,
    denying: Sequence[Document],
    in_force: Sequence[Document],
) -> Drift:
    """Returns what differs between the policy file and live policies.

    Args:
        name: The name of the live policies.
        committed: The policy file.
        documents: The live policies.
        denying: The documents whose Deny statements make up for one that the file lacks.
        in_force: Those whose Deny statements make up for one that the live policies lack.
    """
    return Drift(
        name,
        live_allows=_first_access(check_containment([committed], documents).smallest),
        file_allows=_first_access(check_containment(documents, [committed]).smallest),
        live_denies=_first_denied(lost_denies(documents, denying)),
        file_denies=_first_denied(lost_denies([committed], in_force)),
    )


def _is_managed_by_aws(policy: LivePolicy) -> bool:
    return ":iam::aws:policy/" in policy.name


def _counterpart(document: Document, policies: Sequence[LivePolicy]) -> LivePolicy | None:
    """Returns the policy of equal meaning."""
    for policy in policies:
        live = [policy.document]
        if _contains(live, [document]) and _contains([document], live):
            return policy
    return None


def _contains(documents: Sequence[Document], others: Sequence[Document]) -> bool:
    """Returns whether documents allow no more than others, and deny no less."""
    return check_containment(documents, others).holds and not lost_denies(documents, others)


def _is_template(document: Document) -> bool:
    """Whether a policy has placeholders that a deployment fills in, as `${AWS::Region}`.

    In a statement of the version 2008-10-17, which has no variables, `${...}` is plain text.
    """
    texts: list[str] = []
    for statement in document.statements:
        can_have_placeholders = statement.variables
        if can_have_placeholders:
            texts += [*statement.actions, *statement.resources]
            texts += [*statement.not_actions, *statement.not_resources]
    return any(map(PLACEHOLDER.search, texts))


def _most_similar(
    committed: Document, policies: Sequence[LivePolicy], are_all: bool
) -> LivePolicy | None:
    """Finds a policy by name, else by common entries; `are_all` states that all policies could be
    read.
    """
    own_policies = [policy for policy in policies if not _is_managed_by_aws(policy)]
    stem = PurePosixPath(committed.where.partition("#")[0]).stem.lower()
    of_the_stem = [
        policy for policy in own_policies if re.split(r"[/ ]", policy.name)[-1].lower() == stem
    ]
    if of_the_stem:
        return of_the_stem[0]
    if not are_all:
        return None
    shared = {
        policy.name: _entries(committed) & _entries(policy.document) for policy in own_policies
    }
    most_similar = max(own_policies, key=lambda policy: len(shared[policy.name]), default=None)
    if most_similar is None or (not shared[most_similar.name] and len(own_policies) > 1):
        return None
    return most_similar


def _entries(document: Document) -> set[str]:
    return {action.lower() for statement in document.statements for action in statement.actions}


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
