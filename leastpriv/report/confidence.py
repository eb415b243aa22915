"""How likely the next deploy needs more than the policy grants: one sentence, and a table for the curious."""

from __future__ import annotations

from collections.abc import Iterator

from leastpriv.proposal.confidence import Confidence
from leastpriv.report.escape import code
from leastpriv.report.subject import Subject
from leastpriv.report.words import plural

_MOST = 30
"""Services in the table: the least sure come first."""


def chance_line(subject: Subject) -> Iterator[str]:
    """The sentence that stands below the verdict; none where no run used anything."""
    known = subject.proof.confidence
    if known is None or not known.whole.runs:
        return
    yield (
        f"Chance that the next deploy needs something this policy lacks: **about {share(subject.proof.chance)}**, "
        f"judged by {plural(subject.proof.chance_runs, 'run')}."
    )


def confidence_table(subject: Subject) -> Iterator[str]:
    """How that was reckoned, in all and for each service, folded away; none where no run used anything."""
    known = subject.proof.confidence
    if known is None or not known.whole.runs:
        return
    services = sorted(known.by_service.items(), key=lambda item: (-item[1].chance, item[0]))
    actions = subject.proof.by_action or known
    rows = [_row("in all", known.whole, actions.whole)]
    rows += [_row(code(service), found, actions.of(f"{service}:")) for service, found in services[:_MOST]]
    if len(services) > _MOST:
        rows.append(f"| and {len(services) - _MOST:,} more | | | | | | | |")
    yield (
        "<details><summary>What the runs show of how much more there is</summary>\n\n"
        "Each run is a sample. *New* are runs that used something which no other run did: as many of the runs to come "
        "may. *Coverage* is the share of the next run's uses that are of permissions already seen, *unseen* the least "
        "number of permissions that are needed now and then and no run has shown. *Chance of something new* is that "
        "the next run needs what no run has shown, whether the policy grants it or not; the chance that it lacks "
        "something stands below the verdict. *Confidence* is that no new action is needed, on whatever resource: "
        "`minimum-confidence` looks at it.\n\n"
        "| Service | Runs | Permissions | New | Coverage | Unseen | Chance of something new | Confidence |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n" + "\n".join(rows) + "\n\n</details>"
    )


def _row(name: str, found: Confidence, actions: Confidence) -> str:
    return (
        f"| {name} | {found.runs:,} | {found.permissions:,} | {found.own:,} | {100 * found.coverage:.1f} % "
        f"| ≥ {found.unseen:.1f} | {share(found.chance)} | {actions.percent} % |"
    )


def share(chance: float) -> str:
    """`8 %`; what is rarer than one in a hundred is not told more exactly than it is known."""
    return "1 % or less" if chance < 0.015 else f"{100 * chance:.0f} %"
