"""Generalizes the resources of a round's additions: the next round creates resources of other names
and ids.

The candidate shows what changes: a pattern that covers the resource, another id under the same
action, or a name whose copy is another one (`permissions.names`). The copy of the earlier run is
open in all entries that have its word, and an id in all entries of its type, since the next denials
would be of these. Sensitive actions get a pattern of a whole type only where an earlier run used
another id, and none that covers the principal. What no call showed is never offered on data of a
name that is the same in each run.

A copy is one of several deployments of an app whose names differ in a word, as `dev` and `prod`. A
part of a name that is `open` is a wildcard: `stack-*` is `stack-a1` with its last part open. A
pattern that was `learned` from one resource, with its reason, is applied to the other entries.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product, takewhile

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.models import Basis, ChangeKind, Condition
from leastpriv.permissions.catalog import forbidden, is_read, sensitivity
from leastpriv.permissions.event_table import Visibility, visibility
from leastpriv.permissions.generalize import ObservedResource, Pattern
from leastpriv.permissions.lifecycle import created_types, siblings_of
from leastpriv.permissions.names.app_names import AppNames, destroys
from leastpriv.permissions.names.next_run import read_next_run
from leastpriv.permissions.names.observed import NameUse
from leastpriv.permissions.patterns import has_wildcard, resource_covers, without_covered
from leastpriv.permissions.resource_types import fits, types_of_arn
from leastpriv.permissions.tool_chains import unrecorded_items
from leastpriv.permissions.volatility import (
    WildcardPart,
    literal_letters,
    open_parts,
    parts_of,
    service_of,
)
from leastpriv.policy.document import Document, Statement
from leastpriv.proposal.additions import own_account
from leastpriv.proposal.models import Change
from leastpriv.trial.limits import needed_proof

_IN_CANDIDATE = "the policy has this pattern for other actions"
_OTHER_ID = "each run gets another id"
_OTHER_NAME = "each run writes another word here"
_EARLIER = "the runs that the candidate was made from"
_NEXT = "this round"
_ID = re.compile(r"(?:Id|ID|Uuid|UUID|Identifier)$")
_DRAWN = re.compile(r"(?:[a-z]{1,4}-)?(?=[A-Za-z]*[0-9])[A-Za-z0-9]{6,40}")
_RANDOM = re.compile(r"[0-9a-f]{32,64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""An id that AWS drew, by its look: one word with a digit, where the part is an id; a long
hexadecimal one anywhere.
"""
_UNRECORDED = "the trail does not record its use on what the command creates"
_HASH = "the tool names it by its contents"
_ARTIFACT = re.compile(
    r"(?P<place>arn:[^:]*:s3:::[^/*?]+/(?:[^*?]*/)?)(?P<hash>[0-9a-f]{32,64})"
    r"(?P<end>(?:\.[a-z]{1,10})?)"
)
"""`aws cloudformation package` and SAM write a file as the hash of its contents, a template with an
extension.
"""
_ON_ARTIFACTS = ("s3:DeleteObject", "s3:GetObject", "s3:PutObject")
_SAME_FOLDER = "the command used it on another object of the folder"
_WHOLE_BUCKET = re.compile(r"arn:[^:]*:s3:::[^/]+/\*")


class _Learned(Struct, frozen=True):
    """A pattern, and what it says of other entries of the candidate."""

    pattern: str
    reason: str
    names: AppNames | None = None
    """The names of the candidate, with the copy that is open in all entries."""
    is_shown: bool = False
    """An earlier run used the action on another id."""
    basis: Basis = Basis.DENIED

    def of(self, resource: str) -> Pattern:
        """Returns the pattern with the resource that it was made from."""
        return Pattern(self.pattern, (resource,), (WildcardPart("name", self.reason),))


