"""Reads what the name of a role session says: the workflow run, a rehearsal, a build."""

from __future__ import annotations

import re
from functools import lru_cache

# Our own definition of a run: GitHub's run ids are such numbers where a workflow uses them as role
# session name; the other form is the session name of a CodeBuild build.
_NAMED = re.compile(
    r"leastpriv-rehearsal-\d{1,19}|\d{8,12}"
    r"|AWSCodeBuild-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.ASCII,
)

_WORKFLOW_RUN = re.compile(
    r"(?:(?P<rehearsal>leastpriv-rehearsal-)(?=\d{1,19}\Z)|(?=\d{8,12}\Z))(?P<run>\d+)", re.ASCII
)
"""docs/rehearsal.md: a deployment with such a session name has the proposal as its session policy.
With the prefix any length counts, because a GitHub Enterprise Server numbers its runs from 1."""


def workflow_run_id(session: str) -> str:
    """Returns the workflow run id that a session name contains; empty where it has none."""
    match = _WORKFLOW_RUN.fullmatch(session)
    return match["run"] if match else ""


def is_rehearsal(session: str) -> bool:
    """Whether a session name marks a session whose session policy is the proposal."""
    match = _WORKFLOW_RUN.fullmatch(session)
    return match is not None and match["rehearsal"] is not None


@lru_cache(maxsize=4_096)
def is_run_id(session: str) -> bool:
    """Whether a session name is the id of a run."""
    return _NAMED.fullmatch(session) is not None
