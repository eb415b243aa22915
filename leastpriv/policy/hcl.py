"""Reads policies in HCL: `aws_iam_policy_document`, `jsonencode(…)` and heredocs.

An address such as `data.aws_iam_policy_document.deploy` or `aws_iam_role_policy.deploy.policy` names the policy. It is
rendered as JSON, for comparison only, whose strings keep Terraform's expressions; python-hcl2 reads the syntax.

The data source (https://registry.terraform.io/providers/hashicorp/aws/latest/docs/data-sources/iam_policy_document,
read 2026-11-24) defaults to `version` 2012-10-17 and `effect` Allow, and writes `&{` for the `${` of a policy variable.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leastpriv.errors import NoPolicyError, PolicyFileError
from leastpriv.policy.source import PolicySource, format_names, rendered_source
from leastpriv.policy.syntax_tree import line_of, read_json

if TYPE_CHECKING:
    from hcl2.rules.base import BlockRule, BodyRule


_LISTS = {
    "actions": "Action",
    "not_actions": "NotAction",
    "resources": "Resource",
    "not_resources": "NotResource",
}
_ELSEWHERE = ("source_policy_documents", "override_policy_documents", "source_json", "override_json")


def policy_json(block: object, where: str, pointer: str) -> str:
    """Renders a data source as JSON whose strings keep Terraform's expressions.

    Raises PolicyFileError if a part of the policy is outside the block.
    """
    body = block if isinstance(block, Mapping) else {}
    _check_complete(body, where, pointer)
    policy: dict[str, object] = {"Version": body.get("version", "2012-10-17")}
    if "policy_id" in body:
        policy["Id"] = body["policy_id"]
    policy["Statement"] = [_statement(each) for each in _each_block(body.get("statement"))]
    return json.dumps(policy, indent=2, ensure_ascii=False) + "\n"


def _check_complete(body: Mapping[str, object], where: str, pointer: str) -> None:
    for key in _ELSEWHERE:
        if body.get(key):
            raise PolicyFileError(
                f"{where}: {pointer} has {key}, so that the policy stands elsewhere too; save what Terraform renders "
                "as a JSON file and name that."
            )
    if body.get("dynamic"):
        raise PolicyFileError(
            f"{where}: {pointer} has dynamic blocks, which only Terraform can write out; save what it renders as a "
            "JSON file and name that."
        )


def _statement(block: Mapping[str, object]) -> dict[str, object]:
    made: dict[str, object] = {"Sid": block["sid"]} if block.get("sid") else {}
    made["Effect"] = block.get("effect", "Allow")
    for key, name in _LISTS.items():
        # The provider omits an empty list too.
        if block.get(key):
            made[name] = _with_policy_variables(block[key])
    for key, name in (("principals", "Principal"), ("not_principals", "NotPrincipal")):
        if key in block:
            made[name] = _principals(block[key])
    conditions = _conditions(block)
    return {**made, "Condition": conditions} if conditions else made


def _principals(blocks: object) -> object:
    """Renders principals as the provider does: `*` for all principals, else identifiers grouped by type."""
    found: dict[str, list[object]] = {}
    for each in _each_block(blocks):
        found.setdefault(str(each.get("type", "")), []).extend(
            _as_list(_with_policy_variables(each.get("identifiers", [])))
        )
    return "*" if found == {"*": ["*"]} else {kind: who[0] if len(who) == 1 else who for kind, who in found.items()}


def _conditions(block: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Renders the condition blocks; values of equal test and variable are joined in order, as in the provider.

    https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/iam/policy_model.go, read 2026-11-24.
    """
    found: dict[str, dict[str, object]] = {}
    for each in _each_block(block.get("condition")):
        keys, key = found.setdefault(str(each.get("test", "")), {}), str(each.get("variable", ""))
        values = _with_policy_variables(each.get("values", []))
        keys[key] = [*_as_list(keys[key]), *_as_list(values)] if key in keys else values
    return found


def _as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _each_block(value: object) -> Iterator[Mapping[str, object]]:
    """Yields one block, or each block of a list."""
    for each in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
        if isinstance(each, Mapping):
            yield each


def _with_policy_variables(value: object) -> object:
    if isinstance(value, str):
        return value.replace("&{", "$${")
    return [_with_policy_variables(item) for item in value] if isinstance(value, Sequence) else value


