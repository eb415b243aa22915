"""Sessions of a role as the records of its logins tell them: their names, by which event history is looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from leastpriv.evidence.cloudtrail.event import event_time
from leastpriv.evidence.source import Principals, session_of
from leastpriv.model import Gap, GapKind, Scope

NAMED_LOGINS = ("AssumeRoleWithWebIdentity", "AssumeRoleWithSAML")
"""Events of logins that are rare enough to be looked up by their own name."""


@dataclass(slots=True)
class Logins:
    """What the records of logins have told so far."""

    principals: Principals
    sessions: set[str] = field(default_factory=set)
    roles: set[str] = field(default_factory=set)
    """ARNs of the roles as the logins name them: with their paths."""
    last: datetime | None = None
    """Time of the newest login."""

    def note(self, record: object) -> str:
        """Takes one record in; why it may be a login to one of the roles and cannot be read, or nothing."""
        if not isinstance(record, Mapping) or not record.get("eventName"):
            return "a record that may be a login cannot be read"
        if record.get("errorCode") or not str(record["eventName"]).startswith("AssumeRole"):
            return ""
        asked, given = record.get("requestParameters"), record.get("responseElements")
        role = str(asked.get("roleArn") or "") if isinstance(asked, Mapping) else ""
        user = given.get("assumedRoleUser") if isinstance(given, Mapping) else None
        own = str(user.get("arn") or "") if isinstance(user, Mapping) else ""
        if (role or own) and not self.principals.wants(role or own):
            return ""
        name = session_of(own) or (str(asked.get("roleSessionName") or "") if isinstance(asked, Mapping) else "")
        if not name or not (role or own):
            return f"a login ({record['eventName']}) does not tell its role or session"
        self._keep(name, role, event_time(record))
        return ""

    def _keep(self, name: str, role: str, time: datetime | None) -> None:
        self.sessions.add(name)
        if role:
            self.roles.add(role)
        self.last = max(filter(None, (self.last, time)), default=None)


def unread_login(detail: str) -> Gap:
    """The gap of a login that was not seen or not understood: its session may have acted anywhere."""
    return Gap(GapKind.UNREADABLE_RECORD, Scope(), detail)
