"""The API models of botocore, read once in a process."""

from __future__ import annotations

import sys
from typing import Any


def share() -> None:
    """Let all sessions of botocore in this process share the models that one of them has read.

    Each test opens its own session, which would read megabytes of JSON again. A process that has
    not imported botocore yet does not do so here.
    """
    loaders = sys.modules.get("botocore.loaders")
    if loaders is None or hasattr(loaders.Loader, "shared"):
        return

    class SharedLoader(loaders.Loader):  # type: ignore[misc]
        shared: dict[tuple[str, ...], dict[Any, Any]] = {}  # noqa: RUF012 - for all sessions

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._cache = self.shared.setdefault(tuple(self.search_paths), {})

    loaders.Loader = SharedLoader
