"""Compares the paths of escalation with cloudsplaining's: `python -m bench.escalation
FOLDER_OF_POLICIES PYTHON`.

PYTHON is an interpreter that has cloudsplaining (PyPI), which is no dependency of this package.
Prints for all policies of the folder how many findings of cloudsplaining the paths contain, each
finding that they lack, and what only they find. cloudsplaining judges statements on `*` without
conditions; a policy that it cannot read is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from leastpriv.errors import LeastprivError
from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.policy.document import parse
from leastpriv.policy.syntax_tree import json_value
from leastpriv.proposal.escalation_paths import EscalationPath, escalation_paths

_USAGE = 2
_PRINCIPAL = "arn:aws:iam::111122223333:role/ci-deploy"
_ORACLE = """
import json, sys
from cloudsplaining.scan.policy_document import PolicyDocument
for line in sys.stdin:
    name, policy = json.loads(line)
    try:
        found = PolicyDocument(policy).allows_privilege_escalation
    except Exception as error:
        found = str(error)
    print(json.dumps([name, found]))
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What cloudsplaining finds in a policy."""

    kind: str
    actions: list[str]


def main(arguments: Sequence[str]) -> int:
    """Prints the comparison; returns 1 if a finding is lacking."""
    if len(arguments) != _USAGE:
        print(__doc__)
        return _USAGE
    documents = {}
    for path in sorted(Path(arguments[0]).glob("*.json")):
        try:
            documents[path.name] = parse(path.read_bytes(), path.name)
        except LeastprivError:
            continue
    policies = {name: json_value(document.policy) for name, document in documents.items()}
    theirs = _findings(arguments[1], policies)
    contained = 0
    lacking = []
    more = Counter[str]()
    for name, findings in theirs.items():
        paths = [
            path
            for path in escalation_paths([documents[name]], _PRINCIPAL)
            if path.leads_to_administrator
        ]
        for finding in findings:
            if any(_is_part_of(path, finding) for path in paths):
                contained += 1
            else:
                lacking.append(f"{name}: {finding.kind} {finding.actions}")
        for escalation in paths:
            if not any(_is_part_of(escalation, finding) for finding in findings):
                more[escalation.id] += 1
    flagged = sum(bool(findings) for findings in theirs.values())
    print(
        f"{len(theirs)} policies, {flagged} with findings: {contained} findings contained,"
        f" {len(lacking)} lacking"
    )
    print("\n".join(lacking))
    print("only here:", ", ".join(f"{name} ({count})" for name, count in more.most_common()))
    return bool(lacking)


def _findings(python: str, policies: Mapping[str, object]) -> dict[str, list[Finding]]:
    lines = "\n".join(json.dumps([name, policy]) for name, policy in policies.items())
    answer = subprocess.run(
        [python, "-c", _ORACLE], input=lines, capture_output=True, text=True, check=True
    )
    read = (json.loads(line) for line in answer.stdout.splitlines() if line.startswith("["))
    return {
        name: [Finding(each["type"], each["actions"]) for each in found]
        for name, found in read
        if not isinstance(found, str)
    }


def _is_part_of(path: EscalationPath, finding: Finding) -> bool:
    """Whether the actions of a finding suffice for a path, so that it contains the finding."""
    [row] = [row for row in table("escalation", catalog.__package__) if row["id"] == path.id]
    steps = [step.replace("@", "").lower().split("|") for step in row["actions"].split(",")]
    return all(set(step) & set(finding.actions) for step in steps)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
