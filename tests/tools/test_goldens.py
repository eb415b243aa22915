"""`make goldens` shows every output that differs between this tree and another revision."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from tests import goldens
from tests.fakes import scripts

DRIVER = """
import sys
from pathlib import Path
from product import answer
for name, text in {"same.md": "same\\n", "answer.md": f"the answer is {answer}\\n"}.items():
    path = Path(sys.argv[1]) / "cases" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool at work in a repository whose product answers 41 in the first commit and 42 in the
    second.
    """
    module = scripts.load("tools/goldens.py")
    tree = tmp_path / "tree"
    (tree / "tests").mkdir(parents=True)
    (tree / "tests" / "goldens.py").write_text(DRIVER)
    git(tree, "init", "-q")
    for answer in (41, 42):
        (tree / "product.py").write_text(f"answer = {answer}\n")
        git(tree, "add", "--all")
        git(tree, "commit", "-q", "-m", f"Answer {answer}")
    monkeypatch.setattr(module, "ROOT", tree)
    return module


def git(tree: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Kim", "-c", "user.email=kim@example.com"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=tree, check=True, capture_output=True, text=True
    ).stdout


def test_an_output_that_differs_from_the_base_is_shown_and_fails(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main(["--base", "HEAD~1", "--cache", str(tmp_path / "cache")]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("1 equal, 1 different\n  changed cases/answer.md\n")
    assert "\n-the answer is 41\n+the answer is 42\n" in printed
    assert len(git(tool.ROOT, "worktree", "list").splitlines()) == 1


def test_a_tree_without_a_difference_passes(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main(["--base", "HEAD", "--cache", str(tmp_path / "cache")]) == 0
    assert capsys.readouterr().out == "2 equal, 0 different\n"


def test_the_tree_is_compared_as_it_is_on_disk(tool: ModuleType, tmp_path: Path) -> None:
    (tool.ROOT / "product.py").write_text("answer = 43\n")
    assert tool.main(["--base", "HEAD", "--cache", str(tmp_path / "cache")]) == 1


def test_a_listed_exchange_of_words_is_no_difference(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "words.tsv").write_text("is 41\tis 42\n")
    arguments = ["--cache", str(tmp_path / "cache"), "--words", str(tmp_path / "words.tsv")]
    assert tool.main(["--base", "HEAD~1", *arguments]) == 0


def test_missing_and_new_outputs_are_differences(tool: ModuleType) -> None:
    lines = list(tool.summary({"old": "a\n", "both": "b\n"}, {"new": "a\n", "both": "b\n"}))
    assert lines[:3] == ["1 equal, 2 different", "  new     new", "  missing old"]


def test_a_revision_without_a_driver_is_named(tool: ModuleType, tmp_path: Path) -> None:
    git(tool.ROOT, "rm", "-q", "--cached", "tests/goldens.py")
    git(tool.ROOT, "commit", "-q", "-m", "Drop the driver")
    with pytest.raises(SystemExit, match=r"HEAD has no tests/goldens\.py"):
        tool.main(["--base", "HEAD", "--cache", str(tmp_path / "cache")])
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("argument", ["--help", "--kinds"])
def test_an_option_of_the_goldens_is_never_a_folder(
    argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        goldens.main([argument])
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_kind_of_cases_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        goldens.main([str(tmp_path), "cases_chian"])
    assert list(tmp_path.iterdir()) == []
    assert "'cases_chian' is no kind of cases" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        "compile_event_map",
        "make_aws_managed",
        "make_dependents",
        "make_tool_lifecycle",
        "make_visibility",
    ],
)
def test_help_of_a_generator_of_tables_prints_its_arguments_and_writes_nothing(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    with pytest.raises(SystemExit) as ended:
        scripts.load(f"tools/{name}.py").main(["--help"])
    assert ended.value.code == 0
    assert "positional arguments" in capsys.readouterr().out
