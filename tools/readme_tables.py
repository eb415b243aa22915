"""Write docs/inputs.md and the generated parts of other pages of the guide; `--check` compares."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package of this checkout, not an installed one

import leastpriv.aws
import leastpriv.proposal
from leastpriv.permissions.fact_tables import table as fact_table

INPUTS_PAGE = ROOT / "docs/inputs.md"
REMEDIES_PAGE = ROOT / "docs/troubleshooting.md"
GUARDS_PAGE = ROOT / "docs/guards.md"

Entries = Mapping[str, Mapping[str, object]]

GROUPS: tuple[tuple[str, str], ...] = (
    (
        "The role and its policy",
        "role-arn policy-file also-attached trust-policy terraform-plan config",
    ),
    ("What the run does", "mode when-no-calls drift-report fail-on"),
    (
        "Evidence",
        (
            "trails lookback-days aws-regions athena-table athena-max-bytes wait-for-events job-logs denial-details"
            " last-accessed access-analyzer validate-digests cache-dir evidence-branch"
        ),
    ),
    ("Before the first deploy", "templates plans declared declared-phases"),
    (
        "When a permission is removed",
        (
            "minimum-days minimum-runs minimum-confidence grace-days unseen-services unseen-actions"
            " lifecycle keep"
        ),
    ),
    (
        "Added permissions",
        "resources never-add reviewed-refs unknown-refs copies break-glass max-changes",
    ),
    (
        "Other policies, and checks by AWS",
        "organization-policies other-policies custom-policy-checks",
    ),
    ("Roles that the role creates", "boundary-file"),
    (
        "The pull request",
        "github-token max-pull-requests base branch labels reviewers team-reviewers assignees draft",
    ),
    ("Files to keep", "page-file sarif-file body-file"),
)
"""Headings of docs/inputs.md, each with its inputs; a test compares them with action.yml."""

EXAMPLES: Mapping[str, str] = {
    "role-arn": "arn:aws:iam::123456789012:role/ci-deploy",
    "policy-file": "iam/ci-deploy.json",
    "also-attached": "arn:aws:iam::aws:policy/ReadOnlyAccess",
    "trust-policy": "iam/ci-deploy-trust.json",
    "terraform-plan": "plan.json",
    "config": ".github/leastpriv.yml",
    "mode": "check",
    "when-no-calls": "report",
    "drift-report": "issue",
    "fail-on": "escalation",
    "boundary-file": "iam/app-boundary.json",
    "trails": "s3://my-trail-bucket",
    "lookback-days": "60",
    "aws-regions": "eu-west-1, us-east-1",
    "athena-table": "security/cloudtrail.records",
    "athena-max-bytes": "500 GB",
    "wait-for-events": "15",
    "job-logs": "auto",
    "denial-details": "false",
    "last-accessed": "false",
    "access-analyzer": (
        "arn:aws:iam::123456789012:role/analyzer,"
        " arn:aws:cloudtrail:eu-west-1:123456789012:trail/main"
    ),
    "validate-digests": "true",
    "cache-dir": ".leastpriv-cache",
    "evidence-branch": "leastpriv-evidence",
    "max-pull-requests": "10",
    "templates": "shop-prod=template.yaml",
    "plans": "plan.json",
    "declared": "autopilot.json",
    "declared-phases": "all",
    "minimum-days": "60",
    "minimum-runs": "10",
    "minimum-confidence": "90",
    "grace-days": "14",
    "unseen-services": "drop",
    "unseen-actions": "drop",
    "lifecycle": "offer",
    "keep": "s3:Delete*, kms:*",
    "resources": "exact",
    "never-add": "iam:*, organizations:*",
    "reviewed-refs": "release/*, environment:production",
    "unknown-refs": "refuse",
    "copies": '{long-lived: [prod, stage], short-lived: ["pr-*"]}',
    "break-glass": "break-glass-*",
    "max-changes": "20",
    "organization-policies": "organization",
    "other-policies": "boundary=iam/boundary.json",
    "custom-policy-checks": "true",
    "github-token": "${{ steps.app-token.outputs.token }}",
    "base": "main",
    "branch": "leastpriv/production",
    "labels": "security, iam",
    "reviewers": "octocat",
    "team-reviewers": "platform",
    "assignees": "octocat",
    "draft": "true",
    "page-file": "leastpriv.html",
    "sarif-file": "leastpriv.sarif",
    "body-file": "body.md",
}
"""A value of each input."""


def inputs_page(action: Mapping[str, Entries]) -> str:
    """Return docs/inputs.md: every input by purpose, with its default and an example, and every
    output.

    Raises:
        ValueError: an input has no group or no example, or a group names an input that does not
            exist.
    """
    grouped = [name for _, names in GROUPS for name in names.split()]
    if sorted(grouped) != sorted(action["inputs"]) or set(grouped) != set(EXAMPLES):
        wrong = set(grouped) ^ set(action["inputs"]) | set(grouped) ^ set(EXAMPLES)
        raise ValueError(
            f"GROUPS and EXAMPLES of tools/readme_tables.py differ from action.yml: {sorted(wrong)}"
        )
    text = (
        "# Inputs and outputs\n\n"
        "Every input is also an option of `leastpriv propose`, unless it concerns GitHub alone.\n"
        "Separate lists by newlines or commas; repeat an option that takes a list.\n"
    )
    for heading, names in GROUPS:
        entries = {name: action["inputs"][name] for name in names.split()}
        text += f"\n## {heading}\n\n" + listed(entries, "inputs")
    return text + "\n## Outputs\n\n" + _HOW_TO_READ_OUTPUTS + listed(action["outputs"], "outputs")


_HOW_TO_READ_OUTPUTS = (
    "Outputs contain names from your account. Pass them to a shell through `env:`, never inside the"
    " script.\n\n"
)


_BY_HAND = "add it by hand"
"""The remedy of an addition that has no other, which the page names once."""


def with_guards(page: str) -> str:
    """Return docs/guards.md with the tables of guards; raises ValueError if a marker is missing."""
    for group in ("removal", "resource", "addition"):
        rows = [
            f"| `{row['name']}` | {row['holds']} |"
            f" {'' if row['remedy'] == _BY_HAND else row['remedy']} |"
            for row in fact_table("guards", leastpriv.proposal.__name__)
            if row["group"] == group
        ]
        head = "| Guard | Applies while | Remedy |\n| --- | --- | --- |\n"
        page = _between_markers(page, f"{group} guards", head + "\n".join(rows) + "\n")
    return page


def _between_markers(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- {name}: written by `make readme` -->\n", f"<!-- {name}: end -->\n"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(
            f"A page needs these markers exactly once: {begin.strip()} … {end.strip()}"
        )
    before, rest = page.split(begin)
    return before + begin + "\n" + text + "\n" + end + rest.split(end)[1]


def with_remedies(page: str) -> str:
    """Return docs/troubleshooting.md with AWS's messages at the login; raises ValueError if a
    marker is missing.
    """
    known = fact_table("remedies", leastpriv.aws.__name__)
    rows = [f"| `{row['shown']}` | {row['remedy']} |" for row in known if row["shown"]]
    return _between_markers(
        page, "remedies", "\n".join(["| Message | Remedy |", "| --- | --- |", *rows]) + "\n"
    )


def listed(entries: Entries, name: str) -> str:
    """Return the inputs, each with its default and an example that its description lacks, or the
    outputs, as a list.
    """
    rows = []
    for key, entry in entries.items():
        row = f"- `{key}`{_default(entry)}: {entry['description']}"
        shown = (
            name == "inputs"
            and not EXAMPLES[key].isdigit()
            and f"`{EXAMPLES[key]}`" not in f"{row} `true` `false`"
        )
        rows.append(f"{row} Example: `{EXAMPLES[key]}`" if shown else row)
    return "\n".join([*rows, ""])


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` compare them; 1 when one is stale."""
    action = YAML(typ="safe", pure=True).load(ROOT / "action.yml")
    pages = {
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
                f"{path.relative_to(ROOT)} differs from action.yml or leastpriv/init: run `make"
                " readme`."
            )
        return int(bool(stale))
    for path in stale:
        path.write_text(pages[path], encoding="utf-8")
    return 0


def _default(entry: Mapping[str, object]) -> str:
    if entry.get("required"):
        return " (required)"
    default = entry.get("default")
    return f" (default `{default}`)" if default else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
