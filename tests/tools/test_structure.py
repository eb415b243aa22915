"""`make lint` fails for import circles, class names used twice and indefinite words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from tests.fakes import scripts


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return scripts.load("tools/structure.py")


def package(root: Path, files: Mapping[str, str]) -> Path:
    """Write a package `leastpriv`."""
    for name, text in {"__init__.py": "", **files}.items():
        path = root / "leastpriv" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "__init__.py").touch()
    return root


def violations(
    tool: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[str]]:
    code: int = tool.main(root)
    return code, capsys.readouterr().out.splitlines()


@pytest.mark.slow  # `make lint` asks the same
def test_the_repository_has_no_violation(
    tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert violations(tool, tool.ROOT, capsys) == (0, [])


def test_imports_in_functions_for_type_checking_and_by_relative_names_close_a_circle(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "a.py": "from leastpriv import b\n",
        "b.py": "def f():\n    from leastpriv.a import x\n",
        "c.py": "if TYPE_CHECKING:\n    from leastpriv.read.d import x\n",
        "read/d.py": "import leastpriv.c\nfrom .e import x\n",
        "read/e.py": "from . import f\n",
        "read/f.py": "from .. import g\n",
        "g.py": "",
        "write/h.py": "from .i import x\n",
        "write/i.py": "from ..write import h\n",
    }
    assert violations(tool, package(tmp_path, files), capsys) == (
        1,
        [
            "import circle: leastpriv.a leastpriv.b",
            "import circle: leastpriv.c leastpriv.read.d",
            "import circle: leastpriv.write.h leastpriv.write.i",
        ],
    )


def test_a_file_that_imports_itself_through_its_package_is_no_circle(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"read/a.py": "from leastpriv.read import b\n", "read/b.py": "import json\n"}
    assert violations(tool, package(tmp_path, files), capsys) == (0, [])


def test_a_public_class_name_of_two_files_is_named_with_both(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "class A: pass\nclass _B: pass\n"
    files = {"main.py": text, "read/main.py": text, "read/other.py": "class C: pass"}
    assert violations(tool, package(tmp_path, files), capsys) == (
        1,
        ["class A is defined twice: leastpriv.main leastpriv.read.main"],
    )


def test_an_indefinite_word_is_named_with_its_line_in_code_of_product_and_tools(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = '"""Count\nwhat\nis there."""\n# It lies there.\nX = "and nobody knows"\nY = "told"\n'
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/made.py").write_text("# A thing.\n")
    assert violations(tool, package(tmp_path, {"main.py": text}), capsys) == (
        1,
        [
            "leastpriv/main.py:2: what is",
            "leastpriv/main.py:4: lies",
            "leastpriv/main.py:5: nobody",
            "tools/made.py:1: thing",
        ],
    )


def test_each_indefinite_word_of_a_named_file_or_folder_is_shown_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "main.py"
    path.write_text(
        '"""A file.\n\nNobody reads it.\n"""\n\nx = 1  # is\n# told\ny = "and what is\\nit"\n'
    )
    main = scripts.load("tools/indefinite_words.py").main
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == f"{path}:3: nobody\n{path}:7: told\n{path}:8: what is\n"
    path.write_text('"""Count the files."""\n')
    assert main([str(path)]) == 0
