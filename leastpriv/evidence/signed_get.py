"""Objects of S3 by signed GETs of our own, over urllib3: a third of the work that botocore has with each.

Nothing is repeated, followed or explained here: what does not come at once is asked of botocore. Signing as in
"Authenticating Requests (AWS Signature Version 4)" of the S3 API reference, read 2026-11; tests hold it to botocore's.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from leastpriv import __version__

_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/(?P<region>[a-z0-9-]+)/s3/aws4_request,")
_NOTHING = hashlib.sha256(b"").hexdigest()
_OK = 200
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
        return (answer.data, answer.headers.get("ETag", "")) if answer.status == _OK else None

    return get
