"""Policy variables: `${aws:username}` in a Resource or a condition value, and what the request puts in its place.

Rules: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html, read 2026-11-24. Keys have
no case; `${key, 'text'}` names a default; a variable whose key is absent from the request or has no value is null,
and nothing is equal to it or like it; a key of several values is no variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from leastpriv.permissions.patterns import has_variable

Context = Mapping[str, tuple[str, ...]]
"""Condition keys in lower case, and their values."""

_TOKEN = re.compile(r"\$\{[*?$]\}|\$\{([^},]*)(?:,\s*'([^'}]*)'\s*)?\}|\$\{[^}]*\}?|\$")
"""An escape, a variable with its key and default, a malformed variable, a lone dollar sign."""
_SPECIAL = re.compile(r"[*?$]")


def as_2012(text: str, variables: bool) -> str:
    """Spell a pattern or value of any policy as in a policy of version 2012-10-17.

    `variables` says whether its own policy is of that version; in others `${` is plain text.
    """
    return text if variables else text.replace("${", "${$}{")


def resolve(text: str, context: Context, complete: bool) -> str | None:
    """Put the request's values into a pattern or value of version 2012-10-17; wildcards in them become plain text.

    None: a variable has no value, so that nothing is equal to `text` or like it. A variable that remains is
    unknown: its key is absent from an incomplete context, or has several values.
    """
    if not has_variable(text):
        return text
    null = False

    def value_of(found: re.Match[str]) -> str:
        nonlocal null
        key = found[1]
        if key is None:
            return "${$}" if found[0] == "$" else found[0]
        name = key.strip().lower()
        values = tuple(filter(None, context.get(name, ())))
        # A name without a colon is no condition key: a placeholder, which only a rendered template knows.
        known = (complete and ":" in name) or name in context
        if len(values) > 1 or not known:
            return found[0]
        value = values[0] if values else found[2]
        null = null or not value
        return _SPECIAL.sub(r"${\g<0>}", value or "")

    resolved = _TOKEN.sub(value_of, text)
    return None if null else resolved
