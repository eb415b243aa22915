"""Reads objects of S3 faster than botocore, which needs more than a millisecond of Python for each.

obstore, where it is installed, works without Python's lock; otherwise urllib3 sends requests that this module signs
(a third of botocore's work). Both are only an optimization: an object that does not arrive at once, complete and
unchanged, is requested again by botocore, which retries, follows a bucket's region and explains errors. Signing as in
"Authenticating Requests (AWS Signature Version 4)" of the S3 API reference, read 2026-11; tests compare it with
botocore's.

botocore also takes 70 ms to parse the thousand objects of a ListObjectsV2 page, most of it for times that are not used.
`parse_listing` reads key, ETag and size in 5 ms; botocore parses the rest of the page.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Protocol
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from leastpriv import __version__

_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/(?P<region>[a-z0-9-]+)/s3/aws4_request,")
_EMPTY_HASH = hashlib.sha256(b"").hexdigest()
_STATUS_OK = 200
_CONNECT_SECONDS = 10
_READ_SECONDS = 20


class Keys(Protocol):
    """Credentials at one point in time, as botocore freezes them."""

    access_key: str
    secret_key: str
    token: str | None


@dataclass(frozen=True, slots=True)
class BucketEndpoint:
    """Endpoint and region of a bucket's objects, after endpoint rules, settings and redirections."""

    scheme: str
    host: str
    """With a non-default port; begins with the bucket's name unless `top` contains it."""
    top: str
    """Start of the path before the key: `/` or `/BUCKET/`."""
    region: str

    @classmethod
    def of(cls, bucket: str, url: str, authorization: str) -> BucketEndpoint | None:
        """Reads the endpoint from the request of a listing; `None` for another bucket or another signature."""
        parts, scope = urlsplit(url), _SCOPE.match(authorization)
        tops = {f"/{bucket}": f"/{bucket}/", f"/{bucket}/": f"/{bucket}/"}
        if parts.netloc.startswith(f"{bucket}."):
            tops |= {"": "/", "/": "/"}
        if scope is None or parts.path not in tops:
            return None
        return cls(parts.scheme, parts.netloc, tops[parts.path], scope["region"])


def signed_headers(place: BucketEndpoint, path: str, keys: Keys, now: time.struct_time) -> dict[str, str]:
    """Returns the headers of a GET request; `path` is encoded already."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", now)
    scope = f"{moment[:8]}/{place.region}/s3/aws4_request"
    headers = {"host": place.host, "x-amz-content-sha256": _EMPTY_HASH, "x-amz-date": moment}
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    names = ";".join(headers)
    told = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = hashlib.sha256(f"GET\n{path}\n\n{told}\n{names}\n{_EMPTY_HASH}".encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{request}"
    signature = hmac.digest(_key(keys.secret_key, scope), to_sign.encode(), "sha256").hex()
    credential = f"{keys.access_key}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return headers


@lru_cache(maxsize=4)
def _key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def urllib3_getter(
    place: BucketEndpoint, keys: Callable[[], Keys], environment: Mapping[str, str], at_once: int
) -> Callable[[str], tuple[bytes, str] | None] | None:
    """Returns a function that gets an object's bytes and ETag by key, and raises any error; `None` behind a proxy."""
    import urllib3
    from botocore.httpsession import get_cert_path
    from botocore.utils import get_environ_proxies

    if get_environ_proxies(f"{place.scheme}://{place.host}"):
        return None
    settings: dict[str, Any] = {
        "maxsize": at_once,
        "timeout": urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
    }
    if place.scheme == "https":
        # Like botocore, except for certificates of a profile: these requests fail, and botocore repeats them.
        own = environment.get("AWS_CA_BUNDLE") or environment.get("REQUESTS_CA_BUNDLE")
        settings |= {"cert_reqs": "CERT_REQUIRED", "ca_certs": own or get_cert_path(True)}
    pool = urllib3.connection_from_url(f"{place.scheme}://{place.host}", **settings)

    def get(key: str) -> tuple[bytes, str] | None:
        path = place.top + quote(key, safe="/~")
        headers = {**signed_headers(place, path, keys(), time.gmtime()), "user-agent": f"leastpriv/{__version__}"}
        # CloudTrail's objects have a Content-Encoding; keep the bytes as stored.
        answer = pool.urlopen("GET", path, headers=headers, retries=False, decode_content=False)
        return (answer.data, answer.headers.get("ETag", "")) if answer.status == _STATUS_OK else None

    return get


