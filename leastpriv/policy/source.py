"""Names the location of a policy: a file, a pointer into it, and the text that its nodes refer to.

That text may be a JSON string, a quoted YAML string or a YAML block in the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from itertools import accumulate
from typing import Literal

from msgspec import Struct

from leastpriv.errors import NoPolicyError, listed
from leastpriv.policy.syntax_tree import Node, json_string, line_of, position, read_json
from leastpriv.policy.template_functions import Language, serverless_variable
from leastpriv.policy.template_values import TemplateValues

_MOST_NAMES = 12
_LONGEST_NAME = 60
_LONGEST_POINTER = 300
_MOST_POLICIES = 5
_INDEX = re.compile(r"0|[1-9][0-9]{0,6}")
_ADDRESSED = (".tf", ".tofu", ".hcl")
"""Files in which an address like `data.aws_iam_policy_document.deploy` replaces the JSON pointer.
"""


class Location(Struct, frozen=True):
    """A parsed name such as `template.yaml#/Resources/Role`."""

    path: str
    pointer: str
    """JSON pointer (RFC 6901), or the address in HCL; empty if the whole file is the policy."""

    @classmethod
    def of(cls, name: str) -> Location:
        """Splits a name; a `#` without a pointer after it is part of the file name."""
        path, mark, pointer = name.partition("#")
        if mark and (pointer.startswith("/") or is_hcl(path)):
            return cls(path, pointer)
        return cls(name, "")

    def __str__(self) -> str:
        return f"{self.path}#{self.pointer}" if self.pointer else self.path


def is_hcl(path: str) -> bool:
    """Returns whether the file name is that of an HCL file."""
    return path.lower().endswith(_ADDRESSED)


def may_decide(path: str) -> bool:
    """Returns whether a file of a Terraform folder may decide what a policy of the folder
    grants.
    """
    return is_hcl(path) or path.lower().endswith((".tfvars", ".json", ".tftpl", ".tpl"))


def follow_pointer(root: Node, pointer: str, where: str) -> Node:
    """Follows a JSON pointer.

    Raises NoPolicyError that names the first missing part, and the names that exist.
    """
    node, followed_pointer = root, ""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        child = node.get(key)
        if node.kind == "array" and _INDEX.fullmatch(key):
            child = dict(enumerate(node.items)).get(int(key))
        if child is None:
            shown_pointer, parent = (
                _shorten(text, _LONGEST_POINTER)
                for text in (pointer, followed_pointer or "the top")
            )
            problem = (
                f"the pointer {shown_pointer} leads nowhere: {parent} {_missing_reason(node, key)}"
            )
            raise NoPolicyError(f"{where}: {problem}; correct the pointer.")
        node, followed_pointer = child, f"{followed_pointer}/{token}"
    return node


def policy_addresses(root: Node, where: str) -> str:
    """Lists full names of the likely identity-based policies, in the order of the file; empty if it
    has none.
    """
    return listed((f"{where}#{pointer}" for pointer in _policies(root, "")), _MOST_POLICIES)


def format_names(names: Iterable[str]) -> str:
    """Lists names, of many the first dozen."""
    return listed(map(_shorten, names), _MOST_NAMES)


def _shorten(name: str, longest: int = _LONGEST_NAME) -> str:
    return name if len(name) <= longest else f"{name[:longest]}…"


def _indexes(size: int) -> str:
    if not size:
        return "for it is empty"
    return f"only 0 to {size - 1}" if size > 1 else "only 0"


def _missing_reason(node: Node, key: str) -> str:
    if node.kind == "array":
        return f"is a list that has no {_shorten(key)}, {_indexes(len(node.items))}"
    if node.kind == "object":
        keys = [member.key for member in node.members]
        explanation = f"only {format_names(keys)}" if keys else "for it is empty"
        return f"has no {_shorten(key)}, {explanation}"
    return f"is a {describe_kind(node)}, so that it has no {_shorten(key)}"


def describe_kind(node: Node) -> str:
    """Returns the kind of a node in words."""
    return {"array": "list", "object": "object without members", "literal": "constant"}.get(
        node.kind, node.kind
    )


def is_statement_list(node: Node) -> bool:
    """Whether a value is a list of statements without a policy around it."""
    if node.kind != "array":
        return False
    statements = [statement for statement in node.items if not serverless_variable(statement)]
    return bool(statements) and all(
        statement.get_any_case("Effect") and not has_principal(statement) and _grants(statement)
        for statement in statements
    )


def _grants(statement: Node) -> bool:
    return bool(statement.get_any_case("Action") or statement.get_any_case("NotAction"))


def _policies(node: Node, pointer: str) -> Iterator[str]:
    if is_statement_list(node):
        yield pointer
        return
    if node.kind == "array":
        for number, element in enumerate(node.items):
            yield from _policies(element, f"{pointer}/{number}")
        return
    sub = node.get("Fn::Sub") or node
    if sub.kind == "string" and sub.text.lstrip().startswith("{") and '"Statement"' in sub.text:
        yield pointer
        return
    statements = node.get_any_case("Statement")
    if statements and not any(map(has_principal, statements.entries)):
        yield pointer
        return
    for member in node.members:
        token = member.key.replace("~", "~0").replace("/", "~1")
        yield from _policies(member.value, f"{pointer}/{token}")


def has_principal(statement: Node) -> bool:
    """Returns whether a statement is of a resource-based or trust policy, which names
    principals.
    """
    return bool(statement.get_any_case("Principal") or statement.get_any_case("NotPrincipal"))


Spelling = Literal['"', "'", "|"]
"""How the outer file writes the text: double quotes with JSON's escapes, YAML's single quotes, or a
YAML block.
"""

_ESCAPED = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.|[^\\]")
_SINGLE = re.compile("''|[^']")
_HEADER = re.compile(r"\|[-+0-9]*[ \t]*(?:#[^\r\n]*)?(\r?\n)")
_WORD = re.compile(r"\w+|\W")


class EmbeddedJson(Struct, frozen=True):
    """The outer text, and the spelling of each character of the inner text."""

    outer: str
    start: int
    """Offset of the first character's spelling."""
    pieces: tuple[str, ...]
    """One per inner character; together they are a contiguous part of `outer`."""
    spelling: Spelling
    newline: str = "\n"
    indent: str = ""
    """White space before each line of a block."""

    def outer_offset(self, offset: int) -> int:
        """Returns the offset in `outer` of an offset in the inner text."""
        return self.start + sum(map(len, self.pieces[:offset]))

    def replace_text(self, old: str, new: str) -> str:
        """Returns `outer` with the inner text `old` replaced by `new`; unchanged characters keep
        their spelling.
        """
        head = _common_prefix_length(old, new)
        tail = _common_prefix_length(old[head:][::-1], new[head:][::-1])
        until = len(old) - tail
        middle = self._respell_middle(head, old[head:until], new[head : len(new) - tail])
        before = self.outer[: self.outer_offset(head)]
        after = self.outer[self.outer_offset(until) :]
        return before + middle + after

    def _respell_middle(self, head: int, old: str, new: str) -> str:
        pieces = self.pieces[head : head + len(old)]
        if "".join(pieces) == self._encoded(old):
            return self._encoded(new)
        # The file spells characters differently, as `\u002a` for `*`: keep its spelling of equal
        # words.
        old_words = _WORD.findall(old)
        new_words = _WORD.findall(new)
        starts = [0, *accumulate(map(len, old_words))]
        matcher = SequenceMatcher(None, old_words, new_words, autojunk=False)
        spelled_text = ""
        for tag, start, end, new_start, new_end in matcher.get_opcodes():
            if tag == "equal":
                spelled_text += "".join(pieces[starts[start] : starts[end]])
            else:
                spelled_text += self._encoded("".join(new_words[new_start:new_end]))
        return spelled_text

    def _encoded(self, text: str) -> str:
        if self.spelling == '"':
            return json_string(text)[1:-1]
        if self.spelling == "'":
            return text.replace("'", "''")
        first, *following_lines = text.split("\n")
        return first + "".join(
            self.newline + (self.indent + line if line else "") for line in following_lines
        )


