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
    all_commands = [command for content in contents[:1] for command in content.history.commands]
    own_commands = [command for command in all_commands if command.pull_request == published.number]
    if host is None or not (published.url and own_commands):
        return ""
    try:
        unchanged = ""
        if any(command.verb == "add" and not command.rejection for command in own_commands):
            unchanged = _unchanged_reason(contents, host, published)
        text = commands_answer(
            own_commands, contents, remembered=target.store is not None, unchanged=unchanged
        )
        if host.pull_requests.has_comment(published.number, COMMENT_MARKER, text):
            return ""
        host.pull_requests.upsert_comment(published.number, COMMENT_MARKER, text, create=True)
    except PullRequestError as error:
        return f"The commands under #{published.number} could not be answered: {error}"
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
                reason = (
                    published.failure or published.reason or "its branch holds another proposal"
                )
                return prose(plain(reason).rstrip("."))
    return ""


def commands_answer(
    said: Sequence[CommentCommand],
    contents: Sequence[PullRequestContent],
    *,
    remembered: bool,
    unchanged: str = "",
) -> str:
    """Lists the commands and what becomes of each in Markdown; empty without a command.

    Args:
        said: The commands.
        contents: The proposals of the pull request.
        remembered: Whether a usage history keeps them.
        unchanged: Why the pull request does not hold the proposals; empty where it does.
    """
    if not said:
        return ""
    lines = []
    for command in said[:_MAX_COMMANDS]:
        command_text = code(f"{command.verb} {command.pattern}".strip(), 120)
        who = f"by {code(command.author, 60)}" if command.author else "by an unknown person"
        lines.append(f"- {command_text} {who} {_verdict(command, said, contents, unchanged)}.")
    if len(said) > _MAX_COMMANDS:
        lines.append(f"- and {len(said) - _MAX_COMMANDS:,} more.")
    lasting = (
        "`keep` and `forget` are remembered beyond this pull request, until a person writes"
        " `/leastpriv forget …`."
        if remembered
        else (
            "`keep` and `forget` apply while this is one of the latest pull requests of its branch:"
            " the input `evidence-branch` remembers them, the input `keep` keeps an action for"
            " good."
        )
    )
    adding = "`add` counts while this pull request is open."
    return "\n".join([*lines, "", f"{lasting} {adding}"])


def _verdict(
    command: CommentCommand,
    said: Sequence[CommentCommand],
    contents: Iterable[PullRequestContent],
    unchanged: str,
) -> str:
    """Returns the answer to a command: `adds 2 permissions`, `counts`, `does not count: ...`."""
    if command.rejection:
        return f"does not count: {prose(command.rejection)}"
    if takes_back(command, said):
        return "takes `add` back"
    if command.verb != "add":
        return "counts"
    total_effect = CommandEffect()
    for content in contents:
        total_effect += answer_to(command.pattern, content.context.proposal)
    return "; ".join(_parts(total_effect, unchanged)) or "is not offered here"


def _parts(answer: CommandEffect, unchanged: str) -> Iterator[str]:
    """Yields each effect of `add` on the proposals, with the number of permissions."""
    if answer.added and unchanged:
        yield (
            f"waits with {plural(answer.added, 'permission')}, as this run left the pull request"
            f" unchanged: {unchanged}"
        )
    elif answer.added:
        yield f"adds {plural(answer.added, 'permission')}"
    if answer.waiting:
        yield f"waits for `max-changes`{_several(answer.waiting)}"
    if answer.taken_back:
        yield f"was taken back by a later `forget`{_several(answer.taken_back)}"
    if answer.unnamed:
        what = "takes what deletes or writes to any resource by its whole name only"
        yield f"{what}{_several(answer.unnamed)}"
    if answer.sensitive:
        yield f"is sensitive: add it by hand{_several(answer.sensitive)}"
    if answer.by_hand:
        yield f"is in a file that cannot be edited safely: add it by hand{_several(answer.by_hand)}"


def _several(count: int) -> str:
    """Returns how many permissions are meant, if they are several."""
    return f" ({plural(count, 'permission')})" if count > 1 else ""
