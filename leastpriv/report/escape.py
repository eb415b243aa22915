r"""Escapes untrusted text (event names, ARNs, file contents, messages) for Markdown.

All of it goes into code spans, in which GitHub creates no mention, reference or link, and HTML is
text. Characters that could end a code span or a table cell, imitate a marker, run a workflow
command, or deceive the reader are written as `\u{…}`.
"""

from __future__ import annotations

import json
import re
import unicodedata

import msgspec

_LONGEST = 300
_NAME = re.compile(r"[^A-Za-z0-9+=,.@_-]")
"""IAM's alphabet for names:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html.
"""
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
"""Characters that are invisible although Unicode classes them as letters, marks or symbols.

Fillers, joiners, selectors, Braille's blank (Default_Ignorable_Code_Point,
https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt).
"""
_ODD = re.compile(r"[^ -{}~]")
_MARK = re.compile(r"<(?=!--)|(?<=#)#(?=\[)")
"""Beginnings of a comment, such as the marker, and of `##[name]`, which a runner executes anywhere
in a line.
"""
_TOKEN = re.compile(r"(\(*)(?:`([^`]+)`|([^ ]+?))([),;:.]*(?:(?<=[a-z`])\?\Z)?)(?= |\Z)")
"""A word between blanks, or a code span of the sentence; two adjacent spans would become one."""
_PLAIN_WORD = re.compile(r"[A-Za-z]+(?:[-'][a-z]+)*|[A-Z][0-9]|[0-9]{1,4}", re.ASCII)


def code(text: str, longest: int = _LONGEST) -> str:
    """`text` as a code span that fits a table cell, truncated to `longest` characters."""
    visible_text = visible(text if len(text) <= longest else text[: longest - 1] + "…")
    fence = "`" * (max((len(run) for run in re.findall("`+", visible_text)), default=0) + 1)
    pad = (
        " "
        if visible_text.startswith("`")
        or visible_text.endswith("`")
        or visible_text != visible_text.strip()
        or not visible_text
        else ""
    )
    return f"{fence}{pad}{visible_text}{pad}{fence}"


def block(text: str, language: str) -> str:
    """Lines of code as a fenced block; `language` is a constant of the caller."""
    lines = [visible(line) for line in text.rstrip("\n").split("\n")]
    fence = "`" * max(
        3, max((len(run) for line in lines for run in re.findall("`+", line)), default=0) + 1
    )
    return "\n".join([f"{fence}{language}", *lines, fence])


def prose(text: str) -> str:
    """A sentence that quotes others, as Markdown: plain words remain, all else goes into code
    spans.
    """
    return _TOKEN.sub(_token, text)


def visible(text: str) -> str:
    """`text` on one line; characters that are invisible, split table cells or change direction are
    written out.

    Mentions are broken here too, because mail clients interpret the plain text of a comment again.
    """
    visible_text = _ODD.sub(lambda found: _shown(found[0]), text)
    return _MARK.sub(lambda found: _written_out(found[0]), visible_text).replace("@", "@\u200b")


def legible(text: str) -> str:
    """`text` for a program that reads it as a person does: characters that are invisible or change
    direction are written out; line ends and tabs remain.
    """
    return _ODD.sub(lambda found: found[0] if found[0] in "|\n\t" else _shown(found[0]), text)


def name(text: str) -> str:
    """A name for titles and commit messages: IAM's alphabet, mentions broken, at most 64
    characters.
    """
    return _NAME.sub("_", text)[:64].replace("@", "_at_")


def path_name(path: str) -> str:
    """A path for titles: each part as `name` writes it."""
    return "/".join(map(name, path.split("/")))


def plain(text: str, longest: int = _LONGEST) -> str:
    """`text` for a log line or a plain sentence: one line, all visible, no workflow command,
    truncated.
    """
    visible_text = _ODD.sub(
        lambda found: "|" if found[0] == "|" else _shown(found[0]), text[:longest]
    )
    return _MARK.sub(lambda found: _written_out(found[0]), visible_text)


def json_text(value: object, indent: int | None = None) -> str:
    """`value` as JSON in ASCII; escapes `##[`, which begins a workflow command anywhere in a
    line.
    """
    text = json.dumps(value)
    if indent:
        text = _indented(text, indent)
    return text.replace("##[", "#\\u0023[")


def _indented(text: str, indent: int) -> str:
    """JSON on several lines, as `json.dumps` writes it, which takes three times as long."""
    try:
        return msgspec.json.format(text, indent=indent)
    except msgspec.DecodeError:
        # A name of a record may hold half a surrogate pair.
        return json.dumps(json.loads(text), indent=indent)


def _token(found: re.Match[str]) -> str:
    before, quoted, word, after = found.groups()
    if quoted is None and (_PLAIN_WORD.fullmatch(word) or not word.strip("(),;:.")):
        return found[0]
    return f"{before}{code(quoted or word)}{after}"


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if (
        character == "|"
        or category[0] == "C"
        or category in {"Zl", "Zp"}
        or _INVISIBLE.match(character)
    ):
        return _written_out(character)
    return " " if category == "Zs" else character


def _written_out(character: str) -> str:
    return f"\\u{{{ord(character):x}}}"