def open_embedded_json(outer: str, node: Node) -> tuple[str, EmbeddedJson] | None:
    """Returns the text of a string node with its embedding; None if its spelling is not
    supported.
    """
    raw = outer[node.start : node.end]
    if raw.startswith("|"):
        return _open_block(outer, node)
    if raw[:1] in {'"', "'"} and "\n" not in raw:
        return _open_quoted(outer, node)
    return None


def _open_block(outer: str, node: Node) -> tuple[str, EmbeddedJson] | None:
    """Opens a YAML block, whose lines have a common indentation."""
    raw = outer[node.start : node.end]
    header = _HEADER.match(raw)
    if header is None:
        return None
    lines = raw[header.end() :].split("\n")
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip(" "))]
    if not indent or any(line.strip() and not line.startswith(indent) for line in lines):
        return None
    newline = header[1]
    pieces: list[str] = []
    for number, line in enumerate(lines):
        text = line.removesuffix("\r")
        start = indent if text.startswith(indent) else text
        if number:
            pieces.append(newline + start)
        pieces.extend(text[len(start) :])
    inner = "".join("\n" if len(piece) > 1 or piece == "\n" else piece for piece in pieces)
    embedded = EmbeddedJson(
        outer=outer,
        start=node.start + header.end() + len(indent),
        pieces=tuple(pieces),
        spelling="|",
        newline=newline,
        indent=indent,
    )
    is_whole = outer[embedded.start : node.end] == "".join(pieces)
    if not is_whole or inner.rstrip("\n") != node.text.rstrip("\n"):
        return None
    return inner, embedded


