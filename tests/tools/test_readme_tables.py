"""`make readme` writes the pages of the checkout that the tool stands in, whatever is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("docs/inputs.md", "docs/troubleshooting.md", "docs/guards.md", "action.yml")


def checkout(folder: Path) -> Path:
    """Make a second checkout of what the tool reads; its one row more is a guard."""
    for name in (*PAGES, "tools/readme_tables.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    package = folder / "leastpriv"
    ignored = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(ROOT / "leastpriv", package, ignore=ignored)
    for file in (ROOT / "leastpriv").glob("*/data"):
        if file.parent.name != "proposal":
            (package / file.parent.name / "data").symlink_to(file)
    table = package / "proposal/data/guards.tsv"
    table.parent.mkdir()
    text = (ROOT / "leastpriv/proposal/data/guards.tsv").read_text(encoding="utf-8")
    row = "removal\tof-this-checkout\ta reason\ta guard\ta remedy\n"
    table.write_text(text + row, encoding="utf-8")
    return folder


def test_the_tables_of_the_same_checkout_are_written(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "other")
    command = [sys.executable, str(folder / "tools/readme_tables.py")]
    subprocess.run(command, cwd=ROOT, check=True)
    page = (folder / "docs/guards.md").read_text(encoding="utf-8")
    assert "- `of-this-checkout`: a guard → a remedy\n" in page
    assert (folder / "docs/inputs.md").read_text(encoding="utf-8") == (
        ROOT / "docs/inputs.md"
    ).read_text(encoding="utf-8")
