"""Long sections cut to what a page takes: whole lines go, and the reader is told where the rest is."""

from __future__ import annotations

from collections.abc import Sequence

_CUT = "\n\n*Cut here, {rest:,} more lines: {place} has all of them.*"
_LONGEST_CUT = len(_CUT) + 40 + 2 * len("\n\n</details>")
"""With the ends of folds: a section of ours has at most one in another."""


def fit(sections: Sequence[str], longest: int, place: str = "`proposal.json`") -> list[str]:
    """`sections` with at most `longest` characters together; only the longest ones lose lines, at their ends.

    `place`, at most 20 characters of Markdown, is where the reader finds all of them.
    """
    share = _share(sorted(map(len, sections)), longest)
    return [section if len(section) <= share else _cut(section, share, place) for section in sections]


def _share(lengths: Sequence[int], longest: int) -> int:
    """The most that one section may have, so that what short ones leave over goes to the long ones."""
    left, share = longest, 0
    for place, length in enumerate(lengths):
        share = left // (len(lengths) - place)
        if length > share:
            return share
        left -= length
    return max(lengths, default=0)


def _cut(section: str, longest: int, place: str) -> str:
    lines = section.split("\n")
    kept = 0
    size = _LONGEST_CUT
    while kept < len(lines) and size + len(lines[kept]) + 1 <= longest:
        size += len(lines[kept]) + 1
        kept += 1
    kept, folds = _closed(lines[:kept])
    shown = "\n".join(lines[:kept]).rstrip("\n") + "\n\n</details>" * folds
    return (shown + _CUT.format(rest=len(lines) - kept, place=place)).lstrip("\n")


def _closed(lines: Sequence[str]) -> tuple[int, int]:
    """How many of the lines can stay, since half a block of code would swallow what follows; and folds left open."""
    opened, fence, folds = 0, "", 0
    for number, line in enumerate(lines):
        marks = line[: len(line) - len(line.lstrip("`"))]
        if len(marks) >= 3 and (not fence or (marks.startswith(fence) and line == marks)):
            fence, opened = ("", 0) if fence else (marks, number)
        elif not fence:
            folds += line.startswith("<details>") - (line == "</details>")
    return (opened if fence else len(lines)), max(folds, 0)
