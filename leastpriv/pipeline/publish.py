"""One pull request for each target, or one for all of a group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from leastpriv.config.settings import Mode
from leastpriv.errors import PullRequestError
from leastpriv.pipeline.collect_evidence import tried
from leastpriv.pipeline.propose import COMMIT_SUMMARY, Ended, answered, line_comments, publish, remember
from leastpriv.policy.size import file_number
from leastpriv.proposal.fingerprint import fingerprint, ids_with_scope
from leastpriv.pull_request.body_markers import controls
from leastpriv.pull_request.models import LineComment, Operation, Place, Publication, Published
from leastpriv.report.role_chain import RoleChainPolicies
from leastpriv.report.targets import TargetRow, group_body, group_title

MOST_IDS = 900
"""Of a shared pull request, at 22 characters each; beyond it only an equal proposal is known again as declined."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What one pull request holds of several policies."""

    scope: str
    """As fingerprints tell such pull requests apart."""
    branch: str
    base: str
    """Name of the base branch, empty for the default one."""
    primary: str
    """Path of one file that it always speaks about."""
    files: Mapping[str, bytes]
    title: str
    changes: tuple[str, ...]
    """Ids of what closing it declines."""
    text: Callable[[str, int], str]
    """From fingerprint, and the room that is taken otherwise, to the body."""
    owns: Callable[[str], bool]
    """Whether such a pull request may change the file of a path."""
    comments: Sequence[LineComment] = ()


def group_scope(group: str, config: str) -> str:
    """The scope of a group's pull request."""
    return f"group {group} of {config}"


def published_all(ended: Sequence[Ended], config: str, chained: RoleChainPolicies, now: datetime) -> tuple[Ended, ...]:
    """Publishes every target, one by one or by group; a failure is part of how a target ended.

    What was learned of each is kept, whatever came of its proposal.
    """
    groups: dict[str, list[Ended]] = {}
    for each in ended:
        if each.target.group:
            groups.setdefault(each.target.group, []).append(each)
    shared = {name: _published_group(name, members, config, chained, now) for name, members in groups.items()}
    return tuple(
        _of_group(each, shared[each.target.group], now) if each.target.group else _published(each, now)
        for each in ended
    )


def put(shared: Shared, place: Place, expected_base: str, now: datetime) -> Published:
    """Publishes what several policies share; a failure is part of the result."""
    before = place.read(expected_base, shared.primary)
    mark = fingerprint(shared.scope, before, *_contents(shared.files))
    ends = controls(shared.changes[:MOST_IDS])
    content = shared.files.get(shared.primary)
    publication = Publication(
        branch=shared.branch,
        base=shared.base,
        path=shared.primary,
        content=content,
        title=shared.title,
        summary=COMMIT_SUMMARY,
        fingerprint=mark,
        expected_base=expected_base,
        body=f"{shared.text(mark, len(ends))}\n{ends}",
        certify=lambda old, new: _certified(shared, old, new),
        further={path: text for path, text in shared.files.items() if path != shared.primary},
        comments=shared.comments,
    )
    try:
        return place.publish(publication, now)
    except PullRequestError as error:
        return Published(Operation.NONE, shared.branch, "", expected_base, failure=str(error))


def row_of(ended: Ended) -> TargetRow:
    """A target as reports show it."""
    published, made = ended.published, ended.made
    failure = str(ended.failure) if ended.failure else published.failure if published else ""
    return TargetRow(
        role=ended.target.role,
        policy_file=ended.target.workplace.policy_name,
        title=made.title if made else "",
        failure=failure,
        pull_request=published.url if published else "",
        number=published.number if published else 0,
        operation=published.operation.value if published else "",
        context=made.subject if made else None,
    )


def _published(ended: Ended, now: datetime) -> Ended:
    made, target = ended.made, ended.target
    if made is None:
        return ended
    result, failure = tried(lambda: publish(made, target.settings, target.workplace, now))
    if result is None:
        return replace(ended, failure=failure)
    return replace(ended, published=result.published, forgotten=result.forgotten)


def _of_group(ended: Ended, published: Published | None, now: datetime) -> Ended:
    made, workplace = ended.made, ended.target.workplace
    if made is None:
        return replace(ended, published=published)
    forgotten, failure = tried(lambda: remember(made, workplace, now))
    if published and not forgotten:
        # All members hear the same commands: answering once more edits the one comment into what it says already.
        forgotten, failure = tried(lambda: answered(made, workplace, published))
    return replace(ended, published=published, forgotten=forgotten or str(failure or ""))


def _published_group(
    name: str, members: Sequence[Ended], config: str, chained: RoleChainPolicies, now: datetime
) -> Published | None:
    """What became of a group's pull request; those of its targets that failed are told in it."""
    first = members[0].target
    place, branch = first.workplace.place, first.settings.branch
    made = [each for each in members if each.made]
    if place is None or not made or first.settings.mode is not Mode.PULL_REQUEST:
        return None
    base = next(each.made.base for each in made if each.made)
    unknown = next((each.made.failure for each in made if each.made and each.made.failure), "")
    if unknown:
        return Published(Operation.NONE, branch, "", base, failure=unknown)
    paths = tuple(each.target.workplace.policy_path for each in members)
    around = replace(chained, chain=chained.chain.around(first.role))
    shared = Shared(
        scope=group_scope(name, config),
        branch=branch,
        base=first.settings.base,
        primary=paths[0],
        files=_files(made),
        title=group_title(name, [row_of(each) for each in members]),
        changes=tuple(
            change
            for each in made
            if each.made and each.made.subject.proposal.changes
            for change in ids_with_scope(each.target.digits, each.made.changes)
        ),
        text=lambda mark, taken: group_body([row_of(each) for each in members], around, mark, taken),
        owns=lambda path: any(path == own or file_number(own, path) for own in paths),
        comments=line_comments([each.made.subject for each in made if each.made]),
    )
    return put(shared, place, base, now)


def _files(made: Sequence[Ended]) -> dict[str, bytes]:
    """The proposed files of those that change, by path."""
    return {
        path: content
        for each in made
        if each.made and each.made.subject.proposal.changes
        for path, content in each.made.subject.contents.items()
    }


def _contents(files: Mapping[str, bytes]) -> list[bytes]:
    return [path.encode() + b"\0" + content for path, content in sorted(files.items())]


def _certified(shared: Shared, before: bytes | None, after: Mapping[str, bytes]) -> str:
    """Fingerprint of a proposal that changes these files; of files that no such pull request changes, none."""
    if not after or not all(map(shared.owns, after)):
        return ""
    return fingerprint(shared.scope, before, *_contents(after))
