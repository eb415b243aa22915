"""How one HTTP request is judged and answered."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.wrappers import Request, Response

from tests.fakes.github import contract, graphql_api
from tests.fakes.github.bodies import Bodies
from tests.fakes.github.records import Exchange, Token
from tests.fakes.github.repository_routes import INTEGRATION_REFUSED
from tests.fakes.github.routes import ROUTES
from tests.fakes.github.routing import Answer, Call, Route, find
from tests.fakes.github.world import ApiError, World

_DOCUMENTATION = "https://docs.github.com/rest"
_UNLIMITED = ("/rate_limit",)


class ViolationError(Exception):
    """A request or an answer that GitHub's description does not allow, or a path that it does not have."""


@dataclass(slots=True)
class Fault:
    """What is to happen to the next requests that match."""

    method: str
    path: re.Pattern[str]
    times: int
    response: tuple[int, Any, Sequence[tuple[str, str]]] | None = None
    before: Callable[[], object] | None = None
    carried_out: bool = False
    """The request takes effect although its answer is the fault."""

    def matches(self, method: str, path: str) -> bool:
        """Whether it waits for such a request."""
        return self.times > 0 and method == self.method and self.path.search(path) is not None


@dataclass(slots=True)
class Desk:
    """Answers requests one after the other, and keeps the books."""

    world: World
    bodies: Bodies
    prefix: str
    storage_url: str
    tokens: dict[str, Token] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer as a WSGI application."""
        request = Request(environ)
        path, _, query = str(environ["RAW_URI"]).partition("?")
        body = _json(request.get_data())
        known = dict(parse_qsl(query, keep_blank_values=True))
        response, login = self._answer(request, path, known, body)
        short = path.removeprefix(self.prefix)
        with self.world.lock:
            self.exchanges.append(Exchange(request.method, short, known, body, response.status_code, login))
        return response(environ, start_response)

    def _answer(self, request: Request, path: str, query: dict[str, str], body: Any) -> tuple[Response, str | None]:
        short = path.removeprefix(self.prefix)
        fault = self._next_fault(request.method, short)
        if fault and fault.before:
            fault.before()
        with self.world.lock:
            token = self._token(request)
            if fault and fault.response and not fault.carried_out:
                return self._plain(*fault.response), token and token.login
            response = self._judged(request, path, query, body, token)
        if fault and fault.response:
            response = self._plain(*fault.response)
        return response, token and token.login

    def _next_fault(self, method: str, path: str) -> Fault | None:
        with self.world.lock:
            for fault in self.faults:
                if fault.matches(method, path):
                    fault.times -= 1
                    return fault
        return None

    def _token(self, request: Request) -> Token | None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return self.tokens.get(given) if scheme.lower() in ("bearer", "token") else None

    def _judged(self, request: Request, path: str, query: dict[str, str], body: Any, token: Token | None) -> Response:
        try:
            answer = self._handled(request, path, query, body, token)
        except ApiError as error:
            return self._refusal(error)
        except ViolationError as error:
            return self._violated(f"{request.method} {path}: {error}")
        except Exception:  # a defect of the fake must not pass for an outage of GitHub
            return self._violated(f"{request.method} {path}: the fake broke: {traceback.format_exc()}")
        return self._plain(answer.status, answer.body, answer.headers, answer.content_type)

    def _violated(self, what: str) -> Response:
        self.violations.append(what)
        return self._plain(500, {"message": f"Violation: {what}"}, ())

    def _handled(self, request: Request, path: str, query: dict[str, str], body: Any, token: Token | None) -> Answer:
        if not request.headers.get("User-Agent"):
            raise ApiError(403, "Request forbidden by administrative rules. Please make sure your request has a "
                                "User-Agent header.")  # fmt: skip
        if token is None:
            given = "Authorization" in request.headers
            raise ApiError(401, "Bad credentials" if given else "Requires authentication")
        self._count(path)
        if path == self._graphql_path():
            return self._graphql(request, body, token)
        short = path.removeprefix(self.prefix)
        found = find(ROUTES, request.method, short) if path.startswith(self.prefix) else None
        if found is None:
            raise ViolationError("no such operation in the committed part of GitHub's description")
        address = f"{request.host_url.rstrip('/')}{path}"
        accept = request.headers.get("Accept", "")
        route, params = found
        call = Call(self.world, self.bodies, token, address, params, query, accept, body, self.storage_url)
        return self._checked(route, call)

    def _graphql_path(self) -> str:
        return self.prefix.removesuffix("/v3") + "/graphql"

    def _graphql(self, request: Request, body: Any, token: Token) -> Answer:
        if request.method != "POST":
            raise ApiError(404, "Not Found")
        try:
            return Answer(graphql_api.answer(self.world, self.bodies, token, body))
        except graphql_api.UnknownQueryError as error:
            raise ViolationError(str(error)) from error

    def _count(self, path: str) -> None:
        rate = self.world.rate
        if path.endswith(_UNLIMITED):
            return
        if rate.remaining == 0:
            raise ApiError(403, "API rate limit exceeded for installation.")
        rate.remaining -= 1

    def _checked(self, route: Route, call: Call) -> Answer:
        """Judge the request, carry it out, and judge what comes of it."""
        if broken := contract.request_violations(route, call.params, call.query, call.body):
            raise ViolationError("request: " + "; ".join(broken))
        try:
            self._refuse_unless_permitted(route, call)
            answer = route.handler(call)
        except ApiError as error:
            self._check_answer(route, call, error.status, _refusal_body(error))
            raise
        if not isinstance(answer.body, bytes):
            self._check_answer(route, call, answer.status, answer.body)
        return answer

    def _check_answer(self, route: Route, call: Call, status: int, body: Any) -> None:
        if broken := contract.response_violations(route, call.params, status, body):
            raise ViolationError("answer: " + "; ".join(broken))

    def _refuse_unless_permitted(self, route: Route, call: Call) -> None:
        params, world = call.params, self.world
        if "owner" in params and f"{params['owner']}/{params['repo']}" != world.full_name:
            raise ApiError(404, "Not Found")
        granted = call.token.permissions
        if granted is None:
            if route.level == "write" and not world.may_write(call.login):
                raise ApiError(403, "Resource not accessible by personal access token")
        elif route.needs and not any(granted.get(need) in (route.level, "write") for need in route.needs):
            raise ApiError(403, INTEGRATION_REFUSED)

    def _refusal(self, error: ApiError) -> Response:
        return self._plain(error.status, _refusal_body(error), error.headers)

    def _plain(
        self,
        status: int,
        body: Any,
        headers: Sequence[tuple[str, str]],
        content_type: str = "application/json; charset=utf-8",
    ) -> Response:
        rate = self.world.rate
        standard = {
            "X-GitHub-Request-Id": f"FAKE:{len(self.exchanges):04X}",
            "X-RateLimit-Limit": rate.limit,
            "X-RateLimit-Remaining": rate.remaining,
            "X-RateLimit-Reset": rate.reset,
            "X-RateLimit-Used": rate.limit - rate.remaining,
        }
        text = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        given = [*((name, str(value)) for name, value in standard.items()), *headers]
        response = Response(text, status=status, content_type=content_type)
        for name, value in given:
            response.headers[name] = value
        return response


def _json(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return data.decode(errors="replace")


def _refusal_body(error: ApiError) -> dict[str, Any]:
    body: dict[str, Any] = {
        "message": error.message,
        "documentation_url": _DOCUMENTATION,
        "status": str(error.status),
    }
    return {**body, "errors": error.errors} if error.errors else body
