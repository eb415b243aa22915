"""Write the tables of README.md from action.yml; `--check` only tells whether they are fresh."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
NOT_BUILT = "Not built yet: "

Entries = Mapping[str, Mapping[str, object]]


def with_tables(readme: str, action: Mapping[str, Entries]) -> str:
    """Return `readme` with what stands between its markers replaced.

    Raises:
        ValueError: a marker is missing or occurs twice.
    """
    for name in ("inputs", "outputs"):
        begin, end = f"<!-- {name}: from action.yml by `make readme` -->\n", f"<!-- {name}: end -->\n"
        if readme.count(begin) != 1 or readme.count(end) != 1:
            raise ValueError(f"README.md needs the markers of the {name} exactly once: {begin.strip()} … {end.strip()}")
        before, rest = readme.split(begin)
        after = rest.split(end)[1]
        readme = before + begin + "\n" + table(action[name], name) + "\n" + end + after
    return readme


def table(entries: Entries, name: str) -> str:
    """Return the table of what is built, and below it the list of what is not."""
    built = {key: entry for key, entry in entries.items() if not _description(entry).startswith(NOT_BUILT)}
    columns = ("Input", "Default", "Meaning") if name == "inputs" else ("Output", "Value")
    rows = [" | ".join(columns), " | ".join("---" for _ in columns)]
    for key, entry in built.items():
        cells = (f"`{key}`", _default(entry), _description(entry))
        rows.append(" | ".join(cell.replace("|", "\\|") for cell in (cells if name == "inputs" else cells[::2])))
    consequence = "setting one is refused with a sentence" if name == "inputs" else "they stay empty"
    missing = [
        f"- `{key}`: {_description(entry).removeprefix(NOT_BUILT)}"
        for key, entry in entries.items()
        if key not in built
    ]
    told = ["", f"Not built yet; {consequence}:", "", *missing] if missing else []
    return "\n".join([*(f"| {row} |" for row in rows), *told, ""])


def main(arguments: list[str]) -> int:
    """Write README.md, or with `--check` compare it; 1 when it is stale."""
    readme = ROOT / "README.md"
    present = readme.read_text(encoding="utf-8")
    fresh = with_tables(present, YAML(typ="safe", pure=True).load(ROOT / "action.yml"))
    if arguments == ["--check"]:
        if fresh != present:
            print("The tables of README.md are older than action.yml: run `make readme`.")
        return int(fresh != present)
    readme.write_text(fresh, encoding="utf-8")
    return 0


def _description(entry: Mapping[str, object]) -> str:
    return str(entry["description"])


def _default(entry: Mapping[str, object]) -> str:
    default = entry.get("default")
    return "**required**" if entry.get("required") else f"`{default}`" if default else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
