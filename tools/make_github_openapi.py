"""Write the parts of GitHub's own API descriptions that the fake GitHub of the tests answers.

Run it to adopt a new description: `python tools/make_github_openapi.py` (needs `npm`). It writes,
into `tests/fakes/github/`, `openapi.json` from the npm package `@octokit/openapi`, `schema.graphql`
from `@octokit/graphql-schema`, and `SOURCES.md`, which names both versions and their licence.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphql import DocumentNode, Node, parse, print_ast
from graphql.language import (
    InterfaceTypeDefinitionNode,
    NamedTypeNode,
    ObjectTypeDefinitionNode,
    TypeDefinitionNode,
    UnionTypeDefinitionNode,
    Visitor,
    visit,
)

TARGET = Path(__file__).parents[1] / "tests" / "fakes" / "github"
OPENAPI, GRAPHQL = "@octokit/openapi@23.0.2", "@octokit/graphql-schema@15.26.1"
REPO = "/repos/{owner}/{repo}"
OPERATIONS: Mapping[str, Sequence[str]] = {
    "/rate_limit": ["get"],
    "/user": ["get"],
    "/orgs/{org}/teams/{team_slug}": ["get"],
    REPO: ["get"],
    f"{REPO}/actions/jobs/{{job_id}}": ["get"],
    f"{REPO}/actions/jobs/{{job_id}}/logs": ["get"],
    f"{REPO}/actions/runs": ["get"],
    f"{REPO}/actions/runs/{{run_id}}": ["get"],
    f"{REPO}/actions/runs/{{run_id}}/attempts/{{attempt_number}}": ["get"],
    f"{REPO}/actions/runs/{{run_id}}/attempts/{{attempt_number}}/jobs": ["get"],
    f"{REPO}/actions/runs/{{run_id}}/jobs": ["get"],
    f"{REPO}/branches": ["get"],
    f"{REPO}/branches/{{branch}}": ["get"],
    f"{REPO}/branches/{{branch}}/protection": ["get"],
    f"{REPO}/collaborators/{{username}}/permission": ["get"],
    f"{REPO}/commits": ["get"],
    f"{REPO}/commits/{{commit_sha}}/pulls": ["get"],
    f"{REPO}/commits/{{ref}}": ["get"],
    f"{REPO}/compare/{{basehead}}": ["get"],
    f"{REPO}/contents/{{path}}": ["get", "put"],
    f"{REPO}/git/blobs": ["post"],
    f"{REPO}/git/blobs/{{file_sha}}": ["get"],
    f"{REPO}/git/commits": ["post"],
    f"{REPO}/git/commits/{{commit_sha}}": ["get"],
    f"{REPO}/git/matching-refs/{{ref}}": ["get"],
    f"{REPO}/git/ref/{{ref}}": ["get"],
    f"{REPO}/git/refs": ["post"],
    f"{REPO}/git/refs/{{ref}}": ["patch", "delete"],
    f"{REPO}/git/trees": ["post"],
    f"{REPO}/git/trees/{{tree_sha}}": ["get"],
    f"{REPO}/issues": ["get", "post"],
    f"{REPO}/issues/comments/{{comment_id}}": ["get", "patch", "delete"],
    f"{REPO}/issues/{{issue_number}}": ["get", "patch"],
    f"{REPO}/issues/{{issue_number}}/assignees": ["post", "delete"],
    f"{REPO}/issues/{{issue_number}}/comments": ["get", "post"],
    f"{REPO}/issues/{{issue_number}}/labels": ["get", "post"],
    f"{REPO}/issues/{{issue_number}}/labels/{{name}}": ["delete"],
    f"{REPO}/labels": ["get", "post"],
    f"{REPO}/labels/{{name}}": ["get"],
    f"{REPO}/pulls": ["get", "post"],
    f"{REPO}/pulls/comments/{{comment_id}}": ["delete"],
    f"{REPO}/pulls/{{pull_number}}": ["get", "patch"],
    f"{REPO}/pulls/{{pull_number}}/comments": ["get"],
    f"{REPO}/pulls/{{pull_number}}/commits": ["get"],
    f"{REPO}/pulls/{{pull_number}}/files": ["get"],
    f"{REPO}/pulls/{{pull_number}}/requested_reviewers": ["get", "post", "delete"],
    f"{REPO}/pulls/{{pull_number}}/reviews": ["get", "post"],
}
FIELDS: Mapping[str, Sequence[str]] = {
    "Query": ["viewer", "repository"],
    "User": ["login", "id"],
    "Bot": ["login", "id"],
    "Actor": ["login"],
    "Repository": ["id", "name", "nameWithOwner", "object", "ref", "pullRequest", "pullRequests"],
    "Ref": ["compare", "id", "name", "target"],
    "Comparison": ["aheadBy"],
    "GitObject": ["oid"],
    "Blob": ["isTruncated", "oid", "text"],
    "Tree": ["oid"],
    "Commit": [
        "associatedPullRequests", "changedFilesIfAvailable", "committedDate", "file", "history",
        "message", "messageHeadline", "oid", "parents", "url",
    ],
    "TreeEntry": ["mode", "object"],
    "CommitConnection": ["nodes"],
    "CommitHistoryConnection": ["nodes"],
    "PullRequestConnection": ["nodes", "totalCount"],
    "PullRequest": [
        "author", "baseRefName", "body", "comments", "commits", "createdAt", "headRefName",
        "headRefOid", "headRepository", "id", "isDraft", "labels", "mergeCommit", "mergedAt",
        "number", "state", "timelineItems", "title", "updatedAt", "url",
    ],
    "LabelConnection": ["nodes"],
    "Label": ["name"],
    "PullRequestCommitConnection": ["nodes"],
    "PullRequestCommit": ["commit"],
    "IssueCommentConnection": ["nodes", "totalCount"],
    "IssueComment": ["author", "body", "createdAt", "fullDatabaseId", "updatedAt"],
    "PullRequestTimelineItemsConnection": ["nodes"],
    "ClosedEvent": ["actor"],
    "Mutation": [
        "convertPullRequestToDraft", "createCommitOnBranch", "markPullRequestReadyForReview",
        "updateRefs",
    ],
    "ConvertPullRequestToDraftPayload": ["clientMutationId", "pullRequest"],
    "MarkPullRequestReadyForReviewPayload": ["clientMutationId", "pullRequest"],
    "CreateCommitOnBranchPayload": ["clientMutationId", "commit", "ref"],
    "UpdateRefsPayload": ["clientMutationId"],
}  # fmt: skip
_WORDS = frozenset(
    {
        "description",
        "summary",
        "externalDocs",
        "example",
        "x-github",
        "x-octokit",
        "tags",
        "deprecated",
        "title",
    }
)
SOURCES = """\
# Where these descriptions come from

