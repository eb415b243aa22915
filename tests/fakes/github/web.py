"""Validates, executes and answers one HTTP request."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request, Response

from tests.fakes.github import contract, graphql_api
from tests.fakes.github.bodies import Bodies
from tests.fakes.github.records import Exchange, Token
from tests.fakes.github.repository_routes import INTEGRATION_REFUSED
from tests.fakes.github.routes import ROUTES
from tests.fakes.github.routing import Answer, Call, Route, find
from tests.fakes.github.world import ApiError, World

_DOCUMENTATION = "https://docs.github.com/rest"
_NO_USER_AGENT = (
    "Request forbidden by administrative rules. Please make sure your request has a User-Agent"
    " header."
)


class ViolationError(Exception):
    """A request or an answer that violates GitHub's description, or an unknown path."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Expected:
    """Matches the next requests of a method whose path contains a pattern."""

    method: str
    path: re.Pattern[str]
    times: int = 1

    def takes(self, arrival: Arrival) -> bool:
        """Whether the request matches; counts it."""
        wanted = (
            self.times > 0
            and arrival.method == self.method
            and bool(self.path.search(arrival.path))
        )
        self.times -= wanted
        return wanted


@dataclass(slots=True)
class Hook(Expected):
    """An action to run just before a request is answered."""

    action: Callable[[], object] = lambda: None


