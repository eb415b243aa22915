"""A policy written as the text of a string: JSON in a JSON string, in a quoted YAML string, in a YAML block of text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from leastpriv.policy.syntax_tree import Node, quoted

Spelling = Literal['"', "'", "|"]
"""How the outer file writes the text: in double quotes with JSON's escapes, in single quotes of YAML, line by line."""

_ESCAPED = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.|[^\\]")
_SINGLE = re.compile("''|[^']")
_HEADER = re.compile(r"\|[-+0-9]*[ \t]*(?:#[^\r\n]*)?(\r?\n)")
_WORD = re.compile(r"\w+|\W")


@dataclass(frozen=True, slots=True)
class Shell:
    """The outer text, and how it spells each character of the inner one."""

    outer: str
    start: int
    """Offset of the first character's spelling."""
    pieces: tuple[str, ...]
    """One an inner character; together they stand in `outer` without a gap."""
    spelling: Spelling
    newline: str = "\n"
    indent: str = ""
    """White space before each line of a block of text."""

    def place(self, offset: int) -> int:
        """Return the offset in `outer` of an inner offset."""
        return self.start + sum(map(len, self.pieces[:offset]))

    def wrap(self, old: str, new: str) -> str:
        """Return `outer` with the inner text `new` in place of `old`; what is equal keeps its spelling."""
        end = self.place(len(self.pieces))
        return self.outer[: self.start] + self._respelled(old, new) + self.outer[end:]

    def _respelled(self, old: str, new: str) -> str:
        head = _common(old, new)
        tail = _common(old[head:][::-1], new[head:][::-1])
        until = len(old) - tail
        middle = self._aligned(head, old[head:until], new[head : len(new) - tail])
        return "".join(self.pieces[:head]) + middle + "".join(self.pieces[until:])

    def _aligned(self, head: int, old: str, new: str) -> str:
        pieces = self.pieces[head : head + len(old)]
        if "".join(pieces) == self._spelled(old):
            return self._spelled(new)
        # Spelled in another way than ours, as `\u002a` for a star: keep that wherever words are the same.
        mine, its = _WORD.findall(old), _WORD.findall(new)
        places = [0]
        for word in mine:
            places.append(places[-1] + len(word))
        result = ""
        for tag, start, end, first, last in SequenceMatcher(None, mine, its, autojunk=False).get_opcodes():
            kept = "".join(pieces[places[start] : places[end]])
            result += kept if tag == "equal" else self._spelled("".join(its[first:last]))
        return result

    def _spelled(self, text: str) -> str:
        if self.spelling == '"':
            return quoted(text)[1:-1]
        if self.spelling == "'":
            return text.replace("'", "''")
        first, *others = text.split("\n")
        return first + "".join(self.newline + (self.indent + line if line else "") for line in others)


def open_shell(outer: str, node: Node) -> tuple[str, Shell] | None:
    """Return the text that a string node holds, with its shell; None where it is spelled in a way not read here."""
    raw = outer[node.start : node.end]
    if raw.startswith("|"):
        return _block(outer, node, raw)
    if raw[:1] not in {'"', "'"} or "\n" in raw:
        return None
    double = raw[0] == '"'
    pieces = tuple((_ESCAPED if double else _SINGLE).findall(raw[1:-1]))
    shell = Shell(outer, node.start + 1, pieces, '"' if double else "'")
    fits = "".join(pieces) == raw[1:-1] and "".join(map(_meaning if double else _single, pieces)) == node.text
    return (node.text, shell) if fits and len(pieces) == len(node.text) else None


def _meaning(piece: str) -> str:
    try:
        return str(json.loads(f'"{piece}"')) if piece.startswith("\\") else piece
    except ValueError:
        # YAML has more escapes than JSON.
        return ""


def _single(piece: str) -> str:
    return piece[:1]


def _block(outer: str, node: Node, raw: str) -> tuple[str, Shell] | None:
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
    shell = Shell(outer, node.start + header.end() + len(indent), tuple(pieces), "|", newline, indent)
    whole = outer[shell.start : node.end] == "".join(pieces)
    return (inner, shell) if whole and inner.rstrip("\n") == node.text.rstrip("\n") else None


def _common(one: str, other: str) -> int:
    """Length of the common beginning of two texts."""
    limit = min(len(one), len(other))
    return next((at for at in range(limit) if one[at] != other[at]), limit)
