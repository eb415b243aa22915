"""Several repositories on one GitHub: sends each request to the fake of its repository."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from werkzeug.serving import make_server

from tests.fakes.github.bodies import node_id
from tests.fakes.github.server import FakeGitHub, QuietHandler

_REPOSITORY = re.compile(r"/repos/([^/]+/[^/]+)")
_QUERIED = re.compile(r'repository\(owner: "([^"]+)", name: "([^"]+)"\)')
_LONGEST_BODY = 50_000_000


class FakeOrganization:
    """Some fakes behind one address, from entering the context to leaving it.

    The first one answers requests that name no repository. Each has its own tokens.
    """

    def __init__(self, hubs: Iterable[FakeGitHub]) -> None:
        self.hubs = {hub.world.full_name: hub for hub in hubs}
        self.url = ""
        self._stack = ExitStack()

    def __enter__(self) -> FakeOrganization:
        for hub in self.hubs.values():
            self._stack.enter_context(hub)
        server = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=QuietHandler
        )
        self.url = f"http://127.0.0.1:{server.server_port}"
        for hub in self.hubs.values():
            hub.behind(self.url)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def requests(self) -> int:
        """The number of requests so far."""
        return sum(len(hub.requests) for hub in self.hubs.values())

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(min(length, _LONGEST_BODY))
        environ["wsgi.input"] = io.BytesIO(body)
        hub = self._hub(environ["PATH_INFO"], body)
        answer: Iterable[bytes] = hub.application(environ, start_response)
        return answer

    def _hub(self, path: str, body: bytes) -> FakeGitHub:
        first = next(iter(self.hubs.values()))
        named = _REPOSITORY.match(path)
        if named:
            return self.hubs.get(named[1], first)
        if path != "/graphql":
            return first
        asked = json.loads(body)
        queried = _QUERIED.search(asked["query"])
        if queried:
            return self.hubs.get("/".join(queried.groups()), first)
        variables = json.dumps(asked.get("variables"))
        for name, hub in self.hubs.items():
            if node_id("R", name) in variables:
                return hub
        return first
