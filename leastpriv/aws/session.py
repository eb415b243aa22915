"""The one place where sessions and clients of AWS are made: credentials and regions as a step or a shell has them.

Keys, region, profile, endpoints and the number of attempts are read from the environment that is handed in. Where that
holds no keys (web identity, container and instance roles, a profile's files) botocore looks at the process's own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from leastpriv import __version__
from leastpriv.aws.errors import credentials_error, explained, no_credentials
from leastpriv.errors import AwsError, AwsTrouble, InputError

if TYPE_CHECKING:
    from leastpriv.aws.s3_objects import FastObjects


_ATTEMPTS = 6
"""Of one request, the first included; AWS_MAX_ATTEMPTS says otherwise. Waits double between them, up to 20 seconds."""
_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_CONNECTIONS = 64
_TIMELY = frozenset({"cloudtrail"})
"""Services with so low a limit that the client slows itself down (retry mode `adaptive`)."""


class Aws:
    """One set of credentials; makes clients, each once. Safe to use from several threads."""

    def __init__(self, session: Any, environment: Mapping[str, str], region: str) -> None:
        """Use `Aws.open`."""
        self._session = session
        self._environment = environment
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self._caller = ""
        self._listed = ("", "")
        self.region = region
        """AWS_REGION, else AWS_DEFAULT_REGION, else the profile's; empty where none is set."""

    @classmethod
    def open(cls, environment: Mapping[str, str], purpose: str = "reading the evidence", otherwise: str = "") -> Aws:
        """Finds credentials; asks AWS nothing yet. `purpose` is what an error says that they are for.

        `otherwise`: the region where neither the environment nor the profile names one.

        Raises:
            AwsError: there are none, or the profile that the environment names is not here.
        """
        from boto3 import Session
        from botocore.exceptions import BotoCoreError, ProfileNotFound
        from botocore.session import Session as Core

        core = Core()
        keys = {name: environment.get(f"AWS_{name.upper()}", "") for name in ("access_key_id", "secret_access_key")}
        profile = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or None
        # Keys in the environment go before the profile it names ("Credential provider chain" of the AWS SDKs and Tools
        # Reference Guide, read 2026-11-24), which need not be here then: ~/.aws does not reach into a container.
        core.set_config_variable("profile", None if all(keys.values()) else profile)
        try:
            if all(keys.values()):
                core.set_credentials(*keys.values(), environment.get("AWS_SESSION_TOKEN") or None)
            region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
            session = Session(botocore_session=core, region_name=region or None)
            found = session.get_credentials()
        except ProfileNotFound:
            raise AwsError(_no_profile(str(profile)), AwsTrouble.NO_CREDENTIALS) from None
        except (BotoCoreError, ValueError) as error:
            raise credentials_error(error, purpose) from error
        if found is None:
            raise no_credentials(purpose)
        return cls(session, environment, region or session.region_name or otherwise)

    @property
    def partition(self) -> str:
        """`aws`, `aws-cn`, `aws-us-gov` …, by the region; `aws` where none is set."""
        return str(self._session.get_partition_for_region(self.region)) if self.region else "aws"

    def regions(self, service: str) -> tuple[str, ...]:
        """Every region of the partition with a service, as botocore knows; not all need be enabled for the account."""
        return tuple(self._session.get_available_regions(service, partition_name=self.partition))

    def enabled_regions(self) -> tuple[str, ...]:
        """Every region that the account has not switched off, or not switched on yet, sorted; asks AWS each time.

        Raises:
            AwsError: the credentials may not ask (`account:ListRegions`), or AWS does not tell.
        """
        doing = "asking which regions the account has enabled"
        client = self.client("account")
        with explained(doing, "account:ListRegions"):
            pages = list(client.get_paginator("list_regions").paginate())
        told = {
            each.get("RegionName"): each.get("RegionOptStatus") for page in pages for each in page.get("Regions") or ()
        }
        found = sorted(name for name, status in told.items() if name and status != "DISABLED")
        if not found:
            raise AwsError(f"AWS gave no answer while {doing}.", AwsTrouble.INCOMPLETE)
        return tuple(found)

    def client(self, service: str, region: str = "") -> Any:
        """A client of a service, made once per region; `region` empty is the environment's.

        Raises:
            InputError: no region is known, or there is no such region.
            AwsError: the client cannot be made.
        """
        where = region or self.region
        if not where:
            raise InputError(
                "No AWS region is known: set AWS_REGION; for event history, the input aws-regions will do."
            )
        with self._lock:
            if (service, where) not in self._clients:
                self._clients[service, where] = self._made(service, where)
            return self._clients[service, where]

    def fast_objects(self, bucket: str) -> FastObjects | None:
        """A faster way to the objects of a bucket, once `client("s3")` has listed it; `None` where nobody wants one."""
        from leastpriv.aws.s3_objects import fast_objects

        if self._environment.get("LEASTPRIV_S3_CLIENT") == "boto3":
            return None
        return fast_objects(self._session, lambda: self._listed, bucket, self._environment)

    def caller(self) -> str:
        """ARN of whoever these credentials are; asks AWS once (`sts:GetCallerIdentity`, which needs no permission).

        Raises:
            AwsError: the credentials are expired or unknown, or AWS cannot be reached.
        """
        if not self._caller:
            client = self.client("sts")
            with explained("asking whose credentials these are", "sts:GetCallerIdentity"):
                self._caller = str(client.get_caller_identity()["Arn"])
        return self._caller

    def account(self) -> str:
        """The account of these credentials; empty where AWS's answer does not tell. Asks, and raises, as `caller`."""
        return ":".join(self.caller().split(":")[4:5])

    def _made(self, service: str, region: str) -> Any:
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        from leastpriv.aws.s3_objects import take_contents

        config = Config(
            retries={
                "mode": "adaptive" if service in _TIMELY else "standard",
                "total_max_attempts": _number(self._environment, "AWS_MAX_ATTEMPTS", _ATTEMPTS),
            },
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            max_pool_connections=_CONNECTIONS,
            user_agent_extra=f"leastpriv/{__version__}",
        )
        try:
            client = self._session.client(
                service, region_name=region, endpoint_url=_endpoint(self._environment, service), config=config
            )
            client.meta.events.register("before-parse", _insist_on_whole)
            if service == "s3":
                # A wildcard in this place is called first: botocore's own handler would parse the whole page, to see
                # whether it is an error. In another order it only takes longer (1.44.8).
                client.meta.events.register("before-parse.*.ListObjectsV2", take_contents)
                client.meta.events.register("before-send.s3.ListObjectsV2", self._note_listing)
            return client
        except (BotoCoreError, ValueError) as error:
            raise AwsError(f"AWS {service} cannot be asked in {region!r}: {error}", AwsTrouble.OTHER) from error

    def _note_listing(self, request: Any, **_: object) -> None:
        """Keep where a bucket was found and how the request was signed; botocore sends it."""
        self._listed = (str(request.url), _text(request.headers.get("Authorization", "")))


