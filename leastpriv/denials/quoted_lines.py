"""Recognizes lines of a log that quote a denial and report none: commands, commit titles, plans,
diffs, source code, assertions, rows of documents (pure).

A lost denial costs another deployment; a denial that was only quoted adds a permission that a
person still reviews. So a line counts as a denial unless its form shows clearly that it quotes one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_DENIED = r"(?i:denied|authoriz|forbidden|403)"
"""A word of every denial."""
_STRING = rf"(?P<quote>[\"'`])(?:\\.|(?!(?P=quote))[^\n\\])*?{_DENIED}"
"""A string in quotes, up to the denial in it."""
_CODE = r"(?:[^\"'`\n]|\"[^\"\n]*\"|'[^'\n]*')*?"
"""Code and strings before a string."""
_TITLE = (
    r"(?:(?:build|chore|ci|docs|feat|fix|perf|refactor|revert|style|test)(?:\([^()\n]*\))?!?: "
    r"|(?:Add|Allow|Avoid|Catch|Change|Document|Explain|Fix|Grant|Handle|Ignore|Improve|Make|Mend"
    r"|Mention|Merge|Quote|Remove|Revert|Say|Show|Update|Use)\b(?! (?:failed|failure|error)\b))"
)
"""How people begin the title of a commit; a log line may begin with an id as well."""
_HASH = r"(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{7,40}\b"
"""With a letter and a digit: a time or the id of a process has digits alone."""
_RESULT_KEY = r"(?:\w*_)?(?:message|msg|error|err|reason|cause|stderr|stdout|output)\b"
_QUOTING_LINES = (
    # `set -x`: the shell prints a command before it runs it, and puts an argument with blanks in
    # single quotes. A variable (`+ answer='An error …'`) may have the answer of a call.
    re.compile(r"\++ (?:echo|printf|[ef]?grep|rg|sed|awk)\b"),
    re.compile(
        r"\++ (?!\[|(?:export|local|declare|readonly) )[^ :='\"\n]+ "
        rf"(?:[^'\n]|'[^'\n]*')*?(?<= )\$?'[^'\n]*?{_DENIED}"
    ),
    # `git log --oneline`, `git checkout`.
    re.compile(r"HEAD is now at [0-9a-f]{7,40} "),
    re.compile(
        rf"(?:[*|\\/ ]{{1,10}})?{_HASH} (?:{_TITLE}|\((?:HEAD\b|origin/|tag: )[^)\n]*\) [A-Za-z])"
    ),
    # `git commit` says what it committed, and `git merge` what it merged.
    re.compile(rf"\[(?:[\w./-]+|detached HEAD) {_HASH}\] {_TITLE}"),
    re.compile(r"\[[\w./-]+ \(root-commit\) [0-9a-f]{7,40}\] "),
    re.compile(
        r"Merge (?:pull request #[0-9]+ from|branch ['\"][^'\"\n]+['\"] (?:into|of)) "
        r"(?!\S+ (?:failed|error)\b)"
    ),
    # The value of an attribute in a plan of Terraform; it ends what it removes with `-> null`.
    re.compile(r"[ \t]*(?:[+~]|-/\+|\+/-)[ \t]+\"?[A-Za-z_][\w.-]*\"?[ \t]+=[ \t]+\""),
    re.compile(r"[ \t]*-[ \t]+\"?[A-Za-z_][\w.-]*\"?[ \t]+=[ \t]+\"[^\n]*\" -> "),
    # The same of Pulumi or the CDK; what a call answered is no value of a plan.
    re.compile(
        rf"[ \t]*[+~][ \t]+\"?(?i:(?!{_RESULT_KEY}))[A-Za-z_][\w.-]*\"?[ \t]*(?::|=>)[ \t]*[\"']"
    ),
    # An assertion in the source of a test.
    re.compile(rf">?[ \t]*assert[ \t(]{_CODE}(?<!\w\(){_STRING}"),
    # pytest's explanation: the expected text is left of `in`, and right of `==`.
    re.compile(rf"E[ \t]+(?:\w+Error: )?assert {_STRING}(?:(?!(?P=quote))[^\n])*(?P=quote) in "),
    re.compile(rf"E[ \t]+(?:\w+Error: )?assert (?:(?!{_DENIED})[^\n])* == {_STRING}"),
    re.compile(rf"[ \t]*(?:expect\(|assert\w+\(|raise |throw new ){_CODE}{_STRING}"),
    # The expected text of a test, and the name of a test that passed or was not run.
    re.compile(rf"[ \t]*Expected: {_STRING}"),
    re.compile(
        r"(?:PASSED|SKIPPED|XFAIL|XPASS)[ \t]+[^\s\[]+::\w+\["
        rf"(?=[^\n]*{_DENIED})[^\n]*\][ \t]*\Z"
    ),
    re.compile(rf"[ \t]*[✓✔√][ \t]{_CODE}{_STRING}"),
    re.compile(r"[ \t]*ok [0-9]+ - (?:(?!# ?(?i:SKIP|TODO))[^\n])*\Z"),
    re.compile(
        r"[ \t]*(?:=== (?:RUN|PAUSE|CONT|NAME)|--- (?:PASS|SKIP):)[ \t]+"
        r"Test\S*(?: \([0-9.]+s\))?[ \t]*\Z"
    ),
    # Source code: a comment, or a call that prints the text.
    re.compile(rf"[ \t]*//[ \t][^\n]*{_DENIED}"),
    re.compile(rf"[ \t]*/\*[ \t](?:(?!\*/)[^\n])*?{_DENIED}"),
    re.compile(rf"[ \t]*<!--[ \t](?:(?!-->)[^\n])*?{_DENIED}"),
    re.compile(
        r"[ \t]*(?:(?:console\.\w+|print\w*|puts|fmt\.\w+|log(?:ger|ging)?\.\w+)[ \t]*\("
        rf"|(?:print|puts|Write-\w+)[ \t]+){_STRING}"
    ),
    # `grep -n` on a document; a blank follows the colon where a tool names the place of an error.
    re.compile(r"[\w./-]+\.(?:md|rst|adoc):[0-9]+:(?! \S)"),
    # A part of AWS's sentence without its subject, in quotes: no service writes that.
    re.compile(
        r"(?![^\n]*(?:\bUser:|\berror occurred))"
        r"[^\n]*(?P<quote>[\"'`])is not authorized to perform: [\w:*-]+(?P=quote)"
    ),
)

_PROMPT = re.compile(r"\A[ \t]*(?:[$>] |##\[(?:command|group)\])?(?:Run )?")
_SHELL = re.compile(
    r"(?P<blank>[ \t]+)|(?P<separator>[|;&]+)"
    r"|(?<=[ \t=($,])(?P<string>'[^'\n]*'|\"(?:[^\"\\\n]|\\.)*\")"
    r"|(?P<stray>['\"])|(?P<word>(?:[^ \t'\"\\|;&]|\\.)+)"
)
"""The parts of a shell command. A quote inside a word belongs to another text around the command
(`Error running command 'make && echo "ok"': exit status 1`)."""
_KEYWORDS = frozenset({"if", "then", "elif", "else", "do", "while", "until", "!", "{", "("})
_PRINTING = frozenset({"echo", "printf", "grep", "egrep", "fgrep", "rg", "sed", "awk"})
_LONGEST_LINE = 4_000
"""Characters of a line that a person or a tool writes to quote a denial."""

_COLOUR = re.compile(r"\x1b\[[0-9;]{0,16}m")
_ECHOED = re.compile(r"\x1b\[36;1m.*")
"""GitHub's runner prints the commands of a step in this colour, below `##[group]Run`."""
_GROUP = re.compile(r"##\[group\].*")
_LONG_SCRIPT = 20
"""Lines in that colour of which the first ones may be too far above to be read."""
_ROW = re.compile(r"[ \t]*\|.*\|[ \t]*")
_ROW_OF_CODE = re.compile(r"[ \t]*\|[ \t]*`[^\n]*`[ \t]*\|[^\n]*\|[ \t]*")
_RULE = re.compile(r"[ \t]*\|[ \t]*:?-{2,}[-:| \t]*\|[ \t]*")
_ADVICE = re.compile(r"\b(?:fix|solution|remedy|meaning|resolution)\b", re.IGNORECASE)
_OF_RUN = re.compile(
    r"\b(?:account|app|attempt|branch|build|check|commit|component|date|deploy\w*|duration|elapsed"
    r"|env\w*|exit|finished|function|host|instance|job|module|outcome|package|phase|pipeline"
    r"|project|region|release|resource|result|run|runner|service|stack|stage|start\w*|state|status"
    r"|step|suite|target|task|tenant|test|time|timestamp|unit|version|when|workflow|workspace)s?\b",
    re.IGNORECASE,
)
"""Words of the head of a table that reports on parts of a run; a document explains messages."""
_HUNK = re.compile(r"@@ -[0-9]+(?:,[0-9]+)? \+[0-9]+(?:,[0-9]+)? @@.*")
_OF_HUNK = re.compile(r"[-+ \\].*")
_COMMIT = re.compile(r"commit [0-9a-f]{7,40}(?: \(.*\))?|(?:Author|Commit):[ \t]+.*<[^<>]*>")
_OF_COMMIT = re.compile(r"[ \t]*|(?:AuthorDate|CommitDate|Date|Merge):.*|    .*")


