"""Parses Markdown as GitHub does (CommonMark with tables) into its visible text and its effects."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from markdown_it import MarkdownIt

from leastpriv.report.guide import LATEST

HOSTILE = (
    "::set-output name=policy::x",
    "##[add-mask]deploy",
    "%0A::error::x",
    "@octo-org/security",
    "someone@example.com",
    "#12",
    "octo-org/other#7",
    "Closes #12 [skip ci]",
    "https://evil.example/x",
    "www.evil.example",
    "[text](https://evil.example)",
    "![x](https://evil.example/pixel.png)",
    "<img src=https://evil.example/pixel.png>",
    "<img/src=x|onerror=alert(1)>",
    "</details></table><h1>",
    "<!-- leastpriv v=1 version=9 fingerprint=0 -->",
    "-->",
    "a|b||c|",
    "`",
    "``` ```` `x`",
    "`|`",
    "\\`|\\|",
    "*bold* _em_ ~~gone~~",
    "$x^2$ :tada:",
    "&lt;b&gt;&#64;octo",
    "\n\n# heading\n- item\n",
    "\r\n| a | b |\r\n| - | - |",
    "\u202egnp.exe",
    "a\u200b\u2066b\u2069",
    "\x1b]8;;https://evil.example\x07x\x1b]8;;\x07",
    "\u3164\uffa0\u2800",
    "${aws:username}",
    "*",
)
"""Names that an attacker could give a resource of a deploy."""


OF_THE_GUIDE = re.compile(re.escape(LATEST) + r"/[a-z-]+\.md(#[a-z-]+)?")


@dataclass(slots=True)
class Page:
    """The parsed text."""

    codes: list[str] = field(default_factory=list)
    """Contents of code spans, in order."""
    prose: str = ""
    """All text outside code spans, one line an inline block."""
    html: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    """Targets of links and images, without pages of the guide."""
    guide: list[str] = field(default_factory=list)
    """The linked pages of the guide."""
    blocks: list[str] = field(default_factory=list)
    """Kinds of blocks, in order, e.g. `heading_open`."""

    def acts(self) -> list[str]:
        """Effects beyond text: HTML, links, and text that GitHub turns into links or
        notifications.
        """
        shown = re.findall(r"@\w|#\d|GH-\d|https?:|www\.|<!?[\w/-]", self.prose)
        return [*self.html, *self.links, *shown]


def read(markdown: str) -> Page:
    """Parses a text."""
    page = Page()
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        page.blocks.append(token.type)
        if token.type in {"html_block", "fence", "code_block"}:
            page.html.append(token.content)
        for child in token.children or ():
            if child.type == "code_inline":
                page.codes.append(child.content)
            elif child.content == "<br>":
                page.prose += " "
            elif child.type == "html_inline":
                page.html.append(child.content)
            elif child.type in {"link_open", "image"}:
                target = str(child.attrs.get("href") or child.attrs.get("src"))
                (page.guide if OF_THE_GUIDE.fullmatch(target) else page.links).append(target)
            elif child.type in {"text", "text_special"}:
                page.prose += child.content
        page.prose += "\n" if token.children else ""
    return page


def table_widths(markdown: str) -> list[set[int]]:
    """For each table the numbers of columns of its lines: one number if it is valid."""
    blocks = re.split(r"\n{2,}", markdown)
    tables = [block for block in blocks if re.search(r"^\| [-:]", block, re.MULTILINE)]
    return [
        {line.count("|") for line in block.splitlines() if line.startswith("|")} for block in tables
    ]
