"""`make metrics` measures the package and fails where a measure is worse than its committed
ceiling.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from tests.fakes import scripts

ROOT = Path(__file__).parents[2]
CONTRACT = """
[tool.importlinter]
[[tool.importlinter.contracts]]
type = "layers"
layers = ["leastpriv.main", "leastpriv.read | leastpriv.write", "leastpriv.base"]
[[tool.importlinter.contracts]]
type = "forbidden"
"""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return scripts.load("tools/metrics.py")


def package(root: Path, files: Mapping[str, str]) -> Path:
    """Write a package `leastpriv` with an import contract of three layers."""
    (root / "pyproject.toml").write_text(CONTRACT)
    for name, text in {"__init__.py": "", **files}.items():
        path = root / "leastpriv" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "__init__.py").touch()
    return root


def measured(tool: ModuleType, root: Path, files: Mapping[str, str]) -> dict[str, float]:
    return {each.name: each.value for each in tool.package_metrics(package(root, files))}


def run(tool: ModuleType, root: Path, ceilings: str, *arguments: str) -> int:
    (root / "tools").mkdir(exist_ok=True)
    (root / "tools" / "metrics_ceiling.toml").write_text(ceilings)
    code: int = tool.main(arguments, root)
    return code


def test_lines_files_and_functions_are_counted(tool: ModuleType, tmp_path: Path) -> None:
    long = "def long():\n" + "    pass\n" * 60
    found = measured(
        tool,
        tmp_path,
        {"main.py": "def short(): pass\n" * 39, "read/long.py": long, "base.py": "#\n" * 401},
    )
    assert found["product lines"] == 39 + 61 + 401
    assert found["files"] == 5
    assert found["lines per function"] == round(501 / 40, 1)
    assert found["functions over 60 lines"] == 1
    assert found["lines of the largest file"] == 401
    assert found["files over 400 lines"] == 1
    assert found["files under 40 lines"] == 1
    assert found[".py files at the top of the package"] == 2
    assert found["layers of the import contract"] == 3


def test_a_private_function_counts_as_used_once_where_its_file_mentions_it_once(
    tool: ModuleType, tmp_path: Path
) -> None:
    text = """
def public(): return _once() + _twice() + _twice()
def _once(): return 1
def _twice(): return 1
def _unused(): return 1
def __dunder(): return 1
class A:
    def _method(self):
        return 1
    def call(self): return self._method() + public() + __dunder()
"""
    found = measured(tool, tmp_path, {"main.py": text})
    assert found["private functions used once, % of functions"] == round(100 * 2 / 7, 1)
    assert found["lines of private functions used once"] == 3


def test_parameters_and_fields_are_counted_without_self(tool: ModuleType, tmp_path: Path) -> None:
    text = """
from dataclasses import dataclass
def function(a, /, b, *, c): pass
class Plain:
    x: int
    def __init__(self, a, b, c, d): pass
    @classmethod
    def made(cls, a): pass
class Small:
    def __init__(self, a): pass
@dataclass(frozen=True)
class Record:
    a: int
    b: int = 1
    constant = 2
"""
    found = measured(tool, tmp_path, {"main.py": text})
    assert found["longest parameter list of a function"] == 3
    assert found["longest parameter list of an __init__"] == 4
    assert found["most fields of a value class"] == 2
    assert found["value classes per 1,000 lines"] == round(1000 / len(text.splitlines()), 1)


def test_imports_in_functions_for_type_checking_and_by_relative_names_close_a_circle(
    tool: ModuleType, tmp_path: Path
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
    metrics = tool.package_metrics(package(tmp_path, files))
    (circles,) = (each for each in metrics if each.name == "import circles between files")
    assert circles.details == [
        "leastpriv.a leastpriv.b",
        "leastpriv.c leastpriv.read.d",
        "leastpriv.write.h leastpriv.write.i",
    ]
    assert circles.value == 3


def test_the_depth_counts_packages_and_top_files_on_the_longest_way(
    tool: ModuleType, tmp_path: Path
) -> None:
    files = {
        "main.py": "from leastpriv.read import one\nimport leastpriv.base\n",
        "read/one.py": "from leastpriv.read import two",
        "read/two.py": "from leastpriv.read.deep.three import x\nfrom leastpriv import __version__",
        "read/deep/three.py": "from leastpriv.write.four import x",
        "write/four.py": "from leastpriv import base\nfrom leastpriv.read import five",
        "read/five.py": "",
        "base.py": "",
    }
    found = measured(tool, tmp_path, files)
    assert found["depth of the import graph of packages"] == 3, (
        "read, read.deep and write are a circle: main > circle > base"
    )
    assert found["imports among packages"] == 6
    del files["read/five.py"]
    (tmp_path / "leastpriv/read/five.py").unlink()
    files["write/four.py"] = "from leastpriv import base"
    assert measured(tool, tmp_path, files)["depth of the import graph of packages"] == 5


def test_names_of_files_and_public_classes_that_occur_twice_are_counted(
    tool: ModuleType, tmp_path: Path
) -> None:
    text = "class A: pass\nclass _B: pass\n"
    found = measured(
        tool, tmp_path, {"main.py": text, "read/main.py": text, "read/other.py": "class C: pass"}
    )
    assert found["module names used twice or more"] == 1
    assert found["public class names defined twice or more"] == 1


def test_indefinite_words_are_counted_apart_in_docstrings_comments_strings_and_documents(
    tool: ModuleType, tmp_path: Path
) -> None:
    text = '''"""Nobody can tell what
