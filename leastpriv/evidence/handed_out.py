"""Whose keys a role's calls were signed with: those that another principal's `AssumeRole` got, or others.

The answer to AssumeRole tells the id of the key that it hands out (`credentials.accessKeyId`), and each call tells that
of the key that signed it (CloudTrail record contents, `userIdentity.accessKeyId`, read 2026-11-26). A record may come
before the one of its login, so both are kept until all are in; memory is bounded, since every session has its own key.
"""

from __future__ import annotations

from collections.abc import Mapping

from leastpriv.evidence.cloudtrail.identity import access_key_in
from leastpriv.model import Call, Outcome

_MOST_KEYS = 50_000
"""Of one scan; calls with further keys are not counted."""
_LOGIN = "AssumeRole"


class HandedOutKeys:
    """Takes in calls as they stream by; `callers` tells at the end who had handed out what they were signed with."""

    def __init__(self) -> None:
        self._signed: dict[tuple[str, str], int] = {}
        self._issuers: dict[str, str] = {}

    def note(self, call: Call) -> None:
        """Counts one call by its key, and keeps the key that it handed out."""
        signed = (call.principal, call.access_key)
        if call.access_key and (signed in self._signed or len(self._signed) < _MOST_KEYS):
            self._signed[signed] = self._signed.get(signed, 0) + 1
        if call.name == _LOGIN and call.source == "sts.amazonaws.com" and call.outcome is Outcome.ALLOWED:
            credentials = call.response.get("credentials")
            key = access_key_in(credentials) if isinstance(credentials, Mapping) else ""
            if key and len(self._issuers) < _MOST_KEYS:
                self._issuers[key] = call.principal

    def callers(self) -> Mapping[str, Mapping[str, int]]:
        """Principal -> (who handed out the keys, empty where nobody did that was read) -> number of calls."""
        found: dict[str, dict[str, int]] = {}
        for (principal, key), count in self._signed.items():
            issuer = self._issuers.get(key, "")
            counts = found.setdefault(principal, {})
            counts[issuer] = counts.get(issuer, 0) + count
        return found
