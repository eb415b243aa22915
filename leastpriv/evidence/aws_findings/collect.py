"""Collects AWS's own findings about one principal; a source that fails becomes a sentence and does not end the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from leastpriv.aws.session import Aws, Polling
from leastpriv.errors import AwsError, InputError
from leastpriv.evidence.aws_findings.access_advisor import read_last_accessed
from leastpriv.evidence.aws_findings.models import AwsFindings, SkippedSource
from leastpriv.evidence.aws_findings.policy_generation import GenerationSettings, generate_policy
from leastpriv.models import Principal
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.visibility import home_region

_log = logging.getLogger(__name__)

_Found = TypeVar("_Found")
_SOON = timedelta(minutes=3)
"""Waiting time for requests that take AWS seconds."""


def collect_aws_findings(
    aws: Aws,
    principal: Principal,
    waiting: Polling,
    *,
    access: bool,
    generation: tuple[GenerationSettings, datetime | None] | None = None,
) -> AwsFindings:
    """Collects AWS's findings about a principal; never raises an `AwsError`.

    `access`: whether to read IAM's last accessed information; `generation`: whether to generate a policy from its
    trail, from `start` on. With either, the findings of existing analyzers are read.
    """
    unasked: list[SkippedSource] = []
    asked: list[str] = []

    def tried(source: str, ask: Callable[[], _Found]) -> _Found | None:
        try:
            found = ask()
        except (AwsError, InputError) as error:
            _log.info(f"Skipped: {source}. {error}")
            unasked.append(SkippedSource(source, str(error)))
            return None
        asked.append(source)
        return found

    report = unused = outside = inside = generated = None
    soon = replace(waiting, longest=min(waiting.longest, _SOON))
    if access:
        home = aws.region or home_region("iam", principal.partition)
        report = tried("access advisor", lambda: read_last_accessed(aws.client("iam", home), principal.arn, soon))
    if access or generation:
        from leastpriv.evidence.aws_findings import access_analyzer as findings

        for line in costs("findings"):
            _log.info(line)
        analyzer = partial(aws.client, "accessanalyzer")
        unused = tried("unused access findings", lambda: findings.read_unused_access(analyzer(), principal.arn, soon))
        if principal.kind == "role":
            both = tried(
                "external access findings",
                lambda: (
                    findings.read_external_access(analyzer(), principal.arn),
                    findings.read_internal_access(analyzer(), principal.arn),
                ),
            )
            outside, inside = both or (None, ())
            if both and outside is None:
                unasked.append(SkippedSource("external access findings", f"there is no such analyzer in {aws.region}."))
    if generation:
        # Last, because it takes minutes.
        settings, start = generation
        region = settings.trail.split(":")[3]
        generated = tried(
            "policy generation",
            lambda: generate_policy(aws.client("accessanalyzer", region), principal.arn, settings, start, waiting),
        )
    return AwsFindings(report, generated, unused or (), outside or (), inside or (), tuple(unasked), tuple(asked))


def costs(source: str) -> Iterator[str]:
    """Yields the cost of a source, one sentence a line."""
    return (row["sentence"] for row in table("costs", __package__ or "") if row["source"] == source)
