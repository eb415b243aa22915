"""Serves job logs from a separate server, as on GitHub, which knows no GitHub token."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.fakes.github.world import World

_LOG = re.compile(r"/logs/(\d+)")


@dataclass(frozen=True, slots=True)
class LogStorage:
    """Serves logs by the addresses that the API redirects to."""

    world: World

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer as a WSGI application."""
        request = Request(environ)
        return self._answer(request)(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if "Authorization" in request.headers:
            # The real storage accepts only the signed address and rejects a second credential.
            return Response("<Error><Code>InvalidAuthenticationInfo</Code></Error>", 400)
        matched = _LOG.fullmatch(request.path)
        job = self.world.jobs.get(int(matched[1])) if matched and "sig" in request.args else None
        if job is None or job.log is None:
            return Response("<Error><Code>BlobNotFound</Code></Error>", 404)
        return Response(job.log, content_type="text/plain; charset=utf-8")
