"""Objects of S3 by a faster client than botocore, which needs more than a millisecond of Python for each.

obstore, where it is installed, works outside of Python's lock; else urllib3 does with requests that are signed here. It
only ever speeds up: whatever is not given at once, whole and unchanged, is asked of botocore anew, which repeats,
follows a bucket's region and tells what is wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from leastpriv.evidence.signed_get import Place, by_urllib3

AT_ONCE = 64
"""Objects that are best asked for at the same time, where S3 answers after some 30 ms (measured 2026-11)."""
_PATIENCE = 3
"""Failures in a row after which the next objects are left to botocore."""
_PAUSE = 500
"""Objects."""
_SECONDS = "20s"
_AGAIN = timedelta(minutes=5)
"""After it the session is asked for its keys again, which renews them where they end."""

Get = Callable[[str], tuple[bytes, str] | None]
"""Bytes and ETag of an object by its key; raises whatever goes wrong."""


class FastObjects:
    """Fetches objects of one bucket; several threads may use it."""

    def __init__(self, make: Callable[[], Get | None]) -> None:
        """`make` is called with the first object, when the bucket has been listed."""
        self._make = make
        self._get: Get | None = None
        self._is_made = False
        self._failures = 0
        self._left_out = 0
        self._lock = threading.Lock()

    def fetch(self, key: str, etag: str, size: int) -> bytes | None:
        """The bytes of an object that is still the one listed; `None` where they could not be had."""
        get = self._ready()
        if get is None:
            return None
        found = None
        try:
            answer = get(key)
            if answer and answer[1] == etag and len(answer[0]) == size:
                found = answer[0]
        except Exception:  # noqa: S110 - of whatever kind: botocore will tell
            pass
        with self._lock:
            self._failures = 0 if found is not None else self._failures + 1
            self._left_out = 0
        return found

    def _ready(self) -> Get | None:
        """What gets objects; `None` where there is nothing, or too much has failed of late."""
        with self._lock:
            if not self._is_made:
                self._get, self._is_made = self._make(), True
            if self._failures < _PATIENCE:
                return self._get
            self._left_out += 1
            return self._get if self._left_out % _PAUSE == 0 else None


def fast_objects(
    session: Any, listed: Callable[[], tuple[str, str]], bucket: str, environment: Mapping[str, str]
) -> FastObjects:
    """As botocore reaches a bucket, with the session's credentials.

    `listed` gives URL and signature of the last listing's request.
    """
    return FastObjects(partial(_made, session, listed, bucket, environment))


def _made(
    session: Any, listed: Callable[[], tuple[str, str]], bucket: str, environment: Mapping[str, str]
) -> Get | None:
    place = Place.of(bucket, *listed())
    if place is None:
        return None

    def keys() -> Any:
        return session.get_credentials().get_frozen_credentials()

    own = None if environment.get("LEASTPRIV_S3_CLIENT") == "urllib3" else _by_obstore(bucket, place, keys)
    return own or by_urllib3(place, keys, environment, AT_ONCE)


def _by_obstore(bucket: str, place: Place, keys: Callable[[], Any]) -> Get | None:
    try:
        import obstore
        from obstore.store import S3Store
    except ImportError:
        return None

    def credentials() -> Any:
        found = keys()
        return {
            "access_key_id": found.access_key,
            "secret_access_key": found.secret_key,
            "token": found.token,
            "expires_at": datetime.now(UTC) + _AGAIN,
        }

    try:
        store = S3Store(
            bucket,
            region=place.region,
            endpoint=f"{place.scheme}://{place.host}",
            virtual_hosted_style_request=place.top == "/",
            client_options={"allow_http": place.scheme == "http", "timeout": _SECONDS},
            retry_config={"max_retries": 0},
            credential_provider=credentials,
        )
    except Exception:  # an endpoint or a proxy that it does not understand
        return None

    def get(key: str) -> tuple[bytes, str] | None:
        answer = obstore.get(store, key)
        return bytes(answer.bytes()), answer.meta.get("e_tag") or ""

    return get
