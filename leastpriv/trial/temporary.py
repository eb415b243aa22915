"""Temporary managed policies of a trial, each noted before it is made: an answer may be lost, a policy must not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial

from leastpriv.errors import AwsError, InputError
from leastpriv.evidence.aws import Aws
from leastpriv.evidence.aws_errors import explained
from leastpriv.model import Principal
from leastpriv.trial.left_overs import remove_policy
from leastpriv.trial.marks import PATH, Mark

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
            with explained("making a temporary policy", "iam:CreatePolicy"):
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
