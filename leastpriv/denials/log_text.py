"""Removes what tools add to the text of a log, and loads the wordings of denials from the tables of
`data/` (pure).

Colours, timestamps, boxes and escapes are removed; line breaks remain. A break may be between two
words (Terraform's boxes, people) or inside one (CDK at the width of the terminal, SAM's columns);
the grammar decides which. Words are therefore matched with `breakable`: a break may occur anywhere.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from html import unescape

from msgspec import Struct

from leastpriv.aws.errors import call_outcome
from leastpriv.denials.quoted_lines import is_quoted
from leastpriv.models import Denial, DeniedBy, Outcome
from leastpriv.permissions.fact_tables import table

BREAKS = "\n\v"
"""`\n` ends a line of the log; `\v` is a break that a tool wrote as text (`\\n`), or a carriage
return.
"""
_LINE_END = re.compile(r"([\n\v])")
BLANKS = re.compile(r"[ \n\v]+")

# Colours, even where a copy lacks the escape character; titles and links of one line (ECMA-48, OSC
# 8).
_COLOUR = re.compile(
    r"\x1b\][^\x07\x1b\n\v]{0,2000}(?:\x07|\x1b\\)|\x1b?\[[0-9;]{0,16}m|\x1b\[[0-?]{0,16}["
    r" -/]{0,4}[@-~]"
)
_ESCAPED = re.compile(
    r"\\+(?:([nrt\"'/])|u([0-9a-fA-F]{4})|(x[0-9a-fA-F]{2}(?:\\+x[0-9a-fA-F]{2}){0,99}))"
    r"|&(quot|apos|lt|gt|amp|#34|#39|#x27);|</?(?:code|strong|em|samp|pre)>"
)
_ESCAPE_VALUES = {"n": "\v", "r": "\v", "t": " "}
# `gh run view --log` adds job and step, the runner a time, other systems their own prefixes.
_STAMP = re.compile(
    r"(?:\ufeff)?(?:[^\t\n\v]{1,200}\t[^\t\n\v]{1,200}\t\ufeff?(?=\d{4}-))?"
    r"(?:(?:\[Container\] )?\[?\d{4}[-/]\d\d[-/]\d\d[T"
    r" ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?\]?[ \t]?)?"
)
_WORD = re.compile(r"[ \t]*[^ \t]+")
_DIGITS = re.compile(r"\d+")
_LABEL_WORDS, _LABEL_LENGTH = 5, 60
_LEVEL = re.compile(
    r"\W*(?:error|err|warn|warning|info|debug|trace|fatal|notice|stderr|stdout)\W*", re.IGNORECASE
)
_TASK = re.compile(
    rf"[ \t]*(?:(?:[^A-Za-z\s]+|{_LEVEL.pattern})[ \t]+){{0,3}}?(#\d+(?= \d+\.\d)|"
    r"\[(?:[^\]\s]*[A-Za-z][^\]\s]*|\d{1,3})\](?=\s)|[\w@(][^\s\"']{0,60}[:$>](?=\s)"
    r"|[\w./@-]{1,60}["
    r" \t]+\|)",
    re.IGNORECASE,
)
_OF_MESSAGE = re.compile(
    r"arn:|://|user|authoriz|denied|forbidden|operation|\Aapi\Z|error|(?:ing|ed)\b"
    r"|(?-i:[a-z][A-Z]|[A-Z]_[A-Z])"
    r"|\A(?:GET|PUT|HEAD|POST|DELETE)\Z",
    re.IGNORECASE,
)
"""A word of a message, which ends a label."""
_FRAME_WORD = re.compile(r"[|│┃║╷╵>#,*\"'{]+")
_LABEL_END = re.compile(r".*[:|\])$>]|[\d.:,+-]+|[^\w\s]{1,3}")
_DECORATION = re.compile(
    r"[ \t]*(?:##\[\w{1,20}\]|::\w{1,20}(?: [^:\n\v]{0,200})?::)?[ \t│┃║|╷╵>#,]*"
)
_FRAME = " \t│┃║"
_END_OF_GROUP = re.compile(r"[ \t]*(?:##\[endgroup\]|::endgroup::)[ \t]*")
"""Ends the commands of a step, which GitHub's runner prints above their output."""


