from __future__ import annotations

import json

import pytest

from leastpriv.errors import InputError
from leastpriv.init import render
from leastpriv.init.options import InitOptions, chosen_sources, parse_options
from leastpriv.init.reader_role import DEFAULT_SOURCES, known_sources, reader_grants, reader_policy, template_parameters
from leastpriv.init.render import CLOUDFORMATION, TERRAFORM, render_files
from leastpriv.permissions import catalog
from leastpriv.permissions.resource_types import fits
from leastpriv.policy.containment import check_containment
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import policy_size

VALUES = {
    "Partition": "aws",
    "Account": "111122223333",
    "TargetRoleArn": "arn:aws:iam::111122223333:role/ci/deploy",
    "TrailBucket": "trails",
    "TrailPrefix": "org/",
    "LogGroup": "cloudtrail/logs",
    "TrailKeyArn": "arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555",
    "WorkGroup": "primary",
    "Database": "default",
    "ResultBucket": "results",
    "AnalyzerRoleArn": "arn:aws:iam::111122223333:role/analyzer",
}
NEWER = {"iam:GetRequestAuthorizationDetails"}
"""Actions of API models (botocore 1.44.8, iam-toolbox) that the catalogue does not have yet."""
each_source = pytest.mark.parametrize("source", known_sources())


@each_source
def test_every_action_exists_and_fits_each_of_its_resources(source: str) -> None:
    for grant in reader_grants([source]):
        statement = _policy([source]).statements[reader_grants([source]).index(grant)]
        for action in grant.actions:
            assert action in NEWER or catalog.spelling(action) == action
            for resource in statement.resources:
                assert fits(action, resource), f"{action} on {resource}"


@each_source
def test_only_actions_without_resource_types_have_a_wildcard_resource(source: str) -> None:
    for grant in reader_grants([source]):
        if grant.resources == ("*",):
            for action in grant.actions:
                known = catalog.action(action)
                assert known or action in NEWER
                assert not known or known.resource_types == (), action


@each_source
def test_the_reader_role_writes_only_what_its_source_requires(source: str) -> None:
    writes = {
        action
        for grant in reader_grants([source])
        for action in grant.actions
        if {"Write", "Permissions management", "Tagging"} & set(catalog.access_level(action).split(", "))
    }
    assert writes <= {
        "iam:PassRole", "athena:StartQueryExecution", "athena:StopQueryExecution", "s3:PutObject",
        "s3:AbortMultipartUpload", "access-analyzer:StartPolicyGeneration", "access-analyzer:CancelPolicyGeneration",
        "access-analyzer:GenerateFindingRecommendation", "kms:Decrypt", "sts:DecodeAuthorizationMessage",
        "glue:CreateTable",
    }  # fmt: skip


POINTER = "/Resources/LeastprivReader/Properties/Policies/0/PolicyDocument"


@pytest.mark.parametrize("sources", [[name] for name in known_sources()] + [list(known_sources())])
def test_cloudformation_and_terraform_grant_exactly_the_table(sources: list[str]) -> None:
    """The table and both templates allow the same, by containment both ways, with all parameter values filled in."""
    found = render_files(sources, InitOptions())
    table = _policy(sources)
    for name, pointer in ((CLOUDFORMATION, POINTER), (TERRAFORM, render.ADDRESS)):
        valued = _valued(found[name], _values(sources))
        template = parse(valued.encode(), name, pointer, {"AWS::Partition": "aws", **_pseudo()})
        assert len(template.statements) == len(table.statements)
        assert check_containment([table], [template]).holds, name
        assert check_containment([template], [table]).holds, name


def test_only_the_chosen_sources_are_granted() -> None:
    assert {action for grant in reader_grants(["event-history"]) for action in grant.actions} == {
        "account:ListRegions", "cloudtrail:LookupEvents",
    }  # fmt: skip


def test_a_grant_shared_by_two_sources_is_written_once() -> None:
    both = reader_grants(["s3-trail", "athena"])
    assert len({grant.sid for grant in both}) == len(both)


def test_sids_are_valid_and_distinct() -> None:
    sids = [grant.sid for grant in reader_grants(known_sources())]
    assert all(sid.isalnum() for sid in sids)
    assert len(set(sids)) == len(sids)


