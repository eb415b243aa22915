from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest

from leastpriv.errors import InputError
from leastpriv.init.options import parse_options
from leastpriv.init.reader_role import (
    DEFAULT_SOURCES,
    ReaderGrant,
    Values,
    known_sources,
    reader_grants,
    reader_policy,
)
from leastpriv.init.render import CLOUDFORMATION, TERRAFORM, render_files
from leastpriv.permissions import catalog
from leastpriv.permissions.resource_types import fits
from leastpriv.policy.containment import check_containment
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import policy_size

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
GIVEN = {
    "repository": ["acme/shop"],
    "role-arn": [ROLE],
    "trails": ["s3://trails/org/AWSLogs/o-abcdefghij", "log-group:cloudtrail/logs"],
    "kms-key-arn": ["arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555"],
    "athena-table": ["primary/default.logs"],
    "athena-results": ["s3://results/queries"],
    "access-analyzer": [
        "arn:aws:iam::111122223333:role/analyzer"
        " arn:aws:cloudtrail:eu-west-1:111122223333:trail/main"
    ],
    "action": [f"acme/leastpriv-action@{'0' * 40}"],
}
OTHER = "222233334444"
OWN = {"Partition": "aws", "Account": "111122223333"}
VALUES = {**parse_options(GIVEN).values, **OWN, "Users": ["user/ci"]}
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
                catalogued = catalog.action(action)
                assert catalogued or action in NEWER
                assert not catalogued or catalogued.resource_types == (), action


@each_source
def test_the_reader_role_writes_only_what_its_source_requires(source: str) -> None:
    writes = {
        action
        for grant in reader_grants([source])
        for action in grant.actions
        if {"Write", "Permissions management", "Tagging"}
        & set(catalog.access_level(action).split(", "))
    }
    assert writes <= {
        "iam:PassRole", "athena:StartQueryExecution", "athena:StopQueryExecution", "s3:PutObject",
        "s3:AbortMultipartUpload", "access-analyzer:StartPolicyGeneration",
        "access-analyzer:CancelPolicyGeneration",
        "access-analyzer:GenerateFindingRecommendation", "kms:Decrypt",
        "sts:DecodeAuthorizationMessage",
    }  # fmt: skip


ADDRESS = "data.aws_iam_policy_document.leastpriv_reader"
POINTER = "/Resources/LeastprivReader/Properties/Policies/0/PolicyDocument"


@pytest.mark.parametrize("sources", [[name] for name in known_sources()] + [list(known_sources())])
def test_cloudformation_and_terraform_grant_exactly_the_table(sources: list[str]) -> None:
    """The table and both templates allow the same, by containment both ways, with the account's
    values filled in.
    """
    evidence = [] if {"live-user", *DEFAULT_SOURCES} & {*sources} else ["event-history"]
    users = ["arn:aws:iam::111122223333:user/ci"] if "live-user" in sources else []
    roles = [] if sources == ["live-user"] else [ROLE]
    options = {**GIVEN, "role-arn": [*roles, *users]}
    target = parse_options(
        {**options, "sources": ["event-history", "s3-trail", "athena", *sources, *evidence]}
    )
    files = render_files(target)
    table = _policy(target.sources, {**target.values, **OWN})
    for name, pointer in ((CLOUDFORMATION, POINTER), (TERRAFORM, ADDRESS)):
        template = parse(_valued(files[name]).encode(), name, pointer)
        assert len(template.statements) == len(table.statements)
        assert check_containment([table], [template]).holds, name
        assert check_containment([template], [table]).holds, name


def test_only_the_chosen_sources_are_granted() -> None:
    assert {action for grant in reader_grants(["event-history"]) for action in grant.actions} == {
        "account:ListRegions", "cloudtrail:LookupEvents",
    }  # fmt: skip


def test_a_grant_shared_by_two_sources_is_written_once() -> None:
    grants_of_both = reader_grants(["s3-trail", "athena"])
    assert len({grant.sid for grant in grants_of_both}) == len(grants_of_both)


def test_sids_are_valid_and_distinct() -> None:
    sids = [grant.sid for grant in reader_grants(known_sources())]
    assert all(sid.isalnum() for sid in sids)
    assert len(set(sids)) == len(sids)


def test_every_choice_of_sources_fits_one_inline_policy() -> None:
    assert policy_size(_policy(list(known_sources()))) < 10_240


@each_source
def test_a_source_without_its_values_names_the_option(source: str) -> None:
    needed_grants = {
        name
        for grant in reader_grants([source])
        for text in _texts(grant)
        for name in re.findall(r"{(\w+)}", text)
    }
    for name in needed_grants - {"Partition", "Account", "Targets"}:
        with pytest.raises(InputError, match=rf"The source {source} needs (--|a )"):
            reader_grants([source], {key: value for key, value in VALUES.items() if key != name})


