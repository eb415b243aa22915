"""Creates AWS sessions and clients: the only module that loads credentials and regions.

Keys, region, profile, endpoints and the number of attempts come from the environment argument.
Where it has no keys (web identity, container and instance roles, a profile's files) botocore reads
the process environment.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from msgspec import Struct

from leastpriv import __version__
from leastpriv.aws.errors import (
    credentials_error,
    no_credentials_error,
    required_member,
    translate_errors,
    translate_missing_members,
)
from leastpriv.aws.s3_objects import FastObjectClient, ListingRequest, fast_object_client
from leastpriv.errors import AwsError, AwsErrorKind, InputError, LeastprivError

_ATTEMPTS = 6
"""Attempts per request, the first included; AWS_MAX_ATTEMPTS overrides it. Pauses double, up to 20
seconds.
"""
_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_CONNECTIONS = 128
_RATE_LIMITED_SERVICES = frozenset({"cloudtrail"})
"""Services with a low request limit, for which the client throttles its requests (retry mode
`adaptive`).
"""

_NAMES_OF_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)  # fmt: skip


class Aws:
    """One set of credentials and its clients, each created once; safe to use from several
    threads.
    """

    def __init__(self, session: Any, environment: Mapping[str, str], region: str) -> None:
        """Takes a boto3 session with its credentials; `Aws.open` makes one."""
        self._session = session
        self._environment = environment
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self._caller = ""
        self._listing = ListingRequest("", "")
        self.region = region
        """AWS_REGION, else AWS_DEFAULT_REGION, else the profile's; empty where none is set."""

    @classmethod
    def open(
        cls,
        environment: Mapping[str, str],
        purpose: str = "reading the evidence",
        otherwise: str = "",
    ) -> Aws:
        """Loads credentials without a request to AWS.

        Args:
            environment: the environment variables.
            purpose: what the credentials are for, as quoted in an error.
            otherwise: the region where neither the environment nor the profile has one.

        Raises:
            AwsError: there are no credentials, or the profile that the environment names does not
                exist.
        """
        from boto3 import Session
        from botocore.exceptions import BotoCoreError, ProfileNotFound
        from botocore.session import Session as Core

        core = Core()
        keys = {
            name: environment.get(f"AWS_{name.upper()}", "")
            for name in ("access_key_id", "secret_access_key")
        }
        profile = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or None
        # Keys in the environment take precedence over the profile it names ("Credential provider
        # chain" of the AWS SDKs and Tools Reference Guide, read 2026-11-24), which may not exist:
        # ~/.aws is not visible in a container.
        core.set_config_variable("profile", None if all(keys.values()) else profile)
        try:
            if all(keys.values()):
                core.set_credentials(*keys.values(), environment.get("AWS_SESSION_TOKEN") or None)
            region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
            session = Session(botocore_session=core, region_name=region or None)
            credentials = session.get_credentials()
        except ProfileNotFound:
            sentence = (
                f"AWS_PROFILE is {profile!r}, and there is no such profile here: an action's"
                " container has no ~/.aws. In a workflow, use"
                " aws-actions/configure-aws-credentials, which sets keys for the steps after it;"
                " on a shell, name one that `aws configure list-profiles` shows."
            )
            raise AwsError(sentence, AwsErrorKind.NO_CREDENTIALS) from None
        except (BotoCoreError, ValueError) as error:
            raise credentials_error(error, purpose) from error
        if credentials is None:
            raise no_credentials_error(purpose)
        return cls(session, environment, region or session.region_name or otherwise)

    @property
    def partition(self) -> str:
        """`aws`, `aws-cn`, `aws-us-gov` …, by the region; `aws` without a region."""
        return str(self._session.get_partition_for_region(self.region)) if self.region else "aws"

    def regions(self, service: str) -> tuple[str, ...]:
        """All regions of the partition with a service, from botocore's data; some may be disabled
        in the account.
        """
        return tuple(self._session.get_available_regions(service, partition_name=self.partition))

    def enabled_regions(self) -> tuple[str, ...]:
        """All regions that are enabled in the account, sorted; one request per call; raises
        AwsError.
        """
        activity = "asking which regions the account has enabled"
        region_pages = pages(
            self.client("account"), "list_regions", activity, "account:ListRegions"
        )
        regions = [region for page in region_pages for region in page.get("Regions") or ()]
        names = (
            region.get("RegionName")
            for region in regions
            if region.get("RegionOptStatus") != "DISABLED"
        )
        enabled = sorted(filter(None, names))
        if not enabled:
            raise AwsError(f"AWS gave no answer while {activity}.", AwsErrorKind.INCOMPLETE)
        return tuple(enabled)

    def client(self, service: str, region: str = "") -> Any:
        """Returns the client of a service, created once per region; `region` defaults to the
        environment's.

        Raises InputError where no region is set, or it does not exist, and AwsError where the
        client cannot be created.
        """
        client_region = region or self.region
        if not client_region:
            raise InputError(
                "No AWS region is known: set AWS_REGION; for event history, the input aws-regions"
                " will do."
            )
        with self._lock:
            if (service, client_region) not in self._clients:
                self._clients[service, client_region] = self._made(service, client_region)
            return self._clients[service, client_region]

    def fast_object_client(self, bucket: str) -> FastObjectClient | None:
        """Returns a faster client for objects, once `client("s3")` has listed the bucket; `None` if
        there is none.
        """
        return fast_object_client(self._session, lambda: self._listing, bucket, self._environment)

    def caller(self) -> str:
        """ARN of the credentials' principal; one request (`sts:GetCallerIdentity`, which needs no
        permission).
        """
        if not self._caller:
            client = self.client("sts")
            with translate_errors("asking whose credentials these are", "sts:GetCallerIdentity"):
                self._caller = str(
                    required_member(client.get_caller_identity(), "asking who calls", "Arn")
                )
        return self._caller

    def account(self) -> str:
        """Account of the credentials; empty where AWS's response lacks it. Raises the errors of
        `caller`.
        """
        return ":".join(self.caller().split(":")[4:5])

    @property
    def is_temporary(self) -> bool:
        """Whether the credentials are those of a session, which STS issued."""
        credentials = self._session.get_credentials() if self._session else None
        return bool(credentials and credentials.get_frozen_credentials().token)

    def _made(self, service: str, region: str) -> Any:
        """Creates a client of boto3 with our timeouts, attempts and user agent; raises AwsError."""
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        attempts = self._environment.get("AWS_MAX_ATTEMPTS", "")
        config = Config(
            retries={
                "mode": "adaptive" if service in _RATE_LIMITED_SERVICES else "standard",
                "total_max_attempts": (
                    int(attempts)
                    if re.fullmatch(r"[1-9]\d?|100", attempts, re.ASCII)
                    else _ATTEMPTS
                ),
            },
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            max_pool_connections=_CONNECTIONS,
            user_agent_extra=f"leastpriv/{__version__}",
        )
        try:
            client = self._session.client(
                service,
                region_name=region,
                endpoint_url=_endpoint(self._environment, service),
                config=config,
            )
            client.meta.events.register("before-parse", _reject_unreadable_answer)
            if service == "s3":
                client.meta.events.register("before-send.s3.ListObjectsV2", self._note_listing)
            return client
        except (BotoCoreError, ValueError) as error:
            raise AwsError(
                f"AWS {service} cannot be called in {region!r}: {error}", AwsErrorKind.OTHER
            ) from error

    def _note_listing(self, request: Any, **_: object) -> None:
        """Stores a listing request; botocore sends it."""
        authorization = request.headers.get("Authorization", "")
        if isinstance(authorization, bytes):
            authorization = authorization.decode()
        self._listing = ListingRequest(str(request.url), authorization)