class NextNames(Struct, frozen=True):
    """What may be learned from a candidate."""

    document: Document
    principal: str
    never_add: tuple[str, ...] = ()
    unrecorded: frozenset[str] = frozenset()
    """Services of which an earlier round was denied an action that only a data event shows."""

    def generalize(self, added: Sequence[Change]) -> list[Change]:
        """Returns the additions with patterns for what changes, and those that the next rounds
        would be denied.
        """
        changes: list[Change] = []
        learned_by_pattern: dict[str, _Learned] = {}
        for change in added:
            learned_by_resource = {
                resource: self._learn(change.action, resource) for resource in change.resources
            }
            for learned in learned_by_resource.values():
                if learned:
                    learned_by_pattern[learned.pattern] = learned
            changes += _with_patterns(change, learned_by_resource, self.principal)
        for learned in learned_by_pattern.values():
            changes += self._further(learned)
        changes += self._unrecorded(added, learned_by_pattern.values())
        for change in added:
            changes += self._of_artifacts(change)
        return _without_repeated(changes)

    def _learn(self, action: str, resource: str) -> _Learned | None:
        """Returns the first pattern that may be written for a resource; None without one."""
        if resource == "*":
            return None
        rules = (
            _artifact,
            self._other_id,
            self._covering,
            self._other_name,
            self._same_folder,
        )
        for rule in rules:
            learned = rule(action, resource)
            if learned is None or learned.pattern == resource:
                continue
            if self._may_write(action, learned):
                return learned
        return None

    def _may_write(self, action: str, learned: _Learned) -> bool:
        """Whether an addition may have a pattern."""
        pattern = learned.pattern
        if not fits(action, pattern) or forbidden(action, self.never_add):
            return False
        if not sensitivity(action):
            return True
        if resource_covers(pattern, self.principal):
            return False
        return learned.is_shown or not _is_whole_type(pattern)

    def _covering(self, action: str, resource: str) -> _Learned | None:
        """The narrowest pattern of the same service in the candidate that covers the resource, or
        its bucket: `arn:aws:s3:::shop-*/a` for `arn:aws:s3:::shop-a1/a` where `s3:CreateBucket` has
        `arn:aws:s3:::shop-*`.
        """
        narrowest = self._narrowest(action, resource)
        bucket, slash, key = resource.partition("/")
        if narrowest or not slash or ":s3:::" not in bucket:
            return narrowest
        narrowest = self._narrowest("s3:CreateBucket", bucket)
        return replace(narrowest, pattern=f"{narrowest.pattern}/{key}") if narrowest else None

    def _narrowest(self, action: str, resource: str) -> _Learned | None:
        """Returns the pattern of the candidate that covers a resource and that all its other
        patterns cover; None where there is no such one.
        """
        covering_entries: set[str] = set()
        for statement in self._statements():
            for entry in statement.resources:
                if _is_narrow_pattern(entry, resource) and fits(action, entry):
                    covering_entries.add(entry)
        for entry in sorted(covering_entries):
            if all(resource_covers(other_entry, entry) for other_entry in covering_entries):
                return _Learned(entry, _IN_CANDIDATE)
        return None

    def _other_id(self, action: str, resource: str) -> _Learned | None:
        """Every id of the type, where the candidate grants the action on another id or creates such
        resources.
        """
        pattern = self._opened(resource)
        if pattern == resource:
            return None
        is_shown = any(resource_covers(pattern, entry) for entry in self._granted(action))
        if not is_shown and not self._creates_type_of(resource):
            return None
        return _Learned(pattern, _OTHER_ID, is_shown=is_shown)

    def _granted(self, action: str) -> Iterator[str]:
        """The resources on which the candidate grants an action by its name."""
        for statement in self._statements():
            if action in statement.actions:
                yield from statement.resources

    def _opened(self, resource: str) -> str:
        """The resource with its id open: `.../vpc/*` for `.../vpc/vpc-0a1b2c3d`.

        A type that no table lists is judged by the look of its parts, unless the candidate creates
        such resources by name.
        """
        with_open_id = _with_open_id(resource)
        if with_open_id != resource:
            return with_open_id
        service = service_of(resource)
        kinds = types_of_arn(service, resource)
        for statement in self._creating(resource):
            for entry in statement.resources:
                is_same_type = bool(kinds & types_of_arn(service, entry))
                name = entry.rpartition("/")[2].rpartition(":")[2]
                if is_same_type and literal_letters(name):
                    return resource
        return _with_open_look(resource)

    def _creating(self, resource: str) -> Iterator[Statement]:
        """The statements of the candidate with an action that creates resources of the type of a
        resource.
        """
        service = service_of(resource)
        kinds = types_of_arn(service, resource)
        for statement in self._statements():
            created: set[str] = set()
            for action in statement.actions:
                if action.startswith(f"{service}:"):
                    created.update(created_types(service, action.partition(":")[2]))
            if created & kinds:
                yield statement

    def _creates_type_of(self, resource: str) -> bool:
        """Whether the candidate creates resources of the type of a resource."""
        return any(True for _ in self._creating(resource))

    def _creates(self, resource: str) -> bool:
        """Whether the candidate creates a resource of this name, and not only any of its type."""
        return any(
            resource_covers(entry, resource) and _has_letters(entry)
            for statement in self._creating(resource)
            for entry in statement.resources
        )

    def created_without(self, action: str) -> list[str]:
        """Returns the resources that the candidate creates and on which it does not allow an action
        of their type.
        """
        entries = {
            entry: None
            for statement in self._statements()
            for entry in statement.resources
            if _has_letters(entry) and fits(action, entry) and self._creates(entry)
        }
        return [entry for entry in entries if not self._grants(action, entry)]

    def _other_name(self, action: str, resource: str) -> _Learned | None:
        """The name in each copy, where the candidate has the one of another copy."""
        names = read_next_run(self._uses(), _use(action, resource, _NEXT))
        pattern = _in_each_copy(names, action, resource) if names else resource
        return _Learned(pattern, _OTHER_NAME, names)

    def _same_folder(self, action: str, resource: str) -> _Learned | None:
        """The folder of an object and of another one on which the candidate grants the action.

        A release writes objects of new names. The whole bucket counts as a folder only where the
        candidate creates it, and never for a deletion.
        """
        bucket, slash, _ = resource.partition("/")
        if not slash or ":s3:::" not in bucket:
            return None
        others = (
            entry
            for entry in self._granted(action)
            if entry.startswith(f"{bucket}/") and not has_wildcard(entry) and entry != resource
        )
        folders = [_common_folder(resource, other) for other in others]
        folder = max(folders, key=len, default="")
        if not folder:
            return None
        is_whole_bucket = folder == f"{bucket}/"
        if is_whole_bucket and (destroys(action) or not self._creates(bucket)):
            return None
        return _Learned(f"{folder}*", _SAME_FOLDER)

    def _uses(self) -> list[NameUse]:
        """What the candidate grants by its name, as the uses of an earlier run."""
        uses: list[NameUse] = []
        for statement in self._statements():
            for action, entry in product(statement.actions, statement.resources):
                if entry != "*" and "*" not in action:
                    uses.append(_use(action, entry, _EARLIER))
        return uses

    def _further(self, learned: _Learned) -> Iterator[Change]:
        """Yields additions that widen the other statements as the learned one.

        Where `stack-a1` was learned to be `stack-*`, an entry `queue-a1` becomes `queue-*`; where
        an id was learned to be another in each run, each id of a type that the candidate creates
        becomes `*`. A deployment deletes one type after the other, so that each would take a round.

        An addition is shown by an earlier run (`is_shown`) only under the very pattern that was.
        """
        for statement in self._statements():
            action_names = [action for action in statement.actions if "*" not in action]
            for entry, action in product(statement.resources, action_names):
                widened = self._opened_with(learned, action, entry)
                is_shown = learned.is_shown and widened == learned.pattern
                if widened != entry:
                    widened_name = replace(learned, pattern=widened, is_shown=is_shown)
                    yield from self._addition(action, entry, widened_name, statement.conditions)

    def _opened_with(self, learned: _Learned, action: str, entry: str) -> str:
        """An entry with the copy or the id open that was learned from another one."""
        if learned.names is not None:
            return _in_each_copy(learned.names, action, entry)
        if learned.reason != _OTHER_ID:
            return entry
        if resource_covers(learned.pattern, entry):
            return learned.pattern
        if self._creates_type_of(entry):
            return self._opened(entry)
        return entry

    def _unrecorded(
        self, added: Iterable[Change], learned: Collection[_Learned]
    ) -> Iterator[Change]:
        """Actions on what the candidate creates whose use the trail does not record, as a denial of
        one shows.

        Without data events the next denials would be of these, one in each round: in a service that
        was denied one all that a deployment usually does with such items, in others what reads a
        resource after its creation. A name that is the same in each run lives long: only a call
        shows how its items are used.
        """
        denied = services_without_data_events(added)
        if not denied:
            return
        # The denials of a second service show that the trail records no data event at all.
        everywhere = len(self.unrecorded | denied) > 1
        for statement in self._statements():
            entries = [entry for entry in statement.resources if _has_letters(entry)]
            for creating in statement.actions:
                of_items = everywhere or creating.partition(":")[0] in denied
                uses = _unrecorded_uses(creating, of_items=of_items, of_any_service=everywhere)
                new_names = list(_names_of_one_run(creating, entries, learned))
                for use, entry in product(uses, without_covered((*new_names, *entries))):
                    if entry in new_names or not needed_proof(use.action):
                        pattern = _Learned(f"{entry}{use.item}", _UNRECORDED, basis=Basis.LIFECYCLE)
                        yield from self._addition(use.action, entry, pattern, statement.conditions)

    def _of_artifacts(self, change: Change) -> Iterator[Change]:
        """What a deployment does with artifacts that it names by their contents, in a bucket that
        exists already.
        """
        if change.action not in _ON_ARTIFACTS:
            return
        for resource in change.resources:
            artifact = _ARTIFACT.fullmatch(resource)
            if artifact is None:
                continue
            stem = _with_any_hash(artifact)
            patterns = dict.fromkeys((stem + artifact["end"], stem, f"{stem}.template"))
            for action, pattern in product(_ON_ARTIFACTS, patterns):
                learned = _Learned(pattern, _HASH, basis=Basis.LIFECYCLE)
                yield from self._addition(action, resource, learned)

    def _addition(
        self, action: str, entry: str, learned: _Learned, conditions: Sequence[Condition] = ()
    ) -> Iterator[Change]:
        """Yields the addition of an action on a pattern, if it may be written and the candidate
        does not grant it.
        """
        pattern = learned.pattern
        if not self._may_write(action, learned) or self._grants(action, pattern):
            return
        yield Change(
            kind=ChangeKind.ADD,
            action=action,
            resources=(pattern,),
            used=(action,),
            basis=learned.basis,
            security=sensitivity(action),
            patterns=(learned.of(entry),),
            conditions=_in_own_account(pattern, conditions, self.principal),
        )

    def _grants(self, action: str, resource: str) -> bool:
        return any(resource_covers(entry, resource) for entry in self._granted(action))

    def _statements(self) -> Iterator[Statement]:
        for statement in self.document.statements:
            if statement.effect == "Allow" and statement.resources and not statement.not_actions:
                yield statement


