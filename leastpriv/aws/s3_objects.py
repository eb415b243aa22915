"""Objects of S3 by a faster client than botocore, which needs more than a millisecond of Python for each.

obstore, where it is installed, works outside of Python's lock; else urllib3 does with requests that are signed here. It
only ever speeds up: whatever is not given at once, whole and unchanged, is asked of botocore anew, which repeats,
follows a bucket's region and tells what is wrong.

Objects of a page of ListObjectsV2, taken from the answer before botocore parses it (pure).

botocore takes 70 ms for the thousand objects of a page, most of it for their times, which nobody reads; key, ETag and
size are had in 5. Requests, retries, errors and the rest of the page stay botocore's.

Objects of S3 by signed GETs of our own, over urllib3: a third of the work that botocore has with each.

Nothing is repeated, followed or explained here: what does not come at once is asked of botocore. Signing as in
"Authenticating Requests (AWS Signature Version 4)" of the S3 API reference, read 2026-11; tests hold it to botocore's.
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
_NOTHING = hashlib.sha256(b"").hexdigest()
_STATUS_OK = 200
_CONNECT_SECONDS = 10
_READ_SECONDS = 20


class Keys(Protocol):
    """Credentials of a moment, as botocore freezes them."""

    access_key: str
    secret_key: str
    token: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bucket's objects are, whatever rules, settings and redirections have led there."""

    scheme: str
    host: str
    """With the port, where it is not the usual one; begins with the bucket's name unless `top` does."""
    top: str
    """What stands in a path before the key: `/` or `/BUCKET/`."""
    region: str

    @classmethod
    def of(cls, bucket: str, url: str, authorization: str) -> Place | None:
        """As the request of a listing of the bucket tells; `None` where it was another's or signed in another way."""
        parts, scope = urlsplit(url), _SCOPE.match(authorization)
        tops = {f"/{bucket}": f"/{bucket}/", f"/{bucket}/": f"/{bucket}/"}
        if parts.netloc.startswith(f"{bucket}."):
            tops |= {"": "/", "/": "/"}
        if scope is None or parts.path not in tops:
            return None
        return cls(parts.scheme, parts.netloc, tops[parts.path], scope["region"])


def signed(place: Place, path: str, keys: Keys, now: time.struct_time) -> dict[str, str]:
    """The headers of a GET of a path, which is encoded already."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", now)
    scope = f"{moment[:8]}/{place.region}/s3/aws4_request"
    headers = {"host": place.host, "x-amz-content-sha256": _NOTHING, "x-amz-date": moment}
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    names = ";".join(headers)
    told = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = hashlib.sha256(f"GET\n{path}\n\n{told}\n{names}\n{_NOTHING}".encode()).hexdigest()
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


def by_urllib3(
    place: Place, keys: Callable[[], Keys], environment: Mapping[str, str], at_once: int
) -> Callable[[str], tuple[bytes, str] | None] | None:
    """What gets an object's bytes and ETag by its key; raises whatever goes wrong. `None` behind a proxy."""
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
        # As botocore; what a profile says of certificates is botocore's alone, and so are the objects then.
        own = environment.get("AWS_CA_BUNDLE") or environment.get("REQUESTS_CA_BUNDLE")
        settings |= {"cert_reqs": "CERT_REQUIRED", "ca_certs": own or get_cert_path(True)}
    pool = urllib3.connection_from_url(f"{place.scheme}://{place.host}", **settings)

    def get(key: str) -> tuple[bytes, str] | None:
        path = place.top + quote(key, safe="/~")
        headers = {**signed(place, path, keys(), time.gmtime()), "user-agent": f"leastpriv/{__version__}"}
        # CloudTrail's objects say that they are encoded: the bytes are wanted as they are.
        answer = pool.urlopen("GET", path, headers=headers, retries=False, decode_content=False)
        return (answer.data, answer.headers.get("ETag", "")) if answer.status == _STATUS_OK else None

    return get


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


_BEGIN, _END = b"<Contents>", b"</Contents>"
_OK = 200


def take_contents(
    response_dict: MutableMapping[str, Any], customized_response_dict: MutableMapping[str, Any], **_: object
) -> None:
    """Handles botocore's event `before-parse` of ListObjectsV2: moves a page's objects to what botocore answers.

    Where a page is not whole, or not as S3 writes it, nothing is moved and botocore parses it all.
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
    """Objects as botocore's own answer has them, their sizes as text; `None` where one of them is odd."""
    try:
        # botocore reads the same bytes by the same parser.
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