Generated by `tools/make_github_openapi.py`; do not edit them.

| file | from | licence |
| --- | --- | --- |
| `openapi.json` | npm `{openapi}`: GitHub's official OpenAPI description of its REST API, \
reduced to the operations that the fake answers, without prose | MIT, Copyright (c) 2020 Octokit contributors |
| `schema.graphql` | npm `{graphql}`: GitHub's official GraphQL schema, \
reduced to the fields that the fake resolves | MIT, Copyright (c) GitHub 2025 |

The licence of both, which is the same text:

{licence}"""


def main() -> int:
    """Write the three files."""
    with tempfile.TemporaryDirectory() as folder:
        openapi = unpack(OPENAPI, Path(folder) / "openapi")
        graphql = unpack(GRAPHQL, Path(folder) / "graphql")
        description = json.loads(
            (openapi / "generated" / "api.github.com.json").read_text(encoding="utf-8")
        )
        schema = parse((graphql / "schema.graphql").read_text(encoding="utf-8"), no_location=True)
        licence = (openapi / "LICENSE").read_text(encoding="utf-8")
    text = json.dumps(reduced_description(description), indent=1, sort_keys=True) + "\n"
    (TARGET / "openapi.json").write_text(text, encoding="utf-8")
    (TARGET / "schema.graphql").write_text(
        print_ast(reduced_schema(schema)) + "\n", encoding="utf-8"
    )
    sources = SOURCES.format(openapi=OPENAPI, graphql=GRAPHQL, licence=licence)
    (TARGET / "SOURCES.md").write_text(sources, encoding="utf-8")
    print(f"{len(OPERATIONS)} paths, {len(text) // 1024} KiB")
    return 0


def unpack(package: str, folder: Path) -> Path:
    """Fetch one npm package, through npm's own settings, and unpack it into `folder`."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm was not found: install Node.js, which carries it")
    folder.mkdir()
    subprocess.run(
        [npm, "pack", package, "--silent", "--pack-destination", str(folder)],
        check=True,
        cwd=folder,
    )
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def reduced_description(whole: dict[str, Any]) -> dict[str, Any]:
    """Keep the operations named above and their references; drop prose and superfluous examples."""
    paths = {
        path: reduced_path(whole["paths"][path], methods) for path, methods in OPERATIONS.items()
    }
    info = {
        "title": whole["info"]["title"],
        "version": whole["info"]["version"],
        "license": whole["info"]["license"],
    }
    components: dict[str, dict[str, Any]] = {}
    for kind, names in sorted(reached(paths, whole).items()):
        components[kind] = {
            name: without_prose(whole["components"][kind][name]) for name in sorted(names)
        }
    return {
        "openapi": whole["openapi"],
        "info": info,
        "servers": [{"url": "https://api.github.com"}],
        "paths": paths,
        "components": components,
    }