def _open_quoted(outer: str, node: Node) -> tuple[str, EmbeddedJson] | None:
    """Opens a string in quotes on one line."""
    content = outer[node.start + 1 : node.end - 1]
    if outer[node.start] == '"':
        spelling: Spelling = '"'
        pieces = tuple(_ESCAPED.findall(content))
        characters = [_decoded(piece) for piece in pieces]
    else:
        spelling = "'"
        pieces = tuple(_SINGLE.findall(content))
        characters = [piece[:1] for piece in pieces]
    text = "".join(characters)
    if "".join(pieces) != content or text != node.text or len(pieces) != len(text):
        return None
    return text, EmbeddedJson(outer, node.start + 1, pieces, spelling)


def _decoded(piece: str) -> str:
    try:
        return str(json.loads(f'"{piece}"')) if piece.startswith("\\") else piece
    except ValueError:
        # YAML has more escapes than JSON.
        return ""


def _common_prefix_length(text: str, other_text: str) -> int:
    """Returns the length of the common prefix of two texts."""
    limit = min(len(text), len(other_text))
    return next((index for index in range(limit) if text[index] != other_text[index]), limit)


Format = Literal["json", "yaml", "hcl"]


class TerraformFolder(Struct, frozen=True):
    """What the expressions of a Terraform file can refer to."""

    files: Mapping[str, str] = {}
    """Name relative to the folder of the policy file -> text of its other files."""
    plan: str = ""
    """Output of `terraform show -json`; empty if there is none."""


class PolicySource(Struct, frozen=True):
    """A located policy."""

    format: Format
    pointer: str
    text: str
    """The text that node offsets refer to: the file, or the string that contains the policy."""
    policy: Node
    language: Language
    outer: str
    """The whole file."""
    embedded: EmbeddedJson | None = None
    """The string that contains the policy, if any."""
    resource_type: str = ""
    """Type of the CloudFormation resource that contains the policy, `AWS::IAM::UserPolicy`."""
    lines: tuple[int, ...] = ()
    """Lines of the statements in the file, if the policy was rendered as JSON."""
    folder: TerraformFolder = TerraformFolder()
    """The files near an HCL file."""
    root: Node | None = None
    """The whole file parsed; None for HCL."""

    @property
    def statement_nodes(self) -> tuple[Node, ...]:
        """The nodes of the policy's statements."""
        statements = self.policy.get_any_case("Statement")
        return statements.entries if statements else ()

    def functions(self, pseudo_parameters: Mapping[str, str]) -> TemplateValues:
        """Returns the values of the template's functions."""
        return TemplateValues(self.root, pseudo_parameters)

    def offset(self, offset: int) -> int:
        """Returns the file offset of an offset in `text`."""
        return self.embedded.outer_offset(offset) if self.embedded else offset

    def position(self, offset: int) -> str:
        """Returns the position of an offset in words; for a rendered policy, its address."""
        return self.pointer if self.lines else position(self.outer, self.offset(offset))

    def line(self, index: int, node: Node) -> int:
        """Returns the 1-based line of the file on which a statement begins."""
        if self.lines:
            return self.lines[min(index, len(self.lines) - 1)]
        return line_of(self.outer, self.offset(node.start))


def rendered_source(
    text: str, where: str, pointer: str, lines: tuple[int, ...] = ()
) -> PolicySource:
    """Returns the source of a Terraform policy rendered as JSON; `lines` are those of its
    statements.
    """
    return PolicySource(
        format="hcl",
        pointer=pointer,
        text=text,
        policy=read_json(text, where),
        language="terraform",
        outer=text,
        lines=lines,
    )
