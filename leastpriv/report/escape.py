r"""The only way for untrusted text (event names, ARNs, file contents, messages) into Markdown.

Everything goes into code spans: there GitHub starts no mention, reference or link, and HTML stays text. What
could leave a code span or a table cell, or deceive the eye, is written as `\u{…}`.
"""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 300
_NAME = re.compile(r"[^A-Za-z0-9+=,.@_-]")
"""IAM's own alphabet for names: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html."""


def code(text: str, longest: int = _LONGEST) -> str:
    """`text` as a code span that fits a table cell, cut to `longest` characters."""
    shown = visible(text if len(text) <= longest else text[: longest - 1] + "…")
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") or shown != shown.strip() or not shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def visible(text: str) -> str:
    """`text` on one line with what cannot be seen, splits table cells or directs the eye written out.

    A mention is broken even here, since mail clients read the plain text of a comment again.
    """
    shown = "".join(_shown(character) for character in text)
    return shown.replace("@", "@\u200b")


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if character in "|" or category[0] == "C" or category in {"Zl", "Zp"} or character in "\u115f\u1160\u3164":
        return f"\\u{{{ord(character):x}}}"
    return " " if category == "Zs" else character


def name(text: str) -> str:
    """A name for titles and commit messages: IAM's alphabet, a mention broken, at most 64 characters."""
    return _NAME.sub("_", text)[:64].replace("@", "_at_")


def plain(text: str, longest: int = _LONGEST) -> str:
    """`text` for a log line or a JSON-free sentence: one line, nothing invisible, cut."""
    return "".join(_shown(character) if character != "|" else character for character in text[:longest])
