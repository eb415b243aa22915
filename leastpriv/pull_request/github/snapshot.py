"""Reads branches, pull requests and files of many targets of a repository with few requests.

A run requests the present state of all its targets once, by GraphQL. Before a write, the state of
that target is requested again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.github.client import Connection, translate_github_errors
from leastpriv.pull_request.github.listed import (
    OUTLINE_FIELDS,
    PULL_REQUEST_FIELDS,
    ListedPullRequest,
    from_graphql,
    outline_from_graphql,
)
from leastpriv.pull_request.models import BaseBranch, TargetFiles

_Item = TypeVar("_Item")
_BRANCHES = 12
"""Branches in one request: their pull requests may have ten bodies of 64 kB each."""
_MAX_PULLS = 10
"""Pull requests of a branch; those of a branch with more are listed one branch at a time."""
_MAX_OUTLINES = 100
"""Pull requests of a repository in one request, by their bodies alone."""
_FILE_MODES = (0o100644, 0o100755)
_FILES = 100
"""Files in one request."""
_VERSIONS = 10
"""Newest versions of each policy file: it seldom changes more often within the grace period."""


class FileVersion(Struct, frozen=True):
    """A commit that changed a file."""

    sha: str
    time: datetime
    """When the commit, or the pull request that brought it, was merged (aware, UTC)."""


class FileVersions(Struct, frozen=True):
    """The newest versions of a file."""

    newest: tuple[FileVersion, ...]
    is_whole: bool
    """Whether the file is known to have no others."""


class BranchHead(Struct, frozen=True):
    """The commit at the head of a branch."""

    sha: str
    message: str
    parents: tuple[str, ...]
    changed_files: int | None
    """Number of files that differ from the first parent; None: GitHub does not know it."""
    ahead_by: int = 0
    """Number of commits that the base lacks."""


class FileOfCommit(Struct, frozen=True):
    """A file as of a commit."""

    commit: str
    path: str


class Snapshot(Struct, frozen=True):
    """The state of some branches and files at one time."""

    base_sha: str = ""
    heads: Mapping[str, BranchHead | None] = field(default_factory=dict)
    """By name of the branch; None: there is no such branch."""
    pulls: Mapping[str, tuple[ListedPullRequest, ...]] = field(default_factory=dict)
    """By name of the branch, the latest changed first."""
    opened: tuple[ListedPullRequest, ...] = ()
    """Open pull requests of the repository, the latest changed last; incomplete where there are
    many.
    """
    files: Mapping[FileOfCommit, bytes | None] = field(default_factory=dict)
    """None: the commit lacks the file."""
    versions: Mapping[FileOfCommit, FileVersions] = field(default_factory=dict)


class _Reader:
    """Reads the parts of a snapshot."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.files: dict[FileOfCommit, bytes | None] = {}
        self.versions: dict[FileOfCommit, FileVersions] = {}
        self.pulls: dict[str, tuple[ListedPullRequest, ...]] = {}
        self.heads: dict[str, BranchHead | None] = {}
        self.opened: tuple[ListedPullRequest, ...] = ()

    def read(
        self, base: str, base_sha: str, targets: Sequence[TargetFiles], labels: Sequence[str]
    ) -> None:
        """Reads all parts for some targets."""
        names = [target.branch for target in targets]
        for number, branches in enumerate(_batches(names, _BRANCHES)):
            # Those without a target are not updated any more, so that they come first.
            open_pulls = _listed(base, labels, "OPEN", "ASC") if number == 0 else ""
            self.read_branches(branches, open_pulls)
        existing = [target.branch for target in targets if self.heads[target.branch]]
        for branches in _batches(existing, 4 * _BRANCHES):
            self.read_distances(base, branches)
        for files in _batches(_files_of(targets, base_sha, self.heads), _FILES):
            self.read_files(files)
        policies = [path for target in targets for path in target.policies]
        for paths in _batches(policies, 2 * _BRANCHES):
            self.read_versions(base_sha, paths)

    def read_branches(self, branches: Sequence[str], opened: str = "") -> None:
        """Reads heads and pull requests of some branches, and those that the field `opened`
        lists.
        """
        parts = ["id", *([f"opened: {opened}"] if opened else [])]
        for number, branch in enumerate(branches):
            parts.append(
                f"p{number}: pullRequests(headRefName: {_literal(branch)}, first: {_MAX_PULLS},"
                " orderBy: {field: UPDATED_AT, direction: DESC}) { totalCount nodes { ...pull } }"
            )
            parts.append(
                f"r{number}: object(expression: {_literal(f'refs/heads/{branch}')})"
                " { ... on Commit { oid message changedFilesIfAvailable"
                " parents(first: 2) { nodes { oid } } } }"
            )
        answer = self.ask(parts, f"{PULL_REQUEST_FIELDS}{OUTLINE_FIELDS}")
        if opened:
            self.opened = tuple(
                outline_from_graphql(node, answer["id"]) for node in answer["opened"]["nodes"]
            )
        for number, branch in enumerate(branches):
            self.heads[branch] = _head(answer[f"r{number}"])
            branch_pulls = answer[f"p{number}"]
            if branch_pulls["totalCount"] <= _MAX_PULLS:
                self.pulls[branch] = tuple(
                    from_graphql(node, answer["id"]) for node in branch_pulls["nodes"]
                )

    def read_distances(self, base: str, branches: Sequence[str]) -> None:
        """Reads by how many commits existing branches are ahead of the base."""
        compared = " ".join(
            f"c{number}: compare(headRef: {_literal(branch)}) {{ aheadBy }}"
            for number, branch in enumerate(branches)
        )
        name = _literal(f"refs/heads/{base}")
        answer = self.ask([f"ref(qualifiedName: {name}) {{ {compared} }}"])
        for number, branch in enumerate(branches):
            comparison = (answer["ref"] or {}).get(f"c{number}")
            head = self.heads[branch]
            if comparison is None or head is None:
                self.heads.pop(branch)
                continue
            self.heads[branch] = replace(head, ahead_by=comparison["aheadBy"])

    def read_files(self, files: Sequence[FileOfCommit]) -> None:
        """Reads files."""
        commits = tuple(dict.fromkeys(file.commit for file in files))
        parts = []
        for index, commit in enumerate(commits):
            entries = " ".join(
                f"f{number}: file(path: {_literal(file.path)}) {{ mode object {{ ... on Blob {{ oid"
                " isTruncated text } } }"
                for number, file in enumerate(files)
                if file.commit == commit
            )
            parts.append(
                f"c{index}: object(expression: {_literal(commit)})"
                f" {{ ... on Commit {{ {entries} }} }}"
            )
        answer = self.ask(parts)
        for number, file in enumerate(files):
            entry = answer[f"c{commits.index(file.commit)}"][f"f{number}"]
            if entry is None:
                self.files[file] = None
                continue
            content = _content(entry)
            if content is not None:
                self.files[file] = content

    def read_versions(self, commit: str, paths: Sequence[str]) -> None:
        """Reads the newest versions of files, as of a commit."""
        histories = " ".join(
            f"h{number}: history(first: {_VERSIONS}, path: {_literal(path)}) {{ ...versions }}"
            for number, path in enumerate(paths)
        )
        name = _literal(commit)
        answer = self.ask(
            [f"object(expression: {name}) {{ ... on Commit {{ {histories} }} }}"], _VERSION_FIELDS
        )
        for number, path in enumerate(paths):
            self.versions[FileOfCommit(commit, path)] = _versions(answer["object"][f"h{number}"])

    def ask(self, parts: Sequence[str], fragments: str = "") -> Any:
        """Sends one query for fields of the repository; returns them."""
        owner, _, name = self._connection.repository.full_name.partition("/")
        query = (
            f"query {{ repository(owner: {_literal(owner)}, name: {_literal(name)})"
            f" {{ {' '.join(parts)} }} }}{fragments}"
        )
        _, answer = self._connection.repository.requester.graphql_query(query, {})
        return answer["data"]["repository"]


