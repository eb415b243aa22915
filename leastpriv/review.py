"""The flow of the mode review: a person's edit of the policy file -> evidence -> findings -> comment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from leastpriv.errors import InputError
from leastpriv.pipeline import Say, Workplace, read_calls, read_policy
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.findings import Verdict
from leastpriv.proposal.review import review
from leastpriv.report.review_comment import review_body, review_title
from leastpriv.report.reviewed import Reviewed
from leastpriv.runner.files import SUMMARY_LIMIT
from leastpriv.settings import Settings

Read = Callable[[str], bytes | None]
"""Content of a file by its path in the repository; None where there is none."""


@dataclass(frozen=True, slots=True)
class Edited:
    """The two versions of the repository between which the edit lies."""

    before: Read
    after: Read


@dataclass(frozen=True, slots=True)
class ReviewResult:
    """What a review found."""

    subject: Reviewed
    title: str
    body: str
    """The comment, in Markdown; its last line is the marker by which it is found again."""
    whole: str
    """The same at full length, for the job's summary."""

    @property
    def breaks(self) -> bool:
        """Whether a recorded allowed call would be refused."""
        return self.subject.review.breaks

    @property
    def has_changes(self) -> bool:
        """Whether any permission changes."""
        return self.subject.review.verdict is not Verdict.UNCHANGED


def run_review(settings: Settings, workplace: Workplace, edited: Edited, say: Say, run_url: str = "") -> ReviewResult:
    """Compares both versions of the policy file with each other and with the evidence; publishes nothing.

    Raises:
        InputError: an input leads to nothing readable, or neither version has the file.
    """
    path = workplace.policy_path
    before, after = _policy(edited.before, path), _policy(edited.after, path)
    if before is None and after is None:
        raise InputError(f"The input policy-file is {path!r}: neither the base nor the head has such a file.")
    attached = [parse(_needed(edited.after, name), name) for name in settings.also_attached]
    evidence, _, records = read_calls(settings, workplace, say)
    subject = Reviewed(
        principal=settings.principal.arn,
        policy_file=path,
        review=review(before, after, attached, evidence, settings.options),
        evidence=evidence,
        attached=settings.also_attached,
        records=records,
        run_url=run_url,
    )
    title = review_title(subject)
    say(title)
    return ReviewResult(subject, title, review_body(subject), review_body(subject, SUMMARY_LIMIT))


def review_outputs(result: ReviewResult) -> dict[str, str]:
    """The step's outputs that a review has; entries as the policy writes them, lists as JSON."""
    found = result.subject.review
    return {
        "has-changes": "true" if result.has_changes else "false",
        "added-actions": json.dumps(sorted({addition.edit.entry for addition in found.additions})),
        "removed-actions": json.dumps(sorted({removal.edit.entry for removal in found.removals})),
    }


def _policy(read: Read, path: str) -> Document | None:
    raw = read(path)
    return None if raw is None else read_policy(raw, path)


def _needed(read: Read, name: str) -> bytes:
    raw = read(name)
    if raw is None:
        raise InputError(f"The input also-attached names {name!r}, which is not in the pull request's repository.")
    return raw
