"""All hints of AWS about one principal, each source for itself: one that fails is a sentence, never the run's end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from leastpriv.aws.polling import Polling
from leastpriv.aws.session import Aws
from leastpriv.errors import AwsError, InputError
from leastpriv.evidence.aws_findings.access_advisor import last_accessed
from leastpriv.evidence.aws_findings.access_analyzer import external_access, unused_access
from leastpriv.evidence.aws_findings.models import AwsFindings, Unasked
from leastpriv.evidence.aws_findings.policy_generation import Generation, generated_policy
from leastpriv.models import Principal
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.visibility import home_region

_log = logging.getLogger(__name__)

_Found = TypeVar("_Found")
_SOON = timedelta(minutes=3)
"""What takes AWS seconds is not waited for longer."""


def collect_aws_findings(
    aws: Aws,
    principal: Principal,
    waiting: Polling,
    *,
    access: bool,
    generation: Generation | None = None,
    start: datetime | None = None,
) -> AwsFindings:
    """Asks AWS what it knows of a principal's use; never raises an `AwsError`.

    `access` is whether IAM's last accessed information is asked for; with `generation` a policy is generated from
    its trail, from `start` on. With either, the findings of the analyzers that are there are read.
    """
    unasked: list[Unasked] = []
    asked: list[str] = []

    def tried(source: str, ask: Callable[[], _Found]) -> _Found | None:
        try:
            found = ask()
        except (AwsError, InputError) as error:
            _log.info(f"Left out: {source}. {error}")
            unasked.append(Unasked(source, str(error)))
            return None
        asked.append(source)
        return found

    report = unused = outside = generated = None
    soon = replace(waiting, longest=min(waiting.longest, _SOON))
    if access:
        home = aws.region or home_region("iam", principal.partition)
        report = tried("access advisor", lambda: last_accessed(aws.client("iam", home), principal.arn, soon))
    if access or generation:
        for line in costs("findings"):
            _log.info(line)
        unused = tried(
            "unused access findings", lambda: unused_access(aws.client("accessanalyzer"), principal.arn, soon)
        )
        if principal.kind == "role":
            outside = tried(
                "external access findings", lambda: external_access(aws.client("accessanalyzer"), principal.arn)
            )
            if outside is None and "external access findings" in asked:
                unasked.append(Unasked("external access findings", f"there is no such analyzer in {aws.region}."))
    if generation:
        # Last: it takes minutes.
        region = generation.trail.split(":")[3]
        generated = tried(
            "policy generation",
            lambda: generated_policy(aws.client("accessanalyzer", region), principal.arn, generation, start, waiting),
        )
    return AwsFindings(report, generated, unused or (), outside or (), tuple(unasked), tuple(asked))


def costs(source: str) -> Iterator[str]:
    """What asking a source costs, one sentence a line."""
    return (row["sentence"] for row in table("costs", __package__ or "") if row["source"] == source)
