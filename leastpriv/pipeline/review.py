"""The flow of the mode review: a person's edit of a policy -> evidence -> findings -> comment."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from msgspec import Struct

from leastpriv.config.settings import Mode
from leastpriv.errors import InputError, NoPolicyError, PolicyFileError
from leastpriv.github_actions.context import SUMMARY_LIMIT
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.models import Need, Principal
from leastpriv.pipeline.collect_evidence import RunEvidence, united, with_known_users
from leastpriv.pipeline.context import RunContext, Target
from leastpriv.pipeline.every_account import in_every_account
from leastpriv.pipeline.infrastructure import (
    DeclaredVersion,
    RepositoryVersion,
    declared_change,
    read_changes,
    read_plan,
    roles_of,
)
from leastpriv.pipeline.load_policies import (
    continuations,
    managed_policies,
    read_attached,
    read_policy,
    with_account_gaps,
)
from leastpriv.policy.document import Document
from leastpriv.policy.source import Location
from leastpriv.proposal.boundary import LostNeed
from leastpriv.proposal.escalation_paths import Escalation, escalation_paths, undecided_by
from leastpriv.proposal.preflight import preflight
from leastpriv.proposal.review import PolicyVersion, review
from leastpriv.proposal.review_models import ReviewVerdict
from leastpriv.report.context import ReviewContext
from leastpriv.report.escape import json_text
from leastpriv.report.review import review_body, review_title

_log = logging.getLogger(__name__)

DENIES_EXIT_CODE = 3
"""Exit code when the edit would deny recorded allowed calls."""


class ReviewResult(Struct, frozen=True):
    """The findings of a review, as a comment."""

    context: ReviewContext
    title: str
    body: str
    """The comment, in Markdown; its last line is the marker that identifies it."""
    whole: str
    """The same at full length, for the job's summary."""

    @property
    def has_changes(self) -> bool:
        """Whether any permission or the infrastructure changes, or created roles need more than
        their boundary allows.
        """
        return (
            self.context.review.verdict is not ReviewVerdict.UNCHANGED
            or self.context.preflight is not None
            or bool(self.context.beyond_boundary)
        )


def _escalation(old: Sequence[Document], new: Sequence[Document], principal: str) -> Escalation:
    """Returns the paths to more permissions before and after an edit of the policy."""
    if old == new:
        return Escalation()
    return Escalation(
        before=escalation_paths(old, principal),
        after=escalation_paths(new, principal),
        undecided_by=undecided_by(new, principal),
    )


def run_review(
    run: RunContext, before: RepositoryVersion, after: RepositoryVersion
) -> ReviewResult:
    """Compares both versions of the policy with each other and with the evidence; raises
    InputError.
    """
    (target,) = run.targets
    settings = target.settings
    old, new = _both(target, before, after)
    attached_files = _attached_files(target, before, after)
    managed = managed_policies(settings, run.aws)

    def policy_version(policy: Document | None, version: RepositoryVersion) -> PolicyVersion:
        attached = _attached(version, attached_files, settings.principal)
        return PolicyVersion(policy, [*attached, *managed.documents])

    base = policy_version(old, before)
    head = policy_version(new, after)
    changes = read_changes(target, before.read, after.read)
    run_evidence = RunEvidence(run)
    target = with_known_users(target, run_evidence)
    reading = run_evidence.of(target)
    documents = [*base.documents, *head.documents]
    evidence = with_account_gaps(united(reading, target, documents), managed)
    change = declared_change(
        target,
        changes,
        evidence,
        edited=base.documents != head.documents,
        is_whole=before is after,
    )
    needs: Sequence[Need] = ()
    preflight_result = None
    if change:
        needs = (*change.needs, *change.standing)
        preflight_result = preflight(
            change, base.documents, head.documents, evidence, settings.options
        )
    context = ReviewContext(
        principal=settings.principal.arn,
        policy_file=target.policy_name,
        review=review(base, head, evidence, settings.options, needs),
        evidence=evidence,
        attached=(*attached_files, *managed.names),
        records=reading.records,
        run_url=run.run_url,
        guide=run.guide,
        missing_calls=("" if evidence.usages else reading.missing_calls) or reading.damaged,
        fails_without_calls=settings.fails_without_calls,
        preflight=preflight_result,
        declared_in=change.sources if change else (),
        beyond_boundary=_beyond_boundary(target, changes, before, after),
        boundary_file=settings.boundary_file,
        escalation=_escalation(base.documents, head.documents, settings.principal.arn),
    )
    if settings.spans_accounts:
        context = in_every_account(context, has_variables=False)
    title = review_title(context)
    _log.info(title)
    return ReviewResult(context, title, review_body(context), review_body(context, SUMMARY_LIMIT))


def _attached_files(
    target: Target, before: RepositoryVersion, after: RepositoryVersion
) -> tuple[str, ...]:
    """Returns the other policy files of the role: those of the input, and those that continue the
    policy file; raises InputError for one that neither version has.
    """
    settings = target.settings
    further = continuations(
        Location(target.policy_path, target.pointer),
        lambda name: after.read(name) or before.read(name),
        settings.principal,
    )
    names = tuple(dict.fromkeys((*settings.attached_files, *further)))
    for name in names:
        path = Location.of(name).path
        if before.read(path) is None and after.read(path) is None:
            raise InputError(
                f"The input also-attached names {name!r}: neither the base nor the head has such a"
                " file."
            )
    return names


