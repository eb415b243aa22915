"""Executes GraphQL requests on the fake's state, by GitHub's own schema (the committed part)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    GraphQLSyntaxError,
    build_schema,
    execute_sync,
    parse,
    validate,
)

from tests.fakes.github import branches
from tests.fakes.github.bodies import Bodies, node_id
from tests.fakes.github.git_repository import NO_OID
from tests.fakes.github.graphql_reads import Reads
from tests.fakes.github.records import Issue, PullRequest, Token
from tests.fakes.github.repository_routes import INTEGRATION_REFUSED
from tests.fakes.github.world import ApiError, World

Input = dict[str, Any]
Info = GraphQLResolveInfo[Any]
_FOLDER = Path(__file__).parent
_GENERIC = (
    "Something went wrong while executing your query. This may be the result of a timeout, or it"
    " could be a GitHub bug. Please include `0FAE:0000:0000` when reporting this issue."
)
"""GitHub's whole message for a ref that moved in between (community discussion 213655)."""


class RefusedError(Exception):
    """An error of a resolver; `kind` is GitHub's `type` of the error, empty if it has none."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class UnknownQueryError(Exception):
    """A query that the committed part of GitHub's schema does not allow."""


@cache
def _schema(update_refs: bool) -> GraphQLSchema:
    schema = build_schema((_FOLDER / "schema.graphql").read_text(encoding="utf-8"))
    mutation = schema.type_map["Mutation"]
    if isinstance(mutation, GraphQLObjectType) and not update_refs:
        del mutation.fields["updateRefs"]
        del schema.type_map["UpdateRefsInput"]
    return schema


def answer(world: World, bodies: Bodies, token: Token, body: Any) -> dict[str, Any]:
    """Execute one request; errors are under `errors`, as in GraphQL.

    Raises:
        UnknownQueryError: the committed part of GitHub's schema does not allow the query.
    """
    document = _parsed(body)
    schema = _schema(world.graphql_update_refs)
    problems = (
        _problems(body["query"], world.graphql_update_refs) if world.checks_descriptions else ()
    )
    if problems and not world.graphql_update_refs and not _problems(body["query"], True):
        return {"errors": [_undefined(one) for one in problems]}
    if problems:
        raise UnknownQueryError("; ".join(one.message for one in problems))
    done = execute_sync(
        schema,
        document,
        root_value=Resolvers(world, bodies, token).roots(),
        variable_values=body.get("variables") or {},
    )
    shown: dict[str, Any] = {"data": done.data}
    return {**shown, "errors": [_shown(one) for one in done.errors]} if done.errors else shown


def _parsed(body: Any) -> DocumentNode:
    try:
        return _document(body["query"])
    except (GraphQLSyntaxError, KeyError, TypeError) as error:
        raise UnknownQueryError(str(error)) from error


_QUERIES = 1024
"""Parsing and validating take milliseconds, and tests repeat the same queries."""


@lru_cache(maxsize=_QUERIES)
def _document(query: str) -> DocumentNode:
    return parse(query)


@lru_cache(maxsize=_QUERIES)
def _problems(query: str, update_refs: bool) -> tuple[GraphQLError, ...]:
    """Returns what GitHub's schema does not allow in a query."""
    return tuple(validate(_schema(update_refs), _document(query)))


def _undefined(error: GraphQLError) -> dict[str, Any]:
    where = [{"line": one.line, "column": one.column} for one in error.locations or []]
    return {
        "path": ["mutation", "updateRefs"],
        "extensions": {"code": "undefinedField", "typeName": "Mutation", "fieldName": "updateRefs"},
        "locations": where,
        "message": (
            "Field 'updateRefs' doesn't exist on type 'Mutation'"
            if "Cannot query" in error.message
            else error.message
        ),
    }


def _shown(error: GraphQLError) -> dict[str, Any]:
    cause = error.original_error
    if not isinstance(cause, RefusedError):
        raise UnknownQueryError(error.message) from error
    where = [{"line": one.line, "column": one.column} for one in error.locations or []]
    kind = {"type": cause.kind} if cause.kind else {}
    return {**kind, "path": error.path, "locations": where, "message": error.message}