def _listed(base: str, labels: Sequence[str], states: str, direction: str) -> str:
    """Returns the field that lists pull requests into a base with one of the labels."""
    among = f"labels: {json.dumps(list(labels), ensure_ascii=False)}, " if labels else ""
    return (
        f"pullRequests(states: [{states}], baseRefName: {_literal(base)}, {among}"
        f"first: {_MAX_OUTLINES}, orderBy: {{field: UPDATED_AT, direction: {direction}}})"
        " { nodes { ...outline } }"
    )


def _literal(text: str) -> str:
    """Returns a string of GraphQL, whose escapes are those of JSON (spec.graphql.org, "String
    Value").
    """
    return json.dumps(text, ensure_ascii=False)


def read_snapshot(
    connection: Connection,
    base: BaseBranch,
    targets: Sequence[TargetFiles],
    labels: Sequence[str] = (),
) -> Snapshot:
    """Returns the state of the branches and files of some targets, and the open pull requests with
    one of the labels.

    It is empty where GitHub does not answer such a request: each part is then read when it is
    needed.
    """
    reader = _Reader(connection)
    try:
        with translate_github_errors("reading branches and pull requests together"):
            reader.read(base.name, base.commit, targets, labels)
    except (PullRequestError, KeyError, TypeError):
        return Snapshot()
    return Snapshot(
        base_sha=base.commit,
        heads=reader.heads,
        pulls=reader.pulls,
        opened=reader.opened,
        files=reader.files,
        versions=reader.versions,
    )


