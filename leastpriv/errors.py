"""Every error a user can meet; only `cli` catches them and only `cli` exits.

LeastprivError              exit 1   something could not be done
├── InputError              exit 2   an input is wrong: the message names it and the way out
│   └── PolicyFileError     exit 2   the policy file cannot be read as a policy
│       └── NoPolicyError            it can be read, and holds none where the pointer leads
├── UnreadableMemoryError   exit 1   what was remembered cannot be read; nothing is removed then
├── AwsError                exit 1   AWS could not be asked; what of the evidence this leaves open is told as a gap
└── PullRequestError        exit 1   the proposal could not be put where people review it
        └── CreationForbiddenError       the branch is there, the pull request is not (pull_request/github_errors.py)
"""

from __future__ import annotations

from enum import StrEnum


class LeastprivError(Exception):
    """Base of the tree: one sentence for the user, and the exit code it leads to."""

    exit_code = 1


class InputError(LeastprivError):
    """An input is missing, malformed or refused."""

    exit_code = 2


class PolicyFileError(InputError):
    """The policy file is not a policy that can be read and written back unharmed."""


class NoPolicyError(PolicyFileError):
    """The file holds no policy where the pointer leads."""


class AwsTrouble(StrEnum):
    """What kept AWS from answering."""

    NO_CREDENTIALS = "no-credentials"
    INVALID = "invalid"
    """Credentials that AWS does not know."""
    EXPIRED = "expired"
    DENIED = "denied"
    THROTTLED = "throttled"
    SERVER = "server"
    """AWS failed by itself."""
    UNREACHABLE = "unreachable"
    INCOMPLETE = "incomplete"
    """An answer that broke off, or cannot be read."""
    OTHER = "other"


class AwsError(LeastprivError):
    """AWS could not be asked, or did not answer: one sentence, its kind, and the permission that was missing."""

    def __init__(self, message: str, trouble: AwsTrouble, missing: str = "") -> None:
        super().__init__(message)
        self.trouble = trouble
        self.missing = missing
        """The IAM action that the credentials lack (`cloudtrail:LookupEvents`); empty where that is not the reason."""


class UnreadableMemoryError(LeastprivError):
    """A file is no memory of this principal: the end of a sentence that begins with its name."""


class PullRequestError(LeastprivError):
    """The branch, commit or pull request could not be made."""