_LINES_ABOVE = 60
"""Lines that may say that a line quotes another text."""


class LogText(Struct, frozen=True):
    """The cleaned text of a log, and the screen position of its line ends."""

    text: str
    starts: tuple[int, ...]
    """Offset in `text` of each line, by either break."""
    ends: tuple[int, ...]
    """Column after the last visible character of that line, decoration included."""
    sources: tuple[str, ...]
    """The line of the log that each line of the text comes from."""

    def is_quoted(self, offset: int) -> bool:
        """Whether the line of the log at an offset of the text quotes it."""
        number = bisect_right(self.starts, offset) - 1
        first = max(0, number - _LINES_ABOVE)
        lines = [_STAMP.sub("", line, count=1) for line in self.sources[first : number + 1]]
        return is_quoted(lines, number - first)

    def paragraph_start(self, offset: int, first: int) -> int:
        """Returns where the paragraph at an offset begins, from `first` on, at an empty line.

        The end of a group is cleaned to an empty line, and the output below it belongs to the
        commands above it.
        """
        empty = self.text.rfind("\n\n", first, offset)
        while empty >= 0 and self._ends_group(empty + 1):
            empty = self.text.rfind("\n\n", first, empty + 1)
        return max(first, empty)

    def _ends_group(self, offset: int) -> bool:
        """Whether the line of the log at an offset of the text is the end of a group."""
        source = self.sources[bisect_right(self.starts, offset) - 1]
        return _END_OF_GROUP.fullmatch(_STAMP.sub("", source, count=1)) is not None


def clean_log_text(raw: str) -> LogText:
    """Cleans a text and keeps its line ends, so that lines can be counted in the result."""
    plain = raw.replace("\r\n", "\n").replace("\r", "\v")
    lines = _LINE_END.split(_COLOUR.sub("", plain))
    lines[::2] = map(
        _unescaped, _without_labels([_STAMP.sub("", line, count=1) for line in lines[::2]])
    )
    # An escaped line end (`\\n`) makes several lines of one.
    sources: list[str] = []
    for source, line in zip(_LINE_END.split(plain)[::2], lines[::2], strict=True):
        sources += [source] * (1 + len(_LINE_END.findall(line)))
    pieces = _LINE_END.split("".join(lines))
    ends: list[int] = []
    for index in range(0, len(pieces), 2):
        # A row of a table has `|` at both ends; elsewhere it may belong to the text.
        frame = _FRAME + "|" if pieces[index].lstrip().startswith("|") else _FRAME
        ends.append(len(pieces[index].rstrip(frame)))
        pieces[index] = _DECORATION.sub("", pieces[index], count=1).rstrip(frame)
    # Labels may be in text that another tool quoted or escaped.
    pieces[::2] = [_DECORATION.sub("", line, count=1) for line in _without_labels(pieces[::2])]
    text = "".join(pieces)
    starts = (0, *(match.end() for match in _LINE_END.finditer(text)))
    return LogText(text, starts, tuple(ends), tuple(sources))


def lines_by_task(lines: Sequence[str]) -> list[list[int]]:
    """Returns the numbers of the lines of each task whose output is mixed with that of others;
    empty if none is.

    Tools that run tasks at the same time (Terragrunt, Docker Compose, monorepo tools) write the
    task before each line: `[vpc] `, `deploy-1  | `, `#12 3.41 `. A line without one belongs to the
    task of the line before.
    """
    tasks_of_lines = [_task_of(line) for line in lines]
    counts = Counter(tasks_of_lines)
    tasks = {task for task, count in counts.items() if task and count > 2}
    task = ""
    changes = 0
    numbers: dict[str, list[int]] = {}
    for number, task_of_line in enumerate(tasks_of_lines):
        if task_of_line in tasks and task_of_line != task:
            changes += 1
            task = task_of_line
        numbers.setdefault(task, []).append(number)
    is_mixed = len(tasks) < changes and len(tasks) <= 20
    return [*numbers.values()] if is_mixed else []


