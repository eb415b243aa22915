"""Renders the files of `leastpriv init` and writes all of them or none.

The files are the reader role as a CloudFormation template and as a Terraform configuration, and the workflow that runs
the action with that role.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from leastpriv.errors import InputError, LeastprivError
from leastpriv.init.options import InitOptions
from leastpriv.init.reader_role import (
    ADVICE,
    AUDIENCE,
    ISSUER,
    OWN,
    Parameter,
    ReaderGrant,
    reader_grants,
    subjects,
    template_parameters,
)

_log = logging.getLogger(__name__)

_CLOUDFORMATION_VALUE = re.compile(r"\{(\w+)\}")


def cloudformation_template(
    grants: Sequence[ReaderGrant], parameters: Sequence[Parameter], sources: Sequence[str], audience: str = AUDIENCE
) -> str:
    """Renders the template; `audience` is that of the tokens that the role accepts."""
    by_name, by_id = subjects(
        "${RepositoryOwner}", "${RepositoryName}", "${Branch}", "${RepositoryOwnerId}", "${RepositoryId}"
    )
    lines = [
        'AWSTemplateFormatVersion: "2010-09-09"',
        f"Description: Reads the evidence for leastpriv ({', '.join(sources)})",
        "",
        "Parameters:",
        *_parameters(parameters),
        "",
        "Conditions:",
        '  HasIds: !Not [!Or [!Equals [!Ref RepositoryOwnerId, ""], !Equals [!Ref RepositoryId, ""]]]',
        "",
        "# The account's OIDC provider for GitHub's workflows must exist (one per account):",
        f"#   aws iam create-open-id-connect-provider --url https://{ISSUER} --client-id-list {audience}",
        "Resources:",
        "  LeastprivReader:",
        "    Type: AWS::IAM::Role",
        "    Properties:",
        "      RoleName: leastpriv-reader",
        "      AssumeRolePolicyDocument:",
        '        Version: "2012-10-17"',
        "        Statement:",
        "          - Effect: Allow",
        "            Principal:",
        f"              Federated: !Sub arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:oidc-provider/{ISSUER}",
        "            Action: sts:AssumeRoleWithWebIdentity",
        "            Condition:",
        "              StringEquals:",
        f"                {ISSUER}:aud: {audience}",
        f"                # {ADVICE}",
        f"                {ISSUER}:sub:",
        f"                  - !Sub {by_name}",
        "                  - !If",
        "                    - HasIds",
        f"                    - !Sub {by_id}",
        "                    - !Ref AWS::NoValue",
        "      Policies:",
        "        - PolicyName: leastpriv-reader",
        "          PolicyDocument:",
        '            Version: "2012-10-17"',
        "            Statement:",
        *(line for grant in grants for line in _cloudformation_statement(grant)),
        "",
        "Outputs:",
        "  RoleArn:",
        "    Description: For the input role-to-assume of aws-actions/configure-aws-credentials",
        "    Value: !GetAtt LeastprivReader.Arn",
    ]
    return "\n".join(lines) + "\n"


def _parameters(parameters: Sequence[Parameter]) -> Iterator[str]:
    for each in parameters:
        yield f"  {each.name}:"
        yield "    Type: String"
        if each.default is not None:
            yield f'    Default: "{each.default}"'
        yield f'    Description: "{each.description}"'


def _cloudformation_statement(grant: ReaderGrant) -> Iterator[str]:
    inside = " " * 16
    yield f"              - Sid: {grant.sid}  # {grant.page}"
    yield f"{inside}Effect: Allow"
    yield f"{inside}Action:"
    yield from (f"{inside}  - {action}" for action in grant.actions)
    yield f"{inside}Resource:"
    yield from (f"{inside}  - {_cloudformation_resource(resource)}" for resource in grant.resources)
    if grant.condition:
        yield f"{inside}Condition:"
        yield f"{inside}  {grant.condition.operator}:"
        yield f"{inside}    {grant.condition.key}: {grant.condition.values[0]}"


def _cloudformation_resource(resource: str) -> str:
    names = {"Partition": "AWS::Partition", "Account": "AWS::AccountId"}
    text = _CLOUDFORMATION_VALUE.sub(lambda found: f"${{{names.get(found[1], found[1])}}}", resource)
    if "${" not in text:
        return f'"{text}"'
    whole = _CLOUDFORMATION_VALUE.fullmatch(resource)
    return f"!Ref {whole[1]}" if whole and whole[1] not in OWN else f'!Sub "{text}"'


ADDRESS = "data.aws_iam_policy_document.leastpriv_reader"
"""Address of the role's policy in the configuration."""
_TERRAFORM_VALUE = re.compile(r"\{(\w+)\}")
_OWN = {
    "Partition": "data.aws_partition.current.partition",
    "Account": "data.aws_caller_identity.current.account_id",
}


