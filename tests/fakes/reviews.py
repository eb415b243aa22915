"""Reviews of a person's edit by CloudTrail records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from leastpriv.aws.arns import Window, parse_principal
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.statistics import total_coverage
from leastpriv.evidence.models import Evidence
from leastpriv.pipeline.sources import read_evidence
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.models import Options
from leastpriv.proposal.review import PolicyVersion, review
from leastpriv.report.context import ReviewContext
from tests.fakes.deploys import ROLE, write_trail
from tests.fakes.replace import replace

RUN_URL = "https://github.com/octo-org/shop/actions/runs/{run}"

Policy = Mapping[str, Any] | str | None
"""The JSON value of a policy, its text, or None: there is no file."""


def reviewed(
    folder: Path,
    base: Policy,
    head: Policy,
    records: Iterable[Mapping[str, Any]] = (),
    attached: Sequence[Policy] = (),
    options: Options | None = None,
    principal: str = ROLE,
    path: str = "iam/ci-deploy.json",
) -> ReviewContext:
    """The review of an edit by the evidence of some CloudTrail records."""
    evidence, count = _evidence(folder, list(records), principal)
    others = [
        found
        for number, policy in enumerate(attached)
        if (found := document(policy, f"attached {number}"))
    ]
    return ReviewContext(
        principal=principal,
        policy_file=path,
        review=review(
            PolicyVersion(document(base, "base"), others),
            PolicyVersion(document(head, "head"), others),
            evidence,
            options or Options(),
        ),
        evidence=evidence,
        attached=tuple(other.where for other in others),
        records=count,
        run_url=RUN_URL,
    )


def document(policy: Policy, where: str = "p.json") -> Document | None:
    """A policy as a document."""
    if policy is None:
        return None
    return parse(
        (policy if isinstance(policy, str) else json.dumps(policy, indent=2)).encode(), where
    )


def _evidence(
    folder: Path, records: list[Mapping[str, Any]], principal: str
) -> tuple[Evidence, int]:
    target = parse_principal(principal)
    assert target
    source = TrailFolder(write_trail(folder / "trail", records))
    found = read_evidence([source], Window(None, None), target)[principal]
    statistics = source.statistics
    regions = {str(each["awsRegion"]) for each in records if each.get("awsRegion")}
    coverage = total_coverage([statistics], {*regions, "us-east-1"})
    return replace(found, coverage=coverage), statistics.records