def _task_of(line: str) -> str:
    """Returns the task that a line names at its start; empty without one."""
    task = _TASK.match(_STAMP.sub("", _COLOUR.sub("", line), count=1))
    if task is None or _OF_MESSAGE.search(task[1]):
        return ""
    return task[1]


def breakable(words: str) -> str:
    """Returns a regular expression for literal words: blanks between them may be missing, breaks
    may occur anywhere.
    """
    pieces = [
        r"[ \n\v]*" if character == " " else re.escape(character) + r"[\n\v]?"
        for character in words
    ]
    return "".join(pieces).removesuffix(r"[\n\v]?")


def any_beginning(words: str) -> str:
    """Returns a regular expression for any beginning of literal words, the longest first."""
    return (
        "(?:" + "|".join(breakable(words[:end].rstrip()) for end in range(len(words), 0, -1)) + ")"
    )


_NEXT_MESSAGE = re.compile(
    r"\n[^\w\n\v]{0,8}+(?:(?<!operation\.\n)(?<!:\n)User: ?[^\w\s]?arn:"
    r"|(?<=[\"'])(?:error)?[Mm]essage[\"']: ?[\"']|(?:fatal )?(?:[Ee]rror|ERROR|Warning): "
    r"|(?:[\w.]{1,100}: )?A(?:n|n? client) error (?:occurred )?\(|operation error [A-Z]|API: "
    r"|[\w.]{0,100}(?:Error|Exception|AccessDenied): "
    r"|[Yy]ou do not have permission to perform |(?<===> )[\w.-]{1,60}: "
    r"|(?:upload|download|copy|move|delete) failed: )"
)
"""A line that begins as no continuation of another message does. EC2's own message continues with
`User:`, and so does a code that a tool wrapped at its colon."""
_LONGEST_BEGINNING = 150


def end_of_message(text: str, start: int, limit: int) -> int:
    """Returns the end of the line before the next line that begins another message, `limit` at the
    latest.
    """
    following = _NEXT_MESSAGE.search(text, start, limit + _LONGEST_BEGINNING)
    return min(following.start(), limit) if following else limit


def without_blanks(text: str) -> str:
    """Returns a text in lower case without blanks and breaks, to search for wrapped words."""
    return "".join(text.split()).lower()


def without_breaks(text: str) -> str:
    """Returns a text with its breaks removed: a wrapped ARN."""
    return _LINE_END.sub("", text)


def one_line(text: str) -> str:
    """Returns a text on one line."""
    return BLANKS.sub(" ", text).strip()


def _without_labels(lines: list[str]) -> list[str]:
    """Removes what a tool writes before each line of another's output: a time, a container, a task,
    a level.

    A label is removed only where the line before or after begins with the same, whatever numbers
    are in it.
    """
    # Most neighbours begin differently, which is cheaper to see than whether a line has a label.
    begins = [line.lstrip()[:1] for line in lines]
    equal_beginnings = [0] * len(lines)
    for index in range(len(lines) - 1):
        beginning, next_beginning = begins[index], begins[index + 1]
        if beginning and (
            beginning == next_beginning or (beginning.isdigit() and next_beginning.isdigit())
        ):
            first, second = _labels(lines[index], lines[index + 1])
            equal_beginnings[index], equal_beginnings[index + 1] = (
                max(equal_beginnings[index], first),
                second,
            )
    return (
        [line[end:] for line, end in zip(lines, equal_beginnings, strict=True)]
        if any(equal_beginnings)
        else lines
    )


