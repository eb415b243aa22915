"""What GitHub refuses, as one sentence with the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from leastpriv.errors import PullRequestError

if TYPE_CHECKING:
    from github import GithubException


_PROTECTED = re.compile("protected|must be made through a pull request|rule violations", re.IGNORECASE)
"""What branch protection and rulesets answer to a move (docs.github.com, "About protected branches", read 2026-11)."""


class CreationForbiddenError(PullRequestError):
    """The token may not create pull requests: the branch stays; `link` is where a person does it by hand."""

    def __init__(self, message: str, link: str) -> None:
        super().__init__(message)
        self.link = link


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turns refusals while `doing` something (a gerund) into a PullRequestError."""
    from github import GithubException

    try:
        yield
    except GithubException as error:
        raise PullRequestError(sentence(doing, error)) from error
    except OSError as error:
        raise PullRequestError(f"GitHub could not be reached while {doing}: {type(error).__name__}.") from error


def sentence(doing: str, error: GithubException) -> str:
    """The sentence of one refusal."""
    said = str(error.data.get("message", "")).rstrip(".") if isinstance(error.data, dict) else ""
    if error.status == 401:
        return f"GitHub refused the token while {doing}: check the input github-token."
    if error.status == 403 and "not accessible" in said:
        return f"The token may not do this ({doing}: {said}): the job needs `permissions: {_needed(doing)}`."
    if error.status in (403, 422) and _PROTECTED.search(said):
        return f"GitHub protects the branch ({doing}: {said}): name another in the input branch."
    if error.status == 404 and doing.startswith("reading the repository"):
        return f"GitHub has no such repository for this token ({doing}): check the input github-token."
    if error.status in (403, 429) and "rate limit" in said.lower():
        return f"GitHub's rate limit was reached while {doing}: run again later."
    return f"GitHub answered {error.status} while {doing}{': ' + said if said else ''}."


def _needed(doing: str) -> str:
    """Permissions of the job for something that was refused."""
    if doing.startswith(("commenting", "taking a label", "editing #", "closing #", "reading #")):
        return "pull-requests: write"
    if doing == "keeping the issue":
        return "issues: write"
    if doing.startswith("writing the branch"):
        return "contents: write"
    if doing.startswith("listing"):
        return "pull-requests: read"
    return "contents: write, pull-requests: write"
