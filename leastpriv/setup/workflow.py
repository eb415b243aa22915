"""The workflow that runs the action with the reader role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leastpriv.setup.target import Target
from leastpriv.setup.trust import AUDIENCE

PATH = ".github/workflows/least-privilege.yml"


def workflow(target: Target, sources: Sequence[str], known_inputs: Mapping[str, bool]) -> str:
    """The workflow as YAML; `known_inputs` tells which inputs of the action there are, and whether they work yet."""
    # Unquoted, `null` or `1.5` would be no text in YAML.
    given = {"role-arn": target.role_arn, "policy-file": f'"{target.policy_file}"', **inputs_of(sources)}
    audience = "" if target.audience == AUDIENCE else f"          audience: {target.audience}\n"
    lines = [f"          {name}: {value}" for name, value in given.items() if known_inputs.get(name)]
    return f"""\
name: Least privilege
on:
  schedule: [{{cron: "17 5 * * 1"}}]
  workflow_dispatch:

permissions: {{}}

jobs:
  least-privilege:
    runs-on: ubuntu-latest
    concurrency: {{group: leastpriv, cancel-in-progress: false}}
    permissions:
      contents: write         # read the policy, make the branch and its commit
      pull-requests: write    # open, update and close the pull request
      actions: read           # tell which branch each recorded run deployed from
      id-token: write         # assume the role that reads the evidence
    steps:
      # Replace both versions by the commits that they stand for today.
      - uses: aws-actions/configure-aws-credentials@v6
        with:
          role-to-assume: {target.reader_arn}
          role-session-name: ${{{{ github.run_id }}}}
          aws-region: {target.region}
{audience}      - uses: org/leastpriv-action@v1
        with:
{chr(10).join(lines)}
"""


def inputs_of(sources: Sequence[str]) -> dict[str, str]:
    """The action's inputs by which it reads some sources; in capitals what the reader has to put in."""
    trails = ["event-history"] if "event-history" in sources else []
    # A table is made over the trail that is named.
    trails += ["s3://BUCKET/PREFIX"] if {"s3-trail", "athena-create"} & set(sources) else []
    found = {"trails": ", ".join(trails)} if trails else {}
    if "athena" in sources:
        found["athena-table"] = "DATABASE.TABLE"
    if "access-analyzer" in sources:
        found["access-analyzer"] = "SERVICE-ROLE-ARN TRAIL-ARN"
    if "last-accessed" in sources:
        found["last-accessed"] = "true"
    if "custom-policy-checks" in sources:
        found["custom-policy-checks"] = "true"
    if "job-logs" in sources:
        found["job-logs"] = "auto"
    return found