def _text(value: str | bytes) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _endpoint(environment: Mapping[str, str], service: str) -> str | None:
    """Where a service is, if not at AWS's own address ("Service-specific endpoints" of the AWS SDKs guide).

    None: botocore decides. The name is the service's id in capitals, which for all that are asked here is its client's
    name with `_` for `-`, but for Access Analyzer (`ACCESSANALYZER`), whose id has no hyphen either.
    """
    if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    own = environment.get(f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}")
    return own or environment.get("AWS_ENDPOINT_URL") or None


def _insist_on_whole(operation_model: Any, response_dict: Any, **_: object) -> None:
    """Refuse an answer that broke off: botocore reads such JSON as an answer without members (1.44.8)."""
    from botocore.exceptions import IncompleteReadError

    headers, body = response_dict["headers"], response_dict["body"]
    told = str(headers.get("Content-Length", ""))
    plain = isinstance(body, bytes) and not headers.get("Content-Encoding") and operation_model.http["method"] != "HEAD"
    if plain and told.isdigit() and len(body) < int(told):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=int(told))


def _number(environment: Mapping[str, str], name: str, otherwise: int) -> int:
    text = environment.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) <= 100 else otherwise


def _no_profile(profile: str) -> str:
    return (
        f"AWS_PROFILE is {profile!r}, and there is no such profile here: the files of ~/.aws do not reach into an "
        "action's container. In a workflow, use aws-actions/configure-aws-credentials, which sets keys for the steps "
        "after it; on a shell, name one that `aws configure list-profiles` shows."
    )


def other_regions_than(regions: Sequence[str]) -> tuple[str, ...]:
    """The other regions of the same partition, as botocore's endpoints know them."""
    from botocore.session import get_session

    session = get_session()
    partition = session.get_partition_for_region(regions[0])
    return tuple(each for each in session.get_available_regions("cloudtrail", partition) if each not in regions)


def method_name(operation: str) -> str:
    """Return the name that a boto3 client gives to an API operation."""
    from botocore import xform_name

    return str(xform_name(operation))
