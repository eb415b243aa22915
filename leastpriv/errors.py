"""Every error that a user can see; only `cli` catches them and sets the exit code.

LeastprivError              exit 1   the action could not do its job
├── InputError              exit 2   an input is wrong: the message names it and the remedy
│   └── PolicyFileError     exit 2   the policy file cannot be read as a policy
│       └── NoPolicyError            the file has no policy at the pointer
├── NoCallsError            exit 1   the evidence has no call of any principal that is read
├── UnreadableHistoryError  exit 1   the stored history cannot be read; nothing is removed then
├── AwsError                exit 1   an AWS request failed; what this hides in the evidence is a gap
└── PullRequestError        exit 1   the branch, commit or pull request could not be written
        └── CreationForbiddenError       the branch exists, the pull request does not (pull_request/github/)
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """Returns ` (did you mean X?)` with the known name that is most alike; empty without one."""
    from difflib import get_close_matches

    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(text.lower(), by_lower, n=1, cutoff=0.75)
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""


class LeastprivError(Exception):
    """Base class: one sentence for the user, and the exit code."""

    exit_code = 1


class InputError(LeastprivError):
    """An input is missing, malformed or not allowed."""

    exit_code = 2


class PolicyFileError(InputError):
    """The policy file cannot be parsed and written back without loss."""


class NoPolicyError(PolicyFileError):
    """The file has no policy at the pointer."""


class AwsErrorKind(StrEnum):
    """Why an AWS request failed."""

    NO_CREDENTIALS = "no-credentials"
    INVALID = "invalid"
    """AWS does not accept the credentials."""
    EXPIRED = "expired"
    DENIED = "denied"
    THROTTLED = "throttled"
    SERVER = "server"
    """AWS returned a server error."""
    UNREACHABLE = "unreachable"
    INCOMPLETE = "incomplete"
    """The response is truncated or cannot be parsed."""
    OTHER = "other"


class AwsError(LeastprivError):
    """An AWS request failed: one sentence, the kind, and the missing permission."""

    def __init__(self, message: str, kind: AwsErrorKind, missing_action: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.missing_action = missing_action
        """The IAM action that the credentials lack (`cloudtrail:LookupEvents`); empty where permissions are not the
        reason."""


class NoCallsError(LeastprivError):
    """The evidence has no call of any principal that is read."""


class UnreadableHistoryError(LeastprivError):
    """A history file is not valid for this principal; the message continues a sentence about the file."""


class PullRequestError(LeastprivError):
    """The branch, commit or pull request could not be created."""
