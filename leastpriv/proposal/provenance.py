"""Where the runs behind an addition came from: extending is an escalation channel, so unreviewed code adds nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from leastpriv.model import Origin, Run, Trust, Usage
from leastpriv.proposal.situation import Objection

_MOST_RUNS_OF_ONE = 10
_MOST_RUNS = 60
"""Each run is one question to GitHub, or a few: an addition with none trusted among the latest ones is told as such."""


def origins_of(
    missing: Sequence[Usage], runs: Sequence[Run], ask: Callable[[Run], Origin], makers: Sequence[Usage] = ()
) -> Mapping[str, Origin]:
    """Run id -> origin for the runs that additions hang on, newest first, until each has one to be trusted.

    And for the latest of those that made such things (`makers`), as far as there are questions left: a run that was
    not asked for opens nothing (`reviewed`).
    """
    by_id = {run.id: run for run in runs}
    found: dict[str, Origin] = {}
    asked = 0
    for usage in missing:
        newest = [by_id[run] for run in reversed(usage.runs) if run in by_id]
        for run in newest[:_MOST_RUNS_OF_ONE]:
            if run.id not in found:
                # Whoever has many runs must not get past the question by them: not asked is not trusted.
                found[run.id] = ask(run) if asked < _MOST_RUNS else _NOT_ASKED
                asked += 1
            if found[run.id].trust is Trust.TRUSTED:
                break
    making = [by_id[run] for usage in makers for run in usage.runs[-_MOST_RUNS_OF_ONE:] if run in by_id]
    left = [run for run in dict.fromkeys(making) if run.id not in found][: max(_MOST_RUNS - asked, 0)]
    return found | {run.id: ask(run) for run in left} if found else found


_NOT_ASKED = Origin(Trust.UNTRUSTED, f"refs that were not asked for, past {_MOST_RUNS} runs in all")


def untrusted(usage: Usage, origins: Mapping[str, Origin]) -> Objection | None:
    """The objection to an addition that only unreviewed code asked for; None also where nobody knows."""
    known = [origins[run] for run in usage.runs if run in origins]
    if any(origin.trust is Trust.TRUSTED for origin in known):
        return None
    doubtful = [origin for origin in known if origin.trust is Trust.UNTRUSTED]
    if not doubtful:
        return None
    places = ", ".join(dict.fromkeys(origin.where for origin in doubtful))
    return Objection("untrusted-ref", f"it was seen only in runs of {places}")


def reviewed(origins: Mapping[str, Origin]) -> Collection[str] | None:
    """The runs whose making of things may open ids: none that is known to be of unreviewed code; None: nobody asked."""
    return {run for run, origin in origins.items() if origin.trust is not Trust.UNTRUSTED} if origins else None


def is_unknown(usages: Sequence[Usage], origins: Mapping[str, Origin]) -> bool:
    """Whether no run of these usages is known to come from reviewed code."""
    return not any(run in origins and origins[run].trust is Trust.TRUSTED for usage in usages for run in usage.runs)
