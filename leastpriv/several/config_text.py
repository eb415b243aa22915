"""The config file with further targets: text in, text out, and nothing of it changes that need not."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from io import BytesIO

from leastpriv.configuration import read_configuration
from leastpriv.errors import InputError

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:+=,@-]*", re.ASCII)


def entry_text(role: str, policy_file: str, indent: int = 2, also_attached: Sequence[str] = ()) -> str:
    """One entry of `targets` as YAML; a name that YAML could take for something else is quoted."""
    pad = " " * indent
    more = f"{pad}  also-attached: {json.dumps(list(also_attached))}\n" if also_attached else ""
    return f"{pad}- role-arn: {_scalar(role)}\n{pad}  policy-file: {_scalar(policy_file)}\n{more}"


def with_targets(raw: bytes, path: str, added: Sequence[tuple[str, str]]) -> bytes | None:
    """The file with an entry for each (role ARN, policy file) behind its last; None where that cannot be done by lines.

    Raises:
        InputError: the file is no config.
    """
    before = read_configuration(raw, path).entries
    text = raw.decode("utf-8", "surrogateescape")
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    place = _end_of_targets(raw, lines)
    if place is None:
        return None
    at, indent = place
    if not lines[at - 1].endswith(("\n", "\r")):
        lines[at - 1] += end
    new = [entry_text(role, file, indent).replace("\n", end) for role, file in added]
    changed = "".join([*lines[:at], *new, *lines[at:]]).encode("utf-8", "surrogateescape")
    try:
        after = read_configuration(changed, path).entries
    except InputError:
        return None
    told = [(entry.role, entry.values["policy-file"]) for entry in after]
    wanted = [*((entry.role, entry.values["policy-file"]) for entry in before), *added]
    return changed if told == wanted else None


def _end_of_targets(raw: bytes, lines: Sequence[str]) -> tuple[int, int] | None:
    """Index of the line behind the last entry, and the column of its dash; None for a list in brackets."""
    from ruamel.yaml import YAML

    targets = YAML(typ="rt", pure=True).load(BytesIO(raw))["targets"]
    if targets.fa.flow_style():
        return None
    first, _ = targets.lc.item(len(targets) - 1)
    indent = lines[first].find("-")
    if indent < 0 or lines[first][:indent].strip():
        return None
    last = first
    for number in range(first + 1, len(lines)):
        line = lines[number]
        if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
            break
        last = number if line.strip() else last
    return last + 1, indent


def _scalar(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