def services_without_data_events(denied: Iterable[Change]) -> frozenset[str]:
    """Services of which an action was denied that only a data event shows."""
    actions = {change.action for change in denied}
    return frozenset(action.partition(":")[0] for action in actions if _is_data_event(action))


def _is_data_event(action: str) -> bool:
    return visibility(action).visibility is Visibility.DATA


class _UnrecordedUse(Struct, frozen=True, order=True):
    """An action on what a deployment creates that only a data event shows."""

    action: str
    item: str
    """What follows the ARN of the resource: `/*` for the objects of a bucket."""


def _unrecorded_uses(
    creating: str, *, of_items: bool, of_any_service: bool
) -> list[_UnrecordedUse]:
    """Returns what a deployment does, without a record and a risk, with what an action creates.

    Args:
        creating: the action.
        of_items: all that it usually does with the items, not only what reads the resource.
        of_any_service: where no table lists the usual items of the service, all its actions.
    """
    service, _, name = creating.partition(":")
    kinds = created_types(service, name)
    uses: set[_UnrecordedUse] = set()
    if kinds:
        for sibling in siblings_of({creating}):
            if is_read(sibling):
                uses.add(_UnrecordedUse(sibling, ""))
    if of_items:
        for action, item in unrecorded_items(service, kinds, of_any_service=of_any_service):
            uses.add(_UnrecordedUse(action, item))
    return [
        use for use in sorted(uses) if _is_data_event(use.action) and not sensitivity(use.action)
    ]


