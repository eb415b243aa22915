"""Parses strict JSON (RFC 8259), and YAML, into nodes with text offsets, so that a file can be
edited as text.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import PolicyFileError

NodeKind = Literal["object", "array", "string", "number", "literal", "alias", "choice"]
"""A literal is `true`, `false` or `null`; a YAML alias refers to another node; a choice is one of
its items, and an expression decides which."""

_MAX_DEPTH = 64
"""A policy is 5 levels deep, with a tool's wrapper perhaps 12; a deeper file is hostile."""

_SPACE = re.compile(r"[ \t\r\n]*+")
_STRING = re.compile(r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"')
_SCALAR = re.compile(r"(true|false|null)|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
"""A literal, or else a number."""


class Node(Struct, frozen=True):
    """One value; `start` and `end` are offsets of its text."""

    kind: NodeKind
    start: int
    end: int
    text: str = ""
    """A string decoded; a number, `true`, `false` or `null` as written; of a choice the expression
    that decides.
    """
    members: tuple[Member, ...] = ()
    items: tuple[Node, ...] = ()
    block: bool = False
    """Whether it is a YAML block without brackets; `end` is then that of its last value, before any
    comment.
    """
    quote: str = ""
    """Quotes of a YAML string: `'`, `"`, `|` or `>`; empty for a plain one."""
    anchor: str = ""
    """Name by which YAML aliases repeat the value."""
    fixed: str = ""
    """Why no edit can write into the value; empty if one can."""
    depends_on: str = ""
    """The expression that decides whether the value is there; empty if it is."""

    @property
    def entries(self) -> tuple[Node, ...]:
        """The items of an array; any other value as its only entry."""
        return self.items if self.kind == "array" else (self,)

    def get(self, key: str) -> Node | None:
        """Returns the value of the member `key`, in exactly this spelling."""
        return next((member.value for member in self.members if member.key == key), None)

    def get_any_case(self, key: str) -> Node | None:
        """Returns the value of the first member whose key is `key` in any case."""
        member = self.member_any_case(key)
        return member.value if member else None

    def required_member(self, key: str) -> Member:
        """Returns the first member whose key is `key` in any case; raises ValueError without
        one.
        """
        member = self.member_any_case(key)
        if member is None:
            raise ValueError(f"there is no {key}")
        return member

    def member_any_case(self, key: str) -> Member | None:
        """Returns the first member whose key is `key` in any case."""
        folded_key = key.casefold()
        for member in self.members:
            if member.key == key:
                return member
            # A policy of thousands of statements asks this often. Case changes no length in ASCII.
            is_other = member.key.isascii() and len(member.key) != len(folded_key)
            if not is_other and member.key.casefold() == folded_key:
                return member
        return None


class Member(Struct, frozen=True):
    """A decoded key of an object and its value; `start` is the offset of the key's first
    character.
    """

    key: str
    start: int
    key_end: int
    value: Node


def read_json(text: str, where: str) -> Node:
    """Parses one JSON value from the whole of `text`.

    Raises PolicyFileError with `where`, line and column for text that is not strict JSON, for a
    duplicate key, and for more than 64 levels.
    """
    return _Reader(text, where).document()


def line_of(text: str, offset: int) -> int:
    """Returns the 1-based line of an offset."""
    return bisect_left(_line_ends(text), offset) + 1


@lru_cache(maxsize=4)
def _line_ends(text: str) -> tuple[int, ...]:
    # Every statement asks for its line: counting from the beginning each time is slow in a policy
    # of thousands.
    return tuple(line_end.start() for line_end in re.finditer("\n", text))


def decoded(raw: bytes, where: str) -> str:
    """Returns the text of a file; raises PolicyFileError where it is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyFileError(
            f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8."
        ) from error


def position(text: str, offset: int) -> str:
    """Returns the position of an offset in words: `line 3, column 7`, both 1-based."""
    return f"line {line_of(text, offset)}, column {offset - text.rfind(chr(10), 0, offset)}"


def minified(node: Node) -> str:
    """Returns the value as JSON without white space, with characters outside ASCII unescaped."""
    if node.kind == "object":
        members = (f"{_as_itself(member.key)}:{minified(member.value)}" for member in node.members)
        return "{" + ",".join(members) + "}"
    if node.kind == "array":
        return "[" + ",".join(map(minified, node.items)) + "]"
    if node.kind == "choice":
        return "one of " + ",".join(map(minified, node.items))
    return _as_itself(node.text) if node.kind == "string" else node.text


def _as_itself(text: str) -> str:
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        return encode_basestring_ascii(text)
    return encode_basestring(text)


def json_value(node: Node) -> object:
    """Returns the value as `json.loads` would; an alias becomes its name."""
    if node.kind == "object":
        return {member.key: json_value(member.value) for member in node.members}
    if node.kind == "array":
        return [json_value(element) for element in node.items]
    if node.kind in {"number", "literal"}:
        try:
            return json.loads(node.text)
        except ValueError:
            # A YAML number that JSON cannot write, such as 0o17.
            return node.text
    return node.text


def json_string(text: str) -> str:
    """Returns `text` as a JSON string that UTF-8 can encode and IAM accepts.

    IAM's pattern for documents ends at U+00FF (botocore 1.44 model of IAM, policyDocumentType), and
    invisible characters are clearer as numbers: such a string is written in ASCII.
    """
    return encode_basestring_ascii(text) if needs_escapes(text) else encode_basestring(text)


def needs_escapes(text: str) -> bool:
    """Returns whether a string has invisible characters or characters that IAM rejects in a
    document.
    """
    return not text.isprintable() or any(char > "\u00ff" for char in text)


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where
        self.at = 0

    def document(self) -> Node:
        self.at = len("\ufeff") if self.text.startswith("\ufeff") else 0
        if not self.text[self.at :].strip():
            raise self.error("the file is empty; write the JSON of a policy, or delete the file")
        node = self.value(depth=1)
        self.skip_space()
        if self.at < len(self.text):
            raise self.error("there is text after the end of the JSON value; remove it")
        return node

    def error(self, advice: str, offset: int | None = None) -> PolicyFileError:
        offset = self.at if offset is None else offset
        return PolicyFileError(f"{self.where}: {position(self.text, offset)}: {advice}.")

    def skip_space(self) -> str:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def value(self, depth: int) -> Node:
        char = self.skip_space()
        if depth > _MAX_DEPTH:
            limit = f"{_MAX_DEPTH} levels"
            raise self.error(
                f"JSON nested deeper than {limit} is neither a policy nor a request; name another"
            )
        if char == "{":
            return self.object(depth)
        if char == "[":
            start, elements = self.at, list[Node]()
            self.at += 1
            if self.skip_space() != "]":
                elements.append(self.value(depth + 1))
                while self.more("]"):
                    elements.append(self.value(depth + 1))
            self.at += 1
            return Node("array", start, self.at, items=tuple(elements))
        return self.string() if char == '"' else self.scalar()

    def scalar(self) -> Node:
        match = _SCALAR.match(self.text, self.at)
        if not match and self.text[: self.at].rstrip().endswith(","):
            raise self.error("no value follows the comma before this; remove the comma")
        if not match:
            raise self.error(
                "a JSON value is missing here; correct the JSON (comments and templates are not"
                " JSON)"
            )
        self.at = match.end()
        return Node("literal" if match[1] else "number", match.start(), match.end(), match[0])

    def string(self) -> Node:
        match = _STRING.match(self.text, self.at)
        if not match:
            raise self.error(
                "this string is not valid JSON; close its quotes and escape special characters"
            )
        self.at = match.end()
        return Node("string", match.start(), match.end(), json.loads(match[0]))

    def object(self, depth: int) -> Node:
        start, members = self.at, dict[str, Member]()
        self.at += 1
        if self.skip_space() != "}":
            self.member(members, depth)
            while self.more("}"):
                self.member(members, depth)
        self.at += 1
        return Node("object", start, self.at, members=tuple(members.values()))

    def member(self, members: dict[str, Member], depth: int) -> None:
        if self.skip_space() != '"':
            raise self.error("a key in double quotes is missing here; correct the JSON")
        key = self.string()
        if key.text in members:
            raise self.error(
                f"the key {json_string(key.text)} appears twice in one object; keep one", key.start
            )
        if self.skip_space() != ":":
            raise self.error("a colon is missing here; correct the JSON")
        self.at += 1
        members[key.text] = Member(key.text, key.start, key.end, self.value(depth + 1))

    def more(self, closing: str) -> bool:
        char = self.skip_space()
        if char == ",":
            self.at += 1
            return True
        if char != closing:
            raise self.error(f"a comma or {closing} is missing here; correct the JSON")
        return False


_MAX_CHARACTERS = 1_000_000
"""CloudFormation takes templates of 1 MB
(https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html, read
2026-11-24)."""

_STANDARD = "tag:yaml.org,2002:"
_KINDS: dict[str, NodeKind] = {
    "int": "number",
    "float": "number",
    "bool": "literal",
    "null": "literal",
}
_LITERALS: dict[str, Callable[[str], str]] = {"bool": str.lower, "null": lambda _: "null"}
_WITHOUT_PREFIX = frozenset({"Ref", "Condition"})
_PROPERTY = re.compile(r"[!&][^\s,\[\]{}]*[ \t]*(?:\r?\n[ \t]*)?")
"""A tag or an anchor before a value."""


def read_yaml(text: str, where: str) -> Node:
    """Parses the only document of a YAML file; CloudFormation's short tags become their functions.

    `!Sub x` is read as `{"Fn::Sub": "x"}`, `!Ref` and `!Condition` as keys without `Fn::`
    (intrinsic-function-reference.html in
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/, read 2026-11-24).

    Raises PolicyFileError with `where`, line and column for text that is not YAML, has several
    documents or none, is too long, or is nested too deep.
    """
    if len(text) > _MAX_CHARACTERS:
        size = f"{len(text):,} characters"
        raise PolicyFileError(
            f"{where}: {size} are more than CloudFormation takes; name another file."
        )
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    skipped = len(text) - len(text.removeprefix("\ufeff"))
    try:
        root = YAML(typ="safe", pure=True).compose(text[skipped:])
        if root is None:
            raise PolicyFileError(
                f"{where}: the file is empty; name the file that holds the policy."
            )
        return _Converter(text, skipped).node(root)
    except MarkedYAMLError as error:
        mark, problem = (
            error.problem_mark or error.context_mark,
            error.problem or "this is not YAML",
        )
        if "another document" in problem:
            raise PolicyFileError(
                f"{where}: the file holds several YAML documents; name a file with one."
            ) from error
        line_and_column = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise PolicyFileError(f"{where}: {line_and_column}{problem}; correct the YAML.") from error
    except RecursionError as error:
        raise PolicyFileError(
            f"{where}: YAML nested so deep is no policy; name the policy file itself."
        ) from error
    except (YAMLError, ValueError) as error:
        # The reader's own errors have no position, for example for a character that YAML forbids.
        raise PolicyFileError(
            f"{where}: this is not YAML ({str(error).splitlines()[0]}); correct it."
        ) from error


class _Converter:
    """Converts the library's nodes; a repeated node is an alias."""

    def __init__(self, text: str, skipped: int) -> None:
        self.text = text
        self.skipped = skipped
        self.seen: set[int] = set()

    def node(self, source: Any) -> Node:
        start = source.start_mark.index + self.skipped
        end = source.end_mark.index + self.skipped
        if id(source) in self.seen:
            return Node("alias", start, end, text=str(source.anchor or ""))
        self.seen.add(id(source))
        tag = str(source.tag or "")
        if tag.startswith("!") and len(tag) > 1:
            return self.function(source, start, end, tag[1:])
        return self.plain(source, start, end, tag)

    def function(self, source: Any, start: int, end: int, name: str) -> Node:
        """Returns the function of a short tag as CloudFormation's long form."""
        inside = start
        while match := _PROPERTY.match(self.text, inside):
            inside = match.end()
        argument = self.plain(source, min(inside, end), end, _STANDARD + "str")
        # The anchor is that of the function: an alias repeats it, and not the argument alone.
        value = replace(argument, anchor="")
        if name == "GetAtt" and value.kind == "string":
            parts = tuple(replace(value, text=part) for part in value.text.split(".", 1))
            value = Node("array", value.start, value.end, items=parts)
        key = name if name in _WITHOUT_PREFIX else f"Fn::{name}"
        return Node(
            kind="object",
            start=start,
            end=value.end,
            members=(Member(key, start, start, value),),
            block=value.block,
            anchor=str(source.anchor or ""),
        )

    def plain(self, source: Any, start: int, end: int, tag: str) -> Node:
        anchor = str(source.anchor or "")
        if isinstance(source.value, str):
            return self.scalar(source, start, end, tag.removeprefix(_STANDARD), anchor)
        block = not source.flow_style
        if source.id == "sequence":
            elements = tuple(self.node(element) for element in source.value)
            end = elements[-1].end if block and elements else end
            return Node("array", start, end, items=elements, block=block, anchor=anchor)
        members = tuple(self.member(key, value) for key, value in source.value)
        end = members[-1].value.end if block and members else end
        return Node("object", start, end, members=members, block=block, anchor=anchor)

    def member(self, key: Any, value: Any) -> Member:
        name = key.value if isinstance(key.value, str) else ""
        start, end = key.start_mark.index + self.skipped, key.end_mark.index + self.skipped
        return Member(name, start, end, self.node(value))

    def scalar(self, source: Any, start: int, end: int, tag: str, anchor: str) -> Node:
        # The library ends a block scalar where the next value begins.
        end = start + len(self.text[start:end].rstrip()) if source.style in {"|", ">"} else end
        text = _LITERALS.get(tag, str)(source.value)
        return Node(
            _KINDS.get(tag, "string"), start, end, text, quote=source.style or "", anchor=anchor
        )
