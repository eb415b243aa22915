"""Finds the function that answers a request, with its parameters; pages lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlencode

from tests.fakes.github.bodies import Bodies, Body
from tests.fakes.github.records import Token
from tests.fakes.github.world import ApiError, World

T = TypeVar("T")
REPO = "/repos/{owner}/{repo}"
_WITH_SLASHES = frozenset({"ref", "path", "branch", "basehead", "name"})
"""Parameters that GitHub also takes with their slashes not encoded."""
_MAXIMUM_PAGE = 100
_MAXIMUM_BODY = 65536
"""Characters: longer bodies are an error (message observed on real repositories)."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that passed every check, with the fake's state."""

    world: World
    bodies: Bodies
    token: Token
    address: str
    """Path of the request, without its query."""
    params: dict[str, str]
    query: dict[str, str]
    accept: str
    body: Any
    storage_url: str
    """Address of the job logs: not the API's server, as on GitHub."""

    @property
    def login(self) -> str:
        """The caller."""
        return self.token.login


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer; bytes are sent unchanged, other values as JSON, None as no body."""

    body: Any
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    content_type: str = "application/json; charset=utf-8"


@dataclass(frozen=True)
class Route:
    """One operation of GitHub's description and the function that answers it.

    `needs` names the permissions of which a token must have one (`read` for GET, `write`
    otherwise); empty: none.
    """

    method: str
    template: str
    handler: Callable[[Call], Answer]
    needs: Sequence[str] = field(default=())

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The pattern of a path without the API's prefix."""
        parts = re.split(r"\{(\w+)\}", self.template)
        names = [
            f"(?P<{name}>{'.+' if name in _WITH_SLASHES else '[^/]+'})" for name in parts[1::2]
        ]
        return re.compile(
            "".join(
                re.escape(text) + name for text, name in zip(parts[::2], [*names, ""], strict=True)
            )
        )

    @property
    def level(self) -> str:
        """The level of permission that the method requires."""
        return "read" if self.method == "GET" else "write"

    def parameters(self, path: str) -> dict[str, str] | None:
        """The decoded parameters of a path, or None if it is another route's."""
        matched = self.pattern.fullmatch(path)
        return (
            {name: unquote(value) for name, value in matched.groupdict().items()}
            if matched
            else None
        )

    def standard_path(self, params: dict[str, str]) -> str:
        """The path with every parameter in one segment, as the description has it."""
        return self.template.format(
            **{name: quote(value, safe="") for name, value in params.items()}
        )


def find(routes: Iterable[Route], method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a request, the longest template first, and its parameters."""
    for route in sorted(routes, key=lambda one: -one.template.count("/")):
        params = route.parameters(path) if route.method == method else None
        if params is not None:
            return route, params
    return None


def page_of(call: Call, items: Sequence[T], show: Callable[[T], Body], key: str = "") -> Answer:
    """One page of a list with its Link header; with a `key` the list is below it, next to
    `total_count`.
    """
    size = min(_number(call, "per_page", 30), _MAXIMUM_PAGE)
    number = _number(call, "page", 1)
    last = max(1, -(-len(items) // size))
    shown = [show(item) for item in items[(number - 1) * size : number * size]]
    links = {"prev": number - 1, "next": number + 1, "last": last, "first": 1}
    kept = [
        f'<{call.address}?{urlencode({**call.query, "page": target})}>; rel="{name}"'
        for name, target in links.items()
        if 1 <= target <= last
        and (target > number if name in ("next", "last") else target < number)
    ]
    headers = [("Link", ", ".join(kept))] if kept else []
    return Answer({"total_count": len(items), key: shown} if key else shown, headers=headers)


def _number(call: Call, name: str, default: int) -> int:
    return max(1, int(call.query.get(name, default)))


def invalid(resource: str, field_name: str, code: str = "invalid", message: str = "") -> ApiError:
    """GitHub's validation failure about one field."""
    error = {"resource": resource, "field": field_name, "code": code}
    return ApiError(422, "Validation Failed", [{**error, "message": message} if message else error])


def custom(resource: str, message: str) -> ApiError:
    """GitHub's validation failure that is a sentence."""
    return ApiError(
        422, "Validation Failed", [{"resource": resource, "code": "custom", "message": message}]
    )


def check_body_length(resource: str, body: str | None) -> None:
    """Raise ApiError 422 for a body over GitHub's limit."""
    if body is not None and len(body) > _MAXIMUM_BODY:
        raise invalid(
            resource, "body", "custom", f"body is too long (maximum is {_MAXIMUM_BODY} characters)"
        )
