"""Reads the product's output as its consumers do, and returns the effects of each text.

The rules are those of the consumers' documentation or source, not the product's.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element

import html5lib

from tests.fakes.markdown import read

REGISTERED = frozenset(
    {
        "add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group",
        "internal-set-repo-path",
        "notice", "remove-matcher", "save-state", "set-env", "set-output", "stop-commands",
        "warning",
    }
)  # fmt: skip
"""Commands of actions/runner, `ActionCommandManager.cs` and `ExecutionContext.cs`."""


@dataclass(frozen=True, slots=True)
class Command:
    """A workflow command as the runner parses it."""

    name: str
    properties: Mapping[str, str]
    data: str


@dataclass(slots=True)
class Log:
    """The effects of a step's standard output on a runner."""

    commands: list[Command] = field(default_factory=list)
    plain_lines: list[str] = field(default_factory=list)


def runner_log(text: str) -> Log:
    """Reads a log by the rules of actions/runner, `ActionCommand.cs` and `ActionCommandManager.cs`.

    Lines end at LF, CR or both. `::name key=value::data` counts after trimming blanks, `##[name
    key=value;]data` anywhere in a line; between `::stop-commands::token` and `::token::` nothing
    does.
    """
    log, stopped = Log(), ""
    for line in re.split(r"\r\n|\r|\n", text):
        command = _new_form(line, stopped) or _old_form(line, stopped)
        if command is None or (stopped and command.name != stopped):
            log.plain_lines.append(line)
        elif stopped:
            stopped = ""
        else:
            log.commands.append(command)
            stopped = command.data if command.name == "stop-commands" else ""
    return log


def _new_form(line: str, token: str) -> Command | None:
    trimmed = line.lstrip()
    end = trimmed.find("::", 2)
    if not trimmed.startswith("::") or end < 0:
        return None
    name, _, properties = trimmed[2:end].partition(" ")
    if name not in REGISTERED and name != (token or None):
        return None
    return Command(name, _pairs(properties.strip(), ","), _decoded(trimmed[end + 2 :]))


def _old_form(line: str, token: str) -> Command | None:
    begin = line.find("##[")
    end = line.find("]", begin)
    if begin < 0 or end < 0:
        return None
    name, _, properties = line[begin + 3 : end].partition(" ")
    if name not in REGISTERED and name != (token or None):
        return None
    return Command(name, _pairs(properties, ";"), _decoded(line[end + 1 :]))


def _pairs(text: str, separator: str) -> dict[str, str]:
    pairs = [pair.split("=", 1) for pair in text.split(separator) if pair]
    return {
        pair[0]: _decoded(pair[1].replace("%3A", ":").replace("%2C", ","))
        for pair in pairs
        if len(pair) > 1
    }


def _decoded(text: str) -> str:
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def markdown_acts(text: str, *, html: str, links: str) -> list[str]:
    """Effects of Markdown beyond text, except HTML and links (regular expressions) of the product.

    A code block ends at the first fence, so that what is behind an early one is read; for blocks of
    diagrams see `drawn_acts`.
    """
    blocks = r"^ *(`{3,})(?:mermaid|hcl|diff|yaml)\n.*?\n *\1$"
    page = read(re.sub(blocks, "", text, flags=re.DOTALL | re.MULTILINE))
    acts = [tag for tag in page.html if not re.fullmatch(html, tag.strip())]
    acts += [link for link in page.links if not re.fullmatch(links, link)]
    harmless = {*page.html, *page.links}
    # `[#1](…)` is a link of the product, and `removed by #1` names one of its pull requests.
    return acts + [
        act for act in page.acts() if act not in harmless and not re.fullmatch(r"#\d", act)
    ]


_LABEL = r'"(?:[A-Za-z0-9 ./:-]|#[0-9]{1,7};)*"'
_DRAWN = re.compile(
    rf"flowchart LR|    n\d+(?:\[{_LABEL}\]|\(\[{_LABEL}\]\))|    n\d+ -->\|{_LABEL}\| n\d+"
)


