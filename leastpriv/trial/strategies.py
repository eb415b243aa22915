"""Puts the candidate alone in force: as a session policy of the target, or on a temporary role.

It is rendered as a session policy, as managed policies or as inline policies of a role.
"""

from __future__ import annotations

import json
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from leastpriv.aws.arns import same_arn, session_of
from leastpriv.aws.errors import translate_errors
from leastpriv.aws.session import Aws
from leastpriv.aws_checks.rendered_policy import render_policy
from leastpriv.errors import AwsError, AwsErrorKind, InputError
from leastpriv.models import Principal
from leastpriv.policy.compact import merge_statements
from leastpriv.policy.document import Document, parse
from leastpriv.policy.size import PolicyKind, join_statements, max_managed_policies, pack, quota
from leastpriv.policy.syntax_tree import minified
from leastpriv.trial.cleanup import (
    TRIAL_PATH,
    TrialTags,
    detach,
    remove_all,
    remove_policy,
)
from leastpriv.trial.process import Credentials

_log = logging.getLogger(__name__)

_RETRY_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between attempts: IAM is "eventually consistent"
(https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html, read 2026-11-24)."""


class Strategy(ABC):
    """A way to put the candidate in force and to undo that, with temporary managed policies where
    it needs them.
    """

    narrows: bool
    """The candidate only narrows what the role itself is allowed."""
    own_session = ""
    """Name of the caller's own session, where the command runs in it with narrower keys; empty in
    the trial's own.
    """

    def __init__(
        self,
        aws: Aws,
        principal: Principal,
        tags: TrialTags,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        settle: float = 0.0,
    ) -> None:
        """`tags` names temporary resources; IAM gets `settle` seconds to apply a change of a role's
        policies.
        """
        self._aws = aws
        self._principal = principal
        self._tags = tags
        self._clock = clock
        self._sleep = sleep
        self._settle = settle
        self._name = tags.resource_name("role")
        temporary = (
            f"arn:{principal.partition}:iam::{principal.account}:role{TRIAL_PATH}{self._name}"
        )
        self.acting_role = principal.arn if self.narrows else temporary
        """ARN of the role whose sessions the command runs in."""
        self._roles: list[str] = []
        self._policies: list[str] = []
        """What may exist: an ARN is kept before its creation, since the answer may be lost."""

    @property
    def may_lag(self) -> bool:
        """Whether a change for a round may not be in force everywhere while it runs.

        AWS looks up the policies of a role, and managed ones; an inline policy is part of the
        session.
        """
        return not self.narrows or bool(self._policies)

    @abstractmethod
    def apply(self, documents: Sequence[Document], number: int) -> Credentials:
        """Returns credentials for round `number`, which allow exactly what the documents allow."""

    def clean_up(self) -> list[str]:
        """Removes all temporary resources; returns a sentence for each that remains. Raises no
        AwsError.
        """
        created = [*self._roles, *self._policies]
        return remove_all(self._aws.client("iam"), created) if created else []

    def _assume(self, session: str, waits: Sequence[float] = (), **policy: Any) -> Credentials:
        """Assumes the role; retries if its policies were created just before; raises AwsError."""
        for wait in (*waits, None):
            try:
                with translate_errors(f"assuming {self.acting_role}", "sts:AssumeRole"):
                    sts = self._aws.client("sts")
                    answer = sts.assume_role(
                        RoleArn=self.acting_role, RoleSessionName=session, **policy
                    )
            except AwsError as error:
                if wait is None or error.kind not in (AwsErrorKind.DENIED, AwsErrorKind.OTHER):
                    raise self._assume_error(error) from error
                self._sleep(wait)
            else:
                return _credentials(answer)
        raise AssertionError("unreachable")  # pragma: no cover

    def _assume_error(self, error: AwsError) -> AwsError:
        """Returns the error of `AssumeRole` with the remedy for these credentials."""
        if "PackedPolicyTooLarge" in str(error):
            return AwsError(
                "The policy is too large for a session, as AWS packs it: use --strategy"
                " trial-role.",
                error.kind,
            )
        if error.kind not in (AwsErrorKind.DENIED, AwsErrorKind.OTHER):
            return error
        caller = self._aws.caller()
        # STS only answers that the caller may not assume a role of its account that does not exist.
        if self.narrows and self._aws.account() == self._principal.account:
            with suppress(AwsError):
                self._read_target()
        if error.kind is not AwsErrorKind.DENIED:
            return error
        if not self.narrows:
            advice = "allow it sts:AssumeRole on roles of that path"
        elif same_arn(caller, self.acting_role):
            advice = (
                "these credentials are a session of that role already, which its trust policy does"
                " not let assume itself: use those of a principal that may, or --strategy"
                " trial-role"
            )
        else:
            advice = (
                "allow it sts:AssumeRole in the role's trust policy and, in another account, in its"
                " own policy, or use --strategy trial-role"
            )
        return AwsError(
            f"{caller} may not assume {self.acting_role}: {advice}.",
            error.kind,
            error.missing_action,
        )

    def _read_target(self) -> Mapping[str, Any]:
        """Returns IAM's answer about the target; raises InputError if it does not exist, and
        AwsError.
        """
        iam = self._aws.client("iam")
        target = self._principal
        with (
            translate_errors(
                f"reading the permissions boundary of {target.arn}", f"iam:Get{target.kind.title()}"
            ),
            suppress(iam.exceptions.NoSuchEntityException),
        ):
            if target.kind == "user":
                return dict(iam.get_user(UserName=target.name)["User"])
            return dict(iam.get_role(RoleName=target.name)["Role"])
        raise InputError(
            f"There is no {target.kind} {target.arn}: check --role-arn and whose credentials these"
            " are."
        )

    def _check_account(self) -> str:
        """Returns the caller; raises InputError if it is of another account than the target."""
        caller = self._aws.caller()
        if self._aws.account() != self._principal.account:
            raise InputError(
                f"The credentials are of {caller}, the policy is of {self._principal.arn}: the"
                " trial creates resources in the account of the policy: use credentials of that"
                " account."
            )
        return caller

    def _create_policies(self, texts: Sequence[str], number: int) -> list[str]:
        """Creates a managed policy from each text for the round `number`; returns their ARNs;
        raises AwsError.
        """
        self._check_account()
        iam = self._aws.client("iam")
        now = self._clock()
        arns: list[str] = []
        for part, text in enumerate(texts, start=1):
            name = self._tags.resource_name(f"{number}-{part}")
            account = f"arn:{self._principal.partition}:iam::{self._principal.account}"
            arns.append(f"{account}:policy{TRIAL_PATH}{name}")
            self._policies.append(arns[-1])
            with translate_errors("creating a temporary policy", "iam:CreatePolicy"):
                iam.create_policy(
                    PolicyName=name, Path=TRIAL_PATH, PolicyDocument=text, Tags=self._tags.tags(now)
                )
        return arns

    def _delete_policies(self, arns: Sequence[str]) -> None:
        """Deletes policies of an earlier round; a failed deletion is tried again at the end."""
        for arn in arns:
            with suppress(AwsError):
                remove_policy(self._aws.client("iam"), arn)
                self._policies.remove(arn)


_SCOPED = "sts:GetScopedCredentials"


class SessionPolicy(Strategy):
    """Takes credentials of the target role with the candidate as session policy; the role itself
    does not change.

    Where the caller is a session of the role, AWS narrows its own credentials (GetScopedCredentials
    of the AWS STS API reference, read 2026-11-27), which needs no trust policy that names the role.
    Else the role is assumed.
    """

    narrows = True
    _may_scope = True

    def apply(self, documents: Sequence[Document], number: int) -> Credentials:
        """Assumes the role with the candidate: inline, or over 2,048 characters as temporary
        managed policies.

        Raises AwsError where the caller lacks permission, or AWS does not answer, and InputError
        where the candidate does not fit a session.
        """
        self.own_session = ""
        session = self._tags.session_name(number)
        inline = as_session_policy(documents)
        if inline:
            scoped = self._scoped(inline, session)
            return scoped or self._assume(session, Policy=inline)
        texts = as_managed_policies(documents)
        if not texts:
            raise InputError(
                "The policy is too large for a session, also in ten managed policies: use"
                " --strategy trial-role."
            )
        earlier_arns = tuple(self._policies)
        arns = [{"arn": arn} for arn in self._create_policies(texts, number)]
        credentials = self._assume(session, _RETRY_WAITS, PolicyArns=arns)
        # The session of the earlier round is over.
        self._delete_policies(earlier_arns)
        return credentials

    def _scoped(self, policy_text: str, description: str) -> Credentials | None:
        """Narrows the caller's credentials; None where it is no session of the role, or AWS does
        not narrow them.
        """
        if (
            not self._may_scope
            or not self._aws.is_temporary
            or not same_arn(self._aws.caller(), self.acting_role)
        ):
            return None
        try:
            with translate_errors("narrowing the credentials", _SCOPED):
                answer = self._aws.client("sts").get_scoped_credentials(
                    Policy=policy_text, ScopedSessionDescription=description
                )
        except AwsError as error:
            if error.kind not in (AwsErrorKind.DENIED, AwsErrorKind.OTHER):
                raise
            _log.info(f"Assuming the role: {error}")
            self._may_scope = False
            return None
        self.own_session = session_of(self._aws.caller())
        return _credentials(answer)


class TrialRole(Strategy):
    """A temporary role with the candidate as its only policy and the target's boundary; the target
    is only read.
    """

    narrows = False

    def apply(self, documents: Sequence[Document], number: int) -> Credentials:
        """Puts the candidate on the temporary role and assumes it.

        Raises AwsError where the caller lacks permission, or AWS does not answer, and InputError
        where the candidate is too large for a role, or the caller is of another account than the
        target.
        """
        inline = as_inline_policies(documents)
        managed = () if inline else as_managed_policies(documents)
        if not inline and not managed:
            raise InputError(
                "The policy is too large for a role, also in ten managed policies: make it smaller"
                " first."
            )
        if self._roles:
            self._tag_role()
        else:
            self._create_role()
        earlier_arns = tuple(self._policies)
        with translate_errors(
            "writing the candidate policy to the temporary role", "iam:PutRolePolicy"
        ):
            # Deletes before it adds: the quota applies to all inline policies together.
            self._remove_policies(earlier_arns)
            self._put_policies(inline, managed, number)
        self._delete_policies(earlier_arns)
        if self._settle:
            self._sleep(self._settle)
        return self._assume(self._tags.session_name(number), _RETRY_WAITS)

    def _tag_role(self) -> None:
        """Renews the end of the trial on the temporary role; raises AwsError."""
        with translate_errors("tagging the temporary role", "iam:TagRole"):
            self._aws.client("iam").tag_role(
                RoleName=self._name, Tags=self._tags.tags(self._clock())
            )

    def _remove_policies(self, managed_arns: Sequence[str]) -> None:
        """Removes the policies of an earlier round from the temporary role."""
        iam = self._aws.client("iam")
        for policy in iam.list_role_policies(RoleName=self._name)["PolicyNames"]:
            iam.delete_role_policy(RoleName=self._name, PolicyName=policy)
        for arn in managed_arns:
            # A policy whose deletion failed in an earlier round is detached already.
            detach(iam, self._name, arn)

    def _put_policies(self, inline: Sequence[str], managed: Sequence[str], number: int) -> None:
        """Puts the policies of a round on the temporary role."""
        iam = self._aws.client("iam")
        for part, text in enumerate(inline, start=1):
            policy = f"candidate-{number}-{part}"
            iam.put_role_policy(RoleName=self._name, PolicyName=policy, PolicyDocument=text)
        if managed:
            for arn in self._create_policies(managed, number):
                iam.attach_role_policy(RoleName=self._name, PolicyArn=arn)

    def _create_role(self) -> None:
        """Creates the temporary role with the boundary of the target; raises AwsError."""
        caller = self._check_account()
        # The trial must not allow what the target's boundary forbids.
        boundary = str(
            self._read_target().get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "")
        )
        limits = {"PermissionsBoundary": boundary} if boundary else {}
        trust = {"Effect": "Allow", "Principal": {"AWS": caller}, "Action": "sts:AssumeRole"}
        self._roles = [self.acting_role]
        try:
            with translate_errors("creating the temporary role", "iam:CreateRole"):
                self._aws.client("iam").create_role(
                    RoleName=self._name,
                    Path=TRIAL_PATH,
                    AssumeRolePolicyDocument=json.dumps(
                        {"Version": "2012-10-17", "Statement": [trust]}
                    ),
                    Description=f"Temporary: leastpriv trial of {self._principal.arn}"[:1000],
                    Tags=self._tags.tags(self._clock()),
                    **limits,
                )
        except AwsError as error:
            if error.kind is AwsErrorKind.DENIED:
                self._roles = []
            raise


def _credentials(answer: Mapping[str, Any]) -> Credentials:
    keys = answer["Credentials"]
    return Credentials(
        str(keys["AccessKeyId"]), str(keys["SecretAccessKey"]), str(keys["SessionToken"])
    )


EMPTY_POLICY = (
    '{"Version":"2012-10-17","Statement":'
    '[{"Effect":"Allow","Action":"sts:GetCallerIdentity","Resource":"*"}]}'
)
"""Replaces an empty policy, which IAM rejects: the one action that needs no permission
(https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html, read 2026-11-24).
"""

_OUTSIDE_ASCII = re.compile(r"[^\x00-\x7f]")
"""AWS accepts characters up to U+00FF in a policy, and any as an escape (`Policy` in the page of
AssumeRole).
"""


def render_documents(documents: Sequence[Document]) -> tuple[str, ...]:
    """Returns the documents as JSON policies without white space, one per policy version.

    Raises InputError where a part of a policy is known only once its template is rendered.
    """
    return tuple(map(_escaped, join_statements(map(_rendered, documents)))) or (EMPTY_POLICY,)


def as_session_policy(documents: Sequence[Document]) -> str:
    """Returns the inline policy of a session, with merged statements if it is too long; empty if it
    does not fit.
    """
    texts = render_documents(documents)
    if len(texts) > 1:
        return ""
    limit = quota(PolicyKind.SESSION)
    if len(texts[0]) <= limit:
        return texts[0]
    joined = _escaped(
        minified(merge_statements(parse(texts[0].encode(), "the candidate")).document.policy)
    )
    return joined if len(joined) <= limit else ""


def as_inline_policies(documents: Sequence[Document]) -> tuple[str, ...]:
    """Returns the inline policies of a role; empty if together they are too large; raises
    InputError.
    """
    texts = render_documents(documents)
    return texts if sum(map(len, texts)) <= quota(PolicyKind.INLINE_ROLE) else ()


def as_managed_policies(documents: Sequence[Document]) -> tuple[str, ...]:
    """Returns managed policies that together allow the same; empty if they are too many, or one is
    too large.

    A role takes ten, unless AWS raised the quota, and so does a session
    (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, `PolicyArns`, read
    2026-11-24). Raises InputError as `render_documents`.
    """
    packed = [pack(parse(text.encode(), "the candidate")) for text in render_documents(documents)]
    texts = [
        _escaped(minified(part.policy))
        for policies in packed
        for part in (policies.document, *policies.further)
    ]
    fits = all(policies.fits for policies in packed) and all(
        len(text) <= quota(PolicyKind.MANAGED) for text in texts
    )
    return tuple(texts) if fits and len(texts) <= max_managed_policies() else ()


def _escaped(text: str) -> str:
    return _OUTSIDE_ASCII.sub(lambda character: json.dumps(character[0])[1:-1], text)


def _rendered(document: Document) -> Document:
    """Returns a document without a template; raises InputError if a part is known only once that is
    rendered.
    """
    if document.source.language == "plain":
        return document
    rendered = render_policy(document)
    if rendered is None:
        raise InputError(
            f"{document.where}: a part of this policy is known only once its template is rendered,"
            " so that it cannot be tried; name the rendered JSON policy."
        )
    return parse(rendered.text.encode(), "the candidate")