@dataclass(frozen=True, slots=True)
class Resolvers:
    """The fields of Query and Mutation for one request."""

    world: World
    bodies: Bodies
    token: Token

    def roots(self) -> dict[str, Any]:
        """Every root field; plain values below them are found by name."""
        return {
            "viewer": lambda _info: {
                "login": self.token.login,
                "id": node_id("U", self.token.login),
            },
            "repository": self._repository,
            "updateRefs": self._mutation("contents", self._update_refs),
            "createCommitOnBranch": self._mutation("contents", self._create_commit),
            "convertPullRequestToDraft": self._mutation(
                "pull_requests", lambda given: self._set_draft(given, True)
            ),
            "markPullRequestReadyForReview": self._mutation(
                "pull_requests", lambda given: self._set_draft(given, False)
            ),
        }

    def _mutation(self, needs: str, resolve: Callable[[Input], Input]) -> Callable[..., Input]:
        def field(_info: Info, **arguments: Input) -> Input:
            granted = self.token.permissions
            if granted is not None and granted.get(needs) != "write":
                raise RefusedError("FORBIDDEN", INTEGRATION_REFUSED)
            given = arguments["input"]
            return {"clientMutationId": given.get("clientMutationId"), **resolve(given)}

        return field

    def _repository(self, _info: Info, owner: str, name: str, **_: Any) -> Input:
        world = self.world
        if f"{owner}/{name}" != world.full_name:
            raise RefusedError(
                "NOT_FOUND", f"Could not resolve to a Repository with the name '{owner}/{name}'."
            )
        return {
            "id": node_id("R", world.full_name),
            "name": world.name,
            "nameWithOwner": world.full_name,
            "ref": lambda _info, **given: self._ref(given["qualifiedName"]),
            "object": lambda _info, **given: self._object(given),
            "pullRequest": lambda _info, number: self._pull_or_error(number),
            "pullRequests": lambda _info, **given: self._pulls(given),
        }

    @property
    def _reads(self) -> Reads:
        return Reads(self.world, self.bodies)

    def _object(self, given: Input) -> Input | None:
        self._check_reading("contents")
        return self._reads.object(given.get("oid") or given["expression"])

    def _pulls(self, given: Input) -> Input:
        self._check_reading("pull_requests")
        return self._reads.pull_requests(given)

    def _check_reading(self, needs: str) -> None:
        granted = self.token.permissions
        if granted is not None and needs not in granted:
            raise RefusedError("FORBIDDEN", INTEGRATION_REFUSED)

    def _ref(self, name: str) -> Input | None:
        full = name if name.startswith("refs/") else f"refs/heads/{name}"
        sha = self.world.git.resolve(full)
        short = full.removeprefix("refs/heads/")
        return (
            {
                "id": node_id("REF", full),
                "name": short,
                "target": self._commit(sha),
                "compare": lambda _info, **given: self._reads.compare(
                    short, given["headRef"].removeprefix("refs/heads/")
                ),
            }
            if sha
            else None
        )

    def _commit(self, sha: str) -> Input:
        return self._reads.commit(self.world.git.commit(sha))

    def _pull_or_error(self, number: int) -> Input:
        try:
            return self._pull(*self.world.pull(number))
        except ApiError as error:
            what = f"Could not resolve to a PullRequest with the number of {number}."
            raise RefusedError("NOT_FOUND", what) from error

    def _pull(self, issue: Issue, pull: PullRequest) -> Input:
        return self._reads.pull(issue, pull)

    def _set_draft(self, given: Input, draft: bool) -> Input:
        for issue, pull in self.world.pulls():
            if node_id("PR", issue.number) == given["pullRequestId"]:
                pull.draft = draft
                self.world.touch(issue)
                return {"pullRequest": self._pull(issue, pull)}
        raise RefusedError(
            "NOT_FOUND",
            f"Could not resolve to a node with the global id of '{given['pullRequestId']}'",
        )

    def _update_refs(self, given: Input) -> Input:
        """All updates or none."""
        if given["repositoryId"] not in (node_id("R", self.world.full_name),):
            raise RefusedError(
                "NOT_FOUND",
                f"Could not resolve to a node with the global id of '{given['repositoryId']}'",
            )
        updates = given["refUpdates"]
        if not all(self._may_move(one) for one in updates):
            raise RefusedError("", _GENERIC)
        for one in updates:
            new = one["afterOid"]
            branches.move(self.world, one["name"], None if new == NO_OID else new, self.token.login)
        return {}

    def _may_move(self, update: Mapping[str, Any]) -> bool:
        git, name, new = self.world.git, update["name"], update["afterOid"]
        now = git.resolve(name, "object") if git.well_formed(name) else ""
        if now == "" or update.get("beforeOid", now or NO_OID) not in (now or NO_OID, None):
            return False
        if name.removeprefix("refs/heads/") in self.world.protected and now is not None:
            return False
        if new == NO_OID:
            return now is not None
        return git.resolve(new) == new and (
            update["force"] or branches.is_fast_forward(self.world, name, new)
        )

    def _create_commit(self, given: Input) -> Input:
        world, target = self.world, given["branch"]
        branch = target.get("branchName")
        head = world.git.branch(branch or "")
        if head is None or target.get("repositoryNameWithOwner") != world.full_name:
            raise RefusedError("NOT_FOUND", f"Could not resolve to a Ref with the name '{branch}'.")
        if head != given["expectedHeadOid"]:
            what = (
                f'Expected branch to point to "{given["expectedHeadOid"]}" but it did not. Pull and'
                " try again."
            )
            raise RefusedError("STALE_DATA", what)
        if branch in world.protected:
            raise RefusedError("UNPROCESSABLE", branches.PULL_REQUEST_DEMANDED)
        message = "\n\n".join(
            filter(None, (given["message"]["headline"], given["message"].get("body")))
        )
        author = world.account(self.token.login).sign(world.now())
        sha = branches.commit_files(world, head, _file_changes(given), message, author, signed=True)
        branches.move(world, f"refs/heads/{branch}", sha, self.token.login)
        return {"commit": self._commit(sha), "ref": self._ref(branch)}


def _file_changes(given: Input) -> dict[str, bytes | None]:
    changes = given.get("fileChanges") or {}
    files: dict[str, bytes | None] = {
        one["path"]: base64.b64decode(one["contents"]) for one in changes.get("additions", [])
    }
    return files | {one["path"]: None for one in changes.get("deletions", [])}
