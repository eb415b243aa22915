"""The workflow that runs the action with the reader role."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv.setup.target import Target
from leastpriv.setup.trust import AUDIENCE

PATH = ".github/workflows/least-privilege.yml"
_TRAIL, _TABLE, _GENERATION = "s3://BUCKET/PREFIX", "DATABASE.TABLE", "SERVICE-ROLE-ARN TRAIL-ARN"
"""What only the reader knows, in capitals."""


def workflow(target: Target, sources: Sequence[str]) -> str:
    """The workflow as YAML."""
    # Unquoted, `null` or `1.5` would be no text in YAML.
    given = {"role-arn": target.role_arn, "policy-file": f'"{target.policy_file}"', **inputs_of(sources)}
    audience = "" if target.audience == AUDIENCE else f"          audience: {target.audience}\n"
    lines = [f"          {name}: {value}" for name, value in given.items()]
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
    trails += [_TRAIL] if {"s3-trail", "athena-create"} & set(sources) else []
    found = {"trails": ", ".join(trails)} if trails else {}
    if "athena" in sources:
        found["athena-table"] = _TABLE
    if "access-analyzer" in sources:
        found["access-analyzer"] = _GENERATION
    # A step asks by itself, and a role without the permissions would be refused in every run.
    found["last-accessed"] = "true" if "last-accessed" in sources else "false"
    if "digests" in sources and "athena" not in sources:
        # Athena reads files unvalidated.
        found["validate-digests"] = "true"
    if "custom-policy-checks" in sources:
        found["custom-policy-checks"] = "true"
    if "job-logs" in sources:
        found["job-logs"] = "auto"
    return found


_EVIDENCE = ("event-history", "s3-trail", "athena", "job-logs")
_BESIDE = {"digests": ("s3-trail",), "kms": ("s3-trail", "athena"), "athena-create": ("athena",)}
"""Sources that are none by themselves -> one of those that they go with."""


def lacks(sources: Sequence[str]) -> Iterator[str]:
    """What a choice of sources lacks, a sentence each: the role is written all the same."""
    text = " ".join(inputs_of(sources).values())
    open_values = [value for value in (_TRAIL, _TABLE, _GENERATION) if value in text]
    if open_values:
        yield f"Put your own values into {PATH} for what stands there in capitals: {', '.join(open_values)}."
    if not {*_EVIDENCE} & {*sources}:
        yield (
            "The chosen sources hold no evidence, so that the workflow would read event history, which this role may "
            f"not: add one of {', '.join(_EVIDENCE)} to --sources."
        )
    for source, wanted in _BESIDE.items():
        if source in sources and not {*wanted} & {*sources}:
            yield f"The source {source} does nothing by itself: add {' or '.join(wanted)} to --sources."
    if {"digests", "athena"} <= {*sources}:
        yield "Athena reads files unvalidated, so that the workflow leaves validate-digests out."