_DATA_SOURCE = "aws_iam_policy_document"
_ATTRIBUTES = ("policy", "inline_policy", "assume_role_policy")
_REFERENCE = re.compile(r"\$\{data\.aws_iam_policy_document\.([A-Za-z0-9_-]+)\.(?:minified_)?json\}")
_ESCAPE = re.compile(r'\\(?:([nrt"\\])|u([0-9a-fA-F]{4})|U(00[01][0-9a-fA-F]{5}))')
_PART = re.compile(r"([A-Za-z0-9_-]+)(?:\[(\d{1,4})\])?")


@dataclass(frozen=True, slots=True)
class _Rendered:
    """A policy as JSON, and the lines of its statements."""

    text: str
    lines: tuple[int, ...]


def read_hcl(text: str, where: str, pointer: str) -> PolicySource:
    """Reads the policy at an address.

    Raises PolicyFileError if the file is not HCL or has no complete policy at the address; the message lists the
    policies of the file.
    """
    import hcl2
    from lark.exceptions import LarkError, UnexpectedInput

    try:
        body = hcl2.parses(text.removeprefix("\ufeff").replace("\r\n", "\n")).body
    except UnexpectedInput as error:
        at = f"line {error.line}, column {error.column}"
        raise PolicyFileError(f"{where}: {at}: this is not HCL; correct it.") from error
    except (LarkError, RuntimeError, RecursionError) as error:
        raise PolicyFileError(f"{where}: this HCL cannot be read; name the JSON that Terraform renders.") from error
    found = _Reader(body, where, pointer).rendered(pointer)
    return rendered_source(found.text, where, pointer, found.lines)


class _Reader:
    """Resolves an address; `pointer` is the address in messages."""

    def __init__(self, body: BodyRule, where: str, pointer: str) -> None:
        self.body = body
        self.where = where
        self.pointer = pointer

    def error(self, problem: str) -> PolicyFileError:
        return PolicyFileError(f"{self.where}: {self.pointer or 'the file'} {problem}.")

    def missing(self, problem: str) -> NoPolicyError:
        return NoPolicyError(f"{self.where}: {self.pointer or 'the file'} {problem}.")

    def rendered(self, address: str) -> _Rendered:
        parts = [(found[1], found[2]) for part in address.split(".") if (found := _PART.fullmatch(part))]
        tokens = [name for name, _ in parts]
        if tokens[:2] == ["data", _DATA_SOURCE] and len(tokens) == 3:
            return self.data_source(tokens[2])
        body, rest = self.container(tokens)
        for place, name in enumerate(rest[:-1]):
            index = parts[len(parts) - len(rest) + place][1]
            blocks = [block for block in _blocks(body) if _labels(block)[0] == name]
            body = self.block_at(blocks, int(index or 0), name).body
        attributes = {_name(each): each for each in body.children if hasattr(each, "expression")}
        attribute = attributes.get(rest[-1] if rest else "policy")
        if attribute is None:
            raise self.unknown_address()
        return self.expression(attribute)

    def block_at(self, blocks: Sequence[BlockRule], index: int, name: str) -> BlockRule:
        if index >= len(blocks):
            raise self.missing(f"leads nowhere: there are {len(blocks)} blocks {name}; correct the address")
        return blocks[index]

    def container(self, tokens: list[str]) -> tuple[BodyRule, list[str]]:
        """Returns the body of a resource, module or locals block, and the rest of the address."""
        for block in _blocks(self.body):
            labels = _labels(block)
            own = ["local"] if labels == ["locals"] else labels[1:] if labels[0] == "resource" else labels
            is_own = bool(own) and tokens[: len(own)] == own
            # A file may have several blocks of locals.
            has_it = own != ["local"] or {*tokens[1:2]} <= {_name(each) for each in block.body.children}
            if is_own and has_it:
                return block.body, tokens[len(own) :]
        raise self.unknown_address()

    def unknown_address(self) -> PolicyFileError:
        known = list(self.addresses())
        if not known:
            return self.missing("leads nowhere, and the file has no policy; name another file")
        problem = "leads nowhere" if self.pointer else "is HCL"
        return self.missing(f"{problem}: name one of its policies by its address ({format_names(known)})")

    def addresses(self) -> Iterator[str]:
        for block in _blocks(self.body):
            labels = _labels(block)
            if labels[:2] == ["data", _DATA_SOURCE]:
                yield ".".join(labels)
            elif labels[0] == "resource" and any(_name(each) == "policy" for each in block.body.children):
                yield ".".join([*labels[1:], "policy"])

    def data_source(self, name: str) -> _Rendered:
        blocks = [block for block in _blocks(self.body) if _labels(block) == ["data", _DATA_SOURCE, name]]
        if not blocks:
            raise self.unknown_address()
        body = blocks[0].body
        lines = tuple(_line(block) for block in _blocks(body) if _labels(block)[0] == "statement")
        return _Rendered(policy_json(_terraform_value(body.serialize(_options())), self.where, self.pointer), lines)

    def expression(self, attribute: Any) -> _Rendered:
        """Renders an attribute's policy: an object in `jsonencode`, JSON text, or the output of a data source."""
        term = _without_term(attribute.expression)
        if type(term).__name__ == "FunctionCallRule" and _function_name(term) == "jsonencode":
            value = _without_term(term.arguments.arguments[0])
            if type(value).__name__ == "ObjectRule":
                text = json.dumps(_terraform_value(value.serialize(_options())), indent=2, ensure_ascii=False) + "\n"
                return _Rendered(text, tuple(_statement_lines(value)))
        text = _terraform_value(attribute.expression.serialize(_options()))
        reference = _REFERENCE.fullmatch(text) if isinstance(text, str) else None
        if reference:
            return self.data_source(reference[1])
        if isinstance(text, str) and text.lstrip().startswith("{"):
            return self.heredoc(text, _line(attribute), is_heredoc="Heredoc" in type(term).__name__)
        raise self.error(
            "is an expression that only Terraform can work out; save what it renders as JSON and name that"
        )

    def heredoc(self, text: str, line: int, *, is_heredoc: bool) -> _Rendered:
        try:
            root = read_json(text, self.where)
        except PolicyFileError as error:
            raise self.error("is text that is no JSON before Terraform renders it; save what it renders") from error
        statements = root.get_any_case("Statement")
        nodes = () if statements is None else statements.items if statements.kind == "array" else (statements,)
        return _Rendered(text, tuple(line + (line_of(text, node.start) if is_heredoc else 0) for node in nodes))


