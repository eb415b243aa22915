"""The evidence of all targets in one scan of each account, and of the roles that they lead to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from leastpriv.configuration import Entry
from leastpriv.errors import AwsError, LeastprivError
from leastpriv.evidence.chain import MOST_STEPS, Chain, chain_of
from leastpriv.evidence.source import Principals, parse_principal
from leastpriv.evidence.usage import Evidence
from leastpriv.model import Principal
from leastpriv.permissions.patterns import matches
from leastpriv.reading import Reading, Say, read_several
from leastpriv.report.words import plural
from leastpriv.settings import Settings
from leastpriv.several.target import tried
from leastpriv.workplace import Workplace

MOST_BY_PATTERN = 50
"""Roles that one pattern may mean: who wants more names them."""


@dataclass(slots=True)
class Readings:
    """What was read so far, by ARN, and why some of it could not be."""

    settings: Settings
    """The run's own; its principal is nobody."""
    workplace: Workplace
    say: Say
    found: dict[str, Reading] = field(default_factory=dict)
    failures: dict[str, LeastprivError] = field(default_factory=dict)
    """By account."""
    unlisted: dict[str, LeastprivError] = field(default_factory=dict)
    """By account: why nobody knows which roles its patterns mean."""

    def read(self, principals: Iterable[Principal], patterns: Iterable[str] = ()) -> None:
        """Reads whom it has not read yet, one scan an account: what the trail of one logs says nothing of another."""
        wanted = [each for each in principals if each.arn not in self.found]
        open_to = list(patterns)
        accounts = dict.fromkeys((*(each.account for each in wanted), *(text.split(":")[4] for text in open_to)))
        for account in accounts:
            own = [each for each in wanted if each.account == account]
            like = [text for text in open_to if text.split(":")[4] == account]
            read, failure = tried(lambda own=own, like=like: self._scan(own, like))  # type: ignore[misc]
            self.found.update(read or {})
            if failure:
                self.failures[account] = failure
                self.say(f"Not read of account {account}: {failure}")
        # Whoever was waited for once has come.
        self.settings = replace(self.settings, wait_for_events=0)

    def _scan(self, own: list[Principal], like: list[str]) -> Mapping[str, Reading]:
        targets, patterns = dict.fromkeys(own), like
        if like and self.settings.asks_aws:
            listed, failure = tried(lambda: self._listed(like))
            targets |= dict.fromkeys(listed or ())
            patterns = []
            if failure:
                self.unlisted[like[0].split(":")[4]] = failure
        if not targets and not patterns:
            return {}
        first = next(iter(targets), None) or parse_principal(like[0].replace("*", "x").replace("?", "x"))
        whose = Principals(frozenset(targets), frozenset(patterns))
        return read_several(replace(self.settings, principal=first), whose, self.workplace, self.say)

    def _listed(self, patterns: list[str]) -> Iterable[Principal]:
        from leastpriv.evidence.role_names import roles_like

        if self.workplace.reach is None:
            return ()
        try:
            return roles_like(self.workplace.reach.aws(), patterns, patterns[0].split(":")[1])
        except AwsError as error:
            raise AwsError(
                f"{error} Allow it for the wildcards of the input config, or name the roles.",
                error.trouble,
                error.missing,
            ) from error


def matched(entry: Entry, readings: Readings, taken: Iterable[str]) -> tuple[str, ...]:
    """ARNs of the roles that an entry's pattern means and nobody named otherwise, sorted.

    Raises:
        LeastprivError: they could not be read, or are too many.
    """
    account = entry.role.split(":")[4]
    failure = readings.failures.get(account) or readings.unlisted.get(account)
    if failure:
        raise failure
    already = set(taken)
    found = sorted(
        arn
        for arn, reading in readings.found.items()
        if arn not in already and reading.evidence.counts.calls and matches(entry.role, arn)
    )
    if len(found) > MOST_BY_PATTERN:
        raise LeastprivError(
            f"{entry.where}: role-arn means {len(found)} roles, and at most {MOST_BY_PATTERN} are taken: narrow it."
        )
    return tuple(found)


def followed(readings: Readings, roots: tuple[str, ...], *, follow: bool) -> Chain:
    """The chain from the targets, read to its end where it is to be followed: a further scan for each step at most."""
    asked: set[str] = set()
    for _ in range(MOST_STEPS):
        chain = chain_of(roots, _evidence(readings))
        unknown = [role for role in chain.roles if role not in readings.found and role not in asked]
        if not follow or not unknown:
            return chain
        asked.update(unknown)
        readings.say(f"The targets lead to {plural(len(unknown), 'role')} that the config does not name: reading on")
        readings.read(map(parse_principal, unknown))
    return chain_of(roots, _evidence(readings))


def _evidence(readings: Readings) -> Mapping[str, Evidence]:
    return {arn: reading.evidence for arn, reading in readings.found.items()}
