"""Roles and policies of trials: found by their path, removed whole.

What a trial makes in the account: its names, its tags, and how a later trial tells that its maker is dead (pure).
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from leastpriv.aws.errors import translate_errors
from leastpriv.errors import LeastprivError
from leastpriv.trial.process import PROC, parent_and_start

PATH = "/leastpriv-trial/"
"""Path of every role and policy that a trial makes, and of nothing else."""
LASTS = timedelta(hours=1)
"""How long a round's credentials are good: with them ends what a role or policy was made for."""
_TRIAL, _UNTIL, _MAKER = "leastpriv:trial", "leastpriv:until", "leastpriv:maker"


@dataclass(frozen=True, slots=True)
class Here:
    """The process, as a tag tells of it: what the machine is called is not told."""

    machine: str
    """Of this boot of the machine and this room of process ids, as each container has one; empty where not known."""
    pid: int
    started: int
    """In clock ticks since the boot: ids are used again."""

    @classmethod
    def now(cls, proc: Path = PROC) -> Here:
        """The process that asks."""
        pid = os.getpid()
        try:
            boot = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            room = str((proc / "self/ns/pid").readlink())
        except (OSError, ValueError):
            return cls("", pid, 0)
        known = "\n".join((socket.gethostname(), boot, room))
        return cls(hashlib.sha256(known.encode()).hexdigest()[:12], pid, parent_and_start(pid, proc)[1])

    def has_ended(self, maker: str) -> bool:
        """Whether a process of this machine has surely ended; `maker` as `str` gives it. Of others nobody knows."""
        machine, _, rest = maker.partition("/")
        pid, _, started = rest.partition("/")
        if not machine or machine != self.machine or not self.started or not (pid.isdecimal() and started.isdecimal()):
            return False
        now = parent_and_start(int(pid))[1]
        return now != int(started) if now else not _is_there(int(pid))

    def __str__(self) -> str:
        return f"{self.machine}/{self.pid}/{self.started}"


@dataclass(frozen=True, slots=True)
class Mark:
    """The names and tags of one trial."""

    trial: str
    """`leastpriv-` and twelve hexadecimal digits that nobody can guess."""
    started: datetime
    here: Here

    def session(self, number: int) -> str:
        """Name of the session of a round."""
        return f"{self.trial}-{number}"

    def name(self, part: str) -> str:
        """Name of a role or policy: `leastpriv-0a1b2c3d4e5f-20261103T091500-3`."""
        return f"{self.trial}-{self.started:%Y%m%dT%H%M%S}-{part}"

    def tags(self, now: datetime) -> list[dict[str, str]]:
        """Tags of what a round makes or uses."""
        values = {
            _TRIAL: self.trial,
            _UNTIL: (now + LASTS).astimezone(UTC).isoformat(timespec="seconds"),
            _MAKER: str(self.here),
        }
        return [{"Key": key, "Value": value} for key, value in values.items()]


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A role or policy that another trial made."""

    kind: str
    """`role` or `policy`."""
    arn: str
    dead: bool
    """Its trial is over: it ran here and has ended, or its last credentials have."""

    @property
    def name(self) -> str:
        """The name without the path."""
        return self.arn.rpartition("/")[2]


def is_dead(tags: Mapping[str, str], now: datetime, here: Here) -> bool:
    """Whether the trial that set these tags is over; without readable tags nobody knows, which is no."""
    if here.has_ended(tags.get(_MAKER, "")):
        return True
    try:
        return datetime.fromisoformat(tags[_UNTIL]) < now
    except (KeyError, ValueError, TypeError):
        return False


def _is_there(pid: int) -> bool:
    """Also of somebody else, whom a /proc may hide (`hidepid` in proc(5))."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def left_overs(iam: Any, now: datetime, here: Here) -> list[LeftOver]:
    """All that trials have made and not removed, roles first, since they hold the policies.

    Raises:
        AwsError: the account cannot be asked.
    """
    with translate_errors("looking for what an earlier trial left", "iam:ListRoles"):
        roles = [role["Arn"] for page in _pages(iam, "list_roles", PathPrefix=PATH) for role in page["Roles"]]
        tags = [_tags(iam.list_role_tags(RoleName=arn.rpartition("/")[2])) for arn in roles]
    found = [LeftOver("role", arn, is_dead(own, now, here)) for arn, own in zip(roles, tags, strict=True)]
    with translate_errors("looking for what an earlier trial left", "iam:ListPolicies"):
        pages = _pages(iam, "list_policies", Scope="Local", PathPrefix=PATH)
        policies = [policy["Arn"] for page in pages for policy in page["Policies"]]
        tags = [_tags(iam.list_policy_tags(PolicyArn=arn)) for arn in policies]
    return found + [LeftOver("policy", arn, is_dead(own, now, here)) for arn, own in zip(policies, tags, strict=True)]


def removed(iam: Any, what: Sequence[LeftOver]) -> list[str]:
    """Removes roles and policies; a sentence for each that is still there. Never raises for what AWS answers."""
    ordered = sorted(what, key=lambda one: one.kind, reverse=True)
    return all_removed(
        (one.arn, partial(remove_role, iam, one.name) if one.kind == "role" else partial(remove_policy, iam, one.arn))
        for one in ordered
    )


def all_removed(steps: Iterable[tuple[str, Callable[[], None]]]) -> list[str]:
    """Does every step; a sentence, with the ARN that it is about, for each that failed."""
    failures: list[str] = []
    for arn, remove in steps:
        try:
            remove()
        except LeastprivError as error:
            failures.append(f"{arn} is still there: {error}")
    return failures


def remove_role(iam: Any, name: str) -> None:
    """Removes a role with its inline policies; managed ones are taken off it. One that is gone is no error.

    Raises:
        AwsError: it is still there.
    """
    # What is missing on the way, such as a policy that is listed still, does not mean that the role is.
    missing = iam.exceptions.NoSuchEntityException
    with translate_errors(f"removing the temporary role {name}", "iam:DeleteRole"):
        with suppress(missing):
            for page in _pages(iam, "list_role_policies", RoleName=name):
                for policy in page["PolicyNames"]:
                    with suppress(missing):
                        iam.delete_role_policy(RoleName=name, PolicyName=policy)
        with suppress(missing):
            for page in _pages(iam, "list_attached_role_policies", RoleName=name):
                for attached in page["AttachedPolicies"]:
                    detach(iam, name, attached["PolicyArn"])
        with suppress(missing):
            iam.delete_role(RoleName=name)


def detach(iam: Any, role: str, arn: str) -> None:
    """Takes a managed policy off a role, if it is on it."""
    with suppress(iam.exceptions.NoSuchEntityException):
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)


def remove_policy(iam: Any, arn: str) -> None:
    """Removes a managed policy that nothing uses. One that is gone is no error.

    Raises:
        AwsError: it is still there.
    """
    with (
        translate_errors(f"removing the temporary policy {arn}", "iam:DeletePolicy"),
        suppress(iam.exceptions.NoSuchEntityException),
    ):
        iam.delete_policy(PolicyArn=arn)


def _pages(iam: Any, operation: str, **parameters: str) -> Iterator[dict[str, Any]]:
    # All pages first: what is removed meanwhile must not shift the rest.
    yield from list(iam.get_paginator(operation).paginate(**parameters))


def _tags(answer: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in answer["Tags"]}
