"""The page as text. Jinja escapes every value, and only this file knows what is markup already."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from leastpriv import __version__
from leastpriv.report.escape import plain
from leastpriv.report.page.view import target
from leastpriv.report.subject import Subject


def page(subjects: Sequence[Subject]) -> str:
    """One HTML document about some proposals; it loads nothing and sends nothing."""
    # Imported here: only who asks for a page waits for them.
    from jinja2 import Environment, StrictUndefined
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    style, script = _asset("page.css"), _asset("page.js")
    words = MarkdownIt("commonmark", {"html": False}).enable("table")
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True)
    environment.filters["sentence"] = lambda text: Markup(words.renderInline(text))  # noqa: S704 - our own Markdown
    environment.filters["section"] = lambda text: Markup(words.render(text))  # noqa: S704 - our own Markdown
    return environment.from_string(_asset("page.html")).render(
        targets=[target(subject, number) for number, subject in enumerate(subjects, start=1)],
        style=Markup(style),  # noqa: S704 - a file of ours
        script=Markup(script),  # noqa: S704 - a file of ours
        style_hash=_hash(style),
        script_hash=_hash(script),
        version=__version__,
    )


def _shown(value: object) -> object:
    """What goes in where a template writes a value: text with all that is invisible or directs the eye written out."""
    return plain(value) if type(value) is str else value


def _asset(name: str) -> str:
    return resources.files("leastpriv.report.page").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a Content-Security-Policy names an inline block that may act."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
