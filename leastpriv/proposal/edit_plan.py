"""Plans where each change is written: into a statement that fits, else into a new one with a
descriptive Sid.

A person pastes the changes of a statement that an expression, a shared list or another file makes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, structs

from leastpriv.errors import listed
from leastpriv.models import ChangeKind, grouped
from leastpriv.policy.document import Document, Statement, condition_of
from leastpriv.policy.edit import (
    AppendActions,
    AppendStatement,
    DropStatement,
    Edit,
    ReplaceActions,
    ReplaceNotAction,
    ReplaceResources,
    apply_edits,
    can_add_entries,
    can_add_statements,
)
from leastpriv.policy.evaluate import statements_naming
from leastpriv.policy.hcl_text import new_statements_hcl, statements_hcl
from leastpriv.policy.source import is_hcl
from leastpriv.policy.syntax_tree import json_value
from leastpriv.policy.yaml_writer import statement_text, yaml_style_of
from leastpriv.proposal.models import Change, HeldBackChange


class _ActionGrant(Struct, frozen=True):
    """One action to allow on some resources."""

    action: str
    resources: tuple[str, ...]
    condition: str = ""
    """As `PlannedGrant` has it."""


class PlannedGrant(Struct, frozen=True):
    """Actions to allow on some resources."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: str = ""
    """The condition block as JSON without white space; empty for none."""
    effect: str = "Allow"


def plan_edits(document: Document, changes: Sequence[Change]) -> list[Edit]:
    """Lists the edits that apply the changes to a committed policy; Deny statements never
    change.
    """
    plan = _EditPlan(document)
    by_statement = grouped(
        [(change.statement, change) for change in changes if change.kind is not ChangeKind.ADD]
    )
    for index in sorted(by_statement):
        plan.rewrite(document.statements[index], by_statement[index])
    # Moved grants and additions with equal resources share a statement.
    added = [
        _ActionGrant(change.action, change.resources, _condition(change))
        for change in changes
        if change.kind is ChangeKind.ADD
    ]
    plan.place(_group_grants([*plan.moved, *added]))
    sids = [edit.statement["Sid"] for edit in plan.edits if isinstance(edit, AppendStatement)]
    taken = [*map(str, sids), *(statement.sid for statement in document.statements)]
    for statement in _write_statements(_denials(changes, document), taken):
        plan.edits.append(AppendStatement(statement))
    return plan.edits


def _denials(changes: Sequence[Change], document: Document | None = None) -> list[PlannedGrant]:
    """The resources that Deny statements take out of the additions, if the document does not deny
    it.
    """
    denials: list[_ActionGrant] = []
    for change in changes:
        names = change.denied_on
        if names and document:
            for statement in statements_naming(document, change.action):
                if statement.effect == "Deny":
                    names = tuple(name for name in names if name not in statement.resources)
        if names:
            denials.append(_ActionGrant(change.action, names))
    return [structs.replace(grant, effect="Deny") for grant in _group_grants(denials)]


def new_statements(
    changes: Sequence[Change], taken_sids: Iterable[str]
) -> list[Mapping[str, object]]:
    """Writes statements for additions, one per resources and conditions, so that they grant only
    the listed access.
    """
    resources_by_form = grouped(
        [
            ((change.action, _condition(change)), resource)
            for change in changes
            for resource in change.resources
        ]
    )
    grants = (
        _ActionGrant(action, tuple(dict.fromkeys(resources)), condition)
        for (action, condition), resources in resources_by_form.items()
    )
    return _write_statements([*_group_grants(grants), *_denials(changes)], taken_sids)


def _joined(condition: str, change: Change) -> str:
    """A statement's condition block together with the conditions of a restriction."""
    if not (condition and change.conditions):
        return condition or _condition(change)
    block = json.loads(condition, parse_float=str)
    for operator, keys in json.loads(_condition(change)).items():
        block[operator] = {**keys, **block.get(operator, {})}
    return json.dumps(block, separators=(",", ":"))


def _condition(change: Change) -> str:
    """The conditions of a change as a condition block in the form of `PlannedGrant`."""
    block: dict[str, dict[str, str | list[str]]] = {}
    for condition in change.conditions:
        block.setdefault(condition.operator, {})[condition.key] = (
            condition.values[0] if len(condition.values) == 1 else list(condition.values)
        )
    return json.dumps(block, separators=(",", ":")) if block else ""


