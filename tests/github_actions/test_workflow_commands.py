"""Printed text runs no workflow command but those of the console."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.github_actions.workflow_commands import (
    Console,
    escape_data,
    escape_property,
    safe_line,
)

COMMANDS = (
    "add-mask",
    "set-output",
    "group",
    "endgroup",
    "warning",
    "stop-commands",
    "debug",
    "add-matcher",
)
BLANKS = (" ", "\t", "\n", "\r", "\u2028", "\x85", "\xa0", "\u3000", "\ufeff")
PIECES = st.sampled_from(
    (
        "::",
        "##[",
        "]",
        "#",
        "a",
        "%0A",
        "\x1b[2J",
        "\ud800",
        "::set-output name=x::y",
        *BLANKS,
        *COMMANDS,
    )
)
HOSTILE = st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join)


def runner_commands(printed: str) -> list[tuple[str, str]]:
    """Return the commands that a runner finds in printed text (`ActionCommand.cs`,
    stop-commands).
    """
    commands, stopped = [], ""
    for line in re.split(r"\r\n|\r|\n", printed):
        if stopped:
            stopped = "" if line.lstrip() == f"::{stopped}::" else stopped
            continue
        command = re.match(r"::([^ :]+)(?: [^\n]*?)?::(.*)", line.lstrip(), re.DOTALL)
        if command is not None and command[1] in COMMANDS:
            commands.append((command[1], command[2]))
            stopped = command[2] if command[1] == "stop-commands" else ""
            continue
        commands += [
            (name, text)
            for name, text in re.findall(r"##\[([^ \]]+)[^\]]*\](.*)", line)
            if name in COMMANDS
        ]
    return commands


def console(in_actions: bool = True) -> tuple[Console, io.StringIO, io.StringIO]:
    """Return a console and its stream."""
    stdout, stderr = io.StringIO(), io.StringIO()
    return Console(stdout, stderr, in_actions), stdout, stderr


@pytest.mark.parametrize(
    "line", ["::add-mask::a", " \t\u3000::add-mask::a", "say ##[add-mask]a", "::warning file=x::a"]
)
def test_the_simulated_runner_finds_commands(line: str) -> None:
    assert len(runner_commands(line)) == 1


@given(HOSTILE)
def test_no_text_in_the_log_is_a_command(text: str) -> None:
    for print_it in (Console.log, Console.untrusted):
        speaker, stdout, stderr = console()
        print_it(speaker, text)
        assert [name for name, _ in runner_commands(stdout.getvalue())] in ([], ["stop-commands"])
        assert stderr.getvalue() == ""


@given(HOSTILE, HOSTILE, HOSTILE)
def test_an_annotation_is_one_command_whatever_its_text(
    message: str, file: str, title: str
) -> None:
    for kind in ("notice", "warning", "error"):
        speaker, stdout, _ = console()
        getattr(speaker, kind)(message, file=file, line=3, title=title)
        printed = stdout.getvalue()
        assert printed.count("\n") == 1
        assert printed.startswith(f"::{kind} ")
        assert "##[" not in printed
        properties = printed.removeprefix(f"::{kind} ").split("::", 1)[0].split(",")
        assert [pair.split("=", 1)[0] for pair in properties] == ["file"] * bool(file) + [
            "line"
        ] + ["title"] * bool(title)


@given(HOSTILE)
def test_outside_actions_nothing_is_a_command_either(text: str) -> None:
    speaker, stdout, stderr = console(in_actions=False)
    speaker.log(text)
    speaker.untrusted(text)
    speaker.warning(text, file=text, title=text)
    speaker.mask(text)
    with speaker.group(text):
        pass
    assert runner_commands(stdout.getvalue() + stderr.getvalue()) == []


@given(HOSTILE)
def test_a_line_is_one_line_without_control_characters(text: str) -> None:
    line = safe_line(text)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1


@given(
    st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":#"), max_size=20
    )
)
def test_plain_text_is_printed_as_it_is(text: str) -> None:
    speaker, stdout, _ = console()
    speaker.log(text)
    assert stdout.getvalue() == text + "\n"


@given(st.text())
def test_escaped_data_reads_back_as_the_runner_reads_it(text: str) -> None:
    escaped = escape_data(text)
    assert not set(escaped) & {"\r", "\n"}
    assert escaped.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%") == text
    prop = escape_property(text)
    assert not set(prop) & {"\r", "\n", ":", ","}
    undone = prop.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":").replace("%2C", ",")
    assert undone.replace("%25", "%") == text


def test_several_untrusted_lines_are_printed_with_commands_disabled() -> None:
    speaker, stdout, _ = console()
    speaker.untrusted("one\ntwo")
    first, *lines, last = stdout.getvalue().splitlines()
    token = first.removeprefix("::stop-commands::")
    assert re.fullmatch("[A-Za-z]{64}", token)
    assert (lines, last) == (["| one", "| two"], f"::{token}::")


def test_no_two_blocks_share_a_token() -> None:
    speaker, stdout, _ = console()
    speaker.untrusted("a\nb")
    speaker.untrusted("a\nb")
    assert len(set(re.findall("stop-commands::(.*)", stdout.getvalue()))) == 2


def test_a_group_ends_even_if_its_block_fails() -> None:
    speaker, stdout, _ = console()
    with pytest.raises(RuntimeError), speaker.group("Reading"):
        raise RuntimeError
    assert stdout.getvalue() == "::group::Reading\n::endgroup::\n"


def test_a_warning_outside_actions_is_a_sentence_on_standard_error() -> None:
    speaker, stdout, stderr = console(in_actions=False)
    speaker.warning("not used", file="iam/x.json", line=7, title="s3:*")
    assert (stdout.getvalue(), stderr.getvalue()) == ("", "warning: iam/x.json:7: s3:*: not used\n")


@pytest.mark.parametrize(
    ("in_actions", "printed"), [(True, "::add-mask::se%25cret\n"), (False, "")]
)
def test_a_secret_is_masked_in_actions_and_never_printed_elsewhere(
    in_actions: bool, printed: str
) -> None:
    speaker, stdout, stderr = console(in_actions)
    speaker.mask("se%cret")
    speaker.mask("")
    assert (stdout.getvalue(), stderr.getvalue()) == (printed, "")


def test_a_stream_that_lacks_a_character_gets_an_escape_instead_of_an_error() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Console(stream, stream, in_actions=False).log("caf\u00e9")
    assert raw.getvalue() == b"caf\\xe9\n"