def _beyond_boundary(
    target: Target,
    versions: Sequence[DeclaredVersion],
    before: RepositoryVersion,
    after: RepositoryVersion,
) -> tuple[LostNeed, ...]:
    """What the policies of created roles grant since a change, and their boundary does not allow;
    nothing without the file of a boundary.
    """
    boundary = _boundary(target, after)
    if boundary is None:
        return ()
    from leastpriv.proposal.boundary import lost_needs

    now = lost_needs(roles_of(target, [version.read for version in versions]), boundary)
    earlier = [version.before for version in versions if version.before is not None]
    former_boundary = _boundary(target, before)
    if not earlier or before is after or former_boundary is None:
        return now
    former = {
        (lost_need.role, lost_need.action, lost_need.resources)
        for lost_need in lost_needs(roles_of(target, earlier), former_boundary)
    }
    return tuple(
        lost_need
        for lost_need in now
        if (lost_need.role, lost_need.action, lost_need.resources) not in former
    )


def _boundary(target: Target, version: RepositoryVersion) -> Document | None:
    """The boundary of created roles in a version; None without one."""
    path = target.settings.boundary_file
    raw = version.read(path) if path else None
    if raw is None:
        return None
    return read_attached(raw, path, target.settings.principal, version.folder(path))


def checks_declarations_alone(run: RunContext) -> bool:
    """Whether a run asks alone whether a policy suffices for templates and plans: it checks, and
    has no source of records.
    """
    if len(run.targets) != 1:
        return False
    (target,) = run.targets
    settings = target.settings
    if settings.mode is not Mode.CHECK or target.only_plans:
        return False
    if settings.reads_records or not settings.declares:
        return False
    return ((target.folder or target.workspace) / target.policy_path).is_file()


def check_declarations(run: RunContext) -> ReviewResult:
    """Compares a policy on disk with what all resources of templates and plans need; raises
    InputError.
    """
    (target,) = run.targets
    version = RepositoryVersion.on_disk(target.folder or target.workspace)
    return run_review(run, version, version)


def _attached(
    version: RepositoryVersion, names: Sequence[str], principal: Principal
) -> list[Document]:
    """Parses the other policies of the role; one that the version lacks grants nothing."""
    paths = {name: Location.of(name).path for name in names}
    return [
        read_attached(raw, name, principal, version.folder(path))
        for name, path in paths.items()
        if (raw := version.read(path)) is not None
    ]


def report_review(result: ReviewResult, console: Console) -> int:
    """Returns the exit code 0, or 3 where recorded calls would be denied or permissions are
    missing; reports that.
    """
    if result.context.missing_calls:
        show = console.error if result.context.fails_without_calls else console.warning
        show(result.context.missing_calls)
        if result.context.fails_without_calls:
            return 1
    finding = ""
    if result.context.review.breaks:
        finding = "would deny recorded calls"
    elif result.context.preflight and result.context.preflight.lacking:
        finding = "lacks permissions"
    elif result.context.beyond_boundary:
        finding = "creates a role that needs more than its boundary"
    if not finding:
        return 0
    file = result.context.policy_file
    console.error(f"{file} {finding} ({result.title}): exit code {DENIES_EXIT_CODE}.")
    return DENIES_EXIT_CODE


def review_outputs(result: ReviewResult) -> dict[str, str]:
    """The step's outputs that a review has; entries as the policy writes them, lists as JSON."""
    policy_review = result.context.review
    return {
        "has-changes": "true" if result.has_changes else "false",
        "added-actions": json_text(
            sorted({addition.edit.entry for addition in policy_review.additions})
        ),
        "removed-actions": json_text(
            sorted({removal.edit.entry for removal in policy_review.removals})
        ),
    }


def _both(
    target: Target, before: RepositoryVersion, after: RepositoryVersion
) -> list[Document | None]:
    """Reads the policy in both versions; one of them may lack it. A plan is of the version after.

    A version before that IAM rejects is no reason to fail the edit that corrects it; one that
    cannot be read grants nothing.
    """
    documents: list[Document | None] = []
    lacks: list[PolicyFileError] = []
    path = target.policy_path
    for version, plan in ((before, ""), (after, read_plan(target))):
        raw = version.read(path)
        try:
            if raw is None:
                documents.append(None)
            elif version is after:
                documents.append(read_policy(raw, target, version.folder(path, plan)))
            else:
                documents.append(
                    read_attached(
                        raw, target.policy_name, target.settings.principal, version.folder(path)
                    )
                )
        except PolicyFileError as error:
            if version is after and not isinstance(error, NoPolicyError):
                raise
            documents.append(None)
            lacks.append(error)
    if not any(documents):
        nowhere = (
            f"The input policy-file is {path!r}: neither the base nor the head has such a file."
        )
        raise lacks[-1] if lacks else InputError(nowhere)
    return documents