def read_closed(
    connection: Connection, base: str, labels: Sequence[str]
) -> tuple[ListedPullRequest, ...]:
    """Returns the latest changed closed pull requests into a base with one of the labels; none
    where GitHub does not answer such a request.
    """
    reader = _Reader(connection)
    field = f"closed: {_listed(base, labels, 'CLOSED, MERGED', 'DESC')}"
    try:
        with translate_github_errors("listing closed pull requests"):
            answer = reader.ask(["id", field], OUTLINE_FIELDS)
        return tuple(outline_from_graphql(node, answer["id"]) for node in answer["closed"]["nodes"])
    except (PullRequestError, KeyError, TypeError):
        return ()


def read_texts(
    connection: Connection, commit: str, paths: Sequence[str]
) -> Mapping[str, bytes | None]:
    """Returns files of a commit by path, None for one that the commit lacks; without those that
    GitHub does not give in such an answer.
    """
    reader = _Reader(connection)
    try:
        with translate_github_errors("reading files together"):
            for files in _batches([FileOfCommit(commit, path) for path in paths], _FILES):
                reader.read_files(files)
    except (PullRequestError, KeyError, TypeError):
        return {}
    return {file.path: content for file, content in reader.files.items()}


def _files_of(
    targets: Sequence[TargetFiles], base_sha: str, heads: Mapping[str, BranchHead | None]
) -> list[FileOfCommit]:
    """Returns the files on the base, on the branches and before the commits of the branches."""
    files: dict[FileOfCommit, None] = {}
    for target in targets:
        head = heads.get(target.branch)
        commits = [base_sha, *([head.sha, *head.parents[:1]] if head else [])]
        for commit in commits:
            for path in target.paths:
                files[FileOfCommit(commit, path)] = None
    return list(files)


def _batches(items: Sequence[_Item], size: int) -> Iterator[list[_Item]]:
    remaining_items = iter(items)
    while batch := list(islice(remaining_items, size)):
        yield batch


def _head(node: Mapping[str, Any] | None) -> BranchHead | None:
    if node is None:
        return None
    return BranchHead(
        sha=node["oid"],
        message=node["message"],
        parents=tuple(parent["oid"] for parent in node["parents"]["nodes"]),
        changed_files=node["changedFilesIfAvailable"],
    )


def _content(entry: Mapping[str, Any]) -> bytes | None:
    """Returns the content of a regular file; None if the answer does not have all of it, as for a
    binary file, or if it is a link or folder.
    """
    blob = entry["object"]
    if entry["mode"] not in _FILE_MODES or blob["isTruncated"] or blob["text"] is None:
        return None
    content = str(blob["text"]).encode()
    # The text of a file in another encoding than UTF-8 is not its content.
    name = hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False)
    return content if name.hexdigest() == blob["oid"] else None


_VERSION_FIELDS = """
fragment versions on CommitHistoryConnection {
  nodes { oid committedDate associatedPullRequests(first: 10) { nodes { mergedAt } } }
}
"""


def _versions(history: Mapping[str, Any]) -> FileVersions:
    newest = tuple(map(_version, history["nodes"]))
    return FileVersions(newest, is_whole=len(newest) < _VERSIONS)


def _version(node: Mapping[str, Any]) -> FileVersion:
    pulls = node["associatedPullRequests"]["nodes"]
    times = [node["committedDate"], *(pull["mergedAt"] for pull in pulls if pull["mergedAt"])]
    return FileVersion(node["oid"], max(map(datetime.fromisoformat, times)))
