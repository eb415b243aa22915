"""Answers PyGithub's requests in the thread that asks, without sockets.

Each request to the server takes six changes of threads and a connection, which a long simulation
on a busy machine waits for more than ten times as long as it works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
from requests.utils import get_encoding_from_headers
from werkzeug.test import Client

from github.Requester import (
    HTTPRequestsConnectionClass,
    HTTPSRequestsConnectionClass,
    Requester,
    RequestsResponse,
)
from leastpriv.pull_request.github.client import RequestDeadline
from tests.fakes.github.server import FakeGitHub


class NoDeadline(RequestDeadline):
    """Waits for each answer in the thread that asks: a fake without sockets cannot hang."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)

    def limited(self, request: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the request itself."""
        return request


@contextmanager
def without_sockets(hub: FakeGitHub) -> Iterator[None]:
    """Passes all requests of PyGithub to the fake; none is repeated after an error."""
    client = Client(hub.application)

    class DirectConnection(HTTPRequestsConnectionClass):
        def __init__(self, host: str, *_: Any, **__: Any) -> None:
            self.host = host

        def getresponse(self) -> RequestsResponse:
            answer = client.open(
                self.url,
                method=self.verb,
                data=self.input,
                headers=self.headers,
                base_url=hub.server_url,
            )
            response = requests.Response()
            response.status_code = answer.status_code
            response.headers.update(answer.headers)
            response.encoding = get_encoding_from_headers(response.headers)
            response._content = answer.get_data()
            return RequestsResponse(response)

        def close(self) -> None:
            """There is no connection."""

    Requester.injectConnectionClasses(DirectConnection, HTTPSRequestsConnectionClass)
    try:
        yield
    finally:
        Requester.resetConnectionClasses()
