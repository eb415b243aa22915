"""The text of a log without what tools put around it: colours, timestamps, boxes, escapes. Line breaks stay.

A break may stand between two words (Terraform's boxes, people) or inside one (CDK at the width of the terminal, SAM's
columns); which of both it is, the grammar decides. So words are matched with `spaced`: breaks may stand anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BREAKS = "\n\v"
"""`\\n` ends a line of the log, `\\v` stands for a break that a tool wrote out (`\\\\n`) or for a carriage return."""
BLANKS = re.compile(r"[ \n\v]+")

# Colours, also where a copy has lost the escape character; titles and links (ECMA-48, OSC 8).
_COLOUR = re.compile(r"\x1b\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)|\x1b?\[[0-9;]{0,16}m|\x1b\[[0-?]{0,16}[ -/]{0,4}[@-~]")
_ESCAPED = re.compile(r"\\+(?:([nrt\"])|u([0-9a-fA-F]{4}))|&(quot|#34);")
_MEANT = {"n": "\v", "r": "\v", "t": " ", '"': '"', "quot": '"', "#34": '"'}
# `gh run view --log` puts job and step in front, the runner a time, other systems theirs.
_STAMP = re.compile(
    r"(?:\ufeff)?(?:[^\t\n\v]{1,200}\t[^\t\n\v]{1,200}\t\ufeff?(?=\d{4}-))?"
    r"(?:\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?\]?[ \t]?)?"
)
_DECORATION = re.compile(r"[ \t]*(?:##\[\w{1,20}\]|::\w{1,20}(?: [^:\n\v]{0,200})?::)?[ \t│┃║|╷╵>#,]*")
_FRAME = " \t│┃║"


@dataclass(frozen=True, slots=True)
class Layout:
    """A cleaned text, and where each of its lines ended on the screen."""

    text: str
    starts: tuple[int, ...]
    """Offset in `text` of each line, by either break."""
    ends: tuple[int, ...]
    """Column behind the last visible character of that line, decoration counted."""


def lay_out(raw: str) -> Layout:
    """Cleans a text. It keeps the ends of its lines, so that lines can be counted in the result."""
    plain = raw.replace("\r\n", "\n").replace("\r", "\v")
    plain = _COLOUR.sub("", plain)
    lines: list[str] = []
    ends: list[int] = []
    breaks: list[str] = []
    for part in re.split(f"([{BREAKS}])", plain):
        if part and part in BREAKS:
            breaks.append(part)
            continue
        for index, piece in enumerate(_unescaped(_without(_STAMP, part)).split("\v")):
            if index:
                breaks.append("\v")
            ends.append(len(piece.rstrip(_FRAME)))
            lines.append(_without(_DECORATION, piece).rstrip(_FRAME))
    return _joined(lines, ends, breaks)


def spaced(words: str) -> str:
    """A regular expression for literal words: blanks between them may lack, breaks may stand anywhere."""
    return "".join(
        r"[ \n\v]*" if character == " " else re.escape(character) + r"[\n\v]?" for character in words
    ).removesuffix(r"[\n\v]?")


def beginning_of(words: str) -> str:
    """A regular expression for any beginning of literal words, the longest first."""
    return "(?:" + "|".join(spaced(words[:end].rstrip()) for end in range(len(words), 0, -1)) + ")"


def squeezed(text: str) -> str:
    """A text in lower case without any blank or break, to look for words that were wrapped anywhere."""
    return "".join(text.split()).lower()


def unbroken(text: str) -> str:
    """A text with its breaks taken out and nothing put in their place: an ARN that was wrapped."""
    return re.sub(rf"[{BREAKS}]", "", text)


def one_line(text: str) -> str:
    """A text on one line, for a person."""
    return BLANKS.sub(" ", text).strip()


def _without(pattern: re.Pattern[str], text: str) -> str:
    """The text behind what a pattern matches at its beginning."""
    found = pattern.match(text)
    return text[found.end() :] if found else text


def _unescaped(text: str) -> str:
    text = text.replace("\t", " ").replace("\u00a0", " ")
    if "\\" not in text and "&" not in text:
        return text
    return _ESCAPED.sub(_meant, text)


def _meant(found: re.Match[str]) -> str:
    if found[2]:
        character = chr(int(found[2], 16))
        return character if character.isprintable() else " "
    return _MEANT[found[1] or found[3]]


def _joined(lines: list[str], ends: list[int], breaks: list[str]) -> Layout:
    starts = [0]
    for line in lines[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    text = "".join(line + end for line, end in zip(lines, [*breaks, ""], strict=True))
    return Layout(text, tuple(starts), tuple(ends))
