"""Answers requests for the git database, commits and comparisons."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from tests.fakes.github import branches
from tests.fakes.github.bodies import Body, node_id
from tests.fakes.github.git_repository import Commit, GitError, Signature, TreeEntry, signature
from tests.fakes.github.issue_bodies import pull_body
from tests.fakes.github.routing import Answer, Call, page_of
from tests.fakes.github.world import ApiError, not_found


def get_ref(call: Call) -> Answer:
    """One ref; a prefix of names is not found, as since API version 2020."""
    name = f"refs/{call.params['ref']}"
    oid = call.world.git.resolve(name, "object")
    if oid is None:
        raise not_found()
    return Answer(call.bodies.ref(name, oid))


def matching_refs(call: Call) -> Answer:
    """The refs with this prefix; none is an empty list."""
    found = call.world.git.refs(f"refs/{call.params['ref']}")
    return page_of(call, list(found.items()), lambda pair: call.bodies.ref(*pair))


def create_ref(call: Call) -> Answer:
    """A new ref to a commit that exists."""
    name, sha, git = call.body["ref"], call.body["sha"], call.world.git
    if not git.well_formed(name):
        raise ApiError(422, "Reference name must start with 'refs/' and have at least two slashes")
    if git.resolve(name, "object"):
        raise ApiError(422, "Reference already exists")
    if git.resolve(sha) != sha:
        raise ApiError(422, "Object does not exist")
    branches.move(call.world, name, sha, call.login)
    return Answer(call.bodies.ref(name, sha), 201)


def update_ref(call: Call) -> Answer:
    """Move a ref; without `force` only forward."""
    name, sha = f"refs/{call.params['ref']}", call.body["sha"]
    if call.world.git.resolve(name, "object") is None:
        raise ApiError(422, "Reference does not exist")
    if call.world.git.resolve(sha) != sha:
        raise ApiError(422, "Object does not exist")
    branches.check_protection(call.world, name, sha)
    if not call.body.get("force") and not branches.is_fast_forward(call.world, name, sha):
        raise ApiError(422, "Update is not a fast forward")
    branches.move(call.world, name, sha, call.login)
    return Answer(call.bodies.ref(name, sha))


def delete_ref(call: Call) -> Answer:
    """Delete a ref."""
    name = f"refs/{call.params['ref']}"
    if call.world.git.resolve(name, "object") is None:
        raise ApiError(422, "Reference does not exist")
    branches.check_protection(call.world, name, None)
    branches.move(call.world, name, None, call.login)
    return Answer(None, 204)


def create_blob(call: Call) -> Answer:
    """Store a blob given as text or base64."""
    content: str = call.body["content"]
    data = decoded(content) if call.body.get("encoding") == "base64" else content.encode()
    sha = call.world.git.write_blob(data)
    return Answer({"sha": sha, "url": call.bodies.url(f"/git/blobs/{sha}")}, 201)


def decoded(content: str) -> bytes:
    """Bytes of base64 text; raises ApiError 422."""
    try:
        return base64.b64decode(content.replace("\n", ""), validate=True)
    except binascii.Error as error:
        raise ApiError(422, "content is not valid Base64") from error


def get_blob(call: Call) -> Answer:
    """A blob in base64."""
    sha = call.params["file_sha"]
    if call.world.git.kind(sha) != "blob":
        raise not_found()
    content = call.world.git.read_blob(sha)
    shown = {
        "content": base64.encodebytes(content).decode(),
        "encoding": "base64",
        "size": len(content),
    }
    return Answer(
        {
            **shown,
            "sha": sha,
            "node_id": node_id("B", sha),
            "url": call.bodies.url(f"/git/blobs/{sha}"),
        }
    )


def create_tree(call: Call) -> Answer:
    """Store a tree, over `base_tree` or from nothing."""
    git, base = call.world.git, call.body.get("base_tree")
    if base is not None and git.resolve(base, "tree") is None:
        raise not_found()
    try:
        tree = git.write_tree(base, [_tree_entry(call, one) for one in call.body["tree"]])
    except GitError as error:
        raise ApiError(422, "tree.path contains a malformed path component") from error
    return Answer(_tree_body(call, tree, recursive=False), 201)


def _tree_entry(call: Call, given: dict[str, Any]) -> TreeEntry:
    if ("sha" in given) == ("content" in given):
        raise ApiError(422, "Must supply either tree.sha or tree.content, and not both")
    sha = given["sha"] if "sha" in given else call.world.git.write_blob(given["content"].encode())
    kind = given.get("type", "blob")
    if sha is not None and call.world.git.kind(sha) != kind:
        raise ApiError(422, f"tree.sha {sha} is not a valid {kind}")
    return TreeEntry(given["path"], given.get("mode", "100644"), sha)


def get_tree(call: Call) -> Answer:
    """A tree by its own id or by that of a commit."""
    tree = call.world.git.resolve(call.params["tree_sha"], "tree")
    if tree is None:
        raise not_found()
    return Answer(_tree_body(call, tree, recursive="recursive" in call.query))


def _tree_body(call: Call, tree: str, *, recursive: bool) -> Body:
    entries = call.world.git.read_tree(tree, recursive)
    shown = [
        {"path": one.path, "mode": one.mode, "type": one.kind, "sha": one.sha}
        | ({"size": one.size} if one.size is not None else {})
        | {"url": call.bodies.url(f"/git/{one.kind}s/{one.sha}")}
        for one in entries
    ]
    return {
        "sha": tree,
        "url": call.bodies.url(f"/git/trees/{tree}"),
        "tree": shown,
        "truncated": False,
    }


def create_commit(call: Call) -> Answer:
    """Store a commit; GitHub signs it for an app without author and committer fields."""
    git, body = call.world.git, call.body
    if git.kind(body["tree"]) != "tree":
        raise ApiError(422, "Tree SHA does not exist")
    if any(git.kind(parent) != "commit" for parent in body.get("parents", [])):
        raise ApiError(422, "Parent SHA does not exist or is not a commit object")
    own = call.world.account(call.login).sign(call.world.now())
    parents = body.get("parents", [])
    if call.token.installation and "author" not in body and "committer" not in body:
        sha = branches.commit_signed(call.world, body["tree"], parents, body["message"], own)
    else:
        author = _given_signature(call, body.get("author"), own)
        committer = _given_signature(call, body.get("committer"), author)
        sha = git.write_commit(body["tree"], parents, body["message"], author, committer)
    return Answer(call.bodies.git_commit(git.commit(sha)), 201)


def _given_signature(call: Call, given: dict[str, str] | None, otherwise: Signature) -> Signature:
    if given is None:
        return otherwise
    now = signature(given["name"], given["email"], call.world.now())
    return Signature(now.name, now.email, given.get("date", now.date))


def get_git_commit(call: Call) -> Answer:
    """A commit of the git database, by its full id."""
    sha = call.params["commit_sha"]
    if call.world.git.kind(sha) != "commit":
        raise not_found()
    return Answer(call.bodies.git_commit(call.world.git.commit(sha)))


def get_commit(call: Call) -> Answer:
    """A commit by id, branch or tag, with its files."""
    commit = _commit_or_422(call, call.params["ref"])
    changes = call.world.git.changes(*_with_parent(call, commit))
    added, deleted = (
        sum(getattr(one, key) for one in changes) for key in ("additions", "deletions")
    )
    return Answer(
        {
            **call.bodies.commit(commit),
            "stats": {"additions": added, "deletions": deleted, "total": added + deleted},
            "files": _files(call, commit),
        }
    )


def _files(call: Call, commit: Commit) -> list[Body]:
    """The files of a commit; a moved one is one entry with its earlier name."""
    git, pair = call.world.git, _with_parent(call, commit)
    moved = git.renames(*pair)
    shown = []
    for change in git.changes(*pair):
        if change.path in moved.values():
            continue
        body = call.bodies.file_change(change, commit.sha)
        if change.path in moved:
            body |= {"status": "renamed", "previous_filename": moved[change.path]}
        shown.append(body)
    return shown


def _commit_or_422(call: Call, revision: str) -> Commit:
    try:
        return call.world.commit(revision)
    except ApiError as error:
        raise ApiError(422, f"No commit found for SHA: {revision}") from error


def _with_parent(call: Call, commit: Commit) -> tuple[str, str]:
    first = commit.parents[0] if commit.parents else call.world.git.write_tree(None, [])
    return first, commit.sha


def list_commits(call: Call) -> Answer:
    """The history of a branch or commit, of one path if given."""
    start = call.world.commit(call.query.get("sha", call.world.default_branch)).sha
    limits = [f"--{name}={call.query[name]}" for name in ("since", "until") if name in call.query]
    paths = [call.query["path"]] if "path" in call.query else []
    return page_of(call, call.world.git.commits(*limits, start, paths=paths), call.bodies.commit)


def pulls_of_commit(call: Call) -> Answer:
    """The pull requests that contain a commit."""
    sha = _commit_or_422(call, call.params["commit_sha"]).sha
    git = call.world.git
    found = [
        (issue, pull)
        for issue, pull in call.world.pulls()
        if sha == pull.merge_sha
        or (
            git.is_ancestor(sha, pull.head_sha)
            and (pull.merged_at or not git.is_ancestor(sha, pull.base_sha))
        )
    ]
    return page_of(call, found, lambda pair: pull_body(call.bodies, *pair))


def compare(call: Call) -> Answer:
    """Two commits: from their merge base to the head."""
    git, (left, _, right) = call.world.git, call.params["basehead"].partition("...")
    base, head = (call.world.commit(side.rpartition(":")[2]) for side in (left, right))
    fork = git.merge_base(base.sha, head.sha)
    if fork is None:
        raise not_found(f"No common ancestor between {left} and {right}.")
    ahead = git.commits(head.sha, f"^{base.sha}")[::-1]
    behind = git.count(head.sha, base.sha)
    page = call.bodies.page(f"/compare/{left}...{right}")
    return Answer(
        {
            "url": call.bodies.url(f"/compare/{left}...{right}"),
            "html_url": page,
            "permalink_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            "base_commit": call.bodies.commit(base),
            "merge_base_commit": call.bodies.commit(git.commit(fork)),
            "status": _comparison(len(ahead), behind),
            "ahead_by": len(ahead),
            "behind_by": behind,
            "total_commits": len(ahead),
            "commits": [call.bodies.commit(one) for one in ahead],
            "files": [
                call.bodies.file_change(one, head.sha) for one in git.changes(fork, head.sha)
            ],
        }
    )


def _comparison(ahead: int, behind: int) -> str:
    if ahead and behind:
        return "diverged"
    if ahead:
        return "ahead"
    return "behind" if behind else "identical"
