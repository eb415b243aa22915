"""Write the generated parts of README.md: the tables of action.yml, and the reader role; `--check` only compares."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML

from leastpriv.init.options import InitOptions
from leastpriv.init.reader_role import DEFAULT_SOURCES, ISSUER, reader_grants, reader_policy, subjects

ROOT = Path(__file__).resolve().parent.parent

Entries = Mapping[str, Mapping[str, object]]


def with_tables(readme: str, action: Mapping[str, Entries]) -> str:
    """Return `readme` with new content between its markers.

    Raises:
        ValueError: a marker is missing or occurs twice.
    """
    parts = {name: ("action.yml", table(action[name], name)) for name in ("inputs", "outputs")}
    parts["reader"] = ("leastpriv/setup", reader())
    for name, (source, text) in parts.items():
        begin, end = f"<!-- {name}: from {source} by `make readme` -->\n", f"<!-- {name}: end -->\n"
        if readme.count(begin) != 1 or readme.count(end) != 1:
            raise ValueError(f"README.md needs the markers of the {name} exactly once: {begin.strip()} … {end.strip()}")
        before, rest = readme.split(begin)
        after = rest.split(end)[1]
        readme = before + begin + "\n" + text + "\n" + end + after
    return readme


def reader() -> str:
    """Return policy and trust policy of the reader role for the default sources, in an example account."""
    account = InitOptions().role_arn.split(":")[4]
    values = {"Partition": "aws", "Account": account, "TargetRoleArn": InitOptions().role_arn}
    names, ids = subjects("acme", "shop", "main", "1234", "5678")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{ISSUER}"},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {
                    "StringEquals": {f"{ISSUER}:aud": InitOptions().audience, f"{ISSUER}:sub": [names, ids]},
                },
            }
        ],
    }
    policy = json.dumps(reader_policy(reader_grants(DEFAULT_SOURCES), values), indent=2)
    told = "Who may take it: jobs on the branch `main`, by the names of owner and repository and by their ids."
    return f"```json\n{policy}\n```\n\n{told}\n\n```json\n{json.dumps(trust, indent=2)}\n```\n"


def table(entries: Entries, name: str) -> str:
    """Return the inputs or outputs as a table."""
    columns = ("Input", "Default", "Meaning") if name == "inputs" else ("Output", "Value")
    rows = [" | ".join(columns), " | ".join("---" for _ in columns)]
    for key, entry in entries.items():
        cells = (f"`{key}`", _default(entry), str(entry["description"]))
        rows.append(" | ".join(cell.replace("|", "\\|") for cell in (cells if name == "inputs" else cells[::2])))
    return "\n".join([*(f"| {row} |" for row in rows), ""])


def main(arguments: list[str]) -> int:
    """Write README.md, or with `--check` compare it; 1 when it is stale."""
    readme = ROOT / "README.md"
    present = readme.read_text(encoding="utf-8")
    fresh = with_tables(present, YAML(typ="safe", pure=True).load(ROOT / "action.yml"))
    if arguments == ["--check"]:
        if fresh != present:
            print("README.md is older than action.yml or leastpriv/setup: run `make readme`.")
        return int(fresh != present)
    readme.write_text(fresh, encoding="utf-8")
    return 0


def _default(entry: Mapping[str, object]) -> str:
    default = entry.get("default")
    return "**required**" if entry.get("required") else f"`{default}`" if default else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
