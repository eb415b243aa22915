"""What IAM refuses as a policy, and what nobody can tell before a template is rendered: each in one sentence.

The grammar of a policy: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html, read
2026-11-24.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from leastpriv.errors import PolicyFileError
from leastpriv.policy.location import names
from leastpriv.policy.placeholders import Placeholder, parts_of
from leastpriv.policy.source import Source
from leastpriv.policy.spans import Node

LISTS = ("Action", "NotAction", "Resource", "NotResource")
"""Elements of a statement that are a string or a list of strings."""
VARIABLES_VERSION = "2012-10-17"
"""The version from which `${…}` means something; without it, and in 2008-10-17, it is plain text
(read 2026-11-24 at https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html).
"""

_VERSIONS = (VARIABLES_VERSION, "2008-10-17", "")
_ELEMENTS = ("Sid", "Effect", "Principal", "NotPrincipal", *LISTS, "Condition")
_EXCLUSIVE = (("Action", "NotAction"), ("Resource", "NotResource"))
_LIKE = 0.75
"""How much of a misspelled element has to be right to be told which one is meant."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """The checks of one policy; every one of them raises PolicyFileError."""

    source: Source
    where: str
    """How messages call the file."""

    def error(self, node: Node, advice: str) -> PolicyFileError:
        """Make the error that names a node's place."""
        return self._error(node.start, advice)

    def check_policy(self, policy: Node, version: str) -> None:
        """Refuse what is wrong with a policy outside its statements."""
        if version not in _VERSIONS:
            node = policy.get_any_case("Version") or policy
            raise self.error(node, f"IAM knows no Version {names([version])}; write {VARIABLES_VERSION}")
        self._refuse_twins(policy)
        self._refuse_aliases(policy)
        node = policy.get_any_case("Statement") or policy
        self._refuse_expression(node, "Statement")
        if node is policy or node.kind not in {"array", "object"}:
            raise self.error(node, "Statement must be an object or a list of objects; correct the policy")

    def check_statement(self, node: Node) -> None:
        """Refuse what is wrong with a statement, its values left aside."""
        self._refuse_expression(node, "a statement")
        if node.kind != "object":
            raise self.error(node, "a statement must be an object; correct the policy")
        if len(node.members) == 1 and node.members[0].key.startswith("Fn::"):
            raise self.error(
                node, f"this statement is made by {node.members[0].key}; name a file in which it is written out"
            )
        self._refuse_twins(node)
        self._refuse_unknown(node)
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
        """Refuse a statement that is about no action, or whose lists are empty: it would be read as saying nothing."""
        if not (statement.get_any_case("Action") or statement.get_any_case("NotAction")):
            raise self.error(statement, "this statement has no Action, which IAM refuses; add it")
        for member in statement.members:
            if member.value.kind == "array" and not member.value.items and member.key.casefold() != "condition":
                raise self.error(
                    member.value, f"{member.key} is empty, which IAM refuses; name something, or remove the statement"
                )

    def _error(self, offset: int, advice: str) -> PolicyFileError:
        return PolicyFileError(f"{self.where}: {self.source.place(offset)}: {advice}.")

    def _refuse_expression(self, node: Node, what: str) -> None:
        """Terraform's `[for …]` or `concat(…)` is no mistake, and only Terraform can work it out."""
        parts = parts_of(node, "terraform", {}) if self.source.language == "terraform" else None
        if any(isinstance(part, Placeholder) for part in parts or ()):
            raise self.error(
                node,
                f"{what} is an expression that only Terraform can work out; save what it renders as JSON and name that",
            )

    def _refuse_unknown(self, statement: Node) -> None:
        """A misspelled Condition must not be read as no condition."""
        known = {element.casefold(): element for element in _ELEMENTS}
        for member in statement.members:
            if member.key.casefold() not in known:
                near = get_close_matches(member.key.casefold(), known, n=1, cutoff=_LIKE)
                advice = f"write {known[near[0]]}" if near else "remove it"
                key = names([member.key])
                raise self._error(member.start, f"IAM knows no {key} in a statement and refuses the policy; {advice}")

    def _refuse_twins(self, node: Node) -> None:
        seen: dict[str, str] = {}
        for member in node.members:
            other = seen.setdefault(member.key.casefold(), member.key)
            if other is not member.key:
                case = "" if other == member.key else ", in different case"
                raise self.error(node, f"the key {names([member.key])} stands twice{case}; keep one")

    def _refuse_aliases(self, policy: Node) -> None:
        """An edit of what other places repeat, or of a repetition, would change more than the policy."""
        for node in _below(policy):
            if node.kind == "alias" or node.anchor:
                raise self.error(node, "the policy has a YAML anchor or alias; write the value out in both places")


def _below(node: Node) -> Iterator[Node]:
    yield node
    for child in (*node.items, *(member.value for member in node.members)):
        yield from _below(child)
