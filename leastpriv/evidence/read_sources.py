"""Reads all sources of evidence in one pass, and says which slip is likely where they have no call of a principal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import PurePath
from typing import TYPE_CHECKING

from msgspec import Struct

from leastpriv.aws.arns import EvidenceSource, Principals, Window, principal_of
from leastpriv.errors import LeastprivError
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.models import Call, Gap, GapKind, Principal, Scope

if TYPE_CHECKING:
    from leastpriv.evidence.denials.encoded_message import Decoder
    from leastpriv.evidence.models import Evidence

_PROGRESS_EVERY = 10_000


class ReadHooks(Struct, frozen=True):
    """What a reader of all sources gets besides them."""

    progress: Callable[[int], None] = lambda _: None
    """Called with the number of calls so far, from time to time."""
    decoder: Decoder | None = None
    """Decodes EC2's encoded messages."""
    shared_gaps: list[Gap] | None = None
    """Receives the gaps of the sources; None: they go to the evidence of each principal."""


def read_evidence(
    sources: Sequence[EvidenceSource],
    window: Window,
    target: Principal | Principals | None,
    progress: Callable[[int], None] = lambda _: None,
    decoder: Decoder | None = None,
) -> Mapping[str, Evidence]:
    """Reads all sources in one pass and returns the evidence by principal ARN; `target` None: of all principals.

    A target is always in the result, even without calls. Gaps count for every principal, since they may hide calls of
    any. Raises LeastprivError, that of the first source, where no source could be read; with other sources it is a gap.
    """
    return dict(read_by_principal(sources, window, target, ReadHooks(progress, decoder)))


def read_by_principal(
    sources: Sequence[EvidenceSource],
    window: Window,
    target: Principal | Principals | None,
    hooks: ReadHooks | None = None,
) -> Iterator[tuple[str, Evidence]]:
    """Like `read_evidence`, but yields the evidence one by one after reading, so that not all is in memory."""
    hooks = hooks or ReadHooks()
    principals = target if isinstance(target, Principals) else Principals(frozenset({target}) if target else None)
    items = _all_items(sources, window, principals)
    first = next(items, None)
    # Import late: the modules below take longer to load than all others, and meanwhile the first objects arrive.
    from leastpriv.evidence.collector import PrincipalCollectors

    books = PrincipalCollectors(principals, len(sources), hooks.decoder)
    for number, (source, item) in enumerate(chain([first] if first else [], items), start=1):
        books.note(source, item)
        if number % _PROGRESS_EVERY == 0:
            hooks.progress(number)
    return books.close(hooks.shared_gaps)


def _all_items(
    sources: Sequence[EvidenceSource], window: Window, principals: Principals
) -> Iterator[tuple[int, Call | Gap]]:
    failures: list[LeastprivError] = []
    for number, source in enumerate(sources):
        for item in _read(source, window, principals):
            if isinstance(item, LeastprivError):
                failures.append(item)
                yield number, Gap(GapKind.SOURCE_FAILED, Scope(), str(item))
            else:
                yield number, item
    if failures and len(failures) == len(sources):
        raise failures[0]


def _read(source: EvidenceSource, window: Window, principals: Principals) -> Iterator[Call | Gap | LeastprivError]:
    """Yields the items of a source; an unexpected error becomes a gap, so that the other sources are still read."""
    try:
        yield from source.read(window, principals)
    except LeastprivError as error:
        yield error
    except Exception as error:
        name = type(source).__name__ if type(source).__str__ is object.__str__ else str(source)
        yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{name} could not be fully read: {describe_defect(error)}")


def describe_defect(error: Exception) -> str:
    """Describes an unexpected exception so that a report of it is enough to find the cause."""
    from traceback import extract_tb

    places = extract_tb(error.__traceback__)
    where = f" at {PurePath(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    return f"unexpected {type(error).__name__}{where}; this is a defect, please report it"


_MOST_NAMED = 5
_UNREAD = (GapKind.SOURCE_FAILED, GapKind.UNREADABLE_FILE, GapKind.UNREADABLE_RECORD)


def missing_calls(principal: Principal, statistics: Sequence[ReadStatistics], gaps: Sequence[Gap]) -> str:
    """Returns sentences that say what was read of each source and which slip is likely, where no call was found."""
    read = ReadStatistics()
    for each in statistics:
        read.absorb(each)
    unread = [gap for gap in gaps if gap.kind in _UNREAD]
    if not read.records and unread:
        more = f" (and {len(unread) - 1} more gaps)" if len(unread) > 1 else ""
        slip = f"No record could be read: {unread[0].detail}{more}."
    elif not read.records and read.outside_window:
        slip = f"All {read.outside_window:,} records are outside the window: check --from and --to, or lookback-days."
    elif read.callers:
        slip = _others(principal, read.callers)
    elif not read.records:
        slip = "No record was read: check trails, and the window."
    else:
        lost = f" {unread[0].detail}." if unread else ""
        slip = f"{read.records:,} records were read: check role-arn and trails.{lost}"
    return f"No calls by {_short(principal.arn)}. {slip}"


def damaged_files(statistics: Sequence[ReadStatistics], gaps: Sequence[Gap]) -> str:
    """Returns a sentence where every file that was read is damaged, whatever its intact part shows; else nothing."""
    damaged = sum(each.damaged_files for each in statistics)
    if not damaged or any(each.damaged_files + each.foreign_files < max(each.files, 1) for each in statistics):
        return ""
    first = next((gap.detail for gap in gaps if gap.kind in _UNREAD), "")
    return f"Every file that was read is damaged ({damaged:,}): {first}."


def _others(principal: Principal, callers: Mapping[str, int]) -> str:
    # A session's ARN lacks the path of its role.
    arns: dict[tuple[str, str, str], str] = {}
    counts: Counter[tuple[str, str, str]] = Counter()
    for arn, calls in callers.items():
        other = principal_of(arn) or principal_of(f"{arn}/session")
        if other and ":role/aws-service-role/" not in other.arn:
            key = (other.account, other.kind, other.name)
            arns[key] = max(arns.get(key, ""), other.arn, key=len)
            counts[key] += calls
    own = sorted((key for key in counts if key[0] == principal.account), key=lambda key: (-counts[key], arns[key]))
    if not own:
        accounts = ", ".join(sorted({account for account, _, _ in counts})[:_MOST_NAMED])
        whose = f"of account {accounts}: check the account in role-arn, and" if accounts else "of services: check"
        return f"The calls in this trail are {whose} trails."
    names = {name: (account, kind, name) for account, kind, name in own}
    from difflib import get_close_matches

    close = [names[name] for name in get_close_matches(principal.name, names, n=_MOST_NAMED, cutoff=0.7)]
    shown = list(dict.fromkeys([*close, *own]))[:_MOST_NAMED]
    listed = ", ".join(f"{_short(arns[key])} ({counts[key]:,} call{'' if counts[key] == 1 else 's'})" for key in shown)
    more = f" and {len(own) - len(shown)} more" if len(own) > len(shown) else ""
    meant = f" Did you mean {_short(arns[close[0]])}?" if close else ""
    return f"Roles and users in this trail: {listed}{more}.{meant}"


def _short(arn: str) -> str:
    """Returns the end of an ARN: `role/ci/deploy`."""
    return arn.split(":", 5)[5]
