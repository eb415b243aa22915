"""Sections are truncated to the limit of a page."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from leastpriv.report.phrases import fit_sections

LONG = "\n".join(f"line {number}" for number in range(1_200))
SECTIONS = st.lists(
    st.lists(st.text("ab", max_size=60), min_size=1, max_size=60).map("\n".join), max_size=8
)
CUT = re.compile(r"(?:\n\n|\A)\*([\d,]+) more lines are in `proposal\.json`\.\*\Z")


@given(
    SECTIONS | st.lists(st.sampled_from(["a", LONG]), min_size=1, max_size=8), st.integers(0, 4_000)
)
@example([LONG, "a"], 0)
def test_sections_fit_the_limit_and_lose_only_whole_lines_at_their_ends(
    sections: list[str], room: int
) -> None:
    longest = 100 * len(sections) + room
    fitted = fit_sections(sections, longest)
    assert len(fitted) == len(sections)
    assert sum(map(len, fitted)) <= longest
    for before, after in zip(sections, fitted, strict=True):
        if after != before:
            cut = CUT.search(after)
            assert cut
            lines = before.split("\n")
            kept_lines = len(lines) - int(cut[1].replace(",", ""))
            assert after[: cut.start()].strip("\n") == "\n".join(lines[:kept_lines]).strip("\n")


@given(SECTIONS)
def test_sections_within_the_limit_are_unchanged(sections: list[str]) -> None:
    assert fit_sections(sections, sum(map(len, sections))) == sections


def test_a_short_section_remains_complete_next_to_a_long_one() -> None:
    short, long = "one\ntwo", "\n".join(["a long line"] * 1_000)
    fitted = fit_sections([short, long], 1_000)
    assert fitted[0] == short
    assert 900 < len(fitted[0]) + len(fitted[1]) <= 1_000


BLOCKS = (
    "```mermaid\n" + "\n".join(["line"] * 20) + "\n```",
    "<details><summary>x</summary>\n\na\nb\n\n</details>",
    "text\n" * 9,
)


@given(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=12), st.integers(100, 2_000))
def test_no_truncation_leaves_a_code_block_or_details_element_open(
    blocks: list[str], longest: int
) -> None:
    """The text after a section renders as written."""
    (fitted,) = fit_sections(["\n\n".join(blocks)], longest)
    assert len(fitted) <= longest or fitted == "\n\n".join(blocks)
    assert fitted.count("```") % 2 == 0
    assert fitted.count("<details>") == fitted.count("</details>")
