"""Starts and controls the lab: a local AWS that enforces IAM and records every call."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".lab" / "venv" / "bin" / "python"
ACCOUNT = "111122223333"
"""An account that AWS reserves for its documentation."""

_HOW = "the lab's environment is not there: make lab"
_PATIENCE = 60.0
_ROOT_KEY = ("AKIALABROOTLABROOT00", "lab-root-secret")
_PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
)

Policy = Mapping[str, Any]
Environment = dict[str, str]


class LabError(Exception):
    """The lab cannot be started or does not answer."""


def is_there() -> bool:
    """Whether the lab's environment is installed."""
    return PYTHON.exists() and (PYTHON.parents[1] / ".installed").exists()


@dataclass(slots=True)
class Lab:
    """A running lab; `records` is a folder with the layout of a trail's bucket, filled by
    `flush`.
    """

    endpoint: str
    records: Path
    account: str = ACCOUNT
    region: str = "us-east-1"
    _process: subprocess.Popen[bytes] | None = None
    _clients: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        delay: float = 0.0,
        service_events: bool = True,
        data_events: bool = True,
        lookups_per_second: float = 0.0,
        flush_every: float = 0.0,
        port: int = 0,
        region: str = "us-east-1",
        checks: bool = False,
        details: bool = False,
    ) -> Lab:
        """Start an empty lab and wait until it answers.

        `delay` is how many seconds CloudTrail takes to deliver a record, `service_events` whether
        the calls that services make (CloudFormation for the caller or as the stack's role) are
        recorded, `data_events` whether those on objects, items and invocations are,
        `lookups_per_second` the limit of LookupEvents (0: none; AWS has 2), `flush_every` the
        interval of automatic writes, `port` 0 selects a free one, `checks` records every
        authorization check in `checks.jsonl` (`checks.py`), `details` gives IAM's denials an
        authorization id (`details.py`).

        Raises:
            LabError: its environment is missing, or it does not start.
        """
        if not is_there():
            raise LabError(_HOW)
        folder.mkdir(parents=True, exist_ok=True)
        port = port or _free_port()
        lab = cls(f"http://127.0.0.1:{port}", folder / "records", region=region)
        lab.records.mkdir(exist_ok=True)
        options = {
            "port": port, "folder": str(folder.resolve()), "account": ACCOUNT, "region": region,
            "delay": delay,
            "service_events": service_events, "data_events": data_events,
            "lookups_per_second": lookups_per_second,
            "flush_every": flush_every, "root_key": _ROOT_KEY[0], "root_secret": _ROOT_KEY[1],
            "checks": str(folder.resolve() / "checks.jsonl") if checks else "", "details": details,
        }  # fmt: skip
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        with (folder / "lab.log").open("wb") as log:
            lab._process = subprocess.Popen(
                [str(PYTHON), "-m", "tests.end_to_end.lab.serve", json.dumps(options)],
                cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        lab._wait(folder / "lab.log")
        return lab

    def stop(self) -> None:
        """Write the last records and end the process."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        with _quietly():
            self.flush()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid if self._process else 0

    @property
    def is_running(self) -> bool:
        """Whether its process still runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def root(self) -> Environment:
        """The variables of the account's root, which has all permissions."""
        return self.environment()

    def environment(
        self, key: str = "", secret: str = "", token: str = "", region: str = ""
    ) -> Environment:
        """The variables that direct a tool to the lab, without those of this process; root's keys
        by default.
        """
        if not key:
            key, secret = _ROOT_KEY
        region = region or self.region
        variables = {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_REGION": region, "AWS_DEFAULT_REGION": region,
            "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_PAGER": "",
            "CDK_DEFAULT_ACCOUNT": self.account, "CDK_DEFAULT_REGION": region,
        }  # fmt: skip
        return variables | ({"AWS_SESSION_TOKEN": token} if token else {})

    def client(
        self, service: str, environment: Mapping[str, str] | None = None, **options: Any
    ) -> Any:
        """A boto3 client with an environment's keys, root's by default; `options` go to boto3."""
        import boto3
        from botocore.config import Config
        from botocore.session import get_session

        given = environment if environment is not None else self.root
        own = get_session({"config_file": (None, None, os.devnull, None)})
        own.register_component("data_loader", _loader())
        return boto3.session.Session(
            botocore_session=own,
            aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=given.get("AWS_SESSION_TOKEN"),
            region_name=given["AWS_REGION"],
        ).client(
            service,
            endpoint_url=self.endpoint,
            config=options.pop("config", None) or Config(retries={"max_attempts": 1}),
            **options,
        )

    def role(
        self,
        name: str,
        policy: Policy | None,
        trust: Policy | None = None,
        boundary: Policy | None = None,
        path: str = "/",
    ) -> str:
        """Create a role with one inline policy and return its ARN.

        `trust` is who may assume it (by default every principal of the account and the usual
        services), `boundary` its permissions boundary.
        """
        iam = self._own("iam")
        limits = {}
        if boundary is not None:
            made = iam.create_policy(
                PolicyName=f"{name}-boundary", PolicyDocument=json.dumps(boundary)
            )
            limits = {"PermissionsBoundary": made["Policy"]["Arn"]}
        document = json.dumps(trust or self._usual_trust())
        role = iam.create_role(
            RoleName=name, Path=path, AssumeRolePolicyDocument=document, **limits
        )
        if policy is not None:
            iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps(policy))
        return str(role["Role"]["Arn"])

    def admin_role(self, name: str) -> str:
        """Create a role with all permissions and return its ARN."""
        return self.role(name, {"Version": "2012-10-17", "Statement": [_ALLOW_ALL]})

    def set_policy(self, role: str, policy: Policy) -> None:
        """Replace the inline policy of a role that `role` created; `role` is its ARN or its
        name.
        """
        name = role.rpartition("/")[2]
        self._own("iam").put_role_policy(
            RoleName=name, PolicyName=name, PolicyDocument=json.dumps(policy)
        )

    def user(self, name: str, policy: Policy | None) -> tuple[str, str, str]:
        """Create a user with one inline policy and return the ARN, an access key and its secret."""
        iam = self._own("iam")
        arn = iam.create_user(UserName=name)["User"]["Arn"]
        if policy is not None:
            iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return arn, key["AccessKeyId"], key["SecretAccessKey"]

    def assume(
        self, arn: str, session_name: str, session_policy: Policy | None = None
    ) -> Environment:
        """Assume a role as root and return the session's variables."""
        more = {"Policy": json.dumps(session_policy)} if session_policy is not None else {}
        keys = self._own("sts").assume_role(RoleArn=arn, RoleSessionName=session_name, **more)[
            "Credentials"
        ]
        return self.environment(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])

    def flush(self) -> int:
        """Write the delivered records that are not in a file yet; returns their number."""
        return int(self._control("flush")["records"])

    def all_records(self) -> list[dict[str, Any]]:
        """Every delivered record, oldest first, without a file."""
        found: list[dict[str, Any]] = self._control("records")["Records"]
        return found

    def set(self, **settings: Any) -> None:
        """Change `data_events`, `service_events`, `delay` or `lookups_per_second` while it runs."""
        self._control("settings", settings)

    def _own(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.client(service)
        return self._clients[service]

    def _usual_trust(self) -> Policy:
        services = [f"{name}.amazonaws.com" for name in _SERVICES_THAT_TAKE_ROLES]
        principal = {"AWS": f"arn:aws:iam::{self.account}:root", "Service": services}
        statement = {
            "Effect": "Allow",
            "Principal": principal,
            "Action": ["sts:AssumeRole", "sts:TagSession"],
        }
        return {"Version": "2012-10-17", "Statement": [statement]}

    def _control(self, name: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - a local server
            f"{self.endpoint}/_lab/{name}", json.dumps(body or {}).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - a local server
            read: dict[str, Any] = json.loads(answer.read())
        return read

    def _wait(self, log: Path) -> None:
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            if self._process is not None and self._process.poll() is not None:
                break
            try:
                self._control("settings")
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise LabError(f"the lab did not start:\n{log.read_text(errors='replace')[-2000:]}")


@cache
def _loader() -> Any:
    """The API models, each read once: a test creates many clients."""
    from botocore.loaders import create_loader

    return create_loader()


_ALLOW_ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
_SERVICES_THAT_TAKE_ROLES = (
    "lambda",
    "cloudformation",
    "states",
    "ecs-tasks",
    "events",
    "codebuild",
)


@contextmanager
def _quietly() -> Iterator[None]:
    try:
        yield
    except OSError:
        return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
