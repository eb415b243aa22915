"""Renders the Markdown of every report from the templates next to it.

The values of a template are Markdown already: `escape` is the only way of a name into them.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: object) -> str:
    """Returns a template of `templates/` with its values, without blank lines at its ends.

    Args:
        template: The name of the file without `.md`.
        values: What the template names; a missing value is an error.
    """
    return _environment().get_template(f"{template}.md").render(values).strip("\n")


@cache
def _environment() -> Environment:
    # Imported here: commands without a report do not wait for it.
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = resources.files(__package__ or "") / "templates"
    return Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=False,  # noqa: S701 - Markdown, which `escape` has escaped
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