is there."""
# It lies there, by itself.
X = "Nothing stays"
"""Anything of its own."""
print("It stays here", f"{X} is what is shown here")
'''
    (tmp_path / "docs" / "more").mkdir(parents=True)
    (tmp_path / "docs" / "more" / "page.md").write_text("things to do")
    (tmp_path / "README.md").write_text("a thingy")
    found = measured(tool, tmp_path, {"main.py": text})
    assert found["indefinite words per 1,000 docstring words"] == round(1000 * 4 / 10, 1)
    assert found["indefinite words per 1,000 comment words"] == round(1000 * 2 / 5, 1)
    assert found["indefinite words per 1,000 words for users"] == round(1000 * 2 / 8, 1)
    assert found["indefinite words per 1,000 words of documents"] == round(1000 * 1 / 5, 1)


def test_each_indefinite_word_is_shown_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "main.py"
    path.write_text(
        '"""A file.\n\nNobody reads it.\n"""\n\nx = 1  # is\n# told\ny = "and what is\\nit"\n'
    )
    assert scripts.load("tools/indefinite_words.py").main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == f"{path}:3: nobody\n{path}:7: told\n{path}:8: what is\n"
    path.write_text('"""Count the files."""\n')
    assert scripts.load("tools/indefinite_words.py").main([str(path)]) == 0


def test_a_measure_above_its_ceiling_fails_and_is_named(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package(tmp_path, {"main.py": "def f(): pass\n\n"})
    assert run(tool, tmp_path, '"files" = { ceiling = 2, goal = 1 }\n') == 0
    assert run(tool, tmp_path, '"files" = { ceiling = 1 }\n') == 1
    assert capsys.readouterr().out.endswith("Worse than its ceiling: files\n")
    assert run(tool, tmp_path, '"files" = { goal = 1 }\n') == 0, "a goal alone fails nothing"


def test_more_lines_per_function_are_better(tool: ModuleType, tmp_path: Path) -> None:
    package(tmp_path, {"main.py": "def f(): pass\n\n"})
    assert run(tool, tmp_path, '"lines per function" = { ceiling = 2.1 }\n') == 1
    assert run(tool, tmp_path, '"lines per function" = { ceiling = 1.9 }\n', "--lower") == 0
    assert "ceiling = 2.0 " in (tmp_path / "tools" / "metrics_ceiling.toml").read_text()


def test_a_ceiling_that_no_measure_has_fails(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package(tmp_path, {"main.py": ""})
    assert (
        run(tool, tmp_path, '"one record: files" = { ceiling = 1 }\n"flies" = { ceiling = 2 }\n')
        == 1
    )
    assert capsys.readouterr().out.endswith("ceiling.toml\nNo measure has this name: flies\n")


def test_lower_lowers_ceilings_and_never_raises_one(tool: ModuleType, tmp_path: Path) -> None:
    package(tmp_path, {"main.py": "def f(): pass\n\n"})
    before = '# Why\n"files" = { ceiling = 9, goal = 1 }\n"product lines" = { ceiling = 1 }\n'
    assert run(tool, tmp_path, before, "--lower") == 1
    after = (tmp_path / "tools" / "metrics_ceiling.toml").read_text()
    assert after == before.replace("ceiling = 9", "ceiling = 2")


def test_details_list_what_is_counted(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package(tmp_path, {"main.py": "", "read/main.py": ""})
    assert run(tool, tmp_path, "", "--details") == 0
    assert "\n    main: leastpriv.main leastpriv.read.main\n" in capsys.readouterr().out


def test_one_record_passes_through_the_action_below_the_committed_ceilings() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/metrics.py"), "--record"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    names = [
        name
        for name in tomllib.loads((ROOT / "tools/metrics_ceiling.toml").read_text())
        if "record" in name
    ]
    assert len(names) == 5
    assert all(f"\n{name}  " in done.stdout for name in names)


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
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    expected = {"files": 2, "functions": 3, "calls": 4, "changes of file": 2, "deepest stack": 3}
    assert done.stdout == f"{expected}\n"