def _same_condition(one: str, other: str) -> bool:
    """Whether two condition blocks are equal, ignoring the order of values and keys and lists of
    one value.
    """
    return one == other or (bool(one and other) and _comparable(one) == _comparable(other))


def _comparable(condition: str) -> object:
    def values(value: object) -> frozenset[str]:
        return frozenset(map(str, value)) if isinstance(value, list) else frozenset({str(value)})

    block = json.loads(condition, parse_float=str)
    if not all(isinstance(keys, dict) for keys in block.values()):
        return condition
    # A key may occur twice in different case; each occurrence is a separate condition.
    return {
        operator: Counter((key.lower(), values(value)) for key, value in keys.items())
        for operator, keys in block.items()
    }


def _group_grants(grants: Iterable[_ActionGrant]) -> list[PlannedGrant]:
    """Joins the grants on equal resources under equal conditions."""
    actions_by_form = grouped(
        ((tuple(sorted(grant.resources)), grant.condition), grant.action) for grant in grants
    )
    return [
        PlannedGrant(tuple(sorted(set(actions))), resources, condition)
        for (resources, condition), actions in actions_by_form.items()
    ]


def _write_statements(
    grants: Iterable[PlannedGrant], taken_sids: Iterable[str]
) -> list[Mapping[str, object]]:
    """Returns new statements as values of JSON, each with a Sid that no other one has."""
    taken = {sid.lower() for sid in taken_sids}
    statements: list[Mapping[str, object]] = []
    for grant in grants:
        sid = _sid(grant, taken)
        taken.add(sid.lower())
        # Only text preserves the digits of a fraction.
        condition = (
            {"Condition": json.loads(grant.condition, parse_float=str)} if grant.condition else {}
        )
        lists = {"Action": list(grant.actions), "Resource": list(grant.resources)}
        statements.append({"Sid": sid, "Effect": grant.effect, **lists, **condition})
    return statements


def _sid(grant: PlannedGrant, taken: set[str]) -> str:
    """A descriptive Sid of letters and digits: `AllowCloudwatchPutMetricAlarm`, `AllowSqs`."""
    actions = grant.actions
    prefixes = sorted({action.partition(":")[0] for action in actions})
    stem = "".join(part.title() for prefix in prefixes for part in prefix.split("-"))
    if len(actions) == 1:
        stem += actions[0].partition(":")[2]
    stem = f"{grant.effect}{stem[:60]}"
    sid = stem
    number = 2
    while sid.lower() in taken:
        sid = f"{stem}{number}"
        number += 1
    return sid


class _Written(Struct, frozen=True):
    """What a rewritten statement grants."""

    actions: frozenset[str]
    """In lower case."""
    resources: frozenset[str]
    condition: str


