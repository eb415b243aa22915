"""Resolves the origin of each run of a target."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.session_names import workflow_run_id
from leastpriv.errors import PullRequestError
from leastpriv.evidence.created_resources import creating_usages
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.origins import (
    Ask,
    origins_by_login,
    origins_by_majority,
    resolve_origins,
)
from leastpriv.models import Origin, Run, RunOrigin, Usage
from leastpriv.pipeline.context import Target
from leastpriv.proposal.addition_rules import naming_usages
from leastpriv.pull_request.github.logins import origin_without_github

_log = logging.getLogger(__name__)
_UNANSWERED = RunOrigin(Origin.UNKNOWN, "runs whose branch GitHub did not say")


class RunOrigins(Struct, frozen=True):
    """The origin of each run, and whether GitHub answered."""

    origins: Mapping[str, RunOrigin]
    """By run id."""
    failure: str = ""
    """Why no pull request may be published: GitHub did not answer."""


def run_origins(target: Target, missing: Sequence[Usage], evidence: Evidence) -> RunOrigins:
    """Resolves the origin of each run, by its login and, where GitHub is asked, its workflow run.

    Without an answer of GitHub the logins alone count, and other runs are of unknown origin.
    """
    settings = target.settings
    reviewed_refs = settings.options.reviewed_refs
    runs = (*evidence.runs, *evidence.logged_runs)

    def by_login_alone(run: Run) -> RunOrigin | None:
        if run.identity is None:
            return None
        return origin_without_github(run.identity, "", settings.base, reviewed_refs)

    host = target.repository.github if target.repository else None
    if host is None:
        return RunOrigins(origins_by_login(runs, by_login_alone))
    failure = ""
    try:
        lookup = host.origin_lookup(settings.base, reviewed_refs)
        origins = resolve_origins(
            evidence,
            missing=missing,
            naming=[
                *naming_usages(evidence, missing),
                *creating_usages(evidence.usages, missing),
            ],
            by_login=lookup.by_login,
            ask=_by_workflow_run(lookup.by_workflow_run, evidence),
        )
    except PullRequestError as error:
        failure = str(error)
        _log.info(f"Not known: the branches that the runs deployed from. {error}")
        origins = {run.id: _UNANSWERED for run in runs}
        origins.update(origins_by_login(runs, by_login_alone))
    unknown = (origin for origin in origins.values() if origin.origin is Origin.UNKNOWN)
    for where in sorted({origin.where for origin in unknown}):
        _log.info(f"Not known where these runs came from: {where}")
    return RunOrigins(origins, failure)


def _by_workflow_run(ask: Ask, evidence: Evidence) -> Ask:
    """Finds the origin of a run by the workflow run in its session name, or in that of its
    login.
    """

    def of_run(run: Run) -> RunOrigin:
        workflow_run = workflow_run_id(run.session) or workflow_run_id(run.parent_run)
        return ask(replace(run, session=workflow_run or run.session))

    by_majority = origins_by_majority(evidence.runs, of_run)

    def of_any(run: Run) -> RunOrigin:
        if run in evidence.logged_runs:
            # GitHub itself names the run that wrote a log.
            return replace(of_run(run), mark="")
        return by_majority(run)

    return of_any