def terraform_configuration(
    grants: Sequence[ReaderGrant], parameters: Sequence[Parameter], sources: Sequence[str], audience: str = AUDIENCE
) -> str:
    """Renders the configuration as one file; `audience` is that of the tokens that the role accepts."""
    variables = {each.name: each.variable for each in parameters}
    parts = [
        f"# Reads the evidence for leastpriv ({', '.join(sources)}).",
        *_variables(parameters),
        'data "aws_partition" "current" {}',
        'data "aws_caller_identity" "current" {}',
        _trust(audience),
        _policy(grants, variables),
        _ROLE,
    ]
    return "\n\n".join(parts) + "\n"


_ROLE = """\
resource "aws_iam_role" "leastpriv_reader" {
  name               = "leastpriv-reader"
  assume_role_policy = data.aws_iam_policy_document.leastpriv_reader_trust.json
}

resource "aws_iam_role_policy" "leastpriv_reader" {
  name   = "leastpriv-reader"
  role   = aws_iam_role.leastpriv_reader.id
  policy = data.aws_iam_policy_document.leastpriv_reader.json
}

output "leastpriv_reader_role_arn" {
  description = "For the input role-to-assume of aws-actions/configure-aws-credentials"
  value       = aws_iam_role.leastpriv_reader.arn
}"""


def _variables(parameters: Sequence[Parameter]) -> Iterator[str]:
    for each in parameters:
        lines = [f'variable "{each.variable}" {{', "  type        = string", f'  description = "{each.description}"']
        if each.default is not None:
            lines.append(f'  default     = "{each.default}"')
        yield "\n".join([*lines, "}"])


def _trust(audience: str) -> str:
    owner, name, branch = "${var.repository_owner}", "${var.repository_name}", "${var.branch}"
    by_name, by_id = subjects(owner, name, branch, "${var.repository_owner_id}", "${var.repository_id}")
    provider = f"arn:${{{_OWN['Partition']}}}:iam::${{{_OWN['Account']}}}:oidc-provider/{ISSUER}"
    return f"""\
# The account's OIDC provider for GitHub's workflows must exist (one per account):
#   aws iam create-open-id-connect-provider --url https://{ISSUER} --client-id-list {audience}
data "aws_iam_policy_document" "leastpriv_reader_trust" {{
  statement {{
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {{
      type        = "Federated"
      identifiers = ["{provider}"]
    }}

    condition {{
      test     = "StringEquals"
      variable = "{ISSUER}:aud"
      values   = ["{audience}"]
    }}

    condition {{
      test     = "StringEquals"
      variable = "{ISSUER}:sub"
      # {ADVICE}
      values = compact([
        "{by_name}",
        var.repository_owner_id == "" || var.repository_id == "" ? "" : "{by_id}",
      ])
    }}
  }}
}}"""


def _policy(grants: Sequence[ReaderGrant], variables: dict[str, str]) -> str:
    statements = "\n\n".join("\n".join(_terraform_statement(grant, variables)) for grant in grants)
    return f'data "aws_iam_policy_document" "leastpriv_reader" {{\n{statements}\n}}'


def _terraform_statement(grant: ReaderGrant, variables: dict[str, str]) -> Iterator[str]:
    yield f"  # {grant.page}"
    yield "  statement {"
    yield f'    sid       = "{grant.sid}"'
    yield f"    actions   = [{', '.join(_quoted(action) for action in grant.actions)}]"
    yield f"    resources = [{', '.join(_terraform_resource(resource, variables) for resource in grant.resources)}]"
    if grant.condition:
        yield ""
        yield "    condition {"
        yield f'      test     = "{grant.condition.operator}"'
        yield f'      variable = "{grant.condition.key}"'
        yield f"      values   = [{', '.join(map(_quoted, grant.condition.values))}]"
        yield "    }"
    yield "  }"


def _terraform_resource(resource: str, variables: dict[str, str]) -> str:
    whole = _TERRAFORM_VALUE.fullmatch(resource)
    if whole:
        return f"var.{variables[whole[1]]}"
    return _quoted(
        _TERRAFORM_VALUE.sub(lambda found: f"${{{_OWN.get(found[1]) or 'var.' + variables[found[1]]}}}", resource)
    )


def _quoted(text: str) -> str:
    return f'"{text}"'


PATH = ".github/workflows/least-privilege.yml"
_TRAIL, _TABLE, _GENERATION = "s3://BUCKET/PREFIX", "DATABASE.TABLE", "SERVICE-ROLE-ARN TRAIL-ARN"
_LOG_GROUP = "log-group:NAME"
"""Values that only the user knows, in capitals."""


def workflow(target: InitOptions, sources: Sequence[str]) -> str:
    """Renders the workflow as YAML."""
    # Without quotes YAML would read `null` or `1.5` as another type than text.
    given = {"role-arn": target.role_arn, "policy-file": f'"{target.policy_file}"', **action_inputs(sources)}
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
      actions: read           # find the branch of each recorded run
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


