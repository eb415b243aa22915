"""Two ways to run a command under the candidate alone: as a session's policy, or on a temporary role.

Temporary managed policies of a trial, each noted before it is made: an answer may be lost, a policy must not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from leastpriv.aws.arns import principal_of, same_arn
from leastpriv.aws.errors import translate_errors
from leastpriv.aws.session import Aws
from leastpriv.errors import AwsError, AwsErrorKind, InputError
from leastpriv.models import Principal
from leastpriv.policy.document import Document
from leastpriv.trial.cleanup import PATH, Mark, all_removed, detach, remove_policy, remove_role
from leastpriv.trial.policy_rendering import as_inline_policies, as_managed_policies, as_session_policy
from leastpriv.trial.process import Credentials

Clock = Callable[[], datetime]


class TemporaryPolicies:
    """The policies of one trial, those of the current round and those that could not be removed yet."""

    def __init__(self, aws: Aws, target: Principal, mark: Mark, clock: Clock) -> None:
        """They are made in the account of `target`, named and tagged by `mark`."""
        self._aws, self._target, self._mark, self._clock = aws, target, mark, clock
        self._arns: list[str] = []

    @property
    def known(self) -> tuple[str, ...]:
        """ARNs of all that there may be."""
        return tuple(self._arns)

    def make(self, texts: Sequence[str], number: int) -> list[str]:
        """Makes a policy of each text for the round `number`; returns their ARNs.

        Raises:
            AwsError: the caller may not, or AWS cannot be asked.
            InputError: the caller is of another account.
        """
        same_account(self._aws, self._target)
        iam, now = self._aws.client("iam"), self._clock()
        found: list[str] = []
        for part, text in enumerate(texts, start=1):
            name = self._mark.name(f"{number}-{part}")
            found.append(f"arn:{self._target.partition}:iam::{self._target.account}:policy{PATH}{name}")
            self._arns.append(found[-1])
            with translate_errors("making a temporary policy", "iam:CreatePolicy"):
                iam.create_policy(PolicyName=name, Path=PATH, PolicyDocument=text, Tags=self._mark.tags(now))
        return found

    def drop(self, arns: Iterable[str]) -> None:
        """Removes policies of an earlier round; one that stays is tried again at the end."""
        for arn in arns:
            try:
                remove_policy(self._aws.client("iam"), arn)
            except AwsError:
                continue
            self._arns.remove(arn)

    def removals(self) -> list[tuple[str, Callable[[], None]]]:
        """What is left to be done at the end, each with the ARN it is about."""
        return [(arn, partial(remove_policy, self._aws.client("iam"), arn)) for arn in self._arns]


def same_account(aws: Aws, target: Principal) -> str:
    """The caller, who has to be of the target's account, where temporary roles and policies have to be.

    Raises:
        InputError: the caller is of another one.
    """
    caller = aws.caller()
    if aws.account() != target.account:
        raise InputError(
            f"The credentials are of {caller}, the policy is of {target.arn}: what the trial needs has to be made in "
            "the same account; use credentials of that."
        )
    return caller


Sleep = Callable[[float], None]
_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between attempts: IAM heeds a change everywhere only some time later ("eventually consistent",
https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html, read 2026-11-24)."""


class Strategy(Protocol):
    """How the candidate comes into force, and how it goes again."""

    narrows: bool
    """The candidate only narrows what the role itself is allowed."""
    acting: str
    """ARN of the role whose sessions the command runs in."""

    @property
    def lags(self) -> bool:
        """Whether what was changed or made for a round may not be heeded everywhere while it runs."""

    def enact(self, documents: Sequence[Document], number: int) -> Credentials:
        """Credentials of round `number`, which allow what the documents allow, and no more."""

    def remove(self) -> list[str]:
        """Removes all that was made; a sentence for each that could not be. Never raises for what AWS answers."""


