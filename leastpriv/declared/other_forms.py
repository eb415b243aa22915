"""Names what people give in place of a template or plan, and the command that writes a file which
can be read (`data/other_forms.tsv`).
"""

from __future__ import annotations

from collections.abc import Collection

from leastpriv.permissions.fact_tables import table


def remedy_for(source: str, keys: Collection[str]) -> str:
    """Returns what a file is, and the command that writes a readable one; empty where neither its
    name nor its keys say it.
    """
    for row in table("other_forms", __package__):
        has_end = bool(row["end"]) and source.lower().endswith(row["end"])
        has_keys = bool(row["keys"]) and set(row["keys"].split(",")) <= {*keys}
        if has_end or has_keys:
            return f"it is {row['what']}: {row['command']}."
    return ""
