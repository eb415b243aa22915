"""The Markdown pages of the repository, parsed for their tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "bench/*.md", "tests/cases*/*.md")
    for path in ROOT.glob(pattern)
)
GUIDE = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
WITH_COMMANDS = [page for page in PAGES if page.startswith("docs/") and page.count("/") == 1] + [
    "README.md"
]


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, and the comment just before it."""

    page: str
    line: int
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def tokens(page: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8"))


@cache
def blocks(page: str) -> tuple[Block, ...]:
    found, mark = [], ""
    for token in tokens(page):
        if token.type == "fence":
            line = (token.map or [0])[0] + 1
            found.append(Block(page, line, token.info.strip(), token.content, mark))
        mark = token.content.strip() if token.type == "html_block" else ""
    return tuple(found)


def of_language(*languages: str, pages: list[str] = PAGES) -> list[Block]:
    return [block for page in pages for block in blocks(page) if block.language in languages]


@cache
def anchors(page: str) -> frozenset[str]:
    """The anchors that GitHub gives the headings of a page."""
    given: set[str] = set()
    stream = tokens(page)
    for opening, inside in pairwise(stream):
        if opening.type == "heading_open":
            plain = "".join(
                child.content
                for child in inside.children or []
                if child.type in {"text", "code_inline"}
            )
            stem = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            given.add(next(name for name in _numbered(stem) if name not in given))
    return frozenset(given)


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    for number in range(1, 100):
        yield f"{stem}-{number}"


def inline(page: str, kind: str) -> Iterator[Token]:
    for token in tokens(page):
        yield from (child for child in token.children or [] if child.type == kind)


def yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)
