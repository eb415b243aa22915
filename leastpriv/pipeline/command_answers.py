"""Answers the commands in comments: which count, and what each `add` does to the proposal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from leastpriv.errors import PullRequestError
from leastpriv.pipeline.comment_decisions import takes_back
from leastpriv.pipeline.context import PullRequestContent, Target
from leastpriv.proposal.offers import CommandEffect, answer_to
from leastpriv.pull_request.lifecycle import COMMENT_MARKER, CommentCommand
from leastpriv.pull_request.models import PublishResult, PullRequestOperation
from leastpriv.report.escape import code, plain, prose
from leastpriv.report.phrases import plural

if TYPE_CHECKING:
    from leastpriv.pull_request.github.repository import GitHubRepository

_MAX_COMMANDS = 50
_REMEMBERED = (
    "`keep` and `forget` are remembered beyond this pull request, until a person writes"
    " `/leastpriv forget …`."
)
_NOT_REMEMBERED = (
    "`keep` and `forget` apply while this is one of the latest pull requests of its branch: the"
    " input `evidence-branch` remembers them, the input `keep` keeps an action for good."
)


def answer_commands(
    contents: Sequence[PullRequestContent], target: Target, published: PublishResult
) -> str:
    """Writes or edits the comment that answers the commands; returns a sentence where that failed.

    Args:
        contents: The proposals of the pull request.
        target: The target of one of them.
        published: What publishing did.
    """
    host = target.repository.github if target.repository else None
    if host is None or not contents or not published.url:
        return ""
    number = published.number
    # Each of the proposals has the commands of the one pull request.
    commands = [
        command for command in contents[0].history.commands if command.pull_request == number
    ]
    if not commands:
        return ""
    try:
        unchanged = ""
        if any(command.verb == "add" and not command.rejection for command in commands):
            unchanged = _unchanged_reason(contents, host, published)
        answer = commands_answer(
            commands, contents, remembered=target.store is not None, unchanged=unchanged
        )
        if not host.pull_requests.has_comment(number, COMMENT_MARKER, answer):
            host.pull_requests.upsert_comment(number, COMMENT_MARKER, answer, create=True)
    except PullRequestError as error:
        return f"The commands under #{number} could not be answered: {error}"
    return ""


def _unchanged_reason(
    contents: Sequence[PullRequestContent], host: GitHubRepository, published: PublishResult
) -> str:
    """Returns in Markdown why the branch of a pull request does not hold the proposals after
    publishing; empty where it does.
    """
    if published.operation in (PullRequestOperation.CREATED, PullRequestOperation.UPDATED):
        return ""
    for content in contents:
        if not content.context.proposal.changes:
            continue
        for path, new_content in content.context.contents.items():
            if host.read(published.head_sha, path) != new_content:
                reason = published.failure or published.reason
                if not reason:
                    reason = "its branch holds another proposal"
                return prose(plain(reason).rstrip("."))
    return ""


def commands_answer(
    commands: Sequence[CommentCommand],
    contents: Sequence[PullRequestContent],
    *,
    remembered: bool,
    unchanged: str = "",
) -> str:
    """Lists the commands and what becomes of each in Markdown; empty without a command.

    Args:
        commands: The commands.
        contents: The proposals of the pull request.
        remembered: Whether a usage history keeps them.
        unchanged: Why the pull request does not hold the proposals; empty where it does.
    """
    if not commands:
        return ""
    lines = []
    for command in commands[:_MAX_COMMANDS]:
        command_text = code(f"{command.verb} {command.pattern}".strip(), 120)
        author = code(command.author, 60) if command.author else "an unknown person"
        verdict = _verdict(command, commands, contents, unchanged)
        lines.append(f"- {command_text} by {author} {verdict}.")
    if len(commands) > _MAX_COMMANDS:
        lines.append(f"- and {len(commands) - _MAX_COMMANDS:,} more.")
    duration = _REMEMBERED if remembered else _NOT_REMEMBERED
    return "\n".join([*lines, "", f"{duration} `add` counts while this pull request is open."])


def _verdict(
    command: CommentCommand,
    commands: Sequence[CommentCommand],
    contents: Iterable[PullRequestContent],
    unchanged: str,
) -> str:
    """Returns the answer to a command: `adds 2 permissions`, `counts`, `does not count: ...`."""
    if command.rejection:
        return f"does not count: {prose(command.rejection)}"
    if takes_back(command, commands):
        return "takes `add` back"
    if command.verb != "add":
        return "counts"
    total_effect = CommandEffect()
    for content in contents:
        total_effect += answer_to(command.pattern, content.context.proposal)
    return "; ".join(_effects(total_effect, unchanged)) or "is not offered here"


def _effects(effect: CommandEffect, unchanged: str) -> Iterator[str]:
    """Yields each effect of `add` on the proposals, with the number of permissions."""
    if effect.added and unchanged:
        yield (
            f"waits with {plural(effect.added, 'permission')}, as this run left the pull request"
            f" unchanged: {unchanged}"
        )
    elif effect.added:
        yield f"adds {plural(effect.added, 'permission')}"
    if effect.waiting:
        yield f"waits for `max-changes`{_several(effect.waiting)}"
    if effect.taken_back:
        yield f"was taken back by a later `forget`{_several(effect.taken_back)}"
    if effect.unnamed:
        yield (
            "takes what deletes or writes to any resource by its whole name only"
            f"{_several(effect.unnamed)}"
        )
    if effect.sensitive:
        yield f"is sensitive: add it by hand{_several(effect.sensitive)}"
    if effect.by_hand:
        yield f"is in a file that cannot be edited safely: add it by hand{_several(effect.by_hand)}"


def _several(count: int) -> str:
    """Returns how many permissions are meant, if they are several."""
    return f" ({plural(count, 'permission')})" if count > 1 else ""
