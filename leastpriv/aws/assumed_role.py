"""Assumes a role of an account, so that one run reads several accounts; AWS STS renews its keys
while the run lasts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.errors import required_member, translate_errors
from leastpriv.aws.session import Aws, AwsSession
from leastpriv.errors import AwsError, AwsErrorKind, InputError, LeastprivError

SESSION_NAME = "leastpriv"
"""The session name where the config names none; in a workflow the id of the run follows, so that a
trail shows which run read the account."""
_RUN_ID = re.compile(r"\d{1,20}", re.ASCII)
_METHOD = "sts-assume-role"


class AssumedRole(Struct, frozen=True):
    """A role that reads one account."""

    arn: str
    external_id: str = ""
    session_name: str = ""
    """Empty: one made from the workflow's run."""
    only_for_other_accounts: bool = False
    """Whether credentials of the account itself are used as they are."""

    @property
    def account(self) -> str:
        """Account of the role."""
        return self.arn.split(":")[4]

    def named_by_run(self, environment: Mapping[str, str]) -> AssumedRole:
        """Returns the role with a session name: that of the config, else one with the id of the
        run.
        """
        if self.session_name:
            return self
        run = environment.get("GITHUB_RUN_ID", "")
        name = f"{SESSION_NAME}-{run}" if _RUN_ID.fullmatch(run) else SESSION_NAME
        return replace(self, session_name=name)


class AssumedSession(AwsSession):
    """AWS with the credentials of a role that another session assumes, opened at the first use."""

    def __init__(self, role: AssumedRole, base: AwsSession, untrusted_reason: str = "") -> None:
        """Opens nothing yet.

        Args:
            role: The role.
            base: The session of the run, whose credentials assume it.
            untrusted_reason: Why the role must not be assumed, a sentence; empty: it may be.
        """
        super().__init__(base.environment, base.now, base.regions)
        self._role = role
        self.base = base
        self._untrusted_reason = untrusted_reason

    def _open(self) -> Aws | LeastprivError:
        """Assumes the role, or returns the run's own session where that is of the role's account
        and suffices.

        An error is returned, not raised: the session keeps it, and raises it at each use.
        """
        try:
            base = self.base.aws()
            if self._role.only_for_other_accounts and base.account() == self._role.account:
                return base
            if self._untrusted_reason:
                return InputError(self._untrusted_reason)
            role = self._role.named_by_run(self.environment)
            return Aws(_session(base, role), self.environment, base.region)
        except LeastprivError as error:
            return error


def _session(base: Aws, role: AssumedRole) -> Any:
    """Returns a boto3 session with renewed credentials of the role."""
    from boto3 import Session
    from botocore.credentials import CredentialResolver, RefreshableCredentials
    from botocore.session import Session as Core

    credentials = RefreshableCredentials.create_from_metadata(
        metadata=_keys(base, role), refresh_using=lambda: _keys(base, role), method=_METHOD
    )

    class Provider:
        METHOD = CANONICAL_NAME = _METHOD

        def load(self) -> RefreshableCredentials:
            return credentials

    core = Core()
    core.set_config_variable("profile", None)
    core.register_component("credential_provider", CredentialResolver([Provider()]))
    return Session(botocore_session=core, region_name=base.region or None)


def _keys(base: Aws, role: AssumedRole) -> Mapping[str, str]:
    """Returns new keys of the role, in the form in which botocore keeps them."""
    activity = f"assuming {role.arn}"
    identity = {"ExternalId": role.external_id} if role.external_id else {}
    try:
        with translate_errors(activity, "sts:AssumeRole"):
            answer = base.client("sts").assume_role(
                RoleArn=role.arn, RoleSessionName=role.session_name, **identity
            )
    except AwsError as error:
        if error.kind is not AwsErrorKind.DENIED:
            raise
        external_id = "with this external-id" if role.external_id else "without an external id"
        whom = f"{base.caller()} {external_id}"
        advice = f"Check that the role exists, and that its trust policy allows {whom}."
        raise AwsError(f"{error} {advice}", error.kind, error.missing_action) from error

    def credential(member: str) -> Any:
        return required_member(answer, activity, "Credentials", member)

    return {
        "access_key": str(credential("AccessKeyId")),
        "secret_key": str(credential("SecretAccessKey")),
        "token": str(credential("SessionToken")),
        "expiry_time": credential("Expiration").isoformat(),
    }
