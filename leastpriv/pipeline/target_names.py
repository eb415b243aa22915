"""Finds the earlier names of a target: in the config, in git, in usage histories and in the markers
of pull requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Self

from msgspec import Struct

from leastpriv.aws.arns import account_of, principal_of
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.users import Callers, KnownUsers
from leastpriv.models import TargetName
from leastpriv.pipeline.context import RunContext, ScopeName, Target, TargetIdentity, scope_id
from leastpriv.policy.source import Location
from leastpriv.pull_request.lifecycle import MarkedPullRequest, fingerprint_scope

_OVERLAP = timedelta(days=7)
"""Time in which a role and its successor may both be at work."""
_BUSY_SHARE = 10
"""A role with a tenth of the calls of another was at work as long as that one."""


class OtherRoles(Struct, frozen=True):
    """Roles that are no earlier names of the role of a target."""

    users: tuple[str, ...] = ()
    """ARNs and patterns of the users of the target."""
    users_of_config: KnownUsers | None = None
    """The users of all targets of the config; None without one."""
    first_call: datetime | None = None
    """Time of the first call of the target in the evidence."""
    calls: int = 0
    """Number of its calls."""
    callers: Callers | None = None
    """Roles of the records; None where the target was not at work from their first days on."""
    account: str = ""
    """The account of the target."""

    @classmethod
    def of(cls, run: RunContext, target: Target, evidence: Evidence, callers: Callers) -> Self:
        """Returns the roles that the config has, or without one those that the records show at work
        besides the role of the target: each has its job.

        Args:
            run: The run.
            target: The target.
            evidence: What was read of it.
            callers: Roles of the records.
        """
        if run.file is not None:
            users = (*target.settings.users.arns, *target.users)
            return cls(users=users, users_of_config=run.file.users)
        roles = (target.role, *target.users)
        first_call = evidence.first
        covered_days = frozenset[date]().union(*evidence.coverage.days.values())
        if first_call is None or not covered_days:
            return cls(users=roles, first_call=first_call)
        if first_call.date() - min(covered_days) > _OVERLAP:
            return cls(users=roles, first_call=first_call)
        return cls(
            users=roles,
            first_call=first_call,
            calls=evidence.counts.calls,
            callers=callers,
            account=target.lead.account,
        )

    def has(self, role: str, opened: datetime | None = None) -> bool:
        """Whether a role is that of another target.

        `opened`: when a pull request of the role was opened.
        """
        if role in self.users:
            return False
        if self.users_of_config and self.users_of_config.name(role):
            return True
        if opened and self.first_call and opened > self.first_call + _OVERLAP:
            return True
        principal = principal_of(role)
        if self.callers is None or principal is None:
            return False
        callers = self.callers.named([principal.name])
        calls = sum(number for arn, number in callers.items() if account_of(arn) == self.account)
        return calls > 0 and calls * _BUSY_SHARE >= self.calls


class TargetNames:
    """The names of a target: its present ones, and the earlier ones that are found by and by."""

    def __init__(
        self, target: Target, earlier_paths: Callable[[], Sequence[str]], other_roles: OtherRoles
    ) -> None:
        """Begins with the names that the config has.

        Args:
            target: The target.
            earlier_paths: Reads the paths that its policy file had before `git mv`.
            other_roles: Roles of other targets, which are no earlier names of this one.
        """
        self._target = target
        self._earlier_paths = earlier_paths
        self._other_roles = other_roles
        self._is_git_read = False
        self._earlier_id = ""
        self._roles = [target.role, *target.formerly.roles]
        self._files = [target.policy_name, *target.formerly.files]
        self.branches = list(target.branches)

    @property
    def identity(self) -> TargetIdentity:
        """The names that are known by now."""
        target = self._target
        return TargetIdentity(
            name=TargetName(
                id=self._earlier_id or scope_id(target.scope),
                role=target.role,
                file=target.policy_name,
            ),
            roles=tuple(dict.fromkeys(self._roles)),
            files=tuple(dict.fromkeys(self._files)),
        )

    def read_git(self) -> None:
        """Adds the names that git knows of the policy file."""
        if self._is_git_read:
            return
        self._is_git_read = True
        for path in self._earlier_paths():
            self._files.append(str(Location(path, self._target.pointer)))

    def was_name_of_target(
        self, name: TargetName, *, opened: datetime | None = None, asks_git: bool = True
    ) -> bool:
        """Whether a name in a marker or a usage history is a present or an earlier one of the
        target.

        - Its names in the config are.
        - That of a role of another target is not, even with an equal file.
        - Else it is if the file, as `iam/ci.json`, is or was the policy file of the target.

        Args:
            name: Role and policy file.
            opened: When a pull request of that name was opened.
            asks_git: Whether git is read for earlier names of the file, which costs a request.
        """
        if self.identity.is_named(name):
            return True
        if self._other_roles.has(name.role, opened):
            return False
        if asks_git and name.file not in self._files:
            self.read_git()
        return name.file in self._files

    def adopt(self, name: TargetName, branch: str = "") -> None:
        """Adds an earlier name, and the branch of its pull request."""
        if not self._earlier_id:
            self._earlier_id = name.id
        self._roles.append(name.role)
        self._files.append(name.file)
        if branch:
            self.add_branches([branch])

    def add_branches(self, branches: Iterable[str]) -> None:
        """Adds branches that pull requests of the target had."""
        for branch in branches:
            if branch not in self.branches:
                self.branches.append(branch)


def is_credible(pull: MarkedPullRequest) -> bool:
    """Whether the first commit of a pull request is that of the role and the policy file that its
    marker names.
    """
    name = pull.mark.name
    return ScopeName(name.role, name.file).id == fingerprint_scope(pull.fingerprint)