def is_quoted(lines: Sequence[str], number: int) -> bool:
    """Whether a line of a log quotes text that no call of this job produced.

    Args:
        lines: of the log, without their times.
        number: index of the line.
    """
    above = [*reversed(lines[:number])]
    if _ECHOED.match(lines[number]) and _is_of_step(above):
        return True
    line = _COLOUR.sub("", lines[number])
    if len(line) <= _LONGEST_LINE and _has_quoting_form(line):
        return True
    if _ROW.fullmatch(line):
        return _is_advice(line, above)
    if line.startswith(("+", "-")) and _follows(above, _HUNK, _OF_HUNK):
        return True
    return line.startswith("    ") and _follows(above, _COMMIT, _OF_COMMIT)


def _has_quoting_form(line: str) -> bool:
    """Whether the form of a line alone shows that it quotes a denial."""
    return any(pattern.match(line) for pattern in _QUOTING_LINES) or _is_argument(line)


def _is_argument(line: str) -> bool:
    """Whether a command that prints or searches a text has the denial as its argument in quotes."""
    words: list[str] = []
    for part in _SHELL.finditer(_PROMPT.sub("", line, count=1)):
        if part["stray"]:
            return False
        if part["separator"]:
            words = []
        if part["word"] and part[0] not in _KEYWORDS:
            words.append(part[0])
        if part["string"] and _takes_text(words) and re.search(_DENIED, part[0]):
            return True
    return False


