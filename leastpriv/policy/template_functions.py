"""Strings of templates: what they say, and the parts that only the rendered template knows.

Such a part becomes a placeholder, spelled `${Bucket.Arn}` like a policy variable, and counts like a variable whose
value no request knows (docs: decision 12). Its name holds no colon, so that it is no
condition key, and equal names stand for equal texts.

Sources, read 2026-11-24:
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-sub.html,
https://developer.hashicorp.com/terraform/language/expressions/strings,
https://registry.terraform.io/providers/hashicorp/aws/latest/docs/data-sources/iam_policy_document.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from leastpriv.policy.conditions import as_2012
from leastpriv.policy.syntax_tree import Node, minified

Language = Literal["plain", "cloudformation", "sub", "terraform"]
"""Who renders the strings: nobody; CloudFormation, by functions in place of strings; its `Fn::Sub` around the policy as
one text; Terraform."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A part that is not known."""

    name: str


Parts = tuple[str | Placeholder, ...]

_SUB = re.compile(r"\$\{(!)?([^{}]*)\}")
_TERRAFORM = re.compile(r"(\$\$\{|%%\{)|\$\{~?((?:[^{}]|\{[^{}]*\})*?)~?\}|(\$\{|%\{)")
_NAME = re.compile(r"[A-Za-z0-9_.\[\]-]+")
_DIRECTIVE = "%{"


def parts_of(node: Node, language: Language, known: Mapping[str, str]) -> Parts | None:
    """Return the parts of a string; None where the node is neither a string nor a function in place of one.

    `known` holds values of CloudFormation's own parameters, such as `AWS::Partition`.
    """
    if node.kind == "string":
        if language == "terraform":
            return _joined(_terraform(node.text))
        return _joined(_sub(node.text, known, {})) if language == "sub" else (node.text,)
    if language != "cloudformation" or node.kind != "object" or len(node.members) != 1:
        return None
    return _function(node, known)


def spelled(parts: Parts, *, escaped: bool = False) -> str:
    """Join parts; `escaped`: what only looks like a placeholder is plain text, and is spelled so."""
    return "".join(
        f"${{{part.name}}}" if isinstance(part, Placeholder) else as_2012(part, not escaped) for part in parts
    )


def escaped_for(language: Language) -> Callable[[str], str]:
    """Return what writes a policy's own `${…}` so that the template leaves it alone."""
    if language == "terraform":
        return lambda text: text.replace("${", "$${").replace(_DIRECTIVE, "%%{")
    if language == "sub":
        return lambda text: text.replace("${", "${!")
    return lambda text: text


def named(text: str, kind: str = "expression") -> Placeholder:
    """Make the placeholder of an expression; one that is no plain name goes by a hash of it."""
    name = text.strip().replace("::", ".")
    if _NAME.fullmatch(name):
        return Placeholder(name)
    return Placeholder(f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:8]}")


def _function(node: Node, known: Mapping[str, str]) -> Parts | None:
    member = node.members[0]
    key, value = member.key, member.value
    if key == "Ref" and value.kind == "string":
        return (known[value.text],) if value.text in known else (named(value.text),)
    if key == "Fn::Sub" and (found := _substituted(value, known)):
        return found
    if key == "Fn::Join" and (found := _concatenated(value, known)):
        return found
    if key == "Fn::GetAtt" and value.kind == "array" and all(item.kind == "string" for item in value.items):
        return (named(".".join(item.text for item in value.items)),)
    return (named(minified(node), key.replace("::", ".")),) if key.startswith("Fn::") else None


def _substituted(value: Node, known: Mapping[str, str]) -> Parts | None:
    """`Fn::Sub` of a text, or of a text and a map of its own."""
    text, given = (value, None) if value.kind != "array" or len(value.items) != 2 else value.items
    if text.kind != "string":
        return None
    own = (
        {m.key: parts_of(m.value, "cloudformation", known) or (named(minified(m.value)),) for m in given.members}
        if given
        else {}
    )
    return _joined(_sub(text.text, known, own))


def _concatenated(value: Node, known: Mapping[str, str]) -> Parts | None:
    """`Fn::Join` of a delimiter and a list that is written out."""
    if value.kind != "array" or len(value.items) != 2 or value.items[1].kind != "array":
        return None
    delimiter, items = value.items[0].text, [parts_of(item, "cloudformation", known) for item in value.items[1].items]
    if not all(items):
        return None
    return _joined(
        part for number, parts in enumerate(items) for part in ((delimiter,) if number else ()) + (parts or ())
    )


def _sub(text: str, known: Mapping[str, str], own: Mapping[str, Parts]) -> Iterator[str | Placeholder]:
    at = 0
    for found in _SUB.finditer(text):
        yield text[at : found.start()]
        name = found[2].strip()
        if found[1]:
            yield f"${{{found[2]}}}"
        elif name in own:
            yield from own[name]
        else:
            yield known[name] if name in known else named(name)
        at = found.end()
    yield text[at:]


def _terraform(text: str) -> Iterator[str | Placeholder]:
    found = list(_TERRAFORM.finditer(text))
    if any(each[3] for each in found):
        # A directive, or an expression with braces in braces: what the whole says is not known.
        yield named(text)
        return
    at = 0
    for each in found:
        yield text[at : each.start()]
        yield each[1][1:] if each[1] else named(each[2])
        at = each.end()
    yield text[at:]


def _joined(parts: Iterable[str | Placeholder]) -> Parts:
    """Put neighbouring texts together; there is at least one part."""
    found: list[str | Placeholder] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part != "":
            found.append(part)
    return tuple(found) or ("",)