class _EditPlan(Struct):
    """The edits so far, and which statements can still take additions."""

    document: Document
    edits: list[Edit] = []
    changed: set[int] = set()
    """Statements whose actions change."""
    closed: set[int] = set()
    """Statements that are removed or whose resources change."""
    moved: list[_ActionGrant] = []
    """Grants that leave their statement."""
    emptied: dict[int, frozenset[str]] = {}
    """Statements that keep no action -> their Action entries; they are removed unless a grant
    reuses them.
    """
    written: set[_Written] = set()
    """What the rewritten statements grant."""

    def rewrite(self, statement: Statement, changes: Sequence[Change]) -> None:
        """Removes and narrows a statement's entries; grants with restricted resources wait for
        `place`.
        """
        self.changed.add(statement.index)
        condition = condition_of(self.document, statement)
        grants = [
            _ActionGrant(change.restricted_action, change.restricted_to, _joined(condition, change))
            for change in changes
            if change.restricted_to
        ]
        becomes = {change.action: change.replacement for change in changes if change.replacement}
        changed_actions = _lower(change.action for change in changes)
        gone = {entry for entry in statement.actions if entry.lower() in changed_actions}
        new_entries = _lower(entry for entries in becomes.values() for entry in entries)
        stay = _lower(statement.actions) - changed_actions
        stay |= new_entries - _lower(grant.action for grant in grants)
        resources: tuple[str, ...] = statement.resources
        if not stay:
            self.closed.add(statement.index)
            first = _grant_to_keep(statement, grants, condition)
            if first is None:
                self.emptied[statement.index] = frozenset(gone)
                self.moved.extend(grants)
                return
            # The statement remains, with the restricted resources.
            stay = _lower(first.actions)
            grants = [
                grant
                for grant in grants
                if grant.action not in first.actions or grant.condition != condition
            ]
            resources = first.resources
        self.moved.extend(grants)
        names = resources or tuple(f"not {entry}" for entry in statement.not_resources)
        written = _Written(stay, frozenset(names), condition)
        if written in self.written:
            # An earlier statement now grants the same.
            self.closed.add(statement.index)
            self.edits.append(DropStatement(statement.index))
            return
        self.written.add(written)
        if resources != statement.resources:
            self.edits.append(
                ReplaceResources(statement.index, frozenset(statement.resources), resources)
            )
        self._write(statement, gone, becomes, stay)

    def _write(
        self,
        statement: Statement,
        gone: set[str],
        becomes: Mapping[str, tuple[str, ...]],
        stay: frozenset[str],
    ) -> None:
        """Rewrites a statement's actions; `stay` are those, in lower case, that it keeps."""
        actions_left = {
            action: tuple(entry for entry in entries if entry.lower() in stay)
            for action, entries in becomes.items()
        }
        lost = frozenset(entry for entry in gone if entry.lower() not in stay)
        if statement.not_actions:
            self.edits.extend(
                ReplaceNotAction(statement.index, entries) for entries in actions_left.values()
            )
        elif lost:
            inserted = tuple(
                (action, entries) for action, entries in actions_left.items() if entries
            )
            self.edits.append(ReplaceActions(statement.index, lost, inserted))

    def place(self, grants: Iterable[PlannedGrant]) -> None:
        """Writes grants into statements that fit, the others into new ones."""
        targets = _Targets(self.document)
        new = [grant for grant in grants if not self._fitted(grant, targets)]
        self.edits.extend(DropStatement(index) for index in self.emptied)
        sids = [statement.sid for statement in self.document.statements]
        self.edits.extend(AppendStatement(statement) for statement in _write_statements(new, sids))

    def _fitted(self, grant: PlannedGrant, targets: _Targets) -> bool:
        """Adds a grant to an existing statement, and returns whether one fits: with equal resources
        its actions are added, else with equal actions its resources.
        """
        like = targets.with_resources(grant)
        for statement in like:
            if statement.index not in self.closed and can_add_entries(
                self.document, statement.index, "Action"
            ):
                self.changed.add(statement.index)
                self.edits.append(AppendActions(statement.index, grant.actions))
                return True
        for statement in like:
            if gone := self.emptied.pop(statement.index, None):
                replaced_entry = next(entry for entry in statement.actions if entry in gone)
                self.edits.append(
                    ReplaceActions(statement.index, gone, ((replaced_entry, grant.actions),))
                )
                return True
        for statement in targets.with_actions(grant):
            is_open = not (statement.index in self.closed or statement.index in self.changed)
            if is_open and can_add_entries(self.document, statement.index, "Resource"):
                self.closed.add(statement.index)
                self.edits.append(ReplaceResources(statement.index, frozenset(), grant.resources))
                return True
        return False


def _grant_to_keep(
    statement: Statement, grants: Iterable[_ActionGrant], condition: str
) -> PlannedGrant | None:
    """Returns the grant of most actions for which a statement can stay that keeps no entry."""
    if any(map(statement.fixed_reason, statement.resources)):
        return None
    alike = [grant for grant in _group_grants(grants) if grant.condition == condition]
    return max(alike, key=lambda grant: len(grant.actions), default=None)


