"""Splits template strings into known text and placeholders for parts that only the rendered
template knows.

A placeholder is spelled `${Bucket.Arn}` like a policy variable, and evaluates like a variable
without a known value (docs: decision 12). Its name has no colon, so that it is no condition key,
and equal names stand for equal texts. Names that a build step replaces, such as `{{ account }}`,
are placeholders too.

Sources, read 2026-11-24: intrinsic-function-reference-sub.html in
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/,
https://developer.hashicorp.com/terraform/language/expressions/strings,
https://registry.terraform.io/providers/hashicorp/aws/latest/docs/data-sources/iam_policy_document.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Protocol

from msgspec import Struct

from leastpriv.permissions.patterns import BUILD_STEP_NAME
from leastpriv.policy.conditions import in_2012_spelling
from leastpriv.policy.syntax_tree import Node

Language = Literal["plain", "cloudformation", "sub", "terraform"]
"""Template language of the strings: none; functions, or names for a build step; one `Fn::Sub`
around the policy's text; Terraform."""


PLACEHOLDER = re.compile(r"\$\{(?![*?$]\})([^{}:]*)\}")
"""A placeholder in a text: its name has no colon, a policy variable's has one; `${*}` is an
escape."""


class Placeholder(Struct, frozen=True):
    """A part whose text is unknown."""

    name: str


Parts = tuple[str | Placeholder, ...]

_SUB = re.compile(r"\$\{(!)?([^{}]*)\}")
_TERRAFORM = re.compile(r"(\$\$\{|%%\{)|\$\{~?((?:[^{}]|\{[^{}]*\})*?)~?\}|(\$\{|%\{)")
_NAMED_ACCOUNT = re.compile(
    r"(arn:[^:\s]*:[^:\s]*:[^:\s]*:)(?!(?:aws|aws-managed|offering|partner):)"
    r"(?=[^:\s]*[A-Za-z])([\w$-]+)(?=:)"
)
"""An account has digits only, but for words of AWS, such as `aws-managed` for the rule groups of
Network Firewall; a name replaces it in `arn:aws:sqs:eu-west-1:ACCOUNT_ID:orders`.
"""
_NAME = re.compile(r"[A-Za-z0-9_.\[\]-]+")
_DIRECTIVE = "%{"


class FunctionValues(Protocol):
    """Evaluates the functions of one template."""

    def parts(self, value: Node) -> Parts | None:
        """Returns the only text of a string or function; None for any other value."""

    def sub(self, text: str) -> tuple[Parts, ...]:
        """Returns the possible texts of the argument of `Fn::Sub`."""


def parts_of(node: Node, language: Language, functions: FunctionValues | None) -> Parts | None:
    """Returns the parts of a string; None if the node is neither a string nor a function that makes
    one.

    Args:
        node: The value.
        language: How its text is read.
        functions: Evaluates CloudFormation's functions; needed for its two languages.
    """
    if language == "cloudformation" and functions is not None:
        return functions.parts(node)
    if node.kind != "string":
        return None
    if language == "terraform":
        return merged(_terraform_parts(node.text))
    if language == "sub" and functions is not None:
        texts = functions.sub(node.text)
        return texts[0] if len(texts) == 1 else (placeholder_for(node.text, "Fn.Sub"),)
    return (node.text,)


def with_build_step_names(text: str) -> Parts:
    """Returns the parts of a text in which names that a build step replaces are placeholders."""
    pieces = enumerate(BUILD_STEP_NAME.split(_NAMED_ACCOUNT.sub(r"\1{{\2}}", text)))
    return merged(
        placeholder_for(piece.strip("{}()#<>%=_@$")) if index % 2 else piece
        for index, piece in pieces
    )


def language_of(text: str) -> Language:
    """Returns the language of a policy without functions: with names for a build step, it is a
    template.
    """
    return (
        "cloudformation" if BUILD_STEP_NAME.search(text) or _NAMED_ACCOUNT.search(text) else "plain"
    )


def joined_text(parts: Parts, *, escaped: bool = False) -> str:
    """Joins parts; `escaped` marks text that only resembles a placeholder as plain text."""
    return "".join(
        f"${{{part.name}}}"
        if isinstance(part, Placeholder)
        else in_2012_spelling(part, not escaped)
        for part in parts
    )


def known_text(parts: Parts) -> str | None:
    """Returns the text of parts that are all known; None if one is not."""
    return "".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else None


def template_escape(language: Language) -> Callable[[str], str]:
    """Returns a function that escapes a policy's `${…}` so that the template leaves it
    unchanged.
    """
    if language == "terraform":
        return lambda text: text.replace("${", "$${").replace(_DIRECTIVE, "%%{")
    if language == "sub":
        return lambda text: text.replace("${", "${!")
    return lambda text: text


def placeholder_for(text: str, kind: str = "expression") -> Placeholder:
    """Returns the placeholder of an expression; a complex expression is named by its hash."""
    name = text.strip().replace("::", ".")
    if _NAME.fullmatch(name):
        return Placeholder(name)
    return Placeholder(f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:8]}")


_SERVERLESS = re.compile(r"\$\{([^{}]*[(:].*)\}", re.DOTALL)
"""A variable of the Serverless Framework that is a whole value, `${file(./iam.yml):list}`: its
source has an address (https://www.serverless.com/framework/docs/guides/variables, from memory
2026-12-03, not checked).
"""
_OUTSIDE_NAME = re.compile(r"[{}:$]+")


def serverless_variable(node: Node) -> Placeholder | None:
    """Returns the placeholder of a value that the Serverless Framework puts in; None for others."""
    match = _SERVERLESS.fullmatch(node.text.strip()) if node.kind == "string" else None
    if match is None:
        return None
    return Placeholder(_OUTSIDE_NAME.sub(".", match[1].strip()))


def is_one_expression(text: str) -> bool:
    """Returns whether a text of Terraform is one expression alone, whose value may be a list."""
    match = _TERRAFORM.fullmatch(text)
    return match is not None and match[2] is not None


def sub_parts(text: str) -> Iterator[str | Placeholder]:
    """Yields the parts of the argument of `Fn::Sub`; a placeholder has the name as written."""
    position = 0
    for match in _SUB.finditer(text):
        yield text[position : match.start()]
        position = match.end()
        if match[1]:
            yield f"${{{match[2]}}}"
        else:
            yield Placeholder(match[2].strip())
    yield text[position:]


def _terraform_parts(text: str) -> Iterator[str | Placeholder]:
    matches = list(_TERRAFORM.finditer(text))
    if any(occurrence[3] for occurrence in matches):
        # A directive or nested braces: the text as a whole is unknown.
        yield placeholder_for(text)
        return
    position = 0
    for match in matches:
        yield text[position : match.start()]
        yield match[1][1:] if match[1] else placeholder_for(match[2])
        position = match.end()
    yield text[position:]


def merged(parts: Iterable[str | Placeholder]) -> Parts:
    """Joins adjacent texts; returns at least one part."""
    merged_parts: list[str | Placeholder] = []
    for part in parts:
        if isinstance(part, str) and merged_parts and isinstance(merged_parts[-1], str):
            merged_parts[-1] += part
        elif part != "":
            merged_parts.append(part)
    return tuple(merged_parts) or ("",)
