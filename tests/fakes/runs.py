"""Runs of one target, with its policy and trail in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from leastpriv.aws.session import AwsSession
from leastpriv.pipeline.context import PullRequestContent, RunContext, Target, TargetResult
from leastpriv.pipeline.propose import propose
from leastpriv.pull_request.models import PublishResult
from leastpriv.report.context import ReportContext


@dataclass(frozen=True, slots=True)
class Proposed:
    """The result of a run of one target."""

    content: PullRequestContent
    published: PublishResult | None
    has_changes: bool

    @property
    def context(self) -> ReportContext:
        """The proposal with its context."""
        return self.content.context

    @property
    def title(self) -> str:
        """The title of its pull request."""
        return self.content.title

    @property
    def body(self) -> str:
        """The text of its pull request."""
        return self.content.body


def run_one(
    one: Target,
    trails: tuple[Path, ...],
    now: datetime,
    aws: AwsSession | None = None,
    run_url: str = "",
) -> Proposed:
    """Run the flow for one target."""
    run = RunContext(one.settings, (one,), now, trails, aws=aws, run_url=run_url)
    return proposed(propose(run).targets[0])


def proposed(result: TargetResult) -> Proposed:
    """Return the result of a target that has a proposal."""
    assert result.content is not None
    return Proposed(result.content, result.published, result.has_changes)