@dataclass(slots=True)
class Fault(Expected):
    """A fault in place of the request's answer; `carried_out` requests still take effect."""

    response: Answer = field(default_factory=lambda: Answer(None, 500))
    carried_out: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """A received request; `path` is not decoded, and without the prefix if `in_api`."""

    method: str
    address: str
    path: str
    in_api: bool
    query: dict[str, str]
    body: Any
    headers: Headers

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class Desk:
    """Answers requests one after the other, and records them."""

    world: World
    bodies: Bodies
    prefix: str
    storage_url: str
    tokens: dict[str, Token] = field(default_factory=dict)
    hooks: list[Hook] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer as a WSGI application."""
        arrival = self._arrival(Request(environ), str(environ["RAW_URI"]))
        for hook in self.hooks:
            if hook.takes(arrival):
                hook.action()
        with self.world.lock:
            token = self._token(arrival)
            answer = self._answer(arrival, token)
            login = token.login if token else None
            done = Exchange(
                arrival.method, arrival.path, arrival.query, arrival.body, answer.status, login
            )
            self.exchanges.append(done)
            response = self._response(answer)
        return response(environ, start_response)

    def _arrival(self, request: Request, target: str) -> Arrival:
        path, _, query = target.partition("?")
        in_api = path.startswith(f"{self.prefix}/")
        return Arrival(
            method=request.method,
            address=f"{request.host_url.rstrip('/')}{path}",
            path=path.removeprefix(self.prefix) if in_api else path,
            in_api=in_api,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            body=_json(request.get_data()),
            headers=request.headers,
        )

    def _token(self, arrival: Arrival) -> Token | None:
        scheme, _, given = arrival.headers.get("Authorization", "").partition(" ")
        return self.tokens.get(given) if scheme.lower() in ("bearer", "token") else None

    def _answer(self, arrival: Arrival, token: Token | None) -> Answer:
        fault = next((one for one in self.faults if one.takes(arrival)), None)
        if fault is None:
            return self._validated(arrival, token)
        if fault.carried_out:
            self._validated(arrival, token)
        return fault.response

    def _validated(self, arrival: Arrival, token: Token | None) -> Answer:
        try:
            return self._handled(arrival, token)
        except ApiError as error:
            return Answer(_error_body(error), error.status, error.headers)
        except ViolationError as error:
            return self._violated(f"{arrival}: {error}", error.status)
        except Exception:  # a defect of the fake must not count as an outage of GitHub
            return self._violated(f"{arrival}: the fake broke: {traceback.format_exc()}")

    def _violated(self, what: str, status: int = 500) -> Answer:
        self.violations.append(what)
        return Answer({"message": f"Violation: {what}"}, status)

    def _handled(self, arrival: Arrival, token: Token | None) -> Answer:
        if not arrival.headers.get("User-Agent"):
            raise ApiError(403, _NO_USER_AGENT)
        if token is None:
            raise ApiError(
                401,
                (
                    "Bad credentials"
                    if "Authorization" in arrival.headers
                    else "Requires authentication"
                ),
            )
        self._count(arrival.path)
        if arrival.path == self._graphql_path():
            return self._graphql(arrival, token)
        found = find(ROUTES, arrival.method, arrival.path) if arrival.in_api else None
        if found is None:
            raise ViolationError(
                "no such operation in the committed part of GitHub's description", 404
            )
        return self._checked(found[0], self._call(arrival, token, found[1]))

    def _call(self, arrival: Arrival, token: Token, params: dict[str, str]) -> Call:
        return Call(
            world=self.world,
            bodies=self.bodies,
            token=token,
            address=arrival.address,
            params=params,
            query=arrival.query,
            accept=arrival.headers.get("Accept", ""),
            body=arrival.body,
            storage_url=self.storage_url,
        )

    def _graphql_path(self) -> str:
        return self.prefix.removesuffix("/v3") + "/graphql"

    def _graphql(self, arrival: Arrival, token: Token) -> Answer:
        if arrival.method != "POST":
            raise ApiError(404, "Not Found")
        try:
            return Answer(graphql_api.answer(self.world, self.bodies, token, arrival.body))
        except graphql_api.UnknownQueryError as error:
            raise ViolationError(str(error)) from error

    def _count(self, path: str) -> None:
        rate = self.world.rate
        if path == "/rate_limit":
            return
        if rate.remaining == 0:
            raise ApiError(403, "API rate limit exceeded for installation.")
        rate.remaining -= 1

    def _checked(self, route: Route, call: Call) -> Answer:
        """Validate the request, execute it, and validate its answer."""
        broken = self._request_violations(route, call)
        if broken:
            raise ViolationError("request: " + "; ".join(broken))
        try:
            self._check_permission(route, call)
            answer = route.handler(call)
        except ApiError as error:
            self._check_answer(route, call, error.status, _error_body(error))
            raise
        if not isinstance(answer.body, bytes):
            self._check_answer(route, call, answer.status, answer.body)
        return answer

    def _request_violations(self, route: Route, call: Call) -> list[str]:
        if not self.world.checks_descriptions:
            return []
        return contract.request_violations(route, call.params, call.query, call.body)

    def _check_answer(self, route: Route, call: Call, status: int, body: Any) -> None:
        if not self.world.checks_descriptions:
            return
        if broken := contract.response_violations(route, call.params, status, body):
            raise ViolationError("answer: " + "; ".join(broken))

    def _check_permission(self, route: Route, call: Call) -> None:
        params, world = call.params, self.world
        if "owner" in params and f"{params['owner']}/{params['repo']}" != world.full_name:
            raise ApiError(404, "Not Found")
        granted = call.token.permissions
        if granted is None:
            if route.level == "write" and not world.may_write(call.login):
                raise ApiError(403, "Resource not accessible by personal access token")
        elif route.needs and not any(
            granted.get(need) in (route.level, "write") for need in route.needs
        ):
            raise ApiError(403, INTEGRATION_REFUSED)

    def _response(self, answer: Answer) -> Response:
        rate = self.world.rate
        response = Response(
            _encoded(answer.body), status=answer.status, content_type=answer.content_type
        )
        standard = {
            "X-GitHub-Request-Id": f"FAKE:{len(self.exchanges):04X}",
            "X-RateLimit-Limit": str(rate.limit),
            "X-RateLimit-Remaining": str(rate.remaining),
            "X-RateLimit-Reset": str(rate.reset),
            "X-RateLimit-Used": str(rate.limit - rate.remaining),
        }
        for name, value in [*standard.items(), *answer.headers]:
            response.headers[name] = value
        return response


def _encoded(body: Any) -> bytes:
    if body is None:
        return b""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def _json(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return data.decode(errors="replace")


def _error_body(error: ApiError) -> dict[str, Any]:
    body: dict[str, Any] = {
        "message": error.message,
        "documentation_url": _DOCUMENTATION,
        "status": str(error.status),
    }
    return {**body, "errors": error.errors} if error.errors else body
