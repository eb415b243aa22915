"""Resolves the origin of each run of a target once: by its login, else by its workflow run.

The login comes first, because STS checks it; the caller chooses the session name, which names the
workflow run. GitHub is asked about no more runs than decide something: newest first, until one run
of each use is known to be reviewed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from leastpriv.aws.session_names import workflow_run_id
from leastpriv.evidence.models import Evidence
from leastpriv.models import Origin, Outcome, Run, RunOrigin, Usage

Ask = Callable[[Run], RunOrigin]
_MOST_RUNS_OF_ONE = 10
"""Newest runs of one use that GitHub is asked about."""
_MOST_RUNS = 60
"""Most runs that GitHub is asked about."""
_MOST_FURTHER_RUNS = 30
"""Most of them for what the policies grant already."""
_NOT_ASKED = RunOrigin(
    Origin.UNKNOWN, f"refs that were not asked for, past {_MOST_RUNS} runs in all", is_asked=False
)
_UNASKED = RunOrigin(Origin.UNKNOWN, "runs whose branch was not asked for")


def origins_by_login(
    runs: Iterable[Run], by_login: Callable[[Run], RunOrigin | None]
) -> dict[str, RunOrigin]:
    """Returns the origins that the logins of runs show, by run id."""
    origins: dict[str, RunOrigin] = {}
    for run in runs:
        origin = by_login(run)
        if origin:
            origins[run.id] = origin
    return origins


def resolve_origins(
    evidence: Evidence,
    *,
    missing: Sequence[Usage],
    naming: Sequence[Usage],
    by_login: Callable[[Run], RunOrigin | None],
    ask: Ask,
) -> dict[str, RunOrigin]:
    """Returns the origin of every run of the evidence, by run id.

    Args:
        evidence: its runs, and those whose job logs were read.
        missing: the usages that the policies lack; the newest runs of each are asked about first.
        naming: usages that make the resources of the missing ones known, or may widen their
            patterns.
        by_login: the origin by the login of a run alone.
        ask: the origin by login and workflow run; a question to GitHub.
    """
    runs = {run.id: run for run in (*evidence.runs, *evidence.logged_runs)}
    origins = origins_by_login(runs.values(), by_login)
    questions = _Questions(runs, origins, ask)
    for usage in missing:
        questions.ask_until_reviewed(usage, proves=True)
    for usage in naming if missing else ():
        questions.ask_about_newest(usage)
    questions.left = min(questions.left, _MOST_FURTHER_RUNS)
    for usage in evidence.usages:
        if usage.outcome is Outcome.ALLOWED:
            questions.ask_until_reviewed(usage, proves=False)
    for run in sorted(runs.values(), key=lambda run: run.first, reverse=True):
        questions.ask_about(run, proves=False)
    return {run: questions.found.get(run) or origins.get(run) or _UNASKED for run in runs}


class _Questions:
    """The questions to GitHub of one run of the product, and their answers."""

    def __init__(self, runs: dict[str, Run], known: dict[str, RunOrigin], ask: Ask) -> None:
        self.found: dict[str, RunOrigin] = {}
        self.left = _MOST_RUNS
        self._runs = runs
        self._known = known
        self._ask = ask

    def ask_until_reviewed(self, usage: Usage, *, proves: bool) -> None:
        """Asks about the newest runs of a usage until one of them is reviewed.

        `proves`: a login alone does not suffice, and a run past the limit may add nothing.
        """
        newest = [run for run in reversed(usage.runs) if run in self._runs][:_MOST_RUNS_OF_ONE]
        for run in newest:
            origin = self.ask_about(self._runs[run], proves=proves)
            if origin and origin.origin is Origin.REVIEWED:
                return

    def ask_about_newest(self, usage: Usage) -> None:
        """Asks about each of the newest runs of a usage, while questions are left."""
        for name in usage.runs[-_MOST_RUNS_OF_ONE:]:
            if name in self._runs and self.left > 0:
                self.ask_about(self._runs[name], proves=True)

    def ask_about(self, run: Run, *, proves: bool) -> RunOrigin | None:
        """Returns the origin of one run, asked once; None where no question is left."""
        if run.id in self.found:
            return self.found[run.id]
        login = self._known.get(run.id)
        if login and (login.origin is not Origin.REVIEWED or not proves):
            return login
        if self.left <= 0:
            if proves:
                # Many runs must not bypass the check.
                self.found[run.id] = _NOT_ASKED
            return self.found.get(run.id)
        self.left -= 1
        self.found[run.id] = self._ask(run)
        return self.found[run.id]


def origins_by_majority(runs: Sequence[Run], ask: Ask) -> Ask:
    """Returns a function like `ask` that distrusts a run without the evidence that most of the runs
    have.

    Where most runs have a login, a run without one may have logged in where no record was read;
    where most sessions name their workflow run, a session that names none is not the deploy.
    """
    logins = sum(run.identity is not None for run in runs)
    workflow_runs = sum(bool(_workflow_run_of(run)) for run in runs)

    def origin(run: Run) -> RunOrigin:
        if run.identity:
            return ask(run)
        if not _workflow_run_of(run) and 2 * workflow_runs > len(runs):
            return RunOrigin(Origin.UNREVIEWED, "a session that names no workflow run, unlike most")
        origin = ask(run)
        if origin.origin is Origin.REVIEWED and 2 * logins > len(runs):
            return RunOrigin(
                Origin.UNKNOWN,
                f"a session of {origin.where} by its name, without a login, unlike most",
            )
        return origin

    return origin


def _workflow_run_of(run: Run) -> str:
    return workflow_run_id(run.session) or workflow_run_id(run.parent_run)
