"""The flow of the mode review: a person's edit of the policy file -> evidence -> findings -> comment."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leastpriv.config.settings import Settings
from leastpriv.errors import InputError, NoPolicyError
from leastpriv.github_actions.output_files import SUMMARY_LIMIT
from leastpriv.pipeline.collect_evidence import read_calls
from leastpriv.pipeline.context import Workplace, holds_policy, read_attached, read_policy
from leastpriv.pipeline.load_policies import managed_policies, with_account
from leastpriv.policy.document import Document
from leastpriv.policy.size import numbered_files
from leastpriv.policy.source import Location
from leastpriv.proposal.review import review
from leastpriv.proposal.review_models import ReviewVerdict
from leastpriv.report.context import ReviewContext
from leastpriv.report.escape import json_text
from leastpriv.report.review import review_body, review_title

_log = logging.getLogger(__name__)

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

    subject: ReviewContext
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
        return self.subject.review.verdict is not ReviewVerdict.UNCHANGED


def run_review(settings: Settings, workplace: Workplace, edited: Edited, run_url: str = "") -> ReviewResult:
    """Compares both versions of the policy file with each other and with the evidence; publishes nothing.

    Raises:
        InputError: an input leads to nothing readable, or neither version has the file.
    """
    path = workplace.policy_path
    before, after = _both(edited, workplace, settings)
    split_off = () if workplace.pointer else numbered_files(path, lambda name: _continues(edited, name, settings))
    named = tuple(dict.fromkeys((*settings.attached_files, *split_off)))
    _insist_on(edited, named)
    managed = managed_policies(settings, workplace.reach)
    beside_before, beside_after = (
        [*_attached(read, named, settings), *managed.documents] for read in (edited.before, edited.after)
    )
    named = (*named, *managed.names)
    reading = read_calls(settings, workplace)
    evidence = with_account(reading.evidence, managed)
    subject = ReviewContext(
        principal=settings.principal.arn,
        policy_file=workplace.policy_name,
        review=review(before, after, beside_after, evidence, settings.options, beside_before),
        evidence=evidence,
        attached=named,
        records=reading.records,
        run_url=run_url,
    )
    title = review_title(subject)
    _log.info(title)
    return ReviewResult(subject, title, review_body(subject), review_body(subject, SUMMARY_LIMIT))


def review_outputs(result: ReviewResult) -> dict[str, str]:
    """The step's outputs that a review has; entries as the policy writes them, lists as JSON."""
    found = result.subject.review
    return {
        "has-changes": "true" if result.has_changes else "false",
        "added-actions": json_text(sorted({addition.edit.entry for addition in found.additions})),
        "removed-actions": json_text(sorted({removal.edit.entry for removal in found.removals})),
    }


def _both(edited: Edited, workplace: Workplace, settings: Settings) -> tuple[Document | None, Document | None]:
    """The policy in both versions; in one of them the file, or the policy in it, may not be there yet or any more."""
    found: list[Document | None] = []
    lacks: list[NoPolicyError] = []
    for read in (edited.before, edited.after):
        raw = read(workplace.policy_path)
        try:
            found.append(None if raw is None else read_policy(raw, workplace, settings.principal))
        except NoPolicyError as error:
            found.append(None)
            lacks.append(error)
    if not any(found):
        nowhere = f"The input policy-file is {workplace.policy_path!r}: neither the base nor the head has such a file."
        raise lacks[-1] if lacks else InputError(nowhere)
    return found[0], found[1]


def _is_there(edited: Edited, path: str) -> bool:
    return edited.before(path) is not None or edited.after(path) is not None


def _continues(edited: Edited, name: str, settings: Settings) -> bool:
    """Whether a file that is named as a split leaves it holds a policy, in the later version that has it."""
    raw = edited.after(name) or edited.before(name)
    return raw is not None and holds_policy(raw, name, settings.principal)


def _insist_on(edited: Edited, names: Sequence[str]) -> None:
    for name in names:
        if not _is_there(edited, Location.of(name).path):
            raise InputError(f"The input also-attached names {name!r}: neither the base nor the head has such a file.")


def _attached(read: Read, names: Sequence[str], settings: Settings) -> list[Document]:
    """The other policies in one version; one that is not there yet, or any more, grants nothing."""
    found = ((name, read(Location.of(name).path)) for name in names)
    return [read_attached(raw, name, settings.principal) for name, raw in found if raw is not None]