def _options() -> Any:
    from hcl2.utils import SerializationOptions

    return SerializationOptions(with_comments=False, explicit_blocks=False, preserve_heredocs=False)


def _blocks(body: Any) -> list[BlockRule]:
    return [child for child in body.children if hasattr(child, "labels")]


def _labels(block: BlockRule) -> list[str]:
    return [str(label.serialize()).strip('"') for label in block.labels]


def _name(child: Any) -> str:
    identifier = getattr(child, "identifier", None)
    return str(identifier.serialize()) if identifier else ""


def _line(rule: Any) -> int:
    return int(rule.to_lark().meta.line)


def _without_term(expression: Any) -> Any:
    """Returns the expression inside a term and its parentheses."""
    while type(expression).__name__ == "ExprTermRule":
        expression = expression.expression
    return expression


def _function_name(term: Any) -> str:
    return "::".join(str(identifier.serialize()) for identifier in term.identifiers)


def _statement_lines(value: Any) -> Iterator[int]:
    for element in value.elements:
        if str(element.key.serialize()).strip('"').casefold() == "statement":
            held = _without_term(element.expression)
            yield from (_line(each) for each in getattr(held, "elements", ()) if type(held).__name__ == "TupleRule")
            if type(held).__name__ == "ObjectRule":
                yield _line(element)


def _terraform_value(value: Any) -> Any:
    """Converts the library's value to Terraform's text: strings without quotes, expressions as `${…}`."""
    if isinstance(value, Mapping):
        return {_terraform_value(key): _terraform_value(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_terraform_value(each) for each in value]
    if isinstance(value, str) and value.startswith('"') and value.endswith('"') and len(value) > 1:
        return _ESCAPE.sub(_unescape, value[1:-1])
    return value


def _unescape(found: re.Match[str]) -> str:
    point = int(found[2] or found[3] or "0", 16)
    return _ESCAPES.get(found[1], found[1]) if found[1] else chr(point) if point <= sys.maxunicode else found[0]


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
