"""Validates requests and answers by GitHub's official OpenAPI description (the committed part of
it).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]
from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

from tests.fakes.github.routing import Route

_FOLDER = Path(__file__).parent
_HOST = "https://api.github.com"
_SHOWN_ERRORS = 4
_HEAD = frozenset({"label", "ref", "repo", "sha", "user"})
"""Properties that identify the schema of a pull request's head or base."""
_NULL = {"nullable": True, "enum": [None]}
_ADDRESS = re.compile(r"https?://[\w.:/@?=&~#+-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIME = re.compile(r"\d{4}-(0[1-9]|1[0-2])-[0-2][1-8]T[01]\d:[0-5]\d:[0-5]\dZ")
_SAMPLES = (
    (_ADDRESS, "https://example.com"),
    (_COMMIT, "0" * 40),
    (_TIME, "2026-01-01T00:00:00Z"),
)
"""Pattern of an address, a commit or a time -> one example of it."""
_MAY_HAVE_A_FORMAT = re.compile(r"[A-Za-z][\w+.-]*:|\d|.*@", re.DOTALL)
"""How a text begins that may be an address, a time or an address of mail."""
_TEXT = "any text"
_LARGEST_LIMIT = 6
_LABEL = frozenset({"color", "default", "description", "name"})
"""Properties that identify the schema of a label; GitHub repeats it in several locations."""


@cache
def description() -> dict[str, Any]:
    """The committed part of GitHub's description, corrected where it contradicts itself or GitHub's
    answers.
    """
    text = (_FOLDER / "openapi.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text, object_hook=as_meant)
    return loaded


def as_meant(node: dict[str, Any]) -> dict[str, Any]:
    """One object of the description, relaxed where it is too strict in five ways.

    - A nullable enumeration or choice does not list null, as OpenAPI 3.0.3 demands, and GitHub
      answers null: an issue's
    `state_reason`, the `author` of a commit with an unknown address.
    - The alternatives of `oneOf` overlap, so that nothing passes: the two errors of a stale `sha`.
    - The `description` of a label is text or null, but not null in a pull request of a list.
    - The `repo` of a pull request's head is null if its fork was deleted
    (github/rest-api-description issue 1811).
    - `discriminator` names a property that the answer cannot have: a folder's contents are a list.
    """
    if "propertyName" in node.get("discriminator", {}):
        del node["discriminator"]
    if set(node.get("properties", {})) >= _LABEL:
        node["properties"]["description"]["nullable"] = True
    if set(node.get("properties", {})) == _HEAD:
        repository = node["properties"]["repo"]
        node["properties"]["repo"] = {"anyOf": [repository, dict(_NULL)]}
    if isinstance(node.get("oneOf"), list):
        node["anyOf"] = node.pop("oneOf")
    if node.get("nullable") is True:
        if isinstance(node.get("enum"), list) and None not in node["enum"]:
            node["enum"].append(None)
        if isinstance(node.get("anyOf"), list):
            node["anyOf"].append(dict(_NULL))
    return node


@cache
def _validator() -> OpenAPI:
    # Validating the description itself takes seconds and is not what the tests are about.
    return OpenAPI.from_dict(description(), config=Config(spec_validator_cls=None))


def operations() -> set[tuple[str, str]]:
    """Method and path template of every operation in the description."""
    return {
        (method.upper(), path) for path, item in description()["paths"].items() for method in item
    }


def request_violations(
    route: Route, params: dict[str, str], query: dict[str, str], body: Any
) -> list[str]:
    """The violations of a request; an unknown query parameter or body property counts as one."""
    found = [f"unknown {what}" for what in _unknown(route, query, body)]
    described = _as_described(route, body)
    sample = None if described is None else json.dumps(_sample(described))
    sample_path = route.standard_path(
        {name: _sample_of_path(value) for name, value in params.items()}
    )
    sample_query = tuple((name, _sample_of_path(value)) for name, value in query.items())
    if not _request_errors(route.method, sample_path, sample_query, sample):
        return found
    # The sentence names the value of the request.
    data = None if described is None else json.dumps(described)
    path = route.standard_path(params)
    return [*found, *_request_errors(route.method, path, tuple(query.items()), data)]


def response_violations(route: Route, params: dict[str, str], status: int, body: Any) -> list[str]:
    """The violations of an answer; of errors, only the statuses in the description are
    validated.
    """
    operation = description()["paths"][route.template][route.method.lower()]
    if str(status) not in operation["responses"]:
        return [f"status {status} is not described"] if status < 400 else []
    if status >= 400 and _texts_as_errors(body):
        return []
    path = route.standard_path(dict.fromkeys(params, "1"))
    sample = "" if body is None else json.dumps(_sample(body))
    if not _response_errors(route.method, path, status, sample):
        return []
    # The sentence names the value of the answer.
    data = "" if body is None else json.dumps(body)
    return list(_response_errors(route.method, path, status, data))


def _sample(value: Any) -> Any:
    """Returns a body that keeps the description exactly if the given one does.

    The description limits numbers to those from 0 to 6 alone, no length but a commit's, and no
    count of items but that there is one (`test_a_sample_changes_nothing_that_github_limits`).
    """
    if isinstance(value, dict):
        return {name: _sample(part) for name, part in value.items()}
    if isinstance(value, list):
        samples = {json.dumps(sample): sample for sample in map(_sample, value)}
        return list(samples.values())
    if isinstance(value, str):
        return _sample_of_text(value)
    if type(value) is int:
        return _sample_of_number(value)
    return value


def _sample_of_number(number: int) -> int:
    """Returns a number on the same side of the limits 0 and 6."""
    if number < 0:
        return -1
    return 1 if number <= _LARGEST_LIMIT else _LARGEST_LIMIT + 1


def _sample_of_path(value: str) -> str:
    """Returns a sample of a parameter of the path or of the query."""
    return "1" if value.isdecimal() else _sample_of_text(value)


def _sample_of_text(text: str) -> str:
    if text in _enumerated():
        return text
    for pattern, sample in _SAMPLES:
        if pattern.fullmatch(text):
            return sample
    return text if _MAY_HAVE_A_FORMAT.match(text) else _TEXT


@cache
def _enumerated() -> frozenset[str]:
    """Every text that an enumeration of the description lists."""
    return frozenset(
        value
        for node in nodes(description())
        for value in node.get("enum", ())
        if isinstance(value, str)
    )


def nodes(part: Any) -> Iterator[dict[str, Any]]:
    """Yields every object in a part of the description."""
    if isinstance(part, dict):
        yield part
    children = part.values() if isinstance(part, dict) else part
    for child in children if isinstance(part, dict | list) else ():
        yield from nodes(child)


# openapi-core takes milliseconds, and tests repeat the same requests.
@lru_cache(maxsize=4096)
def _request_errors(
    method: str, path: str, query: tuple[tuple[str, str], ...], data: str | None
) -> tuple[str, ...]:
    try:
        _validator().validate_request(_request(method, path, query, data))
    except OpenAPIError as error:
        return (_words(error),)
    return ()


@lru_cache(maxsize=4096)
def _response_errors(method: str, path: str, status: int, data: str) -> tuple[str, ...]:
    answer = MockResponse(data=data.encode(), status_code=status, content_type="application/json")
    try:
        _validator().validate_response(_request(method, path, (), None), answer)
    except OpenAPIError as error:
        return (_words(error),)
    return ()


def _texts_as_errors(body: Any) -> bool:
    """GitHub's `errors` are sometimes sentences where its description has only objects (PyGithub
    issue 1499).
    """
    return any(isinstance(one, str) for one in body.get("errors", []))


def _as_described(route: Route, body: Any) -> Any:
    """A bare list of labels as the object that holds it: openapi-core checks only the first
    alternative.
    """
    bare_labels = route.template.endswith("/labels") and isinstance(body, list)
    return {"labels": body} if bare_labels else body


def _request(
    method: str, path: str, query: tuple[tuple[str, str], ...], data: str | None
) -> MockRequest:
    body = None if data is None else data.encode()
    return MockRequest(
        _HOST, method.lower(), path, args=dict(query), data=body, content_type="application/json"
    )


def _unknown(route: Route, query: Mapping[str, str], body: Any) -> Iterable[str]:
    operation = description()["paths"][route.template][route.method.lower()]
    parameters = {_resolved(one)["name"] for one in operation.get("parameters", [])}
    yield from (f"query parameter {name!r}" for name in query if name not in parameters)
    if body is not None and "requestBody" not in operation:
        yield "body: the operation takes none"
    elif isinstance(body, dict):
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        known = _property_names(_resolved(schema))
        yield from (f"property {name!r}" for name in body if name not in known)


def _property_names(schema: dict[str, Any]) -> set[str]:
    names = set(schema.get("properties", {}))
    for key in ("anyOf", "allOf"):
        for one in schema.get(key, []):
            names |= _property_names(_resolved(one))
    return names


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    found: Any = description()
    for part in node["$ref"].split("/")[1:]:
        found = found[part]
    return _resolved(found)


def _words(error: OpenAPIError) -> str:
    causes = [_innermost(one) for one in getattr(error.__cause__, "schema_errors", [])][
        :_SHOWN_ERRORS
    ]
    shown = [f"{one.message[:120]} at /{'/'.join(map(str, one.absolute_path))}" for one in causes]
    return f"{type(error).__name__}: {'; '.join(shown) or error}"


def _innermost(error: ValidationError) -> ValidationError:
    """If several alternatives fail, the failure with the longest path is the most specific."""
    while error.context:
        error = max(error.context, key=lambda one: len(one.absolute_path))
    return error
