"""Estimates how many of a role's needed permissions its runs have shown, by species-richness
statistics.

Runs are samples and permissions are species. The estimators use only how many permissions one run
and two runs used; they assume no distribution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.evidence.models import Evidence
from leastpriv.models import Permission, Usage, grouped
from leastpriv.permissions.lifecycle import siblings_of
from leastpriv.permissions.patterns import resource_covers
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import allow_statements, granted_resources

_HALVINGS = 60
"""Steps that find a number of this size to the last digit."""


class Confidence(Struct, frozen=True):
    """Estimates from the recorded runs of how many permissions are still unseen.

    Sources: A. Chao, "Estimating the population size for capture-recapture data with unequal
    catchability", Biometrics 43 (1987), 783-791 (Chao2). A. Chao and L. Jost, "Coverage-based
    rarefaction and extrapolation", Ecology 93 (2012), 2533-2547, in the form for incidence data of
    A. Chao et al., "Rarefaction and extrapolation with Hill numbers", Ecological Monographs 84
    (2014), 45-67, equation 4a.
    """

    runs: int
    """T: number of runs."""
    permissions: int = 0
    """S: number of permissions that they used."""
    uses: int = 0
    """U: sum over permissions of the number of runs that used each."""
    once: int = 0
    """Q1: permissions that one run used."""
    twice: int = 0
    """Q2: permissions that two runs used."""
    own: int = 0
    """Runs that used a permission which no other run used."""

    @property
    def unseen(self) -> float:
        """Chao2: a lower bound of the number of permissions that no run has used yet.

        (T-1)/T · Q1²/(2·Q2), and (T-1)/T · Q1·(Q1-1)/2 where Q2 is 0.
        """
        if self.runs == 0:
            return 0.0
        pairs = self.once**2 / (2 * self.twice) if self.twice else self.once * (self.once - 1) / 2
        return (self.runs - 1) / self.runs * pairs

    @property
    def coverage(self) -> float:
        """Sample coverage, from 0 to 1: the share of the next run's uses that are of permissions
        already seen.

        1 - Q1/U · A with A = (T-1)·Q1 / ((T-1)·Q1 + 2·Q2), and (T-1)·(Q1-1) / ((T-1)·(Q1-1) + 2)
        where Q2 is 0. It is 0 for a single run, which shows nothing about the next; the formula
        would give 1.
        """
        pairs = (self.runs - 1) * (self.once if self.twice else max(self.once - 1, 0))
        share = pairs / (pairs + 2 * (self.twice or 1)) if self.runs > 1 else 1.0
        return 1 - self.once / self.uses * share if self.uses else 0.0

    @property
    def chance(self) -> float:
        """Probability, from 0 to 1, that the next run needs an unseen permission: `chance` of `own`
        in `runs`.

        Permissions come together: one run that deletes a stack needs twenty new ones. A mean counts
        all of them, and does not show how often such a run happens.
        """
        return chance(self.own, self.runs)

    @property
    def percent(self) -> int:
        """100 minus the chance in percent, rounded down; compared with `minimum-confidence`."""
        return int(100 * (1 - self.chance) + 1e-9)


def chance(surprises: int, runs: int) -> float:
    """Probability, from 0 to 1, that the next run needs something new: (K + ½) / (T + 1), where K
    of T runs did.

    Each run was the next one once, as in leave-one-out. This is the mean of a share under Jeffreys'
    prior (H. Jeffreys, "An invariant form for the prior probability in estimation problems", Proc.
    Royal Society A 186 (1946), 453-461): never 0, and ½ without any run.
    """
    return (surprises + 0.5) / (runs + 1)


@lru_cache(maxsize=1_024)
def falling_chance(surprises: int, runs: int, *, after: int = 1) -> float:
    """Probability, from 0 to 1, that the next run needs something new, where K of T runs did that
    followed some first ones.

    A policy of one run lacks more than one of ten: after k runs the chance is c / (c + k), as in
    Ewens' sampling formula (W. J. Ewens, "The sampling theory of selectively neutral alleles",
    Theoretical Population Biology 3 (1972), 87-112), and c is such that T + 1 runs are expected to
    bring K + ½ surprises, as in `chance`.

    Args:
        surprises: K, the runs that needed something new.
        runs: T, the runs that followed.
        after: The first runs, before them.
    """
    known_runs = range(after, after + runs + 1)
    low = 0.0
    high = 2.0 * (after + runs) ** 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        expected = sum(middle / (middle + known) for known in known_runs)
        if expected < surprises + 0.5:
            low = middle
        else:
            high = middle
    return low / (low + after + runs)


class Confidences(Struct, frozen=True):
    """Confidence over all runs, and per service over the runs that used it."""

    whole: Confidence
    by_service: Mapping[str, Confidence]

    def of(self, action: str) -> Confidence:
        """Confidence of an action's service; for a service that no run has used, that over all
        runs.
        """
        return self.by_service.get(action.partition(":")[0], self.whole)


def confidences(
    evidence: Evidence, documents: Sequence[Document] = (), without: frozenset[str] = frozenset()
) -> Confidences:
    """Computes the confidence of the runs with an allowed call, except those whose ids are in
    `without`.

    All resources that one entry of `documents` grants count as one permission. Without documents
    the action alone is the permission, and a run's own action that is a lifecycle counterpart of
    another run's is no surprise: a removal keeps it.
    """
    runs_by_permission: dict[Permission, set[str]] = {}
    granting = [document for document in documents if allow_statements([document])]
    for usage in evidence.allowed_usages:
        if usage.need.verified:
            entry = _granting_entry(usage, granting) if granting else ""
            runs = runs_by_permission.setdefault(Permission(usage.action, entry), set())
            runs.update(run for run in usage.runs if run not in without)
    runs_by_service = grouped(
        (permission.action.partition(":")[0], runs)
        for permission, runs in runs_by_permission.items()
    )
    by_service = {service: estimate(runs) for service, runs in sorted(runs_by_service.items())}
    if not documents:
        surprises = _surprises(
            {permission.action: runs for permission, runs in runs_by_permission.items()}
        )
        by_service = {
            service: replace(confidence, own=len(surprises.get(service, ())))
            for service, confidence in by_service.items()
        }
    return Confidences(estimate(runs_by_permission.values()), by_service)


def _surprises(runs_of: Mapping[str, set[str]]) -> Mapping[str, set[str]]:
    """Service -> runs that used an action which no other run used and no other run's actions
    foresaw.
    """
    surprises: dict[str, set[str]] = {}
    for action, runs in runs_of.items():
        if len(runs) != 1:
            continue
        service = action.partition(":")[0]
        is_foreseen = any(
            runs_of[other_action] - runs and action in siblings_of((other_action,))
            for other_action in runs_of
            if other_action != action and other_action.startswith(f"{service}:")
        )
        if not is_foreseen:
            surprises.setdefault(service, set()).update(runs)
    return surprises


def estimate(permissions: Iterable[Iterable[str]]) -> Confidence:
    """Computes a confidence from the run ids of each permission."""
    all_permissions = [*filter(None, map(frozenset, permissions))]
    often = Counter(map(len, all_permissions))
    alone = {run for runs in all_permissions if len(runs) == 1 for run in runs}
    everywhere = frozenset[str]().union(*all_permissions)
    return Confidence(
        runs=len(everywhere),
        permissions=len(all_permissions),
        uses=sum(map(len, all_permissions)),
        once=often[1],
        twice=often[2],
        own=len(alone),
    )


def _granting_entry(usage: Usage, documents: Sequence[Document]) -> str:
    """The resource pattern that grants the usage; its own resource if there is none."""
    resource = usage.resource
    patterns = granted_resources(documents, usage.action)
    return next((pattern for pattern in patterns if resource_covers(pattern, resource)), resource)