def web_identity_environment(
    environment: Mapping[str, str], role: str, token: str, region: str
) -> dict[str, str]:
    """Assumes a role with an OIDC token; returns the environment with its credentials; raises
    AwsError.
    """
    from boto3 import Session
    from botocore import UNSIGNED
    from botocore.config import Config

    with translate_errors(f"assuming {role}", "sts:AssumeRoleWithWebIdentity"):
        client = Session(region_name=region).client(
            "sts",
            endpoint_url=_endpoint(environment, "sts"),
            config=Config(signature_version=UNSIGNED),
        )
        answer = client.assume_role_with_web_identity(
            RoleArn=role, RoleSessionName="leastpriv-check", WebIdentityToken=token
        )
    return _with_keys(environment, answer, role, region)


def assumed_environment(aws: Aws, environment: Mapping[str, str], role: str) -> dict[str, str]:
    """Assumes a role with other credentials; returns the environment with its own; raises
    AwsError.
    """
    client = aws.client("sts")
    with translate_errors(f"assuming {role}", "sts:AssumeRole"):
        answer = client.assume_role(RoleArn=role, RoleSessionName="leastpriv-check")
    return _with_keys(environment, answer, role, aws.region)


def _with_keys(
    environment: Mapping[str, str], answer: Mapping[str, Any], role: str, region: str
) -> dict[str, str]:
    with translate_missing_members(f"assuming {role}"):
        keys = answer["Credentials"]
        return {
            **environment,
            "AWS_REGION": region,
            "AWS_ACCESS_KEY_ID": str(keys["AccessKeyId"]),
            "AWS_SECRET_ACCESS_KEY": str(keys["SecretAccessKey"]),
            "AWS_SESSION_TOKEN": str(keys["SessionToken"]),
        }