def test_every_choice_of_sources_fits_one_inline_policy() -> None:
    assert policy_size(_policy(list(known_sources()))) < 10_240


def test_every_value_that_a_resource_names_is_a_parameter() -> None:
    names = {parameter.name for parameter in template_parameters(reader_grants(known_sources()), {})}
    assert set(VALUES) - {"Partition", "Account"} <= names


def test_an_unknown_source_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'trail'.*event-history, s3-trail"):
        reader_grants(["trail"])


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"role_arn": "arn:aws:sts::111122223333:assumed-role/x/y"}, "--role-arn: .*role's own ARN"),
        ({"role_arn": 'arn:aws:iam::111122223333:role/a"b/x'}, "--role-arn is .*letters"),
        ({"repository": "acme"}, "OWNER/NAME"),
        ({"repository": "acme/${x}"}, "OWNER/NAME"),
        ({"repository": "acme/.."}, "OWNER/NAME"),
        ({"repository": "-x/shop"}, "OWNER/NAME"),
        ({"region": "europe"}, "like eu-west-1"),
        ({"region": "cn-north-1"}, "not in the partition aws of the role: write a region like eu-west-1"),
        ({"role_arn": "arn:aws-cn:iam::111122223333:role/x", "region": "eu-west-1"}, "a region like cn-north-1"),
        ({"role_arn": "arn:aws-iso:iam::111122223333:role/x"}, "choose a role in aws, aws-us-gov, aws-cn"),
        ({"policy_file": "a: b"}, "a path in the repository"),
        ({"policy_file": "#a"}, "a path in the repository"),
        ({"policy_file": "../../etc/x.json"}, "a path in the repository"),
        ({"policy_file": "iam/../../x.json#/Policy"}, "a path in the repository"),
        ({"policy_file": "/etc/x.json"}, "a path in the repository"),
        ({"branch": "a..b"}, "name of a branch"),
        ({"branch": "${x}"}, "name of a branch"),
        ({"branch": "ma*"}, "name of a branch"),
    ],
)
def test_values_that_a_template_would_interpret_are_rejected(options: dict[str, str], advice: str) -> None:
    with pytest.raises(InputError, match=advice):
        parse_options(**options)


def test_a_user_is_read_by_the_user_source() -> None:
    target = parse_options("arn:aws:iam::111122223333:user/ci")
    assert chosen_sources(["event-history, live-role"], target) == ("event-history", "live-user")
    assert chosen_sources([], InitOptions()) == DEFAULT_SOURCES


def test_a_role_is_read_by_the_role_source_even_if_the_user_source_is_named() -> None:
    target = parse_options("arn:aws:iam::111122223333:role/ci")
    assert chosen_sources(["live-user", "live-role"], target) == ("live-role",)
    # The option may mean either kind.
    assert chosen_sources(["live-user"], InitOptions()) == ("live-user",)


def _policy(sources: list[str]) -> Document:
    return parse(json.dumps(reader_policy(reader_grants(sources), _values(sources))).encode(), "reader.json")


def _values(sources: list[str]) -> dict[str, str]:
    """Returns the parameters' values; for user sources those of a user."""
    return VALUES | ({"TargetRoleArn": "arn:aws:iam::111122223333:user/ci"} if sources == ["live-user"] else {})


def _pseudo() -> dict[str, str]:
    return {"AWS::AccountId": VALUES["Account"]}


def _valued(text: str, values: dict[str, str]) -> str:
    """Returns a template with its parameters' values filled in."""
    for name, value in values.items():
        text = text.replace(f"!Ref {name}", value).replace(f"${{{name}}}", value)
    for parameter in template_parameters(reader_grants(known_sources()), {}):
        if parameter.name in VALUES:
            value = values[parameter.name]
            text = text.replace(f"${{var.{parameter.variable}}}", value)
            text = text.replace(f"[var.{parameter.variable}]", f'["{value}"]')
    text = text.replace("${data.aws_partition.current.partition}", "aws")
    return text.replace("${data.aws_caller_identity.current.account_id}", VALUES["Account"])
