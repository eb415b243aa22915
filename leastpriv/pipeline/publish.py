"""Publishes proposals: one pull request for each target, or one for all of a group; then saves what
the run learned.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.config.settings import Mode
from leastpriv.errors import PullRequestError, listed
from leastpriv.models import Permission
from leastpriv.pipeline.collect_evidence import attempt
from leastpriv.pipeline.command_answers import answer_commands
from leastpriv.pipeline.context import (
    PullRequestContent,
    RunContext,
    Target,
    TargetIdentity,
    TargetResult,
)
from leastpriv.pipeline.holds import holds_of, holds_of_group
from leastpriv.pipeline.orphans import close_orphans, group_mark
from leastpriv.pipeline.saved_history import save_history
from leastpriv.policy.size import file_number
from leastpriv.policy.source import Location
from leastpriv.proposal.models import fingerprint, ids_with_scope
from leastpriv.pull_request.lifecycle import Holds, TargetMark, controls_section
from leastpriv.pull_request.models import (
    LineComment,
    PolicyName,
    Publication,
    PublishResult,
    PullRequestOperation,
    PullRequestOptions,
)
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code
from leastpriv.report.line_findings import MOST_NOTES, line_notes
from leastpriv.report.role_chain import RoleChainPolicies
from leastpriv.report.targets import TargetRow, group_body, group_title

if TYPE_CHECKING:
    from leastpriv.pipeline.context import Repository

MAX_IDS = 900
"""Ids in a pull request of several policies, 22 characters each; declines beyond them are known by
fingerprint only.
"""


_MOST_NAMED = 10
"""Additions that a comment names."""


class GroupedPullRequest(Struct, frozen=True):
    """The content of one pull request for several policies."""

    scope: str
    """The part of the fingerprint that all such pull requests share."""
    branch: str
    base: str
    """Name of the base branch, empty for the default one."""
    primary: str
    """Path of the file whose former content is part of the fingerprint."""
    files: Mapping[str, bytes]
    title: str
    changes: tuple[str, ...]
    """Ids of the changes that closing it declines."""
    text: Callable[[str, int], str]
    """Fingerprint, and the length of the controls -> body."""
    owns: Callable[[str], bool]
    """Whether such a pull request may change the file of a path."""
    options: PullRequestOptions
    comments: Sequence[LineComment] = ()
    holds: Holds = Holds()
    """What holds changes back, if nothing is proposed."""
    mark: TargetMark | None = None
    """What its hidden marker says of the group."""
    additions: tuple[Permission, ...] = ()
    """What its policies gain."""
    taken_away: str = ""
    """Sentence in Markdown on the additions that a person took away from its branch."""


def publish_all(
    run: RunContext, results: Sequence[TargetResult], chain: RoleChainPolicies
) -> tuple[TargetResult, ...]:
    """Publishes every target in the mode pull-request, on its own or with its group, and saves what
    the run learned.

    Raises LeastprivError where publishing fails in a run of one target, otherwise than by the
    repository.
    """
    units: dict[str, list[TargetResult]] = {}
    for number, target_result in enumerate(results):
        units.setdefault(target_result.target.group or f"#{number}", []).append(target_result)
    wave = _Wave(run.settings.max_pull_requests)
    result_by_id: dict[int, TargetResult] = {}
    for name, members in sorted(units.items(), key=lambda unit: -sum(map(_value, unit[1]))):
        for before, after in zip(members, _published(run, name, members, chain, wave), strict=True):
            result_by_id[id(before)] = after
    published = tuple(result_by_id[id(each)] for each in results)
    close_orphans(run, published)
    return published


def _value(result: TargetResult) -> int:
    """Returns what a proposal gains: the actions that it removes, narrows or adds."""
    context = result.context
    if context is None or not context.proposal.changes:
        return 0
    return context.ledger.removed + context.ledger.narrowed + context.verdict.facts.added


class _Wave:
    """Counts the pull requests that a run opens."""

    def __init__(self, most: int) -> None:
        """`most`: how many may be opened; 0: any number."""
        self._left = most or sys.maxsize
        self._most = most

    def waits(self, results: Sequence[TargetResult]) -> bool:
        """Whether the pull request of some targets is a further one: it is not open yet, and has
        changes.
        """
        if self._left > 0 or not any(each.has_changes for each in results):
            return False
        target = results[0].target
        host = target.repository.github if target.repository else None
        settings = target.settings
        return host is None or host.pull_requests.opened(settings.branch, settings.base) is None

    def note(self, published: PublishResult | None) -> None:
        """Counts a pull request that was opened."""
        if published and published.operation is PullRequestOperation.CREATED:
            self._left -= 1

    def result(self, target: Target, base: str) -> PublishResult:
        """Returns the result of a pull request that waits for a later run."""
        return PublishResult(
            PullRequestOperation.NONE,
            target.settings.branch,
            "",
            base,
            reason=(
                f"It waits for a later run: max-pull-requests is {self._most}, and more valuable"
                " proposals came first."
            ),
        )


def _published(
    run: RunContext,
    name: str,
    members: Sequence[TargetResult],
    chain: RoleChainPolicies,
    wave: _Wave,
) -> list[TargetResult]:
    """Publishes a target, or the members of a group, unless their pull request waits."""
    is_group = bool(members[0].target.group)
    is_late = members[0].target.settings.mode is Mode.PULL_REQUEST and wave.waits(members)
    if is_late:
        base = next((member.content.base for member in members if member.content), "")
        waiting = wave.result(members[0].target, base)
        return [_waiting_result(member, waiting, run.now) for member in members]
    if not is_group:
        target_result = _publish_target(run, members[0])
        wave.note(target_result.published)
        return [target_result]
    published = _publish_group(run, name, members, chain)
    wave.note(published)
    contents = [member.content for member in members if member.content]
    return [_member_result(member, published, contents, run.now) for member in members]


def _waiting_result(result: TargetResult, waiting: PublishResult, now: datetime) -> TargetResult:
    """Saves what the run learned of a target whose pull request waits."""
    if result.content is None:
        return result
    unsaved, failure = attempt(partial(save_history, result.content, result.target, now))
    return replace(result, published=waiting, unsaved=unsaved or str(failure or ""))


def publish_together(
    pull: GroupedPullRequest, repository: Repository, expected_base: str, now: datetime
) -> PublishResult:
    """Publishes one pull request for several policies; a failure is part of the result."""

    def mark_of(before: bytes | None, files: Mapping[str, bytes]) -> str:
        contents = (path.encode() + b"\0" + content for path, content in sorted(files.items()))
        return fingerprint(pull.scope, before, *contents)

    mark = mark_of(repository.read(expected_base, pull.primary), pull.files)
    ends = controls_section(pull.changes[:MAX_IDS], pull.mark, pull.additions)
    publication = Publication(
        branch=pull.branch,
        base=pull.base,
        path=pull.primary,
        files=pull.files,
        title=pull.title,
        fingerprint=mark,
        expected_base=expected_base,
        body=f"{pull.text(mark, len(ends))}\n{ends}",
        # A proposal of others, or with other files, has none.
        fingerprint_for=lambda before, after: (
            mark_of(before, after) if after and all(map(pull.owns, after)) else ""
        ),
        comments=pull.comments,
        options=pull.options,
        holds=pull.holds,
        taken_away=pull.taken_away,
    )
    return _publish(publication, repository, now)


def target_row(result: TargetResult) -> TargetRow:
    """Returns a target as the table of targets shows it."""
    published, content = result.published, result.content
    return TargetRow(
        role=result.target.shown_role,
        policy_file=result.target.policy_name,
        title=content.title if content else "",
        failure=result.failure_text,
        pull_request=published.url if published else "",
        number=published.number if published else 0,
        operation=published.operation.value if published else "",
        context=result.context,
    )


def _publish(publication: Publication, repository: Repository, now: datetime) -> PublishResult:
    """Publishes; a failure is part of the result, so that report and outputs are written
    nevertheless.
    """
    try:
        return repository.publish(publication, now)
    except PullRequestError as error:
        return _unpublished(publication.branch, publication.expected_base, str(error))


def _unpublished(branch: str, base: str, failure: str) -> PublishResult:
    return PublishResult(PullRequestOperation.NONE, branch, "", base, failure=failure)


def _publish_target(run: RunContext, result: TargetResult) -> TargetResult:
    """Publishes the proposal of a target; a failure is in the result."""
    if result.content is None:
        return result
    work = partial(_publish_content, result.content, result.target, run.now)
    published, failure = attempt(work, isolate=run.isolates_failures)
    return (
        replace(result, published=published[0], unsaved=published[1])
        if published
        else replace(result, failure=failure)
    )


def _publish_content(
    content: PullRequestContent, target: Target, now: datetime
) -> tuple[PublishResult | None, str]:
    """Saves what the run learned and publishes; returns what publishing did, and what could not be
    saved.
    """
    repository, settings, context = target.base_repository, target.settings, content.context
    unsaved, failure = save_history(content, target, now), content.history.failure
    if repository is None or settings.mode is not Mode.PULL_REQUEST:
        return None, unsaved
    if failure:
        return _unpublished(settings.branch, content.base, failure), unsaved
    publication = Publication(
        branch=settings.branch,
        base=settings.base,
        path=context.policy_path,
        files=context.contents if context.proposal.changes or context.proposal.committed else {},
        title=content.title,
        fingerprint=context.fingerprint,
        expected_base=content.base,
        body=(
            f"{content.body}\n{controls_section(content.changes, content.mark, content.additions)}"
        ),
        fingerprint_for=partial(
            _certify, target.scope, (context.policy_path, settings.boundary_file)
        ),
        comments=_line_comments([context]),
        options=settings.pull_request_options,
        holds=holds_of(context, settings.options, now),
        formers=_former_names(content.history.identity, target),
        taken_away=_taken_away([content]),
    )
    published = _publish(publication, repository, now)
    return published, unsaved or answer_commands([content], target, published)


def _taken_away(contents: Iterable[PullRequestContent]) -> str:
    """Returns the sentence on the additions that a person took away from the branch of an open pull
    request; empty without such.
    """
    additions = [addition for content in contents for addition in content.history.taken_away]
    if not additions:
        return ""
    names = listed(
        [f"{code(addition.action)} on {code(addition.resource)}" for addition in additions],
        _MOST_NAMED,
    )
    return f"A commit here takes away {names}: that counts as declined, and is not proposed again."


def _former_names(identity: TargetIdentity, target: Target) -> tuple[PolicyName, ...]:
    """Returns the earlier names of the policy file of a target, each under each of its roles."""
    names: list[PolicyName] = []
    for scope_id, name in identity.scopes.items():
        if (name.role, name.file) == (target.role, target.policy_name):
            continue
        path = Location.of(name.file).path
        names.append(
            PolicyName(
                path=path,
                scope=scope_id,
                fingerprint_for=partial(
                    _certify, name.scope, (path, target.settings.boundary_file)
                ),
            )
        )
    return tuple(names)


def _line_comments(contexts: Sequence[ReportContext]) -> Sequence[LineComment]:
    """Returns the comments at the lines of a pull request: all its policies share the limit of
    one.
    """
    return [
        LineComment(context.policy_path, *note)
        for context in contexts
        for note in line_notes(context)
    ][:MOST_NOTES]


def _certify(
    scope: str, paths: tuple[str, str], before: bytes | None, after: Mapping[str, bytes]
) -> str:
    """Returns the fingerprint of a proposal that changes its own files only; else an empty text.

    `paths` are the policy file, whose continuations are files of the proposal too, and the file of
    a boundary.
    """
    policy_path, boundary_path = paths
    numbers = {
        file_number(policy_path, name): content
        for name, content in after.items()
        if name != boundary_path
    }
    if 0 in numbers or 1 not in numbers:
        return ""
    drafted = [after[boundary_path]] if boundary_path in after else []
    return fingerprint(
        scope, before, *(content for _, content in sorted(numbers.items())), *drafted
    )


def _member_result(
    result: TargetResult,
    published: PublishResult | None,
    contents: Sequence[PullRequestContent],
    now: datetime,
) -> TargetResult:
    """Returns the result of a target of a group once its pull request was published."""
    content, target = result.content, result.target
    if content is None:
        return replace(result, published=published)
    unsaved, failure = attempt(partial(save_history, content, target, now))
    if published and not unsaved:
        # All members have the same answer: a further one edits the one comment into the same text.
        unsaved, failure = attempt(partial(answer_commands, contents, target, published))
    return replace(result, published=published, unsaved=unsaved or str(failure or ""))


def _publish_group(
    run: RunContext, name: str, members: Sequence[TargetResult], chain: RoleChainPolicies
) -> PublishResult | None:
    """Publishes a group; its pull request names the targets that failed."""
    first = members[0].target
    repository, branch = first.base_repository, first.settings.branch
    contents = [member.content for member in members if member.content]
    if (
        not contents
        or first.settings.mode is not Mode.PULL_REQUEST
        or repository is None
        or run.file is None
    ):
        return None
    base = contents[0].base
    unknown = next((content.history.failure for content in contents if content.history.failure), "")
    if unknown:
        return _unpublished(branch, base, unknown)
    paths = tuple(member.target.policy_path for member in members)
    boundaries = {member.target.settings.boundary_file for member in members} - {""}
    around = replace(chain, chain=chain.chain.around(first.role))
    rows = [target_row(member) for member in members]
    changing = [
        (member.target, member.content)
        for member in members
        if member.content and member.has_changes
    ]
    pull = GroupedPullRequest(
        scope=run.file.group_scope(name),
        branch=branch,
        base=first.settings.base,
        primary=paths[0],
        files={
            path: text for _, content in changing for path, text in content.context.contents.items()
        },
        title=group_title(name, rows),
        changes=tuple(
            change
            for target, content in changing
            for change in ids_with_scope(run.scope_ids(target)[0], content.changes)
        ),
        text=lambda mark, taken: group_body(rows, around, mark, taken),
        owns=lambda path: (
            path in boundaries
            or any(path == own_path or file_number(own_path, path) for own_path in paths)
        ),
        options=first.settings.pull_request_options,
        comments=_line_comments([content.context for content in contents]),
        mark=group_mark(name, run.file.configuration.path, run.scope_ids(first)[-1]),
        additions=tuple(addition for _, content in changing for addition in content.additions),
        taken_away=_taken_away(contents),
        holds=holds_of_group(
            ((run.scope_ids(member.target)[0], member) for member in members), run.now
        ),
    )
    return publish_together(pull, repository, base, run.now)