def _endpoint(environment: Mapping[str, str], service: str) -> str | None:
    """Returns the configured endpoint of a service; None: botocore's default.

    The variable's suffix is the service id in capitals ("Service-specific endpoints" of the AWS
    SDKs guide): the client's name with `_` for `-`, except for Access Analyzer (`ACCESSANALYZER`),
    whose id has no hyphen.
    """
    if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    service_endpoint = environment.get(f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}")
    return service_endpoint or environment.get("AWS_ENDPOINT_URL") or None


_HTML = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!doctype html|<html)", re.IGNORECASE)


def _is_of_aws(operation: Any, response: Mapping[str, Any]) -> bool:
    """Whether a response has the form of its protocol, and an error of a JSON protocol its code."""
    body = response["body"]
    protocol = operation.service_model.resolved_protocol
    is_error = response["status_code"] >= 300
    if "json" in protocol:
        return _is_json_of_aws(body, response["headers"], is_error=is_error)
    if _HTML.match(body):
        return False
    if is_error:
        return body.strip()[:1] in (b"", b"<")
    shape = operation.output_shape if protocol == "query" else None
    wrapper = shape.serialization.get("resultWrapper", "") if shape else ""
    return f"<{wrapper}".encode() in body or not wrapper


def _is_json_of_aws(body: bytes, headers: Mapping[str, str], *, is_error: bool) -> bool:
    """Whether a body is an object, and that of an error has a code in it or in its headers."""
    try:
        answer = json.loads(body or b"{}")
    except ValueError:
        return False
    if not is_error:
        return isinstance(answer, dict)
    if "x-amzn-errortype" in headers:
        return True
    return isinstance(answer, dict) and not answer.keys().isdisjoint(("__type", "code", "Code"))


