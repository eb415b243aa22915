"""The reader role as a Terraform configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from leastpriv.setup.grants import Grant, Parameter
from leastpriv.setup.trust import ADVICE, AUDIENCE, ISSUER, subjects

ADDRESS = "data.aws_iam_policy_document.leastpriv_reader"
"""Where the role's policy stands in the configuration."""
_VALUE = re.compile(r"\{(\w+)\}")
_OWN = {
    "Partition": "data.aws_partition.current.partition",
    "Account": "data.aws_caller_identity.current.account_id",
}


def configuration(
    grants: Sequence[Grant], parameters: Sequence[Parameter], sources: Sequence[str], audience: str = AUDIENCE
) -> str:
    """The whole configuration, one file; `audience` is that of the tokens which the role takes."""
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
# The account's login for GitHub's workflows has to be there already (one per account):
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


def _policy(grants: Sequence[Grant], variables: dict[str, str]) -> str:
    statements = "\n\n".join("\n".join(_statement(grant, variables)) for grant in grants)
    return f'data "aws_iam_policy_document" "leastpriv_reader" {{\n{statements}\n}}'


def _statement(grant: Grant, variables: dict[str, str]) -> Iterator[str]:
    yield f"  # {grant.page}"
    yield "  statement {"
    yield f'    sid       = "{grant.sid}"'
    yield f"    actions   = [{', '.join(_quoted(action) for action in grant.actions)}]"
    yield f"    resources = [{', '.join(_resource(resource, variables) for resource in grant.resources)}]"
    if grant.condition:
        yield ""
        yield "    condition {"
        yield f'      test     = "{grant.condition.operator}"'
        yield f'      variable = "{grant.condition.key}"'
        yield f"      values   = [{', '.join(map(_quoted, grant.condition.values))}]"
        yield "    }"
    yield "  }"


def _resource(resource: str, variables: dict[str, str]) -> str:
    whole = _VALUE.fullmatch(resource)
    if whole:
        return f"var.{variables[whole[1]]}"
    return _quoted(_VALUE.sub(lambda found: f"${{{_OWN.get(found[1]) or 'var.' + variables[found[1]]}}}", resource))


def _quoted(text: str) -> str:
    return f'"{text}"'
