"""The reader role as a CloudFormation template."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from leastpriv.setup.grants import OWN, Grant, Parameter
from leastpriv.setup.trust import ADVICE, AUDIENCE, ISSUER, subjects

POINTER = "/Resources/LeastprivReader/Properties/Policies/0/PolicyDocument"
"""Where the role's policy stands in the template."""
_VALUE = re.compile(r"\{(\w+)\}")


def template(
    grants: Sequence[Grant], parameters: Sequence[Parameter], sources: Sequence[str], audience: str = AUDIENCE
) -> str:
    """The whole template; `audience` is that of the tokens which the role takes."""
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
        "# The account's login for GitHub's workflows has to be there already (one per account):",
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
        *(line for grant in grants for line in _statement(grant)),
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


def _statement(grant: Grant) -> Iterator[str]:
    inside = " " * 16
    yield f"              - Sid: {grant.sid}  # {grant.page}"
    yield f"{inside}Effect: Allow"
    yield f"{inside}Action:"
    yield from (f"{inside}  - {action}" for action in grant.actions)
    yield f"{inside}Resource:"
    yield from (f"{inside}  - {_resource(resource)}" for resource in grant.resources)
    if grant.condition:
        yield f"{inside}Condition:"
        yield f"{inside}  {grant.condition.operator}:"
        yield f"{inside}    {grant.condition.key}: {grant.condition.values[0]}"


def _resource(resource: str) -> str:
    names = {"Partition": "AWS::Partition", "Account": "AWS::AccountId"}
    text = _VALUE.sub(lambda found: f"${{{names.get(found[1], found[1])}}}", resource)
    if "${" not in text:
        return f'"{text}"'
    whole = _VALUE.fullmatch(resource)
    return f"!Ref {whole[1]}" if whole and whole[1] not in OWN else f'!Sub "{text}"'
