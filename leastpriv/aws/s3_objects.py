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


class FetchedObject(Struct, frozen=True):
    """An object of a bucket as S3 answers it."""

    content: bytes
    etag: str


Get = Callable[[str], FetchedObject]
"""Returns an object by its key; raises any error."""


class ListingRequest(Struct, frozen=True):
    """The last request of a listing."""

    url: str
    authorization: str
    """Its header `Authorization`."""


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
    def of(cls, bucket: str, listing: ListingRequest) -> BucketEndpoint | None:
        """Reads the endpoint from the request of a listing; `None` for another bucket or another
        signature.
        """
        scope = _SCOPE.match(listing.authorization)
        if scope is None:
            return None
        parts = urlsplit(listing.url)
        is_in_host = parts.netloc.startswith(f"{bucket}.") and parts.path in ("", "/")
        is_in_path = parts.path in (f"/{bucket}", f"/{bucket}/")
        if not is_in_host and not is_in_path:
            return None
        return cls(f"{parts.scheme}://{parts.netloc}", is_in_host, scope["region"])


class FastObjectClient:
    """Fetches objects of one bucket; safe to use from several threads.

    After `_MOST_FAILURES` failures in a row it pauses: botocore reads the next objects, and only
    each `_PAUSE`-th one is tried here, until one succeeds.
    """

    def __init__(self, make: Callable[[], Get | None]) -> None:
        """`make` is called with the first object, after botocore has listed the bucket."""
        self._make = make
        self._get: Get | None = None
        self._is_made = False
        self._failures = 0
        """Number of requests that failed one after another."""
        self._skipped = 0
        """Number of objects of the pause since the last request."""
        self._lock = threading.Lock()

    def fetch(self, key: str, etag: str, size: int) -> bytes | None:
        """Returns the bytes of an object that is unchanged since its listing; `None` where the
        request failed or a pause leaves the object to botocore.
        """
        get = self._get_unless_paused()
        if get is None:
            return None
        content = None
        try:
            fetched = get(key)
            if fetched.etag == etag and len(fetched.content) == size:
                content = fetched.content
        except Exception:  # noqa: S110 - botocore repeats the request and reports the error
            pass
        self._count_request(succeeded=content is not None)
        return content

    def _count_request(self, *, succeeded: bool) -> None:
        """Ends the pause after a success, and begins its count again after a failure."""
        with self._lock:
            self._failures = 0 if succeeded else self._failures + 1
            self._skipped = 0

    def _get_unless_paused(self) -> Get | None:
        """Returns what gets an object; `None` where obstore does not support the bucket, and for
        all objects of a pause but each `_PAUSE`-th.
        """
        with self._lock:
            if not self._is_made:
                self._get = self._make()
                self._is_made = True
            if self._failures < _MOST_FAILURES:
                return self._get
            self._skipped += 1
            return self._get if self._skipped % _PAUSE == 0 else None


def fast_object_client(
    session: Any,
    listing: Callable[[], ListingRequest],
    bucket: str,
    environment: Mapping[str, str],
) -> FastObjectClient | None:
    """Creates a client for a bucket with the session's credentials; `None` where obstore is missing
    or switched off.

    `listing` returns the request of the last listing.
    """
    if environment.get("LEASTPRIV_S3_CLIENT") == "boto3":
        return None
    try:
        import obstore  # noqa: F401 - whether it is installed
    except ImportError:
        return None
    return FastObjectClient(partial(_obstore_getter, session, listing, bucket))


def _obstore_getter(session: Any, listing: Callable[[], ListingRequest], bucket: str) -> Get | None:
    """Returns what gets an object through obstore; None for an endpoint or a proxy that obstore
    does not support.
    """
    import obstore
    from obstore.store import S3Store

    endpoint = BucketEndpoint.of(bucket, listing())
    if endpoint is None:
        return None

    def credentials() -> Any:
        keys = session.get_credentials().get_frozen_credentials()
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
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
    except Exception:
        return None

    def get(key: str) -> FetchedObject:
        answer = obstore.get(store, key)
        return FetchedObject(bytes(answer.bytes()), answer.meta.get("e_tag") or "")

    return get
