"""Links to the pages of the guide, at the version that runs."""

from __future__ import annotations

PROJECT = "https://github.com/org/leastpriv-action"
LATEST = f"{PROJECT}/blob/main/docs"
"""The guide of a version that nothing names."""


def guide_url(server: str, repository: str, ref: str) -> str:
    """Returns the folder of the guide at the version of the action that runs.

    Args:
        server: Address of GitHub.
        repository: `owner/name` of the action; empty for an action of the workspace.
        ref: The tag, branch or commit of `uses:`.
    """
    if not (repository and ref):
        return LATEST
    return f"{server}/{repository}/blob/{ref}/docs"


def page_link(guide: str, text: str, page: str) -> str:
    """Returns a link to a page of the guide.

    Args:
        guide: The folder of the guide.
        text: What the link shows, in Markdown.
        page: The page without its ending, and its anchor: `guards#how-certain`.
    """
    name, mark, anchor = page.partition("#")
    return f"[{text}]({guide}/{name}.md{mark}{anchor})"
