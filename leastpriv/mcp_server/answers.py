"""Makes the answer of a tool from what the shell's command printed: short enough to read, in the
words of the tool.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from leastpriv.declared.limits import why_unknown
from leastpriv.mcp_server.tools import AgentTool
from leastpriv.report.escape import legible

_MOST_CHARACTERS = 60_000
"""Characters of the rows or the text of an answer: about 20,000 tokens; clients of agents refuse
25,000 (https://docs.anthropic.com/en/docs/claude-code/mcp, read 2026-12-01)."""
_MOST_MESSAGES = 50
_DRAFT_PARTS = ("title", "verdict", "notes")
"""Parts of `proposal.json` that an answer with a draft has, besides its lists."""
_OF_CHANGE = ("kind", "action", "resources", "basis", "conditions", "because", "declared_by")
_NOT_FOR_AGENTS = re.compile(r"Wrote |Reading no record of calls|Read 0 records in no file")
"""Beginnings of log lines about files that no longer exist, and records that no call names."""
_NO_STATE = "its folder has no .terraform/terraform.tfstate, so what the state needs is not known"


class ToolAnswer(Struct, frozen=True):
    """The result of a command of the shell."""

    exit_code: int
    answer: Any
    """Rows, text, or the draft of a policy, as the command prints them."""
    messages: tuple[str, ...] = ()
    """Lines of its log."""

    def written(self, write: Callable[[str], str]) -> ToolAnswer:
        """Returns the answer with every text as `write` writes it."""
        messages = tuple(write(message) for message in self.messages)
        return ToolAnswer(self.exit_code, _written(self.answer, write), messages)

    def legible(self) -> ToolAnswer:
        r"""Returns the answer without invisible text.

        Names come from logs and files of others: characters that nothing shows are written out, as
        in `\u{200b}`, so that no text is hidden from the person who reads along.
        """
        tool_answer = self.written(legible)
        if tool_answer.answer == self.answer:
            return tool_answer
        remark = "Invisible characters in names are written out, as in \\u{200b}."
        return ToolAnswer(
            tool_answer.exit_code, tool_answer.answer, (*tool_answer.messages, remark)
        )


def of_rows(tool: AgentTool, exit_code: int, lines: Iterable[str], log: str) -> ToolAnswer:
    """Returns the answer of a command that prints JSON lines."""
    space = _Space()
    rows = space.part("rows", (json.loads(line) for line in lines))
    return ToolAnswer(exit_code, rows, (*_messages(log), *space.remarks(tool)))


def of_text(tool: AgentTool, exit_code: int, text: str, log: str) -> ToolAnswer:
    """Returns the answer of a command that prints text."""
    if len(text) <= _MOST_CHARACTERS:
        return ToolAnswer(exit_code, text, _messages(log))
    beginning = text[: text.rfind("\n", 0, _MOST_CHARACTERS) + 1] or text[:_MOST_CHARACTERS]
    space = _Space()
    space.left["lines"] = max(1, text.count("\n", len(beginning)))
    return ToolAnswer(exit_code, beginning, (*_messages(log), *space.remarks(tool)))


def of_failure(exit_code: int, log: str) -> ToolAnswer:
    """Returns the answer of a command that printed no result."""
    return ToolAnswer(exit_code, None, _messages(log))


def of_draft(
    tool: AgentTool, proposal: Mapping[str, Any], policies: Sequence[Any], log: str
) -> ToolAnswer:
    """Returns the draft of a policy, and what of templates and plans it does not cover.

    The exit code is 1 where a whole template or plan was not judged.
    """
    declared = proposal["aws_findings"]["declared"]
    not_drafted = list(_not_drafted(proposal))
    changes = [{part: change.get(part) for part in _OF_CHANGE} for change in proposal["changes"]]
    answer = {part: proposal.get(part) for part in _DRAFT_PARTS}
    answer["policies"] = policies
    space = _Space()
    answer["not_drafted"] = space.part("parts of not_drafted", not_drafted)
    answer["gaps"] = space.part("gaps", proposal["gaps"])
    suggested = proposal["suggested_actions"]
    answer["suggested_actions"] = space.part("suggested actions", suggested)
    held_back = proposal["held_back_additions"]
    answer["held_back_additions"] = space.part("held-back additions", held_back)
    answer["changes"] = space.part("changes", changes)
    messages = [*_messages(log), *space.remarks(tool)]
    unread_sources = [source for source in declared["unread"] if source in declared["sources"]]
    messages += [
        f"Nothing of {source} was drafted: {why_unknown(source, declared['reasons'])}."
        for source in unread_sources
    ]
    if len(not_drafted) > len(unread_sources):
        parts = len(not_drafted) - len(unread_sources)
        noun = "part" if parts == 1 else "parts"
        messages.append(f"The draft lacks what {parts:,} {noun} may need: see not_drafted.")
    return ToolAnswer(1 if unread_sources else 0, answer, tuple(messages))


def _not_drafted(proposal: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yields what the draft does not cover of templates and plans, each with the reason."""
    declared = proposal["aws_findings"]["declared"]
    for part in declared["unread"]:
        yield {"part": part, "reason": why_unknown(part, declared["reasons"])}
    for plan in declared["stateless"]:
        yield {"part": f"the state of {plan}", "reason": _NO_STATE}
    for parameters, resources in declared["left_out"].items():
        reason = f"another value of {parameters} decides whether it is made"
        yield from ({"part": resource, "reason": reason} for resource in resources)
    for need in proposal["ledger"]["declared_needs"]:
        if need["state"] == "not-written":
            part = f"{need['action']} on {need['resource']}"
            yield {"part": part, "reason": need.get("reason") or "no statement grants it"}


def _messages(log: str) -> tuple[str, ...]:
    """Returns the lines of a log that are about the call."""
    lines = [line for line in log.splitlines() if not _NOT_FOR_AGENTS.match(line)]
    if len(lines) <= _MOST_MESSAGES:
        return tuple(lines)
    # The last line of a command that fails has the reason.
    left_out = len(lines) - _MOST_MESSAGES
    return (*lines[: _MOST_MESSAGES - 1], f"{left_out:,} more lines are left out.", lines[-1])


def _written(value: Any, write: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return write(value)
    if isinstance(value, Mapping):
        return {write(key): _written(member, write) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_written(element, write) for element in value]
    return value


class _Space:
    """The characters that an answer may still have, and what was left out of it."""

    def __init__(self) -> None:
        self._characters = _MOST_CHARACTERS
        self.left: dict[str, int] = {}
        """Name of a part -> number of its rows that are left out."""

    def part(self, name: str, rows: Iterable[Any]) -> list[Any]:
        """Returns the first rows, as many as there is space for."""
        shown_rows: list[Any] = []
        left_out = 0
        for row in rows:
            size = 0 if left_out else len(json.dumps(row))
            if left_out or size > self._characters:
                left_out += 1
                continue
            self._characters -= size
            shown_rows.append(row)
        if left_out:
            self.left[name] = left_out
        return shown_rows

    def remarks(self, tool: AgentTool) -> Iterator[str]:
        """Yields what was left out, and how to see it."""
        narrowing = [parameter.name for parameter in tool.parameters if parameter.narrows]
        *first, last = narrowing
        names = f"{', '.join(first)} or {last}" if first else last
        for part, number in self.left.items():
            yield f"{number:,} more {part}: narrow {names}."
