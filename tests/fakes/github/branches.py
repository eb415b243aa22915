"""Moves refs and updates pull requests: the rules of GitHub that git itself does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.fakes.github.git_repository import GitError, Signature, TreeEntry
from tests.fakes.github.records import Issue, PullRequest
from tests.fakes.github.world import ApiError, World

PULL_REQUEST_DEMANDED = "Changes must be made through a pull request."
_HEADS = "refs/heads/"


def check_protection(world: World, ref: str, new: str | None) -> None:
    """Raise ApiError 422 when a token may not move this ref itself."""
    if ref.removeprefix(_HEADS) in world.protected and ref.startswith(_HEADS):
        raise ApiError(
            422, "Cannot delete this protected branch" if new is None else PULL_REQUEST_DEMANDED
        )


def is_fast_forward(world: World, ref: str, new: str) -> bool:
    """Whether a ref that exists can move to `new` without losing a commit."""
    old = world.git.resolve(ref)
    return old is None or world.git.is_ancestor(old, new)


def move(world: World, ref: str, new: str | None, by: str) -> None:
    """Create, move or delete a ref and update the pull requests of that branch.

    Raises:
        ApiError: 422 when git rejects it (a branch `a` blocks a branch `a/b`).
    """
    old = world.git.resolve(ref, "object")
    try:
        world.git.move_ref(ref, new, old)
    except GitError as error:
        raise ApiError(422, "Reference update failed") from error
    if ref.startswith(_HEADS):
        branch = ref.removeprefix(_HEADS)
        for issue, pull in world.pulls():
            if branch == pull.base or (branch == pull.head and not pull.fork):
                _follow(world, issue, pull, branch, by)


def _follow(world: World, issue: Issue, pull: PullRequest, branch: str, by: str) -> None:
    """Close or mark as merged the pull requests that the move affects.

    Deleting a head or base branch closes, a head without commits over its base closes, a base that
    contains the head merges: https://docs.github.com/pull-requests, observed on real repositories.
    """
    if issue.state == "closed":
        moved = branch == pull.head and not pull.fork
        pull.head_was_moved = pull.head_was_moved or moved
        return
    head, base = world.head_of(pull), world.git.branch(pull.base)
    if head is None or base is None:
        world.close(issue, by)
        return
    if branch == pull.base and world.git.is_ancestor(head, base):
        mark_merged(world, issue, pull, base, by)
        return
    pull.head_sha, pull.base_sha = head, base
    world.touch(issue)
    if world.git.count(base, head) == 0:
        world.close(issue, by)


def mark_merged(world: World, issue: Issue, pull: PullRequest, merge_sha: str, by: str) -> None:
    """Record that the base contains the head's changes now."""
    world.close(issue, by)
    pull.merged_at, pull.merged_by, pull.merge_sha = issue.closed_at, issue.closed_by, merge_sha


def merge(world: World, number: int, by: str, method: str) -> str:
    """Merge a pull request as its button does and return the new commit; `method` is `merge`,
    `squash` or `rebase`.

    Raises:
        ApiError: 405 when it is closed, a draft, or in conflict.
    """
    issue, pull = world.pull(number)
    base, head = world.git.branch(pull.base), world.head_of(pull)
    tree = world.git.merged_tree(base, head) if base and head else None
    if base is None or head is None or tree is None or issue.state == "closed" or pull.draft:
        raise ApiError(405, "Pull Request is not mergeable")
    parents = [base, head] if method == "merge" else [base]
    title = f"Merge pull request #{number}" if method == "merge" else f"{issue.title} (#{number})"
    author = world.account(by).sign(world.now())
    sha = commit_signed(world, tree, parents, title, author)
    pull.head_sha, pull.base_sha = head, base
    mark_merged(world, issue, pull, sha, by)
    move(world, _HEADS + pull.base, sha, by)
    return sha


def commit_signed(
    world: World, tree: str, parents: Sequence[str], message: str, author: Signature
) -> str:
    """Write a commit that GitHub creates and signs itself."""
    sha = world.git.write_commit(tree, parents, message, author, world.web_flow())
    world.signed.add(sha)
    return sha


def commit_files(
    world: World,
    parent: str | None,
    files: Mapping[str, bytes | None],
    message: str,
    author: Signature,
    *,
    signed: bool,
) -> str:
    """Write a commit that applies `files` (None deletes) to its parent, if any; no ref moves."""
    entries = [
        TreeEntry(path, "100644", None if content is None else world.git.write_blob(content))
        for path, content in files.items()
    ]
    tree, parents = world.git.write_tree(parent, entries), [parent] if parent else []
    if signed:
        return commit_signed(world, tree, parents, message, author)
    return world.git.write_commit(tree, parents, message, author, author)
