"""Write the inputs of action.yml, docs/inputs.md and the generated parts of other pages of the
guide; `--check` compares.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package of this checkout, not an installed one

import leastpriv.aws
import leastpriv.proposal
from leastpriv.config.inputs import Input, inputs
from leastpriv.permissions.fact_tables import table as fact_table

INPUTS_PAGE = ROOT / "docs/inputs.md"
REMEDIES_PAGE = ROOT / "docs/troubleshooting.md"
GUARDS_PAGE = ROOT / "docs/guards.md"

Entries = Mapping[str, Mapping[str, object]]


def with_inputs(text: str) -> str:
    """Return action.yml with the inputs of the declaration between `inputs:` and `outputs:`."""
    before, _, rest = text.partition("\ninputs:\n")
    _, mark, after = rest.partition("\noutputs:\n")
    entries = "".join(_entry(declared) for declared in inputs() if not declared.config_only)
    return f"{before}\ninputs:\n{entries}{mark}{after}"


def _entry(known: Input) -> str:
    default = "${{ github.token }}" if known.name == "github-token" else json.dumps(known.default)
    return (
        f"  {known.name}:\n"
        f"    description: {json.dumps(_sentence(known), ensure_ascii=False)}\n"
        "    required: false\n"
        f"    default: {default}\n"
    )


def _sentence(known: Input) -> str:
    text = known.help
    if known.name in _REQUIRED:
        text += "; required unless `config` lists targets"
    return f"{text[0].upper()}{text[1:]}."


_REQUIRED = ("role-arn", "policy-file")


def inputs_page(action: Mapping[str, Entries]) -> str:
    """Return docs/inputs.md: every input and setting by purpose, with its default and an example,
    and every output.
    """
    text = _HEAD
    for heading in dict.fromkeys(declared.group for declared in inputs()):
        group_inputs = [declared for declared in inputs() if declared.group == heading]
        text += f"\n## {heading}\n\n" + "".join(
            f"{_input_row(declared)}\n" for declared in group_inputs
        )
    rows = [f"- `{name}`: {entry['description']}" for name, entry in action["outputs"].items()]
    return f"{text}\n## Outputs\n\n{_HOW_TO_READ_OUTPUTS}" + "\n".join([*rows, ""])


_HEAD = """# Inputs, settings and outputs

Each is also an option of `leastpriv propose`, unless it concerns GitHub alone. Separate lists by
newlines or commas; repeat an option. A *setting* belongs into the file that `config` names:

```yaml
settings:
  lifecycle: offer
  minimum-confidence: 90
```
"""


def _input_row(known: Input) -> str:
    """Return one line: name, default, text, and an example whose form the text lacks."""
    default = f", default `{known.default}`" if known.default else ""
    shell = f", in a shell `{known.shell_default}`" if known.shell_default else ""
    mark = " *setting*" if known.config_only else ""
    row = f"- `{known.name}`{mark}{default}{shell}: {_sentence(known)}"
    is_plain = re.fullmatch(r"[\w./-]+", known.example) is not None
    is_shown = not known.choices and not is_plain and known.example not in row
    return f"{row.removesuffix('.')} (`{known.example}`)." if is_shown else row


_HOW_TO_READ_OUTPUTS = (
    "Outputs contain names from your account. Pass them to a shell through `env:`, never inside the"
    " script.\n\n"
)


_BY_HAND = "add it by hand"
"""The remedy of an addition that has no other, which the page names once."""
_NO_REMEDY = "–"


def with_guards(page: str) -> str:
    """Return docs/guards.md with the lists of guards; raises ValueError if a marker is missing."""
    for group in ("removal", "resource", "addition"):
        rows = [
            _guard_row(row)
            for row in fact_table("guards", leastpriv.proposal.__name__)
            if row["group"] == group
        ]
        page = _between_markers(page, f"{group} guards", "\n".join(rows) + "\n")
    return page


def _guard_row(row: Mapping[str, str]) -> str:
    has_remedy = row["remedy"] not in {_BY_HAND, _NO_REMEDY}
    return f"- `{row['name']}`: {row['holds']}" + (f" → {row['remedy']}" if has_remedy else "")


def _between_markers(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- {name}: written by `make readme` -->\n", f"<!-- {name}: end -->\n"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(
            f"A page needs these markers exactly once: {begin.strip()} … {end.strip()}"
        )
    before, following = page.split(begin)
    return before + begin + "\n" + text + "\n" + end + following.split(end)[1]


def with_remedies(page: str) -> str:
    """Return docs/troubleshooting.md with AWS's messages at the login; raises ValueError if a
    marker is missing.
    """
    remedies = fact_table("remedies", leastpriv.aws.__name__)
    rows = [f"| `{row['shown']}` | {row['remedy']} |" for row in remedies if row["shown"]]
    return _between_markers(
        page, "remedies", "\n".join(["| Message | Remedy |", "| --- | --- |", *rows]) + "\n"
    )


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` compare them; 1 when one is stale."""
    action_file = ROOT / "action.yml"
    action = YAML(typ="safe", pure=True).load(action_file)
    pages = {
        action_file: with_inputs(action_file.read_text(encoding="utf-8")),
        INPUTS_PAGE: inputs_page(action),
        REMEDIES_PAGE: with_remedies(REMEDIES_PAGE.read_text(encoding="utf-8")),
        GUARDS_PAGE: with_guards(GUARDS_PAGE.read_text(encoding="utf-8")),
    }
    stale = [
        path
        for path, text in pages.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if arguments == ["--check"]:
        for path in stale:
            print(
                f"{path.relative_to(ROOT)} differs from leastpriv/config/data/inputs.tsv or another"
                " table: run `make readme`."
            )
        return int(bool(stale))
    for path in stale:
        path.write_text(pages[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