def _reject_unreadable_answer(operation_model: Any, response_dict: Any, **_: object) -> None:
    """Rejects a truncated response and a page of a proxy, which botocore parses as JSON without
    members (1.44.8).

    botocore repeats the request after a page with the status of a server error or of throttling.
    """
    from botocore.exceptions import IncompleteReadError
    from botocore.parsers import ResponseParserError

    body = response_dict["body"]
    if not isinstance(body, bytes):
        return
    headers = response_dict["headers"]
    length = str(headers.get("Content-Length", ""))
    is_plain = not headers.get("Content-Encoding") and operation_model.http["method"] != "HEAD"
    if is_plain and length.isdigit() and len(body) < int(length):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=int(length))
    status = response_dict["status_code"]
    is_repeated = status >= 500 or status == 429
    if not is_repeated and not _is_of_aws(operation_model, response_dict):
        raise ResponseParserError(f"a page with the HTTP status {status}")


def pages(
    client: Any, operation: str, doing: str, action: str, **arguments: Any
) -> Iterator[Mapping[str, Any]]:
    """Yields the pages of a listing; raises AwsError, also where a page names itself, or no page,
    as the next.
    """
    with translate_errors(doing, action):
        for page in client.get_paginator(operation).paginate(**arguments):
            yield page
            if page.get("IsTruncated"):
                required_member(page, doing, "Marker")


def other_regions(regions: Sequence[str]) -> tuple[str, ...]:
    """Returns the other regions of the same partition, from botocore's data."""
    from botocore.session import get_session

    session = get_session()
    partition = session.get_partition_for_region(regions[0])
    return tuple(
        region
        for region in session.get_available_regions("cloudtrail", partition)
        if region not in regions
    )


def method_name(operation: str) -> str:
    """Returns the name of an API operation's method on a boto3 client."""
    from botocore import xform_name

    return str(xform_name(operation))


class AwsSession:
    """AWS with the credentials of an environment, opened at the first use."""

    def __init__(
        self, environment: Mapping[str, str], now: datetime, regions: Sequence[str] = ()
    ) -> None:
        """`regions`: those of the inputs; the first is used where the environment names none."""
        self.environment = environment
        self.regions = regions
        self._opened: Aws | LeastprivError | None = None
        self.now = now
        self.base = self
        """The session of the run's own credentials: this one, or the one that assumed its role."""

    @property
    def has_credentials(self) -> bool:
        """Whether the environment names credentials: where it does not, looking for them takes
        seconds.
        """
        return any(self.environment.get(name) for name in _NAMES_OF_CREDENTIALS)

    def aws(self) -> Aws:
        """Returns the clients, with credentials that AWS has accepted.

        Raises:
            AwsError: there are no credentials, they are not valid, or AWS cannot be reached; the
                same at every call.
            InputError: no region is known.
        """
        if self._opened is None:
            self._opened = self._open()
        if isinstance(self._opened, LeastprivError):
            raise self._opened
        return self._opened

    @property
    def opened(self) -> Aws | None:
        """The clients, if this run has opened them already."""
        return None if isinstance(self._opened, LeastprivError) else self._opened

    def _open(self) -> Aws | LeastprivError:
        try:
            aws = Aws.open(self.environment, otherwise=next(iter(self.regions), ""))
            aws.caller()
            return aws
        except LeastprivError as error:
            return error


_log = logging.getLogger(__name__)

_Found = TypeVar("_Found")
_SAY_AFTER = timedelta(seconds=20)


class Polling(Struct, frozen=True):
    """How to wait, and how long; the caller supplies clock and sleep."""

    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    """Seconds."""
    longest: timedelta = timedelta(minutes=15)
    first: float = 1.0
    """Seconds before the second request; each further pause is 1.5 times as long."""
    most: float = 30.0

    def until(self, ask: Callable[[], _Found | None], what: str) -> _Found | None:
        """Repeats the request until there is an answer; None after `longest`."""
        began = self.clock()
        pause, last_message = self.first, began
        while (answer := ask()) is None:
            now = self.clock()
            if now - began >= self.longest:
                return None
            if now - last_message >= _SAY_AFTER:
                last_message = now
                _log.info(f"… waiting for {what} for {(now - began).total_seconds():.0f} s")
            self.sleep(pause)
            pause = min(pause * 1.5, self.most)
        return answer
