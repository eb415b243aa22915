"""Policies in HCL: `aws_iam_policy_document`, `jsonencode(…)`, heredocs; read for comparison, never edited.

A policy goes by its address, `data.aws_iam_policy_document.deploy` or `aws_iam_role_policy.deploy.policy`, and is
rendered as JSON whose strings are still Terraform's (python-hcl2 reads the syntax).

Terraform's data source `aws_iam_policy_document` as the policy it makes.

https://registry.terraform.io/providers/hashicorp/aws/latest/docs/data-sources/iam_policy_document, read 2026-11-24:
`version` is 2012-10-17 and `effect` Allow where they are absent, and `&{` stands for `${` of a policy variable.

A policy written as HCL, to be copied by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leastpriv.errors import NoPolicyError, PolicyFileError
from leastpriv.policy.source import Source, names, rendered
from leastpriv.policy.syntax_tree import line_of, read

if TYPE_CHECKING:
    from hcl2.rules.base import BlockRule, BodyRule


_LISTS = {
    "actions": "Action",
    "not_actions": "NotAction",
    "resources": "Resource",
    "not_resources": "NotResource",
}
_ELSEWHERE = ("source_policy_documents", "override_policy_documents", "source_json", "override_json")


def as_policy(block: object, where: str, pointer: str) -> str:
    """Write the block as JSON whose strings are still Terraform's.

    Raises PolicyFileError where a part of the policy does not stand in the block.
    """
    body = block if isinstance(block, Mapping) else {}
    _refuse_open(body, where, pointer)
    policy: dict[str, object] = {"Version": body.get("version", "2012-10-17")}
    if "policy_id" in body:
        policy["Id"] = body["policy_id"]
    policy["Statement"] = [_statement(each) for each in _several(body.get("statement"))]
    return json.dumps(policy, indent=2, ensure_ascii=False) + "\n"


def _refuse_open(body: Mapping[str, object], where: str, pointer: str) -> None:
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
        # An empty list is left out, as the provider does.
        if block.get(key):
            made[name] = _variables(block[key])
    for key, name in (("principals", "Principal"), ("not_principals", "NotPrincipal")):
        if key in block:
            made[name] = _principals(block[key])
    conditions = _conditions(block)
    return {**made, "Condition": conditions} if conditions else made


def _principals(blocks: object) -> object:
    """As the provider writes them: `*` for everybody, else the identifiers of each type together."""
    found: dict[str, list[object]] = {}
    for each in _several(blocks):
        found.setdefault(str(each.get("type", "")), []).extend(_listed(_variables(each.get("identifiers", []))))
    return "*" if found == {"*": ["*"]} else {kind: who[0] if len(who) == 1 else who for kind, who in found.items()}


def _conditions(block: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """The condition blocks; the values of those of equal test and variable follow each other, as in the provider.

    https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/iam/policy_model.go, read 2026-11-24.
    """
    found: dict[str, dict[str, object]] = {}
    for each in _several(block.get("condition")):
        keys, key = found.setdefault(str(each.get("test", "")), {}), str(each.get("variable", ""))
        values = _variables(each.get("values", []))
        keys[key] = [*_listed(keys[key]), *_listed(values)] if key in keys else values
    return found


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _several(value: object) -> Iterator[Mapping[str, object]]:
    """One block, or a list of blocks."""
    for each in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
        if isinstance(each, Mapping):
            yield each


def _variables(value: object) -> object:
    if isinstance(value, str):
        return value.replace("&{", "$${")
    return [_variables(item) for item in value] if isinstance(value, Sequence) else value


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


def read_hcl(text: str, where: str, pointer: str) -> Source:
    """Read the policy at an address.

    Raises PolicyFileError where the file is not HCL, or has no policy there that is written out; it names those that it
    has.
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
    return rendered(found.text, where, pointer, found.lines)


class _Reader:
    """Looks an address up; `pointer` is how messages call it."""

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
            body = self.taken(blocks, int(index or 0), name).body
        attributes = {_name(each): each for each in body.children if hasattr(each, "expression")}
        attribute = attributes.get(rest[-1] if rest else "policy")
        if attribute is None:
            raise self.nowhere()
        return self.expression(attribute)

    def taken(self, blocks: Sequence[BlockRule], index: int, name: str) -> BlockRule:
        if index >= len(blocks):
            raise self.missing(f"leads nowhere: there are {len(blocks)} blocks {name}; correct the address")
        return blocks[index]

    def container(self, tokens: list[str]) -> tuple[BodyRule, list[str]]:
        """The body of a resource, module or locals block, and what the address says beyond it."""
        for block in _blocks(self.body):
            labels = _labels(block)
            own = ["local"] if labels == ["locals"] else labels[1:] if labels[0] == "resource" else labels
            is_own = bool(own) and tokens[: len(own)] == own
            # Several blocks of locals may stand in one file.
            has_it = own != ["local"] or {*tokens[1:2]} <= {_name(each) for each in block.body.children}
            if is_own and has_it:
                return block.body, tokens[len(own) :]
        raise self.nowhere()

    def nowhere(self) -> PolicyFileError:
        known = list(self.addresses())
        if not known:
            return self.missing("leads nowhere, and the file has no policy; name another file")
        problem = "leads nowhere" if self.pointer else "is HCL"
        return self.missing(f"{problem}: name one of its policies by its address ({names(known)})")

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
            raise self.nowhere()
        body = blocks[0].body
        lines = tuple(_line(block) for block in _blocks(body) if _labels(block)[0] == "statement")
        return _Rendered(as_policy(_plain(body.serialize(_options())), self.where, self.pointer), lines)

    def expression(self, attribute: Any) -> _Rendered:
        """A policy that an attribute holds: an object in `jsonencode`, JSON as text, or a data source's output."""
        term = _bare(attribute.expression)
        if type(term).__name__ == "FunctionCallRule" and _function(term) == "jsonencode":
            value = _bare(term.arguments.arguments[0])
            if type(value).__name__ == "ObjectRule":
                text = json.dumps(_plain(value.serialize(_options())), indent=2, ensure_ascii=False) + "\n"
                return _Rendered(text, tuple(_statement_lines(value)))
        text = _plain(attribute.expression.serialize(_options()))
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
            root = read(text, self.where)
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


def _bare(expression: Any) -> Any:
    """The expression without the term, and parentheses, around it."""
    while type(expression).__name__ == "ExprTermRule":
        expression = expression.expression
    return expression


def _function(term: Any) -> str:
    return "::".join(str(identifier.serialize()) for identifier in term.identifiers)


def _statement_lines(value: Any) -> Iterator[int]:
    for element in value.elements:
        if str(element.key.serialize()).strip('"').casefold() == "statement":
            held = _bare(element.expression)
            yield from (_line(each) for each in getattr(held, "elements", ()) if type(held).__name__ == "TupleRule")
            if type(held).__name__ == "ObjectRule":
                yield _line(element)


def _plain(value: Any) -> Any:
    """The library's value as Terraform's text: strings without their quotes, expressions as `${…}`."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, str) and value.startswith('"') and value.endswith('"') and len(value) > 1:
        return _ESCAPE.sub(_meant, value[1:-1])
    return value


def _meant(found: re.Match[str]) -> str:
    point = int(found[2] or found[3] or "0", 16)
    return _ESCAPES.get(found[1], found[1]) if found[1] else chr(point) if point <= sys.maxunicode else found[0]


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
