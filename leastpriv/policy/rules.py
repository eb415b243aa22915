"""Split statements into rules that containment can compare."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from leastpriv.models import Permission
from leastpriv.permissions.patterns import has_variable
from leastpriv.policy.condition_sets import Proviso, proviso_of
from leastpriv.policy.conditions import as_2012
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.glob_automaton import Element
from leastpriv.policy.syntax_tree import minified

_VARIABLE = re.compile(r"\$\{(?![*?$]\})[^}]*\}?")
EVERYTHING = Element(("*",))
_UNKNOWN = "a statement without Resource"


@dataclass(frozen=True, slots=True)
class Rule:
    """A statement, or the part of it that is about one resource entry with a policy variable."""

    allow: bool
    actions: Element
    resources: Element
    """Entries in the spelling of version 2012-10-17; a variable is loosened to `*`, and stands in `proviso`."""
    proviso: Proviso
    document: int
    """Number of its document among those that were given."""
    statement: Statement | None
    """None for a grant that is listed without a policy."""


def rules_of(documents: Sequence[Document]) -> tuple[Rule, ...]:
    """Take all statements of some documents apart."""
    return tuple(
        rule
        for number, document in enumerate(documents)
        for statement in document.statements
        if statement.actions or statement.not_actions
        for rule in _rules(document, number, statement)
    )


def listed_rule(listed: Permission) -> Rule:
    """Make the rule that grants one action pattern on one resource pattern, all of its conditions to hold."""
    resources, fits = _loosened(listed.resource)
    proviso = replace(proviso_of(listed.conditions, variables=True, unread=""), fits=fits)
    return Rule(True, Element((listed.action,)), Element((resources,)), proviso, -1, None)


def loosened(pattern: str) -> str:
    """Replace policy variables in a pattern of version 2012-10-17 by `*`."""
    return _VARIABLE.sub("*", pattern)


def _loosened(pattern: str) -> tuple[str, tuple[str, ...]]:
    return (loosened(pattern), (pattern,)) if has_variable(pattern) else (pattern, ())


def _rules(document: Document, number: int, statement: Statement) -> Iterator[Rule]:
    rule = Rule(
        allow=statement.effect == "Allow",
        actions=Element(statement.actions or statement.not_actions, bool(statement.not_actions)),
        resources=EVERYTHING,
        proviso=proviso_of(statement.conditions, statement.variables, _unread(document, statement)),
        document=number,
        statement=statement,
    )
    entries = tuple(as_2012(entry, statement.variables) for entry in statement.resources or statement.not_resources)
    plain = tuple(entry for entry in entries if not has_variable(entry))
    variable = tuple(entry for entry in entries if has_variable(entry))
    if statement.not_resources:
        yield replace(rule, resources=Element(plain, negated=True), proviso=replace(rule.proviso, misses=variable))
        return
    if not entries:
        # IAM would not have stored it: nobody knows what it does, so that it is equal to itself only.
        yield replace(rule, proviso=replace(rule.proviso, unread=rule.proviso.unread + _UNKNOWN))
    if plain:
        yield replace(rule, resources=Element(plain))
    for entry in variable:
        yield replace(rule, resources=Element((loosened(entry),)), proviso=replace(rule.proviso, fits=(entry,)))


def _unread(document: Document, statement: Statement) -> str:
    if statement.conditions_readable:
        return ""
    block = document.statement_nodes[statement.index].get_any_case("Condition")
    return minified(block) if block else ""
