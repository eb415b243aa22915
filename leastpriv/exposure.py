"""What everybody can read: said in a public repository, where something new about an account is put there."""

from __future__ import annotations

from collections.abc import Iterable

from leastpriv.pull_request.publication import Operation, Published
from leastpriv.pull_request.publish import GitHubPlace
from leastpriv.runner.commands import Console


def warn_if_public(github: GitHubPlace | None, console: Console, where: str) -> None:
    """Warns where a repository is public; `where` is what was written, in words of ours."""
    if github and github.is_public():
        console.warning(
            f"Everybody may read this repository, and with it the ARNs, account ids and names of resources in {where}. "
            "If these are no secret, nothing is to be done; else keep the policy in a private repository.",
            title="Public repository",
        )


def warn_of_pulls(github: GitHubPlace | None, console: Console, published: Iterable[Published | None]) -> None:
    """As `warn_if_public`, where a pull request was made or changed; one that stays as it is tells nothing new."""
    if any(each and each.url and each.operation in (Operation.CREATED, Operation.UPDATED) for each in published):
        warn_if_public(github, console, "the pull request")
