"""Lists the words of a run that only this run puts into names: its id, branch, tag, pull request and workspace."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from leastpriv.evidence.runs import is_run_id
from leastpriv.models import Outcome, Run, Usage

_LONG_LIVED = frozenset(
    {
        "default", "dev", "develop", "development", "live", "main", "master", "prd", "prod", "production", "release",
        "stage", "staging", "trunk",
    }
)  # fmt: skip
"""Branches and workspaces that every run has: their names do not change."""
_REF = re.compile(r"(?:ref|refs)[:/](?:refs/)?(?P<kind>heads|tags|pull)/(?P<name>[^:]+)")
_NUMBERED = re.compile(r"[A-Za-z]{0,20}[-_]?[0-9]{2,12}")
"""Words of a session name that a workflow fills in: `pr-31` of `deploy-pr-31`."""
_RUN_NUMBER = re.compile(r"(?<![0-9])[0-9]{4,11}(?![0-9])")
"""A number of a session name without the word before it; twelve digits are an account."""
_PULL = re.compile(r"(?<![A-Za-z0-9])(?:pr|pull|pull-request|mr)[-_]?[0-9]{1,6}(?![A-Za-z0-9])", re.IGNORECASE)
"""A pull request in a name: the login of its run has no number, `repo:shop/orders:pull_request`."""
_WORKSPACE = re.compile(r":s3:::[^/]+/(?:.*/)?env:/(?P<name>[^/]+)/")
"""Key of the state of a workspace in Terraform's S3 backend
(https://developer.hashicorp.com/terraform/language/backend/s3, `workspace_key_prefix`, read 2026-11-27)."""


def words_of_runs(runs: Iterable[Run], usages: Iterable[Usage] = ()) -> Mapping[str, frozenset[str]]:
    """Maps the id of each run to the words that its names may contain, in lower case."""
    found: dict[str, set[str]] = {run.id: {*_words_of(run)} for run in runs}
    for usage in usages:
        resource = usage.need.permission.resource
        workspace = _WORKSPACE.search(resource)
        words = {*_as_in_names(workspace["name"])} if workspace else set()
        words.update(map(str.lower, _PULL.findall(resource)))
        for run in usage.runs if words and usage.outcome is Outcome.ALLOWED else ():
            found.setdefault(run, set()).update(words)
    return {run: frozenset(words - _LONG_LIVED) for run, words in found.items() if words - _LONG_LIVED}


def _words_of(run: Run) -> Iterator[str]:
    for session in filter(None, (run.session, run.parent_run)):
        words = [session] if is_run_id(session) else [*_NUMBERED.findall(session), *_RUN_NUMBER.findall(session)]
        yield from map(str.lower, words)
    ref = _REF.search(run.identity.subject) if run.identity else None
    if ref and ref["kind"] == "pull":
        number = ref["name"].partition("/")[0]
        yield from (number, *(f"{word}{sign}{number}" for word in ("pr", "pull") for sign in ("", "-", "_")))
    elif ref:
        yield from _as_in_names(ref["name"])


def _as_in_names(branch: str) -> Iterator[str]:
    """Yields the forms in which tools write a branch into a name: `feature-login`, `feature_login`, `login`."""
    words = re.findall(r"[a-z0-9]+", branch.lower())
    last = re.findall(r"[a-z0-9]+", branch.lower().rpartition("/")[2])
    for own in (words, last):
        if own:
            yield from ("-".join(own), "_".join(own), ".".join(own), "".join(own))
