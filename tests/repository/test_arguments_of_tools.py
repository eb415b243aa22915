"""A wrong argument of a tool is a sentence with exit code 2, and no traceback."""

from __future__ import annotations

import importlib

import pytest

from tests.fakes.scripts import load

TOOLS = ("tools/release.py", "tools/smoke_test.py", "tools/image_root.py")
MEASUREMENTS = ("bench.future.explain", "bench.future.record", "bench.future.tables")
WRONG = {
    "tools/release.py": (["publish", "1.2.3"], ["notes", "1.2.3", "again"]),
    "tools/smoke_test.py": (["no-such-engine", "image"],),
    "tools/image_root.py": (["/nonexistent", "/nonexistent", "/nonexistent"],),
    "bench.future.explain": (["/nonexistent"],),
    "bench.future.tables": (["/nonexistent/out.json"], ["calibration.tsv"]),
}
CALLS = [
    (program, arguments)
    for program in (*TOOLS, *MEASUREMENTS)
    for arguments in ([], *WRONG.get(program, ()))
]


@pytest.mark.parametrize(("program", "arguments"), CALLS, ids=str)
def test_a_wrong_argument_is_a_sentence(
    program: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    module = load(program) if program.endswith(".py") else importlib.import_module(program)
    with pytest.raises(SystemExit) as end:
        module.main(arguments)
    assert end.value.code == 2
    assert ": error: " in capsys.readouterr().err.splitlines()[-1]
