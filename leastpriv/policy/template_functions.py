"""Splits template strings into known text and placeholders for parts that only the rendered
template knows.

A placeholder is spelled `${Bucket.Arn}` like a policy variable, and evaluates like a variable
without a known value (docs: decision 12). Its name has no colon, so that it is no condition key,
and equal names stand for equal texts. Names that a build step replaces, such as `{{ account }}`,
are placeholders too.

Sources, read 2026-11-24:
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-sub.html,
https://developer.hashicorp.com/terraform/language/expressions/strings,
https://registry.terraform.io/providers/hashicorp/aws/latest/docs/data-sources/iam_policy_document.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

from msgspec import Struct

from leastpriv.permissions.patterns import BUILD_STEP_NAME
from leastpriv.policy.conditions import in_2012_spelling
from leastpriv.policy.syntax_tree import Node, minified

Language = Literal["plain", "cloudformation", "sub", "terraform"]
"""Template language of the strings: none; functions, or names for a build step; one `Fn::Sub`
around the policy's text; Terraform."""


class Placeholder(Struct, frozen=True):
    """A part whose text is unknown."""

    name: str


Parts = tuple[str | Placeholder, ...]

_SUB = re.compile(r"\$\{(!)?([^{}]*)\}")
_TERRAFORM = re.compile(r"(\$\$\{|%%\{)|\$\{~?((?:[^{}]|\{[^{}]*\})*?)~?\}|(\$\{|%\{)")
_NAMED_ACCOUNT = re.compile(
    r"(arn:[^:\s]*:[^:\s]*:[^:\s]*:)(?!aws:)(?=[^:\s]*[A-Za-z])([\w$-]+)(?=:)"
)
"""An account has digits only, but for `aws`; a name replaces it in
`arn:aws:sqs:eu-west-1:ACCOUNT_ID:orders`.
"""
_NAME = re.compile(r"[A-Za-z0-9_.\[\]-]+")
_DIRECTIVE = "%{"


def parts_of(node: Node, language: Language, pseudo_parameters: Mapping[str, str]) -> Parts | None:
    """Returns the parts of a string; None if the node is neither a string nor a function that makes
    one.

    `pseudo_parameters` are values such as that of `AWS::Partition`.
    """
    if node.kind == "string":
        if language == "terraform":
            return _merge_texts(_terraform_parts(node.text))
        if language == "sub":
            return _merge_texts(_sub_parts(node.text, pseudo_parameters, {}))
        if language == "plain":
            return (node.text,)
        pieces = enumerate(BUILD_STEP_NAME.split(_NAMED_ACCOUNT.sub(r"\1{{\2}}", node.text)))
        return _merge_texts(
            placeholder_for(piece.strip("{}()#<>%=_@$")) if at % 2 else piece
            for at, piece in pieces
        )
    if language != "cloudformation" or node.kind != "object" or len(node.members) != 1:
        return None
    member = node.members[0]
    key, value = member.key, member.value
    if key == "Ref" and value.kind == "string":
        return (
            (pseudo_parameters[value.text],)
            if value.text in pseudo_parameters
            else (placeholder_for(value.text),)
        )
    if key == "Fn::Sub" and (found := _sub_function(value, pseudo_parameters)):
        return found
    if key == "Fn::Join" and (found := _join_function(value, pseudo_parameters)):
        return found
    if (
        key == "Fn::GetAtt"
        and value.kind == "array"
        and all(item.kind == "string" for item in value.items)
    ):
        return (placeholder_for(".".join(item.text for item in value.items)),)
    return (
        (placeholder_for(minified(node), key.replace("::", ".")),)
        if key.startswith("Fn::")
        else None
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


def is_one_expression(text: str) -> bool:
    """Returns whether a text of Terraform is one expression alone, whose value may be a list."""
    found = _TERRAFORM.fullmatch(text)
    return found is not None and found[2] is not None


def _sub_function(value: Node, pseudo_parameters: Mapping[str, str]) -> Parts | None:
    """Resolves `Fn::Sub` of a text, or of a text and a map."""
    text, given = (value, None) if value.kind != "array" or len(value.items) != 2 else value.items
    if text.kind != "string":
        return None
    own = {
        m.key: parts_of(m.value, "cloudformation", pseudo_parameters)
        or (placeholder_for(minified(m.value)),)
        for m in (given.members if given else ())
    }
    return _merge_texts(_sub_parts(text.text, pseudo_parameters, own))


def _join_function(value: Node, pseudo_parameters: Mapping[str, str]) -> Parts | None:
    """Resolves `Fn::Join` of a delimiter and a literal list."""
    if value.kind != "array" or len(value.items) != 2 or value.items[1].kind != "array":
        return None
    found: list[str | Placeholder] = []
    for number, item in enumerate(value.items[1].items):
        parts = parts_of(item, "cloudformation", pseudo_parameters)
        if not parts:
            return None
        found += (value.items[0].text, *parts) if number else parts
    return _merge_texts(found)


def _sub_parts(
    text: str, pseudo_parameters: Mapping[str, str], own: Mapping[str, Parts]
) -> Iterator[str | Placeholder]:
    at = 0
    for found in _SUB.finditer(text):
        yield text[at : found.start()]
        name = found[2].strip()
        if found[1]:
            yield f"${{{found[2]}}}"
        elif name in own:
            yield from own[name]
        else:
            yield pseudo_parameters[name] if name in pseudo_parameters else placeholder_for(name)
        at = found.end()
    yield text[at:]


def _terraform_parts(text: str) -> Iterator[str | Placeholder]:
    found = list(_TERRAFORM.finditer(text))
    if any(each[3] for each in found):
        # A directive or nested braces: the text as a whole is unknown.
        yield placeholder_for(text)
        return
    at = 0
    for each in found:
        yield text[at : each.start()]
        yield each[1][1:] if each[1] else placeholder_for(each[2])
        at = each.end()
    yield text[at:]


def _merge_texts(parts: Iterable[str | Placeholder]) -> Parts:
    """Joins adjacent texts; returns at least one part."""
    found: list[str | Placeholder] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part != "":
            found.append(part)
    return tuple(found) or ("",)
