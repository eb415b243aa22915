"""Decides whether a silence of the records hides nothing that other days do not settle.

A short silence could have hidden only a use that none of the days around it shows. What came back
at an interval, or was used before, is remembered (`rhythm`, `remembered`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta

from msgspec import Struct

from leastpriv.aws.arns import account_of, region_field
from leastpriv.cloudtrail.coverage import EXCLUDABLE, LONGEST_SILENCE, WRITE, Period, silences
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.usage_history import ActionUse, UsageHistory
from leastpriv.models import Gap, GapKind
from leastpriv.proposal.models import Options
from leastpriv.proposal.visibility_guards import could_hide

_DAY = timedelta(days=1)
_MOST_LOST = 10
"""A silence is short if the days around it are this many times as long."""
_LEAST_RUNS_OF_MONTH = 2
"""With fewer runs, a remembered month shows too few of its days."""
_MOST_DAYS_OF_MONTH = 4
"""The history counts the runs of a month, of which all may have begun on a few days."""


class _Stretch(Struct, frozen=True):
    """Days without a silence, from the first to the last."""

    first: date
    last: date
    remembered_runs: int = 0
    """Runs before the evidence, in the days that the usage history adds."""

    @property
    def days(self) -> int:
        """Number of days."""
        return (self.last - self.first).days + 1


class SettledSilences(Struct, frozen=True):
    """Judges the silences of the evidence about one policy."""

    evidence: Evidence
    options: Options
    uncounted_runs: frozenset[str]
    """Ids of the runs that count for no threshold."""
    memory: UsageHistory | None = None

    def open_gaps(self) -> tuple[Gap, ...]:
        """Returns the gaps of the evidence without the silences that other days settle."""
        return tuple(gap for gap in self.evidence.gaps if not self._is_settled(gap))

    def _is_settled(self, gap: Gap) -> bool:
        """Whether the days around a short silence show as much as a removal needs."""
        days_read = self.evidence.coverage.whole_days
        if gap.kind is not GapKind.SILENCE or days_read is None or not gap.scope.regions:
            return False
        # The coverage is what all accounts have in common, and the silence may be of one of them.
        if len({account_of(user.arn) for user in self.evidence.users}) > 1:
            return False
        return all(self._is_settled_in(region, gap, days_read) for region in gap.scope.regions)

    def _is_settled_in(self, region: str, gap: Gap, whole: Period) -> bool:
        """Whether days between two silences of a region are enough for a removal, and the silences
        short in comparison.
        """
        kind = _kind_of(gap)
        coverage = self.evidence.coverage
        silent = silences(coverage.days_with(region, kind), whole, writes=kind == WRITE)
        if not silent:
            return False
        lost = sum((last - first).days + 1 for first, last in silent)
        least_days = max(self.options.minimum_days, lost * _MOST_LOST)
        first, *later = _stretches(silent, whole)
        longer = self._with_memory(first, region, gap)
        return any(
            stretch.days >= least_days and self._has_enough_runs(stretch)
            for stretch in (longer, *later)
        )

    def _has_enough_runs(self, stretch: _Stretch) -> bool:
        """Whether each user of the policy has enough days with a run in a stretch."""
        minimum = self.options.minimum_runs
        users = [user.runs for user in self.evidence.users if not user.unread]
        if not users:
            return self._days_with_runs(stretch, None) + stretch.remembered_runs >= minimum
        return all(self._days_with_runs(stretch, runs) >= minimum for runs in users)

    def _days_with_runs(self, stretch: _Stretch, own: frozenset[str] | None) -> int:
        """Returns on how many days of a stretch a run without a denial began that counts.

        `own`: ids of the runs of one user; None: all runs.
        """
        days: set[date] = set()
        for run in self.evidence.runs:
            if run.denied or run.id in self.uncounted_runs:
                continue
            day = run.first.date()
            if stretch.first <= day <= stretch.last and (own is None or run.id in own):
                days.add(day)
        return len(days)

    def _with_memory(self, stretch: _Stretch, region: str, gap: Gap) -> _Stretch:
        """Returns the first stretch of the evidence with the days before it that the usage history
        settles.

        These are the months before it, each with runs whose use the silence would have hidden, up
        to the evidence. Of a policy with several users the history does not say who ran, so that it
        settles nothing.
        """
        if self.memory is None or self.evidence.users:
            return stretch
        uses = tuple(self._uses_in(region, gap, self.memory))
        runs_by_month: dict[str, int] = {}
        for use in uses:
            for month, runs in use.runs.items():
                runs_by_month[month] = max(runs, runs_by_month.get(month, 0))
        months = _months_before(stretch.first, runs_by_month)
        if not months or not self._reaches(stretch.first, uses, runs_by_month):
            return stretch
        earliest = min(use.first for use in uses)
        begin = max(earliest, date.fromisoformat(f"{months[-1]}-01"))
        return _Stretch(
            first=min(begin, stretch.first),
            last=stretch.last,
            remembered_runs=sum(min(runs_by_month[month], _MOST_DAYS_OF_MONTH) for month in months),
        )

    def _reaches(
        self, day: date, uses: Sequence[ActionUse], runs_by_month: Mapping[str, int]
    ) -> bool:
        """Whether remembered uses come up to the day on which the evidence begins."""
        if day - max(use.last for use in uses) > LONGEST_SILENCE:
            return False
        if day - day.replace(day=1) <= LONGEST_SILENCE:
            return True
        month = f"{day:%Y-%m}"
        runs_of_month = sum(f"{run.first:%Y-%m}" == month for run in self.evidence.runs)
        return runs_by_month.get(month, 0) > runs_of_month

    def _uses_in(self, region: str, gap: Gap, memory: UsageHistory) -> Iterator[ActionUse]:
        """Yields the remembered uses that records of a region show, and that the silence would have
        hidden.
        """
        is_only_region = self.evidence.coverage.only_region == region
        for action, by_resource in memory.used.items():
            if not could_hide(gap, action):
                continue
            for resource, use in by_resource.items():
                named = region_field(resource)
                if named == region or (is_only_region and not named):
                    yield use


def _kind_of(gap: Gap) -> str:
    """Returns the kind of events that a silence lacks (`Coverage.logged`); empty for all."""
    if gap.scope.events:
        return gap.scope.events[0]
    return next((EXCLUDABLE[prefix] for prefix in gap.scope.services), "")


def _stretches(silent: Sequence[Period], whole: Period) -> Iterator[_Stretch]:
    """Yields the days before, between and after the silences."""
    start = whole[0]
    for first, last in silent:
        yield _Stretch(start, first - _DAY)
        start = last + _DAY
    yield _Stretch(start, whole[1])


def _months_before(day: date, runs_by_month: Mapping[str, int]) -> list[str]:
    """Returns the months with enough runs that precede a day without a month between, the latest
    first.
    """
    months: list[str] = []
    first = day.replace(day=1)
    while True:
        first = (first - _DAY).replace(day=1)
        month = f"{first:%Y-%m}"
        if runs_by_month.get(month, 0) < _LEAST_RUNS_OF_MONTH:
            return months
        months.append(month)
