"""`make metrics` counts what costs readers time, and names the places; it fails for no figure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.fakes import scripts

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return scripts.load("tools/metrics.py")


@pytest.fixture
def figures(tool: ModuleType, tmp_path: Path) -> Figures:
    return Figures(tool, tmp_path / "product")


class Figures:
    """Measures the text of one file."""

    def __init__(self, tool: ModuleType, folder: Path) -> None:
        self._tool = tool
        self._folder = folder
        folder.mkdir()

    def of(self, text: str) -> dict[str, float]:
        (self._folder / "main.py").write_text(text)
        counts = self._tool.count_folder(self._folder)
        return {measure.name: measure.value(counts) for measure in self._tool.MEASURES}


def test_docstrings_and_comments_are_no_tokens(figures: Figures) -> None:
    bare = figures.of("x = 1\n\n\ndef f():\n    return x\n")
    described = figures.of(
        '"""A module.\n\nOf two\nparagraphs."""\n\nx = 1  # why\n"""An x."""\n\n\n'
        'def f():\n    """Return x."""\n    return x\n'
    )
    assert described == bare
    assert bare["tokens"] == 10
    assert bare["tokens per statement"] == pytest.approx(10 / 3)
    assert bare["tokens per code line"] == pytest.approx(10 / 3)


@pytest.mark.parametrize("text", ['f"{a} {b!r:>{width}}"', "f\"{a + f'{b}'}\"", '"a"'])
def test_a_formatted_string_is_one_token(figures: Figures, text: str) -> None:
    assert figures.of(f"x = {text}\n")["tokens"] == 3


def test_a_statement_may_take_several_lines(figures: Figures) -> None:
    measured = figures.of("x = f(\n    1,\n    2,\n)\n")
    assert measured["tokens per statement"] == 9
    assert measured["tokens per code line"] == 9 / 4


def test_a_conditional_expression_inside_another_is_nested(figures: Figures) -> None:
    measured = figures.of("x = a if b else c\ny = a if b else [c if d else e]\n")
    assert measured["nested conditional expressions"] == 1
    assert measured["conditional expressions per 1,000 nodes"] > 0


def test_comprehensions_of_each_kind_count(figures: Figures) -> None:
    nodes = 1000 / figures.of("x = [a for a in b]\n")["comprehensions per 1,000 nodes"]
    text = "x = [a for a in b]\ny = {a for a in b}\nz = {a: a for a in b}\nw = (a for a in b)\n"
    assert figures.of(text)["comprehensions per 1,000 nodes"] > 1000 * 4 / (4 * nodes + 4)


def test_a_vague_name_is_one_of_the_list_that_is_assigned(figures: Figures) -> None:
    text = (
        "found = 1\nnames = [each for each in found]\nfor path in names:\n    print(each, other)\n"
    )
    assert figures.of(text)["vague names, % of assigned names"] == 100 * 2 / 4


def test_positional_arguments_count_unless_all_are_constants(figures: Figures) -> None:
    measured = figures.of(
        'f(a, 2, 3, 4, 5, 6, 7)\nf("a", "b", "c", "d", "e", "f", "g", "h")\nf(*a)\n'
    )
    assert measured["calls with over 5 positional arguments"] == 1
    assert measured["positional arguments of the longest call"] == 7
    assert (
        figures.of("f(a, b=1, c=2, d=3, e=4, g=5, h=6)\n")[
            "positional arguments of the longest call"
        ]
        == 1
    )


@pytest.mark.parametrize(
    ("annotation", "count"),
    [
        ("dict[str, tuple[str, int]]", 1),
        ("list[tuple[int, int]]", 1),
        ("tuple[str, tuple[str, ...]]", 1),
        ("dict[str, tuple[str, ...]]", 0),
        ("tuple[str, int]", 0),
        ("list[dict[str, int]]", 0),
    ],
)
def test_a_tuple_with_fields_inside_another_type_is_nested(
    figures: Figures, annotation: str, count: int
) -> None:
    assert figures.of(f"x: {annotation}\n")["nested tuple types"] == count


def test_a_function_of_ten_decisions_is_counted_wherever_they_are(figures: Figures) -> None:
    nine = "def f():\n    return a or b" + ", a if b else c" * 7 + ", [a for a in b]\n"
    name = "functions with 10 decisions or more, %"
    assert figures.of(nine)[name] == 0
    assert (
        figures.of(nine.replace("return", "assert d\n    return") + "def g(): pass\n")[name] == 50
    )


def test_lines_of_more_than_a_hundred_characters_are_counted(figures: Figures) -> None:
    assert figures.of(f"x = 1  #{'x' * 92}\ny = 1  #{'x' * 93}\n")["lines over 100 characters"] == 1


def test_every_folder_is_a_column_with_goal_and_range_of_other_projects(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text("found = 1\n" * 1_000)
    assert tool.main([str(tmp_path / "one"), str(tmp_path / "other")]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split() == ["measure", "one", "other", "goal", "anchors"]
    assert rows[1].split() == ["tokens", "3,000", "3,000", "370,000", "–"]
    assert rows[2].split() == ["tokens", "per", "statement", "3", "3", "10.5", "8.4–10.7"]


def test_a_folder_without_code_is_an_input_error(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        tool.main([str(tmp_path)])
    assert raised.value.code == 2
    assert f"{tmp_path} holds no Python code" in capsys.readouterr().err


def test_every_measure_but_the_size_has_a_figure_of_every_other_project(tool: ModuleType) -> None:
    anchors = tool.anchors(tool.ANCHORS)
    assert [measure.name for measure in tool.MEASURES] == ["tokens", *anchors]
    assert {len(figures) for figures in anchors.values()} == {6}


def test_where_names_the_worst_places_first(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "product"
    folder.mkdir()
    (folder / "calm.py").write_text("f(a, b, c, d, e, g)\nfound = 1\n")
    (folder / "dense.py").write_text(
        "def f():\n    found = [a for a in b]\n    each = c if d else e if f else g\n"
        + "    if a: pass\n" * 9
        + "f(a, b, c, d, e, g, h)\n"
    )
    assert tool.main([str(folder), "--where"]) == 0
    printed = capsys.readouterr().out
    assert "\nproduct: functions with most decisions\n    12  product/dense.py:1 f\n" in printed
    calls = "     7  product/dense.py:13 f\n     6  product/calm.py:1 f\n"
    assert f"\nproduct: longest positional calls\n{calls}" in printed
    assert "\nproduct: nested conditionals\n     1  product/dense.py:3\n" in printed
    names = "     2  product/dense.py\n     1  product/calm.py\n"
    assert f"\nproduct: files with most vague names\n{names}" in printed
    assert "        found 2, each 1\n" in printed


def test_one_record_passes_through_the_action_and_its_calls_are_counted(
    tool: ModuleType,
) -> None:
    completed = subprocess.run(
        [sys.executable, str(ROOT / "tools/metrics.py"), "--record"],
        capture_output=True,
        text=True,
        check=True,
    )
    counts = [line.rsplit(maxsplit=1) for line in completed.stdout.splitlines()[1:]]
    names = ["files", "functions", "calls", "changes of file", "deepest stack"]
    assert [name for name, _ in counts] == names
    assert all(int(count.replace(",", "")) > 10 for _, count in counts)


def test_the_tracer_counts_the_calls_of_the_package_alone(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "a.py").write_text(
        "import b\nlen('')\ndef f(text): return b.g(text) + outside(text)\n"
    )
    (tmp_path / "package" / "b.py").write_text(
        "def g(text):\n    return len(text) + h(text)\ndef h(text): return 0\n"
    )
    script = f"""
import sys
sys.path[:0] = [{str(ROOT / "tools")!r}, {str(tmp_path / "package")!r}]
from pathlib import Path
from one_record import Tracer
tracer = Tracer(Path({str(tmp_path / "package")!r}))
with tracer.at_work():
    import a
    a.outside = lambda text: len(text)
    a.f("")
print(dict(tracer.counts()))
"""
    completed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    expected = {"files": 2, "functions": 3, "calls": 4, "changes of file": 2, "deepest stack": 3}
    assert completed.stdout == f"{expected}\n"