def test_only_the_folder_of_the_role_s_account_is_read() -> None:
    """Also in an organization's trail: neither another account's files nor their names."""
    for grant in reader_grants(["s3-trail"], VALUES):
        if grant.sid == "ReadTrailFiles":
            assert grant.resources == (
                "arn:aws:s3:::trails/org/AWSLogs/o-abcdefghij/111122223333/*",
            )
        if grant.sid == "ListTrailBucket":
            assert grant.condition
            assert grant.condition.values == ("org/AWSLogs/o-abcdefghij/111122223333/*",)


@pytest.mark.parametrize(
    ("trail", "folder"),
    [
        ("s3://trails", "AWSLogs/111122223333/"),
        ("s3://trails/", "AWSLogs/111122223333/"),
        ("s3://trails/a/b/", "a/b/AWSLogs/111122223333/"),
        ("s3://trails/AWSLogs", "AWSLogs/111122223333/"),
        ("s3://trails/a/AWSLogs/o-abcdefghij/", "a/AWSLogs/o-abcdefghij/111122223333/"),
        (
            "s3://trails/AWSLogs/o-abcdefghij/999999999999/CloudTrail/",
            "AWSLogs/o-abcdefghij/111122223333/",
        ),
        ("s3://trails/AWSLogs/999999999999", "AWSLogs/111122223333/"),
    ],
)
def test_the_folder_of_the_account_follows_from_the_trail_s_address(
    trail: str, folder: str
) -> None:
    values = {**parse_options({**GIVEN, "trails": [trail]}).values, **OWN}
    (read,) = [
        grant for grant in reader_grants(["s3-trail"], values) if grant.sid == "ReadTrailFiles"
    ]
    assert reader_policy([read], values)["Statement"][0]["Resource"] == [
        f"arn:aws:s3:::trails/{folder}*"
    ]


def test_many_roles_fit_one_inline_policy() -> None:
    roles = [f"arn:aws:iam::111122223333:role/teams/ci-deploy-{number:03}" for number in range(200)]
    target = parse_options({**GIVEN, "role-arn": roles})
    assert policy_size(_policy(target.sources, {**target.values, **OWN})) < 10_240
    assert target.values["Roles"] == ("role/teams/ci-deploy-*",)


def test_an_unknown_source_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'trail'.*event-history, s3-trail"):
        reader_grants(["trail"])


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"role-arn": []}, "--role-arn is missing"),
        ({"repository": []}, "--repository is missing"),
        (
            {"role-arn": ["arn:aws:sts::111122223333:assumed-role/x/y"]},
            "--role-arn: .*role's own ARN",
        ),
        ({"role-arn": ['arn:aws:iam::111122223333:role/a"b/x']}, "--role-arn is .*letters"),
        ({"role-arn": [ROLE, "arn:aws-cn:iam::111122223333:role/x"]}, "several partitions"),
        (
            {"role-arn": [ROLE], "policy-file": ["a.json", "b.json"]},
            "2 times and --role-arn 1 times",
        ),
        (
            {"role-arn": [ROLE, "arn:aws:iam::111122223333:role/deploy"]},
            "Several roles would have one policy file",
        ),
        (
            {"role-arn": ["arn:aws:iam::*:role/deploy"]},
            "list the accounts, as in --accounts",
        ),
        (
            {"role-arn": [ROLE], "policy-file": ["iam/{name}.json"]},
            "for a role with \\* or \\?, and for no other",
        ),
        (
            {"role-arn": [f"{ROLE}-*"], "policy-file": ["iam/a.json"]},
            "for a role with \\* or \\?, and for no other",
        ),
        ({"repository": ["acme"]}, "OWNER/NAME"),
        ({"repository": ["acme/${x}"]}, "OWNER/NAME"),
        ({"repository": ["acme/.."]}, "OWNER/NAME"),
        ({"repository": ["-x/shop"]}, "OWNER/NAME"),
        ({"region": ["europe"]}, "like eu-west-1"),
        ({"aws-regions": ["europe"]}, "--aws-regions is 'europe': write a region"),
        (
            {"region": ["cn-north-1"]},
            "not in the partition aws of the role: write a region like eu-west-1",
        ),
        (
            {"role-arn": ["arn:aws-cn:iam::111122223333:role/x"], "region": ["eu-west-1"]},
            "a region like cn-north-1",
        ),
        (
            {"role-arn": ["arn:aws-iso:iam::111122223333:role/x"]},
            "choose a role in aws, aws-us-gov, aws-cn",
        ),
        ({"policy-file": ["a: b"]}, "a path in the repository"),
        ({"policy-file": ["#a"]}, "a path in the repository"),
        ({"policy-file": ["../../etc/x.json"]}, "a path in the repository"),
        ({"policy-file": ["iam/../../x.json#/Policy"]}, "a path in the repository"),
        ({"policy-file": ["/etc/x.json"]}, "a path in the repository"),
        ({"branch": ["a..b"]}, "name of a branch"),
        ({"branch": ["${x}"]}, "name of a branch"),
        ({"branch": ["ma*"]}, "name of a branch"),
        ({"environment": ['a"b']}, "name of an environment"),
        ({"subject": ["repo:*"]}, "other owners than acme"),
        ({"subject": ["repo:acme/shop:*"]}, "--branch"),
        ({"subject": ["repo:acme/*"]}, "any branch or pull request"),
        ({"subject": ["repo:acme/shop:ref:refs/heads/*"]}, "any branch or pull request"),
        ({"subject": ["repo:acme/shop:ref:*"]}, "any branch or pull request"),
        ({"subject": ["repo:acme/shop:environment:*"]}, "any branch or pull request"),
        (
            {"subject": ["repo:acme/shop:job_workflow_ref:acme/f/.github/workflows/a.yml@*"]},
            "any branch",
        ),
        ({"subject": ["repo:evil/acme-shop:ref:refs/heads/main"]}, "other owners than acme"),
        ({"subject": ["repo:evil/acme:ref:refs/heads/main"]}, "other owners than acme"),
        (
            {"subject": ["repo:*:job_workflow_ref:acme/flows/.github/workflows/a.yml@v1"]},
            "other owners than acme",
        ),
        ({"subject": ["environment:acme"]}, "other owners than acme"),
        ({"subject": ["repository_id:1*"]}, "other owners than acme"),
        ({"aws-regions": ["eu-wset-1"]}, "not in the partition aws"),
        ({"trail-account": [OTHER]}, "--trail-account is given without --trails s3://BUCKET"),
        ({"athena-results": ["s3://results"]}, "--athena-results is given without --athena-table"),
        ({"issuer": ["https://ghe.acme.com"]}, "without https://"),
        (
            {"trails": ["arn:aws:cloudtrail:eu-west-1:111122223333:trail/main"]},
            "write event-history, s3://",
        ),
        ({"trails": ["s3://one", "s3://two"]}, "several buckets"),
        ({"kms-key-arn": ["alias/trail"]}, "ARN of a key"),
        ({"trail-account": ["12"]}, "12 digits"),
        ({"hub-account": [OTHER], "trails": ["s3://trails"]}, "--hub-account reads event history"),
        ({"action": ["acme/leastpriv-action@v1"]}, "40 hex digits"),
        ({"sources": ["s3"]}, "--sources holds 's3': choose from event-history, s3-trail"),
        ({"sources": ["live-role"]}, "no evidence: add one of event-history"),
        (
            {"sources": ["event-history", "digests"]},
            "The source digests needs another source: add s3-trail",
        ),
    ],
)
def test_an_option_that_is_wrong_is_rejected_with_the_way_to_write_it(
    options: dict[str, list[str]], advice: str
) -> None:
    required = {"repository": ["acme/shop"], "role-arn": [ROLE]}
    with pytest.raises(InputError, match=advice):
        parse_options({**required, **options})


