"""Locates and replaces a policy that is the text of a JSON string, a quoted YAML string or a YAML block."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from leastpriv.policy.syntax_tree import Node, json_string

Spelling = Literal['"', "'", "|"]
"""How the outer file writes the text: double quotes with JSON's escapes, YAML's single quotes, or a YAML block."""

_ESCAPED = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.|[^\\]")
_SINGLE = re.compile("''|[^']")
_HEADER = re.compile(r"\|[-+0-9]*[ \t]*(?:#[^\r\n]*)?(\r?\n)")
_WORD = re.compile(r"\w+|\W")


@dataclass(frozen=True, slots=True)
class EmbeddedJson:
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
        """Returns `outer` with the inner text `old` replaced by `new`; unchanged characters keep their spelling."""
        end = self.outer_offset(len(self.pieces))
        return self.outer[: self.start] + self._respell(old, new) + self.outer[end:]

    def _respell(self, old: str, new: str) -> str:
        head = _common_prefix_length(old, new)
        tail = _common_prefix_length(old[head:][::-1], new[head:][::-1])
        until = len(old) - tail
        middle = self._respell_middle(head, old[head:until], new[head : len(new) - tail])
        return "".join(self.pieces[:head]) + middle + "".join(self.pieces[until:])

    def _respell_middle(self, head: int, old: str, new: str) -> str:
        pieces = self.pieces[head : head + len(old)]
        if "".join(pieces) == self._encoded(old):
            return self._encoded(new)
        # The file spells characters differently, as `\u002a` for `*`: keep its spelling of equal words.
        old_words, new_words = _WORD.findall(old), _WORD.findall(new)
        places = [0]
        for word in old_words:
            places.append(places[-1] + len(word))
        result = ""
        for tag, start, end, first, last in SequenceMatcher(None, old_words, new_words, autojunk=False).get_opcodes():
            kept = "".join(pieces[places[start] : places[end]])
            result += kept if tag == "equal" else self._encoded("".join(new_words[first:last]))
        return result

    def _encoded(self, text: str) -> str:
        if self.spelling == '"':
            return json_string(text)[1:-1]
        if self.spelling == "'":
            return text.replace("'", "''")
        first, *others = text.split("\n")
        return first + "".join(self.newline + (self.indent + line if line else "") for line in others)


def open_embedded_json(outer: str, node: Node) -> tuple[str, EmbeddedJson] | None:
    """Returns the text of a string node with its embedding; None if its spelling is not supported."""
    raw = outer[node.start : node.end]
    if raw.startswith("|"):
        return _open_block(outer, node, raw)
    if raw[:1] not in {'"', "'"} or "\n" in raw:
        return None
    double = raw[0] == '"'
    pieces = tuple((_ESCAPED if double else _SINGLE).findall(raw[1:-1]))
    embedded = EmbeddedJson(outer, node.start + 1, pieces, '"' if double else "'")
    fits = (
        "".join(pieces) == raw[1:-1]
        and "".join(map(_decoded if double else _decoded_single_quoted, pieces)) == node.text
    )
    return (node.text, embedded) if fits and len(pieces) == len(node.text) else None


def _decoded(piece: str) -> str:
    try:
        return str(json.loads(f'"{piece}"')) if piece.startswith("\\") else piece
    except ValueError:
        # YAML has more escapes than JSON.
        return ""


def _decoded_single_quoted(piece: str) -> str:
    return piece[:1]


def _open_block(outer: str, node: Node, raw: str) -> tuple[str, EmbeddedJson] | None:
    header = _HEADER.match(raw)
    lines = raw[header.end() :].split("\n") if header else [""]
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip(" "))]
    if not header or not indent or any(line.strip() and not line.startswith(indent) for line in lines):
        return None
    newline, pieces = header[1], list[str]()
    for number, line in enumerate(lines):
        bare = line.removesuffix("\r")
        begin = indent if bare.startswith(indent) else bare
        pieces += [newline + begin] if number else []
        pieces += bare[len(begin) :]
    inner = "".join("\n" if len(piece) > 1 or piece == "\n" else piece for piece in pieces)
    embedded = EmbeddedJson(outer, node.start + header.end() + len(indent), tuple(pieces), "|", newline, indent)
    whole = outer[embedded.start : node.end] == "".join(pieces)
    return (inner, embedded) if whole and inner.rstrip("\n") == node.text.rstrip("\n") else None


def _common_prefix_length(one: str, other: str) -> int:
    """Returns the length of the common prefix of two texts."""
    limit = min(len(one), len(other))
    return next((at for at in range(limit) if one[at] != other[at]), limit)
