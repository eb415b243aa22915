"""What AWS adds to a proposal in a run that has opened its door to AWS anyway: needs that types declare, judgements.

A run that reads files alone asks AWS nothing, and sends it nothing (docs/decisions/0017-when-aws-judges.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from leastpriv.errors import InputError, LeastprivError
from leastpriv.evidence.hints.declared import Declared
from leastpriv.evidence.usage import Evidence
from leastpriv.proposal.judgement import Judgement
from leastpriv.report.subject import Subject
from leastpriv.sources import Reach

Say = Callable[[str], None]


def with_declared(evidence: Evidence, reach: Reach | None, templates: Sequence[Path], say: Say) -> Evidence:
    """The evidence with what the resource types of the role's own stacks and of some templates need.

    A template is reason enough to open the door; stacks are asked for where it is open.
    Raises PolicyFileError where a template cannot be read; AWS's failures are told in the answer.
    """
    if reach is None or not (templates or reach.opened):
        return evidence
    from leastpriv.evidence.hints.resource_types import declared_of, stacks_in, types_in_template

    types = [name for path in templates for name in types_in_template(path.read_bytes(), path.as_posix())]
    stacks = stacks_in(evidence)
    if not (types or stacks):
        return evidence
    try:
        declared = declared_of(reach.aws(), stacks, types, say)
    except LeastprivError as error:
        declared = Declared(failure=str(error))
    return replace(evidence, hints=replace(evidence.hints, declared=declared))


def judgements(subject: Subject, reach: Reach | None, say: Say) -> tuple[Judgement, ...]:
    """What the judges say that cost nothing; none where nothing changes, or the run has not opened the door."""
    aws = reach.opened if reach else None
    if aws is None or not subject.draft.changes:
        return ()
    from leastpriv.checks.judges import free_judgements

    files = dict(zip((subject.policy_file, *subject.further), subject.draft.documents, strict=True))
    try:
        return free_judgements(
            aws, subject.draft, subject.proof, files, subject.attached_documents, subject.principal, say
        )
    except InputError as error:
        # No region is known, which a role's evidence in files does not need.
        say(f"The proposal is not judged by AWS: {error}")
        return ()