def _labels(one: str, other: str) -> tuple[int, int]:
    """Returns the lengths of the equal labels of two lines; zeros without one."""
    label = (0, 0)
    words = zip(
        _WORD.finditer(one, 0, 2 * _LABEL_LENGTH),
        _WORD.finditer(other, 0, 2 * _LABEL_LENGTH),
        strict=False,
    )
    for number, (first, second) in enumerate(words):
        word = first[0].strip()
        if number == _LABEL_WORDS or not _is_same_word(word, second[0].strip()):
            break
        if not number and _FRAME_WORD.fullmatch(word):
            break
        if _OF_MESSAGE.search(word) and not _LEVEL.fullmatch(word):
            break
        ends = (first.end(), second.end())
        is_column = one.startswith("  ", ends[0]) and other.startswith("  ", ends[1])
        if max(ends) <= _LABEL_LENGTH and (_LABEL_END.fullmatch(word) or is_column):
            label = ends
    has_text = one[label[0] :].strip() and other[label[1] :].strip()
    return label if has_text else (0, 0)


def _is_same_word(one: str, other: str) -> bool:
    """Whether two words are equal, whatever numbers are in them."""
    return _DIGITS.sub("0", one) == _DIGITS.sub("0", other)


def _unescaped(text: str) -> str:
    text = text.replace("\t", " ").replace("\u00a0", " ")
    if "\\" not in text and "&" not in text and "<" not in text:
        return text
    return _ESCAPED.sub(_escape_value, text)


def _escape_value(found: re.Match[str]) -> str:
    if found[2]:
        character = chr(int(found[2], 16))
        return character if character.isprintable() else " "
    if found[3]:  # Python's `repr` of bytes, and of an escape character
        text = bytes.fromhex(re.sub(r"[\\x]", "", found[3])).decode("utf-8", "replace")
        return "".join(letter if letter.isprintable() else " " for letter in text)
    if found[1]:
        return _ESCAPE_VALUES.get(found[1], found[1])
    return unescape(found[0]) if found[4] else ""


_PACKAGE = "leastpriv.denials"


def other_cause_reason(text: str) -> str:
    """Returns why no grant fixes an error of another cause; empty where the cause is not in the
    table.
    """
    words = without_blanks(text)
    for row in table("other_causes", _PACKAGE):
        if without_blanks(row["text"]) in words:
            return row["why"]
    return ""


def foreign_store(text: str) -> str:
    """Returns the object store other than Amazon S3 that the text mentions; empty where there is
    none.
    """
    words = text.lower()
    return next(
        (row["store"] for row in table("foreign_stores", _PACKAGE) if row["word"] in words), ""
    )


_END_OF_BARE = (
    r"(?![\w-])(?! *[\n\v]? *(?:because|to|for|by|with|when|due|since|as|on|while)\b)"
    rf"(?!\. *\v? *{breakable('User:')})"
    rf"(?!\.[ \n\v]*{breakable('User:')}"
    r"(?![^\n\v]{1,500} authorized to perform: (?!ec2:|iam:PassRole\b)\w))"
)
"""`Access Denied because object protected by object lock` has another cause, and EC2's newer
messages continue with AWS's own sentence; an empty line ends the text."""


class ToolPhrase(Struct, frozen=True):
    """What a tool prints before a bare denial."""

    text: str
    sign: str
    """Without blanks."""
    pattern: re.Pattern[str]
    action: str
    """The denied action."""


@cache
def tool_phrases() -> tuple[ToolPhrase, ...]:
    """Returns the rows of `tool_phrases.tsv`."""
    return tuple(
        ToolPhrase(
            text=row["phrase"],
            sign=without_blanks(row["phrase"]),
            pattern=re.compile(breakable(row["phrase"]), re.IGNORECASE),
            action=row["action"],
        )
        for row in table("tool_phrases", _PACKAGE)
    )


