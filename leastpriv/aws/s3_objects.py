"""Reads objects of S3 by obstore, which works without Python's lock.

botocore needs more than a millisecond of Python for each object. obstore is only an optimization:
botocore is asked again for what it does not answer, completely and unchanged, because botocore
retries, follows a bucket's region and explains errors. Listings are botocore's: obstore does not
report one that AWS cut off.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

_SCOPE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/(?P<region>[a-z0-9-]+)/s3/aws4_request,"
)
CONCURRENT_GETS = 128
"""Best number of concurrent requests, where S3 answers after some 30 ms (measured 2026-11)."""
_MOST_FAILURES = 3
"""Failures in a row after which botocore reads the next objects."""
_PAUSE = 500
"""Number of objects that botocore reads before the next attempt."""
_SECONDS = "20s"
_CREDENTIALS_REFRESH = timedelta(minutes=5)
"""After this time the session returns its credentials again, renewed where they expire."""
Get = Callable[[str], tuple[bytes, str]]
"""Returns bytes and ETag of an object by its key; raises any error."""


class BucketEndpoint(Struct, frozen=True):
    """Endpoint and region of a bucket's objects, after endpoint rules, settings and
    redirections.
    """

    url: str
    """Scheme and host, with a non-default port."""
    is_in_host: bool
    """The host begins with the bucket's name; otherwise the path does."""
    region: str

    @classmethod
    def of(cls, bucket: str, url: str, authorization: str) -> BucketEndpoint | None:
        """Reads the endpoint from the request of a listing; `None` for another bucket or another
        signature.
        """
        parts, scope = urlsplit(url), _SCOPE.match(authorization)
        is_in_host = parts.netloc.startswith(f"{bucket}.") and parts.path in ("", "/")
        if scope is None or not (is_in_host or parts.path in (f"/{bucket}", f"/{bucket}/")):
            return None
        return cls(f"{parts.scheme}://{parts.netloc}", is_in_host, scope["region"])


class FastObjectClient:
    """Fetches objects of one bucket; safe to use from several threads."""

    def __init__(self, make: Callable[[], Get | None]) -> None:
        """`make` is called with the first object, after botocore has listed the bucket."""
        self._make = make
        self._get: Get | None = None
        self._is_made = False
        self._failures = 0
        self._left_out = 0
        self._lock = threading.Lock()

    def fetch(self, key: str, etag: str, size: int) -> bytes | None:
        """Returns the bytes of an object that is unchanged since its listing; `None` where the
        request failed.
        """
        with self._lock:
            if not self._is_made:
                self._get, self._is_made = self._make(), True
            self._left_out += self._failures >= _MOST_FAILURES
            get = self._get if self._left_out % _PAUSE == 0 else None
        if get is None:
            return None
        found = None
        try:
            content, tag = get(key)
            if tag == etag and len(content) == size:
                found = content
        except Exception:  # noqa: S110 - botocore repeats the request and reports the error
            pass
        with self._lock:
            self._failures = 0 if found is not None else self._failures + 1
            self._left_out = 0
        return found


def fast_object_client(
    session: Any, listed: Callable[[], tuple[str, str]], bucket: str, environment: Mapping[str, str]
) -> FastObjectClient | None:
    """Creates a client for a bucket with the session's credentials; `None` where obstore is missing
    or switched off.

    `listed` returns URL and signature of the last listing's request.
    """
    if environment.get("LEASTPRIV_S3_CLIENT") == "boto3":
        return None
    try:
        import obstore  # noqa: F401 - whether it is installed
    except ImportError:
        return None
    return FastObjectClient(partial(_obstore_getter, session, listed, bucket))


def _obstore_getter(session: Any, listed: Callable[[], tuple[str, str]], bucket: str) -> Get | None:
    import obstore
    from obstore.store import S3Store

    endpoint = BucketEndpoint.of(bucket, *listed())
    if endpoint is None:
        return None

    def credentials() -> Any:
        found = session.get_credentials().get_frozen_credentials()
        return {
            "access_key_id": found.access_key,
            "secret_access_key": found.secret_key,
            "token": found.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_REFRESH,
        }

    try:
        store = S3Store(
            bucket,
            region=endpoint.region,
            endpoint=endpoint.url,
            virtual_hosted_style_request=endpoint.is_in_host,
            client_options={"allow_http": endpoint.url.startswith("http:"), "timeout": _SECONDS},
            retry_config={"max_retries": 0},
            credential_provider=credentials,
        )
    except Exception:  # an endpoint or a proxy that obstore does not support
        return None

    def get(key: str) -> tuple[bytes, str]:
        answer = obstore.get(store, key)
        return bytes(answer.bytes()), answer.meta.get("e_tag") or ""

    return get