class _Targets:
    """The Allow statements with Action and Resource that could take a grant."""

    def __init__(self, document: Document) -> None:
        """Groups the statements: a policy may have thousands, and thousands of grants."""
        self._document = document
        allowing = [
            statement
            for statement in document.statements
            if statement.effect == "Allow" and statement.actions and statement.resources
        ]
        self._by_resources = grouped(
            [(frozenset(statement.resources), statement) for statement in allowing]
        )
        self._by_actions = grouped(
            [(_lower(statement.actions), statement) for statement in allowing]
        )

    def with_resources(self, grant: PlannedGrant) -> list[Statement]:
        """Returns the statements with the resources and the condition of a grant."""
        return self._like(grant, self._by_resources.get(frozenset(grant.resources), ()))

    def with_actions(self, grant: PlannedGrant) -> list[Statement]:
        """Returns the statements with the actions and the condition of a grant."""
        return self._like(grant, self._by_actions.get(_lower(grant.actions), ()))

    def _like(self, grant: PlannedGrant, statements: Iterable[Statement]) -> list[Statement]:
        return [
            statement
            for statement in statements
            if _same_condition(condition_of(self._document, statement), grant.condition)
        ]


def _lower(actions: Iterable[str]) -> frozenset[str]:
    return frozenset(action.lower() for action in actions)


class ChangeByHand(Struct, frozen=True):
    """A change that the file cannot take, and why."""

    change: Change
    reason: str


class SplitChanges(Struct, frozen=True):
    """The changes that can be written, and those that cannot."""

    editable: list[Change]
    by_hand: list[ChangeByHand]


def split_editable(document: Document, changes: Iterable[Change]) -> SplitChanges:
    """Splits changes by whether they can be written."""
    no_statement = "" if can_add_statements(document) else _why_no_statement(document)
    split = SplitChanges([], [])
    for change in changes:
        reason = ""
        if change.kind is not ChangeKind.ADD:
            statement = document.statements[change.statement]
            reason = statement.fixed_reason("" if statement.not_actions else change.action)
        if change.kind is ChangeKind.ADD or change.restricted_to:
            reason = reason or no_statement
        if reason:
            split.by_hand.append(ChangeByHand(change, reason))
        else:
            split.editable.append(change)
    return split


def _why_no_statement(document: Document) -> str:
    """Returns why no statement can be written, with what makes those that are there."""
    makers = dict.fromkeys(
        filter(None, (statement.fixed_reason("") for statement in document.statements))
    )
    reason = "the file itself writes none of its statements"
    return f"{reason}: {listed(makers, _MOST_MAKERS, '; ')}" if makers else reason


_MOST_MAKERS = 2


def text_to_add(document: Document, held: Sequence[HeldBackChange]) -> str:
    """Returns the statements of the additions held back, in the language of the file."""
    changes = [
        Change(
            kind=ChangeKind.ADD,
            action=held_back.action,
            resources=held_back.resources,
            conditions=held_back.conditions,
        )
        for held_back in held
    ]
    return statements_text(
        document, new_statements(changes, (statement.sid for statement in document.statements))
    )


def statements_text(document: Document, statements: Sequence[Mapping[str, object]]) -> str:
    """Returns statements to copy, in the language of the file."""
    is_hcl_file = document.source.format == "hcl" or document.source.language == "terraform"
    if is_hcl_file and not is_in_a_json_file(document):
        is_data_source = document.pointer.startswith(("data.", "/data/"))
        return new_statements_hcl(statements, as_blocks=is_data_source)
    if document.source.format == "yaml" and not document.source.embedded:
        style = yaml_style_of(document)
        return "".join(f"{statement_text(statement, '', style)}\n" for statement in statements)
    return "".join(
        f"{json.dumps(statement, indent=2, ensure_ascii=False)}\n" for statement in statements
    )


def text_to_paste(document: Document, changes: Sequence[Change]) -> str:
    """Returns the statements that changes which cannot be written would leave, in the language of
    the file that has them.
    """
    source = document.as_json()
    edited = apply_edits(source, plan_edits(source, changes))
    before = {(statement.sid, statement.meaning) for statement in source.statements}
    new = [
        statement.index
        for statement in edited.statements
        if (statement.sid, statement.meaning) not in before
    ]
    if is_in_a_json_file(document):
        values = [json_value(edited.statement_nodes[index]) for index in new]
        return "".join(f"{json.dumps(value, indent=2, ensure_ascii=False)}\n" for value in values)
    return statements_hcl(edited, new)


def is_in_a_json_file(document: Document) -> bool:
    """Whether another file has all statements as JSON, which `file` or `templatefile` reads."""
    reasons = {statement.fixed_reason("") for statement in document.statements}
    return all(reason.startswith("it is in ") for reason in reasons) and not any(
        is_hcl(reason) for reason in reasons
    )