def reduced_path(item: dict[str, Any], methods: Sequence[str]) -> dict[str, Any]:
    """Keep the named methods of one path, and one example of each success."""
    operations: dict[str, Any] = {}
    for method in methods:
        operation = item[method]
        for media in operation.get("requestBody", {}).get("content", {}).values():
            media.pop("examples", None)
        for status, response in operation["responses"].items():
            for media in response.get("content", {}).values():
                first = next(iter(media.get("examples", {}).items()), None)
                media.pop("examples", None)
                if first and status.startswith("2"):
                    media["examples"] = dict([first])
        operations[method] = without_prose(operation)
    return operations


def reached(paths: Any, description: dict[str, Any]) -> dict[str, set[str]]:
    """Return the components that the paths refer to, directly or through another, by kind."""
    components: dict[str, set[str]] = defaultdict(set)
    pending = list(references(paths))
    while pending:
        _, _, kind, name = pending.pop().split("/")
        if name not in components[kind]:
            components[kind].add(name)
            pending += references(without_prose(description["components"][kind][name]))
    return components


def references(node: Any) -> Iterator[str]:
    """Every `$ref` in a part of the description."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def without_prose(node: Any, names: bool = False) -> Any:
    """Copy a part of the description without prose; `names` distinguishes a map of properties from
    a schema.

    The OpenAPI format demands a response's `description`; an empty one is valid.
    """
    if isinstance(node, list):
        return [without_prose(value) for value in node]
    if not isinstance(node, dict):
        return node
    if set(node) & {"value"} and not names and len(node) <= 3:
        return {"value": node["value"]}
    copy = {}
    for key, value in node.items():
        if not names and key in _WORDS:
            continue
        copy[key] = without_prose(value, names=key == "properties" and not names)
    if "description" in node and not names and ("content" in node or "headers" in node):
        copy["description"] = ""
    return copy


def reduced_schema(whole: DocumentNode) -> DocumentNode:
    """Keep the fields named above, with the inputs, enumerations and scalars that they need."""
    types = {
        definition.name.value: definition
        for definition in whole.definitions
        if isinstance(definition, TypeDefinitionNode)
    }
    reduced: dict[str, TypeDefinitionNode] = {}
    waiting = list(FIELDS)
    while waiting:
        name = waiting.pop()
        if name not in reduced and name in types:
            reduced[name] = reduced_type(types[name])
            waiting += named_types(reduced[name])
    return DocumentNode(definitions=tuple(reduced[name] for name in sorted(reduced)))


def reduced_type(definition: TypeDefinitionNode) -> TypeDefinitionNode:
    """One type without prose and, when it has an entry in `FIELDS`, with those fields only."""
    bare: TypeDefinitionNode = visit(definition, WithoutProse())
    if isinstance(bare, UnionTypeDefinitionNode):
        types = tuple(part for part in bare.types or () if part.name.value in FIELDS)
        return UnionTypeDefinitionNode(name=bare.name, directives=(), types=types)
    fields = FIELDS.get(bare.name.value)
    if fields is None or not isinstance(
        bare, ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode
    ):
        return bare
    missing = set(fields) - {part.name.value for part in bare.fields or ()}
    if missing:
        sys.exit(f"GitHub's schema no longer has {bare.name.value}.{', '.join(sorted(missing))}")
    return type(bare)(
        name=bare.name,
        interfaces=tuple(part for part in bare.interfaces or () if part.name.value in FIELDS),
        fields=tuple(part for part in bare.fields or () if part.name.value in fields),
    )


class WithoutProse(Visitor):
    """Take the descriptions and directives out of a definition."""

    def enter(self, node: Node, *_: object) -> Any:
        """Replace a node by one that has neither."""
        values = {key: getattr(node, key) for key in node.keys if key != "loc"}
        if not values.get("description") and not values.get("directives"):
            return None
        return type(node)(**{**values, "description": None, "directives": ()})


def named_types(node: Node) -> list[str]:
    """The names of the types that a definition mentions."""
    names: list[str] = []

    class Names(Visitor):
        """Collect each name."""

        def enter_named_type(self, named: NamedTypeNode, *_: object) -> None:
            """Collect one."""
            names.append(named.name.value)

    visit(node, Names())
    return names


if __name__ == "__main__":
    sys.exit(main())
