"""Every error that a user can see, words of its messages, and the signals that end a run; only
`cli` catches errors.

LeastprivError              exit 1   the action could not do its job
├── InputError              exit 2   an input is wrong: the message names it and the remedy
│   ├── PolicyFileError     exit 2   the policy file cannot be read as a policy
│   │   └── NoPolicyError            the file has no policy at the pointer
│   ├── TooLargeError       exit 2   an input asks for more work than its budget allows
│   └── CycleError          exit 2   definitions of an input refer to each other
├── NoCallsError            exit 1   the evidence has no call of any principal that is read
├── UnreadableHistoryError  exit 1   the stored history cannot be read; nothing is removed then
├── AwsError                exit 1   an AWS request failed; what this hides in the evidence is a gap
└── PullRequestError        exit 1   the branch, commit or pull request could not be written
    ├── BaseBranchError     exit 2   the input base names a branch that does not exist
    └── CreationForbiddenError       the branch exists, the pull request does not
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType

from msgspec import Struct


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """Returns ` (did you mean X?)` with the known name that is most alike; empty without one."""
    from difflib import get_close_matches

    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(text.lower(), by_lower, n=1, cutoff=0.75)
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""


def plural(count: int, noun: str, many: str = "") -> str:
    """`1 action`, `2 actions`, `1,204 calls`."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def listed(items: Iterable[str], most: int, between: str = ", ") -> str:
    """`a, b and 3 more`, or `a; b; and 3 more`."""
    every = list(items)
    more = f"{between.rstrip(', ')} and {len(every) - most:,} more" if len(every) > most else ""
    return between.join(every[:most]) + more


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


class TooLargeError(InputError):
    """An input asks for more work than its budget allows; `limit` says which, as `200 files`."""

    def __init__(self, limit: str) -> None:
        self.limit = limit
        super().__init__(f"not known: too large (more than {limit})")


class CycleError(InputError):
    """Definitions of an input refer to each other; `path` ends with its first definition."""

    def __init__(self, path: Sequence[str]) -> None:
        self.path = tuple(path)
        most = 10
        shown = self.path
        if len(shown) > most:
            shown = (*shown[: most - 2], f"({len(shown) - most + 1:,} more)", shown[-1])
        super().__init__(f"{' -> '.join(shown)} is a cycle of references; remove one of them")


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
        """The IAM action that the credentials lack (`cloudtrail:LookupEvents`); empty where
        permissions are not the reason."""


class NoCallsError(LeastprivError):
    """The evidence has no call of any principal that is read."""


class UnreadableHistoryError(LeastprivError):
    """A history file is not valid for this principal; the message continues a sentence about the
    file.
    """


class PullRequestError(LeastprivError):
    """The branch, commit or pull request could not be created."""


class BaseBranchError(PullRequestError):
    """The base branch that an input names does not exist."""

    exit_code = 2


class Stopped(KeyboardInterrupt):
    """A signal asked the run to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


class Signals(Struct):
    """The signals received so far. Each raises `Stopped` unless signals are blocked."""

    first_only: bool = False
    """Only the first signal may raise `Stopped`."""
    received: list[int] = []
    """Their numbers, in the order of arrival."""
    _is_blocked: bool = False

    def handle(self, number: int, _frame: FrameType | None = None) -> None:
        """Record a signal; a handler for `signal.signal`.

        Raises Stopped where signals are not blocked, and this is the first signal or `first_only`
        is not set.
        """
        self.received.append(number)
        if not self._is_blocked and not (self.first_only and len(self.received) > 1):
            raise Stopped(number)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record signals inside the block and raise for none of them."""
        before, self._is_blocked = self._is_blocked, True
        try:
            yield
        finally:
            self._is_blocked = before

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Record signals inside the block and raise at its end, whether the block succeeds or
        fails.

        Raises Stopped where a signal arrived inside the block.
        """
        count = len(self.received)
        try:
            with self.recorded():
                yield
        finally:
            if len(self.received) > count:
                raise Stopped(self.received[count])

    @contextmanager
    def delivered(self) -> Iterator[None]:
        """Let a signal raise inside the block, also where an outer block records signals.

        Raises Stopped where a signal arrived before the block, or arrives inside it.
        """
        before, self._is_blocked = self._is_blocked, False
        try:
            if self.received:
                raise Stopped(self.received[0])
            yield
        finally:
            self._is_blocked = before


@contextmanager
def caught_signals(*, first_only: bool = False) -> Iterator[Signals]:
    """Catch Ctrl-C, requests to end and the signal of a closed terminal; a container's first
    process gets them only so.

    A signal that the process ignores, as under `nohup`, remains ignored. Outside the main thread,
    which alone receives signals, none is caught.
    """
    # Imported here: most runs catch none.
    import signal
    import threading

    signals = Signals(first_only)
    ends = (
        (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if threading.current_thread() is threading.main_thread()
        else ()
    )
    caught = [number for number in ends if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, signals.handle) for number in caught}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
