"""Answers requests for branches and the contents of files."""

from __future__ import annotations

import base64
from urllib.parse import quote

from tests.fakes.github import branches
from tests.fakes.github.bodies import Body
from tests.fakes.github.git_repository import Signature, TreeEntry
from tests.fakes.github.git_routes import decoded
from tests.fakes.github.routing import Answer, Call, page_of
from tests.fakes.github.world import ApiError, not_found

_INLINE_LIMIT = 1024 * 1024
"""Larger files have no content: https://docs.github.com/rest/repos/contents."""


def list_branches(call: Call) -> Answer:
    """The branches, all or (`protected`) some."""
    found = [
        (name.removeprefix("refs/heads/"), oid)
        for name, oid in call.world.git.refs("refs/heads/").items()
    ]
    if "protected" in call.query:
        wanted = call.query["protected"] == "true"
        found = [pair for pair in found if (pair[0] in call.world.protected) == wanted]
    return page_of(call, found, lambda pair: _short_branch(call, *pair))


def _short_branch(call: Call, name: str, oid: str) -> Body:
    commit = {"sha": oid, "url": call.bodies.url(f"/commits/{oid}")}
    return {"name": name, "commit": commit, "protected": name in call.world.protected}


def get_branch(call: Call) -> Answer:
    """One branch with its head commit."""
    name = call.params["branch"]
    sha = call.world.git.branch(name)
    if sha is None:
        raise not_found("Branch not found")
    url = call.bodies.url(f"/branches/{quote(name)}")
    protected = name in call.world.protected
    return Answer(
        {
            "name": name,
            "commit": call.bodies.commit(call.world.git.commit(sha)),
            "_links": {"self": url, "html": call.bodies.page(f"/tree/{name}")},
            "protected": protected,
            "protection": {"enabled": protected},
            "protection_url": f"{url}/protection",
        }
    )


def get_protection(call: Call) -> Answer:
    """How a branch is protected."""
    name = call.params["branch"]
    if call.world.git.branch(name) is None:
        raise not_found("Branch not found")
    if name not in call.world.protected:
        raise not_found("Branch not protected")
    url = call.bodies.url(f"/branches/{quote(name)}/protection")
    reviews = {
        "url": f"{url}/required_pull_request_reviews",
        "dismiss_stale_reviews": False,
        "require_code_owner_reviews": False,
        "required_approving_review_count": 1,
    }
    return Answer({"url": url, "enabled": True, "required_pull_request_reviews": reviews})


def get_contents(call: Call) -> Answer:
    """A file, or the list of a folder's entries."""
    git, path = call.world.git, call.params["path"].strip("/")
    revision = call.query.get("ref", call.world.default_branch)
    commit = (
        git.branch(revision)
        or git.resolve(revision.removeprefix("refs/heads/"))
        or git.resolve(revision)
    )
    if commit is None:
        raise not_found(f"No commit found for the ref {revision}")
    kind, blob = git.at(commit, path) or ("", "")
    if kind == "tree":
        return Answer(
            [
                _entry(call, f"{path}/{one.path}".lstrip("/"), one, revision)
                for one in git.read_tree(blob)
            ]
        )
    if kind != "blob":
        raise not_found()
    content = git.read_blob(blob)
    if "raw" in call.accept:
        return Answer(content, content_type="application/vnd.github.raw+json; charset=utf-8")
    return Answer(_file(call, path, blob, content, revision))


def _entry(call: Call, path: str, entry: TreeEntry, revision: str) -> Body:
    kind = {"blob": "file", "tree": "dir", "commit": "submodule"}[entry.kind]
    url = call.bodies.url(f"/contents/{quote(path)}?ref={quote(revision, safe='')}")
    git_url = call.bodies.url(f"/git/{entry.kind}s/{entry.sha}")
    page = call.bodies.page(f"/blob/{revision}/{quote(path)}")
    return {
        "name": path.rpartition("/")[2],
        "path": path,
        "sha": entry.sha,
        "size": entry.size or 0,
        "type": kind,
        "url": url,
        "html_url": page,
        "git_url": git_url,
        "download_url": call.bodies.page(f"/raw/{revision}/{quote(path)}")
        if kind == "file"
        else None,
        "_links": {"self": url, "git": git_url, "html": page},
    }


def _file(call: Call, path: str, blob: str, content: bytes, revision: str) -> Body:
    entry = _entry(call, path, TreeEntry(path, "100644", blob, size=len(content)), revision)
    if len(content) > _INLINE_LIMIT:
        return {**entry, "encoding": "none", "content": ""}
    return {**entry, "encoding": "base64", "content": base64.encodebytes(content).decode()}


def put_contents(call: Call) -> Answer:
    """Create a file, or replace the version with the given blob id."""
    git, path, body = call.world.git, call.params["path"].strip("/"), call.body
    branch = body.get("branch", call.world.default_branch)
    head = git.branch(branch)
    if head is None:
        raise not_found(f"Branch {branch} not found")
    kind, oid = git.at(head, path) or ("", "")
    known = oid if kind == "blob" else None
    _check_blob_id(path, known, body.get("sha"))
    if branch in call.world.protected:
        verb = "update" if known else "create"
        raise ApiError(409, f"Could not {verb} file: {branches.PULL_REQUEST_DEMANDED}")
    commit = _commit_content(call, head, path, decoded(body["content"]))
    branches.move(call.world, f"refs/heads/{branch}", commit, call.login)
    return _written(call, path, commit, branch, 200 if known else 201)


def _check_blob_id(path: str, known: str | None, given: str | None) -> None:
    if known and given is None:
        raise ApiError(422, 'Invalid request.\n\n"sha" wasn\'t supplied.')
    if given is not None and given != known:
        raise ApiError(409, f"{path} does not match {given}")


def _commit_content(call: Call, head: str, path: str, content: bytes) -> str:
    """GitHub signs for an app without author fields; a person's own commits are unsigned here."""
    given = call.body.get("author") or call.body.get("committer")
    author = call.world.account(call.login).sign(call.world.now())
    if given:
        author = Signature(given["name"], given["email"], given.get("date", author.date))
    signed = call.token.installation and not given
    return branches.commit_files(
        call.world, head, {path: content}, call.body["message"], author, signed=signed
    )


def _written(call: Call, path: str, sha: str, branch: str, status: int) -> Answer:
    git = call.world.git
    _, blob = git.at(sha, path) or ("", "")
    body = _file(call, path, blob, git.read_blob(blob), branch)
    shown = {key: value for key, value in body.items() if key not in ("content", "encoding")}
    return Answer({"content": shown, "commit": call.bodies.git_commit(git.commit(sha))}, status)