@pytest.mark.parametrize(
    "subject",
    [
        "repo:acme/shop:environment:prod",
        "repo:acme@12/shop@34:ref:refs/heads/main",
        "repository_owner:acme:environment:prod",
        "repository_owner_id:12:repository_id:34:environment:prod",
        "job_workflow_ref:acme/flows/.github/workflows/a.yml@refs/heads/main",
        "project_path:acme/shop:ref_type:branch:ref:main",
    ],
)
def test_every_customized_subject_of_the_owner_is_accepted(subject: str) -> None:
    setup = {"repository": ["acme/shop"], "role-arn": [ROLE], "subject": [subject]}
    assert parse_options(setup).subjects() == (subject,)


def test_a_user_is_read_by_the_user_source_and_a_role_by_the_role_source() -> None:
    users = {"repository": ["acme/shop"], "role-arn": ["arn:aws:iam::111122223333:user/ci"]}
    assert parse_options({**users, "sources": ["event-history", "live-role"]}).sources == (
        "event-history",
        "live-user",
    )
    roles = {**users, "role-arn": [ROLE]}
    assert parse_options(roles).sources == DEFAULT_SOURCES
    setup = {**roles, "sources": ["event-history", "live-user", "live-role"]}
    assert parse_options(setup).sources == ("event-history", "live-role")
    with_users = parse_options({**users, "role-arn": [ROLE, *users["role-arn"]]})
    assert {"live-role", "live-user"} <= {*with_users.sources}


def _texts(grant: ReaderGrant) -> tuple[str, ...]:
    return (*grant.resources, *(grant.condition.values if grant.condition else ()))


def _policy(sources: Sequence[str], values: Values = VALUES) -> Document:
    return parse(json.dumps(reader_policy(reader_grants(sources), values)).encode(), "reader.json")


def _valued(text: str) -> str:
    """Returns a template or configuration with the account's values filled in."""
    for expression, value in (
        ("AWS::Partition", "aws"),
        ("data.aws_partition.current.partition", "aws"),
    ):
        text = text.replace(f"${{{expression}}}", value)
    for expression in ("AWS::AccountId", "data.aws_caller_identity.current.account_id"):
        text = text.replace(f"${{{expression}}}", OWN["Account"])
    return re.sub(r'!Sub (?="arn|"org)', "", text)