def _without_repeated(changes: Iterable[Change]) -> list[Change]:
    """Returns the first change of each action, resources and conditions."""
    change_by_key: dict[tuple[object, ...], Change] = {}
    for change in changes:
        change_by_key.setdefault((change.action, change.resources, change.conditions), change)
    return list(change_by_key.values())


def _with_patterns(
    change: Change, learned: Mapping[str, _Learned | None], principal: str
) -> Iterator[Change]:
    """Yields a change with patterns; objects of buckets that a pattern names have a condition, and
    a change apart.
    """
    groups: dict[tuple[Condition, ...], dict[str, Pattern | None]] = {}
    for resource, learned_pattern in learned.items():
        entry = resource
        pattern = None
        if learned_pattern:
            entry = learned_pattern.pattern
            pattern = learned_pattern.of(resource)
        conditions = _in_own_account(entry, change.conditions, principal)
        groups.setdefault(conditions, {})[entry] = pattern
    for conditions, pattern_by_entry in groups.items():
        patterns = (*change.patterns, *filter(None, pattern_by_entry.values()))
        yield replace(
            change,
            resources=tuple(pattern_by_entry),
            patterns=patterns,
            conditions=conditions,
        )


def _artifact(action: str, resource: str) -> _Learned | None:
    """The pattern of an artifact's name, letter by letter."""
    artifact = _ARTIFACT.fullmatch(resource)
    if artifact is None or action not in _ON_ARTIFACTS:
        return None
    return _Learned(_with_any_hash(artifact) + artifact["end"], _HASH)