class SessionPolicy:
    """The target role itself, narrowed by the candidate as the policy of its session; nothing of the role changes."""

    narrows = True

    def __init__(self, aws: Aws, target: Principal, mark: Mark, clock: Clock, sleep: Sleep) -> None:
        """`mark` names what has to be made, `sleep` waits for it to be heeded."""
        self.acting = target.arn
        self._aws, self._mark, self._sleep = aws, mark, sleep
        self._policies = TemporaryPolicies(aws, target, mark, clock)

    @property
    def lags(self) -> bool:
        """As `Strategy`: an inline policy is part of the session, a managed one is looked up."""
        return bool(self._policies.known)

    def enact(self, documents: Sequence[Document], number: int) -> Credentials:
        """As `Strategy`; over 2,048 characters by temporary managed policies.

        Raises:
            AwsError: the caller may not, or AWS cannot be asked.
            InputError: the candidate has no form that a session takes.
        """
        inline = as_session_policy(documents)
        if inline:
            return _assumed(self._aws, self.acting, self._mark.session(number), (), Policy=inline)
        texts = as_managed_policies(documents)
        if not texts:
            raise InputError(
                "The policy is too large for a session, also in ten managed policies: use --strategy trial-role."
            )
        earlier = self._policies.known
        arns = [{"arn": arn} for arn in self._policies.make(texts, number)]
        session = self._mark.session(number)
        found = _assumed(self._aws, self.acting, session, _WAITS, self._sleep, PolicyArns=arns)
        # The session of the round before, to which they gave its rights, is over.
        self._policies.drop(earlier)
        return found

    def remove(self) -> list[str]:
        """As `Strategy`."""
        return all_removed(self._policies.removals())


class TrialRole:
    """A temporary role under the target's boundary with the candidate as its only policy; the target is only read."""

    narrows = False
    lags = True

    def __init__(self, aws: Aws, target: Principal, mark: Mark, clock: Clock, sleep: Sleep, settle: float) -> None:
        """`settle`: seconds that IAM gets to heed a change of the role's policies."""
        self._name = mark.name("role")
        self.acting = f"arn:{target.partition}:iam::{target.account}:role{PATH}{self._name}"
        self._aws, self._target, self._mark = aws, target, mark
        self._clock, self._sleep, self._settle = clock, sleep, settle
        self._is_made = False
        self._policies = TemporaryPolicies(aws, target, mark, clock)

    def enact(self, documents: Sequence[Document], number: int) -> Credentials:
        """As `Strategy`.

        Raises:
            AwsError: the caller may not, or AWS cannot be asked.
            InputError: the candidate is too large for a role, or the caller is of another account than the target.
        """
        inline = as_inline_policies(documents)
        managed = () if inline else as_managed_policies(documents)
        if not inline and not managed:
            raise InputError("The policy is too large for a role, also in ten managed policies: make it smaller first.")
        if self._is_made:
            self._tag()
        else:
            self._make()
        self._put(inline, managed, number)
        if self._settle:
            self._sleep(self._settle)
        return _assumed(self._aws, self.acting, self._mark.session(number), _WAITS, self._sleep)

    def remove(self) -> list[str]:
        """As `Strategy`."""
        if not self._is_made:
            return []
        role = (self.acting, partial(remove_role, self._aws.client("iam"), self._name))
        return all_removed([role, *self._policies.removals()])

    def _make(self) -> None:
        caller = same_account(self._aws, self._target)
        boundary = self._boundary()
        limits = {"PermissionsBoundary": boundary} if boundary else {}
        trust = {"Effect": "Allow", "Principal": {"AWS": caller}, "Action": "sts:AssumeRole"}
        # From here on there may be a role, also where the answer is lost; not where it was refused.
        self._is_made = True
        try:
            with translate_errors("making the temporary role", "iam:CreateRole"):
                self._aws.client("iam").create_role(
                    RoleName=self._name,
                    Path=PATH,
                    AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
                    Description=f"Temporary: leastpriv trial of {self._target.arn}"[:1000],
                    Tags=self._mark.tags(self._clock()),
                    **limits,
                )
        except AwsError as error:
            self._is_made = error.kind is not AwsErrorKind.DENIED
            raise

    def _boundary(self) -> str:
        """The target's own: what it forbids, the trial must not show as allowed."""
        iam, target = self._aws.client("iam"), self._target
        with translate_errors(f"reading the permissions boundary of {target.arn}", f"iam:Get{target.kind.title()}"):
            try:
                if target.kind == "user":
                    found = iam.get_user(UserName=target.name)["User"]
                else:
                    found = iam.get_role(RoleName=target.name)["Role"]
            except iam.exceptions.NoSuchEntityException:
                raise _not_there(target) from None
        return str(found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", ""))

    def _tag(self) -> None:
        with translate_errors("saying on the temporary role that the trial goes on", "iam:TagRole"):
            self._aws.client("iam").tag_role(RoleName=self._name, Tags=self._mark.tags(self._clock()))

    def _put(self, inline: Sequence[str], managed: Sequence[str], number: int) -> None:
        """Puts this round's policies on the role, then takes the others off it."""
        iam, name = self._aws.client("iam"), self._name
        new = {f"candidate-{number}-{part}": text for part, text in enumerate(inline, start=1)}
        earlier = self._policies.known
        with translate_errors("putting the candidate on the temporary role", "iam:PutRolePolicy"):
            stale = iam.list_role_policies(RoleName=name)["PolicyNames"]
            # First off, then on: the quota is over all inline policies together.
            for policy in stale:
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
            for policy in earlier:
                # One that could not be deleted in an earlier round is off the role already.
                detach(iam, name, policy)
            for policy, text in new.items():
                iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=text)
            for arn in self._policies.make(managed, number) if managed else ():
                iam.attach_role_policy(RoleName=name, PolicyArn=arn)
        self._policies.drop(earlier)


