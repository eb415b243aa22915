"""How much of what a role needs its runs have shown: runs are samples, permissions the species found in them.

Biologists ask the same of plots: how likely is it that the next one holds a species that no plot has shown? Their
answer takes no model of the species, only how many were found in one plot alone and how many in two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from leastpriv.evidence.models import Evidence
from leastpriv.models import Outcome, Usage
from leastpriv.permissions.patterns import resource_covers
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import naming


@dataclass(frozen=True, slots=True)
class Confidence:
    """What some runs show of how much more there is. All figures are estimates; none is a promise.

    Sources: A. Chao, "Estimating the population size for capture-recapture data with unequal catchability",
    Biometrics 43 (1987), 783-791 (Chao2). A. Chao and L. Jost, "Coverage-based rarefaction and extrapolation", Ecology
    93 (2012), 2533-2547, in the form for incidence data of A. Chao et al., "Rarefaction and extrapolation with Hill
    numbers", Ecological Monographs 84 (2014), 45-67, equation 4a.
    """

    runs: int
    """T: how many runs were looked at."""
    permissions: int = 0
    """S: how many permissions they used."""
    uses: int = 0
    """U: in how many runs each was used, summed up."""
    once: int = 0
    """Q1: permissions that a single run used."""
    twice: int = 0
    """Q2: permissions that two runs used."""
    own: int = 0
    """Runs that used something which no other run did."""

    @property
    def unseen(self) -> float:
        """Chao2: at least so many permissions are needed now and then that no run has used.

        (T-1)/T · Q1²/(2·Q2), and (T-1)/T · Q1·(Q1-1)/2 where Q2 is 0.
        """
        if self.runs == 0:
            return 0.0
        pairs = self.once**2 / (2 * self.twice) if self.twice else self.once * (self.once - 1) / 2
        return (self.runs - 1) / self.runs * pairs

    @property
    def coverage(self) -> float:
        """Sample coverage, from 0 to 1: the share of the next run's uses that are of permissions already seen.

        1 - Q1/U · A with A = (T-1)·Q1 / ((T-1)·Q1 + 2·Q2), and (T-1)·(Q1-1) / ((T-1)·(Q1-1) + 2) where Q2 is 0. Of a
        single run, which tells nothing of the next, it is 0; the formula would give 1.
        """
        return 1 - self.once / self.uses * self._unseen_share if self.uses else 0.0

    @property
    def expected(self) -> float:
        """How many permissions the next run needs that no run has used, on average: (1 - coverage) · U/T."""
        return (1 - self.coverage) * self.uses / self.runs if self.runs else 0.0

    @property
    def chance(self) -> float:
        """The chance, from 0 to 1, that the next run needs something that no run has used: `chance` of `own` in `runs`.

        Permissions come together: the one run that deletes a stack needs twenty new ones. `expected` counts them all,
        which says little of how often that happens.
        """
        return chance(self.own, self.runs)

    @property
    def percent(self) -> int:
        """What `minimum-confidence` is compared with: 100 less the chance in percent, rounded down."""
        return int(100 * (1 - self.chance) + 1e-9)

    @property
    def _unseen_share(self) -> float:
        if self.runs < 2:
            return 1.0
        pairs = (self.runs - 1) * (self.once if self.twice else max(self.once - 1, 0))
        return pairs / (pairs + 2 * (self.twice or 1))


def chance(surprises: int, runs: int) -> float:
    """The chance that the next run surprises, from 0 to 1: (K + ½) / (T + 1), where K of T runs did.

    Each run was the next one once, as in leave-one-out. This is the mean of a share under Jeffreys' prior (H. Jeffreys,
    "An invariant form for the prior probability in estimation problems", Proc. Royal Society A 186 (1946), 453-461):
    never 0, and ½ where nothing is known.
    """
    return (surprises + 0.5) / (runs + 1)


@dataclass(frozen=True, slots=True)
class Confidences:
    """In all, and for each service over the runs that used it."""

    whole: Confidence
    by_service: Mapping[str, Confidence]

    def of(self, action: str) -> Confidence:
        """That of an action's service; of one that no run has used, that in all."""
        return self.by_service.get(action.partition(":")[0], self.whole)


def confidences(
    evidence: Evidence, documents: Sequence[Document] = (), without: frozenset[str] = frozenset()
) -> Confidences:
    """What the runs with an allowed call show, but for those whose ids are in `without`.

    A permission is an action and, with `documents`, the entry of theirs that grants its resource: names that a pattern
    stands for are one. Without documents it is the action alone.
    """
    found: dict[tuple[str, str], set[str]] = {}
    granting = _Granting(documents)
    for usage in evidence.usages:
        if usage.outcome is Outcome.ALLOWED and usage.need.verified:
            key = (usage.need.permission.action, granting.entry(usage))
            found.setdefault(key, set()).update(run for run in usage.runs if run not in without)
    services: dict[str, list[set[str]]] = {}
    for (action, _), runs in found.items():
        services.setdefault(action.partition(":")[0], []).append(runs)
    by_service = {service: estimate(runs) for service, runs in sorted(services.items())}
    return Confidences(estimate(found.values()), by_service)


def estimate(permissions: Iterable[Iterable[str]]) -> Confidence:
    """From the runs of each permission, by their ids; a run without any is not known of."""
    every = [frozenset(runs) for runs in permissions]
    every = [runs for runs in every if runs]
    often = Counter(map(len, every))
    alone = {run for runs in every if len(runs) == 1 for run in runs}
    everywhere = frozenset[str]().union(*every)
    return Confidence(len(everywhere), len(every), sum(map(len, every)), often[1], often[2], len(alone))


class _Granting:
    """Which entry of the policies grants a usage."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = [each for each in documents if any(one.effect == "Allow" for one in each.statements)]
        self._of_action: dict[str, tuple[Statement, ...]] = {}

    def entry(self, usage: Usage) -> str:
        """The resource as a policy names it; its own name where none does."""
        action, resource = usage.need.permission.action, usage.need.permission.resource
        if not self._documents:
            return ""
        if action not in self._of_action:
            every = [each for document in self._documents for each in naming(document, action)]
            self._of_action[action] = tuple(each for each in every if each.effect == "Allow")
        for statement in self._of_action[action]:
            for pattern in statement.resources or ("*",):
                if resource_covers(pattern, resource):
                    return pattern
        return resource