def _takes_text(words: Sequence[str]) -> bool:
    """Whether a command, of which these are the first words, prints or searches its argument."""
    if words[:2] == ["git", "commit"]:
        return True
    return bool(words) and words[0] in _PRINTING


def _is_advice(line: str, above: Sequence[str]) -> bool:
    """Whether a row of a Markdown table explains a denial: the table's head names remedies, and
    no part of a run, or, where the head is missing, the row begins with code.
    """
    for index, row in enumerate(above):
        if _RULE.fullmatch(row):
            head = "".join(above[index + 1 : index + 2])
            return _ADVICE.search(head) is not None and not _OF_RUN.search(head)
        if not _ROW.fullmatch(row):
            break
    return _ROW_OF_CODE.fullmatch(line) is not None


def _is_of_step(above: Sequence[str]) -> bool:
    """Whether the lines above belong to the commands of a step that GitHub's runner prints."""
    if _follows(above, _GROUP, _ECHOED):
        return True
    return len(above) >= _LONG_SCRIPT and all(map(_ECHOED.fullmatch, above))


def _follows(above: Iterable[str], head: re.Pattern[str], body: re.Pattern[str]) -> bool:
    """Whether the lines above, the nearest first, lead through a body to its head."""
    for line in above:
        if head.fullmatch(line):
            return True
        if not body.fullmatch(line):
            return False
    return False