@cache
def iam_kinds() -> Mapping[str, str]:
    """Kind as IAM writes it -> its part of the ARN."""
    return {row["kind"]: row["path"] for row in table("iam_kinds", _PACKAGE)}


@cache
def prefixes_of_services() -> Mapping[str, str]:
    """Name of a service in SDKs and CloudFormation, without blanks -> IAM prefix, where they
    differ.
    """
    return {without_blanks(row["name"]): row["prefix"] for row in table("service_names", _PACKAGE)}


NEAR = 600
"""Characters before a bare denial in which a tool may name the operation or resource."""
_LONGEST_MESSAGE = 1_000
_STATUSES = frozenset({"403", "Forbidden"})
"""Status in place of a code where the answer has no body."""


class FoundDenial(Struct, frozen=True):
    """A denial and its position in the cleaned text."""

    start: int
    end: int
    denial: Denial
    answer: int
    """Offset of the words of the answer; the operation that got it may be in another line."""

    @property
    def span(self) -> tuple[int, int]:
        """The part of the text that it is about."""
        return self.start, self.end


def is_covered(span: tuple[int, int], others: Collection[FoundDenial], around: int = 0) -> bool:
    """Whether another denial covers this part of the text, or is near it."""
    start, end = span
    return any(start < other.end + around and other.start < end + around for other in others)


def message_of(layout: LogText, start: int, end: int) -> str:
    """Returns the text of a denial on one line, truncated at a limit; an empty line ends it."""
    text = layout.text[start : min(end, start + 3 * _LONGEST_MESSAGE)]
    return one_line(text.partition("\n\n")[0])[:_LONGEST_MESSAGE]


def is_denial_code(code: str) -> bool:
    """Whether an error code, or the status in its place, is a denial."""
    return code in _STATUSES or call_outcome(code, "") is Outcome.DENIED


def bare_denial_service(text: str) -> str | None:
    """Returns the service whose bare denial a text begins with (empty: any service's); None where
    it is none.
    """
    bare = bare_denial(text)
    return bare.service if bare else None


class BareDenial(Struct, frozen=True):
    """A denial without an action, with which a text begins."""

    service: str
    """The service that words it so; empty: any."""
    length: int
    """Of its words, in characters."""


def bare_denial(text: str) -> BareDenial | None:
    """Returns the bare denial that a text begins with."""
    for pattern, service in _bare_denials():
        words = pattern.match(text)
        if words:
            return BareDenial(service, words.end())
    return None


@cache
def _bare_denials() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Messages without an action, as patterns for their beginning, with the service or an empty
    text.
    """
    return tuple(
        (re.compile(breakable(row["text"]) + _END_OF_BARE, re.IGNORECASE), row["service"])
        for row in table("bare_refusals", _PACKAGE)
    )


def inferred_denial(
    layout: LogText,
    span: tuple[int, int],
    actions: tuple[str, ...],
    resource: str = "",
    why: str = "",
    answer: int | None = None,
) -> FoundDenial:
    """Builds a denial of inferred actions.

    Args:
        layout: The text.
        span: The part of the text that it is about.
        actions: The inferred actions.
        resource: The ARN, where known.
        why: Why no grant helps.
        answer: Offset of the words of the answer, where these do not begin the span.
    """
    start, end = span
    around = layout.text[max(0, start - NEAR) : end + 200]
    store = foreign_store(around) if any(action.startswith("s3:") for action in actions) else ""
    reason = why or (f"the request went to {store}" if store else "")
    reason = reason or ("" if actions else "the message names no action, and none follows from it")
    denial = Denial(
        actions=actions,
        resource=resource,
        principal="",
        denied_by=DeniedBy.UNKNOWN,
        explicit=False,
        mendable=not reason,
        message=message_of(layout, start, end),
        inferred=bool(actions),
        why=reason,
    )
    return FoundDenial(start, end, denial, start if answer is None else answer)
