"""Rejects what IAM would not accept as a policy.

Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html, read 2026-11-24.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from leastpriv.errors import PolicyFileError
from leastpriv.policy.source import PolicySource, format_names
from leastpriv.policy.syntax_tree import Node
from leastpriv.policy.template_functions import Placeholder, parts_of

LISTS = ("Action", "NotAction", "Resource", "NotResource")
"""Elements of a statement whose value is a string or a list of strings."""
VARIABLES_VERSION = "2012-10-17"
"""The version from which `${…}` is a policy variable; without a version, and in 2008-10-17, it is plain text (read
2026-11-24 at https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html)."""

_VERSIONS = (VARIABLES_VERSION, "2008-10-17", "")
_ELEMENTS = ("Sid", "Effect", "Principal", "NotPrincipal", *LISTS, "Condition")
_EXCLUSIVE = (("Action", "NotAction"), ("Resource", "NotResource"))
_MIN_SIMILARITY = 0.75
"""Similarity from which a misspelled element is taken for a known one."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """Checks one policy against IAM's grammar; every check raises PolicyFileError."""

    source: PolicySource
    where: str
    """Name of the file in messages."""

    def error(self, node: Node, advice: str) -> PolicyFileError:
        """Returns the error for a node, with the node's position."""
        return self._error(node.start, advice)

    def check_policy(self, policy: Node, version: str) -> None:
        """Checks the policy outside its statements."""
        if version not in _VERSIONS:
            node = policy.get_any_case("Version") or policy
            raise self.error(node, f"IAM knows no Version {format_names([version])}; write {VARIABLES_VERSION}")
        self._check_duplicate_keys(policy)
        self._check_no_aliases(policy)
        node = policy.get_any_case("Statement") or policy
        self._check_no_expression(node, "Statement")
        if node is policy or node.kind not in {"array", "object"}:
            raise self.error(node, "Statement must be an object or a list of objects; correct the policy")

    def check_statement(self, node: Node) -> None:
        """Checks the keys of a statement, but not their values."""
        self._check_no_expression(node, "a statement")
        if node.kind != "object":
            raise self.error(node, "a statement must be an object; correct the policy")
        if len(node.members) == 1 and node.members[0].key.startswith("Fn::"):
            raise self.error(
                node, f"this statement is made by {node.members[0].key}; name a file in which it is written out"
            )
        self._check_duplicate_keys(node)
        elements = {element.casefold(): element for element in _ELEMENTS}
        for member in node.members:
            if member.key.casefold() not in elements:
                near = get_close_matches(member.key.casefold(), elements, n=1, cutoff=_MIN_SIMILARITY)
                advice = f"write {elements[near[0]]}" if near else "remove it"
                key = format_names([member.key])
                raise self._error(member.start, f"IAM knows no {key} in a statement and rejects the policy; {advice}")
        if node.get_any_case("Principal") or node.get_any_case("NotPrincipal"):
            raise self.error(
                node,
                "this statement has a principal, so that the file is a resource-based or trust policy; name "
                "the file of an identity-based policy of the role",
            )
        for one, other in _EXCLUSIVE:
            if node.get_any_case(one) and node.get_any_case(other):
                raise self.error(
                    node, f"this statement has both {one} and {other}; IAM takes only one, remove the other"
                )

    def check_lists(self, statement: Node) -> None:
        """Checks that a statement has an action and no empty list: an empty list would be read as granting nothing."""
        if not (statement.get_any_case("Action") or statement.get_any_case("NotAction")):
            raise self.error(statement, "this statement has no Action, which IAM rejects; add it")
        for member in statement.members:
            if member.value.kind == "array" and not member.value.items and member.key.casefold() != "condition":
                raise self.error(
                    member.value, f"{member.key} is empty, which IAM rejects; add an entry, or remove the statement"
                )

    def _error(self, offset: int, advice: str) -> PolicyFileError:
        return PolicyFileError(f"{self.where}: {self.source.position(offset)}: {advice}.")

    def _check_no_expression(self, node: Node, what: str) -> None:
        """Terraform's `[for …]` or `concat(…)` is valid, but only Terraform can evaluate it."""
        parts = parts_of(node, "terraform", {}) if self.source.language == "terraform" else None
        if any(isinstance(part, Placeholder) for part in parts or ()):
            raise self.error(
                node,
                f"{what} is an expression that only Terraform can work out; save what it renders as JSON and name that",
            )

    def _check_duplicate_keys(self, node: Node) -> None:
        seen: dict[str, str] = {}
        for member in node.members:
            other = seen.setdefault(member.key.casefold(), member.key)
            if other is not member.key:
                case = "" if other == member.key else ", in different case"
                raise self.error(node, f"the key {format_names([member.key])} appears twice{case}; keep one")

    def _check_no_aliases(self, policy: Node) -> None:
        """An edit of an anchored or aliased value would change other parts of the file too."""
        for node in _descendants(policy):
            if node.kind == "alias" or node.anchor:
                raise self.error(node, "the policy has a YAML anchor or alias; write the value out in both places")


def _descendants(node: Node) -> Iterator[Node]:
    yield node
    for child in (*node.items, *(member.value for member in node.members)):
        yield from _descendants(child)
