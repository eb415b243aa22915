"""Each row of the table of error frames has an example, and survives what logs do to it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.denials.message import read_denial
from leastpriv.denials.tool_messages import error_frames
from tests.hypothesis_profiles import examples

EXAMPLES: dict[str, tuple[str, str]] = {
    tool: (message, action)
    for tool, (message, action) in json.loads(
        Path(__file__).with_name("error_frames.json").read_text(encoding="utf-8")
    ).items()
}
ACTIONS = {tool: action for tool, (_, action) in EXAMPLES.items() if action}
PHRASES = "Terraform and Packer: "
_ID = re.compile(r"(?:RequestID|Request ID|request id): ?[\w-]+(?:, )?")


def actions_of(message: str) -> tuple[str, ...]:
    return read_denial(message).actions


def test_each_frame_has_an_example() -> None:
    tools = {frame.tool for frame in error_frames() if not frame.tool.startswith(PHRASES)}
    assert tools == EXAMPLES.keys()


@pytest.mark.parametrize("tool", EXAMPLES)
def test_an_example_is_read_by_its_own_frame(tool: str) -> None:
    message, action = EXAMPLES[tool]
    frame = next(error_frame for error_frame in error_frames() if error_frame.tool == tool)
    assert frame.pattern.search(message)
    assert actions_of(message) == ((action,) if action else ())


def test_a_sign_is_in_each_text_of_its_frame() -> None:
    for frame in error_frames():
        phrase = frame.tool.removeprefix(PHRASES)
        message = EXAMPLES[frame.tool][0] if frame.tool in EXAMPLES else phrase
        words = "".join(message.lower().split())
        assert any(sign in words for sign in frame.signs), frame.tool


def test_a_phrase_of_a_tool_before_a_bare_denial_names_the_action() -> None:
    phrases = [
        frame.tool.removeprefix(PHRASES)
        for frame in error_frames()
        if frame.tool.startswith(PHRASES)
    ]
    assert len(phrases) >= 34
    for phrase in phrases:
        assert len(actions_of(f"{phrase}: AccessDenied: Access Denied")) == 1, phrase


@pytest.mark.parametrize("tool", ACTIONS)
def test_a_newline_and_a_missing_id_change_nothing(tool: str) -> None:
    message, action = EXAMPLES[tool]
    for variant in (f"{message}\n", f"{message}\r\n\n", f"\n{message}", _ID.sub("", message)):
        assert actions_of(variant) == (action,), variant


@examples(300)
@given(tool=st.sampled_from(sorted(ACTIONS)), data=st.data())
def test_a_cut_message_names_no_other_action(tool: str, data: st.DataObject) -> None:
    message, action = EXAMPLES[tool]
    cut = message[: data.draw(st.integers(0, len(message)))]
    assert set(actions_of(cut)) <= {action}


@examples(300)
@given(tool=st.sampled_from(sorted(ACTIONS)), width=st.integers(60, 160))
def test_a_wrapped_message_names_the_action_or_none(tool: str, width: int) -> None:
    message, action = EXAMPLES[tool]
    lines = [
        line[start : start + width]
        for line in message.split("\n")
        for start in range(0, len(line), width)
    ]
    assert set(actions_of("\n".join(lines))) <= {action}
