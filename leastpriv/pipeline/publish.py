"""Publishes proposals: one pull request for each target, or one for all of a group; then saves what
the run learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.config.settings import Mode
from leastpriv.errors import PullRequestError, listed
from leastpriv.models import Permission, grouped
from leastpriv.pipeline.collect_evidence import attempt
from leastpriv.pipeline.command_answers import answer_commands
from leastpriv.pipeline.context import (
    PullRequestContent,
    RunContext,
    ScopeName,
    Target,
    TargetIdentity,
    TargetResult,
    TargetsFile,
    scope_id,
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
    groups = grouped(
        (target_result.target.group or f"#{number}", target_result)
        for number, target_result in enumerate(results)
    )
    most_valuable_first = sorted(
        groups.values(), key=lambda members: sum(map(_value, members)), reverse=True
    )
    wave = _Wave(run.settings.max_pull_requests)
    published_by_id: dict[int, TargetResult] = {}
    for members in most_valuable_first:
        published_members = _published(run, members, chain, wave)
        for member, published in zip(members, published_members, strict=True):
            published_by_id[id(member)] = published
    published_results = tuple(published_by_id[id(target_result)] for target_result in results)
    close_orphans(run, published_results)
    return published_results


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
        self._most = most
        self._opened = 0

    def waits(self, results: Sequence[TargetResult]) -> bool:
        """Whether the pull request of some targets is a further one: it is not open yet, and has
        changes.
        """
        is_full = 0 < self._most <= self._opened
        if not is_full or not any(target_result.has_changes for target_result in results):
            return False
        target = results[0].target
        host = target.repository.github if target.repository else None
        settings = target.settings
        return host is None or host.pull_requests.opened(settings.branch, settings.base) is None

    def note(self, published: PublishResult | None) -> None:
        """Counts a pull request that was opened."""
        if published and published.operation is PullRequestOperation.CREATED:
            self._opened += 1

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
    run: RunContext, members: Sequence[TargetResult], chain: RoleChainPolicies, wave: _Wave
) -> list[TargetResult]:
    """Publishes a target, or the members of a group, unless their pull request waits."""
    contents = [member.content for member in members if member.content]
    first = members[0].target
    if first.settings.mode is Mode.PULL_REQUEST and wave.waits(members):
        base = contents[0].base if contents else ""
        waiting = wave.result(first, base)
        return [_waiting_result(member, waiting, run.now) for member in members]
    if not first.group:
        target_result = _publish_target(run, members[0])
        wave.note(target_result.published)
        return [target_result]
    published = _publish_group(run, members, chain)
    wave.note(published)
    return [_member_result(member, published, contents, run.now) for member in members]


def _waiting_result(result: TargetResult, waiting: PublishResult, now: datetime) -> TargetResult:
    """Saves what the run learned of a target whose pull request waits."""
    if result.content is None:
        return result
    unsaved, failure = attempt(partial(save_history, result.content, result.target, now))
    if failure:
        unsaved = str(failure)
    return replace(result, published=waiting, unsaved=unsaved or "")


def publish_together(
    pull: GroupedPullRequest, repository: Repository, expected_base: str, now: datetime
) -> PublishResult:
    """Publishes one pull request for several policies; a failure is part of the result."""

    def fingerprint_of(before: bytes | None, files: Mapping[str, bytes]) -> str:
        contents = (path.encode() + b"\0" + content for path, content in sorted(files.items()))
        return fingerprint(pull.scope, before, *contents)

    def fingerprint_for(before: bytes | None, after: Mapping[str, bytes]) -> str:
        """Returns the fingerprint of a proposal; empty for one of others, or with other files."""
        if not after or not all(map(pull.owns, after)):
            return ""
        return fingerprint_of(before, after)

    mark = fingerprint_of(repository.read(expected_base, pull.primary), pull.files)
    controls = controls_section(pull.changes[:MAX_IDS], pull.mark, pull.additions)
    publication = Publication(
        branch=pull.branch,
        base=pull.base,
        path=pull.primary,
        files=pull.files,
        title=pull.title,
        fingerprint=mark,
        expected_base=expected_base,
        body=f"{pull.text(mark, len(controls))}\n{controls}",
        fingerprint_for=fingerprint_for,
        comments=pull.comments,
        options=pull.options,
        holds=pull.holds,
        taken_away=pull.taken_away,
    )
    return _publish(publication, repository, now)


def target_row(result: TargetResult) -> TargetRow:
    """Returns a target as the table of targets shows it."""
    published = result.published
    content = result.content
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
    """Saves what the run learned and publishes the proposal of a target; a failure is in the
    result.
    """
    if result.content is None:
        return result
    work = partial(_with_publication, result, result.content, run.now)
    published_result, failure = attempt(work, isolate=run.isolates_failures)
    return published_result or replace(result, failure=failure)


def _with_publication(
    result: TargetResult, content: PullRequestContent, now: datetime
) -> TargetResult:
    """Saves what the run learned and publishes; returns the result with what publishing did, and
    what could not be saved.
    """
    target = result.target
    settings = target.settings
    repository = target.base_repository
    unsaved = save_history(content, target, now)
    if repository is None or settings.mode is not Mode.PULL_REQUEST:
        return replace(result, unsaved=unsaved)
    failure = content.history.failure
    if failure:
        published = _unpublished(settings.branch, content.base, failure)
        return replace(result, published=published, unsaved=unsaved)
    published = _publish(_publication(content, target, now), repository, now)
    if not unsaved:
        unsaved = answer_commands([content], target, published)
    return replace(result, published=published, unsaved=unsaved)


def _publication(content: PullRequestContent, target: Target, now: datetime) -> Publication:
    """Returns the proposal of a target as it is published."""
    settings = target.settings
    context = content.context
    controls = controls_section(content.changes, content.mark, content.additions)
    files: Mapping[str, bytes] = {}
    if context.proposal.changes or context.proposal.committed:
        files = context.contents
    return Publication(
        branch=settings.branch,
        base=settings.base,
        path=context.policy_path,
        files=files,
        title=content.title,
        fingerprint=context.fingerprint,
        expected_base=content.base,
        body=f"{content.body}\n{controls}",
        fingerprint_for=partial(
            _certify,
            ProposalFiles(target.scope, context.policy_path, settings.boundary_file),
        ),
        comments=_line_comments([context]),
        options=settings.pull_request_options,
        holds=holds_of(context, settings.options, now),
        formers=_former_names(content.history.identity, target),
        taken_away=_taken_away([content]),
    )


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
    present = ScopeName(target.role, target.policy_name)
    for name in identity.scopes.values():
        if name == present:
            continue
        path = Location.of(name.file).path
        files = ProposalFiles(name.scope, path, target.settings.boundary_file)
        names.append(PolicyName(path=path, scope=name.id, fingerprint_for=partial(_certify, files)))
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


class ProposalFiles(Struct, frozen=True):
    """The files that a proposal may change, and the scope of its fingerprint."""

    scope: str
    policy_path: str
    """Its continuations are files of the proposal too."""
    boundary_path: str
    """Empty without a boundary."""


def _certify(files: ProposalFiles, before: bytes | None, after: Mapping[str, bytes]) -> str:
    """Returns the fingerprint of a proposal that changes its own files only; else an empty text.

    Args:
        files: The files of the proposal.
        before: The policy file before it.
        after: The changed files.
    """
    content_by_number: dict[int, bytes] = {}
    drafts: list[bytes] = []
    for path, content in after.items():
        if path == files.boundary_path:
            drafts.append(content)
        else:
            content_by_number[file_number(files.policy_path, path)] = content
    is_complete = 1 in content_by_number
    has_other_files = 0 in content_by_number
    if has_other_files or not is_complete:
        return ""
    policies = [content for _, content in sorted(content_by_number.items())]
    return fingerprint(files.scope, before, *policies, *drafts)


def _member_result(
    result: TargetResult,
    published: PublishResult | None,
    contents: Sequence[PullRequestContent],
    now: datetime,
) -> TargetResult:
    """Returns the result of a target of a group once its pull request was published."""
    content = result.content
    target = result.target
    if content is None:
        return replace(result, published=published)
    unsaved, failure = attempt(partial(save_history, content, target, now))
    if published and not unsaved and not failure:
        # All members have the same answer: a further one edits the one comment into the same text.
        unsaved, failure = attempt(partial(answer_commands, contents, target, published))
    if failure:
        unsaved = str(failure)
    return replace(result, published=published, unsaved=unsaved or "")


def _publish_group(
    run: RunContext, members: Sequence[TargetResult], chain: RoleChainPolicies
) -> PublishResult | None:
    """Publishes a group; its pull request names the targets that failed.

    Returns None where nothing is published: in another mode, or where all targets failed.
    """
    first = members[0].target
    repository = first.base_repository
    contents = [member.content for member in members if member.content]
    is_published = first.settings.mode is Mode.PULL_REQUEST and bool(contents)
    if not is_published or repository is None or run.file is None:
        return None
    base = contents[0].base
    for content in contents:
        if content.history.failure:
            return _unpublished(first.settings.branch, base, content.history.failure)
    pull = _group_pull_request(run, run.file, members, chain)
    return publish_together(pull, repository, base, run.now)


def _group_pull_request(
    run: RunContext, file: TargetsFile, members: Sequence[TargetResult], chain: RoleChainPolicies
) -> GroupedPullRequest:
    """Returns the pull request of the targets of a group."""
    first = members[0].target
    contents = [member.content for member in members if member.content]
    chain_of_group = replace(chain, chain=chain.chain.around(first.role))
    rows = [target_row(member) for member in members]
    files: dict[str, bytes] = {}
    changes: list[str] = []
    additions: list[Permission] = []
    for member in members:
        content = member.content
        if content and member.has_changes:
            files.update(content.context.contents)
            changes.extend(ids_with_scope(scope_id(member.target.scope), content.changes))
            additions.extend(content.additions)
    group_scope = file.group_scope(first.group)
    return GroupedPullRequest(
        scope=group_scope,
        branch=first.settings.branch,
        base=first.settings.base,
        primary=first.policy_path,
        files=files,
        title=group_title(first.group, rows),
        changes=tuple(changes),
        text=lambda mark, taken: group_body(rows, chain_of_group, mark, taken),
        owns=partial(_is_of_group, [member.target for member in members]),
        options=first.settings.pull_request_options,
        comments=_line_comments([content.context for content in contents]),
        mark=group_mark(first.group, file.configuration.path, scope_id(group_scope)),
        additions=tuple(additions),
        taken_away=_taken_away(contents),
        holds=holds_of_group(
            {scope_id(member.target.scope): member for member in members}, run.now
        ),
    )


def _is_of_group(targets: Iterable[Target], path: str) -> bool:
    """Whether a path is that of a policy file of some targets, of its continuations or of a
    boundary.
    """
    for target in targets:
        if path in (target.policy_path, target.settings.boundary_file):
            return True
        if file_number(target.policy_path, path):
            return True
    return False