def _with_any_hash(artifact: re.Match[str]) -> str:
    """Returns the ARN of an artifact without its end, its hash open letter by letter."""
    any_hash = "?" * len(artifact["hash"])
    return f"{artifact['place']}{any_hash}"


def _is_whole_type(pattern: str) -> bool:
    """Whether a pattern has no letter of a name, so that it covers each resource of a type."""
    name = pattern.split(":", 5)[5].rpartition("/")[2]
    return literal_letters(name) == 0 and ":s3:::" not in pattern


def _is_narrow_pattern(entry: str, resource: str) -> bool:
    """Whether an entry is a pattern of names that covers a resource of the same service."""
    if not has_wildcard(entry) or not entry.startswith(_start_to_service(resource)):
        return False
    if not _has_letters(entry) or _WHOLE_BUCKET.fullmatch(entry):
        return False
    return resource_covers(entry, resource)


def _start_to_service(arn: str) -> str:
    return ":".join(arn.split(":")[:3]) + ":"


def _has_letters(resource: str) -> bool:
    """Whether a name is at least in part a literal one."""
    return resource != "*" and literal_letters(resource.split(":", 5)[-1]) > 0


def _common_folder(resource: str, other: str) -> str:
    """Returns the common beginning of two objects' ARNs up to its last slash."""
    # The last part is the object's own name.
    folders = zip(resource.split("/")[:-1], other.split("/")[:-1], strict=False)
    common_folders = takewhile(lambda pair: pair[0] == pair[1], folders)
    return "".join(f"{folder}/" for folder, _ in common_folders)


def _with_open_id(resource: str) -> str:
    """The resource with the id open that only its creation shows to be new in each run; itself
    without one.
    """
    opened = open_parts(resource, is_made=True).text
    return resource if open_parts(resource, is_made=False).text == opened else opened


def _with_open_look(resource: str) -> str:
    """The resource with the parts open that look like ids which AWS drew."""
    prefix = service_of(resource)
    for part in reversed(parts_of(prefix, resource) if prefix != "s3" else ()):
        text = resource[part.start : part.end]
        if _RANDOM.fullmatch(text) or (_ID.search(part.variable) and _DRAWN.fullmatch(text)):
            resource = f"{resource[: part.start]}*{resource[part.end :]}"
    return resource


def _use(action: str, resource: str, run: str) -> NameUse:
    service, _, name = action.partition(":")
    kinds_made = {kind.lower() for kind in created_types(service, name)}
    kinds = {kind.lower() for kind in types_of_arn(service, resource)}
    return NameUse(
        action=action,
        resource=resource,
        runs=(run,),
        creates=not kinds_made.isdisjoint(kinds),
        destroys=destroys(action),
    )


def _in_each_copy(names: AppNames, action: str, resource: str) -> str:
    """The pattern of a name over its copies; the resource where it has none."""
    patterns, _ = names.resources_of(action, [ObservedResource(resource)])
    covering = [
        pattern.pattern for pattern in patterns if resource_covers(pattern.pattern, resource)
    ]
    return next((pattern for pattern in covering if pattern != resource), resource)


def _names_of_one_run(
    creating: str, entries: Iterable[str], learned: Iterable[_Learned]
) -> Iterator[str]:
    """Yields the names that differ in each run, of those that an action creates."""
    name_models = [
        learned_name.names
        for learned_name in learned
        if learned_name.names and not learned_name.names.copies.long_lived
    ]
    for entry in entries:
        if has_wildcard(entry):
            yield entry
            continue
        for names in name_models:
            in_copies = _in_each_copy(names, creating, entry)
            if in_copies != entry:
                yield in_copies


def _in_own_account(
    resource: str, conditions: Sequence[Condition], principal: str
) -> tuple[Condition, ...]:
    """The conditions, and that of the account: an ARN of an object does not show whose bucket a
    pattern matches.
    """
    bucket, slash, _ = resource.partition("/")
    if not slash or ":s3:::" not in bucket or not has_wildcard(bucket):
        return tuple(conditions)
    return (*conditions, own_account(principal))