CONCURRENT_GETS = 64
"""Best number of concurrent requests, where S3 answers after some 30 ms (measured 2026-11)."""
_MOST_FAILURES = 3
"""Failures in a row after which botocore reads the next objects."""
_PAUSE = 500
"""Number of objects that botocore reads before the next attempt."""
_SECONDS = "20s"
_CREDENTIALS_REFRESH = timedelta(minutes=5)
"""After this time the session returns its credentials again, renewed where they expire."""

Get = Callable[[str], tuple[bytes, str] | None]
"""Returns bytes and ETag of an object by its key; raises any error."""


class FastObjectClient:
    """Fetches objects of one bucket; safe to use from several threads."""

    def __init__(self, make: Callable[[], Get | None]) -> None:
        """`make` is called with the first object, after the bucket has been listed."""
        self._make = make
        self._get: Get | None = None
        self._is_made = False
        self._failures = 0
        self._left_out = 0
        self._lock = threading.Lock()

    def fetch(self, key: str, etag: str, size: int) -> bytes | None:
        """Returns the bytes of an object that is unchanged since its listing; `None` where the request failed."""
        get = self._ready()
        if get is None:
            return None
        found = None
        try:
            answer = get(key)
            if answer and answer[1] == etag and len(answer[0]) == size:
                found = answer[0]
        except Exception:  # noqa: S110 - botocore repeats the request and reports the error
            pass
        with self._lock:
            self._failures = 0 if found is not None else self._failures + 1
            self._left_out = 0
        return found

    def _ready(self) -> Get | None:
        """Returns the getter; `None` where there is none, or after too many failures."""
        with self._lock:
            if not self._is_made:
                self._get, self._is_made = self._make(), True
            if self._failures < _MOST_FAILURES:
                return self._get
            self._left_out += 1
            return self._get if self._left_out % _PAUSE == 0 else None


def fast_object_client(
    session: Any, listed: Callable[[], tuple[str, str]], bucket: str, environment: Mapping[str, str]
) -> FastObjectClient:
    """Creates a client for a bucket with the session's credentials.

    `listed` returns URL and signature of the last listing's request.
    """
    return FastObjectClient(partial(_made, session, listed, bucket, environment))


def _made(
    session: Any, listed: Callable[[], tuple[str, str]], bucket: str, environment: Mapping[str, str]
) -> Get | None:
    place = BucketEndpoint.of(bucket, *listed())
    if place is None:
        return None

    def keys() -> Any:
        return session.get_credentials().get_frozen_credentials()

    own = None if environment.get("LEASTPRIV_S3_CLIENT") == "urllib3" else _obstore_getter(bucket, place, keys)
    return own or urllib3_getter(place, keys, environment, CONCURRENT_GETS)


def _obstore_getter(bucket: str, place: BucketEndpoint, keys: Callable[[], Any]) -> Get | None:
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
            "expires_at": datetime.now(UTC) + _CREDENTIALS_REFRESH,
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
    except Exception:  # an endpoint or a proxy that obstore does not support
        return None

    def get(key: str) -> tuple[bytes, str] | None:
        answer = obstore.get(store, key)
        return bytes(answer.bytes()), answer.meta.get("e_tag") or ""

    return get


_BEGIN, _END = b"<Contents>", b"</Contents>"
_OK = 200


def parse_listing(
    response_dict: MutableMapping[str, Any], customized_response_dict: MutableMapping[str, Any], **_: object
) -> None:
    """Handles botocore's event `before-parse` of ListObjectsV2: takes a page's objects out of the body before parsing.

    An incomplete page, or one in another format than S3's, is left to botocore.
    """
    body, headers = response_dict["body"], response_dict["headers"]
    if response_dict["status_code"] != _OK or str(headers.get("Content-Length", len(body))) != str(len(body)):
        return
    begin, end = body.find(_BEGIN), body.rfind(_END) + len(_END)
    found = _contents(body[begin:end]) if 0 <= begin < end else None
    if found is not None:
        customized_response_dict["Contents"] = found
        response_dict["body"] = body[:begin] + body[end:]
        headers["Content-Length"] = str(len(response_dict["body"]))


def _contents(body: bytes) -> list[dict[str, str]] | None:
    """Parses the objects as botocore returns them, with sizes as text; `None` where one is malformed."""
    try:
        # botocore parses the same bytes with the same parser.
        elements = list(ElementTree.fromstring(b"<Page>%b</Page>" % body))  # noqa: S314
    except ElementTree.ParseError:
        return None
    found = [
        {"Key": each.findtext("Key", ""), "ETag": each.findtext("ETag", ""), "Size": each.findtext("Size", "")}
        for each in elements
        if each.tag == "Contents"
    ]
    is_whole = len(found) == len(elements) and all(each["Key"] and each["Size"].isdigit() for each in found)
    return found if is_whole else None
