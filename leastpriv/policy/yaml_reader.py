"""Parses YAML into the nodes of `syntax_tree`.

CloudFormation's short tags become their functions: `!Sub x` is read as `{"Fn::Sub": "x"}`, `!Ref` and `!Condition` as
keys without `Fn::`
(https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html, read
2026-11-24).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from leastpriv.errors import PolicyFileError
from leastpriv.policy.syntax_tree import Member, Node, NodeKind

_MAX_CHARACTERS = 1_000_000
"""CloudFormation takes templates of 1 MB
(https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html, read 2026-11-24)."""

_STANDARD = "tag:yaml.org,2002:"
_KINDS: dict[str, NodeKind] = {"int": "number", "float": "number", "bool": "literal", "null": "literal"}
_LITERALS: dict[str, Callable[[str], str]] = {"bool": str.lower, "null": lambda _: "null"}
_WITHOUT_PREFIX = frozenset({"Ref", "Condition"})
_PROPERTY = re.compile(r"[!&][^\s,\[\]{}]*[ \t]*(?:\r?\n[ \t]*)?")
"""A tag or an anchor before a value."""


def read_yaml(text: str, where: str) -> Node:
    """Parses the only document of a YAML file.

    Raises PolicyFileError with `where`, line and column for text that is not YAML, has several documents or none, is
    too long, or is nested too deep.
    """
    if len(text) > _MAX_CHARACTERS:
        raise PolicyFileError(
            f"{where}: {len(text):,} characters are more than CloudFormation takes; name another file."
        )
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    skipped = len(text) - len(text.removeprefix("\ufeff"))
    try:
        root = YAML(typ="safe", pure=True).compose(text[skipped:])
        if root is None:
            raise PolicyFileError(f"{where}: the file is empty; name the file that holds the policy.")
        return _Converter(text, skipped).node(root)
    except MarkedYAMLError as error:
        mark, problem = error.problem_mark or error.context_mark, error.problem or "this is not YAML"
        if "another document" in problem:
            raise PolicyFileError(f"{where}: the file holds several YAML documents; name a file with one.") from error
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise PolicyFileError(f"{where}: {at}{problem}; correct the YAML.") from error
    except RecursionError as error:
        raise PolicyFileError(f"{where}: YAML nested so deep is no policy; name the policy file itself.") from error
    except (YAMLError, ValueError) as error:
        # The reader's own errors have no position, for example for a character that YAML forbids.
        raise PolicyFileError(f"{where}: this is not YAML ({str(error).splitlines()[0]}); correct it.") from error


class _Converter:
    """Converts the library's nodes; a repeated node is an alias."""

    def __init__(self, text: str, skipped: int) -> None:
        self.text = text
        self.skipped = skipped
        self.seen: set[int] = set()

    def node(self, source: Any) -> Node:
        start, end = source.start_mark.index + self.skipped, source.end_mark.index + self.skipped
        if id(source) in self.seen:
            return Node("alias", start, end, text=str(source.anchor or ""))
        self.seen.add(id(source))
        tag = str(source.tag or "")
        if tag.startswith("!") and len(tag) > 1:
            name = tag[1:]
            inside = start
            while found := _PROPERTY.match(self.text, inside):
                inside = found.end()
            value = self.plain(source, min(inside, end), end, _STANDARD + "str")
            if name == "GetAtt" and value.kind == "string":
                value = self.attribute(value)
            key = name if name in _WITHOUT_PREFIX else f"Fn::{name}"
            member = Member(key, start, start, value)
            return Node(
                "object", start, value.end, members=(member,), block=value.block, anchor=str(source.anchor or "")
            )
        return self.plain(source, start, end, tag)

    def attribute(self, value: Node) -> Node:
        parts = value.text.split(".", 1)
        return Node(
            "array", value.start, value.end, items=tuple(Node("string", value.start, value.end, p) for p in parts)
        )

    def plain(self, source: Any, start: int, end: int, tag: str) -> Node:
        anchor = str(source.anchor or "")
        if isinstance(source.value, str):
            return self.scalar(source, start, end, tag.removeprefix(_STANDARD), anchor)
        block = not source.flow_style
        if source.id == "sequence":
            items = tuple(self.node(item) for item in source.value)
            end = items[-1].end if block and items else end
            return Node("array", start, end, items=items, block=block, anchor=anchor)
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
        return Node(_KINDS.get(tag, "string"), start, end, text, quote=source.style or "", anchor=anchor)
