"""Write the inputs and outputs of cli/action.yml, the action without Docker, from action.yml.

`--check` compares instead. The steps of cli/action.yml are written by hand.
"""

from __future__ import annotations

import io
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
CONTAINER = ROOT / "action.yml"
COMPOSITE = ROOT / "cli/action.yml"
_HEAD = "# Written by `make readme` from action.yml, down to `runs`.\n"
_STEPS = "\nruns:\n"


def composite_action(container: str, composite: str) -> str:
    """Return cli/action.yml with the inputs and outputs of action.yml.

    Args:
        container: action.yml.
        composite: cli/action.yml, whose steps remain; the step `leastpriv` sets the outputs.

    Raises:
        ValueError: cli/action.yml has no steps.
    """
    _, separator, steps = composite.partition(_STEPS)
    if not separator:
        raise ValueError("cli/action.yml has no line `runs:`")
    yaml = YAML()
    yaml.width = 1000
    yaml.preserve_quotes = True
    action: MutableMapping[str, Any] = yaml.load(container)
    action["name"] = f"{action['name']}, without Docker"
    del action["runs"]
    for name, output in action["outputs"].items():
        output["value"] = f"${{{{ steps.leastpriv.outputs.{name} }}}}"
    declaration = io.StringIO()
    yaml.dump(action, declaration)
    return _HEAD + declaration.getvalue().rstrip() + "\n" + _STEPS + steps


def main(arguments: list[str]) -> int:
    """Write the file, or return 1 where it differs."""
    before = COMPOSITE.read_text(encoding="utf-8")
    wanted = composite_action(CONTAINER.read_text(encoding="utf-8"), before)
    if arguments != ["--check"]:
        COMPOSITE.write_text(wanted, encoding="utf-8")
        return 0
    if before == wanted:
        return 0
    print("cli/action.yml differs from action.yml: run `make readme`")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
