"""The runner reads outputs and summaries as they were written."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.errors import LeastprivError
from leastpriv.github_actions.context import (
    SUMMARY_LIMIT,
    append_summary,
    heredoc,
    truncate_at_line,
    write_outputs,
)

TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from("\r\n=<: ")
)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,10}", fullmatch=True)


def read_outputs(text: str) -> list[tuple[str, str]]:
    """Read an output file as the runner on Linux does (`FileCommandManager.cs`: lines end at LF
    alone).
    """
    lines, outputs, position = text.split("\n"), [], 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if not line:
            continue
        equals, marks = line.find("="), line.find("<<")
        if equals >= 0 and (marks < 0 or equals < marks):
            outputs.append((line[:equals], line[equals + 1 :]))
            continue
        assert marks > 0, f"the runner refuses {line!r}"
        end = lines.index(line[marks + 2 :], position)
        outputs.append((line[:marks], "\n".join(lines[position:end])))
        position = end + 1
    return outputs


def test_the_simulated_runner_reads_both_forms() -> None:
    assert read_outputs("a=1\n\nb<<E\nx\n\nE\nc=<<\n") == [("a", "1"), ("b", "x\n"), ("c", "<<")]


@given(st.lists(st.tuples(NAMES, TEXT), min_size=1, max_size=4))
def test_any_values_are_read_back_unchanged(outputs: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "output")
        for name, value in outputs:
            write_outputs(path, {name: value})
        content = path.read_bytes()
    assert content.endswith(b"\n")
    assert read_outputs(content.decode()) == outputs


def test_the_output_of_other_steps_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.write_text("before=1\n")
    write_outputs(path, {"policy": "has-changes=true\n"})
    assert read_outputs(path.read_text()) == [("before", "1"), ("policy", "has-changes=true\n")]


def test_a_value_with_its_delimiter_is_an_error() -> None:
    with pytest.raises(LeastprivError, match="delimiter"):
        heredoc("policy", "x\nEOF\nhas-changes=false", "EOF")


def test_no_two_outputs_share_a_delimiter(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_outputs(tmp_path / "output", {name: "x"})
    first, second = (
        line.split("<<")[1]
        for line in (tmp_path / "output").read_text().splitlines()
        if "<<" in line
    )
    assert first != second


@pytest.mark.parametrize("name", ["", "a=b", "a<<b", "a\nb", "1", "a b"])
def test_an_ambiguous_name_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name of an output"):
        write_outputs(tmp_path / "output", {name: "x"})
    assert not (tmp_path / "output").exists()


def test_a_lone_surrogate_becomes_an_escape_instead_of_an_error(tmp_path: Path) -> None:
    write_outputs(tmp_path / "output", {"name": "x\ud800y"})
    assert read_outputs((tmp_path / "output").read_text()) == [("name", "x\\ud800y")]


def test_a_file_that_cannot_be_written_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(LeastprivError, match=r"nowhere/output cannot be written"):
        write_outputs(tmp_path / "nowhere" / "output", {"name": "x"})


def test_a_summary_is_appended_and_ends_its_last_line(tmp_path: Path) -> None:
    append_summary(tmp_path / "summary", "# One")
    append_summary(tmp_path / "summary", "two\n")
    assert (tmp_path / "summary").read_text() == "# One\ntwo\n"


def test_summaries_of_one_step_stay_under_the_limit_together(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    row = "| \u00e9 | row |\n"
    append_summary(path, row * 60_000)
    append_summary(path, row * 60_000)
    append_summary(path, row * 60_000)
    assert SUMMARY_LIMIT - 100 < path.stat().st_size <= SUMMARY_LIMIT
    assert path.read_text().endswith("hold all of it.*\n")


@given(
    st.lists(
        st.sampled_from(["word\n", "```json\n", "```\n", "````\n", "caf\u00e9 \u2028x\n", "\r\n"])
    ),
    st.integers(0, 400),
)
def test_a_truncated_summary_keeps_whole_lines_closes_code_and_has_a_note(
    lines: list[str], limit: int
) -> None:
    markdown = "".join(lines)
    cut = truncate_at_line(markdown, limit)
    assert len(cut.encode()) <= limit
    if cut not in (markdown, ""):
        shortened, _, note = cut.rpartition("\n\n*The summary was cut here")
        assert note
        if not markdown.startswith(shortened):
            shortened, _, closing = shortened.removesuffix("\n").rpartition("\n")
            assert set(closing) == {"`"}
        assert markdown.startswith(shortened)


def test_a_fence_that_is_open_at_the_cut_is_closed_before_the_note() -> None:
    cut = truncate_at_line("```json\n" + "x\n" * 500, 300)
    assert "x\n```\n\n\n*The summary was cut here" in cut


def test_nothing_is_written_if_not_even_the_note_fits() -> None:
    assert truncate_at_line("x\n" * 50, 10) == ""