def action_inputs(sources: Sequence[str]) -> dict[str, str]:
    """Returns the action's inputs for the sources; values for the user to fill in are in capitals."""
    trails = ["event-history"] if "event-history" in sources else []
    # Athena creates the table over the named trail.
    trails += [_TRAIL] if {"s3-trail", "athena-create"} & set(sources) else []
    trails += [_LOG_GROUP] if "log-group" in sources else []
    found = {"trails": ", ".join(trails)} if trails else {}
    if "athena" in sources:
        found["athena-table"] = _TABLE
    if "access-analyzer" in sources:
        found["access-analyzer"] = _GENERATION
    # The action reads both by default, and a role without the permissions would be denied in every run.
    found["denial-details"] = "true" if "denial-details" in sources else "false"
    found["last-accessed"] = "true" if "last-accessed" in sources else "false"
    if "digests" in sources and "athena" not in sources:
        # Athena reads files without validation.
        found["validate-digests"] = "true"
    if "organization-policies" in sources:
        found["organization-policies"] = "true"
    if "custom-policy-checks" in sources:
        found["custom-policy-checks"] = "true"
    if "job-logs" in sources:
        found["job-logs"] = "auto"
    return found


_EVIDENCE = ("event-history", "s3-trail", "log-group", "athena", "job-logs")
_BESIDE = {"digests": ("s3-trail",), "kms": ("s3-trail", "athena"), "athena-create": ("athena",)}
"""Source that is no evidence alone -> sources of which it needs one."""


def missing_sources(sources: Sequence[str]) -> Iterator[str]:
    """Yields a sentence for each value or source that the choice lacks; the role is written nevertheless."""
    text = " ".join(action_inputs(sources).values())
    open_values = [value for value in (_TRAIL, _LOG_GROUP, _TABLE, _GENERATION) if value in text]
    if open_values:
        yield f"Put your own values into {PATH} for the names in capitals: {', '.join(open_values)}."
    if not {*_EVIDENCE} & {*sources}:
        yield (
            "The chosen sources have no evidence, so the workflow would read event history, which this role may "
            f"not: add one of {', '.join(_EVIDENCE)} to --sources."
        )
    for source, wanted in _BESIDE.items():
        if source in sources and not {*wanted} & {*sources}:
            yield f"The source {source} needs another source: add {' or '.join(wanted)} to --sources."
    if {"digests", "athena"} <= {*sources}:
        yield "Athena reads files unvalidated, so that the workflow leaves validate-digests out."


CLOUDFORMATION = "leastpriv-reader.yaml"
TERRAFORM = "leastpriv-reader.tf"


def render_files(sources: Sequence[str], target: InitOptions) -> dict[str, str]:
    """Renders each file; returns content by path.

    Raises InputError for an unknown source.
    """
    grants = reader_grants(sources)
    parameters = template_parameters(grants, target.values)
    return {
        CLOUDFORMATION: cloudformation_template(grants, parameters, sources, target.audience),
        TERRAFORM: terraform_configuration(grants, parameters, sources, target.audience),
        PATH: workflow(target, sources),
    }


def deploy_command(sources: Sequence[str], target: InitOptions) -> str:
    """Returns the shell command that deploys the template with every value without default, the ids and the branch.

    A repository created since 2026-07-15 cannot assume the role without the ids, so the command asks GitHub for them.
    """
    parameters = template_parameters(reader_grants(sources), target.values)
    given = [f"{each.name}={each.name.upper()}" for each in parameters if each.default is None]
    repository = "/".join(target.values.get(name) or name.upper() for name in ("RepositoryOwner", "RepositoryName"))
    ids = [
        f'{name}="$(gh api repos/{repository} --jq {field})"'
        for name, field in (("RepositoryOwnerId", ".owner.id"), ("RepositoryId", ".id"))
    ]
    branch = next(each.default for each in parameters if each.name == "Branch")
    return (
        f"aws cloudformation deploy --stack-name leastpriv-reader --template-file {CLOUDFORMATION} --capabilities "
        f"CAPABILITY_NAMED_IAM --parameter-overrides {' '.join([*given, *ids, f'Branch={branch}'])}"
    )


def write_files(found: Mapping[str, str], folder: Path, *, overwrite: bool = False) -> None:
    """Writes the files below a folder and reports each.

    Raises InputError if files with other content exist and `overwrite` is not set (none is written then);
    LeastprivError if a file cannot be written.
    """
    try:
        there = {name: (folder / name).read_bytes() for name in found if (folder / name).exists()}
        other = [name for name, content in there.items() if content != found[name].encode()]
        if other and not overwrite:
            are = "is" if len(other) == 1 else "are"
            raise InputError(
                f"In {folder} {', '.join(other)} {are} there already, with other content: no file was written. Set "
                "--overwrite, or another --output-dir."
            )
        for name, content in found.items():
            path = folder / name
            if name in there and name not in other:
                _log.info(f"Unchanged {path}")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="\n")
            _log.info(f"{'Overwrote' if name in there else 'Wrote'} {path}")
    except OSError as error:
        raise LeastprivError(f"{error.filename or folder} cannot be written: {error.strerror}.") from error
