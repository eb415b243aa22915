"""Measures the parser of denials on labelled messages: `python -m bench.denials FILE_OF_JSONL…`.

Each line is a message with a person's reading: `expected` (actions, resource, denied_by), `grant`
(yes, no, unsure: whether adding the action to the principal's identity policy can help),
`action_in_text`, `near_miss`; or as in `tests/denials/messages_of_tools.jsonl`. Printed are the
shares that are parsed exactly, the grants that would be wrong, tables by tool and by wording, and
every miss.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leastpriv.denials.message import read_denial
from leastpriv.models import Denial

_USAGE = 2
_WORDINGS = (
    ("with an explicit deny", r"explicit\s+deny"),
    ("because no … policy allows", r"because\s+no"),
    ("perform: ACTION, no reason", r"authorized\s+to\s+perform:?\s+[`'\"]?[a-zA-Z-]+:\w"),
    ("when calling the X operation: bare", r"when\s+calling\s+the"),
    ("operation error S: X", r"operation error"),
    ("Lambda's code in S3", r"request credentials have permission"),
    ("permission to perform the 'X' action", r"permission to"),
    ("not authorized to perform this operation", r"this operation"),
    ("Access Denied, no operation", r"access\s+denied|AccessDenied"),
)


@dataclass(frozen=True, slots=True)
class LabelledDenial:
    """A labelled message and the parsed denial."""

    label: Mapping[str, Any]
    denial: Denial

    @property
    def exact(self) -> bool:
        """Actions and resource are those of the label, letter by letter."""
        expected = self.label["expected"]
        actions = sorted(map(str.lower, expected["actions"]))
        if sorted(map(str.lower, self.denial.actions)) != actions:
            return False
        return self.label.get("any_resource") or self.denial.resource == (
            expected["resource"] or ""
        )

    @property
    def granted(self) -> bool:
        """A grant would resolve it."""
        return self.denial.mendable and bool(self.denial.actions)

    @property
    def kind(self) -> str:
        """`stated`, `inferred`, `hopeless` (no grant helps) or `unsure`."""
        if self.label["grant"] == "yes":
            return "stated" if self.label["action_in_text"] else "inferred"
        return "hopeless" if self.label["grant"] == "no" else "unsure"

    @property
    def right(self) -> bool:
        """The minimum for a message of its kind."""
        if self.kind == "unsure":
            return True
        return not self.granted if self.kind == "hopeless" else self.exact and self.granted


def main(arguments: list[str]) -> int:
    """Print the figures; 2 without a file."""
    if not arguments:
        print("Name a file of labelled messages, one JSON object a line.", file=sys.stderr)
        return _USAGE
    rows = [row for name in arguments for row in labelled_denials(Path(name))]
    print("\n".join(summary(rows)))
    print("\n".join(table("tool", rows, lambda row: str(row.label["tool"]))))
    print("\n".join(table("wording", rows, lambda row: wording(str(row.label["message"])))))
    print("\nmisses")
    for row in rows:
        if not row.right:
            print(f"  {row.label['id']} {row.kind}: {miss(row)}")
    return 0


def labelled_denials(file: Path) -> list[LabelledDenial]:
    """Every labelled message of a file, read."""
    lines = file.read_text(encoding="utf-8").splitlines()
    labels = [_label(json.loads(line), number) for number, line in enumerate(lines, start=1)]
    return [LabelledDenial(label, read_denial(label["message"])) for label in labels]


def _label(row: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """A row in the form of the corpus; an inferred resource that the row leaves open is not
    compared.
    """
    if "expected" in row:
        return row
    is_denial = row["kind"] != "no grant"
    return {
        "id": f"line {number}",
        "tool": row["kind"],
        "message": row["message"],
        "grant": "yes" if row["mendable"] else "no",
        "action_in_text": row["kind"] == "named",
        "near_miss": not is_denial,
        "any_resource": row["kind"] == "inferred" and row["resource"] is None,
        "expected": {
            "actions": [row["action"]] if row["action"] else [],
            "resource": row["resource"],
            "denied_by": row["denied_by"],
        },
    }


def summary(rows: Sequence[LabelledDenial]) -> list[str]:
    """The shares by kind of message, and the denying policy types."""
    lines = []
    for kind in ("stated", "inferred"):
        some = [row for row in rows if row.kind == kind]
        exact = sum(row.right for row in some)
        lines.append(
            f"{kind}: {exact} of {len(some)} exact and mendable ({exact / max(1, len(some)):.1%})"
        )
    hopeless = [row for row in rows if row.kind == "hopeless"]
    lines.append(
        f"hopeless: {sum(row.granted for row in hopeless)} wrong grants of {len(hopeless)}"
    )
    told = [row for row in hopeless if not row.label["near_miss"]]
    lines.append(
        f"  of {len(told)} that name an action all the same, {sum(row.exact for row in told)} are"
        " read exactly"
    )
    unsure = [row for row in rows if row.kind == "unsure"]
    texts = [row for row in hopeless if row.label["near_miss"]]
    lines.append(f"no denial: {sum(row.granted for row in texts)} of {len(texts)} read as one")
    lines.append(f"unsure: {sum(row.granted for row in unsure)} of {len(unsure)} would be granted")
    named = [row for row in rows if row.label["expected"]["denied_by"] not in (None, "unknown")]
    agreed = sum(row.denial.denied_by == row.label["expected"]["denied_by"] for row in named)
    lines.append(f"who refused: {agreed} of {len(named)} as labelled")
    return lines


def table(
    title: str, rows: Sequence[LabelledDenial], key: Callable[[LabelledDenial], str]
) -> list[str]:
    """Correct of all, by a key; unsure ones do not count."""
    asked = [row for row in rows if row.kind != "unsure"]
    all_of, right = Counter(map(key, asked)), Counter(key(row) for row in asked if row.right)
    lines = [f"\n{title:42} messages  right"]
    return lines + [f"{name:42} {count:8}  {right[name]:5}" for name, count in all_of.most_common()]


def wording(message: str) -> str:
    """The wording a message is of."""
    return next(
        (name for name, pattern in _WORDINGS if re.search(pattern, message, re.IGNORECASE)), "other"
    )


def miss(row: LabelledDenial) -> str:
    """Expected and parsed, in one line."""
    expected, found = row.label["expected"], row.denial
    return (
        f"expected {', '.join(expected['actions']) or '-'} on {expected['resource'] or '-'},"
        f" read {', '.join(found.actions) or '-'} on {found.resource or '-'},"
        f" {'mendable' if found.mendable else found.why or 'not mendable'}"
        f" · {' '.join(row.label['message'].split())[:160]}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