def drawn_acts(text: str) -> list[str]:
    """Lines of diagrams that are neither a node with a quoted label of plain characters nor a link
    of two nodes.
    """
    blocks = re.findall(r"^```mermaid\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.split("\n") if not _DRAWN.fullmatch(line)]


def trailers(message: str) -> list[str]:
    """Trailers of a commit message, as git reads them."""
    command = ["git", "interpret-trailers", "--parse"]
    completed = subprocess.run(command, input=message.encode(), capture_output=True, check=True)
    return completed.stdout.decode().splitlines()


def commit_acts(message: str) -> list[str]:
    """Effects of a commit message on GitHub: mentions, references, skipped runs."""
    acting = (
        r"(?i)@\w|#\d|\bGH-\d|\[(?:skip ci|ci skip|no ci|skip actions|actions"
        r" skip)\]|^skip-checks:|/(?:issues|pull)/\d"
    )
    return re.findall(acting, message, re.MULTILINE)


def page_acts(text: str, links: str) -> list[str]:
    """Effects of a page in a browser beyond text, by strict parsing, so that a broken tag is an
    effect too.
    """
    root = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    return [*_active(root, links), *_hidden("".join(root.itertext()))]


_REFERENCE = r"https://docs\.aws\.amazon\.com/service-authorization/latest/reference/list_[a-z0-9._-]+\.html(?:#[a-z0-9._-]+-[A-Za-z0-9]+)?"
"""AWS's documentation of an action."""


def _active(root: Element, links: str) -> Iterator[str]:
    for element in root.iter():
        tag = str(element.tag).rpartition("}")[2]
        if tag in {
            "iframe",
            "object",
            "embed",
            "link",
            "base",
            "form",
            "img",
            "video",
            "audio",
            "foreignObject",
        }:
            yield tag
        for key, value in element.attrib.items():
            if key.startswith("on") or key in {"src", "srcdoc", "formaction", "style"}:
                yield f"{tag} {key}={value}"
            if (
                key == "href"
                and not value.startswith("#")
                and not re.fullmatch(f"{links}|{_REFERENCE}", value)
            ):
                yield f"{tag} {key}={value}"
    for tag in ("script", "style", "title"):
        if len(list(root.iter(tag))) != 1:
            yield f"several {tag}"


def _hidden(text: str) -> list[str]:
    # The product breaks a mention by a zero-width space.
    text = text.replace("@\u200b", "@")
    return re.findall("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\x00-\x08\x0b-\x1f\x7f-\x9f]", text)


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def terminal_acts(text: str) -> list[str]:
    """Effects on a terminal beyond coloured text: control sequences and directions of writing."""
    return re.findall(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]",
        _COLOUR.sub("", text),
    )


def links_of_messages(log: Mapping[str, Any]) -> list[str]:
    """Links and placeholders in the messages of a SARIF log (SARIF 2.1.0, 3.11.5 and 3.11.6)."""
    texts = [alert["message"]["text"] for run in log["runs"] for alert in run["results"]]
    bare = [re.sub(r"\\[\\\[\]]|\{\{|\}\}", "", text) for text in texts]
    return [text for text in bare if re.search(r"[\[\]{}\n\r\x1b]", text)]


def matching(pattern: str, variables: Mapping[str, str]) -> re.Pattern[str]:
    """A Resource as IAM reads it: `*` and `?` are wildcards, `${*}`, `${?}`, `${$}` characters,
    `${key}` a variable.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html, read
    2026-11-26.
    """
    out, remaining = "", pattern
    while remaining:
        if remaining.startswith("${"):
            name, closing, remaining = remaining[2:].partition("}")
            if not closing:
                raise ValueError(f"IAM would not take {pattern!r}")
            out += re.escape(name if name in {"*", "?", "$"} else variables.get(name, "\0"))
            continue
        out += {"*": ".*", "?": "."}.get(remaining[0], re.escape(remaining[0]))
        remaining = remaining[1:]
    return re.compile(out, re.DOTALL)
