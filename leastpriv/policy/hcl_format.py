"""Indents lines, and aligns `=` and trailing comments of consecutive lines, as `terraform fmt` does.

https://github.com/hashicorp/hcl/blob/main/hclwrite/format.go, read 2026-11-27: an assignment takes part only if its
line leaves no bracket open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_HEREDOC = re.compile(r"<<-?([A-Za-z_][\w-]*)[ \t]*$")
_EQUAL = re.compile(r"(?<![=!<>])=(?![=>])")
_PIECE = re.compile(r"\\.|\$\$\{|%%\{|\$\{|%\{|.", re.DOTALL)
_OPENING = frozenset("{[(")
_CLOSING = frozenset("}])")


@dataclass(slots=True)
class _Line:
    """One line: the part before `=`, from `=` on, and a comment at its end."""

    lead: str
    assign: str = ""
    comment: str = ""
    brackets: int = 0
    """Brackets that it opens, less those that it closes."""
    verbatim: bool = False
    """Whether it belongs to a heredoc or a block comment."""


def formatted_like(before: str, after: str) -> str:
    """Returns an edited file formatted as far as the file before the edit was."""
    for change in (_formatted, aligned):
        if change(before) == before:
            return change(after)
    return after


def aligned(text: str) -> str:
    """Returns a text of HCL with aligned cells; lines of heredocs and of block comments remain as they are."""
    newline = "\r\n" if "\r\n" in text else "\n"
    return newline.join(_aligned(_lines(text.split(newline))))


def _formatted(text: str) -> str:
    """Returns a whole file with indented lines and aligned cells."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = _lines(text.removeprefix("\ufeff").split(newline))
    opened: list[int] = []
    for line in lines:
        if line.verbatim:
            continue
        closed = -line.brackets
        while closed > 0 and opened:
            taken = min(closed, opened[-1])
            opened[-1] -= taken
            closed -= taken
            if not opened[-1]:
                opened.pop()
        line.lead = "  " * len(opened) + line.lead.lstrip(" \t") if line.lead.strip() else line.lead
        if line.brackets > 0:
            opened.append(line.brackets)
    return text[: text.startswith("\ufeff")] + newline.join(_aligned(lines))


def _aligned(lines: Sequence[_Line]) -> list[str]:
    _align(lines, lambda line: bool(line.assign), lambda line: len(line.lead), _set_lead)
    _align(lines, lambda line: bool(line.comment), lambda line: len(line.lead + line.assign), _set_code)
    return [line.lead + line.assign + line.comment for line in lines]


def _set_lead(line: _Line, width: int) -> None:
    line.lead = line.lead.ljust(width)


def _set_code(line: _Line, width: int) -> None:
    missing = " " * (width - len(line.lead + line.assign))
    if line.assign:
        line.assign += missing
    else:
        line.lead += missing


def _align(
    lines: Sequence[_Line],
    takes_part: Callable[[_Line], bool],
    width: Callable[[_Line], int],
    widen: Callable[[_Line, int], None],
) -> None:
    chain: list[_Line] = []
    for line in [*lines, _Line("")]:
        if takes_part(line):
            chain.append(line)
            continue
        widest = max(map(width, chain), default=0) + 1
        for each in chain:
            widen(each, widest)
        chain = []


def _lines(texts: Sequence[str]) -> list[_Line]:
    found: list[_Line] = []
    until = ""
    in_comment = False
    for text in texts:
        if until:
            until = "" if text.strip() == until else until
            found.append(_Line(text, verbatim=True))
            continue
        if in_comment:
            in_comment = "*/" not in text
            found.append(_Line(text, verbatim=True))
            continue
        line, heredoc, in_comment = _cells(text)
        until = heredoc
        found.append(line)
    return found


def _cells(text: str) -> tuple[_Line, str, bool]:
    """Splits a line; returns the end of the heredoc that it begins, and whether it begins a block comment."""
    masked = _masked(text)
    code, end = text[: len(masked)], text[len(masked) :]
    opens = end.startswith("/*") and "*/" not in end
    if not code.strip() or opens:
        return _Line(text), "", opens
    found = _HEREDOC.search(code)
    until = found[1] if found else ""
    equal = next((each.start() for each in _EQUAL.finditer(masked) if masked[: each.start()].strip()), -1)
    rest = masked[equal:] if equal >= 0 else ""
    is_open, net = _balance(rest), _balance(masked)
    if is_open:
        code = f"{code[:equal].rstrip()} {code[equal:]}"
    if equal < 0 or is_open:
        return _Line(code.rstrip() if end else code, "", end, net), until, False
    return _Line(code[:equal].rstrip(), code[equal:].rstrip() if end else code[equal:], end, net), until, False


def _balance(code: str) -> int:
    return sum((char in _OPENING) - (char in _CLOSING) for char in code)


def _masked(text: str) -> str:
    """Returns a line up to its comment, with the characters of its strings replaced."""
    result, at = "", 0
    quotes: list[int] = []
    """Of each open string the number of braces that its open interpolation has; 0 between interpolations."""
    while at < len(text):
        if not quotes and text.startswith(("#", "//", "/*"), at):
            break
        found = _PIECE.match(text, at)
        piece = found[0] if found else text[at]
        in_string = bool(quotes) and quotes[-1] == 0
        if piece == '"':
            quotes = quotes[:-1] if in_string else [*quotes, 0]
        elif in_string:
            quotes[-1] += piece in {"${", "%{"}
        elif quotes:
            quotes[-1] += (piece[-1] == "{") - (piece == "}")
        result += piece if not quotes and piece != '"' else "\0" * len(piece)
        at += len(piece)
    return result