def _assumed(
    aws: Aws, role: str, session: str, waits: Sequence[float], sleep: Sleep = lambda _: None, **policy: Any
) -> Credentials:
    """Assumes a role; where something was made for it just before, patiently.

    Raises:
        AwsError: the caller may not, or AWS cannot be asked.
    """
    for wait in (*waits, None):
        try:
            with translate_errors(f"assuming {role}", "sts:AssumeRole"):
                answer = aws.client("sts").assume_role(RoleArn=role, RoleSessionName=session, **policy)
        except AwsError as error:
            if wait is None or error.kind not in (AwsErrorKind.DENIED, AwsErrorKind.OTHER):
                raise _in_words(error, aws, role) from error
            sleep(wait)
        else:
            keys = answer["Credentials"]
            return Credentials(
                str(keys["AccessKeyId"]),
                str(keys["SecretAccessKey"]),
                str(keys["SessionToken"]),
            )
    raise AssertionError("unreachable")  # pragma: no cover


def _in_words(error: AwsError, aws: Aws, role: str) -> AwsError:
    if "PackedPolicyTooLarge" in str(error):
        return AwsError(
            "The policy is too large for a session, as AWS packs it: use --strategy trial-role.", error.kind
        )
    if error.kind not in (AwsErrorKind.DENIED, AwsErrorKind.OTHER):
        return error
    caller = aws.caller()
    target = principal_of(role)
    if target is not None and PATH not in role and _is_missing(aws, target):
        raise _not_there(target) from error
    if error.kind is not AwsErrorKind.DENIED:
        return error
    if PATH in role:
        advice = "allow it sts:AssumeRole on roles of that path"
    elif same_arn(caller, role):
        advice = (
            "these credentials are a session of that role already, which its trust policy does not let assume itself: "
            "use those of somebody who may, or --strategy trial-role"
        )
    else:
        advice = (
            "allow it sts:AssumeRole in the role's trust policy and, in another account, in its own policy, or use "
            "--strategy trial-role"
        )
    return AwsError(f"{caller} may not assume {role}: {advice}.", error.kind, error.missing_action)


def _is_missing(aws: Aws, role: Principal) -> bool:
    """Whether a role of the caller's account is not there: STS says no more than that nobody may assume it."""
    if aws.account() != role.account:
        return False
    iam = aws.client("iam")
    with suppress(AwsError), translate_errors(f"looking for {role.arn}", "iam:GetRole"):
        try:
            iam.get_role(RoleName=role.name)
        except iam.exceptions.NoSuchEntityException:
            return True
    return False


def _not_there(target: Principal) -> InputError:
    return InputError(f"There is no {target.kind} {target.arn}: check --role-arn and whose credentials these are.")
